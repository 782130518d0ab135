//! Points that nobody would write by accident: made here, tree by tree.

use super::{RestoreOptions, RestoreReport, restore};
use crate::packer::PackWriter;
use crate::sink::{Press, Sink};
use crate::{BlobId, BlobKind, Meta, Node, NodeKind, Password, Progress, Repository, format};
use std::fs;
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
        let writer = PackWriter::new(Arc::clone(&self.repository));
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
