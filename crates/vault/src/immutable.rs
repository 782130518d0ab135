//! Keeps what is in a vault from being deleted, and brings back what somebody hid.
//!
//! On a store with Object Lock nobody can delete a version before its time. What an intruder can do is to put a mark above a file, so that it
//! seems gone, or another content, so that it seems damaged. [`hold`] makes the time longer before it runs out; [`undelete`]
//! puts the file that belongs there back in sight.
//!
//! Which version belongs there: the oldest whose hash is the file's name, and of `config`, which has no such name, the oldest.

use crate::lanes::in_lanes;
use crate::store::{Version, Versions};
use crate::{Error, FileId, FileKind, Kind, Progress, Repository, Result, Store};
use jiff::{SignedDuration, Timestamp};

/// All kinds that are held. Locks live for minutes, and nobody misses one.
const HELD: [FileKind; 5] =
    [FileKind::Config, FileKind::Key, FileKind::Snapshot, FileKind::Index, FileKind::Pack];

/// How many findings are named.
const NAMED_MAX: usize = 1000;

/// How files are held.
#[derive(Debug, Clone, Copy)]
pub struct HoldOptions {
    /// Now.
    pub now: Timestamp,
    /// Only look.
    pub dry_run: bool,
}

/// How the files of a vault are held.
#[derive(Debug, Default)]
pub struct HoldReport {
    /// Files that are needed.
    pub files: u64,
    /// Of these, those that were held for more than half of the period, and stayed as they were.
    pub held: u64,
    /// Of these, those whose hold was made longer; after a dry run, those whose hold would be.
    pub extended: u64,
    /// When the first of them can be deleted; `None` if one can be now.
    pub until: Option<Timestamp>,
    /// Files that a mark hides and that nothing here needs: what was pruned, or points that somebody hid.
    pub hidden: u64,
    /// Snapshots among these.
    pub hidden_snapshots: u64,
    /// Hidden files that nothing needs and whose hold was over: they are gone now.
    pub freed: u64,
    /// What somebody may have tampered with, and what could not be held; a thousand are named.
    pub findings: Vec<String>,
    /// How many findings there are.
    pub finding_count: u64,
}

/// What is brought back.
#[derive(Debug, Clone, Copy)]
pub struct UndeleteOptions {
    /// Only what was hidden since then; everything where `None`. What was overwritten comes back in any case.
    pub since: Option<Timestamp>,
    /// Only look.
    pub dry_run: bool,
}

/// What was brought back.
#[derive(Debug, Default)]
pub struct UndeleteReport {
    /// Files that were hidden, by their paths in the vault.
    pub hidden: Vec<String>,
    /// Files that were overwritten.
    pub overwritten: Vec<String>,
    /// Keys and locks that make no sense: current restic refuses a vault that has one. They were put out of sight.
    pub junk: Vec<String>,
    /// Files that can't come back, and why.
    pub failures: Vec<String>,
}

