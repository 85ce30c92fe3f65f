//! One thread accepts, and hands each socket to the worker with the fewest clients.

use std::future::Future;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use super::StartError;
use super::orders::{Arrival, Order, Orders};
use crate::config::model::{ClientTls, Listener};
use crate::policy::{Refusal, Rule, SqlState};
use crate::session::handshake::TlsOffer;
use crate::vital;
use crate::wire::answer::{self, Severity};

/// How long it waits where no socket can be had.
const AFTER_A_FAILURE: Duration = Duration::from_millis(100);

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
    start_with(listeners, move |arrival| hand_over(arrival, &workers, most))
}

/// The same with somebody else who takes what arrives. A panic ends nothing: the listeners are taken up again.
fn start_with(
    listeners: Vec<Bound>,
    take: impl Fn(Arrival) + Send + 'static,
) -> Result<Acceptor, StartError> {
    let failed = |error| StartError::Io { what: "acceptor".to_owned(), error };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone();
    let thread = std::thread::Builder::new()
        .name("acceptor".to_owned())
        .spawn(move || {
            vital::keep("acceptor", || {
                runtime.block_on(async {
                    let mut all: Vec<_> =
                        listeners.iter().map(|bound| Box::pin(accept(bound, &take))).collect();
                    let accepting = std::future::poll_fn(|cx| {
                        for one in &mut all {
                            let _ = one.as_mut().poll(cx);
                        }
                        Poll::<()>::Pending
                    });
                    tokio::select! {
                        () = accepting => {}
                        () = stopped.notified() => {}
                    }
                });
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

/// Never ends.
async fn accept(bound: &Bound, take: &impl Fn(Arrival)) {
    let listener = loop {
        match bound.socket.try_clone().and_then(tokio::net::TcpListener::from_std) {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::error!(%error, "cannot listen");
                tokio::time::sleep(AFTER_A_FAILURE).await;
            }
        }
    };
    loop {
        match listener.accept().await {
            Ok((socket, address)) => {
                let Ok(socket) = socket.into_std() else { continue };
                take(Arrival { socket, peer: address.ip(), offer: bound.offer });
            }
            // Out of file descriptors, most likely: they come back as clients go.
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(AFTER_A_FAILURE).await;
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[test]
    fn acceptor_that_panics_listens_again() {
        let bound: Vec<Bound> = (0..2)
            .map(|_| {
                let address = SocketAddr::from(([127, 0, 0, 1], 0));
                bind(&Listener { address, tls: ClientTls::Disable }).unwrap()
            })
            .collect();
        let addresses: Vec<SocketAddr> = bound.iter().filter_map(Bound::address).collect();
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        let take = move |mut arrival: Arrival| {
            assert!(count.fetch_add(1, SeqCst) != 1, "injected into the acceptor");
            arrival.socket.write_all(b"!").unwrap();
        };
        let acceptor = start_with(bound, take).unwrap();
        let visit = |address: &SocketAddr| {
            let mut said = Vec::new();
            TcpStream::connect(address).unwrap().read_to_end(&mut said).map(|_| said)
        };
        assert_eq!(visit(&addresses[0]).unwrap(), b"!");
        // It is closed without a word, or reset.
        assert!(visit(&addresses[0]).is_ok_and(|said| said.is_empty()));
        for address in &addresses {
            assert_eq!(visit(address).unwrap(), b"!");
        }
        acceptor.stop();
        assert_eq!(taken.load(SeqCst), 4);
    }
}
