//! Every key that a plan may have, in one place: the reader checks against it and the JSON Schema is made from it, so they
//! can't disagree.

use serde_json::{Value, json};

/// What a key holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Text,
    Flag,
    Whole,
    Period,
    Share,
    Texts,
    /// A program and its arguments.
    Command,
    /// A table of which exactly one key is written: where a secret is to be had.
    Secret(&'static [Key]),
    Word(&'static [&'static str]),
    /// How much may be sent in a second.
    Rate,
    /// A time of day, and one to show.
    TimeOfDay(&'static str),
    /// A rate, or a list of rules.
    Bandwidth(&'static [Key]),
    /// `latest`, `last verified`, `last clean`, `before TIME`.
    RestorePoint,
    Table(&'static [Key]),
    /// A table of which exactly one key is written.
    OneOf(&'static [Key]),
    /// Names chosen by the writer, each a table.
    Named(&'static [Key]),
    List(&'static [Key]),
}

/// One key of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) required: bool,
    pub(crate) doc: &'static str,
}

pub(crate) const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, required: false, doc }
}
pub(crate) const fn must(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, required: true, doc }
}

use Shape::{
    Bandwidth, Command, Flag, List, Named, OneOf, Period, Rate, RestorePoint, Share, Table, Text, Texts,
    TimeOfDay, Whole, Word,
};

/// The keys of the whole plan.
pub(crate) const PLAN: &[Key] = &[
    must("organisation", Table(ORGANISATION), "Whose plan it is."),
    key("people", Named(PERSON), "Everyone with a part in a recovery."),
    must("sites", Named(SITE), "Places that burn, flood or lose power as one."),
    must("hosts", Named(HOST), "Machines."),
    must("vaults", Named(VAULT), "Places that hold copies: repositories in restic's format."),
    must("systems", Named(SYSTEM), "What the company needs back."),
    must("policy", Table(POLICY), "What holds for all systems that don't say otherwise."),
    key("notify", Table(crate::notify::NOTIFY), "How people are told, and how they say that they have it."),
    key("scenarios", Named(SCENARIO), "Causes that are prepared for."),
    key("drills", Named(DRILL), "Rehearsals."),
];

const ORGANISATION: &[Key] = &[
    must("name", Text, "Shown above every report."),
    key(
        "language",
        Word(&["en", "fr"]),
        "Language of messages to people; en unless said. Reports come in English for now.",
    ),
    key("review_every", Period, "How often a person looks through the plan."),
];
const PERSON: &[Key] = &[
    must("name", Text, "As people say it."),
    key("role", Text, "What they are in the company."),
    key(
        "contact",
        Texts,
        "Ways to reach them, best first: mailto:, tel:, webhook:NAME of notify.webhooks, https: of a page that takes texts.",
    ),
    key("language", Word(&["en", "fr"]), "The language of messages to them; the organisation's unless said."),
];
const SITE: &[Key] = &[key("title", Text, "As people say it.")];
const HOST: &[Key] = &[
    must("site", Text, "The site where it stands."),
    key("name", Text, "What the machine calls itself (hostname), where that isn't its name in the plan."),
    key("restores", Whole, "How many systems are put back on it at the same time; no limit unless said."),
    key(
        "management",
        Texts,
        "Who still reaches it when it is cut off, and is reached: addresses, networks or names, with a port if wanted: 192.0.2.10, 192.0.2.0/24:22, 2001:db8::/32, vault.example:443.",
    ),
];
const VAULT: &[Key] = &[
    must("url", Text, "file:///path, s3://bucket/prefix?endpoint=…&region=…, or sftp://user@host/path."),
    must("site", Text, "The site where it stands."),
    key("password", Shape::Secret(SECRET), "What opens it."),
    key("access_key", Shape::Secret(SECRET), "S3: the access key's id."),
    key("secret_key", Shape::Secret(SECRET), "S3: the secret access key."),
    key("session_token", Shape::Secret(SECRET), "S3: the session token, for temporary keys."),
    key(
        "bandwidth",
        Bandwidth(BANDWIDTH),
        "What may be sent to it in a second: 20 MB/s, or rules by the time of day.",
    ),
    key(
        "immutable_for",
        Period,
        "S3 with Object Lock: how long nobody can delete what was written, at least. A folder: how long it is guarded with the immutable flag.",
    ),
    key("pulled_by", Text, "The only host that writes here: it fetches what the other vaults hold."),
    key("restores", Whole, "How many systems are put back from it at the same time; no limit unless said."),
];
const BANDWIDTH: &[Key] = &[
    must("from", TimeOfDay("08:00"), "When the limit begins: 08:00, by the machine's own clock."),
    must("to", TimeOfDay("18:00"), "When it ends; before `from`, on the next day."),
    must("limit", Rate, "What may be sent in a second meanwhile: 10 Mbit/s."),
];
const SYSTEM: &[Key] = &[
    key("title", Text, "As people say it."),
    must("host", Text, "The host that it runs on."),
    key(
        "criticality",
        Word(&["vital", "important", "normal"]),
        "How badly the company needs it; normal unless said.",
    ),
    must("rto", Period, "Promised time to recover."),
    must("rpo", Period, "Promised bound on lost data."),
    key("mtpd", Period, "The longest outage that the company survives."),
    key("owner", Text, "The person who answers for it."),
    key("deputy", Text, "The person who does if the owner can't."),
    key("needs", Texts, "Systems that must be back before it."),
    key(
        "consistent_with",
        Texts,
        "Systems whose data belongs together with its own: captured close together, restored to one instant.",
    ),
    must(
        "source",
        OneOf(SOURCE),
        "How it is captured and put back: exactly one of files, sqlite, postgres, pg_dump, mariadb, command.",
    ),
    key("recover", Table(RECOVER), "How it is stopped before and started after, and what comes back first."),
    key("check", List(CHECK), "How it is known that it works."),
    key("policy", Table(POLICY_OVERRIDE), "What it does otherwise than the plan's policy."),
];
const SOURCE: &[Key] = &[
    key("files", Table(FILES), "Files and folders."),
    key("sqlite", Table(SQLITE), "An SQLite database, copied while it is written to."),
    key("command", Table(COMMAND), "What a command prints."),
    key(
        "postgres",
        Table(POSTGRES),
        "A PostgreSQL cluster, copied while it runs, and every instant in between.",
    ),
    key(
        "pg_dump",
        Table(PG_DUMP),
        "The databases of a PostgreSQL server, dumped: one elsewhere, or for another version.",
    ),
    key("mariadb", Table(MARIADB), "A MariaDB server, dumped or copied at one instant while it runs."),
];
/// Of commands that belong to a source.
const VARIABLES: &str = "Variables of their environment, NAME=value, or NAME for one of Relève's own.";
const FILES: &[Key] = &[
    must("paths", Texts, "What is captured: absolute paths."),
    key("exclude", Texts, "What is left out: globs; **/cache leaves out every folder of that name."),
    key("one_file_system", Flag, "Don't enter other file systems."),
    key("before", Command, "A command before the capture; if it fails there is no point."),
    key("after", Command, "A command after the capture, whatever became of it."),
    key("env", Texts, VARIABLES),
];
const SQLITE: &[Key] = &[
    must("path", Text, "The database file: an absolute path."),
    key("follow_links", Flag, "Follow links on the way to it that belong to others than root."),
];
const POSTGRES: &[Key] = &[
    must(
        "url",
        Shape::Secret(SECRET),
        "How the server is reached: postgres://user:password@host:port/database.",
    ),
    must("data_directory", Text, "Its data directory, an absolute path, on this machine."),
    key("programs", Text, "The folder of PostgreSQL's programs, where they aren't found by themselves."),
    key(
        "wal",
        Word(&["stream", "archive", "none"]),
        "How its WAL gets into the vaults: stream (unless said; the agent receives it), archive (by archive_command), none.",
    ),
    key(
        "amcheck",
        Flag,
        "After a recovery pg_amcheck looks through it, while it runs already; false leaves that out, for clusters where it takes too long.",
    ),
];
const PG_DUMP: &[Key] = &[
    must(
        "url",
        Shape::Secret(SECRET),
        "How the server is reached: postgres://user:password@host:port/database?sslmode=verify-full.",
    ),
    key("exclude", Texts, "Databases that are left out."),
    key(
        "role_passwords",
        Flag,
        "Whether a point without the passwords of the roles is incomplete; it is unless said.",
    ),
    key("programs", Text, "The folder of PostgreSQL's programs, where they aren't found by themselves."),
];
const MARIADB: &[Key] = &[
    must(
        "url",
        Shape::Secret(SECRET),
        "How the server is reached: mysql://user:password@host:port, or with ?socket=/run/mysqld/mysqld.sock.",
    ),
    key("programs", Text, "The folder of MariaDB's programs, where they aren't found by themselves."),
    key(
        "log",
        Word(&["stream", "none"]),
        "How its binary log gets into the vaults: none (unless said), stream (the agent receives it).",
    ),
    key(
        "copy",
        Word(&["logical", "physical"]),
        "What a point is made of: logical (unless said; statements, by mariadb-dump), physical (its files, by mariadb-backup).",
    ),
    key(
        "data_directory",
        Text,
        "Its data directory, an absolute path, on this machine: with copy = \"physical\".",
    ),
];
const COMMAND: &[Key] = &[
    must("dump", Command, "The command whose output is the restore point."),
    must("load", Command, "The command that reads it back from its standard input."),
    key("env", Texts, VARIABLES),
    key("name", Text, "What the output is called in the point; dump unless said."),
];
const RECOVER: &[Key] = &[
    key("stop", Table(ACTION), "Before anything is overwritten."),
    key("start", Table(ACTION), "After everything is back, or what comes first."),
    key("first", Texts, "What it needs to start, as globs: the rest of its files comes back while it runs."),
    key(
        "early",
        Flag,
        "Its data comes back before what it needs is back; false: only then. Unless said, plain files come early, and what a program or a server takes in waits.",
    ),
    key("before", List(STEP), "Steps before all that follows from its source, one after the other."),
    key("after", List(STEP), "Steps once its checks have passed: it counts as back after them."),
    key(
        "instead",
        List(STEP),
        "Steps instead of all that follows from its source; one of them is restore = true.",
    ),
    key("approvals", Whole, "How many persons must approve before it is overwritten; nobody unless said."),
    key("hold", List(HOLD), "What stays off from before it starts until its checks have passed."),
    key(
        "released_by",
        Text,
        "The person who must say so before what is held is released; the checks decide alone unless said.",
    ),
];
const HOLD: &[Key] = &[
    key("service", Text, "A systemd unit: it is stopped and masked, which survives a reboot."),
    key("outgoing", Whole, "A TCP port that nothing on this machine reaches elsewhere: 25 is mail."),
    key(
        "command",
        Command,
        "A program and its arguments, which holds something back; it must bear being run twice.",
    ),
    key("release", Command, "The program that gives back what command holds."),
    key("within", Period, "How long each may take; two minutes unless said."),
];
const ACTION: &[Key] = &[
    key("service", Text, "A systemd unit."),
    key("command", Command, "A program and its arguments."),
    key("within", Period, "How long it may take; two minutes unless said."),
    key(
        "repeatable",
        Flag,
        "The command may run again although nobody knows whether it did; a person is asked unless said.",
    ),
];
const CHECK: &[Key] = &[
    key("http", Text, "A page that answers."),
    key("tcp", Text, "A port that accepts, host:port."),
    key("command", Command, "A program that exits well."),
    key("sql", Text, "A query whose first value is true or above zero."),
    key("file", Text, "A file that is there and not empty."),
    key("expect", Whole, "The HTTP status (200 unless said) or exit status (0) that is right."),
    key("contains", Text, "A text that the page must hold."),
    key("within", Period, "How long it is tried again; a minute unless said."),
];
const POLICY: &[Key] = &[
    must("vaults", Texts, "The vaults that every point goes to."),
    must("every", Period, "How often a point is made."),
    key("keep", Table(KEEP), "What is kept when a vault is pruned; everything unless said."),
    key("prune", Table(PRUNE), "How the agent prunes the vaults; not at all unless said."),
    key("verify", Table(VERIFY), "How the vaults are verified."),
];
const POLICY_OVERRIDE: &[Key] = &[
    key("vaults", Texts, "The vaults that this system's points go to."),
    key("every", Period, "How often a point is made."),
    key("keep", Table(KEEP), "What is kept when a vault is pruned; everything unless said."),
];
const KEEP: &[Key] = &[
    key("last", Whole, "The newest points."),
    key("hourly", Whole, "One for each of so many hours."),
    key("daily", Whole, "One for each of so many days."),
    key("weekly", Whole, "One for each of so many weeks."),
    key("monthly", Whole, "One for each of so many months."),
    key("yearly", Whole, "One for each of so many years."),
];
const PRUNE: &[Key] = &[
    must("every", Period, "How often."),
    key(
        "host",
        Text,
        "The host that does it, the only one that needs the right to delete; required where systems are on several hosts.",
    ),
    key(
        "delay",
        Period,
        "How long what nothing needs stays in a vault: longer than any backup takes; 3 days unless said.",
    ),
    key("within", Period, "For how long packs are written anew at most; an hour unless said."),
];
const VERIFY: &[Key] = &[
    must("every", Period, "How often."),
    key("read_data", Share, "The share of the packs that is read and checked byte by byte: 10%, all."),
];
const SCENARIO: &[Key] = &[
    must("cause", Word(&crate::CAUSES), "What happened."),
    key(
        "restore_point",
        RestorePoint,
        "latest (unless said), last verified, last clean, before TIME, or before: the instant is named on the day.",
    ),
    key("isolate", Texts, "Hosts that are cut off the network first."),
    key("before", List(STEP), "Steps before everything else, one after the other."),
    key("after", List(STEP), "Steps after everything else, one after the other."),
    key(
        "approvals",
        Whole,
        "How many persons must approve before anything is overwritten; nobody unless said.",
    ),
];
const STEP: &[Key] = &[
    key("run", Command, "A program and its arguments; no shell reads them."),
    key("service", Text, "A systemd unit."),
    key("check", Table(CHECK), "Something that must answer before it goes on."),
    key("wait", Period, "A time that passes."),
    key("ask", Text, "What a person does or decides."),
    key("notify", Text, "What somebody is told."),
    key("isolate", Text, "A host that is cut off the network."),
    key("release", Text, "A host that gets its network back."),
    key("restore", Flag, "The system's data is put back; only in `instead`."),
    key("name", Text, "What the conditions of later steps call it."),
    key("when", Table(WHEN), "Only in these cases; always unless said."),
    key(
        "within",
        Period,
        "How long it may take, two minutes unless said; for `ask`, by when, counted from the beginning of the recovery.",
    ),
    key("meanwhile", Flag, "Nothing waits for it."),
    key(
        "who",
        Text,
        "ask, notify: the person; of a system its owner, else who leads incidents, unless said.",
    ),
    key("answers", Texts, "ask: what can be answered; that it is done, unless said."),
    key("action", Word(&["start", "stop", "restart"]), "service: what becomes of it; start unless said."),
    key("user", Text, "run: as whom; as whoever runs Relève unless said."),
    key("directory", Text, "run: where, an absolute path."),
    key("env", Texts, "run: variables of its environment, NAME=value, or NAME for one of Relève's own."),
    key("expect", Whole, "run: the exit status that is right; 0 unless said."),
    key("contains", Text, "run: a text that it must print."),
    key(
        "repeatable",
        Flag,
        "run: it may run again although nobody knows whether it did; a person is asked unless said.",
    ),
];
const WHEN: &[Key] = &[
    key("scenarios", Texts, "The scenario is one of these."),
    key("causes", Texts, "The cause is one of these."),
    key("asked", Text, "The name of an earlier `ask` …"),
    key("answered", Texts, "… whose answer is one of these."),
];
const DRILL: &[Key] = &[
    must("every", Period, "How often."),
    must("scenario", Text, "What is rehearsed."),
    key("systems", Texts, "For which systems; all unless said."),
];

/// The keys of a reference to a secret.
pub(crate) const SECRET: &[Key] = &[
    key("env", Text, "An environment variable that holds it."),
    key("file", Text, "A file that holds it."),
    key("command", Command, "A command that prints it."),
];

/// Returns the JSON Schema (draft 2020-12) of a plan file, for editors.
#[must_use]
pub fn schema() -> Value {
    let mut schema = table(PLAN);
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        object.insert("title".into(), "Relève plan".into());
        // A folder of files makes one plan, so none of them has to have everything.
        object.remove("required");
    }
    schema
}

