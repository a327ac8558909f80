//! The Track sink: a reconciler. What a profile wants is compared with what Customer.io has acknowledged (the ledger), and only a difference becomes a call.
//!
//! ```text
//! profiles ─▶ latest profile per person ─▶ plan (pure) ─▶ gate, rate ─▶ call ─▶ answer ─▶ ledger, track-calls ─▶ plan again ─▶ ... ─▶ done: offset
//!                                             │  ▲
//!                                  suppress:  ▼  │ yes or no
//!                                          track-brake, one log for all replicas (folded by each)
//! ```
//!
//! `suppress` deletes a person for good. It is sent only after an identify was acknowledged, after the hold, for evidence that arrived recently enough,
//! once everything that is there has been read (for a hard bounce, by the processor too), never for a person on the list, and never by more than so many an
//! hour over all replicas.

mod answer;
mod api;
mod arrivals;
mod attributes;
mod batch;
mod brake;
mod calls;
mod decisions;
mod gate;
mod identifier;
mod ledger;
mod listen;
mod metrics;
mod never;
mod outlook;
mod people;
mod plan;
mod rate;
mod service;
mod session;
mod waiting;

pub use api::{Api, Greeting, NotFreed};
pub use attributes::{Names, wanted as wanted_attributes};
pub use brake::{Brakes, Found};
pub use identifier::{Identifier, Unaddressable};
pub use outlook::{Outlook, outlook};
pub use service::{TrackSink, TrackSinkError};
pub use waiting::{Count, Waiting};
