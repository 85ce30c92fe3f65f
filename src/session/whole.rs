//! An answer that lies whole in one read, as nearly all do: it is looked at as one, and passes as one. What is not
//! exactly what one statement may be answered with is left to [`relay`](super::relay), which knows all the rest.

use super::active::Active;
use super::copy::Copying;
use super::host::Host;
use super::reply::{Expect, Lone, Part, Query, fixed};
use crate::sql::StatementKind;
use crate::wire::backend::{self, TransactionStatus};
use crate::wire::frame::HEADER;

/// Which messages there are besides rows, CommandComplete and ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Of a query: a RowDescription before rows, if there are any.
    Query,
    /// Of an Execute behind a Bind: BindComplete.
    Bound,
    /// The same with a Describe between: BindComplete, then RowDescription or NoData.
    Described,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
struct Whole<'a> {
    command: &'a [u8],
    status: TransactionStatus,
}

impl<'a> Whole<'a> {
    /// Nothing where it is not whole, or anything else.
    #[inline]
    fn read(bytes: &'a [u8], form: Form) -> Option<Self> {
        let (answers, ready) = bytes.split_at_checked(bytes.len().checked_sub(fixed::READY_IDLE.len())?)?;
        let (header, status) = ready.split_at_checked(HEADER)?;
        if header != fixed::READY_IDLE.get(..HEADER)? {
            return None;
        }
        let status = backend::ready_for_query(status).ok()?;
        let mut rest = match form {
            Form::Query => answers,
            Form::Bound | Form::Described => answers.strip_prefix(fixed::BIND_COMPLETE)?,
        };
        let (mut tag, mut body) = next(&mut rest)?;
        let mut columns = None;
        match (form, tag) {
            (Form::Query | Form::Described, b'T') => {
                columns = Some(backend::row_description(body).ok()?);
                (tag, body) = next(&mut rest)?;
            }
            (Form::Described, b'n') if body.is_empty() => (tag, body) = next(&mut rest)?,
            (Form::Described, _) => return None,
            (Form::Query | Form::Bound, _) => {}
        }
        while tag == b'D' {
            let count = u16::from_be_bytes(*body.first_chunk::<2>()?);
            // Every value has a length field of four bytes.
            let least = usize::from(count).saturating_mul(4).saturating_add(2);
            let fits = if form == Form::Query { columns == Some(count) } else { true };
            if !fits || body.len() < least {
                return None;
            }
            (tag, body) = next(&mut rest)?;
        }
        if tag != b'C' || !rest.is_empty() {
            return None;
        }
        Some(Self { command: backend::command_tag(body).ok()?, status })
    }
}

/// The message at the front, which is whole.
#[inline]
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (header, behind) = rest.split_first_chunk::<HEADER>()?;
    let [tag, length @ ..] = *header;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?.checked_sub(4)?;
    let (body, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some((tag, body))
}

impl Active {
    /// Passes on the answer to the only statement that is waited for, if it lies whole in these bytes; false: nothing
    /// was done.
    #[inline]
    pub(super) fn relay_whole(&mut self, host: &mut dyn Host, out: &mut Vec<u8>, bytes: &[u8]) -> bool {
        if self.queue.len() != 1 || self.copying != Copying::No || !self.frames.is_between_answers() {
            return false;
        }
        let form = match self.queue.front() {
            Some(Expect::Lone(lone)) if lone.described => Form::Described,
            Some(Expect::Lone(_)) => Form::Bound,
            Some(Expect::Query(Query { parts, done: 0 })) if matches!(parts.as_slice(), [Part::Sent(_)]) => {
                Form::Query
            }
            _ => return false,
        };
        let Some(Whole { command, status }) = Whole::read(bytes, form) else { return false };
        let running = match self.queue.pop_front() {
            Some(Expect::Lone(Lone { running, .. })) => running,
            Some(Expect::Query(Query { mut parts, .. })) => match parts.pop() {
                Some(Part::Sent(running)) => running,
                _ => return false,
            },
            _ => return false,
        };
        out.extend_from_slice(bytes);
        if form == Form::Query && running.kind == StatementKind::Chain {
            self.portals.clear();
        }
        self.ran(host, running, command);
        self.is_ready(status, form != Form::Query);
        if !self.settings.reports.are_told() {
            let ready = out.split_off(out.len().saturating_sub(fixed::READY_IDLE.len()));
            self.settings.reports.tell(out);
            out.extend_from_slice(&ready);
        }
        true
    }

