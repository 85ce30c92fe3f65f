//! Many clients of three tenants at once, every kind of traffic, and things going wrong all the time: backends
//! that are terminated, a network that stalls, clients that vanish in the middle of a result. Every request carries
//! a literal of its own, and every answer must be its own request's and its own tenant's. At the end nothing is
//! left: no client hangs, every lease is free, memory and descriptors are back.
//!
//! `scripts/soak --seconds N` runs it for as long as you like. `PGBULKHEAD_SOAK_SECONDS`, `_CLIENTS` and `_SEED`
//! set the same.

mod client;
mod relay;
mod stage;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use client::Client;
use stage::Stage;

/// Tenants 1 to 3.
const TENANTS: u32 = 3;

#[test]
fn every_answer_is_its_own_requests() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(soak());
}

async fn soak() {
    let seconds = number("SECONDS", 20);
    let clients = u32::try_from(number("CLIENTS", 200)).expect("a number of clients");
    let seed = number("SEED", u64::from(std::process::id()));
    println!("{clients} clients of {TENANTS} tenants for {seconds} s, seed {seed}");
    let stage = Arc::new(Stage::start().await);

    // Buffers, plans and pools of all clients grow first; what they grow by later is lost for good.
    let warm = Duration::from_secs(seconds.div_ceil(4).max(4));
    run(&stage, clients, seed, warm).await;
    let before = stage.settled().await;
    let done = run(&stage, clients, seed.wrapping_add(1), Duration::from_secs(seconds)).await;
    let after = stage.settled().await;

    println!("{done}");
    println!("before {before:?}\nafter  {after:?}");
    done.assert_everything_was_tried();
    stage.assert_rows_are_whole().await;
    assert!(after.descriptors <= before.descriptors + 4, "descriptors are lost: {before:?} {after:?}");
    assert!(after.memory <= before.memory + (32 << 20), "memory is lost: {before:?} {after:?}");
}

/// Runs all clients among trouble for a while; the first wrong byte or hanging client panics.
async fn run(stage: &Arc<Stage>, clients: u32, seed: u64, time: Duration) -> client::Done {
    let end = tokio::time::Instant::now() + time;
    let trouble = tokio::spawn(trouble::make(stage.clone(), seed, end));
    let clients: Vec<_> =
        (0..clients).map(|number| tokio::spawn(Client::new(stage.clone(), number, seed).run(end))).collect();
    let mut all = client::Done::default();
    for client in clients {
        all.add(&client.await.expect("no client is given a wrong answer, and none hangs"));
    }
    trouble.await.expect("trouble can be made");
    all
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(format!("PGBULKHEAD_SOAK_{name}")).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}
