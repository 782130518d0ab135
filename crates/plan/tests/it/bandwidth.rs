//! How fast a vault may be written to: what is understood, and what a person sees of what isn't.

use crate::base::{changed, codes, read, shown};
use insta::assert_snapshot;
use plan::{Bandwidth, TimeOfDay};

/// A sound plan whose vault in the cloud has this line.
fn cloud(line: &str) -> String {
    changed("site = \"cloud\"\n", &format!("site = \"cloud\"\n{line}\n"))
}

fn bandwidth(line: &str) -> Bandwidth {
    let parsed = read(&cloud(line));
    assert_eq!(shown(&parsed), "");
    parsed.plan.unwrap().vaults["cloud"].bandwidth.clone().unwrap()
}

/// The limit in bytes at an hour.
fn at(bandwidth: &Bandwidth, hour: u16) -> Option<u64> {
    bandwidth.at(TimeOfDay::minute(hour * 60)).map(|now| now.limit.bytes_per_second())
}

#[test]
fn a_rate_alone_holds_day_and_night() {
    let always = bandwidth("bandwidth = \"20 MB/s\"");
    assert_eq!([0, 12, 23].map(|hour| at(&always, hour)), [Some(20_000_000); 3]);
}

#[test]
fn rules_hold_for_their_hours_and_over_midnight() {
    let rules = bandwidth(
        "bandwidth = [{ from = \"08:00\", to = \"18:00\", limit = \"8 Mbit/s\" }, { from = \"22:00\", to = \"2:00\", limit = \"80 Mbit/s\" }]",
    );
    let at = [7, 8, 17, 18, 21, 22, 0, 1, 2].map(|hour| at(&rules, hour));
    let (day, night) = (Some(1_000_000), Some(10_000_000));
    assert_eq!(at, [None, day, day, None, None, night, night, night, None]);
}

#[test]
fn each_fault_is_shown_where_it_stands_with_a_way_out() {
    let faults = [
        ("a number", "bandwidth = 20"),
        ("no unit", "bandwidth = \"20\""),
        ("bits or bytes", "bandwidth = \"20 Mb/s\""),
        ("no rules", "bandwidth = []"),
        ("an unknown key", "bandwidth = [{ from = \"8:00\", till = \"18:00\", limit = \"1 MB/s\" }]"),
        ("a missing limit", "bandwidth = [{ from = \"8:00\", to = \"18:00\" }]"),
        ("no time", "bandwidth = [{ from = \"8h\", to = \"18:00\", limit = \"1 MB/s\" }]"),
        ("nothing", "bandwidth = [{ from = \"08:00\", to = \"08:00\", limit = \"1 MB/s\" }]"),
        (
            "two at once",
            "bandwidth = [{ from = \"08:00\", to = \"18:00\", limit = \"1 MB/s\" }, { from = \"17:00\", to = \"20:00\", limit = \"2 MB/s\" }]",
        ),
        ("nearly the key", "bandwith = \"20 MB/s\""),
    ];
    for (name, line) in faults {
        assert!(!codes(&read(&cloud(line))).is_empty(), "{name}");
    }
    let shown = faults.map(|(name, line)| format!("━━━ {name}\n\n{}", shown(&read(&cloud(line)))));
    assert_snapshot!(shown.join("\n\n"));
}
