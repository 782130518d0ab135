//! The change journal on a real kernel: what it takes over unlooked at, and that a walk of everything finds nothing that it missed.
//!
//! Takes root outside of containers, and says so where it isn't. Whatever is mounted on the machine during a test (other tests mount)
//! makes the journal give way to a walk, which is right and shows nothing: such a round is repeated.

mod changes;
mod doubt;
mod random;

use crate::machine::Folder;
use source::{Files, Journal, Source};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use vault::backup::{BackupOptions, BackupReport, backup, backup_since};
use vault::store::Credentials;
use vault::{
    Content, FileId, Holder, Input, Node, Password, Progress, Repository, Since, Snapshot, Timestamp, Unread,
};

/// Rounds that something else on the machine may spoil.
const ATTEMPTS: usize = 10;

/// A folder that is captured, one beside it that isn't, a vault, and the journal between the captures.
struct Watched {
    folder: Folder,
    vault: Arc<Repository>,
    journal: Journal,
    paths: Vec<PathBuf>,
    excludes: Vec<String>,
    last: Option<(FileId, Snapshot)>,
    made: u32,
}

/// What a backup did.
struct Ran {
    report: BackupReport,
    listed: Vec<PathBuf>,
    looked_at: Vec<PathBuf>,
}

impl Watched {
    fn new() -> Self {
        Self::at(None)
    }

    /// Watches a folder elsewhere: on a file system of another kind, say.
    fn at(data: Option<&Path>) -> Self {
        let folder = Folder::new();
        let data = data.map_or_else(|| folder.join("data"), Path::to_owned);
        std::fs::create_dir_all(&data).unwrap();
        folder.dir("outside");
        folder.dir("scratch");
        let address = format!("file://{}", folder.join("vault").display());
        let place = vault::store::open(&address, &Credentials::default()).unwrap();
        let now = jiff::Timestamp::UNIX_EPOCH;
        let vault = Repository::create(place, &Password::new(b"secret".to_vec()), "here", now).unwrap();
        // Where the tests run in a sandbox, its first process can't be looked into.
        let journal = Journal::new(&[1]).unwrap_or_else(|why| {
            panic!("these tests need root outside of a container, and a kernel with fanotify: {why}")
        });
        Self {
            folder,
            vault: Arc::new(vault),
            journal,
            paths: vec![data],
            excludes: Vec::new(),
            last: None,
            made: 0,
        }
    }

    fn data(&self) -> &Path {
        &self.paths[0]
    }

    fn outside(&self) -> PathBuf {
        self.folder.join("outside")
    }

    fn source(&self) -> Files {
        Files::new(&self.paths).exclude(&self.excludes).unwrap()
    }

    fn options(&mut self) -> BackupOptions {
        self.made += 1;
        BackupOptions {
            point: format!("{:012x}", self.made),
            system: "shop".into(),
            source: "files".into(),
            time: jiff::Timestamp::now(),
            paths: self.paths.iter().map(|path| path.display().to_string()).collect(),
            excludes: self.excludes.clone(),
            holder: Holder { hostname: "here".into(), username: "me".into() },
            parent: None,
            threads: 2,
            doubts: Vec::new(),
        }
    }

    fn run(&mut self) -> Ran {
        self.run_while(|_| {})
    }

    /// Makes a point with the journal; `meanwhile` is told of every directory that is listed.
    fn run_while(&mut self, meanwhile: impl Fn(&Path) + Send + Sync) -> Ran {
        let mut options = self.options();
        let source = self.source().journal(&self.journal, "shop");
        let capture = source.capture(&self.folder.join("scratch"), Timestamp::default()).unwrap();
        let mut parents = Vec::new();
        if let Some((file, snapshot)) = &self.last
            && capture.refers_to().as_deref() == snapshot.tag("point")
        {
            parents.push(*file);
        }
        options.parent.clone_from(&self.last);
        let noting = Noting {
            input: capture.input(),
            meanwhile,
            listed: Mutex::default(),
            looked_at: Mutex::default(),
        };
        let progress = Progress::default();
        let vaults = [Arc::clone(&self.vault)];
        let report = backup_since(&noting, &vaults, &options, &parents, &progress).unwrap();
        let (listed, looked_at) =
            (noting.listed.into_inner().unwrap(), noting.looked_at.into_inner().unwrap());
        if report.unread.is_empty() {
            capture.keep(&options.point);
        }
        let file = report.vaults[0].as_ref().unwrap().snapshot;
        let (snapshots, _) = self.vault.snapshots().unwrap();
        self.last = snapshots.into_iter().find(|(name, _)| *name == file);
        Ran { report, listed, looked_at }
    }

