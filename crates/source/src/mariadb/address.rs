//! How a server is reached: the address that a person writes, and the options that the clients read.

use percent_encoding::percent_decode_str;
use std::fmt;
use std::fmt::Write as _;
use std::net::IpAddr;

/// What an address looks like, for the errors: they never repeat what was written, since it may hold a password.
const EXAMPLE: &str =
    "write mysql://user:password@host:3306 or mysql://user@localhost?socket=/run/mysqld/mysqld.sock";

/// Where a server is, and who asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    user: Option<String>,
    password: Option<String>,
    place: Place,
    tls: Tls,
    /// Nobody writes while the dump is made, so that tables without transactions are consistent too.
    pub(super) locks_all: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum Place {
    Socket(String),
    Host(String, u16),
}

#[derive(Clone, PartialEq, Eq)]
enum Tls {
    Off,
    /// Taken where the server offers it, and nothing proves who it is: enough on one's own machine.
    Optional,
    /// Demanded, with a certificate that is valid for the host, by these authorities.
    Proven(Option<String>),
}

impl Address {
    /// Reads an address: `mysql://user:password@host:port?socket=…&tls=on|off&ca=…&lock=all`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = ["mysql://", "mariadb://"].iter().find_map(|scheme| text.trim().strip_prefix(scheme));
        let rest = rest.ok_or_else(|| format!("the address is no address of a server: {EXAMPLE}"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (who, place) = match rest.rsplit_once('@') {
            Some((who, place)) => (Some(who), place),
            None => (None, rest),
        };
        let (user, password) = match who.map(|who| who.split_once(':').unwrap_or((who, ""))) {
            Some((user, password)) => (decoded(user)?, decoded(password)?),
            None => (None, None),
        };
        let (host, database) = place.split_once('/').unwrap_or((place, ""));
        if !database.is_empty() {
            return Err("the address names a database, but the server is captured whole: take it out, and name the database in queries (shop.orders)".into());
        }
        let (mut socket, mut tls, mut ca, mut locks_all) = (None, None, None, false);
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("socket", path)) => socket = decoded(path)?,
                Some(("ca", path)) => ca = decoded(path)?,
                Some(("tls", "on")) => tls = Some(true),
                Some(("tls", "off")) => tls = Some(false),
                Some(("lock", "all")) => locks_all = true,
                _ => return Err("the address has an option other than socket=PATH, ca=PATH, tls=on, tls=off and lock=all; a ? in a password is written %3F".into()),
            }
        }
        let (place, is_near) = match socket {
            Some(path) => (Place::Socket(path), true),
            None => {
                let (host, port) = host_and_port(host)?;
                let is_near =
                    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
                (Place::Host(host, port), is_near)
            }
        };
        let tls = match (tls, &ca) {
            (Some(false), _) => Tls::Off,
            (None, None) if is_near => Tls::Optional,
            _ => Tls::Proven(ca),
        };
        Ok(Self { user, password, place, tls, locks_all })
    }

    /// Returns the same server for another user.
    pub(super) fn of_user(&self, user: &str, password: &str) -> Self {
        Self { user: Some(user.to_owned()), password: Some(password.to_owned()), ..self.clone() }
    }

    /// Returns the address of a server of our own, behind a socket.
    pub(super) fn at_socket(user: &str, password: &str, path: &str) -> Self {
        let (user, password) = (Some(user.to_owned()), Some(password.to_owned()));
        Self { user, password, place: Place::Socket(path.to_owned()), tls: Tls::Off, locks_all: false }
    }

    /// Returns whether it names this machine.
    pub(super) fn is_here(&self) -> bool {
        match &self.place {
            Place::Socket(_) => true,
            Place::Host(host, _) => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback())
            }
        }
    }

    /// Returns the options for the clients, as their option files have them.
    pub(super) fn options(&self) -> String {
        let mut text = String::from("[mariadb-client]\nconnect-timeout=10\n");
        // Else they take that of the language of this machine, and a service has none. Not for all of them: some don't know it, and end.
        text.push_str(
            "default-character-set=utf8mb4\n[mariadb-dump]\ndefault-character-set=utf8mb4\n[mariadb-check]\ndefault-character-set=utf8mb4\n[client]\n",
        );
        let mut set = |name: &str, value: &str| {
            let _ = writeln!(text, "{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
        };
        if let Some(user) = &self.user {
            set("user", user);
        }
        if let Some(password) = &self.password {
            set("password", password);
        }
        match &self.place {
            Place::Socket(path) => {
                set("protocol", "socket");
                set("socket", path);
            }
            Place::Host(host, port) => {
                set("protocol", "tcp");
                set("host", host);
                set("port", &port.to_string());
            }
        }
        if let Tls::Proven(Some(ca)) = &self.tls {
            set("ssl-ca", ca);
        }
        text.push_str(match &self.tls {
            Tls::Off => "skip-ssl\n",
            Tls::Optional => "skip-ssl-verify-server-cert\n",
            Tls::Proven(_) => "ssl\nssl-verify-server-cert\n",
        });
        text
    }
}

