//! A clock that one test holds.

use jiff::Timestamp;
use std::cell::Cell;

thread_local! {
    static SECONDS: Cell<i64> = const { Cell::new(1_800_000_000) };
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(SECONDS.get()).unwrap()
}

pub(crate) fn later(seconds: i64) {
    SECONDS.set(SECONDS.get() + seconds);
}
