//! The attributes that a profile wants written. Pure.

use std::collections::{BTreeMap, HashMap};

use aftersend_pipeline::config::Track;
use aftersend_schemas::ledger::{ATTRIBUTES, AttributeValue, Attributes, LedgerRecord};
use aftersend_schemas::profile::{EmailState, ProfileRecord};

/// The Track API takes values of up to 1,000 bytes.
const VALUE_BYTES: usize = 1_000;
/// Changes of the score by less than this are not worth a call while the state stays the same.
const SCORE_STEP: u64 = 5;

/// The webhook about our own `unsubscribed: true` bears a time from this long before the answer to this long after it, in seconds.
const ECHO_SECONDS: std::ops::RangeInclusive<i64> = -60..=600;

/// Names as [`ATTRIBUTES`] has them.
const SCORE: &str = "email_score";
const STATE: &str = "email_state";
const REASON: &str = "reason";
const PROMOTIONAL_OK: &str = "email_promotional_ok";
const BEST_CHANNEL: &str = "best_channel";
const BEST_CHANNEL_REASON: &str = "best_channel_reason";
const COMPLAINT_COUNT: &str = "complaint_count";
const UNSUBSCRIBED_AT: &str = "unsubscribed_at";
const AS_OF: &str = "deliverability_as_of";

/// How attributes are called at Customer.io.
#[derive(Debug)]
pub struct Names {
    theirs: BTreeMap<&'static str, String>,
    ours: HashMap<String, &'static str>,
}

impl Names {
    /// As they are configured.
    pub fn new(config: &Track) -> Self {
        let theirs: BTreeMap<_, _> = ATTRIBUTES.iter().filter_map(|ours| Some((*ours, config.attribute_name(ours)?))).collect();
        let ours = theirs.iter().map(|(ours, theirs)| (theirs.clone(), *ours)).collect();
        Self { theirs, ours }
    }

    fn ours(&self, theirs: &str) -> Option<&'static str> {
        self.ours.get(theirs).copied()
    }

    /// The attributes that make a call another one: the time of the evaluation does not.
    pub(super) fn without_time<'a>(&self, attributes: &'a Attributes) -> BTreeMap<&'a str, &'a AttributeValue> {
        let timeless = attributes.iter().filter(|(name, _)| self.ours(name) != Some(AS_OF));
        timeless.map(|(name, value)| (name.as_str(), value)).collect()
    }
}

/// Every attribute of a profile, by the names of Customer.io. Facts that are not known have no attribute. Never `id` or `email`.
pub fn wanted(profile: &ProfileRecord, names: &Names) -> Attributes {
    let evaluation = &profile.evaluation;
    let facts = &evaluation.facts;
    let time = |at: Option<i64>| at.map(AttributeValue::Integer);
    let text = |text: &str| (!text.is_empty()).then(|| AttributeValue::Text(text[..text.floor_char_boundary(VALUE_BYTES)].to_owned()));
    let flag = |flag: bool| Some(AttributeValue::Bool(flag));
    let members = [
        (SCORE, Some(AttributeValue::Integer(i64::from(evaluation.score)))),
        (STATE, text(evaluation.state.as_str())),
        ("email_deliverable", flag(evaluation.email_deliverable)),
        (PROMOTIONAL_OK, flag(evaluation.email_promotional_ok)),
        ("email_transactional_ok", flag(evaluation.email_transactional_ok)),
        ("email_cadence", text(evaluation.email_cadence.as_str())),
        (BEST_CHANNEL, evaluation.best_channel.and_then(|channel| text(channel.as_str()))),
        (BEST_CHANNEL_REASON, text(evaluation.best_channel_reason.as_str())),
        (REASON, text(&evaluation.reason())),
        (AS_OF, Some(AttributeValue::Integer(profile.as_of))),
        ("policy_version", Some(AttributeValue::Integer(i64::from(profile.policy_version)))),
        ("email_bounced", flag(facts.hard_bounced_at.is_some())),
        ("email_bounced_at", time(facts.bounced_at)),
        ("last_bounce_delivery_id", text(&facts.last_bounce_delivery_id)),
        ("spam_complaint", flag(facts.complained_at.is_some())),
        ("spam_complaint_at", time(facts.complained_at)),
        (COMPLAINT_COUNT, Some(AttributeValue::Integer(i64::from(facts.complaint_count)))),
        (UNSUBSCRIBED_AT, time(facts.unsubscribed_at)),
        ("last_email_click_at", time(facts.last_click_at)),
        ("last_email_engaged_at", time(facts.last_engaged_at)),
        ("last_email_metric", text(&facts.last_engaged_metric)),
        ("email_engaged_30d", flag(facts.engaged_30d)),
    ];
    members.into_iter().filter_map(|(name, value)| Some((names.theirs.get(name)?.clone(), value?))).collect()
}

/// True if all that says so is a wish to be unsubscribed that we wrote ourselves: Customer.io tells us of it as of any other.
pub(super) fn is_echo(profile: &ProfileRecord, ledger: &LedgerRecord) -> bool {
    let wish = profile.evaluation.facts.unsubscribed_at;
    let is_ours = |wish: i64| ledger.unsubscribed_at != 0 && ECHO_SECONDS.contains(&(wish - ledger.unsubscribed_at / 1_000));
    wish.is_some_and(is_ours) && matches!(profile.evaluation.state, EmailState::Unsubscribed | EmailState::Complained)
}

