//! Puts back what all databases share: roles, their rights, settings and memberships.

use super::NEUTRAL;
use super::client::{Client, bytes_of, literal, unhex};
use super::feed::{Fed, Loader};
use super::statements::{bare, blank, is_restriction, statements};
use crate::error::at;
use crate::{Error, Kind, Result};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

/// How much all roles of a server take at most.
const GLOBALS_BYTES_MAX: u64 = 256 << 20;
/// A database of ours in which names are the bytes that they were at the server of the dump.
const ROOM: &str = "releve-room";
/// By what it is told from somebody else's of that name.
const OURS: &str = "made by releve for one load, and dropped after it";
/// What a dump says of the encoding that it is in.
const ENCODING: &[u8] = b"SET client_encoding = '";

/// What `pg_dumpall` printed.
pub(super) struct Globals {
    text: Vec<u8>,
    /// Names are in this encoding, also those of the databases.
    encoding: Option<String>,
}

impl Globals {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(GLOBALS_BYTES_MAX).read_to_end(&mut text));
        read.map_err(|error| Error::io(at("read", path), error))?;
        let encoding = statements(&text).into_iter().find_map(encoding_of);
        Ok(Self { text, encoding })
    }

    /// Returns the statement that says which encoding names are in, if the dump says it.
    pub(super) fn encoding(&self) -> Option<&str> {
        self.encoding.as_deref()
    }

    /// Puts the roles back. Those that are there stay, and get the rights and the passwords of the dump; only the one that loads keeps its own.
    /// Returns how much was loaded, and what was refused.
    pub(super) fn load(&self, client: &Client) -> Result<(u64, Vec<String>)> {
        let question = format!(
            "SELECT {}, rolname = current_user, rolsuper FROM pg_roles",
            bytes_of("quote_ident(rolname)")
        );
        let mut known = Vec::new();
        let (mut own, mut is_superuser) = (None, false);
        for row in client.ask(client.neutral(), &question)? {
            let [name, is_me, has_all] = row.as_slice() else { continue };
            let Some(name) = unhex(name) else { continue };
            if is_me == "t" {
                own = Some([b"ALTER ROLE ", name.as_slice(), b" WITH "].concat());
                is_superuser = has_all == "t";
            }
            known.push([b"CREATE ROLE ", name.as_slice(), b";"].concat());
        }
        let text = fitting(&self.text, &known, own.as_deref());
        let fed = Loader::new(client, client.neutral(), false)?.feed(Cursor::new(text), 0);
        let Fed { bytes, errors, command, .. } = fed.map_err(|why| {
            let Error { place, kind } = client.wrong(&why);
            Error::new(format!("load the roles into {place}; no database was changed"), kind)
        })?;
        // Whoever isn't a superuser may not put all of it back, and a server of somebody else has roles of its own.
        let errors = if is_superuser { errors } else { Vec::new() };
        Ok((bytes, command.into_iter().chain(errors).collect()))
    }
}

/// Returns the encoding that a statement says the text is in.
fn encoding_of(statement: &[u8]) -> Option<String> {
    let name = bare(statement).strip_prefix(ENCODING)?.strip_suffix(b"';")?;
    let is_plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    is_plain.then(|| String::from_utf8_lossy(name).into_owned())
}

/// Returns whether this is the statement that says which encoding the text is in.
pub(super) fn says_encoding(statement: &[u8]) -> bool {
    encoding_of(statement).is_some()
}

/// Returns the statement that says so.
pub(super) fn in_encoding(name: &str) -> Vec<u8> {
    [b"\n", ENCODING, name.as_bytes(), b"';"].concat()
}

/// Returns the statements that a server takes which has these roles, each in the line where it was.
fn fitting(text: &[u8], known: &[Vec<u8>], own: Option<&[u8]>) -> Vec<u8> {
    let fits = |statement: &[u8]| {
        let bare = bare(statement);
        let is_known = known.iter().any(|known| known == bare);
        !is_known && own.is_none_or(|own| !bare.starts_with(own)) && !is_restriction(statement)
    };
    let said = |statement: &[u8]| if fits(statement) { statement.to_vec() } else { blank(statement) };
    statements(text).into_iter().flat_map(said).collect()
}

