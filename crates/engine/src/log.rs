//! Carries a system's log into its vaults, between two of its points.
//!
//! Files come into a spool on this machine first, from where they go into every vault; one that is in all of them leaves it. In a vault the
//! log is a point of a system of its own, `NAME/log`: each new one holds all of the log that any complete point of the system can need,
//! and takes the place of the one before.
//!
//! A database that was made anew in the place of another writes files of the same names. So what is carried goes by the identity of who wrote it: each
//! has a log of its own, and in it a file of a name that is there stays what it is.

mod alone;
mod carrying;
mod cluster;
mod ended;
mod hands;
mod held;
mod kept;
mod needs;
mod stands;

use carrying::Carrying;
pub(crate) use cluster::stranger;
use cluster::{BEFORE, HEAD_BYTES, LIVING};
pub use cluster::{identity_of, is_another, is_behind, is_refused, living, settle, spooled};
pub use ended::{ended, has_gone_back, has_put_back, went_back};
pub(crate) use kept::is_to_come;
use kept::{believed, is_closed, passed};
use needs::Needs;
pub(crate) use stands::against_kept;

use crate::vaults::Opened;
use crate::{Error, Result};
use jiff::Timestamp;
use plan::{Plan, SystemName, VaultName};
use process::Process;
use source::{LEFT_BEHIND, Log, LogFile, LogKind, Sentinel};
use state::{Body, Check, Hold, Record, Recovery, State};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use vault::backup::{Addition, BackupOptions, append, files_of, is_same};
use vault::{
    BlobKind, FileId, FileKind, Holder, LogInfo, Node, NodeKind, Passage, PointInfo, Progress, Repository,
    Snapshot, Stretch, Timeline,
};

/// How long another run that carries the same log is waited for.
const OTHER_WITHIN: Duration = Duration::from_secs(60);
/// How much may wait on this machine for a vault that doesn't answer; then what another vault holds goes first.
const SPOOL_MAX: u64 = 16 << 30;
/// For how many more files like the longest there is to be room where they wait; with less, what another vault holds goes too.
const ROOM_FILES: u64 = 4;

/// How often a spool is listed at most, until two listings agree.
const LISTED_AT_MOST: usize = 5;

/// Behind every position: no point goes on from there.
const NOWHERE: &str = "~";

/// Carries the log of one system.
pub struct Carrier<'a> {
    name: SystemName,
    log: &'a dyn Log,
    /// Where files wait.
    spool: PathBuf,
    holder: Holder,
    /// The folder of the key that signs what is carried, if that is to be signed.
    keys: Option<PathBuf>,
    /// This process.
    run: Process,
    /// What is known of vaults into which nothing is being carried right now.
    seen: Mutex<BTreeMap<VaultName, Seen>>,
    /// The newest sentinel that was committed, as a log says it.
    sentinel: Mutex<Option<(u32, u64)>>,
    /// Whether files in the spool are what a vault holds under their names, where that was looked at.
    same: Mutex<BTreeMap<InSpool, bool>>,
}

/// A file in the spool as it was when it was compared with what a vault holds of one system: the vault, the system, its path, and when it was written last.
type InSpool = (VaultName, Option<String>, PathBuf, Option<SystemTime>);

/// What is known of the log in one vault.
struct Seen {
    /// The names of all snapshots: what was seen is right as long as these are there.
    snapshots: BTreeSet<String>,
    /// How many packs were gone then: what they held of the log is none of its files.
    gone: u64,
    /// The log of each of those whose files wait, by their identity.
    logs: BTreeMap<Option<String>, Held>,
}

/// What a vault holds of the log that one system wrote.
#[derive(Default)]
struct Held {
    newest: Option<(FileId, Snapshot)>,
    /// With their lengths.
    files: BTreeMap<PathBuf, u64>,
    /// Where the earliest complete point of that system begins; files before are needed by none.
    oldest: Option<String>,
    /// Where the newest one lies in the log, as it says itself: a gap before it costs nothing any more.
    newest_point: Option<String>,
    /// The newest snapshot names files that are not whole in the vault.
    is_broken: bool,
    /// There are points in the vault, and none of them is of this system.
    is_another: bool,
    /// Nothing of its log is there yet, and something of another's.
    is_later: bool,
    looked: stands::Looked,
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
    /// Since when the system is another one than the points are of, if it is.
    pub another: Option<Timestamp>,
    /// Files that wait here and are not what the vault holds under their names: which of the two is right, nobody knows.
    pub refused: Vec<String>,
    /// Files that wait here and have less than the vault holds under their names, which stays.
    pub behind: Vec<String>,
    /// Bytes that still wait on this machine.
    pub waiting: u64,
}

/// What waits in the spool of the log of one system.
struct Group {
    identity: Option<String>,
    /// Another has taken its place.
    is_former: bool,
    files: Vec<Waiting>,
}

/// A file in the spool.
struct Waiting {
    file: LogFile,
    path: PathBuf,
    bytes: u64,
    /// It was put away: another system has taken the place of the one that wrote it, or its server has left the history that it is of.
    is_away: bool,
    /// The file itself, where it gets another name once it is finished: under a busy server that is often before it was carried.
    open: Option<File>,
}

