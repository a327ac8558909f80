use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::catalogue;

const SAMPLES: &str = include_str!("../../fixtures/samples.jsonl");

/// Every documented kind and the name RudderStack gives it, or (after `+`) the name we give it because RudderStack has none.
const NAMES: &[(&str, &str, &str)] = &[
    ("customer", "subscribed", "Customer Subscribed"),
    ("customer", "unsubscribed", "Customer Unsubscribed"),
    ("customer", "cio_subscription_preferences_changed", "+Customer Subscription Preferences Changed"),
    ("email", "drafted", "Email Drafted"),
    ("email", "attempted", "Email Attempted"),
    ("email", "sent", "Email Sent"),
    ("email", "deferred", "Email Deferred"),
    ("email", "delivered", "Email Delivered"),
    ("email", "opened", "Email Opened"),
    ("email", "clicked", "Email Link Clicked"),
    ("email", "converted", "Email Converted"),
    ("email", "unsubscribed", "Email Unsubscribed"),
    ("email", "bounced", "Email Bounced"),
    ("email", "dropped", "Email Dropped"),
    ("email", "spammed", "Email Marked as Spam"),
    ("email", "failed", "Email Failed"),
    ("email", "undeliverable", "+Email Undeliverable"),
    ("email", "subscribed", "Email Subscribed"),
    ("email", "cio_subscription_preferences_changed", "+Email Subscription Preferences Changed"),
    ("push", "drafted", "Push Drafted"),
    ("push", "attempted", "Push Attempted"),
    ("push", "sent", "Push Sent"),
    ("push", "delivered", "Push Delivered"),
    ("push", "opened", "Push Opened"),
    ("push", "clicked", "Push Link Clicked"),
    ("push", "converted", "Push Converted"),
    ("push", "bounced", "Push Bounced"),
    ("push", "dropped", "Push Dropped"),
    ("push", "failed", "Push Failed"),
    ("push", "undeliverable", "+Push Undeliverable"),
    ("in_app", "drafted", "+In-App Message Drafted"),
    ("in_app", "attempted", "+In-App Message Attempted"),
    ("in_app", "sent", "+In-App Message Sent"),
    ("in_app", "opened", "+In-App Message Opened"),
    ("in_app", "clicked", "+In-App Message Link Clicked"),
    ("in_app", "converted", "+In-App Message Converted"),
    ("in_app", "failed", "+In-App Message Failed"),
    ("in_app", "undeliverable", "+In-App Message Undeliverable"),
    ("sms", "drafted", "SMS Drafted"),
    ("sms", "attempted", "SMS Attempted"),
    ("sms", "sent", "SMS Sent"),
    ("sms", "delivered", "SMS Delivered"),
    ("sms", "clicked", "SMS Link Clicked"),
    ("sms", "converted", "SMS Converted"),
    ("sms", "bounced", "SMS Bounced"),
    ("sms", "dropped", "+SMS Dropped"),
    ("sms", "failed", "SMS Failed"),
    ("sms", "undeliverable", "+SMS Undeliverable"),
    ("sms", "replied", "+SMS Replied"),
    ("whatsapp", "drafted", "+WhatsApp Message Drafted"),
    ("whatsapp", "attempted", "+WhatsApp Message Attempted"),
    ("whatsapp", "sent", "+WhatsApp Message Sent"),
    ("whatsapp", "delivered", "+WhatsApp Message Delivered"),
    ("whatsapp", "opened", "+WhatsApp Message Opened"),
    ("whatsapp", "clicked", "+WhatsApp Message Link Clicked"),
    ("whatsapp", "converted", "+WhatsApp Message Converted"),
    ("whatsapp", "bounced", "+WhatsApp Message Bounced"),
    ("whatsapp", "dropped", "+WhatsApp Message Dropped"),
    ("whatsapp", "failed", "+WhatsApp Message Failed"),
    ("whatsapp", "undeliverable", "+WhatsApp Message Undeliverable"),
    ("whatsapp", "replied", "+WhatsApp Message Replied"),
    ("slack", "drafted", "Slack Message Drafted"),
    ("slack", "attempted", "Slack Message Attempted"),
    ("slack", "sent", "Slack Message Sent"),
    ("slack", "clicked", "Slack Message Link Clicked"),
    ("slack", "converted", "+Slack Message Converted"),
    ("slack", "failed", "Slack Message Failed"),
    ("slack", "undeliverable", "+Slack Message Undeliverable"),
    ("webhook", "drafted", "Webhook Message Drafted"),
    ("webhook", "attempted", "Webhook Message Attempted"),
    ("webhook", "sent", "Webhook Message Sent"),
    ("webhook", "clicked", "Webhook Message Link Clicked"),
    ("webhook", "converted", "+Webhook Message Converted"),
    ("webhook", "failed", "Webhook Message Failed"),
    ("webhook", "undeliverable", "+Webhook Message Undeliverable"),
    // Consent changes carry the channel that caused them.
    ("push", "unsubscribed", "+Push Unsubscribed"),
    ("sms", "unsubscribed", "+SMS Unsubscribed"),
    ("in_app", "cio_subscription_preferences_changed", "+In-App Message Subscription Preferences Changed"),
];

