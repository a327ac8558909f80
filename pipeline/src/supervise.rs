//! Sessions that are started over: an outage ends one, never the service.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::retry::Backoff;

/// A session that lasted this long was healthy: the next failure is waited out from the beginning.
const HEALTHY: Duration = Duration::from_secs(60);

/// Runs `session` until it ends cleanly, or `shutdown`, or with an error that starting over cannot mend.
///
/// What is in memory belongs to a session, so that every start begins from what is committed.
pub async fn supervise<E, F>(
    name: &str,
    shutdown: &CancellationToken,
    mut session: impl FnMut() -> F,
    is_final: impl Fn(&E) -> bool,
) -> Result<(), E>
where
    E: Display,
    F: Future<Output = Result<(), E>>,
{
    let fresh = || Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
    let mut backoff = fresh();
    while !shutdown.is_cancelled() {
        let started = Instant::now();
        match session().await {
            Ok(()) => return Ok(()),
            Err(error) if is_final(&error) => return Err(error),
            Err(error) => {
                if started.elapsed() > HEALTHY {
                    backoff = fresh();
                }
                let delay = backoff.next_delay();
                tracing::warn!(session = name, %error, delay_seconds = delay.as_secs_f64(), "starting over from what is committed");
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = tokio::time::sleep(delay) => {}
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_is_started_over_until_it_ends_cleanly_or_finally() {
        let runs = Cell::new(0);
        let session = || {
            runs.set(runs.get() + 1);
            let run = runs.get();
            async move { if run < 5 { Err(run) } else { Ok(()) } }
        };
        let shutdown = CancellationToken::new();
        assert_eq!(supervise("test", &shutdown, session, |_| false).await, Ok(()));
        assert_eq!(runs.get(), 5);
        assert_eq!(supervise("test", &shutdown, || async { Err("final") }, |_| true).await, Err("final"));
        shutdown.cancel();
        assert_eq!(supervise("test", &shutdown, || async { Err("never run") }, |_| false).await, Ok(()));
    }
}
