//! What content looks like: noise, as encrypted content does, noise that is written as text, or something with structure. A few bytes of every few thousand are
//! looked at, so that it costs next to nothing beside the hash.

use super::kinds::{self, Kind};

/// Looked at as a whole: many programs that extort money encrypt this much of a file and let the rest be.
const HEAD: usize = 4096;
/// So much of every [`STEP`] is looked at, of a short content of every [`SHORT_STEP`].
const SAMPLE: usize = 1024;
const STEP: usize = 8192;
const SHORT: usize = 64 << 10;
const SHORT_STEP: usize = 2048;
/// Fewer bytes than this say nothing.
pub(super) const LEAST: usize = 64;
/// Noise is written as text in so few or so many symbols (16 in hexadecimal, 64 in base64, 85 in ascii85), and of each so many say something.
const SYMBOLS: std::ops::RangeInclusive<usize> = 15..=94;
const OF_EACH: usize = 8;
/// A program may write a line of its own before it, which is no longer than this.
const PREFACE: usize = 256;
/// From this share on all of it is.
pub(super) const ALL: f64 = 0.9;

/// What was seen of a content.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    pub(super) head: Option<Head>,
    /// Samples that were looked at, and those of them that are noise.
    pub(super) samples: u32,
    pub(super) noisy: u32,
    /// Those that are noise written as text.
    pub(super) lettered: u32,
    /// Those that are nothing but zeros.
    pub(super) blank: u32,
}

/// What its first bytes are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) is_noise: bool,
    /// Far from noise: what is compressed stands between the two.
    pub(super) is_structured: bool,
    pub(super) is_text: bool,
    /// Noise, but written as text.
    pub(super) is_lettered: bool,
    pub(super) kind: Option<Kind>,
    /// It is an archive that may need a password.
    pub(super) is_locked: bool,
}

impl Look {
    /// Looks at a piece; `first`: it is the beginning of the content.
    pub(super) fn at(bytes: &[u8], first: bool) -> Self {
        let head = first.then(|| {
            let begin = bytes.get(..HEAD).unwrap_or(bytes);
            let kind = kinds::kind(begin);
            Head {
                is_noise: is_noise(begin),
                is_structured: is_structured(begin),
                is_text: kinds::is_text(begin),
                is_lettered: is_lettered(behind_preface(begin)),
                kind,
                is_locked: kind.is_some_and(|kind| kind.name == "zip") && kinds::is_locked_zip(begin),
            }
        });
        let step = if bytes.len() <= SHORT { SHORT_STEP } else { STEP };
        let mut look = Self { head, ..Self::default() };
        for (at, part) in bytes.chunks(step).enumerate() {
            let sample = part.get(..SAMPLE).unwrap_or(part);
            if sample.len() >= LEAST {
                look.samples += 1;
                look.noisy += u32::from(is_noise(sample));
                look.blank += u32::from(sample.iter().all(|byte| *byte == 0));
                let letters = if first && at == 0 { behind_preface(sample) } else { sample };
                look.lettered += u32::from(is_lettered(letters));
            }
        }
        look
    }

    /// Adds what was seen of another piece.
    pub(super) fn add(&mut self, other: &Self) {
        self.head = self.head.or(other.head);
        self.samples = self.samples.saturating_add(other.samples);
        self.noisy = self.noisy.saturating_add(other.noisy);
        self.lettered = self.lettered.saturating_add(other.lettered);
        self.blank = self.blank.saturating_add(other.blank);
    }

    /// Returns the share of what was looked at that is noise.
    pub(super) fn noise(&self) -> f64 {
        if self.samples == 0 { 0.0 } else { f64::from(self.noisy) / f64::from(self.samples) }
    }

    /// Returns whether all of it is noise written as text. A part of it may be so in any mail with a picture.
    pub(super) fn is_lettered(&self) -> bool {
        self.head.is_some_and(|head| head.is_lettered)
            && f64::from(self.lettered) >= f64::from(self.samples) * ALL
    }

    /// Returns whether it is room that was made for something, and nothing more.
    pub(super) const fn is_blank(&self) -> bool {
        self.samples > 0 && self.blank == self.samples
    }

    /// Returns the kind that it begins as.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.head.and_then(|head| head.kind)
    }
}

/// Returns whether bytes can't be told from random ones: each value comes about as often as the others, neither less evenly (text,
/// programs) nor more (tables). The measure, Pearson's, is the same for any length: 255 on average, give or take 23.
fn is_noise(bytes: &[u8]) -> bool {
    bytes.len() >= LEAST && (130.0..380.0).contains(&unevenness(bytes))
}

/// Returns whether bytes are far from random ones.
fn is_structured(bytes: &[u8]) -> bool {
    bytes.len() >= LEAST && !(100.0..800.0).contains(&unevenness(bytes))
}

