//! `releve prune`.

use super::backup::stop_on_signal;
use super::restore::bytes;
use super::verify::own_vault_names;
use crate::session::Session;
use crate::show::{self, Screen, confirm, counted, size, time};
use crate::{Exit, Outcome};
use engine::judge::Witness;
use engine::prune::{Decided, Retention, check_clock, delay, identity, retention, witness};
use engine::survey::{Survey, Surveyed, survey};
use engine::vanished::{Known, Vanished, look, note_missed};
use engine::vaults::{Absent, Opened, repository};
use engine::{Error, Result};
use jiff::Timestamp;
use plan::{Period, SystemName, VaultName};
use serde_json::{Value, json};
use state::{Body, Hold, Pruned, State};
use std::collections::{BTreeMap, HashSet};
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vault::Progress;
use vault::prune::{PruneOptions, PrunePlan, PruneReport, carry_out, plan};

/// How much of the packs may be of no use before it is worth writing them anew.
const UNUSED: f64 = 0.05;
/// How long packs are written anew, unless the plan says otherwise.
const WITHIN: Duration = Duration::from_secs(3600);
/// How often a vault is tried that someone else is in, and how long after.
const TRIES: u32 = 3;
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);
const TRY_AGAIN_WITHIN: Duration = Duration::from_secs(60);
/// How often whoever waits looks whether he still should.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How many points are named one by one that go for the same reason.
const SHOWN: usize = 20;

/// What `prune` takes.
#[derive(Debug, Default, clap::Args)]
#[command(
    after_help = "Examples:\n  releve prune --dry-run         which points would go and why, and what room that gives back\n  releve prune                   do it, after a question\n  \
    releve prune cloud --yes       one vault, without a question\n  releve prune --trust 3f9c0a12  a point that looks suspicious is as it should be\n  \
    releve prune --now             the disk is full: what no point needs goes at once, after a question\n  releve prune --hold \"under investigation\"   nothing is removed by anyone, until `releve prune --release`\n\n\
    What the plan's `keep` lets go is taken out, but for the last point with a path that no other point has: that one goes by --forget.\n\
    What nothing needs any more stays for the plan's `prune.delay` (3 days), then it is removed by a later prune.\n\
    Points that look suspicious (a sudden change, growth or noise, another machine, a time that can't be) never push others out.\n\
    Exit status 1: something did not go as it should; it is named; 2: a vault could not be pruned."
)]
pub(super) struct Options {
    /// The vaults; all of them unless named, but those that another machine pulls
    vaults: Vec<String>,
    /// Show which points would go, and why, and stop
    #[arg(long)]
    dry_run: bool,
    /// Don't ask
    #[arg(long)]
    yes: bool,
    /// The disk is full: what nothing needs goes at once, and not after the plan's delay. Restores and backups that run meanwhile elsewhere would break
    #[arg(long)]
    now: bool,
    /// Take out no point: only give back the room of what nothing needs
    #[arg(long)]
    keep_points: bool,
    /// Write at most so many bytes of packs anew
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    repack_max: Option<u64>,
    /// Take out this point as well, whatever the rules say
    #[arg(long, value_name = "POINT", conflicts_with = "keep_points")]
    forget: Vec<String>,
    /// Points that vanished from the vault were removed on purpose: don't miss them
    #[arg(long)]
    accept_missing: bool,
    /// Pieces of files that no vault has any more (`repair` names the files) don't stop the prune
    #[arg(long)]
    accept_lost: bool,
    /// This suspicious point is as it should be, and so is what follows it
    #[arg(long, value_name = "POINT")]
    trust: Vec<String>,
    /// From now on nothing is removed from any vault, and this is why
    #[arg(long, value_name = "WHY", conflicts_with_all = ["release", "dry_run", "yes"])]
    hold: Option<String>,
    /// Removals may go on
    #[arg(long, conflicts_with = "dry_run")]
    release: bool,
    /// This machine's clock is right, and what it noted later than now was noted by a clock that was wrong
    #[arg(long, conflicts_with = "dry_run")]
    trust_clock: bool,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let names = own_vault_names(session, &options.vaults)?;
    let state = session.state()?;
    crate::walls::around(session, &[]);
    let now = Timestamp::now();
    if let Some(reason) = &options.hold {
        state.hold("person", reason, now)?;
        if session.json {
            show::print_json(&json!({ "hold": state.held()? }));
        } else {
            eprintln!("nothing is removed from any vault until `releve prune --release`");
        }
        return Ok(Exit::Done);
    }
    if options.trust_clock {
        // What it forgets doesn't come back, whatever is answered to what is pruned.
        let question = format!(
            "It is {} by this machine's clock: is that right? What it noted as later counts no more then, and removals may go on",
            time(now)
        );
        let way_out = "--yes for scripts; nothing was changed";
        if let Some(exit) = show::refused_but(options.yes, &question, way_out) {
            return Ok(exit);
        }
        state.trust_clock(now)?;
    }
    if options.release {
        // It ends all of them: whoever meant one hears of the others.
        let ended = state.holds()?;
        state.release_all()?;
        if !session.json {
            ended.iter().for_each(|hold| eprintln!("ended: {}, since {}", hold.reason, time(hold.since)));
            eprintln!("removals are free again");
        }
        // What was meant to end a hold must not end with a question that nobody answers.
        if !options.yes && !std::io::stdin().is_terminal() {
            if session.json {
                show::print_json(&json!({ "hold": null }));
            }
            return Ok(Exit::Done);
        }
    }
    let screen = Screen::new(session.json, false);
    let holds = state.holds()?;
    match holds.is_empty() || options.dry_run {
        true => holds.iter().for_each(|hold| screen.line(&held(hold))),
        false => {
            let why: Vec<String> = holds.iter().map(held).collect();
            return Err(Error::new(why.join("; ")).help("once that is over: releve prune --release").into());
        }
    }
    let exit =
        show::each(session.json, &names, |name| Run::new(session, &state, &screen, options, now).one(name));
    if !options.dry_run {
        // What was full may have room now.
        super::alerts::round(session, &state);
    }
    Ok(exit)
}

