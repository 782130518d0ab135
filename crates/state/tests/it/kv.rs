//! The contract of `Kv`, held against every implementation.

use crate::{done, keys};
use proptest::prelude::*;
use state::{Expect, KEY_BYTES_MAX, Kind, Kv, Outcome, Revision, Sqlite, VALUE_BYTES_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a claim on each implementation, on a new store.
fn each(claim: impl Fn(&dyn Kv)) {
    let dir = tempfile::tempdir().unwrap();
    claim(&Sqlite::open(dir.path()).unwrap());
}

#[test]
fn what_was_put_is_there_and_what_was_removed_is_not() {
    each(|store| {
        assert_eq!(store.get("a").unwrap(), None);
        let put = done(store.put("a", b"\x00\xff", Expect::Any).unwrap());
        let found = store.get("a").unwrap().unwrap();
        assert_eq!((found.value.as_slice(), found.revision), (&b"\x00\xff"[..], put));
        done(store.put("empty", b"", Expect::Any).unwrap());
        assert_eq!(store.get("empty").unwrap().unwrap().value, b"");
        done(store.delete("a", Expect::Any).unwrap());
        assert_eq!(store.get("a").unwrap(), None);
    });
}

#[test]
fn many_are_put_at_one_instant_or_none_is() {
    each(|store| {
        let many: Vec<_> = (0..100).map(|at| (format!("many/{at:03}"), vec![at])).collect();
        store.put_all(&many).unwrap();
        store.put_all(&[("many/007".into(), b"other".to_vec())]).unwrap();
        let found = store.list("many/").unwrap();
        assert_eq!((found.len(), found[7].1.value.as_slice()), (100, b"other".as_slice()));
        let too_large = vec![0; state::VALUE_BYTES_MAX + 1];
        assert!(store.put_all(&[("first".into(), b"x".to_vec()), ("second".into(), too_large)]).is_err());
        assert_eq!(store.get("first").unwrap(), None);
        store.put_all(&[]).unwrap();
    });
}

#[test]
fn a_write_happens_only_where_what_stands_is_as_expected() {
    each(|store| {
        assert_eq!(store.put("a", b"x", Expect::Revision(Revision(1))).unwrap(), Outcome::Conflict(None));
        let first = done(store.put("a", b"1", Expect::Absent).unwrap());
        assert_eq!(store.put("a", b"2", Expect::Absent).unwrap(), Outcome::Conflict(Some(first)));
        let second = done(store.put("a", b"2", Expect::Revision(first)).unwrap());
        assert_eq!(store.put("a", b"3", Expect::Revision(first)).unwrap(), Outcome::Conflict(Some(second)));
        assert_eq!(store.delete("a", Expect::Revision(first)).unwrap(), Outcome::Conflict(Some(second)));
        assert_eq!(store.delete("a", Expect::Absent).unwrap(), Outcome::Conflict(Some(second)));
        assert_eq!(store.get("a").unwrap().unwrap().value, b"2");
        assert_eq!(store.revision().unwrap(), second, "a conflict changes nothing");
        done(store.delete("a", Expect::Revision(second)).unwrap());
        assert_eq!(store.delete("a", Expect::Revision(second)).unwrap(), Outcome::Conflict(None));
    });
}

#[test]
fn a_key_that_was_removed_and_put_again_is_not_the_one_from_before() {
    each(|store| {
        let first = done(store.put("a", b"same", Expect::Absent).unwrap());
        done(store.delete("a", Expect::Any).unwrap());
        let second = done(store.put("a", b"same", Expect::Absent).unwrap());
        assert!(second > first);
        assert_eq!(
            store.put("a", b"late", Expect::Revision(first)).unwrap(),
            Outcome::Conflict(Some(second))
        );
    });
}

#[test]
fn removing_what_is_not_there_is_done_without_a_change() {
    each(|store| {
        let now = done(store.put("a", b"1", Expect::Any).unwrap());
        for expect in [Expect::Any, Expect::Absent] {
            assert_eq!(store.delete("b", expect).unwrap(), Outcome::Done(now));
        }
        assert_eq!(store.revision().unwrap(), now);
    });
}

#[test]
fn a_list_has_what_begins_with_the_prefix_in_the_order_of_bytes() {
    each(|store| {
        for key in ["b/", "a", "a/10", "a/9", "a/é", "a/\u{10ffff}", "a0", "A", "%", "a%"] {
            done(store.put(key, key.as_bytes(), Expect::Absent).unwrap());
        }
        assert_eq!(keys(store, "a/"), ["a/10", "a/9", "a/é", "a/\u{10ffff}"]);
        assert_eq!(keys(store, "a"), ["a", "a%", "a/10", "a/9", "a/é", "a/\u{10ffff}", "a0"]);
        assert_eq!(keys(store, "%"), ["%"], "a prefix is no pattern");
        assert_eq!(keys(store, "").len(), 10);
        assert!(keys(store, "none").is_empty());
        assert!(store.list("").unwrap().iter().all(|(key, found)| key.as_bytes() == found.value));
    });
}

#[test]
fn what_cannot_be_stored_is_refused_and_nothing_is_written() {
    each(|store| {
        let long = "k".repeat(KEY_BYTES_MAX);
        let large = vec![7; VALUE_BYTES_MAX];
        let written = done(store.put(&long, &large, Expect::Any).unwrap());
        assert_eq!(store.get(&long).unwrap().unwrap().value, large);
        for (key, value) in
            [("", &b"x"[..]), (&format!("{long}k"), b"x"), ("a", &[large.as_slice(), b"7"].concat())]
        {
            let error = store.put(key, value, Expect::Any).unwrap_err();
            assert!(matches!(error.kind, Kind::Unstorable(_)), "{error}");
        }
        assert_eq!(store.revision().unwrap(), written);
    });
}

/// Counts to `HANDLES * THREADS * ROUNDS` by reading, adding one and writing if unchanged: a lost write shows in the sum.
#[test]
fn writers_of_several_handles_and_threads_lose_nothing() {
    const HANDLES: u64 = 2;
    const THREADS: u64 = 3;
    const ROUNDS: u64 = 25;
    let dir = tempfile::tempdir().unwrap();
    let stores: Vec<_> = (0..HANDLES).map(|_| Sqlite::open(dir.path()).unwrap()).collect();
    let revisions: Vec<Revision> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..HANDLES * THREADS)
            .map(|worker| {
                let store = &stores[(worker % HANDLES) as usize];
                scope.spawn(move || (0..ROUNDS).map(|_| add_one(store)).collect::<Vec<_>>())
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(count(&stores[0]), HANDLES * THREADS * ROUNDS);
    assert_eq!(
        revisions.iter().collect::<BTreeSet<_>>().len(),
        revisions.len(),
        "every change has a revision of its own"
    );
    assert_eq!(stores[1].revision().unwrap(), revisions.into_iter().max().unwrap());
}

#[test]
fn what_one_handle_has_done_the_other_sees_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (Sqlite::open(dir.path()).unwrap(), Sqlite::open(dir.path()).unwrap());
    assert!(one.is_new() && !other.is_new());
    for round in 0..50u8 {
        done(one.put("a", &[round], Expect::Any).unwrap());
        assert_eq!(other.get("a").unwrap().unwrap().value, [round]);
        assert_eq!(other.list("").unwrap()[0].1.value, [round]);
    }
}

fn count(store: &dyn Kv) -> u64 {
    store.get("count").unwrap().map_or(0, |found| u64::from_be_bytes(found.value.try_into().unwrap()))
}

fn add_one(store: &dyn Kv) -> Revision {
    loop {
        let stands = store.get("count").unwrap();
        let expect = stands.as_ref().map_or(Expect::Absent, |found| Expect::Revision(found.revision));
        let count = stands.map_or(0, |found| u64::from_be_bytes(found.value.try_into().unwrap()));
        if let Outcome::Done(revision) = store.put("count", &(count + 1).to_be_bytes(), expect).unwrap() {
            return revision;
        }
    }
}

/// Where the writer below is told to write: this test binary starts itself as another process.
const WRITER: &str = "STATE_TEST_WRITER";

/// Not a claim: the other process. Each round writes two keys, the second after the first, and says so.
#[test]
fn writer_process() {
    #[expect(clippy::disallowed_methods, reason = "how a test tells its child what to do")]
    let Some(dir) = std::env::var_os(WRITER) else { return };
    let store = Sqlite::open(Path::new(&dir)).unwrap();
    for round in 0u64.. {
        let value = round.to_be_bytes().repeat(1000);
        done(store.put("first", &value, Expect::Any).unwrap());
        done(store.put("second", &value, Expect::Any).unwrap());
    }
}

fn writer(dir: &Path) -> Child {
    let this = std::env::current_exe().unwrap();
    let quiet = [Stdio::null(), Stdio::null()];
    let [out, err] = quiet;
    Command::new(this)
        .args(["kv::writer_process", "--exact"])
        .env(WRITER, dir)
        .stdout(out)
        .stderr(err)
        .spawn()
        .unwrap()
}

#[test]
fn a_writer_that_is_killed_leaves_each_value_whole_and_nothing_done_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = Revision::default();
    for delay in [1, 7, 13, 29, 41, 3] {
        let mut child = writer(dir.path());
        let store = Sqlite::open(dir.path()).unwrap();
        let began = Instant::now();
        while store.revision().unwrap() == before {
            assert!(began.elapsed() < Duration::from_secs(60), "the writer writes nothing");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        std::thread::park_timeout(Duration::from_millis(delay));
        let seen = store.get("first").unwrap().unwrap();
        drop(store);
        child.kill().unwrap();
        child.wait().unwrap();

        let store = Sqlite::open(dir.path()).unwrap();
        let (first, second) = (store.get("first").unwrap().unwrap(), store.get("second").unwrap());
        assert!(first.revision >= seen.revision, "what was seen as done is there after the kill");
        let round = |value: &[u8]| {
            assert_eq!(value.len(), 8000);
            assert!(value.chunks(8).all(|part| part == &value[..8]), "half of one value and half of another");
            u64::from_be_bytes(value[..8].try_into().unwrap())
        };
        let first = round(&first.value);
        if let Some(second) = second {
            let second = round(&second.value);
            assert!(
                second == first || second + 1 == first || first == 0,
                "{first} and {second}: out of order"
            );
        }
        before = store.revision().unwrap();
    }
}

#[derive(Debug, Clone)]
enum Act {
    Put(u8, u8, u8),
    Delete(u8, u8),
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..4u8, any::<u8>(), 0..3u8).prop_map(|(key, value, expect)| Act::Put(key, value, expect)),
        2 => (0..4u8, 0..3u8).prop_map(|(key, expect)| Act::Delete(key, expect)),
        1 => Just(Act::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Any sequence of writes gives what a plain map gives, also over closing and opening again.
    #[test]
    fn the_store_is_a_map(acts in proptest::collection::vec(act(), 0..25)) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Sqlite::open(dir.path()).unwrap();
        let mut map: BTreeMap<String, (u8, Revision)> = BTreeMap::new();
        let mut newest = Revision::default();
        for act in acts {
            let expectation = |expect: u8, stands: Option<Revision>| match expect {
                0 => Expect::Absent,
                1 => Expect::Any,
                _ => Expect::Revision(stands.unwrap_or(Revision(1_000_000))),
            };
            let fits = |expect: Expect, stands: Option<Revision>| match expect {
                Expect::Absent => stands.is_none(),
                Expect::Any => true,
                Expect::Revision(revision) => stands == Some(revision),
            };
            match act {
                Act::Put(key, value, expect) => {
                    let key = format!("k/{key}");
                    let stands = map.get(&key).map(|(_, revision)| *revision);
                    let expect = expectation(expect, stands);
                    match store.put(&key, &[value], expect).unwrap() {
                        Outcome::Done(revision) => {
                            prop_assert!(fits(expect, stands) && revision > newest);
                            newest = revision;
                            map.insert(key, (value, revision));
                        }
                        Outcome::Conflict(found) => prop_assert!(!fits(expect, stands) && found == stands),
                    }
                }
                Act::Delete(key, expect) => {
                    let key = format!("k/{key}");
                    let stands = map.get(&key).map(|(_, revision)| *revision);
                    let expect = expectation(expect, stands);
                    match store.delete(&key, expect).unwrap() {
                        Outcome::Done(revision) => {
                            prop_assert!(fits(expect, stands));
                            prop_assert_eq!(revision > newest, stands.is_some());
                            newest = revision;
                            map.remove(&key);
                        }
                        Outcome::Conflict(found) => prop_assert!(!fits(expect, stands) && found == stands),
                    }
                }
                Act::Reopen => {
                    drop(store);
                    store = Sqlite::open(dir.path()).unwrap();
                    prop_assert!(!store.is_new());
                }
            }
            prop_assert_eq!(store.revision().unwrap(), newest);
        }
        let listed: Vec<_> = store.list("k/").unwrap().into_iter().map(|(key, found)| (key, (found.value[0], found.revision))).collect();
        prop_assert_eq!(listed, map.into_iter().collect::<Vec<_>>());
    }
}
