//! The budget of requests, over all replicas: each has the share of it that its partitions are of all.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aftersend_schemas::topics::PARTITIONS;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

/// Whoever had a share that grows here may have used it in the second before.
const HANDOVER: Duration = Duration::from_secs(1);

/// Lets requests go one by one, evenly.
pub(super) struct Rate {
    per_second: u32,
    share: Mutex<Share>,
}

struct Share {
    partitions: usize,
    from: Instant,
    limiter: Option<Arc<DefaultDirectRateLimiter>>,
}

impl Rate {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second, share: Mutex::new(Share { partitions: 0, from: Instant::now(), limiter: None }) }
    }

    /// So many partitions are ours now.
    pub(super) fn set_partitions(&self, partitions: usize) {
        let mut share = self.lock();
        if share.partitions == partitions {
            return;
        }
        if partitions > share.partitions {
            share.from = Instant::now() + HANDOVER;
        }
        share.partitions = partitions;
        share.limiter = period(self.per_second, partitions).and_then(Quota::with_period).map(|quota| {
            // One at a time: what was not used is not saved up.
            Arc::new(RateLimiter::direct(quota.allow_burst(NonZeroU32::MIN)))
        });
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) {
        loop {
            let (from, limiter) = {
                let share = self.lock();
                (share.from, share.limiter.clone())
            };
            tokio::time::sleep_until(from).await;
            let Some(limiter) = limiter else {
                tokio::time::sleep(HANDOVER).await;
                continue;
            };
            limiter.until_ready().await;
            // The share may have changed meanwhile.
            if self.lock().limiter.as_ref().is_some_and(|current| Arc::ptr_eq(current, &limiter)) {
                return;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Share> {
        self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time between two requests of a replica with so many partitions.
fn period(per_second: u32, partitions: usize) -> Option<Duration> {
    let share = f64::from(per_second) * f64::from(u32::try_from(partitions).ok()?) / f64::from(PARTITIONS);
    (share > 0.0).then(|| Duration::from_secs_f64(1.0 / share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_budget_whoever_has_which_partitions() {
        assert_eq!(period(100, 12), Some(Duration::from_millis(10)));
        assert_eq!(period(100, 3), Some(Duration::from_millis(40)));
        assert_eq!(period(1, 1), Some(Duration::from_secs(12)));
        assert_eq!(period(100, 0), None);
        let rate = |partitions| period(100, partitions).map_or(0.0, |period| 1.0 / period.as_secs_f64());
        assert!((rate(5) + rate(7) - 100.0).abs() < 0.001);
    }

    #[tokio::test]
    async fn a_share_that_grows_counts_from_a_second_later() {
        let rate = Rate::new(1_000_000);
        rate.set_partitions(12);
        let began = Instant::now();
        rate.turn().await;
        assert!(began.elapsed() >= HANDOVER.mul_f64(0.9));
        rate.set_partitions(6);
        rate.turn().await;
    }
}
