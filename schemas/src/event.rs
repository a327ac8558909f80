//! One reporting event, read from its bytes: the documented members by name, tolerant of every shape they have been seen in.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::address::{self, Address};
use crate::ascii::letters_digits_and;
use crate::catalogue;
use crate::event_time::EventTime;
use crate::json::{self, NotAnObject, Value};
use crate::members::{Field, Member, Members, Scope};
use crate::oddity::{Oddities, Oddity};

/// Difference of clocks that is not worth a word, milliseconds.
const CLOCK_MS: i64 = 300_000;

/// Longest text that is taken for an id: Customer.io's own limit is 150 bytes, and a record's key must not outgrow its record.
pub const ID_BYTES: usize = 512;

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
    pub oddities: Oddities,
    members: Members<'a>,
    /// `Data`, or `Top` for the flat shape.
    payload: Scope,
    ids: Ids<'a>,
}

/// The ids of an event, each asked for several times.
#[derive(Debug, Default)]
struct Ids<'a> {
    customer: Option<Cow<'a, str>>,
    cio: Option<Cow<'a, str>>,
    delivery: Option<Cow<'a, str>>,
}

impl<'a> Event<'a> {
    /// Reads a body. Fails only where the body is no JSON object; every object gives an event.
    ///
    /// Allocates nothing for events of documented shape.
    #[inline]
    pub fn read(body: &'a [u8]) -> Result<Self, NotAnObject> {
        let mut members = Members::of(json::object_source(body)?);
        members.fill().ok_or(NotAnObject::NotJson)?;
        let mut oddities = Oddities::default();
        let has_data = members.get(Scope::Top, Field::Data).is_some_and(Value::is_object);
        let payload = if has_data { Scope::Data } else { Scope::Top };
        if !has_data {
            oddities.insert(Oddity::FlatShape);
        }
        let event_id = [Scope::Top, Scope::Data]
            .into_iter()
            .find_map(|scope| members.text(scope, Field::EventId).filter(|text| is_made_by_customer_io(text)));
        let event_id = event_id.unwrap_or_else(|| {
            oddities.insert(Oddity::EventIdMissing);
            Cow::Owned(hex::encode(Sha256::digest(body)))
        });
        let metric = members.text(Scope::Top, Field::Metric).map(catalogue::canonical_metric).unwrap_or_default();
        let object_type = match members.text(Scope::Top, Field::ObjectType) {
            Some(text) => catalogue::canonical_type(text),
            None if !has_data && !metric.is_empty() => {
                oddities.insert(Oddity::ObjectTypeAssumed);
                Cow::Borrowed("email")
            }
            None => Cow::default(),
        };
        if !catalogue::is_documented(&object_type, &metric) {
            oddities.insert(Oddity::Undocumented);
        }
        if members.has_repeats() {
            oddities.insert(Oddity::RepeatedMember);
        }
        let time = EventTime::decide(members.text(Scope::Top, Field::Timestamp).as_deref(), &event_id);
        match time {
            EventTime::Stated(_) => {}
            EventTime::Converted(_) => oddities.insert(Oddity::TimeConverted),
            EventTime::FromId(_) => oddities.insert(Oddity::TimeFromId),
            EventTime::Undated => oddities.insert(Oddity::Undated),
        }
        let mut event = Self { event_id, object_type, metric, time, oddities, members, payload, ids: Ids::default() };
        event.read_ids();
        Ok(event)
    }

    /// Decides what the ids are, and flags what stands where one should and is none.
    #[inline]
    fn read_ids(&mut self) {
        let (id, customer_id) = (self.identifier(Field::Id), self.text(Field::CustomerId));
        if matches!((&customer_id, &id), (Some(a), Some(b)) if a != b) {
            self.oddities.insert(Oddity::IdentifiersDiffer);
        }
        let customer_id = customer_id.filter(|text| is_id(text));
        let cio = self.identifier(Field::CioId).filter(|text| is_made_by_customer_io(text));
        let delivery = self.text(Field::DeliveryId).filter(|text| is_made_by_customer_io(text));
        let has = |scope, field| self.members.get(scope, field).is_some_and(|value| !value.is_blank());
        if customer_id.is_none() && has(self.payload, Field::CustomerId)
            || id.is_none() && has(self.identifiers(), Field::Id)
            || cio.is_none() && has(self.identifiers(), Field::CioId)
            || delivery.is_none() && has(self.payload, Field::DeliveryId)
        {
            self.oddities.insert(Oddity::IdUnusable);
        }
        self.ids = Ids { customer: customer_id.or(id), cio, delivery };
    }

