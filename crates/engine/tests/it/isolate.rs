//! Isolation with real packets, between machines on a network of their own: 1 is the one that is cut off, 10 brings it back, 66 is anybody.

use engine::isolate::{Prepared, Rules, Standing, isolate, look, prepare, release};
use plan::{Peer, Vault};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::Switch;

const INFECTED: u8 = 1;
const MANAGEMENT: u8 = 10;
const OTHER: u8 = 66;

/// What must get there gets there within this, on a machine however slow.
const LONG: Duration = Duration::from_secs(20);
/// What has not come by then is not coming: on the same network it takes a millisecond.
const SHORT: Duration = Duration::from_millis(1500);

/// What other people have loaded: what docker loads, and a firewall that lets everything through that stands.
const FOREIGN: &str = r#"
table ip nat {
  chain DOCKER { iifname "docker0" return; tcp dport 8080 dnat to 172.17.0.2:80; }
  chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local jump DOCKER; }
  chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; ip saddr 172.17.0.0/16 oifname != "docker0" masquerade; }
}
table ip filter {
  chain DOCKER { ip daddr 172.17.0.2 iifname != "docker0" oifname "docker0" tcp dport 80 accept; }
  chain FORWARD { type filter hook forward priority filter; policy accept; oifname "docker0" jump DOCKER; }
}
table inet firewall {
  set friends { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 } }
  chain input { type filter hook input priority -500; policy accept; ct state established,related accept; ip saddr @friends accept; }
  chain output { type filter hook output priority 100; policy accept; accept; }
}
"#;

