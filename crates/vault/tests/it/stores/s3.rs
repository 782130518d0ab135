//! A bucket as a store, behind a proxy that breaks things.

use super::{credentials, quick};
use crate::contract::{Freedom, keeps_the_contract, listing, name};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Fault, FaultyProxy, Random, S3Server, When};
use vault::store::{Asking, Calls, Credentials, Limits, open, open_with};
use vault::{Error, FileKind, Kind, Store};

struct Setting {
    server: S3Server,
    proxy: FaultyProxy,
    store: Box<dyn Store>,
}

fn setting() -> Setting {
    setting_with(&quick())
}

// For what fails again and again.
fn brief() -> Limits {
    Limits { patience: Duration::from_millis(400), ..quick() }
}

fn setting_with(limits: &Limits) -> Setting {
    let server = S3Server::start();
    let proxy = FaultyProxy::before(server.port());
    let store = open_with(&server.address_at(proxy.port(), "vault"), &credentials(), limits).unwrap();
    store.create().unwrap();
    Setting { server, proxy, store }
}

// All calls, on files that are there.
fn every_call(store: &dyn Store) -> [(&'static str, Result<(), Error>); 6] {
    let id = name(b"present");
    [
        ("list", store.list(FileKind::Pack).map(drop)),
        ("read", store.read(FileKind::Pack, &id).map(drop)),
        ("read_range", store.read_range(FileKind::Pack, &id, 1..3).map(drop)),
        ("size", store.size(FileKind::Pack, &id).map(drop)),
        ("write", store.write(FileKind::Pack, &id, b"present")),
        ("remove", store.remove(FileKind::Pack, &id)),
    ]
}

fn put_present(store: &dyn Store) {
    store.write(FileKind::Pack, &name(b"present"), b"present").unwrap();
}

#[test]
fn a_bucket_keeps_the_contract() {
    let server = S3Server::start();
    let store = open(&server.address("company/vault"), &credentials()).unwrap();
    keeps_the_contract(&*store, &Freedom { folders: false });
    assert!(server.folder().join("company/vault/config").exists());
}

#[test]
fn the_root_of_a_bucket_keeps_the_contract() {
    let server = S3Server::start();
    let store = open(&server.address(""), &credentials()).unwrap();
    keeps_the_contract(&*store, &Freedom { folders: false });
}

#[test]
fn a_server_that_stumbles_is_asked_again() {
    let Setting { proxy, store, server: _server } = setting();
    for status in [500, 502, 503, 504, 429] {
        put_present(&*store);
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            proxy.plan(When::request(method, "/vaults").first(2), Fault::Status(status));
        }
        for (call, result) in every_call(&*store) {
            result.unwrap_or_else(|error| panic!("{status}, {call}: {error}"));
        }
        proxy.heal();
    }
}

#[test]
fn a_server_that_stays_broken_is_given_up_within_the_bounds() {
    let Setting { proxy, store, server: _server } = setting_with(&brief());
    put_present(&*store);
    for status in [500, 503] {
        proxy.plan(When::any(), Fault::Status(status));
        for (call, result) in every_call(&*store) {
            let error = result.unwrap_err();
            assert!(matches!(error.kind, Kind::Unreachable(_)), "{call}: {error}");
            assert!(error.is_retryable());
            assert!(error.to_string().contains("(tried "), "{error}");
        }
        proxy.heal();
    }
    let puts = proxy.seen().iter().filter(|seen| seen.method == "PUT" && seen.fault.is_some()).count();
    assert!((4..60).contains(&puts), "{puts}");
    put_present(&*store);
}

#[test]
fn a_refusal_is_not_repeated_and_says_why() {
    let Setting { proxy, store, server: _server } = setting();
    put_present(&*store);
    let before = proxy.seen().len();
    proxy.plan(When::any(), Fault::Status(403));
    for (call, result) in every_call(&*store) {
        let error = result.unwrap_err();
        assert!(matches!(error.kind, Kind::Refused(_)), "{call}: {error}");
        // The answer to a HEAD has no body, and so no reason.
        assert!(call == "size" || error.to_string().contains("AccessDenied"), "{call}: {error}");
    }
    assert_eq!(proxy.seen().len(), before + 6);
}

