//! What a vault may cost whoever reads it: bytes, memory and time.
//!
//! Whoever can write into a vault can put anything there, and whoever has its key can seal it too. No file is read, no blob inflated and no folder walked beyond
//! what is written here; what goes beyond it counts as damaged, is named and passed over. Each bound is well above the most that this program or restic ever
//! writes: docs/security.md has the table.

use crate::crypto::OVERHEAD;
use crate::{BlobId, BlobKind, FileKind, Kind, Repository};
use std::collections::HashMap;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// restic cuts files at 8 MiB, we at 4.
const DATA_MAX: u64 = 16 * MIB;
/// A folder of a million entries has some 500 MB as text.
const TREE_MAX: u64 = 1 << 30;
/// So long a tree may be whatever is stored of it, and so many times as long as that: restic's list of 30,000 empty folders is a 66th of its text.
const TREE_FREE: u64 = 128 * MIB;
const TREE_TIMES: u64 = 256;
/// A snapshot has a text, or a list of it, at each of these signs, and each takes memory: of an honest one with a hundred thousand paths there are as many.
const SNAPSHOT_PARTS: usize = 500_000;
/// And a part has so many letters at least, beyond the first thousand: an empty entry of a list is two, and takes a hundred bytes of memory.
const SNAPSHOT_PART: usize = 6;
/// So much memory each snapshot of a vault has for itself, whatever lies beside it: ordinary ones take some 3 KB, signed and with what is known of the point.
pub(crate) const SNAPSHOT_SHARE: u64 = 8 * KIB;
/// So much all of them have besides, for those that name many paths or much that could not be read: each of 300 may have a thousand.
const SNAPSHOTS_FREE: u64 = 64 * MIB;
/// More memory they never take: 300,000 ordinary points.
const SNAPSHOTS_MAX: u64 = 1 << 30;
/// Longer ones, as they are stored, are read one at a time.
pub(crate) const SNAPSHOT_ALONE: u64 = 8 * KIB;

/// Folders below one another: twice as many as the longest path of one letter each has.
const DEPTH_MAX: usize = 4096;
/// How often one and the same folder, to the last inode, may stand in a point: in backups that are made of hard links it does so once for each generation.
const SAME_MAX: u32 = 8192;
/// Entries of such folders, in all and as multiples of the others.
const AGAIN_FREE: u64 = 100_000;
const AGAIN_TIMES: u64 = 1000;

/// Returns how long a file of this kind may be that is read whole.
pub(crate) const fn file(kind: FileKind) -> u64 {
    match kind {
        // Some 150, 450 and 300 bytes.
        FileKind::Config | FileKind::Key | FileKind::Lock => 64 * KIB,
        // 1000 things that could not be read, three times over, have 10 MB as text at the very most, and as many paths as restic was ever given.
        FileKind::Snapshot => 16 * MIB,
        // 80,000 blobs are 4 MB; of format 1, which compresses nothing, 16 MB.
        FileKind::Index => 64 * MIB,
        // We write 16 MiB, restic 128 where it is told to. Of a longer one each blob is read by itself.
        FileKind::Pack => 256 * MIB,
    }
}

/// Returns what is to be said of a file that is longer than it may be, given what is known of its length.
pub(crate) fn too_long(kind: FileKind, length: u64) -> Kind {
    let what = match kind {
        FileKind::Config => "config",
        FileKind::Key => "key",
        FileKind::Lock => "lock",
        FileKind::Snapshot => "snapshot",
        FileKind::Index => "index",
        FileKind::Pack => "pack",
    };
    Kind::Damaged(format!(
        "{length} bytes or more are no {what}: it is not read, none has more than {}",
        file(kind)
    ))
}