/// Says that nothing is removed, since when and why, and how that ends.
pub(super) fn held(hold: &Hold) -> String {
    let end = match hold.ends_by_itself() {
        true => {
            format!("until {} is back (releve recover), or releve prune --release", hold.systems.join(", "))
        }
        false => "until releve prune --release".to_owned(),
    };
    format!("removals are on hold since {}: {}; {end}", time(hold.since), hold.reason)
}

/// Prunes one vault as the plan says, for the agent.
pub(super) fn scheduled(session: &Session, state: &State, screen: &Screen, name: &VaultName) -> Exit {
    let options = Options { yes: true, ..Options::default() };
    Run::new(session, state, screen, &options, Timestamp::now()).one(name).0
}

struct Run<'a> {
    session: &'a Session,
    state: &'a State,
    screen: &'a Screen,
    options: &'a Options,
    now: Timestamp,
    plan: Option<PrunePlan>,
    points: Vec<Decided>,
    /// What was shown last: after a wait for somebody else it is the same again, most of the time.
    shown: Option<String>,
    /// What was typed names nothing that is here: that is no fault of the vault, and nobody else is told.
    is_mistyped: bool,
    /// Somebody was asked, and did not say yes.
    is_declined: bool,
}

impl<'a> Run<'a> {
    fn new(
        session: &'a Session,
        state: &'a State,
        screen: &'a Screen,
        options: &'a Options,
        now: Timestamp,
    ) -> Self {
        let (plan, points, shown) = (None, Vec::new(), None);
        let (is_mistyped, is_declined) = (false, false);
        Self { session, state, screen, options, now, plan, points, shown, is_mistyped, is_declined }
    }

    fn one(&mut self, name: &VaultName) -> (Exit, Value) {
        let mut result = self.patiently(name);
        if self.options.now {
            let instead = "nothing in the vault could make the little room that this needs: free a megabyte beside it, or let the disk grow";
            result = result.map_err(|error| error.not_again("prune --now", instead));
        }
        self.told(name, &result)
    }

