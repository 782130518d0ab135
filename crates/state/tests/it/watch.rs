//! Watching: every change is followed by an event, none is lost.

use crate::done;
use state::{Event, Expect, Kind, Kv, Revision, Sqlite};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const NOW: Duration = Duration::ZERO;
/// Far above what it takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);

fn event(key: &str, revision: Revision, deleted: bool) -> Event {
    Event { key: key.into(), revision, deleted }
}

#[test]
fn changes_come_in_order_once_and_only_those_of_the_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path()).unwrap();
    done(store.put("a/before", b"", Expect::Any).unwrap());
    let mut watch = store.watch("a/", store.revision().unwrap()).unwrap();
    assert_eq!(watch.next(NOW).unwrap(), []);
    done(store.put("a/2", b"", Expect::Any).unwrap());
    let one = done(store.put("a/1", b"", Expect::Any).unwrap());
    done(store.put("b/1", b"", Expect::Any).unwrap());
    let two = done(store.put("a/2", b"again", Expect::Any).unwrap());
    let gone = done(store.delete("a/before", Expect::Any).unwrap());
    assert_eq!(
        watch.next(NOW).unwrap(),
        [event("a/1", one, false), event("a/2", two, false), event("a/before", gone, true)]
    );
    assert_eq!(watch.next(NOW).unwrap(), []);
    let back = done(store.put("a/before", b"", Expect::Absent).unwrap());
    assert_eq!(watch.next(NOW).unwrap(), [event("a/before", back, false)]);
}

#[test]
fn a_write_of_this_or_another_handle_wakes_the_watcher() {
    let dir = tempfile::tempdir().unwrap();
    let (store, other) = (Sqlite::open(dir.path()).unwrap(), Sqlite::open(dir.path()).unwrap());
    for writer in [&store, &other] {
        let after = store.revision().unwrap();
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let began = Instant::now();
                (store.watch("a", after).unwrap().next(LONG).unwrap(), began.elapsed())
            });
            std::thread::park_timeout(Duration::from_millis(30));
            let put = done(writer.put("a", b"", Expect::Any).unwrap());
            let (events, waited) = watcher.join().unwrap();
            assert_eq!(events, [event("a", put, false)]);
            assert!(waited < LONG);
        });
    }
}

#[test]
fn a_thousand_events_come_at_a_time_and_the_rest_after_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path()).unwrap();
    let mut watch = store.watch("k/", Revision::default()).unwrap();
    for n in 0..1005 {
        done(store.put(&format!("k/{n}"), b"", Expect::Absent).unwrap());
    }
    let mut seen = Vec::new();
    for expected in [1000, 5, 0] {
        let events = watch.next(NOW).unwrap();
        assert_eq!(events.len(), expected);
        seen.extend(events);
    }
    assert!(seen.windows(2).all(|pair| pair[0].revision < pair[1].revision));
    assert_eq!(seen.iter().map(|event| &event.key).collect::<BTreeSet<_>>().len(), 1005);
}

#[test]
fn nothing_is_lost_while_others_write() {
    const WRITES: u64 = 120;
    let dir = tempfile::tempdir().unwrap();
    let (store, other) = (Sqlite::open(dir.path()).unwrap(), Sqlite::open(dir.path()).unwrap());
    let last = std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..WRITES {
                done(other.put(&format!("k/{}", n % 7), &[0], Expect::Any).unwrap());
            }
        });
        let mut watch = store.watch("k/", Revision::default()).unwrap();
        let mut last = Revision::default();
        while last < Revision(WRITES) {
            let events = watch.next(LONG).unwrap();
            assert!(!events.is_empty(), "nothing more came after {last:?}");
            assert!(events.iter().all(|event| event.revision > last));
            last = events.last().unwrap().revision;
        }
        last
    });
    assert_eq!(last, store.revision().unwrap());
}

/// Deletions are kept for the newest ten thousand only. Their rows are made by hand: by the front door it takes minutes.
#[test]
fn a_watcher_that_was_away_too_long_is_told_to_list_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path()).unwrap();
    done(store.put("old", b"", Expect::Any).unwrap());
    let mut watch = store.watch("", Revision(1)).unwrap();
    done(store.delete("old", Expect::Any).unwrap());
    drop(store.revision());
    let by_hand = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    by_hand
        .execute_batch(
            "BEGIN; WITH RECURSIVE n(n) AS (SELECT 3 UNION ALL SELECT n + 1 FROM n WHERE n < 10010)
             INSERT INTO gone SELECT CAST('k' || n AS BLOB), n FROM n;
             UPDATE counter SET value = 10010 WHERE name = 'revision'; COMMIT;",
        )
        .unwrap();
    done(store.put("x", b"", Expect::Any).unwrap());
    done(store.delete("x", Expect::Any).unwrap());
    let error = watch.next(NOW).unwrap_err();
    assert!(matches!(error.kind, Kind::Compacted(1)), "{error}");
    let from_here = store.revision().unwrap();
    assert_eq!(store.watch("", from_here).unwrap().next(NOW).unwrap(), []);
}
