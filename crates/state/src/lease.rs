//! Who runs what now: two runs of one system exclude each other, and a dead one excludes nobody.

use crate::{Grant, Result, State};
use jiff::{SignedDuration, Timestamp};
use std::path::Path;
use std::time::{Duration, Instant};

/// A run that gives no sign for so long is taken for dead.
const RUN_LEASE: SignedDuration = SignedDuration::from_mins(10);
/// How often one who waits for it asks again.
const LEASE_PAUSE: Duration = Duration::from_millis(50);

impl State {
    /// Takes the right to run `system`; `Err` holds who has it.
    pub fn lease_run(
        &self,
        system: &str,
        holder: &str,
        now: Timestamp,
    ) -> Result<std::result::Result<RunLease<'_>, String>> {
        let name = format!("run/{system}");
        if let Some(lease) = self.kv().holder(&name)?
            && is_dead(&lease.holder, holder)
        {
            self.kv().release(&name, lease.token)?;
        }
        Ok(match self.kv().lease(&name, holder, RUN_LEASE, now)? {
            Grant::Held(lease) => Ok(RunLease { state: self, name, token: lease.token }),
            Grant::Taken(lease) => Err(lease.holder),
        })
    }

    /// Returns who runs `system`, unless he is known to be dead; `us` is how we would be called. However long he has given no sign.
    pub fn who_runs(&self, system: &str, us: &str) -> Result<Option<String>> {
        let lease = self.kv().holder(&format!("run/{system}"))?;
        Ok(lease.map(|lease| lease.holder).filter(|holder| !is_dead(holder, us)))
    }

    /// As [`lease_run`](Self::lease_run), and waits as long as `within` for the one who has it. `now` is the clock.
    pub fn lease_run_within(
        &self,
        system: &str,
        holder: &str,
        within: Duration,
        now: fn() -> Timestamp,
    ) -> Result<std::result::Result<RunLease<'_>, String>> {
        let until = Instant::now() + within;
        loop {
            let lease = self.lease_run(system, holder, now())?;
            if lease.is_ok() || Instant::now() >= until {
                return Ok(lease);
            }
            std::thread::park_timeout(LEASE_PAUSE);
        }
    }
}

/// The right to run a system; given back when dropped.
#[derive(Debug)]
pub struct RunLease<'a> {
    state: &'a State,
    name: String,
    token: u64,
}

impl Drop for RunLease<'_> {
    fn drop(&mut self) {
        // What can't be given back expires.
        let _ = self.state.kv().release(&self.name, self.token);
    }
}

/// Holders are `host/boot id/process`: one on this boot of this host whose process is gone is dead, and so is one of an earlier boot.
fn is_dead(holder: &str, us: &str) -> bool {
    let (Some((there, process)), Some((here, _))) = (holder.rsplit_once('/'), us.rsplit_once('/')) else {
        return false;
    };
    let (Some((host, boot)), Some((our_host, our_boot))) = (there.split_once('/'), here.split_once('/'))
    else {
        return false;
    };
    host == our_host && (boot != our_boot || !Path::new("/proc").join(process).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_runs_a_system_at_a_time_and_a_dead_one_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let now = || Timestamp::from_second(1_700_000_000).unwrap();
        let us = format!("host/boot/{}", std::process::id());
        let held = state.lease_run("shop", &us, now()).unwrap().unwrap();
        assert!(state.lease_run("shop", "other/boot/1", now()).unwrap().is_err());
        drop(held);
        let gone = state.lease_run("shop", "host/earlier-boot/1", now()).unwrap().unwrap();
        std::mem::forget(gone);
        assert!(state.lease_run("shop", &us, now()).unwrap().is_ok());
    }
}
