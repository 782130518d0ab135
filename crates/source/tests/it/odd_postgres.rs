//! PostgreSQL databases of which each is odd in its own way, dumped and loaded into another server: they go round whole, or what doesn't is said.

use crate::machine::Folder;
use crate::walk::{now, walk};
use source::{PgDump, Source};
use std::fs;
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
