//! FROM: its items in PostgreSQL's order of visibility (`parse_clause.c`), where each relation's predicate
//! can go, and the joins' own conditions.

use std::cell::Cell;

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, RangeSubselect, RangeVar};

use crate::catalog::{Generated, Relation, RelationKind};
use crate::config::model::{Barrier, Operation};
use crate::policy::{Access, Refusal, Tenancy};

use super::super::build;
use super::super::catalogs::{CatalogVerdict, Catalogs};
use super::super::seen::mark;
use super::scope::{ColumnKind, ColumnType, Item, ItemColumn, Level, Place, Scope, Source};
use super::select::depth_below;
use super::{Binder, Facts};

/// What the joins above an item mean for it.
#[derive(Clone, Copy)]
pub(super) struct Above {
    /// Where a predicate goes.
    pub place: Place,
    /// Why the item must stand in a derived table of its own.
    pub wrap: Option<&'static str>,
}

/// What surrounds a FROM list.
#[derive(Clone, Copy)]
pub(super) struct Around<'p> {
    pub outer: Option<&'p Scope<'p>>,
    pub ctes: &'p [(String, usize)],
}

impl Binder<'_> {
    /// Binds a FROM list into a level, and rewrites the conditions of its joins.
    pub fn bind_from(
        &mut self,
        outer: Option<&Scope<'_>>,
        ctes: &[(String, usize)],
        level: &mut Level,
        items: &mut [Node],
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let around = Around { outer, ctes };
        let above = Above { place: Place::Where, wrap: None };
        for item in items {
            self.bind_item(around, above, level, item, facts)?;
        }
        Ok(())
    }

    pub(super) fn bind_item(
        &mut self,
        around: Around<'_>,
        above: Above,
        level: &mut Level,
        node: &mut Node,
        facts: &mut Facts,
    ) -> Result<Vec<usize>, Refusal> {
        if let Some(name) = name_of(node) {
            self.reserved(name)?;
        }
        match &mut node.node {
            Some(NodeEnum::RangeVar(_)) => {
                let ids = self.range_var(around, above, level, node)?;
                for id in &ids {
                    // What it reads of levels around this one is read here.
                    if let Some(Source::Cte(number)) = level.items.get(*id).map(|item| &item.source)
                        && let Some(cte) = self.ctes.get(*number)
                    {
                        facts.merge(cte.facts.clone());
                    }
                }
                Ok(ids)
            }
            Some(NodeEnum::RangeSubselect(sub)) => self.range_subselect(around, level, sub, facts),
            Some(NodeEnum::RangeFunction(function)) => self.range_function(around, level, function, facts),
            Some(NodeEnum::RangeTableFunc(table)) => self.range_table_func(around, level, table, facts),
            Some(NodeEnum::JsonTable(table)) => {
                let scope = Scope { outer: around.outer, level, window: None, ctes: around.ctes };
                let names = self.json_table(&scope, table, facts)?;
                let columns = names.into_iter().map(unknown_column).collect();
                // It is lateral by itself, and the printer leaves the word out.
                table.lateral = false;
                let fallback = Some("json_table".to_owned());
                Ok(vec![push(level, table.alias.as_ref(), fallback, columns, Source::Function)])
            }
            Some(NodeEnum::RangeTableSample(_)) => self.table_sample(around, above, level, node, facts),
            Some(NodeEnum::JoinExpr(join)) => self.join(around, above, level, join, facts),
            _ => Err(super::unsupported(&format!("{} in FROM", super::kind_of(node)), -1)),
        }
    }

    pub(super) fn range_var(
        &mut self,
        around: Around<'_>,
        above: Above,
        level: &mut Level,
        node: &mut Node,
    ) -> Result<Vec<usize>, Refusal> {
        let Some(NodeEnum::RangeVar(name)) = &mut node.node else { return Ok(Vec::new()) };
        if let Some(number) = self.cte_named(around.ctes, name)? {
            mark(&mut name.location);
            let cte = self.ctes.get(number);
            let (columns, open) = cte.map(|c| (c.columns.clone(), c.open)).unwrap_or_default();
            let fallback = name.relname.clone();
            let id = push(level, name.alias.as_ref(), Some(fallback), columns, Source::Cte(number));
            if let Some(item) = level.items.get_mut(id) {
                item.open = open;
            }
            return Ok(vec![id]);
        }
        let relation = self.relation(name)?;
        if relation.kind == RelationKind::View && !is_system(&relation) {
            return self.view(level, node, &relation);
        }
        let (tenancy, mut columns, access) = self.readable(name, &relation)?;
        let hidden = access.as_ref().is_some_and(|a| !a.denied_columns.is_empty());
        if hidden {
            // The derived table has them not: they stay known here, behind the others, to be refused by name.
            columns.sort_by_key(|c| c.kind == ColumnKind::Denied);
        }
        let wrap = match above.wrap {
            _ if hidden => Some("columns that the role may not see"),
            Some(why) if tenancy.is_tenanted() => Some(why),
            _ => None,
        };
        let source = Source::Relation { relation: relation.clone(), tenancy: tenancy.clone() };
        let schema = name.alias.is_none().then(|| relation.schema.clone());
        let was = self.alias_of_its_own(level, name, &tenancy)?;
        let alias = name.alias.clone();
        let location = name.location;
        let id = push(level, alias.as_ref(), Some(relation.name.clone()), columns, source);
        if let Some(item) = level.items.get_mut(id) {
            item.was = was;
            item.schema = schema;
        }
        match wrap {
            Some(why) => {
                self.wrap_leaf(level, id, node, &relation, &tenancy, why)?;
                self.edit(
                    location,
                    format!(
                        "{}.{} stands in a derived table of its own: {why}",
                        relation.schema, relation.name
                    ),
                );
            }
            None => {
                if let Some(item) = level.items.get_mut(id) {
                    item.place = above.place;
                }
            }
        }
        Ok(vec![id])
    }

    fn cte_named(&self, ctes: &[(String, usize)], name: &RangeVar) -> Result<Option<usize>, Refusal> {
        if !name.schemaname.is_empty() || !name.catalogname.is_empty() {
            return Ok(None);
        }
        if self.forward_names.iter().flatten().any(|later| *later == name.relname)
            && !ctes.iter().any(|(known, _)| *known == name.relname)
        {
            return Err(super::unsupported("a WITH RECURSIVE name before its definition", name.location));
        }
        Ok(ctes.iter().rev().find(|(known, _)| *known == name.relname).map(|(_, number)| *number))
    }

    /// Whether a relation may be read, whose rows it holds, and its columns.
    fn readable(
        &mut self,
        name: &RangeVar,
        relation: &std::sync::Arc<Relation>,
    ) -> Result<(Tenancy, Vec<ItemColumn>, Option<Access>), Refusal> {
        if is_system(relation) {
            let CatalogVerdict::Allowed { denied_columns } =
                Catalogs::verdict(&relation.schema, &relation.name)
            else {
                return Err(self.no_relation(name));
            };
            self.touch(relation, Operation::Select);
            let columns = columns_of(relation, &|c| denied_columns.contains(&c));
            return Ok((Tenancy::Shared, columns, None));
        }
        let tenancy = self.policy.tenancy(relation.oid).clone();
        if tenancy == Tenancy::Denied {
            return Err(self.no_relation(name));
        }
        let access = self.demand(relation, Operation::Select, name.location)?;
        let columns = columns_of(relation, &|c| access.denied_columns.contains(c));
        Ok((tenancy, columns, Some(access)))
    }

    fn range_subselect(
        &mut self,
        around: Around<'_>,
        level: &mut Level,
        sub: &mut RangeSubselect,
        facts: &mut Facts,
    ) -> Result<Vec<usize>, Refusal> {
        let Some(query) = &mut sub.subquery else {
            return Err(super::unsupported("an empty sub-select", -1));
        };
        let siblings = Scope { outer: around.outer, level, window: None, ctes: around.ctes };
        let outer = if sub.lateral { Some(&siblings) } else { around.outer };
        let root = std::mem::replace(&mut self.root, depth_below(outer));
        let output = self.statement_in(outer, around.ctes, query);
        self.root = root;
        let output = output?;
        let volatile = output.facts.volatile;
        facts.merge(output.facts);
        let source = Source::Derived { tenanted: output.tenanted };
        let id = push(level, sub.alias.as_ref(), None, output.columns, source);
        if let Some(item) = level.items.get_mut(id) {
            item.below = output.locked;
            item.open = output.open;
            // A volatile condition that reads nothing becomes a filter of whatever stands beside a query without FROM
            // (remove_useless_result_rtes, prepjointree.c), before the tenant's predicate if that costs more.
            item.fence.set(volatile && self.policy.barrier != Barrier::Off);
        }
        Ok(vec![id])
    }
}

