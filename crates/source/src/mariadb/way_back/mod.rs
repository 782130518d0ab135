//! What stands in the databases that a load replaces, kept on the server until all is loaded. Tables are renamed into databases of ours, which takes an instant and no
//! room; what can't be renamed is written down beside them. So a load that fails puts it back, and after one that was killed the next one does.
//!
//! Each of the databases has a table of ours in it until it is dropped: where that is gone, what stands there is half new. What is done here can be done again
//! after it was ended at any place, which is why each step is written down before the next (docs/decisions/0024).

mod before;

use super::client::Client;
use super::definers::literal;
use super::gentle::Gentle;
use super::session::Session;
use crate::{Error, Kind, Result};
use before::Note;
pub(super) use before::{FIXED, tied};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Where it is written down. Tables lie in others, each with a number behind that.
pub(super) const NOTES: &str = "releve_was";
/// The table that a database has until it is dropped.
pub(super) const MARK: &str = "releve_was_here";
/// What the session holds that keeps all this, and what those that load hold: a server goes on with what a program had asked it for that was killed.
const KEEPS: &str = "releve_was";
pub(super) const LOADS: [&str; 2] = ["releve_load", "releve_replay"];
const MAKES_AGAIN: &str = "releve_again";
/// How long is waited for such.
const CLAIM_SECONDS: u32 = 900;
/// How often views are made, at most: each time those over views of another database can be made.
const ROUNDS_MAX: usize = 6;

/// Returns whether a database is one of these.
pub(super) fn is_ours(database: &str) -> bool {
    database.strip_prefix(NOTES).is_some_and(|rest| {
        rest.is_empty()
            || rest
                .strip_prefix('_')
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// What is going to be loaded.
pub(super) struct Coming<'a> {
    /// The databases that it makes.
    pub(super) made: &'a BTreeSet<String>,
    pub(super) bytes: u64,
    /// Nothing of it is written into the server's log.
    pub(super) quietly: bool,
    pub(super) told: &'a dyn Fn(&str),
}

/// What was set aside, and the sessions that put it back: whoever loads may have lost the right to log in by then.
pub(super) struct WayBack<'a> {
    keeper: Session<'a>,
    indulgent: Session<'a>,
    names: BTreeSet<String>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was touched.
    Nothing,
    /// All is written down, and nothing was replaced.
    Noted,
    /// The load may have begun.
    Aside,
    /// All is loaded, or is back.
    Over,
}

/// A database that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    number: u32,
    name: String,
    /// The statement that makes it.
    made: String,
    /// What is in it beside tables has to be made again.
    is_anew: bool,
}

/// Sets aside what stands there, after what an earlier load has left was put back. Nothing where nothing stands there, or where it can't be done, which is said.
pub(super) fn begin<'a>(client: &'a Client, coming: &Coming<'_>) -> Result<Option<WayBack<'a>>> {
    let mut keeper = keeper(client, coming.quietly)?;
    if is_there(&mut keeper)? {
        if matches!(stage(&mut keeper)?, Stage::Noted | Stage::Aside) {
            let names: Vec<String> = all(&mut keeper)?.into_iter().map(|kept| kept.name).collect();
            (coming.told)(&format!(
                "a recovery that was ended has set aside what stood in {}: that comes first",
                names.join(", ")
            ));
        }
        let mut indulgent = indulgent(client, coming.quietly)?;
        let missing = back(&mut keeper, &mut indulgent).map_err(|error| stuck(&error))?;
        if !missing.is_empty() {
            (coming.told)(&format!("of it these could not be made again: {}", missing.join(", ")));
            keeper.say(&format!("DROP DATABASE IF EXISTS `{NOTES}`;\n"))?;
            keeper.wait()?;
        }
    }
    let mut standing = before::standing(client, coming.made)?;
    if standing.is_empty() {
        return Ok(None);
    }
    // One table that stays costs its own database the way back, and no other.
    let fixed = before::leave_fixed(client, &mut standing)?;
    if !fixed.is_empty() {
        let names: BTreeSet<&str> = fixed.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        (coming.told)(&format!(
            "what stands in {names} can't be set aside, so if this breaks off, there is no way back to it: {}",
            before::named(&fixed)
        ));
    }
    if standing.is_empty() {
        return Ok(None);
    }
    let none = |why: &str| {
        (coming.told)(&format!(
            "what stands there can't be set aside, so if this breaks off, there is no way back to it: {why}"
        ));
        Ok(None)
    };
    if let Some(why) = before::refuses(client, &standing, coming.bytes)? {
        return none(&why);
    }
    let notes = match before::notes(client, &standing) {
        Ok(notes) => notes,
        Err(error) => return none(&error.to_string()),
    };
    let kept: Vec<&str> = standing.iter().map(|(_, name)| name.as_str()).collect();
    (coming.told)(&format!(
        "setting aside what stands in {}: it is put back if this breaks off",
        kept.join(", ")
    ));
    let names: BTreeSet<String> = kept.into_iter().map(str::to_owned).collect();
    if let Err(error) = set_aside(&mut keeper, &notes) {
        // It has ended with that.
        drop(keeper);
        let mut keeper = self::keeper(client, coming.quietly)?;
        if is_there(&mut keeper)? {
            let mut indulgent = indulgent(client, coming.quietly)?;
            back(&mut keeper, &mut indulgent).map_err(|error| stuck(&error))?;
        }
        return none(&error.to_string());
    }
    Ok(Some(WayBack { keeper, indulgent: indulgent(client, coming.quietly)?, names }))
}

