//! What each table takes from which topic. Pure.

use std::time::Duration;

use aftersend_pipeline::config::ClickHouse;
use aftersend_pipeline::record::Record;
use aftersend_schemas::DecodeError;
use aftersend_schemas::headers::{Dead, Origin, Received};
use aftersend_schemas::migrations::LATEST_MILLIS;
use aftersend_schemas::normaliser::Normaliser;
use aftersend_schemas::profile::{Channel, ContributionJson, ProfileRecord};
use aftersend_schemas::row_binary::Block;
use aftersend_schemas::rows::{DeadLetter, Position, Profile, RawEvent, TrackCallRow};
use aftersend_schemas::topics::Topics;
use aftersend_schemas::track_call::TrackCall;
use serde::Serialize;

/// Names of the tables that are filled.
pub const TABLES: [&str; 5] = [Outcomes::NAME, RawEvents::NAME, Profiles::NAME, DeadLetters::NAME, TrackCalls::NAME];

/// Topics of the tables that are to be filled, and the one for what makes no row; none twice.
pub(super) fn topics(topics: &Topics, config: &ClickHouse) -> Vec<String> {
    let all = [
        (Outcomes::NAME, Outcomes::topic(topics)),
        (RawEvents::NAME, RawEvents::topic(topics)),
        (Profiles::NAME, Profiles::topic(topics)),
        (DeadLetters::NAME, DeadLetters::topic(topics)),
        (TrackCalls::NAME, TrackCalls::topic(topics)),
    ];
    let filled = all.into_iter().filter(|(table, _)| config.fills(table)).map(|(_, topic)| topic);
    let mut needed: Vec<String> = filled.chain([topics.dead()]).collect();
    needed.sort();
    needed.dedup();
    needed
}

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

/// What a row is known by when it is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// Where it stands in the topic that is read.
    Place,
    /// Its event: another record of the same event may have taken its place.
    Event,
    /// Where it came from, and who gave it up.
    Origin,
}

/// What is known of a row that was added.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Added {
    /// Tells the table's partitions apart, or finer: an insert may touch only so many.
    pub(super) partition: i64,
    /// Unix milliseconds from which its retention counts.
    pub(super) kept_from: i64,
    /// Its identity as SQL, unless that is its place.
    pub(super) identity: Option<String>,
}

impl Added {
    fn at(millis: i64) -> Self {
        Self { partition: millis.div_euclid(1_000 * DAY_SECONDS), kept_from: millis, identity: None }
    }
}

const DAY_SECONDS: i64 = 86_400;

/// The partition of `message_outcomes` for an id, as the table itself has it: twelve days of a ULID's time, one for all other ids.
fn outcome_partition(event_id: &str) -> i64 {
    const LETTERS: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    const OTHER: i64 = 1024;
    let is_letter = |byte: &u8| matches!(byte, b'0'..=b'9' | b'A'..=b'H' | b'J' | b'K' | b'M' | b'N' | b'P'..=b'T' | b'V'..=b'Z');
    let digit = |byte: &u8| LETTERS.iter().position(|letter| letter == byte).and_then(|digit| i64::try_from(digit).ok());
    match event_id.as_bytes() {
        [b'0', b'1', high, low, rest @ ..] if rest.len() == 22 && rest.iter().all(is_letter) => {
            digit(high).zip(digit(low)).map_or(OTHER, |(high, low)| high * 32 + low)
        }
        _ => OTHER,
    }
}

/// `(workspace, event_id)` as SQL.
pub(super) fn literal(workspace: &str, event_id: &str) -> String {
    let mut sql = String::with_capacity(workspace.len() + event_id.len() + 8);
    sql.push('(');
    quote(workspace, &mut sql);
    sql.push(',');
    quote(event_id, &mut sql);
    sql.push(')');
    sql
}

/// `(src_topic, src_partition, src_offset, stage)` as SQL.
pub(super) fn origin_literal(topic: &str, partition: u32, offset: u64, stage: &str) -> String {
    let mut sql = String::from("(");
    quote(topic, &mut sql);
    sql.push_str(&format!(",{partition},{offset},"));
    quote(stage, &mut sql);
    sql.push(')');
    sql
}

