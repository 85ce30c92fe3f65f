//! Where a relation's predicate goes: WHERE of its level; ON of the lowest outer join that can null the
//! relation; inside a derived table where neither is right (that is decided when FROM is bound). And the
//! fences: `OFFSET 0` or `MATERIALIZED` around what holds tenants' rows below a condition that may raise.

use pg_query::NodeEnum;
use pg_query::protobuf::{JoinExpr, Node, SelectStmt};

use crate::policy::Refusal;

use super::super::bind::{Binder, ColumnKind, Item, Level, Place, Source, Wish, unsupported};
use super::super::build;
use super::predicate::predicate;

/// Rewrites a bound level of SELECT.
pub(in crate::sql) fn level(
    binder: &mut Binder<'_>,
    level: &Level,
    select: &mut SelectStmt,
) -> Result<(), Refusal> {
    apply(binder, level, &mut select.from_clause, &mut select.where_clause)
}

/// Puts the predicates of a level's relations into its WHERE, and fences its derived tables.
pub(in crate::sql) fn apply(
    binder: &mut Binder<'_>,
    level: &Level,
    from: &mut [Node],
    condition: &mut Option<Box<Node>>,
) -> Result<(), Refusal> {
    let mut all = predicates(binder, level, Place::Where)?;
    all.extend(condition.take().map(|c| *c));
    *condition = build::and(all).map(Box::new);
    binder.prove(level, condition)?;
    fences(binder, level, from)?;
    system_columns(binder, level, from)
}

/// Has the derived tables that were made of relations give out the system columns that were named.
fn system_columns(binder: &mut Binder<'_>, level: &Level, from: &mut [Node]) -> Result<(), Refusal> {
    let mut leaves = Vec::new();
    for item in from {
        collect_leaves(item, &mut leaves);
    }
    for item in &level.items {
        let Some(wrapped) = &item.wrapped else { continue };
        let mut names = item.system_columns().peekable();
        if names.peek().is_none() {
            continue;
        }
        let leaf = item.leaf.and_then(|leaf| leaves.get_mut(leaf)).and_then(|leaf| leaf.node.as_mut());
        let query = match leaf {
            Some(NodeEnum::RangeSubselect(sub)) => sub.subquery.as_deref_mut().map(|q| &mut q.node),
            _ => None,
        };
        let (false, false, Some(Some(NodeEnum::SelectStmt(select)))) =
            (item.starred.get(), item.placed.get(), query)
        else {
            if item.row.is_none() {
                binder.wish = item.known_as().map(|name| Wish::Row(name.to_owned()));
            }
            return Err(unsupported("a system column of this relation beside its whole row", -1));
        };
        let target = |name| build::target(build::column(&[wrapped, name]), "");
        select.target_list.extend(names.map(target));
    }
    Ok(())
}

/// Puts the predicates of the relations that a join nulls into its ON.
pub(in crate::sql) fn place_on(
    binder: &mut Binder<'_>,
    level: &Level,
    join: &mut JoinExpr,
    number: usize,
) -> Result<(), Refusal> {
    let added = predicates(binder, level, Place::On(number))?;
    if !added.is_empty() {
        build::add_to_quals(join, added);
    }
    Ok(())
}

/// The predicate of an item by the name it has at its level; none where it has none of its own.
pub(in crate::sql) fn item_predicate(binder: &mut Binder<'_>, item: &Item) -> Result<Option<Node>, Refusal> {
    let (Source::Relation { relation, tenancy }, Some(name)) = (&item.source, &item.name) else {
        return Ok(None);
    };
    predicate(binder, relation, tenancy, name, Some(item))
}

fn predicates(binder: &mut Binder<'_>, level: &Level, place: Place) -> Result<Vec<Node>, Refusal> {
    let mut all = Vec::new();
    for item in level.items.iter().filter(|i| i.place == place) {
        if let Some(predicate) = item_predicate(binder, item)? {
            let name = item.name.as_deref().unwrap_or_default();
            let site = match place {
                Place::On(_) => "ON of the join that can null it",
                Place::Where | Place::Inside => "WHERE",
            };
            binder.edit(build::NOWHERE, format!("{name}: restricted to the tenant's rows, in {site}"));
            all.push(predicate);
        }
    }
    Ok(all)
}

fn fences(binder: &mut Binder<'_>, level: &Level, from: &mut [Node]) -> Result<(), Refusal> {
    let mut leaves = Vec::new();
    for item in from {
        collect_leaves(item, &mut leaves);
    }
    for item in &level.items {
        // A relation that no guard could name and that is no derived table: nothing would hold a condition back.
        let relation = matches!(item.source, Source::Relation { .. });
        if relation && item.fence.get() && binder.is_tenanted(&item.source) {
            return Err(unsupported("this condition over a join's alias", -1));
        }
        if !needs_fence(binder, level, item) {
            continue;
        }
        match &item.source {
            Source::Cte(number) => {
                if let Some(cte) = binder.ctes.get_mut(*number) {
                    cte.fence = true;
                }
            }
            Source::Derived { .. } => {
                let leaf = item.leaf.and_then(|leaf| leaves.get_mut(leaf));
                let Some(NodeEnum::RangeSubselect(sub)) = leaf.and_then(|l| l.node.as_mut()) else {
                    return Err(unsupported("this derived table under a condition that may raise", -1));
                };
                if let Some(Some(NodeEnum::SelectStmt(select))) =
                    sub.subquery.as_deref_mut().map(|q| &mut q.node)
                {
                    build::fence(select);
                    let name = item.name.as_deref().unwrap_or("a sub-select");
                    binder.edit(build::NOWHERE, format!("{name}: fenced with OFFSET 0, so that no condition from outside is evaluated inside it"));
                }
            }
            Source::Relation { .. } | Source::Function | Source::JoinAlias { .. } => {}
        }
    }
    Ok(())
}

/// A derived item is a fence when a bare condition takes what it computes for plain values, when it holds tenants'
/// rows below a guarded condition, or when a condition of its level could carry one of its expressions into its scan.
fn needs_fence(binder: &Binder<'_>, level: &Level, item: &Item) -> bool {
    if item.fence.get() {
        return true;
    }
    if matches!(item.source, Source::Relation { .. }) || !binder.is_tenanted(&item.source) {
        return false;
    }
    let expression =
        |kind: &ColumnKind| matches!(kind, ColumnKind::Expression { total: false } | ColumnKind::Virtual);
    let partial = item.columns.iter().any(|c| expression(&c.kind));
    level.guarded.get() || (level.conditions.get() && partial)
}

/// The leaves of a FROM item in the order in which they were bound.
pub(in crate::sql) fn collect_leaves<'n>(node: &'n mut Node, leaves: &mut Vec<&'n mut Node>) {
    if matches!(node.node, Some(NodeEnum::JoinExpr(_))) {
        if let Some(NodeEnum::JoinExpr(join)) = &mut node.node {
            for side in [&mut join.larg, &mut join.rarg].into_iter().flatten() {
                collect_leaves(side, leaves);
            }
        }
    } else {
        leaves.push(node);
    }
}
