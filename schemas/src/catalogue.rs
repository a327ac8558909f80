//! Every kind of event that Customer.io documents, and what each is evidence of. Kinds it does not know are carried as they came.

use std::borrow::Cow;

/// What an event says about a person's mailbox, attention or wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The receiving server took the message: exposure, and proof that the address lives.
    Delivered,
    /// An open: weak, because machines open mail.
    Opened,
    /// A click on a tracked link.
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

/// `(object_type, metrics)` of every documented event.
pub const DOCUMENTED: &[(&str, &[&str])] = &[
    ("customer", &["subscribed", "unsubscribed", "cio_subscription_preferences_changed"]),
    (
        "email",
        &[
            "drafted",
            "attempted",
            "sent",
            "deferred",
            "delivered",
            "opened",
            "clicked",
            "converted",
            "unsubscribed",
            "bounced",
            "dropped",
            "spammed",
            "failed",
            "undeliverable",
            "subscribed",
            "cio_subscription_preferences_changed",
        ],
    ),
    (
        "push",
        &["drafted", "attempted", "sent", "delivered", "opened", "clicked", "converted", "bounced", "dropped", "failed", "undeliverable"],
    ),
    ("in_app", &["drafted", "attempted", "sent", "opened", "clicked", "converted", "failed", "undeliverable"]),
    (
        "sms",
        &["drafted", "attempted", "sent", "delivered", "clicked", "converted", "bounced", "dropped", "failed", "undeliverable", "replied"],
    ),
    (
        "whatsapp",
        &[
            "drafted",
            "attempted",
            "sent",
            "delivered",
            "opened",
            "clicked",
            "converted",
            "bounced",
            "dropped",
            "failed",
            "undeliverable",
            "replied",
        ],
    ),
    ("slack", &["drafted", "attempted", "sent", "clicked", "converted", "failed", "undeliverable"]),
    ("webhook", &["drafted", "attempted", "sent", "clicked", "converted", "failed", "undeliverable"]),
];

/// Consent changes carry, as object type, the channel that caused them.
const ANY_CHANNEL: &[&str] = &["subscribed", "unsubscribed", "cio_subscription_preferences_changed"];

/// Gives a documented object type its documented letter case; anything else stays as it came.
pub fn canonical_type(text: Cow<'_, str>) -> Cow<'_, str> {
    canonical(text, DOCUMENTED.iter().map(|(object_type, _)| *object_type))
}

/// Gives a documented metric its documented letter case; anything else stays as it came.
pub fn canonical_metric(text: Cow<'_, str>) -> Cow<'_, str> {
    canonical(text, DOCUMENTED.iter().flat_map(|(_, metrics)| metrics.iter().copied()))
}

fn canonical<'a>(text: Cow<'a, str>, mut names: impl Iterator<Item = &'static str>) -> Cow<'a, str> {
    match names.find(|name| name.eq_ignore_ascii_case(&text)) {
        Some(name) => Cow::Borrowed(name),
        None => text,
    }
}

/// True if Customer.io documents this event.
pub fn is_documented(object_type: &str, metric: &str) -> bool {
    DOCUMENTED.iter().any(|(known, metrics)| *known == object_type && (metrics.contains(&metric) || ANY_CHANNEL.contains(&metric)))
}

/// What a metric is evidence of, whatever the channel.
pub fn evidence(metric: &str) -> Evidence {
    match metric {
        "delivered" => Evidence::Delivered,
        "opened" => Evidence::Opened,
        "clicked" | "replied" => Evidence::Clicked,
        "converted" => Evidence::Converted,
        "bounced" => Evidence::Bounced,
        "deferred" => Evidence::Deferred,
        "spammed" => Evidence::Complained,
        "unsubscribed" => Evidence::Unsubscribed,
        "subscribed" => Evidence::Subscribed,
        _ => Evidence::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letter_case_is_mended_only_where_the_kind_is_documented() {
        assert_eq!(canonical_type("Email".into()), "email");
        assert_eq!(canonical_metric("Bounced".into()), "bounced");
        assert_eq!(canonical_type("Inbox".into()), "Inbox");
        assert_eq!(canonical_metric("Reacted".into()), "Reacted");
    }

    #[test]
    fn consent_changes_are_documented_for_every_channel() {
        for (channel, _) in DOCUMENTED {
            assert!(is_documented(channel, "unsubscribed"), "{channel}");
        }
        assert!(!is_documented("inbox", "sent"));
        assert!(!is_documented("email", "reacted"));
    }
}
