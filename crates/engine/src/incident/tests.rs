//! The rules of an incident, with a clock that the test holds and that jumps.

use super::{
    ActionState, Entered, Grounds, Incident, Incidents, Opened, RoleName, What, incidents, opening, report,
};
use crate::held_clock::{later, now};
use crate::recover::{carried_out_by, look};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use plan::{Plan, Scenario, ScenarioName, System, SystemName};
use state::{
    Acknowledged, Action, Answered, Body, Check, Entry, Notified, Opening, Recovery, Run, State, StepEntry,
    Tried,
};

struct World {
    _dir: tempfile::TempDir,
    state: State,
    plan: Plan,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let person = |name: &str, role: Option<&str>| plan::Person {
            name: name.to_owned(),
            role: role.map(str::to_owned),
            ..plan::Person::default()
        };
        let system = || System { owner: Some("hugo".into()), ..System::default() };
        let ask = |text: &str, who: Option<&str>| plan::ProcedureStep {
            ask: Some(text.to_owned()),
            who: who.map(Into::into),
            within: Some(plan::Period::seconds(600)),
            ..plan::ProcedureStep::default()
        };
        let attack = Scenario {
            isolate: vec!["server".into()],
            before: vec![ask("call the provider", Some("hugo"))],
            after: vec![ask("tell the customers", None)],
            ..Scenario::default()
        };
        let plan = Plan {
            people: [
                ("hugo".into(), person("Hugo", None)),
                ("claire".into(), person("Claire", Some("incident lead"))),
            ]
            .into(),
            systems: [("shop".into(), system()), ("orders".into(), system())].into(),
            scenarios: [("attack".into(), attack)].into(),
            ..Plan::default()
        };
        Self { _dir: dir, state, plan }
    }

    fn keeper(&self) -> Incidents<'_> {
        Incidents { state: &self.state, now }
    }

    fn opening(&self, systems: &[&str]) -> Opening {
        let systems: Vec<SystemName> = systems.iter().map(|name| SystemName::from(*name)).collect();
        opening(&self.plan, Some(&ScenarioName::from("attack")), &systems)
    }

    /// Opens one of its own and returns its id.
    fn open(&self, systems: &[&str]) -> String {
        match self.keeper().open(&self.opening(systems), "hugo", None).unwrap() {
            Opened::New(id) => id,
            Opened::Joined(incident) => panic!("{} is open", incident.id),
        }
    }

    fn note(&self, id: &str, text: &str) -> crate::Result<Entered> {
        self.keeper().enter(id, "hugo", None, &Entry::Note { text: text.to_owned() })
    }

    fn incident(&self, id: &str) -> Incident {
        let all = incidents(&self.state.records().unwrap());
        all.into_iter().find(|incident| incident.id == id).unwrap()
    }

    fn append(&self, body: Body) {
        self.state.append(body, now()).unwrap();
    }

    /// Records that a person was told something with a message, in a call.
    fn tell(&self, person: &str, message: &str, call: &str) {
        let tried = Tried { message: message.to_owned(), outcome: "taken".to_owned(), ..Tried::default() };
        self.append(Body::Notification(Notified {
            person: person.to_owned(),
            call: call.to_owned(),
            tries: vec![tried],
            reached: true,
            ..Notified::default()
        }));
    }

    fn answer(&self, person: &str, message: &str) {
        self.append(Body::Acknowledgement(Acknowledged {
            message: message.to_owned(),
            person: person.to_owned(),
            by: "link".to_owned(),
            ..Acknowledged::default()
        }));
    }

    fn come_back(&self, systems: &[&str], rta: Option<f64>) {
        let check = |name: &&str| Check {
            system: (*name).to_owned(),
            rta_seconds: rta,
            rto_seconds: Some(60),
            rpa_seconds: Some(30),
            rpo_seconds: Some(20),
            ..Check::default()
        };
        self.append(Body::Recovery(Recovery {
            systems: systems.iter().map(check).collect(),
            started: Some(now()),
            ..Recovery::default()
        }));
    }

    fn step(&self, id: &str, step: StepEntry) {
        self.keeper().enter(id, "releve recover", None, &Entry::Step(step)).unwrap();
    }
}

