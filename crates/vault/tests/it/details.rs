//! What an entry lacks besides its content: named, and no reason to lose the content.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use testkit::Restic;
use vault::backup::{BackupOptions, BackupReport, backup};
use vault::restore::{RestoreOptions, restore};
use vault::store::in_folder;
use vault::{
    Content, Holder, Input, Meta, Node, NodeKind, Password, Progress, Repository, Timestamp, Unread,
};

const PASSWORD: &str = "correct horse battery staple";

/// A folder with one file, whose attribute can't be read.
struct Odd {
    mtime: Timestamp,
    refuses: AtomicBool,
}

impl Input for Odd {
    fn list(&self, dir: &Path, _unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        let meta = Meta { mode: 0o700, links: 1, mtime: self.mtime, ctime: self.mtime, ..Meta::default() };
        let (name, kind) = match dir.as_os_str().is_empty() {
            true => ("folder", NodeKind::Dir { subtree: None }),
            false => ("file", NodeKind::File { size: 5, content: Vec::new(), sparse: false }),
        };
        Ok(vec![Node { name: name.into(), meta, kind }])
    }

    fn describe(&self, _path: &Path, node: &mut Node) -> io::Result<()> {
        node.meta.unread.clear();
        if !node.is_dir() && self.refuses.load(Ordering::Relaxed) {
            node.meta.unread.push("attribute user.x: Input/output error".into());
        }
        Ok(())
    }

    fn open(&self, _path: &Path, _node: &Node) -> io::Result<Box<dyn Content>> {
        Ok(Box::new(Five(io::Cursor::new("12345"))))
    }

    fn doubts(&self, before: &[String]) -> Vec<String> {
        before.iter().map(|root| format!("{root} is gone")).collect()
    }

    fn mounted(&self, _before: &[String]) -> Vec<String> {
        vec!["/folder".into()]
    }
}

struct Five(io::Cursor<&'static str>);

impl io::Read for Five {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Content for Five {
    fn unchanged(&mut self, _bytes_read: u64) -> io::Result<bool> {
        Ok(true)
    }
}

fn vault(folder: &Path) -> Arc<Repository> {
    let password = Password::new(PASSWORD.into());
    Repository::create(in_folder(folder), &password, "here", jiff::Timestamp::UNIX_EPOCH).unwrap();
    let vault = Repository::open(in_folder(folder), &password).unwrap();
    vault.load_index().unwrap();
    Arc::new(vault)
}

fn back_up(vault: &Arc<Repository>, input: &dyn Input) -> BackupReport {
    let options = BackupOptions {
        point: vault::new_point_id().unwrap(),
        system: "shop".into(),
        source: "files".into(),
        time: "2026-01-01T00:00:00Z".parse().unwrap(),
        paths: vec!["/folder".into()],
        excludes: Vec::new(),
        holder: Holder { hostname: "here".into(), username: "me".into() },
        parent: vault.snapshots().unwrap().0.pop(),
        threads: 2,
        doubts: Vec::new(),
    };
    backup(input, &[Arc::clone(vault)], &options, &Progress::default()).unwrap()
}

fn odd(mtime: Timestamp) -> Odd {
    Odd { mtime, refuses: AtomicBool::new(true) }
}

#[test]
fn an_attribute_that_cannot_be_read_costs_no_content_and_is_told_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault(&folder.path().join("vault"));
    let input = odd(Timestamp { seconds: 1_000_000_000, nanos: 0 });
    for turn in 0..2 {
        let report = back_up(&vault, &input);
        assert_eq!((report.unread.len(), report.info.files), (0, 1), "{report:?}");
        assert_eq!(report.info.details_count, 1, "turn {turn}: {report:?}");
        assert_eq!(report.details[0].path, Path::new("folder/file"));
        assert!(report.info.details[0].why.contains("user.x"), "{report:?}");
        // Nothing is missing in its content: it may be chosen like any other.
        assert!(vault.snapshots().unwrap().0.pop().unwrap().1.is_complete());
        if turn == 1 {
            assert_eq!(report.info.change.files_unchanged, 1, "it is not read again for that: {report:?}");
        }
    }
    let root = back_up(&vault, &input).tree;
    let out = folder.path().join("out");
    let report =
        restore(&[Arc::clone(&vault)], root, &RestoreOptions::new(&out), &Progress::default()).unwrap();
    assert_eq!((report.skipped_count, report.not_set_count), (0, 1), "{report:?}");
    assert_eq!(std::fs::read(out.join("folder/file")).unwrap(), b"12345");
    input.refuses.store(false, Ordering::Relaxed);
    assert_eq!(back_up(&vault, &input).details, []);
    Restic::new(folder.path().join("vault").display().to_string(), PASSWORD).must(&["check", "--read-data"]);
}

#[test]
fn times_beyond_what_a_vault_can_hold_become_the_nearest_and_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let restic = Restic::new(folder.path().join("vault").display().to_string(), PASSWORD);
    let vault = vault(&folder.path().join("vault"));
    // Before the year 0, after 9999, and both ends of what a file system may say.
    for seconds in [-99_999_999_999, 253_402_300_800, i64::MIN, i64::MAX] {
        let input = odd(Timestamp { seconds, nanos: 5 });
        input.refuses.store(false, Ordering::Relaxed);
        let report = back_up(&vault, &input);
        // The folder and the file.
        assert_eq!(report.details.len(), 2, "{report:?}");
        assert!(report.details[0].why.contains("no vault holds"), "{report:?}");
        let snapshot = report.vaults[0].as_ref().unwrap().snapshot.to_string();
        let listed = restic.must(&["ls", "--json", &snapshot]);
        let year = if seconds < 0 { "0000-01-01T00:00:00Z" } else { "9999-12-31T23:59:59" };
        assert_eq!(listed.matches(&format!("\"mtime\":\"{year}")).count(), 2, "{listed}");
        let again = back_up(&vault, &input);
        assert_eq!(again.details.len(), 2, "told each time: {again:?}");
    }
    restic.must(&["check", "--read-data"]);
}

