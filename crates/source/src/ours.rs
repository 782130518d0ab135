//! Folders and files of ours beside a system's data. The folder that they lie in may belong to whom that system runs as: he could plant links there, and root must
//! follow none of them, nor give away what he hasn't made.
//!
//! What we make belongs to us as long as anything is done in it, and is opened once: from then on it is reached by what was opened, whatever takes its name.

use crate::error::at;
use crate::way::{Ends, walk};
use crate::{Error, Kind, Result};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat, mkdirat, openat, statat,
    unlinkat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How deep folders lie in one of ours.
const DEPTH_MAX: usize = 8;
/// How what may be somebody else's is opened: a pipe of his is no reason to wait.
const READS: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// What is said of a link in the place of a folder of ours.
const PLANTED: &str = "a link or a file has its name, which Relève has not made: whoever may write beside the data put it there. Look where it leads, remove it, \
    and type the same again";

/// A folder of ours, held open.
#[derive(Debug)]
pub struct OurFolder {
    handle: OwnedFd,
    path: PathBuf,
}

impl OurFolder {
    /// Opens the folder of this path, made where it is missing: the one above it must be there. A link is refused, and so is a folder that neither we have made nor
    /// he could have made to whom the one above it belongs. His becomes ours, and loses the links that are in it.
    pub fn make(path: &Path) -> Result<Self> {
        let handle = make(path).map_err(|error| Error::io(at("open the folder", path), error))?;
        let handle = handle.map_err(|why| Error::new(at("use the folder", path), Kind::Invalid(why)))?;
        Ok(Self { handle, path: path.to_owned() })
    }

    /// Makes sure that [`OurFolder::make`] would not refuse this, and touches nothing. What isn't there can be made.
    pub fn foresee(path: &Path) -> Result<()> {
        match look(path) {
            Ok(None) => Ok(()),
            Ok(Some(why)) => Err(Error::new(at("use the folder", path), Kind::Invalid(why))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io(at("open the folder", path), error)),
        }
    }

    /// Returns the way to it for this process alone, which nobody can turn aside.
    #[must_use]
    pub fn way(&self) -> PathBuf {
        way_to(&self.handle)
    }

    /// Returns its path, for a person and for other programs.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a file in it anew.
    pub(crate) fn create(&self, name: &OsStr) -> io::Result<File> {
        create_at(&self.handle, name)
    }
}

/// Makes a file anew for its owner alone, in the place of whatever has its name.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    create_at(&parent_of(path)?, name_of(path)?)
}

/// Reads a file that may belong to somebody else; through no link, and nothing but a file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file_at(parent_of(path)?, name_of(path)?)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file of a folder that somebody has a good reason to reach through a link; itself it must be none, and a file.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    open_file_at(CWD, path.as_os_str())
}

