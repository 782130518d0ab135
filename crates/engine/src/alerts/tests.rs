//! What people are told by itself, and how often; with a clock that the test holds and a server that takes the messages.

use super::{Watchman, open};
use crate::held_clock::{later, now};
use crate::notify::Notifier;
use crate::vaults::Secrets;
use crate::{Error, Result};
use jiff::tz::TimeZone;
use plan::notify::{Heartbeat, Notify, Person, Sms};
use plan::{Host, Period, Plan, Secret, System};
use process::Process;
use state::{Beat, Body, Made, State, Verification};
use std::path::Path;
use std::time::Duration;
use testkit::Receiver;

/// Every secret is its own name.
struct Plain;

impl Secrets for Plain {
    fn get(&self, secret: &Secret) -> Result<Vec<u8>> {
        match secret {
            Secret::Env(value) | Secret::File(value) => Ok(value.clone().into_bytes()),
            Secret::Command(_) => Err(Error::new("no commands here")),
        }
    }

    fn s3_keys(&self) -> vault::store::Credentials {
        vault::store::Credentials::default()
    }
}

struct World {
    server: Receiver,
    plan: Plan,
    dir: tempfile::TempDir,
}

impl World {
    /// `shop` runs on `server`; hugo owns it (111), claire is his deputy (222) and leads.
    fn new() -> Self {
        let server = Receiver::start(200);
        let person = |number: &str, role: Option<&str>| Person {
            name: number.to_owned(),
            contact: vec![format!("tel:{number}")],
            role: role.map(str::to_owned),
            ..Person::default()
        };
        let notify = Notify {
            key: Some(Secret::Env("a key of forty characters that nobody knows".to_owned())),
            sms: Some(Sms { url: Some(Secret::Env(format!("{}/sms", server.url()))), ..Sms::default() }),
            heartbeat: Some(Heartbeat {
                url: Some(Secret::Env(format!("{}/beat/secret", server.url()))),
                every: None,
            }),
            ..Notify::default()
        };
        let shop = System {
            host: "server".into(),
            owner: Some("hugo".into()),
            deputy: Some("claire".into()),
            rpo: Period(Duration::from_secs(365 * 86_400)),
            ..System::default()
        };
        let plan = Plan {
            people: [
                ("hugo".into(), person("111", None)),
                ("claire".into(), person("222", Some("incident lead"))),
            ]
            .into(),
            hosts: [("server".into(), Host::default())].into(),
            vaults: [("near".into(), plan::Vault { url: "s3://near".into(), ..plan::Vault::default() })]
                .into(),
            systems: [("shop".into(), shop)].into(),
            notify: Some(notify),
            ..Plan::default()
        };
        Self { server, plan, dir: tempfile::tempdir().unwrap() }
    }

    fn state(&self) -> State {
        State::open(self.dir.path()).unwrap()
    }

