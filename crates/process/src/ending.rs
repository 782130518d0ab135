//! Whether somebody wants this process to end: known in one place, so that whoever waits for somebody else, in whatever thread, needn't be told one by one.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Returns what is raised when somebody wants this process to end; a signal may raise it.
#[must_use]
pub fn ending() -> &'static Arc<AtomicBool> {
    static ENDING: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    ENDING.get_or_init(Arc::default)
}

/// Somebody who waits for a server or a program of somebody else.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    is_last: bool,
}

impl Wait {
    /// Begins to wait. Whoever begins when the process is to end already puts things in order, and is not hurried.
    #[must_use]
    pub fn begin() -> Self {
        Self { is_last: ending().load(Relaxed) }
    }

    /// Begins to wait for what is to come to its end in any case.
    #[must_use]
    pub const fn unhurried() -> Self {
        Self { is_last: true }
    }

    /// Returns whether it is in vain: somebody wants the process to end.
    #[must_use]
    pub fn is_over(self) -> bool {
        !self.is_last && ending().load(Relaxed)
    }
}
