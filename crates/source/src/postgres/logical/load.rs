//! Feeds dumps to a server, each database by itself. What stands there is set aside until all of it is in and was looked at, and comes back if that fails: one that
//! can't be loaded takes no other along.

use super::client::Client;
use super::exchange::{self, bytes_at, drop_it, is_there, let_go, set_aside, subscriptions, take_back};
use super::feed::{Fed, Loader};
use super::roles::{self, Globals};
use super::statements::{bare, blank, is_restriction, lines, statements};
use super::wider::{on_path, path_of};
use super::{DATABASES, FOLDER, GLOBALS, IS_LACKING, NEUTRAL};
use crate::error::at;
use crate::postgres::dumped::Tail;
use crate::{Error, Kind, PutBack, Result};
use percent_encoding::percent_decode_str;
use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};

/// Where the version stands in a dump, and where its last line does.
const HEAD_BYTES: u64 = 4096;
const TAIL_BYTES: u64 = 512;
/// How much stands at most before what belongs into the database itself: the settings and the comment of a database are long at most.
const FIRST_BYTES: u64 = 64 << 10;
const FIRST_BYTES_MAX: u64 = 64 << 20;
/// What enters a database.
const CONNECT: &[u8] = b"\\connect ";
/// How statements begin that say something of a database as a whole.
const OF_DATABASE: [&[u8]; 7] = [
    b"SET ",
    b"SELECT pg_catalog.set_config(",
    b"COMMENT ON DATABASE ",
    b"SECURITY LABEL ON DATABASE ",
    b"ALTER DATABASE ",
    b"ALTER ROLE ",
    b"\\",
];
/// How much of what was refused is told.
const REFUSED_MAX: usize = 5;
/// What must not be there after a load: an index or a constraint that doesn't hold.
const INVALID: &str =
    "SELECT 'index ' || indexrelid::regclass FROM pg_index WHERE NOT indisvalid AND indrelid >= 16384";

/// The dumps of a point.
pub(super) struct Dumps {
    globals: Option<PathBuf>,
    databases: Vec<Dump>,
    /// What is there of it and can't be loaded.
    broken: Vec<String>,
    /// The newest server among those that they are of.
    version: u32,
}

/// The dump of a database.
struct Dump {
    name: String,
    path: PathBuf,
    version: Option<u32>,
    /// Something was left out of it, so that what refers to that can't come back.
    is_lacking: bool,
}

/// How a database came back.
struct Came {
    bytes: u64,
    /// What was refused.
    errors: Vec<String>,
    /// What is to be said besides.
    notes: Vec<String>,
}

impl Dumps {
    /// Looks at them: one that isn't whole is damaged, and is named where others are whole.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let databases = folder.join(DATABASES);
        let wrong = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::new(at("put back", &databases), Kind::NotInPoint),
            _ => Error::io(at("read", &databases), error),
        };
        let (mut paths, mut broken) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&databases).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".sql"));
            let Some(name) = name else { continue };
            match percent_decode_str(name).decode_utf8() {
                Ok(name) => paths.push((name.into_owned(), path.clone())),
                Err(_) => broken.push(format!("{}: its name is no UTF-8, load it by hand", path.display())),
            }
        }
        paths.sort();
        let globals = folder.join(GLOBALS);
        if paths.is_empty() {
            return Err(Error::new(at("put back", folder), Kind::NotInPoint));
        }
        let globals = match check(&globals, "") {
            Ok(_) => Some(globals),
            Err(error) => {
                broken.push(format!("no roles come back: {error}"));
                None
            }
        };
        let (mut databases, mut first) = (Vec::new(), None);
        for (name, path) in paths {
            match check(&path, &name) {
                Ok(dump) => databases.push(dump),
                Err(error) => {
                    broken.push(format!("the database {name} does not come back: {error}"));
                    first = first.or(Some(error));
                }
            }
        }
        if let (true, Some(error)) = (databases.is_empty(), first) {
            return Err(error);
        }
        let version = databases.iter().filter_map(|dump| dump.version).max();
        let unknown = || {
            Error::new(format!("load {FOLDER}"), Kind::Damaged("no dump says which server it is of".into()))
        };
        Ok(Self { globals, databases, broken, version: version.ok_or_else(unknown)? })
    }
}

