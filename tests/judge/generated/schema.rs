//! The corpus schema as the generator knows it: types, and how tenant A's values look, so that an expression
//! can be made which holds for each of A's rows and raises on the rows of others.

/// A type, as far as the generator tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ty {
    Int,
    Big,
    Num,
    Text,
    Bool,
    Time,
    Json,
    Texts,
    Search,
    /// An enumeration or char(2): compared with its own kind only.
    Word(&'static str),
}

/// What a column's values are, tenant by tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// 1 for A, 2 for B, 3 for C.
    Tenant,
    /// 1111001 and up for A, 2222001 for B.
    Id,
    /// `CANARY_A title 7`: what stands before the number.
    Numbered(&'static str),
    /// Has `CANARY_A` in it.
    Canary,
    /// `{CANARY_A,CANARY_Avip}`; B has a third.
    Tags,
    /// An object with the canary under this key.
    Object(&'static str),
    /// 1111000 for A, with this fraction, plus a small number.
    Amount(&'static str),
    /// Nothing that tells tenants apart.
    Plain,
    /// Not a value of a row as it is stored.
    Unknown,
}

#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    pub ty: Ty,
    pub values: Values,
}

#[derive(Debug, Clone, Copy)]
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [Column],
    /// Columns that are unique among a tenant's rows.
    pub key: &'static [&'static str],
    /// A primary key of one column that GROUP BY can lean on.
    pub groups_by_key: bool,
    /// Every column is here, and none holds the time: `*` gives the same everywhere.
    pub whole: bool,
    pub writable: bool,
}

const fn c(name: &'static str, ty: Ty, values: Values) -> Column {
    Column { name, ty, values }
}

use Ty::{Big, Int, Json, Num, Search, Text, Texts, Time, Word};
use Values::{Amount, Canary, Id, Numbered, Object, Plain, Tags, Tenant};

const T: Column = c("tenant_id", Int, Tenant);

macro_rules! table {
    ($name:expr, $key:expr, $groups:expr, $whole:expr, $writable:expr, [$($column:expr),* $(,)?]) => {
        Table { name: $name, columns: &[$($column),*], key: $key, groups_by_key: $groups, whole: $whole, writable: $writable }
    };
}

