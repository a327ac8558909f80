use std::collections::BTreeMap;

/// A set that keeps its `LIMIT` largest members, each with the smallest value seen for it.
///
/// The largest members of a union are the largest among the largest members of its parts, so the bound keeps the join a join: what is dropped is dropped in
/// every order. Members begin with their time, so the oldest go first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest<T: Ord, const LIMIT: usize, V> {
    members: BTreeMap<T, V>,
}

impl<T: Ord, V, const LIMIT: usize> Default for Newest<T, LIMIT, V> {
    fn default() -> Self {
        Self { members: BTreeMap::new() }
    }
}

impl<T: Ord, V: Ord, const LIMIT: usize> Newest<T, LIMIT, V> {
    /// Joins one member. True if that changed anything.
    pub fn insert(&mut self, member: T, value: V) -> bool {
        if let Some(known) = self.members.get_mut(&member) {
            let smaller = value < *known;
            if smaller {
                *known = value;
            }
            return smaller;
        }
        if self.members.len() == LIMIT {
            match self.members.first_entry() {
                Some(first) if *first.key() < member => {
                    first.remove();
                }
                _ => return false,
            }
        }
        self.members.insert(member, value);
        true
    }

    /// Joins another set.
    pub fn merge(&mut self, other: Self) {
        for (member, value) in other.members {
            self.insert(member, value);
        }
    }

    /// Members in ascending order, with their values.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (&T, &V)> {
        self.members.iter()
    }

    /// Members in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.members.keys()
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}
