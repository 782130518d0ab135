//! What a server sets for each session, what stands in its folders, and who may do what: none of it cuts a dump in silence, ends a load half-way, or stays
//! otherwise than it was.

use super::{dump, dump_whole, source};
use crate::machine::Folder;
use source::{Mariadb, Source};
use std::cell::RefCell;
use std::fs;
use testkit::MariadbServer;

/// What a backup needs.
const FEW: &str = "select, show view, trigger, event, execute, binlog monitor on *.* to releve@localhost";

#[test]
fn what_a_server_gives_to_each_session_cuts_no_dump_in_silence_and_changes_no_load() {
    let (server, folder, cut) = (MariadbServer::start(), Folder::new(), Folder::new());
    server.run(
        "create database shop; create table shop.a (id int primary key); insert into shop.a select seq from shop.seq_1_to_1000;
        create table shop.b (id int check (id > 0)); set check_constraint_checks = 0; insert into shop.b values (-1)",
    );
    server.run(&format!("create user releve@localhost identified by 'x'; grant {FEW}"));
    let few = Mariadb::new(&server.url_of("releve", "x")).unwrap();
    dump_whole(&few, &folder.path);
    for (set, unset, way_out) in [
        ("sql_select_limit = 100", "sql_select_limit = 18446744073709551615", "SET GLOBAL sql_select_limit"),
        (
            "init_connect = 'set session sql_select_limit = 100'",
            "init_connect = ''",
            "GRANT CONNECTION ADMIN ON *.* TO 'releve'@'localhost'",
        ),
    ] {
        server.run(&format!("set global {set}"));
        let said = dump(&few, &cut.path);
        server.run(&format!("set global {unset}"));
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("no more than 100 rows") && said[0].contains(way_out), "{said:?}");
    }
    // Whom such a dump doesn't hold may only have been cut off.
    server.run("create user later@localhost identified by 'x'");
    let put = source(&server).put_back(&cut.path, None, None, &|_| ()).unwrap();
    assert!(put.findings.concat().contains("nobody was dropped"), "{:?}", put.findings);
    let there = "select count(distinct user) from mysql.user where user in ('later', 'releve', 'root')";
    assert_eq!(server.ask(there), "3");
    // Of a whole one nobody else stays but root, and who loads it.
    let without = Folder::new();
    let text = fs::read_to_string(folder.join("mariadb.sql")).unwrap();
    fs::write(without.join("mariadb.sql"), text.replace("('localhost','root',", "('localhost','toor',"))
        .unwrap();
    source(&server).put_back(&without.path, None, None, &|_| ()).unwrap();
    let users = "select group_concat(distinct user order by user) from mysql.user where user in ('later', 'releve', 'root', 'toor')";
    assert_eq!(server.ask(users), "releve,root,toor");
    // What would do something else with the same statements. Our own questions aren't cut: each engine is seen.
    server.run(
        "set global sql_select_limit = 2, global enforce_storage_engine = 'Aria', global autocommit = 0, global completion_type = 2,
        global lock_wait_timeout = 1, global tx_isolation = 'READ-UNCOMMITTED'",
    );
    let put = source(&server).put_back(&folder.path, None, None, &|_| ()).unwrap();
    server.run("set global sql_select_limit = 18446744073709551615, global enforce_storage_engine = null, global autocommit = 1, global completion_type = 0");
    assert_eq!(put.findings.len(), 1, "{:?}", put.findings);
    assert!(put.findings[0].contains("not all tables were checked"), "{:?}", put.findings);
    assert_eq!(server.ask("select count(*) from shop.a"), "1000");
    assert_eq!(server.ask("select id from shop.b"), "-1");
    let engines = "select distinct engine from information_schema.tables where table_schema = 'shop'";
    assert_eq!(server.ask(engines), "InnoDB");
}

