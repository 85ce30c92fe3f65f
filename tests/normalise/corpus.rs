//! The statements that are compared.

use std::path::Path;
use std::sync::LazyLock;

/// Longer texts of the corpora are there to be refused.
const MAX_BYTES: usize = 10_000;

/// The recorded statements of `tests/corpus`, and those of the directory that `PGBULKHEAD_CORPUS` names.
pub fn corpus() -> &'static [String] {
    static CORPUS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let mut found = Vec::new();
        read_directory(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus"), &mut found);
        if let Ok(directory) = std::env::var("PGBULKHEAD_CORPUS") {
            read_directory(Path::new(&directory), &mut found);
        }
        found.retain(|text| text.len() <= MAX_BYTES);
        found.sort_unstable();
        found.dedup();
        found
    });
    &CORPUS
}

fn read_directory(directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_directory(&path, found);
        } else if path.extension().is_some_and(|e| e == "jsonl") {
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                strings(&serde_json::from_str(line).unwrap(), found);
            }
        }
    }
}

fn strings(value: &serde_json::Value, found: &mut Vec<String>) {
    if let Some(sql) = value["sql"].as_str() {
        found.push(sql.to_owned());
    }
    for step in value["steps"].as_array().into_iter().flatten() {
        match step.as_str() {
            Some(sql) => found.push(sql.to_owned()),
            None => strings(step, found),
        }
    }
}
