//! What is set otherwise on a server for the time of a load, and put back whatever becomes of it.
//!
//! Who loads may lose the right to by what he loads, so a session that is logged in before stays until the end for that. What was set before is also
//! written down on the server itself, in a database of ours that no dump holds: where a recovery was killed, the next one finds it there.

use super::client::Client;
use super::definers;
use super::session::Session;
use crate::Result;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Where it is written down.
pub(super) const BEFORE: &str = "releve_before";
/// What is written down beside the settings where a log is replayed and nothing of anybody's stood on the server: what an earlier try has left there is ours.
const OVER_NOTHING: &str = "releve_over_nothing";
/// How long one that failed waits for what stands in the way of its own removal.
const CLEAN_SECONDS: u32 = 10;

/// A setting, with the value that a load wants; `None` where the one that it has will do.
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) now: String,
    pub(super) wanted: Option<&'static str>,
    /// Without it the load can go wrong.
    pub(super) must: bool,
}

/// What was set otherwise.
pub(super) struct Meanwhile<'a> {
    keeper: Session<'a>,
    back: String,
    /// Something is written down.
    is_written: bool,
    /// Also that nothing stood there.
    is_over_nothing: bool,
}

impl<'a> Meanwhile<'a> {
    /// Sets what a load wants. Says what a recovery that was killed has left.
    pub(super) fn begin(
        client: &'a Client,
        settings: &[Setting],
        is_over_nothing: bool,
        told: &dyn Fn(&str),
    ) -> Result<Self> {
        let left = left_behind(client)?;
        let mut keeper = Session::open(client)?;
        let (mut back, mut written) = (String::new(), String::new());
        for setting in settings {
            let name = setting.name;
            let before = left.get(name).filter(|before| is_plain(before)).unwrap_or(&setting.now);
            if *before != setting.now {
                told(&format!(
                    "a recovery that was ended has left {name} at {}: it was {before}, and is that again at the end",
                    setting.now
                ));
            }
            if (setting.wanted.is_some() || *before != setting.now) && is_plain(before) {
                let _ = writeln!(back, "SET GLOBAL {name} = {before};");
                let _ =
                    writeln!(written, "REPLACE INTO `{BEFORE}`.`settings` VALUES ('{name}', '{before}');");
            }
        }
        if is_over_nothing {
            let _ = writeln!(written, "REPLACE INTO `{BEFORE}`.`settings` VALUES ('{OVER_NOTHING}', '1');");
        }
        let is_written = !written.is_empty() || !left.is_empty();
        if is_written {
            keeper.say(&format!(
                "SET SESSION sql_log_bin = 0;\nCREATE DATABASE IF NOT EXISTS `{BEFORE}`;\nCREATE TABLE IF NOT EXISTS `{BEFORE}`.`settings` \
                (name varchar(64) CHARACTER SET ascii PRIMARY KEY, value varchar(64) CHARACTER SET ascii NOT NULL) ENGINE=InnoDB;\n{written}"
            ))?;
            // It must be there before anything is changed.
            keeper.wait()?;
        }
        let meanwhile = Self { keeper, back, is_written, is_over_nothing };
        for setting in settings {
            let Some(wanted) = setting.wanted else { continue };
            let set = client.ask(&format!("SET GLOBAL {} = {wanted}", setting.name));
            if let Err(error) = set
                && setting.must
            {
                let _ = meanwhile.end(None);
                return Err(error);
            }
        }
        Ok(meanwhile)
    }

    /// Returns whether it puts this setting back.
    pub(super) fn puts_back(&self, name: &str) -> bool {
        self.back.contains(&format!("SET GLOBAL {name} "))
    }

    /// Puts everything back. After a load that failed, and said whether it kept out of the server's log, what it had of ours on the server goes too.
    pub(super) fn end(mut self, failed: Option<Quietly>) -> Result<()> {
        self.keeper.say(&self.back)?;
        if self.is_written {
            self.keeper.say(&match failed {
                Some(_) if self.is_over_nothing => {
                    format!("DELETE FROM `{BEFORE}`.`settings` WHERE name <> '{OVER_NOTHING}';\n")
                }
                _ => format!("DROP DATABASE IF EXISTS `{BEFORE}`;\n"),
            })?;
        }
        if let Some(Quietly(quietly)) = failed {
            self.keeper.say(&format!(
                "SET SESSION sql_log_bin = {}, lock_wait_timeout = {CLEAN_SECONDS}, innodb_lock_wait_timeout = {CLEAN_SECONDS};\n{}",
                u8::from(!quietly),
                definers::undone()
            ))?;
        }
        self.keeper.end().map(drop)
    }
}

/// Whether a load kept out of the server's log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quietly(pub(super) bool);

/// Returns whether a recovery that never came to its end found nothing on the server: what stands there now it has loaded itself.
pub(super) fn began_over_nothing(client: &Client) -> Result<bool> {
    left_behind(client).map(|left| left.contains_key(OVER_NOTHING))
}

/// Returns what a recovery has written down that never came to its end.
fn left_behind(client: &Client) -> Result<BTreeMap<String, String>> {
    let is_there = format!(
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{BEFORE}' AND TABLE_NAME = 'settings'"
    );
    if client.ask(&is_there)?.concat() != ["1"] {
        return Ok(BTreeMap::new());
    }
    let rows = client.ask(&format!("SELECT name, value FROM `{BEFORE}`.`settings`"))?;
    Ok(rows.into_iter().filter_map(|row| <[String; 2]>::try_from(row).ok()).map(Into::into).collect())
}

/// Returns whether it is a number or a word, as these settings are.
fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_and_words_are_put_back() {
        for (value, wanted) in
            [("16777216", true), ("ON", true), ("", false), ("1; DROP", false), ("'", false)]
        {
            assert_eq!(is_plain(value), wanted, "{value}");
        }
    }
}
