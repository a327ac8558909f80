//! E-mail addresses: one spelling per mailbox, the domain, the mailbox provider, and masking inside texts.

use std::borrow::Cow;

use crate::ascii::letters_digits_and;
use crate::json::trim;

mod escape;
mod mask;
mod provider;

pub(crate) use escape::unescaped;
pub(crate) use mask::mask_word;
pub use mask::{MASK, mask, mask_json};
pub use provider::{ProviderId, provider};

/// An address in the form under which it is compared: trimmed, lower case, its domain in ASCII (Punycode).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    text: String,
    at: usize,
}

impl Address {
    /// Reads an address, also inside `Name <...>`, behind `mailto:`, with a comment or parameters behind it. Nothing if there is none, or if what
    /// follows the `@` is no domain.
    pub fn read(text: &str) -> Option<Self> {
        let visible = visible(text);
        let at = memchr::memrchr(b'@', visible.as_bytes())?;
        let (before, after) = (&visible[..at], &visible[at + 1..]);
        let local = if before.ends_with('"') { before } else { before.rsplit(ends_local).next()? };
        let local = trim(local.trim_start().strip_prefix("mailto:").unwrap_or(local));
        let domain = ascii_domain(domain_of(after).trim_end_matches('.'))?;
        if local.is_empty() || local.len() > LOCAL_BYTES {
            return None;
        }
        let mut text = String::with_capacity(local.len() + 1 + domain.len());
        if local.is_ascii() {
            text.push_str(local);
            text.make_ascii_lowercase();
        } else {
            text.push_str(&local.to_lowercase());
        }
        let at = text.len();
        text.push('@');
        text.push_str(&domain);
        Some(Self { text, at })
    }

    /// The whole address. Personal data: for hashing, and for `[privacy] email = "plain"`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True if a text is an address and nothing else but whose it is: `jane@x.example`, `Jane Doe <jane@x.example>`, `jane@x.example (Jane Doe)`.
    /// Not so with a path around it, as in a URL, or behind a `#`, which begins the name of a channel.
    pub fn is_all_of(text: &str) -> bool {
        let text = trim(text);
        let named = text.strip_suffix('>').and_then(|text| text.rsplit_once('<'));
        let explained = || text.strip_suffix(')').and_then(|text| text.rsplit_once('(')).map(|(address, name)| (name, address));
        let (name, address) = named.or_else(explained).map_or(("", text), |(name, address)| (trim(name), trim(address)));
        let is_quoted = name.len() > 1 && name.starts_with('"') && name.ends_with('"');
        let is_name = is_quoted || !name.contains([',', ';', '@', '\u{ff20}', '\u{fe6b}']);
        let goes_on = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '/');
        is_name && !address.starts_with('#') && !address.contains(goes_on) && Self::read(address).is_some()
    }

    /// What stands before the at sign.
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// The domain in ASCII.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }

    /// The domain in ASCII, without the rest.
    pub fn into_domain(mut self) -> String {
        self.text.drain(..=self.at);
        self.text
    }
}

/// The at sign and its wide forms.
pub(crate) const AT_SIGNS: [char; 3] = ['@', '\u{ff20}', '\u{fe6b}'];

/// Longest local part: several times what RFC 5321 allows, as some senders encode whole addresses in one.
const LOCAL_BYTES: usize = 320;
/// Longest domain (RFC 1035).
const DOMAIN_BYTES: usize = 253;

/// The text without what nobody sees (direction marks, joiners, soft hyphens), the wide forms of `@` as the plain one.
fn visible(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(trim(text));
    }
    let is_unseen =
        |c: char| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let plain = |c: char| if AT_SIGNS.contains(&c) { '@' } else { c };
    let visible: String = text.chars().filter(|c| !is_unseen(*c)).map(plain).collect();
    Cow::Owned(visible.trim().to_owned())
}

/// What stands between a display name, or another address, and a local part without quotes.
fn ends_local(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '(' | ')' | ',' | ';' | '"')
}

