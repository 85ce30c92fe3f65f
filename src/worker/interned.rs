//! The names of statements on server connections.

use std::rc::Rc;

use hashbrown::HashTable;

use crate::catalog::Oid;
use crate::session::outgoing::{Prepared, RenderedText};

/// Rendered statements that are known by name at most.
const MOST_INTERNED: usize = 8192;

/// Rendered statements by text and types: each has one name on every server connection.
#[derive(Debug, Default)]
pub struct Interned {
    table: HashTable<Rc<Prepared>>,
    hasher: foldhash::quality::RandomState,
    next: u64,
}

impl Interned {
    /// The statement of this text and these types.
    pub fn intern(&mut self, text: RenderedText, types: &[Oid]) -> Rc<Prepared> {
        use std::hash::BuildHasher;
        let hash = self.hasher.hash_one((text.bytes(), types));
        let same = |known: &Rc<Prepared>| known.text() == text.bytes() && known.types() == types;
        if let Ok(known) = self.table.find_entry(hash, same) {
            if !known.get().is_retired() {
                return known.get().clone();
            }
            known.remove();
        }
        if self.table.len() >= MOST_INTERNED {
            self.table.clear();
        }
        self.next = self.next.wrapping_add(1);
        let prepared = Rc::new(Prepared::new(self.next, text, types));
        let hasher = &self.hasher;
        self.table
            .insert_unique(hash, prepared.clone(), |known| hasher.hash_one((known.text(), known.types())));
        prepared
    }
}
