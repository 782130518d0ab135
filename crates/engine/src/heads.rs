//! Holds this machine's records against what its points say of them. Each point that it signs names the newest record of then: whoever changes the records afterwards
//! can make their chain fit anew, and not what lies in the vaults.
//!
//! Found is what was taken off the end, what was written anew from some place on, that all were deleted, and that an older copy of the file was put back. Behind the
//! newest point nothing is promised; and where a state was made anew (`releve state rebuild`), what points from before name can't be compared: that is said, and no
//! finding.
//!
//! Which points are this machine's is told by the key file that it holds and by what its records say that it made, and not only by the note of its key: that lies in the
//! same file as the records, and goes with them.

use crate::Result;
use crate::signers::{Known, has_made_points};
use crate::survey::{Survey, Surveyed};
use jiff::Timestamp;
use serde::Serialize;
use state::{Body, Record, State};
use std::collections::{BTreeSet, HashMap, HashSet};
use vault::fingerprint;

/// Where it is noted for the alerts that records aren't what points say.
pub const SIGN: &str = "records/here";
/// What may be behind points of which no record tells: somebody who deletes all that a machine remembers makes it look the same.
const NEW: &str = "this machine is new, or has lost its state";
/// What to do about it then.
const NEW_HELP: &str = "if that is so: releve state rebuild, which takes over what the vaults tell; if it is not, somebody has removed what this machine remembers: find out who";
/// What to do about records that are not what this machine wrote.
const HELP: &str = "somebody has changed what this machine remembers: find out who; keep the folder of the state as it is; `releve state rebuild` sets it aside and takes over what can be read of it";

/// Notes for the alerts what was found, and that it is over once every vault was asked and nothing is found.
pub fn note(state: &State, heads: &Heads, survey: &Survey, now: Timestamp) -> Result<()> {
    match heads.findings.as_slice() {
        [] if !survey.unreachable.is_empty() => Ok(()),
        [] => Ok(state.note_sign(SIGN, None, now)?),
        all => {
            let all: Vec<String> = all.iter().map(|one| format!("{one}: {}", heads.help())).collect();
            Ok(state.note_sign(SIGN, Some((all.join("; ").as_str(), false)), now)?)
        }
    }
}

/// What the points of this machine say of its records.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Heads {
    /// How many points name a record that is as they say.
    pub agreed: u64,
    /// The number of the newest record that one names and that is as it says.
    pub up_to: u64,
    /// How many are from before the state was made anew, and name records that aren't there.
    pub from_before: u64,
    /// What was done to the records.
    pub findings: Vec<String>,
    /// Nothing more is found than a state that began after the points.
    #[serde(skip)]
    pub is_new: bool,
}

impl Heads {
    /// Says what to do about what was found.
    #[must_use]
    pub fn help(&self) -> &'static str {
        if self.is_new { NEW_HELP } else { HELP }
    }
}

