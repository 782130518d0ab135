//! How long ago something was, where points are made by the clock: every day at the same time, each some seconds sooner or later than planned.
//!
//! A limit of so many days would lie just where points do, and a second would decide on which side of it one is. So each lies half a day beside, and a span is always
//! half-open: what is as long ago as the limit is outside.

use jiff::SignedDuration;

/// Half of what lies between two points of a system that is captured once a day.
const HALF_A_DAY: i64 = 12;

/// Returns the limit of a span in which nothing is that was this many days ago, give or take what a clock and a queue do.
pub(crate) const fn short_of(days: i64) -> SignedDuration {
    SignedDuration::from_hours(days * 24 - HALF_A_DAY)
}

/// Returns the limit of a span in which everything is that was this many days ago.
pub(crate) const fn to_the_day(days: i64) -> SignedDuration {
    SignedDuration::from_hours(days * 24 + HALF_A_DAY)
}
