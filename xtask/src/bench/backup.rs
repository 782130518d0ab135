//! `cargo xtask bench backup`.

use super::data::Data;
use super::measure::measure;
use super::table::{BACKUP, Report, Rows};
use super::tools::{Installed, Repository, Tool};
use super::{Setting, flush, machine, order, remove, repositories, today};
use crate::run::Result;
use std::path::Path;

const FIRST: &str = "first backup";
const UNCHANGED: &str = "unchanged";
const CHANGED: &str = "1% of the files changed";
const LARGE: &str = "one file of 1 GiB";

/// What `bench backup` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many files
    #[arg(long, default_value_t = 58_600, value_name = "N")]
    files: usize,
    /// Also one file of 1 GiB, into a repository of its own
    #[arg(long)]
    large: bool,
    /// How often everything is done; the best time of each counts, and the most memory
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Only these: releve, restic, borg, rustic
    #[arg(long, value_delimiter = ',', value_name = "NAME", value_parser = ["releve", "restic", "borg", "rustic"])]
    tools: Vec<String>,
    #[command(flatten)]
    setting: Setting,
}

/// Compares backups.
pub(crate) fn run(options: &Options) -> Result {
    let installed = options.setting.installed(Tool::BACKUP, &options.tools)?;
    let folder = options.setting.folder()?;
    println!("making {} files in {}", options.files, folder.path().display());
    let many = Data::many(folder.path().join("data"), options.files)?;
    let large = if options.large { Some(Data::large(folder.path().join("large"))?) } else { None };
    let mut rows = Rows::default();
    for at in 0..usize::from(options.rounds) {
        println!("round {} of {}", at + 1, options.rounds);
        round(folder.path(), &installed, at, &many, large.as_ref(), &mut rows)?;
    }
    let report = Report {
        page: &BACKUP,
        tools: installed.iter().map(|found| (found.tool.name(), found.version.clone())).collect(),
        machine: machine()?,
        date: today()?,
        rounds: options.rounds,
        data: many.to_string(),
        rows,
        notes: Vec::new(),
    };
    report.publish(options.setting.write)
}

/// Does everything once, row by row: all see the same data, and each round another one begins.
fn round(
    folder: &Path,
    tools: &[Installed],
    round: usize,
    many: &Data,
    large: Option<&Data>,
    rows: &mut Rows,
) -> Result {
    let mut all = |repositories: &[Repository<'_>], what: &str, point: &str| -> Result {
        for at in order(tools.len(), round) {
            let (Some(repository), Some(tool)) = (repositories.get(at), tools.get(at)) else { continue };
            flush()?;
            let before = repository.bytes()?;
            let taken = measure(&repository.backup(point), folder)?;
            let stored = repository.bytes()?.saturating_sub(before);
            println!("  {what}: {}: {taken}", tool.tool.name());
            rows.add(what, at, taken, stored);
        }
        Ok(())
    };
    let place = folder.join("many");
    let many_repositories = repositories(tools, &place, many)?;
    all(&many_repositories, FIRST, "first")?;
    all(&many_repositories, UNCHANGED, "unchanged")?;
    many.change(round)?;
    all(&many_repositories, CHANGED, "changed")?;
    remove(&place)?;
    if let Some(large) = large {
        let place = folder.join("one");
        all(&repositories(tools, &place, large)?, LARGE, "large")?;
        remove(&place)?;
    }
    Ok(())
}
