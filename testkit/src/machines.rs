//! Machines on a network of their own, in namespaces of this one's kernel.

use crate::wait_until;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Some machines on one switch: number `n` has the addresses `192.0.2.n` and `2001:db8::n`. Takes root and `iproute2`. Gone when dropped, and with
/// the test that made it, however that ends.
#[derive(Debug)]
pub struct Switch {
    machines: Vec<(u8, Namespace)>,
    _switch: Namespace,
}

/// A network namespace, held by a process that sleeps in it.
#[derive(Debug)]
struct Namespace(Child);

impl Switch {
    /// Makes machines with these numbers.
    #[must_use]
    pub fn with(numbers: &[u8]) -> Self {
        let switch = Namespace::new();
        switch.ip("link add switch type bridge mcast_snooping 0");
        switch.ip("link set switch up");
        let machines = numbers.iter().map(|number| {
            let machine = Namespace::new();
            let port = format!("port{number}");
            switch.ip(&format!("link add {port} type veth peer name cable netns {}", machine.0.id()));
            switch.ip(&format!("link set {port} master switch up"));
            machine.ip("link set lo up");
            machine.ip("link set cable up");
            machine.ip(&format!("addr add 192.0.2.{number}/24 dev cable"));
            machine.ip(&format!("addr add 2001:db8::{number:x}/64 dev cable nodad"));
            (*number, machine)
        });
        Self { machines: machines.collect(), _switch: switch }
    }

    /// Does something on a machine: what it connects to, listens on or starts is in that machine's network.
    pub fn on<T: Send>(&self, number: u8, act: impl FnOnce() -> T + Send) -> T {
        let (_, machine) =
            self.machines.iter().find(|(own, _)| *own == number).expect("there is no such machine");
        machine.run(act)
    }
}

impl Namespace {
    fn new() -> Self {
        let child = Command::new("setpriv")
            .args(["--pdeathsig=KILL", "unshare", "--net", "sleep", "infinity"])
            .stdin(Stdio::null())
            .spawn()
            .expect("setpriv, unshare: apt-get install util-linux");
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let namespace = Self(child);
        let apart = || {
            let is_asleep = std::fs::read_to_string(format!("/proc/{}/comm", namespace.0.id()))
                .is_ok_and(|name| name == "sleep\n");
            is_asleep && std::fs::read_link(namespace.path()).is_ok_and(|found| found != own)
        };
        assert!(
            wait_until(Duration::from_secs(20), apart),
            "a network of its own takes root (in a container: --cap-add SYS_ADMIN --cap-add NET_ADMIN): run the tests as root"
        );
        namespace
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.0.id()).into()
    }

    fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let network = File::open(self.path()).unwrap();
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                act()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn ip(&self, arguments: &str) {
        self.run(|| {
            let output =
                Command::new("ip").args(arguments.split(' ')).output().expect("ip: apt-get install iproute2");
            assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        });
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
