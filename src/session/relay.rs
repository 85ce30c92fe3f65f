//! The server's messages on their way to the client. Each one is attributed to the front of the reply queue;
//! one that does not fit there ends the connection: what it means is not known. Rows and copy data are not
//! kept: they pass as they come.

use super::active::Active;
use super::copy::Copying;
use super::host::Host;
use super::reply::Expect;
use crate::policy::{Refusal, Rule, SqlState};
use crate::wire::WireError;
use crate::wire::backend;
use crate::wire::frame::HEADER;

/// Why a server connection cannot be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// A message that nothing waits for.
    #[error("the server sent a message of type {0} that nothing waits for")]
    Unexpected(u8),
    /// A malformed message.
    #[error("the server sent a malformed message: {0}")]
    Malformed(#[from] WireError),
    /// A parameter that nobody set.
    #[error("the server changed its parameter \"{0}\"")]
    Parameter(String),
    /// The server ended the connection, with this code and message.
    #[error("{1}")]
    Ended(SqlState, String),
    /// A statement of the proxy's own failed.
    #[error("the session's settings could not be restored")]
    Own,
}

impl Lost {
    /// What the client is told: the server's own code where it has said one.
    pub fn refusal(&self) -> Refusal {
        let state = match self {
            Self::Ended(state, _) => *state,
            _ => SqlState::CONNECTION_FAILURE,
        };
        Refusal::new(state, Rule("server"), self.to_string())
    }
}

/// Framing of the server's stream: what is left of a row that passes, and the start of a message that is kept.
#[derive(Debug, Default)]
pub struct Frames {
    left: usize,
    partial: Vec<u8>,
    pub(super) columns: Option<u16>,
}

impl Frames {
    /// Whether the stream stands between two messages.
    pub fn is_clean(&self) -> bool {
        self.left == 0 && self.partial.is_empty()
    }

    /// Whether nothing of an answer has come yet that decides about what comes behind it.
    #[inline]
    pub(super) fn is_between_answers(&self) -> bool {
        self.is_clean() && self.columns.is_none()
    }

    /// Whether a part of a row was passed on.
    pub fn is_within_a_row(&self) -> bool {
        self.left > 0
    }
}

/// What a client sees of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// All of it.
    Whole,
    /// Nothing.
    Nothing,
    /// This instead.
    Instead(Vec<u8>),
}

/// The bytes of one read: messages that pass unchanged are copied in runs.
struct Run<'a> {
    bytes: &'a [u8],
    start: usize,
    at: usize,
}

impl Run<'_> {
    fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes.get(self.start..self.at).unwrap_or_default());
        self.start = self.at;
    }

    fn skip(&mut self, length: usize, out: &mut Vec<u8>) {
        self.flush(out);
        self.at = self.at.saturating_add(length);
        self.start = self.at;
    }
}

