//! Bounds for what is only asked: how a vault stands, which points it holds. A vault that hangs must cost its own answer, not everybody's.

use super::tempo::Tempo;
use super::{FileKind, Limits, Listed, Store, Thaw, Versions};
use crate::mutex::lock;
use crate::{Error, Kind, Result};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// How long a store may be silent as long as it is only asked. Clones are the same; it ends for all of them.
#[derive(Clone, Default)]
pub struct Asking(Option<Arc<Inner>>);

struct Inner {
    within: Duration,
    has_ended: AtomicBool,
    /// What the store said last, when it was given up.
    silent: Mutex<Option<String>>,
}

impl Asking {
    /// Lets a store be silent for so long, and when it was once, asks it no more.
    #[must_use]
    pub fn within(within: Duration) -> Self {
        Self(Some(Arc::new(Inner { within, has_ended: AtomicBool::new(false), silent: Mutex::default() })))
    }

    /// From now on the store is worked with: it has all the time that its limits give it.
    pub fn end(&self) {
        if let Some(inner) = &self.0 {
            inner.has_ended.store(true, Relaxed);
        }
    }

    /// Returns how long it may be silent; `None` where it is worked with.
    pub(super) fn bound(&self) -> Option<Duration> {
        self.0.as_ref().filter(|inner| !inner.has_ended.load(Relaxed)).map(|inner| inner.within)
    }

    /// Returns why it isn't asked any more.
    pub(super) fn silent(&self) -> Option<String> {
        self.bound()?;
        lock(&self.0.as_ref()?.silent).clone()
    }

    /// Notes that it was given up.
    pub(super) fn give_up(&self, what: &str) {
        if let Some(inner) = self.0.as_ref().filter(|_| self.bound().is_some()) {
            lock(&inner.silent).get_or_insert_with(|| what.to_owned());
        }
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asking({:?})", self.bound())
    }
}

/// How much longer making all folders of a vault may take than one call.
const CREATES: u32 = 4;
/// What a name in a listing counts for, in bytes.
const ENTRY: usize = 100;

/// A folder of which a call may hang for ever: a network disk whose server is gone. While it is only asked, each call has a thread that may
/// be left behind.
pub(super) struct Asked {
    inner: Arc<dyn Store>,
    asking: Asking,
    tempo: Tempo,
}

impl Asked {
    pub(super) fn new(inner: Arc<dyn Store>, limits: &Limits) -> Self {
        Self { inner, asking: limits.asking.clone(), tempo: Tempo::new(limits) }
    }

    fn ask<T: Send + 'static>(
        &self,
        verb: &str,
        call: impl FnOnce(&dyn Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.ask_within(1, verb, |_| 0, call)
    }

    /// Asks, for so many times as long as one call may take; `weigh` says how many bytes have come.
    fn ask_within<T: Send + 'static>(
        &self,
        times: u32,
        verb: &str,
        weigh: impl FnOnce(&T) -> usize,
        call: impl FnOnce(&dyn Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Some(within) = self.asking.bound() else { return call(&*self.inner) };
        let within = within.saturating_mul(times);
        let unreachable =
            |what| Error::new(format!("{verb} {}", self.inner.address()), Kind::Unreachable(what));
        if let Some(what) = self.asking.silent() {
            return Err(unreachable(what));
        }
        let (answer, answered) = channel();
        let inner = Arc::clone(&self.inner);
        std::thread::spawn(move || answer.send(call(&*inner)));
        let busy = self.tempo.busy();
        // A call says nothing of how far it is, so each may be silent for so long; only all together have to get on.
        let answer = answered.recv_timeout(within);
        drop(busy);
        match answer {
            Ok(result) => {
                self.tempo.came(result.as_ref().map_or(0, weigh) as u64);
                self.tempo.answered();
                if self.tempo.left().is_zero() {
                    self.asking.give_up(&self.tempo.give_up());
                }
                result
            }
            Err(RecvTimeoutError::Timeout) => {
                let what = format!("no answer for {} s", within.as_secs_f32());
                self.asking.give_up(&what);
                Err(unreachable(what))
            }
            Err(RecvTimeoutError::Disconnected) => Err(unreachable("it broke off".into())),
        }
    }
}

impl Store for Asked {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn create(&self) -> Result<()> {
        self.ask_within(CREATES, "create", |_| 0, |inner| inner.create())
    }

    fn entries(&self, kind: FileKind) -> Result<Vec<Listed>> {
        self.ask_within(
            1,
            "list",
            |listed: &Vec<Listed>| listed.len() * ENTRY,
            move |inner| inner.entries(kind),
        )
    }

    fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>> {
        let name = name.to_owned();
        self.ask_within(1, "read from", Vec::len, move |inner| inner.read(kind, &name))
    }

    fn read_range(&self, kind: FileKind, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let name = name.to_owned();
        self.ask_within(1, "read from", Vec::len, move |inner| inner.read_range(kind, &name, range))
    }

    fn size(&self, kind: FileKind, name: &str) -> Result<Option<u64>> {
        let name = name.to_owned();
        self.ask("look at", move |inner| inner.size(kind, &name))
    }

