//! The barrier is shown on the server itself (rule R24), and a plan without it is seen. `PGBULKHEAD_TEST_PGBIN` names
//! another server's binaries.

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use pgbulkhead::catalog::load::explain;
use pgbulkhead::demo::EmbeddedPostgres;
use pgbulkhead::demo::embedded::Options;
use pgbulkhead::pool::{Target, driver};
use pgbulkhead::sql::proof::probes;

#[test]
fn servers_plans_of_guarded_statements_show_the_guard() {
    let run = std::thread::Builder::new().stack_size(64 << 20).spawn(prove).expect("a thread");
    run.join().expect("the proof runs through");
}

fn prove() {
    let binaries = std::env::var_os("PGBULKHEAD_TEST_PGBIN").map(std::path::PathBuf::from);
    let postgres =
        EmbeddedPostgres::start(&Options { binaries, ..Options::default() }).expect("a PostgreSQL");
    println!("PostgreSQL {}", postgres.version());
    let world = world::of(&postgres, "");
    let config = world::configuration(&postgres, "");
    let roles = config.users.iter().map(|user| user.role.as_str()).collect();
    let probes = probes(&world, &roles);
    let kinds: Vec<_> = probes.iter().map(|probe| probe.kind).collect();
    assert_eq!(kinds.len(), 6, "the corpus has a relation for every kind: {kinds:?}");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let target = Target::new(&config.databases[0], Duration::from_secs(10)).expect("a server");
    let client = runtime.block_on(driver::client(&target)).expect("a connection");
    let explained =
        |statements: &[&str]| runtime.block_on(explain(&client, statements)).expect("the server explains");
    let statements: Vec<_> = probes.iter().map(|probe| probe.sql.as_str()).collect();
    for (probe, plan) in probes.iter().zip(explained(&statements)) {
        println!("{}: {}", probe.kind, probe.sql);
        assert_eq!(probe.fault(&plan), None, "{plan:#}");
    }

    // The same statements with the guards taken out are what a planner without the barrier would run.
    let unguarded: Vec<_> =
        statements.iter().map(|sql| sql.replace("CASE WHEN", "CASE WHEN true OR")).collect();
    let unguarded: Vec<_> = unguarded.iter().map(String::as_str).collect();
    for (probe, plan) in probes.iter().zip(explained(&unguarded)) {
        assert!(probe.fault(&plan).is_some(), "{}: {plan:#}", probe.kind);
    }
}
