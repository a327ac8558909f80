//! The moment at which a verdict changes by time alone.
//!
//! Everything but the score and the weight of soft bounces changes at moments that can be named: the end of a grey week or of a wait, a limit of a tier, a
//! mail that leaves a window, evidence dated ahead that comes into sight. Between two such moments the score is a sum of parts of which each only rises or
//! only falls, so that its values at the ends of a stretch of time bound it within: stretches in which it cannot cross a threshold are passed over, the
//! others are halved down to the second.

use std::ops::ControlFlow;

use aftersend_schemas::profile::EmailState;

use super::evidence::Evidence;
use super::gates::AddressGate;
use super::reading::{Answers, Moving, Points, RECENT_DAYS, Reading, by_score};
use super::tiers::Tiers;
use super::{DAY, Policy, Standing};

/// After so long nothing that decays weighs anything: answers count for 365 days, soft bounces for 180, deliveries for 90.
const SETTLED: i64 = 367 * DAY;
/// Scores are taken for crossing a threshold when they come this near it, since floating point is not exact.
const MARGIN: f64 = 1e-9;

/// The earliest second after the reading at which its answers are others.
pub(super) fn next_change(reading: &Reading<'_>, standing: &(impl Standing + ?Sized)) -> Option<i64> {
    let answers = &reading.answers;
    let mut way = reading.followed(answers, standing);
    loop {
        let at = match way {
            ControlFlow::Break(changes_at) => return changes_at,
            ControlFlow::Continue(comes_at) => comes_at,
        };
        let evidence = Evidence::seen(reading.evidence.state, reading.evidence.policy, at);
        let then = Reading::of(&evidence, standing, at);
        if then.answers != *answers {
            return Some(at);
        }
        way = then.followed(answers, standing);
    }
}

impl Reading<'_> {
    /// Goes from moment to moment: up to that at which the answers are others than these, or on from that at which more evidence comes into sight.
    fn followed(&self, answers: &Answers, standing: &(impl Standing + ?Sized)) -> ControlFlow<Option<i64>, i64> {
        let mut moment = self.next_moment();
        while let Some(at) = moment {
            if self.evidence.comes_at.is_some_and(|comes| comes <= at) {
                return ControlFlow::Continue(at);
            }
            let then = Self::of(self.evidence, standing, at);
            if then.answers != *answers {
                break;
            }
            moment = then.next_moment();
        }
        ControlFlow::Break(moment)
    }

    /// The earliest second from which this reading may not hold.
    fn next_moment(&self) -> Option<i64> {
        let Evidence { engagement, soft, comes_at, .. } = self.evidence;
        let recent = engagement.last_engaged.map(|(at, _)| i64::from(at) + RECENT_DAYS * DAY + 1);
        let is_final = self.complaint.is_some() || matches!(self.gate, AddressGate::Dead { .. });
        let grey = match self.gate {
            AddressGate::Grey { until, .. } => Some(until),
            _ => None,
        };
        // Even in a grey week the next try makes a difference: to mail that somebody waits for.
        let retry = soft.retry_at.filter(|_| !is_final);
        let by_tier = !is_final && self.unsubscribed_at.is_none() && !soft.is_failing(self.now);
        let tier = if by_tier && grey.is_none() { Tiers::new(self.evidence).next_change(self.now, self.steps) } else { None };
        let moments = [*comes_at, recent, grey.filter(|_| !is_final), retry, tier];
        let named = moments.into_iter().flatten().filter(|at| *at > self.now).min();
        if matches!(self.answers.state, EmailState::Healthy | EmailState::Watch | EmailState::Degraded) {
            let settled = self.now + SETTLED;
            let last = named.map_or(settled, |at| (at - 1).min(settled));
            return self.next_by_score(last).or(named);
        }
        named
    }

    /// The first second up to `last` at which score or soft bounces make another state.
    fn next_by_score(&self, last: i64) -> Option<i64> {
        let Evidence { policy, soft, .. } = self.evidence;
        // Both end once and for all.
        let is_half_failing = |at| soft.pressure(policy, at).is_half_failing(policy);
        let half_ends = if self.pressure.is_half_failing(policy) { self.first_without(last, is_half_failing) } else { None };
        let soft_ends = soft.forgotten_at().filter(|at| *at > self.now && *at <= last);
        let class = by_score(self.points.score(), policy);
        let search = Search { reading: self, class };
        let crossing = search.first(Point { at: self.now, moving: self.moving }, search.point(last));
        [half_ends, soft_ends, crossing].into_iter().flatten().min()
    }

    /// The first second at which something that ends for good has ended.
    fn first_without(&self, last: i64, holds: impl Fn(i64) -> bool) -> Option<i64> {
        if holds(last) {
            return None;
        }
        let (mut before, mut after) = (self.now, last);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if holds(middle) { before = middle } else { after = middle }
        }
        Some(after)
    }
}

