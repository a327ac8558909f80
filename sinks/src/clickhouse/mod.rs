//! The ClickHouse sink: one consumer group for each table, one batch at a time for each partition.
//!
//! A batch is closed once and then sent until it is in: the same rows under the same deduplication token, however often. The offset moves after that.
//! What a crash between insert and commit repeats has other bounds and so another token; it lands a second time and collapses by the row's identity, at
//! once in the `_current` views and for good when parts merge.

mod batch;
mod client;
mod epoch;
mod lane;
mod metrics;
mod migrate;
mod service;
mod tables;

pub use client::client;
pub use lane::TooNew;
pub use migrate::{MigrateError, migrate};
pub use service::{ClickHouseSink, ClickHouseSinkError};
pub use tables::TABLES;
