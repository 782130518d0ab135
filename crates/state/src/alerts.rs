//! What stands between two looks at whether all is well: signs of trouble (noted by whoever meets them, with since when), when the agent was seen, and the alerts that are open.
//!
//! Facts that change; what was told of them is a record.

use crate::ledger::{json, parse};
use crate::{Expect, Result, State};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const SIGNS: &str = "sign/";
const ALERTS: &str = "alert/open/";
const BEAT: &str = "alert/agent";
const WATCHED: &str = "alert/watched";
const AWAKE: &str = "alert/awake";
const SUMMARY: &str = "alert/summary";
const REACHED: &str = "alert/reached/";
const STANDS: &str = "alert/stands/";
const DISMISSED: &str = "alert/dismissed/";
/// What is being done, for errors.
const NOTE: &str = "note an alert";
/// An agent that gave no sign for so long was off, or its machine was asleep.
const ASLEEP: SignedDuration = SignedDuration::from_mins(5);
/// How much newer a time must be to be noted anew.
const GRAIN: SignedDuration = SignedDuration::from_secs(30);

/// A sign of trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// Since when.
    pub since: Timestamp,
    /// What was seen last.
    pub why: String,
    /// Whether it may pass by itself.
    pub may_pass: bool,
}

/// When the agent was seen last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// When.
    pub at: Timestamp,
    /// Somebody has stopped it.
    pub stopped: bool,
}

/// A trouble that people are told of.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Alerted {
    /// Its kind and what it is about: `rpo/shop`.
    pub alert: String,
    /// `begun`, `again` or `over`.
    pub is: String,
    /// Since when it is.
    pub since: Timestamp,
    /// What was seen.
    pub seen: String,
    /// Who is told, in order; nobody where the plan doesn't say how.
    pub people: Vec<String>,
}

