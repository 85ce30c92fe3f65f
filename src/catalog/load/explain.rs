//! Asks the server how it would run a statement.

use tokio_postgres::{Client, SimpleQueryMessage};

use super::{LoadError, failed};

/// Without the value of a parameter, as a prepared statement of many tenants is planned.
const SETTINGS: &str = "BEGIN READ ONLY; SET LOCAL plan_cache_mode = force_generic_plan";

/// The server's plans of statements that have one parameter each, as `EXPLAIN (FORMAT JSON)` tells them, in the
/// order of `statements`. Nothing is run.
///
/// # Errors
/// When the connection is lost or the server cannot plan one of them.
pub async fn explain(client: &Client, statements: &[&str]) -> Result<Vec<serde_json::Value>, LoadError> {
    let what = "a plan";
    client.batch_execute(SETTINGS).await.map_err(failed(what))?;
    let mut plans = Vec::new();
    for statement in statements {
        let text = format!(
            "PREPARE probe AS {statement}; \
             EXPLAIN (FORMAT JSON, COSTS OFF) EXECUTE probe(NULL); DEALLOCATE probe"
        );
        let messages = client.simple_query(&text).await.map_err(failed(what))?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let told: Vec<&str> = rows.collect();
        let plan = serde_json::from_str(&told.join("\n"));
        plans.push(plan.map_err(|error| LoadError::Unexpected { what, found: error.to_string() })?);
    }
    Ok(plans)
}
