//! Somebody destroys: deletes all at once or little by little, or overwrites with something that isn't noise and sets the times back.

use super::attacks::collect;
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
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
}

const DESTRUCTIONS: [Destruction; 10] = [
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
        for _ in 0..(*there * self.percent).div_ceil(100) {
            if files.is_empty() {
                break;
            }
            let path = files.swap_remove(random.below(files.len()));
            self.destroy(&path);
        }
    }

    fn destroy(self, path: &PathBuf) {
        let found = fs::metadata(path).unwrap();
        let mut bytes = fs::read(path).unwrap();
        match self.deed {
            Deed::Deleted => return fs::remove_file(path).unwrap(),
            Deed::Emptied => return fs::write(path, b"").unwrap(),
            Deed::Zeroed => bytes.fill(0),
            Deed::Xored => bytes.iter_mut().for_each(|byte| *byte ^= 0x5a),
            Deed::OneSentence => {
                let sentence = b"All of this is ours now. ";
                bytes.iter_mut().zip(sentence.iter().cycle()).for_each(|(byte, letter)| *byte = *letter);
            }
        }
        fs::write(path, bytes).unwrap();
        let times =
            FileTimes::new().set_modified(found.modified().unwrap()).set_accessed(found.accessed().unwrap());
        File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    }
}

/// Returns whether nothing of a file is left to destroy.
fn is_destroyed(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap();
    bytes.iter().all(|byte| *byte == 0) || bytes.starts_with(b"All of this is ours now. ")
}
