//! What a text says when it is read by a person: one spelling of each letter, and no reply code in the middle of a sentence.

use std::borrow::Cow;
use std::cell::LazyCell;

use icu_normalizer::ComposingNormalizerBorrowed;

/// One spelling of each letter: compatibility forms (full width, ligatures) resolved, lower case, no invisible characters, one kind of hyphen. ASCII is
/// left as it is.
pub(super) fn one_spelling(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let composed = ComposingNormalizerBorrowed::new_nfkc().normalize(text);
    Cow::Owned(composed.chars().filter(|c| !is_invisible(*c)).map(hyphen).flat_map(char::to_lowercase).collect())
}

/// The text without the codes that begin each line of an answer of several lines, if it has any: `550-5.2.1 ... at a` `550 5.2.1 rate` is one sentence.
/// Some write the lines behind one another.
pub(super) fn without_repeated_codes(text: &str) -> Option<String> {
    let mut replies = replies(text);
    let first = replies.next()?;
    // Most texts have one code; what stands behind it is of interest only if there are more.
    let first_enhanced = LazyCell::new(|| first.enhanced());
    let mut plain = None::<String>;
    let mut copied = 0;
    for reply in replies {
        let is_same = || first_enhanced.is_some() && reply.enhanced() == *first_enhanced;
        if reply.basic() == first.basic() && (reply.begins_line() || is_same()) {
            let plain = plain.get_or_insert_default();
            plain.push_str(&text[copied..reply.from]);
            copied = reply.end();
        }
    }
    plain.map(|mut plain| {
        plain.push_str(&text[copied..]);
        plain
    })
}

/// A reply code as a server writes it at the beginning of a line: three digits, and a hyphen or a blank.
struct Reply<'t> {
    text: &'t str,
    from: usize,
}

impl<'t> Reply<'t> {
    fn begins_line(&self) -> bool {
        self.text[..self.from].trim_end_matches(' ').ends_with(['\r', '\n'])
    }

    fn basic(&self) -> &'t str {
        &self.text[self.from..self.from + 3]
    }

    /// The enhanced code behind it.
    fn enhanced(&self) -> Option<&'t str> {
        let word = self.text[self.from + 4..].split(|c: char| c.is_ascii_whitespace()).next()?;
        let is_number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        (word.split('.').count() == 3 && word.split('.').all(is_number)).then_some(word)
    }

    /// Behind the codes.
    fn end(&self) -> usize {
        self.from + 4 + self.enhanced().map_or(0, str::len)
    }
}

fn replies(text: &str) -> impl Iterator<Item = Reply<'_>> {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let begins_word = |at: usize| at.checked_sub(1).is_none_or(|before| bytes[before].is_ascii_whitespace());
    let is_reply =
        move |at: &usize| begins_word(*at) && is_digit(at + 1) && is_digit(at + 2) && matches!(bytes.get(at + 3), Some(b'-' | b' '));
    memchr::memchr2_iter(b'4', b'5', bytes).filter(is_reply).map(move |from| Reply { text, from })
}

/// Soft hyphens, zero-width characters, marks of direction.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

fn hyphen(c: char) -> char {
    if matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}') { '-' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_have_one_spelling() {
        for (text, plain) in [
            ("Rate\u{2011}limited", "rate-limited"),
            ("ＢＬＯＣＫＥＤ ｂｙ ｓｐａｍ", "blocked by spam"),
            ("b\u{200b}locked é", "blocked é"),
            ("BLOQUE\u{301}", "bloqué"),
            ("СПАМ", "спам"),
            ("ASCII As It Is", "ASCII As It Is"),
        ] {
            assert_eq!(one_spelling(text), plain);
        }
    }

    #[test]
    fn a_code_that_is_repeated_is_no_word_of_the_sentence() {
        for (text, plain) in [
            (
                "550-5.2.1 is receiving mail\r\n550-5.2.1 at a rate\n550 5.2.1 that",
                Some("550-5.2.1 is receiving mail\r\n at a rate\n that"),
            ),
            ("550-5.1.1 too many 550 5.1.1 connections", Some("550-5.1.1 too many  connections")),
            ("550-too many\n550 connections", Some("550-too many\nconnections")),
            ("550 5.1.1 the 550 members", None),
            ("550 too many 550 connections", None),
            ("550-5.1.1 gone\n450 4.2.2 full", None),
            ("no code", None),
        ] {
            assert_eq!(without_repeated_codes(text).as_deref(), plain, "{text}");
        }
    }
}
