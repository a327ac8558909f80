//! When an event happened, by rules that a replay cannot change (no clock is read).

use jiff::Timestamp;

/// Events dated before 2012 (Customer.io's first year) or after 2100 carry no usable time.
const EARLIEST: i64 = 1_325_376_000;
const LATEST: i64 = 4_102_444_800;
/// A `timestamp` further than this from the time inside the event id is not believed: retries and provider reports stay well inside.
const MAX_DISTANCE_FROM_ULID: i64 = 31 * 86_400;
/// Numbers above this are milliseconds: as seconds they would lie beyond the year 5000.
const MILLISECONDS_ABOVE: i64 = 100_000_000_000;

/// The time of an event in Unix seconds, and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventTime {
    /// The event's own `timestamp`.
    Stated(i64),
    /// The time inside a ULID event id, because `timestamp` is absent, unreadable, outside fixed limits or far from that id's time.
    FromId(i64),
    /// No usable time: the event is stored, and is no evidence.
    Undated,
}

impl EventTime {
    /// Decides the time from the `timestamp` member's text and the event id.
    pub fn decide(timestamp: Option<&str>, event_id: &str) -> Self {
        let of_id = ulid_seconds(event_id);
        let stated = timestamp.and_then(seconds).filter(|stated| of_id.is_none_or(|id| (stated - id).abs() <= MAX_DISTANCE_FROM_ULID));
        match (stated, of_id) {
            (Some(seconds), _) => Self::Stated(seconds),
            (None, Some(seconds)) => Self::FromId(seconds),
            (None, None) => Self::Undated,
        }
    }

    /// Unix seconds, or nothing for an undated event.
    pub fn seconds(self) -> Option<i64> {
        match self {
            Self::Stated(seconds) | Self::FromId(seconds) => Some(seconds),
            Self::Undated => None,
        }
    }
}

/// Whole or fractional seconds, milliseconds, or RFC 3339 text.
fn seconds(text: &str) -> Option<i64> {
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit()) => whole,
        _ => text,
    };
    let seconds = match whole.parse::<i64>() {
        Ok(number) if number > MILLISECONDS_ABOVE => number / 1000,
        Ok(number) => number,
        Err(_) => text.parse::<Timestamp>().ok()?.as_second(),
    };
    (EARLIEST..LATEST).contains(&seconds).then_some(seconds)
}

fn ulid_seconds(event_id: &str) -> Option<i64> {
    let id = ulid::Ulid::from_string(event_id).ok()?;
    let seconds = i64::try_from(id.timestamp_ms() / 1000).ok()?;
    (EARLIEST..LATEST).contains(&seconds).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::EventTime::{FromId, Stated, Undated};
    use super::*;

    /// The sample event of 2026-02-02T03:05:53Z.
    const ID: &str = "01KGE4QREDPKK4SFSGH5MT4GQT";

    #[test]
    fn a_time_is_stated_or_taken_from_the_id_or_absent() {
        let at = ulid_seconds(ID).unwrap_or_default();
        let cases = [
            (Some("1770001261"), ID, Stated(1_770_001_261)),
            (Some("1770001261000"), ID, Stated(1_770_001_261)),
            (Some("1770001261.75"), ID, Stated(1_770_001_261)),
            (Some("2026-02-02T03:01:01Z"), ID, Stated(1_770_001_261)),
            (Some("abc"), ID, FromId(at)),
            (None, ID, FromId(at)),
            (Some("4070908800"), ID, FromId(at)),
            (Some("0"), ID, FromId(at)),
            (Some("1770001261"), "not-a-ulid", Stated(1_770_001_261)),
            (Some("99999999999"), "not-a-ulid", Undated),
            (None, "not-a-ulid", Undated),
        ];
        for (timestamp, id, expected) in cases {
            assert_eq!(EventTime::decide(timestamp, id), expected, "{timestamp:?} {id}");
        }
    }
}
