//! A transaction that the client has begun and the server does not know of yet.
//!
//! A plain BEGIN of a session without a server connection asks for nothing that only the server could answer. So it is
//! answered here, and put in front of the first statement that needs the server, in the same packet: a round trip less
//! for each transaction, and a client that idles behind its BEGIN keeps no server connection from others.
//!
//! ```text
//!            BEGIN            a statement: BEGIN is sent before it
//!   No ────────────▶ Waiting ────────────────────────────────────▶ No: the server has the transaction
//!    ▲                 │  │ a refusal
//!    │ COMMIT, ROLLBACK│  ▼
//!    └─────────────────┴ Failed ── anything that the server has to answer: BEGIN and what fails it are sent before ──▶ No
//! ```
//!
//! BEGIN is sent as Bind and Execute, behind the replay of settings and without a Sync: if it fails after all (a cancel,
//! a `statement_timeout`), the server skips what stands behind it up to the next Sync, so that no statement runs outside
//! of its transaction. For the same reason nothing is sent behind that Sync before BEGIN is answered. The server's
//! transaction is then begun once more and failed, as the client's has.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::Io;
use super::active::{Active, Part, kind};
use super::answers::account;
use super::host::Host;
use super::outgoing;
use super::refusing::NO_PORTAL;
use super::relay::Lost;
use super::reply::{Expect, Running, fixed};
use super::simple::Decided;
use crate::policy::Refusal;
use crate::sql::{Action, SavepointDeed, StatementKind, VerifiedSql};
use crate::wire::WireError;
use crate::wire::backend::TransactionStatus;
use crate::wire::frame::HEADER;
use crate::wire::request;

