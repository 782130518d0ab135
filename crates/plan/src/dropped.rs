//! What a system captured once and captures no more since its plan was edited: a path that was taken out, mistyped or renamed, or what a new `exclude` takes. Nothing was
//! deleted by that, so no loss is seen, and no newer point has it. A person says that it is meant by taking a later point for good.

use crate::judge::{files, short};
use crate::paths::{is_named, is_within};
use crate::{Facts, HostName, Plan, Source, SystemName};
use jiff::{SignedDuration, Timestamp};

/// A new `exclude` is told where so many files are gone with it: caches and logs of a few files are left out all the time.
const FILES: u64 = 20;
/// What was named for less than a week, between two points of the paths of now, was a mistake that somebody has corrected.
const MISTAKE: SignedDuration = crate::span::short_of(7);

/// Something that is captured no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The path, or the patterns that take it.
    pub what: String,
    /// It is a path that the plan names no more.
    pub is_path: bool,
    /// Files that are gone with it, if that is known.
    pub files: Option<u64>,
    /// The last point that has it …
    pub point: String,
    /// … and when that was made.
    pub time: Timestamp,
    /// The first point that hasn't …
    pub first: String,
    /// … and when that was made.
    pub since: Timestamp,
    /// The newest point: a person who trusts that one says that it is meant.
    pub newest: String,
}

/// Returns whether the plan says what of a source is captured. What belongs to a server is known to that, and lies here today and there tomorrow.
#[must_use]
pub fn is_of_plan(source: &Source) -> bool {
    !source.recovers() && !matches!(source, Source::PgDump(_) | Source::Mariadb(_))
}

/// Returns what the newest of these points doesn't capture any more, and an earlier one did, since a person has last trusted one. They are of one system, oldest first.
/// What another system of the plan captures is kept.
#[must_use]
pub fn dropped(plan: &Plan, source: &Source, points: &[&Facts]) -> Vec<Dropped> {
    if !is_of_plan(source) {
        return Vec::new();
    }
    let counts = |point: &&&Facts| {
        point.complete
            && !point.paths.is_empty()
            && point.left_by.is_none()
            && (point.is_base() || point.trusted)
    };
    let points: Vec<&Facts> = points.iter().filter(counts).copied().collect();
    let explained = points.iter().rposition(|point| point.trusted).unwrap_or(0);
    let Some((last, before)) = points.get(explained..).and_then(<[&Facts]>::split_last) else {
        return Vec::new();
    };
    let mut found = paths(plan, last, before);
    found.extend(excluded(last, before));
    found
}

fn paths(plan: &Plan, last: &Facts, before: &[&Facts]) -> Vec<Dropped> {
    let (mut found, mut looked): (Vec<Dropped>, Vec<&str>) = (Vec::new(), Vec::new());
    for (at, holder) in before.iter().enumerate().rev() {
        for path in &holder.paths {
            let is_in = |other: &String| is_within(path, other);
            // Only the last point with it tells what went with it.
            if last.paths.iter().any(is_in) || looked.iter().any(|one| is_within(path, one)) {
                continue;
            }
            looked.push(path);
            // Where the last point with it is the newest of all, it is the newest one that lacks it.
            let next = before.get(at + 1).copied().unwrap_or(last);
            let one = Dropped::between(path.clone(), true, (holder, next), last);
            // Empty, or it has only another name by now.
            if one.files == Some(0) || is_mistake(path, last, before) || is_captured(plan, path, &last.host) {
                continue;
            }
            found.push(one);
        }
    }
    found.reverse();
    found
}

/// Returns whether a path was named for a short time alone, between points of the paths of now.
fn is_mistake(path: &str, last: &Facts, before: &[&Facts]) -> bool {
    let has = |point: &Facts| point.paths.iter().any(|other| is_within(path, other));
    let Some(first) = before.iter().position(|point| has(point)) else { return false };
    let until = before.iter().rposition(|point| has(point)).unwrap_or(first);
    let time = |at: usize| before.get(at).map(|point| point.counts());
    let was_so = before.iter().take(first).any(|point| point.paths == last.paths);
    let held = time(until).zip(time(first)).map(|(until, first)| until.duration_since(first).abs());
    was_so && held.is_some_and(|held| held < MISTAKE)
}