fn texts(incident: &Incident) -> Vec<String> {
    incident.timeline.iter().map(|line| line.text(plan::notify::Language::English)).collect()
}

#[test]
fn of_many_that_open_one_at_the_same_time_one_does_and_the_others_join_it() {
    let world = World::new();
    let opened: Vec<Opened> = std::thread::scope(|scope| {
        let one = |n: usize| {
            let mut opening = world.opening(&["shop"]);
            opening.seen = Some(format!("seen by {n}"));
            world.keeper().open(&opening, "hugo", None).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || one(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(opened.iter().filter(|one| matches!(one, Opened::New(_))).count(), 1);
    let all = incidents(&world.state.records().unwrap());
    assert_eq!(all.len(), 1);
    // What each of them has seen is there.
    let told = texts(&all[0]).join("\n");
    assert!((0..8).all(|n| told.contains(&format!("seen by {n}"))), "{told}");
    assert_eq!(world.state.verify().unwrap(), 8);
}

#[test]
fn a_system_has_one_open_incident_and_another_system_another() {
    let world = World::new();
    let shop = world.open(&["shop"]);
    let orders = world.open(&["orders"]);
    assert_ne!(shop, orders);
    let both = world.keeper().open(&world.opening(&["orders", "shop"]), "claire", None).unwrap();
    assert!(matches!(both, Opened::Joined(incident) if incident.id == shop));
    world.keeper().close(&shop, "hugo", &["nothing".to_owned()], None, false).unwrap();
    let again = world.open(&["shop"]);
    assert!(again != shop && again != orders);
}

#[test]
fn roles_and_actions_come_from_the_plan_and_stay_whatever_becomes_of_it() {
    let mut world = World::new();
    let id = world.open(&["shop"]);
    let before = world.incident(&id);
    assert_eq!(before.lead(), Some("claire"));
    let list: Vec<_> = before
        .actions
        .iter()
        .map(|action| (action.what.as_str(), action.who.as_deref(), action.state))
        .collect();
    assert_eq!(
        list,
        [
            ("cut server off the network", Some("claire"), ActionState::Now),
            ("call the provider", Some("hugo"), ActionState::Now),
            ("tell the customers", Some("claire"), ActionState::Later),
        ]
    );
    assert_eq!(before.actions[1].by, now().checked_add(jiff::SignedDuration::from_secs(600)).ok());
    world.plan = Plan::default();
    assert_eq!(world.incident(&id), before);
}

#[test]
fn an_empty_plan_gives_an_incident_without_people() {
    let world = World { plan: Plan::default(), ..World::new() };
    let opening = opening(&world.plan, None, &["shop".into()]);
    world.keeper().open(&opening, "root@server", None).unwrap();
    let incident = world.incident("1");
    assert_eq!((incident.lead(), incident.actions.len(), incident.people().len()), (None, 0, 0));
    assert!(
        report(&incident, &world.plan, &Grounds::default(), &TimeZone::UTC).contains("incident lead: NOBODY")
    );
    let none = Opening { systems: Vec::new(), ..opening };
    assert!(world.keeper().open(&none, "root@server", None).is_err());
}

#[test]
fn who_leads_has_what_nobody_else_has_and_an_action_goes_to_whom_it_is_given() {
    let world = World::new();
    let id = world.open(&["shop"]);
    let incident = world.incident(&id);
    let lead = RoleName::parse("lead", &incident).unwrap();
    world.keeper().assign(&id, "claire", &lead, "anna").unwrap();
    let deputy = RoleName::parse("deputy", &incident).unwrap();
    world.keeper().assign(&id, "claire", &deputy, "hugo").unwrap();
    world.keeper().enter(&id, "anna", None, &Entry::Given { action: 2, person: "claire".into() }).unwrap();
    let now = world.incident(&id);
    let who: Vec<_> = now.actions.iter().map(|action| action.who.as_deref()).collect();
    assert_eq!(who, [Some("anna"), Some("claire"), Some("anna")]);
    assert!(texts(&now).contains(&"deputy of shop: now hugo".to_owned()), "{:?}", texts(&now));
    assert!(
        world.keeper().enter(&id, "anna", None, &Entry::Given { action: 9, person: "hugo".into() }).is_err()
    );
}

#[test]
fn a_role_that_an_incident_has_not_is_an_error_that_names_the_nearest() {
    let world = World::new();
    let id = world.open(&["shop", "orders"]);
    let incident = world.incident(&id);
    for (text, near) in [("leed", "`lead`"), ("owner:shp", "`owner:shop`"), ("deputy", "deputy:")] {
        let error = RoleName::parse(text, &incident).unwrap_err();
        assert!(error.help.as_deref().unwrap().contains(near), "{text}: {error:?}");
    }
    assert_eq!(RoleName::parse("owner:orders", &incident).unwrap().to_string(), "owner of orders");
}

#[test]
fn what_is_done_is_done_once_and_new_actions_have_numbers_of_their_own() {
    let world = World::new();
    let id = world.open(&["shop"]);
    let added = Action { what: "buy a disk".to_owned(), ..Action::default() };
    let entered = world.keeper().enter(&id, "hugo", None, &Entry::Added(added)).unwrap();
    assert_eq!(entered, Entered::Noted(Some(4)));
    let done = || world.keeper().enter(&id, "claire", None, &Entry::Done { action: 4 }).unwrap();
    assert_eq!(done(), Entered::Noted(None));
    later(60);
    let first = now().checked_sub(jiff::SignedDuration::from_secs(60)).unwrap();
    assert_eq!(done(), Entered::Already { at: first, by: "claire".to_owned() });
    assert!(world.keeper().enter(&id, "claire", None, &Entry::Done { action: 5 }).is_err());
    assert_eq!(world.incident(&id).timeline.len(), 3);
}

#[test]
fn what_a_recovery_was_told_is_done_is_done_and_what_nobody_confirmed_is_not() {
    let world = World::new();
    let id = world.open(&["shop"]);
    let step = |what: &str, is: &str| StepEntry { what: what.into(), is: is.into(), ..StepEntry::default() };
    world.step(&id, step("call the provider", "begun"));
    world.step(&id, step("call the provider", "unconfirmed"));
    world.step(&id, step("cut server off the network", "done"));
    // A step of a system may have the same words, and is another.
    world.step(&id, StepEntry { system: Some("shop".into()), ..step("tell the customers", "done") });
    let states: Vec<_> = world.incident(&id).actions.iter().map(|action| action.state).collect();
    assert_eq!(states, [ActionState::Done, ActionState::Now, ActionState::Later]);
}

#[test]
fn what_comes_after_is_for_later_until_every_system_is_back() {
    let world = World::new();
    let id = world.open(&["shop", "orders"]);
    let last = || world.incident(&id).actions[2].state;
    world.come_back(&["shop", "orders"], None);
    assert_eq!(last(), ActionState::Later);
    world.come_back(&["shop"], Some(40.0));
    assert_eq!(last(), ActionState::Later);
    world.come_back(&["orders"], Some(80.0));
    assert_eq!(last(), ActionState::Now);
    // It broke again.
    world.come_back(&["orders"], None);
    assert_eq!(last(), ActionState::Later);
}

#[test]
fn the_order_is_that_of_the_records_when_the_clock_jumps() {
    let world = World::new();
    let id = world.open(&["shop"]);
    later(600);
    world.note(&id, "first").unwrap();
    later(-7200);
    world.note(&id, "second").unwrap();
    later(86_400);
    let at = Timestamp::from_second(1_700_000_000).ok();
    world.keeper().enter(&id, "hugo", at, &Entry::Note { text: "third".into() }).unwrap();
    let incident = world.incident(&id);
    let shown: Vec<_> =
        incident.timeline.iter().skip(1).map(|line| (line.clock_back, line.at.is_some())).collect();
    assert_eq!(shown, [(false, false), (true, false), (false, true)]);
    assert_eq!(texts(&incident)[1..], ["first", "second", "third"]);
    later(-200_000);
    world.keeper().close(&id, "hugo", &["clocks".to_owned()], None, false).unwrap();
    let text = report(&world.incident(&id), &world.plan, &Grounds::default(), &TimeZone::UTC);
    let places: Vec<_> = ["first", "second", "third"].map(|word| text.find(word).unwrap()).into();
    assert!(places.is_sorted() && text.contains("the clock was set back"), "{text}");
}

#[test]
fn it_is_closed_once_and_only_with_what_was_learned_and_then_nothing_is_entered() {
    let world = World::new();
    let id = world.open(&["shop"]);
    for nothing in [vec![], vec![" ".to_owned()]] {
        assert!(world.keeper().close(&id, "hugo", &nothing, None, false).is_err());
    }
    assert_eq!(world.incident(&id).closed, None);
    let close = || world.keeper().close(&id, "hugo", &["buy disks".to_owned()], Some("age"), false).unwrap();
    assert_eq!(close(), Entered::Noted(None));
    assert!(matches!(close(), Entered::Already { .. }));
    assert!(world.note(&id, "too late").unwrap_err().to_string().contains("was closed"));
    let closed = world.incident(&id).closed.unwrap();
    assert_eq!((closed.learned, closed.cause.as_deref()), (vec!["buy disks".to_owned()], Some("age")));
    assert!(world.keeper().close("7", "hugo", &["x".to_owned()], None, false).is_err());
}

#[test]
fn it_is_not_closed_over_an_open_recovery_unless_somebody_says_so_and_that_is_remembered() {
    let world = World::new();
    let id = world.open(&["shop"]);
    let run = |id: &str, system: &str| {
        Run::new(id.into(), now(), vec![system.into()], "{}".into(), "boot".into(), 0.0)
    };
    world.state.begin_recovery(&run("a", "other"), b"{}").unwrap().unwrap();
    world.state.begin_recovery(&run("b", "shop"), b"{}").unwrap().unwrap();
    let close = |anyway| world.keeper().close(&id, "hugo", &["x".to_owned()], None, anyway);
    let error = close(false).unwrap_err();
    assert!(error.to_string().contains("a recovery of shop") && error.help.unwrap().contains("--anyway"));
    assert_eq!(close(true).unwrap(), Entered::Noted(None));
    assert!(world.incident(&id).closed.unwrap().although.unwrap().contains("has not ended"));
}

#[test]
fn messages_belong_to_the_incident_that_they_are_of_and_answers_to_their_messages() {
    let world = World::new();
    world.tell("hugo", "m0", "send-1");
    let shop = world.open(&["shop"]);
    let orders = world.open(&["orders"]);
    world.tell("hugo", "m1", &format!("incident-{shop}/shop"));
    world.tell("claire", "m2", "send-2");
    later(90);
    world.answer("hugo", "m1");
    world.answer("hugo", "m0");
    world.keeper().close(&shop, "hugo", &["x".to_owned()], None, false).unwrap();
    world.tell("claire", "m3", "send-3");
    later(-4000);
    world.answer("claire", "m2");
    let of = |id: &str| -> Vec<(String, Option<f64>, bool)> {
        let told = world.incident(id).told;
        told.into_iter().map(|one| (one.person, one.answer_seconds, one.answered.is_some())).collect()
    };
    // The clock was set back before claire answered: nobody knows how long that took.
    assert_eq!(of(&shop), [("hugo".into(), Some(90.0), true), ("claire".into(), None, true)]);
    assert_eq!(of(&orders), [("claire".into(), None, true), ("claire".into(), None, false)]);
    let is_answer = |line: &&super::Line| matches!(line.what, What::Answer { .. });
    assert_eq!(world.incident(&shop).timeline.iter().filter(is_answer).count(), 2);
    assert_eq!(world.incident(&orders).timeline.iter().filter(is_answer).count(), 1);
}

#[test]
fn an_answer_that_is_faster_than_the_record_of_its_message_counts() {
    let world = World::new();
    let id = world.open(&["shop"]);
    world.answer("hugo", "m1");
    world.tell("hugo", "m1", &format!("incident-{id}/shop"));
    let told = world.incident(&id).told;
    assert_eq!((told.len(), told[0].answer_seconds), (1, Some(0.0)));
}

#[test]
fn one_incident_does_not_take_the_calls_of_another_whose_number_begins_alike() {
    let world = World::new();
    for _ in 0..10 {
        let id = world.open(&["shop"]);
        world.keeper().close(&id, "hugo", &["x".to_owned()], None, false).unwrap();
    }
    world.tell("hugo", "m1", "incident-10/shop");
    assert_eq!(world.incident("10").told.len(), 1);
    assert!(world.incident("1").told.is_empty());
}

#[test]
fn the_report_says_what_was_promised_and_achieved_and_no_text_breaks_it() {
    let world = World::new();
    let id = world.open(&["shop", "orders"]);
    later(100);
    world.come_back(&["shop"], Some(40.0));
    let decision = Entry::Decision {
        what: "stay | offline\n# not a title".into(),
        because: "<script>nobody</script> [knows](http://evil.example)".into(),
    };
    world.keeper().enter(&id, "claire", None, &decision).unwrap();
    world.keeper().enter(&id, "hugo", None, &Entry::Done { action: 2 }).unwrap();
    world.keeper().close(&id, "claire", &["buy *disks*".to_owned()], Some("an old disk"), false).unwrap();
    let text = report(&world.incident(&id), &world.plan, &Grounds::default(), &TimeZone::UTC);
    let row = "| `shop` | 40.0 s | 1 min 00 s | 30.0 s | 20.0 s | 2 min 20 s | more lost than promised |";
    assert!(text.contains(row), "{text}");
    assert!(text.contains("| `orders` | ? | 0.0 s | ? |") && text.contains("no recovery of it"), "{text}");
    assert!(text.contains("stay \\| offline \\# not a title"), "{text}");
    assert!(text.contains("\\<script\\>") && text.contains("\\[knows\\](http"), "{text}");
    assert!(
        text.contains("- [ ] tell the customers (Claire, 3)") && text.contains("- buy \\*disks\\*"),
        "{text}"
    );
    assert!(text.contains("Hugo: call the provider (done"), "{text}");
}

#[test]
fn the_report_of_a_french_organisation_is_french() {
    let mut world = World::new();
    world.plan.organisation.language = Some("fr".into());
    let id = world.open(&["shop"]);
    let text = report(&world.incident(&id), &world.plan, &Grounds::default(), &TimeZone::UTC);
    for part in ["rapport de l'incident 1", "NON, il est ouvert", "## Décisions", "Aucun.", "## Chronologie"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("Decisions") && !text.contains("opened"), "{text}");
}

#[test]
fn a_text_that_says_nothing_or_too_much_is_refused() {
    let world = World::new();
    let id = world.open(&["shop"]);
    assert!(world.note(&id, " \n").is_err());
    assert!(world.note(&id, &"x".repeat(20_000)).unwrap_err().to_string().contains("too long"));
    let mut long = world.opening(&["orders"]);
    long.seen = Some("x".repeat(20_000));
    assert!(world.keeper().open(&long, "hugo", None).is_err());
    assert_eq!(incidents(&world.state.records().unwrap()).len(), 1);
}

#[test]
fn a_recovery_that_ends_after_its_incident_was_closed_is_in_its_report() {
    let world = World::new();
    let id = world.open(&["shop"]);
    world.keeper().close(&id, "hugo", &["x".to_owned()], None, false).unwrap();
    let check = Check { system: "shop".into(), rta_seconds: Some(9.0), ..Check::default() };
    let recovery =
        |incidents: Vec<String>| Recovery { systems: vec![check.clone()], incidents, ..Recovery::default() };
    world.append(Body::Recovery(recovery(Vec::new())));
    assert!(world.incident(&id).recovered.is_empty());
    world.append(Body::Recovery(recovery(vec![id.clone()])));
    assert_eq!(world.incident(&id).recovered[0].check, check);
}

#[test]
fn a_recovery_beside_brings_nothing_back() {
    let world = World::new();
    let id = world.open(&["shop"]);
    let check = Check { system: "shop".into(), rta_seconds: Some(9.0), ..Check::default() };
    world.append(Body::Recovery(Recovery { systems: vec![check], beside: true, ..Recovery::default() }));
    assert!(world.incident(&id).recovered.is_empty());
}

#[test]
fn a_live_view_sees_what_is_open_and_whether_anything_is_new() {
    let world = World::new();
    let closed = world.open(&["shop"]);
    world.keeper().close(&closed, "hugo", &["x".to_owned()], None, false).unwrap();
    let id = world.open(&["orders"]);
    let run = Run::new("a".into(), now(), vec!["orders".into()], "{}".into(), "boot".into(), 0.0);
    world.state.begin_recovery(&run, b"no runbook").unwrap().unwrap();
    let records = world.state.records().unwrap();
    let mut open = incidents(&records);
    open.retain(|incident| incident.closed.is_none());
    let ids: Vec<_> = open.iter().map(|incident| incident.id.as_str()).collect();
    let newest = records.last().unwrap().number;
    assert_eq!((ids, newest), (vec![id.as_str()], 3));
    // One that can't be read is no reason to show nothing.
    let run = world.state.open_recoveries().unwrap().remove(0);
    assert!(look(&world.state, &run).is_err());
    assert!(carried_out_by(&world.state, &run, process::Process::this()).unwrap().is_none());
    assert!(world.state.records_after(newest).unwrap().is_empty());
    world.note(&id, "new").unwrap();
    assert_eq!(world.state.records_after(newest).unwrap().len(), 1);
}

#[test]
fn who_has_answered_or_approved_a_step_is_named_and_has_answered() {
    let world = World::new();
    let id = world.open(&["shop"]);
    world.tell("hugo", "m1", "recovery r1/3");
    world.tell("claire", "m2", "recovery r1/3");
    let answered = |step, what: &str, answer: &str| {
        let (recovery, what, answer) = ("recovery r1".to_owned(), what.to_owned(), answer.to_owned());
        Entry::Answered(Answered { recovery, step, what, answer })
    };
    later(30);
    world.keeper().enter(&id, "hugo", None, &answered(3, "call the provider", "")).unwrap();
    world.keeper().enter(&id, "claire", None, &answered(4, "overwrite shop", "approve")).unwrap();
    let incident = world.incident(&id);
    assert_eq!(incident.told[0].answer_seconds, Some(30.0));
    assert_eq!(incident.told[1].answered_by.as_deref(), Some("hugo"));
    let text = report(&incident, &world.plan, &Grounds::default(), &TimeZone::UTC);
    for part in [
        "Hugo: has done: call the provider \\(step 3\\)",
        "Claire: has approved: overwrite shop \\(step 4\\)",
        "answered after 30.0 s",
        "not needed any more: answered by Hugo",
        "decisions and approvals by Claire, Hugo",
    ] {
        let plain = part.replace("\\(", "(").replace("\\)", ")");
        assert!(text.contains(part) || text.contains(&plain), "{part}: {text}");
    }
    assert!(!text.contains("has not answered"), "{text}");
}

#[test]
fn the_report_begins_with_five_lines_and_ends_with_what_it_can_be_held_against() {
    let world = World::new();
    let id = world.open(&["shop"]);
    let check = Check {
        system: "shop".into(),
        point: "abcd1234".into(),
        point_time: Some(now()),
        vaults: vec!["near".into(), "far".into()],
        rta_seconds: Some(90.0),
        rto_seconds: Some(60),
        rpa_seconds: Some(10),
        rpo_seconds: Some(20),
        ..Check::default()
    };
    let plan = Some("feed".to_owned());
    world.append(Body::Recovery(Recovery {
        systems: vec![check],
        incidents: vec![id.clone()],
        plan,
        ..Recovery::default()
    }));
    let grounds = Grounds { plan: Some("beef"), head: Some((7, "cafe")) };
    let text = report(&world.incident(&id), &world.plan, &grounds, &TimeZone::UTC);
    let lines: Vec<_> = text.lines().skip(2).take(5).collect();
    assert!(lines.iter().all(|line| line.starts_with("1. **")), "{text}");
    assert!(lines[1].ends_with("shop 1 min 30 s / 1 min 00 s, NOT KEPT"), "{}", lines[1]);
    assert!(lines[2].ends_with("shop 10.0 s / 20.0 s, kept"), "{}", lines[2]);
    let (_, evidence) = text.split_once("## Evidence").unwrap();
    for part in
        ["abcd1234", "from the vaults near, far", "not verified before", "feed", "beef", "number 7: `cafe`"]
    {
        assert!(evidence.contains(part), "{part}: {evidence}");
    }
}
