//! Brings a partition of the local store up to what is committed in `profiles`: the difference since its checkpoint, or everything when in doubt.
//!
//! Which topic a checkpoint speaks of cannot be told by its name. So a number, drawn when a topic was first read, is committed in the processor's group
//! beside the position in `profiles`: Kafka drops what groups committed for a topic that is deleted, and with it the number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aftersend_pipeline::config::{Config, EmailPrivacy};
use aftersend_pipeline::consumer::{Handle, read_to_end};
use aftersend_pipeline::offsets::NextOffset;
use aftersend_pipeline::record::Record;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::profile::EmailState;
use aftersend_schemas::topics::Topics;
use xxhash_rust::xxh3::xxh3_64;

use super::input::Input;
use super::key::Key;
use super::metrics::ProcessorMetrics;
use super::row::{Head, Row};
use super::session::SessionError;
use super::store::{Change, Checkpoint, Store, timers};
use crate::score::Policies;

const TIMEOUT: Duration = Duration::from_secs(15);
/// People written to the store at once.
const CHUNK: usize = 5_000;

/// Why a local copy is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It has seen another topic of that name.
    OtherTopic,
    /// It may have missed that somebody was forgotten.
    TooOld,
    /// The rules have changed, and everybody is judged again; or what is kept of addresses.
    OtherRules,
    /// It has seen more than there is.
    Ahead,
}

impl Doubt {
    pub(super) const ALL: [Self; 4] = [Self::OtherTopic, Self::TooOld, Self::OtherRules, Self::Ahead];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::OtherTopic => "other_topic",
            Self::TooOld => "too_old",
            Self::OtherRules => "other_rules",
            Self::Ahead => "ahead",
        }
    }

    /// What speaks against a checkpoint.
    fn about(checkpoint: &Checkpoint, topic: Option<u64>, rules: u64, now: i64, delete_retention: i64) -> Option<Self> {
        let age = now - checkpoint.at;
        if topic != Some(checkpoint.topic) {
            return Some(Self::OtherTopic);
        }
        // A part of the time is left for the restore itself. A clock that went back tells no age.
        if age < 0 || age >= delete_retention / 4 * 3 {
            return Some(Self::TooOld);
        }
        (checkpoint.rules != rules).then_some(Self::OtherRules)
    }
}

/// What a restore needs.
#[derive(Clone)]
pub(super) struct Restorer {
    pub(super) config: Config,
    pub(super) policies: Arc<Policies>,
    pub(super) store: Store,
    pub(super) group: Handle<Input>,
    pub(super) metrics: ProcessorMetrics,
    /// Of `profiles`, in milliseconds: so long a tombstone can still be read.
    pub(super) delete_retention: i64,
}

/// Addresses may be in the store.
fn keeps_addresses(config: &Config) -> bool {
    config.privacy.email == EmailPrivacy::Plain
}

/// What a copy was made under, as a number.
fn rules(config: &Config) -> u64 {
    let mut text = format!("{:?}", config.policy);
    if keeps_addresses(config) {
        text.push_str(" with addresses");
    }
    xxh3_64(text.as_bytes())
}

/// Partitions that are up to date, and where the group stands in `operator`.
pub(super) struct Ready {
    pub(super) checkpoints: BTreeMap<i32, Checkpoint>,
    pub(super) operator: Vec<(i32, Option<NextOffset>)>,
}

impl Restorer {
    /// Blocks. Ends early, with what it has, once `stop` is set.
    pub(super) fn run(&self, partitions: &[i32], stop: &AtomicBool) -> Result<Ready, SessionError> {
        let started = Instant::now();
        let topic = Topics::new(&self.config.kafka.topic_prefix).profiles();
        let rules = rules(&self.config);
        let mut ready = BTreeMap::new();
        let (mut starts, mut operator) = (Vec::new(), Vec::new());
        let operators: Arc<str> = Topics::new(&self.config.kafka.topic_prefix).operator().into();
        for &partition in partitions {
            let committed = self.group.committed(&(topic.as_str().into(), partition), TIMEOUT)?;
            let identity = u64::from_str_radix(&committed.metadata, 16).ok().filter(|_| committed.next.is_some());
            let now = unix_millis();
            let fresh =
                Checkpoint { next: 0, topic: identity.unwrap_or_else(rand::random), rules, at: now, people: [0; EmailState::ALL.len()] };
            let checkpoint = match self.store.checkpoint(partition)? {
                None => {
                    self.store.wipe(partition)?;
                    fresh
                }
                Some(known) => match Doubt::about(&known, identity, rules, now, self.delete_retention) {
                    None => known,
                    Some(doubt) => {
                        self.discard(partition, doubt)?;
                        fresh
                    }
                },
            };
            operator.push((partition, self.group.committed(&(operators.clone(), partition), TIMEOUT)?.next));
            starts.push((partition, (checkpoint.next > 0).then(|| checkpoint.next())));
            ready.insert(partition, checkpoint);
        }
        let mut records = self.read(&topic, &starts, &mut ready, stop)?;
        // A topic that ends before the checkpoint was read from its beginning, into people who are not in it.
        let is_ahead = |(partition, from): &&(i32, Option<NextOffset>)| {
            ready.get(partition).zip(*from).is_some_and(|(checkpoint, from)| checkpoint.next < from.0)
        };
        let ahead: Vec<_> = starts.iter().filter(is_ahead).map(|(partition, _)| (*partition, None)).collect();
        for (partition, _) in &ahead {
            self.discard(*partition, Doubt::Ahead)?;
            if let Some(checkpoint) = ready.get_mut(partition) {
                *checkpoint = Checkpoint { next: 0, people: [0; EmailState::ALL.len()], ..checkpoint.clone() };
            }
        }
        if !ahead.is_empty() {
            records += self.read(&topic, &ahead, &mut ready, stop)?;
        }
        self.metrics.restored.inc_by(records);
        let people: i64 = ready.values().flat_map(|checkpoint| checkpoint.people).sum();
        tracing::info!(records, people, partitions = partitions.len(), seconds = started.elapsed().as_secs_f64(), "state restored");
        Ok(Ready { checkpoints: ready, operator })
    }

