//! The barrier.
//!
//! **Theorem.** No condition of a client is evaluated on another tenant's row, or with the planner's
//! statistics of one, unless it is total: unless it raises nothing, prints nothing and takes no time that the
//! value could choose.
//!
//! PostgreSQL evaluates the conditions of a scan in the order of their cost and pushes them into sub-selects,
//! and its planner applies them to the most common values of all tenants. So presence of the tenant
//! predicate is not enough. A conjunct stays bare, and keeps its indexes, when every node of it is total
//! ([`crate::sql::leaksafe`]). The rest waits:
//!
//! ```sql
//! CASE WHEN <the predicate of each relation that it reads> THEN (conjunct) ELSE false END
//! ```
//!
//! A CASE can be neither reordered nor taken apart. Over a nullable side the predicate admits the row that
//! the join made of nulls, told by a column that is never null in a real row. A conjunct that reads no
//! relation waits behind all of its level; where the level has only derived tables, which are fenced, it
//! stands in `CASE WHEN pg_catalog.now() IS NOT NULL`, because the planner's statistics go through a fence
//! and not through a CASE. HAVING waits behind `count(*) >= 0`, which keeps it above the scan.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, Node};

use crate::config::model::Barrier;
use crate::policy::{Refusal, Tenancy};

use super::super::bind::{Binder, Facts, Item, Scope, Source, Wish, unsupported};
use super::super::build;
use super::placement::item_predicate;

/// Where a condition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sql) enum Clause {
    /// WHERE of a query level.
    Where,
    /// ON, of MERGE too.
    On,
    /// ON of a FULL JOIN. PostgreSQL wants an equality there that it can hash or merge, so one stays bare
    /// where it is evaluated above fences alone.
    FullJoin,
    /// ON of a MERGE that is a FULL JOIN: one of the equalities is to stand at the top.
    FullMerge {
        /// The item that is written.
        target: usize,
    },
}

/// The items whose predicates a guard tests: (depth of the level, number in it).
type Guard = Vec<(usize, usize)>;

