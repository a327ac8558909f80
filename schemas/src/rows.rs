//! The rows of the ClickHouse tables, borrowed from what they are made of. A field is named as its column.

use std::borrow::Cow;

use serde::Serialize;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageOutcome<'a> {
    /// Identity, together with `workspace`.
    pub event_id: Cow<'a, str>,
    /// `email_bounced` and the like.
    pub event_type: Cow<'a, str>,
    /// The object type.
    pub channel: Cow<'a, str>,
    /// The metric.
    pub metric: Cow<'a, str>,
    /// Unix seconds; 0 for an undated event.
    pub timestamp: u32,
    /// The workspace's own id of the person; empty if unknown.
    pub customer_id: Cow<'a, str>,
    /// Customer.io's id of the person; empty if unknown.
    pub cio_id: Cow<'a, str>,
    /// Delivery id; empty if there is none.
    pub message_id: Cow<'a, str>,
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
    pub bounce_class: &'static str,
    /// The rule that decided it; empty where nothing failed or no text was given.
    pub bounce_rule: Cow<'a, str>,
    /// How sure the rule is, percent.
    pub bounce_confidence: u8,
    /// Generation of the rule table; 0 where no rule was asked.
    pub bounce_table: u32,
    /// Opened or clicked by a machine, as far as Customer.io can tell.
    pub machine: bool,
    /// Failure text, addresses masked.
    pub failure_message: Cow<'a, str>,
    /// Clicked link, addresses masked.
    pub href: Cow<'a, str>,
    /// Domain of the recipient in ASCII.
    pub recipient_domain: Cow<'a, str>,
    /// Mailbox provider of that domain.
    pub mailbox_provider: &'static str,
    /// Keyed hash of the address; empty if there is none or none is kept.
    pub email_hash: Cow<'a, str>,
    /// Everything else as JSON.
    pub metadata: Cow<'a, str>,
    /// Configured source.
    pub source: Cow<'a, str>,
    /// Unix milliseconds of arrival.
    pub received_at: i64,
    /// Topic of the record.
    pub src_topic: Cow<'a, str>,
    /// Its partition.
    pub src_partition: u32,
    /// Its offset.
    pub src_offset: u64,
    /// Configured workspace.
    pub workspace: Cow<'a, str>,
    /// Replay epoch of the partition.
    pub epoch: u32,
}

/// `raw_events`: the payload as received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RawEvent<'a> {
    /// The body's bytes.
    #[serde(with = "serde_bytes")]
    pub payload: &'a [u8],
    /// Key of the record.
    pub key: &'a str,
    /// Configured source.
    pub source: &'a str,
    /// Configured workspace.
    pub workspace: &'a str,
    /// As sent.
    pub signature_timestamp: &'a str,
    /// As sent.
    pub content_type: &'a str,
    /// Unix milliseconds of arrival.
    pub received_at: i64,
    /// Topic of the record.
    pub src_topic: &'a str,
    /// Its partition.
    pub src_partition: u32,
    /// Its offset.
    pub src_offset: u64,
    /// Replay epoch of the partition.
    pub epoch: u32,
}

/// `profiles`: every version of every person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Profile<'a> {
    /// Workspace.
    pub workspace: &'a str,
    /// `id`, `cio` or `email`.
    pub namespace: &'a str,
    /// Id in the namespace.
    pub person_id: &'a str,
    /// 0 to 100.
    pub score: u8,
    /// Verdict on e-mail.
    pub state: &'a str,
    /// False if mail will not arrive or must not be sent.
    pub email_deliverable: bool,
    /// False if promotional mail should stop.
    pub email_promotional_ok: bool,
    /// Channel to prefer; empty if unknown.
    pub best_channel: &'a str,
    /// The verdict in words.
    pub reason: &'a str,
    /// Parts of the score as JSON: `[{"name","points","evidence"}]`.
    pub contributions: &'a str,
    /// Unix seconds of the evaluation.
    pub as_of: u32,
    /// Policy that judged.
    pub policy_version: u32,
    /// Unix milliseconds at which the record was written.
    pub written_at: i64,
    /// Topic of the record.
    pub src_topic: &'a str,
    /// Its partition.
    pub src_partition: u32,
    /// Its offset.
    pub src_offset: u64,
    /// Replay epoch of the partition.
    pub epoch: u32,
}

/// `dead_letters`: what could not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter<'a> {
    /// A short fixed word.
    pub reason: &'a str,
    /// The service that gave it up.
    pub stage: &'a str,
    /// More about the reason.
    pub error: &'a str,
    /// The original bytes.
    #[serde(with = "serde_bytes")]
    pub payload: &'a [u8],
    /// Key of the record.
    pub key: &'a str,
    /// Configured source.
    pub source: &'a str,
    /// Configured workspace.
    pub workspace: &'a str,
    /// Unix milliseconds of arrival.
    pub received_at: i64,
    /// Topic it was read from; `dead` itself if it never was in one.
    pub src_topic: &'a str,
    /// Its partition.
    pub src_partition: u32,
    /// Its offset.
    pub src_offset: u64,
    /// Replay epoch of the partition.
    pub epoch: u32,
}

/// `track_calls`: every call and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrackCallRow<'a> {
    /// Workspace.
    pub workspace: &'a str,
    /// `id`, `cio` or `email`.
    pub namespace: &'a str,
    /// Id in the namespace.
    pub person_id: &'a str,
    /// `identify`, `unsubscribe` or `suppress`.
    pub call: &'a str,
    /// `intent`, `dry_run`, `acknowledged` or `refused`.
    pub phase: &'a str,
    /// What asked for it.
    pub rule: &'a str,
    /// The profile's reason.
    pub evidence: &'a str,
    /// Policy that judged.
    pub policy_version: u32,
    /// Unix milliseconds.
    pub at: i64,
    /// HTTP status; 0 before the answer.
    pub status: u16,
    /// Milliseconds to the answer.
    pub latency_ms: u32,
    /// Why it was refused, in the API's words.
    pub error: &'a str,
    /// Arrival of the evidence, Unix milliseconds; 0 if unknown.
    pub evidence_received_at: i64,
    /// Topic of the record.
    pub src_topic: &'a str,
    /// Its partition.
    pub src_partition: u32,
    /// Its offset.
    pub src_offset: u64,
    /// Replay epoch of the partition.
    pub epoch: u32,
}
