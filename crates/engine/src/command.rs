//! Runs a command of the plan: within its time, whatever it prints, and without waiting for what it leaves behind.
//!
//! It gets a session of its own, without a terminal: one that asks there (`/dev/tty`: a password, "are you sure?") fails at once with a message of its own, where it
//! would be stopped by the terminal until its time is over.
//!
//! What it prints goes into a file in memory and not into a pipe: a daemon that stays holds a pipe open, and dies of one that is closed. Of a command that
//! prints without end only the last of it is kept; once it has ended the file can't grow any more, which a daemon meets as a failed write.

use process::{Kept, Start, Words};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How much of what a command prints is kept at least, in bytes: its end.
const KEPT: u64 = 1 << 20;
/// From how much more on the rest is given back, in bytes.
const SLACK: u64 = 4 << 20;
/// What one that has to be stopped gets to put things in order.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks whether it has ended, at most.
const PAUSE: Duration = Duration::from_millis(20);
/// Begins a session, which the standard library can't. From util-linux, which Debian has on every machine. Run by who leads no process group it doesn't fork, so that the
/// command is our child, and leads a group that is named like it.
const SETSID: &str = "/usr/bin/setsid";
/// How it ends where there is no such program, or none that may be run, and what it begins its complaint with.
const NOT_RUN: ([i32; 2], &str) = ([126, 127], "setsid: ");
/// What says that it has asked at a terminal.
const TERMINAL: &str = "/dev/tty";
/// Runs something as somebody else, with his groups and his home. From util-linux, too.
const RUNUSER: &str = "runuser";
/// How much more is read of what is shown, in bytes: a secret that begins before it is known as one.
const BEFORE: u64 = 4096;

/// What is run, and how.
#[derive(Default)]
pub(crate) struct Order<'a> {
    /// A program and its arguments.
    pub(crate) command: &'a [String],
    /// As whom; as ourselves where `None`. Only root runs something as somebody else.
    pub(crate) user: Option<&'a str>,
    /// Where.
    pub(crate) directory: Option<&'a str>,
    /// `NAME=value`, or `NAME`: one of ours, which it doesn't see otherwise.
    pub(crate) env: &'a [String],
    /// How long it may take; it is stopped then, with all that it has started and that has not gone its own way.
    pub(crate) within: Duration,
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    said: File,
}

impl Ended {
    /// Returns the end of what it printed, in bytes at most, without the secrets that this process knows.
    pub(crate) fn said(&self, most: u64) -> String {
        let raw = self.raw(most.saturating_add(BEFORE));
        let shown = process::masked(&raw);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut from = shown.len().saturating_sub(most);
        while !shown.is_char_boundary(from) {
            from += 1;
        }
        shown.get(from..).unwrap_or_default().trim().to_owned()
    }

    /// Returns the end of what it printed as it is.
    fn raw(&self, most: u64) -> String {
        let bytes = self.said.metadata().map_or(0, |meta| meta.len());
        let kept = bytes.min(most).min(KEPT);
        let mut text = vec![0; usize::try_from(kept).unwrap_or_default()];
        let read = self.said.read_at(&mut text, bytes - kept).unwrap_or_default();
        text.truncate(read);
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// Tells one that could not be run from one that has ended so.
    fn judged_as_the_command(self) -> Result<Self, String> {
        let (codes, complaint) = NOT_RUN;
        let why = match self.status.code() {
            Some(code) if codes.contains(&code) => self.said(1000),
            _ => return Ok(self),
        };
        match why.strip_prefix(complaint).filter(|_| Path::new(SETSID).exists()) {
            Some(why) => Err(format!("can't be run: {why}")),
            None => Ok(self),
        }
    }

    /// Returns what to do where it has asked at a terminal, which it has none of.
    pub(crate) fn hint(&self) -> &'static str {
        match !self.status.success() && self.has_said(TERMINAL) {
            true => {
                " (a command has no terminal to ask at: give it its answer, or let a person do it, ask = \"…\")"
            }
            false => "",
        }
    }

    /// Returns whether a text stands in the last megabyte of what it printed.
    pub(crate) fn has_said(&self, text: &str) -> bool {
        self.raw(KEPT).contains(text)
    }
}

/// Runs a command to its end. The error says why it has none of its own: it could not be started, was too slow, or somebody wants it `stopped`.
pub(crate) fn run(order: &Order<'_>, stopped: &dyn Fn() -> bool) -> Result<Ended, String> {
    let said: File = memfd_create("releve", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(|error| error.to_string())?
        .into();
    let mut child = spawn(order, &said)?;
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    let mut given_back = 0;
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => {
                // What has stayed behind may still hold it.
                let _ = fcntl_add_seals(&said, SealFlags::GROW);
                return Ended { status, said }.judged_as_the_command();
            }
            None if begun.elapsed() > order.within => {
                stop(&mut child);
                return Err(format!("did not end within {} s", order.within.as_secs()));
            }
            None if stopped() => {
                stop(&mut child);
                return Err("was stopped, because somebody said so".into());
            }
            None => {
                let bytes = said.metadata().map_or(0, |meta| meta.len());
                if bytes.saturating_sub(given_back) > KEPT + SLACK {
                    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                    given_back = bytes - KEPT;
                    let _ = fallocate(&said, hole, 0, given_back);
                }
                std::thread::park_timeout(pause);
                pause = (pause * 2).min(PAUSE);
            }
        }
    }
}

