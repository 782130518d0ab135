//! Which systems the facts suggest. Pure.

use super::clusters::Cluster;
use super::machine::{Facts, Kind};
use super::write::{array, glob, text};
use std::collections::BTreeSet;

/// The system that holds the settings of all others.
const CONFIGURATION: &str = "configuration";

/// A system as it will stand in the plan.
#[derive(Debug, Default)]
pub(super) struct Proposed {
    /// What a plan allows as a name, and no other system has.
    pub(super) name: String,
    pub(super) title: String,
    pub(super) criticality: &'static str,
    pub(super) needs: Vec<String>,
    /// The value of `source`, as TOML.
    pub(super) source: String,
    /// The unit that is stopped before anything is overwritten.
    pub(super) stop: Option<String>,
    /// The unit that is started after everything is back.
    pub(super) start: Option<String>,
    /// The checks, as TOML tables.
    pub(super) checks: Vec<String>,
    /// Lines of comment above it.
    pub(super) remarks: Vec<String>,
    /// Written as a comment: it would not work as it stands.
    pub(super) commented: bool,
}

impl Proposed {
    fn served_by(&mut self, service: Option<String>) {
        self.stop.clone_from(&service);
        self.start = service;
    }
}

/// Returns the systems of a machine. At least one is never commented out: `/etc`.
pub(super) fn propose(facts: &Facts, privileged: bool) -> Vec<Proposed> {
    let mut names = Names(BTreeSet::new());
    let mut systems = vec![configuration(facts, &mut names)];
    servers(facts, privileged, &mut names, &mut systems);
    let databases = databases(facts, &mut names);
    folders(facts, &databases, &mut names, &mut systems);
    systems.extend(databases.into_iter().map(|(_, system)| system));
    let needed: BTreeSet<String> = systems.iter().flat_map(|system| system.needs.clone()).collect();
    for system in &mut systems {
        if needed.contains(&system.name) {
            // What needs it starts the service: before that one's files are back it could not run.
            system.start = None;
        }
        let is_fed =
            ["{ mariadb", "{ pg_dump", "{ command"].iter().any(|kind| system.source.starts_with(kind));
        if system.start.is_some() || is_fed {
            // The unit and its settings come first, and those of the server that takes it in.
            system.needs.insert(0, CONFIGURATION.to_owned());
        }
    }
    systems
}

fn configuration(facts: &Facts, names: &mut Names) -> Proposed {
    let mut paths = vec!["/etc"];
    if facts.folders.contains("/var/spool/cron") {
        paths.push("/var/spool/cron");
    }
    let mut system = files(names.take(CONFIGURATION), "Configuration of the machine", &paths, &[]);
    system
        .remarks
        .push("What makes this machine itself: settings, users, certificates, the units below.".into());
    let own: Vec<_> = facts.units.iter().filter(|unit| unit.own).map(|unit| unit.name.as_str()).collect();
    // The system's own come with it.
    let is_told = |name: &str| {
        name.ends_with(".service")
            && !["getty@", "systemd-", "e2scrub"].iter().any(|own| name.starts_with(own))
    };
    let switched_on = facts.units.iter().filter(|unit| unit.enabled && !unit.own && is_told(&unit.name));
    let switched_on: Vec<_> = switched_on.map(|unit| unit.name.as_str()).collect();
    for (what, units) in [
        ("Services made for this machine", own),
        ("Packages to install again, whose services start with it", switched_on),
    ] {
        if !units.is_empty() {
            system.remarks.push(format!("{what}: {}.", units.join(", ")));
        }
    }
    system.remarks.push("DECIDE: what lies outside of the systems here: /root, /usr/local, the rest of /var/lib, mail, other disks?".into());
    system
}

