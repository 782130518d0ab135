//! The one runtime of this crate: what network there is runs on it, and callers wait for it on their own threads.

use std::io;
use std::sync::OnceLock;
use tokio::runtime::{Builder, Runtime};

/// Runs `future` to its end and waits for it. Not to be called from within asynchronous code.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> io::Result<T> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(2).thread_name("vault-wire").enable_all().build()
    });
    match runtime {
        Ok(runtime) => Ok(runtime.block_on(future)),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}
