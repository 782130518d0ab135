//! A repository in a folder of this machine.
//!
//! A write makes a temporary file beside its place, fsyncs it, renames it and fsyncs the folder, so that a name is
//! there with all of its bytes or not at all, also after a power cut. For writing, folders are opened one by one from
//! the root without following links: whoever can plant a link in the vault cannot make us write outside of it.

mod guarded;
mod regular;

use super::listing::Course;
use super::pace::SMALL;
use super::{FileKind, Limits, Listed, Pace, Store, Versions, is_name, place, temporary};
use crate::{Error, Kind, Result, budget};
use jiff::SignedDuration;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Above this, a range is held against the length of the file before memory is taken for it: the index that
/// names the range may be damaged.
const RANGE_UNCHECKED_MAX: u64 = 64 << 20;

/// Room that is kept for a full disk: whoever makes room has to write a lock and an index before.
const RESERVE: &str = "releve-reserve";
const RESERVE_MAX: u64 = 4 << 20;
/// Less is of no use.
const RESERVE_MIN: u64 = 256 << 10;
/// So many entries of a folder are looked at before it is asked whether its listing gets on.
const PAGE: u64 = 1000;

/// A folder that holds a repository.
#[derive(Debug)]
pub(super) struct FileStore {
    root: PathBuf,
    pace: Option<Pace>,
    /// How long what is written carries the immutable flag; `None` for a folder that isn't guarded.
    period: Option<SignedDuration>,
    /// The folders that were searched for what killed writers left behind, since this store was opened.
    tidied: Mutex<HashSet<String>>,
}

impl FileStore {
    pub(super) fn new(root: PathBuf, limits: &Limits, period: Option<SignedDuration>) -> Self {
        Self { root, pace: limits.pace.clone(), period, tidied: Mutex::default() }
    }

    fn path(&self, kind: FileKind, name: &str) -> PathBuf {
        self.root.join(kind.path(name))
    }

    fn failed(&self, verb: &str, kind: FileKind, name: &str, cause: Kind) -> Error {
        // A file that isn't there is something else than a disk that isn't mounted.
        let cause = match cause {
            Kind::NotFound if !self.root.is_dir() => Kind::NoRepository,
            cause => cause,
        };
        Error::new(place(self, verb, kind, name), cause)
    }

