//! What the fuzz targets in `fuzz/` found worth keeping, replayed without a fuzzer: their inputs under `fuzz/corpus` and `fuzz/regressions`.

#![expect(clippy::unwrap_used, reason = "a corpus that cannot be read is a failure")]

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use aftersend_schemas::event::Event;
use aftersend_schemas::json::NotAnObject;

#[path = "../../fuzz/src/lib.rs"]
pub mod promises;

const SAMPLES: &str = include_str!("../fixtures/samples.jsonl");

fn inputs(target: &str) -> Vec<PathBuf> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let folders = ["corpus", "regressions"].map(|kind| fuzz.join(kind).join(target));
    let files = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// Every input of a target, so that one run names all that fail.
fn replay(target: &str, at_least: usize, promise: fn(&[u8])) {
    let inputs = inputs(target);
    assert!(inputs.len() >= at_least, "only {} inputs for {target}: is fuzz/corpus checked out?", inputs.len());
    let fails = |file: &&PathBuf| catch_unwind(|| promise(&std::fs::read(file).unwrap())).is_err();
    let failed: Vec<_> = inputs.iter().filter(fails).collect();
    assert!(failed.is_empty(), "{target} breaks a promise on {failed:#?}");
}

#[test]
fn any_body_gives_an_event_and_its_row_or_a_reason() {
    replay("event", 200, promises::event);
}

#[test]
fn any_bytes_are_a_record_or_an_error() {
    replay("records", 100, promises::records);
}

#[test]
fn any_text_gets_a_verdict_and_guard_phrases_are_never_hard() {
    replay("classify", 40, promises::classify);
}

#[test]
fn reading_survives_truncation_at_every_byte() {
    for sample in SAMPLES.lines() {
        promises::event(sample.as_bytes());
        for end in 0..sample.len() {
            let cut = &sample.as_bytes()[..end];
            let expected = match std::str::from_utf8(cut) {
                Ok("") => NotAnObject::Empty,
                Ok(_) => NotAnObject::NotJson,
                Err(_) => NotAnObject::NotUtf8,
            };
            assert_eq!(Event::read(cut).err(), Some(expected), "{}", String::from_utf8_lossy(cut));
        }
    }
}
