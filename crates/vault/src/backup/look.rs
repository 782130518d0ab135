//! What content looks like: noise, as encrypted content does, or something with structure. A few bytes of every few thousand are
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

/// What was seen of a content.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    pub(super) head: Option<Head>,
    /// Samples that were looked at, and those of them that are noise.
    pub(super) samples: u32,
    pub(super) noisy: u32,
}

/// What its first bytes are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) is_noise: bool,
    /// Far from noise: what is compressed stands between the two.
    pub(super) is_structured: bool,
    pub(super) is_text: bool,
    pub(super) kind: Option<Kind>,
}

impl Look {
    /// Looks at a piece; `first`: it is the beginning of the content.
    pub(super) fn at(bytes: &[u8], first: bool) -> Self {
        let head = first.then(|| {
            let begin = bytes.get(..HEAD).unwrap_or(bytes);
            Head {
                is_noise: is_noise(begin),
                is_structured: is_structured(begin),
                is_text: kinds::is_text(begin),
                kind: kinds::kind(begin),
            }
        });
        let step = if bytes.len() <= SHORT { SHORT_STEP } else { STEP };
        let mut look = Self { head, samples: 0, noisy: 0 };
        for part in bytes.chunks(step) {
            let sample = part.get(..SAMPLE).unwrap_or(part);
            if sample.len() >= LEAST {
                look.samples += 1;
                look.noisy += u32::from(is_noise(sample));
            }
        }
        look
    }

    /// Adds what was seen of another piece.
    pub(super) fn add(&mut self, other: &Self) {
        self.head = self.head.or(other.head);
        self.samples = self.samples.saturating_add(other.samples);
        self.noisy = self.noisy.saturating_add(other.noisy);
    }

    /// Returns the share of what was looked at that is noise.
    pub(super) fn noise(&self) -> f64 {
        if self.samples == 0 { 0.0 } else { f64::from(self.noisy) / f64::from(self.samples) }
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

    #[test]
    fn a_picture_is_told_by_its_beginning_and_noise_has_none() {
        let mut picture = b"\xff\xd8\xff\xe0\0\x10JFIF\0".to_vec();
        picture.extend(noise(9000, 4));
        assert_eq!(Look::at(&picture, true).kind().unwrap().name, "jpeg");
        let named = (0..2000).filter(|seed| Look::at(&noise(5000, *seed), true).kind().is_some());
        assert_eq!(named.count(), 0);
    }
}
