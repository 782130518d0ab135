//! One small world for each test: a folder with data, a plan, keys and two vaults on two sites; and the program.

use serde_json::Value;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use testkit::Restic;

pub(crate) const PASSWORD: &str = "correct horse battery staple, and forty characters";

pub(crate) struct World {
    folder: TempDir,
}

/// What a run of the program left.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// Returns what `--json` printed.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }

    /// Fails the test unless the exit status is this one.
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    /// Fails the test unless this was said somewhere.
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.err.contains(text) || self.out.contains(text),
            "{text:?} is not in:\n{}\n{}",
            self.out,
            self.err
        );
        self
    }
}

impl World {
    /// Makes a world whose plan protects the system `shop`, the folder `data`, in the vaults `near` and `far`.
    pub(crate) fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(world.data()).unwrap();
        std::fs::create_dir(world.path("tmp")).unwrap();
        for vault in ["near", "far"] {
            world.secret(&format!("{vault}.key"), PASSWORD);
        }
        world.write_plan(&world.vault("near"), &world.vault("far"), "");
        world
    }

    /// Writes a secret that nobody else may read.
    pub(crate) fn secret(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Returns the address of a vault in a folder of this world.
    pub(crate) fn vault(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    /// Writes the plan with these vault addresses; `more` is appended.
    pub(crate) fn write_plan(&self, near: &str, far: &str, more: &str) {
        let source = format!("files = {{ paths = [{:?}] }}", self.data());
        self.write_plan_of(near, far, &source, more);
    }

    /// Writes the plan with another source for the system `shop`.
    pub(crate) fn write_plan_of(&self, near: &str, far: &str, source: &str, more: &str) {
        let host = hostname();
        let key = |vault: &str| self.path(&format!("{vault}.key"));
        let text = format!(
            r#"
[organisation]
name = "Atelier"
[people.hugo]
name = "Hugo"
[people.claire]
name = "Claire"
[sites.here]
[sites.there]
[hosts.server]
site = "here"
name = {host:?}
[vaults.near]
url = {near:?}
site = "here"
password = {{ file = {:?} }}
[vaults.far]
url = {far:?}
site = "there"
password = {{ file = {:?} }}
[policy]
vaults = ["near", "far"]
every = "1 hour"
[systems.shop]
host = "server"
rto = "1 hour"
rpo = "1 hour"
owner = "hugo"
source.{source}
{more}
"#,
            key("near"),
            key("far")
        );
        std::fs::write(self.path("plan.toml"), text).unwrap();
    }

    /// Returns the command for these arguments, not started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_releve"));
        command
            .current_dir(self.folder.path())
            .arg("--plan")
            .arg(self.path("plan.toml"))
            .arg("--state")
            .arg(self.path("state"))
            .args(arguments)
            .stdin(Stdio::null())
            .env_remove("AWS_ACCESS_KEY_ID")
            // Worlds side by side all have a system of this name.
            .env("TMPDIR", self.path("tmp"))
            // Nobody has a minute for each server that is down on purpose.
            .env("RELEVE_PATIENCE", "2")
            .env("TZ", "UTC");
        command
    }

    /// Runs the program.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        finish(&mut self.command(arguments))
    }

    /// Starts the program and leaves it running.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Returns restic on one of the vaults in this world.
    pub(crate) fn restic(&self, vault: &str) -> Restic {
        Restic::new(self.path(vault).display().to_string(), PASSWORD)
    }

    /// Returns the points that the vaults hold, oldest first.
    pub(crate) fn points(&self) -> Vec<Value> {
        self.run(&["points", "--json"]).json()["points"].as_array().unwrap().clone()
    }

    /// Returns the folder that a restore to `to` puts the data in.
    pub(crate) fn restored(&self, to: &str) -> PathBuf {
        self.path(to).join(self.data().strip_prefix("/").unwrap())
    }

    /// Has a link to a closed folder in the place of `place`, and fails the test unless a recovery refuses that before anything, and leaves the folder alone.
    pub(crate) fn refuses_planted(&self, place: &Path) {
        let victim = self.victim();
        std::os::unix::fs::symlink(&victim, place).unwrap();
        let before = closed(&victim);
        self.run(&["recover", "--yes"]).exits(2).says("a link or a file has its name");
        assert_eq!(closed(&victim), before);
        std::fs::remove_file(place).unwrap();
    }

    /// Returns a folder that nobody but its owner may look into, with a file.
    pub(crate) fn victim(&self) -> PathBuf {
        let victim = self.path("victim");
        std::fs::create_dir_all(&victim).unwrap();
        std::fs::write(victim.join("shadow"), "root:x").unwrap();
        std::fs::set_permissions(victim.join("shadow"), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o700)).unwrap();
        victim
    }

    /// Restores the newest point to `to` and fails the test unless it is the data of now.
    pub(crate) fn restores_whole(&self, to: &str) {
        self.run(&["restore", "shop", "--to", to]).exits(0);
        same(&self.data(), &self.restored(to));
    }
}

/// Returns whose a folder and all in it is, how closed, and how long.
pub(crate) fn closed(folder: &Path) -> Vec<(PathBuf, u32, u32, u64)> {
    let all = std::iter::once(folder.to_owned()).chain(files(folder));
    let seen = |path: PathBuf| {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let bytes = if meta.is_dir() { 0 } else { meta.len() };
        (path, meta.uid(), meta.mode(), bytes)
    };
    all.map(seen).collect()
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

pub(crate) fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

/// Fails the test unless both trees are the same.
pub(crate) fn same(a: &Path, b: &Path) {
    let differences = testkit::tree::compare(a, b);
    assert!(differences.is_empty(), "{differences:#?}");
}

/// Returns all files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut stack = vec![folder.to_owned()];
    while let Some(path) = stack.pop() {
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                stack.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}
