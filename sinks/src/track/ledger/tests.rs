use aftersend_pipeline::record::RecordHeaders;
use aftersend_pipeline::telemetry::Metrics;
use aftersend_schemas::identity::{Namespace, Person};
use aftersend_schemas::ledger::Standing;

use super::*;

struct Bench {
    ledger: Ledger,
    config: Config,
    _directory: tempfile::TempDir,
}

const PARTITION: i32 = 3;

fn checkpoint(next: i64) -> Checkpoint<Known> {
    Checkpoint { next, topic: 7, rules: 2, at: 0, tally: Known::new() }
}

impl Bench {
    fn new(dry_run: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.track.state_dir = Some(directory.path().join("state"));
        let metrics = TrackMetrics::new(&Metrics::new());
        let mut ledger = Ledger::new(Cache::open(&config).unwrap(), dry_run, metrics);
        ledger.take(PARTITION, checkpoint(0)).unwrap();
        Self { ledger, config, _directory: directory }
    }

    /// The topic brings this.
    fn read(&mut self, offset: i64, record: &LedgerRecord) -> Result<(), TrackSinkError> {
        self.ledger.read(message(offset, record, Some(record.encode())))
    }

    fn cached(&self, record: &LedgerRecord) -> Option<LedgerRecord> {
        let row = self.ledger.cache.store.get(&stored(&key(record))).unwrap();
        row.map(|row| LedgerRecord::decode(&row).unwrap())
    }

    fn stored_checkpoint(&self) -> Option<Checkpoint<Known>> {
        self.ledger.cache.store.checkpoint(PARTITION).unwrap()
    }
}

fn message(offset: i64, record: &LedgerRecord, value: Option<Vec<u8>>) -> Record {
    Record {
        topic: "track-ledger".into(),
        partition: PARTITION,
        offset,
        timestamp: 0,
        key: record.person.to_string().into_bytes(),
        value,
        headers: RecordHeaders::default(),
    }
}

fn of(workspace: &str, id: &str, answered_at: i64) -> LedgerRecord {
    let person = Person { workspace: workspace.into(), namespace: Namespace::Id, id: id.into() };
    LedgerRecord { answered_at, ..LedgerRecord::new(person) }
}

fn key(record: &LedgerRecord) -> PersonKey {
    PersonKey { partition: PARTITION, person: record.person.to_string().into() }
}

#[test]
fn an_answer_is_known_at_once_and_cached_only_when_the_topic_brings_it_back() {
    let mut bench = Bench::new(false);
    let record = of("default", "u-1", 5);
    bench.ledger.set(&key(&record), &record).unwrap();
    assert_eq!(bench.ledger.get(&key(&record)).unwrap(), Some(record.clone()));
    assert_eq!((bench.cached(&record), bench.stored_checkpoint()), (None, None), "the cache is never ahead");
    assert!(!bench.ledger.is_read_back());

    bench.read(0, &record).unwrap();
    assert_eq!(bench.cached(&record), Some(record.clone()));
    assert_eq!(bench.stored_checkpoint().unwrap().next, 1);
    assert!(bench.ledger.is_read_back());
    // Told late that it was written.
    bench.ledger.set(&key(&record), &record).unwrap();
    assert!(bench.ledger.is_read_back());
}

#[test]
fn the_checkpoint_passes_over_nobodys_record() {
    let mut bench = Bench::new(false);
    let (ours, theirs) = (of("default", "ours", 5), of("default", "theirs", 6));
    // A predecessor's came to lie before ours.
    bench.ledger.set(&key(&ours), &ours).unwrap();
    assert_eq!(bench.stored_checkpoint(), None);
    bench.read(0, &theirs).unwrap();
    assert_eq!(bench.stored_checkpoint().unwrap().next, 1, "ours, which was acknowledged, has not been read");
    assert_eq!(bench.ledger.get(&key(&theirs)).unwrap(), Some(theirs.clone()));
    bench.read(1, &ours).unwrap();
    assert_eq!(bench.stored_checkpoint().unwrap().next, 2);
    assert_eq!((bench.cached(&ours), bench.cached(&theirs)), (Some(ours), Some(theirs)));
}

#[test]
fn ours_counts_until_it_has_come_back_and_the_last_record_after_that() {
    let mut bench = Bench::new(false);
    let (before, ours, after) = (of("default", "u", 1), of("default", "u", 2), of("default", "u", 3));
    bench.ledger.set(&key(&ours), &ours).unwrap();
    bench.read(0, &before).unwrap();
    assert_eq!(bench.ledger.get(&key(&ours)).unwrap(), Some(ours.clone()));
    bench.read(1, &ours).unwrap();
    bench.read(2, &after).unwrap();
    assert_eq!(bench.ledger.get(&key(&ours)).unwrap(), Some(after), "as after a restart");
}

