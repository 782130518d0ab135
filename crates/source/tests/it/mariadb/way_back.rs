//! A load that fails, or is ended, leaves what stood there: tables of all kinds, and all that is no table.

use super::{dump, source};
use crate::machine::Folder;
use source::{Mariadb, Source};
use std::cell::RefCell;
use std::fs;
use std::process::Command;
use std::time::Duration;
use testkit::{MariadbServer, wait_until};

/// Three databases whose keys, views and triggers go from one to another.
const THREE: &str = "
create database aa character set latin1 comment 'of a'; create database bb; create database cc;
create table bb.parent (id int primary key, k int); insert into bb.parent values (1, 1), (2, 2);
create table aa.child (id int primary key, p int, constraint same_name foreign key (p) references bb.parent (id)); insert into aa.child values (1, 1);
create table bb.kid (id int primary key, p int, constraint same_name foreign key (p) references bb.parent (id) on delete cascade); insert into bb.kid values (7, 2);
create table cc.kept (id int primary key, x int) with system versioning; insert into cc.kept values (1, 1); update cc.kept set x = 2;
create table cc.part (id int primary key, x int) partition by hash (id) partitions 3; insert into cc.part values (1, 1), (2, 2);
create table cc.old (id int) engine=myisam; insert into cc.old values (7); create table cc.mem (id int) engine=memory; insert into cc.mem values (5);
create table cc.words (id int primary key, t text, fulltext (t)); insert into cc.words values (1, 'hello world');
create table cc.`odd ``\\\\é` (id int primary key, y int as (id * 2) virtual, z int as (id * 3) stored, check (id > 0)); insert into cc.`odd ``\\\\é` (id) values (2);
create sequence cc.seq start 100 cache 10; do nextval(cc.seq); create table cc.next (id int primary key default nextval(cc.seq), x int); insert into cc.next (x) values (1);
create view bb.below as select * from bb.parent; create view aa.above as select * from bb.below; create view cc.top as select k.id from cc.kept k join aa.above using (id);
delimiter //
set sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'//
create trigger aa.one before insert on aa.child for each row begin set new.id = new.id + 0; end//
set sql_mode = ''//
create trigger aa.other before insert on aa.child for each row set new.p = new.p//
create trigger cc.crosses after update on cc.part for each row insert into bb.kid values (new.id + 100, 1)//
create procedure aa.p() begin\r\n select 'é';\r\nend//
create function cc.f(x int) returns int deterministic return x + 1//
create event bb.e on schedule every 1 day do delete from bb.kid where id = -1//
set sql_mode = oracle//
create package cc.pk as procedure x; end//
create package body cc.pk as procedure x as begin null; end; end//
delimiter ;
";

/// What somebody else's eyes see of them.
fn seen(server: &MariadbServer) -> String {
    let printed = Command::new("mariadb-dump")
        .args(["--no-defaults", "--user=root", &format!("--socket={}", server.socket().display())])
        .args(["--routines", "--triggers", "--events", "--hex-blob", "--dump-history", "--skip-dump-date"])
        .args(["--order-by-primary", "--databases", "aa", "bb", "cc"])
        .output()
        .unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    String::from_utf8_lossy(&printed.stdout).into_owned()
}

fn same(server: &MariadbServer, before: &str) {
    let now = seen(server);
    let other = now.lines().zip(before.lines()).find(|(now, before)| now != before);
    assert_eq!(other, None);
    assert_eq!(now.len(), before.len());
    assert_eq!(server.ask("show databases like 'releve\\_was%'"), "");
    assert_eq!(
        server.ask("select count(*) from information_schema.tables where table_name like 'releve%'"),
        "0"
    );
}

