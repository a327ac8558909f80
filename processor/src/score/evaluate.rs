use std::collections::BTreeSet;

use aftersend_schemas::profile::{Contribution, EmailState, Evaluation, Facts};

use super::bounces::SoftPressure;
use super::engagement::Engagement;
use super::gates::{self, AddressGate};
use super::{Policy, days_between};
use crate::fold::State;

/// Clock difference between Customer.io and us that is forgiven: deliveries, clicks and soft bounces further in the future are not looked at yet.
const CLOCK_SECONDS: i64 = 300;

/// The verdict on a person at `now` (Unix seconds).
///
/// The score is `100 * gate * (0.45 V + 0.40 E + 0.15 R)`: validity of the address, engagement with what arrived, and patience (`2^-U` of unanswered
/// mail). Somebody of whom nothing is known has 80. Consent is never part of it.
pub fn evaluate(state: &State, policy: &Policy, now: i64) -> Evaluation {
    let now = now + CLOCK_SECONDS;
    let engagement = Engagement::read(state, now);
    let last_delivered = state.delivered.iter().rev().map(|mail| mail.at).find(|at| i64::from(*at) <= now);
    let last_success = last_delivered.max(engagement.last_click_at).unwrap_or_default();
    let soft = SoftPressure::read(state, last_success, now);
    let gate = AddressGate::read(state, policy, now);
    let complaint = gates::complaint(state);
    let unsubscribed_at = gates::unsubscribed_at(state);

    let validity = 1.0 / (1.0 + (soft.weight / 2.0).powi(2));
    let exposure = f64::from(engagement.delivered_90d);
    // k = 2 and e0 = 0.5: newcomers start in the middle and move as evidence comes.
    let engaged = (engagement.mass + 1.0) / (engagement.mass + 1.0 + 0.08 * exposure + 1.0);
    let patience = (-(f64::from(engagement.unanswered) - 12.0).max(0.0) / 12.0).exp2();
    let open = 45.0 * validity + 40.0 * engaged + 15.0 * patience;
    let factor = match (&complaint, &gate) {
        (Some(_), _) | (_, AddressGate::Dead { .. }) => 0.0,
        (None, AddressGate::Grey { .. }) => 0.35,
        (None, AddressGate::Open | AddressGate::Recovering { .. }) => 1.0,
    };
    let score = (open * factor).round().clamp(0.0, 100.0) as u8;

    let sunset = is_sunset(state, policy, &engagement, now);
    let by_score = match score {
        70.. => EmailState::Healthy,
        40..=69 => EmailState::Watch,
        _ => EmailState::Degraded,
    };
    let known = !state.delivered.is_empty() || !state.bounces.is_empty() || !state.hard.is_empty();
    let (verdict_state, reason) = if let Some(verdict) = &complaint {
        (EmailState::Complained, format!("marked mail as spam on {}", date(verdict.at)))
    } else if let Some(at) = unsubscribed_at {
        (EmailState::Unsubscribed, format!("unsubscribed on {}", date(i64::from(at))))
    } else {
        match &gate {
            AddressGate::Dead { at, .. } => {
                (EmailState::Dead, format!("hard bounce on {}, nothing got through since", date(i64::from(*at))))
            }
            AddressGate::Grey { at } => {
                (EmailState::Grey, format!("uncertain hard bounce on {}, waiting a week for a second", date(i64::from(*at))))
            }
            AddressGate::Open | AddressGate::Recovering { .. } if soft.is_failing() => {
                (EmailState::Failing, format!("soft bounces on {} days over {} days and no delivery since", soft.days, soft.span))
            }
            AddressGate::Open | AddressGate::Recovering { .. } if sunset => (
                EmailState::Sunset,
                format!("{} mails delivered in 90 days and no click for over {} days", engagement.delivered_90d, policy.sunset_after_days),
            ),
            AddressGate::Recovering { at } => {
                (by_score.max(EmailState::Watch), format!("uncertain hard bounce on {}, no second one since", date(i64::from(*at))))
            }
            AddressGate::Open if !known => (EmailState::Unknown, "no mail delivered yet".to_owned()),
            AddressGate::Open if soft.days > 0 => {
                (by_score.max(EmailState::Watch), format!("soft bounces on {} days since mail last got through", soft.days))
            }
            AddressGate::Open => (by_score, "score".to_owned()),
        }
    };

    let dead_or_grey = matches!(gate, AddressGate::Dead { .. } | AddressGate::Grey { .. });
    let email_deliverable = complaint.is_none() && !dead_or_grey && !soft.is_failing();
    let email_promotional_ok = email_deliverable && unsubscribed_at.is_none() && !sunset;
    let verdict = complaint.clone().or(match &gate {
        AddressGate::Dead { verdict, .. } => Some(verdict.clone()),
        _ => None,
    });
    let hard_bounced_at = match gate {
        AddressGate::Dead { at, .. } | AddressGate::Grey { at } | AddressGate::Recovering { at } => Some(i64::from(at)),
        AddressGate::Open => None,
    };
    let tenths = |points: f64| (points * 10.0).round() as i32;
    let contribution = |name: &str, points: f64, evidence: String| Contribution { name: name.into(), tenths: tenths(points), evidence };
    let mut contributions = vec![
        contribution(
            "validity",
            45.0 * validity,
            format!("{} soft bounce days since mail last got through, weight {:.2}", soft.days, soft.weight),
        ),
        contribution(
            "engagement",
            40.0 * engaged,
            format!("{} delivered in 90 days, decayed engagement {:.2}", engagement.delivered_90d, engagement.mass),
        ),
        contribution("patience", 15.0 * patience, format!("{} delivered since the last click", engagement.unanswered)),
    ];
    if factor < 1.0 {
        contributions.push(contribution("gate", open * (factor - 1.0), reason.clone()));
    }
    Evaluation {
        score,
        state: verdict_state,
        email_deliverable,
        email_promotional_ok,
        best_channel: best_channel(state, email_promotional_ok, complaint.is_some() || unsubscribed_at.is_some()),
        reason,
        contributions,
        verdict,
        facts: facts(state, &engagement, hard_bounced_at, unsubscribed_at, now),
    }
}

