//! Tells somebody elsewhere that the agent is alive, who notices when it isn't: an address like healthchecks.io's, posted to while all is well, and with `/fail` while
//! something isn't.

use super::Notifier;
use super::carry::{bounded, post_plain};
use crate::alerts::Watchman;
use crate::{Error, Result};
use plan::alerts::Kind;
use std::collections::BTreeSet;

impl Watchman<'_> {
    /// Returns what isn't well, by the names of the alerts: what `releve alerts` shows, whether people were told yet or not.
    pub fn trouble(&self) -> Result<Option<String>> {
        let (troubles, open) = self.standing()?;
        let mut names: BTreeSet<String> = troubles.iter().map(plan::alerts::Trouble::key).collect();
        // A recovery that is tried again is said to be by whoever tries.
        names.extend(
            open.into_iter().filter(|(_, open)| open.trouble.kind != Kind::Recovery).map(|(key, _)| key),
        );
        Ok((!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join("\n")))
    }
}

impl Notifier<'_> {
    /// Posts that all is well, or what isn't. Nothing happens where the plan names no address.
    pub fn beat(&self, trouble: Option<&str>) -> Result<()> {
        let notify = self.notify()?;
        let Some(secret) = notify.heartbeat.as_ref().and_then(|heartbeat| heartbeat.url.clone()) else {
            return Ok(());
        };
        let (secrets, limit) = (self.secrets, notify.try_for());
        let text = plain::page(trouble.unwrap_or("all is well"));
        let fails = trouble.is_some();
        bounded(limit, move || post_plain(&secret, secrets, fails, text, limit))
            .unwrap_or_else(|| Err(format!("no answer within {} s", limit.as_secs())))
            .map_err(|why| Error::new(format!("the heartbeat was not taken: {why}")))
    }
}
