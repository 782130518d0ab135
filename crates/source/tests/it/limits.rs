//! The edges of what Linux allows: very long paths, file systems within file systems, files that can't be read.

use crate::machine::{Folder, run};
use crate::walk::{now, read, walk};
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use source::{Files, Kind, Source, Sqlite};
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

#[test]
fn a_path_beyond_what_linux_takes_in_one_call_is_captured() {
    let folder = Folder::new();
    let name = "n".repeat(250);
    let mut here: OwnedFd = fs::File::open(&folder.path).unwrap().into();
    let mut path = folder.path.clone();
    for _ in 0..40 {
        mkdirat(&here, &name, Mode::RWXU).unwrap();
        here = openat(&here, &name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        path.push(&name);
    }
    let file = openat(&here, "deep", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
    fs::File::from(file).write_all(b"very").unwrap();
    rustix::fs::symlinkat("target", &here, "link").unwrap();
    assert!(path.as_os_str().len() > 10_000);

    let walked = walk(Files::new([&folder.path]).capture(Path::new("/"), now()).unwrap().input());
    assert_eq!(walked.unread, []);
    assert_eq!(walked.contents[&path.join("deep")], b"very");
    assert_eq!(
        walked.nodes[&path.join("link")].kind,
        vault::NodeKind::Symlink { target: b"target".to_vec() }
    );
    // Also when such a path is the one that was named.
    let walked = walk(Files::new([path.join("deep")]).capture(Path::new("/"), now()).unwrap().input());
    assert_eq!(walked.contents[&path.join("deep")], b"very");
    // The usual way to remove a tree takes whole paths.
    run("rm", &[&"-rf", &folder.join(&name)]);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_of_its_own() {
    let folder = Folder::new();
    let good = folder.write("good", "x");
    // Reading the memory of this process at address zero fails even for root.
    let bad = fs::canonicalize("/proc/self").unwrap().join("mem");
    let walked = walk(Files::new([&good, &bad]).capture(Path::new("/"), now()).unwrap().input());
    assert!(walked.why(&bad).contains("Input/output error"), "{:?}", walked.unread);
    assert_eq!(walked.contents[&good], b"x");
    assert_eq!(walked.unread.len(), 1);
}

#[test]
fn what_the_kernel_makes_up_is_left_out_unless_it_is_named() {
    let folder = Folder::new();
    let input = Files::new(["/"]).exclude([format!("{}", folder.path.display())]).unwrap();
    let capture = input.capture(Path::new("/"), now()).unwrap();
    assert!(fs::read_dir("/proc").unwrap().count() > 10);
    for dir in ["proc", "sys"] {
        assert_eq!(capture.input().list(Path::new(dir), &mut Vec::new()).unwrap(), [], "{dir}");
    }
    let both = Files::new(["/", "/proc/sys/kernel/ostype"]).capture(Path::new("/"), now()).unwrap();
    let names = |dir: &str| -> Vec<Vec<u8>> {
        both.input()
            .list(Path::new(dir), &mut Vec::new())
            .unwrap()
            .into_iter()
            .map(|node| node.name)
            .collect()
    };
    assert_eq!((names("proc"), names("proc/sys/kernel")), (vec![b"sys".to_vec()], vec![b"ostype".to_vec()]));
}

#[test]
fn one_file_system_keeps_mount_points_as_empty_directories() {
    // /proc holds other file systems on this machine, and / certainly does: /dev/shm or /dev, /run, /tmp…
    let root = fs::metadata("/").unwrap();
    let Some(mount) = ["/dev", "/run", "/dev/shm", "/tmp"].into_iter().map(Path::new).find(|path| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).is_ok_and(|found| found.dev() != root.dev())
            && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
            && !path.is_symlink()
    }) else {
        panic!("nothing is mounted on this machine that the test could use");
    };
    let inside = mount.strip_prefix("/").unwrap();
    let list = |files: Files| {
        let capture = files.capture(Path::new("/"), now()).unwrap();
        capture.input().list(inside, &mut Vec::new()).unwrap().len()
    };
    assert_eq!(list(Files::new(["/"]).one_file_system(true)), 0);
    assert_ne!(list(Files::new(["/"])), 0);
    assert_ne!(list(Files::new([Path::new("/"), mount]).one_file_system(true)), 0);
}

#[test]
fn without_leave_to_read_a_file_is_reported_and_the_rest_is_read() {
    // Root may read everything, so an ordinary user walks. Only where the tests run as root can another user be played.
    let folder = Folder::new();
    folder.write("secret", "x");
    folder.write("open", "y");
    folder.write("closed/z", "z");
    for (name, mode) in [("", "755"), ("secret", "600"), ("open", "644"), ("closed", "700")] {
        run("chmod", &[&mode, &folder.join(name)]);
    }
    // SQLite needs to write beside a database in WAL mode even to read it.
    let db = rusqlite::Connection::open(folder.join("wal.db")).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n)").unwrap();
    drop(db);
    let Ok(exe) = std::env::current_exe() else { panic!("no test binary") };
    // The test binary lies in a place that others may not enter.
    let copy = folder.join("it");
    fs::copy(exe, &copy).unwrap();
    run("chmod", &[&"755", &copy]);
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let status = std::process::Command::new("setpriv")
        .args(nobody)
        .arg(&copy)
        .args(["--exact", "limits::walk_as_nobody", "--ignored", "--nocapture"])
        .env("RELEVE_TEST_WALK", &folder.path)
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
#[ignore = "the other half of the test before, which starts it as another user"]
fn walk_as_nobody() {
    #[expect(clippy::disallowed_methods, reason = "how the other half tells where")]
    let base: PathBuf = std::env::var_os("RELEVE_TEST_WALK").unwrap().into();
    let scratch = tempfile::tempdir().unwrap();
    let error = Sqlite::new(base.join("wal.db")).unwrap().capture(scratch.path(), now()).unwrap_err();
    assert!(matches!(error.kind, Kind::FolderNotWritable), "{error}");
    let files = Files::new([&base]).exclude(["it"]).unwrap();
    let walked = walk(files.capture(Path::new("/"), now()).unwrap().input());
    assert!(walked.why(&base.join("secret")).contains("Permission denied"));
    assert!(walked.why(&base.join("closed")).contains("Permission denied"));
    assert_eq!(walked.unread.len(), 2);
    assert_eq!(walked.contents[&base.join("open")], b"y");
}

#[test]
fn a_file_that_keeps_growing_is_whole_up_to_its_length_when_it_was_opened() {
    let folder = Folder::new();
    let path = folder.write("log", "start");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (path, stop) = (path.clone(), stop.clone());
        move || {
            let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all(&[7; 64]).unwrap();
            }
        }
    });
    while fs::metadata(&path).unwrap().len() < 1 << 16 {
        std::thread::yield_now();
    }
    let capture = Files::new([&folder.path]).capture(Path::new("/"), now()).unwrap();
    let inside = folder.path.strip_prefix("/").unwrap();
    for _ in 0..20 {
        let node = capture.input().list(inside, &mut Vec::new()).unwrap().remove(0);
        let bytes = read(capture.input(), &inside.join("log"), &node).unwrap();
        assert!(bytes.len() as u64 >= node.size());
        assert!(bytes.starts_with(b"start") && bytes[5..].iter().all(|byte| *byte == 7));
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().unwrap();
}
