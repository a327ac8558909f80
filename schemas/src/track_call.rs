//! The record in `track-calls`, as JSON: one before each call (what is meant to be done, and why) and one after it (what came of it).

use serde::{Deserialize, Serialize};

use crate::identity::Person;

/// Which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// `PUT /api/v1/customers/{id}` with attributes.
    Identify,
    /// The same, with `unsubscribed: true`.
    Unsubscribe,
    /// `POST /api/v1/customers/{id}/suppress`: deletes the person.
    Suppress,
}

impl Call {
    /// As it stands in columns and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Unsubscribe => "unsubscribe",
            Self::Suppress => "suppress",
        }
    }
}

/// Where in its life a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// About to be made.
    Intent,
    /// Would have been made, were the sink not in dry-run mode.
    DryRun,
    /// The API acknowledged it.
    Acknowledged,
    /// The API refused it for good.
    Refused,
}

impl Phase {
    /// As it stands in columns and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::DryRun => "dry_run",
            Self::Acknowledged => "acknowledged",
            Self::Refused => "refused",
        }
    }
}

/// One line of the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackCall {
    /// Whom it is about.
    pub person: Person,
    /// Which call.
    pub call: Call,
    /// Before or after.
    pub phase: Phase,
    /// What asked for it: a policy key (`on_hard_bounce`) or `attributes`.
    pub rule: String,
    /// The profile's reason at that time.
    pub evidence: String,
    /// Policy that judged.
    pub policy_version: u32,
    /// Unix milliseconds.
    pub at: i64,
    /// HTTP status; 0 before the answer.
    pub status: u16,
    /// Milliseconds from first attempt to answer; 0 before it.
    pub latency_ms: u32,
    /// Earliest arrival of the evidence behind the call, Unix milliseconds; 0 if unknown.
    pub received_at: i64,
}
