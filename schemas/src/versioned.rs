//! Records between services: one version byte, then the fields in postcard's compact encoding.

use serde::{Serialize, de::DeserializeOwned};

/// Why a record's bytes could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Written by a newer release: upgrade this one before it writes over what it cannot read.
    #[error("record has version {found}, this release reads up to {known}")]
    TooNew {
        /// Version in the record.
        found: u8,
        /// Newest version this release knows.
        known: u8,
    },
    /// Not what a record of its version looks like.
    #[error("record of version {version} is malformed")]
    Malformed {
        /// Version in the record; 0 for an empty record.
        version: u8,
    },
}

/// Encodes a record of the given version.
pub(crate) fn encode(version: u8, record: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![version];
    // Serialising plain data into a growing buffer has no way to fail.
    if let Ok(encoded) = postcard::to_extend(record, std::mem::take(&mut bytes)) {
        bytes = encoded;
    }
    bytes
}

/// Decodes a record of the only version there is so far.
pub(crate) fn decode<T: DeserializeOwned>(known: u8, bytes: &[u8]) -> Result<T, DecodeError> {
    match bytes.split_first() {
        Some((version, rest)) if *version == known => postcard::from_bytes(rest).map_err(|_| DecodeError::Malformed { version: *version }),
        Some((found, _)) if *found > known => Err(DecodeError::TooNew { found: *found, known }),
        Some((version, _)) => Err(DecodeError::Malformed { version: *version }),
        None => Err(DecodeError::Malformed { version: 0 }),
    }
}
