//! Carries blobs from the sources to the target: reads stretches of packs, several at once, opens and checks every blob, and hands it
//! on as it is stored.

use super::interrupted;
use super::walk::Missing;
use crate::mutex::lock;
use crate::packer::PackWriter;
use crate::repository::Opener;
use crate::set::{Tried, VaultSet};
use crate::sink::Press;
use crate::stretch::{self, stretches};
use crate::{BlobId, BlobKind, Error, Progress, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Mutex;

/// What is sorted into stretches at a time: so much that a pack is seldom read twice, so little that memory stays small.
const BATCH_BYTES: u64 = 64 << 20;
const BATCH_BLOBS: usize = 4096;
/// What all stretches that are being read take together.
const STRETCHES: u64 = 64 << 20;
/// The longest stretch: more at a time makes nothing faster.
const STRETCH_MAX: u64 = 4 << 20;

type Want = stretch::Want<()>;
type Stretch = stretch::Stretch<()>;

/// What a worker takes at a time.
enum Work {
    Read(BlobKind, Stretch),
    /// Blobs that no index names.
    Seek(BlobKind, Vec<Want>),
}

/// Brings all that is missing into `writer`. The first blob that no source has sound ends it.
pub(super) fn carry(
    set: &VaultSet,
    writer: &PackWriter,
    missing: &Missing,
    progress: &Progress,
) -> Result<()> {
    let lanes = set.lanes();
    let most = (STRETCHES / lanes as u64).clamp(256 << 10, STRETCH_MAX);
    let carrying = Carrying { set, writer, progress, most, failure: Mutex::default() };
    std::thread::scope(|scope| {
        let (send, work) = bounded(lanes * 2);
        for _ in 0..lanes {
            let (work, carrying) = (work.clone(), &carrying);
            scope.spawn(move || {
                Worker { carrying, opener: Opener::default(), press: Press::new() }.all(&work);
            });
        }
        drop(work);
        carrying.feed(BlobKind::Data, &missing.data, &send);
        carrying.feed(BlobKind::Tree, &missing.trees, &send);
    });
    if let Some(error) = lock(&carrying.failure).take() {
        return Err(error);
    }
    // Who was asked to stop has left things out: no snapshot may follow.
    if progress.is_stopped() { Err(interrupted()) } else { Ok(()) }
}

struct Carrying<'a> {
    set: &'a VaultSet,
    writer: &'a PackWriter,
    progress: &'a Progress,
    /// Bytes of a stretch.
    most: u64,
    failure: Mutex<Option<Error>>,
}

impl Carrying<'_> {
    fn feed(&self, kind: BlobKind, blobs: &[(BlobId, u64)], work: &Sender<Work>) {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for (id, length) in blobs {
            batch.push(Want { id: *id, length: *length, tried: Tried::default(), targets: () });
            bytes += length;
            if bytes >= BATCH_BYTES || batch.len() >= BATCH_BLOBS {
                bytes = 0;
                self.send(kind, std::mem::take(&mut batch), work);
            }
            if self.is_over() {
                return;
            }
        }
        self.send(kind, batch, work);
    }

    fn send(&self, kind: BlobKind, batch: Vec<Want>, work: &Sender<Work>) {
        let (stretches, homeless) = stretches(self.set, kind, batch, self.most);
        // The workers live as long as this end of the channel.
        stretches.into_iter().for_each(|stretch| _ = work.send(Work::Read(kind, stretch)));
        if !homeless.is_empty() {
            let _ = work.send(Work::Seek(kind, homeless));
        }
    }

    /// Returns whether going on is in vain.
    fn is_over(&self) -> bool {
        self.progress.is_stopped() || self.writer.has_failed() || lock(&self.failure).is_some()
    }
}

struct Worker<'a> {
    carrying: &'a Carrying<'a>,
    opener: Opener,
    press: Press,
}

impl Worker<'_> {
    fn all(&mut self, work: &Receiver<Work>) {
        for work in work {
            // What is over only empties the queue.
            if self.carrying.is_over() {
                continue;
            }
            match work {
                Work::Read(kind, stretch) => self.stretch(kind, stretch),
                Work::Seek(kind, wants) => self.seek(kind, &wants),
            }
        }
    }

    /// Reads a stretch and hands on what is sound in it; the rest is read from elsewhere.
    fn stretch(&mut self, kind: BlobKind, stretch: Stretch) {
        let Carrying { set, writer, progress, .. } = *self.carrying;
        let bad = stretch.read(set, |repository, sealed, uncompressed, want| {
            match repository.open_stored(sealed, uncompressed, &want.id, &mut self.opener) {
                Ok(plain) if !repository.compresses() => {
                    hand_on_plain(self.carrying, &mut self.press, kind, &want, plain);
                }
                Ok(stored) => {
                    if writer.claim(kind, &want.id) {
                        writer.add(kind, want.id, stored, uncompressed);
                    }
                    progress.add(0, want.length);
                }
                Err(what) => return Err((want, what)),
            }
            Ok(())
        });
        if bad.is_empty() || self.carrying.is_over() {
            return;
        }
        let (stretches, homeless) = stretches(set, kind, bad, self.carrying.most);
        stretches.into_iter().for_each(|stretch| self.stretch(kind, stretch));
        self.seek(kind, &homeless);
    }

    /// Looks for each blob on its own, everywhere.
    fn seek(&mut self, kind: BlobKind, wants: &[Want]) {
        for want in wants {
            if self.carrying.is_over() {
                return;
            }
            match self.carrying.set.blob(kind, &want.id) {
                Ok(plain) => hand_on_plain(self.carrying, &mut self.press, kind, want, &plain),
                Err(error) => {
                    lock(&self.carrying.failure).get_or_insert(error);
                }
            }
        }
    }
}

/// Hands on what lies in no vault as it is to be stored.
fn hand_on_plain(carrying: &Carrying<'_>, press: &mut Press, kind: BlobKind, want: &Want, plain: &[u8]) {
    if carrying.writer.claim(kind, &want.id) {
        let (stored, uncompressed) = press.press(kind, plain);
        carrying.writer.add(kind, want.id, stored, uncompressed);
    }
    carrying.progress.add(0, want.length);
}
