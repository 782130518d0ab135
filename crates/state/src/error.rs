//! What can go wrong with the state: where, what, and the way out.

use std::path::Path;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error: the place it happened at, and its kind.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {kind}")]
pub struct Error {
    /// What was being done to what: `open /var/lib/releve/state.db`.
    pub place: String,
    /// What went wrong.
    pub kind: Kind,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Kind {
    /// What is stored is not what was written, or not a state at all.
    #[error("damaged: {0} (way out: `releve state rebuild` moves it aside and starts anew from the vaults)")]
    Corrupt(String),
    /// A newer Relève has written here.
    #[error("written by a newer Relève (layout {found}, this one knows {known}): update this program")]
    Newer {
        /// The layout that was found.
        found: i64,
        /// The newest layout that this version reads.
        known: i64,
    },
    /// Permissions or a read-only file system.
    #[error("refused: {0}")]
    Refused(String),
    /// No room left on the file system of this folder, or in somebody's share of it. Nothing of what was written before is lost.
    #[error("the disk of {0} is full: make room")]
    Full(String),
    /// Another process kept it locked for longer than we wait.
    #[error("busy: another process holds it for too long")]
    Busy,
    /// It cannot be moved aside while a process works on it.
    #[error("in use by another releve process: stop it (`systemctl stop releve-agent`) and try again")]
    InUse,
    /// The watcher was away for so long that deletions may be missing: list anew, then watch from there.
    #[error("changes since revision {0} are no longer all known: list anew")]
    Compacted(u64),
    /// The lease is no longer ours: it expired, or another holder has it.
    #[error("the lease is lost: it expired or another holder has it")]
    LeaseLost,
    /// A key or value that the store does not take.
    #[error("not storable: {0}")]
    Unstorable(String),
    /// A vault's name stands for another repository than before.
    #[error(
        "vault {vault} was repository {before} and now shows {now}: if that is meant, `releve state forget-vault {vault}`"
    )]
    OtherVault {
        /// The vault's name in the plan.
        vault: String,
        /// The repository that was seen under this name.
        before: String,
        /// The repository that stands there now.
        now: String,
    },
    /// Anything else that the machine said.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// Returns an error of `kind` at `place`.
    pub fn new(place: impl Into<String>, kind: Kind) -> Self {
        Self { place: place.into(), kind }
    }

    /// Returns an error that says `what` is damaged at `place`.
    pub fn corrupt(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(place, Kind::Corrupt(what.into()))
    }

    /// Returns whether the same call may succeed later without anyone changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, Kind::Busy)
    }

    /// Returns whether a rebuild from the vaults is the way out.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        matches!(self.kind, Kind::Corrupt(_))
    }

    /// Returns whether there is no room, and nothing else is wrong.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.kind, Kind::Full(_))
    }

    /// Returns an error of something in the folder of the state.
    pub(crate) fn io(place: impl Into<String>, folder: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let kind = match error.kind() {
            K::StorageFull | K::QuotaExceeded => Kind::Full(folder.display().to_string()),
            K::PermissionDenied | K::ReadOnlyFilesystem => Kind::Refused(error.to_string()),
            _ => Kind::Other(error.to_string()),
        };
        Self::new(place, kind)
    }
}
