//! The one decision about what is a JSON object, and lenient reading of values.
//!
//! Ingest uses it to choose between `raw` and `dead`, and the normaliser to read what ingest let through, so the two can never disagree.
//!
//! The reader goes over the source once, checks the whole grammar (RFC 8259), builds no tree and allocates nothing until a document is nested more than
//! 64 deep. `serde_json`'s raw values need a pass for each level that is looked into; property tests hold the two to the same verdict on
//! every document.

use std::borrow::Cow;

use smallvec::SmallVec;
use wide::u8x16;

/// Why some bytes are not an event. The text form is the `reason` header of a dead letter and a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnObject {
    /// Nothing, or nothing but blanks.
    #[error("body_empty")]
    Empty,
    /// Some byte sequence is not UTF-8.
    #[error("body_not_utf8")]
    NotUtf8,
    /// JSON, but a list, a text, a number, a boolean or null.
    #[error("body_not_an_object")]
    NotAnObject,
    /// Not JSON: truncated, trailing bytes, or no JSON at all.
    #[error("body_not_json")]
    NotJson,
}

/// Brackets that may be open at once before the reader's memory of them moves to the heap, where it takes one byte each.
const INLINE_DEPTH: usize = 64;

/// A value as it stands in its document: valid JSON, unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    source: &'a str,
    /// A string with a backslash in it; lists and objects may have some all the same.
    is_escaped: bool,
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

/// As `str::trim`, at once for texts that neither begin nor end with a blank or a character outside ASCII.
#[inline]
pub(crate) fn trim(text: &str) -> &str {
    let is_plain = |byte: Option<&u8>| byte.is_none_or(|byte| (b'!'..=b'~').contains(byte));
    if is_plain(text.as_bytes().first()) && is_plain(text.as_bytes().last()) { text } else { trim_blanks(text) }
}

#[cold]
fn trim_blanks(text: &str) -> &str {
    text.trim()
}

/// The content of a string with escapes.
#[cold]
fn unescape(literal: &str) -> Option<String> {
    // Read as bytes, since a lone surrogate makes no `str`.
    let bytes: serde_bytes::ByteBuf = serde_json::from_str(literal).ok()?;
    Some(String::from_utf8(bytes.into_vec()).unwrap_or_else(|error| with_replacements(error.as_bytes())))
}

/// The content of a document that is one text, read as [`Value::string`] does. Nothing for any other.
pub fn text_of(document: &str) -> Option<String> {
    let literal = document.trim();
    if literal.starts_with('"') { unescape(literal) } else { None }
}

/// Texts in which nothing but lone surrogates is amiss, of three bytes each: one U+FFFD for each.
fn with_replacements(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut amiss = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        amiss += chunk.invalid().len();
        text.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, amiss / 3));
        amiss %= 3;
    }
    text
}

/// A document without lone surrogates, which are valid in JSON and refused by most of its readers. They become U+FFFD; everything else stays.
pub(crate) fn without_lone_surrogates(source: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', source.as_bytes()).is_none() || !source.contains(r"\ud") && !source.contains(r"\uD") {
        return Cow::Borrowed(source);
    }
    let mut mended = String::with_capacity(source.len());
    let mut rest = source;
    // Outside of texts, JSON has no quotes.
    while let Some(open) = rest.find('"') {
        let mut reader = Reader::new(&rest[open..]);
        let Some(is_escaped) = reader.string() else { break };
        let literal = &rest[open..open + reader.at()];
        mended.push_str(&rest[..open]);
        match unescape(literal).filter(|_| is_escaped && serde_json::from_str::<String>(literal).is_err()) {
            Some(text) => quote(&mut mended, &text),
            None => mended.push_str(literal),
        }
        rest = &rest[open + literal.len()..];
    }
    mended.push_str(rest);
    Cow::Owned(mended)
}

/// Writes a text as a JSON string.
pub(crate) fn quote(out: &mut String, text: &str) {
    if text.bytes().all(|byte| byte > 0x1F && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// A piece of a document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// It is a string with a backslash in it.
    pub(crate) is_escaped: bool,
}

impl Span {
    /// The value that stands there.
    #[inline]
    pub(crate) fn of(self, source: &str) -> Value<'_> {
        Value { source: source.get(self.from as usize..self.to as usize).unwrap_or_default(), is_escaped: self.is_escaped }
    }
}

