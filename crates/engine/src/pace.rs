//! What the plan allows to be sent to a vault, as the vault's store is told.

use plan::TimeOfDay;
use std::sync::Arc;
use vault::store::{Limits, Pace};

/// Tells the time of day of this machine.
pub type Clock = Arc<dyn Fn() -> TimeOfDay + Send + Sync>;

/// Returns the bounds of calls on a vault: what is sent is held to the plan's rate of the hour, what is read never.
pub(crate) fn limits(vault: &plan::Vault, clock: &Clock) -> Limits {
    let pace = vault.bandwidth.clone().map(|bandwidth| {
        let clock = Arc::clone(clock);
        Pace::new(move || bandwidth.at(clock()).map(|now| now.limit.bytes_per_second()))
    });
    Limits { pace, ..Limits::default() }
}
