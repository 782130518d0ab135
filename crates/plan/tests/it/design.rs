//! The plan of a small company, whole: every key of it is read, or refused with the reason.

use crate::base::{codes, read, shown};
use plan::{Period, ScenarioName, Severity, SystemName, VaultName, Wal, Wanted};

const COMPANY: &str = r#"[organisation]
name = "Atelier Dupont"
language = "fr"
review_every = "6 months"

[people.claire]
name = "Claire Dupont"
role = "incident lead"
contact = ["mailto:claire@atelier.example", "tel:+33600000001"]

[people.hugo]
name = "Hugo Petit"
role = "system administrator"
contact = ["mailto:hugo@atelier.example"]

[sites.workshop]
[sites.cloud]

[hosts.shop-1]
site = "workshop"

[vaults.local]
url = "file:///srv/releve"
site = "workshop"
password = { file = "/etc/releve/local.key" }

[vaults.cloud]
url = "s3://atelier-releve?endpoint=https://s3.example&region=fr-par"
site = "cloud"
password = { file = "/etc/releve/cloud.key" }
immutable_for = "30 days"

[systems.orders]
title = "Order database"
host = "shop-1"
criticality = "vital"
rto = "30 minutes"
rpo = "5 minutes"
owner = "hugo"
deputy = "claire"
source.postgres = { data_directory = "/var/lib/postgresql/15/main", url = { env = "ORDERS_URL" } }
check = [{ sql = "select count(*) > 0 from orders" }]

[systems.shop]
title = "Web shop"
host = "shop-1"
criticality = "vital"
rto = "1 hour"
rpo = "1 hour"
owner = "hugo"
deputy = "claire"
needs = ["orders"]
source.files = { paths = ["/srv/shop", "/etc/nginx"], exclude = ["**/cache"] }
recover.start = { service = "nginx" }
check = [{ http = "http://127.0.0.1/health", expect = 200 }]

[policy]
vaults = ["local", "cloud"]
every = "1 hour"
keep = { hourly = 24, daily = 14, weekly = 8, monthly = 12 }
verify = { every = "1 week", read_data = "10%" }

[scenarios.ransomware]
cause = "cyberattack"
restore_point = "last clean"
isolate = ["shop-1"]
before = [{ ask = "Unplug the infected machines from the network", who = "claire", within = "10 minutes" }]

[drills.weekly]
every = "1 week"
scenario = "ransomware"
systems = ["orders", "shop"]
"#;

const POSTGRES: &str =
    r#"source.postgres = { data_directory = "/var/lib/postgresql/15/main", url = { env = "ORDERS_URL" } }"#;

/// What of it can be carried out today.
fn supported() -> String {
    COMPANY.replace(POSTGRES, "source.sqlite = { path = \"/srv/orders.db\" }\npolicy.every = \"5 minutes\"")
}

#[test]
fn with_sqlite_it_is_read_whole() {
    let parsed = read(&supported());
    let plan = parsed.plan.as_ref().unwrap_or_else(|| panic!("{}", shown(&parsed)));
    let orders = &plan.systems[&SystemName::from("orders")];
    assert_eq!((orders.rto, orders.rpo), (Period::seconds(1800), Period::seconds(300)));
    assert_eq!(plan.policy_of(orders).every, Period::seconds(300));
    assert_eq!(plan.policy_of(orders).vaults.len(), 2);
    assert_eq!(plan.scenarios[&ScenarioName::from("ransomware")].restore_point, Wanted::LastClean);
    let cloud = &plan.vaults[&VaultName::from("cloud")];
    assert_eq!(cloud.immutable_for, Some(Period::seconds(30 * 86_400)));
    assert_eq!(plan.policy.verify.as_ref().unwrap().read_data.unwrap().0, 0.1);
}

#[test]
fn what_nothing_carries_out_yet_and_nothing_is_lost_by_is_pointed_out() {
    let parsed = read(&supported());
    assert!(parsed.diagnostics.iter().all(|found| found.severity == Severity::Warning));
    assert_eq!(codes(&parsed), ["not-supported-yet"; 3], "{}", shown(&parsed));
}

#[test]
fn a_cluster_with_a_log_may_promise_less_than_a_point_takes() {
    let parsed = read(COMPANY);
    let plan = parsed.plan.as_ref().unwrap_or_else(|| panic!("{}", shown(&parsed)));
    let source = plan.systems[&SystemName::from("orders")].source.as_ref().unwrap();
    assert_eq!((source.kind(), source.wal(), source.recovers()), ("postgres", Some(Wal::Stream), true));
    let without = COMPANY
        .replace("url = { env = \"ORDERS_URL\" } }", "url = { env = \"ORDERS_URL\" }, wal = \"none\" }");
    assert!(codes(&read(&without)).contains(&"rpo-out-of-reach"));
}

#[test]
fn a_promise_of_five_minutes_with_a_point_every_hour_is_refused() {
    let parsed = read(&supported().replace("policy.every = \"5 minutes\"\n", ""));
    let errors: Vec<_> = parsed
        .diagnostics
        .iter()
        .filter(|found| found.severity == Severity::Error)
        .map(|found| found.code)
        .collect();
    assert_eq!(errors, ["rpo-out-of-reach"]);
}
