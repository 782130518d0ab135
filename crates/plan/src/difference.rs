//! What differs between two texts of a plan, line by line, for a person who is to say yes to the new one.

use std::fmt;

/// How many lines stand around what differs.
const AROUND: usize = 2;
/// How many pairs of lines are compared at most; beyond that all lines count as changed.
const PAIRS_MAX: usize = 4_000_000;

/// A line of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The file that the next lines are of.
    Name(String),
    /// It stands in both.
    Same(String),
    /// It is gone.
    Gone(String),
    /// It is new.
    New(String),
    /// Lines that stand in both are left out here.
    Left,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Same(line) => write!(f, "  {line}"),
            Self::Gone(line) => write!(f, "- {line}"),
            Self::New(line) => write!(f, "+ {line}"),
            Self::Left => f.write_str("  …"),
        }
    }
}

/// Returns the lines that differ, with some around them; nothing where both are the same.
#[must_use]
pub fn difference(before: &str, now: &str) -> Vec<Line> {
    if before == now {
        return Vec::new();
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), now.lines().collect());
    let head = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(old, new)| old == new).count();
    let old_middle = old_rest.get(..old_rest.len() - tail).unwrap_or_default();
    let new_middle = new_rest.get(..new_rest.len() - tail).unwrap_or_default();
    let same = |line: &&str| Line::Same((*line).to_owned());
    let mut lines: Vec<Line> = old.iter().take(head).map(same).collect();
    lines.extend(middle(old_middle, new_middle));
    lines.extend(old_rest.iter().skip(old_rest.len() - tail).map(same));
    shortened(lines)
}

/// Returns the shortest way from one list of lines to another.
fn middle(old: &[&str], new: &[&str]) -> Vec<Line> {
    let gone = |line: &&str| Line::Gone((*line).to_owned());
    let fresh = |line: &&str| Line::New((*line).to_owned());
    let wide = new.len() + 1;
    if old.len().saturating_mul(wide) > PAIRS_MAX {
        return old.iter().map(gone).chain(new.iter().map(fresh)).collect();
    }
    // How many lines the ends of both have in common, from each pair on.
    let mut common = vec![0_u32; (old.len() + 1) * wide];
    let of = |common: &[u32], i: usize, j: usize| common.get(i * wide + j).copied().unwrap_or(0);
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let best = match a == b {
                true => of(&common, i + 1, j + 1) + 1,
                false => of(&common, i + 1, j).max(of(&common, i, j + 1)),
            };
            if let Some(cell) = common.get_mut(i * wide + j) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                lines.push(Line::Same((*a).to_owned()));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), b) if b.is_none() || of(&common, i + 1, j) >= of(&common, i, j + 1) => {
                lines.push(gone(a));
                i += 1;
            }
            (_, b) => {
                lines.extend(b.map(fresh));
                j += 1;
            }
        }
    }
    lines
}

/// Leaves out what is the same and stands far from what differs.
fn shortened(lines: Vec<Line>) -> Vec<Line> {
    let is_same = |line: &Line| matches!(line, Line::Same(_));
    let changes: Vec<usize> =
        lines.iter().enumerate().filter(|(_, line)| !is_same(line)).map(|(at, _)| at).collect();
    let is_near = |at: usize| {
        let next = changes.partition_point(|change| *change < at);
        let after = changes.get(next).is_some_and(|change| change - at <= AROUND);
        let before = next.checked_sub(1).and_then(|last| changes.get(last));
        after || before.is_some_and(|change| at - change <= AROUND)
    };
    let mut kept = Vec::new();
    for (at, line) in lines.into_iter().enumerate() {
        if is_near(at) {
            kept.push(line);
        } else if kept.last() != Some(&Line::Left) {
            kept.push(Line::Left);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(before: &str, now: &str) -> Vec<String> {
        difference(before, now).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_new_and_what_is_gone_is_shown_with_what_stands_around_it() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let now = "a\nb\nc\nd\nE\nf\ng\nh\n";
        assert_eq!(shown(before, now), ["  …", "  c", "  d", "- e", "+ E", "  f", "  g", "  …"]);
        assert_eq!(shown(before, before), Vec::<String>::new());
        assert_eq!(shown("", "a\nb"), ["+ a", "+ b"]);
        assert_eq!(shown("a\nb", ""), ["- a", "- b"]);
        assert_eq!(shown("a\nb", "a\nx\nb\ny"), ["  a", "+ x", "  b", "+ y"]);
        assert_eq!(shown("a\na", "a"), ["  a", "- a"]);
    }

    #[test]
    fn two_long_texts_of_nothing_in_common_are_shown_all_the_same() {
        let long = |word: &str| (0..2_500).map(|n| format!("{word}{n}\n")).collect::<String>();
        let lines = difference(&long("a"), &long("b"));
        assert_eq!(lines.iter().filter(|line| matches!(line, Line::Gone(_))).count(), 2_500);
        assert_eq!(lines.iter().filter(|line| matches!(line, Line::New(_))).count(), 2_500);
    }
}
