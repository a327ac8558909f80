//! How mailbox providers stand: counts of everybody's mail in windows of event time, and when a leap of hard bounces is not to be believed. Pure.
//!
//! Each partition of `raw` adds up what it saw in windows of its own; windows of all partitions are joined. Everything is a join of samples of distinct
//! messages, so order, duplicates and replays change nothing. What followed from them is kept for longer than they are.

mod quarantine;
mod sample;
mod standings;
mod window;

pub use quarantine::{Quarantine, QuarantineKey, QuarantineRecord};
pub use sample::Sample;
pub use standings::{Changed, SETTLE, Standings, View};
pub use window::{BUCKET, Mailed, Window, WindowKey, text_of};

#[cfg(test)]
mod tests;
