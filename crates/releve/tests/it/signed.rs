//! Points are signed by the machine that made them: what anybody else puts into a vault is told by every verb, taken by none and pushes nothing out, until a person says so.

use crate::postgres::{numbers, protected};
use crate::world::{PASSWORD, World, files, hostname};
use serde_json::Value;
use state::Kv;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::backup::{Addition, BackupOptions, append, files_of};
use vault::{Holder, Password, Progress, Repository, SigningKey, Snapshot};

const STRANGE: &str = "not taken for what";
const UNSIGNED: &str = "is not signed, and its machine signs its points";

/// A world with one signed point.
fn one_point() -> World {
    let world = World::new();
    for n in 0..20 {
        fs::write(world.data().join(format!("order-{n}.txt")), format!("order {n}\n").repeat(60)).unwrap();
    }
    world.run(&["backup"]).exits(0);
    world
}

/// Puts a point of `shop` into a vault as somebody can who has its password: by restic, with tags like ours.
fn forge(world: &World, vault: &str, id: &str, time: Option<&str>) {
    let (tags, host, data) =
        (format!("releve,system:shop,point:{id}"), hostname(), world.data().display().to_string());
    let mut words = vec!["backup", "--host", &host, "--tag", &tags, &data];
    words.extend(time.iter().flat_map(|time| ["--time", time]));
    world.restic(vault).must(&words);
}

fn choice(world: &World) -> Value {
    let book = world.run(&["recover", "--dry-run", "--json"]).exits(0).json();
    book["systems"][0]["choice"]["point"]["id"].clone()
}

#[test]
fn a_forged_point_is_told_by_every_verb_and_taken_by_none_until_a_person_accepts_it() {
    let world = one_point();
    let genuine = world.points()[0].clone();
    assert_eq!(genuine["signed_by"].as_str().unwrap().len(), 64, "{genuine}");
    // restic reads what is signed as ever.
    world.restic("near").must(&["check", "--read-data"]);
    forge(&world, "near", "0123456789ab", None);
    // What nobody has counted is not shown as nothing.
    let listed = world.run(&["points"]).exits(1).out;
    let row = listed.lines().find(|line| line.contains("01234567")).unwrap();
    assert!(row.contains(" - ") && !row.contains("0 B"), "{row}");
    let table: [(&[&str], i32, &[&str]); 8] = [
        (&["points"], 1, &[UNSIGNED, STRANGE, "releve points --accept"]),
        (&["status"], 1, &[STRANGE, "The vault near holds something that nobody known has put there"]),
        (&["alerts"], 1, &["The vault near holds something that nobody known has put there"]),
        (&["verify"], 1, &[STRANGE]),
        (&["recover", "--dry-run"], 0, &[STRANGE, UNSIGNED]),
        (&["restore", "shop", "--to", "out"], 0, &[STRANGE]),
        (&["prune", "near", "--dry-run"], 0, &[STRANGE, "they push nothing out"]),
        (&["backup"], 1, &["NOT WHAT THEY SAY: 1 points before it"]),
    ];
    for (verb, code, told) in table {
        let mut run = world.run(verb).exits(code);
        for text in told {
            run = run.says(text);
        }
    }
    assert_ne!(choice(&world), "0123456789ab");
    let points = world.points();
    let forged = points.iter().find(|point| point["id"] == "0123456789ab").unwrap();
    assert_eq!((&forged["rating"], &forged["signed_by"]), (&"unsigned".into(), &Value::Null));
    // One word takes all of it, so it is shown, and asked for: not in a document, and not where nobody is.
    let silent = "is taken for the company's own from now on";
    let refusals: [(&[&str], i32, &str); 3] = [
        (&["points", "--accept"], 64, "nobody is there to say yes"),
        (&["points", "--accept", "--json"], 64, "nobody is asked with --json"),
        (&["points", "--accept", "--dry-run"], 1, "01234567"),
    ];
    for (verb, code, told) in refusals {
        let run = world.run(verb).exits(code).says(told);
        assert!(!run.err.contains(silent), "{verb:?}: {}", run.err);
        let still = world.points().into_iter().find(|point| point["id"] == "0123456789ab").unwrap();
        assert_eq!(still["rating"], "unsigned", "{verb:?}");
    }
    let would = world.run(&["points", "--accept", "--dry-run", "--json"]).json()["would_accept"].clone();
    assert_eq!((&would[0]["what"], &would[0]["name"]), (&"point".into(), &"01234567".into()), "{would}");
    world.run(&["points", "--yes"]).exits(64);
    world.run(&["points", "--accept", "--yes"]).says("01234567").says(silent);
    let points = world.run(&["points"]);
    assert!(!points.err.contains(STRANGE), "{}", points.err);
    world.run(&["alerts"]).exits(0);
}