/// The place, without who asks.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Socket(path) => write!(f, "mariadb {path}"),
            Place::Host(host, port) if host.contains(':') => write!(f, "mariadb [{host}]:{port}"),
            Place::Host(host, port) => write!(f, "mariadb {host}:{port}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns a text without its percent signs; an empty one is none.
fn decoded(text: &str) -> Result<Option<String>, String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| "the address is not UTF-8".to_owned())?;
    if text.chars().any(char::is_control) {
        return Err("the address holds a control character".into());
    }
    Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').unwrap_or(rest)),
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = if port.is_empty() { Ok(3306) } else { port.parse() };
    match (decoded(host)?, port) {
        (Some(host), Ok(port)) => Ok((host, port)),
        _ => Err(format!("the address has no host, or a port that is no number: {EXAMPLE}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> Vec<String> {
        let address = Address::parse(url).unwrap();
        address.options().lines().skip(8).map(str::to_owned).collect()
    }

    #[test]
    fn an_address_becomes_the_options_of_the_clients() {
        assert_eq!(
            options("mysql://root@localhost?socket=/run/mysqld/mysqld.sock"),
            [
                "user=\"root\"",
                "protocol=\"socket\"",
                "socket=\"/run/mysqld/mysqld.sock\"",
                "skip-ssl-verify-server-cert"
            ]
        );
        assert_eq!(
            options("mariadb://releve:p%40%22%5C%23s@127.0.0.1/"),
            [
                "user=\"releve\"",
                "password=\"p@\\\"\\\\#s\"",
                "protocol=\"tcp\"",
                "host=\"127.0.0.1\"",
                "port=\"3306\"",
                "skip-ssl-verify-server-cert"
            ]
        );
        // An @ in a password is as clear as it is usual.
        assert_eq!(
            options("mysql://a:b@c@[2001:db8::1]:3307"),
            [
                "user=\"a\"",
                "password=\"b@c\"",
                "protocol=\"tcp\"",
                "host=\"2001:db8::1\"",
                "port=\"3307\"",
                "ssl",
                "ssl-verify-server-cert"
            ]
        );
    }

    #[test]
    fn another_machine_must_prove_who_it_is_unless_told_otherwise() {
        let ends = |url: &str, with: &str| assert_eq!(options(url).last().unwrap(), with, "{url}");
        ends("mysql://a@db.example", "ssl-verify-server-cert");
        ends("mysql://a@db.example?tls=off", "skip-ssl");
        ends("mysql://a@localhost", "skip-ssl-verify-server-cert");
        ends("mysql://a@localhost?tls=on", "ssl-verify-server-cert");
        assert!(
            options("mysql://a@db.example?ca=/etc/ca.pem").contains(&"ssl-ca=\"/etc/ca.pem\"".to_owned())
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_without_repeating_it() {
        for url in [
            "postgres://a:secret@b",
            "a:secret@b",
            "mysql://a:secret@",
            "mysql://a:secret@b:port",
            "mysql://a:secret@b/shop",
            "mysql://a:secret?more@b",
            "mysql://a:secret@b?tls=maybe",
            "mysql://a:secret%0Ax@b",
        ] {
            let why = Address::parse(url).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn every_client_that_names_databases_speaks_utf8_whatever_the_language_of_this_machine() {
        let options = Address::parse("mysql://a@localhost").unwrap().options();
        for client in ["mariadb-client", "mariadb-dump", "mariadb-check"] {
            let (_, own) = options.split_once(&format!("[{client}]\n")).unwrap();
            let own = own.split('[').next().unwrap();
            assert!(own.contains("default-character-set=utf8mb4"), "{client}: {own}");
        }
    }

    #[test]
    fn nothing_that_is_shown_holds_the_password() {
        let address = Address::parse("mysql://a:secret@db.example?tls=off").unwrap();
        assert_eq!(format!("{address:?} {address}"), "mariadb db.example:3306 mariadb db.example:3306");
    }
}
