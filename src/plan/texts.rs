//! Plans of statements that were seen before but for their literals, found without making their shapes. One
//! worker's, in front of its [`PlanTable`](super::PlanTable); what is not found here is looked for there.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::Plan;
use crate::sql::alike::{Alike, Pattern, head};
use crate::sql::{Bounded, Limits, Normalised};

/// Sets of texts that begin alike; a power of two.
const SETS: usize = 512;
/// Texts of a set: the one that was found last comes first, and the last one makes room. So a look-up compares with
/// so many texts at most, whatever clients send.
const WAYS: usize = 4;

/// The texts that one worker saw last.
#[derive(Debug, Default)]
pub struct TextTable {
    generation: u64,
    hasher: RandomState,
    sets: Vec<[Option<Entry>; WAYS]>,
}

#[derive(Debug)]
struct Entry {
    role: Arc<str>,
    pattern: Pattern,
    plan: Arc<Plan>,
}

impl Entry {
    /// The same as [`Self::find`] for a text that is surely alike, at a glance.
    #[inline]
    fn find_again(&self, role: &Arc<str>, text: &str) -> Option<Alike> {
        let same_role = Arc::ptr_eq(&self.role, role) && self.plan.planned.pins.is_empty();
        if same_role { self.pattern.find_with_integers(text) } else { None }
    }

    #[inline]
    fn find(&self, role: &Arc<str>, text: Bounded<'_>) -> Option<Alike> {
        if !Arc::ptr_eq(&self.role, role) && self.role != *role {
            return None;
        }
        let alike = self.pattern.find(text)?;
        if !self.plan.planned.pins.is_empty() {
            let statement = text.text().get(alike.statement.clone())?;
            let token = |n: usize| alike.literals.get(n).and_then(|range| statement.get(range.clone()));
            if !self.plan.admits(token) {
                return None;
            }
        }
        Some(alike)
    }
}

impl TextTable {
    /// The plan of a text of this role under this generation of plans, and the text's statement. As in the plan
    /// table, pinned tokens are compared. `hint` is where the session found its last one, since sessions repeat
    /// themselves.
    #[inline]
    pub fn find(
        &mut self,
        generation: u64,
        role: &Arc<str>,
        text: &str,
        limits: &Limits,
        hint: &mut usize,
    ) -> Option<(&Arc<Plan>, Alike)> {
        if generation != self.generation || text.len() > limits.max_bytes {
            return None;
        }
        let last = self.sets.get(*hint).and_then(|set| set.first()?.as_ref());
        if let Some(alike) = last.and_then(|entry| entry.find_again(role, text)) {
            return Some((&self.sets.get(*hint)?.first()?.as_ref()?.plan, alike));
        }
        let text = Bounded::new(text, limits).ok()?;
        *hint = self.place(text.text());
        let set = self.sets.get_mut(*hint)?;
        for way in 0..WAYS {
            let Some(alike) = set.get(way)?.as_ref().and_then(|entry| entry.find(role, text)) else {
                continue;
            };
            if way > 0 {
                set.get_mut(..=way)?.rotate_right(1);
            }
            return Some((&set.first()?.as_ref()?.plan, alike));
        }
        None
    }

    /// Keeps a plan that the plan table knew for a text.
    pub fn keep(
        &mut self,
        role: &Arc<str>,
        text: Bounded<'_>,
        statement: &Normalised<'_, '_>,
        plan: &Arc<Plan>,
    ) {
        let Some(pattern) = Pattern::of(text, statement) else { return };
        if plan.generation != self.generation || self.sets.is_empty() {
            self.generation = plan.generation;
            self.sets.clear();
            self.sets.resize_with(SETS, Default::default);
        }
        let entry = Entry { role: role.clone(), pattern, plan: plan.clone() };
        let place = self.place(text.text());
        if let Some(last) = self.sets.get_mut(place).and_then(|set| set.last_mut()) {
            *last = Some(entry);
        }
    }

    #[inline]
    fn place(&self, text: &str) -> usize {
        let hash = self.hasher.hash_one(head(text));
        usize::try_from(hash).unwrap_or_default() & (SETS - 1)
    }
}
