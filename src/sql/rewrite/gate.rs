//! Gates: parts of a condition without columns.
//!
//! The server evaluates `now() - $1` or `plainto_tsquery('simple', $1)` on the first row that gets there, and that
//! row may be another tenant's: where the part raises, it would tell that the row is there. So it is looked at before
//! any row:
//!
//! ```sql
//! … AND ((now() - $1) IS NULL) IS NOT NULL AND created_at > now() - $1
//! ```
//!
//! A condition of WHERE without columns is a One-Time Filter of the whole level, and one over NULL tests is always
//! true. Only parts that PostgreSQL would evaluate anyway are copied: none below OR, CASE or COALESCE.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, BoolExprType, ColumnRef, Node, ParamRef};

use super::super::bind::{Binder, Facts, Scope};
use super::super::build;
use super::super::leaksafe::{BindCheck, BindRule, LARGEST_QUERY, Total, query_pieces};
use super::super::resolve::oid;
use super::super::typed::{Collation, ColumnInfo, Expr, ExprType, type_expression};
use super::barrier::Clause;

/// What stands for a part while the rest is judged: a column of its type.
const STAND_IN: &str = "pgbulkhead_part";
/// Numbers of parameters that stand for a tsquery.
const STAND_IN_NUMBER: usize = 1_000_000;
const TSQUERY: u32 = 3615;

/// A part that a gate looks at.
struct Part {
    node: Node,
    ty: ExprType,
}

impl Binder<'_> {
    /// The gates behind which a bound conjunct of WHERE may stay bare; none where they do not help. Only for a
    /// level that no other one is around: its WHERE surely stays one.
    pub(super) fn gates(
        &mut self,
        scope: &Scope<'_>,
        clause: Clause,
        own: &Facts,
        conjunct: &Node,
    ) -> Option<Vec<Node>> {
        let plain = !own.volatile && !own.sublink && !own.aggregate && !own.set_returning;
        if clause != Clause::Where || scope.level.depth != 0 || !plain {
            return None;
        }
        let mut rest = conjunct.clone();
        let mut parts = Vec::new();
        take_parts(&mut rest, &mut parts);
        let mut gated = Vec::new();
        let (mut checks, mut pins) = (Vec::new(), Vec::new());
        for node in parts {
            let typed = type_expression(&node, &|_| None, &|n| self.judged_type(n), self.catalog);
            let ty = typed.ty();
            if matches!(typed, Expr::Other(_)) || ty.oid == oid::UNKNOWN {
                return None;
            }
            if ty.oid == TSQUERY {
                let pieces = query_pieces(&typed)?;
                let rule = BindRule::AtMost(LARGEST_QUERY);
                checks.extend(pieces.parameters.into_iter().map(|parameter| BindCheck { parameter, rule }));
                pins.extend(pieces.literals);
            }
            gated.push(Part { node, ty });
        }
        if gated.is_empty() {
            return None;
        }
        let total = self.is_total_beside(scope, &mut rest, &gated, &mut checks, &mut pins);
        (total && (checks.is_empty() || !self.cautious)).then(|| {
            self.bind_checks.append(&mut checks);
            pins.into_iter().for_each(|location| self.pin(location));
            self.edit(build::NOWHERE, "a part without columns is looked at before any row");
            let gate = |part: Part| build::null_test(build::null_test(part.node, true), false);
            gated.into_iter().map(gate).collect()
        })
    }

    /// Whether what is left of a conjunct is total over values like its parts'.
    fn is_total_beside(
        &self,
        scope: &Scope<'_>,
        rest: &mut Node,
        parts: &[Part],
        checks: &mut Vec<BindCheck>,
        pins: &mut Vec<i32>,
    ) -> bool {
        let mut number = 0;
        put_stand_ins(rest, parts, &mut number);
        let columns = |column: &ColumnRef| match build::names(&column.fields).as_deref() {
            Some([STAND_IN, number]) => stand_in(parts.get(number.parse::<usize>().ok()?)?),
            _ => self.column_info(scope, column),
        };
        let parameters = |number: i32| match usize::try_from(number) {
            Ok(number) if number >= STAND_IN_NUMBER => Some(TSQUERY),
            _ => self.judged_type(number),
        };
        let judged = self.leaksafe.judge(self.catalog, rest, &columns, &parameters);
        let Total::Yes { pins: more, bind_checks, indexes } = judged else { return false };
        if !scope.level.rely_on(&indexes) {
            return false;
        }
        pins.extend(more);
        let of_client =
            |check: &BindCheck| usize::try_from(check.parameter).is_ok_and(|n| n < STAND_IN_NUMBER);
        checks.extend(bind_checks.into_iter().filter(of_client));
        true
    }
}

