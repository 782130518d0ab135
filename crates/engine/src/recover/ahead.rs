//! What would end a recovery in the middle, and can be known while everything still runs: said before the question, and in a dry run too.

use super::Hands;
use super::back::{check_place, has_room, repositories, until};
use super::beside::look_beside;
use super::bounds::options;
use super::overlap::{self, Nearby};
use super::unmounted::{mounted_since, silent, unmounted};
use crate::ready::{Machine, lacks_to_recover};
use crate::survey::Survey;
use crate::vaults::{Opened, Secrets};
use crate::{Error, Observer, Question, Reply, Result, source_of};
use plan::outlook::Evidence;
use plan::{Plan, Restore, Runbook, Step, StepKind, SystemName, Until};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use source::Landing;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::Progress;

/// What is looked at ahead of a recovery.
pub struct Ahead<'a> {
    /// The plan that the runbook was made from.
    pub plan: &'a Plan,
    /// The vaults, opened.
    pub vaults: &'a [Opened],
    /// Where secrets come from.
    pub secrets: &'a dyn Secrets,
    /// The state's folder.
    pub folder: &'a Path,
    /// Where logs wait on this machine for their vaults.
    pub spools: &'a Path,
    /// The points that the runbook chose among.
    pub survey: &'a Survey,
    /// Bytes of memory that fetching a part of a log may take.
    pub memory: u64,
    /// This machine.
    pub machine: &'a Machine<'a>,
    /// Nothing of it was done yet: where it goes on, a server may be up again by it.
    pub is_new: bool,
}

/// Adds to a runbook what can't be done as it stands: a place in a log that is none or several, a folder that can't be written to, programs and services that aren't
/// here, another version of what the point was made with.
pub fn look_ahead(book: &mut Runbook, ahead: &Ahead<'_>) -> Result<()> {
    let evidence = Evidence::default();
    let hands = Hands {
        plan: ahead.plan,
        vaults: ahead.vaults,
        secrets: ahead.secrets,
        folder: ahead.folder,
        spools: ahead.spools,
        survey: ahead.survey,
        evidence: &evidence,
        observer: &Silent,
        verify: false,
        memory: ahead.memory,
        journal: None,
        notifier: None,
        patient: false,
    };
    let (steps, nearby) = (Steps::of(book), Nearby::new(book, ahead.plan));
    let mut said = Said { is_prepared: is_prepared(book), warnings: Vec::new(), blockers: Vec::new() };
    for entry in &book.systems {
        said.lacks(entry, &hands);
        said.elsewhere(entry, book, &hands)?;
        let is_silent = said.silent(entry, book, &hands)?;
        said.place(entry, &hands)?;
        if !is_silent {
            said.folders(entry, book, &hands)?;
            said.beside(entry, book, &nearby, &hands)?;
        }
        said.unmounted(entry, book, &hands);
        said.warnings.extend(overlap::said(entry, &nearby)?);
        if ahead.is_new && !is_silent {
            said.ready(entry, book, &steps, &hands)?;
        }
    }
    if book.to.is_none() {
        let systems: Vec<SystemName> = book.systems.iter().map(|entry| entry.system.clone()).collect();
        let lacks = lacks_to_recover(ahead.plan, &systems, ahead.machine);
        said.warnings
            .extend(lacks.into_iter().map(|lack| format!("{}: {}: {}", lack.path, lack.message, lack.help)));
    }
    book.warnings.append(&mut said.warnings);
    book.blockers.append(&mut said.blockers);
    Ok(())
}

/// Returns whether somebody, or a command of the plan, does something to the machine before the first data come back: then what is missing now may be there by then.
pub(super) fn is_prepared(book: &Runbook) -> bool {
    let restores = |kind: &StepKind| matches!(kind, StepKind::Restore | StepKind::First | StepKind::Rest);
    let prepares =
        |kind: &StepKind| matches!(kind, StepKind::Ask { .. } | StepKind::Run(_) | StepKind::Service(..));
    let mut before = book.steps.iter().take_while(|step| !restores(&step.kind));
    before.any(|step| prepares(&step.kind))
}

/// Nothing has begun that anybody would want to hear of.
struct Silent;

