//! What a session has SET: tracked as transactions commit and roll back, and played again on the next server
//! connection.

use std::collections::BTreeMap;

use super::outgoing::{OwnStatement, SettingText};
use super::reply::Sets;
use super::server::Server;
use crate::policy::{Refusal, Rule, SqlState};

/// A session's settings.
#[derive(Debug, Default)]
pub struct Settings {
    wanted: BTreeMap<String, SettingText>,
    pending: Vec<Sets>,
    failed: bool,
    savepoint: bool,
}

impl Settings {
    /// A setting that holds from the start of the session.
    pub fn begin_with(&mut self, name: String, text: SettingText) {
        self.wanted.insert(name, text);
    }

    /// Whether a SET may be sent now. After a SAVEPOINT it could be undone by a ROLLBACK TO that is not told
    /// apart from others: 0A000.
    pub fn may_set(&self, local: bool) -> Result<(), Refusal> {
        if self.savepoint && !local {
            let message = "SET after SAVEPOINT is not supported";
            return Err(Refusal::new(SqlState::NOT_SUPPORTED, Rule("set"), message)
                .hint("use SET LOCAL, or SET before the savepoint"));
        }
        Ok(())
    }

    /// A SAVEPOINT, RELEASE or ROLLBACK TO is sent.
    pub fn savepoint(&mut self) {
        self.savepoint = true;
    }

    /// A SET has completed.
    pub fn set(&mut self, sets: Sets) {
        self.pending.push(sets);
    }

    /// A statement failed.
    pub fn failed(&mut self) {
        self.failed = true;
    }

    /// COMMIT has completed.
    pub fn commit(&mut self, server: &mut Server) {
        for Sets { name, text } in self.pending.drain(..) {
            match text {
                Some(text) => {
                    self.wanted.insert(name.clone(), text.clone());
                    server.settings.insert(name, text);
                }
                None => {
                    self.wanted.remove(&name);
                    server.settings.remove(&name);
                }
            }
        }
    }

    /// ROLLBACK has completed.
    pub fn rollback(&mut self) {
        self.pending.clear();
    }

    /// ReadyForQuery says that no transaction is open.
    pub fn idle(&mut self, server: &mut Server) {
        if self.failed {
            self.rollback();
        } else if !self.pending.is_empty() {
            self.commit(server);
        }
        self.failed = false;
        self.savepoint = false;
    }

    /// Makes a server connection's settings the session's: gives what has to be sent for it.
    pub fn replay<'a>(&'a self, server: &mut Server) -> Vec<OwnStatement<'a>> {
        if self.wanted.is_empty() && server.settings.is_empty() || self.wanted == server.settings {
            return Vec::new();
        }
        let stale: Vec<String> =
            server.settings.keys().filter(|name| !self.wanted.contains_key(*name)).cloned().collect();
        let changed: Vec<(&String, &SettingText)> =
            self.wanted.iter().filter(|(name, text)| server.settings.get(*name) != Some(*text)).collect();
        for name in stale.iter().chain(changed.iter().map(|(name, _)| *name)) {
            server.touch(name);
        }
        server.settings.clone_from(&self.wanted);
        let resets = stale.into_iter().map(OwnStatement::Reset);
        resets.chain(changed.into_iter().map(|(_, text)| OwnStatement::Set(text))).collect()
    }
}
