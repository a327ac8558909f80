use std::time::{SystemTime, UNIX_EPOCH};

/// Now in Unix milliseconds. Only edges call this; rules take time as an argument.
pub fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
