//! Where the plan and its secrets come from, and whether whoever could have written them is believed.
//!
//! As root a plan decides which commands run, so that one which somebody else can write is a way to become root.

use super::*;
use engine::trust::{Objection, Place, SIGN, is_open, objection, objection_within, reach, us};
use state::accepted;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whoever typed this takes the plan and its secrets as they are.
static TRUSTED: AtomicBool = AtomicBool::new(false);
/// What was said already of files that are open to everybody, or taken as they are.
static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

const HERE: &str = "plan.toml";
const OF_THE_MACHINE: &str = "/etc/releve/plan.toml";

/// A plan as it was found.
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) files: Vec<SourceFile>,
    /// Why it isn't believed, if it isn't.
    pub(crate) objections: Vec<Objection>,
}

/// What becomes of a plan.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is in force.
    Taken,
    /// Somebody else has changed it: the one that was accepted before stays in force.
    Before,
    /// It isn't believed, and there is none before it.
    Refused,
}

/// Takes the plan and its secrets as they are, for this run.
pub(crate) fn trust() {
    TRUSTED.store(true, Relaxed);
}

impl Found {
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.files)
    }

    /// Says why it isn't believed, and what to do.
    pub(crate) fn refusal(&self) -> Error {
        let (why, way_out) = match self.objections.first() {
            Some(found) => (found.why.as_str(), found.way_out.as_str()),
            None => ("it was changed", "look at it"),
        };
        let place = match us() {
            0 => " or put it where only root writes, /etc/releve;",
            _ => "",
        };
        Error::new(format!("the plan {} is not believed: {why}", self.path.display())).help(format!(
            "{way_out};{place} this one as it is: `releve plan accept` shows it and asks; for this run alone: --trust-plan"
        ))
    }
}

/// Returns what becomes of a plan with this hash, where one with that hash was accepted last. Typing `--trust-plan` is a yes to the first one, and to no later edit.
pub(crate) fn verdict(hash: &str, is_believed: bool, accepted: Option<&str>, is_trusted: bool) -> Verdict {
    match accepted {
        _ if is_believed => Verdict::Taken,
        Some(accepted) if accepted == hash => Verdict::Taken,
        Some(_) => Verdict::Before,
        None if is_trusted => Verdict::Taken,
        None => Verdict::Refused,
    }
}

/// Has people told that somebody else has changed the plan at a path, or that it is over.
pub(crate) fn note_edited(state: &State, path: &Path, why: Option<&str>) -> Result<()> {
    let now = Timestamp::now();
    state.note_sign(&format!("{SIGN}/{}", name_of(path)), why.map(|why| (why, false)), now)?;
    // An older program had one sign for all plans.
    Ok(state.note_sign(SIGN, None, now)?)
}

/// As [`verdict`], by what this state knows. What was told as somebody else's edit stays that, whoever's the file is made afterwards: it takes a word that names it.
pub(crate) fn judge(found: &Found, state: Option<&State>, records: &[state::Record]) -> Verdict {
    let hash = found.fingerprint();
    let known = accepted(records, &name_of(&found.path)).map(|(_, accepted)| accepted.hash.as_str());
    let signs = state.and_then(|state| state.signs(SIGN).ok()).unwrap_or_default();
    let is_told = signs.values().any(|sign| sign.why.contains(&hash));
    verdict(&hash, found.objections.is_empty() && !is_told, known, TRUSTED.load(Relaxed))
}

/// Returns what a plan is called in the state: the same from whatever folder it is named.
pub(crate) fn name_of(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => std::fs::canonicalize(folder).ok().map(|folder| folder.join(name)),
        _ => None,
    };
    real.unwrap_or(path).display().to_string()
}

pub(crate) fn fingerprint(files: &[SourceFile]) -> String {
    engine::incident::fingerprint(files.iter().map(|file| file.text.as_str()))
}

/// Opens the state where there is one: looking makes none.
pub(crate) fn state_that_is_there(dir: &Path) -> Option<State> {
    dir.join("state.db").exists().then(|| State::open(dir).ok()).flatten()
}

/// Reads the files of the plan at a path, whoever could have written them.
pub(crate) fn look(path: &Path) -> Result<Found> {
    let mut found = Found { path: path.to_owned(), files: Vec::new(), objections: Vec::new() };
    for path in paths_of(path)? {
        let wrong = |error: std::io::Error| Error::new(format!("read the plan {}: {error}", path.display()));
        let mut reached = reach(&path).map_err(wrong)?;
        let mut text = String::new();
        reached.file.read_to_string(&mut text).map_err(wrong)?;
        found.files.push(SourceFile { name: path.display().to_string(), text });
        let objection = objection(us(), &reached.way);
        found.objections.extend(objection.filter(|new| !found.objections.contains(new)));
    }
    Ok(found)
}

