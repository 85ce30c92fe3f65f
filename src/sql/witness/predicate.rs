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

use sqlparser::ast::{BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Query, Value};

use super::facts::{Parent, RelationFacts, Tenancy};
use super::forms::{bare, conjuncts, equality, is_steady, only_table};
use super::guard::guard;
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
