//! The table of risks: `data/functions.tsv` and `data/extensions.tsv`.

use std::sync::LazyLock;

use foldhash::HashMap;

use crate::catalog::{Function, Oid, Snapshot};

use super::{AdvisoryLock, SpecialFunction};

/// The class of a rule, the third column of `functions.tsv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Allow,
    Special(SpecialFunction),
    Deny(&'static str),
}

/// One line of `functions.tsv`.
#[derive(Debug)]
struct Line {
    arguments: Option<Vec<&'static str>>,
    class: Class,
    immutable_only: bool,
    majors: std::ops::RangeInclusive<u32>,
}

/// The table of risks.
#[derive(Debug)]
pub(super) struct Table {
    lines: HashMap<&'static str, Vec<Line>>,
    extensions: HashMap<&'static str, HashMap<&'static str, bool>>,
}

/// Parsed once.
pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| Table {
    lines: parse_functions(include_str!("../data/functions.tsv")),
    extensions: parse_extensions(include_str!("../data/extensions.tsv")),
});

impl Table {
    /// The class of a `pg_catalog` function, where a line holds for it on this major and with this volatility.
    pub fn class(&self, catalog: &Snapshot, function: &Function) -> Option<Class> {
        let major = catalog.server_version_num.checked_div(10_000)?;
        let lines = self.lines.get(function.name.as_str())?;
        let exact =
            lines.iter().find(|l| l.arguments.as_ref().is_some_and(|a| matches_types(catalog, a, function)));
        let line = exact.or_else(|| lines.iter().find(|l| l.arguments.is_none()))?;
        let holds = line.majors.contains(&major) && (!line.immutable_only || function.volatility == 'i');
        holds.then_some(line.class)
    }

    /// Whether a function of a known extension is pure; nothing for what no line knows.
    pub fn extension(&self, function: &Function) -> Option<bool> {
        let functions = self.extensions.get(function.extension.as_deref()?)?;
        functions.get(function.name.as_str()).or_else(|| functions.get("*")).copied()
    }
}

fn matches_types(catalog: &Snapshot, names: &[&str], function: &Function) -> bool {
    let named = |(name, oid): (&&str, &Oid)| catalog.type_by_oid(*oid).is_some_and(|t| t.name == *name);
    names.len() == function.arguments.len() && names.iter().zip(&function.arguments).all(named)
}

fn parse_functions(text: &'static str) -> HashMap<&'static str, Vec<Line>> {
    let mut lines: HashMap<&'static str, Vec<Line>> = HashMap::default();
    for row in rows(text) {
        let [name, arguments, class, volatility, from, to] = *row else { continue };
        let (Some(class), Ok(from), Ok(to)) = (class_named(class, name), from.parse(), to.parse()) else {
            continue;
        };
        lines.entry(name).or_default().push(Line {
            arguments: (arguments != "*").then(|| arguments.split(',').collect()),
            class,
            immutable_only: volatility == "i",
            majors: from..=to,
        });
    }
    lines
}

fn parse_extensions(text: &'static str) -> HashMap<&'static str, HashMap<&'static str, bool>> {
    let mut extensions: HashMap<&'static str, HashMap<&'static str, bool>> = HashMap::default();
    for row in rows(text) {
        let [extension, function, verdict] = *row else { continue };
        extensions.entry(extension).or_default().insert(function, verdict == "pure");
    }
    extensions
}

/// The lines of a table of this module, cut into fields.
fn rows(text: &'static str) -> impl Iterator<Item = Box<[&'static str]>> {
    text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).map(|l| l.split('\t').collect())
}

fn class_named(class: &str, name: &str) -> Option<Class> {
    use SpecialFunction as S;
    let special = match class {
        "pure" | "catalog" | "session" => return Some(Class::Allow),
        "deny-sql-text" => return Some(Class::Deny("runs SQL given as text")),
        "deny-file" => return Some(Class::Deny("reads files or the host's configuration")),
        "deny-large-object" => return Some(Class::Deny("reaches large objects, which belong to no tenant")),
        "deny-signal" => return Some(Class::Deny("acts on other sessions or on shared state")),
        "deny-admin" => return Some(Class::Deny("is for the server's administration")),
        "deny-statistics" => return Some(Class::Deny("shows what others do or hold")),
        "deny-catalog" => return Some(Class::Deny("reads catalogs beyond what drivers need")),
        "deny-session" => return Some(Class::Deny("shows the proxy's own session")),
        "nextval" => S::Nextval,
        "currval" => S::Currval,
        "lastval" => S::Lastval,
        "set-config" => S::SetConfig,
        "current-setting" => S::CurrentSetting,
        "notify" => S::PgNotify,
        "advisory-lock" => S::AdvisoryLock(advisory_lock(name)),
        "sleep" => S::PgSleep,
        "identity" => S::CurrentUserLike,
        "reg-input" => S::RegInput,
        "type-input" => S::PgInputIsValid,
        "serial-sequence" => S::PgGetSerialSequence,
        "address" => S::SessionAddress,
        _ => return None,
    };
    Some(Class::Special(special))
}

fn advisory_lock(name: &str) -> AdvisoryLock {
    match name {
        "pg_advisory_unlock_all" => AdvisoryLock::UnlockAll,
        _ if name.contains("unlock") => AdvisoryLock::Unlock,
        _ if name.contains("xact") => AdvisoryLock::Transaction,
        _ => AdvisoryLock::Session,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = |text: &str| text.lines().filter(|l| !l.starts_with('#')).count();
        assert_eq!(
            TABLE.lines.values().map(Vec::len).sum::<usize>(),
            lines(include_str!("../data/functions.tsv"))
        );
        assert_eq!(
            TABLE.extensions.values().map(HashMap::len).sum::<usize>(),
            lines(include_str!("../data/extensions.tsv"))
        );
    }
}
