//! The one decision about what is a JSON object, and lenient reading of its members.
//!
//! Ingest uses it to choose between `raw` and `dead`, and the normaliser to read what ingest let through, so the two can never disagree.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// Why some bytes are not an event. The text form is the `reason` header of a dead letter and a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnObject {
    /// Nothing, or nothing but blanks.
    #[error("body_empty")]
    Empty,
    /// Some byte sequence is not UTF-8.
    #[error("body_not_utf8")]
    NotUtf8,
    /// JSON, but a list, a text, a number, a boolean or null.
    #[error("body_not_an_object")]
    NotAnObject,
    /// Not JSON: truncated, trailing bytes, or no JSON at all.
    #[error("body_not_json")]
    NotJson,
}

/// The members of a JSON object in the order they came, values unread. Borrowed from the body.
#[derive(Debug, Default)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Reads `bytes` as exactly one JSON object.
    ///
    /// Depth is not limited (values are skipped without recursion) and a lone surrogate inside a value is left to whoever reads that value; in a name of
    /// the outermost object it makes the body `NotJson`.
    pub fn read(bytes: &'a [u8]) -> Result<Self, NotAnObject> {
        let text = std::str::from_utf8(bytes).map_err(|_| NotAnObject::NotUtf8)?;
        match text.trim_matches([' ', '\t', '\r', '\n']).as_bytes().first() {
            None => Err(NotAnObject::Empty),
            Some(b'{') => Self::parse(text).ok_or(NotAnObject::NotJson),
            Some(_) => match serde_json::from_str::<&RawValue>(text) {
                Ok(_) => Err(NotAnObject::NotAnObject),
                Err(_) => Err(NotAnObject::NotJson),
            },
        }
    }

    /// Reads a member's value as an object, where it is one.
    pub fn of(value: &'a RawValue) -> Option<Self> {
        value.get().starts_with('{').then(|| Self::parse(value.get())).flatten()
    }

    fn parse(text: &'a str) -> Option<Self> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let object = reader.deserialize_map(Members).ok()?;
        reader.end().ok()?;
        Some(object)
    }

    /// The value of `name`; of a repeated name the last one counts, as in most readers.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().rev().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    /// True if the object has a member of this name, whatever its value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Every member as it came, repeated names included.
    pub fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.members.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// A text, or a number's literal digits, trimmed; nothing for blank, null, booleans, lists and objects.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(text)
    }

    /// A whole number that was written as a number or as a text.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.text(name).and_then(|digits| digits.parse().ok())
    }

    /// A boolean; texts and numbers are no booleans.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        match self.get(name)?.get() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The object under `name`, where there is one.
    pub fn object(&self, name: &str) -> Option<Object<'a>> {
        self.get(name).and_then(Self::of)
    }
}

/// A value as trimmed text; see [`Object::text`].
pub fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let literal = value.get();
    let text = match literal.as_bytes().first()? {
        b'"' => {
            let inner = &literal[1..literal.len() - 1];
            if inner.contains('\\') { Cow::Owned(serde_json::from_str(literal).ok()?) } else { Cow::Borrowed(inner) }
        }
        b'-' | b'0'..=b'9' => Cow::Borrowed(literal),
        _ => return None,
    };
    let trimmed = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    };
    (!trimmed.is_empty()).then_some(trimmed)
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(16);
        while let Some(Name(name)) = map.next_key()? {
            members.push((name, map.next_value()?));
        }
        Ok(Object { members })
    }
}

/// A member's name, borrowed unless it has escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_json_object_is_an_event_and_every_other_body_has_a_reason() {
        let cases: [(&[u8], Option<NotAnObject>); 13] = [
            (b"{}", None),
            (b" \r\n{\"a\":1}\n", None),
            (b"{\"a\":\"\\ud800\"}", None),
            (b"", Some(NotAnObject::Empty)),
            (b" \n", Some(NotAnObject::Empty)),
            (b"[1]", Some(NotAnObject::NotAnObject)),
            (b"\"text\"", Some(NotAnObject::NotAnObject)),
            (b"null", Some(NotAnObject::NotAnObject)),
            (b"{\"a\":1", Some(NotAnObject::NotJson)),
            (b"{\"a\":1}x", Some(NotAnObject::NotJson)),
            (b"{} {}", Some(NotAnObject::NotJson)),
            (b"hello", Some(NotAnObject::NotJson)),
            (b"{\"a\":\"\xff\"}", Some(NotAnObject::NotUtf8)),
        ];
        for (body, reason) in cases {
            assert_eq!(Object::read(body).err(), reason, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn depth_stops_nothing() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert!(Object::read(deep.as_bytes()).unwrap().has("a"));
    }

    #[test]
    fn values_are_read_leniently() {
        let body = br#"{"n":20010245,"s":" x\u00e9 ","i":"31","b":true,"nil":null,"blank":"  ","big":123456789012345678901234567890,"a":1,"a":2,"l":"\ud800"}"#;
        let object = Object::read(body).unwrap();
        assert_eq!(object.text("n").unwrap(), "20010245");
        assert_eq!(object.text("s").unwrap(), "xé");
        assert_eq!(object.integer("i"), Some(31));
        assert_eq!(object.boolean("b"), Some(true));
        assert_eq!(object.text("nil"), None);
        assert_eq!(object.text("blank"), None);
        assert_eq!(object.text("big").unwrap(), "123456789012345678901234567890");
        assert_eq!(object.integer("big"), None);
        assert_eq!(object.integer("a"), Some(2), "the last of a repeated name counts");
        assert_eq!(object.text("l"), None, "a lone surrogate is no text");
    }
}
