//! `aftersend track`: what Customer.io was told about one customer, and what operators decide about it.

mod release;
mod status;
mod unsuppress;

use std::io::Write as _;
use std::time::Duration;

use aftersend_pipeline::config::{Config, EmailPrivacy};
use aftersend_pipeline::consumer::restore_partitions;
use aftersend_pipeline::kafka::{ClientWatch, producer};
use aftersend_pipeline::record::Record;
use aftersend_schemas::DecodeError;
use aftersend_schemas::address::mask;
use aftersend_schemas::brake::BrakeEntry;
use aftersend_schemas::identity::Person;
use aftersend_schemas::ledger::LedgerRecord;
use aftersend_schemas::profile::ProfileRecord;
use aftersend_schemas::topics::Topics;
use aftersend_sinks::track::Brakes;
use anyhow::Context as _;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::args::{Decider, TrackCommand};

/// Runs one of them.
pub async fn run(command: &TrackCommand, config: &Config) -> anyhow::Result<()> {
    match command {
        TrackCommand::Status(options) => status::run(options, config).await,
        TrackCommand::Release(options) => release::run(options, config).await,
        TrackCommand::Unsuppress(options) => unsuppress::run(options, config).await,
    }
}

fn say(text: &str) {
    // Whoever reads may have read enough.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The values of a partition in order, of these keys only.
async fn read(
    config: &Config,
    topic: String,
    partition: i32,
    keep: impl Fn(&Record) -> bool + Send + 'static,
) -> anyhow::Result<Vec<Record>> {
    let config = config.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut records = Vec::new();
        let read = restore_partitions(&config, &topic, &[partition], |record| {
            if keep(&record) {
                records.push(record);
            }
        });
        read.with_context(|| format!("cannot read {topic}; if it is not there, `aftersend migrate` makes it"))?;
        anyhow::Ok(records)
    });
    read.await?
}

/// Why somebody decides, without what the configuration keeps out of records: they stay for years.
fn reason(config: &Config, decider: &Decider) -> String {
    match config.privacy.email {
        EmailPrivacy::Plain => decider.reason.clone(),
        EmailPrivacy::Hash | EmailPrivacy::Drop => mask(&decider.reason).into_owned(),
    }
}

async fn write(producer: &FutureProducer<ClientWatch>, topic: &str, partition: i32, key: &str, value: &[u8]) -> anyhow::Result<()> {
    let record = FutureRecord::to(topic).partition(partition).key(key).payload(value);
    producer.send(record, Duration::from_secs(10)).await.map_err(|(error, _)| error).with_context(|| format!("cannot write to {topic}"))?;
    Ok(())
}

/// What the ledger says of a person.
async fn ledger(config: &Config, person: &Person, partition: i32) -> anyhow::Result<Option<LedgerRecord>> {
    let topic = Topics::new(&config.kafka.topic_prefix).track_ledger();
    let records = read(config, topic, partition, is_of(person)).await?;
    Ok(records.last().and_then(|record| record.value.as_deref()).map(LedgerRecord::decode).transpose()?)
}

/// A person's profile and where it stands.
async fn profile(config: &Config, person: &Person, partition: i32) -> anyhow::Result<Option<(i64, ProfileRecord)>> {
    let records = read(config, Topics::new(&config.kafka.topic_prefix).profiles(), partition, is_of(person)).await?;
    let Some(record) = records.last() else { return Ok(None) };
    let Some(value) = record.value.as_deref() else { return Ok(None) };
    let mut profile = ProfileRecord::decode(value)?;
    // An earlier configuration may have let it be written.
    profile.address = profile.address.filter(|_| config.privacy.email == EmailPrivacy::Plain);
    Ok(Some((record.offset, profile)))
}

/// Which records of a topic are about a person.
fn is_of(person: &Person) -> impl Fn(&Record) -> bool + Send + 'static {
    let key = person.to_string();
    move |record| record.key == key.as_bytes()
}

/// Which brakes are on.
async fn brakes(config: &Config) -> anyhow::Result<Brakes> {
    let (mut brakes, mut unreadable) = (Brakes::default(), Unreadable::default());
    for record in read(config, Topics::new(&config.kafka.topic_prefix).track_brake(), 0, |_| true).await? {
        if let Some(entry) = unreadable.decode(&record, BrakeEntry::decode) {
            brakes.apply(record.offset, record.timestamp, &entry);
        }
    }
    unreadable.count()?;
    Ok(brakes)
}

/// Records that the sink goes on without, and so do we; and one at which it stops.
#[derive(Default)]
struct Unreadable {
    passed_over: usize,
    too_new: Option<DecodeError>,
}

impl Unreadable {
    /// Reads the value of a record, or says in the log which one cannot be read.
    fn decode<T>(&mut self, record: &Record, decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>) -> Option<T> {
        match decode(record.value.as_deref()?) {
            Ok(read) => return Some(read),
            Err(error @ DecodeError::TooNew { .. }) => self.too_new = Some(error),
            Err(error) => {
                self.passed_over += 1;
                tracing::warn!(%error, topic = %record.topic, partition = record.partition, offset = record.offset, "passed over");
            }
        }
        None
    }

    /// How many were passed over. What a newer release wrote is an error.
    fn count(&self) -> Result<usize, DecodeError> {
        self.too_new.map_or(Ok(self.passed_over), Err)
    }
}

/// RFC 3339, in UTC.
fn time(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_passed_over_and_what_a_newer_release_wrote_is_not() {
        let record = |value: Option<&[u8]>| Record {
            topic: "track-brake".into(),
            partition: 0,
            offset: 7,
            timestamp: 0,
            key: Vec::new(),
            value: value.map(<[u8]>::to_vec),
            headers: Default::default(),
        };
        let mut unreadable = Unreadable::default();
        let known = BrakeEntry::Known { partition: 3, people: Default::default() };
        for value in [b"{".as_slice(), b"", b"\xff"] {
            assert_eq!(unreadable.decode(&record(Some(value)), BrakeEntry::decode), None);
        }
        assert_eq!(unreadable.decode(&record(None), BrakeEntry::decode), None);
        assert_eq!(unreadable.decode(&record(Some(&known.encode())), BrakeEntry::decode), Some(known));
        assert_eq!(unreadable.count(), Ok(3), "a tombstone has nothing to be read");
        unreadable.decode(&record(Some(b"{\"version\":99}")), BrakeEntry::decode);
        assert!(matches!(unreadable.count(), Err(DecodeError::TooNew { found: 99, .. })));
    }
}
