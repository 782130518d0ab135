//! A line to a far server: every byte comes later, and all connections share its breadth.
//!
//! What is read waits in a queue until it is due. So latency delays and does not limit: as much may be under way as the line carries.
//! The bytes of all connections take turns, piece by piece, as packets do.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How much takes its turn at once: 0.26 ms at 1 Gbit/s.
const PIECE: usize = 32 << 10;

/// How many pieces of one connection may be under way: more than any line of ours carries within its latency.
const UNDER_WAY: usize = 1024;

/// 30 ms of round trip, and 1 Gbit/s.
pub(super) const FAR: Speed = Speed { one_way: Duration::from_millis(15), bytes_per_second: 125e6 };

/// How good a line is; both directions are equal and don't disturb each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed {
    /// Half of a round trip.
    pub(super) one_way: Duration,
    /// In each direction, all connections together.
    pub(super) bytes_per_second: f64,
}

/// A relay on a free port of this machine before a server on another. It takes no connections any more when dropped.
#[derive(Debug)]
pub(super) struct Line {
    port: u16,
    closing: Arc<AtomicBool>,
}

impl Line {
    /// Opens a line to the server on `port` of this machine.
    pub(super) fn to(server: u16, speed: Speed) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let closing = Arc::new(AtomicBool::new(false));
        let closed = Arc::clone(&closing);
        let [up, down] = [(); 2].map(|()| Arc::new(Lane::new(speed)));
        thread::spawn(move || {
            for client in listener.incoming() {
                if closed.load(Ordering::Relaxed) {
                    return;
                }
                // A connection that breaks is the two ends' business; they notice.
                let _ = client.and_then(|client| connect(client, server, &up, &down));
            }
        });
        Ok(Self { port, closing })
    }

    /// Returns the port it listens on.
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// One direction of the line.
#[derive(Debug)]
struct Lane {
    speed: Speed,
    /// When all that was put on it so far will have left.
    free: Mutex<Instant>,
}

/// When a piece may leave, and when the last of it arrives.
struct Turn {
    leaves: Instant,
    arrives: Instant,
}

impl Lane {
    fn new(speed: Speed) -> Self {
        Self { speed, free: Mutex::new(Instant::now()) }
    }

    /// Books the next turn.
    fn book(&self, bytes: usize) -> Turn {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let leaves = (*free).max(Instant::now());
        *free = leaves + Duration::from_secs_f64(bytes as f64 / self.speed.bytes_per_second);
        Turn { leaves, arrives: *free + self.speed.one_way }
    }
}

fn connect(client: TcpStream, server: u16, up: &Arc<Lane>, down: &Arc<Lane>) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    carry(client.try_clone()?, server.try_clone()?, Arc::clone(up));
    carry(server, client, Arc::clone(down));
    Ok(())
}

/// Carries one direction of a connection until it ends.
fn carry(from: TcpStream, to: TcpStream, lane: Arc<Lane>) {
    let (sender, receiver) = sync_channel(UNDER_WAY);
    thread::spawn(move || take_in(from, &lane, &sender));
    thread::spawn(move || give_out(to, &receiver));
}

fn take_in(mut from: TcpStream, lane: &Lane, sender: &SyncSender<(Instant, Vec<u8>)>) {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        let turn = lane.book(length);
        // Who has booked waits for his turn before he reads on: no connection books the line for itself alone.
        wait_until(turn.leaves);
        let bytes = piece.iter().take(length).copied().collect();
        if sender.send((turn.arrives, bytes)).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Read);
}

fn give_out(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((due, bytes)) = receiver.recv() {
        wait_until(due);
        if to.write_all(&bytes).is_err() {
            // Its other direction has nobody to talk to any more.
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

pub(super) fn wait_until(due: Instant) {
    // Parking may end before its time.
    while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_WAY: Duration = Duration::from_millis(15);

    /// A server that hands each connection to `serve`.
    fn server(serve: impl Fn(TcpStream) + Copy + Send + 'static) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                thread::spawn(move || serve(client));
            }
        });
        port
    }

    /// Seconds until so many connections have received all that the server sends.
    fn seconds(line: &Line, connections: usize, bytes: usize) -> f64 {
        let begun = Instant::now();
        thread::scope(|scope| {
            for _ in 0..connections {
                scope.spawn(|| {
                    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, line.port())).unwrap();
                    let mut received = Vec::new();
                    stream.read_to_end(&mut received).unwrap();
                    assert_eq!(received.len(), bytes);
                    assert!(received.iter().enumerate().all(|(at, byte)| *byte == at as u8));
                });
            }
        });
        begun.elapsed().as_secs_f64()
    }

    fn send(mut client: TcpStream, bytes: usize) {
        let content: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
        client.write_all(&content).unwrap();
    }

    #[test]
    fn an_echo_takes_a_round_trip() {
        let echo = server(|client| {
            let mut answer = client.try_clone().unwrap();
            io::copy(&mut &client, &mut answer).unwrap();
        });
        let line = Line::to(echo, Speed { one_way: ONE_WAY, bytes_per_second: 125e6 }).unwrap();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, line.port())).unwrap();
        for _ in 0..3 {
            let begun = Instant::now();
            stream.write_all(b"hello").unwrap();
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"hello");
            let taken = begun.elapsed();
            assert!(taken >= 2 * ONE_WAY && taken < 20 * ONE_WAY, "{taken:?}");
        }
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the end comes through as well");
    }

    #[test]
    fn several_connections_share_the_line() {
        const EACH: usize = 4_000_000;
        let line =
            Line::to(server(|client| send(client, EACH)), Speed { one_way: ONE_WAY, bytes_per_second: 20e6 });
        let taken = seconds(&line.unwrap(), 4, EACH);
        assert!((0.8..2.4).contains(&taken), "16 MB at 20 MB/s in {taken} s");
    }

    #[test]
    fn latency_does_not_limit_what_one_connection_carries() {
        const ALL: usize = 25_000_000;
        // One piece a round trip would be 13 s.
        let line =
            Line::to(server(|client| send(client, ALL)), Speed { one_way: ONE_WAY, bytes_per_second: 125e6 });
        let taken = seconds(&line.unwrap(), 1, ALL);
        assert!((0.2..3.0).contains(&taken), "25 MB at 125 MB/s in {taken} s");
    }
}
