//! Records: what is changed behind the program's back is found.

use crate::at;
use proptest::prelude::*;
use rusqlite::Connection;
use sha2::Digest;
use state::{Body, Error, Expect, Kv, Made, Sqlite, State};
use std::path::Path;

const RECORDS: u64 = 12;

/// A ledger of several records, closed.
fn ledger() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    for number in 1..=RECORDS {
        let made = Made {
            system: "shop".into(),
            point: format!("{number:064}"),
            bytes: number,
            complete: true,
            seconds: 0.1,
            ..Made::default()
        };
        let record = state.append(Body::Backup(made), at(number as i64)).unwrap();
        assert_eq!(record.number, number);
    }
    assert_eq!(state.verify().unwrap(), RECORDS);
    dir
}

/// Edits the file as someone would who has SQLite's shell.
fn edit(dir: &Path, sql: &str) {
    let connection = Connection::open(dir.join("state.db")).unwrap();
    connection.execute_batch(sql).unwrap();
    assert!(connection.changes() > 0, "{sql} changed nothing");
}

fn verdict(dir: &Path) -> Result<u64, String> {
    let state = State::open(dir).unwrap();
    state.verify().map_err(|error| {
        assert!(error.is_corrupt(), "{error}");
        error.to_string()
    })
}

fn key(number: u64) -> String {
    format!("CAST('record/{number:012}' AS BLOB)")
}

#[test]
fn a_ledger_that_was_closed_and_opened_is_whole_and_goes_on() {
    let dir = ledger();
    let state = State::open(dir.path()).unwrap();
    assert!(!state.is_new());
    let record = state.append(Body::Rebuilt { points: 3 }, at(99)).unwrap();
    assert_eq!(record.number, RECORDS + 1);
    assert_eq!(state.verify().unwrap(), RECORDS + 1);
    let records = state.records().unwrap();
    assert_eq!(records.last(), Some(&record));
    assert!(records.windows(2).all(|pair| pair[1].previous == pair[0].hash));
}

#[test]
fn a_changed_record_is_found_wherever_it_stands() {
    for number in 1..=RECORDS {
        let dir = ledger();
        let change = "CAST(replace(CAST(value AS TEXT), '\"complete\":true', '\"complete\":false') AS BLOB)";
        edit(dir.path(), &format!("UPDATE kv SET value = {change} WHERE key = {}", key(number)));
        assert!(verdict(dir.path()).unwrap_err().contains(&format!("record {number}")));
    }
}

#[test]
fn a_record_whose_time_was_changed_is_found() {
    let dir = ledger();
    let change = "CAST(replace(CAST(value AS TEXT), '\"time\":\"2023', '\"time\":\"2022') AS BLOB)";
    edit(dir.path(), &format!("UPDATE kv SET value = {change} WHERE key = {}", key(5)));
    assert!(verdict(dir.path()).is_err());
}

#[test]
fn a_removed_record_is_found_wherever_it_stood() {
    for number in 1..=RECORDS {
        let dir = ledger();
        edit(dir.path(), &format!("DELETE FROM kv WHERE key = {}", key(number)));
        assert!(verdict(dir.path()).is_err(), "record {number} is gone and nobody says so");
    }
}

#[test]
fn removed_newest_records_are_found_also_after_the_next_one_was_written() {
    let dir = ledger();
    edit(dir.path(), &format!("DELETE FROM kv WHERE key IN ({}, {})", key(RECORDS), key(RECORDS - 1)));
    let _ = State::open(dir.path()).unwrap().append(Body::Rebuilt { points: 0 }, at(99));
    assert!(verdict(dir.path()).is_err());
}

#[test]
fn two_swapped_records_are_found() {
    let dir = ledger();
    let (a, b) = (key(4), key(7));
    edit(
        dir.path(),
        &format!(
            "UPDATE kv SET value = (SELECT value FROM kv AS other WHERE other.key = CASE kv.key WHEN {a} THEN {b} ELSE {a} END) WHERE key IN ({a}, {b})"
        ),
    );
    assert!(verdict(dir.path()).is_err());
}

#[test]
fn a_record_that_is_no_record_is_an_error_that_names_it() {
    let dir = ledger();
    edit(dir.path(), &format!("UPDATE kv SET value = CAST('not JSON' AS BLOB) WHERE key = {}", key(6)));
    assert!(verdict(dir.path()).unwrap_err().contains("record/000000000006"));
}

