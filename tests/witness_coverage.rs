//! The witness over everything that the engine lets through: the recorded statements of the corpus are planned
//! against the corpus schema, and of those that are sent the witness contradicts none and agrees with at least
//! 99.3 %.
//!
//! Needs PostgreSQL's binaries (a server is started). `-- --nocapture` prints the table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pgbulkhead::catalog::Oid;
use pgbulkhead::demo::EmbeddedPostgres;
use pgbulkhead::demo::embedded::Options;
use pgbulkhead::sql::{Limits, Witnessed, plan, statements};

#[path = "support/world.rs"]
mod world;

/// Share of the sent statements that the witness must agree with, in thousandths.
const AGREED_PER_MILLE: usize = 993;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");

#[test]
fn the_witness_agrees_with_what_the_engine_sends() {
    let thread = std::thread::Builder::new().stack_size(256 << 20).spawn(run).expect("a thread");
    thread.join().expect("the run passes");
}

#[derive(Default)]
struct Count {
    sent: usize,
    agreed: usize,
    unread: usize,
    unasked: usize,
    refused: BTreeMap<String, usize>,
}

fn run() {
    let postgres = EmbeddedPostgres::start(&Options { password: None, settings: Vec::new(), binaries: None });
    let postgres = postgres.expect("PostgreSQL starts");
    let world = world::of(&postgres, "");
    let mut count = Count::default();
    let (mut contradicted, mut unread) = (Vec::new(), Vec::new());
    for (sql, types) in recorded() {
        let Ok(found) = statements(&sql, &Limits::default()) else { continue };
        for mut statement in found {
            statement.parameter_types.clone_from(&types);
            match plan(&world, "app", &statement) {
                Ok(planned) => {
                    count.sent += 1;
                    match planned.decision.witnessed {
                        Witnessed::Agrees => count.agreed += 1,
                        Witnessed::NoRelation => count.unasked += 1,
                        Witnessed::CannotRead => {
                            count.unread += 1;
                            unread.push(sql.clone());
                        }
                    }
                }
                Err(refusal) => {
                    *count.refused.entry(format!("{} {}", refusal.state.0, refusal.rule.0)).or_default() += 1;
                    contradicted.extend(refusal.quarantined.map(|kept| {
                        format!("{}\n    {}\n    {}", kept.reason, kept.original, kept.rewritten)
                    }));
                }
            }
        }
    }
    println!(
        "sent {}: witness agrees {}, cannot read {}, not asked {}",
        count.sent, count.agreed, count.unread, count.unasked
    );
    println!("refused: {:?}", count.refused);
    unread.iter().for_each(|sql| println!("CANNOT READ {sql}"));
    contradicted.iter().for_each(|what| println!("NOT VERIFIED {what}"));
    assert!(contradicted.is_empty(), "{} statements do not pass the last gate", contradicted.len());
    assert!(count.agreed > 1_000, "the corpus is there");
    assert!(count.agreed * 1000 >= (count.agreed + count.unread) * AGREED_PER_MILLE);
}

/// Statements of the corpus with their declared types, each once.
fn recorded() -> BTreeSet<(String, Vec<Oid>)> {
    let orm = std::fs::read_dir(Path::new(CORPUS).join("orm_sql")).expect("the recordings");
    let orm = orm.map(|entry| entry.expect("an entry").path());
    let legit = ["legit.jsonl", "legit_pg18.jsonl"].map(|name| Path::new(CORPUS).join(name));
    let mut found = BTreeSet::new();
    for path in orm.chain(legit) {
        for line in std::fs::read_to_string(&path).expect("a text file").lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON lines");
            let steps = line["steps"].as_array().cloned().unwrap_or_default();
            for step in steps.iter().chain(std::iter::once(&line)) {
                let Some(sql) = step["sql"].as_str().or(step.as_str()) else { continue };
                let types = step["param_oids"].as_array().cloned().unwrap_or_default();
                let types = types.iter().filter_map(|oid| Oid::try_from(oid.as_u64()?).ok()).collect();
                found.insert((sql.to_owned(), types));
            }
        }
    }
    found
}
