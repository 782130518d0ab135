//! People are told, by real mail servers and web servers, and their acknowledgements are taken once.

use crate::world::{Run, World, finish};
use serde_json::{Value, json};
use std::process::Child;
use std::time::Duration;
use testkit::{MailServer, Manner, Receiver, free_port, wait_until};

const KEY: &str = "a key of forty characters that nobody knows";

/// Kills what still runs when a test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One relay of the plan, on this machine.
fn relay(server: &MailServer) -> String {
    format!(
        "{{ host = \"127.0.0.1\", port = {}, tls = \"none\", from = \"releve@atelier.example\" }}",
        server.port()
    )
}

/// A world with this `[notify]` (its key is there already) and these people beside hugo and claire.
pub(crate) fn world(notify: &str, people: &str) -> World {
    let world = World::new();
    world.secret("ack.key", KEY);
    let key = world.path("ack.key");
    let more = format!("deputy = \"claire\"\n[notify]\nkey = {{ file = {key:?} }}\n{notify}\n{people}");
    world.write_plan(&world.vault("near"), &world.vault("far"), &more);
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    let plan = plan
        .replace("name = \"Hugo\"", "name = \"Hugo\"\ncontact = [\"mailto:hugo@atelier.example\"]")
        .replace(
            "name = \"Claire\"",
            "name = \"Claire\"\nlanguage = \"fr\"\ncontact = [\"mailto:claire@atelier.example\"]",
        );
    std::fs::write(world.path("plan.toml"), plan).unwrap();
    world
}

pub(crate) fn relays(servers: &[&MailServer]) -> String {
    format!("relays = [{}]", servers.iter().map(|server| relay(server)).collect::<Vec<_>>().join(", "))
}

/// The token in a message.
pub(crate) fn token(message: &Value) -> String {
    let body = message["body"].as_str().unwrap();
    let (_, rest) = body.split_once("releve ack ").unwrap_or_else(|| panic!("{body}"));
    rest.split_whitespace().next().unwrap().to_owned()
}

fn header<'a>(message: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = message["headers"].as_array().unwrap().iter();
    headers.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap()).collect()
}

fn send<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["notify", "send", "--what", "The disk is dead.", "--todo", "Bring the spare."];
    arguments.extend(more);
    arguments
}

/// Every record of the state, as text.
fn records(world: &World) -> String {
    let state = state::State::open(&world.path("state")).unwrap();
    serde_json::to_string(&state.records().unwrap()).unwrap()
}

fn json_of(run: Run, code: i32) -> Value {
    run.exits(code).json()
}

