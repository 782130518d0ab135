//! The plan is the boundary: before the question the tree of each point is looked at, whole, for what it holds besides what comes back, and for what gives rights.
//!
//! What a point says that it holds is only said. What its tree holds outside of the plan's paths is named and left. After an attack, and of a point that something
//! speaks against, setuid and setgid, capabilities and devices come back only where an earlier point vouches for them (`plan::Vouchers`), or the package database does.

use super::packages::Packages;
use crate::survey::{Survey, Surveyed, shown};
use crate::vaults::{Opened, Secrets};
use crate::{Result, source_of};
use plan::{Plan, Restore, Runbook, Source, StepKind, System, SystemName, Vouchers, Withheld};
use source::Landing;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::Repository;
use vault::restore::{Gives, Held, RestoreOptions, Right, Rights, Withholds, held, md5};

/// How many are named of each system; nobody reads more.
const NAMED_MAX: usize = 20;
/// Where dpkg keeps what it knows.
const DPKG: &str = "/var/lib/dpkg";

/// What a runbook is kept within.
pub struct Bounds<'a> {
    /// The plan that the runbook was made from.
    pub plan: &'a Plan,
    /// Where secrets come from.
    pub secrets: &'a dyn Secrets,
    /// The vaults, opened.
    pub vaults: &'a [Opened],
    /// The points that the runbook chose among.
    pub survey: &'a Survey,
    /// The points that may vouch for what gives rights.
    pub vouchers: &'a Vouchers,
    /// Says of a system that it was attacked, as far as anybody has said so.
    pub attacked: &'a dyn Fn(&SystemName) -> bool,
}

/// Adds to a runbook what the trees of its points hold besides: what is left, what comes back without its rights, and what is new among what has root's.
pub fn keep_within(book: &mut Runbook, bounds: &Bounds<'_>) -> Result<()> {
    let repositories: Vec<Arc<Repository>> =
        bounds.vaults.iter().filter_map(|opened| opened.repository.as_ref().ok().cloned()).collect();
    let to = book.to.clone();
    let mut warnings = Vec::new();
    for entry in &mut book.systems {
        let Some(system) = bounds.plan.systems.get(&entry.system) else { continue };
        let Some(point) = bounds.survey.of_facts(&entry.choice.point) else { continue };
        let source = source_of(bounds.plan, system, bounds.secrets)?;
        // What is unpacked for a server, or in the place of one file, lies where nobody else comes, and goes.
        let Landing::Final(_) = source.landing(to.as_deref().map(Path::new)) else { continue };
        let voucher = bounds.vouchers.point(bounds.plan, &entry.system, &entry.choice.point);
        let voucher = voucher.and_then(|facts| bounds.survey.of_facts(facts));
        let inside = inside(entry, system, point, to.as_deref());
        let why = match (bounds.attacked)(&entry.system) {
            true => Some("this is after an attack"),
            false => {
                Vouchers::doubts(&entry.choice.point).then_some("something speaks against the chosen point")
            }
        };
        let rights = match voucher {
            Some(voucher) => Rights::Since(voucher.point.tree),
            None if why.is_some() => Rights::All,
            None => Rights::Unasked,
        };
        let found = held(&repositories, point.point.tree, &inside, rights);
        warnings.extend(leave(entry, &found, &inside));
        warnings.extend(lack(entry, system, &found));
        match why {
            Some(why) => {
                entry.withheld = Some(withhold(&found, why, voucher, &repositories))
                    .filter(|withheld| !withheld.is_empty());
                warnings.extend(warned(entry, to.as_deref()));
            }
            None => warnings.extend(voucher.and_then(|voucher| new_roots(entry, &found, voucher))),
        }
    }
    book.warnings.append(&mut warnings);
    Ok(())
}

/// Returns what of a point is meant to come back in place; all of it where nothing is returned. Of files that is what the plan names, whatever the tree holds.
fn inside(entry: &Restore, system: &System, point: &Surveyed, to: Option<&str>) -> Vec<PathBuf> {
    let paths = |paths: &[String]| paths.iter().map(PathBuf::from).collect();
    match &system.source {
        _ if !entry.only.is_empty() => paths(&entry.only),
        _ if to.is_some() => Vec::new(),
        Some(source @ Source::Files(_)) => paths(&source.paths()),
        // What belongs to a cluster beside its data is what its point says, and was shown.
        _ => paths(&point.point.snapshot.paths),
    }
}

