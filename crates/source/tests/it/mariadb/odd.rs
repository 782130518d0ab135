//! Odd databases, and broken ones: what is odd goes round whole, and what is broken costs only itself.

use super::{dump, dump_whole, source};
use crate::machine::{Folder, run};
use source::{Mariadb, Source};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use testkit::MariadbServer;

/// Folders of a data directory that the server lists as databases, and can't open, or not make anew.
const STRAYS: [&str; 3] = ["lost+found", ".ssh", ".cache"];

/// Who may do what, one table after the other.
const USERS: &str = "use mysql; select * from global_priv order by 1, 2; select * from db order by 1, 2, 3; select * from tables_priv order by 1, 2, 3, 4;
    select * from columns_priv order by 1, 2, 3, 4, 5; select * from procs_priv order by 1, 2, 3, 4; select * from proxies_priv order by 1, 2, 3, 4;
    select * from roles_mapping order by 1, 2, 3; select * from servers order by 1;";

/// What a dump doesn't say of everything.
const MORE: &str = "select routine_schema, routine_name, sql_mode, character_set_client, definer, md5(routine_definition) from information_schema.routines
        where routine_schema not in ('sys', 'mysql') order by 1, 2, 3, 6;
    select event_schema, event_name, status, time_zone, definer, execute_at, ends from information_schema.events order by 1, 2;
    select trigger_schema, trigger_name, definer, action_order from information_schema.triggers where trigger_schema <> 'sys' order by 1, 2;
    select table_schema, table_name, definer, security_type, view_definition from information_schema.views where table_schema <> 'sys' order by 1, 2;";

