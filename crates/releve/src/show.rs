//! What people see: errors, tables, bars, sizes and times.

use crate::{Exit, Failure};
use engine::vanished::Vanished;
use engine::{Error, NOT_DONE, Observer, Question, Reply};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{Timestamp, tz::TimeZone};
use plain::Name;
use plan::{Diagnostic, Severity, SystemName};
use std::io::{BufRead, IsTerminal, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};
use vault::Progress;

/// Between two looks whether it is one's turn to ask.
const ASK_PAUSE: Duration = Duration::from_millis(200);
/// Between two looks at what a bar shows.
const BAR_PAUSE: Duration = Duration::from_millis(100);

/// Prints an error with its way out.
pub(crate) fn error(error: &Error) {
    eprintln!("error: {error}");
    if let Some(help) = &error.help {
        eprintln!("hint: {help}");
    }
}

/// Says that the plan has no such thing, and which one was probably meant: wrong usage.
pub(crate) fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Failure {
    let near = plan::nearest(name, known.clone());
    let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    let known: Vec<_> = known.collect();
    let help =
        format!("{near}there are: {}", if known.is_empty() { "none".into() } else { known.join(", ") });
    error(&Error::new(format!("there is no {what} `{name}`")).help(help));
    Failure::Said(Exit::Usage)
}

/// Prints what is wrong with a plan.
pub(crate) fn diagnostics(diagnostics: &[Diagnostic], json: bool) {
    if json {
        let list: Vec<_> = diagnostics
            .iter()
            .map(|d| {
                serde_json::json!({ "severity": d.severity, "code": d.code, "message": d.message, "help": d.help,
                    "file": d.file.name(), "line": d.line(), "column": d.column() })
            })
            .collect();
        print_json(&serde_json::json!({ "diagnostics": list }));
        return;
    }
    for diagnostic in diagnostics {
        // Its colours are ours, those in a text of the plan aren't.
        let mut shown = diagnostic.clone();
        shown.message = plain::page(&shown.message);
        shown.help = shown.help.as_deref().map(plain::page);
        crate::print::styled(&format!("{:?}", miette::Report::new(shown)));
    }
    let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    let warnings = diagnostics.len() - errors;
    eprintln!("{errors} error{}, {warnings} warning{}", plural(errors), plural(warnings));
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Prints a JSON document.
pub(crate) fn print_json(value: &impl serde::Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => crate::print::raw(format!("{}\n", plain::json(&text)).as_bytes()),
        Err(error) => eprintln!("error: {error}"),
    }
}

/// Does something for each of several vaults, prints their documents together with `--json`, and returns the worst of what became of them. Once
/// somebody wants the process to end no other is begun.
pub(crate) fn each<N: serde::Serialize + std::fmt::Display>(
    json: bool,
    names: &[N],
    mut one: impl FnMut(&N) -> (Exit, serde_json::Value),
) -> Exit {
    let or_ended = |name: &N| {
        if !crate::cli::is_stopped() {
            return one(name);
        }
        let why = "interrupted before it was begun";
        if !json {
            eprintln!("{name}: {why}");
        }
        (Exit::Failed, serde_json::json!({ "vault": name, "failure": why }))
    };
    all(json, "vaults", names.iter().map(or_ended))
}

/// Prints the documents of several together with `--json`, and returns the worst of what became of them.
pub(crate) fn all(
    json: bool,
    called: &str,
    results: impl IntoIterator<Item = (Exit, serde_json::Value)>,
) -> Exit {
    let mut worst = Exit::Done;
    let mut documents = Vec::new();
    for (exit, document) in results {
        worst = worst.worse(exit);
        documents.push(document);
    }
    if json {
        print_json(&serde_json::json!({ called: documents }));
    }
    worst
}

/// Returns `1 copy`, or `2 copies`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Returns a size as people read it: `3.1 GB`, powers of 1000.
pub(crate) fn size(bytes: u64) -> String {
    plan::Size(bytes).to_string()
}

/// Returns an instant in the machine's zone, with the zone.
pub(crate) fn time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// Returns a text with every instant in it as people read it ([`time`]), to the second, but for those that are there to be typed again.
pub(crate) fn dates(text: &str) -> String {
    let mut said = String::new();
    let mut is_typed = false;
    for word in text.split_inclusive(' ') {
        let inner = word.trim_start_matches(['(', '`', '"', '“']);
        let instant = inner.split_once('Z').and_then(|(head, rest)| {
            let is_end = !rest.starts_with(|next: char| next.is_alphanumeric());
            let whole = format!("{head}Z").parse::<Timestamp>().ok()?;
            (is_end && !is_typed).then_some((whole, rest))
        });
        match instant {
            Some((instant, rest)) => {
                said.push_str(word.strip_suffix(inner).unwrap_or_default());
                said.push_str(&time(instant));
                said.push_str(rest);
            }
            None => said.push_str(word),
        }
        is_typed = inner.starts_with("--");
    }
    said
}

