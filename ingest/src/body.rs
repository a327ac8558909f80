//! A body, read and verified piece by piece.

use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt as _;

use crate::admission::BodyPermit;
use crate::answer::Answer;
use crate::signature::Verification;

/// Of a body above `ingest.max_body_bytes` this much is kept.
const HEAD_BYTES: usize = 64 * 1024;

/// How much of a body is kept, and how much is read at all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_body_bytes: usize,
    pub(crate) hard_limit_bytes: usize,
}

/// A body that came to its end: whole, or its head and full length.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Whole(Bytes),
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

    /// Keeps the head only, and gives the memory of the rest back.
    fn cut(&mut self) {
        self.join();
        self.joined = BytesMut::from(&self.joined[..self.joined.len().min(HEAD_BYTES)]);
    }

    fn into_bytes(self) -> Bytes {
        if self.first.is_empty() { self.joined.freeze() } else { self.first }
    }
}

/// Reads to the end. Beyond `max_body_bytes` only the head is held, and the rest is verified and let go.
pub(crate) async fn read(
    mut payload: Payload,
    mut verification: Option<&mut Verification>,
    limits: Limits,
    permit: &mut BodyPermit,
) -> Result<Body, Answer> {
    let mut pieces = Pieces::default();
    let mut too_large = false;
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|_| Answer::Incomplete)?;
        if let Some(verification) = &mut verification {
            verification.update(&piece);
        }
        if too_large {
            pieces.length += piece.len();
        } else {
            permit.grow(piece.len()).map_err(|_| Answer::Overloaded)?;
            pieces.push(piece);
            if pieces.length > limits.max_body_bytes {
                too_large = true;
                pieces.cut();
                permit.shrink_to(pieces.joined.len());
            }
        }
        if pieces.length > limits.hard_limit_bytes {
            return Err(Answer::TooLarge);
        }
    }
    let length = pieces.length;
    let bytes = pieces.into_bytes();
    Ok(if too_large { Body::Head(bytes, length) } else { Body::Whole(bytes) })
}
