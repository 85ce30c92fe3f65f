//! A session's portals. Their names are its own; the server knows them by others.

use std::collections::HashMap;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::statement::Statement;
use crate::sql::{Change, Execute};

/// The open portals.
#[derive(Debug)]
pub struct Portals {
    no_name: Rc<[u8]>,
    /// A Query may have left one without a name to a transaction that has failed.
    left: bool,
    /// The last Query has come so far as to make one.
    queried: bool,
    unnamed: Option<Portal>,
    named: HashMap<Box<str>, Portal>,
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
    /// The name of the statement that it executes, and with how many values.
    pub executes: Option<(Rc<str>, usize)>,
    /// What it sets.
    pub sets: Option<Rc<[Change]>>,
    /// It has been run by the proxy, and cannot be run again.
    pub is_done: bool,
    /// Its Bind has failed behind the point where the server makes the portal: there is one, and nothing in it.
    pub is_empty: bool,
    batch: u64,
}

impl Default for Portals {
    fn default() -> Self {
        let no_name = Rc::from(&b""[..]);
        Self {
            no_name,
            left: false,
            queried: false,
            unnamed: None,
            named: HashMap::new(),
            syncs: 0,
            answered: 0,
        }
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

    /// Whether a Bind to this name, of a statement that the server has or has not, is known to fail: the name is taken
    /// (the unnamed portal may always be replaced). Where both are the server's it decides, which knows best whether
    /// the portal is still there.
    pub fn is_taken(&self, name: &str, on_server: bool) -> bool {
        let portal = self.named.get(name).filter(|_| !name.is_empty());
        portal.is_some_and(|portal| !on_server || portal.server_name.is_none())
    }

    /// The server's name for a portal: always the same.
    pub fn server_name(&self, name: &str) -> Rc<[u8]> {
        if name.is_empty() { self.no_name.clone() } else { server_name(name).into_bytes().into() }
    }

    /// A Bind is done or sent. Gives the portal in whose place this one is.
    pub fn open(
        &mut self,
        name: &str,
        statement: Rc<Statement>,
        server_name: Option<Rc<[u8]>>,
    ) -> Option<Portal> {
        let portal = Portal {
            statement,
            server_name,
            executes: None,
            sets: None,
            is_done: false,
            is_empty: false,
            batch: self.syncs,
        };
        if name.is_empty() { self.unnamed.replace(portal) } else { self.named.insert(name.into(), portal) }
    }

    /// What has been done by this name was not run after all.
    pub fn put_back(&mut self, name: &str, before: Option<Portal>) {
        match before {
            Some(portal) if name.is_empty() => self.unnamed = Some(portal),
            Some(portal) => {
                self.named.insert(name.into(), portal);
            }
            None => {
                self.close(name);
            }
        }
    }

    /// The Bind to this name has failed, and left an empty portal.
    pub fn is_left_empty(&mut self, name: &str) {
        let portal = if name.is_empty() { self.unnamed.as_mut() } else { self.named.get_mut(name) };
        portal.into_iter().for_each(|portal| portal.is_empty = true);
    }

    /// Whether a transaction that has failed may have a portal of this name that is not known here.
    pub fn may_be_left(&self, name: &str) -> bool {
        self.left && name.is_empty()
    }

    /// The portal that was opened last by this name is one of an EXECUTE.
    pub fn will_execute(&mut self, name: &str, execute: &Execute) {
        let portal = if name.is_empty() { self.unnamed.as_mut() } else { self.named.get_mut(name) };
        if let Some(portal) = portal {
            portal.executes = Some((execute.name.as_str().into(), execute.arguments.len()));
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

    /// Names of those that the server has not got, which the end of their transaction drops.
    pub fn here(&self) -> Vec<Box<str>> {
        let is_here = |portal: &Portal| portal.server_name.is_none();
        let named = self.named.iter().filter(|(_, portal)| is_here(portal)).map(|(name, _)| name.clone());
        let unnamed = self.unnamed.as_ref().filter(|portal| is_here(portal)).map(|_| Box::from(""));
        named.chain(unnamed).collect()
    }

    /// Whether a Sync that is not answered may have closed it.
    pub fn is_unsure(&self, name: &str) -> bool {
        self.is_outstanding(self.find(name).map(|portal| portal.batch))
    }

    /// Close of one.
    pub fn close(&mut self, name: &str) -> Option<Portal> {
        if name.is_empty() { self.unnamed.take() } else { self.named.remove(name) }
    }

    /// A simple query destroys the unnamed portal, and if it fails leaves its own (`exec_simple_query`,
    /// tcop/postgres.c).
    #[inline]
    pub fn simple_query(&mut self) {
        self.unnamed = None;
        self.left = false;
        self.queried = true;
    }

    /// One that a transaction that has failed does not take, and does not come so far.
    #[inline]
    pub fn refused_query(&mut self) {
        self.queried = false;
    }

    /// The query has failed.
    pub fn query_failed(&mut self) {
        self.left |= std::mem::take(&mut self.queried);
    }

    /// A query that the server has not got destroys it too.
    pub fn forget_unnamed(&mut self) {
        self.unnamed = None;
    }

    /// The number of the batch that is open.
    pub fn batch(&self) -> u64 {
        self.syncs
    }

    /// Whether a Sync is not answered.
    #[inline]
    pub fn awaits_a_sync(&self) -> bool {
        self.answered != self.syncs
    }

    /// Whether a batch has had its Sync, which is not answered.
    pub fn is_outstanding(&self, batch: Option<u64>) -> bool {
        batch.is_some_and(|batch| (self.answered..self.syncs).contains(&batch))
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
            self.left = false;
            self.named.retain(|_, portal| portal.batch > batch);
            if self.unnamed.as_ref().is_some_and(|portal| portal.batch <= batch) {
                self.unnamed = None;
            }
        }
    }

    /// No transaction is open and nothing is outstanding.
    pub fn clear(&mut self) {
        self.unnamed = None;
        self.left = false;
        if !self.named.is_empty() {
            self.named.clear();
        }
    }
}

/// What stands before the client's name of a portal. SQL's cursors have names of their own.
const PREFIX: &str = "pgb_p";
/// PostgreSQL tells names apart by so many bytes (MAX_PORTALNAME_LEN, portalmem.c).
const LONGEST: usize = 63;

/// What a server says of portals, in the client's names.
pub(super) fn in_clients_names(message: &str) -> Option<String> {
    let prefix = "\"pgb_p";
    message.contains(prefix).then(|| message.replace(prefix, "\""))
}

fn server_name(name: &str) -> String {
    let end = name.floor_char_boundary(LONGEST);
    let name = name.get(..end).unwrap_or(name);
    if name.len().saturating_add(PREFIX.len()) <= LONGEST {
        return format!("{PREFIX}{name}");
    }
    let digest = Sha256::digest(name.as_bytes());
    let digest: String = digest.iter().take(24).map(|byte| format!("{byte:02x}")).collect();
    format!("pgb_h{digest}")
}
