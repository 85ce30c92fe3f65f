//! Forms of expressions and queries that the witness knows, whatever they prove.

use sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, TableFactor, Value,
};

// === forms ===

/// The conjuncts of a condition, parentheses aside.
pub(super) fn conjuncts(condition: &Expr) -> Vec<&Expr> {
    let mut found = Vec::new();
    let mut open = vec![condition];
    while let Some(next) = open.pop() {
        match next {
            Expr::Nested(inner) => open.push(inner),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => open.extend([&**right, &**left]),
            conjunct => found.push(conjunct),
        }
    }
    found
}

/// An expression without the parentheses around it.
pub(super) fn bare(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// The sides of `left OPERATOR(pg_catalog.=) right`. A bare `=` is not it: the search path chooses that one.
pub(super) fn equality(condition: &Expr) -> Option<(&Expr, &Expr)> {
    match bare(condition) {
        Expr::BinaryOp { left, op: BinaryOperator::PGCustomBinaryOperator(name), right } => {
            (name.iter().map(String::as_str).eq(["pg_catalog", "="])).then_some((&**left, &**right))
        }
        _ => None,
    }
}

/// Whether an expression gives the same value each time it is evaluated for one row.
pub(super) fn is_steady(expr: &Expr) -> bool {
    match bare(expr) {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::Cast { expr, .. } => is_steady(expr),
        _ => false,
    }
}

/// `SELECT 1 FROM <one table> WHERE …` and nothing more: with HAVING, an aggregate or LIMIT it could give a row
/// where there is none.
pub(super) fn only_table(query: &Query) -> Option<(&TableFactor, &Expr)> {
    let Query {
        with: None,
        body,
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks,
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators,
    } = query
    else {
        return None;
    };
    let SetExpr::Select(select) = &**body else { return None };
    let Select {
        distinct: None, projection, from, selection: Some(selection), group_by, having: None, ..
    } = &**select
    else {
        return None;
    };
    let ungrouped = matches!(group_by, GroupByExpr::Expressions(keys, modifiers) if keys.is_empty() && modifiers.is_empty());
    let one = matches!(projection.as_slice(), [SelectItem::UnnamedExpr(Expr::Value(value))]
        if matches!(value.value, Value::Number(..)));
    match from.as_slice() {
        [item]
            if item.joins.is_empty() && ungrouped && one && locks.is_empty() && pipe_operators.is_empty() =>
        {
            Some((&item.relation, selection))
        }
        _ => None,
    }
}
