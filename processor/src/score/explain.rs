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
    /// What time alone will change next, of what is to be seen here.
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
    let mut next = None;
    let mut changes_at = evaluation.changes_at;
    while let Some(at) = changes_at {
        let then = evaluate(state, policy, standing, at);
        if advice(&then) != advice(&evaluation) || then.reason() != evaluation.reason() {
            next = Some(Next { at, reason: then.reason().into_owned(), evaluation: then });
            break;
        }
        changes_at = then.changes_at;
    }
    Explanation {
        reason: evaluation.reason().into_owned(),
        contributions: evaluation.contributions(),
        policy_version: policy.version,
        next,
        evaluation,
    }
}

/// What a verdict advises. A verdict also changes in what only the sinks look at.
fn advice(of: &Evaluation) -> impl PartialEq + use<> {
    (
        of.state,
        of.email_deliverable,
        of.email_promotional_ok,
        of.email_transactional_ok,
        of.email_cadence,
        of.best_channel,
        of.best_channel_reason,
    )
}
