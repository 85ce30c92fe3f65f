//! Statements and query levels: which clauses there are, and what each holds.

use sqlparser::ast::{
    CopySource, CopyTarget, Cte, Declare, Distinct, Fetch, Ident, LimitClause, Lock, LockClause,
    LockTableMode, Query, Select, SelectFlavor, SetExpr, Statement, Table, With,
};

use super::Walk;
use super::facts::Tenancy;
use super::leaf::{self, Leaf};
use super::names::{self, RelationName};
use super::predicate::Access;
use super::scope::Scope;

impl Walk<'_> {
    /// Walks a statement.
    pub(super) fn statement(&mut self, statement: &Statement, scope: &Scope<'_>) {
        match statement {
            Statement::Query(query) => self.query(query, scope),
            Statement::Insert(insert) => self.insert(insert, scope),
            Statement::Update(update) => self.update(update, scope),
            Statement::Delete(delete) => self.delete(delete, scope),
            Statement::Merge(merge) => self.merge(merge, scope),
            Statement::Copy { source, to, target, options: _, legacy_options: _, payload } => {
                self.expect(payload.is_none(), "COPY with its rows");
                self.copy(source, *to, target, scope);
            }
            Statement::Explain { statement, .. } => self.statement(statement, scope),
            Statement::Prepare { name: _, data_types: _, statement } => self.statement(statement, scope),
            Statement::Declare { stmts, separator: _ } => {
                for Declare { assignment, for_query, .. } in stmts {
                    self.expect(assignment.is_none(), "DECLARE of a variable");
                    match for_query {
                        Some(query) => self.query(query, scope),
                        None => self.cannot_read("DECLARE without a query"),
                    }
                }
            }
            Statement::Lock(Lock { tables, lock_mode, nowait: _ }) => {
                for table in tables {
                    let printed = table.name.to_string();
                    let named = self.leaf_named(&table.name, None);
                    let known =
                        self.target(named, &printed).is_some_and(|leaf| leaf.tenancy != Tenancy::Unknown);
                    if !known {
                        self.contradict(format!("{printed} is locked, and is not known"));
                    }
                }
                let weak = matches!(
                    lock_mode,
                    Some(LockTableMode::AccessShare | LockTableMode::RowShare | LockTableMode::RowExclusive)
                );
                if !weak {
                    self.contradict("LOCK TABLE in a mode that stops other tenants".to_owned());
                }
            }
            _ => self.cannot_read("a statement of another kind"),
        }
    }

    /// Walks a query: its CTEs in their scopes, its body, and the clauses after it.
    pub(super) fn query(&mut self, query: &Query, outer: &Scope<'_>) {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        let plain = for_clause.is_none()
            && settings.is_none()
            && format_clause.is_none()
            && pipe_operators.is_empty();
        self.expect(plain, "a query clause that PostgreSQL does not have");
        let mut scope = Scope::within(outer);
        if let Some(with) = with {
            self.with(with, &mut scope);
        }
        self.body(body, &scope);
        if let Some(order) = order_by {
            self.order_by(order, &scope);
        }
        match limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
                self.expect(limit_by.is_empty(), "LIMIT BY");
                self.optional(limit.as_ref(), &scope);
                self.optional(offset.as_ref().map(|offset| &offset.value), &scope);
            }
            Some(LimitClause::OffsetCommaLimit { .. }) => self.cannot_read("LIMIT with a comma"),
            None => {}
        }
        if let Some(Fetch { with_ties: _, percent: _, quantity }) = fetch {
            self.optional(quantity.as_ref(), &scope);
        }
        for LockClause { lock_type: _, of: _, nonblock: _ } in locks {
            // Locks name aliases, and lock rows that the level's predicates have passed.
        }
    }

    fn with(&mut self, with: &With, scope: &mut Scope<'_>) {
        let With { with_token: _, recursive, cte_tables } = with;
        let name = |cte: &Cte| names::fold(&cte.alias.name).into_owned();
        if *recursive {
            cte_tables.iter().for_each(|cte| scope.bring(name(cte)));
        }
        for cte in cte_tables {
            let Cte { alias, query, from, materialized: _, closing_paren_token: _ } = cte;
            self.expect(from.is_none() && alias.at.is_none(), "a CTE with FROM");
            self.query(query, scope);
            if !recursive {
                scope.bring(name(cte));
            }
        }
    }

    fn body(&mut self, body: &SetExpr, scope: &Scope<'_>) {
        match body {
            SetExpr::Select(select) => self.select(select, scope),
            SetExpr::Query(query) => self.query(query, scope),
            SetExpr::SetOperation { left, op: _, set_quantifier: _, right } => {
                self.body(left, scope);
                self.body(right, scope);
            }
            SetExpr::Values(values) => {
                self.expect(!values.explicit_row && !values.value_keyword, "VALUES of another kind");
                for row in &values.rows {
                    self.expressions(&row.content, scope);
                }
            }
            SetExpr::Insert(statement)
            | SetExpr::Update(statement)
            | SetExpr::Delete(statement)
            | SetExpr::Merge(statement) => self.statement(statement, scope),
            SetExpr::Table(table) => self.table_command(table, scope),
        }
    }

    /// `TABLE name`: a whole relation, with no place for a predicate.
    fn table_command(&mut self, table: &Table, scope: &Scope<'_>) {
        let Table { table_name, schema_name } = table;
        match (schema_name, table_name) {
            (Some(schema), Some(name)) => {
                let (schema, name) = (names::fold(schema).into_owned(), names::fold(name).into_owned());
                self.whole(&schema, &name, "TABLE");
            }
            (None, Some(name)) if scope.holds(&names::fold(name)) => {}
            (_, name) => {
                let name = name.as_ref().map_or("", |name: &Ident| &name.value);
                self.contradict(format!("TABLE {name} is neither a CTE nor named with its schema"));
            }
        }
    }

    fn whole(&mut self, schema: &str, name: &str, how: &str) {
        if !matches!(self.prover.facts.tenancy(schema, name), Tenancy::Shared | Tenancy::Catalog) {
            self.contradict(format!("{how} takes all rows of {schema}.{name}"));
        }
    }

    fn select(&mut self, select: &Select, scope: &Scope<'_>) {
        let Select {
            select_token: _,
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        let plain = optimizer_hints.is_empty()
            && select_modifiers.is_none()
            && top.is_none()
            && exclude.is_none()
            && into.is_none()
            && lateral_views.is_empty()
            && prewhere.is_none()
            && connect_by.is_empty()
            && cluster_by.is_empty()
            && distribute_by.is_empty()
            && sort_by.is_empty()
            && qualify.is_none()
            && value_table_mode.is_none()
            && matches!(flavor, SelectFlavor::Standard);
        self.expect(plain, "a clause of SELECT that PostgreSQL does not have, or INTO");

        let leaves = self.from(from, scope);
        self.require(&leaves, selection.as_ref(), Access::Read);
        self.items(projection, scope);
        if let Some(Distinct::On(exprs)) = distinct {
            self.expressions(exprs, scope);
        }
        self.optional(selection.as_ref(), scope);
        self.group_by(group_by, scope);
        self.optional(having.as_ref(), scope);
        self.windows(named_window, scope);
    }

    fn copy(&mut self, source: &CopySource, to: bool, target: &CopyTarget, scope: &Scope<'_>) {
        let wire = matches!((to, target), (true, CopyTarget::Stdout) | (false, CopyTarget::Stdin));
        if !wire {
            self.contradict("COPY with a file or a program");
        }
        match source {
            CopySource::Query(query) => self.query(query, scope),
            CopySource::Table { table_name, columns: _ } => match names::relation(table_name) {
                Some(RelationName::Qualified { schema, name }) => self.whole(&schema, &name, "COPY"),
                Some(RelationName::Bare(_)) | None => {
                    self.contradict(format!("COPY {table_name} is not named with its schema"));
                }
            },
        }
    }

    /// A form that this walk does not follow. It can hide relations: nothing is concluded from it.
    pub(super) fn unknown_inside(&mut self, form: &impl std::fmt::Debug) {
        let name: String = format!("{form:?}").chars().take_while(|c| c.is_alphanumeric()).collect();
        self.cannot_read(format!("a form that is not followed: {name}"));
    }

    /// A relation that a statement writes to: named with its schema, known, and no catalog.
    pub(super) fn target<'q>(&mut self, relation: Option<Leaf<'q>>, printed: &str) -> Option<Leaf<'q>> {
        match relation {
            Some(leaf) if leaf.tenancy == Tenancy::Catalog => {
                self.contradict(format!("{printed} is a catalog, and is written to"));
                None
            }
            Some(leaf) => Some(leaf),
            None => {
                self.contradict(format!("{printed} is written to, and is not named with its schema"));
                None
            }
        }
    }

    pub(super) fn leaf_named(
        &self,
        name: &sqlparser::ast::ObjectName,
        alias: Option<&Ident>,
    ) -> Option<Leaf<'static>> {
        match names::relation(name)? {
            RelationName::Qualified { schema, name } => {
                let mut leaf = leaf::leaf(self.prover.facts, schema, name, None);
                if let Some(alias) = alias {
                    leaf.alias = names::fold(alias).into_owned();
                }
                Some(leaf)
            }
            RelationName::Bare(_) => None,
        }
    }
}
