//! ON CONFLICT: DO UPDATE must not touch another tenant's row, and must not be silent about it: its WHERE
//! raises there, as row-level security does. The SET list lies behind that guard.

use pg_query::NodeEnum;
use pg_query::protobuf::{InferClause, Node, OnConflictAction, OnConflictClause};

use crate::config::model::Operation;
use crate::policy::Refusal;

use super::super::bind::{self, Binder, Facts, Level, Scope, Source, kind_of, unsupported};
use super::super::build;
use super::predicate::write_predicate;
use super::sentinel::{Violation, raise};
use super::update::Target;

impl Binder<'_> {
    /// Binds and rewrites the ON CONFLICT of an INSERT into `target`, whose level is `level`.
    pub fn on_conflict(
        &mut self,
        level: &Level,
        ctes: &[(String, usize)],
        target: &Target,
        clause: &mut OnConflictClause,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        if target.relation.kind == crate::catalog::RelationKind::View {
            return Err(unsupported("ON CONFLICT through a view", clause.location));
        }
        if let Some(infer) = &mut clause.infer {
            let scope = Scope { outer: None, level, window: None, ctes };
            self.infer(&scope, infer, facts)?;
        }
        if clause.action != OnConflictAction::OnconflictUpdate as i32 {
            return Ok(());
        }
        self.demand(&target.relation, Operation::Update, clause.location)?;
        let mut both = Level::at(level.depth);
        both.items.clone_from(&level.items);
        let columns = bind::columns_of(&target.relation, &|c| target.access.denied_columns.contains(c));
        bind::push_row(&mut both, "excluded", columns, Source::Function);
        let scope = Scope { outer: None, level: &both, window: None, ctes };
        let (relation, tenancy) = (target.relation.clone(), target.tenancy.clone());
        self.assignments(&scope, &relation, &tenancy, &target.access, &mut clause.target_list, facts)?;
        self.optional(&scope, &mut clause.where_clause, facts)?;
        if let Some(predicate) = write_predicate(self, &target.relation, &target.tenancy, &target.name)? {
            let condition = clause.where_clause.take().map_or_else(|| build::boolean(true), |c| *c);
            let raise = raise(&self.policy.nonce, Violation::Tenant, &target.relation.name);
            let guard = build::case(vec![(predicate, condition), (raise, build::boolean(false))], None);
            clause.where_clause = Some(Box::new(guard));
            self.edit(clause.location, "ON CONFLICT DO UPDATE touches the tenant's rows only, or raises");
        }
        Ok(())
    }

    fn infer(
        &mut self,
        scope: &Scope<'_>,
        infer: &mut InferClause,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        for element in &mut infer.index_elems {
            let Some(NodeEnum::IndexElem(index)) = &mut element.node else {
                return Err(unsupported(&kind_of(element), infer.location));
            };
            let plain = index.opclass.is_empty() && index.opclassopts.is_empty();
            if !plain {
                return Err(unsupported("an operator class here", infer.location));
            }
            if let Some(expression) = &mut index.expr {
                self.expression(scope, expression, facts)?;
            }
        }
        let where_clause: &mut Option<Box<Node>> = &mut infer.where_clause;
        self.optional(scope, where_clause, facts)
    }
}
