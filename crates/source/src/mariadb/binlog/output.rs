//! Has `mariadb-binlog` make statements of a log, or another program of what it reads.

use crate::mariadb::client::Client;
use crate::program::Running;
use crate::{Error, Kind, Result};
use std::io::{self, Read};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a program prints.
pub(in crate::mariadb) struct Output(pub(in crate::mariadb) Running);

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// Lets `mariadb-binlog` make statements for `take`, of what lies at a place; it may put what the log has read of files into `files`.
pub(super) fn print(
    client: &Client,
    options: Vec<String>,
    place: &Path,
    files: Option<&Path>,
    take: impl FnOnce(&mut Output) -> Result<()>,
) -> Result<()> {
    let wrong = |why| Error::new(format!("read the log in {}", place.display()), Kind::Program(why));
    let mut program = client.program("mariadb-binlog", options)?.within(WITHIN);
    // What is long it keeps in a file for a moment. Where it can't, it leaves that out and ends well.
    let kept = TempDir::new().map_err(|error| Error::io("make a folder for what is temporary", error))?;
    program = program.environment(vec![("TMPDIR", kept.path().display().to_string())]).writing(kept.path());
    if let Some(files) = files {
        program = program.writing(files);
    }
    let mut printed = Output(program.start(Stdio::null()).map_err(wrong)?);
    take(&mut printed)?;
    printed.0.end(WITHIN).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mariadb::address::Address;
    use std::fs;

    #[test]
    fn clients_do_nothing_on_this_machine_but_their_work_and_what_is_long_in_a_log_comes_whole() {
        let server = testkit::MariadbServer::start_with(&["--log-bin=log", "--binlog-format=ROW"]);
        let client = Client::new(Address::parse(&server.url()).unwrap(), None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let planted = folder.path().join("planted");
        let place = planted.display();
        // Without the sandbox and the binary mode, which refuse it.
        for told in [
            format!("\\! id > {place}\n"),
            format!("system id > {place};\n"),
            format!("tee {place}\nselect 1;\n"),
            format!("pager id > {place}\nselect 1;\n"),
        ] {
            let mariadb = client.program("mariadb", ["--force".to_owned()]).unwrap();
            let _ = mariadb.tell(Some(told.as_bytes()));
            assert!(!planted.exists(), "{told}");
        }

        server.run("create database d; create table d.t (a longblob)");
        server.run("insert into d.t values (repeat('x', 4000000))");
        let mut logs: Vec<_> = server.data().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        logs.retain(|path| path.display().to_string().contains("/log.0"));
        logs.sort();
        let options = logs.iter().map(|path| path.display().to_string()).collect();
        let mut bytes = 0;
        let printed = print(&client, options, &server.data(), None, |printed| {
            bytes = io::copy(printed, &mut io::sink()).unwrap();
            Ok(())
        });
        printed.unwrap();
        assert!(bytes > 5_000_000, "base64 takes a third more than the four million: {bytes}");

        // What a server sends is written where it is told to, and nowhere else.
        let name = logs[0].file_name().unwrap().to_str().unwrap().to_owned();
        let receive = || {
            let into = format!("--result-file={}/", folder.path().display());
            let options = ["--read-from-remote-server", "--raw", &into, "--", &name].map(str::to_owned);
            client.program("mariadb-binlog", options).unwrap()
        };
        assert!(receive().run().is_err());
        receive().writing(folder.path()).run().unwrap();
        assert!(fs::metadata(folder.path().join(&name)).unwrap().len() > 0);
    }
}
