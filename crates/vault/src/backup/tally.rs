//! Counts what became of each file since the point before, and remembers those of which the content became noise.
//!
//! A file is what its content is: one that was read again and came out the same is unchanged, whatever its times, owner or inode. One whose content is another
//! although its length and its time of change are not is counted apart: no program that does its work leaves that, but where it gives all files one time of its own, or
//! keeps an encrypted disk in them.

use super::aside::{self, Git};
use super::kinds::{self, Class};
use super::look::{Head, Look};
use super::scrambled::{self, Gone, News, Suspect};
use super::walk::lock;
use crate::format::holdable;
use crate::{BlobId, COUNTED, Change, Node, NodeKind, Repository};
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// So many files of each sort are remembered at most: 100 bytes or so each.
const REMEMBERED: usize = 100_000;
/// So many blobs of what a file was are remembered, from everywhere in it: enough to tell whether it compressed.
const BLOBS: usize = 16;
/// From this share of noise on a content that begins as anything else is looked into.
const NOISE_WITHIN: f64 = 0.15;
/// So many files that changed to the very same content are no chance.
const ALIKE: u32 = 5;
/// So large a share of those whose time of change is what it was has one and the same time: a build or a deployment gave it to them. One in so many may not.
const OF_OTHER_TIMES: u64 = 10;
/// Fewer samples than this have no share.
const SAMPLES: u32 = 4;

/// What became of the files of one backup.
#[derive(Default)]
pub(super) struct Tally {
    /// What is captured.
    roots: Vec<PathBuf>,
    counts: Mutex<Counted>,
}

/// Where a file lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    folder: u64,
    /// Things only pass through there.
    is_passing: bool,
}

#[derive(Default)]
struct Counted {
    change: Change,
    /// How many new files have a content.
    contents: HashMap<u64, u32>,
    /// How many changed files have one, other than zeros.
    alike: HashMap<u64, u32>,
    /// How many of those that are veiled have a time, of whole seconds.
    times: HashMap<i64, u64>,
    /// Contents of new files that are archives, and how long they are.
    packed: HashMap<u64, u64>,
    git: Git,
    /// Where what is gone lay.
    places: HashMap<u64, PathBuf>,
    suspects: Vec<Suspect>,
    news: Vec<News>,
    gone: Vec<Gone>,
}

impl Tally {
    /// Counts for a point of these paths.
    pub(super) fn of(paths: &[String]) -> Self {
        Self { roots: paths.iter().map(PathBuf::from).collect(), counts: Mutex::default() }
    }

    /// Returns what counts of where a file lies that has this folder.
    pub(super) fn place(&self, at: &Path) -> Place {
        Place { folder: folder(at), is_passing: aside::is_passing(&self.roots, at) }
    }

    /// Counts a file whose content is known now. `before` is what had its name in the point before, `look` what its content looks like.
    pub(super) fn file(&self, place: Place, before: Option<&Node>, node: &Node, look: Option<Look>) {
        let NodeKind::File { content, size, .. } = &node.kind else { return };
        let was = before.and_then(|before| match &before.kind {
            NodeKind::File { content, .. } => Some((before, content)),
            _ => None,
        });
        let counts = &mut *lock(&self.counts);
        let Some((before, was)) = was else {
            counts.change.files_new += 1;
            match place.is_passing {
                true => counts.change.files_passing += 1,
                false => counts.change.bytes_came += size,
            }
            return counts.add(place, node, content, *size, look);
        };
        if was == content {
            counts.change.files_unchanged += 1;
            counts.change.files_touched += u64::from(is_touched(before, node));
            return;
        }
        counts.change.files_changed += 1;
        counts.git.wrote(place.folder, &node.name);
        let veiled = counts.became(before, node, content, look.as_ref());
        if let Some(look) = look.filter(is_suspect)
            && counts.suspects.len() < REMEMBERED
        {
            let known: HashSet<&BlobId> = was.iter().collect();
            counts.suspects.push(Suspect {
                name: node.name.clone(),
                before: some(was),
                size_before: before.size(),
                size: *size,
                all_new: !content.iter().any(|id| known.contains(id)),
                veiled,
                look,
            });
        }
    }

    /// Counts files that were taken over unread.
    pub(super) fn unchanged(&self, files: u64) {
        lock(&self.counts).change.files_unchanged += files;
    }

    /// Counts a file that is gone from the folder at `at`.
    pub(super) fn gone(&self, at: &Path, node: &Node) {
        let NodeKind::File { content, size, .. } = &node.kind else { return };
        let folder = folder(at);
        let counts = &mut *lock(&self.counts);
        counts.change.files_removed += 1;
        counts.change.bytes_removed += size;
        counts.change.bytes_lost += size;
        if counts.gone.len() < REMEMBERED {
            counts.places.entry(folder).or_insert_with(|| at.to_owned());
            counts.gone.push(Gone {
                folder,
                name: node.name.clone(),
                size: *size,
                key: key(content),
                content: some(content),
            });
        }
    }

