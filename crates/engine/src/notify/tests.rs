//! Calls whose program dies in the middle, that are carried on by two at once, and answers that come at the same time; with a clock that
//! the test holds.

use super::{Answer, News, Notifier, Standing};
use crate::held_clock::{later, now};
use crate::vaults::Secrets;
use crate::{Error, Result};
use jiff::tz::TimeZone;
use plan::notify::{Notify, Person, Sms};
use plan::{Period, Plan, Secret, System};
use process::Process;
use state::{Body, State};
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::Receiver;

/// Every secret is its own name, so that a plan can say what it is.
struct Plain;

impl Secrets for Plain {
    fn get(&self, secret: &Secret) -> Result<Vec<u8>> {
        match secret {
            Secret::Env(value) if value == "none" => {
                Err(Error::new("the environment variable none is not set"))
            }
            Secret::Env(value) | Secret::File(value) => Ok(value.clone().into_bytes()),
            Secret::Command(_) => Err(Error::new("no commands here")),
        }
    }

    fn s3_keys(&self) -> vault::store::Credentials {
        vault::store::Credentials::default()
    }
}

/// A plan whose people are told by SMS, through this server; the number tells who.
fn plan(server: &Receiver, key: &str) -> Plan {
    let person = |number: &str| Person {
        name: number.to_owned(),
        contact: vec![format!("tel:{number}")],
        ..Person::default()
    };
    let sms = Sms { url: Some(Secret::Env(format!("{}/sms", server.url()))), ..Sms::default() };
    let notify = Notify {
        key: Some(Secret::Env(key.to_owned())),
        within: Some(Period(Duration::from_secs(600))),
        sms: Some(sms),
        ..Notify::default()
    };
    let shop = System { owner: Some("hugo".into()), deputy: Some("claire".into()), ..System::default() };
    Plan {
        people: [("hugo".into(), person("111")), ("claire".into(), person("222"))].into(),
        systems: [("shop".into(), shop)].into(),
        notify: Some(notify),
        ..Plan::default()
    }
}

const KEY: &str = "a key of forty characters that nobody knows";

fn notifier<'a>(plan: &'a Plan, state: &'a State, holder: &'a Process) -> Notifier<'a> {
    Notifier { plan, secrets: &Plain, state, holder, now, zone: TimeZone::UTC }
}

/// The numbers that were told, in order, and what acknowledges each message.
fn told(server: &Receiver) -> Vec<(String, String)> {
    let parse = |body: &str| {
        let text: serde_json::Value = serde_json::from_str(body).unwrap();
        let token = text["text"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned();
        (text["to"].as_str().unwrap().to_owned(), token)
    };
    server.sent().iter().map(|sent| parse(&sent.body)).collect()
}

fn numbers(server: &Receiver) -> Vec<String> {
    told(server).into_iter().map(|(number, _)| number).collect()
}

fn begin(notifier: &Notifier<'_>) {
    let people = notifier.people_of(&"shop".into()).unwrap();
    notifier.begin("one", people, &News::default(), None, &BTreeSet::new()).unwrap();
}

fn us() -> Process {
    Process::this().clone()
}

#[test]
fn a_turn_that_a_killed_program_began_is_taken_again_and_either_answer_counts() {
    let server = Receiver::start(200);
    let (plan, dir) = (plan(&server, KEY), tempfile::tempdir().unwrap());
    let (state, us) = (State::open(dir.path()).unwrap(), us());
    let notifier = notifier(&plan, &state, &us);
    begin(&notifier);
    notifier.advance("one").unwrap();
    // As it stood after the message went and before that was noted.
    let found = state.call::<serde_json::Value>("one").unwrap().unwrap();
    let mut call = found.value;
    call["told"][0]["reached"] = serde_json::Value::Null;
    call["told"][0]["attempts"] = serde_json::json!([]);
    state.put_call("one", &call, Some(found.revision)).unwrap().unwrap();
    let standing = notifier.advance("one").unwrap();
    assert!(matches!(standing, Standing::Waiting { person, .. } if person.0 == "hugo"));
    assert_eq!(numbers(&server), ["111", "111"]);
    let first = &told(&server)[0].1;
    assert!(
        matches!(notifier.acknowledge(first, "link").unwrap(), Answer::Acknowledged { person, .. } if person == "hugo")
    );
    assert!(
        matches!(notifier.advance("one").unwrap(), Standing::Answered { person, .. } if person.0 == "hugo")
    );
    // Begun again, as a recovery does that was killed too: it is the same call.
    begin(&notifier);
    assert!(matches!(notifier.advance("one").unwrap(), Standing::Answered { .. }));
    assert_eq!(numbers(&server).len(), 2);
}

#[test]
fn two_programs_that_carry_on_one_call_tell_each_person_once() {
    let server = Receiver::start(200);
    let (plan, dir) = (plan(&server, KEY), tempfile::tempdir().unwrap());
    let (state, us) = (State::open(dir.path()).unwrap(), us());
    begin(&notifier(&plan, &state, &us));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let state = State::open(dir.path()).unwrap();
                notifier(&plan, &state, &us).advance("one").unwrap();
            });
        }
    });
    assert_eq!(numbers(&server), ["111"]);
}

