//! A world with nothing in it, and a planning function that only looks at the text.

use std::sync::Arc;
use std::time::Duration;

use pgbulkhead::catalog::Snapshot;
use pgbulkhead::config::model::{Audit, AuditSink, Barrier, Config, General, Nulls, Tenancy};
use pgbulkhead::policy::{Policy, Refusal, Rule, SqlState};
use pgbulkhead::sql::{Action, Decision, Lasting, Pin, Planned, Statement, Witnessed, World};

fn config() -> Config {
    let second = Duration::from_secs(1);
    Config {
        general: General::default(),
        databases: Vec::new(),
        tenancy: Tenancy { column: "tenant_id".to_owned(), barrier: Barrier::Auto, nulls: Nulls::Hidden },
        tables: Vec::new(),
        functions: Vec::new(),
        sequences: Vec::new(),
        roles: Vec::new(),
        users: Vec::new(),
        token_keys: Vec::new(),
        audit: Audit { sink: AuditSink::None, flush_interval: second, queue: 1 },
    }
}

/// A world of an epoch.
pub fn world(epoch: u64) -> World {
    let catalog = Snapshot::new(epoch, 180_000, "ccm".to_owned(), Vec::new());
    let policy = Policy::compile(&config(), &catalog, epoch, "nonce").unwrap();
    World::new(Arc::new(catalog), Arc::new(policy))
}

/// Pins the first literal of statements with `pin`, refuses those with `refuse`, panics at `panic`, sleeps at
/// `slow`. The reason is the text it was planned from.
pub fn planned(statement: &Statement<'_>) -> Result<Planned, Refusal> {
    if statement.text.contains("refuse") {
        return Err(Refusal::new(SqlState::DENIED, Rule("test"), "no").at(1));
    }
    assert!(!statement.text.contains("panic"), "as asked for");
    if statement.text.contains("slow") {
        std::thread::sleep(Duration::from_millis(200));
    }
    let pins = match statement.token(0) {
        Some(token) if statement.text.contains("pin") => vec![Pin { index: 0, token: token.to_owned() }],
        _ => Vec::new(),
    };
    Ok(Planned {
        action: Action::Empty,
        parameters: 0,
        tenant_type: None,
        holds: Lasting::Nothing,
        sequences: None,
        bind_checks: Vec::new(),
        cautious: None,
        load: None,
        pins,
        decision: Decision {
            rule: Rule("test"),
            reason: statement.text.to_owned(),
            relations: Vec::new(),
            edits: Vec::new(),
            witnessed: Witnessed::NoRelation,
        },
    })
}
