use std::collections::BTreeSet;

use aftersend_schemas::address::ProviderId;
use aftersend_schemas::bounce::BounceClass;
use aftersend_schemas::profile::{Cadence, ChannelReason, EmailState, Grounds};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::generator::{history, incident, policies};
use super::{NOW, folded, histories};
use crate::fold::{Fact, Observation};
use crate::score::evaluate;

fn bounce() -> impl Strategy<Value = Observation> {
    (0_u32..200 * 86_400, 0_u32..40, 0_u64..3, 0_usize..12, prop::sample::select(vec![60_u8, 80, 95]), any::<bool>(), 1_u32..3).prop_map(
        |(ago, message, address, class, confidence, deferred, provider)| Observation {
            at: u32::try_from(NOW).unwrap() - ago,
            message,
            address,
            named: 0,
            fact: Fact::Bounced {
                class: BounceClass::ALL[class],
                confidence,
                deferred,
                provider: ProviderId(provider),
                delivery_id: "d".into(),
                received_at: 7,
            },
        },
    )
}

proptest! {
    #![proptest_config(histories())]

    #[test]
    fn a_bounce_never_raises_a_score_and_one_for_a_block_never_lowers_it(
        observations in history(),
        bounce in bounce(),
        incident in incident(),
        policy in policies(),
    ) {
        let before = evaluate(&folded(&observations), &policy, &incident, NOW);
        let after = evaluate(&folded(observations.iter().chain([&bounce])), &policy, &incident, NOW);
        prop_assert!(after.score <= before.score, "{} after {}", after.score, before.score);
        let Fact::Bounced { class, deferred, .. } = bounce.fact else { unreachable!() };
        let is_ours = matches!(
            class,
            BounceClass::BlockReputation | BounceClass::BlockContent | BounceClass::PolicySender | BounceClass::TooLarge | BounceClass::Admin
                | BounceClass::Suppressed | BounceClass::AutoReply
        );
        if is_ours && !deferred {
            prop_assert_eq!((after.score, after.state), (before.score, before.state));
        }
    }

    #[test]
    fn a_human_click_never_lowers_a_score(
        observations in history(),
        ago in 0_u32..200 * 86_400,
        message in 100_u32..140,
        known in any::<prop::sample::Index>(),
        incident in incident(),
        policy in policies(),
    ) {
        // One address: a click at another would make that the one in use, with the bounces it has.
        let observations: Vec<Observation> = observations.into_iter().map(|seen| Observation { address: 1, named: seen.named.min(1), ..seen }).collect();
        let at = u32::try_from(NOW).unwrap() - ago;
        // On a mail of its own, or on a link of its own in one that is known, far from its delivery and from other clicks.
        let message = if ago % 2 == 0 || observations.is_empty() { message } else { known.get(&observations).message };
        let is_near = |seen: &&Observation| {
            seen.message == message && matches!(seen.fact, Fact::Delivered | Fact::Clicked { .. }) && seen.at.abs_diff(at) <= 10
        };
        prop_assume!(observations.iter().filter(is_near).count() == 0);
        let click = Observation { at, message, address: 1, named: 1, fact: Fact::Clicked { link: 99, machine: false } };
        let before = evaluate(&folded(&observations), &policy, &incident, NOW).score;
        let after = evaluate(&folded(observations.iter().chain([&click])), &policy, &incident, NOW).score;
        prop_assert!(after >= before, "{after} after {before}");
    }

    #[test]
    fn a_score_is_0_to_100_and_0_for_who_complained_or_is_gone(
        observations in history(),
        incident in incident(),
        policy in policies(),
        later in -400_i64..900,
    ) {
        let evaluation = evaluate(&folded(&observations), &policy, &incident, NOW + later * 86_400);
        prop_assert!(evaluation.score <= 100);
        if matches!(evaluation.state, EmailState::Complained | EmailState::Dead) {
            prop_assert_eq!(evaluation.score, 0);
            prop_assert!(!evaluation.email_deliverable && !evaluation.email_transactional_ok);
            prop_assert!(evaluation.verdict.is_some());
        }
        prop_assert!(!evaluation.email_promotional_ok || evaluation.email_deliverable);
        prop_assert!(!evaluation.email_deliverable || evaluation.email_transactional_ok);
        let parts: i32 = evaluation.contributions().iter().map(|part| part.tenths).sum();
        prop_assert!((parts - 10 * i32::from(evaluation.score)).abs() <= 7, "the parts make the score: {parts} and {}", evaluation.score);
    }

    #[test]
    fn consent_is_no_part_of_a_score(observations in history(), at in 0_u32..100 * 86_400, back in any::<bool>(), policy in policies()) {
        let fact = if back { Fact::Subscribed } else { Fact::Unsubscribed };
        let wish = Observation { at: u32::try_from(NOW).unwrap() - at, message: 0, address: 0, named: 0, fact };
        let before = evaluate(&folded(&observations), &policy, &crate::score::NoQuarantine, NOW);
        let after = evaluate(&folded(observations.iter().chain([&wish])), &policy, &crate::score::NoQuarantine, NOW);
        prop_assert_eq!(after.score, before.score);
        prop_assert_eq!(after.email_deliverable, before.email_deliverable);
    }

    #[test]
    fn a_quarantine_withholds_verdicts_and_makes_none(observations in history(), incident in incident(), policy in policies()) {
        let state = folded(&observations);
        let (without, within) = (evaluate(&state, &policy, &crate::score::NoQuarantine, NOW), evaluate(&state, &policy, &incident, NOW));
        prop_assert!(within.score >= without.score);
        prop_assert!(within.verdict.is_none() || without.verdict.is_some());
    }
}

/// A law says nothing about what no history reaches.
#[test]
fn histories_reach_every_state_and_every_answer() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    let mut foreseen = 0;
    for _ in 0..2_000 {
        let observations = history().new_tree(&mut runner).unwrap().current();
        let incident = incident().new_tree(&mut runner).unwrap().current();
        let evaluation = evaluate(&folded(&observations), &super::policy(""), &incident, NOW);
        let Grounds::Measured(reason, _) = evaluation.grounds else { unreachable!() };
        seen.insert(format!("{reason:?}").split(' ').next().unwrap().to_owned());
        seen.insert(format!("{:?}", evaluation.state));
        seen.insert(format!("{:?}", evaluation.email_cadence));
        seen.insert(format!("{:?}", evaluation.best_channel_reason));
        foreseen += usize::from(evaluation.changes_at.is_some());
    }
    let states = EmailState::ALL.map(|state| format!("{state:?}"));
    let cadences = Cadence::ALL.map(|cadence| format!("{cadence:?}"));
    let channels = ChannelReason::ALL.into_iter().filter(|reason| *reason != ChannelReason::Unstated).map(|reason| format!("{reason:?}"));
    let reasons = ["HardBounced", "Quarantined", "Recovering", "SoftBounces", "Score"].map(str::to_owned);
    for expected in states.into_iter().chain(cadences).chain(channels).chain(reasons) {
        assert!(seen.contains(&expected), "no history reaches {expected}: {seen:?}");
    }
    assert!((400..1_900).contains(&foreseen), "{foreseen} of 2000 change by time alone");
}
