use aftersend_schemas::profile::{Cadence, Channel, ChannelReason, EmailState, Reason, Verdict};

use super::engagement::{Engagement, Fading};
use super::evidence::Evidence;
use super::gates::{self, AddressGate};
use super::soft::Pressure;
use super::tiers::{Steps, Tiers};
use super::{DAY, Policy, Standing, seen_until};
use crate::fold::State;

/// Days for which an answer counts as recent.
pub(super) const RECENT_DAYS: i64 = 30;

/// What the evidence says at one time.
pub(super) struct Reading<'e> {
    pub(super) evidence: &'e Evidence<'e>,
    pub(super) now: i64,
    pub(super) fading: Fading,
    pub(super) pressure: Pressure,
    pub(super) moving: Moving,
    pub(super) steps: Steps,
    pub(super) gate: AddressGate,
    pub(super) complaint: Option<Verdict>,
    pub(super) unsubscribed_at: Option<u32>,
    pub(super) points: Points,
    pub(super) answers: Answers,
    pub(super) reason: Reason,
}

/// What is told about a person and stays until something changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) state: EmailState,
    pub(super) is_deliverable: bool,
    pub(super) promotional_ok: bool,
    pub(super) transactional_ok: bool,
    pub(super) cadence: Cadence,
    pub(super) best_channel: (Option<Channel>, ChannelReason),
    pub(super) engaged_30d: bool,
    pub(super) has_verdict: bool,
}

/// The numbers that move with time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moving {
    /// Weight of soft bounces.
    pub(super) soft: f64,
    /// Mass of answers.
    pub(super) mass: f64,
    /// Mails delivered in 90 days.
    pub(super) delivered: usize,
    /// Of these, unanswered.
    pub(super) unanswered: usize,
}

/// What the parts of the score are worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Points {
    pub(super) validity: f64,
    pub(super) engagement: f64,
    pub(super) patience: f64,
    /// What is left of them.
    pub(super) factor: f64,
}

impl Moving {
    pub(super) fn of(mass: f64, soft: f64, engagement: &Engagement<'_>, now: i64) -> Self {
        Self { soft, mass, delivered: engagement.delivered_90d(now), unanswered: engagement.unanswered(now) }
    }
}

impl Points {
    /// Rises with the mass, falls with everything else.
    pub(super) fn of(moving: &Moving, factor: f64, policy: &Policy) -> Self {
        let score = &policy.rules.score;
        let pressure = moving.soft / 2.0;
        let middle = score.prior / 2.0;
        let patience = f64::from(score.patience_mails);
        let unanswered = (moving.unanswered as f64 - patience).max(0.0) / patience;
        let engaged = (moving.mass + middle) / (moving.mass + middle + score.exposure_weight * moving.delivered as f64 + middle);
        Self {
            validity: score.validity / (1.0 + pressure * pressure),
            engagement: score.engagement * engaged,
            patience: score.patience * (-unanswered).exp2(),
            factor,
        }
    }

    pub(super) fn sum(&self) -> f64 {
        self.validity + self.engagement + self.patience
    }

    pub(super) fn score(&self) -> u8 {
        (self.sum() * self.factor).round().clamp(0.0, 100.0) as u8
    }
}

/// The state that a score alone makes.
pub(super) fn by_score(score: u8, policy: &Policy) -> EmailState {
    match score {
        _ if score >= policy.rules.score.healthy => EmailState::Healthy,
        _ if score >= policy.rules.score.watch => EmailState::Watch,
        _ => EmailState::Degraded,
    }
}

