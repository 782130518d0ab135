//! What a look at the vaults comes to: what is taken of it, and what is told.

use super::Session;
use engine::judge::Witness;
use engine::signers::Signer;
use engine::survey::{Listings, Survey};
use engine::vanished::{Known, Vanished, look_without};
use engine::vaults::Opened;
use jiff::Timestamp;
use state::State;

impl Session {
    /// As [`vanished`](Self::vanished), with the survey as it is taken: without the logs that nobody vouches for who should. In this order: the look learns the keys.
    pub(crate) fn looked(
        &self,
        state: Option<&State>,
        known: &Known,
        vaults: &[Opened],
        survey: Survey,
    ) -> (Survey, Vanished) {
        let vanished = self.vanished(state, known, vaults, &survey);
        (self.vouched(state, survey), vanished)
    }

    /// Notes for the alerts which vaults could be listed. One that another machine fills may be as it is.
    pub(crate) fn note_listings(&self, state: &State, listings: &Listings) {
        let noted = listings.note(state, |vault| self.check_writes(vault).is_ok(), Timestamp::now());
        if let Err(error) = noted {
            eprintln!("warning: which vaults can be listed could not be noted for the alerts: {error}");
        }
    }

    /// Passes over the logs of a survey that nobody vouches for who should.
    pub(crate) fn vouched(&self, state: Option<&State>, survey: Survey) -> Survey {
        survey.vouched(&self.plan, &self.witness_if(state))
    }

    /// Returns what is known of points: without a state, what they say, and which key is this machine's own.
    pub(crate) fn witness_if(&self, state: Option<&State>) -> Witness {
        let machine = self.holder.hostname.as_str();
        let without =
            || self.signing_key().map_or_else(Witness::default, |key| Witness::of_key(machine, &key));
        state.map_or_else(without, |state| self.witness_in(state))
    }

    /// Returns the public half of the key that signs here, which lies beside the state, if there is one that can be read: that it can't is said by whoever signs.
    pub(crate) fn signing_key(&self) -> Option<String> {
        Signer::public_in(&self.state_dir).ok().flatten()
    }

    /// Returns what isn't what it says where there is no state, by the key that lies beside it.
    pub(super) fn strange_without(&self, key: Option<&str>, survey: &Survey) -> Vanished {
        let witness = key.map(|key| Witness::of_key(&self.holder.hostname, key));
        let look = |witness: Witness| look_without(&self.plan, &witness, survey, Timestamp::now());
        witness.map_or_else(Vanished::default, look)
    }
}
