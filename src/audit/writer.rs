//! The thread that writes what workers queued.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rtrb::{Consumer, RingBuffer};

use crate::config::model::{Audit, AuditSink};
use crate::vital;

use super::chain::Chain;
use super::event::Event;
use super::line::Formatter;
use super::ring::Ring;
use super::sink::{Sink, SinkError};
use super::status::Status;

/// Lines are written when there are so many bytes of them, and at each tick.
const BATCH_BYTES: usize = 64 * 1024;

/// How often a stopping writer tries a sink that fails.
const LAST_TRIES: usize = 20;

/// The running writer. Dropped, it stops as [`Writer::stop`] does, in silence.
#[derive(Debug)]
pub struct Writer {
    status: Arc<Status>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// Opens the sink and starts the writer; a ring for each of `workers`.
pub fn start(audit: &Audit, workers: usize) -> Result<(Vec<Ring>, Writer), SinkError> {
    match &audit.sink {
        AuditSink::None => {
            let status = Arc::new(Status::default());
            let rings = (0..workers).map(|_| Ring::silent(status.clone())).collect();
            Ok((rings, Writer { status, thread: None }))
        }
        AuditSink::File(path) => {
            let (sink, chain) = Sink::file(path)?;
            start_with(sink, chain, audit, workers)
        }
        AuditSink::Stdout => start_with(Sink::stream(io::stdout()), Chain::default(), audit, workers),
    }
}

fn start_with(
    sink: Sink,
    chain: Chain,
    audit: &Audit,
    workers: usize,
) -> Result<(Vec<Ring>, Writer), SinkError> {
    let status = Arc::new(Status::default());
    let (producers, consumers): (Vec<_>, Vec<_>) = (0..workers).map(|_| RingBuffer::new(audit.queue)).unzip();
    let run = Run {
        sink,
        sealed: 0,
        chain,
        consumers,
        formatter: Formatter::default(),
        status: status.clone(),
        interval: audit.flush_interval,
    };
    let thread = thread::Builder::new().name("audit".to_owned()).spawn(move || run.live());
    let thread = thread.map_err(SinkError::Thread)?;
    let writer: Thread = thread.thread().clone();
    let ring = |producer| Ring::new(producer, writer.clone(), status.clone());
    let rings = producers.into_iter().map(ring).collect();
    Ok((rings, Writer { status, thread: Some(thread) }))
}

impl Writer {
    /// The log's status, for metrics.
    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Writes what is queued, closes the log, and waits for it. Call it when the workers have ended.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.status.stopping.store(true, Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.thread().unpark();
        thread.join().map_err(|_| io::Error::other("the audit writer has panicked"))?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "the audit log was not closed");
        }
    }
}

struct Run {
    sink: Sink,
    /// Bytes of what is pending that are whole lines.
    sealed: usize,
    chain: Chain,
    consumers: Vec<Consumer<Event>>,
    formatter: Formatter,
    status: Arc<Status>,
    interval: Duration,
}

impl Run {
    fn live(mut self) -> io::Result<()> {
        let process = std::process::id().to_string();
        let run = uuid::Uuid::now_v7().to_string();
        self.mark("start", &[("version", env!("CARGO_PKG_VERSION")), ("run", &run), ("process", &process)]);
        let mut tries = LAST_TRIES;
        loop {
            // Looked at before the rings: what was queued before the stop is then seen.
            let stopping = self.status.stopping.load(Relaxed);
            let panicked = catch_unwind(AssertUnwindSafe(|| self.turn())).is_err();
            if panicked {
                self.mend();
                tries = tries.saturating_sub(1);
            }
            if stopping && (!panicked || tries == 0) {
                return self.close();
            }
            if !stopping {
                thread::park_timeout(self.interval);
            }
        }
    }

    /// After a panic: what was sealed stays, an event that was not is lost, and the log says so.
    fn mend(&mut self) {
        vital::died("audit");
        let sealed = self.sealed;
        self.sink.pending().truncate(sealed);
        self.formatter = Formatter::default();
        self.mark("panic", &[]);
    }

    /// Drains what is there and writes it; while the sink fails, the rings keep their events.
    fn turn(&mut self) {
        let waiting = self.consumers.iter().map(|ring| ring.slots() as u64).sum();
        self.status.queued.store(waiting, Relaxed);
        if self.write().is_err() {
            return;
        }
        while self.fill() {
            if self.write().is_err() {
                return;
            }
        }
    }

    /// Formats up to a batch; whether there was anything.
    fn fill(&mut self) -> bool {
        let pending = self.sink.pending();
        for ring in &mut self.consumers {
            while pending.len() < BATCH_BYTES
                && let Ok(event) = ring.pop()
            {
                let start = pending.len();
                self.formatter.event(pending, self.chain.next, &event);
                self.chain.seal(pending, start);
                self.sealed = pending.len();
                self.status.written.fetch_add(1, Relaxed);
            }
        }
        !pending.is_empty()
    }

    fn write(&mut self) -> io::Result<()> {
        let result = self.sink.write();
        self.sealed = self.sink.pending().len();
        match (&result, self.status.broken.swap(result.is_err(), Relaxed)) {
            (Err(error), before) => {
                self.status.failures.fetch_add(1, Relaxed);
                if !before {
                    tracing::error!(%error, "the audit log cannot be written: statements are refused");
                }
            }
            (Ok(()), true) => tracing::warn!("the audit log is written again"),
            (Ok(()), false) => {}
        }
        result
    }

    fn close(&mut self) -> io::Result<()> {
        self.mark("stop", &[]);
        for _ in 0..LAST_TRIES {
            self.turn();
            if !self.status.is_broken() {
                break;
            }
            thread::sleep(self.interval);
        }
        self.write()?;
        self.sink.sync()
    }

    fn mark(&mut self, event: &str, fields: &[(&str, &str)]) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let pending = self.sink.pending();
        let start = pending.len();
        self.formatter.mark(pending, self.chain.next, micros, event, fields);
        self.chain.seal(pending, start);
        self.sealed = pending.len();
    }
}

#[cfg(test)]
mod tests;
