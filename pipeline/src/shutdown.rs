//! Signals to a token that every service watches.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Signals so soon after the first are the same one: `timeout` and others tell the process and then its whole group.
const SAME: Duration = Duration::from_secs(1);

/// Requests to read the configuration again.
pub struct Reloads(Option<Signal>);

impl Reloads {
    /// One for every SIGHUP. From then on the signal does not end the process any more.
    pub fn on_signal() -> std::io::Result<Self> {
        Ok(Self(Some(signal(SignalKind::hangup())?)))
    }

    /// None at all.
    pub fn never() -> Self {
        Self(None)
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        let asked = match &mut self.0 {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if asked.is_none() {
            std::future::pending().await
        }
    }
}

/// A token that is cancelled by the first SIGINT or SIGTERM. A second one, a second later or more, ends the process at once.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            }
        };
        let name = next().await;
        tracing::info!(signal = name, "draining");
        cancelled.cancel();
        let asked = Instant::now();
        let mut name = next().await;
        while asked.elapsed() < SAME {
            name = next().await;
        }
        tracing::warn!(signal = name, "second signal: stopping without draining");
        std::process::exit(130);
    });
    Ok(token)
}