/// The name that an item of FROM goes by.
pub(super) fn name_of(node: &Node) -> Option<&str> {
    let alias = match node.node.as_ref()? {
        NodeEnum::RangeVar(name) => return Some(name.alias.as_ref().map_or(&name.relname, |a| &a.aliasname)),
        NodeEnum::RangeSubselect(sub) => sub.alias.as_ref(),
        NodeEnum::RangeFunction(function) => function.alias.as_ref(),
        NodeEnum::RangeTableFunc(table) => table.alias.as_ref(),
        NodeEnum::JsonTable(table) => table.alias.as_ref(),
        NodeEnum::JoinExpr(join) => join.alias.as_ref().or(join.join_using_alias.as_ref()),
        _ => None,
    };
    alias.map(|a| a.aliasname.as_str())
}

/// Adds an item to a level. Its alias renames it, and its columns from the left.
pub(super) fn push(
    level: &mut Level,
    alias: Option<&Alias>,
    fallback: Option<String>,
    mut columns: Vec<ItemColumn>,
    source: Source,
) -> usize {
    let renames = alias.and_then(|a| build::names(&a.colnames)).unwrap_or_default();
    for (column, name) in columns.iter_mut().zip(&renames) {
        (*name).clone_into(&mut column.name);
    }
    for name in renames.iter().skip(columns.len()) {
        columns.push(unknown_column((*name).to_owned()));
    }
    let leaf = level.leaves;
    level.leaves += 1;
    level.items.push(Item {
        name: alias.map(|a| a.aliasname.clone()).or(fallback),
        columns,
        open: false,
        visible: true,
        joined: false,
        source,
        place: Place::Inside,
        leaf: Some(leaf),
        nulled: Cell::new(false),
        fence: Cell::new(false),
        key: Vec::new(),
        below: Vec::new(),
        wrapped: None,
        schema: None,
        was: None,
        row: None,
        system: Cell::new(0),
        reads: Vec::new(),
        starred: Cell::new(false),
        placed: Cell::new(false),
    });
    level.items.len() - 1
}