    /// A value of `data` (or of the top, in the flat shape).
    pub fn value(&self, field: Field) -> Option<Value<'a>> {
        self.members.get(self.payload, field)
    }

    /// A text of `data`.
    pub fn text(&self, field: Field) -> Option<Cow<'a, str>> {
        self.value(field)?.text()
    }

    /// A whole number of `data`.
    pub fn integer(&self, field: Field) -> Option<i64> {
        self.value(field)?.integer()
    }

    /// A boolean of `data`.
    pub fn boolean(&self, field: Field) -> Option<bool> {
        self.value(field)?.boolean()
    }

    /// A text of `data.identifiers`.
    pub fn identifier(&self, field: Field) -> Option<Cow<'a, str>> {
        self.members.text(self.identifiers(), field).filter(|text| is_id(text))
    }

    /// Customer.io's id of the message.
    pub fn delivery_id(&self) -> Option<Cow<'a, str>> {
        self.ids.delivery.clone()
    }

    /// Customer.io's id of the person, without a prefix.
    pub fn cio_id(&self) -> Option<Cow<'a, str>> {
        self.ids.cio.clone()
    }

    /// The workspace's own id of the person: `customer_id`, else `identifiers.id`.
    pub fn customer_id(&self) -> Option<Cow<'a, str>> {
        self.ids.customer.clone()
    }

    /// What the provider or Customer.io said; for push, what it said of the first device that failed.
    pub fn failure_message(&self) -> Option<Cow<'a, str>> {
        let of_device = |device: Value<'a>| device.member(Field::FailureMessage.as_str())?.text();
        self.text(Field::FailureMessage).or_else(|| self.devices().find_map(of_device))
    }

    /// Ids of the devices of a push, each with whether the event says why it failed there.
    pub fn devices_and_failures(&self) -> impl Iterator<Item = (Cow<'a, str>, bool)> {
        let id = |device: &Value<'a>| device.member("device_id")?.text();
        self.devices().filter_map(move |device| {
            Some((id(&device)?, device.member(Field::FailureMessage.as_str()).is_some_and(|why| !why.is_blank())))
        })
    }

    fn devices(&self) -> impl Iterator<Item = Value<'a>> {
        // One device may stand without its list.
        self.value(Field::Recipients).into_iter().flat_map(|devices| devices.items().chain(devices.is_object().then_some(devices)))
    }

    /// The e-mail address this event is about: the recipient of an e-mail, else what the event says of the person.
    pub fn address(&self) -> Option<Cow<'a, str>> {
        let recipient = if self.object_type == "email" { self.text(Field::Recipient) } else { None };
        recipient.or_else(|| self.identifier(Field::Email)).or_else(|| self.text(Field::EmailAddress))
    }

    /// True if a mail went to more than one address: of which it failed, the event does not say.
    pub fn went_to_several(&self) -> bool {
        let Some(recipient) = self.text(Field::Recipient).filter(|_| self.object_type == "email") else { return false };
        let of_event = Address::read(&recipient);
        // Each at sign with what stands around it, up to the next ones.
        let (mut from, mut previous) = (0, None);
        for (at, sign) in recipient.match_indices(address::AT_SIGNS) {
            if let Some(behind) = previous {
                if Address::read(&recipient[from..at]).is_some_and(|address| of_event.as_ref() != Some(&address)) {
                    return true;
                }
                from = behind;
            }
            previous = Some(at + sign.len());
        }
        false
    }

    /// The e-mail address of the person: what the event says of them, else the one it is about.
    pub fn address_of_person(&self) -> Option<Address> {
        let read = |text: Option<Cow<'a, str>>| text.and_then(|text| Address::read(&text));
        read(self.identifier(Field::Email)).or_else(|| read(self.address()))
    }

    /// True unless this was sent to something else than a mailbox: then the address is only one of the person's.
    pub fn is_of_a_mailbox(&self) -> bool {
        !matches!(self.object_type.as_ref(), "push" | "sms" | "whatsapp" | "in_app" | "slack" | "webhook")
    }

    /// Flags what is dated ahead of its arrival (Unix milliseconds).
    pub fn arrived(&mut self, received_at: i64) {
        if self.time.seconds().is_some_and(|at| at.saturating_mul(1000) > received_at.saturating_add(CLOCK_MS)) {
            self.oddities.insert(Oddity::AheadOfArrival);
        }
    }

    /// True if a machine opened or clicked, as far as Customer.io can tell: an open that was prefetched, a click marked so.
    pub fn by_machine(&self) -> bool {
        match self.metric.as_ref() {
            "opened" => self.boolean(Field::Prefetched) == Some(true),
            "clicked" => self.boolean(Field::Machine) == Some(true),
            _ => false,
        }
    }

    /// `email_bounced` and the like: type and metric as they stand.
    pub fn event_type(&self) -> String {
        let mut event_type = String::with_capacity(self.object_type.len() + 1 + self.metric.len());
        event_type.push_str(&self.object_type);
        event_type.push('_');
        event_type.push_str(&self.metric);
        event_type
    }

    /// Every member that counts, as it came.
    pub fn members(&self) -> impl Iterator<Item = Member<'a>> {
        self.members.iter()
    }

    /// Where the members that are about the message stand.
    pub fn payload(&self) -> Scope {
        self.payload
    }

    /// Where the members that are about the person stand.
    pub fn identifiers(&self) -> Scope {
        if self.payload == Scope::Data { Scope::Identifiers } else { Scope::TopIdentifiers }
    }
}

