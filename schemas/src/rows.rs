//! The rows of the ClickHouse tables, fields in the order of `clickhouse/*.sql`.

use clickhouse::Row;
use serde::{Deserialize, Serialize};

/// Where a record came from: the identity of a row in most tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

impl Position<'_> {
    pub(crate) fn partition_u32(&self) -> u32 {
        u32::try_from(self.partition).unwrap_or_default()
    }

    pub(crate) fn offset_u64(&self) -> u64 {
        u64::try_from(self.offset).unwrap_or_default()
    }
}

/// `message_outcomes`: one row per event.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct MessageOutcome {
    /// Identity, together with `workspace`.
    pub event_id: String,
    /// `email_bounced` and the like.
    pub event_type: String,
    /// The object type.
    pub channel: String,
    /// The metric.
    pub metric: String,
    /// Unix seconds; 0 for an undated event.
    pub timestamp: u32,
    /// The workspace's own id of the person; empty if unknown.
    pub customer_id: String,
    /// Customer.io's id of the person; empty if unknown.
    pub cio_id: String,
    /// Delivery id; empty if there is none.
    pub message_id: String,
    /// Campaign.
    pub campaign_id: Option<u64>,
    /// API-triggered broadcast.
    pub broadcast_id: Option<u64>,
    /// Newsletter.
    pub newsletter_id: Option<u64>,
    /// Transactional message.
    pub transactional_message_id: Option<u64>,
    /// Workflow step.
    pub action_id: Option<u64>,
    /// Class of the failure text; empty where nothing failed.
    pub bounce_class: String,
    /// Failure text, addresses masked.
    pub failure_message: String,
    /// Clicked link, addresses masked.
    pub href: String,
    /// Domain of the recipient in ASCII.
    pub recipient_domain: String,
    /// Mailbox provider of that domain.
    pub mailbox_provider: String,
    /// Keyed hash of the address; empty if there is none or none is kept.
    pub email_hash: String,
    /// Everything else as JSON.
    pub metadata: String,
    /// Configured source.
    pub source: String,
    /// Unix milliseconds of arrival.
    pub received_at: i64,
    /// Topic of the record.
    pub src_topic: String,
    /// Its partition.
    pub src_partition: u32,
    /// Its offset.
    pub src_offset: u64,
    /// Configured workspace.
    pub workspace: String,
    /// Replay epoch of the partition.
    pub epoch: u32,
}

/// `raw_events`: the payload as received.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct RawEvent {
    /// The body's bytes.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    /// Key of the record.
    pub key: String,
    /// Configured source.
    pub source: String,
    /// Configured workspace.
    pub workspace: String,
    /// As sent.
    pub signature_timestamp: String,
    /// As sent.
    pub content_type: String,
    /// Unix milliseconds of arrival.
    pub received_at: i64,
    /// Topic of the record.
    pub src_topic: String,
    /// Its partition.
    pub src_partition: u32,
    /// Its offset.
    pub src_offset: u64,
    /// Replay epoch of the partition.
    pub epoch: u32,
}

/// `profiles`: every version of every person.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct Profile {
    /// Workspace.
    pub workspace: String,
    /// `id`, `cio` or `email`.
    pub namespace: String,
    /// Id in the namespace.
    pub person_id: String,
    /// 0 to 100.
    pub score: u8,
    /// Verdict on e-mail.
    pub state: String,
    /// False if mail will not arrive or must not be sent.
    pub email_deliverable: bool,
    /// False if promotional mail should stop.
    pub email_promotional_ok: bool,
    /// Channel to prefer; empty if unknown.
    pub best_channel: String,
    /// The verdict in words.
    pub reason: String,
    /// Parts of the score as JSON: `[{"name","points","evidence"}]`.
    pub contributions: String,
    /// Unix seconds of the evaluation.
    pub as_of: u32,
    /// Policy that judged.
    pub policy_version: u32,
    /// Unix milliseconds at which the record was written.
    pub written_at: i64,
    /// Topic of the record.
    pub src_topic: String,
    /// Its partition.
    pub src_partition: u32,
    /// Its offset.
    pub src_offset: u64,
    /// Replay epoch of the partition.
    pub epoch: u32,
}

/// `dead_letters`: what could not go on.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct DeadLetter {
    /// A short fixed word.
    pub reason: String,
    /// The service that gave it up.
    pub stage: String,
    /// More about the reason.
    pub error: String,
    /// The original bytes.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    /// Key of the record.
    pub key: String,
    /// Configured source.
    pub source: String,
    /// Configured workspace.
    pub workspace: String,
    /// Unix milliseconds of arrival.
    pub received_at: i64,
    /// Topic it was read from; `dead` itself if it never was in one.
    pub src_topic: String,
    /// Its partition.
    pub src_partition: u32,
    /// Its offset.
    pub src_offset: u64,
    /// Replay epoch of the partition.
    pub epoch: u32,
}

/// `track_calls`: every call and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct TrackCallRow {
    /// Workspace.
    pub workspace: String,
    /// `id`, `cio` or `email`.
    pub namespace: String,
    /// Id in the namespace.
    pub person_id: String,
    /// `identify`, `unsubscribe` or `suppress`.
    pub call: String,
    /// `intent`, `dry_run`, `acknowledged` or `refused`.
    pub phase: String,
    /// What asked for it.
    pub rule: String,
    /// The profile's reason.
    pub evidence: String,
    /// Policy that judged.
    pub policy_version: u32,
    /// Unix milliseconds.
    pub at: i64,
    /// HTTP status; 0 before the answer.
    pub status: u16,
    /// Milliseconds to the answer.
    pub latency_ms: u32,
    /// Arrival of the evidence, Unix milliseconds; 0 if unknown.
    pub evidence_received_at: i64,
    /// Topic of the record.
    pub src_topic: String,
    /// Its partition.
    pub src_partition: u32,
    /// Its offset.
    pub src_offset: u64,
    /// Replay epoch of the partition.
    pub epoch: u32,
}
