use aftersend_schemas::profile::{Contribution, Evaluation};

use super::{Policy, Standing, evaluate};
use crate::fold::State;

/// A verdict with the words for it, and what comes of it if nothing more happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The verdict.
    pub evaluation: Evaluation,
    /// Why the state is what it is, in one line.
    pub reason: String,
    /// The parts of the score with the evidence behind each.
    pub contributions: Vec<Contribution>,
    /// The policy that judged.
    pub policy_version: u32,
    /// What time alone will change next.
    pub next: Option<Next>,
}

/// What a verdict becomes by time alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Next {
    /// Unix seconds.
    pub at: i64,
    /// The verdict from then on.
    pub evaluation: Evaluation,
    /// Why, in one line.
    pub reason: String,
}

/// Explains the verdict on a person at `now` (Unix seconds).
pub fn explain(state: &State, policy: &Policy, standing: &(impl Standing + ?Sized), now: i64) -> Explanation {
    let evaluation = evaluate(state, policy, standing, now);
    let next = evaluation.changes_at.map(|at| {
        let then = evaluate(state, policy, standing, at);
        Next { at, reason: then.reason().into_owned(), evaluation: then }
    });
    Explanation {
        reason: evaluation.reason().into_owned(),
        contributions: evaluation.contributions(),
        policy_version: policy.version,
        next,
        evaluation,
    }
}
