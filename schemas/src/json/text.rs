//! Texts: their blanks, their escapes, and lone surrogates.

use std::borrow::Cow;

use super::Reader;

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
pub(super) fn unescape(literal: &str) -> Option<String> {
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
