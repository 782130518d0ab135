//! What a restore point is worth: one judgement of each, made once and told by every verb.
//!
//! A point is held against the ones before it of its own system that are good, against what this machine itself saw of it and when, against what its maker noted, and
//! against what a person trusts. [`choose`](crate::choose) and [`keep`](crate::keep) take the judgement as it is; nothing else judges.
//!
//! Rules: `content.rs` (what changed looks like encryption or destruction), `loss.rs` (nearly everything is gone, or much of what was old), and here (time, machine,
//! doubts of the source, what follows from a sign, what trust ends). A sign that was recorded with the point stands: its maker saw what it rests on, which may be
//! pruned since. `order.rs` puts times right by what came after a point.

mod accepted;
mod began;
mod content;
mod loss;
mod machine;
mod order;

use crate::deleted::Told;
use crate::{Facts, Unvouched};
use accepted::accepted;
pub use accepted::goes_on;
use began::Began;
use jiff::{SignedDuration, Timestamp};
pub use machine::Intrusion;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The version of the rules, as it is recorded in a point; 0 is a point that nobody judged when it was made.
pub const RULES: u8 = 1;

/// How far a claimed time may lie ahead of this machine's clock.
const AHEAD_MAX: SignedDuration = SignedDuration::from_mins(10);
/// How long before the last look at the vault a point may have begun that was not there then: a capture takes its time.
const CAPTURE_MAX: SignedDuration = SignedDuration::from_hours(24);

/// What a point is worth. Exactly one holds: the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rating {
    /// Nothing speaks against it.
    #[default]
    Good,
    /// Good, and since read whole by a verification.
    Proven,
    /// Something could not be read; what could is fine.
    Incomplete,
    /// It claims a time that this machine's clock had not reached when it was there.
    Future,
    /// Another machine made it than those before it and than the plan names, or one whose key isn't known here.
    Foreign,
    /// Nobody has signed it, and its machine signs its points.
    Unsigned,
    /// Something about it doesn't fit: it isn't taken by itself.
    Suspicious,
}

/// The judgement of a point.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Judgement {
    /// What it is worth.
    pub rating: Rating,
    /// Why it isn't simply good, for a person: a part of a sentence of which the point is the subject.
    pub why: Option<String>,
    /// What is seen looks like somebody's work: whoever did it was on the machine.
    pub tampering: bool,
    /// When the first of the points was begun that took part in what is seen, where the point is the last of several, or follows on those: as it was known when
    /// it was told first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
    /// The time that counts, where it isn't the one that the point claims.
    pub time: Option<Timestamp>,
    /// All that speaks against it is that a recovery went back before it: who asks for that very instant gets it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
    /// What began with this point or before it, as is known from later ones, and ended after it: it is not clean, however good it looks.
    #[serde(skip)]
    pub within: Option<String>,
    /// What somebody did to the system that nothing has ended since, before this point or after it.
    #[serde(skip)]
    pub intrusion: Option<Intrusion>,
}

/// What changed between a point and the one that it was counted against.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Changed {
    /// Files that were not there before.
    pub files_new: u64,
    /// Files whose content differs. A program before `counted` 1 counted all that it read again.
    pub files_changed: u64,
    /// Files with the same content.
    pub files_unchanged: u64,
    /// Those of them of which something else changed: times, owner, mode.
    pub files_touched: u64,
    /// New files whose whole content a file had that vanished in the same run.
    pub files_moved: u64,
    /// Files that were there before and aren't now.
    pub files_removed: u64,
    /// Bytes of content that no vault had yet.
    pub bytes_new: u64,
    /// Bytes of the files that aren't there any more.
    pub bytes_removed: u64,
    /// Share of `bytes_new` that doesn't compress, 0 to 1.
    pub incompressible: f64,
    /// Files that had structure and whose content became noise, in place or under another name.
    pub files_scrambled: u64,
    /// Bytes in them.
    pub bytes_scrambled: u64,
    /// Files whose recognised type is gone or another.
    pub types_changed: u64,
    /// Files whose content changed to nothing at all.
    pub files_emptied: u64,
    /// Files whose content is another, and whose length and time of change are not.
    pub files_veiled: u64,
    /// Files whose content changed to zeros, or to what many others changed to as well.
    pub files_ruined: u64,
    /// Bytes of removed files, and by which changed ones became shorter; what was moved is none.
    pub bytes_lost: u64,
    /// Bytes of new files, and by which changed ones became longer; what was moved is none.
    pub bytes_came: u64,
    /// Of the removed files, those whose going says nothing: from where things are thrown away or pass through, or out of a working copy that went to another branch.
    pub files_aside: u64,
    /// Of the new files, those that lie where things are thrown away or pass through.
    pub files_passing: u64,
    /// Bytes of new archives of kinds that have no password.
    pub bytes_packed: u64,
    /// The version of the counting; 0 is an older program.
    pub counted: u8,
}

