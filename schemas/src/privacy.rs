//! How addresses are stored: hashed under a key (the default), in clear, or not at all.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::address::Address;

/// A key of the address hash and the first second (Unix) of event time it is used for.
#[derive(Clone)]
pub struct HashKey {
    /// The secret, as the bytes of its text.
    pub key: Vec<u8>,
    /// Unix seconds; the oldest key also serves everything before it.
    pub valid_from: i64,
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

    fn hash(&self, address: &Address, seconds: Option<i64>) -> String {
        hex::encode(keyed_hash(&self.at(seconds).key, address))
    }
}

/// HMAC-SHA256 of the normalised address, cut to 16 bytes: enough that two addresses of one workspace never meet.
fn keyed_hash(key: &[u8], address: &Address) -> [u8; 16] {
    let mut hash = [0; 16];
    // HMAC takes keys of any length, so this cannot fail; an empty hash would only merge addresses.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) {
        mac.update(address.as_str().as_bytes());
        hash.copy_from_slice(&mac.finalize().into_bytes()[..16]);
    }
    hash
}

impl Privacy {
    fn keys(&self) -> Option<&HashKeys> {
        match self {
            Self::Hash(keys) | Self::Plain(keys) => Some(keys),
            Self::Drop => None,
        }
    }

    /// The address as it is stored and used as an identity: 32 hex characters, by the key of the event's time.
    pub fn hash(&self, address: &Address, seconds: Option<i64>) -> Option<String> {
        self.keys().map(|keys| keys.hash(address, seconds))
    }

    /// The address as it is compared inside the state: always by the oldest key, so that a new key lifts no gate.
    ///
    /// Keep the oldest key in the list for as long as gates set under it should hold.
    pub fn compare_hash(&self, address: &Address) -> Option<u64> {
        let hash = keyed_hash(&self.keys()?.0[0].key, address);
        Some(u64::from_be_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]]))
    }

    /// True if clear addresses may be stored outside the original bytes.
    pub fn keeps_clear_text(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

/// A short fixed set-up for tests and examples of other modules.
#[cfg(test)]
pub(crate) fn for_tests() -> Privacy {
    Privacy::Hash(HashKeys(vec![HashKey { key: b"test key".to_vec(), valid_from: 0 }]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(list: &[(&str, i64)]) -> HashKeys {
        HashKeys::new(list.iter().map(|(key, valid_from)| HashKey { key: key.as_bytes().to_vec(), valid_from: *valid_from }).collect())
            .unwrap()
    }

    #[test]
    fn the_time_of_the_event_chooses_the_key_and_comparison_survives_rotation() {
        let address = Address::read("a@b.example").unwrap();
        let before = Privacy::Hash(keys(&[("one", 0)]));
        let after = Privacy::Hash(keys(&[("two", 1_000), ("one", 0)]));
        assert_eq!(before.hash(&address, Some(999)), after.hash(&address, Some(999)));
        assert_ne!(after.hash(&address, Some(999)), after.hash(&address, Some(1_000)));
        assert_eq!(before.compare_hash(&address), after.compare_hash(&address));
    }

    #[test]
    fn a_dropped_address_leaves_nothing() {
        let address = Address::read("a@b.example").unwrap();
        assert_eq!(Privacy::Drop.hash(&address, Some(1)), None);
        assert_eq!(Privacy::Drop.compare_hash(&address), None);
    }
}
