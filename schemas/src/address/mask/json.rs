//! Masking inside the texts of a JSON document.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::{MASK, mask, possible_at_signs};

/// Masks addresses in every text and member name of a JSON document. Everything else stays byte for byte: order, blanks, digits of numbers.
///
/// Borrows if there is none. Reads no structure, so that depth does not matter; of what is no JSON it promises nothing.
pub fn mask_json(source: &str) -> Cow<'_, str> {
    if possible_at_signs(source).next().is_none() {
        return Cow::Borrowed(source);
    }
    let mut masked = String::new();
    let mut copied = 0;
    let mut next = 0;
    // Outside of texts, JSON has no quotes.
    while let Some(open) = memchr(b'"', &source.as_bytes()[next..]).map(|at| next + at) {
        let escaped;
        (next, escaped) = literal_end(source, open);
        if let Some(inner) = mask_literal(&source[open..next], escaped) {
            if copied == 0 {
                masked = String::with_capacity(source.len() + MASK.len());
            }
            masked.push_str(&source[copied..=open]);
            masked.push_str(&inner);
            copied = next - 1;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(source);
    }
    masked.push_str(&source[copied..]);
    Cow::Owned(masked)
}

/// Where the text ends whose opening quote stands at `open`, and whether it has escapes.
fn literal_end(source: &str, open: usize) -> (usize, bool) {
    let mut at = open + 1;
    let mut escaped = false;
    while let Some(found) = source.as_bytes().get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if source.as_bytes()[at] == b'"' {
            return (at + 1, escaped);
        }
        escaped = true;
        at += 2;
    }
    (source.len(), escaped)
}

/// What stands between a literal's quotes once its addresses are masked; nothing if it has none.
fn mask_literal(literal: &str, escaped: bool) -> Option<String> {
    if !escaped {
        // Nothing that a mask leaves needs an escape.
        return owned(mask(literal.get(1..literal.len() - 1)?));
    }
    // Read as bytes, since a lone surrogate makes no `str`; it becomes U+FFFD if anything is masked.
    let bytes: serde_bytes::ByteBuf = serde_json::from_str(literal).ok()?;
    let masked = owned(mask(&String::from_utf8_lossy(&bytes)))?;
    let literal = serde_json::to_string(&masked).ok()?;
    literal.get(1..literal.len() - 1).map(str::to_owned)
}

fn owned(text: Cow<'_, str>) -> Option<String> {
    match text {
        Cow::Owned(text) => Some(text),
        Cow::Borrowed(_) => None,
    }
}
