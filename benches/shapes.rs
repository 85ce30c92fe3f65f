//! What statements cost at the server: rewritten, written by hand with the tenant's condition, and under row-level
//! security, over a million rows, in interleaved rounds.
//!
//! `cargo bench --bench shapes` (any profile will do: it is the server that works). `PGBULKHEAD_ROUNDS` is the number
//! of rounds, `PGBULKHEAD_PLANS=TEXT` the shapes whose name contains TEXT.

use std::time::{Duration, Instant};

#[path = "../tests/plans/fixture.rs"]
mod fixture;
#[path = "../tests/plans/tree.rs"]
mod tree;

use fixture::{Fixture, Mode, Shape, Side};
use tree::Tree;

const SIDES: [Side; 3] = [Side::Rewritten, Side::Hand, Side::RowSecurity];
/// A shape is given no more time than this.
const PATIENCE: Duration = Duration::from_secs(4);
const FEWEST_ROUNDS: usize = 3;

fn main() {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(measure);
    if thread.map(std::thread::JoinHandle::join).is_err() {
        std::process::exit(1);
    }
}

fn measure() {
    let fixture = Fixture::start();
    let rounds = std::env::var("PGBULKHEAD_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(15);
    let only = std::env::var("PGBULKHEAD_PLANS").unwrap_or_default();
    let (mut ours, mut theirs, mut lost) = (Vec::new(), Vec::new(), 0);
    println!("{:<64} {:>12} {:>10} {:>10}  indexes under RLS", "shape", "by hand", "rewritten", "RLS");
    let shapes = fixture::shapes(fixture.major);
    let modes = |shape: &Shape| match shape.types.is_empty() {
        true => vec![Mode::Simple],
        false => vec![Mode::Custom, Mode::Generic],
    };
    let all = shapes
        .iter()
        .filter(|s| s.name.contains(&only))
        .flat_map(|s| modes(s).into_iter().map(move |m| (s, m)));
    for (shape, mode) in all {
        let Ok(times) = times(&fixture, shape, mode, rounds) else { continue };
        let ratio = |side: usize| {
            median(times.iter().map(|round| round[side].as_secs_f64() / round[1].as_secs_f64()).collect())
        };
        let hand = median(times.iter().map(|round| round[1].as_secs_f64() * 1e3).collect());
        let rls_lost = loses_index(&fixture, shape, mode);
        lost += usize::from(rls_lost);
        println!(
            "{:<64} {hand:>9.2} ms {:>9.2}x {:>9.2}x  {}",
            format!("{} ({mode:?})", shape.name),
            ratio(0),
            ratio(2),
            match (rls_lost, &shape.differs) {
                (true, _) => "lost",
                (false, Some(_)) => "kept; the rewriting has other nodes",
                (false, None) => "kept",
            }
        );
        if !only.is_empty() {
            for side in SIDES {
                println!(
                    "    {side:?}: {}",
                    planned(&fixture, shape, side, mode).map_or_else(String::new, |t| t.shown())
                );
            }
        }
        ours.push(ratio(0));
        theirs.push(ratio(2));
    }
    let slowest = ours.iter().copied().fold(0.0, f64::max);
    println!(
        "{} plans: rewritten {:.3} x by hand (median; {slowest:.2} at most), RLS {:.3} x (median; mean {:.0} x); RLS loses an index in {lost}, the rewriting in none",
        ours.len(),
        median(ours.clone()),
        median(theirs.clone()),
        theirs.iter().sum::<f64>() / theirs.len().max(1) as f64,
    );
}

/// The times of each round, in the order of [`SIDES`]; each round begins with another side.
fn times(fixture: &Fixture, shape: &Shape, mode: Mode, rounds: usize) -> Result<Vec<[Duration; 3]>, String> {
    let began = Instant::now();
    let mut all = Vec::new();
    for round in 0..rounds + 1 {
        let mut times = [Duration::ZERO; 3];
        for turn in 0..SIDES.len() {
            let side = (round + turn) % SIDES.len();
            let (prelude, execute) = fixture.statement(shape, SIDES[side], mode)?;
            fixture.query(&format!("{prelude}; begin"))?;
            let start = Instant::now();
            let outcome = fixture.query(&execute);
            times[side] = start.elapsed();
            fixture.query("rollback")?;
            outcome?;
        }
        // The first round warms the caches.
        if round > 0 {
            all.push(times);
        }
        if all.len() >= FEWEST_ROUNDS && began.elapsed() > PATIENCE {
            break;
        }
    }
    Ok(all)
}

fn planned(fixture: &Fixture, shape: &Shape, side: Side, mode: Mode) -> Option<Tree> {
    let (prelude, execute) = fixture.statement(shape, side, mode).ok()?;
    fixture.query(&prelude).ok()?;
    let lines = fixture.query(&format!("explain (format json, costs off) {execute}")).ok()?;
    Tree::parse(&lines.join("\n"))
}

fn loses_index(fixture: &Fixture, shape: &Shape, mode: Mode) -> bool {
    let plan = |side| planned(fixture, shape, side, mode);
    match (plan(Side::Hand), plan(Side::RowSecurity)) {
        (Some(hand), Some(other)) => !hand.has_its_indexes_in(&other),
        _ => true,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
