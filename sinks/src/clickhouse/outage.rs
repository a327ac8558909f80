//! What is said of inserts that fail, or of questions: the first at once, then a line a minute, one when the cause changes and one when it is over. The metrics have all
//! of them. Pure.

use std::time::{Duration, Instant};

/// Lines about one cause are at least so far apart.
const REPORT: Duration = Duration::from_secs(60);

/// A time during which no insert of a table came through (or no question), whichever partition it was of.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Instant>,
    /// When something was told, and of which cause.
    told: Option<(Instant, &'static str)>,
    untold: u64,
}

/// What there is to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// What failed since the last report, this one included.
    pub(super) failures: u64,
    /// Since the first that failed behind the last that came through.
    pub(super) lasting: Duration,
}

impl Outage {
    pub(super) fn failed(&mut self, cause: &'static str, now: Instant) -> Option<Report> {
        let since = *self.since.get_or_insert(now);
        self.untold += 1;
        if self.told.is_some_and(|(at, of)| of == cause && now.duration_since(at) < REPORT) {
            return None;
        }
        self.told = Some((now, cause));
        Some(Report { failures: std::mem::take(&mut self.untold), lasting: now.duration_since(since) })
    }

    /// How long it lasted, if that was more than a moment.
    pub(super) fn succeeded(&mut self, now: Instant) -> Option<Duration> {
        let lasted = now.duration_since(self.since.take()?);
        self.untold = 0;
        (lasted >= REPORT).then_some(lasted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_has_a_line_a_minute_and_one_at_its_end() {
        let (mut outage, began) = (Outage::default(), Instant::now());
        let at = |second| began + Duration::from_secs(second);
        let report = |failures, lasting| Some(Report { failures, lasting: Duration::from_secs(lasting) });
        assert_eq!(outage.succeeded(began), None);
        let away = "unreachable";
        assert_eq!(outage.failed(away, began), report(1, 0));
        assert!((1..60).all(|second| outage.failed(away, at(second)).is_none()));
        assert_eq!(outage.failed(away, at(60)), report(60, 60));
        assert_eq!(outage.failed("read_only", at(70)), report(1, 70), "another cause is news");
        assert_eq!(outage.succeeded(at(90)), Some(Duration::from_secs(90)));
        assert_eq!(outage.failed("read_only", at(91)), None, "a server that comes and goes has no more lines either");
        assert_eq!(outage.succeeded(at(92)), None, "what lasts a moment has no end worth a line");
        assert_eq!(outage.failed("read_only", at(200)), report(1, 0), "what was overcome is not counted again");
    }
}
