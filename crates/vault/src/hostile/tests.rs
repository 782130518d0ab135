//! Bombs, and vaults harmed in any way: whatever lies in a vault, those who use it come to an end with little memory.

use super::*;
use crate::backup::{BackupOptions, backup, files_of};
use crate::restore::{beside, extras, replaced};
use crate::{Content, Input, Unread, repair};
use std::io::{self, Write};
#[expect(clippy::disallowed_types, reason = "the test itself, in a process of its own")]
use std::process::Command;

/// Runs the test of this name in a process of its own, with so little memory that a bomb would end it. Returns whether this is that process.
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "how the process is told that it is the one"
)]
fn is_bounded(name: &str) -> bool {
    if std::env::var_os("RELEVE_TEST_BOUNDED").is_some() {
        return true;
    }
    let begun = Instant::now();
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 2000000 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("hostile::tests::{name}"), "--test-threads=1"])
        .env("RELEVE_TEST_BOUNDED", "1")
        .env("MALLOC_ARENA_MAX", "2")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    false
}

fn vault(held: &Held) -> Arc<Repository> {
    *lock(&held.0) = sound().files.clone();
    let vault = Repository::open_with_master(Box::new(held.clone()), &sound().master).unwrap();
    vault.load_index().unwrap();
    Arc::new(vault)
}

/// Returns what inflates to so many MiB of blanks, in braces.
fn bomb(mebibytes: usize) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(vec![2], 1).unwrap();
    encoder.write_all(b"{").unwrap();
    let blanks = vec![b' '; 1 << 20];
    (0..mebibytes).for_each(|_| encoder.write_all(&blanks).unwrap());
    encoder.write_all(b"}").unwrap();
    let plain = encoder.finish().unwrap();
    assert!(plain.len() < 400_000, "{}", plain.len());
    plain
}

/// Writes a file of the vault, sealed with its key, under its right name.
fn plant(vault: &Repository, kind: FileKind, plain: &[u8]) {
    let sealed = vault.key().seal(plain).unwrap();
    vault.store().write(kind, &FileId::of(&sealed).to_string(), &sealed).unwrap();
}

#[test]
fn files_that_inflate_without_end_are_named_and_passed_over() {
    if !is_bounded("files_that_inflate_without_end_are_named_and_passed_over") {
        return;
    }
    let held = Held::default();
    let vault = vault(&held);
    let bomb = bomb(900);
    for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Lock] {
        for _ in 0..4 {
            plant(&vault, kind, &bomb);
        }
    }
    // A list of nothing, which takes many times as much memory as it has text.
    let parts = format!(r#"{{"tags":[{}""]}}"#, r#""","#.repeat(8_000_000));
    assert!(crate::format::unpack_json(FileKind::Snapshot, parts.as_bytes()).is_err());
    let (points, damaged) = vault.snapshots().unwrap();
    assert_eq!((points.len(), damaged.len()), (1, 4), "{damaged:?}");
    assert!(damaged.iter().all(|error| error.says_damage()), "{damaged:?}");
    assert_eq!(vault.load_index().unwrap().damaged.len(), 4);
    drop(Lock::take(&vault, LockKind::Exclusive, &holder()).unwrap());
    let out = tempfile::tempdir().unwrap();
    let report =
        restore(&[Arc::clone(&vault)], sound().tree, &RestoreOptions::new(out.path()), &Progress::default());
    assert!(report.unwrap().is_whole());
    is_right(out.path());
}

