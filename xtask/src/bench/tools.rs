//! The programs that are compared: how each makes a repository, backs up into it and restores from it.

use super::server::Remote;
use crate::root;
use crate::run::{Failure, Result, cargo, find, output, run};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) const PASSWORD: &str = "a password that only benches have, long as keys are";

/// The point that a repository is filled with.
const FILLED: &str = "filled";

/// Requests are signed for a region, also where the server has none.
pub(super) const REGION: &str = "us-east-1";

/// A program that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Releve,
    Restic,
    Borg,
    Rustic,
    /// No backup program: what copying alone takes.
    Cp,
}

impl Tool {
    /// Those that back up.
    pub(super) const BACKUP: [Self; 4] = [Self::Releve, Self::Restic, Self::Borg, Self::Rustic];

    /// Those that restore.
    pub(super) const RESTORE: [Self; 5] = [Self::Cp, Self::Releve, Self::Restic, Self::Borg, Self::Rustic];

    /// As it is called at `--tools` and in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Releve => "releve",
            Self::Restic => "restic",
            Self::Borg => "borg",
            Self::Rustic => "rustic",
            Self::Cp => "cp",
        }
    }

    /// Whether it knows S3.
    pub(super) fn is_remote(self) -> bool {
        !matches!(self, Self::Borg | Self::Cp)
    }

    /// How it is installed, for those who lack it.
    pub(super) fn installation(self) -> &'static str {
        match self {
            Self::Releve => "cargo build --release -p releve",
            Self::Restic => "apt-get install -y restic",
            Self::Borg => "apt-get install -y borgbackup",
            Self::Rustic => "cargo install --locked rustic-rs --no-default-features",
            Self::Cp => "apt-get install -y coreutils",
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
        let is_number = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
        let version = version.split_whitespace().find(is_number).unwrap_or_default().to_owned();
        Ok(Some(Self { tool, program, version }))
    }

    /// Returns the program to run.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Makes an empty repository for this data in a folder of its own.
    pub(super) fn repository<'a>(&'a self, folder: &Path, data: &'a Path) -> Result<Repository<'a>> {
        let place = Place::Folder(folder.join("repository"));
        let repository = Repository { tool: self, folder: folder.to_owned(), data, place };
        repository.make()?;
        Ok(repository)
    }

    /// Makes an empty repository in an S3 server; what the tool keeps here goes into a folder of its own.
    pub(super) fn remote_repository<'a>(
        &'a self,
        folder: &Path,
        data: &'a Path,
        remote: Remote,
    ) -> Result<Repository<'a>> {
        let place = Place::Remote(remote);
        let repository = Repository { tool: self, folder: folder.to_owned(), data, place };
        repository.make()?;
        Ok(repository)
    }
}

/// A repository of one tool.
pub(super) struct Repository<'a> {
    tool: &'a Installed,
    folder: PathBuf,
    data: &'a Path,
    place: Place,
}

/// Where a repository is.
#[derive(Debug, Clone)]
enum Place {
    Folder(PathBuf),
    Remote(Remote),
}

impl<'a> Repository<'a> {
    /// Backs the data up, so that it can be restored.
    pub(super) fn fill(&self) -> Result {
        match self.tool.tool {
            // It copies the data itself.
            Tool::Cp => Ok(()),
            _ => output(&mut self.backup(FILLED)).map(drop),
        }
    }

    /// Returns the command that restores what the repository was filled with into a folder that is there.
    pub(super) fn restore(&self, target: &Path) -> Command {
        let mut command = self.command();
        match self.tool.tool {
            Tool::Releve => command.args(["restore", "data", "--to"]).arg(target),
            Tool::Restic => command.args(["restore", "latest", "--quiet", "--target"]).arg(target),
            Tool::Borg => command.arg("extract").arg(format!("::{FILLED}")).current_dir(target),
            Tool::Rustic => command.args(["restore", "--no-progress", "latest"]).arg(target),
            Tool::Cp => command.arg("-a").arg(self.data).arg(target),
        };
        command
    }

    /// Returns where in the target the data is after a restore.
    pub(super) fn restored(&self, target: &Path) -> PathBuf {
        match self.tool.tool {
            Tool::Cp => target.join(self.data.file_name().unwrap_or_default()),
            _ => target.join(self.data.strip_prefix("/").unwrap_or(self.data)),
        }
    }