/// What to send so that the acknowledged attributes become the wanted ones; nothing if the difference is not worth a call. An attribute that is no longer
/// wanted is emptied: the Track API keeps what is not mentioned.
pub(super) fn difference(wanted: &Attributes, acknowledged: &Attributes, names: &Names, echo: bool) -> Option<Attributes> {
    let minor = |name: &str| match names.ours(name) {
        Some(AS_OF) => true,
        // What our own write changes.
        Some(STATE | REASON | PROMOTIONAL_OK | BEST_CHANNEL | BEST_CHANNEL_REASON | UNSUBSCRIBED_AT) => echo,
        Some(SCORE) => match (wanted.get(name), acknowledged.get(name)) {
            (Some(AttributeValue::Integer(new)), Some(AttributeValue::Integer(old))) => new.abs_diff(*old) < SCORE_STEP,
            _ => false,
        },
        _ => false,
    };
    let empty = AttributeValue::Text(String::new());
    let gone = || acknowledged.iter().filter(|(name, value)| !wanted.contains_key(*name) && **value != empty).map(|(name, _)| name);
    let changed = wanted.iter().filter(|(name, value)| acknowledged.get(*name) != Some(value)).map(|(name, _)| name);
    if changed.chain(gone()).all(|name| minor(name)) {
        return None;
    }
    Some(wanted.clone().into_iter().chain(gone().map(|name| (name.clone(), empty.clone()))).collect())
}

/// True if Customer.io has not been told of all complaints: for whom a release before unsubscribed that remembered nothing else.
pub(super) fn has_new_complaint(profile: &ProfileRecord, ledger: &LedgerRecord, names: &Names) -> bool {
    let known = names.theirs.get(COMPLAINT_COUNT).and_then(|name| ledger.attributes.get(name));
    matches!(known, Some(AttributeValue::Integer(known)) if *known < i64::from(profile.evaluation.facts.complaint_count))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use aftersend_schemas::identity::{Namespace, Person};
    use aftersend_schemas::profile::{Channel, Facts};

    use super::super::plan::tests::profile;
    use super::*;

    fn attributes(members: &[(&str, AttributeValue)]) -> Attributes {
        members.iter().map(|(name, value)| (format!("p_{name}"), value.clone())).collect()
    }

    fn names(renamed: &[(&str, &str)]) -> Names {
        let attribute_names = renamed.iter().map(|(ours, theirs)| ((*ours).into(), (*theirs).into())).collect();
        Names::new(&Track { attribute_prefix: "p_".into(), attribute_names, ..Track::default() })
    }

    #[test]
    fn every_attribute_can_have_a_name_of_its_own_or_be_left_out() {
        let facts = Facts {
            hard_bounced_at: Some(1),
            bounced_at: Some(1),
            last_bounce_delivery_id: "d".into(),
            complained_at: Some(1),
            unsubscribed_at: Some(1),
            last_click_at: Some(1),
            last_engaged_at: Some(1),
            last_engaged_metric: "clicked".into(),
            ..Facts::default()
        };
        let person = Person { workspace: "default".into(), namespace: Namespace::Id, id: "u".into() };
        let mut everything = profile(person, None);
        (everything.evaluation.facts, everything.evaluation.best_channel) = (facts, Some(Channel::Sms));
        let keys = |names: &Names| wanted(&everything, names).into_keys().collect::<BTreeSet<_>>();
        let plain: BTreeSet<String> = ATTRIBUTES.iter().map(|ours| format!("p_{ours}")).collect();
        assert_eq!(keys(&names(&[])), plain, "each of the list, and nothing else");
        let renamed = names(&[("email_bounced", "email_bounced"), ("deliverability_as_of", "judged"), ("reason", "")]);
        let mut expected = plain;
        for gone in ["p_email_bounced", "p_deliverability_as_of", "p_reason"] {
            assert!(expected.remove(gone));
        }
        expected.extend(["email_bounced".into(), "judged".into()]);
        assert_eq!(keys(&renamed), expected);
        let known = wanted(&everything, &renamed);
        everything.as_of += 60;
        let later = wanted(&everything, &renamed);
        assert_ne!(later, known);
        assert_eq!(difference(&later, &known, &renamed, false), None, "a later time alone");
        assert_eq!(renamed.without_time(&later), renamed.without_time(&known));
    }

    #[test]
    fn only_a_difference_worth_a_call_is_sent() {
        use AttributeValue::{Integer, Text};
        let names = names(&[]);
        let known = attributes(&[(SCORE, Integer(80)), (AS_OF, Integer(1)), ("email_state", Text("healthy".into()))]);
        let same = attributes(&[(SCORE, Integer(84)), (AS_OF, Integer(9)), ("email_state", Text("healthy".into()))]);
        assert_eq!(difference(&same, &known, &names, false), None, "a small step of the score and a later time");
        let lower = attributes(&[(SCORE, Integer(75)), (AS_OF, Integer(9)), ("email_state", Text("healthy".into()))]);
        assert_eq!(difference(&lower, &known, &names, false), Some(lower.clone()));
        let state = attributes(&[(SCORE, Integer(80)), (AS_OF, Integer(9)), ("email_state", Text("watch".into()))]);
        assert_eq!(difference(&state, &known, &names, false), Some(state.clone()));
        let gone = attributes(&[(SCORE, Integer(80)), (AS_OF, Integer(9))]);
        let sent = difference(&gone, &known, &names, false);
        assert_eq!(sent.as_ref().and_then(|sent| sent.get("p_email_state")), Some(&Text(String::new())));
        assert_eq!(difference(&gone, &sent.unwrap_or_default(), &names, false), None, "emptied once");
    }
}
