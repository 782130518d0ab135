//! Incidents, from outside: declared, joined, killed in between, told, recovered within, closed.

use crate::notify::{relays, token, world as notifying};
use crate::world::{Run, World};
use serde_json::{Value, json};
use std::process::{Child, Stdio};
use std::time::Duration;
use testkit::{MailServer, Manner, wait_until};

/// A world whose plan has a scenario that asks people for something.
fn world() -> World {
    let world = World::new();
    std::fs::write(world.data().join("page"), "page").unwrap();
    write_plan(&world, "");
    world
}

fn write_plan(world: &World, system: &str) {
    let check = format!("check = [{{ file = {:?} }}]", world.data().join("page"));
    let more = format!("deputy = \"claire\"\n{check}\n{system}\n{SCENARIO}");
    world.write_plan(&world.vault("near"), &world.vault("far"), &more);
}

const SCENARIO: &str = "[scenarios.attack]\ncause = \"cyberattack\"\nrestore_point = \"latest\"\nisolate = [\"server\"]\n\
    before = [{ ask = \"Call the provider\", who = \"claire\", within = \"10 minutes\" }]\n\
    after = [{ ask = \"Tell the customers\", who = \"hugo\" }]\n";

fn incident(world: &World) -> Value {
    world.run(&["incident", "show", "1", "--json"]).exits(0).json()["incidents"][0].clone()
}

