//! Where a text's plain bytes end: quotes, backslashes and control characters, looked for a block at a time.

use wide::u8x16;

/// Special bytes are looked for so many at a time.
pub(super) const BLOCK: usize = 64;

/// One bit for each of the first 64 bytes: is it special? What is missing counts as special.
pub(super) fn specials_of_first_block(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(block) => specials(block),
        None => {
            let mut block = [0; BLOCK];
            block[..bytes.len()].copy_from_slice(bytes);
            specials(&block)
        }
    }
}

fn specials(block: &[u8; BLOCK]) -> u64 {
    block.as_chunks::<16>().0.iter().rev().fold(0, |found, bytes| {
        let bytes = u8x16::from(*bytes);
        let special = bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\')) | bytes.simd_le(u8x16::splat(0x1F));
        found << 16 | u64::from(special.to_bitmask())
    })
}
