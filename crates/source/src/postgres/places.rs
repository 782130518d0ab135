//! Whether a position is one place in a log, or one on each of several timelines: a recovery begins a new one, and its WAL counts on where the old one was
//! left, which may have gone on too.

use super::wal::{Lsn, WalFile};
use crate::error::at;
use crate::{Error, Kind, Result, Until};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A timeline: from where on it is one of its own, and up to where there is WAL of it at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Stretch {
    from: Lsn,
    to: Lsn,
}

/// Returns an error if a position lies on several timelines, or on none; it names the choices. Files of the log are known by their names and lengths, `data`
/// may hold more of it.
pub(super) fn check(until: &Until, files: &[(String, u64)], histories: &Path, data: &Path) -> Result<()> {
    let (position, timeline) = match until {
        Until::Position(position) => (position, None),
        Until::On { place, timeline } => match &**place {
            Until::Position(position) => (position, Some(*timeline)),
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    let invalid = |why: String| Err(Error::new("roll forward", Kind::Invalid(why)));
    let Ok(lsn) = position.parse::<Lsn>() else { return invalid(format!("`{position}` is no position")) };
    let mut stretches = stretches(files.iter().map(|(name, bytes)| (name.as_str(), *bytes)));
    // What its server wrote last may lie here alone.
    let here = fs::read_dir(data.join("pg_wal")).into_iter().flatten().flatten();
    let here: Vec<(String, u64)> = here
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?.len())))
        .collect();
    for (number, stretch) in self::stretches(here.iter().map(|(name, bytes)| (name.as_str(), *bytes))) {
        let known = stretches.entry(number).or_default();
        known.to = known.to.max(stretch.to);
    }
    let mut paths = BTreeMap::new();
    for folder in [histories, &histories.join("history"), &data.join("pg_wal")] {
        paths.append(&mut read_paths(folder)?);
    }
    for (number, path) in &paths {
        if let (Some(stretch), Some(left)) = (stretches.get_mut(number), path.values().max()) {
            stretch.from = *left;
        }
    }
    // Who names none goes to the newest, and comes by where that has left the others.
    let newest = paths.last_key_value();
    let comes_by = |number: u32| {
        newest.is_none_or(|(newest, path)| {
            *newest == number || path.get(&number).is_some_and(|left| lsn <= *left)
        })
    };
    let on: Vec<u32> = stretches
        .iter()
        .filter(|(_, stretch)| stretch.from < lsn && lsn <= stretch.to)
        .map(|(number, _)| *number)
        .collect();
    match (timeline, on.as_slice()) {
        (None, [number]) if comes_by(*number) => Ok(()),
        (None, [number]) => invalid(format!(
            "position {position} lies on timeline {number}, which a recovery has left: write {}",
            choices(position, &[*number])
        )),
        (Some(timeline), on) if on.contains(&timeline) => Ok(()),
        (_, []) => invalid(format!("position {position} is not in the log")),
        (Some(timeline), on) => invalid(format!(
            "position {position} is not on timeline {timeline}: write {}",
            choices(position, on)
        )),
        (None, on) => invalid(format!(
            "position {position} lies on {} timelines, since a recovery has begun another: write {}",
            on.len(),
            choices(position, on)
        )),
    }
}

fn choices(position: &str, on: &[u32]) -> String {
    let all: Vec<String> =
        on.iter().map(|number| format!("'position {position} on timeline {number}'")).collect();
    all.join(" or ")
}

/// Returns up to where there is WAL of each timeline, by the names of its segments.
fn stretches<'a>(files: impl Iterator<Item = (&'a str, u64)>) -> BTreeMap<u32, Stretch> {
    let files: Vec<_> = files.collect();
    // All segments of a server are of one length; one that a full disk has cut off is shorter.
    let longest = files.iter().filter(|(name, _)| name.len() >= 24).map(|(_, bytes)| *bytes).max();
    let mut found: BTreeMap<u32, Stretch> = BTreeMap::new();
    let Some(bytes) = longest.filter(|bytes| bytes.is_power_of_two() && *bytes >= 1 << 20) else {
        return found;
    };
    for (name, _) in files {
        if let Some(WalFile::Whole(segment) | WalFile::Partial(segment)) = WalFile::parse(name, bytes) {
            let stretch = found.entry(segment.timeline).or_default();
            stretch.to = stretch.to.max(Lsn(segment.number.saturating_add(1).saturating_mul(bytes)));
        }
    }
    found
}

/// Reads what the files in a folder say of timelines: of each, where it has left those before.
pub(super) fn read_paths(folder: &Path) -> Result<BTreeMap<u32, BTreeMap<u32, Lsn>>> {
    let mut paths = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(WalFile::History(number)) = name.to_str().and_then(|name| WalFile::parse(name, 1 << 20))
        else {
            continue;
        };
        let text = crate::ours::open_file(&entry.path()).and_then(std::io::read_to_string);
        let text = text.map_err(|error| Error::io(at("read", &entry.path()), error))?;
        // One without a word only keeps its number from being taken.
        if text.is_empty() {
            continue;
        }
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        };
        paths.insert(number, text.lines().filter_map(line).collect());
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str) -> Until {
        Until::Position(text.into())
    }

    #[test]
    fn a_position_on_two_timelines_is_refused_with_both_named_and_one_before_the_fork_is_one_place() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("00000002.history"), "1\t0/5000100\tbefore\n").unwrap();
        let bytes = 16 << 20;
        let files: Vec<(String, u64)> =
            ["000000010000000000000004", "000000010000000000000006", "000000020000000000000005.partial"]
                .map(|name| (name.to_owned(), bytes))
                .into();
        let check = |until: &Until| check(until, &files, dir.path(), Path::new("/nowhere"));
        check(&position("0/5000100")).unwrap();
        let said = check(&position("0/6000100")).unwrap_err().to_string();
        assert!(
            said.contains("which a recovery has left: write 'position 0/6000100 on timeline 1'"),
            "{said}"
        );
        let said = check(&position("0/5000200")).unwrap_err().to_string();
        assert!(
            said.contains("'position 0/5000200 on timeline 1' or 'position 0/5000200 on timeline 2'"),
            "{said}"
        );
        let on = |timeline| Until::On { place: Box::new(position("0/6000100")), timeline };
        check(&on(1)).unwrap();
        assert!(check(&on(2)).unwrap_err().to_string().contains("on timeline 1"));
        assert!(check(&position("0/9000100")).unwrap_err().to_string().contains("is not in the log"));
    }
}