/// Returns how long what was stored in so many bytes of a file may be once it is inflated.
pub(crate) fn inflated(kind: FileKind, stored: usize) -> usize {
    let stored = stored as u64;
    let most = match kind {
        // Each blob of an index is called by 32 bytes that no compressor makes shorter, and takes some 150 as text.
        FileKind::Index => (64 * KIB + stored * 16).min(512 * MIB),
        // Many paths, and the same reason for each.
        FileKind::Snapshot => (64 * KIB + stored * 128).min(32 * MIB),
        _ => MIB,
    };
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// Returns whether the text of a snapshot has no more parts than are worth the memory for them.
pub(crate) fn is_snapshot(json: &[u8]) -> bool {
    let most = SNAPSHOT_PARTS.min(1000 + json.len() / SNAPSHOT_PART);
    json.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count() <= most
}

/// Returns how much memory so many snapshots of a vault may take together.
pub(crate) const fn snapshots(count: usize) -> u64 {
    let most = SNAPSHOTS_FREE.saturating_add((count as u64).saturating_mul(SNAPSHOT_SHARE));
    if most < SNAPSHOTS_MAX { most } else { SNAPSHOTS_MAX }
}

/// Returns whether a blob can be as an index or a pack's header has it: its length sealed, and inflated where it is compressed (else 0).
pub(crate) fn is_blob(kind: BlobKind, sealed: u32, uncompressed: u32) -> bool {
    let stored = u64::from(sealed).saturating_sub(OVERHEAD as u64);
    let plain = if uncompressed == 0 { stored } else { u64::from(uncompressed) };
    match kind {
        BlobKind::Data => plain.max(stored) <= DATA_MAX,
        BlobKind::Tree => plain.max(stored) <= TREE_MAX && plain <= TREE_FREE + stored * TREE_TIMES,
    }
}

/// Returns how many entries a tree of so many bytes of text may have: no program writes fewer than 190 for one.
pub(crate) fn entries(json: usize) -> usize {
    1000 + json / 128
}

/// The folders of a point, as somebody walks them: trees that name each other twice are few, and folders without end.
///
/// Nothing is remembered of a point that has no more folders than the vault has trees: only with more of them one must come again.
pub(crate) struct Folders {
    /// How many are walked before it is watched which come again.
    free: u64,
    walked: u64,
    entries: u64,
    again: u64,
    met: HashMap<BlobId, u32>,
    is_over: bool,
}

impl Folders {
    /// Returns the bounds for a walk in these vaults: what the one that names most trees names is free.
    pub(crate) fn of<'v>(vaults: impl IntoIterator<Item = &'v Repository>) -> Self {
        Self::new(vaults.into_iter().map(|vault| vault.catalogue().trees()).max().unwrap_or(0))
    }

    fn new(trees: usize) -> Self {
        Self { free: trees as u64, walked: 0, entries: 0, again: 0, met: HashMap::new(), is_over: false }
    }

    /// Notes a folder with so many entries, so far below the root; an error says why it is not to be walked.
    pub(crate) fn enter(&mut self, tree: &BlobId, entries: usize, depth: usize) -> Result<(), &'static str> {
        if depth > DEPTH_MAX {
            return Err("it lies deeper than any folder can: what is in it is left");
        }
        // Empty folders are all the same, and lead nowhere.
        if entries == 0 {
            return Ok(());
        }
        self.walked += 1;
        if self.walked <= self.free {
            self.entries += entries as u64;
            return Ok(());
        }
        let times = self.met.entry(*tree).or_default();
        *times += 1;
        self.again += entries as u64;
        let most = AGAIN_FREE.saturating_add(self.entries.saturating_mul(AGAIN_TIMES));
        if *times > SAME_MAX || (*times > 1 && self.again > most) {
            self.is_over = true;
        }
        match self.is_over && *times > 1 {
            true => Err("the same folder comes again without end, as nobody's does: what is in it is left"),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> BlobId {
        BlobId::of(&number.to_be_bytes())
    }

    #[test]
    fn what_restic_and_we_write_is_within_every_budget() {
        // restic's longest piece, as it is and compressed to nearly nothing; a million empty files in one folder.
        assert!(is_blob(BlobKind::Data, 8 << 20, 0) && is_blob(BlobKind::Data, 400, 8 << 20));
        assert!(is_blob(BlobKind::Tree, 16 << 20, 500 << 20) && is_blob(BlobKind::Tree, 200, 900_000));
        assert!(!is_blob(BlobKind::Data, 2000, 64 << 20) && !is_blob(BlobKind::Data, u32::MAX, 0));
        assert!(!is_blob(BlobKind::Tree, 200_000, 1 << 30));
        assert!(inflated(FileKind::Index, 4 << 20) >= 80_000 * 200);
        assert!(entries(190 * 1_000_000) > 1_000_000);
    }

    #[test]
    fn folders_that_come_once_are_not_counted_and_those_of_hard_links_come_as_often_as_they_like() {
        let mut folders = Folders::new(1000);
        for round in 0..700u64 {
            for leaf in 0..1000 {
                assert_eq!(folders.enter(&id(leaf), 20, 5), Ok(()), "generation {round}");
            }
        }
        let mut folders = Folders::new(0);
        for number in 0..200_000 {
            assert_eq!(folders.enter(&id(number), 10, 1), Ok(()));
        }
        assert!((0..100_000).all(|_| folders.enter(&id(0), 0, 1).is_ok()), "empty folders");
        folders.enter(&id(0), 1, DEPTH_MAX + 1).unwrap_err();
    }

    #[test]
    fn trees_that_name_each_other_twice_come_to_an_end_soon() {
        let mut folders = Folders::new(41);
        let (mut walked, mut stack) = (0, vec![0u64]);
        while let Some(level) = stack.pop() {
            walked += 1;
            if folders.enter(&id(level), 2, 1).is_ok() && level < 40 {
                stack.extend([level + 1, level + 1]);
            }
        }
        assert!(walked < 20_000, "{walked}");
    }
}
