//! The forms that prove a row to be the tenant's, and no others.
//!
//! * `a.column OPERATOR(pg_catalog.=) $n::type`; where null rows are shared and only read, also
//!   `(… OR a.column IS NULL)`.
//! * for a child: `CASE WHEN EXISTS (SELECT 1 FROM parent p WHERE p.key OPERATOR(pg_catalog.=) a.key AND <p's own
//!   proof>) THEN true ELSE false END`, or the guard of other conditions by it, `CASE WHEN … THEN (…) ELSE false
//!   END`: it is true only where its WHEN is.
//! * a raising guard: the same CASE, whose ELSE or second WHEN casts a text that is no boolean to boolean.
//!
//! **Why these are enough.** Each is true only for a row that is the tenant's, and a top-level conjunct of AND
//! that is not true drops the row. The operator is PostgreSQL's own by its schema; the value's type is one whose
//! cast keeps every tenant apart from every other ([`is_faithful`]).

use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, ExactNumberInfo, Expr, GroupByExpr, Query, Select,
    SelectItem, SetExpr, TableFactor, Value,
};

use super::facts::{Parent, RelationFacts, Tenancy};
use super::leaf::{Leaf, leaf_of};
use super::names;

/// What a relation's rows are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// Knows the tenant's parameter and whose rows relations hold.
pub(super) struct Prover<'a> {
    pub(super) facts: &'a dyn RelationFacts,
    placeholder: String,
}

impl<'a> Prover<'a> {
    pub(super) fn new(facts: &'a dyn RelationFacts, tenant_parameter: u16) -> Self {
        Self { facts, placeholder: format!("${tenant_parameter}") }
    }

    /// Whether a condition, ANDed as it is, keeps rows of `leaf` that are not the tenant's out.
    pub(super) fn restricts(&self, condition: &Expr, leaf: &Leaf<'_>, access: Access) -> bool {
        conjuncts(condition).iter().any(|c| self.proves(c, leaf, access))
    }

    /// The same, where the condition may also be a guard: `CASE WHEN <proof> THEN … ELSE <false or an error> END`.
    pub(super) fn restricts_or_guards(&self, condition: &Expr, leaf: &Leaf<'_>, access: Access) -> bool {
        conjuncts(condition).iter().any(|c| {
            self.proves(c, leaf, access)
                || guard(c).is_some_and(|guard| {
                    guard.otherwise.stops() && self.restricts(&guard.arm.condition, leaf, access)
                })
        })
    }

    fn proves(&self, conjunct: &Expr, leaf: &Leaf<'_>, access: Access) -> bool {
        match &leaf.tenancy {
            Tenancy::Tenant { column, null_is_shared } => {
                self.is_predicate(conjunct, leaf, column)
                    || (*null_is_shared
                        && access == Access::Read
                        && self.is_predicate_or_null(conjunct, leaf, column))
            }
            Tenancy::Child { parents } => guard(conjunct).is_some_and(|guard| {
                guard.otherwise.stops()
                    && conjuncts(&guard.arm.condition)
                        .iter()
                        .any(|c| self.has_parent(c, leaf, parents, access))
            }),
            Tenancy::Shared | Tenancy::Catalog => true,
            Tenancy::Unknown => false,
        }
    }

    /// `a.column OPERATOR(pg_catalog.=) $n::type`
    fn is_predicate(&self, condition: &Expr, leaf: &Leaf<'_>, column: &str) -> bool {
        let Some((left, right)) = equality(condition) else { return false };
        leaf.is_column(self.facts, left, column) && self.is_tenant(right)
    }

    fn is_predicate_or_null(&self, condition: &Expr, leaf: &Leaf<'_>, column: &str) -> bool {
        let Expr::BinaryOp { left, op: BinaryOperator::Or, right } = bare(condition) else { return false };
        let Expr::IsNull(tested) = bare(right) else { return false };
        self.is_predicate(left, leaf, column) && leaf.is_column(self.facts, tested, column)
    }

    /// `EXISTS (…)` over one of the parents, or an OR of such.
    fn has_parent(&self, condition: &Expr, leaf: &Leaf<'_>, parents: &[Parent], access: Access) -> bool {
        match bare(condition) {
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
                self.has_parent(left, leaf, parents, access) && self.has_parent(right, leaf, parents, access)
            }
            Expr::Exists { subquery, negated: false } => parents.iter().any(|parent| {
                self.finds_parent(subquery, parent, access, &|expr, child| {
                    leaf.is_column(self.facts, expr, child)
                })
                .is_some_and(|alias| alias != leaf.alias)
            }),
            _ => false,
        }
    }

    /// Whether a sub-select gives a row only where the tenant's own `parent` row with the child's key exists.
    /// `is_key` knows the child's key by its column's name. Gives the parent's alias.
    pub(super) fn finds_parent(
        &self,
        subquery: &Query,
        parent: &Parent,
        access: Access,
        is_key: &dyn Fn(&Expr, &str) -> bool,
    ) -> Option<String> {
        let (table, selection) = only_table(subquery)?;
        let leaf = leaf_of(self.facts, table)?;
        let conditions = conjuncts(selection);
        let keyed = parent.columns.iter().all(|(child, key)| {
            conditions.iter().any(|c| {
                equality(c).is_some_and(|(left, right)| {
                    leaf.is_column(self.facts, left, key) && is_key(right, child)
                })
            })
        });
        let found = leaf.schema == parent.schema
            && leaf.name == parent.name
            && !parent.columns.is_empty()
            && keyed
            && conditions.iter().any(|c| self.proves(c, &leaf, access));
        found.then_some(leaf.alias)
    }

    /// `$n::type`, where the type keeps tenants apart.
    fn is_tenant(&self, value: &Expr) -> bool {
        let Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None } =
            bare(value)
        else {
            return false;
        };
        let Expr::Value(value) = bare(expr) else { return false };
        matches!(&value.value, Value::Placeholder(p) if *p == self.placeholder) && is_faithful(data_type)
    }

    /// A value for the tenant column: `$n::type`, or `CASE WHEN x OPERATOR(pg_catalog.=) $n::type THEN x ELSE
    /// <error> END` where `x` gives the same value each time.
    pub(super) fn is_tenant_or_raises(&self, value: &Expr) -> bool {
        if self.is_tenant(value) {
            return true;
        }
        let Some(guard) = guard(value) else { return false };
        let Some((tested, tenant)) = equality(&guard.arm.condition) else { return false };
        let kept = bare(&guard.arm.result);
        let same = kept == bare(tested) && is_steady(kept);
        self.is_tenant(tenant) && (same || self.is_tenant(kept)) && guard.otherwise.raises()
    }
}

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