    /// Tries again where someone was in the vault, or changed it since it was looked at; with nobody there to say yes again, not.
    fn patiently(&mut self, name: &VaultName) -> Result<Option<PruneReport>> {
        let begun = Instant::now();
        let mut result = self.attempt(name);
        for _ in 1..TRIES {
            // Whoever was waited for in vain stays for longer.
            let is_worth = begun.elapsed() < TRY_AGAIN_WITHIN && self.options.yes && !super::is_stopped();
            if !is_worth || !matches!(&result, Err(error) if error.retryable) {
                break;
            }
            let paused = Instant::now();
            while paused.elapsed() < TRY_AGAIN_AFTER && !super::is_stopped() {
                std::thread::park_timeout(LOOK_EVERY);
            }
            if super::is_stopped() {
                break;
            }
            result = self.attempt(name);
        }
        result
    }

    /// Returns what was done; `None` if nothing was to be, or nobody said yes.
    fn attempt(&mut self, name: &VaultName) -> Result<Option<PruneReport>> {
        let known = Known::read(&self.session.plan, self.state)?;
        let vaults = self.session.open_all(Absent::Refuse, Some(self.state));
        let repository = repository(&vaults, name)?;
        let survey = survey(&vaults);
        if let Some((_, why)) = survey.damaged.iter().find(|(vault, _)| vault == name) {
            return Err(Error::new(why.clone())
                .help("a point that can't be read may need anything: `releve repair` first"));
        }
        if let Some((_, why)) = survey.unreachable.iter().find(|(vault, _)| vault == name) {
            return Err(Error::new(why.clone()));
        }
        let (missing, accepted) = self.missing(name, &known, &vaults, &survey)?;
        let trusted = self.trusted(&survey);
        self.is_mistyped = trusted.is_err();
        let trusted = trusted?;
        check_clock(self.state, self.now)?;
        witness(self.state, &survey, std::slice::from_ref(name), self.now)?;
        let records = self.state.records()?;
        let witness = Witness::new(&self.session.plan, self.state)?.trusting(&trusted);
        let survey = survey.vouched(&self.session.plan, &witness);
        let mut retention = retention(&self.session.plan, self.state, &survey, name, &witness, self.now)?;
        retention.known.retain(|id| !missing.contains(&id.to_string()));
        let forgotten = self.forget(&mut retention);
        self.is_mistyped = forgotten.is_err();
        forgotten?;
        let forget = match self.options.keep_points {
            true => Vec::new(),
            false => retention.going().map(|point| point.snapshot).collect(),
        };
        let how = self.session.plan.policy.prune.clone().unwrap_or_default();
        let mut options = PruneOptions {
            forget,
            keep: retention.kept().collect(),
            known: retention.known.clone(),
            accept_lost: self.options.accept_lost,
            at_once: self.options.now,
            delay: delay(&self.session.plan, &records),
            unused: UNUSED,
            repack_max: self.options.repack_max.unwrap_or(u64::MAX),
            repack_within: how.within.map_or(WITHIN, |within| within.0),
            now: self.now,
            holder: self.session.holder.clone(),
        };
        let progress = Arc::new(Progress::default());
        self.screen.bar(&name.0, &progress);
        stop_on_signal(&progress);
        let planned = plan(&repository, &options, &progress)?;
        self.show(name, &retention, &planned, options.delay);
        self.points = retention.points;
        let planned = self.plan.insert(planned);
        accepted.iter().for_each(|what| self.screen.line(&format!("{name}: {what}")));
        if self.options.dry_run {
            return Ok(None);
        }
        if (!planned.is_empty() || accepted.is_some()) && !self.options.yes {
            if !std::io::stdin().is_terminal() {
                self.is_mistyped = true;
                return Err(
                    Error::new("nobody is there to say yes").help("--yes for scripts; --dry-run only shows")
                );
            }
            let question = match self.options.now {
                _ if planned.is_empty() => format!("Miss them in {name} no more?"),
                true => format!(
                    "Remove this from {name} at once, for good? Nobody may be restoring from it or backing up to it"
                ),
                false => format!("Prune {name}?"),
            };
            if !confirm(&question) {
                self.is_declined = true;
                return Ok(None);
            }
        }
        // What a person said counts from his yes on.
        for point in &trusted {
            self.state.trust(point, self.now)?;
        }
        for point in self.options.trust.iter().filter_map(|prefix| called(&survey, prefix).ok()) {
            super::points::goes_on(self.session, &survey, point)
                .iter()
                .for_each(|line| self.screen.line(line));
        }
        for snapshot in &missing {
            self.state.unsee(&name.0, snapshot)?;
        }
        // What a person accepts here is missed by no verb any more.
        note_missed(self.state, name, &Vanished::default(), self.now)?;
        if accepted.is_some() {
            self.screen.line(&format!("{name}: they are missed no more"));
        }
        if planned.is_empty() {
            return Ok(None);
        }
        // Asked once more: a recovery may have begun meanwhile.
        if let Some(held) = self.state.held()? {
            return Err(Error::new(self::held(&held)));
        }
        let going: Vec<String> = planned.forget.iter().map(ToString::to_string).collect();
        self.state.going(&name.0, &going)?;
        options.now = Timestamp::now();
        let report = carry_out(&repository, planned, &options, &progress)?;
        let is_gone = |snapshot: &str| report.forgotten.iter().any(|gone| gone.to_string() == snapshot);
        self.state.settle_going(&name.0, |snapshot| !is_gone(snapshot))?;
        Ok(Some(report))
    }

