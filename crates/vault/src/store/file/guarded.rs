//! Guards the files of a folder with the immutable flag, as `chattr +i` does: against mistakes, and against programs without
//! CAP_LINUX_IMMUTABLE, those of root in most containers among them. Root of the machine takes the flag off as we do, so that this is
//! never called held.
//!
//! A flagged file can't be renamed, linked, changed or removed: the flag comes last when a file is written, and goes first when one is
//! removed. What is removed before its time is moved to `hidden/` and keeps the flag there, as a bucket hides what it holds. Whoever is
//! killed in between leaves a file without the flag, which the next look gives back.

use super::regular::{self, open_in as open};
use super::{FileStore, kind_of, make_folder, new_file, step, sync};
use crate::store::{Canary, FileKind, Listed, Store, Version, Versions, is_name};
use crate::{Error, Kind, Result};
use jiff::{SignedDuration, Timestamp};
use rustix::fs::{AtFlags, IFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

/// Where what was removed before its time waits.
const HIDDEN: &str = "hidden";
/// What the file in sight is called among its versions; hidden ones are called by the time when they were hidden.
const IN_SIGHT: &str = "in sight";
const CANARY: &str = "releve-canary";
const CANARY_TEXT: &[u8] = b"Releve writes this and tries to delete it, to see whether a program could.\n";

impl FileStore {
    /// Flags a file that was just written. Where that can't be, nothing is lost: the next look says so.
    pub(super) fn guard(&self, kind: FileKind, file: &File) {
        if self.period.is_some() && kind != FileKind::Lock {
            let _ = set_flag(file, true);
        }
    }

    /// Puts a written file into the place of one that carries the flag: it is the same, or the old one is damaged.
    pub(super) fn put_over(
        &self,
        folder: &OwnedFd,
        temporary: &str,
        kind: FileKind,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), Kind> {
        let is_same = match self.get(kind, name) {
            Ok(there) => there == bytes,
            // Longer than any of its kind: it isn't what it was.
            Err(Kind::Damaged(_)) => false,
            Err(error) => return Err(error),
        };
        if is_same {
            return rustix::fs::unlinkat(folder, temporary, AtFlags::empty()).map_err(kind_of);
        }
        if self.period.is_none() {
            return Err(flagged());
        }
        self.hide(folder, kind, name)?;
        regular::rename(folder, temporary, name).map_err(kind_of)
    }

    /// Removes a file: for good if its time is over, else out of sight.
    pub(super) fn take_away(&self, folder: &OwnedFd, kind: FileKind, name: &str) -> Result<(), Kind> {
        let removed = regular::remove(folder, name);
        if removed != Err(Errno::PERM) {
            return removed.map_err(kind_of);
        }
        let file = open(folder, name)?;
        if !is_flagged(&file)? {
            return Err(kind_of(Errno::PERM));
        }
        // Who has no promise to keep is no pruning identity of this vault.
        let Some(period) = self.period else { return Err(flagged()) };
        if free_from(&file, period)? > Timestamp::now() {
            return self.hide(folder, kind, name);
        }
        set_flag(&file, false).map_err(kind_of)?;
        rustix::fs::unlinkat(folder, name, AtFlags::empty()).map_err(kind_of)
    }

    fn hide(&self, folder: &OwnedFd, kind: FileKind, name: &str) -> Result<(), Kind> {
        let hidden = self.hidden(kind, true)?;
        let now = Timestamp::now().as_nanosecond();
        self.shift(folder, name, &hidden, &format!("{name}.{now}"))
    }

    /// Moves a file that carries the flag, which stays off no longer than the move takes.
    fn shift(&self, from: &OwnedFd, name: &str, to: &OwnedFd, new_name: &str) -> Result<(), Kind> {
        let file = open(from, name)?;
        set_flag(&file, false).map_err(kind_of)?;
        let moved = rustix::fs::renameat_with(from, name, to, new_name, RenameFlags::NOREPLACE);
        let flagged = if self.period.is_some() { set_flag(&file, true) } else { Ok(()) };
        moved.and(flagged).map_err(kind_of)?;
        // Its new name must not be lost after the old one is.
        sync(to)?;
        sync(from)
    }

    fn hidden(&self, kind: FileKind, make: bool) -> Result<OwnedFd, Kind> {
        let mut at = self.open_root()?;
        for folder in [HIDDEN, hidden_folder(kind)] {
            if make {
                make_folder(&at, folder)?;
                sync(&at)?;
            }
            at = step(&at, folder)?;
        }
        Ok(at)
    }

    pub(super) fn has_hidden(&self) -> bool {
        self.root.join(HIDDEN).is_dir()
    }

    /// Returns the folder of a version, and its name there.
    fn place_of(&self, kind: FileKind, version: &Version) -> Result<(OwnedFd, String), Kind> {
        if version.id == IN_SIGHT {
            return Ok((self.open_folder(kind, &version.name)?, version.name.clone()));
        }
        Ok((self.hidden(kind, false)?, format!("{}.{}", version.name, version.id)))
    }

    fn open_version(&self, kind: FileKind, version: &Version) -> Result<(OwnedFd, String, File), Kind> {
        let (folder, name) = self.place_of(kind, version)?;
        let file = open(&folder, &name)?;
        Ok((folder, name, file))
    }

    /// Returns a version, and what is in sight under its name: none counts as guarded without the other.
    fn open_all(&self, kind: FileKind, version: &Version) -> Result<Vec<File>, Kind> {
        let mut files = vec![self.open_version(kind, version)?.2];
        if version.id != IN_SIGHT {
            match self.open_folder(kind, &version.name).and_then(|folder| open(&folder, &version.name)) {
                Ok(file) => files.push(file),
                Err(Kind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }

    fn versions_in_sight(&self, kind: FileKind) -> Result<Vec<Version>> {
        let listed = match kind {
            FileKind::Config => vec![Listed { name: "config".into(), size: 0 }],
            _ => (self as &dyn Store).list(kind)?,
        };
        let mut found = Vec::new();
        for Listed { name, .. } in listed {
            match std::fs::metadata(self.path(kind, &name)) {
                // What has taken the place of a file can't be guarded.
                Ok(meta) if !meta.is_file() => {}
                Ok(meta) => found.push(Version {
                    id: IN_SIGHT.into(),
                    size: meta.len(),
                    written: time_of(&meta),
                    is_mark: false,
                    is_current: true,
                    name,
                }),
                // Removed since it was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.failed("look at", kind, &name, kind_of(error))),
            }
        }
        Ok(found)
    }

    fn hidden_versions(&self, kind: FileKind) -> std::io::Result<Vec<Version>> {
        let mut found = Vec::new();
        let entries = match std::fs::read_dir(self.root.join(HIDDEN).join(hidden_folder(kind))) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let file_name = entry.file_name();
            let Some((name, id)) = file_name.to_str().and_then(|name| name.split_once('.')) else { continue };
            if hidden_at(id).is_none() || !(is_name(name) || (kind == FileKind::Config && name == "config")) {
                continue;
            }
            let meta = entry.metadata()?;
            if !meta.is_file() {
                continue;
            }
            found.push(Version {
                name: name.into(),
                id: id.into(),
                size: meta.len(),
                written: time_of(&meta),
                is_mark: false,
                is_current: false,
            });
        }
        Ok(found)
    }

    fn canary(&self) -> Result<Canary, Kind> {
        let root = self.open_root()?;
        let drop_it = || match open(&root, CANARY) {
            Ok(file) => {
                let _ = set_flag(&file, false);
                rustix::fs::unlinkat(&root, CANARY, AtFlags::empty()).map_err(kind_of)
            }
            Err(Kind::NotFound) => Ok(()),
            Err(Kind::Damaged(_)) => regular::remove(&root, CANARY).map_err(kind_of),
            Err(error) => Err(error),
        };
        // That of a try that was killed.
        drop_it()?;
        let (temporary, mut file) = new_file(&root)?;
        file.write_all(CANARY_TEXT).map_err(kind_of)?;
        rustix::fs::renameat(&root, temporary.as_str(), &root, CANARY).map_err(kind_of)?;
        let canary = match set_flag(&file, true) {
            Err(error) => Canary::Lost(why_not(error)),
            Ok(()) => {
                let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let attacks = [
                    rustix::fs::openat(&root, CANARY, flags, Mode::empty()).map(drop),
                    rustix::fs::renameat(&root, CANARY, &root, temporary.as_str()),
                    rustix::fs::unlinkat(&root, CANARY, AtFlags::empty()),
                ];
                // What counts is that it is there afterwards.
                let is_there = rustix::fs::statat(&root, CANARY, AtFlags::SYMLINK_NOFOLLOW).is_ok();
                let refused = attacks.iter().all(|attack| *attack == Err(Errno::PERM));
                match is_there && refused {
                    true => Canary::Guarded,
                    false => Canary::Lost(
                        "a file with the immutable flag could be changed or deleted all the same".into(),
                    ),
                }
            }
        };
        drop_it()?;
        Ok(canary)
    }
}

impl Versions for FileStore {
    fn period(&self) -> Option<SignedDuration> {
        self.period
    }

    fn versions(&self, kind: FileKind) -> Result<Vec<Version>> {
        let mut found = self.versions_in_sight(kind)?;
        let hidden = self.hidden_versions(kind).map_err(|error| {
            Error::io(format!("list {HIDDEN}/{} in {}", hidden_folder(kind), self.address()), error)
        })?;
        found.extend(hidden);
        found.sort_by(|a, b| (&a.name, a.written, &a.id).cmp(&(&b.name, b.written, &b.id)));
        // A file system may list a name twice.
        found.dedup_by(|a, b| a.name == b.name && a.id == b.id);
        // What is out of sight altogether has a mark: the one that uncovers the newest.
        let mut marks = Vec::new();
        for versions in found.chunk_by(|a, b| a.name == b.name) {
            let Some(newest) = versions.last().filter(|_| !versions.iter().any(|v| v.is_current)) else {
                continue;
            };
            let written = hidden_at(&newest.id).unwrap_or(newest.written);
            marks.push(Version { size: 0, written, is_mark: true, is_current: true, ..newest.clone() });
        }
        found.extend(marks);
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn read_version(&self, kind: FileKind, version: &Version) -> Result<Vec<u8>> {
        let read = || {
            let (_, _, file) = self.open_version(kind, version)?;
            super::read_whole(file, kind)
        };
        read().map_err(|cause| self.failed("read a version of", kind, &version.name, cause))
    }

    /// A flag has no end.
    fn held_until(&self, kind: FileKind, version: &Version) -> Result<Option<Timestamp>> {
        let flagged = self
            .open_all(kind, version)
            .and_then(|files| files.iter().map(is_flagged).collect::<Result<Vec<bool>, Kind>>());
        match flagged {
            Ok(flagged) => Ok(flagged.into_iter().all(|flagged| flagged).then_some(Timestamp::MAX)),
            Err(cause) => Err(self.failed("look at the flag of", kind, &version.name, cause)),
        }
    }

    fn hold(&self, kind: FileKind, version: &Version, _until: Timestamp) -> Result<()> {
        let set = |file: &File| set_flag(file, true).map_err(|error| Kind::Refused(why_not(error)));
        let done = self.open_all(kind, version).and_then(|files| files.iter().try_for_each(set));
        done.map_err(|cause| self.failed("guard", kind, &version.name, cause))
    }

    fn unhide(&self, kind: FileKind, mark: &Version) -> Result<()> {
        self.bring_back(kind, mark)
    }

    fn bring_back(&self, kind: FileKind, version: &Version) -> Result<()> {
        let back = || {
            let (hidden, hidden_name) = self.place_of(kind, version)?;
            let folder = self.folder_for_writing(kind, &version.name)?;
            match rustix::fs::statat(&folder, version.name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => self.hide(&folder, kind, &version.name)?,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(kind_of(error)),
            }
            self.shift(&hidden, &hidden_name, &folder, &version.name)
        };
        if version.id == IN_SIGHT {
            return Ok(());
        }
        back().map_err(|cause| self.failed("bring back", kind, &version.name, cause))
    }

    fn free(&self, kind: FileKind, version: &Version, now: Timestamp) -> Result<bool> {
        let Some(period) = self.period.filter(|_| version.id != IN_SIGHT) else { return Ok(false) };
        let free = || {
            let (folder, name, file) = self.open_version(kind, version)?;
            if free_from(&file, period)? > now {
                // Whoever hid it may have been killed before the flag was back.
                let _ = set_flag(&file, true);
                return Ok(false);
            }
            set_flag(&file, false).map_err(kind_of)?;
            rustix::fs::unlinkat(&folder, name.as_str(), AtFlags::empty()).map_err(kind_of)?;
            Ok(true)
        };
        free().map_err(|cause| self.failed("free", kind, &version.name, cause))
    }

    fn try_canary(&self) -> Result<Canary> {
        if self.period.is_none() {
            return Ok(Canary::Lost(
                "nothing is written with the flag: the plan has no immutable_for".into(),
            ));
        }
        let at = || format!("try to delete a file with the immutable flag in {}", self.address());
        self.canary().map_err(|cause| Error::new(at(), cause))
    }
}

fn hidden_folder(kind: FileKind) -> &'static str {
    if kind == FileKind::Config { "config" } else { kind.folder() }
}

fn hidden_at(id: &str) -> Option<Timestamp> {
    Timestamp::from_nanosecond(id.parse().ok()?).ok()
}

/// Returns when a file may go: a period after it was written, by the one clock that the flag keeps anybody from turning.
fn free_from(file: &File, period: SignedDuration) -> Result<Timestamp, Kind> {
    let written = time_of(&file.metadata().map_err(kind_of)?);
    Ok(written.checked_add(period).unwrap_or(Timestamp::MAX))
}

fn time_of(meta: &std::fs::Metadata) -> Timestamp {
    meta.modified().ok().and_then(|time| Timestamp::try_from(time).ok()).unwrap_or(Timestamp::MAX)
}

fn is_flagged(file: &impl AsFd) -> Result<bool, Kind> {
    match rustix::fs::ioctl_getflags(file) {
        Ok(flags) => Ok(flags.contains(IFlags::IMMUTABLE)),
        Err(error) if has_no_flags(error) => Ok(false),
        Err(error) => Err(kind_of(error)),
    }
}

fn set_flag(file: &impl AsFd, on: bool) -> Result<(), Errno> {
    let old = match rustix::fs::ioctl_getflags(file) {
        Err(error) if !on && has_no_flags(error) => return Ok(()),
        old => old?,
    };
    if old.contains(IFlags::IMMUTABLE) == on {
        return Ok(());
    }
    let mut new = old;
    new.set(IFlags::IMMUTABLE, on);
    rustix::fs::ioctl_setflags(file, new)
}

fn has_no_flags(error: Errno) -> bool {
    matches!(error, Errno::NOTTY | Errno::NOTSUP | Errno::INVAL | Errno::NOSYS)
}

fn why_not(error: Errno) -> String {
    match error {
        error if has_no_flags(error) => {
            "this file system has no immutable flag (ext4, xfs and btrfs have)".into()
        }
        Errno::PERM | Errno::ACCESS => "the immutable flag takes root with CAP_LINUX_IMMUTABLE".into(),
        error => format!("the immutable flag can't be set: {error}"),
    }
}

fn flagged() -> Kind {
    let what = "it carries the immutable flag: write immutable_for for this vault in the plan, or take the flag off with chattr -i";
    Kind::Refused(what.into())
}
