//! Range cases, beginnings, and texts that are not ours.

use super::machine::{ATTEMPTS, Rows};
use super::start::{LogBounds, Oddity, Standing, Stop, Stored};
use super::*;

fn span(first: i64, last: i64, records: u32) -> Span {
    Span { first, last, records }
}

fn intent(epoch: u32, batch: Option<Span>) -> Intent {
    Intent { epoch, opened: None, batch, suspect: None }
}

/// When partitions are looked at.
const NOW: i64 = 1_770_000_000_000;

fn standing(committed: Option<i64>, note: &str, stored: Stored) -> Standing {
    let note = committed.map_or(Note::Foreign, |next| Note::read(note, next));
    Standing { committed, note, log: LogBounds { start: 0, end: 1_000 }, stored, at: NOW }
}

/// Rows up to an offset, all in one epoch.
fn rows(last: i64, epoch: u32) -> Stored {
    Stored { epoch: Some(epoch), last: Some(last), last_in_epoch: Some(last) }
}

fn begin(standing: Standing) -> (Machine, Option<Operation>) {
    let (mut machine, look) = Machine::new();
    assert_eq!(look, Operation::Look);
    let operation = machine.on(Input::Standing(standing));
    (machine, operation)
}

fn commit(next: i64, intent: Intent) -> Option<Operation> {
    Some(Operation::Commit { next, intent })
}

fn insert(span: Span, attempt: u32) -> Option<Operation> {
    let rows = if attempt == 0 { Rows::Whole } else { Rows::Missing };
    Some(Operation::Insert { span, epoch: 2, opened: None, attempt, rows })
}

fn read_back(span: Span) -> Option<Operation> {
    Some(Operation::ReadBack { span, epoch: 2 })
}

const BATCH: &str = "v2 epoch=2 first=10 last=20 n=9";

/// A machine that found the intent above.
fn recovering() -> Machine {
    let (mut machine, operation) = begin(standing(Some(10), BATCH, Stored::default()));
    assert_eq!(operation, commit(10, intent(2, Some(span(10, 20, 9)))), "claimed, so that a zombie cannot");
    assert_eq!(machine.on(Input::Committed), Some(Operation::Rebuild(span(10, 20, 9))));
    machine
}

/// A machine that waits for its first batch in epoch 2.
fn idle() -> Machine {
    let (machine, operation) = begin(standing(Some(10), "v2 epoch=2", rows(9, 2)));
    assert_eq!(operation, None);
    machine
}

#[test]
fn a_new_range_is_announced_then_sent_and_commits_together_with_the_next() {
    let (first, second) = (span(10, 20, 9), span(22, 30, 9));
    let mut machine = idle();
    assert_eq!(machine.on(Input::Closed(first)), commit(10, intent(2, Some(first))));
    assert_eq!(machine.on(Input::Committed), insert(first, 0));
    assert!(!machine.is_ready(), "the next one fills meanwhile");
    assert_eq!(machine.on(Input::Inserted), None, "the offset waits for company");
    assert_eq!(machine.on(Input::Closed(second)), commit(22, intent(2, Some(second))), "one commit for both");
    assert_eq!(machine.on(Input::Committed), insert(second, 0));
    assert_eq!(machine.on(Input::Inserted), None, "the offset waits for company");
    assert_eq!(machine.on(Input::Rest), commit(31, intent(2, None)));
    assert_eq!(machine.on(Input::Committed), None);
}

#[test]
fn the_same_range_is_sent_under_the_same_token_and_read_back() {
    let mut machine = recovering();
    let batch = span(10, 20, 9);
    assert_eq!(machine.on(Input::Rebuilt(9)), insert(batch, 0));
    assert_eq!(machine.on(Input::Inserted), read_back(batch));
    assert_eq!(machine.on(Input::Missing { missing: 0, rows: 9 }), None);
    assert_eq!(machine.on(Input::Rest), commit(21, intent(2, None)));
}

