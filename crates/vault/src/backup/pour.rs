//! Takes what comes by itself: cuts each file as it comes, and keeps what it was cut into until the walker meets it.

use super::read::{Cutting, PIECE_MAX, Piece, next_cut};
use super::slot::{Entry, Slot};
use super::walk::Shared;
use crate::{Node, Vessel};
use crossbeam_channel::Sender;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files that came by themselves.
#[derive(Default)]
pub(super) struct Poured<'a>(HashMap<PathBuf, Whole<'a>>);

struct Whole<'a> {
    cutting: Arc<Cutting<'a>>,
    bytes: u64,
}

impl<'a> Poured<'a> {
    /// Takes all that the input hands over.
    pub(super) fn take_all(shared: &'a Shared<'a>, pieces: Sender<Piece<'a>>) -> io::Result<Self> {
        let mut pouring = Pouring { shared, pieces, coming: HashMap::new(), poured: Self::default() };
        shared.input.pour(&mut pouring)?;
        match pouring.coming.keys().next() {
            None => Ok(pouring.poured),
            Some(path) => Err(io::Error::other(format!("{} did not come whole", path.display()))),
        }
    }

    /// Puts a file that came by itself into its place.
    pub(super) fn place(&mut self, path: &Path, node: Node, slot: Slot<'a>, entry: Entry) {
        match self.0.remove(path) {
            Some(whole) => whole.cutting.hand_over(whole.bytes, node, slot, entry),
            None => slot.vanish(&entry),
        }
    }

    /// Returns whether nothing came by itself.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether it came by itself.
    pub(super) fn holds(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
}

/// Files that are coming.
struct Pouring<'a> {
    shared: &'a Shared<'a>,
    pieces: Sender<Piece<'a>>,
    coming: HashMap<PathBuf, Coming<'a>>,
    poured: Poured<'a>,
}

struct Coming<'a> {
    cutting: Arc<Cutting<'a>>,
    number: usize,
    bytes: u64,
    /// What wasn't cut yet.
    rest: Vec<u8>,
}

impl<'a> Coming<'a> {
    fn begin(looks: bool) -> Self {
        Self { cutting: Cutting::begin(looks), number: 0, bytes: 0, rest: Vec::new() }
    }

    fn cut(&mut self, pieces: &Sender<Piece<'a>>, at_end: bool) -> io::Result<()> {
        let full = Arc::new(std::mem::take(&mut self.rest));
        let mut start = 0;
        while let Some(rest) = full.get(start..)
            && let Some(cut) = next_cut(rest, at_end)
        {
            let piece = self.cutting.piece(self.number, &full, start..start + cut);
            pieces.send(piece).map_err(|_| io::Error::from(io::ErrorKind::Interrupted))?;
            (start, self.number) = (start + cut, self.number + 1);
        }
        self.rest = full.get(start..).unwrap_or_default().to_vec();
        Ok(())
    }
}

impl Vessel for Pouring<'_> {
    fn add(&mut self, path: &Path, mut bytes: &[u8]) -> io::Result<()> {
        if self.shared.progress.is_stopped() || self.shared.sink.is_lost() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if !self.coming.contains_key(path) {
            self.coming.insert(path.to_owned(), Coming::begin(self.shared.looks));
        }
        let Some(coming) = self.coming.get_mut(path) else { return Ok(()) };
        self.shared.progress.add(0, bytes.len() as u64);
        coming.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = PIECE_MAX.saturating_sub(coming.rest.len()).max(1).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            coming.rest.extend_from_slice(now);
            bytes = later;
            if coming.rest.len() >= PIECE_MAX {
                coming.cut(&self.pieces, false)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, path: &Path) -> io::Result<()> {
        let mut coming = self.coming.remove(path).unwrap_or_else(|| Coming::begin(self.shared.looks));
        coming.cut(&self.pieces, true)?;
        self.shared.progress.add(1, 0);
        let whole = Whole { cutting: coming.cutting, bytes: coming.bytes };
        self.poured.0.insert(path.to_owned(), whole);
        Ok(())
    }
}