impl Observer for Silent {
    fn event(&self, _: Option<&SystemName>, _: &str) {}
    fn ask(&self, _: &Question<'_>, _: &dyn Fn() -> bool) -> Option<Reply> {
        None
    }
    fn progress(&self, _: &SystemName, _: &Arc<Progress>) {}
}

struct Said {
    is_prepared: bool,
    warnings: Vec<String>,
    blockers: Vec<String>,
}

impl Said {
    /// Names what the chosen point lacks: who takes it knows beforehand what doesn't come back.
    fn lacks(&mut self, entry: &Restore, hands: &Hands<'_>) {
        let point = hands.survey.point(&entry.choice.point.id);
        let lacks = point.map(|point| point.not_captured(&entry.only)).unwrap_or_default();
        self.warnings.extend(lacks.into_iter().map(|what| format!("`{}`: {what}", entry.system)));
    }

    /// Compares this machine with what the chosen point was made with. Beside nothing is started, and what is done first may change it.
    fn elsewhere(&mut self, entry: &Restore, book: &Runbook, hands: &Hands<'_>) -> Result<()> {
        let info = hands.survey.point(&entry.choice.point.id).and_then(|point| point.point.info.as_ref());
        let made_with = info.map(|info| &info.made_with).filter(|made_with| !made_with.is_empty());
        let (Some(made_with), Some(system)) = (made_with, hands.plan.systems.get(&entry.system)) else {
            return Ok(());
        };
        let foreseen = source_of(hands.plan, system, hands.secrets)?.foresee(made_with);
        let line = |what: String| format!("`{}`: {what}", entry.system);
        self.warnings.extend(foreseen.warned.into_iter().map(line));
        let refused = foreseen.refused.into_iter().map(line);
        match book.to.is_none() && !self.is_prepared {
            true => self.blockers.extend(refused),
            false => self.warnings.extend(refused),
        }
        Ok(())
    }

    /// Makes sure that what is asked for is one place in the log. Its files and histories are in the vaults.
    fn place(&mut self, entry: &Restore, hands: &Hands<'_>) -> Result<()> {
        let Some(replay) = entry.replay.as_ref().filter(|replay| is_place(&replay.until)) else {
            return Ok(());
        };
        let Some(system) = hands.plan.systems.get(&entry.system) else { return Ok(()) };
        let source = source_of(hands.plan, system, hands.secrets)?;
        let Some(log) = source.log() else { return Ok(()) };
        let vaults = repositories(entry, hands);
        let checked = log
            .check(&until(&replay.until))
            .map_err(Error::from)
            .and_then(|()| check_place(entry, replay, log, &vaults, hands));
        match checked {
            Err(error) => self.blockers.push(format!("`{}`: {error}", entry.system)),
            // Where the log was looked through for it, it is there.
            Ok(()) if is_position(&replay.until) || log.numbers_histories() => {}
            Ok(()) => self.warnings.push(format!(
                "`{}`: whether its log goes to {} can't be checked before the log is fetched: if it does not, the recovery fails then, with the system stopped; --to DIR tries it beside",
                entry.system, replay.until
            )),
        }
        Ok(())
    }

    /// Makes sure that it can be overwritten: one must not run, another must. Where something is done before, that may see to it.
    fn ready(&mut self, entry: &Restore, book: &Runbook, steps: &Steps<'_>, hands: &Hands<'_>) -> Result<()> {
        let comes_back = steps.data.contains_key(&entry.system);
        let system = hands.plan.systems.get(&entry.system);
        let Some(system) = system.filter(|_| book.to.is_none() && comes_back) else { return Ok(()) };
        let source = source_of(hands.plan, system, hands.secrets)?;
        let must_run = matches!(source.landing(None), Landing::Staging { .. });
        let is_changed = self.is_prepared || steps.is_changed_before(&entry.system);
        // That it runs before it is stopped is as it should be.
        if is_changed && !must_run {
            return Ok(());
        }
        let Err(error) = source.ready(None) else { return Ok(()) };
        let way_out = match error.kind {
            source::Kind::InUse(_) => ", or name in the plan what stops it (recover.stop)",
            _ => "",
        };
        let said = format!("`{}`: {}{way_out}", entry.system, Error::from(error));
        // Where one lacks its server the others can come back all the same.
        match must_run && (is_changed || book.systems.len() > 1) {
            true => self.warnings.push(format!("{said}: it comes back only once that is mended")),
            false => self.blockers.push(said),
        }
        Ok(())
    }

