//! Walks the trees of a point, parents before children, and hands everything that is not a directory to the workers.

use super::attributes::Wanted;
use super::batch::Batch;
use super::examine::{Item, Look, look};
use super::file::{FileJob, Pieces, is_damaged_name};
use super::folder::{Folder, Target};
use super::folding::Folding;
use super::held::withhold;
use super::links::{self, Inode, Met, Name};
use super::work::{Limits, Task, Work};
use super::{IsFirst, Part, SILENT};
use crate::budget::Folders;
use crate::set::VaultSet;
use crate::stretch::stretches;
use crate::trees::Trees;
use crate::{BlobId, BlobKind, Node, NodeKind};
use crossbeam_channel::Sender;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many small tasks a worker takes at a time, and after how much content of files to compare.
const TASKS_MAX: usize = 256;
const COMPARED_MAX: u64 = 8 << 20;

pub(super) struct Walk<'s, 'a> {
    set: &'s VaultSet,
    target: Arc<Target<'a>>,
    root: Arc<Folder<'a>>,
    trees: Trees<'s>,
    limits: Limits,
    work: Sender<Work<'a>>,
    batch: Batch<'a>,
    tasks: Vec<Task<'a>>,
    compared: u64,
    only: Vec<PathBuf>,
    roots: Vec<PathBuf>,
    /// What somebody else puts back.
    without: Vec<PathBuf>,
    /// Of the rest: files with several names, one of which may have come with the first part.
    held: HashMap<Inode, Item<'a>>,
    folders: Folders,
}

/// A directory that is still to be walked.
struct Next<'a> {
    parent: Arc<Folder<'a>>,
    node: Node,
    subtree: BlobId,
    /// It, or one above it, is of the first part.
    first: bool,
    /// How many folders lie above it.
    depth: usize,
}

impl<'s, 'a> Walk<'s, 'a> {
    pub(super) fn new(
        trees: Trees<'s>,
        target: Arc<Target<'a>>,
        root: Arc<Folder<'a>>,
        limits: Limits,
        work: Sender<Work<'a>>,
    ) -> Self {
        Self {
            folders: trees.set().folders(),
            set: trees.set(),
            root,
            trees,
            limits,
            work,
            batch: Batch::default(),
            tasks: Vec::new(),
            compared: 0,
            only: relative(&target.options.only),
            roots: relative(&target.options.roots),
            without: relative(&target.options.without),
            held: HashMap::new(),
            target,
        }
    }

    pub(super) fn walk(mut self, tree: &BlobId) {
        let mut stack = Vec::new();
        self.folder(&Arc::clone(&self.root), tree, (false, 0), &mut stack);
        while let Some(next) = stack.pop() {
            if self.target.progress.is_stopped() {
                return;
            }
            let path = next.parent.child(&next.node.name);
            let above = [&self.roots, &self.only]
                .iter()
                .any(|below| below.iter().any(|below| below != &path && below.starts_with(&path)));
            let here = match self.target.options.part {
                Part::All => true,
                Part::First(_) => next.first,
                Part::Rest(_) => !next.first,
            };
            if self.target.options.silent.contains(&path) {
                // Of an empty folder, which a mount was left out of, nothing is missing.
                if here && !self.trees.read(&next.subtree).is_ok_and(|nodes| nodes.is_empty()) {
                    self.target.report().skip(&path, SILENT);
                }
                continue;
            }
            let folder = Folder::below(&next.parent, next.node, above);
            if here {
                // What keeps it from being made is told; what is in it is named all the same.
                let _ = folder.enter();
            }
            self.folder(&folder, &next.subtree, (next.first, next.depth), &mut stack);
        }
        for (_, item) in std::mem::take(&mut self.held) {
            self.item(item);
        }
        self.flush();
        self.flush_tasks();
    }

