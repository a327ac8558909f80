//! From a record of `raw` to rows: pure, and always successful where the body is a JSON object.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::address::{self, Address};
use crate::bounce;
use crate::event::{Event, Oddity};
use crate::event_time::EventTime;
use crate::headers::Received;
use crate::identity;
use crate::json::{NotAnObject, Object};
use crate::privacy::Privacy;
use crate::rows::{MessageOutcome, Position};

/// Members that have a column of their own, or that may hold personal data and are left to the original bytes.
const NOT_IN_METADATA: &[&str] =
    &["event_id", "object_type", "metric", "customer_id", "delivery_id", "failure_message", "href", "recipient", "email_address"];
/// Members of `sent` events that hold the whole mail.
const WHOLE_MAIL: &[&str] = &["content", "headers"];
/// Columns of numeric ids; an id that is no number stays in the metadata.
const NUMERIC_IDS: &[&str] = &["campaign_id", "broadcast_id", "newsletter_id", "transactional_message_id", "action_id"];
/// Difference of clocks that is not worth a word, milliseconds.
const CLOCK_MS: i64 = 300_000;
/// Member of the metadata that lists what was unusual about the event.
const ODDITIES: &str = "aftersend_oddities";

/// What is needed to turn bodies into rows.
#[derive(Clone)]
pub struct Normaliser {
    /// What happens to addresses.
    pub privacy: Privacy,
}

impl Normaliser {
    /// The row of an event. Fails only for a body that ingest would have sent to `dead`.
    pub fn outcome(&self, body: &[u8], received: &Received, position: &Position<'_>, epoch: u32) -> Result<MessageOutcome, NotAnObject> {
        let event = Event::read(body)?;
        let address = event.address().and_then(|text| Address::read(&text));
        let failure_message = event.failure_message();
        let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned).unwrap_or_default();
        let id = |name: &str| event.integer(name).and_then(|id| u64::try_from(id).ok());
        Ok(MessageOutcome {
            event_id: event.event_id.clone().into_owned(),
            event_type: event.event_type(),
            channel: event.object_type.clone().into_owned(),
            metric: event.metric.clone().into_owned(),
            timestamp: event.time.seconds().and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or_default(),
            customer_id: owned(event.customer_id()),
            cio_id: owned(event.identifier("cio_id")),
            message_id: owned(event.delivery_id()),
            campaign_id: id("campaign_id"),
            broadcast_id: id("broadcast_id"),
            newsletter_id: id("newsletter_id"),
            transactional_message_id: id("transactional_message_id"),
            action_id: id("action_id"),
            bounce_class: bounce_class(&event, failure_message.as_deref()).map_or("", bounce::BounceClass::as_str).to_owned(),
            failure_message: failure_message.map(|text| self.shown(&text).into_owned()).unwrap_or_default(),
            href: event.text("href").map(|text| self.shown(&text).into_owned()).unwrap_or_default(),
            recipient_domain: address.as_ref().map(|address| address.domain().to_owned()).unwrap_or_default(),
            mailbox_provider: address.as_ref().map(|address| address.provider().to_owned()).unwrap_or_default(),
            email_hash: address.and_then(|address| self.privacy.hash(&address, event.time.seconds())).unwrap_or_default(),
            metadata: self.metadata(&event, received),
            source: received.source.clone(),
            received_at: received.received_at,
            src_topic: position.topic.to_owned(),
            src_partition: position.partition_u32(),
            src_offset: position.offset_u64(),
            workspace: received.workspace.clone(),
            epoch,
        })
    }

    fn shown<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.privacy.keeps_clear_text() { Cow::Borrowed(text) } else { address::mask(text) }
    }

    fn metadata(&self, event: &Event<'_>, received: &Received) -> String {
        let mut rest: BTreeMap<String, Cow<'_, str>> = BTreeMap::new();
        for (in_data, name, value) in event.members() {
            let name = if self.privacy.keeps_clear_text() { Cow::Borrowed(name) } else { address::mask(name) };
            if self.has_a_column(event, &name, value) {
                continue;
            }
            let value = if self.privacy.keeps_clear_text() { Cow::Borrowed(value.get()) } else { address::mask_json(value.get()) };
            // A name that stands both at the top and in data keeps both values.
            let both = !in_data && event.has_in_data(&name);
            rest.insert(if both { format!("top.{name}") } else { name.into_owned() }, value);
        }
        for (name, value) in event.other_identifiers() {
            let value = if self.privacy.keeps_clear_text() { Cow::Borrowed(value.get()) } else { address::mask_json(value.get()) };
            rest.insert(format!("identifiers.{}", address::mask(name)), value);
        }
        if self.privacy.keeps_clear_text() {
            for name in ["recipient", "email_address"] {
                if let Some(text) = event.text(name).and_then(|text| serde_json::to_string(&text).ok()) {
                    rest.insert(name.to_owned(), Cow::Owned(text));
                }
            }
        }
        let mut oddities: Vec<&str> = event.oddities.iter().map(|oddity| oddity.as_str()).collect();
        if event.time.seconds().is_some_and(|at| at * 1000 > received.received_at + CLOCK_MS) {
            oddities.push(Oddity::AheadOfArrival.as_str());
        }
        if identity::identifiers_differ(event) {
            oddities.push(Oddity::IdentifiersDiffer.as_str());
            if let Some(text) = event.identifier("id").and_then(|id| serde_json::to_string(&id).ok()) {
                rest.insert("identifiers_id".to_owned(), Cow::Owned(text));
            }
        }
        if !oddities.is_empty() {
            rest.insert(ODDITIES.to_owned(), Cow::Owned(serde_json::json!(oddities).to_string()));
        }
        let members: Vec<String> =
            rest.iter().map(|(name, value)| format!("{}:{value}", serde_json::Value::String(name.clone()))).collect();
        format!("{{{}}}", members.join(","))
    }

    fn has_a_column(&self, event: &Event<'_>, name: &str, value: &RawValue) -> bool {
        let is_read = match name {
            // What is no object has not been read into columns.
            "data" | "identifiers" => Object::of(value).is_some(),
            "timestamp" => matches!(event.time, EventTime::Stated(_)),
            name if NUMERIC_IDS.contains(&name) => event.integer(name).is_some_and(|id| id >= 0),
            name => NOT_IN_METADATA.contains(&name) || event.metric == "sent" && WHOLE_MAIL.contains(&name),
        };
        is_read || value.get() == "null"
    }
}

