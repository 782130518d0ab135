//! A vault that version 0.1 made, stored beside the tests: every later version reads it, and goes on with it. See docs/format.md.

use jiff::Timestamp;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use testkit::Restic;
use vault::prune::{PruneOptions, carry_out, plan};
use vault::restore::{RestoreOptions, restore};
use vault::store::Credentials;
use vault::verify::{VerifyOptions, Window, verify};
use vault::{Holder, Password, Progress, Repository, store};

pub(crate) const PASSWORD: &str = "a sample needs no secret";

pub(crate) fn holder() -> Holder {
    Holder { hostname: "here".into(), username: "me".into() }
}

/// Copies the sample, so that it stays as it was made, and opens the copy.
pub(crate) fn sample(folder: &Path) -> (PathBuf, Arc<Repository>) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sample/version-0.1");
    let to = folder.join("vault");
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(&to).status().unwrap();
    assert!(status.success());
    fs::create_dir_all(to.join("locks")).unwrap();
    let place = store::open(&format!("file://{}", to.display()), &Credentials::default()).unwrap();
    let vault = Repository::open(place, &Password::new(PASSWORD.into())).unwrap();
    vault.load_index().unwrap();
    (to, Arc::new(vault))
}

pub(crate) fn comes_back(vault: &Arc<Repository>, to: &Path) {
    let (snapshots, damaged) = vault.snapshots().unwrap();
    assert!(damaged.is_empty());
    let (_, snapshot) = snapshots.last().unwrap();
    assert_eq!(snapshot.tag("system"), Some("shop"));
    assert_eq!(snapshot.hostname, "server");
    assert!(snapshot.is_complete());
    let report =
        restore(&[Arc::clone(vault)], snapshot.tree, &RestoreOptions::new(to), &Progress::default()).unwrap();
    assert_eq!((report.damaged_count, report.skipped_count), (0, 0), "{report:?}");
    let shop = to.join("srv/shop");
    assert_eq!(fs::read_to_string(shop.join("hello")).unwrap(), "second day\n");
    let large: Vec<u8> = (0..300_000u64).map(|i| u8::try_from(((i * i) >> 3) & 255).unwrap()).collect();
    assert!(fs::read(shop.join("large")).unwrap() == large);
    let inode = |name: &str| fs::metadata(shop.join(name)).unwrap().ino();
    assert_eq!(inode("hello"), inode("second-name"));
    assert_eq!(fs::read_link(shop.join("link")).unwrap(), Path::new("hello"));
    assert_eq!(fs::metadata(shop.join("tool")).unwrap().permissions().mode() & 0o7777, 0o4755);
    let holes = fs::metadata(shop.join("holes")).unwrap();
    assert_eq!((holes.len(), holes.blocks() < 64), (1 << 20, true));
    let nothing = fs::metadata(shop.join("nothing")).unwrap();
    assert_eq!((nothing.mtime(), nothing.mtime_nsec()), (1_700_000_000, 123_456_789));
    assert_eq!(fs::read_dir(&shop).unwrap().count(), 10);
}

#[test]
fn a_vault_of_version_0_1_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (_, vault) = sample(folder.path());
    let options = VerifyOptions { read: Window::ALL, holder: holder() };
    let report = verify(&vault, &options, &Progress::default()).unwrap();
    assert_eq!((report.finding_count, report.sound.len()), (0, 1), "{report:?}");
    comes_back(&vault, &folder.path().join("out"));
}

#[test]
fn what_version_0_1_marked_is_removed_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (path, vault) = sample(folder.path());
    let options = PruneOptions {
        forget: Vec::new(),
        keep: Vec::new(),
        known: Vec::new(),
        accept_lost: false,
        at_once: false,
        delay: Duration::from_secs(3 * 24 * 3600),
        unused: 0.0,
        repack_max: u64::MAX,
        repack_within: Duration::from_secs(3600),
        now: Timestamp::from_second(2_000_000_000).unwrap(),
        holder: holder(),
    };
    let planned = plan(&vault, &options, &Progress::default()).unwrap();
    let report = carry_out(&vault, &planned, &options, &Progress::default()).unwrap();
    assert_eq!(report.removed.packs, 1, "{planned:?}");
    comes_back(&vault, &folder.path().join("out"));
    let restic = Restic::new(path.display().to_string(), PASSWORD);
    let checked = restic.run(&["check", "--read-data"]);
    assert!(checked.success, "{checked:?}");
}
