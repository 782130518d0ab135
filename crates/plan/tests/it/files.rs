//! A plan of several files.

use crate::base::{SOUND, codes, shown};
use insta::assert_snapshot;
use plan::{Parsed, SourceFile, parse};

fn folder(files: &[(&str, &str)]) -> Parsed {
    let files: Vec<_> =
        files.iter().map(|(name, text)| SourceFile { name: (*name).into(), text: (*text).into() }).collect();
    parse(&files)
}

fn cut(at: &str) -> (&'static str, &'static str) {
    SOUND.split_at(SOUND.find(at).unwrap())
}

const ORDERS: &str = r#"[systems.orders]
host = "shop-1"
rto = "1 hour"
rpo = "1 hour"
source.sqlite = { path = "/srv/orders.db" }
check = [{ sql = "select 1" }]
"#;

#[test]
fn files_make_one_plan_wherever_it_is_cut() {
    let whole = serde_json::to_value(folder(&[("plan.toml", SOUND)]).plan).unwrap();
    for at in
        ["[people.hugo]", "[sites.cloud]", "[hosts", "[vaults.cloud]", "[systems", "[policy]", "[scenarios"]
    {
        let (first, second) = cut(at);
        let parsed = folder(&[("10.toml", first), ("20.toml", second)]);
        assert_eq!(shown(&parsed), "", "cut at {at}");
        assert_eq!(serde_json::to_value(parsed.plan).unwrap(), whole, "cut at {at}");
    }
}

#[test]
fn each_file_may_add_systems() {
    let plan = folder(&[("10-company.toml", SOUND), ("20-orders.toml", ORDERS)]).plan.unwrap();
    assert_eq!(plan.systems.keys().map(|name| name.0.as_str()).collect::<Vec<_>>(), ["orders", "shop"]);
}

#[test]
fn a_fault_is_shown_in_its_own_file() {
    let orders = ORDERS.replace("host = \"shop-1\"", "host = \"shop-2\"");
    let parsed = folder(&[("10-company.toml", SOUND), ("20-orders.toml", &orders)]);
    assert_eq!(parsed.diagnostics[0].file.name(), "20-orders.toml");
    assert_snapshot!(shown(&parsed));
}

#[test]
fn what_stands_in_two_files_is_refused_whichever_it_is() {
    let twice = format!("{ORDERS}[policy]\nevery = \"1 day\"\n");
    assert_snapshot!(shown(&folder(&[("10.toml", SOUND), ("20.toml", ORDERS), ("30.toml", &twice)])));
}

#[test]
fn a_syntax_error_in_one_file_leaves_the_others_to_be_read() {
    let parsed = folder(&[("10.toml", "[sites.a\n"), ("20.toml", "[people.hugo]\nnmae = \"Hugo\"\n")]);
    assert_eq!(codes(&parsed), ["syntax", "unknown-key"], "{}", shown(&parsed));
}

#[test]
fn no_file_is_a_plan_that_lacks_everything() {
    let parsed = parse(&[]);
    assert!(parsed.plan.is_none());
    assert!(codes(&parsed).iter().all(|code| *code == "missing-key"));
}
