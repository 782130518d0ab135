//! Walks the text of one file along [`crate::schema`]: finds what is unknown, missing or of the wrong shape, with its place,
//! and hands on what is sound.

use crate::diagnostic::{Severity, SourceFile};
use crate::notes::{Notes, Place, nearest};
use crate::schema::{Key, PLAN, Shape};
use crate::{Period, Rate, Share, TimeOfDay, Wanted};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const RATE: &str = "a rate, \"20 MB/s\" or \"10 Mbit/s\"";

/// Reads one file into what the files before it gave.
pub(crate) fn read(notes: &mut Notes, file: &SourceFile, merged: &mut toml::Table) {
    let number = notes.file(file);
    let (table, errors) = DeTable::parse_recoverable(&file.text);
    let faults = errors.iter().map(Fault::new).collect();
    let mut reader = Reader { notes, file: number, text: &file.text, faults };
    reader.table(table.get_ref(), PLAN, "", merged);
    reader.syntax();
}

/// A mistake against TOML itself.
struct Fault {
    span: Range<usize>,
    message: String,
    /// The value that it stands in was found: nothing else is lost.
    contained: bool,
}

impl Fault {
    fn new(error: &toml::de::Error) -> Self {
        Self {
            span: error.span().unwrap_or(0..0),
            message: error.message().trim().to_owned(),
            contained: false,
        }
    }
}

struct Reader<'n, 't> {
    notes: &'n mut Notes,
    file: usize,
    text: &'t str,
    faults: Vec<Fault>,
}

type Value<'i> = Spanned<DeValue<'i>>;

impl Reader<'_, '_> {
    fn error(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: String,
        help: impl Into<Option<String>>,
    ) {
        self.notes.add(Severity::Error, code, (self.file, span), message, help.into());
    }

    /// Reads a table along its keys into `out`.
    fn table(&mut self, table: &DeTable<'_>, keys: &'static [Key], path: &str, out: &mut toml::Table) {
        for (name, value) in table {
            let span = name.span();
            let name: &str = name.get_ref();
            let key = match keys.iter().find(|key| key.name == name) {
                Some(key) => key,
                None => match self.unknown(table, keys, path, name, span.clone()) {
                    Some(meant) => meant,
                    None => continue,
                },
            };
            let here = join(path, key.name);
            if !matches!(key.shape, Shape::Named(_)) && !self.is_first(&here, span.clone()) {
                continue;
            }
            self.notes.key_at(&here, (self.file, span));
            if let Some(value) = self.value(value, key.shape, &here, out.get(key.name)) {
                out.insert(key.name.to_owned(), value);
            }
        }
    }