/// Makes sure that a dump is whole, and reads which server it is of.
fn check(path: &Path, name: &str) -> Result<Dump> {
    let read = || -> io::Result<(String, Tail)> {
        let mut file = File::open(path)?;
        let (mut head, mut end, mut tail) = (Vec::new(), Vec::new(), Tail::default());
        (&mut file).take(HEAD_BYTES).read_to_end(&mut head)?;
        let bytes = file.metadata()?.len();
        file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL_BYTES)))?;
        file.read_to_end(&mut end)?;
        tail.follow(&end);
        Ok((String::from_utf8_lossy(&head).into_owned(), tail))
    };
    let (head, tail) = read().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::new(at("load", path), Kind::NotInPoint),
        _ => Error::io(at("read", path), error),
    })?;
    if !tail.is_whole() {
        let why = "the dump ended early, its last line is missing";
        return Err(Error::new(at("load", path), Kind::Damaged(why.into())));
    }
    let version = head.lines().find_map(|line| line.strip_prefix("-- Dumped from database version "));
    let version =
        version.and_then(|version| version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    let is_lacking = head.lines().next() == Some(IS_LACKING);
    Ok(Dump { name: name.to_owned(), path: path.to_owned(), version, is_lacking })
}

/// Feeds the dumps to the server.
pub(super) fn load(client: &Client, dumps: &Dumps) -> Result<PutBack> {
    let (client, server) = client.entered()?;
    let client = &client;
    if server < dumps.version {
        let why = format!(
            "the dumps are of PostgreSQL {} and the server is {server}: it takes the same version or a newer one; nothing was changed",
            dumps.version
        );
        return Err(Error::new(client.address.to_string(), Kind::Invalid(why)));
    }
    let globals = dumps.globals.as_deref().map(Globals::read).transpose()?;
    let names: Vec<&str> = dumps.databases.iter().map(|dump| dump.name.as_str()).collect();
    let room = roles::enter(client, globals.as_ref(), &names)?;
    let done = fill(&room, dumps, globals.as_ref());
    if room.neutral() != NEUTRAL {
        let left = roles::leave(client);
        // Why the load failed is what matters.
        return done.and_then(|done| left.map(|()| done));
    }
    done
}

/// Loads all of it.
fn fill(client: &Client, dumps: &Dumps, globals: Option<&Globals>) -> Result<PutBack> {
    let mut done = PutBack { findings: dumps.broken.clone(), ..PutBack::default() };
    if let Some(globals) = globals {
        let (bytes, refused) = globals.load(client)?;
        done.bytes += bytes;
        done.findings.extend(told("of the roles", refused));
    }
    let (mut first, mut is_any) = (None, false);
    for dump in &dumps.databases {
        match one(client, dump, globals.and_then(Globals::encoding)) {
            Ok(Came { bytes, errors, notes }) => {
                is_any = true;
                done.bytes += bytes;
                done.findings.extend(told(&format!("of the database {}", dump.name), errors));
                let note = |note| format!("the database {} is back; {note}", dump.name);
                done.findings.extend(notes.into_iter().map(note));
            }
            // Without the server there is none that could be loaded.
            Err(error @ Error { kind: Kind::Server { is_down: true, .. }, .. }) => return Err(error),
            Err(error) => {
                done.findings.push(format!("the database {} did not come back: {error}", dump.name));
                first = first.or(Some(error));
            }
        }
    }
    match first {
        Some(error) if !is_any => Err(error),
        _ => {
            done.into = vec![client.address.to_string().into()];
            Ok(done)
        }
    }
}

/// Says what was refused.
fn told(what: &str, refused: Vec<String>) -> Option<String> {
    let count = refused.len();
    let first: Vec<String> = refused.into_iter().take(REFUSED_MAX).collect();
    (count > 0).then(|| format!("{count} statements {what} were refused, the first: {}", first.join("; ")))
}