/// Long enough without an answer, in spite of enough mail.
fn is_sunset(state: &State, policy: &Policy, engagement: &Engagement, now: i64) -> bool {
    let since = engagement.last_answer_at.unwrap_or(0).max(state.first_delivered_at);
    engagement.delivered_90d >= u32::from(policy.sunset_min_delivered)
        && since > 0
        && days_between(since, now) > f64::from(policy.sunset_after_days)
}

/// E-mail where it works; else a push channel that was reached after it last failed. Neither a complaint nor an opt-out licenses another channel, and
/// text messages need a consent that events do not show.
fn best_channel(state: &State, email_ok: bool, opted_out: bool) -> String {
    let push = state.channels.get("push").is_some_and(|push| push.reached_at > push.bounced_at);
    match (email_ok, opted_out, push) {
        (true, _, _) => "email".to_owned(),
        (false, false, true) => "push".to_owned(),
        _ => String::new(),
    }
}

fn facts(state: &State, engagement: &Engagement, hard_bounced_at: Option<i64>, unsubscribed_at: Option<u32>, now: i64) -> Facts {
    let messages: BTreeSet<u64> = state.complaints.iter().map(|complaint| complaint.message).collect();
    let (last_bounce_at, last_bounce_delivery_id) = &state.last_bounce;
    Facts {
        hard_bounced_at,
        bounced_at: (*last_bounce_at > 0).then_some(i64::from(*last_bounce_at)),
        last_bounce_delivery_id: last_bounce_delivery_id.clone(),
        complained_at: state.complaints.iter().next().map(|complaint| i64::from(complaint.at)),
        complaint_count: u32::try_from(messages.len()).unwrap_or(u32::MAX),
        unsubscribed_at: unsubscribed_at.map(i64::from),
        last_click_at: engagement.last_click_at.map(i64::from),
        last_engaged_at: engagement.last_engaged.map(|(at, _)| i64::from(at)),
        last_engaged_metric: engagement.last_engaged.map(|(_, metric)| metric.to_owned()).unwrap_or_default(),
        engaged_30d: engagement.last_engaged.is_some_and(|(at, _)| days_between(at, now) <= 30.0),
        delivered_90d: engagement.delivered_90d,
    }
}

fn date(at: i64) -> String {
    jiff::Timestamp::from_second(at).map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
}
