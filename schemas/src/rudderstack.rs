//! An event as RudderStack's Customer.io source would have given it: a `track` message for RudderStack's HTTP API (`/v1/track`, `/v1/batch`).
//!
//! Facts: `src/sources/customerio` and `src/sources/message.js` of github.com/rudderlabs/rudder-transformer at
//! c98d160cfaddc5fe5ddee7891c4f4a23014b9aa8; what the gateway and the processor make of a message: github.com/rudderlabs/rudder-server at
//! f2655fbbe2260deb4e01c2a54da1a827291713bb.
//!
//! As there: every name it has, `userId`, `properties` (only the members it lists; others do not pass), `integrations` and `context`. Elsewhere:
//!
//! * It calls whatever it has no name for `Unknown Event`; here such kinds are named by its own pattern, see [`Track::event`].
//! * It takes every `recipient` for an e-mail address, so that a phone number, a channel or a URL becomes `traits.email` and an `anonymousId`. Here only
//!   the recipient of an e-mail is one; that of a text message is `traits.phone`, others are left out.
//! * A blank `customer_id` is its `userId`, which the gateway then refuses; here it is no id. Ids are texts, as RudderStack's own reference asks.
//! * Its `reason` is meant to take the failure of a push from the list of devices and never does; here it does.
//! * `messageId` and `timestamp` are ours, see there. The time is [`Event::time`]: it understands texts and milliseconds, and where `timestamp` is
//!   unusable or contradicts the event id, that id's time counts.
//! * The flat shape and any letter case are understood; an event without an id goes by the hash of its body.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::event::Event;
use crate::members::Field;

/// Name of the integration: in `context`, and in `integrations` to keep the message from going back to where it came from.
const INTEGRATION: &str = "Customer.io";

/// Members of `data` and the properties they become.
const PROPERTIES: &[(&str, &str)] = &[
    ("action_id", "actionId"),
    ("broadcast_id", "broadcastId"),
    ("campaign_id", "campaignId"),
    ("content", "content"),
    ("content_id", "contentId"),
    ("delivery_id", "deliveryId"),
    ("device_id", "deviceId"),
    ("device_platform", "devicePlatform"),
    ("event_type", "type"),
    ("journey_id", "journeyId"),
    ("newsletter_id", "newsletterId"),
    ("parent_action_id", "parentActionId"),
    ("recipients", "recipients"),
    ("subject", "emailSubject"),
    ("transactional_message_id", "transactionalMessageId"),
    ("trigger_id", "triggerId"),
];

/// Members of `data` that make up the property `link`.
const LINK: &[(&str, &str)] = &[("href", "url"), ("link_id", "id")];

/// A `track` message. Holds addresses in clear, and with Body Content on the whole mail.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "track", rename_all = "camelCase")]
pub struct Track {
    /// The event's id, so that a repeat collapses wherever RudderStack deduplicates; without one the gateway would give each copy an id of its own.
    pub message_id: String,
    /// `Email Bounced` and the like. Kinds RudderStack does not know have names of the same pattern (`In-App Message Sent`, `WhatsApp Message Sent`,
    /// `SMS Replied`, `Email Undeliverable`, `Email Subscription Preferences Changed`), undocumented ones the words they came with. `Unknown Event` is what
    /// has no type or no metric.
    pub event: String,
    /// `customer_id`, else `identifiers.id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The e-mail address (`traits.email`), only where there is no `user_id`. The gateway refuses a message that has neither, and the batch it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_id: Option<String>,
    /// When it happened, in ISO 8601 with milliseconds; nothing for undated events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_timestamp: Option<String>,
    /// The same time, as the source has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<String>,
    /// The same time: from the other two, which are equal, RudderStack would conclude that it happened on arrival, wrong by days after an outage or in a
    /// replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// `library`, `integration` and, where anything is known of the person, `traits`.
    pub context: Map<String, Value>,
    /// `eventId`, `reason`, `link` and the members that RudderStack lists, as they came. Null, and what no reader of JSON would take, is left out.
    pub properties: Map<String, Value>,
    /// Keeps the message from RudderStack's Customer.io destination.
    pub integrations: Map<String, Value>,
}

/// The message of an event. Every event has one.
pub fn track(event: &Event<'_>) -> Track {
    let email = event.identifier(Field::Email).or_else(|| event.address());
    let user_id = event.customer_id();
    let anonymous_id = if user_id.is_none() { email.clone() } else { None };
    let time = event.time.seconds().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()).map(|time| format!("{time:.3}"));

    let mut context = object([
        ("library", Some(json!({ "name": "unknown", "version": "unknown" }))),
        ("integration", Some(json!({ "name": INTEGRATION }))),
    ]);
    let phone = if matches!(event.object_type.as_ref(), "sms" | "whatsapp") { event.text(Field::Recipient) } else { None };
    let traits = [("email", email), ("cioId", event.cio_id()), ("phone", phone)];
    let traits = object(traits.map(|(name, text)| (name, text.map(Value::from))));
    if !traits.is_empty() {
        context.insert("traits".to_owned(), Value::Object(traits));
    }

    let mut properties = members(event, PROPERTIES);
    let link = members(event, LINK);
    properties.extend(object([
        ("eventId", Some(Value::from(event.event_id.as_ref()))),
        ("reason", event.failure_message().map(Value::from)),
        ("link", (!link.is_empty()).then_some(Value::Object(link))),
    ]));

    Track {
        message_id: event.event_id.clone().into_owned(),
        event: name(&event.object_type, &event.metric),
        user_id: user_id.map(String::from),
        anonymous_id: anonymous_id.map(String::from),
        original_timestamp: time.clone(),
        sent_at: time.clone(),
        timestamp: time,
        context,
        properties,
        integrations: object([(INTEGRATION, Some(Value::Bool(false)))]),
    }
}

fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Map<String, Value> {
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The members of `data` that stand in `names`, under their new names. Of a repeated member the last counts, even if it is null.
fn members(event: &Event<'_>, names: &[(&str, &str)]) -> Map<String, Value> {
    let mut found = Map::new();
    for member in event.members().filter(|member| member.scope() == event.payload()) {
        let Some(listed) = member.name().string() else { continue };
        if let Some((_, name)) = names.iter().find(|(in_data, _)| *in_data == listed) {
            found.insert((*name).to_owned(), serde_json::from_str(member.value().get()).unwrap_or_default());
        }
    }
    found.retain(|_, value| !value.is_null());
    found
}

fn name(object_type: &str, metric: &str) -> String {
    let what = match object_type {
        "sms" => "SMS".to_owned(),
        "in_app" => "In-App Message".to_owned(),
        "whatsapp" => "WhatsApp Message".to_owned(),
        "slack" => "Slack Message".to_owned(),
        "webhook" => "Webhook Message".to_owned(),
        other => words(other),
    };
    let happened = match metric {
        "clicked" => "Link Clicked".to_owned(),
        "spammed" => "Marked as Spam".to_owned(),
        "cio_subscription_preferences_changed" => "Subscription Preferences Changed".to_owned(),
        other => words(other),
    };
    if what.is_empty() || happened.is_empty() { "Unknown Event".to_owned() } else { format!("{what} {happened}") }
}

/// `live_notification` as `Live Notification`.
fn words(text: &str) -> String {
    let words = text.split(|c: char| c == '_' || c == '-' || c.is_whitespace()).filter(|word| !word.is_empty());
    let capitalised = words.map(|word| {
        let mut letters = word.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect::<String>()
    });
    capitalised.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
