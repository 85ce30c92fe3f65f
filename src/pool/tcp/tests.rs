//! What a socket of a reactor is told of.

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

fn has_ended(tcp: &Tcp) -> bool {
    matches!(tcp, Tcp::Own(own) if own.source.has_ended())
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
    while !has_ended(&tcp) {
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

/// Sends so many pieces, each of which `tcp` reads before the next is sent.
fn stream_through(reactor: &Reactor, tcp: &mut Tcp, other: &mut TcpStream, pieces: usize) {
    let (mut cx, mut scratch) = (Context::from_waker(std::task::Waker::noop()), vec![0; 64 * 1024]);
    for _ in 0..pieces {
        other.write_all(&[1; 16 * 1024]).unwrap();
        let mut left = 16 * 1024;
        while left > 0 {
            match tcp.poll_into(&mut cx, &mut scratch) {
                Poll::Ready(read) => left -= read.unwrap(),
                Poll::Pending => wait_for(reactor, 3),
            }
        }
    }
}

fn is_looked_at(tcp: &Tcp) -> bool {
    matches!(tcp, Tcp::Own(own) if own.flow.is_looked_at())
}

#[test]
fn last_bytes_of_a_long_stream_are_read_and_so_is_its_end() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let (mut tcp, mut other) = pair();
    tcp.belongs_to(Some(3));
    stream_through(&reactor, &mut tcp, &mut other, 70);
    other.write_all(b"abc").unwrap();
    while read(&mut tcp) != Some(3) {
        wait_for(&reactor, 3);
    }
    drop(other);
    while read(&mut tcp) != Some(0) {
        wait_for(&reactor, 3);
    }
    while !has_ended(&tcp) {
        wait_for(&reactor, 3);
    }
    assert_eq!(read(&mut tcp), Some(0), "an end is found again");
}

#[test]
fn long_stream_is_not_told_of_piece_by_piece() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let (mut tcp, mut other) = pair();
    tcp.belongs_to(Some(3));
    stream_through(&reactor, &mut tcp, &mut other, 63);
    assert!(!is_looked_at(&tcp));
    stream_through(&reactor, &mut tcp, &mut other, 2);
    assert!(is_looked_at(&tcp));
    while is_looked_at(&tcp) {
        // It is silent from here on.
        read(&mut tcp);
        wait_for(&reactor, 3);
    }
}

#[test]
fn long_stream_ends_with_a_write_and_with_another_owner() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let (mut tcp, mut other) = pair();
    let ends: [fn(&mut Tcp); 2] = [|tcp| assert_eq!(tcp.write_at_once(b"x"), 1), |tcp| tcp.belongs_to(None)];
    for end in ends {
        tcp.belongs_to(Some(3));
        stream_through(&reactor, &mut tcp, &mut other, 70);
        assert!(is_looked_at(&tcp));
        end(&mut tcp);
        assert!(!is_looked_at(&tcp));
    }
    other.write_all(b"abc").unwrap();
    while tcp.is_quiet() {
        reactor.turn(Some(Duration::from_secs(10)), |_| ()).unwrap();
    }
    assert_eq!(read(&mut tcp), Some(2));
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
