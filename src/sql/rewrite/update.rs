//! UPDATE: the target's predicate in WHERE, the relations of FROM in their own scope, the assignments guarded.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, RangeVar, ReturningClause, UpdateStmt};

use crate::catalog::{Relation, RelationKind};
use crate::config::model::Operation;
use crate::policy::{Access, Refusal, Tenancy};

use super::super::bind::{self, Binder, Facts, Level, Output, Scope, Source, unsupported};
use super::super::build;
use super::super::parse::parse_definition;
use super::barrier::Clause;
use super::key_proof::{Proof, proofs};
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
        level.first = Some(target.item);
        let scope = Scope { outer: None, level: &level, window: None, ctes: &names };
        let (relation, tenancy) = (target.relation.clone(), target.tenancy.clone());
        self.assignments(&scope, &relation, &tenancy, &target.access, &mut update.target_list, &mut facts)?;
        let positioned = self.positioned(&target, update.where_clause.as_deref(), &update.from_clause)?;
        level.proves.set(!positioned);
        if !positioned {
            update.where_clause =
                self.condition_of(&scope, Clause::Where, update.where_clause.take(), &mut facts)?;
        }
        let bind::Outputs { columns, open } =
            self.returning(&scope, &target, update.returning_clause.as_mut(), &mut facts)?;
        self.demand_reads(&target, &facts)?;
        placement::apply(self, &level, &mut update.from_clause, &mut update.where_clause)?;
        if !positioned {
            self.restrict_target(&target, &mut update.where_clause)?;
        }
        self.fence_ctes(&names, update.with_clause.as_mut());
        Ok(Output { columns, open, tenanted: true, facts: Facts::default(), ..Output::default() })
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
        let mut access = self.demand(&relation, operation, name.location)?;
        self.reserved(name.alias.as_ref().map_or(&name.relname, |a| &a.aliasname))?;
        if relation.kind == RelationKind::View {
            access.denied_columns.extend(self.unprovable_columns(&relation, &tenancy)?);
        }
        let columns = bind::columns_of(&relation, &|c| access.denied_columns.contains(c));
        let source = Source::Relation { relation: relation.clone(), tenancy: tenancy.clone() };
        let was = self.alias_of_its_own(level, name, &tenancy)?;
        let alias = name.alias.clone();
        let item = bind::push_target(level, alias.as_ref(), relation.name.clone(), columns, source);
        if let Some(item) = level.items.get_mut(item) {
            item.schema = alias.is_none().then(|| relation.schema.clone());
        }
        if let Some(item) = level.items.get_mut(item) {
            item.was = was;
        }
        let name = alias.map_or_else(|| relation.name.clone(), |a| a.aliasname);
        Ok(Target { relation, tenancy, access, name, item })
    }

    /// The columns of a view that stand for keys of its table: a key is proved on the table it belongs to, so
    /// through a view it is not written. The view's tenant column must be its table's.
    fn unprovable_columns(&self, view: &Relation, tenancy: &Tenancy) -> Result<Vec<String>, Refusal> {
        let refuse = || unsupported(&format!("a write through the view {}", view.name), -1);
        let definition = view.view_definition.as_deref().unwrap_or_default();
        let parsed = parse_definition(definition.trim().trim_end_matches(';'))?;
        let Some(NodeEnum::SelectStmt(select)) = parsed.node else { return Err(refuse()) };
        let [Node { node: Some(NodeEnum::RangeVar(name)) }] = select.from_clause.as_slice() else {
            return Err(refuse());
        };
        let table = self.catalog.find_relation(Some(&name.schemaname), &name.relname).ok_or_else(refuse)?;
        let table_tenancy = self.policy.tenancy(table.oid);
        let mut stands_for = Vec::new();
        for target in &select.target_list {
            let Some(NodeEnum::ResTarget(target)) = &target.node else { return Err(refuse()) };
            let column = match target.val.as_deref().map(|v| &v.node) {
                Some(Some(NodeEnum::ColumnRef(column))) => {
                    build::names(&column.fields).and_then(|n| table.column(n.last()?)).map(|c| c.number)
                }
                _ => None,
            };
            stands_for.push(column);
        }
        let (Tenancy::Tenant { column: own, .. }, Tenancy::Tenant { column: theirs, .. }) =
            (tenancy, table_tenancy)
        else {
            return Err(refuse());
        };
        let position = view.columns.iter().position(|c| c.number == *own);
        if position.and_then(|p| stands_for.get(p)) != Some(&Some(*theirs)) {
            return Err(refuse());
        }
        let keys: Vec<i16> = proofs(self, table, table_tenancy).iter().flat_map(Proof::own_columns).collect();
        let columns = view.columns.iter().zip(stands_for);
        let keyed = columns.filter(|(_, column)| column.is_some_and(|c| keys.contains(&c)));
        Ok(keyed.map(|(column, _)| column.name.clone()).collect())
    }

    /// Binds RETURNING and gives its columns. `old` and `new` (PostgreSQL 18) are two more names of the
    /// target's row.
    pub fn returning(
        &mut self,
        scope: &Scope<'_>,
        target: &Target,
        clause: Option<&mut ReturningClause>,
        facts: &mut Facts,
    ) -> Result<bind::Outputs, Refusal> {
        let Some(clause) = clause else { return Ok(bind::Outputs::default()) };
        if !target.access.allows(Operation::Select) {
            self.demand(&target.relation, Operation::Select, -1)?;
        }
        let mut level = Level::at(scope.level.depth);
        level.items.clone_from(&scope.level.items);
        level.merged.clone_from(&scope.level.merged);
        level.hidden.clone_from(&scope.level.hidden);
        level.first = scope.level.first;
        bind::push_old_and_new(&mut level, target.item, &clause.options)?;
        let around = scope.level;
        let scope = Scope { level: &level, ..*scope };
        self.stars_without_schema(&scope, &mut clause.exprs)?;
        self.expand_stars(&scope, &mut clause.exprs, false)?;
        let outputs = self.target_list(&scope, &mut clause.exprs, facts)?;
        self.write_out_stars(&scope, &mut clause.exprs)?;
        for (item, named) in around.items.iter().zip(&level.items) {
            item.learn(named);
        }
        Ok(outputs)
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
        condition: &mut Option<Box<Node>>,
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
