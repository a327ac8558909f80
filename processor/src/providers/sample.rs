use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A set of messages of which only the `LIMIT` smallest by hash are kept, each with the smallest value seen for it: a join, a fair sample of what was put
/// in, and a count of it, exact up to the limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sample<const LIMIT: usize, V = ()> {
    members: BTreeMap<u32, V>,
}

impl<const LIMIT: usize, V> Default for Sample<LIMIT, V> {
    fn default() -> Self {
        Self { members: BTreeMap::new() }
    }
}

impl<const LIMIT: usize, V: Ord + Copy> Sample<LIMIT, V> {
    /// Joins one message. True if that changed anything.
    pub fn insert(&mut self, message: u32, value: V) -> bool {
        if let Some(known) = self.members.get_mut(&message) {
            let smaller = value < *known;
            if smaller {
                *known = value;
            }
            return smaller;
        }
        if self.members.len() >= LIMIT {
            match self.members.last_entry() {
                Some(last) if *last.key() > message => {
                    last.remove();
                }
                _ => return false,
            }
        }
        self.members.insert(message, value);
        true
    }

    /// Joins another sample. True if that changed anything.
    pub fn merge(&mut self, other: &Self) -> bool {
        other.members.iter().fold(false, |changed, (message, value)| self.insert(*message, *value) | changed)
    }

    /// How many distinct messages were put in: exact below the limit, estimated from how close together the smallest lie above.
    pub fn count(&self) -> f64 {
        match self.members.last_key_value() {
            Some((last, _)) if self.members.len() >= LIMIT => (LIMIT as f64 - 1.0) * (f64::from(u32::MAX) + 1.0) / (f64::from(*last) + 1.0),
            _ => self.members.len() as f64,
        }
    }

    /// The values of the sample.
    pub fn values(&self) -> impl Iterator<Item = V> {
        self.members.values().copied()
    }

    /// True if nothing was put in.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}
