//! What a restore did, and what became of one entry.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How many of each kind of trouble a report names; all are counted.
const NAMED_MAX: usize = 1000;
/// How many attributes of one entry are named, and how many reasons are counted.
const ATTRIBUTES_MAX: usize = 3;
const REASONS_MAX: usize = 100;

/// What a restore did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Entries that were written: everything but directories.
    pub restored: u64,
    /// Bytes of content that were written.
    pub bytes: u64,
    /// Entries that were there already, as they should be.
    pub unchanged: u64,
    /// Files of which parts are in no vault.
    pub damaged: Vec<Damaged>,
    /// Entries that could not be written at all.
    pub skipped: Vec<Trouble>,
    /// Attributes that could not be set.
    pub not_set: Vec<Trouble>,
    /// How many there are of the three, named or not.
    pub damaged_count: u64,
    /// See `damaged_count`.
    pub skipped_count: u64,
    /// See `damaged_count`.
    pub not_set_count: u64,
    /// How often each reason is among the attributes that could not be set, named or not; of the first hundred reasons.
    pub not_set_reasons: BTreeMap<String, u64>,
    /// For each vault, by address, the first thing that was wrong with it: it wants a repair.
    pub vault_faults: BTreeMap<String, String>,
    /// Something of what was asked for ([`only`](super::RestoreOptions::only)) is in the point.
    pub found: bool,
    /// An earlier restore into this folder was cut off by a crash of the machine, so contents were compared.
    pub compared_after_crash: bool,
}

/// A file of which parts are in no vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Where it was written: `NAME.releve-damaged`.
    pub path: PathBuf,
    /// The bytes that are missing; zeros stand for them.
    pub missing: Vec<Range<u64>>,
}

/// Something that did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// With what.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

impl RestoreReport {
    /// Says nothing of attributes that could not be set: nobody asks for them where this was put.
    pub fn forget_not_set(&mut self) {
        self.not_set.clear();
        self.not_set_count = 0;
        self.not_set_reasons.clear();
    }

    /// Returns whether everything came back. Attributes that could not be set count as missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damaged_count == 0 && self.skipped_count == 0 && self.not_set_count == 0
    }

    /// Returns whether nothing came back although there was something.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.restored + self.unchanged + self.damaged_count == 0 && self.skipped_count > 0
    }

    /// Adds another report to this one.
    pub fn merge(&mut self, other: Self) {
        self.restored += other.restored;
        self.bytes += other.bytes;
        self.unchanged += other.unchanged;
        self.damaged_count += other.damaged_count;
        self.skipped_count += other.skipped_count;
        self.not_set_count += other.not_set_count;
        for (why, count) in other.not_set_reasons {
            self.count_reason(why, count);
        }
        self.damaged.extend(other.damaged);
        self.skipped.extend(other.skipped);
        self.not_set.extend(other.not_set);
        self.vault_faults.extend(other.vault_faults);
        self.found |= other.found;
        self.compared_after_crash |= other.compared_after_crash;
    }

    /// Adds what became of one entry. The path is asked for where it is told.
    pub(super) fn note(&mut self, outcome: Outcome, path: impl Fn() -> PathBuf) {
        self.bytes += outcome.bytes;
        self.restored += u64::from(outcome.restored);
        self.unchanged += u64::from(outcome.unchanged);
        if let Some((name, missing)) = outcome.damaged {
            self.damaged_count += 1;
            if self.damaged.len() < NAMED_MAX {
                self.damaged.push(Damaged { path: path().with_file_name(name), missing });
            }
        }
        if let Some(why) = outcome.skipped {
            self.skipped_count += 1;
            if self.skipped.len() < NAMED_MAX {
                self.skipped.push(Trouble { path: path(), why });
            }
        }
        if !outcome.not_set.is_empty() {
            self.not_set_count += 1;
            let mut all = outcome.not_set;
            if all.len() > ATTRIBUTES_MAX + 1 {
                let more = all.split_off(ATTRIBUTES_MAX).len();
                all.push(format!("and {more} more of it"));
            }
            let why = all.join("; ");
            if self.not_set.len() < NAMED_MAX {
                self.not_set.push(Trouble { path: path(), why: why.clone() });
            }
            self.count_reason(why, 1);
        }
    }

    fn count_reason(&mut self, why: String, count: u64) {
        if self.not_set_reasons.len() < REASONS_MAX || self.not_set_reasons.contains_key(&why) {
            *self.not_set_reasons.entry(why).or_default() += count;
        }
    }

    pub(super) fn skip(&mut self, path: &Path, why: impl Into<String>) {
        self.note(Outcome::skipped(why), || path.to_owned());
    }
}

/// What became of one entry.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) restored: bool,
    pub(super) unchanged: bool,
    pub(super) bytes: u64,
    /// The name that a file got of which parts are missing, and which.
    pub(super) damaged: Option<(std::ffi::OsString, Vec<Range<u64>>)>,
    pub(super) skipped: Option<String>,
    pub(super) not_set: Vec<String>,
}

impl Outcome {
    pub(super) fn skipped(why: impl Into<String>) -> Self {
        Self { skipped: Some(why.into()), ..Self::default() }
    }

    pub(super) fn unchanged(not_set: Vec<String>) -> Self {
        Self { unchanged: true, not_set, ..Self::default() }
    }
}
