//! The way to a place, folder by folder: what is there is held open, and each link on the way is known, with whose it is. Links of root's and of our own are
//! followed; another's may lead anywhere by the time that it is, so whoever goes such a way has to ask for it.

use crate::ours::parts_of;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, open, openat, readlinkat, statat};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// How many links may be on a way, as the kernel counts.
const LINKS_MAX: usize = 40;
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What becomes of a link that has the place's own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// It is followed.
    Followed,
    /// It is the place.
    Kept,
}

/// A place, as far as there are folders.
#[derive(Debug)]
pub(crate) struct Way {
    /// The last folder that is there, held open.
    pub(crate) folder: OwnedFd,
    /// Where that really lies.
    pub(crate) path: PathBuf,
    /// What is below it: folders that aren't there, and the place's own name.
    pub(crate) rest: Vec<OsString>,
    /// The links that were followed.
    pub(crate) links: Vec<Link>,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// What it says.
    pub(crate) target: PathBuf,
    /// Whose it is.
    pub(crate) uid: u32,
    /// It has the place's own name.
    pub(crate) is_last: bool,
}

impl Way {
    /// Returns where the place really is.
    pub(crate) fn real(&self) -> PathBuf {
        self.rest.iter().fold(self.path.clone(), |path, name| path.join(name))
    }

    /// Returns the first link that is neither root's nor ours.
    pub(crate) fn strange(&self) -> Option<&Link> {
        let me = rustix::process::geteuid().as_raw();
        self.links.iter().find(|link| link.uid != 0 && link.uid != me)
    }
}

/// Goes to the place of this path. What isn't there at its end is no error; a link that leads nowhere is.
pub(crate) fn to(path: &Path, ends: Ends) -> io::Result<Way> {
    let mut left = parts_of(&std::path::absolute(path)?);
    let mut at = PathBuf::from("/");
    let mut here = open("/", FOLDER, Mode::empty())?;
    let mut links: Vec<Link> = Vec::new();
    // From here on it is the path's own parts again, and not those of a link.
    let mut own = usize::MAX;
    while let Some(name) = left.pop() {
        let is_last = left.is_empty();
        if left.len() < own {
            own = usize::MAX;
        }
        if name == ".." {
            here = openat(&here, "..", FOLDER, Mode::empty())?;
            at.pop();
            continue;
        }
        let is_kept = is_last && ends == Ends::Kept;
        let opened = match is_kept {
            true => Err(Errno::NOENT),
            false => openat(&here, &name, FOLDER, Mode::empty()),
        };
        match opened {
            Ok(_) | Err(Errno::NOENT) if is_last => {
                return Ok(Way { folder: here, path: at, rest: vec![name], links });
            }
            Ok(next) => {
                here = next;
                at.push(name);
            }
            Err(Errno::NOENT) if own == usize::MAX => {
                let rest = std::iter::once(name).chain(left.into_iter().rev()).collect();
                return Ok(Way { folder: here, path: at, rest, links });
            }
            Err(Errno::NOENT) => return Err(io::Error::other(nowhere(&links))),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let stat = statat(&here, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                    match is_last {
                        true => return Ok(Way { folder: here, path: at, rest: vec![name], links }),
                        false => return Err(Errno::NOTDIR.into()),
                    }
                }
                let target = readlinkat(&here, &name, Vec::<u8>::new())?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                links.push(Link { path: at.join(&name), target: target.clone(), uid: stat.st_uid, is_last });
                if links.len() > LINKS_MAX {
                    return Err(io::Error::other("its links lead in a circle"));
                }
                own = own.min(left.len());
                if target.is_absolute() {
                    here = open("/", FOLDER, Mode::empty())?;
                    at = PathBuf::from("/");
                }
                left.extend(parts_of(&target));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::ISDIR.into())
}

/// Returns where an absolute path really leads, if it goes through links.
pub fn leads_to(path: &Path) -> io::Result<Option<PathBuf>> {
    to(path, Ends::Followed).map(|way| (!way.links.is_empty()).then(|| way.real()))
}

/// Says which link leads to a folder that isn't there.
fn nowhere(links: &[Link]) -> String {
    let link = links.last();
    link.map_or_else(String::new, |link| {
        format!("{} is a link to {}, whose folder is not there", link.path.display(), link.target.display())
    })
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
}