impl<'a> Carrier<'a> {
    /// Returns a carrier of the log of a system, of which its source says what a `log` says, that hasn't looked anywhere yet. Files wait in
    /// `spool`; `run` is this process.
    pub fn new(name: SystemName, log: &'a dyn Log, spool: PathBuf, holder: Holder, run: Process) -> Self {
        Self {
            name,
            log,
            spool,
            holder,
            keys: None,
            run,
            seen: Mutex::default(),
            sentinel: Mutex::default(),
            same: Mutex::default(),
        }
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
            carried.another = carried.another.max(one.another);
            carried.refused.extend(one.refused);
            carried.behind.extend(one.behind);
            // The last of them has let most of it go.
            carried.waiting = carried.waiting.min(one.waiting);
        }
        for told in [&mut carried.refused, &mut carried.behind] {
            told.sort();
            told.dedup();
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
        let _alone = self.alone(&vault.name, state, OTHER_WITHIN)?;
        let waiting = self.waiting()?;
        // Out of the others' sight meanwhile: what isn't known to be in this vault stays where it is.
        let known = lock(&self.seen).remove(&vault.name);
        let carrying = Carrying { until, from, now, state };
        let done = vault.repository.clone().and_then(|repository| {
            let mut seen = self.look((names, state), known, &repository, &waiting)?;
            for group in &waiting {
                self.append_to(&vault.name, &repository, &mut seen, group, &carrying, &mut carried)?;
            }
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
        for group in &waiting {
            self.let_go(group, names, &mut carried);
        }
        Ok(carried)
    }

    /// Returns the name of the newest file of the log that all vaults hold that were looked into, or the position from where on one needs it.
    pub fn held(&self) -> Option<String> {
        let living = living(&self.spool);
        let held = |seen: &Seen| {
            let log = seen.logs.get(&living)?;
            let positions = log.files.keys().filter_map(|path| match self.file_at(path)?.kind {
                LogKind::Whole(position) | LogKind::Partial(position) => {
                    Some((position, path.file_name()?.to_str()?.to_owned()))
                }
                LogKind::Always => None,
            });
            let needed = || log.oldest.clone().map(|oldest| (oldest.clone(), oldest));
            positions.max().or_else(needed)
        };
        lock(&self.seen).values().filter_map(held).min().map(|(_, name)| name)
    }

    /// Returns what the file at a path is to the log: its name says it, wherever it lies.
    fn file_at(&self, path: &Path) -> Option<LogFile> {
        self.log.file(path.file_name()?.to_str()?)
    }

    /// Returns what is in the spool, by who wrote it; last of all what is of the system that is there now, be it nothing yet.
    fn waiting(&self) -> Result<Vec<Group>> {
        let mut found: BTreeMap<Option<String>, Vec<Waiting>> = BTreeMap::new();
        let here = self.waiting_in(&self.spool)?;
        let mut dated: Vec<(Option<SystemTime>, Option<String>, Waiting)> = Vec::new();
        for waiting in here {
            let modified = fs::metadata(&waiting.path).and_then(|meta| meta.modified()).ok();
            dated.push((modified, identity_of(self.log, &waiting.path), waiting));
        }
        let newest = dated.iter().filter(|(_, of, _)| of.is_some()).max_by_key(|(modified, _, _)| *modified);
        let living = living(&self.spool).or_else(|| newest.and_then(|(_, of, _)| of.clone()));
        found.insert(living.clone(), Vec::new());
        for (_, of, waiting) in dated {
            found.entry(of.or_else(|| living.clone())).or_default().push(waiting);
        }
        // What the server has left is what somebody wants who finds that he went back too far.
        for waiting in self.waiting_in(&self.spool.join(LEFT_BEHIND))? {
            let of = identity_of(self.log, &waiting.path).or_else(|| living.clone());
            found.entry(of).or_default().push(waiting);
        }
        let wrong = |error| Error::new(format!("read {}: {error}", self.spool.display()));
        for entry in fs::read_dir(&self.spool).map_err(wrong)? {
            let name = entry.map_err(wrong)?.file_name();
            let Some(of) = name.to_str().and_then(|name| name.strip_prefix(BEFORE)) else { continue };
            let files = self.waiting_in(&self.spool.join(&name))?;
            found.entry(Some(of.to_owned())).or_default().extend(files);
        }
        let mut groups = Vec::new();
        for (identity, mut files) in found {
            // A listing is no set; what lies in the spool itself comes before what was put away.
            files.sort_by(|a, b| (&a.file.path, a.is_away).cmp(&(&b.file.path, b.is_away)));
            files.dedup_by(|a, b| a.file.path == b.file.path);
            let is_former = identity != living;
            if !is_former || !files.is_empty() {
                groups.push(Group { identity, is_former, files });
            }
        }
        groups.sort_by_key(|group| !group.is_former);
        Ok(groups)
    }

    /// Returns the files of the log in one folder of the spool.
    fn waiting_in(&self, folder: &Path) -> Result<Vec<Waiting>> {
        // One that gets its last name meanwhile may be listed under neither: then the log would have a gap in the vaults until it is carried again.
        let mut found = self.listed_in(folder)?;
        for _ in 1..LISTED_AT_MOST {
            let again = self.listed_in(folder)?;
            let is_same =
                again.iter().map(|waiting| &waiting.path).eq(found.iter().map(|waiting| &waiting.path));
            found = again;
            if is_same {
                break;
            }
        }
        Ok(found)
    }

    /// Returns what one listing of a folder gives, by path.
    fn listed_in(&self, folder: &Path) -> Result<Vec<Waiting>> {
        let wrong = |error| Error::new(format!("read {}: {error}", folder.display()));
        let mut waiting = Vec::new();
        let entries = match fs::read_dir(folder) {
            // All that was in it is in the vaults.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder != self.spool => {
                return Ok(waiting);
            }
            other => other.map_err(wrong)?,
        };
        for entry in entries {
            let entry = entry.map_err(wrong)?;
            let Some(file) = self.file_at(&entry.path()) else { continue };
            // One that was just finished has another name by now.
            let Ok(meta) = entry.metadata() else { continue };
            let open = match file.kind {
                LogKind::Partial(_) => File::open(entry.path()).ok(),
                _ => None,
            };
            let bytes = open.as_ref().and_then(|open| open.metadata().ok()).unwrap_or(meta).len();
            waiting.push(Waiting { file, path: entry.path(), bytes, is_away: folder != self.spool, open });
        }
        waiting.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(waiting)
    }

    /// Makes sure that it is known what a vault holds.
    fn look(
        &self,
        of: (&[VaultName], &State),
        known: Option<Seen>,
        vault: &Repository,
        groups: &[Group],
    ) -> Result<Seen> {
        let listed = vault.store().list(FileKind::Snapshot)?;
        let listed: BTreeSet<String> = listed.into_iter().map(|listed| listed.name).collect();
        let gone = vault.look_for_packs_seldom();
        let is_right = |known: &Seen| {
            known.snapshots == listed
                && known.gone == gone
                && groups.iter().all(|group| known.logs.contains_key(&group.identity))
        };
        let mut before = match known {
            Some(known) if is_right(&known) => return Ok(known),
            known => known.map(|known| known.logs).unwrap_or_default(),
        };
        // Whoever wrote them may have come after this vault was opened.
        vault.refresh_index()?;
        let (mut snapshots, _) = vault.snapshots()?;
        self.sort_out(of, &mut snapshots)?;
        let mut logs = BTreeMap::new();
        for group in groups {
            let held = self.held_of(group.identity.as_deref(), vault, &snapshots)?;
            let known = before.remove(&group.identity);
            logs.insert(group.identity.clone(), held.with_looked_of(known));
        }
        Ok(Seen { snapshots: listed, gone: vault.packs_gone(), logs })
    }

    /// Adds to the log of one system in a vault what it lacks.
    fn append_to(
        &self,
        name: &VaultName,
        vault: &Arc<Repository>,
        seen: &mut Seen,
        group: &Group,
        carrying: &Carrying<'_>,
        carried: &mut Carried,
    ) -> Result<()> {
        let waiting = group.files.as_slice();
        let Seen { snapshots, logs, .. } = seen;
        let held = logs.entry(group.identity.clone()).or_default();
        let differing = self.differing(name, vault, held, group)?;
        let stands = self.stands(name, vault, held, group, differing)?;
        carried.refused.extend(stands.differ.iter().map(|path| path.display().to_string()));
        carried.behind.extend(stands.behind.iter().map(|path| path.display().to_string()));
        // Whoever was there before writes no more.
        let (until, from) = match group.is_former {
            true => (None, None),
            false => (carrying.until, carrying.from),
        };
        // What the vault can need stays in it.
        let oldest = held.oldest.as_ref();
        let had = &held.files;
        let there: Vec<LogFile> = had.keys().filter_map(|path| self.file_at(path)).collect();
        let come = waiting.iter().filter(|waiting| !stands.has(&waiting.path));
        let needs = Needs::of(oldest, there.iter().chain(come.map(|waiting| &waiting.file)));
        let needed = |file: &LogFile| needs.has(file);
        let newest = waiting.iter().filter_map(Waiting::position).max();
        let is_new = |waiting: &&Waiting| {
            let is_partial = matches!(waiting.file.kind, LogKind::Partial(_));
            let may_differ = is_partial && self.may_differ(name, group, waiting, newest);
            let had = had.get(&waiting.file.path);
            needed(&waiting.file)
                && !stands.has(&waiting.path)
                // What a power failure has taken from a disk was carried before.
                && !(is_partial && had > Some(&waiting.bytes))
                && (may_differ || had != Some(&waiting.bytes))
        };
        let additions: Vec<&Waiting> = waiting.iter().filter(is_new).collect();
        let keeps =
            |path: &Path| had.contains_key(path) && self.file_at(path).is_some_and(|file| needed(&file));
        let mut files: BTreeMap<PathBuf, u64> =
            had.iter().filter(|(path, _)| keeps(path)).map(|(path, bytes)| (path.clone(), *bytes)).collect();
        files.extend(additions.iter().map(|waiting| (waiting.file.path.clone(), waiting.bytes)));
        let before = held.newest.as_ref().and_then(|(_, snapshot)| snapshot.releve.as_ref()?.log.as_ref());
        // As long as nothing has come that a point can need, only this says where it begins.
        let known = before.map(|before| before.from.as_str()).filter(|from| *from != NOWHERE);
        let is_kept = |path: &PathBuf| {
            self.file_at(path).is_some_and(|file| file.kind != LogKind::Always && needed(&file))
        };
        let begins = known.or(from).filter(|_| !had.keys().any(is_kept));
        // A server may hand over more than any point needs: that it isn't kept is no gap.
        let begins = begins.map(|from| oldest.map_or(from, |oldest| from.max(oldest.as_str())));
        let begins = begins.filter(|_| !held.is_broken || !files.is_empty());
        // What one promised of which parts are gone, nobody can keep; nor what a clock has said that was ahead.
        let sure = before.filter(|_| !held.is_broken).map(|before| believed(before, carrying.now));
        let sure = sure.as_ref();
        let mut info = self.info(&files, begins);
        info.identity.clone_from(&group.identity);
        info.former = group.is_former;
        let settled = || self.settled().unwrap_or(carrying.now);
        info.since = match before {
            Some(before) => before.since,
            None => held.is_later.then(settled),
        };
        if held.is_another && !group.is_former {
            carried.another = Some(info.since.unwrap_or_else(settled));
        }
        info.until = until.max(sure.and_then(|before| before.until));
        info.passed = passed(held.newest.as_ref(), carrying.now);
        let promised = until.and(*lock(&self.sentinel));
        info.sentinel = promised.max(sure.and_then(|before| before.sentinel));
        info.timelines = self.timelines(waiting, before, &files);
        info.runs = self.runs(&files, sure, until, &info.timelines);
        for stretch in &mut info.earlier {
            // Until when all is in it was known as long as it was the newest.
            let ended = sure.filter(|before| before.from == stretch.from).map(|before| before.until);
            let known =
                sure.and_then(|before| before.earlier.iter().find(|known| known.from == stretch.from));
            stretch.until = ended.or(known.map(|known| known.until)).flatten();
        }
        if !group.is_former {
            let is_closed = is_closed(&info, held.newest_point.as_deref());
            let missing = info.missing.clone().filter(|_| !is_closed);
            carried.missing = carried.missing.take().or(missing);
        }
        let says_nothing = match before {
            Some(before) => {
                before.until == info.until
                    && before.from == info.from
                    && before.runs == info.runs
                    && before.identity == info.identity
                    // Whose place was taken may be back.
                    && (info.former || !before.former)
            }
            None => begins.is_none(),
        };
        if additions.is_empty() && says_nothing && !held.is_broken {
            return Ok(());
        }
        // Of one that has nothing whole not even the folders may be readable.
        let parent = held.newest.as_ref().filter(|_| !had.is_empty() || !held.is_broken);
        let parent = parent.map(|(_, snapshot)| snapshot.clone());
        let mut added: Vec<Addition<'_>> = Vec::new();
        for waiting in &additions {
            let (path, file) = (waiting.file.path.clone(), waiting.path.clone());
            added.push(Addition { path, file, open: waiting.open.as_ref() });
        }
        let of_added: Vec<InSpool> = additions.iter().map(|waiting| waiting.in_spool(name, group)).collect();
        let whole = additions.iter().filter(|waiting| matches!(waiting.file.kind, LogKind::Whole(_)));
        let whole = whole.count() as u64;
        let options = self.options(carrying.now)?;
        let progress = Progress::default();
        let vaults = std::slice::from_ref(vault);
        let signer = self.signer(carrying.state);
        let sign = |snapshot: &mut Snapshot| signer.iter().for_each(|signer| signer.sign(snapshot));
        let said: (LogInfo, &dyn Fn(&mut Snapshot)) = (info, &sign);
        let (snapshot, written) = append(vaults, parent.as_ref(), &keeps, &added, &options, said, &progress)?;
        // Since it was listed another cluster may have taken the place of this one, and its file that of ours: then nobody knows which of them was read.
        if let Some(strange) = additions.iter().find(|waiting| self.is_anothers(waiting, group)) {
            for written in written.into_iter().flatten() {
                carrying.remove(name, vault, written.snapshot, snapshot.time);
            }
            let place = strange.path.display();
            return Err(Error::new(format!("{place} is another cluster's by now: it is carried anew")));
        }
        carried.files += added.len() as u64;
        carried.whole += whole;
        for written in written {
            let written = written?;
            carried.bytes += written.bytes;
            carrying.note(name, written.snapshot, &snapshot);
            held.files.clone_from(&files);
            held.looked.note(&additions);
            // What was written to meanwhile has another time by now, and is compared again.
            lock(&self.same).extend(of_added.iter().cloned().map(|key| (key, true)));
            snapshots.insert(written.snapshot.to_string());
            // What is not whole here may be brought back by a repair.
            let was_broken = std::mem::take(&mut held.is_broken);
            if let Some((before, of)) = held.newest.replace((written.snapshot, snapshot.clone()))
                && !was_broken
                && carrying.remove(name, vault, before, of.time)
            {
                snapshots.remove(&before.to_string());
            }
        }
        held.is_later = false;
        Ok(())
    }

    /// Returns whether another system has written what lies in the place of a file that waits.
    fn is_anothers(&self, waiting: &Waiting, group: &Group) -> bool {
        let Some(own) = &group.identity else { return false };
        identity_of(self.log, &waiting.path).is_some_and(|of| of != *own)
    }

    /// Returns since when the log of the system waits here that is there now, if another was there before or could have been.
    fn settled(&self) -> Option<Timestamp> {
        let modified = fs::metadata(self.spool.join(LIVING)).and_then(|meta| meta.modified()).ok()?;
        Timestamp::try_from(modified).ok()
    }
}

impl Waiting {
    /// Returns what tells it, as it is now, in the eyes of one vault.
    fn in_spool(&self, vault: &VaultName, group: &Group) -> InSpool {
        let modified = fs::metadata(&self.path).and_then(|meta| meta.modified()).ok();
        (vault.clone(), group.identity.clone(), self.path.clone(), modified)
    }

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

#[cfg(test)]
mod tests {
    use super::carrying::may_go;
    use super::*;
    use crate::signers::Signer;
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

