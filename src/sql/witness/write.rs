//! Writes: whose rows a statement changes, and whose rows it makes.
//!
//! * UPDATE and DELETE change rows that carry their predicate in WHERE, like rows that are read, and nobody's
//!   rows never. Relations of FROM and USING are read.
//! * A written row has the tenant in its tenant column: `$n::type`, or a guard that raises. A row of a child
//!   names a parent that is the tenant's, and so does a foreign key that does not carry the tenant ([`super::key`]).
//! * ON CONFLICT DO UPDATE changes a row that only its WHERE has looked at: the target's predicate, or a guard by
//!   it that raises, must be a conjunct there.

use std::borrow::Cow;

use sqlparser::ast::{
    AccessExpr, Assignment, AssignmentTarget, ConflictTarget, Delete, DoUpdate, Expr, FromTable, GroupByExpr,
    Insert, JoinConstraint, JoinOperator, ObjectName, OnConflict, OnConflictAction, OnInsert, Query, Select,
    SelectItem, SetExpr, TableFactor, TableObject, TableWithJoins, Update, UpdateTableFromKind, Value,
};

use super::Walk;
use super::facts::{ForeignKey, Tenancy};
use super::forms::bare;
use super::guard::guard;
use super::key::{Key, Written};
use super::leaf::{Leaf, leaf_of};
use super::names;
use super::predicate::Access;
use super::scope::Scope;

