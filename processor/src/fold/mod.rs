//! Evidence about one person as a join: merging is commutative, associative and idempotent, so any order and any number of duplicates give the same bytes.

mod newest;
mod observation;
mod state;

pub use newest::Newest;
pub use observation::{Fact, Observation};
pub use state::{Bounce, Click, Complaint, HardBounce, Mail, OtherChannel, State};

#[cfg(test)]
mod record_tests;
#[cfg(test)]
mod tests;
