//! Append-only records, each sealed to the one before it by its hash; and the few facts that must be remembered.

use crate::chain::{HEAD, HEADLESS, Link, NEWEST, check_chain, no_head, read_head};
use crate::{
    Accepted, Acknowledged, Alerted, Error, Expect, Kv, Moment, Notified, Outcome, Result, Sqlite, newer,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// How often an append tries again when another process was faster. Each try costs one transaction.
const APPEND_TRIES: u32 = 100;

/// What happened. What was read from the outside is kept as text, so that a newer version's records still read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Body {
    /// A restore point was made, or not.
    Backup(Made),
    /// A vault was verified.
    Verification(Verification),
    /// Points were copied between vaults.
    Sync(Copied),
    /// Points were taken out of a vault, or room was given back.
    Prune(Pruned),
    /// A vault was repaired.
    Repair(Repaired),
    /// Systems were recovered.
    Recovery(Recovery),
    /// A key of a vault was made, removed or tried.
    Key(KeyEvent),
    /// It was tried whether a vault is immutable, and what ran out was held longer.
    Immutability(Immutability),
    /// A vault's own host fetched what the others hold.
    Pull(Pulled),
    /// A person was told something, or could not be.
    Notification(Notified),
    /// A person has acknowledged a message.
    Acknowledgement(Acknowledged),
    /// Something happened in an incident.
    Incident(Moment),
    /// People were told of a trouble, or that it is over.
    Alert(Alerted),
    /// A plan was accepted: what the agent goes by.
    Plan(Accepted),
    /// The state was made anew from the vaults: what was before is unknown.
    Rebuilt {
        /// How many points the vaults hold.
        points: u64,
    },
    /// What a newer program has written: this one passes over it, and never writes it.
    #[serde(other)]
    Unknown,
}

/// A restore point, or the failure to make one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Made {
    /// The system.
    pub system: String,
    /// The point's id; empty where there is none.
    pub point: String,
    /// When the capture began.
    pub started: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// Whether everything was read and is in every vault.
    pub complete: bool,
    /// How many things could not be read.
    pub unread: u64,
    /// The first of them, and why. Older records don't tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread_first: Option<String>,
    /// For each vault, `None` if it has the point, else why not.
    pub vaults: BTreeMap<String, Option<String>>,
    /// Files in the point.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Only what the change journal named was looked at; else everything was.
    pub by_journal: bool,
    /// Why there is no point.
    pub failure: Option<String>,
    /// What to do about that, as far as whoever failed knew. Older records don't tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// It was not begun, since something else went first: another run, or a recovery. That is no fault.
    pub refused: bool,
    /// Why the point is suspicious: not chosen by itself.
    pub suspicious: Option<String>,
    /// For each vault that lacks packs which its index names, how many: as far as this point needs what was in them, it was stored anew.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub gone: BTreeMap<String, u64>,
    /// What the plan had captured: absolute paths. Older records don't tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// What the system's own configuration names and is in no point, each with the reason: without it the system doesn't start elsewhere. Older records don't tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_behind: Vec<String>,
    /// What a person should change about the system itself, although the point is whole. Older records don't tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub advised: Vec<String>,
    /// What the point says of itself, as it is judged: what it counted still tells once it is in no vault any more. Older records don't tell.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub facts: serde_json::Value,
}

/// What a look through a vault found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Verification {
    /// The vault.
    pub vault: String,
    /// Share of the packs that was read, 0 to 1.
    pub read_share: f64,
    /// Which part of the packs was to be read: where it begins, 0 to 1 …
    pub from: f64,
    /// … and how much it is, 0 to 1. Older records don't tell: 0.
    pub share: f64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// The points that were found sound.
    pub points: Vec<String>,
    /// The points of which nothing was found damaged, and something could not be looked at: their earlier proof counts on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// The points that were found to lack something. Older records don't tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unsound: Vec<String>,
    /// The points that were seen in the vault before and are not listed any more: of them, and of what was damaged before, this says nothing. Older records don't tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vanished: Vec<String>,
    /// What is damaged; empty is good.
    pub findings: Vec<String>,
    /// The packs in which something was found damaged, or that are gone, up to a thousand. Older records don't tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packs: Option<Vec<String>>,
    /// The packs that were known to be damaged and that neither lie in the vault nor are named by its index any more: they were pruned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// Why it could not be done.
    pub failure: Option<String>,
    /// What to do about that, as far as whoever failed knew. Older records don't tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// What a copy between vaults did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Copied {
    /// The points and the vault that each went to.
    pub points: Vec<(String, String)>,
    /// What did not work.
    pub failures: Vec<String>,
}