#[test]
fn of_answers_that_come_at_the_same_time_one_counts() {
    let server = Receiver::start(200);
    let (plan, dir) = (plan(&server, KEY), tempfile::tempdir().unwrap());
    let (state, us) = (State::open(dir.path()).unwrap(), us());
    begin(&notifier(&plan, &state, &us));
    notifier(&plan, &state, &us).advance("one").unwrap();
    let token = told(&server)[0].1.clone();
    let counted = std::thread::scope(|scope| {
        let answer = || notifier(&plan, &state, &us).acknowledge(&token, "link").unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(answer)).collect();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        answers.filter(|answer| matches!(answer, Answer::Acknowledged { .. })).count()
    });
    assert_eq!(counted, 1);
    let records = state.records().unwrap();
    assert_eq!(records.iter().filter(|record| matches!(record.body, Body::Acknowledgement(_))).count(), 1);
}

#[test]
fn without_an_answer_the_next_is_told_and_at_the_end_that_nobody_has_answered_is_said() {
    let server = Receiver::start(200);
    let (plan, dir) = (plan(&server, KEY), tempfile::tempdir().unwrap());
    let (state, us) = (State::open(dir.path()).unwrap(), us());
    let notifier = notifier(&plan, &state, &us);
    begin(&notifier);
    for (at, expected) in [(0, "111"), (599, "111"), (1, "222")] {
        later(at);
        notifier.advance("one").unwrap();
        assert_eq!(numbers(&server).last().map(String::as_str), Some(expected));
    }
    assert_eq!(numbers(&server), ["111", "222"]);
    later(599);
    assert!(
        matches!(notifier.advance("one").unwrap(), Standing::Waiting { person, .. } if person.0 == "claire")
    );
    later(1);
    assert_eq!(notifier.advance("one").unwrap(), Standing::Nobody);
    let (_, hugos) = told(&server)[0].clone();
    notifier.acknowledge(&hugos, "command").unwrap();
    assert!(
        matches!(notifier.advance("one").unwrap(), Standing::Answered { person, .. } if person.0 == "hugo")
    );
}

#[test]
fn who_cannot_be_reached_is_not_waited_for_and_that_is_not_called_no_answer() {
    let server = Receiver::start(403);
    let (plan, dir) = (plan(&server, KEY), tempfile::tempdir().unwrap());
    let (state, us) = (State::open(dir.path()).unwrap(), us());
    let notifier = notifier(&plan, &state, &us);
    begin(&notifier);
    assert_eq!(notifier.advance("one").unwrap(), Standing::Unreached);
    assert_eq!(numbers(&server), ["111", "222"]);
}

/// A gateway that gives these answers in turn, a plan that knows it, and a folder for the state.
fn gateway(answers: &[(u16, &str)]) -> (Receiver, Plan, tempfile::TempDir) {
    let server = Receiver::answering(answers);
    let plan = plan(&server, KEY);
    (server, plan, tempfile::tempdir().unwrap())
}

