use super::frames::take;

/// Counts the fields of a head without decoding them (RFC 7541 section 6). One byte can stand for a field that came before, so the length of a
/// head does not say how much it becomes.
#[derive(Debug, Default)]
pub(super) struct Fields {
    place: Place,
    /// How many strings of the field are still to come.
    strings: u8,
    pub(super) count: usize,
}

/// What comes next.
#[derive(Debug, Clone, Copy, Default)]
enum Place {
    #[default]
    Field,
    /// More of an index.
    Index,
    /// The length of a string.
    Length,
    /// More of it.
    LongLength { length: usize, shift: u32 },
    /// So many bytes of the string.
    Text(usize),
}

impl Fields {
    /// The next bytes of the head.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        loop {
            if let Place::Text(left) = self.place {
                let taken = take(&mut bytes, left).len();
                self.place = self.text(left - taken);
            }
            let Some((&byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            let goes_on = byte >= 0x80;
            self.place = match self.place {
                Place::Field => self.begin(byte),
                Place::Index if goes_on => Place::Index,
                Place::Index | Place::Text(_) => self.next(),
                Place::Length => {
                    self.strings -= 1;
                    match usize::from(byte & 0x7f) {
                        0x7f => Place::LongLength { length: 0x7f, shift: 0 },
                        length => self.text(length),
                    }
                }
                Place::LongLength { length, shift } => {
                    // No head is as long as what does not fit.
                    let more = usize::from(byte & 0x7f).checked_shl(shift).unwrap_or(usize::MAX);
                    let length = length.saturating_add(more);
                    if goes_on { Place::LongLength { length, shift: shift.saturating_add(7) } } else { self.text(length) }
                }
            };
        }
    }

    /// The first byte of a field: its form, and the beginning of an index.
    fn begin(&mut self, byte: u8) -> Place {
        self.count += 1;
        let (index, is_literal) = match byte {
            0x80.. => (0x7f, false),
            0x40.. => (0x3f, true),
            // No field, but the size of the table: it does not matter that it counts.
            0x20.. => (0x1f, false),
            _ => (0x0f, true),
        };
        // Index 0: the name is spelled out, too.
        self.strings = u8::from(is_literal) + u8::from(is_literal && byte & index == 0);
        if byte & index == index { Place::Index } else { self.next() }
    }

    fn next(&self) -> Place {
        if self.strings == 0 { Place::Field } else { Place::Length }
    }

    fn text(&self, left: usize) -> Place {
        if left == 0 { self.next() } else { Place::Text(left) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields of every form, each with its bytes.
    fn fields() -> Vec<Vec<u8>> {
        let long = |prefix: &[u8], text: usize| {
            [prefix, &[0x7f, (text - 0x7f) as u8 | 0x80, ((text - 0x7f) >> 7) as u8], &vec![0xff; text]].concat()
        };
        vec![
            vec![0x82],                                            // GET
            vec![0xff, 0x80, 0x01],                                // an index of three bytes
            vec![0x3f, 0xe1, 0x1f],                                // the size of the table
            vec![0x40, 1, b'x', 1, b'y'],                          // kept, with its name
            vec![0x00, 0, 0],                                      // empty name, empty text
            vec![0x10, 2, b'a', b'b', 0],                          // never kept
            vec![0x44, 0x83, 0xff, 0xff, 0xff],                    // Huffman, its name by index
            vec![0x7f, 0x05, 1, 0x82],                             // a longer index; a text that looks like a field
            vec![0x0f, 0x2f, 2, 0x82, 0x82],                       // the same, not kept
            long(&[0x44], 300),                                    // a length of more than one byte
            [long(&[0x40], 3_000), long(&[], 127 + 128)].concat(), // and of both strings
            vec![0xbe],
        ]
    }

    #[test]
    fn every_field_counts_once_whatever_its_form_and_however_it_is_split() {
        let all = fields().concat();
        for piece in (1..40).chain([all.len()]) {
            let mut counted = Fields::default();
            all.chunks(piece).for_each(|bytes| counted.read(bytes));
            assert_eq!(counted.count, fields().len(), "in pieces of {piece}");
        }
        let mut one_by_one = Fields::default();
        for (before, field) in fields().iter().enumerate() {
            one_by_one.read(field);
            assert_eq!(one_by_one.count, before + 1, "{field:?}");
            assert!(matches!(one_by_one.place, Place::Field), "{field:?}");
        }
    }

    #[test]
    fn a_length_without_end_is_no_reason_to_stop() {
        let mut fields = Fields::default();
        fields.read(&[&[0x40, 0x7f][..], &[0xff; 9_000]].concat());
        fields.read(&[0x01, 0x82, 0x82]);
        assert_eq!(fields.count, 1);
    }
}
