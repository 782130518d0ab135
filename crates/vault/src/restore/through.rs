//! Links above what was captured: they are the machine's, or its administrator's (`/lib -> usr/lib`, `/srv -> /data`), and are walked through.
//!
//! Never out of the target, and never where somebody else than the administrator has made them.

use super::folder::{open, open_below};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Returns whether a path, below the target, lies above what was captured.
pub(super) fn is_above(roots: &[PathBuf], path: &Path) -> bool {
    roots.iter().any(|root| root != path && root.starts_with(path))
}

/// Opens the folder that the link at `path` below `root` leads to; an error says why it isn't walked through.
///
/// An absolute link leads below the target too, as it would for whoever starts that system.
pub(super) fn follow(root: &OwnedFd, path: &Path) -> Result<OwnedFd, String> {
    let told = |error: Errno| match error {
        Errno::XDEV => "it leads out of the target".to_owned(),
        Errno::NOENT => "it leads nowhere".to_owned(),
        Errno::NOTDIR => "it leads to no folder".to_owned(),
        Errno::LOOP => "it leads in a circle".to_owned(),
        error => io::Error::from(error).to_string(),
    };
    let inside = |flags: OFlags, how: ResolveFlags| {
        let how = how | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), how)
    };
    let link = inside(OFlags::PATH | OFlags::NOFOLLOW, ResolveFlags::IN_ROOT).map_err(told)?;
    let owner = rustix::fs::fstat(&link).map_err(told)?.st_uid;
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(format!("it belongs to user {owner}, who could lead a restore anywhere with it"));
    }
    let target = rustix::fs::readlinkat(&link, "", Vec::new()).map_err(told)?;
    let enter = |how: ResolveFlags| match inside(OFlags::RDONLY | OFlags::DIRECTORY, how) {
        Err(Errno::ACCESS) => inside(OFlags::PATH | OFlags::DIRECTORY, how),
        other => other,
    };
    match enter(ResolveFlags::BENEATH) {
        Err(Errno::XDEV) if target.as_bytes().starts_with(b"/") || is_root(root) => {
            enter(ResolveFlags::IN_ROOT).map_err(|error| match error {
                Errno::NOENT if !is_root(root) => told(Errno::XDEV),
                error => told(error),
            })
        }
        other => other.map_err(told),
    }
}

/// Opens a folder by its path below the target, through links above what was captured and through no other.
pub(super) fn open_through(root: &OwnedFd, path: &Path, roots: &[PathBuf]) -> rustix::io::Result<OwnedFd> {
    match open_below(root, path) {
        Err(Errno::LOOP | Errno::NOTDIR) => {}
        other => return other,
    }
    let mut at = open(root, OsStr::new("."))?;
    let mut here = PathBuf::new();
    for name in path {
        here.push(name);
        at = match open(&at, name) {
            Err(error @ (Errno::LOOP | Errno::NOTDIR)) if is_above(roots, &here) => {
                follow(root, &here).map_err(|_| error)?
            }
            other => other?,
        };
    }
    Ok(at)
}

/// Returns whether this is where all paths begin, so that nothing leads out of it.
fn is_root(dir: &OwnedFd) -> bool {
    let number = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    let own = rustix::fs::fstat(dir).map(number);
    matches!((own, rustix::fs::stat("/").map(number)), (Ok(own), Ok(root)) if own == root)
}

/// Returns what stands in the way of a folder that is to be there, if it is no folder: in words.
pub(super) fn obstacle(dir: &OwnedFd, name: &OsStr) -> Option<&'static str> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => None,
        FileType::Symlink => Some("link"),
        FileType::RegularFile => Some("file"),
        _ => Some("pipe, socket or device"),
    }
}
