//! Every kind of event that Customer.io documents, and what each is evidence of. Kinds it does not know are carried as they came.

use std::borrow::Cow;

/// What an event says about a person's mailbox, attention or wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The receiving server took the message: exposure, and proof that the address lives.
    Delivered,
    /// An open: weak, because machines open mail.
    Opened,
    /// A click on a tracked link, or a reply.
    Clicked,
    /// A conversion goal was met.
    Converted,
    /// The provider could not deliver; its text decides how bad that is.
    Bounced,
    /// The provider is still trying.
    Deferred,
    /// Marked as spam by the recipient.
    Complained,
    /// The person does not want to be written to.
    Unsubscribed,
    /// The person wants to be written to again.
    Subscribed,
    /// Says nothing about the person (drafts, hand-over, our own faults, repeats of earlier verdicts).
    None,
}

/// What is reported about one message or person.
struct Metric {
    name: &'static str,
    evidence: Evidence,
    /// The object types that Customer.io documents it for, as bits of [`OBJECT_TYPES`].
    of: u8,
}

/// Documented object types, sorted by name.
pub const OBJECT_TYPES: [&str; 8] = ["customer", "email", "in_app", "push", "slack", "sms", "webhook", "whatsapp"];

const EMAIL: u8 = 1 << 1;
const IN_APP: u8 = 1 << 2;
const PUSH: u8 = 1 << 3;
const SLACK: u8 = 1 << 4;
const SMS: u8 = 1 << 5;
const WEBHOOK: u8 = 1 << 6;
const WHATSAPP: u8 = 1 << 7;
/// Every channel that carries messages.
const MESSAGES: u8 = EMAIL | IN_APP | PUSH | SLACK | SMS | WEBHOOK | WHATSAPP;
/// Consent changes carry, as object type, the channel that caused them, or `customer`.
const ANYTHING: u8 = u8::MAX;

/// Documented metrics, sorted by name.
const METRICS: [Metric; 17] = [
    metric("attempted", Evidence::None, MESSAGES),
    metric("bounced", Evidence::Bounced, EMAIL | PUSH | SMS | WHATSAPP),
    metric("cio_subscription_preferences_changed", Evidence::None, ANYTHING),
    metric("clicked", Evidence::Clicked, MESSAGES),
    metric("converted", Evidence::Converted, MESSAGES),
    metric("deferred", Evidence::Deferred, EMAIL),
    metric("delivered", Evidence::Delivered, EMAIL | PUSH | SMS | WHATSAPP),
    metric("drafted", Evidence::None, MESSAGES),
    metric("dropped", Evidence::None, EMAIL | PUSH | SMS | WHATSAPP),
    metric("failed", Evidence::None, MESSAGES),
    metric("opened", Evidence::Opened, EMAIL | IN_APP | PUSH | WHATSAPP),
    metric("replied", Evidence::Clicked, SMS | WHATSAPP),
    metric("sent", Evidence::None, MESSAGES),
    metric("spammed", Evidence::Complained, EMAIL),
    metric("subscribed", Evidence::Subscribed, ANYTHING),
    metric("undeliverable", Evidence::None, MESSAGES),
    metric("unsubscribed", Evidence::Unsubscribed, ANYTHING),
];

const fn metric(name: &'static str, evidence: Evidence, of: u8) -> Metric {
    Metric { name, evidence, of }
}

fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

fn bit(object_type: &str) -> u8 {
    OBJECT_TYPES.iter().position(|known| *known == object_type).map_or(0, |at| 1 << at)
}

/// Gives a documented object type its documented letter case; anything else stays as it came.
pub fn canonical_type(text: Cow<'_, str>) -> Cow<'_, str> {
    canonical(text, OBJECT_TYPES.into_iter())
}

/// Gives a documented metric its documented letter case; anything else stays as it came.
pub fn canonical_metric(text: Cow<'_, str>) -> Cow<'_, str> {
    canonical(text, METRICS.iter().map(|metric| metric.name))
}

fn canonical<'a>(text: Cow<'a, str>, mut known: impl Iterator<Item = &'static str>) -> Cow<'a, str> {
    let is_usual = text.bytes().all(|byte| !byte.is_ascii_uppercase());
    let documented = if is_usual { None } else { known.find(|name| name.eq_ignore_ascii_case(&text)) };
    documented.map_or(text, Cow::Borrowed)
}

/// True if Customer.io documents this event.
pub fn is_documented(object_type: &str, metric: &str) -> bool {
    find(metric).is_some_and(|metric| metric.of & bit(object_type) != 0)
}

/// Every documented event as (object type, metric).
pub fn documented() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of = |object_type: &'static str| METRICS.iter().filter(move |metric| metric.of & bit(object_type) != 0);
    OBJECT_TYPES.into_iter().flat_map(move |object_type| of(object_type).map(move |metric| (object_type, metric.name)))
}

/// What a metric is evidence of, whatever the channel.
pub fn evidence(metric: &str) -> Evidence {
    find(metric).map_or(Evidence::None, |metric| metric.evidence)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Customer.io's lists: payload schemas, webhook subscriptions, and what older recordings show. Object type, metric, where it is listed.
    const DOCUMENTED: &str = include_str!("../fixtures/documented-events.tsv");

    #[test]
    fn the_catalogue_is_the_documented_list() {
        let listed: BTreeSet<(&str, &str)> = DOCUMENTED
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('\t'))
            .map(|(object_type, rest)| (object_type, rest.split('\t').next().unwrap_or_default()))
            .collect();
        assert_eq!(documented().collect::<BTreeSet<_>>(), listed);
    }

    #[test]
    fn look_ups_find_every_name() {
        assert!(METRICS.is_sorted_by_key(|metric| metric.name));
        assert!(OBJECT_TYPES.is_sorted());
    }

    #[test]
    fn letter_case_is_mended_only_where_the_kind_is_documented() {
        assert_eq!(canonical_type("Email".into()), "email");
        assert_eq!(canonical_metric("Bounced".into()), "bounced");
        assert_eq!(canonical_type("Inbox".into()), "Inbox");
        assert_eq!(canonical_metric("Reacted".into()), "Reacted");
        assert!(!is_documented("inbox", "sent"));
        assert!(!is_documented("email", "reacted"));
    }

    #[test]
    fn only_replies_beyond_the_metric_names_count_as_something_else() {
        let evidence: Vec<_> =
            METRICS.iter().filter(|metric| metric.evidence != Evidence::None).map(|metric| (metric.name, metric.evidence)).collect();
        assert_eq!(
            evidence,
            [
                ("bounced", Evidence::Bounced),
                ("clicked", Evidence::Clicked),
                ("converted", Evidence::Converted),
                ("deferred", Evidence::Deferred),
                ("delivered", Evidence::Delivered),
                ("opened", Evidence::Opened),
                ("replied", Evidence::Clicked),
                ("spammed", Evidence::Complained),
                ("subscribed", Evidence::Subscribed),
                ("unsubscribed", Evidence::Unsubscribed),
            ]
        );
    }
}
