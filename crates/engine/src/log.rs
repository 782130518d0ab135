//! Carries a system's log into its vaults, between two of its points.
//!
//! Files come into a spool on this machine first, from where they go into every vault; one that is in all of them leaves it. In a vault the
//! log is a point of a system of its own, `NAME/log`: each new one holds all of the log that any complete point of the system can need,
//! and takes the place of the one before.

use crate::vaults::Opened;
use crate::{Error, Result};
use jiff::Timestamp;
use plan::{Plan, SystemName, VaultName};
use process::Process;
use source::{Log, LogFile, LogKind, Sentinel};
use state::{Body, Check, Hold, Record, Recovery, State};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vault::backup::{Addition, BackupOptions, append, files_of};
use vault::{
    BlobKind, FileId, FileKind, Holder, LogInfo, Node, NodeKind, Progress, Repository, Snapshot, Stretch,
    Timeline,
};

/// How long another run that carries the same log is waited for.
const OTHER_WITHIN: Duration = Duration::from_secs(60);
/// How much may wait on this machine for a vault that doesn't answer; then what another vault holds goes first.
const SPOOL_MAX: u64 = 16 << 30;
/// For how many more files like the longest there is to be room where they wait; with less, what another vault holds goes too.
const ROOM_FILES: u64 = 4;

/// Behind every position: no point goes on from there.
const NOWHERE: &str = "~";

/// Returns when a recovery has ended the log of a system, if no whole point was made since: nothing that was written after that comes back.
#[must_use]
pub fn ended(plan: &Plan, records: &[Record], name: &SystemName) -> Option<Timestamp> {
    let source = plan.systems.get(name)?.source.as_ref()?;
    if !source.log_ends_with_recovery() {
        return None;
    }
    // By their order and not by their times: a clock may have been set back.
    let last = records.iter().rev().find_map(|record| match &record.body {
        Body::Recovery(recovery) if has_put_back(recovery, name) => Some(Some(record.time)),
        Body::Backup(made) if made.system == name.0 && made.failure.is_none() && made.unread == 0 => {
            Some(None)
        }
        _ => None,
    });
    last.flatten()
}

/// Returns when a recovery of a system ended that went back to an earlier state, if no whole point was made since: what there is of before is left out, so a new one is needed.
#[must_use]
pub fn went_back(records: &[Record], name: &SystemName) -> Option<Timestamp> {
    let last = records.iter().rev().find_map(|record| match &record.body {
        Body::Recovery(recovery) if has_put_back(recovery, name) => {
            Some(has_gone_back(recovery, name).then_some(record.time))
        }
        Body::Backup(made) if made.system == name.0 && made.failure.is_none() && made.unread == 0 => {
            Some(None)
        }
        _ => None,
    });
    last.flatten()
}

/// Returns whether a recovery in place has brought a system back to an earlier state than the newest there was.
#[must_use]
pub fn has_gone_back(recovery: &Recovery, name: &SystemName) -> bool {
    let is_back =
        |system: &Check| system.system == name.0 && system.went_back && system.rta_seconds.is_some();
    !recovery.beside && recovery.systems.iter().any(is_back)
}

/// Returns whether a recovery has put a system's own data back, whatever came after.
#[must_use]
pub fn has_put_back(recovery: &Recovery, name: &SystemName) -> bool {
    let is_back = |system: &Check| {
        system.system == name.0 && (system.restore_seconds > 0.0 || system.rta_seconds.is_some())
    };
    !recovery.beside && recovery.systems.iter().any(is_back)
}

/// Returns whether the newest point lies behind all that is missing in a log: what came before it concerns older points alone.
fn is_closed(log: &LogInfo, newest_point: Option<&str>) -> bool {
    log.from != NOWHERE && newest_point.is_some_and(|position| position >= log.from.as_str())
}

/// Carries the log of one system.
pub struct Carrier<'a> {
    name: SystemName,
    log: &'a dyn Log,
    /// Where files wait.
    spool: PathBuf,
    holder: Holder,
    /// This process.
    run: Process,
    /// What is known of vaults into which nothing is being carried right now.
    seen: Mutex<BTreeMap<VaultName, Seen>>,
    /// The newest sentinel that was committed, as a log says it.
    sentinel: Mutex<Option<(u32, u64)>>,
}

