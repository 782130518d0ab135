//! Whether this machine has what the plan counts on: secrets, folders, programs, services. What is missing today is missing on the day.
//!
//! Nothing is changed, no command of the plan is run, no vault and no server is asked.

use crate::keys::accept;
use crate::notify::refusal;
use crate::refused::of_address;
use crate::service::{Runs, runs};
use crate::trust::{is_open, objection, reach, us};
use crate::vaults::without_line_end;
use plan::{Action, Copied, Plan, ProcedureStep, Secret, Source, System, SystemName, VaultName};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use vault::Password;

/// Something that is missing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// A stable name for scripts.
    pub code: &'static str,
    /// Where the plan counts on it: `systems.shop.source.files.paths.0`.
    pub path: String,
    /// What is missing.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// What can be known of this machine.
pub struct Machine<'a> {
    /// What it calls itself.
    pub name: &'a str,
    /// Where its files are: `/`.
    pub root: &'a Path,
    /// Where programs are looked for.
    pub search: Vec<PathBuf>,
    /// Returns a variable of the environment, if it is set and not empty.
    pub variable: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    /// Whether a vault is known to be there: its password is as it is. That of any other is a new one.
    pub is_made: &'a dyn Fn(&VaultName) -> bool,
}

/// Returns what this machine lacks of what the plan counts on here: for its vaults, for telling people, and for the systems that run here.
#[must_use]
pub fn lacks(plan: &Plan, machine: &Machine<'_>) -> Vec<Lack> {
    let mut look = Look { machine, found: Vec::new() };
    for (name, vault) in &plan.vaults {
        for (key, secret) in [
            ("password", &vault.password),
            ("access_key", &vault.access_key),
            ("secret_key", &vault.secret_key),
            ("session_token", &vault.session_token),
        ] {
            look.secret(&format!("vaults.{name}.{key}"), secret.as_ref());
        }
        if plan.writes(name, machine.name) && !(machine.is_made)(name) {
            look.new_password(name, vault.password.as_ref());
        }
    }
    look.notify(plan);
    for (name, system) in &plan.systems {
        if plan.runs_on(system, machine.name) {
            look.system(&format!("systems.{name}"), system);
            look.address(plan, &format!("systems.{name}.source"), system);
        }
    }
    for (name, scenario) in &plan.scenarios {
        let path = format!("scenarios.{name}");
        look.steps(&format!("{path}.before"), &scenario.before);
        look.steps(&format!("{path}.after"), &scenario.after);
        let is_here = |host: &plan::HostName| plan.machine_name(host) == machine.name;
        if scenario.isolate.iter().any(is_here) {
            look.program(
                &format!("{path}.isolate"),
                "nft",
                "install nftables: this machine could not be cut off",
            );
        }
    }
    look.found
}

/// Returns what this machine lacks to bring these systems back: programs and services that their recovery runs. What only a backup needs isn't missed.
#[must_use]
pub fn lacks_to_recover(plan: &Plan, systems: &[SystemName], machine: &Machine<'_>) -> Vec<Lack> {
    let mut look = Look { machine, found: Vec::new() };
    for (name, system) in systems.iter().filter_map(|name| Some((name, plan.systems.get(name)?))) {
        let path = format!("systems.{name}");
        if let Some(source) = &system.source {
            look.load(&format!("{path}.source.{}", source.kind()), source);
        }
        look.recovery(&path, system);
    }
    look.found
}

struct Look<'a> {
    machine: &'a Machine<'a>,
    found: Vec<Lack>,
}

