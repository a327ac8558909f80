use aftersend_pipeline::config::BounceMode;
use aftersend_schemas::profile::{Cause, Verdict};

use super::{Policy, day, days_between};
use crate::fold::{HardBounce, State};

/// Below this confidence a hard bounce stops mail but permits nothing irreversible.
const CERTAIN: u8 = 80;
/// How long an uncertain hard bounce stops mail.
const GREY_DAYS: f64 = 7.0;

// A verdict dated ahead of the clock counts at once: whose clock is wrong cannot be told, and mailing on is the greater harm. Deliveries and clicks
// count when their time has come.

/// What hard bounces say about the address in use.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum AddressGate {
    #[default]
    Open,
    /// Uncertain: stops mail for a week.
    Grey { at: u32 },
    /// Uncertain, a week ago, and nothing since.
    Recovering { at: u32 },
    /// Gone.
    Dead { at: u32, verdict: Verdict },
}

impl AddressGate {
    pub(super) fn read(state: &State, policy: &Policy, now: i64) -> Self {
        let bounces: Vec<(&HardBounce, i64)> = state
            .hard
            .entries()
            .filter(|(bounce, _)| concerns_address_in_use(state, bounce) && !lives_again(state, bounce, now))
            .map(|(bounce, received_at)| (bounce, *received_at))
            .collect();
        let (Some((first, _)), Some((last, _))) = (bounces.first(), bounces.last()) else { return Self::Open };
        let certain = |bounce: &HardBounce| policy.bounces == BounceMode::Strict && bounce.confidence >= CERTAIN && !bounce.domain;
        let second_day = day(first.at) != day(last.at);
        let decisive: Vec<_> = bounces.iter().filter(|(bounce, _)| second_day || certain(bounce)).collect();
        let received_at = decisive.iter().map(|(_, received_at)| *received_at).min();
        match (decisive.first(), received_at) {
            (Some((bounce, _)), Some(received_at)) => {
                let verdict = Verdict { cause: Cause::HardBounce, at: i64::from(bounce.at), received_at };
                Self::Dead { at: last.at, verdict }
            }
            _ if days_between(last.at, now) < GREY_DAYS => Self::Grey { at: last.at },
            _ => Self::Recovering { at: last.at },
        }
    }
}

/// Evidence about an address dies with the address: a bounce counts until a later mail, or the person, names another one.
fn concerns_address_in_use(state: &State, bounce: &HardBounce) -> bool {
    let (seen_at, in_use) = state.address;
    in_use == 0 || bounce.address == 0 || bounce.address == in_use || bounce.at >= seen_at
}

/// Proof of life beats the verdict: the same address took or answered mail at a later time.
fn lives_again(state: &State, bounce: &HardBounce, now: i64) -> bool {
    let alive = |at: u32, address: u64| at > bounce.at && i64::from(at) <= now && address == bounce.address && address != 0;
    state.delivered.iter().chain(state.converted.iter()).any(|mail| alive(mail.at, mail.address))
        || state.clicked.iter().any(|click| !click.machine && alive(click.mail.at, click.mail.address))
}

/// The verdict that rests on a complaint.
pub(super) fn complaint(state: &State) -> Option<Verdict> {
    let at = i64::from(state.complaints.iter().next()?.at);
    let received_at = state.complaints.entries().map(|(_, received_at)| *received_at).min()?;
    Some(Verdict { cause: Cause::Complaint, at, received_at })
}

/// When the person opted out, if that is how it stands. Of two wishes in one second the opt-out counts.
pub(super) fn unsubscribed_at(state: &State) -> Option<u32> {
    (state.unsubscribed_at > 0 && state.unsubscribed_at >= state.subscribed_at).then_some(state.unsubscribed_at)
}
