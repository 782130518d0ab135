#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics"
)]

use super::*;
use crate::{SourceFile, parse};

const BASE: &str = r#"
[organisation]
name = "Atelier"
[people.hugo]
name = "Hugo"
[people.claire]
name = "Claire"
role = "incident lead"
[sites.here]
[sites.away]
[hosts.shop-1]
site = "here"
management = ["192.0.2.10"]
[hosts.shop-2]
site = "here"
[vaults.near]
url = "file:///srv/near"
site = "here"
password = { file = "/etc/near.key" }
[vaults.far]
url = "file:///srv/far"
site = "away"
password = { file = "/etc/far.key" }
[policy]
vaults = ["near", "far"]
every = "1 hour"
[systems.share]
host = "shop-2"
rto = "1 hour"
rpo = "1 hour"
owner = "claire"
source.files = { paths = ["/srv/share"] }
check = [{ file = "/srv/share/a" }]
[systems.orders]
title = "Order database"
host = "shop-1"
criticality = "vital"
rto = "1 hour"
rpo = "1 hour"
owner = "hugo"
deputy = "claire"
source.files = { paths = ["/srv/orders"] }
check = [{ file = "/srv/orders/a" }]
"#;

fn read(text: &str) -> (Plan, Vec<String>) {
    let parsed = parse(&[SourceFile { name: "plan.toml".into(), text: text.into() }]);
    let codes = parsed.diagnostics.iter().map(|found| format!("{} {}", found.code, found.message)).collect();
    (parsed.plan.unwrap_or_default(), codes)
}

fn texts(scenario: &Scenario) -> String {
    scenario
        .before
        .iter()
        .chain(&scenario.after)
        .filter_map(|step| step.ask.clone())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn each_of_the_five_causes_has_one_that_is_ready_and_templates_are_not() {
    let (plan, _) = read(BASE);
    let causes: Vec<_> =
        plan.scenario_names().iter().map(|name| plan.scenario(name).unwrap().cause.clone()).collect();
    assert_eq!(causes.len(), 5);
    assert!(CAUSES.iter().take(5).all(|cause| causes.iter().any(|there| there == cause)), "{causes:?}");
    assert!(plan.scenario(&"supplier-failure".into()).is_none());
    assert!(all(&plan).iter().all(|one| CAUSES.contains(&one.scenario.cause.as_str())));
}

#[test]
fn what_the_plan_writes_under_the_same_name_wins_entirely() {
    let own = format!("{BASE}[scenarios.ransomware]\ncause = \"cyberattack\"\n");
    let (plan, codes) = read(&own);
    assert_eq!(codes, Vec::<String>::new());
    let scenario = plan.scenario(&"ransomware".into()).unwrap();
    assert_eq!((&scenario.restore_point, scenario.before.len()), (&Wanted::Latest, 0));
    let names: Vec<_> =
        all(&plan).into_iter().filter(|one| one.name.0 == "ransomware").map(|one| one.origin).collect();
    assert_eq!(names, [Origin::Plan]);
}

#[test]
fn an_attack_isolates_hosts_that_stay_reachable_and_leaves_the_others_to_a_person() {
    let (plan, _) = read(BASE);
    let attack = plan.scenario(&"ransomware".into()).unwrap();
    assert_eq!(attack.isolate, ["shop-1".into()]);
    assert_eq!(
        attack.before[0].ask.as_deref(),
        Some("Unplug shop-2 from the network, and leave the power on")
    );
    // The owner of what is needed most acts, who leads decides.
    assert_eq!(attack.before[0].who, Some("hugo".into()));
    assert_eq!(attack.after.last().unwrap().who, Some("claire".into()));
    let all_managed = BASE.replace(
        "[hosts.shop-2]\nsite = \"here\"",
        "[hosts.shop-2]\nsite = \"here\"\nmanagement = [\"192.0.2.10\"]",
    );
    let (plan, _) = read(&all_managed);
    let attack = plan.scenario(&"ransomware".into()).unwrap();
    assert_eq!(attack.isolate.len(), 2);
    assert!(!texts(&attack).contains("Unplug"), "{}", texts(&attack));
}

#[test]
fn every_one_can_be_pasted_into_the_plan_and_is_the_same_there() {
    for language in ["en", "fr"] {
        let base =
            BASE.replace("name = \"Atelier\"", &format!("name = \"Atelier\"\nlanguage = \"{language}\""));
        let (plan, _) = read(&base);
        let mut text = base.clone();
        let known = all(&plan);
        assert_eq!(known.len(), 11);
        for one in &known {
            text += &written(&one.name, one.title, &one.scenario);
        }
        let (pasted, codes) = read(&text);
        assert!(codes.iter().all(|code| code.contains("only messages to people")), "{codes:?}\n{text}");
        for one in &known {
            assert_eq!(
                serde_json::to_value(&pasted.scenarios[&one.name]).unwrap(),
                serde_json::to_value(&one.scenario).unwrap()
            );
            assert!(!texts(&one.scenario).contains(['{', '}']), "{}", texts(&one.scenario));
        }
    }
}

#[test]
fn an_own_one_with_every_sort_of_step_is_written_as_it_is_read() {
    let own = r#"
[scenarios."été"]
cause = "human error"
restore_point = "before"
isolate = ["shop-1"]
approvals = 2
before = [
    { ask = "Quote \"this\" \\ and\ttab?", name = "q", who = "claire", answers = ["yes", "no"], within = "10 minutes" },
    { run = ["sh", "-c", "echo '$HOME'"], when = { asked = "q", answered = ["yes"], causes = ["human error"] }, env = ["A=b c"], expect = 3, repeatable = true },
    { check = { http = "http://127.0.0.1/", expect = 204 } },
]
after = [{ service = "cron", action = "stop", meanwhile = true }, { wait = "1 minute" }, { release = "shop-1" }]
"#;
    let (plan, codes) = read(&format!("{BASE}{own}"));
    assert_eq!(codes, Vec::<String>::new());
    let name = ScenarioName::from("été");
    let text = written(&name, "", &plan.scenarios[&name]);
    let (again, codes) = read(&format!("{BASE}{text}"));
    assert_eq!(codes, Vec::<String>::new(), "{text}");
    assert_eq!(
        serde_json::to_value(&again.scenarios[&name]).unwrap(),
        serde_json::to_value(&plan.scenarios[&name]).unwrap()
    );
}

#[test]
fn drills_and_conditions_may_name_what_is_built_in_and_nothing_else() {
    let more = "[drills.weekly]\nevery = \"1 week\"\nscenario = \"site-loss\"\n[systems.orders.recover]\n\
        after = [{ run = [\"true\"], when = { scenarios = [\"ransomware\"] } }]\n";
    let (_, codes) = read(&format!("{BASE}{more}"));
    assert!(codes.iter().all(|code| code.starts_with("not-supported-yet")), "{codes:?}");
    let (_, codes) = read(&format!(
        "{BASE}{}",
        more.replace("site-loss", "supplier-failure").replace("\"ransomware\"", "\"ransom\"")
    ));
    assert_eq!(codes.iter().filter(|code| code.starts_with("unknown-reference")).count(), 2, "{codes:?}");
}

#[test]
fn a_plan_without_people_or_vaults_elsewhere_still_has_all_of_them() {
    let plan = Plan::default();
    assert_eq!(all(&plan).len(), 11);
    assert!(all(&plan).iter().all(|one| one.scenario.approvals == 0));
}
