//! Relations that become derived tables: views, which are planned from their definition, and relations whose
//! predicate has no place but inside a table of their own.

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, SelectStmt};

use crate::catalog::Relation;
use crate::config::model::Operation;
use crate::policy::{Refusal, Tenancy};

use super::super::build;
use super::super::rewrite;
use super::Binder;
use super::again::WHOLE_ROW;
use super::from::push;
use super::scope::{ColumnKind, ItemColumn, Level, Place, Source};

/// Views inside views, at most.
const VIEW_DEPTH: usize = 16;

impl Binder<'_> {
    /// A view is planned from its definition, in a scope of its own, with the invoker's rights.
    pub(super) fn view(
        &mut self,
        level: &mut Level,
        node: &mut Node,
        relation: &Relation,
    ) -> Result<Vec<usize>, Refusal> {
        let Some(NodeEnum::RangeVar(name)) = &node.node else { return Ok(Vec::new()) };
        let location = name.location;
        let schema = name.alias.is_none().then(|| relation.schema.clone());
        let access = self.policy.access(self.role, relation);
        if !access.allows(Operation::Select) {
            return Err(self
                .demand(relation, Operation::Select, location)
                .err()
                .unwrap_or_else(|| self.no_relation(name)));
        }
        if self.view_depth >= VIEW_DEPTH {
            return Err(super::unsupported("a view inside so many views", location));
        }
        let definition = relation.view_definition.as_deref().unwrap_or_default();
        let definition = definition.trim().trim_end_matches(';');
        let parsed = super::super::parse::parse_definition(definition)?;
        let Some(NodeEnum::SelectStmt(mut select)) = parsed.node else {
            return Err(super::unsupported("a view that is no SELECT", location));
        };
        self.view_depth += 1;
        let output = self.select(None, &[], &mut select);
        self.view_depth -= 1;
        let output = output?;
        self.touch(relation, Operation::Select);
        let mut columns = output.columns;
        for (column, real) in columns.iter_mut().zip(&relation.columns) {
            column.name.clone_from(&real.name);
            if access.denied_columns.contains(&real.name) {
                column.kind = ColumnKind::Denied;
            }
        }
        let alias = name
            .alias
            .clone()
            .unwrap_or_else(|| Alias { aliasname: relation.name.clone(), colnames: Vec::new() });
        let shown = self.without_denied(*select, &mut columns, relation);
        *node = build::derived(shown, Some(alias.clone()));
        self.edit(
            location,
            format!(
                "view {}.{} is planned from its definition, every relation in it in its own scope",
                relation.schema, relation.name
            ),
        );
        let source = Source::Derived { tenanted: output.tenanted };
        let id = push(level, Some(&alias), None, columns, source);
        if let Some(item) = level.items.get_mut(id) {
            item.below = output.locked;
            item.below.push(relation.oid);
            item.open = output.open;
            item.schema = schema;
        }
        Ok(vec![id])
    }

    /// The query of a view without the columns that the role may not see; they stand behind the others in `columns`.
    fn without_denied(
        &mut self,
        select: SelectStmt,
        columns: &mut [ItemColumn],
        relation: &Relation,
    ) -> SelectStmt {
        if columns.iter().all(|c| c.kind != ColumnKind::Denied) {
            return select;
        }
        let aliasname = self.fresh_alias("view");
        let kept = columns.iter().filter(|c| c.kind != ColumnKind::Denied);
        let targets = kept.map(|c| build::target(build::column(&[&aliasname, &c.name]), "")).collect();
        let colnames = relation.columns.iter().map(|c| build::text(&c.name)).collect();
        let inner = build::derived(select, Some(Alias { aliasname, colnames }));
        columns.sort_by_key(|c| c.kind == ColumnKind::Denied);
        build::select(targets, vec![inner], None)
    }

    /// Puts a relation into a derived table with its predicate inside.
    pub(super) fn wrap_leaf(
        &mut self,
        level: &mut Level,
        id: usize,
        node: &mut Node,
        relation: &Relation,
        tenancy: &Tenancy,
        why: &str,
    ) -> Result<(), Refusal> {
        let inner_name = self.fresh_alias("leaf");
        let (outer_alias, range) = match &mut node.node {
            Some(NodeEnum::RangeVar(name)) => (name.alias.take(), name),
            Some(NodeEnum::RangeTableSample(sample)) => {
                match sample.relation.as_deref_mut().map(|n| &mut n.node) {
                    Some(Some(NodeEnum::RangeVar(name))) => (name.alias.take(), name),
                    _ => return Err(super::unsupported("this TABLESAMPLE", -1)),
                }
            }
            _ => return Err(super::unsupported(why, -1)),
        };
        range.alias = Some(Alias { aliasname: inner_name.clone(), colnames: Vec::new() });
        let alias =
            outer_alias.unwrap_or_else(|| Alias { aliasname: relation.name.clone(), colnames: Vec::new() });
        let Some(item) = level.items.get_mut(id) else { return Ok(()) };
        let access = self.policy.access(self.role, relation);
        let shown = relation.columns.iter().filter(|c| !access.denied_columns.contains(&c.name));
        let place = |number: &i16| shown.clone().position(|c| c.number == *number);
        item.key = relation.primary_key.iter().map(place).collect::<Option<_>>().unwrap_or_default();
        let whole = shown.clone().count() == relation.columns.len();
        let mut targets: Vec<Node> =
            shown.map(|c| build::target(build::column(&[&inner_name, &c.name]), "")).collect();
        if whole && item.known_as().is_some_and(|name| self.again.rows.contains(name)) {
            targets.push(build::target(build::column(&[&inner_name]), WHOLE_ROW));
            item.row = Some(WHOLE_ROW.to_owned());
        }
        let predicate = rewrite::predicate(self, relation, tenancy, &inner_name, None)?;
        let select = build::select(targets, vec![std::mem::take(node)], predicate);
        *node = build::derived(select, Some(alias));
        item.wrapped = Some(inner_name);
        item.below.push(relation.oid);
        item.place = Place::Inside;
        item.source = Source::Derived { tenanted: tenancy.is_tenanted() };
        Ok(())
    }
}
