//! Points that nobody would write by accident: made here, tree by tree.

use super::{Gives, Held, RestoreOptions, RestoreReport, Rights, held, md5, restore};
use crate::format::index::IndexedPack;
use crate::format::pack::Entry;
use crate::packer::PackWriter;
use crate::sink::{Press, Sink};
use crate::{
    BlobId, BlobKind, FileId, Meta, Node, NodeKind, Password, Progress, Repository, Timestamp, Xattr, format,
};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

struct Vault {
    folder: TempDir,
    repository: Arc<Repository>,
}

impl Vault {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("out")).unwrap();
        fs::write(folder.path().join("victim"), "whole").unwrap();
        let address = format!("file://{}", folder.path().join("vault").display());
        let store = crate::store::open(&address, &crate::store::Credentials::default()).unwrap();
        let repository =
            Repository::create(store, &Password::new(b"x".to_vec()), "here", jiff::Timestamp::UNIX_EPOCH)
                .unwrap();
        Self { folder, repository: Arc::new(repository) }
    }

    fn put(&self, kind: BlobKind, plain: &[u8]) -> BlobId {
        let holder = crate::Holder { hostname: "here".into(), username: "me".into() };
        let lock = crate::Lock::take(&self.repository, crate::LockKind::Shared, &holder).unwrap();
        let writer = PackWriter::new(&lock);
        let id = Sink::new(&[&writer]).put(kind, plain, &mut Press::new());
        writer.finish().unwrap();
        id
    }

    fn tree(&self, mut nodes: Vec<Node>) -> BlobId {
        self.put(BlobKind::Tree, &format::tree::write(&mut nodes))
    }

    fn file(&self, name: &[u8], text: &str) -> Node {
        let content = vec![self.put(BlobKind::Data, text.as_bytes())];
        node(name, NodeKind::File { size: text.len() as u64, content, sparse: false })
    }

    fn restore(&self, tree: BlobId) -> RestoreReport {
        let options = RestoreOptions::new(self.out());
        restore(&[Arc::clone(&self.repository)], tree, &options, &Progress::default()).unwrap()
    }

    fn out(&self) -> std::path::PathBuf {
        self.folder.path().join("out")
    }

    fn victim_is_whole(&self) {
        assert_eq!(fs::read_to_string(self.folder.path().join("victim")).unwrap(), "whole");
        // The vault, the victim and the target: nothing else came to be beside them.
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 3);
    }
}

fn node(name: &[u8], kind: NodeKind) -> Node {
    let meta = Meta {
        mode: 0o755,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        links: 1,
        ..Meta::default()
    };
    Node { name: name.to_vec(), meta, kind }
}

#[test]
fn a_name_that_leads_out_of_the_target_is_refused_and_named_and_the_rest_comes_back() {
    let vault = Vault::new();
    for name in [&b"../victim"[..], b"..", b".", b"", b"/victim", b"a/b", b"nul\0nul", &[b'n'; 300]] {
        let tree = vault.tree(vec![vault.file(name, "bad"), vault.file(b"good", "good")]);
        let report = vault.restore(tree);
        assert_eq!(report.skipped_count, 1, "{name:?}");
        assert!(!report.is_whole());
        assert_eq!(fs::read_to_string(vault.out().join("good")).unwrap(), "good");
        vault.victim_is_whole();
    }
}

