//! `cargo xtask bench postgres`: a cluster copied while it runs, copied again, destroyed and brought back until it takes writes.

use super::data::Data;
use super::measure::measure;
use super::postgres::{self, Postgres, USER};
use super::table::{CLUSTER, Report, Rows};
use super::tools::{Installed, PASSWORD, Tool};
use super::{Setting, flush, machine, order, remove, today};
use crate::run::{Failure, Result, find, output};
use nix::unistd::geteuid;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const FULL: &str = "first copy";
const SECOND: &str = "1% of the pages changed";
const OPEN: &str = "destroyed, until it takes writes";

/// Changes a row in each hundredth page, of which one holds 61; each round others, since a row that was changed has moved.
fn change(round: usize) -> String {
    format!("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 6100 = {round}")
}

/// What must be the same before and after.
const SUM: &str = "SELECT count(*) || ' ' || sum(abalance) FROM pgbench_accounts";

/// What `bench postgres` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The cluster: pgbench's scale, 15 MB each
    #[arg(long, default_value_t = 100, value_name = "N")]
    scale: u32,
    /// How often each copies and restores; the medians of the times count, and the most memory
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    #[command(flatten)]
    setting: Setting,
}

/// A way to copy a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Releve,
    /// Into a folder.
    Plain,
    /// Into tar files, compressed with zstd by the client.
    Tar,
    PgBackRest,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Releve => "releve",
            Self::Plain => "pg_basebackup",
            Self::Tar => "pg_basebackup (zstd)",
            Self::PgBackRest => "pgbackrest",
        }
    }
}

/// Compares copies of a cluster, and how it comes back.
pub(crate) fn run(options: &Options) -> Result {
    let programs = postgres::programs().ok_or_else(|| {
        Failure::new("PostgreSQL is not here; to install it: apt-get install -y postgresql")
    })?;
    let installed = options.setting.installed([Tool::Releve], &[])?;
    let releve = installed.first().ok_or_else(|| Failure::new("releve is not here"))?;
    let folder = options.setting.folder()?;
    // The path of a socket may have 107 bytes, and no more.
    let sockets = tempfile::tempdir().map_err(Failure::at("make a temporary folder"))?;
    let place = folder.path().join("cluster");
    make(&place)?;
    let server = Postgres {
        programs: &programs,
        folder: &place,
        sockets: sockets.path(),
        as_root: geteuid().is_root(),
    };
    server.give_away()?;
    let cluster = Cluster { server, releve, data: place.join("data"), place: &place };
    let mut ways = vec![
        (Way::Releve, releve.version.clone()),
        (Way::Plain, cluster.version("pg_basebackup")?),
        (Way::Tar, cluster.version("pg_basebackup")?),
    ];
    match find("pgbackrest") {
        Some(program) => {
            let said = output(Command::new(program).arg("version"))?;
            ways.push((Way::PgBackRest, said.rsplit(' ').next().unwrap_or_default().to_owned()));
        }
        None => {
            println!("pgbackrest is not here and is left out; to install it: apt-get install -y pgbackrest");
        }
    }
    println!("filling a cluster in {} (scale {})", place.display(), options.scale);
    cluster.fill(options.scale)?;
    let compared = cluster.compare(&ways, options.rounds);
    // Whatever happened: nobody else stops it.
    let _ = cluster.control("stop", &["--mode", "immediate"]);
    let (rows, data) = compared?;
    let report = Report {
        page: &CLUSTER,
        tools: ways.iter().map(|(way, version)| (way.name(), version.clone())).collect(),
        machine: machine()?,
        date: today()?,
        rounds: options.rounds,
        data: format!("pgbench, scale {}: {data}", options.scale),
        rows,
        notes: vec![
            "What `pg_basebackup` copies the server reads: that time of a processor, and its memory, are in no row."
                .into(),
        ],
    };
    report.publish(options.setting.write)
}

fn make(folder: &Path) -> Result {
    std::fs::create_dir_all(folder).map_err(Failure::at(format_args!("make {}", folder.display())))
}

fn write(path: &Path, text: &str) -> Result {
    std::fs::write(path, text).map_err(Failure::at(format_args!("write {}", path.display())))
}

/// Quotes a path for a shell.
fn shell(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

struct Cluster<'a> {
    server: Postgres<'a>,
    releve: &'a Installed,
    data: PathBuf,
    place: &'a Path,
}