/// A value of the part's type, of any size.
fn stand_in(part: &Part) -> Option<ColumnInfo> {
    Some(ColumnInfo {
        type_oid: part.ty.oid,
        typmod: -1,
        collation: match part.ty.collation {
            Collation::None => 0,
            Collation::Implicit(collation) => collation,
            Collation::Explicit(_) | Collation::Indeterminate => return None,
        },
        bounded: None,
        virtual_generated: false,
        base: true,
        outer: false,
        origin: None,
    })
}

/// Takes the largest parts without columns, from left to right, and leaves an empty node for each.
fn take_parts(node: &mut Node, parts: &mut Vec<Node>) {
    each_operand(node, &mut |operand| {
        if is_part(operand) {
            parts.push(std::mem::take(operand));
        } else {
            take_parts(operand, parts);
        }
    });
}

fn put_stand_ins(node: &mut Node, parts: &[Part], number: &mut usize) {
    each_operand(node, &mut |operand| {
        if operand.node.is_some() {
            put_stand_ins(operand, parts, number);
            return;
        }
        *operand = match parts.get(*number) {
            Some(part) if part.ty.oid == TSQUERY => build::node(NodeEnum::ParamRef(ParamRef {
                number: i32::try_from(STAND_IN_NUMBER.saturating_add(*number)).unwrap_or(i32::MAX),
                location: -1,
            })),
            _ => build::column(&[STAND_IN, &number.to_string()]),
        };
        *number = number.saturating_add(1);
    });
}

/// The operands that are evaluated whenever their expression is.
fn each_operand(node: &mut Node, visit: &mut dyn FnMut(&mut Node)) {
    match &mut node.node {
        Some(NodeEnum::AExpr(expr)) => {
            [&mut expr.lexpr, &mut expr.rexpr].into_iter().flatten().for_each(|side| visit(side));
        }
        Some(NodeEnum::List(list)) => list.items.iter_mut().for_each(visit),
        Some(NodeEnum::TypeCast(cast)) => cast.arg.iter_mut().for_each(|arg| visit(arg)),
        Some(NodeEnum::FuncCall(call)) => call.args.iter_mut().for_each(visit),
        Some(NodeEnum::NullTest(test)) => test.arg.iter_mut().for_each(|arg| visit(arg)),
        Some(NodeEnum::BoolExpr(not)) if not.boolop == BoolExprType::NotExpr as i32 => {
            not.args.iter_mut().for_each(visit);
        }
        _ => {}
    }
}

/// A call, an operator or a cast over parameters, literals and the present time.
fn is_part(node: &Node) -> bool {
    let computed =
        matches!(node.node, Some(NodeEnum::FuncCall(_) | NodeEnum::AExpr(_) | NodeEnum::TypeCast(_)));
    computed && without_columns(node).is_some_and(|has_parameter| has_parameter)
}

/// Whether a node without columns has a parameter; nothing where it may read a column or is of another kind.
fn without_columns(node: &Node) -> Option<bool> {
    let any = |nodes: &[Node]| {
        let found: Option<Vec<bool>> = nodes.iter().map(without_columns).collect();
        found.map(|found| found.contains(&true))
    };
    match node.node.as_ref()? {
        NodeEnum::AConst(_) | NodeEnum::SqlvalueFunction(_) => Some(false),
        NodeEnum::ParamRef(_) => Some(true),
        NodeEnum::TypeCast(cast) => without_columns(cast.arg.as_deref()?),
        NodeEnum::AArrayExpr(array) => any(&array.elements),
        NodeEnum::AExpr(expr) if is_plain_operator(expr) => {
            let sides = [&expr.lexpr, &expr.rexpr].into_iter().flatten();
            let found: Option<Vec<bool>> = sides.map(|side| without_columns(side)).collect();
            found.map(|found| found.contains(&true))
        }
        NodeEnum::FuncCall(call) if call.over.is_none() && call.agg_filter.is_none() && !call.agg_star => {
            any(&call.args)
        }
        _ => None,
    }
}

fn is_plain_operator(expr: &AExpr) -> bool {
    expr.kind == AExprKind::AexprOp as i32
}
