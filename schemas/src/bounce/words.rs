//! All phrases of a table found in a folded text, without allocation.
//!
//! Every phrase begins with a word. Phrases are kept by their first 12, 8 or 4 bytes, whichever they fill, so a word of the text that
//! begins like any phrase costs a look-up for each of these lengths that such phrases have, and a comparison with the one or two that
//! begin just like it; other words cost one look-up. An automaton over all phrases (aho-corasick) was tried first: no faster as a DFA
//! of several megabytes, slower as a contiguous NFA, and sixteen times slower to build.

use wide::u8x16;

use super::fold::{SEPARATOR, STEP};

/// How many first bytes choose the bucket, longest first.
const KEYS: [usize; 3] = [12, 8, 4];

/// The number of buckets is a power of two: the top bits of a hash choose one.
const BUCKET_BITS: u32 = 12;
const BUCKETS: usize = 1 << BUCKET_BITS;

/// The phrases of a table.
#[derive(Clone, Debug)]
pub(super) struct Words {
    /// By the bucket of four first bytes: a bit for each of `by_key` that has a phrase which begins like this.
    begun: Box<[u8; BUCKETS]>,
    by_key: [Buckets; KEYS.len()],
    /// Phrases shorter than every key: compared at every word. The built-in table has hardly any.
    short: Vec<Phrase>,
}

/// Phrases that fill one key length.
#[derive(Clone, Debug)]
struct Buckets {
    /// The bytes of a word that choose the bucket.
    mask: u128,
    /// `phrases[starts[n]..starts[n + 1]]` is bucket n.
    starts: Box<[u32; BUCKETS + 1]>,
    phrases: Vec<Phrase>,
}

#[derive(Clone, Debug)]
struct Phrase {
    number: usize,
    /// The first sixteen bytes, and which of them count.
    head: u128,
    mask: u128,
    /// Bytes after the first sixteen.
    rest: Box<[u8]>,
}

impl Words {
    /// Takes folded phrases; they are reported by their position.
    pub(super) fn new(folded: &[Vec<u8>]) -> Self {
        let of_length = |from: usize, to: usize| {
            let numbered = folded.iter().enumerate();
            numbered.filter(move |(_, bytes)| (from..to).contains(&bytes.len())).map(|(number, bytes)| Phrase::new(number, bytes))
        };
        let [long, middle, least] = KEYS;
        let by_key = [
            Buckets::new(long, of_length(long, usize::MAX)),
            Buckets::new(middle, of_length(middle, long)),
            Buckets::new(least, of_length(least, middle)),
        ];
        let mut begun = Box::new([0; BUCKETS]);
        for (number, buckets) in by_key.iter().enumerate() {
            for phrase in &buckets.phrases {
                begun[beginning(phrase.head)] |= 1 << number;
            }
        }
        Self { begun, by_key, short: of_length(0, least).collect() }
    }

    /// Calls `found` with the number of every phrase in the text, as often as it occurs. `folded` is a text as folded.
    pub(super) fn find(&self, folded: &[u8], mut found: impl FnMut(usize)) {
        // A word begins after a separator, or with any character of a script without spaces.
        for (number, bytes) in folded.chunks(STEP).enumerate() {
            let mut begins = match bytes.first_chunk::<STEP>() {
                Some(bytes) => {
                    let bytes = u8x16::from(*bytes);
                    (bytes.simd_eq(u8x16::splat(SEPARATOR)) | bytes.simd_ge(u8x16::splat(0xC0))).to_bitmask()
                }
                // The end of the padding.
                None => 0,
            };
            while begins != 0 {
                let at = number * STEP + begins.trailing_zeros() as usize;
                self.at_word(&folded[at + usize::from(folded[at] == SEPARATOR)..], &mut found);
                begins &= begins - 1;
            }
        }
    }

    #[inline]
    fn at_word(&self, folded: &[u8], found: &mut impl FnMut(usize)) {
        let Some((word, rest)) = folded.split_first_chunk::<STEP>() else { return };
        let word = u128::from_le_bytes(*word);
        let mut begun = self.begun[beginning(word)];
        while begun != 0 {
            for phrase in self.by_key[begun.trailing_zeros() as usize].of(word) {
                if phrase.begins(word, rest) {
                    found(phrase.number);
                }
            }
            begun &= begun - 1;
        }
        for phrase in &self.short {
            if phrase.begins(word, rest) {
                found(phrase.number);
            }
        }
    }
}

impl Buckets {
    fn new(key: usize, phrases: impl Iterator<Item = Phrase>) -> Self {
        let mask = low_bytes(key);
        let mut phrases: Vec<(usize, Phrase)> = phrases.map(|phrase| (bucket(phrase.head & mask), phrase)).collect();
        phrases.sort_by_key(|(bucket, _)| *bucket);
        let mut starts = Box::new([0; BUCKETS + 1]);
        for (bucket, _) in &phrases {
            starts[bucket + 1] += 1;
        }
        let mut total = 0;
        for start in starts.iter_mut() {
            total += *start;
            *start = total;
        }
        Self { mask, starts, phrases: phrases.into_iter().map(|(_, phrase)| phrase).collect() }
    }

    #[inline]
    fn of(&self, word: u128) -> &[Phrase] {
        let bucket = bucket(word & self.mask);
        &self.phrases[self.starts[bucket] as usize..self.starts[bucket + 1] as usize]
    }
}

impl Phrase {
    fn new(number: usize, bytes: &[u8]) -> Self {
        let taken = bytes.len().min(STEP);
        let mut head = [0; STEP];
        head[..taken].copy_from_slice(&bytes[..taken]);
        Self { number, head: u128::from_le_bytes(head), mask: low_bytes(taken), rest: bytes[taken..].into() }
    }

    #[inline]
    fn begins(&self, word: u128, rest: &[u8]) -> bool {
        word & self.mask == self.head && (self.rest.is_empty() || rest.starts_with(&self.rest))
    }
}

const fn low_bytes(count: usize) -> u128 {
    if count >= STEP { u128::MAX } else { (1 << (8 * count)) - 1 }
}

/// The bucket of a word's four first bytes.
const fn beginning(word: u128) -> usize {
    bucket(word & low_bytes(KEYS[KEYS.len() - 1]))
}

/// Multiplicative hashing of both halves.
const fn bucket(word: u128) -> usize {
    let mixed = (word as u64 ^ ((word >> 64) as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (u64::BITS - BUCKET_BITS)) as usize
}
