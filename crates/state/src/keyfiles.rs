//! Which key files each vault had, as this machine saw it: one that nobody here has made, or that was removed and comes back, opens the vault for somebody.

use crate::ledger::json;
use crate::{Expect, Result, State};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const KEYFILES: &str = "keyfile/";
/// Where is noted that one is about to be made here, and for how long that counts: whoever makes it may be killed before he can say which it is.
const MAKING: &str = "keymaking/";
const MADE_WITHIN: SignedDuration = SignedDuration::from_hours(1);
/// So long one is told of that appeared.
const TOLD: SignedDuration = SignedDuration::from_hours(24);
/// What is being done, for errors.
const NOTE: &str = "note a key of a vault";

/// A key file that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct KeyFile {
    /// It is there no more, since it was looked for.
    gone: bool,
    /// When it appeared although nobody here has made it, and whether it was there before.
    odd: Option<(Timestamp, bool)>,
}

/// A key file that appeared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OddKey {
    /// Its name.
    pub key: String,
    /// It was removed, and is there again.
    pub came_back: bool,
    /// When this machine saw it.
    pub since: Timestamp,
}

impl State {
    /// Notes the key files that a vault has, and returns those that appeared within a day although nobody here has made them. What is there at the first look counts as
    /// known.
    pub fn see_keys(&self, vault: &str, there: &BTreeSet<String>, now: Timestamp) -> Result<Vec<OddKey>> {
        let mut known = self.keys_seen(vault)?;
        let is_first = known.is_empty();
        let is_made = !is_first && self.makes_key(vault, now)?;
        for key in there {
            let seen = known.get(key);
            let odd = match seen {
                _ if is_first => None,
                None if is_made => None,
                Some(seen) if !seen.gone => continue,
                seen => Some((now, seen.is_some())),
            };
            let seen = KeyFile { gone: false, odd };
            self.note_key(vault, key, &seen)?;
            known.insert(key.clone(), seen);
        }
        for (key, seen) in known.iter_mut().filter(|(key, seen)| !seen.gone && !there.contains(*key)) {
            seen.gone = true;
            self.note_key(vault, key, seen)?;
        }
        let odd = known.into_iter().filter(|(_, seen)| !seen.gone).filter_map(|(key, seen)| {
            let (since, came_back) = seen.odd?;
            (now.duration_since(since) < TOLD).then_some(OddKey { key, came_back, since })
        });
        Ok(odd.collect())
    }

    /// Notes that a key file is about to be made here.
    pub fn making_key(&self, vault: &str, now: Timestamp) -> Result<()> {
        let _ = self.kv().put(&format!("{MAKING}{vault}"), &json(NOTE, &now)?, Expect::Any)?;
        Ok(())
    }

    fn makes_key(&self, vault: &str, now: Timestamp) -> Result<bool> {
        let noted = self.kv().get(&format!("{MAKING}{vault}"))?;
        let since = noted.and_then(|noted| serde_json::from_slice::<Timestamp>(&noted.value).ok());
        Ok(since.is_some_and(|since| now.duration_since(since).abs() < MADE_WITHIN))
    }

    /// Notes a key file that was made here, or that a person knows.
    pub fn know_key(&self, vault: &str, key: &str) -> Result<()> {
        let _ = self.kv().delete(&format!("{MAKING}{vault}"), Expect::Any)?;
        // Before the first look nothing is odd, and that is to stay so.
        match self.keys_seen(vault)?.is_empty() {
            true => Ok(()),
            false => self.note_key(vault, key, &KeyFile::default()),
        }
    }

    /// Notes that a key file was removed.
    pub fn key_removed(&self, vault: &str, key: &str) -> Result<()> {
        self.note_key(vault, key, &KeyFile { gone: true, odd: None })
    }

    /// Forgets the key files of a vault: another takes its name.
    pub(crate) fn forget_keys(&self, vault: &str) -> Result<()> {
        for key in self.keys_seen(vault)?.keys() {
            let _ = self.kv().delete(&format!("{KEYFILES}{vault}/{key}"), Expect::Any)?;
        }
        Ok(())
    }

    fn keys_seen(&self, vault: &str) -> Result<BTreeMap<String, KeyFile>> {
        self.named(&format!("{KEYFILES}{vault}/"))
    }

    fn note_key(&self, vault: &str, key: &str, seen: &KeyFile) -> Result<()> {
        let _ = self.kv().put(&format!("{KEYFILES}{vault}/{key}"), &json(NOTE, seen)?, Expect::Any)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_that_appears_or_comes_back_is_told_for_a_day_and_one_that_was_made_here_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let hour = |hour: i64| Timestamp::from_second(1_800_000_000 + hour * 3600).unwrap();
        let odd = |keys: &[&str], at| -> Vec<(String, bool)> {
            let there = keys.iter().map(|key| (*key).to_owned()).collect();
            let odd = state.see_keys("near", &there, hour(at)).unwrap();
            odd.into_iter().map(|odd| (odd.key, odd.came_back)).collect()
        };
        let none: Vec<(String, bool)> = Vec::new();
        assert_eq!(odd(&["a", "b"], 0), none, "the first look takes what it finds");
        state.know_key("near", "c").unwrap();
        assert_eq!(odd(&["a", "b", "c"], 1), none);
        state.key_removed("near", "b").unwrap();
        assert_eq!(odd(&["a", "c"], 2), none);
        assert_eq!(odd(&["a", "b", "c"], 3), [("b".to_owned(), true)]);
        assert_eq!(odd(&["a", "b", "c", "d"], 4), [("b".to_owned(), true), ("d".to_owned(), false)]);
        assert_eq!(odd(&["a", "b", "c", "d"], 27), [("d".to_owned(), false)]);
        assert_eq!(odd(&["a", "b", "c", "d"], 29), none);
        // Whoever hid it for a while shows it again.
        assert_eq!(odd(&["a", "b", "c"], 30), none);
        assert_eq!(odd(&["a", "b", "c", "d"], 31), [("d".to_owned(), true)]);
        state.know_key("near", "d").unwrap();
        assert_eq!(odd(&["a", "b", "c", "d"], 32), none);
        // Killed before it could say which: it is ours all the same, and later ones aren't.
        state.making_key("near", hour(33)).unwrap();
        assert_eq!(odd(&["a", "b", "c", "d", "f"], 33), none);
        assert_eq!(odd(&["a", "b", "c", "d", "f", "g"], 35), [("g".to_owned(), false)]);
        state.forget_vault("near").unwrap();
        assert_eq!(odd(&["e"], 36), none);
    }
}