/// Systems that only their own programs can copy. Never as files: a running server's files don't fit together.
fn servers(facts: &Facts, privileged: bool, names: &mut Names, systems: &mut Vec<Proposed>) {
    postgres(facts, privileged, names, systems);
    if let Some(server) = facts.runs(Kind::Mariadb) {
        systems.push(mariadb(names, server.socket.as_deref()));
        if server.contained {
            comment_out(
                systems,
                "DECIDE: it runs in a container: publish its port on 127.0.0.1, name it and a user in the url, and take this in.",
            );
        } else {
            reachable(systems, false, privileged);
        }
    }
    if let Some(server) = facts.runs(Kind::Mysql) {
        let dump = [
            "mysqldump",
            "--single-transaction",
            "--all-databases",
            "--routines",
            "--events",
            "--triggers",
            "--flush-privileges",
            "--hex-blob",
        ];
        systems.push(Proposed {
            remarks: vec![
                "MySQL is not supported as a source of its own: it is dumped whole, with its users.".into(),
                "Root is let in through the socket, as Debian sets it up; otherwise add --defaults-extra-file=/root/.my.cnf first.".into(),
                "On the bad day, install and start an empty server of this version first; the dump is loaded into it.".into(),
                "Tables that are not InnoDB may be caught in the middle of a change.".into(),
                "DECIDE: better checks ask for your own data.".into(),
            ],
            ..command(names.take("mysql"), "MySQL", &dump, &["mysql"], "databases.sql", &["mysql", "-e", "select 1"])
        });
        reachable(systems, server.contained, privileged);
    }
    if facts.runs(Kind::Redis).is_some() {
        let mut system = files(names.take("redis"), "Redis", &["/var/lib/redis"], &[]);
        system.source = format!(
            "{{ files = {{ paths = [\"/var/lib/redis\"], before = {} }} }}",
            array(&["redis-cli", "save"])
        );
        system.served_by(Some("redis-server".into()));
        system.remarks.push("DECIDE: Redis runs here. If it holds more than a cache, take this in; `save` blocks it while it writes.".into());
        system.commented = true;
        systems.push(system);
    }
    if facts.runs(Kind::Mongodb).is_some() {
        let mut system = command(
            names.take("mongodb"),
            "MongoDB",
            &["mongodump", "--archive"],
            &["mongorestore", "--archive", "--drop"],
            "mongodb.archive",
            &[],
        );
        system
            .remarks
            .push("DECIDE: MongoDB runs here. Take this in with the options that let it log in.".into());
        system.commented = true;
        systems.push(system);
    }
    for volumes in facts.folders.iter().filter(|folder| folder.ends_with("/volumes")) {
        let mut system = files(names.take("containers"), "Volumes of containers", &[volumes], &[]);
        system.remarks.push("DECIDE: containers keep data here. Dump the databases among them through `docker exec` (source.command),".into());
        system.remarks.push("and take the rest in like this, with containers stopped or data that may change while it is read.".into());
        system.commented = true;
        systems.push(system);
    }
}

fn mariadb(names: &mut Names, socket: Option<&str>) -> Proposed {
    // What would need escapes in an address is for a person to write.
    let is_plain =
        |path: &&str| path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    let socket = socket.filter(is_plain).unwrap_or("/run/mysqld/mysqld.sock");
    let url = format!("mysql://root@localhost?socket={socket}");
    let url = ["echo", url.as_str()];
    Proposed {
        name: names.take("mariadb"),
        title: "MariaDB".to_owned(),
        criticality: "important",
        source: format!("{{ mariadb = {{ url = {{ command = {} }} }} }}", array(&url)),
        checks: vec!["{ sql = \"select 1\" }".into()],
        remarks: vec![
            "All databases, at one instant, with users and their rights; what the dump could not hold is said of each point.".into(),
            "Root is let in through the socket, as Debian sets it up. A user with a password: url = { file = \"/etc/releve/mariadb.url\" } (docs/mariadb.md).".into(),
            "On the bad day, install and start an empty server of this version or a newer one first; the dump is loaded into it.".into(),
            "Loading replaces the databases of the dump: stop what uses them before.".into(),
            "DECIDE: a better check asks for your own data: select count(*) > 0 from shop.orders.".into(),
        ],
        ..Proposed::default()
    }
}

/// Clusters of PostgreSQL: with their data directory where that is seen, else dumped.
fn postgres(facts: &Facts, privileged: bool, names: &mut Names, systems: &mut Vec<Proposed>) {
    let is_postgres = |contained: bool| {
        facts.servers.iter().any(|server| server.kind == Kind::Postgres && server.contained == contained)
    };
    for cluster in &facts.clusters {
        systems.push(cluster_of(&cluster.data, Some(cluster), privileged, names));
    }
    if is_postgres(false) && !facts.clusters.iter().any(|cluster| cluster.runs) {
        systems.push(cluster_of("/var/lib/postgresql/15/main", None, privileged, names));
    }
    if is_postgres(true) {
        let dump = ["pg_dumpall", "--username=postgres", "--clean", "--if-exists"];
        let load = ["psql", "--username=postgres", "--quiet", "--no-psqlrc", "--output=/dev/null"];
        let check = ["psql", "--username=postgres", "--no-psqlrc", "-c", "select 1"];
        systems.push(command(names.take("postgresql"), "PostgreSQL", &dump, &load, "postgresql.sql", &check));
        reachable(systems, true, privileged);
    }
}

