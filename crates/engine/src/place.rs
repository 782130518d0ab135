//! Private places for data on their way: folders of names that nobody can foresee, closed to others, and gone with their owners.
//!
//! For each there is a note in the state's folder, locked for as long as its owner lives: so the next run of the same state finds what a killed one has left, removes that, and
//! nothing of anybody else's.

use crate::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What they are called: with bytes that nobody can guess.
const PREFIX: &str = ".releve-";
const NAME_BYTES: usize = 12;
/// The folder of the notes, below the state's.
const NOTES: &str = "places";
/// How long what a killed run has left may take to end, before it is killed too.
const END_WITHIN: Duration = Duration::from_secs(10);

/// A private folder, gone with its owner.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    note: Option<Note>,
}

/// Says where a place is, and by its lock that its owner lives.
#[derive(Debug)]
struct Note {
    path: PathBuf,
    _locked: File,
}

/// Returns where there is room for what is small and temporary: never the folder that somebody stands in, which an empty `TMPDIR` would lead to.
pub(crate) fn scratch() -> PathBuf {
    Some(std::env::temp_dir()).filter(|folder| folder.is_absolute()).unwrap_or_else(|| "/tmp".into())
}

impl Place {
    /// Makes one in the folder `below`, after removing what killed runs have left that had the state in the folder `state`. Only its owner gets in.
    pub fn make(state: &Path, below: &Path, told: &dyn Fn(&str)) -> Result<Self> {
        Self::with_mode(state, below, 0o700, told)
    }

