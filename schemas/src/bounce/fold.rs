//! Texts and phrases made comparable: words of lower case, one space between them.

use wide::u8x16;

use super::plain::one_spelling;

pub(super) const SEPARATOR: u8 = b' ';

/// Bytes are folded so many at a time.
pub(super) const STEP: usize = 16;

/// How much longer than a text the room for its folded form must be: a separator at each end, and a step of zero bytes behind, so that every word can be
/// read as one number.
pub(super) const MARGIN: usize = 2 + STEP;

/// Folds `text` into `out` and returns it: a separator first, one between words, one last, and a step of zero bytes. `out` must be [`MARGIN`] longer than
/// the text; what does not fit is left out.
///
/// Mail addresses are dropped: `<spam@blocked.example>` is no evidence, and `User (x@example.com) unknown` reads `user unknown`.
pub(super) fn fold<'o>(text: &[u8], out: &'o mut [u8]) -> &'o [u8] {
    let text = &text[..text.len().min(out.len().saturating_sub(MARGIN))];
    let mut len = separate(out, 0);
    // Where the word that might turn out to be an address began.
    let mut word = len;
    let mut at = 0;
    loop {
        // Most of a text is runs of letters and digits: copied without looking at anything else. What a step leaves behind a run is written over.
        while let Some(place) = out.get_mut(len..).and_then(<[u8]>::first_chunk_mut) {
            let (folded, run) = run(&text[at..]);
            *place = folded;
            len += run;
            at += run;
            if run < STEP {
                break;
            }
        }
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
            at += text[at..].iter().take_while(|&&byte| !BOUNDS_ADDRESS[usize::from(byte)]).count();
            continue;
        }
        len = separate(out, len);
        if BOUNDS_ADDRESS[usize::from(raw)] {
            word = len;
        }
    }
    len = separate(out, len);
    let end = out.len().min(len + STEP);
    out[len..end].fill(0);
    &out[..end]
}

/// The first bytes of a text in lower case, and how many of them are letters and digits without a break.
#[inline]
fn run(text: &[u8]) -> ([u8; STEP], usize) {
    let bytes = match text.first_chunk() {
        Some(bytes) => *bytes,
        None => {
            let mut bytes = [0; STEP];
            bytes[..text.len()].copy_from_slice(text);
            bytes
        }
    };
    let bytes = u8x16::from(bytes);
    // Of digits, this bit is set already.
    let folded = bytes | u8x16::splat(0x20);
    let letters = (folded - u8x16::splat(b'a')).simd_le(u8x16::splat(25));
    let digits = (bytes - u8x16::splat(b'0')).simd_le(u8x16::splat(9));
    (folded.to_array(), (letters | digits).to_bitmask().trailing_ones() as usize)
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
const BOUNDS_ADDRESS: [bool; 256] = {
    let mut bounds = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        bounds[byte] = bounds_address(byte as u8);
        byte += 1;
    }
    bounds
};

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
    let inner = one_spelling(inner);
    let mut folded = vec![0; inner.len() + MARGIN];
    let folded = fold(inner.as_bytes(), &mut folded);
    let words = folded[..folded.len() - STEP].trim_ascii();
    let end = (words.last()?.is_ascii() && !open_end).then_some(SEPARATOR);
    Some(words.iter().copied().chain(end).collect())
}