/// Returns the system of one cluster. Commented out where it isn't known well enough, or couldn't be copied now.
fn cluster_of(data: &str, cluster: Option<&Cluster>, privileged: bool, names: &mut Names) -> Proposed {
    let name = names.take("postgresql");
    let url = format!("{}_URL", name.to_uppercase().replace('-', "_"));
    let port = cluster.and_then(|cluster| cluster.port).unwrap_or(5432);
    let mut system = Proposed {
        title: format!("PostgreSQL cluster {data}"),
        criticality: "important",
        source: format!(
            "{{ postgres = {{ data_directory = {}, url = {{ env = {} }} }} }}",
            text(data),
            text(&url)
        ),
        checks: vec!["{ sql = \"select 1\" }".into()],
        remarks: vec![
            "Copied while it runs; `releve agent` keeps its WAL, so that any instant comes back, and rpo may be seconds.".into(),
            format!("DECIDE: make its role as docs/postgres.md says, and put into {url} (or a file: url = {{ file = … }}), for the agent too:"),
            format!("postgres://releve:PASSWORD@127.0.0.1:{port}/DATABASE. Until then each backup says that this one has no point."),
            "DECIDE: a better check asks for your own data: select count(*) > 0 from orders.".into(),
        ],
        name,
        ..Proposed::default()
    };
    system.served_by(cluster.and_then(|cluster| cluster.service.clone()));
    let why = match cluster {
        None => {
            "DECIDE: PostgreSQL runs here, and its data directory could not be seen: run releve as root, or name it and take this in."
        }
        Some(cluster) if !cluster.runs => {
            "DECIDE: this cluster does not run now. If it is still needed, start it and take this in."
        }
        Some(_) if !privileged => {
            "DECIDE: its files can only be read by root: run releve as root, and take this in."
        }
        Some(_) => return system,
    };
    system.remarks.push(why.into());
    system.commented = true;
    system
}

/// Comments the newest system out where its commands can't reach the server.
fn reachable(systems: &mut [Proposed], contained: bool, privileged: bool) {
    let why = match (contained, privileged) {
        (true, _) => {
            "DECIDE: it runs in a container: put `docker exec -i NAME` before its commands, and take this in."
        }
        (false, false) => "DECIDE: its commands need root: run releve as root, and take this in.",
        (false, true) => return,
    };
    comment_out(systems, why);
}

fn comment_out(systems: &mut [Proposed], why: &str) {
    if let Some(system) = systems.last_mut() {
        system.remarks.push(why.to_owned());
        system.commented = true;
    }
}

/// Each with its path.
fn databases(facts: &Facts, names: &mut Names) -> Vec<(String, Proposed)> {
    let propose = |path: &String| {
        let mut parts = path.split('/').filter(|part| !part.is_empty()).rev();
        let file = parts.next().unwrap_or_default();
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        let below = path.strip_prefix("/var/lib/").or_else(|| path.strip_prefix("/srv/")).unwrap_or(path);
        let folder = below
            .split('/')
            .find(|part| !part.is_empty())
            .filter(|folder| *folder != file && *folder != stem);
        let name = folder.map_or_else(|| stem.to_owned(), |folder| format!("{folder}-{stem}"));
        let mut system = Proposed {
            name: names.take(&name),
            title: format!("SQLite database {path}"),
            criticality: "important",
            source: format!("{{ sqlite = {{ path = {} }} }}", text(path)),
            checks: vec!["{ sql = \"select count(*) > 0 from sqlite_schema\" }".into()],
            ..Proposed::default()
        };
        // A unit seldom names its database, mostly the folder around it.
        let around = facts.srv.iter().find(|folder| is_in(path, folder));
        system.served_by(service_of(facts, path).or_else(|| service_of(facts, around?)));
        system.remarks.push("Copied through SQLite itself, while it is written to.".into());
        system
            .remarks
            .push("DECIDE: a better check asks for your own data: select count(*) > 0 from orders.".into());
        (path.clone(), system)
    };
    facts.databases.iter().map(propose).collect()
}

