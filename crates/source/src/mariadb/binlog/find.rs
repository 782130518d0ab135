//! Finds an instant in the files of a log.

use super::Position;
use super::events::{Begun, transactions};
use super::replay::At;
use crate::Until;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Where an instant lies in files of a log.
pub(super) struct Found {
    /// Where to stop.
    pub(super) end: At,
    /// It lies in these files; for a time, a transaction from after it does.
    pub(super) is_found: bool,
    /// The second in which the last transaction before was begun.
    pub(super) last: Option<u32>,
}

/// Returns where an instant lies.
pub(super) fn find(files: &[PathBuf], from: At, until: &Until) -> io::Result<Found> {
    let position = match until {
        Until::Position(text) => text.parse::<Position>().ok(),
        _ => None,
    };
    let second = match until {
        // The log tells seconds: of the second in which the instant lies nothing is made again.
        Until::Time(time) => Some(time.seconds),
        _ => None,
    };
    let (mut end, mut before) = (from, None);
    for (nth, path) in files.iter().enumerate() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_named = position.as_ref().is_some_and(|position| position.file == name);
        let mut stop = None;
        let last =
            transactions(path, |Begun { offset, second: begun, gtid: (domain, server, number), .. }| {
                let is_it = (nth, offset) >= from
                    && match until {
                        Until::Time(_) => second.is_some_and(|second| i64::from(begun) >= second),
                        Until::Transaction(id) => *id == format!("{domain}-{server}-{number}"),
                        Until::Position(_) | Until::Newest | Until::Name(_) | Until::On { .. } => false,
                    };
                if let Some(position) = &position
                    && is_named
                    && offset <= position.offset
                {
                    stop = Some(offset);
                }
                if is_it {
                    stop = Some(offset);
                    return ControlFlow::Break(());
                }
                if (nth, offset) >= from {
                    before = before.max(Some(begun));
                }
                ControlFlow::Continue(())
            })?;
        if let Some(position) = position.as_ref().filter(|_| is_named) {
            let (end, is_found) = match position.offset >= last {
                // What comes behind the end isn't there.
                true => ((nth, last), position.offset == last),
                false => ((nth, stop.unwrap_or(position.offset)), true),
            };
            return Ok(Found { end, is_found, last: before });
        }
        if let Some(offset) = stop {
            return Ok(Found { end: (nth, offset), is_found: true, last: before });
        }
        end = (nth, last);
    }
    Ok(Found { end, is_found: false, last: before })
}