/// What is known of the log in one vault.
struct Seen {
    /// The names of all snapshots: what was seen is right as long as these are there.
    snapshots: BTreeSet<String>,
    newest: Option<(FileId, Snapshot)>,
    /// With their lengths.
    files: BTreeMap<PathBuf, u64>,
    /// Where the earliest complete point of the system begins; files before are needed by none.
    oldest: Option<String>,
    /// Where the newest one lies in the log, as it says itself: a gap before it costs nothing any more.
    newest_point: Option<String>,
    /// How many packs were gone then: what they held of the log is none of its files.
    gone: u64,
    /// The newest snapshot names files that are not whole in the vault.
    is_broken: bool,
}

/// What was carried.
#[derive(Debug, Default)]
pub struct Carried {
    /// Files that were carried into some vault.
    pub files: u64,
    /// Those of them that are whole: by them the log has gone on.
    pub whole: u64,
    /// Bytes that were written for them.
    pub bytes: u64,
    /// The vaults that hold all there is now.
    pub vaults: Vec<VaultName>,
    /// Why the others don't.
    pub failures: Vec<(VaultName, Error)>,
    /// The first file that is missing in the log behind the newest point, if one is: a whole point that was made since closes a gap.
    pub missing: Option<String>,
    /// Bytes that still wait on this machine.
    pub waiting: u64,
}

/// A file in the spool.
struct Waiting {
    file: LogFile,
    path: PathBuf,
    bytes: u64,
}

impl<'a> Carrier<'a> {
    /// Returns a carrier of the log of a system, of which its source says what a `log` says, that hasn't looked anywhere yet. Files wait in
    /// `spool`; `run` is this process.
    pub fn new(name: SystemName, log: &'a dyn Log, spool: PathBuf, holder: Holder, run: Process) -> Self {
        Self { name, log, spool, holder, run, seen: Mutex::default(), sentinel: Mutex::default() }
    }

    /// Takes note of a sentinel that was committed: whatever `until` is said from now on, it was before.
    pub fn note_sentinel(&self, sentinel: Sentinel) {
        *lock(&self.sentinel) = Some((sentinel.history, sentinel.number));
    }

