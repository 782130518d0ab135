//! Which keys sign points for which machine, as this one knows it; and what a person has accepted although nobody signed it. A vault can be forged, and this can't by one
//! who has no more than the vault.

use crate::ledger::json;
use crate::{Error, Expect, Outcome, Result, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const SIGNERS: &str = "signer/";
const ACCEPTED: &str = "accepted/";
/// Letters of a machine's name: more has none that is one.
const NAME_MAX: usize = 255;

/// How a key came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// It is this machine's own.
    Own,
    /// It was the first that was seen to sign for that machine.
    First,
    /// A person has said that it is right.
    Accepted,
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
        for (name, versioned) in self.kv().list(SIGNERS)? {
            let signer = serde_json::from_slice(&versioned.value)
                .map_err(|error| Error::corrupt(&name, error.to_string()))?;
            // A machine's name may hold anything, a key is hexadecimal.
            let of = name.strip_prefix(SIGNERS).and_then(|rest| rest.rsplit_once('/'));
            if let Some((host, key)) = of {
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
}
