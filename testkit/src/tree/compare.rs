//! Finds what differs between two trees of files.

use rustix::fs::{AtFlags, CWD, FileType, Stat};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Something that isn't the same in both trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where, below the roots.
    pub path: PathBuf,
    /// What, with both values: `mode 0644, 0600`.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.path, self.what)
    }
}

/// Compares what lies below the two folders: kind, content, mode, owner, modification time to the nanosecond, targets of
/// links, which names are hard links of each other, extended attributes (ACLs are among them), device numbers. Not
/// compared: the folders themselves, times of access and of change, inode numbers.
#[must_use]
pub fn compare(a: &Path, b: &Path) -> Vec<Difference> {
    let mut comparison = Comparison { a, b, found: Vec::new(), links: [HashMap::new(), HashMap::new()] };
    comparison.folder(Path::new(""));
    comparison.found
}

struct Comparison<'a> {
    a: &'a Path,
    b: &'a Path,
    found: Vec<Difference>,
    /// The name under which an inode was met first, in each tree.
    links: [HashMap<(u64, u64), PathBuf>; 2],
}

impl Comparison<'_> {
    fn folder(&mut self, folder: &Path) {
        let (in_a, in_b) = (names(&self.a.join(folder)), names(&self.b.join(folder)));
        for name in in_a.union(&in_b) {
            let path = folder.join(name);
            match (in_a.contains(name), in_b.contains(name)) {
                (true, false) => self.note(&path, "only in the first tree"),
                (false, true) => self.note(&path, "only in the second tree"),
                _ => self.entry(&path),
            }
        }
    }

    fn entry(&mut self, path: &Path) {
        let (at_a, at_b) = (self.a.join(path), self.b.join(path));
        let (a, b) = (stat(&at_a), stat(&at_b));
        let kind = FileType::from_raw_mode(a.st_mode);
        let kind_b = FileType::from_raw_mode(b.st_mode);
        if kind != kind_b {
            return self.note(path, format!("{kind:?}, {kind_b:?}"));
        }
        // Linux gives all symbolic links the same mode.
        if a.st_mode != b.st_mode && kind != FileType::Symlink {
            self.note(path, format!("mode {:04o}, {:04o}", a.st_mode & 0o7777, b.st_mode & 0o7777));
        }
        if (a.st_uid, a.st_gid) != (b.st_uid, b.st_gid) {
            self.note(path, format!("owner {}:{}, {}:{}", a.st_uid, a.st_gid, b.st_uid, b.st_gid));
        }
        if (a.st_mtime, a.st_mtime_nsec) != (b.st_mtime, b.st_mtime_nsec) {
            let (a, b) = ((a.st_mtime, a.st_mtime_nsec), (b.st_mtime, b.st_mtime_nsec));
            self.note(path, format!("modified {}.{:09}, {}.{:09}", a.0, a.1, b.0, b.1));
        }
        let (attributes_a, attributes_b) = (attributes(&at_a), attributes(&at_b));
        if attributes_a != attributes_b {
            self.note(path, format!("attributes {attributes_a:?}, {attributes_b:?}"));
        }
        match kind {
            FileType::Directory => self.folder(path),
            FileType::RegularFile => {
                self.hard_link(path, &a, &b);
                if a.st_size != b.st_size {
                    self.note(path, format!("size {}, {}", a.st_size, b.st_size));
                } else if let Some(at) = first_difference(&at_a, &at_b) {
                    self.note(path, format!("content differs in the 64 KiB from byte {at}"));
                }
            }
            FileType::Symlink => {
                let (a, b) = (fs::read_link(at_a).unwrap(), fs::read_link(at_b).unwrap());
                if a != b {
                    self.note(path, format!("target {a:?}, {b:?}"));
                }
            }
            FileType::CharacterDevice | FileType::BlockDevice if a.st_rdev != b.st_rdev => {
                self.note(path, format!("device {:#x}, {:#x}", a.st_rdev, b.st_rdev));
            }
            _ => {}
        }
    }

    fn hard_link(&mut self, path: &Path, a: &Stat, b: &Stat) {
        let [in_a, in_b] = &mut self.links;
        let first_a = in_a.entry((a.st_dev, a.st_ino)).or_insert_with(|| path.to_owned()).clone();
        let first_b = in_b.entry((b.st_dev, b.st_ino)).or_insert_with(|| path.to_owned()).clone();
        if first_a != first_b {
            self.note(path, format!("hard link of {first_a:?}, of {first_b:?}"));
        }
    }

    fn note(&mut self, path: &Path, what: impl Into<String>) {
        self.found.push(Difference { path: path.to_owned(), what: what.into() });
    }
}

fn names(folder: &Path) -> BTreeSet<OsString> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

fn stat(path: &Path) -> Stat {
    rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).unwrap()
}

fn attributes(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Err(Errno::NOTSUP) => 0,
        other => other.unwrap(),
    };
    names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let name = OsString::from_vec(name.to_vec());
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(path, name.as_bytes(), &mut value[..]).unwrap();
            value.truncate(length);
            (name, value)
        })
        .collect()
}

fn first_difference(a: &Path, b: &Path) -> Option<u64> {
    let (mut a, mut b) = (fs::File::open(a).unwrap(), fs::File::open(b).unwrap());
    let (mut piece_a, mut piece_b) = (Vec::new(), Vec::new());
    let mut at = 0;
    loop {
        piece_a.clear();
        piece_b.clear();
        a.by_ref().take(64 << 10).read_to_end(&mut piece_a).unwrap();
        b.by_ref().take(64 << 10).read_to_end(&mut piece_b).unwrap();
        if piece_a != piece_b {
            return Some(at);
        }
        if piece_a.is_empty() {
            return None;
        }
        at += piece_a.len() as u64;
    }
}
