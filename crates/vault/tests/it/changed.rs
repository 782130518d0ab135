//! What is counted as changed since the point before: the content decides.

use crate::bytes::Bytes;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::Random;
use vault::backup::{BackupOptions, backup};
use vault::store::in_folder;
use vault::{
    Change, Content, Holder, Input, Meta, Node, NodeKind, Password, PointInfo, Progress, Repository,
    Timestamp, Unread,
};

/// Files in folders, as they are at one time.
#[derive(Clone, Default)]
struct Tree {
    files: BTreeMap<PathBuf, Vec<u8>>,
    links: Vec<&'static str>,
    /// Times, owner and inodes are all others than before.
    visit: u64,
    /// By so many seconds the time of change was set back, which the file system's own isn't.
    back: i64,
    /// All files have one time of change, as a build gives it to them. Else each has its own.
    fixed: bool,
}

impl Tree {
    fn put(&mut self, path: impl AsRef<Path>, bytes: Vec<u8>) {
        self.files.insert(path.as_ref().to_owned(), bytes);
    }

    fn meta(&self, name: &[u8]) -> Meta {
        let time = Timestamp { seconds: 1_000 + i64::try_from(self.visit).unwrap(), nanos: 0 };
        let own: i64 = if self.fixed { 0 } else { name.iter().map(|byte| i64::from(*byte)).sum() };
        Meta {
            mode: 0o600,
            links: 1,
            mtime: Timestamp { seconds: time.seconds - self.back - 10 * own, ..time },
            ctime: time,
            inode: 7 + self.visit,
            uid: self.visit as u32,
            ..Meta::default()
        }
    }
}

impl Input for Tree {
    fn list(&self, dir: &Path, _unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        let mut nodes = BTreeMap::new();
        for (path, bytes) in &self.files {
            let Ok(below) = path.strip_prefix(dir) else { continue };
            let mut parts = below.iter();
            let name = parts.next().unwrap().to_str().unwrap().as_bytes().to_vec();
            let kind = match parts.next() {
                Some(_) => NodeKind::Dir { subtree: None },
                None => NodeKind::File { size: bytes.len() as u64, content: Vec::new(), sparse: false },
            };
            nodes.insert(name.clone(), Node { meta: self.meta(&name), name, kind });
        }
        for name in self.links.iter().filter(|_| dir.as_os_str().is_empty()) {
            let name = name.as_bytes().to_vec();
            let kind = NodeKind::Symlink { target: b"elsewhere".to_vec() };
            nodes.insert(name.clone(), Node { meta: self.meta(&name), name, kind });
        }
        Ok(nodes.into_values().collect())
    }

    fn describe(&self, _path: &Path, _node: &mut Node) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path, _node: &Node) -> io::Result<Box<dyn Content>> {
        Ok(Box::new(Bytes(io::Cursor::new(self.files[path].clone()))))
    }
}

struct Vault {
    _folder: tempfile::TempDir,
    vault: Arc<Repository>,
}

impl Vault {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let password = Password::new(b"correct horse battery staple".to_vec());
        let place = folder.path().join("vault");
        Repository::create(in_folder(&place), &password, "shop-1", jiff::Timestamp::UNIX_EPOCH).unwrap();
        let vault = Repository::open(in_folder(&place), &password).unwrap();
        vault.load_index().unwrap();
        Self { _folder: folder, vault: Arc::new(vault) }
    }

    /// Backs up after the point before.
    fn back_up(&self, tree: &Tree) -> PointInfo {
        let parent = self.vault.snapshots().unwrap().0.into_iter().max_by_key(|(_, snapshot)| snapshot.time);
        let time = parent.as_ref().map_or(jiff::Timestamp::UNIX_EPOCH, |(_, snapshot)| snapshot.time);
        let options = BackupOptions {
            point: vault::new_point_id().unwrap(),
            system: "share".into(),
            source: "files".into(),
            time: time + jiff::SignedDuration::from_hours(1),
            paths: vec!["/share".into()],
            excludes: Vec::new(),
            holder: Holder { hostname: "here".into(), username: "me".into() },
            parent,
            threads: 2,
            doubts: Vec::new(),
        };
        backup(tree, &[Arc::clone(&self.vault)], &options, &Progress::default()).unwrap().info
    }

    fn change(&self, tree: &Tree) -> Change {
        self.back_up(tree).change
    }
}

