//! Files of a hundred gigabytes that cost whoever made them nothing: anybody who can write into a vault may put them there, under any name.

use crate::sample::{PASSWORD, holder, sample};
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vault::repair::{RepairOptions, carry_out, examine};
use vault::restore::{RestoreOptions, restore};
use vault::store::in_folder;
use vault::verify::{VerifyOptions, Window, verify};
use vault::{FileId, FileKind, Lock, LockKind, Password, Progress, Repository};

fn plant(vault: &Path, kind: FileKind) {
    let path = vault.join(kind.path(&FileId::of(kind.folder().as_bytes()).to_string()));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(&path).unwrap().set_len(100 << 30).unwrap();
}

#[test]
fn files_of_a_hundred_gigabytes_are_not_read_and_what_is_in_the_vault_is_had() {
    let folder = tempfile::tempdir().unwrap();
    let (path, vault) = sample(folder.path());
    drop(vault);
    FileKind::LISTED.into_iter().chain([FileKind::Config]).for_each(|kind| plant(&path, kind));
    let begun = Instant::now();
    let open = || Repository::open(in_folder(&path), &Password::new(PASSWORD.into())).map(Arc::new);
    let vault = open().unwrap();
    // How long it is is seen in a folder, and no store's word.
    assert!(vault.lost_config().is_some_and(|why| why.contains("no config")) && !vault.may_have_config());
    assert_eq!(vault.load_index().unwrap().damaged.len(), 1);
    let (points, damaged) = vault.snapshots().unwrap();
    assert_eq!((points.len(), damaged.len()), (1, 1));
    assert!(damaged.iter().all(|error| error.says_damage() && error.to_string().contains("not read")));
    drop(Lock::take(&vault, LockKind::Exclusive, &holder()).unwrap());

    let options = RestoreOptions::new(folder.path().join("out"));
    let report = restore(&[Arc::clone(&vault)], points[0].1.tree, &options, &Progress::default()).unwrap();
    assert!(report.is_whole(), "{report:?}");
    let options = VerifyOptions { read: Window::ALL, holder: holder() };
    let report = verify(&vault, &options, &Progress::default()).unwrap();
    assert!(report.sound.len() == 1 && report.finding_count == 3, "{report:?}");

    // They are nobody's, and a repair takes them away; a pack that nothing names is a prune's.
    let options =
        RepairOptions { read: Window::default(), now: jiff::Timestamp::UNIX_EPOCH, holder: holder() };
    let plan = examine(&vault, &[], &options, &Progress::default()).unwrap();
    carry_out(&vault, &[], &plan, &options, &Progress::default()).unwrap();
    let vault = open().unwrap();
    assert_eq!(vault.lost_config(), None);
    for kind in [FileKind::Key, FileKind::Lock, FileKind::Snapshot, FileKind::Index] {
        let listed = vault.store().list(kind).unwrap();
        assert!(listed.iter().all(|file| file.size <= kind.length_max()), "{listed:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}
