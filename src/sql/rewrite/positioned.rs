//! WHERE CURRENT OF: PostgreSQL's grammar lets nothing stand beside it, so the predicate cannot. It need not: the row is
//! the one that a cursor of this very transaction has just given. The cursor was declared by a statement that was rewritten
//! itself, in the same transaction and so for the same tenant, and PostgreSQL takes the row from a scan, or from a row
//! lock, that nothing but limits and sub-selects stands above (`search_plan_tree`, executor/execCurrent.c). What may be
//! read must then be what may be written: rows of nobody, which everybody may read, are the exception.

use pg_query::NodeEnum;
use pg_query::protobuf::Node;

use crate::config::model::Nulls;
use crate::policy::{Refusal, Tenancy};

use super::super::bind::{Binder, unsupported};
use super::super::build;
use super::update::Target;

impl Binder<'_> {
    /// Whether a write is of the row that a cursor stands on, and may be.
    pub(super) fn positioned(
        &mut self,
        target: &Target,
        condition: Option<&Node>,
        others: &[Node],
    ) -> Result<bool, Refusal> {
        let Some(NodeEnum::CurrentOfExpr(current)) = condition.and_then(|condition| condition.node.as_ref())
        else {
            return Ok(false);
        };
        let refuse = |what: &str| Err(unsupported(&format!("WHERE CURRENT OF {what}"), build::NOWHERE));
        if current.cursor_name.is_empty() {
            return refuse("a parameter");
        }
        if !others.is_empty() {
            return refuse("beside other relations");
        }
        match target.tenancy {
            Tenancy::Tenant { nulls: Nulls::Hidden, .. } => {}
            _ => return refuse("of a relation whose rows may be read and not written"),
        }
        self.edit(build::NOWHERE, "the row is one that a cursor of the same transaction gave");
        Ok(true)
    }
}
