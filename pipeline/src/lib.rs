//! How records travel: configuration, Kafka clients, the consumer loop, finished offsets, local copies of topics, telemetry and shutdown. Every service is built of these.

pub mod config;
pub mod consumer;
pub mod kafka;
pub mod offsets;
pub mod record;
pub mod record_headers;
pub mod retry;
pub mod shutdown;
pub mod store;
pub mod supervise;
pub mod telemetry;

mod clock;

pub use clock::unix_millis;
