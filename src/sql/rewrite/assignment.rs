//! Values that are written to a relation: its tenant column gets the tenant's value or the statement raises,
//! the key of a child must find a parent of the tenant, and a foreign key that does not carry the tenant must
//! find its row among the tenant's.
//!
//! ```sql
//! tenant column   CASE WHEN (v) OPERATOR(pg_catalog.=) $n::t THEN $n::t WHEN <raise> THEN NULL END
//! key             CASE WHEN EXISTS (SELECT 1 FROM parent …) OR v IS NULL THEN v WHEN <raise> THEN NULL END
//! ```
//!
//! The tenant's own value is what is written, so that nothing which only becomes equal to it by rounding,
//! trimming or arithmetic is ever stored.

use std::collections::HashSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, ResTarget};

use crate::catalog::{ForeignKey, Oid, Relation};
use crate::policy::{Access, Refusal, Rule, SqlState, Tenancy};

use super::super::bind::{Binder, FORM, Facts, Scope, denied_column, kind_of, unsupported};
use super::super::build;
use super::predicate::{parent_exists, tenant_value};
use super::row_source::RowSource;
use super::sentinel::{Violation, raise};

/// A key of a relation that has to point at a row of the tenant's.
pub(in crate::sql) struct Proof {
    parent: Oid,
    /// (own column, parent's column)
    columns: Vec<(i16, i16)>,
    violation: Violation,
    subject: String,
    /// A null key is fine.
    nullable: bool,
}

/// The keys of a relation that have to be proved when they are written.
pub(in crate::sql) fn proofs(binder: &Binder<'_>, relation: &Relation, tenancy: &Tenancy) -> Vec<Proof> {
    let mut proofs = Vec::new();
    if let Tenancy::Child { parents } = tenancy {
        // Of several parents each that is set must be the tenant's.
        proofs.extend(parents.iter().map(|key| Proof {
            parent: key.parent,
            columns: key.columns.clone(),
            violation: Violation::Tenant,
            subject: relation.name.clone(),
            nullable: parents.len() > 1,
        }));
    }
    for key in &relation.foreign_keys {
        let proved = proofs.iter().any(|p| p.parent == key.target && p.columns == key.columns);
        if !proved && !carries_tenant(binder, tenancy, key) && binder.policy.tenancy(key.target).is_tenanted()
        {
            proofs.push(Proof {
                parent: key.target,
                columns: key.columns.clone(),
                violation: Violation::ForeignKey,
                subject: format!("{}:{}", relation.name, key.name),
                nullable: true,
            });
        }
    }
    proofs
}

/// A foreign key one of whose pairs is (own tenant column, target's tenant column) cannot leave the tenant.
fn carries_tenant(binder: &Binder<'_>, tenancy: &Tenancy, key: &ForeignKey) -> bool {
    let (Tenancy::Tenant { column: own, .. }, Tenancy::Tenant { column: theirs, .. }) =
        (tenancy, binder.policy.tenancy(key.target))
    else {
        return false;
    };
    key.columns.contains(&(*own, *theirs))
}

