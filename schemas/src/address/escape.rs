//! One character of a text as its reader will see it, also where it is written as an escape.
//!
//! Read are `%40` (doubled too: `%2540`), `&#64;`, `&#x40;`, `&commat;` (doubled too: `&amp;#64;`) and, as in JSON, `\u0040`. An escape has
//! a bounded length, so each character costs a bounded time in either direction.

/// How often an escape may have been escaped again.
const NESTING: usize = 8;
/// Digits of a numeric entity, letters of a named one.
const ENTITY_BYTES: usize = 10;
/// The longest entity: `&`, `amp;` repeated, `#x`, digits, `;`.
const LONGEST_ENTITY: usize = 1 + 4 * NESTING + 2 + ENTITY_BYTES + 1;
/// Named entities that are no letters.
const NAMED: [(&str, char); 5] = [("commat", '@'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("nbsp", ' ')];
/// Stands for characters whose kind needs no closer look: parts of an encoded UTF-8 sequence, accented letters by name.
const LETTER: char = 'x';

/// The first character, and how many bytes it takes.
#[inline]
pub(super) fn first_char(text: &str) -> Option<(char, usize)> {
    match *text.as_bytes().first()? {
        b'%' | b'&' | b'\\' | 0x80.. => escape(text).or_else(|| text.chars().next().map(|c| (plain(c), c.len_utf8()))),
        byte => Some((char::from(byte), 1)),
    }
}

/// The last character, and where it begins.
pub(super) fn last_char(text: &str) -> Option<(char, usize)> {
    match text.as_bytes() {
        // The end of an escape, perhaps.
        [.., b';' | 0x80..] | [.., b'%' | b'5', _, _] | [.., b'u', _, _, _, _] => last_escaped_char(text),
        [before @ .., byte] => Some((char::from(*byte), before.len())),
        [] => None,
    }
}

/// A text as its reader will see it, if it has escapes for a URL or HTML. Letters by name (`&eacute;`) are not told apart.
pub(crate) fn unescaped(text: &str) -> Option<String> {
    memchr::memchr2(b'%', b'&', text.as_bytes())?;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let len = if let Some((byte, len)) = percent_byte(rest.as_bytes()) {
            bytes.push(byte);
            len
        } else {
            let (c, len) = entity(rest).unwrap_or((c, c.len_utf8()));
            bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
            len
        };
        rest = &rest[len..];
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn last_escaped_char(text: &str) -> Option<(char, usize)> {
    let bytes = text.as_bytes();
    let candidates = [percent_from(bytes), entity_from(bytes), unicode_from(bytes)];
    let escaped = candidates.into_iter().flatten().find_map(|from| {
        let (c, len) = escape(&text[from..])?;
        (from + len == text.len()).then_some((c, from))
    });
    escaped.or_else(|| text.char_indices().next_back().map(|(from, c)| (plain(c), from)))
}

fn entity_from(bytes: &[u8]) -> Option<usize> {
    bytes.last().filter(|last| **last == b';')?;
    let window = bytes.len().saturating_sub(LONGEST_ENTITY);
    memchr::memrchr(b'&', &bytes[window..]).map(|at| window + at)
}

fn percent_from(bytes: &[u8]) -> Option<usize> {
    let mut from = bytes.len().checked_sub(3)?;
    for _ in 0..=NESTING {
        match bytes[from] {
            b'%' => return Some(from),
            b'5' => from = from.checked_sub(2)?,
            _ => return None,
        }
    }
    None
}

fn unicode_from(bytes: &[u8]) -> Option<usize> {
    let from = bytes.len().checked_sub(6)?;
    bytes[from..].starts_with(br"\u").then_some(from)
}

/// Wide and small forms as their ASCII character, typographic quotes as plain ones.
fn plain(c: char) -> char {
    match c {
        '\0'..='\x7f' => c,
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{fe6b}' => '@',
        '‘' | '’' => '\'',
        '“' | '”' | '„' => '"',
        _ => c,
    }
}

fn escape(text: &str) -> Option<(char, usize)> {
    match text.as_bytes().first()? {
        b'%' => percent(text.as_bytes()),
        b'&' => entity(text),
        b'\\' => unicode(text),
        _ => None,
    }
}

fn percent(text: &[u8]) -> Option<(char, usize)> {
    let (byte, len) = percent_byte(text)?;
    if byte.is_ascii() {
        return Some((char::from(byte), len));
    }
    // U+FF20 and U+FE6B, the other at signs.
    let next = |from: usize| text.get(from..).and_then(percent_byte).map(|(byte, len)| (byte, from + len));
    if byte == 0xef
        && let Some((second, from)) = next(len)
        && let Some((third, end)) = next(from)
        && matches!((second, third), (0xbc, 0xa0) | (0xb9, 0xab))
    {
        return Some(('@', end));
    }
    Some((LETTER, len))
}

fn percent_byte(text: &[u8]) -> Option<(u8, usize)> {
    let hex = |at: usize| text.get(at).and_then(|digit| char::from(*digit).to_digit(16));
    text.first().filter(|first| **first == b'%')?;
    let mut at = 1;
    // `%25` is an encoded `%`: part of a longer escape if two more digits follow.
    while at < 2 * NESTING && text[at..].starts_with(b"25") && hex(at + 2).is_some() && hex(at + 3).is_some() {
        at += 2;
    }
    let byte = u8::try_from(hex(at)? * 16 + hex(at + 1)?).ok()?;
    Some((byte, at + 2))
}

fn entity(text: &str) -> Option<(char, usize)> {
    let mut rest = text.strip_prefix('&')?;
    for _ in 0..NESTING {
        let Some((_, nested)) = rest.split_at_checked(4).filter(|(name, _)| name.eq_ignore_ascii_case("amp;")) else { break };
        rest = nested;
    }
    let from = text.len() - rest.len();
    let c = match rest.strip_prefix('#') {
        Some(number) => numeric_entity(number).map(|(c, len)| (c, from + 1 + len)),
        None => named_entity(rest).map(|(c, len)| (c, from + len)),
    };
    c.or((from > 1).then_some(('&', from)))
}

fn numeric_entity(number: &str) -> Option<(char, usize)> {
    let (digits, radix) = number.strip_prefix(['x', 'X']).map_or((number, 10), |digits| (digits, 16));
    let len = digits.bytes().take(ENTITY_BYTES).take_while(|digit| char::from(*digit).is_digit(radix)).count();
    let c = u32::from_str_radix(&digits[..len], radix).ok().and_then(char::from_u32)?;
    // Browsers read it without its semicolon too.
    let semicolon = usize::from(digits[len..].starts_with(';'));
    Some((plain(c), number.len() - digits.len() + len + semicolon))
}

fn named_entity(text: &str) -> Option<(char, usize)> {
    let len = text.bytes().take(ENTITY_BYTES).take_while(u8::is_ascii_alphanumeric).count();
    if len == 0 || !text[len..].starts_with(';') {
        return None;
    }
    let known = NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text[..len]));
    Some((known.map_or(LETTER, |(_, c)| *c), len + 1))
}

