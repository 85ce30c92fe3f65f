//! The protocol: random sequences of messages, cut into random writes, to the proxy and to PostgreSQL itself under
//! row-level security. The answers must be the same message by message, but for what [`comparison`] names.
//!
//! `PGBULKHEAD_FUZZ_SEED` chooses where the numbers start, `PGBULKHEAD_PROTOCOL_COUNT` how many sequences are played.
//! A sequence that differs is shown with its number, as short as it still differs. `PGBULKHEAD_PROTOCOL_NUMBER` plays the one
//! of this number, and shows what both sides answer.

mod comparison;
mod cut;
mod maker;
mod message;
mod shrink;
mod side;
mod stage;
mod statements;
mod tally;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::generated::rng::Rng;
use crate::support::fixture::Server;

use comparison::{Heard, difference, is_excused};
use cut::Cut;
use message::Sent;
use side::Side;
use stage::Stage;
use tally::Tally;

/// Sequences that are played unless somebody asks for more.
const COUNT: u64 = 1000;
/// Clients that play at the same time, on so many server connections, of which so many may be kept beyond a transaction,
/// and their part of the sequences in percent.
const CROWDS: [(usize, usize, usize, u64); 4] = [(1, 1, 1, 25), (4, 1, 1, 30), (8, 2, 2, 30), (4, 1, 0, 15)];

pub fn judge(server: &Server) -> Result<(), String> {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let only = number("PGBULKHEAD_PROTOCOL_NUMBER");
    let first = only.unwrap_or_else(|| number("PGBULKHEAD_FUZZ_SEED").unwrap_or(1).wrapping_mul(1_000_000));
    let count = only.map_or_else(|| number("PGBULKHEAD_PROTOCOL_COUNT").unwrap_or(COUNT), |_| 1);
    println!("protocol: {count} sequences from number {first}");
    let run = Run {
        stage: Mutex::new(Stage::new(server)),
        tally: Mutex::new(Tally::default()),
        next: AtomicU64::new(first),
        shows: only.is_some(),
    };
    let mut until = first;
    for (clients, connections, pinned, percent) in CROWDS {
        let proxy = Stage::proxy(server, connections, pinned);
        until += (count * percent).div_ceil(100);
        std::thread::scope(|scope| {
            for client in 0..clients {
                let mut lines = run.lines(
                    client,
                    pinned > 0,
                    Side::judged(proxy.login(["tenant_a", "tenant_b"][client % 2])),
                );
                let run = &run;
                scope.spawn(move || run.play(&mut lines, until));
            }
        });
        run.next.store(until, Ordering::Relaxed);
        stage::all_returned(&proxy)?;
    }
    run.tally.into_inner().expect("no client panics").finish()
}

/// What all clients share.
struct Run {
    stage: Mutex<Stage>,
    tally: Mutex<Tally>,
    next: AtomicU64,
    /// Each sequence is shown.
    shows: bool,
}

impl Run {
    fn lines(&self, client: usize, holds: bool, judged: Side) -> Lines {
        let tenant = 1 + client % 2;
        let login = self.stage.lock().expect("no client panics").oracle(tenant);
        Lines { judged, oracle: Side::oracle(login, holds), tenant, client, holds, shows: self.shows }
    }

    /// Plays sequences as one client, up to a number.
    fn play(&self, lines: &mut Lines, until: u64) {
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= until || self.tally.lock().expect("no client panics").is_full() {
                return;
            }
            let sequence = maker::sequence(seed, lines.client);
            // Of a Query with such a statement the proxy runs nothing.
            if !lines.holds && sequence.iter().any(side::holds_beside_others) {
                continue;
            }
            let cut = Cut::chosen(&mut Rng::new(!seed));
            let began = std::time::Instant::now();
            let (heard, found) = lines.compare(&self.stage, &sequence, &cut);
            if began.elapsed().as_secs() > 1 {
                println!("SLOW {:?} {}", began.elapsed(), told(seed, &cut, &sequence, ""));
            }
            let Some(found) = found else {
                self.tally.lock().expect("no client panics").same(sequence.len(), &heard.answers);
                continue;
            };
            if !self.tally.lock().expect("no client panics").is_new(&found) {
                continue;
            }
            lines.shows = false;
            let shortest = shrink::shortest(&sequence, |part| {
                let how = lines.compare(&self.stage, part, &cut).1;
                how.is_some_and(|how| tally::kind(&how) == tally::kind(&found))
            });
            lines.shows = self.shows;
            let (_, how) = lines.compare(&self.stage, &shortest, &cut);
            let told = told(seed, &cut, &shortest, &how.unwrap_or(found));
            println!("FAULT {told}");
        }
    }
}

fn told(seed: u64, cut: &Cut, sequence: &[Sent], how: &str) -> String {
    let messages: String = sequence.iter().map(|message| format!("\n      {message}")).collect();
    format!("{seed} ({cut:?}): {how}{messages}")
}

/// One client's two sides.
struct Lines {
    judged: Side,
    oracle: Side,
    tenant: usize,
    client: usize,
    /// Something may be kept beyond a transaction.
    holds: bool,
    shows: bool,
}

impl Lines {
    /// Plays a sequence on both sides: what the oracle said, and what is different.
    fn compare(&mut self, stage: &Mutex<Stage>, sequence: &[Sent], cut: &Cut) -> (Heard, Option<String>) {
        let oracle = self.oracle.play(sequence, &Cut::Whole).expect("the oracle");
        let judged = match self.judged.play(sequence, cut) {
            Ok(judged) => judged,
            Err(error) => return (oracle, Some(format!("no login: {error}"))),
        };
        if self.shows {
            println!("{}", told(0, cut, sequence, "played"));
            println!("  expected: {:#?}\n  found: {:#?}", oracle.answers, judged.answers);
        }
        let rows = stage.lock().expect("no client panics").settle(self.tenant, self.client);
        let found = if is_excused(&judged, &oracle) { None } else { difference(&judged, &oracle).or(rows) };
        (oracle, found)
    }
}
