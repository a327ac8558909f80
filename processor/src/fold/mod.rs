//! Evidence about one person as a join: merging is commutative, associative and idempotent, so any order and any number of duplicates give the same bytes.

mod bytes;
mod clear_address;
mod encoding;
mod first_version;
mod hard;
mod last_times;
mod newest;
mod observation;
mod recent;
mod soft;
mod state;

pub use clear_address::ClearAddress;
pub use hard::{HardBounce, HardBounces};
pub use last_times::LastTimes;
pub use newest::Newest;
pub use observation::{Devices, Fact, Observation, Reach};
pub use recent::{Click, Mail, Member, Recent, Response};
pub use soft::{SoftClass, SoftDay, SoftDays};
pub use state::{Complaint, OtherChannel, State};

/// The day a Unix time falls on, in UTC.
pub(crate) fn day(at: u32) -> u32 {
    at / 86_400
}

#[cfg(test)]
mod record_tests;
