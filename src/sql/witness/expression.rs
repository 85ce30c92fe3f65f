//! Every sub-select of an expression is found: a walk over all kinds of expression, by name, without a
//! catch-all. What PostgreSQL does not have is not read.

use sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, GroupByExpr, GroupByWithModifier,
    InTarget, Interval, NamedWindowDefinition, NamedWindowExpr, OrderBy, OrderByExpr, OrderByKind,
    SelectItem, SelectItemQualifiedWildcardKind, Subscript, WildcardAdditionalOptions, WindowFrame,
    WindowFrameBound, WindowSpec, WindowType,
};

use super::Walk;
use super::scope::Scope;

impl Walk<'_> {
    pub(super) fn expressions(&mut self, exprs: &[Expr], scope: &Scope<'_>) {
        for expr in exprs {
            self.expression(expr, scope);
        }
    }

    pub(super) fn optional(&mut self, expr: Option<&Expr>, scope: &Scope<'_>) {
        if let Some(expr) = expr {
            self.expression(expr, scope);
        }
    }

    fn all<'q>(&mut self, exprs: impl IntoIterator<Item = &'q Expr>, scope: &Scope<'_>) {
        for expr in exprs {
            self.expression(expr, scope);
        }
    }

    /// Walks one expression.
    pub(super) fn expression(&mut self, expr: &Expr, scope: &Scope<'_>) {
        match expr {
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::Value(_)
            | Expr::TypedString(_)
            | Expr::Wildcard(_)
            | Expr::QualifiedWildcard(..) => {}

            Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::Nested(inner)
            | Expr::IsJson { expr: inner, .. }
            | Expr::IsNormalized { expr: inner, .. }
            | Expr::UnaryOp { op: _, expr: inner }
            | Expr::Collate { expr: inner, collation: _ }
            | Expr::Extract { field: _, syntax: _, expr: inner }
            | Expr::Ceil { expr: inner, field: _ }
            | Expr::Floor { expr: inner, field: _ }
            | Expr::Cast { kind: _, expr: inner, data_type: _, format: _ }
            | Expr::Interval(Interval { value: inner, .. }) => self.expression(inner, scope),

            Expr::BinaryOp { .. } => self.binary(expr, scope),
            Expr::IsDistinctFrom(left, right)
            | Expr::IsNotDistinctFrom(left, right)
            | Expr::AnyOp { left, compare_op: _, right, is_some: _ }
            | Expr::AllOp { left, compare_op: _, right }
            | Expr::AtTimeZone { timestamp: left, time_zone: right }
            | Expr::Position { expr: left, r#in: right } => self.all([&**left, right], scope),
            Expr::Between { expr, negated: _, low, high } => self.all([&**expr, low, high], scope),
            Expr::Like { negated: _, any: _, expr, pattern, escape_char }
            | Expr::ILike { negated: _, any: _, expr, pattern, escape_char } => {
                self.all([&**expr, pattern], scope);
                self.optional(escape_char.as_deref(), scope);
            }
            Expr::SimilarTo { negated: _, expr, pattern, escape_char } => {
                self.all([&**expr, pattern], scope);
                self.optional(escape_char.as_deref(), scope);
            }
            Expr::Substring { expr, substring_from, substring_for, special: _, shorthand: _ } => {
                self.expression(expr, scope);
                self.optional(substring_from.as_deref(), scope);
                self.optional(substring_for.as_deref(), scope);
            }
            Expr::Trim { trim_where: _, trim_what, expr, trim_characters } => {
                self.expression(expr, scope);
                self.optional(trim_what.as_deref(), scope);
                self.all(trim_characters.iter().flatten(), scope);
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                self.all([&**expr, overlay_what, overlay_from], scope);
                self.optional(overlay_for.as_deref(), scope);
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                self.expression(root, scope);
                self.accesses(access_chain, scope);
            }
            Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.optional(operand.as_deref(), scope);
                for CaseWhen { condition, result } in conditions {
                    self.all([condition, result], scope);
                }
                self.optional(else_result.as_deref(), scope);
            }
            Expr::Tuple(exprs) | Expr::Array(Array { elem: exprs, named: _ }) => {
                self.expressions(exprs, scope)
            }
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                self.all(sets.iter().flatten(), scope);
            }
            Expr::Function(function) => self.function(function, scope),
            Expr::Exists { subquery, negated: _ } | Expr::Subquery(subquery) => self.query(subquery, scope),
            Expr::In { expr, target, negated: _, global } => {
                self.expect(!global, "GLOBAL IN");
                self.expression(expr, scope);
                self.in_target(target, scope);
            }

            Expr::JsonAccess { .. }
            | Expr::RLike { .. }
            | Expr::Convert { .. }
            | Expr::Prefixed { .. }
            | Expr::Struct { .. }
            | Expr::Named { .. }
            | Expr::Dictionary(_)
            | Expr::Map(_)
            | Expr::MatchAgainst { .. }
            | Expr::OuterJoin(_)
            | Expr::Prior(_)
            | Expr::Lambda(_)
            | Expr::MemberOf(_) => self.unknown_inside(expr),
        }
    }

    /// A chain of operators leans to the left and can be long: its spine is walked, not recursed into.
    fn binary(&mut self, mut expr: &Expr, scope: &Scope<'_>) {
        while let Expr::BinaryOp { left, op, right } = expr {
            self.expect(!matches!(op, BinaryOperator::Assignment), "an assignment in an expression");
            self.expression(right, scope);
            expr = left;
        }
        self.expression(expr, scope);
    }

    fn in_target(&mut self, target: &InTarget, scope: &Scope<'_>) {
        match target {
            InTarget::List(exprs) => self.expressions(exprs, scope),
            InTarget::Subquery(query) => self.query(query, scope),
            InTarget::Unnest(expr) => self.expression(expr, scope),
            InTarget::Table { name, args: _ } => self.contradict(format!("IN {name} names a relation")),
        }
    }

    fn accesses(&mut self, chain: &[AccessExpr], scope: &Scope<'_>) {
        for access in chain {
            match access {
                AccessExpr::Dot(expr) | AccessExpr::Subscript(Subscript::Index { index: expr }) => {
                    self.expression(expr, scope);
                }
                AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride }) => {
                    self.expect(stride.is_none(), "a slice with a stride");
                    self.optional(lower_bound.as_ref(), scope);
                    self.optional(upper_bound.as_ref(), scope);
                }
            }
        }
    }

    fn function(&mut self, function: &Function, scope: &Scope<'_>) {
        let Function {
            name: _,
            uses_odbc_syntax,
            parameters,
            args,
            within_group,
            filter,
            null_treatment: _,
            over,
        } = function;
        let plain = !uses_odbc_syntax && matches!(parameters, FunctionArguments::None);
        self.expect(plain, "a call that PostgreSQL does not have");
        match args {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(query) => self.query(query, scope),
            FunctionArguments::List(FunctionArgumentList { duplicate_treatment: _, args, clauses }) => {
                self.arguments(args, scope);
                for clause in clauses {
                    self.argument_clause(clause, scope);
                }
            }
        }
        self.order(within_group, scope);
        self.optional(filter.as_deref(), scope);
        match over {
            Some(WindowType::WindowSpec(window)) => self.window(window, scope),
            Some(WindowType::NamedWindow(_)) | None => {}
        }
    }

    /// Walks the arguments of a call.
    pub(super) fn arguments(&mut self, args: &[FunctionArg], scope: &Scope<'_>) {
        for arg in args {
            let value = match arg {
                FunctionArg::Named { name: _, arg, operator: _ } | FunctionArg::Unnamed(arg) => arg,
                FunctionArg::ExprNamed { name, arg, operator: _ } => {
                    self.expression(name, scope);
                    arg
                }
            };
            match value {
                FunctionArgExpr::Expr(expr) => self.expression(expr, scope),
                FunctionArgExpr::QualifiedWildcard(_) | FunctionArgExpr::Wildcard => {}
                FunctionArgExpr::WildcardWithOptions(options) => self.wildcard(options),
            }
        }
    }

    fn argument_clause(&mut self, clause: &FunctionArgumentClause, scope: &Scope<'_>) {
        match clause {
            FunctionArgumentClause::OrderBy(order) => self.order(order, scope),
            FunctionArgumentClause::IgnoreOrRespectNulls(_)
            | FunctionArgumentClause::JsonNullClause(_)
            | FunctionArgumentClause::JsonReturningClause(_) => {}
            FunctionArgumentClause::Where(_)
            | FunctionArgumentClause::Limit(_)
            | FunctionArgumentClause::OnOverflow(_)
            | FunctionArgumentClause::Having(_)
            | FunctionArgumentClause::Separator(_) => self.unknown_inside(clause),
        }
    }

    fn window(&mut self, window: &WindowSpec, scope: &Scope<'_>) {
        let WindowSpec { window_name: _, partition_by, order_by, window_frame } = window;
        self.expressions(partition_by, scope);
        self.order(order_by, scope);
        if let Some(WindowFrame { units: _, start_bound, end_bound }) = window_frame {
            for bound in std::iter::once(start_bound).chain(end_bound) {
                match bound {
                    WindowFrameBound::Preceding(Some(expr)) | WindowFrameBound::Following(Some(expr)) => {
                        self.expression(expr, scope);
                    }
                    WindowFrameBound::CurrentRow
                    | WindowFrameBound::Preceding(None)
                    | WindowFrameBound::Following(None) => {}
                }
            }
        }
    }

    /// Walks the WINDOW clause.
    pub(super) fn windows(&mut self, windows: &[NamedWindowDefinition], scope: &Scope<'_>) {
        for NamedWindowDefinition(_, window) in windows {
            match window {
                NamedWindowExpr::NamedWindow(_) => {}
                NamedWindowExpr::WindowSpec(window) => self.window(window, scope),
            }
        }
    }

    fn order(&mut self, order: &[OrderByExpr], scope: &Scope<'_>) {
        for OrderByExpr { expr, options: _, with_fill } in order {
            self.expect(with_fill.is_none(), "ORDER BY WITH FILL");
            self.expression(expr, scope);
        }
    }

    /// Walks an ORDER BY.
    pub(super) fn order_by(&mut self, order: &OrderBy, scope: &Scope<'_>) {
        let OrderBy { kind, interpolate } = order;
        self.expect(interpolate.is_none(), "INTERPOLATE");
        match kind {
            OrderByKind::Expressions(exprs) => self.order(exprs, scope),
            OrderByKind::All(_) => self.cannot_read("ORDER BY ALL"),
        }
    }

    /// Walks a GROUP BY.
    pub(super) fn group_by(&mut self, group_by: &GroupByExpr, scope: &Scope<'_>) {
        let modifiers: &[GroupByWithModifier] = match group_by {
            GroupByExpr::Expressions(exprs, modifiers) => {
                self.expressions(exprs, scope);
                modifiers
            }
            GroupByExpr::All(modifiers) => {
                self.cannot_read("GROUP BY ALL");
                modifiers
            }
        };
        self.expect(modifiers.is_empty(), "GROUP BY with a modifier");
    }

    /// Walks a select list or a RETURNING.
    pub(super) fn items(&mut self, items: &[SelectItem], scope: &Scope<'_>) {
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, alias: _ } => {
                    self.expression(expr, scope);
                }
                SelectItem::ExprWithAliases { .. } => self.cannot_read("a list of aliases"),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(_), options)
                | SelectItem::Wildcard(options) => self.wildcard(options),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(expr), options) => {
                    self.expression(expr, scope);
                    self.wildcard(options);
                }
            }
        }
    }

    fn wildcard(&mut self, options: &WildcardAdditionalOptions) {
        let WildcardAdditionalOptions {
            wildcard_token: _,
            opt_ilike: None,
            opt_exclude: None,
            opt_except: None,
            opt_replace: None,
            opt_rename: None,
            opt_alias: None,
        } = options
        else {
            return self.cannot_read("a star with options");
        };
    }
}
