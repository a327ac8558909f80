//! Where frames begin and end in what goes one way over an HTTP/2 connection (RFC 9113 section 4.1).

pub(super) const FRAME_HEAD: usize = 9;
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const CONTINUATION: u8 = 9;
/// Flags of a frame, of those kinds that have them.
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITY: u8 = 0x20;

/// What the head of a frame says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) length: usize,
}

impl Frame {
    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A piece of what went over the connection.
pub(super) enum Piece<'b> {
    /// A frame begins.
    Head(Frame),
    /// More of its body, which comes in as many pieces as it was split into.
    Body(&'b [u8]),
}

/// Follows frames, however they are split.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; FRAME_HEAD],
    head_length: usize,
    /// Bytes of the frame under way, beside its head.
    body_left: usize,
}

impl Frames {
    /// Takes the next piece off `bytes`; nothing once they are used up.
    pub(super) fn next<'b>(&mut self, bytes: &mut &'b [u8]) -> Option<Piece<'b>> {
        if self.body_left > 0 {
            let piece = take(bytes, self.body_left);
            self.body_left -= piece.len();
            return (!piece.is_empty()).then_some(Piece::Body(piece));
        }
        let piece = take(bytes, FRAME_HEAD - self.head_length);
        self.head[self.head_length..self.head_length + piece.len()].copy_from_slice(piece);
        self.head_length += piece.len();
        if self.head_length < FRAME_HEAD {
            return None;
        }
        self.head_length = 0;
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        let frame = Frame {
            kind,
            flags,
            // The first bit is reserved.
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
            length: u32::from_be_bytes([0, a, b, c]) as usize,
        };
        self.body_left = frame.length;
        Some(Piece::Head(frame))
    }

    /// True if no frame is under way.
    pub(super) fn is_between(&self) -> bool {
        self.head_length == 0 && self.body_left == 0
    }
}

/// Takes up to so many bytes off the front.
pub(super) fn take<'b>(bytes: &mut &'b [u8], most: usize) -> &'b [u8] {
    let (taken, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    taken
}