/// Puts a database in the place of the one of its name, which comes back if that fails.
fn one(client: &Client, dump: &Dump, names_in: Option<&str>) -> Result<Came> {
    let name = dump.name.as_str();
    // What a run that was killed had set aside is what stands there.
    let (mut was_there, is_any_aside) = exchange::standing(client, name)?;
    if is_any_aside {
        if let Err(error) = take_back(client, name).and_then(|()| exchange::clear(client, name)) {
            // It may be closed still: what people use lets them in.
            let _ = exchange::open(client, name);
            return Err(error);
        }
        was_there = is_there(client, name)?;
    }
    let replaced = replace(client, dump, was_there, names_in).and_then(|mut came| {
        if was_there {
            came.notes.extend(let_go(client, name)?);
        }
        Ok(came)
    });
    let error = match replaced {
        Ok(came) => return Ok(came),
        Err(error) => error,
    };
    let undone = match was_there {
        true => take_back(client, name),
        false => drop_it(client, name),
    };
    match undone {
        Ok(()) => Err(error),
        Err(other) => {
            let why = match was_there {
                true => {
                    format!("{error}; and what stood there is `{}` still: {other}", exchange::aside(name))
                }
                false => format!("{error}; and what was loaded of it is there still: {other}"),
            };
            Err(Error::new(client.address.to_string(), Kind::Program(why)))
        }
    }
}

/// Sets aside what stands there, and loads the dump. One in which a function names another without its schema is tried once more on a wider path: then all is taken
/// that the server takes, unless rows would be missing of what is to take another's place.
fn replace(client: &Client, dump: &Dump, was_there: bool, names_in: Option<&str>) -> Result<Came> {
    let name = dump.name.as_str();
    if was_there {
        set_aside(client, name)?;
    }
    let came = match fill_one(client, dump, names_in, None) {
        Err(error) if !dump.is_lacking && lacks_a_name(&error) => {
            let path = match bytes_at(client, name)? {
                Some(database) => path_of(client, &database)?,
                None => return Err(error),
            };
            drop_it(client, name)?;
            let again = fill_one(client, dump, names_in, Some(&path));
            match again {
                Ok((came, lacks_rows)) if !(was_there && lacks_rows) => came,
                _ => return Err(error),
            }
        }
        other => other?.0,
    };
    Ok(came)
}

/// Returns whether a server has refused something since it didn't find what that names.
fn lacks_a_name(error: &Error) -> bool {
    matches!(&error.kind, Kind::Server { said, is_down: false } if said.contains("does not exist"))
}

/// Loads the dump of a database, which isn't there; with a path, all of it that the server takes. Returns whether rows may be missing, too.
fn fill_one(
    client: &Client,
    dump: &Dump,
    names_in: Option<&str>,
    path: Option<&str>,
) -> Result<(Came, bool)> {
    let name = dump.name.as_str();
    let refused = |why: String| {
        let Error { place, kind } = client.wrong(&why);
        Error::new(format!("load the database {name} into {place}; what stood there is as it was"), kind)
    };
    let Parts { first, of_it, of_it_at, rest, rest_at } = begin(&dump.path, names_in)?;
    // What makes the database itself must all be taken.
    let made = Loader::new(client, client.neutral(), true)?.feed(Cursor::new(first), 0).map_err(refused)?;
    let Some(database) = bytes_at(client, name)? else {
        let why = "its dump makes a database of another name: load it by hand";
        return Err(Error::new(at("load", &dump.path), Kind::Program(why.into())));
    };
    let stops = !dump.is_lacking && path.is_none();
    let said = match of_it.is_empty() {
        true => Fed { bytes: 0, errors: Vec::new(), command: None, lacks_rows: false },
        false => {
            Loader::new(client, &database, stops)?.feed(Cursor::new(of_it), of_it_at).map_err(refused)?
        }
    };
    let loader = Loader::new(client, &database, stops)?;
    let loaded = match path {
        None => loader.feed(rest, rest_at),
        Some(path) => match on_path(rest, path).map_err(|error| Error::io(at("read", &dump.path), error))? {
            Some(text) => loader.feed(text, rest_at),
            None => Err("its dump says no path".to_owned()),
        },
    };
    let Fed { bytes, errors, command, lacks_rows } = loaded.map_err(refused)?;
    let commands = said.command.into_iter().chain(command);
    let mut came = Came {
        bytes: made.bytes + said.bytes + bytes,
        errors: commands.chain(said.errors).chain(errors).collect(),
        notes: Vec::new(),
    };
    let invalid: Vec<String> = client.ask(&database, INVALID)?.into_iter().flatten().collect();
    if !invalid.is_empty() {
        let why = format!("what was loaded doesn't hold: {}", invalid.join(", "));
        return Err(Error::new(format!("load the database {name}"), Kind::Program(why)));
    }
    // Without it queries go on as if nothing were in the tables.
    if let Err(error) = client.tell(&database, "ANALYZE") {
        // An index over a function that fails is no reason to do without all else.
        let Some(_) = path else { return Err(error) };
        came.notes.push(format!("its statistics could not be made: {error}"));
    }
    if path.is_some() && came.errors.is_empty() {
        came.notes.push(
            "a function of it names others without their schema, so it was loaded on a wider path: give such functions a path of their own (ALTER FUNCTION … SET search_path)".into(),
        );
    }
    let subscriptions = subscriptions(client, name)?;
    if !subscriptions.is_empty() {
        came.notes.push(format!(
            "its subscriptions are switched off, as a dump leaves them, and what their publishers keep for them is there still: {}; ALTER SUBSCRIPTION … ENABLE, if it is to go on",
            subscriptions.join(", ")
        ));
    }
    Ok((came, lacks_rows))
}

