//! The records of the brake over what is irreversible: a log of one partition, in whose order everybody finds the same answer.

use serde::{Deserialize, Serialize};

use crate::profile::Cause;
use crate::versioned::{DecodeError, JsonFormat};

const ENTRY: JsonFormat = JsonFormat { record: "brake entry", version: 1, unmarked: 0 };
const RELEASE: JsonFormat = JsonFormat { record: "brake release", version: 1, unmarked: 0 };

/// A record in `track-brake`, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum BrakeEntry {
    /// Somebody is to be suppressed: may they?
    Request(Request),
    /// How many people a replica knows in a partition, by workspace.
    Known {
        /// Of `track-ledger`.
        partition: i32,
        /// People by workspace.
        people: std::collections::BTreeMap<String, u64>,
    },
    /// Said again while the brake is on, since the log forgets.
    Tripped {
        /// Workspace.
        workspace: String,
        /// Cause.
        cause: Cause,
        /// Offset of the request that tripped it.
        by: i64,
    },
    /// What an operator wrote to `operator`.
    Release(BrakeRelease),
}

/// Asks for one irreversible call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// To find the answer again.
    pub id: u64,
    /// `workspace:namespace:id`.
    pub person: String,
    /// The workspace.
    pub workspace: String,
    /// Counted apart.
    pub cause: Cause,
    /// Earliest arrival of the evidence, Unix milliseconds.
    pub received_at: i64,
    /// People of one workspace and cause within an hour, as the asker is configured.
    pub per_hour: u32,
    /// Millionths of the people known, as the asker is configured.
    pub share_ppm: u32,
}

/// What an operator decided about the brake of a workspace: the value of the record `workspace:brake` in `operator`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrakeRelease {
    /// Whose brake.
    pub workspace: String,
    /// When, in Unix milliseconds. What had arrived by then is let go.
    pub at: i64,
    /// Who decided; may be empty.
    #[serde(default)]
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    record: T,
}

impl BrakeEntry {
    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        ENTRY.encode(&Versioned { version: ENTRY.version, record: self })
    }

    /// Reads a value written by this or an earlier release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        ENTRY.decode(bytes).map(|read: Versioned<Self>| read.record)
    }
}

impl BrakeRelease {
    /// The record's key in `operator`.
    pub fn key(&self) -> String {
        format!("{}:brake", self.workspace)
    }

    /// The workspace whose brake a record in `operator` is about, by its key.
    pub fn workspace_of(key: &str) -> Option<&str> {
        key.strip_suffix(":brake").filter(|workspace| !workspace.contains(':'))
    }

    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        RELEASE.encode(&Versioned { version: RELEASE.version, record: self })
    }

    /// Reads a value written by this or an earlier release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        RELEASE.decode(bytes).map(|read: Versioned<Self>| read.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_were_written_and_newer_ones_are_refused() {
        let release = BrakeRelease { workspace: "shop".into(), at: 7, by: "ops".into(), reason: String::new() };
        let request = Request {
            id: u64::MAX,
            person: "shop:id:u-1".into(),
            workspace: "shop".into(),
            cause: Cause::Complaint,
            received_at: 5,
            per_hour: 10,
            share_ppm: 5_000,
        };
        let known = [("shop".to_owned(), 3)].into();
        for (entry, text) in [
            (
                BrakeEntry::Request(request),
                r#"{"version":1,"entry":"request","id":18446744073709551615,"person":"shop:id:u-1","workspace":"shop","cause":"complaint","received_at":5,"per_hour":10,"share_ppm":5000}"#,
            ),
            (BrakeEntry::Known { partition: 2, people: known }, r#"{"version":1,"entry":"known","partition":2,"people":{"shop":3}}"#),
            (
                BrakeEntry::Tripped { workspace: "shop".into(), cause: Cause::HardBounce, by: 9 },
                r#"{"version":1,"entry":"tripped","workspace":"shop","cause":"hard_bounce","by":9}"#,
            ),
            (BrakeEntry::Release(release.clone()), r#"{"version":1,"entry":"release","workspace":"shop","at":7,"by":"ops","reason":""}"#),
        ] {
            assert_eq!(String::from_utf8(entry.encode()).unwrap(), text);
            assert_eq!(BrakeEntry::decode(text.as_bytes()), Ok(entry));
        }
        assert_eq!(BrakeRelease::decode(&release.encode()), Ok(release.clone()));
        assert_eq!(BrakeRelease::workspace_of(&release.key()), Some("shop"));
        assert_eq!(BrakeRelease::workspace_of("shop:complaint:id:a:brake"), None);
        let newer = BrakeEntry::decode(br#"{"version":2,"entry":"verdict"}"#);
        assert_eq!(newer, Err(DecodeError::TooNew { record: ENTRY.record, found: 2, known: 1 }));
        assert_eq!(BrakeEntry::decode(b"{}"), Err(DecodeError::Malformed { record: ENTRY.record, version: 0 }));
    }
}
