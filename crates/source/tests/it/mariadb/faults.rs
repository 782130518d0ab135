//! What makes a point incomplete: each of these once passed for a good backup somewhere.

use super::{dump, dump_whole, programs, source};
use crate::machine::Folder;
use crate::walk::now;
use source::{Capture, Kind, Mariadb, Source};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;
use testkit::{MariadbServer, pause};
use vault::Content;

/// Fails the test unless just one of the reasons holds the text.
fn says(whys: &[String], text: &str) {
    assert_eq!(whys.iter().filter(|why| why.contains(text)).count(), 1, "{text:?} in {whys:#?}");
}

/// Begins a dump and reads its first bytes: the rest waits behind them.
fn begun(source: &Mariadb) -> (Capture, Box<dyn Content>) {
    let capture = source.capture(Path::new("/nowhere"), now()).unwrap();
    let node = capture.input().list(Path::new(""), &mut Vec::new()).unwrap().remove(0);
    let mut content = capture.input().open(Path::new("mariadb.sql"), &node).unwrap();
    content.read_exact(&mut [0; 5000]).unwrap();
    (capture, content)
}

/// Reads the rest. Returns whether it was unchanged, and why the point would be incomplete.
fn ended((capture, mut content): (Capture, Box<dyn Content>)) -> (bool, Vec<String>) {
    let mut rest = Vec::new();
    content.read_to_end(&mut rest).unwrap();
    let unchanged = content.unchanged(rest.len() as u64).unwrap();
    (unchanged, capture.input().finish().into_iter().map(|unread| unread.why).collect())
}

/// Returns a server whose dump doesn't fit into pipes: what comes late is in `z`.
fn large() -> MariadbServer {
    let server = MariadbServer::start();
    server.run(
        "create database shop; use shop; create table shop.a (id int primary key, text longtext); create table shop.z (id int primary key);
        insert into shop.a select seq, repeat('x', 100000) from seq_1_to_400; insert into shop.z select seq from seq_1_to_1000;",
    );
    server
}

#[test]
fn a_dump_that_ends_early_is_no_complete_point() {
    let (server, folder) = (MariadbServer::start(), Folder::new());
    server.run("create database shop; create table shop.a (id int); insert into shop.a values (1)");
    // It ends with status 0, in the middle of what it would have said.
    let early = source(&server).programs(programs(
        &folder,
        r#"case "$1" in --version) exec $REAL --version;; esac; $REAL "$@" | head -n 30"#,
    ));
    says(&dump(&early, &folder.path), "the dump ends early: ");
    server.run("insert into shop.a values (2)");
    let error = source(&server).put_back(&folder.path, None, None, &|_| ()).unwrap_err();
    assert!(matches!(&error.kind, Kind::Damaged(why) if why.contains("last line")), "{error}");
    assert_eq!(server.ask("select count(*) from shop.a"), "2", "something was touched");
}

#[test]
fn a_dump_that_fails_is_no_complete_point_and_says_why() {
    let (server, folder) = (MariadbServer::start(), Folder::new());
    server.run("create database shop; create table shop.a (id int)");
    let fails =
        r#"case "$1" in --version) exec $REAL --version;; esac; $REAL "$@"; echo 'disk on fire' >&2; exit 3"#;
    let source = source(&server).programs(programs(&folder, fails));
    says(&dump(&source, &folder.path), "exited with status 3: disk on fire");
}

#[test]
fn a_server_that_is_killed_in_the_middle_is_no_complete_point() {
    let mut server = large();
    let source = source(&server);
    let begun = begun(&source);
    server.kill();
    let (_, whys) = ended(begun);
    says(&whys, "the dump ends early: ");
    says(&whys, "Lost connection");
}

#[test]
fn a_table_that_is_altered_meanwhile_makes_the_dump_worth_another_try() {
    let server = large();
    let source = source(&server);
    let begun = begun(&source);
    server.run("alter table shop.z add column more int, algorithm = copy");
    let (unchanged, whys) = ended(begun);
    assert!(!unchanged);
    says(&whys, "altered, renamed or dropped while it was dumped: shop.z");
}

#[test]
fn a_table_that_is_dropped_or_swapped_meanwhile_is_named() {
    let server = large();
    server.run("create table shop.y (id int)");
    // Otherwise the two would be of one second.
    pause(Duration::from_millis(1100));
    server.run("create table shop.y_new (id int)");
    let source = source(&server);
    let begun = begun(&source);
    server.run("rename table shop.y to shop.y_old, shop.y_new to shop.y; drop table shop.z");
    let (unchanged, whys) = ended(begun);
    assert!(!unchanged);
    says(&whys, "while it was dumped: shop.y, shop.y_new, shop.z");
}