impl Changed {
    /// Returns how many files were there before.
    #[must_use]
    pub const fn before(&self) -> u64 {
        self.files_changed.saturating_add(self.files_unchanged).saturating_add(self.files_removed)
    }

    /// Returns how many of these lost their content: it is another, or nowhere any more.
    #[must_use]
    pub const fn hit(&self) -> u64 {
        self.files_changed.saturating_add(self.files_removed).saturating_sub(self.files_moved)
    }

    /// Returns these as a share of all that were there before; `None` for a first point.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        (self.before() > 0).then(|| self.hit() as f64 / self.before() as f64)
    }

    /// Returns what changed beyond what had changed already in an earlier point, both counted against the same one.
    fn beyond(&self, earlier: &Self) -> Self {
        let less = u64::saturating_sub;
        Self {
            files_new: less(self.files_new, earlier.files_new),
            files_changed: less(self.files_changed, earlier.files_changed),
            files_unchanged: self
                .files_unchanged
                .saturating_add(earlier.files_changed.min(self.files_changed)),
            files_touched: less(self.files_touched, earlier.files_touched),
            files_moved: less(self.files_moved, earlier.files_moved),
            files_removed: less(self.files_removed, earlier.files_removed),
            bytes_removed: less(self.bytes_removed, earlier.bytes_removed),
            files_scrambled: less(self.files_scrambled, earlier.files_scrambled),
            bytes_scrambled: less(self.bytes_scrambled, earlier.bytes_scrambled),
            types_changed: less(self.types_changed, earlier.types_changed),
            files_emptied: less(self.files_emptied, earlier.files_emptied),
            files_veiled: less(self.files_veiled, earlier.files_veiled),
            files_ruined: less(self.files_ruined, earlier.files_ruined),
            bytes_lost: less(self.bytes_lost, earlier.bytes_lost),
            bytes_came: less(self.bytes_came, earlier.bytes_came),
            files_aside: less(self.files_aside, earlier.files_aside),
            files_passing: less(self.files_passing, earlier.files_passing),
            bytes_packed: less(self.bytes_packed, earlier.bytes_packed),
            // What no vault had is not counted twice as it is.
            bytes_new: self.bytes_new,
            incompressible: self.incompressible,
            counted: self.counted,
        }
    }
}

impl Facts {
    /// Returns how many files are in it: what is called so to a person.
    #[must_use]
    pub const fn regular(&self) -> u64 {
        self.files.saturating_sub(self.others)
    }

    /// Returns the time that counts: the one that it claims, unless that can't be.
    #[must_use]
    pub fn counts(&self) -> Timestamp {
        self.judgement.time.unwrap_or(self.time)
    }

    /// Returns whether a choice may take it by itself: complete, and nothing speaks against it. A wrong clock doesn't where it is known when the point was made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.complete && self.is_base()
    }

    /// Returns whether nobody vouches for it that this machine knows: whoever can write to a vault can have made it.
    #[must_use]
    pub fn is_of_unknown_hand(&self) -> bool {
        self.unvouched.is_some() && !self.trusted
    }

    /// Returns whether it isn't what it says: of an unknown hand, or of a machine or a time that can't be. Every verb tells of it.
    #[must_use]
    pub fn is_strange(&self) -> bool {
        let Judgement { rating, time, .. } = &self.judgement;
        let is_misplaced = *rating == Rating::Suspicious && time.is_some();
        !self.trusted
            && (matches!(rating, Rating::Foreign | Rating::Unsigned | Rating::Future) || is_misplaced)
    }

    /// Returns whether the next point may be held against it: whole or not, it shows no sign.
    #[must_use]
    pub fn is_base(&self) -> bool {
        match self.judgement.rating {
            Rating::Good | Rating::Proven | Rating::Incomplete => true,
            Rating::Future => self.counts() > Timestamp::UNIX_EPOCH,
            Rating::Foreign | Rating::Unsigned | Rating::Suspicious => false,
        }
    }
}

