//! Tests by promise: the corpus, the law, the traps, the table's own rules and its overrides.

mod corpus;
mod law;
mod overrides;
mod rules;
mod traps;

use super::{BounceClass, Table};

/// The class of a text whose channel is not known.
fn class(text: &str) -> BounceClass {
    Table::builtin().classify(text).class
}
