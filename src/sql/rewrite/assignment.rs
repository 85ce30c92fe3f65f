//! Values that are assigned to columns: the tenant column gets the tenant's value or the statement raises, and a key
//! is proved ([`super::key_proof`]).
//!
//! ```sql
//! tenant column   CASE WHEN (v) OPERATOR(pg_catalog.=) $n::t THEN $n::t WHEN <raise> THEN NULL END
//! ```
//!
//! The tenant's own value is what is written, so that nothing which only becomes equal to it by rounding,
//! trimming or arithmetic is ever stored.

use std::collections::HashSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, ResTarget};

use crate::catalog::Relation;
use crate::policy::{Access, Refusal, Rule, SqlState, Tenancy};

use super::super::bind::{Binder, FORM, Facts, Scope, denied_column, kind_of, unsupported};
use super::super::build;
use super::key_proof::{Proof, proofs};
use super::predicate::tenant_value;
use super::row_source::RowSource;
use super::sentinel::{Violation, raise};

impl Binder<'_> {
    /// The value of a tenant column: the tenant's, or the statement raises.
    pub fn tenant_assignment(
        &mut self,
        relation: &Relation,
        column: i16,
        value: Node,
    ) -> Result<Node, Refusal> {
        if matches!(value.node, Some(NodeEnum::SetToDefault(_))) {
            return tenant_value(self, relation, column);
        }
        let equal = build::equals(value, tenant_value(self, relation, column)?);
        let owned = tenant_value(self, relation, column)?;
        let raise = raise(&self.policy.nonce, Violation::Tenant, &relation.name);
        Ok(build::case(vec![(equal, owned), (raise, build::null())], None))
    }

    /// Binds and rewrites the SET list of an UPDATE, of ON CONFLICT or of a MERGE arm.
    pub fn assignments(
        &mut self,
        scope: &Scope<'_>,
        relation: &Relation,
        tenancy: &Tenancy,
        access: &Access,
        targets: &mut [Node],
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        one_by_one(targets);
        let written = self.assigned_columns(scope, relation, access, targets, facts)?;
        let tenant_column = match tenancy {
            Tenancy::Tenant { column, .. } => Some(*column),
            Tenancy::Child { .. } | Tenancy::Shared | Tenancy::Denied => None,
        };
        let proofs = proofs(self, relation, tenancy);
        let guarded = |column: &i16| {
            Some(*column) == tenant_column || proofs.iter().any(|p| p.own_columns().any(|own| own == *column))
        };
        let mut rows: Vec<RowSource> = Vec::new();
        for (_, number) in written.iter().filter(|(column, _)| guarded(column)) {
            if !rows.iter().any(|row| row.place(*number).is_some()) {
                rows.extend(self.row_source(targets, *number)?);
            }
        }
        for (column, number) in written.iter().filter(|(column, _)| Some(*column) == tenant_column) {
            let in_row = rows.iter_mut().find_map(|row| row.place(*number).map(|place| (row, place)));
            match in_row {
                Some((row, place)) => self.guard_tenant_in_row(relation, *column, row, place)?,
                None => self.guard_tenant_target(relation, *column, simple_target(targets, *number))?,
            }
        }
        for proof in &proofs {
            self.prove_assignment(relation, proof, &written, targets, &mut rows)?;
        }
        rows.into_iter().for_each(|row| row.close(targets));
        Ok(())
    }

    /// Binds the values of a SET list; the columns that are written, each with the number of its target.
    fn assigned_columns(
        &mut self,
        scope: &Scope<'_>,
        relation: &Relation,
        access: &Access,
        targets: &mut [Node],
        facts: &mut Facts,
    ) -> Result<Vec<(i16, usize)>, Refusal> {
        let mut written: Vec<(i16, usize)> = Vec::new();
        let mut whole = HashSet::new();
        let mut row_source = None;
        for (number, node) in targets.iter_mut().enumerate() {
            let Some(NodeEnum::ResTarget(target)) = &mut node.node else {
                return Err(unsupported(&kind_of(node), -1));
            };
            let column = target_column(relation, access, target)?;
            if let Some(column) = column {
                if target.indirection.is_empty() && !whole.insert(column) {
                    let message = format!("multiple assignments to same column \"{}\"", target.name);
                    return Err(Refusal::new(SqlState::SYNTAX, FORM, message).at(target.location));
                }
                written.push((column, number));
            }
            self.assigned_value(scope, target, &mut row_source, facts)?;
        }
        Ok(written)
    }

    fn guard_tenant_target(
        &mut self,
        relation: &Relation,
        column: i16,
        target: Option<&mut ResTarget>,
    ) -> Result<(), Refusal> {
        let target = target.ok_or_else(|| unsupported("this assignment to the tenant column", -1))?;
        let value = target.val.take().ok_or_else(|| unsupported("an empty assignment", -1))?;
        let location = target.location;
        if matches!(value.node, Some(NodeEnum::SetToDefault(_))) {
            let message = format!("the tenant column of {} may not be set to its default", relation.name);
            return Err(Refusal::new(SqlState::DENIED, Rule("tenant-column"), message).at(location));
        }
        let guarded = self.tenant_assignment(relation, column, *value)?;
        target.val = Some(Box::new(guarded));
        self.edit(location, "the tenant column gets the tenant's value, or the statement raises");
        Ok(())
    }

    fn assigned_value(
        &mut self,
        scope: &Scope<'_>,
        target: &mut ResTarget,
        row_source: &mut Option<Box<Node>>,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        for step in &mut target.indirection {
            if let Some(NodeEnum::AIndices(indices)) = &mut step.node {
                self.optional(scope, &mut indices.lidx, facts)?;
                self.optional(scope, &mut indices.uidx, facts)?;
            }
        }
        let Some(value) = &mut target.val else {
            return Err(unsupported("an empty assignment", target.location));
        };
        match &mut value.node {
            // Every column of a row assignment holds a copy of the same source: the first is bound, and stands
            // for the others.
            Some(NodeEnum::MultiAssignRef(multi)) => {
                if multi.colno > 1 {
                    multi.source = row_source.clone();
                    return Ok(());
                }
                match multi.source.as_deref_mut() {
                    Some(Node { node: Some(NodeEnum::RowExpr(row)) }) => {
                        row.args
                            .iter_mut()
                            .try_for_each(|arg| self.expression_or_default(scope, arg, facts))?;
                    }
                    Some(source) => self.expression(scope, source, facts)?,
                    None => return Err(unsupported("an empty assignment", target.location)),
                }
                row_source.clone_from(&multi.source);
                Ok(())
            }
            _ => self.expression_or_default(scope, value, facts),
        }
    }

    fn prove_assignment(
        &mut self,
        relation: &Relation,
        proof: &Proof,
        written: &[(i16, usize)],
        targets: &mut [Node],
        rows: &mut [RowSource],
    ) -> Result<(), Refusal> {
        let numbers: Vec<(i16, usize)> = written
            .iter()
            .filter(|(column, _)| proof.own_columns().any(|own| own == *column))
            .copied()
            .collect();
        if numbers.is_empty() {
            return Ok(());
        }
        for row in rows {
            let places: Vec<(i16, usize)> =
                numbers.iter().filter_map(|(column, number)| Some((*column, row.place(*number)?))).collect();
            if !places.is_empty() && places.len() == numbers.len() {
                return self.prove_key_in_row(relation, proof, row, &places);
            }
        }
        let mut values = Vec::new();
        for (column, number) in &numbers {
            let target = simple_target(targets, *number);
            let value = target.and_then(|t| t.val.as_deref()).cloned();
            values.push((*column, value.ok_or_else(|| unsupported("this assignment to a foreign key", -1))?));
        }
        // Columns of the key that are not written keep the row's own value.
        for own in proof.own_columns() {
            if !values.iter().any(|(column, _)| *column == own) {
                return Err(unsupported("writing a part of a foreign key", -1));
            }
        }
        values.retain(|(_, v)| !matches!(v.node, Some(NodeEnum::SetToDefault(_))));
        if values.len() != numbers.len() {
            return Err(unsupported("DEFAULT for a foreign key", -1));
        }
        self.refuse_varying_key(&values)?;
        let proved = self.prove_key(relation, proof, &values, None)?;
        let first = proof.own_columns().next();
        let number = numbers.iter().find(|(column, _)| Some(*column) == first).map(|(_, n)| *n);
        if let (Some(proved), Some(target)) = (proved, number.and_then(|n| simple_target(targets, n))) {
            let location = target.location;
            target.val = Some(Box::new(proved));
            self.edit(location, "a key must point at a row of the tenant's");
        }
        Ok(())
    }
}

