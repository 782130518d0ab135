//! Stands before an HTTP server and breaks what it is told to break.
//!
//! The fault model: a server that refuses connections, that answers with an error of its own, that does the work but
//! whose answer is lost, that falls silent or hangs up in the middle of a request or of an answer, that is far away or
//! behind a thin line. Faults are chosen per request, by method and path, and steered while requests run.
//!
//! Each connection carries one request: both sides are told `Connection: close`. The request is otherwise passed on as
//! it came, so signatures stay valid.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The proxy answers with this status; the server never hears of the request.
    Status(u16),
    /// As [`Status`](Self::Status), with this code in the answer's body.
    Code(u16, &'static str),
    /// The proxy answers 503, and asks to be left alone for so many seconds.
    Busy(u64),
    /// The server does what it was asked to do, and the connection is cut before its answer.
    LoseAnswer,
    /// The connection is cut after so many bytes of the request's body.
    CutRequest(usize),
    /// The connection is cut after so many bytes of the answer, its head included.
    CutAnswer(usize),
    /// Silence after so many bytes of the request's body, until [`FaultyProxy::heal`].
    StallRequest(usize),
    /// Silence after so many bytes of the answer, its head included, until [`FaultyProxy::heal`].
    StallAnswer(usize),
    /// The request is passed on so much later.
    Delay(Duration),
    /// The answer comes at so many bytes in a second.
    Slow(usize),
}

/// Which requests a fault hits: all that match, unless [`first`](When::first) or [`after`](When::after) narrow it.
#[derive(Debug, Clone)]
pub struct When {
    method: String,
    path: String,
    skip: usize,
    times: usize,
}

impl When {
    /// Every request.
    #[must_use]
    pub fn any() -> Self {
        Self::request("", "")
    }

    /// Requests with this method (empty: any) whose path or query contains `path`.
    #[must_use]
    pub fn request(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), skip: 0, times: usize::MAX }
    }

    /// Only the first `times` of them.
    #[must_use]
    pub fn first(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Lets `skip` of them pass before.
    #[must_use]
    pub fn after(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    fn fits(&self, method: &str, path: &str) -> bool {
        (self.method.is_empty() || self.method == method) && path.contains(&self.path)
    }
}

/// A request that came by.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET`, `PUT` and so on.
    pub method: String,
    /// Path and query, as they came.
    pub path: String,
    /// The fault it was given.
    pub fault: Option<Fault>,
}

/// A proxy on a free port of this machine. It stops when dropped.
#[derive(Debug)]
pub struct FaultyProxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

impl FaultyProxy {
    /// Starts a proxy before the server on `port` of this machine.
    #[must_use]
    pub fn before(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let shared = Arc::new(Shared {
            upstream: (Ipv4Addr::LOCALHOST, port).into(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let proxy = Self { port: listener.local_addr().unwrap().port(), shared, acceptor: Mutex::new(None) };
        proxy.listen(listener);
        proxy
    }

    /// Returns the port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, `fault` hits the requests that `when` describes. Of several plans for one request the first counts.
    pub fn plan(&self, when: When, fault: Fault) {
        self.shared.state().plans.push(Plan { when, fault, met: 0 });
    }

    /// Forgets all plans and wakes all requests that stall.
    pub fn heal(&self) {
        let mut state = self.shared.state();
        state.plans.clear();
        state.healed += 1;
        self.shared.changed.notify_all();
    }

    /// Refuses connections from now on.
    pub fn refuse(&self) {
        self.shared.state().closing = true;
        // Wakes the acceptor, which then closes the port.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor().take() {
            acceptor.join().unwrap();
        }
    }

    /// Accepts connections again, on the same port.
    pub fn accept(&self) {
        if self.acceptor().is_none() {
            self.shared.state().closing = false;
            self.listen(TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).unwrap());
        }
    }

    /// Returns the requests that came by, in their order.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// Returns how many requests came by with this method (empty: any) and `path` in their path or query.
    #[must_use]
    pub fn count(&self, method: &str, path: &str) -> usize {
        let when = When::request(method, path);
        self.shared.state().seen.iter().filter(|seen| when.fits(&seen.method, &seen.path)).count()
    }

    /// Returns how many bytes of bodies went to the server, and how many bytes of answers came back.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        let state = self.shared.state();
        (state.bytes_up, state.bytes_down)
    }

