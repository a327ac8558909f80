//! The record in `operator`, as JSON: what an operator decided about one person. Compaction and replay keep the newest of each kind.

use serde::{Deserialize, Serialize};

use crate::identity::Person;
use crate::versioned::{DecodeError, JsonFormat};

const FORMAT: JsonFormat = JsonFormat { record: "operator record", version: OperatorRecord::VERSION, unmarked: 0 };

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Complaints up to now no longer count. A later one does.
    LiftComplaint,
    /// Hard bounces up to now no longer count. A later one does.
    LiftHardBounce,
    /// Nothing irreversible is ever done to the person.
    NeverSuppress,
    /// Takes [`Decision::NeverSuppress`] back.
    MaySuppress,
    /// The person was suppressed and shall be written to again: complaints and hard bounces up to now no longer count.
    Unsuppress,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Self; 5] = [Self::LiftComplaint, Self::LiftHardBounce, Self::NeverSuppress, Self::MaySuppress, Self::Unsuppress];

    /// The part of the key that decisions share of which only the newest counts.
    pub fn kind(self) -> &'static str {
        match self {
            Self::LiftComplaint => "complaint",
            Self::LiftHardBounce => "hard_bounce",
            Self::NeverSuppress | Self::MaySuppress => "never_suppress",
            Self::Unsuppress => "unsuppress",
        }
    }
}

/// What an operator decided about one person: the value of a record in `operator`, in the partition of the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRecord {
    /// Version of this record. Members may be added within a version; a reader that finds a higher one than it knows must not guess.
    pub version: u32,
    /// Whom it is about.
    pub person: Person,
    /// What was decided.
    pub decision: Decision,
    /// When, in Unix seconds: evidence up to then is what the decision is about.
    pub at: i64,
    /// Milliseconds of that second; what was done within it, where it is missing, was done before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millisecond: Option<u16>,
    /// Evidence up to then, Unix seconds, where some of it is dated later than the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<i64>,
    /// Who decided; may be empty.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
}

impl OperatorRecord {
    /// The version that this release writes and reads up to.
    pub const VERSION: u32 = 1;

    /// A decision about all evidence up to `at` (Unix seconds), by nobody and for no reason.
    pub fn new(person: Person, decision: Decision, at: i64) -> Self {
        Self { version: Self::VERSION, person, decision, at, millisecond: None, through: None, by: String::new(), reason: String::new() }
    }

    /// When it was decided, Unix milliseconds.
    pub fn decided_at(&self) -> i64 {
        self.at.saturating_mul(1_000).saturating_add(self.millisecond.unwrap_or(999).into())
    }

    /// The latest evidence that it is about, Unix seconds.
    pub fn through(&self) -> i64 {
        self.through.map_or(self.at, |through| through.max(self.at))
    }

    /// The record's key: `workspace:kind:namespace:id`.
    pub fn key(&self) -> String {
        let Person { workspace, namespace, id } = &self.person;
        format!("{workspace}:{}:{}:{id}", self.decision.kind(), namespace.as_str())
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
