//! The profile as the first version held it: reason and parts in words, and fewer answers.

use serde::Deserialize;

use super::{Cadence, Channel, ChannelReason, Contribution, EmailState, Facts, Grounds, Verdict};
use crate::identity::Person;

#[derive(Deserialize)]
pub(super) struct ProfileRecord {
    person: Person,
    as_of: i64,
    policy_version: u32,
    evaluation: Evaluation,
    state: Vec<u8>,
}

#[derive(Deserialize)]
struct Evaluation {
    score: u8,
    state: EmailState,
    email_deliverable: bool,
    email_promotional_ok: bool,
    best_channel: String,
    reason: String,
    contributions: Vec<Contribution>,
    verdict: Option<Verdict>,
    facts: Facts,
}

impl From<ProfileRecord> for super::ProfileRecord {
    fn from(first: ProfileRecord) -> Self {
        let ProfileRecord { person, as_of, policy_version, evaluation, state } = first;
        Self { person, as_of, policy_version, evaluation: evaluation.into(), state, address: None }
    }
}

impl From<Evaluation> for super::Evaluation {
    fn from(first: Evaluation) -> Self {
        Self {
            score: first.score,
            state: first.state,
            email_deliverable: first.email_deliverable,
            email_promotional_ok: first.email_promotional_ok,
            // The first version knew no middle, and had one answer for both kinds of mail that do not ask for consent.
            email_transactional_ok: first.email_deliverable,
            email_cadence: if first.email_promotional_ok { Cadence::Full } else { Cadence::Stop },
            best_channel: Channel::parse(&first.best_channel),
            best_channel_reason: ChannelReason::Unstated,
            never_suppress: false,
            grounds: Grounds::Worded { reason: first.reason, contributions: first.contributions },
            verdict: first.verdict,
            facts: first.facts,
            changes_at: None,
        }
    }
}
