//! The master key on paper: seven numbered lines, each with letters that give a slip of the pen away, and a seal over all.

use super::letters;
use crate::Repository;
use crate::crypto::Key;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// Bytes of a line: sixteen letters.
const LINE: usize = 10;
/// The key, and 48 bits of its hash.
const SEALED: usize = KEY + SEAL;
const KEY: usize = 64;
const SEAL: usize = 6;
const LINES: usize = SEALED / LINE;
/// Letters of a line, and those behind them that belong to it alone: 20 bits, so that one slip in a million goes unseen, and none the seal too.
const LETTERS: usize = 16;
const CHECK: usize = 4;

/// The key that opens everything in one repository without a password. Wiped from memory when dropped, never shown.
pub struct MasterKey {
    key: Key,
    repository: Option<String>,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// Says why a text is no master key, and on which of its lines to look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPaper {
    /// No line of a key is there.
    #[error("there is no master key in it")]
    Nothing,
    /// Lines are missing.
    #[error("line {0} of the key is missing")]
    Missing(usize),
    /// A line stands there twice.
    #[error("line {0} of the key is there twice")]
    Twice(usize),
    /// A line is too short, too long, or holds a character that no key has.
    #[error("line {0} of the key has not the 20 letters and digits that it must have")]
    Length(usize),
    /// A slip of the pen.
    #[error("line {0} of the key has a slip in it")]
    Slip(usize),
    /// Every line is right and they don't belong together.
    #[error("the lines of the key do not belong together")]
    Seal,
}

impl MasterKey {
    /// Returns the master key of a repository.
    #[must_use]
    pub fn of(vault: &Repository) -> Self {
        Self { key: Key::from_bytes(&vault.key().to_bytes()), repository: Some(vault.id().to_owned()) }
    }

    /// Returns the repository that the paper says it is for.
    #[must_use]
    pub fn repository(&self) -> Option<&str> {
        self.repository.as_deref()
    }

    /// Returns the lines that [`from_paper`](Self::from_paper) reads. They are the secret.
    #[must_use]
    pub fn to_paper(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0u8; SEALED]);
        let (key, seal) = bytes.split_at_mut(KEY);
        key.copy_from_slice(self.key.to_bytes().as_slice());
        seal.copy_from_slice(&seal_of(key));
        // Room from the start: a text that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(1024));
        if let Some(repository) = &self.repository {
            let _ = writeln!(text, "repository: {repository}\n");
        }
        for (at, line) in bytes.chunks(LINE).enumerate() {
            let mut letters = Zeroizing::new(String::with_capacity(LETTERS + CHECK));
            letters::write(line, &mut letters);
            letters.push_str(&check_of(at + 1, line));
            let _ = write!(text, "  key {} ", at + 1);
            for (place, letter) in letters.chars().enumerate() {
                match place {
                    LETTERS => text.push_str("  "),
                    _ if place % 4 == 0 => text.push(' '),
                    _ => {}
                }
                text.push(letter);
            }
            text.push('\n');
        }
        text
    }

    /// Reads what [`to_paper`](Self::to_paper) wrote, whatever stands around it, typed in small letters or capitals.
    pub fn from_paper(text: &str) -> Result<Self, BadPaper> {
        let mut lines: [Option<Zeroizing<Vec<u8>>>; LINES] = Default::default();
        let mut repository = None;
        for line in text.lines() {
            let line = Zeroizing::new(line.trim().to_lowercase());
            if let Some(id) = line.strip_prefix("repository:") {
                repository = Some(id.trim().to_owned());
            }
            let Some((number, rest)) = numbered(&line) else { continue };
            let Some(place) = number.checked_sub(1).and_then(|at| lines.get_mut(at)) else { continue };
            if place.is_some() {
                return Err(BadPaper::Twice(number));
            }
            *place = Some(read_line(number, rest)?);
        }
        if lines.iter().all(Option::is_none) {
            return Err(BadPaper::Nothing);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(SEALED));
        for (at, line) in lines.iter().enumerate() {
            bytes.extend_from_slice(line.as_ref().ok_or(BadPaper::Missing(at + 1))?);
        }
        let (key, seal) = bytes.split_first_chunk::<KEY>().ok_or(BadPaper::Seal)?;
        if seal != seal_of(key) {
            return Err(BadPaper::Seal);
        }
        Ok(Self { key: Key::from_bytes(key), repository })
    }

    pub(crate) fn key(&self) -> Key {
        Key::from_bytes(&self.key.to_bytes())
    }
}

/// Returns the number of a key's line and what stands behind it.
fn numbered(line: &str) -> Option<(usize, &str)> {
    let rest = line.strip_prefix("key")?.trim_start();
    let digits = rest.find(|sign: char| !sign.is_ascii_digit())?;
    let (number, rest) = rest.split_at_checked(digits)?;
    Some((number.parse().ok()?, rest.trim_start_matches([':', '.'])))
}

