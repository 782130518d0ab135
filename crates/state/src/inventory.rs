//! What this machine itself has seen in each vault, and when by its own clock: what a vault, or a point, says of itself can be forged.

use crate::ledger::{json, parse};
use crate::{Expect, Outcome, Result, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A point that was seen in a vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its id and its content.
    pub point: String,
    /// When it was first seen.
    pub first: Timestamp,
    /// The last look before, which did not find it; `None` where there was none.
    pub unseen_at: Option<Timestamp>,
    /// The system that it said it is of (`NAME/log` for a log). Older notes don't tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
}

/// Why nothing is removed from any vault for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Since when.
    pub since: Timestamp,
    /// Why, for a person.
    pub reason: String,
    /// The systems that a recovery holds them for by itself, until they are back; of a person's hold, and of older ones, nothing is known.
    #[serde(default)]
    pub systems: Vec<String>,
    /// It was after an attack: only a person ends it.
    #[serde(default)]
    pub after_attack: bool,
}

impl Hold {
    /// Returns whether a recovery made it that has not brought its systems back, so that it ends by itself when they are.
    #[must_use]
    pub fn ends_by_itself(&self) -> bool {
        !self.systems.is_empty() && !self.after_attack
    }
}

const HOLD: &str = "hold/";
/// What is being done, for errors.
const NOTE: &str = "hold removals";
/// Up to which record the clock was wrong, as a person has said.
pub(crate) const FORGIVEN: &str = "clock-forgiven";

impl State {
    /// Returns the repository that stood behind a vault when it was last seen.
    pub fn vault_seen(&self, vault: &str) -> Result<Option<String>> {
        let found = self.kv().get(&format!("vault/{vault}"))?;
        Ok(found.map(|versioned| String::from_utf8_lossy(&versioned.value).into_owned()))
    }

    /// Remembers which repository stands behind a vault.
    pub fn remember_vault(&self, vault: &str, repository: &str) -> Result<()> {
        if self.vault_seen(vault)?.as_deref() != Some(repository) {
            let _ = self.kv().put(&format!("vault/{vault}"), repository.as_bytes(), Expect::Any)?;
        }
        Ok(())
    }

    /// Forgets a vault: a person has said that it is gone for good, or replaced.
    pub fn forget_vault(&self, vault: &str) -> Result<()> {
        let _ = self.kv().delete(&format!("vault/{vault}"), Expect::Any)?;
        self.unsee_all(vault)
    }

    /// Returns what was seen in a vault, by the names of its snapshots.
    pub fn seen(&self, vault: &str) -> Result<BTreeMap<String, Seen>> {
        self.named(&format!("seen/{vault}/"))
    }

    /// Notes a look at a whole vault: these snapshots, with their points and the systems of these, are there.
    pub fn see(&self, vault: &str, there: &[(String, String, Option<String>)], now: Timestamp) -> Result<()> {
        let key = format!("looked/{vault}");
        let before: Option<Timestamp> = match self.kv().get(&key)? {
            Some(versioned) => String::from_utf8_lossy(&versioned.value).parse().ok(),
            None => None,
        };
        let seen = self.seen(vault)?;
        for (snapshot, point, system) in there.iter().filter(|(snapshot, ..)| !seen.contains_key(snapshot)) {
            let (point, system) = (point.clone(), system.clone());
            self.note(vault, snapshot, &Seen { point, first: now, unseen_at: before, system })?;
        }
        let _ = self.kv().put(&key, now.to_string().as_bytes(), Expect::Any)?;
        Ok(())
    }

    /// Notes a snapshot that this machine has written itself, and the system that it is of.
    pub fn saw_written(
        &self,
        vault: &str,
        snapshot: &str,
        point: &str,
        system: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let (point, system) = (point.to_owned(), system.map(str::to_owned));
        self.note(vault, snapshot, &Seen { point, first: now, unseen_at: None, system })
    }

    fn note(&self, vault: &str, snapshot: &str, seen: &Seen) -> Result<()> {
        let value = json("note a point", seen)?;
        // Who was first is right.
        match self.kv().put(&format!("seen/{vault}/{snapshot}"), &value, Expect::Absent)? {
            Outcome::Done(_) | Outcome::Conflict(_) => Ok(()),
        }
    }

