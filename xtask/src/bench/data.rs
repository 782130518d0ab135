//! The data that the programs are compared on: the same bytes for the same number, on every machine.
//!
//! A company's file share in small: most files are small texts, most bytes are in middling ones, half of the bytes compress.

use crate::run::{Failure, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// One file in this many changes between two backups.
const CHANGED: usize = 100;

const LARGE: usize = 1 << 30;

const FILES_IN_A_FOLDER: usize = 100;

/// How long each file is where it is their number that costs.
pub(super) const TINY_BYTES: usize = 120;

/// What the programs back up and restore.
pub(super) struct Data {
    pub(super) folder: PathBuf,
    pub(super) files: usize,
    pub(super) bytes: u64,
}

/// Makes the folder whose first backup makes the vault, so that no measured one has to. It isn't empty: a first point that holds nothing is suspicious.
pub(super) fn seed(folder: &Path) -> Result {
    std::fs::create_dir_all(folder).map_err(Failure::at(format_args!("make {}", folder.display())))?;
    let file = folder.join("seed");
    std::fs::write(&file, "seed\n").map_err(Failure::at(format_args!("write {}", file.display())))
}

impl std::fmt::Display for Data {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} files, {:.2} GB", self.files, self.bytes as f64 / 1e9)
    }
}

impl Data {
    /// Makes the folder of many files.
    pub(super) fn many(folder: PathBuf, files: usize) -> Result<Self> {
        let mut random = Random(1);
        let mut bytes = 0;
        let mut content = Vec::new();
        for at in 0..files {
            let path = path(&folder, at);
            if at % FILES_IN_A_FOLDER == 0 {
                let parent = path.parent().unwrap_or(&folder);
                std::fs::create_dir_all(parent)
                    .map_err(Failure::at(format_args!("make {}", parent.display())))?;
            }
            content.clear();
            fill(&mut content, at, &mut random);
            std::fs::write(&path, &content).map_err(Failure::at(format_args!("write {}", path.display())))?;
            bytes += content.len() as u64;
        }
        Ok(Self { folder, files, bytes })
    }

    /// Makes a folder of tiny files.
    pub(super) fn tiny(folder: PathBuf, files: usize) -> Result<Self> {
        let data = Self { folder, files, bytes: (files * TINY_BYTES) as u64 };
        for number in 0..files {
            let path = data.tiny_path(number);
            if number % FILES_IN_A_FOLDER == 0 {
                let parent = path.parent().unwrap_or(&data.folder);
                std::fs::create_dir_all(parent)
                    .map_err(Failure::at(format_args!("make {}", parent.display())))?;
            }
            let mut text = format!("file {number} ").repeat(1 + TINY_BYTES / 8);
            text.truncate(TINY_BYTES);
            std::fs::write(&path, text).map_err(Failure::at(format_args!("write {}", path.display())))?;
        }
        Ok(data)
    }

    /// Returns where one of the tiny files is.
    pub(super) fn tiny_path(&self, number: usize) -> PathBuf {
        let folder = number / FILES_IN_A_FOLDER;
        self.folder.join(format!("{:02}/{:03}/file-{number:07}", folder / 100, folder % 100))
    }

    /// Makes a folder with one large file: a mebibyte of text, a mebibyte of noise, in turn.
    pub(super) fn large(folder: PathBuf) -> Result<Self> {
        const PART: usize = 1 << 20;
        let at = || Failure::at(format!("write {}", folder.display()));
        std::fs::create_dir_all(&folder).map_err(at())?;
        let mut file = BufWriter::new(File::create(folder.join("large")).map_err(at())?);
        let mut random = Random(2);
        let mut part = Vec::with_capacity(PART);
        for turn in 0..LARGE / PART {
            part.clear();
            if turn % 2 == 0 {
                text(&mut part, PART, &mut random);
            } else {
                noise(&mut part, PART, &mut random);
            }
            file.write_all(&part).map_err(at())?;
        }
        file.flush().map_err(at())?;
        Ok(Self { folder, files: 1, bytes: LARGE as u64 })
    }

    /// Takes what another program has made, and counts it.
    pub(super) fn found(folder: PathBuf) -> Result<Self> {
        let mut data = Self { folder, files: 0, bytes: 0 };
        let mut folders = vec![data.folder.clone()];
        while let Some(folder) = folders.pop() {
            let at = || Failure::at(format!("list {}", folder.display()));
            for entry in std::fs::read_dir(&folder).map_err(at())? {
                let entry = entry.map_err(at())?;
                let metadata = entry.metadata().map_err(at())?;
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else if metadata.is_file() {
                    data.files += 1;
                    data.bytes += metadata.len();
                }
            }
        }
        Ok(data)
    }

