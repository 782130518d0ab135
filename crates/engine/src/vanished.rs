//! Which points this machine has seen in a vault that are not listed there any more, although nobody is known to have taken them out: one judgement, told by every verb.
//!
//! What is missed may be hidden or deleted; a listing that came back too short looks the same. Nothing is concluded of a vault that could not be asked, nor by a machine
//! that has seen nothing yet. A person who knows better says so once, to `releve prune --accept-missing`.

mod newer;

pub use newer::LogGone;

use crate::alerts::note_stands;
use crate::judge::Witness;
use crate::prune::verdicts;
use crate::signers::{Learned, has_made_points, know_own, learn, note_logs};
use crate::strange::{Strange, find};
use crate::survey::Survey;
use crate::vaults::Opened;
use crate::{Error, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use plan::judge::{Judgement, Rating};
use plan::{Facts, Plan, SystemName, Unvouched, VaultName};
use serde::Serialize;
use state::{Body, OddKey, Record, Seen, State};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use vault::FileKind;

/// Where it is noted for the alerts that points of a vault have vanished.
pub const SIGN: &str = "vanished/";
/// What is said of points whose files are damaged.
const UNREAD: &str = "here can't be read";
/// Letters of a snapshot's name that stand for it in an error.
const SHORT: usize = 8;

/// What this machine had seen before the vaults were asked: what is written meanwhile can't have vanished.
#[derive(Debug, Default)]
pub struct Known(BTreeMap<VaultName, BTreeMap<String, Seen>>);

/// A point that is not listed any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// The vault that it was in.
    pub vault: VaultName,
    /// The snapshot there.
    #[serde(skip)]
    pub snapshot: String,
    /// The point's id.
    pub id: String,
    /// Its system, if that is known; `NAME/log` is the log of one.
    pub system: Option<SystemName>,
    /// When it was made, as it said.
    pub time: Timestamp,
    /// When this machine saw it first.
    pub first_seen: Timestamp,
    /// No vault that was asked has it.
    pub nowhere: bool,
}

/// What vanished.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Vanished {
    /// What is missed, by vault, oldest first.
    pub missed: Vec<Lost>,
    /// What isn't: it is there under another name, a newer log holds it, or the machine that prunes has taken it out as the plan says.
    #[serde(skip)]
    pub settled: Vec<Lost>,
    /// What was seen and is there still, but can't be read: it is no point that anything could be taken from.
    #[serde(skip)]
    pub unread: Vec<Lost>,
    /// The logs that are gone, or were rolled back, by their systems.
    #[serde(skip)]
    pub logs: BTreeMap<SystemName, LogGone>,
    /// What is there and isn't what it says: nobody signed it who should, or it is of a machine or a time that can't be.
    #[serde(skip)]
    pub strange: Vec<Strange>,
    /// Key files that appeared although nobody here has made them: somebody can open the vault with them.
    #[serde(skip)]
    pub keys: Vec<(VaultName, OddKey)>,
    /// The keys that sign points for a machine of which none was known: for a person who can compare them.
    #[serde(skip)]
    pub learned: Vec<String>,
    /// The machines of which it isn't plain which key is theirs: a person has to say, and until then none of their points is taken by itself.
    #[serde(skip)]
    pub open: Vec<String>,
}

impl Known {
    /// Reads it. Before the vaults are asked.
    pub fn read(plan: &Plan, state: &State) -> Result<Self> {
        let mut known = Self::default();
        for vault in plan.vaults.keys() {
            known.0.insert(vault.clone(), state.seen(&vault.0)?);
        }
        Ok(known)
    }

