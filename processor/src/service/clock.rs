//! What time it is in a partition: arrivals tell it in a replay, the wall clock once everything there is has been read.

/// What arrived before a moment has this long to be read before the wall clock passes it, so that live and in a replay the same comes first.
const GRACE: i64 = 500;
/// Arrivals older than this are a backlog again.
const BEHIND: i64 = 10_000;

/// The time of a partition, Unix milliseconds. It never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Clock {
    stream: i64,
    passed: i64,
    live: bool,
}

impl Clock {
    /// A record that arrived at this time is next.
    pub(super) fn arrived(&mut self, received_at: i64, wall: i64) {
        // A moment from the future, by whatever clock, must not fire the timers of years to come.
        self.stream = self.stream.max(received_at.min(wall));
        if received_at < wall - BEHIND {
            self.live = false;
        }
    }

    /// Everything there is has been read.
    pub(super) fn caught_up(&mut self) {
        self.live = true;
    }

    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// Largest arrival seen: when events are judged.
    pub(super) fn stream(&self) -> i64 {
        self.stream
    }

    /// Up to where timers are due.
    pub(super) fn now(&mut self, wall: i64) -> i64 {
        let now = if self.live { self.stream.max(wall - GRACE) } else { self.stream };
        self.passed = self.passed.max(now);
        self.passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_drive_a_replay_and_the_wall_clock_what_is_live() {
        let mut clock = Clock::default();
        clock.arrived(1_000, 900_000);
        assert_eq!(clock.now(900_000), 1_000, "a backlog");
        clock.arrived(899_000, 900_000);
        assert_eq!(clock.now(900_000), 899_000, "near the end is not the end");
        clock.caught_up();
        assert_eq!(clock.now(900_100), 899_600);
        clock.arrived(899_950, 900_200);
        assert_eq!((clock.is_live(), clock.now(900_200)), (true, 899_950));
        clock.arrived(700_000, 900_300);
        assert_eq!((clock.is_live(), clock.now(999_000), clock.stream()), (false, 899_950, 899_950), "behind again, and never back");
    }

    #[test]
    fn an_arrival_from_the_future_is_now() {
        let mut clock = Clock::default();
        clock.arrived(9_000_000, 5_000);
        assert_eq!(clock.now(5_000), 5_000);
    }
}
