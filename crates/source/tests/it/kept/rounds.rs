//! Two vaults live through rounds of everything that can happen, in an order that a seed chooses.

use super::*;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::os::unix::fs::symlink;
use testkit::{Random, SmallDisk};
use vault::repair::{RepairOptions, carry_out as mend, examine};
use vault::verify::{VerifyOptions, Window, verify};

/// Rounds in all, and how many make one life: damage and age add up in it.
const ROUNDS: usize = 500;
const ROUNDS_IN_A_LIFE: usize = 50;
/// Programs that were killed leave locks, which nobody waits half an hour for here.
const VAULTS: [&str; 2] = ["vault", "other"];
/// More than a life needs.
const DISK: u64 = 64 << 20;
/// Takes up the room of a disk that is full.
const BALLAST: &str = "ballast";
/// What has to happen in the rounds, or they show nothing: each as two pieces of one line of the log.
const HAPPENS: [(&str, &str); 9] = [
    ("killed after", ""),
    ("is damaged", ""),
    ("backup:", "no space left"),
    ("prune of", "no space left"),
    ("repair:", "no space left"),
    ("", "the listing broke off"),
    ("lists its snapshots short", ""),
    ("lists its packs short", ""),
    ("lists its index short", ""),
];

struct Round<'a> {
    life: &'a mut Life,
    random: &'a mut Random,
    /// The vault that may be damaged: the other is whole, so that everything can be healed.
    weak: usize,
    /// A vault doesn't show all that is in it: whoever looks there finds things missing.
    short: bool,
    log: &'a mut Vec<String>,
}

impl Round<'_> {
    /// Opens a vault: as it is, to be killed after some changes, on a disk that fills up, or with a listing that fails or is short.
    fn open(&mut self, vault: usize) -> Arc<Repository> {
        let name = VAULTS[vault];
        let mut store = Mortal::new(self.life.store(name), i64::MAX);
        let some = i64::try_from(self.random.below(8)).unwrap();
        match self.random.below(12) {
            0 | 1 => {
                self.log.push(format!("  killed after {some} changes in {name}"));
                store.left = AtomicI64::new(some);
            }
            2 | 3 => self.fill(name),
            4 => {
                self.log.push(format!("  after {some} listings {name} lists nothing"));
                // The first is that of whoever opens it.
                store.lists = Lists::Fails(AtomicI64::new(1 + some));
            }
            5 => {
                let kind = [FileKind::Snapshot, FileKind::Index, FileKind::Pack][self.random.below(3)];
                let what = if kind == FileKind::Pack { "packs" } else { kind.folder() };
                self.log.push(format!("  {name} lists its {what} short"));
                store.lists = Lists::Short(kind, u32::try_from(self.random.below(1000)).unwrap());
                self.short = true;
            }
            _ => return self.life.open(name),
        }
        self.life.open_in(store, name)
    }

    /// Leaves little room on the disk of a vault.
    fn fill(&mut self, vault: &str) {
        let ballast = fs::File::create(self.life.path(vault).join(BALLAST)).unwrap();
        let disk = statvfs(self.life.path(vault)).unwrap();
        let pages = disk.f_bavail - u64::try_from(self.random.below(16)).unwrap();
        self.log.push(format!("  {vault} has room for {} pages", disk.f_bavail - pages));
        fallocate(&ballast, FallocateFlags::empty(), 0, pages * disk.f_frsize).unwrap();
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
        if let Err(error) = self.life.backup_to(&vaults) {
            self.log.push(format!("  backup: {error}"));
        }
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
            // What whoever prunes has seen there before.
            let there = self.life.store(name).list(FileKind::Snapshot).unwrap();
            let known = there.iter().map(|listed| listed.name.parse().unwrap()).collect();
            let repository = self.open(vault);
            let Ok((snapshots, _)) = repository.snapshots() else { continue };
            let of = |tree: &BlobId| forgotten.contains(tree);
            let forget: Vec<FileId> =
                snapshots.iter().filter(|(_, snapshot)| of(&snapshot.tree)).map(|(id, _)| *id).collect();
            let options = PruneOptions { forget, known, unused: 0.1, ..self.life.options(&[]) };
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
        if vault == self.weak {
            // Or there is seldom anything to do, and seldom no room to do it in.
            self.damage();
            if self.random.once_in(2) {
                self.fill(VAULTS[vault]);
            }
        }
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
            assert!(report.finding_count == 0 || self.short, "{report:?}\n{:#?}", self.log);
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
            let _ = fs::remove_file(self.life.path(vault).join(BALLAST));
            unlock(&self.life.path(vault));
        }
        self.short = false;
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
    let mut happened: Vec<String> = Vec::new();
    for seed in 0..ROUNDS / ROUNDS_IN_A_LIFE {
        let disks = VAULTS.map(|_| SmallDisk::mount(DISK));
        let mut life = Life::without_vaults();
        for (vault, disk) in VAULTS.iter().zip(&disks) {
            symlink(disk.path(), life.path(vault)).unwrap();
            life.create(vault);
        }
        let mut random = Random::new(seed as u64);
        let mut log = vec![format!("SEED={seed}")];
        let mut round = Round { life: &mut life, random: &mut random, weak: 1, short: false, log: &mut log };
        for _ in 0..ROUNDS_IN_A_LIFE {
            round.one();
        }
        round.make_whole();
        for vault in VAULTS {
            life.gives_back(vault);
            life.restic(vault, &["check", "--read-data"]);
        }
        happened.extend(log);
    }
    for (who, what) in HAPPENS {
        let is_there = happened.iter().any(|line| line.contains(who) && line.contains(what));
        assert!(is_there, "never in all rounds: {who} {what}");
    }
}
