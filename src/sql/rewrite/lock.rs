//! LOCK TABLE in the modes that reading and writing rows takes anyway: such a lock stops no other tenant. The stronger
//! ones would, since a table is everybody's.

use pg_query::NodeEnum;
use pg_query::protobuf::{LockStmt, Node};

use crate::catalog::RelationKind;
use crate::config::model::Operation;
use crate::policy::{Refusal, Rule, SqlState, Tenancy};

use super::super::bind::{self, Binder, kind_of, unsupported};
use super::super::build;
use super::super::seen::place;

/// `AccessShareLock`, `RowShareLock` and `RowExclusiveLock` of lockdefs.h, and what each is taken for.
const MODES: [(i32, &[Operation]); 3] = [
    (1, &[Operation::Select]),
    (2, &[Operation::Update, Operation::Delete]),
    (3, &[Operation::Insert, Operation::Update, Operation::Delete]),
];

/// The names of the other modes, in order.
const STRONG: [&str; 5] =
    ["SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"];

impl Binder<'_> {
    /// Binds a LOCK.
    pub fn lock_tables(&mut self, lock: &mut LockStmt) -> Result<(), Refusal> {
        let Some((_, operations)) = MODES.iter().find(|(mode, _)| *mode == lock.mode) else {
            let strong = usize::try_from(lock.mode).ok().and_then(|mode| STRONG.get(mode.checked_sub(4)?));
            let message = format!(
                "LOCK TABLE in {} mode would stop every other tenant",
                strong.copied().unwrap_or("this")
            );
            return Err(Refusal::new(SqlState::DENIED, Rule("lock"), message).hint(
                "Use ROW EXCLUSIVE or a weaker mode, SELECT … FOR UPDATE, or pg_advisory_xact_lock, whose keys \
                 are the tenant's own.",
            ));
        };
        for node in &mut lock.relations {
            self.lock_relation(node, operations)?;
        }
        self.edit(build::NOWHERE, "such a lock stops nobody who reads or writes rows");
        Ok(())
    }

    fn lock_relation(&mut self, node: &mut Node, operations: &[Operation]) -> Result<(), Refusal> {
        let Some(NodeEnum::RangeVar(name)) = &mut node.node else {
            return Err(unsupported(&kind_of(node), build::NOWHERE));
        };
        let relation = self.relation(name)?;
        if bind::is_system(&relation) || *self.policy.tenancy(relation.oid) == Tenancy::Denied {
            return Err(self.no_relation(name));
        }
        if !matches!(relation.kind, RelationKind::Table | RelationKind::PartitionedTable) {
            return Err(unsupported("LOCK of this kind of relation", name.location));
        }
        let access = self.policy.access(self.role, &relation);
        match operations.iter().find(|operation| access.allows(**operation)) {
            Some(_) => self.touch(&relation, Operation::Select),
            None => {
                let message =
                    format!("role {} may not lock {}.{}", self.role, relation.schema, relation.name);
                return Err(Refusal::new(SqlState::DENIED, bind::ACCESS, message).at(place(name.location)));
            }
        }
        Ok(())
    }
}
