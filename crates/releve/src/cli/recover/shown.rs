//! What a person reads of a recovery: what it will do, and what it did.

use crate::session::Session;
use crate::show::{self, size};
use engine::blast;
use engine::recover::{Measured, Recovered, SystemRecovered};
use plan::crash::lost;
use plan::{Crash, Period, Plan, Runbook, Source, Step, StepKind, SystemName};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// How much of a failure stands in the table, in characters.
const CELL_MAX: usize = 60;
/// So many systems are named in a command.
const NAMED_MAX: usize = 12;

pub(super) fn print_book(book: &Runbook, session: &Session) {
    let name = |name: &SystemName| {
        session.plan.systems.get(name).map_or_else(|| name.0.clone(), |system| system.title(name).to_owned())
    };
    match &book.scenario {
        Some(scenario) => eprintln!("Recovery after `{scenario}` on {}", book.machine),
        None => eprintln!("Recovery on {}", book.machine),
    }
    let mut steps: HashMap<&SystemName, Vec<&Step>> = HashMap::new();
    for step in &book.steps {
        if let Some(system) = &step.system {
            steps.entry(system).or_default().push(step);
        }
    }
    for restore in &book.systems {
        let point = &restore.choice.point;
        eprintln!();
        eprintln!("  {} ({})", name(&restore.system), restore.system);
        eprintln!(
            "    point     {} of {}: {}",
            point.id.get(..8).unwrap_or(&point.id),
            show::time(point.time),
            show::dates(&restore.choice.reasons.join("; "))
        );
        let crash = restore.crash.as_ref().filter(|_| !restore.clock_behind);
        let counted = crash.map_or_else(String::new, |crash| format!(", {}", counted(crash)));
        let lost = lost(restore.choice.loss, restore.rpo, restore.clock_behind);
        eprintln!("    loses     {lost} (promised at most {}){counted}", restore.rpo);
        let vaults: Vec<_> = restore.vaults.iter().map(|vault| vault.0.as_str()).collect();
        let most = if restore.only.is_empty() { "" } else { "at most " };
        eprintln!(
            "    reads     {most}{} files, {} from {}",
            point.regular(),
            size(point.bytes),
            vaults.join(", then ")
        );
        // What is fed to a server or put in the place of a file comes whole.
        let source = session.plan.systems.get(&restore.system).and_then(|system| system.source.as_ref());
        let is_compared = matches!(source, Some(Source::Files(_) | Source::Postgres(_)));
        let differs = if is_compared { " where it differs" } else { "" };
        for standing in &restore.standing {
            match &standing.what {
                Some(what) => eprintln!("    replaces  {} ({what}){differs}", standing.path),
                None => eprintln!("    creates   {}", standing.path),
            }
        }
        restore.left.iter().for_each(|path| eprintln!("    leaves    {path}: the plan does not name it"));
        for step in steps.get(&restore.system).into_iter().flatten() {
            print_step(book, step);
        }
    }
    print_groups(book);
    print_blast(book);
    let of_all = book.steps.iter().zip(book.at_end()).filter(|(step, _)| step.system.is_none());
    let (after, before): (Vec<_>, Vec<_>) = of_all.partition(|(_, at_end)| *at_end);
    for (title, steps) in [("first", before), ("at the end", after)] {
        if !steps.is_empty() {
            eprintln!();
            eprintln!("  {title}");
        }
        steps.into_iter().for_each(|(step, _)| print_step(book, step));
    }
    eprintln!();
    book.warnings.iter().for_each(|warning| eprintln!("warning: {}", show::dates(warning)));
    book.blockers.iter().for_each(|blocker| eprintln!("can't go on: {}", show::dates(blocker)));
    let systems: Vec<&SystemName> = book.systems.iter().map(|entry| &entry.system).collect();
    others(&book.blockers, &systems, &session.plan).iter().for_each(|way| eprintln!("hint: {way}"));
}

