//! What a target can't do is done in a lesser way, told, and the same at the next restore.

use super::Pair;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use testkit::FormattedDisk;
use vault::restore::RestoreOptions;

fn set_time(path: &Path, tv_sec: i64, tv_nsec: i64) {
    let time = Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A file system in memory over a folder, which knows neither a limit of links nor one of attributes.
struct InMemory(PathBuf);

impl InMemory {
    fn over(folder: &Path) -> Self {
        rustix::mount::mount("tests", folder, "tmpfs", rustix::mount::MountFlags::empty(), c"size=64m")
            .unwrap();
        Self(folder.to_owned())
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// A small disk with whole seconds that end in 2038.
fn coarse() -> FormattedDisk {
    FormattedDisk::mount(24 << 20, &["mkfs.ext4", "-q", "-F", "-I", "128", "-b", "1024"])
}

impl Pair {
    fn onto(&self, disk: &FormattedDisk) -> RestoreOptions {
        RestoreOptions { target: disk.path(), ..self.options() }
    }

    fn on(&self, disk: &FormattedDisk, name: &str) -> PathBuf {
        disk.path().join(self.data().strip_prefix("/").unwrap()).join(name)
    }
}

#[test]
fn a_target_of_whole_seconds_is_written_once_and_told_what_it_cannot_hold() {
    let pair = Pair::of(|data| {
        for number in 0..5 {
            fs::write(data.join(format!("{number}")), format!("{number}")).unwrap();
            set_time(&data.join(format!("{number}")), 1_700_000_000 + number, 123_456_789);
        }
        symlink("0", data.join("link")).unwrap();
        fs::write(data.join("late"), "2040").unwrap();
        set_time(&data.join("late"), 2_208_988_800, 5);
    });
    let disk = coarse();
    let both = pair.both();
    for turn in 0..3 {
        let report = pair.restore(&both, &pair.onto(&disk));
        assert_eq!(report.skipped_count + report.damaged_count, 0, "{report:?}");
        assert_eq!(
            (report.restored, report.unchanged),
            if turn == 0 { (7, 0) } else { (0, 7) },
            "{report:?}"
        );
        // Only of the one that is years off.
        assert_eq!(report.not_set_count, 1, "{report:?}");
        assert!(
            report.not_set[0].path.ends_with("late") && report.not_set[0].why.contains("2038"),
            "{report:?}"
        );
    }
    // What really changed by a second is seen.
    set_time(&pair.on(&disk, "3"), 1_700_000_004, 0);
    fs::write(pair.on(&disk, "4"), "5").unwrap();
    set_time(&pair.on(&disk, "4"), 1_700_000_006, 0);
    assert_eq!(pair.restore(&both, &pair.onto(&disk)).restored, 2);
}

#[test]
fn a_name_that_cannot_be_linked_any_more_becomes_a_file_of_its_own() {
    let many = 66_001;
    let mut mounted = None;
    let pair = Pair::of(|data| {
        mounted = Some(InMemory::over(data));
        fs::write(data.join("0"), "shared").unwrap();
        for number in 1..many {
            fs::hard_link(data.join("0"), data.join(number.to_string())).unwrap();
        }
    });
    let disk = FormattedDisk::mount(48 << 20, &["mkfs.ext4", "-q", "-F"]);
    let both = pair.both();
    for turn in 0..2 {
        let report = pair.restore(&both, &pair.onto(&disk));
        assert_eq!((report.skipped_count, report.damaged_count), (0, 0), "{report:?}");
        assert_eq!(report.restored, if turn == 0 { many } else { 0 }, "turn {turn}");
        assert_eq!(report.not_set_count, many - 65_000, "{:?}", report.not_set.first());
        assert!(report.not_set[0].why.contains("Too many links"), "{:?}", report.not_set[0]);
        // All for one reason: a line, not a thousand.
        assert!(report.not_set_reasons.len() <= 2, "{:?}", report.not_set_reasons);
    }
    let inodes: BTreeSet<u64> =
        (0..many).map(|number| fs::metadata(pair.on(&disk, &number.to_string())).unwrap().ino()).collect();
    assert_eq!(inodes.len(), 2, "what could not be linked is linked among itself");
    assert_eq!(fs::read_to_string(pair.on(&disk, "9999")).unwrap(), "shared");
    drop(mounted);
}

#[test]
fn names_of_one_link_pipe_or_device_stay_one() {
    let pair = Pair::of(|data| {
        symlink("anywhere", data.join("link")).unwrap();
        rustix::fs::mknodat(CWD, data.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let null = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(CWD, data.join("null"), FileType::CharacterDevice, Mode::RUSR, null).unwrap();
        fs::create_dir(data.join("below")).unwrap();
        for name in ["link", "pipe", "null"] {
            rustix::fs::linkat(CWD, data.join(name), CWD, data.join("below").join(name), AtFlags::empty())
                .unwrap();
        }
    });
    let both = pair.both();
    for turn in 0..2 {
        let report = pair.restore(&both, &pair.options());
        assert!(report.is_whole(), "{report:?}");
        assert_eq!((report.restored, report.unchanged), if turn == 0 { (6, 0) } else { (0, 6) });
        pair.is_back();
        let inode = |path: &Path| fs::symlink_metadata(path).unwrap().ino();
        for name in ["link", "pipe", "null"] {
            let (one, other) = (pair.back().join(name), pair.back().join("below").join(name));
            assert_eq!(inode(&one), inode(&other), "{name}");
        }
    }
}

#[test]
fn attributes_beyond_the_targets_room_are_summed_up() {
    let mut mounted = None;
    let pair = Pair::of(|data| {
        mounted = Some(InMemory::over(data));
        fs::write(data.join("file"), "x").unwrap();
        for number in 0..200 {
            let name = format!("user.attribute-{number}");
            rustix::fs::setxattr(data.join("file"), name, &[7; 400], XattrFlags::empty()).unwrap();
        }
    });
    let disk = coarse();
    let both = pair.both();
    let report = pair.restore(&both, &pair.onto(&disk));
    assert_eq!((report.restored, report.not_set_count, report.skipped_count), (1, 1, 0), "{report:?}");
    assert!(report.not_set[0].why.contains("more of it"), "{report:?}");
    assert!(report.not_set[0].why.len() < 400, "{}", report.not_set[0].why);
    assert_eq!(fs::read_to_string(pair.on(&disk, "file")).unwrap(), "x");
    drop(mounted);
}

#[test]
fn no_time_costs_a_file_on_the_way_into_a_vault_and_back() {
    // The last and the first of what a vault holds, what lies beyond, and what is usual.
    let (first, last) = (-62_167_219_200, 253_402_300_799);
    let times =
        [first - 1, -99_999_999_999, i64::MIN / 4, first, -1, 0, 1_700_000_000, last, last + 1, i64::MAX / 4];
    let mut mounted = None;
    let pair = Pair::of(|data| {
        mounted = Some(InMemory::over(data));
        for (number, time) in times.iter().enumerate() {
            fs::write(data.join(number.to_string()), number.to_string()).unwrap();
            set_time(&data.join(number.to_string()), *time, 999_999_999);
        }
    });
    fs::create_dir(pair.path("out")).unwrap();
    let target = InMemory::over(&pair.path("out"));
    let both = pair.both();
    for turn in 0..2 {
        let report = pair.restore(&both, &pair.options());
        assert_eq!(report.skipped_count + report.damaged_count, 0, "{report:?}");
        assert_eq!(
            (report.restored, report.unchanged),
            if turn == 0 { (10, 0) } else { (0, 10) },
            "{report:?}"
        );
        let beyond = times.iter().filter(|time| !(first..=last).contains(*time)).count();
        assert_eq!(report.not_set_count, beyond as u64, "turn {turn}: {report:?}");
    }
    for (number, time) in times.iter().enumerate() {
        let back = pair.back().join(number.to_string());
        assert_eq!(fs::metadata(&back).unwrap().mtime(), (*time).clamp(first, last), "{number}");
    }
    let restic = testkit::Restic::new(pair.path("near").display().to_string(), "x");
    restic.must(&["restore", "latest", "--target", &pair.path("by-restic").display().to_string()]);
    for number in 0..times.len() {
        let back =
            pair.path("by-restic").join(pair.data().strip_prefix("/").unwrap()).join(number.to_string());
        assert_eq!(fs::read_to_string(back).unwrap(), number.to_string());
    }
    drop((mounted, target));
}
