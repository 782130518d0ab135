//! The directories of the target: made when they are entered, finished when the last who needs them leaves.
//!
//! A folder is held by whatever is still to be written into it and by the folders below it. When the last of these is gone, its own
//! attributes are set: not earlier, since every new entry changes its time, and not later, since nobody could hold them all.
//!
//! At most [`HANDLES_MAX`] folders are held open for their own sake; the others are opened again when they are needed, from their parent,
//! following no link.

use super::attributes::{Before, Wanted, chmod, xattr_names};
use super::clock::Clock;
use super::links::Links;
use super::report::{Outcome, RestoreReport};
use super::through::{follow, is_above, obstacle, open_through};
use super::walk::relative;
use super::{NOTHING_BELOW, RestoreOptions, file};
use crate::mutex::lock;
use crate::{Error, Node, Progress, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

/// A quarter of the handles that a process has at least.
const HANDLES_MAX: usize = 256;

/// Where a restore writes to, and what it has to say of it.
pub(super) struct Target<'a> {
    pub(super) options: &'a RestoreOptions,
    pub(super) progress: &'a Progress,
    pub(super) links: Links<'a>,
    pub(super) clock: Clock,
    /// What was captured, below the target.
    roots: Vec<PathBuf>,
    root: OnceLock<Arc<OwnedFd>>,
    /// What new files of this process have.
    pub(super) me: Me,
    report: Mutex<RestoreReport>,
    open: Mutex<VecDeque<Weak<Folder<'a>>>>,
    /// A folder on each file system that is written to: all of them are waited for at the end.
    devices: Mutex<BTreeMap<u64, OwnedFd>>,
    /// The first error of writing something to the disk.
    not_written: Mutex<Option<Errno>>,
}

/// What new files of this process have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Me {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) umask: u32,
}

/// A directory of the target.
pub(super) struct Folder<'a> {
    target: Arc<Target<'a>>,
    parent: Option<Arc<Folder<'a>>>,
    /// Its name and its attributes in the point; the target's own root has neither.
    node: Option<Node>,
    /// It lies above what was captured: one that is there already is somebody else's.
    above: bool,
    /// Names in the point itself that look like those of damaged files.
    own_damaged: OnceLock<HashSet<OsString>>,
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    NotMade,
    Made(Made),
    Impossible(String),
}

struct Made {
    handle: Option<Arc<OwnedFd>>,
    /// It was there before; what is in it has to be looked at.
    before: Option<Stat>,
    /// What is in it inherits an ACL.
    inherits: bool,
    /// Its own attributes are to be set in the end.
    dress: bool,
    /// It was reached through a link that stands in its place.
    through: bool,
    /// Names of damaged files that an earlier restore left here.
    damaged: HashSet<OsString>,
}

/// An open directory to write into.
#[derive(Clone)]
pub(super) struct Entered {
    pub(super) handle: Arc<OwnedFd>,
    /// It was there before.
    pub(super) standing: bool,
    /// New files in it are as a plain folder's are.
    pub(super) plain: bool,
}

impl<'a> Target<'a> {
    pub(super) fn new(options: &'a RestoreOptions, progress: &'a Progress) -> Arc<Self> {
        Arc::new(Self {
            options,
            progress,
            links: Links::default(),
            clock: Clock::default(),
            roots: relative(&options.roots),
            root: OnceLock::new(),
            me: Me::now(),
            report: Mutex::default(),
            open: Mutex::default(),
            devices: Mutex::default(),
            not_written: Mutex::default(),
        })
    }

