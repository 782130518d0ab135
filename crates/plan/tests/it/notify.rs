//! How people are told: what a person sees of what can't work, who is reached by what, and who after whom.

use crate::base::{SOUND, codes, read, shown};
use insta::assert_snapshot;
use plan::notify::{Carrier, Contact, Language, chain, language, leads, out_of_service, ways};
use plan::{Plan, SystemName};
use std::collections::BTreeSet;

const NOTIFY: &str = r#"
[notify]
key = { file = "/etc/releve/ack.key" }
link = "https://ack.atelier.example"
relays = [
    { host = "smtp.atelier.example", user = "releve", password = { env = "SMTP" }, from = "releve@atelier.example", system = "shop" },
    { host = "smtp.provider.example", tls = "implicit", from = "releve@provider.example" },
]
webhooks.team = { kind = "mattermost", url = { file = "/etc/releve/team.url" } }
sms = { command = ["send-sms", "{to}"] }
"#;

fn plan_of(text: &str) -> Plan {
    let parsed = read(text);
    assert!(!parsed.has_errors(), "{}", shown(&parsed));
    parsed.plan.unwrap()
}

/// A sound plan with `[notify]`, and hugo in reach.
fn told() -> String {
    let hugo = "name = \"Hugo Petit\"\ncontact = [\"webhook:team\", \"mailto:hugo@atelier.example\"]";
    SOUND.replacen("name = \"Hugo Petit\"", hugo, 1) + NOTIFY
}

#[test]
fn a_plan_that_tells_people_is_sound() {
    assert_eq!(shown(&read(&told())), "");
}

#[test]
fn letters_that_few_mail_servers_take_are_named_before_the_at_and_not_behind_it() {
    let of = |address: &str| told().replacen("hugo@atelier.example", address, 1);
    let odd = read(&of("hugo.rené@atelier.example"));
    assert!(codes(&odd).contains(&"needs-smtputf8"), "{}", shown(&odd));
    assert!(shown(&odd).contains("hugo.rené@atelier.example"), "{}", shown(&odd));
    assert_eq!(shown(&read(&of("hugo@l-atelier-d-été.example"))), "");
}

#[test]
fn what_a_good_answer_is_stands_in_the_plan() {
    let answer = "answer = { contains = \"queued\", refuses = \"unknown number\" }";
    let gateway = format!("sms = {{ url = {{ file = \"/etc/releve/sms.url\" }}, {answer} }}");
    let with_room = told().replacen("team.url\" }", &format!("team.url\" }}, {answer}"), 1);
    let plan = plan_of(&with_room.replacen("sms = { command = [\"send-sms\", \"{to}\"] }", &gateway, 1));
    let notify = plan.notify.unwrap();
    let of_room = notify.webhooks.values().next().unwrap().answer.clone();
    for answer in [of_room, notify.sms.unwrap().answer] {
        let answer = answer.unwrap();
        assert_eq!(
            (answer.contains.as_deref(), answer.refuses.as_deref()),
            (Some("queued"), Some("unknown number"))
        );
    }
    // A gateway may answer 200 to all: what isn't said of it is recommended.
    let bare = |answer: &str| gateway.replacen(&format!(", {answer}"), "", 1);
    let without = told().replacen("sms = { command = [\"send-sms\", \"{to}\"] }", &bare(answer), 1);
    assert_eq!(codes(&read(&without)), ["unknown-answer"], "{}", shown(&read(&without)));
    let of_command = told().replacen("\"{to}\"] }", &format!("\"{{to}}\"], {answer} }}"), 1);
    assert!(codes(&read(&of_command)).contains(&"meaningless-key"));
}

