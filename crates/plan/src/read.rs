//! From text to [`Plan`]: every mistake at once.
//!
//! [`crate::reader`] walks the text along [`crate::schema`]; what is sound is then given to serde, and [`crate::check`] looks at
//! what it means. A part that is broken is left out for the later steps, so that one mistake neither hides others nor
//! brings more along.

use crate::diagnostic::{Diagnostic, Severity, SourceFile};
use crate::notes::Notes;
use crate::reader::{missing, read};
use crate::schema::PLAN;
use crate::{Plan, check};

/// What reading a plan gave.
#[derive(Debug)]
pub struct Parsed {
    /// The plan, unless there was an error.
    pub plan: Option<Plan>,
    /// Everything that is wrong with it, in the order of the files.
    pub diagnostics: Vec<Diagnostic>,
    notes: Notes,
}

/// What somebody else than the reader has found to be wrong with what stands at a path of the plan (`systems.shop.source`), or around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Whether the plan can be used in spite of it: whoever has to use a value would refuse it, where it can't.
    pub severity: Severity,
    /// A stable name for scripts.
    pub code: &'static str,
    /// Where it stands.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Remark {
    /// Returns something that a person should look at.
    pub fn warning(
        code: &'static str,
        path: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let (path, message, help) = (path.into(), message.into(), help.into());
        Self { severity: Severity::Warning, code, path, message, help }
    }
}

impl Parsed {
    /// Adds what others have found, all of it at once: each time all is put in order anew. What is an error makes the plan one that can't be used.
    pub fn add(&mut self, remarks: impl IntoIterator<Item = Remark>) {
        let mut is_new = false;
        for Remark { severity, code, path, message, help } in remarks {
            let place = self.notes.place(&path);
            self.notes.add(severity, code, place, message, Some(help));
            is_new = true;
            if severity == Severity::Error {
                self.plan = None;
            }
        }
        if is_new {
            self.diagnostics = self.notes.diagnostics();
        }
    }

    /// Returns whether the plan can't be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// Reads a plan of one or several files.
///
/// After a syntax error that may have swallowed more than the value it stands in, nothing is said of what is missing or
/// contradicts itself: that would be guessing.
#[must_use]
pub fn parse(files: &[SourceFile]) -> Parsed {
    let mut notes = Notes::default();
    let mut merged = toml::Table::new();
    if files.is_empty() {
        read(&mut notes, &SourceFile { name: "plan".into(), text: String::new() }, &mut merged);
    }
    for file in files {
        read(&mut notes, file, &mut merged);
    }
    missing(&mut notes, &merged, PLAN, "", &(0, 0..0));
    let plan: Plan = match serde::Deserialize::deserialize(toml::Value::Table(merged)) {
        Ok(plan) => plan,
        Err(error) => {
            let message = toml::de::Error::to_string(&error);
            notes.add(Severity::Error, "shape", (0, 0..0), message, None);
            notes.lose();
            Plan::default()
        }
    };
    if !notes.is_lossy() {
        check::meaning(&plan, &mut notes);
    }
    let mut parsed = Parsed { plan: None, diagnostics: notes.diagnostics(), notes };
    if !parsed.has_errors() {
        parsed.plan = Some(plan);
    }
    parsed
}