/// What a prune of a vault did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pruned {
    /// The vault.
    pub vault: String,
    /// The points that were taken out.
    pub points: Vec<String>,
    /// Bytes of packs that nothing needs any more, and that go after the delay.
    pub bytes_marked: u64,
    /// Bytes that were given back.
    pub bytes_removed: u64,
    /// What did not go as it should.
    pub findings: Vec<String>,
    /// Why it could not be done.
    pub failure: Option<String>,
    /// What to do about that, as far as whoever failed knew. Older records don't tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// What a repair of a vault did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Repaired {
    /// The vault.
    pub vault: String,
    /// Packs that were damaged or gone: signs of a dying disk, where it is one.
    pub packs: u64,
    /// Their names, up to a thousand: the same ones may be found again and again. None where an older program wrote this.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<String>,
    /// Which part of the packs was read: where it begins, 0 to 1, and how much it is, 0 to 1. Older records don't tell: taken for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<(f64, f64)>,
    /// Nothing was repaired: a person has forgotten the vault, or another repository stands in its place, and what was known of its damage is over.
    #[serde(skip_serializing_if = "is_false")]
    pub forgotten: bool,
    /// Blobs that were missing or damaged, and are sound now.
    pub healed: u64,
    /// Blobs that no vault has sound.
    pub lost: u64,
    /// What was wrong.
    pub findings: Vec<String>,
    /// Why it could not be done.
    pub failure: Option<String>,
}

/// Whether a vault was seen to be immutable.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Immutability {
    /// The vault.
    pub vault: String,
    /// Its address in the plan.
    pub url: String,
    /// How long nothing can be deleted, as the plan promises it, in seconds.
    pub immutable_for_seconds: u64,
    /// Why nothing shows that the store keeps files from being deleted; `None` if it was seen to.
    pub not_proven: Option<String>,
    /// Files that are needed.
    pub files: u64,
    /// Those whose hold was made longer.
    pub extended: u64,
    /// When the first of them can be deleted; `None` if one can be now.
    pub until: Option<Timestamp>,
    /// What somebody may have tampered with, and what could not be held.
    pub findings: Vec<String>,
    /// Why it could not be looked at.
    pub failure: Option<String>,
    /// What to do about that, as far as whoever failed knew. Older records don't tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// What a vault's own host fetched.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pulled {
    /// The vault that it was fetched into.
    pub vault: String,
    /// The points that were fetched.
    pub points: Vec<String>,
    /// What did not work.
    pub failures: Vec<String>,
}

/// What a recovery did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Recovery {
    /// The scenario, if one was named.
    pub scenario: Option<String>,
    /// Whether it went to another folder: no proof that the system itself comes back.
    pub beside: bool,
    /// When it began; older records don't tell.
    pub started: Option<Timestamp>,
    /// The incidents that it belongs to, by their ids.
    pub incidents: Vec<String>,
    /// The hash of the plan that it followed; older records don't tell.
    pub plan: Option<String>,
    /// For each system.
    pub systems: Vec<Check>,
}

