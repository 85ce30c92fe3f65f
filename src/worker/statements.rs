//! Statements that sessions prepared, found by their texts: drivers send the same Parse over and over. One worker's.

use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::catalog::Oid;
use crate::session::statement::Statement;

/// Statements of one half; when it is full, the other half is dropped.
const HALF: usize = 2048;
/// Longer texts are looked up by their shapes each time.
const LONGEST: usize = 4096;

/// Statements of the current epoch by role, text and declared types, in two halves: what is found in the older one
/// moves to the younger.
#[derive(Debug, Default)]
pub(super) struct StatementTable {
    epoch: u64,
    hasher: RandomState,
    young: HashTable<Slot>,
    old: HashTable<Slot>,
}

#[derive(Debug)]
struct Slot {
    hash: u64,
    role: Arc<str>,
    statement: Rc<Statement>,
}

impl Slot {
    fn is(&self, role: &Arc<str>, text: &str, declared: &[Oid]) -> bool {
        let same_role = Arc::ptr_eq(&self.role, role) || self.role == *role;
        same_role && self.statement.text() == text && self.statement.declared() == declared
    }
}

impl StatementTable {
    /// The statement of this role, text and types, if it was kept in this epoch.
    pub(super) fn find(
        &mut self,
        epoch: u64,
        role: &Arc<str>,
        text: &str,
        declared: &[Oid],
    ) -> Option<Rc<Statement>> {
        if epoch != self.epoch || text.len() > LONGEST {
            return None;
        }
        let hash = self.hash(role, text, declared);
        if let Some(slot) = self.young.find(hash, |slot| slot.is(role, text, declared)) {
            return Some(slot.statement.clone());
        }
        let entry = self.old.find_entry(hash, |slot| slot.is(role, text, declared)).ok()?;
        let (slot, _) = entry.remove();
        let statement = slot.statement.clone();
        self.put(slot);
        Some(statement)
    }

    /// Keeps a statement that was not found.
    pub(super) fn keep(&mut self, role: &Arc<str>, statement: &Rc<Statement>) {
        let (text, declared) = (statement.text(), statement.declared());
        if text.len() > LONGEST {
            return;
        }
        if statement.epoch() != self.epoch {
            self.epoch = statement.epoch();
            self.young.clear();
            self.old.clear();
        }
        let hash = self.hash(role, text, declared);
        self.put(Slot { hash, role: role.clone(), statement: statement.clone() });
    }

    fn put(&mut self, slot: Slot) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert_unique(slot.hash, slot, |slot| slot.hash);
    }

    fn hash(&self, role: &str, text: &str, declared: &[Oid]) -> u64 {
        self.hasher.hash_one((role, text, declared))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(epoch: u64, text: &str) -> Rc<Statement> {
        Rc::new(Statement::empty(text, &[23], epoch))
    }

    #[test]
    fn statement_is_of_its_role_text_types_and_epoch() {
        let mut table = StatementTable::default();
        let (app, viewer): (Arc<str>, Arc<str>) = ("app".into(), "viewer".into());
        table.keep(&app, &statement(1, "select $1"));
        assert!(table.find(1, &"app".into(), "select $1", &[23]).is_some());
        assert!(table.find(1, &viewer, "select $1", &[23]).is_none());
        assert!(table.find(1, &app, "select $1", &[20]).is_none());
        assert!(table.find(1, &app, "select  $1", &[23]).is_none());
        assert!(table.find(2, &app, "select $1", &[23]).is_none());
        table.keep(&app, &statement(2, "select $2"));
        assert!(table.find(2, &app, "select $1", &[23]).is_none());
    }

    #[test]
    fn statements_that_never_come_again_do_not_push_out_one_that_does() {
        let mut table = StatementTable::default();
        let app: Arc<str> = "app".into();
        table.keep(&app, &statement(0, "hot"));
        for n in 0..10 * HALF {
            table.keep(&app, &statement(0, &n.to_string()));
            assert!(table.find(0, &app, "hot", &[23]).is_some());
        }
        assert!(table.young.len() + table.old.len() <= 2 * HALF);
    }
}
