//! Every diagnostic: one plan with that fault, and what a person sees.

use crate::base::{SOUND, changed, codes, read, shown};
use insta::assert_snapshot;
use std::collections::BTreeSet;

/// Each fault by its name, and a plan that has it and no other.
type Faults = Vec<(&'static str, String)>;

/// Shows what a person sees of each.
fn report(faults: Faults) -> String {
    let shown = faults.into_iter().map(|(name, text)| format!("━━━ {name}\n\n{}", shown(&read(&text))));
    shown.collect::<Vec<_>>().join("\n\n")
}

/// A sound plan with one line put for another.
fn fault(from: &str, to: &str) -> String {
    changed(from, to)
}

/// A sound plan with lines added at its end.
fn added(lines: &str) -> String {
    format!("{SOUND}{lines}")
}

/// A sound plan with lines added to its vital system.
fn system(lines: &str) -> String {
    fault("host = \"shop-1\"\n", &format!("host = \"shop-1\"\n{lines}\n"))
}

/// One more system with a need.
fn orders(name: &str, rto: &str, need: &str) -> String {
    format!(
        "[systems.{name}]\nhost = \"shop-1\"\nrto = \"{rto}\"\nrpo = \"1 hour\"\nneeds = [{need}]\n\
         source.sqlite = {{ path = \"/srv/{name}.db\" }}\ncheck = [{{ sql = \"select 1\" }}]\n"
    )
}

/// What two systems hold; who puts it back is said beside the code.
fn overlaps() -> Faults {
    let inner = "[systems.inner]\nhost = \"shop-1\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nowner = \"hugo\"\n\
                 source.files = { paths = [\"/srv/shop/sub\"] }\ncheck = [{ http = \"http://127.0.0.1/health\" }]\n";
    vec![("a system below another", added(inner))]
}

const CHECK: &str = "{ http = \"http://127.0.0.1/health\" }";

#[test]
fn a_sound_plan_gives_none() {
    let parsed = read(SOUND);
    assert_eq!(shown(&parsed), "");
    assert!(parsed.plan.is_some());
}

#[test]
fn against_toml_itself() {
    assert_snapshot!(report(toml()));
}

#[test]
fn against_the_form_of_a_plan() {
    assert_snapshot!(report(form()));
}

#[test]
fn against_what_a_plan_means() {
    assert_snapshot!(report(meaning()));
}

#[test]
fn against_what_is_there_already() {
    assert_snapshot!(report(not_yet()));
}

/// So that no diagnostic goes without a test, and none without a word in the reference.
#[test]
fn every_code_is_shown_here_and_named_in_the_reference() {
    let faults =
        [toml(), form(), meaning(), not_yet(), overlaps(), crate::notify::faults(), crate::steps::faults()]
            .concat();
    let shown: BTreeSet<_> = faults.iter().flat_map(|(_, text)| codes(&read(text))).collect();
    let reference = include_str!("../../../../docs/plan.md");
    let listed = reference
        .split_once("<!-- codes -->")
        .and_then(|(_, rest)| rest.split_once("<!-- end -->"))
        .unwrap()
        .0;
    let listed: BTreeSet<_> = listed.split('`').skip(1).step_by(2).collect();
    assert_eq!(shown, listed.iter().copied().filter(|code| *code != "shape").collect());
    assert!(faults.iter().all(|(_, text)| !codes(&read(text)).is_empty()));
}

#[test]
fn several_faults_are_all_reported_in_their_order() {
    let text = changed("name = \"Hugo Petit\"", "nmae = \"Hugo Petit\"")
        .replace("host = \"shop-1\"", "host = \"shop-2\"")
        .replace("rto = \"1 hour\"", "rto = 1 hour")
        .replace("rpo = \"1 hour\"", "rpo = \"5 minuts\"")
        .replace("deputy = \"claire\"\n", "")
        .replace("password = { file = \"/etc/releve/cloud.key\" }\n", "");
    let parsed = read(&text);
    assert!(parsed.plan.is_none());
    let mut found = codes(&parsed);
    let lines: Vec<_> = parsed.diagnostics.iter().map(plan::Diagnostic::line).collect();
    assert!(lines.is_sorted(), "{lines:?}");
    found.sort_unstable();
    assert_eq!(
        found,
        ["bad-amount", "no-deputy", "no-password", "syntax", "unknown-key", "unknown-reference"]
    );
    assert_snapshot!(shown(&parsed));
}

#[test]
fn one_fault_does_not_bring_others_along() {
    for (from, to, code) in [
        ("[vaults.cloud]\n", "[vaults.cloud]\nnonsense = 1\n", "unknown-key"),
        ("url = \"file:///srv/releve\"", "url = 5", "wrong-type"),
        ("[people.claire]", "[people.\"claire d\"]", "bad-name"),
        ("password = { file = \"/etc/releve/cloud.key\" }", "password = \"hunter2\"", "secret-in-plan"),
        ("check = [", "check = [5, ", "wrong-type"),
        ("vaults = [\"local\", \"cloud\"]", "vaults = \"local\"", "wrong-type"),
        ("[sites.workshop]\n[sites.cloud]", "[site.workshop]\n[site.cloud]", "unknown-key"),
        ("paths = [\"/srv/shop\"]", "paths = [5]", "wrong-type"),
        ("owner = \"hugo\"", "owner = 5", "wrong-type"),
        ("every = \"1 hour\"", "every = \"hourly\"", "bad-amount"),
    ] {
        let parsed = read(&changed(from, to));
        // A name that can't be one stands for nobody, and what refers to it by another name is told so.
        let found: Vec<_> = codes(&parsed)
            .into_iter()
            .filter(|found| *found != "unknown-reference" || code != "bad-name")
            .collect();
        assert_eq!(found, [code], "{to}\n{}", shown(&parsed));
    }
}

/// Against TOML itself.
fn toml() -> Faults {
    vec![
        ("a value without quotes", fault("rto = \"1 hour\"", "rto = 1 hour")),
        ("a heading that is not closed", fault("[hosts.shop-1]", "[hosts.shop-1")),
        ("a text that is not closed", fault("name = \"Hugo Petit\"", "name = \"Hugo Petit")),
        ("a key twice", fault("owner = \"hugo\"", "owner = \"hugo\"\nowner = \"claire\"")),
        ("a heading twice", added("[sites.cloud]\ntitle = \"Cloud\"\n")),
        ("nothing at all", String::new()),
        ("bottomless nesting", format!("people = {}", "[".repeat(90))),
    ]
}

/// Against the form of a plan.
fn form() -> Faults {
    vec![
        ("an unknown key with the nearest known", fault("deputy =", "deptuy =")),
        ("an unknown key that is like none", system("zzz = 1")),
        ("an unknown table with the nearest known", fault("[scenarios.ransomware]", "[scenario.ransomware]")),
        ("a missing key", fault("rpo = \"1 hour\"\n", "")),
        ("a missing table", fault("[policy]\nvaults = [\"local\", \"cloud\"]\nevery = \"1 hour\"\n", "")),
        ("a number for a text", fault("name = \"Hugo Petit\"", "name = 5")),
        ("a number for a duration", fault("rto = \"1 hour\"", "rto = 3600")),
        ("a text for a list", fault("paths = [\"/srv/shop\"]", "paths = \"/srv/shop\"")),
        ("a number in a list of texts", fault("paths = [\"/srv/shop\"]", "paths = [\"/srv/shop\", 7]")),
        ("a text for a flag", fault("exclude = [\"cache/\"]", "one_file_system = \"yes\"")),
        ("a text for a number", system("policy.keep = { daily = \"7\" }")),
        ("a number below zero", system("policy.keep = { daily = -7 }")),
        (
            "a list for a table",
            fault(
                "source.files = { paths = [\"/srv/shop\"], exclude = [\"cache/\"] }",
                "source = [\"/srv/shop\"]",
            ),
        ),
        (
            "a table for a text",
            fault("[people.hugo]\nname = \"Hugo Petit\"", "[people.hugo.name]\nfirst = \"Hugo\""),
        ),
        ("a text for a table of tables", added("[drills]\nweekly = \"ransomware\"\n")),
        ("a table for a list of checks", fault(&format!("check = [{CHECK}]"), &format!("check = {CHECK}"))),
        ("a number for a secret", fault("{ file = \"/etc/releve/cloud.key\" }", "5")),
        ("a duration without a unit", fault("rto = \"1 hour\"", "rto = \"60\"")),
        ("a duration in an unknown unit", fault("rto = \"1 hour\"", "rto = \"60 parsecs\"")),
        ("a duration in words", fault("rto = \"1 hour\"", "rto = \"one hour\"")),
        ("a duration of nothing", fault("rpo = \"1 hour\"", "rpo = \"0 minutes\"")),
        (
            "a share that is none",
            fault(
                "every = \"1 hour\"\n",
                "every = \"1 hour\"\nverify = { every = \"1 week\", read_data = \"150%\" }\n",
            ),
        ),
        ("a choice of restore point that is none", fault("\"last clean\"", "\"the best one\"")),
        ("an instant without a zone", fault("\"last clean\"", "\"before 2026-11-23 12:00\"")),
        ("a word with the nearest known", fault("criticality = \"vital\"", "criticality = \"vitall\"")),
        ("a word that is like none", fault("cause = \"cyberattack\"", "cause = \"zzz\"")),
        ("an empty text", fault("name = \"Hugo Petit\"", "name = \" \"")),
        ("an empty command", system("recover.start = { command = [] }")),
        ("a name that is none", added("[sites.\"the cloud\"]\n")),
        ("a secret in the plan", fault("{ file = \"/etc/releve/cloud.key\" }", "\"hunter2\"")),
        ("a secret from nowhere", fault("{ file = \"/etc/releve/cloud.key\" }", "{}")),
        (
            "a secret from two places",
            fault(
                "{ file = \"/etc/releve/cloud.key\" }",
                "{ file = \"/etc/releve/cloud.key\", env = \"KEY\" }",
            ),
        ),
        ("two sources", system("source.sqlite = { path = \"/srv/shop.db\" }")),
        (
            "no source",
            fault("source.files = { paths = [\"/srv/shop\"], exclude = [\"cache/\"] }", "source = {}"),
        ),
    ]
}

/// Against what a plan means.
fn meaning() -> Faults {
    vec![
        ("an unknown host with the nearest known", fault("host = \"shop-1\"", "host = \"shop1\"")),
        ("an unknown person", fault("owner = \"hugo\"", "owner = \"zoe\"")),
        (
            "an unknown site of a host",
            fault("[hosts.shop-1]\nsite = \"workshop\"", "[hosts.shop-1]\nsite = \"worksop\""),
        ),
        ("an unknown site of a vault", fault("site = \"cloud\"", "site = \"clod\"")),
        (
            "an unknown vault in the policy",
            fault("vaults = [\"local\", \"cloud\"]", "vaults = [\"local\", \"clouds\"]"),
        ),
        ("an unknown vault of a system", system("policy.vaults = [\"local\", \"clouds\"]")),
        ("an unknown need", system("needs = [\"orders\"]")),
        (
            "rules that keep nothing",
            fault("every = \"1 hour\"\n", "every = \"1 hour\"\nkeep = { daily = 0 }\n"),
        ),
        (
            "a prune on whichever of two hosts",
            format!(
                "{}[hosts.mail-1]\nsite = \"workshop\"\n[systems.mail]\nhost = \"mail-1\"\nrto = \"1 day\"\nrpo = \"1 day\"\nowner = \"hugo\"\n\
                 source.files = {{ paths = [\"/srv/mail\"] }}\ncheck = [{CHECK}]\n",
                fault("every = \"1 hour\"\n", "every = \"1 hour\"\nprune = { every = \"1 day\" }\n")
            ),
        ),
        ("rules of one system that keep nothing", system("policy.keep = {}")),
        (
            "a prune by an unknown host, too soon",
            fault(
                "every = \"1 hour\"\n",
                "every = \"1 hour\"\nprune = { every = \"1 day\", host = \"shop1\", delay = \"1 hour\" }\n",
            ),
        ),
        ("an unknown host to isolate", added("isolate = [\"shop-2\"]\n")),
        ("an unknown person to ask", added("before = [{ ask = \"Unplug it\", who = \"hugi\" }]\n")),
        (
            "a drill over an unknown scenario",
            added("[drills.weekly]\nevery = \"1 week\"\nscenario = \"ransomwear\"\n"),
        ),
        (
            "a drill of an unknown system",
            added("[drills.weekly]\nevery = \"1 week\"\nscenario = \"ransomware\"\nsystems = [\"shopp\"]\n"),
        ),
        (
            "an account of SSH that is to be immutable",
            fault(
                "site = \"workshop\"\npassword",
                "site = \"workshop\"\nimmutable_for = \"30 days\"\npassword",
            )
            .replace("file:///", "sftp://nas/"),
        ),
        (
            "a vault that is immutable for an hour",
            fault("site = \"cloud\"\npassword", "site = \"cloud\"\nimmutable_for = \"1 hour\"\npassword"),
        ),
        (
            "a vault that is immutable for a lifetime",
            fault("site = \"cloud\"\npassword", "site = \"cloud\"\nimmutable_for = \"80 years\"\npassword"),
        ),
        (
            "a vault that is pulled by nobody",
            fault("site = \"cloud\"\npassword", "site = \"cloud\"\npulled_by = \"shop-2\"\npassword"),
        ),
        (
            "nothing to pull from",
            fault("site = \"cloud\"\npassword", "site = \"cloud\"\npulled_by = \"shop-1\"\npassword")
                .replace("vaults = [\"local\", \"cloud\"]", "vaults = [\"cloud\"]"),
        ),
        ("a vital system without a deputy", fault("deputy = \"claire\"\n", "")),
        ("a vital system without an owner", fault("owner = \"hugo\"\n", "")),
        ("a deputy who is the owner", fault("deputy = \"claire\"", "deputy = \"hugo\"")),
        ("an rpo that the schedule cannot meet", fault("rpo = \"1 hour\"", "rpo = \"5 minutes\"")),
        ("an rpo that its own schedule cannot meet", system("policy.every = \"1 day\"")),
        ("an rto after the end of the company", system("mtpd = \"30 minutes\"")),
        ("a system that needs itself", system("needs = [\"shop\"]")),
        ("all copies where the original is", fault("site = \"cloud\"", "site = \"workshop\"")),
        (
            "all copies on one other site",
            fault("[hosts.shop-1]\nsite = \"workshop\"", "[sites.hall]\n[hosts.shop-1]\nsite = \"hall\"")
                .replace("site = \"cloud\"", "site = \"workshop\""),
        ),
        ("one copy only", fault("vaults = [\"local\", \"cloud\"]", "vaults = [\"cloud\"]")),
        ("no copy at all", fault("vaults = [\"local\", \"cloud\"]", "vaults = []")),
        (
            "a vault named twice",
            fault("vaults = [\"local\", \"cloud\"]", "vaults = [\"local\", \"cloud\", \"local\"]"),
        ),
        (
            "two vaults in one place",
            fault("s3://atelier-releve?endpoint=https://s3.example&region=fr-par", "file:///srv/releve/"),
        ),
        (
            "an off site vault without a password",
            fault("password = { file = \"/etc/releve/cloud.key\" }\n", ""),
        ),
        (
            "a vault at home without a password",
            fault("password = { file = \"/etc/releve/local.key\" }\n", ""),
        ),
        (
            "half of the keys",
            fault("site = \"cloud\"\n", "site = \"cloud\"\naccess_key = { env = \"KEY\" }\n"),
        ),
        (
            "keys for a folder",
            fault("[vaults.local]\n", "[vaults.local]\nsession_token = { env = \"TOKEN\" }\n"),
        ),
        ("a vault without a scheme", fault("file:///srv/releve", "/srv/releve")),
        ("a vault of an unknown kind", fault("file:///srv/releve", "ftp://server/releve")),
        ("a vault at a relative path", fault("file:///srv/releve", "file://srv/releve")),
        ("a vault without a bucket", fault("s3://atelier-releve?", "s3://?")),
        ("a password in a url", fault("file:///srv/releve", "sftp://hugo:hunter2@server/releve")),
        ("a contact that reaches nobody", fault("\"tel:+33600000001\"", "\"0600000001\"")),
        ("a mail address that is none", fault("mailto:claire@atelier.example", "mailto:claire")),
        ("a relative path", fault("paths = [\"/srv/shop\"]", "paths = [\"srv/shop\"]")),
        ("no paths", fault("paths = [\"/srv/shop\"]", "paths = []")),
        (
            "a pattern that is none",
            fault("exclude = [\"cache/\"]", "exclude = [\"[a\", \"!b\", \"/srv/../c\", \"/\"]"),
        ),
        (
            "a folder for the name of a dump",
            fault(
                "source.files = { paths = [\"/srv/shop\"], exclude = [\"cache/\"] }",
                "source.command = { dump = [\"d\"], load = [\"l\"], name = \"a/b\" }",
            ),
        ),
        ("an action that does nothing", system("recover.start = { within = \"1 minute\" }")),
        (
            "an action that does two things",
            system("recover.stop = { service = \"nginx\", command = [\"halt\"] }"),
        ),
        (
            "ways to a machine that are none",
            fault(
                "[hosts.shop-1]\n",
                "[hosts.shop-1]\nmanagement = [\"192.0.2.10/24\", \"0.0.0.0/0\", \"https://vault.example\", \"nas:ssh\"]\n",
            ),
        ),
        (
            "something held that is two things, none, or can't be",
            system(
                "recover.hold = [{ service = \"cron\", outgoing = 25 }, { within = \"1 minute\" }, { outgoing = 70000 }, \
                 { service = \"a b\" }]",
            ),
        ),
        (
            "a command that holds and nothing that releases",
            system("recover.hold = [{ command = [\"halt\"] }]"),
        ),
        (
            "a release of a service, by nobody",
            system(
                "recover.hold = [{ service = \"cron\", release = [\"go\"] }]\nrecover.released_by = \"zoe\"",
            ),
        ),
        ("somebody who releases nothing", system("recover.released_by = \"claire\"")),
        ("nothing that checks", fault(&format!("check = [{CHECK}]\n"), "")),
        ("a check of nothing", fault(CHECK, "{ within = \"1 minute\" }")),
        ("a check of two things", fault(CHECK, "{ http = \"http://127.0.0.1/\", tcp = \"127.0.0.1:80\" }")),
        ("a page without a scheme", fault(CHECK, "{ http = \"127.0.0.1/health\" }")),
        ("an address without a port", fault(CHECK, "{ tcp = \"127.0.0.1\" }")),
        ("a text in a port", fault(CHECK, "{ tcp = \"127.0.0.1:80\", contains = \"ok\" }")),
        ("a status of a file", fault(CHECK, "{ file = \"/srv/shop/index\", expect = 200 }")),
        ("a status that nothing has", fault(CHECK, "{ http = \"http://127.0.0.1/\", expect = 1000 }")),
        ("a relative file in a check", fault(CHECK, "{ file = \"index\" }")),
        ("a query without a database", fault(CHECK, "{ sql = \"select 1\" }")),
        (
            "a server without an address, and with programs nobody knows where",
            fault(
                "source.files = { paths = [\"/srv/shop\"], exclude = [\"cache/\"] }",
                "source.mariadb = { programs = \"bin\" }",
            ),
        ),
        (
            "a copy of files that lie nowhere, which nobody starts",
            fault(
                "source.files = { paths = [\"/srv/shop\"], exclude = [\"cache/\"] }",
                "source.mariadb = { url = { env = \"URL\" }, copy = \"physical\" }",
            ),
        ),
        (
            "a dump with a data directory",
            fault(
                "source.files = { paths = [\"/srv/shop\"], exclude = [\"cache/\"] }",
                "source.mariadb = { url = { env = \"URL\" }, data_directory = \"/var/lib/mysql\" }",
            ),
        ),
        (
            "a need that is promised later, and less critical",
            system("needs = [\"orders\"]") + &orders("orders", "2 hours", ""),
        ),
        (
            "a cycle of needs, shown as the cycle",
            added(
                &(orders("a", "1 hour", "\"b\"")
                    + &orders("b", "1 hour", "\"c\"")
                    + &orders("c", "1 hour", "\"b\"")),
            ),
        ),
    ]
}

/// What isn't there yet: refused where something would be lost by ignoring it, pointed out where not.
fn not_yet() -> Faults {
    vec![
        ("drills", added("[drills.weekly]\nevery = \"1 week\"\nscenario = \"ransomware\"\n")),
        (
            "french",
            fault(
                "name = \"Atelier Dupont\"\n",
                "name = \"Atelier Dupont\"\nlanguage = \"fr\"\nreview_every = \"6 months\"\n",
            ),
        ),
    ]
}
