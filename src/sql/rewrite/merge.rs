//! MERGE: the target's predicate in ON, the source behind its own in a derived table (a row of the source that
//! fails ON is «not matched», and would be acted on). An arm WHEN NOT MATCHED BY SOURCE (PostgreSQL 17)
//! carries the target's predicate itself: each row of another tenant fails ON and is not matched either.

use pg_query::NodeEnum;
use pg_query::protobuf::{CmdType, MergeMatchKind, MergeStmt, MergeWhenClause, Node};

use crate::catalog::Relation;
use crate::config::model::Operation;
use crate::policy::{Refusal, Tenancy};

use super::super::bind::{self, Binder, Facts, Level, Output, Scope, kind_of, unsupported};
use super::super::build;
use super::assignment::target_column;
use super::barrier::Clause;
use super::key_proof::{left_null, proofs};
use super::placement;
use super::predicate::{tenant_value, write_predicate};
use super::update::Target;

impl Binder<'_> {
    /// Binds and rewrites a MERGE.
    pub fn merge(&mut self, ctes: &[(String, usize)], merge: &mut MergeStmt) -> Result<Output, Refusal> {
        let names = self.with_clause(None, ctes, merge.with_clause.as_mut())?;
        let mut level = Level::at(0);
        let mut facts = Facts::default();
        let Some(source) = &mut merge.source_relation else {
            return Err(unsupported("a MERGE without a source", -1));
        };
        self.merge_source(&names, &mut level, source, &mut facts)?;
        let target = self.target_of(&mut level, merge.relation.as_mut(), Operation::Select)?;
        if target.relation.kind == crate::catalog::RelationKind::View {
            return Err(unsupported("MERGE into a view", -1));
        }
        let scope = Scope { outer: None, level: &level, window: None, ctes: &names };
        refuse_row_sources(&merge.merge_when_clauses)?;
        level.proves.set(true);
        let clause = match joins_in_full(&merge.merge_when_clauses) {
            true => Clause::FullMerge { target: target.item },
            false => Clause::On,
        };
        merge.join_condition = self.condition_of(&scope, clause, merge.join_condition.take(), &mut facts)?;
        for arm in &mut merge.merge_when_clauses {
            let Some(NodeEnum::MergeWhenClause(arm)) = &mut arm.node else {
                return Err(unsupported(&kind_of(arm), -1));
            };
            self.merge_arm(&scope, &target, arm, &mut facts)?;
        }
        let bind::Outputs { columns, open } =
            self.returning(&scope, &target, merge.returning_clause.as_mut(), &mut facts)?;
        self.prove(&level, &mut merge.join_condition)?;
        if let Some(source) = &mut merge.source_relation {
            let mut nothing = None;
            placement::apply(self, &level, std::slice::from_mut(source.as_mut()), &mut nothing)?;
        }
        self.restrict_target(&target, &mut merge.join_condition)?;
        self.fence_ctes(&names, merge.with_clause.as_mut());
        Ok(Output { columns, open, tenanted: true, facts: Facts::default(), ..Output::default() })
    }

    fn merge_arm(
        &mut self,
        scope: &Scope<'_>,
        target: &Target,
        arm: &mut MergeWhenClause,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let kind = MergeMatchKind::try_from(arm.match_kind).unwrap_or(MergeMatchKind::Undefined);
        // An arm names what it has: a row that is not matched has one side only.
        let seen: Vec<usize> = (0..scope.level.items.len())
            .filter(|id| match kind {
                MergeMatchKind::MergeWhenNotMatchedByTarget => *id != target.item,
                MergeMatchKind::MergeWhenNotMatchedBySource => *id == target.item,
                MergeMatchKind::MergeWhenMatched | MergeMatchKind::Undefined => true,
            })
            .collect();
        let scope = &Scope { window: Some(&seen), ..*scope };
        self.optional(scope, &mut arm.condition, facts)?;
        scope.level.guarded.set(true);
        let on_target = write_predicate(self, &target.relation, &target.tenancy, &target.name)?;
        let gate = match kind {
            MergeMatchKind::MergeWhenNotMatchedByTarget => None,
            MergeMatchKind::MergeWhenMatched | MergeMatchKind::MergeWhenNotMatchedBySource => on_target,
            MergeMatchKind::Undefined => return Err(unsupported("this arm of a MERGE", -1)),
        };
        let by_source = kind == MergeMatchKind::MergeWhenNotMatchedBySource;
        if let Some(gate) = gate.filter(|_| by_source || arm.condition.is_some()) {
            let condition = arm.condition.take().map_or_else(|| build::boolean(true), |c| *c);
            arm.condition = Some(Box::new(build::case(vec![(gate, condition)], Some(build::boolean(false)))));
            self.edit(build::NOWHERE, "an arm of MERGE acts on the tenant's rows only");
        }
        let location = -1;
        match CmdType::try_from(arm.command_type) {
            Ok(CmdType::CmdNothing) => Ok(()),
            Ok(CmdType::CmdDelete) => self.demand(&target.relation, Operation::Delete, location).map(|_| ()),
            Ok(CmdType::CmdUpdate) => {
                let access = self.demand(&target.relation, Operation::Update, location)?;
                let (relation, tenancy) = (target.relation.clone(), target.tenancy.clone());
                self.assignments(scope, &relation, &tenancy, &access, &mut arm.target_list, facts)
            }
            Ok(CmdType::CmdInsert) => self.merge_insert(scope, target, arm, facts),
            _ => Err(unsupported("this arm of a MERGE", -1)),
        }
    }

    fn merge_insert(
        &mut self,
        scope: &Scope<'_>,
        target: &Target,
        arm: &mut MergeWhenClause,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let access = self.demand(&target.relation, Operation::Insert, -1)?;
        let relation = target.relation.clone();
        for value in &mut arm.values {
            self.expression_or_default(scope, value, facts)?;
        }
        if arm.target_list.is_empty() && !arm.values.is_empty() {
            let columns = relation.columns.iter().take(arm.values.len());
            arm.target_list = columns.map(|c| named(&c.name)).collect();
        }
        let mut columns = Vec::new();
        for node in &arm.target_list {
            let Some(NodeEnum::ResTarget(column)) = &node.node else {
                return Err(unsupported(&kind_of(node), -1));
            };
            columns.extend(target_column(&relation, &access, column)?);
        }
        let Tenancy::Tenant { column, .. } = target.tenancy else {
            return Err(unsupported("MERGE's INSERT into a table without a tenant column", -1));
        };
        self.prove_keys(&relation, &target.tenancy, &columns, &mut arm.values)?;
        match columns.iter().position(|c| *c == column).and_then(|p| arm.values.get_mut(p)) {
            Some(value) => {
                let given = std::mem::take(value);
                *value = self.tenant_assignment(&relation, column, given)?;
            }
            None => {
                let name = relation.column_numbered(column).map(|c| c.name.clone()).unwrap_or_default();
                arm.target_list.push(named(&name));
                arm.values.push(tenant_value(self, &relation, column)?);
            }
        }
        Ok(())
    }

    /// Proves the keys of a row that an arm inserts.
    fn prove_keys(
        &mut self,
        relation: &Relation,
        tenancy: &Tenancy,
        columns: &[i16],
        values: &mut [Node],
    ) -> Result<(), Refusal> {
        for proof in proofs(self, relation, tenancy) {
            let by_column: Vec<(i16, Node)> = columns
                .iter()
                .zip(&*values)
                .filter(|(c, _)| proof.own_columns().any(|own| own == **c))
                .map(|(c, value)| (*c, value.clone()))
                .collect();
            if !self.must_prove(relation, &proof, columns)? || left_null(relation, &proof, &by_column)? {
                continue;
            }
            self.refuse_varying_key(&by_column)?;
            let proved = self.prove_key(relation, &proof, &by_column, None)?;
            let position = columns.iter().position(|c| proof.own_columns().next() == Some(*c));
            if let (Some(proved), Some(value)) = (proved, position.and_then(|p| values.get_mut(p))) {
                *value = proved;
            }
        }
        Ok(())
    }
}

