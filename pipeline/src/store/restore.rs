use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::IntCounterVec;
use rdkafka::error::KafkaError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::checkpoint::{Checkpoint, Doubt};
use super::database::{Batch, Store, StoreError};
use super::key::Key;
use crate::config::Config;
use crate::consumer::{Handle, RestoreError, read_to_end};
use crate::offsets::NextOffset;
use crate::record::Record;
use crate::unix_millis;

const TIMEOUT: Duration = Duration::from_secs(15);
/// Rows written to the store at once.
const CHUNK: usize = 5_000;

/// What a store keeps of the records of its topic.
pub trait Kept {
    /// Of one record.
    type Row;
    /// What is counted, per partition.
    type Tally: Clone + Default + Serialize + DeserializeOwned;
    /// Why it cannot be kept.
    type Error: From<StoreError> + From<RestoreError> + From<KafkaError>;

    /// What a record becomes; nothing: its key has no row any more.
    fn read(&self, record: Record) -> Result<Option<Self::Row>, Self::Error>;

    /// Puts it in the place of what the store has under that key, and counts it. The same again must change nothing.
    fn put(&self, batch: &mut Batch, key: Key, row: Option<Self::Row>, tally: &mut Self::Tally) -> Result<(), Self::Error>;

    /// Forgets everything of a partition.
    fn wipe(&self, partition: i32) -> Result<(), StoreError>;
}

/// Brings partitions of a store up to what is committed in its topic: the difference since the checkpoint, or everything when in doubt.
pub struct Restorer<'r, K, T: Send + 'static> {
    /// Of the service.
    pub config: &'r Config,
    /// What the store is a copy of.
    pub topic: &'r str,
    /// In which the numbers of topics are committed.
    pub group: &'r Handle<T>,
    /// Where the rows are.
    pub store: &'r Store,
    /// What they are.
    pub kept: &'r K,
    /// See [`Checkpoint::rules`].
    pub rules: u64,
    /// For how long (milliseconds) the topic's tombstones can be read; nothing where none are written.
    pub tombstones: Option<i64>,
    /// Counts partitions that were thrown away, by [`Doubt`].
    pub discarded: &'r IntCounterVec,
}

/// Partitions that are up to date.
pub struct Ready<T> {
    /// How far they are.
    pub checkpoints: BTreeMap<i32, Checkpoint<T>>,
    /// What was read for it.
    pub records: u64,
}

type Checkpoints<K> = BTreeMap<i32, Checkpoint<<K as Kept>::Tally>>;

impl<K: Kept, T: Send + 'static> Restorer<'_, K, T> {
    /// Blocks. Ends early, with what it has, once `stop` is set.
    pub fn run(&self, partitions: &[i32], stop: &AtomicBool) -> Result<Ready<K::Tally>, K::Error> {
        let mut checkpoints = BTreeMap::new();
        let mut starts = Vec::new();
        for &partition in partitions {
            let checkpoint = self.checkpoint(partition)?;
            starts.push((partition, (checkpoint.next > 0).then(|| checkpoint.next())));
            checkpoints.insert(partition, checkpoint);
        }
        let mut records = self.read(&starts, &mut checkpoints, stop)?;
        // A topic that ends before the checkpoint was read from its beginning, into rows that are not in it.
        let is_ahead = |(partition, from): &&(i32, Option<NextOffset>)| {
            checkpoints.get(partition).zip(*from).is_some_and(|(checkpoint, from)| checkpoint.next < from.0)
        };
        let ahead: Vec<_> = starts.iter().filter(is_ahead).map(|(partition, _)| (*partition, None)).collect();
        for (partition, _) in &ahead {
            self.discard(*partition, Doubt::Ahead)?;
            if let Some(checkpoint) = checkpoints.get_mut(partition) {
                (checkpoint.next, checkpoint.tally) = (0, K::Tally::default());
            }
        }
        if !ahead.is_empty() {
            records += self.read(&ahead, &mut checkpoints, stop)?;
        }
        Ok(Ready { checkpoints, records })
    }

    /// Where a partition's rows stand; those that are worth nothing are gone after this.
    fn checkpoint(&self, partition: i32) -> Result<Checkpoint<K::Tally>, K::Error> {
        let committed = self.group.committed(&(self.topic.into(), partition), TIMEOUT)?;
        let topic = Checkpoint::<()>::noted(&committed.metadata).filter(|_| committed.next.is_some());
        let now = unix_millis();
        match self.store.checkpoint(partition)? {
            None => self.kept.wipe(partition)?,
            Some(known) => match Doubt::about(&known, topic, self.rules, now, self.tombstones) {
                None => return Ok(known),
                Some(doubt) => self.discard(partition, doubt)?,
            },
        }
        Ok(Checkpoint { next: 0, topic: topic.unwrap_or_else(rand::random), rules: self.rules, at: now, tally: K::Tally::default() })
    }

    fn discard(&self, partition: i32, doubt: Doubt) -> Result<(), K::Error> {
        tracing::info!(partition, reason = doubt.as_str(), "the local copy is in doubt: restoring it whole");
        self.discarded.with_label_values(&[doubt.as_str()]).inc();
        Ok(self.kept.wipe(partition)?)
    }

    fn read(&self, starts: &[(i32, Option<NextOffset>)], checkpoints: &mut Checkpoints<K>, stop: &AtomicBool) -> Result<u64, K::Error> {
        let mut pending = BTreeMap::new();
        let mut failed = None;
        let mut records = 0;
        let restored = read_to_end(self.config, self.topic, starts, |record| {
            records += 1;
            let key = Key::of_record(record.partition, &record.key);
            let result = self.kept.read(record).and_then(|row| {
                pending.insert(key, row);
                if pending.len() >= CHUNK { self.put(&mut pending, checkpoints) } else { Ok(()) }
            });
            failed = result.err();
            failed.is_none() && !stop.load(Ordering::Relaxed)
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        self.put(&mut pending, checkpoints)?;
        if stop.load(Ordering::Relaxed) {
            return Ok(records);
        }
        for place in restored {
            if let Some(checkpoint) = checkpoints.get_mut(&place.partition) {
                checkpoint.next = place.next.0;
                checkpoint.at = unix_millis();
            }
        }
        let mut batch = self.store.batch();
        for (partition, _) in starts {
            if let Some(checkpoint) = checkpoints.get(partition) {
                batch.checkpoint(*partition, checkpoint);
            }
        }
        batch.commit()?;
        Ok(records)
    }

    /// Writes what was read, but not how far: a restore that is cut off begins where it began.
    fn put(&self, pending: &mut BTreeMap<Key, Option<K::Row>>, checkpoints: &mut Checkpoints<K>) -> Result<(), K::Error> {
        let mut batch = self.store.batch();
        for (key, row) in std::mem::take(pending) {
            if let Some(checkpoint) = checkpoints.get_mut(&key.partition()) {
                self.kept.put(&mut batch, key, row, &mut checkpoint.tally)?;
            }
        }
        for (partition, checkpoint) in checkpoints.iter() {
            batch.checkpoint(*partition, checkpoint);
        }
        Ok(batch.commit()?)
    }
}
