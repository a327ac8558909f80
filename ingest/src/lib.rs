//! The HTTP door: verifies each webhook over its raw bytes, writes it to Kafka, and answers once the brokers have it.
//!
//! ```text
//! request ─▶ source (404) ─▶ signature (401) ─▶ size (413, or dead) ─▶ room (503) ─▶ JSON object? ─▶ raw or dead ─▶ delivery report ─▶ 200
//!                                                                                                └─ full, late, failed ─▶ 503
//! ```

mod admission;
mod allowlist;
mod answer;
mod body;
mod client_address;
mod connections;
mod door;
mod handover;
mod http2;
mod metrics;
mod publish;
mod reload;
mod rules;
mod secrets;
pub mod server;
mod service;
mod signature;
mod sources;
mod stream;
mod tls;
mod watch;

/// What the fuzz target `door` holds to its promises; for nobody else.
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::admission::Admission;
    pub use crate::answer::Answer;
    pub use crate::body::{Body, Limits, read};
    pub use crate::client_address::client_address;
    pub use crate::secrets::Secrets;
}

pub use service::{Ingest, IngestError};
pub use signature::{HeaderError, SignatureHeaders, SigningKeys};
pub use tls::check_certificate;