/// Judges the points of one system, and leaves them in the order that counts. `home` is the machine that the plan has the system on.
pub fn judge(points: &mut [Facts], home: Option<&str>, now: Timestamp) {
    for point in points.iter_mut() {
        point.judgement = placed(point, now);
    }
    order::bound(points);
    points.sort_by(|a, b| a.counts().cmp(&b.counts()).then_with(|| a.id.cmp(&b.id)));
    let mut past = Past::default();
    let judged: Vec<Judgement> = points.iter().map(|point| past.judge(point, home)).collect();
    for (point, judgement) in points.iter_mut().zip(judged) {
        point.judgement = judgement;
    }
    machine::note(points);
}

/// Judges a point that is about to be written, by those there are.
#[must_use]
pub fn judge_new(history: &[Facts], new: &Facts, home: Option<&str>, now: Timestamp) -> Judgement {
    let mut points = history.to_vec();
    let new = Facts { first_seen: Some(now), judged: 0, recorded: None, ..new.clone() };
    let id = new.id.clone();
    points.push(new);
    judge(&mut points, home, now);
    points.into_iter().find(|point| point.id == id).map(|point| point.judgement).unwrap_or_default()
}

/// Returns the point that the next one is counted against: the newest that shows no sign, so that what is wrong never becomes what is usual. One of the same
/// paths goes before any other.
#[must_use]
pub fn base<'a>(points: &'a [Facts], paths: &[String]) -> Option<&'a Facts> {
    let newest = |fits: &dyn Fn(&&Facts) -> bool| {
        // Of one that is in no vault any more only what it counted is left.
        let there = points.iter().filter(|point| !point.gone);
        there.filter(fits).max_by(|a, b| a.counts().cmp(&b.counts()).then_with(|| a.id.cmp(&b.id)))
    };
    newest(&|point| point.is_base() && point.paths == paths)
        .or_else(|| newest(&|point| point.is_base()))
        .or_else(|| newest(&|_| true))
}

/// Holds the time that a point claims against what this machine saw.
fn placed(point: &Facts, now: Timestamp) -> Judgement {
    let soon = now.saturating_add(AHEAD_MAX).unwrap_or(now);
    // What was noted by a clock that is ahead of now's says nothing.
    let seen = point.first_seen.filter(|seen| *seen <= soon).map(|seen| seen.min(now));
    let latest = seen.map_or(soon, |seen| seen.saturating_add(AHEAD_MAX).unwrap_or(seen));
    let claimed = point.time;
    if claimed > latest {
        let (time, why) = match seen {
            // When it was first seen may be known by what came before it alone.
            Some(seen) => {
                let why = format!(
                    "claims to be from {claimed}, which was yet to come then: it counts as of {seen}"
                );
                (seen, why)
            }
            None => (Timestamp::UNIX_EPOCH, format!("claims to be from {claimed}, which is yet to come")),
        };
        return Judgement {
            rating: Rating::Future,
            why: Some(why),
            time: Some(time),
            ..Judgement::default()
        };
    }
    let unseen = point.unseen_at.filter(|unseen| {
        unseen.checked_sub(CAPTURE_MAX).is_ok_and(|earliest| claimed < earliest) && !point.trusted
    });
    match unseen.zip(seen) {
        Some((unseen, seen)) => Judgement {
            rating: Rating::Suspicious,
            why: Some(format!("claims to be from {claimed}, and was not there at {unseen}")),
            time: Some(seen),
            ..Judgement::default()
        },
        None => Judgement::default(),
    }
}

