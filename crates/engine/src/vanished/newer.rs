//! What is gone that is newer than what is taken: points, points that can't be read any more, and logs beside points. Whoever takes what is left goes back further than
//! he may think.
//!
//! Of a log the newest carries all before it: once that is gone, or an older one was put in its place, what was committed since is in no vault, whatever points there
//! are.

use super::{Lost, Vanished, count, help, time};
use crate::strange::Strange;
use crate::survey::{Survey, Surveyed};
use jiff::Timestamp;
use plan::{SystemName, VaultName};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A log of which the newest that this machine has seen is in no vault, nor a newer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGone {
    /// Up to when it was known.
    known: Timestamp,
    /// How far what is left of it goes; `None`: nothing is left.
    left: Option<Timestamp>,
    /// Where it was.
    vaults: BTreeSet<VaultName>,
}

/// Returns the logs that are gone, of what is missed. A strange one takes nobody's place.
pub(super) fn logs_gone(
    missed: &[Lost],
    survey: &Survey,
    strange: &[Strange],
) -> BTreeMap<SystemName, LogGone> {
    let mut all: BTreeMap<SystemName, LogGone> = BTreeMap::new();
    for lost in missed.iter().filter(|lost| lost.nowhere) {
        let Some(log) = &lost.system else { continue };
        let Some(name) = SystemName::of_log(&log.0) else { continue };
        let is_good =
            |point: &&Surveyed| point.point.complete && !strange.iter().any(|strange| strange.is(point));
        // Each vault has a log of its own, of the same instant.
        if survey.of(log).filter(is_good).any(|point| point.point.time >= lost.time) {
            continue;
        }
        // One that doesn't say how far it goes was made then.
        let ends = |point: &Surveyed| point.log().and_then(|log| log.until).unwrap_or(point.point.time);
        let left = survey.of(log).filter(is_good).map(ends).max();
        let new = LogGone { known: lost.time, left, vaults: BTreeSet::new() };
        let gone = all.entry(name).or_insert(new);
        gone.known = gone.known.max(lost.time);
        gone.vaults.insert(lost.vault.clone());
    }
    all
}

impl Lost {
    fn is_between(&self, than: Timestamp, until: Option<Timestamp>) -> bool {
        self.time > than && until.is_none_or(|until| self.time < until)
    }
}