impl WayBack<'_> {
    /// Returns the databases of which something was set aside.
    pub(super) fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Puts back what stood there, in the place of what was loaded. Returns what could not be made again. The sessions that loaded must be closed.
    pub(super) fn put_back(mut self) -> Result<Vec<String>> {
        wait_for(&mut self.keeper, &LOADS)
            .and_then(|()| back(&mut self.keeper, &mut self.indulgent))
            .map_err(|error| stuck(&error))
    }

    /// Drops it: all is loaded.
    pub(super) fn forget(mut self) -> Result<()> {
        let kept = all(&mut self.keeper)?;
        write_stage(&mut self.keeper, "over")?;
        clean(&mut self.keeper, &kept, true)
    }
}

/// Says what becomes of what could not be put back.
fn stuck(error: &Error) -> Error {
    let why = format!(
        "what stood there could not be put back: {}; it lies in the databases whose names begin with {NOTES}, and the same command tries that first, once what is in its way is gone. To give it up, drop those",
        error.kind
    );
    Error::new(error.place.clone(), Kind::Program(why))
}

/// Logs in somebody who keeps it, once nobody is at it any more.
fn keeper(client: &Client, quietly: bool) -> Result<Session<'_>> {
    let mut keeper = Session::open(client)?;
    set_up(&mut keeper, quietly)?;
    claim(&mut keeper, KEEPS)?;
    wait_for(&mut keeper, &LOADS)?;
    wait_for(&mut keeper, &[MAKES_AGAIN])?;
    Ok(keeper)
}

fn indulgent(client: &Client, quietly: bool) -> Result<Session<'_>> {
    let mut session = Session::indulgent(client, false)?;
    set_up(&mut session, quietly)?;
    claim(&mut session, MAKES_AGAIN)?;
    Ok(session)
}

fn set_up(session: &mut Session<'_>, quietly: bool) -> Result<()> {
    if quietly {
        session.say("SET SESSION sql_log_bin = 0;\n")?;
    }
    session.say("SET SESSION sql_mode = '', foreign_key_checks = 0;\n")
}

/// Holds a name on the server until the session ends.
pub(super) fn claim(session: &mut Session<'_>, name: &str) -> Result<()> {
    let said = session.answer(&format!("SELECT GET_LOCK('{name}', {CLAIM_SECONDS});\n"))?;
    if said.concat().concat() == "1" {
        return Ok(());
    }
    let why = "another recovery is at work on this server, or what one has left that was killed (SHOW PROCESSLIST): wait for it, or end it, and type the same again";
    Err(Error::new("load into the server", Kind::Program(why.to_owned())))
}

/// Waits until nobody holds these names.
fn wait_for(keeper: &mut Session<'_>, names: &[&str]) -> Result<()> {
    for name in names {
        claim(keeper, name)?;
        keeper.say(&format!("DO RELEASE_LOCK('{name}');\n"))?;
    }
    keeper.wait()
}

/// Returns whether something was written down.
fn is_there(keeper: &mut Session<'_>) -> Result<bool> {
    let rows = keeper.answer(&format!(
        "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '{NOTES}';\n"
    ))?;
    Ok(rows.concat().concat() == "1")
}

fn stage(keeper: &mut Session<'_>) -> Result<Stage> {
    let tables = keeper.answer(&format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{NOTES}';\n"
    ))?;
    let tables = tables.concat();
    if !tables.iter().any(|table| table == "stage") {
        if tables.is_empty() {
            return Ok(Stage::Nothing);
        }
        let why = format!(
            "a database {NOTES} is there that is not Relève's: it needs that name, so move its tables into another one"
        );
        return Err(Error::new("load into the server", Kind::Program(why)));
    }
    let rows = keeper.answer(&format!("SELECT `stage` FROM `{NOTES}`.`stage`;\n"))?;
    Ok(match rows.concat().concat().as_str() {
        "" => Stage::Nothing,
        "noted" => Stage::Noted,
        "aside" => Stage::Aside,
        _ => Stage::Over,
    })
}