/// Returns what alone is written of a point: that which is meant, also where the tree holds more than anybody has looked at. What is unpacked beside first is no
/// part of the machine.
fn only(
    entry: &Restore,
    system: &System,
    point: &Surveyed,
    to: Option<&str>,
    landing: &Landing,
) -> Vec<PathBuf> {
    match landing {
        Landing::Final(_) => inside(entry, system, point, to),
        Landing::Staging { .. } => entry.only.iter().map(PathBuf::from).collect(),
    }
}

/// Returns how a point is written, as far as that is known ahead: what of it alone, and `without` what the others of its recovery put back.
pub(super) fn options(
    entry: &Restore,
    system: &System,
    point: &Surveyed,
    book: &Runbook,
    without: Vec<PathBuf>,
    landing: &Landing,
    target: PathBuf,
) -> RestoreOptions {
    let roots = &point.point.snapshot.paths;
    RestoreOptions {
        only: only(entry, system, point, book.to.as_deref(), landing),
        roots: roots.iter().map(PathBuf::from).collect(),
        silent: source::silent_in(&target, roots),
        without,
        ..RestoreOptions::new(target)
    }
}

/// Says of what gives rights whether it comes back without them.
pub(super) fn withholds(entry: &Restore) -> Option<Withholds> {
    let withheld = entry.withheld.clone()?;
    Some(Arc::new(move |path: &Path| withheld.holds(&path.to_string_lossy())))
}

/// Returns what is said once the data are back of what came without its rights.
pub(super) fn withheld(entry: &Restore, kind: &StepKind, to: Option<&str>) -> Vec<String> {
    // Told once, where the data come back in parts.
    if matches!(kind, StepKind::First) {
        return Vec::new();
    }
    said(entry, to)
}

/// Notes what the tree of a point holds besides what is meant, and says it.
fn leave(entry: &mut Restore, found: &Held, inside: &[PathBuf]) -> Option<String> {
    let is_known = |path: &&PathBuf| entry.left.iter().any(|left| path.starts_with(left));
    let more: Vec<&PathBuf> = found.outside.iter().filter(|path| !is_known(path)).collect();
    let first = shown(more.first()?);
    let names: Vec<String> = more.iter().take(NAMED_MAX).map(shown).collect();
    let rest = match more.len().saturating_sub(names.len()) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    let point = &entry.choice.point.id;
    let said = format!(
        "`{0}`: the tree of point {point} holds also {1}{rest}, outside of what it is made of: that is left as it is, and may be somebody's work; \
         `releve restore {0} --point {point} --to DIR --path {first}` brings it, to look at",
        entry.system,
        names.join(", ")
    );
    let more = more.into_iter().take(NAMED_MAX).map(|path| path.to_string_lossy().into_owned());
    entry.left.extend(more);
    if entry.only.is_empty() {
        entry.only = inside.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    }
    Some(said)
}

/// Says what a point says that it holds, and its tree does not: nothing is overwritten there.
fn lack(entry: &mut Restore, system: &System, found: &Held) -> Vec<String> {
    let claims = &entry.choice.point.paths;
    // What could not be read is told already.
    let is_sure = entry.choice.point.complete && found.unknown.is_empty() && !claims.is_empty();
    if !is_sure || !matches!(system.source, Some(Source::Files(_))) {
        return Vec::new();
    }
    let is_said = |path: &&PathBuf| claims.iter().any(|claim| Path::new(claim).starts_with(path));
    let absent: Vec<&PathBuf> = found.absent.iter().filter(is_said).collect();
    let line = |path: &&PathBuf| {
        let (system, path) = (&entry.system, shown(path));
        format!("`{system}`: the point says that it holds {path}, and its tree does not: it can't come back")
    };
    let lines = absent.iter().map(line).collect();
    entry.standing.retain(|standing| !absent.iter().any(|path| Path::new(&standing.path) == path.as_path()));
    lines
}

