//! A query level of SELECT: bound from its FROM outwards, then rewritten.

use pg_query::NodeEnum;
use pg_query::protobuf::{Integer, LimitOption, Node, SelectStmt, SetOperation, a_const};

use crate::catalog::Oid;
use crate::policy::{Refusal, Rule, SqlState};

use super::super::rewrite::{self, Clause};
use super::locking::locked;
use super::scope::{ColumnKind, ItemColumn, Level, Scope, Source};
use super::star::{is_row_expanded, star_of};
use super::{Binder, Facts, Outputs};

/// What a query level shows to the level around it.
#[derive(Debug, Clone, Default)]
pub(in crate::sql) struct Output {
    pub columns: Vec<ItemColumn>,
    /// It may have columns that are not known here, behind those whose type is known.
    pub open: bool,
    /// Rows hold tenants' data.
    pub tenanted: bool,
    /// Items of outer levels that were read, and whether anything in it is volatile.
    pub facts: Facts,
    /// A plain SELECT over plain relations, of which PostgreSQL surely makes a join under EXISTS in WHERE
    /// (convert_EXISTS_sublink_to_join, subselect.c): what it reads of other levels it reads in its WHERE.
    pub simple: bool,
    /// A query of which PostgreSQL surely makes a join under IN in WHERE, where it reads nothing of the level
    /// around it (convert_ANY_sublink_to_join).
    pub joinable: bool,
    /// The relations whose rows a lock of its rows locks (transformLockingClause, analyze.c): those of its FROM, of
    /// sub-selects there too, but not of WITH.
    pub locked: Vec<Oid>,
    /// It has one row, or at most one, by its own form.
    pub single: Option<Single>,
}

/// Why a query has no second row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sql) enum Single {
    /// It aggregates all of its rows: what it puts out is evaluated above its scans.
    Aggregated,
    /// LIMIT 1, at this place of the statement.
    Limited(i32),
}

/// Below this version the planner's time grows with a high power of how deep queries lie in each other (300 levels
/// take minutes), and neither a timeout nor a cancel ends it.
const FLAT_DEPTH: u32 = 150_000;
/// Queries in each other that such a server is sent.
const MAX_OLD_DEPTH: usize = 50;

