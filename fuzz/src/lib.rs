//! What must hold for any input: one place for the fuzz targets beside this file and for `schemas/tests/fuzz_corpus.rs`, which includes it and replays
//! their corpus on stable.

#![allow(clippy::expect_used, reason = "a broken promise ends the run")]

mod classify;
mod event;
mod records;

pub use classify::classify;
pub use event::event;
pub use records::records;
