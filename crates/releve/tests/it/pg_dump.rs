//! The databases of real PostgreSQL servers, dumped and put back into others.

use crate::excerpt::programs;
use crate::world::World;
use testkit::Postgres;

/// A world whose plan dumps the server of this url, with these words more for its source and its system.
fn world(url: &str, source: &str, more: &str) -> World {
    let world = World::new();
    aim(&world, url);
    let source = format!("pg_dump = {{ url = {{ file = {:?} }}{source} }}", world.path("url"));
    world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, more);
    world
}

/// Lets the plan lead to another server.
fn aim(world: &World, url: &str) {
    std::fs::write(world.path("url"), url).unwrap();
}

/// Tells a database of a server something, and returns what it answers.
fn ask(server: &Postgres, database: &str, query: &str) -> String {
    let said = server.psql().args(["-d", database, "-c", query]).output().unwrap();
    assert!(said.status.success(), "{query}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// A server with a shop of a role of its own.
fn shop() -> Postgres {
    let server = Postgres::start("");
    server.tell("create role app login password 'fort'");
    server.tell("create database shop owner app");
    server.tell("alter database shop set search_path = app, public");
    ask(
        &server,
        "shop",
        "set role app; create schema app; create table app.t (n int primary key, s text); \
        insert into app.t select i, E'a\\tb\\\\' || i from generate_series(1, 1000) i; create view app.v as select max(n) from app.t",
    );
    server
}

const SUM: &str = "select md5(string_agg(t::text, ';' order by n)) from app.t";

#[test]
fn all_databases_and_roles_come_back_into_another_server_also_one_that_was_made_between_two_copies() {
    let (server, other) = (shop(), Postgres::start(""));
    let check =
        "check = [{ sql = \"select count(*) = 2 from pg_database where datname in ('shop', 'c/r m')\" }]";
    let world = world(&server.url("postgres"), "", check);
    world.run(&["backup"]).exits(0);
    server.tell("create database \"c/r m\"");
    ask(&server, "c/r m", "create table \"odd \"\"t\" (n int); insert into \"odd \"\"t\" values (7)");
    ask(&server, "shop", "insert into app.t values (2000, null)");
    world.run(&["backup"]).exits(0);
    let sum = ask(&server, "shop", SUM);
    server.destroy();
    // What stands there under the same name gives way, even where somebody is connected to it; what is not of the dump stays.
    other.tell("create database shop");
    other.tell("create database mine");
    let mut sitting = other.psql().args(["-d", "shop", "-c", "select pg_sleep(600)"]).spawn().unwrap();
    aim(&world, &other.url("postgres"));
    let back = world.run(&["recover", "--yes", "--json"]).exits(0).json();
    let _ = sitting.wait();
    assert_eq!(back["recovered"]["systems"][0]["checks_passed"], 1, "{back}");
    assert_eq!(ask(&other, "shop", SUM), sum);
    assert_eq!(ask(&other, "shop", "select max, current_setting('search_path') from v"), "2000|app, public");
    assert_eq!(ask(&other, "c/r m", "select n from \"odd \"\"t\""), "7");
    assert_eq!(
        other
            .ask("select string_agg(datname, ',' order by datname) from pg_database where not datistemplate"),
        "c/r m,mine,postgres,shop"
    );
    assert_eq!(other.ask("select pg_get_userbyid(datdba) from pg_database where datname = 'shop'"), "app");
    assert_eq!(other.ask("select rolpassword like 'SCRAM%' from pg_authid where rolname = 'app'"), "t");
    // Once more, over itself.
    ask(&other, "shop", "delete from app.t");
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(ask(&other, "shop", SUM), sum);
    // Beside, as files, of which psql makes the databases again.
    let beside = world.path("beside");
    world.run(&["recover", "--yes", "--to", &beside.display().to_string()]).exits(0);
    assert!(
        beside.join("postgresql/databases/c%2Fr m.sql").is_file()
            && beside.join("postgresql/globals.sql").is_file()
    );
    world.run(&["restore", "shop", "--as-sql", "--database", "shop"]).exits(64).says("SQL already");
}

#[test]
fn a_dump_that_ends_early_makes_the_point_incomplete_and_is_never_put_over_what_stands_there() {
    let server = shop();
    let version = "case \"$1\" in --version) exec $REAL --version;; esac; ";
    for (script, said) in [
        ("$REAL \"$@\" | head -c 3000", "without its last line"),
        ("$REAL \"$@\" | head -c 3000; kill -9 $$", "was killed by signal 9"),
    ] {
        let bin = programs(&server, &format!("{version}{script}"));
        let world = world(&server.url("postgres"), &format!(", programs = {bin:?}"), "");
        let made = world.run(&["backup", "--json"]).exits(1).says(said).json();
        assert!(made["systems"][0]["record"]["complete"] == false, "{made}");
        let id = world.points()[0]["id"].as_str().unwrap().to_owned();
        ask(&server, "shop", "update app.t set s = 'newer'");
        world.run(&["recover", "--yes", "--point", &id]).exits(1).says("ended early");
        assert_eq!(ask(&server, "shop", "select count(*) from app.t where s = 'newer'"), "1000");
    }
}

#[test]
fn a_load_that_fails_gives_back_what_stood_there_and_so_does_the_run_after_one_that_was_killed() {
    let server = shop();
    let spoil = "case \"$1\" in --version) exec $REAL --version;; esac; $REAL \"$@\" | sed 's/^-- PostgreSQL database dump complete/SELECT 1\\/0;\\n&/'";
    let bin = programs(&server, spoil);
    let world =
        world(&server.url("postgres"), &format!(", exclude = [\"postgres\"], programs = {bin:?}"), "");
    world.run(&["backup"]).exits(0);
    ask(&server, "shop", "insert into app.t values (5000, 'newer')");
    let sum = ask(&server, "shop", SUM);
    world.run(&["recover", "--yes"]).exits(2).says("division by zero").says("what stood there is as it was");
    assert_eq!(ask(&server, "shop", SUM), sum);
    // As a killed run leaves it: half of it under its name, and what stood there aside and closed.
    server.tell("alter database shop rename to \"shop.releve-old\"");
    server.tell("alter database \"shop.releve-old\" with allow_connections false");
    server.tell("create database shop");
    world.run(&["recover", "--yes"]).exits(2).says("division by zero");
    assert_eq!(ask(&server, "shop", SUM), sum);
    // A database that wasn't there isn't left behind half.
    server.tell("drop database shop with (force)");
    world.run(&["recover", "--yes"]).exits(2);
    assert_eq!(server.ask("select count(*) from pg_database where datname like 'shop%'"), "0");
}

#[test]
fn what_its_user_may_not_read_is_named_and_all_else_is_there() {
    let server = shop();
    server.tell("create role dumper login");
    ask(
        &server,
        "shop",
        "create table app.secret (n int); insert into app.secret values (1); \
        grant usage on schema app to dumper; grant select on all tables in schema app to dumper; revoke all on app.secret from dumper",
    );
    let lacking = world(&server.url("dumper"), "", "");
    lacking
        .run(&["backup"])
        .exits(1)
        .says("may not read, so they are left out: app.secret")
        .says("may not read the passwords of the roles");
    let id = lacking.points()[0]["id"].as_str().unwrap().to_owned();
    let sum = ask(&server, "shop", SUM);
    let other = Postgres::start("");
    aim(&lacking, &other.url("postgres"));
    lacking.run(&["recover", "--yes", "--point", &id]).exits(1).says("app.secret");
    assert_eq!(ask(&other, "shop", SUM), sum);
    ask(&server, "shop", "grant select on app.secret to dumper");
    let accepted = world(&server.url("dumper"), ", role_passwords = false", "");
    accepted.run(&["backup"]).exits(0);
}

#[test]
fn a_password_that_was_changed_is_said_and_shown_to_nobody() {
    let server = shop();
    server.tell("create role dumper superuser login password 'ge:h\\eim'");
    let hba = server.data().join("pg_hba.conf");
    let trusted = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("local all dumper scram-sha-256\n{trusted}")).unwrap();
    server.tell("select pg_reload_conf()");
    let seen = server.folder_of("seen").join("seen");
    let script = format!("(echo \"$@\"; env) >> {}; exec $REAL \"$@\"", seen.display());
    let bin = programs(&server, &script);
    let world = world(&server.url("dumper:ge%3Ah%5Ceim"), &format!(", programs = {bin:?}"), "");
    world.run(&["backup"]).exits(0);
    let text = std::fs::read_to_string(&seen).unwrap();
    assert!(text.contains("--dbname=postgresql://dumper@") && !text.contains("eim"), "{text}");
    server.tell("alter role dumper password 'neu'");
    let run = world.run(&["backup"]).exits(2).says("the password is wrong or was changed");
    assert!(!run.err.contains("eim"), "{}", run.err);
    server.stop();
    world.run(&["backup"]).exits(2).says("PostgreSQL at");
}

#[test]
fn programs_that_are_older_than_the_server_and_servers_that_are_older_than_the_dump_are_refused_before() {
    let server = shop();
    let old = "case \"$1\" in --version) echo 'pg_dump (PostgreSQL) 12.1'; exit;; esac; exec $REAL \"$@\"";
    let bin = programs(&server, old);
    let older = world(&server.url("postgres"), &format!(", programs = {bin:?}"), "");
    older.run(&["backup"]).exits(2).says("the one that is here is of 12: install postgresql-client-");
    let newer = "case \"$1\" in --version) exec $REAL --version;; esac; $REAL \"$@\" | sed 's/^-- Dumped from database version .*/-- Dumped from database version 99.1/'";
    let bin = programs(&server, newer);
    let newer = world(&server.url("postgres"), &format!(", programs = {bin:?}"), "");
    newer.run(&["backup"]).exits(0);
    ask(&server, "shop", "delete from app.t");
    newer
        .run(&["recover", "--yes"])
        .exits(2)
        .says("the dumps are of PostgreSQL 99")
        .says("nothing was changed");
    assert_eq!(ask(&server, "shop", "select count(*) from app.t"), "0");
}

#[test]
fn a_server_on_another_machine_proves_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for name in ["ours", "other"] {
        let made = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args([
                "-addext",
                "subjectAltName=DNS:localhost",
                "-keyout",
                &path(name),
                "-out",
                &path(&format!("{name}.pem")),
            ])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    // As the server wants it: root's, and readable for nobody but a group of the server.
    let group = std::process::Command::new("id").args(["-g", "postgres"]).output().unwrap();
    let group = String::from_utf8(group.stdout).unwrap().trim().parse().unwrap();
    std::os::unix::fs::chown(path("ours"), Some(0), Some(group)).unwrap();
    std::fs::set_permissions(path("ours"), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let server = Postgres::start(&format!(
        "listen_addresses = 'localhost'\nssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'",
        path("ours.pem"),
        path("ours")
    ));
    let port = server.ask("show port");
    let url = |ca: &str| {
        format!("postgres://postgres@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={}", path(ca))
    };
    let world = world(&url("ours.pem"), "", "");
    world.run(&["backup"]).exits(0);
    aim(&world, &url("other.pem"));
    world.run(&["backup"]).exits(2).says("must prove who it is");
    aim(&world, &url("ours.pem").replace("localhost", "127.0.0.1"));
    world.run(&["backup"]).exits(2).says("must prove who it is");
}

#[test]
fn whatever_a_database_was_given_its_dump_is_of_all_of_it_and_in_its_own_encoding() {
    let server = Postgres::start("");
    server.tell("create role legacy");
    // Each would end a dump, or have it read something else.
    let given = [
        "client_encoding = 'latin1'",
        "role = 'legacy'",
        "exit_on_error = on",
        "array_nulls = off",
        "transform_null_equals = on",
        "quote_all_identifiers = on",
        "bytea_output = 'escape'",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on",
        "default_transaction_read_only = on",
        "session_replication_role = 'replica'",
        "zero_damaged_pages = on",
        "intervalstyle = 'sql_standard'",
    ];
    server.tell("create database globals");
    let rows = "create table t (a text, n text[], i interval, check (a <> 'no')); insert into t values ('€', '{NULL,x}', '-1 day -2 hours')";
    ask(&server, "globals", rows);
    for given in given {
        server.tell(&format!("alter database globals set {given}"));
    }
    let world = world(&server.url("postgres"), ", exclude = [\"postgres\"]", "");
    world.run(&["backup"]).exits(0);
    let sum = "begin; set local role none; select md5(string_agg(t::text || (n[1] is null)::text, ';')) from t; end";
    let before = ask(&server, "globals", sum);
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(ask(&server, "globals", sum), before);
    // What was given to it comes back too.
    let kept = "select count(*) from pg_db_role_setting, unnest(setconfig)";
    assert_eq!(server.ask(kept), given.len().to_string());
}

#[test]
fn a_database_with_a_subscription_or_functions_without_schemas_comes_back_in_place_each_time() {
    let server = Postgres::start("");
    server.tell("create database app");
    ask(
        &server,
        "app",
        "create table t (s text); insert into t select 'N' || i from generate_series(1, 100) i; \
        create function norm(text) returns text language sql immutable as 'select lower($1)'; \
        create function key(text) returns text language sql immutable as 'select norm($1)'; \
        create index on t (key(s)); create table c (s text check (key(s) <> 'x')); insert into c values ('Y')",
    );
    let subscribe = "create subscription sub connection 'host=127.0.0.1 port=1 dbname=x' publication p with (connect = false)";
    ask(&server, "app", subscribe);
    let world = world(&server.url("postgres"), ", exclude = [\"postgres\"]", "");
    world.run(&["backup"]).exits(0);
    let is_there = |wanted: &str| {
        let rows = "select (select count(*) from t) || '/' || (select count(*) from c) || '/' || (select count(*) from pg_indexes where schemaname = 'public')";
        assert_eq!(ask(&server, "app", rows), wanted);
        assert_eq!(
            server.ask("select string_agg(datname, ',') from pg_database where datname like 'app%'"),
            "app"
        );
    };
    for _ in 0..2 {
        let told = world.run(&["recover", "--yes"]).exits(1);
        told.says("its subscriptions are switched off").says("without their schema");
        is_there("100/1/1");
    }
    // As a run leaves it that was killed before it had set it aside.
    server.tell("alter database app allow_connections false");
    // Somebody else's database of a name that is needed: nothing is done, and what people use lets them in.
    server.tell("create database \"app.releve-old\"");
    world.run(&["recover", "--yes"]).exits(2).says("it may be somebody's");
    assert_eq!(server.ask("select datallowconn from pg_database where datname = 'app.releve-old'"), "t");
    assert_eq!(server.ask("select datallowconn from pg_database where datname = 'app'"), "t");
    server.tell("drop database \"app.releve-old\"");
    world.run(&["recover", "--yes"]).exits(1);
    is_there("100/1/1");
}
