//! Names of the record headers, and the two sets of them that travel: on `raw` and on `dead`.

/// Configured name of the source.
pub const SOURCE: &str = "source";
/// Configured workspace of the source; decides whose profile an event belongs to, also after the configuration changed.
pub const WORKSPACE: &str = "workspace";
/// Unix milliseconds at which ingest had the whole request.
pub const RECEIVED_AT: &str = "received_at";
/// `X-CIO-Timestamp` as it came.
pub const SIGNATURE_TIMESTAMP: &str = "signature_timestamp";
/// `Content-Type` as it came.
pub const CONTENT_TYPE: &str = "content_type";
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

/// What ingest knows of a request beside its body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Received {
    /// Configured name of the source.
    pub source: String,
    /// Configured workspace of the source.
    pub workspace: String,
    /// Unix milliseconds.
    pub received_at: i64,
    /// `X-CIO-Timestamp` as it came.
    pub signature_timestamp: String,
    /// `Content-Type` as it came; empty if there was none.
    pub content_type: String,
}

impl Received {
    /// As header names and values, in a fixed order.
    pub fn to_headers(&self) -> [(&'static str, String); 5] {
        [
            (SOURCE, self.source.clone()),
            (WORKSPACE, self.workspace.clone()),
            (RECEIVED_AT, self.received_at.to_string()),
            (SIGNATURE_TIMESTAMP, self.signature_timestamp.clone()),
            (CONTENT_TYPE, self.content_type.clone()),
        ]
    }

    /// Reads headers back. What is missing (a record written by hand) falls back to the workspace `default` and the record's own timestamp.
    pub fn from_headers<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>, record_timestamp: i64) -> Self {
        let mut received = Self { workspace: "default".into(), received_at: record_timestamp, ..Self::default() };
        for (name, value) in headers {
            let text = String::from_utf8_lossy(value);
            match name {
                SOURCE => received.source = text.into_owned(),
                WORKSPACE if !text.is_empty() => received.workspace = text.into_owned(),
                RECEIVED_AT => received.received_at = text.parse().unwrap_or(record_timestamp),
                SIGNATURE_TIMESTAMP => received.signature_timestamp = text.into_owned(),
                CONTENT_TYPE => received.content_type = text.into_owned(),
                _ => {}
            }
        }
        received
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
        };
        let headers = received.to_headers();
        let read = Received::from_headers(headers.iter().map(|(name, value)| (*name, value.as_bytes())), 5);
        assert_eq!(read, received);
        assert_eq!(Received::from_headers(std::iter::empty(), 5).workspace, "default");
        assert_eq!(Received::from_headers(std::iter::empty(), 5).received_at, 5);
    }
}
