//! How other people's programs are started: the one place of this workspace that does it (`disallowed-types` of clippy.toml; tests do as they like).
//!
//! - What a program is told comes from [`Words`], which keep what is ours apart from what others have named: a database called `--plugin-dir=/tmp/p` is a name,
//!   and never an option. An option is a text of this program's code, the compiler sees to that.
//! - A program is called by its whole path, found where the machine keeps programs ([`folders`]), whatever the `PATH` of whoever calls us says.
//! - It sees of our environment only what is [`Kept`] for its kind: no secret that was handed to us by it.
//! - A client of a database is started in a [`Room`], in which it may do little more than to talk to its server.
//!
//! ```
//! use process::{Kept, Start, Words};
//! let words = Words::of("printf").data(["%s", "--version"]);
//! let told = Start::new(words, Kept::Little).unwrap().stdout(std::process::Stdio::piped()).spawn().unwrap();
//! assert_eq!(told.wait_with_output().unwrap().stdout, b"--version");
//! ```

mod begun;
mod kept;
mod room;
mod search;
mod words;

pub use begun::{as_whoever_started_us, begin, make_folders, make_folders_within, umask_before};
pub use kept::Kept;
pub use room::{May, Room};
pub use search::{find, folders};
pub use words::{Refused, Words};

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

/// A program about to be started. There is no way to give it a further word.
#[derive(Debug)]
#[expect(clippy::disallowed_types, reason = "the one place that starts programs")]
pub struct Start(std::process::Command);

impl Start {
    /// Returns the program with these words, found where programs are kept, with what is kept for it of our environment. The error says that there is none.
    #[expect(clippy::disallowed_types, reason = "the one place that starts programs")]
    pub fn new(words: Words, kept: Kept) -> io::Result<Self> {
        let is_written = words.is_written();
        let mut line = words.into_line();
        let (first, _) = line.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let program = find(first)?;
        if let Some(first) = line.first_mut() {
            *first = program.into_os_string();
        }
        if let Some(umask) = umask_before().filter(|_| is_written) {
            line = begun::with_umask(umask, line);
        }
        let (program, rest) = line.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = std::process::Command::new(program);
        command.args(rest).env_clear().envs(kept.variables());
        Ok(Self(command))
    }

    /// Sets a variable of its environment.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.0.env(name, value);
        self
    }

    /// Sets a variable as somebody has written it: `NAME=value`, or `NAME`, which hands on the one of our own environment if it is set.
    pub fn variable(&mut self, written: &str) -> &mut Self {
        if let Some((name, value)) = written.split_once('=') {
            return self.env(name, value);
        }
        #[expect(clippy::disallowed_methods, reason = "somebody has asked for it by its name")]
        let ours = std::env::var_os(written);
        match ours {
            Some(value) => self.env(written, value),
            None => self,
        }
    }

    /// Sets what it reads.
    pub fn stdin(&mut self, from: impl Into<Stdio>) -> &mut Self {
        self.0.stdin(from);
        self
    }

    /// Sets where what it prints goes.
    pub fn stdout(&mut self, to: impl Into<Stdio>) -> &mut Self {
        self.0.stdout(to);
        self
    }

    /// Sets where its complaints go.
    pub fn stderr(&mut self, to: impl Into<Stdio>) -> &mut Self {
        self.0.stderr(to);
        self
    }

    /// Sets where it is run.
    pub fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Self {
        self.0.current_dir(folder);
        self
    }

    /// Lets it run as this user and group.
    pub fn by(&mut self, uid: u32, gid: u32) -> &mut Self {
        self.0.uid(uid).gid(gid);
        self
    }

    /// Lets it lead a process group of its own.
    pub fn leading_a_group(&mut self) -> &mut Self {
        self.0.process_group(0);
        self
    }

    /// Starts it.
    pub fn spawn(&mut self) -> io::Result<Child> {
        self.0.spawn()
    }

    /// Hands it to somebody else's runtime, which waits for it.
    #[must_use]
    #[expect(clippy::disallowed_types, reason = "what runtimes take")]
    pub fn into_command(self) -> std::process::Command {
        self.0
    }
}

#[cfg(test)]
mod tests;
