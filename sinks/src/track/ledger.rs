//! What Customer.io has acknowledged, for everybody of the assigned partitions: `track-ledger` as far as it was read, on disk, and over it what this
//! process knows beyond that.
//!
//! ```text
//! answer ─┬─▶ track-ledger ─▶ tail ─▶ cache: row, count and checkpoint in one write
//!         └─▶ beyond: until the tail brings the same
//! ```
//!
//! Only what was read of the topic gets into the cache, our own writes too. So it may be behind and is never ahead, and its checkpoint passes over
//! nobody's record: not over one that a predecessor wrote late, nor over one of ours of whose delivery we were never told.

use std::collections::{BTreeMap, HashMap};

use aftersend_pipeline::config::Config;
use aftersend_pipeline::offsets::NextOffset;
use aftersend_pipeline::record::Record;
use aftersend_pipeline::store::{Batch, Checkpoint, Doubt, Kept, Key, Options, Store, StoreError, Table};
use aftersend_schemas::ledger::LedgerRecord;

use super::metrics::TrackMetrics;
use super::people::PersonKey;
use super::service::TrackSinkError;

/// Changes with everything that is stored.
const VERSION: u32 = 2;
const BLOCK_CACHE: u64 = 8 * 1024 * 1024;
const MEMTABLE: u64 = 8 * 1024 * 1024;

/// People by workspace.
pub(super) type Known = BTreeMap<String, u64>;

/// Records as they stand in the topic.
#[derive(Clone)]
pub(super) struct Cache {
    pub(super) store: Store,
    /// What a dry run would have written, since the partition came.
    unwritten: Table,
}

impl Cache {
    /// Opens the cache of this replica. Blocks.
    pub(super) fn open(config: &Config) -> Result<Self, StoreError> {
        let options = Options {
            owner: "track",
            directory: config.track.state_dir.as_deref(),
            name: "ledger",
            version: VERSION,
            cache_bytes: BLOCK_CACHE,
            memtable_bytes: MEMTABLE,
        };
        let (store, unwritten) = Store::open(&options, |database| database.keyspace("unwritten", || options.table()))?;
        Ok(Self { store, unwritten })
    }
}

impl Kept for Cache {
    type Row = Vec<u8>;
    type Tally = Known;
    type Error = TrackSinkError;

    fn read(&self, record: Record) -> Result<Option<Vec<u8>>, TrackSinkError> {
        if let Some(value) = &record.value {
            decode(value)?;
        }
        Ok(record.value)
    }

    fn put(&self, batch: &mut Batch, key: Key, row: Option<Vec<u8>>, known: &mut Known) -> Result<(), TrackSinkError> {
        let workspace = key.workspace();
        match (self.store.get(&key)?.is_some(), row.is_some()) {
            (false, true) => *known.entry(workspace.to_owned()).or_default() += 1,
            (true, false) => {
                if let Some(people) = known.get_mut(workspace) {
                    *people = people.saturating_sub(1);
                }
            }
            _ => {}
        }
        batch.put(&key, row.as_deref().map(Into::into));
        Ok(())
    }

    fn wipe(&self, partition: i32) -> Result<(), StoreError> {
        self.store.wipe(partition)
    }
}

fn decode(value: &[u8]) -> Result<LedgerRecord, TrackSinkError> {
    LedgerRecord::decode(value).map_err(|error| TrackSinkError::Ledger(error.to_string()))
}

/// What differs from the cache.
enum Beyond {
    /// Answers on their way through the topic, and calls that may have been made: few.
    Memory(HashMap<Key, Vec<u8>>),
    /// What a dry run would have written, which is nothing less than everybody.
    Disk(Table),
}

impl Beyond {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Memory(people) => Ok(people.get(key).cloned()),
            Self::Disk(table) => Ok(table.get(key.bytes())?.map(|row| row.to_vec())),
        }
    }

    /// Nothing: no more than the cache says.
    fn set(&mut self, key: Key, row: Option<Vec<u8>>) -> Result<(), StoreError> {
        match (self, row) {
            (Self::Memory(people), Some(row)) => {
                people.insert(key, row);
            }
            (Self::Memory(people), None) => {
                people.remove(&key);
            }
            (Self::Disk(table), Some(row)) => table.insert(key.bytes(), row)?,
            (Self::Disk(table), None) => table.remove(key.bytes())?,
        }
        Ok(())
    }
}

/// A partition that is ours.
struct Owned {
    checkpoint: Checkpoint<Known>,
    /// What the group has been told of it.
    committed: Option<i64>,
}

/// How far a partition is known, and the number of its topic, for the group to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) partition: i32,
    pub(super) next: NextOffset,
    pub(super) topic: u64,
}

/// See the module.
pub(super) struct Ledger {
    cache: Cache,
    beyond: Beyond,
    owned: BTreeMap<i32, Owned>,
    metrics: TrackMetrics,
}