/// Two arms that assign rows of sub-selects are refused: PostgreSQL numbers such sub-selects arm by arm and keeps one list
/// of their outputs for the statement (`multiexpr_params`, subselect.c), so that one arm reads what the other one left,
/// or memory that was freed: 15.20 and 18.4 crash, for all tenants.
fn refuse_row_sources(arms: &[Node]) -> Result<(), Refusal> {
    let assigns_row = |target: &Node| match &target.node {
        Some(NodeEnum::ResTarget(target)) => match target.val.as_deref().map(|value| &value.node) {
            Some(Some(NodeEnum::MultiAssignRef(multi))) => {
                !matches!(multi.source.as_deref(), Some(Node { node: Some(NodeEnum::RowExpr(_)) }))
            }
            _ => false,
        },
        _ => false,
    };
    let has_row = |arm: &&Node| match &arm.node {
        Some(NodeEnum::MergeWhenClause(arm)) => arm.target_list.iter().any(assigns_row),
        _ => false,
    };
    match arms.iter().filter(has_row).count() {
        0 | 1 => Ok(()),
        _ => Err(unsupported("an assignment of a sub-select's row in more than one arm of a MERGE", -1)
            .hint("Assign the columns one by one: PostgreSQL mixes the arms' rows up.")),
    }
}

/// Whether source rows and target rows that match nothing are both acted on.
fn joins_in_full(arms: &[Node]) -> bool {
    let acts = |kind: MergeMatchKind| {
        arms.iter().any(|arm| match &arm.node {
            Some(NodeEnum::MergeWhenClause(arm)) => {
                arm.match_kind == kind as i32 && arm.command_type != CmdType::CmdNothing as i32
            }
            _ => false,
        })
    };
    acts(MergeMatchKind::MergeWhenNotMatchedByTarget) && acts(MergeMatchKind::MergeWhenNotMatchedBySource)
}

fn named(name: &str) -> Node {
    let mut node = build::target(Node::default(), name);
    if let Some(NodeEnum::ResTarget(target)) = &mut node.node {
        target.val = None;
    }
    node
}
