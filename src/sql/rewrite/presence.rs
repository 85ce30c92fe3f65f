//! What a guard hides from the planner, said beside it.
//!
//! PostgreSQL makes an inner join of an outer one where a condition above it can be true for no row that the join made
//! of nulls (reduce_outer_joins, prepjointree.c). It cannot look into the CASE of a guard, so the join would stay an
//! outer one: another plan, and an error for FOR UPDATE and for a FULL JOIN that can be neither hashed nor merged. So
//! beside the guard stands, bare:
//!
//! ```sql
//! … c.tenant_id IS NOT NULL AND CASE WHEN … THEN upper(c.name) = 'X' ELSE false END
//! ```
//!
//! **Why it changes no row.** The condition is strict in `c`, as find_nonnullable_rels (clauses.c) has it: where all
//! that it reads of `c` is null it is not true. The test is of a column that is never null in a row of `c`; or, for a
//! derived table, of the very columns in which the condition is strict.
//!
//! **Why it tells nothing.** A null test raises nothing, whatever the row holds.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExpr, AExprKind, BoolExprType, BoolTestType, ColumnRef, FuncCall, Node, NullTestType, SubLinkType,
};

use crate::catalog::Oid;

use super::super::bind::{Binder, ColumnKind, Item, Scope, Source};
use super::super::build;
use super::super::typed::{Expr, type_expression, type_named};
use super::barrier::{Clause, never_null_column};

/// Expressions deeper than this are not looked into.
const MAX_DEPTH: usize = 24;

/// Columns of one item of the level, one of which is not null where the condition is true.
struct Present {
    items: Vec<usize>,
    /// What the item goes by, where it is not one alone.
    name: Vec<String>,
    columns: Vec<ColumnRef>,
}

impl Present {
    fn of(&self, other: &Self) -> bool {
        self.items == other.items && (self.items.len() == 1 || self.name == other.name)
    }
}