    /// Returns whether one of these vaults doesn't list all that was seen in it: a look at the names alone, for one who reads no more unless he must ([`look`]).
    /// That a vault lists all is noted for the alerts; one that can't be listed says so when it is worked with.
    #[must_use]
    pub fn is_any_missing(&self, state: &State, vaults: &[Opened], now: Timestamp) -> bool {
        let mut is_any = false;
        let signs = state.signs(SIGN).unwrap_or_default();
        for opened in vaults {
            let (Some(seen), Ok(repository)) = (self.0.get(&opened.name), &opened.repository) else {
                continue;
            };
            let Ok(listed) = repository.store().list(FileKind::Snapshot) else { continue };
            let listed: HashSet<&str> = listed.iter().map(|listed| listed.name.as_str()).collect();
            // That one is there says nothing of whether it can be read.
            let is_unread = signs.get(&opened.name.0).is_some_and(|sign| sign.why.contains(UNREAD));
            match seen.keys().all(|snapshot| listed.contains(snapshot.as_str())) {
                true if is_unread => {}
                true => _ = note_missed(state, &opened.name, &Vanished::default(), now),
                false => is_any = true,
            }
        }
        is_any
    }
}

/// Looks for what vanished from the vaults that were asked, and notes it for the alerts: also that nothing is missed any more. `survey` is of these vaults, and was
/// made after `known` was read. `key` is the one that lies beside the state, if one does.
pub fn look(
    (plan, state, machine, key): (&Plan, &State, &str, Option<&str>),
    known: &Known,
    vaults: &[Opened],
    survey: &Survey,
    now: Timestamp,
) -> Result<Vanished> {
    let asked: Vec<&VaultName> =
        vaults.iter().filter(|opened| opened.repository.is_ok()).map(|opened| &opened.name).collect();
    let records = state.records()?;
    // Before anything is judged: where no key of a machine is known, a single one that is seen counts. Not one of some vaults: the others may tell of another.
    let is_all = plan.vaults.keys().all(|name| vaults.iter().any(|opened| opened.name == *name));
    if let Some(key) = key.filter(|_| is_all) {
        know_own(state, machine, key, survey, now)?;
    }
    let learned = if is_all { learn(state, machine, survey, &records, now)? } else { Learned::default() };
    let seen = known.0.values().flat_map(BTreeMap::values);
    note_logs(state, survey, seen)?;
    let witness = Witness::of(plan, state, &records)?;
    let mut vanished = judge((plan, state, machine), known, (&records, &witness), &asked, survey, now)?;
    (vanished.learned, vanished.open) = (learned.said, learned.open);
    vanished.strange = find(plan, &witness, survey, now);
    if !is_all && !vanished.strange.is_empty() {
        let (signers, has_made) = (state.signers()?, has_made_points(&records));
        // Nothing is said of a key yet that counts, or doesn't, once all are looked at.
        let is_open = |host: &str| !(signers.contains_key(host) || has_made && host == machine);
        let by_key = |strange: &Strange| matches!(strange.unvouched, Some(Unvouched::By(_)));
        let waits = |strange: &Strange| strange.signer.as_ref().is_some_and(|(host, _)| is_open(host));
        vanished.strange.retain(|strange| !(by_key(strange) && waits(strange)));
    }
    for opened in vaults {
        let Ok(repository) = &opened.repository else { continue };
        // Of one that doesn't list them nothing is concluded.
        let Ok(listed) = repository.store().list(FileKind::Key) else { continue };
        let there = listed.into_iter().map(|listed| listed.name).collect();
        let odd = state.see_keys(&opened.name.0, &there, now)?.into_iter();
        vanished.keys.extend(odd.map(|odd| (opened.name.clone(), odd)));
    }
    for vault in asked.into_iter().filter(|vault| is_asked(survey, vault)) {
        // What was found is told by whoever looks: only the alert is at stake.
        let _ = note(state, vault, &vanished, now);
    }
    let is_whole = is_all && survey.unreachable.is_empty();
    let _ = note_stands((plan, state, machine), &witness, survey, is_whole, now);
    Ok(vanished)
}

/// Looks for what isn't what it says where there is no state: by what `witness` knows without.
#[must_use]
pub fn look_without(plan: &Plan, witness: &Witness, survey: &Survey, now: Timestamp) -> Vanished {
    Vanished { strange: find(plan, witness, survey, now), ..Vanished::default() }
}