fn folders(facts: &Facts, databases: &[(String, Proposed)], names: &mut Names, systems: &mut Vec<Proposed>) {
    let mut propose = |name: &str, title: String, path: &str, also_without: Vec<String>| {
        let inside: Vec<_> = databases
            .iter()
            .filter(|(database, _)| {
                is_in(database, path) && !also_without.iter().any(|without| is_in(database, without))
            })
            .collect();
        let mut exclude: Vec<String> = also_without.iter().map(|folder| glob(folder)).collect();
        for (database, _) in &inside {
            exclude.push(glob(database));
            exclude.push(format!("{}-{{wal,shm,journal}}", glob(database)));
        }
        if path == "/home" {
            exclude.push("**/.cache".into());
        }
        let mut system = files(names.take(name), &title, &[path], &exclude);
        system.needs = inside.iter().map(|(_, database)| database.name.clone()).collect();
        system.served_by(service_of(facts, path));
        if !inside.is_empty() {
            system.remarks.push("The databases in it are systems of their own: their files must not be copied while they are written to.".into());
        }
        system
    };
    for folder in &facts.srv {
        let name = folder.rsplit('/').next().unwrap_or_default();
        let system = propose(name, format!("Folder {folder}"), folder, Vec::new());
        systems.push(system);
    }
    if facts.folders.contains("/srv") {
        let title = if facts.srv.is_empty() { "Folder /srv" } else { "Whatever else is in /srv" };
        let mut system = propose("srv", title.into(), "/srv", facts.srv.clone());
        if !facts.srv.is_empty() {
            system.criticality = "normal";
            system.served_by(None);
            system
                .remarks
                .push("Folders that are made later come in here until they are systems of their own.".into());
        }
        systems.push(system);
    }
    if facts.folders.contains("/var/www") {
        let mut system = propose("web", "Web sites".into(), "/var/www", Vec::new());
        let server = facts.runs(Kind::Web).filter(|server| !server.contained);
        if let Some(server) = server {
            system.served_by(Some(server.program.clone()));
        }
        let port = [80, 443].into_iter().find(|port| facts.ports.contains(port));
        if let (Some(_), Some(port)) = (server, port) {
            system.checks.push(format!("{{ tcp = \"127.0.0.1:{port}\" }}"));
            system.remarks.push("DECIDE: a better check asks for a page: { http = \"http://127.0.0.1/\", contains = \"Welcome\" }.".into());
        }
        systems.push(system);
    }
    if facts.folders.contains("/home") {
        let mut system = propose("home", "Home folders".into(), "/home", Vec::new());
        system.criticality = "normal";
        system.served_by(None);
        systems.push(system);
    }
    if facts.folders.contains("/opt") {
        let mut system = propose("opt", "Software in /opt".into(), "/opt", Vec::new());
        system.criticality = "normal";
        system.served_by(None);
        systems.push(system);
    }
}

/// Returns the service whose own unit file names a path, if there is exactly one: stopping the wrong one would be worse than none.
fn service_of(facts: &Facts, path: &str) -> Option<String> {
    let names_it = |unit: &&super::machine::Unit| {
        let words = unit.text.split(|c: char| c.is_whitespace() || "=\"':;,".contains(c));
        unit.name.ends_with(".service")
            && words.into_iter().any(|word| word.starts_with('/') && is_in(word, path))
    };
    let mut found = facts.units.iter().filter(names_it);
    found.next().filter(|_| found.next().is_none()).map(|unit| unit.name.clone())
}

fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn files(name: String, title: &str, paths: &[&str], exclude: &[String]) -> Proposed {
    let mut source = format!("{{ files = {{ paths = {}", array(paths));
    if !exclude.is_empty() {
        source.push_str(&format!(", exclude = {}", array(exclude)));
    }
    source.push_str(" } }");
    Proposed { name, title: title.to_owned(), criticality: "important", source, ..Proposed::default() }
}

fn command(
    name: String,
    title: &str,
    dump: &[&str],
    load: &[&str],
    output: &str,
    check: &[&str],
) -> Proposed {
    let source = format!(
        "{{ command = {{ dump = {}, load = {}, name = {} }} }}",
        array(dump),
        array(load),
        text(output)
    );
    let checks =
        if check.is_empty() { Vec::new() } else { vec![format!("{{ command = {} }}", array(check))] };
    Proposed {
        name,
        title: title.to_owned(),
        criticality: "important",
        source,
        checks,
        ..Proposed::default()
    }
}

/// The names that are taken.
struct Names(BTreeSet<String>);

impl Names {
    /// Returns the nearest name that a plan allows and that is still free.
    fn take(&mut self, wanted: &str) -> String {
        let base = super::write::name(wanted, "system");
        let mut name = base.clone();
        let mut number = 2u32;
        while !self.0.insert(name.clone()) {
            name = format!("{base}-{number}");
            number += 1;
        }
        name
    }
}
