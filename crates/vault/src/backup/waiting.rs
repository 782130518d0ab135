//! Who waits for what: an input that is silent for long is named, so that nobody wonders.

use super::walk::lock;
use crate::{Content, Input, Node, Progress, Since, Unread, Vessel};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// After so long a wait is told: nobody who sits before it wonders for longer.
const LONG: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// An input, and who waits for it.
pub(super) struct Watched<'a> {
    inner: &'a dyn Input,
    waits: Arc<Waits>,
}

#[derive(Default)]
struct Waits {
    next: AtomicU64,
    under_way: Mutex<BTreeMap<u64, (PathBuf, Instant)>>,
}

impl Waits {
    fn during<T>(&self, path: &Path, act: impl FnOnce() -> T) -> T {
        let number = self.next.fetch_add(1, Relaxed);
        lock(&self.under_way).insert(number, (path.to_owned(), Instant::now()));
        let done = act();
        lock(&self.under_way).remove(&number);
        done
    }

    /// Returns what has been waited for longest.
    fn longest(&self) -> Option<(PathBuf, Duration)> {
        let under_way = lock(&self.under_way);
        let (path, since) = under_way.values().min_by_key(|(_, since)| *since)?;
        Some((path.clone(), since.elapsed()))
    }
}

impl<'a> Watched<'a> {
    pub(super) fn new(inner: &'a dyn Input) -> Self {
        Self { inner, waits: Arc::default() }
    }

    /// Tells of long waits, and hands on the wish to stop, until `ended` is closed.
    pub(super) fn watch(&self, progress: &Progress, ended: &Receiver<()>) {
        let (mut told, mut before) = (false, None::<String>);
        while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            if progress.is_stopped() {
                self.inner.stop();
            }
            let said = self.inner.waits();
            if let Some(said) = said.as_ref().filter(|said| Some(*said) != before.as_ref()) {
                progress.say(said);
            }
            before = said;
            match self.waits.longest().filter(|(_, time)| *time >= LONG) {
                Some((path, time)) => {
                    told = true;
                    progress.set_phase(&format!("waiting for /{} for {} s", path.display(), time.as_secs()));
                }
                None if told => {
                    told = false;
                    progress.set_phase("reading");
                }
                None => {}
            }
        }
    }
}

impl Input for Watched<'_> {
    fn list(&self, dir: &Path, unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        self.waits.during(dir, || self.inner.list(dir, unread))
    }

    fn describe(&self, path: &Path, node: &mut Node) -> io::Result<()> {
        self.waits.during(path, || self.inner.describe(path, node))
    }

    fn pour(&self, vessel: &mut dyn Vessel) -> io::Result<()> {
        self.inner.pour(vessel)
    }

    fn open(&self, path: &Path, node: &Node) -> io::Result<Box<dyn Content>> {
        let content = self.waits.during(path, || self.inner.open(path, node))?;
        Ok(Box::new(Reading { waits: Arc::clone(&self.waits), path: path.to_owned(), content }))
    }

    fn since(&self, dir: &Path, node: &Node) -> Since {
        self.inner.since(dir, node)
    }

    fn look(&self, path: &Path) -> io::Result<Node> {
        self.waits.during(path, || self.inner.look(path))
    }

    fn waits(&self) -> Option<String> {
        self.inner.waits()
    }

    fn is_late(&self, path: &Path) -> bool {
        self.inner.is_late(path)
    }
}

/// An open file, and who waits for it.
struct Reading {
    waits: Arc<Waits>,
    path: PathBuf,
    content: Box<dyn Content>,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.waits.during(&self.path, || self.content.read(buffer))
    }
}

impl Content for Reading {
    fn unchanged(&mut self, bytes_read: u64) -> io::Result<bool> {
        self.waits.during(&self.path, || self.content.unchanged(bytes_read))
    }

    fn hole(&mut self) -> u64 {
        self.content.hole()
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.content.skip(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Waiting;

    impl Input for Waiting {
        fn list(&self, _dir: &Path, _unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
            Ok(Vec::new())
        }

        fn describe(&self, _path: &Path, _node: &mut Node) -> io::Result<()> {
            Ok(())
        }

        fn open(&self, _path: &Path, _node: &Node) -> io::Result<Box<dyn Content>> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn waits(&self) -> Option<String> {
            Some("waits for nothing".to_owned())
        }
    }

    #[test]
    fn what_an_input_waits_for_in_vain_is_said_once() {
        let (progress, watched) = (Progress::default(), Watched::new(&Waiting));
        let (done, ended) = crossbeam_channel::bounded::<()>(0);
        std::thread::scope(|scope| {
            scope.spawn(|| watched.watch(&progress, &ended));
            testkit::pause(LOOK_EVERY * 3);
            drop(done);
        });
        assert_eq!(progress.said(), ["waits for nothing"]);
    }
}