fn write_stage(keeper: &mut Session<'_>, stage: &str) -> Result<()> {
    keeper.say(&format!("UPDATE `{NOTES}`.`stage` SET `stage` = '{stage}';\n"))?;
    keeper.wait()
}

/// Returns all that was set aside.
fn all(keeper: &mut Session<'_>) -> Result<Vec<Kept>> {
    let rows = keeper.answer(&format!(
        "SELECT `number`, `name`, `made`, `is_anew` FROM `{NOTES}`.`databases` ORDER BY `number`;\n"
    ))?;
    let kept = rows.into_iter().filter_map(|row| {
        let [number, name, made, is_anew] = <[String; 4]>::try_from(row).ok()?;
        Some(Kept { number: number.parse().ok()?, name, made, is_anew: is_anew == "1" })
    });
    Ok(kept.collect())
}

/// Writes down what stands there, and moves it aside.
fn set_aside(keeper: &mut Session<'_>, notes: &[Note]) -> Result<()> {
    keeper.say(&format!(
        "CREATE DATABASE `{NOTES}`;\n\
        CREATE TABLE `{NOTES}`.`stage` (`stage` varchar(16) CHARACTER SET ascii NOT NULL) ENGINE=InnoDB;\n\
        CREATE TABLE `{NOTES}`.`databases` (`number` int PRIMARY KEY, `name` varchar(64) CHARACTER SET utf8mb3 COLLATE utf8mb3_bin NOT NULL, \
        `made` text CHARACTER SET utf8mb4 NOT NULL, `is_anew` bool NOT NULL DEFAULT 0) ENGINE=InnoDB;\n\
        CREATE TABLE `{NOTES}`.`things` (`number` int NOT NULL, `kind` varchar(16) CHARACTER SET ascii NOT NULL, \
        `name` varchar(64) CHARACTER SET utf8mb3 COLLATE utf8mb3_bin NOT NULL) ENGINE=InnoDB;\n\
        CREATE TABLE `{NOTES}`.`said` (`part` int PRIMARY KEY AUTO_INCREMENT, `number` int NOT NULL, `kind` varchar(16) CHARACTER SET ascii NOT NULL, \
        `text` longblob NOT NULL) ENGINE=InnoDB;\n"
    ))?;
    for note in notes {
        keeper.say(&format!(
            "INSERT INTO `{NOTES}`.`databases` (`number`, `name`, `made`) VALUES ({}, {}, {});\n",
            note.number,
            literal(&note.name),
            literal(&note.made)
        ))?;
        for (kind, text) in &note.said {
            before::write(keeper, note.number, kind, text)?;
        }
    }
    keeper.say(&things())?;
    keeper.say(&format!("INSERT INTO `{NOTES}`.`stage` VALUES ('noted');\n"))?;
    keeper.wait()?;
    for note in notes {
        keeper.say(&format!("CREATE DATABASE {};\n{}", aside(note.number), mark(&note.name)))?;
    }
    let names: Vec<String> = notes.iter().map(|note| literal(&note.name)).collect();
    drop_triggers(keeper, &names)?;
    // All of them in one statement: it is done whole, or not at all.
    let rows = keeper.answer(&format!(
        "SELECT d.`number`, t.TABLE_SCHEMA, t.TABLE_NAME FROM information_schema.TABLES t JOIN `{NOTES}`.`databases` d ON d.`name` = t.TABLE_SCHEMA \
        WHERE t.TABLE_TYPE <> 'VIEW' AND t.TABLE_NAME <> '{MARK}';\n"
    ))?;
    let moves = rows.into_iter().filter_map(|row| {
        let [number, database, table] = <[String; 3]>::try_from(row).ok()?;
        let (number, table) = (number.parse().ok()?, quoted(&table));
        Some(format!("{}.{table} TO {}.{table}", quoted(&database), aside(number)))
    });
    rename(keeper, &moves.collect::<Vec<_>>())?;
    write_stage(keeper, "aside")
}

/// Returns what lists all that is there beside tables, to see at the end whether it is there again.
fn things() -> String {
    let each = before::THINGS.map(|(kind, table, schema, name)| {
        format!(
            "SELECT d.`number`, '{kind}', t.{name} FROM information_schema.{table} t JOIN `{NOTES}`.`databases` d ON d.`name` = t.{schema}"
        )
    });
    format!("INSERT INTO `{NOTES}`.`things` {};\n", each.join(" UNION "))
}

