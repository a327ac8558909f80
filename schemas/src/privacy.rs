//! How addresses are stored: hashed under a key (the default), in clear, or not at all.

use ring::hmac;

use crate::address::Address;

/// A key of the address hash and the first second (Unix) of event time it is used for.
#[derive(Clone)]
pub struct HashKey {
    key: hmac::Key,
    valid_from: i64,
}

impl HashKey {
    /// `secret` as the bytes of its text; `valid_from` in Unix seconds. The oldest key also serves everything before it.
    pub fn new(secret: &[u8], valid_from: i64) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), valid_from }
    }

    /// HMAC-SHA256 of the normalised address, cut to 16 bytes: enough that two addresses of one workspace never meet.
    fn hash(&self, address: &Address) -> [u8; 16] {
        let mut hash = [0; 16];
        let tag = hmac::sign(&self.key, address.as_str().as_bytes());
        hash.copy_from_slice(&tag.as_ref()[..16]);
        hash
    }
}

/// What happens to addresses, from `[privacy]`.
#[derive(Clone)]
pub enum Privacy {
    /// Stored as a keyed hash. Keys are sorted by `valid_from`, oldest first; there is at least one.
    Hash(HashKeys),
    /// Stored in clear, beside the hash.
    Plain(HashKeys),
    /// Not stored in any form.
    Drop,
}

/// At least one key, oldest first.
#[derive(Clone)]
pub struct HashKeys(Vec<HashKey>);

impl HashKeys {
    /// Sorts the keys; nothing if there is none.
    pub fn new(mut keys: Vec<HashKey>) -> Option<Self> {
        keys.sort_by_key(|key| key.valid_from);
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// The key for an event of that time: the newest that was already valid. Undated events take the oldest.
    fn at(&self, seconds: Option<i64>) -> &HashKey {
        let valid = self.0.iter().rev().find(|key| seconds.is_some_and(|at| key.valid_from <= at));
        valid.unwrap_or(&self.0[0])
    }
}

impl Privacy {
    fn keys(&self) -> Option<&HashKeys> {
        match self {
            Self::Hash(keys) | Self::Plain(keys) => Some(keys),
            Self::Drop => None,
        }
    }

    /// The address as it is stored: 32 hex characters, by the key of the event's time.
    pub fn hash(&self, address: &Address, seconds: Option<i64>) -> Option<String> {
        let mut digits = [0; 32];
        hex::encode_to_slice(self.keys()?.at(seconds).hash(address), &mut digits).ok()?;
        std::str::from_utf8(&digits).ok().map(str::to_owned)
    }

    /// Who somebody is of whom only an address is known: 32 hex characters, always by the oldest key, so that a new key makes nobody a stranger.
    pub fn identity(&self, address: &Address) -> Option<String> {
        Some(hex::encode(self.keys()?.0[0].hash(address)))
    }

    /// The address as it is compared inside the state: always by the oldest key, so that a new key lifts no gate.
    ///
    /// Keep the oldest key in the list for as long as gates set under it should hold.
    pub fn compare_hash(&self, address: &Address) -> Option<u64> {
        let hash = self.keys()?.0[0].hash(address);
        hash.first_chunk().map(|first| u64::from_be_bytes(*first))
    }

    /// True if clear addresses may be stored outside the original bytes.
    pub fn keeps_clear_text(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

/// A short fixed set-up for tests and examples of other modules.
#[cfg(test)]
pub(crate) fn for_tests() -> Privacy {
    Privacy::Hash(HashKeys(vec![HashKey::new(b"test key", 0)]))
}

/// The same keys, with addresses in clear beside the hash.
#[cfg(test)]
pub(crate) fn plain_for_tests() -> Privacy {
    match for_tests() {
        Privacy::Hash(keys) => Privacy::Plain(keys),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(list: &[(&str, i64)]) -> HashKeys {
        HashKeys::new(list.iter().map(|(key, valid_from)| HashKey::new(key.as_bytes(), *valid_from)).collect()).unwrap()
    }

    #[test]
    fn the_time_of_the_event_chooses_the_key_and_comparison_survives_rotation() {
        let address = Address::read("a@b.example").unwrap();
        let before = Privacy::Hash(keys(&[("one", 0)]));
        let after = Privacy::Hash(keys(&[("two", 1_000), ("one", 0)]));
        assert_eq!(before.hash(&address, Some(999)), after.hash(&address, Some(999)));
        assert_ne!(after.hash(&address, Some(999)), after.hash(&address, Some(1_000)));
        assert_eq!(before.compare_hash(&address), after.compare_hash(&address));
        assert_eq!(before.identity(&address), after.identity(&address));
        assert_eq!(before.identity(&address), before.hash(&address, None));
    }

    #[test]
    fn the_hash_is_hmac_sha256_as_any_tool_computes_it() {
        // printf %s a@b.example | openssl dgst -sha256 -hmac 'test key'
        let hash = for_tests().hash(&Address::read("A@b.example").unwrap(), None).unwrap();
        assert_eq!(hash, "e0133736c049df33bb251ff893de6ea7");
    }

    #[test]
    fn a_dropped_address_leaves_nothing() {
        let address = Address::read("a@b.example").unwrap();
        assert_eq!(Privacy::Drop.hash(&address, Some(1)), None);
        assert_eq!(Privacy::Drop.compare_hash(&address), None);
    }
}
