//! How long to wait before the next attempt.

use std::time::Duration;

use rand::Rng;

/// Exponential backoff with full jitter between half and all of each step.
#[derive(Debug, Clone)]
pub struct Backoff {
    step: Duration,
    limit: Duration,
}

impl Backoff {
    /// Doubles from `first` up to `limit`.
    pub fn new(first: Duration, limit: Duration) -> Self {
        Self { step: first.min(limit), limit }
    }

    /// The next wait.
    pub fn next_delay(&mut self) -> Duration {
        let step = self.step;
        self.step = (step * 2).min(self.limit);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_never_beyond() {
        let limit = Duration::from_secs(1);
        let mut backoff = Backoff::new(Duration::from_millis(100), limit);
        let waits: Vec<_> = (0..20).map(|_| backoff.next_delay()).collect();
        assert!(waits[0] >= Duration::from_millis(50) && waits[0] <= Duration::from_millis(100));
        assert!(waits.iter().all(|wait| *wait <= limit));
        assert!(waits[10..].iter().all(|wait| *wait >= limit / 2));
    }
}