impl Walk<'_> {
    pub(super) fn insert(&mut self, insert: &Insert, scope: &Scope<'_>) {
        let Insert {
            insert_token: _,
            optimizer_hints,
            or,
            ignore,
            into: _,
            table,
            table_alias,
            columns,
            by_name,
            overwrite,
            source,
            assignments,
            partitioned,
            after_columns,
            overriding: _,
            has_table_keyword,
            on,
            returning,
            output,
            replace_into,
            priority,
            insert_alias,
            settings,
            format_clause,
            multi_table_insert_type,
            multi_table_into_clauses,
            multi_table_when_clauses,
            multi_table_else_clause,
        } = insert;
        let plain = optimizer_hints.is_empty()
            && or.is_none()
            && !(*ignore || *by_name || *overwrite || *has_table_keyword || *replace_into)
            && assignments.is_empty()
            && partitioned.is_none()
            && after_columns.is_empty()
            && output.is_none()
            && priority.is_none()
            && insert_alias.is_none()
            && settings.is_none()
            && format_clause.is_none()
            && multi_table_insert_type.is_none()
            && multi_table_into_clauses.is_empty()
            && multi_table_when_clauses.is_empty()
            && multi_table_else_clause.is_none();
        self.expect(plain, "an INSERT that PostgreSQL does not have");
        let TableObject::TableName(name) = table else {
            return self.cannot_read("INSERT into something that is no table");
        };
        if let Some(source) = source {
            self.query(source, scope);
        }
        let named = self.leaf_named(name, table_alias.as_ref().map(|alias| &alias.alias));
        if let Some(leaf) = self.target(named, &name.to_string()) {
            let columns: Vec<_> = columns.iter().map(names::column).collect();
            let defaults = || Some(vec![Row { defaults: true, ..Row::default() }]);
            let rows = source.as_deref().map_or_else(defaults, rows_of);
            self.written(&leaf, &columns, rows.as_deref().unwrap_or_default());
            self.expect(rows.is_some(), "the rows of an INSERT");
            self.on_conflict(on.as_ref(), &leaf, scope);
        }
        self.items(returning.as_deref().unwrap_or_default(), scope);
    }

    /// Requires each written row to be the tenant's.
    pub(super) fn written(&mut self, leaf: &Leaf<'_>, columns: &[Option<Cow<'_, str>>], rows: &[Row<'_>]) {
        let place = |column: &str| columns.iter().position(|c| c.as_deref() == Some(column));
        let proved = match &leaf.tenancy {
            Tenancy::Tenant { column, null_is_shared: _ } => place(column).is_some_and(|place| {
                rows.iter().all(|row| {
                    row.value(place, columns.len())
                        .is_some_and(|value| self.prover.is_tenant_or_raises(value))
                })
            }),
            Tenancy::Child { parents } => rows.iter().all(|row| {
                parents.iter().all(|parent| {
                    let value =
                        |column: &str| place(column).and_then(|place| row.value(place, columns.len()));
                    self.prover.has_own_parent(
                        parent,
                        row.selection,
                        &Key { value: &value, kept: None, nullable: parents.len() > 1 },
                    ) || (parents.len() > 1 && parent.columns.iter().all(|(c, _)| is_unset(value(c))))
                })
            }),
            Tenancy::Shared => true,
            Tenancy::Catalog | Tenancy::Unknown => false,
        };
        if !proved {
            self.contradict(format!(
                "a row written into {}.{} is not proved to be the tenant's",
                leaf.schema, leaf.name
            ));
        }
        // Without their names the columns cannot be told.
        let listed = !columns.is_empty() || rows.iter().all(|row| row.defaults);
        for key in self.prover.facts.keys(&leaf.schema, &leaf.name) {
            let held = listed
                && rows.iter().all(|row| {
                    let written = |column: &str| match place(column) {
                        None => Written::Default,
                        Some(place) => Written::of(row.value(place, columns.len())),
                    };
                    self.prover.holds_key(&key, row.selection, None, &written)
                });
            if !held {
                self.unproved_key(leaf, &key);
            }
        }
    }

    fn on_conflict(&mut self, on: Option<&OnInsert>, leaf: &Leaf<'_>, scope: &Scope<'_>) {
        let OnConflict { conflict_target, action } = match on {
            Some(OnInsert::OnConflict(conflict)) => conflict,
            None => return,
            _ => return self.cannot_read("ON DUPLICATE KEY UPDATE"),
        };
        if let Some(ConflictTarget::Columns { columns: _, predicate }) = conflict_target {
            self.optional(predicate.as_ref(), scope);
        }
        let OnConflictAction::DoUpdate(DoUpdate { assignments, selection }) = action else { return };
        self.optional(selection.as_ref(), scope);
        self.assignments(assignments, leaf, scope);
        let shared = leaf.tenancy == Tenancy::Shared;
        let guarded = |s: &Expr| self.prover.restricts_or_guards(s, leaf, Access::Write);
        if !shared && !selection.as_ref().is_some_and(guarded) {
            self.contradict(format!("ON CONFLICT DO UPDATE of {}.{} has no guard", leaf.schema, leaf.name));
        }
    }

    pub(super) fn update(&mut self, update: &Update, scope: &Scope<'_>) {
        let Update {
            update_token: _,
            optimizer_hints,
            table,
            on_cluster,
            assignments,
            from,
            selection,
            returning,
            output,
            or,
            order_by,
            limit,
            settings,
        } = update;
        let plain = optimizer_hints.is_empty()
            && on_cluster.is_none()
            && output.is_none()
            && or.is_none()
            && order_by.is_empty()
            && limit.is_none()
            && settings.is_none()
            && table.joins.is_empty();
        self.expect(plain, "an UPDATE that PostgreSQL does not have");
        let target = leaf_of(self.prover.facts, &table.relation);
        if let Some(leaf) = self.target(target, &table.relation.to_string()) {
            self.require(std::slice::from_ref(&leaf), selection.as_ref(), Access::Write);
            self.assignments(assignments, &leaf, scope);
        }
        match from {
            Some(UpdateTableFromKind::AfterSet(items)) => {
                let leaves = self.from(items, scope);
                self.require(&leaves, selection.as_ref(), Access::Read);
            }
            Some(UpdateTableFromKind::BeforeSet(_)) => self.cannot_read("FROM before SET"),
            None => {}
        }
        self.optional(selection.as_ref(), scope);
        self.items(returning.as_deref().unwrap_or_default(), scope);
    }

    pub(super) fn delete(&mut self, delete: &Delete, scope: &Scope<'_>) {
        let Delete {
            delete_token: _,
            optimizer_hints,
            tables,
            from,
            on_cluster,
            using,
            selection,
            returning,
            output,
            order_by,
            limit,
            settings,
        } = delete;
        let plain = optimizer_hints.is_empty()
            && tables.is_empty()
            && on_cluster.is_none()
            && output.is_none()
            && order_by.is_empty()
            && limit.is_none()
            && settings.is_none();
        self.expect(plain, "a DELETE that PostgreSQL does not have");
        let (FromTable::WithFromKeyword(targets) | FromTable::WithoutKeyword(targets)) = from;
        match targets.as_slice() {
            [target] if target.joins.is_empty() => {
                let leaf = leaf_of(self.prover.facts, &target.relation);
                if let Some(leaf) = self.target(leaf, &target.to_string()) {
                    self.require(&[leaf], selection.as_ref(), Access::Write);
                }
            }
            _ => self.cannot_read("DELETE from several tables"),
        }
        let leaves = self.from(using.as_deref().unwrap_or_default(), scope);
        self.require(&leaves, selection.as_ref(), Access::Read);
        self.optional(selection.as_ref(), scope);
        self.items(returning.as_deref().unwrap_or_default(), scope);
    }

    /// Walks a SET list, and requires that no row of `leaf` leaves the tenant by it.
    pub(super) fn assignments(&mut self, assignments: &[Assignment], leaf: &Leaf<'_>, scope: &Scope<'_>) {
        for Assignment { target: _, value } in assignments {
            self.expression(value, scope);
        }
        let set: Vec<_> = assignments.iter().flat_map(assigned).collect();
        let assigned = |column: &str| set.iter().find(|(c, _)| c.as_deref() == Some(column));
        let once = |column: &str| set.iter().filter(|(c, _)| c.as_deref() == Some(column)).count() <= 1;
        let kept = match &leaf.tenancy {
            Tenancy::Tenant { column, null_is_shared: _ } => set
                .iter()
                .filter(|(c, _)| c.as_deref().is_none_or(|c| c == column))
                .all(|(_, value)| value.is_some_and(|value| self.prover.is_tenant_or_raises(value))),
            Tenancy::Child { parents } => parents.iter().all(|parent| {
                let value = |column: &str| assigned(column).and_then(|(_, value)| *value);
                let touched = parent.columns.iter().any(|(c, _)| assigned(c).is_some());
                parent.columns.iter().all(|(c, _)| once(c))
                    && (!touched
                        || self.prover.has_own_parent(
                            parent,
                            None,
                            &Key { value: &value, kept: Some(leaf), nullable: parents.len() > 1 },
                        )
                        || (parents.len() > 1 && parent.columns.iter().all(|(c, _)| is_unset(value(c)))))
            }),
            Tenancy::Shared => true,
            Tenancy::Catalog | Tenancy::Unknown => false,
        };
        if !kept {
            self.contradict(format!("SET can move a row of {}.{} to another tenant", leaf.schema, leaf.name));
        }
        let unknown = set.iter().any(|(column, _)| column.is_none());
        for key in self.prover.facts.keys(&leaf.schema, &leaf.name) {
            let touched = key.target.columns.iter().any(|(c, _)| assigned(c).is_some());
            let written = |column: &str| match assigned(column) {
                None => Written::Kept,
                Some((_, value)) => Written::of(*value),
            };
            let twice = key.target.columns.iter().any(|(c, _)| !once(c));
            if unknown || twice || (touched && !self.prover.holds_key(&key, None, Some(leaf), &written)) {
                self.unproved_key(leaf, &key);
            }
        }
    }

    pub(super) fn unproved_key(&mut self, leaf: &Leaf<'_>, key: &ForeignKey) {
        self.contradict(format!(
            "a foreign key of {}.{} can point at another tenant's row of {}.{}",
            leaf.schema, leaf.name, key.target.schema, key.target.name
        ));
    }
}