    /// Carries what is in the spool into these vaults, side by side. Everything that was committed by `until` is in it, as far as anybody
    /// could tell; the first of it, if nothing ever came, will be `from`.
    pub fn carry(
        &self,
        vaults: &[Opened],
        state: &State,
        until: Option<Timestamp>,
        from: Option<&str>,
        now: Timestamp,
    ) -> Result<Carried> {
        let names: Vec<VaultName> = vaults.iter().map(|opened| opened.name.clone()).collect();
        let all: Vec<Result<Carried>> = std::thread::scope(|scope| {
            let carry = |vault| self.carry_into(vault, &names, state, until, from, now);
            let threads: Vec<_> = vaults.iter().map(|vault| scope.spawn(move || carry(vault))).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let mut carried = Carried { waiting: u64::MAX, ..Carried::default() };
        for one in all {
            let one = one?;
            carried.files = carried.files.max(one.files);
            carried.whole = carried.whole.max(one.whole);
            carried.bytes += one.bytes;
            carried.vaults.extend(one.vaults);
            carried.failures.extend(one.failures);
            carried.missing = carried.missing.or(one.missing);
            // The last of them has let most of it go.
            carried.waiting = carried.waiting.min(one.waiting);
        }
        Ok(carried)
    }

    /// Carries what is in the spool into one vault, whatever becomes of the others: may be called for several at a time. What all of
    /// `names` hold leaves the spool.
    pub fn carry_into(
        &self,
        vault: &Opened,
        names: &[VaultName],
        state: &State,
        until: Option<Timestamp>,
        from: Option<&str>,
        now: Timestamp,
    ) -> Result<Carried> {
        let mut carried = Carried::default();
        // Two at once would each take the place of the same log, and one of them lose what the other has added.
        let alone = format!("{}@{}", self.name.log(), vault.name);
        let alone = state.lease_run_within(&alone, &self.run, OTHER_WITHIN, Timestamp::now)?;
        let _alone = alone.map_err(|other| Error::new(format!("its log is being carried by {other}")))?;
        let waiting = self.waiting()?;
        // Out of the others' sight meanwhile: what isn't known to be in this vault stays where it is.
        let known = lock(&self.seen).remove(&vault.name);
        let carrying = Carrying { until, from, now, state };
        let done = vault.repository.clone().and_then(|repository| {
            let mut seen = self.look(known, &repository)?;
            self.append_to(&vault.name, &repository, &mut seen, &waiting, &carrying, &mut carried)?;
            Ok(seen)
        });
        match done {
            Ok(seen) => {
                lock(&self.seen).insert(vault.name.clone(), seen);
                carried.vaults.push(vault.name.clone());
            }
            // What it holds now is for the next look to find out.
            Err(error) => carried.failures.push((vault.name.clone(), error)),
        }
        self.let_go(&waiting, names, &mut carried);
        Ok(carried)
    }

    /// Returns the name of the newest file of the log that all vaults hold that were looked into, or the position from where on one needs it.
    pub fn held(&self) -> Option<String> {
        let held = |seen: &Seen| {
            let positions = seen.files.keys().filter_map(|path| match self.file_at(path)?.kind {
                LogKind::Whole(position) | LogKind::Partial(position) => {
                    Some((position, path.file_name()?.to_str()?.to_owned()))
                }
                LogKind::Always => None,
            });
            let needed = || seen.oldest.clone().map(|oldest| (oldest.clone(), oldest));
            positions.max().or_else(needed)
        };
        lock(&self.seen).values().filter_map(held).min().map(|(_, name)| name)
    }

    /// Returns what the file at a path is to the log: its name says it, wherever it lies.
    fn file_at(&self, path: &Path) -> Option<LogFile> {
        self.log.file(path.file_name()?.to_str()?)
    }

    /// Returns what is in the spool.
    fn waiting(&self) -> Result<Vec<Waiting>> {
        let wrong = |error| Error::new(format!("read {}: {error}", self.spool.display()));
        let mut waiting = Vec::new();
        for entry in std::fs::read_dir(&self.spool).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let Some(file) = self.file_at(&entry.path()) else { continue };
            // One that was just finished has another name by now.
            let Ok(meta) = entry.metadata() else { continue };
            waiting.push(Waiting { file, path: entry.path(), bytes: meta.len() });
        }
        // A listing is no set.
        waiting.sort_by(|a, b| a.path.cmp(&b.path));
        waiting.dedup_by(|a, b| a.path == b.path);
        Ok(waiting)
    }

    /// Makes sure that it is known what a vault holds.
    fn look(&self, known: Option<Seen>, vault: &Repository) -> Result<Seen> {
        let listed = vault.store().list(FileKind::Snapshot)?;
        let listed: BTreeSet<String> = listed.into_iter().map(|listed| listed.name).collect();
        let gone = vault.look_for_packs_seldom();
        if let Some(known) = known.filter(|known| known.snapshots == listed && known.gone == gone) {
            return Ok(known);
        }
        // Whoever wrote them may have come after this vault was opened.
        vault.refresh_index()?;
        let (snapshots, _) = vault.snapshots()?;
        let of = |snapshot: &Snapshot, system: &str| snapshot.tag("system") == Some(system);
        let points =
            snapshots.iter().filter(|(_, snapshot)| of(snapshot, &self.name.0) && snapshot.is_complete());
        // One that doesn't say where it begins can't be rolled forward, and needs none of it.
        let positions = points.filter_map(|(_, snapshot)| snapshot.releve.as_ref()?.position.as_ref());
        let newest_point = positions.clone().next_back().cloned();
        let oldest = positions.min();
        let oldest = oldest.and_then(|oldest| oldest.split('@').next()).map(str::to_owned);
        let log = self.name.log();
        let newest = snapshots.into_iter().rev().find(|(_, snapshot)| of(snapshot, &log));
        let (files, is_broken) = match &newest {
            Some((_, snapshot)) => whole_files(vault, snapshot)?,
            None => (BTreeMap::new(), false),
        };
        let gone = vault.packs_gone();
        Ok(Seen { snapshots: listed, newest, files, oldest, newest_point, gone, is_broken })
    }

    /// Adds to the log in a vault what it lacks.
    fn append_to(
        &self,
        name: &VaultName,
        vault: &Arc<Repository>,
        seen: &mut Seen,
        waiting: &[Waiting],
        carrying: &Carrying<'_>,
        carried: &mut Carried,
    ) -> Result<()> {
        // What the vault can need stays in it.
        let oldest = seen.oldest.as_ref();
        let had = &seen.files;
        let mut whole: BTreeSet<&str> = BTreeSet::new();
        let there: Vec<LogFile> = had.keys().filter_map(|path| self.file_at(path)).collect();
        for file in there.iter().chain(waiting.iter().map(|waiting| &waiting.file)) {
            if let LogKind::Whole(position) = &file.kind {
                whole.insert(position);
            }
        }
        let needed = |file: &LogFile| match &file.kind {
            LogKind::Always => true,
            LogKind::Whole(position) => oldest.is_none_or(|oldest| position >= oldest),
            // A whole one has taken its place.
            LogKind::Partial(position) => !whole.contains(position.as_str()),
        };
        let newest = waiting.iter().filter_map(Waiting::position).max();
        let is_new = |waiting: &&Waiting| {
            // It may have another content without being longer.
            let may_differ = matches!(waiting.file.kind, LogKind::Partial(_)) && waiting.position() == newest;
            needed(&waiting.file) && (may_differ || had.get(&waiting.file.path) != Some(&waiting.bytes))
        };
        let additions: Vec<&Waiting> = waiting.iter().filter(is_new).collect();
        let keeps =
            |path: &Path| had.contains_key(path) && self.file_at(path).is_some_and(|file| needed(&file));
        let mut files: BTreeMap<PathBuf, u64> =
            had.iter().filter(|(path, _)| keeps(path)).map(|(path, bytes)| (path.clone(), *bytes)).collect();
        files.extend(additions.iter().map(|waiting| (waiting.file.path.clone(), waiting.bytes)));
        let before = seen.newest.as_ref().and_then(|(_, snapshot)| snapshot.releve.as_ref()?.log.as_ref());
        // As long as nothing has come, only this says where it begins.
        let known = before.map(|before| before.from.as_str()).filter(|from| *from != NOWHERE);
        let begins = known.or(carrying.from).filter(|_| had.is_empty());
        // A server may hand over more than any point needs: that it isn't kept is no gap.
        let begins = begins.map(|from| oldest.map_or(from, |oldest| from.max(oldest.as_str())));
        let begins = begins.filter(|_| !seen.is_broken || !files.is_empty());
        // What one promised of which parts are gone, nobody can keep.
        let sure = before.filter(|_| !seen.is_broken);
        let mut info = self.info(&files, begins);
        info.until = carrying.until.max(sure.and_then(|before| before.until));
        let promised = carrying.until.and(*lock(&self.sentinel));
        info.sentinel = promised.max(sure.and_then(|before| before.sentinel));
        info.timelines = self.timelines(waiting, before, &files);
        for stretch in &mut info.earlier {
            // Until when all is in it was known as long as it was the newest.
            let ended = sure.filter(|before| before.from == stretch.from).map(|before| before.until);
            let known =
                sure.and_then(|before| before.earlier.iter().find(|known| known.from == stretch.from));
            stretch.until = ended.or(known.map(|known| known.until)).flatten();
        }
        let is_closed = is_closed(&info, seen.newest_point.as_deref());
        let missing = info.missing.clone().filter(|_| !is_closed);
        carried.missing = carried.missing.take().or(missing);
        let says_nothing = match before {
            Some(before) => before.until >= info.until && before.from == info.from,
            None => begins.is_none(),
        };
        if additions.is_empty() && says_nothing && !seen.is_broken {
            return Ok(());
        }
        // Of one that has nothing whole not even the folders may be readable.
        let parent = seen.newest.as_ref().filter(|_| !had.is_empty() || !seen.is_broken);
        let parent = parent.map(|(_, snapshot)| snapshot.clone());
        let added: Vec<Addition> = additions
            .iter()
            .map(|waiting| Addition { path: waiting.file.path.clone(), file: waiting.path.clone() })
            .collect();
        let whole = additions.iter().filter(|waiting| matches!(waiting.file.kind, LogKind::Whole(_)));
        let whole = whole.count() as u64;
        let options = self.options(carrying.now)?;
        let progress = Progress::default();
        let vaults = std::slice::from_ref(vault);
        let (snapshot, written) = append(vaults, parent.as_ref(), &keeps, &added, &options, info, &progress)?;
        carried.files += added.len() as u64;
        carried.whole += whole;
        for written in written {
            let written = written?;
            carried.bytes += written.bytes;
            carrying.note(name, written.snapshot, &snapshot);
            seen.files.clone_from(&files);
            seen.snapshots.insert(written.snapshot.to_string());
            // What is not whole here may be brought back by a repair.
            let was_broken = std::mem::take(&mut seen.is_broken);
            if let Some((before, of)) = seen.newest.replace((written.snapshot, snapshot.clone()))
                && !was_broken
                && carrying.remove(name, vault, before, of.time)
            {
                seen.snapshots.remove(&before.to_string());
            }
        }
        Ok(())
    }

    fn options(&self, now: Timestamp) -> Result<BackupOptions> {
        Ok(BackupOptions {
            point: vault::new_point_id()?,
            system: self.name.log(),
            source: "log".into(),
            time: now,
            paths: vec![format!("/{}", self.name.log())],
            excludes: Vec::new(),
            holder: self.holder.clone(),
            parent: None,
            threads: 0,
            doubts: Vec::new(),
        })
    }

    /// Returns from where on nothing is missing in these files, the first of which should be the one at `begins`.
    fn info(&self, files: &BTreeMap<PathBuf, u64>, begins: Option<&str>) -> LogInfo {
        let mut positions: BTreeMap<String, (bool, u64)> = BTreeMap::new();
        for (path, bytes) in files {
            match self.file_at(path).map(|file| file.kind) {
                Some(LogKind::Whole(position)) => _ = positions.insert(position, (true, *bytes)),
                Some(LogKind::Partial(position)) => _ = positions.entry(position).or_insert((false, *bytes)),
                _ => {}
            }
        }
        let mut info = LogInfo { from: begins.unwrap_or(NOWHERE).to_owned(), ..LogInfo::default() };
        let mut before: Option<(String, Option<u64>)> = None;
        for (position, (is_whole, bytes)) in positions {
            let missing = match &before {
                Some((before, whole)) => self.log.gap(before, *whole, &position),
                // What came from before where it should begin is no gap.
                None => begins.filter(|begins| **begins < *position).map(str::to_owned),
            };
            if before.is_none() || missing.is_some() {
                if let Some((before, _)) = before.filter(|_| self.log.ends_at_gap()) {
                    let from = std::mem::take(&mut info.from);
                    info.earlier.push(Stretch { from, to: before, until: None });
                }
                info.from.clone_from(&position);
                info.missing = missing;
            }
            before = Some((position, is_whole.then_some(bytes)));
        }
        info
    }

    /// Returns the histories that are known: those of before, and those that files in the spool tell of.
    fn timelines(
        &self,
        waiting: &[Waiting],
        before: Option<&LogInfo>,
        files: &BTreeMap<PathBuf, u64>,
    ) -> Vec<Timeline> {
        let mut timelines = before.map(|before| before.timelines.clone()).unwrap_or_default();
        let is_position =
            |path: &Path| self.file_at(path).is_some_and(|file| !matches!(file.kind, LogKind::Always));
        let Some((_, bytes)) = files.iter().find(|(path, _)| is_position(path)) else { return timelines };
        for waiting in waiting.iter().filter(|waiting| waiting.position().is_none()) {
            let name = waiting.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Ok(text) = std::fs::read_to_string(&waiting.path) else { continue };
            let Some((number, path)) = self.log.history(name, &text, *bytes) else { continue };
            if timelines.iter().all(|known| known.number != number) {
                let begun = std::fs::metadata(&waiting.path).and_then(|meta| meta.modified()).ok();
                let begun = begun.and_then(|begun| Timestamp::try_from(begun).ok());
                timelines.push(Timeline { number, begun, path });
            }
        }
        timelines.sort_by_key(|timeline| timeline.number);
        timelines
    }

    /// Lets go of what every vault has. What was received last stays: from there it goes on.
    fn let_go(&self, waiting: &[Waiting], names: &[VaultName], carried: &mut Carried) {
        let newest = waiting.iter().filter_map(|waiting| waiting.position()).max();
        let has = |seen: &Seen, file: &Waiting| {
            let passed = seen
                .oldest
                .as_deref()
                .zip(file.position())
                .is_some_and(|(oldest, position)| position < oldest);
            passed || seen.files.get(&file.file.path) == Some(&file.bytes)
        };
        let known = lock(&self.seen);
        let seen = || names.iter().map(|name| known.get(name));
        let mut stays: Vec<&Waiting> = Vec::new();
        for file in waiting {
            let is_last = file.position().is_none_or(|position| Some(position) == newest);
            let is_partial = matches!(file.file.kind, LogKind::Partial(_));
            let everywhere = seen().all(|seen| seen.is_some_and(|seen| has(seen, file)));
            if is_last || is_partial || !everywhere || std::fs::remove_file(&file.path).is_err() {
                stays.push(file);
            }
        }
        stays.sort_by(|a, b| a.position().cmp(&b.position()));
        carried.waiting = stays.iter().map(|file| file.bytes).sum();
        // Where no more comes in, nothing reaches the vaults that do answer either.
        let longest = waiting.iter().map(|file| file.bytes).max().unwrap_or_default();
        let free = crate::room::room_at(&self.spool).map_or(u64::MAX, |room| room.free);
        let mut short = (longest * ROOM_FILES).saturating_sub(free);
        for file in stays {
            let somewhere = seen().flatten().any(|seen| has(seen, file));
            let is_last = file.position().is_none_or(|position| Some(position) == newest);
            if (carried.waiting > SPOOL_MAX || short > 0)
                && somewhere
                && !is_last
                && std::fs::remove_file(&file.path).is_ok()
            {
                carried.waiting -= file.bytes;
                short = short.saturating_sub(file.bytes);
            }
        }
    }
}

impl Waiting {
    fn position(&self) -> Option<&str> {
        match &self.file.kind {
            LogKind::Whole(position) | LogKind::Partial(position) => Some(position),
            LogKind::Always => None,
        }
    }
}

/// What is behind our mutexes is right between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the files of a log that are whole in a vault, with their lengths, and whether there are others.
fn whole_files(vault: &Repository, log: &Snapshot) -> Result<(BTreeMap<PathBuf, u64>, bool)> {
    let listed = files_of(vault, &log.tree).or_else(|error| {
        if !error.says_damage() {
            return Err(error);
        }
        // Somebody may have moved it since the indexes were read.
        vault.load_index()?;
        files_of(vault, &log.tree)
    });
    let all = match listed {
        Ok(all) => all,
        Err(error) if error.says_damage() => return Ok((BTreeMap::new(), true)),
        Err(error) => return Err(error.into()),
    };
    let is_whole = |node: &Node| match &node.kind {
        NodeKind::File { content, .. } => content.iter().all(|id| vault.has(BlobKind::Data, id)),
        _ => true,
    };
    let count = all.len();
    let whole = all.into_iter().filter(|(_, node)| is_whole(node));
    let files: BTreeMap<PathBuf, u64> = whole.map(|(path, node)| (path, node.size())).collect();
    let is_broken = files.len() < count;
    Ok((files, is_broken))
}

/// Returns whether a log that was made at `time`, and is held whole by a newer one, may go although something is held. A recovery that broke off may need
/// what was there when it began, and nothing that came later; what a person holds, or was held after an attack, is for him to release.
fn may_go(holds: &[Hold], time: Timestamp) -> bool {
    holds.iter().all(|hold| hold.ends_by_itself() && time > hold.since)
}

/// What one run carries besides the files.
struct Carrying<'a> {
    until: Option<Timestamp>,
    from: Option<&'a str>,
    now: Timestamp,
    state: &'a State,
}

