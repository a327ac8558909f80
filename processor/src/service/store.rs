//! People, timers and checkpoints on disk. A cache of `profiles`: never ahead of what is committed there, and worth nothing when in doubt.

use aftersend_pipeline::config::Processor;
use aftersend_pipeline::store::{self, Batch, Key, Options, StoreError, byte};
use aftersend_schemas::profile::EmailState;
use fjall::Keyspace;

use super::row::{Head, Row};

/// Changes with everything that is stored here.
const VERSION: u32 = 2;
const BLOCK_CACHE: u64 = 32 * 1024 * 1024;
const MEMTABLE: u64 = 16 * 1024 * 1024;

/// People by the state of their e-mail.
pub(super) type Tally = [i64; EmailState::ALL.len()];

/// How far a partition's people are those of `profiles`; its rules are those under which the timers were set.
pub(super) type Checkpoint = store::Checkpoint<Tally>;

/// Counts that somebody moved from one state to another.
pub(super) fn moved(tally: &mut Tally, from: Option<EmailState>, to: Option<EmailState>) {
    for (state, by) in [(from, -1), (to, 1)] {
        let place = state.and_then(|state| EmailState::ALL.iter().position(|known| *known == state));
        if let Some(count) = place.and_then(|place| tally.get_mut(place)) {
            *count += by;
        }
    }
}

/// What a transaction, or a part of a restore, did to one person.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) key: Key,
    /// Nothing: forgotten.
    pub(super) row: Option<Row>,
    /// Timers that are set and done with.
    pub(super) set: Option<i64>,
    pub(super) done: Option<i64>,
}

/// A handle on the store; clones share it.
#[derive(Clone)]
pub(super) struct Store {
    /// People and checkpoints.
    pub(super) rows: store::Store,
    timers: Keyspace,
}

impl Store {
    /// Opens the store of this replica.
    pub(super) fn open(config: &Processor) -> Result<Self, StoreError> {
        let options = Options {
            owner: "processor",
            directory: config.state_dir.as_deref(),
            name: "people",
            version: VERSION,
            cache_bytes: BLOCK_CACHE,
            memtable_bytes: MEMTABLE,
        };
        let (rows, timers) = store::Store::open(&options, |database| database.keyspace("timers", || options.table()))?;
        Ok(Self { rows, timers })
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Row>, StoreError> {
        Ok(self.rows.get(key)?.map(Row))
    }

    /// All of it or, after a crash, nothing of it.
    pub(super) fn apply<'c>(
        &self,
        changes: &mut [Change],
        checkpoints: impl Iterator<Item = (i32, &'c Checkpoint)>,
    ) -> Result<(), StoreError> {
        let mut batch = self.rows.batch();
        // In the order of the table: each finds its place near the one before.
        changes.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        for change in &*changes {
            batch.put(&change.key, change.row.as_ref().map(|row| row.0.clone()));
        }
        let done = changes.iter().filter_map(|change| Some((timer(change.done?, &change.key), false)));
        let set = changes.iter().filter_map(|change| Some((timer(change.set?, &change.key), true)));
        let mut timers: Vec<(Vec<u8>, bool)> = done.chain(set).collect();
        timers.sort_unstable();
        for (timer, is_set) in timers {
            if is_set {
                batch.mark(&self.timers, timer);
            } else {
                batch.unmark(&self.timers, timer);
            }
        }
        for (partition, checkpoint) in checkpoints {
            batch.checkpoint(partition, checkpoint);
        }
        batch.commit()
    }

    /// Adds a change to a write.
    pub(super) fn stage(&self, batch: &mut Batch, change: &Change) {
        batch.put(&change.key, change.row.as_ref().map(|row| row.0.clone()));
        if let Some(at) = change.done {
            batch.unmark(&self.timers, timer(at, &change.key));
        }
        if let Some(at) = change.set {
            batch.mark(&self.timers, timer(at, &change.key));
        }
    }

    /// Timers of a partition that are due at `now` and come after `after`, in order of time, at most `limit`; and when the next one is.
    pub(super) fn due(&self, partition: i32, after: &Due, now: i64, limit: usize) -> Result<(Vec<Due>, Option<i64>), StoreError> {
        let from = match after {
            Due { key: Some(key), at } => timer(*at, key),
            Due { key: None, at } => [&[byte(partition)][..], &ordered(*at)].concat(),
        };
        let mut due = Vec::new();
        for guard in self.timers.range(from.clone()..=[&[byte(partition)][..], &[0xff; 9]].concat()) {
            let bytes = guard.key().map_err(StoreError::from)?;
            let Some(found) = Due::read(&bytes).filter(|_| *bytes != *from) else { continue };
            if found.at > now || due.len() == limit {
                return Ok((due, Some(found.at)));
            }
            due.push(found);
        }
        Ok((due, None))
    }

    /// Forgets everything of a partition.
    pub(super) fn wipe(&self, partition: i32) -> Result<(), StoreError> {
        self.rows.wipe(partition)?;
        self.rows.clear(&self.timers, partition)
    }
}

/// A timer of the index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    /// Unix seconds.
    pub(super) at: i64,
    /// Whose. Nothing stands before everybody.
    pub(super) key: Option<Key>,
}

impl Due {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (partition, rest) = bytes.split_first()?;
        let (at, text) = rest.split_first_chunk::<8>()?;
        let at = (u64::from_be_bytes(*at) ^ (1 << 63)).cast_signed();
        Some(Self { at, key: Some(Key::of_record((*partition).into(), text)) })
    }
}

/// Sorted by partition, time and person.
fn timer(at: i64, key: &Key) -> Vec<u8> {
    [&key.bytes()[..1], &ordered(at), key.text()].concat()
}

/// Bytes that sort as the numbers do.
fn ordered(at: i64) -> [u8; 8] {
    (at.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// The timers that a new head sets and ends.
pub(super) fn timers(before: Option<&Head>, after: Option<&Head>) -> (Option<i64>, Option<i64>) {
    let (old, new) = (before.and_then(|head| head.armed_at), after.and_then(|head| head.armed_at));
    if old == new { (None, None) } else { (new, old) }
}
