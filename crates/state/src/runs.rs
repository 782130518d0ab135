//! Recoveries that are under way: what was decided, and how far it is, so that another process can go on where one has died.
//!
//! A run exists from the instant its head is there, which is written last; what a process that died before has left counts for nothing.

use crate::ledger::{json, parse};
use crate::{Error, Expect, Kind, Outcome, Result, State, VALUE_BYTES_MAX};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const HEAD: &str = "recovery/head/";
/// What is being done, for errors.
const NOTE: &str = "note a recovery";

/// A recovery that was begun and hasn't come to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// When it began.
    pub started: Timestamp,
    /// The systems. Each has one open recovery at most.
    pub systems: Vec<String>,
    /// What was asked for, so that the same wish finds it again.
    pub wish: String,
    /// The start of the machine during which it began …
    pub boot: String,
    /// … and how many seconds that was ago: a clock that nobody sets.
    pub uptime: f64,
    /// What tells the plan that it was decided by from another; empty where that isn't known.
    #[serde(default)]
    pub plan: String,
    /// How many parts its book has.
    parts: usize,
    /// It has come to its end, not everything is done, and who wants to can still go on with it.
    #[serde(default)]
    left: bool,
}

impl Run {
    /// Returns a run that hasn't begun.
    #[must_use]
    pub fn new(
        id: String,
        started: Timestamp,
        systems: Vec<String>,
        wish: String,
        boot: String,
        uptime: f64,
    ) -> Self {
        Self { id, started, systems, wish, boot, uptime, plan: String::new(), parts: 0, left: false }
    }

    /// Returns under which name it lets nothing be removed from the vaults: the same for every process that carries it on.
    #[must_use]
    pub fn hold(&self) -> String {
        format!("recovery/{}", self.id)
    }

    /// Returns whether it is about one of these systems.
    pub fn is_about<'a>(&self, systems: impl IntoIterator<Item = &'a str>) -> bool {
        systems.into_iter().any(|system| self.systems.iter().any(|name| name == system))
    }
}

impl State {
    /// Begins a run: what was decided is kept with it. `Err` holds the open run of one of its systems. Its caller sees to it that no two begin
    /// at once.
    pub fn begin_recovery(&self, run: &Run, book: &[u8]) -> Result<std::result::Result<(), Run>> {
        let open = self.open_recoveries()?;
        if let Some(other) =
            open.into_iter().find(|other| other.systems.iter().any(|system| run.systems.contains(system)))
        {
            return Ok(Err(other));
        }
        let over: Vec<Run> = self
            .left_recoveries()?
            .into_iter()
            .filter(|left| left.is_about(run.systems.iter().map(String::as_str)))
            .collect();
        let parts: Vec<&[u8]> = book.chunks(VALUE_BYTES_MAX).collect();
        for (at, part) in parts.iter().enumerate() {
            let _ = self.kv().put(&part_key(&run.id, at), part, Expect::Any)?;
        }
        let head = Run { parts: parts.len(), ..run.clone() };
        match self.kv().put(&format!("{HEAD}{}", run.id), &json(NOTE, &head)?, Expect::Absent)? {
            Outcome::Done(_) => {}
            Outcome::Conflict(_) => return Ok(Err(head)),
        }
        // No sooner: killed in between, nothing is forgotten that was done.
        for left in over {
            self.end_recovery(&left)?;
        }
        Ok(Ok(()))
    }

    /// Puts another book in the place of a run's, with the notes that belong to it, all at one instant: its plan was corrected. Returns the run as it is now.
    pub fn rebook_recovery<N: Serialize>(
        &self,
        run: &Run,
        book: &[u8],
        notes: &[(String, N)],
    ) -> Result<Run> {
        let parts: Vec<&[u8]> = book.chunks(VALUE_BYTES_MAX).collect();
        let head = Run { parts: parts.len(), left: false, ..run.clone() };
        let mut values: Vec<_> =
            parts.iter().enumerate().map(|(at, part)| (part_key(&run.id, at), part.to_vec())).collect();
        for (name, note) in notes {
            values.push((note_key(&run.id, name), json(NOTE, note)?));
        }
        values.push((format!("{HEAD}{}", run.id), json(NOTE, &head)?));
        self.kv().put_all(&values)?;
        Ok(head)
    }

    /// Returns the runs that have not come to their end, oldest first.
    pub fn open_recoveries(&self) -> Result<Vec<Run>> {
        let mut runs = self.recoveries()?;
        runs.retain(|run| !run.left);
        Ok(runs)
    }