#[derive(Clone, Copy)]
struct Point {
    at: i64,
    moving: Moving,
}

struct Search<'r> {
    reading: &'r Reading<'r>,
    class: EmailState,
}

impl Search<'_> {
    /// Right up to rounding, which the margin covers.
    fn point(&self, at: i64) -> Point {
        let Evidence { policy, engagement, soft, .. } = self.reading.evidence;
        let mass = self.reading.fading.mass(engagement, policy, at);
        Point { at, moving: Moving::of(mass, soft.pressure(policy, at).weight, engagement, at) }
    }

    /// The first second after `from`, up to `to`, at which the score makes another state than at `from`.
    fn first(&self, from: Point, to: Point) -> Option<i64> {
        if from.at >= to.at || self.is_passed_over(&from, &to) {
            return None;
        }
        if to.at - from.at == 1 {
            let points = self.points(&self.reading.moving_at(to.at));
            return (by_score(points.score(), self.policy()) != self.class).then_some(to.at);
        }
        let middle = self.point(from.at + (to.at - from.at) / 2);
        self.first(from, middle).or_else(|| self.first(middle, to))
    }

    /// True if no score in between can make another state.
    fn is_passed_over(&self, from: &Point, to: &Point) -> bool {
        let (early, late) = (from.moving, to.moving);
        let worst = Moving { soft: early.soft, mass: late.mass, delivered: early.delivered, unanswered: early.unanswered };
        let best = Moving { soft: late.soft, mass: early.mass, delivered: late.delivered, unanswered: late.unanswered };
        let class = |sum: f64| by_score(sum.round().clamp(0.0, 100.0) as u8, self.policy());
        let least = class(self.points(&worst).sum() - MARGIN);
        let most = class(self.points(&best).sum() + MARGIN);
        least == self.class && most == self.class
    }

    fn points(&self, moving: &Moving) -> Points {
        Points::of(moving, self.reading.points.factor, self.policy())
    }

    fn policy(&self) -> &Policy {
        self.reading.evidence.policy
    }
}

/// What the laws ask of a foreseen change.
#[cfg(test)]
pub(crate) struct Changes<'s, S> {
    state: &'s crate::fold::State,
    policy: &'s Policy,
    standing: &'s S,
    answers: super::reading::Answers,
    next: Option<i64>,
}

#[cfg(test)]
impl<'s, S: Standing> Changes<'s, S> {
    pub(crate) fn of(state: &'s crate::fold::State, policy: &'s Policy, standing: &'s S, now: i64) -> Self {
        let evidence = Evidence::seen(state, policy, now);
        let reading = Reading::of(&evidence, standing, now);
        Self { state, policy, standing, answers: reading.answers, next: next_change(&reading, standing) }
    }

    pub(crate) fn next(&self) -> Option<i64> {
        self.next
    }

    pub(crate) fn is_same_at(&self, at: i64) -> bool {
        Reading::of(&Evidence::seen(self.state, self.policy, at), self.standing, at).answers == self.answers
    }
}
