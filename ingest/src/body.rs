//! A body, read and verified piece by piece.

use actix_web::error::PayloadError;
use actix_web::web::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};

use crate::admission::BodyPermit;
use crate::answer::Answer;
use crate::signature::Verification;

/// Of a body above `ingest.max_body_bytes` this much is kept, if that is not more than the limit itself.
const HEAD_BYTES: usize = 64 * 1024;

/// How much of a body is kept, and how much is read at all.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Up to here it is kept whole.
    pub max_body_bytes: usize,
    /// Up to here it is read.
    pub hard_limit_bytes: usize,
}

/// A body that came to its end: whole, or its head and full length.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// Its beginning, and how long it was.
    Head(Bytes, usize),
}

/// Pieces so far. Most bodies come in one and need no copy.
#[derive(Default)]
struct Pieces {
    first: Bytes,
    joined: BytesMut,
    length: usize,
}

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if self.first.is_empty() && self.joined.is_empty() {
            self.first = piece;
        } else {
            self.join();
            self.joined.extend_from_slice(&piece);
        }
    }

    fn join(&mut self) {
        if !self.first.is_empty() {
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        }
    }

    /// Keeps the beginning only, and gives the memory of the rest back.
    fn cut(&mut self, bytes: usize) {
        self.join();
        self.joined = BytesMut::from(&self.joined[..self.joined.len().min(bytes)]);
    }

    fn into_bytes(self) -> Bytes {
        if self.first.is_empty() { self.joined.freeze() } else { self.first }
    }
}

/// Reads to the end; `declared` is the length that the request gives. Beyond `max_body_bytes` only the head is held, and the rest is verified and let go. Never more than `max_body_bytes` is held, so
/// a body that is alone always finds room.
pub async fn read(
    mut payload: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    mut verification: Option<&mut Verification>,
    declared: Option<u64>,
    limits: Limits,
    permit: &mut BodyPermit,
) -> Result<Body, Answer> {
    let head_bytes = HEAD_BYTES.min(limits.max_body_bytes);
    let mut pieces = Pieces::default();
    // A client that also asks for another protocol sends no end of its own.
    while declared != Some(pieces.length as u64)
        && let Some(piece) = payload.next().await
    {
        let piece = piece.map_err(|_| Answer::Incomplete)?;
        if let Some(verification) = &mut verification {
            verification.update(&piece);
        }
        let length = pieces.length + piece.len();
        if length > limits.hard_limit_bytes {
            return Err(Answer::TooLarge);
        }
        if length <= limits.max_body_bytes {
            permit.grow(piece.len(), declared == Some(piece.len() as u64)).map_err(|_| Answer::Overloaded)?;
            pieces.push(piece);
            continue;
        }
        if pieces.length <= limits.max_body_bytes {
            pieces.cut(head_bytes);
            permit.shrink_to(pieces.joined.len());
        }
        // The head is the same however the body is split.
        let missing = head_bytes.saturating_sub(pieces.joined.len()).min(piece.len());
        permit.grow(missing, false).map_err(|_| Answer::Overloaded)?;
        pieces.joined.extend_from_slice(&piece[..missing]);
        pieces.length = length;
    }
    let length = pieces.length;
    let bytes = pieces.into_bytes();
    Ok(if length > limits.max_body_bytes { Body::Head(bytes, length) } else { Body::Whole(bytes) })
}
