//! What holds for any text, any needs, any history.

use crate::base::{SOUND, codes, read, shown};
use jiff::{SignedDuration, Timestamp};
use plan::judge::{self, Changed};
use plan::schedule::{History, due};
use plan::{
    Facts, Parsed, Period, Plan, Share, SourceFile, System, SystemName, Wanted, choose, parse, recovery_order,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// Reads and shows a text: whatever it is, every place lies in it, and there is a plan exactly when there is no error.
fn survives(text: &str) {
    judge(&read(text));
    // And as two files, cut at some line or other.
    if let Some((cut, _)) = text.match_indices('\n').nth(text.len() % 7) {
        let (first, second) = text.split_at(cut);
        judge(&parse(
            &[("1.toml", first), ("2.toml", second)]
                .map(|(name, text)| SourceFile { name: name.into(), text: text.into() }),
        ));
    }
}

fn judge(parsed: &Parsed) {
    assert_eq!(parsed.plan.is_none(), parsed.has_errors());
    for found in &parsed.diagnostics {
        assert!(found.file.inner().get(found.span.clone()).is_some(), "{found:?}");
        assert!(found.line() >= 1 && found.column() >= 1);
        assert_ne!(found.code, "shape", "the reader let something through that serde refuses: {found}");
    }
    shown(parsed);
}

#[test]
fn bottomless_nesting_is_refused_and_not_followed() {
    for (open, close) in [("[", "]"), ("{a=", "}"), ("a.", ""), ("[[", "")] {
        survives(&format!("people = {}", open.repeat(20_000)));
        survives(&format!("people = {}{}", open.repeat(20_000), close.repeat(20_000)));
        survives(&open.repeat(20_000));
    }
    survives(&format!("[{}a]", "a.".repeat(20_000)));
}

/// Bits of TOML and of plans, to make texts that come further than noise does.
fn bits() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\n",
        "\"",
        "'",
        "\"\"\"",
        "#",
        "\\",
        "\u{feff}",
        "é",
        "\0",
        "\r\n",
        "-1",
        "0x1f",
        "1e9",
        "inf",
        "true",
        "2026-11-23",
        "systems",
        "people",
        "vaults",
        "policy",
        "source",
        "files",
        "check",
        "env",
        "\"1 hour\"",
        "\"a\"",
        "a",
        "name",
        "password",
        "needs",
        "[systems.a]\n",
        "source.postgres",
        "recover.start",
        "keep",
    ]);
    vec(words, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_a_plan_or_refused(text in "\\PC{0,200}") {
        survives(&text);
    }

    #[test]
    fn anything_like_toml_is_a_plan_or_refused(text in bits()) {
        survives(&text);
    }

    #[test]
    fn a_plan_with_pieces_cut_out_moved_and_put_in_is_a_plan_or_refused(
        cuts in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), bits()), 1..4),
    ) {
        let mut chars: Vec<char> = SOUND.chars().collect();
        for (at, until, put) in cuts {
            if chars.is_empty() { break }
            let (at, until) = (at.index(chars.len()), until.index(chars.len()));
            // Short cuts leave most of the plan to be read.
            let until = until.clamp(at, (at + 20).min(chars.len()));
            chars.splice(at..until, put.chars().take(8));
        }
        survives(&chars.into_iter().collect::<String>());
    }

    #[test]
    fn lines_in_any_order_twice_or_never_are_a_plan_or_refused(order in vec(any::<prop::sample::Index>(), 0..60)) {
        let lines: Vec<_> = SOUND.lines().collect();
        let text: Vec<_> = order.iter().map(|at| lines[at.index(lines.len())]).collect();
        survives(&text.join("\n"));
    }

    #[test]
    fn a_line_left_out_is_noticed_or_leaves_a_plan_that_reads_back(at in 0..SOUND.lines().count()) {
        let text: Vec<_> = SOUND.lines().enumerate().filter(|(n, _)| *n != at).map(|(_, line)| line).collect();
        let parsed = read(&text.join("\n"));
        match &parsed.plan {
            Some(plan) => {
                let json = serde_json::to_string(plan).unwrap();
                let again: Plan = serde_json::from_str(&json).unwrap();
                prop_assert_eq!(serde_json::to_string(&again).unwrap(), json);
            }
            None => prop_assert!(!codes(&parsed).is_empty()),
        }
    }

    #[test]
    fn a_duration_reads_back_as_it_is_shown(seconds in prop_oneof![0..100_000u64, any::<u64>()]) {
        let period = Period::seconds(seconds);
        prop_assert_eq!(period.to_string().parse(), Ok(period), "{}", period);
        prop_assert_eq!(serde_json::from_str::<Period>(&serde_json::to_string(&period).unwrap()).unwrap(), period);
    }

    #[test]
    fn a_duration_shown_short_is_never_more_than_it_is(seconds in 0..1_000_000_000u64) {
        let short: Period = format!("{:.2}", Period::seconds(seconds)).parse().unwrap();
        prop_assert!(short <= Period::seconds(seconds));
        // A month and six days is a month: the next unit is a week.
        prop_assert!(short.0.as_secs_f64() >= seconds as f64 * 0.8);
    }

    #[test]
    fn a_share_reads_back_as_it_is_shown(hundredths in 0..=10_000u32) {
        let share: Share = format!("{}%", f64::from(hundredths) / 100.0).parse().unwrap();
        prop_assert!((0.0..=1.0).contains(&share.0));
        prop_assert_eq!(share.to_string().parse(), Ok(share));
        prop_assert!(share.to_string().len() <= 6, "{}", share);
    }

    #[test]
    fn a_choice_of_restore_point_reads_back_as_it_is_shown(second in -1_000_000_000i64..4_000_000_000) {
        let before = Wanted::Before(Timestamp::from_second(second).unwrap());
        for wanted in [Wanted::Latest, Wanted::LastVerified, Wanted::LastClean, before] {
            prop_assert_eq!(wanted.to_string().parse(), Ok(wanted));
        }
    }
}

