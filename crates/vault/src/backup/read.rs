//! Reads files and cuts them into pieces.

use super::look::Look;
use super::slot::{Entry, Slot};
use crate::pool::Pool;
use crate::sink::{Press, Sink};
use crate::{BlobId, BlobKind, Content, Input, Node, NodeKind, Progress};
use crossbeam_channel::Sender;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel};
use std::sync::{Arc, Mutex, PoisonError};

/// restic's own sizes: shorter files are one piece, and a piece is a megabyte on average. The longest is 4 MiB and not 8: it
/// bounds the memory of the queue.
const PIECE_MIN: usize = 512 << 10;
const PIECE_AVERAGE: usize = 1 << 20;
pub(super) const PIECE_MAX: usize = 4 << 20;
const ZEROS: [u8; 4096] = [0; 4096];
/// A file that changes while it is read is read again, if that is cheap: up to this many bytes, this often.
const REREAD_MAX: u64 = 64 << 20;
const TRIES: u32 = 3;

/// A piece of a large file on its way to a hasher.
pub(super) struct Piece<'a> {
    pub(super) file: Arc<Cutting<'a>>,
    pub(super) number: usize,
    /// With what was read before and after it.
    pub(super) buffer: Arc<Vec<u8>>,
    pub(super) range: Range<usize>,
}

/// A large file whose pieces are being hashed. Whoever drops it last completes the entry.
pub(super) struct Cutting<'a> {
    slot: Mutex<Option<Destination<'a>>>,
    ids: Mutex<Vec<Option<BlobId>>>,
    /// What its pieces look like; `None` where nobody asks.
    look: Option<Mutex<Look>>,
    /// Pieces under way, and 1 for the reader.
    open: AtomicUsize,
}

/// Where a file belongs, and what it was in the point before.
struct Destination<'a> {
    slot: Slot<'a>,
    node: Node,
    entry: Entry,
}

/// What a reader thread keeps from file to file.
pub(super) struct Reader<'a, 's> {
    pub(super) input: &'a dyn Input,
    pub(super) sink: &'s Sink<'a>,
    pub(super) pieces: Sender<Piece<'a>>,
    pub(super) press: Press,
    /// The piece that holes are made of, once there was one.
    pub(super) zeros: Option<BlobId>,
    pub(super) buffer: Vec<u8>,
    /// For large files.
    pub(super) buffers: &'s Pool,
    pub(super) progress: &'a Progress,
    /// Contents are looked at: there is a point before.
    pub(super) looks: bool,
}

/// Whether what was read is one content.
enum Steady {
    Yes,
    /// It changed meanwhile.
    No,
    /// It can't be trusted, in the source's own words: a program failed in the middle, say. Another try would end the same way.
    Broken(String),
}

/// What became of one attempt at a file.
enum Read1<'a> {
    Small(BlobOrEmpty, u64),
    Large(Arc<Cutting<'a>>, u64),
}
type BlobOrEmpty = Option<BlobId>;

