//! Whether a point holds what the plan names now. After a typo, or once a folder has moved, it doesn't: that is to be found before anything is touched.

use crate::{Copied, MariadbSource, Plan, Source, System, SystemName};

impl Source {
    /// Returns what its points hold, as they say it: absolute paths. Of a database's files more may lie beside them.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        match self {
            Self::Files(files) => files.paths.clone(),
            Self::Sqlite(sqlite) => vec![sqlite.path.clone()],
            Self::Postgres(postgres) => vec![postgres.data_directory.clone()],
            Self::PgDump(_) => vec!["/postgresql".to_owned()],
            Self::Mariadb(MariadbSource { copy: Copied::Logical, .. }) => vec!["/mariadb.sql".to_owned()],
            Self::Mariadb(mariadb) => mariadb.data_directory.iter().cloned().collect(),
            Self::Command(command) => vec![format!("/{}", command.name.as_deref().unwrap_or("dump"))],
        }
    }

    /// Returns whether these are places of the machine, where it is captured and comes back.
    #[must_use]
    pub const fn is_on_disk(&self) -> bool {
        matches!(
            self,
            Self::Files(_)
                | Self::Sqlite(_)
                | Self::Postgres(_)
                | Self::Mariadb(MariadbSource { copy: Copied::Physical, .. })
        )
    }

    /// Returns the key of the plan that says what its points hold.
    #[must_use]
    pub const fn paths_key(&self) -> &'static str {
        match self {
            Self::Files(_) => "paths",
            Self::Sqlite(_) => "path",
            Self::Postgres(_) | Self::Mariadb(MariadbSource { copy: Copied::Physical, .. }) => {
                "data_directory"
            }
            Self::PgDump(_) | Self::Mariadb(_) => "source",
            Self::Command(_) => "name",
        }
    }
}

/// Returns whether a system of files in the plan keeps what lies at an absolute path.
#[must_use]
pub fn is_kept(plan: &Plan, path: &str) -> bool {
    is_named(plan, path, |_, source| matches!(source, Source::Files(_)))
}

/// Returns whether a system that fits names what lies at a path.
pub(crate) fn is_named(plan: &Plan, path: &str, fits: impl Fn(&System, &Source) -> bool) -> bool {
    let mut all = plan.systems.values().filter_map(|system| Some((system, system.source.as_ref()?)));
    all.any(|(system, source)| {
        fits(system, source) && source.paths().iter().any(|kept| is_within(path, kept))
    })
}

/// Where a point and the plan name other things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differs {
    /// What the plan names and the point doesn't hold.
    pub named: Vec<String>,
    /// What the point holds and the plan doesn't name.
    pub held: Vec<String>,
    /// Nothing that the plan names is in the point: nothing could be put back.
    pub is_all: bool,
}

/// Returns where a point that holds these paths and what the plan names differ, `None` where they don't, or where the point doesn't say what it holds.
#[must_use]
pub fn differs(source: &Source, held: &[String]) -> Option<Differs> {
    let named = source.paths();
    if held.is_empty() || named.is_empty() {
        return None;
    }
    if !matches!(source, Source::Files(_)) {
        // A database lies in one place, and what belongs to it beside it.
        let is_there = named.iter().any(|path| held.iter().any(|other| is_same(path, other)));
        return (!is_there).then(|| Differs { named, held: held.to_vec(), is_all: true });
    }
    let not_in = |paths: &[String], others: &[String]| -> Vec<String> {
        let is_in = |path: &String| others.iter().any(|other| is_within(path, other));
        paths.iter().filter(|path| !is_in(path)).cloned().collect()
    };
    // A folder above what the point holds comes back with that in it, and with no more.
    let meets = |path: &String| held.iter().any(|other| is_within(path, other) || is_within(other, path));
    let is_all = !named.iter().any(meets);
    let differs = Differs { named: not_in(&named, held), held: not_in(held, &named), is_all };
    (!differs.named.is_empty() || !differs.held.is_empty()).then_some(differs)
}

