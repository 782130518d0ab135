//! Steps that the plan writes out: where they stand in a runbook, when they are left out, and what is wrong with them.

use crate::base::{changed, read, shown};
use crate::runbook::point;
use insta::assert_snapshot;
use jiff::Timestamp;
use plan::{Available, Runbook, RunbookInput, runbook};
use std::collections::BTreeMap;

/// A sound plan whose system has these lines besides, and its scenario those.
fn with(system: &str, scenario: &str) -> String {
    let text = changed("host = \"shop-1\"\n", &format!("host = \"shop-1\"\n{system}\n"));
    format!("{text}{scenario}\n")
}

pub(crate) fn faults() -> Vec<(&'static str, String)> {
    let before = |step: &str| with(&format!("recover.before = [{step}]"), "");
    vec![
        ("a step that does two things", before("{ run = [\"true\"], wait = \"1 minute\" }")),
        ("a step that does nothing", before("{ within = \"1 minute\" }")),
        ("a host that isn't there", before("{ isolate = \"shop-2\" }")),
        ("a person who isn't there", before("{ ask = \"Call the insurer\", who = \"clarie\" }")),
        ("an answer without a choice", before("{ ask = \"Call the insurer\", answers = [\"yes\"] }")),
        ("a variable without a name", before("{ run = [\"true\"], env = [\"=fr\"] }")),
        ("a status that no program has", before("{ run = [\"true\"], expect = 256 }")),
        ("a relative folder", before("{ run = [\"true\"], directory = \"srv\" }")),
        (
            "keys that mean nothing there",
            before("{ wait = \"1 minute\", user = \"www\", answers = [\"a\", \"b\"], action = \"stop\" }"),
        ),
        ("a message that nothing carries", before("{ notify = \"It begins\" }")),
        ("data that come back twice", before("{ restore = true }")),
        ("a procedure without data", with("recover.instead = [{ run = [\"true\"] }]", "")),
        (
            "a question that nobody asked",
            before("{ run = [\"true\"], when = { asked = \"police\", answered = [\"yes\"] } }"),
        ),
        (
            "an answer that isn't one",
            before(
                "{ ask = \"Police?\", name = \"police\", answers = [\"yes\", \"no\"] }, { run = [\"true\"], when = { asked = \"polise\", answered = [\"yes\"] } }, { run = [\"true\"], when = { asked = \"police\", answered = [\"maybe\"] } }",
            ),
        ),
        ("an answer to nothing", before("{ run = [\"true\"], when = { answered = [\"yes\"] } }")),
        (
            "a cause and a scenario that aren't there",
            before("{ run = [\"true\"], when = { causes = [\"cyberatack\"], scenarios = [\"flood\"] } }"),
        ),
        ("more approvals than people", with("recover.approvals = 3", "approvals = 4")),
        ("a check of no database", with("", "before = [{ check = { sql = \"select 1\" } }]")),
    ]
}

#[test]
fn what_is_wrong_with_steps_is_said() {
    let shown: Vec<_> =
        faults().into_iter().map(|(name, text)| format!("━━━ {name}\n\n{}", shown(&read(&text)))).collect();
    assert_snapshot!(shown.join("\n\n"));
}

/// Decides with a point for each system, after a scenario.
fn book(text: &str, scenario: Option<&str>, to: Option<&str>) -> Runbook {
    let parsed = read(text);
    assert!(!parsed.has_errors(), "{}", shown(&parsed));
    let plan = parsed.plan.unwrap();
    let all = || Available { points: vec![point()], ..Available::default() };
    let input = RunbookInput {
        plan: &plan,
        scenario: scenario.map(Into::into),
        systems: vec![],
        wanted: Some(plan::Wanted::Latest),
        or_earlier: false,
        to: to.map(str::to_owned),
        machine: "shop-1".into(),
        stands_in: false,
        now: Timestamp::from_second(2_000).unwrap(),
        available: plan.systems.keys().map(|name| (name.clone(), all())).collect::<BTreeMap<_, _>>(),
        vaults: vec![("local".into(), Ok(()))],
    };
    let book = runbook(&input);
    assert_eq!(book.blockers, Vec::<String>::new());
    book
}

/// Returns each step as `number ← those before: what`, in the order of the list.
fn lines(book: &Runbook) -> Vec<String> {
    let steps = book.steps.iter().enumerate();
    steps
        .map(|(at, step)| {
            let only_if = step
                .only_if
                .as_ref()
                .map_or_else(String::new, |only_if| format!(" if {} is {:?}", only_if.step, only_if.answers));
            let meanwhile = if step.meanwhile { " meanwhile" } else { "" };
            let anyway = if step.anyway { " anyway" } else { "" };
            format!("{at} ← {:?}: {}{only_if}{meanwhile}{anyway}", step.after, step.kind)
        })
        .collect()
}

