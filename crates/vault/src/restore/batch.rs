//! What is to be read next: blobs that files want, sorted into stretches of packs.
//!
//! Files follow one another as they did in the backup, so the blobs of a batch lie close together in few packs. A stretch reads over gaps
//! that cost less than another call.

use super::file::{FileJob, Piece};
use crate::catalogue::Location;
use crate::set::{Tried, VaultSet};
use crate::{BlobId, BlobKind};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// A batch is read when it holds so much content, so many blobs, or so many files that stay open between two of their pieces.
const BYTES_MAX: u64 = 64 << 20;
const WANTS_MAX: usize = 4096;
const OPEN_MAX: usize = 96;
/// Or so many places that wait for blobs: many files may want the same one.
const TARGETS_MAX: usize = 16_384;
/// What is read and thrown away rather than asked around.
const GAP_MAX: u64 = 128 << 10;

/// A blob, and who wants it where.
pub(super) struct Want<'a> {
    pub(super) id: BlobId,
    /// Length of the plain text, in bytes.
    pub(super) length: u64,
    pub(super) tried: Tried,
    pub(super) targets: Vec<(Arc<FileJob<'a>>, u64)>,
}

/// A blob in a pack, and who wants it.
pub(super) type Part<'a> = (Location, Want<'a>);

/// A range of a pack, and the blobs in it.
pub(super) struct Stretch<'a> {
    pub(super) member: usize,
    pub(super) pack: u32,
    pub(super) range: Range<u64>,
    pub(super) parts: Vec<Part<'a>>,
}

/// Blobs to be read, each once.
#[derive(Default)]
pub(super) struct Batch<'a> {
    wants: Vec<Want<'a>>,
    known: HashMap<BlobId, usize>,
    bytes: u64,
    targets: usize,
    open: usize,
}

impl<'a> Batch<'a> {
    pub(super) fn add(&mut self, piece: Piece, file: Arc<FileJob<'a>>) {
        let Piece { at, id, length } = piece;
        self.targets += 1;
        if let Some(want) = self.known.get(&id).and_then(|&known| self.wants.get_mut(known)) {
            want.targets.push((file, at));
            return;
        }
        self.known.insert(id, self.wants.len());
        self.wants.push(Want { id, length, tried: Tried::default(), targets: vec![(file, at)] });
        self.bytes += length;
    }

    /// A file has several pieces here.
    pub(super) fn opens(&mut self) {
        self.open += 1;
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= BYTES_MAX
            || self.wants.len() >= WANTS_MAX
            || self.targets >= TARGETS_MAX
            || self.open >= OPEN_MAX
    }

    pub(super) fn take(&mut self) -> Vec<Want<'a>> {
        std::mem::take(self).wants
    }
}

/// Sorts blobs into stretches of at most `most` bytes, each to be read from the vault that is expected to answer first among those that
/// were not tried. Returned as well: what no vault is left for.
pub(super) fn stretches<'a>(
    set: &VaultSet,
    wants: Vec<Want<'a>>,
    most: u64,
) -> (Vec<Stretch<'a>>, Vec<Want<'a>>) {
    let ranking = set.ranking();
    let mut packs: Vec<((usize, u32), Vec<Part<'a>>)> = Vec::new();
    let mut known: HashMap<(usize, u32), usize> = HashMap::new();
    let mut homeless = Vec::new();
    for want in wants {
        let Some((member, place)) = set.place(&ranking, BlobKind::Data, &want.id, want.tried) else {
            homeless.push(want);
            continue;
        };
        let key = (member, place.pack);
        let at = *known.entry(key).or_insert_with(|| {
            packs.push((key, Vec::new()));
            packs.len() - 1
        });
        if let Some((_, parts)) = packs.get_mut(at) {
            parts.push((place, want));
        }
    }
    let mut stretches: Vec<Stretch<'a>> = Vec::new();
    for ((member, pack), mut parts) in packs {
        parts.sort_by_key(|(place, _)| place.offset);
        let most = set.stretch(member, most);
        let mut open: Option<Stretch<'a>> = None;
        for (place, want) in parts {
            let own = place.range();
            match &mut open {
                Some(stretch)
                    if own.start <= stretch.range.end + GAP_MAX && own.end - stretch.range.start <= most =>
                {
                    stretch.range.end = stretch.range.end.max(own.end);
                    stretch.parts.push((place, want));
                }
                _ => {
                    stretches.extend(open.take());
                    open = Some(Stretch { member, pack, range: own, parts: vec![(place, want)] });
                }
            }
        }
        stretches.extend(open);
    }
    (stretches, homeless)
}
