//! Running other people's programs: no shell, a time limit, nothing left running, and their last words kept.

mod confined;
mod feed;
mod left;

pub(crate) use confined::Named;

use crate::walls::Walls;
use crate::{Error, Kind, Result};
use confined::Confined;
use feed::Feed;
use left::{HELD, Left};
use process::child::Room;
use process::{Kept, Start, Wait, Words};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How much of what a program says last is kept for an error.
const LAST_WORDS_BYTES: usize = 4096;
/// How much an answer may hold: a hundred thousand tables are 10 MB.
const OUTPUT_BYTES_MAX: usize = 256 << 20;
/// How long a program may run that nobody set a limit for.
const WITHIN_DEFAULT: Duration = Duration::from_secs(3600);
/// The longest time that a clock can be asked to count to without running over: more is as good as no limit.
const WITHIN_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long a program that reads no more may take to end.
const REST_WITHIN: Duration = Duration::from_secs(60);
/// After so long a silence it is asked whether whoever the program works with is there at all.
const SILENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether somebody wants this process to end.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How much is carried through a pipe at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// What a pipe may hold: with more than the usual 64 KiB the two sides wait less for each other.
const PIPE_BYTES: usize = 1 << 20;

/// A program to run: its arguments, one by one, since no shell is between, and how long it may take. It and all that it starts
/// form a process group, which is killed when the time is over or nobody waits any more.
#[derive(Debug, Clone)]
pub struct Program {
    command: Words,
    within: Duration,
    environment: Vec<(&'static str, Hidden)>,
    /// What a person has written: `NAME=value`, or `NAME` for one of ours.
    variables: Vec<String>,
    user: Option<(u32, u32)>,
    ends_with_us: bool,
    is_unhurried: bool,
    walls: Option<Walls>,
    confined: Option<Confined>,
    works_with: Option<Other>,
    is_left: Arc<AtomicBool>,
}

/// Says why whoever a program works with doesn't answer, if that is so.
#[derive(Clone)]
struct Other(Arc<dyn Fn() -> Result<(), String> + Send + Sync>);

impl std::fmt::Debug for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Sets what the standard library can't: all groups of another user, and the end of a program with whoever started it. From util-linux,
/// which Debian has on every machine.
const SETPRIV: &str = "/usr/bin/setpriv";
/// Begins a session without a terminal, so that what asks there fails at once: in ours it would be stopped until its time is over. From util-linux, too.
const SETSID: &str = "/usr/bin/setsid";

/// What nobody is shown.
#[derive(Clone)]
struct Hidden(String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl Program {
    /// Returns the program with what it is told. It may run for an hour.
    pub fn new(command: impl Into<Words>) -> Result<Self> {
        let command: Words = command.into();
        match command.program() {
            program if !program.is_empty() => Ok(Self {
                command,
                within: WITHIN_DEFAULT,
                environment: Vec::new(),
                variables: Vec::new(),
                user: None,
                ends_with_us: false,
                is_unhurried: false,
                walls: None,
                confined: None,
                works_with: None,
                is_left: Arc::default(),
            }),
            _ => Err(Error::new("read a command", Kind::Invalid("it names no program".to_owned()))),
        }
    }

    /// Sets how long it may run.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { within: limit.min(WITHIN_MAX), ..self }
    }

    /// Adds variables to its environment, which may be secrets.
    pub(crate) fn environment(mut self, variables: Vec<(&'static str, String)>) -> Self {
        self.environment.extend(variables.into_iter().map(|(name, value)| (name, Hidden(value))));
        self
    }

    /// Adds variables as a person has written them: `NAME=value`, or `NAME` for one of our own environment, of which it sees nothing else.
    #[must_use]
    pub fn variables(self, variables: &[String]) -> Self {
        Self { variables: variables.to_vec(), ..self }
    }

    /// Lets it run as this user and group, if that is another one and we may.
    pub(crate) fn by(mut self, uid: u32, gid: u32) -> Self {
        self.user = (rustix::process::geteuid().is_root() && uid != 0).then_some((uid, gid));
        self
    }

    /// Lets it end when we do, even if we are killed.
    pub(crate) fn ending_with_us(self) -> Self {
        Self { ends_with_us: true, ..self }
    }

    /// Lets it come to its end although somebody wants this process to end: half of what it does is worse.
    #[must_use]
    pub fn unhurried(self) -> Self {
        Self { is_unhurried: true, ..self }
    }

    /// After a long silence of it, asks whether whoever it works with is there: the error says why nothing comes any more.
    pub(crate) fn while_there(
        self,
        answers: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self { works_with: Some(Other(Arc::new(answers))), ..self }
    }

    /// Lets it see and write only what is within these walls.
    pub(crate) fn behind(self, walls: Walls) -> Self {
        Self { walls: Some(walls), ..self }
    }

    /// Returns the program as a person would name it: without its arguments, which may hold secrets.
    #[must_use]
    pub fn name(&self) -> String {
        self.command.program().to_string_lossy().into_owned()
    }

    /// Says that only what it has left behind still holds its output open, once that is so for long: of it, or of a copy of it.
    pub(crate) fn is_waited_for(&self) -> Option<String> {
        self.is_left.load(Relaxed).then(|| left::said(&self.name()))
    }

    /// Runs it until it prints no more, and returns what it printed: `most` bytes at most. How it ended is for the caller to judge, if it
    /// matters.
    pub(crate) fn printed(&self, most: usize) -> Result<(Vec<u8>, Running), String> {
        let mut running = self.start(Stdio::null())?;
        let (mut printed, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
        loop {
            let read = running.read(&mut piece).map_err(|error| running.broken(&error))?;
            printed.extend_from_slice(piece.get(..read).unwrap_or_default());
            if read == 0 {
                return Ok((printed, running));
            }
            if printed.len() > most {
                return Err(running.say("printed more than an answer may hold"));
            }
        }
    }

    /// Runs it to its end with nothing to read. The error says what went wrong, with its last words.
    pub(crate) fn run(&self) -> Result<(), String> {
        let mut running = self.start(Stdio::null())?;
        let status = running.carry(None).map_err(|error| running.broken(&error))?;
        running.judge(status)
    }

    /// Runs it to its end, and gives it these words to read, all of which it must take. The error says what went wrong, with its last words.
    pub fn tell(&self, words: Option<&[u8]>) -> Result<(), String> {
        let Some(words) = words else { return self.run() };
        let mut running = self.start(Stdio::piped())?;
        running.write(words)?;
        running.child.stdin = None;
        running.end(self.within)
    }

    /// Runs it to its end and returns what it printed, which must not be much. The error says what went wrong, with its last words.
    pub fn output(&self) -> Result<Vec<u8>, String> {
        let (printed, mut running) = self.printed(OUTPUT_BYTES_MAX)?;
        running.end(self.within).map(|()| printed)
    }

    /// Runs it to its end and feeds it the whole of `file`. Returns how many bytes it took.
    pub(crate) fn feed(&self, file: File) -> Result<u64, String> {
        let size = file.metadata().map_err(|error| error.to_string())?.len();
        let mut running = self.start(Stdio::piped())?;
        let stdin = running.child.stdin.take();
        let mut feed = Feed { file, stdin, buffer: Vec::new(), sent: 0 };
        let status = running.carry(Some(&mut feed)).map_err(|error| running.broken(&error))?;
        running.judge(status)?;
        if feed.sent != size {
            return Err(format!(
                "{} ended well after taking only {} of {size} bytes",
                self.name(),
                feed.sent
            ));
        }
        Ok(feed.sent)
    }

    /// Starts it; what it prints is for the caller to read.
    pub(crate) fn start(&self, stdin: Stdio) -> Result<Running, String> {
        let name = self.name();
        let wrong = |error: io::Error| format!("{name} could not be started: {error}");
        // One that isn't there is missed by us, in our words.
        let found = process::child::find(self.command.program()).map_err(wrong)?;
        let (mut words, told, room) = self.placed(found).map_err(wrong)?;
        let sets_user = (self.user.is_some() || self.ends_with_us) && Path::new(SETPRIV).exists();
        if sets_user {
            let mut setpriv = Words::of(SETPRIV);
            if let Some((uid, gid)) = self.user {
                setpriv = setpriv.option("--reuid", uid.to_string()).option("--regid", gid.to_string());
                setpriv = setpriv.word("--init-groups");
            }
            if self.ends_with_us {
                setpriv = setpriv.word("--pdeathsig=TERM");
            }
            words = words.behind(setpriv.word("--"));
        }
        if let Some(walls) = &self.walls {
            words = words.behind(walls.command());
        }
        // It leads the group that is named like it either way.
        let has_session = Path::new(SETSID).exists();
        if has_session {
            words = words.behind(Words::of(SETSID));
        }
        let kept = if self.user.is_some() { Kept::Foreign } else { Kept::Little };
        let mut command = Start::new(words, kept).map_err(wrong)?;
        if let Some((uid, gid)) = self.user.filter(|_| !sets_user) {
            command.by(uid, gid);
        }
        for variable in &self.variables {
            command.variable(variable);
        }
        for (name, value) in &self.environment {
            command.env(name, &value.0);
        }
        if let Some((name, place)) = told {
            command.env(name, place);
        }
        if self.user.is_some() {
            // A folder that this user may not enter would be the first thing that it complains of.
            command.current_dir("/");
        }
        if !has_session {
            command.leading_a_group();
        }
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = confined::begin(room.as_ref(), command).map_err(wrong)?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let pid = Pid::from_child(&child);
        let mut running = Running {
            ended: None,
            is_waited_for: false,
            child,
            _room: room,
            out,
            err,
            last_words: Vec::new(),
            words_max: LAST_WORDS_BYTES,
            until: Instant::now() + self.within,
            within: self.within,
            wait: if self.is_unhurried { Wait::unhurried() } else { Wait::begin() },
            works_with: self.works_with.clone(),
            is_left: Arc::clone(&self.is_left),
            name: name.clone(),
        };
        running.make_ready(pid).map_err(wrong)?;
        Ok(running)
    }
}

/// A program that runs. Dropped, it is killed with all that it started.
pub(crate) struct Running {
    name: String,
    child: Child,
    /// Stays for as long as the program.
    _room: Option<Room>,
    /// Becomes readable when the child has ended.
    ended: Option<OwnedFd>,
    is_waited_for: bool,
    out: Option<ChildStdout>,
    err: Option<ChildStderr>,
    last_words: Vec<u8>,
    words_max: usize,
    until: Instant,
    within: Duration,
    wait: Wait,
    works_with: Option<Other>,
    is_left: Arc<AtomicBool>,
}

impl Running {
    fn make_ready(&mut self, pid: Pid) -> io::Result<()> {
        self.ended = Some(pidfd_open(pid, PidfdFlags::empty())?);
        if let Some(out) = &self.out {
            fcntl_setfl(out, OFlags::NONBLOCK)?;
            // Only makes it faster, and ordinary users may have used up what they are granted.
            let _ = rustix::pipe::fcntl_setpipe_size(out, PIPE_BYTES);
        }
        if let Some(err) = &self.err {
            fcntl_setfl(err, OFlags::NONBLOCK)?;
        }
        if let Some(stdin) = &self.child.stdin {
            fcntl_setfl(stdin, OFlags::NONBLOCK)?;
            let _ = rustix::pipe::fcntl_setpipe_size(stdin, PIPE_BYTES);
        }
        Ok(())
    }

    /// Reads what it prints; 0 at the end. Its complaints are collected meanwhile, so that it is never stuck in them. Where it has ended, and what it left behind holds
    /// its output open in silence, that is an error: nobody knows what would still come.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut left = Left::new(&self.is_left);
        loop {
            let Some(out) = &mut self.out else { return Ok(0) };
            match out.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) => self.out = None,
                other => return other,
            }
            if let Some(out) = &self.out {
                let mut fds = vec![PollFd::new(out, PollFlags::IN)];
                fds.extend(self.err.iter().map(|err| PollFd::new(err, PollFlags::IN)));
                let until = match left.until() {
                    Some(until) => self.until.min(until),
                    None => {
                        fds.extend(self.ended.iter().map(|ended| PollFd::new(ended, PollFlags::IN)));
                        self.until
                    }
                };
                self.wait_until(&mut fds, until).or_else(|error| match error.kind() {
                    io::ErrorKind::TimedOut if until < self.until => left.is_silent(),
                    _ => Err(error),
                })?;
                let has_ended = fds.last().is_some_and(|fd| !fd.revents().is_empty());
                if left.until().is_none() && self.ended.is_some() && has_ended {
                    left.begin();
                }
            }
            self.listen(false);
        }
    }

