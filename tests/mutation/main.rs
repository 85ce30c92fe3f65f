//! Mutation tests of the last gate: every golden statement passes the verifier and the witness, and every mutant
//! of it is refused. A mutant that takes a predicate, a relation's name or a write's guard away must be refused
//! by the witness alone.
//!
//! `cargo test --profile ci --test mutation -- --nocapture` prints the mutants of each kind, and each survivor
//! with its reason.

mod golden;
mod mutants;
mod schema;
mod texts;

use std::collections::BTreeMap;

use mutants::Concern;
use pgbulkhead::sql::Witness;

#[test]
fn every_golden_statement_is_verified_and_witnessed() {
    for golden in golden::all() {
        if let Err(refusal) = golden.verify(&golden.rewritten) {
            panic!("{}: {refusal} {:?}", golden.name, refusal.quarantined);
        }
        assert_eq!(
            golden.witness(&golden.rewritten),
            Witness::Agrees,
            "{}: {}",
            golden.name,
            golden.rewritten
        );
    }
}

#[test]
fn the_witness_alone_refuses_every_mutant_of_a_predicate_or_a_relation() {
    let (mut survivors, mut unexplained) = (0, 0);
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    // The rewriter's own cases hold digests of locks and channels too, which no relation's rows depend on.
    for golden in golden::own() {
        for mutant in mutants::of(&golden.rewritten) {
            let answer = golden.witness(&mutant.sql);
            let refused = matches!(answer, Witness::Contradicts(_));
            let (mutants, refusals) = counts.entry(mutant.kind).or_default();
            *mutants += 1;
            *refusals += usize::from(refused);
            if mutant.concern == Concern::Tenancy && !refused {
                let reason = golden::accepted(&mutant).filter(|_| answer == Witness::Agrees);
                survivors += 1;
                unexplained += usize::from(reason.is_none());
                println!("SURVIVOR {} [{}]: {}", golden.name, mutant.kind, reason.unwrap_or("UNEXPLAINED"));
                if reason.is_none() {
                    println!("    {answer:?} {}", mutant.sql);
                }
            }
        }
    }
    println!("{:40} {:>8} {:>20}", "mutation", "mutants", "refused by witness");
    for (kind, (mutants, refusals)) in &counts {
        println!("{kind:40} {mutants:>8} {refusals:>20}");
    }
    println!("{survivors} survivors of the witness, {unexplained} unexplained");
    assert_eq!(unexplained, 0);
}

#[test]
fn the_verifier_refuses_every_mutant() {
    let (mut mutants, mut survivors) = (0, 0);
    for golden in golden::all() {
        for mutant in mutants::of(&golden.rewritten) {
            mutants += 1;
            if golden.verify(&mutant.sql).is_ok() {
                survivors += 1;
                println!("SURVIVOR {} [{}]: {}", golden.name, mutant.kind, mutant.sql);
            }
        }
    }
    println!("{mutants} mutants shown to the verifier, {survivors} survivors");
    assert_eq!(survivors, 0);
}

#[test]
fn the_verifier_refuses_every_mutant_of_what_the_witness_cannot_read() {
    let (mut mutants, mut survivors) = (0, 0);
    let (mut tables, mut rows) = (0, 0);
    for golden in golden::unread() {
        if let Err(refusal) = golden.verify(&golden.rewritten) {
            panic!("{}: {refusal} {:?}", golden.name, refusal.quarantined);
        }
        tables += usize::from(golden.rewritten.contains("JSON_TABLE("));
        rows += usize::from(golden.rewritten.contains("RETURNING WITH ("));
        for (kind, sql) in texts::of(&golden.rewritten) {
            mutants += 1;
            if golden.verify(&sql).is_ok() {
                survivors += 1;
                println!("SURVIVOR {} [{kind}]: {sql}", golden.name);
            }
        }
    }
    println!(
        "{mutants} mutants of {tables} JSON_TABLE, {rows} RETURNING WITH and others, {survivors} survivors"
    );
    assert!(tables >= 5 && rows >= 3, "there are golden statements of both");
    assert_eq!(survivors, 0);
}
