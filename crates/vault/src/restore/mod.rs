//! Puts a restore point back: all of it that can be had, nothing outside its target, and an honest account of both.
//!
//! ```text
//! walk the trees, parents before children     make or keep each directory, by handle, never through a link
//!   file: equal in size and time?  keep       else read blobs, write beside, set everything, rename over the name
//! then hard links, then the directories' own times and modes, deepest first; then sync
//! ```
//!
//! A blob is asked of each vault in turn until one gives it sound. What none has is named, range by range, and the
//! file is written as `NAME.releve-damaged`. Nothing here stops at the first error.
//!
//! Names from a vault are hostile until looked at. Every step down goes through a directory handle and follows no link,
//! so a link that someone plants in the target is an obstacle, and never a way out.
//!
//! What it doesn't do: remove what is not in the point; make sockets, which serve nobody without their process.

#[cfg(test)]
mod tests;
mod walk;
mod write;

use crate::set::VaultSet;
use crate::{BlobId, Progress, Repository, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// How many of each kind of trouble a report names; all are counted.
const NAMED_MAX: usize = 1000;

/// What to restore, and where to.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The folder below which the point is put: `/srv/shop/a` comes back as `TARGET/srv/shop/a`. Made if it isn't there.
    pub target: PathBuf,
    /// Only these and what is below them; everything where empty. With or without a leading slash.
    pub only: Vec<PathBuf>,
    /// What was captured. A directory above these that exists already keeps its own mode, owner and times.
    pub roots: Vec<PathBuf>,
    /// Compare the content of files that look unchanged, instead of trusting their size and time.
    pub compare: bool,
}

/// What a restore did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Entries that were written: everything but directories.
    pub restored: u64,
    /// Bytes of content that were written.
    pub bytes: u64,
    /// Entries that were there already, as they should be.
    pub unchanged: u64,
    /// Files of which parts are in no vault.
    pub damaged: Vec<Damaged>,
    /// Entries that could not be written at all.
    pub skipped: Vec<Trouble>,
    /// Attributes that could not be set.
    pub not_set: Vec<Trouble>,
    /// How many there are of the three, named or not.
    pub damaged_count: u64,
    /// See `damaged_count`.
    pub skipped_count: u64,
    /// See `damaged_count`.
    pub not_set_count: u64,
    /// For each vault, by address, the first thing that was wrong with it: it wants a repair.
    pub vault_faults: BTreeMap<String, String>,
}

/// A file of which parts are in no vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Where it was written: `NAME.releve-damaged`.
    pub path: PathBuf,
    /// The bytes that are missing; zeros stand for them.
    pub missing: Vec<Range<u64>>,
}

/// Something that did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// With what.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

impl RestoreReport {
    /// Returns whether everything came back. Attributes that could not be set count as missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damaged_count == 0 && self.skipped_count == 0 && self.not_set_count == 0
    }

    /// Adds another report to this one.
    pub fn merge(&mut self, other: Self) {
        self.restored += other.restored;
        self.bytes += other.bytes;
        self.unchanged += other.unchanged;
        self.damaged_count += other.damaged_count;
        self.skipped_count += other.skipped_count;
        self.not_set_count += other.not_set_count;
        self.damaged.extend(other.damaged);
        self.skipped.extend(other.skipped);
        self.not_set.extend(other.not_set);
        self.vault_faults.extend(other.vault_faults);
    }
}

/// Restores the point with this root. `vaults` are asked in this order; their indexes are loaded. An error means that nothing could
/// be begun (the target can't be made, the root is in no vault) or that it was interrupted; everything else is in the report.
pub fn restore(
    vaults: &[Arc<Repository>],
    tree: BlobId,
    options: &RestoreOptions,
    progress: &Progress,
) -> Result<RestoreReport> {
    walk::restore(VaultSet::new(vaults), tree, options, progress)
}
