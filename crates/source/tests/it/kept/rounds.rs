//! Two vaults live through rounds of everything that can happen, in an order that a seed chooses.

use super::*;
use testkit::Random;
use vault::repair::{RepairOptions, carry_out as mend, examine};
use vault::verify::{VerifyOptions, Window, verify};

/// Rounds in all, and how many make one life: damage and age add up in it.
const ROUNDS: usize = 500;
const ROUNDS_IN_A_LIFE: usize = 50;
/// Programs that were killed leave locks, which nobody waits half an hour for here.
const VAULTS: [&str; 2] = ["vault", "other"];

struct Round<'a> {
    life: &'a mut Life,
    random: &'a mut Random,
    /// The vault that may be damaged: the other is whole, so that everything can be healed.
    weak: usize,
    log: &'a mut Vec<String>,
}

impl Round<'_> {
    /// Opens a vault: as it is, or to be killed after some changes.
    fn open(&mut self, vault: usize) -> Arc<Repository> {
        if !self.random.once_in(4) {
            return self.life.open(VAULTS[vault]);
        }
        let changes = i64::try_from(self.random.below(8)).unwrap();
        self.log.push(format!("  killed after {changes} changes"));
        let store = Mortal::new(self.life.store(VAULTS[vault]), changes);
        self.life.open_in(store, VAULTS[vault])
    }

    fn change(&mut self) {
        for _ in 0..=self.random.below(3) {
            let name = format!("file-{}", self.random.below(12));
            let bytes = 1 + self.random.below(20_000);
            self.life.made += 1;
            self.life.write(&name, bytes);
        }
        if self.random.once_in(3) {
            let _ = fs::remove_file(self.life.data().join(format!("file-{}", self.random.below(12))));
        }
    }

    fn backup(&mut self) {
        self.change();
        // The strong one first: only what it has is expected to come back, whatever breaks in the other.
        let vaults: Vec<_> = [1 - self.weak, self.weak].into_iter().map(|vault| self.open(vault)).collect();
        let _ = self.life.backup_to(&vaults);
    }

    fn sync(&mut self) {
        for (from, to) in [(0, 1), (1, 0)] {
            let (source, target) = (self.life.open(VAULTS[from]), self.open(to));
            let Ok((there, _)) = target.snapshots() else { continue };
            for (_, snapshot) in source.snapshots().unwrap().0 {
                if !there.iter().any(|(_, other)| other.tree == snapshot.tree && other.tags == snapshot.tags)
                {
                    let _ = vault::copy::copy(
                        std::slice::from_ref(&source),
                        &target,
                        &snapshot,
                        &holder(),
                        &Progress::default(),
                    );
                }
            }
        }
    }

    /// Takes out some points that both vaults hold, from both.
    fn prune(&mut self) {
        let Some(forgotten) = self.choose() else { return };
        for (vault, name) in VAULTS.iter().enumerate() {
            let repository = self.open(vault);
            let Ok((snapshots, _)) = repository.snapshots() else { continue };
            let of = |tree: &BlobId| forgotten.contains(tree);
            let forget: Vec<FileId> =
                snapshots.iter().filter(|(_, snapshot)| of(&snapshot.tree)).map(|(id, _)| *id).collect();
            let options = PruneOptions { forget, known: Vec::new(), unused: 0.1, ..self.life.options(&[]) };
            if let Err(error) = prune(&repository, &options) {
                self.log.push(format!("  prune of {name}: {error}"));
            }
        }
    }

    /// Chooses roots to take out; they are expected nowhere from here on.
    fn choose(&mut self) -> Option<Vec<BlobId>> {
        let all: Vec<(FileId, BlobId)> =
            self.life.points.iter().map(|(id, (root, _))| (*id, *root)).collect();
        let keep = self.random.below(all.len() + 1);
        let mut forgotten = Vec::new();
        for (id, root) in all.iter().skip(keep) {
            self.life.points.remove(id);
            forgotten.push(*root);
        }
        // Two points may have one content.
        forgotten.retain(|root| !self.life.points.values().any(|(other, _)| other == root));
        Some(forgotten)
    }

    fn repair(&mut self, vault: usize) {
        let options = RepairOptions { read: Window::ALL, now: self.life.time(), holder: holder() };
        let others = [self.life.open(VAULTS[1 - vault])];
        let repository = self.open(vault);
        let progress = Progress::default();
        let done = examine(&repository, &others, &options, &progress)
            .and_then(|planned| mend(&repository, &others, &planned, &options, &progress));
        match done {
            // What only the weak one had may be lost with it.
            Ok(report) => assert!(report.lost == 0 || vault == self.weak, "{report:?}\n{:#?}", self.log),
            Err(error) => self.log.push(format!("  repair: {error}")),
        }
    }

    fn damage(&mut self) {
        let kind =
            [FileKind::Pack, FileKind::Pack, FileKind::Index, FileKind::Snapshot][self.random.below(4)];
        let folder = self.life.path(VAULTS[self.weak]);
        let store = self.life.store(VAULTS[self.weak]);
        let files = store.list(kind).unwrap();
        let Some(file) = files.get(self.random.below(files.len().max(1))) else { return };
        let path = folder.join(kind.path(&file.name));
        self.log.push(format!("  {kind:?} {} of {} is damaged", &file.name[..8], VAULTS[self.weak]));
        match self.random.below(3) {
            0 => fs::remove_file(path).unwrap(),
            1 => {
                let mut bytes = fs::read(&path).unwrap();
                let at = self.random.below(bytes.len());
                bytes[at] ^= 1 << self.random.below(8);
                fs::write(path, bytes).unwrap();
            }
            _ => fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(u64::try_from(self.random.below(usize::try_from(file.size).unwrap())).unwrap())
                .unwrap(),
        }
    }

    fn scrub(&mut self) {
        let share = 0.3;
        let options = VerifyOptions {
            read: Window { from: self.random.below(10) as f64 / 10.0, share },
            holder: holder(),
        };
        let repository = self.open(1 - self.weak);
        if let Ok(report) = verify(&repository, &options, &Progress::default()) {
            assert_eq!(report.finding_count, 0, "{report:?}\n{:#?}", self.log);
        }
    }

    fn restic(&mut self) {
        let vault = VAULTS[1 - self.weak];
        match self.random.below(3) {
            0 => self.life.restic(vault, &["prune"]),
            1 => self.life.restic(vault, &["check"]),
            _ => {
                let data = self.life.data().display().to_string();
                self.life.restic(vault, &["backup", &data]);
            }
        }
    }

    fn one(&mut self) {
        let what = self.random.below(20);
        self.log.push(format!("{what}, weak is {}, now {}", VAULTS[self.weak], self.life.now));
        match what {
            0..8 => self.backup(),
            8..10 => self.sync(),
            10..13 => self.prune(),
            13 => self.repair(0),
            14 => self.repair(1),
            15 => self.scrub(),
            16..18 => self.damage(),
            18 => {
                // The clock jumps, forward more than back.
                let days = i64::try_from(self.random.below(12)).unwrap() - 3;
                self.life.now = (self.life.now + days * DAY).max(DAY);
            }
            _ if self.random.once_in(4) => self.restic(),
            _ => {
                // Healed, the weak one is as strong as the other, and the roles may change.
                self.make_whole();
                self.weak = self.random.below(2);
            }
        }
        for vault in VAULTS {
            unlock(&self.life.path(vault));
        }
        self.life.now += 3600;
    }

    /// Repairs and syncs until nothing is missing, undisturbed.
    fn make_whole(&mut self) {
        for vault in [self.weak, 1 - self.weak] {
            unlock(&self.life.path(VAULTS[vault]));
            let options = RepairOptions { read: Window::ALL, now: self.life.time(), holder: holder() };
            let (repository, others) = (self.life.open(VAULTS[vault]), [self.life.open(VAULTS[1 - vault])]);
            let progress = Progress::default();
            let planned = examine(&repository, &others, &options, &progress).unwrap();
            let report = mend(&repository, &others, &planned, &options, &progress).unwrap();
            assert!(report.lost == 0 || vault == self.weak, "{planned:?} {report:?}\n{:#?}", self.log);
            if report.lost > 0 {
                // Points that only the weak one had, and that nobody promised to bring back.
                for (id, snapshot) in repository.snapshots().unwrap().0 {
                    if !self.life.points.values().any(|(root, _)| *root == snapshot.tree) {
                        repository.store().remove(FileKind::Snapshot, &id.to_string()).unwrap();
                    }
                }
            }
        }
        for (from, to) in [(0, 1), (1, 0)] {
            let (source, target) = (self.life.open(VAULTS[from]), self.life.open(VAULTS[to]));
            let there = target.snapshots().unwrap().0;
            for (_, snapshot) in source.snapshots().unwrap().0 {
                let wanted = self.life.points.values().any(|(root, _)| *root == snapshot.tree);
                if wanted && !there.iter().any(|(_, other)| other.tree == snapshot.tree) {
                    let sources = [Arc::clone(&source)];
                    vault::copy::copy(&sources, &target, &snapshot, &holder(), &Progress::default()).unwrap();
                }
            }
        }
    }
}

#[test]
fn whatever_happens_every_point_that_should_exist_comes_back_whole() {
    for seed in 0..ROUNDS / ROUNDS_IN_A_LIFE {
        let mut life = Life::with(&VAULTS);
        let mut random = Random::new(seed as u64);
        let mut log = vec![format!("SEED={seed}")];
        let mut round = Round { life: &mut life, random: &mut random, weak: 1, log: &mut log };
        for _ in 0..ROUNDS_IN_A_LIFE {
            round.one();
        }
        round.make_whole();
        for vault in VAULTS {
            life.gives_back(vault);
            life.restic(vault, &["check", "--read-data"]);
        }
    }
}
