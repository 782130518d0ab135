//! The exchange of a database for the one that was restored.
//!
//! ```text
//! check what was restored                       a damaged one replaces nothing
//! nobody has the old one open                   or refuse
//! bring it beside the old one, durable          rename, or copy from another file system
//! remove the old -wal, -shm and -journal        from here on the old state is given up
//! rename it over the old one, durable
//! ```
//!
//! Dying in between leaves the old database, or the new one, under the name; run again, it goes on from what is there.

use super::beside;
use super::check::{Check, check};
use super::copy::sort;
use crate::error::at;
use crate::{Error, Kind, PutBack, Result};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Up to this length the whole check takes seconds.
const WHOLE_CHECK_MAX_BYTES: u64 = 1 << 30;
/// How many programs are named that have the database open.
const NAMED_MAX: usize = 5;
/// How many links may lead on from one to the next.
const LINKS_MAX: usize = 40;

/// Puts `restored/inside` in the place of `target`.
pub(super) fn replace(restored: &Path, inside: &Path, target: &Path, told: &dyn Fn(&str)) -> Result<PutBack> {
    let new = restored.join(inside);
    let bytes = match fs::symlink_metadata(&new) {
        Ok(found) if found.is_file() => found.len(),
        Ok(_) => return Err(Error::new(at("put back", target), Kind::NotInPoint)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::new(at("put back", target), Kind::NotInPoint));
        }
        Err(error) => return Err(Error::io(at("look at", &new), error)),
    };
    let thorough = if bytes < WHOLE_CHECK_MAX_BYTES { Check::Whole } else { Check::Quick };
    let checked =
        check(&new, thorough).map_err(|error| sort(at("check", &new), &error, &new, Duration::ZERO))?;
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

    // Through links, so that the database itself is replaced and not the link to it.
    let named = target;
    let target = behind(named)?;
    if fs::read_link(named).is_ok() {
        told(&format!("{} is a link: the database comes back as {}", named.display(), target.display()));
    }
    let leftovers = ["-wal", "-shm", "-journal"].map(|suffix| beside(&target, suffix));
    let users = users_of(leftovers.iter().chain([&target]));
    if !users.is_empty() {
        return Err(Error::new(at("replace", &target), Kind::InUse(users.join(", "))));
    }
    let folder = target.parent().unwrap_or(Path::new("/"));
    make_folder(folder, inside, restored)?;

    let ready = beside(&target, ".releve-new");
    bring(&new, &ready, told)?;
    for leftover in &leftovers {
        match fs::remove_file(leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(at("remove", leftover), error));
            }
            _ => {}
        }
    }
    fs::rename(&ready, &target).map_err(|error| Error::io(at("replace", &target), error))?;
    // A rename does nothing, and leaves both names, where they are the same file already: when this runs a second time.
    match fs::remove_file(&ready) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io(at("remove", &ready), error));
        }
        _ => {}
    }
    sync(folder)?;
    Ok(PutBack { into: vec![target], bytes, findings, ..PutBack::default() })
}

/// Returns where a path leads through links, also where nothing stands there any more. A link stays a link.
fn behind(target: &Path) -> Result<PathBuf> {
    if let Ok(real) = target.canonicalize() {
        return Ok(real);
    }
    let in_the_way = |why: String| Error::new(at("put back", target), Kind::InTheWay(why));
    let mut place = target.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(next) = fs::read_link(&place) else { return Ok(place) };
        let next = place.parent().unwrap_or(Path::new("/")).join(next);
        let folder = next.parent().and_then(|folder| folder.canonicalize().ok());
        let Some((folder, name)) = folder.zip(next.file_name()) else {
            return Err(in_the_way(format!("it is a link to {}, whose folder is not there", next.display())));
        };
        place = folder.join(name);
    }
    Err(in_the_way("it is a link that leads to itself".to_owned()))
}

/// Makes `new` lie at `ready`, whole and durable.
fn bring(new: &Path, ready: &Path, told: &dyn Fn(&str)) -> Result<()> {
    let wrong = |error| Error::io(at("write", ready), error);
    match fs::remove_file(ready) {
        // What an earlier try left.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(wrong(error)),
        _ => {}
    }
    match fs::hard_link(new, ready) {
        Ok(()) => {}
        // On another file system, or one without links.
        Err(_) => copy_whole(new, ready, told).map_err(wrong)?,
    }
    sync(ready)
}

