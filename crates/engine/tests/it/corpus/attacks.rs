//! Somebody encrypts: all at once or little by little, whole files or parts of them, under their names or others.

use std::fs;
use std::path::{Path, PathBuf};
use testkit::Random;

/// How an encryption goes about it.
#[derive(Debug)]
pub(super) struct Attack {
    part: Part,
    name: Name,
    files: Chosen,
    pace: Pace,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    All,
    Beginning,
    EveryOther,
}

#[derive(Debug, Clone, Copy)]
enum Name {
    Kept,
    Longer,
    Random,
}

#[derive(Debug, Clone, Copy)]
enum Chosen {
    Any,
    Texts,
    Pictures,
    Documents,
}

/// The share in percent that is encrypted by each of so many backups.
#[derive(Debug, Clone, Copy)]
struct Pace {
    percent: u64,
    backups: usize,
}

const PARTS: [Part; 3] = [Part::All, Part::Beginning, Part::EveryOther];
const NAMES: [Name; 3] = [Name::Kept, Name::Longer, Name::Random];
const CHOSEN: [Chosen; 4] = [Chosen::Any, Chosen::Texts, Chosen::Pictures, Chosen::Documents];
const PACES: [Pace; 4] = [
    Pace { percent: 100, backups: 1 },
    Pace { percent: 10, backups: 1 },
    Pace { percent: 1, backups: 1 },
    Pace { percent: 8, backups: 7 },
];

impl Attack {
    pub(super) fn numbered(seed: u64, random: &mut Random) -> Self {
        let n = (seed / 2) as usize;
        Self {
            part: PARTS[n % 3],
            name: NAMES[n / 3 % 3],
            files: CHOSEN[random.below(4)],
            pace: PACES[n % 4],
        }
    }

    pub(super) fn name(&self) -> String {
        let part = match self.part {
            Part::All => "all of each file",
            Part::Beginning => "the first 4 kB of each file",
            Part::EveryOther => "every other 16 kB of each file",
        };
        match self.pace {
            Pace { percent, backups: 1 } => format!("{percent}% of the files, {part}"),
            Pace { percent, backups } => {
                format!("{percent}% of the files by each of {backups} backups, {part}")
            }
        }
    }

    pub(super) const fn backups(&self) -> usize {
        self.pace.backups
    }

    pub(super) fn strike(&self, root: &Path, step: usize, random: &mut Random) {
        let mut files = Vec::new();
        collect(root, &mut files);
        files.sort();
        let all = files.len() as u64;
        files.retain(|path| self.wants(path));
        let mut count = (all * self.pace.percent).div_ceil(100);
        while count > 0 && !files.is_empty() {
            let path = files.swap_remove(random.below(files.len()));
            encrypt(&path, self.part, random);
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            match self.name {
                Name::Kept => {}
                Name::Longer => fs::rename(&path, path.with_file_name(format!("{name}.locked"))).unwrap(),
                Name::Random => {
                    let name = format!("{:016x}.x{step}", random.next_u64());
                    fs::rename(&path, path.with_file_name(name)).unwrap();
                }
            }
            count -= 1;
        }
    }

    fn wants(&self, path: &Path) -> bool {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
        // What it did already, it leaves, and so it does with what it needs to go on.
        let is_done = ending == "locked" || ending.starts_with('x') && ending.len() == 2;
        let text = ["txt", "csv", "log", "py", "html"].contains(&ending);
        let fits = match self.files {
            // What was noise before can't be told, and docs/tampering.md says so.
            Chosen::Any => ending != "key",
            Chosen::Texts => text,
            Chosen::Pictures => ending == "jpg",
            Chosen::Documents => ["docx", "pdf", "zip"].contains(&ending),
        };
        !is_done && fits && fs::metadata(path).unwrap().len() >= 200
    }
}

fn encrypt(path: &Path, part: Part, random: &mut Random) {
    let mut bytes = fs::read(path).unwrap();
    match part {
        Part::All => bytes = random.bytes(bytes.len() + 40),
        Part::Beginning => {
            let end = bytes.len().min(4096);
            bytes[..end].copy_from_slice(&random.bytes(end));
        }
        Part::EveryOther => {
            for part in bytes.chunks_mut(32 << 10) {
                let end = part.len().min(16 << 10);
                part[..end].copy_from_slice(&random.bytes(end));
            }
        }
    }
    fs::write(path, bytes).unwrap();
}

/// Collects the files below a folder.
pub(super) fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            collect(&entry.path(), files);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
}