impl Binder<'_> {
    /// Binds a WHERE or ON condition; what may raise comes back behind its guard.
    pub fn condition_of(
        &mut self,
        scope: &Scope<'_>,
        clause: Clause,
        condition: Option<Box<Node>>,
        facts: &mut Facts,
    ) -> Result<Option<Box<Node>>, Refusal> {
        let Some(condition) = condition else { return Ok(None) };
        scope.level.conditions.set(true);
        let mut bare = Vec::new();
        let mut guarded: Vec<(Guard, Vec<Node>)> = Vec::new();
        for mut conjunct in build::conjuncts(*condition) {
            let mut own = Facts::default();
            let membership = self.membership(scope, clause, &mut conjunct, &mut own)?;
            if membership.is_none() {
                self.expression(scope, &mut conjunct, &mut own)?;
            }
            if own.volatile && clause != Clause::Where {
                self.keep_in_join(scope)?;
            }
            let bare_here = !self.is_exposed(scope, &own)
                || membership.unwrap_or_else(|| self.condition_is_total(scope, &conjunct))
                || clause == Clause::FullJoin && self.compares_above(scope, &own, &mut conjunct);
            if bare_here {
                bare.push(conjunct);
            } else if let Some(gates) = self.gates(scope, clause, &own, &conjunct) {
                bare.extend(gates);
                bare.push(conjunct);
            } else if self.waits_in_operand(scope, clause, &own, &mut conjunct)? {
                scope.level.guarded.set(true);
                bare.push(conjunct);
            } else {
                let guard = self.guard_of(scope, &own);
                for test in self.presence(scope, clause, &conjunct) {
                    if !bare.contains(&test) {
                        bare.push(test);
                    }
                }
                match guarded.iter_mut().find(|(known, _)| *known == guard) {
                    Some((_, conjuncts)) => conjuncts.push(conjunct),
                    None => guarded.push((guard, vec![conjunct])),
                }
            }
            facts.merge(own);
        }
        for (guard, conjuncts) in guarded {
            scope.level.guarded.set(true);
            bare.push(self.guarded(scope, &guard, conjuncts)?);
        }
        Ok(build::and(bare).map(Box::new))
    }

    /// Binds HAVING.
    pub fn having(
        &mut self,
        scope: &Scope<'_>,
        condition: Option<Box<Node>>,
        facts: &mut Facts,
    ) -> Result<Option<Box<Node>>, Refusal> {
        let Some(condition) = condition else { return Ok(None) };
        scope.level.conditions.set(true);
        let mut bare = Vec::new();
        let mut rest = Vec::new();
        for mut conjunct in build::conjuncts(*condition) {
            let mut own = Facts::default();
            self.expression(scope, &mut conjunct, &mut own)?;
            if !self.is_exposed(scope, &own) || self.condition_is_total(scope, &conjunct) {
                bare.push(conjunct);
            } else {
                rest.push(conjunct);
            }
            facts.merge(own);
        }
        if let Some(rest) = build::and(rest) {
            scope.level.guarded.set(true);
            // An aggregate is no legal part of a recursive term; a volatile call is not pushed down either.
            let never_pushed =
                if self.recursive_term { build::call("random", Vec::new()) } else { build::count_star() };
            let gate = build::operator(">=", never_pushed, build::integer(0));
            bare.push(build::case(vec![(gate, rest)], Some(build::boolean(false))));
            self.edit(build::NOWHERE, "HAVING: kept above the scan");
        }
        Ok(build::and(bare).map(Box::new))
    }

    /// Keeps a volatile condition in its join. Where both sides are queries without FROM, PostgreSQL takes the join
    /// apart, and the condition becomes a filter of what stands beside it (remove_useless_result_rtes, prepjointree.c).
    fn keep_in_join(&self, scope: &Scope<'_>) -> Result<(), Refusal> {
        if self.policy.barrier == Barrier::Off {
            return Ok(());
        }
        let seen = |id: &usize| scope.window.is_none_or(|window| window.contains(id));
        let items = scope.level.items.iter().enumerate().filter(|(id, _)| seen(id)).map(|(_, item)| item);
        let mut kept = false;
        for item in items {
            match item.source {
                Source::Relation { .. } => kept = true,
                Source::Derived { .. } | Source::Cte(_) => {
                    item.fence.set(true);
                    kept = true;
                }
                Source::Function | Source::JoinAlias { .. } => {}
            }
        }
        match kept {
            true => Ok(()),
            false => Err(unsupported("a volatile condition that joins functions alone", -1)
                .hint("Write it into WHERE.")),
        }
    }

    /// Whether a condition can meet another tenant's row at all.
    fn is_exposed(&self, scope: &Scope<'_>, own: &Facts) -> bool {
        if self.policy.barrier == Barrier::Off {
            return false;
        }
        own.tenanted
            || scope.level.items.iter().any(|i| self.is_tenanted(&i.source))
            || own.reads.iter().any(|at| item_at(scope, *at).is_some_and(|i| self.is_tenanted(&i.source)))
    }

    /// `a.x = b.y` between columns whose comparison cannot raise, wherever their values come from.
    fn is_total_equality(&self, scope: &Scope<'_>, conjunct: &Node) -> bool {
        let Some((left, right)) = equality(conjunct) else { return false };
        let column = |node: &Node| {
            matches!(node.node, Some(NodeEnum::ColumnRef(_))).then(|| self.type_of(scope, node)).flatten()
        };
        column(left).zip(column(right)).is_some_and(|(left, right)| self.equality_is_total(left, right))
    }

    /// Whether a condition of a FULL JOIN is an equality that is evaluated above fences alone, and that the planner
    /// cannot evaluate on what it knows of the rows below them.
    fn compares_above(&self, scope: &Scope<'_>, own: &Facts, conjunct: &mut Node) -> bool {
        equality(conjunct).is_some()
            && self.fence_all(scope, own)
            && (self.is_total_equality(scope, conjunct) || hide_side(conjunct))
    }

    /// Makes fences of the derived tables that a condition reads. False where it reads a relation by itself.
    fn fence_all(&self, scope: &Scope<'_>, own: &Facts) -> bool {
        let items: Vec<&Item> = own.reads.iter().filter_map(|at| item_at(scope, *at)).collect();
        if own.sublink || items.iter().any(|i| has_predicate(i)) {
            return false;
        }
        for item in items.iter().filter(|i| self.is_tenanted(&i.source)) {
            item.fence.set(true);
        }
        true
    }

    /// Which predicates a conjunct waits for, and which derived tables have to be fences because of it.
    fn guard_of(&self, scope: &Scope<'_>, own: &Facts) -> Guard {
        let depth = scope.level.depth;
        // An aggregate in WHERE or ON is one of a level around, which has been grouped for it: of the only one that
        // is read.
        let around: BTreeSet<usize> = own.reads.iter().map(|(d, _)| *d).filter(|d| *d < depth).collect();
        let aggregated = (own.aggregate || own.around) && around.len() == 1;
        let mut guard: Guard = Vec::new();
        let mut derived = false;
        for at in own.reads.iter().filter(|(d, _)| *d <= depth) {
            let Some(item) = item_at(scope, *at) else { continue };
            if has_predicate(item) {
                let grouped = is_grouped(scope, at.0) || aggregated && at.0 < depth;
                if !grouped {
                    guard.push(*at);
                }
            } else if self.is_tenanted(&item.source) {
                item.fence.set(true);
                derived = true;
            }
        }
        let here = |guard: &Guard| guard.iter().any(|(d, _)| *d == depth);
        if own.volatile || (!here(&guard) && !derived) {
            let seen = |id: &usize| scope.window.is_none_or(|w| w.contains(id));
            let all = (0..scope.level.items.len()).filter(seen).map(|id| (depth, id));
            guard.extend(all.filter(|at| item_at(scope, *at).is_some_and(has_predicate)));
            guard.sort_unstable();
            guard.dedup();
        }
        guard
    }

    fn guarded(&mut self, scope: &Scope<'_>, guard: &Guard, conjuncts: Vec<Node>) -> Result<Node, Refusal> {
        let mut conditions = Vec::new();
        for at in guard {
            let Some(item) = item_at(scope, *at) else { continue };
            if !names_itself(scope, *at, item) {
                self.wish = item.known_as().map(|name| Wish::Hidden(name.to_owned()));
                return Err(unsupported("a condition over a relation whose name another one hides", -1)
                    .hint("Give the relations of the inner query other names."));
            }
            conditions.extend(self.guard_condition(item)?);
        }
        let gate = match build::and(conditions) {
            Some(gate) => gate,
            None => build::null_test(build::call("now", Vec::new()), false),
        };
        let condition = build::and(conjuncts).ok_or_else(|| unsupported("an empty condition", -1))?;
        self.edit(build::NOWHERE, "a condition that may raise waits behind the tenant predicate");
        Ok(build::case(vec![(gate, condition)], Some(build::boolean(false))))
    }

    /// An item's predicate as a guard tests it.
    pub(super) fn guard_condition(&mut self, item: &Item) -> Result<Option<Node>, Refusal> {
        let Some(predicate) = item_predicate(self, item)? else { return Ok(None) };
        if !item.nulled.get() {
            return Ok(Some(predicate));
        }
        let never_null = never_null_column(item);
        let name = item.name.as_deref().unwrap_or_default();
        let absent = build::null_test(build::column(&[name, &never_null]), true);
        Ok(Some(build::or(vec![predicate, absent])))
    }
}

