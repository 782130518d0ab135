//! What becomes of points and vaults over time, from outside: prune, repair, holds.

use crate::judged::noise;
use crate::world::{World, files};
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A world whose plan keeps the last two points, and in which four were made.
fn four_points(more: &str) -> World {
    let world = World::new();
    let more = format!("policy.keep = {{ last = 2 }}\n{more}");
    world.write_plan(&world.vault("near"), &world.vault("far"), &more);
    for day in 0..4 {
        fs::write(world.data().join("changes"), format!("of day {day}").repeat(1000)).unwrap();
        world.run(&["backup"]).exits(0);
    }
    world
}

fn ids(world: &World) -> Vec<String> {
    world.points().iter().map(|point| point["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_no_rule_keeps_is_shown_first_and_goes_when_someone_says_so() {
    let world = four_points("");
    let all = ids(&world);
    let shown = world.run(&["prune", "--dry-run"]).exits(0);
    let shown = shown.says("near: 2 points stay, 2 would go").says("no rule keeps it").says(&all[0][..8]);
    shown.says("last, the newest").says("no longer needed by anything");
    assert_eq!(ids(&world), all, "a look changes nothing");
    world.run(&["prune"]).exits(2).says("nobody is there to say yes");
    assert_eq!(ids(&world), all);
    world
        .run(&["prune", "--yes"])
        .exits(0)
        .says("near: 2 points taken out")
        .says("removed by a prune after 3 days");
    assert_eq!(ids(&world), all[2..]);
    world.restores_whole("out");
    for vault in ["near", "far"] {
        assert!(world.restic(vault).run(&["check", "--read-data"]).success);
    }
    let again = world.run(&["prune", "--yes", "--json"]).exits(0).json();
    assert!(again["vaults"][0]["plan"]["wait"]["packs"].as_u64().unwrap() > 0, "{again}");
    assert!(again["vaults"][0]["done"].is_null() && again["vaults"][0]["failure"].is_null(), "{again}");
    world.run(&["state", "verify"]).exits(0);
}

#[test]
fn what_somebody_mistypes_is_told_to_him_and_to_nobody_else() {
    let world = four_points("");
    world.run(&["prune", "near", "--yes", "--forget", "0123abcd"]).exits(2).says("0 points of the plan's");
    world.run(&["prune", "near", "--yes", "--trust", "0123abcd"]).exits(2).says("0 points are called");
    world.run(&["prune", "near"]).exits(2).says("nobody is there to say yes");
    let told = world.run(&["status", "--json"]).json()["prune_failures"].clone();
    assert!(told.as_object().unwrap().is_empty(), "{told}");
    assert!(!world.run(&["alerts"]).out.contains("could not be pruned"));
}

#[test]
fn without_keep_nothing_goes() {
    let world = World::new();
    fs::write(world.data().join("file"), "content").unwrap();
    for _ in 0..2 {
        world.run(&["backup"]).exits(0);
    }
    world.run(&["prune", "--yes"]).exits(0).says("2 points stay, 0 go");
    assert_eq!(ids(&world).len(), 2);
}

#[test]
fn a_point_that_vanished_stops_the_prune_until_a_person_has_looked() {
    let world = four_points("");
    let hidden = files(&world.path("near/snapshots")).remove(0);
    fs::remove_file(hidden).unwrap();
    let before = files(&world.path("near/data")).len();
    let stopped = world.run(&["prune", "near", "--yes"]).exits(2);
    stopped.says("1 point that was here is not listed any more").says("--accept-missing");
    assert_eq!(files(&world.path("near/snapshots")).len(), 3);
    assert_eq!(files(&world.path("near/data")).len(), before);
    // Also where nothing is to be removed: it is one word for all that is missed.
    let asked = world.run(&["prune", "near", "--accept-missing"]).exits(2).says("nobody is there to say yes");
    assert!(!asked.err.contains("are missed no more"), "nobody has said yes: {}", asked.err);
    asked.says("they would be missed no more");
    world.run(&["prune", "near", "--yes"]).exits(2).says("is not listed any more");
    world.run(&["prune", "near", "--yes", "--accept-missing"]).exits(0).says("they are missed no more");
    world.restores_whole("out");
}

#[test]
fn on_hold_nothing_is_removed_from_any_vault() {
    let world = four_points("");
    world.run(&["prune", "--hold", "under investigation"]).exits(0);
    world.run(&["prune", "--yes"]).exits(2).says("under investigation").says("releve prune --release");
    world.run(&["prune", "--dry-run"]).exits(0).says("2 would go");
    assert_eq!(ids(&world).len(), 4);
    world.run(&["prune", "--yes", "--release"]).exits(0);
    assert_eq!(ids(&world).len(), 2);
}

#[test]
fn what_a_failed_recovery_holds_is_seen_everywhere_and_ends_with_one_that_brings_its_system_back() {
    let world = four_points("check = [{ command = [\"false\"] }]\n");
    let held = "removals are on hold since";
    world.run(&["recover", "--yes"]).exits(2).says("until its systems are back");
    world.run(&["status"]).says(held).says("until shop is back (releve recover), or releve prune --release");
    world.run(&["alerts"]).says(held);
    world.run(&["prune", "--dry-run"]).exits(0).says(held).says("2 would go");
    world
        .run(&["prune", "--yes"])
        .exits(2)
        .says(held)
        .says("a recovery is under way, or has failed: of shop");
    let json = world.run(&["status", "--json"]).json();
    assert_eq!(json["removals_held"][0]["systems"][0], "shop");
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    fs::write(world.path("plan.toml"), plan.replace("[\"false\"]", "[\"true\"]")).unwrap();
    world.run(&["prune", "--hold", "under investigation"]).exits(0);
    world.run(&["recover", "--yes"]).exits(0);
    // What a person holds stays, and one word of his ends it, with nobody there to answer anything.
    let json = world.run(&["status", "--json"]).json();
    assert_eq!(json["removals_held"].as_array().unwrap().len(), 1);
    world.run(&["prune"]).exits(2).says("under investigation");
    world.run(&["prune", "--release"]).exits(0).says("removals are free again");
    assert_eq!(ids(&world).len(), 4);
    world.run(&["prune", "--yes"]).exits(0);
    assert_eq!(ids(&world).len(), 2);
}

#[test]
fn after_an_attack_removals_are_on_hold_until_a_person_releases_them() {
    let attack = "[scenarios.attack]\ncause = \"cyberattack\"\nrestore_point = \"latest\"\n\
                  [scenarios.disk]\ncause = \"hardware failure\"\nrestore_point = \"latest\"\n";
    let world = four_points(attack);
    world.run(&["recover", "--scenario", "disk", "--yes"]).exits(0);
    world.run(&["prune", "near", "--yes"]).exits(0);
    world.run(&["recover", "--scenario", "attack", "--yes"]).exits(0).says("releve prune --release");
    world.run(&["prune", "--yes"]).exits(2).says("a recovery is under way");
}

#[test]
fn what_looks_like_an_attack_pushes_nothing_out_until_a_person_trusts_it() {
    let world = World::new();
    world.write_plan(&world.vault("near"), &world.vault("far"), "policy.keep = { last = 1 }\n");
    let write = |content: &dyn Fn(u64) -> Vec<u8>| {
        for n in 0..30 {
            fs::write(world.data().join(format!("file-{n}")), content(n)).unwrap();
        }
    };
    write(&|n| format!("good {n}\n").repeat(300).into_bytes());
    world.run(&["backup"]).exits(0);
    write(&noise);
    world.run(&["backup"]).exits(1);
    let shown = world.run(&["prune", "--yes"]).exits(0).says("suspicious: shop point");
    shown.says("became noise since the last good point").says("2 points stay, 0 go");
    let all = ids(&world);
    world.run(&["prune", "--yes", "--trust", &all[1]]).exits(0).says("near: 1 point taken out");
    assert_eq!(ids(&world), all[1..]);
}

#[test]
fn a_point_can_be_named_to_go_but_never_the_newest_complete_one() {
    let world = four_points("");
    let all = ids(&world);
    world.run(&["prune", "--yes", "--forget", &all[3]]).exits(2).says("is the newest complete one");
    world.run(&["prune", "--yes", "--forget", "nothing"]).exits(2).says("0 points");
    world.run(&["prune", "--yes", "--forget", &all[2]]).exits(0);
    assert_eq!(ids(&world), all[3..]);
}

#[test]
fn the_last_point_with_a_path_that_left_the_plan_stays_until_a_person_names_it() {
    let world = World::new();
    let old = world.path("old");
    fs::create_dir(&old).unwrap();
    fs::write(old.join("letters"), "of ten years").unwrap();
    let with = |paths: &str| {
        let source = format!("files = {{ paths = [{paths}] }}");
        let keep = "policy.keep = { last = 1 }";
        world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, keep);
    };
    with(&format!("{:?}, {old:?}", world.data()));
    for day in 0..4 {
        if day == 2 {
            with(&format!("{:?}", world.data()));
        }
        fs::write(world.data().join("changes"), format!("of day {day}").repeat(1000)).unwrap();
        // That it is captured no more is said once.
        world.run(&["backup"]).exits(i32::from(day == 2));
    }
    let all = ids(&world);
    let said = format!("is the last with {}, which no point has", old.display());
    world.run(&["prune", "--yes"]).exits(0).says(&said).says("2 points taken out");
    assert_eq!(ids(&world), [all[1].clone(), all[3].clone()]);
    world.run(&["prune", "--yes", "--forget", &all[1][..8]]).exits(0);
    assert_eq!(ids(&world), all[3..]);
    assert!(!world.run(&["prune", "--yes"]).exits(0).err.contains("is the last with"));
}

#[test]
fn the_agent_prunes_where_the_plan_says_so_and_only_on_that_host() {
    let world = four_points("");
    let plan = |prune: &str| {
        let text = fs::read_to_string(world.path("plan.toml")).unwrap();
        let more = format!("[policy]\nprune = {{ every = \"1 day\"{prune} }}");
        let text = if text.contains("prune =") {
            let line = text.lines().find(|line| line.starts_with("prune =")).unwrap().to_owned();
            text.replace(&line, more.strip_prefix("[policy]\n").unwrap())
        } else {
            text.replace("[policy]", &more)
        };
        fs::write(world.path("plan.toml"), text).unwrap();
    };
    plan(", host = \"other\"");
    let text = fs::read_to_string(world.path("plan.toml")).unwrap();
    fs::write(
        world.path("plan.toml"),
        text.replace("[sites.here]", "[hosts.other]\nsite = \"here\"\n[sites.here]"),
    )
    .unwrap();
    world.run(&["agent", "--once"]).exits(0);
    assert_eq!(ids(&world).len(), 4);
    plan("");
    world.run(&["agent", "--once"]).exits(0).says("2 points taken out");
    assert_eq!(ids(&world).len(), 2);
    let again = world.run(&["agent", "--once"]).exits(0);
    assert!(!again.err.contains("points stay"), "it is not due again: {}", again.err);
}

#[test]
fn a_damaged_vault_is_healed_from_the_other() {
    let world = four_points("");
    let pack = files(&world.path("near/data")).remove(0);
    let mut bytes = fs::read(&pack).unwrap();
    bytes[30] ^= 1;
    fs::write(&pack, bytes).unwrap();
    fs::remove_file(files(&world.path("near/index")).remove(0)).unwrap();
    world.run(&["verify", "near", "--read-data", "all"]).exits(1).says("releve repair");
    let shown = world.run(&["repair", "near", "--dry-run"]).exits(1).says("near: DAMAGED");
    shown.says("packs that no index names would be taken into the index");
    world.run(&["repair", "near"]).exits(2).says("nobody is there to say yes");
    let done = world.run(&["repair", "near", "--yes", "--json"]).exits(0).json();
    assert!(done["vaults"][0]["done"]["healed"].as_u64().unwrap() > 0, "{done}");
    world.run(&["verify", "near", "--read-data", "all"]).exits(0);
    world.run(&["repair"]).exits(0).says("near: nothing to repair").says("far: nothing to repair");
    assert!(world.restic("near").run(&["check", "--read-data"]).success);
}

#[test]
fn damage_that_is_known_counts_in_every_verification_until_it_is_mended_or_all_is_read() {
    let world = four_points("");
    // Of pieces of files a verification that reads nothing sees none.
    fs::write(world.data().join("much"), testkit::Random::new(7).bytes(3_000_000)).unwrap();
    world.run(&["backup"]).exits(0);
    let packs = files(&world.path("near/data")).into_iter();
    let pack = packs.max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let sound = fs::read(&pack).unwrap();
    let mut turned = sound.clone();
    turned[200] ^= 1;
    fs::write(&pack, turned).unwrap();
    world.run(&["verify", "near", "--read-data", "all"]).exits(1).says("near: DAMAGED");
    // To read nothing, or a part, proves nothing of the rest.
    let plain = world.run(&["verify", "near"]).exits(1);
    let plain =
        plain.says("near: KNOWN TO BE DAMAGED").says("mended by nobody since").says("releve repair near");
    assert!(!format!("{}{}", plain.out, plain.err).contains("5 of 5"), "{}{}", plain.out, plain.err);
    for _ in 0..3 {
        world.run(&["verify", "near", "--read-data", "10%"]).exits(1).says("DAMAGED");
    }
    let found = world.run(&["verify", "--json"]).exits(1).json();
    let vaults = found["vaults"].as_array().unwrap();
    let of = |name: &str| vaults.iter().find(|vault| vault["vault"] == name).unwrap();
    let (near, far) = (of("near"), of("far"));
    assert!(near["known_damage"]["what"].is_string() && far["known_damage"].is_null(), "{found}");
    assert!(!near["known_unsound"].as_array().unwrap().is_empty(), "{found}");
    // Somebody has put it right by hand: whoever reads all of it sees that.
    fs::write(&pack, sound).unwrap();
    world.run(&["verify", "near"]).exits(1);
    world.run(&["verify", "near", "--read-data", "all"]).exits(0).says("5 of 5");
    world.run(&["verify", "near"]).exits(0).says("near: sound: 5 of 5");
}

#[test]
fn nothing_is_drawn_over_a_question() {
    let world = four_points("");
    let prune = world.command(&["prune", "near"]);
    let words = std::iter::once(prune.get_program()).chain(prune.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &words.join(" "), "/dev/null"]).current_dir(world.path(""));
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut terminal = terminal.spawn().unwrap();
    let mut out = terminal.stdout.take().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let reads = std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = out.read(&mut piece) {
            let _ = tell.send(piece[..read].to_vec());
        }
    });
    // What comes in three quarters of a second after the question is drawn over it.
    let (mut said, mut left) = (Vec::new(), Duration::from_secs(60));
    while let Ok(more) = told.recv_timeout(left) {
        said.extend(more);
        if String::from_utf8_lossy(&said).contains("Prune near?") {
            left = Duration::from_millis(750);
        }
    }
    terminal.stdin.take().unwrap().write_all(b"n\n").unwrap();
    assert!(terminal.wait().is_ok());
    reads.join().unwrap();
    let said = String::from_utf8_lossy(&said);
    assert!(said.ends_with("Prune near? [y/N] "), "{said:?}");
    assert_eq!(ids(&world).len(), 4);
}

