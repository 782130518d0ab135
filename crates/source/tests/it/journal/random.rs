//! Whatever happens to a tree, in whatever order: the journal's point is the one that a walk of everything makes.

use super::Watched;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const ROUNDS: usize = 40;
const CHANGES_IN_A_ROUND: usize = 12;

/// Xorshift: the same changes for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end.max(1)
    }

    fn pick(&mut self, from: &[PathBuf]) -> PathBuf {
        from[self.below(from.len())].clone()
    }
}

fn everything(top: &Path, dirs: &mut Vec<PathBuf>, files: &mut Vec<PathBuf>) {
    dirs.push(top.to_owned());
    let mut entries: Vec<_> = fs::read_dir(top).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        if entry.file_type().unwrap().is_dir() {
            everything(&entry.path(), dirs, files);
        } else {
            files.push(entry.path());
        }
    }
}

/// Does one thing at random. What can't be done isn't: a directory moved into itself, say.
fn change(chance: &mut Chance, data: &Path, outside: &Path, count: usize) {
    let (mut dirs, mut files) = (Vec::new(), Vec::new());
    everything(data, &mut dirs, &mut files);
    everything(outside, &mut dirs, &mut files);
    let inside = dirs.iter().filter(|dir| *dir != data && *dir != outside).cloned().collect::<Vec<_>>();
    let fresh = chance.pick(&dirs).join(format!("n{}", chance.below(count + 8)));
    let known = !files.is_empty();
    let _ = match chance.below(12) {
        0 | 1 => fs::write(&fresh, format!("{count}")),
        2 if known => fs::write(chance.pick(&files), format!("{count} written")),
        3 if known => {
            OpenOptions::new().append(true).open(chance.pick(&files)).and_then(|mut f| f.write_all(b"+"))
        }
        4 => fs::create_dir(&fresh),
        5 if known => fs::remove_file(chance.pick(&files)),
        6 if known => fs::rename(chance.pick(&files), &fresh),
        7 if !inside.is_empty() => fs::rename(chance.pick(&inside), &fresh),
        8 if known => fs::hard_link(chance.pick(&files), &fresh),
        9 if chance.below(4) == 0 && !inside.is_empty() => fs::remove_dir_all(chance.pick(&inside)),
        10 => fs::set_permissions(
            chance.pick(&dirs),
            fs::Permissions::from_mode(0o700 + chance.below(8) as u32),
        ),
        11 if known && chance.below(2) == 0 => fs::rename(chance.pick(&files), chance.pick(&files)),
        _ => Ok(()),
    };
}

fn rounds(seed: u64) -> usize {
    let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut watched = Watched::new();
    let (data, outside) = (watched.data().to_owned(), watched.outside());
    for _ in 0..60 {
        change(&mut chance, &data, &outside, 0);
    }
    watched.run();
    let mut believed = 0;
    for round in 0..ROUNDS {
        for count in 0..chance.below(CHANGES_IN_A_ROUND) {
            change(&mut chance, &data, &outside, round * CHANGES_IN_A_ROUND + count);
        }
        let ran = watched.run_as_a_walk_does();
        believed += usize::from(ran.report.believed);
    }
    believed
}

#[test]
fn random_changes_give_the_same_points_as_a_walk_of_everything() {
    let believed: usize = (1..=6).map(rounds).sum();
    assert!(believed > ROUNDS, "the journal was used in {believed} rounds only");
}
