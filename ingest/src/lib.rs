//! The HTTP door: verifies each webhook over its raw bytes, writes it to Kafka, and answers once the brokers have it.
//!
//! ```text
//! request ─▶ signature (401) ─▶ size (413, or dead) ─▶ JSON object? ─▶ raw or dead ─▶ delivery report ─▶ 200
//!                                                                             └─ full, late, failed ─▶ 503
//! ```

mod answer;
mod door;
mod metrics;
mod publish;
mod service;
mod signature;
mod sources;

pub use service::{Ingest, IngestError};
pub use signature::{HeaderError, SignatureHeaders, SigningKeys};
