//! Finds the one bit that has turned in a small file: what the right content is shows in its hash, or in its seal.

/// Longer files are not tried: the time grows with the square of the length, and this takes a second.
const LENGTH_MAX: usize = 8 << 10;

/// Returns the content that `is_right` accepts and that differs in one bit.
pub(crate) fn one_bit(bytes: &[u8], is_right: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    if bytes.len() > LENGTH_MAX {
        return None;
    }
    let mut tried = bytes.to_vec();
    for at in 0..tried.len() {
        for bit in 0..8 {
            let turn = |bytes: &mut Vec<u8>| {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            };
            turn(&mut tried);
            if is_right(&tried) {
                return Some(tried);
            }
            turn(&mut tried);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileId;

    #[test]
    fn the_bit_that_has_turned_is_found_and_two_are_not() {
        let right = b"what was written".to_vec();
        let is_right = |bytes: &[u8]| FileId::of(bytes) == FileId::of(b"what was written");
        let mut bad = right.clone();
        bad[15] ^= 0x40;
        assert_eq!(one_bit(&bad, is_right), Some(right));
        bad[0] ^= 1;
        assert_eq!(one_bit(&bad, is_right), None);
    }
}
