//! The equality of a MERGE that is a FULL JOIN.
//!
//! A MERGE that acts on source rows and on target rows that match nothing joins both in full
//! (transform_MERGE_to_join, prepjointree.c). PostgreSQL wants an equality that it can hash among the conditions of ON
//! then, and does not look for one inside a CASE. So it is not the equality that waits but its operand over the target:
//!
//! ```sql
//! ON t.tenant_id = … AND CASE WHEN t.tenant_id = … THEN t.x END = s.y
//! ```
//!
//! **Why nothing is told.** The operand of another tenant's row is null before any of its columns is looked at, and a
//! strict operator is not called for a null, nor is its hash function (ExecHashGetHashValue, nodeHash.c). The other
//! operand reads the source alone, which is a fence, so it is evaluated on the tenant's own rows. The planner knows no
//! values of a CASE to compare.
//!
//! **Why it changes no row.** For a row of the tenant's the operand is what the client wrote; for any other row the
//! first condition of ON does not hold.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, Node};

use crate::policy::Refusal;

use super::super::bind::{Binder, Facts, Item, Scope};
use super::super::build;
use super::super::typed::{ColumnInfo, Expr, type_expression};
use super::barrier::{Clause, equality, has_predicate};

impl Binder<'_> {
    /// Has the operand of a bound equality wait for the target's predicate, where the equality is one between the target
    /// and the source of a MERGE that is a FULL JOIN. False where it is not, and nothing has changed.
    pub(super) fn waits_in_operand(
        &mut self,
        scope: &Scope<'_>,
        clause: Clause,
        own: &Facts,
        conjunct: &mut Node,
    ) -> Result<bool, Refusal> {
        let Clause::FullMerge { target } = clause else { return Ok(false) };
        let items = &scope.level.items;
        let Some(item) = items.get(target).filter(|item| has_predicate(item)) else { return Ok(false) };
        if own.sublink || own.volatile || !self.is_strict_equality(scope, conjunct) {
            return Ok(false);
        }
        let Some((left, right)) = equality(conjunct) else { return Ok(false) };
        let (Some(left), Some(right)) = (self.reads_of(scope, left), self.reads_of(scope, right)) else {
            return Ok(false);
        };
        let depth = scope.level.depth;
        let of_target = |reads: &BTreeSet<(usize, usize)>| reads.iter().eq([&(depth, target)]);
        let source = |reads: &BTreeSet<(usize, usize)>| -> Option<Vec<&Item>> {
            let item = |(at, id): &(usize, usize)| {
                items.get(*id).filter(|item| *at == depth && *id != target && !has_predicate(item))
            };
            (!reads.is_empty()).then(|| reads.iter().map(item).collect()).flatten()
        };
        let (first, fenced) = match (source(&right), source(&left)) {
            (Some(fenced), _) if of_target(&left) => (true, fenced),
            (_, Some(fenced)) if of_target(&right) => (false, fenced),
            _ => return Ok(false),
        };
        for item in fenced.iter().filter(|item| self.is_tenanted(&item.source)) {
            item.fence.set(true);
        }
        let Some(predicate) = self.guard_condition(item)? else { return Ok(false) };
        let Some(NodeEnum::AExpr(expr)) = &mut conjunct.node else { return Ok(false) };
        for operand in operands(expr, first) {
            *operand = build::case(vec![(predicate.clone(), std::mem::take(operand))], None);
        }
        self.edit(build::NOWHERE, "an operand that may raise waits behind the tenant predicate");
        Ok(true)
    }

    /// Whether a null on one side is an answer before the operator is called.
    fn is_strict_equality(&self, scope: &Scope<'_>, conjunct: &Node) -> bool {
        let columns = |column: &_| -> Option<ColumnInfo> { self.column_info(scope, column) };
        match &type_expression(conjunct, &columns, &|n| self.judged_type(n), self.catalog) {
            Expr::Op { operator, .. } => self.is_strict_function(operator.function),
            _ => self.is_strict_operator("=", 2),
        }
    }

    /// What a bound expression without sub-selects reads.
    fn reads_of(&mut self, scope: &Scope<'_>, node: &Node) -> Option<BTreeSet<(usize, usize)>> {
        let mut facts = Facts::default();
        let edits = self.edits.len();
        let bound = self.expression(scope, &mut node.clone(), &mut facts);
        self.edits.truncate(edits);
        bound.ok().map(|()| facts.reads)
    }
}

/// One side of a comparison; of two rows, which are compared field by field, the fields.
fn operands(expr: &mut AExpr, first: bool) -> Vec<&mut Node> {
    let is_row = |side: &Option<Box<Node>>| {
        matches!(side.as_deref().map(|node| &node.node), Some(Some(NodeEnum::RowExpr(_))))
    };
    let rows = is_row(&expr.lexpr) && is_row(&expr.rexpr);
    let side = if first { &mut expr.lexpr } else { &mut expr.rexpr };
    let Some(side) = side.as_deref_mut() else { return Vec::new() };
    if !rows {
        return vec![side];
    }
    match &mut side.node {
        Some(NodeEnum::RowExpr(row)) => row.args.iter_mut().collect(),
        _ => Vec::new(),
    }
}
