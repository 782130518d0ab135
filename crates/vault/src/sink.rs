//! The end of the pipeline: a piece of content is hashed, and stored in every vault that lacks it.

use crate::packer::PackWriter;
use crate::{BlobId, BlobKind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Fast, and near restic's own default in size: between them they differ by a few percent.
const DATA_LEVEL: i32 = 1;
/// Trees are small, written once and read often.
const TREE_LEVEL: i32 = 3;

/// Where blobs go: the vaults of this backup, and what was counted on the way.
pub(crate) struct Sink<'a> {
    writers: &'a [&'a PackWriter],
    bytes_new: AtomicU64,
    bytes_incompressible: AtomicU64,
}

/// A thread's own compressor, kept from blob to blob: setting one up costs more than a small blob.
pub(crate) struct Press {
    data: Option<zstd::bulk::Compressor<'static>>,
    tree: Option<zstd::bulk::Compressor<'static>>,
    out: Vec<u8>,
}

impl Press {
    pub(crate) fn new() -> Self {
        // Without memory for a compressor blobs are stored as they are: larger, and whole.
        Self {
            data: zstd::bulk::Compressor::new(DATA_LEVEL).ok(),
            tree: zstd::bulk::Compressor::new(TREE_LEVEL).ok(),
            out: Vec::new(),
        }
    }

    /// Returns what to store, and the length to inflate to (0: stored as it is).
    pub(crate) fn press<'b>(&'b mut self, kind: BlobKind, plain: &'b [u8]) -> (&'b [u8], u32) {
        let compressor = match kind {
            BlobKind::Data => &mut self.data,
            BlobKind::Tree => &mut self.tree,
        };
        let Some(compressor) = compressor else { return (plain, 0) };
        self.out.clear();
        self.out.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        match (compressor.compress_to_buffer(plain, &mut self.out), u32::try_from(plain.len())) {
            // Less than 3% gained isn't worth inflating on the day of the restore.
            (Ok(_), Ok(length)) if self.out.len() < plain.len() - plain.len() / 32 => (&self.out, length),
            _ => (plain, 0),
        }
    }
}

impl<'a> Sink<'a> {
    pub(crate) fn new(writers: &'a [&'a PackWriter]) -> Self {
        Self { writers, bytes_new: AtomicU64::new(0), bytes_incompressible: AtomicU64::new(0) }
    }

    /// Hashes `plain` and stores it where it is missing.
    pub(crate) fn put(&self, kind: BlobKind, plain: &[u8], press: &mut Press) -> BlobId {
        let id = BlobId::of(plain);
        let mut needed = self.writers.iter().filter(|writer| writer.claim(kind, &id)).peekable();
        if needed.peek().is_some() {
            let (stored, uncompressed) = press.press(kind, plain);
            if kind == BlobKind::Data {
                self.bytes_new.fetch_add(plain.len() as u64, Relaxed);
                if uncompressed == 0 {
                    self.bytes_incompressible.fetch_add(plain.len() as u64, Relaxed);
                }
            }
            for writer in needed {
                writer.add(kind, id, stored, uncompressed);
            }
        }
        id
    }

    /// Stores a blob although an index may name it: what it names is damaged.
    pub(crate) fn put_anew(&self, kind: BlobKind, id: BlobId, plain: &[u8], press: &mut Press) {
        let (stored, uncompressed) = press.press(kind, plain);
        self.writers.iter().for_each(|writer| writer.add(kind, id, stored, uncompressed));
    }

    /// Returns whether every vault that still stands has all of these blobs.
    pub(crate) fn everywhere(&self, ids: &[BlobId]) -> bool {
        self.writers.iter().filter(|writer| !writer.has_failed()).all(|writer| {
            let repository = writer.repository();
            ids.iter().all(|id| repository.has(BlobKind::Data, id))
        })
    }

    /// Returns whether no vault is left to write to.
    pub(crate) fn is_lost(&self) -> bool {
        self.writers.iter().all(|writer| writer.has_failed())
    }

    /// Returns the bytes of content that some vault did not have, and the share of them that did not compress.
    pub(crate) fn counted(&self) -> (u64, f64) {
        let new = self.bytes_new.load(Relaxed);
        let incompressible = self.bytes_incompressible.load(Relaxed);
        (new, if new == 0 { 0.0 } else { incompressible as f64 / new as f64 })
    }
}
