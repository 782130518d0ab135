//! `cargo xtask bench sync`: from a repository on this disk to an empty one in an S3 server far away.

use super::data::Data;
use super::line::{FAR, Line};
use super::measure::measure;
use super::server::{Remote, Server};
use super::table::{Report, Rows, SYNC};
use super::tools::{Installed, PASSWORD, REGION, Tool, reach};
use super::{Setting, flush, machine, order, remove, today};
use crate::run::{Failure, Result, output};
use std::path::{Path, PathBuf};
use std::process::Command;

const ROW: &str = "small files to S3, 30 ms away, 1 Gbit/s";

/// What `bench sync` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many small files
    #[arg(long, default_value_t = 60_000, value_name = "N")]
    files: usize,
    /// How often each copies; the medians of the times count, and the most memory
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Only these: releve, restic
    #[arg(long, value_delimiter = ',', value_name = "NAME", value_parser = ["releve", "restic"])]
    tools: Vec<String>,
    #[command(flatten)]
    setting: Setting,
}

/// Compares copies.
pub(crate) fn run(options: &Options) -> Result {
    let tools = options.setting.installed([Tool::Releve, Tool::Restic], &options.tools)?;
    let folder = options.setting.folder()?;
    println!("making {} files in {}", options.files, folder.path().display());
    let data = Data::many(folder.path().join("small"), options.files)?;
    let server = Server::start(&folder.path().join("server"))?;
    let line = Line::to(server.port(), FAR).map_err(Failure::at("open the line"))?;
    let mut sources = Vec::new();
    for tool in &tools {
        println!("filling the repository of {}", tool.tool.name());
        sources.push(Source::fill(tool, folder.path().join(tool.tool.name()), &data)?);
    }
    let mut rows = Rows::default();
    let mut notes = Vec::new();
    for round in 0..usize::from(options.rounds) {
        println!("{ROW}: round {} of {}", round + 1, options.rounds);
        for column in order(sources.len(), round) {
            let Some(source) = sources.get(column) else { continue };
            let name = source.tool.tool.name();
            let prefix = format!("{name}-{round}");
            let remote = server.remote(&prefix);
            source.make(&remote)?;
            flush()?;
            let behind = Remote { port: line.port(), ..remote };
            let taken = measure(&source.copy(&behind)?, folder.path())?;
            println!("  {name}: {taken}");
            let stored = Data::found(server.objects(&prefix))?.bytes;
            if round == 0 {
                let floor = stored as f64 / FAR.bytes_per_second;
                notes.push(format!(
                    "What {name} sends takes {floor:.2} s on the line alone ({:.1} MB).",
                    stored as f64 / 1e6
                ));
            }
            rows.add(ROW, column, taken, stored);
            remove(&server.objects(&prefix))?;
        }
    }
    let report = Report {
        page: &SYNC,
        tools: tools.iter().map(|found| (found.tool.name(), found.version.clone())).collect(),
        machine: machine()?,
        date: today()?,
        rounds: options.rounds,
        data: data.to_string(),
        rows,
        notes,
    };
    report.publish(options.setting.write)
}

/// A repository on this disk, and what its program keeps beside it.
struct Source<'a> {
    tool: &'a Installed,
    folder: PathBuf,
    data: PathBuf,
}

impl<'a> Source<'a> {
    fn fill(tool: &'a Installed, folder: PathBuf, data: &Data) -> Result<Self> {
        let seed = folder.join("seed");
        super::data::seed(&seed)?;
        let source = Self { tool, folder, data: data.folder.clone() };
        if tool.tool == Tool::Releve {
            source.plan(None, false)?;
            output(source.releve().args(["backup", "data"]))?;
        } else {
            output(source.restic(&source.repository()).args([
                "init",
                "--quiet",
                "--repository-version",
                "2",
            ]))?;
            output(source.restic(&source.repository()).args(["backup", "--quiet"]).arg(&source.data))?;
        }
        Ok(source)
    }

    /// Makes the empty repository in the server: deriving its key takes time on purpose, and is charged to nobody.
    fn make(&self, remote: &Remote) -> Result {
        if self.tool.tool == Tool::Releve {
            // It has never seen this one.
            let _ = remove(&self.folder.join("state"));
            self.plan(Some(remote), false)?;
            let mut command = self.releve();
            reach(&mut command, remote, Tool::Releve);
            return output(command.args(["backup", "seed"])).map(drop);
        }
        let mut command = self.restic(&self.repository());
        reach(&mut command, remote, Tool::Restic);
        output(command.args(["init", "--quiet", "--repository-version", "2"])).map(drop)
    }

    /// Returns the command that copies the data's point there.
    fn copy(&self, remote: &Remote) -> Result<Command> {
        let mut command = if self.tool.tool == Tool::Releve {
            self.plan(Some(remote), true)?;
            let mut command = self.releve();
            command.args(["sync", "data"]);
            command
        } else {
            let mut command = self.restic(&self.repository());
            command.env("RESTIC_FROM_PASSWORD", PASSWORD).env("RESTIC_FROM_REPOSITORY", self.repository());
            // A cache of what it has just made itself is as good as none.
            command.env("RESTIC_CACHE_DIR", self.folder.join("cache"));
            command.arg("copy");
            command
        };
        reach(&mut command, remote, self.tool.tool);
        Ok(command)
    }

    fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }

    fn releve(&self) -> Command {
        let mut command = Command::new(self.tool.program());
        let [plan, state] = ["plan.toml", "state"].map(|name| self.folder.join(name));
        command.arg("--plan").arg(plan).arg("--state").arg(state).env("RELEVE_BENCH_PASSWORD", PASSWORD);
        command
    }

    fn restic(&self, repository: &Path) -> Command {
        let mut command = Command::new(self.tool.program());
        command
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("RESTIC_CACHE_DIR", self.folder.join("cache"))
            .env("RESTIC_REPOSITORY", repository);
        command
    }

    /// Writes the plan: the vault here, the one far away, and whether the data is wanted there too.
    fn plan(&self, remote: Option<&Remote>, wanted: bool) -> Result {
        let quoted = |text: String| toml::Value::String(text);
        let path = |path: &Path| quoted(path.display().to_string());
        let far = remote.map_or_else(String::new, |remote| {
            let url = quoted(remote.url(REGION));
            format!("[vaults.far]\nurl = {url}\nsite = \"there\"\npassword = {{ env = \"RELEVE_BENCH_PASSWORD\" }}\n")
        });
        let both = r#"["near", "far"]"#;
        let system = |name: &str, folder: &Path, far: bool| {
            let vaults = if far { both } else { r#"["near"]"# };
            format!(
                "[systems.{name}]\nhost = \"here\"\nrto = \"1 day\"\nrpo = \"1 day\"\n\
                 source.files = {{ paths = [{}] }}\npolicy.vaults = {vaults}\n",
                path(folder)
            )
        };
        let near = quoted(format!("file://{}", self.repository().display()));
        let text = format!(
            "[organisation]\nname = \"Bench\"\n[sites.here]\n[sites.there]\n[hosts.here]\nsite = \"here\"\n\
             [vaults.near]\nurl = {near}\nsite = \"here\"\npassword = {{ env = \"RELEVE_BENCH_PASSWORD\" }}\n\
             {far}{}{}[policy]\nvaults = [\"near\"]\nevery = \"1 day\"\n",
            system("seed", &self.folder.join("seed"), remote.is_some()),
            system("data", &self.data, wanted),
        );
        let path = self.folder.join("plan.toml");
        std::fs::write(&path, text).map_err(Failure::at(format_args!("write {}", path.display())))
    }
}