fn read_line(number: usize, text: &str) -> Result<Zeroizing<Vec<u8>>, BadPaper> {
    let signs = text.chars().filter(|sign| !sign.is_whitespace() && *sign != '-');
    let mut values = Zeroizing::new(Vec::with_capacity(text.len()));
    for sign in signs {
        values.push(letters::value(sign).ok_or(BadPaper::Length(number))?);
    }
    if values.len() != LETTERS + CHECK {
        return Err(BadPaper::Length(number));
    }
    let (line, check) = values.split_at(LETTERS);
    let bytes = letters::read(line);
    let expected = check_of(number, &bytes);
    let fits = expected.chars().map(letters::value).eq(check.iter().map(|value| Some(*value)));
    if fits { Ok(bytes) } else { Err(BadPaper::Slip(number)) }
}

/// Returns the letters that stand behind a line: they hold its number too, so that lines don't change places.
fn check_of(number: usize, line: &[u8]) -> String {
    let number = u8::try_from(number).unwrap_or_default();
    let hash =
        Sha256::new().chain_update(b"releve master key, line ").chain_update([number]).chain_update(line);
    let mut letters = String::new();
    letters::write(&hash.finalize(), &mut letters);
    letters.truncate(CHECK);
    letters
}

/// 48 bits of a hash give nothing away of 512 random ones.
fn seal_of(key: &[u8]) -> [u8; SEAL] {
    let hash = Sha256::new().chain_update(b"releve master key").chain_update(key).finalize();
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn master() -> MasterKey {
        MasterKey { key: Key::random().unwrap(), repository: Some("ab".repeat(32)) }
    }

    #[test]
    fn a_key_comes_back_from_paper_however_it_was_typed() {
        let master = master();
        let paper = master.to_paper();
        let typed = format!("The key is kept in the safe.\n\n{}\nkey: 3 people know", paper.to_uppercase());
        for text in [paper.as_str(), &typed, &paper.replace('0', "O").replace("key 1 ", "Key 1: ")] {
            let read = MasterKey::from_paper(text).unwrap();
            assert!(read.key.is(&master.key));
        }
        assert_eq!(MasterKey::from_paper(&paper).unwrap().repository(), master.repository());
        assert!(paper.lines().all(|line| line.len() < 80), "it fits on paper");
    }

    proptest! {
        #[test]
        fn one_slip_is_found_on_its_line(line in 1..8usize, place in 0..20usize, other in 1..32u8) {
            let paper = master().to_paper();
            let mut lines: Vec<String> = paper.lines().map(str::to_owned).collect();
            let row = lines.iter_mut().find(|row| row.starts_with(&format!("  key {line} "))).unwrap();
            let at = row.char_indices().filter(|(at, c)| *at > 7 && *c != ' ').nth(place).unwrap().0;
            let value = letters::value(row[at..].chars().next().unwrap()).unwrap();
            let wrong = char::from(letters::ALPHABET[usize::from((value + other) % 32)]);
            row.replace_range(at..=at, &wrong.to_string());
            prop_assert_eq!(MasterKey::from_paper(&lines.join("\n")).unwrap_err(), BadPaper::Slip(line));
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_to_be_refused(text in r"(\PC{0,20}|key ?[0-9é]{0,25}[ :.-]?[0-9a-zA-Z -]{0,30}|repository:|\n){0,20}") {
            prop_assert!(MasterKey::from_paper(&text).is_err());
        }
    }

    #[test]
    fn what_is_missing_too_much_or_mixed_up_is_named() {
        let (paper, other) = (master().to_paper(), master().to_paper());
        let row = |paper: &str, line: usize| paper.lines().nth(line + 1).unwrap().to_owned();
        let error = |text: &str| MasterKey::from_paper(text).unwrap_err();
        assert_eq!(error("nothing at all"), BadPaper::Nothing);
        assert_eq!(error(&paper.replace(&row(&paper, 4), "")), BadPaper::Missing(4));
        assert_eq!(error(&format!("{}{}", *paper, row(&paper, 2))), BadPaper::Twice(2));
        let short = row(&paper, 6);
        assert_eq!(error(&paper.replace(&short, &short[..short.len() - 1])), BadPaper::Length(6));
        assert_eq!(error(&paper.replace(&row(&paper, 1), &row(&other, 1))), BadPaper::Seal);
        let swapped = paper.replace("key 2", "key 9").replace("key 3", "key 2").replace("key 9", "key 3");
        assert!(matches!(error(&swapped), BadPaper::Slip(2 | 3)));
    }

    #[test]
    fn nothing_shows_it() {
        let master = master();
        assert_eq!(format!("{master:?}"), "MasterKey(…)");
    }
}
