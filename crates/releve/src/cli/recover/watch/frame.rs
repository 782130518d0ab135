//! What a recovery under way looks like: lines of text, from a value.

use super::{Now, Result, SystemView, View};
use console::{measure_text_width, truncate_str};
use plan::outlook::{Restoring, Verdict};

/// Columns of a bar.
const BAR: usize = 12;
/// Columns that names may take.
const NAME: usize = 16;
/// How many steps of the critical path are named.
const PATH: usize = 12;
/// Columns that what is done may take, over several lines.
const WHAT: usize = 120;

/// A line, and how it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Line {
    pub(in crate::cli) text: String,
    pub(in crate::cli) tone: Tone,
}

/// How a line is meant. What it says doesn't depend on it: not everybody sees colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
}

/// The letters that a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Charset {
    Ascii,
    Unicode,
}

impl Charset {
    /// Returns what the locale promises.
    pub(in crate::cli) fn of_locale(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let said =
            ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| variable(name).filter(|v| !v.is_empty()));
        let said = said.unwrap_or_default().to_lowercase();
        if said.contains("utf-8") || said.contains("utf8") { Self::Unicode } else { Self::Ascii }
    }

    /// Returns a text that this terminal can show, in one line.
    fn fit(self, text: &str) -> String {
        let letter = |letter: char| match letter {
            letter if plain::acts(letter) => ' ',
            letter if letter.is_ascii() || self == Self::Unicode => letter,
            'à' | 'â' | 'ä' => 'a',
            'ç' => 'c',
            'é' | 'è' | 'ê' | 'ë' => 'e',
            'î' | 'ï' => 'i',
            'ô' | 'ö' => 'o',
            'ù' | 'û' | 'ü' => 'u',
            'À' | 'Â' => 'A',
            'Ç' => 'C',
            'É' | 'È' | 'Ê' => 'E',
            '’' | '‘' => '\'',
            '“' | '”' | '«' | '»' => '"',
            '–' | '—' => '-',
            '\u{a0}' | '\u{202f}' => ' ',
            _ => '?',
        };
        text.chars().map(letter).collect()
    }

    fn bar(self, share: f64) -> String {
        let full = ((share.clamp(0.0, 1.0) * BAR as f64) as usize).min(BAR);
        let (done, left) = if self == Self::Unicode { ("█", "░") } else { ("#", ".") };
        format!("{}{}", done.repeat(full), left.repeat(BAR - full))
    }
}

/// Writes lines that fit.
pub(in crate::cli) struct Page {
    width: usize,
    charset: Charset,
    pub(in crate::cli) lines: Vec<Line>,
}

impl Page {
    /// Returns an empty page.
    pub(in crate::cli) const fn new(width: usize, charset: Charset) -> Self {
        Self { width, charset, lines: Vec::new() }
    }

    /// Writes a line, as much of it as fits.
    pub(in crate::cli) fn put(&mut self, tone: Tone, text: &str) {
        let text = self.charset.fit(text);
        let text = truncate_str(text.trim_end(), self.width, "...").into_owned();
        self.lines.push(Line { text, tone });
    }

    /// Writes a text over as many lines as it takes, all behind so many columns.
    pub(in crate::cli) fn wrap(&mut self, tone: Tone, indent: usize, text: &str) {
        self.hang(tone, indent, "", text);
    }

