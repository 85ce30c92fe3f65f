//! How a long stream is read: in large pieces. A server sends an answer in pieces of 8 KiB, and each of them would wake
//! the worker, which passes it on before the next has come: two switches of processes and three system calls for 8 KiB.
//! So a socket from which much has come, with nothing said to it in between, is told of no more: it is looked at every
//! [`PATIENCE`], until that gives little, it is written to, or it is another's.
//!
//! ```text
//! told of ──LONG bytes, then a read that empties it──▶ looked at ──MOST_MEAGRE looks, a write, another owner──▶ told of
//! ```

use std::cell::Cell;
use std::time::Duration;

/// Bytes that make a stream long.
const LONG: usize = 1024 * 1024;
/// Between two looks: what comes last may wait so long.
pub(super) const PATIENCE: Duration = Duration::from_micros(200);
/// A look that gives less is no gain, and so many of them one after the other end it.
const PIECE: usize = 8 * 1024;
const MOST_MEAGRE: u8 = 8;

/// What is known of the stream that comes from a socket.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Read since it was written to.
    bytes: Cell<usize>,
    meagre: Cell<u8>,
    looked_at: Cell<bool>,
}

/// How a socket is to be watched after a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    /// As it was.
    Same,
    /// It is looked at later, and told of no more.
    Later,
    /// It is told of again.
    Told,
}

impl Flow {
    /// Another stream begins: something was said to the socket, or it is another's. Whether it was looked at until now.
    #[inline]
    pub(super) fn begins(&self) -> bool {
        let looked_at = self.is_long() && self.is_looked_at();
        if !looked_at {
            self.bytes.set(0);
        }
        looked_at
    }

    /// Whether the socket is looked at, and not told of.
    pub(super) fn is_looked_at(&self) -> bool {
        self.looked_at.get()
    }

    /// It is looked at from now on, or told of, until another stream is long.
    pub(super) fn set_looked_at(&self, looked_at: bool) {
        self.looked_at.set(looked_at);
        self.bytes.set(if looked_at { LONG } else { 0 });
    }

    /// So many bytes were read.
    #[inline]
    pub(super) fn grows(&self, length: usize) {
        self.bytes.set(self.bytes.get().saturating_add(length));
    }

    /// Whether so much has come that [`Self::goes_on`] is to be asked.
    #[inline]
    pub(super) fn is_long(&self) -> bool {
        self.bytes.get() >= LONG
    }

    /// So much was read of a long stream where there was room for more; none: there was nothing.
    pub(super) fn goes_on(&self, read: Option<usize>, room: usize) -> Watch {
        match read {
            Some(0) => return self.gives_up(),
            // There is more at once.
            Some(length) if length >= room => {
                self.meagre.set(0);
                return Watch::Same;
            }
            Some(PIECE..) => self.meagre.set(0),
            None if !self.is_looked_at() => return Watch::Same,
            Some(_) | None => self.meagre.set(self.meagre.get().saturating_add(1)),
        }
        match self.meagre.get() {
            MOST_MEAGRE.. => self.gives_up(),
            _ => Watch::Later,
        }
    }

    fn gives_up(&self) -> Watch {
        self.meagre.set(0);
        if self.is_looked_at() {
            return Watch::Told;
        }
        self.bytes.set(0);
        Watch::Same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 64 * 1024;

    /// What its socket does.
    fn read(flow: &Flow, read: Option<usize>) -> Watch {
        flow.grows(read.unwrap_or(0));
        let watch = if flow.is_long() { flow.goes_on(read, ROOM) } else { Watch::Same };
        match watch {
            Watch::Same => {}
            Watch::Later => flow.set_looked_at(true),
            Watch::Told => flow.set_looked_at(false),
        }
        watch
    }

    fn long() -> Flow {
        let flow = Flow::default();
        while !flow.is_looked_at() {
            read(&flow, Some(PIECE));
        }
        flow
    }

    #[test]
    fn stream_is_looked_at_once_it_is_long() {
        let flow = Flow::default();
        for _ in 0..127 {
            assert_eq!(read(&flow, Some(8 * 1024)), Watch::Same);
        }
        assert_eq!(read(&flow, Some(8 * 1024)), Watch::Later);
    }

    #[test]
    fn many_short_answers_are_not_a_long_one() {
        let flow = Flow::default();
        for _ in 0..1000 {
            assert_eq!(read(&flow, Some(8 * 1024)), Watch::Same);
            assert!(!flow.begins());
        }
    }

    #[test]
    fn long_stream_ends_where_another_begins() {
        let flow = long();
        assert!(flow.begins());
        flow.set_looked_at(false);
        assert!(!flow.begins());
        assert_eq!(read(&flow, Some(PIECE)), Watch::Same);
    }

    #[test]
    fn long_stream_that_was_never_looked_at_ends_too() {
        let flow = Flow::default();
        for _ in 0..32 {
            assert_eq!(read(&flow, Some(ROOM)), Watch::Same);
        }
        assert!(!flow.begins());
        assert_eq!(read(&flow, Some(PIECE)), Watch::Same);
    }

    #[test]
    fn what_fills_the_room_is_read_on_at_once() {
        let flow = long();
        assert_eq!(read(&flow, Some(ROOM)), Watch::Same);
        assert_eq!(read(&flow, Some(PIECE)), Watch::Later);
    }

    #[test]
    fn stream_that_gives_little_is_told_of_again() {
        for little in [None, Some(PIECE - 1)] {
            let flow = long();
            for _ in 1..MOST_MEAGRE {
                assert_eq!(read(&flow, little), Watch::Later);
            }
            assert_eq!(read(&flow, little), Watch::Told);
            assert_eq!(read(&flow, Some(PIECE)), Watch::Same, "it has to be long again");
        }
    }

    #[test]
    fn stream_that_gives_much_now_and_then_goes_on() {
        let flow = long();
        for _ in 0..100 {
            assert_eq!(read(&flow, None), Watch::Later);
            assert_eq!(read(&flow, Some(PIECE)), Watch::Later);
        }
    }

    #[test]
    fn stream_that_has_ended_is_told_of_again() {
        assert_eq!(read(&long(), Some(0)), Watch::Told);
    }
}
