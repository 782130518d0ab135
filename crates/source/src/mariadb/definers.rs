//! What must be there before the first table of a dump: whoever views work for, and the folders that tables lie in.
//!
//! A view over a view can only be made where the user of the lower one is, with the rights that it takes. The users of a dump come after its data, so these are there
//! before, for as long as it is loaded: for whoever isn't there somebody stands in who may read all and can't log in, and whoever is there is made so,
//! but for administrators. So even a view comes back that nobody could use any more. At the end the users become exactly those of the dump; where that
//! doesn't know all of them, these become what they were.

use super::BESIDE;
use super::load::EXPLICIT;
use super::look::{Elsewhere, Facts};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// `SELECT`, `EXECUTE` and `SHOW VIEW`: all that making a view takes. Never more: somebody may use what is loaded already.
const READS: u32 = 1 | (1 << 18) | (1 << 22);
/// `SELECT`, `SUPER` and `EXECUTE`: whoever has them is an administrator, and is never locked out.
const ADMINISTRATOR: u32 = 1 | (1 << 15) | (1 << 18);

/// Returns what comes before everything else. Who loads it by hand has whatever modes his server has for everybody, which must be told here too.
pub(super) fn before(facts: &Facts) -> String {
    let (elsewhere, definers) = (facts.elsewhere(), facts.definers());
    // Whoever loads it wants to know first of all which server it is of.
    let mut text = format!(
        "-- Server version\t{}\n/*!40101 SET NAMES utf8mb4 */;\nSET SESSION sql_mode = '';\n{EXPLICIT}{}",
        facts.version(),
        tried(&elsewhere)
    );
    if !definers.is_empty() {
        text.push_str(&brought_in(definers));
    }
    text
}

/// Returns what makes those for whom views work what they were: who stood in for somebody goes.
pub(super) fn after() -> String {
    format!(
        "DELETE FROM `mysql`.`global_priv` WHERE (`Host`, `User`) IN (SELECT `Host`, `User` FROM `{BESIDE}`.`definers`);\n\
        INSERT INTO `mysql`.`global_priv` (`Host`, `User`, `Priv`) SELECT `Host`, `User`, `Priv` FROM `{BESIDE}`.`was`;\n"
    )
}

/// Returns what makes them that again after a load that failed, as long as the users are those of before, and removes what it had beside them. It fails nowhere.
pub(super) fn undone() -> String {
    let is_there = |table: &str| {
        format!(
            "EXISTS (SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{BESIDE}' AND TABLE_NAME = '{table}')"
        )
    };
    // The second is made when all data has come, right before the users.
    let back = format!(
        "IF {} AND NOT {} THEN {} FLUSH PRIVILEGES; END IF;",
        is_there("was"),
        is_there("global_priv"),
        after().replace('\n', " ")
    );
    [back, format!("DROP DATABASE IF EXISTS `{BESIDE}`;")].iter().fold(String::new(), |mut text, what| {
        let block = format!("BEGIN NOT ATOMIC DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN END; {what} END");
        let _ = writeln!(text, "EXECUTE IMMEDIATE '{}';", block.replace('\'', "''"));
        text
    })
}

/// Returns what makes each table that lies in a folder of its own, where it isn't there: if the server can't make files there, or those of another one
/// are there, the load ends before anything was replaced. The databases are dropped with it a little later.
fn tried(elsewhere: &[Elsewhere]) -> String {
    elsewhere.iter().fold(String::new(), |mut text, Elsewhere { database, table, engine, folders }| {
        let (database, table) = (database.replace('`', "``"), table.replace('`', "``"));
        let _ = write!(
            text,
            "CREATE DATABASE IF NOT EXISTS `{database}`;\nCREATE TABLE IF NOT EXISTS `{database}`.`{table}` (`id` int) ENGINE={engine} {folders};\n"
        );
        text
    })
}

