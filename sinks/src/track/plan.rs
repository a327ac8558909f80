//! What to do next for one person. Pure: profile, ledger, rules and time in, one step out.

use aftersend_pipeline::config::{Reaction, Rules};
use aftersend_schemas::identity::Namespace;
use aftersend_schemas::ledger::{Attributes, LedgerRecord, Standing};
use aftersend_schemas::profile::{Cause, ProfileRecord};
use aftersend_schemas::track_call::Call;

use xxhash_rust::xxh3::xxh3_64;

use super::attributes::{AS_OF, difference, wanted};

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
    /// The id cannot stand in a path, or would address somebody else.
    UnusableId,
    /// The API refused exactly this before.
    Refused,
    /// The evidence arrived too long ago to delete somebody by itself.
    TooOld,
    /// On the list of people who are never suppressed.
    Never,
}

impl Done {
    pub(super) const ALL: [Self; 7] =
        [Self::InStep, Self::Suppressed, Self::NoIdentifier, Self::UnusableId, Self::Refused, Self::TooOld, Self::Never];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::InStep => "in_step",
            Self::Suppressed => "suppressed",
            Self::NoIdentifier => "no_identifier",
            Self::UnusableId => "unusable_id",
            Self::Refused => "refused",
            Self::TooOld => "too_old_to_suppress",
            Self::Never => "never_suppress",
        }
    }
}

/// A call, and what asked for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Planned {
    pub(super) call: Call,
    /// Empty for a suppress.
    pub(super) attributes: Attributes,
    pub(super) rule: &'static str,
    /// Of exactly this call: a refused one is not made again.
    pub(super) digest: u64,
}

/// Decides the next step.
pub(super) fn next(profile: &ProfileRecord, ledger: &LedgerRecord, rules: &Rules, prefix: &str, now: i64) -> Step {
    if ledger.standing == Standing::Suppressed {
        return Step::Done(Done::Suppressed);
    }
    if profile.person.namespace == Namespace::Email {
        return Step::Done(Done::NoIdentifier);
    }
    // URL libraries collapse dots in a path, and `cio_...` there is Customer.io's own id: the call would go to somebody else.
    let is_taken_for_cio = profile.person.namespace == Namespace::Id && profile.person.id.starts_with("cio_");
    if is_taken_for_cio || profile.person.id.chars().all(|c| c == '.') {
        return Step::Done(Done::UnusableId);
    }
    let verdict = profile.evaluation.verdict.as_ref();
    let (reaction, hold, rule) = match verdict.map(|verdict| verdict.cause) {
        Some(Cause::HardBounce) => (rules.on_hard_bounce, rules.hold_hard_bounce, "on_hard_bounce"),
        Some(Cause::Complaint) => (rules.on_complaint, rules.hold_complaint, "on_complaint"),
        None => (Reaction::Identify, rules.hold_complaint, "attributes"),
    };
    let attributes = wanted(profile, prefix);
    let unsubscribe = reaction == Reaction::Unsubscribe && ledger.standing < Standing::Unsubscribed;
    let sent = difference(&attributes, &ledger.attributes, prefix);
    if let Some(attributes) = sent.or_else(|| unsubscribe.then_some(attributes)) {
        let call = if unsubscribe { Call::Unsubscribe } else { Call::Identify };
        let rule = if unsubscribe { rule } else { "attributes" };
        return unless_refused(ledger, Planned { call, digest: digest(call, &attributes), attributes, rule });
    }
    let (Reaction::Suppress, Some(verdict)) = (reaction, verdict) else { return Step::Done(Done::InStep) };
    if profile.evaluation.never_suppress || rules.never_suppress.contains(&profile.person.id) {
        return Step::Done(Done::Never);
    }
    if now - verdict.received_at > rules.irreversible_max_age.millis() {
        return Step::Done(Done::TooOld);
    }
    let due = verdict.received_at + hold.millis();
    if now < due {
        return Step::WaitUntil(due);
    }
    let digest = digest(Call::Suppress, &Attributes::new());
    unless_refused(ledger, Planned { call: Call::Suppress, attributes: Attributes::new(), rule, digest })
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
        }
        Call::Suppress => ledger.standing = Standing::Suppressed,
    }
    ledger.refused = None;
    ledger.answered_at = now;
}

/// What the ledger says after a refused call.
pub(super) fn refused(ledger: &mut LedgerRecord, planned: &Planned, now: i64) {
    ledger.refused = Some(planned.digest);
    ledger.answered_at = now;
}

/// Stable over releases, since it is kept in the ledger. The time of the evaluation is no part of it.
fn digest(call: Call, attributes: &Attributes) -> u64 {
    let mut attributes = attributes.clone();
    attributes.retain(|name, _| !name.ends_with(AS_OF));
    let text = serde_json::to_string(&(call, attributes)).unwrap_or_default();
    xxh3_64(text.as_bytes())
}

#[cfg(test)]
mod tests;