fn table(keys: &[Key]) -> Value {
    let properties: serde_json::Map<String, Value> = keys
        .iter()
        .map(|key| {
            let mut value = shape(key.shape);
            if let Some(object) = value.as_object_mut() {
                object.insert("description".into(), key.doc.into());
            }
            (key.name.to_owned(), value)
        })
        .collect();
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty()
        && let Some(object) = schema.as_object_mut()
    {
        object.insert("required".into(), required.into());
    }
    schema
}

fn shape(shape: Shape) -> Value {
    let text = json!({ "type": "string" });
    match shape {
        Text => text,
        Flag => json!({ "type": "boolean" }),
        Whole => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        Period => json!({ "type": "string", "examples": ["30 minutes", "1 hour", "2 weeks"] }),
        Share => {
            json!({ "type": "string", "pattern": "^(all|[0-9]+([.][0-9]+)? ?%)$", "examples": ["10%", "all"] })
        }
        Rate => json!({ "type": "string", "examples": ["20 MB/s", "10 Mbit/s"] }),
        TimeOfDay(example) => {
            json!({ "type": "string", "pattern": "^[0-9]{1,2}:[0-5][0-9]$", "examples": [example] })
        }
        Bandwidth(keys) => json!({ "type": ["string", "array"], "items": table(keys), "minItems": 1 }),
        Texts => json!({ "type": "array", "items": text }),
        Command => json!({ "type": "array", "items": text, "minItems": 1 }),
        Shape::Secret(keys) | OneOf(keys) => {
            let mut schema = table(keys);
            if let Some(object) = schema.as_object_mut() {
                object.insert("minProperties".into(), 1.into());
                object.insert("maxProperties".into(), 1.into());
            }
            schema
        }
        Word(words) => json!({ "enum": words }),
        RestorePoint => {
            json!({ "type": "string", "pattern": "^(latest|last verified|last clean|before( .+)?)$" })
        }
        Table(keys) => table(keys),
        Named(keys) => json!({ "type": "object", "additionalProperties": table(keys) }),
        List(keys) => json!({ "type": "array", "items": table(keys) }),
    }
}
