//! DELETE: the target's predicate in WHERE, the relations of USING in their own scope.

use pg_query::protobuf::DeleteStmt;

use crate::config::model::Operation;
use crate::policy::Refusal;

use super::super::bind::{self, Binder, Facts, Level, Output, Scope};
use super::barrier::Clause;
use super::placement;

impl Binder<'_> {
    /// Binds and rewrites a DELETE.
    pub fn delete(&mut self, ctes: &[(String, usize)], delete: &mut DeleteStmt) -> Result<Output, Refusal> {
        let names = self.with_clause(None, ctes, delete.with_clause.as_mut())?;
        let mut level = Level::at(0);
        let mut facts = Facts::default();
        self.bind_from(None, &names, &mut level, &mut delete.using_clause, &mut facts)?;
        let target = self.target_of(&mut level, delete.relation.as_mut(), Operation::Delete)?;
        level.first = Some(target.item);
        let scope = Scope { outer: None, level: &level, window: None, ctes: &names };
        let positioned = self.positioned(&target, delete.where_clause.as_deref(), &delete.using_clause)?;
        level.proves.set(!positioned);
        if !positioned {
            delete.where_clause =
                self.condition_of(&scope, Clause::Where, delete.where_clause.take(), &mut facts)?;
        }
        let bind::Outputs { columns, open } =
            self.returning(&scope, &target, delete.returning_clause.as_mut(), &mut facts)?;
        self.demand_reads(&target, &facts)?;
        placement::apply(self, &level, &mut delete.using_clause, &mut delete.where_clause)?;
        if !positioned {
            self.restrict_target(&target, &mut delete.where_clause)?;
        }
        self.fence_ctes(&names, delete.with_clause.as_mut());
        Ok(Output { columns, open, tenanted: true, facts: Facts::default(), ..Output::default() })
    }
}