fn quote(text: &str, sql: &mut String) {
    sql.push('\'');
    for letter in text.chars() {
        match letter {
            '\'' => sql.push_str("\\'"),
            '\\' => sql.push_str("\\\\"),
            '\0' => sql.push_str("\\0"),
            _ => sql.push(letter),
        }
    }
    sql.push('\'');
}

/// One table: its name, its topic, and how a record becomes a row.
pub(super) trait Table: Clone + Send + Sync + 'static {
    const NAME: &'static str;
    const IDENTITY: Identity;
    /// A batch is closed at this age at the latest: how late rows may be, against parts that the server has to write and merge. At a second, twelve
    /// partitions make twelve parts a second.
    const AGE: Duration = Duration::from_secs(1);
    fn topic(topics: &Topics) -> String;

    /// Adds the row of a record, or nothing for a tombstone.
    fn add(&self, record: &Record, epoch: u32, block: &mut Block) -> Result<Option<Added>, Unreadable>;
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
    const IDENTITY: Identity = Identity::Event;

    fn topic(topics: &Topics) -> String {
        topics.raw()
    }

    fn add(&self, record: &Record, epoch: u32, block: &mut Block) -> Result<Option<Added>, Unreadable> {
        let Some(body) = &record.value else { return Ok(None) };
        let received = received(record);
        let row = self.0.outcome(body, &received, &position(record), epoch).map_err(|_| Unreadable::Malformed("not_an_event"))?;
        push(block, &row)?;
        let identity = Some(literal(&row.workspace, &row.event_id));
        Ok(Some(Added { partition: outcome_partition(&row.event_id), kept_from: row.received_at, identity }))
    }
}

impl Table for RawEvents {
    const NAME: &'static str = "raw_events";
    const IDENTITY: Identity = Identity::Place;
    /// Nobody watches it come in; it has the largest rows.
    const AGE: Duration = Duration::from_secs(4);

    fn topic(topics: &Topics) -> String {
        topics.raw()
    }

    fn add(&self, record: &Record, epoch: u32, block: &mut Block) -> Result<Option<Added>, Unreadable> {
        let Some(body) = &record.value else { return Ok(None) };
        let received = received(record);
        push(
            block,
            &RawEvent {
                payload: body,
                key: &record.key_text(),
                source: &received.source,
                workspace: &received.workspace,
                signature_timestamp: &received.signature_timestamp,
                content_type: &received.content_type,
                received_at: received.received_at,
                src_topic: &record.topic,
                src_partition: partition(record),
                src_offset: offset(record),
                epoch,
            },
        )?;
        Ok(Some(Added::at(received.received_at)))
    }
}

impl Table for Profiles {
    const NAME: &'static str = "profiles";
    const IDENTITY: Identity = Identity::Place;

    fn topic(topics: &Topics) -> String {
        topics.profiles()
    }

    fn add(&self, record: &Record, epoch: u32, block: &mut Block) -> Result<Option<Added>, Unreadable> {
        let Some(value) = &record.value else { return Ok(None) };
        let profile = ProfileRecord::decode(value).map_err(|error| Unreadable::of(error, "unreadable_profile"))?;
        let evaluation = profile.evaluation;
        let contributions = evaluation.contributions();
        let contributions: Vec<_> = contributions.iter().map(ContributionJson::from).collect();
        let contributions = serde_json::to_string(&contributions).unwrap_or_default();
        push(
            block,
            &Profile {
                workspace: &profile.person.workspace,
                namespace: profile.person.namespace.as_str(),
                person_id: &profile.person.id,
                score: evaluation.score,
                state: evaluation.state.as_str(),
                email_deliverable: evaluation.email_deliverable,
                email_promotional_ok: evaluation.email_promotional_ok,
                best_channel: evaluation.best_channel.map_or("", Channel::as_str),
                reason: &evaluation.reason(),
                contributions: &contributions,
                as_of: u32::try_from(profile.as_of).unwrap_or_default(),
                policy_version: profile.policy_version,
                written_at: record.timestamp,
                src_topic: &record.topic,
                src_partition: partition(record),
                src_offset: offset(record),
                epoch,
            },
        )?;
        Ok(Some(Added::at(record.timestamp)))
    }
}

impl Table for DeadLetters {
    const NAME: &'static str = "dead_letters";
    const IDENTITY: Identity = Identity::Origin;

    fn topic(topics: &Topics) -> String {
        topics.dead()
    }

