//! A plan of thousands of systems is answered about as soon as one of a few: no verb that reads all of it looks at all of it for each of them.
//!
//! What is counted is what the program has computed, and not how long that took: others may be busy here. The bounds are some five times what is needed, and a
//! third of what it took when it grew with the square, or less.

use crate::world::World;
use std::fmt::Write as _;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(5);

/// Returns what ended programs of this test have computed so far.
fn computed() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // What stands in brackets is its name, whatever that is. A tick is a hundredth of a second.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let ticks = rest.split_whitespace().skip(13).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// Writes a plan of so many systems more, a third of which is a chain of needs, a third needs one, and a third belongs together in tens.
fn plan_of(world: &World, systems: usize) {
    let mut more = String::new();
    for at in 0..systems {
        let folder = world.path(&format!("many/{at}"));
        let with = match at % 3 {
            0 if at > 0 => format!("needs = [\"s{}\"]", at - 3),
            1 => "needs = [\"shop\"]".to_owned(),
            2 => format!("consistent_with = [\"s{}\"]", at - at % 30 + 2),
            _ => String::new(),
        };
        let with = if with == format!("consistent_with = [\"s{at}\"]") { String::new() } else { with };
        writeln!(
            more,
            "[systems.s{at}]\nhost = \"server\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nowner = \"hugo\"\n{with}\nsource.files = {{ paths = [{folder:?}] }}"
        )
        .unwrap();
    }
    world.write_plan(&world.vault("near"), &world.vault("far"), &more);
}

#[test]
fn a_plan_of_thousands_of_systems_is_checked_and_its_recovery_shown_as_soon_as_one_of_a_few() {
    let world = World::new();
    // Of each it is said that nothing checks it, and that its folder isn't here: whoever shows that must not count lines from the beginning each time.
    for (systems, verb, code) in [
        (3_000, &["check", "--offline"][..], 0),
        (3_000, &["check"], 1),
        (20_000, &["recover", "--dry-run"], 2),
    ] {
        plan_of(&world, systems);
        let before = computed();
        let run = world.run(verb);
        let took = computed() - before;
        assert_eq!(run.code, code, "{verb:?}");
        assert!(run.err.contains("s2999") || run.out.contains("s2999"), "{verb:?}");
        assert!(took <= WITHIN, "{verb:?}: {took:?} for {systems} systems");
    }
}
