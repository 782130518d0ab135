//! Work on several items at a time.

/// Calls `work` for every item on up to `lanes` threads, and returns the results in order.
pub(crate) fn in_lanes<T: Sync, R: Send>(lanes: usize, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    let next = AtomicUsize::new(0);
    let mut indexed: Vec<(usize, R)> = std::thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            loop {
                let at = next.fetch_add(1, Relaxed);
                match items.get(at) {
                    Some(item) => done.push((at, work(item))),
                    None => return done,
                }
            }
        };
        let threads: Vec<_> = (1..lanes.clamp(1, items.len().max(1))).map(|_| scope.spawn(worker)).collect();
        let mut all = worker();
        for thread in threads {
            match thread.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    indexed.sort_by_key(|(at, _)| *at);
    indexed.into_iter().map(|(_, result)| result).collect()
}
