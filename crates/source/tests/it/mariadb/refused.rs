//! What is an error before anything was dumped or touched, and what it never tells.

use super::{dump_whole, programs, source};
use crate::machine::Folder;
use crate::walk::now;
use source::{Error, Kind, Landing, Mariadb, Source, Stands};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::MariadbServer;

fn refused(source: &Mariadb) -> Error {
    source.capture(Path::new("/nowhere"), now()).unwrap_err()
}

#[test]
fn a_password_that_changed_is_a_clear_error_and_no_point() {
    let server = MariadbServer::start();
    server.run("create user releve@localhost identified by 'old-secret'");
    let source = Mariadb::new(&server.url_of("releve", "old-secret")).unwrap();
    drop(source.capture(Path::new("/nowhere"), now()).unwrap());
    server.run("set password for releve@localhost = password('new')");
    let error = refused(&source);
    let said = error.to_string();
    assert!(said.contains("Access denied for user 'releve'") && said.contains("was changed"), "{said}");
    assert!(!said.contains("old-secret") && !error.is_retryable());
    assert!(!format!("{source:?}").contains("old-secret"));
    // The server says the same where it wants a certificate, which no url gives.
    server.run("alter user releve@localhost identified by 'old-secret' require x509");
    let said = refused(&source).to_string();
    assert!(said.contains("Access denied") && said.contains("REQUIRE SSL"), "{said}");
}

#[test]
fn a_server_that_is_down_is_tried_again_later() {
    let mut server = MariadbServer::start();
    server.kill();
    let error = refused(&source(&server));
    assert!(error.is_retryable() && error.to_string().contains("is the server running?"), "{error}");
    let error = refused(&Mariadb::new(&server.url_of("a", "b")).unwrap());
    assert!(error.is_retryable(), "{error}");
    assert_eq!(source(&server).occupied(None).unwrap()[0].stands, Stands::Unknown);
    assert!(source(&server).ready(None).is_err() && source(&server).ready(Some(Path::new("/tmp"))).is_ok());
}

