//! Functions in FROM, XMLTABLE and TABLESAMPLE: what they compute is bound, and what columns they give is told.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, RangeFunction, RangeTableFunc, RangeTableSample};

use crate::policy::Refusal;

use super::super::build;
use super::super::resolve::{FunctionMatch, Resolution, element_type, oid, resolve_function};
use super::super::seen::mark;
use super::from::{Above, Around, name_of, push, unknown_column};
use super::scope::{ColumnKind, ColumnType, ItemColumn, Level, Scope, Source};
use super::{Binder, Facts};

/// What a function in FROM gives.
struct Entry {
    columns: Vec<ItemColumn>,
    /// The name that a single column has from it.
    name: Option<String>,
    /// There may be other columns.
    open: bool,
    /// The statement defines the columns, and they keep their names.
    defined: bool,
}

impl Binder<'_> {
    pub(super) fn range_function(
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
        let mut alone = function.functions.len() == 1 && function.coldeflist.is_empty();
        let mut reads = Vec::new();
        for entry in &mut function.functions {
            let mut own = Facts::default();
            let written_out = self.may_be_written_out(entry);
            let entry = self.function_entry(&scope, entry, &mut own)?;
            if written_out {
                reads.extend(own.reads.iter().copied());
            }
            facts.merge(own);
            columns.extend(entry.columns);
            // The item goes by its first function (addRangeTableEntryForFunction of parse_relation.c).
            only_name = only_name.or(entry.name);
            open |= entry.open;
            alone &= !entry.defined;
        }
        let mut listed = Vec::new();
        for definition in &mut function.coldeflist {
            listed.extend(self.column_definitions(definition)?);
        }
        if !listed.is_empty() {
            columns = listed;
            open = false;
        }
        // A function of one value names its column after its alias, also beside an ordinality
        // (addRangeTableEntryForFunction of parse_relation.c).
        if let (true, Some(alias), [column]) = (alone, &function.alias, columns.as_mut_slice())
            && only_name.as_deref() == Some(column.name.as_str())
        {
            column.name.clone_from(&alias.aliasname);
        }
        if function.ordinality {
            let ty = ColumnType { oid: 20, typmod: -1, collation: 0 };
            columns.push(ItemColumn {
                name: "ordinality".into(),
                ty: Some(ty),
                kind: ColumnKind::Expression { total: true },
            });
        }
        let id = push(level, function.alias.as_ref(), only_name, columns, Source::Function);
        if let Some(item) = level.items.get_mut(id) {
            item.open = open;
            item.reads = reads;
        }
        Ok(vec![id])
    }

    /// Whether the server may put the query of a function in SQL in its place.
    fn may_be_written_out(&self, entry: &Node) -> bool {
        let Some(NodeEnum::List(entry)) = &entry.node else { return true };
        let Some(Some(NodeEnum::FuncCall(call))) = entry.items.first().map(|call| &call.node) else {
            return false;
        };
        let name = build::names(&call.funcname).and_then(|names| names.last().copied()).unwrap_or_default();
        let in_sql = |f: &std::sync::Arc<crate::catalog::Function>| f.returns_set && f.source.is_empty();
        self.catalog.functions_named(name).iter().any(in_sql)
    }

    /// One function of `ROWS FROM`, or the only one.
    fn function_entry(
        &mut self,
        scope: &Scope<'_>,
        entry: &mut Node,
        facts: &mut Facts,
    ) -> Result<Entry, Refusal> {
        let Some(NodeEnum::List(entry)) = &mut entry.node else {
            return Err(super::unsupported("this function in FROM", -1));
        };
        let [call, definitions] = entry.items.as_mut_slice() else {
            return Err(super::unsupported("this function in FROM", -1));
        };
        let defined = self.column_definitions(definitions)?;
        if let Some(arguments) = several_arrays(call) {
            self.all(scope, arguments, facts)?;
            let element = |argument: &Node| {
                let element = element_type(self.catalog, self.type_of(scope, argument)?.oid);
                (element != 0).then(|| self.plain_type(element))
            };
            let all = arguments.iter().map(|argument| self.value_column("unnest", element(argument)));
            let columns = all.collect();
            if let Some(NodeEnum::FuncCall(call)) = &mut call.node {
                mark(&mut call.location);
            }
            return Ok(Entry { columns, name: Some("unnest".to_owned()), open: false, defined: false });
        }
        self.expression(scope, call, facts)?;
        let (known, more, name) =
            self.resolved_columns(scope, call).unwrap_or_else(|| self.function_columns(call));
        let name = Some(name.unwrap_or_else(|| self.figure_name(call)));
        Ok(match defined.is_empty() {
            true => Entry { columns: known, name, open: more, defined: false },
            false => Entry { columns: defined, name, open: false, defined: true },
        })
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

    /// The columns of a function in FROM, where the types of its arguments say which one it is: those of its OUT
    /// parameters, of its composite type, or a single one of its own name (ExecMakeTableFunctionResult and
    /// addRangeTableEntryForFunction).
    fn resolved_columns(
        &self,
        scope: &Scope<'_>,
        call: &Node,
    ) -> Option<(Vec<ItemColumn>, bool, Option<String>)> {
        let Some(NodeEnum::FuncCall(call)) = &call.node else { return None };
        let path = build::names(&call.funcname)?;
        let (schema, name) = match path.as_slice() {
            [name] => (None, *name),
            [schema, name] => (Some(*schema), *name),
            _ => return None,
        };
        if call.args.iter().any(|arg| matches!(arg.node, Some(NodeEnum::NamedArgExpr(_)))) {
            return None;
        }
        let type_of = |arg: &Node| match arg.node {
            Some(NodeEnum::AConst(_)) => Some(self.type_of(scope, arg).map_or(oid::UNKNOWN, |ty| ty.oid)),
            _ => self.type_of(scope, arg).map(|ty| ty.oid),
        };
        let types: Option<Vec<u32>> = call.args.iter().map(type_of).collect();
        let found = resolve_function(self.catalog, schema, name, &types?, call.func_variadic);
        let Resolution::Found(FunctionMatch::Call { function, result, .. }) = found else { return None };
        let own = name.to_owned();
        let column = |name: &str, oid: u32| ItemColumn {
            name: name.to_owned(),
            ty: Some(self.plain_type(oid)),
            kind: ColumnKind::Expression { total: false },
        };
        let outs = &function.out_columns;
        if outs.len() > 1 {
            return None;
        }
        if let Some(row) = self.catalog.type_by_oid(result).and_then(|ty| self.catalog.relation(ty.relation))
        {
            let columns = row.columns.iter().map(|c| column(&c.name, c.type_oid)).collect();
            return Some((columns, false, Some(own)));
        }
        if !self.is_scalar(result) {
            return None;
        }
        let named = outs.first().map(|(name, _)| name.as_str()).filter(|name| !name.is_empty());
        let named = named.unwrap_or(name);
        // A function of a user's may be inlined, and its expressions end up in conditions. A collation of an
        // argument's would be the result's.
        let ty = self.plain_type(result);
        let own_collation = |arg: &Node| {
            self.type_of(scope, arg).is_none_or(|of| of.collation == 0 || of.collation == ty.collation)
        };
        let value = match schema {
            Some("pg_catalog") if call.args.iter().all(own_collation) => self.value_column(named, Some(ty)),
            _ => column(named, result),
        };
        Some((vec![value], false, Some(own)))
    }

    /// The columns of a function in FROM; whether there may be more; and the name of a single one.
    fn function_columns(&self, node: &Node) -> (Vec<ItemColumn>, bool, Option<String>) {
        let Some(NodeEnum::FuncCall(call)) = &node.node else {
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

    /// A column of a function's scan: nothing evaluates the function elsewhere, so its values are plain ones.
    fn value_column(&self, name: &str, ty: Option<ColumnType>) -> ItemColumn {
        let total = ty.is_some_and(|ty| self.is_plain_value(ty.oid));
        ItemColumn { name: name.to_owned(), ty, kind: ColumnKind::Expression { total } }
    }

    fn plain_type(&self, oid: u32) -> ColumnType {
        let collation = self.catalog.type_by_oid(oid).map_or(0, |t| t.collation);
        ColumnType { oid, typmod: -1, collation }
    }

    fn is_scalar(&self, oid: u32) -> bool {
        self.catalog.type_by_oid(oid).is_some_and(|t| matches!(t.kind, 'b' | 'e' | 'd' | 'r' | 'm'))
    }

    pub(super) fn range_table_func(
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
        let fallback = Some("xmltable".to_owned());
        Ok(vec![push(level, table.alias.as_ref(), fallback, columns, Source::Function)])
    }

    pub(super) fn table_sample(
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
}

/// `unnest(a, b, …)`: not a function but ROWS FROM of one unnest each, as long as its name is not qualified
/// (transformRangeFunction of parse_clause.c).
pub(super) fn several_arrays(call: &mut Node) -> Option<&mut [Node]> {
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