fn nft(arguments: &[&str], script: Option<&str>) -> String {
    let mut nft = Command::new("/usr/sbin/nft");
    let mut child = nft
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.unwrap_or_default().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn v4(machine: u8, port: u16) -> SocketAddr {
    format!("192.0.2.{machine}:{port}").parse().unwrap()
}

fn v6(machine: u8, port: u16) -> SocketAddr {
    format!("[2001:db8::{machine:x}]:{port}").parse().unwrap()
}

fn listen(switch: &Switch, machine: u8, port: u16) -> TcpListener {
    switch.on(machine, || TcpListener::bind(("::", port)).unwrap())
}

fn reaches(switch: &Switch, from: u8, to: SocketAddr) -> bool {
    switch.on(from, || TcpStream::connect_timeout(&to, LONG).is_ok())
}

fn is_cut(switch: &Switch, from: u8, to: SocketAddr) -> bool {
    switch.on(from, || TcpStream::connect_timeout(&to, SHORT).is_err())
}

/// A connection that stands: both its ends.
fn connect(switch: &Switch, from: u8, to: SocketAddr, at: &TcpListener) -> (TcpStream, TcpStream) {
    let near = switch.on(from, || TcpStream::connect_timeout(&to, LONG).unwrap());
    loop {
        let (far, peer) = at.accept().unwrap();
        if peer.port() == near.local_addr().unwrap().port() {
            return (near, far);
        }
    }
}

/// Returns whether what is said at one end is heard at the other in this time.
fn is_heard(ends: &(TcpStream, TcpStream), within: Duration) -> bool {
    (&ends.0).write_all(b"x").unwrap();
    ends.1.set_read_timeout(Some(within)).unwrap();
    (&ends.1).read_exact(&mut [0]).is_ok()
}

fn prepared(peers: &[&str]) -> Prepared {
    let management: Vec<Peer> = peers.iter().map(|peer| peer.parse().unwrap()).collect();
    prepare(&Rules { management, vaults: false }, &BTreeMap::new())
}

fn isolated(switch: &Switch, prepared: &Prepared, folder: &Path) {
    let done = switch.on(INFECTED, || isolate(prepared, folder)).unwrap();
    assert_eq!((done.changed, done.findings.len()), (true, 0), "{done:?}");
}

#[test]
fn an_isolated_machine_reaches_nothing_but_the_management_and_release_gives_back_exactly_what_was() {
    let switch = Switch::with(&[INFECTED, MANAGEMENT, OTHER]);
    let state = tempfile::tempdir().unwrap();
    let services: Vec<_> = [INFECTED, MANAGEMENT, OTHER].map(|machine| listen(&switch, machine, 80)).into();
    switch.on(INFECTED, || nft(&["-f", "-"], Some(FOREIGN)));
    let ruleset = || switch.on(INFECTED, || nft(&["list", "ruleset"], None));
    let before = ruleset();
    assert!(before.contains("masquerade"));
    let (from_management, from_other) = (
        connect(&switch, MANAGEMENT, v4(INFECTED, 80), &services[0]),
        connect(&switch, OTHER, v4(INFECTED, 80), &services[0]),
    );
    let to_other = connect(&switch, INFECTED, v4(OTHER, 80), &services[2]);
    let all = [&from_management, &from_other, &to_other];
    assert!(all.iter().all(|ends| is_heard(ends, LONG)));
    for address in [v4, v6] {
        assert!(
            reaches(&switch, OTHER, address(INFECTED, 80)) && reaches(&switch, INFECTED, address(OTHER, 80))
        );
    }

    isolated(&switch, &prepared(&["192.0.2.10", "2001:db8::a"]), state.path());
    for address in [v4, v6] {
        // Nobody's address is remembered from before: neighbours must be found under the rules.
        for machine in [INFECTED, MANAGEMENT, OTHER] {
            switch.on(machine, || {
                assert!(Command::new("ip").args(["neigh", "flush", "all"]).status().unwrap().success());
            });
        }
        assert!(reaches(&switch, MANAGEMENT, address(INFECTED, 80)));
        assert!(reaches(&switch, INFECTED, address(MANAGEMENT, 80)));
        assert!(is_cut(&switch, OTHER, address(INFECTED, 80)));
        assert!(is_cut(&switch, INFECTED, address(OTHER, 80)));
        // The others are none of its business.
        assert!(reaches(&switch, OTHER, address(MANAGEMENT, 80)));
    }
    assert!(
        switch.on(INFECTED, || TcpStream::connect_timeout(&"127.0.0.1:80".parse().unwrap(), LONG).is_ok())
    );
    assert!(is_heard(&from_management, LONG), "the management's connection goes on");
    assert!(!is_heard(&from_other, SHORT), "a connection that stood is cut");
    assert!(!is_heard(&to_other, SHORT), "a connection that stood is cut, the other way as well");
    let heard = switch.on(OTHER, || UdpSocket::bind("192.0.2.66:53").unwrap());
    heard.set_read_timeout(Some(SHORT)).unwrap();
    // That it can't be sent may be said at once.
    switch.on(INFECTED, || drop(UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"secret", "192.0.2.66:53")));
    assert!(heard.recv(&mut [0; 16]).is_err());

    let seen = switch.on(INFECTED, || look(state.path())).unwrap();
    assert!(matches!(seen.standing, Standing::Holds { dropped: 4.. }), "{seen:?}");
    assert_eq!(seen.ways, ["management 192.0.2.10", "management 2001:db8::a"]);
    assert!(
        ruleset().starts_with(&before) || ruleset().contains(before.trim()),
        "the others' tables stand as they were"
    );

    let done = switch.on(INFECTED, || release(state.path())).unwrap();
    assert_eq!((done.changed, done.findings.len()), (true, 0));
    assert_eq!(ruleset(), before);
    for address in [v4, v6] {
        assert!(
            reaches(&switch, OTHER, address(INFECTED, 80)) && reaches(&switch, INFECTED, address(OTHER, 80))
        );
    }
    assert!(
        is_heard(&from_other, LONG) && is_heard(&to_other, LONG),
        "what was sent meanwhile is sent again"
    );
    assert_eq!(switch.on(INFECTED, || look(state.path())), None);
}

#[test]
fn isolated_twice_is_isolated_once_and_a_release_of_nothing_changes_nothing() {
    let switch = Switch::with(&[INFECTED, MANAGEMENT, OTHER]);
    let state = tempfile::tempdir().unwrap();
    let _services = (listen(&switch, INFECTED, 80), listen(&switch, OTHER, 80));
    let act = |peers: &[&str]| switch.on(INFECTED, || isolate(&prepared(peers), state.path())).unwrap();
    let released = || switch.on(INFECTED, || release(state.path())).unwrap();
    assert!(!released().changed);
    assert_eq!(switch.on(INFECTED, || look(state.path())), None);

    assert!(act(&["192.0.2.10"]).changed);
    let since = switch.on(INFECTED, || look(state.path())).unwrap().since;
    assert!(!act(&["192.0.2.10"]).changed);
    assert!(reaches(&switch, MANAGEMENT, v4(INFECTED, 80)));
    // Who gets through can change without letting go in between.
    assert!(act(&["192.0.2.66"]).changed);
    assert!(is_cut(&switch, MANAGEMENT, v4(INFECTED, 80)) && reaches(&switch, OTHER, v4(INFECTED, 80)));
    assert_eq!(switch.on(INFECTED, || look(state.path())).unwrap().since, since);
    assert!(act(&[]).changed);
    assert!(is_cut(&switch, OTHER, v4(INFECTED, 80)) && is_cut(&switch, INFECTED, v4(OTHER, 80)));

    assert!(released().changed);
    assert!(reaches(&switch, OTHER, v4(INFECTED, 80)));
    assert!(!released().changed);
}