/// Returns what doesn't come back as it is.
fn withhold(found: &Held, why: &str, voucher: Option<&Surveyed>, vaults: &[Arc<Repository>]) -> Withheld {
    let packages = Packages::read(Path::new(DPKG));
    let sum = md5(vaults);
    let is_unknown = |right: &&Right| !packages.know(right, || sum(&right.node));
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let entries = found.rights.iter().filter(is_unknown);
    Withheld {
        why: why.to_owned(),
        vouched_by: voucher.map(|voucher| voucher.point.id.clone()),
        entries: entries.map(|right| (path(&right.path), gives(right))).collect(),
        below: found.unknown.iter().map(|folder| path(folder)).collect(),
        all: found.is_more,
    }
}

/// Says in words what an entry gives, and whose it is.
fn gives(right: &Right) -> String {
    let of = |gives: &Gives| match gives {
        Gives::Setuid if right.node.meta.uid == 0 => "setuid root".to_owned(),
        Gives::Setuid => format!("setuid, user {}", right.node.meta.uid),
        Gives::Setgid => format!("setgid, group {}", right.node.meta.gid),
        gives => gives.to_string(),
    };
    right.gives.iter().map(of).collect::<Vec<_>>().join(" and ")
}

/// Says what comes back without its rights, and what gives them back.
fn said(entry: &Restore, to: Option<&str>) -> Vec<String> {
    let Some(withheld) = &entry.withheld else { return Vec::new() };
    let vouched = match &withheld.vouched_by {
        Some(point) => format!("point {point} from before does not have it just so, nor do packages"),
        None => "there is no earlier point that nothing speaks against, nor do packages know it".to_owned(),
    };
    let mut lines = Vec::new();
    if withheld.all {
        lines.push(format!(
            "{}, and what of it gives rights is not known to the end: setuid, setgid, capabilities and devices don't come back at all",
            withheld.why
        ));
    } else {
        let named = withheld.entries.iter().take(NAMED_MAX);
        lines.extend(named.map(|(path, gives)| {
            format!("{} comes back without its rights ({gives}): {}: {vouched}", shown(path), withheld.why)
        }));
        let more = withheld.entries.len().saturating_sub(lines.len());
        if more > 0 {
            lines.push(format!("and {more} more come back without their rights: --json has them all"));
        }
        let closed = withheld.below.iter().take(NAMED_MAX);
        lines.extend(closed.map(|folder| {
            let folder = shown(folder);
            format!("{folder} could not be looked into: nothing below it comes back with setuid, setgid, capabilities, or as a device")
        }));
    }
    let path = withheld.entries.keys().next().map_or_else(|| "PATH".to_owned(), shown);
    let (system, point, to) = (&entry.system, &entry.choice.point.id, to.unwrap_or("/"));
    lines.push(format!(
        "if you know it, `releve restore {system} --point {point} --to {to} --path {path}` gives it back as it was"
    ));
    lines
}

/// Returns that as warnings of the system.
fn warned(entry: &Restore, to: Option<&str>) -> Vec<String> {
    said(entry, to).into_iter().map(|line| format!("`{}`: {line}", entry.system)).collect()
}

/// Says what runs as root in a point and didn't in the one before.
fn new_roots(entry: &Restore, found: &Held, before: &Surveyed) -> Option<String> {
    let is_root = |right: &&Right| {
        let gives_root = |gives: &Gives| match gives {
            Gives::Setuid => right.node.meta.uid == 0,
            Gives::Capability => true,
            Gives::Setgid | Gives::Device => false,
        };
        !right.stood && right.gives.iter().any(gives_root)
    };
    let new: Vec<&Right> = found.rights.iter().filter(is_root).collect();
    if new.is_empty() {
        return None;
    }
    let names: Vec<String> = new
        .iter()
        .take(NAMED_MAX)
        .map(|right| format!("{} ({})", shown(&right.path), gives(right)))
        .collect();
    let rest = match new.len().saturating_sub(names.len()) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    Some(format!(
        "`{}`: {}{rest} gives whoever starts it more than his own rights, and did not in point {} of {:.0}: make sure that it is yours",
        entry.system,
        names.join(", "),
        before.point.id,
        before.point.time
    ))
}
