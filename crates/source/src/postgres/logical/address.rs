//! How a server is reached: the url that a person writes, without its password for everybody to see.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use std::fmt;
use std::path::Path;

/// What a url looks like, for the errors: they never repeat what was written, since it may hold a password.
const EXAMPLE: &str = "write postgres://user:password@host:5432/database?sslmode=verify-full";
/// What may be said besides, as libpq calls it.
const OPTIONS: [&str; 14] = [
    "host",
    "hostaddr",
    "port",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcrl",
    "sslnegotiation",
    "channel_binding",
    "gssencmode",
    "require_auth",
    "target_session_attrs",
    "connect_timeout",
];
/// The authorities that this machine trusts, where Debian has them.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Where a server is, and who asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    user: Option<String>,
    password: Option<String>,
    /// As they were written: several may be given.
    hosts: String,
    database: String,
    /// Options, as they were written.
    query: Vec<String>,
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest =
            ["postgres://", "postgresql://"].iter().find_map(|scheme| text.trim().strip_prefix(scheme));
        let rest = rest.ok_or_else(|| format!("it is no address of a server: {EXAMPLE}"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (who, place) = match rest.rsplit_once('@') {
            Some((who, place)) => (who, place),
            None => ("", rest),
        };
        let (user, password) = who.split_once(':').unwrap_or((who, ""));
        if who.contains('/') {
            return Err(format!("a / in a password is written %2F: {EXAMPLE}"));
        }
        let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
        let mut query: Vec<String> =
            query.split('&').filter(|option| !option.is_empty()).map(str::to_owned).collect();
        if query.iter().any(|option| option.split_once('=').is_none_or(|(name, _)| !OPTIONS.contains(&name)))
        {
            return Err(format!(
                "its options may be {}; a ? in a password is written %3F",
                OPTIONS.join(", ")
            ));
        }
        let is_said = |name: &str| query.iter().any(|option| option.split('=').next() == Some(name));
        if !is_near(hosts, &query) && !is_said("sslmode") {
            let with_authorities = !is_said("sslrootcert") && Path::new(AUTHORITIES).exists();
            query.push("sslmode=verify-full".into());
            if with_authorities {
                query.push(format!("sslrootcert={}", encoded(AUTHORITIES)));
            }
        }
        if !query.iter().any(|option| option.starts_with("connect_timeout=")) {
            query.push("connect_timeout=10".into());
        }
        let user = decoded(user)?;
        let database = decoded(database)?.or_else(|| user.clone()).unwrap_or_else(|| "postgres".into());
        Ok(Self { user, password: decoded(password)?, hosts: hosts.to_owned(), database, query })
    }

    /// Returns the address of one of its databases, as PostgreSQL's own programs take it: without the password. A database is found by the bytes of its name, which
    /// aren't UTF-8 everywhere.
    pub(super) fn of(&self, database: impl AsRef<[u8]>) -> String {
        let user = self.user.as_ref().map_or_else(String::new, |user| format!("{}@", encoded(user)));
        format!("postgresql://{user}{}/{}?{}", self.hosts, encoded(database), self.query.join("&"))
    }

    /// Returns the database that is asked whether all is well.
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// Returns a password file that holds the password for wherever it is asked.
    pub(super) fn password_file(&self) -> Option<String> {
        let password = self.password.as_ref()?;
        Some(format!("*:*:*:*:{}\n", password.replace('\\', r"\\").replace(':', r"\:")))
    }
}

/// Whether it is on this machine, or reached through a socket.
fn is_near(hosts: &str, query: &[String]) -> bool {
    let asked = query.iter().find_map(|option| option.strip_prefix("host="));
    let hosts = asked.unwrap_or(hosts);
    hosts.split(',').all(|host| {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let is_socket = name.is_empty() || name.starts_with('/') || name.to_uppercase().starts_with("%2F");
        let is_loopback = name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        is_socket || is_loopback || name == "localhost"
    })
}

fn encoded(text: impl AsRef<[u8]>) -> String {
    percent_encode(text.as_ref(), NON_ALPHANUMERIC).to_string()
}

fn decoded(text: &str) -> Result<Option<String>, String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| "it is not UTF-8".to_owned())?;
    if text.contains(['\n', '\0']) {
        return Err("it holds a line break".into());
    }
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.query.iter().find_map(|option| option.strip_prefix("host="));
        let place = percent_decode_str(asked.unwrap_or(&self.hosts)).decode_utf8_lossy();
        write!(f, "PostgreSQL at {}", if place.is_empty() { "its usual socket" } else { &place })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_nowhere_but_in_its_file() {
        let address = Address::parse("postgres://re%20leve:ge%3Ah%5Ceim@db.example:5433/shop").unwrap();
        let url = address.of("cr/m");
        assert!(
            url.starts_with("postgresql://re%20leve@db.example:5433/cr%2Fm?sslmode=verify-full"),
            "{url}"
        );
        assert_eq!(address.password_file().unwrap(), "*:*:*:*:ge\\:h\\\\eim\n");
        assert!(!format!("{address} {address:?} {url}").contains("eim"));
        for wrong in [
            "geheim",
            "postgres://u:geheim/x@h/d",
            "postgres://u@h/d?password=geheim",
            "postgres://u:geheim@h/d?x",
        ] {
            let why = Address::parse(wrong).unwrap_err();
            assert!(!why.contains("geheim"), "{why}");
        }
    }

    #[test]
    fn another_machine_must_prove_who_it_is_unless_told_otherwise() {
        let mode = |url: &str| {
            let url = Address::parse(url).unwrap().of("x");
            url.split(['?', '&']).find_map(|option| option.strip_prefix("sslmode=")).map(str::to_owned)
        };
        assert_eq!(mode("postgres://u@db.example/x").as_deref(), Some("verify-full"));
        assert_eq!(mode("postgres://u@localhost,db.example/x").as_deref(), Some("verify-full"));
        assert_eq!(mode("postgres://u@db.example/x?sslmode=require").as_deref(), Some("require"));
        for near in [
            "postgres://u@/x?host=/run/postgresql",
            "postgres://u@%2Frun/x",
            "postgres://u@[::1]:5/x",
            "postgres:///x",
        ] {
            assert_eq!(mode(near), None, "{near}");
        }
    }
}
