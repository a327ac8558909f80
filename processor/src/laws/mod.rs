//! The laws of the model, tested on random histories, and the score worked out a second time in the plainest way.
//!
//! `PROPTEST_CASES` sets the number of histories; `make laws` takes 100,000.

mod change;
mod examples;
mod fold;
mod generator;
mod identity;
mod reference;
mod score;

use proptest::prelude::ProptestConfig;

use crate::fold::{Observation, State};
use crate::score::{Policy, Standing};

/// 2026-02-02, noon and some.
const NOW: i64 = 1_770_037_200;

fn histories() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000);
    // A counterexample is written out in full; what it taught becomes a test by hand.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn folded<'a>(observations: impl IntoIterator<Item = &'a Observation>) -> State {
    let mut state = State::default();
    for observation in observations {
        state.observe(observation);
    }
    state
}

fn policy(toml: &str) -> Policy {
    let text = format!("[privacy]\nemail = \"drop\"\n{toml}");
    Policy::new(&aftersend_pipeline::config::Config::parse(&text, []).unwrap().policy, "default")
}

/// A provider that refused everybody for one stretch of time.
#[derive(Debug, Clone, Copy)]
struct Incident {
    provider: u32,
    from: u32,
    to: u32,
}

impl Standing for Incident {
    fn quarantined(&self, provider: aftersend_schemas::address::ProviderId, at: u32) -> bool {
        provider.0 == self.provider && (self.from..self.to).contains(&at)
    }
}
