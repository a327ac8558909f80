//! What each character can be in an address.

use crate::address::escape::first_char;

/// What a character can be in an address.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Of domains and local parts: letters of every script with their marks, digits, and what is invisible.
    Letter,
    /// As `Letter`, but no domain ends with it.
    Hyphen,
    /// As `Hyphen`, but no local part begins with it either.
    Dot,
    /// Of local parts only.
    Sign,
    /// Of local parts only, but none begins with it. So are the next three.
    Bracket,
    /// `/`.
    Slash,
    /// What the name of a parameter follows.
    Query,
    /// `=`.
    Equals,
    /// Of neither.
    Break,
    /// Unknown by its first byte; see [`first_char`].
    Unread,
}

/// The kind of the character at `at`, and where the next one begins. Plain letters are read at once.
pub(super) fn kind_at(text: &str, at: usize) -> Option<(Kind, usize)> {
    let rest = text.as_bytes().get(at..)?;
    match KINDS[usize::from(*rest.first()?)] {
        Kind::Unread => first_char(&text[at..]).map(|(c, len)| (kind(c), at + len)),
        Kind::Letter => Some((Kind::Letter, at + rest.iter().take_while(|byte| KINDS[usize::from(**byte)] == Kind::Letter).count())),
        kind => Some((kind, at + 1)),
    }
}

pub(super) fn kind(c: char) -> Kind {
    match u8::try_from(c) {
        Ok(byte) if byte.is_ascii() => ascii_kind(byte),
        // The dots of other scripts between labels: RFC 3490, section 3.1.
        _ if matches!(c, '\u{3002}' | '\u{ff0e}' | '\u{ff61}') => Kind::Dot,
        _ if ends_word(c) => Kind::Break,
        _ => Kind::Letter,
    }
}

const fn ascii_kind(byte: u8) -> Kind {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => Kind::Letter,
        b'-' | b'_' => Kind::Hyphen,
        b'.' => Kind::Dot,
        b'!' | b'$' | b'%' | b'*' | b'+' | b'^' | b'~' => Kind::Sign,
        b'\'' | b'`' | b'{' | b'|' | b'}' => Kind::Bracket,
        b'/' => Kind::Slash,
        b'?' | b'&' | b'#' => Kind::Query,
        b'=' => Kind::Equals,
        _ => Kind::Break,
    }
}

/// Kinds by a character's first byte.
pub(super) static KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Unread; 256];
    let mut byte = 0;
    while byte < 128 {
        if !matches!(byte, b'%' | b'&' | b'\\' | b';') {
            kinds[byte as usize] = ascii_kind(byte);
        }
        byte += 1;
    }
    kinds
};

/// True for the blanks, punctuation and symbols beyond ASCII that usually stand around words. RFC 6531 allows them all in local parts, as
/// it does emoji.
fn ends_word(c: char) -> bool {
    let punctuation = matches!(c, '\u{a1}'..='\u{bf}' | '×' | '÷' | '،' | '؛' | '؟' | '۔' | '।' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}'
        | '\u{2190}'..='\u{2bff}' | '\u{3001}'..='\u{3020}' | '\u{fe10}'..='\u{fe19}' | '\u{fe30}'..='\u{fe6b}' | '\u{ff5f}'..='\u{ff65}');
    c.is_whitespace() || c.is_control() || punctuation && !c.is_alphanumeric() && c != '\u{ad}'
}
