//! The judges: the corpora under `tests/corpus` against a real server through the real program.
//!
//! * `catalog` reads the corpus schema's catalog.
//! * `oracle` holds what is legitimate against row-level security.
//! * `attacks` looks for another tenant's data in every byte that an attacker gets, and for changes to it.
//! * `copy` holds COPY against the server's own.
//! * `drivers` runs real drivers.
//! * `orm` replays what object-relational mappers sent.
//! * `sessions` plays sessions whose statements depend on one another, by both protocols.
//! * `endless` sends what is too deep or too long.
//! * `generated` makes statements of every form and compares them with row-level security.
//! * `prometheus` has a real Prometheus scrape the proxy.
//! * `protocol` plays random sequences of messages, cut anywhere, beside PostgreSQL itself.
//! * `shared_names` holds advisory locks and channels of tenants apart.
//!
//! `PGBULKHEAD_JUDGE_TARGET=rls` puts the oracle itself where the proxy stands: nothing may differ.
//! `PGBULKHEAD_JUDGE_TARGET=backend` puts the bare backend role there: the attacks must be seen.
//! `PGBULKHEAD_JUDGE_CASE=TEXT` keeps the cases whose id has TEXT in it. `PGBULKHEAD_JUDGE_BLESS=1` writes
//! the refusals of this run to `tests/corpus/expected_refused.txt`.

mod attacks;
mod canary;
mod catalog;
mod compare;
mod copy;
mod drivers;
mod endless;
mod exceptions;
mod expected;
mod generated;
mod lanes;
mod oracle;
mod orm;
mod prometheus;
mod protocol;
mod restore;
mod sessions;
mod shared_names;
mod step;
#[path = "../support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Trial};

use support::fixture::Server;

/// The one server of this process, started by whoever needs it first.
type Shared = Arc<Mutex<Option<Server>>>;

type Judge = fn(&Server) -> Result<(), String>;

fn main() {
    let mut arguments = Arguments::from_args();
    // Each judge runs its cases in lanes of its own; two judges at once would only fight for the cores.
    arguments.test_threads = Some(1);
    let server = Shared::default();
    let judges: [(&str, Judge); 12] = [
        ("catalog", catalog::judge),
        ("copy", copy::judge),
        ("drivers", drivers::judge),
        ("prometheus", prometheus::judge),
        ("oracle", oracle::judge),
        ("attacks", attacks::judge),
        ("orm", orm::judge),
        ("sessions", sessions::judge),
        ("generated", generated::judge),
        ("endless", endless::judge),
        ("protocol", protocol::judge),
        ("shared_names", shared_names::judge),
    ];
    let trials = judges.into_iter().map(|(name, judge)| {
        let server = server.clone();
        Trial::test(name, move || {
            let mut server = server.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            judge(server.get_or_insert_with(Server::start)).map_err(Into::into)
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(server);
    conclusion.exit();
}
