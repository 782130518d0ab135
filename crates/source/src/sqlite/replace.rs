//! The exchange of a database for the one that was restored.
//!
//! ```text
//! check what was restored                       a damaged one replaces nothing
//! nobody has the old one open                   or refuse
//! bring it beside the old one, durable          link, or copy from another file system
//! remove the old -wal, -shm and -journal        from here on the old state is given up
//! rename it over the old one, durable
//! ```
//!
//! All of it is done in the folder that was opened, whatever takes its name, and nothing that stands there is opened or followed: the folder may belong to somebody
//! who plants links in it.
//!
//! Dying in between leaves the old database, or the new one, under the name; run again, it goes on from what is there.

use super::check::{Check, check};
use super::copy::sort;
use super::place::{BESIDE, refusal, with};
use crate::error::at;
use crate::files::{silence, silent_on_the_way};
use crate::ours::{create_at, give, open_below, open_file, remove_at, way_to};
use crate::way::{self, Ends, Way};
use crate::{Error, Kind, PutBack, Result};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, StatxFlags, fchmod, fstat, linkat, mkdirat, openat, readlinkat, renameat,
    statx,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Up to this length the whole check takes seconds.
const WHOLE_CHECK_MAX_BYTES: u64 = 1 << 30;
/// How many programs are named that have the database open.
const NAMED_MAX: usize = 5;

/// Finds where a database comes back. A link of root's or of our own in its place stays, and what it leads to is replaced; another's is replaced itself, unless he is
/// to be followed. None of another's is on the way.
pub(super) fn target(named: &Path, follow_links: bool) -> Result<Way> {
    let wrong = |error: io::Error| match error.kind() {
        io::ErrorKind::Other => Error::new(at("put back", named), Kind::InTheWay(error.to_string())),
        _ => Error::io(at("put back", named), error),
    };
    if let Some(place) = silent_on_the_way(named) {
        return Err(wrong(io::Error::other(silence(&place))));
    }
    let way = way::to(named, Ends::Followed).map_err(wrong)?;
    if follow_links || way.strange().is_none() {
        return Ok(way);
    }
    let kept = way::to(named, Ends::Kept).map_err(wrong)?;
    match kept.strange() {
        Some(link) => Err(Error::new(at("put back", named), refusal(link, &way.real()))),
        None => Ok(kept),
    }
}

/// Puts `restored/inside` in the place of `target`.
pub(super) fn replace(
    restored: &Path,
    inside: &Path,
    named: &Path,
    follow_links: bool,
    told: &dyn Fn(&str),
) -> Result<PutBack> {
    let (new, target) = (restored.join(inside), named);
    let bytes = match fs::symlink_metadata(&new) {
        Ok(found) if found.is_file() => found.len(),
        Ok(_) => return Err(Error::new(at("put back", target), Kind::NotInPoint)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::new(at("put back", target), Kind::NotInPoint));
        }
        Err(error) => return Err(Error::io(at("look at", &new), error)),
    };
    let thorough = if bytes < WHOLE_CHECK_MAX_BYTES { Check::Whole } else { Check::Quick };
    let checked = check(&new, thorough)
        .map_err(|error| sort(at("check", &new), &error, || File::open(&new), Duration::ZERO))?;
    if let Some(damage) = checked.damage {
        return Err(Error::new(at("put back", target), Kind::Damaged(damage)));
    }
    if let Some(unchecked) = &checked.unchecked {
        told(&format!("{}: {unchecked}", target.display()));
    }
    let findings = checked.disagrees.iter();
    let findings =
        findings.map(|why| format!("{}: {why}: it is back as it was; try REINDEX", target.display()));
    let findings = findings.collect();

    let way = self::target(named, follow_links)?;
    let target = way.real();
    if let Some(link) = way.links.iter().find(|link| link.is_last) {
        told(&format!("{} is a link: the database comes back as {}", link.path.display(), target.display()));
    }
    let Some((name, missing)) = way.rest.split_last() else {
        return Err(Error::new(at("put back", named), Kind::NotInPoint));
    };
    let leftovers = BESIDE.map(|suffix| with(name, suffix));
    let names = leftovers.iter().map(OsString::as_os_str).chain([name.as_os_str()]);
    let users = if missing.is_empty() { users_of(&way.folder, names) } else { Vec::new() };
    if !users.is_empty() {
        return Err(Error::new(at("replace", &target), Kind::InUse(users.join(", "))));
    }
    let folder = make_folders(&way, missing, inside, restored)?;
    if readlinkat(&folder, name, Vec::<u8>::new()).is_ok() {
        told(&format!(
            "{} was another user's link: the database has taken its place, and what it led to is as it was",
            target.display()
        ));
    }

    let ready = with(name, ".releve-new");
    bring(&new, &folder, &ready, told).map_err(|error| Error::io(at("write beside", &target), error))?;
    for leftover in &leftovers {
        remove_at(&folder, leftover)
            .map_err(|error| Error::io(at("remove what is beside", &target), error))?;
    }
    renameat(&folder, &ready, &folder, name)
        .map_err(|error| Error::io(at("replace", &target), error.into()))?;
    // A rename does nothing, and leaves both names, where they are the same file already: when this runs a second time.
    remove_at(&folder, &ready).map_err(|error| Error::io(at("remove what is beside", &target), error))?;
    File::from(folder).sync_all().map_err(|error| Error::io(at("make durable", &target), error))?;
    Ok(PutBack { into: vec![target], bytes, findings, ..PutBack::default() })
}

