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
    Base64,
    Hexadecimal,
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

/// The share in percent that is encrypted by each of so many backups; none: the largest file alone.
#[derive(Debug, Clone, Copy)]
struct Pace {
    percent: u64,
    backups: usize,
}

const PARTS: [Part; 5] = [Part::All, Part::Beginning, Part::EveryOther, Part::Base64, Part::Hexadecimal];
const NAMES: [Name; 3] = [Name::Kept, Name::Longer, Name::Random];
const CHOSEN: [Chosen; 4] = [Chosen::Any, Chosen::Texts, Chosen::Pictures, Chosen::Documents];
const PACES: [Pace; 5] = [
    Pace { percent: 100, backups: 1 },
    Pace { percent: 10, backups: 1 },
    Pace { percent: 1, backups: 1 },
    Pace { percent: 8, backups: 7 },
    Pace { percent: 0, backups: 1 },
];

impl Attack {
    pub(super) fn numbered(seed: u64, random: &mut Random) -> Self {
        let n = (seed / 2) as usize;
        let (part, pace) = (PARTS[n % 5], PACES[(n + n / 5) % 5]);
        let name = match (NAMES[n % 3], part) {
            // Under random names, and longer by a share of itself, it may not be found, and docs/tampering.md says so.
            (Name::Random, Part::Base64 | Part::Hexadecimal) => Name::Longer,
            // Parts of one file alone neither.
            (Name::Random, Part::Beginning | Part::EveryOther) if pace.percent == 0 => Name::Kept,
            (name, _) => name,
        };
        Self { part, name, files: CHOSEN[random.below(4)], pace }
    }

    pub(super) fn name(&self) -> String {
        let part = match self.part {
            Part::All => "all of each file",
            Part::Beginning => "the first 4 kB of each file",
            Part::EveryOther => "every other 16 kB of each file",
            Part::Base64 => "all of each file, written as base64",
            Part::Hexadecimal => "all of each file, written in hexadecimal",
        };
        match self.pace {
            Pace { percent: 0, .. } => format!("the largest file alone, {}", part.replace("each", "the")),
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
        let mut count = (all * self.pace.percent).div_ceil(100);
        if count == 0 {
            files.retain(|path| is_known(path));
            files.sort_by_key(|path| fs::metadata(path).unwrap().len());
            files.drain(..files.len() - 1);
            count = 1;
        } else {
            files.retain(|path| self.wants(path));
        }
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
            Chosen::Any => is_known(path),
            Chosen::Texts => text,
            Chosen::Pictures => ending == "jpg",
            Chosen::Documents => ["docx", "pdf", "zip"].contains(&ending),
        };
        // In what is shorter, noise that is written as text can't be told, and docs/tampering.md says so.
        let least = if matches!(self.part, Part::Base64 | Part::Hexadecimal) { 700 } else { 200 };
        !is_done && fits && fs::metadata(path).unwrap().len() >= least
    }
}

/// What was noise before can't be told, and docs/tampering.md says so.
fn is_known(path: &Path) -> bool {
    path.extension().is_none_or(|ending| ending != "key" && ending != "hc")
}

/// Writes bytes in an alphabet, in lines.
pub(super) fn letters(alphabet: &[u8], length: usize, random: &mut Random) -> Vec<u8> {
    let symbol = |at: usize| match at % 77 {
        76 => b'\n',
        _ => alphabet[random.below(alphabet.len())],
    };
    (0..length).map(symbol).collect()
}

pub(super) const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encrypt(path: &Path, part: Part, random: &mut Random) {
    let mut bytes = fs::read(path).unwrap();
    match part {
        Part::All => bytes = random.bytes(bytes.len() + 40),
        Part::Base64 => bytes = letters(BASE64, bytes.len() * 4 / 3, random),
        Part::Hexadecimal => bytes = letters(b"0123456789abcdef", bytes.len() * 2, random),
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