/// A plan of systems with these needs, and nothing else.
fn needing(needs: &[Vec<usize>]) -> Plan {
    let mut plan = Plan::default();
    for (at, needs) in needs.iter().enumerate() {
        let needs = needs.iter().map(|need| SystemName(format!("s{need}"))).collect();
        plan.systems.insert(SystemName(format!("s{at}")), System { needs, ..System::default() });
    }
    plan
}

/// The text of such a plan.
fn text_of(needs: &[Vec<usize>]) -> String {
    let system = |(at, needs): (usize, &Vec<usize>)| {
        let needs: Vec<_> = needs.iter().map(|need| format!("\"s{need}\"")).collect();
        format!(
            "[systems.s{at}]\nhost = \"shop-1\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nneeds = [{}]\n\
             source.sqlite = {{ path = \"/srv/{at}.db\" }}\ncheck = [{{ sql = \"select 1\" }}]\n",
            needs.join(", ")
        )
    };
    format!("{SOUND}{}", needs.iter().enumerate().map(system).collect::<String>())
}

fn needs(systems: usize) -> impl Strategy<Value = Vec<Vec<usize>>> {
    vec(vec(0..systems, 0..4), systems)
}

/// Whether repeatedly taking away what needs nothing leaves something: the plain definition of a cycle.
fn has_cycle(needs: &[Vec<usize>]) -> bool {
    let mut left: BTreeSet<usize> = (0..needs.len()).collect();
    loop {
        let free: Vec<_> =
            left.iter().copied().filter(|at| !needs[*at].iter().any(|need| left.contains(need))).collect();
        if free.is_empty() {
            return !left.is_empty();
        }
        left.retain(|at| !free.contains(at));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_needed_comes_first_or_a_real_cycle_is_named(needs in needs(8), chosen in vec(any::<bool>(), 8)) {
        let parsed = read(&text_of(&needs));
        let complaint = parsed.diagnostics.iter().find(|found| found.code == "needs-cycle");
        prop_assert_eq!(complaint.is_some(), has_cycle(&needs));
        if let Some(complaint) = complaint {
            let way: Vec<usize> =
                complaint.message.split(": ").nth(1).unwrap().split(" → ").map(|name| name[1..].parse().unwrap()).collect();
            prop_assert!(way.len() >= 2 && way.first() == way.last());
            prop_assert!(way.windows(2).all(|pair| needs[pair[0]].contains(&pair[1])), "{:?} {:?}", way, needs);
            let distinct: BTreeSet<_> = way.iter().collect();
            prop_assert_eq!(distinct.len(), way.len() - 1);
        }
        // Even then the order holds every system once, and hangs nowhere.
        let plan = needing(&needs);
        let selected: Vec<SystemName> = (0..8).filter(|at| chosen[*at]).map(|at| SystemName(format!("s{at}"))).collect();
        let order = recovery_order(&plan, &selected);
        let ordered: BTreeSet<_> = order.iter().map(|entry| &entry.system).collect();
        prop_assert_eq!(order.len(), selected.len());
        prop_assert_eq!(ordered, selected.iter().collect());
        for (at, entry) in order.iter().enumerate() {
            let earlier: BTreeSet<_> = order[..at].iter().map(|entry| &entry.system).collect();
            if !has_cycle(&needs) {
                prop_assert!(entry.after.iter().all(|need| earlier.contains(need)));
            }
            prop_assert!(entry.after.iter().all(|need| selected.contains(need)));
            prop_assert!(entry.needs_running.iter().all(|need| !selected.contains(need)));
            let named = entry.after.len() + entry.needs_running.len();
            prop_assert_eq!(named, plan.systems[&entry.system].needs.len());
        }
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

prop_compose! {
    fn histories()(success in option::of(0..200_000i64), attempt in option::of(0..200_000i64), failures in 0..100u32) -> History {
        History { success: success.map(at), attempt: attempt.map(at), failures }
    }
}

prop_compose! {
    fn points()(of in vec((0..9_000i64, any::<bool>(), any::<bool>(), 0..200u64, 0.0..=1.0f64), 0..20)) -> Vec<Facts> {
        of.into_iter().enumerate().map(|(n, (time, complete, verified, touched, incompressible))| Facts {
            id: format!("{n:04x}"),
            time: at(time),
            complete,
            verified: verified.then(|| at(9_500)),
            files: 200,
            bytes: 1_000,
            change: Changed { files_changed: touched.min(200), files_unchanged: 200 - touched.min(200), incompressible, bytes_new: 10, ..Changed::default() },
            ..Facts::default()
        }).collect()
    }
}

proptest! {
    #[test]
    fn no_run_is_put_off_for_longer_than_its_interval(history in histories(), every in 1..1_000_000u64, now in 0..200_000i64) {
        let due = due(history, Period::seconds(every), at(now));
        let latest = at(now) + SignedDuration::try_from(Duration::from_secs(every.max(60))).unwrap();
        prop_assert!(due <= latest, "{due}");
    }

    #[test]
    fn as_time_goes_by_a_run_becomes_due_and_stays_so(history in histories(), every in 1..100_000u64, now in 0..200_000i64) {
        let every = Period::seconds(every);
        // Clocks that were wrong are another matter.
        prop_assume!(history.success.is_none_or(|time| time <= at(now)) && history.attempt.is_none_or(|time| time <= at(now)));
        let first = due(history, every, at(now));
        let later = first.max(at(now)) + SignedDuration::from_secs(1);
        prop_assert!(due(history, every, later) <= later);
    }

    #[test]
    fn after_a_failure_a_minute_passes_and_more_failures_never_make_it_sooner(failures in 1..200u32, every in 1..1_000_000u64) {
        let history = |failures| History { success: Some(at(0)), attempt: Some(at(100)), failures };
        let (this, next) = (due(history(failures), Period::seconds(every), at(100)), due(history(failures + 1), Period::seconds(every), at(100)));
        prop_assert!(this >= at(160) && this <= next && next <= at(100 + 3600));
    }

    #[test]
    fn any_duration_can_be_a_schedule(history in histories(), every in any::<u64>()) {
        let due = due(history, Period::seconds(every), Timestamp::MAX);
        prop_assert!(due <= Timestamp::MAX);
    }

    #[test]
    fn what_is_chosen_is_what_was_asked_for(points in points(), before in 0..9_000i64) {
        let complete_newest = points.iter().filter(|point| point.complete).map(|point| point.time).max();
        for wanted in [Wanted::Latest, Wanted::LastVerified, Wanted::LastClean, Wanted::Before(at(before))] {
            let Ok(choice) = choose(&points, &wanted, at(10_000)) else { continue };
            let point = &choice.point;
            prop_assert!(points.contains(point));
            prop_assert!(!choice.reasons.is_empty());
            prop_assert_eq!(choice.loss, Period::seconds(10_000 - u64::try_from(point.time.as_second()).unwrap()));
            match wanted {
                Wanted::Latest => prop_assert!(complete_newest.is_none_or(|newest| point.time == newest)),
                Wanted::LastVerified => prop_assert!(point.verified.is_some()),
                Wanted::Before(time) => prop_assert!(point.time < time),
                _ => {}
            }
            if !point.complete {
                prop_assert!(choice.reasons[0].contains("incomplete"), "{:?}", choice.reasons);
            }
        }
    }

    #[test]
    fn a_new_attack_never_takes_a_clean_point_away(points in points()) {
        let mut attacked = points.clone();
        let last = points.iter().map(|point| point.time).max().unwrap_or(at(0));
        if let Some(some) = points.first() {
            let attack = Facts { id: "bad".into(), time: last + SignedDuration::from_secs(1), complete: true, change: Changed { files_changed: 200, bytes_new: 10, incompressible: 1.0, ..Changed::default() }, ..some.clone() };
            attacked.push(attack);
        }
        let mut points = points;
        judge::judge(&mut points, None, at(10_000));
        judge::judge(&mut attacked, None, at(10_000));
        let (calm, hit) = (choose(&points, &Wanted::LastClean, at(10_000)), choose(&attacked, &Wanted::LastClean, at(10_000)));
        if let (Ok(calm), Ok(hit)) = (&calm, &hit) {
            prop_assert_eq!(&hit.point.id, &calm.point.id);
        }
        prop_assert_eq!(calm.is_ok(), hit.is_ok());
    }
}
