//! Work waiting for the planning threads, a lane for each tenant. Lanes take turns, and one lane alone never
//! holds every thread: a tenant whose statements take seconds to parse delays itself.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Bounded lanes of work.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
    bounds: Bounds,
}

/// Bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Waiting in one lane.
    pub lane: usize,
    /// Waiting in all lanes.
    pub total: usize,
    /// Of one lane at work at the same time.
    pub running: usize,
}

#[derive(Debug)]
struct State<T> {
    lanes: HashMap<Arc<str>, Lane<T>>,
    /// Lanes with waiting work, the next one in front.
    turns: VecDeque<Arc<str>>,
    waiting: usize,
    closed: bool,
}

#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<T>,
    running: usize,
}

impl<T> Queue<T> {
    /// An empty queue.
    pub(super) fn new(bounds: Bounds) -> Self {
        let state = State { lanes: HashMap::new(), turns: VecDeque::new(), waiting: 0, closed: false };
        Self { state: Mutex::new(state), wake: Condvar::new(), bounds }
    }

    /// Puts work at the end of a lane; gives it back where there is no room.
    pub(super) fn push(&self, lane: &Arc<str>, work: T) -> Result<(), T> {
        let mut state = self.state.lock();
        if state.closed || state.waiting >= self.bounds.total {
            return Err(work);
        }
        let entry =
            state.lanes.entry(lane.clone()).or_insert_with(|| Lane { waiting: VecDeque::new(), running: 0 });
        if entry.waiting.len() >= self.bounds.lane {
            return Err(work);
        }
        let first = entry.waiting.is_empty();
        entry.waiting.push_back(work);
        state.waiting += 1;
        if first {
            state.turns.push_back(lane.clone());
        }
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits for work. None once the queue is closed. The lane must be given back with [`Self::done`].
    pub(super) fn pop(&self) -> Option<(Arc<str>, T)> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(found) = state.take(self.bounds.running) {
                return Some(found);
            }
            self.wake.wait(&mut state);
        }
    }

    /// Says that work of a lane is done.
    pub(super) fn done(&self, lane: &Arc<str>) {
        let mut state = self.state.lock();
        if let Some(entry) = state.lanes.get_mut(lane) {
            entry.running = entry.running.saturating_sub(1);
            if entry.running == 0 && entry.waiting.is_empty() {
                state.lanes.remove(lane);
            }
        }
        let more = state.waiting > 0;
        drop(state);
        if more {
            self.wake.notify_one();
        }
    }

    /// Ends every waiting [`Self::pop`]; waiting work is dropped.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.lanes.clear();
        state.turns.clear();
        state.waiting = 0;
        drop(state);
        self.wake.notify_all();
    }

    /// Work that waits.
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().waiting
    }
}

impl<T> State<T> {
    fn take(&mut self, most_running: usize) -> Option<(Arc<str>, T)> {
        for _ in 0..self.turns.len() {
            let name = self.turns.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&name) else { continue };
            if lane.running >= most_running {
                self.turns.push_back(name);
                continue;
            }
            let Some(work) = lane.waiting.pop_front() else { continue };
            lane.running += 1;
            self.waiting = self.waiting.saturating_sub(1);
            if !lane.waiting.is_empty() {
                self.turns.push_back(name.clone());
            }
            return Some((name, work));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> (Queue<u32>, Arc<str>, Arc<str>) {
        (Queue::new(Bounds { lane: 3, total: 5, running: 1 }), "a".into(), "b".into())
    }

    #[test]
    fn lanes_take_turns() {
        let (queue, a, b) = queue();
        for work in [1, 2, 3] {
            queue.push(&a, work).unwrap();
        }
        queue.push(&b, 10).unwrap();
        let mut order = Vec::new();
        while queue.waiting() > 0 {
            let (lane, work) = queue.pop().unwrap();
            queue.done(&lane);
            order.push(work);
        }
        assert_eq!(order, [1, 10, 2, 3]);
    }

    #[test]
    fn a_lane_at_work_lets_the_others_pass() {
        let (queue, a, b) = queue();
        queue.push(&a, 1).unwrap();
        queue.push(&a, 2).unwrap();
        queue.push(&b, 10).unwrap();
        assert_eq!(queue.pop().map(|(_, w)| w), Some(1));
        assert_eq!(queue.pop().map(|(_, w)| w), Some(10));
        assert!(queue.state.lock().take(1).is_none());
        queue.done(&a);
        assert_eq!(queue.pop().map(|(_, w)| w), Some(2));
    }

    #[test]
    fn lanes_and_the_whole_are_bounded() {
        let (queue, a, b) = queue();
        for work in 0..3 {
            queue.push(&a, work).unwrap();
        }
        assert_eq!(queue.push(&a, 3), Err(3));
        queue.push(&b, 4).unwrap();
        queue.push(&b, 5).unwrap();
        assert_eq!(queue.push(&b, 6), Err(6));
    }

    #[test]
    fn an_idle_lane_leaves_nothing_behind() {
        let (queue, a, _) = queue();
        queue.push(&a, 1).unwrap();
        let (lane, _) = queue.pop().unwrap();
        queue.done(&lane);
        assert!(queue.state.lock().lanes.is_empty());
        queue.close();
        assert!(queue.pop().is_none());
        assert_eq!(queue.push(&a, 1), Err(1));
    }
}