    fn folder(
        &mut self,
        folder: &Arc<Folder<'a>>,
        tree: &BlobId,
        (first, depth): (bool, usize),
        stack: &mut Vec<Next<'a>>,
    ) {
        let nodes = match self.trees.read(tree) {
            Ok(nodes) => nodes,
            // The first part has said so already.
            Err(_) if first && matches!(self.target.options.part, Part::Rest(_)) => return,
            Err(error) => {
                let why = format!("what is in this folder is in no vault: {error}");
                return self.target.report().skip(&folder.path(), why);
            }
        };
        let path = folder.path();
        if let Err(why) = self.folders.enter(tree, nodes.len(), depth) {
            return self.target.report().skip(&path, why);
        }
        let filtered = !self.only.is_empty() || !matches!(self.target.options.part, Part::All);
        let mut seen = HashSet::new();
        let mut folding = Folding::of(&nodes, folder);
        let first_child = stack.len();
        let own = nodes.iter().flatten().map(|node| OsStr::from_bytes(&node.name));
        folder.has_names(own.filter(|name| is_damaged_name(name)).map(OsStr::to_owned).collect());
        for node in nodes {
            let mut node = match node {
                Ok(node) => node,
                Err(why) => {
                    self.target.report().skip(&path.join("?"), format!("an entry is not restored: {why}"));
                    continue;
                }
            };
            if let Err(why) = check_name(&node.name) {
                self.target.report().skip(&path.join("?"), format!("an entry with a {why} is not restored"));
                continue;
            }
            if !seen.insert(node.name.clone()) {
                let child = path.join(OsStr::from_bytes(&node.name));
                self.target.report().skip(&child, "a second entry of this name is not restored");
                continue;
            }
            if let Some(other) = folding.as_mut().and_then(|folding| folding.taken(&node)) {
                let why = format!(
                    "it is not restored: this folder takes its name for that of {other}; restore it elsewhere"
                );
                self.target.report().skip(&path.join(OsStr::from_bytes(&node.name)), why);
                continue;
            }
            if !self.without.is_empty() && self.without.contains(&path.join(OsStr::from_bytes(&node.name))) {
                continue;
            }
            let mut first = first;
            if filtered {
                let child = path.join(OsStr::from_bytes(&node.name));
                match wish(&self.only, &child) {
                    Wish::Asked => self.target.report().found = true,
                    Wish::OnTheWay if node.is_dir() => {}
                    _ => continue,
                }
                if let Part::First(is_first) | Part::Rest(is_first) = &self.target.options.part {
                    first = first || says(is_first, &child);
                    let is_other_part = first != matches!(self.target.options.part, Part::First(_));
                    if is_other_part && !node.is_dir() {
                        if first {
                            self.came_first(folder, &node);
                        }
                        continue;
                    }
                }
            }
            if let Some(why) = withhold(&mut node, &path, self.target.options) {
                let outcome = super::report::Outcome::unchanged(vec![why]);
                self.target.report().note(outcome, || path.join(OsStr::from_bytes(&node.name)));
                continue;
            }
            if let NodeKind::Dir { subtree } = node.kind {
                match subtree {
                    Some(subtree) => {
                        let (parent, depth) = (Arc::clone(folder), depth + 1);
                        stack.push(Next { parent, node, subtree, first, depth });
                    }
                    None => self
                        .target
                        .report()
                        .skip(&path.join(OsStr::from_bytes(&node.name)), "a folder without content"),
                }
            } else if !self.target.options.silent.is_empty()
                && self.target.options.silent.contains(&path.join(OsStr::from_bytes(&node.name)))
            {
                self.target.report().skip(&path.join(OsStr::from_bytes(&node.name)), SILENT);
            } else {
                self.entry(folder, node);
            }
        }
        if let Some(children) = stack.get_mut(first_child..) {
            children.reverse();
        }
    }

    fn entry(&mut self, folder: &Arc<Folder<'a>>, node: Node) {
        let mut inode = links::inode(&node);
        if let Some(number) = inode {
            let name = || Name { folder: Arc::clone(folder), name: OsStr::from_bytes(&node.name).to_owned() };
            match self.target.links.meet(number, &node, name) {
                Met::First if matches!(self.target.options.part, Part::Rest(_)) => {
                    self.held.insert(number, Item { folder: Arc::clone(folder), node, inode });
                    return;
                }
                Met::First => {}
                Met::Another => inode = None,
                Met::Later => return,
                Met::Failed(why) => return name().note(super::report::Outcome::skipped(why)),
                Met::Now(first) => return name().link_to(&first),
            }
        }
        self.item(Item { folder: Arc::clone(folder), node, inode });
    }

