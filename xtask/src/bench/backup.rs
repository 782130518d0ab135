//! `cargo xtask bench backup`.
//!
//! One row after the other, as far as the data is another one, so that the disk holds only the repositories of one of them at a time.

use super::agent::by_journal;
use super::data::Data;
use super::line::{FAR, Line};
use super::measure::measure;
use super::server::Server;
use super::table::{BACKUP, Report, Rows};
use super::tools::{Installed, Repository, Tool};
use super::{Setting, flush, machine, order, remove, repositories, today};
use crate::run::{Failure, Result};
use std::path::Path;

const FIRST: &str = "first backup";
const UNCHANGED: &str = "unchanged";
const CHANGED: &str = "1% of the files changed";
const S3: &str = "first backup to S3, 30 ms away, 1 Gbit/s";
const LARGE: &str = "one file of 1 GiB";

/// What `bench backup` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many files
    #[arg(long, default_value_t = 58_600, value_name = "N")]
    files: usize,
    /// How many tiny files the change journal is tried with
    #[arg(long, default_value_t = 300_000, value_name = "N")]
    tiny_files: usize,
    /// How often everything is done; the best time of each counts, and the most memory
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Only these rows
    #[arg(long, value_delimiter = ',', value_name = "ROW")]
    rows: Vec<Row>,
    /// Only these: releve, restic, borg, rustic
    #[arg(long, value_delimiter = ',', value_name = "NAME", value_parser = ["releve", "restic", "borg", "rustic"])]
    tools: Vec<String>,
    #[command(flatten)]
    setting: Setting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Row {
    /// Small files: first, unchanged, and with one in a hundred changed
    Small,
    /// Small files to an S3 server far away
    S3,
    /// One file of 1 GiB
    Large,
    /// Many tiny files, unchanged: looked at, and taken over by the agent's change journal
    Journal,
}