#[test]
fn a_suppress_that_may_have_been_sent_is_known_until_its_call_has_ended() {
    let mut bench = Bench::new(false);
    let acknowledged = of("default", "u", 1);
    bench.read(0, &acknowledged).unwrap();
    let marked = LedgerRecord { suppress_sent_at: 50, ..acknowledged.clone() };
    let written = LedgerRecord { suppress_sent_at: 51, ..acknowledged };
    bench.ledger.set(&key(&marked), &marked).unwrap();
    assert_eq!(bench.ledger.get(&key(&marked)).unwrap().unwrap().suppress_sent_at, 50);
    bench.read(1, &written).unwrap();
    assert_ne!(bench.ledger.get(&key(&marked)).unwrap().unwrap().suppress_sent_at, 0);
    // It was not answered.
    bench.ledger.set(&key(&written), &written).unwrap();
    assert!(bench.ledger.is_read_back());
    assert_eq!(bench.ledger.get(&key(&written)).unwrap(), Some(written.clone()));
    let suppressed = LedgerRecord { standing: Standing::Suppressed, ..written };
    bench.ledger.set(&key(&suppressed), &suppressed).unwrap();
    bench.read(2, &suppressed).unwrap();
    assert!(bench.ledger.is_read_back());
    assert_eq!(bench.ledger.get(&key(&suppressed)).unwrap(), Some(suppressed));
}

#[test]
fn nothing_is_remembered_of_a_first_call_that_was_not_answered() {
    let mut bench = Bench::new(false);
    let nothing = of("default", "u", 0);
    bench.ledger.set(&key(&nothing), &nothing).unwrap();
    assert!(bench.ledger.is_read_back());
    assert_eq!(bench.ledger.get(&key(&nothing)).unwrap(), None);
}

#[test]
fn people_are_counted_once_by_workspace_and_after_a_restart_too() {
    let mut bench = Bench::new(false);
    for (offset, (workspace, id)) in (0..).zip([("a", "1"), ("a", "2"), ("b", "1"), ("a", "1")]) {
        bench.read(offset, &of(workspace, id, offset)).unwrap();
    }
    bench.ledger.read(message(4, &of("a", "2", 0), None)).unwrap();
    let expected = Known::from([("a".to_owned(), 1), ("b".to_owned(), 1)]);
    assert_eq!(bench.ledger.known().next(), Some((PARTITION, &expected)));
    let Bench { ledger, config, _directory } = bench;
    drop(ledger);
    let kept: Checkpoint<Known> = Cache::open(&config).unwrap().store.checkpoint(PARTITION).unwrap().unwrap();
    assert_eq!((kept.next, kept.tally), (5, expected));
}

#[test]
fn a_topic_that_goes_back_is_another_one_and_its_cache_is_thrown_away() {
    let mut bench = Bench::new(false);
    let record = of("default", "u", 1);
    bench.read(0, &record).unwrap();
    bench.read(1, &record).unwrap();
    let error = bench.read(0, &of("default", "new", 1)).unwrap_err();
    assert!(matches!(error, TrackSinkError::LedgerCut), "{error}");
    assert_eq!((bench.cached(&record), bench.stored_checkpoint()), (None, None));
}

#[test]
fn a_record_of_a_newer_release_is_a_clear_stop() {
    let mut bench = Bench::new(false);
    let record = of("default", "u", 1);
    let mut newer = record.encode();
    newer[0] = LedgerRecord::VERSION + 1;
    let error = bench.ledger.read(message(0, &record, Some(newer))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a record of track-ledger cannot be read: ledger record of version 4: this release reads up to version 3, upgrade it to go on"
    );
    assert_eq!(bench.stored_checkpoint(), None);
}

#[test]
fn what_a_dry_run_would_have_written_is_forgotten_with_it_and_never_cached() {
    let mut bench = Bench::new(true);
    let (real, planned) = (of("default", "u", 1), of("default", "u", 2));
    bench.read(0, &real).unwrap();
    bench.ledger.set(&key(&planned), &planned).unwrap();
    assert_eq!(bench.ledger.get(&key(&planned)).unwrap(), Some(planned));
    assert_eq!(bench.cached(&real), Some(real.clone()));
    let kept = bench.stored_checkpoint().unwrap();
    bench.ledger.let_go(PARTITION).unwrap();
    bench.ledger.take(PARTITION, kept).unwrap();
    assert_eq!(bench.ledger.get(&key(&real)).unwrap(), Some(real));
}

#[test]
fn what_comes_for_a_partition_that_went_changes_nothing_and_the_cache_keeps_what_it_had() {
    let mut bench = Bench::new(false);
    let (first, second) = (of("default", "u", 1), of("default", "u", 2));
    bench.read(0, &first).unwrap();
    bench.ledger.set(&key(&second), &second).unwrap();
    bench.ledger.let_go(PARTITION).unwrap();
    bench.read(1, &second).unwrap();
    bench.ledger.set(&key(&second), &second).unwrap();
    assert!(bench.ledger.is_read_back() && bench.ledger.uncommitted().is_empty());
    assert_eq!((bench.cached(&first), bench.stored_checkpoint().unwrap().next), (Some(first), 1));
}

#[test]
fn the_group_is_told_where_a_partition_stands_when_it_comes_and_when_it_moves() {
    let mut bench = Bench::new(false);
    let told = |ledger: &Ledger| ledger.uncommitted().iter().map(|position| (position.next.0, position.topic)).collect::<Vec<_>>();
    assert_eq!(told(&bench.ledger), [(0, 7)]);
    let positions = bench.ledger.uncommitted();
    bench.read(0, &of("default", "u", 1)).unwrap();
    bench.ledger.committed(&positions);
    assert_eq!(told(&bench.ledger), [(1, 7)], "it moved meanwhile");
    bench.ledger.committed(&bench.ledger.uncommitted());
    assert!(bench.ledger.uncommitted().is_empty());
}
