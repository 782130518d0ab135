//! What a server that crashed hands out of its binary log is not taken for more than it is.

use super::*;
use source::{Replay, Until};
use std::time::Duration;

/// The files in a folder with their lengths.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut files: Vec<(String, u64)> = files
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_log_that_a_crash_has_torn_is_received_up_to_there_and_goes_on_behind_it() {
    let mut server = MariadbServer::start_with(&["--log-bin=mariadb-bin", "--server-id=7"]);
    server.run("create database shop; create table shop.t (n int primary key)");
    // The last event is cut short, and is there as zeros: the server starts on both.
    for (nth, is_cut) in [(1, true), (2, false)] {
        let source = Mariadb::new(&server.url()).unwrap().keeping_log();
        let (log, point, spool) = (source.log().unwrap(), Folder::new(), Folder::new());
        dump_whole(&source, &point.path);
        server.run(&format!("insert into shop.t values ({nth}1)"));
        let mut receiver = log.receive(&spool.path, None).unwrap();
        assert!(receiver.catch_up(Duration::from_secs(20)).unwrap());
        drop(receiver);
        server.run(&format!("insert into shop.t values ({nth}2); insert into shop.t values ({nth}3)"));
        let torn = server.ask("show master status").split_whitespace().next().unwrap().to_owned();
        server.kill();
        let path = server.data().join(&torn);
        let bytes = path.metadata().unwrap().len();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_len(bytes - 20).unwrap();
        if !is_cut {
            file.set_len(bytes).unwrap();
        }
        server.restart();
        let server_has = server.ask("select n from shop.t");
        server.run(&format!("insert into shop.t values ({nth}4)"));

        let mut receiver = log.receive(&spool.path, None).unwrap();
        assert!(receiver.catch_up(Duration::from_secs(20)).unwrap(), "{torn} {is_cut}");
        drop(receiver);
        let there = files(&spool.path);
        let of = |file: &str| -> Vec<&(String, u64)> {
            there.iter().filter(|(name, _)| name.starts_with(file)).collect()
        };
        // Whole events of the one that is torn, which is not finished; and what the server writes now.
        let its = of(&torn);
        let [(name, length)] = its[..] else { panic!("{there:?}") };
        assert!(name.ends_with(".partial") && *length < bytes - 20, "{there:?}");
        let next = server.ask("show master status").split_whitespace().next().unwrap().to_owned();
        assert_eq!(of(&next).len(), 1, "{there:?}");

        // What is whole comes back, and what is missing is told.
        let (to, logs) = (Folder::new(), Folder::new());
        fs::copy(point.join("mariadb.sql"), to.join("mariadb.sql")).unwrap();
        for (name, _) in &there {
            fs::copy(spool.join(name), logs.join(name)).unwrap();
        }
        let log = logs.path.clone();
        let replay = Replay { log, until: Until::Newest, whole_until: None, must_reach: false };
        let done = source.put_back(&to.path, Some(&to.path), Some(&replay), &|_| ()).unwrap();
        let said = done.findings.concat();
        assert!(said.contains("what was committed after that is not back"), "{said}");
        let text = fs::read(to.join("mariadb-replay.sql")).unwrap();
        assert!(String::from_utf8_lossy(&text).contains("# End of log file"), "{server_has}");

        // A point behind it has its log whole.
        let point = Folder::new();
        dump_whole(&source, &point.path);
        let goes_on = log_goes_on(&source, &spool.path);
        assert!(goes_on, "{there:?}");
    }
}

/// Returns whether what the server has written last comes when a receiver begins anew.
fn log_goes_on(source: &Mariadb, spool: &Path) -> bool {
    let mut receiver = source.log().unwrap().receive(spool, None).unwrap();
    receiver.catch_up(Duration::from_secs(20)).unwrap()
}