#[test]
fn with_a_port_the_management_has_only_that_one_whichever_side_it_is_on() {
    let switch = Switch::with(&[INFECTED, MANAGEMENT, OTHER]);
    let state = tempfile::tempdir().unwrap();
    let _services =
        [INFECTED, MANAGEMENT, OTHER].map(|machine| [22, 80].map(|port| listen(&switch, machine, port)));
    isolated(&switch, &prepared(&["192.0.2.10:22", "[2001:db8::/64]:22"]), state.path());
    assert!(reaches(&switch, MANAGEMENT, v4(INFECTED, 22)) && reaches(&switch, INFECTED, v4(MANAGEMENT, 22)));
    assert!(is_cut(&switch, MANAGEMENT, v4(INFECTED, 80)) && is_cut(&switch, INFECTED, v4(MANAGEMENT, 80)));
    assert!(is_cut(&switch, OTHER, v4(INFECTED, 22)) && is_cut(&switch, INFECTED, v4(OTHER, 22)));
    // That network is the other's as well.
    assert!(reaches(&switch, OTHER, v6(INFECTED, 22)) && is_cut(&switch, OTHER, v6(INFECTED, 80)));

    // A source port that is allowed opens nothing: neither new connections nor datagrams that nobody asked for.
    let datagrams = |from: u8, to: u8, port: u16| {
        let heard = switch.on(to, || UdpSocket::bind(("0.0.0.0", port)).unwrap());
        heard.set_read_timeout(Some(if port == 22 { LONG } else { SHORT })).unwrap();
        switch.on(from, || drop(UdpSocket::bind(("0.0.0.0", 22)).unwrap().send_to(b"x", v4(to, port))));
        heard.recv(&mut [0; 16]).is_ok()
    };
    assert!(datagrams(MANAGEMENT, INFECTED, 22) && datagrams(INFECTED, MANAGEMENT, 22));
    assert!(!datagrams(MANAGEMENT, INFECTED, 5000) && !datagrams(INFECTED, MANAGEMENT, 5000));
}

#[test]
fn an_isolated_machine_still_reads_its_vaults_and_their_servers_get_nothing_from_it() {
    let switch = Switch::with(&[INFECTED, MANAGEMENT, OTHER]);
    let state = tempfile::tempdir().unwrap();
    let vault_server = [80, 9000].map(|port| listen(&switch, OTHER, port));
    let service = listen(&switch, INFECTED, 80);
    let vault = |url: &str| Vault { url: url.to_owned(), ..Vault::default() };
    let vaults = BTreeMap::from([
        ("cloud".into(), vault("s3://bucket?endpoint=https://192.0.2.66:9000")),
        ("gone".into(), vault("s3://bucket?endpoint=https://nobody.invalid")),
        ("here".into(), vault("file:///srv/vault")),
        ("nas".into(), vault("sftp://releve@192.0.2.66:9022//srv/vault")),
    ]);
    let standing = connect(&switch, INFECTED, v4(OTHER, 9000), &vault_server[1]);
    let rules = Rules { management: vec!["192.0.2.10".parse().unwrap()], vaults: true };
    let prepared = switch.on(INFECTED, || prepare(&rules, &vaults));
    let shown: Vec<_> = prepared.ways.iter().map(ToString::to_string).take(3).collect();
    assert_eq!(
        shown,
        ["management 192.0.2.10", "vault cloud at 192.0.2.66 port 9000", "vault nas at 192.0.2.66 port 9022"]
    );
    assert!(prepared.findings.len() == 1 && prepared.findings[0].contains("nobody.invalid"), "{prepared:?}");
    isolated(&switch, &prepared, state.path());
    assert!(reaches(&switch, INFECTED, v4(OTHER, 9000)));
    assert!(
        is_heard(&standing, LONG) && is_heard(&(standing.1, standing.0), LONG),
        "a restore that runs goes on"
    );
    assert!(is_cut(&switch, INFECTED, v4(OTHER, 80)) && is_cut(&switch, OTHER, v4(INFECTED, 80)));
    // Not even from the port that is allowed.
    let scanned = switch.on(OTHER, || {
        let scan = "nft add table inet scan; nft add chain inet scan out '{ type nat hook postrouting priority 100; }'; \
                    nft add rule inet scan out tcp dport 80 snat ip to 192.0.2.66:9000";
        assert!(Command::new("sh").args(["-c", &format!("PATH=$PATH:/usr/sbin; {scan}")]).status().unwrap().success());
        TcpStream::connect_timeout(&v4(INFECTED, 80), SHORT).is_ok()
    });
    assert!(!scanned);
    drop(service);
}