/// A row as it is written: its values, and the condition that lets it through.
#[derive(Default)]
pub(super) struct Row<'q> {
    /// Up to the first star.
    head: Vec<&'q Expr>,
    /// After the last star, from the end.
    tail: Vec<&'q Expr>,
    selection: Option<&'q Expr>,
    /// DEFAULT VALUES.
    defaults: bool,
}

impl<'q> Row<'q> {
    pub(super) fn of(values: &'q [Expr]) -> Self {
        Self { head: values.iter().collect(), tail: values.iter().rev().collect(), ..Self::default() }
    }

    /// The value of one of `width` columns. PostgreSQL refuses a row that has not as many values as the column
    /// list has columns (`transformInsertRow`), so that it can be told from the end as well.
    fn value(&self, place: usize, width: usize) -> Option<&'q Expr> {
        let from_end = width.checked_sub(place)?.checked_sub(1)?;
        self.head.get(place).or_else(|| self.tail.get(from_end)).copied()
    }
}

/// The rows that a source gives, each as the select list or the VALUES row that makes it.
fn rows_of(source: &Query) -> Option<Vec<Row<'_>>> {
    let mut rows = Vec::new();
    let mut open = vec![&*source.body];
    while let Some(body) = open.pop() {
        match body {
            SetExpr::Values(values) => rows.extend(values.rows.iter().map(|row| Row::of(&row.content))),
            SetExpr::Select(select) => rows.push(Row {
                head: select.projection.iter().map_while(value_of).collect(),
                tail: select.projection.iter().rev().map_while(value_of).collect(),
                selection: select.selection.as_ref(),
                defaults: false,
            }),
            SetExpr::SetOperation { left, right, .. } => open.extend([&**left, &**right]),
            SetExpr::Query(query) => open.push(&query.body),
            SetExpr::Table(_) => rows.push(Row::default()),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => return None,
        }
    }
    Some(rows)
}