/// How one system came back.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Check {
    /// The system.
    pub system: String,
    /// The point.
    pub point: String,
    /// When that was made. Of this and the next two older records don't tell.
    pub point_time: Option<Timestamp>,
    /// The vaults that it was read from, in this order.
    pub vaults: Vec<String>,
    /// When a verification last read it whole, if one did.
    pub verified: Option<Timestamp>,
    /// Seconds until it was back; `None` if it isn't.
    pub rta_seconds: Option<f64>,
    /// Promised, in seconds. Of this and the next three older records don't tell.
    pub rto_seconds: Option<u64>,
    /// Seconds between what came back and the crash; in older records, the beginning of the recovery.
    pub rpa_seconds: Option<u64>,
    /// When it crashed, as far as was known.
    pub crashed: Option<Timestamp>,
    /// What said so: `said` (a person), `incident`, `tried` (the first recovery that failed began then), `log` and `sentinel` (the last sign of life), `unknown` (the
    /// beginning of the recovery).
    pub crash_basis: Option<String>,
    /// The same, as it was measured in the data.
    pub measured_loss_seconds: Option<u64>,
    /// Promised, in seconds.
    pub rpo_seconds: Option<u64>,
    /// Seconds that putting its data back took.
    pub restore_seconds: f64,
    /// Bytes in the point.
    pub bytes: u64,
    /// Bytes that were written for it: what stood there already took no time. Older records don't tell.
    pub written: Option<u64>,
    /// Checks that answered well.
    pub checks_passed: u64,
    /// What went wrong.
    pub findings: Vec<String>,
    /// It came back to an earlier state than the newest there was, on purpose: what was made in between was left. Older records don't tell.
    #[serde(skip_serializing_if = "is_false")]
    pub went_back: bool,
    /// How far its point was rolled forward then, as the plan writes that. `None`: not at all, or an older program wrote this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub went_to: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// What was done with a key of a vault. Never the key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyEvent {
    /// The vault.
    pub vault: String,
    /// `added`, `removed`, `rotated`, `exported`, `checked`.
    pub what: String,
    /// The key file; empty for the master key, and where nothing opened.
    pub key: String,
    /// The key file that this one took the place of.
    pub replaced: Option<String>,
    /// The points that a check saw with it.
    pub points: u64,
    /// What a check could not read with it.
    pub findings: Vec<String>,
    /// Why it did not work.
    pub failure: Option<String>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its place in the chain, from 1.
    pub number: u64,
    /// When it was written.
    pub time: Timestamp,
    /// What happened.
    pub body: Body,
    /// The hash of the record before, in hexadecimal; 64 zeros for the first.
    pub previous: String,
    /// The hash of this one.
    pub hash: String,
}

/// The state of one installation.
#[derive(Debug)]
pub struct State {
    kv: Arc<dyn Kv>,
    is_new: bool,
}

impl State {
    /// Opens the state in a directory.
    pub fn open(dir: &Path) -> Result<Self> {
        let sqlite = Sqlite::open(dir)?;
        let is_new = sqlite.is_new();
        Ok(Self { kv: Arc::new(sqlite), is_new })
    }

    /// Returns whether nothing was known before this call.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns the state above a store.
    pub(crate) fn over(sqlite: Arc<Sqlite>) -> Self {
        let is_new = sqlite.is_new();
        Self { kv: sqlite, is_new }
    }

    pub(crate) fn kv(&self) -> &dyn Kv {
        &*self.kv
    }

    /// Returns the store, for a thread that may outlive the call.
    pub(crate) fn shared(&self) -> Arc<dyn Kv> {
        Arc::clone(&self.kv)
    }

    /// Appends a record and returns it.
    pub fn append(&self, body: Body, now: Timestamp) -> Result<Record> {
        let mut record = Record::new(body, now);
        for _ in 0..APPEND_TRIES {
            if self.append_behind(&self.head()?, &mut record)? {
                return Ok(record);
            }
        }
        Err(Error::new("append a record", crate::Kind::Busy))
    }

    /// Appends what `decide` makes of all records that there are. If another is appended meanwhile, it decides anew, so that of several that exclude
    /// each other one alone is written. Where it decides against it, nothing is, and its reason is handed on.
    pub fn append_decided<E>(
        &self,
        now: Timestamp,
        mut decide: impl FnMut(&[Record]) -> std::result::Result<Body, E>,
    ) -> Result<std::result::Result<Record, E>> {
        for _ in 0..APPEND_TRIES {
            let head = self.head()?;
            let mut records = self.records()?;
            records.retain(|record| record.number <= head.0);
            let mut record = match decide(&records) {
                Ok(body) => Record::new(body, now),
                Err(against) => return Ok(Err(against)),
            };
            if self.append_behind(&head, &mut record)? {
                return Ok(Ok(record));
            }
        }
        Err(Error::new("append a record", crate::Kind::Busy))
    }

    /// Seals a record to this one and appends it; `false` if another was faster.
    fn append_behind(&self, (newest, hash): &(u64, String), record: &mut Record) -> Result<bool> {
        (record.number, record.previous) = (newest + 1, hash.clone());
        let json = record.seal()?;
        if *newest == 0 {
            // Before the first record, so that records without it are a sign of somebody's hand.
            let none = serde_json::to_vec(&no_head()).unwrap_or_default();
            let _ = self.kv.put(HEAD, &none, Expect::Absent)?;
        }
        // The head names the newest record; the record itself is written first and under a name that only one can take.
        let Outcome::Done(_) = self.kv.put(&record_key(record.number), &json, Expect::Absent)? else {
            return Ok(false);
        };
        let head = serde_json::to_vec(&(record.number, &record.hash)).unwrap_or_default();
        // One that somebody has removed is not made again: that stays to be seen.
        if self.kv.get(HEAD)?.is_some() {
            let _ = self.kv.put(HEAD, &head, Expect::Any)?;
        }
        Ok(true)
    }