    fn add(&self, record: &Record, epoch: u32, block: &mut Block) -> Result<Option<Added>, Unreadable> {
        let received = received(record);
        let dead = Dead::from_headers(record.headers()).map_err(|error| Unreadable::of(error, "unreadable_dead_letter"))?;
        // What never was in a topic is identified by where it stands in this one.
        let here = || Origin { topic: record.topic.to_string(), partition: partition(record), offset: offset(record) };
        let origin = dead.origin.unwrap_or_else(here);
        push(
            block,
            &DeadLetter {
                reason: &dead.reason,
                stage: &dead.stage,
                error: &dead.error,
                payload: record.value.as_deref().unwrap_or_default(),
                key: &record.key_text(),
                source: &received.source,
                workspace: &received.workspace,
                received_at: received.received_at,
                src_topic: &origin.topic,
                src_partition: origin.partition,
                src_offset: origin.offset,
                epoch,
            },
        )?;
        let identity = Some(origin_literal(&origin.topic, origin.partition, origin.offset, &dead.stage));
        Ok(Some(Added { identity, ..Added::at(received.received_at) }))
    }
}

impl Table for TrackCalls {
    const NAME: &'static str = "track_calls";
    const IDENTITY: Identity = Identity::Place;

    fn topic(topics: &Topics) -> String {
        topics.track_calls()
    }

    fn add(&self, record: &Record, epoch: u32, block: &mut Block) -> Result<Option<Added>, Unreadable> {
        let Some(value) = &record.value else { return Ok(None) };
        let call = TrackCall::decode(value).map_err(|error| Unreadable::of(error, "unreadable_track_call"))?;
        push(
            block,
            &TrackCallRow {
                workspace: &call.person.workspace,
                namespace: call.person.namespace.as_str(),
                person_id: &call.person.id,
                call: call.call.as_str(),
                phase: call.phase.as_str(),
                rule: &call.rule,
                evidence: &call.evidence,
                policy_version: call.policy_version,
                at: call.at,
                status: call.status,
                latency_ms: call.latency_ms,
                error: &call.error,
                evidence_received_at: call.received_at,
                src_topic: &record.topic,
                src_partition: partition(record),
                src_offset: offset(record),
                epoch,
            },
        )?;
        Ok(Some(Added::at(call.at)))
    }
}

/// What ingest wrote of a record's arrival, within what retention can count.
fn received(record: &Record) -> Received<'_> {
    let received = Received::from_headers(record.headers(), record.timestamp);
    Received { received_at: received.received_at.min(LATEST_MILLIS), ..received }
}

/// Rows hold what a block can, so this is for a row type that grew a field it cannot.
fn push(block: &mut Block, row: &impl Serialize) -> Result<(), Unreadable> {
    block.push(row).map_err(|_| Unreadable::Malformed("row_without_form"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_its_columns_on_record() {
        assert_eq!(aftersend_schemas::columns::TABLES.map(|table| table.name), TABLES);
    }

    #[test]
    fn only_topics_of_enabled_tables_are_needed() {
        let config = ClickHouse { tables: vec!["message_outcomes".into(), "raw_events".into()], ..ClickHouse::default() };
        assert_eq!(topics(&Topics::new("a"), &config), ["a.dead", "a.raw"]);
        assert_eq!(topics(&Topics::new("a"), &ClickHouse::default()), ["a.dead", "a.profiles", "a.raw", "a.track-calls"]);
    }

    /// Beside `slice` and `PARTITION BY` in 0001_tables.sql; an end-to-end test counts the partitions of a table.
    #[test]
    fn outcomes_are_in_partitions_by_the_time_of_their_id() {
        assert_eq!(outcome_partition("01KGE3M7ZHG2BB1R6R81W518FM"), 19 * 32 + 16);
        assert_eq!(outcome_partition("01ZZZZZZZZZZZZZZZZZZZZZZZZ"), 1023);
        for other in
            ["", "e", "01KGE3M7ZHG2BB1R6R81W518F", "11KGE3M7ZHG2BB1R6R81W518FM", "01kge3m7zhg2bb1r6r81w518fm", "01KGE3M7ZHG2BB1R6R81W518FI"]
        {
            assert_eq!(outcome_partition(other), 1024, "{other}");
        }
    }
}
