//! Ports, and waiting for things to happen.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Returns a port of this machine that nobody listens on. Another process may still take it before you do.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Waits until someone accepts connections on the port of this machine. Panics after ten seconds.
pub fn wait_for_tcp(port: u16) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let up = wait_until(Duration::from_secs(10), || TcpStream::connect(address).is_ok());
    assert!(up, "nobody listens on port {port}");
}

/// Asks every 10 ms; returns whether it became true within `time`.
pub fn wait_until(time: Duration, mut is_true: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    loop {
        if is_true() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        pause(Duration::from_millis(10));
    }
}

/// Does nothing for `time`. Prefer [`wait_until`]: a test that waits for an event is quick and certain.
pub fn pause(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
