//! `(a, b) = (SELECT …)`: where such a row gives the tenant column or a key, the guards stand in the outputs of a
//! SELECT around it. The sub-select may give no row, and all its columns are null then: a left join from a row that is
//! always there keeps that, and the guards see it.
//!
//! ```sql
//! (tenant_id, a) = (SELECT <guard of s.v1>, s.v2
//!                   FROM (SELECT 1) AS one LEFT JOIN (SELECT … OFFSET 0) AS s(v1, v2) ON true)
//! ```

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, JoinExpr, JoinType, Node, SelectStmt, SetOperation};

use crate::catalog::Relation;
use crate::policy::{Refusal, SqlState};

use super::super::bind::{Binder, FORM, star_of, unsupported};
use super::super::build;
use super::key_proof::Proof;

/// The source of a row assignment, taken out of its targets.
pub(super) struct RowSource {
    /// The first of its targets.
    first: usize,
    alias: String,
    inner: SelectStmt,
    outputs: Vec<Node>,
}

impl RowSource {
    /// The place among its columns of the target of this number.
    pub fn place(&self, number: usize) -> Option<usize> {
        number.checked_sub(self.first).filter(|place| *place < self.outputs.len())
    }

    fn value(&self, place: usize) -> Node {
        build::column(&[&self.alias, &format!("v{}", place.saturating_add(1))])
    }

    /// The output, if no guard has been put around it.
    fn bare(&self, place: usize) -> Option<Node> {
        let value = self.value(place);
        (self.outputs.get(place) == Some(&value)).then_some(value)
    }

    fn guard(&mut self, place: usize, guarded: Node) {
        if let Some(output) = self.outputs.get_mut(place) {
            *output = guarded;
        }
    }

    /// Puts the guarded row in the place of the client's.
    pub fn close(self, targets: &mut [Node]) {
        let width = self.outputs.len();
        let one = build::select(vec![build::target(build::integer(1), "")], Vec::new(), None);
        let one_alias = Alias { aliasname: format!("{}one", self.alias), colnames: Vec::new() };
        let mut inner = self.inner;
        build::fence(&mut inner);
        let colnames = (1..=width).map(|n| build::text(&format!("v{n}"))).collect();
        let alias = Alias { aliasname: self.alias, colnames };
        let join = build::node(NodeEnum::JoinExpr(Box::new(JoinExpr {
            jointype: JoinType::JoinLeft as i32,
            larg: Some(Box::new(build::derived(one, Some(one_alias)))),
            rarg: Some(Box::new(build::derived(inner, Some(alias)))),
            quals: Some(Box::new(build::boolean(true))),
            ..JoinExpr::default()
        })));
        let outputs = self.outputs.into_iter().map(|output| build::target(output, "")).collect();
        let source = build::scalar(build::select(outputs, vec![join], None));
        for target in targets.iter_mut().skip(self.first).take(width) {
            if let Some(NodeEnum::ResTarget(target)) = &mut target.node
                && let Some(NodeEnum::MultiAssignRef(multi)) =
                    target.val.as_deref_mut().and_then(|value| value.node.as_mut())
            {
                multi.source = Some(Box::new(source.clone()));
            }
        }
    }
}

impl Binder<'_> {
    /// Takes the source of the row assignment that the target of this number belongs to, if it is a sub-select.
    pub(super) fn row_source(
        &mut self,
        targets: &[Node],
        number: usize,
    ) -> Result<Option<RowSource>, Refusal> {
        let multi = match targets.get(number).map(|target| &target.node) {
            Some(Some(NodeEnum::ResTarget(target))) if target.indirection.is_empty() => {
                match target.val.as_deref().map(|value| &value.node) {
                    Some(Some(NodeEnum::MultiAssignRef(multi))) => multi,
                    _ => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        let Some(NodeEnum::SubLink(link)) = multi.source.as_deref().and_then(|source| source.node.as_ref())
        else {
            return Ok(None);
        };
        let Some(NodeEnum::SelectStmt(inner)) = link.subselect.as_deref().and_then(|s| s.node.as_ref())
        else {
            return Ok(None);
        };
        let columns = usize::try_from(multi.ncolumns).unwrap_or(0);
        let before = usize::try_from(multi.colno).unwrap_or(0).checked_sub(1);
        let Some(first) = before.and_then(|before| number.checked_sub(before)) else { return Ok(None) };
        match width(inner) {
            Some(width) if width == columns => {}
            Some(_) => {
                let message = "number of columns does not match number of values";
                return Err(Refusal::new(SqlState::SYNTAX, FORM, message));
            }
            None => {
                return Err(unsupported("a row assignment of keys through *", -1)
                    .hint("Name the columns in the SELECT."));
            }
        }
        let mut source = RowSource {
            first,
            alias: self.fresh_alias("row"),
            inner: inner.as_ref().clone(),
            outputs: Vec::new(),
        };
        source.outputs = (0..columns).map(|place| source.value(place)).collect();
        Ok(Some(source))
    }

    /// Guards the value of the tenant column in a row.
    pub(super) fn guard_tenant_in_row(
        &mut self,
        relation: &Relation,
        column: i16,
        source: &mut RowSource,
        place: usize,
    ) -> Result<(), Refusal> {
        let value =
            source.bare(place).ok_or_else(|| unsupported("this assignment to the tenant column", -1))?;
        let guarded = self.tenant_assignment(relation, column, value)?;
        source.guard(place, guarded);
        self.edit(build::NOWHERE, "the tenant column gets the tenant's value, or the statement raises");
        Ok(())
    }

    /// Proves a key whose columns, of these places, come in one row.
    pub(super) fn prove_key_in_row(
        &mut self,
        relation: &Relation,
        proof: &Proof,
        source: &mut RowSource,
        places: &[(i16, usize)],
    ) -> Result<(), Refusal> {
        let refuse = || unsupported("this assignment to a foreign key", -1);
        let values: Vec<(i16, Node)> =
            places.iter().map(|(column, place)| (*column, source.value(*place))).collect();
        let first = proof.own_columns().next();
        let place = places.iter().find(|(column, _)| Some(*column) == first).map(|(_, place)| *place);
        // Where a guard stands already, another would take its place.
        let place = place.filter(|place| source.bare(*place).is_some()).ok_or_else(refuse)?;
        if let Some(proved) = self.prove_key(relation, proof, &values, None)? {
            source.guard(place, proved);
            self.edit(build::NOWHERE, "a key must point at a row of the tenant's");
        }
        Ok(())
    }
}

/// How many columns a query has, where its own text says so.
fn width(select: &SelectStmt) -> Option<usize> {
    if select.op != SetOperation::SetopNone as i32 {
        return width(select.larg.as_deref()?);
    }
    if let Some(row) = select.values_lists.first() {
        return match &row.node {
            Some(NodeEnum::List(row)) => Some(row.items.len()),
            _ => None,
        };
    }
    let is_star = |target: &Node| match &target.node {
        Some(NodeEnum::ResTarget(target)) => target.val.as_deref().is_none_or(|v| star_of(v).is_some()),
        _ => true,
    };
    (!select.target_list.iter().any(is_star)).then_some(select.target_list.len())
}