fn text(n: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(n);
    let words = ["invoice", "order", "pays", "late", "net", "thirty", "days", "due", "tax", "sum"];
    let mut text = Vec::new();
    while text.len() < length {
        text.extend(words[random.below(words.len())].as_bytes());
        text.extend(format!(" {} ", random.below(1000)).as_bytes());
    }
    text.truncate(length);
    text
}

fn picture(n: u64, length: usize) -> Vec<u8> {
    let mut picture = b"\xff\xd8\xff\xe0\0\x10JFIF\0".to_vec();
    picture.extend(Random::new(n).bytes(length));
    picture
}

fn noise(n: u64, length: usize) -> Vec<u8> {
    Random::new(1_000_000 + n).bytes(length)
}

/// 40 texts, 20 pictures, and one large text.
fn share() -> Tree {
    let mut tree = Tree::default();
    for n in 0..40 {
        tree.put(format!("docs/{n}.txt"), text(n, 300 + 400 * n as usize));
    }
    for n in 0..20 {
        tree.put(format!("photos/{n}.jpg"), picture(n, 20_000 + 1000 * n as usize));
    }
    tree.put("large.log", text(99, 3 << 20));
    tree
}

#[test]
fn what_is_read_again_and_is_the_same_is_unchanged_whatever_its_times_owner_or_inode() {
    let vault = Vault::new();
    let mut tree = share();
    let first = vault.change(&tree);
    assert_eq!((first.files_new, first.files_changed, first.files_unchanged), (61, 0, 0));
    tree.visit = 1;
    let change = vault.change(&tree);
    assert_eq!((change.files_new, change.files_changed, change.files_unchanged), (0, 0, 61), "{change:?}");
    assert_eq!((change.files_touched, change.counted), (61, vault::COUNTED));
    let again = vault.change(&tree);
    assert_eq!((again.files_unchanged, again.files_touched), (61, 0), "{again:?}");
}

#[test]
fn links_are_no_files() {
    let vault = Vault::new();
    let mut tree = share();
    tree.links = vec!["a", "b", "c"];
    let info = vault.back_up(&tree);
    assert_eq!((info.files, info.links, info.specials, info.change.files_new), (64, 3, 0, 61));
    tree.links = vec!["a"];
    let info = vault.back_up(&tree);
    assert_eq!((info.links, info.change.files_removed), (1, 0), "{info:?}");
}

#[test]
fn a_moved_folder_is_moved_and_nothing_of_it_is_lost() {
    let vault = Vault::new();
    let tree = share();
    vault.change(&tree);
    let mut moved = Tree { visit: 1, ..Tree::default() };
    for (path, bytes) in &tree.files {
        moved.put(Path::new("archive").join(path), bytes.clone());
    }
    let change = vault.change(&moved);
    assert_eq!((change.files_new, change.files_removed, change.files_moved), (61, 61, 61), "{change:?}");
    assert_eq!(change.files_scrambled, 0);
}

#[test]
fn what_changed_behind_its_times_became_zeros_or_all_the_same_is_counted_apart() {
    type Writes<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
    let overwrite = |tree: &Tree, with: Writes<'_>| {
        let files = tree.files.iter().map(|(path, bytes)| (path.clone(), with(bytes))).collect();
        Tree { files, visit: 1, ..Tree::default() }
    };
    let xored = |bytes: &[u8]| bytes.iter().map(|byte| byte ^ 0x5a).collect::<Vec<u8>>();
    let zeros = |bytes: &[u8]| vec![0u8; bytes.len()];
    let same = |_: &[u8]| b"All of this is ours now. ".repeat(40);
    let empty = |_: &[u8]| Vec::<u8>::new();
    // The time was set back, or it is that of the writing: veiled, ruined, emptied.
    let all: [(Writes<'_>, i64, [u64; 3]); 5] = [
        (&xored, 1, [61, 0, 0]),
        (&xored, 0, [0, 0, 0]),
        (&zeros, 0, [0, 61, 0]),
        (&same, 0, [0, 61, 0]),
        (&empty, 0, [0, 0, 61]),
    ];
    for (with, back, counts) in all {
        let vault = Vault::new();
        let tree = share();
        vault.change(&tree);
        let change = vault.change(&Tree { back, ..overwrite(&tree, with) });
        let counted = [change.files_veiled, change.files_ruined, change.files_emptied];
        assert_eq!((change.files_changed, counted), (61, counts), "{change:?}");
    }
}