    /// Names disks that were mounted where it comes back, and aren't, and the other way round. A command of the plan may mount them before.
    fn unmounted(&mut self, entry: &Restore, book: &Runbook, hands: &Hands<'_>) {
        let point = hands.survey.point(&entry.choice.point.id).filter(|_| book.to.is_none());
        let mut lines = point.map(|point| unmounted(entry, point)).unwrap_or_default();
        lines.extend(
            point.into_iter().flat_map(|point| mounted_since(entry, point, || repositories(entry, hands))),
        );
        self.warnings.extend(lines.into_iter().map(|line| format!("`{}`: {line}", entry.system)));
    }

    /// Names what stands beside files that come back and belongs to a newer state of them.
    fn beside(
        &mut self,
        entry: &Restore,
        book: &Runbook,
        nearby: &Nearby<'_>,
        hands: &Hands<'_>,
    ) -> Result<()> {
        let Some(system) = hands.plan.systems.get(&entry.system) else { return Ok(()) };
        let Some(point) = hands.survey.point(&entry.choice.point.id) else { return Ok(()) };
        if !matches!(system.source, Some(plan::Source::Files(_))) {
            return Ok(());
        }
        let target = PathBuf::from(book.to.as_deref().unwrap_or("/"));
        let landing = Landing::Final(target.clone());
        let without = overlap::without(&nearby.left_to_others(entry)?, hands.plan);
        let options = options(entry, system, point, book, without, &landing, target);
        let vaults = repositories(entry, hands);
        let lines = match look_beside(&vaults, point.point.tree, &options, &Progress::default()) {
            Ok(beside) => beside.foreseen(&|_| false),
            Err(why) => vec![why],
        };
        self.warnings.extend(lines.into_iter().map(|line| format!("`{}`: {line}", entry.system)));
        Ok(())
    }

    /// Names what is mounted where it comes back and doesn't answer, and returns whether all of it lies there. Then it fails; where others come back with it, they do.
    fn silent(&mut self, entry: &Restore, book: &Runbook, hands: &Hands<'_>) -> Result<bool> {
        let Some(system) = hands.plan.systems.get(&entry.system) else { return Ok(false) };
        let source = source_of(hands.plan, system, hands.secrets)?;
        let to = book.to.as_deref().map(Path::new);
        let (Landing::Final(target), Some(point)) =
            (source.landing(to), hands.survey.point(&entry.choice.point.id))
        else {
            return Ok(false);
        };
        let silent = silent(entry, point, &target);
        let lines = silent.lines.into_iter().map(|line| format!("`{}`: {line}", entry.system));
        match silent.is_all && !self.is_prepared && book.systems.len() == 1 {
            true => self.blockers.extend(lines),
            false => self.warnings.extend(lines),
        }
        Ok(silent.is_all)
    }

    /// Makes sure that nothing has been put in the place of the folder that its log comes into.
    fn planted(&mut self, entry: &Restore, book: &Runbook, source: &dyn source::Source) {
        let to = book.to.as_deref().map(Path::new);
        let (Landing::Final(target), Some(log)) = (source.landing(to), source.log()) else { return };
        if entry.replay.is_none() && !log.numbers_histories() {
            return;
        }
        if let Err(error) = source::OurFolder::foresee(&log.landing(&target, to)) {
            let said = format!("`{}`: {error}", entry.system);
            match self.is_prepared {
                true => self.warnings.push(said),
                false => self.blockers.push(said),
            }
        }
    }

