//! The plan that was accepted: a record says which, by whom and how, and its text lies beside, by which the agent goes on when somebody else has changed the file.

use crate::ledger::{json, parse};
use crate::{Body, Expect, Record, Result, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const TEXT: &str = "plan/text/";
/// What is being done, for errors.
const NOTE: &str = "note the plan that was accepted";
/// How many bytes of a text go under one key: a plan may be longer than a value.
const PIECE: usize = 512 << 10;

/// A plan that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Accepted {
    /// Where it lies.
    pub path: String,
    /// The hash of its files.
    pub hash: String,
    /// The hash of the one that it takes the place of, if there was one.
    pub before: Option<String>,
    /// Who.
    pub by: String,
    /// `said` (by a person who has seen it), `first` (the agent's first start with it), `own` (nobody but the agent's own user could have written it).
    pub how: String,
}

/// Returns which plan at this path was accepted last, and its record.
#[must_use]
pub fn accepted<'r>(records: &'r [Record], path: &str) -> Option<(&'r Record, &'r Accepted)> {
    records.iter().rev().find_map(|record| match &record.body {
        Body::Plan(accepted) if accepted.path == path => Some((record, accepted)),
        _ => None,
    })
}

impl State {
    /// Notes that a plan was accepted, with its files: of each the name and the text.
    pub fn accept_plan(
        &self,
        accepted: Accepted,
        files: &[(String, String)],
        now: Timestamp,
    ) -> Result<Record> {
        let (hash, before) = (accepted.hash.clone(), accepted.before.clone());
        let bytes = json(NOTE, &files)?;
        let pieces = bytes.chunks(PIECE).enumerate();
        let pieces: Vec<_> =
            pieces.map(|(n, piece)| (format!("{TEXT}{hash}/{n:06}"), piece.to_vec())).collect();
        // The text first: what a record names is there.
        self.kv().put_all(&pieces)?;
        let record = self.append(Body::Plan(accepted), now)?;
        if let Some(before) = before {
            let records = self.records()?;
            let mut last = BTreeMap::new();
            for record in &records {
                if let Body::Plan(one) = &record.body {
                    last.insert(&one.path, &one.hash);
                }
            }
            if !last.values().any(|hash| **hash == before) {
                self.forget_text(&before)?;
            }
        }
        Ok(record)
    }

    /// Returns the files of an accepted plan, of each the name and the text; `None` where they aren't kept.
    pub fn plan_text(&self, hash: &str) -> Result<Option<Vec<(String, String)>>> {
        let key = format!("{TEXT}{hash}/");
        let pieces = self.kv().list(&key)?;
        if pieces.is_empty() {
            return Ok(None);
        }
        let bytes: Vec<u8> = pieces.into_iter().flat_map(|(_, piece)| piece.value).collect();
        parse(&key, &bytes).map(Some)
    }

    fn forget_text(&self, hash: &str) -> Result<()> {
        for (key, _) in self.kv().list(&format!("{TEXT}{hash}/"))? {
            let _ = self.kv().delete(&key, Expect::Any)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_that_was_accepted_last_is_known_with_its_text_and_those_before_by_their_records() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let accept = |path: &str, hash: &str, before: Option<&str>, text: &str| {
            let (path, hash, before) = (path.into(), hash.into(), before.map(str::to_owned));
            let accepted = Accepted { path, hash, before, by: "root".into(), how: "said".into() };
            let files = [("plan.toml".to_owned(), text.to_owned())];
            state.accept_plan(accepted, &files, Timestamp::UNIX_EPOCH).unwrap();
        };
        let long = "é".repeat(PIECE);
        accept("/a", "1", None, "one");
        accept("/b", "2", None, "two");
        accept("/a", "3", Some("1"), &long);
        let records = state.records().unwrap();
        let hash = |path| accepted(&records, path).map(|(_, accepted)| accepted.hash.as_str());
        assert_eq!((hash("/a"), hash("/b"), hash("/c")), (Some("3"), Some("2"), None));
        let text = |hash: &str| state.plan_text(hash).unwrap().map(|files| files[0].1.clone());
        assert_eq!((text("1"), text("2"), text("3")), (None, Some("two".into()), Some(long.clone())));
        // One that is in force at another place as well stays.
        accept("/b", "3", Some("2"), &long);
        accept("/a", "4", Some("3"), "four");
        assert_eq!((text("2"), text("3")), (None, Some(long)));
        assert_eq!(records.len(), 3);
    }
}
