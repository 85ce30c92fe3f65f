//! What statements are planned against in tests: the catalog of the corpus schema, and a policy.

use std::path::Path;
use std::sync::Arc;

use pgbulkhead::catalog::load::load;
use pgbulkhead::config::{Config, Environment, parse};
use pgbulkhead::demo::EmbeddedPostgres;
use pgbulkhead::policy::Policy;
use pgbulkhead::sql::World;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");

/// The corpus configuration with more rules behind it, for a server of our own.
pub fn configuration(postgres: &EmbeddedPostgres, rules: &str) -> Config {
    let text = std::fs::read_to_string(Path::new(CORPUS).join("pgbulkhead.toml")).expect("the configuration");
    let verifier = postgres_protocol::password::scram_sha_256(b"for the tests only");
    let text = text
        .replace("port = 5432", &format!("port = {}", postgres.port()))
        .replace("dbname = \"ccm\"", "dbname = \"postgres\"")
        .replace("SCRAM-SHA-256$…", &verifier);
    let text = text + rules;
    parse("pgbulkhead.toml", &text, &Environment::default()).expect("the configuration is well formed")
}

/// The corpus schema in a server of our own, and the corpus configuration, with more rules behind it,
/// compiled against it.
pub fn of(postgres: &EmbeddedPostgres, rules: &str) -> World {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let config = configuration(postgres, rules);
    runtime.block_on(async {
        let login = format!(
            "host=127.0.0.1 port={} user={} dbname=postgres",
            postgres.port(),
            EmbeddedPostgres::SUPERUSER
        );
        let (client, connection) =
            tokio_postgres::connect(&login, tokio_postgres::NoTls).await.expect("a connection");
        tokio::spawn(connection);
        let schema = std::fs::read_to_string(Path::new(CORPUS).join("schema.sql")).expect("the schema");
        let schema: Vec<_> = schema.lines().filter(|line| !line.starts_with("\\set")).collect();
        client
            .batch_execute(&schema.join("\n").replace(":DBNAME", "postgres"))
            .await
            .expect("the schema loads");
        // An index that is a proof: what it has as its key cannot raise on any row.
        client
            .batch_execute("CREATE INDEX documents_meta_n ON app.documents (tenant_id, ((meta->>'n')::int))")
            .await
            .expect("the index is made");
        let catalog = load(&client, &config.databases[0].search_path, 1).await.expect("the catalog loads");
        let policy = Policy::compile(&config, &catalog, 1, "n0nce").expect("the policy compiles");
        World::new(Arc::new(catalog), Arc::new(policy))
    })
}