impl Vanished {
    /// Says what of a system is gone that is newer than a point that is there, and not from after `until`: points, and what its log held.
    #[must_use]
    pub fn newer(&self, name: &SystemName, than: Timestamp, until: Option<Timestamp>) -> Option<String> {
        let said = [self.newer_points(name, than, until), self.newer_log(name, than, until)];
        let said: Vec<String> = said.into_iter().flatten().collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// Says which points of a system are gone that are newer than one that is there, and not from after `until`: whoever takes that goes back further than he may think.
    #[must_use]
    pub fn newer_points(
        &self,
        name: &SystemName,
        than: Timestamp,
        until: Option<Timestamp>,
    ) -> Option<String> {
        let mut newer = self.nowhere(name);
        newer.retain(|lost| lost.is_between(than, until));
        let (gone, help) = self.gone_of(&newer, "newer point", &name.0)?;
        Some(format!("{gone}: what follows takes an older state; {help}"))
    }

    /// Says up to when the log of a system was known that is gone, where what is there (a point or a log that go as far as `than`) doesn't go as far, nor as far as
    /// `until`.
    #[must_use]
    pub fn newer_log(&self, name: &SystemName, than: Timestamp, until: Option<Timestamp>) -> Option<String> {
        let gone = self.logs.get(name)?;
        let reached = gone.left.map_or(than, |left| left.max(than));
        if gone.known <= reached || until.is_some_and(|until| until <= reached) {
            return None;
        }
        let left = match gone.left {
            Some(left) => format!("what is left of it ends at {}", time(left)),
            None => "nothing is left of it".to_owned(),
        };
        let vaults: Vec<&str> = gone.vaults.iter().map(|vault| vault.0.as_str()).collect();
        Some(format!(
            "the log of {name} was known up to {known} in {vaults}, and is gone from there ({left}): what follows takes an older state; {help}",
            known = time(gone.known),
            vaults = vaults.join(" and "),
            help = help(gone.vaults.first()?),
        ))
    }

    /// Returns up to when the log of a system was known that is gone: so long it is known to have lived.
    #[must_use]
    pub fn log_known(&self, name: &SystemName) -> Option<Timestamp> {
        self.logs.get(name).map(|gone| gone.known)
    }

    /// Says which points of a system can't be read that are newer than one that is there, as [`Vanished::newer_points`] does of those that are gone.
    #[must_use]
    pub fn newer_unread(
        &self,
        name: &SystemName,
        than: Timestamp,
        until: Option<Timestamp>,
    ) -> Option<String> {
        let is_newer = |lost: &&Lost| lost.nowhere && lost.is_of(name) && lost.is_between(than, until);
        let newer: Vec<&Lost> = self.unread.iter().filter(is_newer).collect();
        let newest = newer.iter().max_by_key(|lost| lost.time)?;
        let ids: HashSet<_> = newer.iter().map(|lost| (&lost.id, lost.time)).collect();
        let (count, _) = count(ids.len(), "newer point");
        Some(format!(
            "{count} of {name} can't be read in {vaults}, the newest of {time}: the file is damaged there: what follows takes an older state; `releve repair {vault}` mends what can be, and --point names another point",
            vaults = self.places(&newer),
            time = time(newest.time),
            vault = newest.vault,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn lost(vault: &str, system: &str, second: i64, nowhere: bool) -> Lost {
        Lost {
            vault: vault.into(),
            snapshot: format!("{vault}{second}"),
            id: format!("id{second}"),
            system: Some(system.into()),
            time: at(second),
            first_seen: at(second),
            nowhere,
        }
    }

    #[test]
    fn a_log_that_is_gone_is_told_with_how_far_it_was_known_and_only_where_nothing_goes_as_far() {
        let shop = SystemName::from("shop");
        let missed = [
            lost("near", "shop/log", 5, true),
            lost("far", "shop/log", 9, true),
            // A point is no log, and one that another vault has is not gone.
            lost("far", "shop", 20, true),
            lost("far", "mail/log", 20, false),
        ];
        let logs = logs_gone(&missed, &Survey::default(), &[]);
        assert_eq!(logs.keys().collect::<Vec<_>>(), [&shop]);
        let vanished = Vanished { logs, ..Vanished::default() };
        assert_eq!(vanished.log_known(&shop), Some(at(9)));
        assert_eq!(vanished.log_known(&"mail".into()), None);
        let said = vanished.newer(&shop, at(3), None).unwrap();
        assert!(said.starts_with("the log of shop was known up to "), "{said}");
        assert!(said.contains(&time(at(9))) && said.contains("in far and near"), "{said}");
        assert!(said.contains("nothing is left of it") && said.contains("takes an older state"), "{said}");
        // A point from after it loses nothing, nor does who wants less than is there.
        assert_eq!(vanished.newer(&shop, at(9), None), None);
        assert_eq!(vanished.newer(&shop, at(3), Some(at(3))), None);
        assert!(vanished.newer(&shop, at(3), Some(at(4))).is_some());
        let rolled = LogGone { known: at(9), left: Some(at(6)), vaults: [VaultName::from("far")].into() };
        let vanished = Vanished { logs: [(shop.clone(), rolled)].into(), ..Vanished::default() };
        let said = vanished.newer_log(&shop, at(3), None).unwrap();
        assert!(said.contains(&format!("what is left of it ends at {}", time(at(6)))), "{said}");
        assert_eq!(vanished.newer(&shop, at(3), Some(at(6))), None, "what is left goes as far");
        assert!(vanished.newer(&shop, at(3), Some(at(7))).is_some());
    }
}