impl Binder<'_> {
    /// Binds a query in a place where one may stand: SELECT, or inside WITH a data-modifying statement.
    pub fn statement_in(
        &mut self,
        outer: Option<&Scope<'_>>,
        ctes: &[(String, usize)],
        node: &mut Node,
    ) -> Result<Output, Refusal> {
        self.query_depth = self.query_depth.saturating_add(1);
        if self.query_depth > MAX_OLD_DEPTH && self.catalog.server_version_num < FLAT_DEPTH {
            let message =
                format!("PostgreSQL 14 cannot stop planning more than {MAX_OLD_DEPTH} queries in each other");
            return Err(Refusal::new(SqlState::TOO_COMPLEX, Rule("bounds"), message));
        }
        let output = match &mut node.node {
            Some(NodeEnum::SelectStmt(select)) => self.select(outer, ctes, select),
            Some(NodeEnum::InsertStmt(insert)) => self.insert(ctes, insert),
            Some(NodeEnum::UpdateStmt(update)) => self.update(ctes, update),
            Some(NodeEnum::DeleteStmt(delete)) => self.delete(ctes, delete),
            Some(NodeEnum::MergeStmt(merge)) => self.merge(ctes, merge),
            _ => Err(super::unsupported(&format!("{} here", super::kind_of(node)), -1)),
        };
        self.query_depth = self.query_depth.saturating_sub(1);
        output
    }

    /// Binds and rewrites a SELECT of any form.
    pub fn select(
        &mut self,
        outer: Option<&Scope<'_>>,
        ctes: &[(String, usize)],
        select: &mut SelectStmt,
    ) -> Result<Output, Refusal> {
        let explicit = std::mem::take(&mut self.explicit_outputs);
        if select.into_clause.is_some() {
            return Err(super::unsupported("SELECT INTO", -1));
        }
        let names = self.with_clause(outer, ctes, select.with_clause.as_mut())?;
        let output = if select.op != SetOperation::SetopNone as i32 {
            self.set_operation(outer, &names, select, explicit)?
        } else if !select.values_lists.is_empty() {
            self.values(outer, &names, select)?
        } else {
            self.plain_select(outer, &names, select, explicit)?
        };
        let had_with = select.with_clause.is_some();
        self.fence_ctes(&names, select.with_clause.as_mut());
        Ok(Output { simple: output.simple && !had_with, joinable: output.joinable && !had_with, ..output })
    }

    fn set_operation(
        &mut self,
        outer: Option<&Scope<'_>>,
        ctes: &[(String, usize)],
        select: &mut SelectStmt,
        explicit: bool,
    ) -> Result<Output, Refusal> {
        let (Some(left), Some(right)) = (&mut select.larg, &mut select.rarg) else {
            return Err(super::unsupported("a set operation without two arms", -1));
        };
        self.explicit_outputs = explicit;
        let left = self.select(outer, ctes, left)?;
        self.explicit_outputs = explicit;
        let right = self.select(outer, ctes, right)?;
        let mut facts = left.facts;
        facts.merge(right.facts);
        let mut columns: Vec<ItemColumn> = left.columns;
        let known = right.columns.len();
        for (column, right) in columns.iter_mut().zip(&right.columns) {
            *column = union_column(column.clone(), right);
        }
        columns.iter_mut().skip(known).for_each(ItemColumn::forget);
        let output = Output {
            columns,
            open: left.open || right.open,
            tenanted: left.tenanted || right.tenanted,
            locked: left.locked.into_iter().chain(right.locked).collect(),
            joinable: left.joinable && right.joinable,
            ..Output::default()
        };
        let level = Level::at(depth_below(outer));
        let scope = Scope { outer, level: &level, window: None, ctes };
        self.after_arms(&scope, select, &output.columns, &mut facts)?;
        Ok(Output { facts: facts.below(level.depth), ..output })
    }

    /// What stands after the arms of a set operation.
    pub(super) fn after_arms(
        &mut self,
        scope: &Scope<'_>,
        select: &mut SelectStmt,
        columns: &[ItemColumn],
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        self.order_and_limit(scope, select, columns, true, facts)?;
        match select.locking_clause.is_empty() {
            true => Ok(()),
            false => Err(super::unsupported("a locking clause over a set operation", -1)),
        }
    }

    fn values(
        &mut self,
        outer: Option<&Scope<'_>>,
        ctes: &[(String, usize)],
        select: &mut SelectStmt,
    ) -> Result<Output, Refusal> {
        let level = Level::at(depth_below(outer));
        let scope = Scope { outer, level: &level, window: None, ctes };
        let mut facts = Facts::default();
        let mut columns: Vec<ItemColumn> = Vec::new();
        for (row, list) in select.values_lists.iter_mut().enumerate() {
            let Some(NodeEnum::List(list)) = &mut list.node else {
                return Err(super::unsupported("this VALUES list", -1));
            };
            for (number, value) in list.items.iter_mut().enumerate() {
                if is_expanded_value(value) {
                    return Err(super::unsupported("a row whose columns are values of a list", -1)
                        .hint("Name the columns."));
                }
                self.expression_or_default(&scope, value, &mut facts)?;
                let kind = self.output_kind(&scope, value);
                let ty = self.type_of(&scope, value);
                match columns.get_mut(number) {
                    Some(column) if row > 0 => {
                        *column = union_column(column.clone(), &ItemColumn { name: String::new(), ty, kind });
                    }
                    _ => columns.push(ItemColumn { name: format!("column{}", number + 1), ty, kind }),
                }
            }
        }
        self.order_and_limit(&scope, select, &columns, true, &mut facts)?;
        let tenanted = facts.tenanted;
        let facts = facts.below(level.depth);
        Ok(Output { columns, tenanted, facts, joinable: true, ..Output::default() })
    }

    fn plain_select(
        &mut self,
        outer: Option<&Scope<'_>>,
        ctes: &[(String, usize)],
        select: &mut SelectStmt,
        explicit: bool,
    ) -> Result<Output, Refusal> {
        let mut level = Level::at(depth_below(outer));
        level.proves.set(true);
        let mut facts = Facts::default();
        if explicit {
            self.name_columns(select);
        }
        self.bind_from(outer, ctes, &mut level, &mut select.from_clause, &mut facts)?;
        let correlated_from = facts.reads.iter().any(|(depth, _)| *depth < level.depth);
        let scope = Scope { outer, level: &level, window: None, ctes };
        select.where_clause =
            self.condition_of(&scope, Clause::Where, select.where_clause.take(), &mut facts)?;
        // What FROM and WHERE read need not be in GROUP BY.
        facts.grouped.retain(|(depth, ..)| *depth < level.depth);
        level.grouped.set(!select.group_clause.is_empty() || select.having_clause.is_some());
        self.stars_without_schema(&scope, &mut select.target_list)?;
        self.expand_stars(&scope, &mut select.target_list, explicit)?;
        if explicit && select.target_list.iter().any(is_expanded) {
            return Err(super::unsupported("a row whose columns are written at once", -1)
                .hint("Name the columns in the SELECT."));
        }
        let Outputs { columns, open } = self.target_list(&scope, &mut select.target_list, &mut facts)?;
        self.behind_outputs(&scope, select, &columns, &mut facts)?;
        // PostgreSQL looks for the least value with `… WHERE value IS NOT NULL ORDER BY value LIMIT 1` where the rows
        // come sorted from some part of a UNION ALL, and that condition stands before all others of each part's scan
        // (build_minmax_path, planagg.c).
        if level.extremes.get() && !has_keys(&select.group_clause) {
            level.conditions.set(true);
        }
        let tenanted = facts.tenanted || level.items.iter().any(|i| self.is_tenanted(&i.source));
        let joinable = !level.items.is_empty();
        let simple = !correlated_from && is_simple(select, &level, &facts);
        let single = single(select, &level, &facts);
        self.write_out_stars(&scope, &mut select.target_list)?;
        self.widen_groups(&level, select, &facts)?;
        rewrite::level(self, &level, select)?;
        let locked = level.items.iter().flat_map(locked).collect();
        let facts = facts.below(level.depth);
        Ok(Output { single, columns, open, tenanted, facts, simple, locked, joinable })
    }

    /// The clauses that may name outputs, and those that stand behind them.
    fn behind_outputs(
        &mut self,
        scope: &Scope<'_>,
        select: &mut SelectStmt,
        columns: &[ItemColumn],
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        for distinct in select.distinct_clause.iter_mut().filter(|d| d.node.is_some()) {
            self.sort_expression(scope, distinct, columns, false, facts)?;
        }
        for group in &mut select.group_clause {
            self.group_by(scope, group, columns, facts)?;
        }
        select.having_clause = self.having(scope, select.having_clause.take(), facts)?;
        for window in &mut select.window_clause {
            self.window(scope, window, facts)?;
        }
        self.order_and_limit(scope, select, columns, false, facts)?;
        for locking in &mut select.locking_clause {
            self.locking(scope, locking)?;
        }
        Ok(())
    }

    fn order_and_limit(
        &mut self,
        scope: &Scope<'_>,
        select: &mut SelectStmt,
        outputs: &[ItemColumn],
        outputs_only: bool,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        for sort in &mut select.sort_clause {
            self.sort_by(scope, sort, outputs, outputs_only, facts)?;
        }
        for limit in [&mut select.limit_offset, &mut select.limit_count].into_iter().flatten() {
            self.expression(scope, limit, facts)?;
        }
        Ok(())
    }

    /// Whether an item's rows hold tenants' data.
    pub fn is_tenanted(&self, source: &Source) -> bool {
        match source {
            Source::Relation { tenancy, .. } => tenancy.is_tenanted(),
            Source::Derived { tenanted } => *tenanted,
            Source::Cte(number) => self.ctes.get(*number).is_none_or(|c| c.tenanted),
            Source::Function | Source::JoinAlias { .. } => false,
        }
    }
}

