//! Looks through one vault, from the vault alone, and says which restore points it really holds.
//!
//! Three looks, each deeper: every pack that the index names is there and as long as it must be; every snapshot's trees can be
//! read and all that they name is indexed; and a share of the packs, or all, is read and each blob held against its hash.
//!
//! Three verdicts: sound, broken, and could not be looked at. A network that is down is an error; a pack that we may not read, or that lies in an archive,
//! makes what needs it neither sound nor broken. None of this is damage, and none is a proof of health either.

use crate::catalogue::PackContents;
use crate::format::pack;
use crate::lanes::in_lanes;
use crate::lock::{Holder, Lock, LockKind};
use crate::repository::{Listing, Opener};
use crate::{
    BlobId, BlobKind, Error, FileId, FileKind, Kind, Node, NodeKind, Point, Progress, Repository, Result,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How many findings are named; all are counted.
const NAMED_MAX: usize = 1000;

/// How deep to look.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// The packs to read and check blob by blob.
    pub read: Window,
    /// This machine and user, for the lock.
    pub holder: Holder,
}

/// A share of the packs, by their names: these are hashes, so any part of their range holds its share. Windows that follow one another cover
/// all packs in the end, which a choice at random never does for sure.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Window {
    /// Where it begins, 0 to 1.
    pub from: f64,
    /// How much it covers, 0 to 1.
    pub share: f64,
}

impl Window {
    /// All packs.
    pub const ALL: Self = Self { from: 0.0, share: 1.0 };

    /// Returns whether a pack of this name is in it.
    #[must_use]
    pub fn holds(self, pack: &FileId) -> bool {
        let [a, b, c, d, ..] = pack.0;
        let at = f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0);
        self.share >= 1.0 || (at - self.from).rem_euclid(1.0) < self.share
    }
}

/// What a look through a vault found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VerifyReport {
    /// Packs that the index names.
    pub packs: u64,
    /// Of these, packs that were read whole.
    pub packs_read: u64,
    /// Bytes of them.
    pub bytes_read: u64,
    /// Packs that no index names: what a killed backup left. Harmless, and room that a prune gives back.
    pub packs_unused: u64,
    /// Ids of the points of which nothing is missing and nothing that was read is damaged.
    pub sound: Vec<String>,
    /// Ids of the points that can't come back whole from this vault alone.
    pub unsound: Vec<String>,
    /// Ids of the points of which nothing was found damaged, and something could not be looked at.
    pub unknown: Vec<String>,
    /// What could not be looked at, a line each.
    pub unread: Vec<String>,
    /// How many files that is, named or not.
    pub unread_count: u64,
    /// Packs that have to be brought back from an archive before they can be read.
    pub archived: Vec<FileId>,
    /// What is wrong, a line each.
    pub findings: Vec<String>,
    /// How many findings there are, named or not.
    pub finding_count: u64,
    /// The packs that they are in, and those that are gone.
    pub damaged: Vec<FileId>,
    /// The packs that lie in the vault, or that its index names.
    pub present: HashSet<String>,
}

impl VerifyReport {
    /// Returns the share of the packs that was read; 1 where there are none.
    #[must_use]
    pub fn read_share(&self) -> f64 {
        if self.packs == 0 { 1.0 } else { self.packs_read as f64 / self.packs as f64 }
    }

    /// Notes an error as a finding, or as what could not be looked at; returns whether it is damage. A vault out of reach ends it all.
    fn meet(&mut self, error: Error) -> Result<bool> {
        if error.is_retryable() || matches!(error.kind, Kind::Interrupted) {
            return Err(error);
        }
        if error.says_damage() {
            self.find(error.to_string());
            return Ok(true);
        }
        self.unread_count += 1;
        if self.unread.len() < NAMED_MAX {
            self.unread.push(error.to_string());
        }
        Ok(false)
    }

    fn find(&mut self, what: String) {
        self.finding_count += 1;
        if self.findings.len() < NAMED_MAX {
            self.findings.push(what);
        }
    }
}