/// Notes for the alerts what is missed in a vault that was asked, and what is there that isn't what it says.
pub fn note(state: &State, vault: &VaultName, vanished: &Vanished, now: Timestamp) -> Result<()> {
    let strange = vanished.strange_in(vault);
    state.note_sign(
        &format!("{}{vault}", crate::strange::SIGN),
        strange.as_deref().map(|said| (said, false)),
        now,
    )?;
    note_missed(state, vault, vanished, now)
}

/// Notes for the alerts what is missed in a vault that was asked.
pub fn note_missed(state: &State, vault: &VaultName, vanished: &Vanished, now: Timestamp) -> Result<()> {
    let said: Vec<String> = vanished.said_of(vault).into_iter().chain(vanished.unread_in(vault)).collect();
    let said = (!said.is_empty()).then(|| said.join("; "));
    Ok(state.note_sign(&format!("{SIGN}{vault}"), said.as_deref().map(|said| (said, false)), now)?)
}

/// Returns what vanished from these vaults.
fn judge(
    (plan, state, machine): (&Plan, &State, &str),
    known: &Known,
    (records, witness): (&[Record], &Witness),
    vaults: &[&VaultName],
    survey: &Survey,
    now: Timestamp,
) -> Result<Vanished> {
    let (mut gone, mut unread) = (Vec::<(Lost, String)>::new(), Vec::<(Lost, String)>::new());
    for vault in vaults.iter().copied().filter(|vault| is_asked(survey, vault)) {
        let Some(before) = known.0.get(vault) else { continue };
        let there: HashSet<String> = survey
            .points
            .iter()
            .flat_map(|point| point.files_in(vault).map(|file| file.to_string()))
            .collect();
        if before.keys().all(|snapshot| there.contains(snapshot)) {
            continue;
        }
        // In this order: whoever takes one out forgets first that it was seen, and then that it was to go.
        let going = state.about_to_go(&vault.0)?;
        let still = state.seen(&vault.0)?;
        let damaged: Vec<&str> = survey
            .damaged
            .iter()
            .filter(|(damaged, _)| damaged == vault)
            .map(|(_, why)| why.as_str())
            .collect();
        for (snapshot, seen) in before {
            let short = snapshot.get(..SHORT).unwrap_or(snapshot);
            // What can't be read is listed, and told as that.
            let is_damaged = damaged.iter().any(|why| why.contains(short));
            if is_damaged && !there.contains(snapshot) {
                unread.push((Lost::of(vault, snapshot, seen), seen.point.clone()));
            } else if !there.contains(snapshot) && !going.contains(snapshot) && still.contains_key(snapshot) {
                gone.push((Lost::of(vault, snapshot, seen), seen.point.clone()));
            }
        }
    }
    if gone.is_empty() && unread.is_empty() {
        return Ok(Vanished::default());
    }
    let strange = crate::strange::logs(plan, witness, survey, now);
    let mut vanished = Vanished::default();
    for (mut lost, identity) in unread {
        lost.system = lost.system.or_else(|| system_of(records, &lost.id));
        lost.nowhere = !survey.points.iter().any(|point| crate::prune::identity(point) == identity);
        vanished.unread.push(lost);
    }
    for (mut lost, identity) in gone {
        lost.system = lost.system.or_else(|| system_of(records, &lost.id));
        let same = survey.points.iter().filter(|point| crate::prune::identity(point) == identity);
        let here: Vec<&VaultName> = same.flat_map(|point| &point.vaults).collect();
        lost.nowhere = here.is_empty();
        match here.contains(&&lost.vault) || is_replaced(&lost, survey, &strange) {
            true => vanished.settled.push(lost),
            false => vanished.missed.push(lost),
        }
    }
    vanished.missed.sort_by(|a, b| (&a.vault, a.time, &a.id).cmp(&(&b.vault, b.time, &b.id)));
    if !vanished.missed.is_empty() && others_prune(plan, machine) {
        let goes = let_go(plan, witness, records, &vanished.missed, survey, now);
        let missed = std::mem::take(&mut vanished.missed);
        let (settled, missed): (Vec<_>, Vec<_>) =
            missed.into_iter().partition(|lost| goes.contains(&lost.snapshot));
        vanished.settled.extend(settled);
        vanished.missed = missed;
    }
    vanished.logs = newer::logs_gone(&vanished.missed, survey, &strange);
    Ok(vanished)
}

