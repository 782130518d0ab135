//! What it means that a server which has recovered lets nobody in, and what to do: each of its reasons has a way out of its own. Most are no matter of its settings: it
//! came back as it was at another instant than the url is of.

use super::logical::quoted;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::error::SqlState;

/// Why a server lets us not in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NoDatabase,
    /// There is none, or it may not log in.
    NoRole,
    /// The password, or what else proves who we are.
    Proof,
    /// No line of `pg_hba.conf` lets us in.
    Rules,
    /// Nobody has granted the role to connect to that database.
    NoRight,
    /// Of the server, the role or the database.
    Full,
    /// The database takes nobody, or its removal had begun.
    ClosedDatabase,
    /// Mostly a setting that came along.
    Other,
}

impl Refusal {
    /// Sorts what a server has said: by its code, and by where in its own program that was said, since what it says for people is in their language.
    pub(super) fn of(code: &SqlState, routine: Option<&str>) -> Self {
        match (code.code(), routine) {
            ("3D000", _) => Self::NoDatabase,
            ("28000", Some("InitializeSessionUserId")) => Self::NoRole,
            ("28000", Some("auth_failed")) | ("28P01", _) => Self::Proof,
            ("28000", _) => Self::Rules,
            ("42501", _) => Self::NoRight,
            ("53300", _) => Self::Full,
            ("55000", _) => Self::ClosedDatabase,
            _ => Self::Other,
        }
    }

    /// Says what to do, where that is no matter of the server's settings. The url names this user and this database; the log dropped one last at `dropped`.
    pub(super) fn way_out(
        self,
        user: Option<&str>,
        database: &str,
        dropped: Option<Timestamp>,
    ) -> Option<String> {
        let role = user.map_or_else(|| "the role of the url".to_owned(), |user| format!("the role `{user}`"));
        let named = user.map_or_else(|| "ROLE".to_owned(), quoted);
        let (base, resume) = (quoted(database), "and go on with --resume");
        Some(match self {
            Self::NoDatabase => {
                let when =
                    dropped.map_or_else(String::new, |time| format!(" (its log drops one at {time:.0})"));
                let before = dropped.and_then(|time| time.checked_sub(SignedDuration::from_secs(1)).ok());
                let before = before.map_or_else(|| "TIME".to_owned(), |before| format!("{before:.0}"));
                format!(
                    "the database `{database}`, which the url names, is not in this state of the cluster{when}; all others are. To have it back, recover once more, to an \
                     instant at which it was there: the same command with --before {before}. If it is gone for good, name another one in the url, {resume}"
                )
            }
            Self::NoRole => format!(
                "{role} is not in this state of the cluster, or may not log in yet: it was made later than what came back. Make it as a superuser (docs/postgres.md, \
                 \"What it needs\"), or name another one in the url, {resume}"
            ),
            Self::Proof => format!(
                "{role} had another password at the instant that came back, or is let in by something else (pg_hba.conf): type as a superuser ALTER ROLE {named} PASSWORD …; \
                 or correct the url, {resume}"
            ),
            Self::Rules => format!(
                "pg_hba.conf, which came back too, has no line that lets {role} into the database `{database}` from here: add one, reload it (SELECT pg_reload_conf();), {resume}"
            ),
            Self::NoRight => format!(
                "{role} may not connect to the database `{database}` in the state that came back: type as a superuser GRANT CONNECT ON DATABASE {base} TO {named}; {resume}"
            ),
            Self::Full => format!(
                "others are at work on it already, and have all connections (max_connections, or the CONNECTION LIMIT of {role} or of the database `{database}`): end some of \
                 them, or raise the limit, {resume}"
            ),
            Self::ClosedDatabase => format!(
                "the database `{database}` takes nobody: ALTER DATABASE {base} ALLOW_CONNECTIONS true; as a superuser, {resume}. If its removal had begun at the instant that \
                 came back, its files are gone: recover once more, to one some seconds earlier, by the same command with --before TIME"
            ),
            Self::Other => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_way_out_whatever_language_the_server_speaks() {
        let table = [
            ("3D000", "InitPostgres", "`shop`, which the url names, is not in this state"),
            ("28000", "InitializeSessionUserId", "Make it as a superuser"),
            ("28P01", "auth_failed", "ALTER ROLE \"re\"\"l\" PASSWORD"),
            ("28000", "auth_failed", "ALTER ROLE"),
            ("28000", "ClientAuthentication", "pg_hba.conf, which came back too"),
            ("42501", "CheckMyDatabase", "GRANT CONNECT ON DATABASE \"shop\" TO \"re\"\"l\";"),
            ("53300", "InitializeSessionUserId", "end some of them"),
            ("55000", "CheckMyDatabase", "ALLOW_CONNECTIONS true"),
        ];
        for (code, routine, says) in table {
            let refusal = Refusal::of(&SqlState::from_code(code), Some(routine));
            let said = refusal.way_out(Some("re\"l"), "shop", None).unwrap();
            assert!(said.contains(says) && said.contains("--resume"), "{code} {routine}: {said}");
        }
        // A library that isn't here: that is a setting.
        let refusal = Refusal::of(&SqlState::from_code("58P01"), Some("internal_load_library"));
        assert_eq!((refusal, refusal.way_out(None, "shop", None)), (Refusal::Other, None));
    }

    #[test]
    fn a_database_that_the_log_drops_is_to_be_had_from_right_before() {
        let dropped = "2026-11-30T11:19:40.3Z".parse().unwrap();
        let said = Refusal::NoDatabase.way_out(Some("u"), "shop", Some(dropped)).unwrap();
        assert!(
            said.contains("drops one at 2026-11-30T11:19:40Z")
                && said.contains("--before 2026-11-30T11:19:39Z."),
            "{said}"
        );
    }
}
