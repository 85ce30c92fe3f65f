//! A connected socket: tokio's while it is being connected, and from then on its worker's.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flow::{Flow, Watch};
use super::reactor::{Reactor, Source};

/// A connected socket.
#[derive(Debug)]
pub enum Tcp {
    /// Watched by the runtime.
    Runtime(tokio::net::TcpStream),
    /// Watched by its thread's [`Reactor`].
    Own(Own),
    /// It could not be taken over.
    Lost,
}

/// A socket of a thread's own. It is read and written by system calls without the C library's wrappers, which look at
/// each call whether the thread is to be cancelled.
#[derive(Debug)]
pub struct Own {
    socket: mio::net::TcpStream,
    source: Arc<Source>,
    flow: Flow,
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl Tcp {
    /// A socket of this thread's reactor.
    pub fn of_thread(socket: std::net::TcpStream) -> io::Result<Self> {
        let reactor = Reactor::current().ok_or_else(gone)?;
        socket.set_nonblocking(true)?;
        let mut socket = mio::net::TcpStream::from_std(socket);
        let source = reactor.watch(&mut socket)?;
        Ok(Self::Own(Own { socket, source, flow: Flow::default() }))
    }

    /// Takes the socket from the runtime to this thread's reactor, where there is one.
    pub fn take_over(&mut self) -> io::Result<()> {
        if Reactor::current().is_none() || !matches!(self, Self::Runtime(_)) {
            return Ok(());
        }
        if let Self::Runtime(tcp) = std::mem::replace(self, Self::Lost) {
            *self = Self::of_thread(tcp.into_std()?)?;
        }
        Ok(())
    }

    /// Whose session is told when something has happened to the socket.
    pub fn belongs_to(&self, owner: Option<usize>) {
        if let Self::Own(own) = self {
            own.source.belongs_to(owner);
            own.begin();
        }
    }

    /// Whether a read may give something now.
    #[inline]
    pub fn may_be_readable(&self) -> bool {
        match self {
            Self::Own(own) => own.source.is_readable(),
            Self::Runtime(_) | Self::Lost => true,
        }
    }

    /// Writes what the socket takes at once.
    #[inline]
    pub fn write_at_once(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Own(own) => own.write(bytes).ok().flatten().unwrap_or(0),
            Self::Runtime(tcp) => tcp.try_write(bytes).unwrap_or(0),
            Self::Lost => 0,
        }
    }

    /// Whether neither bytes nor an end nor an error are known to have come.
    pub fn is_quiet(&self) -> bool {
        match self {
            Self::Own(own) => !own.source.is_readable() || matches!(own.read(&mut [0; 1]), Ok(None)),
            Self::Runtime(tcp) => {
                let would_block = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
                tcp.try_read(&mut [0; 1]).is_err_and(would_block)
            }
            Self::Lost => false,
        }
    }

    /// The first bytes that have come, without taking them.
    pub fn poll_peek(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Own(own) => match own.retry(|socket| socket.peek(buffer)) {
                Ok(Some(length)) => Poll::Ready(Ok(length)),
                Ok(None) => own.wait(cx),
                Err(error) => Poll::Ready(Err(error)),
            },
            Self::Runtime(tcp) => tcp.poll_peek(cx, &mut ReadBuf::new(buffer)),
            Self::Lost => Poll::Ready(Err(gone())),
        }
    }

    /// Reads into `scratch`; `Ok(0)` is the end.
    #[inline]
    pub fn poll_into(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Own(own) => match own.read(scratch) {
                Ok(Some(length)) => Poll::Ready(Ok(length)),
                Ok(None) => own.wait(cx),
                Err(error) => Poll::Ready(Err(error)),
            },
            Self::Runtime(tcp) => {
                let mut buffer = ReadBuf::new(scratch);
                Pin::new(tcp).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
            }
            Self::Lost => Poll::Ready(Err(gone())),
        }
    }
}

impl Own {
    /// Nothing where it would have to wait.
    #[inline]
    fn read(&self, scratch: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.source.is_readable() {
            return Ok(None);
        }
        let room = scratch.len();
        let read = self.retry(|socket| Ok(recv(socket, &mut *scratch, RecvFlags::empty())?.1))?;
        if let Some(length) = read {
            self.flow.grows(length);
            if length < room {
                self.source.was_emptied();
            }
        }
        if self.flow.is_long() {
            self.watch(read, room);
        }
        Ok(read)
    }

    #[cold]
    fn watch(&self, read: Option<usize>, room: usize) {
        match self.flow.goes_on(read, room) {
            Watch::Same => {}
            Watch::Later => self.look_later(),
            Watch::Told => self.tell_again(),
        }
    }

    /// Another stream begins.
    #[inline]
    fn begin(&self) {
        if self.flow.begins() {
            self.tell_again();
        }
    }

    /// Where it cannot be looked at, it goes on being told of.
    fn look_later(&self) {
        let Some(reactor) = Reactor::current() else { return };
        if reactor.look_later(&self.source).is_err() {
            self.tell_again();
        } else if !self.flow.is_looked_at() {
            self.flow.set_looked_at(reactor.ignore(&self.socket, &self.source).is_ok());
        }
    }

    #[cold]
    fn tell_again(&self) {
        let Some(reactor) = Reactor::current() else { return };
        match reactor.heed(&self.socket, &self.source) {
            Ok(()) => self.flow.set_looked_at(false),
            // It is still looked at.
            Err(_) => drop(reactor.look_later(&self.source)),
        }
    }

    #[inline]
    fn write(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        if !self.source.is_writable() {
            return Ok(None);
        }
        self.begin();
        loop {
            match send(&self.socket, bytes, SendFlags::NOSIGNAL).map_err(io::Error::from) {
                Ok(taken) => {
                    if taken < bytes.len() {
                        self.source.is_full();
                    }
                    return Ok(Some(taken));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.source.is_full();
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    #[inline]
    fn retry(
        &self,
        mut read: impl FnMut(&mio::net::TcpStream) -> io::Result<usize>,
    ) -> io::Result<Option<usize>> {
        loop {
            match read(&self.socket) {
                Ok(length) => return Ok(Some(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.source.is_empty();
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    #[cold]
    fn wait<T>(&self, cx: &Context<'_>) -> Poll<T> {
        self.source.wait(cx);
        Poll::Pending
    }
}

impl From<tokio::net::TcpStream> for Tcp {
    fn from(tcp: tokio::net::TcpStream) -> Self {
        Self::Runtime(tcp)
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Runtime(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            this => this.poll_into(cx, buffer.initialize_unfilled()).map_ok(|length| buffer.advance(length)),
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Runtime(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Own(own) => match own.write(bytes) {
                Ok(Some(taken)) => Poll::Ready(Ok(taken)),
                Ok(None) => own.wait(cx),
                Err(error) => Poll::Ready(Err(error)),
            },
            Self::Lost => Poll::Ready(Err(gone())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Runtime(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Own(own) => Poll::Ready(own.socket.shutdown(Shutdown::Write)),
            Self::Lost => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests;