/// Names the way for those systems that come back without the ones that can't; `None` where there are none, or what is in the way is in the way of all.
fn others(blockers: &[String], systems: &[&SystemName], plan: &Plan) -> Option<String> {
    let of = |blocker: &String| Some(blocker.strip_prefix('`')?.split_once("`: ")?.0.to_owned());
    let mut barred: BTreeSet<String> = blockers.iter().map(of).collect::<Option<_>>()?;
    let count = barred.len();
    loop {
        let is_barred = |name: &SystemName| barred.contains(&name.0);
        let waits = |name: &SystemName| {
            let system = plan.systems.get(name);
            system.is_some_and(|system| system.needs.iter().chain(&system.consistent_with).any(is_barred))
        };
        let all = systems.iter();
        let more: Vec<String> =
            all.filter(|name| !is_barred(name) && waits(name)).map(|name| name.0.clone()).collect();
        if more.is_empty() {
            break;
        }
        barred.extend(more);
    }
    let names = systems.iter().map(|name| name.0.as_str());
    let free: Vec<&str> = names.filter(|name| !barred.contains(*name)).collect();
    match (count, free.len()) {
        (0, _) | (_, 0) => None,
        (_, 1..=NAMED_MAX) => Some(format!(
            "what nothing stands against comes back by itself: releve recover {}",
            free.join(" ")
        )),
        (_, many) => Some(format!(
            "nothing stands against {many} others: releve recover with their names brings them back by themselves"
        )),
    }
}

/// Says up to when it is counted what is lost, why, and how much more it may be.
fn counted(crash: &Crash) -> String {
    let doubt = crash.doubt();
    let more = match doubt.0.is_zero() {
        true => String::new(),
        false => format!("; {doubt:.2} more, if it lived on after that until {}", show::time(crash.latest)),
    };
    format!("counted up to {}: {}{more}", show::time(crash.at), crash.basis)
}

/// Says how far apart systems really are whose data belongs together.
fn print_groups(book: &Runbook) {
    for group in &book.groups {
        let names: Vec<_> = group.systems.iter().map(|system| system.0.as_str()).collect();
        let apart = match group.apart.0.is_zero() {
            true => "all of them exactly".to_owned(),
            false => format!("{:.2} apart", group.apart),
        };
        eprintln!();
        eprintln!("  {} belong together: back to {}, {apart}", names.join(", "), show::time(group.instant));
    }
}

pub(super) fn print_recovered(recovered: &Recovered, beside: bool) {
    let mut table =
        show::table(&["system", "back after", "promised", "lost", "promised", "files", "checks", ""]);
    for system in &recovered.systems {
        let promise = |seconds| Period::seconds(seconds).to_string();
        let back = match system.rta_seconds {
            Some(seconds) => format!("{seconds:.1} s"),
            None => "NOT BACK".into(),
        };
        let kept = system.rta_seconds.is_some_and(|seconds| seconds <= system.rto_seconds as f64);
        let verdict = match (&system.failure, kept) {
            (Some(why), _) => first_line(why),
            (None, false) => "later than promised".into(),
            (None, true) if !system.findings.is_empty() => format!("{} findings", system.findings.len()),
            (None, true) if beside => "restored beside".into(),
            (None, true) if system.checks_passed == 0 => "nothing checks it".into(),
            (None, true) => "works".into(),
        };
        table.add_row([
            &system.system.0,
            &back,
            &promise(system.rto_seconds),
            &if system.clock_behind {
                "not known".to_owned()
            } else {
                Period::seconds(system.rpa_seconds).against(Period::seconds(system.rpo_seconds))
            },
            &promise(system.rpo_seconds),
            &format!("{} + {} kept", system.restored, system.unchanged),
            &system.checks_passed.to_string(),
            &verdict,
        ]);
    }
    page!("{table}");
    for system in &recovered.systems {
        if system.clock_behind && !beside {
            println!("{}: {}", system.system, lost(Period::default(), Period::default(), true));
        } else if let Some(crash) = system.crash.as_ref().filter(|_| !beside) {
            println!("{}: what is lost is {}", system.system, counted(crash));
        }
        if let Some(why) = system.failure.as_ref().filter(|why| first_line(why) != **why) {
            println!("{}: NOT BACK: {why}", system.system);
        }
        print_measured(system);
        system.findings.iter().for_each(|finding| println!("{}: {}", system.system, show::dates(finding)));
    }
    recovered.findings.iter().for_each(|finding| println!("{}", show::dates(finding)));
    recovered.failed.iter().for_each(|step| println!("not done: {step}"));
    recovered.unconfirmed.iter().for_each(|step| println!("not confirmed: {step}"));
    if let Some(why) = &recovered.aborted {
        println!("ended before its end: {why}");
    }
    println!("{:.1} s in all", recovered.seconds);
}