/// Returns whether it is known what a vault that is open holds.
fn is_asked(survey: &Survey, vault: &VaultName) -> bool {
    !survey.is_unseen(vault) && survey.unreachable.iter().all(|(unreachable, _)| unreachable != vault)
}

fn system_of(records: &[Record], id: &str) -> Option<SystemName> {
    made(records, id).map(|made| SystemName::from(made.system.as_str()))
}

fn made<'a>(records: &'a [Record], id: &str) -> Option<&'a state::Made> {
    records.iter().rev().find_map(|record| match &record.body {
        Body::Backup(made) if made.point == id => Some(made),
        _ => None,
    })
}

/// Returns whether it is a log that a newer one in the same vault holds whole: whoever wrote that has taken it away. A strange one has taken no place.
fn is_replaced(lost: &Lost, survey: &Survey, strange: &[Strange]) -> bool {
    let Some(log) = lost.system.as_ref().filter(|system| SystemName::of_log(&system.0).is_some()) else {
        return false;
    };
    let newer = |point: &crate::survey::Surveyed| {
        let is_newer = point.point.time > lost.time && point.point.complete;
        is_newer && point.vaults.contains(&lost.vault) && !strange.iter().any(|strange| strange.is(point))
    };
    survey.of(log).any(newer)
}

/// Returns whether another machine than this one takes points out: the one that the plan names, or any by hand.
fn others_prune(plan: &Plan, machine: &str) -> bool {
    match plan.policy.prune.as_ref().and_then(|prune| prune.host.as_ref()) {
        Some(host) => plan.machine_name(host) != machine,
        None => plan.systems.values().any(|system| !plan.runs_on(system, machine)),
    }
}

/// Returns the snapshots of these that the plan lets go anyway, with all that were there: what another machine may have pruned leaves no other trace.
fn let_go(
    plan: &Plan,
    witness: &Witness,
    records: &[Record],
    missed: &[Lost],
    survey: &Survey,
    now: Timestamp,
) -> HashSet<String> {
    let mut groups: BTreeMap<(&VaultName, &SystemName), Vec<&Lost>> = BTreeMap::new();
    for lost in missed {
        if let Some(name) = &lost.system {
            groups.entry((&lost.vault, name)).or_default().push(lost);
        }
    }
    let mut goes = HashSet::new();
    for ((vault, name), all) in groups {
        if !plan.systems.contains_key(name) {
            continue;
        }
        let mut points = witness.judged(plan, survey, name, now);
        points.retain(|point| point.vaults.contains(vault));
        points.extend(all.iter().map(|lost| facts(records, lost)));
        let kept = verdicts(plan, survey, name, witness, &points, now);
        let let_go: HashMap<&str, bool> =
            kept.iter().map(|verdict| (verdict.id.as_str(), verdict.kept.is_empty())).collect();
        let is_let_go = |lost: &&&Lost| let_go.get(lost.id.as_str()).copied().unwrap_or(false);
        goes.extend(all.iter().filter(is_let_go).map(|lost| lost.snapshot.clone()));
    }
    goes
}

/// Returns what is left to know of a point that is gone.
fn facts(records: &[Record], lost: &Lost) -> Facts {
    let made = made(records, &lost.id);
    let why = made.and_then(|made| made.suspicious.clone());
    let rating = if why.is_some() { Rating::Suspicious } else { Rating::Good };
    Facts {
        id: lost.id.clone(),
        time: lost.time,
        complete: made.is_none_or(|made| made.unread == 0),
        vaults: vec![lost.vault.clone()],
        judgement: Judgement { rating, why, ..Judgement::default() },
        ..Facts::default()
    }
}

