//! Steps that keep a machine from doing harm while it comes back: its network, and what it would do of itself.

use super::Told;
use super::step::AtWork;
use crate::isolate::{self, Rules, prepare};
use crate::{Error, Result, quarantine};
use plan::{Hold, HostName, SystemName};

impl AtWork<'_> {
    /// Cuts a host off the network: this machine by itself, where the plan says who gets through all the same; any other, a person does.
    pub(super) fn isolate(&self, host: &HostName) -> Result<Told> {
        let plan = self.hands.plan;
        let Some(own) = plan.hosts.get(host).filter(|_| plan.cuts_off(host, &self.book.machine)) else {
            return self.ask(&self.step.kind.to_string(), None, None, &[]);
        };
        let rules = Rules {
            management: own.peers().collect(),
            // What comes back is read from them.
            vaults: true,
        };
        let prepared = prepare(&rules, &plan.vaults);
        let done = isolate::isolate(&prepared, self.hands.folder)?;
        self.event(&format!("{host} is cut off the network, but for {} ways", prepared.ways.len()));
        let notes = prepared.findings.iter().cloned().chain(done.findings).collect();
        Ok(Told { notes, ..Told::default() })
    }

    /// Gives a host its network back.
    pub(super) fn release(&self, host: &HostName) -> Result<Told> {
        let is_own = self.hands.plan.machine_name(host) == self.book.machine;
        if !is_own || isolate::look(self.hands.folder).is_none() {
            return self.ask(&self.step.kind.to_string(), None, None, &[]);
        }
        let done = isolate::release(self.hands.folder)?;
        self.event(&format!("{host} has its network back"));
        Ok(Told { notes: done.findings, ..Told::default() })
    }

    /// Holds back what a system would do of itself. What can't be held is an error: it must not start then.
    pub(super) fn hold(&self, holds: &[Hold]) -> Result<Told> {
        let held = quarantine::hold(self.system()?, holds, self.hands.folder)?;
        held.held.iter().for_each(|what| self.event(&format!("held back: {what}")));
        Ok(Told { notes: held.findings, ..Told::default() })
    }

    /// Lets go on what was held back.
    pub(super) fn free(&self, holds: &[Hold]) -> Result<Told> {
        let released = quarantine::release(self.system()?, holds, self.hands.folder)?;
        released.released.iter().for_each(|what| self.event(&format!("goes on again: {what}")));
        released
            .still_held
            .iter()
            .for_each(|what| self.event(&format!("held back still, by another system: {what}")));
        Ok(Told { notes: released.findings, ..Told::default() })
    }

    fn system(&self) -> Result<&SystemName> {
        self.step.system.as_ref().ok_or_else(|| Error::new("a step without a system"))
    }
}