    /// Changes some bytes in the middle of one file in a hundred, others each round.
    pub(super) fn change(&self, round: usize) -> Result<usize> {
        self.change_copy(&self.folder, round)
    }

    /// Does the same to a copy of the data in another folder.
    pub(super) fn change_copy(&self, folder: &Path, round: usize) -> Result<usize> {
        let mut changed = 0;
        for at in (round % CHANGED..self.files).step_by(CHANGED) {
            let path = path(folder, at);
            let write = || -> std::io::Result<()> {
                let file = File::options().write(true).open(&path)?;
                file.write_all_at(format!("round {round}, file {at}").as_bytes(), file.metadata()?.len() / 2)
            };
            write().map_err(Failure::at(format_args!("change {}", path.display())))?;
            changed += 1;
        }
        Ok(changed)
    }
}

fn path(folder: &Path, at: usize) -> PathBuf {
    let inner = at / FILES_IN_A_FOLDER;
    folder.join(format!("{:02}/{:03}/file-{at:06}", inner / 20, inner % 20))
}

/// Of a hundred files, 60 are small texts, 30 middling texts, 9 noise (pictures, archives), 1 is a big mixture.
fn fill(content: &mut Vec<u8>, at: usize, random: &mut Random) {
    match at % 100 {
        0..60 => text(content, random.between(200, 4_000), random),
        60..90 => text(content, random.between(4_000, 75_000), random),
        90..99 => noise(content, random.between(16_000, 220_000), random),
        _ => {
            text(content, random.between(100_000, 300_000), random);
            noise(content, random.between(100_000, 300_000), random);
        }
    }
}

/// Words from a vocabulary with some numbers between: it compresses to about a third.
fn text(content: &mut Vec<u8>, length: usize, random: &mut Random) {
    let end = content.len() + length;
    while content.len() < end {
        let number = random.next();
        // Common words come more often, as they do.
        let rank = (number % 64) * ((number >> 8) % 64);
        content.extend_from_slice(format!("{:x}", rank.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 36).as_bytes());
        content.push(if number >> 60 == 0 { b'\n' } else { b' ' });
    }
    content.truncate(end);
}

fn noise(content: &mut Vec<u8>, length: usize, random: &mut Random) {
    let end = content.len() + length;
    while content.len() < end {
        content.extend_from_slice(&random.next().to_le_bytes());
    }
    content.truncate(end);
}

/// SplitMix64 (Steele, Lea, Flood 2014): good enough that no program finds a pattern, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn between(&mut self, least: usize, most: usize) -> usize {
        least + usize::try_from(self.next() % (most - least) as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(data: &Data) -> Vec<Vec<u8>> {
        (0..data.files).map(|at| std::fs::read(path(&data.folder, at)).unwrap()).collect()
    }

    #[test]
    fn the_same_number_gives_the_same_files() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| Data::many(folder.path().join(name), 300).unwrap());
        assert_eq!(contents(&a), contents(&b));
        assert_eq!(a.bytes, contents(&a).iter().map(|content| content.len() as u64).sum::<u64>());
        let mean = a.bytes / 300;
        assert!((24_000..32_000).contains(&mean), "{mean} bytes in a file");
    }

    #[test]
    fn what_is_found_is_counted_with_all_its_folders() {
        let folder = tempfile::tempdir().unwrap();
        let made = Data::many(folder.path().to_owned(), 300).unwrap();
        let found = Data::found(folder.path().to_owned()).unwrap();
        assert_eq!((found.files, found.bytes), (300, made.bytes));
        assert!(Data::found(folder.path().join("nothing")).is_err());
    }

    #[test]
    fn a_change_to_a_copy_leaves_the_data_alone() {
        let folder = tempfile::tempdir().unwrap();
        let [data, copy] = ["a", "b"].map(|name| Data::many(folder.path().join(name), 100).unwrap());
        let before = contents(&data);
        assert_eq!(data.change_copy(&copy.folder, 0).unwrap(), 1);
        assert_eq!(contents(&data), before);
        assert_ne!(contents(&copy), before);
    }

    #[test]
    fn a_round_changes_one_file_in_a_hundred_and_no_length() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::many(folder.path().to_owned(), 300).unwrap();
        let before = contents(&data);
        assert_eq!(data.change(1).unwrap(), 3);
        let after = contents(&data);
        let changed: Vec<_> = (0..300).filter(|at| before[*at] != after[*at]).collect();
        assert_eq!(changed, [1, 101, 201]);
        assert!(before.iter().zip(&after).all(|(before, after)| before.len() == after.len()));
    }
}