    /// Makes a point by looking at everything, as if there had never been another.
    fn walk(&mut self) -> BackupReport {
        let options = self.options();
        let capture = self.source().capture(&self.folder.join("scratch"), Timestamp::default()).unwrap();
        let vaults = [Arc::clone(&self.vault)];
        backup(capture.input(), &vaults, &options, &Progress::default()).unwrap()
    }

    /// Returns the entry of the folder that is captured: what stands above it is changed by others, too.
    fn tree(&self, report: &BackupReport) -> Node {
        let mut nodes = self.vault.tree(&report.tree).unwrap();
        let names: Vec<_> = self.data().components().skip(1).collect();
        for (at, name) in names.iter().enumerate() {
            let name = name.as_os_str().as_encoded_bytes();
            let node = nodes.into_iter().find(|node| node.name == name).unwrap();
            if at + 1 == names.len() {
                return node;
            }
            let vault::NodeKind::Dir { subtree: Some(tree) } = node.kind else { panic!("{node:?}") };
            nodes = self.vault.tree(&tree).unwrap();
        }
        panic!("the root is captured")
    }

    /// Makes a point with the journal and one without, which must be the same to the last bit.
    fn run_as_a_walk_does(&mut self) -> Ran {
        let ran = self.run();
        let walked = self.walk();
        assert_eq!(ran.report.unread, []);
        assert_eq!(
            self.tree(&ran.report),
            self.tree(&walked),
            "the journal missed something; listed: {:?}",
            ran.listed
        );
        assert_eq!((ran.report.info.files, ran.report.info.bytes), (walked.info.files, walked.info.bytes));
        let change = &ran.report.info.change;
        let all = change.files_new + change.files_changed + change.files_unchanged;
        assert_eq!(all, walked.info.change.files_new, "{change:?}");
        ran
    }

    /// Makes a point as [`run_as_a_walk_does`](Self::run_as_a_walk_does), for which only these folders are listed, if the journal is
    /// believed. Returns whether it is.
    fn lists_only(&mut self, folders: &[&str]) -> bool {
        let ran = self.run_as_a_walk_does();
        assert!(!ran.report.believed || ran.listed_in(self.data()) == folders, "{:?}", ran.listed);
        ran.report.believed
    }

    /// Begins a capture for the journal's account of this name, which comes to nothing.
    fn give_up(&self, name: &str) {
        let source = self.source().journal(&self.journal, name);
        drop(source.capture(&self.folder.join("scratch"), Timestamp::default()).unwrap());
    }
}

impl Ran {
    /// Returns what was listed at and below `data`, relative to it.
    fn listed_in(&self, data: &Path) -> Vec<String> {
        below(&self.listed, data)
    }

    fn looked_at_in(&self, data: &Path) -> Vec<String> {
        below(&self.looked_at, data)
    }
}

fn below(paths: &[PathBuf], data: &Path) -> Vec<String> {
    let mut below: Vec<String> = paths
        .iter()
        .filter_map(|path| {
            Path::new("/").join(path).strip_prefix(data).ok().map(|path| path.display().to_string())
        })
        .collect();
    below.sort();
    below
}

/// Repeats a test until the machine lets it show something. `false`: the journal gave way.
fn in_a_quiet_moment(mut attempt: impl FnMut() -> bool) {
    let shown = (0..ATTEMPTS).any(|_| attempt());
    assert!(shown, "the journal gave way to a walk of everything in each of {ATTEMPTS} attempts");
}

/// Notes which directories are listed.
struct Noting<'a, F> {
    input: &'a dyn Input,
    meanwhile: F,
    listed: Mutex<Vec<PathBuf>>,
    looked_at: Mutex<Vec<PathBuf>>,
}

impl<F: Fn(&Path) + Send + Sync> Input for Noting<'_, F> {
    fn list(&self, dir: &Path, unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        let nodes = self.input.list(dir, unread);
        self.listed.lock().unwrap().push(dir.to_owned());
        (self.meanwhile)(dir);
        nodes
    }

    fn describe(&self, path: &Path, node: &mut Node) -> io::Result<()> {
        self.input.describe(path, node)
    }

    fn open(&self, path: &Path, node: &Node) -> io::Result<Box<dyn Content>> {
        self.input.open(path, node)
    }

    fn since(&self, dir: &Path, node: &Node) -> Since {
        self.input.since(dir, node)
    }

    fn look(&self, path: &Path) -> io::Result<Node> {
        self.looked_at.lock().unwrap().push(path.to_owned());
        self.input.look(path)
    }

    fn finish(&self) -> Vec<Unread> {
        self.input.finish()
    }
}
