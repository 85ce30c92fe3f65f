//! Server connections of one worker to one database: opened, leased, given back, cancelled, closed.
//!
//! * [`connect`]: TLS, authentication and the pinned settings of a new connection; [`password`]: where its password
//!   comes from; [`stream`]: a socket with or without TLS; [`driver`]: such a connection for the program's own
//!   queries.
//! * [`lease`]: who has a connection, and who waits for one.
//! * [`cancel`]: asking the server to cancel what runs on a connection.

pub mod cancel;
pub mod connect;
pub mod driver;
pub mod lease;
pub mod password;
pub mod stream;

pub use connect::{ConnectError, Target};
pub use lease::{Lease, Limits, Pool, Waiter};
pub use stream::Stream;

#[cfg(test)]
mod tests;