/// Returns whether bytes are noise in an alphabet: nothing but lines of symbols, of which each comes about as often as the others. The
/// measure is the same, with as many values as there are symbols. Text ends it with its first space.
fn is_lettered(bytes: &[u8]) -> bool {
    let mut counts = [0u32; 256];
    let (mut length, mut breaks) = (0usize, 0usize);
    for byte in bytes {
        match byte {
            b'\n' | b'\r' => breaks += 1,
            0x21..=0x7e => {
                length += 1;
                if let Some(count) = counts.get_mut(usize::from(*byte)) {
                    *count += 1;
                }
            }
            _ => return false,
        }
    }
    let symbols = counts.iter().filter(|count| **count > 0).count();
    if !SYMBOLS.contains(&symbols) || length < symbols * OF_EACH || breaks * 8 > length {
        return false;
    }
    let squares: u64 = counts.iter().map(|count| u64::from(*count).pow(2)).sum();
    let uneven = squares as f64 * symbols as f64 / length as f64 - length as f64;
    // As many as there are symbols on average, and this is how far chance takes it.
    let usual = (symbols - 1) as f64;
    (uneven - usual).abs() <= 5.0 * (2.0 * usual).sqrt()
}

/// Returns what stands behind the lines that a program may write first.
fn behind_preface(bytes: &[u8]) -> &[u8] {
    let begin = bytes.get(..PREFACE.min(bytes.len() / 4)).unwrap_or_default();
    let line = begin.iter().rposition(|byte| *byte == b'\n');
    line.and_then(|at| bytes.get(at + 1..)).unwrap_or(bytes)
}

fn unevenness(bytes: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let squares: u64 = counts.iter().map(|count| u64::from(*count).pow(2)).sum();
    let length = bytes.len() as f64;
    squares as f64 * 256.0 / length - length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        testkit::Random::new(seed).bytes(length)
    }

    #[test]
    fn noise_of_any_length_is_told_from_text_tables_and_base64() {
        for length in [64, 100, 500, 1024, 4096, 100_000] {
            let told = (0..200).filter(|seed| is_noise(&noise(length, *seed))).count();
            assert!(told >= 198, "{told} of 200 with {length} bytes");
        }
        let text = "a plan that nobody has tried is a wish; ".repeat(40);
        for length in [64, 100, 500, 1024] {
            assert!(!is_noise(&text.as_bytes()[..length]), "{length} bytes of text");
        }
        let table: Vec<u8> = (0..4096u32).map(|n| n as u8).collect();
        assert!(!is_noise(&table));
        let letters: Vec<u8> = noise(4096, 1).iter().map(|byte| b'A' + byte % 26).collect();
        assert!(!is_noise(&letters));
    }

    #[test]
    fn every_other_stretch_of_noise_is_half_of_it() {
        let mut content = "line after line of what happened\n".repeat(20_000).into_bytes();
        for (n, part) in content.chunks_mut(16 << 10).enumerate() {
            if n % 2 == 1 {
                part.copy_from_slice(&noise(part.len(), n as u64));
            }
        }
        let look = Look::at(&content, true);
        assert!((0.4..0.6).contains(&look.noise()) && look.head.unwrap().is_text, "{look:?}");
    }

    /// Noise in this alphabet, in lines of so many symbols; 0: in none.
    fn letters(length: usize, alphabet: &[u8], line: usize, seed: u64) -> Vec<u8> {
        let mut random = testkit::Random::new(seed);
        let mut text = Vec::new();
        for n in 1..=length {
            text.push(alphabet[random.below(alphabet.len())]);
            if line > 0 && n % line == 0 {
                text.push(b'\n');
            }
        }
        text
    }

    #[test]
    fn noise_that_is_written_as_text_is_told_from_text() {
        let hexadecimal = b"0123456789abcdef".as_slice();
        let base64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".as_slice();
        let ascii85: Vec<u8> = (b'!'..=b'u').collect();
        for (alphabet, line) in
            [(hexadecimal, 0), (hexadecimal, 60), (base64, 0), (base64, 76), (ascii85.as_slice(), 0)]
        {
            for length in [1000, 5000, 100_000] {
                let is_told =
                    |seed: &u64| Look::at(&letters(length, alphabet, line, *seed), true).is_lettered();
                let told = (0..100).filter(is_told).count();
                assert!(told >= 97, "{told} of 100 with {length} of {} symbols", alphabet.len());
            }
        }
        let armoured = [b"-----BEGIN SECRET-----\n\n".to_vec(), letters(900, base64, 64, 1)].concat();
        assert!(Look::at(&armoured, true).is_lettered());
        let mail = [
            b"From: a@b.example\nSubject: the picture\nMIME-Version: 1.0\n\nHere it is.\n\n".repeat(5),
            letters(90_000, base64, 76, 2),
        ];
        assert!(!Look::at(&mail.concat(), true).is_lettered(), "a mail with a picture");
        let text = "a plan that nobody has tried is a wish; ".repeat(400);
        let numbers: String = (0..9000).map(|n| format!("{};", n * 37)).collect();
        let words: String = text.replace(' ', "");
        for what in [text, numbers, words] {
            assert!(!Look::at(what.as_bytes(), true).is_lettered(), "{}", &what[..40]);
        }
        assert!(!Look::at(&noise(9000, 5), true).is_lettered());
    }

    #[test]
    fn a_picture_is_told_by_its_beginning_and_noise_has_none() {
        let mut picture = b"\xff\xd8\xff\xe0\0\x10JFIF\0".to_vec();
        picture.extend(noise(9000, 4));
        assert_eq!(Look::at(&picture, true).kind().unwrap().name, "jpeg");
        let named = (0..2000).filter(|seed| Look::at(&noise(5000, *seed), true).kind().is_some());
        assert_eq!(named.count(), 0);
    }
}