#[test]
fn one_time_for_all_is_a_build_and_an_encrypted_disk_keeps_its_own() {
    let builds = |fixed: bool, with: u8| {
        let vault = Vault::new();
        let mut tree = Tree { fixed, ..Tree::default() };
        (0..30).for_each(|n| tree.put(format!("build/{n}.o"), text(n, 900)));
        vault.change(&tree);
        (tree.visit, tree.back) = (1, 1);
        for bytes in tree.files.values_mut() {
            bytes.iter_mut().for_each(|byte| *byte = if with == 0 { 0 } else { *byte ^ with });
        }
        let change = vault.change(&tree);
        (change.files_veiled, change.files_ruined)
    };
    assert_eq!((builds(true, 1), builds(false, 1)), ((0, 0), (30, 0)));
    assert_eq!(builds(true, 0).1, 30, "zeros are nobody's build");
    // Noise before and after, beside texts of which somebody set the times back.
    let vault = Vault::new();
    let mut tree = share();
    (0..10).for_each(|n| tree.put(format!("disks/{n}.hc"), noise(n, 50_000)));
    vault.change(&tree);
    (tree.visit, tree.back) = (1, 1);
    (0..10).for_each(|n| tree.put(format!("disks/{n}.hc"), noise(100 + n, 50_000)));
    let change = vault.change(&tree);
    assert_eq!((change.files_changed, change.files_veiled, change.files_scrambled), (10, 0, 0), "{change:?}");
    tree.visit = 2;
    tree.back = 2;
    for n in 0..10 {
        tree.put(format!("disks/{n}.hc"), noise(200 + n, 50_000));
        let other = tree.files[Path::new(&format!("docs/{n}.txt"))].iter().map(|byte| byte ^ 1).collect();
        tree.put(format!("docs/{n}.txt"), other);
    }
    assert_eq!(vault.change(&tree).files_veiled, 10);
}

#[test]
fn what_goes_from_where_things_pass_or_out_of_a_working_copy_is_aside_and_an_archive_that_came_is_counted() {
    let vault = Vault::new();
    let mut tree = Tree::default();
    for n in 0..10 {
        tree.put(format!("share/mail/{n}"), text(n, 1_000));
        tree.put(format!("share/.Trash/cur/{n}"), text(100 + n, 1_000));
        tree.put(format!("share/shop/{n}.rs"), text(200 + n, 1_000));
        tree.put(format!("share/shop/.git/objects/{n}"), noise(n, 500));
    }
    tree.put("share/shop/.git/HEAD", b"ref: refs/heads/main".to_vec());
    tree.put("share/shop/.git/index", noise(77, 900));
    vault.change(&tree);
    let went = |tree: &Tree, folder: &str, name: &str| {
        let mut tree = Tree { visit: 1, ..tree.clone() };
        tree.files
            .retain(|path, _| !path.starts_with(folder) || path.extension().is_some() != (name == "rs"));
        tree
    };
    let aside = |change: &Change| (change.files_removed, change.files_aside, change.bytes_lost);
    let change = vault.change(&went(&tree, "share/.Trash", ""));
    assert_eq!(aside(&change), (10, 10, 0), "{change:?}");
    vault.change(&tree);
    // Without git's own writing it is a deletion, and what git itself holds always is one.
    assert_eq!(aside(&vault.change(&went(&tree, "share/shop", "rs"))), (10, 0, 10_000));
    vault.change(&tree);
    let mut other = went(&tree, "share/shop", "rs");
    other.put("share/shop/.git/HEAD", b"ref: refs/heads/small".to_vec());
    other.put("share/shop/.git/index", noise(78, 300));
    (0..4).for_each(|n| _ = other.files.remove(Path::new(&format!("share/shop/.git/objects/{n}"))));
    let change = vault.change(&other);
    assert_eq!((change.files_removed, change.files_aside), (14, 10), "{change:?}");
    vault.change(&tree);
    // What is thrown away is gone, and not moved.
    let mut thrown = Tree { visit: 1, ..tree.clone() };
    for n in 0..10 {
        let mail = thrown.files.remove(Path::new(&format!("share/mail/{n}"))).unwrap();
        thrown.put(format!("share/.Trash/cur/mail-{n}"), mail);
    }
    let change = vault.change(&thrown);
    assert_eq!((change.files_removed, change.files_moved, change.files_aside), (10, 0, 0), "{change:?}");
    assert_eq!((change.files_new, change.files_passing, change.bytes_came), (10, 10, 0));
    vault.change(&tree);
    for (name, counted) in [("share/old.tar.gz", 5_004), ("share/old.docx", 0)] {
        let mut packed = Tree { visit: 1, ..tree.clone() };
        packed.put(name, [b"\x1f\x8b\x08\0".to_vec(), noise(5, 5_000)].concat());
        assert_eq!(vault.change(&packed).bytes_packed, counted, "{name}");
        vault.change(&tree);
    }
}

