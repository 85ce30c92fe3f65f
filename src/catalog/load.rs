//! Reads a [`Snapshot`] from the server, over a connection that the caller opens for it.
//!
//! Everything is read in one read-only snapshot (`REPEATABLE READ`), so the relations, keys and functions
//! of a [`Snapshot`] belong together even while somebody changes the schema. The session's search path is
//! `pg_catalog` alone and each name in the queries is qualified, so nothing that a user created stands in
//! for a catalog.

mod explain;
mod queries;
mod role;

use std::collections::HashMap;

use tokio_postgres::types::FromSql;
use tokio_postgres::{Client, Row};

use super::objects::{
    Cast, Collation, Column, ForeignKey, Function, Generated, IndexExpression, Oid, Operator, Range,
    Relation, RelationKind, Type,
};
use super::snapshot::Snapshot;

pub use explain::explain;
pub use role::{Finding, Severity, check_backend_role};

/// Why the catalog could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A catalog query failed.
    #[error("cannot read {what} of the catalog: {source}")]
    Query {
        /// Which part was read.
        what: &'static str,
        /// What the server or the driver says.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A catalog holds what this program does not know.
    #[error("cannot understand {what} of the catalog: {found}")]
    Unexpected {
        /// Which part was read.
        what: &'static str,
        /// What stands there.
        found: String,
    },
}

/// Reads the whole catalog into a snapshot that `epoch` names, over a connection as the backend role. The
/// connection's session settings are changed.
///
/// # Errors
/// When the connection is lost, or the server's catalogs are not those of PostgreSQL 14 or later.
pub async fn load(client: &Client, search_path: &[String], epoch: u64) -> Result<Snapshot, LoadError> {
    client.batch_execute(queries::BEGIN).await.map_err(failed("the session"))?;
    let (version, name) = head(client).await?;
    let mut snapshot = Snapshot::new(epoch, version, name, search_path.to_vec());
    snapshot.fingerprint = fingerprint(client).await?;
    for relation in relations(client, version).await? {
        snapshot.add_relation(relation);
    }
    for row in rows(client, "types", queries::TYPES).await? {
        snapshot.add_type(type_of(&row)?);
    }
    for row in rows(client, "functions", queries::FUNCTIONS).await? {
        snapshot.add_function(function_of(&row)?);
    }
    for row in rows(client, "operators", queries::OPERATORS).await? {
        snapshot.add_operator(operator_of(&row)?);
    }
    for row in rows(client, "casts", queries::CASTS).await? {
        snapshot.add_cast(cast_of(&row)?);
    }
    for row in rows(client, "collations", queries::COLLATIONS).await? {
        snapshot.add_collation(collation_of(&row)?);
    }
    for row in rows(client, "ranges", queries::RANGES).await? {
        snapshot.add_range(range_of(&row)?);
    }
    for row in rows(client, "defaults", queries::DRAWS).await? {
        let (relation, column) = (field(&row, "defaults", "relation")?, field(&row, "defaults", "number")?);
        snapshot.add_draw(relation, column, field(&row, "defaults", "sequence")?);
    }
    client.batch_execute("COMMIT").await.map_err(failed("the session"))?;
    Ok(snapshot)
}

/// A text that is another one once the catalog has changed in what [`load`] reads. It takes some milliseconds of the
/// server's time; every name in it is qualified, but operators are found by the session's search path.
///
/// # Errors
/// When the connection is lost.
pub async fn fingerprint(client: &Client) -> Result<String, LoadError> {
    let what = "the fingerprint";
    let found = rows(client, what, queries::FINGERPRINT).await?;
    let row = found.first().ok_or_else(|| LoadError::Unexpected { what, found: "no row".into() })?;
    field(row, what, "fingerprint")
}

async fn rows(client: &Client, what: &'static str, sql: &str) -> Result<Vec<Row>, LoadError> {
    client.query_typed(sql, &[]).await.map_err(failed(what))
}

