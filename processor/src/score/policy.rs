use aftersend_pipeline::config::{self, BounceMode};
use xxhash_rust::xxh3::xxh3_64;

/// The rules of the score, and a version that changes with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How sure a hard bounce must be.
    pub bounces: BounceMode,
    /// Days without a click after which promotional mail stops.
    pub sunset_after_days: u16,
    /// Deliveries that must lie in the last 90 days for that.
    pub sunset_min_delivered: u16,
    /// Written into every result.
    pub version: u32,
}

impl Policy {
    /// Takes the scoring rules from `[policy]`.
    pub fn new(config: &config::Policy) -> Self {
        let rules = (config.bounces, config.sunset_after_days, config.sunset_min_delivered);
        // The formula itself is part of the policy: raise this number with it.
        let text = format!("formula 1 {rules:?}");
        Self {
            bounces: config.bounces,
            sunset_after_days: config.sunset_after_days,
            sunset_min_delivered: config.sunset_min_delivered,
            version: (xxh3_64(text.as_bytes()) >> 32) as u32,
        }
    }
}
