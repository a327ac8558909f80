//! Whom an event is about: the key of its record, and the person behind it where there is one.

use std::borrow::Cow;
use std::fmt;

use crate::event::Event;
use crate::privacy::Privacy;

/// Under which of its names a person is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// The workspace's own id.
    Id,
    /// Customer.io's canonical id.
    Cio,
    /// The keyed hash of an address: nothing else is known.
    Email,
}

impl Namespace {
    /// As it stands in keys and columns.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Cio => "cio",
            Self::Email => "email",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Id, Self::Cio, Self::Email].into_iter().find(|namespace| namespace.as_str() == text)
    }
}

/// A person: one set of evidence, one score. The text form `workspace:namespace:id` is the key of `profiles` and `track-ledger`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Person {
    /// Configured name of the Customer.io workspace; has no colon.
    pub workspace: String,
    /// What `id` is.
    pub namespace: Namespace,
    /// The id in its namespace; never empty, may contain colons.
    pub id: String,
}

impl Person {
    /// Reads the text form.
    pub fn parse(key: &str) -> Option<Self> {
        Self::parts(key).map(|(workspace, namespace, id)| Self { workspace: workspace.into(), namespace, id: id.into() })
    }

    /// Workspace, namespace and id of the text form; nothing if it is none.
    pub fn parts(key: &str) -> Option<(&str, Namespace, &str)> {
        let (workspace, rest) = key.split_once(':')?;
        let (namespace, id) = rest.split_once(':')?;
        let namespace = Namespace::parse(namespace)?;
        (!workspace.is_empty() && !id.is_empty()).then_some((workspace, namespace, id))
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.workspace, self.namespace.as_str(), self.id)
    }
}

/// The subject of an event, by one order everywhere (DESIGN decision 3): the customer's id, Customer.io's id, the address, the message, the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject<'a> {
    /// `customer_id`, else `identifiers.id`.
    Id(Cow<'a, str>),
    /// `identifiers.cio_id`, without a prefix.
    Cio(Cow<'a, str>),
    /// The [identity](Privacy::identity) of the address.
    Email(String),
    /// No person: the message.
    Delivery(Cow<'a, str>),
    /// No person and no message: the event.
    Event(Cow<'a, str>),
}

impl<'a> Subject<'a> {
    /// Finds the subject of an event.
    pub fn of(event: &Event<'a>, privacy: &Privacy) -> Self {
        if let Some(id) = event.customer_id() {
            return Self::Id(id);
        }
        if let Some(cio_id) = event.cio_id() {
            return Self::Cio(cio_id);
        }
        if let Some(hash) = event.address_of_person().and_then(|address| privacy.identity(&address)) {
            return Self::Email(hash);
        }
        match event.delivery_id() {
            Some(delivery) => Self::Delivery(delivery),
            None => Self::Event(event.event_id.clone()),
        }
    }

    /// The key of the record in `raw`: never empty, and never an address that was put there by us.
    pub fn key(&self) -> Cow<'_, str> {
        match self {
            Self::Id(text) | Self::Delivery(text) | Self::Event(text) => Cow::Borrowed(text),
            Self::Cio(cio_id) => Cow::Owned(format!("cio_{cio_id}")),
            Self::Email(hash) => Cow::Owned(format!("email:{hash}")),
        }
    }

    /// The person, where the subject is one. `record_key` is the key under which `raw` holds the event: a person known only by an address keeps the id in
    /// it, whatever hash key is in force when the record is read again.
    pub fn person(&self, workspace: &str, record_key: &str) -> Option<Person> {
        let (namespace, id) = match self {
            Self::Id(id) => (Namespace::Id, id.as_ref()),
            Self::Cio(id) => (Namespace::Cio, id.as_ref()),
            Self::Email(hash) => (Namespace::Email, record_key.strip_prefix("email:").unwrap_or(hash)),
            Self::Delivery(_) | Self::Event(_) => return None,
        };
        Some(Person { workspace: workspace.into(), namespace, id: id.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy;

    fn key(data: &str) -> String {
        let body = format!(r#"{{"object_type":"email","metric":"sent","event_id":"ev","timestamp":1770000000,"data":{data}}}"#);
        Subject::of(&Event::read(body.as_bytes()).unwrap(), &privacy::for_tests()).key().into_owned()
    }

    #[test]
    fn the_key_follows_one_order_and_is_never_an_address_of_ours() {
        assert_eq!(key(r#"{"customer_id":" u-1 ","identifiers":{"id":"u-2"}}"#), "u-1");
        assert_eq!(key(r#"{"customer_id":"","identifiers":{"id":7}}"#), "7");
        assert_eq!(key(r#"{"customer_id":"","identifiers":{"id":null,"cio_id":"ab01"},"recipient":"x@y.example"}"#), "cio_ab01");
        let hashed = key(r#"{"recipient":"X@y.example","delivery_id":"d"}"#);
        assert!(hashed.starts_with("email:") && hashed.len() == 38, "{hashed}");
        assert_eq!(hashed, key(r#"{"identifiers":{"email":"x@Y.example"}}"#));
        assert_eq!(hashed, key(r#"{"identifiers":{"email":"x@y.example"},"recipient":"accountant@y.example"}"#), "whoever gets a copy");
        assert_eq!(hashed, key(r#"{"identifiers":{"email":"none"},"recipient":"x@y.example"}"#));
        assert_eq!(key(r#"{"delivery_id":"d"}"#), "d");
        assert_eq!(key("{}"), "ev");
        let long = "x".repeat(600);
        assert_eq!(key(&format!(r#"{{"customer_id":"{long}","delivery_id":"d"}}"#)), "d", "too long to be an id");
    }

    #[test]
    fn a_person_survives_its_text_form_and_messages_are_no_persons() {
        let person = Person { workspace: "default".into(), namespace: Namespace::Id, id: "a:b".into() };
        assert_eq!(Person::parse(&person.to_string()).unwrap(), person);
        assert_eq!(Person::parse("default:nobody:1"), None);
        assert_eq!(Subject::Delivery("d".into()).person("default", "d"), None);
        let kept = Subject::Email("new".into()).person("default", "email:old").unwrap();
        assert_eq!(kept.id, "old");
    }
}
