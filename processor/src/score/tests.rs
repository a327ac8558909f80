use aftersend_schemas::address::ProviderId;
use aftersend_schemas::bounce::BounceClass;
use aftersend_schemas::profile::{Cause, Channel, EmailState};

use super::*;
use crate::fold::{Devices, Fact, Observation, Reach, State};

const NOW: i64 = 1_770_000_000;
const DAY: u32 = 86_400;

fn policy() -> Policy {
    Policy::new(&aftersend_pipeline::config::Policy::default(), "default")
}

fn ago(days: u32) -> u32 {
    u32::try_from(NOW).unwrap() - days * DAY
}

/// An event about one address; it says that the address is the person's unless it is a failure.
fn at(at: u32, message: u32, fact: Fact) -> Observation {
    of(7, at, message, fact)
}

fn of(address: u64, at: u32, message: u32, fact: Fact) -> Observation {
    let named = if matches!(fact, Fact::Bounced { .. } | Fact::Elsewhere { .. }) { 0 } else { address };
    Observation { at, message, address, named, fact }
}

fn fold(observations: &[Observation]) -> State {
    let mut state = State::default();
    for observation in observations {
        state.observe(observation);
    }
    state
}

fn bounce(class: BounceClass, confidence: u8) -> Fact {
    Fact::Bounced { class, confidence, deferred: false, provider: ProviderId::default(), delivery_id: "d".into(), received_at: 5_000 }
}

fn delivered(count: u32, every: u32) -> Vec<Observation> {
    (0..count).map(|n| at(ago(n * every), n, Fact::Delivered)).collect()
}

#[test]
fn worked_examples_of_the_model() {
    let score = |observations: &[Observation]| evaluate(&fold(observations), &policy(), &NoQuarantine, NOW).score;
    assert_eq!(score(&[]), 80, "nobody knows anything");

    let mut loyal = delivered(12, 7);
    loyal.extend((0..3).map(|n| at(ago(0), n, Fact::Clicked { link: 1, machine: false })));
    // A click in the second of its delivery is a scanner's: move the first delivery back.
    loyal[0].at -= 60;
    assert_eq!(score(&loyal), 87, "three recent clicks in twelve deliveries");

    let silent = delivered(40, 2);
    assert_eq!(score(&silent), 56, "forty deliveries and no click");
}

#[test]
fn a_certain_hard_bounce_is_final_until_a_new_address_or_proof_of_life() {
    let mut observations = delivered(3, 7);
    observations.push(at(ago(0), 9, bounce(BounceClass::HardRecipient, 95)));
    observations[0].at -= 60;
    let dead = evaluate(&fold(&observations), &policy(), &NoQuarantine, NOW);
    assert_eq!((dead.state, dead.score, dead.email_deliverable), (EmailState::Dead, 0, false));
    let verdict = dead.verdict.unwrap();
    assert_eq!((verdict.cause, verdict.received_at), (Cause::HardBounce, 5_000));

    let later = u32::try_from(NOW).unwrap() + 60;
    for (address, lives) in [(7, true), (8, true)] {
        let mut observations = observations.clone();
        observations.push(of(address, later, 10, Fact::Delivered));
        let evaluation = evaluate(&fold(&observations), &policy(), &NoQuarantine, NOW + 60);
        assert_eq!(evaluation.email_deliverable, lives, "address {address}");
        assert!(evaluation.verdict.is_none());
    }
    let mut earlier = observations.clone();
    earlier.push(of(8, ago(1), 10, Fact::Delivered));
    assert_eq!(
        evaluate(&fold(&earlier), &policy(), &NoQuarantine, NOW).state,
        EmailState::Dead,
        "an address used before the bounce proves nothing"
    );
}

#[test]
fn a_verdict_dated_ahead_of_the_clock_counts_at_once_and_engagement_when_its_time_comes() {
    let ahead = u32::try_from(NOW).unwrap() + 30 * DAY;
    let judged = |fact: Fact| evaluate(&fold(&[at(ahead, 1, fact)]), &policy(), &NoQuarantine, NOW);
    assert_eq!(judged(Fact::Complained { received_at: 1 }).state, EmailState::Complained);
    assert_eq!(judged(bounce(BounceClass::HardRecipient, 95)).state, EmailState::Dead);
    assert_eq!(judged(Fact::Unsubscribed).state, EmailState::Unsubscribed);
    assert_eq!(judged(Fact::Clicked { link: 1, machine: false }).facts.last_click_at, None);
}

