//! What a program has left behind with its output, once it has ended itself: it may still print, so it is waited for, named, and given up in the end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long nothing may come from it.
pub(super) const HELD: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });
/// After so long a silence it is said who is waited for.
const TOLD_AFTER: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 10_000 });

/// A wait for it.
pub(super) struct Left {
    since: Option<Instant>,
    is_told: Arc<AtomicBool>,
}

impl Left {
    /// Begins to read; `is_told` is set for as long as whoever looks there is to say who is waited for.
    pub(super) fn new(is_told: &Arc<AtomicBool>) -> Self {
        Self { since: None, is_told: Arc::clone(is_told) }
    }

    /// Returns until when to wait for it next; `None` while the program itself is there.
    pub(super) fn until(&self) -> Option<Instant> {
        self.since.map(|since| since + if self.is_told.load(Relaxed) { HELD } else { TOLD_AFTER })
    }

    /// The program itself has ended.
    pub(super) fn begin(&mut self) {
        self.since = Some(Instant::now());
    }

    /// It was silent until then: that is told the first time, and an error the second.
    pub(super) fn is_silent(&self) -> io::Result<()> {
        match self.is_told.swap(true, Relaxed) {
            true => Err(io::ErrorKind::ResourceBusy.into()),
            false => Ok(()),
        }
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        self.is_told.store(false, Relaxed);
    }
}

/// Says who is waited for.
pub(super) fn said(program: &str) -> String {
    format!(
        "waits for the output of {program}, which has ended, but something that it started still holds its output open"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_silent_is_told_once_and_then_given_up() {
        let is_told = Arc::new(AtomicBool::new(false));
        let mut left = Left::new(&is_told);
        assert!(left.until().is_none());
        left.begin();
        let first = left.until().unwrap();
        assert!(left.is_silent().is_ok() && is_told.load(Relaxed));
        assert!(left.until().unwrap() > first);
        assert_eq!(left.is_silent().unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(left);
        assert!(!is_told.load(Relaxed));
    }
}
