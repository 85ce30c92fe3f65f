//! A server connection in the hands of a client.

use std::rc::Rc;

use super::cancel::CancelKey;
use super::connections::{Connection, Pool};
use super::queue::Payer;
use super::stream::Stream;
use crate::session::server::Server;

/// A server connection in somebody's hands. Dropped without [`Lease::give_back`], it is closed: what its state
/// is, nobody knows.
#[derive(Debug)]
pub struct Lease {
    pub(super) pool: Rc<Pool>,
    pub(super) payer: Payer,
    pub(super) connection: Option<Connection>,
}

impl Lease {
    /// The socket.
    pub fn stream(&mut self) -> Option<&mut Stream> {
        self.connection.as_mut().map(|connection| &mut connection.stream)
    }

    /// That session is told when something has happened to the socket.
    pub fn belongs_to(&self, owner: usize) {
        if let Some(stream) = self.socket() {
            stream.belongs_to(Some(owner));
        }
    }

    /// The same, to look at.
    pub fn socket(&self) -> Option<&Stream> {
        self.connection.as_ref().map(|connection| &connection.stream)
    }

    /// What is known of the connection; the session holds it meanwhile.
    pub fn take_server(&mut self) -> Option<Box<Server>> {
        self.connection.as_mut().and_then(|connection| connection.server.take())
    }

    /// How to cancel what runs on it.
    pub fn key(&self) -> Option<&Rc<CancelKey>> {
        self.connection.as_ref().and_then(|connection| connection.key.as_ref())
    }

    /// Gives the connection back. The caller says with `server` that nothing is outstanding on it and that no
    /// byte of a message is unwritten. A cancel that is on its way arrives before the connection is used again.
    pub fn give_back(mut self, server: Box<Server>) {
        let Some(mut connection) = self.connection.take() else { return };
        connection.stream.belongs_to(None);
        let pool = self.pool.clone();
        pool.returned(&self.payer);
        if server.spent {
            pool.close(connection);
            return;
        }
        connection.server = Some(server);
        connection.used = pool.time();
        match connection.key.clone().filter(|key| key.is_pending() || key.is_lost()) {
            None => pool.put(connection),
            Some(key) => {
                let lease = pool.lease(connection, self.payer.clone());
                tokio::task::spawn_local(async move {
                    key.settled().await;
                    if !key.is_lost() {
                        lease.pass_on();
                    }
                });
            }
        }
    }

    pub(super) fn pass_on(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.returned(&self.payer);
            self.pool.put(connection);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // No Terminate: a frame may be half written.
            drop(connection);
            self.pool.returned(&self.payer);
            self.pool.closed();
        }
    }
}
