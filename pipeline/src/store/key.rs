use std::borrow::Borrow;
use std::fmt;

use aftersend_schemas::identity::Person;

/// A person's key beside the number of its partition, as everything local is sorted: one byte, then the text form of the person.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<[u8]>);

impl Key {
    /// Partitions are few: see [`aftersend_schemas::topics::PARTITIONS`].
    pub fn new(partition: i32, person: &Person) -> Self {
        let Person { workspace, namespace, id } = person;
        let namespace = namespace.as_str();
        let mut bytes = Vec::with_capacity(workspace.len() + namespace.len() + id.len() + 3);
        bytes.push(byte(partition));
        bytes.extend_from_slice(workspace.as_bytes());
        bytes.push(b':');
        bytes.extend_from_slice(namespace.as_bytes());
        bytes.push(b':');
        bytes.extend_from_slice(id.as_bytes());
        Self(bytes.into_boxed_slice())
    }

    /// Of a record of a compacted topic.
    pub fn of_record(partition: i32, key: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(key.len() + 1);
        bytes.push(byte(partition));
        bytes.extend_from_slice(key);
        Self(bytes.into_boxed_slice())
    }

    /// As it is stored.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.0.first().copied().unwrap_or_default().into()
    }

    /// The key of the record.
    pub fn text(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }

    /// Whom it names, if anybody.
    pub fn person(&self) -> Option<Person> {
        Person::parse(std::str::from_utf8(self.text()).ok()?)
    }
}

/// The first byte of everything stored for a partition.
pub fn byte(partition: i32) -> u8 {
    u8::try_from(partition).unwrap_or(u8::MAX)
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Ids are nobody's business in a log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.partition())
    }
}
