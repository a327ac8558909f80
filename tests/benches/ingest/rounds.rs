//! Runs of several candidates, interleaved, each checked against its topic.

use std::sync::Arc;
use std::time::Duration;

use aftersend_tests::SIGNING_KEY;
use anyhow::{Context as _, ensure};

use crate::candidate::{Candidate, Candidates, Target};
use crate::load::{self, Run, Span};
use crate::requests::Requests;
use crate::topic;
use aftersend_tests::bench::Spread;

/// How the load is made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    Closed { connections: usize },
    Open { connections: usize, rate: f64 },
}

pub(crate) struct Bench {
    pub(crate) candidates: Candidates,
    requests: Arc<Requests>,
}

/// What the runs of one part came to.
#[derive(Default)]
pub(crate) struct Runs(Vec<(Candidate, Run)>);

impl Bench {
    pub(crate) async fn start(which: &[Candidate]) -> anyhow::Result<Self> {
        Ok(Self { candidates: Candidates::start(which).await?, requests: Arc::new(Requests::signed(SIGNING_KEY)?) })
    }

    pub(crate) fn target(&self, candidate: Candidate) -> Option<&Target> {
        self.candidates.targets.iter().find(|target| target.candidate == candidate)
    }

    pub(crate) fn requests(&self) -> &Arc<Requests> {
        &self.requests
    }

    /// Runs whoever of `among` was started, round by round, each time beginning with another one.
    pub(crate) async fn rounds(&self, name: &str, among: &[Candidate], load: Load, rounds: usize, span: Span) -> anyhow::Result<Runs> {
        let targets: Vec<&Target> = among.iter().filter_map(|&candidate| self.target(candidate)).collect();
        let mut runs = Runs::default();
        for round in 0..rounds {
            for n in 0..targets.len() {
                let target = targets[(round + n) % targets.len()];
                let run = self.run(target, load, span).await.with_context(|| format!("{name} of {:?}", target.candidate))?;
                eprintln!("{name:<15} {:>2}/{rounds}  {:<7} {run}", round + 1, format!("{:?}", target.candidate).to_lowercase());
                runs.0.push((target.candidate, run));
                // Whatever one leaves behind is not the next one's burden.
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        Ok(runs)
    }

    /// One run. Everything that was answered 2xx must be in the topic.
    pub(crate) async fn run(&self, target: &Target, load: Load, span: Span) -> anyhow::Result<Run> {
        let config = &self.candidates.setup.config;
        let written = || target.topic.as_ref().map(|topic| topic::written(config, topic)).transpose();
        let before = written()?;
        let run = match load {
            Load::Closed { connections } => load::closed(target, &self.requests, connections, span).await?,
            Load::Open { connections, rate } => load::open(target, &self.requests, connections, rate, span).await?,
        };
        if let (Some(before), Some(after)) = (before, written()?) {
            let kept = after - before;
            ensure!(kept >= run.accepted, "{} events were accepted and {kept} are in the topic", run.accepted);
        }
        Ok(run)
    }
}

impl Runs {
    /// Lowest, middle and highest value of a candidate's runs; none without any.
    pub(crate) fn spread(&self, candidate: Candidate, value: impl Fn(&Run) -> f64) -> Option<Spread> {
        Spread::of(self.0.iter().filter(|(of, _)| *of == candidate).map(|(_, run)| value(run)).collect())
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let generator = self.generator_cpu.as_secs_f64() * 1e6 / self.counted as f64;
        write!(
            f,
            "{:>7.0}/s  p50 {:>6.2}  p99 {:>6.2}  p99.9 {:>6.2} ms  cpu {:>6.1} us/event (generator {generator:.1})  {:>5.1} MiB",
            self.per_second(),
            self.latency_ms(50.0),
            self.latency_ms(99.0),
            self.latency_ms(99.9),
            self.cpu_us_per_event(),
            self.usage.peak_mib
        )
    }
}
