//! What a session has SET: tracked as transactions and savepoints end, and played again on the next server
//! connection. The server undoes a SET with the savepoint or transaction that it was made in (`AtEOXact_GUC`,
//! utils/misc/guc.c), and so does this.

use std::rc::Rc;

use super::outgoing::{OwnStatement, SettingText};
use super::reports::Reports;
use super::server::Server;
use super::setting_texts::SettingTexts;
use crate::sql::{Change, SavepointDeed};

/// Savepoints that are followed at most. A session beyond it keeps its settings as they were.
const MOST_SAVEPOINTS: usize = 65_536;

/// A session's settings.
#[derive(Debug, Default)]
pub struct Settings {
    /// What the session was started with: RESET goes back to it.
    base: SettingTexts,
    wanted: SettingTexts,
    /// What the client is told of them.
    pub(super) reports: Reports,
    /// What the open transaction has changed, before its first savepoint.
    pending: Pending,
    /// The same behind each savepoint.
    savepoints: Vec<(Box<str>, Pending)>,
    failed: bool,
    stale: bool,
}

/// Changes in the order in which they were made.
type Pending = Vec<Rc<[Change]>>;

impl Settings {
    /// A setting that holds from the start of the session.
    pub fn begin_with(&mut self, name: String, text: SettingText) {
        self.base.insert(name.clone(), text.clone());
        self.wanted.insert(name, text);
    }

    /// What holds from the start of the session.
    pub(super) fn at_start(&self) -> &SettingTexts {
        &self.base
    }

    /// A SET has completed.
    pub fn set(&mut self, changes: Rc<[Change]>) {
        if changes.iter().any(|change| !change.local) {
            self.innermost().push(changes);
        }
    }

    fn innermost(&mut self) -> &mut Pending {
        self.savepoints.last_mut().map_or(&mut self.pending, |(_, pending)| pending)
    }

    /// How many savepoints are set.
    pub fn savepoints(&self) -> usize {
        self.savepoints.len()
    }

    /// A SAVEPOINT, RELEASE or ROLLBACK TO has completed; gives how many savepoints stand before it.
    pub fn savepoint(&mut self, deed: SavepointDeed, name: &str) -> usize {
        let at = self.savepoints.iter().rposition(|(of, _)| **of == *name);
        match (deed, at) {
            (SavepointDeed::Set, _) if self.savepoints.len() < MOST_SAVEPOINTS => {
                self.savepoints.push((name.into(), Pending::new()));
            }
            (SavepointDeed::Release, Some(at)) => {
                let released: Pending =
                    self.savepoints.drain(at..).flat_map(|(_, pending)| pending).collect();
                self.innermost().extend(released);
            }
            (SavepointDeed::RollbackTo, Some(at)) => {
                self.savepoints.truncate(at.saturating_add(1));
                self.innermost().clear();
            }
            (SavepointDeed::Set | SavepointDeed::Release | SavepointDeed::RollbackTo, _) => {}
        }
        at.unwrap_or(self.savepoints.len())
    }

    /// A statement failed.
    pub fn failed(&mut self) {
        self.failed = true;
    }

    /// COMMIT has completed: what had failed before was rolled back to a savepoint. What comes behind it in the same batch
    /// is another transaction.
    pub fn commit(&mut self, server: &mut Server) {
        self.failed = false;
        let behind = std::mem::take(&mut self.savepoints).into_iter().flat_map(|(_, pending)| pending);
        let all: Pending = std::mem::take(&mut self.pending).into_iter().chain(behind).collect();
        for change in all.iter().flat_map(|changes| changes.iter()).filter(|change| !change.local) {
            self.apply(change, server);
        }
    }

    fn apply(&mut self, change: &Change, server: &mut Server) {
        match (&change.name, &change.value) {
            (Some(name), Some(value)) if leaves_as_it_is(name, value) => {}
            (Some(name), Some(value)) => {
                let text = SettingText::new(name, value);
                self.wanted.insert(name.clone(), text.clone());
                server.settings.insert(name.clone(), text);
            }
            (Some(name), None) => {
                server.settings.remove(name);
                if self.base.get(name).is_some() || Reports::is_never_the_servers(name) {
                    self.reports.gone_back(name);
                }
                match self.base.get(name) {
                    Some(text) => {
                        self.wanted.insert(name.clone(), text.clone());
                        self.stale = true;
                    }
                    None => {
                        self.wanted.remove(name);
                    }
                }
            }
            (None, _) => {
                server.settings.clear();
                // The server tells of the others.
                let set = self.wanted.names().filter(|name| Reports::is_never_the_servers(name));
                self.base.names().chain(set).for_each(|name| self.reports.gone_back(name));
                self.go_back();
            }
        }
    }

    /// DISCARD ALL has been answered: everything is as at the start of the session, once the server knows.
    pub fn discard(&mut self) {
        let (base, wanted) = (&self.base, &self.wanted);
        let changed = wanted.iter().filter(|(name, text)| base.get(name) != Some(*text));
        let lost = base.iter().filter(|(name, _)| wanted.get(name).is_none());
        changed.chain(lost).for_each(|(name, _)| self.reports.gone_back(name));
        self.go_back();
    }

    fn go_back(&mut self) {
        self.wanted.clone_from(&self.base);
        self.stale = true;
    }

    /// ROLLBACK has completed. What comes behind it in the same batch is another transaction, which has not failed.
    pub fn rollback(&mut self) {
        self.failed = false;
        self.pending.clear();
        self.savepoints.clear();
    }