/// Returns the client with the database in which names are what they were at the server of the dump: `template1`, unless that is in another encoding and
/// a name isn't plain letters. Then one is made, which [`leave`] takes away.
pub(super) fn enter(client: &Client, globals: Option<&Globals>, names: &[&str]) -> Result<Client> {
    let Some(encoding) = globals.and_then(Globals::encoding) else { return Ok(client.clone()) };
    let is_plain =
        globals.is_some_and(|globals| globals.text.is_ascii()) && names.iter().all(|name| name.is_ascii());
    let said = client.ask(NEUTRAL, "SELECT getdatabaseencoding()")?;
    let is_same = said.first().and_then(|row| row.first()).is_some_and(|own| own == encoding);
    if is_plain || is_same {
        return Ok(client.clone());
    }
    leave(client)?;
    let question = format!("SELECT 1 FROM pg_database WHERE datname = {}", literal(ROOM));
    if !client.ask(NEUTRAL, &question)?.is_empty() {
        let why = format!(
            "a database `{ROOM}` is there that Relève has not made, and it needs one of that name: rename yours; nothing was changed"
        );
        return Err(Error::new(client.address.to_string(), Kind::Invalid(why)));
    }
    let make = format!(
        "CREATE DATABASE \"{ROOM}\" TEMPLATE template0 ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'",
        literal(encoding)
    );
    client.tell(NEUTRAL, &make).map_err(|Error { place, kind }| {
        let place = format!("make a database in which names are in {encoding}, at {place}");
        match kind {
            Kind::Server { said, is_down } => {
                let said = format!(
                    "{said}; load into a server whose template1 is in {encoding}; nothing was changed"
                );
                Error::new(place, Kind::Server { said, is_down })
            }
            kind => Error::new(place, kind),
        }
    })?;
    client.tell(NEUTRAL, &format!("COMMENT ON DATABASE \"{ROOM}\" IS {}", literal(OURS)))?;
    Ok(client.in_room(ROOM))
}

/// Takes the database away that [`enter`] has made, and no other of its name: nothing was ever made in it.
pub(super) fn leave(client: &Client) -> Result<()> {
    let question = format!(
        "SELECT 1 FROM pg_database WHERE datname = {} AND shobj_description(oid, 'pg_database') = {}",
        literal(ROOM),
        literal(OURS)
    );
    match client.ask(NEUTRAL, &question)?.is_empty() {
        true => Ok(()),
        false => client.tell(NEUTRAL, &format!("DROP DATABASE \"{ROOM}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statements_about_roles_that_are_there_are_left_out_and_no_line_of_a_comment() {
        let text = b"SET client_encoding = 'LATIN1';\nCREATE ROLE postgres;\nALTER ROLE postgres WITH SUPERUSER;\nCREATE ROLE \"ren\xe9\";\nCOMMENT ON ROLE \"ren\xe9\" IS 'a\nCREATE ROLE postgres;\nALTER ROLE postgres WITH x;';\n";
        let known = [b"CREATE ROLE postgres;".to_vec()];
        let fit = fitting(text, &known, Some(b"ALTER ROLE postgres WITH "));
        assert_eq!(fit.as_slice(), b"SET client_encoding = 'LATIN1';\n\n\nCREATE ROLE \"ren\xe9\";\nCOMMENT ON ROLE \"ren\xe9\" IS 'a\nCREATE ROLE postgres;\nALTER ROLE postgres WITH x;';\n");
    }

    #[test]
    fn the_encoding_of_names_is_the_one_of_the_roles() {
        assert_eq!(encoding_of(b"\n\nSET client_encoding = 'LATIN1';").as_deref(), Some("LATIN1"));
        assert!(encoding_of(b"SET client_encoding = 'a''b';").is_none());
        assert!(says_encoding(&in_encoding("EUC_JP")));
    }
}
