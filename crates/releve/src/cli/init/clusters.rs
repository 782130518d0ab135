//! Finds the clusters of PostgreSQL: by the folders that their servers work in, and where Debian keeps them.

use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Debian's place: `15/main` below it.
const DEBIAN: &str = "var/lib/postgresql";

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Cluster {
    /// Its data directory.
    pub(super) data: String,
    /// A server runs in it.
    pub(super) runs: bool,
    /// Where that listens.
    pub(super) port: Option<u16>,
    /// The unit that starts it.
    pub(super) service: Option<String>,
}

/// Where a server runs, as its process shows it: the folder that it works in and its control group. Every process of a server works in its
/// data directory.
pub(super) struct Working {
    pub(super) folder: PathBuf,
    pub(super) groups: String,
}

/// Returns the clusters of the machine below `root`. Those of others than root can't be seen by everybody.
pub(super) fn find(root: &Path, working: &[Working]) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> = Vec::new();
    let inside = |path: &Path| Path::new("/").join(path.strip_prefix(root).unwrap_or(path));
    for server in working {
        // One whose folder was removed beneath it has nothing to copy.
        let Some(data) = server.folder.to_str().filter(|data| !data.ends_with(" (deleted)")) else {
            continue;
        };
        if data == "/" || clusters.iter().any(|cluster| cluster.data == data) {
            continue;
        }
        let below = server.folder.strip_prefix("/").unwrap_or(&server.folder);
        clusters.push(Cluster {
            data: data.to_owned(),
            runs: true,
            port: port(&root.join(below)),
            service: unit(&server.groups).or_else(|| debian_unit(root, &server.folder)),
        });
    }
    for version in folders(&root.join(DEBIAN)) {
        for folder in folders(&version) {
            let data = inside(&folder);
            let Some(text) = data.to_str() else { continue };
            let known = clusters.iter().any(|cluster| cluster.data == text);
            if !known && folder.join("PG_VERSION").exists() {
                let service = debian_unit(root, &data);
                clusters.push(Cluster { data: text.to_owned(), runs: false, port: None, service });
            }
        }
    }
    clusters.sort();
    clusters
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Reads the fourth line of `postmaster.pid`.
fn port(data: &Path) -> Option<u16> {
    fs::read_to_string(data.join("postmaster.pid")).ok()?.lines().nth(3)?.trim().parse().ok()
}

/// Reads which unit a process belongs to: `0::/system.slice/system-postgresql.slice/postgresql@15-main.service`.
fn unit(groups: &str) -> Option<String> {
    let path = groups.lines().find_map(|line| line.split_once("/system.slice/"))?.1;
    let unit = path.split('/').find(|part| part.ends_with(".service"))?;
    // What was started by hand belongs to whoever started it: stopping that would stop more.
    unit.starts_with("postgres").then(|| unit.trim_end_matches(".service").to_owned())
}

/// Returns the unit that Debian has for a cluster in its own place.
fn debian_unit(root: &Path, data: &Path) -> Option<String> {
    let below = data.strip_prefix(Path::new("/").join(DEBIAN)).ok()?;
    let mut names = below.iter().map(|name| name.to_str());
    let (version, name) = (names.next()??, names.next()??);
    let is_its = names.next().is_none()
        && root.join("etc/postgresql").join(version).join(name).join("postgresql.conf").exists();
    is_its.then(|| format!("postgresql@{version}-{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn working(folder: &str, groups: &str) -> Working {
        Working { folder: folder.into(), groups: groups.into() }
    }

    #[test]
    fn clusters_are_found_where_their_servers_work_and_where_debian_keeps_them() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        file(root, "var/lib/postgresql/15/main/PG_VERSION", "15");
        file(root, "var/lib/postgresql/15/main/postmaster.pid", "10\n/x\n1\n5433\n/run\n");
        file(root, "var/lib/postgresql/13/old/PG_VERSION", "13");
        file(root, "etc/postgresql/13/old/postgresql.conf", "");
        file(root, "var/lib/postgresql/.psql/history", "");
        let debian = "0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n";
        let found = find(
            root,
            &[
                working("/var/lib/postgresql/15/main", debian),
                working("/var/lib/postgresql/15/main", debian),
                working("/srv/pg", "0::/user.slice/user-1000.slice/session-1.scope"),
                working("/gone (deleted)", ""),
            ],
        );
        let of = |data: &str, runs, port, service: Option<&str>| Cluster {
            data: data.into(),
            runs,
            port,
            service: service.map(str::to_owned),
        };
        let expected = [
            of("/srv/pg", true, None, None),
            of("/var/lib/postgresql/13/old", false, None, Some("postgresql@13-old")),
            of("/var/lib/postgresql/15/main", true, Some(5433), Some("postgresql@15-main")),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_unit_is_only_stopped_where_it_is_the_servers_own() {
        assert_eq!(unit("0::/system.slice/postgresql-16.service"), Some("postgresql-16".into()));
        assert_eq!(unit("0::/system.slice/cron.service"), None);
        assert_eq!(unit("0::/user.slice/user@0.service/app.slice/postgres.service"), None);
    }
}