/// Looks through the vault; its index is read anew.
pub fn verify(vault: &Arc<Repository>, options: &VerifyOptions, progress: &Progress) -> Result<VerifyReport> {
    let _lock = match Lock::take(vault, LockKind::Shared, &options.holder) {
        // A vault that may only be read can still be looked through.
        Err(error) if matches!(error.kind, Kind::Refused(_) | Kind::Full) => None,
        other => Some(other?),
    };
    vault.look_afresh();
    let mut report = VerifyReport::default();
    progress.set_phase("looking at the packs");
    // Points, indexes, packs: a backup writes them the other way round, so that all that was listed first is in what is listed after it.
    let points = vault.snapshots()?;
    if let Some(why) = vault.lost_config() {
        let way_out = match vault.may_have_config() {
            true => "so the store says, and whoever runs it has to look",
            false => "`repair` writes it anew",
        };
        report.find(format!("config: {why}; what is in the vault can be read, and {way_out}"));
    }
    for error in vault.load_index()?.damaged {
        // What it names is not known: without it everything would look as if it were missing.
        if !error.says_damage() {
            return Err(error);
        }
        report.find(error.to_string());
    }
    let listed: HashMap<String, u64> =
        vault.store().list(FileKind::Pack)?.into_iter().map(|listed| (listed.name, listed.size)).collect();
    let packs = vault.catalogue().by_pack();
    report.packs = packs.len() as u64;
    report.packs_unused = (listed.len() as u64).saturating_sub(report.packs);
    report.present = packs.iter().map(|pack| pack.id.to_string()).chain(listed.keys().cloned()).collect();
    let (suspect, mut bad) = compare(&packs, &listed, &mut report);
    let mut unread: HashSet<FileId> = HashSet::new();
    let chosen: Vec<(&PackContents, u64)> = packs
        .iter()
        .filter(|pack| suspect.contains(&pack.id) || options.read.holds(&pack.id))
        .filter_map(|pack| Some((pack, *listed.get(&pack.id.to_string())?)))
        .collect();
    progress.set_phase("reading");
    progress.expect(0, chosen.iter().map(|(_, size)| size).sum());
    let looks = in_lanes(vault.store().lanes(), &chosen, |(pack, size)| {
        if progress.is_stopped() {
            return Ok(Vec::new());
        }
        let look = look_through(vault, pack);
        progress.add(0, *size);
        look
    });
    if progress.is_stopped() {
        return Err(Error::new(format!("verify {}", vault.address()), Kind::Interrupted));
    }
    for (look, (pack, size)) in looks.into_iter().zip(&chosen) {
        match look {
            Ok(faults) => {
                report.packs_read += 1;
                report.bytes_read += size;
                if !faults.is_empty() {
                    report.damaged.push(pack.id);
                }
                for (blob, what) in faults {
                    report.find(format!("pack {}: {what}", pack.id.short()));
                    bad.extend(blob.map(|blob| (pack.id, blob)));
                }
            }
            Err(error) => {
                if matches!(error.kind, Kind::Archived(_)) {
                    report.archived.push(pack.id);
                }
                if report.meet(error)? {
                    report.damaged.push(pack.id);
                    bad.extend(pack.blobs.iter().map(|(_, blob, _)| (pack.id, *blob)));
                } else {
                    unread.insert(pack.id);
                }
            }
        }
    }
    progress.set_phase("following the trees");
    follow(vault, points, &bad, &unread, progress, &mut report)?;
    report.archived.sort_unstable_by_key(|pack| pack.0);
    report.archived.dedup();
    report.damaged.sort_unstable_by_key(|pack| pack.0);
    report.damaged.dedup();
    Ok(report)
}

type Bad = HashSet<(FileId, BlobId)>;