impl Lost {
    fn of(vault: &VaultName, snapshot: &str, seen: &Seen) -> Self {
        // Its id, its content and its time.
        let mut words = seen.point.rsplitn(3, ' ');
        let (time, _, id) = (words.next(), words.next(), words.next());
        Self {
            vault: vault.clone(),
            snapshot: snapshot.to_owned(),
            id: id.unwrap_or(&seen.point).to_owned(),
            system: seen.system.as_deref().map(SystemName::from),
            time: time.and_then(|time| time.parse().ok()).unwrap_or(seen.first),
            first_seen: seen.first,
            nowhere: false,
        }
    }

    /// Returns whether it may be a point of this system: one of which nobody knows may be of any.
    #[must_use]
    pub fn may_be_of(&self, name: &SystemName) -> bool {
        self.system.as_ref().is_none_or(|system| system == name)
    }

    fn is_of(&self, name: &SystemName) -> bool {
        self.system.as_ref() == Some(name)
    }
}

impl Vanished {
    /// Returns whether nothing is missed, and nothing is there that isn't what it says.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missed.is_empty() && self.strange.is_empty() && self.keys.is_empty()
    }

    /// Returns the vaults that something is missed in.
    #[must_use]
    pub fn vaults(&self) -> BTreeSet<&VaultName> {
        self.missed.iter().map(|lost| &lost.vault).collect()
    }

    /// Leaves only what may be of one of these systems.
    #[must_use]
    pub fn among(mut self, systems: &[SystemName]) -> Self {
        let is_wanted = |lost: &Lost| {
            let log = lost.system.as_ref().and_then(|system| SystemName::of_log(&system.0));
            systems.iter().any(|name| lost.may_be_of(name) || log.as_ref() == Some(name))
        };
        self.missed.retain(is_wanted);
        self.strange.retain(|strange| strange.is_among(systems));
        self
    }

    /// Returns how many points no vault has that was asked.
    #[must_use]
    pub fn nowhere_count(&self) -> usize {
        let nowhere = self.missed.iter().filter(|lost| lost.nowhere);
        nowhere.map(|lost| (&lost.id, lost.time)).collect::<HashSet<_>>().len()
    }

    /// Says what is missed in a vault; `None` if nothing is.
    #[must_use]
    pub fn said_of(&self, vault: &VaultName) -> Option<String> {
        let missed: Vec<&Lost> = self.missed.iter().filter(|lost| lost.vault == *vault).collect();
        let newest = missed.last()?;
        let of = newest.system.as_ref().map_or_else(String::new, |system| format!(" of {system}"));
        Some(format!(
            "{} here {} not listed any more (the newest: {}{of}, made {}, seen since {})",
            were(missed.len()),
            if missed.len() == 1 { "is" } else { "are" },
            newest.id.get(..SHORT).unwrap_or(&newest.id),
            time(newest.time),
            time(newest.first_seen)
        ))
    }

    /// Says what is missed and what isn't what it says, a line for each vault that names it first.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        let said = self.vaults().into_iter().filter_map(|vault| Some((vault, self.said_of(vault)?)));
        let mut said: Vec<String> = said.map(|(vault, said)| format!("vault {vault}: {said}")).collect();
        said.extend(self.strange_said());
        said
    }

    /// Says what is there and isn't what it says, a line for each vault that names it first, or for each machine whose keys are in question.
    #[must_use]
    pub fn strange_said(&self) -> Vec<String> {
        let mut vaults: BTreeSet<&VaultName> =
            self.strange.iter().flat_map(|strange| &strange.vaults).collect();
        vaults.extend(self.keys.iter().map(|(vault, _)| vault));
        let said = vaults.into_iter().filter_map(|vault| Some((vault, self.strange_in(vault)?)));
        let help = match self.open.as_slice() {
            [] => crate::strange::HELP.to_owned(),
            open => open.join("; "),
        };
        let said: Vec<String> = said.map(|(vault, said)| format!("vault {vault}: {said}; {help}")).collect();
        if said.is_empty() { self.open.clone() } else { said }
    }

    /// Says what is in a vault and isn't what it says; `None` if nothing is.
    #[must_use]
    pub fn strange_in(&self, vault: &VaultName) -> Option<String> {
        let there: Vec<&Strange> =
            self.strange.iter().filter(|strange| strange.vaults.contains(vault)).collect();
        let keys = self.keys.iter().filter(|(of, _)| of == vault).map(odd_key);
        let mut said = crate::survey::first(keys, vault);
        said.extend(strange_points(&there));
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// Returns what is missed as an error of one vault, for one who goes no further.
    #[must_use]
    pub fn refusal(&self, vault: &VaultName, what: &str) -> Option<Error> {
        let said = self.said_of(vault)?;
        Some(Error::new(format!("{said}: {what}")).help(help(vault)))
    }

    /// Returns the points of a system that no vault has which was asked, each once, oldest first.
    fn nowhere(&self, name: &SystemName) -> Vec<&Lost> {
        let mut known = HashSet::new();
        let mut all: Vec<&Lost> = self
            .missed
            .iter()
            .filter(|lost| lost.nowhere && lost.is_of(name) && known.insert((&lost.id, lost.time)))
            .collect();
        all.sort_by_key(|lost| lost.time);
        all
    }

    /// Says what can't be read in a vault of what was seen there; `None` if nothing is.
    fn unread_in(&self, vault: &VaultName) -> Option<String> {
        let unread: Vec<&Lost> = self.unread.iter().filter(|lost| lost.vault == *vault).collect();
        let newest = unread.iter().max_by_key(|lost| lost.time)?;
        let of = newest.system.as_ref().map_or_else(String::new, |system| format!(" of {system}"));
        Some(format!(
            "{} {UNREAD}: damaged (the newest: {}{of}, made {}): releve repair {vault}",
            were(unread.len()),
            newest.id.get(..SHORT).unwrap_or(&newest.id),
            time(newest.time)
        ))
    }

    /// Says which points of a system were known where there is none any more.
    #[must_use]
    pub fn all(&self, name: &SystemName) -> Option<String> {
        let (gone, help) = self.gone_of(&self.nowhere(name), "point", "it")?;
        Some(format!("{gone}; {help}"))
    }

    /// Says where these points of a system were seen, and what to do about it.
    fn gone_of(&self, lost: &[&Lost], what: &str, of: &str) -> Option<(String, String)> {
        let newest = lost.last()?;
        let (count, are) = count(lost.len(), what);
        let were = if lost.len() == 1 { "was" } else { "were" };
        let gone = format!(
            "{count} of {of} {were} seen in {vaults}, the newest of {time}, and {are} gone from there",
            vaults = self.places(lost),
            time = time(newest.time),
        );
        Some((gone, help(&newest.vault)))
    }

    /// Says why a new point of a system can't be held against the ones before, where none of these is left that it could be, and what the last one held.
    #[must_use]
    pub fn unheld(&self, name: &SystemName, records: &[Record]) -> Option<String> {
        let all = self.nowhere(name);
        let newest = all.last()?;
        let what = match made(records, &newest.id) {
            Some(made) => format!(", {} files, {}", made.files, plan::Size(made.bytes)),
            None => String::new(),
        };
        let (count, are) = count(all.len(), "point");
        Some(format!(
            "the {count} before it {are} gone from the vaults that could be asked (the newest of {}{what}): nobody can tell what has changed since",
            time(newest.time)
        ))
    }

    /// Names the vaults that these were in, some of them perhaps in several.
    fn places(&self, of: &[&Lost]) -> String {
        let ids: HashSet<&str> = of.iter().map(|lost| lost.id.as_str()).collect();
        let there = self.missed.iter().chain(&self.unread).filter(|lost| ids.contains(lost.id.as_str()));
        let vaults: BTreeSet<&str> = there.map(|lost| lost.vault.0.as_str()).collect();
        vaults.into_iter().collect::<Vec<_>>().join(" and ")
    }
}