/// Reads the files of a plan that is to be followed now: refused where somebody else could have written them, and nobody has accepted them.
pub(crate) fn believed(path: &Path, state_dir: &Path) -> Result<Found> {
    let found = look(path)?;
    if found.objections.is_empty() {
        return Ok(found);
    }
    if TRUSTED.load(Relaxed) {
        warn(&taken_as_it_is(&found));
        return Ok(found);
    }
    let state = state_that_is_there(state_dir);
    let records = state.as_ref().and_then(|state| state.records().ok()).unwrap_or_default();
    match judge(&found, state.as_ref(), &records) {
        Verdict::Taken => Ok(found),
        Verdict::Before | Verdict::Refused => Err(found.refusal()),
    }
}

/// Returns the plan that is in force by what was accepted: what stands in the file, or, where somebody else has changed that, the one from before; then with the reason.
pub(crate) fn in_force(path: &Path, state_dir: &Path) -> Result<(Found, Option<String>)> {
    let found = look(path)?;
    let state = state_that_is_there(state_dir);
    let records = state.as_ref().and_then(|state| state.records().ok()).unwrap_or_default();
    match judge(&found, state.as_ref(), &records) {
        Verdict::Taken => {
            let is_trusted = TRUSTED.load(Relaxed);
            if is_trusted && !found.objections.is_empty() {
                warn(&taken_as_it_is(&found));
            }
            // A word for this run alone ends nothing.
            if let Some(state) = state.as_ref().filter(|_| !is_trusted) {
                let _ = note_edited(state, path, None);
            }
            Ok((found, None))
        }
        Verdict::Refused => Err(found.refusal()),
        Verdict::Before => {
            let hash = accepted(&records, &name_of(path)).map(|(_, accepted)| accepted.hash.clone());
            let text = hash.as_ref().and_then(|hash| state.as_ref()?.plan_text(hash).ok().flatten());
            let files = text.unwrap_or_default().into_iter().map(|(name, text)| SourceFile { name, text });
            let files: Vec<_> = files.collect();
            // Nothing that somebody has put into the state in its place.
            if files.is_empty() || Some(fingerprint(&files)) != hash {
                return Err(found.refusal());
            }
            let why = edited(&found);
            // Where no agent runs nobody else notes it for the alerts.
            let _ = state.as_ref().map(|state| note_edited(state, path, Some(&why)));
            Ok((Found { files, ..found }, Some(why)))
        }
    }
}

fn taken_as_it_is(found: &Found) -> String {
    let why = found.objections.first().map_or("", |objection| objection.why.as_str());
    format!("the plan {} is followed as it is (--trust-plan): {why}", found.path.display())
}

/// Says that somebody else has changed the plan.
pub(crate) fn edited(found: &Found) -> String {
    let why = found.objections.first().map_or("others could write to it", |objection| objection.why.as_str());
    format!(
        "{} is not the plan that was accepted, and was not written by whoever may: {why} (SHA-256 {})",
        found.path.display(),
        found.fingerprint()
    )
}

/// Opens a file that holds a secret: refused where somebody else could have written it.
pub(crate) fn secret(path: &Path) -> Result<File> {
    let reached = reach(path).map_err(|error| Error::new(format!("read {}: {error}", path.display())))?;
    if let Some(found) = objection(us(), &reached.way) {
        if !TRUSTED.load(Relaxed) {
            let why = format!("the secret in {} is not believed: {}", path.display(), found.why);
            return Err(Error::new(why).help(format!("{}; for this run alone: --trust-plan", found.way_out)));
        }
        warn(&format!("the secret in {} is taken as it is (--trust-plan): {}", path.display(), found.why));
    }
    if is_open(&reached.way) {
        warn(&open_to_all(&reached.way));
    }
    Ok(reached.file)
}

/// Returns the folder in which what happened is remembered, if nobody else has a hand in it.
pub(crate) fn state_dir(global: &Global) -> Result<PathBuf> {
    let dir = state_place(global)?;
    own_folder(&dir)?;
    Ok(dir)
}

