use std::fmt;

use aftersend_schemas::event::Event;
use aftersend_schemas::identity::{Namespace, Person};
use aftersend_schemas::privacy::Privacy;

/// The address of somebody known only by it, where it may be kept in clear. It is no evidence: nothing is judged by it, it is there to write back to.
///
/// A join like the evidence. All events of such a person name one mailbox, in its one spelling; should another release have spelled it otherwise, the
/// smaller text stays.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ClearAddress(Option<Box<str>>);

impl ClearAddress {
    /// What an event says of its person. Nothing for people with an id, and nothing unless the rules keep addresses in clear.
    pub fn of(event: &Event<'_>, person: &Person, privacy: &Privacy) -> Self {
        if person.namespace != Namespace::Email || !privacy.keeps_clear_text() {
            return Self::default();
        }
        Self(event.address_of_person().map(|address| address.as_str().into()))
    }

    /// As it was written down.
    pub fn known(address: Option<&str>) -> Self {
        Self(address.map(Into::into))
    }

    /// Joins what else is known. True if that changed anything.
    pub fn join(&mut self, other: &Self) -> bool {
        let gains = match (&self.0, &other.0) {
            (Some(known), Some(said)) => said < known,
            (None, said) => said.is_some(),
            (Some(_), None) => false,
        };
        if gains {
            self.clone_from(other);
        }
        gains
    }

    /// Personal data.
    pub fn as_deref(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// Addresses are nobody's business in a log.
impl fmt::Debug for ClearAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "ClearAddress(…)" } else { "ClearAddress" })
    }
}

#[cfg(test)]
mod tests {
    use aftersend_schemas::identity::Subject;
    use aftersend_schemas::privacy::{HashKey, HashKeys};
    use proptest::prelude::*;

    use super::*;

    const BY_ADDRESS: &str = r#"{"customer_id":" ","identifiers":{"id":null},"recipient":"Ana <ANA@Bücher.example>"}"#;

    fn keys() -> HashKeys {
        HashKeys::new(vec![HashKey::new(b"a key", 0)]).unwrap()
    }

    /// The person behind an event, and the address that is kept of them.
    fn kept(data: &str, privacy: &Privacy) -> Option<(Namespace, Option<String>)> {
        let body = format!(r#"{{"object_type":"email","metric":"sent","event_id":"e","timestamp":1770000000,"data":{data}}}"#);
        let event = Event::read(body.as_bytes()).unwrap();
        let subject = Subject::of(&event, privacy);
        let person = subject.person("default", &subject.key())?;
        let address = ClearAddress::of(&event, &person, privacy);
        Some((person.namespace, address.as_deref().map(str::to_owned)))
    }

    #[test]
    fn only_people_without_an_id_have_an_address_and_only_where_it_may_be_kept() {
        let (hash, plain) = (Privacy::Hash(keys()), Privacy::Plain(keys()));
        let address = Some("ana@xn--bcher-kva.example".to_owned());
        assert_eq!(kept(BY_ADDRESS, &plain), Some((Namespace::Email, address)));
        assert_eq!(kept(BY_ADDRESS, &hash), Some((Namespace::Email, None)));
        assert_eq!(kept(BY_ADDRESS, &Privacy::Drop), None);
        for (data, namespace) in [
            (r#"{"customer_id":"u-1","recipient":"ana@b.example"}"#, Namespace::Id),
            (r#"{"identifiers":{"cio_id":"c0ffee"},"recipient":"ana@b.example"}"#, Namespace::Cio),
        ] {
            assert_eq!(kept(data, &plain), Some((namespace, None)));
        }
    }

    #[test]
    fn an_address_is_shown_by_no_debug_output() {
        assert_eq!(format!("{:?}", ClearAddress::known(Some("ana@b.example"))), "ClearAddress(…)");
    }

    proptest! {
        #[test]
        fn any_order_any_duplicates_and_any_split_give_the_same_address(
            said in prop::collection::vec(prop::option::of("[a-c]{1,2}@b\\.example"), 0..8),
            seed in any::<u64>(),
            split in any::<prop::sample::Index>(),
        ) {
            let joined = |said: &[Option<String>]| {
                let mut known = ClearAddress::default();
                for address in said {
                    let before = known.clone();
                    let changed = known.join(&ClearAddress::known(address.as_deref()));
                    prop_assert_eq!(changed, known != before);
                }
                Ok(known)
            };
            let expected = joined(&said)?;
            let mut shuffled: Vec<_> = said.iter().chain(&said[..said.len() / 2]).cloned().collect();
            shuffled.sort_by_key(|address| xxhash_rust::xxh3::xxh3_64_with_seed(format!("{address:?}").as_bytes(), seed));
            prop_assert_eq!(&joined(&shuffled)?, &expected);
            let (left, right) = shuffled.split_at(split.index(shuffled.len() + 1));
            let mut merged = joined(right)?;
            merged.join(&joined(left)?);
            prop_assert_eq!(merged, expected);
        }
    }
}