    /// Returns all records, oldest first.
    pub fn records(&self) -> Result<Vec<Record>> {
        self.kv.list("record/")?.into_iter().map(|(key, found)| newer::read(&key, &found.value)).collect()
    }

    /// Returns the records that came after this number, oldest first: for one who looks again and again.
    pub fn records_after(&self, number: u64) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        loop {
            let key = record_key(number + records.len() as u64 + 1);
            let Some(next) = self.kv.get(&key)? else { return Ok(records) };
            records.push(newer::read(&key, &next.value)?);
        }
    }

    /// Checks the chain and returns how many records it has; an error names the first that doesn't fit.
    ///
    /// Found is what was changed, removed or moved by hand. Whoever changes the head and all hashes after his change as well is
    /// found only by one who has kept a hash elsewhere.
    pub fn verify(&self) -> Result<u64> {
        // The head is read first: what is appended meanwhile is then no contradiction.
        let head = self.kv.get(HEAD)?;
        let records = self.kv.list("record/")?;
        // The first record may have come between the two looks.
        if head.is_none() && !records.is_empty() && self.kv.get(HEAD)?.is_none() {
            return Err(Error::corrupt(NEWEST, HEADLESS));
        }
        let head = head.map_or_else(|| Ok(no_head()), |head| read_head(&head.value))?;
        check_chain(records.iter().map(|(key, versioned)| (key.as_str(), versioned.value.as_slice())), &head)
    }

    /// Returns the number and hash of the newest record, to be kept where nobody on this machine can change it; `None` where there is none.
    pub fn newest(&self) -> Result<Option<(u64, String)>> {
        Ok(Some(self.head()?).filter(|(number, _)| *number > 0))
    }

    /// Returns the number and hash of the newest record. The stored head may lag behind by those whose writer was killed, or is
    /// just about to move it: from there it is followed forward.
    fn head(&self) -> Result<(u64, String)> {
        let mut head = self.stored_head()?;
        loop {
            let key = record_key(head.0 + 1);
            let Some(next) = self.kv.get(&key)? else { return Ok(head) };
            let link: Link = parse(&key, &next.value)?;
            // By its place, not by what it says of itself: one that was moved here must not send us in circles.
            head = (head.0 + 1, link.hash);
        }
    }

    fn stored_head(&self) -> Result<(u64, String)> {
        match self.kv.get(HEAD)? {
            Some(head) => read_head(&head.value),
            None => Ok(no_head()),
        }
    }
}

impl Record {
    fn new(body: Body, time: Timestamp) -> Self {
        Self { number: 0, time, body, previous: String::new(), hash: String::new() }
    }

    /// Sets the hash, and returns the record as it is stored. The hash is over the stored bytes before it: what they mean may be
    /// read differently by another version, and numbers with fractions not to the last digit.
    fn seal(&mut self) -> Result<Vec<u8>> {
        self.hash.clear();
        let failed = |error: String| Error::new("append a record", crate::Kind::Unstorable(error));
        let mut json = serde_json::to_vec(self).map_err(|error| failed(error.to_string()))?;
        let content = sealed(&json).ok_or_else(|| failed("the hash is not its last field".into()))?;
        self.hash = hash(content);
        json.truncate(content.len());
        json.extend_from_slice(SEAL);
        json.extend_from_slice(self.hash.as_bytes());
        json.extend_from_slice(b"\"}");
        // What can't be read back (a number that is none becomes `null`) would spoil the ledger for good.
        serde_json::from_slice::<Self>(&json).map_err(|error| failed(error.to_string()))?;
        Ok(json)
    }
}

/// Stands between what the hash is of and the hash.
const SEAL: &[u8] = b",\"hash\":\"";

