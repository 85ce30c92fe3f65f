//! The outputs of whole statements, as binding knows them, beside what the server says of them: their names, their
//! order and every type that is known.
//!
//! A condition is judged by what the names in it mean. Where binding finds another column than the server does, or
//! takes it for another type, a condition that raises may stay bare. So the statements are made of few names that
//! stand for columns of many types at many levels, and types tell which one was found.
//!
//! `PGBULKHEAD_TEST_CASES` is the number of statements, `PGBULKHEAD_TEST_SEED` chooses them, `PGBULKHEAD_TEST_SHOW`
//! prints what was refused.

mod maker;
#[path = "../support/world.rs"]
mod world;

use std::collections::BTreeMap;

use pgbulkhead::catalog::Snapshot;
use pgbulkhead::demo::EmbeddedPostgres;
use pgbulkhead::demo::embedded::Options;
use pgbulkhead::sql::resolve::base_type;
use pgbulkhead::sql::{KnownOutputs, Limits, World, outputs, statements};

use maker::Maker;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn outputs_are_those_of_the_server() {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(run).expect("a thread");
    thread.join().expect("every statement agrees");
}

#[derive(Default)]
struct Tally {
    agreed: usize,
    /// Outputs whose type was known.
    known: usize,
    outputs: usize,
    refused: BTreeMap<String, (usize, String)>,
    rejected: usize,
    wrong: Vec<String>,
}

fn run() {
    let binaries = std::env::var_os("PGBULKHEAD_TEST_PGBIN").map(std::path::PathBuf::from);
    let options = Options { binaries, ..Options::default() };
    let postgres = EmbeddedPostgres::start(&options).expect("PostgreSQL starts");
    let world = world::of(&postgres, "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let login = format!(
        "host=127.0.0.1 port={} user={} dbname=postgres options='-c search_path=app,ext'",
        postgres.port(),
        EmbeddedPostgres::SUPERUSER
    );
    let (client, connection) =
        runtime.block_on(tokio_postgres::connect(&login, tokio_postgres::NoTls)).expect("a connection");
    runtime.spawn(connection);
    let (cases, seed) = (number("PGBULKHEAD_TEST_CASES", 12_000), number("PGBULKHEAD_TEST_SEED", 1));
    let mut tally = Tally::default();
    for case in 0..cases {
        let major = world.catalog.server_version_num / 10_000;
        let sql = Maker::new(seed.wrapping_mul(1_000_000).wrapping_add(case), major).statement();
        let described = runtime.block_on(client.prepare(&sql));
        let theirs = described.map(|statement| {
            let columns = statement.columns().iter();
            columns.map(|c| (c.name().to_owned(), c.type_().oid())).collect::<Vec<_>>()
        });
        compare(&world, &sql, theirs.ok(), &mut tally);
    }
    let Tally { agreed, known, outputs, refused, rejected, wrong } = tally;
    println!("{agreed} agreed, {known} of {outputs} types known, {rejected} not taken by the server");
    for (message, (count, sql)) in &refused {
        println!("  refused {count} times: {message}");
        if std::env::var_os("PGBULKHEAD_TEST_SHOW").is_some() {
            println!("    {sql}");
        }
    }
    wrong.iter().take(20).for_each(|line| println!("{line}"));
    assert!(wrong.is_empty(), "{} statements have other outputs", wrong.len());
    assert!(agreed > usize::try_from(cases).expect("a number") / 20, "too little was compared");
}

fn compare(world: &World, sql: &str, theirs: Option<Vec<(String, u32)>>, tally: &mut Tally) {
    let Some(theirs) = theirs else {
        tally.rejected += 1;
        return;
    };
    let found = statements(sql, &Limits::default());
    let ours = found.and_then(|found| outputs(world, "app", &found[0]));
    let ours = match ours {
        Ok(ours) => ours,
        Err(refusal) => {
            let entry = tally.refused.entry(refusal.message).or_insert((0, sql.to_owned()));
            entry.0 += 1;
            return;
        }
    };
    match difference(&world.catalog, &ours, &theirs) {
        None => {
            tally.agreed += 1;
            tally.outputs += theirs.len();
            tally.known += ours.columns.iter().filter(|(_, ty)| ty.is_some()).count();
        }
        Some(what) => tally.wrong.push(format!("{what}: {sql}\n   server {theirs:?}\n   ours   {ours:?}")),
    }
}

fn difference(catalog: &Snapshot, ours: &KnownOutputs, theirs: &[(String, u32)]) -> Option<&'static str> {
    if !ours.open && ours.columns.len() != theirs.len() {
        return Some("number");
    }
    for (at, (name, ty)) in ours.columns.iter().enumerate() {
        // Behind the first unknown one of an open list nothing is at its place, and nothing is known of it.
        let Some((their_name, their_type)) = theirs.get(at) else {
            return ty.map(|_| "a known output that is not there");
        };
        if !ours.open && name != their_name {
            return Some("name");
        }
        // What is described of a domain is its base type.
        if ty.is_some_and(|ty| base_type(catalog, ty) != *their_type) {
            return Some("type");
        }
    }
    None
}
