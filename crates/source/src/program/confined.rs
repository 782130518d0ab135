//! What a client of a database is held to on this machine: it talks to its server, writes where it is told to, and starts nothing. What it reads was written by others,
//! in a dump or on the server, and has been a way to commands of the client's own before (`\!`, `system`, CVE-2026-18408). The feeds refuse that; this is behind them.

use super::{Program, SETPRIV, SETSID};
use process::child::{May, Room, find};
use process::{Start, Words};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;

/// A variable of its environment, with its value.
type Variable = (&'static str, String);
/// What is called, what is set for it, and where it runs.
type Placed = (Words, Option<Variable>, Option<Room>);

/// What it may do besides.
#[derive(Debug, Clone, Default)]
pub(super) struct Confined {
    writes: Vec<PathBuf>,
    starts: Vec<PathBuf>,
    reads: Option<(Named, Arc<File>)>,
}

/// How a client is told where its file is that nobody else may read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named {
    /// In its first option.
    Option(&'static str),
    /// In a variable of its environment.
    Variable(&'static str),
}

impl Program {
    /// Confines it, as a client of a database.
    pub(crate) fn confined(mut self) -> Self {
        self.confined.get_or_insert_default();
        self
    }

    /// Lets a client write to what is below this folder.
    pub(crate) fn writing(mut self, folder: &Path) -> Self {
        self.confined.get_or_insert_default().writes.push(folder.to_owned());
        self
    }

    /// Lets a client start this program.
    pub(crate) fn starting(mut self, program: &Path) -> Self {
        self.confined.get_or_insert_default().starts.push(program.to_owned());
        self
    }

    /// Lets a client read what we hold open.
    pub(crate) fn reading(mut self, named: Named, file: &Arc<File>) -> Self {
        self.confined.get_or_insert_default().reads = Some((named, Arc::clone(file)));
        self
    }

    /// Returns what to call, which was found there, what to set in its environment, and its room where it has one.
    pub(super) fn placed(&self, found: PathBuf) -> io::Result<Placed> {
        let room = self.confined.as_ref().map(|confined| confined.room(&found));
        let room = room.transpose()?.flatten();
        let words = self.command.clone().found_at(found);
        Ok(match &self.confined {
            Some(confined) => {
                let (words, told) = confined.told(words, room.as_ref());
                (words, told, room)
            }
            None => (words, None, room),
        })
    }
}

/// Begins a program in its room, if it has one.
pub(super) fn begin(room: Option<&Room>, mut start: Start) -> io::Result<Child> {
    match room {
        Some(room) => room.spawn(start),
        None => start.spawn(),
    }
}

impl Confined {
    /// Returns the room for the program that was found there. `None` for a script in its place: that is somebody's word, who wants it to do what it does.
    fn room(&self, program: &Path) -> io::Result<Option<Room>> {
        let mut may = May::default();
        if !may.run(program) {
            return Ok(None);
        }
        for starter in [SETPRIV, SETSID] {
            may.run(Path::new(starter));
        }
        for started in &self.starts {
            // One that isn't there is missed by the client.
            let is_script = find(started.as_os_str()).is_ok_and(|started| !may.run(&started));
            if is_script {
                return Ok(None);
            }
        }
        for folder in &self.writes {
            may.write(folder);
        }
        let room = Room::new(may)?;
        if !room.stands() {
            tracing::debug!("no walls around {}: this kernel has no Landlock", program.display());
        }
        Ok(Some(room))
    }

    /// Tells the program where its file is. Returns the variable that says so, if it is told by one.
    fn told(&self, words: Words, room: Option<&Room>) -> (Words, Option<Variable>) {
        let Some((named, file)) = &self.reads else { return (words, None) };
        let place = match room {
            Some(room) => room.name_of(file),
            None => format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()),
        };
        match *named {
            Named::Option(name) => (words.first(name, place), None),
            Named::Variable(name) => (words, Some((name, place))),
        }
    }
}
