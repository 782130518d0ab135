//! Which points are proven to come back: what all verifications together say. Every verb that takes a point asks here.

use jiff::{SignedDuration, Timestamp};
use plan::{Period, Plan, VaultName};
use serde::Serialize;
use state::{Body, Record, Verification};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// How long a verification counts where the plan doesn't say how often there is one.
pub const COUNTS_FOR: Period = Period::seconds(31 * 86_400);
/// How late the next one may be, at least and at most: it takes its time, and a vault may be out of reach for a night.
const LATE: (SignedDuration, SignedDuration) =
    (SignedDuration::from_mins(10), SignedDuration::from_hours(24));

/// A hair's breadth: ten tenths are not quite one.
const HAIR: f64 = 1e-9;

/// What the verifications of one vault say of it, whatever was written into it since.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proof {
    /// The vault.
    pub vault: VaultName,
    /// When some of its data was read last.
    pub last: Option<Timestamp>,
    /// How much of the data that was, 0 to 1.
    pub share: f64,
    /// Since when all of it was read, by one verification or by several that follow one another.
    pub all: Option<Timestamp>,
    /// Nothing that was found damaged is still so, as far as is known.
    pub sound: bool,
    /// The last one is longer ago than the plan has them made.
    pub overdue: bool,
}

impl Proof {
    /// Returns what these records, oldest first, say of a vault.
    #[must_use]
    pub fn of(plan: &Plan, records: &[Record], vault: &VaultName, now: Timestamp) -> Self {
        let every = plan.policy.verify.as_ref().map_or(COUNTS_FOR, |verify| verify.every);
        let every = SignedDuration::try_from(every.0).unwrap_or(SignedDuration::MAX);
        let limit = every.saturating_add((every / 10).clamp(LATE.0, LATE.1));
        // What was only listed proves no data.
        let read =
            |seen: &Verification| seen.failure.is_none() && (seen.share > 0.0 || seen.read_share > 0.0);
        let mut looks = records.iter().rev().filter_map(|record| match &record.body {
            Body::Verification(seen) if seen.vault == vault.0 && read(seen) => Some((record.time, seen)),
            _ => None,
        });
        let last = looks.clone().next();
        let mut windows = Vec::new();
        let all = looks.find_map(|(time, seen)| {
            windows.push((seen.from, seen.share));
            (seen.read_share >= 1.0 || cover_all(&windows)).then_some(time)
        });
        Self {
            vault: vault.clone(),
            last: last.map(|(time, _)| time),
            share: last.map_or(0.0, |(_, seen)| seen.read_share.max(seen.share)),
            all,
            sound: !damaged(records).contains(&vault.0),
            // A time that is yet to come was noted by a clock that was wrong.
            overdue: last.is_some_and(|(time, _)| now.duration_since(time).abs() > limit),
        }
    }

    /// Returns whether it was read in time, and is sound.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.last.is_some() && self.sound && !self.overdue
    }
}

/// What is known of the verifications so far.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// Oldest first.
    seen: Vec<(Timestamp, Verification)>,
    /// For each vault that was repaired, and nothing was lost, how many of these came before.
    healed: BTreeMap<String, usize>,
    /// The points that any of them found to lack something: all others need no second look.
    unsound: HashSet<String>,
}

/// What is known of the damage in one vault, from record to record.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    /// Which parts of the packs somebody read who found some: each with its beginning and its share.
    found_in: Vec<(f64, f64)>,
}

impl Damage {
    /// Takes the next record into account. Returns whether it says that the vault is damaged, and how; `None` where it says nothing of that.
    pub(crate) fn note(&mut self, body: &Body, vault: &str) -> Option<Option<String>> {
        let said = damage(body, vault)?;
        match (body, &said) {
            (Body::Verification(seen), None) => {
                // Who has read less than the one that found it has not seen it mended.
                self.found_in.retain(|(from, share)| !has_read(seen, *from, *share));
                return self.found_in.is_empty().then_some(None);
            }
            (Body::Verification(seen), Some(_)) => self.found_in.push((seen.from, seen.share)),
            (Body::Repair(_), None) => self.found_in.clear(),
            // What it could not mend is out of the index since: anybody sees that who looks.
            (Body::Repair(_), Some(_)) => self.found_in = vec![(0.0, 0.0)],
            (_, said) if said.is_some() => self.found_in.push((0.0, 0.0)),
            _ => {}
        }
        Some(said)
    }
}

