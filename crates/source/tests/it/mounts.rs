//! What is mounted below the named paths and doesn't answer, or is somebody's own; and what should be mounted and isn't.

use crate::machine::Folder;
use crate::walk::{Walked, now, walk};
use source::{Files, MountTables, Source, Stands};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use testkit::{SilentMount, SmallDisk};
use vault::Input;

/// A folder with a file before and one behind the place where something is mounted.
fn folder(name: &str) -> Folder {
    let folder = Folder::new();
    folder.write("a", "a");
    folder.write("z", "z");
    fs::create_dir(folder.join(name)).unwrap();
    folder
}

fn walked(files: &Files) -> (Walked, Duration) {
    let begun = Instant::now();
    let walked = walk(files.capture(Path::new("/"), now()).unwrap().input());
    (walked, begun.elapsed())
}

#[test]
fn a_dead_mount_that_is_left_out_is_not_looked_at() {
    let folder = folder("dead");
    let _mount = SilentMount::over(&folder.join("dead"), 0);
    let all = Files::new([&folder.path]);
    for (files, there) in [
        (all.clone().one_file_system(true), vec!["a", "dead", "z"]),
        (all.clone().exclude(["dead/"]).unwrap(), vec!["a", "z"]),
        (all.exclude(["dead"]).unwrap(), vec!["a", "z"]),
    ] {
        let (walked, took) = walked(&files);
        assert_eq!(walked.unread, []);
        assert_eq!(walked.below(&folder.path), there);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn a_dead_mount_is_given_up_and_named_and_the_rest_is_read() {
    let folder = folder("dead");
    let _mount = SilentMount::over(&folder.join("dead"), 0);
    let patient = |paths: &[std::path::PathBuf]| Files::new(paths).patience(Duration::from_millis(300));
    let (walked, took) = walked(&patient(std::slice::from_ref(&folder.path)));
    assert!(walked.why(&folder.join("dead")).contains("has not answered"), "{:?}", walked.unread);
    assert_eq!(walked.unread.len(), 1, "{:?}", walked.unread);
    assert_eq!(walked.below(&folder.path), ["a", "z"]);
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Named itself, or on the way to what is named.
    for inner in ["dead", "dead/deeper"] {
        let capture =
            patient(&[folder.join(inner), folder.join("a")]).capture(Path::new("/"), now()).unwrap();
        let walked = walk(capture.input());
        assert_eq!(walked.contents[&folder.join("a")], b"a", "{inner}");
        assert_ne!(walked.unread, [], "{inner}");
    }
}

#[test]
fn nobody_waits_for_a_dead_mount_who_is_told_to_stop() {
    let folder = folder("dead");
    let _mount = SilentMount::over(&folder.join("dead"), 0);
    let files = Files::new([&folder.path]).patience(Duration::from_secs(600));
    let capture = files.capture(Path::new("/"), now()).unwrap();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            testkit::pause(Duration::from_millis(200));
            capture.stop();
        });
        let dir = folder.path.strip_prefix("/").unwrap();
        let mut unread = Vec::new();
        capture.input().list(dir, &mut unread).unwrap();
        assert_eq!(unread.len(), 1, "{unread:?}");
    });
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn whoever_looks_at_a_target_is_told_what_does_not_answer_and_counts_the_rest() {
    let folder = folder("dead");
    let (dead, link) = (folder.join("dead"), folder.join("link"));
    std::os::unix::fs::symlink("dead/deeper", &link).unwrap();
    let _mount = SilentMount::over(&dead, 0);
    let begun = Instant::now();
    assert_eq!(source::silent_on_the_way(&folder.join("a")), None);
    for path in [&dead, &dead.join("x/y"), &link.join("z")] {
        assert_eq!(source::silent_on_the_way(path).as_ref(), Some(&dead), "{path:?}");
    }
    assert_eq!(source::around(&folder.path).as_deref(), Ok(std::slice::from_ref(&dead)));
    assert_eq!(source::around(&dead.join("x")), Err(dead.clone()));
    let within = |path: &str| source::silent_in(&folder.path, &[path.to_owned()]);
    assert_eq!((within("/dead/x"), within("/a")), (vec![PathBuf::from("dead")], vec![]));
    let stands = |path: &Path| Files::new([path]).occupied(None).unwrap().remove(0).stands;
    let around = stands(&folder.path);
    assert!(matches!(around, Stands::Something { files: 2, all_counted: false, .. }), "{around:?}");
    // By a path that goes through a link too: the kernel lists where things really lie.
    let above = Folder::new();
    let named = above.join("srv").join(folder.path.file_name().unwrap());
    std::os::unix::fs::symlink(folder.path.parent().unwrap(), above.join("srv")).unwrap();
    assert_eq!(source::around(&named), Ok(vec![named.join("dead")]));
    let through = stands(&named);
    assert!(matches!(through, Stands::Something { files: 2, all_counted: false, .. }), "{through:?}");
    assert_eq!(source::mistaken([&named], ["[old]"]).unwrap(), []);
    // Of a database nothing is touched either.
    let database = source::Sqlite::new(dead.join("main.db")).unwrap();
    assert_eq!(database.occupied(None).unwrap().remove(0).stands, Stands::Unknown);
    let led = database.leads_to().unwrap_err().to_string();
    assert!(led.contains("doesn't answer") && source::leads_to(&dead.join("main.db")).is_err(), "{led}");
    assert_eq!(stands(&dead), Stands::Unknown);
    // What was put back there nobody knows.
    let put = Files::new([&dead, &folder.join("a")]).put_back(Path::new("/"), None, None, &|_| ()).unwrap();
    assert_eq!((put.into, put.missing), (vec![folder.join("a")], vec![dead]));
    assert!(begun.elapsed() < Duration::from_secs(12), "it is asked once: {:?}", begun.elapsed());
}