    // What is written is worked with: whoever writes has ended the asking, or has the time.
    fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()> {
        self.inner.write(kind, name, bytes)
    }

    fn write_owned(&self, kind: FileKind, name: &str, bytes: Vec<u8>) -> Result<Vec<u8>> {
        self.inner.write_owned(kind, name, bytes)
    }

    fn remove(&self, kind: FileKind, name: &str) -> Result<()> {
        self.inner.remove(kind, name)
    }

    fn remove_all(&self, kind: FileKind, names: &[String]) -> Result<Vec<(String, Error)>> {
        self.inner.remove_all(kind, names)
    }

    fn thaw(&self, kind: FileKind, name: &str, days: u32) -> Result<Thaw> {
        self.inner.thaw(kind, name, days)
    }

    fn use_reserve(&self) -> Result<bool> {
        self.inner.use_reserve()
    }

    fn remove_left_behind(&self) -> Result<bool> {
        self.inner.remove_left_behind()
    }

    fn written(&self, kind: FileKind, name: &str) -> Option<SystemTime> {
        self.inner.written(kind, name)
    }

    fn keep_reserve(&self) {
        self.inner.keep_reserve();
    }

    fn lanes(&self) -> usize {
        self.inner.lanes()
    }

    fn is_local(&self) -> bool {
        self.inner.is_local()
    }

    fn versions(&self) -> Option<&dyn Versions> {
        self.inner.versions()
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// A disk whose server is gone: every call hangs.
    #[derive(Debug)]
    struct Hung;

    impl Store for Hung {
        fn address(&self) -> String {
            "file:///mnt/gone".into()
        }
        fn create(&self) -> Result<()> {
            hang()
        }
        fn entries(&self, _: FileKind) -> Result<Vec<Listed>> {
            hang()
        }
        fn read(&self, _: FileKind, _: &str) -> Result<Vec<u8>> {
            hang()
        }
        fn read_range(&self, _: FileKind, _: &str, _: Range<u64>) -> Result<Vec<u8>> {
            hang()
        }
        fn size(&self, _: FileKind, _: &str) -> Result<Option<u64>> {
            hang()
        }
        fn write(&self, _: FileKind, _: &str, _: &[u8]) -> Result<()> {
            hang()
        }
        fn remove(&self, _: FileKind, _: &str) -> Result<()> {
            hang()
        }
        fn lanes(&self) -> usize {
            1
        }
        fn is_local(&self) -> bool {
            true
        }
    }

    fn hang() -> ! {
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn a_folder_that_hangs_is_waited_for_once_and_asked_no_more() {
        let asking = Asking::within(Duration::from_millis(200));
        let store = Asked::new(Arc::new(Hung), &Limits { asking, ..Limits::default() });
        let store: &dyn Store = &store;
        let begun = Instant::now();
        for _ in 0..50 {
            let error = store.list(FileKind::Snapshot).unwrap_err();
            assert!(matches!(error.kind, Kind::Unreachable(_)), "{error}");
            assert!(store.size(FileKind::Config, "config").unwrap_err().is_retryable());
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }

    /// A disk on a mount that answers every call, each a moment before it would be silent.
    #[derive(Debug)]
    struct Drips(Duration);

    impl Drips {
        fn answer<T>(&self, answer: T) -> Result<T> {
            testkit::pause(self.0);
            Ok(answer)
        }
    }

    impl Store for Drips {
        fn address(&self) -> String {
            "file:///mnt/drips".into()
        }
        fn create(&self) -> Result<()> {
            self.answer(())
        }
        fn entries(&self, _: FileKind) -> Result<Vec<Listed>> {
            self.answer(Vec::new())
        }
        fn read(&self, _: FileKind, _: &str) -> Result<Vec<u8>> {
            self.answer(vec![0])
        }
        fn read_range(&self, _: FileKind, _: &str, _: Range<u64>) -> Result<Vec<u8>> {
            self.answer(vec![0])
        }
        fn size(&self, _: FileKind, _: &str) -> Result<Option<u64>> {
            self.answer(None)
        }
        fn write(&self, _: FileKind, _: &str, _: &[u8]) -> Result<()> {
            self.answer(())
        }
        fn remove(&self, _: FileKind, _: &str) -> Result<()> {
            self.answer(())
        }
        fn lanes(&self) -> usize {
            1
        }
        fn is_local(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_folder_that_answers_each_call_at_the_last_moment_is_given_up_in_all() {
        let asking = Asking::within(Duration::from_secs(1));
        let limits = Limits { asking, ..Limits::default() };
        let store = Asked::new(Arc::new(Drips(Duration::from_millis(800))), &limits);
        let begun = Instant::now();
        let slow = (0..40).find_map(|_| store.read(FileKind::Snapshot, "a").err());
        assert!(slow.is_some_and(|error| error.to_string().contains("too slow")));
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        // Asked no more.
        assert!(store.read(FileKind::Snapshot, "a").is_err());
    }
}
