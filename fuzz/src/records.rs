//! Any bytes as the value or the headers of a record.

use std::fmt::Debug;

use aftersend_schemas::DecodeError;
use aftersend_schemas::headers::{Dead, Received};
use aftersend_schemas::identity::Person;
use aftersend_schemas::ledger::LedgerRecord;
use aftersend_schemas::profile::ProfileRecord;
use aftersend_schemas::track_call::TrackCall;

/// Any bytes as the value or the headers of a record.
pub fn records(data: &[u8]) {
    compact(data, ProfileRecord::decode, ProfileRecord::encode);
    compact(data, LedgerRecord::decode, LedgerRecord::encode);
    if let Ok(call) = TrackCall::decode(data) {
        assert_eq!(TrackCall::decode(&call.encode()).as_ref(), Ok(&call));
    }
    headers(data);
    if let Some((text, person)) = std::str::from_utf8(data).ok().and_then(|text| Some((text, Person::parse(text)?))) {
        assert_eq!(person.to_string(), text);
    }
}

/// What is read survives being written; what breaks off or goes on is not read.
fn compact<T: Debug + PartialEq>(data: &[u8], decode: fn(&[u8]) -> Result<T, DecodeError>, encode: fn(&T) -> Vec<u8>) {
    let read = decode(data);
    match &read {
        Ok(record) => {
            assert_eq!(decode(&encode(record)), read);
            assert!(decode(&data[..data.len() - 1]).is_err() && decode(&[data, &[0]].concat()).is_err());
        }
        Err(DecodeError::TooNew { found, known, .. }) => {
            assert!(found > known && Some(*found) == data.first().map(|byte| u32::from(*byte)))
        }
        Err(DecodeError::Malformed { .. }) => {}
    }
}

/// One header a line, name and value parted by the first colon.
fn headers(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((std::str::from_utf8(&line[..colon]).ok()?, &line[colon + 1..]))
    });
    match Dead::from_headers(lines.clone()) {
        Ok(dead) => {
            let written: Vec<_> = dead.to_headers().collect();
            let read = Dead::from_headers(written.iter().map(|(name, value)| (*name, value.as_bytes())));
            assert_eq!(read, Ok(dead));
        }
        Err(error) => assert!(matches!(error, DecodeError::TooNew { found, known, .. } if found > known)),
    }
    let received = Received::from_headers(lines, 5);
    let written: Vec<_> = received.to_headers().collect();
    let read = Received::from_headers(written.iter().map(|(name, value)| (*name, value.as_bytes())), 6);
    assert_eq!(read, received);
}