/// The parts of a dump: it enters its database by name, which counts on the encoding of names, and our own connections don't.
struct Parts {
    /// What is said before the database is entered: what concerns all databases is in their encoding.
    first: Vec<u8>,
    /// What is said of the database in it, after which the dump enters it once more.
    of_it: Vec<u8>,
    /// The dump, at all that comes then.
    rest: Take<File>,
    /// How many lines of the dump stand before the two.
    of_it_at: u64,
    rest_at: u64,
}

/// Takes a dump apart.
fn begin(path: &Path, names_in: Option<&str>) -> Result<Parts> {
    let wrong = |error| Error::io(at("read", path), error);
    let mut file = File::open(path).map_err(wrong)?;
    let mut most = FIRST_BYTES;
    loop {
        let mut text = Vec::new();
        file.rewind().map_err(wrong)?;
        (&mut file).take(most).read_to_end(&mut text).map_err(wrong)?;
        let (mut first, mut of_it, mut passed, mut entered) = (Vec::new(), Vec::new(), 0, None);
        let is_all = (text.len() as u64) < most;
        let mut rest_at = None;
        for statement in statements(&text) {
            passed += statement.len() as u64;
            if passed >= most {
                // It may be cut off.
                break;
            }
            let words = bare(statement);
            match entered {
                Some(_) if words.starts_with(CONNECT) => {
                    rest_at = Some(passed);
                    break;
                }
                None if words.starts_with(CONNECT) => entered = Some(passed),
                None => match names_in.filter(|_| roles::says_encoding(statement)) {
                    Some(encoding) => {
                        let said = roles::in_encoding(encoding);
                        first.extend(vec![b'\n'; lines(statement).saturating_sub(lines(&said))]);
                        first.extend(said);
                    }
                    None if is_restriction(statement) => first.extend(blank(statement)),
                    None => first.extend_from_slice(statement),
                },
                Some(_) if is_restriction(statement) => of_it.extend(blank(statement)),
                Some(_) if is_of_database(words) => of_it.extend_from_slice(statement),
                Some(at) => {
                    of_it.clear();
                    rest_at = Some(at);
                    break;
                }
            }
        }
        if let (None, true, Some(at)) = (rest_at, is_all, entered) {
            of_it.clear();
            rest_at = Some(at);
        }
        if let Some(at) = rest_at {
            let of_it_at = lines_before(&text, entered.unwrap_or(at));
            if of_it.trim_ascii().is_empty() {
                of_it.clear();
            }
            let (rest, skipped) = without_restrictions(file, at).map_err(wrong)?;
            let rest_at = lines_before(&text, at) + skipped;
            return Ok(Parts { first, of_it, of_it_at, rest, rest_at });
        }
        if is_all || most >= FIRST_BYTES_MAX {
            let why = "the dump does not say where its database begins";
            return Err(Error::new(at("load", path), Kind::Damaged(why.into())));
        }
        most = most.saturating_mul(32).min(FIRST_BYTES_MAX);
    }
}

/// Returns how many lines end before a place in a text.
fn lines_before(text: &[u8], at: u64) -> u64 {
    let before = usize::try_from(at).ok().and_then(|at| text.get(..at)).unwrap_or(text);
    lines(before) as u64
}

