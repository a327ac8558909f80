//! Rows in ClickHouse's `RowBinary` format: one block of bytes, encoded once, so that a repeated insert sends the very same bytes.
//!
//! Only what rows need: texts, bytes, integers, booleans and their nullable forms. Lengths are LEB128, numbers little-endian.

use serde::ser::{Impossible, Serialize, SerializeStruct, Serializer};

/// Rows of one table, encoded one behind the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    bytes: Vec<u8>,
    columns: Vec<&'static str>,
    rows: usize,
}

impl Block {
    /// Adds a row. Rows of one block are of one type, a struct of texts, bytes, integers, booleans and options of them; for anything else nothing is
    /// added and the error says so.
    pub fn push(&mut self, row: &impl Serialize) -> Result<(), Unsupported> {
        let before = self.bytes.len();
        let names = (self.rows == 0).then_some(&mut self.columns);
        row.serialize(Writer { bytes: &mut self.bytes, names }).inspect_err(|_| self.bytes.truncate(before))?;
        self.rows += 1;
        Ok(())
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Names of the columns in the order of their values; empty while there is no row.
    pub fn columns(&self) -> &[&'static str] {
        &self.columns
    }

    /// The encoded rows.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The encoded rows, taken.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Forgets the rows and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.columns.clear();
        self.rows = 0;
    }
}

/// A type that no column holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} has no form in a row")]
pub struct Unsupported(String);

impl serde::ser::Error for Unsupported {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

fn unsupported<T>(what: &str) -> Result<T, Unsupported> {
    Err(Unsupported(what.to_owned()))
}

struct Writer<'b> {
    bytes: &'b mut Vec<u8>,
    /// Where the names of the columns go, where they are wanted.
    names: Option<&'b mut Vec<&'static str>>,
}

/// Its length and itself.
fn put_text(bytes: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    while length > 0x7F {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(text);
}

impl Writer<'_> {
    #[inline]
    fn put<const N: usize>(self, bytes: [u8; N]) -> Result<(), Unsupported> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }
}

impl<'b> Serializer for Writer<'b> {
    type Ok = ();
    type Error = Unsupported;
    type SerializeSeq = Impossible<(), Unsupported>;
    type SerializeTuple = Impossible<(), Unsupported>;
    type SerializeTupleStruct = Impossible<(), Unsupported>;
    type SerializeTupleVariant = Impossible<(), Unsupported>;
    type SerializeMap = Impossible<(), Unsupported>;
    type SerializeStruct = Row<'b>;
    type SerializeStructVariant = Impossible<(), Unsupported>;

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), Unsupported> {
        self.put([u8::from(value)])
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Result<(), Unsupported> {
        self.put(value.to_le_bytes())
    }

    #[inline]
    fn serialize_i16(self, value: i16) -> Result<(), Unsupported> {
        self.put(value.to_le_bytes())
    }

    #[inline]
    fn serialize_i32(self, value: i32) -> Result<(), Unsupported> {
        self.put(value.to_le_bytes())
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Result<(), Unsupported> {
        self.put(value.to_le_bytes())
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<(), Unsupported> {
        self.put([value])
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Result<(), Unsupported> {
        self.put(value.to_le_bytes())
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Result<(), Unsupported> {
        self.put(value.to_le_bytes())
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result<(), Unsupported> {
        self.put(value.to_le_bytes())
    }

    fn serialize_f32(self, _: f32) -> Result<(), Unsupported> {
        unsupported("a floating-point number")
    }

    fn serialize_f64(self, _: f64) -> Result<(), Unsupported> {
        unsupported("a floating-point number")
    }

    fn serialize_char(self, _: char) -> Result<(), Unsupported> {
        unsupported("a character")
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Unsupported> {
        self.serialize_bytes(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), Unsupported> {
        put_text(self.bytes, value);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Unsupported> {
        self.put([1])
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unsupported> {
        self.bytes.push(0);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unsupported> {
        unsupported("a unit")
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Unsupported> {
        unsupported(name)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Unsupported> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Unsupported> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Unsupported> {
        unsupported(name)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Unsupported> {
        unsupported("a sequence")
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unsupported> {
        unsupported("a tuple")
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Unsupported> {
        unsupported(name)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unsupported> {
        unsupported(name)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unsupported> {
        unsupported("a map")
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Row<'b>, Unsupported> {
        Ok(Row { bytes: self.bytes, names: self.names })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unsupported> {
        unsupported(name)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

struct Row<'b> {
    bytes: &'b mut Vec<u8>,
    names: Option<&'b mut Vec<&'static str>>,
}

impl SerializeStruct for Row<'_> {
    type Ok = ();
    type Error = Unsupported;

    // A row has thirty fields: as calls they cost more than what they write.
    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Unsupported> {
        if let Some(names) = &mut self.names {
            names.push(name);
        }
        value.serialize(Writer { bytes: self.bytes, names: None })
    }

    fn end(self) -> Result<(), Unsupported> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize)]
    struct Sample<'a> {
        text: &'a str,
        flag: bool,
        small: u8,
        number: u32,
        at: i64,
        some: Option<u64>,
        none: Option<u64>,
    }

    #[test]
    fn rows_are_encoded_as_clickhouse_documents_the_format() {
        let mut block = Block::default();
        block.push(&Sample { text: "né", flag: true, small: 7, number: 258, at: -2, some: Some(1), none: None }).unwrap();
        assert_eq!(block.columns(), ["text", "flag", "small", "number", "at", "some", "none"]);
        let one = [&[3][..], "né".as_bytes(), &[1, 7, 2, 1, 0, 0], &(-2_i64).to_le_bytes(), &[0, 1, 0, 0, 0, 0, 0, 0, 0, 1]].concat();
        assert_eq!(block.bytes(), one);
        let long = "x".repeat(300);
        block.push(&Sample { text: &long, flag: false, small: 0, number: 0, at: 0, some: None, none: None }).unwrap();
        assert_eq!(block.bytes()[one.len()..one.len() + 3], [0xAC, 0x02, b'x'], "lengths from 128 on take more bytes");
        assert_eq!((block.rows(), block.columns().len()), (2, 7));
    }

    #[test]
    fn a_row_that_cannot_be_encoded_leaves_no_trace() {
        #[derive(serde::Serialize)]
        struct Odd {
            first: u8,
            list: Vec<u8>,
        }
        let mut block = Block::default();
        assert_eq!(block.push(&Odd { first: 1, list: vec![] }), Err(Unsupported("a sequence".into())));
        assert!(block.bytes().is_empty() && block.rows() == 0);
    }
}