    /// Keeps this much of what it says.
    pub(crate) fn remember(&mut self, bytes: usize) {
        self.words_max = bytes;
    }

    /// Returns what it has said, of which only the last is kept, without the secrets that we know.
    pub(crate) fn said(&self) -> String {
        process::masked(&String::from_utf8_lossy(&self.last_words)).into_owned()
    }

    /// Gives it something to read. The error says how it ended, if it doesn't take it.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let taken = match &mut self.child.stdin {
                Some(stdin) => stdin.write(bytes),
                None => Err(io::ErrorKind::BrokenPipe.into()),
            };
            match taken {
                Ok(taken) => bytes = bytes.get(taken..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut fds: Vec<_> =
                        self.child.stdin.iter().map(|stdin| PollFd::new(stdin, PollFlags::OUT)).collect();
                    fds.extend(self.out.iter().map(|out| PollFd::new(out, PollFlags::IN)));
                    fds.extend(self.err.iter().map(|err| PollFd::new(err, PollFlags::IN)));
                    self.wait_for(&mut fds).map_err(|error| self.broken(&error))?;
                    self.listen(true);
                }
                Err(_) => {
                    let ended = self.end(REST_WITHIN).err();
                    return Err(ended.unwrap_or_else(|| self.say("ended before it had read all")));
                }
            }
        }
        Ok(())
    }

    /// Lets it know that nothing more comes.
    pub(crate) fn close(&mut self) {
        self.child.stdin = None;
    }

    /// Waits until it has ended, `grace` at most, and says how that went.
    pub(crate) fn end(&mut self, grace: Duration) -> Result<(), String> {
        self.until = self.until.min(Instant::now() + grace);
        match self.carry(None) {
            Ok(status) => self.judge(status),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Err(self.say("closed its output but did not end"))
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Sends it a signal, unless it was waited for already.
    pub(crate) fn signal(&self, signal: Signal) {
        if !self.is_waited_for {
            let _ = rustix::process::kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Says how it ended, if it has; it should not have.
    pub(crate) fn over(&mut self) -> Option<String> {
        let mut fds = vec![PollFd::new(self.ended.as_ref()?, PollFlags::IN)];
        let is_over = matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..));
        drop(fds);
        self.listen(true);
        is_over.then(|| match self.carry(None) {
            Ok(status) => self.judge(status).err().unwrap_or_else(|| self.say("has ended")),
            Err(error) => self.broken(&error),
        })
    }

    /// Says why it could not be run to its end.
    pub(crate) fn broken(&self, error: &io::Error) -> String {
        match error.kind() {
            io::ErrorKind::TimedOut => {
                self.say(&format!("did not end within {} s", self.within.as_secs_f32()))
            }
            io::ErrorKind::ResourceBusy => self.say(&format!(
                "has ended, and something that it started holds its output open and has printed nothing for {} s: what was to come of it isn't known; let it be started with its output elsewhere (>/dev/null)",
                HELD.as_secs()
            )),
            io::ErrorKind::ConnectionAborted => self.say("was ended: somebody wants us to end"),
            io::ErrorKind::NotConnected => self.say(&format!("was ended: {error}")),
            _ => self.say(&format!("could not be followed: {error}")),
        }
    }

    /// Waits until one of `fds` has something for us. Too late is an error, and so is that it is in vain.
    fn wait_for(&self, fds: &mut [PollFd<'_>]) -> io::Result<()> {
        self.wait_until(fds, self.until)
    }

    /// As [`Running::wait_for`], until another instant.
    fn wait_until(&self, fds: &mut [PollFd<'_>], until: Instant) -> io::Result<()> {
        let mut ask_at = Instant::now() + SILENCE;
        loop {
            if self.wait.is_over() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let left = until.saturating_duration_since(Instant::now());
            let limit = Timespec::try_from(left.min(LOOK_EVERY)).map_err(|_| io::ErrorKind::InvalidInput)?;
            match poll(fds, Some(&limit)) {
                Ok(0) if left.is_zero() => return Err(io::ErrorKind::TimedOut.into()),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if let Some(Other(answers)) = self.works_with.as_ref().filter(|_| Instant::now() >= ask_at) {
                answers().map_err(|why| io::Error::new(io::ErrorKind::NotConnected, why))?;
                ask_at = Instant::now() + SILENCE;
            }
        }
    }

    /// Feeds it, listens to it, and waits for its end.
    fn carry(&mut self, mut feed: Option<&mut Feed>) -> io::Result<ExitStatus> {
        loop {
            let ended = self.ended.as_ref().ok_or(io::ErrorKind::NotFound)?;
            let mut fds = vec![PollFd::new(ended, PollFlags::IN)];
            fds.extend(self.out.iter().map(|out| PollFd::new(out, PollFlags::IN)));
            fds.extend(self.err.iter().map(|err| PollFd::new(err, PollFlags::IN)));
            if let Some(stdin) = feed.as_ref().and_then(|feed| feed.stdin.as_ref()) {
                fds.push(PollFd::new(stdin, PollFlags::OUT));
            }
            self.wait_for(&mut fds)?;
            let has_ended = fds.first().is_some_and(|fd| !fd.revents().is_empty());
            drop(fds);
            self.listen(true);
            if let Some(feed) = feed.as_deref_mut() {
                feed.send()?;
            }
            if has_ended {
                self.listen(true);
                self.is_waited_for = true;
                return self.child.wait();
            }
        }
    }

    /// Takes what it has said so far, without waiting: its complaints, and what it printed where nobody else reads that.
    fn listen(&mut self, to_all: bool) {
        if self.err.as_mut().is_some_and(|err| is_over(err, &mut self.last_words, self.words_max)) {
            self.err = None;
        }
        if to_all && self.out.as_mut().is_some_and(|out| is_over(out, &mut self.last_words, self.words_max)) {
            self.out = None;
        }
    }

    fn judge(&self, status: ExitStatus) -> Result<(), String> {
        match (status.code(), status.signal()) {
            (Some(0), _) => Ok(()),
            // There is no such program, or none that may be run.
            (Some(126 | 127), _) if self.last_words.starts_with(b"setsid: ") => {
                let words = self.said();
                let why = words.trim().rsplit(": ").next().unwrap_or_default();
                Err(format!("{} could not be started: {why}", self.name))
            }
            (Some(code), _) => Err(self.say(&format!("exited with status {code}"))),
            (None, Some(signal)) => Err(self.say(&format!("was killed by signal {signal}"))),
            (None, None) => Err(self.say("ended in an unknown way")),
        }
    }

    /// Returns a sentence about the program, with its last words.
    pub(crate) fn say(&self, what: &str) -> String {
        let words = self.said();
        match words.trim() {
            "" => format!("{} {what}", self.name),
            words => format!("{} {what}: {words}", self.name),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Once it was waited for, its number may be somebody else's.
        if !self.is_waited_for {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            // Its group has its name once it has its session, an instant after it was started.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Adds what a pipe holds now to the last words, of which only the last are kept. Returns whether it has ended.
fn is_over(pipe: &mut impl Read, last_words: &mut Vec<u8>, words_max: usize) -> bool {
    let mut piece = [0; 4096];
    // A bound, since a program may talk faster than we listen.
    for _ in 0..256 {
        match pipe.read(&mut piece) {
            Ok(0) => return true,
            Ok(read) => last_words.extend_from_slice(piece.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
        let spare = last_words.len().saturating_sub(words_max);
        last_words.drain(..spare);
    }
    false
}

/// Returns the last lines of a server's log, for the end of a sentence; `None` where it says nothing.
pub(crate) fn end_of_log(log: &std::path::Path) -> Option<String> {
    /// Enough for what it complains of last.
    const LINES: usize = 15;
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let words = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n");
    (!words.is_empty()).then(|| format!(":\n{words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_leaves_behind_with_its_output_in_silence_is_named_and_what_still_prints_is_heard() {
        let read = |script: &'static str| {
            let program = Program::new(["/bin/sh", "-c", script]).unwrap();
            program.printed(100).map(|(printed, _)| printed)
        };
        let why = read("sleep 20 & echo data").unwrap_err();
        assert!(why.contains("holds its output open"), "{why}");
        assert_eq!(read("(sleep 0.3; echo more) & echo data").unwrap(), b"data\nmore\n");
        assert_eq!(read("sleep 20 >/dev/null 2>&1 & echo data").unwrap(), b"data\n");
    }

    #[test]
    fn who_is_waited_for_is_known_meanwhile() {
        let program = Program::new(["/bin/sh", "-c", "sleep 20 & echo data"]).unwrap();
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| program.printed(100).err());
            let mut said = None;
            while said.is_none() && !reading.is_finished() {
                testkit::pause(Duration::from_millis(20));
                said = program.is_waited_for();
            }
            let said = said.unwrap();
            assert!(said.starts_with("waits for the output of /bin/sh, which has ended"), "{said}");
            assert!(reading.join().unwrap().is_some());
        });
        assert!(program.is_waited_for().is_none());
    }
}
