//! Makes a vault whole again: indexes from packs, damaged and missing blobs from other vaults, and a list of what nobody has any more.
//!
//! In two calls, as a prune: [`examine`] looks and can be shown, [`carry_out`] acts. Nothing that may still be of use is removed: a damaged
//! pack leaves the index and stays, marked, for as long as a prune lets it; its sound blobs are written anew. What can't be healed leaves
//! the index as well, so that the next backup that meets it stores it again.

use crate::catalogue::{Catalogue, PackContents};
use crate::format::index::IndexedPack;
use crate::format::pack::Entry;
use crate::lanes::in_lanes;
use crate::lock::{Holder, Lock, LockKind};
use crate::packer::PackWriter;
use crate::packs::Packs;
use crate::reach::{Reached, reach};
use crate::reindex::{Change, names, reindex, removed};
use crate::set::VaultSet;
use crate::sink::{Press, Sink};
use crate::small::{self, Odd, Remedy};
use crate::store::listing;
use crate::verify::{Window, look_through};
use crate::{
    BlobId, BlobKind, Error, FileId, FileKind, Kind, NodeKind, Progress, Repository, Result, Snapshot,
};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

/// How many files are named that are beyond repair; all are counted.
const NAMED_MAX: usize = 1000;
/// For how many folders that are lost other points are asked what lay in them, and how many points for each.
const FOLDERS_MAX: usize = 100;
const POINTS_MAX: usize = 20;

/// How deep to look, and who does.
#[derive(Debug, Clone)]
pub struct RepairOptions {
    /// The packs to read: damage that nobody has met yet is found by reading only.
    pub read: Window,
    /// Now.
    pub now: Timestamp,
    /// This machine and user, for the lock.
    pub holder: Holder,
}

/// What a look at a vault found, and what would be done about it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RepairPlan {
    /// Index files that can't be read: they are made anew from the packs.
    pub indexes: u64,
    /// Packs that no index names and that points need: they are taken into the index.
    pub adopt: u64,
    /// Packs that are gone, cut, or damaged: what is sound in them is written anew.
    pub packs: u64,
    /// What is wrong with them, a line each.
    pub findings: Vec<String>,
    /// Blobs that points need and that are not sound here.
    pub blobs: u64,
    /// Of these, blobs that no other vault names either.
    pub blobs_nowhere: u64,
    /// What is wrong with `config`, which is written anew.
    pub config: Option<String>,
    /// What the store says of `config`, which nobody has read: it is not written over. Among the findings.
    pub refused: Option<String>,
    /// Keys, locks and snapshots that are put right, or removed where they are junk; they are among the findings.
    pub small: u64,
    /// Snapshot files that can't be read: they are removed; `sync` brings their points back from other vaults.
    pub snapshots: Vec<FileId>,
    /// Packs that were read.
    pub packs_read: u64,
    /// Bytes of them.
    pub bytes_read: u64,
    #[serde(skip)]
    work: Work,
}

impl RepairPlan {
    /// Returns the packs that are gone, cut, or damaged.
    pub fn bad_packs(&self) -> impl Iterator<Item = FileId> {
        self.work.bad.iter().map(|pack| pack.id)
    }

    /// Returns whether nothing is to be repaired.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indexes == 0
            && self.adopt == 0
            && self.packs == 0
            && self.blobs == 0
            && self.config.is_none()
            && self.small == 0
            && self.snapshots.is_empty()
    }
}

#[derive(Debug, Clone, Default)]
struct Work {
    indexes: BTreeSet<FileId>,
    unreadable: Vec<FileId>,
    adopt: Vec<IndexedPack>,
    /// Packs in which damage was read, with what is sound in them.
    sound: HashMap<FileId, HashSet<BlobId>>,
    /// Packs that leave the index, those that aren't there any more among them.
    bad: Vec<IndexedPack>,
    there: HashSet<FileId>,
    fetch: Vec<(BlobKind, BlobId)>,
    snapshots: Vec<(FileId, Snapshot)>,
    odd: Vec<Odd>,
}