/// Returns of those that are not there what is asked for: a column, and only of which.
fn missing(keeper: &mut Session<'_>, column: &str, which: &str) -> Result<Vec<String>> {
    let each = before::THINGS.map(|(kind, table, schema, name)| {
        format!("WHEN '{kind}' THEN (d.`name`, t.`name`) NOT IN (SELECT {schema}, {name} FROM information_schema.{table})")
    });
    let rows = keeper.answer(&format!(
        "SELECT DISTINCT {column} FROM `{NOTES}`.`things` t JOIN `{NOTES}`.`databases` d USING (`number`) \
        WHERE {which} AND CASE t.`kind` {} ELSE FALSE END;\n",
        each.join(" ")
    ))?;
    Ok(rows.concat())
}

/// Puts back what was set aside, wherever that was left. Returns what could not be made again.
fn back(keeper: &mut Session<'_>, indulgent: &mut Session<'_>) -> Result<Vec<String>> {
    let stage = stage(keeper)?;
    if stage == Stage::Nothing {
        keeper.say(&format!("DROP DATABASE `{NOTES}`;\n"))?;
        keeper.wait()?;
        return Ok(Vec::new());
    }
    let mut kept = all(keeper)?;
    let mut lost = Vec::new();
    if stage != Stage::Over {
        if stage == Stage::Aside {
            empty(keeper, &mut kept)?;
        }
        move_back(keeper, &kept)?;
        // A server that ended in the middle of dropping one has begun with these, and its mark may be there still.
        let partly = missing(keeper, "t.`number`", "t.`kind` <> 'trigger'")?;
        for kept in &mut kept {
            kept.is_anew |= partly.contains(&kept.number.to_string());
        }
        make_again(keeper, indulgent, &kept)?;
        lost = missing(keeper, "CONCAT(t.`kind`, ' ', d.`name`, '.', t.`name`)", "TRUE")?;
        write_stage(keeper, "over")?;
    }
    // What could not be made again is still written there.
    clean(keeper, &kept, lost.is_empty())?;
    Ok(lost)
}

/// Makes those databases anew that a load has dropped: what is in them is half new.
fn empty(keeper: &mut Session<'_>, kept: &mut [Kept]) -> Result<()> {
    let marked = keeper.answer(&format!(
        "SELECT TABLE_SCHEMA FROM information_schema.TABLES WHERE TABLE_NAME = '{MARK}';\n"
    ))?;
    let marked: BTreeSet<String> = marked.into_iter().flatten().collect();
    for Kept { number, name, made, is_anew } in kept.iter_mut().filter(|kept| !marked.contains(&kept.name)) {
        keeper
            .say(&format!("UPDATE `{NOTES}`.`databases` SET `is_anew` = 1 WHERE `number` = {number};\n"))?;
        keeper.wait()?;
        let text = format!("/*!40000 DROP DATABASE IF EXISTS {}*/;\n{made};\n", quoted(name));
        keeper.feed(&mut Gentle::new(text.as_bytes()), &|_| ())?;
        keeper.say(&mark(name))?;
        keeper.wait()?;
        *is_anew = true;
    }
    Ok(())
}

fn move_back(keeper: &mut Session<'_>, kept: &[Kept]) -> Result<()> {
    let mut moves = Vec::new();
    for Kept { number, name, .. } in kept {
        let tables = keeper.answer(&format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{NOTES}_{number}';\n"
        ))?;
        let tables = tables.concat();
        out_of_the_way(keeper, name, &tables)?;
        moves.extend(tables.into_iter().map(|table| {
            let table = quoted(&table);
            format!("{}.{table} TO {}.{table}", aside(*number), quoted(name))
        }));
    }
    rename(keeper, &moves)
}

/// Drops what has the name of one of these tables and no row: a dump tries beforehand whether it can make some. One that has any is in the way, and stays.
fn out_of_the_way(keeper: &mut Session<'_>, database: &str, tables: &[String]) -> Result<()> {
    let there = keeper.answer(&format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_TYPE <> 'VIEW';\n",
        literal(database)
    ))?;
    for table in there.concat().into_iter().filter(|table| tables.contains(table)) {
        let table = format!("{}.{}", quoted(database), quoted(&table));
        let rows = keeper.answer(&format!("SELECT EXISTS (SELECT 1 FROM {table});\n"))?;
        if rows.concat().concat() == "0" {
            keeper.say(&format!("DROP TABLE {table};\n"))?;
        }
    }
    keeper.wait()
}