#[test]
fn a_record_of_a_newer_version_does_not_break_the_chain() {
    let dir = ledger();
    // One more field, sealed as the newer version does it.
    let connection = Connection::open(dir.path().join("state.db")).unwrap();
    let stored: Vec<u8> = connection
        .query_row("SELECT value FROM kv WHERE key = CAST('head' AS BLOB)", (), |row| row.get(0))
        .unwrap();
    let (number, previous): (u64, String) = serde_json::from_slice(&stored).unwrap();
    let content = format!(
        "{{\"number\":{},\"time\":\"2030-01-01T00:00:00Z\",\"body\":{{\"kind\":\"drill\",\"x\":0.1}},\"previous\":\"{previous}\"",
        number + 1
    );
    let hash: String = sha2::Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    let value = format!("{content},\"hash\":\"{hash}\"}}");
    connection
        .execute(
            "INSERT INTO kv VALUES (?1, ?2, 1000)",
            (format!("record/{:012}", number + 1).as_bytes(), value.as_bytes()),
        )
        .unwrap();
    connection.execute("UPDATE counter SET value = 1000 WHERE name = 'revision'", ()).unwrap();
    assert_eq!(verdict(dir.path()), Ok(RECORDS + 1));
    let record = State::open(dir.path()).unwrap().append(Body::Rebuilt { points: 1 }, at(99)).unwrap();
    assert_eq!(record.number, RECORDS + 2);
    assert_eq!(verdict(dir.path()), Ok(RECORDS + 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever was recorded comes back as it was, and its own hash holds: texts that look like the seal, numbers of any length.
    #[test]
    fn what_was_recorded_holds(failure in ".{0,20}|.{0,5},\"hash\":\"[0-9a-f]{0,4}\"}", seconds in 0.0..1e12f64, bytes in any::<u64>()) {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let made = Made { system: failure.clone(), seconds, bytes, failure: Some(failure), ..Made::default() };
        let record = state.append(Body::Backup(made.clone()), at(0)).unwrap();
        state.append(Body::Rebuilt { points: 1 }, at(1)).unwrap();
        prop_assert_eq!(state.verify().unwrap(), 2);
        let found = state.records().unwrap().swap_remove(0);
        prop_assert_eq!((found.number, found.time, &found.previous, &found.hash), (1, at(0), &record.previous, &record.hash));
        let Body::Backup(found) = found.body else { panic!() };
        prop_assert!((found.seconds - seconds).abs() <= seconds * 1e-12);
        prop_assert_eq!(Made { seconds, ..found }, made);
    }
}

#[test]
fn a_record_that_could_not_be_read_back_is_refused_and_the_ledger_goes_on() {
    let dir = ledger();
    let state = State::open(dir.path()).unwrap();
    let error = state.append(Body::Backup(Made { seconds: f64::NAN, ..Made::default() }), at(0)).unwrap_err();
    assert!(!error.is_corrupt(), "{error}");
    state.append(Body::Rebuilt { points: 1 }, at(0)).unwrap();
    assert_eq!(state.verify().unwrap(), RECORDS + 1);
}

#[test]
fn several_processes_append_to_one_chain() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 10;
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let dir = dir.path();
            scope.spawn(move || {
                let state = State::open(dir).unwrap();
                for n in 0..EACH {
                    state.append(Body::Rebuilt { points: writer * EACH + n }, at(0)).unwrap();
                }
            });
        }
    });
    let state = State::open(dir.path()).unwrap();
    assert_eq!(state.verify().unwrap(), WRITERS * EACH);
    let mut points: Vec<_> = state
        .records()
        .unwrap()
        .into_iter()
        .map(|record| match record.body {
            Body::Rebuilt { points } => points,
            other => panic!("{other:?}"),
        })
        .collect();
    points.sort_unstable();
    assert_eq!(points, (0..WRITERS * EACH).collect::<Vec<_>>());
}

#[test]
fn a_vault_is_known_by_its_repository_until_it_is_forgotten() {
    let dir = ledger();
    let state = State::open(dir.path()).unwrap();
    assert_eq!(state.vault_seen("local").unwrap(), None);
    state.remember_vault("local", "abc").unwrap();
    assert_eq!(State::open(dir.path()).unwrap().vault_seen("local").unwrap().as_deref(), Some("abc"));
    state.forget_vault("local").unwrap();
    assert_eq!(state.vault_seen("local").unwrap(), None);
}

#[test]
fn of_many_that_may_write_only_once_together_one_does_while_others_write_too() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let once = |records: &[state::Record]| {
        let is_there = |record: &state::Record| matches!(record.body, Body::Rebuilt { .. });
        if records.iter().any(is_there) { Err("it is there") } else { Ok(Body::Rebuilt { points: 1 }) }
    };
    let written: usize = std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            for second in 0..40 {
                state.append(Body::Backup(Made::default()), at(second)).unwrap();
            }
        });
        let one = || usize::from(state.append_decided(at(1), once).unwrap().is_ok());
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        let written = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        busy.join().unwrap();
        written
    });
    assert_eq!(written, 1);
    assert_eq!(state.verify().unwrap(), 41);
}

