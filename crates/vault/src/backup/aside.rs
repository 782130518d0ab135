//! Whose going says nothing: what lies in a folder whose name says that things are thrown away there or pass through, and what git
//! takes out of a working copy when it goes to another branch, or out of its own folders when it packs, and keeps beside.

use super::tally::folder;
use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

/// Names of folders, without dots before them or numbers behind them, in lower case. In a mail store the last part of a name counts (`INBOX.Trash`).
const PASSING: &[&str] = &[
    "trash",
    "corbeille",
    "papierkorb",
    "papelera",
    "cestino",
    "recycle",
    "$recycle.bin",
    "deleted items",
    "deleted messages",
    "tmp",
    "temp",
    "cache",
    "caches",
];
/// Where git keeps what it takes out of the files beside it, and what it writes there as it goes to another branch.
const GIT: &str = ".git";
/// Where it keeps its objects, one by one or in packs, which are smaller by no more than so many times.
const OBJECTS: &str = "objects";
const PACKS: &str = "pack";
const PACKED: u64 = 10;

/// Returns whether a folder lies in one below the captured paths through which things only pass. What lies above them is somebody else's name.
pub(super) fn is_passing(roots: &[PathBuf], at: &Path) -> bool {
    let at = Path::new("/").join(at);
    let below = roots.iter().find_map(|root| at.strip_prefix(root).ok());
    below.is_some_and(|below| below.components().any(|name| says_so(&name)))
}

fn says_so(name: &Component<'_>) -> bool {
    let Some(name) = name.as_os_str().to_str() else { return false };
    let name = name.to_lowercase();
    let last = || name.rsplit('.').next().unwrap_or(&name);
    let numbered = last().trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '-');
    PASSING.iter().any(|passing| [name.as_str(), last(), numbered].contains(passing))
}

/// What git wrote in one backup, by its folders, as [`folder`] calls them.
#[derive(Default)]
pub(super) struct Git {
    heads: HashSet<u64>,
    indexes: HashSet<u64>,
    /// How many bytes of new packs came into one.
    packs: HashMap<u64, u64>,
}

impl Git {
    /// Notes that a file has another content than before. Only going to another branch writes both of these: a commit leaves the first alone, and who deletes leaves
    /// both.
    pub(super) fn wrote(&mut self, folder: u64, name: &[u8]) {
        match name {
            b"HEAD" => _ = self.heads.insert(folder),
            b"index" => _ = self.indexes.insert(folder),
            _ => {}
        }
    }

    /// Notes that a pack of objects came.
    pub(super) fn packed(&mut self, folder: u64, size: u64) {
        *self.packs.entry(folder).or_default() += size;
    }

    /// Returns of the folders from which something is gone, with how many bytes, those whose going says nothing.
    pub(super) fn asides(&self, roots: &[PathBuf], gone: &HashMap<u64, (&Path, u64)>) -> HashSet<u64> {
        let mut loose: HashMap<u64, u64> = HashMap::new();
        for (at, bytes) in gone.values() {
            if let Some(packs) = packs_beside(at) {
                *loose.entry(packs).or_default() += bytes;
            }
        }
        let is_packed = |at: &Path| {
            packs_beside(at).is_some_and(|packs| {
                let bytes = loose.get(&packs).copied().unwrap_or(0);
                self.packs.get(&packs).is_some_and(|packed| packed.saturating_mul(PACKED) >= bytes)
            })
        };
        let is_aside = |at: &Path| is_passing(roots, at) || self.switched(at) || is_packed(at);
        gone.iter().filter(|(_, (at, _))| is_aside(at)).map(|(folder, _)| *folder).collect()
    }

    /// Returns whether a folder belongs to a working copy that went to another branch. What git itself keeps belongs to none.
    fn switched(&self, at: &Path) -> bool {
        if self.heads.is_empty() || at.components().any(|name| name.as_os_str() == GIT) {
            return false;
        }
        at.ancestors().any(|above| {
            let git = folder(&above.join(GIT));
            self.heads.contains(&git) && self.indexes.contains(&git)
        })
    }
}

/// Returns the folder of packs that stands beside a folder of single objects, which has the first two digits of their names.
fn packs_beside(at: &Path) -> Option<u64> {
    let name = at.file_name()?.to_str()?;
    let objects = at.parent()?;
    let is_one = name.len() == 2 && name.bytes().all(|digit| digit.is_ascii_hexdigit());
    (is_one && objects.ends_with(OBJECTS)).then(|| folder(&objects.join(PACKS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_whose_name_says_so_is_told_below_the_captured_paths_alone() {
        let roots = [PathBuf::from("/tmp/home"), PathBuf::from("/var/cache/shop")];
        let is = |at: &str| is_passing(&roots, Path::new(at));
        for passing in [
            "tmp/home/.Trash",
            "tmp/home/anna/.Trash-1000/files",
            "tmp/home/mail/.INBOX.Trash/cur",
            "tmp/home/Corbeille",
            "tmp/home/Deleted Items",
            "tmp/home/.cache/x/y",
            "var/cache/shop/tmp",
        ] {
            assert!(is(passing), "{passing}");
        }
        for other in
            ["tmp/home", "tmp/home/anna/template", "var/cache/shop", "tmp/other/Trash", "tmp/home/1000"]
        {
            assert!(!is(other), "{other}");
        }
    }

    #[test]
    fn only_a_working_copy_whose_branch_is_another_holds_what_went() {
        let mut switched = Git::default();
        let git = |at: &str| folder(Path::new(at));
        switched.wrote(git("srv/a/.git"), b"HEAD");
        switched.wrote(git("srv/a/.git"), b"index");
        switched.wrote(git("srv/b/.git"), b"index");
        assert!(switched.switched(Path::new("srv/a")) && switched.switched(Path::new("srv/a/docs")));
        for other in ["srv/b", "srv", "srv/ab", "srv/a/.git/objects/0a"] {
            assert!(!switched.switched(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn objects_that_went_into_a_pack_are_aside_if_it_can_hold_them() {
        let places =
            [Path::new("srv/a/.git/objects/0a"), Path::new("srv/a/.git/objects/ff"), Path::new("srv/a/0a")];
        let gone = HashMap::from(places.map(|at| (folder(at), (at, 1_000))));
        for (size, aside) in [(0, 0), (199, 0), (200, 2)] {
            let mut git = Git::default();
            git.packed(folder(Path::new("srv/a/.git/objects/pack")), size);
            assert_eq!(git.asides(&[], &gone).len(), aside, "{size}");
        }
    }
}
