//! A file that is not what was written is said to be so. It is never taken for an empty state.

use crate::{at, done};
use state::{Body, Error, Expect, Kind, Kv, Made, Moment, Sqlite, State};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A state with records enough for many pages, closed.
fn filled() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path()).unwrap();
    for n in 0..100 {
        done(store.put(&format!("k/{n}"), &[n; 2000], Expect::Absent).unwrap());
    }
    drop(store);
    let path = dir.path().join("state.db");
    assert!(!dir.path().join("state.db-wal").exists(), "the log is in the file when the last one closes");
    (dir, path)
}

/// Says that the state is damaged, and what the way out is.
fn refused(dir: &Path) {
    let error = Sqlite::open(dir).unwrap_err();
    assert!(error.is_corrupt(), "{error}");
    assert!(!error.is_retryable());
    assert!(
        error.to_string().contains("state.db") && error.to_string().contains("releve state rebuild"),
        "{error}"
    );
    assert!(State::open(dir).unwrap_err().is_corrupt());
}

#[test]
fn a_file_of_something_else_is_refused_and_left_alone() {
    let (dir, path) = filled();
    let garbage = vec![b'x'; 10_000];
    fs::write(&path, &garbage).unwrap();
    refused(dir.path());
    assert_eq!(fs::read(&path).unwrap(), garbage);
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    for keep in [100, 4096, 40_000] {
        let (dir, path) = filled();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(keep).unwrap();
        refused(dir.path());
    }
}

/// SQLite keeps no checksum of what is in a page: it finds pages that are none, and the chain of the records finds the rest.
#[test]
fn a_page_of_zeros_anywhere_is_found_when_opening_or_by_the_chain() {
    const RECORDS: u64 = 60;
    const PAGE: usize = 4096;
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    for number in 0..RECORDS {
        let failure = Some("x".repeat(number as usize * 40));
        state.append(Body::Backup(Made { failure, ..Made::default() }), at(0)).unwrap();
    }
    drop(state);
    let path = dir.path().join("state.db");
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() > 10 * PAGE);
    for page in 0..whole.len() / PAGE {
        let mut damaged = whole.clone();
        damaged[page * PAGE..(page + 1) * PAGE].fill(0);
        fs::write(&path, damaged).unwrap();
        match State::open(dir.path()).and_then(|state| state.verify()) {
            Err(error) => assert!(error.is_corrupt(), "page {page}: {error}"),
            // An empty page of a table that is empty (`gone`, `lease`), or of none.
            Ok(count) => assert_eq!(count, RECORDS, "page {page}"),
        }
    }
}

/// Makes a database as far as SQLite does before the first table is there.
fn without_tables(path: &Path) {
    let db = rusqlite::Connection::open(path).unwrap();
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

/// A crash and a full disk leave files of length 0. What was going on, and what must not be done twice, stood in there.
#[test]
fn a_state_in_which_nothing_is_left_is_damaged_and_no_new_one() {
    let (dir, path) = filled();
    fs::write(&path, "").unwrap();
    fs::write(dir.path().join("state.db-wal"), "the rest").unwrap();
    refused(dir.path());
    assert_eq!(fs::read(&path).unwrap(), b"");
    assert_eq!(fs::read(dir.path().join("state.db-wal")).unwrap(), b"the rest", "it may be the only rest");
    fs::remove_file(dir.path().join("state.db-wal")).unwrap();
    fs::remove_file(&path).unwrap();
    // A database all right, without a table.
    without_tables(&path);
    assert!(fs::metadata(&path).unwrap().len() > 0);
    refused(dir.path());
    fs::write(&path, "").unwrap();
    let rebuilt = rebuilt(dir.path());
    let lost = rebuilt.lost.join("; ");
    assert!(lost.contains("a recovery that had not ended may be lost"), "{lost}");
    assert!(!State::open(dir.path()).unwrap().is_new());
}

#[test]
fn whoever_was_killed_while_he_made_the_state_locks_nobody_out() {
    let steps: [&dyn Fn(&Path); 3] = [&|_| {}, &|path| fs::write(path, "").unwrap(), &without_tables];
    for (number, step) in steps.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("state.making"), "").unwrap();
        step(&dir.path().join("state.db"));
        let state = State::open(dir.path()).unwrap();
        assert!(state.is_new(), "step {number}");
        state.trust("point", at(0)).unwrap();
        assert!(!dir.path().join("state.making").exists(), "step {number}");
    }
    // The last step that he did not do: nothing that stands there is taken for new.
    let dir = lived_in();
    fs::write(dir.path().join("state.making"), "").unwrap();
    let state = State::open(dir.path()).unwrap();
    assert!(!state.is_new() && state.is_trusted("point").unwrap());
    drop(state);
    fs::write(dir.path().join("state.db"), "").unwrap();
    refused(dir.path());
}