/// Makes the hold of every file that is needed long enough: one that has less than half of the period left gets the whole
/// period again. Needed is what is listed, and what an index names although somebody hid it. The index is loaded.
pub fn hold(repository: &Repository, options: &HoldOptions, progress: &Progress) -> Result<HoldReport> {
    let store = versions_of(repository.store())?;
    let unsupported = |what: &str| Error::new(repository.address(), Kind::Unsupported(what.into()));
    let period = store.period().ok_or_else(|| unsupported("nothing is held here for any time"))?;
    let until = options.now.checked_add(period).map_err(|error| unsupported(&error.to_string()))?;
    let enough = until - SignedDuration::from_secs(period.as_secs() / 2);
    progress.set_phase("holding");
    let mut report = HoldReport::default();
    let mut until_now = Vec::new();
    for kind in HELD {
        let files = files(store, kind)?;
        let lanes = in_lanes(repository.store().lanes(), &files, |file| {
            if progress.is_stopped() {
                return Err(Error::new("hold", Kind::Interrupted));
            }
            progress.add(1, 0);
            if file.is_hidden() && !is_needed(repository, file) {
                return if options.dry_run { Ok(Seen::default()) } else { file.free(store, options.now) };
            }
            let (needed, tampered) = (true, file.tampered(store)?);
            let Some(version) = file.right(store)? else {
                return Ok(Seen { needed, tampered, ..Seen::default() });
            };
            let held = store.held_until(kind, version)?;
            if held.is_some_and(|held| held >= enough) {
                return Ok(Seen { needed, tampered, held, ..Seen::default() });
            }
            let refused = match options.dry_run {
                true => None,
                false => store.hold(kind, version, until).err(),
            };
            match refused {
                Some(error) if error.is_retryable() => Err(error),
                Some(error) => {
                    Ok(Seen { needed, tampered: Some(error.to_string()), held, ..Seen::default() })
                }
                None if options.dry_run => {
                    Ok(Seen { needed, tampered, held, extended: true, ..Seen::default() })
                }
                None => Ok(Seen { needed, tampered, held: Some(until), extended: true, ..Seen::default() }),
            }
        });
        for (file, seen) in files.iter().zip(lanes) {
            let seen = seen?;
            let hidden = !seen.needed && !seen.freed;
            report.hidden += u64::from(hidden);
            report.hidden_snapshots += u64::from(hidden && file.kind == FileKind::Snapshot);
            report.freed += u64::from(seen.freed);
            if let Some(what) = seen.tampered {
                report.finding_count += 1;
                report.findings.push(what);
            }
            if seen.needed {
                report.files += 1;
                report.extended += u64::from(seen.extended);
                report.held += u64::from(!seen.extended && seen.held.is_some_and(|held| held >= enough));
                // A hold without an end counts as one that was made longer now.
                until_now.push(seen.held.map(|held| held.min(until)));
            }
        }
    }
    report.findings.truncate(NAMED_MAX);
    report.until = until_now.into_iter().collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().min());
    report.until = report.until.filter(|until| *until > options.now);
    Ok(report)
}

/// Puts back in sight what was hidden or overwritten. No content is ever deleted: what lay above stays as a version. Works on a
/// vault that can't be opened any more.
pub fn undelete(store: &dyn Store, options: &UndeleteOptions, progress: &Progress) -> Result<UndeleteReport> {
    let versions = versions_of(store)?;
    progress.set_phase("bringing back");
    let mut report = UndeleteReport::default();
    for kind in HELD {
        let files = files(versions, kind)?;
        let done = in_lanes(store.lanes(), &files, |file| {
            if progress.is_stopped() {
                return Err(Error::new("undelete", Kind::Interrupted));
            }
            progress.add(1, 0);
            file.back(versions, options)
        });
        for (file, done) in files.iter().zip(done) {
            let path = file.kind.path(&file.name);
            match done {
                Ok(Back::Nothing) => {}
                Ok(Back::Hidden) => report.hidden.push(path),
                Ok(Back::Overwritten) => report.overwritten.push(path),
                Ok(Back::Gone) => {
                    report.failures.push(format!("{path}: no version of it is what its name says"));
                }
                Err(error) if matches!(error.kind, Kind::Interrupted) => return Err(error),
                Err(error) => report.failures.push(error.to_string()),
            }
        }
    }
    // Where versions are kept, what is removed is out of sight and not gone.
    for (kind, name) in crate::small::junk(store)? {
        // What a real run has put right by now.
        if report.overwritten.contains(&kind.path(&name)) {
            continue;
        }
        match if options.dry_run { Ok(()) } else { store.remove(kind, &name) } {
            Ok(()) => report.junk.push(kind.path(&name)),
            Err(error) => report.failures.push(error.to_string()),
        }
    }
    Ok(report)
}

fn versions_of(store: &dyn Store) -> Result<&dyn Versions> {
    store.versions().ok_or_else(|| {
        Error::new(store.address(), Kind::Unsupported("this kind of store keeps no versions".into()))
    })
}

/// One name, with everything that was ever written under it.
struct Stored {
    kind: FileKind,
    name: String,
    /// Oldest first.
    contents: Vec<Version>,
    marks: Vec<Version>,
}

#[derive(Default)]
struct Seen {
    needed: bool,
    tampered: Option<String>,
    held: Option<Timestamp>,
    extended: bool,
    freed: bool,
}

enum Back {
    /// It is as it should be.
    Nothing,
    Hidden,
    Overwritten,
    /// Nothing that belongs there is left.
    Gone,
}