#[test]
fn an_overlap_is_completed_with_the_missing_rows_only() {
    let mut machine = recovering();
    let batch = span(10, 20, 9);
    machine.on(Input::Rebuilt(9));
    machine.on(Input::Inserted);
    assert_eq!(machine.on(Input::Missing { missing: 4, rows: 9 }), insert(batch, 1));
    assert_eq!(machine.on(Input::InDoubt), insert(batch, 1), "with the same token until it is accepted");
    assert_eq!(machine.on(Input::Inserted), read_back(batch));
    assert_eq!(machine.on(Input::Missing { missing: 1, rows: 9 }), insert(batch, 2));
    machine.on(Input::Inserted);
    assert_eq!(machine.on(Input::Missing { missing: 0, rows: 9 }), None);
}

#[test]
fn rows_that_never_appear_stop_the_partition() {
    let mut machine = recovering();
    machine.on(Input::Rebuilt(9));
    for attempt in 1..=ATTEMPTS {
        machine.on(Input::Inserted);
        assert_eq!(machine.on(Input::Missing { missing: 1, rows: 9 }), insert(span(10, 20, 9), attempt));
    }
    machine.on(Input::Inserted);
    assert_eq!(machine.on(Input::Missing { missing: 1, rows: 9 }), None);
    assert_eq!(machine.stopped(), Some(Stop::NotFilling));
    assert_eq!(machine.on(Input::Closed(span(21, 22, 2))), None, "and nothing follows");
}

#[test]
fn a_range_of_which_the_log_kept_a_part_or_nothing_is_finished_with_what_is_left() {
    let mut machine = recovering();
    assert_eq!(machine.on(Input::Rebuilt(3)), insert(span(10, 20, 9), 0), "under the token of the whole");
    let mut machine = recovering();
    assert_eq!(machine.on(Input::Rebuilt(0)), None);
    assert_eq!(machine.on(Input::Rest), commit(21, intent(2, None)));
}

#[test]
fn a_zombie_whose_commit_is_refused_sends_nothing() {
    let mut machine = idle();
    let batch = span(10, 20, 9);
    machine.on(Input::Closed(batch));
    assert_eq!(machine.on(Input::Fenced), None);
    assert!(machine.has_left());
    let (mut recovering, _) = begin(standing(Some(10), BATCH, Stored::default()));
    assert_eq!(recovering.on(Input::Fenced), None, "nor does it send what it found announced");
    for late in [Input::Committed, Input::Inserted, Input::Rest, Input::Closed(batch)] {
        assert_eq!(machine.on(late), None);
    }
}

#[test]
fn in_doubt_means_the_same_token_again_then_reading_back() {
    let mut machine = idle();
    let batch = span(10, 20, 9);
    machine.on(Input::Closed(batch));
    machine.on(Input::Committed);
    assert_eq!(machine.on(Input::InDoubt), insert(batch, 0));
    assert_eq!(machine.on(Input::InDoubt), insert(batch, 0));
    assert_eq!(machine.on(Input::Inserted), read_back(batch));
}

#[test]
fn a_refused_batch_is_halved_down_to_the_row_that_is_to_blame() {
    let mut machine = idle();
    let (first, second) = (span(10, 12, 2), span(14, 14, 1));
    machine.on(Input::Closed(span(10, 14, 3)));
    machine.on(Input::Committed);
    assert_eq!(machine.on(Input::Refused(Some((first, second)))), commit(10, intent(2, Some(first))));
    assert_eq!(machine.on(Input::Committed), insert(first, 0));
    assert_eq!(machine.on(Input::Inserted), commit(14, intent(2, Some(second))));
    machine.on(Input::Committed);
    assert_eq!(machine.on(Input::Refused(None)), Some(Operation::Bury(second)));
    assert_eq!(machine.on(Input::Buried), None);
    assert_eq!(machine.on(Input::Rest), commit(15, intent(2, None)));
}