/// What breaks with one of the settings below, or would be something else.
const TOUCHY: &str = "create database shop; use shop;
create table shop.t (id int primary key, at timestamp not null); insert into shop.t values (1, '2020-01-01');
create table shop.keyless (id int); insert into shop.keyless values (1);
create table shop.wide (v varchar(500) character set utf8mb4, key (v)); insert into shop.wide values ('x');
create table shop.small (id int primary key) row_format=compressed; create table shop.paged (id int primary key) page_compressed=1;
set sql_mode = ''; create table shop.zero (d date not null default '0000-00-00'); insert into shop.zero values ('0000-00-00');
create table shop.past (id int primary key, x int) with system versioning; insert into shop.past values (1, 1); update shop.past set x = 2;
create table shop.kid (id int primary key, p int, foreign key (p) references shop.t (id)); insert into shop.kid values (1, 1);
create view shop.v as select id from shop.t; create definer = gone@x view shop.above as select id from shop.t; create procedure shop.p() select \"x\" || 'y';
create user app@localhost identified by 'x'; grant select on shop.t to app@localhost; grant select (id) on shop.t to app@localhost; grant execute on procedure shop.p to app@localhost;
create role r; grant r to app@localhost; create server far foreign data wrapper mysql options (host 'h', database 'd', user 'u', password 'p')";

/// What stands for all of that.
const TOUCHED: &str = "show create table shop.t; show create table shop.wide; show create table shop.small; show create table shop.paged; show create procedure shop.p;
select * from shop.zero; select count(*) from shop.past for system_time all; select count(*) from shop.kid; show create view shop.above; show grants for app@localhost;
select count(*) from mysql.servers; select table_name, row_format, table_collation from information_schema.tables where table_schema = 'shop';
show databases like 'releve%'";

#[test]
fn no_setting_for_everybody_breaks_a_load_or_changes_what_comes_back() {
    let (server, folder) = (MariadbServer::start(), Folder::new());
    server.run(TOUCHY);
    dump_whole(&source(&server), &folder.path);
    let before = server.ask(TOUCHED);
    // A dump of before this was known has none of it in itself.
    let path = folder.join("mariadb.sql");
    let text = fs::read_to_string(&path).unwrap();
    let older = text.replacen("SET SESSION sql_mode = '';\n", "", 1);
    let older = older.replacen("/*!100804 SET SESSION explicit_defaults_for_timestamp = 1 */;\n", "", 1);
    assert!(older.len() < text.len());
    fs::write(&path, older).unwrap();
    // Many at once, as far as one doesn't hide another: a load takes a second.
    let rows: [&[(&str, &str)]; 4] = [
        &[
            (
                "sql_mode",
                "'STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
            ),
            ("innodb_force_primary_key", "1"),
        ],
        &[
            (
                "sql_mode",
                "'TRADITIONAL,ANSI,NO_BACKSLASH_ESCAPES,EMPTY_STRING_IS_NULL,PAD_CHAR_TO_FULL_LENGTH'",
            ),
            ("explicit_defaults_for_timestamp", "0"),
            ("innodb_default_row_format", "'compact'"),
        ],
        &[
            ("innodb_file_per_table", "0"),
            ("character_set_server", "'utf16'"),
            ("foreign_key_checks", "0"),
            ("max_allowed_packet", "16384"),
        ],
        &[("innodb_compression_default", "1"), ("sql_if_exists", "1"), ("alter_algorithm", "'INPLACE'")],
    ];
    for row in rows {
        let now = || row.iter().map(|(name, _)| server.ask(&format!("select @@global.{name}")));
        let was: Vec<String> = now().collect();
        for (name, value) in row {
            server.run(&format!("set global {name} = {value}"));
        }
        let set: Vec<String> = now().collect();
        let put = source(&server).put_back(&folder.path, None, None, &|_| ());
        assert_eq!(now().collect::<Vec<_>>(), set, "they stay as they were set");
        for ((name, _), was) in row.iter().zip(was) {
            // Numbers are none as texts.
            let is_number = !was.is_empty() && was.bytes().all(|byte| byte.is_ascii_digit());
            let was = if is_number { was } else { format!("'{was}'") };
            server.run(&format!("set global {name} = {was}"));
        }
        assert_eq!(put.unwrap().findings, Vec::<String>::new(), "{row:?}");
        assert_eq!(server.ask(TOUCHED), before, "{row:?}");
    }
    // One that fails leaves nothing of ours, and nobody locked.
    server.run("create user gone@x");
    fs::write(&path, text.replace("CREATE TABLE `zero`", "CREATE BOGUS `zero`")).unwrap();
    source(&server).put_back(&folder.path, None, None, &|_| ()).unwrap_err();
    assert_eq!(server.ask("show databases like 'releve%'"), "");
    assert!(!server.ask("show create user gone@x").contains("LOCK"));
}

