//! Mutexes, taken whatever became of who held them last.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. What is behind our mutexes is right between any two statements, so a thread that panicked has left nothing half-done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
