//! What can be typed. A file for each verb.

mod ack;
mod agent;
mod alerts;
mod answer;
mod backup;
mod check;
mod claim;
mod immutable;
mod incident;
mod init;
mod isolate;
mod key;
mod notify;
mod plan_file;
mod points;
mod prune;
mod pull;
mod recover;
mod release;
mod repair;
mod restore;
mod scenarios;
mod state;
mod status;
mod sync;
mod undelete;
mod unfinished;
mod verify;
mod wal;

pub(crate) use backup::{is_stopped, was_ended};

use crate::session::Session;
use crate::{Exit, Outcome};
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Gets a company back to work after its server crashes.
///
/// Exit status: 0 done; 1 done with something missing or a finding; 2 could not do it; 64 wrong usage; 65 the plan is wrong.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Begin with: releve init --dir .\nTry it without any risk: releve demo"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The plan: a file, or a folder of .toml files [default: ./plan.toml, then /etc/releve/plan.toml; for root the other way round]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) plan: Option<PathBuf>,
    /// Where Relève remembers what happened [default: /var/lib/releve for root, else $XDG_STATE_HOME/releve, or ~/.local/state/releve]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Take the plan and its secrets as they are, whoever could have written them: docs/security.md
    #[arg(long, global = true)]
    pub(crate) trust_plan: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Look at this machine and write a commented plan
    Init(init::Options),
    /// Say what is wrong with the plan, all at once
    Check(check::Options),
    /// Say that the plan is right as it is now: the agent goes by no other
    Plan(plan_file::Options),
    /// Make a restore point of each system, in every vault of its policy
    Backup(backup::Options),
    /// List the restore points that the vaults hold
    Points(points::Options),
    /// Put a restore point back into a folder
    Restore(restore::Options),
    /// Bring systems back after a crash: restore, start, check, in the right order
    Recover(recover::Options),
    /// List the scenarios, those of the plan and those that ship, and write them out for the plan
    Scenarios(scenarios::Options),
    /// Say that what a step of the recovery asks for is done, or decided
    Answer(answer::Options),
    /// Handle a crash: who leads, who does what, what happened, what was decided and why
    Incident(incident::Options),
    /// Cut this machine off the network, but for those who bring it back
    Isolate(isolate::Options),
    /// Give this machine the network back that `isolate` took
    Release(release::Options),
    /// Check that the vaults hold what they should
    Verify(verify::Options),
    /// Heal a vault: lost indexes from its packs, damage from other vaults
    Repair(repair::Options),
    /// Take out points that no rule keeps, and give back their room
    Prune(prune::Options),
    /// Copy points to vaults that lack them
    Sync(sync::Options),
    /// Prove that nobody can delete what is in a vault, and see to it that it stays so
    Immutable(immutable::Options),
    /// Bring back what somebody hid or overwrote in a vault that keeps versions
    Undelete(undelete::Options),
    /// Look after the keys of the vaults: passwords, the master key, and whether the ones in the safe still open
    Key(key::Options),
    /// If this crashed now: what would be lost, and what is known of getting it back
    Status(status::Options),
    /// Run the schedule of the plan until stopped
    Agent(agent::Options),
    /// List what is wrong and whom it was told
    Alerts(alerts::Options),
    /// Tell people what happened and what to do, and see who can be reached
    Notify(notify::Options),
    /// Say that you have a message: what to type stands in it
    Ack(ack::Options),
    /// What PostgreSQL calls to keep its WAL, and to get it back
    Wal(wal::Options),
    /// Look after what Relève remembers
    State(state::Options),
    /// Print the JSON Schema of the plan, for editors
    #[command(after_help = "Examples:\n  releve schema > plan.schema.json")]
    Schema,
    /// Print a completion script for a shell
    #[command(
        after_help = "Examples:\n  releve completions bash > /usr/share/bash-completion/completions/releve"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Build a small company, crash it in five ways, and bring it back each time
    #[cfg(feature = "demo")]
    Demo(crate::demo::Options),
    /// The web shop of the demo's company
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    DemoShop(crate::demo::ShopOptions),
}

