//! A machine with a systemd of its own.

use crate::wait_until;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Set where a test runs inside.
const INSIDE: &str = "RELEVE_TEST_INSIDE";

/// Puts itself into a control group of its own, and then everything else into namespaces: `$1` is the folder of units, `$2` the group's name.
const ENTER: &str = r#"
set -e
mount --make-rprivate /
mount -t cgroup2 none /mnt
mkdir "/mnt/$2"
echo $$ > "/mnt/$2/cgroup.procs"
umount /mnt
exec unshare --pid --fork --kill-child --mount-proc --cgroup --net --ipc --uts sh -ec '
    umount -R /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
    mount -t tmpfs none /run
    mount -t tmpfs none /etc/systemd/system
    mount -t tmpfs none /usr/local/lib
    mkdir -p /usr/local/lib/systemd/system
    cp "$1"/packages/* /usr/local/lib/systemd/system/
    cp "$1"/own/* /etc/systemd/system/
    printf "[Unit]\nDefaultDependencies=no\n" > /etc/systemd/system/alone.target
    ip link set lo up
    export container=docker
    exec /lib/systemd/systemd --system --unit=alone.target --log-target=console --show-status=no
' sh "$1"
"#;

/// A real systemd, the first process of namespaces of its own (processes, mounts, control groups, network), with the files of this machine but for
/// `/run` and `/etc/systemd/system`. Gone when dropped, with all that it started.
struct Systemd {
    outside: Child,
    group: String,
    folder: TempDir,
}

/// Runs a test on a machine that has a systemd of its own and no network but the loopback. `name` is what the test is called in its binary, which is
/// started a second time in there: `act` runs inside. The first units are those of packages, the others those of the machine's administrator, each a
/// name and a text. Takes root.
pub fn on_a_machine_of_its_own(
    name: &str,
    packages: &[(&str, &str)],
    own: &[(&str, &str)],
    act: impl FnOnce(),
) {
    #[expect(
        clippy::disallowed_methods,
        reason = "how the outer half of a test tells the inner one what it is"
    )]
    let is_inside = std::env::var_os(INSIDE).is_some();
    if is_inside {
        return act();
    }
    let machine = Systemd::boot(packages, own);
    let program = std::env::current_exe().unwrap();
    let output = machine
        .enter()
        .arg(program)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "inside: {out}\n{err}");
    assert!(out.contains("1 passed"), "no test is called {name}: {out}");
}

impl Systemd {
    fn boot(packages: &[(&str, &str)], own: &[(&str, &str)]) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "a machine with systemd takes root (in a container: --cap-add SYS_ADMIN): run the tests as root"
        );
        let folder = tempfile::tempdir().unwrap();
        for (place, units) in [("packages", packages), ("own", own)] {
            let place = folder.path().join(place);
            std::fs::create_dir(&place).unwrap();
            std::fs::write(place.join("empty.target"), "").unwrap();
            units.iter().for_each(|(name, text)| std::fs::write(place.join(name), text).unwrap());
        }
        let group = format!("releve-test-{}", std::process::id());
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let outside = Command::new("setpriv")
            .args(["--pdeathsig=KILL", "unshare", "--mount", "sh", "-c", ENTER, "sh"])
            .arg(folder.path())
            .arg(&group)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("setpriv, unshare: apt-get install util-linux");
        let machine = Self { outside, group, folder };
        let is_up = || {
            let mut enter = machine.enter();
            let state = enter.args(["systemctl", "is-active", "alone.target"]).stderr(Stdio::null()).output();
            state.is_ok_and(|state| state.stdout == b"active\n")
        };
        let is_up = wait_until(Duration::from_secs(60), is_up);
        let log = std::fs::read_to_string(machine.folder.path().join("log")).unwrap_or_default();
        assert!(is_up, "systemd does not come up (apt-get install systemd): {log}");
        machine
    }

    /// Returns the command that runs what follows on the machine.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        let first = first_of(self.outside.id()).unwrap_or(0);
        command.args([
            "--target",
            &first.to_string(),
            "--mount",
            "--pid",
            "--net",
            "--cgroup",
            "--uts",
            "--ipc",
        ]);
        command
    }
}

/// Returns the first process of the namespaces that a process has made.
fn first_of(outside: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{outside}/task/{outside}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let _ = self.outside.kill();
        let _ = self.outside.wait();
        // Its control groups are the kernel's, and outlive it.
        let remove = r#"mount -t cgroup2 none /mnt; for i in 1 2 3 4 5 6 7 8 9; do
            find "/mnt/$1" -depth -type d -exec rmdir {} + 2>/dev/null; test -d "/mnt/$1" || break; sleep 0.1; done"#;
        let _ = Command::new("unshare").args(["--mount", "sh", "-c", remove, "sh", &self.group]).status();
    }
}
