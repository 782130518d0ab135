//! Stores that keep the versions of their files and can hold them against deletion: S3 with versions and Object Lock, and folders whose files
//! carry the immutable flag, which is less.

use super::FileKind;
use crate::Result;
use jiff::{SignedDuration, Timestamp};

/// One version of a file, or the mark that hides the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The file's name.
    pub name: String,
    /// What the store calls this version.
    pub id: String,
    /// Its length in bytes; 0 for a mark.
    pub size: u64,
    /// When the store took it, on the store's clock.
    pub written: Timestamp,
    /// It holds nothing: it only hides what is below it.
    pub is_mark: bool,
    /// It is what a plain read finds, or finds missing.
    pub is_current: bool,
}

/// What came of the attempt to delete something that was written as held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Canary {
    /// The store refused, and the file is still there.
    Held,
    /// The kernel refused, and the file is still there; root of this machine could take the flag off that it carries.
    Guarded,
    /// Nothing would have kept an intruder from it, or nothing shows that it would: why.
    Lost(String),
}

/// What a store offers beyond [`Store`](super::Store) when it keeps versions. All calls follow its contract: they retry what is worth it,
/// and a listing is complete or an error.
///
/// *Held* means that nobody can delete the version before its time, the store's owner included. A mode that someone may bypass
/// does not count as held. A folder can only guard its files: its canary is [`Canary::Guarded`] at best.
pub trait Versions: Send + Sync {
    /// Returns for how long what is written is held; `None` if nothing is.
    fn period(&self) -> Option<SignedDuration>;

    /// Returns all versions of the files of a kind by name, and within one the oldest content first. Marks are among them, in no
    /// order.
    fn versions(&self, kind: FileKind) -> Result<Vec<Version>>;

    /// Returns the content of a version.
    fn read_version(&self, kind: FileKind, version: &Version) -> Result<Vec<u8>>;

    /// Returns until when a version is held; `None` if it isn't, and [`Timestamp::MAX`] if the hold has no end of its own.
    fn held_until(&self, kind: FileKind, version: &Version) -> Result<Option<Timestamp>>;

    /// Holds a version until then. The store itself refuses to make it shorter.
    fn hold(&self, kind: FileKind, version: &Version, until: Timestamp) -> Result<()>;

    /// Takes away a mark, so that what is below it is seen again. Never called for a version that has content.
    fn unhide(&self, kind: FileKind, mark: &Version) -> Result<()>;

    /// Makes a copy of a version the current one. What was current before stays as a version.
    fn bring_back(&self, kind: FileKind, version: &Version) -> Result<()>;

    /// Frees a version that is out of sight, if its hold is over by then; returns whether it did. S3 does so by itself.
    fn free(&self, _kind: FileKind, _version: &Version, _now: Timestamp) -> Result<bool> {
        Ok(false)
    }

    /// Writes a small file as held, and then tries all that an intruder with these credentials could to be rid of it.
    fn try_canary(&self) -> Result<Canary>;
}
