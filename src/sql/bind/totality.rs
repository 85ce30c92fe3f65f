//! The types of bound expressions, and whether they are total: what the scope knows of columns and the client
//! declared of parameters, as [`super::super::leaksafe`] asks for it.

use std::cell::RefCell;

use foldhash::{HashMap, HashSet};
use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, FuncCall, Node};

use crate::catalog::Oid;

use super::super::build;
use super::super::leaksafe::Total;
use super::super::resolve::{FunctionMatch, Resolution, oid, resolve_function};
use super::super::typed::{Bound, Collation, ColumnInfo, Expr, type_expression, type_named};
use super::Binder;
use super::scope::{ColumnKind, ColumnType, Level, Scope, Source};

impl Binder<'_> {
    /// The type of a bound expression, as far as it is known.
    pub fn type_of(&self, scope: &Scope<'_>, node: &Node) -> Option<ColumnType> {
        if let Some(NodeEnum::ColumnRef(column)) = &node.node {
            return self.resolve_ref(scope, column).ok()?.ty;
        }
        if let Some(NodeEnum::FuncCall(call)) = &node.node
            && let Some(ty) = self.aggregate_type(scope, call)
        {
            return Some(ty);
        }
        let columns = |c: &ColumnRef| self.column_info(scope, c);
        match type_expression(node, &columns, &|n| self.judged_type(n), self.catalog) {
            Expr::Other(_) => self.type_of_cast(node).or_else(|| self.type_of_call(scope, node)),
            typed => column_type(&typed),
        }
    }

    /// The type of a count, and of the least or greatest value of a type that has its own such aggregate.
    fn aggregate_type(&self, scope: &Scope<'_>, call: &FuncCall) -> Option<ColumnType> {
        const INT8: ColumnType = ColumnType { oid: oid::INT8, typmod: -1, collation: 0 };
        if call.over.is_some() {
            return None;
        }
        match build::names(&call.funcname)?.as_slice() {
            ["pg_catalog", "count"] => Some(INT8),
            ["pg_catalog", name @ ("min" | "max")] => {
                let [argument] = call.args.as_slice() else { return None };
                let of = self.type_of(scope, argument)?;
                let own = |f: &&std::sync::Arc<crate::catalog::Function>| {
                    f.schema == "pg_catalog" && f.kind == 'a' && f.arguments == [of.oid] && f.result == of.oid
                };
                self.catalog.functions_named(name).iter().find(own)?;
                Some(ColumnType { typmod: -1, ..of })
            }
            _ => None,
        }
    }

    /// The type of a cast, whatever it is a cast of; not where a collation could come with the value.
    fn type_of_cast(&self, node: &Node) -> Option<ColumnType> {
        let Some(NodeEnum::TypeCast(cast)) = &node.node else { return None };
        let (oid, typmod) = type_named(self.catalog, cast.type_name.as_ref()?)?;
        let ty = self.catalog.type_by_oid(oid).filter(|ty| ty.relation == 0 && ty.collation == 0)?;
        Some(ColumnType { oid: ty.oid, typmod, collation: 0 })
    }

    /// The type of an aggregate whose arguments are of known types.
    fn type_of_call(&self, scope: &Scope<'_>, node: &Node) -> Option<ColumnType> {
        let Some(NodeEnum::FuncCall(call)) = &node.node else { return None };
        let named = call.args.iter().any(|a| matches!(a.node, Some(NodeEnum::NamedArgExpr(_))));
        if call.agg_within_group || named || call.func_variadic {
            return None;
        }
        let (schema, name) = match build::names(&call.funcname)?.as_slice() {
            [name] => (None, *name),
            [schema, name] => (Some(*schema), *name),
            _ => return None,
        };
        let arguments: Vec<ColumnType> =
            call.args.iter().map(|a| self.type_of(scope, a)).collect::<Option<_>>()?;
        let types: Vec<Oid> = arguments.iter().map(|ty| ty.oid).collect();
        let Resolution::Found(FunctionMatch::Call { result, .. }) =
            resolve_function(self.catalog, schema, name, &types, false)
        else {
            return None;
        };
        let ty = self.catalog.type_by_oid(result).filter(|ty| ty.relation == 0 && ty.kind != 'p')?;
        let collations: HashSet<Oid> = arguments.iter().map(|ty| ty.collation).filter(|c| *c != 0).collect();
        let collation = match (ty.collation, collations.len()) {
            (0, _) => 0,
            (own, 0) => own,
            (_, 1) => collations.into_iter().next()?,
            _ => return None,
        };
        Some(ColumnType { oid: result, typmod: -1, collation })
    }

    /// What kind of output a bound expression makes.
    pub fn output_kind(&mut self, scope: &Scope<'_>, node: &Node) -> ColumnKind {
        match &node.node {
            Some(NodeEnum::ColumnRef(column)) => match self.resolve_ref(scope, column) {
                Ok(found) if !found.whole_row => found.kind,
                _ => ColumnKind::Expression { total: false },
            },
            Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => ColumnKind::Expression { total: true },
            _ => ColumnKind::Expression { total: self.is_total(scope, node) },
        }
    }

    /// Whether a bound expression can be evaluated on any row without a trace.
    pub fn is_total(&mut self, scope: &Scope<'_>, node: &Node) -> bool {
        let columns = |c: &ColumnRef| self.column_info(scope, c);
        let judged = self.judge(node, &columns);
        self.accept(scope.level, judged)
    }

    /// The same for a condition of the level: what a derived table computes is a plain value to it, since that
    /// derived table becomes a fence. Its expressions are evaluated in its own scan then, on the tenant's rows, and
    /// whether they are evaluated at all depends on rows that have passed their relations' predicates.
    pub fn condition_is_total(&mut self, scope: &Scope<'_>, node: &Node) -> bool {
        let fences = RefCell::new(Vec::new());
        let columns = |c: &ColumnRef| {
            let info = self.column_info(scope, c)?;
            let fenced = if info.base { None } else { self.fenced_by(scope, c, info.type_oid) };
            let base = info.base || fenced.is_some();
            fences.borrow_mut().extend(fenced.unwrap_or_default());
            Some(ColumnInfo { base, virtual_generated: info.virtual_generated && !base, ..info })
        };
        let judged = self.judge(node, &columns);
        let total = self.accept(scope.level, judged);
        if total {
            fences
                .into_inner()
                .iter()
                .filter_map(|id| scope.level.items.get(*id))
                .for_each(|i| i.fence.set(true));
        }
        total
    }

    /// The derived tables of this level that would have to be fences for a computed column of theirs to be a plain
    /// value.
    fn fenced_by(&self, scope: &Scope<'_>, column: &ColumnRef, type_oid: Oid) -> Option<Vec<usize>> {
        let found = self.resolve_ref(scope, column).ok()?;
        let derived = |id: &usize| {
            let source = scope.level.items.get(*id).map(|item| &item.source);
            matches!(source, Some(Source::Derived { .. } | Source::Cte(_)))
        };
        let fits = found.depth == scope.level.depth
            && matches!(found.kind, ColumnKind::Expression { total: false } | ColumnKind::Virtual)
            && found.items.iter().all(derived)
            && self.is_plain_value(type_oid);
        fits.then_some(found.items)
    }

    /// Whether a computed value of the type is like a stored one: of a size that is known, or compared as it is.
    pub fn is_plain_value(&self, type_oid: Oid) -> bool {
        const PLAIN: [Oid; 16] =
            [16, 20, 21, 23, 25, 26, 700, 701, 1042, 1043, 1082, 1083, 1114, 1184, 1700, 2950];
        PLAIN.contains(&type_oid) || self.catalog.type_by_oid(type_oid).is_some_and(|ty| ty.kind == 'e')
    }

    fn judge(&self, node: &Node, columns: &dyn Fn(&ColumnRef) -> Option<ColumnInfo>) -> Total {
        self.leaksafe.judge(self.catalog, node, columns, &|n| self.judged_type(n))
    }

    /// Takes a judgement over, with all that it relies on.
    fn accept(&mut self, level: &Level, judged: Total) -> bool {
        let (total, pins) = match judged {
            Total::Yes { pins, bind_checks, .. } if self.cautious && !bind_checks.is_empty() => (false, pins),
            Total::Yes { pins, indexes, .. } if !level.rely_on(&indexes) => (false, pins),
            Total::Yes { pins, bind_checks, .. } => {
                self.bind_checks.extend(bind_checks);
                (true, pins)
            }
            Total::No { pins, .. } => (false, pins),
        };
        for location in pins {
            self.pin(location);
        }
        total
    }

    /// The declared type of a parameter; `any` for one that nothing is known of.
    fn parameter_type(&self, number: i32) -> Oid {
        let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
        let declared = index.and_then(|i| self.statement.parameter_types.get(i)).copied();
        declared.filter(|declared| !matches!(*declared, 0 | oid::UNKNOWN)).unwrap_or(oid::ANY)
    }

    /// The type of a parameter as the judge of totality takes it: none where its only place types it.
    pub fn judged_type(&self, number: i32) -> Option<Oid> {
        match self.parameter_type(number) {
            oid::ANY if self.parameter_uses.get(&number) == Some(&1) => None,
            declared => Some(declared),
        }
    }

    pub fn column_info(&self, scope: &Scope<'_>, column: &ColumnRef) -> Option<ColumnInfo> {
        let found = self.resolve_ref(scope, column).ok()?;
        let ty = found.ty?;
        let (base, bounded) = match &found.kind {
            ColumnKind::Base { relation, number } => {
                (self.has_trusted_indexes(*relation), self.bound_of(*relation, *number))
            }
            ColumnKind::System => (true, Some(Bound::Declared)),
            ColumnKind::Expression { total } => (*total, None),
            ColumnKind::Virtual | ColumnKind::Denied => (false, None),
        };
        Some(ColumnInfo {
            type_oid: ty.oid,
            typmod: ty.typmod,
            collation: ty.collation,
            bounded,
            virtual_generated: found.kind == ColumnKind::Virtual,
            base,
            outer: found.depth < scope.level.depth,
            origin: match found.kind {
                ColumnKind::Base { relation, number } => Some((relation, number)),
                _ => None,
            },
        })
    }

    /// Whether what an index of the relation compares its keys with is trusted: a condition may be looked up in it.
    pub fn has_trusted_indexes(&self, relation: Oid) -> bool {
        self.catalog.relation(relation).is_some_and(|r| r.trusted_opclasses)
    }

    /// Why a value of the column cannot be longer than PostgreSQL's functions can take: `varchar(n)`, `char(n)`,
    /// or the key of a btree.
    fn bound_of(&self, relation: Oid, number: i16) -> Option<Bound> {
        let relation = self.catalog.relation(relation)?;
        let column = relation.column_numbered(number)?;
        if matches!(column.type_oid, 1042 | 1043) && column.typmod > 4 {
            return Some(Bound::Declared);
        }
        relation.btree_keys.iter().find(|(key, _)| *key == number).map(|(_, index)| Bound::Index(*index))
    }

    /// Whether `left = right` between two columns of these types can raise on no value.
    pub fn equality_is_total(&self, left: ColumnType, right: ColumnType) -> bool {
        let info = |ty: ColumnType| ColumnInfo {
            type_oid: ty.oid,
            typmod: ty.typmod,
            collation: ty.collation,
            bounded: None,
            virtual_generated: false,
            base: true,
            outer: false,
            origin: None,
        };
        let columns = |column: &ColumnRef| match build::names(&column.fields).as_deref() {
            Some(["l"]) => Some(info(left)),
            _ => Some(info(right)),
        };
        // By the search path, as IN and USING find it.
        let equality = build::unqualified_equals(build::column(&["l"]), build::column(&["r"]));
        matches!(
            self.leaksafe.judge(self.catalog, &equality, &columns, &|_| None),
            Total::Yes { bind_checks, indexes, .. } if bind_checks.is_empty() && indexes.is_empty()
        )
    }
}