    /// Makes sure that its data can be written where they come back.
    fn folders(&mut self, entry: &Restore, book: &Runbook, hands: &Hands<'_>) -> Result<()> {
        let Some(system) = hands.plan.systems.get(&entry.system) else { return Ok(()) };
        let source = source_of(hands.plan, system, hands.secrets)?;
        self.planted(entry, book, &*source);
        let landing = source.landing(book.to.as_deref().map(Path::new));
        let or_else = match landing {
            Landing::Staging { near: None } => {
                "or type TMPDIR=FOLDER before the command, with one that has room"
            }
            _ => "or recover elsewhere with --to",
        };
        let places: Vec<PathBuf> = match landing {
            Landing::Staging { near } => {
                let below = near.unwrap_or_else(std::env::temp_dir);
                // What stands in a server takes no part of it.
                if entry.only.is_empty()
                    && let Err(error) = has_room(&below, entry.choice.point.bytes)
                {
                    self.blockers.push(format!("`{}`: {error}", entry.system));
                }
                vec![below]
            }
            Landing::Final(_) => {
                entry.standing.iter().map(|standing| PathBuf::from(&standing.path)).collect()
            }
        };
        for (folder, why) in places.iter().filter_map(|place| refused(place)) {
            let text =
                |why: &str| format!("`{}`: {} can't be written to: {why}", entry.system, folder.display());
            match why {
                Errno::ROFS if !self.is_prepared => {
                    let why = format!("its file system is mounted read-only: mount it for writing, {or_else}");
                    self.blockers.push(text(&why));
                }
                Errno::ROFS => self.warnings.push(text("its file system is mounted read-only")),
                _ => self.warnings.push(text("run Relève as root, or as a user who may, and see whether it carries the immutable flag (lsattr -d)")),
            }
        }
        Ok(())
    }
}

/// The places of steps that matter ahead, looked for once for all systems.
struct Steps<'b> {
    /// The first that puts data of a system back.
    data: HashMap<&'b SystemName, usize>,
    /// The first that stops or starts anything, or that somebody does: that may stop or start another system too, whatever it is called.
    change: Option<usize>,
}

impl<'b> Steps<'b> {
    fn of(book: &'b Runbook) -> Self {
        let changes = |step: &Step| {
            matches!(
                step.kind,
                StepKind::Stop(_)
                    | StepKind::Start(_)
                    | StepKind::Ask { .. }
                    | StepKind::Run(_)
                    | StepKind::Service(..)
            )
        };
        let mut data = HashMap::new();
        for (at, step) in book.steps.iter().enumerate().filter(|(_, step)| step.kind.puts_back()) {
            if let Some(system) = &step.system {
                data.entry(system).or_insert(at);
            }
        }
        Self { data, change: book.steps.iter().position(changes) }
    }

    /// Returns whether anything is stopped or started, or done by somebody, before the data of a system come back.
    fn is_changed_before(&self, system: &SystemName) -> bool {
        let data = self.data.get(system);
        self.change.is_some_and(|change| data.is_none_or(|data| change < *data))
    }
}

/// Returns the folder in which something would be put here, if that refuses it.
fn refused(place: &Path) -> Option<(PathBuf, Errno)> {
    // What names a server is no place of this machine.
    let is_here = place.is_absolute();
    // Of what doesn't answer it is said elsewhere.
    if is_here && source::silent_on_the_way(place).is_some() {
        return None;
    }
    let there = place.ancestors().find(|path| path.exists()).filter(|_| is_here)?;
    let folder = if there.is_dir() { there } else { there.parent()? };
    let why = access(folder, Access::WRITE_OK | Access::EXEC_OK).err()?;
    matches!(why, Errno::ROFS | Errno::ACCESS | Errno::PERM).then(|| (folder.to_owned(), why))
}

/// Returns whether an instant is a place that somebody has named.
fn is_place(until: &Until) -> bool {
    !matches!(until, Until::Newest | Until::Time(_))
}

/// Returns whether the names of the files of a log tell whether it is there.
fn is_position(until: &Until) -> bool {
    match until {
        Until::Position(_) => true,
        Until::On { place, .. } => is_position(place),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_of_a_position_it_is_known_beforehand_whether_the_log_has_it() {
        let on = |place: Until| Until::On { place: Box::new(place), timeline: 2 };
        assert!(is_position(&on(Until::Position("0/1".into()))));
        assert!(
            !is_position(&on(Until::Name("before".into()))) && !is_position(&Until::Transaction("7".into()))
        );
        assert!(is_place(&Until::Name("before".into())) && !is_place(&Until::Newest));
    }

    #[test]
    fn a_server_is_no_folder_and_one_that_can_be_written_to_is_not_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(refused(Path::new("postgres://localhost:5432")).is_none());
        assert!(refused(&folder.path().join("not/there/yet")).is_none());
        // Where nobody can write, not even root.
        let refused = refused(Path::new("/proc/releve"));
        assert!(refused.is_none_or(|(folder, _)| folder == Path::new("/proc")));
    }
}
