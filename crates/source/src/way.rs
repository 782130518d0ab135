//! The way to a place, folder by folder: what is there is held open, and each link on the way is known, with whose it is. Links of root's and of our own are
//! followed; another's may lead anywhere by the time that it is, so whoever goes such a way has to ask for it.
//!
//! A link is opened once, and asked whose it is and where it leads by what was opened: by its name it could be another one at each question.

use crate::files::{silence, silent_on_the_way};
use rustix::fs::{FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, fstat, fstatfs, open, openat, readlinkat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// How many links may be on a way, as the kernel counts.
pub(crate) const LINKS_MAX: usize = 40;
const LOOKS: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FOLDER: OFlags = LOOKS.union(OFlags::DIRECTORY);

/// What becomes of a link that has the place's own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// It is followed.
    Followed,
    /// It is the place.
    Kept,
    /// It is followed; but one of `/proc` is the place, since what somebody has opened already (`/dev/stdin`, a pipe of a shell) has none of its own.
    Opened,
}

/// A place, as far as there are folders.
#[derive(Debug)]
pub struct Way {
    /// The last folder that is there, held open.
    pub folder: OwnedFd,
    /// Where that really lies.
    pub path: PathBuf,
    /// What is below it: folders that aren't there, and the place's own name.
    pub rest: Vec<OsString>,
    /// The links that were followed.
    pub(crate) links: Vec<Link>,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it lies.
    pub path: PathBuf,
    /// What it says.
    pub target: PathBuf,
    /// Whose it is.
    pub uid: u32,
    /// It has the place's own name.
    pub is_last: bool,
}

/// A folder or a link on the way to a place, before anything is done with it.
#[derive(Debug, Clone, Copy)]
pub struct Met<'a> {
    /// Where it really lies.
    pub path: &'a Path,
    /// What it is, held open, to be looked at.
    pub opened: BorrowedFd<'a>,
    /// What the machine says about that.
    pub stat: &'a Stat,
    /// What is known of a link besides; `None` for a folder.
    pub link: Option<&'a Link>,
}

impl Way {
    /// Returns where the place really is.
    #[must_use]
    pub fn real(&self) -> PathBuf {
        self.rest.iter().fold(self.path.clone(), |path, name| path.join(name))
    }

    /// Returns whether the place is one of `/proc`.
    #[must_use]
    pub fn is_in_proc(&self) -> bool {
        fstatfs(&self.folder).is_ok_and(|disk| disk.f_type == PROC_SUPER_MAGIC)
    }

    /// Returns the first link that is neither root's nor ours.
    pub(crate) fn strange(&self) -> Option<&Link> {
        self.links.iter().find(|link| link.is_strange())
    }
}

impl Link {
    /// Returns whether it is neither root's nor ours.
    pub(crate) fn is_strange(&self) -> bool {
        self.uid != 0 && self.uid != rustix::process::geteuid().as_raw()
    }
}

