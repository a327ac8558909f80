//! Headers of what ingest writes, and of what goes to `dead`: why it is there, and where it came from.

use std::borrow::Cow;

use aftersend_schemas::headers::{Dead, Origin, Received};
use rdkafka::message::{Header, OwnedHeaders};

use crate::record::Record;

/// Headers of a record in `raw`.
pub fn raw(received: &Received<'_>) -> OwnedHeaders {
    add(OwnedHeaders::new(), received.to_headers())
}

/// Headers of a dead letter that ingest makes: it never was in a topic.
pub fn dead_letter_from_request(received: &Received<'_>, reason: &str) -> OwnedHeaders {
    let dead = Dead { reason: reason.to_owned(), stage: "ingest".to_owned(), error: String::new(), origin: None };
    add(raw(received), dead.to_headers())
}

/// Headers of a dead letter made of a record that a later stage could not deliver. `error` must hold no payload.
pub fn dead_letter_from_record(record: &Record, stage: &str, reason: &str, error: &str) -> OwnedHeaders {
    let origin = Origin {
        topic: record.topic.to_string(),
        partition: u32::try_from(record.partition).unwrap_or_default(),
        offset: u64::try_from(record.offset).unwrap_or_default(),
    };
    let dead = Dead { reason: reason.to_owned(), stage: stage.to_owned(), error: error.to_owned(), origin: Some(origin) };
    let own = record.headers().fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
    add(own, dead.to_headers())
}

fn add<'h>(headers: OwnedHeaders, more: impl Iterator<Item = (&'static str, Cow<'h, str>)>) -> OwnedHeaders {
    more.fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value.as_bytes()) }))
}
