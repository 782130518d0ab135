//! From text to [`Plan`]: every mistake at once.
//!
//! The text is walked along [`crate::schema`], which finds what is unknown, missing or of the wrong shape, with
//! its place; what is sound is then given to serde, and [`crate::check`] looks at what it means. A part that is broken is left
//! out for the later steps, so that one mistake doesn't hide the others.

use crate::diagnostic::{Diagnostic, Severity, SourceFile};
use crate::schema::{Key, PLAN, SECRET, Shape};
use crate::{Period, Plan, Share, Wanted, check};
use miette::NamedSource;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What reading a plan gave.
#[derive(Debug)]
pub struct Parsed {
    /// The plan, unless there was an error.
    pub plan: Option<Plan>,
    /// Everything that is wrong with it, in the order of the files.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Returns whether the plan can't be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// Reads a plan of one or several files.
#[must_use]
pub fn parse(files: &[SourceFile]) -> Parsed {
    let mut notes = Notes::default();
    let mut merged = toml::Table::new();
    for (at, file) in files.iter().enumerate() {
        notes.files.push(Arc::new(NamedSource::new(&file.name, file.text.clone()).with_language("TOML")));
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            notes.add(Severity::Error, "syntax", (at, span), error.message().trim().to_owned(), None);
        }
        Reader { notes: &mut notes, file: at }.table(table.get_ref(), PLAN, "", &mut merged);
    }
    if files.is_empty() {
        let file = Arc::new(NamedSource::new("plan", String::new()));
        notes.files.push(file);
    }
    missing(&mut notes, &merged, PLAN, "", (0, 0..0));
    let plan: Plan = match serde::Deserialize::deserialize(toml::Value::Table(merged)) {
        Ok(plan) => plan,
        Err(error) => {
            let message = toml::de::Error::to_string(&error);
            notes.add(Severity::Error, "shape", (0, 0..0), message, None);
            Plan::default()
        }
    };
    check::meaning(&plan, &mut notes);
    let mut diagnostics = notes.diagnostics;
    diagnostics.sort_by_key(|(place, diagnostic)| (place.0, place.1.start, std::cmp::Reverse(diagnostic.severity)));
    let diagnostics: Vec<_> = diagnostics.into_iter().map(|(_, diagnostic)| diagnostic).collect();
    let mut parsed = Parsed { plan: None, diagnostics };
    if !parsed.has_errors() {
        parsed.plan = Some(plan);
    }
    parsed
}

/// A place: which file, which bytes.
pub(crate) type Place = (usize, Range<usize>);

/// What was found, and where everything stands.
#[derive(Default)]
pub(crate) struct Notes {
    files: Vec<Arc<NamedSource<String>>>,
    diagnostics: Vec<(Place, Diagnostic)>,
    /// Place of each value by its path, `systems.shop.needs.0`; of each table's key by its path with `#` behind.
    places: HashMap<String, Place>,
}

impl Notes {
    /// Adds a diagnostic at a place.
    pub(crate) fn add(&mut self, severity: Severity, code: &'static str, place: Place, message: String, help: Option<String>) {
        let Some(file) = self.files.get(place.0).or(self.files.first()).map(Arc::clone) else { return };
        let span = place.1.clone();
        self.diagnostics.push((place, Diagnostic { code, severity, message, help, file, span, label: None }));
    }

    /// Returns where the value of a path stands, or what encloses it.
    pub(crate) fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path).or_else(|| self.places.get(&format!("{path}#"))) {
                return place.clone();
            }
            match path.rsplit_once('.') {
                Some((above, _)) => path = above,
                None => return (0, 0..0),
            }
        }
    }
}

struct Reader<'n> {
    notes: &'n mut Notes,
    file: usize,
}

type Value<'i> = Spanned<DeValue<'i>>;