/// Returns whether a record by itself says that a vault is damaged, and how; `None` where it says nothing of that.
fn damage(body: &Body, vault: &str) -> Option<Option<String>> {
    match body {
        // What could not be looked at, or is not listed any more, says nothing of the rest, and what was found is found.
        Body::Verification(found)
            if found.vault == vault
                && ((found.failure.is_none() && found.vanished.is_empty()) || !found.findings.is_empty()) =>
        {
            Some(several(&found.findings))
        }
        Body::Repair(repaired) if repaired.vault == vault && repaired.failure.is_none() => Some(
            (repaired.lost > 0).then(|| format!("{} parts of files are sound in no vault", repaired.lost)),
        ),
        Body::Backup(made) => made.gone.get(vault).map(|packs| Some(gone(vault, *packs))),
        _ => None,
    }
}

/// Returns the vaults that are damaged by what these records, oldest first, say last of each.
#[must_use]
pub fn damaged(records: &[Record]) -> BTreeSet<String> {
    let mut damaged = BTreeSet::new();
    let mut known: BTreeMap<&str, Damage> = BTreeMap::new();
    for Record { body, .. } in records {
        let named: Vec<&String> = match body {
            Body::Verification(found) => vec![&found.vault],
            Body::Repair(repaired) => vec![&repaired.vault],
            Body::Backup(made) => made.gone.keys().collect(),
            _ => continue,
        };
        for vault in named {
            match known.entry(vault).or_default().note(body, vault) {
                Some(Some(_)) => _ = damaged.insert(vault.clone()),
                Some(None) => _ = damaged.remove(vault),
                None => {}
            }
        }
    }
    damaged
}

/// Says that a vault lacks packs which its index names, and the way out.
#[must_use]
pub fn gone(vault: &str, packs: u64) -> String {
    let (packs, verb) =
        if packs == 1 { ("a pack".to_owned(), "is") } else { (format!("{packs} packs"), "are") };
    format!(
        "{packs} that its index names {verb} gone or cut off: what was in there is stored anew where a new point needs it, and older points may lack it. \
        releve verify {vault} says what, releve repair {vault} brings back what another vault has"
    )
}

/// Returns the first of several findings, and how many more there are.
pub(crate) fn several(findings: &[String]) -> Option<String> {
    let first = findings.first()?;
    Some(match findings.len() {
        1 => first.clone(),
        all => format!("{first}; and {} more", all - 1),
    })
}

impl Verified {
    /// Returns what these records, oldest first, tell. Where none can be read nothing is known, which is the default.
    #[must_use]
    pub fn of(records: &[Record]) -> Self {
        let mut verified = Self::default();
        for record in records {
            match &record.body {
                Body::Verification(seen) => {
                    verified.unsound.extend(seen.unsound.iter().cloned());
                    verified.seen.push((record.time, seen.clone()));
                }
                Body::Repair(repaired) if repaired.failure.is_none() && repaired.lost == 0 => {
                    verified.healed.insert(repaired.vault.clone(), verified.seen.len());
                }
                _ => {}
            }
        }
        verified
    }

    /// Returns whether the last that is known of the point of this id in a vault is that it lacks something there.
    #[must_use]
    pub fn is_unsound(&self, id: &str, vault: &str) -> bool {
        if !self.unsound.contains(id) {
            return false;
        }
        let since = self.healed.get(vault).copied().unwrap_or_default();
        let seen = self.seen.iter().skip(since).rev().filter(|(_, seen)| seen.vault == vault);
        let named = |points: &[String]| points.iter().any(|point| point == id);
        let mut sound: Vec<&Verification> = Vec::new();
        for (_, seen) in seen {
            // Found sound since, by one that has read as much.
            let is_mended = || sound.iter().any(|later| has_read(later, seen.from, seen.share));
            match (named(&seen.unsound), named(&seen.points)) {
                (true, _) if !is_mended() => return true,
                (false, true) => sound.push(seen),
                _ => {}
            }
        }
        false
    }