/// What [`Output::simple`] says, as far as the query itself tells: what its FROM reads is asked before.
fn is_simple(select: &SelectStmt, level: &Level, facts: &Facts) -> bool {
    !level.items.is_empty()
        && level.items.iter().all(|item| matches!(item.source, Source::Relation { .. }))
        && !level.grouped.get()
        && !facts.aggregate
        && !facts.around
        && !facts.window
        && !facts.set_returning
        && select.distinct_clause.is_empty()
        && select.window_clause.is_empty()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
        && select.locking_clause.is_empty()
}

fn single(select: &SelectStmt, level: &Level, facts: &Facts) -> Option<Single> {
    // An aggregate over what levels around read is theirs.
    let own_aggregate = facts.aggregate && facts.reads.iter().all(|(depth, _)| *depth == level.depth);
    match limit_of_one(select) {
        _ if facts.set_returning => None,
        _ if own_aggregate && select.group_clause.is_empty() => Some(Single::Aggregated),
        limit => limit.map(Single::Limited),
    }
}

/// The place of a literal LIMIT 1 that gives the same row each time: a join may run its query again, and the next
/// run of one that locks its row finds another.
fn limit_of_one(select: &SelectStmt) -> Option<i32> {
    if select.sort_clause.is_empty() || !select.locking_clause.is_empty() {
        return None;
    }
    let Some(NodeEnum::AConst(limit)) = select.limit_count.as_ref()?.node.as_ref() else { return None };
    let ties = select.limit_option == LimitOption::WithTies as i32;
    match &limit.val {
        Some(a_const::Val::Ival(Integer { ival: 1 })) if !ties => Some(limit.location),
        _ => None,
    }
}

