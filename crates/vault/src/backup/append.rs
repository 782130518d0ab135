//! Adds files to those of a point, and leaves out what isn't needed any more: for logs, of which each point holds all there is.

use super::read::{PIECE_MAX, fill, next_cut};
use super::{BackupOptions, Written, register, snapshot, targets};
use crate::budget::Folders;
use crate::gone::SELDOM;
use crate::packer::PackWriter;
use crate::sink::{Press, Sink};
use crate::{
    BlobId, BlobKind, COUNTED, Error, Kind, LogInfo, Meta, Node, NodeKind, PointInfo, Progress, Repository,
    Result, Snapshot, Timestamp, format,
};
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folders of a log lie one or two deep.
const LOG_DEPTH_MAX: usize = 64;

/// A file that is added.
#[derive(Debug)]
pub struct Addition<'a> {
    /// Where it goes in the point, relative to its root.
    pub path: PathBuf,
    /// Where it is.
    pub file: PathBuf,
    /// It, where it may have another name by now.
    pub open: Option<&'a File>,
}

/// Makes a point in `vaults`, all of which hold `parent`: its files of which `keeps` says so, and `additions`, which take the place of
/// files of the same path; `sign` signs it. What became of each vault comes in the order of `vaults`; an error means that there is no point anywhere.
pub fn append(
    vaults: &[Arc<Repository>],
    parent: Option<&Snapshot>,
    keeps: &dyn Fn(&Path) -> bool,
    additions: &[Addition<'_>],
    options: &BackupOptions,
    (log, sign): (LogInfo, &dyn Fn(&mut Snapshot)),
    progress: &Progress,
) -> Result<(Snapshot, Vec<Result<Written>>)> {
    let targets = targets(vaults, options, SELDOM)?;
    let writers: Vec<&PackWriter> = targets.iter().flatten().map(|(_, writer)| writer).collect();
    let sink = Sink::new(&writers);
    let (info, stored) = Default::default();
    let met = Folders::of(vaults.iter().map(|vault| &**vault));
    let (vaults, press) = (vaults.to_vec(), Press::new());
    let mut tree = Tree { vaults, sink: &sink, press, keeps, info, stored, met };
    let mut wanted = BTreeMap::new();
    for addition in additions {
        wanted.insert(addition.path.as_path(), addition);
    }
    let root = tree.write(Path::new(""), parent.map(|parent| parent.tree), &wanted)?;
    let root = root.unwrap_or_else(|| tree.put(Vec::new()));
    let mut info = PointInfo { source: options.source.clone(), log: Some(log), ..tree.info };
    info.change.counted = COUNTED;
    (info.change.bytes_new, info.change.incompressible) = sink.counted();
    drop(writers);
    let mut snapshot = snapshot(options, root, info);
    sign(&mut snapshot);
    let written = register(targets, &snapshot, progress);
    Ok((snapshot, written))
}

/// Returns the files of a point with their paths, relative to its root.
pub fn files_of(vault: &Repository, tree: &BlobId) -> Result<BTreeMap<PathBuf, Node>> {
    let mut files = BTreeMap::new();
    let mut met = Folders::of([vault]);
    let mut folders = vec![(PathBuf::new(), *tree, 0)];
    while let Some((folder, tree, depth)) = folders.pop() {
        let nodes = vault.tree(&tree)?;
        met.enter(&tree, nodes.len(), depth).map_err(|why| endless(&folder, why))?;
        for node in nodes {
            let path = folder.join(OsStr::from_bytes(&node.name));
            match node.kind {
                NodeKind::Dir { subtree: Some(tree) } => folders.push((path, tree, depth + 1)),
                NodeKind::Dir { subtree: None } => {}
                _ => _ = files.insert(path, node),
            }
        }
    }
    Ok(files)
}

fn endless(folder: &Path, why: &str) -> Error {
    Error::new("look through a point", Kind::Damaged(format!("folder {}: {why}", folder.display())))
}

/// Returns whether the file at `path` in a point holds what the one at `file` does, by the hashes of its pieces: of the vault only folders are read.
pub fn is_same(vault: &Repository, tree: &BlobId, path: &Path, file: &Path) -> Result<bool> {
    let mut next = Some(*tree);
    let mut found = None;
    for name in path {
        let Some(tree) = next.take() else { return Ok(false) };
        let node = vault.tree(&tree)?.into_iter().find(|node| node.name == name.as_bytes());
        if let Some(NodeKind::Dir { subtree }) = node.as_ref().map(|node| &node.kind) {
            next = *subtree;
        }
        found = node;
    }
    let Some(NodeKind::File { content, .. }) = found.map(|node| node.kind) else { return Ok(false) };
    let wrong = |error| Error::io(format!("read {}", file.display()), error);
    let mut here = File::open(file).map_err(wrong)?;
    let mut piece = Vec::new();
    for id in content {
        let Some((_, bytes)) = vault.lengths(BlobKind::Data, &id) else {
            let what = format!("{} lacks the part {}", path.display(), id.short());
            return Err(Error::new("compare a file of the log", Kind::Damaged(what)));
        };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        piece.resize(bytes, 0);
        if fill(&mut here, &mut piece, 0, bytes).map_err(wrong)? < bytes || BlobId::of(&piece) != id {
            return Ok(false);
        }
    }
    Ok(fill(&mut here, &mut [0], 0, 1).map_err(wrong)? == 0)
}

struct Tree<'a> {
    vaults: Vec<Arc<Repository>>,
    sink: &'a Sink<'a>,
    press: Press,
    keeps: &'a dyn Fn(&Path) -> bool,
    info: PointInfo,
    /// Content that this run has taken care of.
    stored: HashSet<BlobId>,
    /// The folders of the log so far.
    met: Folders,
}