#[test]
fn what_a_pattern_looks_like_and_does_not_match_is_noted_with_the_point() {
    let folder = folder("[old]");
    fs::create_dir(folder.join("o")).unwrap();
    let files = Files::new([&folder.path]).exclude(["[old]", "*.tmp"]).unwrap();
    let capture = files.capture(Path::new("/"), now()).unwrap();
    assert_eq!(walk(capture.input()).below(&folder.path), ["[old]", "a", "z"]);
    let notes = capture.input().notes();
    assert!(notes.len() == 1 && notes[0].path == folder.join("[old]"), "{notes:?}");
    assert!(notes[0].why.contains(r"'\[old\]'"), "{notes:?}");
}

#[test]
fn another_users_own_mount_is_no_part_of_the_system() {
    let folder = folder("own");
    let _mount = SilentMount::over(&folder.join("own"), 1000);
    let capture = Files::new([&folder.path]).capture(Path::new("/"), now()).unwrap();
    let walked = walk(capture.input());
    assert_eq!(walked.unread, []);
    assert_eq!(walked.below(&folder.path), ["a", "z"]);
    let left_out = capture.left_out();
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    assert_eq!(left_out[0].path, folder.join("own"));
    assert!(left_out[0].why.contains("only user 1000"), "{left_out:?}");
    // Named itself, it is missing.
    let named = Files::new([folder.join("own")]).patience(Duration::from_secs(2));
    assert_ne!(walk(named.capture(Path::new("/"), now()).unwrap().input()).unread, []);
}