/// Returns the source, whose programs run as below a service: without a language.
fn as_a_service(server: &MariadbServer, folder: &Folder, options: &str) -> Mariadb {
    let programs = folder.dir("programs");
    for name in ["mariadb", "mariadb-check", "mariadb-dump"] {
        let real = run("which", &[&name]);
        let script =
            format!("#!/bin/sh\nunset LANG LANGUAGE LC_CTYPE\nLC_ALL=C exec {} \"$@\"\n", real.trim());
        let path = folder.write(format!("programs/{name}"), script);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    Mariadb::new(&format!("{}{options}", server.url())).unwrap().programs(programs)
}

/// Returns all that a server holds, as its own program says it by itself.
fn by_itself(server: &MariadbServer) -> Vec<String> {
    let output = Command::new("mariadb-dump")
        .args(["--no-defaults", "--user=root", "--protocol=socket", "--default-character-set=utf8mb4"])
        .arg(format!("--socket={}", server.socket().display()))
        .args([
            "--all-databases",
            "--ignore-database=mysql",
            "--single-transaction",
            "--routines",
            "--events",
        ])
        .args(["--triggers", "--hex-blob", "--order-by-primary", "--skip-dump-date", "--dump-history"])
        .args(["--max-allowed-packet=1G"])
        .args(STRAYS.map(|name| format!("--ignore-database=#mysql50#{name}")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (users, more) = (server.ask(USERS), server.ask(MORE));
    // One that keeps a log calls its version otherwise.
    let lines = text.lines().filter(|line| !line.starts_with("-- Server version"));
    lines.chain(users.lines()).chain(more.lines()).map(str::to_owned).collect()
}

/// Fails the test with the first line that differs.
fn same(is: &[String], should_be: &[String]) {
    let short = |line: &str| line.chars().take(300).collect::<String>();
    for (is, should_be) in is.iter().zip(should_be) {
        assert!(is == should_be, "{}\n{}", short(is), short(should_be));
    }
    assert_eq!(is.len(), should_be.len());
}

#[test]
fn odd_databases_go_round_whole_whatever_their_names_and_in_whose_name_they_work() {
    let (origin, folder) = (MariadbServer::start_with(&["--sync-frm=0"]), Folder::new());
    origin.run(include_str!("odd.sql"));
    for stray in STRAYS {
        fs::create_dir(origin.data().join(stray)).unwrap();
    }
    fs::write(origin.data().join(".ssh/authorized_keys"), "no table").unwrap();
    // Whoever is locked out makes tables without transactions as good as any.
    dump_whole(&as_a_service(&origin, &folder, "&lock=all"), &folder.path);
    let was = by_itself(&origin);
    drop(origin);

    // It keeps a log, so it takes not all functions; and somebody in whose name a view works has other rights there.
    let target = MariadbServer::start_with(&["--sync-frm=0", "--log-bin", "--server-id=1"]);
    target.run("create user few@'%' identified by 'other'; create user intruder@'%'; grant all on *.* to intruder@'%'");
    fs::create_dir(target.data().join(".ssh")).unwrap();
    let source = as_a_service(&target, &folder, "");
    source.put_back(&folder.path, None, None, &|_| ()).unwrap();
    same(&by_itself(&target), &was);
    let content = "select md5(content) = md5(repeat('long ', 3000000)) from columns_of_all_kinds.long_rows";
    assert_eq!(target.ask(content), "1");
    assert_eq!(target.ask("select @@global.log_bin_trust_function_creators"), "0");
}

#[test]
fn what_is_broken_is_named_and_costs_only_itself() {
    let (mut server, folder) = (MariadbServer::start(), Folder::new());
    let far = folder.dir("far");
    server.run(&format!(
        "create database bad; use bad; create table a (id int primary key, x varchar(200)); insert into a select seq, 'x' from seq_1_to_100;
        create table crashed (id int, x varchar(200)) engine=myisam; insert into crashed select seq, repeat('x', 150) from seq_1_to_5000;
        create table gone like a; create table zz like a; insert into zz select * from a;
        create user nobody@localhost; grant all on *.* to nobody@localhost;
        create definer=nobody@localhost function f() returns int deterministic sql security definer return 5;
        create definer=nobody@localhost view lower as select f() as x from a; create view above as select * from lower;
        drop user nobody@localhost;
        create database last; create table last.t (id int); insert into last.t values (1);
        create table last.far (id int primary key) data directory='{}'; insert into last.far values (3);",
        far.display()
    ));
    stop(&server);
    let data = server.data();
    fs::remove_file(data.join("bad/gone.ibd")).unwrap();
    let mut rows = fs::read(data.join("bad/crashed.MYD")).unwrap();
    rows[100_000..130_000].fill(0xff);
    fs::write(data.join("bad/crashed.MYD"), rows).unwrap();
    fs::create_dir(data.join("old+shop")).unwrap();
    for name in ["zz.frm", "zz.ibd"] {
        fs::copy(data.join("bad").join(name), data.join("old+shop").join(name)).unwrap();
    }
    server.restart();

    let whys = dump(&source(&server), &folder.path);
    for what in ["bad.crashed", "bad.gone", "bad.lower", "bad.above", "the tables in #mysql50#old+shop"] {
        let named = whys.iter().filter(|why| why.starts_with(what)).count();
        assert!(named >= 1, "{what} in {whys:#?}");
    }
    // What a table needs that lies elsewhere is missed before anything is touched.
    server.destroy();
    server.restart();
    fs::remove_dir_all(&far).unwrap();
    fs::write(&far, "no folder").unwrap();
    server.run("create database last; create table last.t (id int); insert into last.t values (2)");
    let error = source(&server).put_back(&folder.path, None, None, &|_| ()).unwrap_err();
    assert!(error.to_string().contains("DATA DIRECTORY"), "{error}");
    assert_eq!(server.ask("select id from last.t"), "2", "something was replaced");

    fs::remove_file(&far).unwrap();
    fs::create_dir(&far).unwrap();
    source(&server).put_back(&folder.path, None, None, &|_| ()).unwrap();
    assert_eq!(
        server
            .ask("select (select count(*) from bad.zz), (select id from last.t), (select id from last.far)"),
        "100\t1\t3"
    );
}

/// Stops the server in order.
fn stop(server: &MariadbServer) {
    let [shell, script]: [String; 2] = server.stop_command();
    let stopped = Command::new(shell).arg(PathBuf::from(script)).status().unwrap();
    assert!(stopped.success());
}