    /// Sums up. `vaults` hold the point before, nearest first.
    pub(super) fn conclude(&self, vaults: &[Arc<Repository>]) -> Change {
        let counts = std::mem::take(&mut *lock(&self.counts));
        let Counted { mut change, mut contents, alike, times, mut packed, git, places, suspects, news, gone } =
            counts;
        change.counted = COUNTED;
        change.files_ruined +=
            alike.values().filter(|count| **count >= ALIKE).map(|count| u64::from(*count)).sum::<u64>();
        let mut left = Vec::new();
        for gone in gone {
            match contents.get_mut(&gone.key).filter(|there| gone.size > 0 && **there > 0) {
                Some(there) => {
                    *there -= 1;
                    change.files_moved += 1;
                    change.bytes_lost = change.bytes_lost.saturating_sub(gone.size);
                    change.bytes_came = change.bytes_came.saturating_sub(gone.size);
                    packed.remove(&gone.key);
                }
                None => left.push(gone),
            }
        }
        change.bytes_packed = packed.values().sum();
        let mut folders: HashMap<u64, (&Path, u64)> = HashMap::new();
        for gone in &left {
            if let Some(at) = places.get(&gone.folder) {
                folders.entry(gone.folder).or_insert((at.as_path(), 0)).1 += gone.size;
            }
        }
        let asides = git.asides(&self.roots, &folders);
        for gone in left.iter().filter(|gone| asides.contains(&gone.folder)) {
            change.files_aside += 1;
            change.bytes_lost = change.bytes_lost.saturating_sub(gone.size);
        }
        let found =
            scrambled::find(suspects, news, left, vaults, change.files_changed + change.files_removed);
        change.files_scrambled = found.files;
        change.bytes_scrambled = found.bytes;
        change.types_changed = found.types;
        // Whoever restores what the time of each was leaves as many times as there were.
        let fixed = times.values().copied().max().unwrap_or(0);
        let is_fixed = fixed >= u64::from(ALIKE)
            && (change.files_veiled.saturating_sub(fixed)).saturating_mul(OF_OTHER_TIMES)
                <= change.files_veiled;
        let explained = found.containers.max(if is_fixed { fixed } else { 0 });
        change.files_veiled = change.files_veiled.saturating_sub(explained);
        change
    }
}

impl Counted {
    /// Counts what became of the content of a file that was another before. Returns whether its length and its time of change hide it.
    fn became(&mut self, before: &Node, node: &Node, content: &[BlobId], look: Option<&Look>) -> bool {
        let (was, is) = (before.size(), node.size());
        let change = &mut self.change;
        change.bytes_lost += was.saturating_sub(is);
        change.bytes_came += is.saturating_sub(was);
        let is_other = before.meta.ctime != holdable(node.meta.ctime);
        // Where the file system itself tells of a change; what has made-up times tells of none.
        let mtime = holdable(node.meta.mtime);
        let is_veiled = is_other && was == is && before.meta.mtime == mtime;
        change.files_veiled += u64::from(is_veiled);
        // A time that was made up has no parts of a second, and zeros are nobody's build.
        if is_veiled && mtime.nanos == 0 && !look.is_some_and(Look::is_blank) {
            *self.times.entry(mtime.seconds).or_default() += 1;
        }
        if content.is_empty() {
            change.files_emptied += 1;
        } else if look.is_some_and(Look::is_blank) {
            change.files_ruined += 1;
        } else if self.alike.len() < REMEMBERED {
            *self.alike.entry(key(content)).or_default() += 1;
        }
        is_veiled
    }

    fn add(&mut self, place: Place, node: &Node, content: &[BlobId], size: u64, look: Option<Look>) {
        let Some(look) = look else { return };
        // What is thrown away is not moved: it is gone already.
        if self.contents.len() < REMEMBERED * 10 && !content.is_empty() && !place.is_passing {
            *self.contents.entry(key(content)).or_default() += 1;
            let is_archive = |head: Head| {
                head.kind.is_some_and(|kind| kinds::is_archive(&node.name, kind.name, head.is_locked))
            };
            if look.head.is_some_and(|head| head.kind.is_some_and(|kind| kind.name == kinds::GIT_PACK)) {
                self.git.packed(place.folder, size);
            } else if look.head.is_some_and(is_archive) {
                self.packed.insert(key(content), size);
            }
        }
        if !is_suspect(&look) || self.news.len() >= REMEMBERED {
            return;
        }
        let Some(head) = look.head else { return };
        // A suspect that says what it is, is sealed.
        let is_text = look.is_lettered() || head.kind.is_some() && head.is_text;
        let is_head = head.is_noise || head.kind.is_some() || is_text;
        let noise = look.noise();
        if is_head || noise > 0.5 {
            let (folder, name) = (place.folder, node.name.clone());
            self.news.push(News { folder, name, size, is_head, is_text, noise });
        }
    }
}

/// Returns what stands for a folder where files that came and files that went are held against each other.
pub(super) fn folder(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.as_os_str().as_bytes().hash(&mut hasher);
    hasher.finish()
}

/// Returns the first blob, and others from everywhere behind it.
fn some(content: &[BlobId]) -> Vec<BlobId> {
    content.iter().step_by(content.len().div_ceil(BLOBS).max(1)).copied().collect()
}

fn key(content: &[BlobId]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

/// Returns whether anything but the content differs that is not the kernel's own business: when it was last read, which number its
/// file system has since the last boot, how many other names it has.
fn is_touched(before: &Node, now: &Node) -> bool {
    let (before, now) = (&before.meta, &now.meta);
    (before.mode, before.uid, before.gid) != (now.mode, now.uid, now.gid)
        || (before.mtime, before.ctime, before.inode) != (now.mtime, now.ctime, now.inode)
        || before.xattrs != now.xattrs
}

/// Returns whether a content looks as if it had been encrypted, all of it or in part. What is compressed by nature and says so doesn't.
fn is_suspect(look: &Look) -> bool {
    let Some(head) = look.head else { return false };
    match head.kind.map(|kind| kind.class) {
        Some(Class::Sealed) => true,
        Some(Class::Packed | Class::Open) => false,
        None => {
            head.is_noise || look.is_lettered() || look.samples >= SAMPLES && look.noise() >= NOISE_WITHIN
        }
    }
}
