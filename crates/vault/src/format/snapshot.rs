//! A snapshot file: the root of one restore point in one vault.
//!
//! Ours are ordinary restic snapshots. Tags name the system and the point, so that they survive `restic tag`; the
//! field `releve`, which restic passes over, holds the rest, and `releve_signature` who made it (`signature.rs`).

use crate::{BlobId, FileId, Signature};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One restore point as one vault holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When the capture began, by the clock of the machine that made it.
    #[serde(with = "go_time")]
    pub time: Timestamp,
    /// The snapshot that unchanged files were taken over from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<FileId>,
    /// The root directory. The same in every vault that holds the point.
    pub tree: BlobId,
    /// What was captured, as absolute paths.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub paths: Vec<String>,
    /// The machine that was captured.
    #[serde(default)]
    pub hostname: String,
    /// The user who ran the capture.
    #[serde(default)]
    pub username: String,
    /// That user's number.
    #[serde(default)]
    pub uid: u32,
    /// That user's group.
    #[serde(default)]
    pub gid: u32,
    /// What was left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub excludes: Vec<String>,
    /// Labels. Ours: `releve`, `system:NAME`, `point:ID`, and `incomplete` where that is so.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub tags: Vec<String>,
    /// The snapshot that this one was made from by rewriting, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<FileId>,
    /// Who wrote it: `releve 0.1.0`, `restic 0.17.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_version: Option<String>,
    /// What Relève knows of the point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub releve: Option<PointInfo>,
    /// Who made it, if that machine signs its points.
    #[serde(default, rename = "releve_signature", skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// What Relève knows of a restore point; the same in every vault that holds it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PointInfo {
    /// How the system was captured: `files`, `sqlite`, `command`.
    pub source: String,
    /// Entries in it that are no directories; how many of them are files, [`regular`](Self::regular) tells.
    pub files: u64,
    /// Of those, symbolic links.
    pub links: u64,
    /// Of those, named pipes, sockets and devices.
    pub specials: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// How many things could not be read or trusted. More than 0: the point is incomplete.
    pub unread_count: u64,
    /// The first thousand of them.
    pub unread: Vec<UnreadInfo>,
    /// How many entries lack something besides their content: an attribute that could not be read, a time that no vault can hold.
    /// The point is whole all the same.
    #[serde(skip_serializing_if = "is_default")]
    pub details_count: u64,
    /// The first thousand of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<UnreadInfo>,
    /// What lies below the named paths and was taken for no part of the system: somebody's own mount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<UnreadInfo>,
    /// What is to be said of it although nothing is missing: what could not be checked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<UnreadInfo>,
    /// What makes the point doubtful although all was read: it was made while the system was down, or something that should be there isn't. No recovery takes it by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// The captured roots that had a file system of their own, and what was mounted below them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounted: Vec<String>,
    /// What changed since the point before.
    pub change: Change,
    /// When the capture ended, by the clock that it began by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// From where on the system's log is needed to go on from this point. Such positions are in order as texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// Where in the log the capture is whole, as the system writes positions; `None`: nobody said so, or an older program wrote this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole_at: Option<String>,
    /// What tells the system from another that was made in its place: of PostgreSQL the cluster's own identifier. `None`: it has none, or an older program wrote this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What the system was made with, by names of its source's own: where it comes back that is compared. Empty: nothing is known, or an older program
    /// wrote this.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub made_with: BTreeMap<String, String>,
    /// The version of the rules that it was judged by when it was made; 0: nobody judged it.
    #[serde(skip_serializing_if = "is_default")]
    pub judged: u8,
    /// Why it is suspicious: a part of a sentence of which the point is the subject. No recovery takes it by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspicious: Option<String>,
    /// What is suspicious looks like somebody's work.
    #[serde(skip_serializing_if = "is_default")]
    pub tampering: bool,
    /// The id of the point that `change` was counted against: the newest before it that showed no sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What the point holds of a log, if that is what it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogInfo>,
    /// From here on the log of its system is signed: one that nobody signed is somebody else's. `false`: nobody promised it, or an older program wrote this.
    #[serde(skip_serializing_if = "is_default")]
    pub log_signed: bool,
}

impl PointInfo {
    /// Returns how many files are in it: no links, no pipes, sockets or devices.
    #[must_use]
    pub const fn regular(&self) -> u64 {
        self.files.saturating_sub(self.links).saturating_sub(self.specials)
    }
}

/// What is known of a log that is kept beside a system's points.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogInfo {
    /// The identity of the system that wrote it, as its points say it: only those go on in it. `None`: it has none, or an older program wrote this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// When it was begun in the place of another system's log; `None` for the first, which is that of the points that say no identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Another system writes by now: what came here waited still.
    #[serde(skip_serializing_if = "is_default")]
    pub former: bool,
    /// From here on nothing is missing: a point whose position is no earlier can be rolled forward to the end.
    pub from: String,
    /// Everything that was committed by then is in it; `None` where nobody could tell.
    pub until: Option<Timestamp>,
    /// The sentinel in the system's data that was committed by `until`: the number of its history, and its own in that. In order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<(u32, u64)>,
    /// What was missing when this was written, last of all: it keeps the points before from going on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The histories that recoveries have begun: not every point leads into each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timelines: Vec<Timeline>,
    /// What lies before it, with something missing between, where a point can be rolled forward as far as that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Stretch>,
    /// What there is of each history without a gap, by its number and in order. Empty where the files don't tell histories, or an older program wrote this.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Passage>,
    /// What this log goes on from and that claims a later time than it, by the ids of these points: a clock was ahead then. They are older, whatever they claim.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub passed: BTreeMap<String, Timestamp>,
}