#[test]
fn a_disk_that_should_be_mounted_and_is_not_is_doubted() {
    let disk = SmallDisk::mount(1 << 20);
    let place = disk.path().canonicalize().unwrap();
    let folder = folder("x");
    let tables = MountTables { fstab: folder.join("fstab"), units: folder.join("units") };
    folder.write(
        "fstab",
        format!("# disks\n/dev/sdb1 {} ext4 defaults 0 2\nUUID=x none swap sw 0 0\n", place.display()),
    );
    let doubts = |paths: &[&Path], change: &dyn Fn(Files) -> Files, before: &[String]| {
        let files = change(Files::new(paths).mount_tables(tables.clone()));
        let capture = files.capture(Path::new("/"), now()).unwrap();
        (capture.doubts(before), capture.mounted(before))
    };
    let same = |files: Files| files;
    let below = place.join("below");
    let above = place.parent().unwrap();
    fs::create_dir(&below).unwrap();
    let text = |path: &Path| path.display().to_string();
    assert_eq!(doubts(&[&below], &same, &[]), (vec![], vec![text(&below)]));
    assert_eq!(doubts(&[&place], &same, &[]).0, Vec::<String>::new());
    // The folder stays, and is empty.
    rustix::mount::unmount(&place, rustix::mount::UnmountFlags::DETACH).unwrap();
    for path in [&below, place.as_path(), above] {
        let (doubts, _) = doubts(&[path], &|files| files.exclude(["/nothing"]).unwrap(), &[]);
        assert!(doubts.len() == 1 && doubts[0].contains(&text(&place)), "{path:?}: {doubts:?}");
    }
    assert_eq!(doubts(&[&folder.path], &same, &[]).0, Vec::<String>::new(), "it concerns nobody else");
    let excluded = doubts(&[above], &|files| files.exclude([text(&place)]).unwrap(), &[]).0;
    assert_eq!(excluded, Vec::<String>::new());
    // A unit says the same; and so does the point before, where nothing is written down.
    fs::remove_file(folder.join("fstab")).unwrap();
    folder.write("units/srv.mount", format!("[Mount]\nWhat=/dev/sdb1\nWhere={}\n", place.display()));
    assert_eq!(doubts(&[&place], &same, &[]).0.len(), 1);
    fs::remove_dir_all(folder.join("units")).unwrap();
    assert_eq!(doubts(&[&place], &same, &[]).0, Vec::<String>::new());
    let first = fs::metadata("/").unwrap();
    let on_first = std::os::unix::fs::MetadataExt::dev(&fs::metadata(&place).unwrap())
        == std::os::unix::fs::MetadataExt::dev(&first);
    if on_first {
        let (doubted, mounted) = doubts(&[&place], &same, &[text(&place)]);
        assert!(doubted.len() == 1 && doubted[0].contains("file system of its own"), "{doubted:?}");
        assert_eq!(mounted, [text(&place)], "as long as it is empty");
    }
}

#[test]
fn a_disk_below_the_paths_is_missed_as_long_as_its_folder_stays() {
    let disk = SmallDisk::mount(1 << 20);
    let place = disk.path().canonicalize().unwrap();
    let above = place.parent().unwrap();
    let tables = MountTables { fstab: "/nowhere".into(), units: "/nowhere".into() };
    let name = place.display().to_string();
    let before = [name.clone()];
    // What is doubted because of it, and whether the next point is told of it.
    let look = |change: &dyn Fn(Files) -> Files, before: &[String]| {
        let files = change(Files::new([above]).mount_tables(tables.clone()));
        let capture = files.capture(Path::new("/"), now()).unwrap();
        (capture.doubts(before), capture.mounted(before).contains(&name))
    };
    let same = |files: Files| files;
    let alone = |files: Files| files.one_file_system(true);
    let without = |files: Files| files.exclude([name.clone()]).unwrap();
    assert_eq!(look(&same, &[]), (vec![], false), "nothing is lost with an empty one");
    fs::write(place.join("a"), "a").unwrap();
    assert_eq!(look(&same, &[]), (vec![], true));
    assert_eq!(look(&same, &before), (vec![], true));
    assert_eq!(look(&alone, &before), (vec![], false));
    assert_eq!(look(&without, &before), (vec![], false));
    rustix::mount::unmount(&place, rustix::mount::UnmountFlags::DETACH).unwrap();
    let (doubts, is_told) = look(&same, &before);
    assert!(
        doubts.len() == 1 && doubts[0].starts_with(&format!("{name} was a mount of its own")),
        "{doubts:?}"
    );
    assert!(!is_told, "a person who takes the point for good is not asked again");
    assert_eq!(look(&same, &[]).0, Vec::<String>::new());
    assert_eq!(look(&alone, &before).0, Vec::<String>::new());
    assert_eq!(look(&without, &before).0, Vec::<String>::new());
    // A stick, a session and a container take their folders with them.
    fs::remove_dir(&place).unwrap();
    assert_eq!(look(&same, &before).0, Vec::<String>::new());
}
