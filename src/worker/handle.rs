//! A session as its worker reaches it from outside.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use crate::pool::cancel::CancelKey;

/// What is known of a session outside of it, and what it is told.
#[derive(Debug)]
pub struct Handle {
    /// What cancels the leased server connection.
    pub(super) key: RefCell<Option<Rc<CancelKey>>>,
    /// A statement is running on it.
    pub(super) running: Cell<bool>,
    /// A cancel has come while the session waits for a lease.
    pub(super) cancelled: Cell<bool>,
    pub(super) waiting: Cell<bool>,
    /// Who may do what has changed since the session was looked at.
    pub(super) review: Cell<bool>,
    waker: Waker,
}

impl Handle {
    pub(super) fn new(waker: Waker) -> Self {
        Self {
            key: RefCell::default(),
            running: Cell::default(),
            cancelled: Cell::default(),
            waiting: Cell::default(),
            review: Cell::default(),
            waker,
        }
    }

    /// Cancels the statement that runs now, if one does.
    pub(super) fn cancel(&self) {
        if self.running.get() {
            // One that is on its way will do.
            if let Some(key) = self.key.borrow().as_ref().filter(|key| !key.is_pending()) {
                key.send();
            }
        } else if self.waiting.get() {
            self.cancelled.set(true);
            self.wake();
        }
    }

    pub(super) fn wake(&self) {
        self.waker.wake_by_ref();
    }
}