#[test]
fn halves_of_a_batch_that_is_partly_there_are_never_sent_whole() {
    let mut machine = recovering();
    let (first, second) = (span(10, 14, 5), span(16, 20, 4));
    machine.on(Input::Rebuilt(9));
    assert_eq!(machine.on(Input::Refused(Some((first, second)))), read_back(span(10, 20, 9)), "what was sent before may be there");
    let suspect = |batch| Intent { suspect: Some(20), ..intent(2, batch) };
    assert_eq!(machine.on(Input::Missing { missing: 3, rows: 9 }), commit(10, suspect(Some(first))));
    assert_eq!(machine.on(Input::Committed), read_back(first));
    assert_eq!(machine.on(Input::Missing { missing: 1, rows: 5 }), insert(first, 1));
    machine.on(Input::Inserted);
    assert_eq!(machine.on(Input::Missing { missing: 0, rows: 5 }), commit(16, suspect(Some(second))));
    // Whoever comes next knows it too, between the halves as well.
    let text = suspect(None).to_string();
    let (mut successor, _) = begin(standing(Some(16), &text, rows(15, 2)));
    let batch = span(16, 30, 10);
    assert_eq!(successor.on(Input::Closed(batch)), commit(16, suspect(Some(batch))));
    assert_eq!(successor.on(Input::Committed), read_back(batch));
}

#[test]
fn who_leaves_finishes_what_is_announced_and_takes_nothing_new() {
    let mut machine = idle();
    machine.on(Input::Closed(span(10, 20, 9)));
    machine.on(Input::Closed(span(21, 30, 9)));
    assert_eq!(machine.on(Input::Leave), None);
    assert_eq!(machine.on(Input::Committed), insert(span(10, 20, 9), 0));
    assert_eq!(machine.on(Input::Inserted), commit(21, intent(2, None)));
    assert_eq!(machine.on(Input::Committed), None);
    assert!(machine.has_left());
}

#[test]
fn a_partition_begins_as_what_is_committed_and_what_is_stored_say() {
    let recover = commit(10, intent(2, Some(span(10, 20, 9))));
    let open = |next, epoch| commit(next, Intent { opened: Some(NOW), ..intent(epoch, None) });
    let none = Stored::default();
    let other_epoch = Stored { epoch: Some(3), last: Some(12), last_in_epoch: None };
    let without_places = Stored { epoch: Some(4), ..none };
    for (name, standing, expected, oddities) in [
        ("first start", standing(None, "", none), open(0, 0), vec![]),
        ("nothing announced", standing(Some(21), "v2 epoch=2", none), None, vec![]),
        ("an earlier release", standing(Some(21), "v1 epoch=2", none), None, vec![]),
        ("announced, nothing there", standing(Some(10), BATCH, none), recover, vec![]),
        ("announced, all there", standing(Some(10), BATCH, rows(20, 2)), recover, vec![]),
        ("reset to the beginning", standing(Some(0), "", rows(99, 2)), open(0, 3), vec![Oddity::Replay(3)]),
        ("reset to the middle", standing(Some(50), "", rows(99, 2)), open(50, 3), vec![Oddity::Replay(3)]),
        ("expired", standing(None, "", rows(99, 2)), open(0, 3), vec![Oddity::Replay(3)]),
        ("reset to where it was", standing(Some(100), "", rows(99, 2)), open(100, 2), vec![]),
        ("reset forward", standing(Some(150), "", rows(99, 2)), open(150, 2), vec![Oddity::Skipped(50)]),
        ("set forward before the first row", standing(Some(150), "", none), open(150, 0), vec![Oddity::Skipped(150)]),
        ("set to the beginning before the first row", standing(Some(0), "", none), open(0, 0), vec![]),
        ("put back with its text", standing(Some(50), "v2 epoch=2", rows(99, 2)), open(50, 3), vec![Oddity::Replay(3)]),
        ("an old intent put back", standing(Some(10), BATCH, rows(21, 2)), open(10, 3), vec![Oddity::Replay(3)]),
        ("a text of an older epoch", standing(Some(10), BATCH, other_epoch), open(10, 4), vec![Oddity::Replay(4)]),
        ("rows that do not say where they were", standing(None, "", without_places), open(0, 5), vec![Oddity::Replay(5)]),
        ("junk", standing(Some(50), "junk", rows(99, 2)), open(50, 3), vec![Oddity::Replay(3)]),
        ("an intent for another offset", standing(Some(11), BATCH, rows(20, 2)), open(11, 3), vec![Oddity::Replay(3)]),
    ] {
        assert_eq!(begin(standing).1, expected, "{name}");
        assert_eq!(standing.oddities(), oddities, "{name}");
    }
}

