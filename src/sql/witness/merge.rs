//! MERGE. Three kinds of rows are looked at, and each needs its own lock:
//!
//! * rows of the target that match: the target's predicate is a conjunct of ON;
//! * rows of the target that no source row matches (`WHEN NOT MATCHED BY SOURCE`): another tenant's rows fail ON,
//!   so each of these arms carries the predicate itself (VERSIONS.md, R17);
//! * rows of the source that match nothing (`WHEN NOT MATCHED`): a source row that fails ON is such a row, so a
//!   predicate in ON does not restrict the source of a MERGE with such an arm; it stands in a derived table.

use sqlparser::ast::{
    Merge, MergeAction, MergeClause, MergeClauseKind, MergeInsertExpr, MergeInsertKind, MergeUpdateExpr,
    MergeUpdateKind,
};

use super::Walk;
use super::facts::Tenancy;
use super::leaf::{Leaf, leaf_of};
use super::names;
use super::predicate::Access;
use super::scope::Scope;
use super::write::Row;

impl Walk<'_> {
    pub(super) fn merge(&mut self, merge: &Merge, scope: &Scope<'_>) {
        let Merge { merge_token: _, optimizer_hints, into: _, table, source, on, clauses, output } = merge;
        self.expect(optimizer_hints.is_empty() && output.is_none(), "a MERGE that PostgreSQL does not have");
        let sources = self.factor(source, scope);
        self.expression(on, scope);
        let unmatched = clauses.iter().any(looks_at_unmatched_source);
        if unmatched && sources.iter().any(|leaf| !is_everybodys(leaf)) {
            self.contradict("MERGE looks at source rows that fail ON, and the source is a tenant's relation");
        }
        self.require(&sources, Some(on), Access::Read);

        let target = leaf_of(self.prover.facts, table);
        let Some(target) = self.target(target, &table.to_string()) else { return };
        let guarded = is_everybodys(&target) || self.prover.restricts_or_guards(on, &target, Access::Write);
        if !guarded {
            self.contradict(format!(
                "MERGE into {}.{} has no tenant predicate in ON",
                target.schema, target.name
            ));
        }
        for clause in clauses {
            self.clause(clause, &target, scope);
        }
    }

    fn clause(&mut self, clause: &MergeClause, target: &Leaf<'_>, scope: &Scope<'_>) {
        let MergeClause { when_token: _, clause_kind, predicate, action } = clause;
        self.optional(predicate.as_ref(), scope);
        if *clause_kind == MergeClauseKind::NotMatchedBySource && !is_everybodys(target) {
            let guarded =
                predicate.as_ref().is_some_and(|p| self.prover.restricts_or_guards(p, target, Access::Write));
            if !guarded {
                self.contradict("WHEN NOT MATCHED BY SOURCE has no tenant predicate of its own");
            }
        }
        match action {
            MergeAction::Insert(insert) => self.merge_insert(insert, target, scope),
            MergeAction::Update(MergeUpdateExpr {
                update_token: _,
                kind,
                update_predicate,
                delete_predicate,
            }) => {
                self.expect(update_predicate.is_none() && delete_predicate.is_none(), "MERGE UPDATE WHERE");
                match kind {
                    MergeUpdateKind::Set(assignments) => self.assignments(assignments, target, scope),
                    MergeUpdateKind::Wildcard => self.cannot_read("MERGE UPDATE *"),
                }
            }
            MergeAction::Delete { .. } | MergeAction::DoNothing { .. } => {}
        }
    }

    fn merge_insert(&mut self, insert: &MergeInsertExpr, target: &Leaf<'_>, scope: &Scope<'_>) {
        let MergeInsertExpr { insert_token: _, columns, kind_token: _, kind, insert_predicate } = insert;
        self.expect(insert_predicate.is_none(), "MERGE INSERT WHERE");
        let MergeInsertKind::Values(values) = kind else { return self.cannot_read("MERGE INSERT of a row") };
        for row in &values.rows {
            self.expressions(&row.content, scope);
        }
        let columns: Vec<_> = columns.iter().map(names::column).collect();
        let rows: Vec<_> = values.rows.iter().map(|row| Row::of(&row.content)).collect();
        self.written(target, &columns, &rows);
    }
}

fn looks_at_unmatched_source(clause: &MergeClause) -> bool {
    let unmatched = match clause.clause_kind {
        MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget => true,
        MergeClauseKind::Matched | MergeClauseKind::NotMatchedBySource => false,
    };
    unmatched && (clause.predicate.is_some() || !matches!(clause.action, MergeAction::DoNothing { .. }))
}

fn is_everybodys(leaf: &Leaf<'_>) -> bool {
    matches!(leaf.tenancy, Tenancy::Shared | Tenancy::Catalog)
}
