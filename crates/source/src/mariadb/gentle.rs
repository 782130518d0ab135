//! A dump as it is fed to a server: with databases that are dropped as far as they can be.
//!
//! `DROP DATABASE` first removes all tables and then the folder, which it can't where somebody has put a file of his own there. That would end the load,
//! with the tables gone. So the folder may stay: the database is made anew in it. Lines stay lines, so that an error's number is still the dump's.

use super::BESIDE;
use std::io::{self, BufRead, BufReader, Read};

/// How `mariadb-dump` begins the lines that drop a database, and those that make it.
const DROP: &[u8] = b"/*!40000 DROP DATABASE IF EXISTS `";
const DROP_ENDS: &[u8] = b"`*/;";
const CREATE: &[u8] = b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `";
/// What stands in a dump before its events: the users are there, and where they lay is gone.
const EVENTS_FOLLOW: &[u8] = b"DROP DATABASE `";
/// What puts the users of a dump in the place of those that are there, or beside them.
const OVER_USERS: [&[u8]; 2] = [
    b"INSERT INTO `mysql`.`global_priv` SELECT * FROM `releve_users`.`global_priv`;",
    b"REPLACE INTO `mysql`.`global_priv` SELECT * FROM `releve_users`.`global_priv`;",
];
/// How much of a line is looked at: names have 64 letters.
const LINE_BYTES: u64 = 4096;
const PIECE_BYTES: usize = 256 << 10;

/// What is read of a dump.
pub(super) struct Gentle<R> {
    from: BufReader<R>,
    ready: Vec<u8>,
    taken: usize,
    /// What comes next begins a line.
    at_line: bool,
    is_over: bool,
    /// Databases are dropped as far as they can be.
    is_gentle: bool,
    /// The second in which events are made.
    events_at: Option<u32>,
    /// What is said in the line that brings the users.
    with_users: Option<String>,
}

impl<R: Read> Gentle<R> {
    pub(super) fn new(from: R) -> Self {
        let from = BufReader::with_capacity(PIECE_BYTES, from);
        Self {
            from,
            ready: Vec::new(),
            taken: 0,
            at_line: true,
            is_over: false,
            is_gentle: true,
            events_at: None,
            with_users: None,
        }
    }

    /// Leaves databases to be dropped as the dump says it, for servers that take no blocks of statements.
    pub(super) fn left_as_it_is(self) -> Self {
        Self { is_gentle: false, ..self }
    }

    /// Makes events as if it were this second of the time since 1970: one that was due since then would else not be made at all, and what a log says of it would
    /// find nothing.
    pub(super) fn events_at(self, second: Option<u32>) -> Self {
        Self { events_at: second, ..self }
    }

    /// Says this too in the line that brings the users, one line itself.
    pub(super) fn with_users(self, said: String) -> Self {
        Self { with_users: Some(said), ..self }
    }

    /// Returns what is said instead of a line; `None` where it is said as it is.
    fn instead(&self, line: &[u8]) -> Option<Vec<u8>> {
        if let Some(second) = self.events_at
            && let Some(plain) = line.strip_suffix(b"\n")
            && plain.strip_prefix(EVENTS_FOLLOW).and_then(|rest| rest.strip_suffix(b"`;"))
                == Some(BESIDE.as_bytes())
        {
            let more = format!(" SET TIMESTAMP = {second};\n");
            return Some([plain, more.as_bytes()].concat());
        }
        if let Some(said) = &self.with_users
            && let Some(plain) = line.strip_suffix(b"\n")
            && OVER_USERS.contains(&plain)
        {
            return Some([plain, b" ", said.as_bytes(), b"\n"].concat());
        }
        if self.is_gentle { gentler(line) } else { None }
    }

    /// Makes more ready.
    fn fill(&mut self) -> io::Result<()> {
        self.ready.clear();
        self.taken = 0;
        let mut line = Vec::new();
        while self.ready.len() < PIECE_BYTES && !self.is_over {
            line.clear();
            (&mut self.from).take(LINE_BYTES).read_until(b'\n', &mut line)?;
            let changed = if self.at_line { self.instead(&line) } else { None };
            self.at_line = line.ends_with(b"\n");
            self.is_over = line.is_empty();
            self.ready.append(&mut changed.unwrap_or_else(|| std::mem::take(&mut line)));
        }
        Ok(())
    }
}

impl<R: Read> Read for Gentle<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.ready.len() && !self.is_over {
            self.fill()?;
        }
        let read = self.ready.get(self.taken..).unwrap_or_default().read(buffer)?;
        self.taken += read;
        Ok(read)
    }
}

