//! Server connections of one worker to one database: opened, leased, given back, cancelled, closed.
//!
//! * [`connect`]: TLS, authentication and the pinned settings of a new connection; [`password`]: where its password
//!   comes from; [`stream`]: a socket with or without TLS; [`keepalive`]: how a silent peer is noticed; [`driver`]: such a connection for the program's own
//!   queries.
//! * [`lease`]: who has a connection; [`queue`]: who waits for one; [`check`]: whether one that was idle lives.
//! * [`cancel`]: asking the server to cancel what runs on a connection.

pub mod cancel;
mod check;
pub mod connect;
pub mod driver;
pub mod keepalive;
pub mod lease;
pub mod password;
pub mod queue;
pub mod stream;

pub use connect::{ConnectError, Target};
pub use keepalive::Keepalive;
pub use lease::{Counts, Lease, Limits, Pool};
pub use queue::{Payer, Waiter};
pub use stream::Stream;

#[cfg(test)]
mod tests;
