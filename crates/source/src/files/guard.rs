//! Looks at what may not answer: from a thread of its own, for so long and no longer.
//!
//! The kernel lets nobody go who waits for a dead server. The thread is left behind, and ends with the program: but not where a program has taken
//! the question and doesn't answer it (FUSE), and then the program doesn't end either, killed or not. So a process of its own asks first.

use crate::machine::lock;
use process::{Kept, Start, Wait, Words};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use vault::Content;

/// How long a server may take for one answer. One that comes back after a restart has not lost anything by then.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How often whoever waits looks whether he still should.
const STEP: Duration = Duration::from_millis(100);
/// What has answered within this time is asked on, without a process that asks first.
pub(super) const FRESH: Duration = Duration::from_secs(2);
/// How often whoever waits for that process looks at it.
pub(super) const LOOK: Duration = Duration::from_millis(5);
/// How much is read at a time.
const READ_MAX: usize = 256 << 10;

/// What is known of those who don't answer.
#[derive(Debug)]
pub(super) struct Guard {
    patience: Duration,
    silent: Mutex<BTreeSet<PathBuf>>,
    /// When each has answered last.
    heard: Mutex<BTreeMap<PathBuf, Instant>>,
    stopped: AtomicBool,
    /// Somebody wants the process to end: that is heard before there is a capture which could be stopped.
    wait: Wait,
}

impl Guard {
    pub(super) fn new(patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            patience,
            silent: Mutex::default(),
            heard: Mutex::default(),
            stopped: AtomicBool::new(false),
            wait: Wait::begin(),
        })
    }

    /// Nobody waits any longer.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed) || self.wait.is_over()
    }

    /// Does something on the mount at `place`. Once it hasn't answered, nobody asks again.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        place: &Path,
        act: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        if lock(&self.silent).contains(place) {
            return Err(self.silence(place));
        }
        if lock(&self.heard).get(place).is_none_or(|heard| heard.elapsed() >= FRESH) {
            self.sound(place)?;
        }
        let (send, answer) = channel();
        // Nobody may be there any more to hear it.
        std::thread::Builder::new().name("look".into()).spawn(move || _ = send.send(act()))?;
        let begun = Instant::now();
        loop {
            match answer.recv_timeout(STEP.min(self.patience)) {
                Ok(answer) => {
                    lock(&self.heard).insert(place.to_owned(), Instant::now());
                    return answer;
                }
                Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("the look ended early")),
                Err(RecvTimeoutError::Timeout) if self.is_stopped() => {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                Err(RecvTimeoutError::Timeout) if begun.elapsed() >= self.patience => {
                    return Err(self.give_up(place));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Has a process ask. Who waits in vain is left behind, and nobody waits for him.
    fn sound(&self, place: &Path) -> io::Result<()> {
        // Without that program the look itself shows.
        let Some(mut asking) = asking(place) else { return Ok(()) };
        let begun = Instant::now();
        // What it says is no matter, as long as it says something.
        while let Ok(None) = asking.try_wait() {
            let is_stopped = self.is_stopped();
            if is_stopped || begun.elapsed() >= self.patience {
                leave_behind(asking);
                return Err(if is_stopped { io::ErrorKind::Interrupted.into() } else { self.give_up(place) });
            }
            std::thread::park_timeout(LOOK);
        }
        Ok(())
    }

    /// Nobody asks it any more.
    fn give_up(&self, place: &Path) -> io::Error {
        lock(&self.silent).insert(place.to_owned());
        self.silence(place)
    }

    fn silence(&self, place: &Path) -> io::Error {
        let seconds = self.patience.as_secs_f64();
        let why = format!("what is mounted at {} has not answered for {seconds:.0} s", place.display());
        io::Error::new(io::ErrorKind::TimedOut, why)
    }
}

/// Starts a process that asks how a file system stands, which its server answers anew each time. `None` where there is no such program.
pub(super) fn asking(place: &Path) -> Option<Child> {
    let words = Words::of("/usr/bin/stat").word("--file-system").data([place]);
    let mut ask = Start::new(words, Kept::Nothing).ok()?;
    ask.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

/// Nobody waits any longer for a process that asks. Where it ends after all, somebody has to take note of it.
pub(super) fn leave_behind(mut asking: Child) {
    let _ = asking.kill();
    let _ = std::thread::Builder::new().name("look".into()).spawn(move || _ = asking.wait());
}

/// A file on something that may not answer.
pub(super) struct Guarded<C> {
    guard: Arc<Guard>,
    place: PathBuf,
    /// `None` once a look at it was given up.
    content: Option<C>,
}

impl<C: Content + 'static> Guarded<C> {
    pub(super) fn new(guard: &Arc<Guard>, place: &Path, content: C) -> Self {
        Self { guard: Arc::clone(guard), place: place.to_owned(), content: Some(content) }
    }

    fn ask<T: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut C) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let mut content = self.content.take().ok_or(io::ErrorKind::TimedOut)?;
        let (content, answer) = self.guard.ask(&self.place, move || {
            let answer = act(&mut content);
            Ok((content, answer))
        })?;
        self.content = Some(content);
        answer
    }
}

impl<C: Content + 'static> Read for Guarded<C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut piece = vec![0; buffer.len().min(READ_MAX)];
        let (piece, read) = self.ask(move |content| {
            let read = content.read(&mut piece)?;
            Ok((piece, read))
        })?;
        let read = read.min(piece.len()).min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..read), piece.get(..read)) {
            to.copy_from_slice(from);
        }
        Ok(read)
    }
}

impl<C: Content + 'static> Content for Guarded<C> {
    fn unchanged(&mut self, bytes_read: u64) -> io::Result<bool> {
        self.ask(move |content| content.unchanged(bytes_read))
    }

    fn hole(&mut self) -> u64 {
        self.ask(|content| Ok(content.hole())).unwrap_or(0)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.ask(move |content| content.skip(bytes))
    }
}
