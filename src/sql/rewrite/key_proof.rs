//! Keys that are written: that of a child must find a parent of the tenant's, and a foreign key that does not carry
//! the tenant must find its row among the tenant's.
//!
//! ```sql
//! CASE WHEN EXISTS (SELECT 1 FROM parent …) OR v IS NULL THEN v WHEN <raise> THEN NULL END
//! ```

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, a_const};

use crate::catalog::{ForeignKey, Oid, Relation};
use crate::policy::{Refusal, Tenancy};

use super::super::bind::{Binder, unsupported};
use super::super::build;
use super::predicate::parent_exists;
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
                let what = format!("writing a part of a foreign key of {}", relation.name);
                return Err(unsupported(&what, -1));
            };
            if is_null(&value) && proof.nullable {
                return Ok(None);
            }
            let value = self.typed(relation, *own, value);
            if proof.columns.len() > 1 && !is_repeatable(&value) && !is_bare_column(&value) {
                let what = "an expression as a part of a foreign key";
                return Err(unsupported(what, -1).hint("Give the key as columns, constants or parameters."));
            }
            let (value, source) = if is_repeatable(&value) { (value, None) } else { self.once(value)? };
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
        let condition = key_holds(proof, found, nulls, set, or_set);
        let raise = raise(&self.policy.nonce, proof.violation, &proof.subject);
        let case = build::case(vec![(condition, value), (raise, build::null())], None);
        if sources.is_empty() {
            return Ok(Some(case));
        }
        let select = build::select(vec![build::target(case, "")], sources, None);
        Ok(Some(build::scalar(select)))
    }

    /// A key that is to be evaluated anew for each row stands in a sub-select of its own here ([`Self::once`]), and
    /// PostgreSQL runs one that reads nothing of the row once for all rows. What is volatile would lose its values.
    pub fn refuse_varying_key(&self, values: &[(i16, Node)]) -> Result<(), Refusal> {
        for (_, value) in values {
            let mut found = Volatile::default();
            self.look_for_volatile(value, &mut found);
            if found.volatile && !found.column {
                return Err(unsupported("a volatile expression without columns as a key of many rows", -1)
                    .hint(
                        "Give it a name in FROM: SELECT s.key FROM (SELECT random() AS key FROM …) AS s.",
                    ));
            }
        }
        Ok(())
    }

    /// Whether an expression makes several rows of one, so that whatever stands beside it is evaluated for each.
    pub fn makes_rows(&self, value: &Node) -> bool {
        let mut found = Volatile::default();
        self.look_for_volatile(value, &mut found);
        found.set
    }

    /// Looks at what is evaluated with an expression; a sub-select of the client's own is run once by PostgreSQL too.
    fn look_for_volatile(&self, value: &Node, found: &mut Volatile) {
        let mut parts: Vec<&Node> = Vec::new();
        match &value.node {
            Some(NodeEnum::ColumnRef(_)) => found.column = true,
            Some(NodeEnum::FuncCall(call)) => {
                // What the session has drawn last is the same for every row.
                let name = build::names(&call.funcname).and_then(|names| names.last().copied());
                let name = name.filter(|name| !matches!(*name, "currval" | "lastval")).unwrap_or_default();
                let functions = self.catalog.functions_named(name);
                found.volatile |= functions.iter().any(|f| f.volatility == 'v');
                found.set |= functions.iter().any(|f| f.returns_set);
                found.window |= call.over.is_some();
                if functions.iter().any(|f| f.kind == 'a') {
                    let mut own = Volatile::default();
                    call.args.iter().for_each(|part| self.look_for_volatile(part, &mut own));
                    found.counts |= !own.column;
                }
                parts.extend(&call.args);
            }
            Some(NodeEnum::AExpr(expr)) => {
                parts.extend([&expr.lexpr, &expr.rexpr].into_iter().flatten().map(|n| &**n))
            }
            Some(NodeEnum::TypeCast(cast)) => parts.extend(cast.arg.as_deref()),
            Some(NodeEnum::CaseExpr(case)) => {
                parts.extend([&case.arg, &case.defresult].into_iter().flatten().map(|n| &**n));
                parts.extend(&case.args);
            }
            Some(NodeEnum::CaseWhen(when)) => {
                parts.extend([&when.expr, &when.result].into_iter().flatten().map(|n| &**n));
            }
            Some(NodeEnum::CoalesceExpr(expr)) => parts.extend(&expr.args),
            Some(NodeEnum::MinMaxExpr(expr)) => parts.extend(&expr.args),
            Some(NodeEnum::BoolExpr(expr)) => parts.extend(&expr.args),
            Some(NodeEnum::NullTest(test)) => parts.extend(test.arg.as_deref()),
            Some(NodeEnum::AArrayExpr(array)) => parts.extend(&array.elements),
            Some(NodeEnum::List(list)) => parts.extend(&list.items),
            Some(NodeEnum::AIndirection(step)) => {
                parts.extend(step.arg.as_deref());
                parts.extend(&step.indirection);
            }
            Some(NodeEnum::AIndices(index)) => {
                parts.extend([&index.lidx, &index.uidx].into_iter().flatten().map(|n| &**n));
            }
            Some(NodeEnum::NamedArgExpr(arg)) => parts.extend(arg.arg.as_deref()),
            Some(NodeEnum::BooleanTest(test)) => parts.extend(test.arg.as_deref()),
            Some(NodeEnum::CollateClause(clause)) => parts.extend(clause.arg.as_deref()),
            Some(NodeEnum::RowExpr(row)) => parts.extend(&row.args),
            Some(
                NodeEnum::AConst(_)
                | NodeEnum::ParamRef(_)
                | NodeEnum::SubLink(_)
                | NodeEnum::SetToDefault(_)
                | NodeEnum::SqlvalueFunction(_)
                | NodeEnum::String(_)
                | NodeEnum::AStar(_),
            ) => {}
            // What else there is may be.
            _ => found.volatile = true,
        }
        parts.into_iter().for_each(|part| self.look_for_volatile(part, found));
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
        let literal =
            matches!(&value.node, Some(NodeEnum::AConst(c)) if matches!(c.val, Some(a_const::Val::Sval(_))));
        let ty = relation.column_numbered(column).and_then(|c| self.catalog.type_by_oid(c.type_oid));
        match ty {
            Some(ty) if literal => build::cast(value, &ty.schema, &ty.name),
            _ => value,
        }
    }

    /// A value that must be evaluated once: a column of a derived table that holds it. What belongs to the query whose
    /// output it was would belong to that table: a window, the rows of a set, an aggregate that names no column
    /// (check_agglevels_and_constraints, parse_agg.c).
    fn once(&mut self, value: Node) -> Result<(Node, Option<Node>), Refusal> {
        let mut found = Volatile::default();
        self.look_for_volatile(&value, &mut found);
        if found.window || found.set || found.counts {
            return Err(unsupported("a count, a window or the rows of a set as a key", -1)
                .hint("Give it a name in FROM: SELECT s.key FROM (SELECT count(*) AS key FROM …) AS s."));
        }
        let alias = self.fresh_alias("value");
        let mut select = build::select(vec![build::target(value, "v")], Vec::new(), None);
        build::fence(&mut select);
        let item = build::derived(select, Some(Alias { aliasname: alias.clone(), colnames: Vec::new() }));
        Ok((build::column(&[&alias, "v"]), Some(item)))
    }
}

/// What an expression does.
#[derive(Debug, Default)]
struct Volatile {
    column: bool,
    volatile: bool,
    /// It gives several rows.
    set: bool,
    window: bool,
    /// An aggregate that names no column.
    counts: bool,
}

/// The condition under which a key may be written, of what was made for its columns.
fn key_holds(
    proof: &Proof,
    found: Node,
    mut nulls: Vec<Node>,
    set: Vec<Node>,
    or_set: Option<Vec<Node>>,
) -> Node {
    let condition = if proof.nullable {
        // The proof comes first: it types a parameter that the null test alone would leave untyped.
        nulls.insert(0, found);
        build::or(nulls)
    } else {
        found
    };
    match (or_set, build::and(set)) {
        (Some(mut others), Some(own)) => {
            others.insert(0, own);
            let any = if others.len() == 1 { others.pop() } else { Some(build::or(others)) };
            build::and(std::iter::once(condition).chain(any).collect()).unwrap_or_else(build::null)
        }
        _ => condition,
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
