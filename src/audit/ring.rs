//! A worker's end of its queue of events.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::Thread;

use rtrb::Producer;

use super::event::Event;
use super::status::Status;

/// There is no room for an event, or the sink does not take what it is given: nothing may run that has to be
/// written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot take another event")]
pub struct Full;

/// Takes the events of one worker. Room is reserved before a statement runs, so that its event surely fits
/// when it has ended.
#[derive(Debug)]
pub struct Ring {
    /// None: nothing is written (`sink = "none"`).
    queue: Option<Queue>,
    status: Arc<Status>,
}

#[derive(Debug)]
struct Queue {
    producer: Producer<Event>,
    writer: Thread,
    reserved: usize,
    /// The writer was woken early and has not emptied the ring since.
    woken: bool,
}

impl Ring {
    pub(super) fn new(producer: Producer<Event>, writer: Thread, status: Arc<Status>) -> Self {
        Self { queue: Some(Queue { producer, writer, reserved: 0, woken: false }), status }
    }

    pub(super) fn silent(status: Arc<Status>) -> Self {
        Self { queue: None, status }
    }

    /// Takes the room of one event; `false` where there is none, or the sink has failed. Each `true` is
    /// followed by one [`Self::settle`] or [`Self::release`].
    pub fn reserve(&mut self) -> bool {
        let Some(queue) = &mut self.queue else { return true };
        let room = !self.status.is_broken() && queue.producer.slots() > queue.reserved;
        match room {
            true => queue.reserved = queue.reserved.saturating_add(1),
            false => self.status.count_refused(),
        }
        room
    }

    /// Gives reserved room back.
    pub fn release(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.reserved = queue.reserved.saturating_sub(1);
        }
    }

    /// Pushes an event into room that was reserved.
    pub fn settle(&mut self, event: Event) {
        self.release();
        let Some(queue) = &mut self.queue else { return };
        if queue.put(event).is_err() {
            // Only a caller that did not reserve gets here; the loss must show.
            self.status.lost.fetch_add(1, Relaxed);
        }
    }

    /// Pushes an event without a reservation.
    pub fn push(&mut self, event: Event) -> Result<(), Full> {
        match self.reserve() {
            true => {
                self.settle(event);
                Ok(())
            }
            false => Err(Full),
        }
    }
}

impl Queue {
    fn put(&mut self, event: Event) -> Result<(), Full> {
        self.producer.push(event).map_err(|_| Full)?;
        let capacity = self.producer.buffer().capacity();
        let half_full = self.producer.cached_slots() <= capacity / 2 && self.producer.slots() <= capacity / 2;
        if half_full && !self.woken {
            self.writer.unpark();
        }
        self.woken = half_full;
        Ok(())
    }
}
