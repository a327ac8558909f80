//! A record for `dead`: the original bytes, why they are there, and where they came from.

use aftersend_schemas::headers::{Dead, Origin, Received};
use rdkafka::message::{Header, OwnedHeaders};

use crate::record::Record;

/// Headers of a dead letter that ingest makes: it never was in a topic.
pub fn from_request(received: &Received, reason: &str) -> OwnedHeaders {
    let dead = Dead { reason: reason.to_owned(), stage: "ingest".to_owned(), error: String::new(), origin: None };
    owned(bytes(&received.to_headers()).chain(bytes(&dead.to_headers())))
}

/// Headers of a dead letter made of a record that a later stage could not deliver. `error` must hold no payload.
pub fn from_record(record: &Record, stage: &str, reason: &str, error: &str) -> OwnedHeaders {
    let origin = Origin {
        topic: record.topic.to_string(),
        partition: u32::try_from(record.partition).unwrap_or_default(),
        offset: u64::try_from(record.offset).unwrap_or_default(),
    };
    let dead = Dead { reason: reason.to_owned(), stage: stage.to_owned(), error: error.to_owned(), origin: Some(origin) };
    owned(record.headers().chain(bytes(&dead.to_headers())))
}

/// Headers as the client takes them.
pub fn owned<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> OwnedHeaders {
    headers.fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
}

fn bytes<'h>(headers: &'h [(&'static str, String)]) -> impl Iterator<Item = (&'h str, &'h [u8])> {
    headers.iter().map(|(name, value)| (*name, value.as_bytes()))
}
