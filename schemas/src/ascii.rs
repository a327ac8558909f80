//! Sets of bytes, looked up in a table.

/// ASCII letters and digits, and `more`.
pub(crate) const fn letters_digits_and(more: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        set[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut place = 0;
    while place < more.len() {
        set[more[place] as usize] = true;
        place += 1;
    }
    set
}
