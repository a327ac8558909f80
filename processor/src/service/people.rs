//! Where a person is looked up: what the transaction under way holds, what was looked at lately, the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aftersend_pipeline::store::{Key, StoreError};
use aftersend_schemas::profile::EmailState;
use foldhash::quality::RandomState;
use quick_cache::{Weighter, unsync::Cache};

use super::metrics::ProcessorMetrics;
use super::row::Row;
use super::store::{Change, Checkpoint, Due, Store, moved};
use super::transaction::Place;

/// Timers taken from the store at once.
const DUE: usize = 1_000;
/// What a cached person costs beside its bytes.
const OVERHEAD: u64 = 96;

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Row> for Bytes {
    fn weight(&self, key: &Key, row: &Row) -> u64 {
        (key.bytes().len() + row.0.len()) as u64 + OVERHEAD
    }
}

/// A partition that this replica works on.
struct Owned {
    checkpoint: Checkpoint,
    /// The timers before this have fired, though the store may hold them still.
    fired: Due,
    /// No timer of the store is due before this.
    next_due: i64,
    /// The group knows which topic the partition was read from.
    announced: bool,
}

pub(super) struct People {
    store: Store,
    cache: Cache<Key, Row, Bytes, RandomState>,
    owned: BTreeMap<i32, Owned>,
    /// What the transaction under way changes. It may come to nothing: then it is read again from below.
    flying: HashMap<Key, Option<Row>, RandomState>,
    flying_timers: BTreeMap<i32, BTreeSet<Due>>,
    metrics: ProcessorMetrics,
}

impl People {
    pub(super) fn new(store: Store, cache_mib: u32, metrics: ProcessorMetrics) -> Self {
        let bytes = u64::from(cache_mib) << 20;
        let cache =
            Cache::with((bytes / 256) as usize, bytes, Bytes, RandomState::default(), quick_cache::unsync::DefaultLifecycle::default());
        Self { store, cache, owned: BTreeMap::new(), flying: HashMap::default(), flying_timers: BTreeMap::new(), metrics }
    }

    /// A partition is restored and ours to work on.
    pub(super) fn take(&mut self, partition: i32, checkpoint: Checkpoint) {
        self.metrics.people(&checkpoint.tally, 1);
        let fired = Due { at: i64::MIN, key: None };
        self.owned.insert(partition, Owned { checkpoint, fired, next_due: i64::MIN, announced: false });
    }

    /// A partition went. Its next owner writes it from now on; the store keeps what it has for the day it comes back.
    pub(super) fn let_go(&mut self, partition: i32) {
        if let Some(owned) = self.owned.remove(&partition) {
            self.metrics.people(&owned.checkpoint.tally, -1);
        }
        self.cache.retain(|key, _| key.partition() != partition);
    }

    pub(super) fn owns(&self, partition: i32) -> bool {
        self.owned.contains_key(&partition)
    }

    pub(super) fn partitions(&self) -> Vec<i32> {
        self.owned.keys().copied().collect()
    }

    /// The topic that the partition was read from, and how far.
    pub(super) fn place(&self, partition: i32) -> Option<Place> {
        self.owned.get(&partition).map(|Owned { checkpoint, .. }| Place { partition, topic: checkpoint.topic, next: checkpoint.next })
    }

    /// Partitions of which the group does not know yet which topic they were read from.
    pub(super) fn unannounced(&self) -> impl Iterator<Item = i32> {
        self.owned.iter().filter(|(_, owned)| !owned.announced).map(|(partition, _)| *partition)
    }

    pub(super) fn get(&mut self, key: &Key) -> Result<Option<Row>, StoreError> {
        if let Some(row) = self.flying.get(key) {
            return Ok(row.clone());
        }
        if let Some(row) = self.cache.get(key) {
            return Ok(Some(row.clone()));
        }
        self.store.get(key)
    }

