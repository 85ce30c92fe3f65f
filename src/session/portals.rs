//! A session's portals. Their names are its own; the server knows them by others.

use std::collections::HashMap;
use std::rc::Rc;

use super::statement::Statement;
use crate::sql::Change;

/// The open portals.
#[derive(Debug)]
pub struct Portals {
    no_name: Rc<[u8]>,
    unnamed: Option<Portal>,
    named: HashMap<Box<str>, Portal>,
    next: u64,
    syncs: u64,
    answered: u64,
}

/// An open portal.
#[derive(Debug, Clone)]
pub struct Portal {
    /// Its statement.
    pub statement: Rc<Statement>,
    /// The server's name of it; none: it is not on the server.
    pub server_name: Option<Rc<[u8]>>,
    /// What it sets.
    pub sets: Option<Rc<[Change]>>,
    /// It has been run by the proxy, and cannot be run again.
    pub is_done: bool,
    batch: u64,
}

impl Default for Portals {
    fn default() -> Self {
        let no_name = Rc::from(&b""[..]);
        Self { no_name, unnamed: None, named: HashMap::new(), next: 0, syncs: 0, answered: 0 }
    }
}

impl Portals {
    /// How many have a name.
    pub fn len(&self) -> usize {
        self.named.len()
    }

    /// Whether none has a name.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// Whether a name is taken (the unnamed portal may always be replaced).
    pub fn is_taken(&self, name: &str) -> bool {
        !name.is_empty() && self.named.contains_key(name)
    }

    /// The server's name for a portal that is about to be bound.
    pub fn server_name(&mut self, name: &str) -> Rc<[u8]> {
        if name.is_empty() {
            return self.no_name.clone();
        }
        self.next = self.next.wrapping_add(1);
        format!("pgb_p{}", self.next).into_bytes().into()
    }

    /// A Bind is done or sent.
    pub fn open(&mut self, name: &str, statement: Rc<Statement>, server_name: Option<Rc<[u8]>>) {
        let portal = Portal { statement, server_name, sets: None, is_done: false, batch: self.syncs };
        if name.is_empty() {
            self.unnamed = Some(portal);
        } else {
            self.named.insert(name.into(), portal);
        }
    }

    /// What the portal that was opened last by this name sets.
    pub fn will_set(&mut self, name: &str, sets: Option<Rc<[Change]>>) {
        let portal = if name.is_empty() { self.unnamed.as_mut() } else { self.named.get_mut(name) };
        if let (Some(portal), Some(sets)) = (portal, sets) {
            portal.sets = Some(sets);
        }
    }

    /// The portal of this name has been run by the proxy.
    pub fn ran(&mut self, name: &str) {
        let portal = if name.is_empty() { self.unnamed.as_mut() } else { self.named.get_mut(name) };
        if let Some(portal) = portal {
            portal.is_done = true;
        }
    }

    /// A portal by the client's name.
    pub fn find(&self, name: &str) -> Option<&Portal> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) }
    }

    /// Whether a Sync that is not answered may have closed it.
    pub fn is_unsure(&self, name: &str) -> bool {
        self.find(name).is_some_and(|portal| (self.answered..self.syncs).contains(&portal.batch))
    }

    /// Close of one.
    pub fn close(&mut self, name: &str) -> Option<Portal> {
        if name.is_empty() { self.unnamed.take() } else { self.named.remove(name) }
    }

    /// A simple query destroys the unnamed portal.
    pub fn simple_query(&mut self) {
        self.unnamed = None;
    }

    /// A Sync is sent: what is bound from now on belongs to the next batch.
    pub fn synced(&mut self) {
        self.syncs = self.syncs.wrapping_add(1);
    }

    /// A Sync is answered. Without a transaction, the portals that were bound before it are gone.
    pub fn answered(&mut self, idle: bool) {
        let batch = self.answered;
        self.answered = self.answered.wrapping_add(1);
        if idle {
            self.named.retain(|_, portal| portal.batch > batch);
            if self.unnamed.as_ref().is_some_and(|portal| portal.batch <= batch) {
                self.unnamed = None;
            }
        }
    }

    /// No transaction is open and nothing is outstanding.
    pub fn clear(&mut self) {
        self.unnamed = None;
        if !self.named.is_empty() {
            self.named.clear();
        }
    }
}