#[test]
fn a_bucket_that_is_full_is_said() {
    let Setting { proxy, store, server: _server } = setting();
    proxy.plan(When::request("PUT", ""), Fault::Status(507));
    let error = store.write(FileKind::Pack, &name(b"x"), b"x").unwrap_err();
    assert!(matches!(error.kind, Kind::Full), "{error}");
}

#[test]
fn a_server_that_refuses_connections_is_out_of_reach() {
    let Setting { proxy, store, server: _server } = setting_with(&brief());
    put_present(&*store);
    proxy.refuse();
    for (call, result) in every_call(&*store) {
        let error = result.unwrap_err();
        assert!(matches!(error.kind, Kind::Unreachable(_)), "{call}: {error}");
        assert!(error.to_string().contains("refused"), "{call}: {error}");
    }
    proxy.accept();
    assert_eq!(store.read(FileKind::Pack, &name(b"present")).unwrap(), b"present");
}

#[test]
fn silence_is_given_up_and_tried_again() {
    let Setting { proxy, store, server: _server } = setting();
    put_present(&*store);
    for stall in [Fault::StallRequest(0), Fault::StallAnswer(0), Fault::StallAnswer(40)] {
        proxy.plan(When::any().first(1), stall);
        let start = Instant::now();
        let content = store.read(FileKind::Pack, &name(b"present"));
        // The request that an empty body makes can't stall in its body.
        assert_eq!(content.unwrap(), b"present");
        assert!(start.elapsed() < Duration::from_secs(3));
        proxy.heal();
    }
    let content = Random::new(1).bytes(1 << 20);
    proxy.plan(When::request("PUT", "").first(1), Fault::StallRequest(100_000));
    store.write(FileKind::Pack, &name(&content), &content).unwrap();
    assert!(store.read(FileKind::Pack, &name(&content)).unwrap() == content);
}

#[test]
fn silence_that_lasts_is_out_of_reach() {
    let server = S3Server::start();
    let proxy = FaultyProxy::before(server.port());
    let limits =
        Limits { patience: Duration::from_millis(300), stall: Duration::from_millis(200), ..quick() };
    let store = open_with(&server.address_at(proxy.port(), "vault"), &credentials(), &limits).unwrap();
    put_present(&*store);
    proxy.plan(When::any(), Fault::StallAnswer(10));
    let start = Instant::now();
    for (call, result) in every_call(&*store) {
        let error = result.unwrap_err();
        assert!(matches!(error.kind, Kind::Unreachable(_)), "{call}: {error}");
        assert!(error.to_string().contains("no answer"), "{call}: {error}");
    }
    assert!(start.elapsed() < Duration::from_secs(6));
}

#[test]
fn an_answer_that_is_cut_is_never_taken_for_whole() {
    let Setting { proxy, store, server: _server } = setting_with(&brief());
    let content = Random::new(1).bytes(300_000);
    let id = name(&content);
    store.write(FileKind::Pack, &id, &content).unwrap();
    for end in [1, 100, 1000, 150_000, 300_000] {
        proxy.plan(When::request("GET", "data/").first(1), Fault::CutAnswer(end));
        assert!(store.read(FileKind::Pack, &id).unwrap() == content, "{end}");
        proxy.plan(When::request("GET", "data/").first(1), Fault::CutAnswer(end));
        assert!(store.read_range(FileKind::Pack, &id, 10..290_000).unwrap() == content[10..290_000], "{end}");
        proxy.heal();
        proxy.plan(When::request("GET", "data/"), Fault::CutAnswer(end));
        let error = store.read(FileKind::Pack, &id).unwrap_err();
        assert!(matches!(error.kind, Kind::Unreachable(_)), "{end}: {error}");
        proxy.heal();
    }
}

