//! Somebody types Ctrl-C in the middle of a recovery, or the machine is told to stop: it is left where it can go on, and told a second time it ends at once.

use crate::show::Screen;
use engine::recover::Recovered;
use engine::{Observer, Question, Reply};
use plan::SystemName;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use vault::Progress;

/// The screen of a recovery, with whether somebody wants to leave it.
pub(super) struct Leaving<'a> {
    screen: &'a Screen,
    wanted: Arc<AtomicBool>,
}

impl<'a> Leaving<'a> {
    /// From here on the first signal asks to leave, and the second ends the process as it does any other.
    pub(super) fn watch(screen: &'a Screen) -> Self {
        let wanted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order. Where it can't be had, the first one ends it, and it goes on as after any death.
            if signal_hook::flag::register_conditional_default(signal, Arc::clone(&wanted)).is_ok() {
                let _ = signal_hook::flag::register(signal, Arc::clone(&wanted));
            }
        }
        Self { screen, wanted }
    }

    /// Returns whether it was left with something to do, and says then how it goes on.
    pub(super) fn say(&self, recovered: &Recovered, is_noted: bool) -> bool {
        if !self.wanted.load(Relaxed) || !recovered.is_open {
            return false;
        }
        let system = recovered.systems.first().map_or("", |entry| entry.system.0.as_str());
        self.screen.line(&match is_noted {
            true => format!(
                "interrupted, and not done: the same command goes on where it is, or releve recover --resume {system}; releve recover --show says what is left"
            ),
            false => {
                "interrupted, and not done: the same command begins again, and leaves alone what is right".to_owned()
            }
        });
        true
    }
}

impl Observer for Leaving<'_> {
    fn event(&self, system: Option<&SystemName>, text: &str) {
        self.screen.event(system, text);
    }

    fn ask(&self, question: &Question<'_>, settled: &dyn Fn() -> bool) -> Option<Reply> {
        self.screen.ask(question, settled)
    }

    fn progress(&self, system: &SystemName, progress: &Arc<Progress>) {
        self.screen.progress(system, progress);
    }

    fn leaves(&self) -> bool {
        self.wanted.load(Relaxed)
    }
}