/// The sides of `x = y`, by PostgreSQL's own operator.
pub(super) fn equality(conjunct: &Node) -> Option<(&Node, &Node)> {
    let Some(NodeEnum::AExpr(expr)) = &conjunct.node else { return None };
    let own = expr.kind == AExprKind::AexprOp as i32 && build::names(&expr.name)? == ["="];
    own.then_some(expr.lexpr.as_deref().zip(expr.rexpr.as_deref())?)
}

/// An equality that is evaluated above the fences of both sides alone may raise on the tenant's rows. But the planner
/// compares what its statistics have of both sides (eqjoinsel, selfuncs.c), and they go through a fence: so one side
/// becomes an expression, of which there are none. Nothing folds it back, since `now()` has no value yet.
fn hide_side(conjunct: &mut Node) -> bool {
    if equality(conjunct).is_none() {
        return false;
    }
    let Some(NodeEnum::AExpr(expr)) = &mut conjunct.node else { return false };
    let shown = |side: &Option<Box<Node>>| {
        let node = side.as_deref().and_then(|n| n.node.as_ref());
        node.is_some_and(|n| !matches!(n, NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::RowExpr(_)))
    };
    let side = if shown(&expr.lexpr) { &mut expr.lexpr } else { &mut expr.rexpr };
    if !shown(side) {
        return false;
    }
    let Some(value) = side.take() else { return false };
    let always = build::null_test(build::call("now", Vec::new()), false);
    *side = Some(Box::new(build::case(vec![(always, *value)], None)));
    true
}