#[test]
fn a_request_that_is_cut_leaves_nothing_and_is_repeated() {
    let Setting { proxy, store, server } = setting();
    let content = Random::new(1).bytes(300_000);
    let id = name(&content);
    proxy.plan(When::request("PUT", ""), Fault::CutRequest(100_000));
    assert!(store.write(FileKind::Pack, &id, &content).unwrap_err().is_retryable());
    proxy.heal();
    assert_eq!(store.size(FileKind::Pack, &id).unwrap(), None);
    assert!(!server.folder().join("vault").join(FileKind::Pack.path(&id)).exists());
    proxy.plan(When::request("PUT", "").first(1), Fault::CutRequest(100_000));
    store.write(FileKind::Pack, &id, &content).unwrap();
    assert!(store.read(FileKind::Pack, &id).unwrap() == content);
}

#[test]
fn a_write_whose_answer_is_lost_is_looked_up_and_not_sent_again() {
    let Setting { proxy, store, server: _server } = setting();
    let content = Random::new(1).bytes(300_000);
    let id = name(&content);
    proxy.plan(When::request("PUT", "").first(1), Fault::LoseAnswer);
    store.write(FileKind::Pack, &id, &content).unwrap();
    assert_eq!(proxy.count("PUT", &id), 1);
    assert!(store.read(FileKind::Pack, &id).unwrap() == content);
}

#[test]
fn a_removal_whose_answer_is_lost_is_done() {
    let Setting { proxy, store, server: _server } = setting();
    put_present(&*store);
    proxy.plan(When::request("DELETE", "").first(1), Fault::LoseAnswer);
    store.remove(FileKind::Pack, &name(b"present")).unwrap();
    assert_eq!(store.size(FileKind::Pack, &name(b"present")).unwrap(), None);
}

// Two pages.
fn many_packs(server: &S3Server) -> Vec<(String, u64)> {
    let mut packs: Vec<_> = (0..1100u32).map(|number| (name(&number.to_be_bytes()), 4)).collect();
    for (id, _) in &packs {
        let path = server.folder().join("vault").join(FileKind::Pack.path(id));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"pack").unwrap();
    }
    packs.sort();
    packs
}

#[test]
fn a_listing_goes_on_to_the_last_page() {
    let Setting { server, proxy, store } = setting();
    let packs = many_packs(&server);
    assert_eq!(listing(&*store, FileKind::Pack), packs);
    assert_eq!(proxy.count("GET", "continuation-token"), 1);
}

#[test]
fn a_listing_that_fails_on_any_page_is_an_error() {
    let Setting { server, proxy, store } = setting();
    let packs = many_packs(&server);
    for fault in [Fault::Status(500), Fault::CutAnswer(5000), Fault::CutAnswer(0), Fault::Status(403)] {
        proxy.plan(When::request("GET", "continuation-token").first(1), fault);
        let listed = store.list(FileKind::Pack);
        match fault {
            Fault::Status(403) => assert!(matches!(listed.unwrap_err().kind, Kind::Refused(_))),
            _ => assert_eq!(listed.unwrap().len(), packs.len(), "{fault:?}"),
        }
        proxy.heal();
        proxy.plan(When::request("GET", "continuation-token"), fault);
        assert!(store.list(FileKind::Pack).is_err(), "{fault:?}");
        proxy.heal();
    }
}

#[test]
fn wrong_keys_are_refused_with_the_servers_own_word() {
    let server = S3Server::start();
    let wrong = Credentials { secret_key: Some("wrong".into()), ..credentials() };
    let store = open(&server.address("vault"), &wrong).unwrap();
    for result in [store.create(), store.write(FileKind::Pack, &name(b"x"), b"x")] {
        let error = result.unwrap_err();
        assert!(matches!(error.kind, Kind::Refused(_)), "{error}");
        assert!(error.to_string().contains("SignatureDoesNotMatch"), "{error}");
    }
    assert!(!format!("{store:?} {wrong:?}").contains("wrong"));
}