    /// Returns whether the point of this id was found to lack something in each of these vaults, and is sound in no other as far as is known.
    #[must_use]
    pub fn is_broken(&self, id: &str, vaults: &[VaultName]) -> bool {
        let is_sound = |seen: &Verification| {
            seen.points.iter().any(|point| point == id) && !self.is_unsound(id, &seen.vault)
        };
        !vaults.is_empty()
            && vaults.iter().all(|vault| self.is_unsound(id, &vault.0))
            && !self.seen.iter().any(|(_, seen)| is_sound(seen))
    }

    /// Returns since when it is known that the point of this id is sound in some vault: the beginning of the latest verifications that, taken
    /// together, have read all data of that vault, and of which each found it sound.
    #[must_use]
    pub fn since(&self, id: &str) -> Option<Timestamp> {
        let mut read: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
        let mut unsound: BTreeSet<&str> = BTreeSet::new();
        self.seen.iter().rev().find_map(|(time, seen)| {
            if unsound.contains(seen.vault.as_str()) {
                return None;
            }
            if seen.failure.is_some() {
                // What could not be looked at says nothing; what was found broken all the same does.
                let named = |points: &[String]| points.iter().any(|point| point == id);
                let is_left_open = named(&seen.unknown) || named(&seen.vanished);
                if !seen.findings.is_empty() && !named(&seen.points) && !is_left_open {
                    unsound.insert(&seen.vault);
                }
                return None;
            }
            if !seen.points.iter().any(|point| point == id) {
                // Of what was not listed nothing was seen: what is proven of it is proven, should it come back.
                if !seen.vanished.iter().any(|point| point == id) {
                    unsound.insert(&seen.vault);
                }
                return None;
            }
            let windows = read.entry(&seen.vault).or_default();
            windows.push((seen.from, seen.share));
            (seen.read_share >= 1.0 || cover_all(windows)).then_some(*time)
        })
    }
}

/// Returns whether a verification has read this part of the packs.
fn has_read(seen: &Verification, from: f64, share: f64) -> bool {
    let ahead = (from - seen.from).rem_euclid(1.0);
    share <= 0.0 || seen.read_share >= 1.0 || ahead + share <= seen.share + HAIR
}

/// Returns whether windows, each with its beginning and its share, cover the whole range from 0 to 1, which closes to a circle.
fn cover_all(windows: &[(f64, f64)]) -> bool {
    let mut parts: Vec<(f64, f64)> = Vec::new();
    for (from, share) in windows {
        let end = from + share;
        parts.push((*from, end.min(1.0)));
        if end > 1.0 {
            parts.push((0.0, end - 1.0));
        }
    }
    parts.sort_by(|a, b| a.0.total_cmp(&b.0));
    let covered =
        parts.iter().fold(
            0.0f64,
            |covered, (from, end)| {
                if *from <= covered + HAIR { covered.max(*end) } else { covered }
            },
        );
    covered >= 1.0 - HAIR
}

#[cfg(test)]
mod tests {
    use super::*;
    use state::{Made, Repaired};

    fn record(number: u64, from: f64, share: f64, points: &[&str]) -> Record {
        let seen = Verification {
            vault: "near".into(),
            from,
            share,
            read_share: share,
            points: points.iter().map(|&point| point.to_owned()).collect(),
            ..Verification::default()
        };
        let time = Timestamp::from_second(i64::try_from(number).unwrap()).unwrap();
        Record { number, time, body: Body::Verification(seen), previous: String::new(), hash: String::new() }
    }