#[test]
fn of_many_who_open_a_new_state_at_once_one_makes_it_and_all_have_it() {
    for _ in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let made = std::thread::scope(|scope| {
            let open = |_| scope.spawn(|| State::open(dir.path()).unwrap().is_new());
            let opened: Vec<_> = (0..6).map(open).collect();
            opened.into_iter().filter_map(|one| one.join().unwrap().then_some(())).count()
        });
        assert_eq!(made, 1);
    }
}

#[test]
fn a_database_of_another_program_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    foreign
        .execute_batch("CREATE TABLE customers (name TEXT); INSERT INTO customers VALUES ('Dupont')")
        .unwrap();
    refused(dir.path());
    assert_eq!(
        foreign.query_row("SELECT name FROM customers", (), |row| row.get::<_, String>(0)).unwrap(),
        "Dupont"
    );
}

#[test]
fn a_newer_layout_is_refused_as_newer() {
    let (dir, path) = filled();
    rusqlite::Connection::open(path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = Sqlite::open(dir.path()).unwrap_err();
    assert!(matches!(error.kind, Kind::Newer { found: 99, .. }), "{error}");
    assert!(!error.is_corrupt(), "it is whole: a rebuild would throw it away");
}

#[test]
fn damage_under_an_open_store_is_an_error_and_not_an_empty_list() {
    let (dir, path) = filled();
    let store = Sqlite::open(dir.path()).unwrap();
    // What a bad disk does: everything but the first page is gone. No page of it is in a cache yet that could hide it.
    let bytes = fs::read(&path).unwrap();
    let mut damaged = bytes.clone();
    damaged[4096..].fill(0xaa);
    fs::write(&path, damaged).unwrap();
    rusqlite::Connection::open(&path).unwrap().query_row("PRAGMA cache_size", (), |_| Ok(())).unwrap();
    let found = store.list("");
    assert!(!found.as_ref().is_ok_and(|found| found.len() != 100), "{found:?}");
}

#[test]
fn a_state_that_is_set_aside_is_kept_whole_and_the_next_one_is_new() {
    let (dir, path) = filled();
    let bytes = fs::read(&path).unwrap();
    let aside = Sqlite::set_aside(dir.path(), at(0)).unwrap().unwrap();
    assert_eq!(fs::read(&aside).unwrap(), bytes);
    assert!(State::open(dir.path()).unwrap().is_new());
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(Sqlite::set_aside(empty.path(), at(0)).unwrap(), None);
}

#[test]
fn a_state_in_use_is_not_set_aside() {
    let (dir, _) = filled();
    let store = Sqlite::open(dir.path()).unwrap();
    assert!(matches!(Sqlite::set_aside(dir.path(), at(0)).unwrap_err().kind, Kind::InUse));
    drop(store);
    assert!(Sqlite::set_aside(dir.path(), at(0)).unwrap().is_some());
}

#[test]
fn the_state_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/releve");
    let state = State::open(&deep).unwrap();
    state.append(Body::Rebuilt { points: 1 }, at(0)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&deep), 0o700);
    // What else lies beside it may be others'.
    assert_eq!(mode(&dir.path().join("a")) & 0o055, 0o055);
    for entry in fs::read_dir(&deep).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_place_that_is_no_folder_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "").unwrap();
    let error = State::open(&path).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert!(!error.is_corrupt());
}

/// A state with all that a person would miss, closed.
fn lived_in() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    state.append(Body::Backup(Made { system: "shop".into(), ..Made::default() }), at(0)).unwrap();
    state.append(Body::Incident(Moment { incident: "1".into(), ..Moment::default() }), at(1)).unwrap();
    state.hold("person", "police", at(2)).unwrap();
    state.trust("point", at(3)).unwrap();
    state.put_alert("rpo/shop", &"open").unwrap();
    dir
}

/// Makes it anew, with one record more.
fn rebuilt(dir: &Path) -> state::Rebuilt {
    let fill = |state: &State| state.append(Body::Rebuilt { points: 4 }, at(9)).map(drop);
    State::rebuild::<Error>(dir, at(9), fill).unwrap()
}

