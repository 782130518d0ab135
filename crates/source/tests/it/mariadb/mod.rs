//! A real MariaDB server: dumped while it is written to, lost, and brought back into a fresh one.

mod ahead;
mod faults;
mod odd;
mod refused;
mod sessions;
mod torn;
mod way_back;

use crate::machine::Folder;
use crate::walk::{now, walk};
use source::{Mariadb, Source, Stands};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use testkit::{MariadbServer, wait_until};

fn source(server: &MariadbServer) -> Mariadb {
    Mariadb::new(&server.url()).unwrap()
}

/// Dumps into `mariadb.sql` in this folder, and returns why the point would be incomplete.
fn dump(source: &Mariadb, folder: &Path) -> Vec<String> {
    let capture = source.capture(Path::new("/nowhere"), now()).unwrap();
    assert_eq!(capture.paths(), [Path::new("/mariadb.sql")]);
    let walked = walk(capture.input());
    if let Some(content) = walked.contents.get(Path::new("/mariadb.sql")) {
        fs::write(folder.join("mariadb.sql"), content).unwrap();
    }
    walked.unread.into_iter().map(|unread| unread.why).collect()
}

/// Dumps, and fails the test unless the point is complete.
fn dump_whole(source: &Mariadb, folder: &Path) {
    assert_eq!(dump(source, folder), Vec::<String>::new());
}

/// Fails the test unless two dumps say the same, but for their comments, which hold dates and positions.
fn same(a: &Folder, b: &Folder) {
    let lines = |folder: &Folder| -> Vec<String> {
        let text = fs::read(folder.join("mariadb.sql")).unwrap();
        let lines = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect::<Vec<_>>();
        lines.into_iter().filter(|line| !line.is_empty() && !line.starts_with("--")).collect()
    };
    let (a, b) = (lines(a), lines(b));
    let short = |line: &str| line.chars().take(300).collect::<String>();
    for (a, b) in a.iter().zip(&b) {
        assert!(a == b, "{}\n{}", short(a), short(b));
    }
    assert_eq!(a.len(), b.len());
}

/// One of everything that a server holds.
const EVERYTHING: &str = "
create database shop character set utf8mb4; create database `odd name-é`; use shop;
create table customers (id int primary key, name varchar(80), at timestamp default '2026-01-02 03:04:05');
insert into customers (id, name) values (1, 'Zoë 🦊'), (2, 'a\\r\\nb\\\\c''d\\0e'), (3, null);
create table orders (id int primary key auto_increment, customer int, total decimal(9,2), twice decimal(9,2) as (total * 2) stored,
    foreign key (customer) references customers (id)) engine=innodb;
insert into orders (customer, total) values (1, 10.50), (2, 3.25); delete from orders where id = 2;
create table pictures (id int primary key, content longblob); insert into pictures values (1, repeat(x'00ff0d0a27', 2500000)), (2, '');
create table prices (id int, price int) with system versioning; insert into prices values (1, 10); update prices set price = 11;
create table old (id int) engine=myisam; insert into old values (7);
create table parts (id int, year int) partition by range (year) (partition a values less than (2020), partition b values less than maxvalue);
insert into parts values (1, 2019), (2, 2026);
create table `odd name-é`.refers (id int primary key, customer int, foreign key (customer) references shop.customers (id));
create sequence numbers start with 1000; do nextval(numbers);
create view cheap as select id from orders where total < 100; create view views as select * from cheap;
create function twice(n int) returns int deterministic return n * 2;
delimiter //
create procedure two_lines() begin\r\n select 'a';\r\nend//
create trigger no_debts before insert on orders for each row begin if new.total < 0 then set new.total = 0; end if; end//
create event cleans on schedule every 1 day do delete from orders where total = 0//
delimiter ;
create definer = 'gone'@'%' view shop.by_someone_gone as select id from orders;
create user app@'%' identified by 'app''s password'; grant select, insert, execute on shop.* to app@'%'; grant update (name) on shop.customers to app@'%';
create role readers; grant select on *.* to readers; grant readers to app@'%'; set default role readers for app@'%';
create user locked@localhost account lock; grant usage on *.* to locked@localhost with max_user_connections 3;
create server far foreign data wrapper mysql options (host 'h', database 'd', user 'u', password 'p');
";

