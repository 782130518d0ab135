//! Which points are proven to come back: what all verifications together say. Every verb that takes a point asks here.

use jiff::Timestamp;
use plan::VaultName;
use state::{Body, Record, Verification};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of the verifications so far.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// Oldest first.
    seen: Vec<(Timestamp, Verification)>,
    /// For each vault that was repaired, and nothing was lost, how many of these came before.
    healed: BTreeMap<String, usize>,
}

/// Returns whether a record says that a vault is damaged, and how; `None` where it says nothing of that.
pub(crate) fn damage(body: &Body, vault: &str) -> Option<Option<String>> {
    match body {
        // What could not be looked at says nothing of the rest, and what was found is found.
        Body::Verification(found)
            if found.vault == vault && (found.failure.is_none() || !found.findings.is_empty()) =>
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
    for Record { body, .. } in records {
        let named: Vec<&String> = match body {
            Body::Verification(found) => vec![&found.vault],
            Body::Repair(repaired) => vec![&repaired.vault],
            Body::Backup(made) => made.gone.keys().collect(),
            _ => continue,
        };
        for vault in named {
            match damage(body, vault) {
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
                Body::Verification(seen) => verified.seen.push((record.time, seen.clone())),
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
        let since = self.healed.get(vault).copied().unwrap_or_default();
        let seen = self.seen.iter().skip(since).rev().filter(|(_, seen)| seen.vault == vault);
        let named = |points: &[String]| points.iter().any(|point| point == id);
        let mut says = seen.filter_map(|(_, seen)| match (named(&seen.unsound), named(&seen.points)) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        });
        says.next().unwrap_or(false)
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
                if !seen.findings.is_empty() && !named(&seen.points) && !named(&seen.unknown) {
                    unsound.insert(&seen.vault);
                }
                return None;
            }
            if !seen.points.iter().any(|point| point == id) {
                unsound.insert(&seen.vault);
                return None;
            }
            let windows = read.entry(&seen.vault).or_default();
            windows.push((seen.from, seen.share));
            (seen.read_share >= 1.0 || cover_all(windows)).then_some(*time)
        })
    }
}

/// Returns whether windows, each with its beginning and its share, cover the whole range from 0 to 1, which closes to a circle.
fn cover_all(windows: &[(f64, f64)]) -> bool {
    // A hair's breadth: ten tenths are not quite one.
    const HAIR: f64 = 1e-9;
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