impl Carrying<'_> {
    /// Notes what was written: whoever misses it later knows that it was there.
    fn note(&self, vault: &VaultName, file: FileId, snapshot: &Snapshot) {
        let point = snapshot.tag("point").unwrap_or_default();
        let identity = format!("{point} {} {}", snapshot.tree, snapshot.time);
        let system = snapshot.tag("system");
        let _ = self.state.saw_written(&vault.0, &file.to_string(), &identity, system, self.now);
    }

    /// Removes the log that another holds whole by now, made at `time`. One that stays, since it can't or mustn't go, goes when the vault is pruned.
    fn remove(&self, name: &VaultName, vault: &Repository, file: FileId, time: Timestamp) -> bool {
        let file = file.to_string();
        // In this order: what is there and was forgotten is just seen anew.
        self.state.holds().is_ok_and(|holds| may_go(&holds, time))
            && self.state.unsee(&name.0, &file).is_ok()
            && vault.store().remove(FileKind::Snapshot, &file).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::{BinaryLog, MariadbSource, PostgresSource, Source, System};
    use state::Made;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn plan(source: Source) -> Plan {
        let system = System { source: Some(source), ..System::default() };
        Plan { systems: [("shop".into(), system)].into(), ..Plan::default() }
    }

    fn streamed() -> Plan {
        plan(Source::Mariadb(MariadbSource { log: BinaryLog::Stream, ..MariadbSource::default() }))
    }

    fn records(bodies: Vec<Body>) -> Vec<Record> {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        for (second, body) in (1..).zip(bodies) {
            state.append(body, at(second)).unwrap();
        }
        state.records().unwrap()
    }

    fn made(failure: Option<&str>, unread: u64) -> Body {
        let failure = failure.map(str::to_owned);
        Body::Backup(Made { system: "shop".into(), failure, unread, ..Made::default() })
    }

    fn recovery(restore_seconds: f64, beside: bool) -> Body {
        let check = Check { system: "shop".into(), restore_seconds, ..Check::default() };
        Body::Recovery(Recovery { beside, systems: vec![check], ..Recovery::default() })
    }

    #[test]
    fn a_recovery_of_mariadb_ends_its_log_until_the_next_whole_point() {
        let name = SystemName::from("shop");
        let now = |bodies| ended(&streamed(), &records(bodies), &name);
        assert_eq!(now(vec![made(None, 0)]), None);
        assert_eq!(now(vec![made(None, 0), recovery(1.0, false)]), Some(at(2)));
        assert_eq!(now(vec![recovery(1.0, false), made(Some("no"), 0), made(None, 1)]), Some(at(1)));
        assert_eq!(now(vec![recovery(1.0, false), made(None, 0)]), None);
        // Beside, and before anything was put back, nothing becomes of it.
        assert_eq!(now(vec![made(None, 0), recovery(1.0, true), recovery(0.0, false)]), None);
    }

    #[test]
    fn a_recovery_that_went_back_asks_for_a_point_until_there_is_one() {
        let back = |went_back, rta_seconds, beside| {
            let check = Check {
                system: "shop".into(),
                restore_seconds: 1.0,
                rta_seconds,
                went_back,
                ..Check::default()
            };
            Body::Recovery(Recovery { beside, systems: vec![check], ..Recovery::default() })
        };
        let now = |bodies| went_back(&records(bodies), &"shop".into());
        assert_eq!(now(vec![made(None, 0), back(true, Some(1.0), false)]), Some(at(2)));
        assert_eq!(now(vec![back(true, Some(1.0), false), made(Some("no"), 0), made(None, 1)]), Some(at(1)));
        assert_eq!(now(vec![back(true, Some(1.0), false), made(None, 0)]), None);
        // To the newest, beside, or not back.
        for other in [back(false, Some(1.0), false), back(true, Some(1.0), true), back(true, None, false)] {
            assert_eq!(now(vec![made(None, 0), other]), None);
        }
    }

    #[test]
    fn postgresql_goes_on_in_a_history_of_its_own() {
        let postgres = plan(Source::Postgres(PostgresSource::default()));
        assert_eq!(ended(&postgres, &records(vec![recovery(1.0, false)]), &"shop".into()), None);
    }

    #[test]
    fn a_gap_is_closed_by_a_point_that_lies_behind_it_and_by_no_other() {
        let log = |from: &str| LogInfo { from: from.into(), missing: Some("3".into()), ..LogInfo::default() };
        assert!(is_closed(&log("4"), Some("4@1")) && is_closed(&log("4"), Some("5@1")));
        assert!(!is_closed(&log("4"), Some("2@1")) && !is_closed(&log("4"), None));
        assert!(!is_closed(&log(NOWHERE), Some("5@1")), "nothing of it has come yet");
    }

    #[test]
    fn a_log_that_was_replaced_since_a_recovery_broke_off_may_go_and_what_was_there_before_stays() {
        let hold = |systems: &[&str], after_attack| Hold {
            since: at(10),
            reason: String::new(),
            systems: systems.iter().map(ToString::to_string).collect(),
            after_attack,
        };
        assert!(may_go(&[], at(1)));
        assert!(may_go(&[hold(&["shop"], false)], at(11)));
        assert!(!may_go(&[hold(&["shop"], false)], at(10)));
        assert!(!may_go(&[hold(&["shop"], true)], at(11)));
        assert!(!may_go(&[hold(&["shop"], false), hold(&[], false)], at(11)));
    }
}
