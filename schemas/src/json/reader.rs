//! One pass over a document: every value it passes is checked.

use smallvec::SmallVec;

use super::Value;
use super::scan::{BLOCK, specials_of_first_block};

/// Brackets that may be open at once before the reader's memory of them moves to the heap, where it takes one byte each.
const INLINE_DEPTH: usize = 64;

/// A piece of a document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// It is a string with a backslash in it.
    pub(crate) is_escaped: bool,
}

impl Span {
    /// The value that stands there.
    #[inline]
    pub(crate) fn of(self, source: &str) -> Value<'_> {
        Value { source: source.get(self.from as usize..self.to as usize).unwrap_or_default(), is_escaped: self.is_escaped }
    }
}

/// A place in a document. Everything it reads, it checks.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the block begins that was looked at last, and its special bytes.
    block: usize,
    specials: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        Self { bytes: source.as_bytes(), at: 0, block: usize::MAX, specials: 0 }
    }

    /// Where the next byte stands.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next byte behind blanks, left where it is.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<u8> {
        // Most tokens follow each other without a blank, and none of them is below one.
        let byte = self.byte()?;
        if byte > b' ' { Some(byte) } else { self.next_behind_blanks() }
    }

    #[cold]
    fn next_behind_blanks(&mut self) -> Option<u8> {
        while let b' ' | b'\t' | b'\r' | b'\n' = self.byte()? {
            self.at += 1;
        }
        self.byte()
    }

    /// Passes over the next byte behind blanks if it is this one.
    #[inline]
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let taken = self.next() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    /// Reads a value of any kind.
    #[inline]
    pub(crate) fn value(&mut self) -> Option<Span> {
        let first = self.next()?;
        let from = self.at;
        let is_escaped = match first {
            b'"' => self.string()?,
            b'{' | b'[' => {
                self.container()?;
                false
            }
            first => {
                self.scalar(first)?;
                false
            }
        };
        Some(self.span(from, is_escaped))
    }

    /// From there to here.
    #[inline]
    pub(crate) fn span(&self, from: usize, is_escaped: bool) -> Span {
        Span { from: from as u32, to: self.at as u32, is_escaped }
    }

    /// Reads a member's name and the colon behind it.
    #[inline]
    pub(crate) fn name(&mut self) -> Option<Span> {
        (self.next()? == b'"').then_some(())?;
        let from = self.at;
        let is_escaped = self.string()?;
        let name = self.span(from, is_escaped);
        self.take(b':').then_some(name)
    }

    /// Passes over lists and objects without recursion: no document is too deep.
    fn container(&mut self) -> Option<()> {
        let mut closing: SmallVec<[u8; INLINE_DEPTH]> = SmallVec::new();
        loop {
            // A value is due.
            match self.next()? {
                bracket @ (b'{' | b'[') => {
                    self.at += 1;
                    // In ASCII each closing bracket stands two behind its opening one.
                    closing.push(bracket + 2);
                    if self.next()? != bracket + 2 {
                        if bracket == b'{' {
                            self.name()?;
                        }
                        continue;
                    }
                }
                b'"' => {
                    self.string()?;
                }
                first => self.scalar(first)?,
            }
            // A value, or a bracket with nothing in it, is behind us.
            loop {
                let close = *closing.last()?;
                match self.next()? {
                    b',' => {
                        self.at += 1;
                        if close == b'}' {
                            self.name()?;
                        }
                        break;
                    }
                    byte if byte == close => {
                        self.at += 1;
                        closing.pop();
                        if closing.is_empty() {
                            return Some(());
                        }
                    }
                    _ => return None,
                }
            }
        }
    }

    /// Anything without quotes and brackets.
    fn scalar(&mut self, first: u8) -> Option<()> {
        match first {
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.number(),
        }
    }

    #[inline]
    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        let found = self.bytes[self.at..].starts_with(literal);
        self.at += literal.len();
        found.then_some(())
    }

    #[inline]
    fn number(&mut self) -> Option<()> {
        self.at += usize::from(self.byte() == Some(b'-'));
        match self.byte()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Some(())
    }

    /// At least one digit.
    #[inline]
    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    /// A string, quote to quote. True if it has a backslash.
    #[inline]
    pub(super) fn string(&mut self) -> Option<bool> {
        self.at += 1;
        self.skip_plain();
        if self.byte()? == b'"' {
            self.at += 1;
            return Some(false);
        }
        self.escaped_string()
    }

    #[cold]
    fn escaped_string(&mut self) -> Option<bool> {
        while self.byte()? == b'\\' {
            self.escape()?;
            self.skip_plain();
        }
        let is_closed = self.byte()? == b'"';
        self.at += 1;
        is_closed.then_some(true)
    }

    fn escape(&mut self) -> Option<()> {
        let escape = self.bytes.get(self.at + 1..)?;
        self.at += match escape {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', a, b, c, d, ..] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return None,
        };
        Some(())
    }

    /// To the next special byte, or behind the end.
    #[inline]
    fn skip_plain(&mut self) {
        loop {
            let block = self.at - self.at % BLOCK;
            if block != self.block {
                self.block = block;
                self.specials = self.bytes.get(block..).map_or(1, specials_of_first_block);
            }
            let ahead = self.specials >> (self.at % BLOCK);
            if ahead != 0 {
                self.at += ahead.trailing_zeros() as usize;
                return;
            }
            self.at = block + BLOCK;
        }
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}
