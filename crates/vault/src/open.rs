//! Makes repositories and opens them, those too that lost their `config`: nothing in it is needed to read.
//!
//! `config` says the version of the format, an id, and a number with which restic cuts files. It has no copy. Where it is gone or damaged, the
//! key that a password opens is held against another file of the vault instead: one that it opens is proof enough.

use crate::crypto::Key;
use crate::format::config::Config;
use crate::format::key::KeyFile;
use crate::keys::{self, MasterKey};
use crate::store::{Listed, place};
use crate::{Error, FileId, FileKind, Holder, Kind, Password, Repository, Result, Store, mend};

/// How many files of a kind are tried that should open with a key, before it is taken for another vault's.
const TRIED: usize = 8;

/// `config` as the store has it.
enum Sealed {
    Found(Vec<u8>),
    Gone,
    /// Something that can't be it is in its place, or is said to be.
    Unread(String),
}

/// Why `config` could not be read.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) why: String,
    /// A distant store says so, and it may be there whole: what nobody has read isn't written over.
    is_said: bool,
}

impl Lost {
    fn seen(why: &str) -> Self {
        Self { why: why.to_owned(), is_said: false }
    }
}

/// What shows that a key belongs to a vault.
enum Belongs {
    /// It opens a file of this vault, which is of this version of the format.
    Opens(u32),
    /// It opens none of those that are there.
    Not,
    /// There is nothing that it could open.
    Nothing,
}

impl Repository {
    /// Creates an empty repository with one key. An existing one is never touched: [`Kind::AlreadyExists`].
    pub fn create(
        store: Box<dyn Store>,
        password: &Password,
        hostname: &str,
        now: jiff::Timestamp,
    ) -> Result<Self> {
        let place = format!("create a repository in {}", store.address());
        match store.size(FileKind::Config, "config") {
            Ok(Some(_)) => return Err(Error::new(place, Kind::AlreadyExists)),
            Ok(None) if holds_anything(&*store)? => return Err(Error::new(place, Kind::AlreadyExists)),
            Ok(None) => {}
            Err(error) if matches!(error.kind, Kind::NoRepository | Kind::NotFound) => {}
            Err(error) => return Err(error),
        }
        store.create()?;
        let io = |error| Error::io(&place, error);
        let key = Key::random().map_err(io)?;
        let maker = Holder { hostname: hostname.to_owned(), username: String::new() };
        let file = KeyFile::wrap(&key, password, &maker, now).map_err(io)?;
        let json = serde_json::to_vec(&file).map_err(|error| io(error.into()))?;
        let key_id = FileId::of(&json);
        store.write(FileKind::Key, &key_id.to_string(), &json)?;
        let config = Config::random().map_err(io)?;
        // Last: a repository without a config and without points doesn't exist, so a crash before this line leaves nothing that counts.
        write_config(&*store, &key, &config)?;
        store.keep_reserve();
        Ok(Self::assemble(store, key, Some(key_id), config, None))
    }

    /// Opens the repository with a password: any of its keys may fit. The index is not loaded yet.
    pub fn open(store: Box<dyn Store>, password: &Password) -> Result<Self> {
        Self::open_known(store, password, None)
    }

    /// Opens the repository as [`open`](Self::open) does, and tries those of these keys that lie in it before any other
    /// ([`Cache::keys`](crate::Cache::keys)): whatever else lies among the keys then costs nothing.
    pub fn open_known(
        store: Box<dyn Store>,
        password: &Password,
        known: impl IntoIterator<Item = FileId>,
    ) -> Result<Self> {
        let sealed = read_config(&*store)?;
        let fits = |key: &Key| match &sealed {
            Sealed::Found(bytes) if key.open(&mut bytes.clone()).is_ok() => true,
            _ => matches!(belongs(&*store, key), Ok(Belongs::Opens(_))),
        };
        let (key, key_id) = keys::search(&*store, password, known, fits)?;
        let wrong = || Kind::Damaged("the config file doesn't open with this repository's key".into());
        Self::unsealed(store, &sealed, key, Some(key_id), wrong)
    }

    /// Opens the repository with its master key, whatever became of its key files. The index is not loaded yet.
    pub fn open_with_master(store: Box<dyn Store>, master: &MasterKey) -> Result<Self> {
        let sealed = read_config(&*store)?;
        Self::unsealed(store, &sealed, master.key(), None, || Kind::WrongMasterKey)
    }