    fn open_root(&self) -> Result<OwnedFd, Kind> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&self.root, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOENT => Kind::NoRepository,
            error => kind_of(error),
        })
    }

    fn open_folder(&self, kind: FileKind, name: &str) -> Result<OwnedFd, Kind> {
        let mut at = self.open_root()?;
        for folder in folders(&kind.path(name)).split('/').filter(|folder| !folder.is_empty()) {
            at = step(&at, folder)?;
        }
        Ok(at)
    }

    // A folder that a copying tool left out because it was empty is made again, but only in a repository: an
    // empty mount point must not fill up because its disk is missing.
    fn restore_folder(&self, kind: FileKind, name: &str) -> Result<OwnedFd, Kind> {
        let mut at = self.open_root()?;
        if !self.path(FileKind::Config, "config").is_file() && step(&at, kind.folder()).is_err() {
            return Err(Kind::NoRepository);
        }
        for folder in folders(&kind.path(name)).split('/').filter(|folder| !folder.is_empty()) {
            make_folder(&at, folder)?;
            sync(&at)?;
            at = step(&at, folder)?;
        }
        Ok(at)
    }

    fn folder_for_writing(&self, kind: FileKind, name: &str) -> Result<OwnedFd, Kind> {
        match self.open_folder(kind, name) {
            Err(Kind::NotFound) => self.restore_folder(kind, name),
            other => other,
        }
    }

    fn put(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<(), Kind> {
        let folder = self.folder_for_writing(kind, name)?;
        let (temporary, mut file) = new_file(&folder)?;
        let path = kind.path(name);
        let first =
            self.tidied.lock().unwrap_or_else(PoisonError::into_inner).insert(folders(&path).to_owned());
        if first {
            tidy(&folder, &file);
        }
        let place = || match regular::rename(&folder, temporary.as_str(), name) {
            Err(Errno::PERM) => self.put_over(&folder, &temporary, kind, name, bytes),
            other => other.map_err(kind_of),
        };
        let written = self.write_paced(&mut file, bytes).and_then(|()| file.sync_all());
        if let Err(error) = written.map_err(kind_of).and_then(|()| place()) {
            // What is left of it is in nobody's way, and tidied up a day later.
            let _ = rustix::fs::unlinkat(&folder, temporary.as_str(), AtFlags::empty());
            return Err(error);
        }
        sync(&folder)?;
        self.guard(kind, &file);
        Ok(())
    }

    // A folder may lie on a disk at the other end of a line.
    fn write_paced(&self, file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
        if let Some(pace) = &self.pace
            && bytes.len() >= SMALL
        {
            while let Some((piece, rest)) = bytes.split_at_checked(pace.piece()) {
                pace.block(piece.len());
                file.write_all(piece)?;
                bytes = rest;
            }
            pace.block(bytes.len());
        }
        file.write_all(bytes)
    }

    fn make(&self) -> Result<(), Kind> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(kind_of)?;
        let root = self.open_root()?;
        let (temporary, file) = new_file(&root)?;
        rustix::fs::unlinkat(&root, temporary.as_str(), AtFlags::empty()).map_err(kind_of)?;
        tidy(&root, &file);
        for kind in FileKind::LISTED {
            make_folder(&root, kind.folder())?;
            let folder = step(&root, kind.folder())?;
            tidy(&folder, &file);
            if kind == FileKind::Pack {
                for first in 0..=u8::MAX {
                    let name = format!("{first:02x}");
                    make_folder(&folder, &name)?;
                    tidy(&step(&folder, &name)?, &file);
                }
            }
            sync(&folder)?;
        }
        sync(&root)?;
        // The root's own name has to survive a power cut too. Where we may not look, somebody else has made it.
        let above = self.root.parent().unwrap_or(Path::new("/"));
        match File::open(above) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            above => sync(&above.map_err(kind_of)?),
        }
    }

    /// Puts a file with nothing in it aside, of which the disk has the blocks.
    fn reserve(&self) -> Result<(), Kind> {
        // Where files are guarded nothing gives back room before its time.
        if self.period.is_some() {
            return Ok(());
        }
        let root = self.open_root()?;
        let there = rustix::fs::statat(&root, RESERVE, AtFlags::SYMLINK_NOFOLLOW);
        if there.is_ok_and(|there| FileType::from_raw_mode(there.st_mode).is_file()) {
            return Ok(());
        }
        let room = rustix::fs::fstatvfs(&root).map_err(kind_of)?;
        let size = (room.f_blocks.saturating_mul(room.f_frsize) / 64).min(RESERVE_MAX);
        if size < RESERVE_MIN || room.f_bavail.saturating_mul(room.f_frsize) < size * 8 {
            return Ok(());
        }
        let (temporary, file) = new_file(&root)?;
        let kept = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size)
            .and_then(|()| regular::rename(&root, temporary.as_str(), RESERVE));
        if kept.is_err() {
            let _ = rustix::fs::unlinkat(&root, temporary.as_str(), AtFlags::empty());
        }
        kept.map_err(kind_of)
    }

    /// Removes one of the files that are still being written, as their names say.
    fn remove_unfinished(&self) -> Result<bool, Kind> {
        // Where files are guarded nothing gives back room before its time.
        if self.period.is_some() {
            return Ok(false);
        }
        let packs = (0..=u8::MAX).map(|first| format!("data/{first:02x}"));
        // Not among the locks: somebody may be about to take one.
        let folders = ["", "keys", "snapshots", "index", "data"].map(str::to_owned).into_iter().chain(packs);
        for path in folders {
            let mut folder = self.open_root()?;
            let is_there = path.split('/').filter(|name| !name.is_empty()).try_for_each(|name| {
                folder = step(&folder, name)?;
                Ok::<(), Kind>(())
            });
            if is_there.is_err() {
                continue;
            }
            for entry in Dir::read_from(&folder).map_err(kind_of)?.flatten() {
                if temporary::is_ours(entry.file_name().to_bytes()) {
                    rustix::fs::unlinkat(&folder, entry.file_name(), AtFlags::empty()).map_err(kind_of)?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn list_folder(&self, folder: &Path, found: &mut Vec<Listed>) -> Result<(), Kind> {
        let mut course = Course::default();
        for (nth, entry) in (1..).zip(std::fs::read_dir(folder).map_err(kind_of)?) {
            let entry = entry.map_err(kind_of)?;
            if nth % PAGE == 0 {
                course.page()?;
            }
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !course.saw(&name) || !is_name(&name) {
                continue;
            }
            match std::fs::metadata(entry.path()) {
                Ok(meta) if meta.is_file() => found.push(Listed { name, size: meta.len() }),
                // Something else has taken the place of a file: it is damaged, which whoever reads it says.
                Ok(_) => found.push(Listed { name, size: 0 }),
                // Removed since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(kind_of(error)),
            }
        }
        Ok(())
    }

    fn list_packs(&self, data: &Path, found: &mut Vec<Listed>) -> Result<(), Kind> {
        let mut course = Course::default();
        for (nth, entry) in (1..).zip(std::fs::read_dir(data).map_err(kind_of)?) {
            let entry = entry.map_err(kind_of)?;
            if nth % PAGE == 0 {
                course.page()?;
            }
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_digits = name.len() == 2 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if !course.saw(&name) || !is_digits {
                continue;
            }
            self.list_folder(&entry.path(), found).map_err(|kind| match kind {
                Kind::NotFound => Kind::Damaged(format!("data/{name} went away while it was listed")),
                kind => kind,
            })?;
        }
        Ok(())
    }

    fn get(&self, kind: FileKind, name: &str) -> Result<Vec<u8>, Kind> {
        read_whole(regular::open(&self.path(kind, name))?, kind)
    }

    fn get_range(&self, kind: FileKind, name: &str, range: &Range<u64>) -> Result<Vec<u8>, Kind> {
        let short = || Kind::Damaged(format!("it ends before byte {}", range.end));
        let length = range.end.checked_sub(range.start).ok_or_else(short)?;
        let file = regular::open(&self.path(kind, name))?;
        if length > RANGE_UNCHECKED_MAX && file.metadata().map_err(kind_of)?.len() < range.end {
            return Err(short());
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| short())?];
        file.read_exact_at(&mut bytes, range.start).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => short(),
            _ => kind_of(error),
        })?;
        Ok(bytes)
    }
}