    /// Lets the points that a person named go, but never the newest complete one of a system.
    fn forget(&self, retention: &mut Retention) -> Result<()> {
        for prefix in &self.options.forget {
            let called = |point: &&mut Decided| {
                let names = [point.verdict.id.clone(), point.snapshot.to_string()];
                prefix.len() >= 4 && names.iter().any(|name| name.starts_with(prefix.as_str()))
            };
            let instead = Self::instead(&retention.points, prefix);
            let mut called: Vec<_> = retention.points.iter_mut().filter(called).collect();
            let [point] = called.as_mut_slice() else {
                return Err(Error::new(format!(
                    "{} points of the plan's systems are called `{prefix}` here",
                    called.len()
                ))
                .help("`releve points` names them; write more of the id"));
            };
            if point.verdict.kept.iter().any(|why| why == plan::keep::NEWEST_COMPLETE) {
                return Err(Error::new(format!(
                    "point {prefix} is the newest complete one of {} here",
                    point.system
                ))
                .help(instead));
            }
            point.verdict.kept.clear();
        }
        Ok(())
    }

    /// Returns what lets the newest complete point of a system go after all.
    fn instead(points: &[Decided], prefix: &str) -> String {
        let point = points.iter().find(|point| {
            [point.verdict.id.clone(), point.snapshot.to_string()].iter().any(|name| name.starts_with(prefix))
        });
        let newer = |point: &Decided| {
            let of = points.iter().filter(|other| other.system == point.system);
            of.filter(|other| other.verdict.time > point.verdict.time).count()
        };
        match point.map_or(0, newer) {
            0 => "one complete point of a system always stays; once a newer one is here (`releve backup`), this one can go".into(),
            newer => format!(
                "one complete point of a system always stays, and the {newer} newer ones are incomplete: `releve points` says what they lack; once one is complete, this one can go"
            ),
        }
    }

    /// Returns what identifies the points that a person takes for good.
    fn trusted(&self, survey: &Survey) -> Result<Vec<String>> {
        self.options.trust.iter().map(|prefix| Ok(identity(called(survey, prefix)?))).collect()
    }

    /// Returns the snapshots that were seen here before, are not listed any more, and were not removed by us: they may be hidden, and then all
    /// that they need looks unneeded. An error where one of them is missed, unless a person accepts it; then with what is said of those.
    fn missing(
        &self,
        name: &VaultName,
        known: &Known,
        vaults: &[Opened],
        survey: &Survey,
    ) -> Result<(Vec<String>, Option<String>)> {
        let there: HashSet<String> = survey
            .points
            .iter()
            .flat_map(|point| point.files_in(name).map(|file| file.to_string()))
            .collect();
        self.state.settle_going(&name.0, |snapshot| there.contains(snapshot))?;
        let key = self.session.signing_key();
        let of = (&self.session.plan, self.state, self.session.holder.hostname.as_str(), key.as_deref());
        let vanished = look(of, known, vaults, survey, self.now)?;
        self.session.say_learned(&vanished.learned);
        if let Some(said) = vanished.strange_in(name) {
            self.screen.line(&format!("{name}: {said}; they push nothing out; {}", engine::strange::HELP));
        }
        match vanished.refusal(name, "nothing is pruned") {
            Some(refusal) if !self.options.accept_missing => Err(refusal),
            missed => {
                // Nobody has said yes so far.
                let said = vanished.refusal(name, "they would be missed no more");
                let said = said.filter(|_| missed.is_some());
                let all = vanished.missed.into_iter().chain(vanished.settled);
                let all = all.filter(|lost| lost.vault == *name).map(|lost| lost.snapshot);
                Ok((all.collect(), said.map(|said| said.message)))
            }
        }
    }

