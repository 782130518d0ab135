//! A PostgreSQL cluster with one of everything, and with configuration that lies elsewhere.

use crate::postgres::world;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use testkit::Postgres;

#[test]
fn an_odd_cluster_comes_back_whole_with_the_configuration_that_lies_elsewhere() {
    let cluster = Postgres::start_as("wal_level = logical", &["-E", "UTF8", "--locale=C.UTF-8"]);
    // Root's folder with the server's files, and a folder of the server's own: whoever names them could have made them, and nobody else can put others in their place.
    let roots = tempfile::tempdir().unwrap();
    std::fs::set_permissions(roots.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let elsewhere = roots.path().join("elsewhere");
    std::fs::create_dir_all(elsewhere.join("more.d")).unwrap();
    std::fs::write(elsewhere.join("more.conf"), "work_mem = '5MB'\n").unwrap();
    std::fs::write(elsewhere.join("more.d/a.conf"), "maintenance_work_mem = '70MB'\n").unwrap();
    // As configuration management writes it: root's, and everybody reads it.
    std::fs::create_dir(elsewhere.join("roots.d")).unwrap();
    std::fs::write(elsewhere.join("roots.d/10-ansible.conf"), "# managed\ntemp_buffers = '9MB'\n").unwrap();
    std::fs::write(elsewhere.join("users"), "postgres\n").unwrap();
    std::fs::write(elsewhere.join("hba.conf"), "local all @users trust\nlocal replication all trust\n")
        .unwrap();
    let data = cluster.data();
    std::fs::remove_file(data.join("pg_hba.conf")).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("hba.conf"), data.join("pg_hba.conf")).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("users"), data.join("users")).unwrap();
    let mut settings = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
    settings.push_str(&format!("include '{}'\n", elsewhere.join("more.conf").display()));
    settings.push_str(&format!("include_dir '{}'\n", elsewhere.join("more.d").display()));
    settings.push_str(&format!("include_dir '{}'\n", elsewhere.join("roots.d").display()));
    std::fs::write(data.join("postgresql.conf"), settings).unwrap();
    let of = std::fs::metadata(&data).unwrap();
    for name in ["more.conf", "more.d", "more.d/a.conf", "users", "hba.conf"] {
        std::os::unix::fs::chown(elsewhere.join(name), Some(of.uid()), Some(of.gid())).unwrap();
    }
    // What is root's and no server's is not for its server to name.
    std::fs::write(elsewhere.join("root.pem"), "secret").unwrap();
    cluster.tell(&format!("alter system set ssl_ca_file = '{}'", elsewhere.join("root.pem").display()));
    cluster.tell("select pg_reload_conf()");
    cluster.run(include_str!("../../../source/tests/it/odd_postgres/databases.sql"));
    // What isn't logged comes back empty.
    cluster.run("\\connect parts\ntruncate gone;");
    cluster.tell(&format!("create tablespace beside location '{}'", cluster.folder_of("beside").display()));
    cluster.tell("create table t tablespace beside as select 1 as n");
    // A log that is cut off again and again while it is read is no reason to doubt the rest.
    let log = data.join("server.log");
    let is_over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&is_over);
    let busy = std::thread::spawn(move || {
        while !stop.load(SeqCst) {
            std::fs::write(&log, "busy\n".repeat(10_000)).unwrap();
            testkit::pause(Duration::from_millis(1));
        }
    });
    let world = world(&cluster, ", wal = \"none\"", "1 hour", "");
    world.run(&["backup"]).exits(0).says("root.pem").says("isn't taken along: it belongs to");
    world.run(&["status"]).exits(1).says("LACKS").says("root.pem: it belongs to");
    world.run(&["check"]).exits(1).says("left-behind");
    is_over.store(true, SeqCst);
    busy.join().unwrap();
    let before = cluster.dump();
    cluster.destroy();
    std::fs::remove_dir_all(&elsewhere).unwrap();
    std::fs::remove_dir_all(cluster.path("beside")).unwrap();
    world.run(&["recover", "--yes"]).exits(0).says("will not start here as it did without").says("root.pem");
    assert_eq!(before.lines().zip(cluster.dump().lines()).find(|(a, b)| a != b), None);
    let shown = ["work_mem", "maintenance_work_mem", "temp_buffers"];
    assert_eq!(shown.map(|name| cluster.ask(&format!("show {name}"))), ["5MB", "70MB", "9MB"]);
    std::fs::write(elsewhere.join("root.pem"), "not taken along").unwrap();
    // What receives the log counts as a standby: said as long as it does, with what to type.
    cluster.tell("select pg_create_physical_replication_slot('releve_wal')");
    for (names, is_told) in [("FIRST 1 (\"releve_wal\", b)", true), ("*", true), ("not_releve_wal", false)] {
        cluster.tell(&format!("alter system set synchronous_standby_names = '{names}'"));
        cluster.tell("select pg_reload_conf()");
        testkit::pause(Duration::from_millis(500));
        world.run(&["backup"]);
        let (status, check) = (world.run(&["status"]), world.run(&["check"]));
        let typed = "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (NAME)'";
        assert_eq!(status.out.contains(typed), is_told, "{names}: {}", status.out);
        let said = check.out + &check.err;
        assert_eq!(said.contains("server-setting"), is_told, "{names}: {said}");
    }
}