/// Returns a dump from there on without what keeps `psql` from more than passing it on, at both ends: ours is kept from that by a key of our own. Returns how many
/// lines that took at the beginning, too.
fn without_restrictions(mut file: File, from: u64) -> io::Result<(Take<File>, u64)> {
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    file.seek(SeekFrom::Start(from))?;
    (&mut file).take(HEAD_BYTES).read_to_end(&mut head)?;
    let first =
        statements(&head).into_iter().next().filter(|first| is_restriction(first)).unwrap_or_default();
    let begin = from + first.len() as u64;
    let tail_at = begin.max(file.metadata()?.len().saturating_sub(TAIL_BYTES));
    file.seek(SeekFrom::Start(tail_at))?;
    let mut end = tail_at + file.read_to_end(&mut tail)? as u64;
    let last_at = tail.trim_ascii_end().iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if tail.get(last_at..).is_some_and(is_restriction) {
        end = tail_at + last_at as u64;
    }
    file.seek(SeekFrom::Start(begin))?;
    Ok((file.take(end.saturating_sub(begin)), lines(first) as u64))
}

/// Returns whether a statement may be one of those about the database as a whole, before it is entered once more.
fn is_of_database(words: &[u8]) -> bool {
    words.is_empty() || OF_DATABASE.iter().any(|begin| words.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_said_before_the_database_is_entered_is_known_whatever_its_comment_holds() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let comment = "x".repeat(100_000);
        let text = format!(
            "SET client_encoding = 'LATIN1';\nCREATE DATABASE a;\nCOMMENT ON DATABASE a IS '{comment}\n\\connect b\n';\n\\connect a\n\\restrict x\nSET client_encoding = 'LATIN1';\n"
        );
        file.write_all(text.as_bytes()).unwrap();
        let Parts { first, of_it, mut rest, rest_at, .. } = begin(file.path(), Some("UTF8")).unwrap();
        let first = String::from_utf8(first).unwrap();
        assert!(
            first.trim_start().starts_with("SET client_encoding = 'UTF8';\nCREATE DATABASE a;"),
            "{first}"
        );
        assert!(first.ends_with("\\connect b\n';"));
        let mut later = String::new();
        rest.read_to_string(&mut later).unwrap();
        assert_eq!((later.as_str(), rest_at), ("SET client_encoding = 'LATIN1';\n", 7));
        assert!(of_it.is_empty());
        // What is said of the database as a whole comes first, and then it is entered once more.
        let more =
            "\\connect a\nALTER DATABASE a SET x TO 'y';\n\\connect a\nSET b = 1;\nCREATE TABLE t ();\n";
        std::fs::write(file.path(), format!("CREATE DATABASE a;\n{more}")).unwrap();
        let Parts { of_it, mut rest, .. } = begin(file.path(), None).unwrap();
        assert_eq!(of_it, b"ALTER DATABASE a SET x TO 'y';");
        let mut later = String::new();
        rest.read_to_string(&mut later).unwrap();
        assert_eq!(later, "SET b = 1;\nCREATE TABLE t ();\n");
        // As newer ones print it: what they keep psql in check with is left out, at its places, and lines keep their numbers.
        let text = "--\n\\restrict x\nCREATE DATABASE a;\n\\unrestrict x\n\\connect a\n\\restrict x\nALTER DATABASE a SET x TO 'y';\n\\unrestrict x\n\\connect a\n\\restrict x\nSELECT '\n\\restrict x';\n-- end\n\n\\unrestrict x\n\n";
        std::fs::write(file.path(), text).unwrap();
        let Parts { first, of_it, of_it_at, mut rest, rest_at } = begin(file.path(), None).unwrap();
        assert_eq!(first, b"\n\nCREATE DATABASE a;\n\n");
        assert_eq!(of_it, b"\nALTER DATABASE a SET x TO 'y';\n\n");
        assert_eq!(of_it_at, 5);
        let mut later = String::new();
        rest.read_to_string(&mut later).unwrap();
        assert_eq!((later.as_str(), rest_at), ("SELECT '\n\\restrict x';\n-- end\n\n", 10));
        std::fs::write(file.path(), "CREATE DATABASE a;\n").unwrap();
        assert!(begin(file.path(), None).is_err());
    }
}