impl Proof {
    /// The own columns of the key.
    pub fn own_columns(&self) -> impl Iterator<Item = i16> + '_ {
        self.columns.iter().map(|(own, _)| *own)
    }

    /// Whether a null key passes.
    pub fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// Whether it is the key of one of several possible parents.
    pub fn is_one_of_several(&self) -> bool {
        self.nullable && self.violation == Violation::Tenant
    }
}

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

    /// Puts the proof of a key around its first value. `values` are the row's values by own column. With `or_set` the
    /// key may only be null where one of these conditions holds.
    pub fn prove_key(
        &mut self,
        relation: &Relation,
        proof: &Proof,
        values: &[(i16, Node)],
        or_set: Option<Vec<Node>>,
    ) -> Result<Option<Node>, Refusal> {
        let value_of =
            |own: i16| values.iter().find(|(column, _)| *column == own).map(|(_, value)| value.clone());
        let mut keys = Vec::new();
        let (mut nulls, mut set) = (Vec::new(), Vec::new());
        let mut first = None;
        let mut sources = Vec::new();
        for (own, theirs) in &proof.columns {
            let Some(value) = value_of(*own) else {
                return Err(unsupported(
                    &format!("writing a part of a foreign key of {}", relation.name),
                    -1,
                ));
            };
            if is_null(&value) && proof.nullable {
                return Ok(None);
            }
            let value = self.typed(relation, *own, value);
            if proof.columns.len() > 1 && !is_repeatable(&value) && !is_bare_column(&value) {
                let what = "an expression as a part of a foreign key";
                return Err(unsupported(what, -1).hint("Give the key as columns, constants or parameters."));
            }
            let (value, source) = if is_repeatable(&value) { (value, None) } else { self.once(value) };
            sources.extend(source);
            if first.is_none() {
                first = Some(value.clone());
            }
            nulls.push(build::null_test(value.clone(), true));
            set.push(build::null_test(value.clone(), false));
            keys.push((*theirs, value));
        }
        let Some(value) = first else { return Ok(None) };
        let found = parent_exists(self, proof.parent, keys)?;
        let condition = if proof.nullable {
            // The proof comes first: it types a parameter that the null test alone would leave untyped.
            nulls.insert(0, found);
            build::or(nulls)
        } else {
            found
        };
        let condition = match (or_set, build::and(set)) {
            (Some(mut others), Some(own)) => {
                others.insert(0, own);
                let any = if others.len() == 1 { others.pop() } else { Some(build::or(others)) };
                build::and(std::iter::once(condition).chain(any).collect()).unwrap_or_else(build::null)
            }
            _ => condition,
        };
        let raise = raise(&self.policy.nonce, proof.violation, &proof.subject);
        let case = build::case(vec![(condition, value), (raise, build::null())], None);
        if sources.is_empty() {
            return Ok(Some(case));
        }
        let select = build::select(vec![build::target(case, "")], sources, None);
        Ok(Some(scalar(select)))
    }

    /// Whether a value is set, where it may be asked beside the place that it is written to; none where it always is.
    pub fn is_set(&self, relation: &Relation, column: i16, value: &Node) -> Result<Option<Node>, Refusal> {
        if is_constant(value) {
            return Ok(None);
        }
        let hidden = matches!(&value.node, Some(NodeEnum::ColumnRef(c)) if build::names(&c.fields).as_deref() == Some(&["v"]));
        if hidden || !(is_repeatable(value) || is_bare_column(value)) {
            let what = "an expression as the key of one of several parents";
            return Err(unsupported(what, -1).hint("Give the keys as columns, constants or parameters."));
        }
        let ty = relation.column_numbered(column).and_then(|c| self.catalog.type_by_oid(c.type_oid));
        // A parameter takes its type where it is first used.
        let value = match (&value.node, ty) {
            (Some(NodeEnum::ParamRef(_)), Some(ty)) => build::cast(value.clone(), &ty.schema, &ty.name),
            _ => value.clone(),
        };
        Ok(Some(build::null_test(value, false)))
    }

    /// A literal takes the type of its column here, since the CASE around it hides it.
    fn typed(&self, relation: &Relation, column: i16, value: Node) -> Node {
        let literal = matches!(&value.node, Some(NodeEnum::AConst(c)) if matches!(c.val, Some(pg_query::protobuf::a_const::Val::Sval(_))));
        let ty = relation.column_numbered(column).and_then(|c| self.catalog.type_by_oid(c.type_oid));
        match ty {
            Some(ty) if literal => build::cast(value, &ty.schema, &ty.name),
            _ => value,
        }
    }

    /// A value that must be evaluated once: a column of a derived table that holds it.
    fn once(&mut self, value: Node) -> (Node, Option<Node>) {
        let alias = self.fresh_alias("value");
        let mut select = build::select(vec![build::target(value, "v")], Vec::new(), None);
        build::fence(&mut select);
        let item = build::derived(select, Some(Alias { aliasname: alias.clone(), colnames: Vec::new() }));
        (build::column(&[&alias, "v"]), Some(item))
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
        for (column, number) in &written {
            if Some(*column) == tenant_column {
                let in_row = rows.iter_mut().find_map(|row| row.place(*number).map(|place| (row, place)));
                if let Some((row, place)) = in_row {
                    self.guard_tenant_in_row(relation, *column, row, place)?;
                    continue;
                }
                let Some(target) = simple_target(targets, *number) else {
                    return Err(unsupported("this assignment to the tenant column", -1));
                };
                let value = target.val.take().ok_or_else(|| unsupported("an empty assignment", -1))?;
                let location = target.location;
                if matches!(value.node, Some(NodeEnum::SetToDefault(_))) {
                    let message =
                        format!("the tenant column of {} may not be set to its default", relation.name);
                    return Err(Refusal::new(SqlState::DENIED, Rule("tenant-column"), message).at(location));
                }
                let guarded = self.tenant_assignment(relation, *column, *value)?;
                target.val = Some(Box::new(guarded));
                self.edit(location, "the tenant column gets the tenant's value, or the statement raises");
            }
        }
        for proof in &proofs {
            self.prove_assignment(relation, proof, &written, targets, &mut rows)?;
        }
        rows.into_iter().for_each(|row| row.close(targets));
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
        return Err(Refusal::new(
            crate::policy::SqlState::UNDEFINED_COLUMN,
            super::super::bind::FORM,
            message,
        )
        .at(target.location));
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

/// Whether DEFAULT leaves a key null in a new row, so that it points nowhere. Refused where the default could be
/// something else.
pub(in crate::sql) fn left_null(
    relation: &Relation,
    proof: &Proof,
    values: &[(i16, Node)],
) -> Result<bool, Refusal> {
    if !values.iter().any(|(_, value)| matches!(value.node, Some(NodeEnum::SetToDefault(_)))) {
        return Ok(false);
    }
    let plain = values.iter().all(|(c, _)| relation.column_numbered(*c).is_some_and(|c| !c.has_default));
    if proof.is_nullable() && plain {
        return Ok(true);
    }
    Err(unsupported("DEFAULT for a foreign key", -1))
}

pub(in crate::sql) fn is_constant(value: &Node) -> bool {
    match &value.node {
        Some(NodeEnum::AConst(constant)) => !constant.isnull,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(is_constant),
        _ => false,
    }
}

pub(in crate::sql) fn is_null(value: &Node) -> bool {
    match &value.node {
        Some(NodeEnum::AConst(constant)) => constant.isnull,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(is_null),
        _ => false,
    }
}

/// Values that may stand in a statement more than once, and inside a sub-select over the parent: evaluating
/// them there gives the same. A column without its relation's name is not: the parent may have one of that
/// name, which would be meant instead.
fn is_repeatable(value: &Node) -> bool {
    match &value.node {
        Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => true,
        Some(NodeEnum::ColumnRef(column)) => column.fields.len() > 1,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(is_repeatable),
        _ => false,
    }
}

fn is_bare_column(value: &Node) -> bool {
    match &value.node {
        Some(NodeEnum::ColumnRef(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(is_bare_column),
        _ => false,
    }
}

pub(super) fn scalar(select: pg_query::protobuf::SelectStmt) -> Node {
    build::node(NodeEnum::SubLink(Box::new(pg_query::protobuf::SubLink {
        sub_link_type: pg_query::protobuf::SubLinkType::ExprSublink as i32,
        subselect: Some(build::boxed(NodeEnum::SelectStmt(Box::new(select)))),
        location: build::NOWHERE,
        ..pg_query::protobuf::SubLink::default()
    })))
}
