//! What a place in a statement is, and the changes that several mutations share.

use sqlparser::ast::{
    BinaryOperator, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, Select,
    SetExpr, Statement, TableFactor, TableWithJoins, Value,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserOptions};

use super::{Concern, TENANT};

pub fn parse(sql: &str) -> Statement {
    let mut parsed = Parser::new(&PostgreSqlDialect {})
        .with_options(ParserOptions::new().with_unescape(false))
        .with_recursion_limit(500)
        .try_with_sql(sql)
        .and_then(|mut parser| parser.parse_statements())
        .unwrap_or_else(|e| panic!("{e}: {sql}"));
    parsed.remove(0)
}

pub fn expression(sql: &str) -> Expr {
    let dialect = PostgreSqlDialect {};
    Parser::new(&dialect).try_with_sql(sql).and_then(|mut p| p.parse_expr()).expect("an expression")
}

pub fn factor(sql: &str) -> TableFactor {
    let dialect = PostgreSqlDialect {};
    Parser::new(&dialect).try_with_sql(sql).and_then(|mut p| p.parse_table_factor()).expect("an item of FROM")
}

pub fn is_tenant_value(expr: &Expr) -> bool {
    matches!(expr, Expr::Cast { expr, .. } if matches!(&**expr, Expr::Value(v) if v.value == Value::Placeholder(TENANT.into())))
}

pub fn is_equality(expr: &Expr) -> Option<(&Expr, &Expr)> {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::PGCustomBinaryOperator(_), right } => Some((left, right)),
        _ => None,
    }
}

pub fn is_predicate(expr: &Expr) -> bool {
    is_equality(expr).is_some_and(|(_, right)| is_tenant_value(right))
}

pub fn is_look_up(expr: &Expr) -> bool {
    matches!(expr, Expr::Case { .. }) && expr.to_string().contains("pg_catalog.regclass")
}

pub fn is_parent_key(expr: &Expr) -> bool {
    is_equality(expr).is_some_and(|(_, right)| !is_tenant_value(right))
}

pub fn is_key_equality(expr: &Expr) -> bool {
    let Expr::BinaryOp { op: BinaryOperator::PGCustomBinaryOperator(name), .. } = expr else { return false };
    is_parent_key(expr) && name.last().is_some_and(|name| name == "=")
}

pub fn is_parent_lookup(query: &Query) -> bool {
    match &*query.body {
        SetExpr::Select(select) => {
            select.selection.as_ref().is_some_and(|s| conjuncts(s).into_iter().any(is_parent_key))
        }
        _ => false,
    }
}

pub fn is_guard(expr: &Expr) -> bool {
    let Expr::Case { conditions, .. } = expr else { return false };
    let result = &conditions[0].result;
    !is_tenant_value(result) && !matches!(result, Expr::Value(_) | Expr::CompoundIdentifier(_))
}

/// A CASE over a predicate or a parent: the proof itself, or a guard around the client's condition.
pub fn case_concern(expr: &Expr) -> Option<Concern> {
    let Expr::Case { conditions, .. } = expr else { return None };
    let condition = &conditions.first()?.condition;
    let looks_up = conjuncts(condition).into_iter().any(|c| match c {
        Expr::Exists { subquery, .. } => is_parent_lookup(subquery),
        Expr::BinaryOp { op: BinaryOperator::Or, .. } => true,
        c => is_predicate(c),
    });
    looks_up.then_some(Concern::Tenancy)
}

pub fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Nested(inner) => conjuncts(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            [conjuncts(left), conjuncts(right)].concat()
        }
        other => vec![other],
    }
}

pub fn holds_proof(expr: &Expr) -> bool {
    conjuncts(expr).into_iter().any(|c| is_predicate(c) || is_parent_key(c) || case_concern(c).is_some())
}

pub fn replace(expr: &mut Expr, is_place: fn(&Expr) -> bool, with: impl Fn(Expr) -> Expr) -> Option<Concern> {
    is_place(expr).then(|| *expr = with(expr.clone())).map(|()| Concern::Tenancy)
}

pub fn operator(expr: &mut Expr, with: BinaryOperator) -> Option<Concern> {
    match expr {
        Expr::BinaryOp { op: op @ BinaryOperator::PGCustomBinaryOperator(_), .. } => {
            *op = with;
            Some(Concern::Tenancy)
        }
        _ => None,
    }
}

pub fn rename_column(expr: &mut Expr, change: fn(&mut Vec<Ident>)) -> Option<Concern> {
    if !is_predicate(expr) {
        return None;
    }
    let Expr::BinaryOp { left, .. } = expr else { return None };
    let Expr::CompoundIdentifier(parts) = &mut **left else { return None };
    change(parts);
    if let [only] = parts.as_slice() {
        **left = Expr::Identifier(only.clone());
    }
    Some(Concern::Tenancy)
}

