//! Each system for itself: its source, its actions, its checks.

use super::{Checker, HOST, PERSON, SYSTEM};
use crate::model::*;

impl Checker<'_, '_> {
    pub(super) fn system(&mut self, name: &SystemName, system: &System) {
        let plan = self.plan;
        let path = format!("systems.{name}");
        self.refers(&format!("{path}.host"), HOST, &system.host.0, &plan.hosts);
        for (key, person) in [("owner", &system.owner), ("deputy", &system.deputy)] {
            if let Some(person) = person {
                self.refers(&format!("{path}.{key}"), PERSON, &person.0, &plan.people);
            }
        }
        for (at, need) in system.needs.iter().enumerate() {
            self.refers(&format!("{path}.needs.{at}"), SYSTEM, &need.0, &plan.systems);
        }
        for (at, other) in system.consistent_with.iter().enumerate() {
            let at = format!("{path}.consistent_with.{at}");
            self.refers(&at, SYSTEM, &other.0, &plan.systems);
            if other == name {
                self.error(
                    "consistent-with-itself",
                    &at,
                    format!("`{name}` is consistent with itself anyway"),
                    "name the other system",
                );
            }
        }
        if let Some(vaults) = &system.policy.vaults {
            self.policy(&format!("{path}.policy"), vaults);
        }
        self.source(&path, system);
        for (key, action) in [("stop", &system.recover.stop), ("start", &system.recover.start)] {
            let at = format!("{path}.recover.{key}");
            if let Some(action) = action
                && action.service.is_some() == action.command.is_some()
                && !self.notes.is_broken(&at)
            {
                self.error(
                    "one-of",
                    &at,
                    format!("`{at}` must say one of `service` and `command`"),
                    "write { service = \"nginx\" }",
                );
            }
        }
        self.first(&path, system);
        self.holds(&path, &system.recover);
        if system.check.is_empty() && !self.notes.is_broken(&format!("{path}.check")) {
            let help = "add check = [{ http = \"http://127.0.0.1/health\" }], or command, tcp, sql, file";
            self.warn(
                "no-check",
                &path,
                format!("nothing checks that `{name}` works: a recovery that nobody checked isn't proven"),
                help,
            );
        }
        for (at, check) in system.check.iter().enumerate() {
            self.check(&format!("{path}.check.{at}"), check, Some(system));
        }
    }

    fn source(&mut self, path: &str, system: &System) {
        let at = format!("{path}.source");
        match &system.source {
            None => {}
            Some(Source::Files(files)) => {
                self.variables(&format!("{at}.files"), &files.env);
                let paths = format!("{at}.files.paths");
                if files.paths.is_empty() && !self.notes.is_broken(&paths) {
                    self.error(
                        "no-paths",
                        &paths,
                        format!("`{at}.files` names nothing to capture"),
                        "write paths = [\"/srv/shop\"]",
                    );
                }
                for (n, file) in files.paths.iter().enumerate() {
                    self.absolute(&format!("{at}.files.paths.{n}"), file);
                }
                self.patterns(&format!("{at}.files.exclude"), &files.exclude);
            }
            Some(Source::Sqlite(sqlite)) => self.absolute(&format!("{at}.sqlite.path"), &sqlite.path),
            Some(Source::Postgres(postgres)) => {
                self.absolute(&format!("{at}.postgres.data_directory"), &postgres.data_directory);
                if let Some(programs) = &postgres.programs {
                    self.absolute(&format!("{at}.postgres.programs"), programs);
                }
            }
            Some(Source::PgDump(dump)) => {
                if let Some(programs) = &dump.programs {
                    self.absolute(&format!("{at}.pg_dump.programs"), programs);
                }
            }
            Some(Source::Mariadb(mariadb)) => {
                if let Some(programs) = &mariadb.programs {
                    self.absolute(&format!("{at}.mariadb.programs"), programs);
                }
                self.mariadb(path, mariadb, system);
            }
            Some(Source::Command(command)) => {
                self.variables(&format!("{at}.command"), &command.env);
                let name = command.name.as_deref().unwrap_or("dump");
                if name.contains('/') || name == "." || name == ".." {
                    self.error(
                        "bad-name",
                        &format!("{at}.command.name"),
                        "the name of the output is the name of a file, without folders",
                        "write name = \"dump.sql\"",
                    );
                }
            }
        }
    }

