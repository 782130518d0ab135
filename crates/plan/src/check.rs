//! What a plan means, and whether that can hold: references, order, promises.

use crate::diagnostic::Severity;
use crate::model::*;
use crate::order::cycle;
use crate::read::{Notes, nearest};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// Adds what is wrong with the meaning of a plan.
pub(crate) fn meaning(plan: &Plan, notes: &mut Notes) {
    let mut check = Checker { plan, notes };
    check.people_and_places();
    check.vaults();
    for (name, system) in &plan.systems {
        check.system(name, system);
        check.promises(name, system);
    }
    check.needs();
    check.copies();
    check.policy("policy", &plan.policy.vaults);
    check.scenarios();
    check.drills();
    check.not_yet();
}

struct Checker<'p, 'n> {
    plan: &'p Plan,
    notes: &'n mut Notes,
}

impl Checker<'_, '_> {
    fn error(&mut self, code: &'static str, path: &str, message: impl Into<String>, help: impl Into<String>) {
        let place = self.notes.place(path);
        self.notes.add(Severity::Error, code, place, message.into(), Some(help.into()));
    }

    fn warn(&mut self, code: &'static str, path: &str, message: impl Into<String>, help: impl Into<String>) {
        let place = self.notes.place(path);
        self.notes.add(Severity::Warning, code, place, message.into(), Some(help.into()));
    }

    /// Checks that a name stands for something.
    fn refers<K: std::borrow::Borrow<str> + Ord + Display, V>(&mut self, path: &str, sort: &str, name: &str, known: &BTreeMap<K, V>) {
        // An empty name is a missing key, which has been said.
        if name.is_empty() || known.contains_key(name) {
            return;
        }
        let names = || known.keys().map(std::borrow::Borrow::borrow);
        let help = match nearest(name, names()) {
            Some(near) => format!("write \"{near}\""),
            None if known.is_empty() => format!("there is no {sort} in the plan yet"),
            None => format!("there are: {}", names().collect::<Vec<_>>().join(", ")),
        };
        self.error("unknown-reference", path, format!("there is no {sort} `{name}`"), help);
    }

    fn people_and_places(&mut self) {
        let plan = self.plan;
        for (name, person) in &plan.people {
            for (at, contact) in person.contact.iter().enumerate() {
                let path = format!("people.{name}.contact.{at}");
                let known = ["mailto:", "tel:", "https:"].iter().any(|scheme| {
                    contact.strip_prefix(scheme).is_some_and(|rest| !rest.trim().is_empty())
                });
                let mail = contact.strip_prefix("mailto:").is_none_or(|mail| mail.contains('@'));
                if !known || !mail {
                    let help = "write mailto:name@example, tel:+33600000000 or https://…";
                    self.error("bad-contact", &path, format!("`{contact}` is no way to reach someone"), help);
                }
            }
        }
        for (name, host) in &plan.hosts {
            self.refers(&format!("hosts.{name}.site"), "site", &host.site.0, &plan.sites);
        }
    }

    fn vaults(&mut self) {
        let plan = self.plan;
        let mut urls: BTreeMap<&str, &VaultName> = BTreeMap::new();
        for (name, vault) in &plan.vaults {
            let path = format!("vaults.{name}");
            self.refers(&format!("{path}.site"), "site", &vault.site.0, &plan.sites);
            let url = format!("{path}.url");
            if let Some(other) = urls.insert(vault.url.trim_end_matches('/'), name)
                && !vault.url.is_empty()
            {
                let message = format!("vaults `{other}` and `{name}` are one and the same place");
                self.error("same-vault", &url, message, "two copies in one place are one copy: give it a place of its own");
            }
            self.vault_url(&url, &vault.url);
            if vault.password.is_none() {
                let off_site = plan.hosts.values().all(|host| host.site != vault.site);
                let message = if off_site {
                    format!("vault `{name}` is off site and has no password: whoever holds its disks reads everything")
                } else {
                    format!("vault `{name}` has no password")
                };
                let help = "a restic repository always has one: password = { file = \"/etc/releve/NAME.key\" }";
                self.error("no-password", &path, message, help);
            }
            if vault.url.starts_with("s3://") && vault.access_key.is_some() != vault.secret_key.is_some() {
                let message = format!("vault `{name}` names one half of its S3 keys");
                self.error("half-keys", &path, message, "give both access_key and secret_key, or neither (then the environment's are used)");
            }
        }
    }

