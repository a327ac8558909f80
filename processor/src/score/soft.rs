use smallvec::SmallVec;

use super::{DAY, Policy, decayed};
use crate::fold::{SoftClass, State, day};

/// Bounce days this long ago count no more.
const FORGOTTEN_DAYS: i64 = 180;

/// Soft bounces of the address in use since mail last got through: one per day at most, so that a short outage of the provider counts once.
#[derive(Debug, Clone, Default)]
pub(super) struct Soft {
    /// Days since 1970 with the strongest failure of each.
    days: SmallVec<[(i64, SoftClass); 8]>,
    /// When the next try may be made, if they were ever enough to stop mail.
    pub(super) retry_at: Option<i64>,
}

/// Their sum at some time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Pressure {
    /// Sum of decayed weights.
    pub(super) weight: f64,
    /// Distinct days.
    pub(super) days: i64,
    /// Days from the first to the last of them.
    pub(super) span: i64,
}

impl Pressure {
    /// True where half of what stops mail has come together.
    pub(super) fn is_half_failing(self, policy: &Policy) -> bool {
        let rules = &policy.rules.soft;
        self.days > 0
            && 2.0 * self.weight >= rules.failing_weight
            && 2 * self.days >= i64::from(rules.failing_days)
            && 2 * self.span >= i64::from(rules.failing_span_days)
    }
}

impl Soft {
    pub(super) fn read(state: &State, policy: &Policy, now: i64, seen_until: i64) -> Self {
        let mut soft = Self::default();
        let known = state.soft.as_slice();
        if known.is_empty() {
            return soft;
        }
        let today = now.div_euclid(DAY);
        let (named_at, in_use) = state.address;
        let success = |address: u64| {
            let lives = state.lives.as_slice().iter().filter(|(_, at)| i64::from(*at) <= seen_until);
            // Where one of the two addresses is unknown, they may be the same.
            lives.filter(|(lived, _)| *lived == address || *lived == 0 || address == 0).map(|(_, at)| i64::from(day(*at))).max()
        };
        for bounced in known {
            let on = i64::from(bounced.day);
            let is_in_use = in_use == 0
                || i64::from(named_at) > seen_until
                || bounced.address == 0
                || bounced.address == in_use
                || bounced.day > day(named_at);
            if on > today || !is_in_use || success(bounced.address).is_some_and(|success| on <= success) {
                continue;
            }
            match soft.days.last_mut() {
                Some((last, class)) if *last == on => *class = bounced.class.max(*class),
                _ => soft.days.push((on, bounced.class)),
            }
        }
        soft.retry_at = soft.retry(policy);
        soft
    }

    /// Goes through the days as they came: when they were enough, and how the tries after that went.
    fn retry(&self, policy: &Policy) -> Option<i64> {
        let rules = &policy.rules.soft;
        let mut wait = i64::from(rules.retry_days);
        let mut until = None;
        for (place, (on, _)) in self.days.iter().enumerate() {
            let end = (on + 1) * DAY;
            let counts_from = self.days.partition_point(|(day, _)| *day < on - FORGOTTEN_DAYS);
            if counts_from == place {
                (until, wait) = (None, i64::from(rules.retry_days));
            }
            match until {
                None => {
                    let (first, so_far) = (self.days[counts_from].0, &self.days[counts_from..=place]);
                    let is_enough = so_far.len() >= usize::from(rules.failing_days) && on - first >= i64::from(rules.failing_span_days);
                    if is_enough && weight(so_far, policy, end) >= rules.failing_weight {
                        until = Some(end + wait * DAY);
                    }
                }
                // A try that failed. Bounces before it are of mail that should not have been sent.
                Some(due) if end > due => {
                    wait = (2 * wait).min(i64::from(rules.retry_max_days));
                    until = Some(end + wait * DAY);
                }
                Some(_) => {}
            }
        }
        until
    }

    fn counted(&self, now: i64) -> &[(i64, SoftClass)] {
        let first = now.div_euclid(DAY) - FORGOTTEN_DAYS;
        &self.days[self.days.partition_point(|(on, _)| *on < first)..]
    }

    /// For the same evidence its weight never grows.
    pub(super) fn pressure(&self, policy: &Policy, now: i64) -> Pressure {
        match self.counted(now) {
            [] => Pressure::default(),
            days @ [first, ..] => {
                let span = days.last().map_or(0, |last| last.0 - first.0);
                Pressure { weight: weight(days, policy, now), days: days.len() as i64, span }
            }
        }
    }

    /// True while mail should wait for the next try.
    pub(super) fn is_failing(&self, now: i64) -> bool {
        self.retry_at.is_some_and(|at| now < at)
    }

    /// When the last of the days counts no more, if there is any.
    pub(super) fn forgotten_at(&self) -> Option<i64> {
        self.days.last().map(|(on, _)| (on + FORGOTTEN_DAYS + 1) * DAY)
    }
}

/// A day is as old as its end, so that bounces of one day weigh the same.
fn weight(days: &[(i64, SoftClass)], policy: &Policy, now: i64) -> f64 {
    let rules = &policy.rules.soft;
    days.iter().fold(0.0, |sum, (on, class)| {
        let (weight, half_life) = match class {
            SoftClass::MailboxFull => (rules.mailbox_full_weight, rules.mailbox_full_half_life_days),
            SoftClass::Transient => (rules.transient_weight, rules.transient_half_life_days),
            SoftClass::Deferred => (rules.deferred_weight, rules.deferred_half_life_days),
        };
        sum + weight * decayed(now - (on + 1) * DAY, half_life)
    })
}