    /// Notes an unknown key; returns the one that was probably meant, so that what it holds is read all the same.
    fn unknown(
        &mut self,
        table: &DeTable<'_>,
        keys: &'static [Key],
        path: &str,
        name: &str,
        span: Range<usize>,
    ) -> Option<&'static Key> {
        self.notes.break_off(&join(path, name));
        // A syntax error says already why this is no key.
        if self.faults.iter().any(|fault| fault.span.start <= span.end && span.start <= fault.span.end) {
            return None;
        }
        let meant = nearest(name, keys.iter().map(|key| key.name));
        let help = match meant {
            Some(meant) => format!("write `{meant}`"),
            None => format!("known here: {}", list(names(keys))),
        };
        self.error("unknown-key", span, format!("`{name}` is no key of {}", what(path)), help);
        let meant = keys.iter().find(|key| Some(key.name) == meant)?;
        let free = !table.iter().any(|(other, _)| other.get_ref() == meant.name);
        let first = free && self.notes.key(&join(path, meant.name)).is_none();
        (first || matches!(meant.shape, Shape::Named(_))).then_some(meant)
    }

    /// Returns whether a path is written for the first time; notes where it stands already.
    fn is_first(&mut self, path: &str, span: Range<usize>) -> bool {
        let Some(first) = self.notes.key(path) else { return true };
        let message = format!("`{path}` stands in {} already", self.notes.file_name(&first));
        self.error("twice", span, message, "keep one of them".to_owned());
        false
    }

    /// Reads a value of a shape. `before` is what another file has said of it.
    fn value(
        &mut self,
        value: &Value<'_>,
        shape: Shape,
        path: &str,
        before: Option<&toml::Value>,
    ) -> Option<toml::Value> {
        let span = value.span();
        self.notes.value_at(path, (self.file, span.clone()));
        let read =
            if self.is_faulty(value) { None } else { self.sound(value.get_ref(), span, shape, path, before) };
        if read.is_none() {
            self.notes.break_off(path);
        }
        read
    }

    fn sound(
        &mut self,
        inner: &DeValue<'_>,
        span: Range<usize>,
        shape: Shape,
        path: &str,
        before: Option<&toml::Value>,
    ) -> Option<toml::Value> {
        match shape {
            Shape::Text => self.text(inner, span, path, "a text"),
            Shape::Period => {
                const WANTED: &str = "a length of time, \"30 minutes\" say";
                let text = self.amount::<Period>(inner, span.clone(), path, WANTED)?;
                let zero = text.as_str().and_then(|text| text.parse().ok()) == Some(Period::default());
                if !zero {
                    return Some(text);
                }
                let message = format!("`{}` of {} is no time at all", last(path), what(above(path)));
                self.error("bad-amount", span, message, format!("write {WANTED}"));
                None
            }
            Shape::Share => self.amount::<Share>(inner, span, path, "a share, \"10%\" or \"all\""),
            Shape::Rate => self.amount::<Rate>(inner, span, path, RATE),
            Shape::TimeOfDay(example) => {
                self.amount::<TimeOfDay>(inner, span, path, &format!("a time of day, \"{example}\" say"))
            }
            Shape::Bandwidth(keys) => self.bandwidth(inner, span, path, keys),
            Shape::RestorePoint => {
                self.amount::<Wanted>(inner, span, path, "a choice of restore point, \"latest\" say")
            }
            Shape::Flag => match inner {
                DeValue::Boolean(flag) => Some((*flag).into()),
                _ => self.wrong(inner, span, path, "true or false"),
            },
            Shape::Whole => match inner {
                DeValue::Integer(number) => match u32::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Some(i64::from(number).into()),
                    Err(_) => {
                        let message = format!("`{path}` is {number}");
                        self.error(
                            "bad-amount",
                            span,
                            message,
                            format!("write a whole number, 0 to {}", u32::MAX),
                        );
                        None
                    }
                },
                _ => self.wrong(inner, span, path, "a whole number"),
            },
            Shape::Word(words) => self.word(inner, span, path, words),
            Shape::Texts => self.texts(inner, span, path),
            Shape::Command => match self.texts(inner, span.clone(), path)? {
                toml::Value::Array(items) if items.is_empty() => {
                    let help = "write the program and its arguments, [\"…\", \"…\"]".to_owned();
                    self.error("empty-command", span, format!("`{path}` is empty"), help);
                    None
                }
                items => Some(items),
            },
            Shape::Secret(keys) => match inner {
                DeValue::String(_) => {
                    let message = format!(
                        "`{path}` is a secret: it never stands in the plan, which people print and send around"
                    );
                    let help =
                        "write { env = \"NAME\" }, { file = \"/path\" } or { command = [\"…\"] }".to_owned();
                    self.error("secret-in-plan", span, message, help);
                    None
                }
                DeValue::Table(table) => self.one_of(table, span, keys, path),
                _ => self.wrong(
                    inner,
                    span,
                    path,
                    "{ env = \"NAME\" }, { file = \"/path\" } or { command = [\"…\"] }",
                ),
            },
            Shape::OneOf(keys) => match inner {
                DeValue::Table(table) => self.one_of(table, span, keys, path),
                _ => self.wrong(inner, span, path, &format!("a table with one of {}", list(names(keys)))),
            },
            Shape::Table(keys) => match inner {
                DeValue::Table(table) => {
                    let mut out = toml::Table::new();
                    self.table(table, keys, path, &mut out);
                    missing(self.notes, &out, keys, path, &(self.file, span));
                    Some(out.into())
                }
                _ => self.wrong(inner, span, path, "a table"),
            },
            Shape::Named(keys) => match inner {
                DeValue::Table(table) => Some(self.named(table, keys, path, before)),
                _ => self.wrong(inner, span, path, "a table of tables"),
            },
            Shape::List(keys) => {
                self.items(inner, span, path, Shape::Table(keys), "a list of tables, [{ … }]")
            }
        }
    }

    fn bandwidth(
        &mut self,
        value: &DeValue<'_>,
        span: Range<usize>,
        path: &str,
        keys: &'static [Key],
    ) -> Option<toml::Value> {
        const WANTED: &str = "\"20 MB/s\", or [{ from = \"08:00\", to = \"18:00\", limit = \"20 MB/s\" }]";
        match value {
            DeValue::String(_) => self.amount::<Rate>(value, span, path, RATE),
            DeValue::Array(rules) if rules.is_empty() => {
                let help = format!("write {WANTED}, or take the line out");
                self.error("empty", span, format!("`{path}` is empty"), help);
                None
            }
            _ => self.items(value, span, path, Shape::Table(keys), WANTED),
        }
    }

    fn named(
        &mut self,
        table: &DeTable<'_>,
        keys: &'static [Key],
        path: &str,
        before: Option<&toml::Value>,
    ) -> toml::Value {
        let mut out = before.and_then(toml::Value::as_table).cloned().unwrap_or_default();
        for (name, value) in table {
            let span = name.span();
            let name: &str = name.get_ref();
            let here = join(path, name);
            let fits = !name.is_empty()
                && name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
                && !name.starts_with('-');
            if !fits {
                let help = "names are letters, digits, - and _, and don't begin with -";
                self.error("bad-name", span, format!("`{name}` can't be a name"), help.to_owned());
                self.notes.break_off(&here);
                continue;
            }
            if !self.is_first(&here, span.clone()) {
                continue;
            }
            self.notes.key_at(&here, (self.file, span));
            if let Some(value) = self.value(value, Shape::Table(keys), &here, None) {
                out.insert(name.to_owned(), value);
            }
        }
        out.into()
    }

    /// Reads a table of which exactly one key is written.
    fn one_of(
        &mut self,
        table: &DeTable<'_>,
        span: Range<usize>,
        keys: &'static [Key],
        path: &str,
    ) -> Option<toml::Value> {
        let mut out = toml::Table::new();
        self.table(table, keys, path, &mut out);
        let written = table.len();
        if written != 1 {
            let message = format!("`{path}` must say exactly one of {}", list(names(keys)));
            let help = if written == 0 { "write one of them" } else { "keep one of them" };
            let place = self.notes.key(path).map_or(span, |(_, key)| key);
            self.error("one-of", place, message, help.to_owned());
        }
        (written == 1 && out.len() == 1).then(|| out.into())
    }

    fn word(
        &mut self,
        value: &DeValue<'_>,
        span: Range<usize>,
        path: &str,
        words: &'static [&'static str],
    ) -> Option<toml::Value> {
        let read =
            self.text(value, span.clone(), path, &format!("one of {}", list(words.iter().copied())))?;
        let text = read.as_str().unwrap_or_default();
        if words.contains(&text) {
            return Some(read);
        }
        let help = match nearest(text, words.iter().copied()) {
            Some(near) => format!("write \"{near}\""),
            None => format!("one of {}", list(words.iter().copied())),
        };
        self.error("unknown-word", span, format!("`{text}` is no {}", last(path)), help);
        None
    }

    fn text(
        &mut self,
        value: &DeValue<'_>,
        span: Range<usize>,
        path: &str,
        wanted: &str,
    ) -> Option<toml::Value> {
        match value {
            DeValue::String(text) if text.trim().is_empty() => {
                self.error(
                    "empty",
                    span,
                    format!("`{path}` is empty"),
                    format!("write {wanted}, or take the line out"),
                );
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
                let message = format!("`{}` of {}: {error}", last(path), what(above(path)));
                self.error("bad-amount", span, message, format!("write {wanted}"));
                None
            }
        }
    }

    fn texts(&mut self, value: &DeValue<'_>, span: Range<usize>, path: &str) -> Option<toml::Value> {
        self.items(value, span, path, Shape::Text, "a list of texts, [\"…\"]")
    }

    /// Reads a list. With one item broken all of it is, so that the others keep their places.
    fn items(
        &mut self,
        value: &DeValue<'_>,
        span: Range<usize>,
        path: &str,
        each: Shape,
        wanted: &str,
    ) -> Option<toml::Value> {
        let DeValue::Array(items) = value else {
            return self.wrong(value, span, path, wanted);
        };
        let read: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(at, item)| self.value(item, each, &format!("{path}.{at}"), None))
            .collect();
        Some(read.into_iter().collect::<Option<Vec<_>>>()?.into())
    }

    fn wrong(
        &mut self,
        value: &DeValue<'_>,
        span: Range<usize>,
        path: &str,
        wanted: &str,
    ) -> Option<toml::Value> {
        let is = match value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        // Of a table that was written as a section, the heading says where; not all of its lines.
        let place = match value {
            DeValue::Table(_) => self.notes.key(path).map_or(span, |(_, key)| key),
            _ => span,
        };
        self.error("wrong-type", place, format!("`{path}` is {is}"), format!("write {wanted}"));
        None
    }

    /// Returns whether a value is one that TOML itself refuses; that it was found bounds the damage.
    fn is_faulty(&mut self, value: &Value<'_>) -> bool {
        if matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)) {
            return false;
        }
        let span = value.span();
        let inside = |fault: &&mut Fault| span.start <= fault.span.start && fault.span.end <= span.end;
        let mut faulty = false;
        for fault in self.faults.iter_mut().filter(inside) {
            fault.contained = true;
            faulty = true;
        }
        faulty
    }

    /// Notes the mistakes against TOML itself, one for each place.
    fn syntax(mut self) {
        let mut faults = std::mem::take(&mut self.faults);
        faults.dedup_by_key(|fault| fault.span.clone());
        for fault in faults {
            if !fault.contained {
                self.notes.lose();
            }
            let raw = self.text.get(fault.span.clone()).unwrap_or_default();
            let bare = !raw.is_empty() && !raw.contains(['"', '\'', '\n', '[', '{', ']', '}', ',']);
            let (message, expected) = match fault.message.split_once(", expected ") {
                Some((message, expected)) => (message.to_owned(), Some(format!("write {expected}"))),
                None if fault.message == "duplicate key" => {
                    ("stands there already".into(), Some("keep one of them".into()))
                }
                None => (fault.message, None),
            };
            let help = if fault.contained && bare { Some(format!("write \"{raw}\"")) } else { expected };
            self.error("syntax", fault.span, message, help);
        }
    }
}

/// Notes the required keys that a table lacks, unless they are there and broken.
pub(crate) fn missing(notes: &mut Notes, table: &toml::Table, keys: &[Key], path: &str, place: &Place) {
    for key in keys.iter().filter(|key| key.required && !table.contains_key(key.name)) {
        let here = join(path, key.name);
        if notes.is_broken(&here) {
            continue;
        }
        // The table's own name says better where than all of its lines.
        let place = notes.key(path).unwrap_or_else(|| place.clone());
        let message = format!("{} lacks `{}`", what(path), key.name);
        notes.add(Severity::Error, "missing-key", place, message, Some(key.doc.to_owned()));
    }
}

fn names(keys: &'static [Key]) -> impl Iterator<Item = &'static str> {
    keys.iter().map(|key| key.name)
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
