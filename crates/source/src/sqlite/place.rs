//! Where a database lies, and who opens it. SQLite opens by names alone, and follows links in them. The folder may belong to whom the application runs as, who puts
//! there what he likes while we are at it. So root opens a database in a thread of its own, for which there is nothing but that folder (`chroot`), as whom the
//! application runs as ([decision 26](../../../../docs/decisions/0026-a-database-is-opened-in-its-folder-as-its-owner.md)).
//!
//! In that thread nothing may be looked up that the machine keeps in files (users, time zones, libraries): it would be looked for in that folder.

use crate::error::at;
use crate::ours::{open_file, open_file_at, way_to};
use crate::way::{self, Ends, Link, Way};
use crate::{Error, Kind, Result};
use nix::sched::CloneFlags;
use nix::unistd::{User, getgrouplist};
use rustix::fs::{AtFlags, FileType, Gid, StatVfsMountFlags, Statx, StatxFlags, Uid, statx};
use rustix::io::Errno;
use rustix::process::{chdir, chroot, fchdir};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What SQLite keeps beside a database.
pub(crate) const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];
/// What a user belongs to of whom the machine knows nothing, where the file says nothing either.
const NOGROUP: u32 = 65_534;
const ROOT: u32 = 0;
/// Others than a folder's owner may change what is in it: with a list of permissions, its mask says so.
const OTHERS_WRITE: u16 = 0o022;

/// A database that is there.
#[derive(Debug)]
pub(super) struct Place {
    way: Way,
    name: OsString,
    stat: Statx,
    whom: Option<Whom>,
}

/// As whom root opens it.
#[derive(Debug)]
struct Whom {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

/// A database, for the thread that opens it.
#[derive(Debug)]
pub(super) struct Door<'a> {
    place: &'a Place,
    /// Its path there.
    pub(super) path: PathBuf,
    is_shut_in: bool,
}

/// Says why a link isn't followed, with the way out.
pub(super) fn refusal(link: &Link, real: &Path) -> Kind {
    Kind::Invalid(format!(
        "{} is a link that belongs to the user {}, who can let it lead anywhere: write path = \"{}\", or follow_links = true if he is to be followed",
        link.path.display(),
        link.uid,
        real.display()
    ))
}

/// Goes the way to a database: through links of root's and of our own, and through others' if they are to be followed.
pub(super) fn followed(path: &Path, follow_links: bool) -> Result<Way> {
    let way = way::to(path, Ends::Followed).map_err(|error| Error::io(at("look at", path), error))?;
    match way.strange().filter(|_| !follow_links) {
        Some(link) => Err(Error::new(at("look at", path), refusal(link, &way.real()))),
        None => Ok(way),
    }
}

