//! Masking of addresses inside texts and JSON.
//!
//! A text is read once, from at sign to at sign. Where a domain follows one, the local part is looked for at the end of what was written so
//! far, in which earlier addresses are masked already.
//!
//! This takes linear time, whatever the text: a domain ends before the next at sign, a local part begins after the previous one that has a
//! domain (`floor`), and an opening quote is looked for in a window of constant size. And it leaves nothing to a second pass, since a
//! decision depends on the masked text before an at sign and the domain after it, and no domain begins with a mask.

mod boundary;
mod json;
mod kind;
mod word;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use memchr::{memchr2_iter, memchr3_iter};

pub use json::mask_json;
pub(crate) use word::mask_word;

use self::boundary::{address_start, before_blanks, domain_end, leading_blanks};
use super::escape::first_char;

/// What stands in a text where an address was.
pub const MASK: &str = "[address]";

/// A dot between labels, in any script, or the bracket of an address literal.
const LIKE_A_HOST: [char; 5] = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}', '['];

/// Replaces every address in a text by [`MASK`], also where it is quoted, international, escaped for a URL, HTML or JSON, or has blanks around the at
/// sign.
///
/// Borrows if there is none. Masking twice is masking once. For texts, not for JSON source: see [`mask_json`].
pub fn mask(text: &str) -> Cow<'_, str> {
    let mut masked = String::new();
    // How much of `text` is in `masked`; nothing before the first address.
    let mut copied = 0;
    let (mut next, mut floor) = (0, 0);
    for at in possible_at_signs(text) {
        let Some(('@', len)) = first_char(&text[at..]).filter(|_| at >= next) else { continue };
        next = at + len;
        let domain = next + leading_blanks(&text[next..]);
        let Some(end) = domain_end(text, domain) else { continue };
        let before = if copied == 0 {
            &text[..at]
        } else {
            masked.push_str(&text[copied..at]);
            copied = at;
            &masked
        };
        let local = before_blanks(before);
        // Between blanks an at sign is often a word of its own: only what looks like a host is a domain there.
        let is_apart = domain > next || local < before.len();
        let start =
            if is_apart && !text[domain..end].contains(LIKE_A_HOST) { None } else { address_start(&before[..local], floor.min(local)) };
        let Some(start) = start else {
            floor = before.len() + len;
            continue;
        };
        if copied == 0 {
            masked = String::with_capacity(text.len() + MASK.len());
            masked.push_str(&text[..start]);
        }
        masked.truncate(start);
        masked.push_str(MASK);
        floor = masked.len();
        copied = end;
        next = end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    masked.push_str(&text[copied..]);
    Cow::Owned(masked)
}

/// Where an at sign or an escape of one may begin. 0xef is the first byte of the wide at signs.
fn possible_at_signs(text: &str) -> impl Iterator<Item = usize> {
    let mut usual = memchr3_iter(b'@', b'%', b'&', text.as_bytes()).peekable();
    let mut rare = memchr2_iter(b'\\', 0xef, text.as_bytes()).peekable();
    std::iter::from_fn(move || match (usual.peek(), rare.peek()) {
        (Some(a), Some(b)) if a < b => usual.next(),
        (_, Some(_)) => rare.next(),
        (_, None) => usual.next(),
    })
}
