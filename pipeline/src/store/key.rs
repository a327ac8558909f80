use std::borrow::Borrow;
use std::fmt;

use aftersend_schemas::identity::Person;
use fjall::Slice;
use xxhash_rust::xxh3::xxh3_64;

/// Between the partition and the text: people whose texts begin alike lie apart, so that the tables of the store, which compare the first four bytes
/// before they follow a pointer, seldom have to follow one.
const HASH: usize = 4;
const TEXT: usize = 1 + HASH;

/// A person's key beside the number of its partition, as everything local is sorted: one byte, a hash of the text, then the text form of the person. Clones
/// share it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Slice);

impl Key {
    /// Partitions are few: see [`aftersend_schemas::topics::PARTITIONS`].
    pub fn new(partition: i32, person: &Person) -> Self {
        let Person { workspace, namespace, id } = person;
        let namespace = namespace.as_str();
        Self::of(partition, &[workspace.as_bytes(), b":", namespace.as_bytes(), b":", id.as_bytes()])
    }

    /// Of a record of a compacted topic.
    pub fn of_record(partition: i32, key: &[u8]) -> Self {
        Self::of(partition, &[key])
    }

    fn of(partition: i32, text: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(TEXT + text.iter().map(|part| part.len()).sum::<usize>());
        bytes.extend_from_slice(&[byte(partition), 0, 0, 0, 0]);
        text.iter().for_each(|part| bytes.extend_from_slice(part));
        if let Some((head, text)) = bytes.split_at_mut_checked(TEXT) {
            let hash = xxh3_64(text).to_be_bytes();
            head.iter_mut().skip(1).zip(hash).for_each(|(to, from)| *to = from);
        }
        Self(bytes.into())
    }

    /// As it is stored.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn shared(&self) -> Slice {
        self.0.clone()
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.0.first().copied().unwrap_or_default().into()
    }

    /// The key of the record.
    pub fn text(&self) -> &[u8] {
        self.0.get(TEXT..).unwrap_or_default()
    }

    /// The workspace, which is what stands first.
    pub fn workspace(&self) -> &str {
        let name = self.text().split(|byte| *byte == b':').next().unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }

    /// False if it was never a person's key.
    pub fn names_somebody(&self) -> bool {
        std::str::from_utf8(self.text()).is_ok_and(|text| Person::parts(text).is_some())
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

#[cfg(test)]
mod tests {
    use aftersend_schemas::identity::Namespace;

    use super::*;

    #[test]
    fn a_key_tells_partition_workspace_and_person_again_and_sorts_by_partition() {
        let person = Person { workspace: "acme".into(), namespace: Namespace::Email, id: "a:b\u{fc}".into() };
        let key = Key::new(3, &person);
        assert_eq!((key.partition(), key.workspace(), key.person()), (3, "acme", Some(person.clone())));
        assert_eq!(key.text(), person.to_string().as_bytes());
        assert_eq!(key, Key::of_record(3, person.to_string().as_bytes()), "a record's key names the same row");
        let beside = Key::new(3, &Person { id: "other".into(), ..person });
        assert_ne!(key.bytes()[1..TEXT], beside.bytes()[1..TEXT], "neighbours in the alphabet are none in the store");
        assert!(key.max(beside) < Key::of_record(4, b""));
    }

    #[test]
    fn any_bytes_make_a_key_and_only_a_persons_text_names_somebody() {
        for text in [&b""[..], b"acme", b"acme:id:", b":id:u", b"acme:other:u", b"\xff:id:u"] {
            let key = Key::of_record(0, text);
            assert_eq!((key.names_somebody(), key.person(), key.text()), (false, None, text));
        }
        assert!(Key::of_record(0, b"acme:id:u").names_somebody());
    }
}