    /// Returns the target's own folder, which [`open_target`] has opened.
    pub(super) fn root(self: &Arc<Self>, handle: Arc<OwnedFd>) -> Result<Arc<Folder<'a>>> {
        let place = || format!("restore to {}", self.options.target.display());
        let stat = rustix::fs::fstat(&*handle).map_err(|error| Error::io(place(), error.into()))?;
        self.note_device(&handle, &stat);
        let _ = self.root.set(Arc::clone(&handle));
        let made = Made {
            damaged: file::tidy(&handle),
            inherits: self.me.differs(&stat) || inherits(&handle, &stat),
            handle: Some(handle),
            before: Some(stat),
            dress: false,
            through: false,
        };
        Ok(Arc::new(Folder {
            target: Arc::clone(self),
            parent: None,
            node: None,
            above: true,
            own_damaged: OnceLock::new(),
            state: Mutex::new(State::Made(made)),
        }))
    }

    pub(super) fn report(&self) -> MutexGuard<'_, RestoreReport> {
        lock(&self.report)
    }

    /// Opens a folder of the target by its path.
    pub(super) fn open(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        open_through(self.root.get().ok_or(Errno::BADF)?, path, &self.roots)
    }

    /// Opens the folder that a link above what was captured leads to.
    fn follow(&self, path: &Path) -> Result<OwnedFd, String> {
        follow(self.root.get().ok_or("it has no target")?, path)
    }

    /// Waits until everything is on the disk. The kernel tells of an error once, and it is told from then on.
    pub(super) fn sync(&self) -> Result<()> {
        let place = || format!("write {} to the disk", self.options.target.display());
        // Not under the lock: this takes its time, and the walk goes on meanwhile.
        let folders: io::Result<Vec<OwnedFd>> =
            lock(&self.devices).values().map(OwnedFd::try_clone).collect();
        for folder in folders.map_err(|error| Error::io(place(), error))? {
            if let Err(error) = rustix::fs::syncfs(&folder) {
                lock(&self.not_written).get_or_insert(error);
            }
        }
        lock(&self.not_written).map_or(Ok(()), |error| Err(Error::io(place(), error.into())))
    }

    /// Returns what was done: nobody adds to it any longer.
    pub(super) fn take_report(&self) -> RestoreReport {
        std::mem::take(&mut *self.report())
    }

    fn note_device(&self, folder: &OwnedFd, stat: &Stat) {
        let mut devices = lock(&self.devices);
        if !devices.contains_key(&stat.st_dev)
            && let Ok(handle) = folder.try_clone()
        {
            devices.insert(stat.st_dev, handle);
        }
    }

    /// Remembers who is open, and closes whoever was opened longest ago.
    fn opened(&self, folder: &Arc<Folder<'a>>) {
        let oldest = {
            let mut open = lock(&self.open);
            open.push_back(Arc::downgrade(folder));
            if open.len() > HANDLES_MAX { open.pop_front() } else { None }
        };
        // Not under the lock: this may be the last who holds it, and then it is finished here.
        if let Some(folder) = oldest.and_then(|oldest| oldest.upgrade())
            && let State::Made(made) = &mut *lock(&folder.state)
            && folder.parent.is_some()
        {
            made.handle = None;
        }
    }
}

impl Me {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        let umask = umask.and_then(|text| u32::from_str_radix(text.trim(), 8).ok());
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            // Unknown: as if nothing were let through, so that every mode is set.
            umask: umask.unwrap_or(0o777),
        }
    }

    /// Returns whether what is made in this folder may belong to somebody else: a file system may take a folder's group for it, or not let root
    /// be root.
    fn differs(self, folder: &Stat) -> bool {
        (folder.st_uid, folder.st_gid) != (self.uid, self.gid)
    }
}

impl<'a> Folder<'a> {
    pub(super) fn below(parent: &Arc<Self>, node: Node, above: bool) -> Arc<Self> {
        Arc::new(Self {
            target: Arc::clone(&parent.target),
            parent: Some(Arc::clone(parent)),
            node: Some(node),
            above,
            own_damaged: OnceLock::new(),
            state: Mutex::default(),
        })
    }

