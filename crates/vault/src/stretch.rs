//! What of many packs is read in one go: blobs that are wanted, sorted into stretches.
//!
//! A stretch reads over gaps that cost less than another call. What a restore writes and what a copy hands on is read so.

use crate::catalogue::Location;
use crate::set::{Tried, VaultSet};
use crate::{BlobId, BlobKind, Repository};
use std::collections::HashMap;
use std::ops::Range;

/// What is read and thrown away rather than asked around.
const GAP_MAX: u64 = 128 << 10;

/// A blob, and what is to become of it.
pub(crate) struct Want<T> {
    pub(crate) id: BlobId,
    /// Length of the plain text, in bytes, as an index has it.
    pub(crate) length: u64,
    pub(crate) tried: Tried,
    pub(crate) targets: T,
}

/// A blob in a pack, and what is to become of it.
pub(crate) type Part<T> = (Location, Want<T>);

/// A range of a pack, and the blobs in it.
pub(crate) struct Stretch<T> {
    pub(crate) member: usize,
    pub(crate) pack: u32,
    pub(crate) range: Range<u64>,
    pub(crate) parts: Vec<Part<T>>,
}

impl<T> Stretch<T> {
    /// Reads it, and has each blob in it opened and used by `open`, which gives back what is not sound. Returned is what has to be read from
    /// elsewhere; the vault is blamed for it.
    pub(crate) fn read(
        self,
        set: &VaultSet,
        mut open: impl FnMut(&Repository, &mut [u8], u32, Want<T>) -> Result<(), (Want<T>, &'static str)>,
    ) -> Vec<Want<T>> {
        let Self { member, pack, range, parts } = self;
        let start = range.start;
        let mut bad = Vec::new();
        match (set.read(member, pack, range, set.is_shared()), set.repository(member)) {
            (Ok(mut bytes), Some(repository)) => {
                for (place, want) in parts {
                    let from = usize::try_from(place.range().start - start).unwrap_or(usize::MAX);
                    let sealed = bytes.get_mut(from..from.saturating_add(place.length as usize));
                    let opened = match sealed {
                        Some(sealed) => open(repository, sealed, place.uncompressed, want),
                        None => Err((want, "the stretch is too short")),
                    };
                    if let Err((want, what)) = opened {
                        set.blame(member, || {
                            format!("blob {} in {}: {what}", want.id.short(), repository.address())
                        });
                        bad.push(want);
                    }
                }
            }
            (Ok(_), None) => {}
            (Err(error), _) => {
                set.blame(member, || error.to_string());
                bad = parts.into_iter().map(|(_, want)| want).collect();
            }
        }
        bad.iter_mut().for_each(|want| want.tried.add(member));
        bad
    }
}

/// What is wanted of one pack.
struct Pack<T> {
    member: usize,
    pack: u32,
    parts: Vec<Part<T>>,
}

/// Sorts blobs of one kind into stretches of at most `most` bytes, each to be read from the vault that is expected to answer first
/// among those that were not tried. Returned as well: what no vault is left for.
pub(crate) fn stretches<T>(
    set: &VaultSet,
    kind: BlobKind,
    wants: Vec<Want<T>>,
    most: u64,
) -> (Vec<Stretch<T>>, Vec<Want<T>>) {
    let ranking = set.ranking();
    let mut packs: Vec<Pack<T>> = Vec::new();
    let mut known: HashMap<(usize, u32), usize> = HashMap::new();
    let mut homeless = Vec::new();
    for want in wants {
        let Some((member, place)) = set.place(&ranking, kind, &want.id, want.tried) else {
            homeless.push(want);
            continue;
        };
        let key = (member, place.pack);
        let at = *known.entry(key).or_insert_with(|| {
            packs.push(Pack { member, pack: place.pack, parts: Vec::new() });
            packs.len() - 1
        });
        if let Some(pack) = packs.get_mut(at) {
            pack.parts.push((place, want));
        }
    }
    let mut stretches: Vec<Stretch<T>> = Vec::new();
    for Pack { member, pack, mut parts } in packs {
        parts.sort_by_key(|(place, _)| place.offset);
        let most = set.stretch(member, most);
        let mut open: Option<Stretch<T>> = None;
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
