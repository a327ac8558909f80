//! A process on one core, and what it costs.

use std::process::Command;
use std::time::{Duration, Instant};

use aftersend_tests::Process;
use aftersend_tests::bench::Usage;

/// A command on one core, all its threads.
pub(crate) fn on(core: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program);
    command
}

/// What a stretch of work took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) events: f64,
    pub(crate) seconds: f64,
    pub(crate) cpu: f64,
    pub(crate) peak_mib: f64,
}

impl Run {
    pub(crate) fn per_second(&self) -> f64 {
        self.events / self.seconds
    }

    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu * 1e6 / self.events
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>9.0}/s  {:.2} us CPU an event  {:.0} MiB", self.per_second(), self.cpu_us(), self.peak_mib)
    }
}

/// Watches a process from its first event to its last, or for `limit`. `count` says how many there were so far.
pub(crate) async fn watch(
    process: &mut Process,
    last: f64,
    limit: Duration,
    mut count: impl AsyncFnMut() -> Option<f64>,
) -> anyhow::Result<Run> {
    let mut first: Option<(f64, Instant, Duration)> = None;
    let patience = Instant::now() + Duration::from_secs(120);
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        process.check()?;
        let Some(events) = count().await.filter(|events| *events > 0.0) else {
            anyhow::ensure!(Instant::now() < patience, "nothing was read:\n{}", process.log());
            continue;
        };
        let Usage { cpu, peak_mib, .. } = Usage::of(process.id())?;
        let now = Instant::now();
        let (before, since, spent) = *first.get_or_insert((events, now, cpu));
        if events >= last || now - since > limit {
            return Ok(Run { events: events - before, seconds: (now - since).as_secs_f64(), cpu: (cpu - spent).as_secs_f64(), peak_mib });
        }
    }
}
