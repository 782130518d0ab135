//! Walks the trees of a point and makes the directories; files go to writers, several at a time.

use super::write::{self, Outcome};
use super::{NAMED_MAX, RestoreOptions, RestoreReport, Trouble};
use crate::set::VaultSet;
use crate::{BlobId, Error, Kind, Node, NodeKind, Progress, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Files on their way to a writer. Each holds its directory open, so this also bounds the open handles.
const JOBS: usize = 128;

struct Job {
    dir: Arc<OwnedFd>,
    /// Relative to the target, for the report.
    path: PathBuf,
    node: Node,
}

/// A directory to walk: its handle, its path and its tree.
type Level = (Arc<OwnedFd>, PathBuf, BlobId);

struct Walk<'a> {
    set: &'a VaultSet<'a>,
    progress: &'a Progress,
    report: &'a Mutex<RestoreReport>,
    jobs: Sender<Job>,
    only: Vec<PathBuf>,
    roots: Vec<PathBuf>,
    /// The first name of each inode that has several; the others are linked to it at the end.
    first_names: HashMap<(u64, u64), PathBuf>,
    links: Vec<(PathBuf, PathBuf)>,
    /// Directories whose own attributes are set at the end, in the order of the walk: parents first.
    dirs: Vec<(PathBuf, Node)>,
}

pub(super) fn restore(
    set: VaultSet<'_>,
    tree: BlobId,
    options: &RestoreOptions,
    progress: &Progress,
) -> Result<RestoreReport> {
    let place = || format!("restore to {}", options.target.display());
    std::fs::create_dir_all(&options.target).map_err(|error| Error::io(place(), error))?;
    let root = open_dir(rustix::fs::CWD, options.target.as_os_str(), false)
        .map_err(|error| Error::io(place(), error.into()))?;
    let root = Arc::new(root);
    // Asked first: without the root there is nothing to begin with.
    set.tree(&tree)?;
    let report = Mutex::new(RestoreReport::default());
    let (jobs, todo) = bounded(JOBS);
    let (dirs, links) = std::thread::scope(|scope| {
        for _ in 0..set.lanes() {
            let todo = todo.clone();
            scope.spawn(|| write_all(&set, todo, options, progress, &report));
        }
        drop(todo);
        let relative = |paths: &[PathBuf]| {
            paths.iter().map(|path| path.strip_prefix("/").unwrap_or(path).to_owned()).collect()
        };
        let mut walk = Walk {
            set: &set,
            progress,
            report: &report,
            jobs,
            only: relative(&options.only),
            roots: relative(&options.roots),
            first_names: HashMap::new(),
            links: Vec::new(),
            dirs: Vec::new(),
        };
        walk.walk((Arc::clone(&root), PathBuf::new(), tree));
        (walk.dirs, walk.links)
    });
    if progress.is_stopped() {
        return Err(Error::new(place(), Kind::Interrupted));
    }
    for (path, first) in links {
        let outcome = link(&root, &path, &first);
        note(&report, &path, outcome);
    }
    for (path, node) in dirs.iter().rev() {
        let outcome = match open_beneath(&root, path) {
            Ok(dir) => Outcome { not_set: write::attributes(&dir, &node.meta), ..Outcome::default() },
            Err(error) => Outcome::skipped(error),
        };
        note(&report, path, outcome);
    }
    progress.set_phase("writing to the disk");
    // Success is said only after the data is on the disk.
    rustix::fs::syncfs(&*root).map_err(|error| Error::io(place(), error.into()))?;
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.vault_faults = set.into_faults();
    Ok(report)
}

#[expect(clippy::needless_pass_by_value, reason = "a thread owns its end of the channel")]
fn write_all(
    set: &VaultSet<'_>,
    todo: Receiver<Job>,
    options: &RestoreOptions,
    progress: &Progress,
    report: &Mutex<RestoreReport>,
) {
    for job in &todo {
        if progress.is_stopped() {
            continue;
        }
        let size = job.node.size();
        let outcome = write::entry(set, &job.dir, &job.node, options.compare);
        note(report, &job.path, outcome);
        progress.add(1, size);
    }
}

