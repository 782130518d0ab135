//! Where copies go.

use super::{Checker, HOST, SITE};
use crate::immutable::is_only_guarded;
use crate::model::*;
use crate::{Bandwidth, BandwidthRule, Period};
use std::collections::BTreeMap;

impl Checker<'_, '_> {
    pub(super) fn vaults(&mut self) {
        let plan = self.plan;
        let mut urls: BTreeMap<&str, &VaultName> = BTreeMap::new();
        for (name, vault) in &plan.vaults {
            let path = format!("vaults.{name}");
            self.refers(&format!("{path}.site"), SITE, &vault.site.0, &plan.sites);
            let url = format!("{path}.url");
            if let Some(other) = urls.insert(vault.url.trim_end_matches('/'), name)
                && !vault.url.is_empty()
            {
                let message = format!("vaults `{other}` and `{name}` are one and the same place");
                self.error(
                    "same-vault",
                    &url,
                    message,
                    "two copies in one place are one copy: give it a place of its own",
                );
            }
            self.vault_url(&url, &vault.url);
            self.immutable(name, vault);
            self.pulled(name, vault);
            if let Some(Bandwidth::Rules(rules)) = &vault.bandwidth {
                self.bandwidth(&format!("{path}.bandwidth"), rules);
            }
            if vault.password.is_none() && !self.notes.is_broken(&format!("{path}.password")) {
                let off_site = plan.hosts.values().all(|host| host.site != vault.site);
                let message = if off_site {
                    format!(
                        "vault `{name}` is off site and has no password: whoever holds its disks reads everything"
                    )
                } else {
                    format!("vault `{name}` has no password")
                };
                let help =
                    "a restic repository always has one: password = { file = \"/etc/releve/NAME.key\" }";
                self.error("no-password", &path, message, help);
            }
            let keys = ["access_key", "secret_key", "session_token"].map(|key| format!("{path}.{key}"));
            if keys.iter().any(|key| self.notes.is_broken(key)) {
                continue;
            }
            let any_key =
                [&vault.access_key, &vault.secret_key, &vault.session_token].into_iter().any(Option::is_some);
            if any_key && !vault.url.starts_with("s3://") && !vault.url.is_empty() {
                let message = format!("vault `{name}` has keys of S3, and its URL is not s3://");
                self.error("meaningless-key", &path, message, "take them out");
            } else if vault.access_key.is_some() != vault.secret_key.is_some()
                || (any_key && vault.access_key.is_none())
            {
                let message = format!("vault `{name}` names one half of its S3 keys");
                self.error(
                    "half-keys",
                    &path,
                    message,
                    "write both access_key and secret_key, or neither (then the environment's are used)",
                );
            }
        }
    }

    fn immutable(&mut self, name: &VaultName, vault: &Vault) {
        const SHORTEST: Period = Period::seconds(86_400);
        const LONGEST: Period = Period::seconds(10 * 365 * 86_400);
        let Some(period) = vault.immutable_for else { return };
        let path = format!("vaults.{name}.immutable_for");
        if !vault.url.starts_with("s3://") && !is_only_guarded(&vault.url) && !vault.url.is_empty() {
            let message = format!(
                "nothing keeps the files of vault `{name}` from being deleted by whoever can write there"
            );
            let help = "take the line out; let another machine fetch them with pulled_by = \"HOST\", or use S3 with Object Lock";
            self.error("not-immutable", &path, message, help);
        } else if period < SHORTEST || period > LONGEST {
            let message = if period < SHORTEST {
                format!("an intruder is not noticed and stopped within {period}")
            } else {
                format!(
                    "for {period} nobody could delete anything, whatever it costs, not even who pays for it"
                )
            };
            self.error("bad-amount", &path, message, "write 1 day to 10 years; 30 days are usual");
        }
    }

    fn pulled(&mut self, name: &VaultName, vault: &Vault) {
        let plan = self.plan;
        let Some(host) = &vault.pulled_by else { return };
        let path = format!("vaults.{name}.pulled_by");
        self.refers(&path, HOST, &host.0, &plan.hosts);
        let policies = plan.systems.iter().map(|(system, of)| (system, plan.policy_of(of).vaults));
        let alone: Vec<_> = policies
            .filter(|(_, vaults)| {
                vaults.contains(name)
                    && vaults
                        .iter()
                        .all(|vault| plan.vaults.get(vault).is_some_and(|vault| vault.pulled_by.is_some()))
            })
            .map(|(system, _)| format!("`{system}`"))
            .collect();
        if !alone.is_empty() {
            let message = format!("{} has no vault that `{host}` could fetch from", alone.join(", "));
            let help = "name a second vault in its policy, one that its own machine writes to";
            self.error("nothing-to-pull", &path, message, help);
        }
    }

    fn bandwidth(&mut self, path: &str, rules: &[BandwidthRule]) {
        let mut sound: Vec<&BandwidthRule> = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            let path = format!("{path}.{at}");
            // What lacks one of its keys has been told so.
            if ["from", "to"].iter().any(|key| self.notes.key(&format!("{path}.{key}")).is_none()) {
                continue;
            }
            if rule.from == rule.to {
                let message = format!("from {} to {} is no time at all", rule.from, rule.to);
                let help = "for the whole day write the rate alone: bandwidth = \"10 Mbit/s\"";
                self.error("bad-amount", &path, message, help);
            } else if let Some(time) = sound.iter().find_map(|before| before.meets(rule)) {
                let help = "let one end where the other begins";
                self.error("twice", &path, format!("two limits hold at {time}"), help);
            }
            sound.push(rule);
        }
    }

    fn vault_url(&mut self, path: &str, url: &str) {
        if url.is_empty() {
            return;
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return self.error(
                "bad-url",
                path,
                format!("`{url}` is no URL"),
                "write file:///path, s3://bucket/… or sftp://user@host/path",
            );
        };
        match scheme {
            "file" if !rest.starts_with('/') => {
                self.error(
                    "bad-url",
                    path,
                    "the path of a vault must be absolute",
                    format!("write file:///{rest}"),
                );
            }
            "s3" | "sftp" if rest.is_empty() || rest.starts_with(['/', '?', '@']) => {
                self.error(
                    "bad-url",
                    path,
                    format!("`{url}` names no bucket or host"),
                    "write s3://bucket/… or sftp://user@host/path",
                );
            }
            "file" | "s3" | "sftp" => {}
            other => {
                let message = format!("`{other}://` is no kind of vault");
                self.error(
                    "bad-url",
                    path,
                    message,
                    "write file:///path, s3://bucket/… or sftp://user@host/path",
                );
            }
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
            self.error(
                "secret-in-plan",
                path,
                "there is a password in this URL",
                "use keys of SSH, or access_key and secret_key for S3",
            );
        }
    }
}
