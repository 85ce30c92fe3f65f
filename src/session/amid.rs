//! What is no data amid the data of a COPY FROM. PostgreSQL ignores a Sync there, and answers it once the data has failed,
//! when it is behind its COPY; any other message ends the connection, or is run behind a COPY that has failed
//! (`CopyGetData`, commands/copyfromparse.c). Which of both it is only the server knows, that reads the data. So a Sync
//! is forwarded, and everything behind the data waits for the end of the COPY. If that fails, two Syncs of the proxy's own,
//! with a Close between them that does nothing, show which answers to the client's Syncs are the last.
//!
//! ```text
//! client:  d(bad) S S c
//! server:  E Z Z         of a batch; of a Query, one Z more
//! proxy:                 S C S
//! server:                Z 3 Z
//! ```

use super::Io;
use super::active::{Active, Batch};
use super::refusing::NO_PORTAL;
use super::reply::Expect;
use crate::policy::{Refusal, Rule, SqlState};
use crate::wire::WireError;
use crate::wire::answer;
use crate::wire::backend::TransactionStatus;
use crate::wire::request;

/// The Syncs amid data that has failed.
#[derive(Debug, Default)]
pub struct Amid {
    /// The last answer, which is not told before another comes: it may be that of the proxy's own Sync.
    last: Option<TransactionStatus>,
    /// All answers to the client's Syncs have come.
    told: bool,
}

impl Active {
    /// The COPY with this Sync amid its data has failed: what the server is asked for.
    pub(super) fn await_syncs(&mut self) -> Result<(), WireError> {
        self.resend.extend_from_slice(request::SYNC);
        request::target(&mut self.resend, b'C', b'S', NO_PORTAL)?;
        self.resend.extend_from_slice(request::SYNC);
        let amid = Expect::Amid(Amid::default());
        match self.queue.front() {
            Some(Expect::Query(_)) => self.queue.insert(1, amid),
            _ => self.queue.push_front(amid),
        }
        if matches!(self.batch, Batch::Skipping { .. }) {
            self.batch = Batch::Skipping { sent: false };
        }
        Ok(())
    }

    /// CloseComplete of the proxy's own: no more answers to the client's Syncs come. False: it is none.
    pub(super) fn syncs_are_told(&mut self) -> bool {
        match self.queue.front_mut() {
            Some(Expect::Amid(amid)) if amid.last.is_some() && !amid.told => {
                amid.told = true;
                true
            }
            _ => false,
        }
    }

    /// ReadyForQuery to one of these Syncs, or one of the proxy's own: what the client is told. None where nothing like it
    /// is waited for.
    pub(super) fn ready_amid(&mut self, status: TransactionStatus) -> Option<Vec<u8>> {
        let Some(Expect::Amid(amid)) = self.queue.front_mut() else { return None };
        let mut told = Vec::new();
        if amid.told {
            self.queue.pop_front();
            self.is_ready(status, false);
        } else if let Some(last) = amid.last.replace(status) {
            answer::ready_for_query(&mut told, last);
            self.batch = Batch::Closed;
            self.unsure.synced();
        }
        Some(told)
    }

    /// A message that is no data, amid the data: the server says whether it comes behind a COPY that has failed.
    pub(super) fn end_amid(&mut self, io: &mut Io<'_>, tag: u8) -> Result<(), Refusal> {
        let message = format!("unexpected message type 0x{tag:02X} during COPY from stdin");
        let refusal = Refusal::new(SqlState::PROTOCOL, Rule("protocol"), message);
        match self.loading.as_deref_mut() {
            Some(loading) => {
                loading.ends_with(refusal);
                self.refuse_load(io)
            }
            None => Err(refusal),
        }
    }
}

/// The end of a session that has sent anything but data amid the data.
pub(super) fn out_of_step() -> Refusal {
    let message = "terminating connection because protocol synchronization was lost";
    Refusal::new(SqlState::PROTOCOL, Rule("protocol"), message)
}
