//! What stands at a place before something is put there: the blast radius, in numbers.

use crate::files::around;
use crate::{Error, Result, error::at};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use vault::{NodeKind, Timestamp};

/// How long one look may take: it stands between a person in trouble and the question "overwrite this?".
const LOOK_MAX: Duration = Duration::from_secs(2);
/// How many entries one look counts.
const ENTRIES_MAX: u64 = 200_000;

/// What stands at one of the places that would be overwritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The place: a path, or the program that would be fed.
    pub path: PathBuf,
    /// What is there.
    pub stands: Stands,
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stands {
    /// Nothing.
    Nothing,
    /// This much.
    Something {
        /// Files; links, pipes and the like are none.
        files: u64,
        /// Length in bytes of what aren't directories.
        bytes: u64,
        /// The newest change of any of them.
        newest: Option<Timestamp>,
        /// False when the count was given up, or something could not be looked at: then there is more than this.
        all_counted: bool,
    },
    /// Only the program that the data are fed to could tell, or what is mounted there and doesn't answer.
    Unknown,
}

/// Returns what stands at each of `places`, all within one budget of time and entries.
pub fn look<'a>(places: impl IntoIterator<Item = &'a Path>) -> Result<Vec<Standing>> {
    let mut budget = Budget { until: Instant::now() + LOOK_MAX, entries: ENTRIES_MAX };
    places
        .into_iter()
        .map(|path| Ok(Standing { path: path.to_owned(), stands: count(path, &mut budget)? }))
        .collect()
}

struct Budget {
    until: Instant,
    entries: u64,
}

impl Budget {
    fn spend(&mut self) -> bool {
        self.entries = self.entries.saturating_sub(1);
        // A look at the clock for each entry would cost as much as the entry.
        self.entries > 0 && (!self.entries.is_multiple_of(64) || Instant::now() < self.until)
    }
}

fn count(place: &Path, budget: &mut Budget) -> Result<Stands> {
    let around = if place.is_absolute() { around(place) } else { Ok(Vec::new()) };
    let Ok(silent) = around else { return Ok(Stands::Unknown) };
    let (mut files, mut bytes, mut newest, mut all_counted) = (0, 0, None, true);
    let mut pending = vec![place.to_owned()];
    while let Some(path) = pending.pop() {
        if silent.contains(&path) {
            all_counted = false;
            continue;
        }
        let stat = match statx(CWD, &path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) {
            Ok(stat) => crate::machine::node(Vec::new(), &stat),
            Err(error) => {
                let error = io::Error::from(error);
                let gone = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
                match (path == place, gone) {
                    (true, true) => return Ok(Stands::Nothing),
                    (true, false) => return Err(Error::io(at("look at", place), error)),
                    (false, true) => continue,
                    (false, false) => {
                        all_counted = false;
                        continue;
                    }
                }
            }
        };
        if stat.is_dir() {
            let Ok(entries) = std::fs::read_dir(&path) else {
                all_counted = false;
                continue;
            };
            // A directory of millions must not be read whole before the budget is asked.
            let room = usize::try_from(budget.entries).unwrap_or(usize::MAX);
            let before = pending.len();
            pending.extend(entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).take(room));
            all_counted &= pending.len() - before < room.max(1);
        } else {
            files += u64::from(matches!(stat.kind, NodeKind::File { .. }));
            bytes += stat.size();
            newest = newest.max(Some(stat.meta.mtime));
        }
        if !budget.spend() {
            all_counted &= pending.is_empty();
            break;
        }
    }
    Ok(Stands::Something { files, bytes, newest, all_counted })
}