impl State {
    /// Notes a sign of trouble under a name like `vault/cloud`, or that there is none. It is one trouble, since when it was first met, as long as nobody has seen it gone.
    pub fn note_sign(&self, name: &str, seen: Option<(&str, bool)>, now: Timestamp) -> Result<()> {
        let key = format!("{SIGNS}{name}");
        let known = self.kv().get(&key)?;
        match (seen, known) {
            (None, None) => {}
            (None, Some(_)) => {
                let _ = self.kv().delete(&key, Expect::Any)?;
            }
            (Some((why, may_pass)), known) => {
                let known: Option<Sign> = known.and_then(|known| parse(&key, &known.value).ok());
                let since = known.as_ref().map_or(now, |known| known.since.min(now));
                let sign = Sign { since, why: why.to_owned(), may_pass };
                if known.as_ref() != Some(&sign) {
                    let _ = self.kv().put(&key, &json(NOTE, &sign)?, Expect::Any)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the signs of trouble whose names begin so, by the rest of their names.
    pub fn signs(&self, of: &str) -> Result<BTreeMap<String, Sign>> {
        self.named(&format!("{SIGNS}{of}"))
    }

    /// Notes up to which instant a system's log is in the vaults.
    pub fn note_reached(&self, system: &str, until: Timestamp) -> Result<()> {
        let key = format!("{REACHED}{system}");
        let known: Option<Timestamp> = self.one(&key)?;
        if known.is_none_or(|known| until.duration_since(known).abs() >= GRAIN) {
            let _ = self.kv().put(&key, &json(NOTE, &until)?, Expect::Any)?;
        }
        Ok(())
    }

    /// Returns up to which instant each system's log is in the vaults, as far as was noted here.
    pub fn reached(&self) -> Result<BTreeMap<String, Timestamp>> {
        self.named(REACHED)
    }

    /// Notes when the newest whole point of a system was made that the vaults hold; `None`: they hold none.
    pub fn note_stands(&self, system: &str, made: Option<Timestamp>) -> Result<()> {
        let key = format!("{STANDS}{system}");
        let _ = match made {
            Some(made) => self.kv().put(&key, &json(NOTE, &made)?, Expect::Any)?,
            None => self.kv().delete(&key, Expect::Any)?,
        };
        Ok(())
    }

    /// Returns when the newest whole point of each system was made, as the vaults showed it when they were asked last.
    pub fn stands(&self) -> Result<BTreeMap<String, Timestamp>> {
        self.named(STANDS)
    }

    /// Notes that the agent is alive, or was stopped.
    pub fn note_beat(&self, beat: &Beat) -> Result<()> {
        let known: Option<Beat> = self.one(BEAT).ok().flatten();
        let is_new = known.is_none_or(|known| beat.at.duration_since(known.at) > ASLEEP);
        if is_new && !beat.stopped {
            let _ = self.kv().put(AWAKE, &json(NOTE, &beat.at)?, Expect::Any)?;
        }
        let _ = self.kv().put(BEAT, &json(NOTE, beat)?, Expect::Any)?;
        Ok(())
    }

    /// Returns since when the agent has been at work without its machine having been asleep, or itself off, for long; `None` where there was none.
    pub fn awake_since(&self) -> Result<Option<Timestamp>> {
        self.one(AWAKE)
    }

    /// Returns when the agent was seen last; `None` where there was none, or nobody wants one any more.
    pub fn beat(&self) -> Result<Option<Beat>> {
        self.one(BEAT)
    }

    /// Forgets that there was an agent: nobody wants one here.
    pub fn forget_beat(&self) -> Result<()> {
        let _ = self.kv().delete(BEAT, Expect::Any)?;
        Ok(())
    }

    /// Notes that a person knows that the plan has a system no more.
    pub fn dismiss(&self, system: &str, now: Timestamp) -> Result<()> {
        let _ = self.kv().put(&format!("{DISMISSED}{system}"), &json(NOTE, &now)?, Expect::Any)?;
        Ok(())
    }

    /// Returns the systems of which a person knows that the plan has them no more, and since when.
    pub fn dismissed(&self) -> Result<BTreeMap<String, Timestamp>> {
        self.named(DISMISSED)
    }

    /// Returns since when anybody looks here whether all is well; from now on, if nobody did.
    pub fn watched_since(&self, now: Timestamp) -> Result<Timestamp> {
        self.first(WATCHED, now)
    }

    /// Returns when the last summary was sent; before the first, since when it is waited for.
    pub fn summarised(&self, now: Timestamp) -> Result<Timestamp> {
        self.first(SUMMARY, now)
    }

    /// Notes that a summary is sent now; `false` if somebody else does.
    pub fn summarise(&self, before: Timestamp, now: Timestamp) -> Result<bool> {
        let Some(found) = self.kv().get(SUMMARY)? else { return Ok(false) };
        if parse::<Timestamp>(SUMMARY, &found.value)? != before {
            return Ok(false);
        }
        let put = self.kv().put(SUMMARY, &json(NOTE, &now)?, Expect::Revision(found.revision))?;
        Ok(matches!(put, crate::Outcome::Done(_)))
    }

    /// Returns the alerts that are open, whatever they hold, by their keys. One that can't be read (a newer program has noted it) keeps no other from being told.
    pub fn alerts<T: serde::de::DeserializeOwned>(&self) -> Result<BTreeMap<String, T>> {
        let found = self.kv().list(ALERTS)?.into_iter();
        let read = |(key, found): (String, crate::Versioned)| {
            let name = key.strip_prefix(ALERTS).unwrap_or_default().to_owned();
            Some((name, parse(&key, &found.value).ok()?))
        };
        Ok(found.filter_map(read).collect())
    }

    /// Notes an alert that is open.
    pub fn put_alert<T: Serialize>(&self, key: &str, alert: &T) -> Result<()> {
        let _ = self.kv().put(&format!("{ALERTS}{key}"), &json(NOTE, alert)?, Expect::Any)?;
        Ok(())
    }

    /// Forgets an alert that is over.
    pub fn end_alert(&self, key: &str) -> Result<()> {
        let _ = self.kv().delete(&format!("{ALERTS}{key}"), Expect::Any)?;
        Ok(())
    }

    fn first(&self, key: &str, now: Timestamp) -> Result<Timestamp> {
        if let Some(found) = self.one::<Timestamp>(key)?.filter(|found| *found <= now) {
            return Ok(found);
        }
        let _ = self.kv().put(key, &json(NOTE, &now)?, Expect::Any)?;
        Ok(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_since_when_it_was_first_met_until_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        state.note_sign("vault/near", Some(("no route", true)), at(10)).unwrap();
        state.note_sign("vault/near", Some(("gone", false)), at(20)).unwrap();
        let sign = Sign { since: at(10), why: "gone".into(), may_pass: false };
        assert_eq!(state.signs("vault/").unwrap(), [("near".to_owned(), sign)].into());
        state.note_sign("vault/near", None, at(30)).unwrap();
        assert!(state.signs("").unwrap().is_empty());
        state.note_sign("vault/near", Some(("no route", true)), at(40)).unwrap();
        assert_eq!(state.signs("vault/").unwrap()["near"].since, at(40));
    }

    #[test]
    fn an_agent_is_awake_from_when_it_came_back_after_a_long_silence() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(state.awake_since().unwrap(), None);
        for (second, stopped, awake) in [
            (1_000, false, 1_000),
            (1_015, false, 1_000),
            (1_020, true, 1_000),
            (1_100, false, 1_000),
            // A night.
            (30_000, false, 30_000),
            (30_015, false, 30_000),
        ] {
            state.note_beat(&Beat { at: at(second), stopped }).unwrap();
            assert_eq!(state.awake_since().unwrap(), Some(at(awake)), "{second}");
        }
    }

    #[test]
    fn an_alert_that_can_t_be_read_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        state.put_alert("backup/shop", &1).unwrap();
        state.put_alert("unheard/of", &"of a newer program").unwrap();
        assert_eq!(state.alerts::<u64>().unwrap(), [("backup/shop".to_owned(), 1)].into());
    }

    #[test]
    fn of_two_that_would_send_a_summary_one_does() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let before = state.summarised(at(10)).unwrap();
        assert_eq!(state.summarised(at(11)).unwrap(), at(10));
        assert!(state.summarise(before, at(20)).unwrap());
        assert!(!state.summarise(before, at(20)).unwrap());
        assert_eq!(state.summarised(at(21)).unwrap(), at(20));
    }
}