/// Returns what fits into a cell of a table: programs say much, and all of it is said below.
fn first_line(why: &str) -> String {
    let line = why.lines().next().unwrap_or_default().trim_end();
    let head: String = line.chars().take(CELL_MAX).collect();
    if head.len() == why.len() { head } else { format!("{} …", head.trim_end()) }
}

/// Says what the data themselves have shown.
fn print_measured(recovered: &SystemRecovered) {
    let name = &recovered.system;
    match (&recovered.measured, &recovered.not_measured) {
        (Some(measured), _) => {
            println!("{name}: {}", said_measured(measured, recovered.rpa_seconds));
        }
        (None, Some(why)) => println!("{name}: what was lost is not measured in its data: {why}"),
        (None, None) => {}
    }
    if !recovered.looked_through.is_empty() {
        println!("{name}: looked through for damage: {}", recovered.looked_through.join(", "));
    }
    for left_out in &recovered.not_looked_through {
        println!("{name}: NOT looked through for damage: {left_out}");
    }
}

/// Says what the agent's last row in the data shows, beside `lost`, the seconds that are said to be lost.
fn said_measured(measured: &Measured, lost: u64) -> String {
    let row = format!("measured in its data: the agent's last row is of {}", show::time(measured.at));
    let length = |seconds| format!("{:.2}", Period::seconds(seconds));
    match (measured.loss_seconds, measured.asked) {
        (None, _) => format!("{row}, by a clock that was set back since"),
        (Some(seconds), Some(asked)) => format!(
            "{row}, {} before {}, which was asked for: of what came before that no more is missing, and what came after is given up",
            length(seconds),
            show::time(asked)
        ),
        (Some(seconds), None) if seconds <= lost => {
            format!("{row}: no more than {} is lost", length(seconds))
        }
        (Some(seconds), None) => {
            format!("{row}, {} before the crash; its log goes further", length(seconds))
        }
    }
}

/// Says on which machine it is, and what runs where something is overwritten: so that nobody takes one machine for another.
fn print_blast(book: &Runbook) {
    let standing = book.systems.iter().flat_map(|restore| &restore.standing);
    let paths: Vec<&Path> = standing
        .filter(|standing| standing.what.is_some())
        .map(|standing| Path::new(&standing.path))
        .collect();
    if book.to.is_some() || paths.is_empty() {
        return;
    }
    let host = blast::fingerprint();
    eprintln!();
    eprintln!("  overwritten on {}, fingerprint {}", host.name, host.id);
    let Ok((processes, hidden)) = blast::running(paths) else { return };
    processes.iter().for_each(|process| eprintln!("    runs there: {process}"));
    if hidden > 0 {
        eprintln!("    {hidden} processes of other users could not be looked into: run it as root");
    }
}