/// What was done.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RepairReport {
    /// Blobs that were missing or damaged, and are sound now.
    pub healed: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// Blobs that no vault has sound.
    pub lost: u64,
    /// The files of points that these are in: the point's time, the path, at most a thousand.
    pub touched: Vec<(Timestamp, PathBuf)>,
    /// How many files that is.
    pub touched_count: u64,
    /// The folders of points whose list of entries is lost, and with it all that is below them: as above.
    pub folders: Vec<(Timestamp, PathBuf)>,
    /// How many folders that is.
    pub folders_count: u64,
    /// The files that lay in these folders by another point of the same system, with that point's time: as above.
    pub below: Vec<(Timestamp, PathBuf)>,
    /// How many files that is.
    pub below_count: u64,
    /// What did not go as it should.
    pub findings: Vec<String>,
}

/// Looks at `vault`, whose index is read anew, with the help of `others`, whose indexes are loaded.
pub fn examine(
    vault: &Arc<Repository>,
    others: &[Arc<Repository>],
    options: &RepairOptions,
    progress: &Progress,
) -> Result<RepairPlan> {
    look(vault, others, options, progress, None)
}

/// Looks at a vault; where that was done `before`, without reading all of its packs again.
fn look(
    vault: &Arc<Repository>,
    others: &[Arc<Repository>],
    options: &RepairOptions,
    progress: &Progress,
    before: Option<&RepairPlan>,
) -> Result<RepairPlan> {
    vault.check_writable()?;
    vault.look_afresh();
    let mut plan = RepairPlan::default();
    progress.set_phase("looking at the points");
    let lost = vault.lost_config().map(str::to_owned);
    let (kept, lost) = if vault.may_have_config() { (lost, None) } else { (None, lost) };
    plan.refused = kept.map(|why| {
        format!("config: {why}: so the store says, and it is not written over: whoever runs the store has to look; once it is removed by hand, a repair writes it anew")
    });
    plan.findings.extend(plan.refused.clone());
    plan.findings.extend(lost.iter().map(|why| format!("config: {why}; it is written anew")));
    plan.config = lost;
    plan.work.odd = small::look(vault)?;
    for listed in listing(vault.store(), FileKind::Snapshot)? {
        match vault.read_snapshot(&listed.name) {
            Ok((id, snapshot)) => plan.work.snapshots.push((id, bare(&snapshot))),
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                plan.findings.push(real(error)?.to_string());
                match small::look_at(vault, FileKind::Snapshot, &listed.name)? {
                    Some(odd) if matches!(odd.remedy, Remedy::Mend(_)) => plan.work.odd.push(odd),
                    Some(odd) => plan.snapshots.extend(odd.name.parse::<FileId>().ok()),
                    // Whole, sealed with this vault's key, and written by someone whom we don't understand: not ours to touch.
                    None => {}
                }
            }
        }
    }
    plan.small = plan.work.odd.len() as u64;
    plan.findings.extend(plan.work.odd.iter().map(Odd::text));
    // What is in a point that is put right must not look unneeded meanwhile.
    for odd in plan.work.odd.iter().filter(|odd| odd.kind == FileKind::Snapshot) {
        let Remedy::Mend(right) = &odd.remedy else { continue };
        let snapshot = vault.open_json(odd.kind, right).and_then(|json| serde_json::from_slice(&json).ok());
        plan.work.snapshots.extend(odd.name.parse().ok().zip(snapshot));
    }
    progress.set_phase("looking at the packs");
    let packs = Packs::list(vault)?;
    plan.indexes = packs.damaged.len() as u64;
    plan.findings.extend(packs.damaged.iter().map(|(_, error)| error.to_string()));
    plan.work.unreadable = packs.damaged.iter().map(|(file, _)| *file).collect();
    plan.work.indexes = packs.indexes.iter().copied().collect();
    plan.work.there = packs.sizes.keys().copied().collect();
    let bad = match before {
        None => read(vault, &packs, options.read, &mut plan, progress)?,
        Some(before) => {
            let is_live = |id: &FileId| packs.live.iter().any(|pack| pack.id == *id);
            let known = before.work.sound.iter().filter(|(id, _)| is_live(id));
            known.map(|(id, sound)| (*id, sound.clone())).collect()
        }
    };
    progress.set_phase("following the trees");
    let set = set(vault, others);
    let roots = plan.work.snapshots.iter().map(|(_, snapshot)| snapshot.tree);
    // Trees that nobody has are counted with the blobs below.
    let (needed, _) = reach(set.lanes(), roots, |id| set.tree(id), progress)?;
    plan.decide(vault, &packs, &bad, &needed)?;
    let nowhere = |(kind, id): &&(BlobKind, BlobId)| !others.iter().any(|other| other.has(*kind, id));
    let is_lost = |blob: &&(BlobKind, BlobId)| nowhere(blob) && !vault.has(blob.0, &blob.1);
    plan.blobs_nowhere = plan.work.fetch.iter().filter(is_lost).count() as u64;
    plan.work.sound = bad;
    Ok(plan)
}

