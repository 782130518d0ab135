//! `cargo xtask bench restore`.
//!
//! One row after the other, each with data and repositories of its own, so that the disk holds only one of them at a time.

use super::data::Data;
use super::line::{FAR, Line};
use super::measure::{Taken, measure};
use super::server::Server;
use super::table::{RESTORE, Report, Rows};
use super::tools::{Installed, Repository, Tool};
use super::{Setting, flush, machine, order, postgres, remove, repositories, today};
use crate::run::{Failure, Result, output};
use std::path::Path;
use std::process::Command;

/// Restores, and waits until it is on disk: who waits by himself shall not lose to who doesn't.
const TO_DISK: &str = r#""$@" && sync -f "$0""#;

/// What `bench restore` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many small files
    #[arg(long, default_value_t = 60_000, value_name = "N")]
    files: usize,
    /// How large the database is, in pgbench's unit of 100,000 accounts
    #[arg(long, default_value_t = 40, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    scale: u32,
    /// How often each is restored; the medians of the times count, and the most memory
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Only these rows
    #[arg(long, value_delimiter = ',', value_name = "ROW")]
    rows: Vec<Row>,
    /// Only these: cp, releve, restic, borg, rustic
    #[arg(long, value_delimiter = ',', value_name = "NAME", value_parser = ["cp", "releve", "restic", "borg", "rustic"])]
    tools: Vec<String>,
    #[command(flatten)]
    setting: Setting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Row {
    /// Small files
    Small,
    /// Small files again, over a restore of which one file in a hundred was changed
    Damaged,
    /// Small files from an S3 server far away
    S3,
    /// One file of 1 GiB
    Large,
    /// The data directory of a PostgreSQL
    Postgres,
}

/// What is there before a restore, and where it comes from.
enum Kind<'a> {
    /// Nothing is there.
    Whole,
    /// What an earlier restore left is there, with damage.
    Damaged(&'a Data),
    /// Nothing is there either, and the repository is behind this port.
    Far(u16),
}

/// Compares restores.
pub(crate) fn run(options: &Options) -> Result {
    let tools = options.setting.installed(Tool::RESTORE, &options.tools)?;
    let folder = options.setting.folder()?;
    let mut restores = Restores {
        tools: &tools,
        folder: folder.path(),
        rounds: usize::from(options.rounds),
        rows: Rows::default(),
        notes: Vec::new(),
    };
    let wanted = |row: Row| options.rows.is_empty() || options.rows.contains(&row);
    let mut data = Vec::new();
    if [Row::Small, Row::Damaged, Row::S3].into_iter().any(wanted) {
        println!("making {} files in {}", options.files, folder.path().display());
        let small = Data::many(folder.path().join("small"), options.files)?;
        restores.small(&small, wanted)?;
        data.push(format!("small: {small}"));
        remove(&small.folder)?;
    }
    if wanted(Row::Large) {
        println!("making one large file");
        let large = Data::large(folder.path().join("large"))?;
        restores.local("one file of 1 GiB", &large)?;
        data.push("large: one file of 1 GiB".to_owned());
        remove(&large.folder)?;
    }
    match postgres::programs() {
        Some(programs) if wanted(Row::Postgres) => {
            println!("filling a PostgreSQL of {}", programs.display());
            let place = folder.path().join("postgres");
            let database = postgres::fill(&programs, &place, options.scale)?;
            restores.local("PostgreSQL's data directory", &database)?;
            data.push(format!("PostgreSQL: {database}"));
            remove(&place)?;
        }
        None if wanted(Row::Postgres) => println!(
            "PostgreSQL is not here and its row is left out; to install it: apt-get install -y postgresql"
        ),
        _ => {}
    }
    let Restores { rows, notes, .. } = restores;
    let report = Report {
        page: &RESTORE,
        tools: tools.iter().map(|found| (found.tool.name(), found.version.clone())).collect(),
        machine: machine()?,
        date: today()?,
        rounds: options.rounds,
        data: data.join("; "),
        rows,
        notes,
    };
    report.publish(options.setting.write)
}

struct Restores<'a> {
    tools: &'a [Installed],
    folder: &'a Path,
    rounds: usize,
    rows: Rows,
    notes: Vec<String>,
}

