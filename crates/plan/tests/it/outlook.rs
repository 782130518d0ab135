//! How a recovery under way will go, and what is warned of before it is late.

use crate::base::{SOUND, read};
use jiff::Timestamp;
use plan::forecast::Measured;
use plan::outlook::{
    Basis, Estimate, Estimates, Evidence, Outlook, Proposal, Restoring, Seen, Verdict, Why, outlook,
};
use plan::{
    Available, Facts, Period, Plan, Runbook, RunbookInput, Step, StepKind, StepState, SystemName, runbook,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const BYTES: u64 = 1_000_000;

fn begun(seconds: f64) -> StepState {
    StepState::Begun { seconds }
}

fn done(seconds: f64) -> StepState {
    StepState::Done { seconds, unconfirmed: None, answer: None }
}

/// A recovery of the shop: its data (0), its start (1), its check (2); promised after an hour.
struct World {
    plan: Plan,
    book: Runbook,
    states: Vec<StepState>,
    restoring: BTreeMap<usize, Restoring>,
    evidence: Evidence,
    paused: bool,
}

impl World {
    fn new(more: &str) -> Self {
        let text = SOUND.replace("[systems.shop]\n", &format!("[systems.shop]\n{more}\n"));
        let text = text.replace(
            "host = \"shop-1\"\n",
            "host = \"shop-1\"\nmtpd = \"4 hours\"\nrecover.start = { service = \"nginx\" }\n",
        );
        let parsed = read(&text);
        assert!(parsed.plan.is_some(), "{:?}", parsed.diagnostics);
        let plan = parsed.plan.unwrap();
        let point =
            Facts { bytes: BYTES, vaults: vec!["local".into(), "cloud".into()], ..crate::runbook::point() };
        let book = runbook(&RunbookInput {
            plan: &plan,
            scenario: None,
            systems: vec!["shop".into()],
            wanted: None,
            or_earlier: false,
            to: None,
            machine: "shop-1".into(),
            stands_in: false,
            now: Timestamp::from_second(2_000).unwrap(),
            available: BTreeMap::from([(
                "shop".into(),
                Available { points: vec![point], ..Available::default() },
            )]),
            vaults: vec![("local".into(), Ok(())), ("cloud".into(), Ok(()))],
        });
        assert_eq!(book.blockers, Vec::<String>::new());
        let states = vec![StepState::Waiting; book.steps.len()];
        let (restoring, evidence) = (BTreeMap::new(), Evidence::default());
        Self { plan, book, states, restoring, evidence, paused: false }
    }

    /// Its last recovery put its data back in so many seconds, and took so many for the rest.
    fn measured(mut self, restore: u64, rest: u64) -> Self {
        let (restore, rest) = (Duration::from_secs(restore), Duration::from_secs(rest));
        self.evidence.learn("shop".into(), Measured { bytes: BYTES, restore, rest });
        self
    }

    fn is(mut self, at: usize, state: StepState) -> Self {
        self.states[at] = state;
        self
    }

    fn at<T>(&self, elapsed: f64, look: impl FnOnce(&Seen<'_>, Outlook) -> T) -> T {
        let estimates = Estimates::new(&self.book, &self.evidence);
        let seen = Seen {
            plan: &self.plan,
            book: &self.book,
            states: &self.states,
            elapsed,
            estimates: &estimates,
            restoring: &self.restoring,
            paused: self.paused,
        };
        look(&seen, outlook(&seen))
    }

    /// Returns how the RTO of the shop stands, and when it is expected.
    fn rto(&self, elapsed: f64) -> (Verdict, f64) {
        self.at(elapsed, |_, seen| (seen.systems[0].rto, seen.systems[0].expected.unwrap().seconds))
    }

    /// Returns what is warned of, and what is proposed.
    fn warned(&self, elapsed: f64) -> Vec<(String, Option<Proposal>)> {
        self.at(elapsed, |seen, outlook| {
            outlook
                .threatened()
                .map(|deadline| (deadline.text(seen.book, elapsed), outlook.proposal(seen, &deadline)))
                .collect()
        })
    }
}

#[test]
fn the_book_of_these_tests_is_data_start_check() {
    let world = World::new("");
    let kinds: Vec<_> = world.book.steps.iter().map(|step| step.kind.to_string()).collect();
    assert!(
        matches!(kinds.as_slice(), [data, start, check] if data.contains("data") && start.contains("nginx") && check.starts_with("check")),
        "{kinds:?}"
    );
}

#[test]
fn what_was_measured_is_expected_and_what_never_was_stays_unknown() {
    let world = World::new("").measured(1_000, 10);
    assert_eq!(world.rto(0.0), (Verdict::InTime, 1_010.0));
    // Ten times slower than what was promised: said at once, not when it is over.
    let world = World::new("").measured(10_000, 10);
    assert_eq!(world.rto(0.0).0, Verdict::LikelyLate);
    let world = World::new("");
    let expected = world.at(0.0, |_, seen| seen.systems[0].expected.unwrap());
    assert_eq!((world.rto(0.0).0, expected.unclear), (Verdict::Unknown, Some(0)));
}

#[test]
fn what_another_system_has_shown_counts_unless_it_was_tiny() {
    let mut world = World::new("");
    let measured = |bytes| Measured { bytes, restore: Duration::from_secs(100), rest: Duration::ZERO };
    world.evidence.learn("orders".into(), measured(BYTES / 100));
    assert_eq!(world.rto(0.0).0, Verdict::Unknown);
    world.evidence.learn("orders".into(), measured(BYTES / 2));
    assert_eq!(world.rto(0.0), (Verdict::InTime, 210.0));
    let basis = |at| Estimates::new(&world.book, &world.evidence).of(at).unwrap().basis;
    assert_eq!((basis(0), basis(1)), (Basis::Another, Basis::Guess));
}

#[test]
fn what_was_measured_of_a_few_bytes_makes_nobody_wait_for_hours() {
    let mut world = World::new("");
    let measured =
        |bytes, millis| Measured { bytes, restore: Duration::from_millis(millis), rest: Duration::ZERO };
    // By bytes alone that would be three quarters of an hour for a megabyte, and an hour was promised.
    world.evidence.learn("shop".into(), measured(6, 16));
    let data = |world: &World| Estimates::new(&world.book, &world.evidence).of(0);
    assert_eq!(data(&world).map(|data| (data.seconds.round(), data.basis)), Some((1.0, Basis::Guess)));
    assert_eq!(world.rto(0.0).0, Verdict::InTime);
    // That is no rate that anything could be slow beside.
    world.states[0] = begun(0.0);
    let half = Restoring { bytes: BYTES / 2, expected: BYTES, rate: Some(100_000.0), still_seconds: 0.0 };
    world.restoring.insert(0, half);
    assert!(world.at(5.0, |_, seen| seen.slow.is_empty()));
    // Another system has shown a rate: ten seconds for a hundred megabytes.
    world.evidence.learn("orders".into(), measured(100_000_000, 10_000));
    let seconds = data(&world).map(|data| ((data.seconds * 10.0).round(), data.basis));
    assert_eq!(seconds, Some((1.0, Basis::Another)));
    // Of far more, a few bytes say nothing at all.
    let mut world = World::new("");
    world.evidence.learn("shop".into(), measured(6, 16));
    world.book.systems[0].choice.point.bytes = 100_000_000_000;
    assert_eq!((data(&world), world.rto(0.0).0), (None, Verdict::Unknown));
}

#[test]
fn it_is_warned_before_the_promise_is_missed_although_nobody_knows_how_long_it_takes() {
    let world = World::new("").is(0, begun(0.0));
    assert!(world.warned(2_000.0).is_empty());
    let warned = world.warned(2_800.0);
    assert_eq!(warned.len(), 1);
    assert!(
        warned[0].0.contains("will likely be late") && warned[0].0.contains("nobody knows"),
        "{warned:?}"
    );
    let late = world.warned(3_700.0);
    assert!(late[0].0.contains("shop is late: 1 hour was promised"), "{late:?}");
    // And the company itself is at stake later.
    assert_eq!(world.warned(14_500.0).len(), 2);
}

#[test]
fn what_comes_back_now_says_more_than_what_was_measured_once() {
    let mut world = World::new("").measured(100, 10).is(0, begun(0.0));
    let half = |rate, still_seconds| Restoring { bytes: BYTES / 2, expected: BYTES, rate, still_seconds };
    // 500 bytes a second, where 10,000 were measured.
    world.restoring.insert(0, half(Some(500.0), 0.0));
    assert_eq!(world.rto(50.0), (Verdict::InTime, 1_060.0));
    let slow = |world: &World| world.at(50.0, |_, seen| seen.slow.first().map(|slow| slow.why));
    assert_eq!(slow(&world), Some(Why::Rate { now: 500.0, usual: 10_000.0 }));
    world.restoring.insert(0, half(Some(9_000.0), 0.0));
    assert_eq!(slow(&world), None);
    world.restoring.insert(0, half(Some(50.0), 0.0));
    let warned = world.warned(50.0);
    let vault = Proposal::OtherVault {
        system: "shop".into(),
        slow: "local".into(),
        vault: "cloud".into(),
        readable: true,
    };
    assert_eq!(warned[0].1, Some(vault), "{warned:?}");
    world.restoring.insert(0, half(Some(0.0), 30.0));
    assert_eq!(slow(&world), Some(Why::Stalled { seconds: 30.0 }));
    let expected = world.at(50.0, |_, seen| seen.systems[0].expected.unwrap());
    assert_eq!((expected.seconds, expected.unclear), (110.0, Some(0)));
}

#[test]
fn a_smaller_part_is_proposed_only_where_the_plan_names_none() {
    let small = Proposal::SmallerPart { system: "shop".into() };
    let text = small.to_string();
    assert!(text.contains("systems.shop.recover.first") && text.contains("--anew"), "{text}");
    let small = Some(small);
    let world = World::new("").measured(10_000, 10).is(0, begun(0.0));
    assert_eq!(world.warned(1.0)[0].1, small);
    let world = World::new("recover.first = [\"/srv/shop/app\"]").measured(10_000, 10).is(0, begun(0.0));
    assert!(world.warned(2_900.0).iter().all(|(_, proposed)| *proposed != small));
}

#[test]
fn another_host_is_proposed_only_where_there_is_one_that_reaches_a_vault() {
    let mut world = World::new("").measured(10, 10_000).is(0, done(10.0)).is(1, begun(10.0));
    assert_eq!(world.warned(20.0)[0].1, None);
    world.plan.hosts.insert("spare".into(), plan::Host::default());
    let spare = Proposal::OtherHost { system: "shop".into(), host: "spare".into() };
    assert_eq!(world.warned(20.0)[0].1, Some(spare));
    for vault in world.plan.vaults.values_mut() {
        vault.url = "file:///srv/vault".into();
    }
    assert_eq!(world.warned(20.0)[0].1, None);
}

#[test]
fn a_person_who_is_waited_for_is_named_before_it_is_late_and_the_deputy_proposed() {
    let ask = "recover.before = [{ ask = \"Is the disk in?\", who = \"hugo\", within = \"10 minutes\", answers = [\"yes\", \"no\"] }]";
    let world = World::new(ask).measured(100, 10).is(0, begun(30.0));
    let awaited = world.at(60.0, |_, seen| seen.awaited[0].clone());
    assert_eq!((awaited.who, awaited.since, awaited.due), (Some("hugo".into()), 30.0, Some(600.0)));
    assert!(world.warned(400.0).is_empty());
    let warned = world.warned(480.0);
    let deputy = world.plan.systems["shop"].deputy.clone().unwrap();
    let answers = vec!["yes".to_owned(), "no".to_owned()];
    assert_eq!(warned[0].1, Some(Proposal::Deputy { step: 0, deputy, answers }), "{warned:?}");
    assert!(warned[0].0.contains("hugo has not answered"), "{warned:?}");
    assert!(world.warned(601.0)[0].0.contains("was to be done after 10 minutes"));
    // What waits for a person is not in time just because everything else is.
    assert_eq!(world.rto(480.0).0, Verdict::Unknown);
    let world = world.is(0, done(500.0));
    assert!(world.warned(601.0).is_empty());
}

#[test]
fn what_is_left_out_after_an_answer_takes_no_time() {
    let more = "recover.before = [{ ask = \"Empty it?\", name = \"empty\", answers = [\"yes\", \"no\"] }, { wait = \"2 hours\", when.asked = \"empty\", when.answered = [\"yes\"] }]";
    let answered =
        |answer: &str| StepState::Done { seconds: 5.0, unconfirmed: None, answer: Some(answer.into()) };
    let world = World::new(more).measured(100, 0).is(0, answered("no"));
    assert_eq!(world.rto(5.0).0, Verdict::InTime);
    let world = World::new(more).measured(100, 0).is(0, answered("yes"));
    assert_eq!(world.rto(5.0).0, Verdict::LikelyLate);
}

#[test]
fn paused_or_failed_it_is_not_in_time_and_the_way_on_is_named() {
    let mut world = World::new("").measured(10, 10);
    world.paused = true;
    assert_eq!(world.rto(1.0).0, Verdict::Unknown);
    assert_eq!(world.warned(3_000.0)[0].1, Some(Proposal::GoOn));
    let failed = StepState::Failed { why: "no".into() };
    let world = World::new("").is(0, failed);
    assert_eq!(world.warned(1.0)[0].1, Some(Proposal::Say { step: 0, failed: true }));
    let world = World::new("").is(0, done(1.0)).is(1, StepState::Doubt);
    assert_eq!(world.warned(3_000.0)[0].1, Some(Proposal::Say { step: 1, failed: false }));
}

#[test]
fn what_is_back_is_held_against_its_promise_as_it_came_back() {
    let world = World::new("").is(0, done(1.0)).is(1, done(2.0)).is(2, done(3.0));
    let back =
        world.at(9_000.0, |_, seen| (seen.systems[0].back, seen.systems[0].rto, seen.expected.seconds));
    assert_eq!(back, (Some(3.0), Verdict::InTime, 3.0));
    let world = World::new("").is(0, done(1.0)).is(1, done(2.0)).is(2, done(4_000.0));
    assert_eq!(world.rto(9_000.0).0, Verdict::Late);
    assert!(world.warned(9_000.0).is_empty(), "too late to do anything about it");
}

#[test]
fn ten_thousand_steps_are_looked_at_in_a_moment() {
    let steps = (0..10_000).map(|at| step(at, (at > 0).then(|| at - 1).into_iter().collect())).collect();
    let mut world = World::new("");
    world.book.steps = steps;
    let estimates: Estimates = (0..10_000).map(|_| known(1.0)).collect();
    let begun = std::time::Instant::now();
    let seen = graph(&world, &[], 0.0, &estimates);
    assert_eq!((seen.critical.len(), seen.expected.seconds), (10_000, 10_000.0));
    // Far more than it takes, and far less than anything that isn't one pass over them.
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

fn step(at: usize, after: Vec<usize>) -> Step {
    let system = Some(SystemName(format!("s{}", at % 3)));
    Step {
        after,
        system,
        kind: StepKind::Wait(Period::seconds(1)),
        only_if: None,
        meanwhile: false,
        anyway: false,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "that is what estimates are made of")]
fn known(seconds: f64) -> Option<Estimate> {
    Some(Estimate { seconds, basis: Basis::Measured })
}

fn graph(world: &World, states: &[StepState], elapsed: f64, estimates: &Estimates) -> Outlook {
    let (plan, book, restoring) = (&world.plan, &world.book, &world.restoring);
    outlook(&Seen { plan, book, states, elapsed, estimates, restoring, paused: world.paused })
}

proptest! {
    #[test]
    fn the_critical_path_is_a_path_as_long_as_the_recovery(
        edges in proptest::collection::vec((0usize..30, 0usize..30), 0..90),
        times in proptest::collection::vec(proptest::option::of(0u32..1_000), 30),
    ) {
        let mut world = World::new("");
        world.book.steps = connected(30, &edges);
        let estimates: Estimates = times.iter().map(|time| known(f64::from((*time)?))).collect();
        let seen = graph(&world, &[], 0.0, &estimates);
        for pair in seen.critical.windows(2) {
            prop_assert!(world.book.steps[pair[1]].after.contains(&pair[0]), "{:?}", seen.critical);
        }
        prop_assert!(world.book.steps[seen.critical[0]].after.is_empty());
        let length: u32 = seen.critical.iter().filter_map(|at| times[*at]).sum();
        prop_assert!((f64::from(length) - seen.expected.seconds).abs() < 1e-6);
        // It is a bound exactly if nobody knows of some step.
        prop_assert_eq!(seen.expected.unclear.is_some(), times.contains(&None));
    }

    /// Wherever a recovery is: a step that ends in its time makes nothing later.
    #[test]
    fn finishing_a_step_makes_nothing_later_than_expecting_it(
        edges in proptest::collection::vec((0usize..20, 0usize..20), 0..60),
        times in proptest::collection::vec(0u32..100, 20),
        turns in proptest::collection::vec(0usize..20, 0..20),
    ) {
        let mut world = World::new("");
        world.book.steps = connected(20, &edges);
        let estimates: Estimates = times.iter().map(|time| known(f64::from(*time))).collect();
        let mut states = vec![StepState::Waiting; 20];
        let mut now = 0.0;
        for turn in turns {
            let is_done = |at: &usize| matches!(states[*at], StepState::Done { .. });
            let ready: Vec<usize> = (0..20)
                .filter(|at| !is_done(at) && world.book.steps[*at].after.iter().all(is_done))
                .collect();
            let Some(at) = ready.get(turn % ready.len().max(1)).copied() else { break };
            if states[at] == StepState::Waiting {
                states[at] = begun(now);
                continue;
            }
            let StepState::Begun { seconds } = states[at] else { continue };
            // At some instant until its end, and at the same it ends.
            now = now.midpoint((seconds + f64::from(times[at])).max(now));
            let before = graph(&world, &states, now, &estimates);
            states[at] = done(now);
            let after = graph(&world, &states, now, &estimates);
            for (one, other) in before.systems.iter().zip(&after.systems) {
                prop_assert!(other.expected.unwrap().seconds <= one.expected.unwrap().seconds + 1e-6);
            }
            prop_assert!(after.expected.seconds <= before.expected.seconds + 1e-6);
        }
    }

    /// Whatever it is given, even a list of steps that wait for what isn't there.
    #[test]
    fn nothing_makes_it_panic(
        edges in proptest::collection::vec((0usize..12, 0usize..40), 0..40),
        states in proptest::collection::vec(any_state(), 0..20),
        times in proptest::collection::vec(proptest::option::of(any::<f64>()), 0..20),
        bytes in proptest::collection::btree_map(0usize..12, (any::<u64>(), any::<u64>(), proptest::option::of(any::<f64>())), 0..6),
        elapsed in any::<f64>(),
        paused in any::<bool>(),
    ) {
        let mut world = World::new("");
        world.paused = paused;
        world.book.steps = (0..12).map(|at| {
            let kind = if at % 2 == 0 { StepKind::Restore } else { StepKind::Approve(1) };
            Step { kind, ..step(at, edges.iter().filter(|(a, _)| *a == at).map(|(_, b)| *b).collect()) }
        }).collect();
        world.restoring = bytes
            .into_iter()
            .map(|(at, (bytes, expected, rate))| (at, Restoring { bytes, expected, rate, still_seconds: 0.0 }))
            .collect();
        let estimates: Estimates = times.into_iter().map(|time| known(time?)).collect();
        let seen = Seen {
            plan: &world.plan,
            book: &world.book,
            states: &states,
            elapsed,
            estimates: &estimates,
            restoring: &world.restoring,
            paused,
        };
        let outlook = outlook(&seen);
        for deadline in outlook.threatened() {
            let _ = (deadline.text(&world.book, elapsed), outlook.proposal(&seen, &deadline));
            prop_assert!(deadline.verdict >= Verdict::LikelyLate);
        }
    }
}

fn connected(count: usize, edges: &[(usize, usize)]) -> Vec<Step> {
    let all = (0..count).map(|at| {
        let after: BTreeSet<usize> =
            edges.iter().filter(|(a, b)| *a == at && b < a).map(|(_, b)| *b).collect();
        step(at, after.into_iter().collect())
    });
    all.collect()
}

fn any_state() -> impl Strategy<Value = StepState> {
    prop_oneof![
        Just(StepState::Waiting),
        any::<f64>().prop_map(begun),
        any::<f64>().prop_map(done),
        Just(StepState::Unneeded),
        Just(StepState::Failed { why: "no".into() }),
        Just(StepState::Doubt),
        Just(StepState::Skipped { why: "no".into() }),
    ]
}