#[test]
fn keys_come_from_the_caller_alone() {
    let server = S3Server::start();
    let error = open(&server.address("vault"), &Credentials::default()).unwrap_err();
    assert!(matches!(error.kind, Kind::Refused(_)), "{error}");
}

#[test]
fn a_bucket_that_is_not_there_is_said() {
    let server = S3Server::start();
    let address = server.address("vault").replace("vaults", "nobody");
    let store = open(&address, &credentials()).unwrap();
    assert!(store.create().unwrap_err().to_string().contains("no such bucket"));
    assert!(matches!(store.list(FileKind::Pack).unwrap_err().kind, Kind::NoRepository));
}

#[test]
fn a_thin_line_that_moves_is_not_given_up() {
    let Setting { proxy, store, server: _server } = setting();
    let content = Random::new(1).bytes(400_000);
    let id = name(&content);
    store.write(FileKind::Pack, &id, &content).unwrap();
    // Two seconds in all, three times as long as silence may last.
    proxy.plan(When::request("GET", ""), Fault::Slow(200_000));
    assert!(store.read(FileKind::Pack, &id).unwrap() == content);
    assert_eq!(proxy.count("GET", &id), 1);
}

/// A server that answers every request with what `page` says of its number; returns the vault's address there, and how many came.
fn paging(page: impl Fn(usize) -> String + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    // Ends with the test's process.
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if client.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            let body = page(counted.fetch_add(1, Relaxed));
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = client.write_all(head.as_bytes());
        }
    });
    (format!("s3://vaults/vault?endpoint=http://127.0.0.1:{port}&region=us-east-1"), asked)
}

fn page(names: &[String], next: &str) -> String {
    let contents: String = names
        .iter()
        .map(|id| format!("<Contents><Key>vault/snapshots/{id}</Key><Size>4</Size></Contents>"))
        .collect();
    format!(
        "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>true</IsTruncated>{next}{contents}</ListBucketResult>"
    )
}

#[test]
fn a_listing_that_does_not_come_to_its_end_is_an_error_and_not_a_loop() {
    let id = |number: usize| name(&number.to_be_bytes());
    let token = |number: usize| format!("<NextContinuationToken>{number}</NextContinuationToken>");
    type Page = Box<dyn Fn(usize) -> String + Send>;
    let lies: [(&str, Page); 5] = [
        ("the place to go on at is missing", Box::new(move |number| page(&[id(number)], ""))),
        ("the place to go on at repeats", Box::new(move |number| page(&[id(number)], &token(7)))),
        ("two places take turns", Box::new(move |number| page(&[id(number)], &token(number % 2)))),
        ("the page repeats", Box::new(move |number| page(&[id(0)], &token(number)))),
        ("nothing comes, and there is more", Box::new(move |number| page(&[], &token(number)))),
    ];
    for (what, lie) in lies {
        let (address, asked) = paging(lie);
        let store = open_with(&address, &credentials(), &quick()).unwrap();
        let error = store.list(FileKind::Snapshot).unwrap_err();
        assert!(matches!(error.kind, Kind::Io(_)), "{what}: {error}");
        assert!(error.to_string().contains("come to its end"), "{what}: {error}");
        assert!(asked.load(Relaxed) <= 150, "{what}: {} requests", asked.load(Relaxed));
    }
}

#[test]
fn a_busy_server_is_left_alone_for_as_long_as_it_asks() {
    let Setting { proxy, store, server: _server } = setting();
    put_present(&*store);
    for (method, call) in [("GET", 1), ("PUT", 2), ("HEAD", 3)] {
        let begun = Instant::now();
        // Longer than these tests have patience for.
        proxy.plan(When::request(method, "").first(1), Fault::Busy(2));
        let before = proxy.seen().len();
        match call {
            1 => assert_eq!(store.read(FileKind::Pack, &name(b"present")).unwrap(), b"present"),
            2 => store.write(FileKind::Index, &name(b"new"), b"new").unwrap(),
            _ => assert_eq!(store.size(FileKind::Pack, &name(b"present")).unwrap(), Some(7)),
        }
        assert!(begun.elapsed() >= Duration::from_millis(1900), "{method}: {:?}", begun.elapsed());
        assert!(proxy.seen().len() - before <= 4, "{method}");
        proxy.heal();
    }
}