#[test]
fn a_point_of_next_year_and_one_with_the_id_of_a_genuine_one_win_nothing() {
    let world = one_point();
    let genuine = world.points()[0]["id"].clone();
    fs::write(world.data().join("order-0.txt"), "what an intruder would like to have back").unwrap();
    forge(&world, "near", "0123456789ab", Some("2040-01-01 00:00:00"));
    // Older than the genuine one, and called as it is.
    forge(&world, "near", genuine.as_str().unwrap(), Some("2020-01-01 00:00:00"));
    assert_eq!(choice(&world), genuine);
    world.run(&["restore", "shop", "--to", "out"]).exits(0).says(STRANGE);
    let restored = fs::read_to_string(world.restored("out").join("order-0.txt")).unwrap();
    assert!(restored.starts_with("order 0"), "{restored}");
    world.run(&["recover", "--yes"]).exits(0);
    assert!(fs::read_to_string(world.data().join("order-0.txt")).unwrap().starts_with("order 0"));
}

#[test]
fn forged_points_push_no_genuine_one_out() {
    let world = one_point();
    let vaults = [world.vault("near"), world.vault("far")];
    world.write_plan(&vaults[0], &vaults[1], "");
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let plan = plan.replace("every = \"1 hour\"", "every = \"1 hour\"\nkeep = { last = 2 }");
    fs::write(world.path("plan.toml"), plan).unwrap();
    let genuine = world.points()[0]["id"].clone();
    for n in 0..6 {
        forge(&world, "near", &format!("00000000000{n}"), None);
    }
    for _ in 0..2 {
        world.run(&["prune", "near", "--yes"]);
    }
    let points = world.points();
    let kept = points.iter().find(|point| point["id"] == genuine).unwrap();
    assert_eq!(kept["vaults"].as_array().unwrap().len(), 2, "{points:?}");
}

#[test]
fn what_restic_has_rewritten_is_signed_no_more_and_the_other_copy_is_taken() {
    let world = one_point();
    let genuine = world.points()[0]["id"].clone();
    world.restic("near").must(&["tag", "--add", "seen"]);
    world.run(&["points"]).exits(1).says(UNSIGNED);
    assert_eq!(choice(&world), genuine);
    world.restores_whole("out");
}

#[test]
fn a_key_that_this_machine_does_not_know_is_told_and_accepted_by_one_word() {
    let world = one_point();
    let genuine = world.points()[0]["id"].clone();
    fs::rename(world.path("state"), world.path("mine")).unwrap();
    // Another machine that calls itself as this one: it has the vaults' passwords and no key of ours. A bare one recovers and goes on all the same.
    world.run(&["recover", "--dry-run"]).exits(0);
    world.restores_whole("bare");
    world.run(&["backup"]).exits(0);
    world.run(&["points"]).exits(0);
    fs::remove_dir_all(world.path("state")).unwrap();
    fs::rename(world.path("mine"), world.path("state")).unwrap();
    world.run(&["points"]).exits(1).says("which this machine doesn't know").says(STRANGE);
    assert_eq!(choice(&world), genuine);
    world.run(&["points", "--accept", "--yes"]).exits(0).says("signing key").says("signs for");
    world.run(&["status"]);
    assert_ne!(choice(&world), genuine);
}

#[test]
fn a_forged_point_is_none_whatever_time_it_claims_and_however_often_its_system_is_backed_up_afterwards() {
    let world = one_point();
    let genuine = world.points()[0]["id"].clone();
    let forged = [("0123456789ab", Some("2020-01-01 00:00:00")), ("0123456789ac", None)];
    for (id, time) in forged {
        forge(&world, "near", id, time);
    }
    for _ in 0..2 {
        world.run(&["points"]).exits(1).says(UNSIGNED).says(STRANGE);
        let points = world.points();
        for (id, _) in forged {
            let point = points.iter().find(|point| point["id"] == id).unwrap();
            assert_eq!(point["rating"], "unsigned", "{point}");
        }
        world.run(&["restore", "shop", "--before", "2021-01-01 00:00:00", "--to", "out"]).exits(2);
        world.run(&["backup"]).exits(1).says("NOT WHAT THEY SAY: 2 points before it");
    }
    assert!(world.points().iter().any(|point| point["id"] == genuine));
}

