//! Reads files and cuts them into pieces.

use super::slot::Slot;
use crate::sink::{Press, Sink};
use crate::{BlobId, BlobKind, Input, Node, NodeKind, Progress};
use crossbeam_channel::Sender;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel};
use std::sync::{Arc, Mutex, PoisonError};

/// restic's own sizes: shorter files are one piece, and a piece is a megabyte on average. The longest is 4 MiB and not 8: it
/// bounds the memory of the queue.
const PIECE_MIN: usize = 512 << 10;
const PIECE_AVERAGE: usize = 1 << 20;
pub(super) const PIECE_MAX: usize = 4 << 20;
/// A file that changes while it is read is read again, if that is cheap: up to this many bytes, this often.
const REREAD_MAX: u64 = 64 << 20;
const TRIES: u32 = 3;

/// A piece of a large file on its way to a hasher.
pub(super) struct Piece<'a> {
    file: Arc<Cutting<'a>>,
    number: usize,
    bytes: Vec<u8>,
}

/// A large file whose pieces are being hashed. Whoever drops it last completes the entry.
struct Cutting<'a> {
    slot: Mutex<Option<(Slot<'a>, Node)>>,
    ids: Mutex<Vec<Option<BlobId>>>,
    /// Pieces under way, and 1 for the reader.
    open: AtomicUsize,
}

/// What a reader thread keeps from file to file.
pub(super) struct Reader<'a, 's> {
    pub(super) input: &'a dyn Input,
    pub(super) sink: &'s Sink<'a>,
    pub(super) pieces: Sender<Piece<'a>>,
    pub(super) press: Press,
    pub(super) buffer: Vec<u8>,
    pub(super) progress: &'a Progress,
}

/// What became of one attempt at a file.
enum Read1<'a> {
    Small(BlobOrEmpty, u64),
    Large(Arc<Cutting<'a>>, u64),
}
type BlobOrEmpty = Option<BlobId>;

impl<'a> Reader<'a, '_> {
    /// Captures one file into its slot; what goes wrong is the slot's to tell.
    pub(super) fn file(&mut self, path: &Path, mut node: Node, slot: Slot<'a>) {
        let mut tries = 0;
        loop {
            tries += 1;
            if self.progress.is_stopped() || self.sink.is_lost() {
                return slot.leave_out();
            }
            match self.attempt(path, &mut node) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return slot.leave_out(),
                Err(error) => return slot.fail(path, &error.to_string()),
                Ok((read, steady)) => {
                    let size = match read {
                        Read1::Small(_, size) | Read1::Large(_, size) => size,
                    };
                    if !steady && tries < TRIES && size <= REREAD_MAX {
                        continue;
                    }
                    if !steady {
                        slot.note(path, "changed while it was read: what was stored may mix old and new");
                    }
                    self.progress.add(1, size);
                    return Self::hand_over(read, node, slot);
                }
            }
        }
    }

    fn hand_over(read: Read1<'a>, mut node: Node, slot: Slot<'a>) {
        match read {
            Read1::Small(blob, bytes) => {
                if let NodeKind::File { size, content, .. } = &mut node.kind {
                    *size = bytes;
                    *content = blob.into_iter().collect();
                }
                slot.fill(node);
            }
            Read1::Large(cutting, bytes) => {
                if let NodeKind::File { size, .. } = &mut node.kind {
                    *size = bytes;
                }
                *cutting.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((slot, node));
                cutting.close_one();
            }
        }
    }

    /// Makes the buffer as long as this, if it is shorter: who meets only small files pays only for those.
    fn room(&mut self, length: usize) {
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
    }

    fn attempt(&mut self, path: &Path, node: &mut Node) -> io::Result<(Read1<'a>, bool)> {
        self.input.describe(path, node)?;
        let mut content = self.input.open(path, node)?;
        // One byte more than the shortest piece: a file that ends within is small, whatever `stat` said.
        self.room(PIECE_MIN + 1);
        let mut filled = fill(&mut content, &mut self.buffer, 0, PIECE_MIN + 1)?;
        let (read, total) = if filled <= PIECE_MIN {
            let bytes = self.buffer.get(..filled).unwrap_or_default();
            let blob = (!bytes.is_empty()).then(|| self.sink.put(BlobKind::Data, bytes, &mut self.press));
            let total = filled as u64;
            (Read1::Small(blob, total), total)
        } else {
            self.room(PIECE_MAX * 2);
            let cutting = Arc::new(Cutting {
                slot: Mutex::new(None),
                ids: Mutex::default(),
                open: AtomicUsize::new(1),
            });
            let mut total = 0u64;
            let mut number = 0;
            loop {
                let length = self.buffer.len();
                filled = fill(&mut content, &mut self.buffer, filled, length)?;
                let at_end = filled < length;
                let available = self.buffer.get(..filled).unwrap_or_default();
                let mut start = 0;
                // The last piece is cut only when it is known to be the last, or long enough that more bytes don't move its end.
                while available.len() - start >= PIECE_MAX || at_end && start < available.len() {
                    let rest = available.get(start..).unwrap_or_default();
                    let cut = next_cut(rest);
                    let bytes = rest.get(..cut).unwrap_or_default().to_vec();
                    start += cut;
                    total += cut as u64;
                    cutting.open.fetch_add(1, AcqRel);
                    let piece = Piece { file: Arc::clone(&cutting), number, bytes };
                    number += 1;
                    if self.pieces.send(piece).is_err() || self.progress.is_stopped() || self.sink.is_lost() {
                        return Err(io::ErrorKind::Interrupted.into());
                    }
                }
                if at_end {
                    break;
                }
                self.buffer.copy_within(start..filled, 0);
                filled -= start;
            }
            (Read1::Large(cutting, total), total)
        };
        let steady = content.unchanged(total)?;
        Ok((read, steady))
    }
}

/// Reads until `buffer[..until]` is full or the content ends; returns how much is filled.
pub(super) fn fill(
    content: &mut dyn Read,
    buffer: &mut [u8],
    mut filled: usize,
    until: usize,
) -> io::Result<usize> {
    while filled < until {
        let room = buffer.get_mut(filled..until).unwrap_or_default();
        match content.read(room) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

pub(super) fn next_cut(bytes: &[u8]) -> usize {
    if bytes.len() <= PIECE_MIN {
        return bytes.len();
    }
    let mut cutter = fastcdc::v2020::FastCDC::new(bytes, PIECE_MIN, PIECE_AVERAGE, PIECE_MAX);
    cutter.next().map_or(bytes.len(), |chunk| chunk.length.clamp(1, bytes.len()))
}

impl Piece<'_> {
    /// Hashes and stores the piece, and completes the file if it was the last.
    pub(super) fn store(self, sink: &Sink<'_>, press: &mut Press) {
        let id = sink.put(BlobKind::Data, &self.bytes, press);
        {
            let mut ids = self.file.ids.lock().unwrap_or_else(PoisonError::into_inner);
            if ids.len() <= self.number {
                ids.resize(self.number + 1, None);
            }
            if let Some(place) = ids.get_mut(self.number) {
                *place = Some(id);
            }
        }
        self.file.close_one();
    }
}

impl Cutting<'_> {
    fn close_one(&self) {
        if self.open.fetch_sub(1, AcqRel) != 1 {
            return;
        }
        // Without a slot the attempt was given up, and its pieces are nobody's.
        let Some((slot, mut node)) = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let ids = std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner));
        if let NodeKind::File { content, .. } = &mut node.kind {
            *content = ids.into_iter().flatten().collect();
        }
        slot.fill(node);
    }
}
