//! Masking of addresses inside texts and JSON.
//!
//! A text is read once, from at sign to at sign. Where a domain follows one, the local part is looked for at the end of what was written so
//! far, in which earlier addresses are masked already.
//!
//! This takes linear time, whatever the text: a domain ends before the next at sign, a local part begins after the previous one that has a
//! domain (`floor`), and an opening quote is looked for in a window of constant size. And it leaves nothing to a second pass, since a
//! decision depends on the masked text before an at sign and the domain after it, and no domain begins with a mask.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr2_iter, memchr3_iter};

use super::escape::{first_char, last_char};

/// What stands in a text where an address was.
pub const MASK: &str = "[address]";

/// How far before an at sign a quoted local part may begin: several times what RFC 5321 allows, as escapes are longer than what they stand
/// for.
const QUOTED_BYTES: usize = 256;

/// The longest word in other letters than those of ASCII that is looked for.
const WORD_BYTES: usize = 64;

/// Blanks that may stand between an at sign and what belongs to it.
const BLANKS: usize = 3;

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
        let start = if is_apart && !text[domain..end].contains('.') { None } else { address_start(&before[..local], floor.min(local)) };
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

/// How many bytes of blanks a text begins with; none if there are more than a line break and a blank. No domain begins with a plus, which is a
/// blank in a URL.
fn leading_blanks(text: &str) -> usize {
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
fn before_blanks(text: &str) -> usize {
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
fn domain_end(text: &str, from: usize) -> Option<usize> {
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
fn address_start(mut text: &str, floor: usize) -> Option<usize> {
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

/// What a character can be in an address.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
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
fn kind_at(text: &str, at: usize) -> Option<(Kind, usize)> {
    let rest = text.as_bytes().get(at..)?;
    match KINDS[usize::from(*rest.first()?)] {
        Kind::Unread => first_char(&text[at..]).map(|(c, len)| (kind(c), at + len)),
        Kind::Letter => Some((Kind::Letter, at + rest.iter().take_while(|byte| KINDS[usize::from(**byte)] == Kind::Letter).count())),
        kind => Some((kind, at + 1)),
    }
}

fn kind(c: char) -> Kind {
    match u8::try_from(c) {
        Ok(byte) if byte.is_ascii() => ascii_kind(byte),
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
static KINDS: [Kind; 256] = {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::Value;

    use super::*;

    fn assert_masked(cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            assert_eq!(mask(text), *expected, "{text}");
        }
    }

    #[test]
    fn addresses_inside_texts_are_masked_and_the_rest_stays() {
        assert_masked(&[
            ("550 5.1.1 <gone@dead.example>: User unknown", "550 5.1.1 <[address]>: User unknown"),
            ("a.b+c@x.example, d@y.example", "[address], [address]"),
            ("mail to a@b.example. Or a@b.example... or not", "mail to [address]. Or [address]... or not"),
            ("'a@b.example' (c@d.example) {e@f.example} `g@h.example`", "'[address]' ([address]) {[address]} `[address]`"),
            ("'a@b.example','c@d.example'|e@f.example", "'[address]','[address]'|[address]"),
            ("mailto:a@b.example?cc=c@d.example&subject=x", "mailto:[address]?cc=[address]&subject=x"),
            ("RCPT TO:<A@B.EXAMPLE> SMTP;A@B.EXAMPLE rfc822;a@b.example", "RCPT TO:<[address]> SMTP;[address] rfc822;[address]"),
            ("user@[192.0.2.1], user@[IPv6:2001:db8::1]: no, user@[192.0.2", "[address], [address]: no, [address]"),
            ("a@192.0.2.1:25", "[address]:25"),
            ("a@b@c.example, a@@b.example, a%40%40b.example", "[address], [address], [address]"),
            (r"a\@b.example", "[address]"),
        ]);
    }

    #[test]
    fn what_is_no_address_stays() {
        for text in [
            "no address",
            "meet @ noon",
            "5 @ 3",
            "@handle",
            "by '@handle' and \"@handle\"",
            r#"{"scope":"@x/y"}"#,
            "a@ b",
            "a@...",
            "a@.",
            "@",
            "@@@",
            "\"@",
            "100%",
            "100%40 of it",
            "a&b, R&#38;D &commat; %",
            "https://x.example/@me?via=@you",
            "https%3A%2F%2Fx.example%2F%40me",
            "[address] @ [address]",
            "",
        ] {
            assert!(matches!(mask(text), Cow::Borrowed(same) if same == text), "{text} -> {}", mask(text));
        }
    }

    #[test]
    fn quoted_local_parts_are_masked_with_all_they_quote() {
        assert_masked(&[
            (r#"to "john doe"@x.example"#, "to [address]"),
            (r#"<"john \"jd\" doe"@x.example>"#, "<[address]>"),
            (r#"<"a@b"@x.example>"#, "<[address]>"),
            (r#"<"john a@b.example, doe"@x.example>"#, "<[address]>"),
            (r#"{"to":"\"john doe\"@x.example"}"#, r#"{"to":"[address]"}"#),
            (r#""a b"@x.example,"c d"@y.example"#, "[address],[address]"),
            ("&lt;&quot;john doe&quot;&#64;x.example&gt;", "&lt;[address]&gt;"),
            ("%22john%20doe%22%40x.example", "[address]"),
            ("“john doe”@x.example", "[address]"),
            ("5\" john\"@x.example", "5\" [address]"),
            ("said \"hi\" and \"@handle\"", "said \"hi\" and \"@handle\""),
        ]);
    }

    #[test]
    fn every_spelling_of_the_at_sign_is_one() {
        for at in "@ ＠ ﹫ %40 %2540 %252540 %EF%BC%A0 &#64; &#064; &#x40; &#X40; &#64 &commat; &amp;#64; \\u0040 \\\\u0040".split(' ') {
            assert_eq!(mask(&format!("for john{at}x.example: no")), "for [address]: no", "{at}");
            assert_eq!(mask(&format!("for {at} : no")), format!("for {at} : no"));
        }
    }

    #[test]
    fn escaped_characters_of_an_address_are_masked_and_escaped_delimiters_end_it() {
        assert_masked(&[
            ("a%2Bb%40x.example", "[address]"),
            ("o&#39;brien@x.example", "[address]"),
            ("m&uuml;ller@x.example", "[address]"),
            (r"john\u002Bdoe@x.example", "[address]"),
            ("m%C3%BCller%40b%C3%BCcher%2Eexample", "[address]"),
            ("&lt;a@b.example&gt;", "&lt;[address]&gt;"),
            ("&amp;lt;a@b.example&amp;gt;", "&amp;lt;[address]&amp;gt;"),
            (r"\u003ca@b.example\u003e", r"\u003c[address]\u003e"),
            ("to%3Ca%40b.example%3E%20", "to%3C[address]%3E%20"),
        ]);
    }

    #[test]
    fn addresses_in_urls_leave_the_url() {
        assert_masked(&[
            ("https://s.example/?email=a%40b.example&x=1", "https://s.example/?email=[address]&x=1"),
            ("https://s.example/?email=a@b.example&x=1", "https://s.example/?email=[address]&x=1"),
            ("https://s.example/?x=1&amp;to=a@b.example&amp;y", "https://s.example/?x=1&amp;to=[address]&amp;y"),
            ("https://s.example/u/a@b.example/c@d.example", "https://s.example/u/[address]/[address]"),
            ("https://s.example/u?a@b.example", "https://s.example/u?[address]"),
            ("https://s.example/#to=a@b.example", "https://s.example/#to=[address]"),
            ("https://a@s.example/", "https://[address]/"),
            ("/u?user[to]=a@b.example", "/u?user[to]=[address]"),
            (
                "https://s.example/?u=https%3A%2F%2Ft.example%2F%3Fto%3Da%2540b.example%26x%3D1",
                "https://s.example/?u=https%3A%2F%2Ft.example%2F%3Fto%3D[address]%26x%3D1",
            ),
        ]);
    }

    #[test]
    fn blanks_around_the_at_sign_are_blanks_however_they_are_written() {
        for text in [
            "jo @ d.example",
            "jo%20@d.example",
            "jo%40%20d.example",
            "jo%20%40d.example",
            "jo%20@%20d.example",
            "jo+@+d.example",
            "jo%09%40d.example",
            "jo%0A@d.example",
            "jo%0D%0A%20@d.example",
            "jo%2540%2520d.example",
            "jo&nbsp;@&nbsp;d.example",
            "jo&#32;@d.example",
            "jo&#x20;&#x40;d.example",
            r"jo\u0020@\u000ad.example",
        ] {
            for (before, after) in [("", ""), ("https://s.example/?e=", "&x=1"), ("to ", ": no")] {
                assert_eq!(mask(&format!("{before}{text}{after}")), format!("{before}{MASK}{after}"), "{text}");
            }
        }
        for text in ["jo%20@%20noon", "5+@+3", "jo%20%20%20%20@d.example", "https://x.example/?q=a+%20@me"] {
            assert!(matches!(mask(text), Cow::Borrowed(same) if same == text), "{text} -> {}", mask(text));
        }
    }

    #[test]
    fn rewritten_and_gatewayed_addresses_are_masked_whole() {
        assert_masked(&[
            ("<SRS0=HHH=TT=dom.example=local@fwd.example>", "<[address]>"),
            ("prvs=1234abcd=user@dom.example", "[address]"),
            ("bounce+user=example.com@list.example", "[address]"),
            ("user%dom.example@relay.example", "[address]"),
            ("relay.example!user@dom.example", "[address]"),
            ("<@a.example,@b.example:user@c.example>", "<@a.example,@b.example:[address]>"),
            ("IMCEAEX-_o=Org_ou=Group+20+28FYD+29_cn=Recipients_cn=john@x.example", "[address]"),
            ("/C=US/A=NET/G=John/S=Doe/@gate.example", "/[address]"),
        ]);
    }

    #[test]
    fn international_addresses_are_masked() {
        assert_masked(&[
            ("zoë@bücher.example", "[address]"),
            ("zoe\u{308}@bu\u{308}cher.example", "[address]"),
            ("राम@डाक.भारत", "[address]"),
            ("אבא@דואר.ישראל,", "[address],"),
            ("用户@例子.中国，不存在", "[address]，不存在"),
            ("（ｊｏｈｎ＠ｘ．ｅｘａｍｐｌｅ）", "（[address]）"),
            ("«a@xn--bcher-kva.example»", "«[address]»"),
            ("a\u{200b}@\u{200b}b.example", "[address]"),
            ("\u{1f600}@x.example", "[address]"),
        ]);
    }

    #[test]
    fn masked_json_keeps_every_other_byte() {
        let source = r#"{"to":"a\u0040b.example", "n": [1.50, 1e400, 123456789012345678901234567890],"to":"\nx@y.example\ud800",
            "\ud83d\ude00": {"z\uff20y.example":"\ud83d","a\u0062c@x.example":"\u0022j\\\"d\"@x.example", "\\\"":"@\"\\"}}"#;
        let expected = r#"{"to":"[address]", "n": [1.50, 1e400, 123456789012345678901234567890],"to":"\n[address]",
            "\ud83d\ude00": {"[address]":"\ud83d","[address]":"[address]", "\\\"":"@\"\\"}}"#;
        assert_eq!(mask_json(source), expected);
        for source in [r#"{"n":1.50,"at":"a\u0041b\ud800"}"#, "null", r#""""#, r#"["@"]"#] {
            assert!(matches!(mask_json(source), Cow::Borrowed(same) if same == source), "{source}");
        }
        let deep = format!("{}\"a@b.example\"{}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(mask_json(&deep), deep.replace("a@b.example", MASK));
        for cut in (0..source.len()).filter(|cut| source.is_char_boundary(*cut)) {
            let _ = mask_json(&source[..cut]);
        }
    }

    #[test]
    fn a_word_is_masked_where_it_stands_whole() {
        for (text, expected) in [
            ("User jane.doe (Jane.Doe): no", "User [address] ([address]): no"),
            ("jane.doe", "[address]"),
            ("<JANE.DOE>... User unknown", "<[address]>... User unknown"),
            ("jane.doe,jane.doe.", "[address],[address]."),
        ] {
            assert_eq!(mask_word(text, "jane.doe").as_deref(), Some(expected));
        }
        for text in ["jane.doer", "marijane.doe", "\u{e9}jane.doe", "jane_doe", "jane.do\u{e9}", ""] {
            assert_eq!(mask_word(text, "jane.doe"), None, "{text}");
        }
        assert_eq!(mask_word("any text", ""), None);
        for (text, expected) in [("User ZOË.leak: no", "User [address]: no"), ("ZoË.Leak", "[address]"), ("<zoë.LEAK>", "<[address]>")] {
            assert_eq!(mask_word(text, "zoë.leak").as_deref(), Some(expected));
        }
        for text in ["ZOË.LEAKS", "Ézoë.leak", "zoe.leak", "zoë.lea", "é"] {
            assert_eq!(mask_word(text, "zoë.leak"), None, "{text}");
        }
    }

    #[test]
    fn hostile_texts_take_linear_time() {
        // Were one of them quadratic, it would take minutes at least.
        let units = "a@a a@. @a %40a % %25 25 a%EF%BC%A0 //%EF%BC%A0a & &amp; &#64 ; \
            \\ \\u0040 \" \"@a \\\"@a\"@a /@a //a/@a ?a=@a ?a=a@a/ @[1 a@[a [address]@ ＠a \u{300}@ a/ /";
        for (bytes, units) in [(4 << 20, "@ a@ %40 a"), (1 << 18, units)] {
            for unit in units.split(' ') {
                let many = unit.repeat(bytes / 2 / unit.len());
                let text = format!("\"{many}\"@x.example https://x.example/{many}a/{many}@x.example, a@x.example");
                assert!(mask(&text).ends_with(MASK), "{unit}");
            }
        }
    }

    /// What stands around addresses, separated by `~`.
    const BEFORE: &str = "~ ~<~(~to: ~1, ~mailto:~SMTP;~&lt;~[~no\n~«~，~a@b.example,~https://s.example/?a=b&to=";
    const AFTER: &str = "~ ~>~)~, 1~: no~. No~...~?x=1~&gt;~&x=1~\"~\n~]~! ~;~/~»~，~,a@b.example~ @ ";
    const AT_SIGNS: &str = "@~＠~﹫~%40~%2540~%EF%BC%A0~&#64;~&#x40;~&commat;";
    /// Pieces that decide.
    const PIECES: &str = "@~@~@~＠~%40~%2540~%EF%BC%A0~&#64~&#64;~&commat;~\\u0040~a~b.c~\
        2~5~0~20~25~%~%20~&#32;~&nbsp;~+~&~amp;~#~\"~\"~\\~=~?~/~//~[~]~[address]~\
        :~;~,~ ~\n~'~.~-~+~é~\u{308}~“~\0~&quot;~%22~%EF~%A0";

    fn one_of(list: &'static str) -> impl Strategy<Value = &'static str> {
        select(list.split('~').collect::<Vec<_>>())
    }

    /// What is kept of a local part's beginning.
    const KEPT: &[char] = &['\'', '`', '{', '|', '}', '/', '=', '?', '&', '#', '.'];

    /// Local parts without what reads as an escape or as part of a URL.
    fn atoms() -> impl Strategy<Value = String> {
        let ascii = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,10}(\\.[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,10}){0,2}";
        prop_oneof![ascii, "[\\p{L}\\p{M}\\p{N}+.-]{1,10}"].prop_filter("reads as something else", |local| {
            let escape = ["%", "&#"].iter().any(|escape| local.contains(escape));
            let url = local.starts_with("//") || local.contains('=') && local.contains(['?', '&', '#']);
            !escape && !url && !local.trim_start_matches(KEPT).is_empty()
        })
    }

    fn quoted() -> impl Strategy<Value = String> {
        prop::collection::vec(prop_oneof!["[ !#-$'-\\[\\]-~é😀]", Just(r#"\""#.to_owned()), Just(r"\\".to_owned())], 0..12)
            .prop_map(|inner| format!("\"{}\"", inner.concat()))
    }

    fn domain() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-zA-Z0-9]([a-zA-Z0-9_-]{0,6}[a-zA-Z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?){0,3}",
            "xn--[a-z0-9]{1,8}\\.example",
            "[\\p{L}\\p{N}][\\p{L}\\p{M}\\p{N}]{0,6}\\.[\\p{L}\\p{M}]{1,6}",
            "\\[(IPv6:)?[0-9a-f:.]{1,10}[0-9]\\]",
        ]
    }

    fn soup() -> impl Strategy<Value = String> {
        prop::collection::vec(one_of(PIECES), 0..24).prop_map(|pieces| pieces.concat())
    }

    fn json() -> impl Strategy<Value = Value> {
        let text = || prop_oneof![soup(), ".{0,10}", (atoms(), domain()).prop_map(|(local, domain)| format!("{local}@{domain}"))];
        let leaf = prop_oneof![any::<i64>().prop_map(Value::from), Just(Value::Null), text().prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((text(), inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn masked_value(value: &Value) -> Value {
        match value {
            Value::String(text) => mask(text).into(),
            Value::Array(items) => items.iter().map(masked_value).collect(),
            Value::Object(members) => members.iter().map(|(name, value)| (mask(name).into_owned(), masked_value(value))).collect(),
            other => other.clone(),
        }
    }

    /// JSON source in which every `nth` character of a text is escaped.
    fn write(value: &Value, nth: usize) -> String {
        let text = |text: &str| {
            let mut buffer = [0; 2];
            let escaped = text.chars().enumerate().map(|(i, c)| match c {
                c if i % nth == 0 => c.encode_utf16(&mut buffer).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
                '"' | '\\' => format!("\\{c}"),
                c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
                c => c.to_string(),
            });
            format!("\"{}\"", escaped.collect::<String>())
        };
        match value {
            Value::String(string) => text(string),
            Value::Array(items) => format!("[{}]", items.iter().map(|item| write(item, nth)).collect::<Vec<_>>().join(", ")),
            Value::Object(members) => {
                format!(
                    "{{{}}}",
                    members.iter().map(|(name, value)| format!("{} : {}", text(name), write(value, nth))).collect::<Vec<_>>().join(",")
                )
            }
            other => other.to_string(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn an_address_is_masked_whole_wherever_it_stands(
            before in one_of(BEFORE), local in prop_oneof![atoms(), quoted()], at in one_of(AT_SIGNS), domain in domain(), after in one_of(AFTER),
        ) {
            let kept = &local[..local.len() - local.trim_start_matches(KEPT).len()];
            let others = |text: &str| text.replace("a@b.example", MASK);
            let expected = format!("{}{kept}{MASK}{}", others(before), others(after));
            let text = format!("{before}{local}{at}{domain}{after}");
            prop_assert_eq!(mask(&text), expected);
        }

        #[test]
        fn no_local_part_of_rfc_5322_is_left(
            // Without those that read as escapes.
            (head, tail) in ("[a-zA-Z0-9!$&'*+/=?^_`{|}~.-]{0,20}", "[a-zA-Z0-9!#$'*+/=?^_`{|}~.-]{0,20}"), domain in domain(),
        ) {
            let local = format!("{head}Q7{tail}Z");
            let masked = mask(&format!("Address <{local}@{domain}> refused, {local}@{domain} too")).into_owned();
            prop_assert!(!masked.contains(&local) && masked.contains(MASK), "{masked}");
        }

        #[test]
        fn masking_leaves_nothing_to_mask(text in prop_oneof![soup(), "\\PC{0,40}"]) {
            let once = mask(&text);
            prop_assert!(matches!(mask(&once), Cow::Borrowed(_)), "{text} -> {once} -> {}", mask(&once));
        }

        #[test]
        fn a_text_without_at_signs_is_borrowed(text in "[^@＠﹫%&\\\\]{0,60}") {
            prop_assert!(matches!(mask(&text), Cow::Borrowed(_)));
        }

        #[test]
        fn every_text_of_a_json_document_is_masked_as_a_text(value in json(), nth in 1..9_usize) {
            let source = write(&value, nth);
            prop_assert_eq!(&serde_json::from_str::<Value>(&source).unwrap(), &value);
            let masked: Value = serde_json::from_str(&mask_json(&source)).unwrap();
            prop_assert_eq!(masked, masked_value(&value));
        }
    }
}
