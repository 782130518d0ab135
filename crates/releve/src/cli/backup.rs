//! `releve backup`.

use super::claim::{BACKUP, claim, refusal};
use crate::session::Session;
use crate::show::{self, Screen, size};
use crate::{Exit, Outcome};
use engine::Watch;
use engine::dropped::Known;
use engine::judge::Witness;
use engine::outage::{Outage, outage};
use engine::protect::{Job, Made, protect};
use engine::signers::{Signer, know_own, learn, note_new};
use engine::survey::{shown, survey};
use engine::vanished::Vanished;
use engine::vaults::{Absent, Opened};
use jiff::Timestamp;
use plan::dropped::Dropped;
use plan::{SystemName, companions, grouped};
use serde_json::json;
use state::{Body, RunLease, State};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;
use vault::{Change, PointInfo, Progress};

/// What `backup` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve backup              every system of the plan\n  releve backup shop orders  these two\n\n\
    Systems that the plan calls consistent_with each other are captured at the same time; naming one means all of them on this machine.\n    \
    A system that is down or on its way back (an open recovery or incident) gets no point by itself: what it holds then is not what it is to come back to.\n    \
    A vault that does not exist yet is created. One that was there before and is gone is an error.\n\
    Exit status 1: a point was made and lacks something, or a vault does (it says what), or points of it that this machine has seen are gone; 2: a system has no new point at all, \
    also where none was begun since a backup or a recovery of it is under way: a script that counts on a new point must not take it for one."
)]
pub(super) struct Options {
    /// The systems; all of them unless named
    systems: Vec<String>,
    /// Make a point of a system although a recovery or an incident of it is open. It is marked: no recovery takes it by itself
    #[arg(long)]
    during_incident: bool,
}

/// The right to make a point, with what is known of an outage; or what goes first.
type Admitted<'a> = Result<(Vec<RunLease<'a>>, Option<Outage>), engine::Error>;

/// What the points of one run have in common.
#[derive(Clone, Copy)]
pub(super) struct Making<'a> {
    pub(super) session: &'a Session,
    pub(super) state: &'a State,
    pub(super) screen: &'a Screen,
    pub(super) watch: Option<&'a Watch>,
    /// Also of a system that is down or on its way back.
    pub(super) during_incident: bool,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let systems = session.systems(&options.systems)?;
    let state = session.state()?;
    let screen = Screen::new(session.json, false);
    let groups = grouped(&session.plan, &systems).into_iter();
    let (state, screen) = (&state, &screen);
    let making = Making { session, state, screen, watch: None, during_incident: options.during_incident };
    let made = groups.flat_map(|group| making.together(&with_companions(session, group)));
    let exit = show::all(session.json, "systems", made);
    super::alerts::round(session, state);
    Ok(exit)
}

/// Adds to systems of one group the rest of it that runs on this machine.
pub(super) fn with_companions(session: &Session, mut group: Vec<SystemName>) -> Vec<SystemName> {
    let plan = &session.plan;
    let here = |name: &SystemName| {
        plan.systems.get(name).is_some_and(|system| plan.runs_on(system, &session.holder.hostname))
    };
    let all = group.first().map_or_else(BTreeSet::new, |first| companions(plan, first));
    let more: Vec<_> = all.into_iter().filter(|name| !group.contains(name) && here(name)).collect();
    group.extend(more);
    group
}

