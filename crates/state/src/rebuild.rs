//! Makes a state anew beside the one that stands, takes over what can be read of that, and puts it in its place once it is whole: until then nothing has changed.
//!
//! ```text
//! state.new/state.db          the new one
//! state.new/old/state.db      a copy of the old one: looking must not change what is to be kept
//! state.db.damaged-<time>     where the old one is kept
//! ```

use crate::chain::{HEAD, HEADLESS, NEWEST, chain, no_head, read_head};
use crate::inventory::FORGIVEN;
use crate::ledger::json;
use crate::sqlite::{COMPANIONS, LAYOUT, after_prefix, alone, make_dir, sqlite_error};
use crate::{Body, Error, Kind, Record, Result, Sqlite, State};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What became of the state that stood there before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Where it is kept; `None` where there was none.
    pub kept: Option<PathBuf>,
    /// What was taken over from it, for a person.
    pub carried: Vec<String>,
    /// What of it may be lost, and how it is set again.
    pub lost: Vec<String>,
}

/// Something that is taken over from an old state.
struct Part {
    prefix: &'static str,
    /// What it is, after a number; empty where nobody needs to hear of it.
    what: [&'static str; 2],
    /// What is said where it can't be read.
    lost: &'static str,
    /// Its values are documents: one that can't be read is damage.
    is_json: bool,
}

const PARTS: [Part; 17] = [
    Part {
        prefix: "hold/",
        what: ["hold on removals", "holds on removals"],
        lost: "a hold on removals may be lost: releve prune --hold sets it again",
        is_json: true,
    },
    Part {
        prefix: "trusted/",
        what: ["point that a person trusts", "points that a person trusts"],
        lost: "which points a person trusts may be lost: releve points --trust says it again",
        is_json: false,
    },
    Part {
        prefix: "signer/",
        what: ["key that signs points", "keys that sign points"],
        lost: "which key signs for which machine may be lost: releve points --signer says it again",
        is_json: true,
    },
    Part {
        prefix: "accepted/",
        what: ["point that a person accepted unsigned", "points that a person accepted unsigned"],
        lost: "which unsigned points a person accepted may be lost: releve points --accept says it again",
        is_json: false,
    },
    Part {
        prefix: "early/",
        what: ["point from before its machine signed any", "points from before their machine signed any"],
        lost: "which unsigned points are from before their machine signed any may be lost: releve points --accept says it again",
        is_json: false,
    },
    Part {
        prefix: "keyfile/",
        what: ["", ""],
        lost: "which key files a vault had may be lost: one that comes back is taken for known",
        is_json: true,
    },
    Part {
        prefix: "alert/",
        what: ["note on alerts", "notes on alerts"],
        lost: "which alerts are open may be lost: people may be told again",
        is_json: true,
    },
    Part {
        prefix: "recovery/head/",
        what: ["open recovery", "open recoveries"],
        lost: "a recovery that had not ended may be lost: it can't go on, and begins anew",
        is_json: true,
    },
    Part { prefix: "recovery/run/", what: ["", ""], lost: "", is_json: false },
    Part {
        prefix: "call/",
        what: ["call", "calls"],
        lost: "calls that wait for an answer may be lost: releve notify send tells people again",
        is_json: true,
    },
    Part { prefix: "message/", what: ["", ""], lost: "", is_json: true },
    Part { prefix: "sign/", what: ["", ""], lost: "", is_json: true },
    Part {
        prefix: "seen/",
        what: ["", ""],
        lost: "what this machine saw in the vaults may be lost: a point that vanished is not missed",
        is_json: true,
    },
    Part {
        prefix: "plan/",
        what: ["", ""],
        lost: "which plan was accepted may be lost: releve plan accept says it again",
        is_json: false,
    },
    Part { prefix: "looked/", what: ["", ""], lost: "", is_json: false },
    Part { prefix: "going/", what: ["", ""], lost: "", is_json: false },
    Part {
        prefix: "vault/",
        what: ["", ""],
        lost: "which vaults were here before may be lost: one that is gone is taken for new",
        is_json: false,
    },
];

const RECORDS: &str = "record/";
/// What is known besides and not taken over: records are, in their own way; the rest is made anew.
const OTHERS: [&str; 6] = [RECORDS, HEAD, FORGIVEN, "early-noted", "keymaking/", "silent/"];
const RECORDS_LOST: &str = "records of what happened may be lost: incidents, recoveries, verifications";

/// What stands in an old state.
type Rows = Vec<(String, Vec<u8>)>;

impl State {
    /// Makes the state of a directory anew: takes over what can be read of the old one, lets `fill` add the rest, and only then puts it in the place of
    /// the old one, which is kept. Whatever fails before, a full disk too, leaves the old one as it was. Refused (`InUse`) while any process has it open.
    pub fn rebuild<E: From<Error>>(
        dir: &Path,
        now: Timestamp,
        fill: impl FnOnce(&Self) -> std::result::Result<(), E>,
    ) -> std::result::Result<Rebuilt, E> {
        make_dir(dir)?;
        let _alone = alone(dir, &format!("make {} anew", dir.join("state.db").display()))?;
        let beside = dir.join("state.new");
        // What a run that was killed has left.
        remove(&beside)?;
        let made = make(dir, &beside, fill).and_then(|mut rebuilt| {
            rebuilt.kept = put_in_place(dir, &beside, now)?;
            Ok(rebuilt)
        });
        // Also after a failure: on a full disk every byte counts. What stays is removed by the next one.
        let _ = remove(&beside);
        made
    }
}

/// Fills the new state, closes it and leaves it whole in one file.
fn make<E: From<Error>>(
    dir: &Path,
    beside: &Path,
    fill: impl FnOnce(&State) -> std::result::Result<(), E>,
) -> std::result::Result<Rebuilt, E> {
    // People know the folder of the state, and not the one within.
    let of_dir = |error: Error| match error.kind {
        Kind::Full(_) => Error::new(error.place, Kind::Full(dir.display().to_string())),
        _ => error,
    };
    let sqlite = Arc::new(Sqlite::open(beside).map_err(of_dir)?);
    let state = State::over(Arc::clone(&sqlite));
    let mut rebuilt = Rebuilt::default();
    if there(&dir.join("state.db"), dir)? {
        match old(dir, beside)? {
            Ok(old) => carry(&old, &state, &mut rebuilt).map_err(of_dir)?,
            Err(why) => {
                rebuilt.lost.push(format!("nothing of the old state can be read: {why}"));
                let all = PARTS.iter().map(|part| part.lost).chain([RECORDS_LOST]);
                rebuilt.lost.extend(all.filter(|lost| !lost.is_empty()).map(str::to_owned));
            }
        }
    }
    fill(&state)?;
    sqlite.settle().map_err(of_dir)?;
    Ok(rebuilt)
}

/// Copies the old state and opens the copy. `Err` within says why it can't be read; that there is no room is an error, and so is a newer layout: it is whole.
fn old(dir: &Path, beside: &Path) -> Result<std::result::Result<Connection, String>> {
    let folder = beside.join("old");
    make_dir(&folder)?;
    let place = format!("read {}", dir.join("state.db").display());
    // Its shared memory is made anew.
    for companion in ["", "-wal"] {
        let name = format!("state.db{companion}");
        match fs::copy(dir.join(&name), folder.join(&name)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let error = Error::io(&place, dir, &error);
                return if error.is_full() { Err(error) } else { Ok(Err(why(error))) };
            }
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(folder.join("state.db"), flags).and_then(|db| {
        let layout: i64 = db.query_row("PRAGMA user_version", (), |row| row.get(0))?;
        Ok((db, layout))
    });
    match opened {
        Ok((_, found)) if found > LAYOUT => Err(Error::new(place, Kind::Newer { found, known: LAYOUT })),
        Ok((db, _)) => Ok(Ok(db)),
        Err(error) => {
            let error = sqlite_error(&place, dir, &error);
            if error.is_full() { Err(error) } else { Ok(Err(why(error))) }
        }
    }
}

/// Says what is wrong, without the way out: that is being gone.
fn why(error: Error) -> String {
    match error.kind {
        Kind::Corrupt(what) => format!("{}: {what}", error.place),
        _ => error.to_string(),
    }
}

/// Takes over what can be read.
fn carry(old: &Connection, state: &State, rebuilt: &mut Rebuilt) -> Result<()> {
    for part in &PARTS {
        let (mut rows, mut trouble) = read(old, part.prefix);
        if part.is_json {
            let before = rows.len();
            rows.retain(|(_, value)| serde_json::from_slice::<serde_json::Value>(value).is_ok());
            trouble = trouble.or((rows.len() < before).then(|| "a value is damaged".to_owned()));
        }
        state.kv().put_all(&rows)?;
        let [one, many] = part.what;
        if !rows.is_empty() && !one.is_empty() {
            rebuilt.carried.push(format!("{} {}", rows.len(), if rows.len() == 1 { one } else { many }));
        }
        if let Some(why) = trouble.filter(|_| !part.lost.is_empty()) {
            rebuilt.lost.push(format!("{} ({why})", part.lost));
        }
    }
    carry_newer(old, state, rebuilt)?;
    carry_records(old, state, rebuilt)
}

/// Takes over, as it stands there, what only a newer program knows: it will want it again.
fn carry_newer(old: &Connection, state: &State, rebuilt: &mut Rebuilt) -> Result<()> {
    let is_known = |key: &str| {
        PARTS.iter().any(|part| key.starts_with(part.prefix))
            || OTHERS.iter().any(|other| key.starts_with(other))
    };
    // What can't be read is told of each part that it may be of.
    let (mut rows, _) = read(old, "");
    rows.retain(|(key, _)| !is_known(key));
    state.kv().put_all(&rows)?;
    if !rows.is_empty() {
        rebuilt.carried.push(format!("{} notes of a newer program", rows.len()));
    }
    Ok(())
}

/// Takes over all records as far as their chain holds; of the others what incidents are made of, which nothing vouches for any more.
fn carry_records(old: &Connection, state: &State, rebuilt: &mut Rebuilt) -> Result<()> {
    let (mut rows, trouble) = read(old, RECORDS);
    let head = one(old, HEAD).and_then(|head| match head {
        Some((_, value)) => read_head(&value).map_err(why),
        None if rows.is_empty() => Ok(no_head()),
        None => Err(format!("{NEWEST}: {HEADLESS}")),
    });
    let (head, headless) = match head {
        Ok(head) => (head, None),
        Err(why) => (no_head(), Some(why)),
    };
    let all = rows.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
    let (whole, wrong) = chain(all, &head);
    let wrong = trouble.or(headless).or_else(|| wrong.map(why));
    let others = rows.split_off(usize::try_from(whole).unwrap_or(usize::MAX).min(rows.len()));
    if !rows.is_empty() {
        rebuilt.carried.push(format!("{whole} records"));
    }
    // A newer version may have written what this one can't read: it is whole all the same.
    let newest = rows.last().and_then(|(_, value)| serde_json::from_slice::<Value>(value).ok());
    if let Some(newest) = newest {
        let head = json("take records over", &(newest.get("number"), newest.get("hash")))?;
        rows.push((HEAD.to_owned(), head));
        // Where the chain is cut others get the numbers that follow: of those nothing is forgiven.
        let forgiven = one(old, FORGIVEN).ok().flatten();
        let forgiven = forgiven.and_then(|(_, value)| String::from_utf8_lossy(&value).parse::<u64>().ok());
        let forgiven = forgiven.map(|forgiven| forgiven.min(whole).to_string().into_bytes());
        rows.extend(forgiven.map(|forgiven| (FORGIVEN.to_owned(), forgiven)));
    }
    state.kv().put_all(&rows)?;
    let Some(why) = wrong else { return Ok(()) };
    let mut kept = 0;
    for (_, value) in &others {
        let Ok(record) = serde_json::from_slice::<Record>(value) else { continue };
        let is_of_incidents = matches!(
            record.body,
            Body::Incident(_) | Body::Recovery(_) | Body::Notification(_) | Body::Acknowledgement(_)
        );
        if is_of_incidents {
            state.append(record.body, record.time)?;
            kept += 1;
        }
    }
    if kept > 0 {
        rebuilt.carried.push(format!("{kept} records of incidents and recoveries, as they stand there"));
    }
    let left = others.len().saturating_sub(kept);
    let lost = match left {
        0 => String::new(),
        left => format!("; {left} records behind number {whole} are left in the old state"),
    };
    rebuilt.lost.push(format!("{RECORDS_LOST} ({why}{lost})"));
    Ok(())
}

/// Returns what can be read of the keys that begin so, and why that isn't all, if it isn't.
fn read(old: &Connection, prefix: &str) -> (Rows, Option<String>) {
    let mut found = Rows::new();
    let mut look = || -> rusqlite::Result<()> {
        let mut query = old
            .prepare("SELECT key, value FROM kv WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) ORDER BY key")?;
        let mut rows = query.query((prefix.as_bytes(), after_prefix(prefix)))?;
        while let Some(row) = rows.next()? {
            let key: Vec<u8> = row.get(0)?;
            let key =
                String::from_utf8(key).map_err(|error| rusqlite::Error::Utf8Error(0, error.utf8_error()))?;
            found.push((key, row.get(1)?));
        }
        Ok(())
    };
    let trouble = look().err().map(|error| error.to_string());
    (found, trouble)
}

/// Returns what stands under one key.
fn one(old: &Connection, name: &str) -> std::result::Result<Option<(String, Vec<u8>)>, String> {
    let (rows, trouble) = read(old, name);
    let found = rows.into_iter().find(|(key, _)| key == name);
    match (found, trouble) {
        (None, Some(why)) => Err(why),
        (found, _) => Ok(found),
    }
}

/// Puts the new state in the place of the old one, and returns where that is kept. Whoever looks at any instant finds one of the two.
fn put_in_place(dir: &Path, beside: &Path, now: Timestamp) -> Result<Option<PathBuf>> {
    let path = dir.join("state.db");
    let place = format!("put the new {} in its place", path.display());
    let failed = |error: std::io::Error| Error::io(&place, dir, &error);
    let mut kept = None;
    if there(&path, dir)? {
        let stamp = now.strftime("%Y%m%dT%H%M%S%.fZ");
        let target = dir.join(format!("state.db.damaged-{stamp}"));
        // A second name for each file: until the new one has the first name, the old one has it as well.
        for companion in COMPANIONS {
            let from = dir.join(format!("state.db{companion}"));
            let to = dir.join(format!("state.db.damaged-{stamp}{companion}"));
            if there(&from, dir)? && fs::hard_link(&from, &to).is_err() {
                // Not every file system has two names for one file.
                fs::copy(&from, &to).map_err(failed)?;
            }
        }
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        kept = Some(target);
        // With the log of another a file is ruined; without its own it is older for an instant.
        for companion in COMPANIONS.iter().filter(|companion| !companion.is_empty()) {
            remove_file(&dir.join(format!("state.db{companion}")), &place, dir)?;
        }
    }
    fs::rename(beside.join("state.db"), &path).map_err(failed)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    Ok(kept)
}

fn there(path: &Path, dir: &Path) -> Result<bool> {
    path.try_exists().map_err(|error| Error::io(format!("look at {}", path.display()), dir, &error))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(format!("remove {}", folder.display()), folder, &error)),
    }
}

fn remove_file(path: &Path, place: &str, dir: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(place, dir, &error)),
    }
}
