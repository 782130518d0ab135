//! Systems of which one has its data below the paths of another. Each place is written by one of them: by a database where it is one's, and else by whoever names it
//! most exactly.
//! Points aren't changed by that: each holds all of its own paths, and where only the wider one is recovered all of it comes back.

use crate::Result;
use plan::{HostName, Plan, Restore, Runbook, Source, System, SystemName};
use source::Patterns;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What SQLite keeps beside a database goes with it; the first is the database itself.
const BESIDE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// A place of one system that lies below a path of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shared {
    /// Whose it is.
    pub(super) owner: SystemName,
    /// Absolute.
    pub(super) path: PathBuf,
}

/// The systems of a plan by where their data lie, and what of them is recovered: of thousands each has a few around it, and is held against these alone.
pub(super) struct Nearby<'a> {
    plan: &'a Plan,
    /// Whose each path on a machine is.
    owners: BTreeMap<(&'a HostName, PathBuf), Vec<&'a SystemName>>,
    /// What is recovered, with its place in the list.
    entries: BTreeMap<&'a SystemName, (usize, &'a Restore)>,
}

impl<'a> Nearby<'a> {
    pub(super) fn new(book: &'a Runbook, plan: &'a Plan) -> Self {
        let mut owners: BTreeMap<(&HostName, PathBuf), Vec<&SystemName>> = BTreeMap::new();
        for (name, system) in &plan.systems {
            for path in system.source.iter().filter(|source| source.is_on_disk()).flat_map(Source::paths) {
                owners.entry((&system.host, path.into())).or_default().push(name);
            }
        }
        let entries = book.systems.iter().enumerate().map(|(at, entry)| (&entry.system, (at, entry)));
        Self { plan, owners, entries: entries.collect() }
    }

    /// Returns the other systems that name something at a path of a system, above it or below it, in the order of their names.
    fn around(&self, name: &SystemName) -> BTreeSet<&'a SystemName> {
        let system = self.plan.systems.get(name);
        let Some((host, Source::Files(files))) =
            system.and_then(|system| Some((&system.host, system.source.as_ref()?)))
        else {
            return BTreeSet::new();
        };
        let mut found = BTreeSet::new();
        for wide in files.paths.iter().map(Path::new) {
            // What lies below a path follows it.
            let behind = self.owners.range((host, wide.to_owned())..);
            let below = behind.take_while(|((of, path), _)| *of == host && path.starts_with(wide));
            found.extend(below.flat_map(|(_, names)| names).copied());
            let above =
                wide.ancestors().skip(1).filter_map(|above| self.owners.get(&(host, above.to_owned())));
            found.extend(above.flatten().copied());
        }
        found.remove(name);
        found
    }

    /// Returns what of the paths of a system the others of its recovery put back.
    pub(super) fn left_to_others(&self, entry: &Restore) -> Result<Vec<Shared>> {
        let around = self.around(&entry.system);
        let mut others: Vec<_> = around.iter().filter_map(|other| self.entries.get(other)).collect();
        others.sort_by_key(|(at, _)| *at);
        let others = others.into_iter().map(|(_, other)| (&other.system, yields_to(entry, other)));
        shared(self.plan, &entry.system, others)
    }
}

/// Of two that name the same, one with the newer point puts it back.
fn yields_to(entry: &Restore, other: &Restore) -> bool {
    let order = |entry: &Restore| (entry.choice.point.time, std::cmp::Reverse(entry.system.clone()));
    order(other) > order(entry)
}

/// Returns what of the paths of a system the others of its recovery put back, for one system alone.
pub(super) fn left_to_others(entry: &Restore, book: &Runbook, plan: &Plan) -> Result<Vec<Shared>> {
    let others = book.systems.iter().filter(|other| other.system != entry.system);
    shared(plan, &entry.system, others.map(|other| (&other.system, yields_to(entry, other))))
}

/// Returns the places that are put back by others in the way in which a restore is told of them.
pub(super) fn without(left: &[Shared], plan: &Plan) -> Vec<PathBuf> {
    let all = |shared: &Shared| {
        let source = plan.systems.get(&shared.owner).and_then(|system| system.source.as_ref());
        let suffixes = match source {
            Some(Source::Sqlite(_)) => BESIDE.as_slice(),
            _ => BESIDE.get(..1).unwrap_or_default(),
        };
        let named = |suffix: &&str| {
            let mut path = shared.path.clone().into_os_string();
            path.push(suffix);
            PathBuf::from(path)
        };
        suffixes.iter().map(named).collect::<Vec<_>>()
    };
    left.iter().flat_map(all).collect()
}

/// Says that nothing of a system is written, where others put back all that it names.
pub(super) fn nothing_left(entry: &Restore, system: &System, without: &[PathBuf]) -> Option<String> {
    let Some(Source::Files(files)) = &system.source else { return None };
    let is_anothers = |path: &String| without.iter().any(|other| Path::new(path).starts_with(other));
    (!without.is_empty() && files.paths.iter().all(is_anothers)).then(|| {
        format!(
            "nothing of point {} was put back: all that it holds comes back from the points of other systems, which name the same paths",
            entry.choice.point.id
        )
    })
}