const PROCEDURE: &str = r#"recover.stop = { service = "shop" }
recover.start = { service = "shop" }
recover.approvals = 2
recover.before = [
    { ask = "Keep the disk?", name = "disk", answers = ["yes", "no"], who = "claire" },
    { run = ["freeze"], when = { asked = "disk", answered = ["yes"] } },
    { run = ["never"], when = { scenarios = ["ransomware"] } },
]
recover.after = [{ ask = "Compare", meanwhile = true }, { service = "mailer", action = "restart" }]"#;

#[test]
fn before_comes_first_of_all_and_after_when_the_checks_have_passed() {
    let book = book(&with(PROCEDURE, ""), None, None);
    assert_eq!(
        lines(&book),
        [
            "0 ← []: Keep the disk?",
            "1 ← [0]: run: freeze if 0 is [\"yes\"]",
            "2 ← [1]: 2 persons approve that it is overwritten",
            "3 ← [2]: stop: service shop",
            "4 ← [2, 3]: put its data back",
            "5 ← [4]: start: service shop",
            "6 ← [5]: check: http://127.0.0.1/health answers 200",
            "7 ← [6]: Compare meanwhile",
            "8 ← [6]: restart service mailer",
        ]
    );
}

#[test]
fn a_scenario_has_steps_around_everything_and_systems_have_some_for_it() {
    let scenario = "isolate = [\"shop-1\"]\nbefore = [{ ask = \"Police?\", name = \"police\", answers = [\"yes\", \"no\"] }, { wait = \"1 minute\" }]\n\
                    after = [{ ask = \"Change passwords\" }, { release = \"shop-1\" }]\napprovals = 1";
    let system = "recover.before = [{ run = [\"only\"], when = { scenarios = [\"ransomware\"], causes = [\"cyberattack\"] } }, { run = [\"keep\"], when = { asked = \"police\", answered = [\"yes\"] } }]";
    let text = with(system, scenario);
    assert_eq!(
        lines(&book(&text, Some("ransomware"), None)),
        [
            "0 ← []: cut shop-1 off the network",
            "1 ← [0]: Police?",
            "2 ← [1]: wait 1 minute",
            "3 ← [2]: a person approves that it is overwritten",
            "4 ← [3]: run: only",
            "5 ← [1, 4]: run: keep if 1 is [\"yes\"]",
            "6 ← [5]: put its data back",
            "7 ← [6]: check: http://127.0.0.1/health answers 200",
            "8 ← [0, 1, 2, 3, 4, 5, 6, 7]: Change passwords anyway",
            "9 ← [8]: give shop-1 its network back",
        ]
    );
    // Without the scenario nothing of it is asked, and what depends on that is left out.
    assert_eq!(
        lines(&book(&text, None, None)),
        ["0 ← []: put its data back", "1 ← [0]: check: http://127.0.0.1/health answers 200"]
    );
    // Beside nothing is done to any machine.
    let beside = lines(&book(&text, Some("ransomware"), Some("/mnt")));
    assert_eq!(
        beside,
        ["0 ← []: Police?", "1 ← [0]: put its data back", "2 ← [0, 1]: Change passwords anyway"]
    );
}

#[test]
fn a_procedure_that_is_written_out_waits_for_what_it_needs_once_its_data_are_back() {
    let needy = "needs = [\"orders\"]\nrecover.stop = { service = \"shop\" }\nrecover.instead = [{ run = [\"mount\"] }, { restore = true }, { run = [\"load\"] }, { check = { tcp = \"127.0.0.1:80\" } }]";
    let orders = "[systems.orders]\nhost = \"shop-1\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nsource.files = { paths = [\"/srv/orders\"] }\nrecover.start = { service = \"orders\" }\n";
    let text = with(needy, "").replace("[policy]", &format!("{orders}\n[policy]"));
    assert_eq!(
        lines(&book(&text, None, None)),
        [
            "0 ← []: put its data back",
            "1 ← [0]: start: service orders",
            "2 ← []: run: mount",
            "3 ← [2]: put its data back",
            "4 ← [1, 3]: run: load",
            "5 ← [4]: check: 127.0.0.1:80 accepts connections",
        ]
    );
}
