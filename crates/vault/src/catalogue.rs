//! The index in memory: for every blob, where it lies in one vault.

use crate::format::BlobKind;
use crate::format::index::IndexedPack;
use crate::format::pack::{Entry, REST, share};
use crate::{BlobId, FileId, budget};
use hashbrown::HashTable;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// Where a blob lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    /// The pack, as a number in [`Catalogue::pack`]: 10 million blobs must fit, and a pack's name has 32 bytes.
    pub(crate) pack: u32,
    /// First byte of the sealed blob in the pack.
    pub(crate) offset: u32,
    /// Length of the sealed blob.
    pub(crate) length: u32,
    /// Length of the plain text where compressed, else 0.
    pub(crate) uncompressed: u32,
}

impl Location {
    /// Returns the bytes of the pack that it takes.
    pub(crate) fn range(&self) -> std::ops::Range<u64> {
        u64::from(self.offset)..u64::from(self.offset) + u64::from(self.length)
    }

    /// Returns whether it is worth reading: no blob of this kind is longer than it may be.
    pub(crate) fn is_within_budget(&self, kind: BlobKind) -> bool {
        budget::is_blob(kind, self.length, self.uncompressed)
    }

    /// Says why it is not worth reading, if it is not.
    pub(crate) fn check(&self, kind: BlobKind) -> Result<(), &'static str> {
        self.is_within_budget(kind).then_some(()).ok_or("it is longer than any blob may be")
    }

    /// Returns the length of the plain text.
    pub(crate) fn plain_length(&self) -> u32 {
        match self.uncompressed {
            0 => self.length.saturating_sub(crate::crypto::OVERHEAD as u32),
            length => length,
        }
    }
}

/// All blobs of one vault.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    packs: Vec<FileId>,
    pack_numbers: HashMap<FileId, u32>,
    /// How long each pack is by what is named in it.
    lengths: Vec<u64>,
    /// Packs that were seen not to be there as they are named, and how long they should be: nothing in them counts.
    gone: HashMap<FileId, u64>,
    data: Blobs,
    trees: Blobs,
    /// Further places of a blob that lies in several packs: what a restore tries when the first is damaged.
    more: HashMap<(BlobKind, BlobId), Vec<Location>>,
    /// The index files that it was read from.
    files: HashSet<FileId>,
}

/// A set of blobs.
pub(crate) type BlobSet = HashSet<BlobId, BuildHasherDefault<IdHasher>>;

/// Blobs, each with its first place. A vault of ten million files has to fit in memory, so that one takes 48 bytes here and some 8 in
/// the table that finds it; blocks that never move spare the second copy that a growing vector needs.
#[derive(Debug, Default)]
struct Blobs {
    blocks: Vec<Vec<(BlobId, Location)>>,
    /// Numbers of blobs, in the order in which they came.
    table: HashTable<u32>,
}

/// Blobs in a block: 3 MiB.
const BLOCK: usize = 1 << 16;

impl Blobs {
    fn get(&self, id: &BlobId) -> Option<Location> {
        let found = self.table.find(id.start(), |number| self.at(*number).is_some_and(|(at, _)| at == id))?;
        self.at(*found).map(|(_, place)| *place)
    }

    /// Adds the blob unless it is there, and returns its first place.
    fn add(&mut self, id: BlobId, place: Location) -> Location {
        if let Some(first) = self.get(&id) {
            return first;
        }
        // 2^32 blobs are more than any index tells of: their names alone are 128 GiB.
        let Ok(number) = u32::try_from(self.len()) else { return place };
        match self.blocks.last_mut() {
            Some(block) if block.len() < BLOCK => block.push((id, place)),
            _ => self.blocks.push(vec![(id, place)]),
        }
        let blocks = &self.blocks;
        self.table.insert_unique(id.start(), number, |number| {
            blob_at(blocks, *number).map_or(0, |(id, _)| id.start())
        });
        place
    }

    fn len(&self) -> usize {
        self.blocks.len().saturating_sub(1) * BLOCK + self.blocks.last().map_or(0, Vec::len)
    }

    fn at(&self, number: u32) -> Option<&(BlobId, Location)> {
        blob_at(&self.blocks, number)
    }

    fn iter(&self) -> impl Iterator<Item = &(BlobId, Location)> {
        self.blocks.iter().flatten()
    }
}

fn blob_at(blocks: &[Vec<(BlobId, Location)>], number: u32) -> Option<&(BlobId, Location)> {
    let number = number as usize;
    blocks.get(number / BLOCK)?.get(number % BLOCK)
}

