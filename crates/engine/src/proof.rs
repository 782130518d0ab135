//! Which points are proven to come back: what all verifications together say. Every verb that takes a point asks here.

use jiff::{SignedDuration, Timestamp};
use plan::{Period, Plan, VaultName};
use serde::Serialize;
use state::{Body, Record, Verification};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use vault::FileId;
use vault::verify::Window;

/// How long a verification counts where the plan doesn't say how often there is one.
pub const COUNTS_FOR: Period = Period::seconds(31 * 86_400);
/// How late the next one may be, at least and at most: it takes its time, and a vault may be out of reach for a night.
const LATE: (SignedDuration, SignedDuration) =
    (SignedDuration::from_mins(10), SignedDuration::from_hours(24));

/// How many damaged packs a record names: where there are as many, there may be more.
pub const NAMED_MAX: usize = 1000;

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
    seen: Vec<Look>,
    /// For each vault that was repaired, and nothing was lost, how many of these came before.
    healed: BTreeMap<String, usize>,
    /// The points that any of them found to lack something: all others need no second look.
    unsound: HashSet<String>,
}

/// One verification, and what of the damage that it found is still so.
#[derive(Debug, Clone)]
struct Look {
    time: Timestamp,
    seen: Verification,
    /// Empty also where it names no point unsound.
    open: Vec<Part>,
    /// A repair of a part of the packs has mended all of it.
    is_healed: bool,
}

impl Look {
    /// Returns whether a point that it names unsound is not so any more, where these have found it sound since.
    fn is_mended(&self, sound: &[&Verification]) -> bool {
        let has_pack = self.open.iter().any(|part| matches!(part, Part::Pack(_)));
        // Which packs these are is known: they were looked at, each by itself. Else as much has to be read as then.
        let (from, share) =
            if are_named(&self.seen) { (0.0, 0.0) } else { (self.seen.from, self.seen.share) };
        let windows: Vec<(f64, f64)> = sound.iter().map(|later| (later.from, later.share)).collect();
        let is_read = sound.iter().any(|later| has_read(later, from, share)) || cover_all(&windows);
        self.is_healed || (!has_pack && is_read)
    }
}

/// Something in a vault that was found damaged.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    /// A pack.
    Pack(String),
    /// What lies within this part of the packs, given by its beginning and its share; with what was read since and found sound. No share: every look sees it.
    Within(f64, f64, Vec<(f64, f64)>),
}

impl Part {
    /// What every look at the vault sees, whatever it reads.
    const SEEN_BY_ALL: Self = Self::Within(0.0, 0.0, Vec::new());

    fn found_by(seen: &Verification) -> Vec<Self> {
        if !are_named(seen) {
            return vec![Self::Within(seen.from, seen.share, Vec::new())];
        }
        let packs = seen.packs.iter().flatten().cloned().map(Self::Pack);
        packs.chain([Self::SEEN_BY_ALL]).collect()
    }

    /// Takes a later record of the same vault into account. Returns whether it has mended this, or read it and found it whole, or found it in the vault no more.
    fn is_ended_by(&mut self, body: &Body) -> bool {
        match (self, body) {
            (Self::Pack(pack), Body::Verification(seen)) => {
                let found = seen.packs.iter().flatten().any(|bad| bad == pack);
                let is_known = seen.findings.is_empty() || are_named(seen);
                let is_read = seen.read_share >= 1.0 || holds(seen.from, seen.share, pack);
                let looked = seen.failure.is_none() && seen.vanished.is_empty();
                looked && is_known && !found && (is_read || seen.without.contains(pack))
            }
            (Self::Within(from, share, read), Body::Verification(seen)) => {
                if seen.failure.is_some() || !seen.vanished.is_empty() || !seen.findings.is_empty() {
                    return false;
                }
                read.push((seen.from, seen.share));
                has_read(seen, *from, *share) || cover_all(read)
            }
            (part, Body::Repair(repaired)) if repaired.failure.is_none() => {
                let (read_from, read) = repaired.window.unwrap_or((0.0, 1.0));
                match part {
                    Self::Pack(pack) => repaired.named.contains(pack) || holds(read_from, read, pack),
                    Self::Within(from, share, _) => lies_within(*from, *share, read_from, read),
                }
            }
            _ => false,
        }
    }
}

/// Returns whether a verification names all packs in which it found something.
fn are_named(seen: &Verification) -> bool {
    seen.packs.as_ref().is_some_and(|packs| packs.len() < NAMED_MAX)
}

/// Returns whether a pack is in this part of them.
fn holds(from: f64, share: f64, pack: &str) -> bool {
    pack.parse::<FileId>().is_ok_and(|pack| Window { from, share }.holds(&pack))
}

/// What is known of the damage in one vault, from record to record.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    open: Vec<Part>,
}