#[test]
fn a_disproved_hard_bounce_is_no_verdict_again_while_what_is_dated_ahead_hides_the_proof() {
    let hour = 3_600;
    let now = u32::try_from(NOW).unwrap();
    let bounced = Observation { named: 7, ..at(now - 2 * hour, 1, bounce(BounceClass::HardRecipient, 95)) };
    let disproved = [bounced.clone(), at(now - hour, 2, Fact::Delivered)];
    assert_eq!(evaluate(&fold(&disproved), &policy(), &NoQuarantine, NOW).state, EmailState::Healthy);
    for ahead in [hour / 4, 2 * hour, 23 * hour] {
        let state = fold(&[disproved.as_slice(), &[at(now + ahead, 3, Fact::Delivered)]].concat());
        let meanwhile = evaluate(&state, &policy(), &NoQuarantine, NOW);
        assert_eq!((meanwhile.state, meanwhile.verdict), (EmailState::Grey, None), "{ahead} s ahead: nothing that cannot be undone");
        let then = evaluate(&state, &policy(), &NoQuarantine, meanwhile.changes_at.unwrap());
        assert_eq!((then.state, meanwhile.changes_at), (EmailState::Healthy, Some(NOW + i64::from(ahead) - 300)));
    }

    // It moved to another address, and is named again ahead of the clock.
    let moved = [bounced, of(8, now - hour, 2, Fact::Delivered)];
    assert_eq!(evaluate(&fold(&moved), &policy(), &NoQuarantine, NOW).state, EmailState::Healthy);
    let named = |at: u32| Observation { at, message: 3, address: 7, named: 7, fact: Fact::Seen };
    let judged = |at: u32| evaluate(&fold(&[moved.as_slice(), &[named(at)]].concat()), &policy(), &NoQuarantine, NOW);
    assert_eq!((judged(now + hour).state, judged(now + hour).verdict), (EmailState::Grey, None));
    assert_eq!(judged(now).state, EmailState::Dead, "it is in use again");
}

#[test]
fn a_disproved_hard_bounce_is_no_verdict_again_once_its_address_is_forgotten() {
    let hour = 3_600;
    let now = u32::try_from(NOW).unwrap();
    let mut events = vec![
        Observation { named: 7, ..at(now - 3 * hour, 1, bounce(BounceClass::HardRecipient, 95)) },
        at(now - 2 * hour, 2, Fact::Delivered),
    ];
    let others = (0..8).map(|other| Observation { named: 7, ..of(100 + other, now - hour, 10, Fact::Delivered) });
    events.extend(others);
    let forgotten = evaluate(&fold(&events), &policy(), &NoQuarantine, NOW);
    assert_eq!((forgotten.state, forgotten.verdict), (EmailState::Grey, None), "eight other addresses live");
    events.push(Observation { named: 7, ..at(now, 20, bounce(BounceClass::HardRecipient, 95)) });
    assert_eq!(evaluate(&fold(&events), &policy(), &NoQuarantine, NOW).state, EmailState::Dead, "a later bounce is not in doubt");
}

#[test]
fn an_uncertain_hard_bounce_stops_mail_for_a_week_and_deletes_nobody() {
    for fact in [bounce(BounceClass::HardRecipient, 60), bounce(BounceClass::HardDomain, 95)] {
        let state = fold(&[at(ago(0), 1, fact.clone())]);
        let grey = evaluate(&state, &policy(), &NoQuarantine, NOW);
        assert_eq!((grey.state, grey.email_deliverable, grey.verdict), (EmailState::Grey, false, None));
        let after = evaluate(&state, &policy(), &NoQuarantine, NOW + 8 * i64::from(DAY));
        assert_eq!((after.state, after.email_deliverable), (EmailState::Watch, true));
        let twice = fold(&[at(ago(2), 1, fact.clone()), at(ago(0), 2, fact)]);
        assert_eq!(evaluate(&twice, &policy(), &NoQuarantine, NOW).state, EmailState::Dead, "a second day settles it");
    }
}