impl Ledger {
    /// Of no partition yet.
    pub(super) fn new(cache: Cache, dry_run: bool, metrics: TrackMetrics) -> Self {
        let beyond = if dry_run { Beyond::Disk(cache.unwritten.clone()) } else { Beyond::Memory(HashMap::new()) };
        Self { cache, beyond, owned: BTreeMap::new(), metrics }
    }

    pub(super) fn cache(&self) -> Cache {
        self.cache.clone()
    }

    /// A partition came, restored up to its checkpoint.
    pub(super) fn take(&mut self, partition: i32, checkpoint: Checkpoint<Known>) -> Result<(), StoreError> {
        self.let_go(partition)?;
        self.owned.insert(partition, Owned { checkpoint, committed: None });
        Ok(())
    }

    /// A partition went. The cache keeps what it has of it for the day it comes back.
    pub(super) fn let_go(&mut self, partition: i32) -> Result<(), StoreError> {
        self.owned.remove(&partition);
        if let Beyond::Memory(people) = &mut self.beyond {
            people.retain(|key, _| key.partition() != partition);
        }
        self.cache.store.clear(&self.cache.unwritten, partition)
    }

    pub(super) fn owns(&self, partition: i32) -> bool {
        self.owned.contains_key(&partition)
    }

    /// What was acknowledged for a person.
    pub(super) fn get(&self, key: &PersonKey) -> Result<Option<LedgerRecord>, TrackSinkError> {
        let key = stored(key);
        if let Some(value) = self.beyond.get(&key)? {
            return decode(&value).map(Some);
        }
        self.cache.store.get(&key)?.map(|value| decode(&value)).transpose()
    }

    /// From now on this is known of a person: it was written to the topic, or a call may have been made.
    pub(super) fn set(&mut self, key: &PersonKey, record: &LedgerRecord) -> Result<(), TrackSinkError> {
        if !self.owned.contains_key(&key.partition) {
            return Ok(());
        }
        let (key, value) = (stored(key), record.encode());
        let is_known = match self.cache.store.get(&key)? {
            // It has come back already.
            Some(known) => *known == *value,
            None => *record == LedgerRecord::new(record.person.clone()),
        };
        Ok(self.beyond.set(key, (!is_known).then_some(value))?)
    }

    /// The next record of the topic.
    pub(super) fn read(&mut self, record: Record) -> Result<(), TrackSinkError> {
        let partition = record.partition;
        let Some(Owned { checkpoint, .. }) = self.owned.get_mut(&partition) else { return Ok(()) };
        if record.offset < checkpoint.next {
            // The client went back to the beginning, since there is nothing where it was.
            self.metrics.stores_discarded.with_label_values(&[Doubt::Ahead.as_str()]).inc();
            self.cache.wipe(partition)?;
            return Err(TrackSinkError::LedgerCut);
        }
        let next = NextOffset::after(record.offset);
        let key = Key::of_record(partition, &record.key);
        let row = self.cache.read(record)?;
        let beyond = self.beyond.get(&key)?;
        let has_come_back = beyond.is_some() && beyond == row;
        let mut batch = self.cache.store.batch();
        self.cache.put(&mut batch, key.clone(), row, &mut checkpoint.tally)?;
        checkpoint.next = next.0;
        batch.checkpoint(partition, checkpoint);
        batch.commit()?;
        if has_come_back {
            self.beyond.set(key, None)?;
        }
        Ok(())
    }

    /// Everything that was written has come back.
    pub(super) fn is_read_back(&self) -> bool {
        match &self.beyond {
            Beyond::Memory(people) => people.is_empty(),
            Beyond::Disk(_) => true,
        }
    }

    /// People in the ledger, by partition and workspace.
    pub(super) fn known(&self) -> impl Iterator<Item = (i32, &Known)> {
        self.owned.iter().map(|(partition, owned)| (*partition, &owned.checkpoint.tally))
    }

    /// What the group has not been told.
    pub(super) fn uncommitted(&self) -> Vec<Position> {
        let moved = self.owned.iter().filter(|(_, owned)| owned.committed != Some(owned.checkpoint.next));
        let position = |(partition, owned): (&i32, &Owned)| Position {
            partition: *partition,
            next: owned.checkpoint.next(),
            topic: owned.checkpoint.topic,
        };
        moved.map(position).collect()
    }

    /// The group has been told.
    pub(super) fn committed(&mut self, positions: &[Position]) {
        for Position { partition, next, .. } in positions {
            if let Some(owned) = self.owned.get_mut(partition) {
                owned.committed = Some(next.0);
            }
        }
    }

    /// Shows how large it is.
    pub(super) fn show(&self) {
        let pending = match &self.beyond {
            Beyond::Memory(people) => people.len(),
            Beyond::Disk(_) => 0,
        };
        self.metrics.ledger_pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        self.metrics.store_bytes.set(i64::try_from(self.cache.store.disk_bytes()).unwrap_or(i64::MAX));
    }
}

fn stored(PersonKey { partition, person }: &PersonKey) -> Key {
    Key::of_record(*partition, person.as_bytes())
}

#[cfg(test)]
mod tests;
