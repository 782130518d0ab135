//! The programs that are compared: how each makes a repository and backs up into it.

use crate::root;
use crate::run::{Failure, Result, cargo, find, output, run};
use std::path::{Path, PathBuf};
use std::process::Command;

const PASSWORD: &str = "bench";

/// A program that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Releve,
    Restic,
    Borg,
    Rustic,
}

impl Tool {
    pub(super) const ALL: [Self; 4] = [Self::Releve, Self::Restic, Self::Borg, Self::Rustic];

    /// As it is called at `--tools` and in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Releve => "releve",
            Self::Restic => "restic",
            Self::Borg => "borg",
            Self::Rustic => "rustic",
        }
    }

    /// How it is installed, for those who lack it.
    pub(super) fn installation(self) -> &'static str {
        match self {
            Self::Releve => "cargo build --release -p releve",
            Self::Restic => "apt-get install -y restic",
            Self::Borg => "apt-get install -y borgbackup",
            Self::Rustic => "cargo install --locked rustic-rs --no-default-features",
        }
    }
}

/// A tool that is here.
#[derive(Debug)]
pub(super) struct Installed {
    pub(super) tool: Tool,
    program: PathBuf,
    pub(super) version: String,
}

impl Installed {
    /// Looks for a tool; ours is built unless a build is named.
    pub(super) fn look(tool: Tool, ours: Option<&Path>) -> Result<Option<Self>> {
        let program = match tool {
            Tool::Releve => Some(ours.map_or_else(build, |path| Ok(path.to_owned()))?),
            _ => find(tool.name()),
        };
        let Some(program) = program else { return Ok(None) };
        let flag = if tool == Tool::Restic { "version" } else { "--version" };
        let version = output(Command::new(&program).arg(flag))?;
        let version = version.split_whitespace().nth(1).unwrap_or_default().to_owned();
        Ok(Some(Self { tool, program, version }))
    }

    /// Makes an empty repository for this data in a folder of its own.
    pub(super) fn repository<'a>(&'a self, folder: &Path, data: &'a Path) -> Result<Repository<'a>> {
        std::fs::create_dir_all(folder).map_err(Failure::at(format_args!("make {}", folder.display())))?;
        let repository = Repository { tool: self, folder: folder.to_owned(), data };
        repository.make()?;
        Ok(repository)
    }
}

/// A repository of one tool.
pub(super) struct Repository<'a> {
    tool: &'a Installed,
    folder: PathBuf,
    data: &'a Path,
}

impl Repository<'_> {
    /// Returns the command that backs the data up; each point needs a name of its own.
    pub(super) fn backup(&self, point: &str) -> Command {
        let mut command = self.command();
        match self.tool.tool {
            Tool::Releve => command.args(["backup", "data"]),
            Tool::Restic => command.args(["backup", "--quiet"]).arg(self.data),
            Tool::Borg => {
                command.args(["create", "--compression", "lz4"]).arg(format!("::{point}")).arg(self.data)
            }
            Tool::Rustic => command.args(["backup", "--no-progress"]).arg(self.data),
        };
        command
    }

    /// Returns how many bytes it has on disk.
    pub(super) fn bytes(&self) -> Result<u64> {
        let said = output(Command::new("du").args(["--summarize", "--bytes"]).arg(self.place()))?;
        let number = said.split_whitespace().next().and_then(|number| number.parse().ok());
        number.ok_or_else(|| Failure::new(format!("du said {said:?}")))
    }

    fn place(&self) -> PathBuf {
        self.folder.join("repository")
    }

    /// Makes the repository. Nobody's first backup is charged with it: deriving a key takes its time on purpose.
    fn make(&self) -> Result {
        let mut command = self.command();
        match self.tool.tool {
            Tool::Releve => {
                self.plan()?;
                command.args(["backup", "seed"]);
            }
            Tool::Restic => _ = command.args(["init", "--quiet", "--repository-version", "2"]),
            // On a processor with instructions for SHA-256 it is borg's faster way; the other would be repokey-blake2.
            Tool::Borg => _ = command.args(["init", "--encryption", "repokey"]),
            Tool::Rustic => _ = command.args(["init", "--no-progress"]),
        }
        output(&mut command).map(drop)
    }

    /// Returns the program, told where everything is: each repository has caches and state of its own.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.tool.program);
        let cache = self.folder.join("cache");
        match self.tool.tool {
            Tool::Releve => {
                command
                    .arg("--plan")
                    .arg(self.folder.join("plan.toml"))
                    .arg("--state")
                    .arg(self.folder.join("state"));
                command.env("RELEVE_BENCH_PASSWORD", PASSWORD);
            }
            Tool::Restic => {
                command
                    .env("RESTIC_REPOSITORY", self.place())
                    .env("RESTIC_PASSWORD", PASSWORD)
                    .env("RESTIC_CACHE_DIR", cache);
            }
            Tool::Borg => {
                command
                    .env("BORG_REPO", self.place())
                    .env("BORG_PASSPHRASE", PASSWORD)
                    .env("BORG_BASE_DIR", cache);
            }
            Tool::Rustic => {
                command
                    .env("RUSTIC_REPOSITORY", self.place())
                    .env("RUSTIC_PASSWORD", PASSWORD)
                    .env("RUSTIC_CACHE_DIR", cache);
            }
        }
        command
    }

    /// Writes the plan: one host, one vault, the data, and a seed whose backup makes the vault.
    fn plan(&self) -> Result {
        let seed = self.folder.join("seed");
        std::fs::create_dir_all(&seed).map_err(Failure::at(format_args!("make {}", seed.display())))?;
        let quoted = |path: &Path| toml::Value::String(path.display().to_string());
        let url = toml::Value::String(format!("file://{}", self.place().display()));
        let text = format!(
            r#"[organisation]
name = "Bench"

[sites.here]
[hosts.here]
site = "here"

[vaults.local]
url = {url}
site = "here"
password = {{ env = "RELEVE_BENCH_PASSWORD" }}

[systems.seed]
host = "here"
rto = "1 day"
rpo = "1 day"
source.files = {{ paths = [{seed}] }}

[systems.data]
host = "here"
rto = "1 day"
rpo = "1 day"
source.files = {{ paths = [{data}] }}

[policy]
vaults = ["local"]
every = "1 day"
"#,
            seed = quoted(&seed),
            data = quoted(self.data),
        );
        let path = self.folder.join("plan.toml");
        std::fs::write(&path, text).map_err(Failure::at(format_args!("write {}", path.display())))
    }
}

/// Builds our program as people get it, and returns where it is: beside this one, in the folder for releases.
fn build() -> Result<PathBuf> {
    run(&mut cargo(&["build", "--release", "--locked", "--package", "releve"]))?;
    let own = std::env::current_exe().map_err(Failure::at("find this program"))?;
    let target = own.ancestors().nth(2).map_or_else(|| root().join("target"), Path::to_owned);
    let program = target.join("release/releve");
    if program.is_file() {
        return Ok(program);
    }
    Err(Failure::new(format!("{} is not there although it was built", program.display())))
}