impl Verb {
    /// Returns whether it does more than show something.
    fn acts(&self) -> bool {
        match self {
            Self::Check(_) | Self::Points(_) | Self::Scenarios(_) | Self::Status(_) => false,
            Self::Schema | Self::Completions { .. } => false,
            Self::Recover(options) => !options.only_watches(),
            Self::Incident(options) => !options.only_watches(),
            _ => true,
        }
    }

    /// Returns whether it only prints what it has done: no secret, and nothing that was asked for itself.
    fn reports(&self) -> bool {
        self.acts() && !matches!(self, Self::Key(_) | Self::Init(_))
    }
}

pub(crate) fn run(arguments: Arguments) -> Outcome {
    let Arguments { global, verb } = arguments;
    if global.trust_plan {
        crate::session::origin::trust();
    }
    if verb.acts() {
        // Whoever asks whether the holder of a lock is alive may ask by this signal (restic does); and a line that is cut is no reason to leave a recovery half-way.
        let unheard = std::sync::Arc::default();
        let _ = signal_hook::flag::register(signal_hook::consts::SIGHUP, unheard);
        crate::print::go_on();
    }
    if verb.reports() {
        crate::print::report();
    }
    match verb {
        Verb::Init(options) => init::run(&global, &options),
        Verb::Check(options) => check::run(&global, &options),
        Verb::Plan(options) => plan_file::run(&global, &options),
        Verb::Key(options) => key::run(&global, &options),
        Verb::Isolate(options) => isolate::run(&global, &options),
        Verb::Release(options) => release::run(&global, &options),
        Verb::Schema => {
            page!("{:#}", plan::schema());
            Ok(Exit::Done)
        }
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "releve", &mut script);
            crate::print::raw(&script);
            Ok(Exit::Done)
        }
        #[cfg(feature = "demo")]
        Verb::Demo(options) => crate::demo::run(&global, &options),
        #[cfg(feature = "demo")]
        Verb::DemoShop(options) => crate::demo::shop(&options),
        verb => {
            // Those that go on all the time, and those that say how that goes.
            let session = match verb {
                Verb::Agent(_) | Verb::Status(_) | Verb::Alerts(_) => Session::in_force(&global)?,
                _ => Session::new(&global)?,
            };
            match verb {
                Verb::Backup(options) => backup::run(&session, &options),
                Verb::Points(options) => points::run(&session, &options),
                Verb::Restore(options) => restore::run(&session, &options),
                Verb::Recover(options) => recover::run(&session, &options),
                Verb::Scenarios(options) => scenarios::run(&session, &options),
                Verb::Incident(options) => incident::run(&session, &options),
                Verb::Verify(options) => verify::run(&session, &options),
                Verb::Repair(options) => repair::run(&session, &options),
                Verb::Prune(options) => prune::run(&session, &options),
                Verb::Sync(options) => sync::run(&session, &options),
                Verb::Immutable(options) => immutable::run(&session, &options),
                Verb::Undelete(options) => undelete::run(&session, &options),
                Verb::Status(options) => status::run(&session, &options),
                Verb::Agent(options) => agent::run(&session, &options),
                Verb::Alerts(options) => alerts::run(&session, &options),
                Verb::Notify(options) => notify::run(&session, &options),
                Verb::Ack(options) => ack::run(&session, &options),
                Verb::Answer(options) => answer::run(&session, &options),
                Verb::Wal(options) => wal::run(&session, &options),
                Verb::State(options) => state::run(&session, &options),
                _ => Ok(Exit::Usage),
            }
        }
    }
}

/// Returns what is raised when one of these signals comes.
pub(crate) fn raised_by(signals: &[i32]) -> engine::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in signals {
        signal_hook::flag::register(*signal, Arc::clone(&flag))
            .map_err(|error| engine::Error::new(error.to_string()))?;
    }
    Ok(flag)
}