#[test]
fn what_is_known_of_damage_ends_with_what_was_damaged() {
    let world = four_points("");
    fs::write(world.data().join("much"), testkit::Random::new(7).bytes(3_000_000)).unwrap();
    world.run(&["backup"]).exits(0);
    let largest = || {
        let packs = files(&world.path("near/data")).into_iter();
        packs.max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap()
    };
    let spoil = || {
        let pack = largest();
        let sound = fs::read(&pack).unwrap();
        let mut turned = sound.clone();
        turned[200] ^= 1;
        fs::write(&pack, turned).unwrap();
        world.run(&["verify", "near", "--read-data", "all"]).exits(1).says("near: DAMAGED");
        (pack, sound)
    };
    let is_over = || {
        world.run(&["verify", "near"]).exits(0).says("near: sound");
        assert!(!world.run(&["status"]).out.contains("DAMAGED"));
        assert!(!world.run(&["alerts"]).out.contains("damaged/near"));
    };
    // Put right by hand, and read in parts.
    let (pack, sound) = spoil();
    fs::write(&pack, sound).unwrap();
    for _ in 0..2 {
        world.run(&["verify", "near", "--read-data", "50%"]);
    }
    is_over();
    // A repair reads all, and finds nothing.
    let (pack, sound) = spoil();
    fs::write(&pack, sound).unwrap();
    world.run(&["verify", "near"]).exits(1).says("KNOWN TO BE DAMAGED");
    world.run(&["repair", "near", "--yes"]).exits(0).says("nothing to repair");
    is_over();
    // Pruned away, with the point that needed it.
    let (pack, _) = spoil();
    fs::remove_file(world.data().join("much")).unwrap();
    for n in 0..2 {
        fs::write(world.data().join("changes"), format!("later {n}").repeat(1000)).unwrap();
        world.run(&["backup"]);
    }
    world.run(&["prune", "near", "--now", "--yes"]);
    assert!(!pack.exists());
    is_over();
    // On another disk.
    spoil();
    fs::remove_dir_all(world.path("near")).unwrap();
    world.run(&["state", "forget-vault", "near"]).exits(0);
    world.run(&["sync"]).exits(0);
    is_over();
}