/// Says of the points of one vault that they aren't what they say.
fn strange_points(there: &[&Strange]) -> Option<String> {
    let newest = there.last()?;
    let (count, are) = count(there.len(), "point");
    Some(format!(
        "{count} here {are} not taken for what {} (the newest: {} of {}, {}, {})",
        if there.len() == 1 { "it says" } else { "they say" },
        newest.id.get(..SHORT).unwrap_or(&newest.id),
        newest.system,
        time(newest.time),
        newest.why
    ))
}

/// Says of a key file that it appeared.
fn odd_key((vault, odd): &(VaultName, OddKey)) -> String {
    let key = odd.key.get(..SHORT).unwrap_or(&odd.key);
    let what = if odd.came_back { "was removed and is there again" } else { "is new to this machine" };
    format!(
        "the key file {key} {what}, seen {}: whoever put it there opens the vault (releve key list --vault {vault}; releve key remove {key})",
        time(odd.since)
    )
}

/// Says what to do about points that vanished from a vault.
#[must_use]
pub fn help(vault: &VaultName) -> String {
    format!(
        "find out who removed them; `releve sync` brings back what another vault has, `releve undelete {vault}` what a store keeps of what was deleted; \
        if that was on purpose: releve prune {vault} --accept-missing"
    )
}

