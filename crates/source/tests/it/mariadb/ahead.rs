//! What a server lacks for a dump is provided, or missed before anything was replaced; and a load that breaks off says what is left.

use super::{dump, dump_whole, source};
use crate::machine::{Folder, run};
use source::Source;
use std::fs;
use testkit::MariadbServer;

#[test]
fn what_a_dump_needs_is_provided_or_missed_before_anything_is_replaced() {
    let (origin, folder) = (MariadbServer::start(), Folder::new());
    let zone = "/usr/share/zoneinfo/Europe/Paris";
    origin.run(&format!("use mysql; {}", run("mariadb-tzinfo-to-sql", &[&zone, &"Europe/Paris"])));
    origin.run(
        "install soname 'ha_archive'; install soname 'auth_ed25519'; set time_zone = 'Europe/Paris'; create database shop;
        create table shop.old (n int) engine=archive; insert into shop.old values (7);
        create user e@localhost identified via ed25519 using password('x'); create event shop.ev on schedule every 1 year do select 1",
    );
    let said = dump(&source(&origin), &folder.path);
    assert!(said.len() == 1 && said[0].contains("shop.old (ARCHIVE)"), "{said:?}");

    // A server without any libraries, to which capital letters are small ones.
    let libraries = format!("--plugin-dir={}", folder.dir("none").display());
    let bare = MariadbServer::start_with(&[&libraries, "--lower-case-table-names=1"]);
    bare.run("create database shop; create table shop.kept (n int)");
    let missed = || source(&bare).put_back(&folder.path, None, None, &|_| ()).unwrap_err().to_string();
    let error = missed();
    assert!(
        error.contains("the storage engine archive is missing on the server, and its library too"),
        "{error}"
    );
    assert!(error.contains("nothing was replaced"), "{error}");
    assert_eq!(bare.ask("show tables in shop"), "kept");

    // One that has them, and doesn't use them.
    origin.run("drop database shop; uninstall soname 'ha_archive'; uninstall soname 'auth_ed25519'");
    let put = source(&origin).put_back(&folder.path, None, None, &|_| ()).unwrap();
    assert_eq!(put.findings, Vec::<String>::new());
    assert_eq!(origin.ask("select n from shop.old"), "7");
    let engine = "select engine from information_schema.tables where table_name = 'old'";
    assert_eq!(origin.ask(engine), "ARCHIVE");
    let active = "select plugin_status from information_schema.plugins where plugin_name = 'ed25519'";
    assert_eq!(origin.ask(active), "ACTIVE");

    // Time zones come from the machine. Users are worth more than how they log in.
    origin.run("drop table shop.old");
    dump_whole(&source(&origin), &folder.path);
    let put = source(&bare).put_back(&folder.path, None, None, &|_| ()).unwrap();
    assert_eq!(put.findings.len(), 1, "{:?}", put.findings);
    assert!(put.findings[0].contains("the plugin for logging in ed25519 is missing"), "{:?}", put.findings);
    assert_eq!(bare.ask("select time_zone from information_schema.events"), "Europe/Paris");

    // Names that would be one.
    origin.run("create database aa; create table aa.t (n int); create table aa.T (n int)");
    dump_whole(&source(&origin), &folder.path);
    let error = missed();
    assert!(error.contains("would be one on this server: start it with lower_case_table_names"), "{error}");

    // What nobody could know.
    origin.run("drop table aa.T; create database bb; create table bb.odd (n int)");
    dump_whole(&source(&origin), &folder.path);
    let path = folder.join("mariadb.sql");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("CREATE TABLE `odd`", "CREATE BOGUS `odd`")).unwrap();
    let error = missed();
    for said in [
        "databases that have all tables of the point: aa; half loaded: bb; as they were: shop; users are as they were",
        "ERROR 1064",
        "the same command loads all again",
    ] {
        assert!(error.contains(said), "{error}");
    }
    assert_eq!(bare.ask("show tables in aa"), "t");
}