/// What of a point comes back in place, and what else it holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boundary {
    /// Only these paths and what is below them; all of the point where empty.
    pub only: Vec<String>,
    /// What else the point holds: it stays as it stands on the machine.
    pub left: Vec<String>,
}

/// Returns what of a point that holds these paths a recovery in place may write. Of files that is what the plan names now: what a point holds besides was given up, or
/// belongs to another system by now, and newer work may lie there. What a database's point holds is all of one database.
#[must_use]
pub fn boundary(source: &Source, held: &[String]) -> Boundary {
    let Source::Files(files) = source else { return Boundary::default() };
    match differs(source, held) {
        Some(differs) if !differs.held.is_empty() && !differs.is_all => {
            let there = files.paths.iter().filter(|path| meets(path, held));
            Boundary { only: there.cloned().collect(), left: differs.held }
        }
        Some(differs) if differs.is_all => Boundary { only: files.paths.clone(), left: differs.held },
        // One that doesn't say what it holds may hold anything.
        None if held.is_empty() => Boundary { only: files.paths.clone(), left: Vec::new() },
        _ => Boundary::default(),
    }
}

/// Returns whether something of a path is in a point that holds these paths, as far as it says what it holds.
#[must_use]
pub fn meets(path: &str, held: &[String]) -> bool {
    held.is_empty() || held.iter().any(|other| is_within(path, other) || is_within(other, path))
}

impl Differs {
    /// Says it of the point of a system: as a whole sentence, with the way out. `point` is its id, where it is known; `beside` says that all of it comes back, into another folder.
    #[must_use]
    pub fn said(&self, system: &SystemName, source: &Source, point: Option<&str>, beside: bool) -> String {
        let (named, held) = (self.named.join(", "), self.held.join(", "));
        if self.is_all {
            let key = source.paths_key();
            let first = self.held.first().map_or("", String::as_str);
            return format!(
                "`{system}`: the plan names {named}, the point holds {held}: correct `{key}`, or restore it with `releve restore {system} --to DIR --path {first}`"
            );
        }
        let mut said = Vec::new();
        if !self.named.is_empty() {
            said.push(format!("the plan names {named}, which the point does not hold: it can't come back"));
        }
        if let Some(first) = self.held.first() {
            let is_above = |other: &String| source.paths().iter().any(|path| is_within(path, other));
            let what = match self.held.iter().any(is_above) {
                true => format!("{held}, of which the plan names a part only"),
                false => format!("{held}, which the plan does not name"),
            };
            let point = point.map_or_else(String::new, |point| format!(" --point {point}"));
            said.push(match beside {
                true => format!("the point holds also {what}: all of it comes, since it comes beside"),
                false => format!(
                    "the point holds also {what}: what the plan does not name is left as it is; `releve restore {system}{point} --to / --path {first}` brings it"
                ),
            });
        }
        format!("`{system}`: {}", said.join("; "))
    }
}

/// Returns whether a path is another one, or lies in it.
pub(crate) fn is_within(path: &str, other: &str) -> bool {
    let mut path = names(path);
    names(other).all(|name| path.next() == Some(name))
}

fn is_same(path: &str, other: &str) -> bool {
    names(path).eq(names(other))
}