impl Making<'_> {
    /// Makes a point of each of these systems, all at the same time.
    pub(super) fn together(&self, names: &[SystemName]) -> Vec<(Exit, serde_json::Value)> {
        let Some((first, others)) = names.split_first() else { return Vec::new() };
        std::thread::scope(|scope| {
            let others: Vec<_> = others.iter().map(|name| scope.spawn(move || self.one(name))).collect();
            let mut all = vec![self.one(first)];
            all.extend(
                others
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
            );
            all
        })
    }

    /// Makes one point and records what came of it, good or bad.
    fn one(&self, name: &SystemName) -> (Exit, serde_json::Value) {
        let (state, screen) = (self.state, self.screen);
        let now = Timestamp::now();
        let begun = Instant::now();
        let admitted = match is_stopped() {
            false => self.admitted(name),
            true => Ok(Err(engine::Error::new("interrupted before it was begun"))),
        };
        let refused = matches!(admitted, Ok(Err(_)));
        let mut vanished = Vanished::default();
        let result = match admitted {
            Ok(Ok((_right, outage))) => self.attempt(name, now, outage, &mut vanished),
            Ok(Err(error)) | Err(error) => Err(error),
        };
        let mut record = state::Made {
            system: name.0.clone(),
            started: now,
            seconds: begun.elapsed().as_secs_f64(),
            refused,
            ..Default::default()
        };
        let mut exit = Exit::Done;
        let dropped = result.as_ref().map_or_else(|_| Vec::new(), |made| self.dropped(name, made));
        match &result {
            Ok(made) => {
                let failed = |result: &engine::Result<_>| result.as_ref().err().map(ToString::to_string);
                record.point.clone_from(&made.id);
                record.complete = made.is_complete();
                record.unread = made.unread.len() as u64;
                record.unread_first = made.unread.first().map(first_line);
                record.vaults =
                    made.vaults.iter().map(|(vault, result)| (vault.0.clone(), failed(result))).collect();
                record.help = made.missing().find_map(|(_, error)| error.help.clone());
                record.files = made.info.regular();
                record.bytes = made.info.bytes;
                record.by_journal = made.by_journal;
                record.suspicious.clone_from(&made.info.suspicious);
                let source = self.session.plan.systems.get(name).and_then(|system| system.source.as_ref());
                record.paths = source.map(plan::Source::paths).unwrap_or_default();
                record.facts = serde_json::to_value(&made.facts).unwrap_or_default();
                let left = source::left_behind(&made.info.made_with).into_iter();
                record.left_behind = left.map(|(path, why)| format!("{}: {why}", path.display())).collect();
                let notes = made.info.notes.iter().filter(|note| source::is_advice(&note.why));
                record.advised = notes.map(|note| note.why.clone()).collect();
                record.gone = made.gone.iter().map(|(vault, packs)| (vault.0.clone(), *packs)).collect();
                if made.vaults.values().all(Result::is_err) {
                    exit = Exit::Failed;
                    record.failure = Some(nowhere(made));
                } else if !record.complete
                    || !made.details.is_empty()
                    || record.suspicious.is_some()
                    || !record.gone.is_empty()
                    || !made.damaged.is_empty()
                    || !made.listings.unlisted.is_empty()
                    || !made.without_config.is_empty()
                    || !made.strange.is_empty()
                    || !made.signed
                    || !vanished.is_empty()
                    || !dropped.is_empty()
                {
                    exit = Exit::Finding;
                }
                for (vault, written) in &made.vaults {
                    if let Ok((snapshot, _)) = written {
                        let point = format!("{} {} {}", made.id, made.tree, made.time);
                        let noted = state.saw_written(
                            &vault.0,
                            &snapshot.to_string(),
                            &point,
                            Some(&name.0),
                            Timestamp::now(),
                        );
                        if let Err(error) = noted {
                            screen.line(&format!("{name}: the point could not be noted: {error}"));
                        }
                    }
                }
                self.session.note_listings(state, &made.listings);
                say(screen, name, made, record.seconds);
                if let Some(newest) = made.strange.last() {
                    let (count, id, why) = (made.strange.len(), &newest.id, &newest.why);
                    screen.line(&format!(
                        "  NOT WHAT THEY SAY: {count} points before it (the newest: {id} {why})"
                    ));
                    screen.line(&format!("    {}", engine::strange::HELP));
                }
                for one in &dropped {
                    screen.line(&format!("  NO LONGER CAPTURED: {}", show::dates(&one.said())));
                    screen.line(&format!("    {}", one.way_out(name)));
                }
                for vault in vanished.vaults() {
                    let said = vanished.said_of(vault).unwrap_or_default();
                    screen.line(&format!("  GONE from {vault}: {said}"));
                    screen.line(&format!("    {}", engine::vanished::help(vault)));
                }
            }
            Err(error) => {
                exit = Exit::Failed;
                record.failure = Some(error.to_string());
                record.help.clone_from(&error.help);
                let what = if refused { "not begun" } else { "no restore point" };
                screen.failed(format_args!("{name}: {what}"), error);
            }
        }
        let document = json!({ "system": name, "record": &record, "vanished": &vanished,
        "dropped": dropped.iter().map(Dropped::said).collect::<Vec<_>>(),
        "unread": result.as_ref().map_or_else(|_| Vec::new(), |made| made.info.unread.clone()),
        "details": result.as_ref().map_or_else(|_| Vec::new(), |made| made.info.details.clone()),
        "details_count": result.as_ref().map_or(0, |made| made.info.details_count),
        "left_out": result.as_ref().map_or_else(|_| Vec::new(), |made| made.info.left_out.clone()),
        "notes": result.as_ref().map_or_else(|_| Vec::new(), |made| made.info.notes.clone()),
        "doubts": result.as_ref().map_or_else(|_| Vec::new(), |made| made.info.doubts.clone()),
        "damaged": result.as_ref().map_or_else(|_| Vec::new(), damaged),
        "unlisted": result.as_ref().map_or_else(|_| Vec::new(), |made| made.listings.unlisted.clone()),
        "bytes_new": result.as_ref().map_or(0, |made| made.info.change.bytes_new) });
        let is_nowhere = |made: &Made| made.vaults.values().all(Result::is_err);
        let is_ended = was_ended(&result) || is_stopped() && result.as_ref().is_ok_and(is_nowhere);
        if !is_ended && let Err(error) = state.append(Body::Backup(record), Timestamp::now()) {
            screen.line(&format!("{name}: what happened could not be recorded: {error}"));
            exit = exit.worse(Exit::Finding);
        }
        (exit, document)
    }

    /// Returns what this point is the first not to have, since the plan was edited: it is said once, and an alert until a person says that it is meant. What can't be known
    /// of the points before says nothing.
    fn dropped(&self, name: &SystemName, made: &Made) -> Vec<Dropped> {
        let (plan, state) = (&self.session.plan, self.state);
        if made.info.suspicious.is_some() || !made.unread.is_empty() {
            return Vec::new();
        }
        let Ok(records) = state.records() else { return Vec::new() };
        let known = Known::of(plan, state, &records).map(|known| known.of_system(name, Some(&made.facts)));
        let mut all = known.unwrap_or_default();
        all.retain(|one| one.first == made.id);
        all
    }

    /// Takes the right to make a point, and looks whether the system is down; `Err` inside says what goes first.
    fn admitted(&self, name: &SystemName) -> engine::Result<Admitted<'_>> {
        // Looked at under the right to do so: who begins a recovery takes that first.
        let right = match claim(self.session, self.state, std::slice::from_ref(&name.0), BACKUP)? {
            Ok(right) => right,
            Err((system, held)) => return Ok(Err(refusal(&system, &held, BACKUP))),
        };
        let outage = outage(self.state, &self.state.records()?, name)?;
        Ok(match outage.as_ref().filter(|_| !self.during_incident) {
            Some(outage) => Err(outage.refusal()),
            None => Ok((right, outage)),
        })
    }

    /// Returns what signs the points of this machine. Its first backup makes the key: whatever signed for a machine of this name before counts on. That a point
    /// can't be signed is said, and keeps none from being made.
    fn signer(&self, vaults: &[Opened], now: Timestamp) -> Option<Signer> {
        let Self { session, state, screen, .. } = *self;
        let dir = &session.state_dir;
        let signer = Signer::read(dir, state).and_then(|signer| {
            let machine = session.holder.hostname.as_str();
            if let Some(own) = &signer {
                if !state.signers()?.contains_key(machine) {
                    know_own(state, machine, &own.public(), &survey(vaults), now)?;
                }
                own.know(state, machine, now)?;
                return Ok(signer);
            }
            let survey = survey(vaults);
            let learned = learn(state, machine, &survey, &state.records()?, now)?;
            learned.said.iter().for_each(|learned| screen.line(&format!("  note: {learned}")));
            let signer = Signer::make(dir, state, machine, now)?;
            let key = signer.as_ref().map(Signer::public);
            match key.map_or(Ok(None), |key| note_new(state, machine, &survey, &key, now)) {
                Ok(None) => {}
                Ok(Some(said)) => {
                    screen.line(&format!("  NOTE: {said}"));
                    screen.line("    put it on paper beside the old one: releve state signers");
                }
                Err(error) => {
                    screen.line(&format!("  warning: that a new key signs could not be noted: {error}"));
                }
            }
            Ok(signer)
        });
        signer.unwrap_or_else(|error| {
            screen.line(&format!("  the point is not signed, so no machine takes it by itself: {error}"));
            error.help.iter().for_each(|help| screen.line(&format!("    {help}")));
            None
        })
    }

    fn attempt(
        &self,
        name: &SystemName,
        now: Timestamp,
        outage: Option<Outage>,
        vanished: &mut Vanished,
    ) -> engine::Result<Made> {
        let Self { session, state, screen, watch, .. } = *self;
        let system = session.plan.systems.get(name).ok_or_else(|| engine::Error::new("no such system"))?;
        let mut names = session.plan.policy_of(system).vaults;
        // What another machine fetches, this one has no way to write.
        names.retain(|vault| session.plan.writes(vault, &session.holder.hostname));
        let seen = session.known(Some(state));
        let vaults = session.open(&names, Absent::Create, Some(state));
        session.say_limits(screen, &names);
        let progress = Arc::new(Progress::default());
        screen.bar(&name.0, &progress);
        stop_on_signal(&progress);
        let signer = self.signer(&vaults, now);
        let witness = Witness::new(&session.plan, state)?;
        let mut doubts: Vec<String> = Vec::new();
        doubts.extend(outage.into_iter().map(|outage| format!("made although {}", outage.what)));
        if seen.is_any_missing(state, &vaults, now) {
            let survey = survey(&vaults);
            let all = session.vanished(Some(state), &seen, &vaults, &survey);
            // Where nothing is left that it could be held against, nobody sees what became of the system: it is not simply new.
            let points = witness.judged(&session.plan, &survey, name, now);
            if !points.iter().any(plan::Facts::is_base) {
                doubts.extend(all.unheld(name, &state.records()?));
            }
            *vanished = all.among(std::slice::from_ref(name));
        }
        let scratch = session.state_dir.join("scratch");
        let job = Job {
            plan: &session.plan,
            name,
            vaults: &vaults,
            secrets: session.secrets(),
            scratch: &scratch,
            holder: session.holder.clone(),
            now,
            watch,
            witness: &witness,
            signer: signer.as_ref(),
            doubts,
        };
        let made = protect(&job, &progress)?;
        for opened in &vaults {
            if let Some(why) = opened.repository.as_ref().ok().and_then(|vault| vault.refuses_removal()) {
                screen.line(&format!(
                    "  {}: its credentials have no right to delete ({why}): locks stay there, which harms nothing; a prune needs others",
                    opened.name
                ));
            }
        }
        Ok(made)
    }
}