    /// A copy of files has a place, and somebody who starts a server on it.
    fn mariadb(&mut self, path: &str, mariadb: &MariadbSource, system: &System) {
        let at = format!("{path}.source.mariadb");
        let folder = format!("{at}.data_directory");
        match (mariadb.copy, &mariadb.data_directory) {
            (Copied::Logical, None) => {}
            (Copied::Logical, Some(_)) => {
                let message =
                    "`data_directory` names files that are copied: it goes with copy = \"physical\"";
                self.error("meaningless-key", &folder, message, "take it out, or add copy = \"physical\"");
            }
            (Copied::Physical, None) => {
                let message = format!("`{at}` does not say where the server's files lie");
                let help = "write data_directory = \"/var/lib/mysql\"";
                self.error("no-data-directory", &format!("{at}.copy"), message, help);
            }
            (Copied::Physical, Some(data)) => self.absolute(&folder, data),
        }
        if mariadb.copy == Copied::Physical && system.recover.start.is_none() {
            let message = "files that were put back are nothing before a server runs on them, and `recover.start` is missing";
            let help =
                "write recover = { stop = { service = \"mariadb\" }, start = { service = \"mariadb\" } }";
            self.error("no-start", &format!("{at}.copy"), message, help);
        }
    }

    fn first(&mut self, path: &str, system: &System) {
        let at = format!("{path}.recover.first");
        if !system.recover.first.is_empty() && !matches!(system.source, Some(Source::Files(_)) | None) {
            let help = "take it out; a database starts when all of it is there";
            self.error("meaningless-key", &at, "`first` names files: it goes with source.files", help);
        }
        self.patterns(&at, &system.recover.first);
    }

    fn patterns(&mut self, at: &str, globs: &[String]) {
        for (n, glob) in globs.iter().enumerate() {
            if let Err(why) = pattern(glob) {
                let help = "write a pattern such as cache/, *.tmp or /srv/shop/tmp";
                self.error("bad-glob", &format!("{at}.{n}"), format!("`{glob}` {why}"), help);
            }
        }
    }

    pub(super) fn absolute(&mut self, path: &str, file: &str) {
        if !file.is_empty() && !file.starts_with('/') {
            self.error(
                "relative-path",
                path,
                format!("`{file}` is relative: to what, on the day?"),
                format!("write an absolute path, /{file} perhaps"),
            );
        }
    }

    /// Checks a check; of no system, where it is a step of a scenario.
    pub(super) fn check(&mut self, path: &str, check: &Check, system: Option<&System>) {
        let kinds = [
            check.http.is_some(),
            check.tcp.is_some(),
            check.command.is_some(),
            check.sql.is_some(),
            check.file.is_some(),
        ];
        if self.notes.is_broken(path) {
            return;
        }
        if kinds.iter().filter(|there| **there).count() != 1 {
            return self.error(
                "one-of",
                path,
                "a check is exactly one of `http`, `tcp`, `command`, `sql`, `file`",
                "make it several checks: [{ … }, { … }]",
            );
        }
        if let Some(url) = &check.http
            && !url.starts_with("http://")
            && !url.starts_with("https://")
        {
            self.error("bad-url", path, format!("`{url}` is no page"), format!("write http://{url}"));
        }
        if check.contains.is_some() && check.http.is_none() {
            self.error(
                "meaningless-key",
                path,
                "`contains` looks into a page: it goes with `http`",
                "take it out",
            );
        }
        if check.expect.is_some() && check.http.is_none() && check.command.is_none() {
            self.error(
                "meaningless-key",
                path,
                "`expect` is a status: it goes with `http` and `command`",
                "take it out",
            );
        }
        let statuses = if check.http.is_some() { 100..=599 } else { 0..=255 };
        if let Some(expect) = check.expect.filter(|expect| !statuses.contains(expect)) {
            let message = format!("no answer has the status {expect}");
            let help = format!("write a number from {} to {}", statuses.start(), statuses.end());
            self.error("bad-amount", &format!("{path}.expect"), message, help);
        }
        if let Some(address) = &check.tcp
            && address
                .rsplit_once(':')
                .is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
        {
            self.error(
                "bad-address",
                path,
                format!("`{address}` is no address"),
                "write host:port, 127.0.0.1:5432 say",
            );
        }
        if let Some(file) = &check.file {
            self.absolute(&format!("{path}.file"), file);
        }
        let has_database =
            |system: &System| !matches!(system.source, Some(Source::Files(_) | Source::Command(_)));
        if check.sql.is_some() && !system.is_some_and(has_database) {
            self.error(
                "meaningless-key",
                path,
                "`sql` asks the system's own database: it goes with source.sqlite, source.postgres, source.pg_dump and source.mariadb",
                "use command = [\"psql\", …] for other databases",
            );
        }
    }
}

/// Says why a text is no pattern for paths.
fn pattern(text: &str) -> Result<(), String> {
    let body = text.strip_suffix('/').unwrap_or(text);
    if body.is_empty() {
        return Err("matches nothing".into());
    }
    if body.starts_with('!') {
        return Err("takes something back in, which patterns can't".into());
    }
    if body.contains("//") || body.split('/').any(|part| part == "." || part == "..") {
        return Err("never matches: paths have no `.`, `..` or `//` in them".into());
    }
    globset::Glob::new(body).map(drop).map_err(|error| format!("is no pattern: {}", error.kind()))
}
