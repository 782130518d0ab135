//! A cluster that has recovered and lets nobody in: each reason, on one server, with its own way out. Its configuration is blamed for none of them.

use crate::machine::Folder;
use source::{Postgres, Source};
use std::fs;
use std::time::Duration;

/// Who asks for which database, and what is said.
const CASES: [(&str, &str, &[&str]); 7] = [
    (
        "postgres",
        "shop",
        &["`shop`, which the url names, is not in this state", "drops one at 20", "--before 20"],
    ),
    ("nobody", "postgres", &["the role `nobody` is not in this state", "Make it as a superuser"]),
    ("idle", "postgres", &["the role `idle`", "may not log in yet"]),
    ("other", "private", &["GRANT CONNECT ON DATABASE \"private\" TO \"other\";"]),
    ("other", "closed", &["ALTER DATABASE \"closed\" ALLOW_CONNECTIONS true;"]),
    ("rejected", "postgres", &["pg_hba.conf, which came back too"]),
    ("peer", "postgres", &["ALTER ROLE \"peer\" PASSWORD"]),
];

#[test]
fn a_server_that_lets_nobody_in_says_what_is_to_be_done_about_that_reason() {
    let cluster = testkit::Postgres::start("");
    for statement in [
        "create role idle",
        "create role other login; create role rejected login; create role peer login",
        "create database private",
        "revoke connect on database private from public",
        "create database closed allow_connections false",
        "create database shop",
        "drop database shop",
    ] {
        cluster.tell(statement);
    }
    let rules = cluster.data().join("pg_hba.conf");
    let text = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, format!("local all rejected reject\nlocal all peer peer\n{text}")).unwrap();
    cluster.tell("select pg_reload_conf()");
    assert!(testkit::wait_until(Duration::from_secs(10), || {
        cluster.ask("select count(*) from pg_hba_file_rules where auth_method in ('reject', 'peer')") == "2"
    }));
    // As a recovery leaves it: the log that led it lies beside, and its server has written which way it came.
    let (data, wal) = (cluster.data(), cluster.path("data.releve-wal"));
    fs::create_dir(&wal).unwrap();
    for entry in fs::read_dir(data.join("pg_wal")).unwrap().flatten() {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), wal.join(entry.file_name())).unwrap();
        }
    }
    fs::write(data.join("pg_wal/00000002.history"), "1\t7F/0\tx\n").unwrap();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = CASES
            .iter()
            .map(|(user, database, says)| {
                let url = cluster.url(user);
                let url = format!("{}/{database}", url.rsplit_once('/').unwrap().0);
                let source = Postgres::new(&url, &data).unwrap();
                scope.spawn(move || {
                    let said = source.open(true, &|_| ()).unwrap_err().to_string();
                    let is_right = says.iter().all(|words| said.contains(words));
                    (!is_right || said.contains("postgresql.conf"))
                        .then(|| format!("{user} {database}: {said}"))
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(wal.is_dir(), "what leads it stays for whoever goes on");
}

#[test]
fn who_ends_sessions_after_a_millisecond_without_a_word_ends_none_of_ours() {
    let cluster = testkit::Postgres::start("");
    if cluster.ask("select count(*) from pg_settings where name = 'idle_session_timeout'") == "0" {
        return;
    }
    cluster.run(
        "alter database postgres set idle_session_timeout = '1ms'; alter role postgres set idle_session_timeout = '1ms';",
    );
    let source = Postgres::new(&cluster.url("postgres"), cluster.data()).unwrap();
    let (log, spool) = (source.log().unwrap(), Folder::new());
    let wrong: Vec<String> =
        (0..20).filter_map(|_| log.identity_now().err()).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut received = log.receive(&spool.path, None).unwrap();
    assert!(received.catch_up(Duration::from_secs(20)).unwrap());
}