fn kinds(incident: &Value) -> Vec<&str> {
    incident["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["what"]["kind"].as_str().unwrap())
        .collect()
}

fn steps(incident: &Value) -> Vec<(String, String)> {
    let lines = incident["timeline"].as_array().unwrap().iter();
    let steps = lines.filter(|line| line["what"]["kind"] == "step").map(|line| &line["what"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    steps.map(|step| (text(&step["what"]), text(&step["is"]))).collect()
}

fn json_of(run: Run, code: i32) -> Value {
    run.exits(code).json()
}

#[test]
fn an_incident_is_declared_worked_on_and_closed_with_a_report() {
    let world = world();
    world.run(&["backup"]).exits(0);
    let opened = world.run(&[
        "incident",
        "open",
        "--scenario",
        "attack",
        "--seen",
        "files are .locked",
        "--by",
        "hugo",
    ]);
    let opened = opened.exits(0).says("incident 1 is open: shop").says("nobody is told by this");
    let opened = opened.says("never recovered, never rehearsed").says("would lose ");
    opened.says("next: releve recover --scenario attack --dry-run");

    world.run(&["incident", "log", "the provider is closed", "--at", "2026-01-02T03:04+01:00"]).exits(0);
    world
        .run(&[
            "incident",
            "decide",
            "stay offline",
            "--because",
            "nobody knows the way in",
            "--by",
            "claire",
        ])
        .exits(0);
    world.run(&["incident", "assign", "2", "hugo", "--by", "claire"]).exits(0).says("action 2: now hugo");
    world.run(&["incident", "assign", "lead", "claire"]).exits(0);
    let added = json_of(
        world.run(&["incident", "add", "Buy a disk", "--who", "hugo", "--within", "2h", "--json"]),
        0,
    );
    assert_eq!(added["action"], 4);
    let mine = world.run(&["incident", "show", "--for", "hugo"]).exits(0);
    for part in ["owner", "now", "Call the provider", "Buy a disk", "later", "Tell the customers"] {
        assert!(mine.out.contains(part), "{part}: {}", mine.out);
    }
    assert!(!mine.out.contains("cut server off"), "{}", mine.out);
    world.run(&["incident", "show", "--for", "claire"]).exits(0).says("lead").says("cut server off");
    world.run(&["incident", "done", "2", "--by", "hugo"]).exits(0).says("done: Call the provider");
    world.run(&["incident", "done", "2"]).exits(1).says("nothing is noted");
    let shown = world.run(&["incident", "show"]).exits(0);
    let shown = shown.says("2026-01-02 02:04:00 UTC (noted ").says("because: nobody knows the way in");
    assert!(shown.out.contains("OPEN since"), "{}", shown.out);

    world.run(&["incident", "close"]).exits(64).says("--learned");
    world.run(&["incident", "close", "--learned", " "]).exits(64);
    let closed =
        world.run(&["incident", "close", "--learned", "keep a disk", "--cause", "an old lock"]).exits(0);
    closed.says("# Atelier: report on incident 1").says("actions are left open: 3").says("- keep a disk");
    world
        .run(&["incident", "close", "--learned", "more"])
        .exits(2)
        .says("no incident is open")
        .says("1 was closed");
    world
        .run(&["incident", "close", "--learned", "more", "--incident", "1"])
        .exits(1)
        .says("nothing is noted");
    world.run(&["incident", "log", "late", "--incident", "1"]).exits(2).says("was closed");
    world.run(&["incident", "show"]).exits(0).says("no incident is open");
    let file = world.path("report.md");
    world.run(&["incident", "report", "--markdown", file.to_str().unwrap()]).exits(0);
    let report = std::fs::read_to_string(file).unwrap();
    for part in [
        "stay offline. Because: nobody knows the way in",
        "an old lock",
        "no recovery of it is recorded",
        "- [ ] Buy a disk",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let listed = json_of(world.run(&["incident", "list", "--json"]), 0);
    assert_eq!(
        (&listed["incidents"][0]["id"], listed["incidents"][0]["closed"].is_string()),
        (&json!("1"), true)
    );
    world.run(&["incident", "list"]).exits(0).says("attack");
    world.run(&["state", "verify"]).exits(0);
}

#[test]
fn a_name_that_the_plan_does_not_have_is_wrong_usage_and_the_nearest_is_named() {
    let world = world();
    let open = |more: &[&str]| world.run(&[&["incident", "open", "--scenario"], more].concat());
    open(&["atack"]).exits(64).says("did you mean `attack`");
    open(&["attack", "shp"]).exits(64).says("did you mean `shop`");
    open(&["attack", "--by", "clare"]).exits(64).says("did you mean `claire`");
    open(&["attack", "--at", "soon"]).exits(64).says("is no time");
    open(&["attack", "--tell"]).exits(2).says("nothing was opened");
    world.run(&["incident", "list"]).exits(0).says("there was no incident");
    world.run(&["incident", "report"]).exits(2).says("there was no incident");
    world.run(&["incident", "log", "x"]).exits(2).says("releve incident open");
    open(&["attack"]).exits(0);
    world.run(&["incident", "log", "x", "--at", "2999-01-02 03:04"]).exits(64).says("lies ahead");
    world.run(&["recover", "--yes", "--before", "2999-01-02T03:04Z"]).exits(64).says("lies ahead");
    world
        .run(&["restore", "shop", "--to", "x", "--before", "2999-01-02T03:04Z"])
        .exits(64)
        .says("lies ahead");
    world.run(&["incident", "assign", "led", "hugo"]).exits(64).says("write `lead`");
    world.run(&["incident", "assign", "lead", "huga"]).exits(64).says("did you mean `hugo`");
    world.run(&["incident", "assign", "9", "hugo"]).exits(64).says("there are: 1, 2, 3");
    world.run(&["incident", "done", "9"]).exits(64);
    world.run(&["incident", "decide", "x"]).exits(64).says("--because");
    world.run(&["incident", "decide", "x", "--because", ""]).exits(2).says("says nothing");
    world.run(&["incident", "show", "--for", "huga"]).exits(64);
    world.run(&["incident", "show", "7"]).exits(2).says("there is no incident 7");
    assert_eq!(kinds(&incident(&world)), ["opened"]);
}

#[test]
fn of_two_processes_that_open_one_at_the_same_time_one_does() {
    let world = world();
    let open = |signal: &str| {
        world
            .command(&["incident", "open", "--scenario", "attack", "--signal", signal, "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let ended = |child: Child| {
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let both = [open("disk fails"), open("pings are lost")];
    let mut codes: Vec<_> = both.map(ended).into();
    codes.sort_by_key(|(code, _)| *code);
    assert_eq!([codes[0].0, codes[1].0], [0, 1]);
    assert!(codes.iter().all(|(_, document)| document["incident"]["id"] == "1"));
    let incident = incident(&world);
    assert_eq!(kinds(&incident), ["opened", "signal"]);
    let text = incident.to_string();
    assert!(text.contains("disk fails") && text.contains("pings are lost"), "{text}");
}

#[test]
fn the_owner_is_told_and_answers_and_the_timeline_says_how_long_that_took() {
    let server = MailServer::start(Manner::Takes);
    let world = notifying(&relays(&[&server]), SCENARIO);
    let opened = world.run(&[
        "incident",
        "open",
        "--scenario",
        "attack",
        "--seen",
        "files are .locked",
        "--tell",
        "--json",
    ]);
    let opened = json_of(opened, 0);
    assert_eq!(opened["calls"][0]["standing"]["person"], "hugo");
    let message = &server.wait_for(1)[0];
    let body = message["body"].as_str().unwrap();
    assert!(body.contains("files are .locked") && body.contains("releve incident show"), "{body}");
    world.run(&["ack", &token(message)]).exits(0);
    // What is sent while it is open is part of it, too.
    world.run(&["notify", "send", "claire", "--what", "We meet.", "--todo", "Come."]).exits(0);
    assert_eq!(server.wait_for(2).len(), 2);
    let incident = incident(&world);
    assert_eq!(kinds(&incident), ["opened", "message", "answer", "message"]);
    assert!(incident["told"][0]["answer_seconds"].is_number() && incident["told"][1]["answered"].is_null());
    let report = world.run(&["incident", "report"]).exits(0);
    report.says("answered after").says("has not answered");
    world.run(&["incident", "close", "--learned", "mail works"]).exits(0);
    let state = state::State::open(&world.path("state")).unwrap();
    assert!(state.calls().unwrap().iter().all(|call| !call.starts_with("incident-")));
}

#[test]
fn killed_while_it_tells_people_it_is_open_and_the_same_command_goes_on_telling() {
    let stuck = MailServer::start(Manner::Stalls);
    let world = notifying(&relays(&[&stuck]), SCENARIO);
    let mut first = world.start(&["incident", "open", "--scenario", "attack"]);
    let state = state::State::open(&world.path("state")).unwrap();
    let is_begun = || state.calls().is_ok_and(|calls| calls == ["incident-1/shop"]);
    assert!(wait_until(Duration::from_secs(60), is_begun), "nobody was to be told");
    first.kill().unwrap();
    first.wait().unwrap();
    world.run(&["incident", "show"]).exits(0).says("incident 1, OPEN");
    let server = MailServer::start(Manner::Takes);
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    let moved = plan.replace(&relays(&[&stuck]), &relays(&[&server]));
    std::fs::write(world.path("plan.toml"), moved).unwrap();
    world
        .run(&["incident", "open", "--scenario", "attack"])
        .exits(1)
        .says("open already")
        .says("hugo was told");
    assert_eq!(server.wait_for(1)[0]["to"], json!(["hugo@atelier.example"]));
    world
        .run(&["incident", "open", "--scenario", "attack", "--quiet"])
        .exits(1)
        .says("nobody is told by this");
    assert_eq!(server.messages().len(), 1);
}

#[test]
fn nobody_who_could_be_told_is_said_and_it_is_open_all_the_same() {
    let server = MailServer::start(Manner::Refuses);
    let world = notifying(&relays(&[&server]), SCENARIO);
    world.run(&["incident", "open", "--scenario", "attack"]).exits(1).says("NOBODY could be reached");
    let text = world.run(&["incident", "show"]).exits(0);
    text.says("NOT REACHED");
}

#[test]
fn a_recovery_after_something_opens_an_incident_and_notes_its_steps_there() {
    let world = world();
    world.run(&["backup"]).exits(0);
    std::fs::remove_file(world.data().join("page")).unwrap();
    world.run(&["recover", "--scenario", "attack", "--dry-run"]).exits(0);
    world.run(&["recover", "--scenario", "attack", "--yes", "--to", "beside"]).exits(1);
    world.run(&["incident", "list"]).exits(0).says("there was no incident");
    // Without a scenario nobody has declared anything.
    world.run(&["recover", "--yes"]).exits(0);
    world.run(&["incident", "list"]).exits(0).says("there was no incident");

    std::fs::remove_file(world.data().join("page")).unwrap();
    let recovered = world.run(&["recover", "--scenario", "attack", "--yes"]).exits(1);
    let recovered = recovered.says("incident 1 is open: its timeline has this recovery");
    recovered.says(
        "incident 1 stays open: when it is over, releve incident close --incident 1 --learned 'what was",
    );
    let incident = incident(&world);
    assert_eq!(incident["declared_by"], "releve recover");
    let steps = steps(&incident);
    let has = |what: &str, is: &str| steps.iter().any(|step| step.0.contains(what) && step.1 == is);
    assert!(has("put its data back", "begun") && has("put its data back", "done"), "{steps:?}");
    // Nobody was there to confirm: it is still to be done.
    assert!(has("Call the provider", "unconfirmed"), "{steps:?}");
    let states: Vec<_> =
        incident["actions"].as_array().unwrap().iter().map(|action| &action["state"]).collect();
    assert_eq!(states, ["now", "now", "now"]);
    let again = world.run(&["recover", "--scenario", "attack", "--yes", "--json"]).exits(1);
    assert_eq!(again.json()["incidents"], json!(["1"]));
    let closed = world.run(&["incident", "close", "--learned", "x"]).exits(0);
    assert!(closed.out.contains("| as promised |"), "{}", closed.out);
    world.run(&["recover", "--yes", "--json"]).exits(0);
    assert_eq!(world.run(&["incident", "list", "--json"]).json()["incidents"].as_array().unwrap().len(), 1);
}

#[test]
fn a_recovery_that_was_killed_goes_on_in_the_same_timeline() {
    let world = world();
    let (pid, script) = (world.path("pid"), "echo $$ > PID.new; mv PID.new PID; exec sleep 120");
    let script = script.replace("PID", pid.to_str().unwrap());
    write_plan(&world, &format!("recover.start = {{ command = [\"sh\", \"-c\", {script:?}] }}"));
    world.run(&["backup"]).exits(0);
    world.run(&["incident", "open", "--scenario", "attack", "shop"]).exits(0);
    let mut recovery = world.start(&["recover", "--scenario", "attack", "--yes"]);
    assert!(wait_until(Duration::from_secs(60), || pid.exists()), "it never started anything");
    recovery.kill().unwrap();
    recovery.wait().unwrap();
    let _ = std::process::Command::new("kill").arg(std::fs::read_to_string(&pid).unwrap().trim()).status();
    let last = |world: &World| {
        let all = steps(&incident(world));
        all.into_iter().rev().find(|step| step.0.starts_with("start")).unwrap().1
    };
    assert_eq!(last(&world), "begun");
    world.run(&["incident", "close", "--learned", "x"]).exits(2).says("--anyway");
    world.run(&["recover", "--scenario", "attack", "--yes"]).exits(2).says("incident 1 stays open");
    assert_eq!(last(&world), "doubt");
    let shown = json_of(world.run(&["recover", "--show", "--json"]), 0);
    let all = shown["recoveries"][0]["steps"].as_array().unwrap();
    let start = all.iter().find(|step| step["what"].as_str().unwrap().starts_with("start")).unwrap();
    let number = start["step"].to_string();
    world.run(&["recover", "--yes", "--skip", &number, "--because", "it runs elsewhere"]).exits(1);
    assert_eq!(last(&world), "skipped");
    world.run(&["incident", "show"]).exits(0).says("it runs elsewhere");
    world.run(&["incident", "close", "--learned", "x"]).exits(0);
}

#[test]
fn whoever_answers_a_step_is_in_the_timeline_and_in_the_report_by_name() {
    let world = world();
    write_plan(&world, "recover.before = [{ ask = \"Is the power on?\", who = \"hugo\" }]");
    world.run(&["backup"]).exits(0);
    world.run(&["incident", "open", "--scenario", "attack", "shop"]).exits(0);
    let mut recovery = world.start(&["recover", "shop", "--yes", "--wait"]);
    let mut number = String::new();
    let is_asked = wait_until(Duration::from_secs(60), || {
        let shown = world.run(&["recover", "--show", "--json"]);
        let shown: Value = serde_json::from_str(&shown.out).unwrap_or_default();
        let steps = shown["recoveries"][0]["steps"].as_array().cloned().unwrap_or_default();
        let asked = steps.iter().find(|step| step["what"].as_str().unwrap_or_default().contains("power"));
        number = asked.map_or_else(String::new, |step| step["step"].to_string());
        asked.is_some()
    });
    assert!(is_asked, "nobody was asked");
    world.run(&["answer", &number, "--by", "claire"]).exits(0);
    recovery.wait().unwrap();
    let timeline = incident(&world)["timeline"].as_array().unwrap().clone();
    let answered = timeline.iter().find(|line| line["what"]["kind"] == "answered").unwrap();
    assert_eq!(answered["by"], "claire");
    let is_hers = |line: &&Value| line["what"]["is"] == "done" && line["by"] == "claire";
    assert!(timeline.iter().any(|line| is_hers(&line)), "{timeline:?}");
    let report = world.run(&["incident", "report"]).exits(0);
    report.says("Claire: has done").says("## Evidence").says("from the vaults");
}

#[test]
fn a_recovery_whose_incident_cannot_be_kept_goes_on_and_says_so() {
    let world = world();
    world.run(&["backup"]).exits(0);
    std::fs::remove_file(world.data().join("page")).unwrap();
    let file = std::fs::read_dir(world.path("state")).unwrap();
    let database = file
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "db"))
        .unwrap();
    let connection = rusqlite::Connection::open(database).unwrap();
    let spoiled =
        connection.execute("update kv set value = x'00' where cast(key as text) like 'record/%'", []);
    assert!(spoiled.unwrap() > 0);
    drop(connection);
    let recovered = world.run(&["recover", "--scenario", "attack", "--yes"]).exits(1);
    recovered.says("no incident has this recovery in its timeline").says("works");
    assert!(world.data().join("page").exists());
    world.run(&["incident", "open", "--scenario", "attack"]).exits(2).says("releve state rebuild");
}

#[test]
fn whoever_watches_sees_what_is_to_be_done_and_how_the_recovery_goes_in_eighty_columns() {
    let world = world();
    let gate = world.path("gate");
    let wait = format!("until test -e {}; do sleep 0.1; done", gate.display());
    write_plan(&world, &format!("recover.before = [{{ run = [\"sh\", \"-c\", {wait:?}] }}]"));
    world.run(&["backup"]).exits(0);
    world.run(&["incident", "watch"]).exits(2).says("no incident is open");
    let seen =
        "every file is called something.locked, and so is the share of the accountants, and of the workshop";
    world.run(&["incident", "open", "--scenario", "attack", "--seen", seen, "--by", "hugo"]).exits(0);
    let mut recovery = world.start(&["recover", "--yes", "--scenario", "attack"]);
    let mut watched = String::new();
    let runs = wait_until(Duration::from_secs(60), || {
        watched = world.run(&["incident", "watch"]).exits(0).out;
        watched.contains("until test")
    });
    std::fs::write(gate, "").unwrap();
    let _ = recovery.wait();
    assert!(runs, "{watched}");
    assert!(watched.contains("to do now") && watched.contains("Call the provider (claire"), "{watched}");
    assert!(watched.contains("hugo") && watched.contains("last"), "{watched}");
    for line in watched.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert_eq!(world.run(&["incident", "watch", "--json"]).exits(0).json()["incident"]["id"], "1");
    world.run(&["incident", "close", "--learned", "nothing", "--anyway"]);
    world.run(&["incident", "watch", "1"]).exits(0).says("closed by");
}

#[test]
fn an_incident_that_a_system_has_come_back_from_does_not_say_when_the_next_crash_was() {
    let world = world();
    world.run(&["backup"]).exits(0);
    std::fs::remove_file(world.data().join("page")).unwrap();
    let basis = |run: Run| run.json()["systems"][0]["crash"]["basis"].clone();
    world.run(&["incident", "open", "--scenario", "attack"]);
    let during = basis(world.run(&["recover", "--dry-run", "--json"]).exits(0));
    assert_eq!(during, json!({ "incident": "1" }));
    world.run(&["recover", "--scenario", "attack", "--yes"]).exits(1).says("incident 1 stays open");
    // Nobody has closed it, and the next disaster is another one.
    std::fs::remove_file(world.data().join("page")).unwrap();
    assert_eq!(basis(world.run(&["recover", "--dry-run", "--json"]).exits(0)), "unknown");
}
