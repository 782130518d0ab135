//! A look at all tables once they are loaded, by somebody who can see them: the users are those of the point by then, and the url's own may have few
//! rights, another password, or be gone.

use super::checked::faults;
use super::client::Client;
use super::meanwhile::BEFORE;
use super::session::Session;
use super::{BESIDE, limits};
use crate::{Error, Kind, Result};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

/// Who looks, and goes again.
const USER: &str = "releve_check";
/// From where he may come: the first is for servers with users without a name on their own machine.
const HOSTS: [&str; 2] = ["localhost", "%"];
const LOCKED_OUT: &str = "the url's user can't log in any more: the users are those of the point, in which he isn't, or logs in otherwise: \
    make him on the server, or write one of the point's into the url (docs/mariadb.md)";
/// How long it may take.
const WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// What remembers how the one who loads logs in.
const REMEMBER: &str = "\
SELECT Priv INTO @releve_login FROM mysql.global_priv WHERE CONCAT(User, '@', Host) = CURRENT_USER();
SELECT Priv INTO @releve_root FROM mysql.global_priv WHERE User = 'root' AND Host = 'localhost';
";
/// What lets him log in so once more, with the rights that the point gives him; nothing is written anew where he does anyway. In one line.
const KEEP: &str = "\
UPDATE mysql.global_priv SET Priv = JSON_MERGE_PATCH(Priv, JSON_OBJECT('plugin', JSON_VALUE(@releve_login, '$.plugin'), \
'authentication_string', JSON_VALUE(@releve_login, '$.authentication_string'), 'auth_or', JSON_EXTRACT(@releve_login, '$.auth_or'), \
'account_locked', JSON_EXTRACT(@releve_login, '$.account_locked'))) \
WHERE CONCAT(User, '@', Host) = CURRENT_USER() AND @releve_login IS NOT NULL \
AND NOT (JSON_VALUE(Priv, '$.plugin') <=> JSON_VALUE(@releve_login, '$.plugin') \
AND JSON_VALUE(Priv, '$.authentication_string') <=> JSON_VALUE(@releve_login, '$.authentication_string') \
AND JSON_EXTRACT(Priv, '$.auth_or') <=> JSON_EXTRACT(@releve_login, '$.auth_or') \
AND JSON_EXTRACT(Priv, '$.account_locked') <=> JSON_EXTRACT(@releve_login, '$.account_locked'));";
/// What remembers whether the point lets him in otherwise. In one line.
const COMPARE: &str = "\
SELECT COUNT(*) INTO @releve_other FROM mysql.global_priv WHERE CONCAT(User, '@', Host) = CURRENT_USER() AND @releve_login IS NOT NULL \
AND NOT (JSON_VALUE(Priv, '$.authentication_string') <=> JSON_VALUE(@releve_login, '$.authentication_string'));";

/// What makes him what he was, where nobody of his name is among those who are there now, and says whether it did.
const STAY: &str = "\
INSERT IGNORE INTO mysql.global_priv (Host, User, Priv) SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', -1), \
LEFT(CURRENT_USER(), CHAR_LENGTH(CURRENT_USER()) - 1 - CHAR_LENGTH(SUBSTRING_INDEX(CURRENT_USER(), '@', -1))), @releve_login \
FROM DUAL WHERE @releve_login IS NOT NULL;\nSELECT ROW_COUNT();\nFLUSH PRIVILEGES;\n";
/// The same for root, without whom nobody may be there who can mend anything.
const ROOT_STAYS: &str = "\
INSERT IGNORE INTO mysql.global_priv (Host, User, Priv) SELECT 'localhost', 'root', @releve_root \
FROM DUAL WHERE @releve_root IS NOT NULL AND NOT EXISTS (SELECT 1 FROM mysql.global_priv WHERE User = 'root');\n\
SELECT ROW_COUNT();\nFLUSH PRIVILEGES;\n";

/// Remembers in the session that loads how its user logs in, and root.
pub(super) fn remember(session: &mut Session<'_>) -> Result<()> {
    session.say(REMEMBER)
}

/// Returns what is said with the users of the point, in one line: one that is killed from then on must get in once more.
pub(super) fn stays_in() -> String {
    format!("{COMPARE} {KEEP}")
}

/// Somebody who sees to it that the url's user gets in while a log is replayed, which may say otherwise.
pub(super) struct Guard<'a>(RefCell<Session<'a>>);

impl<'a> Guard<'a> {
    /// Logs him in while he still may.
    pub(super) fn begin(client: &'a Client) -> Result<Self> {
        let mut session = Session::open(client)?;
        session.say("SET SESSION sql_log_bin = 0, sql_mode = '';\n")?;
        remember(&mut session)?;
        session.wait()?;
        Ok(Self(RefCell::new(session)))
    }

    /// Lets the url's user in; nobody waits for that, and at the end it is made sure of.
    pub(super) fn let_in(&self) {
        let _ = self.0.borrow_mut().say(&format!("{KEEP}\nFLUSH PRIVILEGES;\n"));
    }
}