impl Walk<'_> {
    fn walk(&mut self, root: Level) {
        let mut stack = vec![root];
        while let Some((dir, path, tree)) = stack.pop() {
            if self.progress.is_stopped() {
                return;
            }
            let nodes = match self.set.tree(&tree) {
                Ok(nodes) => nodes,
                Err(error) => {
                    self.trouble(&path, format!("what is in this folder is in no vault: {error}"));
                    continue;
                }
            };
            let mut seen = HashSet::new();
            let first_child = stack.len();
            for node in nodes {
                let child = path.join(OsStr::from_bytes(&node.name));
                if let Err(why) = check_name(&node.name) {
                    self.trouble(&path.join("?"), format!("an entry with a {why} is not restored"));
                } else if !seen.insert(node.name.clone()) {
                    self.trouble(&child, "a second entry of this name is not restored".to_owned());
                } else if self.is_wanted(&child) {
                    self.node(&dir, child, node, &mut stack);
                }
            }
            if let Some(children) = stack.get_mut(first_child..) {
                children.reverse();
            }
        }
    }

    fn node(&mut self, dir: &Arc<OwnedFd>, path: PathBuf, node: Node, stack: &mut Vec<Level>) {
        if let NodeKind::Dir { subtree } = node.kind {
            let Some(subtree) = subtree else {
                return self.trouble(&path, "a folder without content".to_owned());
            };
            match make_dir(dir, OsStr::from_bytes(&node.name)) {
                Ok((handle, existed)) => {
                    // A folder above what was captured is somebody else's if it is there.
                    let above = self.roots.iter().any(|root| root != &path && root.starts_with(&path));
                    if !(existed && above) {
                        self.dirs.push((path.clone(), node));
                    }
                    stack.push((Arc::new(handle), path, subtree));
                }
                Err(error) => self.trouble(&path, format!("can't be made: {}", std::io::Error::from(error))),
            }
            return;
        }
        if node.meta.links > 1 && node.meta.inode != 0 && matches!(node.kind, NodeKind::File { .. }) {
            let inode = (node.meta.device, node.meta.inode);
            if let Some(first) = self.first_names.get(&inode) {
                self.links.push((path, first.clone()));
                return;
            }
            self.first_names.insert(inode, path.clone());
        }
        // The writers live as long as the walk.
        let _ = self.jobs.send(Job { dir: Arc::clone(dir), path, node });
    }

    fn is_wanted(&self, path: &Path) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| path.starts_with(only) || only.starts_with(path))
    }

    fn trouble(&self, path: &Path, why: String) {
        note(self.report, path, Outcome { skipped: Some(why), ..Outcome::default() });
    }
}

/// Adds what became of one entry to the report.
fn note(report: &Mutex<RestoreReport>, path: &Path, outcome: Outcome) {
    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
    report.bytes += outcome.bytes;
    report.restored += u64::from(outcome.restored);
    report.unchanged += u64::from(outcome.unchanged);
    if let Some(missing) = outcome.missing {
        report.damaged_count += 1;
        if report.damaged.len() < NAMED_MAX {
            let mut name = path.as_os_str().to_owned();
            name.push(write::DAMAGED);
            report.damaged.push(super::Damaged { path: name.into(), missing });
        }
    }
    if let Some(why) = outcome.skipped {
        report.skipped_count += 1;
        if report.skipped.len() < NAMED_MAX {
            report.skipped.push(Trouble { path: path.to_owned(), why });
        }
    }
    if !outcome.not_set.is_empty() {
        report.not_set_count += 1;
        if report.not_set.len() < NAMED_MAX {
            report.not_set.push(Trouble { path: path.to_owned(), why: outcome.not_set.join("; ") });
        }
    }
}

fn check_name(name: &[u8]) -> std::result::Result<(), &'static str> {
    match name {
        b"" => Err("name that is empty"),
        b"." | b".." => Err("name that leads elsewhere"),
        name if name.contains(&b'/') || name.contains(&0) => Err("name that leads elsewhere"),
        name if name.len() > 255 => Err("name that is too long"),
        _ => Ok(()),
    }
}

/// Opens a directory below another; follows no link.
fn open_dir(dir: impl std::os::fd::AsFd, name: &OsStr, nofollow: bool) -> rustix::io::Result<OwnedFd> {
    let link = if nofollow { OFlags::NOFOLLOW } else { OFlags::empty() };
    rustix::fs::openat(dir, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | link, Mode::empty())
}

/// Makes a directory, or takes the one that is there. Whatever else has its name goes: the point says that it is a directory.
fn make_dir(dir: &OwnedFd, name: &OsStr) -> rustix::io::Result<(OwnedFd, bool)> {
    let private = Mode::RWXU;
    match rustix::fs::mkdirat(dir, name, private) {
        Ok(()) => Ok((open_dir(dir, name, true)?, false)),
        Err(Errno::EXIST) => match open_dir(dir, name, true) {
            Ok(handle) => Ok((handle, true)),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
                rustix::fs::mkdirat(dir, name, private)?;
                Ok((open_dir(dir, name, true)?, false))
            }
            Err(Errno::ACCESS) => {
                // Ours, without permission for ourselves; the mode of the point is set at the end.
                rustix::fs::chmodat(dir, name, private, AtFlags::empty())?;
                Ok((open_dir(dir, name, true)?, true))
            }
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Opens a directory by its path below the root, name by name: no length limit, no links.
fn open_beneath(root: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let mut at = rustix::io::dup(root)?;
    for name in path {
        at = open_dir(&at, name, true)?;
    }
    Ok(at)
}

fn link(root: &OwnedFd, path: &Path, first: &Path) -> Outcome {
    let place = |path: &Path| -> rustix::io::Result<(OwnedFd, std::ffi::OsString)> {
        let dir = open_beneath(root, path.parent().unwrap_or(Path::new("")))?;
        Ok((dir, path.file_name().unwrap_or_default().to_owned()))
    };
    let result = place(first).and_then(|(first_dir, first_name)| {
        let (dir, name) = place(path)?;
        match rustix::fs::linkat(&first_dir, &first_name, &dir, &name, AtFlags::empty()) {
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&dir, &name, AtFlags::empty())?;
                rustix::fs::linkat(&first_dir, &first_name, &dir, &name, AtFlags::empty())
            }
            other => other,
        }
    });
    match result {
        Ok(()) => Outcome { restored: true, ..Outcome::default() },
        Err(error) => Outcome::skipped(error),
    }
}
