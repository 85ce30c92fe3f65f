//! One thread accepts, and hands each socket to the worker with the fewest clients.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use super::StartError;
use super::orders::{Arrival, Order, Orders};
use crate::config::model::{ClientTls, Listener};
use crate::policy::{Refusal, Rule, SqlState};
use crate::session::handshake::TlsOffer;
use crate::wire::answer::{self, Severity};

/// The accepting thread.
#[derive(Debug)]
pub struct Acceptor {
    stop: Arc<Notify>,
    thread: JoinHandle<()>,
}

/// A bound address, and what it does about TLS.
#[derive(Debug)]
pub struct Bound {
    socket: TcpListener,
    offer: TlsOffer,
}

impl Bound {
    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }
}

/// Binds an address.
pub fn bind(listener: &Listener) -> Result<Bound, StartError> {
    let address = listener.address;
    let listen = || {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        Ok(socket.into())
    };
    let offer = match listener.tls {
        ClientTls::Disable => TlsOffer::Never,
        ClientTls::Allow => TlsOffer::Allowed,
        ClientTls::Require => TlsOffer::Required,
    };
    let socket = listen().map_err(|error| StartError::Io { what: format!("listen on {address}"), error })?;
    Ok(Bound { socket, offer })
}

/// Starts to accept.
pub fn start(listeners: Vec<Bound>, workers: Vec<Orders>, most: usize) -> Result<Acceptor, StartError> {
    let failed = |error| StartError::Io { what: "acceptor".to_owned(), error };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone();
    let thread = std::thread::Builder::new()
        .name("acceptor".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let local = tokio::task::LocalSet::new();
                for listener in listeners {
                    let workers = workers.clone();
                    local.spawn_local(accept(listener, workers, most));
                }
                tokio::select! {
                    () = local => {}
                    () = stopped.notified() => {}
                }
            });
        })
        .map_err(failed)?;
    Ok(Acceptor { stop, thread })
}

impl Acceptor {
    /// Stops accepting.
    pub fn stop(self) {
        self.stop.notify_one();
        // A thread that panicked does not accept either.
        let _ = self.thread.join();
    }
}

async fn accept(bound: Bound, workers: Vec<Orders>, most: usize) {
    let listener = match tokio::net::TcpListener::from_std(bound.socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot listen");
            return;
        }
    };
    loop {
        match listener.accept().await {
            Ok((socket, address)) => {
                let Ok(socket) = socket.into_std() else { continue };
                hand_over(Arrival { socket, peer: address.ip(), offer: bound.offer }, &workers, most);
            }
            // Out of file descriptors, most likely: they come back as clients go.
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn hand_over(mut arrival: Arrival, workers: &[Orders], most: usize) {
    let clients: usize = workers.iter().map(Orders::clients).sum();
    if clients >= most {
        let refusal = Refusal::new(SqlState::TOO_MANY, Rule("clients"), "sorry, too many clients already");
        let mut answer = Vec::new();
        answer::refusal(&mut answer, Severity::Fatal, &refusal, "", 0);
        // The client learns it from the closed socket if it does not take the answer at once.
        let _ = arrival.socket.write(&answer);
        return;
    }
    let living = workers.iter().filter(|worker| worker.is_alive());
    if let Some(worker) = living.min_by_key(|worker| worker.clients()) {
        worker.send(Order::Client(arrival));
    }
}
