//! `cargo xtask bench growth`: how time and memory grow with the number of files, of points, and of systems in a plan.

use super::data::{Data, TINY_BYTES};
use super::measure::{Taken, measure};
use super::systems::systems;
use super::tools::{Installed, Repository, Tool};
use super::{Setting, flush, machine, remove, today};
use crate::root;
use crate::run::{Failure, Result, output};
use std::path::Path;

/// How many files the folder has of which many points are made.
const FILES_FOR_POINTS: usize = 1_000;

const PAGE: &str = "docs/bench-growth.md";

/// What `bench growth` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many files
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000", value_name = "N")]
    files: Vec<usize>,
    /// How many points, in rising order
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000", value_name = "N")]
    points: Vec<usize>,
    /// How many systems a plan has
    #[arg(long, value_delimiter = ',', default_value = "1000,20000", value_name = "N")]
    systems: Vec<usize>,
    #[command(flatten)]
    setting: Setting,
}

/// Measures growth.
pub(crate) fn run(options: &Options) -> Result {
    let installed = options.setting.installed([Tool::Releve], &[])?;
    let tool = installed.first().ok_or_else(|| Failure::new("our own program is not here"))?;
    let folder = options.setting.folder()?;
    let files = files(tool, folder.path(), &options.files)?;
    let points = points(tool, folder.path(), &options.points)?;
    let systems = systems(tool, folder.path(), &options.systems)?;
    println!("\n{files}\n{points}\n{systems}");
    if options.setting.write {
        let page = format!(
            "# Growth\n\nWritten by `cargo xtask bench growth --write`; don't edit it by hand.\n\n\
             - Date: {}\n- Machine: {}\n- Version: releve {}\n- Each number is of one run: look at how they grow, not at their last digit.\n\n\
             {files}\nFiles of {TINY_BYTES} bytes, a hundred in a folder. In memory a backup has some 60 bytes for each piece of content in each vault, and of a folder\n\
             all its entries at once; a prune has some 320.\n\n\
             {points}\nA folder of {FILES_FOR_POINTS} such files, of which one changes before each point.\n\n\
             {systems}\nNo vault and no point is there: what is decided and shown of the plan alone.\n",
            today()?,
            machine()?,
            tool.version
        );
        let path = root().join(PAGE);
        std::fs::write(&path, page).map_err(Failure::at(format_args!("write {}", path.display())))?;
        println!("written to {}", path.display());
    }
    Ok(())
}

fn files(tool: &Installed, folder: &Path, counts: &[usize]) -> Result<String> {
    let mut table =
        "| Files | first backup | memory | unchanged | memory | prune, looked at | memory | stored |\n\
                     |---:|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
    for &count in counts {
        println!("{count} files");
        let (data, place) = (folder.join("data"), folder.join("vault"));
        Data::tiny(data.clone(), count)?;
        let repository = tool.repository(&place, &data)?;
        flush()?;
        let first = measure(&repository.backup("first"), folder)?;
        let again = measure(&repository.backup("again"), folder)?;
        let look = measure(&repository.prune_look(), folder)?;
        table += &row(count, [first, again, look], &repository)?;
        remove(&data)?;
        remove(&place)?;
    }
    Ok(table)
}

fn points(tool: &Installed, folder: &Path, counts: &[usize]) -> Result<String> {
    let mut table = "| Points | the next backup | memory | list of points | memory | prune, looked at | memory | stored |\n\
                     |---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    let (data, place) = (folder.join("data"), folder.join("vault"));
    let tiny = Data::tiny(data.clone(), FILES_FOR_POINTS)?;
    let repository = tool.repository(&place, &data)?;
    let mut made = 0;
    for &count in counts {
        println!("{count} points");
        while made < count {
            point(&repository, &tiny, made)?;
            made += 1;
        }
        flush()?;
        change(&tiny, made)?;
        let next = measure(&repository.backup("next"), folder)?;
        made += 1;
        let list = measure(&repository.points(), folder)?;
        let look = measure(&repository.prune_look(), folder)?;
        table += &row(count, [next, list, look], &repository)?;
    }
    remove(&data)?;
    remove(&place)?;
    Ok(table)
}

fn point(repository: &Repository<'_>, data: &Data, number: usize) -> Result {
    change(data, number)?;
    output(&mut repository.backup("point")).map(drop)
}

fn change(data: &Data, number: usize) -> Result {
    let path = data.tiny_path(number % FILES_FOR_POINTS);
    std::fs::write(&path, format!("changed for the {number}th time"))
        .map_err(Failure::at(format_args!("write {}", path.display())))
}

fn row(count: usize, taken: [Taken; 3], repository: &Repository<'_>) -> Result<String> {
    let shown = taken.map(|taken| format!("{:.2} s | {:.0} MB", taken.seconds, taken.peak_bytes / 1e6));
    let stored = repository.bytes()? as f64 / 1e6;
    Ok(format!("| {count} | {} | {stored:.1} MB |\n", shown.join(" | ")))
}
