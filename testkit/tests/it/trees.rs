//! Trees that are grown and compared.

use rustix::fs::XattrFlags;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use testkit::tree::{compare, grow};

fn copied() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    assert!(grow(&a, 7, 60) > 0);
    assert!(Command::new("cp").arg("-a").args([&a, &b]).status().unwrap().success());
    (folder, a, b)
}

#[test]
fn a_faithful_copy_does_not_differ() {
    let (_folder, a, b) = copied();
    assert_eq!(compare(&a, &b), []);
}

#[test]
fn equal_seeds_grow_equal_trees_and_others_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| folder.path().join(name));
    for (root, seed) in [(&a, 1), (&b, 1), (&c, 2)] {
        grow(root, seed, 60);
    }
    assert_eq!(compare(&a, &b), []);
    assert!(!compare(&a, &c).is_empty());
}

type Change = fn(&Path);

#[test]
fn every_difference_is_found() {
    let changes: [(&str, Change); 11] = [
        ("content", |b| {
            keeping_time(&b.join("odd/sparse"), |path| {
                let mut bytes = fs::read(path).unwrap();
                bytes[4 << 20] ^= 1;
                fs::write(path, bytes).unwrap();
            });
        }),
        ("size", |b| {
            keeping_time(&b.join("odd/sparse"), |path| {
                fs::File::options().write(true).open(path).unwrap().set_len(5).unwrap();
            });
        }),
        ("mode", |b| fs::set_permissions(b.join("odd/secret"), fs::Permissions::from_mode(0o600)).unwrap()),
        ("owner", |b| chown(b.join("odd/secret"), Some(77), None).unwrap()),
        ("modified", |b| {
            let then = SystemTime::UNIX_EPOCH + Duration::from_nanos(1);
            fs::File::open(b.join("odd/sparse")).unwrap().set_modified(then).unwrap();
        }),
        ("target", |b| {
            keeping_folder_time(&b.join("odd"), |odd| {
                fs::remove_file(odd.join("link")).unwrap();
                symlink("elsewhere", odd.join("link")).unwrap();
            });
        }),
        ("only in the first", |b| fs::remove_file(b.join("odd/null")).unwrap()),
        ("only in the second", |b| fs::write(b.join("odd/new"), b"").unwrap()),
        ("hard link", |b| {
            keeping_folder_time(&b.join("odd"), |odd| {
                fs::copy(odd.join("hard-1"), odd.join("copy")).unwrap();
                fs::rename(odd.join("copy"), odd.join("hard-1")).unwrap();
            });
        }),
        ("attributes", |b| {
            rustix::fs::lsetxattr(b.join("odd/attributes"), "user.comment", b"other", XattrFlags::empty())
                .unwrap();
        }),
        ("Directory, RegularFile", |b| {
            keeping_folder_time(&b.join("odd"), |odd| {
                fs::remove_dir(odd.join("empty")).unwrap();
                fs::write(odd.join("empty"), b"").unwrap();
            });
        }),
    ];
    for (word, change) in changes {
        let (_folder, a, b) = copied();
        change(&b);
        let found = compare(&a, &b);
        assert!(found.iter().any(|difference| difference.what.contains(word)), "{word}: {found:?}");
    }
}

fn keeping_time(path: &Path, change: impl FnOnce(&Path)) {
    let before = fs::metadata(path).unwrap().modified().unwrap();
    change(path);
    fs::File::open(path).unwrap().set_modified(before).unwrap();
}

fn keeping_folder_time(path: &Path, change: impl FnOnce(&Path)) {
    keeping_time(path, change);
}
