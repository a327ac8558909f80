//! The verdict on a person at a given time: state of the evidence, policy and time in; score, state and reasons out. The only place with floating point.

mod bounces;
mod engagement;
mod evaluate;
mod gates;
mod policy;

pub use evaluate::evaluate;
pub use policy::Policy;

/// Days between two Unix times, never negative.
fn days_between(earlier: u32, later: i64) -> f64 {
    (later - i64::from(earlier)).max(0) as f64 / 86_400.0
}

/// The day a Unix time falls on, in UTC.
fn day(at: u32) -> u32 {
    at / 86_400
}

#[cfg(test)]
mod tests;