#[test]
fn a_point_keeps_what_speaks_against_it() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault(&folder.path().join("vault"));
    let input = odd(Timestamp::default());
    assert_eq!(back_up(&vault, &input).info.doubts, Vec::<String>::new());
    let written = back_up(&vault, &input).vaults.remove(0).unwrap().snapshot;
    let (snapshots, _) = vault.snapshots().unwrap();
    let (_, snapshot) = snapshots.into_iter().find(|(id, _)| *id == written).unwrap();
    let info = snapshot.releve.unwrap();
    assert_eq!(info.doubts, ["/folder is gone"]);
    assert_eq!(info.mounted, ["/folder"]);
}

/// Files of which one makes its reader panic, and another is read after all others.
struct Mined;

impl Input for Mined {
    fn list(&self, _dir: &Path, _unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        let file = |name: &str| Node {
            name: name.into(),
            meta: Meta { mode: 0o600, links: 1, ..Meta::default() },
            kind: NodeKind::File { size: 5, content: Vec::new(), sparse: false },
        };
        Ok(["late", "mine", "other"].map(file).into())
    }

    fn describe(&self, _path: &Path, _node: &mut Node) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path, _node: &Node) -> io::Result<Box<dyn Content>> {
        assert_ne!(path, Path::new("mine"), "injected");
        Ok(Box::new(Five(io::Cursor::new("12345"))))
    }

    fn is_late(&self, path: &Path) -> bool {
        path == Path::new("late")
    }
}

#[test]
fn a_reader_that_panics_ends_the_backup_and_is_not_waited_for() {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault(&folder.path().join("vault"));
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| back_up(&vault, &Mined)));
        tell.send((made.is_err(), vault.snapshots().unwrap().0.len())).unwrap();
    });
    // It takes less than a second: where nobody tells, somebody waits for a thread that is dead.
    let ended = told.recv_timeout(std::time::Duration::from_secs(15));
    assert_eq!(ended, Ok((true, 0)), "no point is made of what was not read");
}