fn item_at<'p>(scope: &Scope<'p>, (depth, id): (usize, usize)) -> Option<&'p Item> {
    scope.level_at(depth)?.items.get(id)
}

/// Whether a level around this one was grouped before this is evaluated. Its rows have passed its WHERE then:
/// PostgreSQL never takes a grouped query apart, and moves a condition out of HAVING only where it holds no
/// sub-select (subquery_planner, planner.c). Nor could a guard name its columns, which are no keys of the groups.
fn is_grouped(scope: &Scope<'_>, depth: usize) -> bool {
    depth < scope.level.depth && scope.level_at(depth).is_some_and(|level| level.grouped.get())
}

/// Whether an item's name means this item here, and not one of an inner level.
fn names_itself(scope: &Scope<'_>, (depth, id): (usize, usize), item: &Item) -> bool {
    let name = item.name.as_deref().unwrap_or_default();
    let found = scope.item_named(name, -1);
    matches!(found, Ok(Some((at, found))) if at.level.depth == depth && found == id)
}

pub(super) fn has_predicate(item: &Item) -> bool {
    matches!(&item.source, Source::Relation { tenancy, .. } if tenancy.is_tenanted()) && item.name.is_some()
}

/// A column that is never null in a real row: the tenant column where it is NOT NULL, else of the primary
/// key, else any NOT NULL one, else `tableoid`.
pub(in crate::sql) fn never_null_column(item: &Item) -> String {
    let Source::Relation { relation, tenancy } = &item.source else { return "tableoid".to_owned() };
    let tenant = match tenancy {
        Tenancy::Tenant { column, .. } => Some(*column),
        Tenancy::Child { .. } | Tenancy::Shared | Tenancy::Denied => None,
    };
    let candidates = tenant.into_iter().chain(relation.primary_key.iter().copied());
    let all = relation.columns.iter().map(|c| c.number);
    let stored = |number: &i16| {
        relation
            .column_numbered(*number)
            .is_some_and(|c| c.not_null && c.generated != crate::catalog::Generated::Virtual)
    };
    let chosen = candidates.chain(all).find(stored);
    let position = chosen.and_then(|number| relation.columns.iter().position(|c| c.number == number));
    position.and_then(|p| item.columns.get(p)).map_or_else(|| "tableoid".to_owned(), |c| c.name.clone())
}
