//! E-mail addresses: one spelling per mailbox, the domain, the mailbox provider, and masking inside texts.

use std::borrow::Cow;

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
        let domain = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_lowercase());
        let local = local.to_lowercase();
        let at = local.len();
        Some(Self { text: format!("{local}@{domain}"), at })
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

/// What stands in a text where an address was.
pub const MASK: &str = "[address]";

/// Replaces everything that looks like an address, also with a percent-encoded `@`. For texts, not for JSON source: see [`mask_json`].
pub fn mask(text: &str) -> Cow<'_, str> {
    let mut masked = String::new();
    let mut copied = 0;
    let mut from = 0;
    while let Some((at, len)) = find_at(text, from) {
        let start = text[copied..at].char_indices().rev().take_while(|(_, c)| is_local(*c)).last().map_or(at, |(i, _)| copied + i);
        let end = text[at + len..].char_indices().find(|(_, c)| !is_domain(*c)).map_or(text.len(), |(i, _)| at + len + i);
        if start < at && end > at + len {
            masked.push_str(&text[copied..start]);
            masked.push_str(MASK);
            copied = end;
            from = end;
        } else {
            from = at + len;
        }
    }
    if masked.is_empty() {
        return Cow::Borrowed(text);
    }
    masked.push_str(&text[copied..]);
    Cow::Owned(masked)
}

/// Masks addresses in every text and member name of a JSON document.
pub fn mask_json(source: &str) -> Cow<'_, str> {
    if !["@", "%40", "\\u0040"].iter().any(|at| source.contains(at)) {
        return Cow::Borrowed(source);
    }
    match serde_json::from_str::<serde_json::Value>(source) {
        Ok(value) => Cow::Owned(mask_value(value).to_string()),
        // Too deep or with a lone surrogate: nothing of it can be shown safely.
        Err(_) => Cow::Owned(format!("\"{MASK}\"")),
    }
}

fn mask_value(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => Value::String(mask(&text).into_owned()),
        Value::Array(items) => items.into_iter().map(mask_value).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (mask(&name).into_owned(), mask_value(value))).collect(),
        other => other,
    }
}

/// The next `@` or `%40` at or after `from`: where it is, and how long.
fn find_at(text: &str, from: usize) -> Option<(usize, usize)> {
    ["@", "%40"].iter().filter_map(|at| Some((text[from..].find(at)? + from, at.len()))).min()
}

fn is_local(c: char) -> bool {
    c.is_alphanumeric() || "!#$%*+-^_~.".contains(c)
}

fn is_domain(c: char) -> bool {
    c.is_alphanumeric() || c == '.' || c == '-' || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mailbox_has_one_spelling() {
        let a = Address::read(" Zoë@BÜCHER.example. ").unwrap();
        assert_eq!(a.as_str(), "zoë@xn--bcher-kva.example");
        assert_eq!(a.domain(), "xn--bcher-kva.example");
        assert_eq!(Address::read("no address"), None);
        assert_eq!(Address::read("@x.example"), None);
        assert_eq!(Address::read("x@"), None);
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

    #[test]
    fn addresses_inside_texts_are_masked_and_the_rest_stays() {
        for (text, expected) in [
            ("550 5.1.1 <gone@dead.example>: User unknown", "550 5.1.1 <[address]>: User unknown"),
            ("a.b+c@x.example, d@y.example", "[address], [address]"),
            ("https://s.example/?email=a%40b.example&x=1", "https://s.example/?email=[address]&x=1"),
            ("zoë@bücher.example", "[address]"),
            ("meet @ noon", "meet @ noon"),
            ("no address", "no address"),
        ] {
            assert_eq!(mask(text), expected);
        }
    }

    #[test]
    fn masked_json_stays_json() {
        let source = r#"{"to":"a\u0040b.example","lines":["\nx@y.example",{"z@y.example":1}],"n":1.50}"#;
        assert_eq!(mask_json(source), r#"{"lines":["\n[address]",{"[address]":1}],"n":1.5,"to":"[address]"}"#);
        assert_eq!(mask_json(r#"{"n":1.50}"#), r#"{"n":1.50}"#);
    }
}