impl Tree<'_> {
    /// Writes the folder at `path`, which was `before`; `None` if it is empty.
    fn write(
        &mut self,
        path: &Path,
        before: Option<BlobId>,
        additions: &BTreeMap<&Path, &Addition<'_>>,
    ) -> Result<Option<BlobId>> {
        let mut nodes: BTreeMap<Vec<u8>, Node> = BTreeMap::new();
        if let Some(before) = before {
            let read = self.vaults.iter().find_map(|vault| vault.tree(&before).ok());
            let damaged =
                || Error::new("read the log so far", Kind::Damaged(format!("tree {}", before.short())));
            let read = read.ok_or_else(damaged)?;
            let depth = path.iter().count();
            // One call for each level of it: no log is deep.
            let entered = match depth > LOG_DEPTH_MAX {
                true => Err("it lies deeper than any part of a log"),
                false => self.met.enter(&before, read.len(), depth),
            };
            entered.map_err(|why| endless(path, why))?;
            for node in read {
                let at = path.join(OsStr::from_bytes(&node.name));
                if node.is_dir() || !additions.contains_key(at.as_path()) && (self.keeps)(&at) {
                    nodes.insert(node.name.clone(), node);
                }
            }
        }
        for (at, addition) in additions.iter().filter(|(at, _)| at.starts_with(path)) {
            let mut below = at.strip_prefix(path).unwrap_or(at).iter();
            let Some(name) = below.next() else { continue };
            let node = match below.next() {
                // Its time is that of what it holds: the same folder is the same tree in every vault.
                Some(_) => nodes.remove(name.as_bytes()).unwrap_or_else(|| folder(name)),
                None => self.file(name, addition)?,
            };
            nodes.insert(name.as_bytes().to_owned(), node);
        }
        let mut written = Vec::new();
        for (_, mut node) in nodes {
            if let NodeKind::Dir { subtree } = node.kind {
                let at = path.join(OsStr::from_bytes(&node.name));
                let Some(tree) = self.write(&at, subtree, additions)? else { continue };
                node.kind = NodeKind::Dir { subtree: Some(tree) };
            } else {
                self.hold(path, &node)?;
                self.info.files += 1;
                self.info.bytes += node.size();
            }
            written.push(node);
        }
        Ok((!written.is_empty()).then(|| self.put(written)))
    }

    /// Makes sure that what a file holds is in every vault: what is kept was written by another run, and packs may be gone since.
    fn hold(&mut self, folder: &Path, node: &Node) -> Result<()> {
        let NodeKind::File { content, .. } = &node.kind else { return Ok(()) };
        if self.sink.everywhere(content) {
            return Ok(());
        }
        for id in content {
            // One that this run has just stored is in no index yet.
            if self.stored.contains(id) || self.sink.everywhere(std::slice::from_ref(id)) {
                continue;
            }
            let sound = self.vaults.iter().find_map(|vault| vault.blob(BlobKind::Data, id).ok());
            let plain = sound.ok_or_else(|| {
                let path = folder.join(OsStr::from_bytes(&node.name));
                let what = format!("{} lacks a part that is in no vault", path.display());
                Error::new("keep the log so far", Kind::Damaged(what))
            })?;
            self.sink.put(BlobKind::Data, &plain, &mut self.press);
            self.stored.insert(*id);
        }
        Ok(())
    }

    fn put(&mut self, mut nodes: Vec<Node>) -> BlobId {
        let json = format::tree::write(&mut nodes);
        self.sink.put(BlobKind::Tree, &json, &mut self.press)
    }

    fn file(&mut self, name: &OsStr, addition: &Addition<'_>) -> Result<Node> {
        let wrong = |error| Error::io(format!("read {}", addition.file.display()), error);
        let mut file = match addition.open {
            Some(open) => open.try_clone().map_err(wrong)?,
            None => File::open(&addition.file).map_err(wrong)?,
        };
        file.rewind().map_err(wrong)?;
        let found = file.metadata().map_err(wrong)?;
        let (content, size) = self.content(&mut file).map_err(wrong)?;
        let time = |seconds, nanos: i64| Timestamp { seconds, nanos: u32::try_from(nanos).unwrap_or(0) };
        let mtime = time(found.mtime(), found.mtime_nsec());
        let meta = Meta {
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
            mtime,
            atime: mtime,
            ctime: time(found.ctime(), found.ctime_nsec()),
            inode: found.ino(),
            device: found.dev(),
            links: 1,
            ..Meta::default()
        };
        self.info.change.files_new += 1;
        Ok(Node {
            name: name.as_bytes().to_owned(),
            meta,
            kind: NodeKind::File { size, content, sparse: false },
        })
    }

    fn content(&mut self, file: &mut File) -> io::Result<(Vec<BlobId>, u64)> {
        let mut buffer = vec![0; PIECE_MAX];
        let (mut content, mut size, mut filled) = (Vec::new(), 0, 0);
        loop {
            filled = fill(file, &mut buffer, filled, PIECE_MAX)?;
            if filled == 0 {
                return Ok((content, size));
            }
            let bytes = buffer.get(..filled).unwrap_or_default();
            let cut = next_cut(bytes, filled < PIECE_MAX).unwrap_or(filled);
            let id = self.sink.put(BlobKind::Data, bytes.get(..cut).unwrap_or_default(), &mut self.press);
            self.stored.insert(id);
            content.push(id);
            size += cut as u64;
            buffer.copy_within(cut..filled, 0);
            filled -= cut;
        }
    }
}

fn folder(name: &OsStr) -> Node {
    let meta = Meta { mode: 0o700, links: 1, ..Meta::default() };
    Node { name: name.as_bytes().to_owned(), meta, kind: NodeKind::Dir { subtree: None } }
}