#[test]
fn a_busy_gateway_is_asked_again_when_it_wants_to_be_and_by_who_comes_after_a_restart() {
    let (server, plan, dir) = gateway(&[(429, "slow down"), (503, "out of order"), (200, "OK")]);
    let us = us();
    // Each time on a state that was just opened.
    let advance = || {
        let state = State::open(dir.path()).unwrap();
        notifier(&plan, &state, &us).advance("one").unwrap()
    };
    begin(&notifier(&plan, &State::open(dir.path()).unwrap(), &us));
    let first = advance();
    assert!(
        matches!(&first, Standing::Trying { person, why, .. } if person.0 == "hugo" && why.contains("429")),
        "{first:?}"
    );
    // After 5 seconds it would be, and it has said 20.
    later(5);
    advance();
    assert_eq!(numbers(&server), ["111"]);
    later(15);
    advance();
    assert_eq!(numbers(&server), ["111", "111"]);
    let state = State::open(dir.path()).unwrap();
    let queue = notifier(&plan, &state, &us).queue().unwrap();
    let hugo = &queue[0].people[0];
    assert_eq!((hugo.reached, hugo.ways[0].tried), (Some(false), 2), "{queue:?}");
    assert!(hugo.ways[0].why.as_ref().unwrap().contains("out of order"), "{queue:?}");
    assert_eq!(hugo.again.unwrap().duration_since(now()).as_secs(), 15);
    assert_eq!(queue[0].people[1].at, None);
    later(15);
    assert!(matches!(advance(), Standing::Waiting { person, .. } if person.0 == "hugo"));
    assert_eq!(numbers(&server), ["111", "111", "111"]);
    // He has it, and is not told again.
    later(300);
    advance();
    assert_eq!(numbers(&server).len(), 3);
}

#[test]
fn a_proxy_whose_server_is_being_started_is_asked_again_and_what_it_said_is_told() {
    let (server, plan, dir) = gateway(&[(404, "<html>nginx</html>"), (302, ""), (410, ""), (200, "OK")]);
    let (state, us) = (State::open(dir.path()).unwrap(), us());
    let notifier = notifier(&plan, &state, &us);
    begin(&notifier);
    for (pause, says) in [(0, "refused (404)"), (5, "refused (302)"), (15, "refused (410)")] {
        later(pause);
        let standing = notifier.advance("one").unwrap();
        assert!(matches!(&standing, Standing::Trying { why, .. } if why.contains(says)), "{standing:?}");
    }
    later(45);
    assert!(matches!(notifier.advance("one").unwrap(), Standing::Waiting { .. }));
    assert_eq!(numbers(&server), ["111", "111", "111", "111"]);
}

#[test]
fn what_is_taken_by_an_answer_that_says_nothing_counts_and_that_is_said() {
    let (_server, plan, dir) = gateway(&[(200, "4711")]);
    let (state, us) = (State::open(dir.path()).unwrap(), us());
    let notifier = notifier(&plan, &state, &us);
    begin(&notifier);
    assert!(matches!(notifier.advance("one").unwrap(), Standing::Waiting { .. }));
    let queue = notifier.queue().unwrap();
    let doubt = queue[0].people[0].ways[0].doubt().unwrap_or_default();
    assert!(
        doubt.starts_with("taken, and nothing in its answer says whether") && doubt.contains("4711"),
        "{queue:?}"
    );
}

#[test]
fn while_the_first_one_is_tried_again_the_next_one_is_told() {
    let out = (503, "");
    let (server, plan, dir) = gateway(&[out, out, out, (200, "OK")]);
    let (state, us) = (State::open(dir.path()).unwrap(), us());
    let notifier = notifier(&plan, &state, &us);
    begin(&notifier);
    notifier.advance("one").unwrap();
    assert_eq!(numbers(&server), ["111"]);
    later(60);
    assert!(matches!(notifier.advance("one").unwrap(), Standing::Trying { .. }));
    assert_eq!(numbers(&server), ["111", "111", "222"]);
    later(15);
    assert!(matches!(notifier.advance("one").unwrap(), Standing::Waiting { .. }));
    assert_eq!(numbers(&server), ["111", "111", "222", "111", "222"]);
}