impl Active {
    /// Passes on what the server sent.
    pub fn relay(&mut self, host: &mut dyn Host, out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Lost> {
        if !self.held.is_empty() {
            out.append(&mut self.held);
        }
        if self.relay_whole(host, out, bytes) {
            return Ok(());
        }
        let bytes = match self.behind_begin(bytes) {
            Some(rest) if self.relay_whole(host, out, rest) => return Ok(()),
            Some(rest) => rest,
            None => bytes,
        };
        self.take_apart();
        if self.frames.partial.is_empty() {
            let used = self.relay_run(host, out, bytes)?;
            self.frames.partial.extend_from_slice(bytes.get(used..).unwrap_or_default());
            return Ok(());
        }
        let mut kept = std::mem::take(&mut self.frames.partial);
        kept.extend_from_slice(bytes);
        let used = self.relay_run(host, out, &kept)?;
        kept.drain(..used.min(kept.len()));
        if !kept.is_empty() {
            self.frames.partial = kept;
        }
        Ok(())
    }

    fn relay_run(&mut self, host: &mut dyn Host, out: &mut Vec<u8>, bytes: &[u8]) -> Result<usize, Lost> {
        let mut run = Run { bytes, start: 0, at: 0 };
        loop {
            let rest = bytes.get(run.at..).unwrap_or_default();
            if self.frames.left > 0 {
                let passed = self.frames.left.min(rest.len());
                self.frames.left = self.frames.left.saturating_sub(passed);
                run.at = run.at.saturating_add(passed);
                if self.frames.left > 0 {
                    break;
                }
                continue;
            }
            let Some((tag, total)) = header(rest)? else { break };
            let own = tag == b'D' && matches!(self.queue.front(), Some(Expect::Own));
            if matches!(tag, b'D' | b'd') && !own {
                if rest.len() < HEADER.saturating_add(2).min(total) {
                    break;
                }
                self.passes(tag, total, rest)?;
                if total <= rest.len() {
                    run.at = run.at.saturating_add(total);
                } else {
                    self.frames.left = total;
                }
                continue;
            }
            let Some(body) = rest.get(HEADER..total) else { break };
            if tag == b'T'
                && let Some(Expect::Query(query)) = self.queue.front()
                && query.running().is_some()
            {
                self.frames.columns = Some(backend::row_description(body)?);
                run.at = run.at.saturating_add(total);
                continue;
            }
            match self.answer(host, tag, body)? {
                Seen::Whole => run.at = run.at.saturating_add(total),
                Seen::Nothing => run.skip(total, out),
                Seen::Instead(instead) => {
                    run.skip(total, out);
                    out.extend_from_slice(&instead);
                }
            }
            if self.queue.front().is_some_and(Expect::is_the_proxys_turn) {
                self.take_turn(host, &mut run, out);
            }
        }
        run.flush(out);
        Ok(run.at)
    }

    fn take_turn(&mut self, host: &mut dyn Host, run: &mut Run<'_>, out: &mut Vec<u8>) {
        self.say_what_waits(run, out);
        if matches!(self.queue.front(), Some(Expect::Insert(_))) {
            run.flush(out);
            self.end_inserting(host, out);
            self.invite_rows(out);
            self.say_what_waits(run, out);
        }
    }

    /// Answers of the proxy's own whose turn has come.
    fn say_what_waits(&mut self, run: &mut Run<'_>, out: &mut Vec<u8>) {
        loop {
            match self.queue.front_mut() {
                Some(Expect::Say(bytes)) => {
                    run.flush(out);
                    out.extend_from_slice(bytes);
                    self.queue.pop_front();
                }
                Some(Expect::Renamed(..) | Expect::Rebound(..)) => {
                    self.queue.pop_front();
                }
                Some(Expect::Query(query)) if query.has_to_say() => {
                    run.flush(out);
                    if let Some(change) = query.say_ahead(out) {
                        self.rename(change);
                    }
                }
                _ => return,
            }
        }
    }

    /// Whether a row or copy data may come now.
    fn passes(&self, tag: u8, total: usize, bytes: &[u8]) -> Result<(), Lost> {
        let waited = match self.queue.front() {
            Some(Expect::Execute(_)) => true,
            Some(Expect::Query(query)) => query.running().is_some(),
            _ => false,
        };
        if tag == b'd' {
            return if waited && self.copying == Copying::Out { Ok(()) } else { Err(Lost::Unexpected(tag)) };
        }
        let count = bytes.get(HEADER..HEADER.saturating_add(2)).and_then(|count| count.try_into().ok());
        let count = count.map(u16::from_be_bytes).ok_or(WireError::Short)?;
        // Every value has a length field of four bytes.
        let least = usize::from(count).saturating_mul(4).saturating_add(HEADER).saturating_add(2);
        let matches = self.frames.columns.is_none_or(|columns| columns == count) && total >= least;
        let described =
            self.frames.columns.is_some() || matches!(self.queue.front(), Some(Expect::Execute(_)));
        if waited && matches!(self.copying, Copying::No | Copying::Asked) && matches && described {
            Ok(())
        } else {
            Err(Lost::Unexpected(tag))
        }
    }
}

/// Type and whole length of the message at the front; none while its header is incomplete.
fn header(bytes: &[u8]) -> Result<Option<(u8, usize)>, Lost> {
    let Some((&tag, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((length, _)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let announced = u32::from_be_bytes(*length);
    let cap = if matches!(tag, b'D' | b'd') { backend::LONGEST_PASSED } else { backend::LONGEST_KEPT };
    let total = usize::try_from(announced).ok().and_then(|length| length.checked_add(1));
    match total {
        Some(total) if (HEADER..=cap).contains(&total) => Ok(Some((tag, total))),
        _ => Err(WireError::Length { tag, length: announced }.into()),
    }
}
