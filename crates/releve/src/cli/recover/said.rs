//! What is said besides the runbook: what else a point is written over, which newer points are out of reach, and what is left to do.

use super::*;

/// Adds what else of the machine a point is written over, besides what the plan names: the tablespaces and the configuration that belong to a cluster, and beside all that it holds.
pub(super) fn also_replaced(book: &mut Runbook, session: &Session) -> Result<(), Error> {
    if !book.blockers.is_empty() {
        return Ok(());
    }
    let to = book.to.as_ref().map(PathBuf::from);
    for entry in &mut book.systems {
        let Some(system) = session.plan.systems.get(&entry.system) else { continue };
        let source = source_of(&session.plan, system, session.secrets())?;
        let Landing::Final(target) = source.landing(to.as_deref()) else { continue };
        if !entry.only.is_empty() {
            continue;
        }
        let held = entry.choice.point.paths.iter();
        let held = held.map(|path| target.join(path.strip_prefix('/').unwrap_or(path)));
        let is_new = |path: &PathBuf| {
            let standing = entry.standing.iter();
            !standing.map(|standing| Path::new(&standing.path)).any(|there| path.starts_with(there))
        };
        let more: Vec<PathBuf> = held.filter(is_new).collect();
        let there = source::stands_at(more.iter().map(PathBuf::as_path))?;
        entry.standing.extend(there.iter().map(standing));
    }
    Ok(())
}

/// Says of files that come back in place after an attack that nothing is removed: what the attacker has put beside them stays, their encrypted twins under new names too.
pub(super) fn left_beside(book: &Runbook, session: &Session) -> Vec<String> {
    let is_files = |name: &SystemName| {
        let source = session.plan.systems.get(name).and_then(|system| system.source.as_ref());
        matches!(source, Some(plan::Source::Files(_)))
    };
    let entries = book.systems.iter().filter(|entry| book.to.is_none() && is_files(&entry.system));
    let line = |entry: &plan::Restore| {
        let (name, id) = (&entry.system, &entry.choice.point.id);
        format!(
            "`{name}`: files that are not in the point stay beside those that come back, also what an attacker has left or renamed: releve restore {name} --to / --point {id} --delete --dry-run lists them; without --dry-run it removes them, after a question"
        )
    };
    entries.map(line).collect()
}

/// Says first which systems come back to an older point than this machine has seen, since the newer ones are gone from the vaults.
pub(super) fn say_vanished(book: &mut Runbook, wish: &Wish, vanished: &Vanished, survey: &Survey) {
    // Who names a point knows that there are newer ones; who names an instant misses none from after it.
    let until = match &wish.wanted {
        Some(Wanted::Id(_) | Wanted::From { .. }) => None,
        Some(Wanted::Before(time)) => Some(Some(*time)),
        _ => Some(None),
    };
    let newer = book.systems.iter().filter_map(|entry| {
        vanished
            .newer_points(&entry.system, entry.choice.point.counts(), until?)
            .map(|text| format!("`{}`: {text}", entry.system))
    });
    let mut warnings: Vec<String> = newer.collect();
    // Findings of the recovery itself: the point is there, and somebody may mend it; and a log that was known to go further is lost to it, which nothing else that comes
    // back would show.
    for entry in &mut book.systems {
        let (than, name) = (entry.choice.point.counts(), &entry.system);
        let reached = survey.log(name).and_then(|log| log.until).map_or(than, |log| log.max(than));
        let found = until.map(|until| {
            [vanished.newer_unread(name, than, until), vanished.newer_log(name, reached, until)]
        });
        for text in found.into_iter().flatten().flatten() {
            warnings.push(format!("`{}`: {text}", entry.system));
            entry.lacks = Some(match entry.lacks.take() {
                Some(lacks) => format!("{lacks}; {text}"),
                None => text,
            });
        }
    }
    let strange = vanished.clone().among(&wish.systems).strange_said();
    warnings.extend(strange);
    warnings.extend(vanished.learned.iter().cloned());
    // Of one that this machine has never seen nobody knows whose it is, nor how new.
    let damaged = engine::survey::few(&survey.damaged).lines().into_iter().filter(|_| until.is_some());
    warnings.extend(damaged.map(|(vault, why)| format!("vault {vault}: {why}: a newer point may be in it")));
    warnings.append(&mut book.warnings);
    book.warnings = warnings;
    // It is looked up for those that have none alone: of thousands all may.
    let wished: BTreeSet<&str> = wish.systems.iter().map(|name| name.0.as_str()).collect();
    for blocker in &mut book.blockers {
        let name = blocker.strip_prefix('`').and_then(|said| said.split_once("`: there is no restore point"));
        let Some(name) = name.map(|(name, _)| name).filter(|name| wished.contains(name)) else { continue };
        if let Some(known) = vanished.all(&name.into()) {
            blocker.push_str(&format!("; {known}"));
        }
    }
}

