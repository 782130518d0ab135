//! What a look at the vaults comes to: what is taken of it, and what is told.

use super::Session;
use engine::judge::Witness;
use engine::survey::Survey;
use engine::vanished::{Known, Vanished};
use engine::vaults::Opened;
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

    /// Passes over the logs of a survey that nobody vouches for who should.
    pub(crate) fn vouched(&self, state: Option<&State>, survey: Survey) -> Survey {
        let witness = state.map_or_else(Witness::default, |state| self.witness_in(state));
        survey.vouched(&self.plan, &witness)
    }
}
