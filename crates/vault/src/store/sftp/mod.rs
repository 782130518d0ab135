//! A repository on an SFTP server.
//!
//! The system's `ssh` makes the connection, so that `~/.ssh/config`, known hosts, agents and jump hosts work as they do
//! by hand; the SFTP protocol over it is spoken here. See `docs/decisions/0002`.
//!
//! A write makes a temporary file beside its place, fsyncs it where the server knows how (OpenSSH does) and renames it.
//! The protocol has no means to fsync a folder: that the new name survives a power cut of the server is up to its file
//! system.

mod connect;
mod session;

use super::address::SftpAddress;
use super::limits::Failure;
use super::tempo::Tempo;
use super::{FileKind, Limits, Listed, Store, place, wire};
use crate::{Error, Kind, Result};
use session::Session;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;

/// How many connections are open at a time. OpenSSH begins to turn newcomers away at ten that have not logged in yet.
const CONNECTIONS_MAX: usize = 4;

/// A folder on an SFTP server that holds a repository.
pub(super) struct SftpStore {
    address: SftpAddress,
    limits: Limits,
    tempo: Tempo,
    slots: Semaphore,
    idle: Mutex<Vec<Session>>,
    /// The folders that were searched for what killed writers left behind, since this store was opened.
    tidied: Mutex<HashSet<String>>,
}

impl SftpStore {
    pub(super) fn new(address: SftpAddress, limits: &Limits) -> Self {
        Self {
            address,
            limits: limits.clone(),
            tempo: Tempo::new(limits),
            slots: Semaphore::new(CONNECTIONS_MAX),
            idle: Mutex::default(),
            tidied: Mutex::default(),
        }
    }

    /// Runs `work` on a connection; a lost one is replaced, as often as the limits allow.
    fn call<T>(
        &self,
        place: impl FnOnce() -> String,
        mut work: impl AsyncFnMut(&Session) -> Result<T, Failure>,
    ) -> Result<T> {
        let attempt = async |_| {
            // The semaphore is never closed; if it were, one connection more would do no harm.
            let _slot = self.slots.acquire().await;
            let waiting = self.idle().pop();
            let mut session = match waiting {
                Some(session) => session,
                None => connect::connect(&self.address, &self.limits, &self.tempo).await?,
            };
            match work(&session).await {
                Err(Failure::Passing(what)) => {
                    // The others were probably lost with it.
                    self.idle().clear();
                    self.tempo.failed();
                    Err(Failure::Passing(session.last_words(what).await))
                }
                // What it was asked is still under way.
                Err(Failure::Slow(what)) => Err(Failure::Slow(what)),
                done => {
                    self.idle().push(session);
                    done
                }
            }
        };
        match wire::wait(self.limits.persist(attempt)) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(kind)) => Err(Error::new(place(), kind)),
            Err(error) => Err(Error::io(place(), error)),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, kind: FileKind, name: &str) -> String {
        format!("{}/{}", self.address.path, kind.path(name))
    }

    // Whether a file is missing, or the disk that should hold the whole repository.
    async fn missing(&self, session: &Session) -> Failure {
        match session.exists(&self.address.path).await {
            Ok(true) => Failure::Final(Kind::NotFound),
            Ok(false) => Failure::Final(Kind::NoRepository),
            Err(failure) => failure,
        }
    }

    async fn or_missing<T>(&self, session: &Session, result: Result<T, Failure>) -> Result<T, Failure> {
        match result {
            Err(Failure::Final(Kind::NotFound)) => Err(self.missing(session).await),
            other => other,
        }
    }

    async fn put(&self, session: &Session, kind: FileKind, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.path(kind, name);
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let first = self.tidied.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.clone());
        match session.write(&folder, &path, bytes, first).await {
            Err(Failure::Final(Kind::NotFound)) => {
                self.restore_folder(session, kind, &folder).await?;
                session.write(&folder, &path, bytes, false).await
            }
            other => other,
        }
    }

    // A folder that a copying tool left out because it was empty is made again, but only in a repository: an
    // empty mount point must not fill up because its disk is missing.
    async fn restore_folder(&self, session: &Session, kind: FileKind, folder: &str) -> Result<(), Failure> {
        let root = &self.address.path;
        let above = format!("{root}/{}", kind.folder());
        if kind != FileKind::Config
            && (session.exists(&above).await? || session.exists(&format!("{root}/config")).await?)
        {
            session.make_folder(&above).await?;
            return session.make_folder(folder).await;
        }
        Err(Failure::Final(Kind::NoRepository))
    }
}

impl Store for SftpStore {
    fn address(&self) -> String {
        self.address.shown.clone()
    }

    fn create(&self) -> Result<()> {
        let root = &self.address.path;
        self.call(
            || format!("create {}", self.address.shown),
            async |session| {
                session.make_folders(root).await?;
                let folders = FileKind::LISTED.map(|kind| format!("{root}/{}", kind.folder()));
                session.make_all(folders.to_vec()).await?;
                let data = FileKind::Pack.folder();
                session
                    .make_all((0..=u8::MAX).map(|first| format!("{root}/{data}/{first:02x}")).collect())
                    .await?;
                session.try_writing(root).await
            },
        )
    }

    fn entries(&self, kind: FileKind) -> Result<Vec<Listed>> {
        let folder = format!("{}/{}", self.address.path, kind.folder());
        self.call(
            || format!("list {} in {}", kind.folder(), self.address.shown),
            async |session| {
                let listed = match kind {
                    FileKind::Pack => session.list_below(&folder).await,
                    _ => session.list(&folder).await,
                };
                listed.map_err(|failure| match failure {
                    Failure::Final(Kind::NotFound) => Failure::Final(Kind::NoRepository),
                    other => other,
                })
            },
        )
    }

    fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>> {
        let path = self.path(kind, name);
        self.call(
            || place(self, "read", kind, name),
            async |session| self.or_missing(session, session.read(&path, None, kind).await).await,
        )
    }

    fn read_range(&self, kind: FileKind, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let path = self.path(kind, name);
        self.call(
            || place(self, "read", kind, name),
            async |session| {
                self.or_missing(session, session.read(&path, Some(range.clone()), kind).await).await
            },
        )
    }

    fn size(&self, kind: FileKind, name: &str) -> Result<Option<u64>> {
        let path = self.path(kind, name);
        self.call(
            || place(self, "look at", kind, name),
            async |session| match self.or_missing(session, session.size(&path).await).await {
                Err(Failure::Final(Kind::NotFound)) => Ok(None),
                other => other.map(Some),
            },
        )
    }

    fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()> {
        self.call(
            || place(self, "write", kind, name),
            async |session| self.put(session, kind, name, bytes).await,
        )
    }

    fn remove(&self, kind: FileKind, name: &str) -> Result<()> {
        let path = self.path(kind, name);
        self.call(
            || place(self, "remove", kind, name),
            async |session| match self.or_missing(session, session.remove(&path).await).await {
                Err(Failure::Final(Kind::NotFound)) => Ok(()),
                other => other,
            },
        )
    }

    /// Of locks alone: nothing else is asked for here.
    fn written(&self, kind: FileKind, name: &str) -> Option<SystemTime> {
        if kind != FileKind::Lock {
            return None;
        }
        let path = self.path(kind, name);
        let found = self
            .call(|| place(self, "look at", kind, name), async |session| session.written(&path).await)
            .ok()??;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(found.into()))
    }

    fn lanes(&self) -> usize {
        CONNECTIONS_MAX
    }

    fn is_local(&self) -> bool {
        false
    }
}

impl fmt::Debug for SftpStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SftpStore").field(&self.address.shown).finish()
    }
}