impl Damage {
    /// Takes the next record into account. Returns whether it says that the vault is damaged, and how; `None` where it says nothing of that.
    pub(crate) fn note(&mut self, body: &Body, vault: &str) -> Option<Option<String>> {
        let said = damage(body, vault)?;
        // Who has read less than the one that found it has not seen it mended.
        self.open.retain_mut(|part| !part.is_ended_by(body));
        let found = match (body, &said) {
            (_, None) => return self.open.is_empty().then_some(None),
            (Body::Verification(seen), Some(_)) => Part::found_by(seen),
            // What a repair could not mend is out of the index since: anybody sees that who looks.
            (_, Some(_)) => vec![Part::SEEN_BY_ALL],
        };
        for part in found {
            if !self.open.contains(&part) {
                self.open.push(part);
            }
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

/// Damage in a vault that somebody has found, and that nobody has mended since, nor read the same and found it whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Open {
    /// When it was found.
    pub since: Timestamp,
    /// What it is, as far as was said.
    pub what: String,
}

/// Returns the damage of a vault that is still open after these records, oldest first, and one more that was made just now.
#[must_use]
pub fn open(records: &[Record], last: (Timestamp, &Body), vault: &str) -> Option<Open> {
    let mut known = Damage::default();
    let mut open = None;
    for (time, body) in records.iter().map(|record| (record.time, &record.body)).chain([last]) {
        match known.note(body, vault) {
            Some(Some(what)) => _ = open.get_or_insert(Open { since: time, what }),
            Some(None) => open = None,
            None => {}
        }
    }
    open
}

/// Returns the packs of a vault that are known to be damaged after these records, oldest first.
#[must_use]
pub fn known_packs(records: &[Record], vault: &str) -> Vec<String> {
    let mut known = Damage::default();
    for record in records {
        let _ = known.note(&record.body, vault);
    }
    let name = |part: Part| match part {
        Part::Pack(pack) => Some(pack),
        Part::Within(..) => None,
    };
    known.open.into_iter().filter_map(name).collect()
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
                Body::Verification(seen) => verified.then(record.time, seen),
                Body::Repair(repaired) if repaired.failure.is_none() && repaired.lost == 0 => {
                    if repaired.window.is_none_or(|(_, share)| share >= 1.0) {
                        verified.healed.insert(repaired.vault.clone(), verified.seen.len());
                    }
                    verified.end(&record.body, &repaired.vault);
                }
                _ => {}
            }
        }
        verified
    }

    /// Takes what a later record of a vault has ended into account.
    fn end(&mut self, body: &Body, vault: &str) {
        let looks = self.seen.iter_mut().filter(|look| look.seen.vault == vault);
        for look in looks.filter(|look| !look.open.is_empty()) {
            look.open.retain_mut(|part| !part.is_ended_by(body));
            look.is_healed |= look.open.is_empty() && matches!(body, Body::Repair(_));
        }
    }

    /// Takes one more verification into account, made after all of these.
    pub fn then(&mut self, time: Timestamp, seen: &Verification) {
        if self.seen.iter().any(|look| !look.open.is_empty()) {
            self.end(&Body::Verification(seen.clone()), &seen.vault);
        }
        self.unsound.extend(seen.unsound.iter().cloned());
        let open = if seen.unsound.is_empty() { Vec::new() } else { Part::found_by(seen) };
        self.seen.push(Look { time, seen: seen.clone(), open, is_healed: false });
    }

    /// Returns whether the last that is known of the point of this id in a vault is that it lacks something there.
    #[must_use]
    pub fn is_unsound(&self, id: &str, vault: &str) -> bool {
        if !self.unsound.contains(id) {
            return false;
        }
        let since = self.healed.get(vault).copied().unwrap_or_default();
        let looks = self.seen.iter().skip(since).rev().filter(|look| look.seen.vault == vault);
        let named = |points: &[String]| points.iter().any(|point| point == id);
        let mut sound: Vec<&Verification> = Vec::new();
        for look in looks {
            match (named(&look.seen.unsound), named(&look.seen.points)) {
                (true, _) if !look.is_mended(&sound) => return true,
                (false, true) => sound.push(&look.seen),
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
            && !self.seen.iter().any(|look| is_sound(&look.seen))
    }

    /// Returns since when it is known that the point of this id is sound in some vault: the beginning of the latest verifications that, taken
    /// together, have read all data of that vault, and of which each found it sound.
    #[must_use]
    pub fn since(&self, id: &str) -> Option<Timestamp> {
        let mut read: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
        let mut unsound: BTreeSet<&str> = BTreeSet::new();
        self.seen.iter().rev().find_map(|Look { time, seen, .. }| {
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
    seen.read_share >= 1.0 || lies_within(from, share, seen.from, seen.share)
}

/// Returns whether this part of the packs lies within another one.
fn lies_within(from: f64, share: f64, other_from: f64, other_share: f64) -> bool {
    let ahead = (from - other_from).rem_euclid(1.0);
    share <= 0.0 || other_share >= 1.0 || ahead + share <= other_share + HAIR
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
    fn damage_is_open_until_it_is_mended_or_all_that_was_read_then_is_read_again() {
        let mut bad = record(1, 0.0, 1.0, &["point"]);
        let Body::Verification(seen) = &mut bad.body else { unreachable!() };
        seen.findings = vec!["pack 12345678: its content doesn't match its name".into()];
        let after = |records: &[Record], last: Record| open(records, (last.time, &last.body), "near");
        let found = after(&[], bad.clone()).unwrap();
        assert!(found.since == bad.time && found.what.starts_with("pack 12345678"), "{found:?}");
        // Nothing read, or a tenth of it, says nothing of the rest; nor does what another vault's is.
        let tenths: Vec<_> = (2..6).map(|n| record(n, 0.1, 0.1, &["point"])).collect();
        let before: Vec<_> = [bad.clone()].into_iter().chain(tenths).collect();
        assert_eq!(after(&before, record(9, 0.0, 0.0, &["point"])), Some(found));
        let last = record(9, 0.0, 0.0, &["point"]);
        assert_eq!(open(&before, (last.time, &last.body), "far"), None);
        assert_eq!(after(&before, record(9, 0.0, 1.0, &["point"])), None);
        let mended = Body::Repair(Repaired { vault: "near".into(), ..Repaired::default() });
        assert_eq!(open(&before, (last.time, &mended), "near"), None);
    }

    #[test]
    fn damage_of_named_packs_ends_with_these_packs() {
        let (low, high) = (format!("1{}", "0".repeat(63)), format!("e{}", "0".repeat(63)));
        let seen = |number, from, share, packs: &[&String]| {
            let mut record = record(number, from, share, &["point"]);
            let Body::Verification(seen) = &mut record.body else { unreachable!() };
            seen.packs = Some(packs.iter().map(|&pack| pack.clone()).collect());
            if !packs.is_empty() {
                seen.findings = vec!["its content doesn't match its name".into()];
                (seen.unsound, seen.points) = (std::mem::take(&mut seen.points), Vec::new());
            }
            record
        };
        let repair = |named: &[&String], share: Option<f64>, forgotten| Record {
            body: Body::Repair(Repaired {
                vault: "near".into(),
                named: named.iter().map(|&pack| pack.clone()).collect(),
                window: share.map(|share| (0.0, share)),
                forgotten,
                ..Repaired::default()
            }),
            ..record(3, 0.0, 0.0, &[])
        };
        let mut pruned = seen(3, 0.0, 0.0, &[]);
        let Body::Verification(without) = &mut pruned.body else { unreachable!() };
        without.without = vec![low.clone()];
        let bad = seen(1, 0.0, 1.0, &[&low]);
        let cases = [
            ("nothing read", vec![seen(3, 0.0, 0.0, &[])], false),
            ("another part read", vec![seen(3, 0.5, 0.5, &[])], false),
            ("its part read", vec![seen(3, 0.0, 0.5, &[])], true),
            ("its part read, and it is bad", vec![seen(3, 0.0, 0.5, &[&low])], false),
            ("the pack is there no more", vec![pruned], true),
            ("a repair that found nothing in another part", vec![repair(&[], Some(0.0), false)], false),
            ("a repair of it", vec![repair(&[&low], Some(0.0), false)], true),
            ("a repair of another", vec![repair(&[&high], Some(0.0), false)], false),
            ("a repair that read all", vec![repair(&[], Some(1.0), false)], true),
            ("forgotten", vec![repair(&[], None, true)], true),
        ];
        for (what, later, is_over) in cases {
            let records: Vec<Record> = [bad.clone()].into_iter().chain(later).collect();
            assert_eq!(damaged(&records).is_empty(), is_over, "{what}");
            assert_eq!(known_packs(&records, "near").is_empty(), is_over, "{what}");
            assert_eq!(!Verified::of(&records).is_unsound("point", "near"), is_over, "{what}");
        }
        // What nobody has named is over once windows that follow one another have read everything since.
        let mut unnamed = bad;
        let Body::Verification(old) = &mut unnamed.body else { unreachable!() };
        old.packs = None;
        let half = [unnamed.clone(), seen(2, 0.0, 0.5, &[])];
        assert!(!damaged(&half).is_empty() && Verified::of(&half).is_unsound("point", "near"));
        let both = [unnamed, seen(2, 0.0, 0.5, &[]), seen(3, 0.5, 0.5, &[])];
        assert!(damaged(&both).is_empty() && !Verified::of(&both).is_unsound("point", "near"));
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
