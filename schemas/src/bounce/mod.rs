//! Bounce classification: the free text of a failure becomes a class, the rule that decided and a confidence.
//!
//! The webhook carries no bounce type and no SMTP code field, only `failure_message`. Everything here is a pure function of
//! (table, channel, text): no clock, no I/O, no floating point, so verdicts can be folded into bit-exact state.
//!
//! How a text is decided:
//! 1. only the first [`HEAD_BYTES`] are read, whatever the length;
//! 2. one pass finds all phrases of the table, word by word, ignoring ASCII case and punctuation (`fold`, `words`);
//! 3. one pass finds the first enhanced code and the first basic code (`codes`);
//! 4. the first rule whose conditions all hold wins, in the order of the stages: `guard` (throttle, block, policy and other texts
//!    that must never be called hard), `code`, `phrase`, `basic`; nothing matched is `undetermined` by the rule [`UNMATCHED`].
//!
//! The law "no throttle, block or policy text is ever called hard" holds by construction: guard rules come first and the loader
//! refuses a guard rule with a hard class. It covers the text that is read, links aside; a hard verdict on a text longer than the head is
//! therefore held below the confidence that permits an irreversible call ([`IN_DOUBT`]).
//!
//! The rules are data: `schemas/bounce/rules.toml`, with test lines and sources. The corpus that holds them to account is
//! `schemas/bounce/corpus.toml`.

mod class;
mod classify;
mod codes;
mod compile;
mod error;
mod fold;
mod plain;
mod spec;
mod table;
mod words;

#[cfg(test)]
mod tests;

pub use class::{BounceClass, UnknownClass};
pub use classify::{HEAD_BYTES, IN_DOUBT, UNMATCHED, Verdict, VerdictLine};
pub use compile::CHANNELS;
pub use error::TableError;
pub use spec::{RuleSpec, Stage};
pub use table::Table;
