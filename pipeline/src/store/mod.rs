//! A local copy of a compacted topic, on disk: a cache that is never ahead of what is committed there, and worth nothing when in doubt.
//!
//! ```text
//! assigned ─▶ checkpoint in doubt? ─▶ wiped, read whole ──┐
//!                    └── no: read from there ─────────────┴─▶ rows, checkpoint: one atomic write ─▶ owner goes on
//! ```
//!
//! Which topic a checkpoint speaks of cannot be told by its name. So a number, drawn when a topic was first read, is committed in the owner's group
//! beside the position in the topic: Kafka drops what groups committed for a topic that is deleted, and with it the number.

mod checkpoint;
mod database;
mod home;
mod key;
mod restore;

pub use checkpoint::{Checkpoint, Doubt};
pub use database::{Batch, Options, Store, StoreError, Table};
pub use key::{Key, byte};
pub use restore::{Kept, Ready, Restorer};

#[cfg(test)]
mod tests;
