//! What to do next for one person. Pure: profile, ledger, rules and time in, one step out.

use std::collections::BTreeMap;

use aftersend_pipeline::config::{Config, Reaction, Rules};
use aftersend_schemas::ledger::{AttributeValue, Attributes, LedgerRecord, Reasons, Seen, Standing};
use aftersend_schemas::profile::{Cause, EmailState, ProfileRecord, Verdict};
use aftersend_schemas::track_call::Call;
use xxhash_rust::xxh3::xxh3_64;

use super::attributes::{self, Names, difference, wanted};
use super::decisions::Decided;
use super::identifier::{Identifier, Unaddressable};
use super::never::NeverSuppress;

/// The next step for a person.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Nothing to do, and why.
    Done(Done),
    /// A call to make now.
    Call(Planned),
    /// Something irreversible is held until this time (Unix milliseconds).
    WaitUntil(i64),
}

/// Why there is nothing to do. Each has a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// Customer.io knows.
    InStep,
    /// The person was suppressed: calls would be ignored, or create an empty profile.
    Suppressed,
    /// Known only by an address, which is not kept in clear.
    NoIdentifier,
    /// The id, or the address, cannot stand in a path, or would address somebody else.
    UnusableId,
    /// The API refused exactly this before.
    Refused,
    /// The evidence arrived too long ago to delete somebody by itself. A release of the brake lets it go.
    TooOld,
    /// On the list of people who are never suppressed, or an operator said so.
    Never,
    /// The verdict is not certain: a provider in quarantine, or a first doubtful bounce.
    Withheld,
    /// A newer profile of this person was acted on before.
    Stale,
}

impl Done {
    pub(super) const ALL: [Self; 9] = [
        Self::InStep,
        Self::Suppressed,
        Self::NoIdentifier,
        Self::UnusableId,
        Self::Refused,
        Self::TooOld,
        Self::Never,
        Self::Withheld,
        Self::Stale,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::InStep => "in_step",
            Self::Suppressed => "suppressed",
            Self::NoIdentifier => "no_identifier",
            Self::UnusableId => "unusable_id",
            Self::Refused => "refused",
            Self::TooOld => "too_old_to_suppress",
            Self::Never => "never_suppress",
            Self::Withheld => "withheld",
            Self::Stale => "stale",
        }
    }
}

/// A call, and what asked for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Planned {
    pub(super) whom: Identifier,
    pub(super) call: Call,
    /// Empty for a suppress.
    pub(super) attributes: Attributes,
    pub(super) rule: &'static str,
    /// Of exactly this call: a refused one is not made again.
    pub(super) digest: u64,
    /// The profile that asks for it.
    pub(super) seen: Seen,
    /// What stands in it against mail.
    pub(super) reasons: Reasons,
    /// It says that there should be none.
    pub(super) has_verdict: bool,
}

/// The rules of one workspace, ready for use.
#[derive(Debug)]
pub(super) struct Ruled {
    rules: Rules,
    never: NeverSuppress,
    names: Names,
}

impl Ruled {
    pub(super) fn new(config: &Config, workspace: &str) -> Self {
        let rules = config.policy.rules_for(workspace);
        Self { never: NeverSuppress::new(&rules.never_suppress), rules, names: Names::new(&config.track) }
    }
}

/// What else is known at this moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moment {
    /// Unix milliseconds.
    pub(super) now: i64,
    /// What operators decided about the person.
    pub(super) decided: Decided,
    /// Evidence that arrived up to then was let go by an operator, however old.
    pub(super) released_through: Option<i64>,
}

/// How urgent a profile is: complaints and consent, then hard bounces, then everything else.
pub(super) fn lane(profile: &ProfileRecord) -> Lane {
    match (profile.evaluation.verdict.as_ref().map(|verdict| verdict.cause), profile.evaluation.state) {
        (Some(Cause::Complaint), _) | (_, EmailState::Complained | EmailState::Unsubscribed) => Lane::Complaint,
        (Some(Cause::HardBounce), _) | (_, EmailState::Dead | EmailState::Grey) => Lane::HardBounce,
        _ => Lane::Score,
    }
}

/// Most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Lane {
    Complaint,
    HardBounce,
    Score,
}

impl Lane {
    pub(super) const ALL: [Self; 3] = [Self::Complaint, Self::HardBounce, Self::Score];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Complaint => "complaint",
            Self::HardBounce => "hard_bounce",
            Self::Score => "score",
        }
    }
}

/// Which profile this is.
pub(super) fn seen(profile: &ProfileRecord, offset: i64) -> Seen {
    Seen { as_of: profile.as_of, offset, policy_version: profile.policy_version }
}