#[test]
fn everything_comes_back_as_it_was() {
    let (mut server, folder, again) =
        (MariadbServer::start_with(&["--log-bin", "--server-id=1"]), Folder::new(), Folder::new());
    server.run(EVERYTHING);
    let source = source(&server);
    dump_whole(&source, &folder.path);
    let text = fs::read(folder.join("mariadb.sql")).unwrap();
    let position = b"-- CHANGE MASTER TO MASTER_LOG_FILE=";
    assert!(text.windows(position.len()).any(|window| window == position), "no position in the binary log");
    server.destroy();
    server.restart();
    assert_eq!(source.occupied(None).unwrap()[0].stands, Stands::Nothing);
    let put = source.put_back(&folder.path, None, None, &|_| ()).unwrap();
    assert_eq!(put.bytes, text.len() as u64);
    dump_whole(&source, &again.path);
    same(&folder, &again);
    // The log holds the pictures now, in an event that is too long for the server to name a position in it: that made mariadb-dump crash.
    // What a dump of a dump could not show.
    assert_eq!(
        server.ask("select md5(content) from shop.pictures where id = 1"),
        server.ask("select md5(repeat(x'00ff0d0a27', 2500000))")
    );
    assert_eq!(server.ask("select count(*) from shop.prices for system_time all"), "2");
    assert_eq!(server.ask("select routine_definition like 'begin\\r\\n%' from information_schema.routines where routine_name = 'two_lines'"), "1");
    assert_eq!(server.ask("select event_name, status from information_schema.events"), "cleans\tENABLED");
    assert_eq!(server.ask("select nextval(shop.numbers) > 1000"), "1");
    let app = Mariadb::new(&server.url_of("app", "app's%20password")).unwrap();
    assert_eq!(app.holds("select total = 10.50 from shop.orders"), Ok(()));
    // And once more over what is there now.
    source.put_back(&folder.path, None, None, &|_| ()).unwrap();
}

#[test]
fn what_is_put_back_is_what_it_was_and_the_rest_stays() {
    let (server, folder) = (MariadbServer::start(), Folder::new());
    server.run("create database shop; create table shop.a (id int); insert into shop.a values (1); create user app@localhost identified by 'x'");
    let source = source(&server);
    dump_whole(&source, &folder.path);
    server.run("create table shop.planted (id int); delete from shop.a; create event shop.bomb on schedule every 1 day do drop table shop.a");
    server.run("create user intruder@'%'; grant all on *.* to intruder@'%'; drop user app@localhost; create database other; create table other.b (id int)");
    let standing = source.occupied(None).unwrap();
    let shown: Vec<_> = standing.iter().map(|standing| standing.path.display().to_string()).collect();
    assert!(shown[0].ends_with(", database other") && shown[1].ends_with(", database shop"), "{shown:?}");
    assert!(
        matches!(standing[1].stands, Stands::Something { files: 2, bytes, .. } if bytes > 0),
        "{standing:?}"
    );
    source.put_back(&folder.path, None, None, &|_| ()).unwrap();
    assert_eq!(server.ask("select id from shop.a"), "1");
    assert_eq!(server.ask("select table_name from information_schema.tables where table_schema in ('shop', 'other') order by 1"), "a\nb");
    assert_eq!(server.ask("select count(*) from information_schema.events"), "0");
    assert_eq!(server.ask("select user from mysql.global_priv where user in ('app', 'intruder')"), "app");
    assert!(
        Mariadb::new(&server.url_of("intruder", "")).unwrap().holds("select 1").is_err(),
        "the intruder still gets in"
    );
}

/// Sixteen accounts, whose sum never changes; each transaction writes itself down.
const ACCOUNTS: &str = "create database bank; use bank; create table accounts (id int primary key, euros int, filler char(200));
    insert into accounts select seq, 100, repeat('x', 200) from seq_1_to_16; create table done (writer int, n int, primary key (writer, n));
    create table ballast (id int primary key, text text); insert into ballast select seq, repeat('y', 200) from seq_1_to_60000;";

/// Moves money until told to stop, and keeps what the server says is committed.
fn write_heavily(
    server: &MariadbServer,
    writer: u32,
    committed: &Mutex<BTreeSet<(u32, u32)>>,
    stop: &AtomicBool,
) {
    let mut session = server.session();
    let mut to = session.stdin.take().unwrap();
    let mut from = BufReader::new(session.stdout.take().unwrap()).lines();
    for n in 0.. {
        if stop.load(SeqCst) {
            break;
        }
        // Always the lower one first: nobody waits in a circle.
        let (a, b) = (1 + (n * 7 + writer) % 16, 1 + (n * 5 + writer * 3) % 16);
        let (a, b) = (a.min(b), a.max(b));
        writeln!(
            to,
            "begin; update bank.accounts set euros = euros - {n} where id = {a}; \
            update bank.accounts set euros = euros + {n} where id = {b}; \
            insert into bank.done values ({writer}, {n}); commit; select {n};"
        )
        .unwrap();
        assert_eq!(from.next().unwrap().unwrap(), n.to_string());
        committed.lock().unwrap().insert((writer, n));
    }
    drop(to);
    session.wait().unwrap();
}