    /// ReadyForQuery says that no transaction is open; gives whether what was open has committed.
    pub fn idle(&mut self, server: &mut Server) -> bool {
        let failed = std::mem::take(&mut self.failed);
        if failed {
            self.rollback();
        } else if !self.pending.is_empty() || !self.savepoints.is_empty() {
            self.commit(server);
        }
        !failed
    }

    /// Whether a leased connection may have other settings than the session's.
    pub fn are_stale(&self) -> bool {
        self.stale
    }

    /// Whether a server connection's settings are the session's.
    pub fn is_as(&self, server: &Server) -> bool {
        self.wanted.is_empty() && server.settings.is_empty() || self.wanted == server.settings
    }

    /// Makes a server connection's settings the session's: gives what has to be sent for it.
    pub fn replay<'a>(&'a mut self, server: &mut Server) -> Vec<OwnStatement<'a>> {
        self.stale = false;
        if self.is_as(server) {
            return Vec::new();
        }
        let stale: Vec<String> =
            server.settings.names().filter(|name| self.wanted.get(name).is_none()).cloned().collect();
        let changed: Vec<(&String, &SettingText)> =
            self.wanted.iter().filter(|(name, text)| server.settings.get(name) != Some(*text)).collect();
        for name in stale.iter().chain(changed.iter().map(|(name, _)| *name)) {
            server.touch(name);
        }
        server.settings.clone_from(&self.wanted);
        let resets = stale.into_iter().map(OwnStatement::Reset);
        resets.chain(changed.into_iter().map(|(_, text)| OwnStatement::Set(text))).collect()
    }
}

/// The style of dates is ISO in any case, and without an order of day and month it leaves that as it is
/// (`check_datestyle`, commands/variable.c).
fn leaves_as_it_is(name: &str, value: &str) -> bool {
    name == "datestyle" && value.eq_ignore_ascii_case("iso")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, value: Option<&str>) -> Rc<[Change]> {
        Rc::new([Change { name: Some(name.into()), value: value.map(Into::into), local: false }])
    }

    fn wanted(settings: &Settings) -> Vec<String> {
        settings.wanted.iter().map(|(_, text)| format!("{text:?}")).collect()
    }

    fn names(settings: &Settings) -> Vec<&str> {
        settings.wanted.names().map(String::as_str).collect()
    }

    #[test]
    fn rollback_to_undoes_what_was_set_behind_its_savepoint() {
        let (mut settings, mut server) = (Settings::default(), Server::new(Vec::new()));
        settings.set(change("a", Some("1")));
        settings.savepoint(SavepointDeed::Set, "s");
        settings.set(change("b", Some("1")));
        settings.savepoint(SavepointDeed::Set, "t");
        settings.set(change("c", Some("1")));
        settings.savepoint(SavepointDeed::RollbackTo, "s");
        settings.set(change("d", Some("1")));
        settings.commit(&mut server);
        assert_eq!(names(&settings), ["a", "d"]);
    }

    #[test]
    fn release_keeps_what_was_set_and_the_innermost_of_a_name_is_meant() {
        let (mut settings, mut server) = (Settings::default(), Server::new(Vec::new()));
        settings.savepoint(SavepointDeed::Set, "s");
        settings.set(change("a", Some("1")));
        settings.savepoint(SavepointDeed::Set, "s");
        settings.set(change("b", Some("1")));
        settings.savepoint(SavepointDeed::Release, "s");
        settings.savepoint(SavepointDeed::Release, "s");
        settings.commit(&mut server);
        assert_eq!(names(&settings), ["a", "b"]);
        settings.savepoint(SavepointDeed::Set, "s");
        settings.set(change("c", Some("1")));
        settings.rollback();
        settings.commit(&mut server);
        assert_eq!(names(&settings), ["a", "b"]);
    }

    #[test]
    fn what_is_set_behind_a_rollback_in_the_same_batch_holds() {
        let (mut settings, mut server) = (Settings::default(), Server::new(Vec::new()));
        settings.set(change("a", Some("1")));
        settings.failed();
        settings.rollback();
        settings.set(change("b", Some("1")));
        assert!(settings.idle(&mut server));
        assert_eq!(names(&settings), ["b"]);
    }

    #[test]
    fn what_is_set_behind_a_commit_in_the_same_batch_holds() {
        let (mut settings, mut server) = (Settings::default(), Server::new(Vec::new()));
        settings.savepoint(SavepointDeed::Set, "s");
        settings.failed();
        settings.savepoint(SavepointDeed::RollbackTo, "s");
        settings.commit(&mut server);
        settings.set(change("b", Some("1")));
        assert!(settings.idle(&mut server));
        assert_eq!(names(&settings), ["b"]);
        assert!(settings.is_as(&server));
    }

    #[test]
    fn reset_goes_back_to_the_start_of_the_session() {
        let (mut settings, mut server) = (Settings::default(), Server::new(Vec::new()));
        settings.begin_with("a".into(), SettingText::new("a", "0"));
        let start = wanted(&settings);
        settings.set(change("a", Some("1")));
        settings.set(change("b", Some("1")));
        settings.commit(&mut server);
        settings.set(Rc::new([Change { name: None, value: None, local: false }]));
        settings.commit(&mut server);
        assert_eq!(wanted(&settings), start);
        assert!(settings.are_stale() && settings.replay(&mut server).len() == 1);
    }
}
