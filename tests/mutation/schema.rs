//! The relations that the golden statements name, as the witness is told of them.

use pgbulkhead::sql::witness::{ForeignKey, Parent, RelationFacts, Tenancy};

/// Tables with the tenant in `tenant_id`, with their columns where a column list renames them.
const TENANT_TABLES: &[(&str, &[&str])] = &[
    ("users", &["tenant_id", "id", "login", "role", "secret"]),
    ("customers", &["tenant_id", "id", "email", "name"]),
    ("templates", &["tenant_id", "id", "name"]),
    ("documents", &["tenant_id", "id", "customer_id", "template_id", "title"]),
    ("deliveries", &["tenant_id", "id", "document_id"]),
    ("tags", &["tenant_id", "id", "label"]),
    ("document_tags", &["tenant_id", "document_id", "tag_id"]),
    ("settings", &["tenant_id", "key", "value"]),
    ("folders", &["tenant_id", "id", "parent_id", "name"]),
    ("events", &["tenant_id", "id", "at"]),
    ("notes", &["tenant_id", "id", "text_"]),
    ("audit", &["id", "tenant_id", "what", "at"]),
    ("MixedCase", &["tenant_id", "Odd \"Col"]),
    ("v_documents", &["tenant_id", "id", "title"]),
    ("v_upd", &["tenant_id", "id", "title", "amount"]),
    ("mv_totals", &["tenant_id", "n", "total", "first_title"]),
];

/// The schema `app`.
pub struct App;

impl RelationFacts for App {
    fn tenancy(&self, schema: &str, name: &str) -> Tenancy {
        let tenant = |column: &str, null_is_shared| Tenancy::Tenant { column: column.into(), null_is_shared };
        match (schema, name) {
            ("pg_catalog", _) => Tenancy::Catalog,
            ("app", "tenants") => tenant("id", false),
            ("app", "labels") => tenant("tenant_id", true),
            ("app", "countries") => Tenancy::Shared,
            ("app", "document_pages") => child(&[("documents", &[("document_id", "id")])]),
            ("app", "page_words") => {
                child(&[("document_pages", &[("document_id", "document_id"), ("page_no", "page_no")])])
            }
            ("app", "attachments") => {
                child(&[("documents", &[("document_id", "id")]), ("customers", &[("customer_id", "id")])])
            }
            ("app", name) if TENANT_TABLES.iter().any(|(table, _)| *table == name) => {
                tenant("tenant_id", false)
            }
            _ => Tenancy::Unknown,
        }
    }

    fn column_place(&self, schema: &str, name: &str, column: &str) -> Option<usize> {
        let (_, columns) = TENANT_TABLES.iter().find(|(table, _)| schema == "app" && *table == name)?;
        columns.iter().position(|c| *c == column)
    }

    fn keys(&self, _: &str, name: &str) -> Vec<ForeignKey> {
        let key = |own: &str, target: &str| ForeignKey {
            target: parent(target, &[(own, "id")]),
            null_by_default: vec![own.into()],
        };
        match name {
            "documents" => vec![key("customer_id", "customers")],
            "deliveries" | "document_tags" => vec![key("document_id", "documents")],
            "folders" => vec![key("parent_id", "folders")],
            _ => Vec::new(),
        }
    }
}

fn child(parents: &[(&str, &[(&str, &str)])]) -> Tenancy {
    Tenancy::Child { parents: parents.iter().map(|(name, columns)| parent(name, columns)).collect() }
}

fn parent(name: &str, columns: &[(&str, &str)]) -> Parent {
    let columns = columns.iter().map(|(child, key)| ((*child).into(), (*key).into())).collect();
    Parent { schema: "app".into(), name: name.into(), columns }
}
