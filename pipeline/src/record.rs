//! A consumed record, owned.

use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};

/// One record as it was read. Owned, so that it can leave the polling thread.
#[derive(Debug, Clone)]
pub struct Record {
    /// Topic it was read from.
    pub topic: std::sync::Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// The record's timestamp in Unix milliseconds; 0 if it has none.
    pub timestamp: i64,
    /// Key; empty if there was none.
    pub key: Vec<u8>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// Copies a message out of the client's memory.
    pub fn copy(message: &BorrowedMessage<'_>, topic: std::sync::Arc<str>) -> Self {
        let headers = message
            .headers()
            .map(|headers| headers.iter().map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect());
        Self {
            topic,
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().unwrap_or_default(),
            key: message.key().unwrap_or_default().to_vec(),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
        }
    }

    /// Key as text; bytes that are no UTF-8 are replaced.
    pub fn key_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }

    /// Names and values of the headers.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Bytes it occupies, roughly: for limits.
    pub fn size(&self) -> usize {
        self.key.len()
            + self.value.as_ref().map_or(0, Vec::len)
            + self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}