#[test]
fn nothing_is_written_through_a_link_in_the_point_or_in_the_target() {
    let vault = Vault::new();
    let link = |name: &[u8], target: &Path| {
        node(name, NodeKind::Symlink { target: target.display().to_string().into_bytes() })
    };
    let below = vault.tree(vec![vault.file(b"victim", "bad")]);
    let dir = node(b"way", NodeKind::Dir { subtree: Some(below) });
    // A link and a folder of one name, in the point itself.
    let report = vault.restore(vault.tree(vec![link(b"way", vault.folder.path()), dir.clone()]));
    assert_eq!(report.skipped_count, 1);
    vault.victim_is_whole();
    // A link where the point has a folder, and one where it has a file, planted in the target.
    fs::remove_dir_all(vault.out()).unwrap();
    fs::create_dir(vault.out()).unwrap();
    std::os::unix::fs::symlink(vault.folder.path(), vault.out().join("way")).unwrap();
    std::os::unix::fs::symlink(vault.folder.path().join("victim"), vault.out().join("file")).unwrap();
    let report = vault.restore(vault.tree(vec![dir, vault.file(b"file", "new")]));
    assert!(report.is_whole(), "{report:?}");
    vault.victim_is_whole();
    assert_eq!(fs::read_to_string(vault.out().join("way/victim")).unwrap(), "bad");
    assert!(fs::symlink_metadata(vault.out().join("file")).unwrap().is_file());
}

#[test]
fn a_file_that_claims_to_be_endless_is_named_and_fills_no_disk() {
    let vault = Vault::new();
    let content = vec![BlobId::of(b"in no vault"), vault.put(BlobKind::Data, b"end")];
    for size in [u64::MAX, 1 << 62, 3] {
        let endless = node(b"endless", NodeKind::File { size, content: content.clone(), sparse: false });
        let report = vault.restore(vault.tree(vec![endless, vault.file(b"good", "good")]));
        assert_eq!((report.restored + report.unchanged, report.is_whole()), (1, false), "{size}: {report:?}");
        assert!(!vault.out().join("endless").exists());
        let used =
            fs::read_dir(vault.out()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().blocks());
        assert!(used.sum::<u64>() < 100);
        fs::remove_dir_all(vault.out()).unwrap();
    }
}

#[test]
fn an_index_that_lies_about_a_length_spoils_no_file() {
    let (vault, liar) = (Vault::new(), Vault::new());
    let texts = [&b"first"[..], b"second", b"third"];
    let content: Vec<BlobId> = texts.iter().map(|text| vault.put(BlobKind::Data, text)).collect();
    let size = texts.iter().map(|text| text.len() as u64).sum();
    let tree =
        vault.tree(vec![node(b"file", NodeKind::File { size, content: content.clone(), sparse: false })]);
    // Whoever has the liar's key can name any pack, and any length.
    let entry =
        Entry { id: content[1], kind: BlobKind::Data, offset: 0, length: 100, uncompressed: 4_000_000 };
    liar.repository.learn(&[IndexedPack { id: FileId::of(b"no pack"), entries: vec![entry] }]);
    let vaults = [Arc::clone(&liar.repository), Arc::clone(&vault.repository)];
    let report = restore(&vaults, tree, &RestoreOptions::new(vault.out()), &Progress::default()).unwrap();
    let there = fs::read(vault.out().join("file"));
    assert!(
        report.is_whole() && there.is_ok_and(|there| there == texts.concat()) || report.skipped_count == 1,
        "{report:?}"
    );
}

#[test]
fn attributes_that_make_no_sense_are_named_and_the_file_comes_back() {
    let vault = Vault::new();
    let mut odd = vault.file(b"odd", "odd");
    let xattr = |name: &[u8], length| Xattr { name: name.to_vec(), value: vec![7; length] };
    odd.meta.xattrs =
        vec![xattr(b"", 1), xattr(b"nonsense", 1), xattr(b"user.nul\0nul", 1), xattr(b"user.long", 200_000)];
    odd.meta.mtime = Timestamp { seconds: i64::MAX, nanos: 0 };
    odd.meta.mode = u32::MAX;
    let report = vault.restore(vault.tree(vec![odd]));
    assert_eq!((report.restored, report.skipped_count, report.not_set_count), (1, 0, 1), "{report:?}");
    assert_eq!(fs::read_to_string(vault.out().join("odd")).unwrap(), "odd");
}