/// Goes to the place of this path, and says what it has `met` on the way, beginning with the root: an error of that ends it, before a link is followed. What isn't
/// there at its end is no error; a link that leads nowhere is.
pub fn walk(path: &Path, ends: Ends, met: &mut dyn FnMut(Met<'_>) -> io::Result<()>) -> io::Result<Way> {
    let mut left = parts_of(&std::path::absolute(path)?);
    let root = open("/", FOLDER, Mode::empty())?;
    let mut way = Way { folder: root, path: PathBuf::from("/"), rest: Vec::new(), links: Vec::new() };
    met(Met { path: &way.path, opened: way.folder.as_fd(), stat: &fstat(&way.folder)?, link: None })?;
    // From here on it is the path's own parts again, and not those of a link.
    let mut own = usize::MAX;
    while let Some(name) = left.pop() {
        let is_up = name == "..";
        let is_place = left.is_empty() && !is_up;
        if left.len() < own {
            own = usize::MAX;
        }
        if is_place && ends == Ends::Kept {
            way.rest = vec![name];
            return Ok(way);
        }
        // Asked as a folder, what is mounted on demand is mounted.
        let opened = match openat(&way.folder, &name, FOLDER, Mode::empty()) {
            Err(Errno::NOTDIR | Errno::LOOP) => openat(&way.folder, &name, LOOKS, Mode::empty()),
            opened => opened,
        };
        let opened = match opened {
            Err(Errno::NOENT) if is_place || own == usize::MAX => {
                way.rest = std::iter::once(name).chain(left.into_iter().rev()).collect();
                return Ok(way);
            }
            opened => opened?,
        };
        let stat = fstat(&opened)?;
        let path = match is_up {
            true => way.path.parent().unwrap_or(&way.path).to_owned(),
            false => way.path.join(&name),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if is_place && (kind != FileType::Symlink || ends == Ends::Opened && way.is_in_proc()) {
            way.rest = vec![name];
            return Ok(way);
        }
        match kind {
            FileType::Symlink => {
                let target = readlinkat(&opened, "", Vec::<u8>::new())?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                let link = Link { path, target, uid: stat.st_uid, is_last: is_place };
                met(Met { path: &link.path, opened: opened.as_fd(), stat: &stat, link: Some(&link) })?;
                if way.links.len() >= LINKS_MAX {
                    return Err(Errno::LOOP.into());
                }
                own = own.min(left.len());
                if link.target.is_absolute() {
                    way.folder = open("/", FOLDER, Mode::empty())?;
                    way.path = PathBuf::from("/");
                }
                left.extend(parts_of(&link.target));
                way.links.push(link);
            }
            FileType::Directory => {
                met(Met { path: &path, opened: opened.as_fd(), stat: &stat, link: None })?;
                (way.folder, way.path) = (opened, path);
            }
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    Err(Errno::ISDIR.into())
}

/// Goes to the place of this path, and says of links that lead nowhere which it is.
pub(crate) fn to(path: &Path, ends: Ends) -> io::Result<Way> {
    let mut last: Option<Link> = None;
    let walked = walk(path, ends, &mut |met: Met<'_>| {
        last = met.link.cloned().or(last.take());
        Ok(())
    });
    walked.map_err(|error| match (Errno::from_io_error(&error), last) {
        (Some(Errno::NOENT), Some(link)) => io::Error::other(format!(
            "{} is a link to {}, whose folder is not there",
            link.path.display(),
            link.target.display()
        )),
        (Some(Errno::LOOP), _) => io::Error::other("its links lead in a circle"),
        _ => error,
    })
}

/// Returns where an absolute path really leads, if it goes through links. Nothing is touched of what doesn't answer.
pub fn leads_to(path: &Path) -> io::Result<Option<PathBuf>> {
    if let Some(place) = silent_on_the_way(path) {
        return Err(io::Error::other(silence(&place)));
    }
    to(path, Ends::Followed).map(|way| (!way.links.is_empty()).then(|| way.real()))
}

/// Returns the parts of a path, the last one first.
fn parts_of(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::from_bytes(b"..").to_owned()),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{lchown, symlink};

    #[test]
    fn a_place_is_found_through_links_also_where_nothing_stands_and_each_link_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::create_dir(top.join("data")).unwrap();
        symlink("data/real.db", top.join("link.db")).unwrap();
        symlink("data", top.join("lib")).unwrap();
        symlink(top.join("gone/data"), top.join("dangling")).unwrap();
        symlink("itself", top.join("itself")).unwrap();
        let real = |name: &str| to(&top.join(name), Ends::Followed).map(|way| way.real());
        for _ in 0..2 {
            assert_eq!(real("link.db").unwrap(), top.join("data/real.db"));
            assert_eq!(real("lib/../lib/real.db").unwrap(), top.join("data/real.db"));
            assert_eq!(to(&top.join("link.db"), Ends::Kept).unwrap().real(), top.join("link.db"));
            fs::write(top.join("data/real.db"), "").unwrap();
        }
        // Folders that aren't there are the path's own, and never a link's.
        let way = to(&top.join("lib/a/b.db"), Ends::Followed).unwrap();
        assert_eq!((way.path, way.rest), (top.join("data"), vec!["a".into(), "b.db".into()]));
        for name in ["dangling", "dangling/b.db"] {
            let said = real(name).unwrap_err().to_string();
            assert!(said.contains("whose folder is not there"), "{name}: {said}");
        }
        assert!(real("itself").is_err() && real("data/real.db/below").is_err());
        let way = to(&top.join("lib/real.db"), Ends::Followed).unwrap();
        assert_eq!((way.links.len(), way.strange()), (1, None));
        assert!(!way.links[0].is_last);
        if rustix::process::geteuid().is_root() {
            lchown(top.join("lib"), Some(65_534), None).unwrap();
            let way = to(&top.join("lib/real.db"), Ends::Followed).unwrap();
            assert_eq!(way.strange().map(|link| link.uid), Some(65_534));
        }
    }

    #[test]
    fn whatever_is_met_is_held_open_and_a_link_is_judged_before_it_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::create_dir(top.join("data")).unwrap();
        symlink("data", top.join("lib")).unwrap();
        let mut seen = Vec::new();
        let mut note = |met: Met<'_>| -> io::Result<()> {
            assert_eq!(fstat(met.opened)?.st_ino, met.stat.st_ino);
            // By what was opened, whatever takes its name meanwhile.
            if met.link.is_some() && met.path == top.join("lib") {
                fs::remove_file(top.join("lib"))?;
                symlink("/etc", top.join("lib"))?;
            }
            seen.push(met.path.to_owned());
            Ok(())
        };
        let way = walk(&top.join("lib/new.db"), Ends::Followed, &mut note).unwrap();
        assert_eq!(way.real(), top.join("data/new.db"));
        assert_eq!(seen.first().map(PathBuf::as_path), Some(Path::new("/")));
        assert!(seen.ends_with(&[top.clone(), top.join("lib"), top.join("data")]), "{seen:?}");
        let refuse = &mut |met: Met<'_>| match met.link {
            Some(_) => Err(io::Error::other("a link")),
            None => Ok(()),
        };
        assert!(walk(&top.join("lib/new.db"), Ends::Followed, refuse).is_err());
        assert!(walk(&top.join("lib"), Ends::Kept, refuse).is_ok());
        // What somebody has opened already is the place itself, where that is asked for.
        let held = std::fs::File::open(top.join("data")).unwrap();
        let path = crate::ours::way_to(&held);
        assert_eq!(to(&path, Ends::Followed).unwrap().real(), top.join("data"));
        assert!(walk(&path, Ends::Opened, &mut |_| Ok(())).unwrap().is_in_proc());
    }
}