    /// The answers to a batch of one statement come one by one, or something else is about to be waited for behind
    /// them: each is waited for by itself.
    #[inline]
    pub(super) fn take_apart(&mut self) {
        if matches!(self.queue.front(), Some(Expect::Lone(_))) {
            self.take_lone_apart();
        }
    }

    #[inline(never)]
    fn take_lone_apart(&mut self) {
        if let Some(Expect::Lone(Lone { running, of, described })) = self.queue.pop_front() {
            self.queue.push_front(Expect::Ready);
            self.queue.push_front(Expect::Execute(running));
            if described {
                self.queue.push_front(Expect::Row(None));
            }
            self.queue.push_front(Expect::Bind(of));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: &[u8] = b"2\0\0\0\x04";
    const ONE_COLUMN: &[u8] = b"T\0\0\0\x1a\0\x01?\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    const ROW: &[u8] = b"D\0\0\0\x0b\0\x01\0\0\0\x01x";
    const TWO_VALUES: &[u8] = b"D\0\0\0\x0e\0\x02\0\0\0\0\0\0\0\0";
    const DONE: &[u8] = b"C\0\0\0\x0dSELECT 1\0";
    const READY: &[u8] = b"Z\0\0\0\x05T";

    fn command(form: Form, messages: &[&[u8]]) -> Option<String> {
        let bytes = messages.concat();
        let whole = Whole::read(&bytes, form)?;
        assert_eq!(whole.status, TransactionStatus::Open);
        Some(String::from_utf8(whole.command.to_vec()).unwrap())
    }

    #[test]
    fn answer_of_each_form_is_known_as_a_whole() {
        let one = Some("SELECT 1".to_owned());
        assert_eq!(command(Form::Query, &[ONE_COLUMN, ROW, ROW, DONE, READY]), one);
        assert_eq!(command(Form::Query, &[DONE, READY]), one);
        assert_eq!(command(Form::Bound, &[BOUND, ROW, DONE, READY]), one);
        assert_eq!(command(Form::Bound, &[BOUND, DONE, READY]), one);
        assert_eq!(command(Form::Described, &[BOUND, ONE_COLUMN, ROW, DONE, READY]), one);
        assert_eq!(command(Form::Described, &[BOUND, b"n\0\0\0\x04", DONE, READY]), one);
    }

    #[test]
    fn anything_else_is_not() {
        let notice = b"N\0\0\0\x05\0";
        for (form, messages) in [
            (Form::Query, &[ROW, DONE, READY][..]),
            (Form::Query, &[ONE_COLUMN, TWO_VALUES, DONE, READY]),
            (Form::Query, &[ONE_COLUMN, ROW, DONE, DONE, READY]),
            (Form::Query, &[ONE_COLUMN, ONE_COLUMN, DONE, READY]),
            (Form::Query, &[ONE_COLUMN, ROW, READY]),
            (Form::Query, &[ONE_COLUMN, ROW, DONE]),
            (Form::Query, &[ONE_COLUMN, ROW, DONE, READY, READY]),
            (Form::Query, &[ONE_COLUMN, ROW, DONE, b"Z\0\0\0\x05X"]),
            (Form::Query, &[notice, DONE, READY]),
            (Form::Query, &[BOUND, DONE, READY]),
            (Form::Bound, &[DONE, READY]),
            (Form::Bound, &[BOUND, ONE_COLUMN, ROW, DONE, READY]),
            (Form::Bound, &[BOUND, b"D\0\0\0\x0a\0\x01\0\0\0", DONE, READY]),
            (Form::Bound, &[BOUND, b"s\0\0\0\x04", READY]),
            (Form::Described, &[BOUND, ROW, DONE, READY]),
            (Form::Described, &[BOUND, b"n\0\0\0\x05x", DONE, READY]),
            (Form::Described, &[BOUND, READY]),
        ] {
            assert_eq!(command(form, messages), None, "{form:?} {messages:?}");
        }
    }

    #[test]
    fn no_cut_of_an_answer_is_whole() {
        let bytes = [BOUND, ONE_COLUMN, ROW, DONE, READY].concat();
        for end in 0..bytes.len() {
            assert_eq!(Whole::read(&bytes[..end], Form::Described), None);
        }
    }
}