#[test]
fn a_table_that_is_created_meanwhile_was_not_there_yet() {
    let server = large();
    let source = source(&server);
    let begun = begun(&source);
    server.run("create table shop.zz (id int); insert into shop.zz values (1); create database zzz; create table zzz.a (id int)");
    assert_eq!(ended(begun), (true, Vec::new()));
}

#[test]
fn a_table_without_transactions_that_is_written_to_makes_the_point_incomplete() {
    let server = large();
    server.run("create table shop.rests (id int) engine=myisam; create table shop.sessions (id int) engine=myisam; create table shop.aria (id int) engine=aria");
    let begun = begun(&source(&server));
    server.run("insert into shop.sessions values (1)");
    let (unchanged, whys) = ended(begun);
    assert!(unchanged);
    says(
        &whys,
        "without transactions, so maybe not of the same instant as the rest: shop.aria (Aria), shop.sessions (MyISAM);",
    );
    assert_eq!(whys.len(), 1, "{whys:?}");
}

#[test]
fn with_everybody_locked_out_tables_without_transactions_are_as_good_as_any() {
    let (server, folder) = (MariadbServer::start(), Folder::new());
    server.run("create database shop; create table shop.aria (id int) engine=aria; create table shop.memory (id int) engine=memory; insert into shop.memory values (4)");
    dump_whole(&Mariadb::new(&format!("{}&lock=all", server.url())).unwrap(), &folder.path);
    source(&server).put_back(&folder.path, None, None, &|_| ()).unwrap();
    assert_eq!(server.ask("select id from shop.memory"), "4");
}

#[test]
fn a_broken_view_costs_only_itself() {
    let (server, folder) = (MariadbServer::start(), Folder::new());
    server.run("create database shop; create table shop.gone (id int); create view shop.broken as select id from shop.gone; drop table shop.gone;
        create table shop.z (id int); insert into shop.z values (1); create event shop.e on schedule every 1 day do select 1");
    let whys = dump(&source(&server), &folder.path);
    assert_eq!(whys.len(), 1, "{whys:?}");
    says(
        &whys,
        "shop.broken is left out, since the server can't open it: View 'shop.broken' references invalid table(s)",
    );
    source(&server).put_back(&folder.path, None, None, &|_| ()).unwrap();
    assert_eq!(server.ask("select id from shop.z"), "1");
    assert_eq!(server.ask("select event_name from information_schema.events"), "e");
}

#[test]
fn a_table_whose_file_is_damaged_is_named_and_the_rest_is_there() {
    let (mut server, folder) = (MariadbServer::start(), Folder::new());
    server.run("create database shop; create table shop.a (id int); create table shop.z (id int); insert into shop.z values (1)");
    server.kill();
    fs::write(server.data().join("shop/a.frm"), "this is no table").unwrap();
    server.restart();
    let whys = dump(&source(&server), &folder.path);
    says(&whys, "shop.a is left out, since the server can't open it");
    let text = fs::read_to_string(folder.join("mariadb.sql")).unwrap();
    assert!(text.contains("INSERT INTO `z`"), "{whys:?}");
}

#[test]
fn what_the_user_may_not_see_makes_the_point_incomplete() {
    let (server, folder) = (MariadbServer::start(), Folder::new());
    server.run("create database shop; create table shop.a (id int); create trigger shop.t before insert on shop.a for each row set new.id = 1;
        create user few@localhost identified by 'x'; grant select, show view, event on *.* to few@localhost");
    let source = Mariadb::new(&server.url_of("few", "x")).unwrap();
    says(&dump(&source, &folder.path), "the user can't see all there is: GRANT TRIGGER ON *.* to it");
    // Rights may come by a role, too.
    server.run("create role backup; grant trigger on *.* to backup; grant backup to few@localhost; set default role backup for few@localhost");
    dump_whole(&source, &folder.path);
}

#[test]
fn an_older_client_is_named() {
    let (server, folder) = (MariadbServer::start(), Folder::new());
    let script = r#"case "$1" in --version) echo 'mariadb-dump  Ver 10.19 Distrib 10.5.1-MariaDB, for Linux'; exit;; esac; exec $REAL "$@""#;
    let source = source(&server).programs(programs(&folder, script));
    says(&dump(&source, &folder.path), "mariadb-dump 10.5 is older than the server");
}
