//! What each table takes from which topic. Pure.

use aftersend_pipeline::record::Record;
use aftersend_schemas::DecodeError;
use aftersend_schemas::headers::{Dead, Origin, Received};
use aftersend_schemas::outcome::Normaliser;
use aftersend_schemas::profile::{ContributionJson, ProfileRecord};
use aftersend_schemas::rows::{DeadLetter, MessageOutcome, Position, Profile, RawEvent, TrackCallRow};
use aftersend_schemas::topics::Topics;
use aftersend_schemas::track_call::TrackCall;
use clickhouse::RowOwned;
use serde::Serialize;

/// Names of the tables that are filled.
pub const TABLES: [&str; 5] = [Outcomes::NAME, RawEvents::NAME, Profiles::NAME, DeadLetters::NAME, TrackCalls::NAME];

/// Why a record makes no row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It never will: to the dead letters, under this fixed word.
    Malformed(&'static str),
    /// A newer release does: this one stops, so that the other goes on here.
    TooNew(DecodeError),
}

impl Unreadable {
    fn of(error: DecodeError, reason: &'static str) -> Self {
        match error {
            DecodeError::TooNew { .. } => Self::TooNew(error),
            DecodeError::Malformed { .. } => Self::Malformed(reason),
        }
    }
}

/// One table: its name, its topic, and how a record becomes a row.
pub(super) trait Table: Clone + Send + Sync + 'static {
    const NAME: &'static str;
    type Row: RowOwned + clickhouse::RowWrite + Serialize + Send + Sync + 'static;

    fn topic(topics: &Topics) -> String;

    /// The row, or nothing for a tombstone.
    fn row(&self, record: &Record, epoch: u32) -> Result<Option<Self::Row>, Unreadable>;
}

/// `message_outcomes`
#[derive(Clone)]
pub(super) struct Outcomes(pub(super) Normaliser);
/// `raw_events`
#[derive(Clone)]
pub(super) struct RawEvents;
/// `profiles`
#[derive(Clone)]
pub(super) struct Profiles;
/// `dead_letters`
#[derive(Clone)]
pub(super) struct DeadLetters;
/// `track_calls`
#[derive(Clone)]
pub(super) struct TrackCalls;

impl Table for Outcomes {
    const NAME: &'static str = "message_outcomes";
    type Row = MessageOutcome;

    fn topic(topics: &Topics) -> String {
        topics.raw()
    }

    fn row(&self, record: &Record, epoch: u32) -> Result<Option<MessageOutcome>, Unreadable> {
        let Some(body) = &record.value else { return Ok(None) };
        let received = Received::from_headers(record.headers(), record.timestamp);
        self.0.outcome(body, &received, &position(record), epoch).map(Some).map_err(|_| Unreadable::Malformed("not_an_event"))
    }
}

impl Table for RawEvents {
    const NAME: &'static str = "raw_events";
    type Row = RawEvent;

    fn topic(topics: &Topics) -> String {
        topics.raw()
    }

    fn row(&self, record: &Record, epoch: u32) -> Result<Option<RawEvent>, Unreadable> {
        let Some(body) = &record.value else { return Ok(None) };
        let received = Received::from_headers(record.headers(), record.timestamp);
        Ok(Some(RawEvent {
            payload: body.clone(),
            key: record.key_text().into_owned(),
            source: received.source,
            workspace: received.workspace,
            signature_timestamp: received.signature_timestamp,
            content_type: received.content_type,
            received_at: received.received_at,
            src_topic: record.topic.to_string(),
            src_partition: partition(record),
            src_offset: offset(record),
            epoch,
        }))
    }
}

impl Table for Profiles {
    const NAME: &'static str = "profiles";
    type Row = Profile;

    fn topic(topics: &Topics) -> String {
        topics.profiles()
    }

    fn row(&self, record: &Record, epoch: u32) -> Result<Option<Profile>, Unreadable> {
        let Some(value) = &record.value else { return Ok(None) };
        let profile = ProfileRecord::decode(value).map_err(|error| Unreadable::of(error, "unreadable_profile"))?;
        let evaluation = profile.evaluation;
        let contributions: Vec<_> = evaluation.contributions.iter().map(ContributionJson::from).collect();
        Ok(Some(Profile {
            workspace: profile.person.workspace,
            namespace: profile.person.namespace.as_str().to_owned(),
            person_id: profile.person.id,
            score: evaluation.score,
            state: evaluation.state.as_str().to_owned(),
            email_deliverable: evaluation.email_deliverable,
            email_promotional_ok: evaluation.email_promotional_ok,
            best_channel: evaluation.best_channel,
            reason: evaluation.reason,
            contributions: serde_json::to_string(&contributions).unwrap_or_default(),
            as_of: u32::try_from(profile.as_of).unwrap_or_default(),
            policy_version: profile.policy_version,
            written_at: record.timestamp,
            src_topic: record.topic.to_string(),
            src_partition: partition(record),
            src_offset: offset(record),
            epoch,
        }))
    }
}

impl Table for DeadLetters {
    const NAME: &'static str = "dead_letters";
    type Row = DeadLetter;

    fn topic(topics: &Topics) -> String {
        topics.dead()
    }

    fn row(&self, record: &Record, epoch: u32) -> Result<Option<DeadLetter>, Unreadable> {
        let received = Received::from_headers(record.headers(), record.timestamp);
        let dead = Dead::from_headers(record.headers()).map_err(|error| Unreadable::of(error, "unreadable_dead_letter"))?;
        // What never was in a topic is identified by where it stands in this one.
        let here = || Origin { topic: record.topic.to_string(), partition: partition(record), offset: offset(record) };
        let origin = dead.origin.unwrap_or_else(here);
        Ok(Some(DeadLetter {
            reason: dead.reason,
            stage: dead.stage,
            error: dead.error,
            payload: record.value.clone().unwrap_or_default(),
            key: record.key_text().into_owned(),
            source: received.source,
            workspace: received.workspace,
            received_at: received.received_at,
            src_topic: origin.topic,
            src_partition: origin.partition,
            src_offset: origin.offset,
            epoch,
        }))
    }
}

impl Table for TrackCalls {
    const NAME: &'static str = "track_calls";
    type Row = TrackCallRow;

    fn topic(topics: &Topics) -> String {
        topics.track_calls()
    }

    fn row(&self, record: &Record, epoch: u32) -> Result<Option<TrackCallRow>, Unreadable> {
        let Some(value) = &record.value else { return Ok(None) };
        let call = TrackCall::decode(value).map_err(|error| Unreadable::of(error, "unreadable_track_call"))?;
        Ok(Some(TrackCallRow {
            workspace: call.person.workspace,
            namespace: call.person.namespace.as_str().to_owned(),
            person_id: call.person.id,
            call: call.call.as_str().to_owned(),
            phase: call.phase.as_str().to_owned(),
            rule: call.rule,
            evidence: call.evidence,
            policy_version: call.policy_version,
            at: call.at,
            status: call.status,
            latency_ms: call.latency_ms,
            evidence_received_at: call.received_at,
            src_topic: record.topic.to_string(),
            src_partition: partition(record),
            src_offset: offset(record),
            epoch,
        }))
    }
}

fn position(record: &Record) -> Position<'_> {
    Position { topic: &record.topic, partition: record.partition, offset: record.offset }
}

fn partition(record: &Record) -> u32 {
    u32::try_from(record.partition).unwrap_or_default()
}

fn offset(record: &Record) -> u64 {
    u64::try_from(record.offset).unwrap_or_default()
}
