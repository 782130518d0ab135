//! What the tests need beside the toolchain, and how it gets here.

use crate::root;
use crate::run::{Failure, Result, cargo, find, output, run};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// A program and the Debian package that holds it.
const PROGRAMS: [(&str, &str); 27] = [
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
    ("chattr", "e2fsprogs"),
    ("lsattr", "e2fsprogs"),
    ("initdb", "postgresql"),
    ("pgbench", "postgresql"),
    ("psql", "postgresql-client"),
    ("mariadbd", "mariadb-server"),
    ("mariadb-install-db", "mariadb-server"),
    ("mariadb-dump", "mariadb-client"),
    ("mariadb-binlog", "mariadb-client"),
    ("mariadb-backup", "mariadb-backup"),
    ("openssl", "openssl"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("faketime", "faketime"),
    ("unshare", "util-linux"),
    ("systemctl", "systemd"),
];

/// A subcommand of cargo, its crate, and the version that was tested with the configuration in this repository.
const CARGO_TOOLS: [(&str, &str, &str); 2] =
    [("nextest", "cargo-nextest", "0.9.143"), ("deny", "cargo-deny", "0.20.2")];

/// A restic of now, beside Debian's old one: it refuses what that one passes over. From Debian's unstable branch, as one program and nothing else.
const CURRENT_RESTIC: (&str, &str) = ("restic-current", "/usr/local/bin/restic-current");

/// What Debian signs its packages with.
const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Parts of the toolchain.
const COMPONENTS: [(&str, &str); 2] = [("fmt", "rustfmt"), ("clippy", "clippy")];

/// The S3 server with Object Lock and the mail server, from PyPI, with all that they need: the versions that were tested, and the hashes of their files.
const PYTHON: &str = "xtask/requirements.txt";

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
    moto: bool,
    restic: bool,
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
            restic: find(CURRENT_RESTIC.0).is_none(),
            moto: output(
                Command::new(moto().join("bin/python3")).args(["-c", "import aiosmtpd, boto3, flask, moto"]),
            )
            .is_err(),
        }
        .with_python()
    }

    /// Debian's Python makes no virtual environments by itself.
    fn with_python(mut self) -> Self {
        if self.moto && output(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_err() {
            self.packages.insert("python3-venv");
        }
        self
    }

    fn is_nothing(&self) -> bool {
        self.packages.is_empty()
            && self.components.is_empty()
            && self.tools.is_empty()
            && !self.moto
            && !self.restic
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
        if self.restic {
            lines.push(format!("{}   # a restic of version 0.17 or newer, as a program", CURRENT_RESTIC.1));
        }
        if self.moto {
            let (folder, list) = (moto().display().to_string(), root().join(PYTHON).display().to_string());
            lines.push(format!(
                "python3 -m venv {folder} && {folder}/bin/pip install --require-hashes --only-binary :all: -r {list}"
            ));
        }
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
        if self.restic {
            current_restic()?;
        }
        if self.moto {
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(moto()))?;
            let mut install = Command::new(moto().join("bin/pip"));
            install.args(["install", "--quiet", "--require-hashes", "--only-binary", ":all:", "-r"]);
            run(install.arg(root().join(PYTHON)))?;
        }
        Ok(())
    }
}

/// Fetches the package of Debian's unstable branch with settings of its own, so that nothing else of this machine comes from there, and takes the program out.
fn current_restic() -> Result {
    let folder = root().join("target/restic-current");
    let at = |name: &str| folder.join(name);
    for name in ["lists/partial", "cache/archives/partial", "etc/sources.list.d", "etc/preferences.d"] {
        std::fs::create_dir_all(at(name)).map_err(|error| Failure::new(format!("{name}: {error}")))?;
    }
    // Ubuntu has Debian's keys in a package.
    if !std::path::Path::new(DEBIAN_KEYS).exists() {
        apt(&["install", "-y", "--no-install-recommends", "debian-archive-keyring"])?;
    }
    let source = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian sid main\n";
    std::fs::write(at("etc/sources.list"), source).map_err(|error| Failure::new(error.to_string()))?;
    let setting = |name: &str, value: &str| format!("{name}={}", at(value).display());
    let settings = [
        setting("Dir::Etc", "etc"),
        setting("Dir::Etc::sourcelist", "etc/sources.list"),
        setting("Dir::Etc::sourceparts", "etc/sources.list.d"),
        setting("Dir::State::lists", "lists"),
        setting("Dir::Cache", "cache"),
        "APT::Sandbox::User=root".to_owned(),
    ];
    for verb in [&["update"][..], &["download", "restic"][..]] {
        let mut command = Command::new("apt-get");
        settings.iter().for_each(|setting| _ = command.args(["-o", setting]));
        run(command.args(verb).current_dir(&folder))?;
    }
    let listed = std::fs::read_dir(&folder).map_err(|error| Failure::new(error.to_string()))?;
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let package = listed.flatten().map(|entry| entry.path()).find(is_package);
    let package = package.ok_or_else(|| Failure::new("Debian's unstable branch has no package restic"))?;
    run(Command::new("dpkg-deb").arg("-x").arg(package).arg(at("unpacked")))?;
    run(Command::new("install").arg("-m755").arg(at("unpacked/usr/bin/restic")).arg(CURRENT_RESTIC.1))
}

/// Returns the folder of the Python of moto and aiosmtpd: nothing is installed into anyone else's.
fn moto() -> PathBuf {
    root().join("target/moto")
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
            moto: true,
            restic: false,
        };
        let expected = [
            "apt-get update && apt-get install -y --no-install-recommends acl restic",
            "rustup component add clippy",
            "cargo install --locked cargo-deny@0.20.2",
        ];
        let lines = missing.lines();
        let (moto, others) = lines.split_last().unwrap();
        assert_eq!(others, expected);
        assert!(
            moto.starts_with("python3 -m venv") && moto.contains("pip install --require-hashes"),
            "{moto}"
        );
    }

    #[test]
    fn every_python_package_of_the_tests_is_known_by_its_hashes() {
        let list = std::fs::read_to_string(root().join(PYTHON)).unwrap();
        let whole = list.replace("\\\n", "");
        let packages: Vec<&str> = whole.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(packages.iter().any(|line| line.starts_with("moto==")), "{list}");
        for line in packages {
            assert!(line.contains("==") && line.contains(" --hash=sha256:"), "{line}");
        }
    }
}
