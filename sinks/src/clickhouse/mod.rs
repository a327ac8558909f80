//! The ClickHouse sink: one consumer group for each table, each record once, whatever dies.
//!
//! `protocol` decides, `lane` keeps a partition's records, `writer` and `server` carry out, `service` brings them together.

mod batch;
mod client;
mod failure;
mod fault;
mod http;
mod lane;
mod limit;
mod metrics;
mod migrate;
mod outage;
mod protocol;
mod rollups;
mod schema;
mod server;
mod service;
mod tables;
mod writer;

pub use client::client;
pub use migrate::{MigrateError, migrate};
pub use rollups::Rollups;
pub use schema::{SchemaError, check_database, check_schema};
pub use service::{ClickHouseSink, ClickHouseSinkError};
pub use tables::TABLES;
pub use writer::TooNew;
