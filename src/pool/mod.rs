//! Server connections of one worker to one database: opened, leased, given back, cancelled, closed.
//!
//! * [`connect`]: TLS, authentication and the pinned settings of a new connection; [`password`]: where its password
//!   comes from; [`stream`]: a socket with or without TLS; [`tcp`]: who watches it; [`reactor`]: how a worker
//!   watches its sockets; [`flow`]: how it reads a long stream; [`pulse`]: a timer for that; [`keepalive`]: how a silent
//!   peer is noticed; [`driver`]: such a connection for the program's own queries.
//! * [`connections`]: to whom each connection goes; [`limits`]: how many there may be; [`opening`]: when another is
//!   opened; [`queue`]: who waits for one; [`check`]: whether one that was idle lives.
//! * [`lease`]: one in the hands of a client; [`abandoned`]: one whose client is gone.
//! * [`cancel`]: asking the server to cancel what runs on a connection.

mod abandoned;
pub mod cancel;
mod check;
pub mod connect;
pub mod connections;
pub mod driver;
mod flow;
pub mod keepalive;
pub mod lease;
pub mod limits;
mod opening;
pub mod password;
mod pulse;
pub mod queue;
pub mod reactor;
pub mod stream;
pub mod tcp;

pub use connect::{ConnectError, Target};
pub use connections::Pool;
pub use keepalive::Keepalive;
pub use lease::Lease;
pub use limits::{Counts, Limits};
pub use queue::{Payer, Waiter};
pub use reactor::Reactor;
pub use stream::Stream;

#[cfg(test)]
mod tests;
