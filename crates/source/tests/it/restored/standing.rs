//! Restores into a target where something stands already, in parts, and with conditions.

use super::{Pair, files};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::{Random, tree};
use vault::Progress;
use vault::restore::{IsFirst, Names, Part, RestoreOptions, extras};

#[test]
fn only_what_differs_is_written() {
    let pair = Pair::of(|data| _ = tree::grow(data, 21, 120));
    let first = pair.restore(&pair.both(), &pair.options());
    assert!(first.is_whole(), "{first:?}");
    let again = pair.restore(&pair.both(), &pair.options());
    assert_eq!((again.restored, again.bytes, again.unchanged), (0, 0, first.restored + first.unchanged));
    // One file in ten is changed, some go, some become something else.
    let there: Vec<PathBuf> = files(&pair.back())
        .into_iter()
        .filter(|path| fs::symlink_metadata(path).unwrap().is_file())
        .collect();
    let mut touched = 0;
    for (number, path) in there.iter().enumerate() {
        match number % 10 {
            0 if fs::metadata(path).unwrap().nlink() == 1 => fs::write(path, "changed").unwrap(),
            1 => fs::remove_file(path).unwrap(),
            2 => {
                fs::remove_file(path).unwrap();
                symlink("/etc/passwd", path).unwrap();
            }
            3 => {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }
            _ => continue,
        }
        touched += 1;
    }
    let report = pair.restore(&pair.both(), &pair.options());
    assert!(report.is_whole(), "{report:?}");
    assert!(report.restored >= 1 && report.restored <= touched + 2, "{touched}: {report:?}");
    pair.is_back();
}

#[test]
fn what_is_right_in_a_changed_file_is_not_read_again() {
    let noise = Random::new(4).bytes(24 << 20);
    let pair = Pair::of(|data| fs::write(data.join("noise"), &noise).unwrap());
    assert!(pair.restore(&pair.both(), &pair.options()).is_whole());
    let mut changed = noise.clone();
    changed[12 << 20] ^= 1;
    fs::write(pair.back().join("noise"), &changed).unwrap();
    // Nothing but the packs around the change is left in the vaults.
    let report = pair.restore(&pair.both(), &RestoreOptions { verify: true, ..pair.options() });
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(fs::read(pair.back().join("noise")).unwrap(), noise);
    pair.is_back();
}

#[test]
fn attributes_that_differ_are_set_and_those_too_many_are_taken_away() {
    let pair = Pair::of(|data| {
        fs::write(data.join("file"), "file").unwrap();
        fs::create_dir(data.join("folder")).unwrap();
        symlink("file", data.join("link")).unwrap();
    });
    assert!(pair.restore(&pair.both(), &pair.options()).is_whole());
    let set = |path: &Path, name: &str| {
        rustix::fs::lsetxattr(path, name, b"more", rustix::fs::XattrFlags::empty()).unwrap();
    };
    set(&pair.back().join("file"), "user.more");
    set(&pair.back().join("folder"), "user.more");
    set(&pair.back().join("link"), "trusted.more");
    fs::set_permissions(pair.back().join("file"), fs::Permissions::from_mode(0o4777)).unwrap();
    std::os::unix::fs::chown(pair.back().join("folder"), Some(1234), Some(1234)).unwrap();
    let report = pair.restore(&pair.both(), &pair.options());
    assert!(report.is_whole(), "{report:?}");
    pair.is_back();
}

#[test]
fn a_file_with_names_outside_of_the_point_is_not_changed_through_them() {
    let pair = Pair::of(|data| fs::write(data.join("a"), "right").unwrap());
    assert!(pair.restore(&pair.both(), &pair.options()).is_whole());
    fs::hard_link(pair.back().join("a"), pair.path("outside")).unwrap();
    fs::write(pair.path("outside"), "wrong").unwrap();
    assert!(pair.restore(&pair.both(), &pair.options()).is_whole());
    assert_eq!(fs::read_to_string(pair.path("outside")).unwrap(), "wrong");
    pair.is_back();
}