#[test]
fn heavy_snapshots_have_one_memory_together_and_leave_an_ordinary_one_its_own() {
    let held = Held::default();
    let vault = vault(&held);
    let paths: Vec<String> = (0..100_000).map(|at| format!("\"p{at}\"")).collect();
    let tree = sound().tree;
    let heavy = format!(r#"{{"time":"2026-11-30T10:00:01Z","tree":"{tree}","paths":[{}]}}"#, paths.join(","));
    for _ in 0..16 {
        plant(&vault, FileKind::Snapshot, heavy.as_bytes());
    }
    let (points, damaged) = vault.snapshots().unwrap();
    assert_eq!(points.len() + damaged.len(), 17, "each of them is had, or named");
    assert!(damaged.len() > 3, "{}", damaged.len());
    let is_named = |error: &Error| error.says_damage() && error.to_string().contains("of memory");
    assert!(damaged.iter().all(is_named), "{damaged:?}");
    assert!(points.iter().any(|(_, snapshot)| snapshot.paths.len() < 100_000), "the ordinary one");
}

#[test]
fn blobs_that_an_index_calls_endless_are_neither_read_nor_inflated() {
    let held = Held::default();
    let vault = vault(&held);
    let packs = vault.catalogue().by_pack();
    let pack = packs.iter().find(|pack| !pack.blobs.is_empty()).unwrap();
    for (length, uncompressed) in [(u32::MAX, 0), (2000, u32::MAX), (2000, 1 << 29)] {
        let id = BlobId::of(&length.to_be_bytes());
        for kind in [BlobKind::Data, BlobKind::Tree] {
            let entry = Entry { id, kind, offset: 0, length, uncompressed };
            vault.learn(&[IndexedPack { id: pack.id, entries: vec![entry] }]);
            assert!(!vault.has(kind, &id) && vault.blob(kind, &id).unwrap_err().is_not_found());
        }
    }
}

/// A point of so many trees of which each names the next twice.
fn endless(vault: &Arc<Repository>, levels: u32) -> BlobId {
    put(vault, |add| {
        let mut nodes = [file(add, 1)];
        let mut tree = add(BlobKind::Tree, &tree::write(&mut nodes));
        for _ in 0..levels {
            let mut nodes = ["a", "b"].map(|name| node(name, NodeKind::Dir { subtree: Some(tree) }));
            tree = add(BlobKind::Tree, &tree::write(&mut nodes));
        }
        tree
    })
}

/// Four folders in each other, of which each names the next eight times: four thousand ways lead to the last.
fn doubled(vault: &Arc<Repository>) -> BlobId {
    put(vault, |add| {
        let mut nodes = [file(add, 1)];
        let mut tree = add(BlobKind::Tree, &tree::write(&mut nodes));
        for _ in 0..4 {
            let mut nodes = [(); 8].map(|()| node("srv", NodeKind::Dir { subtree: Some(tree) }));
            tree = add(BlobKind::Tree, &tree::write(&mut nodes));
        }
        tree
    })
}

#[test]
fn a_folder_of_the_target_is_looked_at_once_however_often_its_name_stands_in_the_point() {
    let held = Held::default();
    let vault = vault(&held);
    let tree = doubled(&vault);
    let vaults = [Arc::clone(&vault)];
    let out = tempfile::tempdir().unwrap();
    let below = Path::new("srv/srv/srv/srv");
    std::fs::create_dir_all(out.path().join(below)).unwrap();
    std::fs::write(out.path().join(below).join("newer"), "").unwrap();
    // What goes for the file of the point.
    std::os::unix::fs::symlink("newer", out.path().join(below).join("file-1")).unwrap();
    let options = RestoreOptions::new(out.path());
    let mut looked = Vec::new();
    let unknown = beside(&vaults, tree, &options, &Progress::default(), &mut |there| {
        looked.push((there.folder.to_owned(), there.extra.to_vec()));
    });
    assert!(unknown.unwrap().is_empty());
    assert_eq!(looked, [(below.to_owned(), vec![std::ffi::OsString::from("newer")])]);
    let goes = replaced(&vaults, tree, &options, &Progress::default()).unwrap();
    assert_eq!(goes.len(), 1, "{goes:?}");
    let found = extras(&vaults, tree, &options, &Progress::default()).unwrap();
    assert!(found.unknown.is_empty() && found.paths.len() == 1, "{found:?}");
}

/// Nothing at all.
struct Empty;

impl Input for Empty {
    fn list(&self, _: &Path, _: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        Ok(Vec::new())
    }

    fn describe(&self, _: &Path, _: &mut Node) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, _: &Path, _: &Node) -> io::Result<Box<dyn Content>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[test]
fn forty_trees_that_name_each_other_twice_end_a_backup_a_restore_and_every_look() {
    if !is_bounded("forty_trees_that_name_each_other_twice_end_a_backup_a_restore_and_every_look") {
        return;
    }
    let held = Held::default();
    let vault = vault(&held);
    let tree = endless(&vault, 40);
    let file = point(&vault, tree);
    let vaults = [Arc::clone(&vault)];
    let out = tempfile::tempdir().unwrap();
    let report = restore(&vaults, tree, &RestoreOptions::new(out.path()), &Progress::default()).unwrap();
    // All that nobody can have made is named; what there is comes back until then.
    assert!(!report.is_whole() && report.restored > 1000, "{}", report.restored);
    assert!(report.skipped.iter().all(|skipped| skipped.why.contains("without end")), "{report:?}");

    let error = files_of(&vault, &tree).unwrap_err();
    assert!(error.to_string().contains("without end"), "{error}");

    let options = BackupOptions {
        point: "0123456789abcdef".into(),
        system: "shop".into(),
        source: "files".into(),
        time: jiff::Timestamp::from_second(1_800_000_000).unwrap(),
        paths: vec!["/".into()],
        excludes: Vec::new(),
        holder: holder(),
        parent: Some((file, snapshot(tree))),
        threads: 1,
        doubts: Vec::new(),
    };
    let made = backup(&Empty, &vaults, &options, &Progress::default()).unwrap();
    assert!(made.vaults.iter().all(Result::is_ok), "{made:?}");

    let options = VerifyOptions { read: Window::ALL, holder: holder() };
    verify(&vault, &options, &Progress::default()).unwrap();

    // What is lost is looked for in every folder.
    let packs = vault.catalogue().by_pack();
    let data = packs.iter().find(|pack| pack.blobs.iter().any(|(kind, ..)| *kind == BlobKind::Data)).unwrap();
    vault.store().remove(FileKind::Pack, &data.id.to_string()).unwrap();
    let options =
        repair::RepairOptions { read: Window::ALL, now: jiff::Timestamp::UNIX_EPOCH, holder: holder() };
    let planned = repair::examine(&vault, &[], &options, &Progress::default()).unwrap();
    assert!(planned.blobs > 0, "{planned:?}");
    let _ = repair::carry_out(&vault, &[], &planned, &options, &Progress::default());
}

#[test]
fn a_vault_harmed_in_any_way_ends_and_never_says_that_wrong_data_is_right() {
    for seed in 0..40u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        // Few harms, so that much of the vault still works; more with each round.
        let length = 4 * (1 + usize::try_from(seed % 6).unwrap());
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_be_bytes()[0]
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        use_harmed(&bytes, folder.path());
    }
}