    /// A vault, and a spool whose files a carrier brings there.
    struct Way {
        folder: tempfile::TempDir,
        vault: Arc<Repository>,
        state: State,
    }

    /// As long as a segment of WAL is at least.
    const BYTES: usize = 1 << 20;

    impl Way {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let password = vault::Password::new(b"correct horse".to_vec());
            let place = folder.path().join("vault");
            Repository::create(vault::store::in_folder(&place), &password, "here", at(0)).unwrap();
            let vault = Repository::open(vault::store::in_folder(&place), &password).unwrap();
            vault.load_index().unwrap();
            fs::create_dir(folder.path().join("spool")).unwrap();
            let state = State::open(&folder.path().join("state")).unwrap();
            Self { folder, vault: Arc::new(vault), state }
        }

        fn spool(&self) -> PathBuf {
            self.folder.path().join("spool")
        }

        /// Puts a segment of this cluster into the spool.
        fn segment(&self, cluster: u64, number: u32, filled: u8) -> PathBuf {
            let mut bytes = vec![filled; BYTES];
            bytes[..2].copy_from_slice(&0xD110_u16.to_ne_bytes());
            bytes[2..4].copy_from_slice(&2_u16.to_ne_bytes());
            bytes[24..32].copy_from_slice(&cluster.to_ne_bytes());
            let path = self.spool().join(name_of(number));
            fs::write(&path, bytes).unwrap();
            path
        }

