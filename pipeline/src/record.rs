//! A consumed record, owned.

use std::borrow::Cow;
use std::ffi::CStr;
use std::sync::Arc;
use std::{ptr, slice};

use rdkafka::Message;
use rdkafka::bindings::{rd_kafka_header_get_all, rd_kafka_message_headers};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;

/// One record as it was read. Owned, so that it can leave the polling thread.
#[derive(Debug, Clone)]
pub struct Record {
    /// Topic it was read from.
    pub topic: Arc<str>,
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
    pub headers: RecordHeaders,
}

impl Record {
    /// Copies a message out of the client's memory.
    pub fn copy(message: &BorrowedMessage<'_>, topic: Arc<str>) -> Self {
        Self {
            topic,
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().unwrap_or_default(),
            key: message.key().unwrap_or_default().to_vec(),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers(message).collect(),
        }
    }

    /// Key as text; bytes that are no UTF-8 are replaced.
    pub fn key_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }

    /// Names and values of the headers.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter()
    }

    /// Bytes it occupies, roughly: for limits.
    pub fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len) + self.headers.size()
    }
}

/// Names and values of a message's headers. One whose name is no UTF-8 says nothing to us and is left out.
pub fn headers<'m>(message: &'m BorrowedMessage<'_>) -> impl Iterator<Item = (&'m str, &'m [u8])> {
    (0..).map_while(|index| header(message, index)).filter_map(|(name, value)| Some((name.to_str().ok()?, value)))
}

#[expect(unsafe_code, reason = "rdkafka panics at a name that is no UTF-8")]
fn header<'m>(message: &'m BorrowedMessage<'_>, index: usize) -> Option<(&'m CStr, &'m [u8])> {
    const FOUND: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    let (mut headers, mut name, mut value, mut size) = (ptr::null_mut(), ptr::null(), ptr::null(), 0);
    // SAFETY: what the client points at belongs to the message and lives as long as it does; a name ends with a NUL.
    unsafe {
        if rd_kafka_message_headers(message.ptr(), &mut headers) != FOUND
            || rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size) != FOUND
        {
            return None;
        }
        let value = if value.is_null() { &[] } else { slice::from_raw_parts(value.cast(), size) };
        Some((CStr::from_ptr(name), value))
    }
}

/// Headers of a record, all of them in three pieces of memory: every record has some, and each of them would take two.
#[derive(Debug, Clone, Default)]
pub struct RecordHeaders {
    names: String,
    values: Vec<u8>,
    /// Where name and value of each end.
    ends: Vec<(usize, usize)>,
}

impl RecordHeaders {
    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.ends.iter().scan((0, 0), |(name, value), (name_end, value_end)| {
            let header = (self.names.get(*name..*name_end)?, self.values.get(*value..*value_end)?);
            (*name, *value) = (*name_end, *value_end);
            Some(header)
        })
    }

    fn size(&self) -> usize {
        self.names.len() + self.values.len()
    }
}

impl<'h> FromIterator<(&'h str, &'h [u8])> for RecordHeaders {
    fn from_iter<I: IntoIterator<Item = (&'h str, &'h [u8])>>(headers: I) -> Self {
        let mut headers = headers.into_iter().peekable();
        if headers.peek().is_none() {
            return Self::default();
        }
        // As much as the headers that ingest writes.
        let mut all = Self { names: String::with_capacity(96), values: Vec::with_capacity(96), ends: Vec::with_capacity(8) };
        for (name, value) in headers {
            all.names.push_str(name);
            all.values.extend_from_slice(value);
            all.ends.push((all.names.len(), all.values.len()));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_in_order_whatever_they_hold() {
        let headers: [(&str, &[u8]); 5] = [("a", b"1"), ("", b""), ("a", b"\xff"), ("k\u{e9}y", b""), ("last", b"value")];
        let kept: RecordHeaders = headers.into_iter().collect();
        assert_eq!(kept.iter().collect::<Vec<_>>(), headers);
        assert_eq!(kept.size(), "aakéylast".len() + "1?value".len());
        assert_eq!(RecordHeaders::default().iter().count(), 0);
    }
}