/// What was judged so far, from the oldest on.
#[derive(Default)]
struct Past<'a> {
    /// Those that show no sign, incomplete ones among them.
    before: Vec<&'a Facts>,
    /// Where each stands in the order.
    places: HashMap<&'a str, usize>,
    /// The last that a person trusts, and its place.
    trusted: Option<(usize, &'a Facts)>,
    /// The sign that points follow which nobody judged when they were made.
    follows: Option<String>,
    /// The suspicious one in which much was gone that isn't back, as far as anybody knows.
    missed: Option<Missed<'a>>,
    /// With which point the tampering began that nothing has ended since, where that is before the first that shows it.
    struck: Option<Began>,
}

/// A point in which much was gone.
struct Missed<'a> {
    point: &'a Facts,
    began: Option<Began>,
}

impl Missed<'_> {
    fn told(&self) -> Told {
        Told {
            point: short(&self.point.id).to_owned(),
            gone: loss::gone(self.point),
            began: self.began.as_ref().map(|began| began.time),
        }
    }
}

/// What is seen about a point.
struct Sign {
    rating: Rating,
    why: String,
    tampering: bool,
    /// When the first of several points was begun that took part.
    began: Option<Timestamp>,
}

impl Sign {
    const fn suspicious(why: String, tampering: bool) -> Self {
        Self { rating: Rating::Suspicious, why, tampering, began: None }
    }
}

impl<'a> Past<'a> {
    fn judge(&mut self, point: &'a Facts, home: Option<&str>) -> Judgement {
        let mut judgement = point.judgement.clone();
        let at = self.places.len();
        self.places.insert(&point.id, at);
        let explains = accepted(point);
        if explains.noise {
            (self.follows, self.struck) = (None, None);
        }
        if explains.loss {
            self.missed = None;
        }
        if point.trusted {
            self.trusted = Some((at, point));
        } else if judgement.rating != Rating::Suspicious {
            if let Some(sign) = self.sign(point, home) {
                judgement.rating = sign.rating;
                judgement.why = Some(sign.why);
                judgement.tampering = sign.tampering;
                self.begins(point, &mut judgement, sign.began);
            } else if let Some(left) = point.left_by {
                let why = format!("was left on purpose: the recovery of {left:.0} went back before it");
                (judgement.rating, judgement.why, judgement.left) = (Rating::Suspicious, Some(why), true);
            }
        }
        if judgement.rating == Rating::Good {
            judgement.rating = match (point.complete, point.verified) {
                (false, _) => Rating::Incomplete,
                (true, Some(_)) => Rating::Proven,
                (true, None) => Rating::Good,
            };
        }
        // As a sign ends: machine.rs.
        let is_proven = point.judged > 0 && judgement.rating == Rating::Proven && !point.trusted;
        if is_proven && point.broken.is_none() {
            self.struck = None;
        }
        let is_base = match judgement.rating {
            Rating::Good | Rating::Proven | Rating::Incomplete => true,
            Rating::Future => judgement.time.is_some_and(|time| time > Timestamp::UNIX_EPOCH),
            Rating::Foreign | Rating::Unsigned | Rating::Suspicious => false,
        };
        if is_base {
            self.before.push(point);
            // Of one that a person trusts nobody has looked what else it is a sign of.
            if is_held(point) && !point.trusted {
                self.follows = None;
                self.missed = None;
            }
        }
        judgement
    }

    /// Says with which point it began, where it is a sum that tells or follows on one, and remembers that. `began` is when, as it is counted now.
    fn begins(&mut self, point: &'a Facts, judgement: &mut Judgement, began: Option<Timestamp>) {
        if judgement.rating != Rating::Suspicious {
            return;
        }
        let is_loss = loss::is_much(point);
        let told = judgement.why.as_deref().and_then(Began::told);
        let told = told.map(|told| told.among(&self.before));
        let counted = || match (judgement.tampering, began) {
            (true, _) => content::began(point, &self.before),
            (false, Some(time)) => self.before.iter().copied().find(|one| one.counts() == time),
            // It was told by a program that named none.
            (false, None) if told.is_none() && point.judged > 0 => {
                let time = loss::deleted(point, &self.before, None)?.began?;
                self.before.iter().copied().find(|one| one.counts() == time)
            }
            (false, None) => None,
        };
        let counted = counted().map(Began::with);
        let known = match judgement.tampering {
            true => self.struck.clone(),
            false => self
                .missed
                .as_ref()
                .filter(|_| is_loss || began.is_some())
                .and_then(|missed| missed.began.clone()),
        };
        let began = Began::earliest([known, told, counted]);
        if let Some(began) = &began {
            judgement.began = Some(began.time);
            judgement.why.iter_mut().for_each(|why| began.tell(why));
        }
        match (judgement.tampering, &mut self.missed) {
            (true, _) => self.struck = began,
            (false, _) if !is_loss && began.is_none() => {}
            // The first that was counted against the same one lost most.
            (false, Some(missed)) if missed.point.since == point.since => {
                missed.began = Began::earliest([missed.began.take(), began]);
            }
            (false, missed) => *missed = Some(Missed { point, began }),
        }
    }

