//! Statements that ORMs and drivers were recorded to send.

use std::collections::BTreeSet;
use std::path::Path;

/// The statements of these directories of JSON lines with `sql`, or `steps` of them: each once.
pub fn recorded<D: AsRef<Path>>(directories: &[D]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in directories.iter().flat_map(|dir| std::fs::read_dir(dir).expect("the directory is there")) {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a text file");
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON lines");
            let steps = line["steps"].as_array().cloned().unwrap_or_default();
            let sql = steps.iter().chain(std::iter::once(&line)).filter_map(|step| step["sql"].as_str());
            found.extend(sql.map(str::to_owned));
        }
    }
    found
}
