//! Whether a point holds what the plan names now. After a typo, or once a folder has moved, it doesn't: that is to be found before anything is touched.

use crate::{Copied, MariadbSource, Source, SystemName};

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

impl Differs {
    /// Says it of the point of a system: as a whole sentence, with the way out.
    #[must_use]
    pub fn said(&self, system: &SystemName, source: &Source) -> String {
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
        if !self.held.is_empty() {
            said.push(format!(
                "the point holds {held}, which the plan does not name: it comes back all the same"
            ));
        }
        format!("`{system}`: {}", said.join("; "))
    }
}

/// Returns whether a path is another one, or lies in it.
fn is_within(path: &str, other: &str) -> bool {
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
    fn a_database_is_where_the_point_has_it_or_nowhere() {
        let sqlite = Source::Sqlite(SqliteSource { path: "/srv/shop.db".into() });
        assert_eq!(differs(&sqlite, &paths(&["/srv/shop.db", "/etc/shop"])), None);
        let found = differs(&sqlite, &paths(&["/srv/old.db"])).unwrap();
        assert_eq!(
            found.said(&"shop".into(), &sqlite),
            "`shop`: the plan names /srv/shop.db, the point holds /srv/old.db: correct `path`, or restore it with `releve restore shop --to DIR --path /srv/old.db`"
        );
    }
}
