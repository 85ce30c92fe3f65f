//! FROM: its items in PostgreSQL's order of visibility (`parse_clause.c`), where each relation's predicate
//! can go, and the joins' own conditions.

use std::cell::Cell;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    Alias, JoinExpr, JoinType, Node, RangeFunction, RangeSubselect, RangeTableFunc, RangeTableSample,
    RangeVar,
};

use crate::catalog::{Generated, Relation, RelationKind};
use crate::config::model::Operation;
use crate::policy::{Access, Refusal, Rule, SqlState, Tenancy};

use super::super::build;
use super::super::catalogs::{CatalogVerdict, Catalogs};
use super::super::rewrite;
use super::scope::{ColumnKind, ColumnType, Item, ItemColumn, Level, Merged, Place, Scope, Source};
use super::{Binder, Facts, Found};

/// Views inside views, at most.
const VIEW_DEPTH: usize = 16;

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
        let kind = super::kind_of(node);
        if let Some(name) = name_of(node) {
            self.reserved(name)?;
        }
        match &mut node.node {
            Some(NodeEnum::RangeVar(_)) => self.range_var(around, above, level, node),
            Some(NodeEnum::RangeSubselect(sub)) => self.range_subselect(around, level, sub, facts),
            Some(NodeEnum::RangeFunction(function)) => self.range_function(around, level, function, facts),
            Some(NodeEnum::RangeTableFunc(table)) => self.range_table_func(around, level, table, facts),
            Some(NodeEnum::JsonTable(table)) => {
                let scope = Scope { outer: around.outer, level, window: None, ctes: around.ctes };
                let names = self.json_table(&scope, table, facts)?;
                let columns = names.into_iter().map(unknown_column).collect();
                Ok(vec![push(level, table.alias.as_ref(), None, columns, Source::Function)])
            }
            Some(NodeEnum::RangeTableSample(_)) => self.table_sample(around, above, level, node, facts),
            Some(NodeEnum::JoinExpr(join)) => self.join(around, above, level, join, facts),
            _ => Err(super::unsupported(&format!("{kind} in FROM"), -1)),
        }
    }

    fn range_var(
        &mut self,
        around: Around<'_>,
        above: Above,
        level: &mut Level,
        node: &mut Node,
    ) -> Result<Vec<usize>, Refusal> {
        let Some(NodeEnum::RangeVar(name)) = &mut node.node else { return Ok(Vec::new()) };
        if let Some(number) = self.cte_named(around.ctes, name)? {
            let columns = self.ctes.get(number).map(|c| c.columns.clone()).unwrap_or_default();
            let fallback = name.relname.clone();
            return Ok(vec![push(level, name.alias.as_ref(), Some(fallback), columns, Source::Cte(number))]);
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
        let alias = name.alias.clone();
        let location = name.location;
        let id = push(level, alias.as_ref(), Some(relation.name.clone()), columns, source);
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

    /// A view is planned from its definition, in a scope of its own, with the invoker's rights.
    fn view(
        &mut self,
        level: &mut Level,
        node: &mut Node,
        relation: &Relation,
    ) -> Result<Vec<usize>, Refusal> {
        let Some(NodeEnum::RangeVar(name)) = &node.node else { return Ok(Vec::new()) };
        let location = name.location;
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
        let mut shown = *select;
        if columns.iter().any(|c| c.kind == ColumnKind::Denied) {
            let aliasname = self.fresh_alias("view");
            let kept = columns.iter().filter(|c| c.kind != ColumnKind::Denied);
            let targets = kept.map(|c| build::target(build::column(&[&aliasname, &c.name]), "")).collect();
            let colnames = relation.columns.iter().map(|c| build::text(&c.name)).collect();
            let inner = build::derived(shown, Some(Alias { aliasname, colnames }));
            shown = build::select(targets, vec![inner], None);
            columns.sort_by_key(|c| c.kind == ColumnKind::Denied);
        }
        *node = build::derived(shown, Some(alias.clone()));
        self.edit(
            location,
            format!(
                "view {}.{} is planned from its definition, every relation in it in its own scope",
                relation.schema, relation.name
            ),
        );
        let source = Source::Derived { tenanted: output.tenanted };
        Ok(vec![push(level, Some(&alias), None, columns, source)])
    }

    /// Puts a relation into a derived table with its predicate inside.
    fn wrap_leaf(
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
        let targets = shown.map(|c| build::target(build::column(&[&inner_name, &c.name]), ""));
        let predicate = rewrite::predicate(self, relation, tenancy, &inner_name, None)?;
        let select = build::select(targets.collect(), vec![std::mem::take(node)], predicate);
        *node = build::derived(select, Some(alias));
        item.place = Place::Inside;
        item.source = Source::Derived { tenanted: tenancy.is_tenanted() };
        Ok(())
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
        let output = self.statement_in(outer, around.ctes, query)?;
        facts.merge(output.facts);
        let source = Source::Derived { tenanted: output.tenanted };
        Ok(vec![push(level, sub.alias.as_ref(), None, output.columns, source)])
    }

    fn range_function(
        &mut self,
        around: Around<'_>,
        level: &mut Level,
        function: &mut RangeFunction,
        facts: &mut Facts,
    ) -> Result<Vec<usize>, Refusal> {
        let scope = Scope { outer: around.outer, level, window: None, ctes: around.ctes };
        let mut columns = Vec::new();
        let mut open = false;
        let mut only_name = None;
        let alone = function.functions.len() == 1;
        for entry in &mut function.functions {
            let Some(NodeEnum::List(entry)) = &mut entry.node else {
                return Err(super::unsupported("this function in FROM", -1));
            };
            let [call, definitions] = entry.items.as_mut_slice() else {
                return Err(super::unsupported("this function in FROM", -1));
            };
            let mut names = self.column_definitions(definitions)?;
            if let Some(arguments) = several_arrays(call) {
                self.all(&scope, arguments, facts)?;
                let count = arguments.len();
                only_name = Some("unnest".to_owned());
                columns.extend((0..count).map(|_| unknown_column("unnest".to_owned())));
                continue;
            }
            self.expression(&scope, call, facts)?;
            let (known, more, name) = self.function_columns(call);
            only_name = name;
            open |= more && names.is_empty();
            if names.is_empty() {
                names = known;
            }
            columns.extend(names);
        }
        let mut listed = Vec::new();
        for definition in &mut function.coldeflist {
            listed.extend(self.column_definitions(definition)?);
        }
        if !listed.is_empty() {
            columns = listed;
            open = false;
        }
        if function.ordinality {
            let ty = ColumnType { oid: 20, typmod: -1, collation: 0 };
            columns.push(ItemColumn {
                name: "ordinality".into(),
                ty: Some(ty),
                kind: ColumnKind::Expression { total: true },
            });
        }
        // A function of one value names its column after its alias.
        if let (true, Some(alias), [column]) = (alone, &function.alias, columns.as_mut_slice())
            && only_name.as_deref() == Some(column.name.as_str())
        {
            column.name.clone_from(&alias.aliasname);
        }
        let id = push(level, function.alias.as_ref(), only_name, columns, Source::Function);
        if let Some(item) = level.items.get_mut(id) {
            item.open = open;
        }
        Ok(vec![id])
    }

    /// `AS (name type, …)`.
    fn column_definitions(&mut self, node: &mut Node) -> Result<Vec<ItemColumn>, Refusal> {
        match &mut node.node {
            None => Ok(Vec::new()),
            Some(NodeEnum::List(list)) => {
                let mut all = Vec::new();
                for item in &mut list.items {
                    all.extend(self.column_definitions(item)?);
                }
                Ok(all)
            }
            Some(NodeEnum::ColumnDef(column)) => {
                if let Some(name) = &mut column.type_name {
                    let target = self.type_name(name)?;
                    if let Some(reg) = self.reg_type(target) {
                        return Err(super::unsupported(
                            &format!("a column of type {reg} here"),
                            column.location,
                        ));
                    }
                }
                if column.raw_default.is_some()
                    || !column.constraints.is_empty()
                    || column.coll_clause.is_some()
                {
                    return Err(super::unsupported("this column definition", column.location));
                }
                Ok(vec![unknown_column(column.colname.clone())])
            }
            Some(_) => Err(super::unsupported(&super::kind_of(node), -1)),
        }
    }

    /// The columns of a function in FROM; whether there may be more; and the name of a single one.
    fn function_columns(&self, call: &Node) -> (Vec<ItemColumn>, bool, Option<String>) {
        let Some(NodeEnum::FuncCall(call)) = &call.node else {
            // A value function, a cast: one column of a name that does not matter here.
            return (Vec::new(), true, None);
        };
        let path = build::names(&call.funcname).unwrap_or_default();
        let name = path.last().copied().unwrap_or_default();
        let overloads = self.catalog.functions_named(name);
        let mut outs = overloads.iter().map(|f| &f.out_columns);
        let first = outs.next();
        let same = first.is_some_and(|first| outs.all(|other| other == first));
        match first {
            Some(columns) if same && columns.len() > 1 => {
                let column = |(name, oid): &(String, u32)| ItemColumn {
                    name: name.clone(),
                    ty: Some(self.plain_type(*oid)),
                    kind: ColumnKind::Expression { total: false },
                };
                (columns.iter().map(column).collect(), false, Some(name.to_owned()))
            }
            Some(columns)
                if same && columns.is_empty() && overloads.iter().all(|f| self.is_scalar(f.result)) =>
            {
                (vec![unknown_column(name.to_owned())], false, Some(name.to_owned()))
            }
            Some(columns) if same && columns.len() == 1 => {
                let out = columns.first().map(|(n, _)| n.clone()).filter(|n| !n.is_empty());
                (vec![unknown_column(out.unwrap_or_else(|| name.to_owned()))], true, Some(name.to_owned()))
            }
            _ => (vec![unknown_column(name.to_owned())], true, Some(name.to_owned())),
        }
    }

    fn plain_type(&self, oid: u32) -> ColumnType {
        let collation = self.catalog.type_by_oid(oid).map_or(0, |t| t.collation);
        ColumnType { oid, typmod: -1, collation }
    }

    fn is_scalar(&self, oid: u32) -> bool {
        self.catalog.type_by_oid(oid).is_some_and(|t| matches!(t.kind, 'b' | 'e' | 'd' | 'r' | 'm'))
    }

    fn range_table_func(
        &mut self,
        around: Around<'_>,
        level: &mut Level,
        table: &mut RangeTableFunc,
        facts: &mut Facts,
    ) -> Result<Vec<usize>, Refusal> {
        let scope = Scope { outer: around.outer, level, window: None, ctes: around.ctes };
        self.optional(&scope, &mut table.docexpr, facts)?;
        self.optional(&scope, &mut table.rowexpr, facts)?;
        self.targets(&scope, &mut table.namespaces, facts)?;
        let mut columns = Vec::new();
        for column in &mut table.columns {
            let Some(NodeEnum::RangeTableFuncCol(column)) = &mut column.node else {
                return Err(super::unsupported(&super::kind_of(column), table.location));
            };
            if let Some(name) = &mut column.type_name {
                let target = self.type_name(name)?;
                if let Some(reg) = self.reg_type(target) {
                    return Err(super::unsupported(&format!("a column of type {reg} here"), column.location));
                }
            }
            self.optional(&scope, &mut column.colexpr, facts)?;
            self.optional(&scope, &mut column.coldefexpr, facts)?;
            columns.push(unknown_column(column.colname.clone()));
        }
        Ok(vec![push(level, table.alias.as_ref(), None, columns, Source::Function)])
    }

    fn table_sample(
        &mut self,
        around: Around<'_>,
        above: Above,
        level: &mut Level,
        node: &mut Node,
        facts: &mut Facts,
    ) -> Result<Vec<usize>, Refusal> {
        let Some(NodeEnum::RangeTableSample(sample)) = &mut node.node else { return Ok(Vec::new()) };
        let RangeTableSample { relation, method, args, repeatable, location } = sample.as_mut();
        match build::names(method).as_deref() {
            Some([name] | ["pg_catalog", name]) if matches!(*name, "system" | "bernoulli") => {
                let name = (*name).to_owned();
                *method = vec![build::text("pg_catalog"), build::text(&name)];
            }
            _ => return Err(super::unsupported("this sampling method", *location)),
        }
        let at = *location;
        let nothing = Level::at(super::select::depth_below(around.outer));
        let scope = Scope { outer: around.outer, level: &nothing, window: None, ctes: around.ctes };
        self.all(&scope, args, facts)?;
        self.optional(&scope, repeatable, facts)?;
        let Some(inner) = relation else { return Err(super::unsupported("this TABLESAMPLE", at)) };
        if let Some(name) = name_of(inner) {
            self.reserved(name)?;
        }
        let bare = Above { place: above.place, wrap: None };
        let ids = self.range_var(around, bare, level, inner)?;
        if !matches!(inner.node, Some(NodeEnum::RangeVar(_))) {
            return Err(super::unsupported("TABLESAMPLE of a view or of a relation with hidden columns", at));
        }
        if let (Some(why), [id]) = (above.wrap, ids.as_slice())
            && let Some(Source::Relation { relation, tenancy }) =
                level.items.get(*id).map(|i| i.source.clone())
            && tenancy.is_tenanted()
        {
            self.wrap_leaf(level, *id, node, &relation, &tenancy, why)?;
        }
        Ok(ids)
    }

    fn join(
        &mut self,
        around: Around<'_>,
        above: Above,
        level: &mut Level,
        join: &mut JoinExpr,
        facts: &mut Facts,
    ) -> Result<Vec<usize>, Refusal> {
        let number = level.joins;
        level.joins += 1;
        let kind = JoinType::try_from(join.jointype).unwrap_or(JoinType::Undefined);
        let merging = join.is_natural || !join.using_clause.is_empty();
        let above = if join.alias.is_some() {
            Above { place: Place::Inside, wrap: Some("the join's alias hides its name") }
        } else {
            above
        };
        let nullable = match above.wrap {
            Some(why) if join.alias.is_some() => Above { place: Place::Inside, wrap: Some(why) },
            _ if merging => Above {
                place: Place::Inside,
                wrap: Some("USING on a nullable side leaves its predicate no place"),
            },
            _ => Above { place: Place::On(number), wrap: None },
        };
        let full = Above { place: Place::Inside, wrap: Some("FULL JOIN keeps the rows of both sides") };
        let (above_left, above_right) = match kind {
            JoinType::JoinInner => (above, above),
            JoinType::JoinLeft => (above, nullable),
            JoinType::JoinRight => (nullable, above),
            JoinType::JoinFull => (full, full),
            _ => return Err(super::unsupported("this kind of join", -1)),
        };
        let (Some(left), Some(right)) = (&mut join.larg, &mut join.rarg) else {
            return Err(super::unsupported("a join without two sides", -1));
        };
        let left = self.bind_item(around, above_left, level, left, facts)?;
        let right = self.bind_item(around, above_right, level, right, facts)?;
        if merging {
            self.merge_columns(around, level, join, &left, &right)?;
        }
        let mut both = left.clone();
        both.extend(&right);
        {
            let scope = Scope { outer: around.outer, level, window: Some(&both), ctes: around.ctes };
            join.quals = self.condition_of(&scope, join.quals.take(), facts)?;
        }
        rewrite::place_on(self, level, join, number, &both)?;
        null_sides(level, kind, &left, &right);
        self.join_alias(level, join, &both)?;
        Ok(both)
    }

    /// USING and NATURAL: the merged columns. NATURAL becomes USING, so that a later ALTER TABLE does not
    /// change the keys between planning and running.
    fn merge_columns(
        &mut self,
        around: Around<'_>,
        level: &mut Level,
        join: &mut JoinExpr,
        left: &[usize],
        right: &[usize],
    ) -> Result<(), Refusal> {
        if join.is_natural {
            let names = common_names(level, left, right);
            join.is_natural = false;
            if names.is_empty() {
                if join.jointype != JoinType::JoinInner as i32 {
                    join.quals = Some(Box::new(build::boolean(true)));
                }
                return Ok(());
            }
            join.using_clause = names.iter().map(|n| build::text(n)).collect();
        }
        let names: Vec<String> = build::names(&join.using_clause)
            .ok_or_else(|| super::unsupported("this USING list", -1))?
            .into_iter()
            .map(str::to_owned)
            .collect();
        level.conditions.set(true);
        for name in names {
            let (l, r) = {
                let side = |window| Scope { outer: None, level, window: Some(window), ctes: around.ctes };
                (side(left).resolve(&[&name], -1)?, side(right).resolve(&[&name], -1)?)
            };
            let tenanted = l
                .items
                .iter()
                .chain(&r.items)
                .any(|i| level.items.get(*i).is_some_and(|item| self.is_tenanted(&item.source)));
            if tenanted && !self.merge_is_total(&l, &r) {
                let message = format!("USING ({name}) compares values whose comparison may raise");
                return Err(Refusal::new(SqlState::NOT_SUPPORTED, Rule("barrier"), message)
                    .hint("Write the join's condition with ON."));
            }
            self.add_merged(level, &name, &l, left, right);
        }
        Ok(())
    }

    fn merge_is_total(&self, left: &Found, right: &Found) -> bool {
        let plain = |found: &Found| {
            matches!(
                found.kind,
                ColumnKind::Base { .. } | ColumnKind::System | ColumnKind::Expression { total: true }
            )
        };
        let (Some(l), Some(r)) = (left.ty, right.ty) else { return false };
        plain(left) && plain(right) && self.equality_is_total(l, r)
    }

    fn add_merged(&self, level: &mut Level, name: &str, found: &Found, left: &[usize], right: &[usize]) {
        let both = |id: &usize| left.contains(id) || right.contains(id);
        let mut members = Vec::new();
        level.merged.retain(|m| {
            let inside = m.column.name == name && m.members.iter().any(|(item, _)| both(item));
            if inside {
                members.extend(m.members.iter().copied());
            }
            !inside
        });
        for id in left.iter().chain(right) {
            let Some(item) = level.items.get(*id) else { continue };
            if let Some(number) = item.columns.iter().position(|c| c.name == name)
                && !members.contains(&(*id, number))
            {
                members.push((*id, number));
            }
        }
        level.hidden.extend(members.iter().copied());
        let column = ItemColumn { name: name.to_owned(), ty: found.ty, kind: found.kind.clone() };
        level.merged.push(Merged { column, members });
    }

    /// `(a JOIN b) AS j`, and `USING (…) AS j`.
    fn join_alias(&self, level: &mut Level, join: &JoinExpr, both: &[usize]) -> Result<(), Refusal> {
        if let Some(alias) = &join.join_using_alias {
            let names = build::names(&join.using_clause).unwrap_or_default();
            let merged = level.merged.iter().filter(|m| names.contains(&m.column.name.as_str()));
            let columns = merged.map(|m| m.column.clone()).collect();
            let id = push(level, Some(alias), None, columns, Source::JoinAlias { members: both.to_vec() });
            unleaf(level, id, false);
        }
        let Some(alias) = &join.alias else { return Ok(()) };
        let mut columns: Vec<ItemColumn> = level
            .merged
            .iter()
            .filter(|m| m.members.iter().any(|(i, _)| both.contains(i)))
            .map(|m| m.column.clone())
            .collect();
        for id in both {
            let Some(item) = level.items.get_mut(*id) else { continue };
            let shown = item.columns.iter().enumerate().filter(|(n, _)| !level.hidden.contains(&(*id, *n)));
            columns.extend(shown.map(|(_, c)| c.clone()));
            item.name = None;
            item.visible = false;
        }
        level.merged.retain(|m| !m.members.iter().any(|(i, _)| both.contains(i)));
        let id = push(level, Some(alias), None, columns, Source::JoinAlias { members: both.to_vec() });
        unleaf(level, id, true);
        Ok(())
    }
}

/// The name that an item of FROM goes by.
fn name_of(node: &Node) -> Option<&str> {
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
        source,
        place: Place::Inside,
        leaf: Some(leaf),
        nulled: Cell::new(false),
        fence: Cell::new(false),
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

fn null_sides(level: &Level, kind: JoinType, left: &[usize], right: &[usize]) {
    let nulled: Vec<&usize> = match kind {
        JoinType::JoinLeft => right.iter().collect(),
        JoinType::JoinRight => left.iter().collect(),
        JoinType::JoinFull => left.iter().chain(right).collect(),
        _ => Vec::new(),
    };
    for id in nulled {
        if let Some(item) = level.items.get(*id) {
            item.nulled.set(true);
        }
    }
}

fn common_names(level: &Level, left: &[usize], right: &[usize]) -> Vec<String> {
    let names = |side: &[usize]| {
        let mut names: Vec<String> = Vec::new();
        for id in side {
            let Some(item) = level.items.get(*id) else { continue };
            for (number, column) in item.columns.iter().enumerate() {
                let merged = level.merged.iter().any(|m| m.members.contains(&(*id, number)));
                if (!level.hidden.contains(&(*id, number)) || merged) && !names.contains(&column.name) {
                    names.push(column.name.clone());
                }
            }
        }
        names
    };
    let theirs = names(right);
    names(left).into_iter().filter(|name| theirs.contains(name)).collect()
}

/// `unnest(a, b, …)`: not a function but ROWS FROM of one unnest each, as long as its name is not qualified
/// (transformRangeFunction of parse_clause.c).
fn several_arrays(call: &mut Node) -> Option<&mut [Node]> {
    let Some(NodeEnum::FuncCall(call)) = &mut call.node else { return None };
    let plain = call.agg_order.is_empty()
        && call.agg_filter.is_none()
        && call.over.is_none()
        && !call.agg_star
        && !call.agg_distinct
        && !call.func_variadic;
    let several = build::names(&call.funcname).is_some_and(|n| n == ["unnest"]) && call.args.len() > 1;
    (plain && several).then_some(call.args.as_mut_slice())
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

fn unknown_column(name: String) -> ItemColumn {
    ItemColumn { name, ty: None, kind: ColumnKind::Expression { total: false } }
}