impl Catalogue {
    /// Adds what an index, or a pack's own header, says.
    pub(crate) fn add(&mut self, pack: &IndexedPack) {
        if self.gone.contains_key(&pack.id) {
            return;
        }
        let number = match self.pack_numbers.get(&pack.id) {
            Some(&number) => number,
            None => {
                // 2^32 packs of 16 MiB are 64 EiB.
                let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
                self.packs.push(pack.id);
                self.lengths.push(REST);
                self.pack_numbers.insert(pack.id, number);
                number
            }
        };
        for entry in &pack.entries {
            self.add_entry(number, entry);
        }
    }

    /// Adds what an index file says, and that it was read; of a damaged one only that.
    pub(crate) fn add_index(&mut self, file: FileId, packs: &[IndexedPack]) {
        self.files.insert(file);
        packs.iter().for_each(|pack| self.add(pack));
    }

    /// What it holds is not what the index files say any more.
    pub(crate) fn forget_files(&mut self) {
        self.files.clear();
    }

    /// Returns how many blobs it names.
    pub(crate) fn len(&self) -> usize {
        self.data.len() + self.trees.len()
    }

    /// Returns the index files that it was read from.
    pub(crate) fn files(&self) -> &HashSet<FileId> {
        &self.files
    }

    fn add_entry(&mut self, pack: u32, entry: &Entry) {
        let location =
            Location { pack, offset: entry.offset, length: entry.length, uncompressed: entry.uncompressed };
        let blobs = self.blobs_mut(entry.kind);
        let before = blobs.len();
        let first = blobs.add(entry.id, location);
        let mut is_new = blobs.len() > before;
        if first != location {
            let others = self.more.entry((entry.kind, entry.id)).or_default();
            if !others.contains(&location) {
                others.push(location);
                is_new = true;
            }
        }
        if is_new && let Some(length) = self.lengths.get_mut(pack as usize) {
            *length += share(entry.length, entry.uncompressed > 0);
        }
    }

    /// Returns the packs of which something is named and that these, with their lengths, are not; each with the length that it should have.
    pub(crate) fn lacking(&self, sizes: &HashMap<FileId, u64>) -> HashMap<FileId, u64> {
        let named = self.packs.iter().zip(&self.lengths).filter(|(_, length)| **length > REST);
        let lacking = named.filter(|(id, length)| sizes.get(*id) != Some(*length));
        lacking.map(|(id, length)| (*id, *length)).collect()
    }

    /// Forgets what lies in these packs: they are not there as they are named. Those that are left keep their numbers.
    pub(crate) fn forget(&mut self, mut gone: HashMap<FileId, u64>) {
        // What no index names any more nobody misses.
        gone.retain(|id, _| self.pack_numbers.contains_key(id));
        if gone.is_empty() {
            return;
        }
        self.gone.extend(gone);
        let contents = self.by_pack();
        (self.data, self.trees, self.more) = Default::default();
        self.lengths.fill(REST);
        for (number, pack) in (0u32..).zip(contents) {
            if self.gone.contains_key(&pack.id) {
                continue;
            }
            for (kind, id, Location { offset, length, uncompressed, .. }) in pack.blobs {
                self.add_entry(number, &Entry { id, kind, offset, length, uncompressed });
            }
        }
    }

    /// Returns the packs that were forgotten, each with the length that it should have.
    pub(crate) fn gone(&self) -> &HashMap<FileId, u64> {
        &self.gone
    }

    /// Takes the word back that packs are gone, and returns which: what the indexes say of them is to be read anew.
    pub(crate) fn take_gone(&mut self) -> HashMap<FileId, u64> {
        std::mem::take(&mut self.gone)
    }

    /// Says that a pack is there after all.
    pub(crate) fn is_back(&mut self, pack: &FileId) {
        self.gone.remove(pack);
    }

    fn blobs_mut(&mut self, kind: BlobKind) -> &mut Blobs {
        match kind {
            BlobKind::Data => &mut self.data,
            BlobKind::Tree => &mut self.trees,
        }
    }

    fn blobs(&self, kind: BlobKind) -> &Blobs {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }

    /// Returns whether the blob is there.
    pub(crate) fn has(&self, kind: BlobKind, id: &BlobId) -> bool {
        let first = self.blobs(kind).get(id);
        first.is_some_and(|place| place.is_within_budget(kind)) || self.places(kind, id).next().is_some()
    }

    /// Returns how many trees it names.
    pub(crate) fn trees(&self) -> usize {
        self.trees.len()
    }

    /// Returns every place of the blob, best first; empty if the vault doesn't have it, or only where it would cost more than any blob may.
    pub(crate) fn places(&self, kind: BlobKind, id: &BlobId) -> impl Iterator<Item = Location> {
        let first = self.blobs(kind).get(id);
        let more = if first.is_some() && !self.more.is_empty() { self.more.get(&(kind, *id)) } else { None };
        let all = first.into_iter().chain(more.into_iter().flatten().copied());
        all.filter(move |place| place.is_within_budget(kind))
    }

