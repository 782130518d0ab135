//! `cargo xtask bench backup`: the same data, the same machine, the same run; ours and others.

mod data;
pub(crate) mod measure;
mod table;
mod tools;

use crate::root;
use crate::run::{Failure, Result, output, run as run_command};
use data::Data;
use measure::measure;
use std::path::{Path, PathBuf};
use std::process::Command;
use table::{Report, Rows};
use tools::{Installed, Repository, Tool};

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
    /// Our program, built already [default: it is built as for a release]
    #[arg(long, value_name = "PATH")]
    releve: Option<PathBuf>,
    /// Where to put data and repositories meanwhile [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Put the table into docs/bench-backup.md
    #[arg(long)]
    write: bool,
}

/// Compares.
pub(crate) fn run(options: &Options) -> Result {
    let wanted =
        |tool: &Tool| options.tools.is_empty() || options.tools.iter().any(|name| name == tool.name());
    let mut installed = Vec::new();
    for tool in Tool::ALL.into_iter().filter(wanted) {
        match Installed::look(tool, options.releve.as_deref())? {
            Some(found) => installed.push(found),
            None => println!(
                "{} is not here and is left out; to install it: {}",
                tool.name(),
                tool.installation()
            ),
        }
    }
    let folder = match &options.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(Failure::at("make a temporary folder"))?;
    println!("making {} files in {}", options.files, folder.path().display());
    let many = Data::many(folder.path().join("data"), options.files)?;
    let large = if options.large { Some(Data::large(folder.path().join("large"))?) } else { None };
    let mut rows = Rows::default();
    for at in 0..usize::from(options.rounds) {
        println!("round {} of {}", at + 1, options.rounds);
        round(folder.path(), &installed, at, &many, large.as_ref(), &mut rows)?;
    }
    let report = Report {
        tools: installed.iter().map(|found| (found.tool.name(), found.version.clone())).collect(),
        machine: machine()?,
        date: output(Command::new("date").args(["--utc", "+%Y-%m-%d"]))?,
        rounds: options.rounds,
        files: many.files,
        bytes: many.bytes,
        rows,
    };
    println!("\n{}", report.table());
    if options.write {
        let path = root().join("docs/bench-backup.md");
        std::fs::write(&path, report.document())
            .map_err(Failure::at(format_args!("write {}", path.display())))?;
        println!("written to {}", path.display());
    }
    Ok(())
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
    let mut order: Vec<usize> = (0..tools.len()).collect();
    order.rotate_left(round % tools.len().max(1));
    let mut all = |repositories: &[Repository<'_>], what: &'static str, point: &str| -> Result {
        for at in &order {
            let (Some(repository), Some(tool)) = (repositories.get(*at), tools.get(*at)) else { continue };
            // What the one before still has to write is not this one's time.
            run_command(&mut Command::new("sync"))?;
            let before = repository.bytes()?;
            let taken = measure(&repository.backup(point), folder)?;
            let stored = repository.bytes()?.saturating_sub(before);
            println!(
                "  {what}: {}: {:.2} s, {:.0} MB",
                tool.tool.name(),
                taken.seconds,
                taken.peak_bytes / 1e6
            );
            rows.add(what, *at, taken, stored);
        }
        Ok(())
    };
    let place = folder.join("many");
    let repositories = repositories(tools, &place, many)?;
    all(&repositories, FIRST, "first")?;
    all(&repositories, UNCHANGED, "unchanged")?;
    many.change(round)?;
    all(&repositories, CHANGED, "changed")?;
    remove(&place)?;
    if let Some(large) = large {
        let place = folder.join("one");
        all(&self::repositories(tools, &place, large)?, LARGE, "large")?;
        remove(&place)?;
    }
    Ok(())
}

fn repositories<'a>(tools: &'a [Installed], place: &Path, data: &'a Data) -> Result<Vec<Repository<'a>>> {
    tools.iter().map(|tool| tool.repository(&place.join(tool.tool.name()), &data.folder)).collect()
}

fn remove(place: &Path) -> Result {
    std::fs::remove_dir_all(place).map_err(Failure::at(format_args!("remove {}", place.display())))
}

/// Returns what people need to know of the machine.
fn machine() -> Result<String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(Failure::at(format_args!("read {path}")));
    let value = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.map(|line| line.trim_start_matches([':', ' ', '\t']).trim().to_owned())
    };
    let model =
        value(&read("/proc/cpuinfo")?, "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = value(&read("/proc/meminfo")?, "MemTotal").unwrap_or_default();
    let memory: f64 = memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_err(Failure::at("count the cores"))?;
    let system = value(&read("/etc/os-release")?, "PRETTY_NAME=").unwrap_or_default();
    let system = system.trim_matches('"').to_owned();
    let kernel = read("/proc/sys/kernel/osrelease")?;
    Ok(format!(
        "{model}, {cores} cores, {:.0} GiB of memory, {system}, Linux {}",
        memory / f64::from(1 << 20),
        kernel.trim()
    ))
}
