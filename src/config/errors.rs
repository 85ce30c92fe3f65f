//! What is wrong with a configuration: all of it at once, each with its file, its line and the line itself.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, in a few words.
    pub message: String,
    /// What the reader can do.
    pub help: Option<String>,
}

/// Where a problem is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Bytes of the file.
    File(Range<usize>),
    /// A variable of the environment.
    Variable(String),
    /// The whole file.
    Whole,
}

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    file: String,
    text: String,
    problems: Vec<Problem>,
}

impl Errors {
    /// Problems of `text`, which was read from `file`.
    pub(super) fn new(file: String, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| match &problem.place {
            Place::Whole => 0,
            Place::File(span) => span.start.saturating_add(1),
            Place::Variable(_) => usize::MAX,
        });
        problems.dedup();
        Self { file, text: without_passwords(text), problems }
    }

    /// The problems, at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The report, with ANSI colours or without.
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let reports = self.problems.iter().map(|problem| renderer.render(&self.report(problem)));
        reports.collect::<Vec<_>>().join("\n\n")
    }

    fn report<'a>(&'a self, problem: &'a Problem) -> Vec<Group<'a>> {
        let message = match &problem.place {
            Place::Variable(name) => format!("environment variable {name}: {}", problem.message),
            Place::Whole => format!("{}: {}", self.file, problem.message),
            Place::File(_) => problem.message.clone(),
        };
        let title = Level::ERROR.primary_title(message);
        let mut group = match &problem.place {
            Place::File(span) => title.element(
                Snippet::source(self.text.as_str())
                    .path(self.file.as_str())
                    .annotation(AnnotationKind::Primary.span(self.clip(span))),
            ),
            _ => Group::with_title(title),
        };
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        vec![group]
    }

    /// A span within the text, of one line at most: a section that lacks a key is shown by its head.
    fn clip(&self, span: &Range<usize>) -> Range<usize> {
        let start = span.start.min(self.text.len());
        let rest = self.text.get(start..span.end.min(self.text.len())).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default();
        start..start.saturating_add(line.len())
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Errors {}

/// The text with what follows `password =` starred out, byte for byte: lines are printed.
fn without_passwords(text: &str) -> String {
    let lines = text.split_inclusive('\n').map(|line| {
        let Some((key, value)) = line.split_once('=') else { return line.to_owned() };
        if key.trim() != "password" {
            return line.to_owned();
        }
        let stars = value.bytes().map(|byte| if byte.is_ascii_whitespace() { char::from(byte) } else { '*' });
        format!("{key}={}", stars.collect::<String>())
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_printed_with_its_line() {
        let text = "[[databases]]\npassword = \"hünter2\"\nport = 1\n";
        let masked = without_passwords(text);
        assert_eq!(masked.len(), text.len());
        assert!(!masked.contains("nter2") && masked.contains("port = 1"));
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let text = "a = 1\nbee = 2\n";
        let problem =
            |place, message: &str| Problem { place, message: message.into(), help: Some("help".into()) };
        let errors = Errors::new(
            "x.toml".into(),
            text,
            vec![
                problem(Place::Variable("PGBULKHEAD_X".into()), "third"),
                problem(Place::File(6..9), "second"),
                problem(Place::File(0..1), "first"),
            ],
        );
        let told = errors.to_string();
        let place = |what: &str| told.find(what).unwrap_or_else(|| panic!("{what} in {told}"));
        assert!(place("first") < place("second") && place("second") < place("PGBULKHEAD_X: third"));
        assert!(told.contains("x.toml:2:1") && told.contains("bee = 2"));
    }
}