/// Decides the next step.
pub(super) fn next(profile: &ProfileRecord, offset: i64, ledger: &LedgerRecord, ruled: &Ruled, moment: &Moment) -> Step {
    if ledger.standing == Standing::Suppressed {
        return Step::Done(Done::Suppressed);
    }
    let whom = match Identifier::of(&profile.person, profile.address.as_deref()) {
        Ok(whom) => whom,
        Err(Unaddressable::NoIdentifier) => return Step::Done(Done::NoIdentifier),
        Err(Unaddressable::Unusable) => return Step::Done(Done::UnusableId),
    };
    let seen = seen(profile, offset);
    let reasons = reasons(profile);
    if ledger.seen.is_after(seen) {
        return Step::Done(Done::Stale);
    }
    let rules = &ruled.rules;
    let verdict = profile.evaluation.verdict.as_ref().filter(|verdict| !moment.decided.lifts(verdict));
    let (reaction, hold, rule) = match verdict.map(|verdict| verdict.cause) {
        Some(Cause::HardBounce) => (rules.on_hard_bounce, rules.hold_hard_bounce, "on_hard_bounce"),
        Some(Cause::Complaint) => (rules.on_complaint, rules.hold_complaint, "on_complaint"),
        None => (Reaction::Identify, rules.hold_complaint, "attributes"),
    };
    let has_verdict = verdict.is_some();
    let suppress = verdict.filter(|_| reaction == Reaction::Suppress);
    // A suppress that waits for its answer is the last thing this person hears of us, unless it is no longer wanted.
    if !ledger.awaits_suppress() || suppress.is_none() {
        let attributes = wanted(profile, &ruled.names);
        let is_wanted = ledger.standing < Standing::Unsubscribed
            || verdict.is_some_and(|verdict| is_wanted_again(verdict.cause, profile, ledger, ruled));
        let unsubscribe = reaction == Reaction::Unsubscribe && !is_doubtful(profile, verdict) && is_wanted;
        let echo = attributes::is_echo(profile, ledger);
        let sent = difference(&attributes, &ledger.attributes, &ruled.names, echo);
        if let Some(attributes) = sent.or_else(|| unsubscribe.then_some(attributes)) {
            let call = if unsubscribe { Call::Unsubscribe } else { Call::Identify };
            let rule = if unsubscribe { rule } else { "attributes" };
            let digest = digest(call, &ruled.names.without_time(&attributes));
            return unless_refused(ledger, Planned { whom, call, digest, attributes, rule, seen, reasons, has_verdict });
        }
    }
    let Some(verdict) = suppress else { return Step::Done(Done::InStep) };
    let is_listed = whom.spellings().chain([profile.person.id.clone()]).any(|name| ruled.never.contains(&name));
    if profile.evaluation.never_suppress || moment.decided.never_suppress() || is_listed {
        return Step::Done(Done::Never);
    }
    if is_doubtful(profile, Some(verdict)) {
        return Step::Done(Done::Withheld);
    }
    let is_old = moment.now - verdict.received_at > rules.irreversible_max_age.millis();
    if is_old && moment.released_through.is_none_or(|through| verdict.received_at > through) {
        return Step::Done(Done::TooOld);
    }
    let due = verdict.received_at + hold.millis();
    if moment.now < due {
        return Step::WaitUntil(due);
    }
    let digest = digest_of_suppress();
    unless_refused(ledger, Planned { whom, call: Call::Suppress, attributes: Attributes::new(), rule, digest, seen, reasons, has_verdict })
}

/// True if a person whom we had unsubscribed has subscribed again, and given a new reason since.
fn is_wanted_again(cause: Cause, profile: &ProfileRecord, ledger: &LedgerRecord, ruled: &Ruled) -> bool {
    let now = reasons(profile);
    let is_new = match (cause, ledger.unsubscribed_for) {
        (Cause::HardBounce, Some(known)) => now.hard_bounced_at > known.hard_bounced_at,
        (Cause::Complaint, Some(known)) => now.complaints > known.complaints,
        (Cause::HardBounce, None) => now.hard_bounced_at > Some(ledger.unsubscribed_at / 1_000),
        (Cause::Complaint, None) => attributes::has_new_complaint(profile, ledger, &ruled.names),
    };
    ledger.unsubscribed_at != 0 && profile.evaluation.facts.unsubscribed_at.is_none() && is_new
}

fn reasons(profile: &ProfileRecord) -> Reasons {
    let facts = &profile.evaluation.facts;
    Reasons { complaints: facts.complaint_count, hard_bounced_at: facts.hard_bounced_at }
}

fn is_doubtful(profile: &ProfileRecord, verdict: Option<&Verdict>) -> bool {
    profile.evaluation.state == EmailState::Grey && verdict.is_some_and(|verdict| verdict.cause == Cause::HardBounce)
}

fn unless_refused(ledger: &LedgerRecord, planned: Planned) -> Step {
    if ledger.refused == Some(planned.digest) { Step::Done(Done::Refused) } else { Step::Call(planned) }
}

/// What the ledger says after an acknowledged call.
pub(super) fn acknowledged(ledger: &mut LedgerRecord, planned: &Planned, now: i64) {
    match planned.call {
        Call::Identify => ledger.attributes = planned.attributes.clone(),
        Call::Unsubscribe => {
            ledger.attributes = planned.attributes.clone();
            ledger.standing = ledger.standing.max(Standing::Unsubscribed);
            (ledger.unsubscribed_at, ledger.unsubscribed_for) = (now, Some(planned.reasons));
        }
        Call::Suppress => ledger.standing = Standing::Suppressed,
        Call::Unsuppress => *ledger = LedgerRecord::new(ledger.person.clone()),
    }
    // A refused suppress says the same again, whatever else was answered since, for as long as there is a verdict.
    ledger.refused = ledger.refused.filter(|refused| planned.has_verdict && *refused == digest_of_suppress());
    ledger.seen = planned.seen;
    ledger.answered(now);
}

/// What the ledger says after a refused call.
pub(super) fn refused(ledger: &mut LedgerRecord, planned: &Planned, now: i64) {
    ledger.refused = Some(planned.digest);
    ledger.seen = planned.seen;
    if planned.call == Call::Suppress {
        ledger.suppress_sent_at = 0;
    }
    ledger.answered(now);
}

fn digest_of_suppress() -> u64 {
    digest(Call::Suppress, &BTreeMap::new())
}

/// Stable over releases, since it is kept in the ledger. The time of the evaluation is no part of it.
fn digest(call: Call, attributes: &BTreeMap<&str, &AttributeValue>) -> u64 {
    let text = serde_json::to_string(&(call, attributes)).unwrap_or_default();
    xxh3_64(text.as_bytes())
}

#[cfg(test)]
pub(super) mod tests;
