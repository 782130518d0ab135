//! Asks an archive to bring back what a point needs. That takes hours, so nobody waits here: asked again later, it says what is still on its way.

use crate::reach::reach;
use crate::store::Thaw;
use crate::{BlobId, BlobKind, FileId, FileKind, Kind, Progress, Repository, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What became of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThawReport {
    /// Packs that were asked for just now.
    pub asked: u64,
    /// Packs that were asked for before and are on their way.
    pub under_way: u64,
    /// Packs that can be read.
    pub there: u64,
    /// Folders can't be read yet: what is in them is asked for when they can.
    pub more_to_follow: bool,
    /// What the store refuses.
    pub findings: Vec<String>,
}

impl ThawReport {
    /// Returns whether something has to be waited for.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.asked + self.under_way > 0 || self.more_to_follow
    }
}

/// Asks for all packs that the tree of a point needs, to be readable for so many days. The index is loaded. [`Kind::Unsupported`] for a store that has no
/// archive.
pub fn thaw(vault: &Arc<Repository>, tree: BlobId, days: u32, progress: &Progress) -> Result<ThawReport> {
    progress.set_phase("looking at the folders");
    let lanes = vault.store().lanes();
    let (needed, unread) = reach(lanes, [tree], |id| vault.known_tree(id), progress)?;
    let frozen: Vec<BlobId> = unread
        .iter()
        .filter_map(|(id, error)| matches!(error.kind, Kind::Archived(_)).then_some(*id))
        .collect();
    let packs: BTreeSet<FileId> = {
        let catalogue = vault.catalogue();
        let first = |(kind, id): (BlobKind, BlobId)| catalogue.pack(catalogue.places(kind, &id).next()?.pack);
        needed.iter().filter_map(first).collect()
    };
    progress.set_phase("asking the archive");
    progress.expect(packs.len() as u64, 0);
    let packs: Vec<FileId> = packs.into_iter().collect();
    let asked = vault.for_each(&packs, |pack| {
        progress.add(1, 0);
        vault.store().thaw(FileKind::Pack, &pack.to_string(), days)
    });
    let mut report = ThawReport { more_to_follow: !frozen.is_empty(), ..ThawReport::default() };
    for answer in asked {
        match answer {
            Ok(Thaw::Asked) => report.asked += 1,
            Ok(Thaw::UnderWay) => report.under_way += 1,
            Ok(Thaw::There) => report.there += 1,
            Err(error) if error.is_retryable() || matches!(error.kind, Kind::Unsupported(_)) => {
                return Err(error);
            }
            Err(error) => report.findings.push(error.to_string()),
        }
    }
    Ok(report)
}
