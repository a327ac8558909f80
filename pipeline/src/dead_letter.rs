//! A record for `dead`: the original bytes, why they are there, and where they came from.

use aftersend_schemas::headers::{self, Received};
use rdkafka::message::{Header, OwnedHeaders};

use crate::record::Record;

/// Headers of a dead letter that ingest makes: it never was in a topic.
pub fn from_request(received: &Received, reason: &str) -> OwnedHeaders {
    let headers = owned(received.to_headers().iter().map(|(name, value)| (*name, value.as_bytes())));
    with_reason(headers, "ingest", reason, "")
}

/// Headers of a dead letter made of a record that a later stage could not deliver. `error` must hold no payload.
pub fn from_record(record: &Record, stage: &str, reason: &str, error: &str) -> OwnedHeaders {
    let headers = with_reason(owned(record.headers()), stage, reason, error);
    let (partition, offset) = (record.partition.to_string(), record.offset.to_string());
    headers
        .insert(Header { key: headers::SOURCE_TOPIC, value: Some(record.topic.as_bytes()) })
        .insert(Header { key: headers::SOURCE_PARTITION, value: Some(partition.as_bytes()) })
        .insert(Header { key: headers::SOURCE_OFFSET, value: Some(offset.as_bytes()) })
}

/// Headers as the client takes them.
pub fn owned<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> OwnedHeaders {
    headers.fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
}

fn with_reason(headers: OwnedHeaders, stage: &str, reason: &str, error: &str) -> OwnedHeaders {
    headers
        .insert(Header { key: headers::REASON, value: Some(reason) })
        .insert(Header { key: headers::STAGE, value: Some(stage) })
        .insert(Header { key: headers::ERROR, value: Some(error) })
}