/// The type of a typed expression, where something can be said of its values.
fn column_type(typed: &Expr) -> Option<ColumnType> {
    let ty = match (typed, typed.ty()) {
        (Expr::Other(_), _) => return None,
        (_, ty) if ty.oid == oid::UNKNOWN || ty.oid == oid::ANY => return None,
        (_, ty) => ty,
    };
    let collation = match ty.collation {
        Collation::None => 0,
        Collation::Implicit(collation) => collation,
        // Whoever compares such a value could raise: no type, so nothing is total over it.
        Collation::Explicit(_) | Collation::Indeterminate => return None,
    };
    Some(ColumnType { oid: ty.oid, typmod: ty.typmod, collation })
}

/// How often each `$number` stands in a text, at most: strings and comments count too.
pub(super) fn parameter_uses(text: &str) -> HashMap<i32, usize> {
    let mut uses = HashMap::default();
    for after in text.split('$').skip(1) {
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        if let Some(number) = after.get(..digits).and_then(|d| d.parse().ok()) {
            let count: &mut usize = uses.entry(number).or_default();
            *count = count.saturating_add(1);
        }
    }
    uses
}

#[cfg(test)]
mod tests {
    use super::parameter_uses;

    #[test]
    fn every_mention_of_a_parameter_counts() {
        let uses = parameter_uses("a = $1 and b = $12 or c = $1 -- $1\n and d = '$2' || $tag$x$tag$");
        assert_eq!((uses.get(&1), uses.get(&12), uses.get(&2)), (Some(&3), Some(&1), Some(&1)));
    }
}
