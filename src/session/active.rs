//! A session after its login: what it holds, and the way of a client's message to its handler.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::Io;
use super::begun::Begun;
use super::channels::Channels;
use super::copy::{Copying, Loading};
use super::holds::{Holds, too_many_held};
use super::host::{Found, Host, Seen};
use super::pin::Pin;
use super::portals::Portals;
use super::relay::Frames;
use super::reply::{Expect, Part as SentPart, Running};
use super::sequences::Drawn;
use super::server::Server;
use super::settings::Settings;
use super::statement::Statement;
use super::tenancy::Tenancy;
use super::trial::Trial;
use super::unsure::Unsure;
use crate::auth::Principal;
use crate::catalog::Oid;
use crate::plan::Plan;
use crate::policy::{Refusal, Rule, SqlState, TenantId};
use crate::sql::{Action, StatementKind};
use crate::wire::backend::TransactionStatus;
use crate::wire::passing::Passing;

/// A logged-in session.
#[derive(Debug)]
pub struct Active {
    pub(super) who: Principal,
    pub(super) tenancy: Tenancy,
    pub(super) settings: Settings,
    pub(super) holds: Holds,
    pub(super) statements: HashMap<Box<str>, Rc<Statement>, RandomState>,
    pub(super) unnamed: Option<Rc<Statement>>,
    /// What the last unnamed statement was, before a simple query destroyed it.
    pub(super) last_unnamed: Option<Rc<Statement>>,
    pub(super) portals: Portals,
    pub(super) queue: VecDeque<Expect>,
    /// Answers of the proxy's own to a batch, said together with the server's.
    pub(super) held: Vec<u8>,
    pub(super) batch: Batch,
    pub(super) copying: Copying,
    pub(super) loading: Option<Box<Loading>>,
    /// What is left of a CopyData, or of a Bind, that is taken as it comes.
    pub(super) message_left: usize,
    /// The Bind that is taken as it comes.
    pub(super) passing: Option<Box<Passing>>,
    /// A COPY of a simple query is sent as a batch: the Sync behind it is the proxy's.
    pub(super) syncs_after_copy: bool,
    pub(super) server: Option<Box<Server>>,
    /// A transaction that no server connection knows of; only without a lease.
    pub(super) begun: Begun,
    pub(super) frames: Frames,
    /// A statement that a simple query runs by EXECUTE could not be prepared: the query has had its answer.
    pub(super) ahead_failed: bool,
    pub(super) pin: Pin,
    pub(super) channels: Channels,
    pub(super) drawn: Drawn,
    /// The process id that the client was given.
    pub(super) pid: i32,
    pub(super) released: Option<Box<Server>>,
    pub(super) no_lease: Option<Refusal>,
    pub(super) payer: Option<TenantId>,
    /// A batch was sent again, and is not sent a third time.
    pub(super) retried: bool,
    /// What is to be sent again.
    pub(super) resend: Vec<u8>,
    pub(super) unsure: Unsure,
    pub(super) expires: Option<u64>,
    pub(super) trial: Option<Box<Trial>>,
    pub(super) lease_per_session: bool,
}

/// Messages of the extended protocol since the last Sync.
///
/// ```text
/// Closed ──P B D E C H──▶ Open ──refused, or the server's error──▶ Skipping
///    ▲                      │                                          │
///    └────────── S ─────────┴──────────────────── S ───────────────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// None.
    Closed,
    /// Some; `sent`: the server has seen one.
    Open {
        /// The server has seen one.
        sent: bool,
    },
    /// One failed: everything up to Sync is ignored.
    Skipping {
        /// The server has seen one.
        sent: bool,
    },
}

/// What becomes of a client's message.
#[derive(Debug, PartialEq, Eq)]
pub enum Flow {
    /// It is done with.
    Done,
    /// It waits for the statements of this text to be planned.
    Plan(Unplanned),
    /// It waits for a server connection.
    Lease,
    /// It waits for answers of the server.
    Drain,
    /// It waits for more of itself: only the beginning is here.
    Rest,
    /// The client ends the session.
    End,
}

