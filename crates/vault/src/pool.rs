//! Buffers that are used again.

use crate::mutex::lock;
use std::sync::Mutex;

/// Keeps a few buffers: memory fresh from the kernel costs as much again as what is written to it.
pub(crate) struct Pool {
    spare: Mutex<Vec<Vec<u8>>>,
    most: usize,
}

impl Pool {
    /// Returns an empty pool that keeps at most so many.
    pub(crate) fn new(most: usize) -> Self {
        Self { spare: Mutex::default(), most }
    }

    /// Returns a buffer as it was given back, or a new one.
    pub(crate) fn take(&self) -> Vec<u8> {
        lock(&self.spare).pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(crate) fn give(&self, buffer: Vec<u8>) {
        let mut spare = lock(&self.spare);
        if buffer.capacity() > 0 && spare.len() < self.most {
            spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_used_again_and_bounded() {
        let pool = Pool::new(1);
        pool.give(Vec::new());
        assert_eq!(pool.take().capacity(), 0);
        pool.give(vec![1; 100]);
        pool.give(vec![2; 200]);
        assert_eq!(pool.take(), [1; 100]);
        assert_eq!(pool.take().capacity(), 0);
    }
}