    #[test]
    fn tenths_that_follow_one_another_prove_a_point_once_they_are_ten() {
        let tenth = |n: u32| record(u64::from(n), f64::from(n) / 10.0 % 1.0, 0.1, &["point"]);
        let nine: Vec<_> = (3..12).map(tenth).collect();
        assert_eq!(Verified::of(&nine).since("point"), None);
        let ten: Vec<_> = (3..13).map(tenth).collect();
        assert_eq!(Verified::of(&ten).since("point"), Some(ten[0].time));
    }

    #[test]
    fn a_vault_stays_verified_when_points_are_made_since_until_the_next_time_is_long_over() {
        let day = |day: u64| record(day * 86_400, 0.0, 1.0, &["point"]);
        let mut plan = Plan::default();
        let proof = |plan: &Plan, records: &[Record], on: i64| {
            let now = Timestamp::from_second(on * 86_400).unwrap();
            Proof::of(plan, records, &"near".into(), now)
        };
        let never = proof(&plan, &[], 1);
        assert!(never.last.is_none() && !never.overdue && !never.is_fine());
        let whole = [day(1)];
        let since = proof(&plan, &whole, 30);
        assert!(since.is_fine() && since.all == Some(whole[0].time) && since.share >= 1.0);
        assert!(proof(&plan, &whole, 34).overdue, "longer ago than a month, and nobody said how often");
        let verify = plan::Verify { every: Period::seconds(7 * 86_400), read_data: None };
        plan.policy.verify = Some(verify);
        assert!(proof(&plan, &whole, 8).is_fine() && proof(&plan, &whole, 9).overdue);
        // A part is said as that, and one that is only listed is none.
        let part = proof(&plan, &[record(86_400, 0.0, 0.1, &["point"])], 2);
        assert!(part.is_fine() && part.all.is_none() && part.share < 0.2);
        let listed = proof(&plan, &[record(86_400, 0.0, 0.0, &["point"])], 2);
        assert!(listed.last.is_none() && !listed.is_fine());
        // What could not be looked at says nothing, and what was found damaged is not sound.
        let mut failed = day(20);
        let Body::Verification(seen) = &mut failed.body else { unreachable!() };
        seen.failure = Some("no route".into());
        assert_eq!(proof(&plan, &[day(1), failed], 2).last, Some(day(1).time));
        let mut bad = day(2);
        let Body::Verification(seen) = &mut bad.body else { unreachable!() };
        seen.findings = vec!["a pack is gone".into()];
        assert!(!proof(&plan, &[day(1), bad], 3).sound);
    }

    #[test]
    fn what_could_not_be_looked_at_leaves_the_earlier_proof_and_what_is_broken_ends_it() {
        let mut later = record(2, 0.0, 1.0, &[]);
        let Body::Verification(seen) = &mut later.body else { unreachable!() };
        seen.failure = Some("3 files could not be read".into());
        seen.unknown = vec!["point".into()];
        seen.findings = vec!["something else is broken".into()];
        let records = [record(1, 0.0, 1.0, &["point"]), later];
        assert_eq!(Verified::of(&records).since("point"), Some(records[0].time));
        assert_eq!(Verified::of(&records).since("another"), None);
        let mut broken = records.clone();
        let Body::Verification(seen) = &mut broken[1].body else { unreachable!() };
        seen.unknown.clear();
        assert_eq!(Verified::of(&broken).since("point"), None);
    }

    #[test]
    fn what_was_not_listed_any_more_keeps_its_proof_and_ends_no_damage() {
        let mut hidden = record(2, 0.0, 1.0, &[]);
        let Body::Verification(seen) = &mut hidden.body else { unreachable!() };
        seen.vanished = vec!["point".into()];
        let proven = record(1, 0.0, 1.0, &["point", "another"]);
        let records = [proven.clone(), hidden.clone()];
        assert_eq!(Verified::of(&records).since("point"), Some(proven.time));
        assert_eq!(Verified::of(&records).since("another"), None);
        let mut bad = record(1, 0.0, 0.0, &[]);
        let Body::Verification(seen) = &mut bad.body else { unreachable!() };
        seen.findings = vec!["a pack is gone".into()];
        assert!(damaged(&[bad.clone(), hidden.clone()]).contains("near"));
        assert!(damaged(&[proven.clone(), hidden]).is_empty() && damaged(&[bad, proven]).is_empty());
    }

