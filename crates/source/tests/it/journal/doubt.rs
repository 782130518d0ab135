//! Where the journal may not be complete, everything is walked.

use super::{Watched, in_a_quiet_moment};
use std::fs;

fn small() -> Watched {
    let watched = Watched::new();
    for dir in ["a", "b"] {
        fs::create_dir(watched.data().join(dir)).unwrap();
        fs::write(watched.data().join(dir).join("file"), dir).unwrap();
    }
    watched
}

#[test]
fn what_was_told_to_forget_walks_everything_once() {
    in_a_quiet_moment(|| {
        let mut watched = small();
        watched.run();
        watched.journal.forget();
        let ran = watched.run_as_a_walk_does();
        assert!(!ran.report.believed);
        assert_eq!(ran.listed_in(watched.data()), ["", "a", "b"]);
        watched.run().report.believed
    });
}

#[test]
fn another_definition_of_the_source_walks_everything() {
    let mut watched = small();
    watched.run();
    watched.excludes = vec!["a".to_owned()];
    assert!(!watched.run_as_a_walk_does().report.believed);
    let outside = watched.outside();
    watched.paths.push(outside);
    assert!(!watched.run_as_a_walk_does().report.believed);
}

#[test]
fn a_vault_without_the_point_gets_all_of_it() {
    let mut watched = small();
    watched.run();
    let Some((file, _)) = &watched.last else { panic!("there is a point") };
    // Forgotten by somebody else, while the journal knows it still.
    watched.vault.store().remove(vault::FileKind::Snapshot, &file.to_string()).unwrap();
    let ran = watched.run_as_a_walk_does();
    assert!(!ran.report.believed);
    assert_eq!(ran.listed_in(watched.data()), ["", "a", "b"]);
}

#[test]
fn a_failed_capture_hands_what_changed_to_the_next() {
    in_a_quiet_moment(|| {
        let mut watched = small();
        watched.run();
        fs::write(watched.data().join("a/file"), "changed").unwrap();
        watched.give_up("shop");
        watched.lists_only(&["a"])
    });
}

#[test]
fn two_sources_are_told_each_of_its_own() {
    in_a_quiet_moment(|| {
        let mut watched = small();
        watched.run();
        fs::write(watched.data().join("b/file"), "changed").unwrap();
        // The other one takes its own account only.
        watched.give_up("other");
        watched.lists_only(&["b"])
    });
}
