//! The straight way of most batches in the extended protocol: one statement, known to the worker and to the leased server
//! connection, bound to the unnamed portal, executed and ended by Sync, all in one read. What
//! [`extended`](super::extended) does message by message comes to the same for it, and takes several times as long.
//!
//! Nothing is changed before it is certain that the batch takes this way; what does not is left to be taken message by
//! message from its beginning.

use std::rc::Rc;

use smallvec::SmallVec;

use super::Io;
use super::active::{Active, Batch};
use super::alone::plain;
use super::checks;
use super::copy::Copying;
use super::extended::MOST_NAMES;
use super::host::Host;
use super::reply::{Expect, Lone, fixed};
use super::statement::{Body, OnServer, Planned, Statement, count_values};
use crate::catalog::Oid;
use crate::wire::frame::{self, Frame, FrameLimits, FramePhase, HEADER};
use crate::wire::frontend::{Bind, Parse};
use crate::wire::request::{self, TenantParameter};

/// Describe of the unnamed portal.
const DESCRIBE: &[u8] = b"D\0\0\0\x06P\0";
/// Execute of the unnamed portal, without its row limit.
const EXECUTE: &[u8] = b"E\0\0\0\x09\0";
/// The row limit of an Execute.
const LIMIT: usize = 4;

/// A batch of one statement.
struct OneStatement<'a> {
    parse: Option<Parse<'a>>,
    bind: Bind<'a>,
    described: bool,
    /// Describe, Execute and Sync. The unnamed portal has no other name on the server: they are passed on as they are.
    tail: &'a [u8],
    /// How long it is.
    length: usize,
}

impl<'a> OneStatement<'a> {
    /// The batch at the front; nothing where it is any other, or not whole.
    #[inline]
    fn read(bytes: &'a [u8], limits: FrameLimits) -> Option<Self> {
        let mut rest = bytes;
        let parse = match bytes.first()? {
            b'P' => Some(Parse::read(body(&mut rest, limits)?).ok()?),
            b'B' => None,
            _ => return None,
        };
        if rest.first() != Some(&b'B') || parse.is_some_and(|parse| !parse.name.is_empty()) {
            return None;
        }
        let bind = Bind::read(body(&mut rest, limits)?).ok()?;
        if !bind.portal.is_empty() || parse.is_some() && !bind.statement.is_empty() {
            return None;
        }
        let behind = rest.strip_prefix(DESCRIBE);
        let described = behind.is_some();
        let (_, behind) = behind.unwrap_or(rest).strip_prefix(EXECUTE)?.split_at_checked(LIMIT)?;
        let behind = behind.strip_prefix(request::SYNC)?;
        let tail = rest.get(..rest.len().checked_sub(behind.len())?)?;
        Some(Self { parse, bind, described, tail, length: bytes.len().checked_sub(behind.len())? })
    }
}

/// The body of the message at the front.
#[inline]
fn body<'a>(rest: &mut &'a [u8], limits: FrameLimits) -> Option<&'a [u8]> {
    let Ok(Frame::Whole { body, .. }) = frame::split(rest, FramePhase::Session, limits) else { return None };
    *rest = rest.get(HEADER.checked_add(body.len())?..)?;
    Some(body)
}

impl Active {
    /// Sends the batch at the front, if it is one of those; gives its length, nothing where it has to be taken message by
    /// message.
    #[inline]
    pub(super) fn straight(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        bytes: &[u8],
        limits: FrameLimits,
    ) -> Option<usize> {
        let begins = matches!(bytes.first(), Some(b'P' | b'B'));
        if begins && self.may_go_straight() { self.send_straight(host, io, bytes, limits) } else { None }
    }