impl<'e> Reading<'e> {
    /// Holds for evidence that is all in sight at `now`, and none that comes later.
    pub(super) fn of(evidence: &'e Evidence<'e>, standing: &(impl Standing + ?Sized), now: i64) -> Self {
        let Evidence { state, policy, engagement, soft, .. } = evidence;
        let (state, policy, seen_until) = (*state, *policy, seen_until(now));
        let gate = AddressGate::read(state, policy, standing, now, seen_until);
        let complaint = gates::complaint(state);
        let unsubscribed_at = gates::unsubscribed_at(state, seen_until);
        let factor = match (&complaint, &gate) {
            (Some(_), _) | (_, AddressGate::Dead { .. }) => 0.0,
            (None, AddressGate::Grey { .. }) => policy.rules.score.grey_factor,
            (None, AddressGate::Open | AddressGate::Recovering { .. }) => 1.0,
        };
        let fading = engagement.fading(policy, now);
        let pressure = soft.pressure(policy, now);
        let moving = Moving::of(fading.mass(engagement, policy, now), pressure.weight, engagement, now);
        let points = Points::of(&moving, factor, policy);
        let steps = Tiers::new(evidence).steps(now);
        let is_failing = soft.is_failing(now);
        let is_sunset = steps.today == Cadence::Stop;

        let by_score = by_score(points.score(), policy);
        let with_soft = by_score.max(if pressure.is_half_failing(policy) { EmailState::Degraded } else { EmailState::Watch });
        let is_known = !engagement.delivered().is_empty() || pressure.days > 0;
        let by_gate = || match &gate {
            AddressGate::Dead { at, .. } => (EmailState::Dead, Reason::HardBounced { at: i64::from(*at) }),
            AddressGate::Grey { at, until, is_quarantined: true } => {
                (EmailState::Grey, Reason::Quarantined { at: i64::from(*at), until: *until })
            }
            AddressGate::Grey { at, until, .. } => (EmailState::Grey, Reason::Grey { at: i64::from(*at), until: *until }),
            _ if is_failing => (EmailState::Failing, Reason::Failing { until: soft.retry_at.unwrap_or_default() }),
            _ if is_sunset => (EmailState::Sunset, Reason::Sunset { after_days: policy.rules.sunset_after_days }),
            AddressGate::Recovering { at } => {
                let state = if pressure.days > 0 { with_soft } else { by_score.max(EmailState::Watch) };
                (state, Reason::Recovering { at: i64::from(*at) })
            }
            AddressGate::Open if !is_known => (EmailState::Unknown, Reason::Unknown),
            AddressGate::Open if pressure.days > 0 => (with_soft, Reason::SoftBounces),
            AddressGate::Open => (by_score, Reason::Score),
        };
        let (email, reason) = match (&complaint, unsubscribed_at) {
            (Some(verdict), _) => (EmailState::Complained, Reason::Complained { at: verdict.at }),
            (None, Some(at)) => (EmailState::Unsubscribed, Reason::Unsubscribed { at: i64::from(at) }),
            (None, None) => by_gate(),
        };

        let is_dead = matches!(gate, AddressGate::Dead { .. });
        let is_grey = matches!(gate, AddressGate::Grey { .. });
        // A mail that somebody waits for is worth a try at an address that is only suspected.
        let transactional_ok = complaint.is_none() && !is_dead && !is_failing;
        let is_deliverable = transactional_ok && !is_grey;
        let promotional_ok = is_deliverable && unsubscribed_at.is_none() && !is_sunset;
        let cadence = match email {
            _ if !promotional_ok => Cadence::Stop,
            EmailState::Degraded => steps.cadence().max(Cadence::Half),
            _ => steps.cadence(),
        };
        let opted_out = complaint.is_some() || unsubscribed_at.is_some();
        let answers = Answers {
            state: email,
            is_deliverable,
            promotional_ok,
            transactional_ok,
            cadence,
            best_channel: best_channel(state, policy, engagement, email, promotional_ok, opted_out, seen_until),
            engaged_30d: engagement.last_engaged.is_some_and(|(at, _)| now - i64::from(at) <= RECENT_DAYS * DAY),
            has_verdict: complaint.is_some() || is_dead,
        };
        Self { evidence, now, fading, pressure, moving, steps, gate, complaint, unsubscribed_at, points, answers, reason }
    }

    /// As exactly as another reading would have it.
    pub(super) fn moving_at(&self, now: i64) -> Moving {
        let Evidence { policy, engagement, soft, .. } = self.evidence;
        Moving::of(engagement.mass(policy, now), soft.pressure(policy, now).weight, engagement, now)
    }
}

/// E-mail where it is fine; else the first channel that may be used and reached the person after it last failed. Neither a complaint nor an opt-out
/// licenses another channel.
fn best_channel(
    state: &State,
    policy: &Policy,
    engagement: &Engagement<'_>,
    email: EmailState,
    promotional_ok: bool,
    opted_out: bool,
    seen_until: i64,
) -> (Option<Channel>, ChannelReason) {
    if opted_out {
        return (None, ChannelReason::OptedOut);
    }
    let seen = |at: u32| if i64::from(at) <= seen_until { at } else { 0 };
    let mut usable = policy.rules.channels.iter().filter(|channel| is_reachable(state, **channel, seen_until));
    if !promotional_ok {
        let other = usable.next().copied();
        return (other, if other.is_some() { ChannelReason::EmailStopped } else { ChannelReason::NoneReached });
    }
    let last_answer = engagement.last_answer_at.unwrap_or_default();
    let answered = (email == EmailState::Degraded).then(|| usable.find(|channel| seen(state.channel(**channel).answered_at) > last_answer));
    match answered.flatten() {
        Some(channel) => (Some(*channel), ChannelReason::AnswersElsewhere),
        None => (Some(Channel::Email), ChannelReason::EmailWorks),
    }
}

/// True for a channel that reached the person when it last failed or later, and for push while one device lives.
fn is_reachable(state: &State, channel: Channel, seen_until: i64) -> bool {
    let known = state.channel(channel);
    let is_seen = |at: u32| at > 0 && i64::from(at) <= seen_until;
    let has_failed_since = |device: u64, at: u32| state.devices_failed.at_the_latest(device) > at;
    let lives = |(device, at): &(u64, u32)| is_seen(*at) && !has_failed_since(*device, *at) && !has_failed_since(0, *at);
    is_seen(known.reached_at) && known.reached_at >= known.bounced_at
        || channel == Channel::Push && state.devices_reached.as_slice().iter().any(lives)
}
