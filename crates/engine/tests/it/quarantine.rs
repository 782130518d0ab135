//! What is held back, with a real systemd and real packets.

use engine::quarantine::{hold, look, release};
use plan::{Hold, SystemName};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testkit::{Switch, on_a_machine_of_its_own};

const SLEEPS: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=alone.target\n";
const LEAVES: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nKillMode=process\nExecStart=/bin/sh -c '/bin/sleep 1001 & exec /bin/sleep 1000'\n";
/// What knows how it is stopped gets the chance.
const GRACEFUL: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 1000\nExecStop=/bin/touch /run/was-stopped-well\n";
const TICKS: &str =
    "[Unit]\nDefaultDependencies=no\n[Timer]\nOnCalendar=yearly\n[Install]\nWantedBy=alone.target\n";

fn service(name: &str) -> Hold {
    Hold { service: Some(name.into()), ..Hold::default() }
}

fn outgoing(port: u32) -> Hold {
    Hold { outgoing: Some(port), ..Hold::default() }
}

fn command(command: &str, release: &str) -> Hold {
    let shell = |text: &str| Some(["/bin/sh", "-ec", text].map(str::to_owned).into());
    Hold { command: shell(command), release: shell(release), ..Hold::default() }
}

fn shop() -> SystemName {
    "shop".into()
}

fn systemctl(arguments: &[&str]) -> bool {
    Command::new("systemctl").args(arguments).output().unwrap().status.success()
}

/// How a unit is: whether its file is enabled, masked…, and whether it runs.
fn state(unit: &str) -> (String, bool) {
    let output = Command::new("systemctl").args(["is-enabled", unit]).output().unwrap();
    (String::from_utf8(output.stdout).unwrap().trim().to_owned(), systemctl(&["is-active", "--quiet", unit]))
}

fn is(file: &str, runs: bool) -> (String, bool) {
    (file.to_owned(), runs)
}

#[test]
fn services_are_held_whoever_starts_them_and_come_back_as_they_were() {
    let packages = [
        ("job.service", SLEEPS),
        ("idle.service", SLEEPS),
        ("masked.service", SLEEPS),
        ("tick.timer", TICKS),
        ("tick.service", SLEEPS),
    ];
    let own = [("purge.service", SLEEPS), ("purge.timer", TICKS)];
    let name = "quarantine::services_are_held_whoever_starts_them_and_come_back_as_they_were";
    on_a_machine_of_its_own(name, &packages, &own, || {
        let folder = tempfile::tempdir().unwrap();
        assert!(systemctl(&["enable", "--now", "job", "tick.timer", "purge", "purge.timer"]));
        assert!(systemctl(&["mask", "masked"]));
        let units =
            ["job.service", "idle.service", "masked.service", "tick.timer", "purge.service", "purge.timer"];
        let before = units.map(state);
        assert_eq!(
            before,
            [
                is("enabled", true),
                is("disabled", false),
                is("masked", false),
                is("enabled", true),
                is("enabled", true),
                is("enabled", true)
            ]
        );
        let holds = [
            service("job"),
            service("idle"),
            service("masked"),
            service("tick.timer"),
            service("purge"),
            service("purge.timer"),
            service("absent"),
        ];
        for _ in 0..2 {
            let held = hold(&shop(), &holds, folder.path()).unwrap();
            assert_eq!((held.held.len(), held.findings.len()), (7, 0), "{held:?}");
            for unit in units {
                assert!(!state(unit).1, "{unit} runs");
                assert!(!systemctl(&["start", unit]) && !state(unit).1, "{unit} could be started");
            }
            // What only /run knows would be forgotten by a reboot.
            assert_eq!(
                std::fs::read_link("/etc/systemd/system/job.service").unwrap(),
                Path::new("/dev/null")
            );
            assert!(Path::new("/etc/systemd/system/purge.service.d/releve-hold.conf").exists());
            assert!(systemctl(&["daemon-reload"]));
        }
        assert!(look(folder.path()).unwrap().iter().all(|standing| standing.lapsed.is_none()));
        // Somebody knows better.
        assert!(systemctl(&["unmask", "job"]) && systemctl(&["start", "job"]));
        let standing = look(folder.path()).unwrap();
        let lapsed: Vec<_> = standing.iter().filter(|standing| standing.lapsed.is_some()).collect();
        assert!(lapsed.len() == 1 && lapsed[0].what == "service job.service", "{lapsed:?}");
        hold(&shop(), &holds, folder.path()).unwrap();
        assert!(!state("job").1);

        let released = release(&shop(), &holds, folder.path()).unwrap();
        assert_eq!((released.released.len(), released.findings.len()), (7, 0), "{released:?}");
        assert_eq!(units.map(state), before);
        assert!(!Path::new("/etc/systemd/system/purge.service.d").exists());
        assert!(!Path::new("/etc/systemd/system/absent.service").exists());
        assert_eq!(release(&shop(), &holds, folder.path()).unwrap().released.len(), 0);
        assert!(look(folder.path()).unwrap().is_empty());
    });
}