/// The depth of a level below a scope.
pub(in crate::sql) fn depth_below(outer: Option<&Scope<'_>>) -> usize {
    outer.map_or(0, |o| o.level.depth + 1)
}

/// Whether GROUP BY surely has a key: `GROUP BY ()` has none, and groups as an aggregate alone does.
fn has_keys(group: &[Node]) -> bool {
    group.iter().any(|key| !matches!(key.node, Some(NodeEnum::GroupingSet(_))))
}

/// Whether an output stands for all columns of a row that is computed.
fn is_expanded(target: &Node) -> bool {
    match &target.node {
        Some(NodeEnum::ResTarget(target)) => target.val.as_deref().is_some_and(is_row_expanded),
        _ => false,
    }
}

/// Whether a value of a list stands for all columns of a row.
fn is_expanded_value(value: &Node) -> bool {
    is_row_expanded(value) || star_of(value).is_some()
}

fn union_column(left: ItemColumn, right: &ItemColumn) -> ItemColumn {
    let same_type = left.ty.is_some() && left.ty == right.ty;
    let kind = match (&left.kind, &right.kind) {
        (l, r) if l == r => left.kind.clone(),
        (l, r) if same_type => ColumnKind::Expression { total: is_total(l) && is_total(r) },
        _ => ColumnKind::Expression { total: false },
    };
    ItemColumn { name: left.name, ty: if same_type { left.ty } else { None }, kind }
}

fn is_total(kind: &ColumnKind) -> bool {
    match kind {
        ColumnKind::Base { .. } | ColumnKind::System => true,
        ColumnKind::Expression { total } => *total,
        ColumnKind::Virtual | ColumnKind::Denied => false,
    }
}
