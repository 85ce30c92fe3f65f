//! A function or operator that somebody changed does not inherit the trust in the one that was read.

use std::sync::Arc;

use pgbulkhead::config::{Environment, parse};
use pgbulkhead::policy::Policy;
use pgbulkhead::sql::{Action, Limits, World, plan, statements};

use crate::interference::CONFIGURATION;
use crate::server::Server;

const SCHEMA: &str = "CREATE SCHEMA app; SET search_path = app;
    CREATE TABLE rows_ (tenant_id int NOT NULL, key int PRIMARY KEY, vc varchar(20), txt text, n int, other int);
    CREATE TABLE children (row_id int REFERENCES rows_);
    CREATE FUNCTION leak(text) RETURNS bool LANGUAGE sql AS 'select true';
    CREATE ROLE somebody;";

/// What is changed, and a condition that it is part of.
const CHANGES: [(&str, &str); 8] = [
    (
        "CREATE OR REPLACE FUNCTION pg_catalog.lower(text) RETURNS text IMMUTABLE STRICT LANGUAGE plpgsql
           AS $$ BEGIN RAISE NOTICE '%', $1; RETURN $1; END $$",
        "lower(vc) = 'x'",
    ),
    ("UPDATE pg_catalog.pg_proc SET prosrc = 'text_reverse' WHERE oid = 871", "upper(vc) = 'x'"),
    ("ALTER FUNCTION pg_catalog.length(text) OWNER TO somebody", "length(txt) > 3"),
    ("ALTER FUNCTION pg_catalog.int4lt(int4, int4) NOT LEAKPROOF", "n < other"),
    ("ALTER FUNCTION pg_catalog.strpos(text, text) VOLATILE", "strpos(txt, 'x') > 0"),
    ("ALTER FUNCTION pg_catalog.reverse(text) SET search_path = app", "reverse(txt) = 'x'"),
    ("ALTER FUNCTION pg_catalog.ascii(text) CALLED ON NULL INPUT", "ascii(txt) = 5"),
    ("ALTER OPERATOR pg_catalog.% (int4, int4) SET (RESTRICT = NONE)", "n % 3 = 1"),
];

#[test]
fn what_somebody_changed_is_guarded() {
    let server = Server::in_database("redefined", SCHEMA, &["app"]);
    let before = world(server.catalog.clone());
    server.run("SET allow_system_table_mods = on").unwrap();
    for (change, condition) in CHANGES {
        assert!(!is_guarded(&before, condition), "{condition} is guarded before anything was changed");
        server.run(change).unwrap_or_else(|error| panic!("{change}: {error}"));
    }
    let after = world(Server::read("redefined", &["app"]));
    for (change, condition) in &CHANGES[..7] {
        assert!(is_guarded(&after, condition), "{condition} stays bare after {change}");
    }
    assert!(!is_guarded(&after, CHANGES[7].1), "an operator without estimators runs no code of others");
    assert!(after.leaksafe.dropped() > before.leaksafe.dropped(), "nothing is counted as changed");
}

#[test]
fn an_operator_that_shadows_one_of_the_list_is_not_taken_for_it() {
    let schema = "CREATE SCHEMA app; SET search_path = app;
        CREATE TABLE rows_ (tenant_id int NOT NULL, key int PRIMARY KEY, txt text);
        CREATE TABLE children (row_id int REFERENCES rows_);
        CREATE FUNCTION leak(text) RETURNS bool LANGUAGE sql AS 'select true';
        CREATE FUNCTION peep(text, text) RETURNS bool LANGUAGE plpgsql COST 0.001 AS
          $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$;
        CREATE OPERATOR ~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = peep);
        CREATE OPERATOR ^@ (LEFTARG = text, RIGHTARG = text, FUNCTION = peep);";
    let world = world(Server::in_database("shadowed", schema, &["app"]).catalog);
    for condition in ["txt LIKE 'x%'", "txt OPERATOR(app.~~) 'x%'", "txt ^@ 'x'"] {
        let sent = rewritten(&world, condition);
        let names_app = sent.as_ref().is_ok_and(|sent| sent.contains("OPERATOR(app."));
        assert!(!names_app, "{condition}: {sent:?}");
    }
}

fn world(catalog: pgbulkhead::catalog::Snapshot) -> World {
    let verifier = postgres_protocol::password::scram_sha_256(b"for the tests only");
    let text = CONFIGURATION.replace("VERIFIER", &verifier);
    let config = parse("pgbulkhead.toml", &text, &Environment::default()).expect("a configuration");
    let policy = Policy::compile(&config, &catalog, 1, "n0nce").expect("the policy compiles");
    World::new(Arc::new(catalog), Arc::new(policy))
}

fn rewritten(world: &World, condition: &str) -> Result<String, String> {
    let sql = format!("select key from rows_ where {condition}");
    let statement = statements(&sql, &Limits::default()).map_err(|r| r.to_string())?.pop().ok_or("none")?;
    let planned = plan(world, "app", &statement).map_err(|r| r.to_string())?;
    let Action::Send { sql, .. } = &planned.action else { return Err("nothing is sent".into()) };
    let mut text = Vec::new();
    sql.render_extended(&mut text, 9, |index| statement.token(index).unwrap_or_default().as_bytes());
    String::from_utf8(text).map_err(|e| e.to_string())
}

/// Guarded, or refused, since the table of functions does not know it any more either.
fn is_guarded(world: &World, condition: &str) -> bool {
    rewritten(world, condition).map_or(true, |sent| sent.contains("CASE WHEN"))
}