    /// Does something with a watchman on a state that was just opened, as after a restart.
    fn with<T>(&self, is_agent: bool, act: impl FnOnce(&Watchman<'_>) -> T) -> T {
        let state = self.state();
        let holder = Process::this();
        let notifier =
            Notifier { plan: &self.plan, secrets: &Plain, state: &state, holder, now, zone: TimeZone::UTC };
        act(&Watchman { notifier: &notifier, machine: "server", folder: Path::new("/"), is_agent })
    }

    fn round(&self) -> Vec<String> {
        self.with(true, |watchman| watchman.round(&|| ()).unwrap().said)
    }

    fn backup(&self, failure: Option<&str>) {
        let made = Made {
            system: "shop".into(),
            started: now(),
            complete: failure.is_none(),
            failure: failure.map(str::to_owned),
            ..Made::default()
        };
        self.state().append(Body::Backup(made), now()).unwrap();
    }

    /// What was sent: the number, and the text.
    fn sent(&self) -> Vec<(String, String)> {
        let sent = self.server.sent();
        let sms = sent.iter().filter(|sent| sent.path == "/sms").map(|sent| {
            let text: serde_json::Value = serde_json::from_str(&sent.body).unwrap();
            (text["to"].as_str().unwrap().to_owned(), text["text"].as_str().unwrap().to_owned())
        });
        sms.collect()
    }

    fn numbers(&self) -> Vec<String> {
        self.sent().into_iter().map(|(number, _)| number).collect()
    }

    /// Says that the last message has arrived.
    fn acknowledge(&self) {
        let (_, text) = self.sent().pop().unwrap();
        let token = text.rsplit(' ').next().unwrap().to_owned();
        self.with(true, |watchman| watchman.notifier.acknowledge(&token, "command").unwrap());
    }
}

#[test]
fn a_backup_that_fails_is_told_once_and_that_it_is_over_too() {
    let world = World::new();
    world.backup(Some("the disk is gone"));
    assert!(world.round().is_empty());
    world.backup(Some("the disk is gone"));
    world.round();
    let (number, text) = world.sent().pop().unwrap();
    assert_eq!(number, "111");
    assert!(
        text.contains("The backup of shop fails, since 2027-01-15 08:00 UTC: the disk is gone"),
        "{text}"
    );
    assert!(text.contains("releve backup shop"), "{text}");
    world.acknowledge();
    for _ in 0..50 {
        later(3600);
        world.round();
    }
    assert_eq!(world.numbers(), ["111"]);
    assert!(open(&world.state()).unwrap()[0].in_hand);
    world.backup(None);
    world.round();
    let sent = world.sent();
    assert_eq!((sent.len(), sent[1].0.as_str()), (2, "111"));
    assert!(sent[1].1.contains("It is over"), "{}", sent[1].1);
    world.round();
    assert_eq!(world.numbers().len(), 2);
    assert!(open(&world.state()).unwrap().is_empty());
    let kinds: Vec<_> = world
        .state()
        .records()
        .unwrap()
        .into_iter()
        .filter_map(|record| match record.body {
            Body::Alert(alert) => Some(format!("{} {}", alert.alert, alert.is)),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, ["backup/shop begun", "backup/shop over"]);
}

#[test]
fn without_an_answer_the_deputy_is_told_and_a_day_later_both_again() {
    let world = World::new();
    world.backup(Some("no"));
    world.backup(Some("no"));
    for _ in 0..24 * 6 {
        world.round();
        later(600);
    }
    assert_eq!(world.numbers(), ["111", "222"]);
    for _ in 0..6 {
        world.round();
        later(600);
    }
    assert_eq!(world.numbers(), ["111", "222", "111", "222"]);
}

/// A point of `shop` that looks like the work of an attacker.
fn noise() -> Made {
    Made {
        system: "shop".into(),
        started: now(),
        complete: true,
        suspicious: Some("1,008 files became noise".into()),
        point: "abc".into(),
        ..Made::default()
    }
}

#[test]
fn a_suspicious_point_is_told_at_once_in_the_persons_language() {
    let mut world = World::new();
    world.plan.organisation.language = Some("fr".into());
    world.state().append(Body::Backup(noise()), now()).unwrap();
    world.round();
    let (_, text) = world.sent().pop().unwrap();
    assert!(text.contains("ressemble à une attaque"), "{text}");
    assert!(text.contains("releve points --trust abc"), "{text}");
    world.state().trust("abc tree 2027-01-15", now()).unwrap();
    world.round();
    assert!(world.sent().pop().unwrap().1.contains("C'est terminé"));
}

#[test]
fn a_run_that_made_no_point_does_not_end_the_alert_of_the_point_before() {
    let world = World::new();
    world.state().append(Body::Backup(noise()), now()).unwrap();
    world.round();
    world.backup(Some("no"));
    world.round();
    let keys = || open(&world.state()).unwrap().iter().map(|open| open.trouble.key()).collect::<Vec<_>>();
    assert_eq!(keys(), ["suspicious/shop"]);
    world.backup(None);
    world.round();
    assert!(keys().is_empty());
}

#[test]
fn a_vault_that_is_out_of_reach_ends_no_alert_about_what_is_in_it() {
    let world = World::new();
    let seen = Verification { vault: "near".into(), failure: Some("no".into()), ..Verification::default() };
    world.state().append(Body::Verification(seen), now()).unwrap();
    world.round();
    world.state().note_sign("vault/near", Some(("no route", true)), now()).unwrap();
    assert!(world.round().is_empty(), "nobody has looked at it since");
    world.state().note_sign("vault/near", None, now()).unwrap();
    let sound = Verification { vault: "near".into(), ..Verification::default() };
    world.state().append(Body::Verification(sound), now()).unwrap();
    assert_eq!(world.round(), ["alert verification/near is over"]);
}

#[test]
fn damage_a_lost_vault_and_an_absent_agent_are_told_to_whoever_leads() {
    let world = World::new();
    let state = world.state();
    let seen =
        Verification { vault: "near".into(), findings: vec!["pack 1234".into()], ..Verification::default() };
    state.append(Body::Verification(seen), now()).unwrap();
    state.note_sign("vault/near", Some(("there is no repository", false)), now()).unwrap();
    state.note_beat(&Beat { at: now(), stopped: false }).unwrap();
    drop(state);
    later(600);
    world.with(false, |watchman| watchman.round(&|| ()).unwrap());
    assert_eq!(world.numbers(), ["222", "222", "222"]);
    let texts: String = world.sent().into_iter().map(|(_, text)| text).collect();
    for part in ["near is damaged", "near can't be reached", "The agent on server"] {
        assert!(texts.contains(part), "{part}: {texts}");
    }
    // The agent sees itself.
    world.with(true, |watchman| watchman.round(&|| ()).unwrap());
    assert_eq!(world.numbers().len(), 3);
}

#[test]
fn an_alert_that_nobody_could_be_told_of_is_told_as_soon_as_the_plan_says_how() {
    let mut world = World::new();
    let notify = world.plan.notify.take();
    world.backup(Some("no"));
    world.backup(Some("no"));
    assert!(world.round()[0].ends_with("nobody is told"));
    later(600);
    assert!(world.round().is_empty());
    world.plan.notify = notify;
    world.round();
    later(600);
    world.round();
    assert_eq!(world.numbers()[0], "111", "and no day later");
    assert!(world.numbers().iter().filter(|number| *number == "111").count() == 1);
}

#[test]
fn where_the_plan_loses_a_system_its_alert_is_not_said_to_be_mended_and_who_left_the_plan_hinders_nobody() {
    let mut world = World::new();
    world.backup(Some("no"));
    world.backup(Some("no"));
    world.round();
    assert_eq!(world.numbers(), ["111"]);
    let shop = world.plan.systems.remove("shop").unwrap();
    world.round();
    let (_, text) = world.sent().pop().unwrap();
    assert!(text.contains("The plan has no shop any more, so nobody looks"), "{text}");
    world.plan.systems.insert("shop".into(), shop);
    world.round();
    let sent = world.numbers().len();
    world.plan.people.remove("hugo");
    world.backup(None);
    assert_eq!(world.round(), ["alert backup/shop is over"]);
    assert_eq!(world.numbers().len(), sent);
}

#[test]
fn the_week_is_told_on_monday_to_whoever_leads_and_once() {
    let world = World::new();
    world.backup(None);
    let week = || world.with(true, |watchman| watchman.summarise().unwrap());
    // A Friday.
    assert_eq!(week(), None);
    later(2 * 86_400);
    world.backup(Some("no"));
    assert_eq!(week(), None);
    later(86_400);
    assert_eq!(week(), Some(vec!["claire".into()]));
    assert_eq!(week(), None);
    let (_, text) = world.sent().pop().unwrap();
    assert!(text.contains("1 points made, 0 incomplete, 1 failed"), "{text}");
    later(7 * 86_400);
    assert!(week().is_some());
}

#[test]
fn a_heartbeat_says_that_all_is_well_or_what_is_not() {
    let world = World::new();
    world.with(true, |watchman| {
        watchman.notifier.beat(None).unwrap();
        watchman.notifier.beat(Some("rpo/shop")).unwrap();
    });
    let sent = world.server.sent();
    let sent: Vec<_> =
        sent.iter().map(|sent| (sent.method.as_str(), sent.path.as_str(), sent.body.as_str())).collect();
    assert_eq!(sent, [("POST", "/beat/secret", "all is well"), ("POST", "/beat/secret/fail", "rpo/shop")]);
    let refusing = World { server: Receiver::start(500), ..World::new() };
    let mut plan = refusing.plan.clone();
    plan.notify.as_mut().unwrap().heartbeat.as_mut().unwrap().url =
        Some(Secret::Env(format!("{}/beat/secret", refusing.server.url())));
    let refusing = World { plan, ..refusing };
    let why = refusing.with(true, |watchman| watchman.notifier.beat(None).unwrap_err().message);
    assert!(why.contains("500") && !why.contains("secret"), "{why}");
}

#[test]
fn the_heartbeat_says_what_the_alerts_show_before_anybody_was_told_of_it() {
    let world = World::new();
    let trouble = || world.with(true, |watchman| watchman.trouble().unwrap());
    world.backup(None);
    assert_eq!(trouble(), None);
    world.backup(Some("the disk is gone"));
    assert!(world.round().is_empty(), "the agent tries again before it wakes anybody");
    assert_eq!(trouble().as_deref(), Some("backup/shop"));
    let shown = world.with(false, |watchman| watchman.standing().unwrap().0);
    assert_eq!(shown.iter().map(plan::alerts::Trouble::key).collect::<Vec<_>>(), ["backup/shop"]);
    world.backup(None);
    assert_eq!(trouble(), None);
}

#[test]
fn a_state_that_knows_no_point_is_no_alarm_where_the_vaults_hold_a_whole_one() {
    let world = World::new();
    let years_ago = now() - jiff::SignedDuration::from_hours(3 * 365 * 24);
    world.state().watched_since(years_ago).unwrap();
    let asked = std::cell::Cell::new(0);
    let ask = || {
        asked.set(asked.get() + 1);
        world.state().note_stands("shop", Some(now())).unwrap();
    };
    let round = |ask: &dyn Fn()| world.with(true, |watchman| watchman.round(ask).unwrap().said);
    assert_eq!(round(&ask), Vec::<String>::new());
    assert_eq!(round(&ask), Vec::<String>::new());
    assert_eq!(asked.get(), 1);
    // Where they hold none it is one, and nobody asks again what people know.
    world.state().note_stands("shop", None).unwrap();
    let told = round(&|| ());
    assert!(told[0].starts_with("alert rpo/shop (begun)"), "{told:?}");
    round(&|| panic!("it is told already"));
}
