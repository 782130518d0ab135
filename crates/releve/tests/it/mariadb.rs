//! A MariaDB server, from the first backup to the bad day, as the administrator types it.

use crate::world::World;
use std::fs;
use testkit::MariadbServer;

/// Writes the plan, and the address as a file that only its owner reads.
fn plan(world: &World, url: &str) {
    fs::write(world.path("url"), format!("{url}\n")).unwrap();
    let source = format!("mariadb = {{ url = {{ file = {:?} }} }}", world.path("url"));
    let check = "check = [{ sql = \"select sum(euros) = 300 from shop.accounts\", within = \"2 seconds\" }]";
    world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, check);
}

const SHOP: &str = "create database shop; create table shop.accounts (id int primary key, euros int);
    insert into shop.accounts values (1, 100), (2, 200); create user releve@localhost identified by 'a secret';
    grant select, show view, trigger, event, reload, binlog monitor on *.* to releve@localhost;";

#[test]
fn a_server_that_was_lost_is_recovered_into_a_fresh_one() {
    let (world, mut server) = (World::new(), MariadbServer::start());
    server.run(SHOP);
    plan(&world, &server.url_of("releve", "a%20secret"));
    world.run(&["backup"]).exits(0);
    server.run("update shop.accounts set euros = 0; create table shop.later (id int)");
    // It has the rights of a backup.
    let told = world.run(&["recover", "--dry-run"]).exits(2);
    told.says("a recovery needs all: type GRANT ALL ON *.* TO 'releve'@'localhost'");
    server.run("grant all on *.* to releve@localhost with grant option");
    let shown = world.run(&["recover", "--dry-run"]).exits(0);
    shown.says(", database shop").says("2 files");
    server.destroy();
    server.restart();
    world
        .run(&["recover", "--yes"])
        .exits(2)
        .says("can't go on")
        .says("on a fresh server, make the user first");
    server.run("create user releve@localhost identified by 'a secret'; grant all on *.* to releve@localhost with grant option");
    world.run(&["recover", "--yes"]).exits(0).says("select sum(euros) = 300");
    assert_eq!(server.ask("select euros from shop.accounts order by id"), "100\n200");
    // A check that fails is no recovery.
    server.run("update shop.accounts set euros = 0");
    plan(&world, &server.url());
    let text = fs::read_to_string(world.path("plan.toml")).unwrap().replace("= 300", "= 301");
    fs::write(world.path("plan.toml"), text).unwrap();
    world.run(&["recover", "--yes"]).exits(2).says("check failed").says("= 301 from shop.accounts says 0");
}

#[test]
fn a_restore_elsewhere_gives_the_dump_and_asks_no_server() {
    let (world, mut server) = (World::new(), MariadbServer::start());
    server.run(SHOP);
    plan(&world, &server.url());
    world.run(&["backup"]).exits(0);
    server.kill();
    world.run(&["recover", "--yes", "--to", "look"]);
    let dump = fs::read_to_string(world.path("look/mariadb.sql")).unwrap();
    assert!(
        dump.contains("INSERT INTO `accounts`") && dump.trim_end().ends_with("-- releve: this dump is whole")
    );
}

#[test]
fn a_wrong_password_is_an_error_and_no_point() {
    let (world, server) = (World::new(), MariadbServer::start());
    server.run(SHOP);
    plan(&world, &server.url_of("releve", "an%20old%20secret"));
    let run = world.run(&["backup"]).exits(2).says("Access denied for user 'releve'").says("was changed");
    assert!(!run.err.contains("old secret") && !run.out.contains("old secret"), "{}", run.err);
    assert!(world.points().is_empty());
}

#[test]
fn a_server_that_is_down_is_an_error_and_no_point() {
    let (world, mut server) = (World::new(), MariadbServer::start());
    plan(&world, &server.url());
    server.kill();
    world.run(&["backup"]).exits(2).says("is the server running?");
    assert!(world.points().is_empty());
    world.run(&["recover", "--yes"]).exits(2).says("no restore point");
}

#[test]
fn a_dump_that_lacks_something_is_an_incomplete_point_with_the_reason() {
    let (world, server) = (World::new(), MariadbServer::start());
    server.run(SHOP);
    server.run("create table shop.gone (id int); create view shop.broken as select id from shop.gone; drop table shop.gone");
    plan(&world, &server.url());
    world.run(&["backup"]).exits(1).says("shop.broken is left out");
    assert_eq!(world.points().len(), 1);
    world.run(&["recover", "--yes"]).says("select sum(euros) = 300");
    assert_eq!(server.ask("select sum(euros) from shop.accounts"), "300");
}
