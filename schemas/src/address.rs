//! E-mail addresses: one spelling per mailbox, the domain, the mailbox provider, and masking inside texts.

mod escape;
mod mask;

pub use mask::{MASK, mask, mask_json};

/// An address in the form under which it is compared: trimmed, lower case, its domain in ASCII (Punycode).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    text: String,
    at: usize,
}

impl Address {
    /// Reads an address. Nothing if there is no `@` with text on both sides.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@')?;
        let domain = domain.trim_end_matches('.');
        if local.is_empty() || domain.is_empty() {
            return None;
        }
        let domain = ascii_domain(domain);
        if domain.is_empty() {
            return None;
        }
        let mut text = local.to_lowercase();
        let at = text.len();
        text.push('@');
        text.push_str(&domain);
        Some(Self { text, at })
    }

    /// The whole address. Personal data: for hashing, and for `[privacy] email = "plain"`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The domain in ASCII.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }

    /// The group of domains that one mailbox provider serves; `other` for everyone else.
    pub fn provider(&self) -> &'static str {
        provider(self.domain())
    }
}

/// A domain as the DNS knows it: lower case and, unless it is no domain at all, in ASCII.
fn ascii_domain(domain: &str) -> String {
    // IDNA changes nothing but letter case in what is ASCII, and where it refuses (a bad `xn--` label) lower case is all that is left.
    if domain.is_ascii() {
        return domain.to_ascii_lowercase();
    }
    idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_lowercase())
}

/// The mailbox provider behind a domain, by the shipped table.
pub fn provider(domain: &str) -> &'static str {
    /// A provider, its exact domains, and the first labels under which it has one domain per country.
    type Provider = (&'static str, &'static [&'static str], &'static [&'static str]);
    const PROVIDERS: &[Provider] = &[
        ("google", &["gmail.com", "googlemail.com", "google.com"], &[]),
        ("microsoft", &["msn.com", "passport.com"], &["outlook", "hotmail", "live"]),
        ("yahoo", &["ymail.com", "rocketmail.com", "aol.com", "aim.com", "verizon.net"], &["yahoo", "aol"]),
        ("apple", &["icloud.com", "me.com", "mac.com", "privaterelay.appleid.com"], &[]),
        ("proton", &["protonmail.com", "proton.me", "pm.me", "protonmail.ch"], &[]),
        ("gmx", &["web.de", "mail.com", "1und1.de"], &["gmx"]),
        ("telekom", &["t-online.de", "magenta.de"], &[]),
        ("orange", &["orange.fr", "wanadoo.fr"], &[]),
        ("comcast", &["comcast.net", "xfinity.com"], &[]),
        ("yandex", &["ya.ru"], &["yandex"]),
        ("mailru", &["mail.ru", "bk.ru", "list.ru", "inbox.ru", "internet.ru"], &[]),
        ("netease", &["163.com", "126.com", "yeah.net"], &[]),
        ("tencent", &["qq.com", "foxmail.com"], &[]),
    ];
    let first_label = domain.split_once('.').filter(|(_, rest)| rest.len() <= 6).map(|(label, _)| label);
    PROVIDERS
        .iter()
        .find(|(_, domains, families)| domains.contains(&domain) || first_label.is_some_and(|label| families.contains(&label)))
        .map_or("other", |(name, _, _)| name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_mailbox_has_one_spelling() {
        let a = Address::read(" Zoë@BÜCHER.example. ").unwrap();
        assert_eq!(a.as_str(), "zoë@xn--bcher-kva.example");
        assert_eq!(a.domain(), "xn--bcher-kva.example");
        assert_eq!(Address::read("no address"), None);
        assert_eq!(Address::read("@x.example"), None);
        assert_eq!(Address::read("x@"), None);
        assert_eq!(Address::read("x@\u{ad}"), None, "nothing is left of a soft hyphen");
    }

    #[test]
    fn providers_are_known_by_domain_and_by_country_family() {
        for (domain, expected) in [
            ("gmail.com", "google"),
            ("hotmail.co.uk", "microsoft"),
            ("outlook.de", "microsoft"),
            ("yahoo.co.jp", "yahoo"),
            ("gmx.net", "gmx"),
            ("live.mycompany.example", "other"),
            ("shop.example", "other"),
        ] {
            assert_eq!(provider(domain), expected, "{domain}");
        }
    }

    proptest! {
        #[test]
        fn an_ascii_domain_is_what_idna_makes_of_it(
            domain in prop_oneof![
                "[ -~]{1,30}",
                "[a-zA-Z0-9._-]{1,40}",
                "((xn--|XN--|xN--)?[a-zA-Z0-9-]{0,12}\\.?){1,4}",
                // Labels that are valid Punycode, in any letter case, beside labels that are none.
                prop::collection::vec(("\\PC{1,6}", any::<bool>(), "[A-Za-z0-9-]{0,6}"), 1..4).prop_map(|labels| {
                    let labels = labels.into_iter().map(|(label, upper, plain)| {
                        let label = idna::domain_to_ascii(&label).ok().filter(|label| label.is_ascii()).unwrap_or_default();
                        format!("{}.{plain}", if upper { label.to_ascii_uppercase() } else { label })
                    });
                    labels.collect::<Vec<_>>().join(".")
                }),
            ],
        ) {
            let by_idna = idna::domain_to_ascii(&domain).unwrap_or_else(|_| domain.to_lowercase());
            prop_assert_eq!(ascii_domain(&domain), by_idna);
        }
    }
}
