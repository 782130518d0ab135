//! One judgement of a point: histories of a system, and what every verb makes of them. The functions are those that the verbs call.
//!
//! backup: [`judge_new`] and [`base`]; points: the judgement; status, incident, recover, restore and their dry runs: [`choose`]; prune: [`retain`].

use jiff::Timestamp;
use plan::judge::{Changed, RULES, Rating, base, judge, judge_new};
use plan::keep::retain;
use plan::{Facts, Keep, Period, Wanted, choose};
use std::collections::BTreeMap;

const DAY: i64 = 86_400;
/// A round instant, far from 1970, which stands for nothing known.
const BEGIN: i64 = 1_700_000_000;
const KB: u64 = 1_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn day(day: i64) -> Timestamp {
    at(BEGIN + day * DAY)
}

fn now() -> Timestamp {
    at(BEGIN + 100 * DAY)
}

/// A point of 100 files, made and seen on that day by a program that didn't judge; a file has changed.
fn point(id: &str, on: i64) -> Facts {
    Facts {
        id: format!("{id:0<12}"),
        time: day(on),
        complete: true,
        files: 100,
        bytes: 1_000 * KB,
        host: "shop-1".into(),
        paths: vec!["/srv/shop".into()],
        change: Changed {
            files_changed: 1,
            files_unchanged: 99,
            bytes_new: KB,
            incompressible: 0.2,
            ..Changed::default()
        },
        first_seen: Some(day(on)),
        ..Facts::default()
    }
}

fn with(mut point: Facts, change: impl FnOnce(&mut Facts)) -> Facts {
    change(&mut point);
    point
}

fn first(id: &str, on: i64) -> Facts {
    with(point(id, on), |point| {
        point.change = Changed { files_new: 100, bytes_new: 1_000 * KB, ..Changed::default() }
    })
}

/// All files are noise, counted against another point by this program's rules.
fn encrypted(id: &str, on: i64, since: &str) -> Facts {
    with(point(id, on), |point| {
        point.change = Changed {
            files_changed: 100,
            bytes_new: 1_000 * KB,
            incompressible: 1.0,
            files_scrambled: 100,
            bytes_scrambled: 1_000 * KB,
            counted: 1,
            ..Changed::default()
        };
        point.since = Some(format!("{since:0<12}"));
    })
}

fn emptied(id: &str, on: i64) -> Facts {
    with(point(id, on), |point| {
        (point.files, point.bytes) = (0, 0);
        point.change = Changed { files_removed: 100, ..Changed::default() };
    })
}

/// So many of a hundred files of 10 kB went, and so many came.
fn deleted(id: &str, on: i64, gone: u64, came: u64) -> Facts {
    with(point(id, on), |point| {
        (point.files, point.bytes) = (100 - gone + came, (100 - gone + came) * 10 * KB);
        point.change = Changed {
            files_removed: gone,
            files_unchanged: 100 - gone,
            files_new: came,
            bytes_lost: gone * 10 * KB,
            bytes_came: came * 10 * KB,
            counted: 1,
            ..Changed::default()
        };
    })
}

/// Sixty files have another content, and their length and their times don't tell.
fn veiled(id: &str, on: i64) -> Facts {
    with(point(id, on), |point| {
        point.change = Changed {
            files_changed: 60,
            files_veiled: 60,
            files_unchanged: 40,
            counted: 1,
            ..Changed::default()
        };
    })
}

/// So many of a hundred files became noise.
fn scrambled(id: &str, on: i64, files: u64) -> Facts {
    with(point(id, on), |point| {
        point.change = Changed {
            files_changed: files,
            files_unchanged: 100 - files,
            files_scrambled: files,
            bytes_scrambled: files * 10 * KB,
            counted: 1,
            ..Changed::default()
        };
    })
}

fn of_paths(point: Facts, paths: &[&str]) -> Facts {
    with(point, |point| point.paths = paths.iter().map(ToString::to_string).collect())
}

/// It is in no vault any more.
fn gone(point: Facts) -> Facts {
    with(point, |point| point.gone = true)
}

fn sized(id: &str, on: i64, files: u64, bytes: u64) -> Facts {
    with(point(id, on), |point| (point.files, point.bytes, point.change) = (files, bytes, Changed::default()))
}

