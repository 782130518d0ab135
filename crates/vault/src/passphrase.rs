//! Passwords that people choose, keep on paper and type: what a new one must be, and how one is made that can't be guessed.
//!
//! A generated one has 29 random letters (145 bits) and one that gives a slip of the pen away, in six groups. The hyphens belong to it, so
//! that restic opens with the same text.

use crate::Password;
use crate::keys::{ALPHABET, value};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// The least that a password may have: what NIST asks of one that stands alone (SP 800-63B-4, 3.1.1.2).
pub const CHARACTERS_MIN: usize = 15;
/// Fewer different characters, or steps from one to the next, are a pattern.
const DIFFERENT_MIN: usize = 6;

const GROUPS: usize = 6;
const GROUP: usize = 5;
const RANDOM: usize = GROUPS * GROUP - 1;

/// Bits of a generated passphrase that nobody knows.
pub const BITS: usize = RANDOM * 5;

/// Why a new password is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    /// Too short.
    #[error("it has fewer than {CHARACTERS_MIN} characters")]
    Short,
    /// A repetition or a sequence.
    #[error("it follows a pattern that is tried first")]
    Pattern,
    /// Not to be typed.
    #[error(
        "it is not a text that can be typed: it must be UTF-8 without line breaks, control characters, or blanks at its ends"
    )]
    NotText,
    /// It looks like a generated one, with a slip in it.
    #[error("it looks like one that was generated, and is not written as it was printed")]
    Slip,
}

/// Returns a new random passphrase.
pub fn generate() -> std::io::Result<Zeroizing<String>> {
    loop {
        let mut random = Zeroizing::new([0u8; RANDOM]);
        crate::crypto::random(random.as_mut_slice())?;
        let mut values = Zeroizing::new(Vec::with_capacity(RANDOM + 1));
        values.extend(random.iter().map(|byte| byte & 31));
        let check = double(sum(&values));
        values.push(check);
        let text = grouped(&values);
        // One in 6,000 has no digit to be recognized by.
        if has_digit(&text) {
            return Ok(text);
        }
    }
}

/// Returns why this should not become a password.
pub fn accept(password: &Password) -> Result<(), Weak> {
    let text = std::str::from_utf8(password.bytes()).map_err(|_| Weak::NotText)?;
    // restic cuts blanks off at both ends.
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err(Weak::NotText);
    }
    if let Some(values) = generated(text)
        && (sum(&values) != 0 || grouped(&values).as_str() != text)
    {
        return Err(Weak::Slip);
    }
    let signs: Zeroizing<Vec<u32>> = Zeroizing::new(text.chars().map(u32::from).collect());
    if signs.len() < CHARACTERS_MIN {
        return Err(Weak::Short);
    }
    let steps = signs.windows(2).map(|pair| match pair {
        [a, b] => b.wrapping_sub(*a),
        _ => 0,
    });
    let different =
        signs.iter().copied().collect::<BTreeSet<_>>().len().min(steps.collect::<BTreeSet<_>>().len());
    if different < DIFFERENT_MIN || period(&signs) < CHARACTERS_MIN {
        return Err(Weak::Pattern);
    }
    Ok(())
}

/// Returns the ways to read what was typed: as it is; and if it looks like a generated one, as that was printed.
#[must_use]
pub fn readings(typed: &Password) -> Vec<Password> {
    let mut readings = vec![typed.clone()];
    let values = std::str::from_utf8(typed.bytes()).ok().and_then(generated);
    if let Some(values) = values.filter(|values| sum(values) == 0) {
        let printed = Password::new(grouped(&values).as_bytes().to_vec());
        if !printed.is(typed) {
            readings.push(printed);
        }
    }
    readings
}

/// Returns whether it is a generated one, as it was printed.
pub(crate) fn is_generated(password: &Password) -> bool {
    let text = std::str::from_utf8(password.bytes()).unwrap_or_default();
    generated(text).is_some_and(|values| sum(&values) == 0 && grouped(&values).as_str() == text)
}

/// Returns whether it looks like a generated one with a slip in it.
#[must_use]
pub fn is_slip(typed: &Password) -> bool {
    let values = std::str::from_utf8(typed.bytes()).ok().and_then(generated);
    values.is_some_and(|values| sum(&values) != 0)
}

/// A digit that no letter is read as tells a generated passphrase from six words.
fn has_digit(text: &str) -> bool {
    text.contains(|sign| matches!(sign, '2'..='9'))
}

