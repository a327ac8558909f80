use xxhash_rust::xxh3::xxh3_64;

use super::{Address, provider};

/// A mailbox provider as it is kept in a state and compared: a shipped group of domains, or else the domain itself.
///
/// A hash: stable over releases for as long as the table of groups gives the domain the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ProviderId(pub u32);

impl ProviderId {
    /// No address was given.
    pub const UNKNOWN: Self = Self(0);

    /// Of a domain in the form in which [`Address`] gives it.
    pub fn of_domain(domain: &str) -> Self {
        let name = match provider(domain) {
            "other" => domain,
            group => group,
        };
        // Never 0: that is nobody.
        Self(((xxh3_64(name.as_bytes()) >> 32) as u32).max(1))
    }
}

impl Address {
    /// See [`ProviderId`].
    pub fn provider_id(&self) -> ProviderId {
        ProviderId::of_domain(self.domain())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_of_one_provider_have_one_id_and_everyone_else_has_their_own() {
        let id = ProviderId::of_domain;
        assert_eq!(id("gmail.com"), id("googlemail.com"));
        assert_ne!(id("gmail.com"), id("outlook.com"));
        assert_ne!(id("a.example"), id("b.example"));
        assert_eq!(Address::read("x@A.example").unwrap().provider_id(), id("a.example"));
    }
}