fn failed(what: &'static str) -> impl FnOnce(tokio_postgres::Error) -> LoadError {
    move |source| LoadError::Query { what, source }
}

fn field<'a, T: FromSql<'a>>(row: &'a Row, what: &'static str, name: &str) -> Result<T, LoadError> {
    row.try_get(name).map_err(failed(what))
}

/// A column of type `"char"`.
fn letter(row: &Row, what: &'static str, name: &str) -> Result<char, LoadError> {
    let byte: i8 = field(row, what, name)?;
    Ok(char::from(byte.cast_unsigned()))
}

async fn head(client: &Client) -> Result<(u32, String), LoadError> {
    let what = "the server's version";
    let row = client.query_typed(queries::HEAD, &[]).await.map_err(failed(what))?;
    let row = row.first().ok_or_else(|| LoadError::Unexpected { what, found: "no row".into() })?;
    let version: i32 = field(row, what, "version")?;
    let version =
        u32::try_from(version).map_err(|_| LoadError::Unexpected { what, found: version.to_string() })?;
    Ok((version, field(row, what, "database")?))
}

/// Every relation, complete: its columns, keys and what it inherits from.
async fn relations(client: &Client, version: u32) -> Result<Vec<Relation>, LoadError> {
    let mut relations = Vec::new();
    for row in rows(client, "relations", queries::RELATIONS).await? {
        relations.push(relation_of(&row)?);
    }
    let places: HashMap<Oid, usize> = relations.iter().enumerate().map(|(at, r)| (r.oid, at)).collect();
    for row in rows(client, "columns", queries::COLUMNS).await? {
        let of: Oid = field(&row, "columns", "relation")?;
        if let Some(relation) = places.get(&of).and_then(|at| relations.get_mut(*at)) {
            relation.columns.push(column_of(&row)?);
        }
    }
    for row in rows(client, "keys", queries::KEYS).await? {
        let of: Oid = field(&row, "keys", "relation")?;
        if let Some(relation) = places.get(&of).and_then(|at| relations.get_mut(*at)) {
            add_key(relation, &row)?;
        }
    }
    let foreign_keys = if version >= 180_000 { queries::FOREIGN_KEYS_18 } else { queries::FOREIGN_KEYS };
    for row in rows(client, "foreign keys", foreign_keys).await? {
        let of: Oid = field(&row, "foreign keys", "relation")?;
        if let Some(relation) = places.get(&of).and_then(|at| relations.get_mut(*at)) {
            relation.foreign_keys.push(foreign_key_of(&row)?);
        }
    }
    for row in rows(client, "index keys", queries::INDEX_KEYS).await? {
        let of: Oid = field(&row, "index keys", "relation")?;
        if let Some(relation) = places.get(&of).and_then(|at| relations.get_mut(*at)) {
            add_index_key(relation, &row)?;
        }
    }
    distrust_ancestors(&mut relations, &places);
    Ok(relations)
}

/// A scan of a parent scans its children through their own indexes, so a parent is trusted only as far as
/// each descendant is.
fn distrust_ancestors(relations: &mut [Relation], places: &HashMap<Oid, usize>) {
    let mut pending: Vec<Oid> =
        relations.iter().filter(|r| !r.trusted_opclasses).flat_map(|r| r.inherits.clone()).collect();
    while let Some(parent) = pending.pop() {
        let Some(relation) = places.get(&parent).and_then(|at| relations.get_mut(*at)) else { continue };
        if relation.trusted_opclasses {
            relation.trusted_opclasses = false;
            pending.extend(&relation.inherits);
        }
    }
}