/// The column that an assignment names, by number; none for a column that PostgreSQL will refuse.
pub(in crate::sql) fn target_column(
    relation: &Relation,
    access: &Access,
    target: &ResTarget,
) -> Result<Option<i16>, Refusal> {
    if access.denied_columns.contains(&target.name) {
        return Err(denied_column(&target.name, target.location));
    }
    let Some(column) = relation.column(&target.name) else {
        let message = format!("column \"{}\" of relation \"{}\" does not exist", target.name, relation.name);
        return Err(Refusal::new(SqlState::UNDEFINED_COLUMN, FORM, message).at(target.location));
    };
    Ok(Some(column.number))
}

/// `(a, b) = ROW(x, y)` is `a = x, b = y` (transformMultiAssignRef of parse_target.c).
fn one_by_one(targets: &mut [Node]) {
    let mut values: Vec<Node> = Vec::new();
    for node in targets {
        let Some(NodeEnum::ResTarget(target)) = &mut node.node else { continue };
        let Some(NodeEnum::MultiAssignRef(multi)) = target.val.as_deref().and_then(|v| v.node.as_ref())
        else {
            continue;
        };
        let number = usize::try_from(multi.colno).unwrap_or(0);
        if number == 1 {
            values = match multi.source.as_deref() {
                Some(Node { node: Some(NodeEnum::RowExpr(row)) })
                    if usize::try_from(multi.ncolumns) == Ok(row.args.len()) =>
                {
                    row.args.clone()
                }
                _ => Vec::new(),
            };
        }
        if let Some(value) = number.checked_sub(1).and_then(|at| values.get(at)) {
            target.val = Some(Box::new(value.clone()));
        }
    }
}

/// An assignment of one whole value to one whole column.
fn simple_target(targets: &mut [Node], number: usize) -> Option<&mut ResTarget> {
    match targets.get_mut(number).map(|n| &mut n.node) {
        Some(Some(NodeEnum::ResTarget(target))) => {
            let multi =
                matches!(target.val.as_deref(), Some(Node { node: Some(NodeEnum::MultiAssignRef(_)) }));
            (target.indirection.is_empty() && !multi).then_some(target)
        }
        _ => None,
    }
}
