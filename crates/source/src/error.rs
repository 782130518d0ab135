//! What can go wrong while something is captured or put back: where, and what, with the way out in the text.

use std::fmt;
use std::io;
use std::path::Path;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error: what was being done to what, and the kind of the trouble.
#[derive(Debug)]
pub struct Error {
    /// What was being done to what: `copy /var/lib/shop/orders.db`.
    pub place: String,
    /// What went wrong.
    pub kind: Kind,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Kind {
    /// What the plan says about the source makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It isn't there.
    #[error("does not exist")]
    NotFound,
    /// The machine refuses: permissions, a read-only file system.
    #[error("refused: {0}; run Relève as a user who may do this")]
    Refused(String),
    /// No room left where the temporary or the final copy goes.
    #[error("no space left; free some or choose another folder for temporary copies")]
    Full,
    /// A program could not be started, failed, or took too long. The text holds the last lines it printed.
    #[error("{0}")]
    Program(String),
    /// The file isn't an SQLite database (or it is an encrypted one).
    #[error("not an SQLite database (or an encrypted one): capture it with `files` or `command`")]
    NotADatabase,
    /// Somebody kept the database locked until our patience was over.
    #[error(
        "still locked by another program after {seconds} s: try later, or look for a transaction left open"
    )]
    Locked {
        /// How long we waited, in seconds.
        seconds: u64,
    },
    /// A program died in the middle of a transaction and the database needs to be rolled back first.
    #[error(
        "a program died while it wrote: start it again, or open the database once with `sqlite3`, so that SQLite repairs it"
    )]
    NeedsRecovery,
    /// The database is in WAL mode and SQLite can't write the `-shm` file beside it.
    #[error(
        "in WAL mode SQLite must be able to write beside the database, and this folder refuses: run Relève as the database's owner or as root"
    )]
    FolderNotWritable,
    /// A running program has the file open that is to be replaced.
    #[error("in use by {0}: stop it first")]
    InUse(String),
    /// What is to be put back is not sound; what stood there was left alone.
    #[error(
        "damaged: {0}; what stood there was left alone. Restore it elsewhere with `--to`, or take another restore point"
    )]
    Damaged(String),
    /// The restore point doesn't hold what this source puts back.
    #[error("the restore point does not hold it: correct what the plan names, or take another point")]
    NotInPoint,
    /// What the restore point holds can't come to where it belongs.
    #[error("{0}: mount what belongs there, or move that away; the restore point is not to blame")]
    InTheWay(String),
    /// A database server refused, or could not be reached.
    #[error("{said}")]
    Server {
        /// What it said, with the way out.
        said: String,
        /// It is not there, or has gone: it may come back by itself.
        is_down: bool,
    },
    /// Anything else that the machine said.
    #[error("{0}")]
    Io(io::Error),
    /// Anything else that SQLite said.
    #[error("SQLite: {0}")]
    Sqlite(String),
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
            _ => Kind::Io(error),
        };
        Self::new(place, kind)
    }

    /// Returns whether the same call may succeed later without anyone changing the plan.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, Kind::Locked { .. } | Kind::InUse(_) | Kind::Server { is_down: true, .. })
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

/// Names the place of an error: `at("read", path)` is `read /srv/a`.
pub(crate) fn at(verb: &str, path: &Path) -> String {
    format!("{verb} {}", path.display())
}
