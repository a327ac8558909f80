use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Slice};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::checkpoint::Checkpoint;
use super::home::{Home, sweep};
use super::key::{self, Key};

const JOURNAL: u64 = 128 * 1024 * 1024;
/// Rows removed at once.
const REMOVED: usize = 10_000;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Two replicas must not share one.
    #[error("{owner}.state_dir {path} is in use by another process: give each replica a directory of its own")]
    InUse {
        /// The section of the configuration.
        owner: &'static str,
        /// Which.
        path: PathBuf,
    },
    /// The directory cannot be written.
    #[error("{owner}.state_dir {path}: {source}")]
    Directory {
        /// The section of the configuration.
        owner: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store failed.
    #[error("the local store: {0}")]
    Store(#[from] fjall::Error),
}

/// What an owner keeps beside the rows.
pub type Table = Keyspace;

/// What a store is, and where.
#[derive(Debug, Clone, Copy)]
pub struct Options<'o> {
    /// The section of the configuration that has `state_dir`.
    pub owner: &'static str,
    /// Its `state_dir`. Nothing: a temporary directory, for as long as the store is held.
    pub directory: Option<&'o Path>,
    /// What its rows are.
    pub name: &'static str,
    /// Changes with everything that is stored; what another release left is thrown away.
    pub version: u32,
    /// Memory for blocks that were read.
    pub cache_bytes: u64,
    /// Memory for what was written last, per table.
    pub memtable_bytes: u64,
}

impl Options<'_> {
    pub(super) fn format(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// For tables that the owner keeps beside the rows.
    pub fn table(&self) -> KeyspaceCreateOptions {
        KeyspaceCreateOptions::default().max_memtable_size(self.memtable_bytes).manual_journal_persist(true)
    }
}

/// A handle on rows by partition and key, and on a checkpoint for each partition; clones share it.
#[derive(Clone)]
pub struct Store {
    database: Database,
    rows: Keyspace,
    checkpoints: Keyspace,
    /// Held for as long as any handle is.
    _home: Arc<Home>,
}

impl Store {
    /// Opens the store of this replica, and with `more` what its owner keeps beside the rows; one that cannot be opened is thrown away first.
    pub fn open<M>(options: &Options<'_>, more: impl Fn(&Database) -> fjall::Result<M>) -> Result<(Self, M), StoreError> {
        let (directory, home) = Home::of(options)?;
        let path = directory.join(options.format());
        let known = path.exists();
        let opened = match Self::tables(&path, options, &more) {
            Err(error) if known => {
                tracing::warn!(%error, "the local store cannot be opened: it is thrown away and restored from Kafka");
                let failed = |source| StoreError::Directory { owner: options.owner, path: path.clone(), source };
                std::fs::remove_dir_all(&path).map_err(failed)?;
                Self::tables(&path, options, &more)
            }
            opened => opened,
        };
        let (database, rows, checkpoints, more) = opened?;
        sweep(&directory, options);
        Ok((Self { database, rows, checkpoints, _home: Arc::new(home) }, more))
    }

    fn tables<M>(
        path: &Path,
        options: &Options<'_>,
        more: impl Fn(&Database) -> fjall::Result<M>,
    ) -> fjall::Result<(Database, Keyspace, Keyspace, M)> {
        let database = Database::builder(path)
            .cache_size(options.cache_bytes)
            .worker_threads(1)
            .max_cached_files(Some(128))
            .max_journaling_size(JOURNAL)
            .manual_journal_persist(true)
            .open()?;
        let rows = database.keyspace(options.name, || options.table().expect_point_read_hits(true))?;
        let checkpoints = database.keyspace("checkpoints", || options.table())?;
        let more = more(&database)?;
        Ok((database, rows, checkpoints, more))
    }

    /// Somebody's row.
    pub fn get(&self, key: &Key) -> Result<Option<Slice>, StoreError> {
        Ok(self.rows.get(key.bytes())?)
    }

    /// Nothing also if it cannot be read.
    pub fn checkpoint<T: DeserializeOwned>(&self, partition: i32) -> Result<Option<Checkpoint<T>>, StoreError> {
        let bytes = self.checkpoints.get([key::byte(partition)])?;
        Ok(bytes.and_then(|bytes| postcard::from_bytes(&bytes).ok()))
    }

    /// Begins a write.
    pub fn batch(&self) -> Batch {
        // Handed to the operating system, so that kill -9 costs nothing; what a power cut takes is read from the topic again.
        let writes = self.database.batch().durability(Some(PersistMode::Buffer));
        Batch { writes, rows: self.rows.clone(), checkpoints: self.checkpoints.clone() }
    }

    /// Forgets rows and checkpoint of a partition.
    pub fn wipe(&self, partition: i32) -> Result<(), StoreError> {
        self.checkpoints.remove([key::byte(partition)])?;
        self.clear(&self.rows, partition)
    }

    /// Empties a partition of one table.
    pub fn clear(&self, table: &Table, partition: i32) -> Result<(), StoreError> {
        loop {
            let mut batch = self.database.batch();
            for guard in table.prefix([key::byte(partition)]).take(REMOVED) {
                batch.remove(table, guard.key()?);
            }
            if batch.is_empty() {
                return Ok(());
            }
            batch.commit()?;
        }
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or_default()
    }
}

/// A write: all of it or, after a crash, nothing of it.
pub struct Batch {
    writes: OwnedWriteBatch,
    rows: Keyspace,
    checkpoints: Keyspace,
}

impl Batch {
    /// Somebody's row is this from now on; nothing: there is none.
    pub fn put(&mut self, key: &Key, row: Option<Slice>) {
        match row {
            Some(row) => self.writes.insert(&self.rows, key.shared(), row),
            None => self.writes.remove(&self.rows, key.shared()),
        }
    }

    /// Adds an entry without a value to a table of the owner's.
    pub fn mark(&mut self, table: &Table, entry: Vec<u8>) {
        self.writes.insert(table, entry, []);
    }

    /// Removes one.
    pub fn unmark(&mut self, table: &Table, entry: Vec<u8>) {
        self.writes.remove(table, entry);
    }

    /// Moves a partition's checkpoint.
    pub fn checkpoint<T: Serialize>(&mut self, partition: i32, checkpoint: &Checkpoint<T>) {
        let bytes = postcard::to_allocvec(checkpoint).unwrap_or_default();
        self.writes.insert(&self.checkpoints, [key::byte(partition)], bytes);
    }

    /// Writes it.
    pub fn commit(self) -> Result<(), StoreError> {
        Ok(self.writes.commit()?)
    }
}
