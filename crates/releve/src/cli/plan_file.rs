//! `releve plan`: the plan that the agent goes by, and a person's word for a new one.

use crate::cli::Global;
use crate::session::origin::{Found, look, name_of, note_edited};
use crate::session::{holder, open_state, plan_path, state_dir};
use crate::{Exit, Failure, Outcome, show};
use jiff::Timestamp;
use plan::difference::{Line, difference};
use serde_json::json;
use state::{Accepted, Record, State, accepted};

/// What `plan` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve plan accept          shows what differs from the plan that was accepted before, and asks\n  releve plan accept --yes    for scripts that have looked at it themselves\n\n\
    The agent takes over by itself what nobody but its own user could have written: of root, a file that is root's in folders that are root's.\n\
    What somebody else has written it goes by once it was accepted."
)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Take the plan as it is now: from then on the agent goes by it
    Accept {
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) fn run(global: &Global, options: &Options) -> Outcome {
    let Verb::Accept { yes } = options.verb;
    let found = look(&plan_path(global)?)?;
    let parsed = plan::parse(&found.files);
    if parsed.plan.is_none() {
        show::diagnostics(&parsed.diagnostics, global.json);
        return Err(Failure::Said(Exit::Plan));
    }
    let state = open_state(&state_dir(global)?)?;
    let records = state.records()?;
    let before = accepted(&records, &name_of(&found.path)).map(|(_, accepted)| accepted.hash.clone());
    let hash = found.fingerprint();
    let is_known = before.as_ref() == Some(&hash);
    let old = before.as_ref().map(|hash| state.plan_text(hash)).transpose()?.flatten().unwrap_or_default();
    let lines = differences(&old, &found);
    if !global.json {
        say(&found, is_known, before.is_some() && old.is_empty(), &lines);
    }
    if !is_known {
        let way_out = "--yes for scripts; nothing was accepted";
        if let Some(exit) = show::refused_but(yes, "Accept this plan?", way_out) {
            return Ok(exit);
        }
        note(&state, &found, "said")?;
    }
    // Whatever was told of it: it is as somebody wants it.
    note_edited(&state, &found.path, None)?;
    if global.json {
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        show::print_json(&json!({ "plan": found.path, "hash": hash, "before": before, "difference": lines,
            "objections": found.objections.iter().map(|found| &found.why).collect::<Vec<_>>() }));
    } else if !is_known {
        println!("accepted: {} (SHA-256 {hash})", found.path.display());
    }
    Ok(Exit::Done)
}

/// Returns what is new in each file, what is gone, and the name of the file before it.
fn differences(old: &[(String, String)], found: &Found) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |name: &str, before: &str, now: &str| {
        let differs = difference(before, now);
        if !differs.is_empty() {
            lines.push(Line::Name(name.to_owned()));
            lines.extend(differs);
        }
    };
    for file in &found.files {
        let before = old.iter().find(|(name, _)| *name == file.name);
        add(&file.name, before.map_or("", |(_, text)| text.as_str()), &file.text);
    }
    for (name, text) in old.iter().filter(|(name, _)| !found.files.iter().any(|file| file.name == *name)) {
        add(name, text, "");
    }
    lines
}

fn say(found: &Found, is_known: bool, is_lost: bool, lines: &[Line]) {
    for objection in &found.objections {
        eprintln!("warning: {}", objection.why);
        eprintln!("  hint: {}", objection.way_out);
    }
    if is_known {
        println!("this plan is accepted already: {}", found.path.display());
        return;
    }
    if is_lost {
        eprintln!("what was accepted before is not kept any more: this is all of it");
    }
    for line in lines {
        println!("{line}");
    }
}

/// Notes that this plan is accepted, and returns the record of that.
pub(super) fn note(state: &State, found: &Found, how: &str) -> engine::Result<Record> {
    let path = name_of(&found.path);
    let before = accepted(&state.records()?, &path).map(|(_, accepted)| accepted.hash.clone());
    let user = holder().username;
    // Whoever became root by sudo has a name of his own.
    let by = match std::env::var("SUDO_USER").ok().filter(|sudo| *sudo != user && !sudo.is_empty()) {
        Some(sudo) => format!("{user} ({sudo})"),
        None => user,
    };
    let files: Vec<_> = found.files.iter().map(|file| (file.name.clone(), file.text.clone())).collect();
    let accepted = Accepted { path, hash: found.fingerprint(), before, by, how: how.to_owned() };
    Ok(state.accept_plan(accepted, &files, Timestamp::now())?)
}