#[test]
fn bytes_that_are_lost_and_bytes_that_came_leave_out_what_was_moved() {
    let vault = Vault::new();
    let mut tree = Tree::default();
    for n in 0..10 {
        tree.put(format!("a/{n}"), text(n, 1_000));
    }
    vault.change(&tree);
    tree.visit = 1;
    for n in 0..4 {
        let moved = tree.files.remove(Path::new(&format!("a/{n}"))).unwrap();
        tree.put(format!("b/{n}"), moved);
    }
    tree.files.remove(Path::new("a/4"));
    tree.put("a/5", text(50, 1_500));
    tree.put("a/6", text(60, 800));
    tree.put("new", text(70, 300));
    let change = vault.change(&tree);
    assert_eq!((change.bytes_lost, change.bytes_came), (1_000 + 200, 500 + 300), "{change:?}");
}

#[test]
fn what_is_edited_added_and_deleted_is_counted_and_no_sign() {
    let vault = Vault::new();
    let mut tree = share();
    vault.change(&tree);
    tree.visit = 1;
    for n in 0..10 {
        tree.put(format!("docs/{n}.txt"), text(500 + n, 700));
        tree.put(format!("photos/{n}.jpg"), picture(500 + n, 22_000));
    }
    tree.files.remove(Path::new("docs/20.txt"));
    tree.put("new.zip", [b"PK\x03\x04".to_vec(), noise(1, 50_000)].concat());
    tree.put("secret.bin", noise(2, 50_000));
    let change = vault.change(&tree);
    assert_eq!((change.files_new, change.files_changed, change.files_removed), (2, 20, 1), "{change:?}");
    assert_eq!((change.files_unchanged, change.bytes_removed), (40, 8300));
    assert_eq!((change.files_scrambled, change.types_changed), (0, 0));
}

#[test]
fn what_becomes_noise_in_its_place_is_scrambled() {
    type Attack = fn(u64, &[u8]) -> Vec<u8>;
    let all: Attack = |n, bytes| noise(n, bytes.len() + 16);
    let beginning: Attack = |n, bytes| {
        let mut bytes = bytes.to_vec();
        let end = bytes.len().min(4096);
        bytes[..end].copy_from_slice(&noise(n, end));
        bytes
    };
    let every_other: Attack = |n, bytes| {
        let mut bytes = bytes.to_vec();
        for (at, part) in bytes.chunks_mut(16 << 10).enumerate().filter(|(at, _)| at % 2 == 0) {
            part.copy_from_slice(&noise(n * 1000 + at as u64, part.len()));
        }
        bytes
    };
    for (what, attack) in [("all", all), ("the beginning", beginning), ("every other 16 kB", every_other)] {
        let vault = Vault::new();
        let mut tree = share();
        vault.change(&tree);
        tree.visit = 1;
        for (n, (path, bytes)) in (0..).zip(tree.files.iter_mut()) {
            if path.starts_with("photos") || n % 2 == 0 {
                *bytes = attack(n, bytes);
            }
        }
        let change = vault.change(&tree);
        assert!((39..=42).contains(&change.files_scrambled), "{what}: {change:?}");
        assert!(change.types_changed >= 19, "{what}: {change:?}");
        // And again, held against a point in which it was so already: it is as it was.
        tree.visit = 2;
        assert_eq!(vault.change(&tree).files_scrambled, 0, "{what}");
    }
}