impl Restores<'_> {
    fn small(&mut self, data: &Data, wanted: impl Fn(Row) -> bool) -> Result {
        if wanted(Row::Small) || wanted(Row::Damaged) {
            let place = self.folder.join("repositories");
            let filled = filled(self.tools, &place, data)?;
            if wanted(Row::Small) {
                self.row("small files", &filled, data, &Kind::Whole)?;
            }
            if wanted(Row::Damaged) {
                self.row("1% of the small files damaged", &filled, data, &Kind::Damaged(data))?;
            }
            remove(&place)?;
        }
        if wanted(Row::S3) { self.far(data) } else { Ok(()) }
    }

    /// One row from repositories on this disk.
    fn local(&mut self, what: &str, data: &Data) -> Result {
        let place = self.folder.join("repositories");
        self.row(what, &filled(self.tools, &place, data)?, data, &Kind::Whole)?;
        remove(&place)
    }

    /// The row from the S3 server, which is filled without the line.
    fn far(&mut self, data: &Data) -> Result {
        let server = Server::start(&self.folder.join("server"))?;
        let line = Line::to(server.port(), FAR).map_err(Failure::at("open the line"))?;
        let place = self.folder.join("filling");
        let mut repositories = Vec::new();
        let mut floors = Vec::new();
        for tool in self.tools {
            let name = tool.tool.name();
            if !tool.tool.is_remote() {
                repositories.push(None);
                continue;
            }
            println!("filling the repository of {name} in the S3 server");
            let made = tool.remote_repository(&place.join(name), &data.folder, server.remote(name));
            let repository = match made {
                // Whether it was built with S3 is nowhere to be read.
                Err(why) if tool.tool == Tool::Rustic => {
                    println!(
                        "rustic has no dealings with S3 here and is left out of this row: {}",
                        why.message
                    );
                    None
                }
                made => Some(made?),
            };
            if let Some(repository) = &repository {
                repository.fill()?;
                let stored = Data::found(server.objects(name))?.bytes as f64;
                floors.push(format!(
                    "{name} {:.2} s ({:.1} MB)",
                    stored / FAR.bytes_per_second,
                    stored / 1e6
                ));
            }
            repositories.push(repository);
        }
        remove(&place)?;
        self.row("small files from S3, 30 ms away, 1 Gbit/s", &repositories, data, &Kind::Far(line.port()))?;
        self.notes.push(format!("What is stored takes this long on the line alone: {}.", floors.join(", ")));
        Ok(())
    }

    /// Restores everything in all rounds, each round in another order.
    fn row(
        &mut self,
        what: &str,
        repositories: &[Option<Repository<'_>>],
        data: &Data,
        kind: &Kind<'_>,
    ) -> Result {
        for round in 0..self.rounds {
            println!("{what}: round {} of {}", round + 1, self.rounds);
            for column in order(repositories.len(), round) {
                let Some(Some(repository)) = repositories.get(column) else { continue };
                let Some(tool) = self.tools.get(column).map(|found| found.tool.name()) else { continue };
                let target = self.folder.join("target");
                std::fs::create_dir(&target)
                    .map_err(Failure::at(format_args!("make {}", target.display())))?;
                let taken = self.restore(repository, &target, kind, round)?;
                println!("  {tool}: {taken}");
                if round == 0 {
                    compare(&data.folder, &repository.restored(&target))
                        .map_err(|why| Failure::new(format!("{what}: {tool}: {}", why.message)))?;
                }
                self.rows.add(what, column, taken, 0);
                remove(&target)?;
            }
        }
        Ok(())
    }

    /// Prepares what must be there, restores, and says what the restore took.
    fn restore(
        &self,
        repository: &Repository<'_>,
        target: &Path,
        kind: &Kind<'_>,
        round: usize,
    ) -> Result<Taken> {
        match kind {
            Kind::Whole => {
                flush()?;
                measure(&to_disk(&repository.restore(target), target), self.folder)
            }
            Kind::Damaged(data) => {
                output(&mut repository.restore(target))?;
                data.change_copy(&repository.restored(target), round)?;
                flush()?;
                measure(&to_disk(&repository.restore(target), target), self.folder)
            }
            Kind::Far(port) => {
                let place = self.folder.join("unknown");
                let unknown = repository.unknown_behind(*port, &place)?;
                flush()?;
                let taken = measure(&to_disk(&unknown.restore(target), target), self.folder)?;
                remove(&place)?;
                Ok(taken)
            }
        }
    }
}

/// Makes and fills a repository for each tool.
fn filled<'a>(tools: &'a [Installed], place: &Path, data: &'a Data) -> Result<Vec<Option<Repository<'a>>>> {
    let repositories = repositories(tools, place, data)?;
    for (tool, repository) in tools.iter().zip(&repositories) {
        println!("filling the repository of {}", tool.tool.name());
        repository.fill()?;
    }
    Ok(repositories.into_iter().map(Some).collect())
}

/// Returns a command that does the same and doesn't end before it is on disk.
fn to_disk(command: &Command, target: &Path) -> Command {
    let mut around = Command::new("sh");
    around.args(["-c", TO_DISK]).arg(target).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => around.env(name, value),
            None => around.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        around.current_dir(folder);
    }
    around
}

/// Fails if what came back differs from the data in a name or in a byte.
fn compare(data: &Path, restored: &Path) -> Result {
    let mut command = Command::new("diff");
    command.args(["-r", "--no-dereference", "-q"]).args([data, restored]);
    let found = command.output().map_err(Failure::at("compare"))?;
    if found.status.success() {
        return Ok(());
    }
    let said = [found.stdout, found.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let first: Vec<&str> = said.lines().take(5).collect();
    Err(Failure::new(format!("what came back is not what was there:\n{}", first.join("\n"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_that_differs_in_one_byte_or_one_name_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let [data, other] = ["a", "b"].map(|name| Data::many(folder.path().join(name), 100).unwrap());
        compare(&data.folder, &other.folder).unwrap();
        other.change(0).unwrap();
        assert!(compare(&data.folder, &other.folder).unwrap_err().message.contains("file-000000"));
        std::fs::write(data.folder.join("more"), "").unwrap();
        assert!(compare(&data.folder, &other.folder).unwrap_err().message.contains("more"));
        assert!(compare(&data.folder, &folder.path().join("nothing")).is_err());
    }

    #[test]
    fn the_status_the_folder_and_the_variables_come_through_to_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo "$WORD" > here && exit "$0""#, "0"]);
        command.env("WORD", "two words").current_dir(folder.path());
        output(&mut to_disk(&command, folder.path())).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("here")).unwrap(), "two words\n");
        let mut failing = Command::new("sh");
        failing.args(["-c", "exit 3"]);
        let status = to_disk(&failing, folder.path()).status().unwrap();
        assert_eq!(status.code(), Some(3));
    }
}
