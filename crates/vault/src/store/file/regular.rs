//! The one way to open what lies in a vault: a pipe would keep us waiting, a device might do something, and a folder or a socket can't be read. Whoever may write
//! into the vault can put them there under any name.

use super::kind_of;
use crate::Kind;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Opens a file to be read. A link at the end is followed, as a person may have put one there.
pub(super) fn open(path: &Path) -> Result<File, Kind> {
    open_at(&rustix::fs::CWD, path, AtFlags::empty(), OFlags::empty())
}

/// Opens a file in a folder that is open; a link is none.
pub(super) fn open_in(folder: &OwnedFd, name: &str) -> Result<File, Kind> {
    open_at(folder, Path::new(name), AtFlags::SYMLINK_NOFOLLOW, OFlags::NOFOLLOW)
}

fn open_at(at: &impl AsFd, path: &Path, look: AtFlags, more: OFlags) -> Result<File, Kind> {
    // Looked at before it is opened: with some devices opening alone has a consequence.
    let seen = rustix::fs::statat(at, path, look).map_err(kind_of)?;
    check(FileType::from_raw_mode(seen.st_mode))?;
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC | more;
    let opened = match rustix::fs::openat(at, path, flags | OFlags::NONBLOCK, Mode::empty()) {
        // A file server holds a lease on the file and must be given the time to hand it back.
        Err(Errno::WOULDBLOCK) => rustix::fs::openat(at, path, flags, Mode::empty()),
        opened => opened,
    };
    let opened = opened.map_err(kind_of)?;
    // What is open now is what counts.
    check(FileType::from_raw_mode(rustix::fs::fstat(&opened).map_err(kind_of)?.st_mode))?;
    Ok(File::from(opened))
}

fn check(kind: FileType) -> Result<(), Kind> {
    let what = match kind {
        FileType::RegularFile => return Ok(()),
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::Directory => "a folder",
        FileType::Symlink => "a link",
        _ => "a device",
    };
    Err(Kind::Damaged(format!("{what} has taken the place of the file")))
}

/// Removes what lies there, whatever it is; of folders only an empty one.
pub(super) fn remove(folder: &OwnedFd, name: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR),
        removed => removed,
    }
}

/// Gives a file its name, in the place of what lies there.
pub(super) fn rename(folder: &OwnedFd, from: &str, to: &str) -> Result<(), Errno> {
    match rustix::fs::renameat(folder, from, folder, to) {
        Err(Errno::ISDIR) => {
            rustix::fs::unlinkat(folder, to, AtFlags::REMOVEDIR)?;
            rustix::fs::renameat(folder, from, folder, to)
        }
        renamed => renamed,
    }
}