    fn vault_url(&mut self, path: &str, url: &str) {
        if url.is_empty() {
            return;
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return self.error("bad-url", path, format!("`{url}` is no URL"), "write file:///path, s3://bucket/… or sftp://user@host/path");
        };
        match scheme {
            "file" if !rest.starts_with('/') => {
                self.error("bad-url", path, "the path of a vault must be absolute", format!("write file:///{rest}"));
            }
            "file" | "s3" | "sftp" => {}
            other => {
                let message = format!("`{other}://` is no kind of vault");
                self.error("bad-url", path, message, "write file:///path, s3://bucket/… or sftp://user@host/path");
            }
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
            self.error("secret-in-plan", path, "there is a password in this URL", "use keys of SSH, or access_key and secret_key for S3");
        }
    }

    fn system(&mut self, name: &SystemName, system: &System) {
        let plan = self.plan;
        let path = format!("systems.{name}");
        self.refers(&format!("{path}.host"), "host", &system.host.0, &plan.hosts);
        for (key, person) in [("owner", &system.owner), ("deputy", &system.deputy)] {
            if let Some(person) = person {
                self.refers(&format!("{path}.{key}"), "person", &person.0, &plan.people);
            }
        }
        for (at, need) in system.needs.iter().enumerate() {
            self.refers(&format!("{path}.needs.{at}"), "system", &need.0, &plan.systems);
        }
        if let Some(vaults) = &system.policy.vaults {
            self.policy(&format!("{path}.policy"), vaults);
        }
        self.source(&path, system);
        for (key, action) in [("stop", &system.recover.stop), ("start", &system.recover.start)] {
            if let Some(action) = action
                && action.service.is_some() == action.command.is_some()
            {
                let at = format!("{path}.recover.{key}");
                self.error("one-of", &at, format!("`{at}` must say one of `service` and `command`"), "write { service = \"nginx\" }");
            }
        }
        if system.check.is_empty() {
            let help = "add check = [{ http = \"http://127.0.0.1/health\" }], or command, tcp, sql, file";
            self.warn("no-check", &path, format!("nothing checks that `{name}` works: a recovery that nobody checked isn't proven"), help);
        }
        for (at, check) in system.check.iter().enumerate() {
            self.check(&format!("{path}.check.{at}"), check, system);
        }
    }

    fn source(&mut self, path: &str, system: &System) {
        let at = format!("{path}.source");
        match &system.source {
            None => {}
            Some(Source::Files(files)) => {
                if files.paths.is_empty() {
                    self.error("no-paths", &at, format!("`{at}.files` names nothing to capture"), "write paths = [\"/srv/shop\"]");
                }
                for (n, file) in files.paths.iter().enumerate() {
                    self.absolute(&format!("{at}.files.paths.{n}"), file);
                }
                for (n, glob) in files.exclude.iter().enumerate() {
                    if let Err(error) = globset::Glob::new(glob) {
                        self.error("bad-glob", &format!("{at}.files.exclude.{n}"), format!("`{glob}`: {}", error.kind()), "write a glob such as **/cache or *.tmp");
                    }
                }
            }
            Some(Source::Sqlite(sqlite)) => self.absolute(&format!("{at}.sqlite.path"), &sqlite.path),
            Some(Source::Command(command)) => {
                if command.name.as_deref().is_some_and(|name| name.contains('/') || name == "." || name == "..") {
                    self.error("bad-name", &format!("{at}.command.name"), "the name of the output is the name of a file, without folders", "write name = \"dump.sql\"");
                }
            }
        }
    }

    fn absolute(&mut self, path: &str, file: &str) {
        if !file.is_empty() && !file.starts_with('/') {
            self.error("relative-path", path, format!("`{file}` is relative: to what, on the day?"), format!("write an absolute path, /{file} perhaps"));
        }
    }

