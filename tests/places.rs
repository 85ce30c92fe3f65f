//! Wherever an expression can stand, what stands there is looked at: `tests/places.txt` has a statement for each place of the
//! grammar, and its `?` becomes a sub-select over a tenant's rows, a call that nobody may make, and a column that a role
//! may not see. A clause that the binder forgot would be sent as the client wrote it.
//!
//! Needs PostgreSQL's binaries: the catalog of the corpus schema is read from a server.

use std::sync::Arc;

use pgbulkhead::demo::EmbeddedPostgres;
use pgbulkhead::demo::embedded::Options;
use pgbulkhead::sql::{Action, Limits, World, plan, statements};

#[path = "support/world.rs"]
mod world;

const PLACES: &str = include_str!("places.txt");
const TENANT: u16 = 9;

/// A role that does not see what users keep secret.
const RULES: &str = r#"
[[roles]]
name = "clerk"
default_allow = true

[[roles.rules]]
table = "app.users"
allow = ["select"]
denied_columns = ["secret"]
"#;

#[test]
fn whatever_stands_at_a_place_of_the_grammar_is_looked_at() {
    // Parsers recurse.
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(run).expect("a thread");
    thread.join().expect("every place is looked at");
}

fn run() {
    let options = Options { password: None, settings: Vec::new(), binaries: None };
    let world = world::of(&EmbeddedPostgres::start(&options).expect("PostgreSQL starts"), RULES);
    // The latest grammar, over the same catalog.
    let mut catalog = (*world.catalog).clone();
    catalog.server_version_num = 180_000;
    let world = World::new(Arc::new(catalog), world.policy.clone());

    let places: Vec<&str> = PLACES.lines().collect();
    let (mut sent, mut faults) = (0, Vec::new());
    for place in &places {
        for own in ["(select id from documents limit 1)", "(select d.id from app.documents d limit 1)"] {
            let sql = place.replace('?', own);
            if let Ok(text) = sent_for(&world, "app", &sql) {
                sent += 1;
                if !is_restricted(&text) {
                    faults.push(format!("{sql}\n    is sent as {text}"));
                }
            }
        }
        for forbidden in ["length(pg_read_file('x'))", "(select ascii(secret) from users limit 1)"] {
            let sql = place.replace('?', forbidden);
            if let Ok(text) = sent_for(&world, "clerk", &sql) {
                faults.push(format!("{sql}\n    is sent as {text}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // Where all is refused nothing is shown.
    let most = places.len() * 2 * 4 / 5;
    println!("{} places, {sent} statements with a tenant's rows are sent", places.len());
    assert!(sent > most, "only {sent} of {} statements are sent", places.len() * 2);
}

/// What is sent for a statement; why it is not.
fn sent_for(world: &World, role: &str, sql: &str) -> Result<String, String> {
    let found = statements(sql, &Limits::default()).map_err(|refusal| refusal.to_string())?;
    let [statement] = found.as_slice() else { return Err("not one statement".into()) };
    let planned = plan(world, role, statement).map_err(|refusal| refusal.to_string())?;
    let sql = match &planned.action {
        Action::Send { sql, .. } | Action::Set { sql, .. } | Action::Savepoint { sql, .. } => sql,
        Action::Execute(execute) => &execute.tenanted,
        other => return Err(format!("{other:?}")),
    };
    let mut text = Vec::new();
    sql.render_extended(&mut text, TENANT, |index| statement.token(index).unwrap_or_default().as_bytes());
    Ok(String::from_utf8(text).expect("rendered SQL is UTF-8"))
}

/// Whether the documents are named with their schema and restricted to the tenant. A statement names them once.
fn is_restricted(text: &str) -> bool {
    let named = text.match_indices("documents").filter(|(at, _)| {
        let before = text.get(..*at).unwrap_or_default();
        before.ends_with("FROM ") || before.ends_with("app.")
    });
    let qualified = text.matches("FROM app.documents").count();
    let predicates = text.matches("documents.tenant_id OPERATOR(pg_catalog.=) $9").count()
        + text.matches("d.tenant_id OPERATOR(pg_catalog.=) $9").count();
    qualified > 0 && named.count() == qualified && predicates >= qualified
}