#[test]
fn keys_that_have_expired_are_asked_for_once_more() {
    let server = S3Server::start();
    let proxy = FaultyProxy::before(server.port());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let renew = move || {
        counted.fetch_add(1, Relaxed);
        Ok(credentials())
    };
    let old = Credentials {
        access_key: Some("of-yesterday".into()),
        secret_key: Some("of yesterday".into()),
        renew: Some(Arc::new(renew)),
        ..credentials()
    };
    let through = server.address_at(proxy.port(), "vault");
    for (method, code) in [("GET", "ExpiredToken"), ("PUT", "InvalidAccessKeyId"), ("HEAD", "")] {
        proxy.plan(When::request(method, "").first(1), Fault::Code(400, code));
        let store = open_with(&through, &old, &quick()).unwrap();
        let before = asked.load(Relaxed);
        match method {
            "GET" => drop(store.list(FileKind::Pack).unwrap()),
            "PUT" => store.write(FileKind::Pack, &name(b"present"), b"present").unwrap(),
            _ => assert_eq!(store.size(FileKind::Pack, &name(b"present")).unwrap(), Some(7)),
        }
        assert_eq!(asked.load(Relaxed), before + 1, "{method}");
        // What was asked for serves from then on.
        store.list(FileKind::Pack).unwrap();
        assert_eq!(asked.load(Relaxed), before + 1, "{method}");
        proxy.heal();
    }
    // The same ones again are no reason to try again.
    proxy.plan(When::any(), Fault::Code(400, "ExpiredToken"));
    let same = Credentials { renew: old.renew, ..credentials() };
    let error = open_with(&through, &same, &quick()).unwrap().list(FileKind::Pack).unwrap_err();
    assert!(matches!(error.kind, Kind::Refused(_)), "{error}");
    assert!(error.to_string().contains("have expired"), "{error}");
}

#[test]
fn a_server_that_sends_us_elsewhere_hints_at_region_and_endpoint_and_not_at_permissions() {
    let Setting { proxy, store, server: _server } = setting();
    put_present(&*store);
    for status in [301, 307, 308] {
        proxy.plan(When::any(), Fault::Status(status));
        for (call, result) in every_call(&*store) {
            let error = result.unwrap_err();
            assert!(matches!(error.kind, Kind::BadAddress(_)), "{status} {call}: {error}");
            let text = error.to_string();
            assert!(text.contains("region=") && text.contains("endpoint="), "{status} {call}: {text}");
        }
        proxy.heal();
    }
}

#[test]
fn a_server_that_hangs_costs_what_is_asked_once() {
    let server = S3Server::start();
    let proxy = FaultyProxy::before(server.port());
    let asking = Asking::within(Duration::from_millis(500));
    let limits = Limits { asking: asking.clone(), ..Limits::default() };
    let store = open_with(&server.address_at(proxy.port(), "vault"), &credentials(), &limits).unwrap();
    put_present(&*store);
    proxy.plan(When::any(), Fault::StallAnswer(0));
    let begun = Instant::now();
    for _ in 0..20 {
        assert!(store.list(FileKind::Pack).unwrap_err().is_retryable());
        assert!(store.read(FileKind::Config, "config").unwrap_err().is_retryable());
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    proxy.heal();
    asking.end();
    assert_eq!(store.read(FileKind::Pack, &name(b"present")).unwrap(), b"present");
}

/// A server that answers each request, by its number, as it likes, each on a thread of its own; returns the vault's address there.
fn hostile(answer: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (answer, asked) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    // Ends with the test's process.
    thread::spawn(move || {
        for client in listener.incoming() {
            let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
            thread::spawn(move || {
                let mut client = client.unwrap();
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap_or(0) > 0 {
                    head.push(byte[0]);
                }
                answer(asked.fetch_add(1, Relaxed), &mut client);
            });
        }
    });
    format!("s3://vaults/vault?endpoint=http://127.0.0.1:{port}&region=us-east-1")
}

/// Sends the head of an answer, and then a byte now and then until nobody listens.
fn drip(client: &mut TcpStream, length: usize) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = client.write_all(head.as_bytes());
    while client.write_all(b" ").is_ok() {
        testkit::pause(Duration::from_millis(100));
    }
}