fn relation_of(row: &Row) -> Result<Relation, LoadError> {
    let what = "relations";
    let owner: Option<Oid> = field(row, what, "owner_relation")?;
    let owner_column: Option<i16> = field(row, what, "owner_column")?;
    Ok(Relation {
        oid: field(row, what, "oid")?,
        schema: field(row, what, "schema")?,
        name: field(row, what, "name")?,
        kind: match letter(row, what, "kind")? {
            'r' => RelationKind::Table,
            'p' => RelationKind::PartitionedTable,
            'v' => RelationKind::View,
            'm' => RelationKind::MaterializedView,
            'S' => RelationKind::Sequence,
            'f' => RelationKind::ForeignTable,
            _ => RelationKind::Other,
        },
        columns: Vec::new(),
        row_type: field(row, what, "row_type")?,
        primary_key: Vec::new(),
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        inherits: field(row, what, "inherits")?,
        is_partition: field(row, what, "is_partition")?,
        view_definition: field(row, what, "view_definition")?,
        owned_by: owner.zip(owner_column),
        trusted_opclasses: field(row, what, "trusted_opclasses")?,
        row_security: field(row, what, "row_security")?,
        index_expressions: Vec::new(),
        btree_keys: Vec::new(),
    })
}

fn column_of(row: &Row) -> Result<Column, LoadError> {
    let what = "columns";
    Ok(Column {
        number: field(row, what, "number")?,
        name: field(row, what, "name")?,
        type_oid: field(row, what, "type_oid")?,
        typmod: field(row, what, "typmod")?,
        not_null: field(row, what, "not_null")?,
        generated: match letter(row, what, "generated")? {
            '\0' => Generated::Never,
            's' => Generated::Stored,
            // `v`, and whatever a later server adds: an expression is the careful reading.
            _ => Generated::Virtual,
        },
        identity_always: letter(row, what, "identity")? == 'a',
        has_default: field(row, what, "has_default")?,
        collation: field(row, what, "collation")?,
    })
}

fn add_key(relation: &mut Relation, row: &Row) -> Result<(), LoadError> {
    let columns: Vec<i16> = field(row, "keys", "columns")?;
    if field(row, "keys", "is_primary")? {
        relation.primary_key.clone_from(&columns);
    }
    if field(row, "keys", "is_immediate")? {
        relation.unique_keys.push(columns);
    }
    Ok(())
}

fn add_index_key(relation: &mut Relation, row: &Row) -> Result<(), LoadError> {
    let what = "index keys";
    let btree = field(row, what, "btree")?;
    let index = field(row, what, "index")?;
    let expression: Option<String> = field(row, what, "expression")?;
    match expression {
        Some(expression) => relation.index_expressions.push(IndexExpression { expression, btree, index }),
        None if btree => relation.btree_keys.push((field(row, what, "number")?, index)),
        None => {}
    }
    Ok(())
}

fn foreign_key_of(row: &Row) -> Result<ForeignKey, LoadError> {
    let what = "foreign keys";
    let own: Vec<i16> = field(row, what, "own")?;
    let other: Vec<i16> = field(row, what, "other")?;
    Ok(ForeignKey {
        name: field(row, what, "name")?,
        target: field(row, what, "target")?,
        columns: own.into_iter().zip(other).collect(),
    })
}

fn type_of(row: &Row) -> Result<Type, LoadError> {
    let what = "types";
    Ok(Type {
        oid: field(row, what, "oid")?,
        schema: field(row, what, "schema")?,
        name: field(row, what, "name")?,
        kind: letter(row, what, "kind")?,
        category: letter(row, what, "category")?,
        preferred: field(row, what, "preferred")?,
        element: field(row, what, "element")?,
        array: field(row, what, "array")?,
        relation: field(row, what, "relation")?,
        base: field(row, what, "base")?,
        collation: field(row, what, "collation")?,
        extension: field(row, what, "extension")?,
    })
}

