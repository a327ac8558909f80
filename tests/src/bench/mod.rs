//! What the benchmarks share: figures beside their goals, and what a process uses.

mod report;
mod usage;

pub use report::{Figure, Goal, Spread, print, write};
pub use usage::Usage;