/// Returns the values of the letters if the text has the form of a generated passphrase: six groups of five, with a digit.
fn generated(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if !has_digit(text) {
        return None;
    }
    let groups = text.trim().split(['-', ' ']).filter(|group| !group.is_empty());
    let mut values = Zeroizing::new(Vec::with_capacity(RANDOM + 1));
    let mut count = 0;
    for group in groups {
        count += 1;
        let before = values.len();
        if count > GROUPS {
            return None;
        }
        for letter in group.chars().take(GROUP + 1) {
            values.push(value(letter)?);
        }
        if values.len() != before + GROUP {
            return None;
        }
    }
    (count == GROUPS).then_some(values)
}

fn grouped(values: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(values.len() + GROUPS));
    for (at, value) in values.iter().enumerate() {
        if at > 0 && at % GROUP == 0 {
            text.push('-');
        }
        text.push(ALPHABET.get(usize::from(*value)).copied().map_or('0', char::from));
    }
    text
}

/// A polynomial over the field of 32 elements, at its primitive element: 0 for a passphrase whose last letter fits. A wrong letter changes
/// it, and so do two that have changed places, however far apart: the element's powers repeat after 31.
fn sum(values: &[u8]) -> u8 {
    values.iter().fold(0, |sum, value| double(sum) ^ value)
}

fn double(value: u8) -> u8 {
    let doubled = value << 1;
    // x⁵ + x² + 1
    if doubled & 32 == 0 { doubled } else { doubled ^ 0b10_0101 }
}

/// Returns the length of the piece that the whole repeats; its own length if it repeats none.
fn period(signs: &[u32]) -> usize {
    let repeats = |piece: &usize| signs.iter().skip(*piece).eq(signs.iter().take(signs.len() - piece));
    (1..signs.len()).find(repeats).unwrap_or(signs.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn password(text: &str) -> Password {
        Password::new(text.as_bytes().to_vec())
    }

    #[test]
    fn a_generated_passphrase_is_accepted_and_never_the_same() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_ne!(*one, *other);
        for text in [one, other] {
            assert_eq!(text.len(), 35);
            assert_eq!(accept(&password(&text)), Ok(()));
            assert_eq!(readings(&password(&text)).len(), 1);
        }
    }

    proptest! {
        #[test]
        fn a_wrong_letter_is_noticed(at in 0..30usize, other in 1..32u8) {
            let text = generate().unwrap();
            let mut values = generated(&text).unwrap();
            values[at] = (values[at] + other) % 32;
            prop_assume!(has_digit(&grouped(&values)));
            let slip = password(&grouped(&values));
            prop_assert!(is_slip(&slip));
            prop_assert_eq!(accept(&slip), Err(Weak::Slip));
        }

        #[test]
        fn two_letters_that_changed_places_are_noticed(a in 0..30usize, b in 0..30usize) {
            let text = generate().unwrap();
            let mut values = generated(&text).unwrap();
            let same = values[a] == values[b];
            values.swap(a, b);
            prop_assert_eq!(is_slip(&password(&grouped(&values))), !same);
        }
    }

    #[test]
    fn what_was_typed_from_paper_is_read_as_it_was_printed() {
        let text = generate().unwrap();
        for typed in
            [text.to_uppercase(), text.replace('-', " "), text.replace('0', "O"), format!(" {}  ", *text)]
        {
            assert!(
                readings(&password(&typed)).iter().any(|reading| reading.is(&password(&text))),
                "{typed}"
            );
            // What is to be a password must be what restic is given as well.
            assert!(typed == *text || accept(&password(&typed)).is_err());
        }
    }

    #[test]
    fn what_is_tried_first_is_refused() {
        for (text, why) in [
            ("", Weak::Short),
            ("correct horse", Weak::Short),
            ("éééé", Weak::Short),
            ("aaaaaaaaaaaaaaaaaaaaaaa", Weak::Pattern),
            ("passwordpassword", Weak::Pattern),
            ("1234567890123456789012345", Weak::Pattern),
            ("abcdefghijklmnopqrstuvwxyz", Weak::Pattern),
            (" correct horse battery staple", Weak::NotText),
            ("correct horse\nbattery staple", Weak::NotText),
        ] {
            assert_eq!(accept(&password(text)), Err(why), "{text}");
        }
        assert_eq!(accept(&Password::new(vec![0xff; 40])), Err(Weak::NotText));
        for good in [
            "correct horse battery staple",
            "les sanglots longs",
            "apple bread chair dress eagle flame",
            "k8$Fq0-vXm2!zPw",
            "nvRG6dMhcyvn5iEmzCrqTgVLaFa0yl2gYhDEa3pT4CE",
        ] {
            assert_eq!(accept(&password(good)), Ok(()), "{good}");
        }
    }
}
