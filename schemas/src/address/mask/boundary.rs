//! Where an address begins and ends, seen from its at sign.

use super::MASK;
use super::kind::{KINDS, Kind, kind, kind_at};
use crate::address::escape::{first_char, last_char};

/// How far before an at sign a quoted local part may begin: several times what RFC 5321 allows, as escapes are longer than what they stand
/// for.
const QUOTED_BYTES: usize = 256;

/// Blanks that may stand between an at sign and what belongs to it.
const BLANKS: usize = 3;

/// How many bytes of blanks a text begins with; none if there are more than a line break and a blank. No domain begins with a plus, which is a
/// blank in a URL.
pub(super) fn leading_blanks(text: &str) -> usize {
    let mut at = 0;
    for _ in 0..=BLANKS {
        match first_char(&text[at..]) {
            Some((c, len)) if c.is_whitespace() || c == '+' => at += len,
            _ => return at,
        }
    }
    0
}

/// Where the blanks begin that a text ends with, as many of them at most. A plus may end a local part.
pub(super) fn before_blanks(text: &str) -> usize {
    let mut at = text.len();
    for _ in 0..=BLANKS {
        match last_char(&text[..at]) {
            Some((c, from)) if c.is_whitespace() => at = from,
            _ => return at,
        }
    }
    text.len()
}

/// Where the domain ends that begins at `from`: before the punctuation after it.
pub(super) fn domain_end(text: &str, from: usize) -> Option<usize> {
    let (mut at, mut end, mut previous) = (from, None, Kind::Hyphen);
    while let Some((kind, next)) = kind_at(text, at) {
        match kind {
            Kind::Letter => end = Some(next),
            Kind::Hyphen => {}
            Kind::Dot if previous != Kind::Dot => {}
            _ => break,
        }
        (at, previous) = (next, kind);
    }
    end.or_else(|| address_literal_end(text, from))
}

/// Where `[192.0.2.1]` or `[IPv6:::1]` ends. Its last part may have been cut off; a digit or colon tells it from [`MASK`].
fn address_literal_end(text: &str, from: usize) -> Option<usize> {
    let (_, len) = first_char(&text[from..]).filter(|(c, _)| *c == '[')?;
    let (mut at, mut end) = (from + len, None);
    while let Some((c, len)) = first_char(&text[at..]) {
        at += len;
        match c {
            ':' | '0'..='9' => end = Some(at),
            '.' | '-' | 'a'..='z' | 'A'..='Z' => end = end.map(|_| at),
            ']' => return end.map(|_| at),
            _ => break,
        }
    }
    end
}

/// Where the address begins whose at sign follows `text`. Local parts without quotes begin at `floor` or later.
pub(super) fn address_start(mut text: &str, floor: usize) -> Option<usize> {
    // Backslashes and more at signs may come between, as in `a\@b` and `a@@b`.
    while let Some((c @ ('@' | '\\' | '"'), from)) = last_char(text) {
        text = &text[..from];
        if c == '"' {
            return quoted_start(text).or_else(|| run_start(without_backslashes(text), floor));
        }
    }
    if text.ends_with(MASK) { Some(text.len() - MASK.len()) } else { run_start(text, floor) }
}

/// Where the quoted local part begins whose closing quote follows `text`: at the nearest quote that is escaped alike, if it looks like an
/// opening one, for in `"a" and "@b"` nothing is quoted but a word and a handle.
fn quoted_start(text: &str) -> Option<usize> {
    let window = text.floor_char_boundary(text.len().saturating_sub(QUOTED_BYTES));
    let text = &text[window..];
    let escaped = ends_escaped(text);
    let mut at = text.len();
    loop {
        let (c, from) = last_char(&text[..at])?;
        let before = &text[..from];
        if c == '"' && ends_escaped(before) == escaped {
            let before = without_backslashes(before);
            let closes = last_char(before).is_some_and(|(c, from)| match c {
                '"' => ends_escaped(&before[..from]) == escaped,
                ']' => true,
                c => matches!(kind(c), Kind::Letter | Kind::Dot | Kind::Hyphen),
            });
            return (!closes).then_some(window + before.len());
        }
        at = from;
    }
}

fn without_backslashes(text: &str) -> &str {
    text.trim_end_matches('\\')
}

/// True if what follows `text` is escaped by a backslash.
fn ends_escaped(text: &str) -> bool {
    (text.len() - without_backslashes(text).len()) % 2 == 1
}

/// Where the local part without quotes begins that ends with `text`.
///
/// In a free text every punctuation of RFC 5322 is part of it, but what may stand between texts does not begin one: quotes, braces,
/// slashes. In a URL it is cut off: the name of a parameter stays, and the `@me` of `https://x.example/@me` is no address.
fn run_start(text: &str, floor: usize) -> Option<usize> {
    // Escapes are read from left to right, so what they are written with is part of the run.
    let run = text.as_bytes().get(floor..)?.iter().rev().take_while(|byte| KINDS[usize::from(**byte)] != Kind::Break).count();
    let mut at = text.len() - run;
    // Where the run begins, the local part, and a parameter's name.
    let (mut begin, mut start, mut name) = (at, None, None);
    while let Some((kind, next)) = kind_at(text, at) {
        match kind {
            Kind::Letter | Kind::Hyphen => start = start.or(Some(at)),
            Kind::Dot => {}
            Kind::Sign => (start, name) = (start.or(Some(at)), None),
            Kind::Bracket => name = None,
            Kind::Slash => (start, name) = (start.filter(|_| !is_url(text, begin)), None),
            Kind::Query => (start, name) = (start.filter(|_| !is_url(text, begin)), Some(next)),
            // A value is read like a run of its own.
            Kind::Equals if name.is_some_and(|name| name < at) => (begin, start, name) = (next, None, None),
            Kind::Equals => name = None,
            Kind::Break | Kind::Unread => (begin, start, name) = (next, None, None),
        }
        at = next;
    }
    start
}

/// True for the slashes after the scheme of a URL.
fn is_url(text: &str, at: usize) -> bool {
    let slash = |at| first_char(&text[at..]).filter(|(c, _)| *c == '/');
    slash(at).is_some_and(|(_, len)| slash(at + len).is_some())
}