/// Says which points vanished from which vaults, and what to do about it.
pub(crate) fn vanished(vanished: &Vanished) {
    for said in vanished.said() {
        eprintln!("warning: {said}");
    }
    for vault in vanished.vaults() {
        eprintln!("  hint: {}", engine::vanished::help(vault));
    }
}

/// Returns a table whose columns fit its content.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header.iter().map(|name| name.to_uppercase()));
    Table(table)
}

/// A table, each row of which is one line, whatever stands in it.
#[derive(Debug)]
pub(crate) struct Table(comfy_table::Table);

impl Table {
    /// Adds a row.
    pub(crate) fn add_row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells: Vec<String> =
            cells.into_iter().map(|cell| plain::line(cell.as_ref()).into_owned()).collect();
        self.0.add_row(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

/// What is drawn on the terminal, and how many questions a person is asked there: nothing is drawn over a question.
struct Drawn {
    bars: Vec<MultiProgress>,
    asking: usize,
}

static DRAWN: Mutex<Drawn> = Mutex::new(Drawn { bars: Vec::new(), asking: 0 });

fn drawn() -> MutexGuard<'static, Drawn> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A person is asked something, for as long as this lives: bars are away, and what is said meanwhile stands below the question.
pub(crate) struct Asking;

impl Asking {
    pub(crate) fn begin() -> Self {
        let mut drawn = drawn();
        drawn.asking += 1;
        for bars in &drawn.bars {
            let _ = bars.clear();
        }
        Self
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        drawn().asking -= 1;
    }
}

/// Prints a statement above the bars.
fn above(bars: &MultiProgress, text: &str) {
    let drawn = drawn();
    if drawn.asking == 0 {
        let _ = bars.println(plain::statement(text));
    } else {
        eprintln!();
        eprintln!("{text}");
    }
}

/// Shows what goes on: bars on a terminal, plain lines otherwise, nothing with `--json`.
pub(crate) struct Screen {
    bars: Option<MultiProgress>,
    quiet: bool,
    yes: bool,
    begun: Instant,
    terminal: Mutex<()>,
}

impl Screen {
    /// `yes`: people's steps are not asked for and stay unconfirmed.
    pub(crate) fn new(json: bool, yes: bool) -> Self {
        let bars = (std::io::stderr().is_terminal() && !json)
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        drawn().bars.extend(bars.clone());
        Self { bars, quiet: json, yes, begun: Instant::now(), terminal: Mutex::new(()) }
    }

    /// Prints a statement above the bars.
    pub(crate) fn line(&self, text: &str) {
        match &self.bars {
            Some(bars) => above(bars, text),
            None if self.quiet => {}
            None => eprintln!("{text}"),
        }
    }

    /// Prints an error, after what it is about, with its way out.
    pub(crate) fn failed(&self, what: impl std::fmt::Display, error: &Error) {
        self.line(&format!("{what}: {error}"));
        if let Some(help) = &error.help {
            self.line(&format!("  hint: {help}"));
        }
    }

    /// Draws a bar for long work until nobody else holds its counters.
    pub(crate) fn bar(&self, label: &str, progress: &Arc<Progress>) {
        let Some(bars) = &self.bars else {
            let (label, progress) = (Name::of(label).to_string(), Arc::downgrade(progress));
            if !self.quiet {
                std::thread::spawn(move || {
                    while let Some(progress) = progress.upgrade() {
                        for said in progress.said() {
                            eprintln!("{label}: {said}");
                        }
                        drop(progress);
                        std::thread::park_timeout(Duration::from_millis(500));
                    }
                });
            }
            return;
        };
        let (bars, label) = (bars.clone(), Name::of(label).to_string());
        let bar = bars.add(ProgressBar::new(0));
        let style = ProgressStyle::with_template(
            "{prefix:16} {bar:24} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12}  {msg}",
        );
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_prefix(label.clone());
        let progress = Arc::downgrade(progress);
        std::thread::spawn(move || {
            while let Some(progress) = progress.upgrade() {
                let (done, expected) = (progress.bytes.load(Relaxed), progress.bytes_expected.load(Relaxed));
                for said in progress.said() {
                    above(&bars, &format!("{label}: {said}"));
                }
                let drawn = drawn();
                if drawn.asking == 0 {
                    bar.set_length(expected.max(done));
                    bar.set_position(done);
                    bar.set_message(match progress.files.load(Relaxed) {
                        0 => progress.phase(),
                        files => format!("{files} files  {}", progress.phase()),
                    });
                }
                drop(drawn);
                drop(progress);
                std::thread::park_timeout(BAR_PAUSE);
            }
            loop {
                let drawn = drawn();
                if drawn.asking == 0 {
                    bar.finish_and_clear();
                    return;
                }
                drop(drawn);
                std::thread::park_timeout(BAR_PAUSE);
            }
        });
    }
}

impl Observer for Screen {
    fn event(&self, system: Option<&SystemName>, text: &str) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let system = system.map_or("", |system| system.0.as_str());
        self.line(&format!("{seconds:7.1} s  {system:12} {}", dates(text)));
    }

    fn ask(&self, question: &Question<'_>, settled: &dyn Fn() -> bool) -> Option<Reply> {
        // Its lines are ours: what others have named in it was made harmless by whoever asks.
        let mut lines = question.text.lines();
        self.event(None, &format!("to do: {}", lines.next().unwrap_or_default()));
        lines.for_each(|line| self.line(&format!("           {line}")));
        if self.yes || !std::io::stdin().is_terminal() {
            return None;
        }
        // One question at a time, so that an answer belongs to the one above it.
        let mut waited = false;
        let _turn = loop {
            match self.terminal.try_lock() {
                Ok(turn) => break turn,
                Err(TryLockError::Poisoned(poisoned)) => break poisoned.into_inner(),
                Err(TryLockError::WouldBlock) if settled() => return None,
                Err(TryLockError::WouldBlock) => std::thread::park_timeout(ASK_PAUSE),
            }
            waited = true;
        };
        if waited {
            question.text.lines().for_each(|line| self.line(&format!("           {line}")));
        }
        let mut by = None;
        if !question.names.is_empty() {
            let names: Vec<_> = question.names.iter().map(|name| name.0.as_str()).collect();
            let asked = format!("           your name in the plan ({}):", names.join(", "));
            by = Some(choose(&asked, settled, |said| {
                question.names.iter().find(|known| known.0 == said).cloned()
            })?);
        }
        let answer = if question.answers.is_empty() {
            let said = prompt("           done? [y/N]", settled)?;
            if is_yes(&said) { String::new() } else { NOT_DONE.to_owned() }
        } else {
            choose(&format!("           {}?", question.answers.join(" or ")), settled, |said| {
                question.answers.iter().find(|answer| answer.to_lowercase() == said.to_lowercase()).cloned()
            })?
        };
        Some(Reply { answer, by })
    }

    fn progress(&self, system: &SystemName, progress: &Arc<Progress>) {
        self.bar(&system.0, progress);
    }
}

/// Asks before something is done, unless it was said beforehand. Returns what to exit with if it isn't to be done.
pub(crate) fn refused(yes: bool, question: &str) -> Option<Exit> {
    refused_but(yes, question, "--yes for scripts; --dry-run only shows")
}

/// As [`refused`], with another way out where nobody is there.
pub(crate) fn refused_but(yes: bool, question: &str, way_out: &str) -> Option<Exit> {
    if yes {
        return None;
    }
    if !std::io::stdin().is_terminal() {
        error(&Error::new("nobody is there to say yes").help(way_out));
        return Some(Exit::Usage);
    }
    (!confirm(question)).then_some(Exit::Failed)
}

/// Asks a person; anything but yes is no.
pub(crate) fn confirm(question: &str) -> bool {
    prompt(&format!("{question} [y/N]"), &|| false).is_some_and(|answer| is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.to_lowercase().as_str(), "y" | "yes" | "o" | "oui")
}

/// Asks until what a person types is something; `None` where nobody is there any more, or it is settled elsewhere.
fn choose<T>(question: &str, settled: &dyn Fn() -> bool, find: impl Fn(&str) -> Option<T>) -> Option<T> {
    loop {
        if let Some(found) = find(&prompt(question, settled)?) {
            return Some(found);
        }
    }
}

/// Returns what a person types behind a question; `None` where nobody is there any more, or it is settled elsewhere.
fn prompt(question: &str, settled: &dyn Fn() -> bool) -> Option<String> {
    let _asking = Asking::begin();
    eprint!("{question} ");
    let _ = std::io::stderr().flush();
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let pause = rustix::event::Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        loop {
            let mut wanted = [rustix::event::PollFd::new(&stdin, rustix::event::PollFlags::IN)];
            match rustix::event::poll(&mut wanted, Some(&pause)) {
                Ok(0) | Err(rustix::io::Errno::INTR) if settled() => {
                    eprintln!("answered elsewhere");
                    return None;
                }
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                _ => break,
            }
        }
    }
    let mut answer = String::new();
    match stdin.lock().read_line(&mut answer) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(answer.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_whatever_stands_in_it() {
        let mut table = table(&["name", "host"]);
        table.add_row(["a\nok  all is well", "\u{1b}[2J"]);
        let shown = table.to_string();
        assert_eq!(shown.lines().count(), 2, "{shown}");
        assert!(shown.contains(r"a\nok  all is well") && shown.contains(r"\u{1b}[2J"), "{shown}");
    }

    #[test]
    fn an_instant_is_said_in_one_way_and_left_alone_where_it_is_to_be_typed_again() {
        let at = "2026-11-30T06:56:00.631396652Z";
        let said = time(at.parse().unwrap());
        assert_eq!(
            dates(&format!("point 7 of {at}: x ({at}), y")),
            format!("point 7 of {said}: x ({said}), y")
        );
        for alone in [format!("say --before {at}"), "Zoe's /srv/2026-Z, 12Z".to_owned()] {
            assert_eq!(dates(&alone), alone);
        }
    }
}
