//! A prepared statement that the server does not run any more, because a table has changed and with it the columns
//! of its result («cached plan must not change result type», plancache.c). Where nothing of its batch has run, and the
//! client asks for the columns in the same batch, it is closed, prepared anew and sent again, and the client sees
//! nothing of it. Otherwise the client is told, as PostgreSQL tells it: it would read the rows by the columns that it
//! was told of before.

use std::collections::VecDeque;
use std::rc::Rc;

use smallvec::SmallVec;

use super::active::Active;
use super::outgoing::Prepared;
use super::reply::Expect;
use crate::wire::backend::{ErrorFields, TransactionStatus};
use crate::wire::request;

/// Longer batches are not sent again.
const LONGEST: usize = 64 * 1024;
/// A buffer that has grown beyond this is not kept.
const KEPT: usize = 4 * 1024;

/// Messages of the extended protocol that a server connection was sent since nothing was outstanding on it.
#[derive(Debug, Default)]
pub struct Sent {
    bytes: Vec<u8>,
    whole: bool,
    /// A portal of the running batch was opened: it cannot be sent again.
    pub begun: bool,
}

impl Sent {
    /// Begins anew.
    pub fn clear(&mut self) {
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.whole = true;
    }

    /// These were sent too.
    pub fn add(&mut self, bytes: &[u8]) {
        self.whole &= self.bytes.len().saturating_add(bytes.len()) <= LONGEST;
        if self.whole {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// A message was begun whose rest is not kept.
    pub fn cut(&mut self) {
        self.whole = false;
    }

    /// The last messages, which must have exactly these types.
    fn last(&self, types: &[u8]) -> Option<&[u8]> {
        let mut starts = SmallVec::<[usize; 16]>::new();
        let mut at = 0usize;
        while let Some(length) = self.bytes.get(at.checked_add(1)?..).and_then(<[u8]>::first_chunk::<4>) {
            starts.push(at);
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            at = at.checked_add(length)?.checked_add(1)?;
        }
        let last = starts.get(starts.len().checked_sub(types.len())?..)?;
        let same = last.iter().zip(types).all(|(at, wanted)| self.bytes.get(*at) == Some(wanted));
        self.bytes.get(*last.first()?..).filter(|_| same && self.whole && at == self.bytes.len())
    }
}

impl Active {
    /// Keeps what a message has sent, from `from` on.
    pub(super) fn note_sent(&mut self, server: &[u8], from: usize, alone: bool) {
        let bytes = server.get(from..).unwrap_or_default();
        if let Some(server) = self.server.as_mut().filter(|_| !bytes.is_empty()) {
            if alone {
                server.sent.clear();
            }
            server.sent.add(bytes);
        }
    }

    /// Sends the rest of a batch again after this error, if that can be; then the client is told nothing.
    pub(super) fn send_again(&mut self, fields: &ErrorFields<'_>) -> bool {
        if !is_stale(fields) {
            return false;
        }
        let Some(prepared) = self.queue.front().and_then(stale_statement) else { return false };
        prepared.retire();
        let fit = !self.retried && self.may_repeat();
        let Some(bytes) = fit.then(|| self.repeated(&prepared)).flatten() else { return false };
        self.retried = true;
        self.resend.extend_from_slice(&bytes);
        let rest = std::mem::take(&mut self.queue);
        let described = matches!(rest.front(), Some(Expect::Row(Some(_))));
        self.queue.push_back(Expect::OwnReady);
        self.queue.push_back(Expect::OwnClose(prepared.clone()));
        self.queue.push_back(Expect::Parse { prepared, client: None, by_sql: false });
        if described {
            self.queue.push_back(Expect::OwnParameters);
        }
        self.queue.extend(rest);
        true
    }

    /// Whether the rest of the queue is one batch, to its Sync, of which nothing has run, outside a transaction.
    fn may_repeat(&self) -> bool {
        let fresh = self
            .server
            .as_ref()
            .is_some_and(|server| server.status == TransactionStatus::Idle && !server.sent.begun);
        let fresh = fresh && self.passing.is_none();
        let last = self.queue.len().checked_sub(1);
        let one = self.queue.iter().position(|expect| matches!(expect, Expect::Ready)) == last;
        fresh && one && last.is_some() && tells_columns(&self.queue)
    }

    fn repeated(&self, prepared: &Rc<Prepared>) -> Option<Vec<u8>> {
        let sent = self.server.as_ref()?.sent.last(&messages(&self.queue)?)?;
        let mut bytes = Vec::with_capacity(sent.len().saturating_add(prepared.text().len()));
        request::target(&mut bytes, b'C', b'S', prepared.name()).ok()?;
        prepared.parse(&mut bytes).ok()?;
        bytes.extend_from_slice(sent);
        Some(bytes)
    }
}

/// Whether an error says that a statement's columns have changed.
pub(super) fn is_stale(fields: &ErrorFields<'_>) -> bool {
    fields.field(b'C') == Some(b"0A000") && fields.field(b'R') == Some(b"RevalidateCachedQuery")
}

/// The shared statement that the server was looking at.
fn stale_statement(front: &Expect) -> Option<Rc<Prepared>> {
    match front {
        Expect::Bind(of) | Expect::Parameters { of, .. } | Expect::Row(Some(of)) if of.id != 0 => {
            Some(of.clone())
        }
        _ => None,
    }
}

/// Whether the client asks for the columns of what failed.
fn tells_columns(queue: &VecDeque<Expect>) -> bool {
    let mut told = queue
        .iter()
        .filter(|expect| !matches!(expect, Expect::Say(_) | Expect::Renamed(..) | Expect::Rebound(..)));
    match told.next() {
        Some(Expect::Bind(_)) => matches!(told.next(), Some(Expect::Row(None))),
        Some(Expect::Parameters { .. } | Expect::Row(_)) => true,
        _ => false,
    }
}

/// The types of the messages that these answers are for. ParameterDescription and RowDescription are for one
/// Describe. Nothing where one of them is not of a batch.
fn messages(queue: &VecDeque<Expect>) -> Option<SmallVec<[u8; 16]>> {
    let mut types = SmallVec::new();
    let mut described = false;
    for expect in queue {
        let same = matches!(expect, Expect::Row(Some(_))) && described;
        described = matches!(expect, Expect::Parameters { .. });
        match expect {
            Expect::Say(_) | Expect::Renamed(..) | Expect::Rebound(..) => {}
            Expect::Row(_) if same => {}
            Expect::Parse { .. } => types.push(b'P'),
            Expect::Bind(_) => types.push(b'B'),
            Expect::Parameters { .. } | Expect::Row(_) => types.push(b'D'),
            Expect::Execute(_) => types.push(b'E'),
            Expect::Close | Expect::OwnClose(_) => types.push(b'C'),
            Expect::Ready => types.push(b'S'),
            Expect::OwnParameters
            | Expect::OwnReady
            | Expect::Amid(_)
            | Expect::Refusal(_)
            | Expect::Query(_)
            | Expect::Ahead(_)
            | Expect::AheadReady
            | Expect::Insert(_)
            | Expect::Lone(_)
            | Expect::Begin(_)
            | Expect::Own => return None,
        }
    }
    Some(types)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_messages_are_found_from_the_end() {
        let mut sent = Sent::default();
        sent.clear();
        sent.add(b"P\0\0\0\x05xB\0\0\0\x06yz");
        sent.add(b"S\0\0\0\x04");
        assert_eq!(sent.last(b"S"), Some(&b"S\0\0\0\x04"[..]));
        assert_eq!(sent.last(b"BS"), Some(&b"B\0\0\0\x06yzS\0\0\0\x04"[..]));
        assert_eq!((sent.last(b"PS"), sent.last(b"EPBS"), sent.last(b"")), (None, None, None));
        sent.cut();
        assert_eq!(sent.last(b"S"), None, "a part of it is not kept");
        sent.clear();
        sent.add(&vec![0; LONGEST]);
        assert_eq!(sent.last(b"S"), None, "it is not whole");
        sent.clear();
        sent.add(b"S\0\0\0\x04");
        assert_eq!(sent.last(b"S"), Some(&b"S\0\0\0\x04"[..]));
    }
}