impl Look<'_> {
    fn lack(&mut self, code: &'static str, path: &str, message: String, help: impl Into<String>) {
        self.found.push(Lack { code, path: path.to_owned(), message, help: help.into() });
    }

    fn under(&self, path: &str) -> PathBuf {
        self.machine.root.join(path.trim_start_matches('/'))
    }

    /// Looks for the variables of our environment that commands are to be handed.
    fn variables(&mut self, path: &str, variables: &[String]) {
        for (at, name) in variables.iter().enumerate().filter(|(_, variable)| !variable.contains('=')) {
            if (self.machine.variable)(name).is_none() {
                let message = format!("the environment variable {name} is not set here");
                let help = "set it where `releve` runs: for the agent in its systemd unit (EnvironmentFile=)";
                self.lack("missing-variable", &format!("{path}.env.{at}"), message, help);
            }
        }
    }

    fn secret(&mut self, path: &str, secret: Option<&Secret>) {
        match secret {
            Some(Secret::Env(name)) if (self.machine.variable)(name).is_none() => self.lack(
                "missing-secret",
                path,
                format!("the environment variable {name} is not set here"),
                "set it where `releve` runs: for the agent in its systemd unit (EnvironmentFile=)",
            ),
            Some(Secret::File(file)) => {
                self.hands(path, file);
                let read = std::fs::read(self.under(file));
                let trouble = match &read {
                    Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Some("is empty".to_owned()),
                    Ok(_) => None,
                    Err(error) => Some(format!("can't be read here: {error}")),
                };
                if let Some(trouble) = trouble {
                    let help = "put the secret there; for a vault it is in the escrow: docs/keys.md";
                    self.lack("missing-secret", path, format!("the file {file} {trouble}"), help);
                }
            }
            Some(Secret::Command(command)) => self.command(path, command),
            _ => {}
        }
    }

    /// Names who else could have written a secret, or reads it.
    fn hands(&mut self, path: &str, file: &str) {
        // What can't be opened is said already.
        let Ok(reached) = reach(&self.under(file)) else { return };
        if let Some(found) = objection(us(), &reached.way) {
            self.lack(
                "others-write",
                path,
                format!("the secret in {file} is not believed: {}", found.why),
                found.way_out,
            );
        }
        if is_open(&reached.way) {
            let message = format!("everybody on this machine can read the secret in {file}");
            self.lack("others-read", path, message, format!("chmod 600 {file}"));
        }
    }

    /// Returns a secret that can be had without running anything.
    fn value(&self, secret: Option<&Secret>) -> Option<Vec<u8>> {
        let bytes = match secret {
            Some(Secret::Env(name)) => (self.machine.variable)(name),
            Some(Secret::File(file)) => std::fs::read(self.under(file)).ok(),
            // No command of the plan is run.
            _ => None,
        };
        bytes.map(without_line_end).filter(|bytes| !bytes.is_empty())
    }

    /// Holds the address that a message goes to against what sending one asks of it.
    fn place(&mut self, path: &str, secret: Option<&Secret>) {
        self.secret(path, secret);
        let text = self.value(secret).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if let Some(why) = text.and_then(|text| refusal(&text)) {
            self.lack("bad-url", path, why, "write https://…; http:// is for this machine alone");
        }
    }

    /// Holds the address of a system's server against what a backup asks of it.
    fn address(&mut self, plan: &Plan, path: &str, system: &System) {
        let (kind, secret) = match &system.source {
            Some(Source::Postgres(postgres)) => ("postgres", postgres.url.as_ref()),
            Some(Source::PgDump(dump)) => ("pg_dump", dump.url.as_ref()),
            Some(Source::Mariadb(mariadb)) => ("mariadb", mariadb.url.as_ref()),
            _ => return,
        };
        let error = self.value(secret).and_then(|url| of_address(plan, system, url));
        if let Some(error) = error {
            let help = error.help.unwrap_or_else(|| "docs/plan.md shows how it is written".into());
            self.lack("bad-url", &format!("{path}.{kind}.url"), error.message, help);
        }
    }

    /// Holds a password against what is asked of new ones, as the backup does that makes the vault.
    fn new_password(&mut self, vault: &VaultName, password: Option<&Secret>) {
        let bytes = self.value(password);
        if let Some(Err(error)) = bytes.map(|bytes| accept(&Password::new(bytes))) {
            let message = format!("the first backup would not make vault `{vault}`: {error}");
            let help = error.help.unwrap_or_default();
            self.lack("weak-password", &format!("vaults.{vault}.password"), message, help);
        }
    }

    fn notify(&mut self, plan: &Plan) {
        let Some(notify) = &plan.notify else { return };
        self.secret("notify.key", notify.key.as_ref());
        for (at, relay) in notify.relays.iter().enumerate() {
            self.secret(&format!("notify.relays.{at}.password"), relay.password.as_ref());
        }
        for (name, webhook) in &notify.webhooks {
            self.place(&format!("notify.webhooks.{name}.url"), webhook.url.as_ref());
            self.secret(&format!("notify.webhooks.{name}.token"), webhook.token.as_ref());
        }
        if let Some(sms) = &notify.sms {
            self.place("notify.sms.url", sms.url.as_ref());
            self.secret("notify.sms.authorization", sms.authorization.as_ref());
            if let Some(command) = &sms.command {
                self.command("notify.sms.command", command);
            }
        }
        let heartbeat = notify.heartbeat.as_ref().and_then(|heartbeat| heartbeat.url.as_ref());
        self.place("notify.heartbeat.url", heartbeat);
    }

    fn system(&mut self, path: &str, system: &System) {
        if let Some(source) = &system.source {
            self.source(&format!("{path}.source.{}", source.kind()), source);
        }
        self.recovery(path, system);
    }

    /// Looks for what runs when a system comes back.
    fn recovery(&mut self, path: &str, system: &System) {
        let recover = &system.recover;
        for (key, action) in [("stop", &recover.stop), ("start", &recover.start)] {
            if let Some(action) = action {
                self.action(&format!("{path}.recover.{key}"), action);
            }
        }
        for (key, steps) in
            [("before", &recover.before), ("after", &recover.after), ("instead", &recover.instead)]
        {
            self.steps(&format!("{path}.recover.{key}"), steps);
        }
        for (at, hold) in recover.hold.iter().enumerate() {
            let path = format!("{path}.recover.hold.{at}");
            if let Some(service) = &hold.service
                && runs(self.machine.root, service) != Runs::Systemd
            {
                let message = format!("{service} can't be held back: systemd doesn't run here");
                self.lack(
                    "no-service",
                    &format!("{path}.service"),
                    message,
                    "write command and release in its place",
                );
            }
            for (key, command) in [("command", &hold.command), ("release", &hold.release)] {
                if let Some(command) = command {
                    self.command(&format!("{path}.{key}"), command);
                }
            }
        }
        for (at, check) in system.check.iter().enumerate() {
            if let Some(command) = &check.command {
                self.command(&format!("{path}.check.{at}.command"), command);
            }
        }
    }

    fn source(&mut self, path: &str, source: &Source) {
        match source {
            Source::Files(files) => {
                for (at, folder) in files.paths.iter().enumerate() {
                    self.there_and_direct(&format!("{path}.paths.{at}"), folder, &files.paths);
                }
                self.variables(path, &files.env);
                for (key, command) in [("before", &files.before), ("after", &files.after)] {
                    if let Some(command) = command {
                        self.command(&format!("{path}.{key}"), command);
                    }
                }
            }
            Source::Sqlite(sqlite) => {
                let path = format!("{path}.path");
                if !self.there(&path, &sqlite.path) {
                    return;
                }
                let asked = source::Sqlite::new(self.under(&sqlite.path));
                let led = asked.and_then(|asked| asked.follow_links(sqlite.follow_links).leads_to());
                if let Err(error) = led {
                    let help = "or let root make the link, if it is right as it is: chown -h root LINK";
                    self.lack("through-link", &path, error.to_string(), help);
                }
            }
            Source::Postgres(postgres) => {
                self.there_and_direct(&format!("{path}.data_directory"), &postgres.data_directory, &[]);
                self.secret(&format!("{path}.url"), postgres.url.as_ref());
                self.postgres(path, postgres.programs.as_deref(), &["pg_ctl", "pg_receivewal"]);
            }
            Source::PgDump(dump) => {
                self.secret(&format!("{path}.url"), dump.url.as_ref());
                self.postgres(path, dump.programs.as_deref(), &["pg_dump", "pg_dumpall", "psql"]);
            }
            Source::Mariadb(mariadb) => {
                self.secret(&format!("{path}.url"), mariadb.url.as_ref());
                if let Some(folder) = &mariadb.data_directory {
                    self.there_and_direct(&format!("{path}.data_directory"), folder, &[]);
                }
                let programs: &[&str] = match mariadb.copy {
                    Copied::Physical => &["mariadb-backup", "mbstream", "mariadb"],
                    Copied::Logical => &["mariadb-dump", "mariadb"],
                };
                self.mariadb(path, mariadb.programs.as_deref(), programs);
            }
            Source::Command(command) => {
                self.variables(path, &command.env);
                self.command(&format!("{path}.dump"), &command.dump);
                self.command(&format!("{path}.load"), &command.load);
            }
        }
    }

    /// Looks for what puts data back.
    fn load(&mut self, path: &str, source: &Source) {
        match source {
            Source::Files(_) | Source::Sqlite(_) => {}
            Source::Postgres(postgres) => self.postgres(path, postgres.programs.as_deref(), &["pg_ctl"]),
            Source::PgDump(dump) => self.postgres(path, dump.programs.as_deref(), &["psql"]),
            Source::Mariadb(mariadb) => {
                let programs: &[&str] = match mariadb.copy {
                    Copied::Physical => &["mariadb-backup", "mbstream"],
                    Copied::Logical => &["mariadb"],
                };
                self.mariadb(path, mariadb.programs.as_deref(), programs);
            }
            Source::Command(command) => self.command(&format!("{path}.load"), &command.load),
        }
    }

    fn mariadb(&mut self, path: &str, folder: Option<&str>, programs: &[&str]) {
        for program in programs {
            let named = folder.map(|folder| format!("{folder}/{program}"));
            let program = named.as_deref().unwrap_or(program);
            self.program(
                path,
                program,
                "install mariadb-client or mariadb-backup, or name its folder as `programs`",
            );
        }
    }

    /// PostgreSQL's packages put programs into folders by version.
    fn postgres(&mut self, path: &str, folder: Option<&str>, programs: &[&str]) {
        let places: Vec<PathBuf> = match folder {
            Some(folder) => vec![self.under(folder)],
            None => {
                let versions = std::fs::read_dir(self.under("/usr/lib/postgresql"));
                let folders =
                    versions.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path().join("bin")));
                let pgdg = (10..=40).map(|version| self.under(&format!("/usr/pgsql-{version}/bin")));
                folders.chain(pgdg).chain(self.machine.search.iter().cloned()).collect()
            }
        };
        for program in programs {
            if !places.iter().any(|folder| is_program(&folder.join(program))) {
                let help = "install PostgreSQL's client programs, or name their folder as `programs`";
                self.lack("missing-program", path, format!("the program {program} isn't here"), help);
            }
        }
    }

    fn there_and_direct(&mut self, path: &str, file: &str, besides: &[String]) {
        if self.there(path, file) {
            self.direct(path, file, besides);
        }
    }

    /// Returns whether the path can be looked at: whoever looked at what doesn't answer would wait for ever.
    fn there(&mut self, path: &str, file: &str) -> bool {
        let place = self.under(file);
        if let Some(silent) = source::silent_on_the_way(&place) {
            let help = format!("mend it or take it away (umount -l {})", silent.display());
            self.lack("silent-mount", path, format!("{file}: {}", source::silence(&silent)), help);
            return false;
        }
        if let Err(error) = std::fs::symlink_metadata(place) {
            let help = "correct the path, or mount what belongs there; `releve check --offline` is for other machines";
            self.lack("missing-path", path, format!("{file} isn't here: {error}"), help);
        }
        true
    }

    /// Names a link on the way to what is captured, which no capture follows: it leads to none of what is captured besides.
    fn direct(&mut self, path: &str, file: &str, besides: &[String]) {
        let Ok(root) = std::fs::canonicalize(self.machine.root) else { return };
        let there = root.join(file.trim_start_matches('/'));
        let Ok(Some(real)) = source::leads_to(&there) else { return };
        let real = Path::new("/").join(real.strip_prefix(&root).unwrap_or(&real));
        if !besides.iter().any(|named| real.starts_with(named)) {
            let real = real.display();
            let message = format!("{file} is reached through a link, and is in no point: it leads to {real}");
            self.lack("through-link", path, message, format!("write {real}"));
        }
    }

    fn steps(&mut self, path: &str, steps: &[ProcedureStep]) {
        for (at, step) in steps.iter().enumerate() {
            let path = format!("{path}.{at}");
            self.variables(&path, &step.env);
            if let Some(command) = &step.run {
                self.command(&format!("{path}.run"), command);
            }
            if let Some(service) = &step.service {
                self.service(&format!("{path}.service"), service);
            }
            if let Some(command) = step.check.as_ref().and_then(|check| check.command.as_ref()) {
                self.command(&format!("{path}.check.command"), command);
            }
        }
    }

    fn action(&mut self, path: &str, action: &Action) {
        if let Some(service) = &action.service {
            self.service(&format!("{path}.service"), service);
        }
        if let Some(command) = &action.command {
            self.command(&format!("{path}.command"), command);
        }
    }

    fn service(&mut self, path: &str, service: &str) {
        if runs(self.machine.root, service) == Runs::Nothing {
            let message = format!(
                "{service} can't be started or stopped: systemd doesn't run here, and /etc/init.d has no script of it"
            );
            self.lack(
                "no-service",
                path,
                message,
                "write command = [\"program\", \"argument\"] in the place of the service",
            );
        } else if runs(self.machine.root, service) == Runs::Systemd && !self.is_unit(service) {
            let message = format!("systemd knows no unit {service} here");
            self.lack("no-service", path, message, "systemctl list-unit-files shows their names");
        }
    }

    /// Returns whether a file says what a unit is. Generated ones stand below /run.
    fn is_unit(&self, service: &str) -> bool {
        let name = if service.contains('.') { service.to_owned() } else { format!("{service}.service") };
        // web@1.service is made of web@.service.
        let template = name
            .split_once('@')
            .zip(name.rsplit_once('.'))
            .map(|((base, _), (_, kind))| format!("{base}@.{kind}"));
        let folders = [
            "/etc/systemd/system",
            "/run/systemd/system",
            "/run/systemd/generator",
            "/run/systemd/generator.late",
            "/run/systemd/generator.early",
            "/run/systemd/transient",
            "/usr/local/lib/systemd/system",
            "/usr/lib/systemd/system",
            "/lib/systemd/system",
        ];
        folders.iter().any(|folder| {
            let folder = self.under(folder);
            let there = |name: &String| std::fs::symlink_metadata(folder.join(name)).is_ok();
            there(&name) || template.as_ref().is_some_and(there)
        })
    }

    fn command(&mut self, path: &str, command: &[String]) {
        if let Some(program) = command.first() {
            self.program(path, program, "install it, or correct its name");
        }
    }

    fn program(&mut self, path: &str, program: &str, help: &str) {
        let there = match program.contains('/') {
            true => is_program(&self.under(program)),
            false => self.machine.search.iter().any(|folder| is_program(&folder.join(program))),
        };
        if !there {
            self.lack(
                "missing-program",
                path,
                format!("the program {program} isn't here, or can't be run"),
                help,
            );
        }
    }
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::SourceFile;

    const PLAN: &str = r#"
