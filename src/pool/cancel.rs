//! Asks a server to cancel what runs on one of its connections.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::connect::Target;

/// How long the server may take to close a cancel connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// The key of a server connection, and how many cancels of it are on their way.
#[derive(Debug)]
pub struct CancelKey {
    target: Rc<Target>,
    pid: i32,
    secret: Vec<u8>,
    pending: Cell<u32>,
    lost: Cell<bool>,
    settled: Notify,
}

impl CancelKey {
    /// The key that the server gave.
    pub fn new(target: Rc<Target>, pid: i32, secret: Vec<u8>) -> Self {
        Self { target, pid, secret, pending: Cell::new(0), lost: Cell::new(false), settled: Notify::new() }
    }

    /// Whether a cancel is on its way: until it has arrived the connection must not be used again.
    pub fn is_pending(&self) -> bool {
        self.pending.get() > 0
    }

    /// Whether a cancel was sent of which nobody knows when it arrives: the connection must not be used again.
    pub fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Waits until no cancel is on its way.
    pub async fn settled(&self) {
        while self.is_pending() {
            self.settled.notified().await;
        }
    }

    /// Sends a CancelRequest over a connection of its own, with the same TLS, and waits until the server has
    /// closed it: then the cancel has been delivered.
    pub fn send(self: &Rc<Self>) {
        self.pending.set(self.pending.get().saturating_add(1));
        let key = self.clone();
        tokio::task::spawn_local(async move {
            let sent = Cell::new(false);
            let delivered = tokio::time::timeout(PATIENCE, key.deliver(&sent)).await;
            // A cancel that was not even sent cancels nothing.
            if !matches!(delivered, Ok(Ok(()))) && sent.get() {
                key.lost.set(true);
            }
            key.pending.set(key.pending.get().saturating_sub(1));
            key.settled.notify_waiters();
        });
    }

    async fn deliver(&self, sent: &Cell<bool>) -> Result<(), super::ConnectError> {
        let mut stream = self.target.open().await?;
        let length = u32::try_from(self.secret.len().saturating_add(12)).unwrap_or(16);
        let mut request = length.to_be_bytes().to_vec();
        request.extend_from_slice(&80_877_102u32.to_be_bytes());
        request.extend_from_slice(&self.pid.to_be_bytes());
        request.extend_from_slice(&self.secret);
        sent.set(true);
        stream.write_all(&request).await?;
        stream.flush().await?;
        let mut rest = [0; 16];
        while stream.read(&mut rest).await? > 0 {}
        Ok(())
    }
}