/// The rows of an earlier reading may have been deleted, with all their epochs: what is sent then has never been sent before.
#[test]
fn each_opening_has_tokens_of_its_own_and_whoever_goes_on_keeps_them() {
    let opened_at = |at| {
        let (mut machine, open) = begin(Standing { at, ..standing(Some(0), "", Stored::default()) });
        let Some(Operation::Commit { intent, .. }) = open else { panic!("{open:?}") };
        machine.on(Input::Committed);
        machine.on(Input::Closed(span(0, 9, 10)));
        let sent = machine.on(Input::Committed);
        // Nobody has sent anything before this text was accepted, so a successor stays in it.
        let (mut successor, _) = begin(standing(Some(0), &intent.to_string(), Stored::default()));
        successor.on(Input::Closed(span(0, 9, 10)));
        assert_eq!(successor.on(Input::Committed), sent);
        sent
    };
    assert_ne!(opened_at(NOW), opened_at(NOW + 1));
}

#[test]
fn another_log_under_the_same_name_stops_and_so_does_what_a_newer_release_wrote() {
    let log = LogBounds { start: 0, end: 60 };
    for (name, standing, stop) in [
        ("rows behind the end", Standing { log, ..standing(Some(10), "", rows(60, 0)) }, Some(Stop::OtherLog)),
        ("our own, rows behind the end", Standing { log, ..standing(Some(10), "v2 epoch=0", rows(99, 0)) }, Some(Stop::OtherLog)),
        ("committed behind the end", Standing { log, ..standing(Some(61), "v2 epoch=0", Stored::default()) }, Some(Stop::OtherLog)),
        ("rows up to the end", Standing { log, ..standing(Some(60), "v2 epoch=0", rows(59, 0)) }, None),
        ("newer", standing(Some(10), "v4 epoch=0 anything=1", rows(9, 0)), Some(Stop::Newer)),
    ] {
        assert_eq!(begin(standing).0.stopped(), stop, "{name}");
    }
}

#[test]
fn what_expired_before_it_was_read_is_known_and_reading_begins_behind_it() {
    let log = LogBounds { start: 40, end: 1_000 };
    let expired = Standing { log, ..standing(Some(10), "", rows(9, 1)) };
    assert_eq!(begin(expired).1, commit(40, Intent { opened: Some(NOW), ..intent(1, None) }));
    assert_eq!(expired.oddities()[0], Oddity::Expired(30));
}

#[test]
fn texts_come_back_as_they_were_and_others_are_not_ours() {
    for intent in [
        intent(0, None),
        intent(7, Some(span(3, 3, 1))),
        Intent { epoch: u32::MAX, opened: Some(NOW), batch: Some(span(3, 9, 2)), suspect: Some(12) },
        Intent { suspect: Some(5), ..intent(1, None) },
        Intent { opened: Some(NOW), ..intent(1, None) },
    ] {
        let text = intent.to_string();
        assert!(text.is_ascii() && text.len() < 100, "{text}");
        assert_eq!(Note::read(&text, 3), Note::Ours(intent), "{text}");
    }
    let too_long = format!("v2 epoch=1{}", " ".repeat(5_000));
    for text in [
        "",
        "junk",
        "v2",
        "v2 epoch=",
        "v2 epoch=-1",
        "v2 epoch=99999999999",
        "v2  epoch=1",
        "v2 epoch=1 first=3",
        "v2 epoch=1 first=3 last=2 n=1",
        "v2 epoch=1 first=3 last=5 n=4",
        "v2 epoch=1 first=3 last=5 n=0",
        "v2 epoch=1 first=-3 last=5 n=1",
        "v2 epoch=1 first=3 last=9223372036854775807 n=1",
        "v2 epoch=1 first=4 last=5 n=1",
        "v2 epoch=1 first=3 last=5 n=1 more",
        "v2 epoch=1 suspect=x",
        "v1 epoch=1 first=3 last=5 n=1",
        "v2 epoch=1 opened=5",
        "v3 epoch=1",
        "v3 epoch=1 first=3 last=5 n=1",
        "v3 epoch=1 opened=x",
        "version 2",
        "v3",
        "{\"v\":2}",
        "v2 epoch=1\u{1f4a3}",
        &too_long,
    ] {
        assert_eq!(Note::read(text, 3), Note::Foreign, "{text}");
    }
    assert_eq!(Note::read("v4 epoch=1", 3), Note::Newer);
}
