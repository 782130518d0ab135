//! What was promised, and what is to be done: the plan file and every decision that follows from it.
//!
//! Pure: values in, values out; no file is opened, no clock is read. Read in this order: [`parse`] (text to
//! [`Plan`], with every mistake at once), [`judge`](mod@judge) (what a restore point is worth), [`choose`] (which one is taken), [`Runbook`] (what a recovery will do, with no choice left
//! open), [`outlook`] (how that goes while it is carried out), [`forecast`], [`keep`] (which points stay), [`schedule`], [`immutable`], [`notify`] (who is told, by what, and who after them).
//!
//! ```
//! let file = plan::SourceFile { name: "plan.toml".into(), text: "[organisation]\nnam = \"Dupont\"\n".into() };
//! let parsed = plan::parse(&[file]);
//! assert!(parsed.plan.is_none());
//! assert!(parsed.diagnostics.iter().any(|d| d.help.as_deref() == Some("write `name`")));
//! ```

pub mod alerts;
mod amount;
mod bandwidth;
mod check;
mod choose;
mod correct;
mod course;
pub mod crash;
pub mod deleted;
mod diagnostic;
pub mod difference;
pub mod dropped;
pub mod forecast;
mod group;
pub mod immutable;
pub mod instant;
pub mod judge;
pub mod keep;
mod log;
mod model;
mod notes;
pub mod notify;
mod order;
pub mod outlook;
pub mod paths;
mod peer;
mod read;
mod reader;
mod room;
pub mod ruined;
mod runbook;
pub mod scenarios;
pub mod schedule;
mod schema;
pub mod scrambled;
mod span;
mod together;
mod vouch;

pub use amount::{Period, Share, Size};
pub use bandwidth::{Bandwidth, BandwidthRule, Limited, Rate, TimeOfDay};
pub use choose::{BROKEN, Choice, Facts, LeftOut, NoChoice, Until, Unvouched, Wanted, choose};
pub use correct::{Corrected, Remembered, correct, remember};
pub use course::{Course, StepState, Verdict, after_crash, judge};
pub use crash::Crash;
pub use diagnostic::{Diagnostic, Severity, SourceFile, Text};
pub use group::{Group, common_instant, companions, grouped};
pub use log::{LogFacts, Passage, Reaches, Stretch, Timeline};
pub use model::*;
pub use notes::nearest;
pub use order::{Ordered, recovery_order};
pub use peer::{Network, NoPeer, Peer, Place};
pub use read::{Parsed, Remark, parse};
pub use room::Room;
pub use runbook::{
    Available, CameBack, OnlyIf, Replay, Restore, Runbook, RunbookInput, Standing, Step, StepKind, Unreached,
    left_then, runbook,
};
pub use schema::schema;
pub use together::Together;
pub use vouch::{Vouchers, Withheld};