    fn sign(&mut self, point: &Facts, home: Option<&str>) -> Option<Sign> {
        // Whatever it says of itself: anybody may have said it.
        if let Some(unvouched) = &point.unvouched {
            let (rating, why) = match unvouched {
                Unvouched::Unsigned => {
                    (Rating::Unsigned, "is not signed, and its machine signs its points".to_owned())
                }
                Unvouched::By(key) => (
                    Rating::Foreign,
                    format!("is signed with the key {key}, which this machine doesn't know"),
                ),
            };
            return Some(Sign { rating, ..Sign::suspicious(why, false) });
        }
        if let Some(doubt) = point.doubts.first() {
            return Some(Sign::suspicious(doubt.clone(), false));
        }
        if self.is_foreign(point, home) {
            let why = format!("comes from another machine, `{}`", plain::Name::of(&point.host));
            return Some(Sign { rating: Rating::Foreign, ..Sign::suspicious(why, false) });
        }
        let outdated = self.outdated(point);
        if point.judged > 0 && outdated.is_none() {
            let why = point.recorded.clone()?;
            return Some(Sign::suspicious(why, point.tampering));
        }
        let point = outdated.as_ref().unwrap_or(point);
        if let Some(what) = content::sign(point, &self.before) {
            self.follows
                .get_or_insert_with(|| format!("comes after point {}, which {what}", short(&point.id)));
            return Some(Sign::suspicious(what, true));
        }
        if let Some(what) = loss::sign(point, &self.before) {
            return Some(Sign::suspicious(what, false));
        }
        let told = self.missed.as_ref().filter(|missed| loss::shares(missed.point, point)).map(Missed::told);
        if let Some(lost) = loss::deleted(point, &self.before, told.as_ref()) {
            return Some(Sign { began: lost.began, ..Sign::suspicious(lost.what, false) });
        }
        // Nobody held it against the last good one when it was made: an attack is followed by points that look quiet.
        let follows = self.follows.clone().filter(|_| !is_held(point))?;
        Some(Sign::suspicious(follows, true))
    }

    /// Returns the point as it is to be judged anew, where a person has trusted one since the one that it was counted against.
    fn outdated(&self, point: &Facts) -> Option<Facts> {
        let (at, trusted) = self.trusted?;
        point.recorded.as_ref().filter(|_| point.judged > 0)?;
        let explains = accepted(trusted);
        if !(if point.tampering { explains.noise } else { explains.loss }) {
            return None;
        }
        let since = point.since.as_deref().and_then(|since| self.places.get(since));
        if since.is_some_and(|since| *since >= at) {
            return None;
        }
        let change = match point.since.is_some() && point.since == trusted.since {
            true => point.change.beyond(&trusted.change),
            false => point.change.clone(),
        };
        Some(Facts { change, ..point.clone() })
    }

    fn is_foreign(&self, point: &Facts, home: Option<&str>) -> bool {
        !point.host.is_empty()
            && home != Some(point.host.as_str())
            && !self.before.is_empty()
            && self.before.iter().all(|before| before.host != point.host)
    }
}

/// Returns whether a point was held against the last good one when it was made, as it is now.
const fn is_held(point: &Facts) -> bool {
    point.judged > 0 || point.since.is_some()
}

/// Says how many points.
pub(crate) fn points(count: u64) -> String {
    if count == 1 { "1 point".to_owned() } else { format!("{count} points") }
}

/// Says how many files.
pub(crate) fn files(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

/// Returns the beginning of an id by which people name a point.
pub(crate) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