#[test]
fn a_message_says_what_happened_what_to_do_and_how_to_answer_in_the_persons_language() {
    let server = MailServer::start(Manner::Takes);
    let world = world(&relays(&[&server]), "");
    world.run(&send(&["claire", "--by", "1 hour"])).exits(0);
    let message = &server.wait_for(1)[0];
    assert_eq!(message["to"], json!(["claire@atelier.example"]));
    assert_eq!(header(message, "auto-submitted"), ["auto-generated"]);
    assert!(header(message, "message-id")[0].ends_with("@atelier.example>"), "{message}");
    // As another program reads it, which knows the standards.
    assert_eq!(header(message, "mime-version"), ["1.0"]);
    assert_eq!((&message["defects"], &message["ascii"]), (&json!([]), &json!(true)), "{message}");
    let body = message["body"].as_str().unwrap();
    for part in [
        "Claire,",
        "Ce qui s'est passé : The disk is dead.",
        "À faire maintenant : Bring the spare.",
        "Avant : ",
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
    assert_eq!(token(message).len(), 48);
}

#[test]
fn a_name_adds_nothing_to_the_head_of_a_mail() {
    let server = MailServer::start(Manner::Takes);
    let world = world(&relays(&[&server]), "");
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    let evil = "Atelier\\r\\nBcc: spy@evil.example\\r\\n\\r\\nPay us";
    std::fs::write(
        world.path("plan.toml"),
        plan.replace("name = \"Atelier\"", &format!("name = \"{evil}\"")),
    )
    .unwrap();
    world.run(&send(&["hugo"])).exits(0);
    let mut arguments = vec!["notify", "send", "hugo", "--todo", "Nothing."];
    arguments.extend(["--what", "Gone\r\nBcc: spy@evil.example\r\n\r\nPay us"]);
    world.run(&arguments).exits(0);
    for message in server.wait_for(2) {
        assert_eq!(message["to"], json!(["hugo@atelier.example"]));
        assert!(header(&message, "bcc").is_empty() && header(&message, "to").len() == 1, "{message}");
        assert!(header(&message, "subject")[0].contains("Bcc: spy@evil.example"), "{message}");
        assert!(message["body"].as_str().unwrap().starts_with("Hugo,"), "{message}");
    }
}

#[test]
fn when_one_relay_refuses_and_the_next_is_slow_the_third_takes_the_message() {
    let (refusing, slow, good) = (
        MailServer::start(Manner::Refuses),
        MailServer::start(Manner::Stalls),
        MailServer::start(Manner::Takes),
    );
    let world = world(&format!("try_for = \"6 seconds\"\n{}", relays(&[&refusing, &slow, &good])), "");
    let tested = json_of(world.run(&["notify", "test", "hugo", "--json"]), 1);
    let outcomes: Vec<_> =
        tested["people"][0]["ways"].as_array().unwrap().iter().map(|way| &way["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "late", "taken"]);
    assert!(tested["people"][0]["ways"][0]["why"].as_str().unwrap().contains("not from you"), "{tested}");
    assert_eq!(tested["people"][0]["reached"], true);
    assert_eq!((refusing.messages().len(), slow.messages().len(), good.wait_for(1).len()), (0, 0, 1));
    let told = records(&world);
    assert!(told.contains("\"outcome\":\"late\"") && told.contains("not from you"), "{told}");
}

#[test]
fn a_relay_that_says_later_is_asked_again_and_anyone_can_look_at_what_waits() {
    let server = MailServer::start(Manner::Busy);
    let world = world(&relays(&[&server]), "");
    std::fs::write(world.data().join("page"), "x").unwrap();
    let first = json_of(world.run(&[&send(&["--system", "shop"])[..], &["--json"]].concat()), 1);
    assert_eq!(
        (&first["standing"]["state"], &first["standing"]["person"]),
        (&json!("trying"), &json!("hugo")),
        "{first}"
    );
    let queue = json_of(world.run(&["notify", "queue", "--json"]), 1);
    let hugo = &queue["calls"][0]["people"][0];
    assert_eq!((&hugo["reached"], &hugo["ways"][0]["tried"]), (&json!(false), &json!(1)), "{queue}");
    assert!(hugo["ways"][0]["why"].as_str().unwrap().contains("greylisted"), "{queue}");
    world.run(&["notify", "queue"]).exits(1).says("could NOT be told yet").says("greylisted").says("hugo");
    // Whoever begins after that goes on with it, and nobody else is woken.
    let agent = Killed(world.start(&["agent"]));
    server.relent();
    let mails = server.wait_for(1);
    assert_eq!(mails[0]["to"], json!(["hugo@atelier.example"]));
    assert!(wait_until(Duration::from_secs(60), || {
        world.run(&["notify", "queue"]).out.contains("hugo was told")
    }));
    drop(agent);
    world.run(&["ack", &token(&server.messages()[0])]).exits(0);
    world.run(&["notify", "queue"]).exits(0).says("nobody is being told anything");
    assert_eq!(server.messages().len(), 1);
}

#[test]
fn a_domain_with_letters_of_its_own_goes_to_any_mail_server() {
    let server = MailServer::start(Manner::Takes);
    let people = "[people.anna]\nname = \"Anna\"\ncontact = [\"mailto:anna@l-été.example\"]";
    let world = world(&relays(&[&server]), people);
    world.run(&send(&["anna"])).exits(0);
    let message = &server.wait_for(1)[0];
    assert_eq!(message["to"], json!(["anna@xn--l-t-cmab.example"]));
    assert_eq!((&message["defects"], &message["ascii"]), (&json!([]), &json!(true)), "{message}");
}

#[test]
fn a_good_status_with_a_bad_answer_has_told_nobody() {
    let limited =
        "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429";
    let (office, gateway) =
        (Receiver::answering(&[(200, limited)]), Receiver::answering(&[(200, "no credit")]));
    let notify = format!(
        "webhooks.office = {{ kind = \"teams\", url = {{ command = [\"echo\", \"{}/hook\"] }} }}\n\
         sms = {{ url = {{ command = [\"echo\", \"{}/sms\"] }}, answer = {{ contains = \"queued\" }} }}",
        office.url(),
        gateway.url()
    );
    let people = "[people.anna]\nname = \"Anna\"\ncontact = [\"webhook:office\", \"tel:+33600000001\"]";
    let world = world(&notify, people);
    let tested = json_of(world.run(&["notify", "test", "anna", "--json"]), 1);
    assert_eq!(tested["people"][0]["reached"], false, "{tested}");
    let ways = tested["people"][0]["ways"].as_array().unwrap();
    assert!(ways.iter().all(|way| way["outcome"] == "not_yet"), "{tested}");
    assert!(ways[1]["why"].as_str().unwrap().contains("without \"queued\""), "{tested}");
    world.run(&["notify", "test", "anna"]).exits(1).says("NOT YET");
}

#[test]
fn an_answer_that_says_nothing_is_not_passed_off_as_told() {
    let gateway = Receiver::answering(&[(200, "")]);
    let sms = format!("sms = {{ url = {{ command = [\"echo\", \"{}/sms\"] }} }}", gateway.url());
    let world = world(&sms, "[people.anna]\nname = \"Anna\"\ncontact = [\"tel:+33600000001\"]");
    world.run(&send(&["anna"])).exits(0).says("taken, and nothing in its answer says whether");
    world.run(&["notify", "queue"]).says("taken, and nothing");
    world.run(&["check", "--offline"]).says("unknown-answer");
}

#[test]
fn a_dead_relay_is_no_end_and_with_none_left_the_next_way_is_tried() {
    let rang = Receiver::start(200);
    let sms = format!(
        "sms = {{ url = {{ command = [\"echo\", \"{}/sms\"] }}, format = \"form\", to = \"number\" }}",
        rang.url()
    );
    let dead = format!(
        "relays = [{{ host = \"127.0.0.1\", port = {}, tls = \"none\", from = \"r@a.example\" }}]",
        free_port()
    );
    let people = "[people.anna]\nname = \"Anna\"\ncontact = [\"mailto:anna@atelier.example\", \"tel:+33 6 00 00 00 01\"]";
    let world = world(&format!("{dead}\n{sms}"), people);
    world.run(&send(&["anna"])).exits(0);
    let sent = rang.sent();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].body.starts_with("number=%2B33600000001&text="), "{}", sent[0].body);
}

#[test]
fn a_line_is_encrypted_and_only_an_authority_that_is_known_is_believed() {
    let server = MailServer::start(Manner::AsksForMore);
    let password = format!("{{ command = [\"echo\", \"{}\"] }}", MailServer::PASSWORD);
    let relay = format!(
        "relays = [{{ host = \"localhost\", port = {}, user = \"{}\", password = {password}, from = \"r@a.example\" }}]",
        server.port(),
        MailServer::USER
    );
    let world = world(&relay, "");
    let stranger = json_of(world.run(&["notify", "test", "hugo", "--json"]), 1);
    assert_eq!(stranger["people"][0]["reached"], false, "{stranger}");
    assert!(stranger["people"][0]["ways"][0]["why"].as_str().unwrap().contains("certificate"), "{stranger}");
    let mut command = world.command(&["notify", "test", "hugo"]);
    finish(command.env("SSL_CERT_FILE", server.authority())).exits(0);
    assert_eq!(server.wait_for(1)[0]["tls"], true);
    assert!(!records(&world).contains(MailServer::PASSWORD));
}

#[test]
fn an_acknowledgement_counts_once_in_time_and_for_its_own_message() {
    let server = MailServer::start(Manner::Takes);
    let world = world(&format!("expire_after = \"1 hour\"\n{}", relays(&[&server])), "");
    world.run(&send(&["hugo"])).exits(0);
    world.run(&send(&["claire"])).exits(0);
    let messages = server.wait_for(2);
    let (hugos, claires) = (token(&messages[0]), token(&messages[1]));

    let spliced = format!("{}{}", &hugos[..16], &claires[16..]);
    let forged = json_of(world.run(&["ack", &spliced, "--json"]), 2);
    assert_eq!(forged["answer"], "forged");
    world.run(&["ack", "nonsense"]).exits(2).says("not signed");
    assert!(!records(&world).contains("acknowledgement"));

    let first = json_of(world.run(&["ack", &hugos, "--json"]), 0);
    assert_eq!((&first["answer"], &first["person"]), (&json!("acknowledged"), &json!("hugo")));
    let second = json_of(world.run(&["ack", &hugos, "--json"]), 1);
    assert_eq!((&second["answer"], &second["person"]), (&json!("already"), &json!("hugo")));
    assert_eq!(records(&world).matches("acknowledgement").count(), 1);

    // Of another machine: it has the key, and has sent no such message.
    let elsewhere = world.path("elsewhere");
    let other = finish(
        std::process::Command::new(env!("CARGO_BIN_EXE_releve"))
            .arg("--plan")
            .arg(world.path("plan.toml"))
            .arg("--state")
            .arg(&elsewhere)
            .args(["ack", &claires]),
    );
    other.exits(2).says("no such message");
    // Nobody took claire's by any of that.
    world.run(&["ack", &format!("https://ack.example/ack/{claires}")]).exits(0).says("claire");

    std::fs::write(world.path("ack.key"), format!("another {KEY}")).unwrap();
    world.run(&["ack", &claires]).exits(2).says("not signed");
}

#[test]
fn a_late_acknowledgement_is_none() {
    let server = MailServer::start(Manner::Takes);
    let world = world(&format!("expire_after = \"1 second\"\n{}", relays(&[&server])), "");
    world.run(&send(&["hugo"])).exits(0);
    let token = token(&server.wait_for(1)[0]);
    // There is nothing to wait for but the time itself.
    std::thread::park_timeout(Duration::from_millis(2100));
    let late = json_of(world.run(&["ack", &token, "--json"]), 2);
    assert_eq!(late["answer"], "expired");
    assert!(!records(&world).contains("acknowledgement"));
}

#[test]
fn opening_a_link_is_no_acknowledgement_and_pressing_the_button_is_one_once() {
    let server = MailServer::start(Manner::Takes);
    let port = free_port();
    let links = format!("listen = \"127.0.0.1:{port}\"\nlink = \"http://127.0.0.1:{port}/\"");
    let world = world(&format!("{links}\n{}", relays(&[&server])), "");
    world.run(&send(&["claire"])).exits(0);
    let body = server.wait_for(1)[0]["body"].as_str().unwrap().to_owned();
    let link = body.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    let _serving = Killed(world.start(&["notify", "serve"]));
    testkit::wait_for_tcp(port);
    let agent =
        ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
    let get = |url: &str| {
        let mut answer = agent.get(url).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    let post = |url: &str| {
        let mut answer = agent.post(url).send_empty().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    for _ in 0..3 {
        let (status, page) = get(&link);
        assert!(status == 200 && page.contains("<button") && page.contains("Bien reçu"), "{status} {page}");
    }
    assert!(!records(&world).contains("acknowledgement"));
    let (other, rest) =
        if link.ends_with('a') { ('b', &link[..link.len() - 1]) } else { ('a', &link[..link.len() - 1]) };
    assert_eq!(post(&format!("{rest}{other}")).0, 403);
    assert!(!records(&world).contains("acknowledgement"));
    let (status, page) = post(&link);
    assert!(status == 200 && page.contains("C'est noté") && !page.contains("<button"), "{status} {page}");
    let (status, page) = post(&link);
    assert!(status == 409 && page.contains("déjà"), "{status} {page}");
    assert_eq!(get(&format!("http://127.0.0.1:{port}/")).0, 404);
    let told = records(&world);
    assert_eq!(told.matches("acknowledgement").count(), 1);
    assert!(told.contains("\"by\":\"link\""));
}

#[test]
fn who_only_holds_connections_or_guesses_keeps_nobody_from_acknowledging() {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    let server = MailServer::start(Manner::Takes);
    let port = free_port();
    let links = format!("listen = \"127.0.0.1:{port}\"\nlink = \"http://127.0.0.1:{port}/\"");
    let world = world(&format!("{links}\n{}", relays(&[&server])), "");
    world.run(&send(&["claire"])).exits(0);
    let token = token(&server.wait_for(1)[0]);
    let _serving = Killed(world.start(&["notify", "serve"]));
    testkit::wait_for_tcp(port);
    let address = format!("127.0.0.1:{port}");
    // More than there are places, some of which have begun to ask.
    let mut held: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(&address).unwrap()).collect();
    held.iter_mut().step_by(2).for_each(|one| one.write_all(b"GET /ack/a HTTP/1.1\r\nHost: a\r\n").unwrap());
    let ask = |method: &str, token: &str| -> String {
        let mut stream = TcpStream::connect(&address).unwrap();
        // As long as a person waits, and less than those are let hold their places.
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "{method} /ack/{token} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(ask("GET", &token), "200");
    // Whoever says nothing is sent away by himself, too.
    let mut last = held.pop().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(!matches!(last.read(&mut [0; 64]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock));
    // With the state out of the way it is seen who gets as far as that.
    std::fs::rename(world.path("state"), world.path("state-aside")).unwrap();
    std::fs::write(world.path("state"), "no folder").unwrap();
    let forged = token.replace(|sign: char| sign.is_ascii_digit(), "a");
    let asked =
        ["GET", "POST"].map(|method| [forged.as_str(), "a", token.as_str()].map(|token| ask(method, token)));
    assert_eq!(asked, [["403", "403", "503"], ["403", "403", "503"]]);
    std::fs::remove_file(world.path("state")).unwrap();
    std::fs::rename(world.path("state-aside"), world.path("state")).unwrap();
    assert_eq!(ask("POST", &token), "200");
}

#[test]
fn nobody_answers_and_the_deputy_is_told_even_by_a_program_that_comes_after_a_killed_one() {
    let server = MailServer::start(Manner::Takes);
    let world = world(
        &relays(&[&server]),
        "[people.anna]\nname = \"Anna\"\nrole = \"incident lead\"\ncontact = [\"mailto:anna@atelier.example\"]",
    );
    let mut first =
        world.start(&send(&["--system", "shop", "--within", "5 seconds", "--wait", "10 minutes"]));
    let hugos = token(&server.wait_for(1)[0]);
    first.kill().unwrap();
    first.wait().unwrap();
    let agent = Killed(world.start(&["agent"]));
    // Killed before it could note that the message was taken, it may be that hugo gets it twice: better than never.
    let told_claire = || server.messages().iter().any(|message| message["to"][0] == "claire@atelier.example");
    assert!(wait_until(Duration::from_secs(60), told_claire));
    let told_anna = || server.messages().iter().any(|message| message["to"][0] == "anna@atelier.example");
    assert!(wait_until(Duration::from_secs(60), told_anna));
    // An answer that comes after all that still counts.
    world.run(&["ack", &hugos]).exits(0);
    drop(agent);
}

#[test]
fn who_answers_in_time_is_the_last_who_is_told() {
    let server = MailServer::start(Manner::Takes);
    let world = world(&relays(&[&server]), "");
    let sending = world
        .command(&send(&["--system", "shop", "--within", "10 minutes", "--wait", "10 minutes", "--json"]))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    world.run(&["ack", &token(&server.wait_for(1)[0])]).exits(0);
    let output = sending.wait_with_output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(
        (&said["standing"]["state"], &said["standing"]["person"]),
        (&json!("answered"), &json!("hugo"))
    );
    assert_eq!(server.messages().len(), 1);
}

#[test]
fn the_way_through_what_is_down_is_skipped_and_that_is_recorded() {
    let server = MailServer::start(Manner::Takes);
    let own = relay(&server).replace(" }", ", system = \"shop\" }");
    let room = Receiver::start(200);
    let webhook = format!(
        "webhooks.team = {{ kind = \"slack\", url = {{ command = [\"echo\", \"{}/T0K3N-OF-SLACK\"] }} }}",
        room.url()
    );
    let people =
        "[people.anna]\nname = \"Anna <b>&\"\ncontact = [\"mailto:anna@atelier.example\", \"webhook:team\"]";
    let world = world(&format!("relays = [{own}]\n{webhook}"), people);
    world.run(&send(&["anna", "--without", "shop"])).exits(0);
    assert_eq!((server.messages().len(), room.sent().len()), (0, 1));
    let told = records(&world);
    assert!(told.contains("the relay 127.0.0.1 is shop, which is down"), "{told}");
    assert!(room.sent()[0].body.contains("Anna &lt;b&gt;&amp;"), "{}", room.sent()[0].body);
    let dry = json_of(
        world.run(&["notify", "test", "anna", "hugo", "--without", "shop", "--dry-run", "--json"]),
        1,
    );
    assert_eq!((&dry["people"][0]["reached"], &dry["people"][1]["reached"]), (&json!(true), &json!(false)));
    assert_eq!(server.messages().len(), 0);
}

#[test]
fn each_chat_gets_what_it_understands_and_no_secret_is_recorded() {
    let (takes, refuses) = (Receiver::start(202), Receiver::start(500));
    let hook = |name: &str, kind: &str, url: String, more: &str| {
        format!(
            "webhooks.{name} = {{ kind = \"{kind}\", url = {{ command = [\"echo\", \"{url}\"] }}{more} }}\n"
        )
    };
    let token = ", token = { command = [\"echo\", \"tk_SECRET_OF_NTFY\"] }";
    let notify = [
        hook("chat", "mattermost", format!("{}/hooks/M4TTERM0ST", takes.url()), ""),
        hook("office", "teams", format!("{}/T34MS-SECRET", takes.url()), ""),
        hook("push", "ntfy", format!("{}/topic-SECRET", takes.url()), token),
        hook("broken", "ntfy", format!("{}/topic-SECRET", refuses.url()), token),
        hook("plain", "slack", "http://hooks.example/SL4CK-SECRET".to_owned(), ""),
        "link = \"https://ack.atelier.example\"".to_owned(),
    ];
    let people = "[people.anna]\nname = \"@all Anna\"\ncontact = [\"webhook:chat\", \"webhook:office\", \"webhook:push\", \"webhook:broken\", \"webhook:plain\"]";
    let world = world(&notify.concat(), people);
    let tested = json_of(world.run(&["notify", "test", "anna", "--json"]), 1);
    let ways = &tested["people"][0]["ways"];
    let outcomes: Vec<_> = ways.as_array().unwrap().iter().map(|way| &way["outcome"]).collect();
    assert_eq!(outcomes, ["taken", "taken", "taken", "not_yet", "not_yet"]);
    assert!(ways[3]["why"].as_str().unwrap().starts_with("it answers 500"), "{ways}");
    assert!(ways[4]["why"].as_str().unwrap().contains("not https"), "{ways}");
    let sent = takes.sent();
    let body = |at: usize| serde_json::from_str::<Value>(&sent[at].body).unwrap();
    assert!(body(0)["text"].as_str().unwrap().contains("@\u{200b}all Anna"), "{}", body(0));
    let card = &body(1)["attachments"][0]["content"];
    assert_eq!(
        (&card["type"], &card["actions"][0]["type"]),
        (&json!("AdaptiveCard"), &json!("Action.OpenUrl"))
    );
    assert_eq!((sent[2].path.as_str(), &body(2)["topic"]), ("/", &json!("topic-SECRET")));
    assert_eq!(sent[2].authorization.as_deref(), Some("Bearer tk_SECRET_OF_NTFY"));
    let told = format!("{}{tested}", records(&world));
    for secret in ["M4TTERM0ST", "SECRET", "/ack/", KEY] {
        assert!(!told.contains(secret), "{secret}: {told}");
    }
}

#[test]
fn a_command_gets_the_number_as_an_argument_and_the_text_on_its_input() {
    let world = world("", "[people.anna]\nname = \"Anna\"\ncontact = [\"tel:+33600000001\"]");
    let out = world.path("sms");
    let script = format!("#!/bin/sh\necho \"$1\" > {0}\ncat >> {0}\n", out.display());
    let program = world.path("send-sms");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    let sms = format!("[notify]\nsms = {{ command = [{program:?}, \"{{to}}\"] }}\n");
    std::fs::write(world.path("plan.toml"), plan.replace("[notify]\n", &sms)).unwrap();
    world.run(&send(&["anna"])).exits(0);
    let sent = std::fs::read_to_string(&out).unwrap();
    assert!(sent.starts_with("+33600000001\nAtelier: The disk is dead. Bring the spare."), "{sent}");
    assert!(sent.contains("OK: releve ack "), "{sent}");
    // One that never ends is not waited for, and nothing of it stays.
    std::fs::write(&program, "#!/bin/sh\nsleep 3600 &\nsleep 3600\n").unwrap();
    let slow = plan.replace(
        "[notify]\n",
        &format!("[notify]\ntry_for = \"1 second\"\n{}", sms.trim_start_matches("[notify]\n")),
    );
    std::fs::write(world.path("plan.toml"), slow).unwrap();
    let tested = json_of(world.run(&["notify", "test", "anna", "--json"]), 1);
    assert_eq!(tested["people"][0]["reached"], false, "{tested}");
}

#[test]
fn a_call_tree_test_names_who_has_not_answered() {
    let server = MailServer::start(Manner::Takes);
    let world = world(&relays(&[&server]), "");
    let testing = world
        .command(&["notify", "test", "--wait", "10 minutes", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let messages = server.wait_for(2);
    let hugos = messages.iter().find(|message| message["to"][0] == "hugo@atelier.example").unwrap();
    world.run(&["ack", &token(hugos)]).exits(0);
    // Whoever has waited long enough ends it, and sees who is missing.
    let pid = testing.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = testing.wait_with_output().unwrap();
    let tested: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{tested}");
    let reached: Vec<_> =
        tested["people"].as_array().unwrap().iter().map(|of| (&of["person"], &of["reached"])).collect();
    assert_eq!(reached, [(&json!("claire"), &json!(false)), (&json!("hugo"), &json!(true))]);
    assert!(tested["people"][1]["ways"][0]["acknowledged"].is_string(), "{tested}");
    world.run(&["notify", "test", "nobody"]).exits(2).says("there is no person");
}
