//! Twenty thousand systems are decided about as quickly as two: nothing that a plan decides looks at all systems for each of them.
//!
//! What is counted is what this thread has computed, and not how long that took: others may be busy here. The bounds are some ten times what is needed, and a
//! tenth of what it took when all were looked at for each.

use crate::base::SOUND;
use crate::runbook::point;
use jiff::Timestamp;
use plan::notify::out_of_service;
use plan::{
    Action, Available, Course, Plan, Recover, Remark, Runbook, RunbookInput, SourceFile, Step, StepKind,
    StepState, System, SystemName, Together, Wanted, parse, recovery_order, runbook,
};
use std::collections::BTreeSet;
use std::time::Duration;

const SYSTEMS: usize = 20_000;
const WITHIN: Duration = Duration::from_secs(5);

/// Returns what this thread has computed so far.
fn computed() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // What stands in brackets is its name, whatever that is. A tick is a hundredth of a second.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let ticks: u64 =
        rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Does it, and says what it was if it computed too long.
fn soon<R>(what: &str, work: impl FnOnce() -> R) -> R {
    let before = computed();
    let result = work();
    let took = computed() - before;
    assert!(took <= WITHIN, "{what}: {took:?} for {SYSTEMS} systems");
    result
}

fn name(at: usize) -> SystemName {
    SystemName(format!("s{at:05}"))
}

/// A plan whose systems each are made of their number.
fn plan_of(system: impl Fn(usize) -> System) -> Plan {
    Plan { systems: (0..SYSTEMS).map(|at| (name(at), system(at))).collect(), ..Plan::default() }
}

fn needing(needs: Vec<SystemName>) -> System {
    System { needs, ..System::default() }
}

#[test]
fn the_order_of_many_systems_is_found_as_soon_as_that_of_few() {
    // Each needs the next one, so that the last in the order of names comes first; all need one; one needs all.
    let chain = plan_of(|at| needing(if at + 1 < SYSTEMS { vec![name(at + 1)] } else { vec![] }));
    let fan = plan_of(|at| needing(if at == SYSTEMS - 1 { vec![] } else { vec![name(SYSTEMS - 1)] }));
    let hub = plan_of(|at| needing(if at == 0 { (1..SYSTEMS).map(name).collect() } else { vec![] }));
    for (shape, plan) in [("a chain", chain), ("a fan", fan), ("a hub", hub)] {
        let all: Vec<_> = plan.systems.keys().cloned().collect();
        let order = soon(shape, || recovery_order(&plan, &all));
        assert_eq!(order.len(), SYSTEMS, "{shape}");
        if shape == "a chain" {
            assert_eq!(order[0].system, name(SYSTEMS - 1));
        }
        let out = soon(shape, || out_of_service(&plan, &BTreeSet::from([name(SYSTEMS - 1)])));
        assert_eq!(out.len(), if shape == "a hub" { 2 } else { SYSTEMS }, "{shape}");
    }
}

#[test]
fn many_groups_and_one_large_one_are_found_at_once() {
    let apart = plan_of(|_| System::default());
    let with = |other: usize| System { consistent_with: vec![name(other)], ..System::default() };
    let one = plan_of(|at| with(at.saturating_sub(1)));
    let pairs = plan_of(|at| with(at ^ 1));
    for (shape, plan, groups) in
        [("apart", apart, SYSTEMS), ("one group", one, 1), ("pairs", pairs, SYSTEMS / 2)]
    {
        let all: Vec<_> = plan.systems.keys().cloned().collect();
        let together = soon(shape, || Together::new(&plan));
        assert_eq!(together.groups().len(), groups, "{shape}");
        assert_eq!(soon(shape, || together.grouped(&all)).len(), groups, "{shape}");
    }
}

/// Of a plan that is read there are fewer: reading its text takes longer than deciding.
#[test]
fn a_plan_of_one_large_group_is_checked_as_soon_as_one_of_none() {
    let mut text = SOUND.to_owned();
    for at in 0..3_000 {
        let with = if at > 0 { format!("consistent_with = [\"{}\"]\n", name(at - 1)) } else { String::new() };
        text += &format!(
            "[systems.{}]\nhost = \"shop-1\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\n{with}source.files = {{ paths = [\"/srv/{at}\"] }}\n",
            name(at)
        );
    }
    let parsed = soon("a group", || parse(&[SourceFile { name: "plan.toml".into(), text }]));
    let odd = parsed.diagnostics.iter().find(|found| found.code == "rpo-out-of-reach");
    assert!(odd.is_none(), "{odd:?}");
}