    /// A file of the first part: if it has other names, they become links to what stands there.
    fn came_first(&mut self, folder: &Arc<Folder<'a>>, node: &Node) {
        let Some(number) = links::inode(node) else { return };
        let Some(first) = links::standing(&self.target, folder.path(), node) else { return };
        let Some(waiting) = self.target.links.stands(number, node, &first) else { return };
        let held = self.held.remove(&number);
        let held = held
            .map(|item| Name { name: OsStr::from_bytes(&item.node.name).to_owned(), folder: item.folder });
        held.into_iter().chain(waiting).for_each(|name| name.link_to(&first));
    }

    fn item(&mut self, item: Item<'a>) {
        if !matches!(item.node.kind, NodeKind::File { .. }) {
            return self.task(Task::Make(item), 0);
        }
        let looked = match item.folder.enter() {
            Ok(entered) => {
                let options = self.target.options;
                look(
                    &entered,
                    &item.node,
                    &Wanted::new(&item.node, &self.target),
                    options.verify,
                    &self.target.clock,
                )
            }
            Err(why) => return item.tell(super::report::Outcome::skipped(why)),
        };
        match looked {
            Look::Same => self.task(Task::Keep(item), 0),
            Look::Compare => {
                let size = item.node.size();
                self.task(Task::Compare(item), size);
            }
            Look::Write => self.file(item),
        }
    }

    fn file(&mut self, item: Item<'a>) {
        let pieces = pieces(self.set, &item.node);
        let job = FileJob::new(item.folder, item.node, item.inode, &pieces);
        match pieces.placed.len() {
            0 => return self.task(Task::Finish(job), 0),
            1 => {}
            _ => self.batch.opens(),
        }
        for piece in pieces.placed {
            self.batch.add(piece, Arc::clone(&job));
            if self.batch.is_full() {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        let (stretches, homeless) =
            stretches(self.set, BlobKind::Data, self.batch.take(), self.limits.stretch);
        // The workers live as long as the walk.
        stretches.into_iter().for_each(|stretch| _ = self.work.send(Work::Read(stretch)));
        if !homeless.is_empty() {
            let _ = self.work.send(Work::Seek(homeless));
        }
    }

    fn task(&mut self, task: Task<'a>, compared: u64) {
        self.tasks.push(task);
        self.compared += compared;
        if self.tasks.len() >= TASKS_MAX || self.compared >= COMPARED_MAX {
            self.flush_tasks();
        }
    }

    fn flush_tasks(&mut self) {
        self.compared = 0;
        let tasks = std::mem::take(&mut self.tasks);
        if !tasks.is_empty() {
            let _ = self.work.send(Work::Tasks(tasks));
        }
    }
}

/// Returns where the pieces of a file go. Where a length is unknown, the packs that no index names are looked through first.
pub(super) fn pieces(set: &VaultSet, node: &Node) -> Pieces {
    let length = |id: &BlobId| set.plain_length(BlobKind::Data, id);
    let pieces = Pieces::new(node, length);
    if pieces.lost.is_empty() {
        return pieces;
    }
    set.search();
    Pieces::new(node, length)
}

fn says(is_first: &IsFirst, path: &Path) -> bool {
    is_first(&Path::new("/").join(path))
}

/// Returns paths without a leading slash: below the target.
pub(super) fn relative(paths: &[PathBuf]) -> Vec<PathBuf> {
    paths.iter().map(|path| path.strip_prefix("/").unwrap_or(path).to_owned()).collect()
}

/// Whether an entry was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Asked,
    /// Something below it was.
    OnTheWay,
    No,
}

/// Returns what `only` says of a path: everything is asked for where it is empty.
pub(super) fn wish(only: &[PathBuf], path: &Path) -> Wish {
    if only.is_empty() || only.iter().any(|only| path.starts_with(only)) {
        return Wish::Asked;
    }
    if only.iter().any(|only| only.starts_with(path)) { Wish::OnTheWay } else { Wish::No }
}

pub(super) fn check_name(name: &[u8]) -> Result<(), &'static str> {
    match name {
        b"" => Err("name that is empty"),
        b"." | b".." => Err("name that leads elsewhere"),
        name if name.contains(&b'/') || name.contains(&0) => Err("name that leads elsewhere"),
        name if name.len() > 255 => Err("name that is too long"),
        _ => Ok(()),
    }
}
