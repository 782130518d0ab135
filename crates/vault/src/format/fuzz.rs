//! The parsers of what a vault may hold, for the fuzzer: whatever bytes come, each answers or refuses, and what it understood it writes back
//! the same.
#![allow(clippy::panic, clippy::missing_panics_doc, reason = "a panic is what the fuzzer looks for")]

use super::{index, pack, tree};
use crate::BlobKind;
use crate::catalogue::Catalogue;

/// Reads the plain header of a pack: the blobs lie one after another, from the start.
pub fn pack_header(bytes: &[u8]) {
    let mut end = 0u32;
    for entry in pack::read_header(bytes).unwrap_or_default() {
        assert_eq!(entry.offset, end);
        end = entry.offset.saturating_add(entry.length);
    }
    if let Some((rest, trailer)) = bytes.split_last_chunk()
        && let Some(length) = pack::header_length(*trailer, bytes.len() as u64)
    {
        assert!(length <= rest.len() as u64);
    }
}

/// Reads a tree, and what was written of it again.
pub fn tree(json: &[u8]) {
    let Ok(mut nodes) = tree::read(json) else { return };
    let written = tree::write(&mut nodes);
    assert_eq!(tree::read(&written).as_ref(), Ok(&nodes));
}

/// Reads an index, what was written of it again, and asks a catalogue of it for every blob.
pub fn index(json: &[u8]) {
    let Some(index) = index::read(json) else { return };
    assert_eq!(index::read(&serde_json::to_vec(&index).unwrap_or_default()).as_ref(), Some(&index));
    let packs = index.packs;
    let mut catalogue = Catalogue::default();
    packs.iter().for_each(|pack| catalogue.add(pack));
    for entry in packs.iter().flat_map(|pack| &pack.entries) {
        for place in catalogue.places(entry.kind, &entry.id) {
            assert!(catalogue.pack(place.pack).is_some() && place.range().start <= place.range().end);
            let _ = place.plain_length();
        }
    }
    for kind in [BlobKind::Data, BlobKind::Tree] {
        assert!(catalogue.extents(kind).values().all(|extent| extent.start <= extent.end));
    }
}