        /// Puts the beginning of a segment of cluster 1001 into the spool, in which a page is filled with each of these bytes.
        fn begun(&self, number: u32, filled: &[u8]) -> PathBuf {
            let mut bytes = vec![0; BYTES];
            for (page, filled) in filled.iter().enumerate() {
                bytes[page * 8192..(page + 1) * 8192].fill(*filled);
            }
            let head = fs::read(self.segment(1001, number, 1)).unwrap();
            bytes[..32].copy_from_slice(&head[..32]);
            let whole = self.spool().join(name_of(number));
            let partial = whole.with_extension("partial");
            fs::remove_file(whole).unwrap();
            // Another file, as a copy from a disk is.
            let new = self.spool().join(".new");
            fs::write(&new, bytes).unwrap();
            fs::rename(&new, &partial).unwrap();
            partial
        }

        /// Returns what the log of a cluster holds of a segment.
        fn held(&self, cluster: &str, name: &str) -> Vec<u8> {
            let (snapshots, _) = self.vault.snapshots().unwrap();
            let of = |snapshot: &Snapshot| snapshot.releve.as_ref()?.log.as_ref()?.identity.clone();
            let own = snapshots.iter().find(|(_, snapshot)| of(snapshot).as_deref() == Some(cluster));
            let files = files_of(&self.vault, &own.unwrap().1.tree).unwrap();
            let node = files.iter().find(|(path, _)| path.file_name().unwrap() == name).unwrap().1;
            let NodeKind::File { content, .. } = &node.kind else { panic!("{name} is no file") };
            content.iter().flat_map(|id| self.vault.blob(BlobKind::Data, id).unwrap()).collect()
        }

