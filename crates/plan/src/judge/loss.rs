//! Nearly everything is gone: a source that was emptied, isn't mounted or never was there. And much of what was old is: somebody deletes.

use super::accepted::accepted;
use super::content::{against, held, known};
use crate::Facts;
use crate::deleted::{self, Lost, Sign, Told};
use jiff::{SignedDuration, Timestamp};
use std::path::Path;

/// What is left is at most this share of what there was: one in so many.
const LEFT: u64 = 10;
/// Few bytes come and go.
const BYTES_MIN: u64 = 16 << 10;
/// So many of the points before tell what is usual for a system: a spool is empty now and then.
const USUAL: usize = 10;
/// What is gone is much if it is at least this share of what there was: one in so many.
const MUCH: u64 = 3;
/// So far back it is looked what is usual for deletions.
const HISTORY: SignedDuration = crate::span::to_the_day(90);

/// Says what a point lost against the last good one that shares a path with it, however the plan was edited: a part of a sentence of which the point is the subject.
pub(super) fn sign(point: &Facts, before: &[&Facts]) -> Option<String> {
    // What could not be read is missing for a reason that is told already.
    if !point.complete {
        return None;
    }
    let whole: Vec<&Facts> = before.iter().copied().filter(|one| one.complete && !one.gone).collect();
    if whole.is_empty() && point.files == 0 && point.bytes == 0 {
        return Some("is the first one, and holds nothing".to_owned());
    }
    let newest = |fits: fn(&Facts, &Facts) -> bool| whole.iter().rev().copied().find(|one| fits(one, point));
    // One of the same plan as well: what was trusted of another says nothing of this one's.
    let last = [newest(is_of_same_plan), newest(shares)];
    last.into_iter().flatten().find_map(|last| lost_against(last, point, &whole))
}

fn lost_against(last: &Facts, point: &Facts, whole: &[&Facts]) -> Option<String> {
    // What was small by another plan, of fewer paths, is no measure for this one.
    let is_alike = |one: &&&Facts| is_of_same_plan(one, point) || is_of_same_plan(one, last);
    let mut usual = whole.iter().rev().filter(is_alike).take(USUAL);
    let few = |was: u64, is: u64| is.saturating_mul(LEFT) <= was && is < was;
    let files =
        few(last.files, point.files) && (point.files == 0 || point.bytes.saturating_mul(2) <= last.bytes);
    let bytes = last.bytes >= BYTES_MIN && few(last.bytes, point.bytes);
    let was_as_small = usual.any(|before| {
        before.files <= point.files.saturating_mul(2) && before.bytes <= point.bytes.saturating_mul(2)
    });
    if was_as_small || !(files || bytes) {
        return None;
    }
    Some(format!(
        "lost nearly everything: {} files and {} are left of {} files and {} in point {}{}",
        point.files,
        crate::Size(point.bytes),
        last.files,
        crate::Size(last.bytes),
        super::short(&last.id),
        edited(last, point)
    ))
}

/// Says what a point lost, by itself or as the last of several, of what was there for long; or what it still lacks of what another one has told.
pub(super) fn deleted(point: &Facts, before: &[&Facts], told: Option<&Told>) -> Option<Sign> {
    // What could not be read is missing for a reason that is told already.
    if point.change.counted == 0 || !point.complete && told.is_none() {
        return None;
    }
    let before = known(point, before);
    let since = point.counts().checked_sub(HISTORY).unwrap_or(Timestamp::MIN);
    let alike = before.iter().rev().take_while(|one| shares(one, point) && one.counts() > since).count();
    let from = before.len() - alike;
    let mut points: Vec<Lost> =
        (from..before.len()).filter_map(|at| Some(lost(before.get(at)?, before.get(..at)?))).collect();
    points.push(match told {
        // Whatever the plan leaves out by now, and whatever could not be read: it is not back.
        Some(_) => Lost { gone: gone(point), bytes_gone: point.change.bytes_lost, ..lost(point, &before) },
        None => lost(point, &before),
    });
    let meanwhile = || against(point, &before).map_or_else(String::new, |last| edited(last, point));
    let sign = deleted::sign(&points, told)?;
    Some(Sign { what: format!("{}{}", sign.what, meanwhile()), ..sign })
}

/// Returns whether much is gone in a point that is suspicious: of what was there, so large a share that its absence is remembered.
pub(super) fn is_much(point: &Facts) -> bool {
    point.change.counted > 0 && gone(point).saturating_mul(MUCH) >= point.change.before() && gone(point) > 0
}

/// Returns how many files are gone in a point that were there before, and lie nowhere else now.
pub(super) fn gone(point: &Facts) -> u64 {
    let change = &point.change;
    let gone = change.files_removed.saturating_add(change.files_emptied);
    gone.saturating_sub(change.files_moved).saturating_sub(change.files_aside)
}

fn is_of_same_plan(one: &Facts, other: &Facts) -> bool {
    one.paths == other.paths && one.excludes == other.excludes
}

/// Returns whether a path of one is one of the other's, or lies below one, or above.
pub(super) fn shares(one: &Facts, other: &Facts) -> bool {
    let meets = |a: &String, b: &String| Path::new(a).starts_with(b) || Path::new(b).starts_with(a);
    one.paths == other.paths || one.paths.iter().any(|a| other.paths.iter().any(|b| meets(a, b)))
}

/// Returns whether all paths of an earlier one lie in this one's.
fn covers(point: &Facts, earlier: &Facts) -> bool {
    let is_in = |path: &String| point.paths.iter().any(|of| Path::new(path).starts_with(of));
    earlier.paths == point.paths || earlier.paths.iter().all(is_in)
}

/// Says what of the plan is another than it was: a person may know why so much is missing.
fn edited(last: &Facts, point: &Facts) -> String {
    let what = match (last.paths == point.paths, last.excludes == point.excludes) {
        (true, true) => return String::new(),
        (true, false) => "`exclude` was",
        (false, true) => "`paths` were",
        (false, false) => "`paths` and `exclude` were",
    };
    format!("; the plan's {what} edited at the same time")
}

fn lost(point: &Facts, before: &[&Facts]) -> Lost {
    let change = &point.change;
    // What was taken out of the plan wasn't deleted by that.
    let is_covered = against(point, before).is_none_or(|last| covers(point, last));
    // What went with an encryption that a person has accepted is accepted with it.
    let is_explained = accepted(point).noise;
    let is_known = point.complete && change.counted > 0 && is_covered && !is_explained;
    let known = |count: u64| if is_known { count } else { 0 };
    Lost {
        time: point.counts(),
        // What passes through doesn't make the rest a small share.
        there: change.before().saturating_sub(change.files_aside),
        gone: known(gone(point)),
        came: change.files_new.saturating_sub(change.files_moved).saturating_sub(change.files_passing),
        held: if before.is_empty() { 0 } else { held(point, before) },
        bytes_gone: known(change.bytes_lost),
        bytes_came: change.bytes_came,
        bytes_back: change.bytes_came.saturating_sub(change.bytes_new),
        packed: change.bytes_packed,
        trusted: accepted(point).loss,
    }
}