/// Returns the part of a stored record that its hash is of.
pub(crate) fn sealed(json: &[u8]) -> Option<&[u8]> {
    // The last one: a text in the body may hold the same, quoted.
    let at = json.windows(SEAL.len()).rposition(|part| part == SEAL)?;
    // Behind it stands the hash and nothing else, so that nothing can be slipped in there.
    let rest = json.get(at + SEAL.len()..)?.strip_suffix(b"\"}")?;
    rest.iter().all(u8::is_ascii_hexdigit).then(|| json.get(..at)).flatten()
}

/// Returns the hash of these bytes, in hexadecimal.
pub(crate) fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn record_key(number: u64) -> String {
    format!("record/{number:012}")
}

/// Returns a value as it is stored; `doing` is what can't be done where it can't be.
pub(crate) fn json(doing: &str, value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::new(doing, crate::Kind::Unstorable(error.to_string())))
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(key: &str, value: &[u8]) -> Result<T> {
    serde_json::from_slice(value).map_err(|error| Error::corrupt(key, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        (dir, state)
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    #[test]
    fn records_come_back_in_order_and_the_chain_holds() {
        let (_dir, state) = state();
        for points in 1..=5 {
            state.append(Body::Rebuilt { points }, now()).unwrap();
        }
        assert_eq!(state.verify().unwrap(), 5);
        let points: Vec<_> = state.records().unwrap().into_iter().map(|record| record.body).collect();
        assert_eq!(points[4], Body::Rebuilt { points: 5 });
    }

    #[test]
    fn what_was_done_with_a_key_is_remembered() {
        let (_dir, state) = state();
        let event =
            KeyEvent { vault: "cloud".into(), what: "checked".into(), points: 3, ..KeyEvent::default() };
        state.append(Body::Key(event.clone()), now()).unwrap();
        let kept = state.records().unwrap().pop().unwrap().body;
        assert_eq!(kept, Body::Key(event));
    }

    #[test]
    fn a_kind_that_a_newer_program_has_written_is_passed_over() {
        let newer = r#"{"number":1,"time":"2026-11-23T12:00:00Z","body":{"kind":"tide","high":[1,{"a":2}]},"previous":"0","hash":"1"}"#;
        let record: Record = serde_json::from_str(newer).unwrap();
        assert_eq!(record.body, Body::Unknown);
    }

    #[test]
    fn an_edited_record_is_found() {
        let (_dir, state) = state();
        for points in 1..=3 {
            state.append(Body::Rebuilt { points }, now()).unwrap();
        }
        let stored = state.kv.get("record/000000000002").unwrap().unwrap();
        let edited = String::from_utf8(stored.value).unwrap().replace("\"points\":2", "\"points\":7");
        let _ = state.kv.put("record/000000000002", edited.as_bytes(), Expect::Any).unwrap();
        assert!(state.verify().unwrap_err().to_string().contains("record 2"));
    }

    #[test]
    fn records_without_the_note_of_the_newest_are_found_also_after_the_next_one() {
        let (_dir, state) = state();
        assert_eq!(state.verify().unwrap(), 0);
        for points in 1..=3 {
            state.append(Body::Rebuilt { points }, now()).unwrap();
        }
        let _ = state.kv.delete("record/000000000003", Expect::Any).unwrap();
        let _ = state.kv.delete(HEAD, Expect::Any).unwrap();
        assert!(state.verify().unwrap_err().to_string().contains("isn't noted any more"));
        // Whoever goes on covers nothing up.
        assert_eq!(state.append(Body::Rebuilt { points: 4 }, now()).unwrap().number, 3);
        assert!(state.verify().unwrap_err().is_corrupt());
    }

    #[test]
    fn a_first_record_whose_writer_was_killed_before_it_moved_the_head_is_no_finding() {
        let (_dir, state) = state();
        let mut record = Record::new(Body::Rebuilt { points: 1 }, now());
        let _ = state.append_behind(&no_head(), &mut record).unwrap();
        let none = serde_json::to_vec(&no_head()).unwrap();
        let _ = state.kv.put(HEAD, &none, Expect::Any).unwrap();
        assert_eq!(state.verify().unwrap(), 1);
        assert_eq!(state.append(Body::Rebuilt { points: 2 }, now()).unwrap().number, 2);
        assert_eq!(state.verify().unwrap(), 2);
    }

    #[test]
    fn a_removed_record_is_found() {
        let (_dir, state) = state();
        for points in 1..=3 {
            state.append(Body::Rebuilt { points }, now()).unwrap();
        }
        let _ = state.kv.delete("record/000000000002", Expect::Any).unwrap();
        assert!(state.verify().is_err());
    }
}