impl Place {
    /// Finds the database of this path.
    pub(super) fn find(path: &Path, follow_links: bool) -> Result<Self> {
        let wrong = |error: io::Error| Error::io(at("look at", path), error);
        let invalid = |why: String| Error::new(at("look at", path), Kind::Invalid(why));
        let way = followed(path, follow_links)?;
        let [name] = way.rest.as_slice() else { return Err(wrong(Errno::NOENT.into())) };
        let name = name.clone();
        let look =
            |name: &OsStr| statx(&way.folder, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
        let stat = look(&name).map_err(|error| wrong(error.into()))?;
        if !is_file(&stat) {
            return Err(Error::new(at("copy", path), Kind::NotADatabase));
        }
        for suffix in BESIDE {
            // SQLite would wait for a pipe for ever.
            if look(&with(&name, suffix)).is_ok_and(|stat| !is_file(&stat)) {
                let beside = way.path.join(with(&name, suffix));
                return Err(invalid(format!(
                    "{} is no file, and SQLite keeps one of that name: look at it, and remove it",
                    beside.display()
                )));
            }
        }
        let above = statx(&way.folder, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
            .map_err(|error| wrong(error.into()))?;
        if is_root() && is_another(&stat, &above) {
            return Err(invalid(format!(
                "it has a second name elsewhere (a hard link), and belongs to the user {}, but the folder to {}: it may be \
                 another's database. Make a copy in its place",
                stat.stx_uid, above.stx_uid
            )));
        }
        let whom = whom(&stat, &above, way.strange());
        Ok(Self { way, name, stat, whom })
    }

    /// Returns where it really lies.
    pub(super) fn real(&self) -> PathBuf {
        self.way.real()
    }

    /// Returns what the machine says about it.
    pub(super) fn stat(&self) -> &Statx {
        &self.stat
    }

    /// Returns the last link that led to it.
    pub(super) fn link(&self) -> Option<&Link> {
        self.way.links.last()
    }

    /// Returns a way to it for this process alone, on which there is no folder that could be turned aside.
    pub(super) fn short(&self) -> PathBuf {
        way_to(&self.way.folder).join(&self.name)
    }

    /// Opens it, or what lies beside it under this suffix, to read it: nothing but a file.
    pub(super) fn read(&self, suffix: &str) -> io::Result<File> {
        open_file_at(&self.way.folder, &with(&self.name, suffix))
    }

    /// Looks at what lies beside it under this suffix.
    pub(super) fn beside(&self, suffix: &str) -> Option<Statx> {
        let name = with(&self.name, suffix);
        let stat = statx(&self.way.folder, &name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
        stat.ok().filter(is_file)
    }

    /// Returns whether nobody can write where it lies.
    pub(super) fn is_read_only(&self) -> bool {
        let mount = rustix::fs::fstatvfs(&self.way.folder);
        mount.is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::RDONLY))
    }

    /// Does something with the database where there is nothing else, as its owner if root does it. Without the rights for that it is done by its path, and
    /// [`Door::judge`] sees to it that it was this database. All that is opened by that path must be closed in `work`.
    pub(super) fn inside<T: Send>(&self, work: impl FnOnce(&Door<'_>) -> Result<T> + Send) -> Result<T> {
        let mut work = Some(work);
        if is_root() {
            let shut_in = || -> io::Result<Option<Result<T>>> {
                self.enter()?;
                let door = Door { place: self, path: Path::new("/").join(&self.name), is_shut_in: true };
                Ok(work.take().map(|work| work(&door)))
            };
            let done = std::thread::scope(|scope| {
                let named = std::thread::Builder::new().name("sqlite".to_owned());
                let thread = named.spawn_scoped(scope, shut_in)?;
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            match done {
                Ok(Some(done)) => return done,
                Ok(None) => {}
                Err(error) => tracing::debug!("{} is opened by its path: {error}", self.real().display()),
            }
        }
        let door = Door { place: self, path: self.real(), is_shut_in: false };
        match work.take() {
            Some(work) => work(&door),
            None => Err(Error::io(at("open", &self.real()), io::Error::other("its thread has ended"))),
        }
    }

    /// Leaves this thread nothing but the folder, and the rights of whom it is opened as.
    fn enter(&self) -> io::Result<()> {
        nix::sched::unshare(CloneFlags::CLONE_FS)?;
        fchdir(&self.way.folder)?;
        chroot(".")?;
        chdir("/")?;
        if let Some(whom) = &self.whom {
            set_thread_groups(&whom.groups)?;
            // Only what files are judged by: signals and the like go by the others, which stay root's.
            set_thread_res_gid(None::<Gid>, whom.gid, None::<Gid>)?;
            set_thread_res_uid(None::<Uid>, whom.uid, None::<Uid>)?;
        }
        Ok(())
    }
}

impl Door<'_> {
    /// Makes sure that it can be opened, before SQLite does, which doesn't say why it can't.
    pub(super) fn try_it(&self) -> Result<()> {
        let wrong = |error: io::Error| match (&self.place.whom, error.kind()) {
            (Some(whom), io::ErrorKind::PermissionDenied) if self.is_shut_in => {
                let why = format!(
                    "it is opened as the user {}, since others than root may write where it lies, and he may not read it: give it to \
                     him (chown), or move it into a folder that is root's alone",
                    whom.uid.as_raw()
                );
                Error::new(at("open", &self.place.real()), Kind::Invalid(why))
            }
            _ => Error::io(at("open", &self.place.real()), error),
        };
        open_file(&self.path).map(drop).map_err(wrong)
    }

    /// Makes sure that SQLite has opened the database which was looked at, where somebody could have put another in its place.
    pub(super) fn judge(&self) -> Result<()> {
        if self.is_shut_in || !is_root() || holds_open(&self.place.stat) {
            return Ok(());
        }
        let why =
            "something else took its name while it was opened: look at who may write to the folders above it"
                .to_owned();
        Err(Error::new(at("open", &self.place.real()), Kind::Invalid(why)))
    }
}

/// Returns the name of what SQLite keeps beside a database.
pub(super) fn with(name: &OsStr, suffix: &str) -> OsString {
    let mut with = OsString::from(name);
    with.push(suffix);
    with
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn is_file(stat: &Statx) -> bool {
    FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile
}

/// Returns whether root alone puts anything into a folder.
fn is_closed(folder: &Statx) -> bool {
    folder.stx_uid == ROOT && folder.stx_mode & OTHERS_WRITE == 0
}

/// Returns whether a file may be another's, whom somebody has brought it from by a second name.
fn is_another(file: &Statx, folder: &Statx) -> bool {
    file.stx_nlink > 1 && file.stx_uid != folder.stx_uid && !is_closed(folder)
}

/// Returns as whom root opens a database: as himself where nobody else could have put anything beside it.
fn whom(file: &Statx, folder: &Statx, strange: Option<&Link>) -> Option<Whom> {
    if !is_root() {
        return None;
    }
    let of = |stat: &Statx| (stat.stx_uid != ROOT).then_some((stat.stx_uid, stat.stx_gid));
    let owners = if is_closed(folder) { None } else { of(file).or_else(|| of(folder)) };
    let (uid, gid) = owners.or_else(|| strange.map(|link| (link.uid, NOGROUP)))?;
    let user = User::from_uid(uid.into()).ok().flatten();
    let (gid, groups) = match user {
        Some(user) => {
            let all = CString::new(user.name).ok().and_then(|name| getgrouplist(&name, user.gid).ok());
            let all = all.unwrap_or_default().into_iter().map(|group| Gid::from_raw(group.as_raw()));
            (user.gid.as_raw(), all.collect())
        }
        // Root's group reads what others don't.
        None => (if gid == ROOT { NOGROUP } else { gid }, Vec::new()),
    };
    Some(Whom { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid), groups })
}

/// Returns whether this process has that file open.
fn holds_open(wanted: &Statx) -> bool {
    let device = crate::machine::device_of(wanted);
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    open.filter_map(|fd| std::fs::metadata(fd.path()).ok())
        .any(|found| found.ino() == wanted.stx_ino && found.dev() == device)
}
