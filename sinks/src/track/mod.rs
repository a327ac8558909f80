//! The Track sink: a reconciler. What a profile wants is compared with what Customer.io has acknowledged (the ledger), and only a difference becomes a call.
//!
//! ```text
//! profiles ─▶ latest profile per person ─▶ plan (pure) ─▶ call ─▶ answer ─▶ ledger, track-calls ─▶ plan again ─▶ ... ─▶ nothing to do: offset
//! ```
//!
//! `suppress` deletes a person for good. It is sent only after an identify was acknowledged, after the hold, for evidence that arrived recently enough,
//! never for a person on the list, and never by more than so many an hour.

mod api;
mod attributes;
mod brake;
mod calls;
mod metrics;
mod plan;
mod reconciler;
mod service;

pub use attributes::wanted as wanted_attributes;
pub use service::{TrackSink, TrackSinkError};
