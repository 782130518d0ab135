//! Every kind of change is found, and nothing is listed that needn't be.

use super::{Watched, in_a_quiet_moment};
use crate::machine::run;
use rustix::fs::{XattrFlags, setxattr};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use testkit::SmallDisk;

/// Folders two deep with files in them.
fn fill(data: &Path) {
    for outer in ["a", "b", "c"] {
        for inner in ["x", "y", "z"] {
            let dir = data.join(outer).join(inner);
            fs::create_dir_all(&dir).unwrap();
            for file in 0..5 {
                fs::write(dir.join(format!("file-{file}")), format!("{outer} {inner} {file}")).unwrap();
            }
        }
    }
    symlink("a/x/file-0", data.join("link")).unwrap();
}

/// Changes something between two points, and expects the second one to have it with the journal.
fn is_found(prepare: impl Fn(&Watched), change: impl Fn(&Watched)) {
    in_a_quiet_moment(|| {
        let mut watched = Watched::new();
        fill(watched.data());
        prepare(&watched);
        let before = watched.run();
        change(&watched);
        let ran = watched.run_as_a_walk_does();
        assert_ne!(
            watched.tree(&ran.report),
            watched.tree(&before.report),
            "the change left no trace to be found"
        );
        ran.report.believed
    });
}

#[test]
fn what_is_unchanged_is_taken_over_without_listing() {
    in_a_quiet_moment(|| {
        let mut watched = Watched::new();
        fill(watched.data());
        let first = watched.run();
        assert_eq!(first.listed_in(watched.data()).len(), 13);
        let second = watched.run_as_a_walk_does();
        assert_eq!(watched.tree(&first.report), watched.tree(&second.report));
        if !second.report.believed {
            return false;
        }
        assert_eq!(second.listed_in(watched.data()), [""; 0]);
        assert_eq!(second.looked_at_in(watched.data()), [""; 0]);
        assert_eq!(second.report.info.change.files_unchanged, 45);
        // And so on from point to point.
        fs::write(watched.data().join("b/y/file-3"), "other").unwrap();
        let third = watched.run_as_a_walk_does();
        if !third.report.believed {
            return false;
        }
        assert_eq!(third.listed_in(watched.data()), ["b/y"]);
        assert_eq!(third.looked_at_in(watched.data()), ["b/y"]);
        // Files that were new a moment before the first point are read again with it: their times are not settled.
        let change = &third.report.info.change;
        assert!((1..=5).contains(&change.files_changed), "{change:?}");
        watched.lists_only(&[])
    });
}

#[test]
fn every_change_of_a_file_is_found() {
    let file = |watched: &Watched| watched.data().join("b/y/file-3");
    is_found(|_| {}, |w| fs::write(file(w), "other").unwrap());
    is_found(|_| {}, |w| OpenOptions::new().append(true).open(file(w)).unwrap().write_all(b"+").unwrap());
    is_found(|_| {}, |w| OpenOptions::new().write(true).open(file(w)).unwrap().set_len(2).unwrap());
    is_found(|_| {}, |w| fs::set_permissions(file(w), Permissions::from_mode(0o600)).unwrap());
    is_found(|_| {}, |w| chown(file(w), Some(7), Some(8)).unwrap());
    is_found(|_| {}, |w| setxattr(file(w), "user.note", b"x", XattrFlags::empty()).unwrap());
    is_found(|_| {}, |w| run("touch", &[&"-d", &"2001-02-03", &file(w)]).clear());
    is_found(|_| {}, |w| run("fallocate", &[&"-l", &"4096", &file(w)]).clear());
    is_found(|_| {}, |w| fs::remove_file(file(w)).unwrap());
    is_found(|_| {}, |w| fs::write(w.data().join("b/y/new"), "n").unwrap());
    is_found(|_| {}, |w| symlink("x", w.data().join("b/y/new")).unwrap());
    is_found(|_| {}, |w| run("mkfifo", &[&w.data().join("b/y/new")]).clear());
}

#[test]
fn every_change_of_a_directory_is_found() {
    let dir = |watched: &Watched| watched.data().join("b/y");
    is_found(|_| {}, |w| fs::set_permissions(dir(w), Permissions::from_mode(0o700)).unwrap());
    is_found(|_| {}, |w| setxattr(dir(w), "user.note", b"x", XattrFlags::empty()).unwrap());
    is_found(|_| {}, |w| fs::create_dir_all(dir(w).join("n/e/w")).unwrap());
    is_found(|_| {}, |w| fs::remove_dir_all(dir(w)).unwrap());
    is_found(|_| {}, |w| fs::set_permissions(w.data(), Permissions::from_mode(0o700)).unwrap());
}

