//! Keys: the row that a written row points at is the tenant's own.
//!
//! * The key of a child is `CASE WHEN EXISTS (parent …) THEN key ELSE <error> END`, or the row's own level filters by
//!   that EXISTS.
//! * A foreign key that does not carry the tenant is the same, but may be null: the EXISTS stands beside `key IS NULL`
//!   in an OR. It is also null where one of its columns is written as NULL, or left out and has no default
//!   (MATCH SIMPLE; with MATCH FULL the server refuses what is null in part).
//! * A value that must be evaluated once stands in a derived table: `(SELECT CASE … x.v … END FROM (SELECT <value> AS v
//!   OFFSET 0) x)`. Of several keys on one column, one stands in the value of the other.

use sqlparser::ast::{BinaryOperator, Expr, Query, Select, SelectItem, SetExpr, TableFactor, Value};

use super::facts::{ForeignKey, Parent};
use super::forms::{bare, conjuncts, is_steady, only_table};
use super::guard::guard;
use super::leaf::Leaf;
use super::names;
use super::predicate::{Access, Prover};

/// What a statement writes into a column.
#[derive(Clone, Copy)]
pub(super) enum Written<'q> {
    /// This value.
    Value(&'q Expr),
    /// Its default.
    Default,
    /// Nothing: the row keeps what it has.
    Kept,
    /// It cannot be told.
    Unknown,
}

impl<'q> Written<'q> {
    /// A value where one stands.
    pub(super) fn of(value: Option<&'q Expr>) -> Self {
        match value {
            None => Self::Unknown,
            // PostgreSQL's own DEFAULT is a keyword: a column of that name is printed in quotes.
            Some(Expr::Identifier(word))
                if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default") =>
            {
                Self::Default
            }
            Some(value) => Self::Value(value),
        }
    }
}

/// The key by which a written row names a row of another relation.
pub(super) struct Key<'k, 'q> {
    /// The value written into a column of the child.
    pub(super) value: &'k dyn Fn(&str) -> Option<&'q Expr>,
    /// The row whose other columns stay as they are.
    pub(super) kept: Option<&'k Leaf<'k>>,
    /// A null key is nobody's, and may be written.
    pub(super) nullable: bool,
}

impl Prover<'_> {
    /// Whether a written foreign key is null, or points at the tenant's own row.
    pub(super) fn holds_key<'q>(
        &self,
        key: &ForeignKey,
        selection: Option<&Expr>,
        kept: Option<&Leaf<'_>>,
        written: &dyn Fn(&str) -> Written<'q>,
    ) -> bool {
        let columns = || key.target.columns.iter().map(|(own, _)| own);
        let null = |own: &String| match written(own) {
            Written::Value(value) => is_null(value),
            Written::Default => key.null_by_default.contains(own),
            Written::Kept | Written::Unknown => false,
        };
        let told = |own: &String| match written(own) {
            Written::Value(_) => true,
            Written::Kept => kept.is_some(),
            Written::Default | Written::Unknown => false,
        };
        let value = |own: &str| match written(own) {
            Written::Value(value) => Some(value),
            Written::Default | Written::Kept | Written::Unknown => None,
        };
        columns().any(null)
            || (columns().all(told)
                && self.has_own_parent(&key.target, selection, &Key { value: &value, kept, nullable: true }))
    }

    /// Whether a written row is let through only where its parent is the tenant's own: by the guard of one of
    /// its key's values, or by its level's condition.
    pub(super) fn has_own_parent(
        &self,
        parent: &Parent,
        selection: Option<&Expr>,
        key: &Key<'_, '_>,
    ) -> bool {
        let guards = parent.columns.iter().filter_map(|(child, _)| guard(once((key.value)(child)?)));
        let raising = guards.filter(|guard| guard.otherwise.raises()).map(|guard| &guard.arm.condition);
        let filters = selection.map(conjuncts).unwrap_or_default();
        let filtering = filters.iter().filter_map(|c| guard(c));
        let filtering = filtering.filter(|guard| guard.otherwise.stops()).map(|guard| &guard.arm.condition);
        raising
            .chain(filtering)
            .any(|condition| conjuncts(condition).iter().any(|c| self.is_own(c, parent, key)))
            || self.has_own_parent_beneath(parent, selection, key)
    }

    /// The same for the value that another key's guard lets through.
    fn has_own_parent_beneath(&self, parent: &Parent, selection: Option<&Expr>, key: &Key<'_, '_>) -> bool {
        parent.columns.iter().any(|(outer, _)| {
            let Some(inner) = (key.value)(outer).and_then(beneath) else { return false };
            let value = |child: &str| if child == outer { Some(inner) } else { (key.value)(child) };
            self.has_own_parent(parent, selection, &Key { value: &value, ..*key })
        })
    }

    /// `EXISTS (parent …)`; where a null key is nobody's, also `key IS NULL OR … OR EXISTS (parent …)`.
    fn is_own(&self, condition: &Expr, parent: &Parent, key: &Key<'_, '_>) -> bool {
        match bare(condition) {
            Expr::Exists { subquery, negated: false } => self.exists_for(subquery, parent, key),
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } if key.nullable => {
                self.is_own(left, parent, key) && self.is_own(right, parent, key)
            }
            Expr::IsNull(tested) if key.nullable => {
                parent.columns.iter().any(|(child, _)| is_written(tested, child, parent, key))
            }
            _ => false,
        }
    }

    fn exists_for(&self, subquery: &Query, parent: &Parent, key: &Key<'_, '_>) -> bool {
        let alias = only_table(subquery).and_then(|(table, _)| super::leaf::leaf_of(self.facts, table));
        let Some(alias) = alias.map(|leaf| leaf.alias) else { return false };
        let found = self.finds_parent(subquery, parent, Access::Write, &|expr, child| match (
            (key.value)(child),
            key.kept,
        ) {
            (Some(_), _) => is_free_of(expr, &alias) && is_written(expr, child, parent, key),
            (None, Some(leaf)) => leaf.is_column(self.facts, expr, child),
            (None, None) => false,
        });
        found.is_some() && key.kept.is_none_or(|leaf| leaf.alias != alias)
    }
}