#[test]
fn what_never_takes_it_is_tried_as_long_as_the_chain_takes_and_then_nobody_was_reached() {
    let (server, plan, dir) = gateway(&[(200, "ERR: no credit")]);
    let (state, us) = (State::open(dir.path()).unwrap(), us());
    let notifier = notifier(&plan, &state, &us);
    begin(&notifier);
    let mut standing = notifier.advance("one").unwrap();
    for _ in 0..130 {
        assert!(matches!(standing, Standing::Trying { .. } | Standing::Unreached), "{standing:?}");
        later(10);
        standing = notifier.advance("one").unwrap();
    }
    assert_eq!(standing, Standing::Unreached);
    let tries = numbers(&server).iter().filter(|number| *number == "111").count();
    assert!((5..=9).contains(&tries), "{tries}");
    let heard = notifier.tell(&"hugo".into(), &News::default(), &BTreeSet::new()).unwrap();
    assert!(!heard.reached && heard.again && heard.tries[0].outcome == "not_yet", "{heard:?}");
}

#[test]
fn what_asks_for_no_answer_is_told_later_where_it_can_not_be_at_once() {
    let (server, plan, dir) = gateway(&[(503, ""), (200, "OK")]);
    let (state, us) = (State::open(dir.path()).unwrap(), us());
    let notifier = notifier(&plan, &state, &us);
    let post = |name| notifier.post(name, &"hugo".into(), &News::default(), &BTreeSet::new()).unwrap();
    assert!(!post("over"));
    later(5);
    notifier.advance_all().unwrap();
    assert_eq!(numbers(&server), ["111", "111"]);
    assert!(state.calls().unwrap().is_empty());
    assert!(post("another"));
    assert!(state.calls().unwrap().is_empty());
}

#[test]
fn a_way_that_the_plan_has_no_more_is_not_tried_for_ever() {
    let (server, mut plan, dir) = gateway(&[(503, "")]);
    let (state, us) = (State::open(dir.path()).unwrap(), us());
    begin(&notifier(&plan, &state, &us));
    notifier(&plan, &state, &us).advance("one").unwrap();
    plan.notify.as_mut().unwrap().sms = None;
    later(5);
    assert_eq!(notifier(&plan, &state, &us).advance("one").unwrap(), Standing::Unreached);
    assert_eq!(numbers(&server), ["111"]);
}

#[test]
fn without_a_key_people_are_told_all_the_same_and_cannot_acknowledge() {
    let server = Receiver::start(200);
    let dir = tempfile::tempdir().unwrap();
    let (state, us) = (State::open(dir.path()).unwrap(), us());
    for key in ["none", "short"] {
        let plan = plan(&server, key);
        let heard =
            notifier(&plan, &state, &us).tell(&"hugo".into(), &News::default(), &BTreeSet::new()).unwrap();
        assert!(heard.reached && heard.trouble.is_some(), "{heard:?}");
        assert!(notifier(&plan, &state, &us).acknowledge("x", "command").is_err());
    }
    assert!(server.sent().iter().all(|sent| !sent.body.contains("ack")));
}

/// Never says anything.
struct Silent;

impl Secrets for Silent {
    fn get(&self, secret: &Secret) -> Result<Vec<u8>> {
        if *secret != Secret::Env(KEY.to_owned()) {
            std::thread::park_timeout(Duration::from_secs(3600));
        }
        Plain.get(secret)
    }

    fn s3_keys(&self) -> vault::store::Credentials {
        vault::store::Credentials::default()
    }
}

#[test]
fn a_secret_that_never_comes_does_not_hold_up_the_next_way() {
    let (dir, us) = (tempfile::tempdir().unwrap(), us());
    let state = State::open(dir.path()).unwrap();
    let server = Receiver::start(200);
    let mut plan = plan(&server, KEY);
    let notify = plan.notify.as_mut().unwrap();
    notify.try_for = Some(Period(Duration::from_millis(200)));
    notify.sms.as_mut().unwrap().url = Some(Secret::Env("stuck".into()));
    let notifier = Notifier { secrets: &Silent, ..notifier(&plan, &state, &us) };
    let heard = notifier.tell(&"hugo".into(), &News::default(), &BTreeSet::new()).unwrap();
    assert_eq!(heard.tries[0].outcome, "late");
    begin(&notifier);
    assert!(matches!(notifier.advance("one").unwrap(), Standing::Trying { .. }));
    assert!(server.sent().is_empty());
}