#[test]
fn blocks_and_our_own_faults_never_count_against_a_person() {
    for class in
        [BounceClass::BlockReputation, BounceClass::BlockContent, BounceClass::PolicySender, BounceClass::TooLarge, BounceClass::Admin]
    {
        let deferred = Fact::Bounced {
            class,
            confidence: 100,
            deferred: true,
            provider: ProviderId::default(),
            delivery_id: "d".into(),
            received_at: 5_000,
        };
        for fact in [bounce(class, 100), deferred] {
            let state = fold(&(0..20).map(|n| at(ago(n), n, fact.clone())).collect::<Vec<_>>());
            let evaluation = evaluate(&state, &policy(), &NoQuarantine, NOW);
            assert_eq!((evaluation.score, evaluation.state), (80, EmailState::Unknown), "{fact:?}");
        }
    }
}

#[test]
fn a_full_mailbox_fails_after_three_days_over_two_weeks_and_recovers_with_a_delivery() {
    let full = |days: u32| at(ago(days), days, bounce(BounceClass::MailboxFull, 90));
    let two = fold(&[full(15), full(0)]);
    assert_eq!(evaluate(&two, &policy(), &NoQuarantine, NOW).state, EmailState::Watch);
    let mut many = vec![full(15), full(12), full(8), full(4), full(1)];
    let failing = evaluate(&fold(&many), &policy(), &NoQuarantine, NOW);
    assert_eq!((failing.state, failing.email_deliverable, failing.verdict), (EmailState::Failing, false, None));
    many.push(at(ago(0), 99, Fact::Delivered));
    let back = evaluate(&fold(&many), &policy(), &NoQuarantine, NOW);
    assert_eq!((back.state, back.email_deliverable), (EmailState::Healthy, true));
}

#[test]
fn nobody_clicked_for_a_season_is_sunset_and_a_click_brings_them_back() {
    let mut cold = delivered(20, 7);
    let evaluation = evaluate(&fold(&cold), &policy(), &NoQuarantine, NOW);
    assert_eq!((evaluation.state, evaluation.email_deliverable, evaluation.email_promotional_ok), (EmailState::Sunset, true, false));
    cold.push(at(ago(0) + 60, 0, Fact::Clicked { link: 1, machine: false }));
    assert!(evaluate(&fold(&cold), &policy(), &NoQuarantine, NOW + 60).email_promotional_ok);
}

#[test]
fn consent_is_no_part_of_the_score_and_a_tie_counts_as_opt_out() {
    let state = fold(&[at(ago(1), 1, Fact::Unsubscribed), at(ago(1), 2, Fact::Subscribed)]);
    let evaluation = evaluate(&state, &policy(), &NoQuarantine, NOW);
    assert_eq!((evaluation.state, evaluation.score, evaluation.email_deliverable), (EmailState::Unsubscribed, 80, true));
    let back = fold(&[at(ago(2), 1, Fact::Unsubscribed), at(ago(1), 2, Fact::Subscribed)]);
    assert_eq!(evaluate(&back, &policy(), &NoQuarantine, NOW).state, EmailState::Unknown);
}

#[test]
fn points_are_taken_by_the_bounce_and_never_by_an_opt_out() {
    for (confidence, points) in [(95, -800), (60, -520)] {
        let state = fold(&[at(ago(5), 1, Fact::Unsubscribed), at(ago(3), 2, bounce(BounceClass::HardRecipient, confidence))]);
        let evaluation = evaluate(&state, &policy(), &NoQuarantine, NOW);
        assert_eq!(evaluation.reason(), "unsubscribed on 2026-01-28");
        let gate = evaluation.contributions().pop().unwrap();
        assert_eq!((gate.name.as_ref(), gate.tenths, gate.evidence.as_ref()), ("gate", points, "hard bounce on 2026-01-30"));
    }
}

