//! Draws a frame over the last one with as few bytes as it takes: over a bad link every one counts.

use super::frame::{Line, Tone};
use console::{Term, measure_text_width};
use std::fmt::Write as _;
use std::io::IsTerminal;

/// Columns where nobody says how many there are.
pub(in crate::cli) const WIDTH: usize = 80;
/// Rows where nobody says how many there are.
const HEIGHT: usize = 24;

/// A terminal, and what stands on it.
pub(in crate::cli) struct Terminal {
    term: Term,
    colour: bool,
    drawn: Vec<Line>,
}

impl Terminal {
    /// Returns the terminal that the output goes to; `None` if it goes elsewhere, or to one that can't move its cursor.
    pub(in crate::cli) fn here() -> Option<Self> {
        let term = std::env::var("TERM").unwrap_or_default();
        if !std::io::stdout().is_terminal() || term.is_empty() || term == "dumb" {
            return None;
        }
        let colour = std::env::var_os("NO_COLOR").is_none_or(|said| said.is_empty());
        Some(Self { term: Term::stdout(), colour, drawn: Vec::new() })
    }

    /// Returns how many columns and rows a frame may take: the last column is left free, since some terminals go on to the next line there.
    pub(in crate::cli) fn size(&self) -> (usize, usize) {
        let (rows, columns) =
            self.term.size_checked().map_or((HEIGHT, WIDTH), |(rows, columns)| (rows.into(), columns.into()));
        (columns.saturating_sub(1).max(20), rows.saturating_sub(1).max(4))
    }

    /// Draws a frame.
    pub(in crate::cli) fn draw(&mut self, frame: &[Line]) {
        // A terminal that went away is nobody's to watch; the recovery goes on.
        let _ = self.term.write_str(&change(&self.drawn, frame, self.colour));
        self.drawn = frame.to_vec();
    }
}

/// Returns what makes one frame another, with the cursor below the one and then below the other.
fn change(drawn: &[Line], frame: &[Line], colour: bool) -> String {
    let mut out = String::new();
    let first = drawn.iter().zip(frame).position(|(old, new)| old != new);
    let first = first.unwrap_or_else(|| drawn.len().min(frame.len()));
    if first == drawn.len() && first == frame.len() {
        return out;
    }
    if drawn.len() > first {
        let _ = write!(out, "\x1b[{}A", drawn.len() - first);
    }
    for (at, line) in frame.iter().enumerate().skip(first) {
        match drawn.get(at) {
            Some(old) if old == line => out.push('\n'),
            Some(old) if old.tone == line.tone => {
                let same: String = old
                    .text
                    .chars()
                    .zip(line.text.chars())
                    .take_while(|(a, b)| a == b)
                    .map(|(a, _)| a)
                    .collect();
                let columns = measure_text_width(&same);
                if columns > 0 {
                    let _ = write!(out, "\x1b[{columns}C");
                }
                put(&mut out, line.text.get(same.len()..).unwrap_or_default(), line.tone, colour);
                let is_shorter = measure_text_width(&line.text) < measure_text_width(&old.text);
                out.push_str(if is_shorter { "\x1b[K\n" } else { "\n" });
            }
            Some(_) => {
                put(&mut out, &line.text, line.tone, colour);
                out.push_str("\x1b[K\n");
            }
            None => {
                put(&mut out, &line.text, line.tone, colour);
                out.push('\n');
            }
        }
    }
    if drawn.len() > frame.len() {
        out.push_str("\x1b[J");
    }
    out
}

fn put(out: &mut String, text: &str, tone: Tone, colour: bool) {
    let code = match tone {
        _ if !colour => None,
        Tone::Plain => None,
        Tone::Good => Some(32),
        Tone::Doubtful => Some(33),
        Tone::Bad => Some(31),
    };
    match code {
        Some(code) => {
            let _ = write!(out, "\x1b[{code}m{text}\x1b[0m");
        }
        None => out.push_str(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(lines: &[&str]) -> Vec<Line> {
        lines.iter().map(|text| Line { text: (*text).to_owned(), tone: Tone::Plain }).collect()
    }

    /// What a terminal shows after some bytes: letters, line ends and the three movements that are used.
    fn shown(bytes: &str) -> Vec<String> {
        let (mut rows, mut row, mut column): (Vec<Vec<char>>, usize, usize) = (vec![], 0, 0);
        let mut rest = bytes.chars().peekable();
        while let Some(letter) = rest.next() {
            while rows.len() <= row {
                rows.push(vec![]);
            }
            match letter {
                '\n' => (row, column) = (row + 1, 0),
                '\x1b' => {
                    assert_eq!(rest.next(), Some('['));
                    let mut number = String::new();
                    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                        number.push(digit);
                    }
                    let count: usize = number.parse().unwrap_or(0);
                    match rest.next().unwrap() {
                        'A' => row -= count,
                        'C' => column += count,
                        'K' => rows[row].truncate(column),
                        'J' => {
                            rows.truncate(row + 1);
                            rows[row].truncate(column);
                        }
                        other => panic!("{other}"),
                    }
                }
                letter => {
                    while rows[row].len() <= column {
                        rows[row].push(' ');
                    }
                    rows[row][column] = letter;
                    column += 1;
                }
            }
        }
        let mut rows: Vec<String> = rows.into_iter().map(|row| row.into_iter().collect()).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    #[test]
    fn what_is_drawn_over_another_frame_looks_as_if_drawn_anew() {
        let frames = [
            frame(&["a recovery  00:01", "shop  works", "orders  waits"]),
            frame(&["a recovery  00:02", "shop  works", "orders  waits"]),
            frame(&["a recovery  00:03", "shop", "orders  waits", "one more", "and one"]),
            frame(&["a recovery  00:04"]),
            frame(&["over"]),
        ];
        let (mut drawn, mut bytes) = (Vec::new(), String::new());
        for next in frames {
            bytes += &change(&drawn, &next, false);
            let expected: Vec<String> = next.iter().map(|line| line.text.clone()).collect();
            assert_eq!(shown(&bytes), expected);
            drawn = next;
        }
    }

    #[test]
    fn a_clock_that_goes_on_costs_a_few_bytes_and_nothing_else_moves() {
        let wide = "x".repeat(79);
        let one = frame(&["a recovery  00:01", &wide, &wide]);
        let other = frame(&["a recovery  00:02", &wide, &wide]);
        assert!(change(&one, &other, false).len() < 16, "{:?}", change(&one, &other, false));
        assert_eq!(change(&one, &one.clone(), true), "");
    }
}
