//! A table of the file while it is read: its keys are taken one by one, and what nobody took is unknown.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::config::errors::{Place, Problem};

use super::values::nearest;

/// Where problems are collected.
pub(super) type Problems = RefCell<Vec<Problem>>;

/// A table.
pub(super) struct Section<'a> {
    /// What errors call it: `[general]`.
    title: String,
    span: Option<Range<usize>>,
    keys: BTreeMap<String, Entry<'a>>,
    known: Vec<&'static str>,
    problems: &'a Problems,
}

/// A key with its value.
pub(super) struct Entry<'a> {
    value: DeValue<'a>,
    origin: Origin,
}

/// Where a value stands.
#[derive(Clone)]
pub(super) enum Origin {
    /// In the file: the key's bytes and the value's.
    File { key: Range<usize>, value: Range<usize> },
    /// In a variable of the environment.
    Variable(String),
}

impl Origin {
    fn place(&self) -> Place {
        match self {
            Self::File { value, .. } => Place::File(value.clone()),
            Self::Variable(name) => Place::Variable(name.clone()),
        }
    }
}

impl<'a> Section<'a> {
    /// The whole document.
    pub(super) fn root(table: &DeTable<'a>, problems: &'a Problems) -> Self {
        Self::new("the top level".to_owned(), None, table, problems)
    }

    fn new(title: String, span: Option<Range<usize>>, table: &DeTable<'a>, problems: &'a Problems) -> Self {
        let keys = table.iter().map(|(key, value)| {
            let origin = Origin::File { key: key.span(), value: value.span() };
            (key.get_ref().clone().into_owned(), Entry { value: value.get_ref().clone(), origin })
        });
        Self { title, span, keys: keys.collect(), known: Vec::new(), problems }
    }

    /// Sets a key from outside the file. The text is read as TOML where it is TOML (`16`, `["a", "b"]`),
    /// and as a string otherwise.
    pub(super) fn put(&mut self, key: String, text: &'a str, origin: Origin) {
        let value = match DeValue::parse(text) {
            Ok(value) => {
                let mut value = value.into_inner();
                value.make_owned();
                value
            }
            Err(_) => DeValue::String(text.to_owned().into()),
        };
        self.keys.insert(key, Entry { value, origin });
    }

    /// Takes a key that may be missing. `read` says in its error what was expected.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        self.spanned(key, read).map(|(value, _)| value)
    }

    /// The same, with its place for later complaints.
    pub(super) fn spanned<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<(T, Place)> {
        self.known.push(key);
        let entry = self.keys.remove(key)?;
        let place = entry.origin.place();
        match read(&entry.value) {
            Ok(value) => Some((value, place)),
            Err(expected) => {
                self.complain(place, format!("`{key}`: {expected}"), None);
                None
            }
        }
    }

    /// Takes a key that has a default.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// Takes a key that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        if !self.keys.contains_key(key) {
            self.known.push(key);
            self.complain_here(format!("{} lacks `{key}`", self.title), None);
            return None;
        }
        self.optional(key, read)
    }

    /// Whether the key stands there and was not taken yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// Takes a table; an empty one where it is missing.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        self.known.push(key);
        let title = format!("[{key}]");
        let empty = DeTable::default();
        match self.keys.remove(key) {
            Some(Entry { value: DeValue::Table(table), origin: Origin::File { value, .. } }) => {
                Self::new(title, Some(value), &table, self.problems)
            }
            Some(entry) => {
                self.complain(entry.origin.place(), format!("`{key}` must be a table, as in {title}"), None);
                Self::new(title, None, &empty, self.problems)
            }
            None => Self::new(title, None, &empty, self.problems),
        }
    }

    /// Takes an array of tables (`[[key]]`, or `key = [{…}]`); an empty one where it is missing.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        self.known.push(key);
        let title = format!("[[{key}]]");
        let Some(entry) = self.keys.remove(key) else { return Vec::new() };
        let DeValue::Array(array) = entry.value else {
            self.complain(
                entry.origin.place(),
                format!("`{key}` must be a list of tables, as in {title}"),
                None,
            );
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in array {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(table) => {
                    sections.push(Self::new(title.clone(), Some(span), &table, self.problems));
                }
                other => {
                    let message = format!("a member of {title} must be a table, not {}", other.type_str());
                    self.complain(Place::File(span), message, None);
                }
            }
        }
        sections
    }

    /// Adds the entry's own name to what errors call the section.
    pub(super) fn name_it(&mut self, name: &str) {
        self.title = format!("{} \"{name}\"", self.title);
    }

    /// What errors call it.
    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        self.span.clone().map_or(Place::Whole, Place::File)
    }

    /// Notes a problem of the section as a whole.
    pub(super) fn complain_here(&self, message: String, help: Option<String>) {
        self.complain(self.place(), message, help);
    }

    /// Notes a problem.
    pub(super) fn complain(&self, place: Place, message: String, help: Option<String>) {
        self.problems.borrow_mut().push(Problem { place, message, help });
    }

    /// Every key must have been taken: what is left is unknown here.
    pub(super) fn finish(self) {
        for (key, entry) in &self.keys {
            let place = match &entry.origin {
                Origin::File { key, .. } => Place::File(key.clone()),
                Origin::Variable(name) => Place::Variable(name.clone()),
            };
            let help = match nearest(key, &self.known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.complain(place, format!("unknown key `{key}` in {}", self.title), Some(help));
        }
    }
}