    pub(super) fn target(&self) -> &Target<'a> {
        &self.target
    }

    /// Returns the path below the target.
    pub(super) fn path(&self) -> PathBuf {
        let mut names = Vec::new();
        let mut at = Some(self);
        while let Some(folder) = at {
            names.extend(folder.node.as_ref().map(|node| OsStr::from_bytes(&node.name)));
            at = folder.parent.as_deref();
        }
        names.iter().rev().collect()
    }

    pub(super) fn child(&self, name: &[u8]) -> PathBuf {
        self.path().join(OsStr::from_bytes(name))
    }

    /// Opens the directory, made if it isn't there, and its parents with it. What keeps it from being made is told once, here, and
    /// then to everyone who asks.
    ///
    /// In a loop from the nearest that is open downwards, with one lock at a time: a tree may be deeper than the stack, and whoever is closed to make
    /// room may be finished on the spot.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Entered, String> {
        let mut closed = Vec::new();
        let mut at = Arc::clone(self);
        let mut entered = loop {
            match at.entered() {
                Some(entered) => break entered?,
                None => {
                    let parent = at.parent.clone().ok_or("it has no name")?;
                    closed.push(at);
                    at = parent;
                }
            }
        };
        while let Some(folder) = closed.pop() {
            entered = folder.enter_from(&entered)?;
            folder.target.opened(&folder);
        }
        Ok(entered)
    }

    /// Returns the open directory, or why there is none; `None` if it has to be opened.
    fn entered(&self) -> Option<Result<Entered, String>> {
        match &*lock(&self.state) {
            State::Impossible(why) => Some(Err(why.clone())),
            State::Made(made) => made.entered().map(Ok),
            State::NotMade => None,
        }
    }

    fn enter_from(&self, parent: &Entered) -> Result<Entered, String> {
        let why = {
            let mut state = lock(&self.state);
            match &mut *state {
                State::Impossible(why) => return Err(why.clone()),
                State::Made(made) => {
                    if made.handle.is_none() {
                        made.handle = Some(Arc::new(self.open_again(parent, made.through)?));
                    }
                    return made.entered().ok_or_else(|| "it has no handle".into());
                }
                State::NotMade => match self.make(parent) {
                    Ok(made) => {
                        let entered = made.entered().ok_or("it has no handle")?;
                        *state = State::Made(made);
                        return Ok(entered);
                    }
                    Err(why) => {
                        *state = State::Impossible(format!("its folder can't be made: {why}"));
                        why
                    }
                },
            }
        };
        self.target.report().skip(&self.path(), why.clone());
        Err(format!("its folder can't be made: {why}"))
    }

    /// The point itself has these names here: they are no leftovers of an earlier restore.
    pub(super) fn has_names(&self, names: HashSet<OsString>) {
        let _ = self.own_damaged.set(names);
    }

    /// Returns whether an earlier restore left a damaged file of this name here.
    pub(super) fn had_damaged(&self, name: &OsStr) -> bool {
        let left = matches!(&*lock(&self.state), State::Made(made) if made.damaged.contains(name));
        left && !self.own_damaged.get().is_some_and(|own| own.contains(name))
    }

    fn make(&self, parent: &Entered) -> Result<Made, String> {
        let node = self.node.as_ref().ok_or("it has no name")?;
        let name = OsStr::from_bytes(&node.name);
        if self.above
            && let Some(what) = obstacle(&parent.handle, name)
        {
            return self.walk_through(what);
        }
        // One above is others' way to what they have beside, and is not closed to them for as long as this takes.
        let open_to = if self.above { Wanted::new(node, &self.target).passable() } else { Mode::empty() };
        let made = make(&parent.handle, name, self.target.me.uid, open_to)
            .map_err(|error| io::Error::from(error).to_string())?;
        let (handle, before) = made;
        let Some(stat) = before else {
            // What is made here lies on the file system of its parent.
            let stat = rustix::fs::fstat(&handle).map_err(|error| io::Error::from(error).to_string())?;
            let inherits = self.target.me.differs(&stat) || (!parent.plain && inherits(&handle, &stat));
            let (handle, damaged) = (Some(Arc::new(handle)), HashSet::new());
            return Ok(Made { handle, before: None, inherits, dress: true, through: false, damaged });
        };
        self.target.note_device(&handle, &stat);
        let wanted = Wanted::new(node, &self.target);
        // One above that looks as in the point was made by this restore, or by its first part.
        let dress = !self.above || wanted.is_on(&parent.handle, name, &stat, &node.kind);
        Ok(Made {
            damaged: file::tidy(&handle),
            inherits: self.target.me.differs(&stat) || inherits(&handle, &stat),
            handle: Some(Arc::new(handle)),
            before: Some(stat),
            dress,
            through: false,
        })
    }

    /// Goes on behind what stands in the place of a folder above what is restored, if that leads to one. It stays as it is in any case.
    fn walk_through(&self, what: &str) -> Result<Made, String> {
        let path = self.path();
        let stays = |why: &str| format!("the {what} in its place {NOTHING_BELOW}: {why}");
        if what != "link" {
            return Err(stays("it is no part of what was asked for"));
        }
        if !is_above(&self.target.roots, &path) {
            return Err(stays(
                "where it leads was not captured; move it away, or restore what it stands for itself",
            ));
        }
        let handle = self.target.follow(&path).map_err(|why| {
            let leads = std::fs::read_link(self.target.options.target.join(&path));
            let leads =
                leads.map_or_else(|_| String::new(), |to| format!(" (it is a link to {})", to.display()));
            stays(&format!("{why}{leads}; move it away"))
        })?;
        let stat = rustix::fs::fstat(&handle).map_err(|error| io::Error::from(error).to_string())?;
        self.target.note_device(&handle, &stat);
        Ok(Made {
            damaged: file::tidy(&handle),
            inherits: self.target.me.differs(&stat) || inherits(&handle, &stat),
            handle: Some(Arc::new(handle)),
            before: Some(stat),
            dress: false,
            through: true,
        })
    }

    fn open_again(&self, parent: &Entered, through: bool) -> Result<OwnedFd, String> {
        if through {
            return self.target.follow(&self.path());
        }
        let node = self.node.as_ref().ok_or("it has no name")?;
        let opened = open(&parent.handle, OsStr::from_bytes(&node.name));
        opened.map_err(|error| format!("its folder can't be opened again: {}", io::Error::from(error)))
    }

    /// Sets its own attributes: nobody needs it any longer.
    fn finish(&mut self) {
        let state = std::mem::take(&mut *lock(&self.state));
        let (State::Made(made), Some(node)) = (state, &self.node) else { return };
        let handle = match made.handle {
            Some(handle) => Ok(handle),
            None => {
                let parent = self.parent.as_ref().ok_or_else(|| "it has no parent".to_owned());
                parent
                    .and_then(Folder::enter)
                    .and_then(|parent| self.open_again(&parent, made.through))
                    .map(Arc::new)
            }
        };
        let outcome = match handle {
            Err(why) => Outcome::skipped(why),
            Ok(handle) if made.dress => {
                let standing =
                    made.before.or_else(|| made.inherits.then(|| rustix::fs::fstat(&*handle).ok())?);
                let Me { uid, gid, .. } = self.target.me;
                let before = match &standing {
                    Some(stat) => Before::Standing(stat),
                    // Its mode is always set: it was made for us alone.
                    None => Before::New { uid, gid, mode: u32::MAX },
                };
                let not_set = Wanted::new(node, &self.target).set(handle.as_fd(), before);
                Outcome { not_set, ..Outcome::default() }
            }
            Ok(handle) => {
                // Somebody else's: at most it was opened up for us.
                if let Some(before) = made.before {
                    let _ = rustix::fs::fchmod(&*handle, Mode::from_raw_mode(before.st_mode & 0o7777));
                }
                return;
            }
        };
        self.target.report().note(outcome, || self.path());
    }
}

