//! When an event happened, by rules that a replay cannot change (no clock is read).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Events dated before 2012 (Customer.io's first year) or after 2100 carry no usable time.
const EARLIEST: i64 = 1_325_376_000;
const LATEST: i64 = 4_102_444_800;
/// A `timestamp` further than this from the time inside the event id is not believed: retries and provider reports stay well inside.
const MAX_DISTANCE_FROM_ULID: i64 = 31 * 86_400;
/// Numbers above these are nano-, micro- and milliseconds, so many to the second: as the next larger unit they would lie beyond the year 5000.
const SMALLER_UNITS: [(i64, i64); 3] =
    [(100_000_000_000_000_000, 1_000_000_000), (100_000_000_000_000, 1_000_000), (100_000_000_000, 1_000)];

/// The time of an event in Unix seconds, and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventTime {
    /// The event's own `timestamp`, in whole seconds as documented.
    Stated(i64),
    /// The event's own `timestamp`, given in smaller units, as a fraction or as a date.
    Converted(i64),
    /// The time inside a ULID event id, because `timestamp` is absent, unreadable, outside fixed limits or far from that id's time.
    FromId(i64),
    /// No usable time: the event is stored, and is no evidence.
    Undated,
}

impl EventTime {
    /// Decides the time from the `timestamp` member's text and the event id.
    pub fn decide(timestamp: Option<&str>, event_id: &str) -> Self {
        let of_id = ulid_seconds(event_id);
        let stated = timestamp.and_then(seconds);
        let stated = stated.filter(|(stated, _)| of_id.is_none_or(|id| (stated - id).abs() <= MAX_DISTANCE_FROM_ULID));
        match (stated, of_id) {
            (Some((seconds, false)), _) => Self::Stated(seconds),
            (Some((seconds, true)), _) => Self::Converted(seconds),
            (None, Some(seconds)) => Self::FromId(seconds),
            (None, None) => Self::Undated,
        }
    }

    /// Unix seconds, or nothing for an undated event.
    pub fn seconds(self) -> Option<i64> {
        match self {
            Self::Stated(seconds) | Self::Converted(seconds) | Self::FromId(seconds) => Some(seconds),
            Self::Undated => None,
        }
    }
}

/// Seconds, and whether they had to be worked out: from smaller units, a fraction, an exponent, or a date by RFC 3339 or RFC 2822 (UTC where no offset is
/// given).
fn seconds(text: &str) -> Option<(i64, bool)> {
    let (seconds, is_converted) = match text.parse::<i64>() {
        Ok(number) => SMALLER_UNITS.iter().find(|(above, _)| number > *above).map_or((number, false), |(_, unit)| (number / unit, true)),
        Err(_) => (fraction(text).or_else(|| date(text))?, true),
    };
    (EARLIEST..LATEST).contains(&seconds).then_some((seconds, is_converted))
}

fn fraction(text: &str) -> Option<i64> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    // What is out of range saturates, and is refused as such.
    let whole = number as i64;
    Some(SMALLER_UNITS.iter().find(|(above, _)| whole > *above).map_or(whole, |(_, unit)| whole / unit))
}

fn date(text: &str) -> Option<i64> {
    let zoned = || text.parse::<Timestamp>().ok();
    let mail = || jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    let civil = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    zoned().or_else(mail).or_else(civil).map(Timestamp::as_second)
}

fn ulid_seconds(event_id: &str) -> Option<i64> {
    let id = ulid::Ulid::from_string(event_id).ok()?;
    let seconds = i64::try_from(id.timestamp_ms() / 1000).ok()?;
    (EARLIEST..LATEST).contains(&seconds).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::EventTime::{Converted, FromId, Stated, Undated};
    use super::*;

    /// The sample event of 2026-02-02T03:05:53Z.
    const ID: &str = "01KGE4QREDPKK4SFSGH5MT4GQT";

    #[test]
    fn a_time_is_stated_or_taken_from_the_id_or_absent() {
        let at = ulid_seconds(ID).unwrap_or_default();
        let cases = [
            (Some("1770001261"), ID, Stated(1_770_001_261)),
            (Some("1770001261000"), ID, Converted(1_770_001_261)),
            (Some("1770001261000999"), ID, Converted(1_770_001_261)),
            (Some("1770001261000999888"), ID, Converted(1_770_001_261)),
            (Some("1770001261.75"), ID, Converted(1_770_001_261)),
            (Some("1.770001261E+9"), ID, Converted(1_770_001_261)),
            (Some("2026-02-02T03:01:01Z"), ID, Converted(1_770_001_261)),
            (Some("2026-02-02T04:01:01+01:00"), ID, Converted(1_770_001_261)),
            (Some("2026-02-02T03:01:01"), ID, Converted(1_770_001_261)),
            (Some("Mon, 02 Feb 2026 03:01:01 GMT"), ID, Converted(1_770_001_261)),
            (Some("2026-02-02"), ID, Converted(1_769_990_400)),
            (Some("NaN"), ID, FromId(at)),
            (Some("1e400"), ID, FromId(at)),
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