fn of(body: &str) -> Track {
    track(&Event::read(body.as_bytes()).unwrap())
}

/// A message's part as compact JSON.
fn json(part: &impl Serialize) -> String {
    serde_json::to_string(part).unwrap()
}

#[test]
fn every_documented_kind_has_a_name_of_its_own() {
    for (object_type, metric) in catalogue::documented() {
        let consent = ["subscribed", "unsubscribed", "cio_subscription_preferences_changed"].contains(&metric)
            && !["customer", "email"].contains(&object_type);
        let listed = NAMES.iter().any(|(of, name, _)| *of == object_type && *name == metric);
        assert!(listed || consent, "{object_type}/{metric} is not in the table");
    }
    let mut names = std::collections::BTreeSet::new();
    for (object_type, metric, expected) in NAMES {
        assert!(catalogue::is_documented(object_type, metric), "{object_type}/{metric}");
        let expected = expected.trim_start_matches('+');
        for (object_type, metric) in
            [((*object_type).to_owned(), (*metric).to_owned()), (object_type.to_uppercase(), metric.to_uppercase())]
        {
            let track =
                of(&format!(r#"{{"event_id":"e","object_type":"{object_type}","metric":"{metric}","data":{{"customer_id":"u"}}}}"#));
            assert_eq!(track.event, expected);
            assert!(json(&track).starts_with(r#"{"type":"track","messageId":"e","#));
        }
        assert!(names.insert(expected), "{expected} twice");
    }
}

#[test]
fn an_undocumented_kind_is_named_by_its_own_words() {
    for (object_type, metric, expected) in [
        ("inbox", "sent", "Inbox Sent"),
        ("live_notification", "tapped", "Live Notification Tapped"),
        ("email", "re-opened", "Email Re Opened"),
        ("élan", "ßent", "Élan SSent"),
        ("", "sent", "Unknown Event"),
        ("email", "", "Unknown Event"),
        ("_", "sent", "Unknown Event"),
    ] {
        assert_eq!(of(&format!(r#"{{"object_type":"{object_type}","metric":"{metric}","data":{{}}}}"#)).event, expected);
    }
}

/// `UPDATE_FIXTURES=1` writes the file anew; read the difference before committing it.
#[test]
fn the_samples_give_exactly_the_messages_in_the_fixture() {
    let messages: String = SAMPLES.lines().map(|line| json(&of(line)) + "\n").collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rudderstack.jsonl");
    if std::env::var_os("UPDATE_FIXTURES").is_some_and(|value| value == "1") {
        std::fs::write(&path, &messages).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (line, (message, expected)) in messages.lines().zip(expected.lines()).enumerate() {
        assert_eq!(message, expected, "sample {}", line + 1);
    }
    assert_eq!(messages.lines().count(), expected.lines().count());
}

#[test]
fn the_address_is_the_anonymous_id_only_where_there_is_no_id() {
    let ids = |data: &str| {
        let track = of(&format!(r#"{{"object_type":"email","metric":"sent","data":{data}}}"#));
        (track.user_id.unwrap_or_default(), track.anonymous_id.unwrap_or_default())
    };
    let pair = |user: &str, anonymous: &str| (user.to_owned(), anonymous.to_owned());
    assert_eq!(ids(r#"{"customer_id":7,"identifiers":{"id":"i","email":"i@x.example"}}"#), pair("7", ""));
    assert_eq!(ids(r#"{"customer_id":" ","identifiers":{"id":"i"},"recipient":"r@x.example"}"#), pair("i", ""));
    assert_eq!(ids(r#"{"identifiers":{"email":"i@x.example"},"recipient":"r@x.example"}"#), pair("", "i@x.example"));
    assert_eq!(ids(r#"{"recipient":"r@x.example","email_address":"a@x.example"}"#), pair("", "r@x.example"));
    assert_eq!(ids(r#"{"email_address":"a@x.example"}"#), pair("", "a@x.example"));
    assert_eq!(ids(r#"{"identifiers":{"cio_id":"c"}}"#), pair("", ""));
}

#[test]
fn only_an_address_counts_as_one() {
    for (object_type, recipient, traits) in [
        ("email", "r@x.example", r#"{"email":"r@x.example"}"#),
        ("sms", "+15550100123", r#"{"phone":"+15550100123"}"#),
        ("whatsapp", "+15550100123", r#"{"phone":"+15550100123"}"#),
        ("slack", "#general", "null"),
        ("webhook", "https://user@hooks.example/x", "null"),
        ("in_app", "u-1", "null"),
    ] {
        let track = of(&format!(r#"{{"object_type":"{object_type}","metric":"sent","data":{{"recipient":"{recipient}"}}}}"#));
        assert_eq!(json(&track.context.get("traits")), traits);
        assert_eq!(track.anonymous_id.is_some(), object_type == "email");
    }
}

#[test]
fn properties_are_the_listed_members_as_they_came() {
    let track = of(r#"{"event_id":"e","object_type":"push","metric":"bounced","campaign_id":1,"data":{
        "action_id":"118","campaign_id":31,"broadcast_id":2,"broadcast_id":null,"subject":"","href":"app://x","link_id":3,"device_id":"d",
        "recipients":[{"device_id":"d","failure_message":"gone"}],"event_type":"t","tracked_response":"yes","content":"\ud800"}}"#);
    let expected = r#"{"actionId":"118","campaignId":31,"deviceId":"d","emailSubject":"","eventId":"e","link":{"id":3,"url":"app://x"},"reason":"gone","recipients":[{"device_id":"d","failure_message":"gone"}],"type":"t"}"#;
    assert_eq!(json(&track.properties), expected);
    let deep = format!(r#"{{"event_id":"e","data":{{"recipients":{}{}}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(json(&of(&deep).properties), r#"{"eventId":"e"}"#);
}

#[test]
fn all_times_are_the_events_or_absent() {
    for (body, expected) in [
        (r#"{"event_id":"e","timestamp":1770000097}"#, Some("2026-02-02T02:41:37.000Z")),
        (r#"{"event_id":"01KGE4QREDPKK4SFSGH5MT4GQT","timestamp":"abc"}"#, Some("2026-02-02T03:01:01.000Z")),
        (r#"{"event_id":"e","timestamp":"abc"}"#, None),
        ("{}", None),
    ] {
        let message = serde_json::to_value(of(body)).unwrap();
        for name in ["originalTimestamp", "sentAt", "timestamp"] {
            assert_eq!(message.get(name).and_then(Value::as_str), expected, "{name} of {body}");
        }
    }
}

/// Members by names that mean something, with values that mostly do not.
fn objects() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "event_id",
        "object_type",
        "metric",
        "timestamp",
        "data",
        "identifiers",
        "customer_id",
        "id",
        "email",
        "cio_id",
        "recipient",
        "email_address",
        "recipients",
        "failure_message",
        "href",
        "link_id",
        "campaign_id",
        "content",
        "other",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["email", "sms", "sent", "a@b.example", "1770000000", " "]).prop_map(Value::from),
    ];
    let object = |value: BoxedStrategy<Value>| {
        prop::collection::vec((names.clone(), value), 0..10)
            .prop_map(|members| Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
    };
    let list = prop::collection::vec(object(leaf.clone().boxed()), 0..3).prop_map(Value::from);
    let flat = prop_oneof![leaf.clone(), list, object(leaf.boxed())].boxed();
    let data = object(flat.clone()).boxed();
    object(prop_oneof![data, flat].boxed())
}

proptest! {
    #[test]
    fn any_object_gives_a_message_with_ids_by_the_rule(body in objects()) {
        let body = body.to_string();
        let event = Event::read(body.as_bytes()).unwrap();
        let track = track(&event);
        let message: Value = serde_json::from_str(&json(&track)).unwrap();
        prop_assert_eq!(&message["type"], "track");
        prop_assert_eq!(&message["messageId"], event.event_id.as_ref());
        prop_assert_eq!(&message["integrations"], &json!({ "Customer.io": false }));
        prop_assert!(!track.event.is_empty() && !track.message_id.is_empty());
        prop_assert_eq!(track.user_id.clone(), event.customer_id().map(String::from));
        let email = message["context"]["traits"]["email"].as_str();
        prop_assert_eq!(track.anonymous_id.as_deref(), email.filter(|_| track.user_id.is_none()));
        prop_assert_eq!(message.get("originalTimestamp").is_some(), event.time.seconds().is_some());
    }
}
