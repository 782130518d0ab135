//! Where the files of a repository lie: a directory, an S3 bucket, an SFTP server, all behind one contract.

mod address;
mod asking;
mod busy;
mod calls;
mod file;
mod limits;
mod listing;
mod pace;
mod paced;
mod s3;
mod sftp;
mod tempo;
mod temporary;
mod trust;
mod versions;
mod wire;

pub use asking::Asking;
pub use calls::Calls;
pub use limits::Limits;
pub use pace::Pace;
pub use trust::certificate;
pub use versions::{Canary, Version, Versions};

use crate::{Error, Kind, Result};
use jiff::SignedDuration;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

/// The kinds of files in a repository, as restic's layout has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// `config`: the one file without a hash for a name; its name is always `config`.
    Config,
    /// `keys/`.
    Key,
    /// `locks/`.
    Lock,
    /// `snapshots/`.
    Snapshot,
    /// `index/`.
    Index,
    /// `data/xx/`, where `xx` are the first two digits of the name.
    Pack,
}

impl FileKind {
    /// All kinds that are listed (all but `config`).
    pub const LISTED: [Self; 5] = [Self::Key, Self::Lock, Self::Snapshot, Self::Index, Self::Pack];

    /// Returns the folder of this kind, without a slash; empty for `config`.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Config => "",
            Self::Key => "keys",
            Self::Lock => "locks",
            Self::Snapshot => "snapshots",
            Self::Index => "index",
            Self::Pack => "data",
        }
    }

    /// Returns how many bytes a file of this kind has at most; a longer one is not read.
    #[must_use]
    pub const fn length_max(self) -> u64 {
        crate::budget::file(self)
    }

    /// Returns the path of the file inside the repository: `data/ab/ab12…`, `config`.
    #[must_use]
    pub fn path(self, name: &str) -> String {
        match self {
            Self::Config => "config".to_owned(),
            Self::Pack => format!("data/{}/{name}", name.get(..2).unwrap_or("00")),
            _ => format!("{}/{name}", self.folder()),
        }
    }
}

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name, without folder. Checked to be 64 lower-case hexadecimal digits: anything else that lies
    /// there (a temporary file, an editor's backup) isn't ours and is not listed.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
}

/// What an archive answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thaw {
    /// It was asked for now.
    Asked,
    /// It was asked for before, and is on its way.
    UnderWay,
    /// It can be read.
    There,
}

/// Where the files of one repository lie.
///
/// The contract, which `tests/it/contract.rs` holds every implementation to:
///
/// - **Whole or not at all.** A file is seen under its name only when all of its bytes are there. A write that fails or is
///   killed leaves nothing under that name.
/// - **Durable on return.** When `write` returns, the file survives a power cut (as far as the store can promise).
/// - **Names are written once.** All files but `config` are named by their content, so writing one that is there
///   already is harmless and may do nothing, provided that its length is right.
/// - **A listing is complete or an error.** No page that was lost, no folder that could not be opened, no refused request ever gives a
///   shorter list. A folder that is not there is an error too (`NoRepository`), except on S3, which has no folders. A listing that
///   doesn't get on, or never ends, is an error.
/// - **A listing is a set.** Whatever lies below gives a name twice, whoever asks sees it once: listings are had from
///   `list` alone, which no store can replace.
/// - **Absence is observed.** `NotFound` means that the store answered and the file was not there. No answer is `Unreachable`.
/// - **Reading gives exactly the range**, or an error: a shorter answer is `Damaged`.
/// - **Retries live here.** An implementation repeats what is worth repeating (a dropped connection, a 500, a 503) a bounded number of times, within a
///   bounded time, and then gives up with a retryable error. What a store says of when to come back is obeyed. Callers don't repeat.
/// - Calls come from several threads at once.
pub trait Store: Send + Sync + fmt::Debug {
    /// Returns the address as people may see it: no password, no key.
    fn address(&self) -> String;

    /// Creates the folders of an empty repository. Fails if the place can't be written. Harmless where they are there already.
    fn create(&self) -> Result<()>;

    /// Returns all files of a kind, as they come: a name may come twice. Only `list` calls it, and wrappers.
    fn entries(&self, kind: FileKind) -> Result<Vec<Listed>>;

    /// Returns the whole file. One that is longer than its kind can be is [`Kind::Damaged`], and no more of it is read than shows that.
    fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>>;

    /// Returns exactly the bytes of the range.
    fn read_range(&self, kind: FileKind, name: &str, range: Range<u64>) -> Result<Vec<u8>>;

