//! The catalog of the corpus schema, as the proxy reads it.

use std::time::Duration;

use pgbulkhead::catalog::load::{Severity, check_backend_role};
use pgbulkhead::catalog::{Generated, Relation, RelationKind, Snapshot, load};
use pgbulkhead::config::model::{BackendTls, Database, ServerFloor};
use pgbulkhead::pool::{Target, driver};
use tokio_postgres::Client;

use crate::support::fixture::Server;

pub fn judge(server: &Server) -> Result<(), String> {
    server.create_database("ccm_catalog");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let began = std::time::Instant::now();
        let snapshot = read(server, 7).await?;
        println!("catalog: {} relations in {:?}", snapshot.relations().count(), began.elapsed());
        assert_eq!((snapshot.epoch, snapshot.database.as_str()), (7, "ccm_catalog"));
        assert_eq!(snapshot.server_version_num / 10_000, server.major());
        relations_are_complete(&snapshot);
        keys_are_complete(&snapshot);
        children_and_views_are_known(&snapshot);
        functions_types_and_operators_are_known(&snapshot);
        an_opclass_of_a_partition_is_distrusted_in_its_parent(server).await?;
        the_role_is_looked_at(server).await
    })
}

/// A connection as this user.
async fn client(server: &Server, user: &str) -> Result<Client, String> {
    let mut database = Database::new("ccm_catalog", "127.0.0.1", server.port(), user);
    database.tls = BackendTls::Disable;
    let target = Target::new(&database, Duration::from_secs(10)).map_err(|error| error.to_string())?;
    driver::client(&target).await.map_err(|error| error.to_string())
}

async fn read(server: &Server, epoch: u64) -> Result<Snapshot, String> {
    let client = client(server, "app_backend").await?;
    let search_path = ["app".to_owned(), "ext".to_owned()];
    load(&client, &search_path, epoch).await.map_err(|error| error.to_string())
}

fn relation<'a>(snapshot: &'a Snapshot, name: &str) -> &'a Relation {
    snapshot.find_relation(None, name).unwrap_or_else(|| panic!("no relation {name}"))
}

fn columns(relation: &Relation, numbers: &[i16]) -> Vec<String> {
    let name = |number: &i16| relation.column_numbered(*number).expect("a column").name.clone();
    numbers.iter().map(name).collect()
}

fn relations_are_complete(snapshot: &Snapshot) {
    let documents = relation(snapshot, "documents");
    assert_eq!((documents.schema.as_str(), documents.kind), ("app", RelationKind::Table));
    assert_eq!(documents.columns.len(), 13);
    let column = |name: &str| documents.column(name).unwrap_or_else(|| panic!("no column {name}"));
    assert!(column("tenant_id").not_null && !column("tenant_id").has_default);
    assert_eq!(column("search").generated, Generated::Stored);
    assert_eq!(column("amount").typmod, ((14 << 16) | 2) + 4);
    assert!(column("id").has_default && !column("id").identity_always);
    assert_eq!(column("title").collation, 100);
    assert!(!documents.row_security);
    assert!(snapshot.find_relation(Some("rls"), "documents").is_some_and(|r| r.row_security));
    assert_eq!(relation(snapshot, "events").kind, RelationKind::PartitionedTable);
    assert_eq!(relation(snapshot, "secret\" --").columns.len(), 2);
    assert_eq!(relation(snapshot, "pg_class").schema, "pg_catalog");
    assert!(snapshot.find_relation(Some("information_schema"), "tables").is_some());
    assert!(documents.trusted_opclasses, "gin on tsvector is PostgreSQL's own");
}

fn keys_are_complete(snapshot: &Snapshot) {
    let documents = relation(snapshot, "documents");
    assert_eq!(columns(documents, &documents.primary_key), ["id"]);
    let unique: Vec<_> = documents.unique_keys.iter().map(|key| columns(documents, key)).collect();
    assert_eq!(unique, [vec!["id"], vec!["tenant_id", "id"]]);
    let mut targets: Vec<_> = documents
        .foreign_keys
        .iter()
        .map(|key| {
            let target = snapshot.relation(key.target).expect("the target");
            let (own, other): (Vec<i16>, Vec<i16>) = key.columns.iter().copied().unzip();
            (target.name.clone(), columns(documents, &own), columns(target, &other))
        })
        .collect();
    targets.sort();
    let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        targets,
        [
            ("customers".to_owned(), names(&["customer_id"]), names(&["id"])),
            ("templates".to_owned(), names(&["tenant_id", "template_id"]), names(&["tenant_id", "id"])),
            ("tenants".to_owned(), names(&["tenant_id"]), names(&["id"])),
        ]
    );
}

