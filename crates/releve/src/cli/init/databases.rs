//! Finds SQLite databases by what they begin with, not by their names.

use super::machine::Bounds;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Every SQLite file begins so (<https://www.sqlite.org/fileformat.html>, 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The smallest page, and the divisor of all page sizes: a file of another length is no database.
const PAGE: u64 = 512;
/// What programs make anew by themselves, or what is captured another way.
const LEFT_OUT: &[&str] = &[
    "PackageKit",
    "apt",
    "command-not-found",
    "containerd",
    "containers",
    "colord",
    "dnf",
    "docker",
    "dpkg",
    "flatpak",
    "fwupd",
    "lxcfs",
    "mlocate",
    "mysql",
    "plocate",
    "postgresql",
    "releve",
    "rpm",
    "snapd",
    "systemd",
];

/// What was found, and whether everything was looked at.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) paths: Vec<PathBuf>,
    pub(super) cut_short: bool,
}

/// Looks through the folders `/srv` and `/var/lib` below `root`; the paths that it returns begin at `root`.
pub(super) fn find(root: &Path, bounds: &Bounds) -> Found {
    let mut search = Search {
        until: Instant::now() + bounds.time,
        left: bounds.files,
        max: bounds.databases,
        found: Found::default(),
    };
    for (folder, depth) in [("srv", bounds.depth), ("var/lib", bounds.depth)] {
        let folder = root.join(folder);
        let Ok(meta) = folder.symlink_metadata() else { continue };
        search.folder(&folder, meta.dev(), depth);
    }
    let mut found = search.found;
    for path in &mut found.paths {
        if let Ok(below) = path.strip_prefix(root) {
            *path = Path::new("/").join(below);
        }
    }
    found.paths.sort();
    found
}

struct Search {
    until: Instant,
    left: usize,
    max: usize,
    found: Found,
}

impl Search {
    /// Stays on one file system: another may be a network that hangs.
    fn folder(&mut self, folder: &Path, device: u64, depth: usize) {
        let Ok(entries) = folder.read_dir() else { return };
        for entry in entries.flatten() {
            if self.left == 0 || self.found.paths.len() >= self.max || Instant::now() > self.until {
                self.found.cut_short = true;
                return;
            }
            self.left -= 1;
            let path = entry.path();
            // Of the link itself, where it is one.
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                let name = entry.file_name();
                let noise = folder.ends_with("var/lib") && LEFT_OUT.iter().any(|left_out| name == *left_out);
                if depth > 1 && meta.dev() == device && !noise && !is_vault(&path) {
                    self.folder(&path, device, depth - 1);
                }
            } else if meta.is_file()
                && meta.len() >= PAGE
                && meta.len().is_multiple_of(PAGE)
                && begins_right(&path)
            {
                self.found.paths.push(path);
            }
        }
    }
}

/// Returns whether a folder is a repository in restic's format: a copy, not an original.
pub(super) fn is_vault(folder: &Path) -> bool {
    ["config", "keys", "data", "snapshots", "index"]
        .iter()
        .all(|part| folder.join(part).symlink_metadata().is_ok())
}

fn begins_right(path: &Path) -> bool {
    let mut begin = [0; 16];
    File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && &begin == MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn database(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        rusqlite::Connection::open(path).unwrap().execute_batch("CREATE TABLE a (b)").unwrap();
    }

    #[test]
    fn databases_are_known_by_their_content() {
        let root = tempfile::tempdir().unwrap();
        database(&root.path().join("srv/shop/data/orders"));
        database(&root.path().join("var/lib/grafana/grafana.db"));
        database(&root.path().join("var/lib/PackageKit/transactions.db"));
        database(&root.path().join("etc/not-here.db"));
        fs::write(root.path().join("srv/shop/fake.db"), vec![b'x'; 4096]).unwrap();
        fs::write(root.path().join("srv/shop/short.db"), MAGIC).unwrap();
        std::os::unix::fs::symlink("data/orders", root.path().join("srv/shop/link.db")).unwrap();
        let found = find(root.path(), &Bounds::default());
        assert!(!found.cut_short);
        assert_eq!(
            found.paths,
            [Path::new("/srv/shop/data/orders"), Path::new("/var/lib/grafana/grafana.db")]
        );
    }

    #[test]
    fn the_search_ends_and_says_that_it_was_cut_short() {
        let root = tempfile::tempdir().unwrap();
        for n in 0..5 {
            database(&root.path().join(format!("srv/{n}.db")));
        }
        let few = find(root.path(), &Bounds { databases: 2, ..Bounds::default() });
        assert!(few.cut_short);
        assert_eq!(few.paths.len(), 2);
        assert!(find(root.path(), &Bounds { files: 3, ..Bounds::default() }).cut_short);
        assert!(
            find(root.path(), &Bounds { time: std::time::Duration::ZERO, ..Bounds::default() }).cut_short
        );
    }
}
