//! Cursors WITH HOLD: they outlive their transaction on the server connection that they were declared on, so that the
//! session keeps its lease until they are closed. What is followed here decides how long that is; that nobody else
//! ever reads one is decided by [`Server::cursors`](super::server::Server), which closes all of them before the
//! connection is another session's.

use std::collections::BTreeSet;

use crate::policy::{Refusal, Rule, SqlState, TenantId};
use crate::sql::{SavepointDeed, StatementKind};

/// Cursors that a session may hold at once.
const MOST_HELD: usize = 1024;

/// A session's cursors WITH HOLD.
#[derive(Debug, Default)]
pub struct Holds {
    held: BTreeSet<Box<str>>,
    /// Declared by the open transaction, with the number of savepoints before them.
    declared: Vec<(usize, Box<str>)>,
    /// Whose rows they show.
    tenant: Option<TenantId>,
}

impl Holds {
    /// Whether a cursor is held beyond its transaction.
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether a statement on cursors may be sent for this tenant. Rows that one tenant's transaction has put into a
    /// cursor are not read in another's.
    pub fn may_run(&self, kind: StatementKind, tenant: Option<&TenantId>) -> Result<(), Refusal> {
        let reads = matches!(kind, StatementKind::Fetch | StatementKind::HeldCursor);
        if reads && self.is_holding() && self.tenant.as_ref() != tenant {
            let message = "the session holds cursors of another tenant's transaction";
            return Err(Refusal::new(SqlState::DENIED, Rule("cursor"), message).hint("CLOSE them first."));
        }
        if kind == StatementKind::HeldCursor
            && self.held.len().saturating_add(self.declared.len()) >= MOST_HELD
        {
            let message = format!("a session may hold {MOST_HELD} cursors");
            return Err(Refusal::new(SqlState::TOO_LARGE, Rule("cursor"), message));
        }
        Ok(())
    }

    /// A DECLARE WITH HOLD has completed behind so many savepoints.
    pub fn declare(&mut self, name: &str, savepoints: usize, tenant: Option<&TenantId>) {
        self.declared.push((savepoints, name.into()));
        self.tenant = tenant.cloned();
    }

    /// A CLOSE has completed; none: of all. It is not undone by a rollback.
    pub fn close(&mut self, name: Option<&str>) {
        match name {
            Some(name) => {
                self.held.remove(name);
                self.declared.retain(|(_, declared)| **declared != *name);
            }
            None => {
                self.held.clear();
                self.declared.clear();
            }
        }
    }

    /// RELEASE or ROLLBACK TO of the savepoint with so many before it has completed.
    pub fn savepoint(&mut self, deed: SavepointDeed, before: usize) {
        match deed {
            SavepointDeed::Set => {}
            SavepointDeed::Release => {
                self.declared.iter_mut().for_each(|(savepoints, _)| *savepoints = (*savepoints).min(before));
            }
            SavepointDeed::RollbackTo => self.declared.retain(|(savepoints, _)| *savepoints <= before),
        }
    }

    /// The transaction has ended.
    pub fn transaction_ended(&mut self, committed: bool) {
        if self.declared.is_empty() {
            return;
        }
        let declared = std::mem::take(&mut self.declared);
        if committed {
            self.held.extend(declared.into_iter().map(|(_, name)| name));
        }
    }
}

/// 53400: too many leases are kept for cursors.
pub fn too_many_held() -> Refusal {
    let message = "too many server connections are kept for cursors WITH HOLD";
    Refusal::new(SqlState("53400"), Rule("cursor"), message)
        .hint("A cursor inside of a transaction needs none; or raise max_pinned.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_is_held_once_its_transaction_has_committed() {
        let mut holds = Holds::default();
        holds.declare("a", 0, None);
        holds.declare("b", 1, None);
        holds.declare("c", 2, None);
        holds.savepoint(SavepointDeed::Release, 1);
        holds.savepoint(SavepointDeed::RollbackTo, 0);
        assert!(!holds.is_holding());
        holds.transaction_ended(true);
        assert_eq!(holds.held.iter().map(|name| &**name).collect::<Vec<_>>(), ["a"]);
        holds.declare("d", 0, None);
        holds.transaction_ended(false);
        holds.close(Some("a"));
        assert!(!holds.is_holding());
    }

    #[test]
    fn another_tenant_does_not_read_what_is_held() {
        let (one, two) = (TenantId::new("1").unwrap(), TenantId::new("2").unwrap());
        let mut holds = Holds::default();
        holds.declare("a", 0, Some(&one));
        holds.transaction_ended(true);
        assert!(holds.may_run(StatementKind::Fetch, Some(&one)).is_ok());
        assert!(holds.may_run(StatementKind::Fetch, Some(&two)).is_err());
        assert!(holds.may_run(StatementKind::Fetch, None).is_err());
        assert!(holds.may_run(StatementKind::CloseCursor, Some(&two)).is_ok());
    }
}