/// As the program that made it has recorded it.
fn recorded(why: Option<&str>, since: &str, point: Facts) -> Facts {
    with(point, |point| {
        point.judged = RULES;
        point.recorded = why.map(str::to_owned);
        point.tampering = why.is_some_and(|why| why.contains("changed"));
        point.since = Some(format!("{since:0<12}"));
    })
}

fn trusted(point: Facts) -> Facts {
    with(point, |point| point.trusted = true)
}

fn incomplete(point: Facts) -> Facts {
    with(point, |point| point.complete = false)
}

/// A recovery that began on that day went back to before it.
fn left(point: Facts, on: i64) -> Facts {
    with(point, |point| point.left_by = Some(day(on)))
}

fn proven(point: Facts, on: i64) -> Facts {
    with(point, |point| point.verified = Some(day(on)))
}

/// It claims to be from so many days after it was made.
fn ahead(point: Facts, days: i64) -> Facts {
    with(point, |point| point.time = at(point.time.as_second() + days * DAY))
}

/// No state tells when it was first seen.
fn stateless(points: Vec<Facts>) -> Vec<Facts> {
    points.into_iter().map(|point| with(point, |point| point.first_seen = None)).collect()
}

struct History {
    what: &'static str,
    points: Vec<Facts>,
    /// What isn't good, by the beginning of its id.
    bad: Vec<(&'static str, Rating)>,
    /// What a plain recovery takes …
    taken: &'static str,
    /// … and one that asks for `last clean`; empty: there is none.
    clean: &'static str,
}

fn history(
    what: &'static str,
    points: Vec<Facts>,
    bad: &[(&'static str, Rating)],
    taken: &'static str,
    clean: &'static str,
) -> History {
    History { what, points, bad: bad.to_vec(), taken, clean }
}

fn histories() -> Vec<History> {
    use Rating::{Foreign, Future, Incomplete, Proven, Suspicious};
    let good = || vec![first("a", 1), point("b", 2), point("c", 3)];
    let and = |more: Vec<Facts>| [good(), more].concat();
    let dump = |id: &str, on, bytes| sized(id, on, 1, bytes);
    let few = |id: &str, on, files| sized(id, on, files, files * 40);
    let elsewhere = |point: Facts, path: &str| with(point, |point| point.paths = vec![path.to_owned()]);
    let excluding = |point: Facts| with(point, |point| point.excludes = vec!["cache".to_owned()]);
    let hosted = |point: Facts, host: &str| with(point, |point| point.host = host.to_owned());
    let doubtful =
        |point: Facts| with(point, |point| point.doubts = vec!["nothing is mounted on /srv".into()]);
    let late = |point: Facts, on: i64| {
        with(point, |point| (point.first_seen, point.unseen_at) = (Some(day(on)), Some(day(on - 1))))
    };
    let touched = |id: &str, on| {
        with(point(id, on), |point| {
            point.change =
                Changed { files_unchanged: 100, files_touched: 100, counted: 1, ..Changed::default() };
        })
    };
    let read_again = |id: &str, on| {
        with(point(id, on), |point| point.change = Changed { files_changed: 100, ..Changed::default() })
    };
    let busy = |id: &str, on| {
        with(point(id, on), |point| {
            point.change = Changed {
                files_changed: 80,
                files_unchanged: 20,
                bytes_new: KB,
                incompressible: 0.3,
                ..Changed::default()
            };
        })
    };
    let moved = |id: &str, on| {
        with(point(id, on), |point| {
            point.change = Changed {
                files_new: 90,
                files_removed: 90,
                files_moved: 90,
                files_unchanged: 10,
                counted: 1,
                ..Changed::default()
            };
        })
    };
    // One file of a hundred became noise, which holds so many of 100 MB.
    let large = |point: Facts| with(point, |point| point.bytes = 100_000 * KB);
    let and_large = |more: Facts| good().into_iter().map(large).chain([more]).collect::<Vec<Facts>>();
    let one_scrambled = |id: &str, on, megabytes: u64| {
        with(large(point(id, on)), |point| {
            point.change = Changed {
                files_changed: 1,
                files_unchanged: 99,
                files_scrambled: 1,
                bytes_scrambled: megabytes * 1_000 * KB,
                counted: 1,
                ..Changed::default()
            };
        })
    };
    let lost = "lost nearly everything: 0 files";
    let noise = "changed or lost 100 files";
    vec![
        history("a first point", vec![first("a", 1)], &[], "a", "a"),
        history("three quiet days", good(), &[], "c", "c"),
        history("a first point that holds nothing", vec![sized("a", 1, 0, 0)], &[("a", Suspicious)], "a", ""),
        history("a busy day", and(vec![busy("d", 4)]), &[], "d", "d"),
        history("touch of all files", and(vec![touched("d", 4)]), &[], "d", "d"),
        history("all read again by an older program", and(vec![read_again("d", 4)]), &[], "d", "d"),
        history("a moved folder", and(vec![moved("d", 4)]), &[], "d", "d"),
        history("half deleted", and(vec![deleted("d", 4, 50, 0)]), &[("d", Suspicious)], "c", "c"),
        history("half replaced by something else", and(vec![deleted("d", 4, 50, 50)]), &[], "d", "d"),
        history("a third deleted", and(vec![deleted("d", 4, 33, 0)]), &[], "d", "d"),
        history(
            "a quarter deleted each day",
            and(vec![deleted("d", 4, 25, 0), deleted("e", 5, 25, 0)]),
            &[("e", Suspicious)],
            "d",
            "c",
        ),
        history(
            "other contents behind sizes and times that are what they were",
            and(vec![veiled("d", 4)]),
            &[("d", Suspicious)],
            "c",
            "c",
        ),
        history("growth by a hundred", and(vec![sized("d", 4, 10_000, 100_000 * KB)]), &[], "d", "d"),
        history(
            "the one file encrypted that holds nearly everything",
            and_large(one_scrambled("d", 4, 99)),
            &[("d", Suspicious)],
            "c",
            "c",
        ),
        history(
            "one file encrypted that holds a fiftieth",
            and_large(one_scrambled("d", 4, 2)),
            &[],
            "d",
            "d",
        ),
        history(
            "one file encrypted that holds much, beside a large one that came",
            and_large(with(one_scrambled("d", 4, 99), |point| point.bytes *= 100)),
            &[("d", Suspicious)],
            "c",
            "c",
        ),
        history("all encrypted", and(vec![encrypted("d", 4, "c")]), &[("d", Suspicious)], "c", "c"),
        history(
            "encrypted, and quiet after it by an older program",
            and(vec![encrypted("d", 4, "c"), point("e", 5)]),
            &[("d", Suspicious), ("e", Suspicious)],
            "c",
            "c",
        ),
        history(
            "encrypted twice, each against the last good one",
            and(vec![
                recorded(Some(noise), "c", encrypted("d", 4, "c")),
                recorded(Some(noise), "c", encrypted("e", 5, "c")),
            ]),
            &[("d", Suspicious), ("e", Suspicious)],
            "c",
            "c",
        ),
        history(
            "encrypted, and put back: what is good is taken, what follows a sign isn't clean",
            and(vec![
                recorded(Some(noise), "c", encrypted("d", 4, "c")),
                recorded(None, "c", touched("e", 5)),
            ]),
            &[("d", Suspicious)],
            "e",
            "c",
        ),
        history(
            "encrypted, put back and proven",
            and(vec![
                recorded(Some(noise), "c", encrypted("d", 4, "c")),
                proven(recorded(None, "c", touched("e", 5)), 6),
            ]),
            &[("d", Suspicious), ("e", Proven)],
            "e",
            "e",
        ),
        history("noise that a person trusts", and(vec![trusted(encrypted("d", 4, "c"))]), &[], "d", "d"),
        history(
            "trusted, and quiet after it",
            and(vec![trusted(encrypted("d", 4, "c")), point("e", 5)]),
            &[],
            "e",
            "e",
        ),
        history(
            "trusted later than the next was recorded",
            and(vec![
                trusted(recorded(Some(noise), "c", encrypted("d", 4, "c"))),
                recorded(Some(noise), "c", encrypted("e", 5, "c")),
            ]),
            &[],
            "e",
            "e",
        ),
        history(
            "trusted, and encrypted again",
            and(vec![
                trusted(recorded(Some(noise), "c", encrypted("d", 4, "c"))),
                recorded(Some(noise), "d", encrypted("e", 5, "d")),
            ]),
            &[("e", Suspicious)],
            "d",
            "d",
        ),
        history(
            "what was recorded stands, although what it rests on was pruned",
            vec![recorded(Some(noise), "c", encrypted("d", 4, "c")), recorded(None, "c", touched("e", 5))],
            &[("d", Suspicious)],
            "e",
            "",
        ),
        history(
            "a recovery went back behind two",
            vec![first("a", 1), point("b", 2), left(point("c", 3), 5), left(proven(point("d", 4), 5), 5)],
            &[("c", Suspicious), ("d", Suspicious)],
            "b",
            "b",
        ),
        history(
            "a recovery went back, and a point was made since",
            vec![first("a", 1), point("b", 2), left(point("c", 3), 4), point("d", 5)],
            &[("c", Suspicious)],
            "d",
            "d",
        ),
        history(
            "a recovery went back behind one that a person trusts",
            vec![first("a", 1), point("b", 2), left(point("c", 3), 5), trusted(left(point("d", 4), 5))],
            &[("c", Suspicious)],
            "d",
            "d",
        ),
        history("all files gone", and(vec![emptied("d", 4)]), &[("d", Suspicious)], "c", "c"),
        history(
            "gone, and still gone",
            and(vec![emptied("d", 4), emptied("e", 5), emptied("f", 6)]),
            &[("d", Suspicious), ("e", Suspicious), ("f", Suspicious)],
            "c",
            "c",
        ),
        history("gone, and back", and(vec![emptied("d", 4), point("e", 5)]), &[("d", Suspicious)], "e", "e"),
        history(
            "three files, and none",
            vec![few("a", 1, 3), few("b", 2, 0)],
            &[("b", Suspicious)],
            "a",
            "a",
        ),
        history("three files, and two", vec![few("a", 1, 3), few("b", 2, 2)], &[], "b", "b"),
        history("gone on purpose", and(vec![trusted(emptied("d", 4)), emptied("e", 5)]), &[], "e", "e"),
        history(
            "a spool that is empty now and then",
            vec![few("a", 1, 3), trusted(few("b", 2, 0)), few("c", 3, 4), few("d", 4, 0)],
            &[],
            "d",
            "d",
        ),
        history(
            "a dump that shrank",
            vec![dump("a", 1, 900 * KB), dump("b", 2, 20 * KB)],
            &[("b", Suspicious)],
            "a",
            "a",
        ),
        history("a dump of half", vec![dump("a", 1, 900 * KB), dump("b", 2, 400 * KB)], &[], "b", "b"),
        history("a small dump", vec![dump("a", 1, 9 * KB), dump("b", 2, 100)], &[], "b", "b"),
        history(
            "a disk that isn't mounted",
            and(vec![doubtful(emptied("d", 4))]),
            &[("d", Suspicious)],
            "c",
            "c",
        ),
        history(
            "a doubt where nothing is gone",
            and(vec![doubtful(point("d", 4))]),
            &[("d", Suspicious)],
            "c",
            "c",
        ),
        history(
            "a typo in paths, corrected later",
            and(vec![elsewhere(incomplete(emptied("d", 4)), "/srv/shpo"), point("e", 5)]),
            &[("d", Incomplete)],
            "e",
            "e",
        ),
        history(
            "other paths hold less",
            and(vec![elsewhere(sized("d", 4, 3, 90), "/etc/shop")]),
            &[],
            "d",
            "d",
        ),
        history(
            "nearly everything is gone, and more is left out",
            and(vec![excluding(sized("d", 4, 3, 90))]),
            &[("d", Suspicious)],
            "c",
            "c",
        ),
        history("a little more is left out", and(vec![excluding(deleted("d", 4, 20, 0))]), &[], "d", "d"),
        history(
            "half deleted, and a pattern left out that matches nothing",
            and(vec![excluding(deleted("d", 4, 50, 0))]),
            &[("d", Suspicious)],
            "c",
            "c",
        ),
        history(
            "everything gone, and another path added",
            and(vec![of_paths(emptied("d", 4), &["/srv/shop", "/etc/shop"])]),
            &[("d", Suspicious)],
            "c",
            "c",
        ),
        history(
            "everything gone, and less of it named",
            and(vec![of_paths(emptied("d", 4), &["/srv/shop/orders"])]),
            &[("d", Suspicious)],
            "c",
            "c",
        ),
        history(
            "a path of much added to one of little, and all of it gone",
            vec![
                elsewhere(few("a", 1, 3), "/etc/shop"),
                of_paths(point("b", 2), &["/etc/shop", "/srv/shop"]),
                of_paths(few("c", 3, 3), &["/etc/shop", "/srv/shop"]),
            ],
            &[("c", Suspicious)],
            "b",
            "b",
        ),
        history(
            "one of two paths of a size taken out, and a file deleted later",
            vec![
                of_paths(first("a", 1), &["/srv/shop", "/etc/shop"]),
                of_paths(point("b", 2), &["/srv/shop", "/etc/shop"]),
                deleted("c", 3, 50, 0),
                deleted("d", 4, 1, 0),
            ],
            &[],
            "d",
            "d",
        ),
        history(
            "a slow encryption: the first of those that show it in sum isn't clean either",
            and(vec![scrambled("d", 4, 2), scrambled("e", 5, 2), scrambled("f", 6, 2)]),
            &[("f", Suspicious)],
            "e",
            "c",
        ),
        history(
            "a slow encryption that was recorded",
            and(vec![
                recorded(None, "c", scrambled("d", 4, 2)),
                proven(recorded(None, "d", scrambled("e", 5, 2)), 6),
                recorded(Some(noise), "e", scrambled("f", 7, 2)),
                recorded(Some(noise), "e", scrambled("g", 90, 2)),
            ]),
            &[("e", Proven), ("f", Suspicious), ("g", Suspicious)],
            "e",
            "c",
        ),
        history("an incomplete one", and(vec![incomplete(point("d", 4))]), &[("d", Incomplete)], "c", "c"),
        history(
            "an incomplete one that lacks nearly everything",
            and(vec![incomplete(emptied("d", 4)), point("e", 5)]),
            &[("d", Incomplete)],
            "e",
            "e",
        ),
        history(
            "only incomplete ones",
            vec![incomplete(first("a", 1)), incomplete(point("b", 2))],
            &[("a", Incomplete), ("b", Incomplete)],
            "b",
            "b",
        ),
        history("a proven one", and(vec![proven(point("d", 4), 5)]), &[("d", Proven)], "d", "d"),
        history(
            "a clock that was a year ahead once",
            and(vec![ahead(point("d", 4), 365), point("e", 5)]),
            &[("d", Future)],
            "e",
            "e",
        ),
        history(
            "a clock that was a year ahead for the newest",
            and(vec![ahead(point("d", 4), 365)]),
            &[("d", Future)],
            "d",
            "d",
        ),
        history(
            "a point from next year, without a state",
            stateless(and(vec![ahead(point("d", 4), 365), point("e", 5)])),
            &[("d", Future)],
            "e",
            "e",
        ),
        history(
            "the newest is from next year, without a state",
            stateless(and(vec![ahead(point("d", 4), 365)])),
            &[("d", Future)],
            "c",
            "c",
        ),
        history(
            "one that claims a past in which it wasn't there",
            and(vec![late(point("d", 4), 60)]),
            &[("d", Suspicious)],
            "c",
            "c",
        ),
        history("another machine", and(vec![hosted(point("d", 4), "intruder")]), &[("d", Foreign)], "c", "c"),
        history(
            "another machine that a person trusts",
            and(vec![trusted(hosted(point("d", 4), "shop-2")), hosted(point("e", 5), "shop-2")]),
            &[],
            "e",
            "e",
        ),
        history(
            "the machine that the plan names now",
            vec![hosted(first("a", 1), "old"), point("b", 2)],
            &[],
            "b",
            "b",
        ),
        history(
            "nothing good left",
            vec![
                recorded(Some(lost), "x", emptied("a", 1)),
                recorded(Some(noise), "x", encrypted("b", 2, "x")),
            ],
            &[("a", Suspicious), ("b", Suspicious)],
            "b",
            "",
        ),
    ]
}

#[test]
fn every_verb_says_the_same_of_a_point() {
    let histories = histories();
    assert!(histories.len() >= 40, "{}", histories.len());
    for History { what, mut points, bad, taken, clean } in histories {
        let home = Some("shop-1");
        let made = points.clone();
        judge(&mut points, home, now());
        // points
        let ratings: BTreeMap<&str, Rating> =
            points.iter().map(|point| (point.id.trim_end_matches('0'), point.judgement.rating)).collect();
        let told: Vec<_> = ratings
            .iter()
            .filter(|(_, rating)| **rating != Rating::Good)
            .map(|(id, rating)| (*id, *rating))
            .collect();
        assert_eq!(told, bad, "{what}");
        assert!(
            points.iter().all(|point| point.judgement.why.is_some()
                == matches!(point.judgement.rating, Rating::Suspicious | Rating::Foreign | Rating::Future)),
            "{what}"
        );
        // recover, restore, status, incident
        let choice = choose(&points, &Wanted::Latest, now()).unwrap();
        assert_eq!(choice.point.id.trim_end_matches('0'), taken, "{what}: {:?}", choice.reasons);
        let point = &choice.point;
        let loss = now().duration_since(point.counts()).unsigned_abs();
        assert_eq!(choice.loss, Period(loss), "{what}");
        let is_newer = |newer: &&Facts| {
            newer.counts() > point.counts() || (newer.judgement.rating == Rating::Future && !newer.is_base())
        };
        let newer: Vec<&Facts> = points.iter().rev().filter(is_newer).collect();
        let left_out: Vec<&str> = choice.left_out.iter().map(|left| left.id.as_str()).collect();
        assert_eq!(left_out, newer.iter().map(|newer| newer.id.as_str()).collect::<Vec<_>>(), "{what}");
        assert!(
            newer.first().is_none_or(|newest| choice.reasons.iter().any(|why| why.contains(&newest.id))),
            "{what}"
        );
        assert_eq!(choice.reasons[0].contains("NO GOOD POINT"), !point.is_base(), "{what}");
        let by_id = choose(&points, &Wanted::Id(points[points.len() - 1].id.clone()), now()).unwrap();
        assert_eq!(by_id.point, points[points.len() - 1], "{what}");
        match choose(&points, &Wanted::LastClean, now()) {
            Ok(choice) => {
                assert_eq!(choice.point.id.trim_end_matches('0'), clean, "{what}: {:?}", choice.reasons);
            }
            Err(why) => assert_eq!("", clean, "{what}: {why}"),
        }
        // prune
        let verdicts =
            retain(&points, Some(&Keep { last: Some(1), ..Keep::default() }), Period::seconds(3600));
        for (verdict, point) in verdicts.iter().zip(&points) {
            let is_bad =
                matches!(point.judgement.rating, Rating::Suspicious | Rating::Foreign | Rating::Future);
            assert_eq!(
                (&verdict.id, verdict.rating, verdict.suspicious.is_some()),
                (&point.id, point.judgement.rating, is_bad),
                "{what}"
            );
            if point.id == choice.point.id {
                assert!(!verdict.kept.is_empty(), "{what}: what a recovery takes would go");
            }
        }
        // backup: the newest, as it is judged when it is made, and what the next one would be held against.
        let newest = made.iter().max_by_key(|point| point.first_seen.unwrap_or(point.time)).unwrap();
        if newest.judged == 0 && newest.first_seen == Some(newest.time) && newest.unseen_at.is_none() {
            let before: Vec<Facts> = {
                let mut before: Vec<Facts> =
                    made.iter().filter(|point| point.id != newest.id).cloned().collect();
                judge(&mut before, home, newest.time);
                before
            };
            let own = judge_new(&before, newest, home, newest.time);
            let rating = ratings[newest.id.trim_end_matches('0')];
            assert_eq!(own.rating, if rating == Rating::Proven { Rating::Proven } else { rating }, "{what}");
        }
        let next = base(&points, &points[0].paths).unwrap();
        assert!(next.is_base() || !points.iter().any(Facts::is_base), "{what}");
    }
}

#[test]
fn what_a_point_counted_tells_on_when_the_point_is_gone_and_is_counted_once() {
    let new = |since: &str| recorded(None, since, scrambled("e", 40, 1));
    let worth = |history: &[Facts], since: &str| judge_new(history, &new(since), Some("shop-1"), day(40));
    let there = [first("a", 1), scrambled("d", 4, 2)];
    assert_eq!(worth(&there, "d").rating, Rating::Good, "nobody remembers");
    let pruned = [first("a", 1), gone(scrambled("b", 2, 1)), gone(scrambled("c", 3, 1)), there[1].clone()];
    let told = worth(&pruned, "d");
    assert_eq!((told.rating, told.tampering, told.began), (Rating::Suspicious, true, Some(day(2))));
    let why = told.why.unwrap();
    for part in ["has, with 3 points before it, 5 files", "; it began with point b0000000 of "] {
        assert!(why.contains(part), "{part}: {why}");
    }
    // A person's trust in one that is gone still explains what came until then.
    let explained = pruned.clone().map(|point| if point.id == pruned[2].id { trusted(point) } else { point });
    assert_eq!(worth(&explained, "d").rating, Rating::Good);
    // What came after the one that it is counted against it has counted itself.
    let forgotten = pruned.clone().map(|point| if point.id == there[1].id { gone(point) } else { point });
    assert_eq!(worth(&forgotten, "a").rating, Rating::Good);
    assert_eq!(base(&forgotten, &forgotten[0].paths).unwrap().id, there[0].id);
    // Nor is anything held to be lost against one that nobody can take any more.
    let emptied = judge_new(&[gone(first("a", 1))], &emptied("b", 2), Some("shop-1"), day(2));
    assert_eq!(emptied.why.unwrap(), "is the first one, and holds nothing");
}

#[test]
fn a_loss_says_what_of_the_plan_was_edited_at_the_same_time() {
    let history = [first("a", 1)];
    let told = |point: Facts| judge_new(&history, &point, Some("shop-1"), day(2)).why.unwrap();
    let excluding = |point: Facts| with(point, |point| point.excludes = vec!["*.tmp".to_owned()]);
    let also = |point: Facts| of_paths(point, &["/srv/shop", "/etc/shop"]);
    assert!(told(excluding(emptied("b", 2))).ends_with("; the plan's `exclude` was edited at the same time"));
    assert!(told(also(emptied("b", 2))).ends_with("; the plan's `paths` were edited at the same time"));
    assert!(told(also(deleted("b", 2, 50, 0))).ends_with("`paths` were edited at the same time"));
    assert!(!told(emptied("b", 2)).contains("edited"));
}

#[test]
fn what_an_older_program_left_is_over_for_a_point_that_is_held_against_the_last_good_one() {
    let struck = with(point("d", 4), |point| {
        point.change =
            Changed { files_changed: 100, bytes_new: KB, incompressible: 1.0, ..Changed::default() };
    });
    let mut before = vec![first("a", 1), point("b", 2), point("c", 3), struck, point("e", 5)];
    judge(&mut before, Some("shop-1"), day(6));
    assert_eq!(before[4].judgement.rating, Rating::Suspicious);
    assert_eq!(base(&before, &before[0].paths).unwrap().id, before[2].id);
    let new = with(point("f", 6), |point| point.since = Some(before[2].id.clone()));
    assert_eq!(judge_new(&before, &new, Some("shop-1"), day(6)).rating, Rating::Good);
}

#[test]
fn a_point_from_the_future_can_be_forgotten_by_rules_and_is_never_the_newest_complete_one() {
    let mut points = vec![first("a", 1), ahead(point("b", 2), 365), point("c", 3), point("d", 4)];
    judge(&mut points, Some("shop-1"), now());
    let verdicts = retain(&points, Some(&Keep { last: Some(2), ..Keep::default() }), Period::seconds(3600));
    let kept: Vec<&str> = verdicts
        .iter()
        .filter(|verdict| !verdict.kept.is_empty())
        .map(|verdict| verdict.id.trim_end_matches('0'))
        .collect();
    assert_eq!(kept, ["c", "d"]);
}

#[test]
fn what_a_person_reads_names_the_point_that_was_left_out_why_and_how_to_take_it() {
    let mut points = vec![first("a", 1), emptied("b", 2), emptied("c", 3)];
    judge(&mut points, Some("shop-1"), now());
    let choice = choose(&points, &Wanted::Latest, now()).unwrap();
    let said = choice.reasons.join("; ");
    for part in [
        "the newest good and complete point",
        "c00000000000",
        "0 files and 0 B are left of 100 files and 1.0 MB",
        "and so was one more",
        "--point c00000000000",
        "releve points --trust c00000000000",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
