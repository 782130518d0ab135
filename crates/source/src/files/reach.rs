//! Opening what lies at a path, never through a symbolic link, however long the path is.

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat, openat2, statx};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Linux refuses longer paths in one call (4,096 bytes with the final NUL): we go on in pieces well below that.
const PIECE_MAX_BYTES: usize = 3072;

/// The root directory, from which everything is opened.
#[derive(Debug)]
pub(super) struct Reach {
    root: OwnedFd,
}

/// How an entry can be named in a call that takes a path and nothing else.
pub(super) struct Named {
    pub(super) path: PathBuf,
    // Keeps the directory open that `path` goes through.
    _parent: Option<OwnedFd>,
}

impl Reach {
    pub(super) fn new() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: openat(rustix::fs::CWD, "/", flags, Mode::empty())? })
    }

    /// Opens what lies at `path` (relative to the root, empty for the root itself). A symbolic link anywhere in it is an error.
    pub(super) fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let (parent, rest) = self.approach(path)?;
        let from = parent.as_ref().map_or(self.root(), |parent| parent.as_fd());
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        // Without leave to keep the time of access (somebody else's file), reading matters more.
        Ok(match open_piece(from, rest, flags) {
            Err(Errno::PERM) if flags.contains(OFlags::NOATIME) => {
                open_piece(from, rest, flags - OFlags::NOATIME)
            }
            other => other,
        }?)
    }

    /// Returns what one look at the entry tells. A link at the end is looked at, not followed.
    pub(super) fn stat(&self, path: &Path) -> io::Result<Statx> {
        let fd = self.open(path, OFlags::PATH)?;
        stat_open(fd.as_fd())
    }

    /// Returns a short path to the entry for calls that know no directory handles.
    pub(super) fn name(&self, path: &Path) -> io::Result<Named> {
        if path.as_os_str().len() <= PIECE_MAX_BYTES {
            return Ok(Named { path: Path::new("/").join(path), _parent: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let parent = self.open(parent, OFlags::PATH | OFlags::DIRECTORY)?;
        let path = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(name);
        Ok(Named { path, _parent: Some(parent) })
    }

    fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Walks a long path until what is left fits in one call.
    fn approach<'a>(&self, path: &'a Path) -> io::Result<(Option<OwnedFd>, &'a Path)> {
        let mut rest = path.as_os_str().as_bytes();
        let mut here: Option<OwnedFd> = None;
        while rest.len() > PIECE_MAX_BYTES {
            let head = rest.get(..PIECE_MAX_BYTES).unwrap_or_default();
            let cut = head.iter().rposition(|&byte| byte == b'/').ok_or(Errno::NAMETOOLONG)?;
            let (piece, tail) = rest.split_at(cut);
            let from = here.as_ref().map_or(self.root(), |here| here.as_fd());
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            here = Some(open_piece(from, Path::new(OsStr::from_bytes(piece)), flags)?);
            rest = tail.strip_prefix(b"/").unwrap_or(tail);
        }
        Ok((here, Path::new(OsStr::from_bytes(rest))))
    }
}

/// Returns what the machine says about something that is open.
pub(super) fn stat_open(fd: BorrowedFd<'_>) -> io::Result<Statx> {
    Ok(statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?)
}

fn open_piece(from: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match openat2(from, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // A kernel before 5.6, or a sandbox that doesn't know the call.
        Err(Errno::NOSYS) => step_by_step(from, path, flags),
        other => other,
    }
}

/// Opens one name after the other, which needs no newer call and follows no link either.
fn step_by_step(from: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut names = path.components().peekable();
    let mut here: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        let flags = match names.peek() {
            Some(_) => OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            None => flags,
        };
        let base = here.as_ref().map_or(from, |here| here.as_fd());
        here = Some(openat(base, name.as_os_str(), flags, Mode::empty())?);
    }
    here.ok_or(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_opening_refuse_links() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        std::fs::create_dir(base.join("real")).unwrap();
        std::fs::write(base.join("real/file"), "x").unwrap();
        std::os::unix::fs::symlink("real", base.join("link")).unwrap();
        let reach = Reach::new().unwrap();
        let inside = |name: &str| base.strip_prefix("/").unwrap().join(name);
        assert!(reach.open(&inside("real/file"), OFlags::RDONLY).is_ok());
        assert!(reach.open(&inside("link/file"), OFlags::RDONLY).is_err());
        assert!(step_by_step(reach.root(), &inside("real/file"), OFlags::RDONLY | OFlags::NOFOLLOW).is_ok());
        assert!(step_by_step(reach.root(), &inside("link/file"), OFlags::RDONLY | OFlags::NOFOLLOW).is_err());
        // Looked at, a link is itself.
        let stat = reach.stat(&inside("link")).unwrap();
        assert!(matches!(crate::machine::node(Vec::new(), &stat).kind, vault::NodeKind::Symlink { .. }));
    }
}
