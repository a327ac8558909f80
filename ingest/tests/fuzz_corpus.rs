//! What the fuzz target `door` found worth keeping, replayed without a fuzzer: its inputs under `fuzz/corpus` and `fuzz/regressions`.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

#[path = "../../fuzz/src/door.rs"]
mod promises;

#[test]
fn any_bytes_from_a_client_are_read_verified_and_let_go_as_promised() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let folders = ["corpus", "regressions"].map(|kind| fuzz.join(kind).join("door"));
    // There is no folder of regressions until there is one.
    let files = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten();
    let mut inputs: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() >= 60, "only {} inputs: is fuzz/corpus checked out?", inputs.len());
    let fails = |file: &&PathBuf| catch_unwind(|| promises::door(&std::fs::read(file).unwrap())).is_err();
    let failed: Vec<_> = inputs.iter().filter(fails).collect();
    assert!(failed.is_empty(), "a promise is broken on {failed:#?}");
}