fn spawn(order: &Order<'_>, said: &File) -> Result<Child, String> {
    let (program, arguments) = order.command.split_first().ok_or("is empty")?;
    let wrong = |error: std::io::Error| format!("can't be run: {error}");
    let found = process::child::find(OsStr::new(program)).map_err(wrong)?;
    let mut words = Words::written([found.as_os_str()]).told(arguments);
    if let Some(user) = order.user {
        // It has the groups of that user, and starts no shell.
        let runuser = process::child::find(OsStr::new(RUNUSER)).map_err(wrong)?;
        words = words.behind(Words::of(runuser).option("--user", user).word("--"));
    }
    let has_session = Path::new(SETSID).exists();
    if has_session {
        words = words.behind(Words::of(SETSID));
    }
    let mut command = Start::new(words, Kept::Little).map_err(wrong)?;
    for variable in order.env {
        command.variable(variable);
    }
    if let Some(directory) = order.directory {
        command.current_dir(directory);
    }
    let output = || said.try_clone().map_err(|error| error.to_string());
    command.stdin(Stdio::null()).stdout(output()?).stderr(output()?);
    if !has_session {
        command.leading_a_group();
    }
    command.spawn().map_err(wrong)
}

/// Stops a command and what belongs to its group.
fn stop(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let signal = |signal| group.map(|group| kill_process_group(group, signal));
    signal(Signal::TERM);
    let begun = Instant::now();
    while begun.elapsed() < GRACE && matches!(child.try_wait(), Ok(None)) {
        std::thread::park_timeout(PAUSE);
    }
    signal(Signal::KILL);
    // Its group has its name once it has its session, an instant after it was started.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, within: Duration) -> Result<Ended, String> {
        let command = ["sh", "-c", script].map(str::to_owned);
        run(&Order { command: &command, within, ..Order::default() }, &|| false)
    }

    #[test]
    fn one_that_hangs_is_stopped_with_what_it_has_started() {
        let begun = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}; wait", file.display());
        let error = shell(&script, Duration::from_millis(500)).err().unwrap();
        assert!(error.contains("did not end within"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(60));
        let pid: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        let is_gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z")
        };
        assert!(testkit::wait_until(Duration::from_secs(20), is_gone));
    }

    #[test]
    fn one_that_forks_and_leaves_is_not_waited_for_and_what_it_left_lives_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("late");
        let script = format!("(sleep 1; echo loud; echo louder; touch {}) & echo started", file.display());
        let ended = shell(&script, Duration::from_secs(60)).unwrap();
        assert!(ended.status.success() && ended.said(100) == "started", "{}", ended.said(100));
        assert!(testkit::wait_until(Duration::from_secs(20), || file.exists()), "it died of what it printed");
    }

    #[test]
    fn of_a_gigabyte_only_the_end_is_kept() {
        let script = "head -c 1000000000 /dev/zero; echo; echo the end; exit 3";
        let ended = shell(script, Duration::from_secs(120)).unwrap();
        assert_eq!((ended.status.code(), ended.said(8).as_str()), (Some(3), "the end"));
        assert!(ended.has_said("the end") && !ended.has_said("the beginning"));
        let blocks = std::os::unix::fs::MetadataExt::blocks(&ended.said.metadata().unwrap());
        assert!(blocks * 512 < 600_000_000, "{blocks}");
    }

    #[test]
    fn one_that_asks_at_a_terminal_fails_at_once_and_it_is_said_why() {
        let begun = Instant::now();
        let ended = shell("read answer </dev/tty && echo $answer", Duration::from_secs(300)).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(60));
        assert!(!ended.status.success() && ended.has_said("/dev/tty"), "{}", ended.said(200));
        assert!(ended.hint().contains("no terminal"), "{}", ended.hint());
        // Its session and its group are its own, under its own name.
        let mine = shell("cut -d' ' -f1,5,6 /proc/$$/stat", Duration::from_secs(60)).unwrap();
        let said = mine.said(200);
        let ids: Vec<&str> = said.split(' ').collect();
        assert!(ids.len() == 3 && ids.iter().all(|id| *id == ids[0]), "{said}");
    }

    #[test]
    fn it_runs_where_and_with_what_it_is_told() {
        let command = ["sh", "-c", "echo $PWD $COLOUR"].map(str::to_owned);
        let env = ["COLOUR=blue".to_owned()];
        let order = Order {
            command: &command,
            directory: Some("/usr"),
            env: &env,
            within: Duration::from_secs(60),
            ..Order::default()
        };
        assert_eq!(run(&order, &|| false).unwrap().said(100), "/usr blue");
        let nobody = Order { user: Some("nobody"), ..order };
        let said = run(&nobody, &|| false).unwrap().said(200);
        assert!(said == "/usr blue" || said.contains("root"), "{said}");
        let none = ["no-such-program".to_owned()];
        let order = Order { command: &none, within: Duration::from_secs(60), ..Order::default() };
        assert!(run(&order, &|| false).err().unwrap().contains("can't be run"));
    }
}
