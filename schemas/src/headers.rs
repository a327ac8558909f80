//! Names of the record headers, and the two sets of them that travel: on `raw` and on `dead`.

use std::borrow::Cow;

use schemars::JsonSchema;

use crate::versioned::DecodeError;

/// Configured name of the source.
pub const SOURCE: &str = "source";
/// Configured workspace of the source; decides whose profile an event belongs to, also after the configuration changed.
pub const WORKSPACE: &str = "workspace";
/// Unix milliseconds at which ingest had the whole request.
pub const RECEIVED_AT: &str = "received_at";
/// `X-CIO-Timestamp` as it came.
pub const SIGNATURE_TIMESTAMP: &str = "signature_timestamp";
/// Media type of `Content-Type`.
pub const CONTENT_TYPE: &str = "content_type";
/// Id that ingest gave the request; its answer names it too.
pub const INGEST_ID: &str = "ingest_id";
/// Version of the headers of `dead`; absent means 1.
pub const DEAD_VERSION: &str = "dead_version";
/// Why a record is in `dead`: a short fixed word.
pub const REASON: &str = "reason";
/// Which service put it there.
pub const STAGE: &str = "stage";
/// More about the reason; never payload.
pub const ERROR: &str = "error";
/// Where a dead record was read from; absent when it never was in a topic.
pub const SOURCE_TOPIC: &str = "source_topic";
/// Partition of `source_topic`.
pub const SOURCE_PARTITION: &str = "source_partition";
/// Offset in `source_partition`.
pub const SOURCE_OFFSET: &str = "source_offset";

/// What ingest knows of a request beside its body: the headers of a record in `raw`.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema)]
pub struct Received<'a> {
    /// Configured name of the source.
    pub source: Cow<'a, str>,
    /// Configured workspace of the source.
    pub workspace: Cow<'a, str>,
    /// Unix milliseconds at which ingest had the whole request.
    #[schemars(with = "String", regex(pattern = "^-?[0-9]+$"))]
    pub received_at: i64,
    /// `X-CIO-Timestamp` as it came.
    pub signature_timestamp: Cow<'a, str>,
    /// Media type of `Content-Type`; empty if there was none. Earlier releases kept its parameters, too.
    pub content_type: Cow<'a, str>,
    /// ULID that ingest gave the request and named in its answer; empty in records of earlier releases.
    #[schemars(default, skip_serializing_if = "str::is_empty")]
    pub ingest_id: Cow<'a, str>,
}

impl<'a> Received<'a> {
    /// As header names and values, in a fixed order.
    pub fn to_headers(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let ingest_id = (!self.ingest_id.is_empty()).then(|| (INGEST_ID, self.ingest_id.as_ref().into()));
        [
            (SOURCE, self.source.as_ref().into()),
            (WORKSPACE, self.workspace.as_ref().into()),
            (RECEIVED_AT, self.received_at.to_string().into()),
            (SIGNATURE_TIMESTAMP, self.signature_timestamp.as_ref().into()),
            (CONTENT_TYPE, self.content_type.as_ref().into()),
        ]
        .into_iter()
        .chain(ingest_id)
    }

    /// Reads headers back. What is missing (a record written by hand) falls back to the workspace `default` and the record's own timestamp.
    pub fn from_headers<'n>(headers: impl Iterator<Item = (&'n str, &'a [u8])>, record_timestamp: i64) -> Self {
        let mut received = Self { workspace: "default".into(), received_at: record_timestamp, ..Self::default() };
        for (name, value) in headers {
            let text = String::from_utf8_lossy(value);
            match name {
                SOURCE => received.source = text,
                WORKSPACE if !text.is_empty() => received.workspace = text,
                RECEIVED_AT => received.received_at = text.parse().unwrap_or(record_timestamp),
                SIGNATURE_TIMESTAMP => received.signature_timestamp = text,
                CONTENT_TYPE => received.content_type = text,
                INGEST_ID => received.ingest_id = text,
                _ => {}
            }
        }
        received
    }
}

/// What `dead` adds to the headers that a record had: why it is there, and where it was read from.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
pub struct Dead {
    /// A short fixed word, the same for every record of its kind.
    pub reason: String,
    /// Which service put it there.
    pub stage: String,
    /// More about the reason, never payload; empty if there is no more to say.
    pub error: String,
    /// Where it was read from; nothing if it never was in a topic.
    #[schemars(flatten)]
    pub origin: Option<Origin>,
}

/// A place in a topic.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
pub struct Origin {
    /// Topic it was read from.
    #[schemars(rename = "source_topic")]
    pub topic: String,
    /// Partition of that topic.
    #[schemars(rename = "source_partition", with = "String", regex(pattern = "^[0-9]+$"))]
    pub partition: u32,
    /// Offset in that partition.
    #[schemars(rename = "source_offset", with = "String", regex(pattern = "^[0-9]+$"))]
    pub offset: u64,
}

impl Dead {
    /// The version that this release writes and reads up to. Headers may be added within a version.
    pub const VERSION: u32 = 1;

    /// As header names and values, in a fixed order. They follow the record's own headers, and win over those of the same name.
    pub fn to_headers(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let origin = self.origin.iter().flat_map(|Origin { topic, partition, offset }| {
            [
                (SOURCE_TOPIC, topic.as_str().into()),
                (SOURCE_PARTITION, partition.to_string().into()),
                (SOURCE_OFFSET, offset.to_string().into()),
            ]
        });
        [
            (DEAD_VERSION, Self::VERSION.to_string().into()),
            (REASON, self.reason.as_str().into()),
            (STAGE, self.stage.as_str().into()),
            (ERROR, self.error.as_str().into()),
        ]
        .into_iter()
        .chain(origin)
    }

    /// Reads headers written by this or an earlier release. What is missing (a record written by hand) is empty.
    pub fn from_headers<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Self, DecodeError> {
        let (mut version, mut reason, mut stage, mut error) = (1, String::new(), String::new(), String::new());
        let (mut topic, mut partition, mut offset) = (None, None, None);
        for (name, value) in headers {
            let text = String::from_utf8_lossy(value);
            match name {
                DEAD_VERSION => version = text.parse().unwrap_or(1),
                REASON => reason = text.into_owned(),
                STAGE => stage = text.into_owned(),
                ERROR => error = text.into_owned(),
                SOURCE_TOPIC => topic = Some(text.into_owned()),
                SOURCE_PARTITION => partition = text.parse().ok(),
                SOURCE_OFFSET => offset = text.parse().ok(),
                _ => {}
            }
        }
        if version > Self::VERSION {
            return Err(DecodeError::TooNew { record: "dead letter", found: version, known: Self::VERSION });
        }
        let origin = match (topic, partition, offset) {
            (Some(topic), Some(partition), Some(offset)) => Some(Origin { topic, partition, offset }),
            _ => None,
        };
        Ok(Self { reason, stage, error, origin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ingest_knew_can_be_read_back() {
        let received = Received {
            source: "shop".into(),
            workspace: "eu".into(),
            received_at: 1_770_000_000_123,
            signature_timestamp: "1770000000".into(),
            content_type: "application/json".into(),
            ingest_id: "01KGDPA0000000000000000001".into(),
        };
        let headers: Vec<_> = received.to_headers().collect();
        let read = Received::from_headers(headers.iter().map(|(name, value)| (*name, value.as_bytes())), 5);
        assert_eq!(read, received);
        assert_eq!(Received::from_headers(std::iter::empty(), 5).workspace, "default");
        assert_eq!(Received::from_headers(std::iter::empty(), 5).received_at, 5);
    }
}