/// The source of a body that begins like an object. What it is, where it is none; bodies of four gigabytes and more are no JSON here.
pub(crate) fn object_source(body: &[u8]) -> Result<&str, NotAnObject> {
    let source = std::str::from_utf8(body).map_err(|_| NotAnObject::NotUtf8)?;
    // Spans are kept in 32 bits.
    u32::try_from(source.len()).map_err(|_| NotAnObject::NotJson)?;
    let mut reader = Reader::new(source);
    match reader.next() {
        None => Err(NotAnObject::Empty),
        Some(b'{') => Ok(source),
        Some(_) => match (reader.value(), reader.next()) {
            (Some(_), None) => Err(NotAnObject::NotAnObject),
            _ => Err(NotAnObject::NotJson),
        },
    }
}

/// A place in a document. Everything it reads, it checks.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the block begins that was looked at last, and its special bytes.
    block: usize,
    specials: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        Self { bytes: source.as_bytes(), at: 0, block: usize::MAX, specials: 0 }
    }

    /// Where the next byte stands.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next byte behind blanks, left where it is.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<u8> {
        // Most tokens follow each other without a blank, and none of them is below one.
        let byte = self.byte()?;
        if byte > b' ' { Some(byte) } else { self.next_behind_blanks() }
    }

    #[cold]
    fn next_behind_blanks(&mut self) -> Option<u8> {
        while let b' ' | b'\t' | b'\r' | b'\n' = self.byte()? {
            self.at += 1;
        }
        self.byte()
    }

    /// Passes over the next byte behind blanks if it is this one.
    #[inline]
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let taken = self.next() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    /// Reads a value of any kind.
    #[inline]
    pub(crate) fn value(&mut self) -> Option<Span> {
        let first = self.next()?;
        let from = self.at;
        let is_escaped = match first {
            b'"' => self.string()?,
            b'{' | b'[' => {
                self.container()?;
                false
            }
            first => {
                self.scalar(first)?;
                false
            }
        };
        Some(self.span(from, is_escaped))
    }

    /// From there to here.
    #[inline]
    pub(crate) fn span(&self, from: usize, is_escaped: bool) -> Span {
        Span { from: from as u32, to: self.at as u32, is_escaped }
    }

    /// Reads a member's name and the colon behind it.
    #[inline]
    pub(crate) fn name(&mut self) -> Option<Span> {
        (self.next()? == b'"').then_some(())?;
        let from = self.at;
        let is_escaped = self.string()?;
        let name = self.span(from, is_escaped);
        self.take(b':').then_some(name)
    }

    /// Passes over lists and objects without recursion: no document is too deep.
    fn container(&mut self) -> Option<()> {
        let mut closing: SmallVec<[u8; INLINE_DEPTH]> = SmallVec::new();
        loop {
            // A value is due.
            match self.next()? {
                bracket @ (b'{' | b'[') => {
                    self.at += 1;
                    // In ASCII each closing bracket stands two behind its opening one.
                    closing.push(bracket + 2);
                    if self.next()? != bracket + 2 {
                        if bracket == b'{' {
                            self.name()?;
                        }
                        continue;
                    }
                }
                b'"' => {
                    self.string()?;
                }
                first => self.scalar(first)?,
            }
            // A value, or a bracket with nothing in it, is behind us.
            loop {
                let close = *closing.last()?;
                match self.next()? {
                    b',' => {
                        self.at += 1;
                        if close == b'}' {
                            self.name()?;
                        }
                        break;
                    }
                    byte if byte == close => {
                        self.at += 1;
                        closing.pop();
                        if closing.is_empty() {
                            return Some(());
                        }
                    }
                    _ => return None,
                }
            }
        }
    }

    /// Anything without quotes and brackets.
    fn scalar(&mut self, first: u8) -> Option<()> {
        match first {
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.number(),
        }
    }

    #[inline]
    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        let found = self.bytes[self.at..].starts_with(literal);
        self.at += literal.len();
        found.then_some(())
    }

    #[inline]
    fn number(&mut self) -> Option<()> {
        self.at += usize::from(self.byte() == Some(b'-'));
        match self.byte()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Some(())
    }

    /// At least one digit.
    #[inline]
    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    /// A string, quote to quote. True if it has a backslash.
    #[inline]
    fn string(&mut self) -> Option<bool> {
        self.at += 1;
        self.skip_plain();
        if self.byte()? == b'"' {
            self.at += 1;
            return Some(false);
        }
        self.escaped_string()
    }

    #[cold]
    fn escaped_string(&mut self) -> Option<bool> {
        while self.byte()? == b'\\' {
            self.escape()?;
            self.skip_plain();
        }
        let is_closed = self.byte()? == b'"';
        self.at += 1;
        is_closed.then_some(true)
    }

    fn escape(&mut self) -> Option<()> {
        let escape = self.bytes.get(self.at + 1..)?;
        self.at += match escape {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', a, b, c, d, ..] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return None,
        };
        Some(())
    }

    /// To the next special byte, or behind the end.
    #[inline]
    fn skip_plain(&mut self) {
        loop {
            let block = self.at - self.at % BLOCK;
            if block != self.block {
                self.block = block;
                self.specials = self.bytes.get(block..).map_or(1, specials_of_first_block);
            }
            let ahead = self.specials >> (self.at % BLOCK);
            if ahead != 0 {
                self.at += ahead.trailing_zeros() as usize;
                return;
            }
            self.at = block + BLOCK;
        }
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}

