//! An index file: which blobs lie in which packs.

use super::BlobKind;
use super::pack::Entry;
use crate::{BlobId, FileId};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct WireIndex {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    supersedes: Vec<FileId>,
    #[serde(default)]
    packs: Vec<WirePack>,
}

#[derive(Serialize, Deserialize)]
struct WirePack {
    id: FileId,
    blobs: Vec<WireBlob>,
}

#[derive(Serialize, Deserialize)]
struct WireBlob {
    id: BlobId,
    #[serde(rename = "type")]
    kind: WireKind,
    offset: u32,
    length: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    uncompressed_length: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireKind {
    Data,
    Tree,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// One pack as an index names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexedPack {
    pub(crate) id: FileId,
    pub(crate) entries: Vec<Entry>,
}

/// Returns the JSON of an index of these packs.
pub(crate) fn write(packs: &[IndexedPack]) -> Vec<u8> {
    let wire = WireIndex {
        supersedes: Vec::new(),
        packs: packs
            .iter()
            .map(|pack| WirePack {
                id: pack.id,
                blobs: pack
                    .entries
                    .iter()
                    .map(|entry| WireBlob {
                        id: entry.id,
                        kind: match entry.kind {
                            BlobKind::Data => WireKind::Data,
                            BlobKind::Tree => WireKind::Tree,
                        },
                        offset: entry.offset,
                        length: entry.length,
                        uncompressed_length: entry.uncompressed,
                    })
                    .collect(),
            })
            .collect(),
    };
    serde_json::to_vec(&wire).unwrap_or_default()
}

/// Reads the JSON of an index. `None` if it is malformed.
pub(crate) fn read(json: &[u8]) -> Option<Vec<IndexedPack>> {
    let wire: WireIndex = serde_json::from_slice(json).ok()?;
    let packs = wire.packs.into_iter().map(|pack| IndexedPack {
        id: pack.id,
        entries: pack
            .blobs
            .into_iter()
            .map(|blob| Entry {
                id: blob.id,
                kind: match blob.kind {
                    WireKind::Data => BlobKind::Data,
                    WireKind::Tree => BlobKind::Tree,
                },
                offset: blob.offset,
                length: blob.length,
                uncompressed: blob.uncompressed_length,
            })
            .collect(),
    });
    Some(packs.collect())
}