/// Returns whether a system of the plan captures a path of the machine that calls itself so; of any, where that isn't known (empty).
#[must_use]
pub fn is_captured(plan: &Plan, path: &str, machine: &str) -> bool {
    let is_there = |host: &HostName| machine.is_empty() || plan.machine_name(host) == machine;
    is_named(plan, path, |system, source| source.is_on_disk() && is_there(&system.host))
}

/// Returns the last edit of `exclude` that files went with, of which all is left out still.
fn excluded(last: &Facts, before: &[&Facts]) -> Option<Dropped> {
    let mut after = last;
    before.iter().copied().rev().find_map(|holder| {
        let next = std::mem::replace(&mut after, holder);
        let is_new = |pattern: &&String| !holder.excludes.contains(pattern);
        let new: Vec<&str> = next.excludes.iter().filter(is_new).map(String::as_str).collect();
        let is_still = new.iter().all(|pattern| last.excludes.iter().any(|one| one == pattern));
        let one = Dropped::between(new.join(", "), false, (holder, next), last);
        let is_much = one.files.is_some_and(|files| files >= FILES);
        (is_much && !new.is_empty() && is_still && next.paths == holder.paths).then_some(one)
    })
}

/// Returns how many files a point found gone, and nowhere else, if it has counted that.
fn gone(point: &Facts) -> Option<u64> {
    let change = &point.change;
    (change.counted > 0).then(|| change.files_removed.saturating_sub(change.files_moved))
}

impl Dropped {
    /// What the first of two points is the last to have, and the one behind it the first that hasn't.
    fn between(what: String, is_path: bool, (holder, next): (&Facts, &Facts), last: &Facts) -> Self {
        let is_counted = next.since.as_ref() == Some(&holder.id);
        Self {
            what,
            is_path,
            files: is_counted.then(|| gone(next)).flatten(),
            point: holder.id.clone(),
            time: holder.counts(),
            first: next.id.clone(),
            since: next.counts(),
            newest: last.id.clone(),
        }
    }

    /// Says it, as a whole sentence.
    #[must_use]
    pub fn said(&self) -> String {
        let files = match self.files {
            Some(count) => format!("{} went with it; ", files(count)),
            None => String::new(),
        };
        let what = match self.is_path {
            true => format!("{} is no longer captured", self.what),
            false => format!("since `exclude` has {}, files are no longer captured, or gone", self.what),
        };
        let point = short(&self.point);
        format!("{what}: {files}the last point that has it is {point} of {:.0}", self.time)
    }

    /// Says what to type where it isn't meant, and where it is.
    #[must_use]
    pub fn way_out(&self, system: &SystemName) -> String {
        let key = if self.is_path { "paths" } else { "exclude" };
        let newest = short(&self.newest);
        format!(
            "if that is not meant: correct `{key}` in the plan, then releve backup {system}; if it is: releve points --trust {newest}"
        )
    }

    /// Says of a recovery from a later point what it doesn't bring, and what does.
    #[must_use]
    pub fn missed(&self, system: &SystemName) -> String {
        let point = short(&self.point);
        let path = if self.is_path { format!(" --path {}", self.what) } else { String::new() };
        format!(
            "`{system}`: this point does not hold all that was captured before: {}; `releve restore {system} --point {point} --to DIR{path}` brings it",
            self.said()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Changed;
    use crate::{FilesSource, System};

    const HOUR: i64 = 3600;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hour * HOUR).unwrap()
    }

    fn texts(texts: &str) -> Vec<String> {
        texts.split_whitespace().map(str::to_owned).collect()
    }

    /// A point of these paths and these excludes, an hour for each, counted against the one before: so many files are gone, and so many of them moved.
    fn point(n: i64, paths: &str, excludes: &str, gone: u64, moved: u64) -> Facts {
        Facts {
            id: format!("p{n}"),
            time: at(n),
            complete: true,
            paths: texts(paths),
            excludes: texts(excludes),
            since: Some(format!("p{}", n - 1)),
            change: Changed { files_removed: gone, files_moved: moved, counted: 1, ..Changed::default() },
            ..Facts::default()
        }
    }

    fn plan(others: &str) -> Plan {
        let files = FilesSource { paths: texts(others), ..FilesSource::default() };
        let system = System { source: Some(Source::Files(files)), ..System::default() };
        Plan { systems: [("other".into(), system)].into(), ..Plan::default() }
    }

    /// What is said of these points: the path or the patterns, the files, and the point that has it.
    fn told(others: &str, points: &[Facts]) -> Vec<String> {
        let points: Vec<&Facts> = points.iter().collect();
        let source = Source::Files(FilesSource::default());
        let all = dropped(&plan(others), &source, &points);
        all.iter().map(|one| format!("{} {:?} {}", one.what, one.files, one.point)).collect()
    }

