//! Files that come by themselves, among each other, into a point.

use crate::bytes::Bytes;
use std::io;
use std::path::Path;
use std::sync::Arc;
use testkit::{Random, Restic};
use vault::backup::{BackupOptions, BackupReport, backup};
use vault::restore::{RestoreOptions, restore};
use vault::store::in_folder;
use vault::{
    Content, Holder, Input, Meta, Node, NodeKind, Password, Progress, Repository, Result, Unread, Vessel,
};

const PASSWORD: &str = "correct horse battery staple";

/// Two files at the top; if `by_itself` they come in steps, in turn, and else they are read.
struct Two {
    files: [(&'static str, Vec<u8>); 2],
    by_itself: bool,
    /// Bytes after which they end, or nothing does.
    breaks_off: Option<usize>,
}

impl Input for Two {
    fn pour(&self, vessel: &mut dyn Vessel) -> io::Result<()> {
        if !self.by_itself {
            return Ok(());
        }
        // Begun and begun again: the second is the one that counts.
        vessel.add(Path::new("a"), b"of another time")?;
        vessel.end(Path::new("a"))?;
        let mut steps: Vec<_> = self.files.iter().map(|(name, bytes)| (name, bytes.chunks(77_777))).collect();
        for _ in 0..self.breaks_off.unwrap_or(usize::MAX) {
            let mut is_over = true;
            for (name, steps) in &mut steps {
                let Some(bytes) = steps.next() else { continue };
                is_over = false;
                vessel.add(Path::new(name), bytes)?;
            }
            if is_over {
                self.files.iter().try_for_each(|(name, _)| vessel.end(Path::new(name)))?;
                break;
            }
        }
        Ok(())
    }

    fn list(&self, _dir: &Path, _unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        let node = |(name, _): &(&str, Vec<u8>)| {
            let kind = NodeKind::File { size: 0, content: Vec::new(), sparse: false };
            Node {
                name: name.as_bytes().to_vec(),
                meta: Meta { mode: 0o600, links: 1, ..Meta::default() },
                kind,
            }
        };
        Ok(self.files.iter().map(node).collect())
    }

    fn describe(&self, _path: &Path, _node: &mut Node) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path, _node: &Node) -> io::Result<Box<dyn Content>> {
        assert!(!self.by_itself, "what came by itself is read");
        let file = self.files.iter().find(|(name, _)| Path::new(name) == path).unwrap();
        Ok(Box::new(Bytes(io::Cursor::new(file.1.clone()))))
    }
}

fn files() -> [(&'static str, Vec<u8>); 2] {
    [("a", Random::new(1).bytes(19 << 20)), ("b", Random::new(2).bytes(300_000))]
}

fn vault(folder: &Path) -> Arc<Repository> {
    let password = Password::new(PASSWORD.into());
    Repository::create(in_folder(folder), &password, "shop-1", jiff::Timestamp::UNIX_EPOCH).unwrap();
    let vault = Repository::open(in_folder(folder), &password).unwrap();
    vault.load_index().unwrap();
    Arc::new(vault)
}

fn back_up(vault: &Arc<Repository>, input: &Two) -> Result<BackupReport> {
    let parent = vault.snapshots().unwrap().0.pop();
    let options = BackupOptions {
        point: vault::new_point_id().unwrap(),
        system: "shop".into(),
        source: "mariadb".into(),
        time: jiff::Timestamp::UNIX_EPOCH,
        paths: vec!["/a".into(), "/b".into()],
        excludes: Vec::new(),
        holder: Holder { hostname: "here".into(), username: "me".into() },
        parent,
        threads: 2,
        doubts: Vec::new(),
    };
    backup(input, &[Arc::clone(vault)], &options, &Progress::default())
}

#[test]
fn what_comes_by_itself_is_stored_as_if_it_had_been_read() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault(&folder.path().join("vault"));
    let poured = back_up(&vault, &Two { files: files(), by_itself: true, breaks_off: None }).unwrap();
    let read = back_up(&vault, &Two { files: files(), by_itself: false, breaks_off: None }).unwrap();
    // The same pieces: whatever one has stored the other need not.
    assert_eq!(poured.tree, read.tree);
    assert_eq!((poured.info.files, poured.info.bytes), (2, (19 << 20) + 300_000));
    let out = folder.path().join("out");
    let report = restore(&[vault], poured.tree, &RestoreOptions::new(&out), &Progress::default()).unwrap();
    assert_eq!((report.damaged_count, report.skipped_count), (0, 0));
    files()
        .iter()
        .for_each(|(name, bytes)| assert!(std::fs::read(out.join(name)).unwrap() == *bytes, "{name}"));
    Restic::new(folder.path().join("vault").display().to_string(), PASSWORD).must(&["check", "--read-data"]);
}

#[test]
fn what_comes_again_as_it_was_is_counted_as_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault(&folder.path().join("vault"));
    let mut two = Two { files: files(), by_itself: true, breaks_off: None };
    let change = |two: &Two| {
        let change = back_up(&vault, two).unwrap().info.change;
        (change.files_new, change.files_changed, change.files_unchanged)
    };
    assert_eq!(change(&two), (2, 0, 0));
    assert_eq!(change(&two), (0, 0, 2));
    two.files[1].1[7] ^= 1;
    assert_eq!(change(&two), (0, 1, 1));
}

#[test]
fn a_file_that_did_not_come_whole_is_no_point() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault(&folder.path().join("vault"));
    let error = back_up(&vault, &Two { files: files(), by_itself: true, breaks_off: Some(3) }).unwrap_err();
    assert!(error.to_string().contains("did not come whole"), "{error}");
    assert!(vault.snapshots().unwrap().0.is_empty());
}
