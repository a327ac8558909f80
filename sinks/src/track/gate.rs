//! How many calls a workspace's API gets at a time: more while it answers, fewer when it struggles, none while it is down. Pure.

use std::time::{Duration, Instant};

use aftersend_pipeline::retry::Backoff;

/// Where the number of calls at a time begins.
const FIRST: f64 = 8.0;
/// Failures in a row after which the circuit is opened.
const FAILURES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Pause while the API refuses the credentials or the region.
const STOPPED_PAUSE: Duration = Duration::from_secs(5);

/// How an attempt ended, as far as it says something about the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    /// It answered, with yes or no.
    Well,
    /// It did not answer, or asked for less; not before this long.
    Struggling(Option<Duration>),
    /// It refuses whatever we send.
    Stopped,
}

/// The gate of one workspace.
#[derive(Debug)]
pub(super) struct Gate {
    limit: f64,
    most: f64,
    in_flight: u32,
    failures: u32,
    closed_until: Option<Instant>,
    backoff: Backoff,
    /// One call tells whether the API is back.
    probing: bool,
    probe_is_out: bool,
    stopped: bool,
}

impl Gate {
    pub(super) fn new(most: u16) -> Self {
        let most = f64::from(most.max(1));
        Self {
            limit: FIRST.min(most),
            most,
            in_flight: 0,
            failures: 0,
            closed_until: None,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            probing: false,
            probe_is_out: false,
            stopped: false,
        }
    }

    /// Whether a call may start now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        // Calls from before that hang must not keep the probe back.
        let has_room = if self.probing { !self.probe_is_out } else { f64::from(self.in_flight) < self.limit.floor() };
        self.closed_until.is_none_or(|until| now >= until) && has_room
    }

    /// When it may open by time alone.
    pub(super) fn opens_at(&self) -> Option<Instant> {
        self.closed_until
    }

    pub(super) fn started(&mut self) {
        self.in_flight += 1;
        self.probe_is_out = self.probing;
    }

    /// A call was given up without an answer.
    pub(super) fn abandoned(&mut self) {
        self.left();
    }

    /// All calls under way were given up. What the API said before still holds: a pause it asked for, and that it is down.
    pub(super) fn abandoned_all(&mut self) {
        (self.in_flight, self.probe_is_out) = (0, false);
    }

    fn left(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.probe_is_out = false;
    }

    pub(super) fn finished(&mut self, now: Instant, health: Health) {
        self.left();
        self.stopped = health == Health::Stopped;
        match health {
            Health::Well => {
                self.failures = 0;
                self.probing = false;
                self.closed_until = None;
                self.backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
                self.limit = (self.limit + 1.0 / self.limit).min(self.most);
            }
            Health::Struggling(wait) => {
                self.failures = self.failures.saturating_add(1);
                self.limit = (self.limit * 0.75).max(1.0);
                let asked = wait.map(|wait| now + wait);
                let opened = (self.failures >= FAILURES).then(|| now + self.backoff.next_delay());
                self.probing |= opened.is_some();
                self.closed_until = self.closed_until.max(asked).max(opened);
            }
            Health::Stopped => {
                self.probing = true;
                self.closed_until = Some(now + STOPPED_PAUSE);
            }
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Calls at a time, as it is now.
    pub(super) fn limit(&self) -> f64 {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(gate: &mut Gate, now: Instant, health: Health) {
        gate.started();
        gate.finished(now, health);
    }

    #[test]
    fn calls_at_a_time_grow_while_there_are_answers_and_shrink_when_there_are_none() {
        let now = Instant::now();
        let mut gate = Gate::new(16);
        for _ in 0..200 {
            call(&mut gate, now, Health::Well);
        }
        assert_eq!(gate.limit().floor(), 16.0);
        for _ in 0..16 {
            assert!(gate.is_open(now));
            gate.started();
        }
        assert!(!gate.is_open(now));
        gate.finished(now, Health::Struggling(None));
        gate.finished(now, Health::Struggling(None));
        assert!(gate.limit() < 10.0);
    }

    #[test]
    fn an_api_that_is_down_is_asked_by_one_call_at_a_time_until_it_answers() {
        let mut now = Instant::now();
        let mut gate = Gate::new(16);
        for _ in 0..FAILURES {
            assert!(gate.is_open(now));
            call(&mut gate, now, Health::Struggling(None));
        }
        assert!(!gate.is_open(now));
        now = gate.opens_at().unwrap();
        assert!(gate.is_open(now));
        gate.started();
        assert!(!gate.is_open(now), "one at a time");
        gate.finished(now, Health::Struggling(None));
        assert!(!gate.is_open(now) && gate.opens_at().unwrap() <= now + LONGEST_PAUSE);
        now = gate.opens_at().unwrap();
        call(&mut gate, now, Health::Well);
        gate.started();
        assert!(gate.limit() >= 1.0 && gate.opens_at().is_none());
    }

    #[test]
    fn a_call_that_hangs_keeps_no_probe_back() {
        let now = Instant::now();
        let mut gate = Gate::new(16);
        gate.started();
        for _ in 0..FAILURES {
            call(&mut gate, now, Health::Struggling(None));
        }
        let opens = gate.opens_at().unwrap();
        assert!(gate.is_open(opens), "beside the one that hangs");
        gate.started();
        assert!(!gate.is_open(opens), "one probe at a time");
        gate.finished(opens, Health::Well);
        assert!(gate.is_open(opens));
    }

    #[test]
    fn a_wait_that_is_asked_for_is_kept_and_wrong_credentials_pause() {
        let now = Instant::now();
        let mut gate = Gate::new(16);
        call(&mut gate, now, Health::Struggling(Some(Duration::from_secs(7))));
        assert!(!gate.is_open(now + Duration::from_secs(6)) && gate.is_open(now + Duration::from_secs(7)));
        call(&mut gate, now, Health::Stopped);
        assert!(gate.is_stopped() && !gate.is_open(now + Duration::from_secs(4)));
        call(&mut gate, now + STOPPED_PAUSE, Health::Well);
        assert!(!gate.is_stopped() && gate.is_open(now));
    }

    #[test]
    fn calls_that_are_given_up_leave_room_and_the_pause_as_it_was() {
        let now = Instant::now();
        let mut gate = Gate::new(16);
        (0..8).for_each(|_| gate.started());
        assert!(!gate.is_open(now));
        gate.abandoned_all();
        assert!(gate.is_open(now), "nobody waits for them");
        gate.started();
        call(&mut gate, now, Health::Struggling(Some(Duration::from_secs(60))));
        gate.abandoned_all();
        assert!(!gate.is_open(now + Duration::from_secs(59)) && gate.is_open(now + Duration::from_secs(60)));

        let mut gate = Gate::new(16);
        for _ in 0..FAILURES {
            call(&mut gate, now, Health::Struggling(None));
        }
        let opens = gate.opens_at().unwrap();
        gate.started();
        gate.abandoned_all();
        assert!(!gate.is_open(now) && gate.is_open(opens), "another probe may go");
        gate.started();
        assert!(!gate.is_open(opens), "and still one at a time");
    }
}