fn function_of(row: &Row) -> Result<Function, LoadError> {
    let what = "functions";
    let arguments: Vec<Oid> = field(row, what, "arguments")?;
    let names: Option<Vec<String>> = field(row, what, "all_names")?;
    let modes: Option<Vec<i8>> = field(row, what, "all_modes")?;
    let types: Option<Vec<Oid>> = field(row, what, "all_types")?;
    Ok(Function {
        oid: field(row, what, "oid")?,
        schema: field(row, what, "schema")?,
        name: field(row, what, "name")?,
        argument_names: input_names(arguments.len(), names.as_deref(), modes.as_deref()),
        arguments,
        variadic: field(row, what, "variadic")?,
        defaults: field(row, what, "defaults")?,
        result: field(row, what, "result")?,
        returns_set: field(row, what, "returns_set")?,
        out_columns: out_columns(names.as_deref(), modes.as_deref(), types.as_deref()),
        kind: letter(row, what, "kind")?,
        volatility: letter(row, what, "volatility")?,
        strict: field(row, what, "strict")?,
        internal: field(row, what, "internal")?,
        source: field(row, what, "source")?,
        leakproof: field(row, what, "leakproof")?,
        pristine: field(row, what, "pristine")?,
        extension: field(row, what, "extension")?,
    })
}

/// The names of the input arguments (modes i, b, v), one for each with "" where it has none; nothing when
/// none has a name.
fn input_names(count: usize, names: Option<&[String]>, modes: Option<&[i8]>) -> Vec<String> {
    let Some(names) = names else { return Vec::new() };
    let is_input = |at: usize| match modes.and_then(|m| m.get(at)) {
        Some(mode) => b"ibv".contains(&mode.cast_unsigned()),
        None => true,
    };
    let inputs = names.iter().enumerate().filter(|(at, _)| is_input(*at)).map(|(_, name)| name.clone());
    let mut inputs: Vec<String> = inputs.take(count).collect();
    if inputs.iter().all(String::is_empty) {
        return Vec::new();
    }
    inputs.resize(count, String::new());
    inputs
}

/// Names and types of the result's columns (modes o, b, t).
fn out_columns(names: Option<&[String]>, modes: Option<&[i8]>, types: Option<&[Oid]>) -> Vec<(String, Oid)> {
    let (Some(modes), Some(types)) = (modes, types) else { return Vec::new() };
    let outs = modes.iter().zip(types).enumerate();
    outs.filter(|(_, (mode, _))| b"obt".contains(&mode.cast_unsigned()))
        .map(|(at, (_, ty))| (names.and_then(|n| n.get(at)).cloned().unwrap_or_default(), *ty))
        .collect()
}

fn operator_of(row: &Row) -> Result<Operator, LoadError> {
    let what = "operators";
    Ok(Operator {
        oid: field(row, what, "oid")?,
        schema: field(row, what, "schema")?,
        name: field(row, what, "name")?,
        left: field(row, what, "left")?,
        right: field(row, what, "right")?,
        result: field(row, what, "result")?,
        function: field(row, what, "function")?,
        builtin_estimators: field(row, what, "builtin_estimators")?,
        extension: field(row, what, "extension")?,
    })
}

fn cast_of(row: &Row) -> Result<Cast, LoadError> {
    let what = "casts";
    Ok(Cast {
        source: field(row, what, "source")?,
        target: field(row, what, "target")?,
        context: letter(row, what, "context")?,
        method: letter(row, what, "method")?,
        function: field(row, what, "function")?,
    })
}

fn range_of(row: &Row) -> Result<Range, LoadError> {
    let what = "ranges";
    Ok(Range {
        range: field(row, what, "range")?,
        subtype: field(row, what, "subtype")?,
        multirange: field(row, what, "multirange")?,
    })
}

fn collation_of(row: &Row) -> Result<Collation, LoadError> {
    let what = "collations";
    Ok(Collation {
        oid: field(row, what, "oid")?,
        schema: field(row, what, "schema")?,
        name: field(row, what, "name")?,
        deterministic: field(row, what, "deterministic")?,
    })
}