    fn unsealed(
        store: Box<dyn Store>,
        sealed: &Sealed,
        key: Key,
        key_id: Option<FileId>,
        wrong: impl FnOnce() -> Kind,
    ) -> Result<Self> {
        let place = format!("open {}", store.address());
        let bytes = match sealed {
            Sealed::Found(bytes) => bytes.as_slice(),
            Sealed::Gone | Sealed::Unread(_) => &[],
        };
        let checked = |config: Config| match config.version {
            1 | 2 => Ok(config),
            other => {
                let what = format!("repository format {other}; 1 and 2 are known");
                Err(Error::new(&place, Kind::Unsupported(what)))
            }
        };
        if let Ok(plain) = key.open(&mut bytes.to_vec()) {
            let config = serde_json::from_slice(plain)
                .map_err(|error| Error::damaged(&place, format!("the config file: {error}")))?;
            return Ok(Self::assemble(store, key, key_id, checked(config)?, None));
        }
        let opens = |bytes: &[u8]| key.open(&mut bytes.to_vec()).is_ok();
        let mended = mend::one_bit(bytes, opens)
            .and_then(|mut bytes| serde_json::from_slice(key.open(&mut bytes).ok()?).ok());
        if let Some(config) = mended {
            let lost = Lost::seen("one bit of it has turned");
            return Ok(Self::assemble(store, key, key_id, checked(config)?, Some(lost)));
        }
        let lost = match sealed {
            Sealed::Gone => Lost::seen("it is gone"),
            Sealed::Found(bytes) if bytes.is_empty() => Lost::seen("it is empty"),
            Sealed::Found(_) => Lost::seen("it doesn't open with this repository's key"),
            Sealed::Unread(what) => Lost { why: what.clone(), is_said: !store.is_local() },
        };
        let version = match (belongs(&*store, &key)?, sealed) {
            (Belongs::Opens(version), _) => version,
            (Belongs::Nothing, Sealed::Gone) => return Err(Error::new(place, Kind::NoRepository)),
            // A key file that the password opened is this vault's, as long as nothing speaks against it.
            (Belongs::Nothing, Sealed::Found(_) | Sealed::Unread(_)) if key_id.is_some() => 2,
            _ => return Err(Error::new(place, wrong())),
        };
        let config = Config::instead(&key, version).map_err(|error| Error::io(&place, error))?;
        Ok(Self::assemble(store, key, key_id, config, Some(lost)))
    }

    /// Returns whether `config` could not be read and may be there whole: a distant store says of it what can't be, and that is its word alone. It is not written over.
    #[must_use]
    pub fn may_have_config(&self) -> bool {
        self.lost.as_ref().is_some_and(|lost| lost.is_said)
    }

    /// Writes `config` anew: for one that was lost.
    pub(crate) fn write_config(&self) -> Result<()> {
        write_config(self.store(), self.key(), self.config())
    }
}

fn write_config(store: &dyn Store, key: &Key, config: &Config) -> Result<()> {
    let at = || place(store, "write", FileKind::Config, "config");
    let json = serde_json::to_vec(config).map_err(|error| Error::io(at(), error.into()))?;
    let sealed = key.seal(&json).map_err(|error| Error::io(at(), error))?;
    store.write(FileKind::Config, "config", &sealed)
}

/// Where neither `config` nor keys are, there is no repository.
fn read_config(store: &dyn Store) -> Result<Sealed> {
    let none = || Error::new(format!("open {}", store.address()), Kind::NoRepository);
    match store.read(FileKind::Config, "config") {
        Ok(bytes) => Ok(Sealed::Found(bytes)),
        Err(error) if error.is_not_found() => match holds_anything(store)? {
            true => Ok(Sealed::Gone),
            false => Err(none()),
        },
        Err(error) if matches!(error.kind, Kind::NoRepository) => Err(none()),
        // Something that is no file has taken its place, or one that is longer than any.
        Err(Error { kind: Kind::Damaged(what), .. }) => Ok(Sealed::Unread(what)),
        Err(error) => Err(error),
    }
}

/// Returns whether there is anything that would be lost with its repository. A key alone is what a creation leaves that was killed.
fn holds_anything(store: &dyn Store) -> Result<bool> {
    for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
        if !listed(store, kind)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn listed(store: &dyn Store, kind: FileKind) -> Result<Vec<Listed>> {
    match store.list(kind) {
        Err(Error { kind: Kind::NoRepository | Kind::NotFound, .. }) => Ok(Vec::new()),
        other => other,
    }
}

/// Holds a key against the files of a vault.
fn belongs(store: &dyn Store, key: &Key) -> Result<Belongs> {
    let mut any = false;
    for kind in [FileKind::Snapshot, FileKind::Index] {
        for file in listed(store, kind)?.iter().take(TRIED) {
            any = true;
            let mut sealed = match store.read(kind, &file.name) {
                Ok(sealed) => sealed,
                Err(error) if error.is_retryable() => return Err(error),
                Err(_) => continue,
            };
            if let Ok(plain) = key.open(&mut sealed) {
                // Format 1 wrote bare JSON; what is compressed is of format 2.
                let version = if plain.first() == Some(&2) { 2 } else { 1 };
                return Ok(Belongs::Opens(version));
            }
        }
    }
    for file in listed(store, FileKind::Pack)?.iter().take(TRIED) {
        any = true;
        match crate::packs::header(store, key, file) {
            Ok(Some(_)) => return Ok(Belongs::Opens(2)),
            Err(error) if error.is_retryable() => return Err(error),
            Ok(None) | Err(_) => {}
        }
    }
    Ok(if any { Belongs::Not } else { Belongs::Nothing })
}