/// True for what can be an id of Customer.io's making: no address is in any of them, however it is written.
fn is_made_by_customer_io(text: &str) -> bool {
    let is_plain = || text.bytes().all(|byte| OF_IDS[usize::from(byte)]);
    let holds_address = || text.contains('@') || matches!(address::mask(text), Cow::Owned(_));
    is_id(text) && (is_plain() || !holds_address())
}

/// What Customer.io makes ids of: ASCII letters, digits, hyphens, underscores, equals signs.
const OF_IDS: [bool; 256] = letters_digits_and(b"-_=");

/// True for texts short enough to be an id.
pub(crate) fn is_id(text: &str) -> bool {
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
        let event =
            Event::read(br#"{"event_id":"e","metric":"bounced","timestamp":1770009000,"customer_id":"u","identifiers":{"cio_id":"c"}}"#)
                .unwrap();
        assert_eq!(event.event_type(), "email_bounced");
        assert_eq!(event.oddities.iter().collect::<Vec<_>>(), [Oddity::FlatShape, Oddity::ObjectTypeAssumed]);
        assert_eq!(event.identifier(Field::CioId).unwrap(), "c");
    }

    #[test]
    fn an_empty_object_is_an_event_with_the_hash_of_its_body_as_id() {
        let event = Event::read(b"{}").unwrap();
        assert_eq!(event.event_id, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
        assert_eq!(event.time, EventTime::Undated);
    }

    #[test]
    fn a_mail_to_several_addresses_says_so() {
        let several = |recipient: &str| {
            Event::read(serde_json::json!({"object_type": "email", "data": {"recipient": recipient}}).to_string().as_bytes())
                .unwrap()
                .went_to_several()
        };
        for recipient in [
            "a@d.example, b@d.example",
            "b@d.example, a@d.example, a@d.example",
            "a@d.example b@d.example",
            "<a@d.example>;<b@e.example>",
            "a\u{ff20}d.example,b@d.example",
        ] {
            assert!(several(recipient), "{recipient}");
        }
        for recipient in
            ["a@d.example", "\"a@d.example\" <A@d.example>", "Lee, Ann <a@d.example>", "<@r.example:a@d.example>", "a@", "", "@@"]
        {
            assert!(!several(recipient), "{recipient}");
        }
    }

    #[test]
    fn an_open_or_click_by_a_machine_says_so() {
        let by_machine = |metric: &str, data: &str| {
            Event::read(format!(r#"{{"object_type":"email","metric":"{metric}","data":{data}}}"#).as_bytes()).unwrap().by_machine()
        };
        assert!(by_machine("opened", r#"{"prefetched":true}"#));
        assert!(!by_machine("opened", r#"{"proxied":true,"machine":true}"#), "a proxy fetches for people too");
        assert!(by_machine("clicked", r#"{"machine":true}"#));
        assert!(by_machine("clicked", r#"{"machine":"true"}"#) && by_machine("clicked", r#"{"machine":1}"#));
        assert!(!by_machine("clicked", r#"{"machine":false}"#) && !by_machine("clicked", r#"{"machine":"no"}"#));
    }

    #[test]
    fn what_is_no_id_is_said_to_be_none() {
        let long = "x".repeat(ID_BYTES + 1);
        let read = |data: &str| {
            Event::read(format!(r#"{{"event_id":"e","data":{data}}}"#).as_bytes()).unwrap().oddities.contains(Oddity::IdUnusable)
        };
        for unusable in [
            &format!(r#"{{"customer_id":"{long}"}}"#),
            r#"{"customer_id":true}"#,
            r#"{"customer_id":"u","delivery_id":["d"]}"#,
            r#"{"delivery_id":"jane@dead.example"}"#,
            r#"{"delivery_id":"jane%40dead.example"}"#,
            r#"{"identifiers":{"cio_id":"jane＠dead.example"}}"#,
            r#"{"identifiers":{"id":{}}}"#,
        ] {
            assert!(read(unusable), "{unusable}");
        }
        for usable in [
            r#"{"customer_id":"jane@dead.example","delivery_id":"RPvpBg=="}"#,
            r#"{"customer_id":" ","delivery_id":null,"identifiers":null}"#,
            "{}",
        ] {
            assert!(!read(usable), "{usable}");
        }
    }
}
