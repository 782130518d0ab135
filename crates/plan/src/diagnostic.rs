//! What is wrong with a plan: where, why, and what to write instead.

use miette::{LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// One file of the plan.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Its name, as people are shown it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The text of a file, with where its lines begin: of ten thousand places in it none is counted from its beginning on.
pub struct Text {
    name: String,
    text: String,
    /// Where each line begins, the first one too.
    lines: Vec<usize>,
}

impl Text {
    pub(crate) fn new(file: &SourceFile) -> Self {
        let (name, text) = (file.name.clone(), file.text.clone());
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name, text, lines }
    }

    /// Returns the name of the file, as people are shown it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns all of it.
    #[must_use]
    pub fn inner(&self) -> &str {
        &self.text
    }

    /// Returns how many lines begin before a place, or at it: the number of its own line, from 1.
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= at)
    }

    /// Returns where a line begins that has so many before it; behind the last one, where all of it ends.
    fn begin(&self, before: usize) -> usize {
        self.lines.get(before).copied().unwrap_or(self.text.len())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SourceCode for Text {
    /// Looks at the lines around a place alone, whatever stands before them.
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        // One line more on both sides, so that it is seen where the others begin and end.
        let first = self.line(span.offset()).saturating_sub(before.saturating_add(2));
        let last = self.line(span.offset().saturating_add(span.len())).saturating_add(after);
        let (begin, end) = (self.begin(first), self.begin(last.saturating_add(1)));
        let around = self.text.get(begin..end).ok_or(MietteError::OutOfBounds)?;
        let inside = SourceSpan::from((span.offset().saturating_sub(begin), span.len()));
        let found = around.read_span(&inside, before, after)?;
        let there = SourceSpan::from((found.span().offset().saturating_add(begin), found.span().len()));
        let (line, lines) = (found.line().saturating_add(first), found.line_count().saturating_add(first));
        let name = self.name.clone();
        let shown = MietteSpanContents::new_named(name, found.data(), there, line, found.column(), lines);
        Ok(Box::new(shown.with_language("TOML")))
    }
}

/// Whether a plan can be used in spite of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The plan can be used, and a person should look.
    Warning,
    /// The plan can't be used.
    Error,
}

/// One thing that is wrong with a plan.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// A stable name for scripts: `unknown-key`, `needs-cycle`.
    pub code: &'static str,
    /// Whether the plan can be used in spite of it.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The file.
    pub file: Arc<Text>,
    /// The bytes of the file that it is about.
    pub span: Range<usize>,
    /// What the marked place is, in a word or two.
    pub label: Option<String>,
}

impl Diagnostic {
    /// Returns the line of the place, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.file.line(self.span.start)
    }

    /// Returns the column of the place, from 1, in characters.
    #[must_use]
    pub fn column(&self) -> usize {
        let begin = self.file.begin(self.line().saturating_sub(1));
        let before = self.file.inner().get(begin..self.span.start);
        before.map_or(0, |line| line.chars().count()) + 1
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Warning => miette::Severity::Warning,
            Severity::Error => miette::Severity::Error,
        })
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&*self.file)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = LabeledSpan::new(self.label.clone(), self.span.start, self.span.len());
        Some(Box::new(std::iter::once(span)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miette::NamedSource;

    #[test]
    fn a_place_is_shown_as_if_the_whole_file_had_been_read() {
        let texts = [
            "",
            "a",
            "a = 1\n",
            "\n\n\n",
            "[a]\r\nb = 1\r\n\r\nc = [\r\n  2,\r\n]\r\n",
            "é = 'ü'\nb = 2\nc = 3\nd = 4\ne = 5\nf = 6",
        ];
        for text in texts {
            let ours = Text::new(&SourceFile { name: "plan.toml".into(), text: text.into() });
            let theirs = NamedSource::new("plan.toml", text.to_owned()).with_language("TOML");
            for (start, around) in
                (0..=text.len()).flat_map(|start| (0..4).map(move |around| (start, around)))
            {
                for length in 0..=text.len() + 2 - start.min(text.len()) {
                    let span = SourceSpan::from((start, length));
                    let said = |read: Result<Box<dyn SpanContents<'_> + '_>, MietteError>| {
                        let read = read.ok()?;
                        Some((
                            read.data().to_vec(),
                            *read.span(),
                            read.line(),
                            read.column(),
                            read.line_count(),
                        ))
                    };
                    let (own, whole) = (
                        said(ours.read_span(&span, around, around)),
                        said(theirs.read_span(&span, around, around)),
                    );
                    assert_eq!(own, whole, "{text:?} {start}+{length}, {around} around");
                }
            }
        }
    }
}