#[test]
fn what_becomes_noise_under_another_name_is_scrambled() {
    type Rename = fn(u64, &Path) -> PathBuf;
    let renames: [(&str, Rename); 4] = [
        ("an ending more", |_, path| path.with_extension("txt.locked")),
        ("another ending", |_, path| path.with_extension("enc")),
        ("a random name", |n, path| path.with_file_name(format!("{:016x}", Random::new(n).next_u64()))),
        ("all in one folder", |n, _| PathBuf::from(format!("ransom/{:016x}", Random::new(n).next_u64()))),
    ];
    for (what, rename) in renames {
        let vault = Vault::new();
        let tree = share();
        vault.change(&tree);
        let mut attacked = Tree { visit: 1, ..Tree::default() };
        for (n, (path, bytes)) in (0..).zip(tree.files) {
            match n % 2 {
                0 => attacked.put(rename(n, &path), noise(n, bytes.len() + 40)),
                _ => attacked.put(path, bytes),
            }
        }
        let change = vault.change(&attacked);
        assert!((29..=31).contains(&change.files_scrambled), "{what}: {change:?}");
    }
}

#[test]
fn logs_that_are_packed_and_pictures_that_are_coded_anew_are_not_scrambled() {
    let vault = Vault::new();
    let mut tree = share();
    vault.change(&tree);
    tree.visit = 1;
    let docs: Vec<PathBuf> = tree.files.keys().filter(|path| path.starts_with("docs")).cloned().collect();
    for (n, path) in (0..).zip(docs) {
        let bytes = tree.files.remove(&path).unwrap();
        let packed = [b"\x1f\x8b\x08\0".to_vec(), noise(n, bytes.len() / 3)].concat();
        tree.put(path.with_extension("txt.gz"), packed);
    }
    for n in 0..20 {
        tree.put(format!("photos/{n}.jpg"), picture(700 + n, 15_000));
    }
    let change = vault.change(&tree);
    assert_eq!((change.files_scrambled, change.types_changed), (0, 0), "{change:?}");
    assert_eq!((change.files_new, change.files_removed, change.files_changed), (40, 40, 20));
}

#[test]
fn keys_and_other_noise_of_no_kind_that_are_made_anew_are_not_scrambled() {
    let vault = Vault::new();
    let mut tree = share();
    for n in 0..30 {
        tree.put(format!("keys/{n}.key"), noise(n, 256 + 100 * n as usize));
    }
    vault.change(&tree);
    tree.visit = 1;
    for n in 0..30 {
        tree.put(format!("keys/{n}.key"), noise(200 + n, 256 + 100 * n as usize));
    }
    let change = vault.change(&tree);
    assert_eq!((change.files_changed, change.files_scrambled), (30, 0), "{change:?}");
}

/// Noise, written as text.
fn letters(n: u64, alphabet: &[u8], length: usize) -> Vec<u8> {
    let mut random = Random::new(2_000_000 + n);
    let symbol = |at: usize| match at % 77 {
        76 => b'\n',
        _ => alphabet[random.below(alphabet.len())],
    };
    (0..length).map(symbol).collect()
}

