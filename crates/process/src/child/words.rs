//! What a program is told, word by word, since no shell is between.

use std::ffi::{OsStr, OsString};
use std::fmt;

/// A program and what it is told. What is an option is a text of our code; what others have named comes after `--`, or in one word with its option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    line: Vec<OsString>,
    /// All that follows is data.
    is_past_options: bool,
    /// It is somebody's command, as he wrote it: a step or a hook of the plan.
    is_written: bool,
}

/// Why a name can't be handed to a program that has no way to tell a name from an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(OsString);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.to_string_lossy();
        write!(
            f,
            "`{name}` can't be handed to a program: it would be taken for an option, or cut off; give it another name"
        )
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for std::io::Error {
    fn from(refused: Refused) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, refused)
    }
}

impl Words {
    /// Returns a program without any further word.
    #[must_use]
    pub fn of(program: impl Into<OsString>) -> Self {
        Self { line: vec![program.into()], is_past_options: false, is_written: false }
    }

    /// Returns a command as somebody wrote it, in the plan: each of its words is his own, and it is run as he would run it.
    #[must_use]
    pub fn written(line: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { line: line.into_iter().map(Into::into).collect(), is_past_options: true, is_written: true }
    }

    /// Adds a word of ours: an option, a verb, or the `--` behind which nothing is an option.
    #[must_use]
    pub fn word(mut self, word: &'static str) -> Self {
        self.line.push(word.into());
        self.is_past_options |= word == "--";
        self
    }

    /// Adds words of ours.
    #[must_use]
    pub fn words(self, words: impl IntoIterator<Item = &'static str>) -> Self {
        words.into_iter().fold(self, Self::word)
    }

    /// Adds an option with its value in one word, `--name=value`: whatever that begins with, it is its value.
    #[must_use]
    pub fn option(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        let mut word = OsString::from(name);
        word.push("=");
        word.push(value);
        self.line.push(word);
        self
    }

    /// Adds an option with its value before all others: where a program looks for it only there.
    #[must_use]
    pub fn first(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        let mut word = OsString::from(name);
        word.push("=");
        word.push(value);
        self.line.insert(self.line.len().min(1), word);
        self
    }

    /// Adds an option that always takes the next word for its value, whatever that begins with: `-D FOLDER`.
    #[must_use]
    pub fn pair(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.line.push(name.into());
        self.line.push(value.into());
        self
    }

    /// Adds what others have named, behind `--`: nothing of it is an option. For programs that know `--`, which are all that use getopt.
    #[must_use]
    pub fn data(mut self, data: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        if !self.is_past_options {
            self.line.push("--".into());
            self.is_past_options = true;
        }
        self.line.extend(data.into_iter().map(Into::into));
        self
    }

    /// Adds arguments that another part of this program has put together: names stand in them behind a `--` of theirs, or in one word with their option.
    #[must_use]
    pub fn told(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        for argument in arguments {
            let argument = argument.into();
            self.is_past_options |= argument == "--";
            self.line.push(argument);
        }
        self
    }

    /// Adds what others have named for a program that doesn't know `--`. What it could take for an option is refused.
    pub fn bare(mut self, name: impl Into<OsString>) -> Result<Self, Refused> {
        let name = name.into();
        match name.as_encoded_bytes() {
            [] | [b'-', ..] => Err(Refused(name)),
            bytes if bytes.contains(&0) => Err(Refused(name)),
            _ => {
                self.line.push(name);
                Ok(self)
            }
        }
    }

    /// Puts a program before it that runs it: `setsid`, `runuser --user=… --`. What that is told is its own.
    #[must_use]
    pub fn behind(mut self, wrapper: Self) -> Self {
        let mut line = wrapper.line;
        line.append(&mut self.line);
        Self { line, ..self }
    }

    /// Returns the program as it is called, before it is looked for.
    #[must_use]
    pub fn program(&self) -> &OsStr {
        self.line.first().map_or(OsStr::new(""), OsString::as_os_str)
    }

    /// Puts a program in the place of the one that is named: where it was found.
    #[must_use]
    pub fn found_at(mut self, program: impl Into<OsString>) -> Self {
        if let Some(first) = self.line.first_mut() {
            *first = program.into();
        }
        self
    }

    pub(super) const fn is_written(&self) -> bool {
        self.is_written
    }

    pub(super) fn into_line(self) -> Vec<OsString> {
        self.line
    }
}

/// A program with words of ours alone.
impl<const N: usize> From<[&'static str; N]> for Words {
    fn from(line: [&'static str; N]) -> Self {
        Self { line: Vec::new(), is_past_options: false, is_written: false }.words(line)
    }
}