/// The beginning of a text that can be a domain: a name, or an address literal in brackets.
fn domain_of(text: &str) -> &str {
    if let Some(literal) = text.strip_prefix('[') {
        let end = literal.find(']').map_or(0, |end| end + 2);
        return &text[..end];
    }
    let end = text.bytes().position(|byte| byte.is_ascii() && !OF_DOMAINS[usize::from(byte)]);
    &text[..end.unwrap_or(text.len())]
}

/// What a domain in ASCII is made of: letters, digits, hyphens, dots, underscores.
const OF_DOMAINS: [bool; 256] = letters_digits_and(b"-._");

/// A domain as the DNS knows it: lower case and in ASCII. Nothing for what can be none.
fn ascii_domain(domain: &str) -> Option<Cow<'_, str>> {
    // IDNA changes nothing but letter case in what is ASCII, and where it refuses (a bad `xn--` label) lower case is all that is left.
    let ascii = if !domain.is_ascii() {
        Cow::Owned(idna::domain_to_ascii(domain).ok()?)
    } else if domain.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(domain.to_ascii_lowercase())
    } else {
        Cow::Borrowed(domain)
    };
    let is_literal = ascii.starts_with('[');
    let may_stand = |byte: u8| OF_DOMAINS[usize::from(byte)] || is_literal && matches!(byte, b'[' | b']' | b':');
    (!ascii.is_empty() && ascii.len() <= DOMAIN_BYTES && ascii.bytes().all(may_stand)).then_some(ascii)
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
        for other in [
            "John Doe <john@dead.example>",
            "\"Doe, John\" <John@Dead.example>",
            "mailto:john@dead.example",
            "john@dead.example (John Smith)",
            "john@dead.example?subject=Hi john",
            "\u{200e}john@dead.example\u{200f}",
            "john\u{ff20}dead.example",
            "other@x.example, john@dead.example",
            "<p>john@dead.example</p>",
        ] {
            assert_eq!(Address::read(other).unwrap().as_str(), "john@dead.example", "{other}");
        }
        assert_eq!(Address::read("x@[192.0.2.1]").unwrap().domain(), "[192.0.2.1]");
        for none in ["\0@\0", "a@b\u{ff20}", "a@\"}", "a@<b>", "a@ b.example", &format!("a@{}", "x".repeat(254))] {
            assert_eq!(Address::read(none), None, "{none}");
        }
    }

    #[test]
    fn an_address_is_told_from_a_text_that_holds_one() {
        for alone in [
            "a@b.example",
            " A@B.example\n",
            "<a@b.example>",
            "Ann Lee <a@b.example>",
            "\"Lee, Ann\" <a@b.example>",
            "a@b.example (Ann Lee)",
            "mailto:a@b.example",
            "a\u{ff20}b.example",
            "a\u{2605}@b.example",
        ] {
            assert!(Address::is_all_of(alone), "{alone}");
        }
        for other in [
            "general, owner a@b.example",
            "general (owner a@b.example)",
            "general, owner <a@b.example>",
            "#a@b.example",
            "https://s.example/?to=a@b.example",
            "s.example/?to=a@b.example",
            "a@b.example, c@d.example",
            "a@b.example <c@d.example>",
            "Ann <a@b.example>, Bob <c@d.example>",
            "no address",
            "<>",
            "",
        ] {
            assert!(!Address::is_all_of(other), "{other}");
        }
    }

    #[test]
    fn providers_are_known_by_domain_and_by_country_family() {
        for (domain, expected) in [
            ("gmail.com", "google"),
            ("hotmail.co.uk", "microsoft"),
            ("outlook.de", "microsoft"),
            ("yahoo.co.jp", "yahoo_japan"),
            ("yahoo.co.uk", "yahoo"),
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
            if let Some(ascii) = ascii_domain(&domain) {
                prop_assert_eq!(ascii, by_idna);
            }
        }
    }
}