    fn show(&mut self, name: &VaultName, retention: &Retention, plan: &PrunePlan, delay: Duration) {
        let what = format!("{name} {} {:?}", json!(plan), retention.points);
        if self.shown.as_ref() == Some(&what) {
            return;
        }
        if self.shown.replace(what).is_some() {
            self.screen.line(&format!("{name} has changed meanwhile, and was looked at again:"));
        }
        let going: Vec<_> = retention.going().collect();
        let (would, goes) = if self.options.dry_run { ("would go", "would go") } else { ("go", "goes") };
        if self.options.keep_points {
            self.screen.line(&match plan.points_kept {
                1 => format!("{name}: its 1 point stays"),
                many => format!("{name}: all {many} points stay"),
            });
        } else {
            self.screen.line(&format!(
                "{name}: {}, {}{}",
                counted(plan.points_kept, "point stays", "points stay"),
                counted(going.len() as u64, goes, would),
                match retention.foreign {
                    0 => String::new(),
                    1 => "; 1 that no system of the plan made stays".to_owned(),
                    foreign => format!("; {foreign} that no system of the plan made stay"),
                }
            ));
        }
        let suspicious =
            retention.points.iter().filter_map(|point| Some((point, point.verdict.suspicious.as_ref()?)));
        for (point, why) in suspicious.take(SHOWN) {
            let id = point.verdict.id.get(..8).unwrap_or(&point.verdict.id);
            self.screen.line(&format!("  suspicious: {} point {id}: {why}", point.system));
        }
        let last = retention.points.iter().filter_map(|point| {
            Some((point, point.verdict.kept.iter().find(|why| why.starts_with(plan::keep::LAST_WITH))?))
        });
        for (point, why) in last.take(SHOWN) {
            let id = point.verdict.id.get(..8).unwrap_or(&point.verdict.id);
            self.screen.line(&format!(
                "  stays until you say so: {} point {id} is {why}, which no point has that a rule keeps: releve prune --forget {id}",
                point.system
            ));
        }
        let shown = if self.options.dry_run { usize::MAX } else { SHOWN };
        let is_log = |point: &Decided| SystemName::of_log(&point.system.0).is_some();
        for point in going.iter().filter(|point| !is_log(point)).take(shown) {
            self.screen.line(&line(point, "no rule keeps it"));
        }
        if self.options.dry_run {
            let stays = |point: &Decided| !point.verdict.kept.is_empty() && !is_log(point);
            for point in retention.points.iter().filter(|point| stays(point)) {
                self.screen.line(&line(point, &point.verdict.kept.join(", ")));
            }
        }
        // A log is a point each time that it goes on, and the newest holds what is needed of all before.
        let mut logs: BTreeMap<&SystemName, (u64, u64)> = BTreeMap::new();
        for point in retention.points.iter().filter(|point| is_log(point)) {
            let (stay, go) = logs.entry(&point.system).or_default();
            let goes = going.iter().any(|gone| gone.snapshot == point.snapshot);
            *(if goes { go } else { stay }) += 1;
        }
        for (log, (stay, go)) in logs {
            let (stay, go) = (counted(stay, "stays", "stay"), counted(go, goes, would));
            self.screen.line(&format!("  {log}: {stay}, {go}: the newest holds what is needed"));
        }
        let sums = [
            (
                plan.remove,
                match self.options.now {
                    true => "removed at once: nothing needs them",
                    false => "removed: nothing has needed them for long enough",
                },
            ),
            (plan.mark, "no longer needed by anything"),
            (plan.repack, "partly needed: what is needed is written anew"),
            (plan.wait, "already on their way out"),
            (plan.rescue, "on their way out, and needed again"),
            (plan.adopt, "in no index, and needed: taken in"),
        ];
        for (sum, what) in sums.iter().filter(|(sum, _)| sum.packs > 0) {
            let packs = counted(sum.packs, "pack", "packs");
            self.screen.line(&format!("  {packs}, {}: {what}", size(sum.bytes)));
        }
        if plan.mark.packs + plan.repack.packs > 0 {
            self.screen.line(&format!(
                "  they are removed by a prune after {}; on a full disk at once by `releve prune --now`",
                Period(delay)
            ));
        }
    }