    #[test]
    fn a_point_that_was_found_unsound_is_not_proven_by_what_was_read_before() {
        let records = [record(1, 0.0, 1.0, &["point"]), record(2, 0.0, 0.1, &[])];
        assert_eq!(Verified::of(&records).since("point"), None);
        assert_eq!(Verified::of(&records[..1]).since("point"), Some(records[0].time));
    }

    #[test]
    fn a_point_is_unsound_in_a_vault_until_that_is_repaired_or_it_is_found_sound() {
        let mut bad = record(1, 0.0, 0.0, &[]);
        let Body::Verification(seen) = &mut bad.body else { unreachable!() };
        (seen.unsound, seen.findings) = (vec!["point".into()], vec!["a pack is gone".into()]);
        let repaired = |lost| Record {
            body: Body::Repair(Repaired { vault: "near".into(), lost, ..Repaired::default() }),
            ..bad.clone()
        };
        let unsound = |records: &[Record]| Verified::of(records).is_unsound("point", "near");
        assert!(unsound(&[bad.clone()]) && unsound(&[bad.clone(), record(2, 0.0, 1.0, &["other"])]));
        assert!(!Verified::of(&[bad.clone()]).is_unsound("point", "far"));
        assert!(!Verified::of(&[bad.clone()]).is_unsound("other", "near"));
        assert!(!unsound(&[bad.clone(), record(2, 0.0, 0.0, &["point"])]));
        assert!(!unsound(&[bad.clone(), repaired(0)]) && unsound(&[bad.clone(), repaired(1)]));
        assert!(unsound(&[repaired(0), bad.clone()]));
        let broken = |records: &[Record]| Verified::of(records).is_broken("point", &["near".into()]);
        let mut far = record(0, 0.0, 0.0, &["point"]);
        let Body::Verification(seen) = &mut far.body else { unreachable!() };
        seen.vault = "far".into();
        // It may be out of reach just now.
        assert!(broken(&[bad.clone()]) && !broken(&[far, bad]));
    }

    #[test]
    fn damage_that_was_found_by_reading_is_not_mended_by_a_look_that_reads_less() {
        let mut bad = record(1, 0.2, 0.1, &[]);
        let Body::Verification(seen) = &mut bad.body else { unreachable!() };
        (seen.unsound, seen.findings) = (vec!["point".into()], vec!["a blob is damaged".into()]);
        for (later, is_mended) in [
            (record(2, 0.0, 0.0, &["point"]), false),
            (record(2, 0.3, 0.1, &["point"]), false),
            (record(2, 0.2, 0.1, &["point"]), true),
            (record(2, 0.9, 0.5, &["point"]), true),
            (record(2, 0.0, 1.0, &["point"]), true),
        ] {
            let records = [bad.clone(), later.clone()];
            assert_eq!(damaged(&records).is_empty(), is_mended, "{later:?}");
            assert_eq!(!Verified::of(&records).is_unsound("point", "near"), is_mended, "{later:?}");
        }
    }

    #[test]
    fn a_vault_is_damaged_from_what_says_so_until_something_says_otherwise() {
        let mut bad = record(1, 0.0, 0.0, &[]);
        let Body::Verification(seen) = &mut bad.body else { unreachable!() };
        seen.findings = vec!["a pack is gone".into()];
        let made = Made { gone: [("near".to_owned(), 2)].into(), ..Made::default() };
        let made = Record { body: Body::Backup(made), ..bad.clone() };
        let sound = record(2, 0.0, 0.0, &["point"]);
        let is_damaged = |records: &[Record]| damaged(records).contains("near");
        assert!(is_damaged(&[bad.clone()]) && is_damaged(&[sound.clone(), made.clone()]));
        assert!(!is_damaged(&[bad, made, sound]) && !is_damaged(&[]));
    }
}