/// `CASE WHEN … THEN … ELSE … END`, or `CASE WHEN … THEN … WHEN <error> THEN … END`.
pub(super) struct Guard<'q> {
    pub(super) arm: &'q CaseWhen,
    pub(super) otherwise: Otherwise<'q>,
}

/// What a guard gives where its condition is not true.
#[derive(Clone, Copy)]
pub(super) enum Otherwise<'q> {
    Value(&'q Expr),
    Error,
}

impl Otherwise<'_> {
    /// Whether nothing comes out of it.
    pub(super) fn raises(self) -> bool {
        match self {
            Otherwise::Value(value) => raises(value),
            Otherwise::Error => true,
        }
    }

    /// Whether nothing comes out of it but `false`.
    pub(super) fn stops(self) -> bool {
        let is_false =
            |value: &Expr| matches!(bare(value), Expr::Value(v) if v.value == Value::Boolean(false));
        self.raises() || matches!(self, Otherwise::Value(value) if is_false(value))
    }
}

pub(super) fn guard(expr: &Expr) -> Option<Guard<'_>> {
    let Expr::Case { operand: None, conditions, else_result, case_token: _, end_token: _ } = bare(expr)
    else {
        return None;
    };
    match (conditions.as_slice(), else_result) {
        ([arm], Some(otherwise)) => Some(Guard { arm, otherwise: Otherwise::Value(otherwise) }),
        ([arm, second], None) if raises(&second.condition) => {
            Some(Guard { arm, otherwise: Otherwise::Error })
        }
        _ => None,
    }
}

/// Whether an expression raises whenever it is evaluated: a text that begins as no boolean does, cast to
/// boolean (`boolin` takes prefixes of true, false, yes, no, on, off, and 0 and 1). What is cast on is raised
/// before.
pub(super) fn raises(expr: &Expr) -> bool {
    match bare(expr) {
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None } => {
            (is_boolean(data_type) && begins_as_no_boolean(expr)) || raises(expr)
        }
        Expr::Case { operand: None, conditions, else_result: None, case_token: _, end_token: _ } => {
            conditions.first().is_some_and(|arm| raises(&arm.condition))
        }
        _ => guard(expr).is_some_and(|guard| raises(&guard.arm.condition)),
    }
}

fn is_boolean(data_type: &DataType) -> bool {
    match data_type {
        DataType::Bool | DataType::Boolean => true,
        DataType::Custom(name, modifiers) => {
            modifiers.is_empty() && matches!(name.to_string().as_str(), "pg_catalog.bool")
        }
        _ => false,
    }
}

fn begins_as_no_boolean(expr: &Expr) -> bool {
    match bare(expr) {
        Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right: _ } => begins_as_no_boolean(left),
        Expr::BinaryOp { left, op: BinaryOperator::PGCustomBinaryOperator(name), right: _ } => {
            name.iter().map(String::as_str).eq(["pg_catalog", "||"]) && begins_as_no_boolean(left)
        }
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None } => {
            is_text(data_type) && begins_as_no_boolean(expr)
        }
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => {
                let first = text.chars().next().map(|c| c.to_ascii_lowercase());
                first.is_some_and(|c| c.is_ascii_alphabetic() && !matches!(c, 't' | 'f' | 'y' | 'n' | 'o'))
            }
            _ => false,
        },
        _ => false,
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Text => true,
        DataType::Custom(name, modifiers) => modifiers.is_empty() && name.to_string() == "pg_catalog.text",
        _ => false,
    }
}

/// Whether a type's cast keeps every two tenants apart: no length, no precision, not `char`, `name` or a float.
fn is_faithful(data_type: &DataType) -> bool {
    match data_type {
        DataType::Int(None)
        | DataType::Integer(None)
        | DataType::Int2(None)
        | DataType::Int4(None)
        | DataType::Int8(None)
        | DataType::SmallInt(None)
        | DataType::BigInt(None)
        | DataType::Text
        | DataType::Uuid
        | DataType::Varchar(None)
        | DataType::CharacterVarying(None)
        | DataType::Numeric(ExactNumberInfo::None) => true,
        DataType::Custom(name, modifiers) => {
            modifiers.is_empty()
                && match names::relation(name) {
                    Some(names::RelationName::Qualified { schema, name }) if schema == "pg_catalog" => {
                        matches!(
                            name.as_str(),
                            "int2"
                                | "int4"
                                | "int8"
                                | "oid"
                                | "text"
                                | "uuid"
                                | "varchar"
                                | "bpchar"
                                | "numeric"
                        )
                    }
                    // An enum or a domain of the application: the catalog chose it for the column.
                    Some(names::RelationName::Qualified { .. }) => true,
                    Some(names::RelationName::Bare(_)) | None => false,
                }
        }
        _ => false,
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
