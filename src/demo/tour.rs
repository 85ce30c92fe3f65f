//! The tour: what an application, its tenants and an attacker see.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use tokio_postgres::Client;

use super::stage::{Stage, connect};
use super::{DemoError, print, token};
use crate::audit;

/// The audit log's writer wakes by time; what was said must be written when it is shown.
const AUDIT_DELAY: Duration = Duration::from_millis(300);

/// Walks through all of it.
pub(super) async fn walk(stage: &Stage) -> Result<(), DemoError> {
    same_statement_two_tenants(stage).await?;
    cross_tenant_insert(stage).await?;
    denied_column(stage).await?;
    injection(stage).await?;
    two_tenants_by_token(stage).await?;
    audit_lines(stage).await?;
    metrics(stage)
}

async fn same_statement_two_tenants(stage: &Stage) -> Result<(), DemoError> {
    print::heading(1, "The same statement, two tenants");
    let sql = "SELECT c.name AS customer, d.title, d.amount FROM documents d \
               JOIN customers c ON c.id = d.customer_id ORDER BY d.amount DESC LIMIT 3";
    for user in ["acme", "borealis"] {
        print::statement(user, sql);
        show(&stage.connect(user).await?, sql).await?;
    }
    Ok(())
}

async fn cross_tenant_insert(stage: &Stage) -> Result<(), DemoError> {
    print::heading(2, "A row for another tenant");
    let sql = "INSERT INTO customers (tenant_id, name, email, country) \
               VALUES (2, 'Mallory', 'mallory@evil.example', 'DE')";
    print::statement("acme", sql);
    show(&stage.connect("acme").await?, sql).await
}

async fn denied_column(stage: &Stage) -> Result<(), DemoError> {
    print::heading(3, "A column that a role may not see");
    let client = stage.connect("acme_viewer").await?;
    for sql in ["SELECT name, iban FROM customers", "SELECT * FROM customers ORDER BY id LIMIT 2"] {
        print::statement("acme_viewer", sql);
        show(&client, sql).await?;
    }
    Ok(())
}

async fn injection(stage: &Stage) -> Result<(), DemoError> {
    print::heading(4, "SQL injection into a query that pastes its search text");
    let search = "%' OR true --";
    let sql =
        format!("SELECT tenant_id, title FROM documents WHERE tenant_id = 1 AND title ILIKE '%{search}%'");
    let pasted = "the application, for Acme, searches \"%' OR true --\"";
    print::note(pasted);
    print::statement("sent", &sql);
    let direct = connect(&stage.server_url()).await?;
    let through = stage.connect("acme").await?;
    for (client, way) in [(direct, "without the proxy"), (through, "through the proxy")] {
        match client.simple_query(&sql).await {
            Ok(answer) => {
                let (own, foreign) = by_owner(&answer);
                let text = format!("{way:<18} {own} rows of Acme, {foreign} rows of others");
                if foreign == 0 { print::good(&text) } else { print::bad(&text) }
            }
            Err(error) => refused(error)?,
        }
    }
    Ok(())
}

/// How many rows are tenant 1's by their first column, and how many are not.
fn by_owner(answer: &[tokio_postgres::SimpleQueryMessage]) -> (usize, usize) {
    let tenants = answer.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let (own, foreign): (Vec<&str>, Vec<&str>) = tenants.partition(|tenant| *tenant == "1");
    (own.len(), foreign.len())
}

async fn two_tenants_by_token(stage: &Stage) -> Result<(), DemoError> {
    print::heading(5, "One connection, two tenants: a signed token binds each transaction");
    let client = stage.connect("shared_pool").await?;
    let sql = "SELECT t.name AS tenant, count(*) AS documents FROM documents d \
               JOIN tenants t ON t.id = d.tenant_id GROUP BY t.name";
    print::statement("shared_pool", sql);
    for tenant in ["1", "2"] {
        let token = token::sign(stage.token_key(), tenant).ok_or(DemoError::Clock)?;
        client.batch_execute("BEGIN").await?;
        let bind = format!("SET LOCAL pgbulkhead.tenant_token = '{token}'");
        let shown = token.get(..24).unwrap_or_default();
        print::note(&format!("BEGIN; SET LOCAL pgbulkhead.tenant_token = '{shown}…'"));
        client.batch_execute(&bind).await?;
        show(&client, sql).await?;
        client.batch_execute("COMMIT").await?;
    }
    print::note("and without a token");
    show(&client, sql).await
}

async fn audit_lines(stage: &Stage) -> Result<(), DemoError> {
    print::heading(6, "The audit log, and whether anybody has touched it");
    tokio::time::sleep(AUDIT_DELAY).await;
    let path = stage.audit_log();
    let text = std::fs::read_to_string(&path).map_err(DemoError::file(&path))?;
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let statements = lines.iter().filter(|line| field(line, "event") == "statement");
    let shown: Vec<(String, String)> = statements.rev().take(4).map(audit_line).collect();
    print::pairs(&shown);
    let report = audit::verify(&path)?;
    if report.is_sound() {
        print::good(&format!("verified: {} lines, each linked to the one before", report.lines));
    }
    // One changed word, in a copy.
    let copy = stage.file("touched.jsonl");
    let touched = text.replacen("\"refused\"", "\"allowed\"", 1);
    std::fs::write(&copy, touched).map_err(DemoError::file(&copy))?;
    print::note("the same log with one verdict changed from refused to allowed:");
    for fault in audit::verify(&copy)?.faults.iter().take(2) {
        print::bad(&fault.to_string());
    }
    Ok(())
}

fn audit_line(line: &Value) -> (String, String) {
    let who = format!("{} {}", field(line, "verdict"), field(line, "user"));
    let what = match (field(line, "rule"), field(line, "statement")) {
        ("", statement) => statement.to_owned(),
        (rule, statement) => format!("[{rule}] {statement}"),
    };
    let short: String = what.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(80).collect();
    (who, short)
}

fn field<'a>(line: &'a Value, name: &str) -> &'a str {
    line.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn metrics(stage: &Stage) -> Result<(), DemoError> {
    const SHOWN: [&str; 5] = [
        "pgbulkhead_statements_total",
        "pgbulkhead_refusals_total",
        "pgbulkhead_plan_cache_hits_total",
        "pgbulkhead_plan_cache_misses_total",
        "pgbulkhead_audit_lines_total",
    ];
    print::heading(7, &format!("Metrics: curl http://127.0.0.1:{}/metrics", stage.metrics_port()));
    let text = scrape(stage.metrics_port()).map_err(DemoError::file("/metrics".as_ref()))?;
    let lines = text.lines().filter(|line| SHOWN.iter().any(|name| line.starts_with(name)));
    let pairs: Vec<(&str, &str)> = lines.filter_map(|line| line.rsplit_once(' ')).collect();
    print::pairs(&pairs);
    Ok(())
}

fn scrape(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Runs a statement and prints its rows, or why it was refused.
async fn show(client: &Client, sql: &str) -> Result<(), DemoError> {
    match client.simple_query(sql).await {
        Ok(answer) => print::rows(&answer),
        Err(error) => refused(error)?,
    }
    Ok(())
}

fn refused(error: tokio_postgres::Error) -> Result<(), DemoError> {
    match error.as_db_error() {
        Some(shown) => print::refusal(shown),
        None => return Err(error.into()),
    }
    Ok(())
}