    /// Returns the same repository in the server, seen through another port and by somebody who has never seen it: without caches.
    pub(super) fn unknown_behind(&self, port: u16, folder: &Path) -> Result<Self> {
        let mut place = self.place.clone();
        if let Place::Remote(remote) = &mut place {
            remote.port = port;
        }
        let other = Self { tool: self.tool, folder: folder.to_owned(), data: self.data, place };
        other.make_ready()?;
        Ok(other)
    }

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
            Tool::Cp => command.arg("-a").arg(self.data).arg(self.folder.join(point)),
        };
        command
    }

    /// Writes our plan so that a run of the data is due at once, or only tomorrow.
    pub(super) fn plan_every(&self, every: &str) -> Result {
        let path = self.folder.join("plan.toml");
        let at = || Failure::at(format!("change {}", path.display()));
        let plan = std::fs::read_to_string(&path).map_err(at())?;
        let data = "[systems.data]\n";
        let (before, after) =
            plan.split_once(data).ok_or_else(|| Failure::new("our plan has no system of the data"))?;
        let after = match after.split_once('\n') {
            Some((first, rest)) if first.starts_with("policy.every") => rest,
            _ => after,
        };
        std::fs::write(&path, format!("{before}{data}policy.every = \"{every}\"\n{after}")).map_err(at())
    }

    /// Returns the command, of ours, that backs up whenever the plan says so.
    pub(super) fn agent(&self) -> Command {
        let mut command = self.command();
        // Where this runs in a sandbox, its first process can't be looked into.
        command.args(["agent", "--trust-process", "1"]);
        command
    }

    /// Returns the command, of ours, that says what a prune would do.
    pub(super) fn prune_look(&self) -> Command {
        let mut command = self.command();
        command.args(["prune", "--dry-run", "--json"]);
        command
    }

    /// Returns the command, of ours, that lists the points.
    pub(super) fn points(&self) -> Command {
        let mut command = self.command();
        command.args(["points", "--json"]);
        command
    }

    /// Returns how many bytes it has on disk; one in a server has none here.
    pub(super) fn bytes(&self) -> Result<u64> {
        let Place::Folder(place) = &self.place else { return Ok(0) };
        let said = output(Command::new("du").args(["--summarize", "--bytes"]).arg(place))?;
        let number = said.split_whitespace().next().and_then(|number| number.parse().ok());
        number.ok_or_else(|| Failure::new(format!("du said {said:?}")))
    }

    /// Makes the folder for what the tool keeps here, and our plan in it.
    fn make_ready(&self) -> Result {
        std::fs::create_dir_all(&self.folder)
            .map_err(Failure::at(format_args!("make {}", self.folder.display())))?;
        if self.tool.tool == Tool::Releve { self.plan() } else { Ok(()) }
    }

    /// Makes the repository. Nobody's first backup is charged with it: deriving a key takes its time on purpose.
    fn make(&self) -> Result {
        self.make_ready()?;
        let mut command = self.command();
        match self.tool.tool {
            Tool::Cp => return Ok(()),
            Tool::Releve => _ = command.args(["backup", "seed"]),
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
                command.env("RESTIC_PASSWORD", PASSWORD).env("RESTIC_CACHE_DIR", cache);
            }
            Tool::Borg => {
                command.env("BORG_PASSPHRASE", PASSWORD).env("BORG_BASE_DIR", cache);
            }
            Tool::Rustic => {
                command.env("RUSTIC_PASSWORD", PASSWORD).env("RUSTIC_CACHE_DIR", cache);
            }
            Tool::Cp => {}
        }
        match (&self.place, self.tool.tool) {
            // Our plan says it, and copying needs no repository.
            (Place::Folder(_), Tool::Releve | Tool::Cp) => {}
            (Place::Folder(place), Tool::Restic) => _ = command.env("RESTIC_REPOSITORY", place),
            (Place::Folder(place), Tool::Borg) => _ = command.env("BORG_REPO", place),
            (Place::Folder(place), Tool::Rustic) => _ = command.env("RUSTIC_REPOSITORY", place),
            (Place::Remote(remote), tool) => reach(&mut command, remote, tool),
        }
        command
    }

    /// Writes the plan: one host, one vault, the data, and a seed whose backup makes the vault.
    fn plan(&self) -> Result {
        let seed = self.folder.join("seed");
        super::data::seed(&seed)?;
        let quoted = |path: &Path| toml::Value::String(path.display().to_string());
        let url = toml::Value::String(match &self.place {
            Place::Folder(place) => format!("file://{}", place.display()),
            Place::Remote(remote) => remote.url(REGION),
        });
        let text = format!(
            r#"[organisation]
name = "Bench"

[sites.here]
[hosts.here]
name = {machine}
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
            // Our agent backs up nothing but its own machine.
            machine = toml::Value::String(output(Command::new("uname").arg("--nodename"))?),
            seed = quoted(&seed),
            data = quoted(self.data),
        );
        let path = self.folder.join("plan.toml");
        std::fs::write(&path, text).map_err(Failure::at(format_args!("write {}", path.display())))
    }
}

/// Tells a program, in its own words, where its repository is and with which keys it is reached.
pub(super) fn reach(command: &mut Command, remote: &Remote, tool: Tool) {
    command
        .env("AWS_ACCESS_KEY_ID", &remote.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &remote.secret_key)
        .env_remove("AWS_SESSION_TOKEN");
    match tool {
        Tool::Restic => {
            let url = format!("s3:{}/{}/{}", remote.endpoint(), remote.bucket, remote.prefix);
            command.env("RESTIC_REPOSITORY", url).env("AWS_DEFAULT_REGION", REGION);
        }
        Tool::Rustic => {
            command
                .env("RUSTIC_REPOSITORY", "opendal:s3")
                .env("OPENDAL_ENDPOINT", remote.endpoint())
                .env("OPENDAL_BUCKET", &remote.bucket)
                .env("OPENDAL_ROOT", format!("/{}", remote.prefix))
                .env("OPENDAL_REGION", REGION)
                .env("OPENDAL_ACCESS_KEY_ID", &remote.access_key)
                .env("OPENDAL_SECRET_ACCESS_KEY", &remote.secret_key);
        }
        // Our plan says it; the others know no S3.
        Tool::Releve | Tool::Borg | Tool::Cp => {}
    }
}

/// Builds our program as people get it, and returns where it is.
fn build() -> Result<PathBuf> {
    run(&mut cargo(&["build", "--release", "--locked", "--package", "releve"]))?;
    released("releve")
}

/// Returns where a program is that was built as for a release: beside this one, in the folder for releases.
pub(super) fn released(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(Failure::at("find this program"))?;
    let target = own.ancestors().nth(2).map_or_else(|| root().join("target"), Path::to_owned);
    let program = target.join("release").join(name);
    if program.is_file() {
        return Ok(program);
    }
    Err(Failure::new(format!("{} is not there although it was built", program.display())))
}