[organisation]
name = "Atelier"
[people.hugo]
name = "Hugo"
[sites.here]
[hosts.server]
site = "here"
[hosts.other]
site = "here"
[vaults.near]
url = "file:///srv/near"
site = "here"
password = { file = "/etc/near.key" }
[policy]
vaults = ["near"]
every = "1 hour"
[systems.shop]
host = "server"
rto = "1 hour"
rpo = "1 hour"
owner = "hugo"
source.files = { paths = ["/srv/shop", "/srv/gone"] }
recover.start = { service = "nginx" }
check = [{ command = ["/bin/probe"] }]
[systems.orders]
host = "server"
rto = "1 hour"
rpo = "1 hour"
source.pg_dump = { url = { env = "ORDERS_URL" } }
[systems.elsewhere]
host = "other"
rto = "1 hour"
rpo = "1 hour"
source.files = { paths = ["/srv/elsewhere"] }
"#;

    fn found(root: &Path, is_set: &dyn Fn(&str) -> bool) -> Vec<String> {
        found_of(root, is_set, false)
    }

    fn found_of(root: &Path, is_set: &dyn Fn(&str) -> bool, is_known: bool) -> Vec<String> {
        let file = SourceFile { name: "plan.toml".into(), text: PLAN.into() };
        let plan = plan::parse(&[file]).plan.unwrap();
        let variable = |name: &str| is_set(name).then(|| b"postgres://releve@localhost/postgres".to_vec());
        let is_made = |_: &VaultName| is_known;
        let search = vec![root.join("bin")];
        let machine = Machine { name: "server", root, search, variable: &variable, is_made: &is_made };
        lacks(&plan, &machine).into_iter().map(|lack| format!("{} {}", lack.code, lack.path)).collect()
    }

    #[test]
    fn what_is_missing_on_this_machine_is_found_with_the_place_that_counts_on_it() {
        let machine = tempfile::tempdir().unwrap();
        let root = machine.path();
        std::fs::create_dir_all(root.join("srv/shop")).unwrap();
        let all = found(root, &|_| false);
        for lack in [
            "missing-secret vaults.near.password",
            "missing-path systems.shop.source.files.paths.1",
            "no-service systems.shop.recover.start.service",
            "missing-program systems.shop.check.0.command",
            "missing-secret systems.orders.source.pg_dump.url",
            "missing-program systems.orders.source.pg_dump",
        ] {
            assert!(all.iter().any(|found| found == lack), "{lack}: {all:#?}");
        }
        assert!(
            !all.iter().any(|found| found.contains("paths.0") || found.contains("elsewhere")),
            "{all:#?}"
        );
    }

    #[test]
    fn a_link_that_no_capture_follows_is_found_and_where_it_leads_is_said() {
        let machine = tempfile::tempdir().unwrap();
        let root = machine.path();
        std::fs::create_dir_all(root.join("data/shop")).unwrap();
        std::fs::create_dir_all(root.join("srv")).unwrap();
        std::os::unix::fs::symlink("../data/shop", root.join("srv/shop")).unwrap();
        let all = found(root, &|_| false);
        assert!(all.contains(&"through-link systems.shop.source.files.paths.0".to_owned()), "{all:#?}");
        std::fs::remove_file(root.join("srv/shop")).unwrap();
        std::fs::create_dir_all(root.join("srv/gone")).unwrap();
        std::os::unix::fs::symlink("gone", root.join("srv/shop")).unwrap();
        let all = found(root, &|_| false);
        assert!(!all.iter().any(|found| found.starts_with("through-link")), "{all:#?}");
    }

    #[test]
    fn what_only_a_backup_needs_is_not_missed_when_systems_come_back() {
        let root = tempfile::tempdir().unwrap();
        let file = SourceFile { name: "plan.toml".into(), text: PLAN.into() };
        let plan = plan::parse(&[file]).plan.unwrap();
        let machine = Machine {
            name: "server",
            root: root.path(),
            search: vec![root.path().join("bin")],
            variable: &|_| None,
            is_made: &|_| true,
        };
        let systems = ["shop", "orders"].map(SystemName::from);
        let found = lacks_to_recover(&plan, &systems, &machine);
        let found: Vec<_> = found.iter().map(|lack| format!("{} {}", lack.code, lack.path)).collect();
        let expected = [
            "no-service systems.shop.recover.start.service",
            "missing-program systems.shop.check.0.command",
            "missing-program systems.orders.source.pg_dump",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_machine_that_has_all_of_it_lacks_nothing() {
        let machine = tempfile::tempdir().unwrap();
        let root = machine.path();
        for folder in ["srv/shop", "srv/gone", "etc/init.d", "bin"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("etc/near.key"), "correct horse battery staple\n").unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(root.join("etc/near.key"), private).unwrap();
        std::fs::write(root.join("etc/init.d/nginx"), "").unwrap();
        for program in ["probe", "pg_dump", "pg_dumpall", "psql"] {
            let path = root.join("bin").join(program);
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert_eq!(found(root, &|_| true), Vec::<String>::new());
        std::fs::write(root.join("etc/near.key"), "\n").unwrap();
        assert_eq!(found(root, &|_| true), ["missing-secret vaults.near.password"]);
        std::fs::write(root.join("etc/near.key"), "pw\n").unwrap();
        assert_eq!(found(root, &|_| true), ["weak-password vaults.near.password"]);
        assert_eq!(
            found_of(root, &|_| true, true),
            Vec::<String>::new(),
            "a vault that is there has its password"
        );
    }
}