#[test]
fn what_the_machine_forwards_for_others_is_cut_too() {
    let switch = Switch::with(&[INFECTED, MANAGEMENT, OTHER]);
    let state = tempfile::tempdir().unwrap();
    let _service = listen(&switch, MANAGEMENT, 80);
    let ip = |machine: u8, arguments: &str| {
        switch.on(machine, || {
            assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success());
        });
    };
    ip(MANAGEMENT, "addr add 198.51.100.1/32 dev lo");
    ip(INFECTED, "route add 198.51.100.1 via 192.0.2.10");
    ip(OTHER, "route add 198.51.100.1 via 192.0.2.1");
    switch.on(INFECTED, || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
    // Without a word about the shorter way.
    switch.on(INFECTED, || std::fs::write("/proc/sys/net/ipv4/conf/all/send_redirects", "0").unwrap());
    switch.on(INFECTED, || std::fs::write("/proc/sys/net/ipv4/conf/cable/send_redirects", "0").unwrap());
    let behind: SocketAddr = "198.51.100.1:80".parse().unwrap();
    assert!(reaches(&switch, OTHER, behind));
    isolated(&switch, &prepared(&["192.0.2.10"]), state.path());
    assert!(is_cut(&switch, OTHER, behind));
    switch.on(INFECTED, || release(state.path())).unwrap();
    assert!(reaches(&switch, OTHER, behind));
}

#[test]
fn rules_that_a_reboot_lost_or_somebody_changed_are_not_taken_for_an_isolation() {
    let switch = Switch::with(&[INFECTED]);
    let state = tempfile::tempdir().unwrap();
    let standing = || switch.on(INFECTED, || look(state.path())).map(|isolated| isolated.standing);
    let act = || isolated(&switch, &prepared(&["192.0.2.10"]), state.path());
    act();
    switch.on(INFECTED, || nft(&["insert", "rule", "inet", "releve", "input", "accept"], None));
    assert_eq!(standing(), Some(Standing::Changed));
    act();
    assert!(matches!(standing(), Some(Standing::Holds { .. })));

    switch.on(INFECTED, || nft(&["delete", "table", "inet", "releve"], None));
    let Some(Standing::Gone { why }) = standing() else { panic!("{:?}", standing()) };
    assert!(why.contains("somebody took the rules away"), "{why}");
    let note = state.path().join("isolated.json");
    let mut noted: serde_json::Value = serde_json::from_slice(&std::fs::read(&note).unwrap()).unwrap();
    noted["boot"] = "of yesterday".into();
    std::fs::write(&note, noted.to_string()).unwrap();
    let Some(Standing::Gone { why }) = standing() else { panic!("{:?}", standing()) };
    assert!(why.contains("started anew"), "{why}");

    // Without its memory the rules still say what they are, and can be taken away.
    act();
    std::fs::remove_file(&note).unwrap();
    assert!(matches!(standing(), Some(Standing::Holds { .. })));
    assert!(switch.on(INFECTED, || release(state.path())).unwrap().changed);
    assert_eq!(standing(), None);
}

#[test]
fn a_state_that_takes_no_note_keeps_no_machine_open() {
    let switch = Switch::with(&[INFECTED, MANAGEMENT, OTHER]);
    let folder = tempfile::tempdir().unwrap();
    let _service = listen(&switch, INFECTED, 80);
    let no_folder = folder.path().join("file");
    std::fs::write(&no_folder, "").unwrap();
    let done = switch.on(INFECTED, || isolate(&prepared(&["192.0.2.10"]), &no_folder)).unwrap();
    assert!(done.findings.len() == 1 && done.findings[0].starts_with("isolated, and not noted"), "{done:?}");
    assert!(is_cut(&switch, OTHER, v4(INFECTED, 80)) && reaches(&switch, MANAGEMENT, v4(INFECTED, 80)));
}
