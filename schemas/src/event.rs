//! One reporting event, read from its bytes: the documented members by name, tolerant of every shape they have been seen in.

use std::borrow::Cow;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::catalogue;
use crate::event_time::EventTime;
use crate::json::{self, NotAnObject, Object};

/// Longest text that is taken for an id: Customer.io's own limit is 150 bytes, and a record's key must not outgrow its record.
pub const ID_BYTES: usize = 512;

/// Something unusual about an event that did not stop it. Kept in the outcome's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// No `event_id`, or one too long for an id; the SHA-256 of the body serves as one.
    EventIdMissing,
    /// No `object_type`; the flat shape is about e-mail.
    ObjectTypeAssumed,
    /// No `data` object; its members were looked for at the top.
    FlatShape,
    /// Customer.io does not document this kind of event.
    Undocumented,
    /// The `timestamp` was unusable, so the time inside the event id counts.
    TimeFromId,
    /// No usable time at all.
    Undated,
    /// `customer_id` and `identifiers.id` name two people.
    IdentifiersDiffer,
    /// It is dated more than five minutes after it arrived: a clock is wrong.
    AheadOfArrival,
}

impl Oddity {
    /// The name used in metadata and as a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventIdMissing => "event_id_missing",
            Self::ObjectTypeAssumed => "object_type_assumed",
            Self::FlatShape => "flat_shape",
            Self::Undocumented => "undocumented",
            Self::TimeFromId => "time_from_id",
            Self::Undated => "undated",
            Self::IdentifiersDiffer => "identifiers_differ",
            Self::AheadOfArrival => "ahead_of_arrival",
        }
    }
}

/// An event, borrowed from its body.
#[derive(Debug)]
pub struct Event<'a> {
    /// Customer.io's id of the event, or the SHA-256 of the body in hex.
    pub event_id: Cow<'a, str>,
    /// Documented types in their documented letter case, others as they came; empty if there is none.
    pub object_type: Cow<'a, str>,
    /// As `object_type`.
    pub metric: Cow<'a, str>,
    /// When it happened.
    pub time: EventTime,
    /// What was unusual.
    pub oddities: Vec<Oddity>,
    top: Object<'a>,
    data: Option<Object<'a>>,
    identifiers: Option<Object<'a>>,
}

impl<'a> Event<'a> {
    /// Reads a body. Fails only where the body is no JSON object; every object gives an event.
    pub fn read(body: &'a [u8]) -> Result<Self, NotAnObject> {
        let top = Object::read(body)?;
        let data = top.object("data");
        let mut oddities = Vec::new();

        let in_data = |name: &str| data.as_ref().and_then(|data| data.text(name));
        let event_id = top.text("event_id").or_else(|| in_data("event_id")).filter(|text| is_id(text)).unwrap_or_else(|| {
            oddities.push(Oddity::EventIdMissing);
            Cow::Owned(hex::encode(Sha256::digest(body)))
        });
        if data.is_none() {
            oddities.push(Oddity::FlatShape);
        }
        let metric = top.text("metric").map(catalogue::canonical_metric).unwrap_or_default();
        let object_type = match top.text("object_type") {
            Some(text) => catalogue::canonical_type(text),
            None if data.is_none() && !metric.is_empty() => {
                oddities.push(Oddity::ObjectTypeAssumed);
                Cow::Borrowed("email")
            }
            None => Cow::default(),
        };
        if !catalogue::is_documented(&object_type, &metric) {
            oddities.push(Oddity::Undocumented);
        }
        let time = EventTime::decide(top.text("timestamp").as_deref(), &event_id);
        match time {
            EventTime::Stated(_) => {}
            EventTime::FromId(_) => oddities.push(Oddity::TimeFromId),
            EventTime::Undated => oddities.push(Oddity::Undated),
        }
        let identifiers = data.as_ref().unwrap_or(&top).object("identifiers");
        Ok(Self { event_id, object_type, metric, time, oddities, top, data, identifiers })
    }