/// A text whose statements have to be planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplanned {
    /// The text.
    pub text: String,
    /// The parameter types that the client declared.
    pub declared: Vec<Oid>,
}

/// A statement with its plan.
#[derive(Debug)]
pub struct Part<'t> {
    /// The statement.
    pub found: Found<'t>,
    /// Its plan.
    pub plan: Arc<Plan>,
}

/// A text looked up.
#[derive(Debug)]
pub enum Look<'t> {
    /// Every statement has a plan.
    Planned(SmallVec<[Part<'t>; 1]>),
    /// One is refused; where it starts.
    Refused(Refusal, usize),
    /// One has to be planned.
    Unplanned,
}

impl<'t> Look<'t> {
    /// A text that was found as a whole.
    pub(super) fn of_seen(text: &'t str, seen: Seen<'t>) -> Self {
        let Seen { plan, offset, literals } = seen;
        let found = Found { text: literals.text, offset, next: text.len(), literals, outcome: None };
        Self::Planned(SmallVec::from_buf([Part { found, plan }]))
    }
}

/// Answers that are held back (PQ_SEND_BUFFER_SIZE, pqcomm.c).
const MOST_HELD: usize = 8192;

impl Active {
    /// A session that has just logged in.
    pub fn new(who: Principal, tenancy: Tenancy, lease_per_session: bool) -> Self {
        Self {
            who,
            tenancy,
            settings: Settings::default(),
            holds: Holds::default(),
            statements: HashMap::default(),
            unnamed: None,
            last_unnamed: None,
            portals: Portals::default(),
            queue: VecDeque::new(),
            held: Vec::new(),
            batch: Batch::Closed,
            copying: Copying::No,
            loading: None,
            message_left: 0,
            passing: None,
            syncs_after_copy: false,
            server: None,
            begun: Begun::No,
            frames: Frames::default(),
            ahead_failed: false,
            pin: Pin::default(),
            channels: Channels::default(),
            drawn: Drawn::default(),
            pid: 0,
            released: None,
            no_lease: None,
            payer: None,
            retried: false,
            resend: Vec::new(),
            unsure: Unsure::default(),
            expires: None,
            trial: None,
            lease_per_session,
        }
    }

    /// The session ends then (seconds since 1970): its password was a token.
    pub fn expire_at(&mut self, expires: u64) {
        self.expires = Some(expires);
    }

    /// Who it is.
    pub fn who(&self) -> &Principal {
        &self.who
    }

    /// Its tenants.
    pub fn tenancy(&self) -> &Tenancy {
        &self.tenancy
    }

    /// Whether a statement is running on the leased server connection.
    pub fn is_running(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether nothing is outstanding and no transaction is open.
    pub fn is_idle(&self) -> bool {
        self.is_clean()
    }

    /// Whether a server connection is leased.
    pub fn has_lease(&self) -> bool {
        self.server.is_some()
    }

    /// Whether answers to the client's own messages are outstanding.
    pub(super) fn awaits_answers(&self) -> bool {
        self.queue.iter().any(|expect| !matches!(expect, Expect::Own | Expect::Begin(_)))
    }

    /// Looks every statement of a text up.
    pub(super) fn look<'t>(&self, host: &mut dyn Host, text: &'t str, declared: &[Oid]) -> Look<'t> {
        let seen = if declared.is_empty() { host.seen(&self.who, text) } else { None };
        match seen {
            Some(seen) => Look::of_seen(text, seen),
            None => self.look_each(host, text, declared),
        }
    }

    /// Looks the statements of a text up one after the other.
    pub(super) fn look_each<'t>(&self, host: &mut dyn Host, text: &'t str, declared: &[Oid]) -> Look<'t> {
        let mut parts = SmallVec::new();
        let mut from = 0;
        let mut unplanned = false;
        loop {
            let mut found = match host.next_statement(&self.who, text, from, declared) {
                Ok(Some(found)) => found,
                Ok(None) if unplanned => return Look::Unplanned,
                Ok(None) => return Look::Planned(parts),
                Err(refusal) => return Look::Refused(refusal, 0),
            };
            from = found.next;
            let last = from >= text.len();
            let outcome = found.outcome.take();
            match outcome {
                Some(Ok(plan)) => parts.push(Part { found, plan }),
                Some(Err(refusal)) => return Look::Refused((*refusal).clone(), found.offset),
                None => unplanned = true,
            }
            match (last, unplanned) {
                (true, true) => return Look::Unplanned,
                (true, false) => return Look::Planned(parts),
                (false, _) => {}
            }
        }
    }

    /// Says something of the proxy's own, after what the server still has to say.
    pub(super) fn say(&mut self, io: &mut Io<'_>, bytes: impl Into<Cow<'static, [u8]>>) {
        let bytes = bytes.into();
        if self.queue.is_empty() {
            io.client.append(&mut self.held);
            io.client.extend_from_slice(&bytes);
        } else {
            self.queue.push_back(Expect::Say(bytes));
        }
    }

    /// The same within a batch: PostgreSQL, too, holds such answers back until Sync or Flush (or 8 KiB of them).
    pub(super) fn say_in_batch(&mut self, io: &mut Io<'_>, bytes: &'static [u8]) {
        if !self.queue.is_empty() {
            self.queue.push_back(Expect::Say(bytes.into()));
            return;
        }
        self.held.extend_from_slice(bytes);
        if self.held.len() >= MOST_HELD {
            io.client.append(&mut self.held);
        }
    }

    /// A simple query destroys the unnamed statement (`exec_simple_query`, tcop/postgres.c).
    #[inline]
    pub(super) fn drop_unnamed(&mut self) {
        if self.unnamed.is_some() {
            self.last_unnamed = self.unnamed.take();
        }
    }

    /// The transaction's status as the client knows it: the server's, and without one whether one has begun here.
    pub(super) fn status(&self) -> TransactionStatus {
        self.server.as_ref().map_or(self.begun.status(), |server| server.status)
    }

    /// How many statements have room reserved in the audit log.
    pub fn reserved(&self) -> usize {
        let of = |expect: &Expect| match expect {
            Expect::Execute(_) | Expect::Lone(_) => 1,
            Expect::Query(query) => {
                query.parts.iter().skip(query.done).filter(|part| matches!(part, SentPart::Sent(_))).count()
            }
            _ => 0,
        };
        self.queue.iter().map(of).fold(0, usize::saturating_add)
    }

    /// Whether the client has got a part of a row.
    pub fn is_within_a_row(&self) -> bool {
        self.frames.is_within_a_row()
    }

    /// What is remembered of a statement that is sent; 53400 without room for its audit event.
    pub(super) fn running(&mut self, host: &mut dyn Host, plan: &Arc<Plan>) -> Result<Running, Refusal> {
        self.hold(host, plan)?;
        if !host.reserve_audit() {
            let message = "the audit log does not keep up";
            return Err(Refusal::new(SqlState("53400"), Rule("audit"), message));
        }
        let kind = kind(&plan.planned.action);
        let tenant = self.tenancy.current().cloned();
        self.drawn.passes(tenant.as_ref());
        Ok(Running { plan: plan.clone(), kind, tenant, started: host.clock(), sets: None, prepared: None })
    }

    /// Whether a statement on cursors may be sent now. One WITH HOLD keeps its lease, if there is room for that.
    pub(super) fn may_use_cursor(
        &self,
        host: &mut dyn Host,
        kind: StatementKind,
        tenant: Option<&TenantId>,
    ) -> Result<(), Refusal> {
        self.holds.may_run(kind, tenant)?;
        self.may_keep_cursor(host, kind)
    }

    /// 53400 where a cursor WITH HOLD would keep one lease more than may be kept.
    pub(super) fn may_keep_cursor(&self, host: &mut dyn Host, kind: StatementKind) -> Result<(), Refusal> {
        let keeps = kind == StatementKind::HeldCursor && !self.lease_per_session;
        if keeps && !host.hold() { Err(too_many_held()) } else { Ok(()) }
    }
}

/// The kind of an action that is sent.
pub(super) fn kind(action: &Action) -> StatementKind {
    match action {
        Action::Send { kind, .. } => *kind,
        Action::Savepoint { .. } => StatementKind::Savepoint,
        _ => StatementKind::Other,
    }
}
