//! The record in `track-calls`, as JSON: one before each call (what is meant to be done, and why) and one after it (what came of it).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::identity::Person;
use crate::versioned::{DecodeError, JsonFormat};

const FORMAT: JsonFormat = JsonFormat { record: "track call", version: TrackCall::VERSION, unmarked: 1 };

/// Which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// `PUT /api/v1/customers/{id}` with attributes.
    Identify,
    /// The same, with `unsubscribed: true`.
    Unsubscribe,
    /// `POST /api/v1/customers/{id}/suppress`: deletes the person.
    Suppress,
    /// `POST /api/v1/customers/{id}/unsuppress`, by an operator: frees the identifiers. Since version 2.
    Unsuppress,
}

impl Call {
    /// As it stands in columns and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Unsubscribe => "unsubscribe",
            Self::Suppress => "suppress",
            Self::Unsuppress => "unsuppress",
        }
    }
}

/// Where in its life a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Not made again although nobody knows whether the API heard of it: by now something else is wanted. Since version 2.
    Withdrawn,
}

impl Phase {
    /// As it stands in columns and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::DryRun => "dry_run",
            Self::Acknowledged => "acknowledged",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// What was meant to be done to one person at Customer.io and why, or what came of it: the value of a record in `track-calls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrackCall {
    /// Version of this record. Members may be added within a version; a reader that finds a higher one than it knows must not guess.
    #[serde(default = "first_version")]
    pub version: u32,
    /// Whom it is about.
    pub person: Person,
    /// Which call.
    pub call: Call,
    /// Before or after.
    pub phase: Phase,
    /// What asked for it: a policy key (`on_hard_bounce`), `attributes` or `operator`.
    pub rule: String,
    /// The profile's reason at that time, or the operator's.
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
    /// What the API said to a call it refused, shortened, without ids, addresses and credentials; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// A record without a version is of the first.
fn first_version() -> u32 {
    1
}

impl TrackCall {
    /// The version that this release reads up to.
    pub const VERSION: u32 = 2;

    /// The first version that knows this call and this phase, so that an earlier release reads what it can.
    pub fn version_of(call: Call, phase: Phase) -> u32 {
        if call == Call::Unsuppress || phase == Phase::Withdrawn { 2 } else { 1 }
    }

    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        FORMAT.encode(self)
    }

    /// Reads a value written by this or an earlier release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        FORMAT.decode(bytes)
    }
}