#[test]
fn what_the_agents_scrub_finds_is_healed_at_once() {
    let world = four_points("");
    let text = fs::read_to_string(world.path("plan.toml")).unwrap();
    let verify = "[policy]\nverify = { every = \"1 day\", read_data = \"all\" }";
    fs::write(world.path("plan.toml"), text.replace("[policy]", verify)).unwrap();
    let pack = files(&world.path("far/data")).remove(0);
    let mut bytes = fs::read(&pack).unwrap();
    bytes[30] ^= 1;
    fs::write(&pack, bytes).unwrap();
    for _ in 0..2 {
        world.run(&["repair", "far"]).exits(2).says("nobody is there to say yes");
    }
    world.run(&["agent", "--once"]).exits(1).says("far: DAMAGED").says("blobs written anew");
    world.run(&["verify", "far", "--read-data", "all"]).exits(0);
    // However often the same one was found.
    world.run(&["status"]).says("vault far: 1 damaged packs");
}

#[test]
fn what_is_beyond_repair_is_named_file_by_file() {
    let world = four_points("");
    fs::write(world.data().join("lost"), testkit::Random::new(5).bytes(300_000)).unwrap();
    world.run(&["backup"]).exits(0);
    for vault in ["near", "far"] {
        let packs = files(&world.path(&format!("{vault}/data")));
        packs
            .iter()
            .filter(|pack| fs::metadata(pack).unwrap().len() > 200_000)
            .for_each(|pack| fs::remove_file(pack).unwrap());
    }
    let told = world.run(&["repair", "--yes"]).exits(1);
    told.says("BEYOND REPAIR").says("data/lost of the point of").says("releve backup");
    // The file is still there: touched, so that it is read again, the next point stores it.
    fs::write(world.data().join("lost"), testkit::Random::new(5).bytes(300_000)).unwrap();
    world.run(&["backup"]).exits(0);
    world.run(&["repair"]).exits(0).says("nothing to repair");
    world.restores_whole("out");
}