/// Copies content, mode, owner, attributes and times. What can't be set besides the content is told, and costs nobody the database.
fn copy_whole(from: &Path, to: &Path, told: &dyn Fn(&str)) -> io::Result<()> {
    use rustix::fs::{Timespec, Timestamps, XattrFlags, fsetxattr, futimens};
    use std::os::unix::ffi::OsStrExt;
    // Made anew: whose folder it is could have put a link there.
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    let found = fs::metadata(from)?;
    let noted = |what: &str, set: io::Result<()>| {
        if let Err(error) = set {
            told(&format!("{what} of {} could not be set: {error}", to.display()));
        }
    };
    match std::os::unix::fs::fchown(&file, Some(found.uid()), Some(found.gid())) {
        // Only root gives files away, and the vault could not either.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        other => noted("the owner", other),
    }
    let (xattrs, unread) = crate::machine::xattrs(from.as_os_str().as_bytes());
    unread.iter().for_each(|why| told(&format!("{}: {why}", from.display())));
    for xattr in xattrs {
        let name = format!("the attribute {}", String::from_utf8_lossy(&xattr.name));
        let set = fsetxattr(&file, &*xattr.name, &xattr.value, XattrFlags::empty());
        noted(&name, set.map_err(io::Error::from));
    }
    noted("the mode", file.set_permissions(found.permissions()));
    let stamp = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps {
        last_access: stamp(found.atime(), found.atime_nsec()),
        last_modification: stamp(found.mtime(), found.mtime_nsec()),
    };
    let set = futimens(&file, &times);
    noted("the times", set.map_err(io::Error::from));
    Ok(())
}

/// Makes the folder of the database where it is missing, with the owners and modes that the point has for it.
fn make_folder(folder: &Path, inside: &Path, restored: &Path) -> Result<()> {
    let known: Vec<PathBuf> = inside.ancestors().skip(1).map(|part| restored.join(part)).collect();
    let missing: Vec<(&Path, &PathBuf)> =
        folder.ancestors().zip(&known).take_while(|(dir, _)| !dir.exists()).collect();
    for (dir, model) in missing.into_iter().rev() {
        let wrong = |error| Error::io(at("make the folder", dir), error);
        fs::create_dir_all(dir).map_err(wrong)?;
        let model = fs::metadata(model).map_err(wrong)?;
        match std::os::unix::fs::chown(dir, Some(model.uid()), Some(model.gid())) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            other => other.map_err(wrong)?,
        }
        fs::set_permissions(dir, model.permissions()).map_err(wrong)?;
    }
    fs::create_dir_all(folder).map_err(|error| Error::io(at("make the folder", folder), error))
}

fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| Error::io(at("make durable", path), error))
}

/// Returns the programs on this machine that have one of `files` open, as far as we may see: a running one would go on writing
/// into files that no longer have a name, and remove the new ones when it ends.
fn users_of<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Vec<String> {
    let wanted: Vec<(u64, u64)> =
        files.filter_map(|file| fs::metadata(file).ok()).map(|found| (found.dev(), found.ino())).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_stays_one_and_what_it_leads_to_comes_back_also_where_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::create_dir(top.join("data")).unwrap();
        let link = top.join("link.db");
        symlink("data/real.db", &link).unwrap();
        assert_eq!(behind(&link).unwrap(), top.join("data/real.db"));
        fs::write(top.join("data/real.db"), "").unwrap();
        assert_eq!(behind(&link).unwrap(), top.join("data/real.db"));
        assert_eq!(behind(&top.join("none.db")).unwrap(), top.join("none.db"));
        fs::remove_dir_all(top.join("data")).unwrap();
        let said = behind(&link).unwrap_err().to_string();
        assert!(said.contains("whose folder is not there"), "{said}");
        symlink(top.join("itself"), top.join("itself")).unwrap();
        assert!(behind(&top.join("itself")).is_err());
    }
}
