//! The brake over irreversible calls of one replica. Pure.

use std::collections::VecDeque;

const HOUR_MS: i64 = 3_600_000;

/// Counts irreversible calls within an hour. Once tripped it stays so until the process is started again: somebody has to look.
#[derive(Debug)]
pub(super) struct Brake {
    limit: usize,
    made: VecDeque<i64>,
    tripped: bool,
}

impl Brake {
    pub(super) fn new(per_hour: u32) -> Self {
        Self { limit: usize::try_from(per_hour).unwrap_or(usize::MAX), made: VecDeque::new(), tripped: false }
    }

    /// Takes a place for one call at `now` (Unix milliseconds). False: none is to be made.
    pub(super) fn admit(&mut self, now: i64) -> bool {
        while self.made.front().is_some_and(|at| now - at >= HOUR_MS) {
            self.made.pop_front();
        }
        self.tripped |= self.made.len() >= self.limit;
        if !self.tripped {
            self.made.push_back(now);
        }
        !self.tripped
    }

    pub(super) fn is_tripped(&self) -> bool {
        self.tripped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_lets_so_many_an_hour_pass_and_then_none_until_somebody_looks() {
        let mut brake = Brake::new(2);
        assert!(brake.admit(0) && brake.admit(HOUR_MS - 1));
        assert!(brake.admit(HOUR_MS), "the first is an hour old");
        assert!(!brake.admit(HOUR_MS + 1) && brake.is_tripped());
        assert!(!brake.admit(10 * HOUR_MS), "it does not release itself");
    }
}
