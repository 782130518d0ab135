//! What `mariadb-binlog` prints, read statement by statement: of a long one only its beginning is kept.

use std::io::{self, BufRead, BufReader, Read};

/// How much of a statement is looked at.
const KEPT_BYTES: usize = 64 << 10;
/// What ends each statement.
const END: &[u8] = b"/*!*/;";
/// How one begins and ends that holds rows, and how many of its bytes are none of what rows are written with.
const ROWS: &[u8] = b"BINLOG '";
const ROWS_END: &[u8] = b"'/*!*/;";
const NO_ROWS: usize = 7;

/// One thing that is printed.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::mariadb) enum Said {
    /// Where in the log what follows stands, or what kind of event it is.
    Remark(String),
    Statement(String),
}

/// Reads it.
pub(in crate::mariadb) struct Printed<R> {
    from: BufReader<R>,
    /// How many lines were read.
    pub(in crate::mariadb) lines: u64,
    /// Of the last statement only its beginning was kept.
    pub(in crate::mariadb) is_cut: bool,
    /// It is rows from its beginning to its end, and says nothing.
    pub(in crate::mariadb) is_rows: bool,
}

impl<R: Read> Printed<R> {
    pub(in crate::mariadb) fn new(from: R) -> Self {
        let from = BufReader::with_capacity(256 << 10, from);
        Self { from, lines: 0, is_cut: false, is_rows: false }
    }

    /// Returns the next; `None` at the end.
    pub(in crate::mariadb) fn read(&mut self) -> io::Result<Option<Said>> {
        let mut kept = Vec::new();
        let mut tail = Vec::new();
        let mut foreign = 0;
        self.is_rows = false;
        loop {
            let is_first = kept.is_empty();
            let is_any = watched(&mut self.from, &mut kept, &mut tail, &mut |bytes| {
                foreign += bytes.iter().filter(|byte| !is_of_rows(**byte)).count();
            })?;
            self.is_cut = kept.len() >= KEPT_BYTES;
            if !is_any {
                let rest = String::from_utf8_lossy(&kept).trim().to_owned();
                return Ok((!rest.is_empty()).then_some(Said::Statement(rest)));
            }
            self.lines += 1;
            if is_first && kept.starts_with(b"#") {
                return Ok(Some(Said::Remark(String::from_utf8_lossy(&kept).trim_end().to_owned())));
            }
            if tail.trim_ascii_end().ends_with(END) {
                let is_closed = tail.trim_ascii_end().ends_with(ROWS_END);
                self.is_rows = is_closed && foreign == NO_ROWS && kept.trim_ascii_start().starts_with(ROWS);
                let text = String::from_utf8_lossy(&kept);
                let text = text.trim_end().trim_end_matches("/*!*/;").trim();
                return Ok(Some(Said::Statement(text.to_owned())));
            }
        }
    }
}

/// Returns whether this is one of the bytes that rows are written with.
const fn is_of_rows(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'\n')
}

/// Reads one line: adds it to `kept` as far as that has room, and leaves the end of it in `tail`. `false` at the end of all.
pub(in crate::mariadb) fn line(
    from: &mut impl BufRead,
    kept: &mut Vec<u8>,
    tail: &mut Vec<u8>,
) -> io::Result<bool> {
    watched(from, kept, tail, &mut |_| {})
}

/// The same, with `all` told of each byte.
fn watched(
    from: &mut impl BufRead,
    kept: &mut Vec<u8>,
    tail: &mut Vec<u8>,
    all: &mut dyn FnMut(&[u8]),
) -> io::Result<bool> {
    tail.clear();
    let mut is_any = false;
    loop {
        let there = from.fill_buf()?;
        if there.is_empty() {
            return Ok(is_any);
        }
        is_any = true;
        let end = there.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(there.len(), |end| end + 1);
        let bytes = there.get(..taken).unwrap_or_default();
        all(bytes);
        let room = KEPT_BYTES.saturating_sub(kept.len()).min(taken);
        kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
        // A line may come in two parts, and its end too.
        tail.extend_from_slice(bytes.get(taken.saturating_sub(2 * END.len())..).unwrap_or_default());
        let spare = tail.len().saturating_sub(2 * END.len());
        tail.drain(..spare);
        from.consume(taken);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_and_remarks_are_told_apart_and_lines_are_counted() {
        let text = "DELIMITER /*!*/;\n# at 4\nuse `shop`/*!*/;\nSET TIMESTAMP=1/*!*/;\ninsert into t values ('a\n# no remark\nb')\n/*!*/;\n# at 99\nDELIMITER ;\n";
        let mut printed = Printed::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(said) = printed.read().unwrap() {
            all.push((printed.lines, said));
        }
        let statement = |text: &str| Said::Statement(text.to_owned());
        let remark = |text: &str| Said::Remark(text.to_owned());
        assert_eq!(
            all,
            [
                (1, statement("DELIMITER")),
                (2, remark("# at 4")),
                (3, statement("use `shop`")),
                (4, statement("SET TIMESTAMP=1")),
                (8, statement("insert into t values ('a\n# no remark\nb')")),
                (9, remark("# at 99")),
                (10, statement("DELIMITER ;")),
            ]
        );
    }

    #[test]
    fn of_a_statement_that_is_too_long_the_beginning_is_kept_and_its_end_found() {
        let text = format!("insert {}\n/*!*/;\nnext/*!*/;\n", "x".repeat(1 << 20));
        let mut printed = Printed::new(text.as_bytes());
        let Some(Said::Statement(long)) = printed.read().unwrap() else { panic!("no statement") };
        assert_eq!(long.len(), KEPT_BYTES);
        assert_eq!(printed.read().unwrap(), Some(Said::Statement("next".into())));
    }
}
