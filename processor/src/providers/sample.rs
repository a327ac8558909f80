use serde::{Deserialize, Serialize};

/// A set of messages of which only the `LIMIT` smallest by hash are kept, each with the smallest value seen for it: a join, a fair sample of what was put
/// in, and a count of it, exact up to the limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u32, V)>", bound(deserialize = "V: Ord + Copy + Deserialize<'de>"))]
#[serde(into = "Vec<(u32, V)>", bound(serialize = "V: Ord + Copy + Serialize"))]
pub struct Sample<const LIMIT: usize, V = ()> {
    /// Sorted, each message once.
    members: Vec<(u32, V)>,
}

impl<const LIMIT: usize, V> Default for Sample<LIMIT, V> {
    fn default() -> Self {
        Self { members: Vec::new() }
    }
}

impl<const LIMIT: usize, V: Ord + Copy> From<Vec<(u32, V)>> for Sample<LIMIT, V> {
    fn from(members: Vec<(u32, V)>) -> Self {
        let mut sample = Self { members: Vec::with_capacity(members.len().min(LIMIT)) };
        for (message, value) in members {
            sample.insert(message, value);
        }
        sample
    }
}

impl<const LIMIT: usize, V> From<Sample<LIMIT, V>> for Vec<(u32, V)> {
    fn from(sample: Sample<LIMIT, V>) -> Self {
        sample.members
    }
}

impl<const LIMIT: usize, V: Ord + Copy> Sample<LIMIT, V> {
    /// Joins one message. True if that changed anything.
    pub fn insert(&mut self, message: u32, value: V) -> bool {
        match self.members.last() {
            // What comes in order needs no search; what lies beyond a full sample changes nothing.
            Some((last, _)) if *last < message => {
                let has_room = self.members.len() < LIMIT;
                if has_room {
                    self.members.push((message, value));
                }
                return has_room;
            }
            _ => {}
        }
        match self.members.binary_search_by_key(&message, |(known, _)| *known) {
            Ok(place) => {
                let known = self.members.get_mut(place).filter(|(_, known)| value < *known);
                known.map(|(_, known)| *known = value).is_some()
            }
            Err(place) => {
                self.members.truncate(LIMIT - 1);
                self.members.insert(place, (message, value));
                true
            }
        }
    }

    /// Joins another sample. True if that changed anything.
    pub fn merge(&mut self, other: &Self) -> bool {
        if self.members.is_empty() {
            self.members.clone_from(&other.members);
            return !other.members.is_empty();
        }
        other.members.iter().fold(false, |changed, (message, value)| self.insert(*message, *value) | changed)
    }

    /// How many distinct messages were put in: exact below the limit, estimated from how close together the smallest lie above.
    pub fn count(&self) -> f64 {
        match self.members.last() {
            Some((last, _)) if self.members.len() >= LIMIT => (LIMIT as f64 - 1.0) * (f64::from(u32::MAX) + 1.0) / (f64::from(*last) + 1.0),
            _ => self.members.len() as f64,
        }
    }

    /// The values of the sample.
    pub fn values(&self) -> impl Iterator<Item = V> {
        self.members.iter().map(|(_, value)| *value)
    }

    /// True if nothing was put in.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}
