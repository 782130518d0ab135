//! A pack: sealed blobs one after another, then a sealed header that names them, then the header's length.

use super::BlobKind;
use crate::BlobId;
use crate::crypto::{Key, OVERHEAD};

/// Where a blob lies inside its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: BlobId,
    pub(crate) kind: BlobKind,
    /// First byte of the sealed blob.
    pub(crate) offset: u32,
    /// Length of the sealed blob.
    pub(crate) length: u32,
    /// Length of the plain text where the blob is compressed, 0 where it is stored as it is.
    pub(crate) uncompressed: u32,
}

const PLAIN: usize = 1 + 4 + 32;
const COMPRESSED: usize = 1 + 4 + 4 + 32;
/// The length field at the very end of a pack.
pub(crate) const TRAILER: usize = 4;

/// What a pack has besides its blobs and their lines in the header.
pub(crate) const REST: u64 = (OVERHEAD + TRAILER) as u64;

/// Returns how many bytes of a pack a blob takes, with its line in the header.
pub(crate) fn share(sealed: u32, compressed: bool) -> u64 {
    u64::from(sealed) + if compressed { COMPRESSED } else { PLAIN } as u64
}

/// Returns how many bytes a pack has that holds these blobs, given the sealed length of each and whether it is compressed.
pub(crate) fn length(blobs: impl Iterator<Item = (u32, bool)>) -> u64 {
    blobs.map(|(sealed, compressed)| share(sealed, compressed)).sum::<u64>() + REST
}

/// Returns what follows the blobs in a pack: the sealed header and its length.
pub(crate) fn write_header(key: &Key, entries: &[Entry]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::with_capacity(entries.len() * COMPRESSED);
    for entry in entries {
        let kind = match (entry.kind, entry.uncompressed) {
            (BlobKind::Data, 0) => 0,
            (BlobKind::Tree, 0) => 1,
            (BlobKind::Data, _) => 2,
            (BlobKind::Tree, _) => 3,
        };
        plain.push(kind);
        plain.extend_from_slice(&entry.length.to_le_bytes());
        if entry.uncompressed > 0 {
            plain.extend_from_slice(&entry.uncompressed.to_le_bytes());
        }
        plain.extend_from_slice(&entry.id.0);
    }
    let mut sealed = key.seal(&plain)?;
    let length = u32::try_from(sealed.len()).map_err(|_| std::io::Error::other("pack header too long"))?;
    sealed.extend_from_slice(&length.to_le_bytes());
    Ok(sealed)
}

/// Returns the length of the sealed header, from the last four bytes of a pack of `pack_length` bytes. `None` if it makes no sense.
pub(crate) fn header_length(trailer: [u8; TRAILER], pack_length: u64) -> Option<u64> {
    let length = u64::from(u32::from_le_bytes(trailer));
    let fits = length >= (OVERHEAD + PLAIN) as u64 && length + TRAILER as u64 <= pack_length;
    fits.then_some(length)
}

/// Reads the plain header: entries in the order in which they lie. `None` if it is malformed.
pub(crate) fn read_header(mut plain: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::with_capacity(plain.len() / PLAIN);
    let mut offset = 0u32;
    while let Some(&code) = plain.first() {
        let (kind, compressed) = match code {
            0 => (BlobKind::Data, false),
            1 => (BlobKind::Tree, false),
            2 => (BlobKind::Data, true),
            3 => (BlobKind::Tree, true),
            _ => return None,
        };
        let (fields, rest) = plain.split_at_checked(if compressed { COMPRESSED } else { PLAIN })?;
        let length = u32::from_le_bytes(fields.get(1..5)?.try_into().ok()?);
        let uncompressed =
            if compressed { u32::from_le_bytes(fields.get(5..9)?.try_into().ok()?) } else { 0 };
        let id = BlobId::from_bytes(fields.get(fields.len() - 32..)?.try_into().ok()?);
        entries.push(Entry { id, kind, offset, length, uncompressed });
        offset = offset.checked_add(length)?;
        plain = rest;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_reads_back_as_written(parts in proptest::collection::vec((any::<[u8; 32]>(), any::<bool>(), 32..1_000_000u32, 0..5_000_000u32), 1..50)) {
            let key = Key::random().unwrap();
            let mut offset = 0;
            let entries: Vec<Entry> = parts.into_iter().map(|(id, tree, length, uncompressed)| {
                let kind = if tree { BlobKind::Tree } else { BlobKind::Data };
                let entry = Entry { id: BlobId::from_bytes(id), kind, offset, length, uncompressed };
                offset += length;
                entry
            }).collect();
            let mut bytes = write_header(&key, &entries).unwrap();
            let trailer = bytes.split_off(bytes.len() - TRAILER);
            let length = header_length(trailer.try_into().unwrap(), u64::from(offset) + bytes.len() as u64 + TRAILER as u64).unwrap();
            prop_assert_eq!(length, bytes.len() as u64);
            prop_assert_eq!(read_header(key.open(&mut bytes).unwrap()).unwrap(), entries);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = read_header(&bytes);
        }
    }
}
