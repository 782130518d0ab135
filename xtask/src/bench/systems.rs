//! How long a plan of many systems takes whoever reads all of it: to check it, and to show what its recovery would do.

use super::measure::measure;
use super::tools::Installed;
use crate::run::{Failure, Result, output};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// What belongs between systems, by the number of each.
type Shape = (&'static str, fn(usize) -> String);

const SHAPES: [Shape; 4] = [("apart", apart), ("chain", chain), ("fan", fan), ("groups", groups)];

/// Returns a table of what plans of so many systems take, each in several shapes.
pub(super) fn systems(tool: &Installed, folder: &Path, counts: &[usize]) -> Result<String> {
    let mut table =
        "| Systems | shape | check | memory | recover --dry-run | memory |\n|---:|---|---:|---:|---:|---:|\n"
            .to_owned();
    let place = folder.join("plan.toml");
    for &count in counts {
        for (name, shape) in SHAPES {
            println!("{count} systems, {name}");
            std::fs::write(&place, plan(folder, count, shape)?)
                .map_err(Failure::at(format_args!("write {}", place.display())))?;
            let mut cells = String::new();
            for verb in [&["check", "--offline"][..], &["recover", "--dry-run"]] {
                let taken = measure(&asked(tool, folder, &place, verb), folder)?;
                write!(cells, " {:.2} s | {:.0} MB |", taken.seconds, taken.peak_bytes / 1e6)
                    .map_err(|_| Failure::new("no memory for a table"))?;
            }
            writeln!(table, "| {count} | {name} |{cells}")
                .map_err(|_| Failure::new("no memory for a table"))?;
        }
    }
    Ok(table)
}

/// There is no point of any of them, and that is what they say: only that it fails otherwise is an error.
fn asked(tool: &Installed, folder: &Path, plan: &Path, verb: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "\"$0\" \"$@\" >/dev/null 2>&1; [ $? -le 2 ]"])
        .arg(tool.program())
        .arg("--trust-plan")
        .arg("--plan")
        .arg(plan)
        .arg("--state")
        .arg(folder.join("no-state"))
        .args(verb);
    command
}

fn plan(folder: &Path, count: usize, shape: fn(usize) -> String) -> Result<String> {
    let host = output(&mut Command::new("hostname"))?;
    let mut text = format!(
        "[organisation]\nname = \"Large\"\n[sites.here]\n[hosts.server]\nsite = \"here\"\nname = {:?}\n[vaults.near]\nurl = \"file://{}\"\nsite = \"here\"\n\
         password = {{ env = \"NOT_ASKED\" }}\n[policy]\nvaults = [\"near\"]\nevery = \"1 hour\"\n",
        host.trim(),
        folder.join("no-vault").display()
    );
    for at in 0..count {
        let with = shape(at);
        text += &format!(
            "[systems.s{at}]\nhost = \"server\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\n{with}recover.stop = {{ service = \"s{at}\" }}\n\
             source.files = {{ paths = [\"/srv/many/{at}\"] }}\n"
        );
    }
    Ok(text)
}

fn apart(_: usize) -> String {
    String::new()
}

fn chain(at: usize) -> String {
    at.checked_sub(1).map_or_else(String::new, |before| format!("needs = [\"s{before}\"]\n"))
}

fn fan(at: usize) -> String {
    if at == 0 { String::new() } else { "needs = [\"s0\"]\n".to_owned() }
}

fn groups(at: usize) -> String {
    match at % 10 {
        0 => String::new(),
        more => format!("consistent_with = [\"s{}\"]\n", at.saturating_sub(more)),
    }
}