        /// Carries as an agent of this life does.
        fn carry(&self, carrier: &Carrier<'_>) -> Carried {
            self.carry_what_was_seen(carrier, &carrier.waiting().unwrap())
        }

        fn carry_what_was_seen(&self, carrier: &Carrier<'_>, groups: &[Group]) -> Carried {
            let name = VaultName::from("near");
            let mut carried = Carried::default();
            let known = lock(&carrier.seen).remove(&name);
            let of = (std::slice::from_ref(&name), &self.state);
            let mut seen = carrier.look(of, known, &self.vault, groups).unwrap();
            let carrying = Carrying { until: None, from: None, now: at(1_000), state: &self.state };
            for group in groups {
                carrier.append_to(&name, &self.vault, &mut seen, group, &carrying, &mut carried).unwrap();
            }
            lock(&carrier.seen).insert(name.clone(), seen);
            for group in groups {
                carrier.let_go(group, std::slice::from_ref(&name), &mut carried);
            }
            carried
        }

        /// Returns the names of the segments in the log of a cluster, and how many logs there are.
        fn log(&self, cluster: &str) -> (Vec<String>, usize) {
            let (snapshots, _) = self.vault.snapshots().unwrap();
            let own = snapshots.iter().find(|(_, snapshot)| {
                let log = snapshot.releve.as_ref().and_then(|info| info.log.as_ref());
                log.and_then(|log| log.identity.as_deref()) == Some(cluster)
            });
            let files = own.map(|(_, snapshot)| files_of(&self.vault, &snapshot.tree).unwrap());
            let names = files.into_iter().flatten();
            let names = names.map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned());
            (names.collect(), snapshots.len())
        }
    }

