//! A log that another server has begun in the place of one that is gone.

use super::piece::{Piece, Place, gap};
use super::printed::{Printed, Said};
use std::io::{self, Read};
use std::path::PathBuf;

/// What begins the statements that make users and their rights, and those that `mariadb-binlog` adds. In small letters.
const HARMLESS: [&str; 19] = [
    "alter user ",
    "begin",
    "commit",
    "create or replace role ",
    "create or replace user ",
    "create role ",
    "create user ",
    "delimiter",
    "drop role ",
    "drop user ",
    "flush ",
    "grant ",
    "revoke ",
    "rename user ",
    "rollback",
    "set ",
    "start transaction",
    "use ",
    // Which signs the client writes.
    "/*!\\c ",
];

/// Returns the pieces behind a gap, from the `rest` that begins there, if another server began them anew, and they are all of it and short.
pub(super) fn behind<'a>(
    before: Place,
    rest: impl Iterator<Item = (&'a Place, &'a (Piece, PathBuf, u64))>,
) -> Vec<PathBuf> {
    let (mut last, mut paths): (Option<(Place, Option<u64>)>, Vec<PathBuf>) = (None, Vec::new());
    for (place, (piece, path, bytes)) in rest {
        let goes_on = match last {
            // A server counts from the first.
            None => place.number <= before.number,
            Some((last, whole)) => gap(&last.position(), whole, &place.position()).is_none(),
        };
        if !goes_on || place.piece != 0 {
            return Vec::new();
        }
        paths.push(path.clone());
        last = Some((*place, piece.is_whole.then_some(*bytes)));
    }
    paths
}

/// Returns whether what `mariadb-binlog` prints makes users and nothing else. It is read to its end.
pub(super) fn holds_only_users(printed: impl Read) -> io::Result<bool> {
    let mut printed = Printed::new(printed);
    let mut is_so = true;
    while let Some(said) = printed.read()? {
        is_so &= match said {
            // What changes rows has one before it; what else is in that form only says of which version the log is.
            Said::Remark(text) => !text.contains("\tTable_map: "),
            Said::Statement(text) => text.starts_with("BINLOG ") || is_harmless(&text),
        };
    }
    Ok(is_so)
}

fn is_harmless(text: &str) -> bool {
    let text = text.trim_start().to_lowercase();
    let within = text.strip_prefix("/*!").or_else(|| text.strip_prefix("/*m!"));
    let within =
        within.map(|rest| rest.trim_start_matches(|letter: char| letter.is_ascii_digit()).trim_start());
    let is = |text: &str| HARMLESS.iter().any(|begin| text.starts_with(begin));
    // A statement may follow on it.
    if text.starts_with("set statement ") {
        return false;
    }
    is(&text) || within.is_some_and(|text| text.starts_with("set "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "/*!50530 SET @@SESSION.PSEUDO_SLAVE_MODE=1*/;\n/*!40019 SET @@session.max_delayed_threads=0*/;\nDELIMITER /*!*/;\n# at 4\n\
        ROLLBACK/*!*/;\nBINLOG '\na14N\n'/*!*/;\n# at 330\n/*M!100001 SET @@session.gtid_seq_no=1*//*!*/;\nSET TIMESTAMP=1796038251/*!*/;\n\
        /*!\\C utf8mb3 *//*!*/;\n";

    #[test]
    fn a_server_that_was_only_given_its_users_has_nothing_to_lose() {
        for (more, wanted) in [
            ("", true),
            (
                "create user releve@localhost identified by 'x'\n/*!*/;\nGRANT ALL ON *.* TO releve@localhost\n/*!*/;\n",
                true,
            ),
            ("create table t (a int)\n/*!*/;\n", false),
            ("SET STATEMENT max_statement_time=1 FOR drop table t\n/*!*/;\n", false),
            ("/*!40000 DROP TABLE t */\n/*!*/;\n", false),
            (
                "#261130 server id 7  end_log_pos 350 \tTable_map: `shop`.`t` mapped to number 31\nBINLOG '\nabc\n'/*!*/;\n",
                false,
            ),
        ] {
            let text =
                format!("{HEAD}{more}DELIMITER ;\n# End of log file\nROLLBACK /* added by mysqlbinlog */;\n");
            assert_eq!(holds_only_users(text.as_bytes()).unwrap(), wanted, "{more}");
        }
    }

    #[test]
    fn a_log_that_counts_anew_is_of_another_server_and_one_that_only_lacks_something_is_not() {
        let place = |order, number, piece| Place { order, number, piece };
        let of = |places: &[(Place, bool)]| {
            let pieces: Vec<_> = places
                .iter()
                .map(|&(place, is_whole)| {
                    let piece = Piece { file: "b".into(), created: place.order, place, is_whole };
                    (place, (piece, PathBuf::from("b"), 9))
                })
                .collect();
            behind(place(100, 3, 0), pieces.iter().map(|(place, piece)| (place, piece))).len()
        };
        assert_eq!(of(&[(place(200, 1, 0), false)]), 1);
        assert_eq!(of(&[(place(200, 1, 0), true), (place(200, 2, 0), false)]), 2);
        assert_eq!(of(&[(place(200, 5, 0), false)]), 0);
        assert_eq!(of(&[(place(200, 1, 0), true), (place(200, 3, 0), false)]), 0);
        assert_eq!(of(&[(place(200, 1, 0), true), (place(200, 1, 1), false)]), 0);
    }
}
