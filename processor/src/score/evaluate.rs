use aftersend_schemas::profile::{Evaluation, Facts, Grounds, Measures};

use super::change::next_change;
use super::evidence::Evidence;
use super::gates::AddressGate;
use super::reading::Reading;
use super::{Policy, Standing};
use crate::fold::State;

/// The verdict on a person at `now` (Unix seconds).
///
/// The score is `gate * (45 V + 40 E + 15 R)`: validity of the address, engagement with what arrived, and patience (`2^-U` of unanswered mail). Somebody of
/// whom nothing is known has 80. Consent is never part of it.
pub fn evaluate(state: &State, policy: &Policy, standing: &(impl Standing + ?Sized), now: i64) -> Evaluation {
    let evidence = Evidence::seen(state, policy, now);
    let reading = Reading::of(&evidence, standing, now);
    let changes_at = next_change(&reading, standing);
    reading.evaluation(changes_at)
}

impl Reading<'_> {
    fn evaluation(&self, changes_at: Option<i64>) -> Evaluation {
        let answers = &self.answers;
        let verdict = self.complaint.clone().or(match &self.gate {
            AddressGate::Dead { verdict, .. } => Some(verdict.clone()),
            _ => None,
        });
        Evaluation {
            score: self.points.score(),
            state: answers.state,
            email_deliverable: answers.is_deliverable,
            email_promotional_ok: answers.promotional_ok,
            email_transactional_ok: answers.transactional_ok,
            email_cadence: answers.cadence,
            best_channel: answers.best_channel.0,
            best_channel_reason: answers.best_channel.1,
            never_suppress: self.evidence.state.never_suppress.1,
            grounds: Grounds::Measured(self.reason, self.measures()),
            verdict,
            facts: self.facts(),
            changes_at,
        }
    }

    fn measures(&self) -> Measures {
        let (points, moving, pressure) = (&self.points, &self.moving, &self.pressure);
        let tenths = |points: f64| (points * 10.0).round() as i32;
        let hundredths = |number: f64| (number * 100.0).round() as u32;
        Measures {
            validity: tenths(points.validity),
            engagement: tenths(points.engagement),
            patience: tenths(points.patience),
            gate: tenths(points.sum() * (points.factor - 1.0)),
            soft_days: u32::try_from(pressure.days).unwrap_or(u32::MAX),
            soft_span: u32::try_from(pressure.span).unwrap_or(u32::MAX),
            soft_weight: hundredths(pressure.weight),
            engaged: hundredths(moving.mass),
            delivered: count(moving.delivered),
            unanswered: count(moving.unanswered),
        }
    }

    fn facts(&self) -> Facts {
        let Evidence { state, engagement, .. } = self.evidence;
        let mut complained: Vec<u32> = state.complaints.iter().map(|complaint| complaint.message).collect();
        complained.sort_unstable();
        complained.dedup();
        let hard_bounced_at = match self.gate {
            AddressGate::Dead { at, .. } | AddressGate::Grey { at, .. } | AddressGate::Recovering { at } => Some(i64::from(at)),
            AddressGate::Open => None,
        };
        let (last_bounce_at, last_bounce_delivery_id) = &state.last_bounce;
        Facts {
            hard_bounced_at,
            bounced_at: (*last_bounce_at > 0).then_some(i64::from(*last_bounce_at)),
            last_bounce_delivery_id: last_bounce_delivery_id.clone(),
            complained_at: self.complaint.as_ref().map(|verdict| verdict.at),
            complaint_count: count(complained.len()),
            unsubscribed_at: self.unsubscribed_at.map(i64::from),
            last_click_at: engagement.last_click_at.map(i64::from),
            last_engaged_at: engagement.last_engaged.map(|(at, _)| i64::from(at)),
            last_engaged_metric: engagement.last_engaged.map(|(_, answer)| answer.as_str().to_owned()).unwrap_or_default(),
            engaged_30d: self.answers.engaged_30d,
            delivered_90d: count(engagement.delivered_90d(self.now)),
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
