//! An index file: which blobs lie in which packs, and which packs are on their way out.
//!
//! A pack that nothing needs is first only taken out of the index, with a mark that says when; its file goes after a delay. The field
//! for the marks, `packs_to_delete`, is rustic's; restic passes over it.

use super::BlobKind;
use super::pack::Entry;
use crate::{BlobId, FileId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
struct WireIndex {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    supersedes: Vec<FileId>,
    #[serde(default)]
    packs: Vec<WirePack>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    packs_to_delete: Vec<WirePack>,
}

#[derive(Serialize, Deserialize)]
struct WirePack {
    id: FileId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
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

/// What one index file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Index {
    pub(crate) packs: Vec<IndexedPack>,
    /// Packs on their way out, each with the time at which it was marked, if that is told.
    pub(crate) marked: Vec<(IndexedPack, Option<Timestamp>)>,
}

impl Serialize for Index {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let packs = self.packs.iter().map(|pack| to_wire(pack, None)).collect();
        let packs_to_delete = self.marked.iter().map(|(pack, time)| to_wire(pack, *time)).collect();
        WireIndex { supersedes: Vec::new(), packs, packs_to_delete }.serialize(serializer)
    }
}

fn to_wire(pack: &IndexedPack, time: Option<Timestamp>) -> WirePack {
    let blob = |entry: &Entry| WireBlob {
        id: entry.id,
        kind: match entry.kind {
            BlobKind::Data => WireKind::Data,
            BlobKind::Tree => WireKind::Tree,
        },
        offset: entry.offset,
        length: entry.length,
        uncompressed_length: entry.uncompressed,
    };
    WirePack { id: pack.id, time, blobs: pack.entries.iter().map(blob).collect() }
}

/// Reads the JSON of an index. `None` if it is malformed.
pub(crate) fn read(json: &[u8]) -> Option<Index> {
    let wire: WireIndex = serde_json::from_slice(json).ok()?;
    let marked = wire.packs_to_delete.into_iter().map(|pack| (pack.time, from_wire(pack)));
    Some(Index {
        packs: wire.packs.into_iter().map(from_wire).collect(),
        marked: marked.map(|(time, pack)| (pack, time)).collect(),
    })
}

fn from_wire(pack: WirePack) -> IndexedPack {
    let entry = |blob: WireBlob| Entry {
        id: blob.id,
        kind: match blob.kind {
            WireKind::Data => BlobKind::Data,
            WireKind::Tree => BlobKind::Tree,
        },
        offset: blob.offset,
        length: blob.length,
        uncompressed: blob.uncompressed_length,
    };
    IndexedPack { id: pack.id, entries: pack.blobs.into_iter().map(entry).collect() }
}
