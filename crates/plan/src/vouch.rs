//! What gives rights to whoever finds it (setuid and setgid, capabilities, devices), and which earlier point vouches for it.
//!
//! After an attack nobody knows for how long the intruder was there, and a program of his that runs as root needs to come back only once. So what gives rights comes
//! back as it stood in an earlier point that nothing speaks against, and all else without.

use crate::judge::Intrusion;
use crate::{Available, Facts, HostName, Plan, SystemName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What of a point does not come back as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Withheld {
    /// Why anything is, for a person: part of a sentence.
    pub why: String,
    /// The earlier point that vouches for the rest; none where there is none.
    pub vouched_by: Option<String>,
    /// What: by its path, and what it gives.
    pub entries: BTreeMap<String, String>,
    /// Folders that nobody could look into: nothing below them gives rights when it is back.
    pub below: BTreeSet<String>,
    /// It isn't known what there is: nothing of the point gives rights.
    pub all: bool,
}

impl Withheld {
    /// Returns whether what gives rights at this path, absolute as it was captured, comes back without them.
    #[must_use]
    pub fn holds(&self, path: &str) -> bool {
        self.all
            || self.entries.contains_key(path)
            || self.below.iter().any(|folder| crate::paths::is_within(path, folder))
    }

    /// Returns whether there is nothing to withhold.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.entries.is_empty() && self.below.is_empty()
    }
}

/// The points that may vouch for others.
#[derive(Debug, Clone, Default)]
pub struct Vouchers {
    points: BTreeMap<SystemName, Vec<Facts>>,
    /// On each machine, what was found in its systems.
    struck: BTreeMap<HostName, Intrusion>,
}

impl Vouchers {
    /// Takes them from what there is of these systems. A sign in one system counts for all on its machine.
    #[must_use]
    pub fn new(plan: &Plan, available: &BTreeMap<SystemName, Available>, systems: &[SystemName]) -> Self {
        let mut struck: BTreeMap<HostName, Intrusion> = BTreeMap::new();
        for (name, system) in &plan.systems {
            let found = available.get(name).and_then(|there| Intrusion::find(&there.points));
            let Some(found) = found else { continue };
            let all = match struck.get(&system.host) {
                Some(others) => others.join(&found),
                None => found,
            };
            struck.insert(system.host.clone(), all);
        }
        let points = |name: &SystemName| Some((name.clone(), available.get(name)?.points.clone()));
        Self { points: systems.iter().filter_map(points).collect(), struck }
    }

    /// Returns the newest point of a system that was made before this one, from before the first sign of anything, and that nothing speaks against.
    #[must_use]
    pub fn point(&self, plan: &Plan, system: &SystemName, chosen: &Facts) -> Option<&Facts> {
        let host = plan.systems.get(system).map(|system| &system.host);
        let struck = host.and_then(|host| self.struck.get(host));
        let is_clean = |point: &Facts| {
            point.is_sound() && point.judgement.within.is_none() && !point.is_strange()
                || point.trusted && point.complete
        };
        let vouches = |point: &&Facts| {
            is_clean(point)
                && !point.gone
                && !point.is_of_unknown_hand()
                && point.id != chosen.id
                && point.counts() < chosen.counts()
                && struck.is_none_or(|struck| struck.spares(point))
        };
        self.points.get(system)?.iter().filter(vouches).max_by_key(|point| point.counts())
    }

    /// Returns whether something speaks against a point that somebody has chosen all the same.
    #[must_use]
    pub fn doubts(chosen: &Facts) -> bool {
        !chosen.trusted
            && (!chosen.is_base() || chosen.judgement.within.is_some() || chosen.unvouched.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Judgement, Rating};
    use jiff::Timestamp;

    fn point(id: &str, second: i64, rating: Rating) -> Facts {
        let judgement = Judgement { rating, ..Judgement::default() };
        let time = Timestamp::from_second(second).unwrap();
        Facts { id: id.into(), time, complete: true, judgement, ..Facts::default() }
    }

    fn plan() -> Plan {
        let system = |host: &str| crate::System { host: host.into(), ..Default::default() };
        Plan {
            systems: [("shop".into(), system("server")), ("mail".into(), system("server"))].into(),
            ..Plan::default()
        }
    }

    /// Returns the point that vouches for the last of these.
    fn vouches(points: Vec<Facts>) -> Option<String> {
        let chosen = points.last().cloned().unwrap();
        let available = [("shop".into(), Available { points, ..Available::default() })].into();
        let vouchers = Vouchers::new(&plan(), &available, &["shop".into()]);
        vouchers.point(&plan(), &"shop".into(), &chosen).map(|point| point.id.clone())
    }

    #[test]
    fn the_newest_earlier_point_that_nothing_speaks_against_vouches() {
        let last = || point("last", 900, Rating::Good);
        let is = |id: &str| Some(id.to_owned());
        assert_eq!(vouches(vec![last()]), None, "none vouches for itself");
        let (a, b) = (point("a", 100, Rating::Good), point("b", 200, Rating::Proven));
        assert_eq!(vouches(vec![a.clone(), b.clone(), last()]), is("b"));
        let bad = [Rating::Suspicious, Rating::Unsigned, Rating::Foreign, Rating::Future, Rating::Incomplete];
        for rating in bad {
            let bad = Facts { complete: rating != Rating::Incomplete, ..point("bad", 300, rating) };
            assert_eq!(vouches(vec![a.clone(), bad, last()]), is("a"), "{rating:?}");
        }
        let mut within = point("within", 300, Rating::Good);
        within.judgement.within = Some("a deletion".into());
        assert_eq!(vouches(vec![a.clone(), within, last()]), is("a"));
        let gone = Facts { gone: true, ..point("gone", 300, Rating::Good) };
        assert_eq!(vouches(vec![a.clone(), gone, last()]), is("a"));
        let trusted = Facts { trusted: true, ..point("trusted", 300, Rating::Suspicious) };
        assert_eq!(vouches(vec![a.clone(), trusted, last()]), is("trusted"));
        assert_eq!(vouches(vec![a, point("later", 1000, Rating::Good), last()]), is("a"));
    }

    #[test]
    fn what_is_withheld_is_known_by_its_path_and_all_of_it_where_nothing_is_known() {
        let withheld = Withheld {
            entries: [("/srv/su".to_owned(), "setuid".to_owned())].into(),
            below: ["/srv/closed".to_owned()].into(),
            ..Withheld::default()
        };
        assert!(withheld.holds("/srv/su") && withheld.holds("/srv/closed/a/b"));
        assert!(!withheld.holds("/srv/su2") && !withheld.holds("/srv/closed2") && !withheld.is_empty());
        let all = Withheld { all: true, ..Withheld::default() };
        assert!(all.holds("/anything") && !all.is_empty() && Withheld::default().is_empty());
        // A root that nobody could look into.
        let root = Withheld { below: ["/".to_owned()].into(), ..Withheld::default() };
        assert!(root.holds("/srv/su"));
    }

    #[test]
    fn a_point_that_something_speaks_against_is_doubted_unless_a_person_trusts_it() {
        assert!(!Vouchers::doubts(&point("a", 1, Rating::Proven)));
        let bad = point("a", 1, Rating::Suspicious);
        assert!(Vouchers::doubts(&bad) && !Vouchers::doubts(&Facts { trusted: true, ..bad }));
    }
}