#[test]
fn an_opt_in_from_the_future_undoes_no_opt_out_before_its_time() {
    let ahead = u32::try_from(NOW + 1_000_000).unwrap();
    let state = fold(&[at(ago(1), 1, Fact::Unsubscribed), at(ahead, 2, Fact::Subscribed)]);
    let today = evaluate(&state, &policy(), &NoQuarantine, NOW);
    let (changes_at, comes_into_sight) = (today.changes_at, i64::from(ahead) - CLOCK_SECONDS);
    assert_eq!((today.state, changes_at), (EmailState::Unsubscribed, Some(comes_into_sight)));
    assert_eq!(evaluate(&state, &policy(), &NoQuarantine, comes_into_sight).state, EmailState::Unknown);
}

#[test]
fn scanners_engage_nobody() {
    let mail = at(ago(1), 1, Fact::Delivered);
    let clicked = |seconds: u32, link: u32, machine: bool| at(ago(1) + seconds, 1, Fact::Clicked { link, machine });
    let mass = |more: &[Observation]| {
        let observations: Vec<_> = std::iter::once(mail.clone()).chain(more.iter().cloned()).collect();
        evaluate(&fold(&observations), &policy(), &NoQuarantine, NOW).facts.last_click_at
    };
    assert!(mass(&[clicked(3, 1, false)]).is_none(), "three seconds after delivery");
    assert!(mass(&[clicked(300, 1, true)]).is_none(), "marked as a machine's");
    assert!(mass(&[clicked(300, 1, false), clicked(301, 2, false), clicked(302, 3, false)]).is_none(), "three links at once");
    assert!(mass(&[clicked(300, 1, false), clicked(301, 2, false)]).is_some());
}

#[test]
fn a_dead_address_stays_dead_however_many_uncertain_bounces_follow() {
    let mut observations = vec![at(ago(2), 0, bounce(BounceClass::HardRecipient, 95))];
    observations.extend((1..=20).map(|n| at(ago(1) + n, n, bounce(BounceClass::HardRecipient, 60))));
    observations.extend((21..=40).map(|n| at(ago(1) + n, n, bounce(BounceClass::HardDomain, 90))));
    for day in [0, 30] {
        let evaluation = evaluate(&fold(&observations), &policy(), &NoQuarantine, NOW + day * i64::from(DAY));
        assert_eq!((evaluation.state, evaluation.score), (EmailState::Dead, 0), "after {day} days");
    }
}

#[test]
fn one_mail_that_is_reported_on_two_days_is_no_second_bounce() {
    let on_two_days = |messages: [u32; 2]| {
        let bounced = |days, message| at(ago(days), message, bounce(BounceClass::HardDomain, 90));
        evaluate(&fold(&[bounced(2, messages[0]), bounced(1, messages[1])]), &policy(), &NoQuarantine, NOW).state
    };
    assert_eq!(on_two_days([1, 1]), EmailState::Grey);
    assert_eq!(on_two_days([1, 2]), EmailState::Dead);
}

#[test]
fn uncertain_bounces_of_two_addresses_are_no_second_bounce_of_either() {
    let uncertain = |address, days| of(address, ago(days), days, bounce(BounceClass::HardRecipient, 60));
    let judged = |first, second| evaluate(&fold(&[uncertain(first, 5), uncertain(second, 3)]), &policy(), &NoQuarantine, NOW).state;
    assert_eq!(judged(7, 8), EmailState::Grey);
    assert_eq!(judged(7, 7), EmailState::Dead);
    assert_eq!(judged(7, 0), EmailState::Dead, "they may be one");
}

#[test]
fn mail_that_arrives_disproves_the_bounce_of_an_unknown_address() {
    let bounced = of(0, ago(5), 1, bounce(BounceClass::HardRecipient, 95));
    let judged =
        |address| evaluate(&fold(&[bounced.clone(), of(address, ago(2), 2, Fact::Delivered)]), &policy(), &NoQuarantine, NOW).state;
    assert_eq!(judged(7), EmailState::Healthy);
    assert_eq!(judged(0), EmailState::Dead, "where no address is kept, only an operator lifts it");
}

#[test]
fn a_conversion_is_no_proof_that_a_mailbox_lives() {
    let gone = [at(ago(9), 1, Fact::Delivered), at(ago(5), 2, bounce(BounceClass::HardRecipient, 95)), at(ago(4), 1, Fact::Converted)];
    assert_eq!(evaluate(&fold(&gone), &policy(), &NoQuarantine, NOW).state, EmailState::Dead);
}