    /// Returns the name of a pack.
    pub(crate) fn pack(&self, number: u32) -> Option<FileId> {
        self.packs.get(number as usize).copied()
    }

    /// Returns whether an index, or the pack's own header, has named this pack.
    pub(crate) fn knows_pack(&self, id: FileId) -> bool {
        self.pack_numbers.contains_key(&id) && !self.gone.contains_key(&id)
    }

    /// Returns for each pack that holds blobs of this kind the stretch that they take, from the first to the last.
    pub(crate) fn extents(&self, kind: BlobKind) -> HashMap<u32, std::ops::Range<u32>> {
        let mut extents: HashMap<u32, std::ops::Range<u32>> = HashMap::new();
        for (_, place) in self.blobs(kind).iter() {
            let end = place.offset.saturating_add(place.length);
            let extent = extents.entry(place.pack).or_insert(place.offset..end);
            *extent = extent.start.min(place.offset)..extent.end.max(end);
        }
        extents
    }

    /// Returns every pack with all that is in it, in the order of their numbers.
    pub(crate) fn by_pack(&self) -> Vec<PackContents> {
        let mut packs: Vec<PackContents> =
            self.packs.iter().map(|id| PackContents { id: *id, blobs: Vec::new() }).collect();
        let mut add = |kind: BlobKind, id: BlobId, place: Location| {
            if let Some(pack) = packs.get_mut(place.pack as usize) {
                pack.blobs.push((kind, id, place));
            }
        };
        for kind in [BlobKind::Data, BlobKind::Tree] {
            self.blobs(kind).iter().for_each(|(id, place)| add(kind, *id, *place));
        }
        for ((kind, id), places) in &self.more {
            places.iter().for_each(|place| add(*kind, *id, *place));
        }
        packs
    }
}

/// A pack and what the index says is in it.
#[derive(Debug, Clone)]
pub(crate) struct PackContents {
    pub(crate) id: FileId,
    pub(crate) blobs: Vec<(BlobKind, BlobId, Location)>,
}

/// Ids are hashes already; hashing them again would cost as much as the lookup.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(name: &[u8], blobs: &[&[u8]]) -> IndexedPack {
        let entry = |(at, blob): (u32, &&[u8])| Entry {
            id: BlobId::of(blob),
            kind: BlobKind::Data,
            offset: at * 100,
            length: 100,
            uncompressed: 0,
        };
        IndexedPack { id: FileId::of(name), entries: (0..).zip(blobs).map(entry).collect() }
    }

    fn sizes(packs: &[&IndexedPack]) -> HashMap<FileId, u64> {
        let length = |pack: &IndexedPack| {
            crate::format::pack::length(
                pack.entries.iter().map(|entry| (entry.length, entry.uncompressed > 0)),
            )
        };
        packs.iter().map(|pack| (pack.id, length(pack))).collect()
    }

    #[test]
    fn what_lies_in_packs_that_are_gone_is_forgotten_and_the_rest_is_found_where_it_was() {
        let (one, two) = (pack(b"one", &[b"a", b"b"]), pack(b"two", &[b"b", b"c"]));
        let mut catalogue = Catalogue::default();
        // Several indexes name a pack, or a part of it.
        [&one, &two, &one].into_iter().for_each(|pack| catalogue.add(pack));
        assert!(catalogue.lacking(&sizes(&[&one, &two])).is_empty());
        let mut shorter = sizes(&[&one, &two]);
        *shorter.get_mut(&one.id).unwrap() -= 1;
        let lacking = catalogue.lacking(&shorter);
        assert_eq!(lacking, sizes(&[&one]));
        catalogue.forget(lacking);
        let has = |catalogue: &Catalogue, blob: &[u8]| catalogue.has(BlobKind::Data, &BlobId::of(blob));
        assert_eq!([b"a", b"b", b"c"].map(|blob| has(&catalogue, blob)), [false, true, true]);
        let place = catalogue.places(BlobKind::Data, &BlobId::of(b"b")).next().unwrap();
        assert_eq!((catalogue.pack(place.pack), place.offset), (Some(two.id), 0));
        assert!(!catalogue.knows_pack(one.id) && catalogue.lacking(&sizes(&[&two])).is_empty());
        // Another index that names it changes nothing; whoever sees it there does.
        catalogue.add(&one);
        assert!(!has(&catalogue, b"a"));
        catalogue.is_back(&one.id);
        catalogue.add(&one);
        assert!(has(&catalogue, b"a") && catalogue.lacking(&sizes(&[&one, &two])).is_empty());
    }
}
