//! `cargo xtask bench recovery`: what carrying out a large recovery costs besides what its steps do.

use super::tools::PASSWORD;
use super::{Setting, flush, machine, today};
use crate::root;
use crate::run::{Failure, Result, output};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Below the workspace's folder.
const PAGE: &str = "docs/bench-recovery.md";
/// About what a note of a step takes.
const NOTE_BYTES: usize = 256;

/// What `bench recovery` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many systems
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    systems: usize,
    /// How many steps each has besides its data, which look whether a file is there
    #[arg(long, default_value_t = 9, value_name = "N")]
    steps: usize,
    #[command(flatten)]
    setting: Setting,
}

/// Measures a recovery whose steps do next to nothing.
pub(crate) fn run(options: &Options) -> Result {
    let program = match &options.setting.releve {
        Some(program) => program.clone(),
        None => {
            let mut build = Command::new("cargo");
            output(build.current_dir(root()).args(["build", "--release", "--quiet", "--package", "releve"]))?;
            root().join("target/release/releve")
        }
    };
    let folder = options.setting.folder()?;
    let company = Company { folder: folder.path().to_owned(), program, systems: options.systems };
    company.make()?;
    println!("backing up {} systems", options.systems);
    company.plan(0)?;
    output(company.releve().arg("backup"))?;
    let bare = company.recover("data alone", 0)?;
    let steps = options.systems * options.steps;
    let decided = company.decide(options.steps)?;
    let whole = company.recover("with steps", options.steps)?;
    let floor = durable(folder.path(), 2 * steps)?;
    let per_step = (whole - bare) / steps as f64;
    let notes = floor / steps as f64;
    let mut page = format!(
        "# A large recovery\n\nWritten by `cargo xtask bench recovery --write`; don't edit it by hand. [What is measured, and how](../bench/README.md).\n\n\
         - Date: {}\n- Machine: {}\n- Recovery: {} systems, {} steps\n\n| | |\n|---|---:|\n",
        today()?,
        machine()?,
        options.systems,
        steps + options.systems
    );
    for (what, seconds) in [
        ("deciding it (`recover --dry-run`)", decided),
        ("all of it", whole),
        ("the same without the steps: data alone", bare),
    ] {
        let _ = writeln!(page, "| {what} | {seconds:.2} s |");
    }
    for (what, seconds) in [
        ("a step that does nothing", per_step),
        ("two durable notes of one, one after the other, on this disk", notes),
    ] {
        let _ = writeln!(page, "| {what} | {:.2} ms |", seconds * 1e3);
    }
    let _ = writeln!(page, "| a step to its two notes | {:.2} |", per_step / notes);
    println!("{page}");
    if options.setting.write {
        let path = root().join(PAGE);
        std::fs::write(&path, page).map_err(Failure::at(format_args!("write {}", path.display())))?;
    }
    Ok(())
}

/// Many systems of one file each, on this machine.
struct Company {
    folder: PathBuf,
    program: PathBuf,
    systems: usize,
}

impl Company {
    fn make(&self) -> Result {
        for at in 0..self.systems {
            let data = self.data(at);
            std::fs::create_dir_all(&data).map_err(Failure::at("make the data"))?;
            std::fs::write(data.join("file"), at.to_string()).map_err(Failure::at("make the data"))?;
        }
        std::fs::write(self.folder.join("key"), PASSWORD).map_err(Failure::at("write the key"))
    }

    fn data(&self, at: usize) -> PathBuf {
        self.folder.join("data").join(at.to_string())
    }

    /// Writes the plan, with so many steps for each system.
    fn plan(&self, steps: usize) -> Result {
        let place = |name: &str| self.folder.join(name).display().to_string();
        let host = output(&mut Command::new("hostname"))?;
        let mut text = format!(
            "[organisation]\nname = \"Large\"\n[sites.here]\n[hosts.server]\nsite = \"here\"\nname = {host:?}\n[vaults.near]\nurl = \"file://{}\"\nsite = \"here\"\n\
             password = {{ file = {:?} }}\n[policy]\nvaults = [\"near\"]\nevery = \"1 day\"\n",
            place("vault"),
            place("key")
        );
        for at in 0..self.systems {
            let data = self.data(at);
            let check = format!("{{ check = {{ file = {:?} }} }}", data.join("file"));
            let after = vec![check; steps].join(", ");
            let _ = write!(
                text,
                "[systems.s{at}]\nhost = \"server\"\nrto = \"1 day\"\nrpo = \"1 day\"\nsource.files = {{ paths = [{data:?}] }}\nrecover.after = [{after}]\n"
            );
        }
        std::fs::write(self.folder.join("plan.toml"), text).map_err(Failure::at("write the plan"))
    }

    fn releve(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--plan").arg(self.folder.join("plan.toml"));
        command.arg("--state").arg(self.folder.join("state"));
        command
    }

    /// Returns how long it takes to decide, in seconds.
    fn decide(&self, steps: usize) -> Result<f64> {
        self.plan(steps)?;
        let begun = Instant::now();
        output(self.releve().args(["recover", "--dry-run"]))?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Recovers everything, and returns how long that takes, in seconds.
    fn recover(&self, what: &str, steps: usize) -> Result<f64> {
        self.plan(steps)?;
        flush()?;
        let begun = Instant::now();
        output(self.releve().args(["recover", "--yes"]))?;
        let seconds = begun.elapsed().as_secs_f64();
        println!("  {what}: {seconds:.2} s");
        Ok(seconds)
    }
}

/// Appends so many notes to a file, each durable before the next one begins: what the disk itself takes. Returns seconds.
fn durable(folder: &Path, notes: usize) -> Result<f64> {
    let path = folder.join("notes");
    let what = format!("write {}", path.display());
    let mut file = std::fs::File::create(&path).map_err(Failure::at(&what))?;
    flush()?;
    let begun = Instant::now();
    for _ in 0..notes {
        file.write_all(&[b'n'; NOTE_BYTES]).and_then(|()| file.sync_data()).map_err(Failure::at(&what))?;
    }
    Ok(begun.elapsed().as_secs_f64())
}
