//! What can be seen of a machine without asking or changing anything. Everything is read below a root, so that a test can
//! make one up; what can't be read is left out, and where it matters it is noted.

use super::clusters::{self, Cluster, Working};
use super::databases;
use super::disks::{self, Disk, Mount};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many folders of `/srv` become systems of their own; a person reads no longer a plan.
const FOLDERS_MAX: usize = 20;
/// The part of a unit file that is read.
const UNIT_BYTES_MAX: usize = 64 * 1024;

/// How far the search for databases goes.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Folders below one another.
    pub(super) depth: usize,
    /// Entries that are looked at.
    pub(super) files: usize,
    /// Databases that are taken.
    pub(super) databases: usize,
    /// How long it may take.
    pub(super) time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { depth: 4, files: 200_000, databases: 30, time: Duration::from_secs(5) }
    }
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Facts {
    /// What the machine calls itself.
    pub(super) hostname: String,
    /// Its operating system, as that calls itself.
    pub(super) system: Option<String>,
    /// The programs that serve others.
    pub(super) servers: Vec<Server>,
    /// TCP ports that accept connections.
    pub(super) ports: BTreeSet<u16>,
    /// The services that were made on this machine, or switched on here.
    pub(super) units: Vec<Unit>,
    /// Folders of `/srv`, each with content.
    pub(super) srv: Vec<String>,
    /// Others with content: `/etc`, `/home`, `/opt`, `/var/www`, `/var/spool/cron`, volumes of containers.
    pub(super) folders: BTreeSet<String>,
    /// File systems.
    pub(super) mounts: Vec<Mount>,
    /// Disks.
    pub(super) disks: Vec<Disk>,
    /// SQLite databases.
    pub(super) databases: Vec<String>,
    /// Clusters of PostgreSQL.
    pub(super) clusters: Vec<Cluster>,
    /// What a person should know of the look itself.
    pub(super) notes: Vec<String>,
}

/// What a program serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    Mariadb,
    /// MySQL.
    Mysql,
    /// Redis or Valkey.
    Redis,
    /// MongoDB.
    Mongodb,
    /// Pages.
    Web,
    /// Containers.
    Containers,
    /// Something else that is worth a line.
    Other,
}

/// A program that serves others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Server {
    /// What.
    pub(super) kind: Kind,
    /// Its program: `nginx`.
    pub(super) program: String,
    /// Whether it runs in a container: programs of the host don't reach it as if it were theirs.
    pub(super) contained: bool,
    /// Of a database: the socket in a file on which it listens, as the kernel or its command says.
    pub(super) socket: Option<String>,
}

/// A service of systemd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Unit {
    /// `shop.service`.
    pub(super) name: String,
    /// Whether it starts with the machine.
    pub(super) enabled: bool,
    /// Whether its file lies in `/etc`: it was written for this machine.
    pub(super) own: bool,
    /// The text of such a file, to see which folders it names.
    #[serde(skip)]
    pub(super) text: String,
}

/// Looks at the machine below `root`.
pub(super) fn look(root: &Path, bounds: &Bounds) -> Facts {
    let text = |path: &str| {
        fs::read(root.join(path)).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    };
    let mut notes = Vec::new();
    let found = databases::find(root, bounds);
    if found.cut_short {
        notes.push("the search for SQLite databases was cut short: there may be more".to_owned());
    }
    let databases = found.paths.into_iter().filter_map(|path| as_text(path, &mut notes)).collect();
    let (servers, working) = servers(root, &mut notes);
    let mut facts = Facts {
        hostname: text("proc/sys/kernel/hostname").trim().to_owned(),
        system: os_name(&text("etc/os-release")),
        servers,
        ports: [text("proc/net/tcp"), text("proc/net/tcp6")]
            .iter()
            .flat_map(|table| listening(table))
            .collect(),
        units: units(root),
        srv: srv(root, &mut notes),
        folders: BTreeSet::new(),
        mounts: disks::mounts(root),
        disks: disks::disks(root),
        databases,
        clusters: clusters::find(root, &working),
        notes,
    };
    for folder in [
        "etc",
        "home",
        "opt",
        "srv",
        "var/www",
        "var/spool/cron",
        "var/lib/docker/volumes",
        "var/lib/containers/storage/volumes",
    ] {
        if entries(&root.join(folder)).next().is_some() {
            facts.folders.insert(format!("/{folder}"));
        }
    }
    facts
}