/// Compares what is there with what the index says. Returns the packs of a wrong length, which want a closer look, and the blobs
/// of those that are gone.
fn compare<'a>(
    packs: &'a [PackContents],
    listed: &HashMap<String, u64>,
    report: &mut VerifyReport,
) -> (HashSet<&'a FileId>, Bad) {
    let (mut suspect, mut bad) = (HashSet::new(), Bad::new());
    for pack in packs {
        let expected =
            pack::length(pack.blobs.iter().map(|(_, _, place)| (place.length, place.uncompressed > 0)));
        match listed.get(&pack.id.to_string()) {
            Some(size) if *size == expected => {}
            Some(size) => {
                report.find(format!("pack {} has {size} bytes and not {expected}", pack.id.short()));
                report.damaged.push(pack.id);
                suspect.insert(&pack.id);
            }
            None => {
                report.find(format!("pack {} is gone", pack.id.short()));
                report.damaged.push(pack.id);
                bad.extend(pack.blobs.iter().map(|(_, blob, _)| (pack.id, *blob)));
            }
        }
    }
    (suspect, bad)
}

/// Reads one pack whole: its name, its header against the index, and each blob against its hash.
pub(crate) fn look_through(vault: &Repository, pack: &PackContents) -> Result<Vec<(Option<BlobId>, String)>> {
    let length = pack::length(pack.blobs.iter().map(|(_, _, place)| (place.length, place.uncompressed > 0)));
    if length > FileKind::Pack.length_max() {
        return look_at_each(vault, pack);
    }
    let bytes = vault.store().read(FileKind::Pack, &pack.id.to_string())?;
    let mut faults = Vec::new();
    if FileId::of(&bytes) != pack.id {
        faults.push((None, "its content doesn't match its name".to_owned()));
    }
    match vault.header_of(&bytes) {
        Some(entries) => {
            let named: HashSet<BlobId> = entries.iter().map(|entry| entry.id).collect();
            if !pack.blobs.iter().all(|(_, blob, _)| named.contains(blob)) {
                faults.push((None, "its header doesn't name what the index says is in it".to_owned()));
            }
        }
        None => faults.push((
            None,
            "its header is damaged: an index that is lost could not be made anew from it".to_owned(),
        )),
    }
    let mut opener = Opener::default();
    for (kind, blob, place) in &pack.blobs {
        let start = place.offset as usize;
        let sealed = start.checked_add(place.length as usize).and_then(|end| bytes.get(start..end));
        let checked = sealed.ok_or("the pack ends before it").and_then(|sealed| {
            place.check(*kind)?;
            vault.open_blob(&mut sealed.to_vec(), place.uncompressed, blob, &mut opener).map(drop)
        });
        if let Err(what) = checked {
            faults.push((Some(*blob), format!("blob {}: {what}", blob.short())));
        }
    }
    Ok(faults)
}

/// Reads the blobs of a pack that is too long to be held as a whole, each by itself: its name and its header are not looked at.
fn look_at_each(vault: &Repository, pack: &PackContents) -> Result<Vec<(Option<BlobId>, String)>> {
    let mut faults = Vec::new();
    for (kind, blob, place) in &pack.blobs {
        if let Err(what) = place.check(*kind) {
            faults.push((Some(*blob), format!("blob {}: {what}", blob.short())));
            continue;
        }
        match vault.blob_at(pack.id, place, blob) {
            Ok(_) => {}
            Err(error) if error.says_damage() => faults.push((Some(*blob), error.to_string())),
            Err(error) => return Err(error),
        }
    }
    Ok(faults)
}

/// What one tree needs.
struct Tree {
    subtrees: Vec<BlobId>,
    verdict: Verdict,
}

/// What a look says: the worse, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Sound,
    /// It could not be looked at.
    Unknown,
    Broken,
}