/// Refuses a folder of a state that somebody else could put something into: what is read there is believed, and what is written there goes where a link of his leads.
pub(crate) fn own_folder(dir: &Path) -> Result<()> {
    // Whoever opens it says why that doesn't work.
    let Some(found) = objection_within(us(), dir).ok().flatten() else { return Ok(()) };
    let dir = dir.display();
    if TRUSTED.load(Relaxed) {
        warn(&format!("the state in {dir} is taken as it is (--trust-plan): {}", found.why));
        return Ok(());
    }
    let why = format!("the state in {dir} is not believed: {}", found.why);
    let way_out = found.way_out;
    Err(Error::new(why).help(format!(
        "look at what lies in it, and {way_out}; --state names another folder; for this run alone: --trust-plan"
    )))
}

/// Says that everybody can read a secret.
fn open_to_all(way: &[Place]) -> String {
    let path = way.last().map_or_else(String::new, |file| file.path.display().to_string());
    format!("everybody on this machine can read the secret in {path}: chmod 600 {path}")
}

/// Warns, of the same once.
fn warn(text: &str) {
    say(format!("warning: {text}"));
}

/// Says something, the same once.
fn say(text: String) {
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if !said.contains(&text) {
        eprintln!("{text}");
        said.insert(text);
    }
}

/// Returns the files of the plan at a path: a file, or a folder of them.
pub(crate) fn paths_of(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let listing = std::fs::read_dir(path)
        .map_err(|error| Error::new(format!("read the plan {}: {error}", path.display())))?;
    let mut files: Vec<PathBuf> = listing.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    if files.is_empty() {
        return Err(Error::new(format!("the folder {} holds no .toml file", path.display())));
    }
    Ok(files)
}

/// Returns where the plan is.
pub(crate) fn plan_path(global: &Global) -> Result<PathBuf> {
    if let Some(path) = &global.plan {
        return Ok(path.clone());
    }
    let is_root = us() == 0;
    let (here, of_the_machine) = (Path::new(HERE), Path::new(OF_THE_MACHINE));
    let Some(chosen) = chosen(is_root, here.exists(), of_the_machine.exists()) else {
        return Err(Error::new("there is no plan: neither ./plan.toml nor /etc/releve/plan.toml")
            .help("`releve init --dir .` writes one; --plan PATH names one"));
    };
    let is_same = || match (std::fs::canonicalize(here), std::fs::canonicalize(of_the_machine)) {
        (Ok(here), Ok(other)) => here == other,
        _ => false,
    };
    if is_root && chosen == HERE {
        say(format!("the plan is {}", name_of(here)));
    } else if is_root && here.exists() && !is_same() {
        say(format!("the plan is {OF_THE_MACHINE}; --plan plan.toml takes the one of this folder"));
    }
    Ok(PathBuf::from(chosen))
}

/// Returns which plan is taken where none was named. For root not the one of the folder that he happens to stand in, if there is another.
fn chosen(is_root: bool, is_here: bool, is_of_the_machine: bool) -> Option<&'static str> {
    match (is_here, is_of_the_machine) {
        (true, true) if is_root => Some(OF_THE_MACHINE),
        (true, _) => Some(HERE),
        (false, true) => Some(OF_THE_MACHINE),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_takes_the_plan_of_the_machine_and_everybody_else_the_one_before_him() {
        assert_eq!(chosen(true, true, true), Some(OF_THE_MACHINE));
        assert_eq!(chosen(true, true, false), Some(HERE));
        assert_eq!(chosen(false, true, true), Some(HERE));
        assert_eq!(chosen(false, false, true), Some(OF_THE_MACHINE));
        assert_eq!(chosen(true, false, false), None);
    }

    #[test]
    fn an_edit_is_taken_over_from_who_is_believed_or_once_it_was_accepted() {
        use Verdict::{Before, Refused, Taken};
        let cases = [
            ("his own file, first start", true, None, false, Taken),
            ("his own edit", true, Some("old"), false, Taken),
            ("what was accepted", false, Some("new"), false, Taken),
            ("somebody else's edit", false, Some("old"), false, Before),
            ("and no word given before it happened takes it over", false, Some("old"), true, Before),
            ("somebody else's file, first start", false, None, false, Refused),
            ("the same with a word", false, None, true, Taken),
        ];
        for (what, is_believed, accepted, is_trusted, expected) in cases {
            assert_eq!(verdict("new", is_believed, accepted, is_trusted), expected, "{what}");
        }
    }
}