    fn name_of(number: u32) -> String {
        format!("0000000100000000{number:08X}")
    }

    fn names_of(numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
        numbers.map(name_of).collect()
    }

    fn postgres() -> source::Postgres {
        source::Postgres::new("postgres://nobody@localhost/nothing", "/srv/nothing").unwrap()
    }

    fn carrier<'a>(log: &'a dyn Log, there: &Way) -> Carrier<'a> {
        let holder = Holder { hostname: "here".into(), username: "me".into() };
        Carrier::new("shop".into(), log, there.spool(), holder, Process::this().clone())
    }

    #[test]
    fn another_cluster_in_the_same_place_has_a_log_of_its_own_and_the_one_before_keeps_its() {
        let there = Way::new();
        let source = postgres();
        let log = source::Source::log(&source).unwrap();
        let carrier = carrier(log, &there);
        settle(&there.spool(), log, "1001").unwrap();
        (1..=6).for_each(|number| _ = there.segment(1001, number, 1));
        there.carry(&carrier);
        assert_eq!(there.log("1001"), (names_of(1..=6), 1));
        // One more waits that is in no vault when the other is made.
        there.segment(1001, 7, 1);
        settle(&there.spool(), log, "2002").unwrap();
        (1..=3).for_each(|number| _ = there.segment(2002, number, 2));
        let carried = there.carry(&carrier);
        assert!(carried.refused.is_empty(), "{:?}", carried.refused);
        assert_eq!(there.log("1001"), (names_of(1..=7), 2));
        assert_eq!(there.log("2002"), (names_of(1..=3), 2));
        // Of the one before nothing waits any more, and of this one the last.
        assert!(!there.spool().join("cluster-1001").exists());
        assert_eq!(spooled(&there.spool(), log, Some("2002")), [there.spool().join(name_of(3))]);
        assert!(spooled(&there.spool(), log, Some("1001")).is_empty());
    }

    #[test]
    fn what_is_finished_and_named_anew_while_it_is_carried_is_carried_all_the_same() {
        let there = Way::new();
        let source = postgres();
        let carrier = carrier(source::Source::log(&source).unwrap(), &there);
        let whole = there.segment(1001, 1, 1);
        let partial = whole.with_extension("partial");
        fs::rename(&whole, &partial).unwrap();
        let seen = carrier.waiting().unwrap();
        fs::rename(&partial, &whole).unwrap();
        there.carry_what_was_seen(&carrier, &seen);
        assert_eq!(there.log("1001").0, [format!("{}.partial", name_of(1))]);
        there.carry(&carrier);
        assert_eq!(there.log("1001").0, names_of(1..=1));
    }

    #[test]
    fn the_end_of_a_timeline_that_was_left_is_carried_and_stays_beside_the_next_one() {
        let there = Way::new();
        let source = postgres();
        let carrier = carrier(source::Source::log(&source).unwrap(), &there);
        there.segment(1001, 1, 1);
        let partial = there.begun(2, &[1]);
        there.carry(&carrier);
        // More came of it, and then its server left it, within that segment.
        there.begun(2, &[1, 2]);
        let away = there.spool().join(source::LEFT_BEHIND);
        fs::create_dir(&away).unwrap();
        let away = away.join(partial.file_name().unwrap());
        fs::rename(&partial, &away).unwrap();
        assert!(
            spooled(&there.spool(), carrier.log, Some("1001")).contains(&away),
            "for a recovery from here"
        );
        let next = |number| name_of(number).replacen('1', "2", 1);
        for number in 2..=3 {
            fs::rename(there.segment(1001, number, 3), there.spool().join(next(number))).unwrap();
        }
        let carried = there.carry(&carrier);
        let mut all = vec![name_of(1), format!("{}.partial", name_of(2)), next(2), next(3)];
        all.sort();
        let held = || {
            let mut names = there.log("1001").0;
            names.sort();
            names
        };
        assert_eq!((held(), carried.files), (all.clone(), 3));
        assert!(!away.exists(), "the vault has it");
        assert_eq!(there.carry(&carrier).files, 0);
        assert_eq!(held(), all);
    }

    #[test]
    fn a_segment_of_a_name_that_is_kept_is_stored_only_if_it_is_the_same_one() {
        let there = Way::new();
        let source = postgres();
        let log = source::Source::log(&source).unwrap();
        (1..=3).for_each(|number| _ = there.segment(1001, number, 1));
        there.carry(&carrier(log, &there));
        // Again, as after a crash: the same are let go of, the other stays and is named.
        let same = there.segment(1001, 1, 1);
        let other = there.segment(1001, 2, 9);
        let carrier = carrier(log, &there);
        for _ in 0..2 {
            let carried = there.carry(&carrier);
            assert_eq!(carried.refused, [other.display().to_string()]);
            assert!(!same.exists() && other.exists());
        }
        assert_eq!(there.log("1001"), (names_of(1..=3), 1));
    }

    #[test]
    fn what_a_vault_has_of_a_segment_gives_way_to_itself_and_more_alone() {
        let there = Way::new();
        let source = postgres();
        let log = source::Source::log(&source).unwrap();
        let name = format!("{}.partial", name_of(2));
        there.segment(1001, 1, 1);
        let partial = there.begun(2, &[1, 2, 3]);
        let kept = fs::read(&partial).unwrap();
        there.carry(&carrier(log, &there));
        // Each as another run finds it on the disk of a server that has crashed: with an end of zeros, with junk in it, and with more behind.
        there.begun(2, &[1, 2]);
        let again = carrier(log, &there);
        for _ in 0..2 {
            let carried = there.carry(&again);
            assert_eq!((carried.behind, carried.refused), (vec![partial.display().to_string()], vec![]));
        }
        assert!(there.held("1001", &name) == kept);
        there.begun(2, &[1, 9, 3, 4]);
        assert_eq!(there.carry(&carrier(log, &there)).refused, [partial.display().to_string()]);
        assert!(there.held("1001", &name) == kept);
        let more = fs::read(there.begun(2, &[1, 2, 3, 4])).unwrap();
        assert!(there.carry(&carrier(log, &there)).refused.is_empty());
        assert!(there.held("1001", &name) == more);
        // Nor does a whole one take its place that says something else.
        fs::remove_file(&partial).unwrap();
        let whole = there.segment(1001, 2, 9);
        assert_eq!(there.carry(&carrier(log, &there)).refused, [whole.display().to_string()]);
        assert!(there.held("1001", &name) == more);
    }

    #[test]
    fn what_was_looked_at_of_a_log_is_known_still_when_another_system_has_written_into_the_vault() {
        let there = Way::new();
        let source = postgres();
        let own = carrier(source::Source::log(&source).unwrap(), &there);
        let known = |carrier: &Carrier<'_>| {
            let known = lock(&carrier.seen).remove(&VaultName::from("near"));
            let seen =
                carrier.look((&[], &there.state), known, &there.vault, &carrier.waiting().unwrap()).unwrap();
            seen.logs[&Some("1001".to_owned())].looked.own.len()
        };
        let spool = there.folder.path().join("other");
        fs::create_dir(&spool).unwrap();
        fs::rename(there.segment(1001, 9, 1), spool.join(name_of(9))).unwrap();
        let other = Carrier { name: "mail".into(), spool, ..carrier(own.log, &there) };
        there.segment(1001, 1, 1);
        there.begun(2, &[1, 2]);
        there.carry(&own);
        there.carry(&other);
        assert_eq!(known(&own), 2);
        // What somebody else has written of it is another's file.
        let again = carrier(own.log, &there);
        there.begun(2, &[1, 2, 3]);
        there.carry(&own);
        there.carry(&again);
        assert_eq!(known(&own), 0);
    }

    impl Way {
        /// Makes the key of this machine.
        fn key(&self) -> PathBuf {
            let dir = self.folder.path().join("state");
            Signer::make(&dir, &self.state, "here", at(0)).unwrap().unwrap();
            dir
        }

        /// Puts a log into the vault as somebody can who has its password: the newest there is, with this segment more, made at so many seconds.
        fn forge(&self, second: i64, number: u32, sign: &dyn Fn(&mut Snapshot)) {
            let log = source::Source::log(&postgres()).unwrap().file(&name_of(number)).unwrap();
            let file = self.segment(1001, number, 66);
            let (snapshots, _) = self.vault.snapshots().unwrap();
            let newest = &snapshots.last().unwrap().1;
            let info = newest.releve.clone().unwrap().log.unwrap();
            let options = BackupOptions {
                point: vault::new_point_id().unwrap(),
                system: "shop/log".into(),
                source: "log".into(),
                time: at(second),
                paths: vec!["/shop/log".into()],
                excludes: Vec::new(),
                holder: Holder { hostname: "here".into(), username: "me".into() },
                parent: None,
                threads: 0,
                doubts: Vec::new(),
            };
            let added = [Addition { path: log.path, file: file.clone(), open: None }];
            let vaults = std::slice::from_ref(&self.vault);
            let progress = Progress::default();
            append(vaults, Some(newest), &|_| true, &added, &options, (info, sign), &progress).unwrap();
            fs::remove_file(file).unwrap();
        }

        /// Returns what the newest log that this machine has signed holds of a segment.
        fn genuine(&self, name: &str) -> Vec<u8> {
            let own = self.state.signers().unwrap()["here"].keys().next().unwrap().clone();
            let (snapshots, _) = self.vault.snapshots().unwrap();
            let is_own = |snapshot: &Snapshot| snapshot.signed().is_some_and(|signed| signed.by == own);
            let newest = snapshots.iter().rev().find(|(_, snapshot)| is_own(snapshot)).unwrap();
            let files = files_of(&self.vault, &newest.1.tree).unwrap();
            let node = files.iter().find(|(path, _)| path.file_name().unwrap() == name).unwrap().1;
            let NodeKind::File { content, .. } = &node.kind else { panic!("{name} is no file") };
            content.iter().flat_map(|id| self.vault.blob(BlobKind::Data, id).unwrap()).collect()
        }

        /// Returns the names of the segments in each log in the vault, oldest first, and whether it is signed.
        fn logs(&self) -> Vec<(Vec<String>, bool)> {
            let (snapshots, _) = self.vault.snapshots().unwrap();
            let all = snapshots.iter().map(|(_, snapshot)| {
                let files = files_of(&self.vault, &snapshot.tree).unwrap();
                let names = files.keys().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
                (names.collect(), snapshot.signed().is_some())
            });
            all.collect()
        }
    }

    #[test]
    fn a_log_that_nobody_vouches_for_is_never_gone_on_from_and_one_from_before_there_were_signatures_is() {
        let there = Way::new();
        let source = postgres();
        let log = source::Source::log(&source).unwrap();
        there.segment(1001, 1, 1);
        there.carry(&carrier(log, &there));
        assert_eq!(there.logs(), [(names_of(1..=1), false)], "an older program wrote it");
        let keys = there.key();
        let signing = || carrier(log, &there).signed_with(&keys);
        there.segment(1001, 2, 1);
        there.carry(&signing());
        assert_eq!(there.logs(), [(names_of(1..=2), true)], "it was gone on from");
        // With one more segment, unsigned and by a key of somebody's own; and an own one, of which what isn't signed says otherwise.
        let other = vault::SigningKey::from_seed(&"7".repeat(64)).unwrap();
        there.forge(2_000, 3, &|_| ());
        there.forge(2_001, 3, &|snapshot| other.sign(snapshot, None));
        for again in [signing(), signing()] {
            there.segment(1001, 3, 1);
            there.carry(&again);
        }
        let newest: Vec<u8> = there.genuine(&name_of(3));
        assert_eq!(newest[BYTES - 1], 1, "the genuine one is in the vault, and not what was forged");
        let forged = there.logs().into_iter().filter(|(_, is_signed)| !is_signed).count();
        assert_eq!((there.logs().len(), forged), (3, 1), "{:?}", there.logs());
        // What a person accepts is gone on from.
        let (snapshots, _) = there.vault.snapshots().unwrap();
        let unsigned = snapshots.iter().find(|(_, snapshot)| snapshot.signature.is_none()).unwrap();
        let id = unsigned.1.tag("point").unwrap();
        let identity = format!("{id} {} {}", unsigned.1.tree, unsigned.1.time);
        there.state.accept(&identity, at(3_000)).unwrap();
        let other = there.segment(1001, 3, 1).display().to_string();
        assert_eq!(there.carry(&signing()).refused, [other]);
    }

    #[test]
    fn what_this_machine_could_not_sign_is_its_own_all_the_same() {
        let there = Way::new();
        let source = postgres();
        let log = source::Source::log(&source).unwrap();
        let keys = there.key();
        there.segment(1001, 1, 1);
        there.carry(&carrier(log, &there).signed_with(&keys));
        fs::write(keys.join("signing.key"), "no key").unwrap();
        for number in 2..=3 {
            there.segment(1001, number, 1);
            assert!(there.carry(&carrier(log, &there).signed_with(&keys)).missing.is_none());
        }
        assert_eq!(there.logs(), [(names_of(1..=3), false)]);
    }

    #[test]
    fn what_is_missing_in_one_history_is_not_held_against_another() {
        let way = Way::new();
        let source = postgres();
        let carrier = carrier(source::Source::log(&source).unwrap(), &way);
        let files = |names: &[&str]| -> BTreeMap<PathBuf, u64> {
            names.iter().map(|name| (carrier.file_at(Path::new(name)).unwrap().path, 16 << 20)).collect()
        };
        let all = files(&[
            "000000010000000000000003",
            "000000010000000000000004.partial",
            "000000020000000000000005",
            "000000020000000000000006",
            "000000020000000000000008.partial",
        ]);
        let runs = carrier.runs(&all, None, Some(at(9)), &[]);
        let seen: Vec<_> = runs
            .iter()
            .map(|run| (run.timeline, &run.from[8..], &run.to[8..], run.missing.is_some(), run.until))
            .collect();
        let known = [
            (1, "00000003", "00000004", false, None),
            (2, "00000005", "00000006", true, None),
            (2, "00000008", "00000008", false, Some(at(9))),
        ];
        assert_eq!(seen, known);
        // What was known of one stays known when another comes.
        let before = LogInfo { runs, ..LogInfo::default() };
        let more = files(&["000000020000000000000008", "000000030000000000000009"]);
        let runs = carrier.runs(&more, Some(&before), None, &[]);
        assert_eq!(runs.iter().map(|run| run.until).collect::<Vec<_>>(), [Some(at(9)), None]);
    }
}