    /// A text of `data` (or of the top, in the flat shape).
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.payload().text(name)
    }

    /// A whole number of `data`.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.payload().integer(name)
    }

    /// A boolean of `data`.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.payload().boolean(name)
    }

    /// A text of `data.identifiers`.
    pub fn identifier(&self, name: &str) -> Option<Cow<'a, str>> {
        self.identifiers.as_ref()?.text(name).filter(|text| is_id(text))
    }

    /// Customer.io's id of the message.
    pub fn delivery_id(&self) -> Option<Cow<'a, str>> {
        self.text("delivery_id").filter(|text| is_id(text))
    }

    /// The workspace's own id of the person: `customer_id`, else `identifiers.id`.
    pub fn customer_id(&self) -> Option<Cow<'a, str>> {
        self.text("customer_id").filter(|text| is_id(text)).or_else(|| self.identifier("id"))
    }

    /// What the provider or Customer.io said; for push, what it said of the first device that failed.
    pub fn failure_message(&self) -> Option<Cow<'a, str>> {
        self.text("failure_message").or_else(|| {
            let devices: Vec<&'a RawValue> = serde_json::from_str(self.payload().get("recipients")?.get()).ok()?;
            devices.into_iter().find_map(|device| Object::of(device)?.get("failure_message").and_then(json::text))
        })
    }

    /// The e-mail address this event is about: the recipient of an e-mail, else what the event says of the person.
    pub fn address(&self) -> Option<Cow<'a, str>> {
        let recipient = if self.object_type == "email" { self.text("recipient") } else { None };
        recipient.or_else(|| self.identifier("email")).or_else(|| self.text("email_address"))
    }

    /// `email_bounced` and the like: type and metric as they stand.
    pub fn event_type(&self) -> String {
        format!("{}_{}", self.object_type, self.metric)
    }

    /// Every member of the top object and of `data`, in that order, with whether it stood in `data`.
    pub fn members(&self) -> impl Iterator<Item = (bool, &str, &'a RawValue)> {
        let top = self.top.members().map(|(name, value)| (self.data.is_none(), name, value));
        let data = self.data.iter().flat_map(Object::members).map(|(name, value)| (true, name, value));
        top.filter(|(_, name, _)| self.data.is_none() || *name != "data").chain(data)
    }

    /// True if `data` has a member of this name.
    pub fn has_in_data(&self, name: &str) -> bool {
        self.data.as_ref().is_some_and(|data| data.has(name))
    }

    /// Members of `data.identifiers` beside the documented ones.
    pub fn other_identifiers(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        let members = self.identifiers.iter().flat_map(Object::members);
        members.filter(|(name, value)| !["id", "email", "cio_id"].contains(name) && value.get() != "null")
    }

    fn payload(&self) -> &Object<'a> {
        self.data.as_ref().unwrap_or(&self.top)
    }
}

fn is_id(text: &str) -> bool {
    text.len() <= ID_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_bounce_speaks_through_its_devices() {
        let body = br#"{"object_type":"push","metric":"bounced","event_id":"e","timestamp":1770000000,
            "data":{"recipients":[{"device_id":"a"},{"device_id":"b","failure_message":"NotRegistered"}]}}"#;
        assert_eq!(Event::read(body).unwrap().failure_message().unwrap(), "NotRegistered");
    }

    #[test]
    fn the_flat_shape_is_about_email() {
        let event = Event::read(br#"{"event_id":"e","metric":"bounced","timestamp":1770009000,"customer_id":"u"}"#).unwrap();
        assert_eq!(event.event_type(), "email_bounced");
        assert_eq!(event.oddities, [Oddity::FlatShape, Oddity::ObjectTypeAssumed]);
    }

    #[test]
    fn an_empty_object_is_an_event_with_the_hash_of_its_body_as_id() {
        let event = Event::read(b"{}").unwrap();
        assert_eq!(event.event_id, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
        assert_eq!(event.time, EventTime::Undated);
    }
}