impl<'a> Reader<'a, '_> {
    /// Captures one file into its slot; what goes wrong is the slot's to tell.
    pub(super) fn file(&mut self, path: &Path, mut node: Node, slot: Slot<'a>, entry: Entry) {
        let mut tries = 0;
        loop {
            tries += 1;
            if self.progress.is_stopped() || self.sink.is_lost() {
                return slot.leave_out();
            }
            match self.attempt(path, &mut node) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return slot.vanish(&entry),
                Err(error) => return slot.fail(path, &error.to_string()),
                Ok((read, steady)) => {
                    let size = match read {
                        Read1::Small(_, size) | Read1::Large(_, size) => size,
                    };
                    match steady {
                        Steady::Yes => {}
                        Steady::No if tries < TRIES && size <= REREAD_MAX => continue,
                        Steady::No => {
                            slot.note(path, "changed while it was read: what was stored may mix old and new");
                        }
                        Steady::Broken(why) => slot.note(path, &why),
                    }
                    self.progress.add(1, size);
                    return self.hand_over(read, node, slot, entry);
                }
            }
        }
    }

    fn hand_over(&self, read: Read1<'a>, mut node: Node, slot: Slot<'a>, entry: Entry) {
        match read {
            Read1::Small(blob, bytes) => {
                if let NodeKind::File { size, content, .. } = &mut node.kind {
                    *size = bytes;
                    *content = blob.into_iter().collect();
                }
                // It is still there: what is small is read in one piece.
                let content = usize::try_from(bytes).ok().and_then(|bytes| self.buffer.get(..bytes));
                let look = content.filter(|_| self.looks).map(|content| Look::at(content, true));
                slot.complete(&entry, node, look);
            }
            Read1::Large(cutting, bytes) => cutting.hand_over(bytes, node, slot, entry),
        }
    }

    fn attempt(&mut self, path: &Path, node: &mut Node) -> io::Result<(Read1<'a>, Steady)> {
        self.input.describe(path, node)?;
        let mut content = self.input.open(path, node)?;
        // One byte more than the shortest piece: a file that ends within is small, whatever `stat` said.
        self.buffer.resize(PIECE_MIN + 1, 0);
        let filled = fill(&mut *content, &mut self.buffer, 0, PIECE_MIN + 1)?;
        let (read, total) = if filled <= PIECE_MIN {
            let bytes = self.buffer.get(..filled).unwrap_or_default();
            let blob = (!bytes.is_empty()).then(|| self.sink.put(BlobKind::Data, bytes, &mut self.press));
            let total = filled as u64;
            (Read1::Small(blob, total), total)
        } else {
            self.large(&mut *content, filled)?
        };
        // What can't be looked at any more is as good as changed, and says why; what was read of it is kept.
        let steady = match content.unchanged(total) {
            Ok(true) => Steady::Yes,
            Ok(false) => Steady::No,
            Err(error) => Steady::Broken(error.to_string()),
        };
        Ok((read, steady))
    }

    /// Sends a file on in pieces, of which the first bytes are in the reader's buffer.
    ///
    /// Hashers read the pieces where they were read to; only what is left behind the last cut is copied, into the next buffer.
    fn large(&mut self, content: &mut dyn Content, begun: usize) -> io::Result<(Read1<'a>, u64)> {
        let cutting = Cutting::begin(self.looks);
        let (mut total, mut number) = (0u64, 0);
        let mut filled = 0;
        let mut buffer = self.next_buffer(self.buffer.get(..begun).unwrap_or_default(), &mut filled);
        loop {
            // Bytes that are zeros are cut where they are longest, so of a hole all pieces are the same one.
            let pieces = whole_pieces(content.hole(), buffer.get(..filled).unwrap_or_default());
            if pieces > 0 {
                let bytes = pieces as u64 * PIECE_MAX as u64;
                content.skip(bytes - filled as u64)?;
                if self.zeros.is_none() {
                    buffer.fill(0);
                    self.zeros = Some(self.sink.put(BlobKind::Data, &buffer, &mut self.press));
                }
                cutting.known(number, self.zeros, pieces);
                (total, number, filled) = (total + bytes, number + pieces, 0);
                if self.progress.is_stopped() || self.sink.is_lost() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
            filled = fill(content, &mut buffer, filled, PIECE_MAX)?;
            let at_end = filled < PIECE_MAX;
            let full = Arc::new(buffer);
            let mut start = 0;
            while let Some(rest) = full.get(start..filled)
                && let Some(cut) = next_cut(rest, at_end)
            {
                let piece = cutting.piece(number, &full, start..start + cut);
                start += cut;
                total += cut as u64;
                number += 1;
                if self.pieces.send(piece).is_err() || self.progress.is_stopped() || self.sink.is_lost() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
            if at_end {
                give_back(self.buffers, full);
                return Ok((Read1::Large(cutting, total), total));
            }
            buffer = self.next_buffer(full.get(start..filled).unwrap_or_default(), &mut filled);
            give_back(self.buffers, full);
        }
    }

    /// Returns a buffer as long as the longest piece that begins with these bytes.
    fn next_buffer(&self, begin: &[u8], filled: &mut usize) -> Vec<u8> {
        let mut buffer = self.buffers.take();
        buffer.resize(PIECE_MAX, 0);
        if let Some(place) = buffer.get_mut(..begin.len()) {
            place.copy_from_slice(begin);
        }
        *filled = begin.len();
        buffer
    }
}

/// Returns how many of the longest pieces begin with these bytes, which were not cut yet, and end within the hole behind them.
fn whole_pieces(hole: u64, begun: &[u8]) -> usize {
    let pieces = hole.saturating_add(begun.len() as u64) / PIECE_MAX as u64;
    let all_zero = || begun.chunks(ZEROS.len()).all(|part| ZEROS.get(..part.len()) == Some(part));
    let pieces = usize::try_from(pieces).unwrap_or(usize::MAX);
    if hole > 0 && pieces > 0 && begun.len() < PIECE_MAX && all_zero() { pieces } else { 0 }
}

/// Keeps a buffer for the next, if this was the last who read in it.
fn give_back(buffers: &Pool, buffer: Arc<Vec<u8>>) {
    if let Some(buffer) = Arc::into_inner(buffer) {
        buffers.give(buffer);
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

/// Returns how long the next piece is; `None` if that depends on bytes that aren't there yet, or there are none any more.
pub(super) fn next_cut(bytes: &[u8], at_end: bool) -> Option<usize> {
    // Up to the average the cutter looks for another mark than beyond it: with fewer bytes it would not know which.
    if bytes.is_empty() || !at_end && bytes.len() < PIECE_AVERAGE {
        return None;
    }
    let mut cutter = fastcdc::v2020::FastCDC::new(bytes, PIECE_MIN, PIECE_AVERAGE, PIECE_MAX);
    let cut = cutter.next().map_or(bytes.len(), |chunk| chunk.length.clamp(1, bytes.len()));
    // A mark before the end of what is there stays where it is; the end itself is none.
    (at_end || cut < bytes.len() || cut >= PIECE_MAX).then_some(cut)
}

impl Piece<'_> {
    /// Hashes and stores the piece, and completes the file if it was the last.
    pub(super) fn store(self, sink: &Sink<'_>, press: &mut Press, buffers: &Pool) {
        let bytes = self.buffer.get(self.range).unwrap_or_default();
        let id = sink.put(BlobKind::Data, bytes, press);
        if let Some(look) = &self.file.look {
            let seen = Look::at(bytes, self.number == 0);
            look.lock().unwrap_or_else(PoisonError::into_inner).add(&seen);
        }
        give_back(buffers, self.buffer);
        self.file.known(self.number, Some(id), 1);
        self.file.close_one();
    }
}

impl<'a> Cutting<'a> {
    /// Returns one that is open until it is handed over.
    pub(super) fn begin(looks: bool) -> Arc<Self> {
        Arc::new(Self {
            slot: Mutex::new(None),
            ids: Mutex::default(),
            look: looks.then(Mutex::default),
            open: AtomicUsize::new(1),
        })
    }

    /// Returns a piece of it, which is to be stored.
    pub(super) fn piece(
        self: &Arc<Self>,
        number: usize,
        buffer: &Arc<Vec<u8>>,
        range: Range<usize>,
    ) -> Piece<'a> {
        self.open.fetch_add(1, AcqRel);
        Piece { file: Arc::clone(self), number, buffer: Arc::clone(buffer), range }
    }

    /// Notes which blob so many pieces are, from this number on.
    fn known(&self, number: usize, id: Option<BlobId>, pieces: usize) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() < number + pieces {
            ids.resize(number + pieces, None);
        }
        ids.iter_mut().skip(number).take(pieces).for_each(|place| *place = id);
    }

    /// Says where it belongs, when all pieces were cut.
    pub(super) fn hand_over(&self, bytes: u64, mut node: Node, slot: Slot<'a>, entry: Entry) {
        if let NodeKind::File { size, .. } = &mut node.kind {
            *size = bytes;
        }
        let destination = Destination { slot, node, entry };
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(destination);
        self.close_one();
    }

    fn close_one(&self) {
        if self.open.fetch_sub(1, AcqRel) != 1 {
            return;
        }
        // Without a slot the attempt was given up, and its pieces are nobody's.
        let destination = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Destination { slot, mut node, entry }) = destination else { return };
        let ids = std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner));
        let ids: Vec<BlobId> = ids.into_iter().flatten().collect();
        if let NodeKind::File { content, .. } = &mut node.kind {
            *content = ids;
        }
        let look = self.look.as_ref();
        let look = look.map(|look| std::mem::take(&mut *look.lock().unwrap_or_else(PoisonError::into_inner)));
        slot.complete(&entry, node, look);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts as a reader does whose buffer is filled by so much at a time.
    fn cuts(content: &[u8], step: usize) -> Vec<usize> {
        let (mut start, mut filled, mut cuts) = (0, 0, Vec::new());
        loop {
            filled = content.len().min(filled + step);
            while let Some(cut) = next_cut(&content[start..filled], filled == content.len()) {
                start += cut;
                cuts.push(cut);
            }
            if filled == content.len() {
                return cuts;
            }
        }
    }

    #[test]
    fn pieces_end_where_they_would_if_all_of_the_file_were_there() {
        let mut state = 1u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        // Noise has marks; where there are none a piece is as long as it may be.
        let mut content: Vec<u8> = noise.take(24 << 20).collect();
        content[9 << 20..20 << 20].fill(0);
        let whole: Vec<usize> = fastcdc::v2020::FastCDC::new(&content, PIECE_MIN, PIECE_AVERAGE, PIECE_MAX)
            .map(|chunk| chunk.length)
            .collect();
        assert!(whole.len() > 8 && whole.contains(&PIECE_MAX), "{whole:?}");
        for step in [content.len(), 8 << 20, 4 << 20, 1 << 20, 77_777] {
            assert_eq!(cuts(&content, step), whole, "{step} at a time");
        }
    }
}