    /// Returns the length of the file, `None` if it was seen not to be there.
    fn size(&self, kind: FileKind, name: &str) -> Result<Option<u64>>;

    /// Writes the file, whole and durable.
    fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()>;

    /// Writes the file, as [`write`](Self::write) does, and is given its bytes: a store that has to own them meanwhile needs no copy.
    /// Any other returns them, to be used again.
    fn write_owned(&self, kind: FileKind, name: &str, bytes: Vec<u8>) -> Result<Vec<u8>> {
        self.write(kind, name, &bytes)?;
        Ok(bytes)
    }

    /// Removes the file. One that isn't there is no error. Where versions are held, this hides the file at once, and its bytes
    /// are freed when the hold ends: by S3 itself, in a folder by [`Versions::free`].
    fn remove(&self, kind: FileKind, name: &str) -> Result<()>;

    /// Removes many files of a kind, as [`remove`](Self::remove) does, in as few requests as it takes. Those that the store refuses to remove come back with the
    /// reason; any other failure is an error, after which some of them are gone.
    fn remove_all(&self, kind: FileKind, names: &[String]) -> Result<Vec<(String, Error)>> {
        let mut refused = Vec::new();
        for name in names {
            match self.remove(kind, name) {
                Ok(()) => {}
                Err(error) if matches!(error.kind, Kind::Refused(_)) => refused.push((name.clone(), error)),
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    /// Asks for a file that lies in an archive, to be readable for so many days. [`Kind::Unsupported`] for a store that has none.
    fn thaw(&self, _kind: FileKind, _name: &str, _days: u32) -> Result<Thaw> {
        Err(Error::new(self.address(), Kind::Unsupported("this kind of store has no archive".into())))
    }

    /// Gives up the room that was kept for a full disk, and returns whether there was any: then a lock and an index can be written.
    fn use_reserve(&self) -> Result<bool> {
        Ok(false)
    }

    /// Removes one file that a killed writer has left unfinished, however old, and returns whether there was one. Only while nobody else is in the vault, for want of
    /// room; `false` where none is left, or that gives back nothing.
    fn remove_left_behind(&self) -> Result<bool> {
        Ok(false)
    }

    /// Returns when a file was written, by the store's own clock; `None` where that isn't known, or, for all but locks, where removing it gives back no room.
    fn written(&self, _kind: FileKind, _name: &str) -> Option<SystemTime> {
        None
    }

    /// Keeps a little room for a day when there is none. Where there is none to spare, or none can be kept, nothing happens.
    fn keep_reserve(&self) {}

    /// Returns how many calls at a time make it fastest: few for a disk, more for a distant store.
    fn lanes(&self) -> usize;

    /// Returns whether it is on this machine: local is read before distant.
    fn is_local(&self) -> bool;

    /// Returns what the store can do with versions; `None` where it keeps none. A store of a kind that may keep them
    /// returns something and finds out when it is asked.
    fn versions(&self) -> Option<&dyn Versions> {
        None
    }
}

/// Lists files without which a repository stands all the same: an empty folder goes with a copy, or with `rm -rf`, and where the
/// config is the repository is there.
pub(crate) fn listing(store: &dyn Store, kind: FileKind) -> Result<Vec<Listed>> {
    match store.list(kind) {
        Err(Error { kind: Kind::NoRepository, .. }) if is_there(store)? => Ok(Vec::new()),
        other => other,
    }
}

/// A repository may have lost its config, or its folder of keys.
fn is_there(store: &dyn Store) -> Result<bool> {
    let has = |kind| store.list(kind).is_ok_and(|listed| !listed.is_empty());
    Ok(store.size(FileKind::Config, "config")?.is_some() || has(FileKind::Key) || has(FileKind::Snapshot))
}

/// Returns an error for `verb` on a file of this store.
pub(crate) fn place(store: &(impl Store + ?Sized), verb: &str, kind: FileKind, name: &str) -> String {
    let short =
        if name.len() == 64 { format!("{}…", name.get(..8).unwrap_or(name)) } else { name.to_owned() };
    match kind {
        FileKind::Config => format!("{verb} config in {}", store.address()),
        _ => format!("{verb} {}/{short} in {}", kind.folder(), store.address()),
    }
}

/// Returns whether `name` is one that a repository gives to its files.
#[must_use]
pub(crate) fn is_name(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Secrets that some stores need, handed over by the caller: never part of an address.
#[derive(Clone, Default)]
pub struct Credentials {
    /// S3 access key id.
    pub access_key: Option<String>,
    /// S3 secret access key.
    pub secret_key: Option<String>,
    /// S3 session token, for temporary keys.
    pub session_token: Option<String>,
    /// Asks for them once more, when the store doesn't take them any longer: temporary keys end in the middle of long work.
    pub renew: Option<Renew>,
}

/// Returns new credentials, or why there are none.
pub type Renew = Arc<dyn Fn() -> Result<Credentials, String> + Send + Sync>;

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Opens the store at `address` with the usual [`Limits`]. Nothing is created; a store that can't be reached may be
/// noticed here or at the first call.
///
/// - `file:///path`
/// - `s3://bucket/prefix?endpoint=https://…&region=…&style=path|virtual`: `prefix` may be absent; `region` is `us-east-1`
///   unless given; `style` is `path` with an endpoint and `virtual` without. Keys come from `credentials` alone.
/// - `sftp://user@host:port/path?identity=…&known_hosts=…`: as in restic, one slash before the path means "in the home
///   folder" and two mean "from the root". All but host and path may be absent; `~/.ssh/config` has its say.
pub fn open(address: &str, credentials: &Credentials) -> Result<Box<dyn Store>> {
    open_with(address, credentials, &Limits::default())
}

/// Returns the folder of a `file://` address, `None` for any other.
#[must_use]
pub fn local_folder(address: &str) -> Option<std::path::PathBuf> {
    address.starts_with("file://").then(|| address::file(address).ok()).flatten()
}

/// Returns why no store can be opened at an address, if none can, without opening any: what [`open`] would say.
#[must_use]
pub fn refusal(address: &str) -> Option<String> {
    match address.split_once("://").map(|(scheme, _)| scheme) {
        Some("file") => address::file(address).err(),
        Some("s3") => address::s3(address).err(),
        Some("sftp") => address::sftp(address).err(),
        _ => Some(address::unknown(address)),
    }
}

/// The machine that a store is reached at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// The TCP port, where the address decides it.
    pub port: Option<u16>,
    /// The system's `ssh` leads there, which may know the name by another: `~/.ssh/config` has its say.
    pub by_ssh: bool,
}

/// Returns the machine that the store at `address` is reached at; `None` for a folder, and for what is no address.
#[must_use]
pub fn server(address: &str) -> Option<Server> {
    match address.split_once("://")?.0 {
        "s3" => address::s3(address).ok()?.server(),
        "sftp" => {
            let sftp = address::sftp(address).ok()?;
            Some(Server { host: sftp.host, port: sftp.port, by_ssh: true })
        }
        _ => None,
    }
}

/// Opens the store in a folder of this machine, as [`open`] does with its address.
#[must_use]
pub fn in_folder(folder: &std::path::Path) -> Box<dyn Store> {
    Box::new(file::FileStore::new(folder.to_owned(), &Limits::default(), None))
}

/// Opens the store at `address`, as [`open`] does, with other bounds on retries and waiting.
pub fn open_with(address: &str, credentials: &Credentials, limits: &Limits) -> Result<Box<dyn Store>> {
    open_held(address, credentials, limits, None)
}

/// Opens the store at `address`, as [`open_with`] does; all that is written there (but locks, which live for minutes) is held
/// against deletion for `period`: on S3 by Object Lock, in a folder guarded with the immutable flag where that can be set.
/// [`Kind::Unsupported`] for any other.
pub fn open_held(
    address: &str,
    credentials: &Credentials,
    limits: &Limits,
    period: Option<SignedDuration>,
) -> Result<Box<dyn Store>> {
    let bad = |what: String| Error::new(address::without_secrets(address), Kind::BadAddress(what));
    match address.split_once("://").map(|(scheme, _)| scheme) {
        Some("sftp") if period.is_some() => {
            let what = "nothing keeps the files of such a vault from being deleted";
            Err(Error::new(address::without_secrets(address), Kind::Unsupported(what.into())))
        }
        Some("file") => {
            let store = file::FileStore::new(address::file(address).map_err(bad)?, limits, period);
            match limits.asking.bound() {
                Some(_) => Ok(Box::new(asking::Asked::new(Arc::new(store), limits))),
                None => Ok(Box::new(store)),
            }
        }
        Some("s3") => {
            let address = address::s3(address).map_err(bad)?;
            Ok(Box::new(s3::S3Store::new(address, credentials, limits, period)?))
        }
        Some("sftp") => Ok(Box::new(sftp::SftpStore::new(address::sftp(address).map_err(bad)?, limits))),
        _ => Err(bad(address::unknown(address))),
    }
}
