//! Where a statement ends in what `pg_dump` and `pg_dumpall` print. A comment or a name may hold a line that looks like another statement: only what is
//! outside of quotes counts. Bytes, since what is printed is in the encoding of its server.

/// Returns the statements of a text, one after the other, each with the white space and the comments before it: together they are the text. A line for `psql`
/// itself, which begins with a backslash, is one.
pub(super) fn statements(text: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (statement, later) = rest.split_at(end_of_first(rest).min(rest.len()));
        found.push(statement);
        rest = later;
    }
    found
}

/// Returns a statement without the white space and the comments before and after it.
pub(super) fn bare(statement: &[u8]) -> &[u8] {
    let mut rest = statement.trim_ascii();
    while rest.starts_with(b"--") {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        rest = rest.get(end..).unwrap_or_default().trim_ascii();
    }
    rest
}

/// Returns whether this is what a newer `pg_dump` writes around what it prints, to keep `psql` from more than passing it on, or before it enters a database with an odd
/// name, for that name's sake. Ours is kept from that otherwise, and enters no database by the dump's word.
pub(super) fn is_restriction(statement: &[u8]) -> bool {
    [b"\\restrict ".as_slice(), b"\\unrestrict ", b"\\encoding "]
        .iter()
        .any(|begin| bare(statement).starts_with(begin))
}

/// Returns how many lines end in a text.
pub(super) fn lines(text: &[u8]) -> usize {
    text.iter().fold(0, |lines, byte| lines + usize::from(*byte == b'\n'))
}

/// Returns what takes the place of a text that is left out: lines keep their numbers.
pub(super) fn blank(text: &[u8]) -> Vec<u8> {
    vec![b'\n'; lines(text)]
}

/// Where the reading is.
#[derive(Clone, Copy)]
enum In {
    /// Nothing of a statement has come yet.
    Before,
    Statement,
    Comment {
        has_begun: bool,
    },
    /// A line for `psql`.
    Line,
    /// Something in quotes of this kind; a backslash may take the next sign's meaning.
    Quotes {
        by: u8,
        with_backslash: bool,
    },
}

/// Returns where the first statement of a text ends.
fn end_of_first(text: &[u8]) -> usize {
    let mut within = In::Before;
    let (mut before, mut before_that) = (b'\n', b'\n');
    let mut bytes = text.iter().copied().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        within = match within {
            In::Before | In::Statement => match byte {
                b'-' if bytes.peek().is_some_and(|(_, next)| *next == b'-') => {
                    In::Comment { has_begun: matches!(within, In::Statement) }
                }
                b'\\' if matches!(within, In::Before) => In::Line,
                b'\'' | b'"' => {
                    let is_marked = matches!(before, b'e' | b'E') && !is_of_word(before_that);
                    In::Quotes { by: byte, with_backslash: byte == b'\'' && is_marked }
                }
                b';' => return at + 1,
                byte if byte.is_ascii_whitespace() => within,
                _ => In::Statement,
            },
            In::Comment { has_begun } if byte == b'\n' => match has_begun {
                true => In::Statement,
                false => In::Before,
            },
            In::Line if byte == b'\n' => return at + 1,
            In::Quotes { with_backslash: true, .. } if byte == b'\\' => {
                let _ = bytes.next();
                within
            }
            // A doubled one ends it here and begins it again at once.
            In::Quotes { by, with_backslash } if byte == by => match bytes.next_if(|(_, next)| *next == by) {
                Some(_) => In::Quotes { by, with_backslash },
                None => In::Statement,
            },
            other => other,
        };
        (before_that, before) = (before, byte);
    }
    text.len()
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bares(text: &[u8]) -> Vec<String> {
        let found = statements(text);
        assert_eq!(found.concat(), text, "nothing of a text is lost");
        found
            .into_iter()
            .map(|statement| String::from_utf8_lossy(bare(statement)).into_owned())
            .filter(|statement| !statement.is_empty())
            .collect()
    }

    #[test]
    fn a_statement_is_what_is_outside_of_quotes_and_not_a_line() {
        let text = b"--\n-- Roles; it's so\n--\n\nCREATE ROLE a;\nALTER ROLE a WITH LOGIN;\nCOMMENT ON ROLE a IS 'x\nCREATE ROLE postgres;\n\\connect y\nit''s';\n";
        let found = bares(text);
        assert_eq!(
            found,
            [
                "CREATE ROLE a;",
                "ALTER ROLE a WITH LOGIN;",
                "COMMENT ON ROLE a IS 'x\nCREATE ROLE postgres;\n\\connect y\nit''s';"
            ]
        );
    }

    #[test]
    fn what_is_left_out_leaves_its_lines() {
        let restriction = b"\n-- dump\n\n\\restrict abc\n";
        assert!(is_restriction(restriction) && is_restriction(b"\\unrestrict abc"));
        assert!(!is_restriction(b"SELECT '\n\\restrict abc\n';") && !is_restriction(b"\\connect x\n"));
        assert_eq!(blank(restriction), b"\n\n\n\n");
    }

    #[test]
    fn quotes_backslashes_and_foreign_bytes_in_names_end_nothing() {
        let text = b"\\restrict abc;d\nCREATE ROLE \"a;\"\"--\n\\b\";\nSELECT E'it\\'s;', 'e\\';\nCREATE ROLE \"ren\xe9\"; -- end";
        let found = bares(text);
        let expected = [
            "\\restrict abc;d",
            "CREATE ROLE \"a;\"\"--\n\\b\";",
            "SELECT E'it\\'s;', 'e\\';",
            "CREATE ROLE \"ren\u{fffd}\";",
        ];
        assert_eq!(found, expected);
    }
}
