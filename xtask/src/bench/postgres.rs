//! A PostgreSQL data directory, made by PostgreSQL itself: few large files, many of a page or two.

use super::data::Data;
use crate::run::{Failure, Result, output};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// PostgreSQL refuses to run as root; its packages bring this user.
pub(super) const USER: &str = "postgres";

const INSTALLED: &str = "/usr/lib/postgresql";

/// Returns the folder of the newest PostgreSQL's programs, if there is one.
pub(super) fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(INSTALLED).ok()?.filter_map(std::result::Result::ok);
    let complete = versions.filter_map(|version| {
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        let programs = version.path().join("bin");
        let all = ["initdb", "pg_ctl", "pgbench"].iter().all(|name| programs.join(name).is_file());
        all.then_some((number, programs))
    });
    complete.max().map(|(_, programs)| programs)
}

/// Makes a data directory in a folder and fills it as pgbench does; the server has been stopped cleanly.
pub(super) fn fill(programs: &Path, folder: &Path, scale: u32) -> Result<Data> {
    // Not below `folder`: the path of a socket may have 107 bytes, and no more.
    let sockets = tempfile::tempdir().map_err(Failure::at("make a temporary folder"))?;
    std::fs::create_dir_all(folder).map_err(Failure::at(format_args!("make {}", folder.display())))?;
    let server =
        Postgres { programs, folder, sockets: sockets.path(), as_root: nix::unistd::geteuid().is_root() };
    server.give_away()?;
    let data = folder.join("data");
    let socket = sockets.path().display();
    output(server.program("initdb").args(["--auth=trust", "--username", USER, "--pgdata"]).arg(&data))?;
    let control = |what: &str| {
        let mut command = server.program("pg_ctl");
        command.args([what, "--wait", "--pgdata"]).arg(&data);
        command
    };
    let begun = output(
        control("start")
            .arg("--log")
            .arg(folder.join("log"))
            .arg("--options")
            .arg(format!("-c listen_addresses= -k {socket}")),
    );
    let filled = begun.and_then(|_| {
        let mut fill = server.program("pgbench");
        fill.args(["--initialize", "--quiet", "--scale", &scale.to_string(), "--username", USER, "--host"]);
        output(fill.arg(sockets.path()).arg("postgres"))
    });
    // A start that took too long goes on in the background, so it is stopped whatever happened.
    let stopped = output(control("stop").args(["--mode", "fast"]));
    filled?;
    stopped?;
    Data::found(data)
}

/// Where a server's programs, data and sockets are.
pub(super) struct Postgres<'a> {
    pub(super) programs: &'a Path,
    pub(super) folder: &'a Path,
    pub(super) sockets: &'a Path,
    pub(super) as_root: bool,
}

impl Postgres<'_> {
    /// Lets PostgreSQL's user into the folders.
    pub(super) fn give_away(&self) -> Result {
        if !self.as_root {
            return Ok(());
        }
        output(Command::new("chown").arg(USER).args([self.folder, self.sockets]))?;
        // Temporary folders are closed to others.
        if let Some(above) = self.folder.parent() {
            std::fs::set_permissions(above, PermissionsExt::from_mode(0o711))
                .map_err(Failure::at(format_args!("open {}", above.display())))?;
        }
        Ok(())
    }

    /// Returns one of its programs, run as its user.
    pub(super) fn program(&self, name: &str) -> Command {
        self.as_user(&self.programs.join(name))
    }

    /// Returns any program, run as its user.
    pub(super) fn as_user(&self, program: &Path) -> Command {
        let mut command = if self.as_root {
            let mut command = Command::new("setpriv");
            let user = [format!("--reuid={USER}"), format!("--regid={USER}")];
            command.args(user).arg("--clear-groups").arg(program);
            command
        } else {
            Command::new(program)
        };
        // Neither root's folder nor root's settings are for that user.
        command.current_dir(self.folder).env("HOME", self.folder);
        command
    }
}
