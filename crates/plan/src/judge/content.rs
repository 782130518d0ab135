//! What changed looks like encryption or destruction: the rules about content.
//!
//! A program that counts by content (`counted` 1) says how many files became noise, zeros or the like, and [`scrambled`] and [`ruined`] judge that. Of what an
//! older one has made only the mass is known, and whether what came instead compresses.

use super::accepted::accepted;
use crate::Facts;
use crate::ruined::{self, Ruined};
use crate::scrambled::{self, Scrambled};

/// A sign of tampering: more than half of at least so many files changed or gone at once …
const MASS_SHARE: f64 = 0.5;
const MASS_FILES: u64 = 20;
/// … and what came instead doesn't compress, as encrypted content doesn't.
const NOISE: f64 = 0.9;

/// Says what about the content of a point is a sign: a part of a sentence of which the point is the subject. `before` are the points before it that show none, oldest
/// first, incomplete ones among them; `point.since` names the one that its change was counted against.
pub(super) fn sign(point: &Facts, before: &[&Facts]) -> Option<String> {
    if before.is_empty() {
        return None;
    }
    if point.change.counted > 0 {
        let (points, others) = counted(point, before);
        return scrambled::sign(&points).or_else(|| ruined::sign(&ruined(point), &others));
    }
    of_mass(point)
}

/// Returns the first of the points that took part in what a point is a sign of, where that is the end of a sum.
pub(super) fn began<'a>(point: &Facts, before: &[&'a Facts]) -> Option<&'a Facts> {
    if point.change.counted == 0 || before.is_empty() {
        return None;
    }
    let (points, others) = counted(point, before);
    if scrambled::sign(&points).is_none() && ruined::sign(&ruined(point), &others).is_some() {
        return None;
    }
    let time = scrambled::began(&points)?;
    before.iter().copied().find(|one| one.counts() == time && one.change.files_scrambled > 0)
}

/// Returns those that count for a point: of points that are in no vault any more those up to the one that it was counted against. What came after that one
/// it has counted itself.
pub(super) fn known<'a>(point: &Facts, before: &[&'a Facts]) -> Vec<&'a Facts> {
    let since = before.iter().rposition(|one| point.since.as_ref() == Some(&one.id));
    let all = before.iter().copied().enumerate();
    all.filter(|(at, one)| !one.gone || since.is_none_or(|since| *at <= since)).map(|(_, one)| one).collect()
}

/// Returns what a point and those before it counted, for each of the two rules.
fn counted(point: &Facts, before: &[&Facts]) -> (Vec<Scrambled>, Vec<Ruined>) {
    let before = known(point, before);
    let counted = before.iter().copied().filter(|before| before.change.counted > 0);
    let mut points: Vec<Scrambled> = counted.map(scrambled).collect();
    if points.is_empty() {
        // The one that it was counted against tells nothing of itself, and is there all the same.
        let none = Scrambled { time: point.time, there: 0, files: 0, held: 0, bytes: 0, trusted: false };
        points.push(none);
    }
    points.push(Scrambled { held: held(point, &before), ..scrambled(point) });
    (points, before.into_iter().map(ruined).collect())
}

fn scrambled(point: &Facts) -> Scrambled {
    let (time, there, files) = (point.counts(), point.change.before(), point.change.files_scrambled);
    Scrambled {
        time,
        there,
        files,
        held: 0,
        bytes: point.change.bytes_scrambled,
        trusted: accepted(point).noise,
    }
}

fn ruined(point: &Facts) -> Ruined {
    let change = &point.change;
    Ruined {
        there: change.before(),
        changed: change.files_changed,
        veiled: change.files_veiled,
        ruined: change.files_ruined,
    }
}

/// Returns how many bytes the point held that this one was counted against: what came since can't make a share small. Where that isn't known any more
/// it is what there is now.
pub(super) fn held(point: &Facts, before: &[&Facts]) -> u64 {
    match against(point, before) {
        Some(before) if before.bytes > 0 => before.bytes,
        _ => point.bytes,
    }
}

/// Returns the point that this one was counted against, or where that isn't known any more the last there is.
pub(super) fn against<'a>(point: &Facts, before: &[&'a Facts]) -> Option<&'a Facts> {
    let since = before.iter().rev().find(|before| point.since.as_ref() == Some(&before.id));
    since.or(before.last()).copied()
}

fn of_mass(point: &Facts) -> Option<String> {
    let change = &point.change;
    let share = change.share().filter(|share| point.complete && *share > MASS_SHARE)?;
    if change.hit() < MASS_FILES || change.bytes_new == 0 || change.incompressible <= NOISE {
        return None;
    }
    Some(format!(
        "changed or lost {} files ({:.0}%) at once, and {:.0}% of the new content doesn't compress",
        change.hit(),
        share * 100.0,
        change.incompressible * 100.0
    ))
}

/// Returns whether a point's own change, however few its files are, is what somebody at work on the whole machine would leave.
pub(super) fn is_rewritten(point: &Facts) -> bool {
    let change = &point.change;
    // Content too short to be noise, or that was noise before, is no sign by itself; beside one it is.
    let is_scrambled =
        change.files_scrambled > 0 && change.files_scrambled.saturating_mul(2) > change.before();
    let is_much = point.change.bytes_scrambled.saturating_mul(2) > point.bytes;
    is_scrambled
        || change.bytes_scrambled > 0 && is_much
        || change.share().is_some_and(|share| share > MASS_SHARE)
            && (change.bytes_new == 0 || change.incompressible > NOISE)
}