/// Compares the records, all of them and in order, with what the points in the vaults say that this machine has signed. `key` is the public half of the key that it
/// holds, if it holds one.
#[must_use]
pub fn compare(
    records: &[Record],
    survey: &Survey,
    known: &Known,
    machine: &str,
    key: Option<&str>,
) -> Heads {
    let own = Own::of(records, survey, known, machine, key);
    let hashes: HashMap<u64, &str> =
        records.iter().map(|record| (record.number, record.hash.as_str())).collect();
    let anew = records.iter().rev().find(|record| matches!(record.body, Body::Rebuilt { .. }));
    let newest = records.last().map_or(0, |record| record.number);
    let mut heads = Heads { findings: own.finding.iter().cloned().collect(), ..Heads::default() };
    let (mut gone, mut other): (Vec<Named<'_>>, Vec<Named<'_>>) = Default::default();
    for point in &survey.points {
        let is_ours = known.is_from_here(point, machine) || own.has_signed(point, machine);
        let Some(head) = point.point.head.as_ref().filter(|_| is_ours) else { continue };
        let named = Named { number: head.number, point: &point.point.id, time: point.point.time };
        match hashes.get(&head.number) {
            Some(hash) if *hash == head.hash => {
                heads.agreed += 1;
                heads.up_to = heads.up_to.max(head.number);
            }
            _ if anew.is_some_and(|anew| named.time < anew.time) => heads.from_before += 1,
            Some(_) => other.push(named),
            None => gone.push(named),
        }
    }
    let begun = records.first().map(|record| record.time);
    let is_before = |named: &Named<'_>| begun.is_none_or(|begun| named.time < begun);
    let unknown = || gone.iter().chain(&other);
    if unknown().all(is_before) {
        if let Some(Named { number, point, time }) = unknown().max_by_key(|named| named.time) {
            let here = begun.map_or_else(
                || "there are no records here".to_owned(),
                |begun| format!("the records here begin at {begun:.0}"),
            );
            heads.is_new = heads.findings.is_empty();
            heads.findings.push(format!(
                "{here}, and {} from before (the newest, {point} of {time}, names record {number}): {NEW}",
                match unknown().count() {
                    1 => "1 point of this machine is".to_owned(),
                    many => format!("{many} points of this machine are"),
                }
            ));
        }
        return heads;
    }
    if let Some(first) = other.iter().min_by_key(|named| named.number) {
        let Named { number, point, time } = first;
        heads.findings.push(format!(
            "record {number} is another than the one that point {point} of {time} names ({}): the records were written anew",
            if other.len() == 1 { "1 point says so".to_owned() } else { format!("{} points say so", other.len()) }
        ));
    }
    if let Some(last) = gone.iter().max_by_key(|named| named.number) {
        let Named { number, point, time } = last;
        heads.findings.push(format!(
            "the records end with number {newest}, and point {point} of {time} names number {number}: the newest were taken away, or an older state was put back"
        ));
    }
    heads
}

/// The keys of this machine beside those that its state notes as its own.
struct Own<'a> {
    keys: BTreeSet<&'a str>,
    /// The note of one is gone.
    finding: Option<String>,
}

impl<'a> Own<'a> {
    fn of(
        records: &[Record],
        survey: &'a Survey,
        known: &Known,
        machine: &str,
        key: Option<&'a str>,
    ) -> Self {
        let has_made = has_made_points(records);
        if let Some(key) = key {
            // A new state has no note yet: its first backup makes it.
            let is_gone = has_made && !known.has(key);
            let finding = is_gone.then(|| {
                let key = fingerprint(key);
                format!("that this machine signs its points with the key {key}, which lies beside its state, was noted there with its first backup, and is not any more")
            });
            return Self { keys: [key].into(), finding };
        }
        if !has_made {
            return Self { keys: BTreeSet::new(), finding: None };
        }
        // What its records say that it made was signed by it.
        let made: HashSet<&str> = records
            .iter()
            .filter_map(|record| match &record.body {
                Body::Backup(made) if !made.point.is_empty() => Some(made.point.as_str()),
                _ => None,
            })
            .collect();
        let is_made = |point: &&Surveyed| {
            point.point.snapshot.hostname == machine && made.contains(point.point.id.as_str())
        };
        let signed = survey.points.iter().filter(is_made).filter_map(|point| point.point.signer.as_deref());
        let keys: BTreeSet<&str> = signed.collect();
        let finding = keys.iter().find(|key| !known.has(key)).map(|key| {
            let key = fingerprint(key);
            format!("the records tell of points that were made here, and these are signed with the key {key}: neither that key nor the note of it is here any more")
        });
        Self { keys, finding }
    }

    fn has_signed(&self, point: &Surveyed, machine: &str) -> bool {
        let key = point.point.signer.as_deref().filter(|_| point.point.snapshot.hostname == machine);
        key.is_some_and(|key| self.keys.contains(key))
    }
}

/// What a point says.
struct Named<'a> {
    number: u64,
    point: &'a str,
    time: Timestamp,
}
