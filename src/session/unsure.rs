//! What is not known while answers are outstanding. A batch is sent before the one ahead of it is answered, which may
//! have failed: then its transaction takes nothing but its end, names that it gave do not stand for anything, and portals
//! that it bound are not there. What only the server can decide is left to it; what the proxy decides waits until that
//! is known. Within one batch nothing is unsure: where a message fails, the server skips those behind it.

use std::rc::Rc;

use super::Io;
use super::active::{Active, Batch, Flow};
use super::extended::Stop;
use super::outgoing::{self, Prepared, RenderedText};
use super::portals::Portal;
use super::reply::{Expect, fixed};
use super::statement::Statement;
use crate::policy::Refusal;
use crate::sql::StatementKind;
use crate::wire::backend::TransactionStatus;

/// The last batches that sent something of which those behind them have to know whether it was run.
#[derive(Debug, Default)]
pub struct Unsure {
    /// One that gave or took a name of a statement.
    renamed: Option<u64>,
    /// One that began a transaction.
    began: Option<u64>,
    /// The batch that is open has begun or ended a transaction, or run something: whether DISCARD ALL may run.
    alone: Option<bool>,
    /// It has run what may end a transaction that has failed.
    ended: bool,
}

impl Unsure {
    /// The batch is at its end.
    pub fn synced(&mut self) {
        self.alone = None;
        self.ended = false;
    }

    /// Whether the next statement of a batch stands outside of a transaction, of which the last ReadyForQuery has said
    /// whether it is open: what has run in a batch has begun one (`XACT_FLAGS_PIPELINING`, tcop/postgres.c).
    pub fn is_alone(&self, idle: bool) -> bool {
        self.alone.unwrap_or(idle)
    }
}

impl Active {
    /// Whether a Sync is not answered.
    #[inline]
    pub(super) fn awaits_a_sync(&self) -> bool {
        self.portals.awaits_a_sync()
    }

    /// A name of a statement is given or taken by the batch that is open.
    pub(super) fn note_renamed(&mut self) {
        self.unsure.renamed = Some(self.portals.batch());
    }

    /// An Execute is sent, or done here.
    pub(super) fn note_executed(&mut self, kind: StatementKind, ends_alone: bool) {
        if matches!(kind, StatementKind::Begin | StatementKind::Chain) {
            self.unsure.began = Some(self.portals.batch());
        }
        let ends = matches!(kind, StatementKind::Commit | StatementKind::Rollback);
        self.unsure.alone = Some(ends || ends_alone);
        self.unsure.ended |= may_end(kind);
    }

    /// Whether the transaction is known to have failed, and not to be over before the next message's turn comes.
    pub(super) fn has_failed(&self) -> bool {
        self.status() == TransactionStatus::Failed && !self.awaits_a_sync() && !self.unsure.ended
    }

    /// Whether a batch ahead of this one may have failed the transaction.
    pub(super) fn may_have_failed(&self) -> bool {
        let is_open = self.status() != TransactionStatus::Idle;
        self.awaits_a_sync() && (is_open || self.portals.is_outstanding(self.unsure.began))
    }

    /// Whether a batch ahead of this one has given or taken a name, and may have been skipped.
    pub(super) fn is_unsure_of(&self, name: &str) -> bool {
        if !self.portals.is_outstanding(self.unsure.renamed) {
            return false;
        }
        let mut ended = false;
        for expect in self.queue.iter().rev() {
            match expect {
                Expect::Renamed(of, _) | Expect::Parse { client: Some(of), .. } if **of == *name => {
                    return ended;
                }
                expect => ended |= is_end(expect),
            }
        }
        false
    }

    /// ParseComplete for a statement that the server need not be told of, or the error of a transaction that has failed,
    /// which the server finds by a statement that asks for nothing.
    pub(super) fn say_parsed(
        &mut self,
        io: &mut Io<'_>,
        name: &str,
        statement: &Statement,
    ) -> Result<(), Refusal> {
        if statement.ends_transaction() || !self.may_have_failed() {
            self.say_in_batch(io, fixed::PARSE_COMPLETE);
            return Ok(());
        }
        outgoing::own_parse(io.server)?;
        let prepared = Rc::new(Prepared::unnamed(RenderedText::default(), &[]));
        self.queue.push_back(Expect::Parse { prepared, client: Some(name.into()), by_sql: false });
        self.batch = Batch::Open { sent: true };
        Ok(())
    }

    /// A portal has been bound by this name, or closed: what it was before comes back where that fails or is skipped.
    pub(super) fn has_rebound(&mut self, name: &str, before: Option<Portal>) {
        let alone = self.queue.len() <= 1 && name.is_empty() && before.is_none();
        if !alone && !self.queue.is_empty() {
            self.queue.push_back(Expect::Rebound(name.into(), before));
        }
    }

    /// What a name has stood for before a batch that fails. A later batch may have changed that again, and comes to know of
    /// it if it fails as well.
    pub(super) fn name_comes_back(&mut self, name: &str, before: Option<Rc<Statement>>) {
        let later = self.queue.iter_mut().find_map(|expect| match expect {
            Expect::Renamed(of, before) if **of == *name => Some(before),
            _ => None,
        });
        match later {
            Some(later) => *later = before,
            None => self.stand_for(name, before),
        }
    }

    /// The same for a portal.
    pub(super) fn portal_comes_back(&mut self, name: &str, before: Option<Portal>) {
        match self.rebound_later(name) {
            Some(later) => *later = before,
            None => self.portals.put_back(name, before),
        }
    }

    /// The Bind to this name has failed, and left an empty portal.
    pub(super) fn is_left_empty(&mut self, name: &str) {
        match self.rebound_later(name) {
            Some(later) => later.iter_mut().for_each(|portal| portal.is_empty = true),
            None => self.portals.is_left_empty(name),
        }
    }

    fn rebound_later(&mut self, name: &str) -> Option<&mut Option<Portal>> {
        self.queue.iter_mut().find_map(|expect| match expect {
            Expect::Rebound(of, before) if **of == *name => Some(before),
            _ => None,
        })
    }

    /// Whether only the server knows what has become of a portal that the session does not have: a Query that fails
    /// leaves one to the failed transaction. An error where that has to be waited for.
    pub(super) fn may_be_left(&self, name: &str) -> Result<bool, Stop> {
        if self.awaits_a_sync() {
            return Err(Stop::Wait(Flow::Drain));
        }
        Ok(self.server.is_some() && self.has_failed() && self.portals.may_be_left(name))
    }
}

/// Whether this answers a Sync.
fn is_end(expect: &Expect) -> bool {
    matches!(expect, Expect::Ready | Expect::AheadReady | Expect::OwnReady)
}

/// Whether a statement of this kind may end what has failed.
fn may_end(kind: StatementKind) -> bool {
    matches!(
        kind,
        StatementKind::Commit | StatementKind::Rollback | StatementKind::Chain | StatementKind::Savepoint
    )
}
