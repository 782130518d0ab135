//! Packs that an index names and that are not there any more: whoever adds to a vault must not make do with what they held.
//!
//! An index stays when packs go: a disk that dies, a hand that slips, an intruder. So before anything is left out because the index names it,
//! the packs are listed where that costs little, and what is gone is forgotten: then it is stored anew by itself.

use crate::mutex::lock;
use crate::store::{listing, place};
use crate::{Error, FileId, FileKind, Repository, Result};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// A distant vault is listed no more often, unless it is in doubt: that is a request for each thousand packs, or one for each of 256 folders.
const EVERY: SignedDuration = SignedDuration::from_hours(24);
/// A log is carried many times a minute: so long one look is enough for it.
pub(crate) const SELDOM: Duration = Duration::from_secs(5 * 60);
/// What can't be read so soon after a look is damaged, and not gone.
const JUST_NOW: Duration = Duration::from_secs(60 * 60);

impl Repository {
    /// Says that something in it was found bad: whoever adds to it next looks whether its packs are there.
    pub fn doubt(&self) {
        self.doubted.store(true, Relaxed);
    }

    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.load(Relaxed)
    }

    /// Something that the index names could not be read: returns whether its packs have to be looked for, as they weren't just now.
    pub(crate) fn grows_doubtful(&self) -> bool {
        let is_sure = lock(&self.looked).is_some_and(|looked| looked.elapsed() < JUST_NOW);
        if !is_sure {
            self.doubt();
        }
        !is_sure
    }

    /// Returns how many packs were gone, or of a wrong length, when they were looked for last: nothing that they held is counted on.
    #[must_use]
    pub fn packs_gone(&self) -> u64 {
        self.catalogue().gone().len() as u64
    }

    /// Looks for the packs that the index names, where that is cheap or due, and returns as [`packs_gone`](Self::packs_gone) does. The index
    /// is loaded. A vault that can't be listed is no proof of anything, and shows itself in what follows.
    pub fn look_for_packs(&self) -> u64 {
        self.look_for_packs_within(Duration::ZERO)
    }

    /// As [`look_for_packs`](Self::look_for_packs), for what comes many times a minute: a look of the last minutes is good enough.
    pub fn look_for_packs_seldom(&self) -> u64 {
        self.look_for_packs_within(SELDOM)
    }

    pub(crate) fn look_for_packs_within(&self, within: Duration) -> u64 {
        if self.is_look_due(within) {
            *lock(&self.looked) = Some(Instant::now());
            let _ = self.forget_gone();
        }
        self.packs_gone()
    }

    fn is_look_due(&self, within: Duration) -> bool {
        let looked = *lock(&self.looked);
        if looked.is_some_and(|looked| looked.elapsed() < within) {
            return false;
        }
        if self.store().is_local() || self.is_doubted() {
            return true;
        }
        let Some(cache) = self.cache() else { return true };
        let now = Timestamp::now();
        // A time that is yet to come was noted by a clock that was wrong.
        cache.looked().is_none_or(|looked| looked > now || now.duration_since(looked) > EVERY)
    }

    /// Forgets what packs held that are not there. Nobody has to be kept out meanwhile: what was named before the listing and is named after
    /// it was there all the time, or it is gone.
    fn forget_gone(&self) -> Result<()> {
        let listed = listing(self.store(), FileKind::Pack)?;
        let sizes: HashMap<FileId, u64> =
            listed.iter().filter_map(|listed| Some((listed.name.parse().ok()?, listed.size))).collect();
        let (lacking, is_back) = {
            let catalogue = self.catalogue();
            let is_back = catalogue.gone().iter().any(|(id, length)| sizes.get(id) == Some(length));
            (catalogue.lacking(&sizes), is_back)
        };
        if !lacking.is_empty() || is_back {
            let known = self.catalogue_mut().take_gone();
            if let Err(error) = self.load_index() {
                self.catalogue_mut().forget(known);
                return Err(error);
            }
            let mut gone = self.catalogue().lacking(&sizes);
            gone.retain(|id, _| lacking.contains_key(id) || known.contains_key(id));
            if let Some((id, length)) = gone.iter().next()
                && self.store().size(FileKind::Pack, &id.to_string())? == Some(*length)
            {
                let place = place(self.store(), "list", FileKind::Pack, &id.to_string());
                return Err(Error::damaged(place, "it is there, and the listing lacks it"));
            }
            self.catalogue_mut().forget(gone);
        }
        let all_there = self.packs_gone() == 0;
        if let Some(cache) = self.cache() {
            cache.keep_looked(all_there.then(Timestamp::now));
        }
        self.doubted.store(false, Relaxed);
        Ok(())
    }
}
