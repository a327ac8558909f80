//! The one decision about what is a JSON object, and lenient reading of values.
//!
//! Ingest uses it to choose between `raw` and `dead`, and the normaliser to read what ingest let through, so the two can never disagree.
//!
//! The reader goes over the source once, checks the whole grammar (RFC 8259), builds no tree and allocates nothing until a document is nested more than
//! 64 deep. `serde_json`'s raw values need a pass for each level that is looked into; property tests hold the two to the same verdict on
//! every document.

mod reader;
mod scan;
mod text;
mod value;

#[cfg(test)]
mod tests;

pub(crate) use reader::{Reader, Span};
pub use text::text_of;
pub(crate) use text::{quote, trim, without_lone_surrogates};
pub use value::Value;

/// Why some bytes are not an event. The text form is the `reason` header of a dead letter and a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnObject {
    /// Nothing, or nothing but blanks.
    #[error("body_empty")]
    Empty,
    /// Some byte sequence is not UTF-8.
    #[error("body_not_utf8")]
    NotUtf8,
    /// JSON, but a list, a text, a number, a boolean or null.
    #[error("body_not_an_object")]
    NotAnObject,
    /// Not JSON: truncated, trailing bytes, or no JSON at all.
    #[error("body_not_json")]
    NotJson,
}

/// The source of a body that begins like an object. What it is, where it is none; bodies of four gigabytes and more are no JSON here.
pub(crate) fn object_source(body: &[u8]) -> Result<&str, NotAnObject> {
    let source = std::str::from_utf8(body).map_err(|_| NotAnObject::NotUtf8)?;
    // Spans are kept in 32 bits.
    u32::try_from(source.len()).map_err(|_| NotAnObject::NotJson)?;
    let mut reader = Reader::new(source);
    match reader.next() {
        None => Err(NotAnObject::Empty),
        Some(b'{') => Ok(source),
        Some(_) => match (reader.value(), reader.next()) {
            (Some(_), None) => Err(NotAnObject::NotAnObject),
            _ => Err(NotAnObject::NotJson),
        },
    }
}
