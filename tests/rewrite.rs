//! The rewriting as data: `tests/rewrite/*.toml` hold statements with the verdict and the SQL that is sent. The
//! tenant stands in it as `$9`. A case with a `major` is planned as for a server of that major.
//!
//! Needs PostgreSQL's binaries: the catalog of the corpus schema is read from a server. `PGBULKHEAD_BLESS=1`
//! writes what came out into the files, to be read before it is committed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgbulkhead::demo::EmbeddedPostgres;
use pgbulkhead::demo::embedded::Options;
use pgbulkhead::sql::{Action, Limits, Statement, World, plan, statements};

#[path = "support/world.rs"]
mod world;

const TENANT: u16 = 9;

/// A role that reads only, and does not see what users keep secret.
const RULES: &str = r#"
[[roles]]
name = "reader"
read_only = true
default_allow = true

[[roles.rules]]
table = "app.users"
allow = ["select"]
denied_columns = ["secret"]

[[roles]]
name = "clerk"
default_allow = true

[[roles.rules]]
table = "app.users"
allow = ["select", "insert", "update", "delete"]
denied_columns = ["secret"]
"#;

#[derive(serde::Deserialize)]
struct File {
    case: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    role: Option<String>,
    /// The major that the catalog says it is of, where the form depends on it.
    major: Option<u32>,
    sql: String,
    refused: Option<String>,
    rewritten: Option<String>,
}

#[test]
fn statements_are_rewritten_as_the_files_say() {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(run).expect("a thread");
    thread.join().expect("every case holds");
}

/// The corpus schema's catalog and policy; the server is not needed any more.
fn started_world() -> World {
    let postgres = EmbeddedPostgres::start(&Options { password: None, settings: Vec::new(), binaries: None });
    world::of(&postgres.expect("PostgreSQL starts"), RULES)
}

/// The world of the server that was started, and those of other majors over the same catalog.
struct Worlds {
    of: BTreeMap<Option<u32>, World>,
}

impl Worlds {
    fn of(&mut self, major: Option<u32>) -> &World {
        if !self.of.contains_key(&major) {
            let started = &self.of[&None];
            let mut catalog = (*started.catalog).clone();
            catalog.server_version_num = major.expect("the started one is there") * 10_000;
            let world = World::new(Arc::new(catalog), started.policy.clone());
            self.of.insert(major, world);
        }
        &self.of[&major]
    }
}

fn run() {
    let mut worlds = Worlds { of: BTreeMap::from([(None, started_world())]) };
    let bless = std::env::var_os("PGBULKHEAD_BLESS").is_some();
    let (mut held, mut broken) = (0, Vec::new());
    for path in files() {
        let text = std::fs::read_to_string(&path).expect("a file of cases");
        let file: File = toml::from_str(&text).expect("a well-formed file of cases");
        let mut blessed = String::new();
        for case in &file.case {
            let (refused, rewritten) = outcome(worlds.of(case.major), case);
            let differs = refused != case.refused || rewritten != case.rewritten;
            match differs {
                false => held += 1,
                true => broken.push(format!(
                    "{}: {}\n   expected {:?} {:?}\n   got      {refused:?} {rewritten:?}",
                    path.file_name().unwrap_or_default().to_string_lossy(),
                    case.name,
                    case.refused,
                    case.rewritten
                )),
            }
            blessed.push_str(&written(case, refused.as_deref(), rewritten.as_deref()));
        }
        if bless {
            std::fs::write(&path, blessed.trim_start()).expect("the file is written");
        }
    }
    println!("{held} cases hold, {} differ", broken.len());
    broken.iter().for_each(|b| println!("{b}"));
    assert!(bless || broken.is_empty(), "{} cases differ", broken.len());
}

fn outcome(world: &World, case: &Case) -> (Option<String>, Option<String>) {
    let role = case.role.as_deref().unwrap_or("app");
    let found = match statements(&case.sql, &Limits::default()) {
        Ok(found) => found,
        Err(refusal) => return (Some(format!("{} {refusal}", refusal.state)), None),
    };
    let [statement] = found.as_slice() else { return (Some("not one statement".into()), None) };
    match plan(world, role, statement) {
        Err(refusal) => (Some(format!("{} {refusal}", refusal.state)), None),
        Ok(planned) => match planned.action {
            Action::Send { sql, .. } | Action::Set { sql, .. } | Action::Savepoint { sql, .. } => {
                (None, Some(rendered(&sql, statement)))
            }
            Action::Execute(execute) => (None, Some(rendered(&execute.tenanted, statement))),
            other => (None, Some(format!("{other:?}"))),
        },
    }
}

fn rendered(sql: &pgbulkhead::sql::VerifiedSql, statement: &Statement<'_>) -> String {
    let mut text = Vec::new();
    sql.render_extended(&mut text, TENANT, |index| statement.token(index).unwrap_or_default().as_bytes());
    without_oids(&String::from_utf8(text).expect("rendered SQL is UTF-8"))
}

/// The text with `OID` for the number of an index, which each server chooses.
fn without_oids(text: &str) -> String {
    let parts: Vec<&str> = text.split("'::pg_catalog.oid").collect();
    let masked = |(at, part): (usize, &&str)| match at + 1 == parts.len() {
        true => (*part).to_owned(),
        false => format!("{}OID'::pg_catalog.oid", part.trim_end_matches(|c: char| c.is_ascii_digit())),
    };
    parts.iter().enumerate().map(masked).collect()
}

fn written(case: &Case, refused: Option<&str>, rewritten: Option<&str>) -> String {
    let mut text = format!("\n[[case]]\nname = {}\n", quoted(&case.name));
    if let Some(major) = case.major {
        text.push_str(&format!("major = {major}\n"));
    }
    for (key, value) in [
        ("role", case.role.as_deref()),
        ("sql", Some(case.sql.as_str())),
        ("refused", refused),
        ("rewritten", rewritten),
    ] {
        if let Some(value) = value {
            text.push_str(&format!("{key} = {}\n", quoted(value)));
        }
    }
    text
}

/// A TOML string: what JSON writes is a basic string of TOML.
fn quoted(text: &str) -> String {
    if text.contains('\'') { serde_json::Value::from(text).to_string() } else { format!("'{text}'") }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rewrite");
    let entries = std::fs::read_dir(folder).expect("the folder of cases");
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    files.sort();
    files
}