#[test]
fn a_load_meets_strange_files_few_rights_and_what_a_killed_one_has_left() {
    let (server, folder) = (MariadbServer::start(), Folder::new());
    server.run(
        "create database shop character set latin1 comment 'of the shop'; create table shop.a (id int); insert into shop.a values (1)",
    );
    server.run(&format!("create user releve@localhost identified by 'old'; grant {FEW}"));
    dump_whole(&source(&server), &folder.path);
    let text = fs::read_to_string(folder.join("mariadb.sql")).unwrap();

    // Who has the rights of a backup is told before anything is begun.
    server.run("set password for releve@localhost = password('new')");
    let few = Mariadb::new(&server.url_of("releve", "new")).unwrap();
    let refused = few.ready(None).unwrap_err().to_string();
    assert!(refused.contains("GRANT ALL ON *.* TO 'releve'@'localhost' WITH GRANT OPTION"), "{refused}");
    server.run("grant all on *.* to releve@localhost with grant option");
    few.ready(None).unwrap();

    // A file of somebody's in the folder of a database stays, and the database comes back all the same; with a password that isn't the dump's.
    server.run("create table shop.planted (id int); create procedure shop.p() select 1; delete from shop.a");
    let strange = server.data().join("shop/export.sql");
    fs::write(&strange, "mine").unwrap();
    let put = few.put_back(&folder.path, None, None, &|_| ()).unwrap();
    assert_eq!(put.findings, Vec::<String>::new());
    assert_eq!(put.bytes, text.len() as u64);
    assert_eq!(server.ask("show tables in shop"), "a");
    assert_eq!(server.ask("select id from shop.a"), "1");
    assert_eq!(
        server.ask("select count(*) from information_schema.routines where routine_schema = 'shop'"),
        "0"
    );
    let made = server.ask("show create database shop");
    assert!(made.contains("latin1") && made.contains("of the shop"), "{made}");
    assert_eq!(fs::read_to_string(&strange).unwrap(), "mine");
    // It lets the url in still, with the rights of the point; nobody else has come.
    assert_eq!(few.holds("select 1"), Ok(()));
    assert!(!server.ask("show grants for releve@localhost").contains("ALL PRIVILEGES"));
    assert_eq!(server.ask("select count(*) from mysql.global_priv where user like 'releve\\_%'"), "0");

    // A load that fails once its user has lost his rights puts back what it had set.
    server.run(
        "grant all on *.* to releve@localhost with grant option; set global max_allowed_packet = 33554432",
    );
    let broken = text.replace("DROP DATABASE `releve_users`;", "this is no statement;");
    assert_ne!(broken, text);
    fs::write(folder.join("mariadb.sql"), broken).unwrap();
    few.put_back(&folder.path, None, None, &|_| ()).unwrap_err();
    assert_eq!(server.ask("select @@global.max_allowed_packet"), "33554432");
    assert_eq!(server.ask("show databases like 'releve_before'"), "");

    // What one that was killed could not put back is put back by the next, which says so.
    fs::write(folder.join("mariadb.sql"), text).unwrap();
    server.run(
        "create database releve_before; create table releve_before.settings (name varchar(64) primary key, value varchar(64));
        insert into releve_before.settings values ('event_scheduler', 'ON'); set global event_scheduler = off",
    );
    let told = RefCell::new(String::new());
    source(&server).put_back(&folder.path, None, None, &|text| told.borrow_mut().push_str(text)).unwrap();
    assert!(
        told.borrow().contains("has left event_scheduler at OFF: it was ON, and is that again"),
        "{told:?}"
    );
    assert_eq!(server.ask("select @@global.event_scheduler"), "ON");
    assert_eq!(server.ask("show databases like 'releve_before'"), "");
}