    fn listen(&self, listener: TcpListener) {
        let shared = self.shared.clone();
        *self.acceptor() = Some(std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.state().closing {
                    return;
                }
                let shared = shared.clone();
                // A connection that breaks is what this is for.
                std::thread::spawn(move || client.and_then(|client| serve(&shared, client)));
            }
        }));
    }

    fn acceptor(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.acceptor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.heal();
        self.refuse();
    }
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    plans: Vec<Plan>,
    seen: Vec<Seen>,
    bytes_up: u64,
    bytes_down: u64,
    closing: bool,
    healed: u64,
}

#[derive(Debug)]
struct Plan {
    when: When,
    fault: Fault,
    met: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn choose(&self, method: &str, path: &str) -> Option<Fault> {
        let mut state = self.state();
        let mut chosen = None;
        for plan in state.plans.iter_mut().filter(|plan| plan.when.fits(method, path)) {
            let number = plan.met;
            plan.met += 1;
            let hit = number >= plan.when.skip && number - plan.when.skip < plan.when.times;
            if hit && chosen.is_none() {
                chosen = Some(plan.fault);
            }
        }
        state.seen.push(Seen { method: method.to_owned(), path: path.to_owned(), fault: chosen });
        chosen
    }

    fn stall(&self) -> io::Error {
        let state = self.state();
        let before = state.healed;
        let woken = self.changed.wait_while(state, |state| state.healed == before);
        drop(woken);
        cut()
    }

    fn rest(&self, time: Duration) {
        let state = self.state();
        let before = state.healed;
        drop(self.changed.wait_timeout_while(state, time, |state| state.healed == before));
    }
}

fn serve(shared: &Shared, client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut answer = client.try_clone()?;
    let mut client = BufReader::new(client);
    let head = read_head(&mut client)?;
    let Some(request) = Request::parse(&head) else { return Err(cut()) };
    let fault = shared.choose(&request.method, &request.path);
    match fault {
        Some(Fault::Status(status)) => {
            copy_body(shared, &mut client, &mut io::sink(), &request, None)?;
            return answer.write_all(&refusal(status, code_of(status), "", request.method == "HEAD"));
        }
        Some(Fault::Code(status, code)) => {
            copy_body(shared, &mut client, &mut io::sink(), &request, None)?;
            return answer.write_all(&refusal(status, code, "", request.method == "HEAD"));
        }
        Some(Fault::Busy(seconds)) => {
            copy_body(shared, &mut client, &mut io::sink(), &request, None)?;
            let after = format!("Retry-After: {seconds}\r\n");
            return answer.write_all(&refusal(503, code_of(503), &after, request.method == "HEAD"));
        }
        Some(Fault::Delay(time)) => shared.rest(time),
        _ => {}
    }
    let server = TcpStream::connect(shared.upstream)?;
    server.set_nodelay(true)?;
    let mut to_server = server.try_clone()?;
    to_server.write_all(&request.head)?;
    copy_body(shared, &mut client, &mut to_server, &request, fault)?;
    pass_answer(shared, server, &mut answer, fault)
}

struct Request {
    method: String,
    path: String,
    head: Vec<u8>,
    length: u64,
    chunked: bool,
}