#[test]
fn what_an_older_program_made_on_this_machine_is_vouched_for_by_its_records_and_another_file_of_that_name_is_not()
 {
    let world = one_point();
    let near = world.path("near").join("snapshots");
    let before = files(&near);
    forge(&world, "near", "0123456789ab", None);
    let snapshot = files(&near).into_iter().find(|file| !before.contains(file)).unwrap();
    let snapshot = snapshot.file_name().unwrap().to_str().unwrap().to_owned();
    world.run(&["points"]).exits(1).says(UNSIGNED);
    let points = world.points();
    let point = points.iter().find(|point| point["id"] == "0123456789ab").unwrap();
    let word = |name: &str| point[name].as_str().unwrap().to_owned();
    let state = state::State::open(&world.path("state")).unwrap();
    let (time, now): (jiff::Timestamp, _) = (word("time").parse().unwrap(), jiff::Timestamp::now());
    let identity = format!("{} {} {time}", word("id"), word("tree"));
    state.saw_written("near", &snapshot, &identity, Some("shop"), now).unwrap();
    let made =
        state::Made { system: "shop".into(), point: word("id"), started: time, ..state::Made::default() };
    state.append(state::Body::Backup(made), jiff::Timestamp::now()).unwrap();
    drop(state);
    let rating = |world: &World| {
        let points = world.points();
        let point = points.iter().find(|point| point["id"] == "0123456789ab").unwrap();
        point["rating"].clone()
    };
    assert_ne!(rating(&world), "unsigned");
    let said = world.run(&["points"]);
    assert!(!said.err.contains(STRANGE), "{}", said.err);
    // Another point takes its name: no record says of that file that it was written here.
    fs::write(world.data().join("order-0.txt"), "what an intruder would like to have back").unwrap();
    forge(&world, "near", "0123456789ab", None);
    world.run(&["points"]).exits(1).says(UNSIGNED);
}

#[test]
fn where_two_keys_sign_for_a_machine_that_has_lost_its_state_all_is_taken_as_before_until_a_person_says_which()
 {
    let world = one_point();
    let first = world.points()[0].clone();
    let key = first["signed_by"].as_str().unwrap().to_owned();
    for away in ["mine", "another"] {
        fs::rename(world.path("state"), world.path(away)).unwrap();
        if away == "mine" {
            // Somebody with the vaults' passwords and a key of his own.
            world.run(&["backup"]);
        }
    }
    // Whoever has lost all is not kept from it, and is told.
    assert_ne!(choice(&world), first["id"], "the newest");
    world.run(&["points"]).says("releve points --signer KEY");
    world.run(&["points", "--accept"]).exits(2).says("name the key");
    // Who names a point has chosen.
    let id = first["id"].as_str().unwrap();
    world.run(&["restore", "shop", "--point", id, "--to", "named"]).exits(0);
    world.run(&["points", "--signer", &key[..8]]).exits(2).says("too short");
    let letters: Vec<&str> = (0..4).map(|n| &key[4 * n..4 * n + 4]).collect();
    world.run(&["points", "--signer", &letters.join("-")]).says("signs for");
    assert_eq!(choice(&world), first["id"]);
    // As a page for the paper in the safe: no row is the continuation of another.
    let signers = world.run(&["state", "signers"]).exits(0);
    assert!(
        signers.out.contains("accepted by a person") && !signers.out.contains("    | "),
        "{}",
        signers.out
    );
}

#[test]
fn where_the_state_is_lost_the_key_beside_it_counts_from_the_first_verb_on() {
    let world = one_point();
    let genuine = world.points()[0]["id"].clone();
    fs::rename(world.path("state"), world.path("mine")).unwrap();
    // Somebody with the vaults' passwords and a key of his own, and restic.
    fs::write(world.data().join("order-0.txt"), "what an intruder would like to have back").unwrap();
    world.run(&["backup"]);
    fs::rename(world.path("state"), world.path("his")).unwrap();
    forge(&world, "near", "0123456789ab", None);
    forge(&world, "near", "ba9876543210", Some("2026-01-01 00:00:00"));
    let first: [&[&str]; 5] = [
        &["recover", "--dry-run"],
        &["points"],
        &["restore", "shop", "--to", "out"],
        &["state", "verify"],
        &["state", "rebuild", "--yes"],
    ];
    for verb in first {
        let _ = fs::remove_dir_all(world.path("state"));
        fs::create_dir(world.path("state")).unwrap();
        fs::copy(world.path("mine/signing.key"), world.path("state/signing.key")).unwrap();
        world.run(verb);
        assert_eq!(choice(&world), genuine, "{verb:?}");
        let points = world.points();
        let rating = |id: &str| points.iter().find(|point| point["id"] == id).unwrap()["rating"].clone();
        assert_eq!(rating("0123456789ab"), "unsigned", "{verb:?}");
        assert_ne!(rating("ba9876543210"), "unsigned", "what is from before its first is good: {verb:?}");
    }
    // Nor does it help that the state can't be opened at all.
    fs::write(world.path("state/state.db"), "junk, and no database at all").unwrap();
    assert_eq!(choice(&world), genuine);
    world.run(&["recover", "--dry-run"]).exits(0).says(STRANGE).says("0123");
}

