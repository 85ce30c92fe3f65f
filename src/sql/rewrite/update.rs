//! UPDATE: the target's predicate in WHERE, the relations of FROM in their own scope, the assignments guarded.

use pg_query::protobuf::{RangeVar, ReturningClause, UpdateStmt};

use crate::catalog::{Relation, RelationKind};
use crate::config::model::Operation;
use crate::policy::{Access, Refusal, Tenancy};

use super::super::bind::{self, Binder, Facts, Level, Output, Scope, Source, unsupported};
use super::super::build;
use super::placement;
use super::predicate::write_predicate;

/// The target of a write, bound.
pub(in crate::sql) struct Target {
    pub relation: std::sync::Arc<Relation>,
    pub tenancy: Tenancy,
    pub access: Access,
    /// The name that qualifies its columns.
    pub name: String,
    /// Its item in the level.
    pub item: usize,
}

impl Binder<'_> {
    /// Binds and rewrites an UPDATE.
    pub fn update(&mut self, ctes: &[(String, usize)], update: &mut UpdateStmt) -> Result<Output, Refusal> {
        let names = self.with_clause(None, ctes, update.with_clause.as_mut())?;
        let mut level = Level::at(0);
        let mut facts = Facts::default();
        self.bind_from(None, &names, &mut level, &mut update.from_clause, &mut facts)?;
        let target = self.target_of(&mut level, update.relation.as_mut(), Operation::Update)?;
        let scope = Scope { outer: None, level: &level, window: None, ctes: &names };
        let (relation, tenancy) = (target.relation.clone(), target.tenancy.clone());
        self.assignments(&scope, &relation, &tenancy, &target.access, &mut update.target_list, &mut facts)?;
        update.where_clause = self.condition_of(&scope, update.where_clause.take(), &mut facts)?;
        let columns = self.returning(&scope, &target, update.returning_clause.as_mut(), &mut facts)?;
        self.demand_reads(&target, &facts)?;
        placement::apply(self, &level, &mut update.from_clause, &mut update.where_clause)?;
        self.restrict_target(&target, &mut update.where_clause)?;
        self.fence_ctes(&names, update.with_clause.as_mut());
        Ok(Output { columns, tenanted: true, facts: Facts::default(), simple: false })
    }

    /// Finds the target of a write, asks for the operation, and puts it into the level as its last item.
    pub fn target_of(
        &mut self,
        level: &mut Level,
        name: Option<&mut RangeVar>,
        operation: Operation,
    ) -> Result<Target, Refusal> {
        let Some(name) = name else { return Err(unsupported("a write without a target", -1)) };
        let relation = self.relation(name)?;
        let tenancy = self.policy.tenancy(relation.oid).clone();
        if bind::is_system(&relation) || tenancy == Tenancy::Denied {
            return Err(self.no_relation(name));
        }
        let writable = matches!(
            relation.kind,
            RelationKind::Table | RelationKind::PartitionedTable | RelationKind::View
        );
        if !writable {
            return Err(unsupported("a write to this kind of relation", name.location));
        }
        let access = self.demand(&relation, operation, name.location)?;
        let columns = bind::columns_of(&relation, &|c| access.denied_columns.contains(c));
        let source = Source::Relation { relation: relation.clone(), tenancy: tenancy.clone() };
        let alias = name.alias.clone();
        let item = bind::push_target(level, alias.as_ref(), relation.name.clone(), columns, source);
        let name = alias.map_or_else(|| relation.name.clone(), |a| a.aliasname);
        Ok(Target { relation, tenancy, access, name, item })
    }

    /// Binds RETURNING and gives its columns. `old` and `new` (PostgreSQL 18) are two more names of the
    /// target's row.
    pub fn returning(
        &mut self,
        scope: &Scope<'_>,
        target: &Target,
        clause: Option<&mut ReturningClause>,
        facts: &mut Facts,
    ) -> Result<Vec<bind::ItemColumn>, Refusal> {
        let Some(clause) = clause else { return Ok(Vec::new()) };
        if !target.access.allows(Operation::Select) {
            self.demand(&target.relation, Operation::Select, -1)?;
        }
        let mut level = Level::at(scope.level.depth);
        level.items.clone_from(&scope.level.items);
        level.merged.clone_from(&scope.level.merged);
        level.hidden.clone_from(&scope.level.hidden);
        bind::push_old_and_new(&mut level, target.item, &clause.options)?;
        let scope = Scope { level: &level, ..*scope };
        self.expand_stars(&scope, &mut clause.exprs, false)?;
        self.target_list(&scope, &mut clause.exprs, facts)
    }

    /// A write that reads columns needs the right to read them.
    pub fn demand_reads(&mut self, target: &Target, facts: &Facts) -> Result<(), Refusal> {
        if facts.reads.contains(&(0, target.item)) && !target.access.allows(Operation::Select) {
            self.demand(&target.relation, Operation::Select, -1)?;
        }
        Ok(())
    }

    /// The target's own predicate, as the first conjunct of a WHERE.
    pub fn restrict_target(
        &mut self,
        target: &Target,
        condition: &mut Option<Box<pg_query::protobuf::Node>>,
    ) -> Result<(), Refusal> {
        if let Some(predicate) = write_predicate(self, &target.relation, &target.tenancy, &target.name)? {
            self.edit(build::NOWHERE, format!("{}: restricted to the tenant's rows, in WHERE", target.name));
            let mut all = vec![predicate];
            all.extend(condition.take().map(|c| *c));
            *condition = build::and(all).map(Box::new);
        }
        Ok(())
    }
}