/// Each place is found by the lines around it, and not from the beginning of the file on.
#[test]
fn what_is_wrong_with_many_systems_is_shown_as_soon_as_with_few() {
    let mut text = SOUND.to_owned();
    for at in 0..5_000 {
        text += &format!(
            "[systems.{}]\nhost = \"shop-1\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nsource.files = {{ paths = [\"/srv/{at}\"] }}\n",
            name(at)
        );
    }
    let mut parsed = parse(&[SourceFile { name: "plan.toml".into(), text }]);
    let remark = |at: usize| {
        Remark::warning("not-here", format!("systems.{}.source", name(at)), "not here", "mount it")
    };
    soon("what others have found", || parsed.add((0..5_000).map(remark)));
    assert!(parsed.diagnostics.len() >= 10_000);
    let shown = soon("all that is shown", || {
        let show = |found: &plan::Diagnostic| {
            format!("{} {} {:?}", found.line(), found.column(), miette::Report::new(found.clone())).len()
        };
        parsed.diagnostics.iter().map(show).sum::<usize>()
    });
    assert!(shown > 0);
}

#[test]
fn a_chain_that_fails_at_its_beginning_says_so_once_and_not_link_by_link() {
    let step = |at: usize| Step {
        after: (at.max(1) - 1..at).collect(),
        system: Some(name(at)),
        kind: StepKind::Restore,
        only_if: None,
        meanwhile: false,
        anyway: false,
    };
    let book =
        Runbook { machine: "here".into(), steps: (0..SYSTEMS).map(step).collect(), ..Runbook::default() };
    let mut course = Course::new(&book, vec![]);
    assert_eq!(course.begin(0.0, &mut |_| true), Some(0));
    soon("a chain", || course.end(0, StepState::Failed { why: "the disk is full".into() }));
    let why = "waits for `s00000`: the disk is full".to_owned();
    assert_eq!(course.states()[SYSTEMS - 1], StepState::Failed { why });
}

/// Returns what the recovery of all systems of a plan rests on, each of which has one point.
fn input_of(plan: &Plan) -> RunbookInput<'_> {
    let there = Available { points: vec![point()], ..Available::default() };
    RunbookInput {
        plan,
        scenario: None,
        systems: vec![],
        wanted: None,
        or_earlier: false,
        to: None,
        machine: "shop-1".into(),
        stands_in: true,
        now: Timestamp::from_second(2_000).unwrap(),
        available: plan.systems.keys().map(|name| (name.clone(), there.clone())).collect(),
        vaults: vec![("local".into(), Ok(()))],
    }
}

#[test]
fn the_recovery_of_many_systems_is_decided_as_soon_as_that_of_few() {
    let stop = || Action { service: Some("shop".into()), ..Action::default() };
    let recover = || Recover { stop: Some(stop()), ..Recover::default() };
    let last = SYSTEMS - 1;
    let chain = plan_of(|at| System {
        needs: if at < last { vec![name(at + 1)] } else { vec![] },
        recover: recover(),
        ..System::default()
    });
    let fan = plan_of(|at| System {
        needs: if at < last { vec![name(last)] } else { vec![] },
        recover: recover(),
        ..System::default()
    });
    let group = plan_of(|at| System { consistent_with: vec![name(at / 2)], ..System::default() });
    for (shape, plan) in [("a chain", chain), ("a fan", fan), ("a group", group)] {
        for wanted in [Wanted::Latest, Wanted::LastClean] {
            let input = RunbookInput { wanted: Some(wanted), ..input_of(&plan) };
            let book = soon(shape, || runbook(&input));
            assert_eq!((book.systems.len(), book.blockers.len()), (SYSTEMS, 0), "{shape}");
            // Each waits for its neighbours, and not for all that come before them.
            let waits: usize = book.steps.iter().map(|step| step.after.len()).sum();
            assert!(waits <= 5 * SYSTEMS, "{shape}: {waits}");
        }
    }
}

#[test]
fn nothing_comes_back_before_all_that_uses_it_has_stopped() {
    // s0 needs s1, which is not stopped, and that s2; s3 needs s2 alone.
    let stop = || Action { service: Some("shop".into()), ..Action::default() };
    let recover = |stops: bool| Recover { stop: stops.then(stop), ..Recover::default() };
    let needs = [vec![name(1)], vec![name(2)], vec![], vec![name(2)]];
    let systems = needs.into_iter().enumerate();
    let systems = systems
        .map(|(at, needs)| (name(at), System { needs, recover: recover(at != 1), ..System::default() }));
    let plan = Plan { systems: systems.collect(), ..Plan::default() };
    // Not the one in the middle: it is passed through all the same.
    let book = runbook(&RunbookInput { systems: vec![name(0), name(2), name(3)], ..input_of(&plan) });
    let place = |at: usize, is: fn(&StepKind) -> bool| {
        book.steps.iter().position(|step| step.system == Some(name(at)) && is(&step.kind)).unwrap()
    };
    let stopped = |at| place(at, |kind| matches!(kind, StepKind::Stop(_)));
    let back = place(2, |kind| matches!(kind, StepKind::Restore));
    // Whatever stands before the data, however far.
    let mut before = BTreeSet::from([back]);
    for at in (0..=back).rev() {
        if before.contains(&at) {
            before.extend(&book.steps[at].after);
        }
    }
    for at in [0, 2, 3] {
        assert!(before.contains(&stopped(at)), "s{at}: {:?}", book.steps);
    }
    for user in [0, 3] {
        assert!(book.steps[stopped(2)].after.contains(&stopped(user)), "s{user}");
    }
}
