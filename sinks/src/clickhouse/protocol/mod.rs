//! How one partition gets into one table, each row once, whatever dies. Pure: inputs say what happened, the answer says what to do next.
//!
//! ```text
//!            what is committed, the log, the rows
//!                          │
//!         ┌────────────────┼──────────────────┐
//!         ▼                ▼                  ▼
//!      stopped      an intent is there     no intent
//!                          │                  │
//!                 rebuild, send again     (open the epoch)
//!                          │                  │
//!   read back ◀────────────┤                  ▼
//!       │ missing: send only these    ┌──▶  idle ── closed ──▶ commit the intent
//!       │ under the next token        │                             │ accepted
//!       └──────────▶ done ──▶ commit ─┘◀── done ◀── 2xx ◀── send under the token
//!                                            ▲               │ in doubt: send again
//!                                            └── read back ◀─┘
//! ```
//!
//! Three layers. The *intent*, committed before anything is sent, fixes what a batch is, and fences: a member that the group has dropped cannot commit
//! one. The *token* drops blind repeats and late copies; it names the time at which the partition was opened, so that it is new even where the rows of an
//! earlier reading were deleted. *Reading back* finds what a token claims and nobody stored, since ClickHouse writes the token
//! before the rows.

mod intent;
mod machine;
mod start;

#[cfg(test)]
mod explorer;
#[cfg(test)]
mod tests;

pub(super) use intent::{Intent, Note, Span};
pub(super) use machine::{Input, Machine, Operation, Rows};
pub(super) use start::{LogBounds, Oddity, Standing, Stop, Stored};