#[test]
fn push_reaches_a_person_while_one_device_lives() {
    let push =
        |days, reach, devices: &[u32]| at(ago(days), days, Fact::Elsewhere { channel: Channel::Push, reach, devices: devices.into() });
    let gone = at(ago(5), 0, bounce(BounceClass::HardRecipient, 95));
    let channel = |more: &[Observation]| {
        let all: Vec<_> = std::iter::once(gone.clone()).chain(more.iter().cloned()).collect();
        evaluate(&fold(&all), &policy(), &NoQuarantine, NOW).best_channel
    };
    let (arrived, failed) = (Reach::Arrived, Reach::Failed);
    assert_eq!(channel(&[push(4, failed, &[1])]), None);
    assert_eq!(channel(&[push(5, arrived, &[1]), push(4, failed, &[2])]), Some(Channel::Push), "the other one");
    assert_eq!(channel(&[push(5, arrived, &[1, 2]), push(4, failed, &[2]), push(3, failed, &[1])]), None, "both");
    assert_eq!(channel(&[push(5, arrived, &[1]), push(4, failed, &[])]), None, "it may have been this one");
    assert_eq!(channel(&[push(4, arrived, &[]), push(4, failed, &[])]), Some(Channel::Push), "in one second");
    let others: Vec<u32> = (2..10).collect();
    assert_eq!(channel(&[push(6, arrived, &[1]), push(5, failed, &[1]), push(4, failed, &others)]), None, "a failure that was pushed out");
}

#[test]
fn an_address_that_is_named_ahead_of_the_clock_neither_frees_nor_deletes_anybody() {
    let bounced = at(ago(5), 0, bounce(BounceClass::HardRecipient, 95));
    let named_at = u32::try_from(NOW).unwrap() + 10 * DAY;
    let ahead = of(8, named_at, 1, Fact::Delivered);
    let state = fold(&[bounced, ahead]);
    let before = evaluate(&state, &policy(), &NoQuarantine, NOW);
    assert_eq!((before.state, before.email_deliverable), (EmailState::Grey, false), "it stops mail");
    assert!(before.verdict.is_none(), "and does nothing that cannot be undone");
    let after = evaluate(&state, &policy(), &NoQuarantine, i64::from(named_at));
    assert!(after.email_deliverable, "the address is another one now");
}

#[test]
fn soft_bounces_of_half_a_year_ago_make_nobody_failing() {
    let full = |days| at(ago(days), days, bounce(BounceClass::MailboxFull, 90));
    let state = |days: &[u32]| {
        let observations: Vec<_> = days.iter().map(|days| full(*days)).collect();
        evaluate(&fold(&observations), &policy(), &NoQuarantine, NOW).state
    };
    assert_eq!(state(&[16, 12, 8, 4, 0]), EmailState::Failing);
    assert_eq!(state(&[200, 3, 2, 1, 0]), state(&[3, 2, 1, 0]), "a day that counts no more gives no span");
    assert_eq!(state(&[300, 296, 292, 288, 284, 0]), state(&[0]), "nor does a wait that is long over go on");
}

#[test]
fn a_channel_that_was_reached_ahead_of_the_clock_is_offered_when_its_time_has_come() {
    let ahead = u32::try_from(NOW).unwrap() + 10 * DAY;
    let reached = Fact::Elsewhere { channel: Channel::Push, reach: Reach::Arrived, devices: Devices::new() };
    let state = fold(&[at(ago(5), 0, bounce(BounceClass::HardRecipient, 95)), at(ahead, 1, reached)]);
    let channel = |now| evaluate(&state, &policy(), &NoQuarantine, now).best_channel;
    assert_eq!(channel(NOW), None);
    assert_eq!(channel(i64::from(ahead)), Some(Channel::Push));
}

#[test]
fn nobody_is_forgotten_where_the_limit_is_as_far_away_as_numbers_go() {
    let mut policy = policy();
    policy.forget_after = i64::MAX;
    assert_eq!(fold(&delivered(1, 1)).forget_at(&policy, NOW), Some(i64::MAX));
}
