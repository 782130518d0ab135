//! What a recovery will do, decided from a plan and what there is.

use crate::base::{SOUND, read};
use jiff::Timestamp;
use plan::judge::{self, Changed, Judgement, Rating};
use plan::{
    Available, BinaryLog, CameBack, Facts, LogFacts, MariadbSource, Passage, Period, Plan, Room, Runbook,
    RunbookInput, Source, StepKind, Stretch, SystemName, Timeline, Until, Wanted, runbook,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn plan() -> Plan {
    let needy = SOUND.replace("host = \"shop-1\"\n", "host = \"shop-1\"\nneeds = [\"orders\"]\n");
    let orders = "[systems.orders]\nhost = \"shop-1\"\ncriticality = \"vital\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\n\
                  owner = \"hugo\"\ndeputy = \"claire\"\nsource.sqlite = { path = \"/srv/orders.db\" }\n\
                  recover.stop = { service = \"orders\" }\nrecover.start = { service = \"orders\" }\n\
                  check = [{ sql = \"select 1\" }]\n";
    read(&format!("{needy}{orders}")).plan.unwrap()
}

pub(crate) fn point() -> Facts {
    Facts {
        id: "ab12".into(),
        time: Timestamp::from_second(1_000).unwrap(),
        complete: true,
        files: 1,
        bytes: 1_000,
        vaults: vec!["local".into()],
        ..Facts::default()
    }
}

/// Decides with everything there, but for one change.
fn decide(change: impl FnOnce(&mut RunbookInput<'_>)) -> Runbook {
    let plan = plan();
    let available = || Available { points: vec![point()], ..Available::default() };
    let mut input = RunbookInput {
        plan: &plan,
        scenario: None,
        systems: vec![],
        wanted: None,
        or_earlier: false,
        to: None,
        machine: "shop-1".into(),
        stands_in: false,
        now: Timestamp::from_second(2_000).unwrap(),
        available: BTreeMap::from([("orders".into(), available()), ("shop".into(), available())]),
        vaults: vec![("local".into(), Ok(())), ("cloud".into(), Err("it is down".into()))],
    };
    change(&mut input);
    runbook(&input)
}

#[test]
fn what_is_needed_is_checked_before_what_needs_it_starts() {
    let book = decide(|_| ());
    assert_eq!(book.blockers, Vec::<String>::new());
    let place = |system: &str, kind: fn(&StepKind) -> bool| {
        book.steps.iter().position(|step| step.system == Some(system.into()) && kind(&step.kind)).unwrap()
    };
    let works = place("orders", |kind| matches!(kind, StepKind::Check(_)));
    let asked = place("shop", |kind| matches!(kind, StepKind::Check(_)));
    assert!(book.steps[asked].after.contains(&works), "{:?}", book.steps);
    assert!(
        place("orders", |kind| matches!(kind, StepKind::Stop(_)))
            < place("orders", |kind| matches!(kind, StepKind::Restore))
    );
    assert!(book.steps.iter().enumerate().all(|(at, step)| step.after.iter().all(|before| *before < at)));
    assert!(book.warnings.iter().any(|warning| warning.contains("it is down")));
}

#[test]
fn a_system_starts_when_what_comes_first_is_back_and_nobody_waits_for_the_rest() {
    let text = SOUND.replace("[systems.shop]\n", "[systems.shop]\nrecover.first = [\"/srv/shop/app\"]\n");
    let mut text =
        text.replace("host = \"shop-1\"\n", "host = \"shop-1\"\nrecover.start = { service = \"nginx\" }\n");
    text.push_str("[systems.portal]\nhost = \"shop-1\"\nneeds = [\"shop\"]\nrto = \"1 hour\"\nrpo = \"1 hour\"\nsource.files = { paths = [\"/srv/portal\"] }\nrecover.start = { service = \"portal\" }\n");
    let plan = read(&text).plan.unwrap();
    let all = || Available { points: vec![point()], ..Available::default() };
    let book = |to: Option<String>| {
        decide(|input| {
            // The plan lives as long as the test.
            input.plan = Box::leak(Box::new(plan.clone()));
            input.available = BTreeMap::from([("shop".into(), all()), ("portal".into(), all())]);
            input.to = to;
        })
    };
    let inside = book(None);
    assert_eq!(inside.blockers, Vec::<String>::new());
    let rest = inside.steps.iter().position(|step| matches!(step.kind, StepKind::Rest)).unwrap();
    let first = inside.steps.iter().position(|step| matches!(step.kind, StepKind::First)).unwrap();
    assert_eq!(inside.steps[rest].after, [first]);
    assert!(inside.steps.iter().all(|step| !step.after.contains(&rest)), "{:?}", inside.steps);
    let starts = inside.steps.iter().filter(|step| matches!(step.kind, StepKind::Start(_))).count();
    assert_eq!(starts, 2);
    // Beside nothing is started, so nothing comes first.
    assert!(book(Some("/mnt".into())).steps.iter().all(|step| matches!(step.kind, StepKind::Restore)));
}

#[test]
fn what_makes_it_impossible_is_a_blocker() {
    let blocked = |change: fn(&mut RunbookInput<'_>)| decide(change).blockers.join("; ");
    assert!(blocked(|input| input.systems = vec!["wiki".into()]).contains("no system `wiki`"));
    assert!(blocked(|input| input.scenario = Some("flood".into())).contains("no scenario `flood`"));
    assert!(blocked(|input| input.machine = "laptop".into()).contains("belongs on `shop-1`"));
    assert!(blocked(|input| input.vaults = vec![]).contains("no vault that holds point ab12"));
    assert!(
        blocked(|input| _ = input.available.remove(&SystemName::from("shop")))
            .contains("`shop`: there is no restore point")
    );
    let room = |free| vec![Room { at: "/srv".into(), device: 1, free }];
    let small = decide(|input| input.available.values_mut().for_each(|found| found.rooms = room(1_999)));
    assert!(small.blockers[0].contains("2.0 kB are to come to /srv"), "{:?}", small.blockers);
    let enough = decide(|input| input.available.values_mut().for_each(|found| found.rooms = room(2_000)));
    assert_eq!(enough.blockers, Vec::<String>::new());
}

#[test]
fn the_log_that_is_rolled_forward_takes_room_and_what_lies_before_the_point_does_not() {
    let with = |free: u64, wanted: Wanted| {
        decide(|input| {
            input.systems = vec!["orders".into()];
            input.wanted = Some(wanted);
            let found = input.available.get_mut(&SystemName::from("orders")).unwrap();
            let room = Room { at: "/srv".into(), device: 1, free };
            (found.rooms, found.log_room) = (vec![room.clone()], Some(room));
            found.log_files = vec![("04".into(), 5_000), ("05".into(), 600), ("06".into(), 400)];
            found.points[0].position = Some("05@1".into());
            found.log = Some(LogFacts {
                id: "cd34".into(),
                identity: None,
                since: None,
                from: "04".into(),
                until: None,
                sentinel: None,
                missing: None,
                earlier: vec![],
                runs: vec![],
                timelines: vec![],
                vaults: vec!["local".into()],
            });
            // What stands there may be most of the point, and is nothing of the log.
            found.standing = vec![plan::Standing { path: "/srv".into(), what: Some("all".into()) }];
        })
    };
    let blockers = |free, wanted| with(free, wanted).blockers;
    assert_eq!(blockers(1_000, Wanted::Latest), Vec::<String>::new());
    assert!(
        with(1_999, Wanted::Latest).warnings.iter().any(|warning| warning.contains("2.0 kB are to come"))
    );
    assert!(blockers(999, Wanted::Latest)[0].contains("the log of `orders`, 1.0 kB"));
    assert_eq!(blockers(999, Wanted::Id("ab12".into())), Vec::<String>::new());
}

#[test]
fn looking_for_damage_comes_last_and_nobody_waits_for_it() {
    let cluster = "source.postgres = { data_directory = \"/srv/pg\", url = { env = \"URL\" } }";
    let text = |more: &str| {
        let shop = SOUND.replace("host = \"shop-1\"\n", "host = \"shop-1\"\nneeds = [\"orders\"]\n");
        let cluster = cluster.replace(" } }", &format!(" }}{more} }}"));
        format!(
            "{shop}[systems.orders]\nhost = \"shop-1\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nowner = \"hugo\"\ndeputy = \"claire\"\n{cluster}\ncheck = [{{ sql = \"select 1\" }}]\n\
             [scenarios.fire]\ncause = \"site loss\"\nafter = [{{ ask = \"call\" }}]\n"
        )
    };
    let book = |more: &str| {
        let plan = read(&text(more)).plan.unwrap();
        decide(|input| {
            input.scenario = Some("fire".into());
            // The plan outlives the decision.
            input.plan = Box::leak(Box::new(plan));
        })
    };
    let with = book("");
    let looks = with.steps.iter().position(|step| matches!(step.kind, StepKind::Inspect)).unwrap();
    let check = with.steps.iter().position(|step| matches!(step.kind, StepKind::Check(_))).unwrap();
    assert_eq!(with.steps[looks].after, [check]);
    assert!(with.steps.iter().all(|step| !step.after.contains(&looks)), "{:?}", with.steps);
    assert!(!book(", amcheck = false").steps.iter().any(|step| matches!(step.kind, StepKind::Inspect)));
}

#[test]
fn beside_nothing_is_stopped_started_or_checked_and_any_machine_will_do() {
    let book = decide(|input| (input.to, input.machine) = (Some("/mnt/look".into()), "laptop".into()));
    assert_eq!(book.blockers, Vec::<String>::new());
    assert!(book.steps.iter().all(|step| matches!(step.kind, StepKind::Restore)));
}

#[test]
fn a_sign_of_tampering_in_one_system_counts_for_all_on_its_machine() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let facts = |id: &str, second, files: u64, files_changed: u64| {
        let files_unchanged = files.saturating_sub(files_changed);
        let change = Changed {
            files_changed,
            files_unchanged,
            incompressible: 1.0,
            bytes_new: 9,
            ..Changed::default()
        };
        Facts { id: id.into(), time: at(second), files: files.max(1), change, ..point() }
    };
    let small = |id: &str, second, of, changed| facts(id, second, of, changed);
    let large = |id: &str, second, changed| facts(id, second, 100, changed);
    let judged = |mut points: Vec<Facts>| {
        judge::judge(&mut points, None, at(2_000));
        points
    };
    let book = decide(|input| {
        input.wanted = Some(plan::Wanted::LastClean);
        let orders = vec![
            small("good", 1_000, 0, 0),
            small("calm", 1_101, 1, 0),
            small("noise", 1_199, 1, 1),
            small("late", 1_300, 1, 0),
        ];
        let shop = vec![small("first", 1_001, 0, 0), large("second", 1_100, 1), large("struck", 1_200, 100)];
        input.available.insert("orders".into(), Available { points: judged(orders), ..Available::default() });
        input.available.insert("shop".into(), Available { points: judged(shop), ..Available::default() });
    });
    let chosen: BTreeMap<_, _> =
        book.systems.iter().map(|entry| (entry.system.0.as_str(), entry.choice.point.id.as_str())).collect();
    assert_eq!(chosen, BTreeMap::from([("orders", "calm"), ("shop", "second")]));
    let reasons = &book.systems.iter().find(|entry| entry.system.0 == "orders").unwrap().choice.reasons;
    assert!(reasons.iter().any(|reason| reason.contains("in `shop`")), "{reasons:?}");
}

#[test]
fn what_a_program_or_a_server_takes_in_waits_for_what_it_needs_unless_the_plan_says_otherwise() {
    let restore_waits = |source: &str, more: &str| {
        let shop = "[systems.index]\nhost = \"shop-1\"\nneeds = [\"shop\"]\nrto = \"1 day\"\nrpo = \"1 hour\"\nowner = \"hugo\"\ndeputy = \"claire\"\n";
        let plan = read(&format!("{SOUND}{shop}source.{source}\n{more}\n")).plan.unwrap();
        let all = || Available { points: vec![point()], ..Available::default() };
        let book = decide(|input| {
            input.plan = Box::leak(Box::new(plan));
            input.available = BTreeMap::from([("shop".into(), all()), ("index".into(), all())]);
        });
        assert_eq!(book.blockers, Vec::<String>::new());
        let of = |system: &str| {
            let is_of = |step: &&plan::Step| step.system == Some(system.into()) && step.kind.puts_back();
            book.steps.iter().find(is_of).unwrap().clone()
        };
        let needed: Vec<usize> = book
            .steps
            .iter()
            .enumerate()
            .filter(|(_, step)| step.system == Some("shop".into()))
            .map(|(at, _)| at)
            .collect();
        of("index").after.iter().any(|at| needed.contains(at))
    };
    for source in [
        "command = { dump = [\"a\"], load = [\"b\"] }",
        "mariadb = { url = { env = \"URL\" } }",
        "pg_dump = { url = { env = \"URL\" } }",
    ] {
        assert!(restore_waits(source, ""), "{source}");
        assert!(!restore_waits(source, "recover.early = true"), "{source}");
    }
    for source in [
        "files = { paths = [\"/srv/index\"] }",
        "sqlite = { path = \"/srv/index.db\" }",
        "postgres = { data_directory = \"/srv/pg\", url = { env = \"URL\" } }",
    ] {
        assert!(!restore_waits(source, ""), "{source}");
        assert!(restore_waits(source, "recover.early = false"), "{source}");
    }
}

/// Decides on a database with a log up to 1,900 whose newest point, of 1,500, lost nearly everything.
fn decide_on_log(change: impl FnOnce(&mut RunbookInput<'_>)) -> Runbook {
    decide(|input| {
        input.systems = vec!["orders".into()];
        let found = input.available.get_mut(&SystemName::from("orders")).unwrap();
        let good = Facts { position: Some("05@1".into()), ..point() };
        let judgement = Judgement {
            rating: Rating::Suspicious,
            why: Some("lost nearly everything".into()),
            ..Judgement::default()
        };
        let (id, time) = ("ef56".into(), Timestamp::from_second(1_500).unwrap());
        let bad = Facts { id, time, judgement, position: Some("06@1".into()), ..point() };
        found.points = vec![good, bad];
        found.log = Some(LogFacts {
            identity: None,
            since: None,
            id: "cd34".into(),
            from: "04".into(),
            until: Some(Timestamp::from_second(1_900).unwrap()),
            sentinel: None,
            missing: None,
            earlier: vec![],
            runs: vec![],
            timelines: vec![],
            vaults: vec!["local".into()],
        });
        change(input);
    })
}

fn orders<'a>(input: &'a mut RunbookInput<'_>) -> &'a mut Available {
    input.available.get_mut(&SystemName::from("orders")).unwrap()
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn no_log_is_rolled_forward_by_itself_through_what_made_a_newer_point_suspicious() {
    let book = decide_on_log(|_| ());
    let entry = &book.systems[0];
    assert_eq!(entry.choice.point.id, "ab12");
    assert!(entry.replay.is_none() && entry.went_back, "{entry:?}");
    // What is counted as lost is what really is.
    assert_eq!(entry.choice.loss, Period::seconds(1_000));
    let said = "its log is not rolled forward, since what came after is suspicious (point ef56 of";
    assert!(book.warnings.iter().any(|warning| warning.contains(said)), "{:?}", book.warnings);
    assert!(entry.choice.reasons.iter().any(|why| why.contains("--until newest")), "{:?}", entry.choice);

    // As far as a person says, and with a word on what lies on the way.
    let until = |wanted: Wanted| {
        let book = decide_on_log(|input| input.wanted = Some(wanted));
        let entry = &book.systems[0];
        let passes = book.warnings.iter().any(|warning| warning.contains("happens again"));
        (entry.replay.as_ref().map(|replay| replay.until.clone()), entry.choice.loss, passes)
    };
    let all = until("newest".parse().unwrap());
    assert_eq!(all, (Some(Until::Newest), Period::seconds(100), true));
    let before = until(Wanted::Before(second(1_400)));
    assert_eq!(before, (Some(Until::Time(second(1_400))), Period::seconds(600), false));
    assert!(until(Wanted::Before(second(1_600))).2);
}

/// The plan with a source that keeps a log.
fn streamed() -> Plan {
    let mut plan = plan();
    let source = MariadbSource { log: BinaryLog::Stream, ..MariadbSource::default() };
    plan.systems.get_mut(&SystemName::from("orders")).unwrap().source = Some(Source::Mariadb(source));
    plan
}

#[test]
fn an_instant_that_no_log_leads_to_is_refused_with_the_point_that_there_is() {
    let blocked = |wanted, change: fn(&mut RunbookInput<'_>)| {
        let book = decide_on_log(|input| {
            input.wanted = Some(wanted);
            input.plan = Box::leak(Box::new(streamed()));
            orders(input).points.truncate(1);
            change(input);
        });
        book.blockers.join("; ")
    };
    let before = || Wanted::Before(second(1_400));
    assert_eq!(blocked(before(), |_| ()), "");
    let said = blocked(before(), |input| orders(input).log = None);
    assert!(said.contains("no log of it is in any vault") && said.contains("--or-earlier"), "{said}");
    let said = blocked(before(), |input| orders(input).log.as_mut().unwrap().from = "06".into());
    assert!(said.contains("does not go on from point ab12"), "{said}");
    // Whoever names none takes what there is.
    assert_eq!(blocked(Wanted::Latest, |input| orders(input).log = None), "");
}

#[test]
fn a_log_goes_on_where_nothing_is_suspicious_or_a_recovery_has_begun_it_anew() {
    let replay = |change: fn(&mut RunbookInput<'_>)| decide_on_log(change).systems[0].replay.clone();
    assert!(replay(|input| orders(input).points.truncate(1)).is_some());
    let timeline = |begun| Timeline { number: 2, begun: Some(second(begun)), path: vec![(1, "05".into())] };
    let book = decide_on_log(|input| {
        let found = orders(input);
        found.went_back = Some(second(1_600));
        found.log.as_mut().unwrap().timelines = vec![timeline(1_650)];
    });
    assert!(book.systems[0].replay.is_some() && !book.systems[0].went_back, "{:?}", book.systems[0]);
}

#[test]
fn behind_a_recovery_that_went_back_no_log_is_rolled_forward_by_itself() {
    let book = decide_on_log(|input| {
        let found = orders(input);
        found.points.truncate(1);
        found.went_back = Some(second(1_600));
    });
    let entry = &book.systems[0];
    assert!(entry.replay.is_none() && entry.went_back, "{entry:?}");
    assert_eq!(entry.choice.loss, Period::seconds(1_000));
    assert!(entry.choice.reasons.iter().any(|why| why.contains("went back behind")), "{:?}", entry.choice);
    // A point that was made since is gone on from.
    let since = decide_on_log(|input| {
        let found = orders(input);
        found.points.truncate(1);
        found.went_back = Some(second(900));
    });
    assert!(since.systems[0].replay.is_some());
}

#[test]
fn behind_a_recovery_that_went_back_it_comes_to_what_somebody_chose_then_and_what_is_missing_is_said() {
    let book = decide_on_log(|input| {
        let found = orders(input);
        found.points.truncate(1);
        (found.went_back, found.went_to) = (Some(second(1_600)), Some(Until::Time(second(1_400))));
    });
    let entry = &book.systems[0];
    assert_eq!(entry.replay.as_ref().map(|replay| &replay.until), Some(&Until::Time(second(1_400))));
    assert!(entry.went_back && entry.lacks.as_ref().is_some_and(|lacks| lacks.contains("since is not back")));
    assert!(entry.choice.reasons.iter().any(|why| why.contains("only, since the recovery of")), "{entry:?}");
}

#[test]
fn an_instant_from_after_a_recovery_that_went_back_lies_on_what_was_chosen_then_and_never_on_what_was_left() {
    let book = |time, or_earlier, anew| {
        decide_on_log(|input| {
            input.wanted = Some(Wanted::Before(second(time)));
            input.or_earlier = or_earlier;
            input.plan = Box::leak(Box::new(streamed()));
            let found = orders(input);
            found.points.truncate(1);
            (found.went_back, found.went_to) = (Some(second(1_600)), Some(Until::Time(second(1_400))));
            if anew {
                let path = vec![(1, "05".to_owned())];
                found.log.as_mut().unwrap().timelines =
                    vec![Timeline { number: 2, begun: Some(second(1_650)), path }];
            }
        })
    };
    let until = |book: &Runbook| book.systems[0].replay.as_ref().map(|replay| replay.until.clone());
    let said = book(1_700, false, false).blockers.join("; ");
    assert!(said.contains("nothing is there of its log from after the recovery of"), "{said}");
    assert!(said.contains("what was chosen then") && said.contains("--until newest"), "{said}");
    // Who says yes to less gets that, and is told.
    let earlier = book(1_700, true, false);
    assert!(earlier.blockers.is_empty(), "{:?}", earlier.blockers);
    assert_eq!(until(&earlier), Some(Until::Time(second(1_400))));
    assert!(earlier.systems[0].lacks.as_ref().is_some_and(|lacks| lacks.contains("since is not back")));
    // Where something is there of it, that; and an instant from before it lies on what was left.
    assert_eq!(until(&book(1_700, false, true)), Some(Until::Time(second(1_700))));
    assert_eq!(until(&book(1_500, false, false)), Some(Until::Time(second(1_500))));
}

#[test]
fn behind_a_recovery_that_went_back_the_point_that_was_taken_then_comes_on_its_own_history() {
    // At 1,250 somebody began the third history and at 1,450 the fourth, both from the first point; then one went back to 1,400, in the third.
    let timeline = |number, begun, path: &[(u32, &str)]| Timeline {
        number,
        begun: Some(second(begun)),
        path: path.iter().map(|(number, left)| (*number, (*left).to_owned())).collect(),
    };
    let made = |id: &str, time, position: &str| Facts {
        id: id.into(),
        time: second(time),
        position: Some(position.into()),
        ..point()
    };
    let taken = |change: &dyn Fn(&mut Available)| {
        let book = decide_on_log(|input| {
            let found = orders(input);
            found.points.truncate(1);
            found.points.extend([made("cd78", 1_200, "06@2"), made("ef56", 1_300, "06@3")]);
            found.log.as_mut().unwrap().timelines = vec![
                timeline(2, 1_100, &[(1, "05")]),
                timeline(3, 1_250, &[(1, "05")]),
                timeline(4, 1_450, &[(1, "05")]),
            ];
            (found.went_back, found.went_to) = (Some(second(1_600)), Some(Until::Time(second(1_400))));
            found.went_from = Some(("ef56".into(), second(1_300)));
            change(found);
        });
        let entry = book.systems[0].clone();
        (entry.choice.point.id, entry.replay.map(|replay| replay.until))
    };
    let time = || Some(Until::Time(second(1_400)));
    assert_eq!(taken(&|_: &mut Available| ()), ("ef56".to_owned(), time()));
    let bare = taken(&|found: &mut Available| found.went_to = None);
    assert_eq!(bare, ("ef56".to_owned(), None), "the point by itself");
    // Where it is gone, one that leads there; where something was made since, or has begun anew, that.
    let gone = taken(&|found: &mut Available| found.points.truncate(2));
    assert_eq!(gone, ("ab12".to_owned(), time()));
    let since = taken(&|found: &mut Available| found.points.push(made("since", 1_700, "07@4")));
    assert_eq!(since, ("since".to_owned(), Some(Until::Newest)));
    let anew = taken(&|found: &mut Available| {
        let timelines = &mut found.log.as_mut().unwrap().timelines;
        timelines.push(timeline(5, 1_650, &[(1, "05"), (3, "06")]));
    });
    assert_eq!(anew, ("ef56".to_owned(), Some(Until::Newest)));
}

#[test]
fn the_newest_point_is_taken_although_the_log_has_not_heard_of_the_history_in_which_it_lies() {
    let book = |wanted: Wanted| {
        decide_on_log(|input| {
            input.wanted = Some(wanted);
            let found = orders(input);
            found.points.truncate(1);
            let since = Facts { id: "since".into(), time: second(1_700), ..found.points[0].clone() };
            found.points.push(Facts { position: Some("07@3".into()), ..since });
            let path = vec![(1, "05".to_owned())];
            let begun = Some(second(1_250));
            found.log.as_mut().unwrap().timelines = vec![Timeline { number: 2, begun, path }];
        })
    };
    let taken = |wanted: Wanted| {
        let entry = book(wanted).systems[0].clone();
        (entry.choice.point.id, entry.replay.is_some(), entry.lacks)
    };
    assert_eq!(taken(Wanted::Latest), ("since".to_owned(), true, None));
    assert_eq!(taken(Wanted::Before(second(1_800))).0, "since");
    assert_eq!(taken(Wanted::Before(second(1_600))).0, "ab12", "that lies in the second");
}

#[test]
fn a_log_is_rolled_forward_to_its_gap_and_that_is_no_success() {
    let run = |from: &str, to: &str, missing: Option<&str>| Passage {
        timeline: 1,
        from: from.into(),
        to: to.into(),
        until: Some(second(1_200)),
        missing: missing.map(str::to_owned),
    };
    let entry = |runs: Vec<Passage>| {
        let book = decide_on_log(|input| {
            let found = orders(input);
            found.points.truncate(1);
            found.log.as_mut().unwrap().runs = runs;
        });
        book.systems[0].clone()
    };
    let broken = entry(vec![run("04", "06", Some("the rest of 06")), run("08", "09", None)]);
    assert!(broken.replay.is_some() && broken.choice.loss == Period::seconds(800), "{broken:?}");
    assert!(broken.lacks.is_some_and(|lacks| lacks.contains("the rest of 06 is missing")));
    let nothing = entry(vec![run("08", "09", None)]);
    assert!(nothing.replay.is_none() && nothing.lacks.is_some(), "{nothing:?}");
    assert_eq!(entry(vec![run("04", "09", None)]).lacks, None);
}

#[test]
fn a_log_that_ends_before_its_point_is_not_said_to_bring_it_further() {
    let said = |until: i64| {
        let book = decide_on_log(|input| {
            let found = orders(input);
            found.points.truncate(1);
            found.log.as_mut().unwrap().until = Some(second(until));
        });
        book.systems[0].choice.reasons.join("; ")
    };
    assert!(said(900).contains("the point by itself: its log ends before it"), "{}", said(900));
    assert!(!said(900).contains("rolled forward"), "{}", said(900));
    assert!(said(1_100).contains("rolled forward to the end of its log, at least to"), "{}", said(1_100));
}

#[test]
fn with_its_group_a_system_lacks_what_it_would_lack_by_itself() {
    let lacks = |change: fn(&mut Available)| {
        let book = decide_on_log(|input| {
            let mut plan = plan();
            let orders_system = plan.systems.get_mut(&SystemName::from("orders")).unwrap();
            orders_system.consistent_with = vec!["shop".into()];
            input.plan = Box::leak(Box::new(plan));
            input.systems = vec![];
            let found = orders(input);
            found.points.truncate(1);
            change(found);
        });
        assert_eq!(book.groups.len(), 1, "{book:?}");
        let entry = book.systems.iter().find(|entry| entry.system.0 == "orders").unwrap();
        let is_told = entry.lacks.iter().all(|lacks| book.warnings.contains(lacks));
        assert!(is_told, "{:?}", book.warnings);
        entry.lacks.clone().unwrap_or_default()
    };
    assert_eq!(lacks(|_| ()), "");
    let gap = lacks(|found| {
        let log = found.log.as_mut().unwrap();
        (log.from, log.missing) = ("06".into(), Some("the rest of binary log 000001".into()));
        log.earlier = vec![Stretch { from: "04".into(), to: "05@9".into(), until: Some(second(1_200)) }];
    });
    assert!(gap.contains("its log breaks off (the rest of binary log 000001 is missing)"), "{gap}");
    let behind = lacks(|found| {
        (found.went_back, found.went_to) = (Some(second(1_600)), Some(Until::Time(second(1_400))));
    });
    assert!(behind.contains("what was committed since is not back"), "{behind}");
}

#[test]
fn with_its_group_too_an_instant_from_after_a_recovery_that_went_back_is_never_of_what_was_left() {
    let book = |or_earlier| {
        decide_on_log(|input| {
            let mut plan = streamed();
            let orders_system = plan.systems.get_mut(&SystemName::from("orders")).unwrap();
            orders_system.consistent_with = vec!["shop".into()];
            input.plan = Box::leak(Box::new(plan));
            (input.systems, input.wanted) = (vec![], Some(Wanted::Before(second(1_700))));
            input.or_earlier = or_earlier;
            let shop = input.available.get_mut(&SystemName::from("shop")).unwrap();
            shop.points = vec![Facts { id: "ef56".into(), time: second(1_500), ..point() }];
            let found = orders(input);
            found.points.truncate(1);
            (found.went_back, found.went_to) = (Some(second(1_600)), Some(Until::Time(second(1_400))));
        })
    };
    let said = book(false).blockers.join("; ");
    assert!(said.contains("nothing is there of its log from after the recovery of"), "{said}");
    let book = book(true);
    assert!(book.blockers.is_empty(), "{:?}", book.blockers);
    let entry = book.systems.iter().find(|entry| entry.system.0 == "orders").unwrap();
    assert_eq!(entry.replay.as_ref().map(|replay| &replay.until), Some(&Until::Time(second(1_400))));
    assert!(entry.lacks.as_ref().is_some_and(|lacks| lacks.contains("since is not back")), "{entry:?}");
}

/// What is decided for `--before` an instant after these recoveries, which have all taken the point of 1,000: when each began, and how far it went back, if it did. The
/// log has the number of each history that a later one of them has begun, where it `tells` them. Other points were made at `made`.
fn after_recoveries(
    recoveries: &[(i64, Option<i64>)],
    made: &[i64],
    tells: &[(u32, i64)],
    (time, or_earlier): (i64, bool),
) -> (String, Option<Until>, Option<String>) {
    let book = decide_on_log(|input| {
        (input.now, input.or_earlier) = (second(20_000), or_earlier);
        input.wanted = Some(Wanted::Before(second(time)));
        let found = orders(input);
        found.points.truncate(1);
        let log = found.log.as_mut().unwrap();
        log.until = Some(second(9_000));
        let timeline = |(number, begun): &(u32, i64)| Timeline {
            number: *number,
            begun: Some(second(*begun)),
            path: vec![(1, "05".into())],
        };
        log.timelines = tells.iter().map(timeline).collect();
        for (nth, time) in made.iter().enumerate() {
            let left = recoveries.iter().any(|(began, to)| to.is_some() && began > time);
            let rating = if left { Rating::Suspicious } else { Rating::Good };
            let judgement = Judgement { rating, left, ..Judgement::default() };
            let position = Some("05@1".to_owned());
            found.points.push(Facts {
                id: format!("p{nth}"),
                time: second(*time),
                judgement,
                position,
                ..point()
            });
        }
        let from = || Some(("ab12".to_owned(), second(1_000)));
        let came_back = |(began, to): &(i64, Option<i64>)| CameBack {
            began: second(*began),
            went_back: to.is_some(),
            to: Some(to.map_or(Until::Newest, |to| Until::Time(second(to)))),
            from: from(),
        };
        found.recoveries = recoveries.iter().map(came_back).collect();
        if let Some((began, Some(to))) = recoveries.last() {
            (found.went_back, found.went_to) = (Some(second(*began)), Some(Until::Time(second(*to))));
            found.went_from = from();
        }
    });
    let entry = &book.systems[0];
    let refused = book.blockers.iter().find(|why| why.contains("from after the recovery of")).cloned();
    let until = entry.replay.as_ref().map(|replay| replay.until.clone());
    (entry.choice.point.id.clone(), until, refused)
}

#[test]
fn an_instant_lies_in_the_history_that_was_in_force_then_whatever_recovery_came_since() {
    // Back to 1,400 at 1,600; at 1,800 a plain one, which takes the same again, or one that goes all the way.
    let (first, plain, forward) = ((1_600, Some(1_400)), (1_800, Some(1_400)), (1_800, None));
    let refused = |recoveries: &[(i64, Option<i64>)], made: &[i64], tells: &[(u32, i64)], time| {
        after_recoveries(recoveries, made, tells, (time, false)).2
    };
    let all: [&[(i64, Option<i64>)]; 4] =
        [&[first], &[first, plain], &[first, forward], &[first, plain, (1_900, Some(1_200))]];
    let since = [(Vec::<i64>::new(), Vec::<(u32, i64)>::new()), (vec![1_850], vec![(2, 1_810)])];
    for recoveries in all {
        // An agent may have made a point since, in a history that the second has begun.
        for (made, tells) in &since {
            let said = refused(recoveries, made, tells, 1_700).unwrap_or_default();
            assert!(
                said.contains(&format!("the recovery of {:.0}", second(1_600))),
                "{recoveries:?}: {said}"
            );
            assert!(
                said.contains("what was chosen then") && said.contains("a time from before it"),
                "{said}"
            );
            let (_, until, _) = after_recoveries(recoveries, made, tells, (1_700, true));
            assert_eq!(until, Some(Until::Time(second(1_400))), "{recoveries:?} {made:?}");
            // What was left is asked for with an instant from before.
            let left = after_recoveries(recoveries, made, tells, (1_500, false));
            assert_eq!(left, ("ab12".into(), Some(Until::Time(second(1_500))), None), "{recoveries:?}");
        }
    }
    // What was there of the history of the instant comes, and of a later one nothing is needed.
    assert_eq!(refused(&[first, plain], &[], &[(2, 1_610)], 1_700), None);
    assert_eq!(after_recoveries(&[first, plain], &[1_650], &[], (1_700, false)).0, "p0");
    assert_eq!(refused(&[first, forward], &[], &[], 1_850), None);
}

proptest! {
    #[test]
    fn of_all_recoveries_the_last_before_an_instant_decides_on_it(
        went in proptest::collection::vec((1u8..40, proptest::option::of(1u8..100)), 0..6),
        made in proptest::collection::vec(11u8..80, 0..4),
        at in 11u8..90,
        or_earlier: bool,
    ) {
        let mut began = 1_000;
        let recoveries: Vec<(i64, Option<i64>)> = went.iter().map(|(after, part)| {
            began += i64::from(*after) * 30;
            (began, part.map(|part| 1_001 + i64::from(part) % (began - 1_001)))
        }).collect();
        // Nothing else is made at the very second of a recovery.
        let mut made: Vec<i64> = made.iter().map(|time| i64::from(*time) * 100 + 7).collect();
        made.sort_unstable();
        made.dedup();
        let time = i64::from(at) * 100 + 3;
        let decided = after_recoveries(&recoveries, &made, &[], (time, or_earlier));
        let is_gone = |made: i64| recoveries.iter().any(|(began, to)| to.is_some() && made < *began && *began < time);
        let newest = made.iter().enumerate().rfind(|(_, made)| **made < time && !is_gone(**made));
        let last = recoveries.iter().rfind(|(began, _)| *began < time);
        let id = newest.map_or_else(|| "ab12".to_owned(), |(nth, _)| format!("p{nth}"));
        match last {
            Some((began, Some(to))) if newest.is_none_or(|(_, made)| made < began) => {
                prop_assert_eq!((decided.0, decided.1), ("ab12".to_owned(), Some(Until::Time(second(*to)))));
                let said = decided.2.unwrap_or_default();
                let is_named = said.contains(&format!("the recovery of {:.0}", second(*began)));
                prop_assert_eq!(is_named, !or_earlier, "{}", said);
            }
            _ => prop_assert_eq!(decided, (id, Some(Until::Time(second(time))), None)),
        }
    }
}

#[test]
fn where_a_gap_lies_before_an_instant_a_later_point_that_lacks_something_is_named_and_can_be_taken() {
    let book = |wanted: Wanted| {
        decide_on_log(|input| {
            input.plan = Box::leak(Box::new(streamed()));
            input.wanted = Some(wanted);
            let found = orders(input);
            let newer = Facts {
                id: "ef56".into(),
                time: second(1_300),
                complete: false,
                position: Some("07@1".into()),
                judgement: Judgement { rating: Rating::Incomplete, ..Judgement::default() },
                ..found.points[0].clone()
            };
            found.points = vec![found.points[0].clone(), newer];
            let log = found.log.as_mut().unwrap();
            (log.from, log.missing) = ("06".into(), Some("the rest of binary log 000001".into()));
            log.earlier = vec![Stretch { from: "04".into(), to: "05@9".into(), until: Some(second(1_200)) }];
        })
    };
    let said = book(Wanted::Before(second(1_400))).blockers.join("; ");
    let way = "releve recover orders --point ef56 --before 1970-01-01T00:23:20Z";
    assert!(said.contains(way), "{said}");
    let from = |id: &str, time| Wanted::From { id: id.into(), until: Until::Time(second(time)) };
    let taken = book(from("ef56", 1_400));
    assert_eq!(taken.blockers, Vec::<String>::new());
    let entry = &taken.systems[0];
    assert_eq!(entry.replay.as_ref().map(|replay| &replay.until), Some(&Until::Time(second(1_400))));
    assert!(taken.warnings.iter().any(|warning| warning.contains("is incomplete")), "{:?}", taken.warnings);
    // One that is named must lead there as any other, and be from before.
    assert!(book(from("ab12", 1_400)).blockers.join("; ").contains("its log breaks off"));
    assert!(book(from("ef56", 1_250)).blockers.join("; ").contains("was not whole before"));
}

#[test]
fn a_place_in_the_log_is_had_from_a_point_that_lies_before_it_or_it_is_refused() {
    let book = |wanted: Wanted, fitting: &[&str]| {
        let fitting = fitting.iter().map(|id| (*id).to_owned()).collect();
        decide_on_log(|input| {
            let found = orders(input);
            let newer = Facts { id: "ef56".into(), time: second(1_500), ..found.points[0].clone() };
            found.points = vec![found.points[0].clone(), newer];
            found.fitting = Some(fitting);
            input.wanted = Some(wanted);
        })
    };
    let until = || Until::Name("mark".into());
    assert_eq!(book(Wanted::Until(until()), &["ab12"]).systems[0].choice.point.id, "ab12");
    assert_eq!(book(Wanted::Until(until()), &["ab12", "ef56"]).systems[0].choice.point.id, "ef56");
    let refused = book(Wanted::Until(until()), &[]).blockers.join("; ");
    assert!(refused.contains("no point of it was whole before the point named mark"), "{refused}");
    let from = |id: &str| Wanted::From { id: id.into(), until: until() };
    let named = book(from("ab12"), &["ab12"]);
    assert!(named.blockers.is_empty() && named.systems[0].replay.is_some(), "{named:?}");
    assert!(book(from("ef56"), &["ab12"]).blockers.join("; ").contains("is whole only behind"));
}

#[test]
fn a_point_whose_end_is_a_guess_gives_way_to_one_that_had_surely_ended() {
    let chosen = |whole_at: Option<&str>| {
        let book = decide_on_log(|input| {
            let found = orders(input);
            let ended = Facts { ended: Some(second(1_001)), ..found.points[0].clone() };
            let (id, whole_at) = ("ef56".into(), whole_at.map(str::to_owned));
            let newer =
                Facts { id, time: second(1_800), ended: Some(second(1_810)), whole_at, ..ended.clone() };
            found.points = vec![ended, newer];
            let run = |from: &str, to: &str| Passage {
                timeline: 1,
                from: from.into(),
                to: to.into(),
                until: None,
                missing: None,
            };
            found.log.as_mut().unwrap().runs = vec![run("04", "09")];
            input.wanted = Some(Wanted::Before(second(1_850)));
        });
        book.systems[0].choice.point.id.clone()
    };
    assert_eq!(chosen(None), "ab12");
    assert_eq!(chosen(Some("0/3000100")), "ef56");
}

#[test]
fn what_a_point_holds_beyond_the_plan_is_left_in_place_and_comes_beside() {
    let of = |to: Option<&str>| {
        decide(|input| {
            input.systems = vec!["shop".into()];
            input.to = to.map(str::to_owned);
            let found = input.available.get_mut(&SystemName::from("shop")).unwrap();
            let named = input.plan.systems[&SystemName::from("shop")].source.as_ref().unwrap().paths();
            found.points[0].paths = [named, vec!["/given/up".to_owned()]].concat();
        })
    };
    let book = of(None);
    assert_eq!(book.systems[0].left, ["/given/up"]);
    assert!(!book.systems[0].only.is_empty() && book.blockers.is_empty(), "{book:?}");
    assert!(book.warnings.iter().any(|warning| warning.contains("--path /given/up")), "{:?}", book.warnings);
    let beside = of(Some("/mnt"));
    assert!(beside.systems[0].only.is_empty() && beside.systems[0].left.is_empty(), "{beside:?}");
}

#[test]
fn all_systems_come_to_an_instant_together_and_one_without_its_log_only_after_a_yes() {
    let book = |or_earlier: bool| {
        decide(|input| {
            input.plan = Box::leak(Box::new(streamed()));
            input.wanted = Some(Wanted::Before(second(1_400)));
            input.or_earlier = or_earlier;
        })
    };
    let refused = book(false);
    let said = refused.blockers.join("; ");
    assert!(refused.blockers.len() == 1 && said.contains("`orders`: no log of it"), "{said}");
    assert!(said.contains("the same command with --or-earlier") && said.contains("point ab12 of"), "{said}");
    // No other way leads there for all of them.
    assert!(!said.contains("--point"), "{said}");
    let agreed = book(true);
    assert_eq!(agreed.blockers, Vec::<String>::new());
    assert_eq!(agreed.systems.len(), 2);
    assert_eq!((agreed.unreached.len(), agreed.unreached[0].earlier), (1, Period::seconds(400)));
    let told = "it comes back to point ab12 of 1970-01-01T00:16:40Z, 6 minutes 40 seconds before";
    assert!(agreed.warnings.iter().any(|warning| warning.contains(told)), "{:?}", agreed.warnings);
    // Of files there are only points: that is what was asked for, and how much earlier is said.
    let shop = agreed.systems.iter().find(|entry| entry.system.0 == "shop").unwrap();
    assert!(shop.choice.reasons.iter().any(|why| why == "that is 6 minutes 40 seconds before then"));
}

#[test]
fn a_log_that_breaks_off_before_an_instant_is_refused_beforehand_unless_earlier_will_do() {
    let book = |time, or_earlier: bool| {
        decide_on_log(|input| {
            input.plan = Box::leak(Box::new(streamed()));
            input.wanted = Some(Wanted::Before(second(time)));
            input.or_earlier = or_earlier;
            let found = orders(input);
            found.points.truncate(1);
            let log = found.log.as_mut().unwrap();
            (log.from, log.missing) = ("06".into(), Some("the rest of binary log 000001".into()));
            log.earlier = vec![Stretch { from: "04".into(), to: "05@9".into(), until: Some(second(1_200)) }];
        })
    };
    let said = book(1_400, false).blockers.join("; ");
    assert!(said.contains("its log breaks off (the rest of binary log 000001 is missing)"), "{said}");
    assert!(said.contains("--or-earlier"), "{said}");
    // The other way out that it names is one.
    assert!(said.contains("--before 1970-01-01T00:20:00Z instead"), "{said}");
    let reached = book(1_200, false);
    assert_eq!(reached.blockers, Vec::<String>::new());
    assert!(reached.warnings.iter().all(|warning| !warning.contains("breaks off")), "{:?}", reached.warnings);
    assert!(reached.systems[0].replay.as_ref().unwrap().or_earlier);
    let agreed = book(1_400, true);
    assert_eq!(agreed.blockers, Vec::<String>::new());
    assert!(agreed.systems[0].replay.as_ref().unwrap().or_earlier);
    let told = "and from there as far as its log goes";
    assert!(agreed.warnings.iter().any(|warning| warning.contains(told)), "{:?}", agreed.warnings);
}

#[test]
fn an_instant_beside_a_point_is_refused_where_a_recovery_has_left_what_its_log_tells_of_it() {
    // Back to 1,400 at 1,600, from the point of 1,000.
    let blockers = |time, tells: bool, recoveries: &[(i64, bool)]| {
        let book = decide_on_log(|input| {
            input.now = second(20_000);
            input.plan = Box::leak(Box::new(streamed()));
            input.wanted = Some(Wanted::From { id: "ab12".into(), until: Until::Time(second(time)) });
            let found = orders(input);
            found.points.truncate(1);
            let log = found.log.as_mut().unwrap();
            log.until = Some(second(9_000));
            if tells {
                let path = vec![(1, "05".to_owned())];
                log.timelines = vec![Timeline { number: 2, begun: Some(second(1_650)), path }];
            }
            let came_back = |(began, went_back): &(i64, bool)| CameBack {
                began: second(*began),
                went_back: *went_back,
                to: Some(if *went_back { Until::Time(second(1_400)) } else { Until::Newest }),
                from: Some(("ab12".to_owned(), second(1_000))),
            };
            found.recoveries = recoveries.iter().map(came_back).collect();
        });
        book.blockers.join("; ")
    };
    let (back, forward) = ((1_600, true), (1_800, false));
    let said = blockers(1_700, false, &[back]);
    assert!(said.contains("went back: behind point ab12") && said.contains("Without --point"), "{said}");
    // From before it, on a history that it has begun, and where somebody has gone forward since, there is nothing to refuse.
    assert_eq!(blockers(1_500, false, &[back]), "");
    assert_eq!(blockers(1_700, true, &[back]), "");
    assert_eq!(blockers(1_900, false, &[back, forward]), "");
    assert_ne!(blockers(1_700, false, &[back, forward]), "");
}

#[test]
fn no_loss_is_counted_by_a_clock_that_is_behind_the_point() {
    let book = decide(|input| {
        input.systems = vec!["orders".into()];
        let why = Some("claims to be from later, which is yet to come".to_owned());
        let time = Some(Timestamp::UNIX_EPOCH);
        let judgement = Judgement { rating: Rating::Future, why, time, ..Judgement::default() };
        orders(input).points = vec![Facts { time: second(9_000), judgement, ..point() }];
    });
    assert!(book.systems[0].clock_behind, "{:?}", book.systems[0]);
    let said = book.warnings.join("; ");
    assert!(
        said.contains("the clock of this machine is behind the point's") && !said.contains("loses"),
        "{said}"
    );
}

#[test]
fn a_point_that_is_named_for_several_systems_is_taken_with_the_one_that_it_is_of() {
    let book = decide(|input| {
        input.wanted = Some(Wanted::Id("ab12".into()));
        input.available.get_mut(&SystemName::from("shop")).unwrap().points[0].id = "cd34".into();
    });
    let way = "releve recover orders --point ab12";
    assert!(book.blockers.iter().any(|why| why.contains(way)), "{:?}", book.blockers);
}