/// A part of one history of a log in which nothing is missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Passage {
    /// The number of the history.
    pub timeline: u32,
    /// The position of the first file.
    pub from: String,
    /// The position of the last.
    pub to: String,
    /// Everything that was committed in that history by then is in it, or in what lies before; `None` where nobody could tell.
    pub until: Option<Timestamp>,
    /// What is missing behind it, if there is more of the history then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// A part of a log in which nothing is missing, and which something is missing behind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stretch {
    /// Where it begins.
    pub from: String,
    /// The position of the last file in it.
    pub to: String,
    /// Everything that was committed by then is in it, or in what lies before; `None` where nobody could tell.
    pub until: Option<Timestamp>,
}

/// A history that a recovery has begun.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeline {
    /// Its number; the first history, which no recovery began, has 1 and isn't listed.
    pub number: u32,
    /// When it began.
    pub begun: Option<Timestamp>,
    /// The histories that it goes on from, by number, and the position at which each was left.
    pub path: Vec<(u32, String)>,
}

/// Something that could not be read, for a person.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UnreadInfo {
    /// Where; bytes that are not UTF-8 are shown as �.
    pub path: String,
    /// Why.
    pub why: String,
}

/// What changed between the point before (of the same system) and this one. Only regular files are counted; an older program
/// (`counted` 0) calls changed what it read again, whatever came out, and counts links among the removed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Change {
    /// How it was counted; 0: by an older program, which had fewer of these numbers.
    #[serde(skip_serializing_if = "is_old")]
    pub counted: u8,
    /// Files that were not there before. All of them, in a first point.
    pub files_new: u64,
    /// Files whose content is another than before.
    pub files_changed: u64,
    /// Files whose content is what it was.
    pub files_unchanged: u64,
    /// Of those, files that something else changed of: their times, their owner, their inode.
    pub files_touched: u64,
    /// Files that were there before and aren't now.
    pub files_removed: u64,
    /// New files whose whole content a file had that was removed: they were moved or renamed.
    pub files_moved: u64,
    /// Bytes in the files that were removed.
    pub bytes_removed: u64,
    /// Files that had structure before, and whose content is noise now: under their name or another.
    pub files_scrambled: u64,
    /// Bytes in them.
    pub bytes_scrambled: u64,
    /// Files whose content was of a kind that is recognised (a picture, an archive, a document), and is of none or another now.
    pub types_changed: u64,
    /// Bytes of content that no vault had yet.
    pub bytes_new: u64,
    /// Share of `bytes_new` that didn't compress, 0 to 1. Encrypted files don't; most others do.
    pub incompressible: f64,
    /// Files whose content changed to nothing at all.
    #[serde(skip_serializing_if = "is_default")]
    pub files_emptied: u64,
    /// Files whose content is another while their length and their time of change are what they were: somebody has set the time back.
    #[serde(skip_serializing_if = "is_default")]
    pub files_veiled: u64,
    /// Files whose content changed to nothing but zeros, or to the very content that many others changed to as well.
    #[serde(skip_serializing_if = "is_default")]
    pub files_ruined: u64,
    /// Bytes by which files became fewer or shorter: those of removed files, and what changed ones were longer by. What was moved, or is aside, is none.
    #[serde(skip_serializing_if = "is_default")]
    pub bytes_lost: u64,
    /// Bytes by which files became more or longer: those of new files, and what changed ones are longer by. What was moved, or only passes through, is none.
    #[serde(skip_serializing_if = "is_default")]
    pub bytes_came: u64,
    /// Of the removed files, those whose going says nothing: they lay where things are thrown away or pass through, or in a working copy that went to another branch.
    #[serde(skip_serializing_if = "is_default")]
    pub files_aside: u64,
    /// Of the new files, those that lie where things are thrown away or pass through.
    #[serde(skip_serializing_if = "is_default")]
    pub files_passing: u64,
    /// Bytes of new archives of kinds that have no password.
    #[serde(skip_serializing_if = "is_default")]
    pub bytes_packed: u64,
}

/// How [`Change`] is counted by this program.
pub const COUNTED: u8 = 1;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_old(counted: &u8) -> bool {
    *counted == 0
}

impl Snapshot {
    /// Returns the value of the tag `NAME:value`.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find_map(|tag| tag.strip_prefix(name)?.strip_prefix(':'))
    }

    /// Returns whether everything was read. A snapshot by someone else than Relève doesn't tell: it counts as complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.tags.iter().any(|tag| tag == "incomplete")
            && self.releve.as_ref().is_none_or(|info| info.unread_count == 0)
    }
}

/// Returns whether a value says nothing, and need not be written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

mod go_time {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