#[test]
fn what_is_accepted_of_one_system_is_accepted_of_no_other() {
    let world = one_point();
    let data = world.data().display().to_string();
    let mail = format!(
        "[systems.mail]\nhost = \"server\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nowner = \"hugo\"\nsource.files = {{ paths = [{data:?}] }}"
    );
    world.write_plan(&world.vault("near"), &world.vault("far"), &mail);
    world.run(&["backup"]);
    let key = world.points()[0]["signed_by"].as_str().unwrap()[..16].to_owned();
    forge(&world, "near", "0123456789ab", None);
    let said = world.run(&["points", "mail", "--signer", &key, "--accept", "--yes"]);
    assert!(!said.err.contains("is taken for the company's own"), "{}", said.err);
    world.run(&["points", "shop"]).exits(1).says(UNSIGNED).says(STRANGE);
}

#[test]
fn a_key_is_learned_from_all_vaults_together_and_said_by_whichever_verb_learns_it() {
    let world = one_point();
    let genuine = files(&world.path("near").join("snapshots"));
    // Somebody with a vault's password and a key of his own leaves his point alone in it.
    fs::remove_dir_all(world.path("state")).unwrap();
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let his = plan.replace("vaults = [\"near\", \"far\"]", "vaults = [\"near\"]");
    fs::write(world.path("plan.toml"), his).unwrap();
    world.run(&["backup"]);
    genuine.iter().for_each(|snapshot| fs::remove_file(snapshot).unwrap());
    fs::remove_dir_all(world.path("state")).unwrap();
    fs::write(world.path("plan.toml"), plan).unwrap();
    let machines = |world: &World| {
        let signers = world.run(&["state", "signers", "--json"]).exits(0).json();
        signers["machines"].as_object().unwrap().len()
    };
    let verified = world.run(&["verify"]);
    assert!(!verified.err.contains(STRANGE), "{}", verified.err);
    assert_eq!(machines(&world), 0);
    world.run(&["points"]).says("releve points --signer KEY");
    // What doesn't answer was asked all the same.
    fs::remove_dir_all(world.path("state")).unwrap();
    fs::rename(world.path("far"), world.path("away")).unwrap();
    world.run(&["status"]).says("it counts from now on");
    assert_eq!(machines(&world), 1);
}

#[test]
fn points_from_before_there_were_signatures_stay_as_good_as_they_are() {
    let world = World::new();
    fs::write(world.data().join("order.txt"), "the first order\n".repeat(60)).unwrap();
    world.run(&["backup"]).exits(0);
    // What an older program made: as it is, without a signature.
    for snapshot in ["near", "far"].into_iter().flat_map(|vault| files(&world.path(vault).join("snapshots")))
    {
        fs::remove_file(snapshot).unwrap();
    }
    fs::remove_dir_all(world.path("state")).unwrap();
    forge(&world, "near", "0123456789ab", Some("2026-01-01 00:00:00"));
    assert_eq!(choice(&world), "0123456789ab");
    world.run(&["backup"]);
    world.run(&["prune", "near", "--yes"]);
    let points = world.points();
    assert!(points.iter().all(|point| point["rating"] != "unsigned"), "{points:?}");
    assert_eq!(points.len(), 2, "{points:?}");
}

#[test]
fn a_key_file_that_was_removed_and_is_put_back_is_told() {
    let world = one_point();
    world.run(&["points"]).exits(0);
    let new = world.path("new.key");
    fs::write(&new, "another horse, another battery, forty characters").unwrap();
    let new = new.display().to_string();
    world.run(&["key", "add", "--vault", "near", "--new-password-file", &new]).exits(0);
    world.run(&["points"]).exits(0);
    let keys = world.run(&["key", "list", "--vault", "near", "--json"]).json();
    let keys = keys["vaults"][0]["keys"].as_array().unwrap().clone();
    let key = keys.iter().find(|key| key["in_use"] == false).unwrap()["id"].as_str().unwrap().to_owned();
    let file = world.path("near").join("keys").join(&key);
    let copy = fs::read(&file).unwrap();
    world.run(&["key", "remove", &key, "--vault", "near", "--yes"]).exits(0);
    world.run(&["points"]).exits(0);
    fs::write(&file, copy).unwrap();
    world.run(&["points"]).exits(1).says("was removed and is there again").says("releve key remove");
    world.run(&["status"]).exits(1).says("was removed and is there again");
    world.run(&["points", "--accept", "--yes"]).exits(0).says("key file");
    world.run(&["status"]);
}

