//! What is to be read next: blobs that files want, gathered until it is worth sorting them into stretches of packs.
//!
//! Files follow one another as they did in the backup, so the blobs of a batch lie close together in few packs.

use super::file::{FileJob, Piece};
use crate::BlobId;
use crate::set::Tried;
use crate::stretch;
use std::collections::HashMap;
use std::sync::Arc;

/// A batch is read when it holds so much content, so many blobs, or so many files that stay open between two of their pieces.
const BYTES_MAX: u64 = 64 << 20;
const WANTS_MAX: usize = 4096;
const OPEN_MAX: usize = 96;
/// Or so many places that wait for blobs: many files may want the same one.
const TARGETS_MAX: usize = 16_384;
/// A blob, and who wants it where.
pub(super) type Want<'a> = stretch::Want<Vec<(Arc<FileJob<'a>>, u64)>>;

/// A range of a pack, and who wants the blobs in it.
pub(super) type Stretch<'a> = stretch::Stretch<Vec<(Arc<FileJob<'a>>, u64)>>;

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
