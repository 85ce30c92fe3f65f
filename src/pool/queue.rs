//! Who waits for a server connection. Tenants take turns, so that one with a thousand waiting clients does not
//! keep out one with one; the clients of one tenant come in their order.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::connections::Pool;
use super::lease::Lease;
use crate::policy::{Refusal, Rule, SqlState, TenantId};

/// Whom a lease is for: the tenant of its transaction, as far as it is known when the transaction begins.
pub type Payer = Option<TenantId>;

/// The queue of a pool.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: HashMap<Payer, VecDeque<Rc<Waiter>>>,
    /// Whose turn it is: each payer that waits stands here once.
    turns: VecDeque<Payer>,
    length: usize,
}

/// A place in the queue.
#[derive(Debug)]
pub struct Waiter {
    pub(super) payer: Payer,
    pub(super) since: Instant,
    slot: RefCell<Slot>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Waiting,
    Given(Lease),
    Failed,
    Left,
}

impl Queue {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// At the end of its payer's line.
    pub(super) fn push(&mut self, waiter: Rc<Waiter>) {
        let payer = waiter.payer.clone();
        let line = self.waiting.entry(payer.clone()).or_default();
        if line.is_empty() {
            self.turns.push_back(payer);
        }
        line.push_back(waiter);
        self.length = self.length.saturating_add(1);
    }

    /// The first of the payer whose turn it is, among those that `may` have one more.
    pub(super) fn pop(&mut self, may: impl Fn(&Payer) -> bool) -> Option<Rc<Waiter>> {
        let at = self.turns.iter().position(may)?;
        let payer = self.turns.remove(at)?;
        let line = self.waiting.get_mut(&payer)?;
        let waiter = line.pop_front();
        if line.is_empty() {
            self.waiting.remove(&payer);
        } else {
            self.turns.push_back(payer);
        }
        self.length = self.length.saturating_sub(usize::from(waiter.is_some()));
        waiter
    }

    /// It does not wait any more.
    pub(super) fn remove(&mut self, waiter: &Rc<Waiter>) {
        let Some(line) = self.waiting.get_mut(&waiter.payer) else { return };
        let before = line.len();
        line.retain(|other| !Rc::ptr_eq(other, waiter));
        self.length = self.length.saturating_sub(before.saturating_sub(line.len()));
        if line.is_empty() {
            self.waiting.remove(&waiter.payer);
            self.turns.retain(|payer| *payer != waiter.payer);
        }
    }

    /// Whether anybody waits who may have one more.
    pub(super) fn any(&self, may: impl Fn(&Payer) -> bool) -> bool {
        self.turns.iter().any(may)
    }

    /// How many connections would be used, where each payer may have so many more.
    pub(super) fn wanted(&self, more: impl Fn(&Payer) -> usize) -> usize {
        let lines = self.waiting.iter().map(|(payer, line)| line.len().min(more(payer)));
        lines.fold(0, usize::saturating_add)
    }

    /// Since when the longest wait lasts.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.waiting.values().filter_map(|line| line.front().map(|waiter| waiter.since)).min()
    }

    /// Everybody.
    pub(super) fn take(&mut self) -> Vec<Rc<Waiter>> {
        let lines = std::mem::take(self).waiting.into_values();
        lines.flatten().collect()
    }
}

impl Waiter {
    pub(super) fn new(payer: Payer) -> Rc<Self> {
        Rc::new(Self { payer, since: Instant::now(), slot: RefCell::default(), waker: RefCell::default() })
    }

    /// The lease, or 08006 where no server can be reached.
    pub fn poll(&self, cx: &mut Context<'_>, pool: &Pool) -> Poll<Result<Lease, Refusal>> {
        let slot = std::mem::replace(&mut *self.slot.borrow_mut(), Slot::Left);
        match slot {
            Slot::Given(lease) => Poll::Ready(Ok(lease)),
            Slot::Waiting => {
                *self.slot.borrow_mut() = Slot::Waiting;
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
            Slot::Failed | Slot::Left => {
                let message = format!("no server of database \"{}\" can be reached", pool.name());
                Poll::Ready(Err(Refusal::new(SqlState::CONNECTION_FAILURE, Rule("pool"), message)))
            }
        }
    }

    /// Nobody waits here any more; gives the lease that has come meanwhile.
    pub(super) fn leave(&self) -> Option<Lease> {
        match std::mem::replace(&mut *self.slot.borrow_mut(), Slot::Left) {
            Slot::Given(lease) => Some(lease),
            Slot::Waiting | Slot::Failed | Slot::Left => None,
        }
    }

    pub(super) fn give(&self, lease: Lease) -> Result<(), Lease> {
        let mut slot = self.slot.borrow_mut();
        if !matches!(*slot, Slot::Waiting) {
            return Err(lease);
        }
        *slot = Slot::Given(lease);
        drop(slot);
        self.wake();
        Ok(())
    }

    pub(super) fn fail(&self) {
        *self.slot.borrow_mut() = Slot::Failed;
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// 53300 of a statement that waited for too long.
pub fn checkout_timed_out(pool: &Pool) -> Refusal {
    let message = format!("no server connection of pool \"{}\" became free in time", pool.name());
    Refusal::new(SqlState::TOO_MANY, Rule("pool"), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Payer {
        TenantId::new(name)
    }

    fn queue(of: &[&str]) -> Queue {
        let mut queue = Queue::default();
        for name in of {
            queue.push(Waiter::new(tenant(name)));
        }
        queue
    }

    fn order(queue: &mut Queue, may: impl Fn(&Payer) -> bool) -> String {
        let next = || queue.pop(&may).map(|waiter| waiter.payer.as_ref().unwrap().to_string());
        std::iter::from_fn(next).collect::<Vec<_>>().concat()
    }

    #[test]
    fn tenants_take_turns() {
        let mut queue = queue(&["a", "a", "a", "b", "a", "c", "b"]);
        assert_eq!((queue.len(), order(&mut queue, |_| true).as_str()), (7, "abcabaa"));
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn who_may_not_is_passed_over_and_keeps_his_turn() {
        let mut queue = queue(&["a", "b", "a"]);
        assert_eq!(order(&mut queue, |payer| *payer != tenant("a")), "b");
        assert!(!queue.any(|payer| *payer != tenant("a")));
        assert_eq!((queue.len(), queue.wanted(|_| 1), queue.wanted(|_| 9)), (2, 1, 2));
        assert_eq!(order(&mut queue, |_| true), "aa");
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let mut queue = queue(&["a", "b"]);
        let leaver = Waiter::new(tenant("c"));
        queue.push(leaver.clone());
        queue.push(Waiter::new(tenant("a")));
        queue.remove(&leaver);
        queue.remove(&leaver);
        assert_eq!((queue.len(), order(&mut queue, |_| true).as_str()), (3, "aba"));
    }
}
