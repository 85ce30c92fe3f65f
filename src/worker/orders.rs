//! What a worker is told from outside its thread.

use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::session::handshake::TlsOffer;

/// An order.
#[derive(Debug)]
pub enum Order {
    /// A new client.
    Client(Arrival),
    /// Cancel what this session runs.
    Cancel(u64),
    /// Who may do what has changed: look at every session.
    Review,
    /// End, at the latest after this.
    Stop(Duration),
}

/// A client that has just connected.
#[derive(Debug)]
pub struct Arrival {
    /// Its socket.
    pub socket: TcpStream,
    /// Where it comes from.
    pub peer: IpAddr,
    /// What its listener does about TLS.
    pub offer: TlsOffer,
}

/// The way to a worker.
#[derive(Debug, Clone)]
pub struct Orders {
    sender: UnboundedSender<Order>,
    clients: Arc<AtomicUsize>,
}

/// A worker's end.
#[derive(Debug)]
pub struct Received {
    /// The orders.
    pub receiver: UnboundedReceiver<Order>,
    /// How many clients the worker has.
    pub clients: Arc<AtomicUsize>,
}

/// A way to a worker and its end. Clients are bounded by the acceptor, cancels by the clients' own connections.
pub fn channel() -> (Orders, Received) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let clients = Arc::new(AtomicUsize::new(0));
    (Orders { sender, clients: clients.clone() }, Received { receiver, clients })
}

impl Orders {
    /// Sends an order. A worker that has ended takes none.
    pub fn send(&self, order: Order) {
        if matches!(order, Order::Client(..)) {
            self.clients.fetch_add(1, Relaxed);
        }
        // The order dies with the worker; a client's socket is closed by that.
        if let Err(mpsc::error::SendError(Order::Client(_))) = self.sender.send(order) {
            self.clients.fetch_sub(1, Relaxed);
        }
    }

    /// Whether the worker takes orders.
    pub fn is_alive(&self) -> bool {
        !self.sender.is_closed()
    }

    /// How many clients the worker has.
    pub fn clients(&self) -> usize {
        self.clients.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn worker_that_has_ended_has_no_clients() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (orders, received) = channel();
        assert!(orders.is_alive());
        drop(received);
        let peer = listener.local_addr().unwrap().ip();
        orders.send(Order::Client(Arrival { socket, peer, offer: TlsOffer::Never }));
        assert_eq!((orders.is_alive(), orders.clients()), (false, 0));
    }
}