    /// As [`make`](Self::make), with these permissions.
    pub(crate) fn with_mode(state: &Path, below: &Path, mode: u32, told: &dyn Fn(&str)) -> Result<Self> {
        let notes = state.join(NOTES);
        clear(&notes, told);
        let mut random = [0; NAME_BYTES];
        getrandom::fill(&mut random).map_err(|error| Error::new(format!("get random bytes: {error}")))?;
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = below.join(format!("{PREFIX}{name}"));
        let failed = |error: io::Error| Error::new(format!("make the folder {}: {error}", path.display()));
        // Without a state to note it in, what is killed stays until a person removes it: no reason not to bring back what can be.
        let note = Note::write(&notes, &name, &path).ok();
        process::child::make_folders(below).map_err(failed)?;
        // One that is there already is refused: nobody can have foreseen its name.
        DirBuilder::new().mode(mode).create(&path).map_err(failed)?;
        // The umask is ours; who reads there may be another.
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(failed)?;
        Ok(Self { path, note })
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it there for a person, and returns where.
    pub(crate) fn keep(mut self) -> PathBuf {
        if let Some(note) = self.note.take() {
            let _ = fs::remove_file(&note.path);
        }
        std::mem::take(&mut self.path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        // What can't be removed now is removed by the next run: its note stays.
        if fs::remove_dir_all(&self.path).is_ok()
            && let Some(note) = self.note.take()
        {
            let _ = fs::remove_file(&note.path);
        }
    }
}

impl Note {
    fn write(notes: &Path, name: &str, place: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(notes)?;
        let path = notes.join(name);
        let mut file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        if file.metadata()?.nlink() == 0 {
            // Somebody took it for one that was left, in the instant before.
            return Err(io::ErrorKind::NotFound.into());
        }
        file.write_all(std::path::absolute(place)?.as_os_str().as_bytes())?;
        file.sync_all()?;
        Ok(Self { path, _locked: file })
    }
}

/// Removes the places whose owners have been killed, with what still runs in them.
fn clear(notes: &Path, told: &dyn Fn(&str)) {
    for entry in fs::read_dir(notes).into_iter().flatten().flatten() {
        let Ok(mut note) = File::options().read(true).write(true).open(entry.path()) else { continue };
        // Locked: its owner lives.
        if flock(&note, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let mut place = Vec::new();
        if note.read_to_end(&mut place).is_err() {
            continue;
        }
        let place = PathBuf::from(std::ffi::OsString::from_vec(place));
        let named = format!("{PREFIX}{}", entry.file_name().to_string_lossy());
        let is_its = place.file_name() == Some(OsStr::new(&named));
        let there = place.symlink_metadata();
        let is_ours = there.as_ref().is_ok_and(|meta| meta.is_dir() && meta.uid() == geteuid().as_raw());
        if is_its && is_ours {
            told(&format!("removing {}, which a run that was killed has left", place.display()));
            end_all_in(&place);
            if fs::remove_dir_all(&place).is_err() {
                continue;
            }
        }
        let _ = fs::remove_file(entry.path());
    }
}

/// Ends the processes that work in a folder: at once, but so that they can tidy up after themselves.
fn end_all_in(folder: &Path) {
    let Ok(folder) = folder.canonicalize() else { return };
    let processes: Vec<OwnedFd> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            // Looked at when the number can't become another's any more without our noticing.
            fs::read_link(entry.path().join("cwd")).ok()?.starts_with(&folder).then_some(process)
        })
        .collect();
    let until = Instant::now() + END_WITHIN;
    for process in &processes {
        let _ = pidfd_send_signal(process, Signal::QUIT);
    }
    for process in &processes {
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
        let ended = poll(&mut [PollFd::new(process, PollFlags::IN)], left.as_ref());
        if !matches!(ended, Ok(1..)) {
            let _ = pidfd_send_signal(process, Signal::KILL);
            let _ =
                poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&Timespec { tv_sec: 1, tv_nsec: 0 }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// As a killed run leaves it: the lock goes with the process, the rest stays.
    fn killed(place: Place) -> PathBuf {
        let path = place.path().to_owned();
        let mut place = std::mem::ManuallyDrop::new(place);
        drop(place.note.take());
        path
    }

    #[test]
    #[expect(clippy::disallowed_types, reason = "it is somebody else who works there")]
    fn what_a_killed_run_has_left_is_removed_by_the_next_of_the_same_state_and_by_nobody_else() {
        let (state, other, work) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let make = |state: &tempfile::TempDir| Place::make(state.path(), work.path(), &|_| {}).unwrap();
        let used = make(&state);
        let left = killed(make(&state));
        fs::write(left.join("half"), "of something").unwrap();
        let mut sleeper = std::process::Command::new("sleep").arg("600").current_dir(&left).spawn().unwrap();
        let of_other = make(&other);
        assert!(left.exists(), "another state knows nothing of it");
        let next = make(&state);
        assert!(!sleeper.wait().unwrap().success());
        assert!(!left.exists() && used.path().exists() && of_other.path().exists());
        let path = next.path().to_owned();
        assert!(path != used.path());
        drop(next);
        assert!(!path.exists());
        let kept = used.keep();
        drop(make(&state));
        assert!(kept.exists());
        drop(of_other);
        assert_eq!(fs::read_dir(other.path().join(NOTES)).unwrap().count(), 0);
    }

    #[test]
    fn only_its_owner_gets_in_and_a_note_that_leads_elsewhere_removes_nothing() {
        let (state, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = Place::make(state.path(), work.path(), &|_| {}).unwrap();
        assert_eq!(place.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let precious = work.path().join("precious");
        fs::create_dir(&precious).unwrap();
        fs::write(state.path().join(NOTES).join("forged"), precious.as_os_str().as_bytes()).unwrap();
        let linked = work.path().join(".releve-linked");
        std::os::unix::fs::symlink(&precious, &linked).unwrap();
        fs::write(state.path().join(NOTES).join("linked"), linked.as_os_str().as_bytes()).unwrap();
        drop(Place::make(state.path(), work.path(), &|_| {}).unwrap());
        assert!(precious.exists() && linked.exists());
        assert_eq!(fs::read_dir(state.path().join(NOTES)).unwrap().count(), 1);
    }

    #[test]
    fn without_a_state_to_note_it_in_there_is_a_place_all_the_same() {
        let work = tempfile::tempdir().unwrap();
        let file = work.path().join("file");
        fs::write(&file, "").unwrap();
        let place = Place::make(&file, work.path(), &|_| {}).unwrap();
        assert!(place.path().exists());
    }
}