    /// Returns the runs that have come to their end with something left to do, oldest first. They go when another one of their systems begins.
    pub fn left_recoveries(&self) -> Result<Vec<Run>> {
        let mut runs = self.recoveries()?;
        runs.retain(|run| run.left);
        Ok(runs)
    }

    fn recoveries(&self) -> Result<Vec<Run>> {
        let mut runs: Vec<Run> = self.named(HEAD)?.into_values().collect();
        runs.sort_by_key(|run| run.started);
        Ok(runs)
    }

    /// Ends a run that has something left to do: who wants to can still go on with it (`left`), or does so.
    pub fn leave_recovery(&self, run: &Run, left: bool) -> Result<()> {
        let key = format!("{HEAD}{}", run.id);
        // What another process has ended meanwhile stays ended.
        if let Some(found) = self.kv().get(&key)? {
            let head = Run { left, ..parse(&key, &found.value)? };
            let _ = self.kv().put(&key, &json(NOTE, &head)?, Expect::Revision(found.revision))?;
        }
        Ok(())
    }

    /// Says something to whoever carries out a run.
    pub fn say_to_recovery(&self, id: &str, word: &impl Serialize) -> Result<()> {
        let now = Timestamp::now().as_nanosecond();
        // Two in the same nanosecond: the next one is free.
        for more in 0.. {
            let key = format!("{}{:020}", said_key(id), now + more);
            if matches!(self.kv().put(&key, &json(NOTE, word)?, Expect::Absent)?, Outcome::Done(_)) {
                break;
            }
        }
        Ok(())
    }

    /// Returns what was said to whoever carries out a run, oldest first, with the key of each.
    pub fn said_to_recovery<T: serde::de::DeserializeOwned>(&self, id: &str) -> Result<Vec<(String, T)>> {
        let said = self.kv().list(&said_key(id))?.into_iter();
        said.map(|(key, word)| Ok((key.clone(), parse(&key, &word.value)?))).collect()
    }

    /// Forgets something that was said: it is done.
    pub fn heard_by_recovery(&self, key: &str) -> Result<()> {
        let _ = self.kv().delete(key, Expect::Any)?;
        Ok(())
    }

    /// Returns what was decided for a run.
    pub fn recovery_book(&self, run: &Run) -> Result<Vec<u8>> {
        let mut book = Vec::new();
        for at in 0..run.parts {
            let key = part_key(&run.id, at);
            let part = self.kv().get(&key)?;
            let gone = || Error::new(format!("read {key}"), Kind::Corrupt("it is gone".into()));
            book.extend_from_slice(&part.ok_or_else(gone)?.value);
        }
        Ok(book)
    }

    /// Notes things of a run under their names, over what was there: all of them or none.
    pub fn note_recovery<N: Serialize>(&self, id: &str, notes: &[(String, N)]) -> Result<()> {
        let values = notes.iter().map(|(name, note)| Ok((note_key(id, name), json(NOTE, note)?)));
        self.kv().put_all(&values.collect::<Result<Vec<_>>>()?)
    }

    /// Notes what those who watch a run are shown, over what was there.
    pub fn show_recovery(&self, id: &str, shown: &impl Serialize) -> Result<()> {
        let _ = self.kv().put(&shown_key(id), &json(NOTE, shown)?, Expect::Any)?;
        Ok(())
    }

    /// Returns what those who watch a run are shown, if anything was noted.
    pub fn shown_of_recovery<T: serde::de::DeserializeOwned>(&self, id: &str) -> Result<Option<T>> {
        self.one(&shown_key(id))
    }

    /// Returns the notes of a run, by their names.
    pub fn recovery_notes<T: serde::de::DeserializeOwned>(&self, id: &str) -> Result<BTreeMap<String, T>> {
        self.named(&note_key(id, ""))
    }

    /// Ends a run: nothing of it stays.
    pub fn end_recovery(&self, run: &Run) -> Result<()> {
        // The head first: without it nothing else counts.
        let _ = self.kv().delete(&format!("{HEAD}{}", run.id), Expect::Any)?;
        for (key, _) in self.kv().list(&format!("recovery/run/{}/", run.id))? {
            let _ = self.kv().delete(&key, Expect::Any)?;
        }
        Ok(())
    }
}

fn part_key(id: &str, at: usize) -> String {
    format!("recovery/run/{id}/book/{at:04}")
}

fn said_key(id: &str) -> String {
    format!("recovery/run/{id}/said/")
}

fn shown_key(id: &str) -> String {
    format!("recovery/run/{id}/shown")
}

fn note_key(id: &str, name: &str) -> String {
    format!("recovery/run/{id}/note/{name}")
}