fn children_and_views_are_known(snapshot: &Snapshot) {
    let partition = relation(snapshot, "events_2024_01");
    assert_eq!(partition.inherits, [relation(snapshot, "events").oid]);
    assert!(partition.is_partition);
    let child = relation(snapshot, "notes_archived");
    assert_eq!(child.inherits, [relation(snapshot, "notes").oid]);
    assert!(!child.is_partition);
    let view = relation(snapshot, "v_titles_no_tenant").view_definition.clone();
    assert!(view.is_some_and(|text| text.contains("app.documents")), "qualified");
    let sequence = relation(snapshot, "documents_id_seq");
    let owner = relation(snapshot, "documents");
    assert_eq!(sequence.owned_by, Some((owner.oid, owner.column("id").expect("id").number)));
    assert_eq!(relation(snapshot, "invoice_no").owned_by, None);
}

fn functions_types_and_operators_are_known(snapshot: &Snapshot) {
    let extension = snapshot.functions_named("crosstab");
    assert!(!extension.is_empty() && extension.iter().all(|f| f.extension.as_deref() == Some("tablefunc")));
    let vat = &snapshot.functions_named("vat")[0];
    assert_eq!(
        (vat.argument_names.join(","), vat.internal, vat.volatility),
        ("amount,pct".into(), false, 'i')
    );
    let lower = snapshot.functions_named("lower");
    assert!(lower.iter().any(|f| f.internal && f.source == "lower" && f.schema == "pg_catalog"));
    let json_each = &snapshot.functions_named("jsonb_each")[0];
    assert_eq!(json_each.out_columns, [("key".to_owned(), 25), ("value".to_owned(), 3802)]);
    assert!(json_each.returns_set);
    assert_eq!(json_each.arguments, [3802]);
    let enumeration = snapshot.find_type(None, "doc_status").expect("the enum");
    assert_eq!((enumeration.kind, enumeration.schema.as_str()), ('e', "app"));
    let array = snapshot.type_by_oid(enumeration.array).expect("its array");
    assert_eq!(array.element, enumeration.oid);
    assert_eq!(snapshot.find_type(None, "name").map(|t| t.element), Some(0), "not a true array");
    assert_eq!(snapshot.find_type(None, "short_text").map(|t| (t.kind, t.base)), Some(('d', 25)));
    let similar = snapshot.operators_named("%");
    let trigram = similar.iter().find(|o| o.schema == "ext").expect("pg_trgm's operator");
    assert_eq!((trigram.extension.as_deref(), trigram.builtin_estimators), (Some("pg_trgm"), true));
    assert_eq!(snapshot.cast(23, 20).map(|c| (c.context, c.method)), Some(('i', 'f')));
    assert_eq!(snapshot.collation(100).map(|c| c.name.clone()), Some("default".into()));
}

async fn an_opclass_of_a_partition_is_distrusted_in_its_parent(server: &Server) -> Result<(), String> {
    let mut superuser = server.superuser("ccm_catalog");
    superuser.run(
        "create function app.compare(int8, int8) returns int4 language sql immutable as 'select btint8cmp($1, $2)';
         create operator class app.own_ops for type int8 using btree as
           operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 app.compare(int8, int8);
         create index on app.events_2024_02 (id app.own_ops)",
    );
    let snapshot = read(server, 8).await?;
    assert!(!relation(&snapshot, "events_2024_02").trusted_opclasses);
    assert!(!relation(&snapshot, "events").trusted_opclasses);
    assert!(relation(&snapshot, "events_2024_01").trusted_opclasses);
    Ok(())
}

async fn the_role_is_looked_at(server: &Server) -> Result<(), String> {
    let look = async |user: &str| {
        let schemas = ["app".to_owned(), "ext".to_owned()];
        let client = client(server, user).await?;
        let findings = check_backend_role(&client, &schemas, ServerFloor::Warn).await;
        findings.map_err(|error| error.to_string())
    };
    let findings = look("app_backend").await?;
    assert!(findings.iter().all(|f| f.severity == Severity::Warn), "{findings:?}");
    assert!(findings.iter().any(|f| f.message.contains("in the schemas app")), "{findings:?}");
    assert!(findings.iter().any(|f| f.message.contains("temporary tables")), "{findings:?}");
    if server.major() >= 17 {
        server.superuser("ccm_catalog").run("grant maintain on app.tags to app_backend");
        let findings = look("app_backend").await?;
        assert!(findings.iter().any(|f| f.message.contains("MAINTAIN on app.tags")), "{findings:?}");
    }
    let findings = look("postgres").await?;
    assert!(findings.iter().any(|f| f.severity == Severity::Refuse), "{findings:?}");
    server.superuser("ccm_catalog").run(
        "create role owns_a_table login; create table app.owned (tenant_id int); alter table app.owned owner to owns_a_table;
         create role is_a_member login; grant pg_read_all_data to is_a_member",
    );
    for (user, what) in
        [("owns_a_table", "owns table app.owned"), ("is_a_member", "member of pg_read_all_data")]
    {
        let findings = look(user).await?;
        let refused = findings.iter().filter(|f| f.severity == Severity::Refuse);
        assert!(
            refused.clone().count() == 1 && refused.clone().all(|f| f.message.contains(what)),
            "{findings:?}"
        );
    }
    Ok(())
}