    /// Forgets a snapshot: it was removed on purpose.
    pub fn unsee(&self, vault: &str, snapshot: &str) -> Result<()> {
        let _ = self.kv().delete(&format!("seen/{vault}/{snapshot}"), Expect::Any)?;
        Ok(())
    }

    /// Forgets all that was seen in a vault.
    pub(crate) fn unsee_all(&self, vault: &str) -> Result<()> {
        for snapshot in self.seen(vault)?.keys() {
            self.unsee(vault, snapshot)?;
        }
        let _ = self.kv().delete(&format!("looked/{vault}"), Expect::Any)?;
        self.forget_keys(vault)
    }

    /// Returns since when a vault doesn't answer, as far as this machine knows.
    pub fn vault_silent_since(&self, vault: &str) -> Result<Option<Timestamp>> {
        let found = self.kv().get(&format!("silent/{vault}"))?;
        Ok(found.and_then(|versioned| String::from_utf8_lossy(&versioned.value).parse().ok()))
    }

    /// Notes whether a vault has answered: the next command needn't find out anew.
    pub fn note_answer(&self, vault: &str, has_answered: bool, now: Timestamp) -> Result<()> {
        let key = format!("silent/{vault}");
        match (has_answered, self.vault_silent_since(vault)?) {
            (true, Some(_)) => _ = self.kv().delete(&key, Expect::Any)?,
            (false, None) => _ = self.kv().put(&key, now.to_string().as_bytes(), Expect::Any)?,
            _ => {}
        }
        Ok(())
    }

    /// Notes that a person takes a point for good, whatever it looks like.
    pub fn trust(&self, point: &str, now: Timestamp) -> Result<()> {
        let _ = self.kv().put(&format!("trusted/{point}"), now.to_string().as_bytes(), Expect::Any)?;
        Ok(())
    }

    /// Returns whether a person took the point for good.
    pub fn is_trusted(&self, point: &str) -> Result<bool> {
        Ok(self.kv().get(&format!("trusted/{point}"))?.is_some())
    }

    /// Returns the points that a person took for good.
    pub fn trusted(&self) -> Result<Vec<String>> {
        let all = self.kv().list("trusted/")?;
        Ok(all.into_iter().filter_map(|(key, _)| key.strip_prefix("trusted/").map(str::to_owned)).collect())
    }

    /// Notes that these snapshots are about to be removed on purpose: whoever misses them later knows why.
    pub fn going(&self, vault: &str, snapshots: &[String]) -> Result<()> {
        for snapshot in snapshots {
            let _ = self.kv().put(&format!("going/{vault}/{snapshot}"), b"", Expect::Any)?;
        }
        Ok(())
    }

    /// Returns the snapshots of a vault that are about to be removed on purpose, or were when whoever did it died.
    pub fn about_to_go(&self, vault: &str) -> Result<BTreeSet<String>> {
        let prefix = format!("going/{vault}/");
        let names = self.kv().list(&prefix)?.into_iter();
        Ok(names.filter_map(|(key, _)| key.strip_prefix(&prefix).map(str::to_owned)).collect())
    }

    /// Forgets those that were about to go and are gone, so that nobody misses them; the others are as they were.
    pub fn settle_going(&self, vault: &str, is_there: impl Fn(&str) -> bool) -> Result<()> {
        let prefix = format!("going/{vault}/");
        for (key, _) in self.kv().list(&prefix)? {
            let snapshot = key.get(prefix.len()..).unwrap_or_default();
            if !is_there(snapshot) {
                self.unsee(vault, snapshot)?;
            }
            let _ = self.kv().delete(&key, Expect::Any)?;
        }
        Ok(())
    }

    fn latest_look(&self) -> Result<Option<Timestamp>> {
        let looks = self.kv().list("looked/")?;
        let times = looks.iter().filter_map(|(_, at)| String::from_utf8_lossy(&at.value).parse().ok());
        Ok(times.max())
    }

