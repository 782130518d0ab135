//! What becomes of an edit of the plan while the agent runs: taken over where nobody but its own user could have written it, or a person has accepted it; else told.

use crate::cli::plan_file::note;
use crate::session::Session;
use crate::session::origin::{Found, Verdict, edited, judge, look, name_of, note_edited, paths_of};
use crate::show::{self, Screen};
use engine::Result;
use state::{Record, State, accepted};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What changes when the plan does: the newest times of its files, and how many they are.
type Stamp = (Option<(i64, i64)>, usize);

/// Looks after the plan that the agent goes by.
pub(super) struct Edits {
    path: PathBuf,
    /// What it is called in the state, as of the last change.
    name: String,
    stamp: Stamp,
    /// The number of the record by which a plan was accepted last.
    accepted: Option<u64>,
}

impl Edits {
    /// Begins with the plan of this session: notes that it is in force, or says why what stands in the file is not.
    pub(super) fn begin(session: &Session, state: &State, screen: &Screen) -> Result<Self> {
        let path = session.plan_path.clone();
        let (name, stamp) = (name_of(&path), stamp_of(&path));
        if session.edited.is_some() {
            screen.line("the plan that was accepted stays in force: `releve plan accept` shows the difference and takes the new one");
        } else {
            let found = Found { path: path.clone(), files: session.files.clone(), objections: Vec::new() };
            keep(state, screen, &found);
        }
        let accepted = newest(&state.records()?, &name);
        Ok(Self { path, name, stamp, accepted })
    }

    /// Returns the session with the plan of now, where that has changed and is believed. What isn't is said.
    pub(super) fn look(
        &mut self,
        session: &Session,
        (state, records): (&State, &[Record]),
        screen: &Screen,
        is_asked: bool,
    ) -> Option<Session> {
        let stamp = stamp_of(&self.path);
        if stamp != self.stamp || is_asked {
            self.name = name_of(&self.path);
        }
        let accepted = newest(records, &self.name);
        if stamp == self.stamp && accepted == self.accepted && !is_asked {
            return None;
        }
        (self.stamp, self.accepted) = (stamp, accepted);
        let found = match look(&self.path) {
            Ok(found) => found,
            Err(error) => {
                screen
                    .line(&format!("the changed plan can't be read: {error}; the one before stays in force"));
                return None;
            }
        };
        if judge(&found, Some(state), records) != Verdict::Taken {
            let why = edited(&found);
            screen.line(&format!(
                "WARNING: {why}. It is not taken over: `releve plan accept` shows the difference and takes it"
            ));
            tell(state, screen, &self.path, Some(&why));
            return None;
        }
        let parsed = plan::parse(&found.files);
        let Some(plan) = parsed.plan else {
            show::diagnostics(&parsed.diagnostics, false);
            screen.line("the changed plan is wrong: the one before stays in force");
            return None;
        };
        screen.line("the plan has changed: taken over");
        self.accepted = keep(state, screen, &found).or(self.accepted);
        let fingerprint = found.fingerprint();
        Some(Session { plan, fingerprint, files: found.files, edited: None, ..session.clone() })
    }
}

/// Notes that a plan is in force that nobody else could have written, or that was accepted, and returns the number of the newest record of that. That it can't be noted
/// is no reason not to go by it.
fn keep(state: &State, screen: &Screen, found: &Found) -> Option<u64> {
    tell(state, screen, &found.path, None);
    let noted = || -> Result<u64> {
        let records = state.records()?;
        let known = accepted(&records, &name_of(&found.path));
        match known {
            Some((record, known)) if known.hash == found.fingerprint() => Ok(record.number),
            _ => Ok(note(state, found, if known.is_none() { "first" } else { "own" })?.number),
        }
    };
    noted()
        .inspect_err(|error| screen.line(&format!("which plan is in force could not be noted: {error}")))
        .ok()
}

/// Has people told that somebody else has changed the plan, or that it is over.
fn tell(state: &State, screen: &Screen, path: &Path, why: Option<&str>) {
    if let Err(error) = note_edited(state, path, why) {
        screen.line(&format!("that the plan was changed could not be noted: {error}"));
    }
}

fn newest(records: &[Record], name: &str) -> Option<u64> {
    accepted(records, name).map(|(record, _)| record.number)
}

/// Whose a file is counts as well as what is in it.
fn stamp_of(path: &Path) -> Stamp {
    let files = paths_of(path).unwrap_or_default();
    let times = files.iter().filter_map(|file| std::fs::metadata(file).ok());
    let newest = times.map(|meta| (meta.ctime(), meta.ctime_nsec())).max();
    (newest, files.len())
}
