use super::*;
use proptest::prelude::*;

pub(crate) fn point(id: &str, second: i64) -> Facts {
    Facts {
        id: id.into(),
        time: Timestamp::from_second(second).unwrap(),
        complete: true,
        verified: None,
        files: 100,
        bytes: 1000,
        change: Changed {
            files_changed: 1,
            files_unchanged: 99,
            incompressible: 0.2,
            bytes_new: 10,
            ..Changed::default()
        },
        ..Facts::default()
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(10_000).unwrap()
}

fn judged(points: &[Facts]) -> Vec<Facts> {
    let mut points = points.to_vec();
    crate::judge::judge(&mut points, None, now());
    points
}

#[test]
fn a_point_of_which_parts_are_gone_is_left_out_and_where_all_are_so_that_is_said_first() {
    let broken = |id, second| Facts { complete: false, broken: Some(BROKEN.to_owned()), ..point(id, second) };
    let points = judged(&[point("aaaa", 100), broken("bbbb", 200)]);
    let choice = choose(&points, &Wanted::Latest, now()).unwrap();
    assert_eq!((choice.point.id.as_str(), choice.left_out[0].why.as_str()), ("aaaa", BROKEN));
    let choice = choose(&judged(&[broken("bbbb", 200)]), &Wanted::Latest, now()).unwrap();
    assert!(choice.reasons[0].starts_with("NO WHOLE POINT IS LEFT"), "{:?}", choice.reasons);
}

#[test]
fn the_newest_complete_point_is_taken_and_a_newer_incomplete_one_is_named() {
    let mut newer = point("bbbb", 200);
    newer.complete = false;
    let choice = choose(&[newer, point("aaaa", 100)], &Wanted::Latest, now()).unwrap();
    assert_eq!(choice.point.id, "aaaa");
    assert!(choice.reasons.iter().any(|reason| reason.contains("bbbb")));
    assert_eq!(choice.loss, Period::seconds(9900));
}

#[test]
fn an_incomplete_point_is_called_complete_in_no_reason() {
    let incomplete = |id, second| Facts { complete: false, ..point(id, second) };
    let points = judged(&[incomplete("aaaa", 100), incomplete("bbbb", 200)]);
    let reasons = |wanted: &Wanted| choose(&points, wanted, now()).unwrap().reasons;
    assert_eq!(reasons(&Wanted::Latest), ["no complete point fits: this is the newest incomplete point"]);
    let before = &reasons(&Wanted::Before(Timestamp::from_second(150).unwrap()))[0];
    assert!(before.starts_with("no complete point fits: this is the newest incomplete point from before"));
    let clean = "no complete point fits: this is the newest incomplete point that shows no sign of tampering";
    assert_eq!(reasons(&Wanted::LastClean)[0], clean);
}

#[test]
fn everything_from_the_first_sign_of_tampering_on_is_left_alone() {
    let mut bad = point("bad0", 300);
    (bad.change.files_changed, bad.change.files_unchanged, bad.change.incompressible) = (100, 0, 0.99);
    let quiet_after = point("late", 400);
    let points = judged(&[point("good", 200), bad, quiet_after]);
    let choice = choose(&points, &Wanted::LastClean, now()).unwrap();
    assert_eq!(choice.point.id, "good");
    assert!(choice.reasons.iter().any(|reason| reason.contains("bad0")), "{:?}", choice.reasons);
}

#[test]
fn what_a_recovery_went_back_behind_is_taken_only_by_who_asks_for_that_instant() {
    let left = |id, second| Facts { left_by: Some(now()), ..point(id, second) };
    let points = judged(&[point("aaaa", 100), left("bbbb", 200), left("cccc", 300)]);
    let taken = |wanted: &Wanted| choose(&points, wanted, now()).unwrap();
    assert_eq!(taken(&Wanted::Latest).point.id, "aaaa");
    assert_eq!(taken(&Wanted::LastClean).point.id, "aaaa");
    let before = taken(&Wanted::Before(Timestamp::from_second(250).unwrap()));
    assert_eq!(before.point.id, "bbbb");
    assert!(!before.reasons[0].contains("NO GOOD"), "{:?}", before.reasons);
}

#[test]
fn where_none_is_clean_it_is_said_what_they_are_left_out_for() {
    let bad = |id, second| {
        let (rating, why) = (Rating::Suspicious, Some("lost nearly everything".to_owned()));
        Facts { judgement: Judgement { rating, why, ..Judgement::default() }, ..point(id, second) }
    };
    let points = [bad("aaaa", 100), bad("bbbb", 200)];
    let why = choose(&points, &Wanted::LastClean, now()).unwrap_err().to_string();
    assert!(!why.contains("no sign of tampering"), "{why}");
    assert!(why.contains("bbbb of") && why.contains("suspicious: lost nearly everything"), "{why}");
    // Nor is it said of points of which one stands out beside the one that is taken.
    let choice = choose(&[point("good", 50), bad("aaaa", 100)], &Wanted::LastClean, now()).unwrap();
    assert!(
        choice.reasons.contains(&"no sign of tampering in any point but those that are left out".to_owned())
    );
}

#[test]
fn where_all_lie_within_what_somebody_did_the_one_with_the_least_of_it_is_named_with_the_ways_on() {
    let within = |id, second, rating| {
        let within = Some("it began then".to_owned());
        Facts { judgement: Judgement { rating, within, ..Judgement::default() }, ..point(id, second) }
    };
    let half = Facts { complete: false, ..within("half", 60, Rating::Good) };
    let of_others = within("else", 50, Rating::Foreign);
    let all = [of_others, half, within("aaaa", 100, Rating::Good), within("bbbb", 200, Rating::Suspicious)];
    let why = choose(&all, &Wanted::LastClean, now()).unwrap_err().to_string();
    assert!(why.contains("none of the 4 points is clean: it began then; "), "{why}");
    assert!(why.contains("aaaa of") && why.contains("--point aaaa --to DIR"), "{why}");
    let why = choose(&all[..2], &Wanted::LastClean, now()).unwrap_err().to_string();
    assert!(why.contains("which is not whole: half of"), "{why}");
}

#[test]
fn a_point_from_the_middle_of_a_slow_loss_says_so_and_names_the_last_one_from_before() {
    let within = |id, second| {
        let within = Some("it began then".to_owned());
        Facts { judgement: Judgement { within, ..Judgement::default() }, ..point(id, second) }
    };
    let all = [point("good", 50), within("aaaa", 100), within("bbbb", 200)];
    let choice = choose(&all, &Wanted::Latest, now()).unwrap();
    assert_eq!(choice.point.id, "bbbb");
    let said = choice.reasons.join("; ");
    assert!(said.contains("BETWEEN THE BEGINNING AND THE END") && said.contains("it began then"), "{said}");
    assert!(said.contains("is good of") && said.contains("--point 'last clean'"), "{said}");
    let alone = choose(&all[1..], &Wanted::Latest, now()).unwrap().reasons.join("; ");
    assert!(alone.contains("no whole one from before is left"), "{alone}");
    let clean = choose(&all, &Wanted::LastClean, now()).unwrap();
    assert!(clean.point.id == "good" && !clean.reasons.join("; ").contains("BETWEEN"), "{clean:?}");
}

#[test]
fn a_busy_day_is_no_attack() {
    let mut busy = point("busy", 300);
    (busy.change.files_changed, busy.change.files_unchanged, busy.change.incompressible) = (80, 20, 0.3);
    let points = judged(&[point("good", 200), busy]);
    assert_eq!(choose(&points, &Wanted::LastClean, now()).unwrap().point.id, "busy");
}

#[test]
fn an_ambiguous_beginning_names_the_candidates() {
    let error = choose(&[point("ab12", 1), point("ab34", 2)], &Wanted::Id("ab".into()), now()).unwrap_err();
    assert_eq!(error.to_string(), "`ab` may be ab12 or ab34");
}

#[test]
fn what_was_asked_for_is_read_back_as_it_was_noted() {
    let place = |kind: &str| kind.parse::<Wanted>().unwrap();
    for wanted in [
        Wanted::Latest,
        Wanted::LastVerified,
        Wanted::LastClean,
        Wanted::BeforeNamed,
        Wanted::Before(now()),
        Wanted::Id("ab12".into()),
        place("position 0/16B3748"),
        place("position mariadb-bin.000042:1234 on timeline 17"),
        place("name before-migration"),
        place("transaction 4711 on timeline 2"),
        place("newest"),
        Wanted::From { id: "ab12".into(), until: Until::Name("before until then".into()) },
        Wanted::From { id: "ab12".into(), until: Until::Time(now()) },
    ] {
        let noted = serde_json::to_string(&wanted).unwrap();
        assert_eq!(serde_json::from_str::<Wanted>(&noted).ok(), Some(wanted), "{noted}");
    }
    assert!("position 0/1 on timeline two".parse::<Wanted>().is_err());
}

#[test]
fn never_verified_is_not_verified() {
    assert!(choose(&[point("aaaa", 1)], &Wanted::LastVerified, now()).is_err());
}

proptest! {
    #[test]
    fn a_choice_is_never_later_than_asked(times in proptest::collection::vec((0i64..9_000, any::<bool>()), 1..30), before in 0i64..9_000) {
        let points: Vec<_> = times.iter().enumerate().map(|(n, (time, complete))| Facts { complete: *complete, ..point(&format!("{n:04}"), *time) }).collect();
        let wanted = Wanted::Before(Timestamp::from_second(before).unwrap());
        match choose(&points, &wanted, now()) {
            Ok(choice) => {
                prop_assert!(choice.point.time.as_second() < before);
                let better = points.iter().any(|p| p.complete && p.time.as_second() < before && (!choice.point.complete || p.time > choice.point.time));
                prop_assert!(!better);
            }
            Err(_) => prop_assert!(points.iter().all(|p| p.time.as_second() >= before)),
        }
    }
}

#[test]
fn a_point_for_which_nobody_vouches_is_never_taken_by_itself_not_even_where_there_is_no_other() {
    let unsigned = |id, second| Facts { unvouched: Some(Unvouched::Unsigned), ..point(id, second) };
    let by = Facts { unvouched: Some(Unvouched::By("ab12".into())), ..point("cccc", 300) };
    let points = judged(&[point("aaaa", 100), unsigned("bbbb", 200), by]);
    for wanted in [Wanted::Latest, Wanted::LastClean] {
        let choice = choose(&points, &wanted, now()).unwrap();
        assert_eq!(choice.point.id, "aaaa");
        let ratings: Vec<Rating> = choice.left_out.iter().map(|left| left.rating).collect();
        assert_eq!(ratings, [Rating::Foreign, Rating::Unsigned], "{:?}", choice.left_out);
    }
    let alone = judged(&[unsigned("bbbb", 200)]);
    let none = choose(&alone, &Wanted::Latest, now()).unwrap_err();
    assert!(none.0.contains("takes by itself") && none.0.contains("releve points --trust bbbb"), "{none}");
    assert_eq!(choose(&alone, &Wanted::Id("bbbb".into()), now()).unwrap().point.id, "bbbb");
    // A person's word ends it.
    let trusted = judged(&[Facts { trusted: true, ..unsigned("bbbb", 200) }]);
    assert_eq!(choose(&trusted, &Wanted::Latest, now()).unwrap().point.id, "bbbb");
}
