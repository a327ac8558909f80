//! `v0:<timestamp>:<body>` under HMAC-SHA256, over the bytes as they came, compared in constant time.

use actix_web::http::header::HeaderMap;
use ring::hmac;
use smallvec::SmallVec;
use subtle::ConstantTimeEq as _;

const SIGNATURE: &str = "x-cio-signature";
const TIMESTAMP: &str = "x-cio-timestamp";

/// The live keys of a source, ready to be fed.
#[derive(Clone)]
pub struct SigningKeys(Vec<hmac::Key>);

/// What the request claims. Nothing in here is trusted yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureHeaders<'r> {
    /// Decimal digits, as sent.
    pub timestamp: &'r str,
    signature: [u8; 32],
}

/// Why a request cannot be verified at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// A header is absent.
    Missing,
    /// A header is there twice, is no 64 hex characters, or no 1 to 20 digits.
    Malformed,
}

impl<'r> SignatureHeaders<'r> {
    /// Takes the two headers from a request.
    pub fn read(headers: &'r HeaderMap) -> Result<Self, HeaderError> {
        let timestamp = only(headers, TIMESTAMP)?;
        let signature = only(headers, SIGNATURE)?;
        Self::parse(timestamp, signature)
    }

    /// Reads the texts of the two headers.
    pub fn parse(timestamp: &'r [u8], signature: &[u8]) -> Result<Self, HeaderError> {
        let timestamp = timestamp.trim_ascii();
        if timestamp.is_empty() || timestamp.len() > 20 || !timestamp.iter().all(u8::is_ascii_digit) {
            return Err(HeaderError::Malformed);
        }
        let mut decoded = [0; 32];
        hex::decode_to_slice(signature.trim_ascii(), &mut decoded).map_err(|_| HeaderError::Malformed)?;
        let timestamp = str::from_utf8(timestamp).map_err(|_| HeaderError::Malformed)?;
        Ok(Self { timestamp, signature: decoded })
    }

    /// The time as Unix seconds; what is beyond 64 bits is at their end.
    pub fn seconds(&self) -> i64 {
        self.timestamp.parse().unwrap_or(i64::MAX)
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a [u8], HeaderError> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (None, _) => Err(HeaderError::Missing),
        (Some(value), None) => Ok(value.as_bytes()),
        (Some(_), Some(_)) => Err(HeaderError::Malformed),
    }
}

impl SigningKeys {
    /// Keys as the bytes of the text that Customer.io shows; they are not decoded.
    pub fn new<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Self {
        Self(keys.map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect())
    }

    /// Begins a verification; the body is fed piece by piece.
    pub fn begin(&self, headers: &SignatureHeaders<'_>) -> Verification {
        let begin = |key| {
            let mut mac = hmac::Context::with_key(key);
            mac.update(b"v0:");
            mac.update(headers.timestamp.as_bytes());
            mac.update(b":");
            mac
        };
        Verification { macs: self.0.iter().map(begin).collect(), signature: headers.signature }
    }
}

/// A verification under way. Memory does not grow with the body.
pub struct Verification {
    macs: SmallVec<[hmac::Context; 1]>,
    signature: [u8; 32],
}

impl Verification {
    /// The next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        for mac in &mut self.macs {
            mac.update(piece);
        }
    }

    /// The place, in the configuration, of the key that made the signature. Every key is tried, so the time tells nothing.
    pub fn matching_key(self) -> Option<usize> {
        let signature = self.signature;
        self.macs.into_iter().enumerate().fold(None, |found, (index, mac)| {
            let matches = bool::from(mac.sign().as_ref().ct_eq(&signature));
            found.or(matches.then_some(index))
        })
    }
}

#[cfg(test)]
mod tests;