fn files(store: &dyn Versions, kind: FileKind) -> Result<Vec<Stored>> {
    let mut files: Vec<Stored> = Vec::new();
    for version in store.versions(kind)? {
        if files.last().is_none_or(|file| file.name != version.name) {
            let name = version.name.clone();
            files.push(Stored { kind, name, contents: Vec::new(), marks: Vec::new() });
        }
        if let Some(file) = files.last_mut() {
            if version.is_mark { &mut file.marks } else { &mut file.contents }.push(version);
        }
    }
    Ok(files)
}

/// Returns whether a file that is hidden is needed all the same.
fn is_needed(repository: &Repository, file: &Stored) -> bool {
    match file.kind {
        FileKind::Config => true,
        FileKind::Pack => file.name.parse().is_ok_and(|id| repository.catalogue().knows_pack(id)),
        _ => false,
    }
}

impl Stored {
    fn is_hidden(&self) -> bool {
        self.marks.iter().any(|mark| mark.is_current)
    }

    fn current(&self) -> Option<&Version> {
        self.contents.iter().find(|version| version.is_current)
    }

    /// Returns the version that belongs here. One that is alone is not read: there is no other.
    fn right(&self, store: &dyn Versions) -> Result<Option<&Version>> {
        match self.contents.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(only)),
            [oldest, ..] if self.kind == FileKind::Config => Ok(Some(oldest)),
            several => {
                for version in several {
                    if self.is_sound(store, version)? {
                        return Ok(Some(version));
                    }
                }
                Ok(None)
            }
        }
    }

    fn is_sound(&self, store: &dyn Versions, version: &Version) -> Result<bool> {
        let content = store.read_version(self.kind, version)?;
        match self.contents.first() {
            Some(oldest) if self.kind == FileKind::Config => {
                Ok(oldest.id == version.id || store.read_version(self.kind, oldest)? == content)
            }
            _ => Ok(FileId::of(&content).to_string() == self.name),
        }
    }

    /// Returns whether what is seen under the name now belongs there. One that was never overwritten is not read.
    fn is_right(&self, store: &dyn Versions) -> Result<bool> {
        match self.current() {
            Some(_) if self.contents.len() == 1 => Ok(true),
            Some(current) => self.is_sound(store, current),
            None => Ok(false),
        }
    }

    /// Frees what is out of sight, as far as its time is over.
    fn free(&self, store: &dyn Versions, now: Timestamp) -> Result<Seen> {
        let mut freed = true;
        for version in &self.contents {
            freed &= store.free(self.kind, version, now)?;
        }
        Ok(Seen { freed, ..Seen::default() })
    }

    /// Says what somebody did to a file that is needed.
    fn tampered(&self, store: &dyn Versions) -> Result<Option<String>> {
        let path = self.kind.path(&self.name);
        if self.is_hidden() {
            return Ok(Some(format!("{path}: somebody hid it, and it is needed")));
        }
        if self.is_right(store)? {
            return Ok(None);
        }
        Ok(Some(match self.right(store)? {
            Some(_) => format!("{path}: somebody overwrote it; what belongs there is still in the store"),
            None => format!("{path}: no version of it is what its name says"),
        }))
    }

    fn back(&self, store: &dyn Versions, options: &UndeleteOptions) -> Result<Back> {
        let hidden = self.is_hidden();
        let newest_mark = self.marks.iter().map(|mark| mark.written).max();
        if hidden && options.since.is_some_and(|since| newest_mark.is_some_and(|mark| mark < since)) {
            return Ok(Back::Nothing);
        }
        if !hidden && self.is_right(store)? {
            return Ok(Back::Nothing);
        }
        let Some(right) = self.right(store)? else { return Ok(Back::Gone) };
        // What an intruder wrote and hid himself must not come back; a pack is too long to be read for that.
        let alone = self.contents.len() == 1;
        if hidden && alone && self.kind != FileKind::Pack && !self.is_sound(store, right)? {
            return Ok(Back::Nothing);
        }
        if !options.dry_run {
            // With its marks gone the newest content is in sight again.
            let mut covered = false;
            for mark in self.marks.iter().filter(|_| hidden) {
                match store.unhide(self.kind, mark) {
                    Err(error) if matches!(error.kind, Kind::Refused(_)) => covered = true,
                    other => other?,
                }
            }
            if covered || self.contents.last().is_none_or(|newest| newest.id != right.id) {
                store.bring_back(self.kind, right)?;
            }
        }
        Ok(if hidden { Back::Hidden } else { Back::Overwritten })
    }
}
