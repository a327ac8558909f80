use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::candidate::Candidate;
use crate::load::Span;

/// Ingest under load, beside an echo and the recipe.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Only these parts. What is incomplete is printed and not written to the results.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<Part>,
    /// Only these candidates.
    #[arg(long, value_delimiter = ',', default_value = "ours,echo,recipe")]
    pub(crate) candidates: Vec<Candidate>,
    /// Runs of each candidate, interleaved.
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Measured seconds of a run.
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 8.0)]
    seconds: f64,
    /// Seconds of load before that.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Connections of full and half load.
    #[arg(long, default_value_t = 256)]
    pub(crate) connections: usize,
    /// Requests a second of the half load; by default half of what ours reached under full load.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Only the long run: full load for so many seconds, then 10,000 idle connections beside it.
    #[arg(long, env = "BENCH_SOAK", num_args = 0..=1, default_missing_value = "600")]
    pub(crate) soak: Option<f64>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    FullLoad,
    OneConnection,
    HalfLoad,
}

impl Options {
    pub(crate) fn span(&self) -> Span {
        Span { warm_up: Duration::from_secs_f64(self.warm_up), measured: Duration::from_secs_f64(self.seconds) }
    }

    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}
