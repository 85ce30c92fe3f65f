//! What restricts a relation to the tenant's rows.
//!
//! * tenant: `a.tenant_id OPERATOR(pg_catalog.=) $n::type`;
//! * child: `CASE WHEN EXISTS (SELECT 1 FROM parent p WHERE p.id OPERATOR(pg_catalog.=) a.parent_id AND <predicate of
//!   p>) THEN true ELSE false END`. The CASE keeps PostgreSQL from making a semi-join of it, below which a
//!   sort could run over other tenants' rows.
//!
//! The column is named by the relation's alias, and by its position's name where the alias renames columns.

use pg_query::protobuf::Node;

use crate::catalog::{Oid, Relation};
use crate::config::model::Nulls;
use crate::policy::{ParentKey, Refusal, Rule, SqlState, Tenancy};

use super::super::bind::{Binder, Item};
use super::super::build;

const RULE: Rule = Rule("tenancy");

/// Parents above parents, at most.
const PARENT_DEPTH: usize = 16;

/// The predicate that restricts `relation`, known by `alias`, to rows that the tenant may read; none where it
/// needs none. `names` are the visible names of its columns where its alias renames them.
pub(in crate::sql) fn predicate(
    binder: &mut Binder<'_>,
    relation: &Relation,
    tenancy: &Tenancy,
    alias: &str,
    names: Option<&Item>,
) -> Result<Option<Node>, Refusal> {
    match tenancy {
        Tenancy::Shared => Ok(None),
        Tenancy::Denied => Err(Refusal::new(
            SqlState::DENIED,
            RULE,
            format!("relation {} belongs to no tenant", relation.name),
        )),
        Tenancy::Tenant { column, nulls } => {
            let name = visible(relation, *column, names)?;
            let equal = owned(binder, relation, *column, alias, &name)?;
            Ok(Some(match nulls {
                Nulls::Hidden => equal,
                Nulls::Shared => {
                    build::or(vec![equal, build::null_test(build::column(&[alias, &name]), true)])
                }
            }))
        }
        Tenancy::Child { parents } => {
            let holds = child_condition(binder, relation, parents, alias, names, PARENT_DEPTH)?;
            Ok(Some(scan_filter(holds)))
        }
    }
}

/// The predicate of rows that the tenant may write: what everybody may read is nobody's to write.
pub(in crate::sql) fn write_predicate(
    binder: &mut Binder<'_>,
    relation: &Relation,
    tenancy: &Tenancy,
    alias: &str,
) -> Result<Option<Node>, Refusal> {
    match tenancy {
        Tenancy::Tenant { column, .. } => {
            let hidden = Tenancy::Tenant { column: *column, nulls: Nulls::Hidden };
            predicate(binder, relation, &hidden, alias, None)
        }
        _ => predicate(binder, relation, tenancy, alias, None),
    }
}

/// `EXISTS (parent …)` for keys given as expressions: whether the row that they point at is the tenant's.
pub(in crate::sql) fn parent_exists(
    binder: &mut Binder<'_>,
    parent: Oid,
    keys: Vec<(i16, Node)>,
) -> Result<Node, Refusal> {
    parent_exists_at(binder, parent, keys, PARENT_DEPTH)
}

/// The tenant's value, typed as a relation's tenant column is.
pub(in crate::sql) fn tenant_value(
    binder: &mut Binder<'_>,
    relation: &Relation,
    column: i16,
) -> Result<Node, Refusal> {
    let oid = relation.column_numbered(column).map_or(0, |c| c.type_oid);
    let ty = binder.catalog.type_by_oid(oid).cloned();
    let ty = match ty {
        Some(ty) if ty.base != 0 => binder.catalog.type_by_oid(ty.base).cloned(),
        other => other,
    };
    let Some(ty) = ty else {
        return Err(Refusal::new(
            SqlState::INTERNAL,
            RULE,
            format!("the tenant column of {} has no known type", relation.name),
        ));
    };
    match binder.tenant_type {
        Some(known) if known != ty.oid => {
            let message = "the tenant columns of this statement's relations differ in type";
            return Err(Refusal::new(SqlState::NOT_SUPPORTED, RULE, message));
        }
        _ => binder.tenant_type = Some(ty.oid),
    }
    Ok(build::tenant(&ty))
}

/// `CASE WHEN … THEN true ELSE false END`.
fn scan_filter(condition: Node) -> Node {
    build::case(vec![(condition, build::boolean(true))], Some(build::boolean(false)))
}

fn owned(
    binder: &mut Binder<'_>,
    relation: &Relation,
    column: i16,
    alias: &str,
    name: &str,
) -> Result<Node, Refusal> {
    let value = tenant_value(binder, relation, column)?;
    Ok(build::equals(build::column(&[alias, name]), value))
}

fn child_condition(
    binder: &mut Binder<'_>,
    relation: &Relation,
    parents: &[ParentKey],
    alias: &str,
    names: Option<&Item>,
    depth: usize,
) -> Result<Node, Refusal> {
    let mut any = Vec::new();
    for key in parents {
        let mut keys = Vec::new();
        for (own, theirs) in &key.columns {
            let name = visible(relation, *own, names)?;
            keys.push((*theirs, build::column(&[alias, &name])));
        }
        any.push(parent_exists_at(binder, key.parent, keys, depth)?);
    }
    match any.len() {
        0 => Err(Refusal::new(SqlState::DENIED, RULE, format!("relation {} has no parent", relation.name))),
        1 => Ok(any.swap_remove(0)),
        _ => Ok(build::or(any)),
    }
}

fn parent_exists_at(
    binder: &mut Binder<'_>,
    parent: Oid,
    keys: Vec<(i16, Node)>,
    depth: usize,
) -> Result<Node, Refusal> {
    let lost = || Refusal::new(SqlState::INTERNAL, RULE, "a parent relation is gone from the catalog");
    let depth = depth.checked_sub(1).ok_or_else(lost)?;
    let relation = binder.catalog.relation(parent).ok_or_else(lost)?.clone();
    let alias = binder.fresh_alias("parent");
    let mut conditions = Vec::new();
    for (theirs, key) in keys {
        let column = relation.column_numbered(theirs).ok_or_else(lost)?;
        conditions.push(build::equals(build::column(&[&alias, &column.name]), key));
    }
    match binder.policy.tenancy(parent).clone() {
        Tenancy::Tenant { column, .. } => {
            let name = visible(&relation, column, None)?;
            conditions.push(owned(binder, &relation, column, &alias, &name)?);
        }
        Tenancy::Child { parents } => {
            let holds = child_condition(binder, &relation, &parents, &alias, None, depth)?;
            conditions.push(scan_filter(holds));
        }
        Tenancy::Shared | Tenancy::Denied => return Err(lost()),
    }
    let from = build::node(pg_query::NodeEnum::RangeVar(build::relation(&relation, Some(&alias))));
    build::and(conditions).map(|condition| build::exists(from, condition)).ok_or_else(lost)
}

/// The name under which a column of a relation can be written at this place.
fn visible(relation: &Relation, column: i16, names: Option<&Item>) -> Result<String, Refusal> {
    let position = relation.columns.iter().position(|c| c.number == column);
    let name = match names {
        Some(item) => position.and_then(|p| item.columns.get(p)).map(|c| c.name.clone()),
        None => position.and_then(|p| relation.columns.get(p)).map(|c| c.name.clone()),
    };
    name.ok_or_else(|| Refusal::new(SqlState::INTERNAL, RULE, format!("{} has lost a column", relation.name)))
}
