//! No index lost: the plan of each rewritten statement is that of the statement written by hand with the tenant's
//! condition, over a million rows; beside it, what row-level security makes of it.
//!
//! `PGBULKHEAD_PLANS=TEXT` compares the shapes whose name contains TEXT alone and prints their plans.

mod fixture;
mod tree;

use fixture::{Fixture, Mode, Shape, Side};
use tree::Tree;

/// How a plan compares to the one of the statement written by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    /// The nodes differ, the indexes and what they are searched by do not.
    IndexesKept,
    IndexLost,
}

#[test]
fn no_shape_loses_an_index_that_the_statement_by_hand_has() {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(compare).expect("a thread");
    thread.join().expect("every shape keeps its indexes");
}

#[test]
fn ways_to_write_a_constant_are_one() {
    let scan = |condition: &str| {
        let text = format!(
            r#"[{{"Plan": {{"Node Type": "Index Scan", "Index Name": "i", "Index Cond": "{condition}"}}}}]"#
        );
        Tree::parse(&text).expect("a plan")
    };
    assert_eq!(
        scan("((tenant_id = '1'::integer) AND (id = '5'::bigint))"),
        scan("((id = 5) AND (tenant_id = $2))")
    );
    assert_ne!(scan("(tenant_id = 1)"), scan("((id = 5) AND (tenant_id = 1))"));
}

fn compare() {
    let fixture = Fixture::start();
    let only = std::env::var("PGBULKHEAD_PLANS").ok();
    let shapes: Vec<Shape> = fixture::shapes(fixture.major)
        .into_iter()
        .filter(|s| only.as_ref().is_none_or(|o| s.name.contains(o.as_str())))
        .collect();
    let (mut wrong, mut lost_by_rls, mut compared) = (Vec::new(), 0, 0);
    for shape in &shapes {
        let modes: &[Mode] =
            if shape.types.is_empty() { &[Mode::Simple] } else { &[Mode::Custom, Mode::Generic] };
        for mode in modes {
            let hand =
                planned(&fixture, shape, Side::Hand, *mode).unwrap_or_else(|e| panic!("{}: {e}", shape.name));
            let ours = planned(&fixture, shape, Side::Rewritten, *mode);
            let theirs = planned(&fixture, shape, Side::RowSecurity, *mode);
            let rls = theirs.as_ref().map(|t| verdict(&hand, t));
            let verdict = ours.as_ref().map(|o| verdict(&hand, o));
            compared += 1;
            lost_by_rls += usize::from(rls.as_ref().is_ok_and(|v| *v == Verdict::IndexLost));
            let fine = match &verdict {
                Ok(Verdict::Same) => true,
                Ok(Verdict::IndexesKept) => shape.differs.is_some(),
                Ok(Verdict::IndexLost) | Err(_) => false,
            };
            let word = |v: &Result<Verdict, &String>| match v {
                Ok(Verdict::Same) => "same",
                Ok(Verdict::IndexesKept) => "other",
                Ok(Verdict::IndexLost) => "LOST",
                Err(_) => "refused",
            };
            println!(
                "{:<7} rls {:<7} {:<8} {}",
                word(&verdict),
                word(&rls),
                format!("{mode:?}").to_lowercase(),
                shape.name
            );
            if only.is_some() || !fine {
                let shown = |side: &str, tree: &Result<Tree, String>| match tree {
                    Ok(tree) => format!("  {side:<5} {}\n        {:?}", tree.shown(), tree.indexes()),
                    Err(error) => format!("  {side:<5} {error}"),
                };
                let sent = fixture.statement(shape, Side::Rewritten, *mode).map(|(a, b)| format!("{a}; {b}"));
                let text = format!(
                    "{} ({mode:?})\n{}\n{}\n{}\n  sent  {}",
                    shape.name,
                    shown("hand", &Ok(hand)),
                    shown("ours", &ours),
                    shown("rls", &theirs),
                    sent.unwrap_or_else(|e| e)
                );
                if fine { println!("{text}") } else { wrong.push(text) }
            }
        }
    }
    println!(
        "{} shapes, {compared} plans: {} differ or lose an index; row-level security loses an index in {lost_by_rls}",
        shapes.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{} plans are not those by hand:\n{}", wrong.len(), wrong.join("\n"));
}

fn planned(fixture: &Fixture, shape: &Shape, side: Side, mode: Mode) -> Result<Tree, String> {
    let (prelude, execute) = fixture.statement(shape, side, mode)?;
    fixture.query(&prelude)?;
    let lines = fixture.query(&format!("explain (format json, costs off) {execute}"))?;
    Tree::parse(&lines.join("\n")).ok_or_else(|| "no plan".to_owned())
}

fn verdict(hand: &Tree, other: &Tree) -> Verdict {
    if hand == other {
        return Verdict::Same;
    }
    if hand.has_its_indexes_in(other) { Verdict::IndexesKept } else { Verdict::IndexLost }
}
