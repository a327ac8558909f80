//! The fold of events into a person's evidence, the score read from it, and the service around both.
//!
//! `fold`, `score` and `providers` are pure: evidence in, evidence out; evidence, policy and time in, verdict out. Nothing in them looks at a clock.

pub mod fold;
#[cfg(test)]
mod laws;
pub mod providers;
pub mod score;
mod service;

pub use score::explain;
pub use service::{Processor, ProcessorError, SessionError, StoreError};
