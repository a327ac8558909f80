//! The profile as the second version held it, and as people without an address are written to this day.

use serde::Deserialize;

use super::Evaluation;
use crate::identity::Person;

#[derive(Deserialize)]
pub(super) struct ProfileRecord {
    person: Person,
    as_of: i64,
    policy_version: u32,
    evaluation: Evaluation,
    state: Vec<u8>,
}

impl From<ProfileRecord> for super::ProfileRecord {
    fn from(second: ProfileRecord) -> Self {
        let ProfileRecord { person, as_of, policy_version, evaluation, state } = second;
        Self { person, as_of, policy_version, evaluation, state, address: None }
    }
}