/// The same below a folder that is held open.
pub(crate) fn open_file_at(folder: impl AsFd, name: &OsStr) -> io::Result<File> {
    let file = File::from(openat(folder, name, READS, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no file")),
    }
}

/// Gives an open file or folder to its owner. Only root gives files away, and whoever isn't root runs the system himself.
pub(crate) fn give(file: impl AsFd, (uid, gid): (u32, u32)) -> io::Result<()> {
    match std::os::unix::fs::fchown(file, Some(uid), Some(gid)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// Removes what has this name, if anything has.
pub(crate) fn remove_at(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(error) if error != Errno::NOENT => Err(error.into()),
        _ => Ok(()),
    }
}

pub(crate) fn create_at(parent: &OwnedFd, name: &OsStr) -> io::Result<File> {
    remove_at(parent, name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?))
}

/// Opens a folder of ours. The inner error says why it is none.
fn make(path: &Path) -> io::Result<Result<OwnedFd, String>> {
    let (parent, name) = (parent_of(path)?, name_of(path)?);
    let me = rustix::process::geteuid();
    // Others must reach the files in it that are theirs, where we aren't who the system runs as.
    let mode = Mode::from_raw_mode(if me.is_root() { 0o755 } else { 0o700 });
    let is_new = match mkdirat(&parent, name, mode) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let handle = match open_below(&parent, name) {
        Ok(handle) => handle,
        Err(Errno::LOOP | Errno::NOTDIR) => return Ok(Err(PLANTED.into())),
        Err(error) => return Err(error.into()),
    };
    let own = fstat(&handle)?;
    if let Some(why) = strange(&own, &fstat(&parent)?, is_new) {
        return Ok(Err(why));
    }
    if own.st_uid != me.as_raw() {
        take_over(&handle, 0)?;
    } else if is_new {
        fchmod(&handle, mode)?;
    }
    Ok(Ok(handle))
}

/// Says why what is there can be no folder of ours, if it can't.
fn look(path: &Path) -> io::Result<Option<String>> {
    let parent = parent_of(path)?;
    match open_below(&parent, name_of(path)?) {
        Ok(handle) => Ok(strange(&fstat(&handle)?, &fstat(&parent)?, false)),
        Err(Errno::LOOP | Errno::NOTDIR) => Ok(Some(PLANTED.into())),
        Err(error) => Err(error.into()),
    }
}

/// Says why a folder is none of ours, nor one that he could have made to whom the one above it belongs.
fn strange(own: &Stat, above: &Stat, is_new: bool) -> Option<String> {
    let me = rustix::process::geteuid();
    let is_mine = own.st_uid == me.as_raw();
    // Nobody but root puts anything into a folder of root's that is closed to others.
    let is_safe = above.st_uid == me.as_raw() && above.st_mode & 0o022 == 0;
    let is_owners = me.is_root() && (own.st_uid == above.st_uid || is_safe);
    // One that root keeps closed is no folder of ours, whoever has given it this name.
    let is_strange = me.is_root() && is_mine && !is_new && own.st_mode & 0o005 == 0 && !is_safe;
    (!is_mine && !is_owners || is_strange).then(|| {
        format!(
            "it belongs to the user {}, and Relève has not made it: look at it, move it away, and type the same again",
            own.st_uid
        )
    })
}

/// Makes another's folder ours, so that he changes nothing in it any more, and removes what could lead out of it.
fn take_over(folder: &OwnedFd, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other("folders lie too deep in it: move it away"));
    }
    fchown(folder, Some(Uid::ROOT), Some(Gid::ROOT))?;
    fchmod(folder, Mode::from_raw_mode(0o755))?;
    for entry in fs::read_dir(way_to(folder))? {
        let name = entry?.file_name();
        let stat = statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => take_over(&open_below(folder, &name)?, depth + 1)?,
            FileType::RegularFile if stat.st_nlink == 1 => {}
            _ => unlinkat(folder, &name, AtFlags::empty())?,
        }
    }
    Ok(())
}

pub(crate) fn open_below(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Returns the way for this process alone to what is held open.
pub(crate) fn way_to(held: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()))
}

fn name_of(path: &Path) -> io::Result<&OsStr> {
    path.file_name().ok_or_else(|| io::Error::other("it has no name"))
}

