//! A value and the kinds it is taken for, leniently.

use std::borrow::Cow;

use super::Reader;
use super::text::{trim, unescape};

/// A value as it stands in its document: valid JSON, unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    pub(super) source: &'a str,
    /// A string with a backslash in it; lists and objects may have some all the same.
    pub(super) is_escaped: bool,
}

impl<'a> Value<'a> {
    /// Its source text.
    pub fn get(self) -> &'a str {
        self.source
    }

    /// A text, or a number's literal digits, trimmed; nothing for blank, null, booleans, lists and objects.
    #[inline]
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.source.as_bytes().first()? {
            b'"' if self.is_escaped => self.escaped_text().map(Cow::Owned),
            b'"' => Some(trim(self.between_quotes()?)).filter(|text| !text.is_empty()).map(Cow::Borrowed),
            b'-' | b'0'..=b'9' => Some(Cow::Borrowed(self.source)),
            _ => None,
        }
    }

    #[cold]
    fn escaped_text(self) -> Option<String> {
        let text = unescape(self.source)?;
        Some(trim(&text)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// The content of a text as it is; a lone surrogate, as of a text that was cut within an emoji, is U+FFFD.
    #[inline]
    pub fn string(self) -> Option<Cow<'a, str>> {
        if self.is_escaped {
            return unescape(self.source).map(Cow::Owned);
        }
        if self.source.starts_with('"') { self.between_quotes().map(Cow::Borrowed) } else { None }
    }

    /// The content of a text without escapes.
    #[inline]
    fn between_quotes(self) -> Option<&'a str> {
        self.source.get(1..self.source.len().checked_sub(1)?)
    }

    /// A whole number that was written as a number or as a text.
    pub fn integer(self) -> Option<i64> {
        self.text()?.parse().ok()
    }

    /// A boolean, also as a text in any letter case, or as 1 or 0.
    pub fn boolean(self) -> Option<bool> {
        match self.source {
            "true" => Some(true),
            "false" => Some(false),
            _ => match self.text()?.as_ref() {
                "1" => Some(true),
                "0" => Some(false),
                text if text.eq_ignore_ascii_case("true") => Some(true),
                text if text.eq_ignore_ascii_case("false") => Some(false),
                _ => None,
            },
        }
    }

    /// True for `null`.
    pub fn is_null(self) -> bool {
        self.source == "null"
    }

    /// True for `null` and for texts of nothing but whitespace.
    pub fn is_blank(self) -> bool {
        self.is_null() || self.string().is_some_and(|text| trim(&text).is_empty())
    }

    /// True for an object.
    pub fn is_object(self) -> bool {
        self.source.starts_with('{')
    }

    /// The values of a list; nothing for anything else.
    pub fn items(self) -> impl Iterator<Item = Value<'a>> {
        let mut reader = Reader::new(self.source);
        let mut more = reader.take(b'[') && reader.next() != Some(b']');
        std::iter::from_fn(move || {
            let item = more.then(|| reader.value()).flatten();
            more = reader.take(b',');
            item.map(|span| span.of(self.source))
        })
    }

    /// The member of an object under `name`; of a repeated name the last. Nothing for anything else.
    pub fn member(self, name: &str) -> Option<Value<'a>> {
        let mut reader = Reader::new(self.source);
        let mut found = None;
        let mut more = reader.take(b'{') && reader.next() != Some(b'}');
        while more {
            let member = reader.name()?.of(self.source);
            let value = reader.value()?.of(self.source);
            if member.string().is_some_and(|text| text == name) {
                found = Some(value);
            }
            more = reader.take(b',');
        }
        found
    }
}