#[test]
fn every_move_is_found() {
    is_found(|_| {}, |w| fs::rename(w.data().join("a/x/file-1"), w.data().join("a/x/other")).unwrap());
    is_found(|_| {}, |w| fs::rename(w.data().join("a/x/file-1"), w.data().join("c/z/file-1")).unwrap());
    is_found(|_| {}, |w| fs::rename(w.data().join("a/x/file-1"), w.outside().join("gone")).unwrap());
    is_found(
        |w| fs::write(w.outside().join("f"), "f").unwrap(),
        |w| fs::rename(w.outside().join("f"), w.data().join("a/x/f")).unwrap(),
    );
    is_found(|_| {}, |w| fs::rename(w.data().join("a/x"), w.data().join("a/moved")).unwrap());
    is_found(|_| {}, |w| fs::rename(w.data().join("a/x"), w.data().join("c/z/x")).unwrap());
    is_found(|_| {}, |w| fs::rename(w.data().join("a"), w.outside().join("a")).unwrap());
    is_found(
        |w| fs::create_dir_all(w.outside().join("t/u")).unwrap(),
        |w| {
            fs::rename(w.outside().join("t"), w.data().join("b/t")).unwrap();
            fs::write(w.data().join("b/t/u/late"), "l").unwrap();
        },
    );
}

#[test]
fn another_directory_of_the_same_name_is_walked_whole() {
    is_found(
        |w| fill(&w.outside()),
        |w| {
            fs::rename(w.data().join("a"), w.outside().join("old")).unwrap();
            fs::rename(w.outside().join("b"), w.data().join("a")).unwrap();
        },
    );
    // What changes while a directory is elsewhere has changed when it comes back.
    is_found(
        |_| {},
        |w| {
            fs::rename(w.data().join("a"), w.outside().join("a")).unwrap();
            fs::write(w.outside().join("a/x/file-0"), "changed outside").unwrap();
            fs::rename(w.outside().join("a"), w.data().join("a")).unwrap();
        },
    );
}

#[test]
fn a_file_that_changes_through_a_name_outside_is_found() {
    is_found(
        |w| fs::hard_link(w.data().join("a/x/file-2"), w.outside().join("name")).unwrap(),
        |w| fs::write(w.outside().join("name"), "changed by its other name").unwrap(),
    );
}

/// The journal gives way, since nobody tells where the first name is.
#[test]
fn a_file_that_gets_a_name_outside_and_changes_through_it_is_found() {
    let mut watched = Watched::new();
    fill(watched.data());
    watched.run();
    fs::hard_link(watched.data().join("a/x/file-2"), watched.outside().join("name")).unwrap();
    fs::write(watched.outside().join("name"), "changed by its other name").unwrap();
    let ran = watched.run_as_a_walk_does();
    assert!(!ran.report.believed);
    fs::write(watched.outside().join("name"), "again").unwrap();
    watched.run_as_a_walk_does();
    fs::remove_file(watched.outside().join("name")).unwrap();
    watched.run_as_a_walk_does();
}

#[test]
fn files_that_come_and_go_do_not_make_it_give_way() {
    in_a_quiet_moment(|| {
        let mut watched = Watched::new();
        fill(watched.data());
        watched.run();
        let dir = watched.data().join("a/x");
        for round in 0..50 {
            // Numbers of files are used again and again here.
            fs::write(dir.join("tmp"), format!("{round}")).unwrap();
            fs::rename(dir.join("tmp"), dir.join("file-0")).unwrap();
            fs::write(dir.join("tmp"), "t").unwrap();
            fs::hard_link(dir.join("tmp"), dir.join("delivered")).unwrap();
            fs::remove_file(dir.join("tmp")).unwrap();
            fs::remove_file(dir.join("delivered")).unwrap();
        }
        watched.lists_only(&["a/x"])
    });
}

#[test]
fn what_changes_during_a_capture_is_found_by_the_next() {
    in_a_quiet_moment(|| {
        let mut watched = Watched::new();
        fill(watched.data());
        let late = watched.data().join("a/x/file-4");
        let first = watched.run_while(|dir| {
            if dir.ends_with("c/z") {
                fs::write(&late, "late").unwrap();
            }
        });
        assert!(first.listed_in(watched.data()).contains(&"a/x".to_owned()));
        watched.lists_only(&["a/x"])
    });
}

#[test]
fn what_is_written_through_an_open_handle_is_found() {
    in_a_quiet_moment(|| {
        let mut watched = Watched::new();
        fill(watched.data());
        let path = watched.data().join("b/z/file-1");
        let held = OpenOptions::new().write(true).open(&path).unwrap();
        watched.run();
        held.write_at(b"by handle", 0).unwrap();
        let ran = watched.run_as_a_walk_does();
        held.write_at(b"BY HANDLE", 0).unwrap();
        let again = watched.run_as_a_walk_does();
        ran.report.believed && again.report.believed
    });
}

