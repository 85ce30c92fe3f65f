//! Found once, and shrunk by hand: `tests/generated/cases/*.toml`. Each is run as the generated ones are, by both
//! protocols where it has no parameters, and must give what row-level security gives.

use std::path::Path;
use std::sync::Mutex;

use serde::Deserialize;

use super::compared::Found;
use super::maker::Parameter;
use super::side::Pair;
use super::tally::Tally;
use super::write::Made;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/generated/cases");

#[derive(Debug, Deserialize)]
struct File {
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    sql: String,
    /// Type oid and value of each parameter.
    #[serde(default)]
    parameters: Vec<(u32, String)>,
    /// The rule by which the proxy refuses it.
    refused: Option<String>,
    /// The oldest major that has the form.
    #[serde(default)]
    min_pg: u32,
}

/// Runs every case.
pub fn run(pair: &mut Pair, tally: &Mutex<Tally>) {
    let entries = std::fs::read_dir(Path::new(FOLDER)).expect("the folder of cases");
    let mut paths: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    let mut count = 0;
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a file of cases");
        let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let major = pair.major();
        for case in file.case.iter().filter(|c| c.min_pg <= major) {
            for extended in [true, false] {
                if extended || case.parameters.is_empty() {
                    count += 1;
                    judge(pair, case, extended, tally);
                }
            }
        }
    }
    println!("generated: {count} golden cases run");
}

fn judge(pair: &mut Pair, case: &Case, extended: bool, tally: &Mutex<Tally>) {
    let head = case.sql.trim_start().to_lowercase();
    let reads = ["select", "values", "table", "copy", "("].iter().any(|word| head.starts_with(word));
    let parameter =
        |(type_oid, value): &(u32, String)| Parameter { type_oid: *type_oid, value: Some(value.clone()) };
    let made = Made {
        sql: case.sql.clone(),
        parameters: case.parameters.iter().map(parameter).collect(),
        extended,
        writes: !reads,
    };
    let found = pair.compare(&made);
    let holds = match (&case.refused, &found) {
        (None, Found::Same | Found::BothFailed(_) | Found::OracleLeaks) => true,
        (Some(expected), Found::Refused { rule, .. }) => expected == rule,
        _ => false,
    };
    if !holds {
        let fault = format!("golden case {:?} (extended: {extended}): {found:?}", case.name);
        tally.lock().expect("no case panics").note(fault);
    }
}
