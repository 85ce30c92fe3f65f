//! What is known of a server connection: its transaction status, its prepared statements, its settings. The
//! pool keeps it beside the socket; a session has it while it has the lease.

use std::rc::Rc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::again::Sent;
use super::outgoing::Prepared;
use super::reports::Report;
use super::setting_texts::SettingTexts;
use crate::wire::backend::TransactionStatus;

/// Statements that one server connection keeps prepared.
const MOST_PREPARED: usize = 512;

/// A server connection's state.
#[derive(Debug)]
pub struct Server {
    /// As the last ReadyForQuery said.
    pub status: TransactionStatus,
    /// Its process id, where it said one.
    pub pid: Option<i32>,
    /// Its prepared statements.
    pub prepared: PreparedSet,
    /// Which [BEGINs](super::begun::Begin) of the proxy's are prepared, a bit each.
    pub begins: u8,
    /// Settings that sessions made and that still hold.
    pub settings: SettingTexts,
    /// Names that a SET was sent for: the server may report them.
    pub touched: Vec<String>,
    /// A cursor WITH HOLD was declared on it: before another session has it, all are closed.
    pub cursors: bool,
    /// What the server must go on reporting: names and values from the start of the connection.
    pub pinned: Vec<Report>,
    /// What it has reported since, the last value of each name.
    reported: Vec<Report>,
    /// What it was sent since nothing was outstanding.
    pub sent: Sent,
    /// A session has had it: what its sequences show last may be another's.
    pub was_leased: bool,
    /// It has shown that it cannot serve: closed when its lease ends.
    pub spent: bool,
}

/// Parameters that decide how text is read or who speaks; they never change on a connection.
const WATCHED: [&str; 9] = [
    "standard_conforming_strings",
    "client_encoding",
    "server_encoding",
    "session_authorization",
    "is_superuser",
    "integer_datetimes",
    "server_version",
    "search_path",
    "backslash_quote",
];

impl Server {
    /// A connection that has just said that it is ready, with what it reported.
    pub fn new(reported: Vec<Report>) -> Self {
        Self {
            status: TransactionStatus::Idle,
            pid: None,
            prepared: PreparedSet::default(),
            begins: 0,
            settings: SettingTexts::default(),
            touched: Vec::new(),
            cursors: false,
            pinned: reported,
            reported: Vec::new(),
            sent: Sent::default(),
            was_leased: false,
            spent: false,
        }
    }

    /// Whether the server may report this: a watched name only with the value it began with, any other only
    /// after a SET of it (or with the value it began with).
    pub fn may_report(&self, name: &str, value: &str) -> bool {
        let unchanged = self.pinned.iter().any(|(n, v)| n == name && v == value);
        unchanged
            || !WATCHED.iter().any(|watched| watched.eq_ignore_ascii_case(name))
                && self.touched.iter().any(|touched| touched.eq_ignore_ascii_case(name))
    }

    /// It reports this.
    pub fn reports(&mut self, name: &str, value: &str) {
        match self.reported.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => self.reported.push((name.to_owned(), value.to_owned())),
        }
    }

    /// What it has reported last of a setting, if it reports it at all.
    pub fn report(&self, setting: &str) -> Option<&Report> {
        let mut all = self.reported.iter().chain(&self.pinned);
        all.find(|(name, _)| name.eq_ignore_ascii_case(setting))
    }

    /// RESET ALL is sent: what was set before may be reported once more.
    pub fn touch_all(&mut self) {
        for name in self.settings.names() {
            if !self.touched.contains(name) {
                self.touched.push(name.clone());
            }
        }
    }

    /// A SET of this name is sent.
    pub fn touch(&mut self, name: &str) {
        if !self.touched.iter().any(|touched| touched == name) {
            self.touched.push(name.to_owned());
        }
    }
}

/// Which statements are prepared, least recently used first out.
#[derive(Debug, Default)]
pub struct PreparedSet {
    /// By [`Prepared::id`], which no client chooses.
    used: HashMap<u64, (u64, Rc<Prepared>), RandomState>,
    stale: Vec<Rc<Prepared>>,
    tick: u64,
}

impl PreparedSet {
    /// Whether a statement is prepared; if so, it counts as used.
    pub fn has(&mut self, prepared: &Prepared) -> bool {
        self.tick = self.tick.wrapping_add(1);
        let tick = self.tick;
        self.used.get_mut(&prepared.id).map(|entry| entry.0 = tick).is_some()
    }

    /// A Parse of it is sent. Gives the statement that has to be closed for it, if any.
    pub fn insert(&mut self, prepared: Rc<Prepared>) -> Option<Rc<Prepared>> {
        let full = self.used.len() >= MOST_PREPARED;
        let oldest = full.then(|| self.used.iter().min_by_key(|(_, (tick, _))| *tick).map(|(id, _)| *id));
        let evicted = oldest.flatten().and_then(|id| self.used.remove(&id)).map(|(_, prepared)| prepared);
        self.put_back(prepared);
        evicted
    }

    /// It is prepared after all: its Close was not run.
    pub fn put_back(&mut self, prepared: Rc<Prepared>) {
        self.tick = self.tick.wrapping_add(1);
        self.used.insert(prepared.id, (self.tick, prepared));
    }

    /// Its cached plan cannot be used any more: it has to be closed before it is prepared anew.
    pub fn spoil(&mut self, prepared: Rc<Prepared>) {
        if self.used.remove(&prepared.id).is_some() {
            self.stale.push(prepared);
        }
    }

    /// Whether a statement has to be closed.
    pub fn is_any_stale(&self) -> bool {
        !self.stale.is_empty()
    }

    /// A statement that has to be closed.
    pub fn take_stale(&mut self) -> Option<Rc<Prepared>> {
        self.stale.pop()
    }

    /// It is not prepared: its Parse was not run, or failed.
    pub fn remove(&mut self, prepared: &Prepared) {
        self.used.remove(&prepared.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        Server::new(vec![("TimeZone".into(), "UTC".into()), ("client_encoding".into(), "UTF8".into())])
    }

    #[test]
    fn watched_parameter_may_not_change_even_after_a_set() {
        let mut server = server();
        server.touch("client_encoding");
        assert!(server.may_report("client_encoding", "UTF8"));
        assert!(!server.may_report("client_encoding", "SJIS"));
    }

    #[test]
    fn other_parameter_may_change_after_a_set_only() {
        let mut server = server();
        assert!(!server.may_report("TimeZone", "CET"));
        server.touch("timezone");
        assert!(server.may_report("TimeZone", "CET"));
        assert!(!server.may_report("search_path", "evil"));
    }
}
