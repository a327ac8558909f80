use std::path::Path;

use aftersend_schemas::identity::{Namespace, Person};

use super::*;

fn options(directory: &Path) -> Options<'_> {
    let directory = Some(directory);
    Options { owner: "track", directory, name: "people", version: 2, cache_bytes: 1 << 20, memtable_bytes: 1 << 20 }
}

fn open(directory: &Path) -> Result<Store, StoreError> {
    Ok(Store::open(&options(directory), |_| Ok(()))?.0)
}

fn key(partition: i32, id: &str) -> Key {
    Key::new(partition, &Person { workspace: "default".into(), namespace: Namespace::Id, id: id.into() })
}

fn checkpoint(next: i64) -> Checkpoint<u64> {
    Checkpoint { next, topic: 7, rules: 1, at: 2, tally: 5 }
}

fn write(store: &Store, partition: i32, id: &str, row: &[u8], next: i64) {
    let mut batch = store.batch();
    batch.put(&key(partition, id), Some(row.into()));
    batch.checkpoint(partition, &checkpoint(next));
    batch.commit().unwrap();
}

#[test]
fn rows_and_checkpoints_are_there_after_a_restart_and_a_write_that_was_not_made_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    write(&store, 1, "u", b"one", 9);
    let mut dropped = store.batch();
    dropped.put(&key(1, "u"), Some(b"two".into()));
    dropped.checkpoint(1, &checkpoint(10));
    drop((dropped, store));
    let store = open(directory.path()).unwrap();
    assert_eq!(store.get(&key(1, "u")).unwrap().as_deref(), Some(&b"one"[..]));
    assert_eq!(store.checkpoint(1).unwrap(), Some(checkpoint(9)));
    assert_eq!(store.checkpoint::<u64>(2).unwrap(), None);
    let mut batch = store.batch();
    batch.put(&key(1, "u"), None);
    batch.commit().unwrap();
    assert_eq!(store.get(&key(1, "u")).unwrap(), None);
}

#[test]
fn a_partition_is_wiped_without_its_neighbours() {
    let directory = tempfile::tempdir().unwrap();
    let (store, marks) =
        Store::open(&options(directory.path()), |database| database.keyspace("marks", || options(directory.path()).table())).unwrap();
    for partition in [1, 2] {
        write(&store, partition, "u", b"row", 9);
        let mut batch = store.batch();
        batch.mark(&marks, key(partition, "u").bytes().to_vec());
        batch.commit().unwrap();
    }
    store.wipe(1).unwrap();
    store.clear(&marks, 1).unwrap();
    assert_eq!((store.get(&key(1, "u")).unwrap(), store.checkpoint::<u64>(1).unwrap()), (None, None));
    assert_eq!(store.get(&key(2, "u")).unwrap().as_deref(), Some(&b"row"[..]));
    assert_eq!(store.checkpoint(2).unwrap(), Some(checkpoint(9)));
    assert_eq!(marks.prefix([byte(1)]).count(), 0);
    assert_eq!(marks.prefix([byte(2)]).count(), 1);
}

#[test]
fn a_directory_has_one_process_and_the_error_names_the_setting() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path()).unwrap();
    let Err(error) = open(directory.path()) else { panic!("opened twice") };
    let expected = format!("track.state_dir {} is in use by another process", directory.path().display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    drop(first);
    open(directory.path()).unwrap();
}

#[test]
fn what_cannot_be_opened_is_thrown_away_and_so_is_what_another_release_left() {
    let directory = tempfile::tempdir().unwrap();
    write(&open(directory.path()).unwrap(), 1, "u", b"row", 9);
    for name in ["people-1", "people-3", "people-own", "other-1"] {
        std::fs::create_dir(directory.path().join(name)).unwrap();
    }
    let files = std::fs::read_dir(directory.path().join("people-2")).unwrap();
    for file in files.map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
        std::fs::write(file, b"not a store").unwrap();
    }
    let store = open(directory.path()).unwrap();
    assert_eq!((store.get(&key(1, "u")).unwrap(), store.checkpoint::<u64>(1).unwrap()), (None, None));
    let mut left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["lock", "other-1", "people-2", "people-own"]);
}

#[test]
fn without_a_directory_it_is_gone_with_its_last_handle() {
    let before = Options { directory: None, ..options(Path::new("/nowhere")) };
    let (store, ()) = Store::open(&before, |_| Ok(())).unwrap();
    write(&store, 1, "u", b"row", 9);
    let kept = store.clone();
    drop(store);
    assert!(kept.get(&key(1, "u")).unwrap().is_some());
}
