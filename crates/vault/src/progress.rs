//! How far a long operation is: counters that the worker raises and anyone may read, and the wish to stop.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Counters of one operation. Cheap to raise from any thread; read by whoever draws the bar.
#[derive(Debug, Default)]
pub struct Progress {
    /// Entries dealt with so far.
    pub files: AtomicU64,
    /// Bytes dealt with so far (of content, not of what is stored).
    pub bytes: AtomicU64,
    /// Entries expected, 0 while unknown.
    pub files_expected: AtomicU64,
    /// Bytes expected, 0 while unknown.
    pub bytes_expected: AtomicU64,
    stop: AtomicBool,
    phase: Mutex<String>,
    said: Mutex<Vec<String>>,
}

impl Progress {
    /// Adds to what is done.
    pub fn add(&self, files: u64, bytes: u64) {
        self.files.fetch_add(files, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Sets what is expected in all.
    pub fn expect(&self, files: u64, bytes: u64) {
        self.files_expected.store(files, Relaxed);
        self.bytes_expected.store(bytes, Relaxed);
    }

    /// Says what is going on now, for a person: `reading`, `writing the index`.
    pub fn set_phase(&self, phase: &str) {
        phase.clone_into(&mut self.phase.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// Returns what is going on now.
    #[must_use]
    pub fn phase(&self) -> String {
        self.phase.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Says something that a person should know now, and not only who sits before a bar.
    pub fn say(&self, words: &str) {
        self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(words.to_owned());
    }

    /// Takes what was said since this was asked last.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Asks the operation to stop at the next safe place.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Returns whether the operation was asked to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }
}