fn send(client: &mut TcpStream, body: &str) {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    let _ = client.write_all(head.as_bytes());
}

#[test]
fn a_server_that_drips_or_lists_without_end_costs_what_is_asked_seconds_and_once() {
    type Answer = Box<dyn Fn(usize, &mut TcpStream) + Send + Sync>;
    let listed = |number: usize, id: String| {
        page(&[id], &format!("<NextContinuationToken>{number}</NextContinuationToken>"))
    };
    let slow: [(&str, Answer); 3] = [
        ("a byte now and then", Box::new(|_: usize, client: &mut TcpStream| drip(client, 1000))),
        (
            "a head that never ends",
            Box::new(|_: usize, client: &mut TcpStream| {
                let _ = client.write_all(b"HTTP/1.1 200 OK\r\n");
                while client.write_all(b"X-A: b\r\n").is_ok() {
                    testkit::pause(Duration::from_millis(100));
                }
            }),
        ),
        (
            "pages of one name, in order",
            Box::new(move |number: usize, client: &mut TcpStream| {
                testkit::pause(Duration::from_millis(150));
                send(client, &listed(number, format!("{number:064x}")));
            }),
        ),
    ];
    for (what, answer) in slow {
        let limits = Limits { asking: Asking::within(Duration::from_millis(300)), ..Limits::default() };
        let store = open_with(&hostile(answer), &credentials(), &limits).unwrap();
        let begun = Instant::now();
        for _ in 0..20 {
            let error = store.list(FileKind::Snapshot).unwrap_err();
            assert!(matches!(error.kind, Kind::Unreachable(_)), "{what}: {error}");
            assert!(store.read(FileKind::Config, "config").unwrap_err().is_retryable(), "{what}");
        }
        assert!(begun.elapsed() < Duration::from_secs(4), "{what}: {:?}", begun.elapsed());
    }
    // What can't be right is refused at once, whoever waits.
    let store = open_with(&hostile(|_, client| drip(client, 1_000_000)), &credentials(), &quick()).unwrap();
    let begun = Instant::now();
    let error = store.read(FileKind::Config, "config").unwrap_err();
    assert!(matches!(error.kind, Kind::Damaged(_)) && error.to_string().contains("1000000"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn a_server_that_drips_is_left_by_whoever_works_with_it_too_and_not_called_again_for_a_while() {
    let limits = Limits { calls: Calls::new(|_| (), || false), ..quick() };
    let store = open_with(&hostile(|_, client| drip(client, 1000)), &credentials(), &limits).unwrap();
    let begun = Instant::now();
    for _ in 0..20 {
        let error = store.read(FileKind::Config, "config").unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("too slow"), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_long_listing_on_a_thin_line_is_not_given_up_by_who_only_asks() {
    let server = S3Server::start();
    let proxy = FaultyProxy::before(server.port());
    let limits = Limits { asking: Asking::within(Duration::from_millis(1500)), ..Limits::default() };
    let store = open_with(&server.address_at(proxy.port(), "vault"), &credentials(), &limits).unwrap();
    let packs = many_packs(&server);
    // Much longer than it may be silent.
    proxy.plan(When::request("GET", "list-type"), Fault::Slow(60_000));
    assert_eq!(listing(&*store, FileKind::Pack), packs);
}