/// Reads every tree of every snapshot once, and sorts the points into sound and unsound.
fn follow(
    vault: &Arc<Repository>,
    (snapshots, damaged): Listing,
    bad: &Bad,
    unread: &HashSet<FileId>,
    progress: &Progress,
    report: &mut VerifyReport,
) -> Result<()> {
    // Of several places the best counts.
    let verdict = |kind, id: &BlobId| {
        let catalogue = vault.catalogue();
        let packs = catalogue.places(kind, id).filter_map(|place| catalogue.pack(place.pack));
        let of = |pack: FileId| match () {
            () if !bad.is_empty() && bad.contains(&(pack, *id)) => Verdict::Broken,
            () if unread.contains(&pack) => Verdict::Unknown,
            () => Verdict::Sound,
        };
        packs.map(of).min().unwrap_or(Verdict::Broken)
    };
    for error in damaged {
        report.meet(error)?;
    }
    let mut trees: HashMap<BlobId, Tree> = HashMap::new();
    let mut level: Vec<BlobId> = snapshots.iter().map(|(_, snapshot)| snapshot.tree).collect();
    while !level.is_empty() {
        level.sort_unstable_by_key(|id| id.0);
        level.dedup();
        level.retain(|id| !trees.contains_key(id));
        let read = in_lanes(vault.store().lanes(), &level, |id| {
            if progress.is_stopped() {
                return Err(Error::new("verify", Kind::Interrupted));
            }
            let nodes = vault.tree(id)?;
            let mut tree = Tree { subtrees: Vec::new(), verdict: Verdict::Sound };
            let mut missing = Vec::new();
            for node in nodes {
                match &node.kind {
                    NodeKind::Dir { subtree: Some(subtree) } => tree.subtrees.push(*subtree),
                    NodeKind::Dir { subtree: None } => {
                        missing.push(format!("folder {} names no content", shown(&node)));
                    }
                    NodeKind::File { content, .. } => {
                        let blobs = content.iter().map(|blob| (verdict(BlobKind::Data, blob), blob));
                        let Some((worst, blob)) = blobs.max_by_key(|(verdict, _)| *verdict) else { continue };
                        tree.verdict = tree.verdict.max(worst);
                        if worst == Verdict::Broken {
                            missing.push(format!(
                                "file {}: blob {} is missing or damaged",
                                shown(&node),
                                blob.short()
                            ));
                        }
                    }
                    _ => {}
                }
            }
            if !missing.is_empty() {
                tree.verdict = Verdict::Broken;
            }
            Ok((tree, missing))
        });
        let mut next = Vec::new();
        for (id, read) in level.iter().zip(read) {
            let tree = match read {
                Ok((tree, missing)) => {
                    missing.into_iter().for_each(|what| report.find(what));
                    tree
                }
                Err(error) => {
                    if matches!(error.kind, Kind::Archived(_)) {
                        let catalogue = vault.catalogue();
                        let places = catalogue.places(BlobKind::Tree, id);
                        report.archived.extend(places.filter_map(|place| catalogue.pack(place.pack)));
                    }
                    let is_damage = report.meet(error)?;
                    let verdict = if is_damage { Verdict::Broken } else { Verdict::Unknown };
                    Tree { subtrees: Vec::new(), verdict }
                }
            };
            next.extend(tree.subtrees.iter().copied());
            trees.insert(*id, tree);
        }
        level = next;
    }
    let unsound = spread(&trees, Verdict::Broken);
    let unknown = spread(&trees, Verdict::Unknown);
    for (file, snapshot) in snapshots {
        let id = Point::of(0, file, snapshot.clone()).id;
        if unsound.contains(&snapshot.tree) {
            report.find(format!(
                "point {} of {} can't come back whole from this vault alone",
                id, snapshot.time
            ));
            report.unsound.push(id);
        } else if unknown.contains(&snapshot.tree) {
            report.unknown.push(id);
        } else {
            report.sound.push(id);
        }
    }
    Ok(())
}

/// Returns all trees of which so much, or worse, is to be said, or of one below them.
fn spread(trees: &HashMap<BlobId, Tree>, least: Verdict) -> HashSet<BlobId> {
    let mut above: HashMap<BlobId, Vec<BlobId>> = HashMap::new();
    for (id, tree) in trees {
        for subtree in &tree.subtrees {
            above.entry(*subtree).or_default().push(*id);
        }
    }
    let mut stack: Vec<BlobId> =
        trees.iter().filter(|(_, tree)| tree.verdict >= least).map(|(id, _)| *id).collect();
    let mut unsound = HashSet::new();
    while let Some(id) = stack.pop() {
        if unsound.insert(id) {
            stack.extend(above.get(&id).into_iter().flatten());
        }
    }
    unsound
}

fn shown(node: &Node) -> String {
    String::from_utf8_lossy(&node.name).into_owned()
}
