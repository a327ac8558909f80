//! Masking of a word, such as a local part that stands alone.

use memchr::memchr2_iter;

use super::MASK;

/// The longest word in other letters than those of ASCII that is looked for.
const WORD_BYTES: usize = 64;

/// Replaces a word in lower case by [`MASK`] wherever it stands whole, in either case of its letters. Nothing if it stands nowhere.
pub(crate) fn mask_word(text: &str, word: &str) -> Option<String> {
    let first = word.as_bytes().first()?;
    if word.is_ascii() {
        let places = memchr2_iter(*first, first.to_ascii_uppercase(), text.as_bytes());
        let is_it = |found: &str| found.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
        return mask_words(text, places, |found| is_it(found).then_some(word.len()));
    }
    // No ASCII letter is another's capital. What is longer than any local part may be (RFC 5321) would take its length for each byte of a text.
    if text.is_ascii() || word.len() > WORD_BYTES {
        return None;
    }
    mask_words(text, text.char_indices().map(|(at, _)| at), |found| len_in_any_case(found, word))
}

/// Replaces the words that begin at some of `places`, as long as `len_of` finds them there.
fn mask_words(text: &str, places: impl Iterator<Item = usize>, len_of: impl Fn(&str) -> Option<usize>) -> Option<String> {
    let mut masked = String::new();
    let mut copied = 0;
    for at in places {
        let begins = at >= copied && !text[..at].ends_with(char::is_alphanumeric);
        let Some(end) = begins.then(|| len_of(&text[at..])).flatten().map(|len| at + len) else { continue };
        if !text[end..].starts_with(char::is_alphanumeric) {
            masked.push_str(&text[copied..at]);
            masked.push_str(MASK);
            copied = end;
        }
    }
    if copied == 0 {
        return None;
    }
    masked.push_str(&text[copied..]);
    Some(masked)
}

/// How much of a text is the word it begins with, letter case aside.
fn len_in_any_case(text: &str, word: &str) -> Option<usize> {
    let mut wanted = word.chars();
    for (at, c) in text.char_indices() {
        if wanted.as_str().is_empty() {
            return Some(at);
        }
        if !c.to_lowercase().all(|c| wanted.next() == Some(c)) {
            return None;
        }
    }
    wanted.as_str().is_empty().then_some(text.len())
}
