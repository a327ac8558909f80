//! The record in `track-ledger`: what Customer.io has acknowledged for one person, so that only a difference causes a call.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::DecodeError;
use crate::identity::Person;
use crate::versioned;

const VERSION: u8 = 1;

/// An attribute's value as the Track API takes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttributeValue {
    /// true or false
    Bool(bool),
    /// A whole number; times are Unix seconds.
    Integer(i64),
    /// At most 1,000 bytes.
    Text(String),
}

// Two forms: in JSON the bare value, as the Track API wants it; in compact records tagged, since those do not describe themselves.
#[derive(Serialize, Deserialize)]
enum Tagged {
    Bool(bool),
    Integer(i64),
    Text(String),
}

impl Serialize for AttributeValue {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self, serializer.is_human_readable()) {
            (Self::Bool(value), true) => serializer.serialize_bool(*value),
            (Self::Integer(value), true) => serializer.serialize_i64(*value),
            (Self::Text(value), true) => serializer.serialize_str(value),
            (value, false) => match value.clone() {
                Self::Bool(value) => Tagged::Bool(value),
                Self::Integer(value) => Tagged::Integer(value),
                Self::Text(value) => Tagged::Text(value),
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for AttributeValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Tagged::deserialize(deserializer)? {
            Tagged::Bool(value) => Self::Bool(value),
            Tagged::Integer(value) => Self::Integer(value),
            Tagged::Text(value) => Self::Text(value),
        })
    }
}

/// Attribute names (prefix included) and values.
pub type Attributes = BTreeMap<String, AttributeValue>;

/// How a person stands at Customer.io by our doing. Ordered: a stronger standing is never replaced by a weaker one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Attributes only.
    #[default]
    Identified,
    /// `unsubscribed: true` was written.
    Unsubscribed,
    /// Deleted and blocked. Nothing more is sent for this person.
    Suppressed,
}

impl Standing {
    /// As it stands in `track-calls` and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identified => "identified",
            Self::Unsubscribed => "unsubscribed",
            Self::Suppressed => "suppressed",
        }
    }
}

/// What was acknowledged, and what was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRecord {
    /// Whom it is about.
    pub person: Person,
    /// Attributes of the last acknowledged identify.
    pub attributes: Attributes,
    /// The strongest acknowledged standing.
    pub standing: Standing,
    /// Digest of the last attributes or call that the API refused; the same is not tried again.
    pub refused: Option<u64>,
    /// Unix milliseconds of the last answer.
    pub answered_at: i64,
}

impl LedgerRecord {
    /// A person of whom nothing has been acknowledged.
    pub fn new(person: Person) -> Self {
        Self { person, attributes: Attributes::new(), standing: Standing::default(), refused: None, answered_at: 0 }
    }

    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        versioned::encode(VERSION, self)
    }

    /// Reads a value written by this or an earlier release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        versioned::decode(VERSION, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Namespace;

    #[test]
    fn a_ledger_record_survives_its_encoding_and_a_newer_one_is_named_as_such() {
        let person = Person { workspace: "default".into(), namespace: Namespace::Id, id: "u-1".into() };
        let mut record = LedgerRecord::new(person);
        record.attributes.insert("aftersend_email_score".into(), AttributeValue::Integer(80));
        record.attributes.insert("aftersend_email_state".into(), AttributeValue::Text("healthy".into()));
        record.attributes.insert("aftersend_email_deliverable".into(), AttributeValue::Bool(true));
        let mut bytes = record.encode();
        assert_eq!(LedgerRecord::decode(&bytes).unwrap(), record);
        bytes[0] = 9;
        assert_eq!(LedgerRecord::decode(&bytes), Err(DecodeError::TooNew { found: 9, known: 1 }));
        assert_eq!(LedgerRecord::decode(&[]), Err(DecodeError::Malformed { version: 0 }));
        assert_eq!(LedgerRecord::decode(&[1, 200]), Err(DecodeError::Malformed { version: 1 }));
    }

    #[test]
    fn json_has_bare_values() {
        let value = serde_json::to_string(&[AttributeValue::Bool(true), AttributeValue::Integer(5), AttributeValue::Text("x".into())]);
        assert_eq!(value.unwrap(), r#"[true,5,"x"]"#);
    }
}