/// Special bytes are looked for so many at a time.
const BLOCK: usize = 64;

/// One bit for each of the first 64 bytes: is it special? What is missing counts as special.
fn specials_of_first_block(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(block) => specials(block),
        None => {
            let mut block = [0; BLOCK];
            block[..bytes.len()].copy_from_slice(bytes);
            specials(&block)
        }
    }
}

fn specials(block: &[u8; BLOCK]) -> u64 {
    block.as_chunks::<16>().0.iter().rev().fold(0, |found, bytes| {
        let bytes = u8x16::from(*bytes);
        let special = bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\')) | bytes.simd_le(u8x16::splat(0x1F));
        found << 16 | u64::from(special.to_bitmask())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::members::{Members, Scope};

    fn members(body: &[u8]) -> Result<Vec<(String, String)>, NotAnObject> {
        let members = Members::read(body)?;
        let of_top = members.iter().filter(|member| member.scope() == Scope::Top);
        Ok(of_top.map(|member| (member.name().get().to_owned(), member.value().get().to_owned())).collect())
    }

    fn whole(source: &str) -> Value<'_> {
        Value { source, is_escaped: false }
    }

    fn value<'a>(body: &'a str, name: &str) -> Value<'a> {
        whole(body).member(name).unwrap()
    }

    /// What `serde_json` makes of the same bytes, without its limit of depth.
    fn reference(body: &[u8]) -> Result<(), NotAnObject> {
        let text = std::str::from_utf8(body).map_err(|_| NotAnObject::NotUtf8)?;
        let blanks = [' ', '\t', '\r', '\n'];
        if text.trim_matches(blanks).is_empty() {
            return Err(NotAnObject::Empty);
        }
        let value: &RawValue = serde_json::from_str(text).map_err(|_| NotAnObject::NotJson)?;
        if value.get().starts_with('{') { Ok(()) } else { Err(NotAnObject::NotAnObject) }
    }

    #[test]
    fn only_one_json_object_is_an_event_and_every_other_body_has_a_reason() {
        let cases: [(&[u8], Option<NotAnObject>); 16] = [
            (b"{}", None),
            (b" \r\n{\"a\":1}\n", None),
            (b"{\"a\":\"\\ud800\"}", None),
            (b"{\"\\ud800\":1}", None),
            (b"", Some(NotAnObject::Empty)),
            (b" \n", Some(NotAnObject::Empty)),
            (b"[1]", Some(NotAnObject::NotAnObject)),
            (b"\"text\"", Some(NotAnObject::NotAnObject)),
            (b"null", Some(NotAnObject::NotAnObject)),
            (b"{\"a\":1", Some(NotAnObject::NotJson)),
            (b"{\"a\":1}x", Some(NotAnObject::NotJson)),
            (b"{} {}", Some(NotAnObject::NotJson)),
            (b"hello", Some(NotAnObject::NotJson)),
            (b"\xEF\xBB\xBF{}", Some(NotAnObject::NotJson)),
            (b"{\"a\":\"\xff\"}", Some(NotAnObject::NotUtf8)),
            (b"{\"a\":\"\x01\"}", Some(NotAnObject::NotJson)),
        ];
        for (body, reason) in cases {
            assert_eq!(members(body).err(), reason, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn depth_stops_nothing() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(members(deep.as_bytes()).unwrap().len(), 1);
        let open = format!("{{\"a\":{}", "{\"a\":".repeat(200_000));
        assert_eq!(members(open.as_bytes()), Err(NotAnObject::NotJson));
    }

    #[test]
    fn values_are_read_leniently() {
        let body = r#"{"n":20010245,"s":" x\u00e9 ","i":"31","b":true,"t":" True","f":"FALSE","one":1,"nil":null,"blank":"  ","big":123456789012345678901234567890,"a":1,"a":2,"l":"\ud800"}"#;
        let value = |name| value(body, name);
        assert_eq!(value("n").text().unwrap(), "20010245");
        assert_eq!(value("s").text().unwrap(), "xé");
        assert_eq!(value("i").integer(), Some(31));
        assert_eq!(value("b").boolean(), Some(true));
        assert_eq!(["t", "f", "one", "nil", "n"].map(|name| value(name).boolean()), [Some(true), Some(false), Some(true), None, None]);
        assert_eq!(value("nil").text(), None);
        assert_eq!(value("blank").text(), None);
        assert_eq!(value("big").text().unwrap(), "123456789012345678901234567890");
        assert_eq!(value("big").integer(), None);
        assert_eq!(value("a").integer(), Some(2), "the last of a repeated name counts");
        assert!(value("l").text().unwrap().starts_with('\u{fffd}'), "a lone surrogate is shown as such");
        assert_eq!(unescape(r#""a\ud800b\udc00\udbffc""#).as_deref(), Some("a\u{fffd}b\u{fffd}\u{fffd}c"), "each as one");
    }

    #[test]
    fn a_document_that_is_one_text_is_read_whatever_its_escapes() {
        for (document, text) in [(r#""a""#, "a"), (r#" "bad\ud800" "#, "bad\u{fffd}"), (r#""\ud83d\ude00\n""#, "\u{1f600}\n"), ("\"\"", "")]
        {
            assert_eq!(text_of(document).as_deref(), Some(text));
        }
        for other in ["", "5", "[97]", "null", r#""a"#, r#""a" "b""#] {
            assert_eq!(text_of(other), None, "{other}");
        }
    }

    #[test]
    fn lone_surrogates_are_mended_and_nothing_else_is_touched() {
        let source = r#"{"a\ud83d":[1.50,"x\udc00y\n","\ud83d\ude00","\\ud800"]}"#;
        let mended = without_lone_surrogates(source);
        assert!(serde_json::from_str::<serde_json::Value>(&mended).is_ok(), "{mended}");
        assert!(mended.contains(r#"[1.50,"#) && mended.contains(r#""\ud83d\ude00","\\ud800"]"#), "{mended}");
        assert_eq!(without_lone_surrogates(&mended), mended);
        assert!(matches!(without_lone_surrogates(r#"{"a":"\u00e9"}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn a_list_gives_its_items_and_nothing_else_does() {
        let items = |source| whole(source).items().map(Value::get).collect::<Vec<_>>();
        assert_eq!(items(r#"[1, {"a":[2]} ,"]"]"#), ["1", r#"{"a":[2]}"#, "\"]\""]);
        assert!(items("[]").is_empty() && items("[ ]").is_empty() && items("{}").is_empty() && items("1").is_empty());
    }

    /// JSON documents, well formed.
    fn document() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::json!(null)),
            any::<bool>().prop_map(|b| serde_json::json!(b)),
            any::<i64>().prop_map(|n| serde_json::json!(n)),
            any::<f64>().prop_map(|n| serde_json::json!(n)),
            ".{0,12}".prop_map(|s| serde_json::json!(s)),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::Array),
                prop::collection::vec((".{0,4}", inner), 0..5).prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whole_documents_are_judged_as_the_reference_does(document in document(), pretty in any::<bool>()) {
            let body = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
            prop_assert_eq!(members(body.as_bytes()).map(|_| ()), reference(body.as_bytes()), "{}", body);
            if let Ok(read) = members(body.as_bytes()) {
                let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
                let expected: Vec<_> = document.as_object().unwrap().iter().map(|(name, value)| {
                    (serde_json::to_string(name).unwrap(), parsed(&value.to_string()))
                }).collect();
                let read: Vec<_> = read.into_iter().map(|(name, value)| (name, parsed(&value))).collect();
                prop_assert_eq!(read, expected);
            }
        }

        #[test]
        fn damaged_documents_are_judged_as_the_reference_does(
            document in document(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
                any::<u8>(), prop::sample::select(b"{}[]\",:\\u01-+.eE tfn/\x1f\x20\x7f".to_vec())
            ], 0..3_u8), 1..4),
        ) {
            let mut body = format!("{{\"a\":{document}}}").into_bytes();
            for (place, byte, how) in damage {
                let at = place.index(body.len());
                match how {
                    0 => body[at] = byte,
                    1 => body.insert(at, byte),
                    _ => { body.remove(at); }
                }
            }
            prop_assert_eq!(members(&body).map(|_| ()), reference(&body), "{}", String::from_utf8_lossy(&body));
        }

        #[test]
        fn any_bytes_are_judged_as_the_reference_does(body in prop::collection::vec(prop::sample::select(b"{}[]\",:\\u012-+.eE tfnrualse\n\x1f\xc3\xa9".to_vec()), 0..24)) {
            prop_assert_eq!(members(&body).map(|_| ()), reference(&body), "{}", String::from_utf8_lossy(&body));
        }
    }
}
