//! Texts and phrases made comparable: words of lower case, one space between them.

pub(super) const SEPARATOR: u8 = b' ';

/// What each ASCII byte folds to: letters and digits to lower case, the rest to a separator. Zero where one byte does not tell.
const FOLD: [u8; 256] = fold_table();

const fn fold_table() -> [u8; 256] {
    let mut table = [SEPARATOR; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        if value.is_ascii_alphanumeric() {
            table[byte] = value.to_ascii_lowercase();
        } else if !value.is_ascii() {
            table[byte] = 0;
        }
        byte += 1;
    }
    table
}

/// Folds `text` into `out` and returns the length used: a separator first, one between words, one last. `out` must be at least two
/// bytes longer than the text; what does not fit is left out.
///
/// Mail addresses are dropped: `<spam@blocked.example>` is no evidence, and `User (x@example.com) unknown` reads `user unknown`.
pub(super) fn fold(text: &[u8], out: &mut [u8]) -> usize {
    let text = &text[..text.len().min(out.len().saturating_sub(2))];
    let mut len = separate(out, 0);
    // Where the word that might turn out to be an address began.
    let mut word = len;
    let mut at = 0;
    loop {
        // Most of a text is runs of letters and digits: copied without looking at anything else.
        let mut run = 0;
        for (place, &raw) in out[len..].iter_mut().zip(&text[at..]) {
            let byte = FOLD[usize::from(raw)];
            if byte <= SEPARATOR {
                break;
            }
            *place = byte;
            run += 1;
        }
        len += run;
        at += run;
        let Some(&raw) = text.get(at) else { break };
        let wide = if raw.is_ascii() { 1 } else { wide_separator(&text[at..]) };
        at += wide.max(1);
        if wide == 0 {
            out[len] = raw;
            len += 1;
            continue;
        }
        if raw == b'@' {
            len = word;
            at += text[at..].iter().take_while(|&&byte| !bounds_address(byte)).count();
            continue;
        }
        len = separate(out, len);
        if bounds_address(raw) {
            word = len;
        }
    }
    separate(out, len)
}

/// Ends the word that ends at `len`, and returns where the next one begins.
fn separate(out: &mut [u8], len: usize) -> usize {
    if len > 0 && out[len - 1] == SEPARATOR {
        return len;
    }
    out.get_mut(len).map_or(len, |place| {
        *place = SEPARATOR;
        len + 1
    })
}

/// Bytes that end a mail address and begin a new word that might be one.
const fn bounds_address(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'<' | b'>' | b'(' | b')' | b'[' | b']' | b'"' | b'\'' | b',' | b';' | b':')
}

/// The length of a typographic quote or a no-break space, which separate words like their ASCII kin; 0 for anything else.
fn wide_separator(bytes: &[u8]) -> usize {
    match bytes {
        [0xE2, 0x80, 0x98..=0x9F, ..] => 3,
        [0xC2, 0xA0, ..] => 2,
        _ => 0,
    }
}

/// A phrase as it stands in folded text from its first word on, with the separator that ends its last word. A final `*` leaves
/// the last word open; words of other scripts, which need no spaces, are open by themselves. `None` when it could never match.
pub(super) fn fold_phrase(phrase: &str) -> Option<Vec<u8>> {
    let (inner, open_end) = phrase.strip_suffix('*').map_or((phrase, false), |inner| (inner, true));
    if inner.contains(['*', '@']) {
        return None;
    }
    let mut folded = vec![0; inner.len() + 2];
    let used = fold(inner.as_bytes(), &mut folded);
    let words = folded[..used].trim_ascii();
    let end = (words.last()?.is_ascii() && !open_end).then_some(SEPARATOR);
    Some(words.iter().copied().chain(end).collect())
}