/// The one value of a select item; nothing for what expands to several.
fn value_of(item: &SelectItem) -> Option<&Expr> {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, alias: _ }) = item else {
        return None;
    };
    let expands = match expr {
        Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => true,
        Expr::CompoundFieldAccess { access_chain, .. } => access_chain.iter().any(|access| match access {
            AccessExpr::Dot(field) => !matches!(field, Expr::Identifier(_)),
            AccessExpr::Subscript(_) => false,
        }),
        _ => false,
    };
    (!expands).then_some(expr)
}

/// The columns that an assignment sets, each with its value where that can be told.
fn assigned(assignment: &Assignment) -> Vec<(Option<Cow<'_, str>>, Option<&Expr>)> {
    let Assignment { target, value } = assignment;
    match target {
        AssignmentTarget::ColumnName(name) => vec![(whole_column(name), Some(value))],
        AssignmentTarget::Tuple(names) => {
            let values: Vec<&Expr> = match bare(value) {
                Expr::Tuple(values) => values.iter().collect(),
                Expr::Subquery(query) => row_of(query).unwrap_or_default(),
                _ => Vec::new(),
            };
            let values = if values.len() == names.len() { values } else { Vec::new() };
            names.iter().enumerate().map(|(i, name)| (whole_column(name), values.get(i).copied())).collect()
        }
    }
}

/// The values of a sub-select that gives a row in any case, so that none of them is null for the lack of one: a SELECT of
/// nothing but outputs from `(SELECT …) x LEFT JOIN … ON true`, whose left side is one row.
fn row_of(query: &Query) -> Option<Vec<&Expr>> {
    let SetExpr::Select(select) = plain_body(query)? else { return None };
    let [TableWithJoins { relation, joins }] = select.from.as_slice() else { return None };
    let TableFactor::Derived { lateral: false, subquery, .. } = relation else { return None };
    let SetExpr::Select(one) = plain_body(subquery)? else { return None };
    let [join] = joins.as_slice() else { return None };
    let (JoinOperator::Left(on) | JoinOperator::LeftOuter(on)) = &join.join_operator else { return None };
    let always = matches!(on, JoinConstraint::On(Expr::Value(value)) if value.value == Value::Boolean(true));
    let single = matches!(one.projection.as_slice(), [SelectItem::UnnamedExpr(Expr::Value(_))]);
    if !always || !single || !one.from.is_empty() || !is_bare(one) || !is_bare(select) {
        return None;
    }
    // What returns a set could return none.
    let value = |item| value_of(item).filter(|value| guard(value).is_some() || is_column(value));
    select.projection.iter().map(value).collect()
}

fn is_column(value: &Expr) -> bool {
    matches!(bare(value), Expr::CompoundIdentifier(_))
}

/// The body of a query that has nothing around it.
fn plain_body(query: &Query) -> Option<&SetExpr> {
    let plain = query.with.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty();
    plain.then_some(&*query.body)
}

/// Whether a SELECT gives a row for each row of its FROM.
fn is_bare(select: &Select) -> bool {
    let ungrouped =
        matches!(&select.group_by, GroupByExpr::Expressions(by, with) if by.is_empty() && with.is_empty());
    select.selection.is_none() && select.having.is_none() && select.distinct.is_none() && ungrouped
}

fn whole_column(name: &ObjectName) -> Option<Cow<'_, str>> {
    names::column(name)
}

fn is_unset(value: Option<&Expr>) -> bool {
    value.is_none_or(|value| matches!(bare(value), Expr::Value(value) if value.value == Value::Null))
}