#[test]
fn one_who_looks_again_reads_only_what_is_new() {
    let dir = ledger();
    let state = State::open(dir.path()).unwrap();
    let new: Vec<_> = state.records_after(RECORDS - 2).unwrap().iter().map(|record| record.number).collect();
    assert_eq!(new, [RECORDS - 1, RECORDS]);
    assert!(state.records_after(RECORDS).unwrap().is_empty());
    assert_eq!(state.records_after(0).unwrap(), state.records().unwrap());
}

/// Appends a record as a newer program may: of a kind, or with an entry, that isn't known here, and with fields of its own.
fn append_newer(dir: &Path, body: &str) -> Vec<u8> {
    let store = Sqlite::open(dir).unwrap();
    let head = store.get("head").unwrap().unwrap().value;
    let (number, previous): (u64, String) = serde_json::from_slice(&head).unwrap();
    let number = number + 1;
    // Spaces as ours never writes them: the hash is over the bytes.
    let content = format!(
        r#"{{"number":{number}, "time":"2027-11-23T12:00:00Z","body":{body},"previous":"{previous}","weather":[1]"#
    );
    let hash: String =
        sha2::Sha256::digest(content.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let record = format!(r#"{content},"hash":"{hash}"}}"#).into_bytes();
    let head = serde_json::to_vec(&(number, &hash)).unwrap();
    let all = [(format!("record/{number:012}"), record.clone()), ("head".to_owned(), head)];
    store.put_all(&all).unwrap();
    record
}

#[test]
fn what_a_newer_program_has_written_is_kept_counts_in_the_chain_and_keeps_nobody_from_reading() {
    let dir = ledger();
    let bodies = [
        r#"{"kind":"tide","high":[1,{"a":2}]}"#,
        // A kind that is known, with what isn't in it.
        r#"{"kind":"incident","incident":"1","by":"hugo","at":null,"entry":{"entry":"drill","what":"all"}}"#,
        r#"{"kind":"backup","system":"shop","moon":{"full":true}}"#,
    ];
    let written: Vec<Vec<u8>> = bodies.iter().map(|body| append_newer(dir.path(), body)).collect();
    let store = Sqlite::open(dir.path()).unwrap();
    let _ = store.put("tide/near", b"\x00\xff", Expect::Absent).unwrap();
    drop(store);
    let look = |dir: &Path| {
        let state = State::open(dir).unwrap();
        let records = state.records().unwrap();
        assert_eq!(state.verify().unwrap(), records.len() as u64);
        let newer: Vec<u64> = records.iter().filter(|one| one.is_of_newer()).map(|one| one.number).collect();
        assert_eq!(newer, [RECORDS + 1, RECORDS + 2]);
        assert_eq!(state.records_after(RECORDS).unwrap(), records[RECORDS as usize..]);
        let Body::Backup(made) = &records[RECORDS as usize + 2].body else { panic!("{records:?}") };
        assert_eq!(made.system, "shop");
    };
    look(dir.path());
    // The chain goes on behind it, and a state that is made anew has it byte by byte.
    let state = State::open(dir.path()).unwrap();
    state.append(Body::Rebuilt { points: 3 }, at(99)).unwrap();
    drop(state);
    let rebuilt = State::rebuild::<Error>(dir.path(), at(100), |_| Ok(())).unwrap();
    assert_eq!(rebuilt.lost, Vec::<String>::new());
    assert!(rebuilt.carried.contains(&"1 notes of a newer program".to_owned()), "{rebuilt:?}");
    look(dir.path());
    let store = Sqlite::open(dir.path()).unwrap();
    for (number, record) in (RECORDS + 1..).zip(&written) {
        assert_eq!(&store.get(&format!("record/{number:012}")).unwrap().unwrap().value, record);
    }
    assert_eq!(store.get("tide/near").unwrap().unwrap().value, b"\x00\xff");
    drop(store);
    // Whoever edits one is found as ever.
    edit(
        dir.path(),
        &format!(
            "UPDATE kv SET value = CAST(REPLACE(CAST(value AS TEXT), 'tide', 'ebb!') AS BLOB) WHERE key = {}",
            key(RECORDS + 1)
        ),
    );
    assert!(verdict(dir.path()).unwrap_err().contains(&format!("record {}", RECORDS + 1)));
}
