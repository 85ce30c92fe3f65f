//! Bounds of a pool, and how it stands to them.

use std::time::Duration;

/// Bounds of a pool.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Server connections at most.
    pub size: usize,
    /// Server connections that are kept open, idle or not.
    pub least: usize,
    /// Further connections, once somebody has waited for `reserve_timeout`.
    pub reserve: usize,
    /// How long somebody waits before the reserve serves him.
    pub reserve_timeout: Duration,
    /// Leases of one tenant at once; none: all.
    pub per_tenant: Option<usize>,
    /// An idle connection is closed after this, unless `least` are open.
    pub idle_timeout: Duration,
    /// A connection is not used again after this, or up to a tenth of it earlier, by chance.
    pub server_lifetime: Duration,
    /// A connection that was idle for so long is asked whether it lives before it is leased.
    pub check_delay: Duration,
    /// How long it may take to answer.
    pub check_timeout: Duration,
}

/// What a pool holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Open connections.
    pub open: usize,
    /// Those of them that are idle.
    pub idle: usize,
    /// Clients that wait.
    pub waiting: usize,
    /// Connections that are being opened.
    pub connecting: usize,
}
