//! The witness over everything that the engine lets through: the recorded statements of the corpus are planned
//! against the corpus schema, and of those that are sent the witness contradicts none and agrees with at least
//! 99.3 %.
//!
//! Needs PostgreSQL's binaries (a server is started). `-- --nocapture` prints the table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use pgbulkhead::catalog::{Oid, load::load};
use pgbulkhead::config::{Environment, parse};
use pgbulkhead::demo::EmbeddedPostgres;
use pgbulkhead::demo::embedded::Options;
use pgbulkhead::policy::Policy;
use pgbulkhead::sql::{Limits, Witnessed, World, plan, statements};

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
    let world = world(&postgres);
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
                        Witnessed::NotAsked => count.unasked += 1,
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

/// The corpus schema in a server of our own, and the corpus configuration compiled against it.
fn world(postgres: &EmbeddedPostgres) -> World {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let text = std::fs::read_to_string(Path::new(CORPUS).join("pgbulkhead.toml")).expect("the configuration");
    let verifier = postgres_protocol::password::scram_sha_256(b"for the tests only");
    let text = text
        .replace("port = 5432", &format!("port = {}", postgres.port()))
        .replace("dbname = \"ccm\"", "dbname = \"postgres\"")
        .replace("SCRAM-SHA-256$…", &verifier);
    let config =
        parse("pgbulkhead.toml", &text, &Environment::default()).expect("the configuration is well formed");
    runtime.block_on(async {
        let login = format!(
            "host=127.0.0.1 port={} user={} dbname=postgres",
            postgres.port(),
            EmbeddedPostgres::SUPERUSER
        );
        let (client, connection) =
            tokio_postgres::connect(&login, tokio_postgres::NoTls).await.expect("a connection");
        tokio::spawn(connection);
        let schema = std::fs::read_to_string(Path::new(CORPUS).join("schema.sql")).expect("the schema");
        let schema: Vec<_> = schema.lines().filter(|line| !line.starts_with("\\set")).collect();
        client
            .batch_execute(&schema.join("\n").replace(":DBNAME", "postgres"))
            .await
            .expect("the schema loads");
        let catalog = load(&config.databases[0], 1).await.expect("the catalog loads");
        let policy = Policy::compile(&config, &catalog, 1, "n0nce").expect("the policy compiles");
        World::new(Arc::new(catalog), Arc::new(policy))
    })
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
