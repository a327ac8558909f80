//! What the HTTP layer leaves open about HTTP/2: how much a client may say in heads, and how a connection is asked to end.

mod fields;
mod frames;

use std::collections::HashSet;
use std::{fmt, io};

use self::fields::Fields;
use self::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_HEAD, Frame, Frames, HEADERS, PADDED, PRIORITY, Piece, RST_STREAM, take,
};

/// How HTTP/2 without TLS begins.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2";

/// All of it; with TLS it is said, too.
const PREFACE_LENGTH: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
/// GOAWAY on stream 0: every stream that was opened is still served, and there is no error.
const GOAWAY: [u8; FRAME_HEAD + 8] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
/// A head as it is sent, over all its frames; Customer.io's have less than 2 KiB.
const HEAD_BYTES: usize = 8 * 1024;
/// As over HTTP/1.1. The head of a request takes memory by the number of its fields, and a field can take one byte to send.
const HEAD_FIELDS: usize = 96;
/// Requests of a connection that are not answered yet, or whose answers are not read. Go, for one, opens no more than 1,000.
const OPEN_STREAMS: usize = 1_024;
/// So much is read at once, and so many requests are read, before those that are there have their turn, and give back what they took.
pub(crate) const READ_BYTES: usize = 8 * 1024;
const HEADS_AT_ONCE: usize = 16;

/// Why a connection ends at once: no proper client does this, and memory goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// A head is longer, or has more fields, than is read.
    HeadTooLarge,
    /// More requests than can be waited for.
    TooManyStreams,
}

impl Excess {
    pub(crate) const ALL: [Self; 2] = [Self::HeadTooLarge, Self::TooManyStreams];

    /// Its name for a metric.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyStreams => "too_many_streams",
        }
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Excess {}

impl From<Excess> for io::Error {
    fn from(excess: Excess) -> Self {
        Self::other(excess)
    }
}

/// Follows the frames of a connection, both ways.
#[derive(Debug)]
pub(crate) struct Http2 {
    preface_left: usize,
    theirs: Frames,
    /// The head that is being read.
    head: Option<Head>,
    heads_in_a_row: usize,
    last_stream: u32,
    /// Streams that were begun and not ended.
    open: HashSet<u32>,
    ours: Frames,
    /// Our first frame must be our settings.
    has_begun: bool,
    said: usize,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            preface_left: PREFACE_LENGTH,
            theirs: Frames::default(),
            head: None,
            heads_in_a_row: 0,
            last_stream: 0,
            open: HashSet::new(),
            ours: Frames::default(),
            has_begun: false,
            said: 0,
        }
    }
}

impl Http2 {
    /// These bytes came from the client.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Result<(), Excess> {
        self.preface_left -= take(&mut bytes, self.preface_left).len();
        while let Some(piece) = self.theirs.next(&mut bytes) {
            match piece {
                Piece::Head(frame) => self.begins(frame)?,
                Piece::Body(bytes) => {
                    if let Some(head) = &mut self.head {
                        head.read(bytes)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn begins(&mut self, frame: Frame) -> Result<(), Excess> {
        let head = self.head.take();
        match frame.kind {
            HEADERS => {
                self.head = Some(Head::new(frame)?);
                self.heads_in_a_row += 1;
                // Trailers open nothing.
                if frame.stream > self.last_stream {
                    self.last_stream = frame.stream;
                    self.open.insert(frame.stream);
                }
                if self.open.len() > OPEN_STREAMS { Err(Excess::TooManyStreams) } else { Ok(()) }
            }
            CONTINUATION => {
                self.head = Some(head.filter(|head| !head.is_last).ok_or(Excess::HeadTooLarge)?.goes_on(frame)?);
                Ok(())
            }
            RST_STREAM => {
                self.open.remove(&frame.stream);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// True, once, if so many requests came in a row that they should have their turn first.
    pub(crate) fn has_read_many(&mut self) -> bool {
        let many = self.heads_in_a_row >= HEADS_AT_ONCE;
        if many {
            self.heads_in_a_row = 0;
        }
        many
    }

    /// Nothing more has come so far.
    pub(crate) fn has_paused(&mut self) {
        self.heads_in_a_row = 0;
    }

    /// These bytes of ours went out.
    pub(crate) fn written(&mut self, mut bytes: &[u8]) {
        while let Some(piece) = self.ours.next(&mut bytes) {
            let Piece::Head(frame) = piece else { continue };
            self.has_begun = true;
            if frame.kind == RST_STREAM || (matches!(frame.kind, DATA | HEADERS) && frame.has(END_STREAM)) {
                self.open.remove(&frame.stream);
            }
        }
    }

    /// What is left to say to a client of whom no further requests are wanted, if it may be said now. Over HTTP/1.1 an answer says
    /// `Connection: close`; here a frame does, and the client closes the connection when those under way are answered (RFC 9113 section 6.8).
    pub(crate) fn unsaid(&self) -> Option<&'static [u8]> {
        (self.has_begun && self.ours.is_between() && self.said < GOAWAY.len()).then(|| &GOAWAY[self.said..])
    }

    /// So much of it was said.
    pub(crate) fn say(&mut self, bytes: usize) {
        self.said += bytes;
    }
}

/// A head between its padding, while it is read (RFC 9113 sections 6.2 and 6.10).
#[derive(Debug)]
struct Head {
    is_padded: bool,
    /// Bytes before the fields.
    priority_left: usize,
    /// Bytes of the fields, in this frame.
    left: usize,
    /// Bytes of its frames, those under way included.
    length: usize,
    /// No frame of it follows this one.
    is_last: bool,
    fields: Fields,
}

impl Head {
    fn new(frame: Frame) -> Result<Self, Excess> {
        let priority_left = if frame.has(PRIORITY) { 5 } else { 0 };
        let head = Self { is_padded: frame.has(PADDED), priority_left, left: 0, length: 0, is_last: false, fields: Fields::default() };
        let left = frame.length.saturating_sub(priority_left);
        Ok(Self { left, ..head.with(frame, frame.length)? })
    }

    /// Its next frame. What frames themselves take counts as well, else empty ones would never come to an end.
    fn goes_on(self, frame: Frame) -> Result<Self, Excess> {
        Ok(Self { is_padded: false, priority_left: 0, left: frame.length, ..self.with(frame, FRAME_HEAD + frame.length)? })
    }

    fn with(self, frame: Frame, bytes: usize) -> Result<Self, Excess> {
        let length = self.length + bytes;
        if length > HEAD_BYTES { Err(Excess::HeadTooLarge) } else { Ok(Self { length, is_last: frame.has(END_HEADERS), ..self }) }
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), Excess> {
        if self.is_padded
            && let Some(padding) = take(&mut bytes, 1).first()
        {
            self.is_padded = false;
            self.left = self.left.saturating_sub(1 + usize::from(*padding));
        }
        self.priority_left -= take(&mut bytes, self.priority_left).len();
        let fields = take(&mut bytes, self.left);
        self.left -= fields.len();
        self.fields.read(fields);
        if self.fields.count > HEAD_FIELDS { Err(Excess::HeadTooLarge) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