/// The class of what went wrong, where something did: of the text, else of the metric alone.
pub fn bounce_class(event: &Event<'_>, failure_message: Option<&str>) -> Option<bounce::BounceClass> {
    match (failure_message, event.metric.as_ref()) {
        (Some(text), _) => Some(bounce::Table::builtin().classify_for(&event.object_type, text).class),
        (None, "bounced" | "deferred") => Some(bounce::BounceClass::Undetermined),
        (None, "dropped") => Some(bounce::BounceClass::Suppressed),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::privacy;

    fn outcome(body: &[u8]) -> Result<MessageOutcome, NotAnObject> {
        let position = Position { topic: "aftersend.raw", partition: 3, offset: 7 };
        Normaliser { privacy: privacy::for_tests() }.outcome(
            body,
            &Received { received_at: 1_770_000_000_000, ..Received::default() },
            &position,
            0,
        )
    }

    #[test]
    fn what_has_no_column_is_kept_in_the_metadata() {
        let row = outcome(
            br#"{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000000,"extra":{"a":[1,"x@y.example"]},
                "data":{"customer_id":"u","campaign_id":"not a number","action_id":-1,"newsletter_id":7,"recipient":"x@y.example","content":"<html>",
                "extra":2,"identifiers":{"id":"u","phone":"+15550100","email":"x@y.example"}}}"#,
        )
        .unwrap();
        assert_eq!(
            row.metadata,
            r#"{"action_id":-1,"campaign_id":"not a number","extra":2,"identifiers.phone":"+15550100","top.extra":{"a":[1,"[address]"]}}"#,
            "a name that stands at the top and in data keeps both"
        );
        assert_eq!((row.newsletter_id, row.campaign_id), (Some(7), None));
        let ahead = outcome(br#"{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000301,"data":{}}"#).unwrap();
        assert_eq!(ahead.metadata, r#"{"aftersend_oddities":["ahead_of_arrival"]}"#);
        let odd = outcome(br#"{"event_id":"e","data":[1,2],"identifiers":"none"}"#).unwrap();
        assert!(odd.metadata.contains(r#""data":[1,2]"#) && odd.metadata.contains(r#""identifiers":"none""#), "{}", odd.metadata);
    }

    proptest! {
        #[test]
        fn any_object_gives_a_row_whose_metadata_is_json_without_addresses(
            values in prop::collection::vec((
                prop::sample::select(vec!["event_id", "metric", "object_type", "timestamp", "data", "customer_id", "campaign_id", "href",
                    "failure_message", "identifiers", "recipient", "other"]),
                prop_oneof![
                    Just(serde_json::json!(null)), Just(serde_json::json!("a@b.example")), any::<f64>().prop_map(|n| serde_json::json!(n)),
                    any::<i64>().prop_map(|n| serde_json::json!(n)), ".{0,20}".prop_map(|s| serde_json::json!(s)),
                    Just(serde_json::json!({"id": "x", "customer_id": 5, "deep": {"to": "c@d.example"}})), Just(serde_json::json!([[1], {}])),
                ],
            ), 0..12),
        ) {
            let members: Vec<String> = values.iter().map(|(name, value)| format!("{}:{value}", serde_json::json!(name))).collect();
            let body = format!("{{{}}}", members.join(","));
            let row = outcome(body.as_bytes()).unwrap();
            let metadata: Result<serde_json::Value, _> = serde_json::from_str(&row.metadata);
            prop_assert!(metadata.is_ok_and(|metadata| metadata.is_object()), "{}", row.metadata);
            prop_assert!(!row.metadata.contains("b.example") && !row.metadata.contains("d.example"), "{}", row.metadata);
            prop_assert!(!row.event_id.is_empty());
        }

        #[test]
        fn any_bytes_give_a_row_or_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = outcome(&bytes);
        }
    }
}