    fn told(&self, name: &VaultName, result: &Result<Option<PruneReport>>) -> (Exit, Value) {
        let mut record = Pruned { vault: name.0.clone(), ..Pruned::default() };
        let mut exit = Exit::Done;
        match result {
            Ok(None) => {
                if self.is_declined {
                    self.screen.line(&format!("{name}: nobody said yes, and nothing was changed"));
                } else if self.plan.as_ref().is_some_and(PrunePlan::is_empty) {
                    self.screen.line(&format!("{name}: nothing to do"));
                }
            }
            Ok(Some(report)) => {
                let gone = self.points.iter().filter(|point| report.forgotten.contains(&point.snapshot));
                record.points = gone.map(|point| point.verdict.id.clone()).collect();
                record.bytes_marked = report.marked.bytes;
                record.bytes_removed = report.removed.bytes;
                record.findings.clone_from(&report.findings);
                self.screen.line(&format!(
                    "{name}: {} taken out; {} given back, {} to follow",
                    counted(report.forgotten.len() as u64, "point", "points"),
                    size(report.removed.bytes),
                    size(report.marked.bytes)
                ));
                if report.left > 0 {
                    let left = counted(report.left, "pack is", "packs are");
                    self.screen.line(&format!("  {left} left for the next time: time was up"));
                }
                report.findings.iter().take(SHOWN).for_each(|what| self.screen.line(&format!("  {what}")));
                if !report.findings.is_empty() {
                    exit = Exit::Finding;
                }
            }
            Err(error) => {
                exit = Exit::Failed;
                record.failure = Some(error.to_string());
                record.help.clone_from(&error.help);
                self.screen.failed(format_args!("{name}: not pruned"), error);
            }
        }
        let document = json!({ "vault": name, "plan": self.plan, "points": self.points,
            "done": result.as_ref().ok(), "failure": record.failure });
        if !self.is_declined
            && !self.is_mistyped
            && !self.options.dry_run
            && !super::was_ended(result)
            && let Err(error) = self.state.append(Body::Prune(record), Timestamp::now())
        {
            self.screen.line(&format!("{name}: what happened could not be recorded: {error}"));
            exit = exit.worse(Exit::Finding);
        }
        (exit, document)
    }
}

/// Returns the one point that a person means.
pub(super) fn called<'a>(survey: &'a Survey, prefix: &str) -> Result<&'a Surveyed> {
    let called: Vec<_> = survey.points.iter().filter(|surveyed| surveyed.point.is_called(prefix)).collect();
    match called.as_slice() {
        [point] => Ok(point),
        [] if survey.not_known().is_some() => {
            let error =
                Error::new(format!("no point is called `{prefix}` in the vaults that could be asked"));
            Err(error.help(survey.unasked().unwrap_or_default()))
        }
        _ => Err(Error::new(format!("{} points are called `{prefix}`", called.len()))
            .help("`releve points` names them; write more of the id")),
    }
}

fn line(point: &Decided, why: &str) -> String {
    let id = point.verdict.id.get(..8).unwrap_or(&point.verdict.id);
    let sign = if point.verdict.kept.is_empty() { "-" } else { "+" };
    let of = match plan::keep::is_unknown(&point.verdict.time) {
        true => "an unknown time".to_owned(),
        false => time(point.verdict.time),
    };
    format!("  {sign} {} {id} of {of}: {why}", point.system)
}