impl Drop for Folder<'_> {
    fn drop(&mut self) {
        self.finish();
        // One after the other, and not one within the other: a tree may be deeper than the stack.
        let mut above = self.parent.take();
        while let Some(mut folder) = above.and_then(Arc::into_inner) {
            folder.finish();
            above = folder.parent.take();
        }
    }
}

impl Made {
    fn entered(&self) -> Option<Entered> {
        let handle = Arc::clone(self.handle.as_ref()?);
        Some(Entered { handle, standing: self.before.is_some(), plain: !self.inherits })
    }
}

/// Opens the target, made if it isn't there. It alone is reached by a path, through whatever links are on it.
pub(super) fn open_target(path: &Path) -> Result<OwnedFd> {
    let failed = |error| Error::io(format!("restore to {}", path.display()), error);
    process::child::make_folders(path).map_err(failed)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))
}

/// Returns whether new entries of a folder take something from it: its group, or an ACL.
fn inherits(folder: &OwnedFd, stat: &Stat) -> bool {
    stat.st_mode & 0o2000 != 0
        || xattr_names(|buffer| rustix::fs::flistxattr(folder, buffer))
            .iter()
            .any(|name| name == "system.posix_acl_default")
}

/// Opens a directory below another; follows no link.
pub(super) fn open(dir: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, OFlags::RDONLY | flags, Mode::empty()) {
        // One that may be passed and not be listed: a folder of homes, say.
        Err(Errno::ACCESS) => rustix::fs::openat(dir, name, OFlags::PATH | flags, Mode::empty()),
        other => other,
    }
}

/// Makes a directory, or takes the one that is there and returns how it was. Whatever else has its name goes: the point says that it is a
/// directory. A new one is closed to others but for `open_to`.
fn make(dir: &OwnedFd, name: &OsStr, uid: u32, open_to: Mode) -> rustix::io::Result<(OwnedFd, Option<Stat>)> {
    let private = Mode::RWXU | open_to;
    // The umask closes it to all others.
    let made = || {
        let made = open(dir, name)?;
        if !open_to.is_empty() {
            rustix::fs::fchmod(&made, private)?;
        }
        Ok((made, None))
    };
    match rustix::fs::mkdirat(dir, name, private) {
        Ok(()) => return made(),
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
        rustix::fs::mkdirat(dir, name, private)?;
        return made();
    }
    // Ours, without permission for ourselves: it gets its own mode at the end.
    let locked_out = stat.st_uid == uid && uid != 0 && stat.st_mode & 0o700 != 0o700;
    if locked_out {
        chmod(dir, name, Mode::from_raw_mode(stat.st_mode & 0o7777) | Mode::RWXU)?;
    }
    Ok((open(dir, name)?, Some(stat)))
}

/// Opens a directory by its path below another: at once where the kernel can, and name by name where the path is too long for that.
pub(super) fn open_below(root: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::ResolveFlags;
    if path.as_os_str().is_empty() {
        return open(root, OsStr::new("."));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), inside) {
        Err(Errno::NAMETOOLONG | Errno::NOSYS | Errno::PERM) => {
            let mut at = open(root, OsStr::new("."))?;
            for name in path {
                at = open(&at, name)?;
            }
            Ok(at)
        }
        other => other,
    }
}
