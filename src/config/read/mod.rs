//! Reads `pgbulkhead.toml` into the model. Nothing stops at the first error: what cannot be read is left
//! out, everything else is still looked at, and the result is a [`Config`] or all that is wrong.

mod databases;
mod general;
mod rules;
mod section;
mod users;
mod values;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeTable;

use super::errors::{Errors, Place, Problem};
use super::model::{Audit, Config, General, Tenancy};
use section::{Origin, Section};

/// The environment: what `*_env` keys and `PGBULKHEAD_<SECTION>_<KEY>` overrides are looked up in.
pub type Environment = BTreeMap<String, String>;

/// Sections whose keys the environment can set.
const OVERRIDABLE: [&str; 3] = ["general", "tenancy", "audit"];

/// The process's environment; variables that are not UTF-8 are left out.
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Reads and checks a file. Relative paths in it are taken from the working directory.
pub fn read(path: &Path, env: &Environment) -> Result<Config, Errors> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&file, &text, env),
        Err(error) => {
            let message = format!("cannot be read: {error}");
            Err(Errors::new(file, "", vec![Problem { place: Place::Whole, message, help: None }]))
        }
    }
}

/// Reads and checks the text of a configuration; `file` is what errors call it.
pub fn parse(file: &str, text: &str, env: &Environment) -> Result<Config, Errors> {
    let (document, syntax) = DeTable::parse_recoverable(text);
    let problems = RefCell::new(syntax.iter().map(syntax_problem).collect::<Vec<_>>());
    let root = Section::root(document.get_ref(), &problems);
    let config = config(root, env);
    let problems = problems.into_inner();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Errors::new(file.to_owned(), text, problems)),
    }
}

fn syntax_problem(error: &toml::de::Error) -> Problem {
    let place = error.span().map_or(Place::Whole, Place::File);
    Problem { place, message: error.message().to_owned(), help: None }
}

/// Reads every section, whatever the others said.
fn config<'a>(mut root: Section<'a>, env: &'a Environment) -> Option<Config> {
    let [general, tenancy, audit] = OVERRIDABLE.map(|name| {
        let mut section = root.section(name);
        override_from(&mut section, name, env);
        section
    });
    let listeners = general::listeners(&mut root);
    let general = general::general(general, listeners);
    let databases = databases::databases(&mut root, env);
    let tenancy = general::tenancy(tenancy);
    let tables = rules::tables(&mut root);
    let functions = rules::functions(&mut root);
    let sequences = rules::sequences(&mut root);
    let roles = rules::roles(&mut root);
    let token_keys = users::token_keys(&mut root);
    let users = users::users(&mut root, env, general.as_ref(), &token_keys);
    let audit = general::audit(audit);
    root.finish();
    let (general, tenancy, audit): (General, Tenancy, Audit) = (general?, tenancy?, audit?);
    Some(Config {
        general,
        databases,
        tenancy,
        tables,
        functions,
        sequences,
        roles,
        users,
        token_keys: token_keys.into_iter().map(|(key, _)| key).collect(),
        audit,
    })
}

/// Puts the variables of a section in the place of its keys. A key that no section has is found as any
/// unknown key is.
fn override_from<'a>(section: &mut Section<'a>, name: &str, env: &'a Environment) {
    let prefix = format!("PGBULKHEAD_{}_", name.to_ascii_uppercase());
    for (variable, value) in env.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix)) {
        let key = variable.strip_prefix(&prefix).unwrap_or_default().to_ascii_lowercase();
        section.put(key, value, Origin::Variable(variable.clone()));
    }
}

#[cfg(test)]
mod tests;