/// Opens the folder that a path lies in, through links of root's and of our own only: another's may lead anywhere by the time that it is followed.
fn parent_of(path: &Path) -> io::Result<OwnedFd> {
    let way = walk(path, Ends::Kept, &mut |met| match met.link.filter(|link| link.is_strange()) {
        Some(link) => Err(io::Error::other(format!(
            "{} on the way there is a link that belongs to the user {}, who can let it lead anywhere: name the place itself",
            Path::new(link.path.file_name().unwrap_or_default()).display(),
            link.uid
        ))),
        None => Ok(()),
    })?;
    match way.rest.len() {
        1 => Ok(way.folder),
        _ => Err(Errno::NOENT.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    /// A user that isn't us.
    const OTHER: u32 = 65_534;

    #[test]
    fn a_link_in_the_place_of_a_folder_of_ours_is_refused_and_what_it_leads_to_is_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (secret, planted) = (dir.path().join("secret"), dir.path().join("main.releve-wal"));
        fs::create_dir(&secret).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o700)).unwrap();
        symlink(&secret, &planted).unwrap();
        // Seen beforehand, where nothing is made either.
        let foreseen = OurFolder::foresee(&planted).unwrap_err().to_string();
        let free = dir.path().join("not/there");
        assert!(OurFolder::foresee(&free).is_ok() && !dir.path().join("not").exists());
        let said = OurFolder::make(&planted).unwrap_err().to_string();
        assert_eq!(said, foreseen);
        assert!(said.contains("a link or a file has its name"), "{said}");
        assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&secret).unwrap().count(), 0);
        // A file of ours takes the place of a link, and leaves alone what that leads to.
        let (file, link) = (dir.path().join("passwd"), dir.path().join("main.releve-recovery.log"));
        fs::write(&file, "root").unwrap();
        symlink(&file, &link).unwrap();
        assert!(read(&link).is_err());
        io::Write::write_all(&mut create(&link).unwrap(), b"log").unwrap();
        assert_eq!(
            (fs::read_to_string(&file).unwrap(), read(&link).unwrap()),
            ("root".into(), b"log".to_vec())
        );
    }

    #[test]
    fn what_takes_the_name_of_a_folder_of_ours_later_turns_nothing_aside() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, other) = (dir.path().join("ours"), dir.path().join("other"));
        fs::create_dir(&other).unwrap();
        let folder = OurFolder::make(&ours).unwrap();
        fs::rename(&ours, dir.path().join("away")).unwrap();
        symlink(&other, &ours).unwrap();
        fs::write(folder.way().join("a"), "x").unwrap();
        folder.create("b".as_ref()).unwrap();
        assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
        assert_eq!(fs::read_dir(dir.path().join("away")).unwrap().count(), 2);
    }

    #[test]
    fn the_owners_folder_becomes_ours_without_its_links_and_another_users_is_refused() {
        assert!(
            rustix::process::geteuid().is_root(),
            "files of other users take root: run the tests as root"
        );
        let dir = tempfile::tempdir().unwrap();
        let (above, shadow) = (dir.path().join("pg"), dir.path().join("shadow"));
        fs::write(&shadow, "x").unwrap();
        let folder = above.join("main.releve-wal");
        fs::create_dir_all(folder.join("history")).unwrap();
        fs::write(folder.join("000000010000000000000001"), "x").unwrap();
        symlink(&shadow, folder.join("000000010000000000000002")).unwrap();
        symlink(&shadow, folder.join("history/00000002.history")).unwrap();
        fs::hard_link(&shadow, folder.join("000000010000000000000003")).unwrap();
        for path in [&above, &folder, &folder.join("history"), &folder.join("000000010000000000000001")] {
            chown(path, Some(OTHER), Some(OTHER)).unwrap();
        }
        OurFolder::make(&folder).unwrap();
        let names = |path: &Path| fs::read_dir(path).unwrap().count();
        assert_eq!((names(&folder), names(&folder.join("history"))), (2, 0));
        assert_eq!(fs::metadata(&folder).unwrap().uid(), 0);
        assert_eq!(fs::metadata(&shadow).unwrap().uid(), 0);
        // Not his, and not ours; and one of root's that he has given this name.
        chown(&folder, Some(OTHER - 1), None).unwrap();
        assert!(OurFolder::make(&folder).is_err());
        chown(&folder, Some(0), None).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(OurFolder::make(&folder).is_err());
        // Through a link of his nothing is made.
        symlink(&above, dir.path().join("way")).unwrap();
        assert!(OurFolder::make(&dir.path().join("way/new")).is_ok());
        std::os::unix::fs::lchown(dir.path().join("way"), Some(OTHER), None).unwrap();
        assert!(OurFolder::make(&dir.path().join("way/other")).is_err());
    }
}
