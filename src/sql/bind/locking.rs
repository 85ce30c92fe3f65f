//! FOR UPDATE and its kin: what may be locked is what may be updated.

use pg_query::NodeEnum;
use pg_query::protobuf::{LockingClause, Node};

use crate::catalog::Oid;
use crate::config::model::Operation;
use crate::policy::Refusal;

use super::super::seen::mark;
use super::Binder;
use super::scope::{Item, Scope, Source};

impl Binder<'_> {
    /// Asks whether the role may lock the rows that a locking clause of this level names.
    pub(super) fn locking(&mut self, scope: &Scope<'_>, node: &mut Node) -> Result<(), Refusal> {
        let Some(NodeEnum::LockingClause(locking)) = &mut node.node else {
            return Err(super::unsupported(&super::kind_of(node), -1));
        };
        let LockingClause { locked_rels, .. } = locking;
        let mut ids: Vec<usize> = (0..scope.level.items.len()).collect();
        if !locked_rels.is_empty() {
            ids.clear();
            for locked in locked_rels {
                let Some(NodeEnum::RangeVar(name)) = &mut locked.node else {
                    return Err(super::unsupported(&super::kind_of(locked), -1));
                };
                let found =
                    scope.item_named(&name.relname, name.location)?.ok_or_else(|| self.no_relation(name))?;
                if let Some(own) = found.0.level.items.get(found.1).and_then(|item| item.name.as_ref()) {
                    name.relname.clone_from(own);
                }
                mark(&mut name.location);
                ids.push(found.1);
            }
        }
        let relations: Vec<Oid> =
            ids.into_iter().filter_map(|id| scope.level.items.get(id)).flat_map(locked).collect();
        for relation in relations.into_iter().filter_map(|oid| self.catalog.relation(oid)) {
            self.demand(relation, Operation::Update, -1)?;
        }
        Ok(())
    }
}

/// The relations whose rows a lock of an item's rows locks.
pub(super) fn locked(item: &Item) -> Vec<Oid> {
    let own = match &item.source {
        Source::Relation { relation, .. } => Some(relation.oid),
        _ => None,
    };
    own.into_iter().chain(item.below.iter().copied()).collect()
}