impl Cluster<'_> {
    fn version(&self, program: &str) -> Result<String> {
        let said = output(self.server.program(program).arg("--version"))?;
        Ok(said.split(' ').nth(2).unwrap_or_default().to_owned())
    }

    fn control(&self, verb: &str, more: &[&str]) -> Result {
        let mut command = self.server.program("pg_ctl");
        command.args([verb, "--wait", "--timeout=600", "--silent", "--pgdata"]).arg(&self.data).args(more);
        output(&mut command).map(drop)
    }

    fn start(&self) -> Result {
        let log = self.place.join("log");
        self.control("start", &["--log", &log.display().to_string()])
    }

    fn sql(&self, query: &str) -> Result<String> {
        let mut command = self.server.program("psql");
        let sockets = self.server.sockets.display().to_string();
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--username", USER]);
        output(command.args(["--host", &sockets, "--dbname", "postgres", "--command", query]))
    }

    fn fill(&self, scale: u32) -> Result {
        let mut made = self.server.program("initdb");
        output(
            made.args(["--auth=trust", "--data-checksums", "--username", USER, "--pgdata"]).arg(&self.data),
        )?;
        let settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\narchive_mode = on\narchive_command = '/bin/true'\n",
            self.server.sockets.display()
        );
        let path = self.data.join("postgresql.conf");
        let text = std::fs::read_to_string(&path).map_err(Failure::at("read postgresql.conf"))?;
        write(&path, &format!("{text}{settings}"))?;
        self.start()?;
        let mut fill = self.server.program("pgbench");
        let sockets = self.server.sockets.display().to_string();
        fill.args(["--initialize", "--quiet", "--scale", &scale.to_string(), "--username", USER]);
        output(fill.args(["--host", &sockets, "postgres"])).map(drop)
    }

    fn compare(&self, ways: &[(Way, String)], rounds: u16) -> Result<(Rows, Data)> {
        let mut rows = Rows::default();
        let data = Data::found(self.data.join("base"))?;
        for round in 0..usize::from(rounds) {
            println!("round {} of {rounds}", round + 1);
            let order: Vec<(usize, Way)> = order(ways.len(), round)
                .into_iter()
                .filter_map(|column| Some((column, ways.get(column)?.0)))
                .collect();
            for (_, way) in &order {
                self.prepare(*way)?;
            }
            for row in [FULL, SECOND] {
                if row == SECOND {
                    self.sql(&change(round))?;
                }
                for (column, way) in &order {
                    self.sql("CHECKPOINT")?;
                    self.archive(*way)?;
                    flush()?;
                    let before = self.stored(*way)?;
                    let taken = measure(&self.copy(*way, row)?, self.place)?;
                    println!("  {row}, {}: {taken}", way.name());
                    rows.add(row, *column, taken, self.stored(*way)?.saturating_sub(before));
                }
            }
            let sum = self.sql(SUM)?;
            for (column, way) in &order {
                self.control("stop", &["--mode", "fast"])?;
                remove(&self.data)?;
                flush()?;
                let taken = measure(&self.restore(*way), self.place)?;
                println!("  {OPEN}, {}: {taken}", way.name());
                rows.add(OPEN, *column, taken, 0);
                if self.sql(SUM)? != sum {
                    return Err(Failure::new(format!("{} brought back something else", way.name())));
                }
            }
            for (_, way) in &order {
                remove(&self.own(*way))?;
            }
        }
        Ok((rows, data))
    }

    /// Returns the folder that belongs to one of them.
    fn own(&self, way: Way) -> PathBuf {
        self.place.join(match way {
            Way::Releve => "releve",
            Way::Plain => "plain",
            Way::Tar => "tar",
            Way::PgBackRest => "pgbackrest",
        })
    }

    fn stored(&self, way: Way) -> Result<u64> {
        Ok(Data::found(self.own(way).join("repository"))?.bytes)
    }

    /// Makes an empty repository.
    fn prepare(&self, way: Way) -> Result {
        let own = self.own(way);
        make(&own.join("repository"))?;
        match way {
            Way::Releve => {
                let seed = own.join("seed");
                super::data::seed(&seed)?;
                self.plan()?;
                output(self.releve().args(["backup", "seed"])).map(drop)
            }
            Way::Plain | Way::Tar => self.give(&own),
            Way::PgBackRest => {
                for folder in ["lock", "spool"] {
                    make(&own.join(folder))?;
                }
                let text = format!(
                    "[global]\nrepo1-path={own}/repository\nlock-path={own}/lock\nspool-path={own}/spool\n\
                     log-level-file=off\nlog-level-console=error\nstart-fast=y\ncompress-type=zst\nprocess-max={processes}\n\
                     [bench]\npg1-path={data}\npg1-socket-path={sockets}\npg1-user={USER}\n",
                    own = own.display(),
                    data = self.data.display(),
                    sockets = self.server.sockets.display(),
                    processes = std::thread::available_parallelism().map_or(1, usize::from),
                );
                write(&own.join("pgbackrest.conf"), &text)?;
                self.give(&own)?;
                self.archive(way)?;
                output(self.pgbackrest()?.arg("stanza-create")).map(drop)
            }
        }
    }

    fn give(&self, folder: &Path) -> Result {
        if !self.server.as_root {
            return Ok(());
        }
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700))
            .map_err(Failure::at(format_args!("open {}", folder.display())))?;
        output(Command::new("chown").arg("--recursive").arg(USER).arg(folder)).map(drop)
    }

    /// Lets the server archive for one of them, if it needs that, and for nobody else.
    fn archive(&self, way: Way) -> Result {
        let command = match way {
            Way::PgBackRest => format!(
                "pgbackrest --config={}/pgbackrest.conf --stanza=bench archive-push %p",
                self.own(way).display()
            ),
            _ => "/bin/true".to_owned(),
        };
        self.sql(&format!("ALTER SYSTEM SET archive_command = '{command}'"))?;
        self.sql("SELECT pg_reload_conf()").map(drop)
    }

    fn pgbackrest(&self) -> Result<Command> {
        let program = find("pgbackrest").ok_or_else(|| Failure::new("pgbackrest has gone"))?;
        let mut command = self.server.as_user(&program);
        let config = self.own(Way::PgBackRest).join("pgbackrest.conf");
        command.arg(format!("--config={}", config.display())).arg("--stanza=bench");
        Ok(command)
    }

    fn copy(&self, way: Way, row: &str) -> Result<Command> {
        let target = self.own(way).join("repository").join(if row == FULL { "1" } else { "2" });
        Ok(match way {
            Way::Releve => {
                let mut command = self.releve();
                command.args(["backup", "cluster"]);
                command
            }
            Way::Plain | Way::Tar => {
                let mut command = self.server.program("pg_basebackup");
                command.args(["--checkpoint=fast", "--username", USER, "--host"]).arg(self.server.sockets);
                command.arg("--pgdata").arg(target);
                if way == Way::Tar {
                    command.args(["--format=tar", "--compress=client-zstd"]);
                }
                command
            }
            Way::PgBackRest => {
                let mut command = self.pgbackrest()?;
                command.arg(if row == FULL { "--type=full" } else { "--type=incr" }).arg("backup");
                command
            }
        })
    }

    /// Returns the command that brings the second copy back and ends when the cluster takes writes.
    fn restore(&self, way: Way) -> Command {
        let data = shell(&self.data);
        let copy = self.own(way).join("repository/2");
        let bring = match way {
            Way::Releve => {
                let mut command = self.releve();
                command.args(["recover", "cluster", "--yes"]);
                return command;
            }
            Way::Plain => format!("cp -a {} {data}", shell(&copy)),
            Way::Tar => format!(
                "mkdir -m 700 {data} && zstd -dcq {base} | tar -x -C {data} && tar -xf {wal} -C {data}/pg_wal",
                base = shell(&copy.join("base.tar.zst")),
                wal = shell(&copy.join("pg_wal.tar")),
            ),
            Way::PgBackRest => format!(
                "pgbackrest --config={} --stanza=bench restore",
                shell(&self.own(way).join("pgbackrest.conf"))
            ),
        };
        // Each waits for the disk, as pgBackRest and Relève do by themselves.
        let script = format!(
            "{bring} && sync -f {data} && {programs}/pg_ctl start --wait --timeout=600 --silent --pgdata {data} --log {log} && \
             until [ \"$({programs}/psql -XAtq -U {USER} -h {sockets} -d postgres -c 'select pg_is_in_recovery()')\" = f ]; do sleep 0.1; done",
            programs = shell(self.server.programs),
            log = shell(&self.place.join("log")),
            sockets = shell(self.server.sockets),
        );
        let mut command = self.server.as_user(Path::new("/bin/sh"));
        command.args(["-c", &script]);
        command
    }

    fn releve(&self) -> Command {
        let own = self.own(Way::Releve);
        let mut command = Command::new(self.releve.program());
        command.arg("--plan").arg(own.join("plan.toml")).arg("--state").arg(own.join("state"));
        let url = self.server.sockets.display().to_string().replace('/', "%2F");
        command
            .env("RELEVE_BENCH_PASSWORD", PASSWORD)
            .env("RELEVE_BENCH_URL", format!("postgres://{USER}@{url}/postgres"));
        command
    }

    fn plan(&self) -> Result {
        let own = self.own(Way::Releve);
        let path = |path: &Path| toml::Value::String(path.display().to_string());
        let host = output(Command::new("uname").arg("--nodename"))?;
        let text = format!(
            "[organisation]\nname = \"Bench\"\n[sites.here]\n[hosts.here]\nsite = \"here\"\nname = {host}\n\
             [vaults.near]\nurl = {url}\nsite = \"here\"\npassword = {{ env = \"RELEVE_BENCH_PASSWORD\" }}\n\
             [systems.seed]\nhost = \"here\"\nrto = \"1 day\"\nrpo = \"1 day\"\nsource.files = {{ paths = [{seed}] }}\n\
             [systems.cluster]\nhost = \"here\"\nrto = \"1 day\"\nrpo = \"1 day\"\n\
             source.postgres = {{ data_directory = {data}, url = {{ env = \"RELEVE_BENCH_URL\" }}, wal = \"none\" }}\n\
             [policy]\nvaults = [\"near\"]\nevery = \"1 day\"\n",
            host = toml::Value::String(host),
            url = toml::Value::String(format!("file://{}", own.join("repository").display())),
            seed = path(&own.join("seed")),
            data = path(&self.data),
        );
        write(&own.join("plan.toml"), &text)
    }
}
