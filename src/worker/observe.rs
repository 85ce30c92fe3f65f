//! Audit and metrics as a worker sees them.

use std::time::Duration;

use super::registry::Cancelled;
use crate::auth::{AuthError, Principal};
use crate::session::host::Account;

/// Takes the decisions of one worker. Room is reserved before a statement runs, so that its event surely fits
/// when it has ended.
pub trait Auditor: std::fmt::Debug + Send {
    /// Takes the room of one event; false where there is none, and then nothing may run. Each true is followed
    /// by one [`Auditor::settle`] or [`Auditor::release`].
    fn reserve(&mut self) -> bool;
    /// Gives reserved room back.
    fn release(&mut self);
    /// A statement has ended, at `now` (microseconds since 1970): into reserved room.
    fn settle(&mut self, session: u64, account: &Account<'_>, now: u64, duration_us: u64);
    /// A statement's guard raised: into reserved room.
    fn raised(&mut self, session: u64, account: &Account<'_>);
    /// A statement was refused: without a reservation. Without room the refusal stands all the same.
    fn refused(&mut self, session: u64, account: &Account<'_>);
    /// A client has logged in; false where there is no room.
    fn logged_in(&mut self, session: u64, who: &Principal) -> bool {
        let _ = (session, who);
        true
    }
    /// A client was turned away.
    fn login_refused(&mut self, session: u64, user: &str, database: &str, error: AuthError) {
        let _ = (session, user, database, error);
    }
}

/// Counts. Every method is called on a worker's thread and must be a few instructions.
pub trait Metrics: std::fmt::Debug + Send + Sync {
    /// A client has connected.
    fn client_connected(&self) {}
    /// A client is gone.
    fn client_gone(&self) {}
    /// A statement has ended; `failed`: at the server.
    fn statement(&self, duration_us: u64, failed: bool) {
        let _ = (duration_us, failed);
    }
    /// A statement was refused by this rule.
    fn refused(&self, rule: &'static str) {
        let _ = rule;
    }
    /// How many server connections of a worker are idle and how many leased, and how many clients wait for
    /// one; told about every second.
    fn pools(&self, worker: usize, idle: usize, leased: usize, waiting: usize) {
        let _ = (worker, idle, leased, waiting);
    }
    /// How many server connections of a worker are kept beyond their transactions; told about every second.
    fn held(&self, worker: usize, held: usize) {
        let _ = (worker, held);
    }
    /// A transaction has a server connection after it had to wait for it.
    fn lease_waited(&self, waited: Duration) {
        let _ = waited;
    }
    /// A session's code panicked.
    fn panicked(&self) {}
    /// A session is about to be polled: whether it is dropped instead. Tests say so.
    #[cfg(test)]
    fn is_dropped(&self, session: u64) -> bool {
        let _ = session;
        false
    }
    /// A session looks at everything once more. Tests panic here.
    #[cfg(test)]
    fn round(&self, session: u64) {
        let _ = session;
    }
    /// A worker panicked and was replaced.
    fn worker_died(&self) {}
    /// A cancel request has come.
    fn cancel_request(&self, outcome: Cancelled) {
        let _ = outcome;
    }
}

/// Nothing is written down and nothing counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Auditor for Silent {
    fn reserve(&mut self) -> bool {
        true
    }
    fn release(&mut self) {}
    fn settle(&mut self, _: u64, _: &Account<'_>, _: u64, _: u64) {}
    fn raised(&mut self, _: u64, _: &Account<'_>) {}
    fn refused(&mut self, _: u64, _: &Account<'_>) {}
}

impl Metrics for Silent {}