/// Compares backups.
pub(crate) fn run(options: &Options) -> Result {
    let tools = options.setting.installed(Tool::BACKUP, &options.tools)?;
    let folder = options.setting.folder()?;
    let mut backups = Backups {
        tools: &tools,
        folder: folder.path(),
        rounds: usize::from(options.rounds),
        rows: Rows::default(),
        notes: Vec::new(),
    };
    let wanted = |row: Row| options.rows.is_empty() || options.rows.contains(&row);
    let mut data = Vec::new();
    if wanted(Row::Small) || wanted(Row::S3) {
        println!("making {} files in {}", options.files, folder.path().display());
        let small = Data::many(folder.path().join("small"), options.files)?;
        data.push(format!("small: {small}"));
        if wanted(Row::Small) {
            backups.small(&small)?;
        }
        if wanted(Row::S3) {
            backups.far(&small)?;
        }
        remove(&small.folder)?;
    }
    if wanted(Row::Large) {
        println!("making one large file");
        let large = Data::large(folder.path().join("large"))?;
        data.push("large: one file of 1 GiB".to_owned());
        backups.large(&large)?;
        remove(&large.folder)?;
    }
    if wanted(Row::Journal) {
        println!("making {} tiny files", options.tiny_files);
        let tiny = Data::tiny(folder.path().join("tiny"), options.tiny_files)?;
        data.push(format!("tiny: {tiny}"));
        backups.journal(&tiny)?;
        remove(&tiny.folder)?;
    }
    let Backups { rows, notes, .. } = backups;
    let report = Report {
        page: &BACKUP,
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

struct Backups<'a> {
    tools: &'a [Installed],
    folder: &'a Path,
    rounds: usize,
    rows: Rows,
    notes: Vec<String>,
}

impl Backups<'_> {
    fn small(&mut self, data: &Data) -> Result {
        let place = self.folder.join("repositories");
        for round in 0..self.rounds {
            self.say("small files", round);
            let repositories = repositories(self.tools, &place, data)?;
            self.all(&repositories, FIRST, round)?;
            self.all(&repositories, UNCHANGED, round)?;
            data.change(round)?;
            self.all(&repositories, CHANGED, round)?;
            remove(&place)?;
        }
        Ok(())
    }

    fn large(&mut self, data: &Data) -> Result {
        let place = self.folder.join("repositories");
        for round in 0..self.rounds {
            self.say(LARGE, round);
            self.all(&repositories(self.tools, &place, data)?, LARGE, round)?;
            remove(&place)?;
        }
        Ok(())
    }

    /// Unchanged runs of a tree where looking costs; ours also as the agent does it.
    fn journal(&mut self, data: &Data) -> Result {
        let looked = format!("{} tiny files, unchanged", data.files);
        let journal = format!("{looked}; releve by its change journal");
        let place = self.folder.join("repositories");
        let made = repositories(self.tools, &place, data)?;
        for (tool, repository) in self.tools.iter().zip(&made) {
            println!("filling the repository of {}", tool.tool.name());
            repository.fill()?;
        }
        for round in 0..self.rounds {
            self.say(&looked, round);
            for column in order(made.len(), round) {
                let (Some(repository), Some(tool)) = (made.get(column), self.tools.get(column)) else {
                    continue;
                };
                flush()?;
                let before = repository.bytes()?;
                let taken = measure(&repository.backup(&format!("unchanged-{round}")), self.folder)?;
                let stored = repository.bytes()?.saturating_sub(before);
                println!("  {}: {taken}", tool.tool.name());
                self.rows.add(&looked, column, taken, stored);
                if tool.tool != Tool::Releve {
                    self.rows.add(&journal, column, taken, stored);
                    continue;
                }
                let before = repository.bytes()?;
                match by_journal(repository)? {
                    Ok(taken) => {
                        let stored = repository.bytes()?.saturating_sub(before);
                        println!("  releve's agent: {taken}");
                        self.rows.add(&journal, column, taken, stored);
                    }
                    Err(why) => println!("  releve's agent has no journal here: {why}"),
                }
            }
        }
        remove(&place)
    }

    /// First backups over the line, into repositories that were made without it.
    fn far(&mut self, data: &Data) -> Result {
        let server = Server::start(&self.folder.join("server"))?;
        let line = Line::to(server.port(), FAR).map_err(Failure::at("open the line"))?;
        let place = self.folder.join("far");
        let mut floors = Vec::new();
        for round in 0..self.rounds {
            self.say(S3, round);
            for column in order(self.tools.len(), round) {
                let Some(tool) = self.tools.get(column).filter(|tool| tool.tool.is_remote()) else {
                    continue;
                };
                let name = tool.tool.name();
                let prefix = format!("{name}-{round}");
                let made =
                    tool.remote_repository(&place.join("making"), &data.folder, server.remote(&prefix));
                let repository = match made {
                    // Whether it was built with S3 is nowhere to be read.
                    Err(why) if tool.tool == Tool::Rustic => {
                        println!("  rustic has no dealings with S3 here: {}", why.message);
                        continue;
                    }
                    made => made?.unknown_behind(line.port(), &place.join("backup"))?,
                };
                let before = Data::found(server.objects(&prefix))?.bytes;
                flush()?;
                let taken = measure(&repository.backup("first"), self.folder)?;
                let stored = Data::found(server.objects(&prefix))?.bytes.saturating_sub(before);
                println!("  {name}: {taken}");
                self.rows.add(S3, column, taken, stored);
                if round == 0 {
                    let floor = stored as f64 / FAR.bytes_per_second;
                    floors.push((column, format!("{name} {floor:.2} s ({:.1} MB)", stored as f64 / 1e6)));
                }
                remove(&server.objects(&prefix))?;
                remove(&place)?;
            }
        }
        floors.sort_by_key(|(column, _)| *column);
        let floors: Vec<String> = floors.into_iter().map(|(_, floor)| floor).collect();
        self.notes.push(format!("What goes to S3 takes this long on the line alone: {}.", floors.join(", ")));
        Ok(())
    }

    /// Backs up once with each.
    fn all(&mut self, repositories: &[Repository<'_>], what: &str, round: usize) -> Result {
        for column in order(self.tools.len(), round) {
            let (Some(repository), Some(tool)) = (repositories.get(column), self.tools.get(column)) else {
                continue;
            };
            flush()?;
            let before = repository.bytes()?;
            let taken = measure(&repository.backup(&what.replace(' ', "-")), self.folder)?;
            let stored = repository.bytes()?.saturating_sub(before);
            println!("  {what}: {}: {taken}", tool.tool.name());
            self.rows.add(what, column, taken, stored);
        }
        Ok(())
    }

    fn say(&self, what: &str, round: usize) {
        println!("{what}: round {} of {}", round + 1, self.rounds);
    }
}