impl Binder<'_> {
    /// Null tests that hold wherever a guarded conjunct does, of what an outer join can have nulled.
    pub(super) fn presence(&self, scope: &Scope<'_>, clause: Clause, conjunct: &Node) -> Vec<Node> {
        let nulled = |id: &usize| scope.level.items.get(*id).is_some_and(|item| item.nulled.get());
        if clause == Clause::FullJoin || !(0..scope.level.items.len()).any(|id| nulled(&id)) {
            return Vec::new();
        }
        let present = self.strict_in(scope, conjunct, true, 0);
        let tested = present.iter().filter(|p| p.items.iter().any(nulled));
        tested.filter_map(|p| self.null_tests(scope, p)).collect()
    }

    fn null_tests(&self, scope: &Scope<'_>, present: &Present) -> Option<Node> {
        let items: Vec<&Item> =
            present.items.iter().map(|id| scope.level.items.get(*id)).collect::<Option<_>>()?;
        if let ([item], [id]) = (items.as_slice(), present.items.as_slice())
            && let (Source::Relation { .. }, Some(name)) = (&item.source, &item.name)
        {
            let column = never_null_column(item);
            let own = scope.item_named(name, -1).is_ok_and(|found| {
                found.is_some_and(|(at, found)| at.level.depth == scope.level.depth && found == *id)
            });
            return (own && column != "tableoid")
                .then(|| build::null_test(build::column(&[name, &column]), false));
        }
        // What computes them is a fence, or raises nothing.
        let fenced = items.iter().all(|item| {
            matches!(item.source, Source::Derived { .. } | Source::Cte(_)) && self.is_tenanted(&item.source)
        });
        let mut tests = Vec::new();
        for column in &present.columns {
            let found = self.column_found(scope, column)?;
            let total = matches!(
                found.kind,
                ColumnKind::Base { .. } | ColumnKind::System | ColumnKind::Expression { total: true }
            );
            if !total && !fenced {
                return None;
            }
            // Not `IS NOT NULL`, which looks at each field of a composite value.
            let column = build::node(NodeEnum::ColumnRef(ColumnRef { location: -1, ..column.clone() }));
            tests.push(build::distinct_from_null(column));
        }
        match tests.len() {
            0 | 1 => tests.pop(),
            _ => Some(build::or(tests)),
        }
    }

    /// What a bound expression is strict in; `top`: only whether it is true counts.
    fn strict_in(&self, scope: &Scope<'_>, node: &Node, top: bool, depth: usize) -> Vec<Present> {
        if depth > MAX_DEPTH {
            return Vec::new();
        }
        let each = |nodes: &[Node], top: bool| -> Vec<Vec<Present>> {
            nodes.iter().map(|n| self.strict_in(scope, n, top, depth + 1)).collect()
        };
        let inner = |arg: &Option<Box<Node>>, top: bool| {
            arg.as_deref().map_or_else(Vec::new, |n| self.strict_in(scope, n, top, depth + 1))
        };
        match &node.node {
            Some(NodeEnum::ColumnRef(column)) => self.column_present(scope, column),
            Some(NodeEnum::AExpr(expr)) => self.strict_operation(scope, node, expr, top, depth),
            Some(NodeEnum::FuncCall(call)) if self.is_strict_call(scope, node, call) => {
                any(each(&call.args, false))
            }
            Some(NodeEnum::TypeCast(cast)) => {
                let target = cast.type_name.as_ref().and_then(|name| type_named(self.catalog, name));
                let source = cast.arg.as_deref().and_then(|arg| self.type_of(scope, arg));
                match source.zip(target) {
                    Some((source, (target, _))) if self.is_strict_cast(source.oid, target) => {
                        inner(&cast.arg, top)
                    }
                    _ => Vec::new(),
                }
            }
            Some(NodeEnum::CollateClause(collate)) => inner(&collate.arg, top),
            Some(NodeEnum::NullTest(test))
                if top && test.nulltesttype == NullTestType::IsNotNull as i32 && !test.argisrow =>
            {
                inner(&test.arg, false)
            }
            Some(NodeEnum::BooleanTest(test)) if top => match BoolTestType::try_from(test.booltesttype) {
                Ok(BoolTestType::IsTrue | BoolTestType::IsFalse | BoolTestType::IsNotUnknown) => {
                    inner(&test.arg, false)
                }
                _ => Vec::new(),
            },
            Some(NodeEnum::BoolExpr(logic)) => match BoolExprType::try_from(logic.boolop) {
                Ok(BoolExprType::AndExpr) if top => any(each(&logic.args, true)),
                Ok(BoolExprType::AndExpr | BoolExprType::OrExpr) => every(each(&logic.args, top)),
                Ok(BoolExprType::NotExpr) => any(each(&logic.args, false)),
                _ => Vec::new(),
            },
            Some(NodeEnum::SubLink(sublink))
                if top && sublink.sub_link_type == SubLinkType::AnySublink as i32 =>
            {
                let operator = build::names(&sublink.oper_name).unwrap_or_default();
                let name = operator.last().copied().unwrap_or("=");
                let row =
                    matches!(sublink.testexpr.as_deref().map(|n| &n.node), Some(Some(NodeEnum::RowExpr(_))));
                if self.is_strict_operator(name, 2) && !row {
                    inner(&sublink.testexpr, false)
                } else {
                    Vec::new()
                }
            }
            _ => Vec::new(),
        }
    }

    fn column_present(&self, scope: &Scope<'_>, column: &ColumnRef) -> Vec<Present> {
        let Some(found) = self.column_found(scope, column) else { return Vec::new() };
        if found.depth != scope.level.depth || found.whole_row || !found.perhaps.is_empty() {
            return Vec::new();
        }
        let names = build::names(&column.fields).unwrap_or_default();
        let name = names.into_iter().map(str::to_owned).collect();
        vec![Present { items: found.items, name, columns: vec![column.clone()] }]
    }

    fn strict_operation(
        &self,
        scope: &Scope<'_>,
        node: &Node,
        expr: &AExpr,
        top: bool,
        depth: usize,
    ) -> Vec<Present> {
        let side = |side: &Option<Box<Node>>| {
            side.as_deref().map_or_else(Vec::new, |n| self.strict_in(scope, n, false, depth + 1))
        };
        let is_row = |side: &Option<Box<Node>>| {
            matches!(side.as_deref().map(|n| &n.node), Some(Some(NodeEnum::RowExpr(_))))
        };
        let names = build::names(&expr.name).unwrap_or_default();
        let name = names.last().copied().unwrap_or_default();
        let sides = 1 + usize::from(expr.lexpr.is_some());
        if is_row(&expr.lexpr) || is_row(&expr.rexpr) {
            return self.strict_rows(scope, expr, name, top, depth);
        }
        match AExprKind::try_from(expr.kind) {
            Ok(AExprKind::AexprOp | AExprKind::AexprLike | AExprKind::AexprIlike) => {
                let columns = |c: &ColumnRef| self.column_info(scope, c);
                let typed = type_expression(node, &columns, &|n| self.judged_type(n), self.catalog);
                let strict = match &typed {
                    Expr::Op { operator, .. } => self.is_strict_function(operator.function),
                    _ => self.is_strict_operator(name, sides),
                };
                if strict { any(vec![side(&expr.lexpr), side(&expr.rexpr)]) } else { Vec::new() }
            }
            // Over an empty array it is false, whatever the left side is.
            Ok(AExprKind::AexprOpAny) if self.is_strict_operator(name, 2) => match top {
                true => any(vec![side(&expr.lexpr), side(&expr.rexpr)]),
                false => side(&expr.rexpr),
            },
            Ok(AExprKind::AexprIn) if self.is_strict_operator(name, 2) => side(&expr.lexpr),
            Ok(AExprKind::AexprBetween | AExprKind::AexprNotBetween)
                if self.is_strict_operator("<", 2)
                    && self.is_strict_operator(">", 2)
                    && self.is_strict_operator("<=", 2)
                    && self.is_strict_operator(">=", 2) =>
            {
                side(&expr.lexpr)
            }
            _ => Vec::new(),
        }
    }

    /// `(a, b) = (c, d)` is an AND of comparisons, `<>` an OR; by order they are one of their own.
    fn strict_rows(
        &self,
        scope: &Scope<'_>,
        expr: &AExpr,
        name: &str,
        top: bool,
        depth: usize,
    ) -> Vec<Present> {
        let plain = expr.kind == AExprKind::AexprOp as i32 && matches!(name, "=" | "<>");
        let fields = |side: &Option<Box<Node>>| match side.as_deref().map(|n| &n.node) {
            Some(Some(NodeEnum::RowExpr(row))) => Some(row.args.clone()),
            _ => None,
        };
        let Some((left, right)) = fields(&expr.lexpr).zip(fields(&expr.rexpr)) else { return Vec::new() };
        if !plain || !self.is_strict_operator(name, 2) {
            return Vec::new();
        }
        let strict = |n: &Node| self.strict_in(scope, n, false, depth + 1);
        let pairs = left.iter().zip(&right).map(|(l, r)| any(vec![strict(l), strict(r)])).collect();
        if name == "=" && top { any(pairs) } else { every(pairs) }
    }

    /// Whether every operator of this name and number of sides is strict.
    pub(super) fn is_strict_operator(&self, name: &str, sides: usize) -> bool {
        let all = self.catalog.operators_named(name);
        let mut fitting = all.iter().filter(|o| (o.left == 0) == (sides == 1)).peekable();
        fitting.peek().is_some() && fitting.all(|o| self.is_strict_function(o.function))
    }

    pub(super) fn is_strict_function(&self, oid: Oid) -> bool {
        self.catalog.function_by_oid(oid).is_some_and(|f| f.strict)
    }

    /// Whether a conversion is strict: by function where somebody made one so, else by text. The input of a domain
    /// is not.
    fn is_strict_cast(&self, source: Oid, target: Oid) -> bool {
        let domain = self.catalog.type_by_oid(target).is_none_or(|ty| ty.base != 0);
        let cast = self.catalog.cast(source, target);
        !domain && cast.is_none_or(|cast| cast.function == 0 || self.is_strict_function(cast.function))
    }

    /// Whether a call is strict, whichever function of its name is meant.
    fn is_strict_call(&self, scope: &Scope<'_>, node: &Node, call: &FuncCall) -> bool {
        if call.over.is_some() || call.agg_filter.is_some() || call.agg_star || call.func_variadic {
            return false;
        }
        let columns = |c: &ColumnRef| self.column_info(scope, c);
        if let Expr::Call { function, .. } =
            type_expression(node, &columns, &|n| self.judged_type(n), self.catalog)
        {
            return function.strict;
        }
        let names = build::names(&call.funcname).unwrap_or_default();
        let Some(name) = names.last() else { return false };
        let all = self.catalog.functions_named(name);
        !all.is_empty() && all.iter().all(|f| f.strict && f.kind == 'f' && !f.returns_set)
    }
}

/// What is strict in one part is strict: the parts of a strict call, or of an AND.
fn any(parts: Vec<Vec<Present>>) -> Vec<Present> {
    let mut all: Vec<Present> = Vec::new();
    for present in parts.into_iter().flatten() {
        if !all.iter().any(|known| known.of(&present)) {
            all.push(present);
        }
    }
    all
}

/// What all parts are strict in: the arms of an OR.
fn every(parts: Vec<Vec<Present>>) -> Vec<Present> {
    let mut parts = parts.into_iter();
    let mut all = parts.next().unwrap_or_default();
    for part in parts {
        all.retain_mut(|known| match part.iter().find(|p| known.of(p)) {
            Some(present) => {
                let more = present.columns.iter().filter(|c| !known.columns.contains(c));
                let more: Vec<ColumnRef> = more.cloned().collect();
                known.columns.extend(more);
                true
            }
            None => false,
        });
    }
    all
}