impl Facts {
    /// Returns whether a kind of server runs, in a container or not.
    pub(super) fn runs(&self, kind: Kind) -> Option<&Server> {
        self.servers.iter().find(|server| server.kind == kind)
    }

    /// Returns the programs that hold data of their own and that no system was written for.
    pub(super) fn left_out(&self) -> impl Iterator<Item = &str> {
        let holds = |server: &&Server| server.kind == Kind::Other && !server.program.starts_with("php-fpm");
        self.servers.iter().filter(holds).map(|server| server.program.as_str())
    }

    /// Returns what was seen, for a person.
    pub(super) fn told(&self) -> Vec<String> {
        let list = |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
        let gb = |bytes: u64| format!("{:.0} GB", bytes as f64 / 1e9);
        let server = |server: &Server| {
            format!("{}{}", server.program, if server.contained { " (in a container)" } else { "" })
        };
        let mut folders: Vec<_> = self.folders.iter().filter(|folder| *folder != "/srv").cloned().collect();
        folders.extend(self.srv.iter().cloned());
        let mut lines = vec![
            format!(
                "machine    {}{}",
                self.hostname,
                self.system.as_ref().map_or_else(String::new, |system| format!(", {system}"))
            ),
            format!("servers    {}", list(self.servers.iter().map(server).collect())),
            format!(
                "services   {}",
                list(self.units.iter().filter(|unit| unit.own).map(|unit| unit.name.clone()).collect())
            ),
            format!("folders    {}", list(folders)),
            format!("databases  {}", list(self.databases.clone())),
            format!(
                "clusters   {}",
                list(self.clusters.iter().map(|cluster| cluster.data.clone()).collect())
            ),
            format!(
                "disks      {}",
                list(self.disks.iter().map(|disk| format!("{} ({})", disk.name, gb(disk.bytes))).collect())
            ),
            format!(
                "mounts     {}",
                list(self.mounts.iter().map(|mount| format!("{} ({})", mount.at, mount.kind)).collect())
            ),
        ];
        lines.extend(self.left_out().map(|program| {
            format!(
                "left out   {program} runs here and is not in the plan: add a system that dumps it (source.command, docs/plan.md)"
            )
        }));
        lines.extend(self.notes.iter().map(|note| format!("note       {note}")));
        for line in &mut lines {
            *line = line.replace(plain::acts, "?");
        }
        lines
    }
}

/// Entries that are there for a reason.
fn entries(folder: &Path) -> impl Iterator<Item = fs::DirEntry> {
    folder.read_dir().into_iter().flatten().flatten().filter(|entry| entry.file_name() != "lost+found")
}

fn as_text(path: PathBuf, notes: &mut Vec<String>) -> Option<String> {
    path.into_os_string()
        .into_string()
        .map_err(|path| notes.push(format!("{path:?} is not UTF-8: a plan can't name it")))
        .ok()
}

fn os_name(release: &str) -> Option<String> {
    let value = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned()).filter(|name| !name.is_empty())
}

fn srv(root: &Path, notes: &mut Vec<String>) -> Vec<String> {
    let mut folders = Vec::new();
    for entry in entries(&root.join("srv")) {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_folder || entries(&entry.path()).next().is_none() {
            continue;
        }
        let path = Path::new("/srv").join(entry.file_name());
        if databases::is_vault(&entry.path()) {
            notes.push(format!("{} is a vault already: it is not backed up", path.display()));
            continue;
        }
        // One that can't be named comes with the rest of /srv.
        folders.extend(path.into_os_string().into_string());
    }
    folders.sort();
    if folders.len() > FOLDERS_MAX {
        notes.push(format!(
            "/srv has {} folders: they are one system, split it as they belong together",
            folders.len()
        ));
        folders.clear();
    }
    folders
}

