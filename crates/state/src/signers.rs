//! Which keys sign points for which machine, as this one knows it; what a person has accepted although nobody signed it; and which unsigned points were there before a key
//! of their machine was known. A vault can be forged, and this can't by one who has no more than the vault.

use crate::ledger::{hash, json};
use crate::{Expect, Outcome, Result, Seen, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const SIGNERS: &str = "signer/";
const ACCEPTED: &str = "accepted/";
/// The points from before: the value is the point, as whoever made it may have called it anything.
const EARLY: &str = "early/";
/// The inventory was looked through once for points from before.
const EARLY_NOTED: &str = "early-noted";
/// What is longer names no point of ours.
const POINT_MAX: usize = 1024;
/// Letters of a machine's name: more has none that is one.
const NAME_MAX: usize = 255;

/// How a key came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// It is this machine's own.
    Own,
    /// It alone was seen to sign for that machine.
    First,
    /// A person has said that it is right.
    Accepted,
    /// In a way that only a newer program knows.
    #[serde(other)]
    Newer,
}

/// A key that signs points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    /// Since when it is known here.
    pub since: Timestamp,
    /// How it came to be.
    pub how: How,
}

/// The keys that are known, by the machine that they sign for and by their public halves.
pub type Signers = BTreeMap<String, BTreeMap<String, Signer>>;

impl State {
    /// Returns the keys that are known.
    pub fn signers(&self) -> Result<Signers> {
        let mut signers = Signers::new();
        for (name, signer) in self.named(SIGNERS)? {
            // A machine's name may hold anything, a key is hexadecimal.
            if let Some((host, key)) = name.rsplit_once('/') {
                signers.entry(host.to_owned()).or_default().insert(key.to_owned(), signer);
            }
        }
        Ok(signers)
    }

    /// Notes that a key signs for a machine. Since when it is known stays as it was.
    pub fn know_signer(&self, host: &str, key: &str, how: How, now: Timestamp) -> Result<()> {
        if host.len() > NAME_MAX || key.contains('/') {
            return Ok(());
        }
        let value = json("note a key that signs points", &Signer { since: now, how })?;
        match self.kv().put(&format!("{SIGNERS}{host}/{key}"), &value, Expect::Absent)? {
            Outcome::Done(_) | Outcome::Conflict(_) => Ok(()),
        }
    }

    /// Notes that a person takes a point for the company's own, although no known key has signed it.
    pub fn accept(&self, point: &str, now: Timestamp) -> Result<()> {
        let _ = self.kv().put(&format!("{ACCEPTED}{point}"), now.to_string().as_bytes(), Expect::Any)?;
        Ok(())
    }

    /// Returns the points that a person has taken for the company's own.
    pub fn accepted(&self) -> Result<BTreeSet<String>> {
        let all = self.kv().list(ACCEPTED)?.into_iter();
        Ok(all.filter_map(|(key, _)| key.strip_prefix(ACCEPTED).map(str::to_owned)).collect())
    }

    /// Notes that these points, which nobody has signed, were there before a key of their machine was known: they stay as good as they were.
    pub fn note_early(&self, points: &[String]) -> Result<()> {
        let ours = points.iter().map(String::as_bytes).filter(|point| point.len() <= POINT_MAX);
        let named: Vec<_> = ours.map(|point| (format!("{EARLY}{}", hash(point)), point.to_vec())).collect();
        self.kv().put_all(&named)
    }

    /// Returns the points that were there before a key of their machine was known.
    pub fn early(&self) -> Result<BTreeSet<String>> {
        let all = self.kv().list(EARLY)?.into_iter();
        Ok(all.filter_map(|(_, versioned)| String::from_utf8(versioned.value).ok()).collect())
    }

    /// Returns whether the inventory was looked through for such points: that is done once.
    pub fn is_early_noted(&self) -> Result<bool> {
        Ok(self.kv().get(EARLY_NOTED)?.is_some())
    }

    /// Notes that it was.
    pub fn early_is_noted(&self, now: Timestamp) -> Result<()> {
        let _ = self.kv().put(EARLY_NOTED, now.to_string().as_bytes(), Expect::Any)?;
        Ok(())
    }

    /// Returns what this machine has seen in any vault, before an instant if one is given.
    pub fn seen_before(&self, before: Option<Timestamp>) -> Result<BTreeSet<String>> {
        let all = self.named::<Seen>("seen/")?.into_values();
        let known = all.filter(|seen| before.is_none_or(|before| seen.first < before));
        Ok(known.map(|seen| seen.point).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_for_its_machine_since_it_was_first_noted() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        state.know_signer("shop-1", "ab", How::Own, at(1)).unwrap();
        state.know_signer("shop-1", "ab", How::Accepted, at(9)).unwrap();
        state.know_signer("a/b", "cd", How::First, at(2)).unwrap();
        state.know_signer(&"x".repeat(2000), "cd", How::First, at(2)).unwrap();
        let signers = state.signers().unwrap();
        assert_eq!(signers["shop-1"]["ab"], Signer { since: at(1), how: How::Own });
        assert_eq!(signers["a/b"]["cd"].how, How::First);
        assert_eq!(signers.len(), 2);
        state.accept("id tree time", at(3)).unwrap();
        assert!(state.accepted().unwrap().contains("id tree time"));
    }

    #[test]
    fn what_was_there_before_a_key_was_known_is_noted_by_its_name_whatever_that_is() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(!state.is_early_noted().unwrap());
        state.saw_written("near", "a", "a tree 1", None, at(1)).unwrap();
        state.saw_written("far", "b", "b tree 2", None, at(9)).unwrap();
        assert_eq!(state.seen_before(Some(at(5))).unwrap(), ["a tree 1".to_owned()].into());
        assert_eq!(state.seen_before(None).unwrap().len(), 2);
        let odd = "\u{0}/é tree".to_owned();
        state.note_early(&["a tree 1".to_owned(), odd.clone(), "x".repeat(5000)]).unwrap();
        state.early_is_noted(at(9)).unwrap();
        assert_eq!(state.early().unwrap(), ["a tree 1".to_owned(), odd].into());
        assert!(state.is_early_noted().unwrap());
    }
}
