//! Leases: one holder at a time, judged by the caller's clock.

use crate::at;
use jiff::SignedDuration;
use state::{Grant, Kind, Kv, Lease, Sqlite};
use std::sync::Barrier;

const TTL: SignedDuration = SignedDuration::from_secs(60);

fn held(grant: Grant) -> Lease {
    match grant {
        Grant::Held(lease) => lease,
        Grant::Taken(lease) => panic!("taken by {}", lease.holder),
    }
}

#[test]
fn a_lease_is_given_once_also_to_the_same_holder() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (Sqlite::open(dir.path()).unwrap(), Sqlite::open(dir.path()).unwrap());
    let lease = held(one.lease("run/shop", "us", TTL, at(0)).unwrap());
    assert_eq!(lease.expires, at(60));
    for (store, holder) in [(&one, "us"), (&other, "them")] {
        assert_eq!(store.lease("run/shop", holder, TTL, at(59)).unwrap(), Grant::Taken(lease.clone()));
    }
    held(other.lease("run/files", "them", TTL, at(0)).unwrap());
    assert_eq!(other.holder("run/shop").unwrap(), Some(lease));
}

#[test]
fn of_many_who_ask_at_once_one_gets_it() {
    const ASKERS: usize = 8;
    let dir = tempfile::tempdir().unwrap();
    let stores: Vec<_> = (0..2).map(|_| Sqlite::open(dir.path()).unwrap()).collect();
    for round in 0..10 {
        let barrier = Barrier::new(ASKERS);
        let granted = std::thread::scope(|scope| {
            let askers: Vec<_> = (0..ASKERS)
                .map(|asker| {
                    let (store, barrier) = (&stores[asker % 2], &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let grant = store.lease("one", &asker.to_string(), TTL, at(round * 60)).unwrap();
                        usize::from(matches!(grant, Grant::Held(_)))
                    })
                })
                .collect();
            askers.into_iter().map(|asker| asker.join().unwrap()).sum::<usize>()
        });
        assert_eq!(granted, 1, "round {round}");
    }
}

#[test]
fn an_expired_lease_goes_to_the_next_with_a_greater_token_and_the_first_has_lost_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path()).unwrap();
    let first = held(store.lease("a", "us", TTL, at(0)).unwrap());
    let second = held(store.lease("a", "them", TTL, at(60)).unwrap());
    assert!(second.token > first.token);
    assert!(matches!(store.renew(&first, TTL, at(61)).unwrap_err().kind, Kind::LeaseLost));
    store.release("a", first.token).unwrap();
    assert_eq!(store.holder("a").unwrap(), Some(second), "one who has lost it can't end the other's");
}

#[test]
fn a_renewed_lease_lives_on_and_an_expired_one_is_not_renewed_even_where_nobody_took_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path()).unwrap();
    let lease = held(store.lease("a", "us", TTL, at(0)).unwrap());
    let renewed = store.renew(&lease, TTL, at(50)).unwrap();
    assert_eq!((renewed.expires, renewed.token), (at(110), lease.token));
    assert!(matches!(store.lease("a", "them", TTL, at(109)).unwrap(), Grant::Taken(_)));
    assert!(matches!(store.renew(&renewed, TTL, at(110)).unwrap_err().kind, Kind::LeaseLost));
}

#[test]
fn a_token_grows_over_a_release_and_over_closing() {
    let dir = tempfile::tempdir().unwrap();
    let mut newest = 0;
    for _ in 0..3 {
        let store = Sqlite::open(dir.path()).unwrap();
        let lease = held(store.lease("a", "us", TTL, at(0)).unwrap());
        assert!(lease.token > newest);
        newest = lease.token;
        store.release("a", lease.token).unwrap();
        assert_eq!(store.holder("a").unwrap(), None);
    }
}

#[test]
fn a_lease_outlives_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let lease = held(Sqlite::open(dir.path()).unwrap().lease("a", "us", TTL, at(0)).unwrap());
    let store = Sqlite::open(dir.path()).unwrap();
    assert_eq!(store.lease("a", "them", TTL, at(1)).unwrap(), Grant::Taken(lease));
}