/// Lets the server look at all that was loaded. Returns what is wrong with it. The session still has the rights that its user had before.
pub(super) fn look(client: &Client, session: &mut Session<'_>) -> Result<Vec<String>> {
    let password = password().map_err(|error| Error::io("make a password", error))?;
    // What can't be done here must not end the session, which has more to do.
    let each = |what: &dyn Fn(&str) -> String| {
        let said = HOSTS.iter().map(|host| {
            let block = format!(
                "BEGIN NOT ATOMIC DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN END; {} END",
                what(host)
            );
            format!("EXECUTE IMMEDIATE '{}';\n", block.replace('\'', "''"))
        });
        said.collect::<String>()
    };
    let make = each(&|host| {
        let who = format!("'{USER}'@'{host}'");
        format!("CREATE OR REPLACE USER {who} IDENTIFIED BY '{password}'; GRANT ALL ON *.* TO {who};")
    });
    // What was replayed may have left any mode.
    session.say(&format!("SET SESSION sql_log_bin = 0, sql_mode = '';\n{make}"))?;
    session.wait()?;
    let eyes = Client::new(client.address.of_user(USER, &password), client.folder())?;
    // A server that refuses to make him is asked by the url's own user, who may see less.
    let eyes = if eyes.ask("SELECT 1").is_ok() { eyes } else { client.clone() };
    let found = tables(&eyes);
    session.say(&each(&|host| format!("DROP USER IF EXISTS '{USER}'@'{host}';")))?;
    session.wait()?;
    // All is loaded: what could not be looked at is no reason to begin again.
    Ok(found
        .unwrap_or_else(|error| vec![format!("whether the tables are sound could not be checked: {error}")]))
}

/// Looks at all tables. Returns what is wrong.
fn tables(client: &Client) -> Result<Vec<String>> {
    let names = client.ask(&format!(
        "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA
            WHERE SCHEMA_NAME NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys', '{BESIDE}', '{BEFORE}')
            AND SCHEMA_NAME NOT LIKE '#mysql50#%' AND SCHEMA_NAME NOT LIKE 'releve\\_was%'"
    ))?;
    let names: Vec<String> = names.into_iter().flatten().collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    // Quick, since the tables were written just now and all of them were read for that.
    let mut arguments = vec!["--check", "--quick", "--databases", "--"];
    arguments.extend(names.iter().map(String::as_str));
    let said = client.run("mariadb-check", &arguments, WITHIN)?;
    let mut findings = Vec::new();
    let found = faults(&String::from_utf8_lossy(&said));
    if !found.is_empty() {
        findings.push(format!("mariadb-check found faults in what was loaded: {}", found.join("; ")));
    }
    if let Some(why) = limits::cut(client)? {
        findings.push(format!("not all tables were checked, since {why}"));
    }
    Ok(findings)
}

/// Makes sure that the url's user still gets in. Where the point has another password for him he keeps the one that he had, and where it
/// doesn't have him he stays; so does root. Returns what is wrong all the same.
pub(super) fn lets_in(
    client: &Client,
    session: &mut Session<'_>,
    told: &dyn Fn(&str),
) -> Result<Option<String>> {
    let refused = |error: &Error| match &error.kind {
        Kind::Server { said, .. } => {
            ["ERROR 1045 ", "ERROR 1698 ", "ERROR 4151 "].iter().any(|code| said.contains(code))
        }
        _ => false,
    };
    session.say("SET SESSION sql_log_bin = 0, sql_mode = '';\n")?;
    session.wait()?;
    if has_made(&session.answer(ROOT_STAYS)?) {
        told("the point has no user root: root@localhost stays as he was on this server");
    }
    // Nobody in particular may be let in in his place, who can do nothing.
    let is_nobody = |rows: &[Vec<String>]| rows.concat().first().is_some_and(|user| user.starts_with('@'));
    let asked = client.ask("SELECT CURRENT_USER()");
    let keeps = "the point has another password for the url's user than the url: he keeps the url's, with the rights that the point gives him";
    if !asked.as_ref().is_err_and(refused) && !asked.as_deref().is_ok_and(is_nobody) {
        if has_made(&session.answer("SELECT @releve_other;\n")?) {
            told(keeps);
        }
        return Ok(None);
    }
    if has_made(&session.answer(STAY)?) {
        told(
            "the point has no such user as the url's: he stays as he was on this server, with all his rights",
        );
        return match client.ask("SELECT 1") {
            Ok(_) => Ok(None),
            Err(_) => Ok(Some(LOCKED_OUT.to_owned())),
        };
    }
    session.say(&format!("{KEEP}\nFLUSH PRIVILEGES;\n"))?;
    session.wait()?;
    match client.ask("SELECT 1") {
        Ok(_) => {
            told(keeps);
            Ok(None)
        }
        Err(_) => Ok(Some(LOCKED_OUT.to_owned())),
    }
}

/// Returns whether that made a user, or counts one.
fn has_made(rows: &[Vec<String>]) -> bool {
    rows.concat().first().is_some_and(|count| count == "1")
}

/// Returns a password that nobody knows, with a sign of each kind, for servers that are strict about passwords.
pub(super) fn password() -> io::Result<String> {
    let mut bytes = [0; 24];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("aA1-{}", bytes.map(|byte| format!("{byte:02x}")).concat()))
}