#[test]
fn a_look_at_a_server_that_hangs_takes_two_seconds() {
    let server = MariadbServer::start();
    server.freeze();
    let begun = Instant::now();
    let standing = source(&server).occupied(None).unwrap();
    server.thaw();
    assert_eq!(standing[0].stands, Stands::Unknown);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn a_server_of_mysql_is_refused_with_what_to_do_instead() {
    let server = MariadbServer::start_with(&["--version=8.0.36"]);
    let error = refused(&source(&server));
    assert!(error.to_string().contains("source.command"), "{error}");
}

#[test]
fn an_older_server_takes_no_dump_of_a_newer_one() {
    let (server, folder) = (MariadbServer::start(), Folder::new());
    server.run("create database shop; create table shop.a (id int)");
    dump_whole(&source(&server), &folder.path);
    let text = fs::read_to_string(folder.join("mariadb.sql")).unwrap();
    let version = text.lines().find(|line| line.starts_with("-- Server version")).unwrap();
    let put_back = |version_then: &str| {
        fs::write(folder.join("mariadb.sql"), text.replace(version, version_then)).unwrap();
        source(&server).put_back(&folder.path, None, None, &|_| ())
    };
    server.run("drop database shop; create database shop");
    let error = put_back("-- Server version\t99.1.7-MariaDB-log").unwrap_err();
    assert!(error.to_string().contains("the dump is of MariaDB 99.1"), "{error}");
    assert!(matches!(put_back("--").unwrap_err().kind, Kind::Damaged(_)));
    assert_eq!(server.ask("show tables from shop"), "");
    put_back("-- Server version\t10.4.3-MariaDB").unwrap();
    assert_eq!(server.ask("show tables from shop"), "a");
    does_nothing_itself(&server, &folder, &text);
}

/// What a dump tells the client, and not the server, isn't done, and no file of whoever loads it is read.
fn does_nothing_itself(server: &MariadbServer, folder: &Folder, text: &str) {
    let (ran, secret) = (folder.join("ran"), folder.write("secret", "7\n"));
    let line = text.lines().position(|line| line == "USE `shop`;").unwrap() + 2;
    let named = format!("line {line} of the dump is a command for the client itself");
    for (command, says) in [
        (format!("\\! touch {}", ran.display()), named.as_str()),
        (format!("SELECT 1 \\! touch {};", ran.display()), named.as_str()),
        (format!("system touch {}", ran.display()), "ERROR 1064"),
        (
            format!("CREATE TABLE x (a text); LOAD DATA LOCAL INFILE '{}' INTO TABLE x;", secret.display()),
            "not allowed",
        ),
    ] {
        let forged = text.replacen("\nUSE `shop`;\n", &format!("\nUSE `shop`;\n{command}\n"), 1);
        assert_ne!(forged, text);
        fs::write(folder.join("mariadb.sql"), forged).unwrap();
        let error = source(server).put_back(&folder.path, None, None, &|_| ()).unwrap_err().to_string();
        assert!(error.contains(says) && !ran.exists(), "{command}: {error}");
    }
    assert_eq!(server.ask("show tables from shop"), "a");
}

#[test]
fn a_server_that_can_not_prove_who_it_is_gets_no_password() {
    let server = MariadbServer::start();
    server.run("create user releve@localhost identified by 'secret'");
    let url = server.url_of("releve", "secret");
    drop(Mariadb::new(&url).unwrap().capture(Path::new("/nowhere"), now()).unwrap());
    let error = refused(&Mariadb::new(&format!("{url}?tls=on")).unwrap());
    assert!(error.to_string().contains("SSL"), "{error}");
}

/// Whoever may list processes reads arguments; whoever is their user reads environments.
#[test]
fn a_password_is_in_no_argument_no_environment_and_no_file() {
    let (server, folder) = (MariadbServer::start(), Folder::new());
    let scratch = folder.dir("scratch");
    let password = r#"it's "quoted"; #1 \n ü @%"#;
    server.run(&format!(
        "create database shop; create user releve@localhost identified by '{}'; grant all on *.* to releve@localhost with grant option",
        password.replace('\\', r"\\").replace('\'', r"\'")
    ));
    let log = folder.join("log");
    let script = format!(
        r#"tr '\0' '\n' < /proc/self/environ >> {0}; echo "$@" >> {0}; exec $REAL "$@""#,
        log.display()
    );
    let url = server.url_of("releve", &password.replace('%', "%25").replace('#', "%23"));
    let source = Mariadb::new(&url).unwrap().programs(programs(&folder, &script));
    let walked = crate::walk::walk(source.capture(&scratch, now()).unwrap().input());
    assert_eq!(walked.unread, []);
    let seen = fs::read_to_string(log).unwrap();
    assert!(seen.contains("--defaults-file=/proc/") && !seen.contains("quoted"), "{seen}");
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0);
    // The same password lets the loading and the checking in.
    fs::write(folder.join("mariadb.sql"), &walked.contents[Path::new("/mariadb.sql")]).unwrap();
    source.put_back(&folder.path, None, None, &|_| ()).unwrap();
    assert_eq!(source.holds("select 1"), Ok(()));
}

#[test]
fn option_files_of_the_machine_change_nothing() {
    let (server, folder) = (MariadbServer::start(), Folder::new());
    server.run("create database shop; create table shop.a (id int)");
    let home = folder.dir("home");
    folder.write(
        "home/.my.cnf",
        "[client]\nuser=nobody\npassword=wrong\n[mariadb-dump]\nignore-table=shop.a\n",
    );
    let script = format!(r#"HOME={} exec $REAL "$@""#, home.display());
    dump_whole(&source(&server).programs(programs(&folder, &script)), &folder.path);
    assert!(fs::read_to_string(folder.join("mariadb.sql")).unwrap().contains("CREATE TABLE `a`"));
}

#[test]
fn under_a_directory_the_dump_is_just_a_file() {
    let folder = Folder::new();
    // No server is asked.
    let source = Mariadb::new("mysql://releve:secret@192.0.2.1").unwrap();
    assert_eq!(source.landing(Some(&folder.path)), Landing::Final(folder.path.clone()));
    assert_eq!(source.occupied(Some(&folder.path)).unwrap()[0].stands, Stands::Nothing);
    assert!(matches!(
        source.put_back(&folder.path, Some(&folder.path), None, &|_| ()).unwrap_err().kind,
        Kind::NotInPoint
    ));
    let dump = folder.write("mariadb.sql", "x");
    assert_eq!(source.put_back(&folder.path, Some(&folder.path), None, &|_| ()).unwrap().into, [dump]);
}

#[test]
fn an_address_that_makes_no_sense_is_refused_without_its_password() {
    for url in ["postgres://a:secret@b", "mysql://a:secret@b/shop", "mysql://a:secret@b?secret=1"] {
        let error = Mariadb::new(url).unwrap_err();
        assert!(matches!(error.kind, Kind::Invalid(_)) && !error.to_string().contains("secret"), "{error}");
    }
}