impl Reader<'_> {
    fn error(&mut self, code: &'static str, span: Range<usize>, message: String, help: impl Into<Option<String>>) {
        self.notes.add(Severity::Error, code, (self.file, span), message, help.into());
    }

    /// Reads a table along its keys into `out`.
    fn table(&mut self, table: &DeTable<'_>, keys: &'static [Key], path: &str, out: &mut toml::Table) {
        for (name, value) in table.iter() {
            let span = name.span();
            let name: &str = name.get_ref();
            let here = join(path, name);
            let Some(key) = keys.iter().find(|key| key.name == name) else {
                let near = nearest(name, keys.iter().map(|key| key.name));
                let help = match near {
                    Some(near) => format!("write `{near}`"),
                    None => format!("known here: {}", list(keys.iter().map(|key| key.name))),
                };
                self.error("unknown-key", span, format!("`{name}` is no key of {}", what(path)), help);
                continue;
            };
            let known_at = self.notes.places.get(&format!("{here}#")).cloned();
            if let Some(first) = known_at
                && !matches!(key.shape, Shape::Named(_))
            {
                let other = self.notes.files.get(first.0).map(|file| file.name().to_owned()).unwrap_or_default();
                self.error("twice", span, format!("`{here}` stands in {other} already"), "keep one of them".to_owned());
                continue;
            }
            self.notes.places.insert(format!("{here}#"), (self.file, span));
            if let Some(value) = self.value(value, key.shape, &here, out.get(name)) {
                out.insert(name.to_owned(), value);
            }
        }
    }

    /// Reads a value of a shape. `before` is what another file has said of it.
    fn value(&mut self, value: &Value<'_>, shape: Shape, path: &str, before: Option<&toml::Value>) -> Option<toml::Value> {
        let span = value.span();
        self.notes.places.insert(path.to_owned(), (self.file, span.clone()));
        let inner = value.get_ref();
        match shape {
            Shape::NotYet(why, help) => {
                self.error("not-supported-yet", span, format!("`{path}` is not supported yet: {why}"), help.to_owned());
                None
            }
            Shape::Text => self.text(inner, span, path, "a text"),
            Shape::Period => self.amount::<Period>(inner, span, path, "a length of time, \"30 minutes\" say"),
            Shape::Share => self.amount::<Share>(inner, span, path, "a share, \"10%\" or \"all\""),
            Shape::RestorePoint => self.amount::<Wanted>(inner, span, path, "a choice of restore point, \"latest\" say"),
            Shape::Flag => match inner {
                DeValue::Boolean(flag) => Some((*flag).into()),
                _ => self.wrong(inner, span, path, "true or false"),
            },
            Shape::Whole => match inner {
                DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) if number >= 0 => Some(number.into()),
                    _ => self.wrong(inner, span, path, "a whole number, 0 or more"),
                },
                _ => self.wrong(inner, span, path, "a whole number"),
            },
            Shape::Word(words) => match self.text(inner, span.clone(), path, "one word")? {
                toml::Value::String(text) if words.contains(&text.as_str()) => Some(text.into()),
                other => {
                    let text = other.as_str().unwrap_or_default();
                    let help = match nearest(text, words.iter().copied()) {
                        Some(near) => format!("write \"{near}\""),
                        None => format!("one of {}", list(words.iter().copied())),
                    };
                    self.error("unknown-word", span, format!("`{text}` is no {}", last(path)), help);
                    None
                }
            },
            Shape::Texts => self.texts(inner, span, path),
            Shape::Command => match self.texts(inner, span.clone(), path)? {
                toml::Value::Array(items) if items.is_empty() => {
                    self.error("empty-command", span, format!("`{path}` is empty"), "write the program and its arguments".to_owned());
                    None
                }
                items => Some(items),
            },
            Shape::Secret => self.secret(inner, span, path),
            Shape::Table(keys) => match inner {
                DeValue::Table(table) => {
                    let mut out = toml::Table::new();
                    self.table(table, keys, path, &mut out);
                    missing(self.notes, &out, keys, path, (self.file, span));
                    Some(out.into())
                }
                _ => self.wrong(inner, span, path, "a table"),
            },
            Shape::Named(keys) => match inner {
                DeValue::Table(table) => Some(self.named(table, keys, path, before)),
                _ => self.wrong(inner, span, path, "a table of tables"),
            },
            Shape::List(keys) => match inner {
                DeValue::Array(items) => {
                    let mut out = Vec::new();
                    for (at, item) in items.iter().enumerate() {
                        out.extend(self.value(item, Shape::Table(keys), &format!("{path}.{at}"), None));
                    }
                    Some(out.into())
                }
                _ => self.wrong(inner, span, path, "a list of tables, [{ … }]"),
            },
        }
    }

    fn named(&mut self, table: &DeTable<'_>, keys: &'static [Key], path: &str, before: Option<&toml::Value>) -> toml::Value {
        let mut out = before.and_then(toml::Value::as_table).cloned().unwrap_or_default();
        for (name, value) in table.iter() {
            let span = name.span();
            let name: &str = name.get_ref();
            let here = join(path, name);
            let fits = !name.is_empty()
                && name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
                && !name.starts_with('-');
            if !fits {
                let help = "names are letters, digits, - and _, and don't begin with -";
                self.error("bad-name", span.clone(), format!("`{name}` can't be a name"), help.to_owned());
            }
            if let Some(first) = self.notes.places.get(&format!("{here}#")).cloned() {
                let other = self.notes.files.get(first.0).map(|file| file.name().to_owned()).unwrap_or_default();
                self.error("twice", span, format!("`{here}` stands in {other} already"), "keep one of them".to_owned());
                continue;
            }
            self.notes.places.insert(format!("{here}#"), (self.file, span));
            if let Some(value) = self.value(value, Shape::Table(keys), &here, None) {
                out.insert(name.to_owned(), value);
            }
        }
        out.into()
    }

    fn text(&mut self, value: &DeValue<'_>, span: Range<usize>, path: &str, wanted: &str) -> Option<toml::Value> {
        match value {
            DeValue::String(text) if text.trim().is_empty() => {
                self.error("empty", span, format!("`{path}` is empty"), None);
                None
            }
            DeValue::String(text) => Some(text.clone().into_owned().into()),
            _ => self.wrong(value, span, path, wanted),
        }
    }

    fn amount<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        value: &DeValue<'_>,
        span: Range<usize>,
        path: &str,
        wanted: &str,
    ) -> Option<toml::Value> {
        let text = self.text(value, span.clone(), path, wanted)?;
        match text.as_str().unwrap_or_default().parse::<T>() {
            Ok(_) => Some(text),
            Err(error) => {
                self.error("bad-amount", span, format!("`{}` of {}: {error}", last(path), what(above(path))), format!("write {wanted}"));
                None
            }
        }
    }

    fn texts(&mut self, value: &DeValue<'_>, span: Range<usize>, path: &str) -> Option<toml::Value> {
        let DeValue::Array(items) = value else {
            return self.wrong(value, span, path, "a list of texts, [\"…\"]");
        };
        let mut out = Vec::new();
        for (at, item) in items.iter().enumerate() {
            out.extend(self.value(item, Shape::Text, &format!("{path}.{at}"), None));
        }
        Some(out.into())
    }

    fn secret(&mut self, value: &DeValue<'_>, span: Range<usize>, path: &str) -> Option<toml::Value> {
        const HELP: &str = "write { env = \"NAME\" }, { file = \"/path\" } or { command = [\"…\"] }";
        match value {
            DeValue::Table(table) => {
                let mut out = toml::Table::new();
                self.table(table, SECRET, path, &mut out);
                if out.len() == 1 {
                    return Some(out.into());
                }
                self.error("bad-secret", span, format!("`{path}` must say one place where the secret is to be had"), HELP.to_owned());
            }
            DeValue::String(_) => {
                let message = format!("`{path}` is a secret: it never stands in the plan, which people print and send around");
                self.error("secret-in-plan", span, message, HELP.to_owned());
            }
            _ => {
                self.wrong(value, span, path, "a reference to a secret");
            }
        }
        None
    }

    fn wrong(&mut self, value: &DeValue<'_>, span: Range<usize>, path: &str, wanted: &str) -> Option<toml::Value> {
        let is = match value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.error("wrong-type", span, format!("`{path}` is {is}"), format!("write {wanted}"));
        None
    }
}

/// Notes the required keys that a table lacks, unless they are there and broken.
fn missing(notes: &mut Notes, table: &toml::Table, keys: &[Key], path: &str, place: Place) {
    for key in keys.iter().filter(|key| key.required && !table.contains_key(key.name)) {
        let here = join(path, key.name);
        if notes.places.contains_key(&here) {
            continue;
        }
        // The table's own name says better where than all of its lines.
        let place = notes.places.get(&format!("{path}#")).cloned().unwrap_or_else(|| place.clone());
        let message = format!("{} lacks `{}`", what(path), key.name);
        notes.add(Severity::Error, "missing-key", place, message, Some(key.doc.to_owned()));
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn above(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(above, _)| above)
}

fn what(path: &str) -> String {
    if path.is_empty() { "the plan".to_owned() } else { format!("`{path}`") }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Returns the word that was probably meant.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::jaro_winkler(&word.to_lowercase(), &known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness > 0.78)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}
