//! Generated statements: the proxy as tenant A beside row-level security for tenant A.
//!
//! Statements are made over the corpus schema from a seed, with conditions in every position that hold for
//! each of A's rows and raise, with the value in the message, on the rows of B and C. So an error that the
//! oracle does not have is another tenant's row, seen.
//!
//! `PGBULKHEAD_FUZZ_SEED` chooses where the numbers start, `PGBULKHEAD_FUZZ_COUNT` how many statements are
//! made, `PGBULKHEAD_FUZZ_SKIP` leaves out the first ones of them, `PGBULKHEAD_FUZZ_SECONDS` ends early,
//! `PGBULKHEAD_FUZZ_WRITES=1` makes none but those that write. What is found is shrunk by hand and goes to `tests/generated/cases`, which always run.

mod cases;
mod compared;
mod expression;
mod from;
mod joined_write;
mod maker;
mod merge;
mod query;
pub mod rng;
mod row;
mod schema;
mod settings;
mod side;
mod table_functions;
mod tally;
mod window;
mod write;

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::lanes::Lane;
use crate::support::fixture::Server;

use side::Pair;
use tally::Tally;

/// Statements under one set of planner settings.
const ROUND: u64 = 1000;
const LANES: usize = 2;

pub fn judge(server: &Server) -> Result<(), String> {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let first = number("PGBULKHEAD_FUZZ_SEED").unwrap_or(1).wrapping_mul(1_000_000);
    let count = number("PGBULKHEAD_FUZZ_COUNT").unwrap_or(20_000);
    let skipped = number("PGBULKHEAD_FUZZ_SKIP").unwrap_or(0);
    println!("generated: {count} statements from number {first}, round by round of {ROUND}");
    let until = number("PGBULKHEAD_FUZZ_SECONDS").map(|s| Instant::now() + Duration::from_secs(s));
    let next = AtomicU64::new(skipped);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for number in 0..LANES {
            let lane = Lane::open(server);
            let (next, tally) = (&next, &tally);
            scope.spawn(move || {
                let mut pair = Pair::new(lane, server);
                if number == 0 {
                    pair.set(&settings::of(0), server);
                    cases::run(&mut pair, tally);
                }
                loop {
                    let from = next.fetch_add(ROUND, Ordering::Relaxed);
                    if from >= count {
                        break;
                    }
                    let end = count.min(from + ROUND);
                    pair.set(&settings::of((first + from) / ROUND), server);
                    round(&mut pair, first + from..first + end, until, tally);
                }
            });
        }
    });
    tally.into_inner().expect("no round panics").finish(server.major())
}

fn round(pair: &mut Pair, seeds: Range<u64>, until: Option<Instant>, tally: &Mutex<Tally>) {
    let told = format!("{seeds:?}");
    let writes_only = std::env::var_os("PGBULKHEAD_FUZZ_WRITES").is_some();
    for seed in seeds {
        if until.is_some_and(|until| Instant::now() > until) {
            break;
        }
        let made = write::made(seed, pair.major(), writes_only);
        let began = Instant::now();
        let found = pair.compare(&made);
        tally.lock().expect("no round panics").add(seed, pair.settings(), &made, began.elapsed(), found);
    }
    if let Some(changed) = pair.changed_of_others() {
        tally.lock().expect("no round panics").note(format!("rows of others changed in {told}: {changed:?}"));
    }
}
