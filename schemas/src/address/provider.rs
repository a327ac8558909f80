use xxhash_rust::xxh3::xxh3_64;

use super::Address;

/// Whom nobody has named.
const OTHER: &str = "other";

/// Exact domains and whose they are, in order.
const DOMAINS: [(&str, &str); 40] = [
    ("126.com", "netease"),
    ("163.com", "netease"),
    ("1und1.de", "gmx"),
    ("aim.com", "yahoo"),
    ("aol.com", "yahoo"),
    ("bk.ru", "mailru"),
    ("comcast.net", "comcast"),
    ("foxmail.com", "tencent"),
    ("gmail.com", "google"),
    ("google.com", "google"),
    ("googlemail.com", "google"),
    ("icloud.com", "apple"),
    ("inbox.ru", "mailru"),
    ("internet.ru", "mailru"),
    ("list.ru", "mailru"),
    ("mac.com", "apple"),
    ("magenta.de", "telekom"),
    ("mail.com", "gmx"),
    ("mail.ru", "mailru"),
    ("me.com", "apple"),
    ("msn.com", "microsoft"),
    ("orange.fr", "orange"),
    ("passport.com", "microsoft"),
    ("pm.me", "proton"),
    ("privaterelay.appleid.com", "apple"),
    ("proton.me", "proton"),
    ("protonmail.ch", "proton"),
    ("protonmail.com", "proton"),
    ("qq.com", "tencent"),
    ("rocketmail.com", "yahoo"),
    ("t-online.de", "telekom"),
    ("verizon.net", "yahoo"),
    ("wanadoo.fr", "orange"),
    ("web.de", "gmx"),
    ("xfinity.com", "comcast"),
    ("ya.ru", "yandex"),
    // Another company than Yahoo, with servers of its own.
    ("yahoo.co.jp", "yahoo_japan"),
    ("yeah.net", "netease"),
    ("ymail.com", "yahoo"),
    ("ymail.ne.jp", "yahoo_japan"),
];

/// First labels under which a provider has one domain per country.
const FAMILIES: [(&str, &str); 7] = [
    ("aol", "yahoo"),
    ("gmx", "gmx"),
    ("hotmail", "microsoft"),
    ("live", "microsoft"),
    ("outlook", "microsoft"),
    ("yahoo", "yahoo"),
    ("yandex", "yandex"),
];

/// The mailbox provider behind a domain, by the shipped table; `other` for everyone else.
pub fn provider(domain: &str) -> &'static str {
    let named = |table: &'static [(&str, &str)], name: &str| {
        table.binary_search_by_key(&name, |(known, _)| known).ok().and_then(|place| table.get(place)).map(|(_, provider)| *provider)
    };
    let family = || {
        let (label, country) = domain.split_once('.')?;
        named(&FAMILIES, label).filter(|_| country.len() <= 6)
    };
    named(&DOMAINS, domain).or_else(family).unwrap_or(OTHER)
}

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
        Self::of_name(match provider(domain) {
            OTHER => domain,
            group => group,
        })
    }

    fn of_name(name: &str) -> Self {
        // Never 0: that is nobody.
        Self(((xxh3_64(name.as_bytes()) >> 32) as u32).max(1))
    }

    /// Its name in the shipped table; `other` for everyone else.
    pub fn name(self) -> &'static str {
        let mut names = DOMAINS.iter().chain(&FAMILIES).map(|(_, name)| *name);
        names.find(|name| Self::of_name(name) == self).unwrap_or(OTHER)
    }
}

impl Address {
    /// The group of domains that one mailbox provider serves; `other` for everyone else.
    pub fn provider(&self) -> &'static str {
        provider(self.domain())
    }

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
        assert_eq!((id("gmail.com").name(), id("live.nl").name(), id("a.example").name()), ("google", "microsoft", "other"));
    }

    #[test]
    fn every_name_in_the_tables_is_found() {
        for (domain, name) in DOMAINS {
            assert_eq!(provider(domain), name, "{domain}");
        }
        for (label, name) in FAMILIES {
            for country in ["com", "co.uk", "com.br"] {
                assert_eq!(provider(&format!("{label}.{country}")), name, "{label}");
            }
            assert_eq!(provider(label), "other", "no domain");
            assert_eq!(provider(&format!("{label}.example")), "other", "somebody else's: no country has so long a name");
        }
    }
}
