use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A duration written as `15m`, `48h` or `0s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    /// Whole milliseconds.
    pub fn millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SpanVisitor)
    }
}

struct SpanVisitor;

impl de::Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration in quotes, such as \"90s\", \"15m\" or \"48h\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
        humantime::parse_duration(text)
            .map(Span)
            .map_err(|_| E::custom(format!("{text:?} is no duration: write a number and a unit, such as \"90s\", \"15m\" or \"48h\"")))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not in months, which nobody wrote.
        const DAY: u64 = 86_400;
        match (self.0.as_secs(), self.0.subsec_nanos()) {
            (seconds, 0) if seconds >= DAY && seconds % DAY == 0 => write!(f, "{}d", seconds / DAY),
            (seconds, 0) if seconds >= DAY && seconds % 3_600 == 0 => write!(f, "{}h", seconds / 3_600),
            _ => humantime::format_duration(self.0).fmt(f),
        }
    }
}