/// Returns `1 point` and `is`, or `2 points` and `are`.
fn count(count: usize, what: &str) -> (String, &'static str) {
    match count {
        1 => (format!("1 {what}"), "is"),
        many => (format!("{many} {what}s"), "are"),
    }
}

/// Returns `1 point that was`, or `2 points that were`.
fn were(count: usize) -> String {
    match count {
        1 => "1 point that was".to_owned(),
        many => format!("{many} points that were"),
    }
}

/// Returns an instant as people here read it.
fn time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::{Host, Keep, Period, Policy, Prune, System, Vault};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// `shop` runs here and `mail` elsewhere, both in the vault `near`.
    fn plan(prunes: Option<&str>) -> Plan {
        let system = |host: &str| System { host: host.into(), ..System::default() };
        let prune = prunes.map(|host| Prune { host: Some(host.into()), ..Prune::default() });
        let keep = Some(Keep { last: Some(1), ..Keep::default() });
        let every = Period::seconds(3600);
        Plan {
            hosts: [("here".into(), Host::default()), ("there".into(), Host::default())].into(),
            vaults: [("near".into(), Vault::default())].into(),
            systems: [("shop".into(), system("here")), ("mail".into(), system("there"))].into(),
            policy: Policy { vaults: vec!["near".into()], keep, every, prune, ..Policy::default() },
            ..Plan::default()
        }
    }

    fn state() -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        (dir, state)
    }

    fn wrote(state: &State, snapshot: &str, system: Option<&str>, second: i64) {
        let point = format!("{snapshot}{snapshot} tree {}", at(second));
        state.saw_written("near", snapshot, &point, system, at(second)).unwrap();
    }

    fn missed(plan: &Plan, state: &State, survey: &Survey) -> Vec<String> {
        let known = Known::read(plan, state).unwrap();
        let vanished = judged(plan, state, &known, survey, at(10_000));
        vanished.missed.into_iter().map(|lost| lost.snapshot).collect()
    }

    fn judged(plan: &Plan, state: &State, known: &Known, survey: &Survey, now: Timestamp) -> Vanished {
        let (near, records) = (VaultName::from("near"), state.records().unwrap());
        let by = (records.as_slice(), &Witness::of(plan, state, &records).unwrap());
        judge((plan, state, "here"), known, by, &[&near], survey, now).unwrap()
    }

    #[test]
    fn what_was_seen_and_is_not_listed_is_missed_until_a_person_or_a_prune_says_why() {
        let (_dir, state) = state();
        let (plan, survey) = (plan(Some("here")), Survey::default());
        assert!(missed(&plan, &state, &survey).is_empty(), "a new state claims nothing");
        for (second, snapshot) in (1..).zip(["a", "b", "c"]) {
            wrote(&state, snapshot, Some("shop"), second);
        }
        assert_eq!(missed(&plan, &state, &survey), ["a", "b", "c"]);
        // Under way, or taken out by a prune that died.
        state.going("near", &["a".into()]).unwrap();
        assert_eq!(missed(&plan, &state, &survey), ["b", "c"]);
        state.unsee("near", "b").unwrap();
        assert_eq!(missed(&plan, &state, &survey), ["c"]);
    }

    #[test]
    fn of_a_vault_that_could_not_be_asked_nothing_is_concluded() {
        let (_dir, state) = state();
        wrote(&state, "a", Some("shop"), 1);
        let unreachable = vec![("near".into(), "no route".to_owned())];
        let survey = Survey { unreachable, ..Survey::default() };
        assert!(missed(&plan(Some("here")), &state, &survey).is_empty());
        let unseen = vec![("near".into(), "another machine's".to_owned())];
        let survey = Survey { unseen, ..Survey::default() };
        assert!(missed(&plan(Some("here")), &state, &survey).is_empty());
        // What can't be read is there.
        let damaged = vec![("near".into(), "read snapshots/a: damaged".to_owned())];
        let survey = Survey { damaged, ..Survey::default() };
        assert!(missed(&plan(Some("here")), &state, &survey).is_empty());
    }

    #[test]
    fn what_was_written_while_the_vault_was_asked_is_not_missed() {
        let (_dir, state) = state();
        let plan = plan(Some("here"));
        let known = Known::read(&plan, &state).unwrap();
        wrote(&state, "a", Some("shop"), 1);
        let vanished = judged(&plan, &state, &known, &Survey::default(), at(2));
        assert_eq!(vanished, Vanished::default());
    }

    #[test]
    fn where_another_machine_prunes_only_what_the_plan_keeps_is_missed() {
        let (_dir, state) = state();
        for (second, snapshot) in (1..).zip(["a", "b", "c"]) {
            wrote(&state, snapshot, Some("shop"), 3600 * second);
        }
        let survey = Survey::default();
        assert_eq!(missed(&plan(Some("there")), &state, &survey), ["c"]);
        // By hand anybody may, where systems are on several machines.
        assert_eq!(missed(&plan(None), &state, &survey), ["c"]);
        assert_eq!(missed(&plan(Some("here")), &state, &survey), ["a", "b", "c"]);
    }

    #[test]
    fn what_is_missed_is_said_with_its_system_and_how_long_it_was_known() {
        let (_dir, state) = state();
        wrote(&state, "a", Some("shop"), 1);
        wrote(&state, "b", Some("shop"), 2);
        let plan = plan(Some("here"));
        let known = Known::read(&plan, &state).unwrap();
        let (near, shop) = (VaultName::from("near"), SystemName::from("shop"));
        let vanished = judged(&plan, &state, &known, &Survey::default(), at(3));
        let said = vanished.said_of(&near).unwrap();
        assert!(said.starts_with("2 points that were here are not listed any more (the newest: bb of shop"));
        let newer = vanished.newer(&shop, at(1), None).unwrap();
        assert!(newer.starts_with("1 newer point of shop was seen in near, the newest of "), "{newer}");
        assert!(newer.contains("and is gone from there: what follows takes an older state"), "{newer}");
        assert_eq!(vanished.newer(&shop, at(2), None), None);
        assert_eq!(vanished.newer(&shop, at(1), Some(at(2))), None);
        assert!(vanished.all(&shop).unwrap().starts_with("2 points of it were seen in near"));
        assert!(vanished.unheld(&shop, &[]).unwrap().starts_with("the 2 points before it are gone"));
        assert_eq!(vanished.all(&"mail".into()), None);
        assert!(vanished.clone().among(&["mail".into()]).is_empty() && !vanished.among(&[shop]).is_empty());
    }

    #[test]
    fn the_alert_lasts_as_long_as_something_is_missed() {
        let (_dir, state) = state();
        wrote(&state, "a", None, 1);
        let plan = plan(Some("here"));
        let known = Known::read(&plan, &state).unwrap();
        let near = VaultName::from("near");
        let vanished = judged(&plan, &state, &known, &Survey::default(), at(3));
        note(&state, &near, &vanished, at(3)).unwrap();
        assert!(state.signs(SIGN).unwrap()["near"].why.starts_with("1 point that was here"));
        note(&state, &near, &Vanished::default(), at(4)).unwrap();
        assert!(state.signs(SIGN).unwrap().is_empty());
    }
}
