//! PostgreSQL databases of which each is odd in its own way, dumped and loaded into another server: they go round whole, or what doesn't is said.

use crate::machine::Folder;
use crate::walk::{now, walk};
use source::{PgDump, Source};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use testkit::Postgres;

/// What `initdb` is told.
const UTF8: &[&str] = &["-E", "UTF8", "--locale=C.UTF-8"];
const LATIN1: &[&str] = &["-E", "LATIN1", "--locale=C"];
/// One of everything.
const DATABASES: &str = include_str!("odd_postgres/databases.sql");

/// Dumps into a folder, and returns why the point would be incomplete.
fn dump(source: &PgDump, folder: &Path) -> Vec<String> {
    let capture = source.capture(Path::new("/nowhere"), now()).unwrap();
    let walked = walk(capture.input());
    for (path, content) in walked.contents {
        let path = folder.join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    walked.unread.into_iter().map(|unread| format!("{}: {}", unread.path.display(), unread.why)).collect()
}

fn source(server: &Postgres, user: &str) -> PgDump {
    PgDump::new(&server.url(user)).unwrap()
}

/// Fails the test unless two texts are the same, and shows where they part.
fn same(a: &str, b: &str) {
    let parted = a.lines().zip(b.lines()).find(|(a, b)| a != b);
    assert!(parted.is_none() && a.len() == b.len(), "{parted:#?}");
}

#[test]
fn odd_databases_go_round_whole_and_one_that_does_not_takes_no_other_along() {
    let (server, other, folder) =
        (Postgres::start_as("wal_level = logical", UTF8), Postgres::start_as("", UTF8), Folder::new());
    server.run(DATABASES);
    let all = source(&server, "postgres").exclude(["closed"]);
    assert_eq!(dump(&all, &folder.path), Vec::<String>::new());
    let left_out = all.capture(Path::new("/nowhere"), now()).unwrap();
    let left_out = left_out.input().left_out();
    assert!(left_out.len() == 1 && left_out[0].why.contains("DROP DATABASE of `broken`"), "{left_out:?}");
    let before = server.dump();
    // What the user may not read is known when it is dumped; the rest is there, and comes back. Each lane has a server of its own.
    server.run("create role dumper login; grant pg_read_all_data to dumper; grant connect on database \"données\" to dumper;");
    std::thread::scope(|scope| {
        let lesser = scope.spawn(|| comes_back_as_far_as_its_user_reads(&server));
        comes_back_twice(&other, &folder, &before);
        lesser.join().unwrap();
    });
}

/// Into a server of which nothing is known, and once more over what is there then.
fn comes_back_twice(other: &Postgres, folder: &Folder, before: &str) {
    let put = source(other, "postgres").put_back(&folder.path, None, None, &|_| ()).unwrap();
    assert_eq!(put.findings, Vec::<String>::new());
    same(before, &other.dump());
    // Also a name that is too long for an ending is set aside. One that can't be loaded, and one that isn't whole, are named; all others come back.
    let databases = folder.join("postgresql/databases");
    let spoilt = fs::read_to_string(databases.join("objects.sql")).unwrap();
    fs::write(
        databases.join("objects.sql"),
        spoilt.replace("CREATE TABLE public.t", "SELECT 1/0;\nCREATE TABLE public.t"),
    )
    .unwrap();
    fs::write(databases.join("parts.sql"), "-- cut off").unwrap();
    other.run("\\connect readonly\nset default_transaction_read_only = off;\ndrop table t;");
    let put = source(other, "postgres").put_back(&folder.path, None, None, &|_| ()).unwrap();
    let [cut, refused] = put.findings.as_slice() else { panic!("{:?}", put.findings) };
    assert!(cut.contains("parts does not come back") && cut.contains("ended early"), "{cut}");
    assert!(
        refused.contains("objects did not come back") && refused.contains("division by zero"),
        "{refused}"
    );
    same(before, &other.dump());
    does_nothing_itself(other);
}

/// What is forged into a dump for `psql` itself: in the first line behind the first table, or where the database is made.
/// With what is said of it: `psql` has refused it, or it was not given to it.
const COMMANDS: [(&str, &str); 15] = [
    ("\\! touch RAN", REFUSED),
    ("SELECT 1 \\! touch RAN", REFUSED),
    ("\\copy t to program 'touch RAN'", REFUSED),
    ("\\o |touch RAN", REFUSED),
    ("SELECT 1 \\g |touch RAN", REFUSED),
    ("\\set x `touch RAN`", REFUSED),
    ("\\connect template1\n\\! touch RAN", REFUSED),
    ("\\unrestrict abc\n\\! touch RAN", WITHHELD),
    // Some of those that know `\restrict` run what is in the backticks (CVE-2026-18408).
    ("\\unrestrict `touch RAN`", WITHHELD),
    ("SELECT 1 \\unrestrict\t`touch RAN`", WITHHELD),
    ("\\;\\unrestrict `touch RAN`", WITHHELD),
    ("\\unres\0\ntrict `touch RAN`", WITHHELD),
    ("SELECT 1 \\\0\n! touch RAN", WITHHELD),
    ("SET client_encoding = 'GB18030';\n\u{3041}0a\\\\unrestrict `touch RAN`", WITHHELD),
    ("SET client_encoding = 'GB18030';\n\u{3041}0a\\\\! touch RAN", REFUSED),
];
const REFUSED: &str = "is a command for psql itself";
const WITHHELD: &str = "may be a command for psql itself";

/// Loads forged dumps with a `psql` that can be kept from doing anything itself, and with one that can't: neither does.
fn does_nothing_itself(other: &Postgres) {
    let folder = Folder::new();
    let ran = folder.join("ran");
    let write = |name: &str, head: &str, made: &str, text: &str| {
        let text = format!(
            "{head}--\n-- Dumped from database version 9.6\n\n\\restrict abc\nCREATE DATABASE {name};{made}\n\\unrestrict abc\n\\connect {name}\n\\restrict abc\nCREATE TABLE public.t (a text);\n{text}\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n"
        );
        let text = text.replace("RAN", ran.to_str().unwrap());
        let file = name.trim_matches('"').replace('\\', "%5C");
        folder.write(format!("postgresql/databases/{file}.sql"), text);
    };
    let rows = "COPY public.t FROM stdin;\na\\nb\\\\! touch RAN\n\\\\! touch RAN\n\\N\n\\.\n";
    write("whole", "", "", rows);
    for (at, (command, _)) in COMMANDS.iter().enumerate() {
        write(&format!("forged{at}"), "", "", command);
    }
    write("forged_first", "", "\n\\! touch RAN", "");
    write("\"forged\\d\"", "", "", ":DBNAME;");
    write("lacking", "-- releve: something was left out of this dump\n", "", "\\! touch RAN");
    let globals =
        "--\nCREATE ROLE forged;\n\\! touch RAN\n--\n-- PostgreSQL database cluster dump complete\n--\n";
    folder.write("postgresql/globals.sql", globals.replace("RAN", ran.to_str().unwrap()));
    let says = |findings: &[String], about: &str, what: &str| {
        let is_said = findings.iter().any(|said| said.contains(about) && said.contains(what));
        assert!(is_said, "{about} {what}: {findings:#?}");
    };
    let load = |source: PgDump, is_old: bool| {
        let put = source.put_back(&folder.path, None, None, &|_| ());
        assert!(!ran.exists(), "{put:?}");
        let findings = put.unwrap().findings;
        let of = |newer: &'static str| if is_old { WITHHELD } else { newer };
        for (at, (command, newer)) in COMMANDS.iter().enumerate() {
            let line = 10 + usize::from(command.starts_with("SET client_encoding"));
            let what = format!("line {line} of the dump {}", of(newer));
            says(&findings, &format!("forged{at} did not come back"), &what);
        }
        let what = format!("line 6 of the dump {}", of(REFUSED));
        says(&findings, "forged_first did not come back", &what);
        // What psql would put in for it is a command.
        says(&findings, "forged\\d did not come back", "syntax error at or near");
        assert_eq!(other.ask("select count(*) from pg_database where datname like 'forged%'"), "0");
        findings
    };
    let findings = load(source(other, "postgres"), false);
    says(&findings, "of the roles", "line 3 of the dump is a command");
    says(&findings, "of the database lacking", "line 11 of the dump is a command");
    assert!(!findings.iter().any(|said| said.contains("database whole")), "{findings:#?}");
    other.run(
        "drop role forged; drop database lacking;\n\\connect whole\nselect 1 / (count(*) = 3)::int from t;",
    );
    // An older one is given nothing that it might run.
    let psql = other.psql();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--help=commands*) echo none; exit;; esac\nexec {} \"$@\"\n",
        psql.get_program().display()
    );
    let old = folder.write("programs/psql", script);
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(folder.join("postgresql/globals.sql")).unwrap();
    let findings = load(source(other, "postgres").programs(folder.join("programs")), true);
    says(&findings, "lacking did not come back", "line 11 of the dump may be a command");
    assert!(!findings.iter().any(|said| said.contains("database whole")), "{findings:#?}");
}