impl Store for FileStore {
    fn address(&self) -> String {
        format!("file://{}", self.root.display())
    }

    fn create(&self) -> Result<()> {
        self.make().map_err(|cause| Error::new(format!("create {}", self.address()), cause))
    }

    fn entries(&self, kind: FileKind) -> Result<Vec<Listed>> {
        let folder = self.root.join(kind.folder());
        let mut found = Vec::new();
        let listed = match kind {
            FileKind::Config => return Ok(found),
            FileKind::Pack => self.list_packs(&folder, &mut found),
            _ => self.list_folder(&folder, &mut found),
        };
        match listed {
            Ok(()) => Ok(found),
            Err(cause) => {
                let cause = if matches!(cause, Kind::NotFound) { Kind::NoRepository } else { cause };
                Err(Error::new(format!("list {} in {}", kind.folder(), self.address()), cause))
            }
        }
    }

    fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>> {
        self.get(kind, name).map_err(|cause| self.failed("read", kind, name, cause))
    }

    fn read_range(&self, kind: FileKind, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.get_range(kind, name, &range).map_err(|cause| self.failed("read", kind, name, cause))
    }

    fn size(&self, kind: FileKind, name: &str) -> Result<Option<u64>> {
        match std::fs::metadata(self.path(kind, name)) {
            Ok(meta) => Ok(Some(if meta.is_file() { meta.len() } else { 0 })),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.root.is_dir() => Ok(None),
            Err(error) => Err(self.failed("look at", kind, name, kind_of(error))),
        }
    }

    fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()> {
        self.put(kind, name, bytes).map_err(|cause| self.failed("write", kind, name, cause))
    }