    /// Returns the latest instant at which this machine noted or recorded anything: a clock that shows less is wrong now, or was then.
    pub fn latest_sign(&self) -> Result<Option<Timestamp>> {
        let forgiven: u64 = match self.kv().get(FORGIVEN)? {
            Some(versioned) => String::from_utf8_lossy(&versioned.value).parse().unwrap_or(0),
            None => 0,
        };
        let recorded = self.records()?.into_iter().rfind(|record| record.number > forgiven);
        Ok(self.latest_look()?.max(recorded.map(|record| record.time)))
    }

    /// Takes this machine's clock for right: whatever was noted later than now, was noted by a clock that was wrong.
    pub fn trust_clock(&self, now: Timestamp) -> Result<()> {
        // A record can't be changed: up to here none counts.
        let newest = self.records()?.last().map_or(0, |record| record.number);
        let _ = self.kv().put(FORGIVEN, newest.to_string().as_bytes(), Expect::Any)?;
        for (key, at) in self.kv().list("looked/")? {
            if String::from_utf8_lossy(&at.value).parse::<Timestamp>().is_ok_and(|at| at > now) {
                let _ = self.kv().put(&key, now.to_string().as_bytes(), Expect::Any)?;
            }
        }
        for (key, versioned) in self.kv().list("seen/")? {
            let Ok(mut seen) = serde_json::from_slice::<Seen>(&versioned.value) else { continue };
            if seen.first > now || seen.unseen_at.is_some_and(|at| at > now) {
                (seen.first, seen.unseen_at) = (seen.first.min(now), None);
                let value = serde_json::to_vec(&seen).unwrap_or_default();
                let _ = self.kv().put(&key, &value, Expect::Any)?;
            }
        }
        Ok(())
    }

    /// Lets nothing be removed from any vault, until [`release`](Self::release) with the same `who`. An older hold of his stays.
    pub fn hold(&self, who: &str, reason: &str, now: Timestamp) -> Result<()> {
        let hold = Hold { since: now, reason: reason.to_owned(), systems: Vec::new(), after_attack: false };
        self.hold_as(who, &hold)
    }

    /// As [`hold`](Self::hold), with all that is known of it.
    pub fn hold_as(&self, who: &str, hold: &Hold) -> Result<()> {
        let _ = self.kv().put(&format!("{HOLD}{who}"), &json(NOTE, hold)?, Expect::Absent)?;
        Ok(())
    }

    /// Returns why nothing may be removed, if that is so: the oldest of the reasons.
    pub fn held(&self) -> Result<Option<Hold>> {
        Ok(self.holds()?.into_iter().next())
    }

    /// Returns everything for which nothing may be removed, oldest first.
    pub fn holds(&self) -> Result<Vec<Hold>> {
        let mut holds: Vec<Hold> = self.named(HOLD)?.into_values().collect();
        holds.sort_by_key(|hold| hold.since);
        Ok(holds)
    }

    /// Takes these systems out of what recoveries hold by themselves: they are back. What is held for none any more ends; what a person
    /// holds, or was held after an attack, stays.
    pub fn came_back(&self, systems: &[String]) -> Result<()> {
        for (key, versioned) in self.kv().list(HOLD)? {
            let mut hold: Hold = parse(&key, &versioned.value)?;
            let before = hold.systems.len();
            if !hold.ends_by_itself() {
                continue;
            }
            hold.systems.retain(|system| !systems.contains(system));
            // Whoever changed it meanwhile knew of something newer.
            let unchanged = Expect::Revision(versioned.revision);
            if hold.systems.is_empty() {
                let _ = self.kv().delete(&key, unchanged)?;
            } else if hold.systems.len() < before {
                let _ = self.kv().put(&key, &json(NOTE, &hold)?, unchanged)?;
            }
        }
        Ok(())
    }

    /// Ends one hold.
    pub fn release(&self, who: &str) -> Result<()> {
        let _ = self.kv().delete(&format!("{HOLD}{who}"), Expect::Any)?;
        Ok(())
    }