fn comes_back_as_far_as_its_user_reads(server: &Postgres) {
    let (partial, third) = (Folder::new(), Postgres::start_as("", UTF8));
    let lacking = dump(&source(server, "dumper").exclude(["closed"]).without_passwords(true), &partial.path);
    assert_eq!(lacking.len(), 2, "{lacking:#?}");
    let says =
        |database: &str, what: &str| lacking.iter().any(|why| why.contains(database) && why.contains(what));
    assert!(
        says("objects.sql", "large objects, so that all are left out: 4711, 4712: GRANT SELECT"),
        "{lacking:#?}"
    );
    assert!(says("secured.sql", "their rows are left out: public.t: ALTER ROLE"), "{lacking:#?}");
    let put = source(&third, "postgres").put_back(&partial.path, None, None, &|_| ()).unwrap();
    assert_eq!(put.findings, Vec::<String>::new());
    third.run("\\connect objects\nselect 1 / (select count(*) from t);\n\\connect secured\nselect 1 / (select count(*) from pg_policies);");
}

#[test]
fn names_of_a_server_that_is_not_in_utf_8_come_back_into_one_that_is() {
    let (server, folder) = (Postgres::start_as("", LATIN1), Folder::new());
    server.run(
        "create role \"rené\" login; create database \"données\" owner \"rené\"; alter database \"données\" set work_mem = '6MB';
        alter role \"rené\" in database \"données\" set work_mem = '7MB'; create table \"été\" (\"à\" text); insert into \"été\" values ('ÿ');
        alter table \"été\" owner to \"rené\"; comment on role \"rené\" is E'a\\nCREATE ROLE postgres;\\nçà';",
    );
    let before = server.dump();
    assert_eq!(dump(&source(&server, "postgres"), &folder.path), Vec::<String>::new());
    for initdb in [LATIN1, UTF8] {
        let other = Postgres::start_as("", initdb);
        let put = source(&other, "postgres").put_back(&folder.path, None, None, &|_| ()).unwrap();
        assert_eq!(put.findings, Vec::<String>::new());
        assert_eq!(
            other.ask("select count(*) from pg_database where datname like 'releve%' or datname like '%old'"),
            "0"
        );
        if initdb == LATIN1 {
            same(&before, &other.dump());
        }
        let rows = other.ask("select count(*) from pg_roles where rolname like 'ren%' and rolcanlogin");
        assert_eq!(rows, "1");
    }
    // A name that no file can bear is said when it is dumped.
    server.run("create database \"a\nb\";");
    let lacking = dump(&source(&server, "postgres"), &folder.path);
    assert!(lacking.len() == 1 && lacking[0].contains("holds a line break: rename it"), "{lacking:?}");
}
