//! Where a replay broke off: the client names a line of what it was given, and what was given says where in the log that stands.

use super::printed::{Printed, Said};
use super::replay::At;
use std::io::{self, Read};

/// How much of a statement is shown.
const SHOWN_LETTERS: usize = 200;

/// Where it broke off.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stop {
    /// Where its transaction begins.
    pub(super) begins: At,
    /// Where the statement itself stands.
    pub(super) at: At,
    pub(super) gtid: Option<String>,
    pub(super) statement: String,
}

/// Returns the line that an error of the client names.
pub(in crate::mariadb) fn line(said: &str) -> Option<u64> {
    let (_, rest) = said.split_once("ERROR ")?;
    // What the client itself refuses has no number.
    let (_, rest) = rest.split_once("at line ")?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// Returns what stands at a line of what `mariadb-binlog` prints of files from the `first` on.
pub(super) fn find(printed: impl Read, line: u64, first: usize) -> io::Result<Option<Stop>> {
    let mut printed = Printed::new(printed);
    let (mut stop, mut table, mut file) = (Stop::default(), None, None);
    while let Some(said) = printed.read()? {
        match said {
            Said::Remark(text) => {
                if let Some(offset) = text.strip_prefix("# at ").and_then(|rest| rest.parse().ok()) {
                    // Each file begins with it, wherever in it was begun.
                    if offset == 4 {
                        file = Some(file.map_or(first, |file: usize| file + 1));
                    }
                    stop.at = (file.unwrap_or(first), offset);
                } else if let Some((_, rest)) = text.split_once("\tGTID ") {
                    stop.gtid = rest.split_whitespace().next().map(str::to_owned);
                    stop.begins = stop.at;
                    table = None;
                } else if let Some((_, rest)) = text.split_once("\tTable_map: ") {
                    table = rest.split_once(" mapped").map(|(table, _)| table.to_owned());
                }
            }
            Said::Statement(text) if printed.lines >= line => {
                stop.statement = match table {
                    Some(table) if text.starts_with("BINLOG") => format!("rows of {table}"),
                    _ => shown(&text),
                };
                return Ok(Some(stop));
            }
            Said::Statement(_) => {}
        }
    }
    Ok(None)
}

/// Returns the beginning of a statement up to its first text: that may be a password.
fn shown(text: &str) -> String {
    let plain = text.split(['\'', '"']).next().unwrap_or_default();
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = plain.chars().take(SHOWN_LETTERS).collect();
    let is_all = short.len() == text.trim().len();
    format!("`{short}{}`", if is_all { "" } else { "…" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "DELIMITER /*!*/;\n# at 4\n#261130 server id 7  end_log_pos 256 \tStart: binlog v 4\nROLLBACK/*!*/;\n# at 330\n\
        #261130  7:10:13 server id 7  end_log_pos 372 CRC32 0xa827d753 \tGTID 0-7-1 ddl\n/*M!100001 SET @@session.gtid_seq_no=1*//*!*/;\n# at 372\n\
        #261130  7:10:13 server id 7  end_log_pos 464 \tQuery\tthread_id=5\nuse `shop`/*!*/;\nCREATE USER me IDENTIFIED\n BY 'secret'\n/*!*/;\nDELIMITER ;\nDELIMITER /*!*/;\n\
        # at 4\n#261130 \tStart: binlog v 4\n# at 256\n#261130 \tGTID 0-7-2 trans\nSTART TRANSACTION\n/*!*/;\n# at 300\n\
        #261130 server id 7  end_log_pos 350 \tTable_map: `shop`.`t` mapped to number 31\n# at 350\nBINLOG '\nabc\n'/*!*/;\n";

    fn stop(line: u64) -> Stop {
        find(PRINTED.as_bytes(), line, 2).unwrap().unwrap()
    }

    #[test]
    fn a_line_is_found_in_the_log_with_its_transaction_and_no_password_is_shown() {
        let wanted = Stop {
            begins: (2, 330),
            at: (2, 372),
            gtid: Some("0-7-1".into()),
            statement: "`CREATE USER me IDENTIFIED BY…`".into(),
        };
        assert_eq!(stop(11), wanted);
        let rows = stop(25);
        assert_eq!((rows.begins, rows.at, rows.gtid.as_deref()), ((3, 256), (3, 350), Some("0-7-2")));
        assert_eq!(rows.statement, "rows of `shop`.`t`");
        assert_eq!(find(PRINTED.as_bytes(), 4711, 0).unwrap(), None);
    }

    #[test]
    fn the_line_of_an_error_is_read() {
        assert_eq!(
            line("mariadb exited with status 1: ERROR 1118 (42000) at line 31: Row size at line 5"),
            Some(31)
        );
        assert_eq!(line("mariadb exited with status 1: ERROR at line 7: Unknown command '\\!'."), Some(7));
        assert_eq!(line("ERROR 2002 (HY000): Can't connect"), None);
    }

    #[test]
    fn of_a_long_statement_the_beginning_is_shown() {
        assert_eq!(shown("drop table t"), "`drop table t`");
        assert_eq!(shown(&format!("select {}", "1,".repeat(300))).chars().count(), SHOWN_LETTERS + 3);
    }
}
