//! The letters that secrets are written in for paper: five bits each, none that looks like another (Crockford's base 32).

use zeroize::Zeroizing;

/// Without i, l, o and u.
pub(crate) const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Returns what a letter stands for, small or capital, and also as a hurried reader takes it: O for 0, I and L for 1.
pub(crate) fn value(letter: char) -> Option<u8> {
    let letter = match letter.to_ascii_lowercase() {
        'o' => '0',
        'i' | 'l' => '1',
        other => other,
    };
    let at = ALPHABET.iter().position(|known| char::from(*known) == letter)?;
    u8::try_from(at).ok()
}

/// Appends the letters of `bytes`; the last one is filled up with zeros.
pub(super) fn write(bytes: &[u8], out: &mut String) {
    let (mut held, mut bits) = (0u32, 0);
    let mut put = |five: u32| out.push(ALPHABET.get((five & 31) as usize).copied().map_or('0', char::from));
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            put(held >> bits);
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        put(held << (5 - bits));
    }
}

/// Returns the whole bytes that these values hold.
pub(super) fn read(values: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(values.len()));
    let (mut held, mut bits) = (0u32, 0);
    for five in values {
        held = held << 5 | u32::from(*five);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).unwrap_or_default());
            held &= (1 << bits) - 1;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..90)) {
            let mut text = String::new();
            write(&bytes, &mut text);
            let values: Vec<u8> = text.to_uppercase().chars().map(|letter| value(letter).unwrap()).collect();
            prop_assert_eq!(&read(&values)[..], &bytes[..]);
        }
    }

    #[test]
    fn letters_that_look_alike_are_one() {
        for (written, read) in [('0', "0oO"), ('1', "1iIlL")] {
            assert!(read.chars().all(|letter| value(letter) == value(written)));
        }
        assert_eq!(value('u'), None);
        assert_eq!(value('é'), None);
    }
}