    /// The next timers of a partition that are due, in order, each once; what they say must be compared with the person.
    pub(super) fn due(&mut self, partition: i32, now: i64) -> Result<Vec<Due>, StoreError> {
        let Some(owned) = self.owned.get_mut(&partition) else { return Ok(Vec::new()) };
        if now < owned.next_due {
            return Ok(Vec::new());
        }
        let (mut due, next) = self.store.due(partition, &owned.fired, now, DUE)?;
        // What is under way comes in between; what lies behind the timers that were taken waits for them.
        let until = next.filter(|next| *next <= now).and_then(|_| due.last().cloned());
        let flying = self.flying_timers.entry(partition).or_default();
        let comes_first = |timer: &Due| timer.at <= now && until.as_ref().is_none_or(|until| timer <= until);
        let mut fired = Vec::new();
        while flying.first().is_some_and(comes_first) {
            fired.extend(flying.pop_first());
        }
        owned.next_due = next.unwrap_or(i64::MAX).min(flying.first().map_or(i64::MAX, |timer| timer.at));
        if let Some(last) = due.last() {
            owned.fired = last.clone();
        }
        due.extend(fired);
        due.sort();
        due.dedup();
        Ok(due)
    }

    /// When the next timer of a partition may be due.
    pub(super) fn next_due(&self, partition: i32) -> i64 {
        self.owned.get(&partition).map_or(i64::MAX, |owned| owned.next_due)
    }

    /// A transaction is under way with these changes.
    pub(super) fn depart(&mut self, changes: &[Change]) {
        for change in changes {
            self.flying.insert(change.key.clone(), change.row.clone());
            if let Some(at) = change.set {
                let partition = change.key.partition();
                self.flying_timers.entry(partition).or_default().insert(Due { at, key: Some(change.key.clone()) });
                if let Some(owned) = self.owned.get_mut(&partition) {
                    owned.next_due = owned.next_due.min(at);
                }
            }
        }
    }

    /// It was committed: `next` is where `profiles` goes on in each partition.
    pub(super) fn land(
        &mut self,
        mut changes: Vec<Change>,
        states: &[States],
        places: &[Place],
        next: &BTreeMap<i32, i64>,
        now: i64,
    ) -> Result<(), StoreError> {
        self.flying.clear();
        self.flying_timers.clear();
        for place in places {
            if let Some(owned) = self.owned.get_mut(&place.partition) {
                owned.announced = true;
            }
        }
        for States { partition, from, to } in states {
            if let Some(owned) = self.owned.get_mut(partition) {
                moved(&mut owned.checkpoint.tally, *from, *to);
                self.metrics.moved(*from, *to);
            }
        }
        for (partition, owned) in &mut self.owned {
            owned.checkpoint.at = now;
            if let Some(next) = next.get(partition) {
                owned.checkpoint.next = owned.checkpoint.next.max(*next);
            }
        }
        let touched: BTreeSet<i32> = changes.iter().map(|change| change.key.partition()).chain(next.keys().copied()).collect();
        let checkpoints = self.owned.iter().filter(|(partition, _)| touched.contains(partition));
        self.store.apply(&mut changes, checkpoints.map(|(partition, owned)| (*partition, &owned.checkpoint)))?;
        for change in changes {
            if let Some((at, owned)) = change.set.zip(self.owned.get_mut(&change.key.partition())) {
                owned.next_due = owned.next_due.min(at);
                let set = Due { at, key: Some(change.key.clone()) };
                if set <= owned.fired {
                    owned.fired = Due { at, key: None };
                }
            }
            match change.row {
                Some(row) => self.cache.insert(change.key, row),
                None => {
                    self.cache.remove(&change.key);
                }
            }
        }
        Ok(())
    }

    /// It came to nothing.
    pub(super) fn crash(&mut self) {
        self.flying.clear();
        self.flying_timers.clear();
        for owned in self.owned.values_mut() {
            owned.fired = Due { at: i64::MIN, key: None };
            owned.next_due = i64::MIN;
        }
    }

    /// Nothing has happened in these partitions that the store does not know: it stays good for as long again.
    pub(super) fn keep_fresh(&mut self, now: i64) -> Result<(), StoreError> {
        for owned in self.owned.values_mut() {
            owned.checkpoint.at = now;
        }
        let checkpoints = self.owned.iter().map(|(partition, owned)| (*partition, &owned.checkpoint));
        self.store.apply(&mut [], checkpoints)?;
        self.metrics.store_bytes.set(i64::try_from(self.store.rows.disk_bytes()).unwrap_or(i64::MAX));
        Ok(())
    }
}

impl Drop for People {
    fn drop(&mut self) {
        for partition in self.partitions() {
            self.let_go(partition);
        }
    }
}

/// A change of somebody's state.
#[derive(Debug, Clone, Copy)]
pub(super) struct States {
    pub(super) partition: i32,
    pub(super) from: Option<EmailState>,
    pub(super) to: Option<EmailState>,
}