    fn discard(&self, partition: i32, doubt: Doubt) -> Result<(), SessionError> {
        tracing::info!(partition, reason = doubt.as_str(), "the local copy is in doubt: restoring it whole");
        self.metrics.stores_discarded.with_label_values(&[doubt.as_str()]).inc();
        Ok(self.store.wipe(partition)?)
    }

    fn read(
        &self,
        topic: &str,
        starts: &[(i32, Option<NextOffset>)],
        ready: &mut BTreeMap<i32, Checkpoint>,
        stop: &AtomicBool,
    ) -> Result<u64, SessionError> {
        let mut pending: BTreeMap<Key, Option<(Head, Row)>> = BTreeMap::new();
        let mut failed = None;
        let mut records = 0;
        let restored = read_to_end(&self.config, topic, starts, |record| {
            records += 1;
            let result = self.take(record, &mut pending);
            let result = result.and_then(|()| if pending.len() >= CHUNK { self.put(&mut pending, ready) } else { Ok(()) });
            failed = result.err();
            failed.is_none() && !stop.load(Ordering::Relaxed)
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        self.put(&mut pending, ready)?;
        if stop.load(Ordering::Relaxed) {
            return Ok(records);
        }
        for place in restored {
            if let Some(checkpoint) = ready.get_mut(&place.partition) {
                checkpoint.next = place.next.0;
                checkpoint.at = unix_millis();
            }
        }
        let checkpoints = starts.iter().filter_map(|(partition, _)| ready.get(partition).map(|checkpoint| (*partition, checkpoint)));
        self.store.apply(std::iter::empty(), checkpoints)?;
        Ok(records)
    }

    fn take(&self, record: Record, pending: &mut BTreeMap<Key, Option<(Head, Row)>>) -> Result<(), SessionError> {
        let key = Key::of_record(record.partition, &record.key);
        let row = record.value.map(|value| Row::of_record(&value, &self.policies, keeps_addresses(&self.config))).transpose()?;
        pending.insert(key, row);
        Ok(())
    }

    /// Writes what was read, but not how far: a restore that is cut off begins where it began.
    fn put(&self, pending: &mut BTreeMap<Key, Option<(Head, Row)>>, ready: &mut BTreeMap<i32, Checkpoint>) -> Result<(), SessionError> {
        let mut changes = Vec::with_capacity(pending.len());
        for (key, row) in std::mem::take(pending) {
            let before = self.store.get(&key)?.as_ref().and_then(Row::head);
            let after = row.as_ref().map(|(head, _)| *head);
            let Some(checkpoint) = ready.get_mut(&key.partition()) else { continue };
            checkpoint.moved(before.map(|head| head.email), after.map(|head| head.email));
            let (set, done) = timers(before.as_ref(), after.as_ref());
            changes.push(Change { key, row: row.map(|(_, row)| row), set, done });
        }
        Ok(self.store.apply(changes.iter(), ready.iter().map(|(partition, checkpoint)| (*partition, checkpoint)))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_with_addresses_is_not_taken_for_one_without() {
        let config = |email: &str| Config::parse(&format!("[privacy]\nemail = \"{email}\"\nhash_keys = [{{ key = \"k\" }}]"), []).unwrap();
        let [hash, plain, drop] = ["hash", "plain", "drop"].map(|email| rules(&config(email)));
        assert!(hash == drop && hash != plain);
    }

    #[test]
    fn a_copy_is_trusted_only_for_the_same_topic_and_rules_and_while_it_can_have_missed_nobody() {
        let copy = Checkpoint { next: 9, topic: 7, rules: 3, at: 1_000, people: [0; EmailState::ALL.len()] };
        let about = |topic, rules, now| Doubt::about(&copy, topic, rules, now, 100_000);
        assert_eq!(about(Some(7), 3, 75_000), None);
        assert_eq!(about(Some(8), 3, 75_000), Some(Doubt::OtherTopic));
        assert_eq!(about(None, 3, 75_000), Some(Doubt::OtherTopic));
        assert_eq!(about(Some(7), 4, 75_000), Some(Doubt::OtherRules));
        assert_eq!(about(Some(7), 3, 76_000), Some(Doubt::TooOld));
        assert_eq!(about(Some(7), 3, 999), Some(Doubt::TooOld), "a clock that went back");
    }
}
