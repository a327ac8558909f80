use aftersend_schemas::address::ProviderId;
use aftersend_schemas::bounce::BounceClass;
use proptest::prelude::*;

use super::generator::{history, incident, policies};
use super::{NOW, folded, histories};
use crate::fold::{Fact, Observation};
use crate::score::{Changes, NoQuarantine};

const DAY: i64 = 86_400;
/// Tried in one history.
const MOMENTS: usize = 400;

/// Seconds at which a rule could bite, and some by chance.
fn moments(observations: &[Observation], chance: &[u32]) -> Vec<i64> {
    let waits = [0, 1, 3, 7, 10, 14, 15, 21, 22, 30, 37, 60, 67, 90, 97, 120, 180, 181, 187, 270, 277, 365];
    let of_event = |at: i64| waits.iter().flat_map(move |days| [-301, -300, -1, 0, 1].map(|second| at + days * DAY + second));
    let events = observations.iter().map(|seen| i64::from(seen.at)).flat_map(move |at| [at, at / DAY * DAY]);
    let by_chance = chance.iter().map(|after| NOW + i64::from(*after));
    let moments: Vec<i64> = events.flat_map(of_event).chain(by_chance).filter(|at| *at > NOW).collect();
    // Of thousands some: the next history brings others.
    let step = moments.len() / MOMENTS + 1;
    let first = chance.first().map_or(0, |chance| *chance as usize % step);
    moments.into_iter().skip(first).step_by(step).collect()
}

proptest! {
    #![proptest_config(histories())]

    /// Just before it everything is as it was, at it something is not, and in between nothing changes.
    #[test]
    fn the_next_change_is_foreseen_to_the_second(
        observations in history(),
        incident in incident(),
        policy in policies(),
        chance in prop::collection::vec(0_u32..700 * 86_400, 24),
    ) {
        let state = folded(&observations);
        let changes = Changes::of(&state, &policy, &incident, NOW);
        if let Some(at) = changes.next() {
            prop_assert!(at > NOW);
            prop_assert!(!changes.is_same_at(at), "nothing changes at {at}");
            prop_assert!(changes.is_same_at(at - 1), "it changed before {at}");
        }
        for moment in moments(&observations, &chance).into_iter().filter(|moment| changes.next().is_none_or(|at| *moment < at)) {
            prop_assert!(changes.is_same_at(moment), "it changes by {} days, foreseen: {:?}", (moment - NOW) as f64 / DAY as f64, changes.next());
        }
    }
}

/// In a grey week, a failing mailbox is tried again: mail that somebody waits for may go from then on.
#[test]
fn a_retry_within_a_grey_week_is_foreseen() {
    let bounced = |days_ago: i64, class, confidence| Observation {
        at: u32::try_from(NOW - days_ago * DAY).unwrap(),
        message: u32::try_from(days_ago).unwrap(),
        address: 1,
        named: 0,
        fact: Fact::Bounced { class, confidence, deferred: false, provider: ProviderId(1), delivery_id: String::new(), received_at: 0 },
    };
    let mut history: Vec<_> = [0, 5, 10, 15, 20].map(|days| bounced(days + 28, BounceClass::MailboxFull, 90)).into();
    history.push(bounced(0, BounceClass::HardRecipient, 60));
    let state = folded(&history);
    let policy = super::policy("");
    let changes = Changes::of(&state, &policy, &NoQuarantine, NOW);
    let next = changes.next().unwrap();
    assert_eq!(next, (NOW / DAY - 28 + 31) * DAY, "30 days from the end of the last bounce day, before the grey week is over");
}