impl Request {
    fn parse(head: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.split("\r\n");
        let first = lines.next()?;
        let mut words = first.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut passed = format!("{first}\r\nConnection: close\r\n");
        let (mut length, mut chunked) = (0, false);
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':')?;
            match name.to_ascii_lowercase().as_str() {
                "connection" => continue,
                "content-length" => length = value.trim().parse().ok()?,
                "transfer-encoding" => chunked = true,
                _ => {}
            }
            passed.push_str(line);
            passed.push_str("\r\n");
        }
        passed.push_str("\r\n");
        Some(Self { method, path, head: passed.into_bytes(), length, chunked })
    }
}

fn read_head(client: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if client.read_until(b'\n', &mut head)? == 0 {
            return Err(cut());
        }
    }
    Ok(head)
}

fn copy_body(
    shared: &Shared,
    from: &mut impl BufRead,
    to: &mut impl Write,
    request: &Request,
    fault: Option<Fault>,
) -> io::Result<()> {
    let mut sent = 0;
    if !request.chunked {
        return copy_request(shared, &mut from.take(request.length), to, &mut sent, fault);
    }
    loop {
        let mut line = Vec::new();
        from.read_until(b'\n', &mut line)?;
        to.write_all(&line)?;
        let digits = String::from_utf8_lossy(&line);
        let digits = digits.split(';').next().unwrap_or_default().trim();
        let length = u64::from_str_radix(digits, 16).map_err(io::Error::other)?;
        copy_request(shared, &mut from.take(length + 2), to, &mut sent, fault)?;
        if length == 0 {
            return Ok(());
        }
    }
}

fn copy_request(
    shared: &Shared,
    from: &mut impl Read,
    to: &mut impl Write,
    sent: &mut usize,
    fault: Option<Fault>,
) -> io::Result<()> {
    let end = match fault {
        Some(Fault::CutRequest(end) | Fault::StallRequest(end)) => end,
        _ => usize::MAX,
    };
    let mut piece = [0; 16 << 10];
    loop {
        let room = piece.len().min(end - *sent);
        if room == 0 {
            return Err(match fault {
                Some(Fault::StallRequest(_)) => shared.stall(),
                _ => cut(),
            });
        }
        let length = from.read(&mut piece[..room])?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&piece[..length])?;
        *sent += length;
        shared.state().bytes_up += length as u64;
    }
}

fn pass_answer(
    shared: &Shared,
    mut from: TcpStream,
    to: &mut TcpStream,
    fault: Option<Fault>,
) -> io::Result<()> {
    let end = match fault {
        Some(Fault::CutAnswer(end) | Fault::StallAnswer(end)) => end,
        Some(Fault::LoseAnswer) => {
            // The first byte of the answer says that the work is done.
            let _ = from.read(&mut [0])?;
            return Err(cut());
        }
        _ => usize::MAX,
    };
    let mut piece = [0; 16 << 10];
    let mut sent = 0;
    loop {
        let room = piece.len().min(end - sent);
        if room == 0 {
            return Err(match fault {
                Some(Fault::StallAnswer(_)) => shared.stall(),
                _ => cut(),
            });
        }
        let length = from.read(&mut piece[..room])?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&piece[..length])?;
        sent += length;
        shared.state().bytes_down += length as u64;
        if let Some(Fault::Slow(bytes_per_second)) = fault {
            shared.rest(Duration::from_secs_f64(length as f64 / bytes_per_second as f64));
        }
    }
}

// What S3 would say; other clients look at the status alone.
fn code_of(status: u16) -> &'static str {
    match status {
        307 => "TemporaryRedirect",
        403 => "AccessDenied",
        404 => "NoSuchKey",
        429 | 503 => "SlowDown",
        507 => "InsufficientStorage",
        500..=599 => "InternalError",
        _ => "InvalidRequest",
    }
}

fn refusal(status: u16, code: &str, headers: &str, head_only: bool) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>planned by the test</Message></Error>"
    );
    let body_sent = if head_only { "" } else { &body };
    format!(
        "HTTP/1.1 {status} Planned\r\n{headers}Content-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body_sent}",
        body.len()
    )
    .into_bytes()
}

fn cut() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}