/// Returns whether somebody wants this process to end: whoever only waits needn't go on.
pub(crate) fn is_stopped() -> bool {
    process::ending().load(Relaxed)
}

/// Returns whether this failed when somebody wanted the process to end: that says nothing of what it was at, so it is no failure to record, and nobody is told.
pub(crate) fn was_ended<T, E>(result: &Result<T, E>) -> bool {
    result.is_err() && is_stopped()
}

/// Lets Ctrl-C and `systemctl stop` end long work at the next safe place; a second one ends it at once.
pub(super) fn stop_on_signal(progress: &Arc<Progress>) {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use std::sync::{Mutex, Once, PoisonError, Weak};
    static ONCE: Once = Once::new();
    static RUNNING: Mutex<Vec<Weak<Progress>>> = Mutex::new(Vec::new());
    let running = || RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running().retain(|progress| progress.strong_count() > 0);
    running().push(Arc::downgrade(progress));
    if is_stopped() {
        progress.stop();
    }
    ONCE.call_once(|| {
        let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) else { return };
        std::thread::spawn(move || {
            for (count, signal) in signals.forever().enumerate() {
                if count > 0 {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
                process::ending().store(true, Relaxed);
                running().iter().filter_map(Weak::upgrade).for_each(|progress| progress.stop());
            }
        });
    });
}