#[test]
fn a_service_is_stopped_in_its_own_way_and_jobs_that_it_leaves_running_are_named() {
    let name = "quarantine::a_service_is_stopped_in_its_own_way_and_jobs_that_it_leaves_running_are_named";
    on_a_machine_of_its_own(name, &[("cron.service", LEAVES), ("mail.service", GRACEFUL)], &[], || {
        let folder = tempfile::tempdir().unwrap();
        assert!(systemctl(&["start", "cron"]));
        let group = || {
            std::fs::read_to_string("/sys/fs/cgroup/system.slice/cron.service/cgroup.procs")
                .unwrap_or_default()
        };
        assert!(testkit::wait_until(Duration::from_secs(20), || group().lines().count() == 2));
        let held = hold(&shop(), &[service("cron")], folder.path()).unwrap();
        assert!(held.findings.len() == 1 && held.findings[0].contains("sleep (process"), "{held:?}");
        assert!(systemctl(&["start", "mail"]));
        hold(&shop(), &[service("mail")], folder.path()).unwrap();
        assert!(Path::new("/run/was-stopped-well").exists());
    });
}

#[test]
fn what_a_killed_process_held_another_one_gives_back() {
    let name = "quarantine::what_a_killed_process_held_another_one_gives_back";
    on_a_machine_of_its_own(name, &[("job.service", SLEEPS)], &[], || {
        #[expect(clippy::disallowed_methods, reason = "tells the one that is killed what it is")]
        let state_folder = std::env::var_os("HELD_BY_THE_KILLED");
        let holds = |folder: &Path| {
            let log = folder.join("log").display().to_string();
            let pair = |kills: &str| {
                command(&format!("echo hold >> {log}; {kills}"), &format!("echo release >> {log}"))
            };
            (vec![service("job"), pair("kill -9 $PPID")], vec![service("job"), pair("true")], log)
        };
        if let Some(folder) = state_folder {
            let folder = Path::new(&folder);
            hold(&shop(), &holds(folder).0, folder).unwrap();
            unreachable!("the command has killed us");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(systemctl(&["enable", "--now", "job"]));
        let program = std::env::current_exe().unwrap();
        let died = Command::new(program)
            .args(["--exact", name])
            .env("HELD_BY_THE_KILLED", folder.path())
            .output()
            .unwrap();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(died.status.signal(), Some(9), "{died:?}");
        assert_eq!(state("job"), is("masked", false));
        let (killing, harmless, log) = holds(folder.path());
        let standing = look(folder.path()).unwrap();
        assert!(standing[1].lapsed.as_ref().unwrap().contains("may have done a part"), "{standing:?}");

        // The plan was changed meanwhile: how what is held is released is no longer known, and is said.
        let released = release(&shop(), &harmless, folder.path()).unwrap();
        assert!(
            released.findings.len() == 1 && released.findings[0].contains("no longer says"),
            "{released:?}"
        );
        assert_eq!(state("job"), is("enabled", true));
        let released = release(&shop(), &killing, folder.path()).unwrap();
        assert_eq!((released.released.len(), released.findings.len()), (1, 0), "{released:?}");
        assert_eq!(std::fs::read_to_string(log).unwrap(), "hold\nrelease\n");
    });
}

#[test]
fn what_cannot_be_held_is_an_error_and_what_cannot_be_released_a_finding() {
    let name = "quarantine::what_cannot_be_held_is_an_error_and_what_cannot_be_released_a_finding";
    let stubborn = SLEEPS.replace("[Service]\n", "[Service]\nExecStop=/bin/sleep 100\n");
    on_a_machine_of_its_own(name, &[("stubborn.service", &stubborn)], &[], || {
        let folder = tempfile::tempdir().unwrap();
        assert!(systemctl(&["start", "stubborn"]));
        let second = Some(plan::Period::seconds(1));
        let hasty = Hold { within: second, ..service("stubborn") };
        let error = hold(&shop(), std::slice::from_ref(&hasty), folder.path()).unwrap_err().to_string();
        assert!(error.contains("service stubborn could not be held back: stubborn.service runs"), "{error}");
        assert!(error.contains("did not end within 1 s"), "{error}");

        let pair = command("echo halt; exit 3", "echo alas >&2; exit 4");
        let error = hold(&shop(), std::slice::from_ref(&pair), folder.path()).unwrap_err().to_string();
        assert!(error.contains("exited with status 3: halt"), "{error}");
        let released = release(&shop(), &[pair, hasty], folder.path()).unwrap();
        assert!(released.findings[0].contains("exited with status 4: alas"), "{released:?}");
        let standing = look(folder.path()).unwrap();
        assert!(standing.iter().any(|standing| standing.what.contains("echo halt")), "{standing:?}");
        let slow = Hold { within: second, ..command("sleep 1000", "true") };
        let error = hold(&shop(), &[slow], folder.path()).unwrap_err().to_string();
        assert!(error.contains("did not end within 1 s"), "{error}");
    });
}

#[test]
fn outgoing_mail_is_held_for_as_long_as_one_system_wants_it_and_local_mail_is_not() {
    let switch = Switch::with(&[1, 25]);
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = switch.on(25, || [25, 80].map(|port| TcpListener::bind(("::", port)).unwrap()));
    let here = switch.on(1, || TcpListener::bind(("::", 25)).unwrap());
    let goes = |address: &str, within: Duration| {
        let address: SocketAddr = address.parse().unwrap();
        switch.on(1, || TcpStream::connect_timeout(&address, within).is_ok())
    };
    let (long, short) = (Duration::from_secs(20), Duration::from_millis(1500));
    let (orders, both) = ("orders".into(), [outgoing(25), outgoing(465)]);
    assert!(goes("192.0.2.25:25", long) && goes("[2001:db8::19]:25", long));
    for _ in 0..2 {
        switch.on(1, || hold(&shop(), &both, folder.path())).unwrap();
        switch.on(1, || hold(&orders, &[outgoing(25)], folder.path())).unwrap();
        assert!(!goes("192.0.2.25:25", short) && !goes("[2001:db8::19]:25", short));
        assert!(goes("192.0.2.25:80", long) && goes("127.0.0.1:25", long) && goes("192.0.2.1:25", long));
    }
    // Others still deliver to this machine.
    assert!(switch.on(25, || TcpStream::connect_timeout(&"192.0.2.1:25".parse().unwrap(), long).is_ok()));
    let released = switch.on(1, || release(&shop(), &both, folder.path())).unwrap();
    assert_eq!((released.released.len(), released.still_held.len()), (1, 1), "{released:?}");
    assert!(!goes("192.0.2.25:25", short));

    // A reboot loses the rule: seen, and held again.
    switch.on(1, || {
        assert!(
            Command::new("/usr/sbin/nft")
                .args(["delete", "table", "inet", "releve_hold"])
                .status()
                .unwrap()
                .success()
        );
    });
    let standing = switch.on(1, || look(folder.path())).unwrap();
    assert!(
        standing.len() == 1 && standing[0].lapsed.is_some() && standing[0].by == [orders.clone()],
        "{standing:?}"
    );
    switch.on(1, || hold(&orders, &[outgoing(25)], folder.path())).unwrap();
    assert!(!goes("192.0.2.25:25", short));
    assert_eq!(switch.on(1, || look(folder.path())).unwrap()[0].lapsed, None);

    switch.on(1, || release(&orders, &[outgoing(25)], folder.path())).unwrap();
    assert!(goes("192.0.2.25:25", long));
    let ruleset = switch.on(1, || Command::new("/usr/sbin/nft").args(["list", "ruleset"]).output().unwrap());
    assert_eq!(String::from_utf8(ruleset.stdout).unwrap(), "");
    drop((elsewhere, here));
}