/// All vaults as one source: the other copies of a blob in this vault count as well.
fn set(vault: &Arc<Repository>, others: &[Arc<Repository>]) -> VaultSet {
    let all: Vec<_> = others.iter().chain(std::iter::once(vault)).cloned().collect();
    VaultSet::new(&all, crate::set::PATIENCE)
}

/// Passes an error on as a finding, unless it says nothing about what was looked at: out of reach, not allowed, in an archive.
fn real(error: Error) -> Result<Error> {
    if error.says_damage() { Ok(error) } else { Err(error) }
}

/// Reads the packs of the window, and returns the damaged ones, with what is sound in them.
fn read(
    vault: &Repository,
    packs: &Packs,
    window: Window,
    plan: &mut RepairPlan,
    progress: &Progress,
) -> Result<HashMap<FileId, HashSet<BlobId>>> {
    let mut catalogue = Catalogue::default();
    packs.live.iter().for_each(|pack| catalogue.add(pack));
    let mut contents: Vec<PackContents> = catalogue.by_pack();
    contents.retain(|pack| window.holds(&pack.id));
    progress.set_phase("reading");
    progress.expect(0, contents.iter().map(|pack| packs.size(&pack.id)).sum());
    let looks = in_lanes(vault.store().lanes(), &contents, |pack| {
        if progress.is_stopped() {
            return Err(Error::new("repair", Kind::Interrupted));
        }
        let look = look_through(vault, pack);
        progress.add(0, packs.size(&pack.id));
        look
    });
    let mut sound: HashMap<FileId, HashSet<BlobId>> = HashMap::new();
    for (pack, look) in contents.iter().zip(looks) {
        plan.packs_read += 1;
        plan.bytes_read += packs.size(&pack.id);
        let mut own: HashSet<BlobId> = pack.blobs.iter().map(|(_, id, _)| *id).collect();
        let faults = match look {
            Ok(faults) => faults,
            Err(error) => {
                own.clear();
                vec![(None, real(error)?.to_string())]
            }
        };
        if faults.is_empty() {
            continue;
        }
        for (blob, what) in faults {
            plan.findings.push(format!("pack {}: {what}", pack.id.short()));
            blob.map(|blob| own.remove(&blob));
        }
        sound.insert(pack.id, own);
    }
    Ok(sound)
}

impl RepairPlan {
    fn decide(
        &mut self,
        vault: &Repository,
        packs: &Packs,
        bad: &HashMap<FileId, HashSet<BlobId>>,
        needed: &Reached,
    ) -> Result<()> {
        let mut good = Catalogue::default();
        let is_bad = |pack: &&IndexedPack| bad.contains_key(&pack.id);
        packs.live.iter().filter(|pack| !is_bad(pack)).for_each(|pack| good.add(pack));
        for pack in packs.unnamed.iter().chain(packs.marked.iter().map(|(pack, _)| pack)) {
            let lacks = |entry: &Entry| needed.has(entry.kind, &entry.id) && !good.has(entry.kind, &entry.id);
            // It may be out of the index because it is damaged: it is read before anyone relies on it.
            if pack.entries.iter().any(lacks) && is_sound(vault, pack)? {
                good.add(pack);
                self.work.adopt.push(pack.clone());
            }
        }
        for pack in &packs.gone {
            let why = match packs.sizes.get(&pack.id) {
                Some(size) => format!("has {size} bytes, and another length by the index"),
                None => "is gone".to_owned(),
            };
            self.findings.push(format!("pack {} {why}", pack.id.short()));
        }
        self.work.bad = packs.live.iter().filter(is_bad).chain(&packs.gone).cloned().collect();
        self.work.fetch = needed.iter().filter(|(kind, id)| !good.has(*kind, id)).collect();
        self.adopt = self.work.adopt.len() as u64;
        self.packs = self.work.bad.len() as u64;
        // Written anew from where they are, a sound blob of a damaged pack is no loss.
        let sound: HashSet<&BlobId> = bad.values().flatten().collect();
        self.blobs = self.work.fetch.iter().filter(|(_, id)| !sound.contains(id)).count() as u64;
        Ok(())
    }
}

