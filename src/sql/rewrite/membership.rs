//! `EXISTS (…)` and `x IN (…)` beside the tenant's predicate.
//!
//! A sub-select in a scan's filter is run when the first row gets there, and that row may be another tenant's: by
//! an error over the tenant's own rows, or by its time alone, it would tell that a bare condition before it held on
//! such a row (`secret LIKE 'h%' AND id NOT IN (SELECT … slow …)`). So a membership stays bare only where PostgreSQL
//! surely makes a join of it (pull_up_sublinks, prepjointree.c): the join's rows have passed their scans' filters,
//! the tenant's predicates among them. A sub-select without references to the level around it is a One-Time Filter
//! under EXISTS, looked at before any row.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, BoolExprType, Node, SubLink, SubLinkType};

use crate::policy::Refusal;

use super::super::bind::{Binder, ColumnKind, Facts, Output, Scope, Single, unsupported};
use super::super::build;
use super::super::seen::mark;
use super::barrier::Clause;

impl Binder<'_> {
    /// `EXISTS (…)` and `x IN (…)`, plain or negated, and `x = (…)`: bound here, and whether it may stay bare. None
    /// for any other conjunct, which is then unbound still.
    pub(super) fn membership(
        &mut self,
        scope: &Scope<'_>,
        clause: Clause,
        conjunct: &mut Node,
        own: &mut Facts,
    ) -> Result<Option<bool>, Refusal> {
        if let Some(NodeEnum::AExpr(expr)) = &mut conjunct.node
            && let Some((test, sublink)) = equality_with_query(expr)
        {
            return self.equal_to_query(scope, clause, conjunct, test, sublink, own).map(Some);
        }
        let mut negated = false;
        let node = match &mut conjunct.node {
            Some(NodeEnum::BoolExpr(not)) if not.boolop == BoolExprType::NotExpr as i32 => {
                negated = true;
                match not.args.as_mut_slice() {
                    [inner] => inner,
                    _ => return Ok(None),
                }
            }
            _ => conjunct,
        };
        let Some(NodeEnum::SubLink(sublink)) = &mut node.node else { return Ok(None) };
        let equality = build::names(&sublink.oper_name).is_some_and(|n| n.is_empty() || n == ["="]);
        let exists = sublink.sub_link_type == SubLinkType::ExistsSublink as i32;
        let any = sublink.sub_link_type == SubLinkType::AnySublink as i32 && equality;
        if !exists && !any {
            return Ok(None);
        }
        self.sublink_operator(sublink)?;
        let mut tested = Facts::default();
        self.optional(scope, &mut sublink.testexpr, &mut tested)?;
        let Some(query) = &mut sublink.subselect else { return Err(unsupported("an empty sub-select", -1)) };
        let output = match exists {
            true => self.inner_query(scope, query)?,
            false => self.planned_alone(scope, query)?,
        };
        let joined = match exists {
            true => output.simple && (output.facts.reads.is_empty() || self.is_beside(scope, &output.facts)),
            false => !negated && self.is_joined(scope, &tested, &output),
        };
        merge_query(own, tested, &output);
        let bare = joined
            && clause == Clause::Where
            && !own.volatile
            && (exists || self.total_membership(scope, sublink.testexpr.as_deref(), &output));
        Ok(Some(bare))
    }

    /// `x = (SELECT …)` of at most one row is `x IN (SELECT …)` where only true counts, and a join is made of that.
    fn equal_to_query(
        &mut self,
        scope: &Scope<'_>,
        clause: Clause,
        conjunct: &mut Node,
        mut test: Box<Node>,
        mut sublink: Box<SubLink>,
        own: &mut Facts,
    ) -> Result<bool, Refusal> {
        let mut operator = vec![build::text("=")];
        self.operator_name(&mut operator, sublink.location)?;
        let mut tested = Facts::default();
        self.expression(scope, &mut test, &mut tested)?;
        let Some(query) = &mut sublink.subselect else { return Err(unsupported("an empty sub-select", -1)) };
        let output = self.planned_alone(scope, query)?;
        let joined = self.is_joined(scope, &tested, &output) && output.single.is_some();
        merge_query(own, tested, &output);
        let bare = joined
            && clause == Clause::Where
            && !own.volatile
            && self.total_membership(scope, Some(test.as_ref()), &output);
        if bare {
            if let Some(Single::Limited(location)) = output.single {
                self.pin(location);
            }
            self.edit(
                sublink.location,
                "a sub-select of one row is tested by IN, so that a join is made of it",
            );
            sublink.sub_link_type = SubLinkType::AnySublink as i32;
            sublink.testexpr = Some(test);
            sublink.oper_name = if operator.len() > 1 { operator } else { Vec::new() };
            conjunct.node = Some(NodeEnum::SubLink(sublink));
        } else if let Some(NodeEnum::AExpr(expr)) = &mut conjunct.node {
            let query = build::boxed(NodeEnum::SubLink(sublink));
            expr.name = operator;
            mark(&mut expr.location);
            match expr.lexpr {
                None => (expr.lexpr, expr.rexpr) = (Some(query), Some(test)),
                Some(_) => (expr.lexpr, expr.rexpr) = (Some(test), Some(query)),
            }
        }
        Ok(bare)
    }

    /// Whether PostgreSQL surely makes a join of `tested IN (query)`. A query that reads a level around is none up to
    /// PostgreSQL 16, also where that level is beside it only once another join has been made.
    fn is_joined(&self, scope: &Scope<'_>, tested: &Facts, output: &Output) -> bool {
        let correlated = output.facts.reads.iter().any(|(depth, _)| *depth >= self.root);
        output.joinable && !correlated && self.is_beside(scope, tested)
    }

    /// Whether what is read of the levels around lets a join be made beside the level where a membership stands: some of
    /// that level, and of those that are planned with it no other. A join is made with one side of the join around
    /// it, never with both (pull_up_sublinks_qual_recurse, prepjointree.c), and below NOT EXISTS with the inner side
    /// alone. What reads the level around a query of FROM alone is no join there, and a filter of that level's scan once
    /// that query has been taken apart.
    fn is_beside(&self, scope: &Scope<'_>, read: &Facts) -> bool {
        let beside = |(depth, _): &(usize, usize)| *depth == scope.level.depth;
        let mut planned = read.reads.iter().filter(|(depth, _)| *depth >= self.root);
        read.reads.iter().any(beside) && planned.all(beside)
    }

    /// Whether the tested expression, the sub-select's output and the comparison between them are total: an
    /// equivalence class carries each side's constants into the other's scan.
    fn total_membership(&mut self, scope: &Scope<'_>, test: Option<&Node>, output: &Output) -> bool {
        let Some(test) = test else { return false };
        let tests: Vec<&Node> = match &test.node {
            Some(NodeEnum::RowExpr(row)) => row.args.iter().collect(),
            _ => vec![test],
        };
        if tests.len() != output.columns.len() {
            return false;
        }
        tests.into_iter().zip(&output.columns).all(|(test, column)| {
            let aggregated = output.single == Some(Single::Aggregated);
            let plain = aggregated
                || match column.kind {
                    ColumnKind::Base { relation, .. } => self.has_trusted_indexes(relation),
                    ColumnKind::System | ColumnKind::Expression { total: true } => true,
                    ColumnKind::Expression { total: false } | ColumnKind::Virtual | ColumnKind::Denied => {
                        false
                    }
                };
            let types = self.type_of(scope, test).zip(column.ty);
            plain && self.is_total(scope, test) && types.is_some_and(|(l, r)| self.equality_is_total(l, r))
        })
    }
}

