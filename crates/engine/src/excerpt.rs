//! A part of a system as SQL, out of a point that can only be restored whole: restored into a room of its own, cut out there, and the room
//! removed, whatever became of it.

use crate::place::Place;
use crate::recover::{Hands, put_back};
use crate::{Error, Result, source_of};
use plan::{Runbook, StepKind};
use rustix::process::geteuid;
use source::{Cut, Cutting, Excerpt};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::Progress;
use vault::restore::{RestoreOptions, restore};

/// A folder for a point on its way, gone with its owner.
#[derive(Debug)]
pub struct Room(Place);

impl Room {
    /// Makes one below `work`, and clears what killed runs with the same state have left: their servers, and their folders.
    pub fn make(state: &Path, work: &Path, told: &dyn Fn(&str)) -> Result<Self> {
        // Whoever runs the server must get through, and see nothing.
        let mode = if geteuid().is_root() { 0o711 } else { 0o700 };
        Ok(Self(Place::with_mode(state, work, mode, told)?))
    }

    /// Returns where a runbook has to restore to.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }
}

/// Restores what the runbook says into the room and writes what is wanted of it. Returns what that is, and what it lacks. After an error `out` may
/// have got a part. `is_over` tells that nobody waits any more.
pub fn excerpt(
    book: &Runbook,
    hands: &Hands<'_>,
    room: &Room,
    wanted: &Excerpt,
    out: &mut dyn Write,
    is_over: &(dyn Fn() -> bool + Sync),
) -> Result<Cut> {
    if let Some(blocker) = book.blockers.first() {
        return Err(Error::new(blocker.clone()));
    }
    let entry = book.systems.first().ok_or_else(|| Error::new("no system is named"))?;
    let name = &entry.system;
    let system =
        hands.plan.systems.get(name).ok_or_else(|| Error::new(format!("there is no system `{name}`")))?;
    let source = source_of(hands.plan, system, hands.secrets)?;
    let cutter = source.excerpts().ok_or_else(|| Error::new("nothing of it can be had as SQL"))?;
    let to = room.root();
    // Hundreds of gigabytes are not fetched for a server that can't run here.
    let surveyed = hands.survey.point(&entry.choice.point.id);
    let point = &surveyed.ok_or_else(|| Error::new("the point has vanished"))?.point;
    let vaults: Vec<_> =
        hands.vaults.iter().filter_map(|opened| opened.repository.as_ref().ok().cloned()).collect();
    let probe = RestoreOptions {
        only: vec![cutter.probe()],
        roots: point.snapshot.paths.iter().map(PathBuf::from).collect(),
        ..RestoreOptions::new(&to)
    };
    restore(&vaults, point.tree, &probe, &Arc::new(Progress::default()))?;
    cutter.check(&to)?;
    let back = put_back(entry, system, &StepKind::Restore, book, hands, &Arc::new(Progress::default()))?;
    if !back.report.is_whole() {
        let why = crate::recover::findings(&back.report).join("; ");
        return Err(Error::new(format!("the point did not come back whole: {why}"))
            .help("take another one: --point ID"));
    }
    if is_over() {
        return Err(Error::new("stopped"));
    }
    let told = |text: &str| hands.observer.event(Some(name), text);
    let cutting = Cutting { to: &to, room: &room.0.path().join("s"), wanted, told: &told, is_over };
    let mut cut = cutter.write(&cutting, out)?;
    cut.not_held.extend(back.lacking);
    Ok(cut)
}
