//! `cargo xtask bench`: the same data, the same machine, the same run; ours and others.

mod agent;
pub(crate) mod backup;
pub(crate) mod cluster;
mod data;
pub(crate) mod growth;
mod line;
pub(crate) mod measure;
mod postgres;
pub(crate) mod recovery;
pub(crate) mod restore;
mod server;
pub(crate) mod sync;
mod systems;
mod table;
mod tools;

use crate::run::{Failure, Result, output};
use data::Data;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use tools::{Installed, Repository, Tool};

/// What all comparisons take.
#[derive(Debug, clap::Args)]
struct Setting {
    /// Our program, built already [default: it is built as for a release]
    #[arg(long, value_name = "PATH")]
    releve: Option<PathBuf>,
    /// Where to put data and repositories meanwhile [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Put the tables into the documentation, docs/bench-….md
    #[arg(long)]
    write: bool,
}

impl Setting {
    /// Returns those of the tools that are wanted and here; no names: all are wanted.
    fn installed(&self, tools: impl IntoIterator<Item = Tool>, names: &[String]) -> Result<Vec<Installed>> {
        let wanted = |tool: &Tool| names.is_empty() || names.iter().any(|name| name == tool.name());
        let mut installed = Vec::new();
        for tool in tools.into_iter().filter(wanted) {
            match Installed::look(tool, self.releve.as_deref())? {
                Some(found) => installed.push(found),
                None => println!(
                    "{} is not here and is left out; to install it: {}",
                    tool.name(),
                    tool.installation()
                ),
            }
        }
        Ok(installed)
    }

    /// Makes the folder for data and repositories; its path is absolute, as plans want it.
    fn folder(&self) -> Result<TempDir> {
        let folder = match &self.dir {
            Some(dir) => std::fs::canonicalize(dir).and_then(tempfile::tempdir_in),
            None => tempfile::tempdir(),
        };
        folder.map_err(Failure::at("make a temporary folder"))
    }
}

/// Returns the columns in the order of a round: each time another one begins.
fn order(columns: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..columns).collect();
    order.rotate_left(round % columns.max(1));
    order
}

/// Makes an empty repository for each tool, in folders below `place`.
fn repositories<'a>(tools: &'a [Installed], place: &Path, data: &'a Data) -> Result<Vec<Repository<'a>>> {
    tools.iter().map(|tool| tool.repository(&place.join(tool.tool.name()), &data.folder)).collect()
}

/// Waits until everything is on disk: what one program still has to write is not the next one's time.
fn flush() -> Result {
    output(&mut Command::new("sync")).map(drop)
}

fn remove(place: &Path) -> Result {
    std::fs::remove_dir_all(place).map_err(Failure::at(format_args!("remove {}", place.display())))
}

fn today() -> Result<String> {
    output(Command::new("date").args(["--utc", "+%Y-%m-%d"]))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_another_one_begins_and_nobody_is_left_out() {
        assert_eq!(order(3, 0), [0, 1, 2]);
        assert_eq!(order(3, 1), [1, 2, 0]);
        assert_eq!(order(3, 5), [2, 0, 1]);
        assert!(order(0, 1).is_empty());
    }
}
