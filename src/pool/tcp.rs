//! A connected socket: tokio's while it is being connected, and from then on its worker's.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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
        Ok(Self::Own(Own { socket, source }))
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
        if read.is_some_and(|length| length < room) {
            self.source.was_emptied();
        }
        Ok(read)
    }

    #[inline]
    fn write(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        if !self.source.is_writable() {
            return Ok(None);
        }
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
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// A socket of this thread's reactor, and its other end.
    fn pair() -> (Tcp, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Tcp::of_thread(listener.accept().unwrap().0).unwrap(), other)
    }

    /// Turns until this owner is named.
    fn wait_for(reactor: &Reactor, owner: usize) {
        for _ in 0..100 {
            let mut named = false;
            reactor.turn(Some(Duration::from_millis(100)), |happened| named |= happened == owner).unwrap();
            if named {
                return;
            }
        }
        panic!("nobody was named");
    }

    fn read(tcp: &mut Tcp) -> Option<usize> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match tcp.poll_into(&mut cx, &mut [0; 64]) {
            Poll::Ready(read) => Some(read.unwrap()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn end_that_comes_with_bytes_is_not_lost() {
        let reactor = Reactor::new().unwrap();
        let _entered = reactor.enter();
        let (mut tcp, mut other) = pair();
        tcp.belongs_to(Some(3));
        assert_eq!((read(&mut tcp), tcp.is_quiet()), (None, true));
        other.write_all(b"abc").unwrap();
        drop(other);
        let ended = |tcp: &Tcp| matches!(tcp, Tcp::Own(own) if own.source.has_ended());
        while !ended(&tcp) {
            wait_for(&reactor, 3);
        }
        assert_eq!((read(&mut tcp), read(&mut tcp), tcp.is_quiet()), (Some(3), Some(0), false));
    }

    #[test]
    fn bytes_that_come_after_a_short_read_are_told() {
        let reactor = Reactor::new().unwrap();
        let _entered = reactor.enter();
        let (mut tcp, mut other) = pair();
        tcp.belongs_to(Some(3));
        for _ in 0..2 {
            assert_eq!(read(&mut tcp), None);
            other.write_all(b"abc").unwrap();
            while !tcp.may_be_readable() {
                wait_for(&reactor, 3);
            }
            assert_eq!(read(&mut tcp), Some(3));
        }
    }

    #[test]
    fn socket_that_was_full_is_told_when_it_has_room() {
        let reactor = Reactor::new().unwrap();
        let _entered = reactor.enter();
        let (tcp, mut other) = pair();
        tcp.belongs_to(Some(3));
        reactor.turn(Some(Duration::from_millis(10)), |_| ()).unwrap();
        let bytes = vec![0; 1 << 16];
        let mut written = 0;
        while let taken @ 1.. = tcp.write_at_once(&bytes) {
            written += taken;
        }
        assert_eq!(tcp.write_at_once(b"x"), 0);
        other.read_exact(&mut vec![0; written]).unwrap();
        wait_for(&reactor, 3);
        assert_eq!(tcp.write_at_once(b"x"), 1);
    }

    #[test]
    fn task_that_waits_for_a_socket_of_nobody_is_woken() {
        let reactor = Reactor::new().unwrap();
        let _entered = reactor.enter();
        let (mut tcp, mut other) = pair();
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let waker = woken.clone().into();
        // The first turn tells that it may be written.
        reactor.turn(Some(Duration::from_millis(10)), |_| ()).unwrap();
        assert!(tcp.poll_into(&mut Context::from_waker(&waker), &mut [0; 8]).is_pending());
        other.write_all(b"abc").unwrap();
        reactor.turn(Some(Duration::from_secs(10)), |_| ()).unwrap();
        assert_eq!(woken.0.load(SeqCst), 1);
    }

    #[test]
    fn place_of_a_socket_that_is_gone_is_given_to_another() {
        let reactor = Reactor::new().unwrap();
        let _entered = reactor.enter();
        let (first, _other) = pair();
        drop(first);
        reactor.sweep();
        let (mut second, mut other) = pair();
        second.belongs_to(Some(5));
        other.write_all(b"abc").unwrap();
        while !second.may_be_readable() {
            wait_for(&reactor, 5);
        }
        assert_eq!(read(&mut second), Some(3));
    }
}
