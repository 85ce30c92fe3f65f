//! One worker's plans: no lock, and no allocation for a look-up.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::{Outcome, Plan, Planner};
use crate::sql::Normalised;

/// Plans of one shape that differ in pinned tokens. The oldest goes first.
const MAX_VARIANTS: usize = 8;

/// The plans that one worker used last, in two halves: what is found in the older half moves to the younger,
/// and when the younger is full the older is dropped. Statements that never repeat go after one turn.
#[derive(Debug)]
pub struct PlanTable {
    planner: Arc<Planner>,
    generation: u64,
    hasher: RandomState,
    young: Half,
    old: Half,
    half_entries: usize,
    half_bytes: usize,
    hits: u64,
    misses: u64,
}

#[derive(Debug, Default)]
struct Half {
    slots: HashTable<Slot>,
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    hash: u64,
    role: Arc<str>,
    shape: Box<str>,
    plans: SmallVec<[Arc<Plan>; 1]>,
}

impl Slot {
    fn is(&self, hash: u64, role: &Arc<str>, shape: &str) -> bool {
        self.hash == hash && *self.shape == *shape && (Arc::ptr_eq(&self.role, role) || self.role == *role)
    }

    fn bytes(&self) -> usize {
        let plans = self.plans.iter().fold(0_usize, |sum, plan| sum.saturating_add(plan.bytes));
        plans.saturating_add(size_of::<Self>()).saturating_add(self.shape.len())
    }
}

impl PlanTable {
    /// A table in front of `planner` for at most `entries` shapes and about `bytes` bytes.
    pub fn new(planner: Arc<Planner>, entries: usize, bytes: usize) -> Self {
        Self {
            generation: planner.generation(),
            planner,
            hasher: RandomState::default(),
            young: Half::default(),
            old: Half::default(),
            half_entries: (entries / 2).max(1),
            half_bytes: (bytes / 2).max(1),
            hits: 0,
            misses: 0,
        }
    }

    /// The planner that is asked on a miss.
    pub fn planner(&self) -> &Arc<Planner> {
        &self.planner
    }

    /// What is known of a statement: the shape, the role and every pinned token are compared.
    #[inline]
    pub fn find(&mut self, role: &Arc<str>, statement: &Normalised<'_, '_>) -> Option<Outcome> {
        self.follow();
        let hash = self.hash(role, statement.shape);
        let mut plan = self.young.find(hash, role, statement);
        if plan.is_none() && self.promote(hash, role, statement.shape) {
            plan = self.young.find(hash, role, statement);
        }
        match plan {
            Some(plan) => {
                self.hits = self.hits.wrapping_add(1);
                Some(Ok(plan))
            }
            None => {
                self.misses = self.misses.wrapping_add(1);
                None
            }
        }
    }

    /// Keeps a plan that the planner gave for a statement of this role and shape. One of another generation
    /// is not kept.
    pub fn insert(&mut self, role: &Arc<str>, shape: &str, plan: &Arc<Plan>) {
        self.follow();
        if plan.generation != self.generation {
            return;
        }
        let hash = self.hash(role, shape);
        self.promote(hash, role, shape);
        let mut slot = self.young.take(hash, role, shape).unwrap_or_else(|| Slot {
            hash,
            role: role.clone(),
            shape: shape.into(),
            plans: SmallVec::new(),
        });
        slot.plans.retain(|known| known.id != plan.id);
        if slot.plans.len() >= MAX_VARIANTS {
            slot.plans.remove(0);
        }
        slot.plans.push(plan.clone());
        self.put(slot);
    }

    /// Statements that were found, and that were not.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits, self.misses)
    }

    /// Shapes that are kept, and their bytes (an estimate).
    pub fn size(&self) -> (usize, usize) {
        let entries = self.young.slots.len().saturating_add(self.old.slots.len());
        (entries, self.young.bytes.saturating_add(self.old.bytes))
    }

    /// Forgets everything when the world has changed.
    #[inline]
    fn follow(&mut self) {
        let now = self.planner.generation();
        if now != self.generation {
            self.generation = now;
            self.young = Half::default();
            self.old = Half::default();
        }
    }

    #[inline]
    fn hash(&self, role: &str, shape: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        role.hash(&mut hasher);
        shape.hash(&mut hasher);
        hasher.finish()
    }

    /// Moves a slot from the older half to the younger; whether there was one.
    fn promote(&mut self, hash: u64, role: &Arc<str>, shape: &str) -> bool {
        let slot = self.old.take(hash, role, shape);
        slot.map(|slot| self.put(slot)).is_some()
    }

    fn put(&mut self, slot: Slot) {
        let full = self.young.slots.len() >= self.half_entries
            || self.young.bytes.saturating_add(slot.bytes()) > self.half_bytes;
        if full {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.bytes = self.young.bytes.saturating_add(slot.bytes());
        self.young.slots.insert_unique(slot.hash, slot, |slot| slot.hash);
    }
}

impl Half {
    #[inline]
    fn find(&self, hash: u64, role: &Arc<str>, statement: &Normalised<'_, '_>) -> Option<Arc<Plan>> {
        let slot = self.slots.find(hash, |slot| slot.is(hash, role, statement.shape))?;
        slot.plans.iter().find(|plan| plan.admits(|n| statement.token(n))).cloned()
    }

    fn take(&mut self, hash: u64, role: &Arc<str>, shape: &str) -> Option<Slot> {
        let entry = self.slots.find_entry(hash, |slot| slot.is(hash, role, shape)).ok()?;
        let (slot, _) = entry.remove();
        self.bytes = self.bytes.saturating_sub(slot.bytes());
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The map asks this when two hashes are the same.
    #[test]
    fn a_slot_is_its_role_and_whole_shape() {
        let slot = Slot { hash: 7, role: "app".into(), shape: "select ?".into(), plans: SmallVec::new() };
        assert!(slot.is(7, &"app".into(), "select ?"));
        assert!(!slot.is(7, &"reports".into(), "select ?"));
        assert!(!slot.is(7, &"app".into(), "select ?,"));
    }
}