fn servers(root: &Path, notes: &mut Vec<String>) -> (Vec<Server>, Vec<Working>) {
    let (mut servers, mut working) = (BTreeSet::new(), Vec::new());
    let mut seen = false;
    let listening = sockets(&fs::read_to_string(root.join("proc/net/unix")).unwrap_or_default());
    for process in root.join("proc").read_dir().into_iter().flatten().flatten() {
        if !process.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            continue;
        }
        let dir = process.path();
        let Ok(comm) = fs::read(dir.join("comm")) else { continue };
        seen = true;
        // The program's file says more than a name that it may give itself, and only root sees that of others.
        let file = fs::read_link(dir.join("exe"))
            .ok()
            .and_then(|exe| Some(exe.file_name()?.to_string_lossy().into_owned()));
        let program = file.unwrap_or_else(|| String::from_utf8_lossy(&comm).trim().to_owned());
        let program = program.trim_end_matches(" (deleted)");
        if let Some(kind) = kind(program) {
            let groups = fs::read_to_string(dir.join("cgroup")).unwrap_or_default();
            let contained = ["docker", "libpod", "kubepods", "containerd-", "lxc.payload"]
                .iter()
                .any(|word| groups.contains(word));
            let daemon = kind == Kind::Containers;
            if kind == Kind::Postgres
                && !contained
                && let Ok(folder) = fs::read_link(dir.join("cwd"))
            {
                working.push(Working { folder, groups });
            }
            let is_asked = matches!(kind, Kind::Mariadb | Kind::Mysql) && !contained;
            let socket = if is_asked { socket(&dir, &listening) } else { None };
            let (program, contained) = (program.to_owned(), contained && !daemon);
            servers.insert(Server { kind, program, contained, socket });
        }
    }
    if !seen {
        notes.push("no process could be seen: servers that run here are not in the plan".to_owned());
    }
    (servers.into_iter().collect(), working)
}

/// Reads a table of `/proc/net/unix`: the sockets in files that somebody listens on (the fourth column has the bit `10000`), by their inode, the seventh.
fn sockets(table: &str) -> BTreeMap<String, String> {
    let socket = |line: &str| {
        let mut columns = line.split_whitespace();
        let flags = u32::from_str_radix(columns.nth(3)?, 16).ok()?;
        let (inode, path) = (columns.nth(2)?, columns.next()?);
        // One with a blank in its name is cut here.
        let is_whole = columns.next().is_none();
        (is_whole && flags & 0x1_0000 != 0 && path.starts_with('/'))
            .then(|| (inode.to_owned(), path.to_owned()))
    };
    table.lines().filter_map(socket).collect()
}