fn unicode(text: &str) -> Option<(char, usize)> {
    let digits = text.strip_prefix(r"\u")?.get(..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    let code = u32::from_str_radix(digits, 16).ok()?;
    Some((char::from_u32(code).map_or(LETTER, plain), 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_is_read_the_same_from_both_ends() {
        for (escape, expected) in [
            ("@", '@'),
            ("＠", '@'),
            ("﹫", '@'),
            ("%40", '@'),
            ("%25252540", '@'),
            ("&#64;", '@'),
            ("&#x000040;", '@'),
            ("&#xff20;", '@'),
            ("&commat;", '@'),
            ("&amp;amp;#64;", '@'),
            (r"\u0040", '@'),
            (r"\uFF20", '@'),
            (r"\ud800", LETTER),
            ("%2F", '/'),
            ("%2f", '/'),
            ("%25", '%'),
            ("%C3", LETTER),
            ("&amp;", '&'),
            ("&lt;", '<'),
            ("&uuml;", LETTER),
            ("＜", '<'),
            ("ö", 'ö'),
        ] {
            assert_eq!(first_char(&format!("{escape}z")), Some((expected, escape.len())), "{escape}");
            assert_eq!(last_char(&format!("z{escape}")), Some((expected, 1)), "{escape}");
        }
    }

    #[test]
    fn a_text_is_read_through_its_escapes() {
        for (text, expected) in [
            ("user%20unknown%0Ablocked", "user unknown\nblocked"),
            ("b&#108;ocked &AMP;#x62;y&nbsp;us, R&amp;D", "blocked by us, R&D"),
            ("%2562loqu%C3%A9 & 100% \u{e9}", "bloqu\u{e9} & 100% \u{e9}"),
            ("%C3 &eacute;", "\u{fffd} x"),
        ] {
            assert_eq!(unescaped(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(unescaped(r"no escape \u0040"), None);
    }

    #[test]
    fn encoded_wide_at_signs_are_at_signs() {
        for escape in ["%EF%BC%A0", "%ef%b9%ab", "%25EF%25BC%25A0"] {
            assert_eq!(first_char(escape), Some(('@', escape.len())));
        }
    }

    #[test]
    fn what_only_resembles_an_escape_is_itself() {
        for text in ["%", "%4", "%zz", "&", "&;", "&#;", "&#x;", "&lt", "&a b;", r"\u+040", r"\u00", "&#x110000;", "5%", "%\u{f6}"] {
            let first = text.chars().next().unwrap();
            assert_eq!(first_char(text), Some((first, first.len_utf8())), "{text}");
            let last = text.chars().next_back().unwrap();
            assert_eq!(last_char(text), Some((last, text.len() - last.len_utf8())), "{text}");
        }
    }
}