    fn send_straight(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        bytes: &[u8],
        limits: FrameLimits,
    ) -> Option<usize> {
        let batch = OneStatement::read(bytes, limits)?;
        if self.has_failed() {
            return None;
        }
        let now = host.now_unix();
        if self.expires.is_some_and(|expires| expires <= now) {
            return None;
        }
        let statement = self.statement_of(host, &batch)?;
        let Body::Planned(planned) = &statement.body else { return None };
        let (sql, needs_tenant) = plain(&planned.plan)?;
        let OnServer::Named(prepared) = &planned.on_server else { return None };
        let fits = count_values(&batch.bind, planned.parameters).is_ok()
            && planned.plan.planned.pins.is_empty()
            && checks::bare_conditions(&planned.plan, &batch.bind).is_ok();
        if !fits || prepared.is_retired() || needs_tenant && self.tenancy.next_tenant(now).is_none() {
            return None;
        }
        // Where this fails, or something has to be said to the connection first, the long way goes on from here.
        if !self.leased(host, io, None).ok()? || !self.queue.is_empty() {
            return None;
        }
        let server = self.server.as_mut()?;
        if server.prepared.is_any_stale() || !server.prepared.has(prepared) {
            return None;
        }
        let start = io.server.len();
        let tenant = self.tenancy.tenant(now).filter(|_| sql.uses_tenant());
        let value = tenant.map(|tenant| TenantParameter { value: tenant.as_str() });
        request::bind(io.server, b"", prepared.name(), &batch.bind, value).ok()?;
        io.server.extend_from_slice(batch.tail);
        if !self.expect_lone(host, planned, prepared, batch.described) {
            io.server.truncate(start);
            return None;
        }
        if let Some(server) = &mut self.server {
            server.sent.clear();
            server.sent.add(io.server.get(start..).unwrap_or_default());
        }
        if batch.parse.is_some() {
            self.held.extend_from_slice(fixed::PARSE_COMPLETE);
            if !self.unnamed.as_ref().is_some_and(|last| Rc::ptr_eq(last, &statement)) {
                self.unnamed = Some(statement.clone());
            }
        }
        let portal = self.portals.server_name("");
        // Nothing is ahead of it that could bring another portal back.
        drop(self.portals.open("", statement, Some(portal)));
        self.portals.synced();
        Some(batch.length)
    }

    /// Whether nothing is outstanding, and a message would go to its handler.
    #[inline]
    fn may_go_straight(&self) -> bool {
        self.queue.is_empty()
            && self.batch == Batch::Closed
            && self.copying == Copying::No
            && self.message_left == 0
            && self.held.is_empty()
            && self.no_lease.is_none()
            && self.portals.len() < MOST_NAMES
    }

    /// The statement that is bound, if its plan is of this epoch.
    fn statement_of(&self, host: &mut dyn Host, batch: &OneStatement<'_>) -> Option<Rc<Statement>> {
        if let Some(parse) = &batch.parse {
            // Sessions repeat themselves.
            let last = self
                .unnamed
                .as_ref()
                .or(self.last_unnamed.as_ref())
                .filter(|last| last.epoch == host.epoch());
            if let Some(last) = last.filter(|last| last.is_of(parse)) {
                return Some(last.clone());
            }
            let declared: SmallVec<[Oid; 16]> = parse.types().collect();
            return host.known_statement(&self.who, parse.text, &declared);
        }
        let name = batch.bind.statement;
        let found = if name.is_empty() { self.unnamed.as_ref() } else { self.statements.get(name) };
        found.filter(|statement| statement.epoch == host.epoch()).cloned()
    }

    /// Remembers what was written; false without room for its audit event.
    fn expect_lone(
        &mut self,
        host: &mut dyn Host,
        planned: &Planned,
        prepared: &Rc<super::outgoing::Prepared>,
        described: bool,
    ) -> bool {
        let Ok(mut running) = self.running(host, &planned.plan) else { return false };
        running.prepared = Some(prepared.clone());
        self.tenancy.ran();
        self.queue.push_back(Expect::Lone(Lone { running, of: prepared.clone(), described }));
        true
    }
}