const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[test]
fn what_becomes_noise_that_is_written_as_text_is_scrambled() {
    let armour = |begin: &str, n, length| {
        [begin.as_bytes().to_vec(), b"\n\n".to_vec(), letters(n, BASE64, length)].concat()
    };
    type Attack<'a> = &'a dyn Fn(u64, usize) -> Vec<u8>;
    let attacks: [(&str, Attack<'_>); 5] = [
        ("base64", &|n, length| letters(n, BASE64, length * 4 / 3)),
        ("hexadecimal", &|n, length| letters(n, b"0123456789abcdef", length * 2)),
        ("ascii85", &|n, length| letters(n, &(b'!'..=b'u').collect::<Vec<u8>>(), length * 5 / 4)),
        ("a line of its own before it", &|n, length| armour("-- LOCKED --", n, length * 4 / 3)),
        ("gpg --armor", &|n, length| armour("-----BEGIN PGP MESSAGE-----", n, length * 4 / 3)),
    ];
    for (what, attack) in attacks {
        for ending in ["", ".locked"] {
            let vault = Vault::new();
            let tree = share();
            vault.change(&tree);
            let mut attacked = Tree { visit: 1, ..Tree::default() };
            for (n, (path, bytes)) in (0..).zip(&tree.files) {
                match n % 2 == 0 && bytes.len() >= 1000 {
                    true => attacked.put(format!("{}{ending}", path.display()), attack(n, bytes.len())),
                    false => attacked.put(path, bytes.clone()),
                }
            }
            let change = vault.change(&attacked);
            assert!((20..=31).contains(&change.files_scrambled), "{what}, `{ending}`: {change:?}");
            // And again, held against a point in which it was so already.
            for (n, (path, bytes)) in (0..).zip(attacked.files.iter_mut()) {
                if path.starts_with("photos") && n % 2 == 0 {
                    *bytes = bytes.iter().rev().copied().collect();
                }
            }
            attacked.visit = 2;
            assert_eq!(vault.change(&attacked).files_scrambled, 0, "{what}, `{ending}`");
        }
    }
}

#[test]
fn mail_with_pictures_and_certificates_that_are_made_anew_are_not_scrambled() {
    let vault = Vault::new();
    let mut tree = share();
    let mail = |n: u64, length| {
        let head = format!("From: {n}@shop.example\nSubject: a picture\nMIME-Version: 1.0\n\n").repeat(6);
        [head.into_bytes(), letters(n, BASE64, length)].concat()
    };
    let key = |n: u64| {
        let (begin, end) = ("-----BEGIN PRIVATE KEY-----\n", "\n-----END PRIVATE KEY-----\n");
        [begin.as_bytes(), &letters(n, BASE64, 1600), end.as_bytes()].concat()
    };
    for n in 0..20 {
        tree.put(format!("mail/{n}"), text(n, 3000));
        tree.put(format!("keys/{n}.pem"), key(n));
        tree.put(format!("attached/{n}.b64"), letters(n, BASE64, 9000));
    }
    vault.change(&tree);
    tree.visit = 1;
    for n in 0..20 {
        // A box that was text has a picture in it now; keys and attachments are others, some under other names.
        tree.put(format!("mail/{n}"), [text(n, 3000), mail(n, 90_000)].concat());
        tree.put(format!("keys/{n}.pem"), key(100 + n));
        tree.files.remove(Path::new(&format!("attached/{n}.b64")));
        tree.put(format!("attached/{n}.b64.{}", n % 2), letters(100 + n, BASE64, 9000));
    }
    let change = vault.change(&tree);
    assert_eq!(change.files_scrambled, 0, "{change:?}");
}

#[test]
fn a_large_file_is_counted_with_its_bytes_and_found_under_any_name_by_its_length() {
    for (path, longer) in [("large.log", 0), ("large.log.locked", 512), ("8d7f", 512)] {
        let vault = Vault::new();
        let mut tree = share();
        vault.change(&tree);
        tree.visit = 1;
        tree.files.remove(Path::new("large.log"));
        tree.put(path, noise(5, (3 << 20) + longer));
        let change = vault.change(&tree);
        assert_eq!(
            (change.files_scrambled, change.bytes_scrambled),
            (1, (3 << 20) + longer as u64),
            "{path}"
        );
    }
}

#[test]
fn a_file_that_begins_unlike_the_rest_of_it_and_is_written_anew_is_not_scrambled() {
    // The index of a database, and pictures behind it: all of it is cut anew.
    let database = |n| {
        let table: Vec<u8> = (0..150_000u32).flat_map(|at| [(at % 251) as u8, 0]).collect();
        [table, noise(n, 9 << 20)].concat()
    };
    let vault = Vault::new();
    let mut tree = share();
    tree.put("shop.ibd", database(1));
    vault.change(&tree);
    tree.visit = 1;
    tree.put("shop.ibd", [vec![7; 4096], database(2)].concat());
    let change = vault.change(&tree);
    assert_eq!((change.files_changed, change.files_scrambled), (1, 0), "{change:?}");
}

#[test]
fn room_that_was_made_for_noise_of_no_kind_is_not_scrambled_when_it_comes() {
    let vault = Vault::new();
    let mut tree = share();
    tree.put("download.part", vec![0; 3 << 20]);
    vault.change(&tree);
    tree.visit = 1;
    tree.put("download.part", noise(3, 3 << 20));
    let change = vault.change(&tree);
    assert_eq!((change.files_changed, change.files_scrambled), (1, 0), "{change:?}");
}