    #[test]
    fn a_path_that_is_captured_no_more_is_told_until_a_person_says_that_it_is_meant() {
        let typo = || vec![point(1, "/src", "", 0, 0), point(2, "/other", "", 190, 0)];
        assert_eq!(told("", &typo()), ["/src Some(190) p1"]);
        let later = || [typo(), vec![point(3, "/other", "", 0, 0)]].concat();
        assert_eq!(told("", &later()), ["/src Some(190) p1"]);
        let mut trusted = later();
        trusted[2].trusted = true;
        assert_eq!(told("", &trusted), Vec::<String>::new());
        // Corrected: the mistake is no loss.
        assert_eq!(told("", &[later(), vec![point(4, "/src", "", 1, 0)]].concat()), Vec::<String>::new());
        // What was captured for long and is taken out again is.
        let long = [point(1, "/a", "", 0, 0), point(2, "/a /b", "", 0, 0), point(200, "/a /b", "", 0, 0)];
        let out = |gone| {
            [long.to_vec(), vec![Facts { since: Some("p200".into()), ..point(201, "/a", "", gone, 0) }]]
        };
        assert_eq!(told("", &out(7).concat()), ["/b Some(7) p200"]);
        assert!(told("", &out(0).concat()).is_empty(), "nothing was in it");
        assert!(told("/b", &out(7).concat()).is_empty(), "another system has it");
    }

    #[test]
    fn what_is_captured_is_a_place_of_the_machine_that_it_was_on() {
        let mut plan = plan("/b");
        let mut is = |machine: &str, source: Option<Source>| {
            let other = plan.systems.get_mut(&SystemName::from("other")).unwrap();
            (other.host, other.source) = ("shop-1".into(), source.or_else(|| other.source.take()));
            is_captured(&plan, "/b/c", machine)
        };
        assert!(is("shop-1", None) && is("", None));
        assert!(!is("shop-2", None), "another machine has a folder of that name");
        // What a point calls what a command prints is no folder of anybody's.
        let command = crate::CommandSource { name: Some("b".into()), ..crate::CommandSource::default() };
        assert!(!is("shop-1", Some(Source::Command(command))));
    }

    #[test]
    fn a_folder_that_has_another_name_by_now_is_no_loss_nor_is_one_that_is_named_by_a_folder_above() {
        assert!(
            told("", &[point(1, "/srv/shop", "", 0, 0), point(2, "/srv/store", "", 190, 190)]).is_empty()
        );
        assert!(told("", &[point(1, "/srv/shop", "", 0, 0), point(2, "/srv", "", 3, 0)]).is_empty());
        let part = [point(1, "/srv", "", 0, 0), point(2, "/srv/shop", "", 3, 0)];
        assert_eq!(told("", &part), ["/srv Some(3) p1"]);
    }

    #[test]
    fn a_new_exclude_is_told_where_many_files_go_with_it() {
        let of = |gone| [point(1, "/a", "cache", 0, 0), point(2, "/a", "cache *.jpg", gone, 0)];
        assert_eq!(told("", &of(300)), ["*.jpg Some(300) p1"]);
        assert!(told("", &of(5)).is_empty());
        let back = |gone| [of(gone).to_vec(), vec![point(3, "/a", "cache", 0, 0)]].concat();
        assert!(told("", &back(300)).is_empty(), "it is taken back");
        let one =
            &dropped(&plan(""), &Source::Files(FilesSource::default()), &of(300).iter().collect::<Vec<_>>())
                [0];
        assert!(one.way_out(&"shop".into()).contains("correct `exclude`"), "{one:?}");
        assert!(one.said().contains("300 files went with it"), "{}", one.said());
    }

    #[test]
    fn what_is_incomplete_or_suspicious_tells_nothing_and_no_server_is_asked() {
        let mut points = [point(1, "/src", "", 0, 0), point(2, "/other", "", 190, 0)];
        points[1].complete = false;
        assert!(told("", &points).is_empty());
        let points = [point(1, "/src", "", 0, 0), point(2, "/other", "", 190, 0)];
        let points: Vec<&Facts> = points.iter().collect();
        let server = Source::Postgres(crate::PostgresSource::default());
        assert!(dropped(&plan(""), &server, &points).is_empty());
    }
}
