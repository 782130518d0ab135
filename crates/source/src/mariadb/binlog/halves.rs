//! Transactions of several servers (XA) of which a log holds one half: prepared before the point and ended after it, they are in no dump.

use super::events::{Begun, Xa, transactions};
use super::replay::{At, Range};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// What is to be prepared before a log is replayed from where a point lies.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Halves {
    /// Where the log prepares those that were prepared before and not ended by then, in order.
    pub(super) before: Vec<Range>,
    /// The names of those that it ends, and of which nothing else is known.
    pub(super) lost: Vec<String>,
}

/// Looks through files from the beginning of the first, for what is replayed from `from` to `end`.
pub(super) fn halves(files: &[PathBuf], from: At, end: At) -> io::Result<Halves> {
    let mut before: BTreeMap<String, Range> = BTreeMap::new();
    let (mut within, mut lost) = (BTreeSet::new(), Vec::new());
    for (nth, path) in files.iter().enumerate().take(end.0 + 1) {
        let mut open: Option<(String, At)> = None;
        let last = transactions(path, |Begun { offset, xa, .. }| {
            let at = (nth, offset);
            // Each goes on to where the next begins.
            before.extend(open.take().map(|(name, from)| (name, Range { from, to: at })));
            if at >= end {
                return ControlFlow::Break(());
            }
            match xa {
                Some(Xa::Prepares(name)) if at < from => open = Some((name, at)),
                Some(Xa::Prepares(name)) => {
                    within.insert(name);
                }
                Some(Xa::Ends(name)) if at < from => {
                    before.remove(&name);
                }
                Some(Xa::Ends(name)) => {
                    let is_known = within.remove(&name) || before.contains_key(&name);
                    if !is_known {
                        lost.push(name);
                    }
                }
                None => {}
            }
            ControlFlow::Continue(())
        })?;
        before.extend(open.take().map(|(name, from)| (name, Range { from, to: (nth, last) })));
    }
    let mut before: Vec<Range> = before.into_values().collect();
    before.sort_by_key(|range| range.from);
    Ok(Halves { before, lost })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a log with these transactions: what each does to which name. Returns where each begins, and the end.
    fn file(folder: &std::path::Path, name: &str, all: &[(u8, u8)]) -> (PathBuf, Vec<u64>) {
        let (mut bytes, mut places) = (b"\xfebin".to_vec(), Vec::new());
        for &(flags, name) in all {
            places.push(bytes.len() as u64);
            let mut body = vec![0; 12];
            body.push(flags);
            body.extend([1, 0, 0, 0, 1, 0, name, 0, 0, 0, 0]);
            let length = u32::try_from(19 + body.len()).unwrap();
            bytes.extend([0, 0, 0, 0, 162, 7, 0, 0, 0]);
            bytes.extend(length.to_le_bytes());
            bytes.extend([0; 6]);
            bytes.extend(body);
        }
        places.push(bytes.len() as u64);
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        (path, places)
    }

    #[test]
    fn what_was_prepared_before_the_point_is_prepared_again_unless_it_was_ended_by_then() {
        const PREPARES: u8 = 0x40;
        const ENDS: u8 = 0x80;
        let folder = tempfile::tempdir().unwrap();
        let first = [(PREPARES, b'a'), (PREPARES, b'b'), (ENDS, b'a'), (PREPARES, b'c'), (0, 0)];
        let (one, at) = file(folder.path(), "one", &first);
        let (two, end) = file(
            folder.path(),
            "two",
            &[(ENDS, b'b'), (ENDS, b'z'), (PREPARES, b'd'), (ENDS, b'd'), (ENDS, b'y')],
        );
        let found = halves(&[one, two], (0, at[4]), (1, end[4])).unwrap();
        let range = |nth: usize| Range { from: (0, at[nth]), to: (0, at[nth + 1]) };
        assert_eq!(found, Halves { before: vec![range(1), range(3)], lost: vec!["X'7a',X'',1".into()] });
    }
}
