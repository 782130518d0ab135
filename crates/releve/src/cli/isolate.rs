//! `releve isolate`: cuts this machine off the network, but for those who bring it back.

use crate::cli::Global;
use crate::session::{holder, origin, plan_path, state_dir};
use crate::show::{self, Screen, time};
use crate::{Exit, Outcome};
use engine::Error;
use engine::isolate::{Isolated, Prepared, Rules, Standing, isolate, look, prepare};
use plan::{Peer, Plan};
use serde_json::json;
use std::net::IpAddr;

/// What `isolate` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve isolate --dry-run                     who would still get through, and the rules\n  \
    releve isolate                               cut this machine off, but for hosts.NAME.management of the plan\n  \
    releve isolate --keep-vaults                 … and the vaults, so that it can be recovered meanwhile\n  \
    releve isolate --management 192.0.2.10 --yes without a question; works without a plan\n\n\
    Loads one table of its own into the packet filter (nftables, apt install nftables) and touches no other. Standing connections are cut too.\n\
    `releve release` gives back exactly what was. A reboot undoes it: `releve status` says so. Whoever is root on this machine can undo it as\n\
    well: against such an intruder pull the cable, or shut the port of the switch.\n\
    Exit status 1: it is cut off, but something is not as it was asked for; it is named."
)]
pub(super) struct Options {
    /// Who still gets through, beside the plan's: an address, a network or a name, with :PORT if wanted
    #[arg(long, value_name = "ADDRESS")]
    management: Vec<Peer>,
    /// Keep the plan's vaults reachable, for a recovery on this machine, and the resolvers where vaults have names
    #[arg(long)]
    keep_vaults: bool,
    /// Show who would get through and what would be loaded, and stop
    #[arg(long)]
    dry_run: bool,
    /// Don't ask, even if your own connection is cut
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(global: &Global, options: &Options) -> Outcome {
    let screen = Screen::new(global.json, false);
    let mut warnings = Vec::new();
    let (rules, vaults) = match usable_plan(global) {
        Ok(plan) => {
            let machine = holder().hostname;
            let mut rules = Rules { management: options.management.clone(), vaults: options.keep_vaults };
            let host = plan.hosts.iter().find(|(name, _)| plan.machine_name(name) == machine);
            match host {
                Some((_, host)) => rules.management.extend(host.peers()),
                None => warnings
                    .push(format!("no host of the plan is called {machine}: its `management` isn't known")),
            }
            (rules, plan.vaults)
        }
        // On such a day the plan may be out of reach: whoever names a way in himself needs none.
        Err(error) if !options.management.is_empty() => {
            warnings.push(format!("{error}: only --management gets through"));
            (
                Rules { management: options.management.clone(), vaults: false },
                std::collections::BTreeMap::new(),
            )
        }
        Err(error) => {
            let help = "without it name the way in by hand: releve isolate --management 192.0.2.10";
            return Err(error.help(help).into());
        }
    };
    let prepared = prepare(&rules, &vaults);
    warnings.extend(prepared.findings.iter().cloned());
    let not_cut = prepared.passing_by.iter();
    warnings.extend(not_cut.map(|what| format!("not cut off, since it passes by this machine: {what}")));
    let cut = who_is_cut(&prepared);
    let state = state_dir(global)?;
    let before = look(&state);
    if !global.json {
        say(&screen, &prepared, before.as_ref(), &warnings, &cut);
    }
    if options.dry_run {
        if global.json {
            show::print_json(&document(&prepared, &warnings, &cut, None));
        } else {
            page!("{}", prepared.script());
        }
        return Ok(Exit::Done);
    }
    if let Some(exit) = show::refused(options.yes, "Cut this machine off?") {
        return Ok(exit);
    }
    let done = isolate(&prepared, &state)?;
    warnings.extend(done.findings.iter().cloned());
    screen.line(match done.changed {
        true => "isolated. `releve release` gives back what was",
        false => "it is isolated like that already",
    });
    done.findings.iter().for_each(|finding| screen.line(&format!("  {finding}")));
    if global.json {
        show::print_json(&document(&prepared, &warnings, &cut, Some(done.changed)));
    }
    Ok(if warnings.is_empty() { Exit::Done } else { Exit::Finding })
}

fn usable_plan(global: &Global) -> engine::Result<Plan> {
    let path = plan_path(global)?;
    let found = origin::believed(&path, &state_dir(global)?)?;
    plan::parse(&found.files)
        .plan
        .ok_or_else(|| Error::new(format!("the plan {} is wrong (`releve check` says how)", path.display())))
}

fn document(
    prepared: &Prepared,
    warnings: &[String],
    cut: &[String],
    changed: Option<bool>,
) -> serde_json::Value {
    json!({ "isolated": changed.is_some(), "changed": changed, "ways": prepared.ways, "cut": cut, "findings": warnings,
        "rules": prepared.script() })
}

fn say(screen: &Screen, prepared: &Prepared, before: Option<&Isolated>, warnings: &[String], cut: &[String]) {
    let machine = holder().hostname;
    if let Some(before) = before {
        screen.line(&standing(before));
    }
    screen.line(&format!("{machine} would be cut off from everything but:"));
    prepared.ways.iter().for_each(|way| screen.line(&format!("  {way}")));
    screen.line("  itself");
    screen.line("Connections that stand are cut as well, and so are containers that it forwards for.");
    warnings.iter().for_each(|warning| screen.line(&format!("warning: {warning}")));
    cut.iter().for_each(|cut| screen.line(&format!("WARNING: {cut}")));
}

/// Returns how it stands, as a line.
pub(super) fn standing(isolated: &Isolated) -> String {
    let since = isolated.since.map_or_else(String::new, |since| format!(" since {}", time(since)));
    match &isolated.standing {
        Standing::Holds { dropped } => {
            format!("this machine is isolated{since}; {dropped} packets were stopped")
        }
        Standing::Changed => {
            format!(
                "this machine is isolated{since}, and NOT AS IT WAS ASKED FOR: somebody changed the rules; releve isolate loads them anew"
            )
        }
        Standing::Gone { why } => format!(
            "this machine is NOT ISOLATED any more, as it was{since}: {why}; releve isolate loads them anew, releve release forgets it"
        ),
        Standing::Unknown { why } => {
            format!("this machine was isolated{since}; whether it still is can't be seen: {why}")
        }
    }
}

/// Returns what a person loses who cuts this machine off like that.
fn who_is_cut(prepared: &Prepared) -> Vec<String> {
    let mut cut = Vec::new();
    if prepared.has_no_management() {
        cut.push(
            "nobody gets in any more, by ssh either: only who stands before this machine releases it"
                .to_owned(),
        );
        if prepared.ways.is_empty() {
            cut.push("write hosts.NAME.management into the plan, or add --management ADDRESS".to_owned());
        }
    } else if let Some((from, port)) = own_session().filter(|(from, port)| !prepared.lets_in(*from, *port)) {
        cut.push(format!(
            "your own connection comes from {from} to port {port} and is cut: add --management {from}"
        ));
    }
    cut
}

/// Returns from where, and to which port, the person is connected by ssh who typed this. `sudo` hides it from us, not from those above us.
fn own_session() -> Option<(IpAddr, u16)> {
    let parsed = |text: &str| {
        let mut fields = text.split(' ');
        Some((fields.next()?.split('%').next()?.parse().ok()?, fields.nth(2)?.parse().ok()?))
    };
    if let Ok(text) = std::env::var("SSH_CONNECTION") {
        return parsed(&text);
    }
    let mut pid = std::process::id();
    // Nobody nests deeper; a circle can't be.
    for _ in 0..64 {
        // proc_pid_stat(5): after the name in parentheses come the state and the parent.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        pid =
            stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok().filter(|parent| *parent > 1)?;
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let found =
            environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"SSH_CONNECTION="));
        if let Some(text) = found {
            return parsed(&String::from_utf8_lossy(text));
        }
    }
    None
}
