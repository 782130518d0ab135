//! Puts a restore point back: all of it that can be had, nothing outside its target, and an honest account of both.
//!
//! ```text
//! walker: trees, parents before children ──what is there already is looked at──▶ batches: blobs, by pack, in stretches
//! workers: read a stretch, open and check each blob, write it to every file that wants it
//! whoever writes the last piece of a file sets its attributes and renames it; who leaves a folder last sets the folder's
//! then the disk is waited for
//! ```
//!
//! A blob is asked of the vault that is expected to answer first, then of each other. What none has is named, range by range, and the
//! file is written as `NAME.releve-damaged`. Nothing here stops at the first error.
//!
//! Names from a vault are hostile until looked at. Every step down goes through a directory handle and follows no link,
//! so a link that someone plants in the target is an obstacle, and never a way out. Only above what was captured a link that leads to a folder
//! is walked through (`through.rs`): what lies there belongs to the machine.
//!
//! What the target can't do (links beyond its limit, times before its first) is done in a lesser way, and told.
//!
//! Memory: stretches on their way ([`RestoreOptions::memory`]), the trees read around the one in hand, one batch of names, and the
//! entries of one directory at a time; the vaults' indexes come on top.
//!
//! What it doesn't do: remove what is not in the point, unless shown first ([`extras`]); make sockets, which serve nobody without
//! their process.

mod attributes;
mod batch;
mod beside;
mod clock;
mod company;
mod examine;
mod extras;
mod file;
mod folder;
mod folding;
mod held;
mod links;
mod mark;
mod replaced;
mod report;
#[cfg(test)]
mod tests;
mod through;
mod walk;
mod work;

pub use beside::{Neighbours, There, beside};
pub use company::{Company, company};
pub use extras::{Extras, extras};
pub use held::{Gives, Held, Right, Rights, Withholds, held, md5};
pub use replaced::{NOTHING_BELOW, Overwritten, overwritten, replaced};
pub use report::{Damaged, RestoreReport, Trouble};

use crate::set::VaultSet;
use crate::{BlobId, Progress, Repository, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How much memory the stretches on their way may take, unless said otherwise: 256 MiB in all, with what else there is.
pub const MEMORY: u64 = 256 << 20;

/// What to restore, and where to.
#[derive(Clone)]
pub struct RestoreOptions {
    /// The folder below which the point is put: `/srv/shop/a` comes back as `TARGET/srv/shop/a`. Made if it isn't there.
    pub target: PathBuf,
    /// Only these and what is below them; everything where empty. With or without a leading slash.
    pub only: Vec<PathBuf>,
    /// What was captured. A directory above these that exists already keeps its own mode, owner and times.
    pub roots: Vec<PathBuf>,
    /// Places below the target, relative to it, that nobody looks at: what is mounted there doesn't answer. What the point has there is told as skipped.
    pub silent: Vec<PathBuf>,
    /// Of what was captured, what somebody else puts back, and all that is below it: neither looked at nor restored. With or without a leading slash.
    pub without: Vec<PathBuf>,
    /// Compare the content of files that look unchanged, instead of trusting their size and time.
    pub verify: bool,
    /// What of it: for a service that starts before its archives are back.
    pub part: Part,
    /// Owners by their names on this machine, where it knows them; by number where `None`.
    pub names: Option<Arc<dyn Names>>,
    /// Restore files without setuid and setgid, and say so.
    pub no_setuid: bool,
    /// Make no devices, and say so.
    pub no_devices: bool,
    /// What of all that gives rights comes back without them, or not at all, and is named; nothing where `None`.
    pub withholds: Option<Withholds>,
    /// Bytes of memory that the restore may take, the vaults' indexes not counted.
    pub memory: u64,
    /// How long a read may take before the next vault is asked.
    pub patience: Duration,
}

/// Says of a path, absolute as it was captured, whether it is needed first.
pub type IsFirst = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// A part of a point.
#[derive(Clone, Default)]
pub enum Part {
    /// Everything.
    #[default]
    All,
    /// What this says yes to, and all that is below it.
    First(IsFirst),
    /// Everything else. What came first is not looked at again: whoever uses it may have changed it since.
    Rest(IsFirst),
}

/// Looks up owners by name, as this machine knows them.
pub trait Names: Send + Sync {
    /// Returns the number of a user.
    fn uid(&self, user: &str) -> Option<u32>;
    /// Returns the number of a group.
    fn gid(&self, group: &str) -> Option<u32>;
}

impl RestoreOptions {
    /// Returns the options that restore everything into `target`, as it was.
    #[must_use]
    pub fn new(target: impl Into<PathBuf>) -> Self {
        Self {
            target: target.into(),
            only: Vec::new(),
            roots: Vec::new(),
            silent: Vec::new(),
            without: Vec::new(),
            verify: false,
            part: Part::All,
            names: None,
            no_setuid: false,
            no_devices: false,
            withholds: None,
            memory: MEMORY,
            patience: crate::set::PATIENCE,
        }
    }
}

/// What is said of a place that nobody looks at.
pub(crate) const SILENT: &str = "what is mounted here doesn't answer: nothing was looked at or restored here";

impl fmt::Debug for RestoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoreOptions").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Restores the point with this root. `vaults` need not all hold its snapshot: whichever has a blob may give it; their
/// indexes are loaded. An error means that nothing could be begun (the target can't be made, the root is in no vault) or that
/// it was interrupted; everything else is in the report.
pub fn restore(
    vaults: &[Arc<Repository>],
    tree: BlobId,
    options: &RestoreOptions,
    progress: &Progress,
) -> Result<RestoreReport> {
    work::restore(VaultSet::new(vaults, options.patience), tree, options, progress)
}