/// A program that writes in ways of which nobody is told while the file stays open.
struct Unseen(Child, BufReader<std::process::ChildStdout>);

impl Unseen {
    fn start(file: &Path, how: &str) -> Self {
        let program = Command::new("python3")
            .args(["-c", include_str!("unseen.py"), how])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut program = program.unwrap();
        let out = BufReader::new(program.stdout.take().unwrap());
        let mut unseen = Self(program, out);
        unseen.answer();
        unseen
    }

    fn answer(&mut self) {
        let mut line = String::new();
        assert!(self.1.read_line(&mut line).unwrap() > 0, "the program has ended");
    }

    fn write(&mut self, byte: char) {
        writeln!(self.0.stdin.as_ref().unwrap(), "{byte}").unwrap();
        self.answer();
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

fn unseen_writes_are_found(how: &str) {
    in_a_quiet_moment(|| {
        let mut watched = Watched::new();
        fill(watched.data());
        let path = watched.data().join("c/y/database");
        File::create(&path).unwrap().set_len(16384).unwrap();
        let mut unseen = Unseen::start(&path, how);
        unseen.write('1');
        watched.run();
        let mut believed = true;
        for byte in ['2', '3'] {
            unseen.write(byte);
            let ran = watched.run_as_a_walk_does();
            believed &= ran.report.believed;
            assert!(ran.report.info.change.files_changed > 0);
            assert!(!ran.report.believed || ran.listed_in(watched.data()) == ["c/y"]);
        }
        // It writes and closes between two looks at it.
        unseen.write('4');
        unseen.end();
        let ran = watched.run_as_a_walk_does();
        believed && ran.report.believed
    });
}

#[test]
fn what_is_written_through_a_mapping_is_found() {
    unseen_writes_are_found("mapping");
    unseen_writes_are_found("mapping-alone");
}

#[test]
fn what_is_written_by_asynchronous_io_is_found() {
    unseen_writes_are_found("aio");
}

#[test]
fn a_file_system_that_is_mounted_or_unmounted_below_is_found() {
    let mut watched = Watched::new();
    fill(watched.data());
    watched.run();
    let disk = SmallDisk::mount(1 << 20);
    fs::write(disk.path().join("on-the-disk"), "d").unwrap();
    let place = watched.data().join("c/x");
    run("mount", &[&"--bind", &disk.path(), &place]);
    let ran = watched.run_as_a_walk_does();
    assert!(!ran.report.believed);
    fs::write(disk.path().join("on-the-disk"), "changed").unwrap();
    watched.run_as_a_walk_does();
    run("umount", &[&place]);
    let ran = watched.run_as_a_walk_does();
    assert!(!ran.report.believed);
}

#[test]
fn another_file_system_at_the_place_of_one_that_went_is_found() {
    let mut watched = Watched::new();
    fill(watched.data());
    let place = watched.data().join("c/x");
    for content in ["one", "two"] {
        // The very same line in the list of mounts, and the same numbers.
        run("mount", &[&"-t", &"tmpfs", &"disk", &place]);
        fs::write(place.join("file"), content).unwrap();
        let ran = watched.run_as_a_walk_does();
        assert!(!ran.report.believed);
        run("umount", &[&place]);
    }
}

#[test]
fn a_file_that_is_mounted_over_another_is_looked_at_every_time() {
    in_a_quiet_moment(|| {
        let mut watched = Watched::new();
        fill(watched.data());
        let (hidden, seen) = (watched.outside().join("hidden"), watched.data().join("a/y/file-0"));
        fs::write(&hidden, "one").unwrap();
        run("mount", &[&"--bind", &hidden, &seen]);
        watched.run();
        fs::write(&hidden, "two").unwrap();
        let ran = watched.run_as_a_walk_does();
        run("umount", &[&seen]);
        watched.run_as_a_walk_does();
        ran.report.believed
    });
}

#[test]
fn it_works_on_a_file_system_in_memory() {
    in_a_quiet_moment(|| {
        let disk = SmallDisk::mount(4 << 20);
        let data = disk.path().canonicalize().unwrap().join("data");
        let mut watched = Watched::at(Some(&data));
        fill(&data);
        watched.run();
        fs::write(data.join("b/y/file-3"), "other").unwrap();
        watched.lists_only(&["b/y"])
    });
}

#[test]
fn what_is_left_out_stays_out_and_costs_nothing() {
    in_a_quiet_moment(|| {
        let mut watched = Watched::new();
        watched.excludes = vec!["/**/b/x".to_owned(), "*.tmp".to_owned()];
        fill(watched.data());
        watched.run();
        fs::write(watched.data().join("b/x/file-0"), "left out").unwrap();
        fs::write(watched.data().join("c/y/n.tmp"), "left out").unwrap();
        watched.lists_only(&["c/y"])
    });
}
