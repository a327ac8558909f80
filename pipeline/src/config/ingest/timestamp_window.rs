use std::time::Duration;

use serde::Deserialize;

use crate::config::Span;

/// `[ingest.timestamp_window]`: accepted distance of `X-CIO-Timestamp` from now. Whether Customer.io signs a retry anew is not documented, so the
/// defaults leave room for its seven days of retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimestampWindow {
    /// Default: 7 days and an hour.
    pub past: Span,
    /// Default: 5 minutes.
    pub future: Span,
}

impl Default for TimestampWindow {
    fn default() -> Self {
        Self { past: Span(Duration::from_secs((7 * 24 + 1) * 3_600)), future: Span(Duration::from_secs(300)) }
    }
}

impl TimestampWindow {
    /// True if a request stamped `timestamp` (Unix seconds) may arrive at `now` (Unix milliseconds). Both ends belong to the window.
    pub fn contains(&self, timestamp: i64, now: i64) -> bool {
        let age = now.saturating_sub(timestamp.saturating_mul(1_000));
        // The timestamp has whole seconds.
        age < self.past.millis().saturating_add(1_000) && age >= self.future.millis().saturating_neg()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_belong_to_the_window() {
        let window = TimestampWindow { past: Span(Duration::from_secs(60)), future: Span(Duration::from_secs(5)) };
        let now = 1_770_000_000_500;
        for (timestamp, inside) in [(1_769_999_939, false), (1_769_999_940, true), (1_770_000_005, true), (1_770_000_006, false)] {
            assert_eq!(window.contains(timestamp, now), inside, "{timestamp}");
        }
        assert!(!window.contains(i64::MAX, now) && !window.contains(0, now));
    }
}
