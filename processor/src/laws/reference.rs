//! The score from its definition: sort, take each once, compute. No state, no cleverness, nothing shared with the code it checks.

use std::collections::BTreeMap;

use aftersend_pipeline::config::BounceMode;
use aftersend_schemas::bounce::BounceClass;
use aftersend_schemas::operator::Decision;
use aftersend_schemas::profile::{Cadence, Channel, ChannelReason, EmailState};
use proptest::prelude::*;

use super::generator::{history, incident, policies};
use super::{NOW, folded, histories};
use crate::fold::{Fact, Observation, Reach};
use crate::score::{Policy, Standing, evaluate};

const DAY: i64 = 86_400;

#[derive(Debug, PartialEq)]
struct Expected {
    state: EmailState,
    deliverable: bool,
    promotional: bool,
    transactional: bool,
    cadence: Cadence,
    channel: (Option<Channel>, ChannelReason),
    verdict: Option<(i64, i64)>,
    never_suppress: bool,
    engaged_30d: bool,
}

/// What a history amounts to, and the score before it is rounded.
fn judge(history: &[Observation], policy: &Policy, standing: &impl Standing, now: i64) -> (f64, Expected) {
    let rules = &policy.rules;
    let seen = |at: u32| i64::from(at) <= now + 300;
    let days_old = |at: i64| ((now - at).max(0)) as f64 / DAY as f64;
    let day = |at: u32| i64::from(at) / DAY;

    // Each thing once.
    let mut delivered: BTreeMap<u32, u32> = BTreeMap::new();
    let mut opened: BTreeMap<(i64, u32), u32> = BTreeMap::new();
    let mut clicked: BTreeMap<(i64, u32, u32), u32> = BTreeMap::new();
    let mut converted: BTreeMap<(i64, u32), u32> = BTreeMap::new();
    let mut lives: BTreeMap<u64, u32> = BTreeMap::new();
    let mut first_delivered = u32::MAX;
    for Observation { at, message, address, fact, .. } in history {
        let latest = |known: &mut u32| *known = (*known).max(*at);
        match fact {
            Fact::Delivered => {
                latest(delivered.entry(*message).or_default());
                first_delivered = first_delivered.min(*at);
            }
            Fact::Opened { machine: false } => latest(opened.entry((day(*at), *message)).or_default()),
            Fact::Clicked { link, machine: false } => latest(clicked.entry((day(*at), *message, *link)).or_default()),
            Fact::Converted => latest(converted.entry((day(*at), *message)).or_default()),
            _ => {}
        }
        if matches!(fact, Fact::Delivered | Fact::Clicked { machine: false, .. }) {
            latest(lives.entry(*address).or_default());
        }
    }
    delivered.retain(|_, at| seen(*at));
    opened.retain(|_, at| seen(*at));
    clicked.retain(|_, at| seen(*at));
    converted.retain(|_, at| seen(*at));
    let all_lives = lives.clone();
    lives.retain(|_, at| seen(*at));

    // Only what humans do.
    let prompt = |message: u32, at: u32, seconds: u32| delivered.get(&message).is_some_and(|arrived| arrived.abs_diff(at) <= seconds);
    let all_clicks = clicked.clone();
    opened.retain(|(_, message), at| !prompt(*message, *at, rules.score.machine_open_seconds));
    clicked.retain(|(_, message, _), at| {
        let mut links: Vec<u32> = all_clicks
            .iter()
            .filter(|((_, other, _), other_at)| other == message && other_at.abs_diff(*at) <= rules.score.burst_seconds)
            .map(|((_, _, link), _)| *link)
            .collect();
        links.sort();
        links.dedup();
        links.len() < usize::from(rules.score.burst_links) && !prompt(*message, *at, rules.score.machine_click_seconds)
    });

    // Engagement.
    let mut mass = 0.0;
    let messages: std::collections::BTreeSet<u32> =
        opened.keys().chain(converted.keys()).map(|key| key.1).chain(clicked.keys().map(|key| key.1)).collect();
    for message in &messages {
        let last = |times: Vec<u32>| times.into_iter().max();
        let weigh = |at: Option<u32>, weight: f64, half_life: f64| match at {
            Some(at) if now - i64::from(at) <= 365 * DAY => weight * 0.5_f64.powf(days_old(at.into()) / half_life),
            _ => 0.0,
        };
        let of = |times: &BTreeMap<(i64, u32), u32>| last(times.iter().filter(|(key, _)| key.1 == *message).map(|(_, at)| *at).collect());
        let click = last(clicked.iter().filter(|(key, _)| key.1 == *message).map(|(_, at)| *at).collect());
        let weight = weigh(of(&converted), rules.score.conversion_weight, rules.score.conversion_half_life_days)
            + weigh(click, rules.score.click_weight, rules.score.click_half_life_days)
            + weigh(of(&opened), rules.score.open_weight, rules.score.open_half_life_days);
        mass += weight.min(rules.score.mail_cap);
    }
    let answers: Vec<u32> = clicked.values().chain(converted.values()).copied().collect();
    let answer = answers.iter().max().copied();
    let engaged = answer.max(opened.values().max().copied());
    let recent: Vec<u32> = delivered.values().copied().filter(|at| now - i64::from(*at) <= 90 * DAY).collect();
    let unanswered = recent.iter().filter(|at| answer.is_none_or(|answer| **at > answer)).count();

    // Soft bounces of the address in use.
    let (named_at, in_use) = history.iter().filter(|seen| seen.named != 0).map(|seen| (seen.at, seen.named)).max().unwrap_or((0, 0));
    let weight_of = |class: BounceClass, deferred: bool| match class {
        BounceClass::BlockReputation | BounceClass::BlockContent | BounceClass::PolicySender | BounceClass::TooLarge => None,
        BounceClass::AutoReply | BounceClass::Admin | BounceClass::Suppressed => None,
        _ if deferred => Some((rules.soft.deferred_weight, rules.soft.deferred_half_life_days)),
        BounceClass::MailboxFull => Some((rules.soft.mailbox_full_weight, rules.soft.mailbox_full_half_life_days)),
        BounceClass::Transient | BounceClass::Undetermined => Some((rules.soft.transient_weight, rules.soft.transient_half_life_days)),
        _ => None,
    };
    let mut soft: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for bounce in history {
        let Fact::Bounced { class, deferred, .. } = bounce.fact else { continue };
        let Some(weight) = weight_of(class, deferred).filter(|_| !class.is_hard() || deferred) else { continue };
        let on = day(bounce.at);
        let concerns = in_use == 0 || !seen(named_at) || bounce.address == 0 || bounce.address == in_use || on > day(named_at);
        let succeeded = lives.iter().filter(|(address, _)| **address == bounce.address || **address == 0 || bounce.address == 0);
        let too_early = succeeded.map(|(_, at)| day(*at)).any(|success| on <= success);
        if concerns && !too_early && on <= now / DAY {
            let strongest = soft.entry(on).or_insert(weight);
            if weight.0 > strongest.0 {
                *strongest = weight;
            }
        }
    }
    let soft: Vec<(i64, (f64, f64))> = soft.into_iter().collect();
    let sum_at = |days: &[(i64, (f64, f64))], then: i64| -> f64 {
        days.iter().map(|(on, (weight, half))| weight * 0.5_f64.powf((then - (on + 1) * DAY).max(0) as f64 / DAY as f64 / half)).sum()
    };
    let mut retry: Option<i64> = None;
    let mut wait = i64::from(rules.soft.retry_days);
    for n in 0..soft.len() {
        let end = (soft[n].0 + 1) * DAY;
        // Days of half a year ago count for nothing.
        let still: Vec<_> = soft[..=n].iter().copied().filter(|(on, _)| soft[n].0 - on <= 180).collect();
        if still.len() == 1 {
            (retry, wait) = (None, i64::from(rules.soft.retry_days));
        }
        if let Some(due) = retry {
            if end > due {
                wait = (wait * 2).min(rules.soft.retry_max_days.into());
                retry = Some(end + wait * DAY);
            }
        } else if still.len() >= usize::from(rules.soft.failing_days)
            && soft[n].0 - still[0].0 >= i64::from(rules.soft.failing_span_days)
            && sum_at(&still, end) >= rules.soft.failing_weight
        {
            retry = Some(end + wait * DAY);
        }
    }
    let failing = retry.is_some_and(|retry| now < retry);
    let counted: Vec<_> = soft.iter().copied().filter(|(on, _)| now / DAY - on <= 180).collect();
    let pressure = sum_at(&counted, now);
    let half_failing = !counted.is_empty()
        && pressure * 2.0 >= rules.soft.failing_weight
        && counted.len() * 2 >= usize::from(rules.soft.failing_days)
        && 2 * (counted[counted.len() - 1].0 - counted[0].0) >= i64::from(rules.soft.failing_span_days);

    // Gates.
    let decided = |wanted: &[Decision]| {
        let is_wanted = |seen: &&Observation| matches!(&seen.fact, Fact::Decided(decision) if wanted.contains(decision));
        history.iter().filter(is_wanted).map(|seen| seen.at).max().unwrap_or(0)
    };
    let complaints_lifted = decided(&[Decision::LiftComplaint, Decision::Unsuppress]);
    let hard_lifted = decided(&[Decision::LiftHardBounce, Decision::Unsuppress]);
    let never = decided(&[Decision::NeverSuppress]);
    let never_suppress = never > 0 && never >= decided(&[Decision::MaySuppress]);
    let complaints: Vec<(u32, i64)> = history
        .iter()
        .filter_map(|seen| match seen.fact {
            Fact::Complained { received_at } if seen.at > complaints_lifted => Some((seen.at, received_at)),
            _ => None,
        })
        .collect();
    let wished = |wanted: fn(&Fact) -> bool| history.iter().filter(|seen| wanted(&seen.fact)).map(|seen| seen.at).max().unwrap_or(0);
    let (out, back) = (wished(|fact| *fact == Fact::Unsubscribed), wished(|fact| *fact == Fact::Subscribed));
    let unsubscribed = out > 0 && (out >= back || !seen(back));

    let mut hard: BTreeMap<(u32, u32, u64, u32, bool, u8), i64> = BTreeMap::new();
    for bounce in history {
        if let Fact::Bounced { class, confidence, deferred: false, provider, received_at, .. } = bounce.fact
            && class.is_hard()
        {
            let is_domain = class == BounceClass::HardDomain;
            let key = (bounce.at, bounce.message, bounce.address, provider.0, is_domain, confidence);
            let earliest = hard.entry(key).or_insert(received_at);
            *earliest = received_at.min(*earliest);
        }
    }
    let kind = |key: &(u32, u32, u64, u32, bool, u8)| (key.2, !key.4 && key.5 >= 80);
    let newest_of_kind =
        |key: &(u32, u32, u64, u32, bool, u8)| hard.keys().filter(|other| kind(other) == kind(key) && *other > key).count() < 8;
    // Time, arrival, certain alone, in doubt, mail, address.
    let standing_bounces: Vec<(u32, i64, bool, bool, u32, u64)> = hard
        .iter()
        .filter(|(key, _)| newest_of_kind(key))
        .filter(|((at, _, address, ..), _)| {
            let concerns = in_use == 0 || *address == 0 || *address == in_use || *at > named_at;
            let lives_on = lives.iter().any(|(lived, then)| *lived != 0 && [*lived, 0].contains(address) && then > at);
            (concerns || !seen(named_at)) && !lives_on && *at > hard_lifted
        })
        .map(|((at, message, address, provider, domain, confidence), received)| {
            let counted_at = if *received >= 1000 { i64::from(*at).min(*received / 1000) } else { i64::from(*at) };
            let quarantined = standing.quarantined(aftersend_schemas::address::ProviderId(*provider), counted_at as u32);
            let of_another = !(in_use == 0 || *address == 0 || *address == in_use || *at > named_at);
            // What is dated up to a day ahead may be so already.
            let near = |then: u32| !seen(then) && i64::from(then) <= now + 300 + DAY;
            let may_live = all_lives.iter().any(|(lived, then)| *lived != 0 && [*lived, 0].contains(address) && then > at && near(*then));
            let doubted = quarantined || of_another || may_live || (near(named_at) && *at < named_at);
            (*at, *received, rules.bounces == BounceMode::Strict && *confidence >= 80 && !domain && !doubted, doubted, *message, *address)
        })
        .collect();
    let mut settled: Vec<(u32, i64)> = Vec::new();
    for second in &standing_bounces {
        if second.2 {
            settled.push((second.0, second.1));
        }
        for first in &standing_bounces {
            let one_address = first.5 == second.5 || first.5 * second.5 == 0;
            if day(first.0) < day(second.0) && first.4 != second.4 && one_address && !second.3 {
                settled.push((second.0, first.1.max(second.1)));
            }
        }
    }
    let dead = !settled.is_empty();
    let last_hard = standing_bounces.iter().map(|bounce| bounce.0).max();
    let grey = !dead && last_hard.is_some_and(|at| now < i64::from(at) + i64::from(rules.grey_days) * DAY);
    let first_and_earliest = |all: &[(u32, i64)]| Some((all.iter().map(|one| i64::from(one.0)).min()?, all.iter().map(|one| one.1).min()?));
    let verdict = first_and_earliest(&complaints).or(first_and_earliest(&settled));

    // The score.
    let v = 1.0 / (1.0 + (pressure / 2.0).powi(2));
    let half_prior = rules.score.prior * 0.5;
    let e = (mass + half_prior) / (mass + half_prior + rules.score.exposure_weight * recent.len() as f64 + half_prior);
    let free = f64::from(rules.score.patience_mails);
    let r = 0.5_f64.powf((unanswered as f64 - free).max(0.0) / free);
    let gate = match (complaints.is_empty(), dead, grey) {
        (true, false, false) => 1.0,
        (true, false, true) => rules.score.grey_factor,
        _ => 0.0,
    };
    let raw = gate * (rules.score.validity * v + rules.score.engagement * e + rules.score.patience * r);

    // How long without an answer.
    let tier = |then: i64| {
        let visible = |at: i64| at <= then + 300;
        let since = answers.iter().copied().chain([first_delivered].into_iter().filter(|at| *at < u32::MAX)).map(i64::from);
        let Some(since) = since.filter(|at| visible(*at)).max() else { return 0 };
        let window = i64::from(rules.sunset_after_days.max(90)) * DAY;
        let enough = delivered.values().map(|at| i64::from(*at)).filter(|at| visible(*at) && then - at <= window).count();
        if enough < usize::from(rules.sunset_min_delivered) {
            return 0;
        }
        [rules.active_days, rules.cooling_days, rules.sunset_after_days]
            .iter()
            .filter(|days| then - since > i64::from(**days) * DAY)
            .count()
    };
    let (today, before) = (tier(now), tier(now - i64::from(rules.hysteresis_days) * DAY));
    let sunset = today == 3;

    // Words for it.
    let rounded = raw.round() as u8;
    let by_score = match rounded {
        _ if rounded >= rules.score.healthy => EmailState::Healthy,
        _ if rounded >= rules.score.watch => EmailState::Watch,
        _ => EmailState::Degraded,
    };
    let softened = match (counted.is_empty(), half_failing) {
        (true, _) => by_score,
        (false, false) => by_score.max(EmailState::Watch),
        (false, true) => EmailState::Degraded,
    };
    let state = if !complaints.is_empty() {
        EmailState::Complained
    } else if unsubscribed {
        EmailState::Unsubscribed
    } else if dead {
        EmailState::Dead
    } else if grey {
        EmailState::Grey
    } else if failing {
        EmailState::Failing
    } else if sunset {
        EmailState::Sunset
    } else if last_hard.is_some() {
        softened.max(EmailState::Watch)
    } else if delivered.is_empty() && counted.is_empty() {
        EmailState::Unknown
    } else {
        softened
    };
    let transactional = complaints.is_empty() && !dead && !failing;
    let deliverable = transactional && !grey;
    let promotional = deliverable && !unsubscribed && !sunset;
    let step = today.max(before.min(2)).max(usize::from(state == EmailState::Degraded));
    let cadence = if promotional { Cadence::ALL[step] } else { Cadence::Stop };

    // Channels.
    let last = |channel: Channel, wanted: &[Reach]| {
        let is_wanted =
            |fact: &Fact| matches!(fact, Fact::Elsewhere { channel: other, reach, .. } if *other == channel && wanted.contains(reach));
        history.iter().filter(|seen| is_wanted(&seen.fact)).map(|seen| seen.at).max().unwrap_or(0)
    };
    let not_ahead = |at: u32| if seen(at) { at } else { 0 };
    let mut devices: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
    let mut nowhere = 0;
    for event in history {
        let Fact::Elsewhere { channel: Channel::Push, reach, devices: named } = &event.fact else { continue };
        for device in named {
            let (reached, failed) = devices.entry(*device).or_default();
            let register = if *reach == Reach::Failed { failed } else { reached };
            *register = event.at.max(*register);
        }
        if *reach == Reach::Failed && named.is_empty() {
            nowhere = event.at.max(nowhere);
        }
    }
    let a_device_lives = devices.values().any(|(reached, failed)| not_ahead(*reached) > 0 && reached >= failed && *reached >= nowhere);
    let usable: Vec<Channel> = rules
        .channels
        .iter()
        .copied()
        .filter(|channel| {
            let reached = not_ahead(last(*channel, &[Reach::Arrived, Reach::Answered]));
            reached > 0 && reached >= last(*channel, &[Reach::Failed]) || *channel == Channel::Push && a_device_lives
        })
        .collect();
    let busier = usable.iter().copied().find(|channel| not_ahead(last(*channel, &[Reach::Answered])) > answer.unwrap_or(0));
    let channel = match () {
        () if !complaints.is_empty() || unsubscribed => (None, ChannelReason::OptedOut),
        () if !promotional && usable.is_empty() => (None, ChannelReason::NoneReached),
        () if !promotional => (Some(usable[0]), ChannelReason::EmailStopped),
        () if state == EmailState::Degraded && busier.is_some() => (busier, ChannelReason::AnswersElsewhere),
        () => (Some(Channel::Email), ChannelReason::EmailWorks),
    };
    let engaged_30d = engaged.is_some_and(|at| now - i64::from(at) <= 30 * DAY);
    let verdict_and_state =
        Expected { state, deliverable, promotional, transactional, cadence, channel, verdict, never_suppress, engaged_30d };
    (raw, verdict_and_state)
}

