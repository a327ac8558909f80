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
use crate::json::NotAnObject;
use crate::privacy::Privacy;
use crate::rows::{MessageOutcome, Position};

/// Members that have a column of their own, or that may hold personal data and are left to the original bytes.
const NOT_IN_METADATA: &[&str] = &[
    "event_id",
    "object_type",
    "metric",
    "data",
    "identifiers",
    "customer_id",
    "delivery_id",
    "failure_message",
    "href",
    "recipient",
    "email_address",
];
/// Members of `sent` events that hold the whole mail.
const WHOLE_MAIL: &[&str] = &["content", "headers"];
/// Columns of numeric ids; an id that is no number stays in the metadata.
const NUMERIC_IDS: &[&str] = &["campaign_id", "broadcast_id", "newsletter_id", "transactional_message_id", "action_id"];
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
            metadata: self.metadata(&event),
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

    fn metadata(&self, event: &Event<'_>) -> String {
        let mut rest: BTreeMap<String, Cow<'_, str>> = BTreeMap::new();
        for (in_data, name, value) in event.members() {
            let name = if self.privacy.keeps_clear_text() { Cow::Borrowed(name) } else { address::mask(name) };
            if self.has_a_column(event, &name, value) {
                continue;
            }
            let value = if self.privacy.keeps_clear_text() { Cow::Borrowed(value.get()) } else { address::mask_json(value.get()) };
            // A name that stands both at the top and in data keeps both values.
            let name = if in_data || !rest.contains_key(name.as_ref()) { name.into_owned() } else { format!("top.{name}") };
            rest.insert(name, value);
        }
        if self.privacy.keeps_clear_text() {
            for name in ["recipient", "email_address"] {
                if let Some(text) = event.text(name).and_then(|text| serde_json::to_string(&text).ok()) {
                    rest.insert(name.to_owned(), Cow::Owned(text));
                }
            }
        }
        let mut oddities: Vec<&str> = event.oddities.iter().map(|oddity| oddity.as_str()).collect();
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
        NOT_IN_METADATA.contains(&name)
            || event.metric == "sent" && WHOLE_MAIL.contains(&name)
            || value.get() == "null"
            || name == "timestamp" && matches!(event.time, EventTime::Stated(_))
            || NUMERIC_IDS.contains(&name) && event.integer(name).is_some_and(|id| id >= 0)
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