/// Each fault by its name, and a plan that has it.
pub(crate) fn faults() -> Vec<(&'static str, String)> {
    let change = |from: &str, to: &str| {
        let text = told();
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    vec![
        ("no key", change("key = { file = \"/etc/releve/ack.key\" }\n", "")),
        ("a link that others read", change("https://ack", "http://ack")),
        ("a link with a question", change("ack.atelier.example\"", "ack.atelier.example/?a=\"")),
        ("nowhere to listen", change("link =", "listen = \"localhost\"\nlink =")),
        ("a line that others read", change("tls = \"implicit\"", "tls = \"none\"")),
        ("a user without a password", change(" password = { env = \"SMTP\" },", "")),
        ("a password in the plan", change("{ env = \"SMTP\" }", "\"hunter2\"")),
        (
            "a sender that is none",
            change("from = \"releve@provider.example\"", "from = \"Releve <r@p.example>\""),
        ),
        ("a relay with a port in its name", change("smtp.provider.example", "smtp.provider.example:25")),
        ("a system that isn't there", change("system = \"shop\"", "system = \"mail\"")),
        ("a webhook that isn't there", change("\"webhook:team\"", "\"webhook:tea\"")),
        ("a token where none goes", change("team.url\" }", "team.url\" }, token = { env = \"T\" }")),
        (
            "sms by nothing",
            change("sms = { command = [\"send-sms\", \"{to}\"] }", "sms = { to = \"number\" }"),
        ),
        ("sms to nobody", change("\"{to}\"", "\"--now\"")),
        ("a lead who isn't there", change("link =", "leads = [\"clair\"]\nlink =")),
        (
            "two lines in an address",
            change("mailto:hugo@atelier.example", "mailto:hugo@atelier.example\\nBcc: x@y.example"),
        ),
        (
            "someone without a way",
            change("contact = [\"webhook:team\", \"mailto:hugo@atelier.example\"]", ""),
        ),
        (
            "someone out of reach with one of our systems",
            change("team.url\" }", "team.url\" }, system = \"shop\"").replacen(
                "link =",
                "mailboxes = [{ domain = \"atelier.example\", system = \"shop\" }]\nlink =",
                1,
            ),
        ),
    ]
}

#[test]
fn each_fault_is_shown_where_it_stands_with_a_way_out() {
    let faults = faults();
    for (name, text) in &faults {
        assert!(!codes(&read(text)).is_empty(), "{name}");
    }
    let shown: Vec<_> =
        faults.iter().map(|(name, text)| format!("━━━ {name}\n\n{}", shown(&read(text)))).collect();
    assert_snapshot!(shown.join("\n\n"));
}

#[test]
fn to_answer_links_where_others_reach_it_without_a_certificate_is_a_finding() {
    for (listen, found) in [
        ("127.0.0.1:8385", false),
        ("[::1]:8385", false),
        ("[::ffff:127.0.0.1]:8385", false),
        ("0.0.0.0:8385", true),
        ("[::]:8385", true),
        ("192.0.2.10:8385", true),
    ] {
        let text = told().replacen("link =", &format!("listen = \"{listen}\"\nlink ="), 1);
        let parsed = read(&text);
        assert_eq!(codes(&parsed).contains(&"listens-openly"), found, "{listen}: {}", shown(&parsed));
        assert!(parsed.plan.is_some(), "{listen}: a finding, and no mistake");
    }
}

#[test]
fn the_way_through_what_is_down_is_skipped_and_that_is_said() {
    let plan = plan_of(&told());
    let down = BTreeSet::from([SystemName::from("shop")]);
    let all = ways(&plan, &"claire".into(), &BTreeSet::new());
    assert_eq!(all.iter().map(|way| way.carriers.len()).collect::<Vec<_>>(), [2, 1]);
    let without = ways(&plan, &"claire".into(), &down);
    let Carrier::Relay(1, relay) = without[0].carriers[0] else { unreachable!("{without:?}") };
    assert_eq!(relay.host, "smtp.provider.example");
    assert_eq!(without[0].skipped, ["the relay smtp.atelier.example is shop, which is down"]);
    let mailboxes = told().replacen(
        "link =",
        "mailboxes = [{ domain = \"ATELIER.example\", system = \"shop\" }]\nlink =",
        1,
    );
    let plan = plan_of(&mailboxes);
    let without = ways(&plan, &"claire".into(), &down);
    assert!(without[0].carriers.is_empty());
    assert_eq!(without[1].carriers.len(), 1, "the phone rings all the same");
}

#[test]
fn what_needs_a_system_that_is_down_is_down() {
    let more = "[systems.mail]\nhost = \"shop-1\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nneeds = [\"shop\"]\nsource.files = { paths = [\"/srv/mail\"] }\n";
    let plan = plan_of(&(SOUND.to_owned() + more));
    let out = out_of_service(&plan, &BTreeSet::from(["shop".into()]));
    assert_eq!(out, BTreeSet::from(["shop".into(), "mail".into()]));
}

#[test]
fn the_owner_comes_first_then_the_deputy_then_the_leads_and_nobody_twice() {
    let text = told().replacen(
        "[people.hugo]",
        "[people.anna]\nname = \"Anna\"\nrole = \"Incident lead\"\ncontact = [\"tel:112\"]\n[people.hugo]",
        1,
    );
    let plan = plan_of(&text);
    assert_eq!(chain(&plan, &"shop".into()), ["hugo".into(), "claire".into(), "anna".into()]);
    let named = plan_of(&text.replacen("link =", "leads = [\"claire\", \"anna\"]\nlink =", 1));
    assert_eq!(leads(&named), ["claire".into(), "anna".into()]);
    assert_eq!(chain(&named, &"shop".into()), ["hugo".into(), "claire".into(), "anna".into()]);
}

#[test]
fn a_language_is_the_persons_own_or_the_organisations() {
    let text = told()
        .replacen("name = \"Atelier Dupont\"\n", "name = \"Atelier Dupont\"\nlanguage = \"fr\"\n", 1)
        .replacen("[people.hugo]\n", "[people.hugo]\nlanguage = \"en\"\n", 1);
    let plan = plan_of(&text);
    assert_eq!(language(&plan, &"claire".into()), Language::French);
    assert_eq!(language(&plan, &"hugo".into()), Language::English);
}

#[test]
fn a_number_is_digits_however_it_is_written() {
    assert_eq!(Contact::parse("tel:+33 (6) 00-00.00 01"), Some(Contact::Phone("+33600000001".into())));
    for bad in [
        "tel:--help",
        "tel:+",
        "tel:06;rm",
        "mailto:a@b\r\nBcc: c@d",
        "mailto:a@b,c@d",
        "webhook:",
        "http://x",
        "https://a b",
    ] {
        assert_eq!(Contact::parse(bad), None, "{bad}");
    }
}