proptest! {
    #![proptest_config(histories())]

    #[test]
    fn the_score_is_what_its_definition_says(
        observations in history(),
        incident in incident(),
        policy in policies(),
        later in prop_oneof![Just(0_i64), 0_i64..200 * DAY],
    ) {
        let now = NOW + later;
        let evaluation = evaluate(&folded(&observations), &policy, &incident, now);
        let (raw, expected) = judge(&observations, &policy, &incident, now);
        // On the edge between two numbers the order of a sum decides.
        let on_edge = (raw - raw.floor() - 0.5).abs() < 1e-9;
        prop_assert!((f64::from(evaluation.score) - raw).abs() <= 0.5 + 1e-9, "{} for {raw}", evaluation.score);
        let found = Expected {
            state: evaluation.state,
            deliverable: evaluation.email_deliverable,
            promotional: evaluation.email_promotional_ok,
            transactional: evaluation.email_transactional_ok,
            cadence: evaluation.email_cadence,
            channel: (evaluation.best_channel, evaluation.best_channel_reason),
            verdict: evaluation.verdict.as_ref().map(|verdict| (verdict.at, verdict.received_at)),
            never_suppress: evaluation.never_suppress,
            engaged_30d: evaluation.facts.engaged_30d,
        };
        prop_assert!(found == expected || on_edge, "{found:?}\ninstead of\n{expected:?}");
    }
}