    /// Ends all holds: a person has said that it is over.
    pub fn release_all(&self) -> Result<()> {
        for (key, _) in self.kv().list(HOLD)? {
            let _ = self.kv().delete(&key, Expect::Any)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_point_keeps_the_time_at_which_it_was_first_seen() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let a = ("a".to_owned(), "point".to_owned(), Some("shop".to_owned()));
        let b = ("b".to_owned(), "other".to_owned(), None);
        state.see("local", std::slice::from_ref(&a), at(10)).unwrap();
        state.see("local", &[a, b], at(20)).unwrap();
        state.saw_written("local", "a", "forged", Some("mail"), at(30)).unwrap();
        let seen = state.seen("local").unwrap();
        assert_eq!((seen["a"].first, seen["a"].unseen_at), (at(10), None));
        assert_eq!(seen["a"].system.as_deref(), Some("shop"));
        assert_eq!((seen["b"].first, seen["b"].unseen_at), (at(20), Some(at(10))));
        assert!(state.seen("loc").unwrap().is_empty());
        state.forget_vault("local").unwrap();
        assert!(state.seen("local").unwrap().is_empty());
    }

    #[test]
    fn who_holds_releases_his_own_and_a_person_all() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        assert_eq!(state.held().unwrap(), None);
        state.hold("person", "ransomware", at(1)).unwrap();
        state.hold("recovery/1", "a recovery", at(2)).unwrap();
        state.hold("person", "another word", at(3)).unwrap();
        assert_eq!(state.held().unwrap().unwrap().reason, "ransomware");
        state.release("person").unwrap();
        assert_eq!(state.held().unwrap().unwrap().reason, "a recovery");
        state.release_all().unwrap();
        assert_eq!(state.held().unwrap(), None);
    }

    #[test]
    fn what_a_recovery_holds_by_itself_ends_when_all_its_systems_are_back_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let of = |systems: &[&str], after_attack| Hold {
            since: at(1),
            reason: "a recovery".into(),
            systems: systems.iter().map(ToString::to_string).collect(),
            after_attack,
        };
        state.hold_as("recovery/1", &of(&["shop", "mail"], false)).unwrap();
        state.came_back(&["shop".into(), "wiki".into()]).unwrap();
        assert_eq!(state.held().unwrap().unwrap().systems, ["mail"]);
        state.hold("person", "under investigation", at(2)).unwrap();
        state.hold_as("recovery/2", &of(&["mail"], true)).unwrap();
        state.came_back(&["mail".into()]).unwrap();
        let left: Vec<_> = state.holds().unwrap().into_iter().map(|hold| hold.reason).collect();
        assert_eq!(left, ["a recovery", "under investigation"]);
    }

    #[test]
    fn a_hold_of_before_its_systems_were_noted_is_for_a_person_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let old = br#"{"since":"2026-01-01T00:00:00Z","reason":"a recovery"}"#;
        let _ = state.kv().put(&format!("{HOLD}recovery/1"), old, Expect::Absent).unwrap();
        state.came_back(&["shop".into()]).unwrap();
        assert!(!state.held().unwrap().unwrap().ends_by_itself());
    }

    #[test]
    fn what_was_about_to_go_and_is_gone_is_missed_by_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        for name in ["a", "b", "c"] {
            state.saw_written("local", name, "point", None, at(1)).unwrap();
        }
        state.going("local", &["a".into(), "b".into()]).unwrap();
        assert!(state.about_to_go("local").unwrap().iter().eq(["a", "b"]));
        state.settle_going("local", |name| name == "b").unwrap();
        let seen: Vec<String> = state.seen("local").unwrap().into_keys().collect();
        assert_eq!(seen, ["b", "c"]);
        assert!(state.about_to_go("local").unwrap().is_empty());
    }

    #[test]
    fn a_clock_that_was_wrong_is_forgiven_when_a_person_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        state.see("local", &[("a".into(), "point".into(), None)], at(1_000_000)).unwrap();
        state.append(crate::Body::Rebuilt { points: 0 }, at(2_000_000)).unwrap();
        assert_eq!(state.latest_sign().unwrap(), Some(at(2_000_000)));
        state.trust_clock(at(10)).unwrap();
        assert_eq!(state.latest_sign().unwrap(), Some(at(10)));
        assert_eq!(state.seen("local").unwrap()["a"].first, at(10));
    }
}