pub fn rename_parent_key(expr: &mut Expr, column: &str) -> Option<Concern> {
    if !is_key_equality(expr) {
        return None;
    }
    let Expr::BinaryOp { left, .. } = expr else { return None };
    let Expr::CompoundIdentifier(parts) = &mut **left else { return None };
    *parts.get_mut(1)? = Ident::new(column);
    Some(Concern::Tenancy)
}

pub fn and_to_or(expr: &mut Expr) -> Option<Concern> {
    let concern = if holds_proof(expr) { Concern::Tenancy } else { Concern::Shape };
    match expr {
        Expr::BinaryOp { op: op @ BinaryOperator::And, .. } => {
            *op = BinaryOperator::Or;
            Some(concern)
        }
        _ => None,
    }
}

pub fn drop_condition(condition: &mut Option<Expr>) -> Option<Concern> {
    let dropped = condition.take()?;
    Some(if holds_proof(&dropped) { Concern::Tenancy } else { Concern::Shape })
}

pub fn widen_condition(condition: &mut Option<Expr>) -> Option<Concern> {
    let before = condition.take()?;
    let concern = if holds_proof(&before) { Concern::Tenancy } else { Concern::Shape };
    *condition = Some(either(nested(before), expression("true")));
    Some(concern)
}

/// Takes the first predicate out of a condition, and leaves `true`.
pub fn take_predicate(condition: &mut Expr) -> Option<Expr> {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            take_predicate(left).or_else(|| take_predicate(right))
        }
        Expr::Nested(inner) => take_predicate(inner),
        predicate if is_predicate(predicate) => Some(std::mem::replace(predicate, expression("true"))),
        _ => None,
    }
}

pub fn outer_condition(from: &mut [TableWithJoins]) -> Option<&mut Expr> {
    from.iter_mut().flat_map(|item| &mut item.joins).find_map(|join| match &mut join.join_operator {
        JoinOperator::Left(JoinConstraint::On(c))
        | JoinOperator::LeftOuter(JoinConstraint::On(c))
        | JoinOperator::Right(JoinConstraint::On(c))
        | JoinOperator::RightOuter(JoinConstraint::On(c)) => Some(c),
        _ => None,
    })
}

/// Changes the first join's kind; a matter of tenancy where a side that it newly nulls is a tenant relation.
pub fn change_join(
    select: &mut Select,
    left: bool,
    right: bool,
    kind: fn(JoinConstraint) -> JoinOperator,
) -> Option<Concern> {
    let item = select.from.iter_mut().find(|item| !item.joins.is_empty())?;
    let nulled = (left && holds_tenant(&item.relation)) || (right && holds_tenant(&item.joins[0].relation));
    let join = item.joins.first_mut()?;
    let constraint = match &join.join_operator {
        JoinOperator::Join(c) | JoinOperator::Inner(c) => c.clone(),
        JoinOperator::Left(c) | JoinOperator::LeftOuter(c) if left => c.clone(),
        JoinOperator::Right(c) | JoinOperator::RightOuter(c) if right => c.clone(),
        _ => return None,
    };
    let already = matches!(
        (&join.join_operator, right, left),
        (JoinOperator::Left(_) | JoinOperator::LeftOuter(_), true, false)
    );
    join.join_operator = kind(constraint);
    (!already).then_some(if nulled { Concern::Tenancy } else { Concern::Shape })
}

pub fn holds_tenant(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { name, .. } => {
            name.to_string().starts_with("app.") && name.to_string() != "app.countries"
        }
        _ => false,
    }
}

pub fn factors(item: &mut TableWithJoins) -> Vec<&mut TableFactor> {
    std::iter::once(&mut item.relation).chain(item.joins.iter_mut().map(|join| &mut join.relation)).collect()
}

pub fn only_relation(factor: &TableFactor) -> Option<TableFactor> {
    let TableFactor::Derived { subquery, .. } = factor else { return None };
    let SetExpr::Select(select) = &*subquery.body else { return None };
    match select.from.as_slice() {
        [item] if item.joins.is_empty() && holds_tenant(&item.relation) => Some(item.relation.clone()),
        _ => None,
    }
}

pub fn remove_value(source: &mut Query, place: usize) {
    match &mut *source.body {
        SetExpr::Values(values) => values.rows.iter_mut().for_each(|row| drop(row.content.remove(place))),
        SetExpr::Select(select) => drop(select.projection.remove(place)),
        _ => {}
    }
}

pub fn item(sql: &str) -> TableWithJoins {
    TableWithJoins { relation: factor(sql), joins: Vec::new() }
}

pub fn named(parts: &[&str]) -> ObjectName {
    ObjectName(parts.iter().map(|part| ObjectNamePart::Identifier(Ident::new(*part))).collect())
}

pub fn left_of(expr: &Expr) -> Expr {
    is_equality(expr).map(|(left, _)| left.clone()).expect("an equality")
}

pub fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

pub fn either(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Or, right: Box::new(right) }
}

pub fn both(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(nested(left)), op: BinaryOperator::And, right: Box::new(right) }
}