fn is_sound(vault: &Repository, pack: &IndexedPack) -> Result<bool> {
    let mut alone = Catalogue::default();
    alone.add(pack);
    for contents in alone.by_pack() {
        match look_through(vault, &contents) {
            Ok(faults) if faults.is_empty() => {}
            Ok(_) => return Ok(false),
            Err(error) => {
                real(error)?;
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Does what `plan` says; of what has changed since, what it says now. [`Kind::Locked`] where someone else is in the vault: try again.
pub fn carry_out(
    vault: &Arc<Repository>,
    others: &[Arc<Repository>],
    plan: &RepairPlan,
    options: &RepairOptions,
    progress: &Progress,
) -> Result<RepairReport> {
    let mut report = RepairReport::default();
    if plan.is_empty() {
        return Ok(report);
    }
    let lock = Lock::take(vault, LockKind::Exclusive, &options.holder)?;
    // Whoever streams a log there adds to the index every few seconds: waiting for an end of that helps nobody.
    let again;
    let plan = match names(vault, FileKind::Index)? == plan.work.indexes {
        true => plan,
        false => {
            let mut now = look(vault, others, options, progress, Some(plan))?;
            // What more can't be read is for the next repair to name first.
            now.snapshots.retain(|id| plan.snapshots.contains(id));
            again = now;
            &again
        }
    };
    if plan.is_empty() {
        return Ok(report);
    }
    let work = &plan.work;
    if plan.config.is_some() {
        vault.write_config()?;
    }
    for odd in &work.odd {
        small::put_right(vault, odd, &mut report.findings)?;
    }
    progress.set_phase("healing");
    progress.expect(work.fetch.len() as u64, 0);
    let set = set(vault, others);
    let lost = heal(&lock, &set, plan, progress, &mut report)?;
    progress.set_phase("writing the index");
    let is_there = |pack: &&IndexedPack| work.there.contains(&pack.id);
    let change = Change {
        mark: work.bad.iter().filter(is_there).map(|pack| (pack.id, pack.clone())).collect(),
        restore: work.adopt.clone(),
        drop: work.bad.iter().filter(|pack| !is_there(pack)).map(|pack| pack.id).collect(),
        unreadable: work.unreadable.clone(),
        ..Change::default()
    };
    lock.guard().check()?;
    reindex(vault, &work.indexes, change, options.now, &mut report.findings)?;
    for snapshot in &plan.snapshots {
        let again = small::look_at(vault, FileKind::Snapshot, &snapshot.to_string())?;
        if again.is_some_and(|odd| matches!(odd.remedy, Remedy::Remove)) {
            removed(vault.store(), FileKind::Snapshot, snapshot, &mut report.findings)?;
        }
    }
    drop(lock);
    if !lost.is_empty() {
        progress.set_phase("looking for what is lost");
        touched(&set, &work.snapshots, &lost, &mut report);
    }
    Ok(report)
}

/// Returns what a repair needs of a snapshot: of half a million no more is held.
fn bare(snapshot: &Snapshot) -> Snapshot {
    let system =
        snapshot.tag("system").filter(|name| name.len() <= 1000).map(|name| format!("system:{name}"));
    Snapshot {
        paths: Vec::new(),
        excludes: Vec::new(),
        hostname: String::new(),
        username: String::new(),
        tags: system.into_iter().collect(),
        program_version: None,
        releve: None,
        signature: None,
        ..*snapshot
    }
}

/// Writes what is not sound here anew, from wherever it is sound. Returns what is nowhere.
fn heal(
    lock: &Lock,
    set: &VaultSet,
    plan: &RepairPlan,
    progress: &Progress,
    report: &mut RepairReport,
) -> Result<HashSet<BlobId>> {
    let work = &plan.work;
    let writer = PackWriter::new(lock);
    let writers = [&writer];
    let sink = Sink::new(&writers);
    let presses: Mutex<Vec<Press>> = Mutex::default();
    let results = in_lanes(set.lanes(), &work.fetch, |(kind, id)| {
        if progress.is_stopped() || writer.has_failed() {
            return Err(Error::new("repair", Kind::Interrupted));
        }
        let plain = set.blob(*kind, id)?;
        let mut press = crate::mutex::lock(&presses).pop().unwrap_or_else(Press::new);
        sink.put_anew(*kind, *id, &plain, &mut press);
        crate::mutex::lock(&presses).push(press);
        progress.add(1, plain.len() as u64);
        Ok(())
    });
    let mut lost = HashSet::new();
    let mut stopped = None;
    for (result, (_, id)) in results.into_iter().zip(&work.fetch) {
        match result {
            Ok(()) => report.healed += 1,
            // Out of reach is not lost: a later repair may find it.
            Err(error) if error.is_retryable() || matches!(error.kind, Kind::Interrupted) => {
                stopped = Some(error);
            }
            Err(_) => _ = lost.insert(*id),
        }
    }
    report.bytes = writer.finish()?;
    report.lost = lost.len() as u64;
    stopped.map_or(Ok(lost), Err)
}

/// Names the files of all points that lost blobs are in, and the folders that nobody can look into any more.
fn touched(
    set: &VaultSet,
    snapshots: &[(FileId, Snapshot)],
    lost: &HashSet<BlobId>,
    report: &mut RepairReport,
) {
    let mut seen: HashSet<(PathBuf, BlobId)> = HashSet::new();
    let mut folders: BTreeSet<(Option<&str>, PathBuf)> = BTreeSet::new();
    for (_, snapshot) in snapshots.iter().rev() {
        let mut folders_met = set.folders();
        let mut stack = vec![(PathBuf::from("/"), snapshot.tree, 0)];
        while let Some((path, tree, depth)) = stack.pop() {
            if !seen.insert((path.clone(), tree)) {
                continue;
            }
            let nodes = match set.tree(&tree) {
                Ok(nodes) => nodes,
                Err(error) => {
                    // Out of reach is not lost.
                    if lost.contains(&tree) || error.says_damage() {
                        folders.insert((snapshot.tag("system"), path.clone()));
                        name(&mut report.folders, &mut report.folders_count, snapshot.time, path);
                    }
                    continue;
                }
            };
            if folders_met.enter(&tree, nodes.len(), depth).is_err() {
                continue;
            }
            for node in nodes {
                let own = child(&path, &node.name);
                match node.kind {
                    NodeKind::Dir { subtree: Some(subtree) } => stack.push((own, subtree, depth + 1)),
                    NodeKind::File { content, .. } if content.iter().any(|id| lost.contains(id)) => {
                        name(&mut report.touched, &mut report.touched_count, snapshot.time, own);
                    }
                    _ => {}
                }
            }
        }
    }
    for (system, path) in folders.into_iter().take(FOLDERS_MAX) {
        let same = snapshots.iter().rev().filter(|(_, snapshot)| snapshot.tag("system") == system);
        for (_, snapshot) in same.take(POINTS_MAX) {
            if let Some(tree) = tree_at(set, snapshot.tree, &path) {
                below(set, snapshot.time, path, tree, report);
                break;
            }
        }
    }
    report.below.sort_by(|(_, a), (_, b)| a.cmp(b));
}

/// Returns the list of entries of a folder of a point, if it is whole.
fn tree_at(set: &VaultSet, root: BlobId, path: &Path) -> Option<BlobId> {
    let mut tree = root;
    for part in path.components() {
        let Component::Normal(part) = part else { continue };
        let nodes = set.tree(&tree).ok()?;
        tree = nodes.into_iter().find_map(|node| match node.kind {
            NodeKind::Dir { subtree: Some(subtree) } if node.name == part.as_bytes() => Some(subtree),
            _ => None,
        })?;
    }
    set.tree(&tree).is_ok().then_some(tree)
}

/// Names what a folder held by another point than the one that lost it.
fn below(set: &VaultSet, time: Timestamp, path: PathBuf, tree: BlobId, report: &mut RepairReport) {
    let mut folders = set.folders();
    let mut stack = vec![(path, tree, 0)];
    while let Some((path, tree, depth)) = stack.pop() {
        let Ok(nodes) = set.tree(&tree) else { continue };
        if folders.enter(&tree, nodes.len(), depth).is_err() {
            continue;
        }
        for node in nodes {
            let own = child(&path, &node.name);
            match node.kind {
                NodeKind::Dir { subtree: Some(subtree) } => stack.push((own, subtree, depth + 1)),
                NodeKind::Dir { .. } => {}
                _ => name(&mut report.below, &mut report.below_count, time, own),
            }
        }
    }
}

fn child(path: &Path, name: &[u8]) -> PathBuf {
    path.join(OsStr::from_bytes(name))
}

fn name(named: &mut Vec<(Timestamp, PathBuf)>, count: &mut u64, time: Timestamp, path: PathBuf) {
    *count += 1;
    if named.len() < NAMED_MAX {
        named.push((time, path));
    }
}
