//! The verdict on a person at a given time: state of the evidence, policy and time in; score, state and reasons out. The only place with floating point.
//!
//! ```text
//! state ─▶ evidence: engagement, soft ─▶ reading: gates, tiers, points ─▶ evaluation
//!                                            └─▶ change: when it will read differently by time alone
//! ```

mod change;
mod engagement;
mod evaluate;
mod evidence;
mod explain;
mod gates;
mod policy;
mod reading;
mod soft;
mod standing;
mod tiers;

#[cfg(test)]
pub(crate) use change::Changes;
pub use evaluate::evaluate;
pub use explain::{Explanation, Next, explain};
pub use policy::{Policies, Policy};
pub use standing::{NoQuarantine, Standing};

/// Seconds of a day.
const DAY: i64 = 86_400;
/// Clock difference between Customer.io and us that is forgiven: deliveries, answers and soft bounces further in the future are not looked at yet.
const CLOCK_SECONDS: i64 = 300;

/// The latest time of evidence that is looked at.
fn seen_until(now: i64) -> i64 {
    now.saturating_add(CLOCK_SECONDS)
}

/// What is left of something after a time, by its half-life: 1 for what is not past yet.
fn decayed(age_seconds: i64, half_life_days: f64) -> f64 {
    (-(age_seconds.max(0) as f64) / (half_life_days * DAY as f64)).exp2()
}

#[cfg(test)]
mod tests;