    /// Writes a text behind a mark, and what follows below the text.
    fn hang(&mut self, tone: Tone, indent: usize, mark: &str, text: &str) {
        let room = self.width.saturating_sub(indent + mark.len()).max(8);
        let (mut mark, blank) = (mark, " ".repeat(mark.len()));
        let mut line = String::new();
        for word in self.charset.fit(text).split_whitespace() {
            let columns = measure_text_width(&line) + 1 + measure_text_width(word);
            if !line.is_empty() && columns > room {
                let full = std::mem::take(&mut line);
                self.put(tone, &format!("{:indent$}{mark}{full}", ""));
                mark = &blank;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            self.put(tone, &format!("{:indent$}{mark}{line}", ""));
        }
    }
}

/// Returns the frame, no line wider than `width` and no more lines than `height`.
pub(super) fn lines(view: &View, width: usize, height: usize, charset: Charset) -> Vec<Line> {
    let full = page(view, width, charset, false);
    if full.len() <= height {
        return full;
    }
    // What is back or has not begun says least.
    let mut short = page(view, width, charset, true);
    if short.len() > height {
        let more = short.len() - height + 1;
        short.truncate(height.saturating_sub(1));
        short.push(Line { text: format!("... {more} more lines"), tone: Tone::Plain });
    }
    short
}

fn page(view: &View, width: usize, charset: Charset, short: bool) -> Vec<Line> {
    let mut page = Page { width, charset, lines: Vec::new() };
    let after = view.scenario.as_ref().map_or_else(String::new, |scenario| format!(" after `{scenario}`"));
    let title = format!("Recovery{after} on {}", view.machine);
    let clock = format!("{}  {} of {} steps", clock(view.elapsed_seconds), view.steps_done, view.steps);
    let room = width.saturating_sub(clock.len() + 2);
    let title = charset.fit(&title);
    let title = truncate_str(&title, room, "...");
    let fill = width.saturating_sub(measure_text_width(&title) + clock.len());
    page.put(Tone::Plain, &format!("{title}{:fill$}{clock}", ""));
    match (&view.by, &view.paused) {
        (None, _) if view.ended => {
            page.wrap(Tone::Bad, 0, "It has ended, and not everything is done: releve recover --show names the steps, --resume tries again what failed.");
        }
        (None, _) => {
            page.wrap(Tone::Bad, 0, "Nobody carries it out: releve recover --resume goes on with it.");
        }
        (Some(_), Some(why)) => {
            page.wrap(Tone::Doubtful, 0, &format!("PAUSED: {why}. releve recover --go-on"));
        }
        (Some(_), None) => {}
    }
    let names = view.systems.iter().map(|system| measure_text_width(&system.system.0));
    let name = names.max().unwrap_or(0).min(NAME);
    let is_quiet = |system: &SystemView| {
        system.back.is_some() && system.rto == Verdict::InTime
            || system.now.is_empty() && system.failure.is_none() && system.rto <= Verdict::Unknown
    };
    let mut left_out = 0;
    for system in &view.systems {
        if short && is_quiet(system) {
            left_out += 1;
            continue;
        }
        put_system(&mut page, view, system, name);
    }
    if left_out > 0 {
        page.put(Tone::Plain, &format!("  {left_out} more systems are back in time, or wait for others"));
    }
    // Who is waited for stands below, with what to type.
    for now in view.now.iter().filter(|now| !is_awaited(view, now)) {
        put_now(&mut page, view, now, 2);
    }
    if view.systems.iter().any(|system| system.critical) && view.by.is_some() {
        let end = expected(view.expected.seconds, view.expected.unclear.is_some(), view.elapsed_seconds);
        let path: Vec<String> = view.critical.iter().take(PATH).map(ToString::to_string).collect();
        let more = if view.critical.len() > PATH { " > ..." } else { "" };
        let path = path.join(" > ");
        page.wrap(Tone::Plain, 0, &format!("* decides when all is done: {end}; steps {path}{more}"));
    }
    if !view.awaited.is_empty() {
        page.put(Tone::Plain, "Waiting for");
    }
    for awaited in &view.awaited {
        let who = awaited.who.as_ref().map_or("somebody", |who| who.0.as_str());
        let due = awaited.due.map_or_else(String::new, |due| format!(", due at {}", self::clock(due)));
        let late = if awaited.verdict == Verdict::Late { ", LATE" } else { "" };
        let tone = tone(awaited.verdict);
        page.wrap(
            tone,
            2,
            &format!("{who} since {}{due}{late}: {}", self::clock(awaited.since), awaited.what),
        );
        for (mark, answer) in
            ["type: ", "  or: "].iter().chain(std::iter::repeat(&"  or: ")).zip(&awaited.answer)
        {
            page.hang(Tone::Plain, 4, mark, answer);
        }
    }
    for warning in &view.warnings {
        let tone = if warning.late { Tone::Bad } else { Tone::Doubtful };
        page.hang(tone, 0, "! ", &warning.text);
        if let Some(proposed) = &warning.proposed {
            page.hang(Tone::Plain, 2, "-> ", proposed);
        }
    }
    page.lines
}

fn is_awaited(view: &View, now: &Now) -> bool {
    view.awaited.iter().any(|awaited| awaited.step == now.step)
}

fn put_system(page: &mut Page, view: &View, system: &SystemView, name: usize) {
    let mark = if system.critical { '*' } else { ' ' };
    let label = page.charset.fit(&system.system.0);
    let label = truncate_str(&label, name, "..");
    let fill = name.saturating_sub(measure_text_width(&label));
    let bar = page.charset.bar(if system.back.is_some() { 1.0 } else { system.share });
    let head = format!("{mark} {label}{:fill$} {bar} ", "");
    let promise = clock(system.rto_seconds);
    let elapsed = view.elapsed_seconds;
    let over = || clock(elapsed - system.rto_seconds);
    let end = system.expected.map_or_else(
        || "not expected back".to_owned(),
        |end| expected(end.seconds, end.unclear.is_some(), elapsed),
    );
    let (tone, said) = match (system.back, system.rto) {
        (Some(back), Verdict::Late) => {
            (Tone::Doubtful, format!("back after {} of {promise}, LATE", clock(back)))
        }
        (Some(back), _) => (Tone::Good, format!("back after {} of {promise}", clock(back))),
        (None, Verdict::Late) => {
            (Tone::Bad, format!("{} of {promise}, LATE by {}, {end}", clock(elapsed), over()))
        }
        (None, Verdict::LikelyLate) => {
            (Tone::Doubtful, format!("{} of {promise}, LIKELY LATE, {end}", clock(elapsed)))
        }
        (None, _) => (Tone::Plain, format!("{} of {promise}, {end}", clock(elapsed))),
    };
    page.put(tone, &format!("{head}{said}"));
    let indent = name + 3;
    if let Some(why) = &system.failure {
        page.wrap(Tone::Bad, indent, &format!("FAILED: {why}"));
    }
    if let Some(mtpd) =
        system.mtpd_seconds.filter(|_| system.mtpd >= Some(Verdict::LikelyLate) && system.back.is_none())
    {
        page.wrap(Tone::Bad, indent, &format!("the company survives {} without it", clock(mtpd)));
    }
    for now in system.now.iter().filter(|now| !is_awaited(view, now)) {
        put_now(page, view, now, indent);
    }
    if !system.waits_for.is_empty() {
        page.wrap(Tone::Plain, indent, &format!("waits for {}", system.waits_for.join(", ")));
    }
}

fn put_now(page: &mut Page, view: &View, now: &Now, indent: usize) {
    let since = clock((view.elapsed_seconds - now.since).max(0.0));
    let mark = if view.critical.contains(&now.step) { "*" } else { "" };
    let data = now.restoring.map_or_else(String::new, |restoring| data(&restoring));
    let from: Vec<&str> = now.vaults.iter().map(|vault| vault.0.as_str()).collect();
    let from = if from.is_empty() { String::new() } else { format!(", from {}", from.join(", ")) };
    // A command of the plan may be as long as it likes.
    let what = truncate_str(&now.what, WHAT, "...");
    let mark = format!("{}{mark} ", now.step);
    page.hang(Tone::Plain, indent, &mark, &format!("for {since}: {what}{data}{from}"));
    if let Some(why) = &now.slow {
        page.wrap(Tone::Doubtful, indent + 2, &format!("SLOW: {why}"));
    }
}

fn data(restoring: &Restoring) -> String {
    let size = crate::show::size;
    let of = if restoring.expected > 0 { format!(" of {}", size(restoring.expected)) } else { String::new() };
    let rate = restoring.rate.map_or_else(String::new, |rate| format!(", {}/s", size(rate.max(0.0) as u64)));
    format!(", {}{of}{rate}", size(restoring.bytes))
}

/// Returns what is said at the end.
pub(super) fn end(
    view: &View,
    results: Option<&[Result]>,
    ended: bool,
    width: usize,
    charset: Charset,
) -> Vec<String> {
    let mut page = Page { width, charset, lines: Vec::new() };
    match results {
        None if ended => page.wrap(
            Tone::Plain,
            0,
            "It is over, and nothing is recorded of how it ended: releve recover --show, releve status",
        ),
        // The frame says that nobody carries it out.
        None => {}
        Some(results) => {
            page.put(Tone::Plain, "It has ended.");
            for result in results {
                let back = match result.rta_seconds {
                    Some(seconds) => {
                        let promise = view.systems.iter().find(|system| system.system.0 == result.system);
                        let late = match promise {
                            Some(system) if seconds > system.rto_seconds => ", later than promised",
                            _ => "",
                        };
                        format!("back after {}{late}", clock(seconds))
                    }
                    None => "NOT BACK".into(),
                };
                page.put(Tone::Plain, &format!("  {}: {back}", result.system));
                for finding in &result.findings {
                    page.wrap(Tone::Plain, 4, finding);
                }
            }
        }
    }
    page.lines.into_iter().map(|line| line.text).collect()
}

const fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::InTime | Verdict::Unknown => Tone::Plain,
        Verdict::LikelyLate => Tone::Doubtful,
        Verdict::Late => Tone::Bad,
    }
}

/// Returns when something is expected, as people say it.
fn expected(seconds: f64, is_unclear: bool, elapsed: f64) -> String {
    let left = (seconds - elapsed).max(0.0);
    match is_unclear {
        true if left < 1.0 => "nobody knows when".into(),
        true => format!("in {} at least", about(left)),
        false => format!("in about {}", about(left)),
    }
}

fn about(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds {
        0..=90 => format!("{seconds} s"),
        91..=5_400 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// Returns a time as a clock shows it: `12:03`, `1:00:00`.
fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{rest:02}") } else { format!("{minutes:02}:{rest:02}") }
}

#[cfg(test)]
mod tests;