#[test]
fn what_is_needed_first_is_complete_before_the_rest_begins() {
    let pair = Pair::of(|data| {
        tree::grow(&data.join("archive"), 22, 40);
        tree::grow(&data.join("app"), 23, 20);
    });
    let app = pair.data().join("app");
    let is_first: IsFirst = Arc::new(move |path| path == app);
    let mut options = RestoreOptions { part: Part::First(Arc::clone(&is_first)), ..pair.options() };
    let first = pair.restore(&pair.both(), &options);
    assert!(first.is_whole(), "{first:?}");
    let differences = tree::compare(&pair.data().join("app"), &pair.back().join("app"));
    assert!(differences.is_empty(), "{differences:#?}");
    assert!(!pair.back().join("archive").exists());
    // It runs already, and has changed something.
    fs::write(pair.back().join("app/new"), "written meanwhile").unwrap();
    options.part = Part::Rest(is_first);
    assert!(pair.restore(&pair.both(), &options).is_whole());
    assert_eq!(fs::read_to_string(pair.back().join("app/new")).unwrap(), "written meanwhile");
    fs::remove_file(pair.back().join("app/new")).unwrap();
    let differences = tree::compare(&pair.data().join("archive"), &pair.back().join("archive"));
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn names_of_one_file_stay_one_file_when_one_of_them_comes_first() {
    let pair = Pair::of(|data| {
        for folder in ["app", "archive", "zeta"] {
            fs::create_dir(data.join(folder)).unwrap();
        }
        fs::write(data.join("app/file"), "shared").unwrap();
        fs::hard_link(data.join("app/file"), data.join("archive/before")).unwrap();
        fs::hard_link(data.join("app/file"), data.join("zeta/behind")).unwrap();
        fs::write(data.join("archive/own"), "of the rest alone").unwrap();
        fs::hard_link(data.join("archive/own"), data.join("zeta/own")).unwrap();
    });
    let app = pair.data().join("app");
    let is_first: IsFirst = Arc::new(move |path| path == app);
    let mut options = RestoreOptions { part: Part::First(Arc::clone(&is_first)), ..pair.options() };
    assert!(pair.restore(&pair.both(), &options).is_whole());
    let inode = |name: &str| fs::metadata(pair.back().join(name)).unwrap().ino();
    let running = inode("app/file");
    options.part = Part::Rest(is_first);
    let report = pair.restore(&pair.both(), &options);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(inode("app/file"), running, "a running service has it open");
    pair.is_back();
}

#[test]
fn what_is_too_much_is_shown_and_only_that_is_removed() {
    let pair = Pair::of(|data| _ = tree::grow(data, 24, 40));
    assert!(pair.restore(&pair.both(), &pair.options()).is_whole());
    let outside = pair.path("out/somebody-elses");
    fs::write(&outside, "outside of what was captured").unwrap();
    let below = pair.back().join("odd/empty");
    fs::create_dir_all(below.join("more/deep")).unwrap();
    fs::write(below.join("more/deep/file"), "more").unwrap();
    symlink(pair.data(), below.join("way-out")).unwrap();
    let found = extras(&pair.both(), pair.tree, &pair.options(), &Progress::default()).unwrap();
    let inside = |name: &str| below.strip_prefix(pair.path("out")).unwrap().join(name);
    assert_eq!(found.paths.iter().cloned().collect::<Vec<_>>(), [inside("more"), inside("way-out")]);
    assert!(found.unknown.is_empty());
    // Written after it was shown: not removed.
    fs::write(pair.back().join("odd/later"), "later").unwrap();
    let (removed, trouble) = found.remove();
    assert_eq!((removed, trouble.len()), (2, 0), "{trouble:?}");
    assert!(outside.exists() && pair.back().join("odd/later").exists());
    fs::remove_file(pair.back().join("odd/later")).unwrap();
    assert!(pair.restore(&pair.both(), &pair.options()).is_whole());
    pair.is_back();
}

#[test]
fn what_is_mounted_in_the_target_is_nobodys_leftover() {
    let pair = Pair::of(|data| fs::create_dir(data.join("mount")).unwrap());
    assert!(pair.restore(&pair.both(), &pair.options()).is_whole());
    let disk = testkit::SmallDisk::mount(1 << 20);
    fs::write(disk.path().join("precious"), "precious").unwrap();
    let mount = pair.back().join("mount");
    rustix::mount::mount_bind(disk.path(), &mount).unwrap();
    fs::write(pair.back().join("extra"), "extra").unwrap();
    let found = extras(&pair.both(), pair.tree, &pair.options(), &Progress::default());
    let removed = found.as_ref().unwrap().remove();
    rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!((found.unwrap().paths.len(), removed.0), (1, 1));
    assert!(disk.path().join("precious").exists());
}

#[test]
fn an_empty_file_takes_the_place_of_one_that_is_not() {
    let pair = Pair::of(|data| fs::write(data.join("empty"), "").unwrap());
    assert!(pair.restore(&pair.both(), &pair.options()).is_whole());
    fs::write(pair.back().join("empty"), "no longer").unwrap();
    let report = pair.restore(&pair.both(), &RestoreOptions { verify: true, ..pair.options() });
    assert_eq!((report.restored, report.is_whole()), (1, true), "{report:?}");
    pair.is_back();
}

#[test]
fn a_file_that_only_looks_like_a_program_of_roots_does_not_become_one() {
    let pair = Pair::of(|data| {
        fs::write(data.join("su"), "program").unwrap();
        fs::set_permissions(data.join("su"), fs::Permissions::from_mode(0o4755)).unwrap();
    });
    assert!(pair.restore(&pair.both(), &pair.options()).is_whole());
    // As long, as old, and somebody else's.
    let back = pair.back().join("su");
    let time = fs::metadata(&back).unwrap().modified().unwrap();
    fs::remove_file(&back).unwrap();
    fs::write(&back, "trojan!").unwrap();
    fs::File::options().write(true).open(&back).unwrap().set_modified(time).unwrap();
    std::os::unix::fs::chown(&back, Some(1234), Some(1234)).unwrap();
    assert!(pair.restore(&pair.both(), &pair.options()).is_whole());
    pair.is_back();
}

#[test]
fn a_point_that_holds_a_damaged_file_keeps_it_when_the_whole_one_comes_back() {
    let pair = Pair::of(|data| {
        fs::write(data.join("a"), "whole").unwrap();
        fs::write(data.join("a.releve-damaged"), "as it was once").unwrap();
    });
    for _ in 0..2 {
        assert!(pair.restore(&pair.both(), &pair.options()).is_whole());
        pair.is_back();
        fs::remove_file(pair.back().join("a")).unwrap();
    }
}

#[test]
fn folders_on_the_way_to_what_was_asked_for_stay_as_they_are() {
    let pair = Pair::of(|data| {
        fs::create_dir(data.join("folder")).unwrap();
        fs::write(data.join("folder/asked"), "asked").unwrap();
    });
    assert!(pair.restore(&pair.both(), &pair.options()).is_whole());
    let folder = pair.back().join("folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_file(folder.join("asked")).unwrap();
    let only = vec![pair.data().join("folder/asked")];
    let report = pair.restore(&pair.both(), &RestoreOptions { only, ..pair.options() });
    assert!(report.is_whole() && report.found, "{report:?}");
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o700);
    assert!(folder.join("asked").exists());
}

#[test]
fn files_of_one_content_come_back_however_many_there_are() {
    let pair = Pair::of(|data| {
        for number in 0..3000 {
            fs::write(data.join(format!("{number}")), "the same in all").unwrap();
        }
    });
    let report = pair.restore(&pair.both(), &pair.options());
    assert_eq!((report.restored, report.is_whole()), (3000, true), "{report:?}");
    pair.is_back();
}

struct Known;

impl Names for Known {
    fn uid(&self, user: &str) -> Option<u32> {
        (user == "root").then_some(4711)
    }
    fn gid(&self, _: &str) -> Option<u32> {
        None
    }
}

#[test]
fn setuid_and_devices_can_be_refused_and_owners_taken_by_name() {
    let pair = Pair::of(|data| {
        fs::write(data.join("su"), "su").unwrap();
        fs::set_permissions(data.join("su"), fs::Permissions::from_mode(0o4755)).unwrap();
        let number = rustix::fs::makedev(1, 3);
        let kind = rustix::fs::FileType::CharacterDevice;
        let _ = rustix::fs::mknodat(rustix::fs::CWD, data.join("null"), kind, 0o666.into(), number);
    });
    let options =
        RestoreOptions { no_setuid: true, no_devices: true, names: Some(Arc::new(Known)), ..pair.options() };
    let report = pair.restore(&pair.both(), &options);
    let meta = fs::metadata(pair.back().join("su")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o755, 4711, 0));
    assert!(!pair.back().join("null").exists());
    let told = |troubles: &[vault::restore::Trouble], name: &str| {
        troubles.iter().any(|trouble| trouble.path.ends_with(name) && trouble.why.contains("refused"))
    };
    assert!(told(&report.not_set, "su"), "{report:?}");
    assert!(!pair.data().join("null").exists() || told(&report.skipped, "null"), "{report:?}");
}