/// Returns what is said instead of a line; `None` where it is said as it is.
fn gentler(line: &[u8]) -> Option<Vec<u8>> {
    let plain = line.strip_suffix(b"\n")?;
    if let Some(rest) = plain.strip_prefix(DROP) {
        // Its name as it stands there, with what in it is written twice.
        let name = String::from_utf8(rest.strip_suffix(DROP_ENDS)?.to_vec()).ok()?;
        let block = format!(
            "BEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR 1010 BEGIN END; DROP DATABASE IF EXISTS `{name}`; END"
        );
        // As a number: nothing in it means anything to the client, whatever its name and the mode.
        let hex: String = block.bytes().map(|byte| format!("{byte:02X}")).collect();
        return Some(format!("EXECUTE IMMEDIATE CONVERT(X'{hex}' USING utf8mb4);\n").into_bytes());
    }
    // One that is still there has lost what it was made with.
    let rest = plain.strip_prefix(CREATE)?;
    let (name, how) = after_name(rest)?;
    let how = how.strip_suffix(b";")?.trim_ascii();
    let mut said = plain.to_vec();
    if !how.is_empty() {
        said.extend_from_slice(b" ALTER DATABASE `");
        said.extend_from_slice(name);
        said.extend_from_slice(b"` ");
        said.extend_from_slice(how);
        said.push(b';');
    }
    said.push(b'\n');
    Some(said)
}

/// Returns a name and what follows it, from behind the sign that opens it.
fn after_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        at += text.get(at..)?.iter().position(|byte| *byte == b'`')?;
        match text.get(at + 1) {
            Some(b'`') => at += 2,
            _ => return Some((text.get(..at)?, text.get(at + 1..)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let mut read = String::new();
        Gentle::new(text.as_bytes()).read_to_string(&mut read).unwrap();
        read
    }

    #[test]
    fn events_are_made_in_their_own_time_and_lines_stay_lines() {
        let text = "DROP DATABASE IF EXISTS `releve_users`;\nINSERT INTO t VALUES ('DROP DATABASE `releve_users`;\nx');\nDROP DATABASE `releve_users`;\nCREATE EVENT\n";
        let mut said = String::new();
        Gentle::new(text.as_bytes()).left_as_it_is().events_at(Some(7)).read_to_string(&mut said).unwrap();
        let wanted = text.replace(
            "\nDROP DATABASE `releve_users`;\n",
            "\nDROP DATABASE `releve_users`; SET TIMESTAMP = 7;\n",
        );
        assert_eq!(said, wanted);
        assert_eq!(read(text), text);
    }

    #[test]
    fn who_loads_gets_in_again_from_the_line_on_that_brings_the_users() {
        for over in OVER_USERS {
            let over = String::from_utf8(over.to_vec()).unwrap();
            let text = format!("DELETE FROM `mysql`.`global_priv`;\n{over}\nFLUSH PRIVILEGES;\n");
            let mut said = String::new();
            Gentle::new(text.as_bytes()).with_users("KEEP;".into()).read_to_string(&mut said).unwrap();
            assert_eq!(said, text.replace(&over, &format!("{over} KEEP;")));
            assert_eq!(read(&text), text);
        }
    }

    #[test]
    fn a_database_is_dropped_as_far_as_it_can_be_and_is_made_what_it_was_where_its_folder_stays() {
        let text = "-- x\n/*!40000 DROP DATABASE IF EXISTS `a``b'c`*/;\n\
            CREATE DATABASE /*!32312 IF NOT EXISTS*/ `a``b'c` /*!40100 DEFAULT CHARACTER SET latin1 */ COMMENT 'x';\nUSE `a``b'c`;\n";
        let said = read(text);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), text.lines().count());
        let hex = lines[1].strip_prefix("EXECUTE IMMEDIATE CONVERT(X'").unwrap().split('\'').next().unwrap();
        let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        let block = String::from_utf8(bytes).unwrap();
        assert!(block.contains("DROP DATABASE IF EXISTS `a``b'c`;"), "{block}");
        assert!(lines[2].ends_with(
            "COMMENT 'x'; ALTER DATABASE `a``b'c` /*!40100 DEFAULT CHARACTER SET latin1 */ COMMENT 'x';"
        ));
        assert_eq!(lines[3], "USE `a``b'c`;");
    }

    #[test]
    fn all_else_is_fed_left_as_it_is() {
        let long = "x".repeat(3 * PIECE_BYTES);
        for text in [
            "",
            "no end",
            "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `a`;\n",
            "/*!40000 DROP DATABASE IF EXISTS `two\nlines`*/;\n",
            &format!("{long}\n{long}/*!40000 DROP DATABASE IF EXISTS `a`*/;\n\n{long}"),
        ] {
            assert!(read(text) == text, "{}", text.chars().take(80).collect::<String>());
        }
    }
}