/// Says whose what is that lies below the paths of a system.
pub(super) fn said(entry: &Restore, nearby: &Nearby<'_>) -> Result<Vec<String>> {
    let name = &entry.system;
    let left = nearby.left_to_others(entry)?.into_iter().map(|shared| {
        let path = crate::survey::shown(&shared.path);
        format!(
            "`{name}`: {path} is of `{owner}` too, and comes back from its point: `{name}` leaves it out",
            owner = shared.owner
        )
    });
    let mut lines: Vec<String> = left.collect();
    let around = nearby.around(name).into_iter();
    let away = around.filter(|other| !nearby.entries.contains_key(other)).map(|other| (other, false));
    lines.extend(shared(nearby.plan, name, away)?.into_iter().map(|shared| {
        let (path, other) = (crate::survey::shown(&shared.path), shared.owner);
        format!(
            "`{name}`: {path} is of `{other}` too, which isn't recovered with it: it comes back as the point of `{name}` has it; `releve recover {name} {other}` brings each its own"
        )
    }));
    Ok(lines)
}

/// Returns the places that `name` leaves to others on its machine; of what both name in the same words all, if it yields to that one.
fn shared<'o>(
    plan: &Plan,
    name: &SystemName,
    others: impl IntoIterator<Item = (&'o SystemName, bool)>,
) -> Result<Vec<Shared>> {
    let Some(own) = plan.systems.get(name) else { return Ok(Vec::new()) };
    let Some(Source::Files(files)) = &own.source else { return Ok(Vec::new()) };
    let (mut found, mut excluded): (Vec<Shared>, Option<Patterns>) = (Vec::new(), None);
    for (other, yields) in others {
        let its = plan.systems.get(other).filter(|its| own.host == its.host && name != other);
        let source = its.and_then(|its| its.source.as_ref()).filter(|source| source.is_on_disk());
        let Some(source) = source else { continue };
        let excluded = match &excluded {
            Some(excluded) => excluded,
            None => excluded.insert(Patterns::new(&files.exclude)?),
        };
        let is_database = !matches!(source, Source::Files(_));
        let paths = source.paths();
        for path in paths.iter().map(Path::new) {
            for wide in files.paths.iter().map(Path::new) {
                let is_out = || {
                    let mut above = path.ancestors().take_while(|above| *above != wide);
                    above.any(|above| excluded.matches(above))
                };
                let place = if path == wide {
                    (is_database || yields).then_some(path)
                } else if path.starts_with(wide) {
                    (!is_out()).then_some(path)
                } else {
                    // Files that are named within a database are the database's.
                    (is_database && wide.starts_with(path)).then_some(wide)
                };
                let place = place.map(|path| Shared { owner: other.clone(), path: path.to_owned() });
                if let Some(place) = place.filter(|place| !found.contains(place)) {
                    found.push(place);
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sources: &[(&str, &str)]) -> Plan {
        let mut text = "[organisation]\nname = \"Atelier\"\n[sites.here]\n[hosts.server]\nsite = \"here\"\n\
             [vaults.near]\nurl = \"file:///vault\"\nsite = \"here\"\npassword = { file = \"/key\" }\n\
             [policy]\nvaults = [\"near\"]\nevery = \"1 hour\"\n"
            .to_owned();
        for (name, source) in sources {
            text += &format!(
                "[systems.{name}]\nhost = \"server\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nsource.{source}\n"
            );
        }
        plan::parse(&[plan::SourceFile { name: "plan.toml".into(), text }]).plan.unwrap()
    }

    fn left(plan: &Plan, name: &str, other: &str, yields: bool) -> Vec<String> {
        let left = shared(plan, &name.into(), [(&other.into(), yields)]).unwrap();
        without(&left, plan).into_iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn each_place_is_written_by_the_system_that_names_it_most_exactly_or_whose_database_it_is() {
        let plan = plan(&[
            ("f", "files = { paths = [\"/d\", \"/same\"], exclude = [\"/d/out\"] }"),
            ("g", "files = { paths = [\"/d/sub/\", \"/d/out/x\", \"/other\", \"/same\"] }"),
            ("db", "sqlite = { path = \"/d/a.db\" }"),
            ("pg", "postgres = { url = { file = \"/url\" }, data_directory = \"/d/pg\" }"),
            ("conf", "files = { paths = [\"/d/pg/pg_hba.conf\"] }"),
        ]);
        assert_eq!(left(&plan, "f", "g", false), ["/d/sub/"]);
        assert_eq!(left(&plan, "f", "g", true), ["/d/sub/", "/same"]);
        assert_eq!(left(&plan, "g", "f", false), [] as [&str; 0]);
        let of_sqlite = ["/d/a.db", "/d/a.db-wal", "/d/a.db-shm", "/d/a.db-journal"];
        assert_eq!(left(&plan, "f", "db", false), of_sqlite);
        assert_eq!(left(&plan, "f", "pg", false), ["/d/pg"]);
        assert_eq!(left(&plan, "conf", "pg", false), ["/d/pg/pg_hba.conf"]);
        assert_eq!(left(&plan, "pg", "conf", true), [] as [&str; 0]);
        // Whoever has nothing at, above or below its paths is held against none of the others.
        let book = Runbook::default();
        let nearby = Nearby::new(&book, &plan);
        let around = |name: &str| -> Vec<String> {
            nearby.around(&name.into()).into_iter().map(|other| other.0.clone()).collect()
        };
        assert_eq!(around("f"), ["conf", "db", "g", "pg"]);
        assert_eq!((around("g"), around("conf")), (vec!["f".to_owned()], vec!["f".into(), "pg".into()]));
        assert_eq!(around("pg"), [] as [&str; 0]);
    }
}