    fn remove(&self, kind: FileKind, name: &str) -> Result<()> {
        let removed = self.open_folder(kind, name).and_then(|folder| self.take_away(&folder, kind, name));
        match removed {
            Ok(()) | Err(Kind::NotFound) => Ok(()),
            Err(cause) => Err(self.failed("remove", kind, name, cause)),
        }
    }

    fn use_reserve(&self) -> Result<bool> {
        let at = || format!("give up the reserve of {}", self.address());
        let root = self.open_root().map_err(|cause| Error::new(at(), cause))?;
        match regular::remove(&root, RESERVE) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(Error::new(at(), kind_of(error))),
        }
    }

    fn remove_left_behind(&self) -> Result<bool> {
        let at = || format!("remove what is left unfinished in {}", self.address());
        self.remove_unfinished().map_err(|cause| Error::new(at(), cause))
    }

    fn written(&self, kind: FileKind, name: &str) -> Option<SystemTime> {
        // Locks are never held.
        let is_free = self.period.is_none() || kind == FileKind::Lock;
        let meta = is_free.then(|| std::fs::metadata(self.path(kind, name)))?;
        meta.ok()?.modified().ok()
    }

    fn keep_reserve(&self) {
        // For as long as there is room this costs nothing; when there is none it is too late.
        let _ = self.reserve();
    }

    fn lanes(&self) -> usize {
        4
    }

    fn is_local(&self) -> bool {
        true
    }

    fn versions(&self) -> Option<&dyn Versions> {
        (self.period.is_some() || self.has_hidden()).then_some(self)
    }
}

/// Reads a file, unless it is longer than any of its kind.
fn read_whole(file: File, kind: FileKind) -> Result<Vec<u8>, Kind> {
    let size = file.metadata().map_err(kind_of)?.len();
    if size > kind.length_max() {
        return Err(budget::too_long(kind, size));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // It may grow meanwhile.
    file.take(kind.length_max() + 1).read_to_end(&mut bytes).map_err(kind_of)?;
    match bytes.len() as u64 {
        length if length > kind.length_max() => Err(budget::too_long(kind, length)),
        _ => Ok(bytes),
    }
}

fn kind_of(error: impl Into<io::Error>) -> Kind {
    Error::io("", error.into()).kind
}

fn folders(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folders, _)| folders)
}

fn step(at: &OwnedFd, folder: &str) -> Result<OwnedFd, Kind> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, folder, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOTDIR | Errno::LOOP => Kind::Refused(format!(
            "{folder} is no folder but a link or a file; nothing is written through it, put a folder in its place"
        )),
        error => kind_of(error),
    })
}

fn make_folder(at: &OwnedFd, folder: &str) -> Result<(), Kind> {
    match rustix::fs::mkdirat(at, folder, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(kind_of(error)),
    }
}

// Some network disks can't fsync a folder, and say so: what they keep over a power cut is theirs to say.
fn sync(folder: &impl AsFd) -> Result<(), Kind> {
    match rustix::fs::fsync(folder) {
        Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
        Err(error) => Err(kind_of(error)),
    }
}

fn new_file(folder: &OwnedFd) -> Result<(String, File), Kind> {
    let name = temporary::name().map_err(kind_of)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name.as_str(), flags, Mode::RUSR | Mode::WUSR).map_err(kind_of)?;
    Ok((name, File::from(file)))
}

// Removes what writers that were killed left behind. `fresh` was just made, so its age is "now" by the clock that
// stamps the files, which on a network disk is not ours. Whatever fails here is in nobody's way and tried again.
fn tidy(folder: &OwnedFd, fresh: &File) {
    let (Ok(now), Ok(entries)) = (rustix::fs::fstat(fresh), Dir::read_from(folder)) else { return };
    for entry in entries.flatten().filter(|entry| temporary::is_temporary(entry.file_name().to_bytes())) {
        let stale = rustix::fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| stat.st_mtime + temporary::STALE_SECONDS < now.st_mtime);
        if stale {
            let _ = rustix::fs::unlinkat(folder, entry.file_name(), AtFlags::empty());
        }
    }
}
