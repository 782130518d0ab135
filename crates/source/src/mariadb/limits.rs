//! Whether what the server gives to every session cuts off what MariaDB's own programs read: most of them can't be told to set anything for themselves.
//!
//! Of all variables of a session only `sql_select_limit` does so in silence: `mariadb-dump` says itself what else counts, or ends with an error (docs/mariadb.md
//! has the table). With a limit of 100 it writes 100 rows of each table and the first 100 databases, and ends well.

use super::client::Client;
use crate::Result;

/// What nobody has that many of.
const BOUNDLESS: u64 = 1 << 40;

/// Says it, with what to type; `None` where all comes.
pub(super) fn cut(client: &Client) -> Result<Option<String>> {
    // As those programs get it: what `init_connect` sets for us is in it.
    let rows = client
        .ask_as_it_comes("SELECT @@SESSION.sql_select_limit, @@GLOBAL.sql_select_limit, CURRENT_USER()")?;
    // With a limit of none not even this answer comes.
    if rows.is_empty() {
        return Ok(told("0", "0", ""));
    }
    let said = |column: usize| rows.first().and_then(|row| row.get(column)).map_or("", String::as_str);
    Ok(told(said(0), said(1), said(2)))
}

fn told(ours: &str, of_all: &str, user: &str) -> Option<String> {
    let is_limit = |text: &str| text.parse::<u64>().is_ok_and(|limit| limit < BOUNDLESS);
    if !is_limit(ours) {
        return None;
    }
    let way_out = match is_limit(of_all) {
        true => "type SET GLOBAL sql_select_limit = 18446744073709551615, and take it out of the server's settings".to_owned(),
        false => {
            let (name, host) = user.rsplit_once('@').unwrap_or((user, "%"));
            let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
            format!(
                "its init_connect says so: type GRANT CONNECTION ADMIN ON *.* TO {}@{} (SUPER before 10.5), whom it leaves alone then",
                quoted(name),
                quoted(host)
            )
        }
    };
    Some(format!(
        "the server gives each session no more than {ours} rows, tables and databases (sql_select_limit), and MariaDB's programs can't be told otherwise: {way_out}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_with_who_has_set_it() {
        let all = u64::MAX.to_string();
        assert_eq!(told(&all, &all, "releve@localhost"), None);
        assert_eq!(told("", "", ""), None);
        let said = told("100", "100", "releve@localhost").unwrap();
        assert!(
            said.contains("no more than 100 rows") && said.contains("SET GLOBAL sql_select_limit"),
            "{said}"
        );
        let said = told("100", &all, "o'd@10.%").unwrap();
        assert!(said.contains("GRANT CONNECTION ADMIN ON *.* TO 'o''d'@'10.%'"), "{said}");
    }
}
