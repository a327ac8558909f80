use aftersend_pipeline::config::BounceMode;
use aftersend_schemas::profile::{Cause, Verdict};
use smallvec::SmallVec;

use super::{DAY, Policy, Standing};
use crate::fold::{HardBounce, State, day};

/// What is dated up to so far ahead of the clock may be true already. Clocks and time zones are off by less.
pub(super) const AHEAD: i64 = DAY;

// A verdict dated ahead of the clock counts at once: whose clock is wrong cannot be told, and mailing on is the greater harm. Deliveries, clicks
// and opt-ins count when their time has come.

/// What hard bounces say about the address in use.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum AddressGate {
    #[default]
    Open,
    /// Uncertain: stops mail for some days.
    Grey { at: u32, until: i64, is_quarantined: bool },
    /// Uncertain, some days ago, and nothing since.
    Recovering { at: u32 },
    /// Gone.
    Dead { at: u32, verdict: Verdict },
}

/// A hard bounce that counts.
struct Bounce {
    at: u32,
    message: u32,
    address: u64,
    received_at: i64,
    /// It settles the matter alone.
    is_certain: bool,
    /// It settles the matter with another one.
    is_believed: bool,
    is_quarantined: bool,
}

impl AddressGate {
    pub(super) fn read(state: &State, policy: &Policy, standing: &(impl Standing + ?Sized), now: i64, seen_until: i64) -> Self {
        let known = state.hard.as_slice();
        if known.is_empty() {
            return Self::Open;
        }
        let bounces: SmallVec<[Bounce; 8]> = known
            .iter()
            .filter(|(bounce, _)| bounce.at > state.hard_lifted_at)
            .filter(|(bounce, _)| !lives_again(state, bounce, seen_until))
            .filter_map(|(bounce, received_at)| {
                let is_in_use = concerns_address_in_use(state, bounce);
                // Who has another address from a time ahead of the clock on may have it already: no mail, and nothing that cannot be undone.
                if !is_in_use && i64::from(state.address.0) <= seen_until {
                    return None;
                }
                let is_quarantined = standing.quarantined(bounce.provider, mailed_at(bounce.at, *received_at));
                let is_believed = is_in_use && !is_quarantined && !may_be_disproved(state, bounce, seen_until);
                let is_certain = is_believed && policy.rules.bounces == BounceMode::Strict && bounce.is_certain();
                let HardBounce { at, message, address, .. } = *bounce;
                Some(Bounce { at, message, address, received_at: *received_at, is_certain, is_believed, is_quarantined })
            })
            .collect();
        let Some(last) = bounces.last() else { return Self::Open };
        if let Some((at, received_at)) = certain(&bounces) {
            return Self::Dead { at: last.at, verdict: Verdict { cause: Cause::HardBounce, at: i64::from(at), received_at } };
        }
        let until = i64::from(last.at) + i64::from(policy.rules.grey_days) * DAY;
        if now < until {
            Self::Grey { at: last.at, until, is_quarantined: bounces.iter().any(|bounce| bounce.is_quarantined) }
        } else {
            Self::Recovering { at: last.at }
        }
    }
}

/// The second of a bounce as its provider's windows count it: no later than its arrival (Unix milliseconds), where that is known.
fn mailed_at(at: u32, received_at: i64) -> u32 {
    u32::try_from(received_at / 1000).ok().filter(|received| *received > 0).map_or(at, |received| at.min(received))
}

/// The bounce that settled it, and when the last record that it took had arrived: the earliest such arrival, so that more evidence makes no verdict newer.
///
/// One certain bounce settles it; so does that of a second mail to the same address on a later day, unless its provider refused everybody.
fn certain(bounces: &[Bounce]) -> Option<(u32, i64)> {
    let alone = bounces.iter().filter(|bounce| bounce.is_certain).map(|bounce| (bounce.at, bounce.received_at));
    let together = bounces.iter().filter(|bounce| bounce.is_believed).filter_map(|second| {
        let is_first = |first: &&Bounce| {
            let may_be_alike = first.address == second.address || first.address == 0 || second.address == 0;
            day(first.at) < day(second.at) && first.message != second.message && may_be_alike
        };
        let first = bounces.iter().filter(is_first).map(|first| first.received_at).min()?;
        Some((second.at, first.max(second.received_at)))
    });
    let settled = |(at, received): (u32, i64), (other_at, other_received): (u32, i64)| (at.min(other_at), received.min(other_received));
    alone.chain(together).reduce(settled)
}

/// Evidence about an address dies with the address: a bounce counts until another one is named, by the bounce itself too.
fn concerns_address_in_use(state: &State, bounce: &HardBounce) -> bool {
    let (named_at, in_use) = state.address;
    in_use == 0 || bounce.address == 0 || bounce.address == in_use || bounce.at > named_at
}

/// Proof of life beats the verdict: the same address took or answered mail at a later time. What bounced at an unknown address is disproved by any that is
/// known: where none is kept, none is.
fn lives_again(state: &State, bounce: &HardBounce, seen_until: i64) -> bool {
    lives_after(state, bounce).any(|at| i64::from(at) <= seen_until)
}

/// Times at which what bounced took or answered mail later.
fn lives_after<'s>(state: &'s State, bounce: &'s HardBounce) -> impl Iterator<Item = u32> + 's {
    let may_be_alike = |address: u64| address != 0 && (bounce.address == address || bounce.address == 0);
    let lives = state.lives.as_slice().iter().filter(move |(address, _)| may_be_alike(*address));
    lives.map(|(_, at)| *at).filter(|at| *at > bounce.at)
}

/// True where something is not in sight that would disprove the bounce. Only the last sign of life of an address is kept: one that is dated ahead hides
/// those before it, and those of the addresses that were seen longest ago are gone. The address may be one that is named ahead.
fn may_be_disproved(state: &State, bounce: &HardBounce, seen_until: i64) -> bool {
    let is_near = |at: u32| (seen_until + 1..=seen_until + AHEAD).contains(&i64::from(at));
    let is_dropped =
        bounce.address != 0 && state.lives.of(bounce.address).is_none() && state.lives.at_the_latest(bounce.address) > bounce.at;
    is_dropped || lives_after(state, bounce).any(is_near) || (is_near(state.address.0) && bounce.at < state.address.0)
}

/// The verdict that rests on a complaint.
pub(super) fn complaint(state: &State) -> Option<Verdict> {
    let standing = || state.complaints.entries().filter(|(complaint, _)| complaint.at > state.complaints_lifted_at);
    let at = i64::from(standing().next()?.0.at);
    let received_at = standing().map(|(_, received_at)| *received_at).min()?;
    Some(Verdict { cause: Cause::Complaint, at, received_at })
}

/// When the person opted out, if that is how it stands. Of two wishes in one second the opt-out counts. An opt-in that is dated ahead counts when its
/// time has come, and hides those before it: nobody gets mail against an opt-out because of a wrong clock.
pub(super) fn unsubscribed_at(state: &State, seen_until: i64) -> Option<u32> {
    let subscribed_at = if i64::from(state.subscribed_at) <= seen_until { state.subscribed_at } else { 0 };
    (state.unsubscribed_at > 0 && state.unsubscribed_at >= subscribed_at).then_some(state.unsubscribed_at)
}
