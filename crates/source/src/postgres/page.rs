//! The checksum of a page, as PostgreSQL computes it: `src/include/storage/checksum_impl.h` describes it.
//!
//! A page that is being written while we read it may look wrong. One that was changed after the copy began is written whole into the
//! WAL, and mended from there; only an older one that is wrong is damaged.

use super::wal::Lsn;

/// Bytes of a page. Other sizes take a server that was built for them; their checksums are not looked at.
pub(super) const PAGE_BYTES: usize = 8192;
const LANES: usize = 32;
const PRIME: u32 = 16_777_619;

/// What each lane begins with.
#[rustfmt::skip]
const OFFSETS: [u32; LANES] = [
    0x5B1F_36E9, 0xB852_5960, 0x02AB_50AA, 0x1DE6_6D2A, 0x79FF_467A, 0x9BB9_F8A3, 0x217E_7CD2, 0x83E1_3D2C,
    0xF8D4_474F, 0xE39E_B970, 0x42C6_AE16, 0x9932_16FA, 0x7B09_3B5D, 0x98DA_FF3C, 0xF718_902A, 0x0B1C_9CDB,
    0xE58F_764B, 0x1876_36BC, 0x5D7B_3BB1, 0xE73D_E7DE, 0x92BE_C979, 0xCCA6_C0B2, 0x304A_0979, 0x85AA_43D4,
    0x7831_25BB, 0x6CA8_EAA2, 0xE407_EAC6, 0x4B5C_FC3E, 0x9FBF_8C76, 0x15CA_20BE, 0xF2CA_9FD3, 0x959B_D756,
];

/// Returns whether this page, block `block` of its fork, is damaged: its checksum is wrong and it was last changed before `begun`.
pub(super) fn is_damaged(page: &[u8], block: u32, begun: Lsn) -> bool {
    let Some(header) = Header::of(page) else { return false };
    // A page that was never used is all zeros and bears none.
    header.upper != 0 && header.changed < begun && header.checksum != checksum(page, block)
}

struct Header {
    changed: Lsn,
    checksum: u16,
    upper: u16,
}

impl Header {
    fn of(page: &[u8]) -> Option<Self> {
        let long = |at: usize| Some(u32::from_le_bytes(page.get(at..at + 4)?.try_into().ok()?));
        let short = |at: usize| Some(u16::from_le_bytes(page.get(at..at + 2)?.try_into().ok()?));
        let changed = Lsn(u64::from(long(0)?) << 32 | u64::from(long(4)?));
        Some(Self { changed, checksum: short(8)?, upper: short(14)? })
    }
}

fn checksum(page: &[u8], block: u32) -> u16 {
    let mix = |sum: u32, value: u32| {
        let mixed = sum ^ value;
        mixed.wrapping_mul(PRIME) ^ (mixed >> 17)
    };
    let mut sums = OFFSETS;
    for (row, words) in page.chunks_exact(LANES * 4).enumerate() {
        for (lane, (sum, word)) in sums.iter_mut().zip(words.chunks_exact(4)).enumerate() {
            let mut value = u32::from_le_bytes(word.try_into().unwrap_or_default());
            if (row, lane) == (0, 2) {
                // The checksum itself counts as zero.
                value &= 0xFFFF_0000;
            }
            *sum = mix(*sum, value);
        }
    }
    for _ in 0..2 {
        for sum in &mut sums {
            *sum = mix(*sum, 0);
        }
    }
    let all = sums.iter().fold(0, |all, sum| all ^ sum) ^ block;
    u16::try_from(all % 65_535 + 1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(changed: u32) -> Vec<u8> {
        let mut page: Vec<u8> = (0..PAGE_BYTES).map(|n| u8::try_from(n % 251).unwrap()).collect();
        page[0..4].fill(0);
        page[4..8].copy_from_slice(&changed.to_le_bytes());
        let sum = checksum(&page, 7);
        page[8..10].copy_from_slice(&sum.to_le_bytes());
        page
    }

    #[test]
    fn a_flipped_bit_or_another_place_is_seen() {
        let mut page = page(100);
        assert!(!is_damaged(&page, 7, Lsn(200)));
        assert!(is_damaged(&page, 8, Lsn(200)));
        page[5000] ^= 1;
        assert!(is_damaged(&page, 7, Lsn(200)));
        // Changed since the copy began: the WAL has it whole.
        assert!(!is_damaged(&page, 7, Lsn(50)));
    }

    #[test]
    fn a_page_that_was_never_used_bears_no_checksum() {
        assert!(!is_damaged(&[0; PAGE_BYTES], 0, Lsn(200)));
    }
}