/// Says which systems come back to an older point than this machine has made, since the vaults that hold the newer one could not be opened.
pub(super) fn newer_elsewhere(
    book: &Runbook,
    wish: &Wish,
    records: &[Record],
    survey: &Survey,
) -> Vec<String> {
    // Who asks for something else than the newest knows that there are newer ones.
    if wish.scenario.is_some() || !matches!(wish.wanted, None | Some(Wanted::Latest)) {
        return Vec::new();
    }
    // Nothing is unknown then, of thousands of systems.
    if survey.not_known().is_none() {
        return Vec::new();
    }
    let newest = crate::cli::status::known(records);
    let newer = book.systems.iter().filter_map(|entry| {
        let (time, there) = newest.get(entry.system.0.as_str())?.clone();
        let closed: Vec<_> = there.iter().filter(|vault| survey.unknown(vault).is_some()).collect();
        let is_newer = time > entry.choice.point.counts() && closed.len() == there.len();
        let closed: Vec<_> = closed.into_iter().map(|vault| format!("`{vault}`")).collect();
        let text = || {
            format!(
                "`{}`: a newer point, of {}, is in {}, which could not be asked: what it holds doesn't come back without",
                entry.system,
                show::time(time),
                closed.join(", ")
            )
        };
        (is_newer && !closed.is_empty()).then(text)
    });
    newer.collect()
}

/// Returns the systems whose log has ended with what was put back: they need a point before anything comes back that is written from now on.
pub(super) fn log_ended<'a>(
    session: &Session,
    book: &Runbook,
    recovered: &'a Recovered,
) -> Vec<&'a SystemName> {
    let ends = |name: &SystemName| {
        let source = session.plan.systems.get(name).and_then(|system| system.source.as_ref());
        source.is_some_and(plan::Source::log_ends_with_recovery)
    };
    let is_back = |system: &&engine::recover::SystemRecovered| {
        system.restore_seconds > 0.0 || system.rta_seconds.is_some()
    };
    let back = recovered.systems.iter().filter(|_| book.to.is_none()).filter(is_back);
    back.map(|system| &system.system).filter(|name| ends(name)).collect()
}

/// Returns the systems that are back in an earlier state than the newest there was: they need a point of their own, since those made in between are left.
pub(super) fn went_back<'a>(book: &Runbook, recovered: &'a Recovered) -> Vec<&'a SystemName> {
    let went_back = |name: &SystemName| {
        let mut entries = book.systems.iter();
        entries.any(|entry| entry.went_back && entry.system == *name)
    };
    let back = recovered.systems.iter().filter(|system| book.to.is_none() && system.rta_seconds.is_some());
    back.map(|system| &system.system).filter(|name| went_back(name)).collect()
}

/// Says what is still held back on this machine, and whether it is still cut off.
pub(super) fn say_held(session: &Session, screen: &Screen) {
    let held = engine::quarantine::look(&session.state_dir).unwrap_or_else(|error| {
        screen.line(&format!("warning: what is held back on this machine can't be told: {error}"));
        Vec::new()
    });
    for held in held {
        let by: Vec<_> = held.by.iter().map(|system| system.0.as_str()).collect();
        screen.line(&format!("still held back: {}: releve release {}", held.what, by.join(" ")));
    }
    if engine::isolate::look(&session.state_dir).is_some() {
        screen.line("this machine is still cut off the network: releve release");
    }
}