    fn check(&mut self, path: &str, check: &Check, system: &System) {
        let kinds = [check.http.is_some(), check.tcp.is_some(), check.command.is_some(), check.sql.is_some(), check.file.is_some()];
        if kinds.iter().filter(|there| **there).count() != 1 {
            return self.error("one-of", path, "a check is exactly one of `http`, `tcp`, `command`, `sql`, `file`", "make it several checks: [{ … }, { … }]");
        }
        if let Some(url) = &check.http
            && !url.starts_with("http://")
            && !url.starts_with("https://")
        {
            self.error("bad-url", path, format!("`{url}` is no page"), format!("write http://{url}"));
        }
        if check.contains.is_some() && check.http.is_none() {
            self.error("meaningless-key", path, "`contains` looks into a page: it goes with `http`", "take it out");
        }
        if check.expect.is_some() && check.http.is_none() && check.command.is_none() {
            self.error("meaningless-key", path, "`expect` is a status: it goes with `http` and `command`", "take it out");
        }
        if let Some(address) = &check.tcp
            && address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
        {
            self.error("bad-address", path, format!("`{address}` is no address"), "write host:port, 127.0.0.1:5432 say");
        }
        if let Some(file) = &check.file {
            self.absolute(&format!("{path}.file"), file);
        }
        if check.sql.is_some() && !matches!(system.source, Some(Source::Sqlite(_)) | None) {
            self.error("meaningless-key", path, "`sql` asks the system's own database: it goes with source.sqlite", "use command = [\"psql\", …] for other databases");
        }
    }

    fn promises(&mut self, name: &SystemName, system: &System) {
        let path = format!("systems.{name}");
        if system.criticality == Criticality::Vital {
            match (&system.owner, &system.deputy) {
                (_, None) => self.error("no-deputy", &path, format!("`{name}` is vital and has no deputy: who acts when the owner is ill?"), "write deputy = \"someone\""),
                (Some(owner), Some(deputy)) if owner == deputy => {
                    self.error("no-deputy", &format!("{path}.deputy"), format!("the deputy of `{name}` is its owner"), "name someone else");
                }
                _ => {}
            }
            if system.owner.is_none() {
                self.error("no-owner", &path, format!("`{name}` is vital and has no owner"), "write owner = \"someone\"");
            }
        }
        let every = self.plan.policy_of(system).every;
        let zero = crate::Period::default();
        if system.rpo > zero && every > system.rpo {
            let at = if system.policy.every.is_some() { format!("{path}.policy.every") } else { format!("{path}.rpo") };
            let message = format!("`{name}` promises to lose at most {}, and a point is made every {every}", system.rpo);
            self.error("rpo-out-of-reach", &at, message, format!("write policy.every = \"{}\" for this system, or promise less", system.rpo));
        }
        if let Some(mtpd) = system.mtpd
            && mtpd < system.rto
        {
            let message = format!("`{name}` is promised back in {}, and the company survives {mtpd} without it", system.rto);
            self.error("rto-after-mtpd", &format!("{path}.mtpd"), message, "promise it sooner");
        }
        for (at, need) in system.needs.iter().enumerate() {
            let Some(needed) = self.plan.systems.get(need) else { continue };
            let path = format!("{path}.needs.{at}");
            if needed.rto > system.rto {
                let message = format!("`{name}` is promised back in {}, and needs `{need}`, promised in {}", system.rto, needed.rto);
                self.warn("needs-slower", &path, message, format!("promise `{need}` sooner, or `{name}` later"));
            }
            if needed.criticality > system.criticality {
                let message = format!("`{name}` is {} and needs `{need}`, which is only {}", system.criticality, needed.criticality);
                self.warn("needs-less-critical", &path, message, format!("make `{need}` {} as well", system.criticality));
            }
        }
    }

    fn needs(&mut self) {
        if let Some(cycle) = cycle(self.plan) {
            let names: Vec<_> = cycle.iter().map(|name| name.0.as_str()).collect();
            let path = cycle.first().map_or_else(String::new, |name| format!("systems.{name}.needs"));
            let help = "one of them must be able to start without the other: take that need out";
            self.error("needs-cycle", &path, format!("no order satisfies these needs: {}", names.join(" → ")), help);
        }
    }

