use aftersend_schemas::profile::Cadence;

use super::engagement::Engagement;
use super::evidence::Evidence;
use super::{CLOCK_SECONDS, DAY, Policy, seen_until};

/// How long ago somebody last answered, in steps, weighed against how much arrived.
///
/// The step at one time depends only on evidence up to then, so that it can be asked for the past: more mail must be deserved for some days before it is
/// sent. Less takes effect at once.
pub(super) struct Tiers<'r> {
    policy: &'r Policy,
    engagement: &'r Engagement<'r>,
    first_delivered_at: Option<i64>,
}

/// The steps that decide at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steps {
    /// `Stop` is sunset.
    pub(super) today: Cadence,
    /// That of some days ago.
    before: Cadence,
}

impl Steps {
    /// The step that applies: the lower of the two. Sunset ends at once, with few mails.
    pub(super) fn cadence(self) -> Cadence {
        self.today.max(self.before.min(Cadence::Winback))
    }
}

impl<'r> Tiers<'r> {
    pub(super) fn new(evidence: &'r Evidence<'r>) -> Self {
        let first_delivered_at = Some(i64::from(evidence.state.first_delivered_at)).filter(|at| *at > 0);
        Self { policy: evidence.policy, engagement: &evidence.engagement, first_delivered_at }
    }

    pub(super) fn steps(&self, now: i64) -> Steps {
        Steps { today: self.tier(now), before: self.tier(now - self.hysteresis()) }
    }

    fn tier(&self, now: i64) -> Cadence {
        let rules = &self.policy.rules;
        let Some(since) = self.quiet_since(now) else { return Cadence::Full };
        if self.delivered(now) < usize::from(rules.sunset_min_delivered) {
            return Cadence::Full;
        }
        let quiet = now - since;
        let longer_than = |days: u16| quiet > i64::from(days) * DAY;
        match () {
            () if longer_than(rules.sunset_after_days) => Cadence::Stop,
            () if longer_than(rules.cooling_days) => Cadence::Winback,
            () if longer_than(rules.active_days) => Cadence::Half,
            () => Cadence::Full,
        }
    }

    /// When the step of today or that of some days ago is next another one than these, if nothing happens.
    pub(super) fn next_change(&self, now: i64, steps: Steps) -> Option<i64> {
        let today = self.next_tier(now, steps.today);
        let before = self.next_tier(now - self.hysteresis(), steps.before).map(|at| at + self.hysteresis());
        today.into_iter().chain(before).min()
    }

    fn next_tier(&self, now: i64, tier: Cadence) -> Option<i64> {
        let mut at = now;
        loop {
            at = self.next_moment(at)?;
            if self.tier(at) != tier {
                return Some(at);
            }
        }
    }

    /// The next time at which the step may be another one: a limit passes, a mail falls out of the window, or evidence comes into sight.
    fn next_moment(&self, now: i64) -> Option<i64> {
        let rules = &self.policy.rules;
        let limits = [rules.active_days, rules.cooling_days, rules.sunset_after_days];
        let since = self.quiet_since(now);
        let passed = limits.into_iter().filter_map(|days| Some(since? + i64::from(days) * DAY + 1));
        let seen = seen_until(now);
        let arrives = self.engagement.delivered().iter().rev().take_while(|mail| i64::from(mail.at) > seen).last();
        let answer = self.engagement.first_answer_after(seen);
        let first = self.first_delivered_at.filter(|at| *at > seen);
        let comes = arrives.map(|mail| i64::from(mail.at)).into_iter().chain(answer).chain(first).map(|at| at - CLOCK_SECONDS);
        passed.chain(comes).chain(self.too_few_at(now)).filter(|at| *at > now).min()
    }

    /// When so many mails have left the window that the limits do not apply, as things are seen now.
    fn too_few_at(&self, now: i64) -> Option<i64> {
        let delivered = self.engagement.delivered();
        let seen = delivered.partition_point(|mail| i64::from(mail.at) <= seen_until(now));
        let last_needed = seen.checked_sub(usize::from(self.policy.rules.sunset_min_delivered))?;
        Some(i64::from(delivered[last_needed].at) + self.policy.sunset_window() + 1)
    }

    fn quiet_since(&self, now: i64) -> Option<i64> {
        let seen = seen_until(now);
        self.engagement.last_answer_until(seen).max(self.first_delivered_at.filter(|at| *at <= seen))
    }

    fn delivered(&self, now: i64) -> usize {
        let delivered = self.engagement.delivered();
        let later = delivered.iter().rev().take_while(|mail| i64::from(mail.at) > seen_until(now)).count();
        self.engagement.delivered_since(now - self.policy.sunset_window()).saturating_sub(later)
    }

    fn hysteresis(&self) -> i64 {
        i64::from(self.policy.rules.hysteresis_days) * DAY
    }
}
