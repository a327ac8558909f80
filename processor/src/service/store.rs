//! People, timers and checkpoints on disk. A cache of `profiles`: never ahead of what is committed there, and worth nothing when in doubt.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aftersend_pipeline::config::Processor;
use aftersend_pipeline::offsets::NextOffset;
use aftersend_schemas::profile::EmailState;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use serde::{Deserialize, Serialize};

use super::key::{self, Key};
use super::row::{Head, Row};

/// Changes with everything that is stored here; what another release left is thrown away.
const FORMAT: &str = "people-1";
const BLOCK_CACHE: u64 = 32 * 1024 * 1024;
const MEMTABLE: u64 = 16 * 1024 * 1024;
const JOURNAL: u64 = 128 * 1024 * 1024;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Two replicas must not share one.
    #[error("processor.state_dir {0} is in use by another process: give each replica a directory of its own")]
    InUse(PathBuf),
    /// The directory cannot be written.
    #[error("processor.state_dir {path}: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store failed.
    #[error("the local store: {0}")]
    Store(#[from] fjall::Error),
}

/// How far a partition's people are those of `profiles`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// Everything of `profiles` before this is in the store.
    pub(super) next: i64,
    /// The topic it was read from. See `restore`.
    pub(super) topic: u64,
    /// The rules under which the timers were set.
    pub(super) rules: u64,
    /// When this was last known to be so, Unix milliseconds.
    pub(super) at: i64,
    /// People by the state of their e-mail.
    pub(super) people: [i64; EmailState::ALL.len()],
}

impl Checkpoint {
    pub(super) fn next(&self) -> NextOffset {
        NextOffset(self.next)
    }

    pub(super) fn moved(&mut self, from: Option<EmailState>, to: Option<EmailState>) {
        for (state, by) in [(from, -1), (to, 1)] {
            let place = state.and_then(|state| EmailState::ALL.iter().position(|known| *known == state));
            if let Some(count) = place.and_then(|place| self.people.get_mut(place)) {
                *count += by;
            }
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
    database: Database,
    people: Keyspace,
    timers: Keyspace,
    checkpoints: Keyspace,
    /// Held for as long as any handle is.
    _home: Arc<Home>,
}

struct Home {
    _lock: Option<File>,
    _temporary: Option<tempfile::TempDir>,
}

impl Store {
    /// Opens the store of this replica; one that cannot be opened is thrown away first. Without a configured directory it lives as long as the handle.
    pub(super) fn open(config: &Processor) -> Result<Self, StoreError> {
        let (directory, home) = home(config)?;
        let path = directory.join(FORMAT);
        let known = path.exists();
        match Self::open_at(&path, Arc::new(home)) {
            Ok(store) => Ok(store),
            Err((error, home)) if known => {
                tracing::warn!(%error, "the local store cannot be opened: it is thrown away and restored from profiles");
                let failed = |source| StoreError::Directory { path: path.clone(), source };
                std::fs::remove_dir_all(&path).map_err(failed)?;
                Self::open_at(&path, home).map_err(|(error, _)| error.into())
            }
            Err((error, _)) => Err(error.into()),
        }
    }

    fn open_at(path: &Path, home: Arc<Home>) -> Result<Self, (fjall::Error, Arc<Home>)> {
        let open = || {
            let database = Database::builder(path)
                .cache_size(BLOCK_CACHE)
                .worker_threads(1)
                .max_cached_files(Some(128))
                .max_journaling_size(JOURNAL)
                .manual_journal_persist(true)
                .open()?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE).manual_journal_persist(true);
            let people = database.keyspace("people", || options().expect_point_read_hits(true))?;
            let timers = database.keyspace("timers", options)?;
            let checkpoints = database.keyspace("checkpoints", options)?;
            Ok((database, people, timers, checkpoints))
        };
        match open() {
            Ok((database, people, timers, checkpoints)) => Ok(Self { database, people, timers, checkpoints, _home: home }),
            Err(error) => Err((error, home)),
        }
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Row>, StoreError> {
        Ok(self.people.get(key.bytes())?.map(|bytes| Row(bytes.as_ref().into())))
    }

    /// Nothing also if it cannot be read.
    pub(super) fn checkpoint(&self, partition: i32) -> Result<Option<Checkpoint>, StoreError> {
        let bytes = self.checkpoints.get([key::byte(partition)])?;
        Ok(bytes.and_then(|bytes| postcard::from_bytes(&bytes).ok()))
    }

    /// All of it or, after a crash, nothing of it.
    pub(super) fn apply<'c>(
        &self,
        changes: impl Iterator<Item = &'c Change>,
        checkpoints: impl Iterator<Item = (i32, &'c Checkpoint)>,
    ) -> Result<(), StoreError> {
        // Handed to the operating system, so that kill -9 costs nothing; what a power cut takes is read from `profiles` again.
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        for change in changes {
            match &change.row {
                Some(row) => batch.insert(&self.people, change.key.bytes(), row.0.as_ref()),
                None => batch.remove(&self.people, change.key.bytes()),
            }
            if let Some(at) = change.done {
                batch.remove(&self.timers, timer(at, &change.key));
            }
            if let Some(at) = change.set {
                batch.insert(&self.timers, timer(at, &change.key), []);
            }
        }
        for (partition, checkpoint) in checkpoints {
            let bytes = postcard::to_allocvec(checkpoint).unwrap_or_default();
            batch.insert(&self.checkpoints, [key::byte(partition)], bytes);
        }
        Ok(batch.commit()?)
    }

    /// Timers of a partition that are due at `now` and come after `after`, in order of time, at most `limit`; and when the next one is.
    pub(super) fn due(&self, partition: i32, after: &Due, now: i64, limit: usize) -> Result<(Vec<Due>, Option<i64>), StoreError> {
        let from = match after {
            Due { key: Some(key), at } => timer(*at, key),
            Due { key: None, at } => [&[key::byte(partition)][..], &ordered(*at)].concat(),
        };
        let mut due = Vec::new();
        for guard in self.timers.range(from.clone()..=[&[key::byte(partition)][..], &[0xff; 9]].concat()) {
            let bytes = guard.key()?;
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
        self.checkpoints.remove([key::byte(partition)])?;
        for keyspace in [&self.people, &self.timers] {
            loop {
                let mut batch = self.database.batch();
                for guard in keyspace.prefix([key::byte(partition)]).take(10_000) {
                    batch.remove(keyspace, guard.key()?);
                }
                if batch.is_empty() {
                    break;
                }
                batch.commit()?;
            }
        }
        Ok(())
    }

    /// Bytes on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or_default()
    }
}

fn home(config: &Processor) -> Result<(PathBuf, Home), StoreError> {
    let Some(directory) = &config.state_dir else {
        let failed = |source| StoreError::Directory { path: std::env::temp_dir(), source };
        let temporary = tempfile::Builder::new().prefix("aftersend-processor-").tempdir().map_err(failed)?;
        return Ok((temporary.path().to_owned(), Home { _lock: None, _temporary: Some(temporary) }));
    };
    let failed = |source| StoreError::Directory { path: directory.clone(), source };
    std::fs::create_dir_all(directory).map_err(failed)?;
    let lock = File::create(directory.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok((directory.clone(), Home { _lock: Some(lock), _temporary: None })),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse(directory.clone())),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
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