/// Whether an expression is the value that is written into a column of the key, or stands for it: a column of a
/// derived table beside the key's guard that holds just it.
fn is_written(expr: &Expr, child: &str, parent: &Parent, key: &Key<'_, '_>) -> bool {
    let Some(written) = (key.value)(child) else { return false };
    if bare(expr) == plain(written) {
        return true;
    }
    let guards = parent.columns.iter().filter_map(|(c, _)| scalar((key.value)(c)?));
    let mut sources = guards.filter_map(|(select, _)| source_of(select, expr));
    is_steady(written) && sources.any(|source| bare(source) == bare(written))
}

/// A written value without its guard.
fn plain(value: &Expr) -> &Expr {
    let value = once(value);
    guard(value).map_or_else(|| bare(value), |guard| bare(&guard.arm.result))
}

/// The value that a scalar sub-select of one item gives: `(SELECT <value> FROM (SELECT … AS v) x)` evaluates what
/// its value is made of once.
fn once(value: &Expr) -> &Expr {
    scalar(value).map_or(value, |(_, inner)| inner)
}

fn scalar(value: &Expr) -> Option<(&Select, &Expr)> {
    let Expr::Subquery(query) = bare(value) else { return None };
    let SetExpr::Select(select) = &*query.body else { return None };
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(inner)] => Some((select, inner)),
        _ => None,
    }
}

/// What the guard of a value lets through, where that stands in a derived table: `x.v` of `(SELECT CASE … THEN x.v …
/// FROM (SELECT <this> AS v) x)`.
fn beneath(value: &Expr) -> Option<&Expr> {
    let (select, inner) = scalar(value)?;
    let guard = guard(inner).filter(|guard| guard.otherwise.raises())?;
    source_of(select, &guard.arm.result)
}

/// What stands in the derived table of `select` behind the column `x.v`.
fn source_of<'q>(select: &'q Select, column: &Expr) -> Option<&'q Expr> {
    let Expr::CompoundIdentifier(parts) = bare(column) else { return None };
    let [table, name] = parts.as_slice() else { return None };
    select.from.iter().find_map(|item| {
        let TableFactor::Derived { subquery, alias: Some(alias), lateral: false, .. } = &item.relation else {
            return None;
        };
        let SetExpr::Select(inner) = &*subquery.body else { return None };
        let known = names::fold(&alias.name) == names::fold(table) && alias.columns.is_empty();
        match inner.projection.as_slice() {
            [SelectItem::ExprWithAlias { expr, alias }] if known => {
                (names::fold(alias) == names::fold(name)).then_some(expr)
            }
            _ => None,
        }
    })
}

fn is_null(value: &Expr) -> bool {
    match bare(value) {
        Expr::Value(value) => value.value == Value::Null,
        Expr::Cast { expr, .. } => is_null(expr),
        _ => false,
    }
}

/// Whether a value is the same inside a sub-select over `alias`: a constant, or a column of another item by
/// name. It is also the same each time.
fn is_free_of(value: &Expr, alias: &str) -> bool {
    match bare(value) {
        Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::Cast { expr, .. } => is_free_of(expr, alias),
        Expr::CompoundIdentifier(parts) => parts.first().is_some_and(|first| names::fold(first) != alias),
        _ => false,
    }
}