/// Every relation that a tenant may read under the corpus configuration.
pub const TABLES: &[Table] = &[
    table!(
        "documents",
        &["id"],
        true,
        false,
        true,
        [
            T,
            c("id", Big, Id),
            c("customer_id", Big, Id),
            c("template_id", Big, Id),
            c("title", Text, Numbered("CANARY_A title ")),
            c("body", Text, Numbered("CANARY_A body invoice ")),
            c("status", Word("doc_status"), Plain),
            c("search", Search, Plain),
            c("created_at", Time, Plain),
            c("amount", Num, Amount(".5")),
            c("meta", Json, Object("k")),
        ]
    ),
    table!(
        "customers",
        &["id"],
        true,
        true,
        true,
        [
            T,
            c("id", Big, Id),
            c("email", Text, Canary),
            c("name", Text, Numbered("CANARY_A cust ")),
            c("ext_ref", Text, Numbered("CANARY_A ref")),
            c("country", Word("char(2)"), Plain),
            c("score", Int, Id),
            c("tags", Texts, Tags),
            c("attrs", Json, Object("seg")),
            c("created_at", Time, Plain),
        ]
    ),
    table!(
        "document_pages",
        &["document_id", "page_no"],
        false,
        true,
        true,
        [c("document_id", Big, Id), c("page_no", Int, Plain), c("content", Text, Numbered("CANARY_A page ")),]
    ),
    table!(
        "deliveries",
        &["id"],
        true,
        true,
        true,
        [
            T,
            c("id", Big, Id),
            c("document_id", Big, Id),
            c("channel", Word("chan"), Plain),
            c("address", Text, Canary),
            c("state", Word("deliv_state"), Plain),
            c("attempts", Int, Id),
            c("sent_at", Time, Plain),
            c("cost", Num, Amount("")),
        ]
    ),
    table!(
        "templates",
        &["id"],
        true,
        true,
        true,
        [
            T,
            c("id", Big, Id),
            c("name", Text, Numbered("CANARY_A tpl")),
            c("lang", Word("char(2)"), Plain),
            c("body", Text, Plain),
            c("version", Int, Plain),
        ]
    ),
    table!(
        "tags",
        &["id"],
        false,
        true,
        true,
        [T, c("id", Int, Id), c("label", Text, Numbered("CANARY_A tag"))]
    ),
    table!(
        "document_tags",
        &["document_id", "tag_id"],
        false,
        true,
        true,
        [T, c("document_id", Big, Id), c("tag_id", Int, Id),]
    ),
    table!(
        "settings",
        &["key"],
        false,
        true,
        true,
        [T, c("key", Text, Plain), c("value", Text, Numbered("CANARY_A v"))]
    ),
    table!(
        "folders",
        &["id"],
        true,
        true,
        true,
        [T, c("id", Int, Id), c("parent_id", Int, Id), c("name", Text, Numbered("CANARY_A f")),]
    ),
    table!(
        "events",
        &["id"],
        false,
        true,
        true,
        [T, c("id", Big, Id), c("at", Time, Plain), c("kind", Text, Canary), c("payload", Json, Object("p")),]
    ),
    table!("notes", &["id"], false, true, true, [T, c("id", Int, Id), c("text_", Text, Canary)]),
    table!(
        "users",
        &["id"],
        true,
        true,
        true,
        [
            T,
            c("id", Big, Id),
            c("login", Text, Numbered("CANARY_A user")),
            c("role", Word("user_role"), Plain),
            c("secret", Text, Numbered("CANARY_A pw")),
        ]
    ),
    table!("audit", &["id"], true, false, false, [c("id", Big, Id), T, c("what", Text, Canary)]),
    table!(
        "tenants",
        &["id"],
        false,
        true,
        false,
        [
            c("id", Int, Tenant),
            c("name", Text, Canary),
            c("plan", Word("plan_kind"), Plain),
            c("created_at", Time, Plain),
        ]
    ),
    table!(
        "countries",
        &["code"],
        true,
        true,
        false,
        [c("code", Word("char(2)"), Plain), c("name", Text, Plain), c("vat", Num, Plain),]
    ),
    table!(
        "\"MixedCase\"",
        &["tenant_id"],
        false,
        true,
        true,
        [T, c("\"Odd \"\"Col\"", Text, Canary), c("\"a\\b\"", Text, Canary),]
    ),
    table!("\"secret\"\" --\"", &["tenant_id"], false, true, true, [T, c("x", Text, Canary)]),
    table!("\"таблица\"", &["tenant_id"], false, true, true, [T, c("\"колонка\"", Text, Canary)]),
    table!(
        "v_documents",
        &["id"],
        false,
        false,
        false,
        [
            T,
            c("id", Big, Id),
            c("customer_id", Big, Id),
            c("title", Text, Numbered("CANARY_A title ")),
            c("amount", Num, Amount(".5")),
            c("meta", Json, Object("k")),
            c("customer_name", Text, Numbered("CANARY_A cust ")),
        ]
    ),
    table!(
        "v_titles_no_tenant",
        &["id"],
        false,
        true,
        false,
        [c("id", Big, Id), c("title", Text, Numbered("CANARY_A title ")),]
    ),
    table!(
        "v_upd",
        &["id"],
        false,
        true,
        true,
        [T, c("id", Big, Id), c("title", Text, Numbered("CANARY_A title ")), c("amount", Num, Amount(".5")),]
    ),
];

/// What a statement that writes may have changed, as rows of text; the time of a change is left out.
pub fn state_query() -> String {
    let rows = TABLES.iter().filter(|t| t.writable && !t.name.starts_with("v_")).map(|table| {
        let columns: Vec<_> = table.columns.iter().map(|c| format!("x.{}", c.name)).collect();
        format!(
            "select '{}' as t, row({})::text as r from app.{} x",
            table.name.replace('\'', ""),
            columns.join(", "),
            table.name
        )
    });
    let rows: Vec<_> =
        rows.chain(["select 'audit', row(x.tenant_id, x.what)::text from app.audit x".to_owned()]).collect();
    rows.join(" union all ")
}
