//! What recorded SQL of real ORMs and drivers passes: every SELECT, INSERT, UPDATE, DELETE, MERGE and COPY, every statement of
//! cursors and of transactions is parsed, printed and verified unchanged; of those that can name a relation the witness can
//! read at least 99.3 %.
//!
//! `cargo test --profile ci --test orm_coverage -- --nocapture` prints the table. `tests/corpus/orm_sql` are
//! recordings on the corpus schema, `tests/corpus/orm_suites` what the ORMs' own suites and the drivers' tests send;
//! `PGBULKHEAD_ORM_SQL` names a directory with more (JSON lines with `sql`, or `steps` of them).

use std::collections::BTreeMap;
use std::path::PathBuf;

use pg_query::NodeEnum;
use pg_query::protobuf::Node;
use pgbulkhead::sql::{Tree, witness};
use recorded::recorded;
use verified::verified;

#[path = "support/recorded.rs"]
mod recorded;
#[path = "support/verified.rs"]
mod verified;

/// Share of the statements that the witness must be able to read, in thousandths.
const READABLE_PER_MILLE: usize = 993;

#[derive(Default)]
struct Count {
    statements: usize,
    verified: usize,
    readable: usize,
}

#[test]
fn recorded_statements_are_verified_unchanged_and_read_by_the_witness() {
    let thread = std::thread::Builder::new().stack_size(256 << 20).spawn(run).expect("a thread");
    thread.join().expect("the run passes");
}

fn run() {
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    let mut unverified = Vec::new();
    let mut reasons: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for sql in recorded(&directories()) {
        let Ok(parsed) = pg_query::parse(&sql, 0) else { continue };
        for statement in &parsed.protobuf.stmts {
            let Some(tree) = statement.stmt.as_deref().cloned() else { continue };
            let tree = &Tree::of(tree).node;
            let Some(kind) = kind(tree) else { continue };
            let count = counts.entry(kind).or_default();
            count.statements += 1;
            let Ok(printed) = tree.deparse(pg_query::DeparseOptions::default()) else {
                unverified.push(sql.clone());
                continue;
            };
            match verified(tree, &printed) {
                true => count.verified += 1,
                false => unverified.push(sql.clone()),
            }
            match witness::unreadable(&printed) {
                _ if !names_relations(kind) => {}
                None => count.readable += 1,
                Some(reason) => {
                    let reason: String = reason.split(" at Line").next().unwrap_or_default().into();
                    reasons.entry(reason).or_insert((0, printed)).0 += 1;
                }
            }
        }
    }
    print(&counts, &reasons);
    assert!(unverified.is_empty(), "not verified unchanged: {unverified:#?}");
    let asked = || counts.iter().filter(|(kind, _)| names_relations(kind)).map(|(_, count)| count);
    let total: usize = asked().map(|count| count.statements).sum();
    let readable: usize = asked().map(|count| count.readable).sum();
    println!("{readable} of {total} are readable, {:.2} %", readable as f64 * 100.0 / total as f64);
    assert!(total > 10_000, "the recordings are there");
    assert!(readable * 1000 >= total * READABLE_PER_MILLE, "{readable} of {total}");
}

fn print(counts: &BTreeMap<&str, Count>, reasons: &BTreeMap<String, (usize, String)>) {
    println!("{:12} {:>10} {:>10} {:>10} {:>8}", "kind", "statements", "verified", "readable", "%");
    for (kind, Count { statements, verified, readable }) in counts {
        if names_relations(kind) {
            let share = *readable as f64 * 100.0 / *statements as f64;
            println!("{kind:12} {statements:>10} {verified:>10} {readable:>10} {share:>8.2}");
        } else {
            println!("{kind:12} {statements:>10} {verified:>10} {:>10}", "not asked");
        }
    }
    for (reason, (times, example)) in reasons {
        println!("{times:>4} × {reason}\n       {}", example.chars().take(240).collect::<String>());
    }
}

fn kind(tree: &Node) -> Option<&'static str> {
    match tree.node.as_ref()? {
        NodeEnum::SelectStmt(select) if select.into_clause.is_some() => None,
        NodeEnum::SelectStmt(_) => Some("SELECT"),
        NodeEnum::InsertStmt(_) => Some("INSERT"),
        NodeEnum::UpdateStmt(_) => Some("UPDATE"),
        NodeEnum::DeleteStmt(_) => Some("DELETE"),
        NodeEnum::MergeStmt(_) => Some("MERGE"),
        NodeEnum::CopyStmt(copy) if copy.filename.is_empty() && !copy.is_program => Some("COPY"),
        NodeEnum::DeclareCursorStmt(_) => Some("DECLARE"),
        NodeEnum::FetchStmt(_) | NodeEnum::ClosePortalStmt(_) => Some("cursor"),
        NodeEnum::TransactionStmt(_) => Some("transaction"),
        _ => None,
    }
}

/// Whether the witness is asked about statements of a kind.
fn names_relations(kind: &str) -> bool {
    !matches!(kind, "cursor" | "transaction")
}

/// The directories of recordings.
fn directories() -> Vec<PathBuf> {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut directories = vec![corpus.join("orm_suites"), corpus.join("orm_sql")];
    directories.extend(std::env::var_os("PGBULKHEAD_ORM_SQL").map(PathBuf::from));
    directories
}
