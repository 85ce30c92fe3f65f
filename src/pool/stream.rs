//! A socket, in clear or under TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use super::tcp::Tcp;

/// A byte stream.
#[derive(Debug)]
pub enum Stream {
    /// In clear.
    Plain(Tcp),
    /// Under TLS.
    Tls(Box<TlsStream<Tcp>>),
}

impl Stream {
    /// Reads into `scratch`; `Ok(0)` is the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => tcp.poll_into(cx, scratch),
            Self::Tls(tls) => {
                let mut buffer = ReadBuf::new(scratch);
                Pin::new(tls.as_mut()).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
            }
        }
    }

    /// Writes some of `bytes`.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, bytes),
        }
    }

    fn tcp(&self) -> &Tcp {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Takes the socket from the runtime to this thread's reactor, where there is one.
    pub fn take_over(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.take_over(),
            Self::Tls(tls) => tls.get_mut().0.take_over(),
        }
    }

    /// Whose session is told when something has happened to the socket.
    pub fn belongs_to(&self, owner: Option<usize>) {
        self.tcp().belongs_to(owner);
    }

    /// Whether a read may give something now: no system call, and no waker is kept. Under TLS nothing is known.
    pub fn may_be_readable(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.may_be_readable(),
            Self::Tls(_) => true,
        }
    }

    /// Writes what a plain socket takes at once. No waker is kept: who goes on waits with [`Self::poll_write`].
    pub fn write_at_once(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Plain(tcp) => tcp.write_at_once(bytes),
            Self::Tls(_) => 0,
        }
    }

    /// Pushes what TLS holds back into the socket; a plain socket holds nothing.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        }
    }

    /// Whether neither bytes nor an end nor an error are known to have come. No system call for a plain
    /// socket that was read until it had no more.
    pub fn is_quiet(&mut self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_quiet(),
            Self::Tls(tls) => {
                let (mut cx, mut byte) = (Context::from_waker(Waker::noop()), [0; 1]);
                Pin::new(tls.as_mut()).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }

    /// The other side's certificate, DER; none in clear.
    pub fn peer_certificate(&self) -> Option<CertificateDer<'static>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => {
                let (_, connection) = tls.get_ref();
                connection.peer_certificates()?.first().map(|certificate| certificate.clone().into_owned())
            }
        }
    }

    /// Writes a farewell if the socket takes it at once, and closes.
    pub fn part(mut self, farewell: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        // The peer learns from the closed socket in any case.
        let _ = self.poll_write(&mut cx, farewell);
        let _ = self.poll_flush(&mut cx);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        }
    }
}