#[test]
fn links_that_share_an_inode_and_nothing_else_come_back_or_are_named() {
    let vault = Vault::new();
    let mut nodes = vec![vault.file(b"a", "a"), vault.file(b"b", "b"), vault.file(b"..", "bad")];
    for node in &mut nodes {
        (node.meta.inode, node.meta.device, node.meta.links) = (7, 7, 2);
    }
    let report = vault.restore(vault.tree(nodes));
    assert_eq!((report.restored, report.skipped_count), (2, 1), "{report:?}");
    assert_eq!(fs::read_to_string(vault.out().join("a")).unwrap(), "a");
    assert_eq!(fs::read_to_string(vault.out().join("b")).unwrap(), "b");
    vault.victim_is_whole();
}

#[test]
fn an_entry_of_a_type_that_nobody_knows_is_named_and_its_neighbours_come_back() {
    let vault = Vault::new();
    let json =
        String::from_utf8(format::tree::write(&mut [vault.file(b"good", "good"), vault.file(b"odd", "odd")]))
            .unwrap();
    let at = json.rfind(r#""type":"file""#).unwrap();
    let odd = format!("{}{}", &json[..at], json[at..].replacen("file", "irregular", 1));
    let report = vault.restore(vault.put(BlobKind::Tree, odd.as_bytes()));
    assert_eq!((report.restored, report.skipped_count), (1, 1), "{report:?}");
    assert!(report.skipped[0].why.contains("irregular"), "{report:?}");
}

#[test]
fn an_owner_that_there_is_not_is_named() {
    let vault = Vault::new();
    let mut odd = vault.file(b"odd", "odd");
    (odd.meta.uid, odd.meta.mode) = (u32::MAX, 0o4755);
    let report = vault.restore(vault.tree(vec![odd]));
    assert!(report.not_set[0].why.contains("no owner"), "{report:?}");
    assert_eq!(fs::metadata(vault.out().join("odd")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn a_folder_whose_tree_is_gone_is_named_and_its_neighbours_come_back() {
    let vault = Vault::new();
    let gone = node(b"gone", NodeKind::Dir { subtree: Some(BlobId::of(b"in no vault")) });
    let report = vault.restore(vault.tree(vec![gone, vault.file(b"here", "here")]));
    assert_eq!((report.skipped_count, report.restored), (1, 1));
    assert!(report.skipped[0].why.contains("in no vault"), "{report:?}");
    assert!(vault.out().join("here").exists());
}

#[test]
fn a_tree_deeper_than_any_path_may_be_long_comes_back() {
    let vault = Vault::new();
    let mut tree = vault.tree(vec![vault.file(b"bottom", "bottom")]);
    for _ in 0..1200 {
        tree = vault.tree(vec![node(b"down", NodeKind::Dir { subtree: Some(tree) })]);
    }
    assert!(vault.restore(tree).is_whole());
}

impl Vault {
    fn all(&self) -> [Arc<Repository>; 1] {
        [Arc::clone(&self.repository)]
    }

    fn held(&self, tree: BlobId, before: Option<BlobId>, inside: &[&str]) -> Held {
        let inside: Vec<std::path::PathBuf> = inside.iter().map(Into::into).collect();
        let rights = before.map_or(Rights::All, Rights::Since);
        held(&self.all(), tree, &inside, rights)
    }

    /// A folder of this name with these in it.
    fn dir(&self, name: &[u8], nodes: Vec<Node>) -> Node {
        let subtree = Some(self.tree(nodes));
        node(name, NodeKind::Dir { subtree })
    }

    fn program(&self, name: &[u8], text: &str, mode: u32) -> Node {
        let mut program = self.file(name, text);
        program.meta.mode = mode;
        program
    }
}

/// Returns what is told of rights: where, what, and whether as much stood there before.
fn rights(held: &Held) -> Vec<(String, Vec<Gives>, bool)> {
    let mut found: Vec<_> = held
        .rights
        .iter()
        .map(|right| (right.path.display().to_string(), right.gives.clone(), right.stood))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn what_a_tree_holds_outside_of_what_is_meant_is_named_at_its_top() {
    let vault = Vault::new();
    let shop = |vault: &Vault| vault.dir(b"shop", vec![vault.file(b"order", "one")]);
    let cron = |vault: &Vault| vault.dir(b"etc", vec![vault.dir(b"cron.d", vec![vault.file(b"evil", "x")])]);
    let srv = |vault: &Vault, more: Vec<Node>| vault.dir(b"srv", [vec![shop(vault)], more].concat());
    let table: [(Vec<Node>, &[&str], &[&str]); 5] = [
        (vec![srv(&vault, vec![])], &["/srv/shop"], &[]),
        (vec![srv(&vault, vec![]), cron(&vault)], &["/srv/shop"], &["/etc"]),
        (vec![srv(&vault, vec![vault.file(b"beside", "x")])], &["/srv//shop/"], &["/srv/beside"]),
        // A file where only the way leads through.
        (vec![srv(&vault, vec![]), vault.file(b"etc", "x")], &["/srv", "/etc/ssl"], &["/etc"]),
        (vec![srv(&vault, vec![]), cron(&vault)], &[], &[]),
    ];
    for (nodes, inside, outside) in table {
        let found = vault.held(vault.tree(nodes), None, inside);
        let named: Vec<_> = found.outside.iter().map(|path| path.display().to_string()).collect();
        assert_eq!((named.as_slice(), found.found), (&outside.map_strings()[..], true), "{inside:?}");
    }
    let nothing = vault.held(vault.tree(vec![cron(&vault)]), None, &["/srv/shop"]);
    assert!(!nothing.found && nothing.outside.len() == 1);
    let half = vault.held(vault.tree(vec![srv(&vault, vec![])]), None, &["/srv/shop", "/srv/mail"]);
    assert!(half.found && half.absent == [Path::new("/srv/mail")], "{half:?}");
    // Also where an earlier point holds all of it, and one path lies in another.
    let tree = vault.tree(vec![srv(&vault, vec![]), cron(&vault)]);
    let same = vault.held(tree, Some(tree), &["/srv", "/srv/shop"]);
    assert!(same.outside == [Path::new("/etc")] && same.absent.is_empty(), "{same:?}");
    // Where nobody asks for rights, what lies deeper isn't read.
    let gone = node(b"gone", NodeKind::Dir { subtree: Some(BlobId::of(b"in no vault")) });
    let tree = vault.tree(vec![srv(&vault, vec![vault.program(b"su", "su", 0o4755), gone]), cron(&vault)]);
    let inside = [std::path::PathBuf::from("/srv")];
    let quick = held(&vault.all(), tree, &inside, Rights::Unasked);
    assert!(quick.outside == [Path::new("/etc")] && quick.unknown.is_empty() && quick.rights.is_empty());
}

trait MapStrings {
    fn map_strings(&self) -> Vec<String>;
}

impl MapStrings for &[&str] {
    fn map_strings(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

#[test]
fn what_gives_rights_is_told_unless_it_stood_just_so_before() {
    let vault = Vault::new();
    let capable = |text: &str, value: u8| {
        let mut node = vault.file(b"ping", text);
        node.meta.xattrs = vec![Xattr { name: b"security.capability".to_vec(), value: vec![value; 20] }];
        node
    };
    let mut other_owner = vault.program(b"su", "su", 0o4755);
    other_owner.meta.uid += 1;
    let device = node(b"disk", NodeKind::Device { kind: crate::DeviceKind::Block, number: 2049 });
    let su = |text: &str, mode| vault.program(b"su", text, mode);
    let tell = |name: &str, gives: &[Gives], stood| vec![(format!("/bin/{name}"), gives.to_vec(), stood)];
    let table = [
        (su("su", 0o4755), su("su", 0o4755), vec![]),
        (su("su", 0o4755), su("su", 0o755), tell("su", &[Gives::Setuid], false)),
        (su("evil", 0o4755), su("su", 0o4755), tell("su", &[Gives::Setuid], true)),
        (other_owner, su("su", 0o4755), tell("su", &[Gives::Setuid], true)),
        (su("su", 0o6755), su("su", 0o4755), tell("su", &[Gives::Setuid, Gives::Setgid], false)),
        (su("su", 0o755), su("su", 0o4755), vec![]),
        (capable("ping", 1), capable("ping", 1), vec![]),
        (capable("ping", 2), capable("ping", 1), tell("ping", &[Gives::Capability], true)),
        (device.clone(), device.clone(), vec![]),
        (device.clone(), vault.file(b"disk", "x"), tell("disk", &[Gives::Device], false)),
    ];
    for (now, before, told) in table {
        let tree = vault.tree(vec![vault.dir(b"bin", vec![now, vault.file(b"plain", "plain")])]);
        let earlier = vault.tree(vec![vault.dir(b"bin", vec![before])]);
        assert_eq!(rights(&vault.held(tree, Some(earlier), &[])), told);
        assert_eq!(rights(&vault.held(tree, Some(tree), &[])), vec![]);
        let outside = vault.held(tree, Some(earlier), &["/srv"]);
        assert!(outside.rights.is_empty(), "it doesn't come back: {outside:?}");
    }
    let tree = vault.tree(vec![su("su", 0o4755)]);
    assert_eq!(rights(&vault.held(tree, None, &[])).len(), 1, "nothing vouches for it");
    let gone = node(b"gone", NodeKind::Dir { subtree: Some(BlobId::of(b"in no vault")) });
    let found = vault.held(vault.tree(vec![gone]), None, &[]);
    assert_eq!(found.unknown, [Path::new("/gone")]);
}

#[test]
fn trees_that_name_each_other_twice_are_looked_through_in_no_time() {
    let vault = Vault::new();
    let mut tree = vault.tree(vec![vault.program(b"su", "su", 0o4755)]);
    for _ in 0..40 {
        let folder = |name: &[u8]| node(name, NodeKind::Dir { subtree: Some(tree) });
        tree = vault.tree(vec![folder(b"a"), folder(b"b")]);
    }
    let found = vault.held(tree, None, &[]);
    assert!(found.is_more || !found.unknown.is_empty(), "what isn't known is said");
}

#[test]
fn what_is_withheld_comes_back_without_its_rights_and_is_named() {
    let vault = Vault::new();
    let nodes = |vault: &Vault| {
        vec![
            vault.program(b"good", "good", 0o4755),
            vault.program(b"evil", "evil", 0o6755),
            node(b"null", NodeKind::Device { kind: crate::DeviceKind::Character, number: 259 }),
        ]
    };
    // What an intruder has put there already loses it too.
    fs::create_dir_all(vault.out().join("bin")).unwrap();
    let tree = vault.tree(vec![vault.dir(b"bin", nodes(&vault))]);
    for _ in 0..2 {
        let options = RestoreOptions {
            withholds: Some(Arc::new(|path: &Path| path != Path::new("/bin/good"))),
            ..RestoreOptions::new(vault.out())
        };
        let report = restore(&vault.all(), tree, &options, &Progress::default()).unwrap();
        let mode = |name: &str| fs::metadata(vault.out().join("bin").join(name)).unwrap().mode() & 0o7777;
        assert_eq!((mode("good"), mode("evil")), (0o4755, 0o755));
        assert!(!vault.out().join("bin/null").exists());
        let told: Vec<_> = report.not_set.iter().map(|trouble| trouble.why.as_str()).collect();
        let is_told = |what: &str| told.contains(&format!("{what}, which nothing vouches for").as_str());
        assert!(is_told("setuid and setgid") && is_told("a device"), "{told:?}");
        assert_eq!((report.not_set_count, report.skipped_count), (2, 0), "{report:?}");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o6755);
        fs::set_permissions(vault.out().join("bin/evil"), mode).unwrap();
    }
}

#[test]
fn the_sum_of_a_file_is_the_one_that_package_databases_have() {
    let vault = Vault::new();
    let sum = md5(&vault.all())(&vault.file(b"hello", "hello"));
    assert_eq!(sum.as_deref(), Some("5d41402abc4b2a76b9719d911017c592"));
    let content = vec![BlobId::of(b"in no vault")];
    let lost = node(b"lost", NodeKind::File { size: 5, content, sparse: false });
    assert_eq!(md5(&vault.all())(&lost), None);
}
