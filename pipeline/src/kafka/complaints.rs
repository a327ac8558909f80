use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

/// One line so often for each kind.
const EVERY: Duration = Duration::from_secs(60);

/// What a client complains of, on its way to the log: while no broker answers that is several times a second.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<HashMap<Option<i32>, Told>>);

#[derive(Debug)]
struct Told {
    at: Instant,
    /// Complaints of its kind since then.
    since: u64,
}

impl Complaints {
    /// Logs the first of a kind at once, and then at most one a minute, which says how many there were. The end of a partition is none.
    pub(super) fn tell(&self, error: &KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        if let Some(repeated) = self.is_due(code.map(|code| code as i32), Instant::now()) {
            tracing::warn!(%error, reason, repeated, "kafka client");
        }
    }

    /// How many there were since the last line, if it is time for another.
    fn is_due(&self, kind: Option<i32>, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match told.get_mut(&kind) {
            Some(last) if now.duration_since(last.at) < EVERY => {
                last.since += 1;
                None
            }
            Some(last) => Some(std::mem::replace(last, Told { at: now, since: 0 }).since),
            None => {
                told.insert(kind, Told { at: now, since: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_kind_there_is_a_line_a_minute_that_counts_the_others() {
        let complaints = Complaints::default();
        let start = Instant::now();
        assert_eq!(complaints.is_due(Some(1), start), Some(0));
        for second in 1..60 {
            assert_eq!(complaints.is_due(Some(1), start + Duration::from_secs(second)), None);
        }
        assert_eq!(complaints.is_due(Some(2), start + Duration::from_secs(30)), Some(0), "another kind is news");
        assert_eq!(complaints.is_due(Some(1), start + EVERY), Some(59));
        assert_eq!(complaints.is_due(Some(1), start + EVERY * 2), Some(0));
    }
}