/// Returns what could not be read and why, in one line: a program's last words may be many.
fn first_line(unread: &vault::Unread) -> String {
    /// Enough for what a program complains of, and no more than a message holds.
    const LETTERS_MAX: usize = 300;
    let line = unread.why.lines().next().unwrap_or_default();
    format!("{}: {}", shown(&unread.path), line).chars().take(LETTERS_MAX).collect()
}

/// Says that no vault has a point, and why each has it not: whoever is told of it must know what to do.
fn nowhere(made: &Made) -> String {
    let why: Vec<_> = made.missing().map(|(vault, error)| format!("not in {vault}: {error}")).collect();
    format!("no vault has the point: {}", why.join("; "))
}

/// Says how many there are of what: `1710 files`, `695 files, 1015 links`.
fn kinds(info: &PointInfo) -> String {
    let files = info.regular();
    let more = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
    let one = |count: u64, one: &'static str, many: &'static str| if count == 1 { one } else { many };
    format!(
        "{files} {}{}{}",
        one(files, "file", "files"),
        more(info.links, one(info.links, "link", "links")),
        more(info.specials, one(info.specials, "device or pipe", "devices or pipes")),
    )
}

/// Says what became of the files since the point before: `3 new, 2 changed, 60 touched, 4 gone, 2 moved`.
fn changes(change: &Change) -> String {
    if change.files_new > 0 && change.files_changed + change.files_unchanged + change.files_removed == 0 {
        return "all new".into();
    }
    let moved = change.files_moved;
    let mut text =
        format!("{} new, {} changed", change.files_new.saturating_sub(moved), change.files_changed);
    let rest = [
        (change.files_touched, "touched"),
        (change.files_removed.saturating_sub(moved), "gone"),
        (moved, "moved"),
        (change.files_scrambled, "turned into noise"),
    ];
    let there: Vec<String> = rest
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!(", {count} {what}"))
        .collect();
    text.push_str(&there.concat());
    text
}

