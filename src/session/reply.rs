//! The queue of replies that a session waits for. Every message of a server is attributed to its front, and
//! answers of the proxy's own wait in it for their turn.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use super::amid::Amid;
use super::begun::{Begin, ends_what_failed};
use super::inserting::Inserting;
use super::names::NameChange;
use super::outgoing::Prepared;
use super::portals::Portal;
use super::statement::Statement;
use crate::plan::Plan;
use crate::policy::TenantId;
use crate::sql::{Change, StatementKind};

/// What is waited for.
#[derive(Debug)]
pub enum Expect {
    /// An answer of the proxy's own, said when its turn comes.
    Say(Cow<'static, [u8]>),
    /// Behind this a name stands for something else: what it stood for before comes back where the server skips what
    /// follows.
    Renamed(Box<str>, Option<Rc<Statement>>),
    /// The same for a portal that the message before this has bound or closed; also where that message fails.
    Rebound(Box<str>, Option<Portal>),
    /// ParseComplete.
    Parse {
        /// What is being prepared.
        prepared: Rc<Prepared>,
        /// The client's name of it; none: the proxy prepares it for itself, and the answer is not told.
        client: Option<Box<str>>,
        /// It was a PREPARE in SQL: the client waits for the end of that.
        by_sql: bool,
    },
    /// ParseComplete of a statement that a simple query is about to run: the query waits for it.
    Ahead(Rc<Prepared>),
    /// ReadyForQuery behind those; the client is told of it where one of them failed.
    AheadReady,
    /// BindComplete of a statement.
    Bind(Rc<Prepared>),
    /// ParameterDescription.
    Parameters {
        /// How many the client knows of: the rest is hidden.
        client: u16,
        /// Of which statement.
        of: Rc<Prepared>,
    },
    /// ParameterDescription that the client has got already.
    OwnParameters,
    /// RowDescription or NoData, of this statement or of a portal.
    Row(Option<Rc<Prepared>>),
    /// Rows and the end of an Execute.
    Execute(Running),
    /// The answers to the rows of a COPY that are inserted, and what its end tells.
    Insert(Box<Inserting>),
    /// CloseComplete.
    Close,
    /// CloseComplete of a statement that the proxy evicted.
    OwnClose(Rc<Prepared>),
    /// The error of a message that cannot succeed: the client is told this refusal instead.
    Refusal(Box<[u8]>),
    /// ReadyForQuery of a Sync.
    Ready,
    /// ReadyForQuery of a batch that is sent again: not told.
    OwnReady,
    /// ReadyForQuery of Syncs amid the data of a COPY that has failed.
    Amid(Amid),
    /// The results of a simple query and its ReadyForQuery.
    Query(Query),
    /// A query of the proxy's own: nothing of it is told.
    Own,
    /// Everything that a batch of one statement is answered with. It stands alone in the queue, and is
    /// [taken apart](super::active::Active::take_apart) where its answer does not come whole.
    Lone(Lone),
    /// Bind and Execute, and perhaps Parse, of a BEGIN that the client has had its answer to.
    Begin(&'static Begin),
}

/// A batch of one statement: Bind, maybe Describe of the portal, Execute and Sync.
#[derive(Debug)]
pub struct Lone {
    /// What was executed.
    pub running: Running,
    /// What was bound.
    pub of: Rc<Prepared>,
    /// The portal was described.
    pub described: bool,
}

impl Expect {
    /// Whether the proxy goes on without the server: it has something to say, or rows to insert.
    #[inline]
    pub fn is_the_proxys_turn(&self) -> bool {
        match self {
            Self::Say(_) | Self::Renamed(..) | Self::Rebound(..) | Self::Insert(_) => true,
            Self::Query(query) => query.has_to_say(),
            _ => false,
        }
    }
}

/// A statement that was sent.
#[derive(Debug)]
pub struct Running {
    /// Its plan.
    pub plan: Arc<Plan>,
    /// Its kind.
    pub kind: StatementKind,
    /// The transaction's tenant.
    pub tenant: Option<TenantId>,
    /// When it was sent, on the host's clock.
    pub started: u64,
    /// What it sets, if it is a SET.
    pub sets: Option<Rc<[Change]>>,
    /// The prepared statement that it runs.
    pub prepared: Option<Rc<Prepared>>,
}

/// What a simple query's results are for.
#[derive(Debug, Default)]
pub struct Query {
    /// In order of the client's statements.
    pub parts: SmallVec<[Part; 1]>,
    /// How many of them are done.
    pub done: usize,
}

/// A statement of a simple query.
#[derive(Debug)]
pub enum Part {
    /// It was sent.
    Sent(Running),
    /// It is answered by the proxy.
    Said(Cow<'static, [u8]>),
    /// The same, and the session's prepared statements are others from then on.
    Named(&'static [u8], Box<NameChange>),
}

impl Part {
    fn copies(&self) -> bool {
        matches!(self, Self::Sent(running) if running.kind == StatementKind::CopyIn)
    }
}

impl Query {
    /// The statement whose results come now.
    pub fn running(&self) -> Option<&Running> {
        match self.parts.get(self.done) {
            Some(Part::Sent(running)) => Some(running),
            _ => None,
        }
    }

    /// Whether one of the statements whose results have not come is a COPY FROM: the client's messages wait for it.
    pub fn awaits_copy(&self) -> bool {
        self.parts.iter().skip(self.done).any(Part::copies)
    }

    /// Whether one behind the statement whose results come now is.
    pub fn awaits_another_copy(&self) -> bool {
        self.parts.iter().skip(self.done).skip(1).any(Part::copies)
    }

    /// Says the proxy's own answers whose turn has come, up to one that changes names.
    pub fn say_ahead(&mut self, out: &mut Vec<u8>) -> Option<NameChange> {
        loop {
            let change = match self.parts.get(self.done) {
                Some(Part::Said(bytes)) => {
                    out.extend_from_slice(bytes);
                    None
                }
                Some(Part::Named(bytes, change)) => {
                    out.extend_from_slice(bytes);
                    Some((**change).clone())
                }
                Some(Part::Sent(_)) | None => return None,
            };
            self.done = self.done.saturating_add(1);
            if change.is_some() {
                return change;
            }
        }
    }

    /// Whether a transaction that has failed takes its first statement.
    pub fn ends_what_failed(&self) -> bool {
        let first = self.parts.iter().find_map(|part| match part {
            Part::Sent(running) => Some(running),
            Part::Said(_) | Part::Named(..) => None,
        });
        first.is_some_and(|running| ends_what_failed(&running.plan.planned.action))
    }

    /// Whether it is the turn of an answer of the proxy's own.
    #[inline]
    pub fn has_to_say(&self) -> bool {
        matches!(self.parts.get(self.done), Some(Part::Said(_) | Part::Named(..)))
    }
}

/// Answers that are always the same.
pub mod fixed {
    /// CommandComplete of BEGIN.
    pub const BEGIN: &[u8] = b"C\0\0\0\x0aBEGIN\0";
    /// CommandComplete of START TRANSACTION.
    pub const START_TRANSACTION: &[u8] = b"C\0\0\0\x16START TRANSACTION\0";
    /// CommandComplete of COMMIT.
    pub const COMMIT: &[u8] = b"C\0\0\0\x0bCOMMIT\0";
    /// CommandComplete of ROLLBACK.
    pub const ROLLBACK: &[u8] = b"C\0\0\0\x0dROLLBACK\0";
    /// CommandComplete of PREPARE.
    pub const PREPARE: &[u8] = b"C\0\0\0\x0cPREPARE\0";
    /// CommandComplete of DEALLOCATE.
    pub const DEALLOCATE: &[u8] = b"C\0\0\0\x0fDEALLOCATE\0";
    /// CommandComplete of DEALLOCATE ALL.
    pub const DEALLOCATE_ALL: &[u8] = b"C\0\0\0\x13DEALLOCATE ALL\0";
    /// CommandComplete of DISCARD ALL.
    pub const DISCARD_ALL: &[u8] = b"C\0\0\0\x10DISCARD ALL\0";
    /// CommandComplete of DISCARD PLANS.
    pub const DISCARD_PLANS: &[u8] = b"C\0\0\0\x12DISCARD PLANS\0";
    /// CommandComplete of DISCARD SEQUENCES.
    pub const DISCARD_SEQUENCES: &[u8] = b"C\0\0\0\x16DISCARD SEQUENCES\0";
    /// CommandComplete of DISCARD TEMP.
    pub const DISCARD_TEMP: &[u8] = b"C\0\0\0\x11DISCARD TEMP\0";
    /// ParseComplete.
    pub const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
    /// BindComplete.
    pub const BIND_COMPLETE: &[u8] = b"2\0\0\0\x04";
    /// CloseComplete.
    pub const CLOSE_COMPLETE: &[u8] = b"3\0\0\0\x04";
    /// NoData.
    pub const NO_DATA: &[u8] = b"n\0\0\0\x04";
    /// EmptyQueryResponse.
    pub const EMPTY_QUERY: &[u8] = b"I\0\0\0\x04";
    /// CommandComplete of a SET that is not sent.
    pub const SET: &[u8] = b"C\0\0\0\x08SET\0";
    /// CommandComplete of a RESET that is not sent.
    pub const RESET: &[u8] = b"C\0\0\0\x0aRESET\0";
    /// ParameterDescription without a parameter.
    pub const NO_PARAMETERS: &[u8] = b"t\0\0\0\x06\0\0";
    /// ReadyForQuery, idle.
    pub const READY_IDLE: &[u8] = b"Z\0\0\0\x05I";
}