fn merge_query(own: &mut Facts, tested: Facts, output: &Output) {
    own.merge(tested);
    own.merge(output.facts.clone());
    own.tenanted |= output.tenanted;
    own.sublink = true;
}

/// The two sides of `x = (SELECT …)`, taken out; the side of the query stays empty on the left where it stood there.
fn equality_with_query(expr: &mut AExpr) -> Option<(Box<Node>, Box<SubLink>)> {
    let equality = expr.kind == AExprKind::AexprOp as i32 && build::names(&expr.name)? == ["="];
    let is_query = |side: &Option<Box<Node>>| match side.as_ref().and_then(|s| s.node.as_ref()) {
        Some(NodeEnum::SubLink(sublink)) => sublink.sub_link_type == SubLinkType::ExprSublink as i32,
        _ => false,
    };
    let is_row = |side: &Option<Box<Node>>| {
        matches!(side.as_ref().and_then(|s| s.node.as_ref()), Some(NodeEnum::RowExpr(_)) | None)
    };
    let (on_left, on_right) = (is_query(&expr.lexpr), is_query(&expr.rexpr));
    if !equality || on_left == on_right || is_row(&expr.lexpr) || is_row(&expr.rexpr) {
        return None;
    }
    let (query, test) = match on_left {
        true => (expr.lexpr.take()?, expr.rexpr.take()?),
        false => {
            let test = expr.lexpr.replace(Box::default())?;
            (expr.rexpr.take()?, test)
        }
    };
    match query.node {
        Some(NodeEnum::SubLink(sublink)) => Some((test, sublink)),
        _ => None,
    }
}