/// Puts other records in the place of a machine's, and says what `state verify` has to find.
type Edit = (&'static str, fn(&World, &rusqlite::Connection), &'static str);

#[test]
fn whatever_is_done_to_the_records_is_found_by_what_the_points_say() {
    let newest = |db: &rusqlite::Connection| -> i64 {
        db.query_row("select count(*) from kv where cast(key as text) like 'record/%'", [], |row| row.get(0))
            .unwrap()
    };
    let world = one_point();
    for _ in 0..2 {
        world.run(&["backup"]).exits(0);
    }
    world.run(&["state", "verify"]).exits(0).says("points in the vaults vouch for them");
    world.run(&["status"]);
    let state = world.path("state").join("state.db");
    let whole = fs::read(&state).unwrap();
    let edits: [Edit; 6] = [
        (
            "one was edited",
            |_, db| {
                run(
                    db,
                    "update kv set value = cast(replace(cast(value as text), 'shop', 'shoq') as blob) where cast(key as text) = 'record/000000000001'",
                );
            },
            "record 1",
        ),
        ("the tail was cut and the head set back", |_, db| cut_the_tail(db), "the newest were taken away"),
        (
            "so it was, and the note of this machine's key went with it",
            |_, db| {
                cut_the_tail(db);
                run(db, "delete from kv where cast(key as text) like 'signer/%'");
            },
            "was noted there with its first backup, and is not any more",
        ),
        (
            "the newest was taken away, and the note of which it is",
            |_, db| {
                run(
                    db,
                    "delete from kv where key = (select max(key) from kv where cast(key as text) like 'record/%')",
                );
                run(db, "delete from kv where cast(key as text) = 'head'");
            },
            "isn't noted any more",
        ),
        (
            "all were deleted",
            |_, db| {
                run(
                    db,
                    "delete from kv where cast(key as text) like 'record/%' or cast(key as text) = 'head'",
                );
            },
            "there are no records here",
        ),
        (
            "all were written anew",
            |world, db| {
                run(
                    db,
                    "delete from kv where cast(key as text) like 'record/%' or cast(key as text) = 'head'",
                );
                // A chain that fits, of other records.
                let state = state::State::open(&world.path("state")).unwrap();
                for n in 1..=3i64 {
                    let made = state::Made { system: format!("other{n}"), ..state::Made::default() };
                    state
                        .append(state::Body::Backup(made), jiff::Timestamp::from_second(n).unwrap())
                        .unwrap();
                }
            },
            "the records were written anew",
        ),
    ];
    for (what, edit, found) in edits {
        let db = rusqlite::Connection::open(&state).unwrap();
        assert!(newest(&db) >= 3, "{what}");
        edit(&world, &db);
        drop(db);
        let run = world.run(&["state", "verify"]);
        assert_ne!(run.code, 0, "{what}: {}", run.out);
        run.says(found);
        let status = world.run(&["status"]);
        assert_eq!(status.code, 1, "{what}: {}\n{}", status.out, status.err);
        status.says("!! the records of this machine").says(found);
        fs::write(&state, &whole).unwrap();
        for companion in ["state.db-wal", "state.db-shm"] {
            let _ = fs::remove_file(world.path("state").join(companion));
        }
    }
    world.run(&["state", "verify"]).exits(0);
    // Nor does it help to take the key away too: the records that are left tell what it has signed.
    fs::rename(world.path("state").join("signing.key"), world.path("taken")).unwrap();
    let db = rusqlite::Connection::open(&state).unwrap();
    cut_the_tail(&db);
    run(&db, "delete from kv where cast(key as text) like 'signer/%'");
    drop(db);
    let verify = world.run(&["state", "verify"]).exits(1).says("the newest were taken away");
    verify.says("neither that key nor the note of it is here any more");
    fs::rename(world.path("taken"), world.path("state").join("signing.key")).unwrap();
    fs::write(&state, &whole).unwrap();
    for companion in ["state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(world.path("state").join(companion));
    }
    // An older copy of the file is put back.
    world.run(&["backup"]).exits(0);
    world.run(&["backup"]).exits(0);
    fs::write(&state, &whole).unwrap();
    world.run(&["state", "verify"]).exits(1).says("an older state was put back");
    // A person knows of it: what is there is kept, and what was lost is said.
    world.run(&["state", "rebuild", "--yes"]).says("records");
    world.run(&["state", "verify"]).exits(0).says("name records that were lost then");
}

