//! Somebody destroys: deletes all at once or little by little, or overwrites with something that isn't noise and sets the times back.

use super::attacks::collect;
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use testkit::Random;

/// How a destruction goes about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Destruction {
    deed: Deed,
    /// The share in percent, of what was there at the beginning, that each of so many backups finds destroyed.
    percent: usize,
    backups: usize,
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Deleted,
    Emptied,
    Zeroed,
    Xored,
    OneSentence,
    /// Into an archive with a password.
    Locked,
    /// Into the trash.
    Thrown,
    /// Beside an archive that came, and that can't hold it.
    Covered,
    /// With zeros, and all with one time.
    Stamped,
}

const DESTRUCTIONS: [Destruction; 14] = [
    Destruction { deed: Deed::Deleted, percent: 55, backups: 1 },
    Destruction { deed: Deed::Deleted, percent: 80, backups: 1 },
    Destruction { deed: Deed::Deleted, percent: 100, backups: 1 },
    Destruction { deed: Deed::Deleted, percent: 10, backups: 9 },
    Destruction { deed: Deed::Deleted, percent: 30, backups: 3 },
    Destruction { deed: Deed::Emptied, percent: 80, backups: 1 },
    Destruction { deed: Deed::Zeroed, percent: 30, backups: 1 },
    Destruction { deed: Deed::Xored, percent: 100, backups: 1 },
    Destruction { deed: Deed::Xored, percent: 8, backups: 3 },
    Destruction { deed: Deed::OneSentence, percent: 50, backups: 1 },
    Destruction { deed: Deed::Locked, percent: 80, backups: 1 },
    Destruction { deed: Deed::Thrown, percent: 60, backups: 1 },
    Destruction { deed: Deed::Covered, percent: 80, backups: 1 },
    Destruction { deed: Deed::Stamped, percent: 30, backups: 1 },
];

impl Destruction {
    pub(super) const fn numbered(seed: u64) -> Self {
        DESTRUCTIONS[(seed / 2) as usize % DESTRUCTIONS.len()]
    }

    pub(super) fn name(&self) -> String {
        let what = match self.deed {
            Deed::Deleted => "deleted",
            Deed::Emptied => "made empty",
            Deed::Zeroed => "overwritten with zeros, sizes and times kept",
            Deed::Xored => "changed byte by byte (XOR), sizes and times kept",
            Deed::OneSentence => "filled with one sentence, sizes and times kept",
            Deed::Locked => "put into an archive with a password, and deleted",
            Deed::Thrown => "moved into the trash",
            Deed::Covered => "deleted, and an archive put there that can't hold them",
            Deed::Stamped => "overwritten with zeros, one time for all",
        };
        match self.backups {
            1 => format!("{}% of the files {what}", self.percent),
            backups => format!("{}% of the files by each of {backups} backups {what}", self.percent),
        }
    }

    pub(super) const fn backups(&self) -> usize {
        self.backups
    }

    /// Destroys; `there` is how many files there were at the beginning, which the first strike notes.
    pub(super) fn strike(&self, root: &Path, there: &mut usize, random: &mut Random) {
        let mut files = Vec::new();
        collect(root, &mut files);
        files.sort();
        if *there == 0 {
            *there = files.len();
        }
        // What is destroyed already, nobody destroys again.
        files.retain(|path| !is_destroyed(path));
        let mut bytes = 0;
        for _ in 0..(*there * self.percent).div_ceil(100) {
            if files.is_empty() {
                break;
            }
            let path = files.swap_remove(random.below(files.len()));
            bytes += usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
            self.destroy(root, &path);
        }
        let archive = match self.deed {
            Deed::Locked => Some(("old.zip", b"PK\x03\x04\x14\0\x01\0".as_slice(), bytes / 2)),
            Deed::Covered => Some(("old.tar.gz", b"\x1f\x8b\x08\0".as_slice(), bytes / 50)),
            _ => None,
        };
        if let Some((name, head, length)) = archive {
            fs::write(root.join(name), [head.to_vec(), random.bytes(length)].concat()).unwrap();
        }
    }

    fn destroy(self, root: &Path, path: &PathBuf) {
        let found = fs::metadata(path).unwrap();
        let mut bytes = fs::read(path).unwrap();
        match self.deed {
            Deed::Deleted | Deed::Locked | Deed::Covered => return fs::remove_file(path).unwrap(),
            Deed::Thrown => {
                let name = path.strip_prefix(root).unwrap().display().to_string().replace('/', "-");
                fs::create_dir_all(root.join(".Trash/files")).unwrap();
                return fs::rename(path, root.join(".Trash/files").join(name)).unwrap();
            }
            Deed::Emptied => return fs::write(path, b"").unwrap(),
            Deed::Zeroed | Deed::Stamped => bytes.fill(0),
            Deed::Xored => bytes.iter_mut().for_each(|byte| *byte ^= 0x5a),
            Deed::OneSentence => {
                let sentence = b"All of this is ours now. ";
                bytes.iter_mut().zip(sentence.iter().cycle()).for_each(|(byte, letter)| *byte = *letter);
            }
        }
        fs::write(path, bytes).unwrap();
        let modified = match self.deed {
            Deed::Stamped => SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000),
            _ => found.modified().unwrap(),
        };
        let times = FileTimes::new().set_modified(modified).set_accessed(found.accessed().unwrap());
        File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    }
}

/// Returns whether nothing of a file is left to destroy.
fn is_destroyed(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap();
    bytes.iter().all(|byte| *byte == 0) || bytes.starts_with(b"All of this is ours now. ")
}