/// Takes back an item's number among the leaves: it stands in no FROM list.
pub(super) fn unleaf(level: &mut Level, id: usize, visible: bool) {
    level.leaves -= 1;
    if let Some(item) = level.items.get_mut(id) {
        item.leaf = None;
        item.visible = visible;
    }
}

/// The columns of a relation.
pub(in crate::sql) fn columns_of(relation: &Relation, denied: &dyn Fn(&str) -> bool) -> Vec<ItemColumn> {
    let column = |c: &crate::catalog::Column| ItemColumn {
        name: c.name.clone(),
        ty: Some(ColumnType { oid: c.type_oid, typmod: c.typmod, collation: c.collation }),
        kind: if denied(&c.name) {
            ColumnKind::Denied
        } else if c.generated == Generated::Virtual {
            ColumnKind::Virtual
        } else {
            ColumnKind::Base { relation: relation.oid, number: c.number }
        },
    };
    relation.columns.iter().map(column).collect()
}

/// Relations that the server itself brings.
pub(in crate::sql) fn is_system(relation: &Relation) -> bool {
    relation.schema.starts_with("pg_") || relation.schema == "information_schema"
}

pub(super) fn unknown_column(name: String) -> ItemColumn {
    ItemColumn { name, ty: None, kind: ColumnKind::Expression { total: false } }
}
