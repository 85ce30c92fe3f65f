//! Bytes that a socket did not take at once.

use std::task::{Context, Poll};

use crate::pool::Stream;

/// Bytes that a socket did not take yet.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
    flush: bool,
}

impl Unsent {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.flush
    }

    /// Writes at once what the socket takes, and keeps the rest. A socket that fails shows it at the next read.
    pub(super) fn put(&mut self, cx: &mut Context<'_>, stream: &mut Stream, bytes: &[u8]) {
        let mut sent = 0usize;
        if self.bytes.is_empty() {
            sent = stream.write_at_once(bytes);
            if sent == bytes.len() {
                return;
            }
            while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
                match stream.poll_write(cx, rest) {
                    Poll::Ready(Ok(taken @ 1..)) => sent = sent.saturating_add(taken),
                    _ => break,
                }
            }
        }
        self.bytes.extend_from_slice(bytes.get(sent..).unwrap_or_default());
        self.flush = stream.poll_flush(cx).is_pending();
    }

    /// Goes on writing; whether anything was taken.
    pub(super) fn push(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> std::io::Result<bool> {
        let before = self.sent;
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match stream.poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Err(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(taken)) => self.sent = self.sent.saturating_add(taken),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(self.sent > before),
            }
        }
        self.bytes = Vec::new();
        self.sent = 0;
        let flushed = match stream.poll_flush(cx) {
            Poll::Ready(result) => result.map(|()| true)?,
            Poll::Pending => false,
        };
        let moved = before > 0 || flushed;
        self.flush = !flushed;
        Ok(moved)
    }
}