/// Names the snapshots that can't be read, for scripts.
fn damaged(made: &Made) -> Vec<serde_json::Value> {
    made.damaged.iter().map(|(vault, why)| json!({ "vault": vault, "why": why })).collect()
}

fn say(screen: &Screen, name: &SystemName, made: &Made, seconds: f64) {
    let there: Vec<_> =
        made.vaults.iter().filter(|(_, result)| result.is_ok()).map(|(vault, _)| vault.0.as_str()).collect();
    let change = &made.info.change;
    screen.line(&format!(
        "{name}: point {}{}{} in {}: {}, {}; {}, {} of new content; {seconds:.1} s{}",
        made.id.get(..8).unwrap_or(&made.id),
        // That a vault lacks it is no lack of its own, and is said below.
        if made.unread.is_empty() { "" } else { " INCOMPLETE" },
        if made.info.suspicious.is_some() { " SUSPICIOUS" } else { "" },
        if there.is_empty() { "no vault".to_owned() } else { there.join(", ") },
        kinds(&made.info),
        size(made.info.bytes),
        changes(change),
        size(change.bytes_new),
        if made.by_journal { ", by the change journal" } else { "" },
    ));
    if let Some(why) = &made.info.suspicious {
        screen.line(&format!("  suspicious: {why}"));
        screen.line(
            "  no recovery takes it by itself; if something has happened: releve incident open --scenario …",
        );
        screen.line(&format!("  if it is as it should be: releve points --trust {}", made.id));
    }
    for (vault, error) in made.missing() {
        screen.failed(format_args!("  not in {vault}"), error);
    }
    for (vault, packs) in &made.gone {
        screen.line(&format!("  {vault} is DAMAGED: {}", engine::proof::gone(&vault.0, *packs)));
    }
    for unlisted in &made.listings.unlisted {
        let (vault, why) = (&unlisted.vault, &unlisted.why);
        screen.line(&format!("  {vault}: its points can't be listed, so nobody finds this one there: {why}"));
    }
    const SHOWN: usize = 20;
    let unread = engine::survey::few(&made.damaged);
    for (vault, why) in &unread.named {
        screen.line(&format!(
            "  warning: vault {vault}: a snapshot can't be read, and whatever point it was is not counted: {why}"
        ));
    }
    for (vault, what) in &unread.more {
        screen.line(&format!("  warning: vault {vault}: {what}"));
    }
    for unread in made.unread.iter().take(SHOWN) {
        screen.line(&format!("  not read: {}: {}", shown(&unread.path), unread.why));
    }
    if made.unread.len() > SHOWN {
        screen.line(&format!("  and {} more not read (--json names a thousand)", made.unread.len() - SHOWN));
    }
    for detail in made.details.iter().take(SHOWN) {
        screen.line(&format!("  kept without a detail: {}: {}", shown(&detail.path), detail.why));
    }
    if made.details.len() > SHOWN {
        let more = made.details.len() - SHOWN;
        screen.line(&format!("  and {more} more kept without a detail (--json names a thousand)"));
    }
    for note in &made.info.notes {
        screen.line(&format!("  note: {}: {}", shown(&note.path), note.why));
    }
    for left_out in &made.left_out {
        screen.line(&format!("  left out: {}: {}", shown(&left_out.path), left_out.why));
    }
    for doubt in made.info.doubts.iter().filter(|doubt| made.info.suspicious.as_ref() != Some(doubt)) {
        screen.line(&format!("  doubtful: {doubt}"));
    }
}
