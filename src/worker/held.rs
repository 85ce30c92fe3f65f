//! Leases that are kept beyond their transactions, for cursors WITH HOLD, session advisory locks and LISTEN: counted, and
//! limited, so that clients that forget to give them back do not keep all server connections from the others.

use std::cell::Cell;
use std::rc::Rc;

/// How many leases of one pool are kept, and how many may be.
#[derive(Debug, Clone)]
pub struct Holding {
    kept: Rc<Cell<usize>>,
    most: usize,
}

/// A lease that is kept. Dropped with the lease.
#[derive(Debug)]
pub struct Held(Rc<Cell<usize>>);

impl Holding {
    /// At most so many.
    pub fn at_most(most: usize) -> Self {
        Self { kept: Rc::default(), most }
    }

    /// One more, if there is room.
    pub fn one_more(&self) -> Option<Held> {
        let kept = self.kept.get();
        (kept < self.most).then(|| {
            self.kept.set(kept.saturating_add(1));
            Held(self.kept.clone())
        })
    }

    /// How many there are.
    pub fn kept(&self) -> usize {
        self.kept.get()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_makes_room() {
        let holding = Holding::at_most(1);
        let first = holding.one_more();
        assert!(first.is_some() && holding.one_more().is_none());
        drop(first);
        assert!(holding.kept() == 0 && holding.one_more().is_some());
        assert!(Holding::at_most(0).one_more().is_none());
    }
}