/// Says what a step does, unless that has been said already.
fn print_step(book: &Runbook, step: &Step) {
    let (word, what) = match &step.kind {
        StepKind::Restore | StepKind::First => return,
        StepKind::Stop(action) => ("stops", action.to_string()),
        StepKind::Rest => ("starts", "before the rest of its files is back".to_owned()),
        StepKind::Start(action) => ("starts", action.to_string()),
        StepKind::Open => ("waits", "until it has recovered and takes writes".into()),
        StepKind::Check(check) => ("checks", check.to_string()),
        StepKind::Inspect => ("looks", "through its data for damage, once it is back".into()),
        StepKind::Ask { text, who, within, answers } => {
            let who = who.as_ref().map_or_else(String::new, |who| format!("{who}: "));
            let within = within.map_or_else(String::new, |within| format!(", within {within}"));
            let answers =
                if answers.is_empty() { String::new() } else { format!(" [{}]", answers.join(" / ")) };
            ("to do", format!("{who}{text}{answers}{within}"))
        }
        StepKind::Approve(_) => ("to do", step.kind.to_string()),
        StepKind::Notify { .. } => ("tells", step.kind.to_string().trim_start_matches("tell ").to_owned()),
        StepKind::Run(run) => ("runs", run.to_string()),
        StepKind::Wait(time) => ("waits", time.to_string()),
        StepKind::Hold(_) | StepKind::Free(_) => {
            let said = step.kind.to_string();
            let (word, what) = said.split_once(": ").unwrap_or(("", &said));
            (if word == "release" { "releases" } else { "holds" }, what.to_owned())
        }
        StepKind::Isolate(_) | StepKind::Release(_) | StepKind::Service(..) => {
            ("does", step.kind.to_string())
        }
    };
    let only_if = step.only_if.as_ref().map_or_else(String::new, |only_if| {
        let asked = book.steps.get(only_if.step).map_or_else(String::new, |step| step.kind.to_string());
        format!(" (only if the answer to \u{201c}{asked}\u{201d} is {})", only_if.answers.join(" or "))
    });
    let meanwhile = if step.meanwhile && !matches!(step.kind, StepKind::Inspect) {
        " (nothing waits for it)"
    } else {
        ""
    };
    eprintln!("    {word:9} {what}{only_if}{meanwhile}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_figure_says_what_is_lost_and_the_measure_says_against_what_it_is() {
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let measured =
            |loss_seconds, asked| Measured { at: at(97), loss_seconds, asked, history: 1, number: 7 };
        let newest = said_measured(&measured(Some(3), None), 3);
        assert!(newest.ends_with(": no more than 3 seconds is lost"), "{newest}");
        let asked = said_measured(&measured(Some(3), Some(at(100))), 55);
        assert!(asked.contains(", 3 seconds before ") && !asked.contains("lost"), "{asked}");
        let further = said_measured(&measured(Some(3), None), 0);
        assert!(further.ends_with("3 seconds before the crash; its log goes further"), "{further}");
    }

    #[test]
    fn whom_nothing_stands_against_is_told_how_to_come_back_without_the_others() {
        let system = |needs: &[&str]| plan::System {
            needs: needs.iter().map(|need| SystemName::from(*need)).collect(),
            ..plan::System::default()
        };
        let plan = Plan {
            systems: [
                ("a".into(), system(&[])),
                ("b".into(), system(&[])),
                ("c".into(), system(&["b"])),
                ("d".into(), system(&["c"])),
            ]
            .into(),
            ..Plan::default()
        };
        let with = |names: &[&str], blockers: &[&str]| {
            let names: Vec<SystemName> = names.iter().map(|name| SystemName::from(*name)).collect();
            let blockers: Vec<String> = blockers.iter().map(|blocker| (*blocker).to_owned()).collect();
            others(&blockers, &names.iter().collect::<Vec<_>>(), &plan)
        };
        let barred = "`b`: none of the 1 points is one that this machine takes by itself";
        let told = with(&["a", "c", "d"], &[barred]).unwrap();
        assert!(told.ends_with("releve recover a"), "{told}");
        assert_eq!(with(&["c", "d"], &[barred]), None);
        assert_eq!(with(&["a"], &[]), None);
        assert_eq!(with(&["a"], &[barred, "there is no scenario `fire` in the plan"]), None);
    }

    #[test]
    fn a_cell_holds_one_line_and_says_that_there_is_more() {
        assert_eq!(first_line("check failed: nginx"), "check failed: nginx");
        assert_eq!(first_line("nginx: failed\nline 2"), "nginx: failed …");
        let long = first_line(&"é".repeat(100));
        assert_eq!(long, format!("{} …", "é".repeat(CELL_MAX)));
    }
}
