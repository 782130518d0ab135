//! Reads the trees of a point, many in one go: each is small, and a distant vault takes its time for every answer.

use crate::repository::Opener;
use crate::set::{Tried, VaultSet};
use crate::{BlobId, BlobKind, Node, Result, format};
use std::collections::VecDeque;
use std::ops::Range;

/// What is kept of what was read, in bytes as they lie in the packs: some 40,000 small folders.
const KEPT_MAX: usize = 24 << 20;

/// An entry of a directory, or why it makes no sense.
type Entry = Result<Node, String>;

pub(crate) struct Trees<'a> {
    set: &'a VaultSet,
    kept: VecDeque<Stretch>,
    opener: Opener,
}

struct Stretch {
    member: usize,
    pack: u32,
    range: Range<u64>,
    bytes: Vec<u8>,
}

impl<'a> Trees<'a> {
    pub(crate) fn new(set: &'a VaultSet) -> Self {
        Self { set, kept: VecDeque::new(), opener: Opener::default() }
    }

    pub(crate) fn set(&self) -> &'a VaultSet {
        self.set
    }

    /// Returns the entries of a directory, from whichever vault has them sound.
    pub(crate) fn read(&mut self, id: &BlobId) -> Result<Vec<Entry>> {
        // If that doesn't help, everything else that can be tried, and the reason if nothing does.
        self.quickly(id).map_or_else(|| self.set.entries(id), Ok)
    }

    fn quickly(&mut self, id: &BlobId) -> Option<Vec<Entry>> {
        let ranking = self.set.ranking();
        let (member, place) = self.set.place(&ranking, BlobKind::Tree, id, Tried::default())?;
        let own = place.range();
        let holds = |kept: &Stretch| {
            (kept.member, kept.pack) == (member, place.pack)
                && kept.range.start <= own.start
                && own.end <= kept.range.end
        };
        if !self.kept.iter().any(holds) {
            let range = self.set.around_tree(member, &place);
            let others = ranking.len() > 1;
            let bytes = match self.set.read(member, place.pack, range.clone(), others) {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.set.blame(member, || error.to_string());
                    return None;
                }
            };
            let mut held: usize = self.kept.iter().map(|kept| kept.bytes.len()).sum();
            while held + bytes.len() > KEPT_MAX
                && let Some(oldest) = self.kept.pop_front()
            {
                held -= oldest.bytes.len();
            }
            self.kept.push_back(Stretch { member, pack: place.pack, range, bytes });
        }
        let kept = self.kept.iter().rev().find(|kept| holds(kept))?;
        let start = usize::try_from(own.start - kept.range.start).ok()?;
        // Opening works in place, and the stretch is looked at again for other trees.
        let mut sealed = kept.bytes.get(start..start + place.length as usize)?.to_vec();
        let repository = self.set.repository(member)?;
        match repository.open_blob(&mut sealed, place.uncompressed, id, &mut self.opener) {
            Ok(json) => format::tree::read_each(json).ok(),
            Err(what) => {
                self.set.blame(member, || format!("tree {} in {}: {what}", id.short(), repository.address()));
                None
            }
        }
    }
}