#[test]
fn all_that_was_committed_before_is_there_and_the_sum_is_right_whoever_writes_meanwhile() {
    let (mut server, folder) = (MariadbServer::start(), Folder::new());
    server.run(ACCOUNTS);
    let source = source(&server);
    let (committed, stop) = (Mutex::new(BTreeSet::new()), AtomicBool::new(false));
    let (before, during) = std::thread::scope(|scope| {
        for writer in 0..3 {
            let (server, committed, stop) = (&server, &committed, &stop);
            scope.spawn(move || write_heavily(server, writer, committed, stop));
        }
        let count = || committed.lock().unwrap().len();
        assert!(wait_until(std::time::Duration::from_secs(30), || count() > 100), "nobody writes");
        let before = committed.lock().unwrap().clone();
        dump_whole(&source, &folder.path);
        let during = count() - before.len();
        stop.store(true, SeqCst);
        (before, during)
    });
    assert!(during > 10, "only {during} transactions while it was dumped");
    server.destroy();
    server.restart();
    source.put_back(&folder.path, None, None, &|_| ()).unwrap();
    assert_eq!(server.ask("select sum(euros) from bank.accounts"), "1600");
    let back = server.ask("select writer, n from bank.done");
    let back: BTreeSet<(u32, u32)> = back
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(writer, n)| (writer.parse().unwrap(), n.parse().unwrap()))
        .collect();
    let lost: Vec<_> = before.difference(&back).collect();
    assert!(lost.is_empty(), "{} of {} transactions are lost: {lost:?}", lost.len(), before.len());
}

#[test]
fn a_user_with_few_rights_is_enough_for_a_backup_and_recovers_though_the_dump_takes_them_away() {
    let (mut server, folder, again) =
        (MariadbServer::start_with(&["--log-bin", "--server-id=1"]), Folder::new(), Folder::new());
    server.run(EVERYTHING);
    server.run("create user releve@localhost identified by 'long'; grant select, show view, trigger, event, binlog monitor on *.* to releve@localhost");
    let source = Mariadb::new(&server.url_of("releve", "long")).unwrap();
    dump_whole(&source, &folder.path);
    server.destroy();
    server.restart();
    let error = source.put_back(&folder.path, None, None, &|_| ()).unwrap_err();
    assert!(error.to_string().contains("on a fresh server, make the user first"), "{error}");
    server.run("create user releve@localhost identified by 'long'; grant all on *.* to releve@localhost with grant option");
    source.put_back(&folder.path, None, None, &|_| ()).unwrap();
    dump_whole(&source, &again.path);
    same(&folder, &again);
    let rights = server.ask("show grants for releve@localhost");
    assert!(!rights.contains("ALL PRIVILEGES"), "{rights}");
}

#[test]
fn a_server_without_databases_comes_back_without_any() {
    let (server, folder) = (MariadbServer::start(), Folder::new());
    server.run("create user app@localhost");
    dump_whole(&source(&server), &folder.path);
    server.run("drop user app@localhost");
    source(&server).put_back(&folder.path, None, None, &|_| ()).unwrap();
    assert_eq!(server.ask("select count(*) from mysql.global_priv where user = 'app'"), "1");
}

#[test]
fn a_check_asks_the_server_and_can_change_nothing() {
    let server = MariadbServer::start();
    server.run("create database shop; create table shop.orders (id int)");
    let source = source(&server);
    assert_eq!(source.holds("select count(*) = 0 from shop.orders"), Ok(()));
    assert_eq!(source.holds("select 0").unwrap_err(), "select 0 says 0");
    assert_eq!(source.holds("select null").unwrap_err(), "select null says nothing");
    assert!(source.holds("select * from shop.orders").unwrap_err().ends_with("says nothing"));
    assert!(source.holds("insert into shop.orders values (1)").unwrap_err().contains("READ ONLY"));
    assert!(source.holds("select x").unwrap_err().contains("Unknown column"));
    // Whoever owns a view can make it go on for ever: the server itself gives up.
    let endless =
        "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c, c d, c e";
    let why = source.holds_within(endless, std::time::Duration::from_secs(1)).unwrap_err();
    assert!(why.contains("max_statement_time"), "{why}");
}

/// Returns a folder of programs, in which `mariadb-dump` is this script and finds the real one as `$REAL`.
fn programs(folder: &Folder, script: &str) -> PathBuf {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let programs = folder.dir("programs");
    let real = |name: &str| crate::machine::run("which", &[&name]).trim().to_owned();
    for name in ["mariadb", "mariadb-check"] {
        symlink(real(name), programs.join(name)).unwrap();
    }
    let path = folder
        .write("programs/mariadb-dump", format!("#!/bin/sh\nREAL={}\n{script}\n", real("mariadb-dump")));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    programs
}
