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
const PATIENCE: Duration = Duration::from_secs(1);
/// Statements are repeated until they have taken so many seconds.
const LEAST: f64 = 0.002;
const FEWEST_ROUNDS: usize = 3;

fn main() {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(measure);
    if thread.map(std::thread::JoinHandle::join).is_err() {
        std::process::exit(1);
    }
}

fn measure() {
    let fixture = Fixture::start();
    let backend = Backend::of(&fixture);
    let rounds = std::env::var("PGBULKHEAD_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(9);
    let only = std::env::var("PGBULKHEAD_PLANS").unwrap_or_default();
    let (mut ours, mut theirs, mut lost) = (Vec::new(), Vec::new(), 0);
    println!("{:<72} {:>12} {:>10} {:>10}  indexes under RLS", "shape", "by hand", "rewritten", "RLS");
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
        let Ok(times) = times(&fixture, &backend, shape, mode, rounds) else { continue };
        let hand = median(times.pairs.iter().map(|pair| pair[1]).collect());
        let ratio = median(times.pairs.iter().map(|pair| pair[0] / pair[1]).collect());
        let rls = median(times.row_security) / hand;
        let rls_lost = loses_index(&fixture, shape, mode);
        lost += usize::from(rls_lost);
        println!(
            "{:<72} {:>9.3} ms {ratio:>9.2}x {rls:>9.2}x  {}",
            format!("{} ({mode:?})", shape.name),
            hand * 1e3,
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
        ours.push(ratio);
        theirs.push(rls);
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

/// CPU times of the backend: of rounds, each of the rewritten statement and the one by hand, which take turns at going
/// first, and of a few runs under row-level security. The server's own time on the CPU, since a busy machine would
/// drown differences of microseconds.
struct Times {
    pairs: Vec<[f64; 2]>,
    row_security: Vec<f64>,
}

fn times(
    fixture: &Fixture,
    backend: &Backend,
    shape: &Shape,
    mode: Mode,
    rounds: usize,
) -> Result<Times, String> {
    let began = Instant::now();
    let (once, _) = (
        backend.run(fixture, shape, Side::Hand, mode, 1)?,
        backend.run(fixture, shape, Side::Rewritten, mode, 1)?,
    );
    let repeats = ((LEAST / once.max(1e-6)) as usize).clamp(1, 40);
    let mut times = Times { pairs: Vec::new(), row_security: Vec::new() };
    for round in 0..rounds {
        let mut pair = [0.0; 2];
        for turn in 0..2 {
            let side = (round + turn) % 2;
            pair[side] = backend.run(fixture, shape, [Side::Rewritten, Side::Hand][side], mode, repeats)?;
        }
        times.pairs.push(pair);
        if times.pairs.len() >= FEWEST_ROUNDS && began.elapsed() > PATIENCE {
            break;
        }
    }
    let began = Instant::now();
    for _ in 0..FEWEST_ROUNDS {
        times.row_security.push(backend.run(fixture, shape, Side::RowSecurity, mode, 1)?);
        if began.elapsed() > PATIENCE {
            break;
        }
    }
    Ok(times)
}

/// The server's process that runs the statements.
struct Backend {
    schedstat: String,
}

impl Backend {
    fn of(fixture: &Fixture) -> Self {
        let pid = fixture.query("select pg_backend_pid()").ok().and_then(|mut rows| rows.pop());
        Self { schedstat: format!("/proc/{}/schedstat", pid.unwrap_or_default()) }
    }

    /// Seconds on the CPU (proc(5): the first number of schedstat, in nanoseconds).
    fn cpu(&self) -> f64 {
        let text = std::fs::read_to_string(&self.schedstat).unwrap_or_default();
        text.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
    }

    /// Seconds for one run, over several in a transaction that is taken back.
    fn run(
        &self,
        fixture: &Fixture,
        shape: &Shape,
        side: Side,
        mode: Mode,
        repeats: usize,
    ) -> Result<f64, String> {
        let (prelude, execute) = fixture.statement(shape, side, mode)?;
        fixture.query(&format!("{prelude}; begin"))?;
        // The first run finds caches and, of what is prepared, the plan.
        let outcome = fixture.query(&execute);
        let start = self.cpu();
        let again: Result<(), String> = (0..repeats).try_for_each(|_| fixture.query(&execute).map(|_| ()));
        let spent = self.cpu() - start;
        fixture.query("rollback")?;
        outcome?;
        again?;
        Ok(spent / repeats as f64)
    }
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
