//! Nearly everything is gone: a source that was emptied, isn't mounted or never was there. And much of what was old is: somebody deletes.

use super::content::held;
use crate::Facts;
use crate::deleted::{self, Lost};
use jiff::{SignedDuration, Timestamp};

/// What is left is at most this share of what there was: one in so many.
const LEFT: u64 = 10;
/// Few bytes come and go.
const BYTES_MIN: u64 = 16 << 10;
/// So many of the points before tell what is usual for a system: a spool is empty now and then.
const USUAL: usize = 10;
/// So far back it is looked what is usual for deletions.
const HISTORY: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Says what a point lost against the last good one of the same paths: a part of a sentence of which the point is the subject.
pub(super) fn sign(point: &Facts, before: &[&Facts]) -> Option<String> {
    // What could not be read is missing for a reason that is told already.
    if !point.complete {
        return None;
    }
    let is_comparable = |before: &&&Facts| {
        before.complete && before.paths == point.paths && before.excludes == point.excludes
    };
    let usual: Vec<&&Facts> = before.iter().rev().filter(is_comparable).take(USUAL).collect();
    let Some(last) = usual.first() else {
        let is_first = before.iter().all(|before| !before.complete);
        return (is_first && point.files == 0 && point.bytes == 0)
            .then(|| "is the first one, and holds nothing".to_owned());
    };
    let few = |was: u64, is: u64| is.saturating_mul(LEFT) <= was && is < was;
    let files =
        few(last.files, point.files) && (point.files == 0 || point.bytes.saturating_mul(2) <= last.bytes);
    let bytes = last.bytes >= BYTES_MIN && few(last.bytes, point.bytes);
    let was_as_small = usual.iter().any(|before| {
        before.files <= point.files.saturating_mul(2) && before.bytes <= point.bytes.saturating_mul(2)
    });
    if was_as_small || !(files || bytes) {
        return None;
    }
    Some(format!(
        "lost nearly everything: {} files and {} are left of {} files and {} in point {}",
        point.files,
        crate::Size(point.bytes),
        last.files,
        crate::Size(last.bytes),
        super::short(&last.id)
    ))
}

/// Says what a point lost, by itself or as the last of several, of what was there for long.
pub(super) fn deleted(point: &Facts, before: &[&Facts]) -> Option<String> {
    // What could not be read is missing for a reason that is told already.
    if !point.complete || point.change.counted == 0 {
        return None;
    }
    let since = point.counts().checked_sub(HISTORY).unwrap_or(Timestamp::MIN);
    let is_alike = |one: &&Facts| one.paths == point.paths && one.excludes == point.excludes;
    let alike = before.iter().rev().take_while(|one| is_alike(one) && one.counts() >= since).count();
    let from = before.len() - alike;
    let mut points: Vec<Lost> =
        (from..before.len()).filter_map(|at| Some(lost(before.get(at)?, before.get(..at)?))).collect();
    points.push(lost(point, before));
    deleted::sign(&points)
}

fn lost(point: &Facts, before: &[&Facts]) -> Lost {
    let change = &point.change;
    let known = |count: u64| if point.complete && change.counted > 0 { count } else { 0 };
    Lost {
        time: point.counts(),
        there: change.before(),
        gone: known(change.files_removed.saturating_add(change.files_emptied)),
        came: change.files_new,
        held: if before.is_empty() { 0 } else { held(point, before) },
        bytes_gone: known(change.bytes_lost),
        bytes_came: change.bytes_came,
        trusted: point.trusted,
    }
}