/// Returns the socket in a file that a process listens on: what it holds open says it, or where only root may see that, its command.
fn socket(process: &Path, listening: &BTreeMap<String, String>) -> Option<String> {
    let inode = |entry: fs::DirEntry| {
        let link = fs::read_link(entry.path()).ok()?;
        Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    };
    let open = process.join("fd").read_dir().into_iter().flatten().flatten().filter_map(inode);
    let mut held: Vec<&String> = open.filter_map(|inode| listening.get(&inode)).collect();
    // It may have one more, for a protocol of its own (mysqlx.sock).
    held.sort_by_key(|path| (path.contains("mysqlx"), path.len()));
    if let Some(first) = held.first() {
        return Some((*first).clone());
    }
    let command = fs::read(process.join("cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).into_owned();
    let said = command.split('\0').find_map(|argument| argument.strip_prefix("--socket="));
    said.filter(|path| path.starts_with('/')).map(str::to_owned)
}

fn kind(program: &str) -> Option<Kind> {
    Some(match program {
        "postgres" | "postmaster" => Kind::Postgres,
        "mariadbd" => Kind::Mariadb,
        "mysqld" => Kind::Mysql,
        "redis-server" | "redis-check-rdb" | "valkey-server" => Kind::Redis,
        "mongod" => Kind::Mongodb,
        "nginx" | "apache2" | "httpd" | "caddy" | "lighttpd" | "haproxy" | "traefik" => Kind::Web,
        "dockerd" | "podman" | "containerd" => Kind::Containers,
        "slapd" | "dovecot" | "smbd" | "named" | "exim4" | "samba" | "etcd" | "rabbitmq-server" | "minio"
        | "influxd" => Kind::Other,
        _ if program.starts_with("php-fpm") => Kind::Other,
        _ => return None,
    })
}

/// Reads a table of `/proc/net/tcp`: the local address is the second column, the state the fourth, `0A` is listening.
fn listening(table: &str) -> BTreeSet<u16> {
    let port = |line: &str| {
        let mut columns = line.split_whitespace().skip(1);
        let (local, state) = (columns.next()?, columns.nth(1)?);
        (state == "0A").then(|| u16::from_str_radix(local.rsplit(':').next()?, 16).ok()).flatten()
    };
    table.lines().filter_map(port).collect()
}

fn units(root: &Path) -> Vec<Unit> {
    let folder = root.join("etc/systemd/system");
    let mut units: Vec<Unit> = Vec::new();
    let mut enabled = BTreeSet::new();
    for entry in entries(&folder) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && name.ends_with(".wants") {
            enabled.extend(
                entries(&entry.path())
                    .filter_map(|wanted| wanted.file_name().into_string().ok())
                    .filter(|name| is_unit(name)),
            );
        } else if kind.is_file() && is_unit(&name) {
            let text = fs::read(entry.path()).unwrap_or_default();
            let text = String::from_utf8_lossy(text.get(..UNIT_BYTES_MAX).unwrap_or(&text)).into_owned();
            units.push(Unit { name, enabled: false, own: true, text });
        }
    }
    for unit in &mut units {
        unit.enabled = enabled.remove(&unit.name);
    }
    units.extend(enabled.into_iter().map(|name| Unit {
        name,
        enabled: true,
        own: false,
        text: String::new(),
    }));
    units.sort_by(|a, b| a.name.cmp(&b.name));
    units
}

fn is_unit(name: &str) -> bool {
    [".service", ".timer", ".mount", ".socket"].iter().any(|kind| name.ends_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self, path: &str, text: &str) -> &Self {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn process(&self, id: u32, comm: &str, exe: Option<&str>, cgroup: &str) -> &Self {
            self.file(&format!("proc/{id}/comm"), &format!("{comm}\n"))
                .file(&format!("proc/{id}/cgroup"), cgroup);
            if let Some(exe) = exe {
                symlink(exe, self.0.path().join(format!("proc/{id}/exe"))).unwrap();
            }
            self
        }

        fn look(&self) -> Facts {
            look(self.0.path(), &Bounds::default())
        }
    }

    #[test]
    fn an_empty_machine_is_seen_as_empty_and_says_that_no_process_was_seen() {
        let facts = Tree::new().look();
        let notes = facts.notes.clone();
        assert_eq!(facts, Facts { notes: notes.clone(), ..Facts::default() });
        assert!(notes[0].contains("no process"));
    }

    #[test]
    fn servers_are_known_by_their_program_and_those_in_containers_are_marked() {
        let tree = Tree::new();
        tree.process(1, "systemd", Some("/usr/lib/systemd/systemd"), "0::/init.scope")
            .process(
                10,
                "postgres",
                Some("/usr/lib/postgresql/15/bin/postgres"),
                "0::/system.slice/postgresql.service",
            )
            .process(
                11,
                "postgres",
                Some("/usr/lib/postgresql/15/bin/postgres"),
                "0::/system.slice/postgresql.service",
            )
            .process(12, "mysqld", Some("/usr/sbin/mariadbd (deleted)"), "")
            .process(13, "nginx", None, "")
            .process(
                14,
                "redis-server",
                Some("/usr/local/bin/redis-server"),
                "0::/system.slice/docker-0123.scope",
            )
            .process(15, "dockerd", Some("/usr/bin/dockerd"), "0::/system.slice/docker.service")
            .process(16, "nginx-lookalike", Some("/home/x/bash"), "");
        let facts = tree.look();
        let seen: Vec<_> =
            facts.servers.iter().map(|server| (server.program.as_str(), server.contained)).collect();
        assert_eq!(
            seen,
            [
                ("postgres", false),
                ("mariadbd", false),
                ("redis-server", true),
                ("nginx", false),
                ("dockerd", false)
            ]
        );
    }

    #[test]
    fn a_database_says_on_which_socket_it_listens_and_what_has_no_system_is_named() {
        let tree = Tree::new();
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
             0000000000000000: 00000002 00000000 00010000 0001 01 4711 /srv/db/my.sock\n\
             0000000000000000: 00000002 00000000 00010000 0001 01 4712 /run/other.sock\n\
             0000000000000000: 00000003 00000000 00000000 0001 03 4713 /srv/db/my.sock\n\
             0000000000000000: 00000003 00000000 00000000 0001 03 4714\n";
        tree.file("proc/net/unix", table)
            .process(10, "mariadbd", Some("/usr/sbin/mariadbd"), "")
            .file("proc/10/fd/readme", "")
            .process(11, "slapd", Some("/usr/sbin/slapd"), "");
        symlink("socket:[4711]", tree.0.path().join("proc/10/fd/20")).unwrap();
        let facts = tree.look();
        let socket = |facts: &Facts| facts.runs(Kind::Mariadb).unwrap().socket.clone();
        assert_eq!(socket(&facts).as_deref(), Some("/srv/db/my.sock"));
        assert_eq!(facts.left_out().collect::<Vec<_>>(), ["slapd"]);
        assert!(facts.told().iter().any(|line| line.starts_with("left out") && line.contains("slapd")));
        // What it holds open can't be seen by everybody.
        fs::remove_file(tree.0.path().join("proc/10/fd/20")).unwrap();
        tree.file("proc/10/cmdline", "mariadbd\0--socket=/srv/said.sock\0");
        assert_eq!(socket(&tree.look()).as_deref(), Some("/srv/said.sock"));
    }

    #[test]
    fn folders_with_content_are_seen_and_a_vault_is_no_original() {
        let tree = Tree::new();
        tree.file("etc/hostname", "shop-1")
            .file("home/claire/letter", "")
            .file("srv/shop/index.html", "")
            .file("srv/lost+found/x", "");
        fs::create_dir_all(tree.0.path().join("srv/empty")).unwrap();
        for part in ["config", "keys/1", "data/00/1", "snapshots/1", "index/1"] {
            tree.file(&format!("srv/releve/{part}"), "");
        }
        let facts = tree.look();
        assert_eq!(facts.srv, ["/srv/shop"]);
        assert_eq!(facts.folders, ["/etc", "/home", "/srv"].map(str::to_owned).into());
        assert!(facts.notes.iter().any(|note| note.contains("/srv/releve is a vault already")));
    }

    #[test]
    fn units_say_whose_they_are_and_whether_they_start() {
        let tree = Tree::new();
        tree.file("etc/systemd/system/shop.service", "[Service]\nWorkingDirectory=/srv/shop\n")
            .file("etc/systemd/system/old.service", "");
        let wants = tree.0.path().join("etc/systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wants).unwrap();
        symlink("/etc/systemd/system/shop.service", wants.join("shop.service")).unwrap();
        symlink("/lib/systemd/system/nginx.service", wants.join("nginx.service")).unwrap();
        let units = tree.look().units;
        let seen: Vec<_> = units.iter().map(|unit| (unit.name.as_str(), unit.enabled, unit.own)).collect();
        assert_eq!(
            seen,
            [("nginx.service", true, false), ("old.service", false, true), ("shop.service", true, true)]
        );
        assert!(units[2].text.contains("/srv/shop"));
    }

    #[test]
    fn names_and_ports_are_read() {
        let tree = Tree::new();
        tree.file("proc/sys/kernel/hostname", "shop-1\n").file("etc/os-release", "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n").file(
            "proc/net/tcp",
            "  sl  local_address rem_address   st\n   0: 00000000:0050 00000000:0000 0A 0\n   1: 0100007F:1F90 0100007F:9999 01 0\n",
        );
        let facts = tree.look();
        assert_eq!(
            (facts.hostname.as_str(), facts.system.as_deref()),
            ("shop-1", Some("Debian GNU/Linux 12"))
        );
        assert_eq!(facts.ports, [80].into());
    }
}
