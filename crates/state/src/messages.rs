//! Messages to people that can be acknowledged, and calls that go from one person to the next until one answers.
//!
//! Both are facts that change, so they stand beside the records; what happened is recorded as well. Neither holds a secret: what an
//! acknowledgement is signed with, and the signature, are never here.

use crate::ledger::{json, parse};
use crate::{Error, Expect, Kind, Outcome, Result, Revision, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const MESSAGES: &str = "message/";
const CALLS: &str = "call/";
/// What is being done, for errors.
const NOTE: &str = "note a message";

/// A message to one person by one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Message {
    /// To whom: a name of the plan.
    pub person: String,
    /// What it is about, in a line.
    pub about: String,
    /// When it was written.
    pub written: Timestamp,
    /// From when on it can't be acknowledged.
    pub expires: Timestamp,
    /// When it was acknowledged, and how: `link` or `command`.
    pub acknowledged: Option<(Timestamp, String)>,
}

/// Something that stands in the state, and what it takes to change it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<T> {
    /// What stands there.
    pub value: T,
    /// When it was written; it is changed only if nobody else has changed it since.
    pub revision: Revision,
}

/// What came of telling a person something. Never what signs an acknowledgement, nor an address that is a secret.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Notified {
    /// Who.
    pub person: String,
    /// About what, in a line.
    pub about: String,
    /// The call that it belongs to; empty for a test.
    pub call: String,
    /// Each try, in order.
    pub tries: Vec<Tried>,
    /// Whether any of them was taken.
    pub reached: bool,
}

/// One try to tell a person something by one way.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tried {
    /// The way, as the plan writes it.
    pub way: String,
    /// What carried it, for a person; empty where nothing was tried.
    pub through: String,
    /// The message's id; empty where nothing was tried.
    pub message: String,
    /// `taken`, `not_yet` (it may be taken later), `failed` (it never will be), `late` (nobody knows) or `skipped`.
    pub outcome: String,
    /// Why it was not taken; of what was taken, that nothing in its answer says so.
    pub why: Option<String>,
    /// How long it took.
    pub seconds: f64,
}

/// That a person has acknowledged a message.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Acknowledged {
    /// The message's id.
    pub message: String,
    /// Who.
    pub person: String,
    /// About what.
    pub about: String,
    /// `link` or `command`.
    pub by: String,
}

impl State {
    /// Returns a message.
    pub fn message(&self, id: &str) -> Result<Option<Found<Message>>> {
        self.fact(&format!("{MESSAGES}{id}"))
    }

    /// Notes a message that is about to be sent. That its name is taken already is an error.
    pub fn add_message(&self, id: &str, message: &Message) -> Result<()> {
        match self.kv().put(&format!("{MESSAGES}{id}"), &json(NOTE, message)?, Expect::Absent)? {
            Outcome::Done(_) => Ok(()),
            Outcome::Conflict(_) => Err(Error::new(NOTE, Kind::Busy)),
        }
    }

    /// Notes that a message was acknowledged; `false` if somebody changed it meanwhile, and nothing was noted.
    pub fn set_message(&self, id: &str, message: &Message, stands: Revision) -> Result<bool> {
        let put =
            self.kv().put(&format!("{MESSAGES}{id}"), &json(NOTE, message)?, Expect::Revision(stands))?;
        Ok(matches!(put, Outcome::Done(_)))
    }

    /// Forgets the messages that expired before this instant.
    pub fn forget_messages(&self, before: Timestamp) -> Result<()> {
        for (key, versioned) in self.kv().list(MESSAGES)? {
            let message: Message = parse(&key, &versioned.value)?;
            if message.expires < before {
                let _ = self.kv().delete(&key, Expect::Revision(versioned.revision))?;
            }
        }
        Ok(())
    }

    /// Returns a call, whatever it holds.
    pub fn call<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<Found<T>>> {
        self.fact(&format!("{CALLS}{name}"))
    }

    /// Returns the names of all calls.
    pub fn calls(&self) -> Result<Vec<String>> {
        let keys = self.kv().list(CALLS)?.into_iter();
        Ok(keys.map(|(key, _)| key.get(CALLS.len()..).unwrap_or_default().to_owned()).collect())
    }

    /// Puts a call where `stands` says what is there, `None` for nothing. `None` if somebody else was faster.
    pub fn put_call<T: Serialize>(
        &self,
        name: &str,
        call: &T,
        stands: Option<Revision>,
    ) -> Result<Option<Revision>> {
        let expect = stands.map_or(Expect::Absent, Expect::Revision);
        Ok(match self.kv().put(&format!("{CALLS}{name}"), &json(NOTE, call)?, expect)? {
            Outcome::Done(revision) => Some(revision),
            Outcome::Conflict(_) => None,
        })
    }

    /// Forgets a call.
    pub fn end_call(&self, name: &str) -> Result<()> {
        let _ = self.kv().delete(&format!("{CALLS}{name}"), Expect::Any)?;
        Ok(())
    }

    fn fact<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<Found<T>>> {
        let Some(versioned) = self.kv().get(key)? else { return Ok(None) };
        Ok(Some(Found { value: parse(key, &versioned.value)?, revision: versioned.revision }))
    }
}
