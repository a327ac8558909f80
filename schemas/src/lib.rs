//! What travels through Aftersend: how an event is read, whom it is about, what it is evidence of, and the records and rows made of it.
//!
//! Nothing here does I/O or looks at a clock: time and data are arguments, so that a replay gives the same bytes.

pub mod address;
mod ascii;
pub mod bounce;
pub mod brake;
pub mod catalogue;
pub mod columns;
pub mod event;
pub mod event_time;
pub mod headers;
pub mod identity;
pub mod json;
pub mod ledger;
mod link;
pub mod members;
pub mod migrations;
pub mod normaliser;
pub mod oddity;
pub mod operator;
pub mod outcome;
pub mod privacy;
pub mod profile;
pub mod row_binary;
pub mod rows;
pub mod rudderstack;
pub mod test_events;
pub mod topics;
pub mod track_call;
pub mod versioned;

#[cfg(test)]
mod tests;

pub use versioned::DecodeError;
