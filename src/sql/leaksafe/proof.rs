//! An index on the very expression is a proof: it has evaluated it on every stored row, so it cannot raise on one.
//!
//! The expression must be of one column, read once, and of strict functions alone: the row that an outer join makes of
//! nulls was never indexed, but it is never evaluated on either. Its functions are the server's own, immutable, and
//! known not to recurse over the value.

use foldhash::HashMap;
use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, Node};

use crate::catalog::{Function, Oid, Relation, Snapshot};

use super::super::build;
use super::super::parse::parse_definition;
use super::super::resolve::{CastPath, oid};
use super::super::typed::{ColumnInfo, Expr, type_expression};
use super::total::is_builtin;
use super::{LeakSafe, types};

/// An expression that an index has evaluated on every row of its relation.
#[derive(Debug, Clone)]
pub(super) struct Proof {
    expr: Expr,
    /// Its value is no longer than the key of a btree can be.
    pub bounded: bool,
    /// The index.
    pub index: Oid,
}

/// The proofs that the catalog's indexes give, by relation.
pub(super) fn proofs(list: &LeakSafe, catalog: &Snapshot) -> HashMap<Oid, Vec<Proof>> {
    let mut proofs: HashMap<Oid, Vec<Proof>> = HashMap::default();
    for relation in catalog.relations().filter(|r| r.trusted_opclasses) {
        for index in &relation.index_expressions {
            let expr = typed(catalog, relation, &index.expression);
            let Some(expr) = expr.filter(|e| columns(e).len() == 1 && is_provable(list, catalog, e)) else {
                continue;
            };
            proofs.entry(relation.oid).or_default().push(Proof {
                expr,
                bounded: index.btree,
                index: index.index,
            });
        }
    }
    proofs
}

/// The proof that an expression cannot raise on a stored row.
pub(super) fn proof_of<'l>(proofs: &'l HashMap<Oid, Vec<Proof>>, expr: &Expr) -> Option<&'l Proof> {
    if !matches!(expr, Expr::Op { .. } | Expr::Call { .. } | Expr::Cast { .. }) || proofs.is_empty() {
        return None;
    }
    let columns = columns(expr);
    let [Some((relation, _))] = columns.as_slice() else { return None };
    proofs.get(relation)?.iter().find(|proof| is_same(&proof.expr, expr))
}

/// Byte offsets of the literals of an expression.
pub(super) fn literals(expr: &Expr, found: &mut Vec<i32>) {
    match expr {
        Expr::Const { location, .. } => found.push(*location),
        Expr::Cast { argument, .. } => literals(argument, found),
        Expr::Op { arguments, .. } | Expr::Call { arguments, .. } => {
            arguments.iter().for_each(|argument| literals(argument, found));
        }
        _ => {}
    }
}

fn typed(catalog: &Snapshot, relation: &Relation, expression: &str) -> Option<Expr> {
    let node = parse_definition(&format!("SELECT {expression}")).ok()?;
    let Some(NodeEnum::SelectStmt(select)) = node.node else { return None };
    let Some(NodeEnum::ResTarget(target)) = select.target_list.into_iter().next()?.node else { return None };
    let value: Node = *target.val?;
    let column = |reference: &ColumnRef| {
        let names = build::names(&reference.fields)?;
        let [name] = names.as_slice() else { return None };
        let column = relation.column(name)?;
        Some(ColumnInfo {
            type_oid: column.type_oid,
            typmod: column.typmod,
            collation: column.collation,
            bounded: None,
            virtual_generated: column.generated == crate::catalog::Generated::Virtual,
            base: true,
            outer: false,
            origin: Some((relation.oid, column.number)),
        })
    };
    Some(type_expression(&value, &column, &|_| None, catalog))
}

/// Every column that an expression of these few kinds reads, as often as it does.
fn columns(expr: &Expr) -> Vec<Option<(Oid, i16)>> {
    match expr {
        Expr::Column(column) => vec![column.origin],
        Expr::Cast { argument, .. } => columns(argument),
        Expr::Op { arguments, .. } | Expr::Call { arguments, .. } => {
            arguments.iter().flat_map(columns).collect()
        }
        _ => Vec::new(),
    }
}

fn is_provable(list: &LeakSafe, catalog: &Snapshot, expr: &Expr) -> bool {
    let by = |function: &Function, arguments: &[Expr]| {
        let known = list.function(function.oid).is_some() || list.is_proved_by_index(function.oid);
        known && is_strict_and_fixed(function) && arguments.iter().all(|a| is_provable(list, catalog, a))
    };
    match expr {
        Expr::Column(column) => !column.virtual_generated,
        Expr::Const { text, .. } => text.is_some(),
        Expr::Call { function, arguments, .. } => by(function, arguments),
        Expr::Op { operator, arguments, .. } => match catalog.function_by_oid(operator.function) {
            Some(function) if list.operator(operator.oid).is_some() => {
                is_strict_and_fixed(function) && arguments.iter().all(|a| is_provable(list, catalog, a))
            }
            Some(function) => by(function, arguments),
            None => false,
        },
        Expr::Cast { argument, path, ty } => match path {
            CastPath::Identity | CastPath::Binary => is_provable(list, catalog, argument),
            CastPath::Function(function) => {
                let function = catalog.function_by_oid(*function);
                function.is_some_and(|f| by(f, std::slice::from_ref(&**argument)))
            }
            CastPath::InOut => {
                let source = argument.ty().oid;
                let printed = types::printed(catalog, source).is_some() && types::is_varying(ty.oid);
                let read = types::is_text(source) && types::is_read_flat(ty.oid);
                (printed || read) && is_provable(list, catalog, argument)
            }
            _ => false,
        },
        _ => false,
    }
}

fn is_strict_and_fixed(function: &Function) -> bool {
    is_builtin(function)
        && function.kind == 'f'
        && function.volatility == 'i'
        && function.strict
        && !function.returns_set
        && function.result != oid::RECORD
}

/// Whether two expressions are the same but for where their literals stand.
fn is_same(proved: &Expr, expr: &Expr) -> bool {
    let all = |left: &[Expr], right: &[Expr]| {
        left.len() == right.len() && left.iter().zip(right).all(|(l, r)| is_same(l, r))
    };
    match (proved, expr) {
        (Expr::Column(l), Expr::Column(r)) => {
            l.origin == r.origin
                && (l.type_oid, l.typmod, l.collation) == (r.type_oid, r.typmod, r.collation)
                && r.base
                && !r.virtual_generated
        }
        (Expr::Const { ty: l, text: Some(left), .. }, Expr::Const { ty: r, text: Some(right), .. }) => {
            l == r && left == right
        }
        (Expr::Op { operator: o, arguments: l, ty: t }, Expr::Op { operator, arguments: r, ty }) => {
            o.oid == operator.oid && t == ty && all(l, r)
        }
        (Expr::Call { function: f, arguments: l, ty: t }, Expr::Call { function, arguments: r, ty }) => {
            f.oid == function.oid && t == ty && all(l, r)
        }
        (Expr::Cast { argument: l, path: p, ty: t }, Expr::Cast { argument: r, path, ty }) => {
            p == path && t == ty && is_same(l, r)
        }
        _ => false,
    }
}