/// Leaves the first record alone, as if there had never been another.
fn cut_the_tail(db: &rusqlite::Connection) {
    run(
        db,
        "delete from kv where cast(key as text) like 'record/%' and cast(key as text) > 'record/000000000001'",
    );
    let first: Vec<u8> = db
        .query_row("select value from kv where cast(key as text) = 'record/000000000001'", [], |row| {
            row.get(0)
        })
        .unwrap();
    let first: Value = serde_json::from_slice(&first).unwrap();
    let head = serde_json::to_vec(&(1, &first["hash"])).unwrap();
    db.execute("update kv set value = ?1 where cast(key as text) = 'head'", [head]).unwrap();
}

#[test]
fn records_of_a_newer_program_are_counted_and_keep_no_verb_from_its_work() {
    let world = one_point();
    let store = state::Sqlite::open(&world.path("state")).unwrap();
    let head = store.get("head").unwrap().unwrap().value;
    let (number, previous): (u64, String) = serde_json::from_slice(&head).unwrap();
    let number = number + 1;
    let body = r#"{"kind":"incident","incident":"1","by":"hugo","at":null,"entry":{"entry":"drill"}}"#;
    let content =
        format!(r#"{{"number":{number},"time":"2026-11-23T12:00:00Z","body":{body},"previous":"{previous}""#);
    let hash = vault::FileId::of(content.as_bytes()).to_string();
    let head = serde_json::to_vec(&(number, &hash)).unwrap();
    let record = format!(r#"{content},"hash":"{hash}"}}"#).into_bytes();
    store.put_all(&[(format!("record/{number:012}"), record), ("head".to_owned(), head)]).unwrap();
    drop(store);
    for verb in ["points", "backup", "alerts"] {
        world.run(&[verb]).exits(0);
    }
    world.run(&["incident", "list"]).exits(0);
    world.run(&["state", "verify"]).exits(0).says("1 records of a newer program");
    assert_eq!(world.run(&["state", "verify", "--json"]).json()["newer"], 1);
}

#[test]
fn a_machine_that_has_lost_its_state_is_told_to_make_it_anew_and_accuses_nobody() {
    let world = one_point();
    world.run(&["backup"]).exits(0);
    fs::remove_dir_all(world.path("state")).unwrap();
    let new = "this machine is new, or has lost its state";
    for _ in 0..2 {
        let verify = world.run(&["state", "verify"]).exits(1).says(new).says("releve state rebuild");
        assert!(!verify.out.contains("NOT what this machine wrote"), "{}", verify.out);
        world.run(&["status"]).exits(1).says(new).says("releve state rebuild");
        world.run(&["alerts"]).exits(1).says(new);
        // A point of its new life vouches for no record of the old one.
        world.run(&["backup"]);
    }
    world.run(&["state", "rebuild", "--yes"]).says("rebuilt from");
    world.run(&["state", "verify"]).exits(0);
    let alerts = world.run(&["alerts"]);
    assert!(!alerts.out.contains(new), "{}", alerts.out);
}

#[test]
fn a_new_key_in_the_place_of_a_lost_one_is_said_by_whoever_makes_it_and_an_alert_until_a_person_has_seen_it()
{
    let world = one_point();
    let old = vault::fingerprint(world.points()[0]["signed_by"].as_str().unwrap());
    world.run(&["state", "signers"]).exits(0).says(&old).says("which signs here");
    world.run(&["alerts", "--dismiss", "signing"]).exits(64).says("there is no alert to dismiss");
    fs::remove_dir_all(world.path("state")).unwrap();
    world.run(&["state", "rebuild", "--yes"]).exits(0).says("no key signs here any more").says(&old);
    world.run(&["state", "signers"]).exits(0).says("no key signs here yet");
    let made = world.run(&["backup"]).says("a new key signs from now on").says(&old);
    assert!(made.err.contains("releve state signers") || made.out.contains("releve state signers"));
    let alert = "A new key signs the points of";
    for verb in ["alerts", "status"] {
        world.run(&[verb]).exits(1).says(alert).says(&old).says("releve alerts --dismiss signing");
    }
    let key = world.run(&["state", "signers", "--json"]).exits(0).json()["signs_here"].clone();
    assert_ne!(vault::fingerprint(key.as_str().unwrap()), old);
    // Said once, and no backup afterwards ends it.
    let again = world.run(&["backup"]);
    assert!(!again.err.contains("a new key signs from now on:"), "{}", again.err);
    let seen = world.run(&["alerts", "--dismiss", "signing"]).says("is seen");
    assert!(!seen.out.contains(alert), "{}", seen.out);
    assert!(!world.run(&["alerts"]).out.contains(alert));
}

fn run(db: &rusqlite::Connection, sql: &str) {
    assert!(db.execute(sql, []).unwrap() > 0, "{sql}");
}

/// Returns the snapshots of logs in a vault.
fn logs_in(world: &World, vault: &str) -> Vec<PathBuf> {
    let folder = world.path(vault).join("snapshots");
    let store = vault::store::in_folder(&world.path(vault));
    let vault = Repository::open(store, &Password::new(PASSWORD.as_bytes().to_vec())).unwrap();
    let (snapshots, _) = vault.snapshots().unwrap();
    let logs = snapshots.iter().filter(|(_, snapshot)| snapshot.tag("system") == Some("shop/log"));
    logs.map(|(file, _)| folder.join(file.to_string())).collect()
}

/// Puts a log of `shop` into a vault as somebody can who has its password: the newest there is, with this segment more, of a machine `host`, signed with `key` if that
/// is his. Returns where it lies.
fn forge_log(world: &World, name: &str, segment: &Path, (host, key): (&str, Option<&SigningKey>)) -> PathBuf {
    let before = logs_in(world, name);
    let store = vault::store::in_folder(&world.path(name));
    let vault = Repository::open(store, &Password::new(PASSWORD.as_bytes().to_vec())).unwrap();
    vault.load_index().unwrap();
    let vault = Arc::new(vault);
    let (snapshots, _) = vault.snapshots().unwrap();
    let is_log = |snapshot: &Snapshot| snapshot.tag("system") == Some("shop/log");
    let newest = &snapshots.iter().rev().find(|(_, snapshot)| is_log(snapshot)).unwrap().1;
    let (now, mut log) = (jiff::Timestamp::now(), newest.releve.clone().unwrap().log.unwrap());
    log.until = Some(now);
    let beside = files_of(&vault, &newest.tree).unwrap().into_keys().next().unwrap();
    let path = beside.with_file_name(segment.file_name().unwrap());
    let options = BackupOptions {
        point: vault::new_point_id().unwrap(),
        system: "shop/log".into(),
        source: "log".into(),
        time: now,
        paths: vec!["/shop/log".into()],
        excludes: Vec::new(),
        holder: Holder { hostname: host.to_owned(), username: "root".into() },
        parent: None,
        threads: 0,
        doubts: Vec::new(),
    };
    let sign = |snapshot: &mut Snapshot| key.iter().for_each(|key| key.sign(snapshot, None));
    let added = [Addition { path, file: segment.to_owned(), open: None }];
    let (vaults, said) = (std::slice::from_ref(&vault), (log, &sign as &dyn Fn(&mut Snapshot)));
    append(vaults, Some(newest), &|_| true, &added, &options, said, &Progress::default()).unwrap();
    logs_in(world, name).into_iter().find(|log| !before.contains(log)).unwrap()
}

/// Shows what is told of forged logs where the state was lost, and puts everything back as it was.
fn where_the_state_is_lost(world: &World, segment: &Path) {
    fs::rename(world.path("state"), world.path("state.kept")).unwrap();
    // One that says it is of a machine that nobody knows is told by a verb that looks at one vault alone as well.
    let foreign = SigningKey::from_seed(&"8".repeat(64)).unwrap();
    let forged = forge_log(world, "near", segment, ("evil", Some(&foreign)));
    for verb in ["points", "verify"] {
        world.run(&[verb]).exits(1).says(STRANGE).says("comes from another machine, `evil`");
    }
    fs::remove_file(forged).unwrap();
    fs::remove_dir_all(world.path("state")).unwrap();
    // Leaving the signature off is no way in: the points say that the log is signed, also where a forged one is the only one left.
    let mut genuine: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for vault in ["near", "far"] {
        let before = logs_in(world, vault);
        forge_log(world, vault, segment, (&hostname(), None));
        for log in before {
            genuine.push((log.clone(), fs::read(&log).unwrap()));
            fs::remove_file(log).unwrap();
        }
    }
    world.run(&["points"]).exits(1).says(STRANGE).says("is not signed, and its machine signs its logs");
    world.run(&["verify"]).exits(1).says(STRANGE);
    world.run(&["status"]).says(STRANGE);
    world.run(&["recover", "--dry-run"]).says(STRANGE);
    for vault in ["near", "far"] {
        logs_in(world, vault).into_iter().for_each(|log| fs::remove_file(log).unwrap());
    }
    genuine.into_iter().for_each(|(log, bytes)| fs::write(log, bytes).unwrap());
    fs::remove_dir_all(world.path("state")).unwrap();
    fs::rename(world.path("state.kept"), world.path("state")).unwrap();
}

#[test]
fn a_forged_log_beside_a_genuine_point_is_told_by_every_verb_and_replayed_by_none() {
    let (cluster, world) = protected("archive_mode = on", ", wal = \"archive\"", "1 hour");
    let hand_over = |number: u32| {
        cluster.tell(&format!("insert into t values ({number})"));
        cluster.data().join("pg_wal").join(cluster.ask("select pg_walfile_name(pg_switch_wal())"))
    };
    let push = |segment: &Path| world.run(&["wal", "push", "shop", &segment.display().to_string()]);
    let keep = |vault: &str, of: &str| {
        let kept = world.path(&format!("{vault}-{of}"));
        fs::create_dir(&kept).unwrap();
        for file in files(&world.path(vault).join("snapshots")) {
            fs::copy(&file, kept.join(file.file_name().unwrap())).unwrap();
        }
    };
    ["near", "far"].iter().for_each(|vault| keep(vault, "without"));
    push(&hand_over(1)).exits(0);
    ["near", "far"].iter().for_each(|vault| keep(vault, "older"));
    push(&hand_over(2)).exits(0);
    world.run(&["points"]).exits(0);
    world.run(&["state", "verify"]).exits(0);
    // What is in it the server really wrote, so that a recovery would take it.
    let wrote = hand_over(666);
    let segment = world.path("his").join(wrote.file_name().unwrap());
    fs::create_dir(world.path("his")).unwrap();
    fs::copy(&wrote, &segment).unwrap();
    where_the_state_is_lost(&world, &segment);
    world.run(&["points"]).exits(0);
    let unsigned = "is not signed, and its machine signs its logs";
    let foreign = SigningKey::from_seed(&"7".repeat(64)).unwrap();
    for key in [None, Some(&foreign)] {
        forge_log(&world, "near", &segment, (&hostname(), key));
    }
    let table: [(&[&str], &[&str]); 6] = [
        (&["points"], &[unsigned, "which this machine doesn't know", STRANGE, "shop/log"]),
        (&["status"], &[STRANGE, "The vault near holds something that nobody known has put there"]),
        (&["alerts"], &["The vault near holds something that nobody known has put there"]),
        (&["verify"], &[STRANGE]),
        (&["prune", "near", "--dry-run"], &[STRANGE]),
        (&["recover", "--dry-run"], &[STRANGE]),
    ];
    for (verb, told) in table {
        let mut run = world.run(verb);
        assert!(verb.len() > 1 || run.code == 1, "{verb:?}: {}\n{}", run.out, run.err);
        for text in told {
            run = run.says(text);
        }
    }
    let name = segment.file_name().unwrap().to_str().unwrap();
    let fetched = world.path("fetched").display().to_string();
    let fetch = || world.run(&["wal", "fetch", "shop", name, &fetched]);
    fetch().exits(1);
    cluster.destroy();
    // The newest log deleted, or one put back that this machine has signed long ago: what was committed since would be lost without a word.
    for (of, left) in [("older", "what is left of it ends at"), ("without", "nothing is left of it")] {
        for vault in ["near", "far"] {
            let (there, now) = (world.path(vault).join("snapshots"), world.path(&format!("{vault}-now")));
            fs::rename(&there, &now).unwrap();
            fs::rename(world.path(&format!("{vault}-{of}")), &there).unwrap();
        }
        let known = "the log of shop was known up to ";
        world.run(&["recover", "--dry-run"]).exits(1).says(known).says(left);
        world.run(&["restore", "shop", "--to", "out", "--dry-run"]).says(known);
        for vault in ["near", "far"] {
            let there = world.path(vault).join("snapshots");
            fs::remove_dir_all(&there).unwrap();
            fs::rename(world.path(&format!("{vault}-now")), &there).unwrap();
        }
    }
    world.run(&["recover", "--yes"]).exits(0).says(STRANGE);
    assert_eq!(numbers(&cluster), "1,2");
    // Who knows better says so.
    world.run(&["points", "--accept", "--yes"]).says("of shop/log is taken for the company's own");
    fetch().exits(0);
    let points = world.run(&["points"]);
    assert!(!points.err.contains(STRANGE), "{}", points.err);
}
