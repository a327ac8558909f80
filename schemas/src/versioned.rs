//! Records between services: one version byte, then the fields in postcard's encoding; or, where outsiders read them, JSON with a member `version`.
//!
//! How a version is added: `schemas/README.md`.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Why a record could not be read.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Written by a newer release. Whoever meets it stops: writing over it, or passing over it, would lose what is in it.
    #[error("{record} of version {found}: this release reads up to version {known}, upgrade it to go on")]
    TooNew {
        /// What it is a record of.
        record: &'static str,
        /// Version in the record.
        found: u32,
        /// Newest version this release knows.
        known: u32,
    },
    /// Not what a record of its version looks like.
    #[error("{record} of version {version} is malformed")]
    Malformed {
        /// What it is a record of.
        record: &'static str,
        /// Version in the record; 0 if it has none.
        version: u32,
    },
}

/// One kind of record: its name in errors, and the version that this release writes and reads up to.
#[derive(Debug)]
pub struct Format {
    record: &'static str,
    pub(crate) version: u8,
}

impl Format {
    /// A kind of record.
    pub const fn new(record: &'static str, version: u8) -> Self {
        Self { record, version }
    }

    /// The version that this release writes.
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// The record of the newest version.
    pub fn encode(&self, fields: &impl Serialize) -> Vec<u8> {
        // Most records fit, and are never moved while they grow.
        let mut bytes = Vec::with_capacity(512);
        bytes.push(self.version);
        // Serialising plain data into a growing buffer has no way to fail.
        postcard::to_extend(fields, bytes).unwrap_or_default()
    }

    /// The fields of a record of any version but a newer one.
    pub fn open<'b>(&self, bytes: &'b [u8]) -> Result<Fields<'b>, DecodeError> {
        let Some((&version, bytes)) = bytes.split_first() else {
            return Err(DecodeError::Malformed { record: self.record, version: 0 });
        };
        if version > self.version {
            return Err(DecodeError::TooNew { record: self.record, found: version.into(), known: self.version.into() });
        }
        Ok(Fields { record: self.record, version, bytes })
    }
}

/// The fields of a record, not read yet.
#[derive(Debug)]
pub struct Fields<'b> {
    record: &'static str,
    /// The version that tells how to read them.
    pub version: u8,
    bytes: &'b [u8],
}

impl<'b> Fields<'b> {
    /// As they stand, for a record with an encoding of its own.
    pub fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// Reads all of them. Bytes that are left over are an error: fields that were added without a version would be lost by whoever writes the record next.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        match postcard::take_from_bytes(self.bytes) {
            Ok((fields, [])) => Ok(fields),
            _ => Err(self.malformed()),
        }
    }

    /// For a version that never was.
    pub fn malformed(&self) -> DecodeError {
        DecodeError::Malformed { record: self.record, version: self.version.into() }
    }
}

/// One kind of record that is a JSON object: its name in errors, and the version that this release writes and reads up to. Members may be added within a
/// version.
#[derive(Debug)]
pub(crate) struct JsonFormat {
    pub(crate) record: &'static str,
    pub(crate) version: u32,
    /// The version of a record without the member: 0, which is malformed, where the first version had it.
    pub(crate) unmarked: u32,
}

/// What is read first.
#[derive(Deserialize)]
struct Head {
    version: Option<u32>,
}

impl JsonFormat {
    /// The record, which brings its member `version` itself.
    pub(crate) fn encode(&self, record: &impl Serialize) -> Vec<u8> {
        // Text and numbers have no way to fail.
        serde_json::to_vec(record).unwrap_or_default()
    }

    /// A record of any version but a newer one.
    pub(crate) fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, DecodeError> {
        let malformed = |version| DecodeError::Malformed { record: self.record, version };
        let head: Head = serde_json::from_slice(bytes).map_err(|_| malformed(0))?;
        let version = head.version.unwrap_or(self.unmarked);
        if version > self.version {
            return Err(DecodeError::TooNew { record: self.record, found: version, known: self.version });
        }
        match version {
            0 => Err(malformed(0)),
            _ => serde_json::from_slice(bytes).map_err(|_| malformed(version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Format = Format::new("note", 1);
    const SECOND: Format = Format::new("note", 2);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct NoteV1 {
        text: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
        urgent: bool,
    }

    impl From<NoteV1> for Note {
        fn from(note: NoteV1) -> Self {
            Self { text: note.text, urgent: false }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Note, DecodeError> {
        let fields = SECOND.open(bytes)?;
        match fields.version {
            1 => fields.read::<NoteV1>().map(Note::from),
            2 => fields.read(),
            _ => Err(fields.malformed()),
        }
    }

    #[test]
    fn a_second_version_reads_the_first_and_the_first_refuses_the_second_by_name() {
        let first = FIRST.encode(&NoteV1 { text: "a".into() });
        assert_eq!(decode(&first), Ok(Note { text: "a".into(), urgent: false }));
        let note = Note { text: "b".into(), urgent: true };
        let second = SECOND.encode(&note);
        assert_eq!(decode(&second), Ok(note));
        let refused = FIRST.open(&second).map(|fields| fields.version).unwrap_err();
        assert_eq!(refused.to_string(), "note of version 2: this release reads up to version 1, upgrade it to go on");
    }

    #[test]
    fn what_never_was_a_version_is_malformed() {
        assert_eq!(decode(&[]), Err(DecodeError::Malformed { record: "note", version: 0 }));
        assert_eq!(decode(&[0, 1, b'a']), Err(DecodeError::Malformed { record: "note", version: 0 }));
    }
}