/// Makes `new` lie in the folder under this name, whole and durable.
fn bring(new: &Path, folder: &OwnedFd, name: &OsStr, told: &dyn Fn(&str)) -> io::Result<()> {
    // What an earlier try left.
    remove_at(folder, name)?;
    let opened = open_file(new)?;
    match linkat(CWD, way_to(&opened), folder, name, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => opened.sync_all(),
        // On another file system, or one without links.
        Err(_) => copy_whole(&opened, new, &create_at(folder, name)?, told),
    }
}

/// Copies content, mode, owner, attributes and times. What can't be set besides the content is told, and costs nobody the database.
fn copy_whole(mut opened: &File, from: &Path, mut file: &File, told: &dyn Fn(&str)) -> io::Result<()> {
    use rustix::fs::{Timespec, Timestamps, XattrFlags, fsetxattr, futimens};
    use std::os::unix::ffi::OsStrExt;
    io::copy(&mut opened, &mut file)?;
    let found = opened.metadata()?;
    let noted = |what: &str, set: io::Result<()>| {
        if let Err(error) = set {
            told(&format!("{what} of the database could not be set: {error}"));
        }
    };
    // Where only root could, the vault could not either.
    noted("the owner", give(file, (found.uid(), found.gid())));
    let (xattrs, unread) = crate::machine::xattrs(from.as_os_str().as_bytes());
    unread.iter().for_each(|why| told(&format!("{}: {why}", from.display())));
    for xattr in xattrs {
        let name = format!("the attribute {}", String::from_utf8_lossy(&xattr.name));
        let set = fsetxattr(file, &*xattr.name, &xattr.value, XattrFlags::empty());
        noted(&name, set.map_err(io::Error::from));
    }
    noted("the mode", file.set_permissions(found.permissions()));
    let stamp = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps {
        last_access: stamp(found.atime(), found.atime_nsec()),
        last_modification: stamp(found.mtime(), found.mtime_nsec()),
    };
    let set = futimens(file, &times);
    noted("the times", set.map_err(io::Error::from));
    file.sync_all()
}

/// Opens the folder of the database. Where it is missing it is made, with the owners and modes that the point has for it, and so are those above it.
fn make_folders(way: &Way, missing: &[OsString], inside: &Path, restored: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at_path = way.path.clone();
    let wrong = |path: &Path, error: io::Error| Error::io(at("make the folder", path), error);
    let mut here = openat(&way.folder, ".", flags, Mode::empty())
        .map_err(|error| Error::io(at("open the folder", &way.path), error.into()))?;
    for (done, name) in missing.iter().enumerate() {
        at_path.push(name);
        let model = inside.ancestors().nth(missing.len() - done).map(|part| restored.join(part));
        let model = model.and_then(|model| fs::symlink_metadata(model).ok()).filter(fs::Metadata::is_dir);
        here = make_one(&here, name, model.as_ref()).map_err(|error| wrong(&at_path, error))?;
    }
    Ok(here)
}

fn make_one(above: &OwnedFd, name: &OsStr, model: Option<&fs::Metadata>) -> io::Result<OwnedFd> {
    match mkdirat(above, name, Mode::RWXU) {
        Err(error) if error != Errno::EXIST => return Err(error.into()),
        _ => {}
    }
    let folder = open_below(above, name)?;
    if fstat(&folder)?.st_uid != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("somebody else has just made one of that name: type the same again"));
    }
    if let Some(model) = model {
        give(&folder, (model.uid(), model.gid()))?;
    }
    let mode = model.map_or(0o755, |model| model.mode() & 0o7777);
    fchmod(&folder, Mode::from_raw_mode(mode))?;
    Ok(folder)
}

/// Returns the programs on this machine that have one of `files` open, as far as we may see: a running one would go on writing
/// into files that no longer have a name, and remove the new ones when it ends.
fn users_of<'a>(folder: &OwnedFd, names: impl Iterator<Item = &'a OsStr>) -> Vec<String> {
    let look = |name| statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS).ok();
    let wanted: Vec<(u64, u64)> =
        names.filter_map(look).map(|found| (crate::machine::device_of(&found), found.stx_ino)).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut users = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let is_process = process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
        let Some(open) = is_process.then(|| fs::read_dir(process.path().join("fd")).ok()).flatten() else {
            continue;
        };
        let holds = open
            .flatten()
            .filter_map(|fd| fs::metadata(fd.path()).ok())
            .any(|found| wanted.contains(&(found.dev(), found.ino())));
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            users.push(format!("{} (process {})", name.trim(), process.file_name().display()));
        }
        if users.len() == NAMED_MAX {
            break;
        }
    }
    users
}
