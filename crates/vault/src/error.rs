//! What can go wrong with a vault: where, and what. Whether a second attempt makes sense is decided here,
//! where the error is born, and never guessed from a text.

use std::fmt;
use std::io;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error: the place it happened at, and its kind.
#[derive(Debug)]
pub struct Error {
    /// What was being done to what, without secrets: `write data/ab12… in s3://bucket`.
    pub place: String,
    /// What went wrong.
    pub kind: Kind,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Kind {
    /// The file isn't there. Only for a file whose absence was *observed*, never for a store that was out of reach.
    #[error("not found")]
    NotFound,
    /// The folder or bucket holds no repository.
    #[error("no repository here")]
    NoRepository,
    /// There is a repository already.
    #[error("there is a repository here already")]
    AlreadyExists,
    /// No key file opens with this password.
    #[error("wrong password: none of the {keys} keys opens with it")]
    WrongPassword {
        /// How many keys were tried.
        keys: usize,
    },
    /// No key file opens with this password, and some can't be read any more: one of them may have been the one.
    #[error("{damaged} of its {keys} key files are damaged, and no other opens with this password")]
    KeysDamaged {
        /// How many can't be read, or don't say what they said.
        damaged: usize,
        /// How many there are.
        keys: usize,
    },
    /// No key file that was tried opens with this password, and there are more than anybody tries.
    #[error(
        "none of the {tried} keys that were tried opens with this password; {junk} other files in its folder `keys` are no keys, or damaged ones, and {left} more there \
         are not tried: no vault has so many, or such dear ones, so somebody has put them there"
    )]
    KeysLeft {
        /// How many were tried.
        tried: usize,
        /// How many files that were read are no keys.
        junk: usize,
        /// How many were not tried.
        left: usize,
    },
    /// The master key is not the one of this repository.
    #[error("this master key does not open it: it is another repository's")]
    WrongMasterKey,
    /// A key is not added or not removed: the reason.
    #[error("{0}")]
    KeyRefused(String),
    /// The store refuses: permissions, credentials, a read-only file system.
    #[error("refused: {0}")]
    Refused(String),
    /// No room left on the store.
    #[error("no space left")]
    Full,
    /// The store can't be reached, or stopped answering: try later.
    #[error("out of reach: {0}")]
    Unreachable(String),
    /// What was read isn't what was written.
    #[error("damaged: {0}")]
    Damaged(String),
    /// It lies in an archive, from where somebody has to bring it back before it can be read.
    #[error("archived: {0}")]
    Archived(String),
    /// Someone else holds a lock that excludes us.
    #[error("locked by {0}")]
    Locked(String),
    /// The lock that we held was taken away: others did not wait for us.
    #[error("somebody has removed the lock of this run: what it wrote may be gone; run it again")]
    LockLost,
    /// The repository needs something that this version does not have.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The address of the vault makes no sense.
    #[error("bad address: {0}")]
    BadAddress(String),
    /// The operation was asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Anything else that the machine said.
    #[error("{0}")]
    Io(io::Error),
}

impl Error {
    /// Returns an error of `kind` at `place`.
    pub fn new(place: impl Into<String>, kind: Kind) -> Self {
        Self { place: place.into(), kind }
    }

    /// Returns the error for what the machine said at `place`, sorted into its kind.
    pub fn io(place: impl Into<String>, error: io::Error) -> Self {
        use io::ErrorKind as K;
        let kind = match error.kind() {
            K::NotFound => Kind::NotFound,
            K::StorageFull | K::QuotaExceeded | K::FileTooLarge => Kind::Full,
            K::PermissionDenied | K::ReadOnlyFilesystem => Kind::Refused(error.to_string()),
            K::TimedOut
            | K::ConnectionRefused
            | K::ConnectionReset
            | K::ConnectionAborted
            | K::NotConnected
            | K::BrokenPipe
            | K::HostUnreachable
            | K::NetworkUnreachable
            | K::NetworkDown => Kind::Unreachable(error.to_string()),
            _ => Kind::Io(error),
        };
        Self::new(place, kind)
    }

    /// Returns an error that says `what` is damaged at `place`.
    pub fn damaged(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(place, Kind::Damaged(what.into()))
    }

    /// Returns whether the same call may succeed later without anyone changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, Kind::Unreachable(_) | Kind::Locked(_) | Kind::LockLost)
    }

    /// Returns whether it says that there is no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.kind, Kind::Full)
    }

    /// Returns whether what was looked at is bad. If not, it could not be looked at, which says nothing about it.
    #[must_use]
    pub fn says_damage(&self) -> bool {
        match &self.kind {
            Kind::Damaged(_) | Kind::KeysDamaged { .. } | Kind::NotFound => true,
            // A disk that can't read any more what was written to it.
            Kind::Io(error) => error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()),
            _ => false,
        }
    }

    /// Returns whether the file was seen to be absent.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.kind, Kind::NotFound)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Io(error) => error.source(),
            _ => None,
        }
    }
}