/// What has begun without the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Begun {
    /// Nothing.
    #[default]
    No,
    /// A transaction.
    Waiting(&'static Begin),
    /// A transaction that has failed: its end is waited for.
    Failed(&'static Begin),
}

impl Begun {
    /// What a client is told while there is no server connection.
    pub fn status(self) -> TransactionStatus {
        match self {
            Self::No => TransactionStatus::Idle,
            Self::Waiting(_) => TransactionStatus::Open,
            Self::Failed(_) => TransactionStatus::Failed,
        }
    }

    /// Something was refused.
    pub fn fail(&mut self) {
        if let Self::Waiting(begin) = *self {
            *self = Self::Failed(begin);
        }
    }

    /// Whether it has failed.
    #[inline]
    pub fn has_failed(self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// A BEGIN that can wait.
#[derive(Debug, PartialEq, Eq)]
pub struct Begin {
    /// As a plan prints it.
    text: &'static str,
    /// Its CommandComplete.
    answer: &'static [u8],
    /// The server's name for it, once it is prepared.
    name: &'static str,
    /// Which of [`Server::begins`](super::server::Server::begins) says that it is.
    bit: u8,
}

/// Those that no server refuses. SERIALIZABLE and READ WRITE fail on a standby (`check_transaction_isolation` and
/// `check_transaction_read_only`, variable.c): they are sent at once.
static BEGINS: [Begin; 5] = [
    Begin { text: "BEGIN", answer: fixed::BEGIN, name: "pgb_b0", bit: 1 },
    Begin { text: "START TRANSACTION", answer: fixed::START_TRANSACTION, name: "pgb_b1", bit: 2 },
    Begin { text: "BEGIN ISOLATION LEVEL READ COMMITTED", answer: fixed::BEGIN, name: "pgb_b2", bit: 4 },
    Begin { text: "BEGIN ISOLATION LEVEL REPEATABLE READ", answer: fixed::BEGIN, name: "pgb_b3", bit: 8 },
    Begin { text: "BEGIN READ ONLY", answer: fixed::BEGIN, name: "pgb_b4", bit: 16 },
];

impl Begin {
    /// The one that a statement is.
    fn of(sql: &VerifiedSql) -> Option<&'static Self> {
        let text = sql.fixed_text()?;
        BEGINS.iter().find(|begin| begin.text == text)
    }

    /// Whether it says nothing but that a transaction begins.
    fn is_plain(&self) -> bool {
        matches!(self.text, "BEGIN" | "START TRANSACTION")
    }

    /// The body of its CommandComplete.
    fn body(&self) -> &'static [u8] {
        self.answer.get(HEADER..).unwrap_or_default()
    }
}

/// The answers to the statements of a Query that ends a transaction, or begins one, without the server.
pub(super) struct AnsweredHere {
    answers: SmallVec<[&'static [u8]; 2]>,
    /// What has begun behind them.
    begun: Begun,
}

/// Whether a failed transaction takes this statement (`IsTransactionExitStmt`, postgres.c).
pub(super) fn ends_what_failed(action: &Action) -> bool {
    match action {
        Action::Savepoint { deed, .. } => *deed == SavepointDeed::RollbackTo,
        Action::Empty => true,
        action => {
            matches!(kind(action), StatementKind::Commit | StatementKind::Rollback | StatementKind::Chain)
        }
    }
}

impl Active {
    /// Whether a transaction that has failed without the server refuses a Query of these statements.
    pub(super) fn is_aborted_for(&self, parts: &[Part<'_>]) -> bool {
        let refuses = |part: &Part<'_>| !ends_what_failed(&part.plan.planned.action);
        self.begun.has_failed() && parts.first().is_some_and(refuses)
    }

    /// What the proxy answers to a Query of these statements, where it needs no server for any of them.
    pub(super) fn answered_here(&self, decided: &[Decided<'_, '_>]) -> Option<AnsweredHere> {
        if self.server.is_some() {
            return None;
        }
        let mut here = AnsweredHere { answers: SmallVec::new(), begun: self.begun };
        for verdict in decided {
            let (plan, sql) = match verdict {
                Decided::Say(_) | Decided::Name(..) => continue,
                Decided::Send { plan, sql, .. } => (plan, sql),
                Decided::Execute { .. } => return None,
            };
            let (answer, begun) = match (kind(&plan.planned.action), here.begun) {
                (StatementKind::Begin, Begun::No) => {
                    let begin = Begin::of(sql)?;
                    (begin.answer, Begun::Waiting(begin))
                }
                // PostgreSQL warns, and changes nothing. Modes would change the transaction.
                (StatementKind::Begin, begun @ Begun::Waiting(_)) => {
                    (Begin::of(sql).filter(|begin| begin.is_plain())?.answer, begun)
                }
                (StatementKind::Commit, Begun::Waiting(_)) => (fixed::COMMIT, Begun::No),
                (StatementKind::Commit, Begun::Failed(_))
                | (StatementKind::Rollback, Begun::Waiting(_) | Begun::Failed(_)) => {
                    (fixed::ROLLBACK, Begun::No)
                }
                _ => return None,
            };
            here.answers.push(answer);
            here.begun = begun;
        }
        Some(here)
    }

    /// Accounts for those statements, and puts their answers in their places. 53400 without room in the audit log.
    pub(super) fn answer_here(
        &mut self,
        host: &mut dyn Host,
        here: AnsweredHere,
        decided: &mut [Decided<'_, '_>],
    ) -> Result<(), Refusal> {
        let mut all = SmallVec::<[Running; 2]>::new();
        for verdict in decided.iter() {
            let Decided::Send { plan, tenant, .. } = verdict else { continue };
            match self.sent_part(host, plan, tenant.clone()) {
                Ok(running) => all.push(running),
                Err(refusal) => {
                    all.iter().for_each(|_| host.release_audit());
                    return Err(refusal);
                }
            }
        }
        all.iter().for_each(|running| account(host, &self.who, running, 0, None));
        let sent = decided.iter_mut().filter(|verdict| matches!(verdict, Decided::Send { .. }));
        for (verdict, answer) in sent.zip(here.answers) {
            *verdict = Decided::Say(Cow::Borrowed(answer));
        }
        self.begun = here.begun;
        Ok(())
    }

    /// Sends the BEGIN that waits, on a connection that has just been leased.
    pub(super) fn send_begin(&mut self, io: &mut Io<'_>) -> Result<(), Refusal> {
        match std::mem::take(&mut self.begun) {
            Begun::No => {}
            Begun::Waiting(begin) => {
                self.write_begin(io.server, begin)?;
                self.queue.push_back(Expect::Begin(begin));
                self.assume(TransactionStatus::Open);
            }
            Begun::Failed(begin) => {
                self.write_begin(io.server, begin)?;
                self.queue.push_back(Expect::Begin(begin));
                self.fail_at_server(io, Vec::new())?;
                io.server.extend_from_slice(request::SYNC);
                self.queue.push_back(Expect::AheadReady);
                self.portals.synced();
                self.assume(TransactionStatus::Failed);
            }
        }
        Ok(())
    }

    fn write_begin(&self, out: &mut Vec<u8>, begin: &Begin) -> Result<(), WireError> {
        let is_prepared = self.server.as_ref().is_some_and(|server| server.begins & begin.bit != 0);
        outgoing::own_begin(out, begin.name, (!is_prepared).then_some(begin.text))
    }

    /// What the server's status will be.
    pub(super) fn assume(&mut self, status: TransactionStatus) {
        if let Some(server) = &mut self.server {
            server.status = status;
        }
    }

    /// Whether a BEGIN of the proxy's is unanswered. A replay of settings may stand before it.
    pub(super) fn is_beginning(&self) -> bool {
        self.queue.iter().take(2).any(|expect| matches!(expect, Expect::Begin(_)))
    }

    /// Whether the client's next message has to wait for that answer.
    #[inline]
    pub(super) fn must_have_begun(&self) -> bool {
        matches!(self.queue.back(), Some(Expect::Ready | Expect::AheadReady)) && self.is_beginning()
    }

    /// ParseComplete of a BEGIN.
    pub(super) fn begin_is_prepared(&mut self, begin: &Begin) {
        if let Some(server) = &mut self.server {
            server.begins |= begin.bit;
        }
    }

    /// CommandComplete of a BEGIN with this body; false: it is no BEGIN that is waited for.
    pub(super) fn has_begun(&mut self, body: &[u8]) -> bool {
        let begun = matches!(self.queue.front(), Some(Expect::Begin(begin)) if begin.body() == body);
        if begun {
            self.queue.pop_front();
            self.assume(TransactionStatus::Open);
        }
        begun
    }

    /// What stands behind a BEGIN's whole answer, which is taken off; none where these bytes begin otherwise, or it would
    /// be the proxy's turn.
    pub(super) fn behind_begin<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let Some(Expect::Begin(begin)) = self.queue.front() else { return None };
        let rest = bytes.strip_prefix(fixed::BIND_COMPLETE)?.strip_prefix(begin.answer)?;
        let is_the_servers_turn = self.queue.get(1).is_some_and(|next| !next.is_the_proxys_turn());
        if !self.frames.is_between_answers() || !is_the_servers_turn {
            return None;
        }
        self.queue.pop_front();
        self.assume(TransactionStatus::Open);
        Some(rest)
    }

    /// Takes the BEGIN off that an error is about: the statement behind it is what has failed. None: the error is not
    /// about one.
    pub(super) fn take_failed_begin(&mut self) -> Result<Option<&'static Begin>, Lost> {
        let Some(Expect::Begin(begin)) = self.queue.front() else { return Ok(None) };
        let begin = *begin;
        self.queue.pop_front();
        match self.queue.front() {
            None => Err(Lost::Own),
            // Nothing can be sent amid a message.
            Some(_) if self.passing.is_some() => Err(Lost::Own),
            // Of a transaction that is to fail.
            Some(Expect::Refusal(error)) if error.is_empty() => Err(Lost::Own),
            Some(_) => Ok(Some(begin)),
        }
    }

    /// The server has skipped what stood behind a BEGIN that failed: begins once more and fails that transaction, as
    /// the client's has.
    pub(super) fn begin_and_fail(&mut self, begin: &'static Begin) -> Result<(), Lost> {
        let has_synced = matches!(self.queue.front(), Some(Expect::Ready | Expect::AheadReady));
        let was_query = matches!(self.queue.front(), Some(Expect::Query(_)));
        if was_query {
            self.queue.pop_front();
            self.queue.push_front(Expect::Ready);
            self.portals.synced();
        }
        let mut out = std::mem::take(&mut self.resend);
        if !has_synced {
            out.extend_from_slice(request::SYNC);
        }
        self.write_begin(&mut out, begin)?;
        request::execute(&mut out, NO_PORTAL, 0)?;
        if has_synced || was_query {
            out.extend_from_slice(request::SYNC);
        }
        self.resend = out;
        self.queue.push_front(Expect::Refusal(Box::default()));
        self.queue.push_front(Expect::Begin(begin));
        self.queue.push_front(Expect::OwnReady);
        self.assume(TransactionStatus::Failed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str) -> String {
        let options = pg_query::ParserOptions::default();
        pg_query::parse(text, options).unwrap().deparse(pg_query::DeparseOptions::default()).unwrap()
    }

    #[test]
    fn texts_are_what_is_printed_for_them() {
        for begin in &BEGINS {
            assert_eq!(printed(begin.text), begin.text);
        }
        for text in ["begin", "BEGIN WORK", "begin transaction"] {
            assert_eq!(printed(text), "BEGIN");
        }
        assert_eq!(printed("begin transaction isolation level repeatable read"), BEGINS[3].text);
    }

    #[test]
    fn each_has_its_own_name_and_bit() {
        for (at, begin) in BEGINS.iter().enumerate() {
            assert_eq!(begin.name, format!("pgb_b{at}"));
            assert_eq!(begin.bit, 1 << at);
        }
    }

    #[test]
    fn fixed_answers_are_those_of_their_tags() {
        for (answer, tag) in [
            (fixed::BEGIN, "BEGIN"),
            (fixed::START_TRANSACTION, "START TRANSACTION"),
            (fixed::COMMIT, "COMMIT"),
            (fixed::ROLLBACK, "ROLLBACK"),
        ] {
            let mut whole = Vec::new();
            crate::wire::answer::command_complete(&mut whole, tag);
            assert_eq!(answer, whole);
        }
    }
}
