//! The record in `track-ledger`: what Customer.io has acknowledged for one person, so that only a difference causes a call.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::identity::Person;
use crate::versioned::{DecodeError, Format};

pub(crate) const FORMAT: Format = Format::new("ledger record", LedgerRecord::VERSION);
/// How records are written of people whom we did not unsubscribe: as the release before did, byte for byte, so that it can read them.
const WITHOUT_REASONS: Format = Format::new("ledger record", 2);

/// What is written to a person, without the prefix, in the order of the documentation.
pub const ATTRIBUTES: [&str; 22] = [
    "email_score",
    "email_state",
    "email_deliverable",
    "email_promotional_ok",
    "email_transactional_ok",
    "email_cadence",
    "best_channel",
    "best_channel_reason",
    "reason",
    "deliverability_as_of",
    "policy_version",
    "email_bounced",
    "email_bounced_at",
    "last_bounce_delivery_id",
    "spam_complaint",
    "spam_complaint_at",
    "complaint_count",
    "unsubscribed_at",
    "last_email_click_at",
    "last_email_engaged_at",
    "last_email_metric",
    "email_engaged_30d",
];

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
#[serde(remote = "AttributeValue", untagged)]
enum Bare {
    Bool(bool),
    Integer(i64),
    Text(String),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "AttributeValue")]
enum Tagged {
    Bool(bool),
    Integer(i64),
    Text(String),
}

impl Serialize for AttributeValue {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { Bare::serialize(self, serializer) } else { Tagged::serialize(self, serializer) }
    }
}

impl<'de> Deserialize<'de> for AttributeValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() { Bare::deserialize(deserializer) } else { Tagged::deserialize(deserializer) }
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
    /// Digest of the last attributes or call that the API refused; the same is not tried again. Attributes that are acknowledged end a refusal of
    /// attributes only.
    pub refused: Option<u64>,
    /// Unix milliseconds of the last answer.
    pub answered_at: i64,
    /// The newest profile that was acted on: an older one, read again, asks for nothing.
    pub seen: Seen,
    /// Unix milliseconds from which a `suppress` may have been sent; 0 for never. It stays after another call was answered in its place.
    pub suppress_sent_at: i64,
    /// Unix milliseconds at which `unsubscribed: true` was acknowledged; 0 for never. The webhook that this causes asks for nothing.
    pub unsubscribed_at: i64,
    /// For what that was; nothing for never, or by a release that did not remember.
    pub unsubscribed_for: Option<Reasons>,
}

/// What was known of a person when they were unsubscribed: only what is more than that is a new reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasons {
    /// Complaints about distinct messages.
    pub complaints: u32,
    /// Unix seconds of the last hard bounce.
    pub hard_bounced_at: Option<i64>,
}

/// Which profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Its `as_of`.
    pub as_of: i64,
    /// Its offset in `profiles`: among those of one second the later one counts.
    pub offset: i64,
    /// Its policy. A rebuild under another policy may give the same second at an earlier offset.
    pub policy_version: u32,
}

impl Seen {
    /// True if a profile is older than this one.
    pub fn is_after(&self, other: Self) -> bool {
        self.as_of > other.as_of || (self.as_of == other.as_of && self.offset > other.offset && self.policy_version == other.policy_version)
    }
}

/// The first version.
#[derive(Deserialize)]
struct LedgerRecordV1 {
    person: Person,
    attributes: Attributes,
    standing: Standing,
    refused: Option<u64>,
    answered_at: i64,
}

impl From<LedgerRecordV1> for LedgerRecord {
    fn from(old: LedgerRecordV1) -> Self {
        let LedgerRecordV1 { person, attributes, standing, refused, answered_at } = old;
        Self { attributes, standing, refused, answered_at, ..Self::new(person) }
    }
}

/// The second version.
#[derive(Deserialize)]
struct LedgerRecordV2 {
    person: Person,
    attributes: Attributes,
    standing: Standing,
    refused: Option<u64>,
    answered_at: i64,
    seen: Seen,
    suppress_sent_at: i64,
    unsubscribed_at: i64,
}

impl From<LedgerRecordV2> for LedgerRecord {
    fn from(old: LedgerRecordV2) -> Self {
        let LedgerRecordV2 { person, attributes, standing, refused, answered_at, seen, suppress_sent_at, unsubscribed_at } = old;
        Self { person, attributes, standing, refused, answered_at, seen, suppress_sent_at, unsubscribed_at, unsubscribed_for: None }
    }
}

impl LedgerRecord {
    /// The newest version that this release writes and reads.
    pub const VERSION: u8 = 3;

    /// A person of whom nothing has been acknowledged.
    pub fn new(person: Person) -> Self {
        Self {
            person,
            attributes: Attributes::new(),
            standing: Standing::default(),
            refused: None,
            answered_at: 0,
            seen: Seen::default(),
            suppress_sent_at: 0,
            unsubscribed_at: 0,
            unsubscribed_for: None,
        }
    }

    /// A `suppress` is about to be sent. The clock may have gone back since the last answer.
    pub fn sends_suppress(&mut self, now: i64) {
        self.suppress_sent_at = now.max(self.answered_at + 1);
    }

    /// Whatever was sent last has been answered. The clock may have gone back since it was sent.
    pub fn answered(&mut self, now: i64) {
        self.answered_at = now.max(self.suppress_sent_at);
    }

    /// True while a `suppress` that may have been sent is the last that was: until something is answered, nothing but the same is sent.
    pub fn awaits_suppress(&self) -> bool {
        self.suppress_sent_at > self.answered_at
    }

    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        let Self { person, attributes, standing, refused, answered_at, seen, suppress_sent_at, unsubscribed_at, unsubscribed_for } = self;
        match unsubscribed_for {
            Some(_) => FORMAT.encode(self),
            None => WITHOUT_REASONS.encode(&(person, attributes, standing, refused, answered_at, seen, suppress_sent_at, unsubscribed_at)),
        }
    }

    /// Reads a value written by this or an earlier release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields = FORMAT.open(bytes)?;
        match fields.version {
            1 => fields.read::<LedgerRecordV1>().map(Self::from),
            2 => fields.read::<LedgerRecordV2>().map(Self::from),
            3 => fields.read(),
            _ => Err(fields.malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_bare_values() {
        let values = [AttributeValue::Bool(true), AttributeValue::Integer(-5), AttributeValue::Text("x".into())];
        let json = serde_json::to_string(&values).unwrap();
        assert_eq!(json, r#"[true,-5,"x"]"#);
        assert_eq!(serde_json::from_str::<[AttributeValue; 3]>(&json).unwrap(), values);
    }
}
