//! What the tests need beside the toolchain, and how it gets here.

use crate::run::{Failure, Result, cargo, find, output, run};
use std::collections::BTreeSet;
use std::process::Command;

/// A program and the Debian package that holds it.
const PROGRAMS: [(&str, &str); 11] = [
    ("restic", "restic"),
    ("sshd", "openssh-server"),
    ("sftp-server", "openssh-sftp-server"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("getfacl", "acl"),
    ("setfacl", "acl"),
    ("getfattr", "attr"),
    ("setfattr", "attr"),
    ("setpriv", "util-linux"),
    ("prlimit", "util-linux"),
];

/// A subcommand of cargo, its crate, and the version that was tested with the configuration in this repository.
const CARGO_TOOLS: [(&str, &str, &str); 2] =
    [("nextest", "cargo-nextest", "0.9.143"), ("deny", "cargo-deny", "0.20.2")];

/// Parts of the toolchain.
const COMPONENTS: [(&str, &str); 2] = [("fmt", "rustfmt"), ("clippy", "clippy")];

/// Makes sure that everything is here; installs what isn't, unless only asked to look.
pub(crate) fn ensure(check: bool) -> Result {
    let missing = Missing::look();
    if missing.is_nothing() {
        return Ok(());
    }
    if check {
        return Err(Failure::new(format!(
            "missing for the tests; install it with:\n{}",
            missing.lines().join("\n")
        )));
    }
    missing.install()?;
    let still = Missing::look();
    if still.is_nothing() {
        return Ok(());
    }
    Err(Failure::new(format!("still missing after the installation:\n{}", still.lines().join("\n"))))
}

/// `cargo xtask setup`.
pub(crate) fn verb(check: bool) -> Result {
    ensure(check)?;
    println!("everything that the tests need is here");
    Ok(())
}

struct Missing {
    packages: BTreeSet<&'static str>,
    components: Vec<&'static str>,
    tools: Vec<(&'static str, &'static str)>,
}

impl Missing {
    fn look() -> Self {
        let has = |subcommand: &str| output(&mut cargo(&[subcommand, "--version"])).is_ok();
        Self {
            packages: PROGRAMS
                .iter()
                .filter(|(program, _)| find(program).is_none())
                .map(|(_, package)| *package)
                .collect(),
            components: COMPONENTS
                .iter()
                .filter(|(name, _)| !has(name))
                .map(|(_, component)| *component)
                .collect(),
            tools: CARGO_TOOLS
                .iter()
                .filter(|(name, ..)| !has(name))
                .map(|(_, of, version)| (*of, *version))
                .collect(),
        }
    }

    fn is_nothing(&self) -> bool {
        self.packages.is_empty() && self.components.is_empty() && self.tools.is_empty()
    }

    /// Returns what to type.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.packages.is_empty() {
            let packages: Vec<_> = self.packages.iter().copied().collect();
            lines.push(format!(
                "apt-get update && apt-get install -y --no-install-recommends {}",
                packages.join(" ")
            ));
        }
        lines.extend(self.components.iter().map(|component| format!("rustup component add {component}")));
        lines.extend(self.tools.iter().map(|(of, version)| format!("cargo install --locked {of}@{version}")));
        lines
    }

    fn install(&self) -> Result {
        if !self.packages.is_empty() {
            if !nix::unistd::geteuid().is_root() || find("apt-get").is_none() {
                let why =
                    "programs are missing, and only root on Debian or Ubuntu can install them from here";
                return Err(Failure::new(format!("{why}; run as root:\n{}", self.lines().join("\n"))));
            }
            apt(&["update"])?;
            let mut arguments = vec!["install", "-y", "--no-install-recommends"];
            arguments.extend(&self.packages);
            apt(&arguments)?;
        }
        for component in &self.components {
            run(Command::new("rustup").args(["component", "add", component]))?;
        }
        for (of, version) in &self.tools {
            run(&mut cargo(&["install", "--locked", &format!("{of}@{version}")]))?;
        }
        Ok(())
    }
}

fn apt(arguments: &[&str]) -> Result {
    run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_as_commands_to_type() {
        let missing = Missing {
            packages: BTreeSet::from(["restic", "acl"]),
            components: vec!["clippy"],
            tools: vec![("cargo-deny", "0.20.2")],
        };
        let expected = [
            "apt-get update && apt-get install -y --no-install-recommends acl restic",
            "rustup component add clippy",
            "cargo install --locked cargo-deny@0.20.2",
        ];
        assert_eq!(missing.lines(), expected);
    }
}
