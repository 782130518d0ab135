//! What stands in a session of ours, whatever the server, a database or a role was given: `ALTER DATABASE … SET` and `ALTER ROLE … SET` reach every session that
//! doesn't say otherwise when it begins, and what they set would end a dump, or have it read or load something else.
//!
//! Left as they are: what changes no more than how fast it goes, and `lc_monetary`, which a dump carries with its database.

/// What every version knows and everybody may set.
const ALWAYS: [(&str, &str); 20] = [
    // Functions of whoever owns a database would come before the server's.
    ("search_path", "pg_catalog,pg_temp"),
    // Another's rights are less than those of the url's role.
    ("role", "none"),
    ("row_security", "on"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("exit_on_error", "off"),
    ("synchronous_commit", "local"),
    ("default_transaction_isolation", r"read\ committed"),
    ("default_transaction_deferrable", "off"),
    // How values are written and read.
    ("datestyle", "ISO,MDY"),
    ("intervalstyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("xmloption", "content"),
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
    ("standard_conforming_strings", "on"),
    ("quote_all_identifiers", "off"),
    ("local_preload_libraries", ""),
];
/// What came later, by the first version that has each: an older one refuses a session that names it.
const LATER: [(u32, &str, &str); 2] = [(14, "idle_session_timeout", "0"), (17, "transaction_timeout", "0")];
/// What only a superuser may set, and another's session is refused that names it.
const OF_SUPERUSERS: [(&str, &str); 6] = [
    // What it says is read.
    ("lc_messages", "C"),
    ("session_preload_libraries", ""),
    // Constraints and triggers hold for what is loaded.
    ("session_replication_role", "origin"),
    // What is damaged is said, and not dumped as if it were empty.
    ("zero_damaged_pages", "off"),
    ("ignore_checksum_failure", "off"),
    ("lo_compat_privileges", "off"),
];

/// Returns the options of a session with a server of which nothing is known.
pub(super) fn first() -> String {
    options(ALWAYS)
}

/// Returns the options of a session with a server of this version.
pub(super) fn of(version: u32, is_superuser: bool) -> String {
    let later = LATER.into_iter().filter(|(first, ..)| version >= *first);
    let all = ALWAYS.into_iter().chain(later.map(|(_, name, value)| (name, value)));
    options(all.chain(OF_SUPERUSERS.into_iter().filter(|_| is_superuser)))
}

fn options<'a>(all: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let all: Vec<String> = all.into_iter().map(|(name, value)| format!("-c {name}={value}")).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_names_nothing_that_its_server_does_not_know_or_its_role_may_not_set() {
        assert!(first().starts_with("-c search_path=pg_catalog,pg_temp -c role=none "));
        assert!(
            !of(13, false).contains("idle_session_timeout")
                && of(14, false).contains("idle_session_timeout=0")
        );
        assert!(of(17, false).contains("transaction_timeout=0"));
        assert!(!of(17, false).contains("zero_damaged_pages"));
        assert!(of(10, true).ends_with("-c ignore_checksum_failure=off -c lo_compat_privileges=off"));
    }
}