fn named(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_state_that_is_made_anew_keeps_what_the_old_one_knew() {
    let dir = lived_in();
    let old = fs::read(dir.path().join("state.db")).unwrap();
    let rebuilt = rebuilt(dir.path());
    assert_eq!(rebuilt.lost, Vec::<String>::new());
    assert!(rebuilt.carried.contains(&"1 hold on removals".to_owned()), "{rebuilt:?}");
    assert_eq!(fs::read(rebuilt.kept.unwrap()).unwrap(), old);
    let state = State::open(dir.path()).unwrap();
    assert_eq!(state.held().unwrap().unwrap().reason, "police");
    assert!(state.is_trusted("point").unwrap());
    assert_eq!(state.alerts::<String>().unwrap()["rpo/shop"], "open");
    assert_eq!(state.verify().unwrap(), 3);
    assert!(!named(dir.path()).iter().any(|name| name == "state.new"));
}

#[test]
fn a_rebuild_that_fails_has_changed_nothing() {
    let dir = lived_in();
    let (before, old) = (named(dir.path()), fs::read(dir.path().join("state.db")).unwrap());
    let full = |_: &State| Err(Error::new("fill", Kind::Full("there".into())));
    let error = State::rebuild(dir.path(), at(9), full).unwrap_err();
    assert!(error.is_full() && !error.to_string().contains("rebuild"), "{error}");
    assert_eq!((named(dir.path()), fs::read(dir.path().join("state.db")).unwrap()), (before, old));
    let open = State::open(dir.path()).unwrap();
    assert!(matches!(State::rebuild(dir.path(), at(9), full).unwrap_err().kind, Kind::InUse));
    assert_eq!(open.held().unwrap().unwrap().reason, "police");
}

#[test]
fn what_can_not_be_read_of_an_old_state_is_named_with_how_it_is_set_again() {
    let dir = lived_in();
    fs::write(dir.path().join("state.db"), vec![b'x'; 10_000]).unwrap();
    let rebuilt = rebuilt(dir.path());
    assert!(rebuilt.carried.is_empty(), "{rebuilt:?}");
    let lost = rebuilt.lost.join("; ");
    assert!(lost.contains("a hold on removals may be lost: releve prune --hold sets it again"), "{lost}");
    assert!(lost.contains("incidents"), "{lost}");
    assert_eq!(State::open(dir.path()).unwrap().held().unwrap(), None);
}

#[test]
fn of_records_whose_chain_is_broken_incidents_are_taken_over_and_the_new_chain_holds() {
    let dir = lived_in();
    let spoil = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    let spoilt = spoil.execute("update kv set value = x'00' where cast(key as text) like 'record/%1'", []);
    assert_eq!(spoilt.unwrap(), 1);
    drop(spoil);
    let rebuilt = rebuilt(dir.path());
    assert!(rebuilt.lost.join("; ").contains("records of what happened may be lost"), "{rebuilt:?}");
    let state = State::open(dir.path()).unwrap();
    assert_eq!(state.verify().unwrap(), 2);
    let first = state.records().unwrap().remove(0);
    assert!(matches!(first.body, Body::Incident(_)) && first.time == at(1), "{first:?}");
    assert!(state.held().unwrap().is_some());
}

#[test]
fn records_before_one_that_was_edited_are_kept_as_they_are_and_what_is_behind_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    for points in 1..=4 {
        state.append(Body::Rebuilt { points }, at(points.try_into().unwrap())).unwrap();
    }
    let before = state.records().unwrap();
    state.trust_clock(at(9)).unwrap();
    drop(state);
    let edit = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    let edited = edit.execute(
        "update kv set value = cast(replace(cast(value as text), '\"points\":3', '\"points\":7') as blob) where cast(key as text) like 'record/%3'",
        [],
    );
    assert_eq!(edited.unwrap(), 1);
    drop(edit);
    assert!(State::open(dir.path()).unwrap().verify().is_err());
    let rebuilt = rebuilt(dir.path());
    assert!(rebuilt.carried.contains(&"2 records".to_owned()), "{rebuilt:?}");
    let lost = rebuilt.lost.join("; ");
    assert!(lost.contains("2 records behind number 2 are left in the old state"), "{lost}");
    let state = State::open(dir.path()).unwrap();
    assert_eq!(state.verify().unwrap(), 3);
    assert_eq!(state.records().unwrap()[..2], before[..2]);
    // What a person said of the clock was of the records of then, and not of those that have their numbers now.
    assert_eq!(state.latest_sign().unwrap(), Some(at(9)));
}
