//! Refusals: what the client is told, and how the server's transaction comes to fail as well.

use super::Io;
use super::active::{Active, Batch, Flow};
use super::host::{Account, Host, Verdict};
use super::reply::Expect;
use crate::policy::{Refusal, Rule, SqlState};
use crate::wire::answer::{self, Severity};
use crate::wire::backend::TransactionStatus;
use crate::wire::request;

/// The portal that never exists: executing it fails the server's transaction as a refused statement must.
pub(super) const NO_PORTAL: &[u8] = b"pgbulkhead refused";

/// What PostgreSQL looks at before it looks whether the transaction has failed (`exec_parse_message`,
/// `exec_bind_message`, `exec_describe_portal_message` and their like in tcop/postgres.c).
/// That a name is taken it finds for what a transaction that has failed takes.
const BEFORE_ABORTED: [SqlState; 6] = [
    SqlState::SYNTAX,
    SqlState::UNDEFINED_STATEMENT,
    SqlState::UNDEFINED_CURSOR,
    SqlState::PROTOCOL,
    SqlState::DUPLICATE_STATEMENT,
    SqlState::DUPLICATE_CURSOR,
];

impl Active {
    /// Refuses a simple query: ERROR and ReadyForQuery, and the server's transaction fails too.
    pub(super) fn refuse_query(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        refusal: &Refusal,
        text: &str,
        offset: usize,
    ) -> Result<Flow, Refusal> {
        if matches!(self.batch, Batch::Skipping { .. }) {
            return Ok(Flow::Done);
        }
        self.refuse(host, io, refusal, (text, offset), &[SqlState::SYNTAX])?;
        self.sync(io)
    }

    /// Refuses a message of the extended protocol: everything up to Sync is skipped, and the server's
    /// transaction fails too, by a message that cannot succeed.
    pub(super) fn refuse_message(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        refusal: &Refusal,
        text: &str,
        offset: usize,
    ) -> Result<Flow, Refusal> {
        self.refuse(host, io, refusal, (text, offset), &BEFORE_ABORTED)
    }

    /// Writes down what is refused and why, whatever the client is told: in a failed transaction that is 25P02, but for
    /// the states that come before it.
    fn refuse(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        refusal: &Refusal,
        (text, offset): (&str, usize),
        before_aborted: &[SqlState],
    ) -> Result<Flow, Refusal> {
        let sent = match self.batch {
            Batch::Skipping { .. } => return Ok(Flow::Done),
            Batch::Open { sent } => sent,
            Batch::Closed => false,
        };
        let shown = Some(text).filter(|text| !text.is_empty());
        host.account(Account {
            who: &self.who,
            tenant: self.tenancy.current(),
            verdict: Verdict::Refused { refusal, text: shown },
        });
        let mut error = Vec::new();
        if self.has_failed() && !before_aborted.contains(&refusal.state) {
            answer::refusal(&mut error, Severity::Error, &aborted(), "", 0);
        } else {
            answer::refusal(&mut error, Severity::Error, refusal, text, offset);
        }
        let on_server = self.server.is_some()
            && (sent || !self.queue.is_empty() || self.status() != TransactionStatus::Idle);
        if on_server {
            self.fail_at_server(io, error)?;
        } else {
            self.begun.fail();
            self.say(io, error);
        }
        self.batch = Batch::Skipping { sent: on_server };
        Ok(Flow::Done)
    }

    /// Fails the server's transaction, and what stands before the next Sync, by a message that cannot succeed; the
    /// client gets this error.
    pub(super) fn fail_at_server(&mut self, io: &mut Io<'_>, error: Vec<u8>) -> Result<(), Refusal> {
        request::execute(io.server, NO_PORTAL, 0)?;
        self.queue.push_back(Expect::Refusal(error.into_boxed_slice()));
        Ok(())
    }
}

/// 25P02 in PostgreSQL's words.
pub(super) fn aborted() -> Refusal {
    let message = "current transaction is aborted, commands ignored until end of transaction block";
    Refusal::new(SqlState::FAILED_TRANSACTION, Rule("transaction"), message)
}