    fn policy(&mut self, path: &str, vaults: &[VaultName]) {
        let plan = self.plan;
        let mut seen = BTreeSet::new();
        for (at, vault) in vaults.iter().enumerate() {
            let path = format!("{path}.vaults.{at}");
            self.refers(&path, "vault", &vault.0, &plan.vaults);
            if !seen.insert(vault) {
                self.error("twice", &path, format!("vault `{vault}` stands there twice"), "keep one of them");
            }
        }
    }

    /// All copies on one site, or all with the original.
    fn copies(&mut self) {
        let plan = self.plan;
        for (name, system) in &plan.systems {
            let policy = plan.policy_of(system);
            let path = if system.policy.vaults.is_some() { format!("systems.{name}.policy.vaults") } else { "policy.vaults".to_owned() };
            let sites: BTreeSet<_> = policy.vaults.iter().filter_map(|vault| plan.vaults.get(vault)).map(|vault| &vault.site).collect();
            if policy.vaults.len() == 1 {
                self.warn("one-vault", &path, format!("`{name}` is kept in one vault only"), "name a second one, on another site: a single copy shares one fate");
            }
            if let (1, Some(site)) = (sites.len(), sites.first()) {
                let home = plan.hosts.get(&system.host).map(|host| &host.site);
                let (message, help) = if home == Some(*site) {
                    (format!("all copies of `{name}` stand on the site of `{name}` itself, `{site}`: a fire takes both"), "add a vault on another site")
                } else if policy.vaults.len() > 1 {
                    (format!("all copies of `{name}` stand on one site, `{site}`"), "add a vault on another site")
                } else {
                    continue;
                };
                self.warn("one-site", &path, message, help);
            }
        }
    }

    fn scenarios(&mut self) {
        let plan = self.plan;
        for (name, scenario) in &plan.scenarios {
            let path = format!("scenarios.{name}");
            for (at, host) in scenario.isolate.iter().enumerate() {
                self.refers(&format!("{path}.isolate.{at}"), "host", &host.0, &plan.hosts);
            }
            for (key, asks) in [("before", &scenario.before), ("after", &scenario.after)] {
                for (at, ask) in asks.iter().enumerate() {
                    if let Some(who) = &ask.who {
                        self.refers(&format!("{path}.{key}.{at}.who"), "person", &who.0, &plan.people);
                    }
                }
            }
        }
    }

    fn drills(&mut self) {
        let plan = self.plan;
        for (name, drill) in &plan.drills {
            let path = format!("drills.{name}");
            self.refers(&format!("{path}.scenario"), "scenario", &drill.scenario.0, &plan.scenarios);
            for (at, system) in drill.systems.iter().enumerate() {
                self.refers(&format!("{path}.systems.{at}"), "system", &system.0, &plan.systems);
            }
        }
    }

    /// What may stand in the plan although nothing carries it out yet, since nothing is lost by that.
    fn not_yet(&mut self) {
        let plan = self.plan;
        if plan.policy.keep.is_some() || plan.systems.values().any(|system| system.policy.keep.is_some()) {
            self.warn("not-supported-yet", "policy.keep", "`keep` is not supported yet: nothing is pruned, every point is kept", "leave it; watch the room in the vaults");
        }
        if let Some(name) = plan.drills.keys().next() {
            self.warn("not-supported-yet", &format!("drills.{name}"), "drills are not supported yet: none is run, and `status` says never rehearsed", "rehearse by hand: releve recover --to an empty folder");
        }
        if plan.organisation.language.as_deref() == Some("fr") {
            self.warn("not-supported-yet", "organisation.language", "French texts are not supported yet: they come in English", "leave it");
        }
        if plan.organisation.review_every.is_some() {
            self.warn("not-supported-yet", "organisation.review_every", "`review_every` is not supported yet: nobody is reminded", "put it in a calendar");
        }
    }
}