/// Returns the names that lead to a path.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FilesSource, SqliteSource};

    fn paths(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    fn files(named: &[&str]) -> Source {
        Source::Files(FilesSource { paths: paths(named), ..FilesSource::default() })
    }

    #[test]
    fn what_the_plan_and_the_point_name_is_compared_as_paths() {
        let found = |named: &[&str], held: &[&str]| {
            let found = differs(&files(named), &paths(held))?;
            Some((found.named.join(" "), found.held.join(" "), found.is_all))
        };
        let is = |named: &str, held: &str, is_all| Some((named.to_owned(), held.to_owned(), is_all));
        assert_eq!(found(&["/enc/src/"], &["/enc//./src"]), None);
        assert_eq!(found(&["/a", "/b"], &["/b", "/a", "/a/c"]), None);
        assert_eq!(found(&["/a"], &[]), None, "an older one doesn't say");
        assert_eq!(found(&["/enc/srcc"], &["/enc/src"]), is("/enc/srcc", "/enc/src", true));
        assert_eq!(found(&["/a", "/c"], &["/a", "/b"]), is("/c", "/b", false));
        assert_eq!(found(&["/srv/shop"], &["/srv"]), is("", "/srv", false));
        assert_eq!(found(&["/srv"], &["/srv/shop"]), is("/srv", "", false));
    }

    #[test]
    fn in_place_nothing_is_written_that_the_plan_does_not_name() {
        let of = |named: &[&str], held: &[&str]| {
            let Boundary { only, left } = boundary(&files(named), &paths(held));
            (only.join(" "), left.join(" "))
        };
        let is = |only: &str, left: &str| (only.to_owned(), left.to_owned());
        assert_eq!(of(&["/a", "/b"], &["/b", "/a/"]), is("", ""));
        assert_eq!(of(&["/a"], &["/a", "/b"]), is("/a", "/b"));
        assert_eq!(of(&["/srv/shop"], &["/srv"]), is("/srv/shop", "/srv"));
        assert_eq!(of(&["/srv"], &["/srv/shop"]), is("", ""));
        assert_eq!(of(&["/a", "/c"], &["/a"]), is("", ""));
        assert_eq!(of(&["/a", "/c"], &["/a", "/b"]), is("/a", "/b"));
        assert_eq!(of(&["/c"], &["/b"]), is("/c", "/b"));
        assert_eq!(of(&["/a"], &[]), is("/a", ""), "what it holds isn't known");
        let sqlite = Source::Sqlite(SqliteSource { path: "/srv/shop.db".into(), ..SqliteSource::default() });
        assert_eq!(boundary(&sqlite, &paths(&["/srv/shop.db", "/etc/shop"])), Boundary::default());
    }

    #[test]
    fn what_is_left_is_named_with_the_way_to_bring_it() {
        let said = |named: &[&str], held: &[&str], beside| {
            let source = files(named);
            differs(&source, &paths(held)).unwrap().said(&"shop".into(), &source, Some("ab12"), beside)
        };
        assert_eq!(
            said(&["/a"], &["/a", "/b"], false),
            "`shop`: the point holds also /b, which the plan does not name: what the plan does not name is left as it is; \
             `releve restore shop --point ab12 --to / --path /b` brings it"
        );
        assert!(said(&["/srv/shop"], &["/srv"], false).contains("/srv, of which the plan names a part only"));
        assert!(said(&["/a"], &["/a", "/b"], true).contains("all of it comes"));
    }

    #[test]
    fn what_another_system_keeps_is_known_by_its_path() {
        let system = crate::System { source: Some(files(&["/etc/ssl"])), ..Default::default() };
        let plan = Plan { systems: [("certificates".into(), system)].into(), ..Plan::default() };
        assert!(is_kept(&plan, "/etc/ssl/certs/x.pem") && is_kept(&plan, "/etc/ssl"));
        assert!(!is_kept(&plan, "/etc/ssl2/x.pem") && !is_kept(&Plan::default(), "/etc/ssl"));
    }

    #[test]
    fn a_database_is_where_the_point_has_it_or_nowhere() {
        let sqlite = Source::Sqlite(SqliteSource { path: "/srv/shop.db".into(), ..SqliteSource::default() });
        assert_eq!(differs(&sqlite, &paths(&["/srv/shop.db", "/etc/shop"])), None);
        let found = differs(&sqlite, &paths(&["/srv/old.db"])).unwrap();
        assert_eq!(
            found.said(&"shop".into(), &sqlite, None, false),
            "`shop`: the plan names /srv/shop.db, the point holds /srv/old.db: correct `path`, or restore it with `releve restore shop --to DIR --path /srv/old.db`"
        );
    }
}