/// Makes what could not be moved: all of it where a database was made anew, and triggers, which go before tables can be moved, everywhere.
fn make_again(keeper: &mut Session<'_>, indulgent: &mut Session<'_>, kept: &[Kept]) -> Result<()> {
    let anew: Vec<&Kept> = kept.iter().filter(|kept| kept.is_anew).collect();
    for kept in &anew {
        say_again(keeper, indulgent, kept, before::CODE)?;
    }
    for _ in 0..(anew.len() + 1).min(ROUNDS_MAX) {
        for kept in &anew {
            say_again(keeper, indulgent, kept, before::VIEWS)?;
        }
    }
    // Those that are there already would be behind those that are not.
    let names: Vec<String> = kept.iter().map(|kept| literal(&kept.name)).collect();
    drop_triggers(keeper, &names)?;
    for kept in kept {
        say_again(keeper, indulgent, kept, before::TRIGGERS)?;
    }
    indulgent.wait()
}

/// Says what was written down of a database to a session that goes on after what can't be made.
fn say_again(
    keeper: &mut Session<'_>,
    indulgent: &mut Session<'_>,
    Kept { number, name, .. }: &Kept,
    kind: &str,
) -> Result<()> {
    let parts = keeper.answer(&format!(
        "SELECT `part` FROM `{NOTES}`.`said` WHERE `number` = {number} AND `kind` = '{kind}' ORDER BY `part`;\n"
    ))?;
    let parts: Vec<u32> = parts.concat().iter().filter_map(|part| part.parse().ok()).collect();
    if parts.is_empty() {
        return Ok(());
    }
    indulgent.say(&format!("USE {};\n", quoted(name)))?;
    for part in parts {
        let rows =
            keeper.answer(&format!("SELECT HEX(`text`) FROM `{NOTES}`.`said` WHERE `part` = {part};\n"))?;
        indulgent.feed(&mut bytes_of(&rows.concat().concat()).as_slice(), &|_| ())?;
    }
    indulgent.say("\n")?;
    indulgent.wait()
}

fn drop_triggers(keeper: &mut Session<'_>, names: &[String]) -> Result<()> {
    let rows = keeper.answer(&format!(
        "SELECT TRIGGER_SCHEMA, TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA IN ({});\n",
        names.join(", ")
    ))?;
    for row in rows {
        let Ok([database, name]) = <[String; 2]>::try_from(row) else { continue };
        keeper.say(&format!("DROP TRIGGER {}.{};\n", quoted(&database), quoted(&name)))?;
    }
    keeper.wait()
}

fn rename(keeper: &mut Session<'_>, moves: &[String]) -> Result<()> {
    if !moves.is_empty() {
        keeper.say(&format!("RENAME TABLE {};\n", moves.join(", ")))?;
    }
    keeper.wait()
}

/// Removes what is of no more use.
fn clean(keeper: &mut Session<'_>, kept: &[Kept], with_notes: bool) -> Result<()> {
    let mut sql = String::new();
    for Kept { number, name, .. } in kept {
        let _ = writeln!(sql, "DROP TABLE IF EXISTS {}.`{MARK}`;", quoted(name));
        let _ = writeln!(sql, "DROP DATABASE IF EXISTS {};", aside(*number));
    }
    if with_notes {
        let _ = writeln!(sql, "DROP DATABASE IF EXISTS `{NOTES}`;");
    }
    keeper.say(&sql)?;
    keeper.wait()
}

/// Returns the database in which the tables of another lie.
fn aside(number: u32) -> String {
    format!("`{NOTES}_{number}`")
}

fn mark(database: &str) -> String {
    format!("CREATE TABLE IF NOT EXISTS {}.`{MARK}` (`id` int) ENGINE=InnoDB;\n", quoted(database))
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Returns the bytes that the server has written as digits.
fn bytes_of(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks_exact(2);
    pairs.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_databases_with_our_name_and_a_number_are_ours() {
        for (name, ours) in [
            ("releve_was", true),
            ("releve_was_12", true),
            ("releve_was_", false),
            ("releve_was_here", false),
            ("releve_wasp", false),
            ("shop", false),
        ] {
            assert_eq!(is_ours(name), ours, "{name}");
        }
    }

    #[test]
    fn what_was_written_as_digits_is_read_as_it_was() {
        assert_eq!(bytes_of("00FF0A6162"), [0, 255, 10, b'a', b'b']);
        assert_eq!(bytes_of(""), Vec::<u8>::new());
    }
}
