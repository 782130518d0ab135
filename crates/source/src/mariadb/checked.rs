//! What `mariadb-check` has found: which tables are damaged, what the server says of each, and what can be done.

/// How many tables are named: with more, somebody looks for himself.
const FINDINGS_MAX: usize = 20;
/// How it begins what it says of a table that it has named.
const KINDS: [&str; 5] = ["error", "warning", "note", "info", "status"];

/// Returns the damaged tables in what it said, without `--silent`: with that it leaves out the name of the first. Each with its fault and the way out.
pub(super) fn faults(said: &str) -> Vec<String> {
    let mut tables: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in said.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        match fault(line) {
            Some((kind, why)) if kind.eq_ignore_ascii_case("error") => {
                if let Some((_, faults)) = tables.last_mut() {
                    faults.push(why);
                }
            }
            Some(_) => {}
            None => tables.push((line, Vec::new())),
        }
    }
    tables.retain(|(_, faults)| !faults.is_empty());
    let more = tables.len().saturating_sub(FINDINGS_MAX);
    let mut found: Vec<String> =
        tables.iter().take(FINDINGS_MAX).map(|(table, faults)| told(table, faults)).collect();
    if more > 0 {
        found.push(format!("{more} more tables are damaged: mariadb-check --all-databases names them"));
    }
    found
}

/// Says what is wrong with a table, and what to type.
fn told(table: &str, faults: &[&str]) -> String {
    format!(
        "table {table}: {}. An earlier point may have it whole; {} (with USE_FRM behind it where its index is gone) keeps what can still be read of one of MyISAM or Aria, and may lose rows",
        faults.join("; "),
        repair(table)
    )
}

/// Returns the statement that repairs a table, as it is listed.
fn repair(table: &str) -> String {
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    match table.split_once('.') {
        Some((database, name)) => format!("REPAIR TABLE {}.{}", quoted(database), quoted(name)),
        None => format!("REPAIR TABLE {}", quoted(table)),
    }
}

/// Returns of which kind a line is that says something of a table, and what; `None` where it names the next one.
fn fault(line: &str) -> Option<(&str, &str)> {
    let (kind, why) = line.split_once(": ")?;
    let kind = kind.trim_end();
    KINDS.iter().any(|known| kind.eq_ignore_ascii_case(known)).then(|| (kind, why.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As MariaDB 10.11 prints it.
    const SAID: &str = "\
mysql.user                                         OK
shop.aria2
Warning  : Got error '126 \"Index is corrupted\"' for '(null)'
Error    : Got error 175 \"File too short; Expected more data in file\" from storage engine Aria
error    : Corrupt
shop.isam2
warning  : Table is marked as crashed
error    : Size of datafile is:       300         Should be: 40000
error    : Corrupt
shop.open
warning  : 1 client is using or hasn't closed the table properly
status   : OK
shop.t                                             OK
";

    #[test]
    fn each_damaged_table_is_named_with_its_fault_and_what_to_type_and_a_sound_one_is_not() {
        let found = faults(SAID);
        let [aria, isam] = &*found else { panic!("{found:?}") };
        assert!(aria.starts_with("table shop.aria2: Got error 175"), "{aria}");
        assert!(aria.contains("REPAIR TABLE `shop`.`aria2`"), "{aria}");
        assert!(isam.starts_with("table shop.isam2: Size of datafile is"), "{isam}");
        assert!(isam.contains("; Corrupt.") && isam.contains("REPAIR TABLE `shop`.`isam2`"), "{isam}");
        assert_eq!(faults("shop.t                                             OK\n"), Vec::<String>::new());
    }

    #[test]
    fn a_thousand_damaged_tables_are_not_a_thousand_lines() {
        let said: String = (0..1000).map(|n| format!("shop.t{n}\nerror    : Corrupt\n")).collect();
        let found = faults(&said);
        assert_eq!(found.len(), FINDINGS_MAX + 1);
        assert!(found.last().unwrap().starts_with("980 more tables are damaged"), "{found:?}");
    }
}