/// Returns what lets views be made in the name of these.
fn brought_in(definers: &BTreeSet<(String, String)>) -> String {
    let all = definers.iter().map(|(host, user)| format!("({}, {})", literal(host), literal(user)));
    let all: Vec<String> = all.collect();
    // Whoever loads keeps the rights to go on. A role that is there keeps its own too: nobody can be kept from using it.
    format!(
        "\
DROP DATABASE IF EXISTS `{BESIDE}`;
CREATE DATABASE `{BESIDE}`;
USE `{BESIDE}`;
CREATE TABLE `definers` ENGINE=Aria SELECT `Host`, `User` FROM `mysql`.`global_priv` WHERE FALSE;
INSERT INTO `definers` VALUES {};
DELETE FROM `definers` WHERE CONCAT(`User`, '@', `Host`) = CURRENT_USER();
CREATE TABLE `was` ENGINE=Aria SELECT `Host`, `User`, `Priv` FROM `mysql`.`global_priv` JOIN `definers` USING (`Host`, `User`);
UPDATE `mysql`.`global_priv` JOIN `definers` USING (`Host`, `User`)
    SET `Priv` = JSON_MERGE_PATCH(`Priv`, CONCAT('{{\"access\":',
        IFNULL(JSON_VALUE(`Priv`, '$.access'), 0) | {READS}, ',\"account_locked\":true}}'))
    WHERE `Host` <> '' AND IFNULL(JSON_VALUE(`Priv`, '$.access'), 0) & {ADMINISTRATOR} <> {ADMINISTRATOR};
INSERT IGNORE INTO `mysql`.`global_priv` (`Host`, `User`, `Priv`) SELECT `Host`, `User`,
    CONCAT('{{\"access\":{READS},\"', IF(`Host` = '', 'is_role', 'account_locked'), '\":true}}') FROM `definers`;
FLUSH PRIVILEGES;
",
        all.join(", ")
    )
}

/// Returns a text for a statement, whatever signs it has.
pub(super) fn literal(text: &str) -> String {
    let digits = text.bytes().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02X}");
        digits
    });
    format!("_utf8mb4 X'{digits}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_no_statement() {
        let text = brought_in(&BTreeSet::from([("%".to_owned(), "o'neil`;\n".to_owned())]));
        assert!(text.contains("(_utf8mb4 X'25', _utf8mb4 X'6F276E65696C603B0A')"), "{text}");
        assert_eq!(literal(""), "_utf8mb4 X''");
    }

    #[test]
    fn a_table_in_a_folder_of_its_own_is_tried_where_it_is_not_there() {
        let elsewhere = Elsewhere {
            database: "a`b".into(),
            table: "t".into(),
            engine: "InnoDB".into(),
            folders: "DATA DIRECTORY='/srv/fast disk/'".into(),
        };
        let text = tried(&[elsewhere]);
        let wanted = "CREATE DATABASE IF NOT EXISTS `a``b`;\nCREATE TABLE IF NOT EXISTS `a``b`.`t` (`id` int) ENGINE=InnoDB DATA DIRECTORY='/srv/fast disk/';\n";
        assert_eq!(text, wanted);
    }

    #[test]
    fn each_dump_begins_with_what_keeps_its_servers_modes_from_changing_it() {
        let text = before(&Facts::default());
        assert!(text.starts_with("-- Server version\t"), "{text}");
        assert!(text.contains("\nSET SESSION sql_mode = '';\n") && text.contains(EXPLICIT), "{text}");
        assert!(!text.contains(BESIDE), "{text}");
    }

    #[test]
    fn what_a_failed_load_had_beside_the_users_goes_in_lines_that_end_no_text() {
        let text = undone();
        assert_eq!(text.lines().count(), 2, "{text}");
        for line in text.lines() {
            let block = line.strip_prefix("EXECUTE IMMEDIATE '").and_then(|rest| rest.strip_suffix("';"));
            let block = block.unwrap().replace("''", "");
            assert!(block.starts_with("BEGIN NOT ATOMIC") && !block.contains('\''), "{block}");
        }
        assert!(text.ends_with("DROP DATABASE IF EXISTS `releve_users`; END';\n"), "{text}");
    }
}
