//! What use would refuse of a plan's values, asked of the very functions that will use them: found when the plan is checked, and not on the day. Nothing is opened,
//! run or asked.

use crate::check::page;
use crate::sources::source_of;
use crate::vaults::Secrets;
use plan::{Check, Plan, ProcedureStep, Secret, Source, System};
use source::Files;
use vault::store::{Credentials, refusal};

/// A value that use would refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// A stable name for scripts.
    pub code: &'static str,
    /// Where it stands: `vaults.cloud.url`.
    pub path: String,
    /// Why.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// One secret for all: where only the rest of a value is looked at, or this one is what is looked at.
pub(crate) struct Only(pub(crate) Vec<u8>);

impl Secrets for Only {
    fn get(&self, _: &Secret) -> crate::Result<Vec<u8>> {
        Ok(self.0.clone())
    }

    fn s3_keys(&self) -> Credentials {
        Credentials::default()
    }
}

/// Returns all that use would refuse of a plan that means something.
#[must_use]
pub fn refused(plan: &Plan) -> Vec<Refused> {
    let mut found = Vec::new();
    for (name, vault) in &plan.vaults {
        if let Some(why) = refusal(&vault.url) {
            let help = "correct it; docs/plan.md shows how the address of a vault is written".to_owned();
            found.push(Refused { code: "bad-url", path: format!("vaults.{name}.url"), message: why, help });
        }
    }
    for (name, system) in &plan.systems {
        let path = format!("systems.{name}");
        if let Some(error) = of_source(plan, system) {
            let help =
                error.help.unwrap_or_else(|| "correct it; docs/plan.md shows how it is written".into());
            let path = format!("{path}.source");
            found.push(Refused { code: "bad-source", path, message: error.message, help });
        }
        for (at, check) in system.check.iter().enumerate() {
            found.extend(of_check(&format!("{path}.check.{at}"), check));
        }
        let recover = &system.recover;
        for (key, steps) in
            [("before", &recover.before), ("instead", &recover.instead), ("after", &recover.after)]
        {
            found.extend(of_steps(&format!("{path}.recover.{key}"), steps));
        }
    }
    for (name, scenario) in &plan.scenarios {
        found.extend(of_steps(&format!("scenarios.{name}.before"), &scenario.before));
        found.extend(of_steps(&format!("scenarios.{name}.after"), &scenario.after));
    }
    found
}

/// Returns why the address of a system's server can't be used, where it is one.
pub(crate) fn of_address(plan: &Plan, system: &System, url: Vec<u8>) -> Option<crate::Error> {
    source_of(plan, system, &Only(url)).err()
}

fn of_source(plan: &Plan, system: &System) -> Option<crate::Error> {
    let url = match system.source.as_ref()? {
        Source::Mariadb(_) => "mysql://releve@localhost:3306",
        Source::Files(files) => {
            if let Err(error) = Files::new(&files.paths).sound() {
                return Some(error.into());
            }
            ""
        }
        _ => "postgres://releve@localhost:5432/postgres",
    };
    of_address(plan, system, url.into())
}

fn of_steps(path: &str, steps: &[ProcedureStep]) -> Vec<Refused> {
    let checks = steps.iter().enumerate().filter_map(|(at, step)| Some((at, step.check.as_ref()?)));
    checks.filter_map(|(at, check)| of_check(&format!("{path}.{at}.check"), check)).collect()
}

fn of_check(path: &str, check: &Check) -> Option<Refused> {
    let message = page(check.http.as_deref()?).err()?;
    let help = "write http://127.0.0.1/health say".to_owned();
    Some(Refused { code: "bad-url", path: path.to_owned(), message, help })
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::SourceFile;

    /// Returns the plan with this vault, this source and this check.
    fn with(vault: &str, source: &str, check: &str) -> Plan {
        let text = format!(
            r#"
[organisation]
name = "Atelier"
[sites.here]
[hosts.server]
site = "here"
[vaults.near]
url = {vault:?}
site = "here"
password = {{ file = "/etc/near.key" }}
[policy]
vaults = ["near"]
every = "1 hour"
[systems.shop]
host = "server"
rto = "1 hour"
rpo = "1 hour"
source.{source}
check = [{check}]
"#
        );
        let parsed = plan::parse(&[SourceFile { name: "plan.toml".into(), text }]);
        parsed.plan.unwrap_or_else(|| panic!("{:#?}", parsed.diagnostics))
    }

    const VAULT: &str = "s3://bucket?endpoint=https://s3.example";
    const FILES: &str = r#"files = { paths = ["/srv/shop"] }"#;
    const PAGE: &str = r#"{ http = "http://127.0.0.1/health" }"#;

    #[test]
    fn what_use_takes_is_not_refused() {
        for source in [
            FILES,
            r#"sqlite = { path = "/srv/shop.db" }"#,
            r#"postgres = { data_directory = "/srv/pg", url = { env = "U" } }"#,
            r#"pg_dump = { url = { env = "U" } }"#,
            r#"mariadb = { url = { env = "U" } }"#,
            r#"command = { dump = ["dump"], load = ["load"] }"#,
        ] {
            assert_eq!(refused(&with(VAULT, source, PAGE)), Vec::new(), "{source}");
        }
        for vault in ["file:///srv/near", "sftp://me@nas//srv/near", "s3://b?endpoint=http://127.0.0.1:9000"]
        {
            assert_eq!(refused(&with(vault, FILES, PAGE)), Vec::new(), "{vault}");
        }
    }

    #[test]
    fn what_use_refuses_is_found_where_it_stands() {
        let cases = [
            ("s3://bucket?endpoint=http://s3.example", FILES, PAGE, "vaults.near.url"),
            ("s3://bucket?regoin=x", FILES, PAGE, "vaults.near.url"),
            ("sftp://-oProxyCommand=x/y", FILES, PAGE, "vaults.near.url"),
            ("sftp://host/x?identity=relative", FILES, PAGE, "vaults.near.url"),
            ("file:///srv/near?x=1", FILES, PAGE, "vaults.near.url"),
            (VAULT, r#"files = { paths = ["/srv/../etc"] }"#, PAGE, "systems.shop.source"),
            (VAULT, r#"sqlite = { path = "/srv/../shop.db" }"#, PAGE, "systems.shop.source"),
            (
                VAULT,
                r#"postgres = { data_directory = "/srv/../pg", url = { env = "U" } }"#,
                PAGE,
                "systems.shop.source",
            ),
            (VAULT, FILES, r#"{ http = "http://" }"#, "systems.shop.check.0"),
            (VAULT, FILES, r#"{ http = "http://host:port/" }"#, "systems.shop.check.0"),
        ];
        for (vault, source, check, path) in cases {
            let found = refused(&with(vault, source, check));
            let paths: Vec<_> = found.iter().map(|refused| refused.path.as_str()).collect();
            assert_eq!(paths, [path], "{vault} {source} {check}: {found:?}");
        }
    }
}
