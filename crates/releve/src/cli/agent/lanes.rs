//! A lane for each vault that a log goes to: a vault that hangs keeps its own copy behind, and no other.

use crate::session::Session;
use engine::log::{Carried, Carrier};
use engine::vaults::Opened;
use engine::{Error, Result, mishap};
use jiff::Timestamp;
use plan::VaultName;
use state::State;
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a vault may be silent before its lane begins anew: what it missed waits in the spool.
const SILENT_MAX: Duration = Duration::from_secs(10);

/// What a lane is to carry.
#[derive(Debug, Clone, Default)]
pub(super) struct Load {
    /// Everything that was committed by then is in the spool.
    pub(super) until: Option<Timestamp>,
    /// Where the log begins, if nothing of it ever came.
    pub(super) from: Option<String>,
}

/// What came of a load.
pub(super) struct Report {
    pub(super) vault: VaultName,
    /// Everything that was committed by then is in the vault, if nothing went wrong.
    pub(super) until: Option<Timestamp>,
    pub(super) carried: Result<Carried>,
}

/// Tells the lanes what there is. Only the newest counts: it holds all of those before.
#[derive(Debug, Default)]
pub(super) struct Loads {
    newest: Mutex<Newest>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Newest {
    number: u64,
    load: Load,
    is_last: bool,
}

impl Loads {
    /// There is more to carry.
    pub(super) fn put(&self, load: Load) {
        let mut newest = self.newest();
        newest.number += 1;
        newest.load = load;
        self.changed.notify_all();
    }

    /// Nothing more will come: the lanes end when they have carried what there is.
    pub(super) fn end(&self) {
        self.newest().is_last = true;
        self.changed.notify_all();
    }

    /// Waits for a load after this one.
    fn after(&self, number: u64) -> Option<(u64, Load)> {
        let waiting = |newest: &mut Newest| newest.number == number && !newest.is_last;
        let newest = self.changed.wait_while(self.newest(), waiting);
        let newest = newest.unwrap_or_else(PoisonError::into_inner);
        (newest.number != number).then(|| (newest.number, newest.load.clone()))
    }

    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the loads when it is dropped, by a panic too: the lanes are waited for then, and they wait for loads.
pub(super) struct Ends<'a>(pub(super) &'a Loads);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Carries a log into one vault, which stays open as long as all goes well with it.
pub(super) struct Lane<'a> {
    pub(super) session: &'a Session,
    pub(super) state: &'a State,
    pub(super) carrier: &'a Carrier<'a>,
    /// All vaults that the log goes to.
    pub(super) names: &'a [VaultName],
    pub(super) name: &'a VaultName,
    pub(super) vault: Option<Opened>,
}

impl Lane<'_> {
    /// Carries until nothing more comes, and reports each time.
    pub(super) fn run(mut self, loads: &Loads, reports: &Sender<Report>) {
        let mut number = 0;
        while let Some((next, load)) = loads.after(number) {
            number = next;
            let carried = mishap::caught(|| self.carry(&load));
            if carried.as_ref().is_ok_and(|carried| !carried.failures.is_empty()) {
                // Opened anew: it may have been gone, or another be there.
                self.vault = None;
            }
            let report = Report { vault: self.name.clone(), until: load.until, carried };
            if reports.send(report).is_err() {
                return;
            }
        }
    }

    fn carry(&mut self, load: &Load) -> Result<Carried> {
        if self.vault.is_none() {
            // The first point makes it: before it there is nothing to roll forward.
            self.vault = self.session.open_within(self.name, SILENT_MAX, self.state);
        }
        let vault =
            self.vault.as_ref().ok_or_else(|| Error::new(format!("there is no vault `{}`", self.name)))?;
        let (until, from) = (load.until, load.from.as_deref());
        self.carrier.carry_into(vault, self.names, self.state, until, from, Timestamp::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_end_when_what_loads_them_panics() {
        let loads = Loads::default();
        let done = mishap::caught::<()>(|| {
            std::thread::scope(|scope| {
                let _ends = Ends(&loads);
                scope.spawn(|| while loads.after(0).is_some() {});
                panic!("injected")
            })
        });
        assert!(done.is_err_and(|error: Error| error.message.contains("injected")));
    }

    #[test]
    fn a_lane_takes_the_newest_load_and_the_last_one_before_it_ends() {
        let loads = Loads::default();
        loads.put(Load::default());
        loads.put(Load { from: Some("a".into()), ..Load::default() });
        let (number, load) = loads.after(0).unwrap();
        assert_eq!((number, load.from.as_deref()), (2, Some("a")));
        loads.put(Load { from: Some("b".into()), ..Load::default() });
        loads.end();
        let (number, load) = loads.after(number).unwrap();
        assert_eq!(load.from.as_deref(), Some("b"));
        assert!(loads.after(number).is_none());
    }
}
