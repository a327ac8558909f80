use super::engagement::Engagement;
use super::gates::AHEAD;
use super::soft::Soft;
use super::{CLOCK_SECONDS, DAY, Policy, seen_until};
use crate::fold::{Member, Recent, State};

/// What is in sight of a state at one time: read once for all the times until more comes into sight.
pub(super) struct Evidence<'s> {
    pub(super) state: &'s State,
    pub(super) policy: &'s Policy,
    pub(super) engagement: Engagement<'s>,
    pub(super) soft: Soft,
    /// When evidence dated ahead comes into sight next.
    pub(super) comes_at: Option<i64>,
}

impl<'s> Evidence<'s> {
    /// What is in sight at `now` (Unix seconds).
    pub(super) fn seen(state: &'s State, policy: &'s Policy, now: i64) -> Self {
        let seen_until = seen_until(now);
        let (engagement, soft) = (Engagement::read(state, policy, seen_until), Soft::read(state, policy, now, seen_until));
        Self { state, policy, engagement, soft, comes_at: comes_at(state, now) }
    }
}

/// When evidence dated ahead comes into sight next.
fn comes_at(state: &State, now: i64) -> Option<i64> {
    let seen = seen_until(now);
    let later = |at: u32| Some(i64::from(at)).filter(|at| *at > seen);
    let sets = [first_after(&state.delivered, seen), first_after(&state.opened, seen), first_after(&state.converted, seen)];
    let clicked = first_after(&state.clicked, seen);
    let channels = state.channels.iter().flat_map(|channel| [later(channel.reached_at), later(channel.answered_at)]).flatten();
    let lives = state.lives.as_slice().iter().chain(state.devices_reached.as_slice()).filter_map(|(_, at)| later(*at));
    let seen = sets
        .into_iter()
        .chain([clicked, later(state.first_delivered_at), later(state.subscribed_at), later(state.address.0)])
        .flatten()
        .chain(lives)
        .chain(channels)
        .map(|at| at - CLOCK_SECONDS);
    // A hard bounce is doubted before that already.
    let doubts = state.lives.as_slice().iter().map(|(_, at)| *at).chain([state.address.0]);
    let doubts =
        doubts.filter(|_| !state.hard.as_slice().is_empty()).map(|at| i64::from(at) - CLOCK_SECONDS - AHEAD).filter(|at| *at > now);
    let today = now.div_euclid(DAY);
    let days = state.soft.as_slice().iter().map(|soft| i64::from(soft.day)).filter(|day| *day > today).map(|day| day * DAY);
    seen.chain(doubts).chain(days).min()
}

fn first_after<T: Member>(members: &Recent<T>, seen: i64) -> Option<i64> {
    let members = members.as_slice();
    members.last().filter(|last| i64::from(last.at()) > seen)?;
    members.get(members.partition_point(|member| i64::from(member.at()) <= seen)).map(|member| i64::from(member.at()))
}