#[test]
fn a_load_that_fails_or_is_ended_leaves_what_stood_there() {
    let (mut server, folder) = (MariadbServer::start(), Folder::new());
    server.run(THREE);
    let source = source(&server);
    // Tables without transactions make it incomplete, which matters to nobody here.
    dump(&source, &folder.path);
    let path = folder.join("mariadb.sql");
    let good = fs::read_to_string(&path).unwrap();
    let told = RefCell::new(String::new());
    let put_back = || source.put_back(&folder.path, None, None, &|text| told.borrow_mut().push_str(text));

    // It fails in the last of them.
    server.run("insert into aa.child values (2, 2); update cc.kept set x = 3; drop procedure aa.p; alter database aa comment 'changed'");
    let before = seen(&server);
    let bad = good.replace("CREATE TABLE `part`", "CREATE BOGUS `part`");
    assert_ne!(bad, good);
    fs::write(&path, &bad).unwrap();
    let error = put_back().unwrap_err().to_string();
    for said in ["ERROR 1064", "as they were: aa, bb, cc", "what stood there before was put back: aa, bb, cc"]
    {
        assert!(error.contains(said), "{error}");
    }
    same(&server, &before);

    // It is ended in the middle, with all that it has on the server: nobody is left who could put anything back.
    fs::write(&path, good.replace("CREATE TABLE `part`", "DO SLEEP(600);\nCREATE TABLE `part`")).unwrap();
    std::thread::scope(|scope| {
        let (folder, source) = (&folder, &source);
        let load = scope.spawn(move || source.put_back(&folder.path, None, None, &|_| ()));
        let asleep = "select count(*) from information_schema.processlist where info like '%SLEEP(600)%' and id <> connection_id()";
        assert!(wait_until(Duration::from_secs(60), || server.ask(asleep) == "1"));
        let all = server.ask("select id from information_schema.processlist where user = 'root' and id <> connection_id() order by info is not null");
        for id in all.lines() {
            server.run(&format!("kill {id}"));
        }
        let error = load.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("what stood there could not be put back"), "{error}");
    });
    let standing = source.occupied(None).unwrap();
    let shown: String = standing.iter().map(|standing| standing.path.display().to_string()).collect();
    assert!(shown.contains("set aside by a recovery that was ended, database releve_was_1"), "{shown}");
    let elsewhere = Folder::new();
    let said = dump(&source, &elsewhere.path).concat();
    assert!(said.contains("a recovery was ended on this server before its time"), "{said}");
    let text = fs::read_to_string(elsewhere.join("mariadb.sql")).unwrap();
    assert!(!text.contains("releve_was"), "what was set aside is in the dump");

    // The next one puts it back first, and once more when it fails too.
    fs::write(&path, &bad).unwrap();
    put_back().unwrap_err();
    assert!(told.borrow().contains("has set aside what stood in aa, bb, cc: that comes first"), "{told:?}");
    same(&server, &before);

    // One that ends well leaves nothing behind.
    fs::write(&path, &good).unwrap();
    put_back().unwrap();
    assert_eq!(server.ask("select count(*) from aa.child"), "1");
    assert_eq!(server.ask("call aa.p()"), "é");
    assert_eq!(server.ask("show databases like 'releve\\_was%'"), "");

    // A table that stays and whose key is one to these would be led astray: so it is as it always was, and said.
    server.run("create database far; create table far.t (id int references bb.parent (id))");
    told.borrow_mut().clear();
    put_back().unwrap();
    assert!(
        told.borrow().contains("there is no way back to it: far.t (whose foreign key is one to bb.parent"),
        "{told:?}"
    );
    assert!(server.ask("show create table far.t").contains("REFERENCES `bb`.`parent`"));
    // What hangs together with that by keys stays too, and nothing else.
    assert!(told.borrow().contains("setting aside what stands in cc:"), "{told:?}");
    server.run("create table aa.both (id int) engine=merge");
    let shown = source.occupied(None).unwrap()[0].path.display().to_string();
    assert!(
        shown.ends_with("database aa (there is no way back to it, since these can't be set aside: both)"),
        "{shown}"
    );
    let shown: Vec<bool> = ["bb", "cc"]
        .map(|name| format!("database {name} (there is no way back to it, since a foreign key ties it"))
        .iter()
        .map(|wanted| {
            source.occupied(None).unwrap().iter().any(|it| it.path.display().to_string().contains(wanted))
        })
        .collect();
    assert_eq!(shown, [true, false]);

    // One that a crash has left so that its server can't open it, and no DROP DATABASE comes past, is named with what to type, before anything is replaced.
    server.run("drop database far; drop table aa.both; create table aa.torn (id int, key (id)) engine=aria; insert into aa.torn values (1)");
    server.kill();
    let index = fs::File::options().write(true).open(server.data().join("aa/torn.MAI")).unwrap();
    index.set_len(100).unwrap();
    server.restart();
    server.run("insert into cc.old values (8)");
    let said = put_back().unwrap_err().to_string();
    assert!(said.contains("nothing was replaced: aa.torn (which the server can not open: "), "{said}");
    assert_eq!(server.ask("select count(*) from cc.old where id = 8"), "1");
    // What it names is one, and then it comes to its end.
    assert!(said.contains("REPAIR TABLE `aa`.`torn`, or with USE_FRM"), "{said}");
    server.run("repair table aa.torn use_frm");
    put_back().unwrap();
    assert_eq!(server.ask("select count(*) from cc.old where id = 8"), "0");
}

#[test]
fn who_loads_gets_in_again_wherever_it_breaks_off_behind_the_users() {
    let (server, folder) = (MariadbServer::start(), Folder::new());
    server.run(
        "create database shop; create table shop.t (n int primary key);
        create user rel@'%' identified by 'old'; grant all on *.* to rel@'%' with grant option",
    );
    dump(&source(&server), &folder.path);
    // The url has another password than the point.
    server.run("set password for rel@'%' = password('new')");
    let ours = Mariadb::new(&server.url_of("rel", "new")).unwrap();
    let path = folder.join("mariadb.sql");
    let good = fs::read_to_string(&path).unwrap();
    let bad = good.replace("\nFLUSH PRIVILEGES;\n", "\nFLUSH PRIVILEGES;\nCREATE BOGUS;\n");
    assert_ne!(bad, good);
    fs::write(&path, bad).unwrap();
    let error = ours.put_back(&folder.path, None, None, &|_| ()).unwrap_err().to_string();
    assert!(error.contains("ERROR 1064"), "{error}");
    assert_eq!(ours.holds("select true"), Ok(()));
    // So the same once more comes to its end.
    fs::write(&path, good).unwrap();
    let told = RefCell::new(String::new());
    ours.put_back(&folder.path, None, None, &|text| told.borrow_mut().push_str(text)).unwrap();
    assert!(told.borrow().contains("he keeps the url's"), "{told:?}");
    assert_eq!(ours.holds("select true"), Ok(()));
}