#[test]
fn a_link_that_is_planted_while_the_restore_runs_leads_nowhere() {
    let pair = Pair::of(|data| {
        for folder in 0..40 {
            fs::create_dir(data.join(format!("{folder}"))).unwrap();
            for file in 0..20 {
                fs::write(data.join(format!("{folder}/{file}")), format!("{folder} {file}")).unwrap();
            }
        }
    });
    let victim = pair.path("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("1"), "whole").unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for folder in 0..40 {
                    let path = pair.back().join(format!("{folder}"));
                    let aside = pair.path(&format!("aside-{folder}"));
                    if fs::rename(&path, &aside).is_ok() {
                        let _ = symlink(&victim, &path);
                        let _ = fs::remove_file(&path);
                        let _ = fs::rename(&aside, &path);
                    }
                }
            }
        });
        for _ in 0..5 {
            let _ = pair.restore(&pair.both(), &RestoreOptions { verify: true, ..pair.options() });
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let there: Vec<_> = fs::read_dir(&victim).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(there, ["1"], "something was written through a link");
    assert_eq!(fs::read_to_string(victim.join("1")).unwrap(), "whole");
}

#[test]
fn what_is_asked_for_comes_back_and_nothing_else() {
    let pair = Pair::of(|data| _ = tree::grow(data, 25, 30));
    let options = RestoreOptions { only: vec![pair.data().join("odd/deep")], ..pair.options() };
    assert!(pair.restore(&pair.both(), &options).is_whole());
    let there: Vec<PathBuf> = files(&pair.back()).into_iter().collect();
    assert!(
        !there.is_empty()
            && there.iter().all(|path| path
                .as_os_str()
                .as_bytes()
                .windows(9)
                .any(|part| part == b"/odd/deep"))
    );
}
