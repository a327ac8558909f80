use std::fs::File;
use std::path::{Path, PathBuf};

use super::database::{Options, StoreError};

/// The directory of a store, for as long as this lives.
pub(super) struct Home {
    _lock: Option<File>,
    _temporary: Option<tempfile::TempDir>,
}

impl Home {
    /// The configured directory, locked, or a temporary one.
    pub(super) fn of(options: &Options<'_>) -> Result<(PathBuf, Self), StoreError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Directory { owner: options.owner, path, source }
        };
        let Some(directory) = options.directory else {
            let temporary = tempfile::Builder::new().prefix(&format!("aftersend-{}-", options.owner)).tempdir();
            let temporary = temporary.map_err(failed(&std::env::temp_dir()))?;
            return Ok((temporary.path().to_owned(), Self { _lock: None, _temporary: Some(temporary) }));
        };
        std::fs::create_dir_all(directory).map_err(failed(directory))?;
        let lock = File::create(directory.join("lock")).map_err(failed(directory))?;
        match lock.try_lock() {
            Ok(()) => Ok((directory.to_owned(), Self { _lock: Some(lock), _temporary: None })),
            Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse { owner: options.owner, path: directory.to_owned() }),
            Err(std::fs::TryLockError::Error(source)) => Err(failed(directory)(source)),
        }
    }
}

/// Removes what another release left of a store: `people-1` beside `people-2`.
pub(super) fn sweep(directory: &Path, options: &Options<'_>) {
    let current = options.format();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let version = name.to_str().and_then(|name| name.strip_prefix(options.name)?.strip_prefix('-'));
        let is_ours = version.is_some_and(|version| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()));
        if is_ours && name.to_str() != Some(&current) {
            match std::fs::remove_dir_all(entry.path()) {
                Ok(()) => tracing::info!(format = ?name, "the local store of another release was removed"),
                Err(error) => tracing::warn!(%error, format = ?name, "the local store of another release cannot be removed"),
            }
        }
    }
}
