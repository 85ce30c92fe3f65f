//! The cache that all workers share: plans by role and shape, refusals by role, shape and tokens. Bounded in
//! bytes and in entries; a new entry has to be asked for again before it can push out one that is in use, so
//! that statements which never repeat push out one another.

use std::hash::{Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Lifecycle, Weighter};

use super::{Outcome, Plan, Request};
use crate::policy::Refusal;

/// Plans of one shape that differ in pinned tokens. The oldest goes first.
const MAX_VARIANTS: usize = 16;

/// One part in so many of the bytes is for refusals.
const REFUSAL_SHARE: u64 = 8;

/// One entry takes at most one part in so many of a cache.
const ENTRY_SHARE: u64 = 16;

/// What an entry costs beside its strings: both maps' slots, the plan's fixed part.
const FIXED_BYTES: usize = 512;

/// By what an entry is found. The text is the shape, or the shape with its tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    generation: u64,
    role: Arc<str>,
    text: Box<str>,
}

#[derive(Hash)]
struct KeyRef<'a> {
    generation: u64,
    role: &'a str,
    text: &'a str,
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.generation == key.generation && self.role == &*key.role && self.text == &*key.text
    }
}

/// The plans of one shape.
type Variants = Arc<[Arc<Plan>]>;

/// A refusal and the text that its position is in.
#[derive(Debug, Clone)]
struct Refused {
    text: Arc<str>,
    placed: Arc<Refusal>,
    /// The same without its position, for a text with other comments or white space.
    unplaced: Arc<Refusal>,
}

/// Plans and refusals of every generation that are still kept.
#[derive(Debug)]
pub(super) struct SharedCache {
    plans: Cache<Key, Variants, Weight, RandomState, Evictions>,
    refusals: Cache<Key, Refused, Weight, RandomState, Evictions>,
    evictions: Arc<AtomicU64>,
    weight: Weight,
    max_entry: u64,
}

impl SharedCache {
    /// A cache of at most `entries` shapes and `bytes` bytes.
    pub(super) fn new(entries: usize, bytes: usize) -> Self {
        let entries = entries.max(1);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).max(1);
        let refusal_bytes = (bytes / REFUSAL_SHARE).max(1);
        let plan_bytes = bytes.saturating_sub(refusal_bytes).max(1);
        let evictions = Arc::new(AtomicU64::new(0));
        let weight = Weight { least: (bytes / u64::try_from(entries).unwrap_or(u64::MAX)).max(1) };
        Self {
            plans: Cache::with(entries, plan_bytes, weight, RandomState::new(), Evictions(evictions.clone())),
            refusals: Cache::with(
                entries,
                refusal_bytes,
                weight,
                RandomState::new(),
                Evictions(evictions.clone()),
            ),
            evictions,
            weight,
            max_entry: (refusal_bytes / ENTRY_SHARE).max(1),
        }
    }

    /// The plan that admits a request's tokens.
    pub(super) fn plan(&self, generation: u64, request: &Request) -> Option<Arc<Plan>> {
        let key = KeyRef { generation, role: &request.role, text: request.shape() };
        let variants = self.plans.get(&key)?;
        variants.iter().find(|plan| plan.admits(|index| request.token(index))).cloned()
    }

    /// The refusal of the same statement with the same tokens.
    pub(super) fn refusal(&self, generation: u64, request: &Request) -> Option<Arc<Refusal>> {
        if self.refusals.is_empty() {
            return None;
        }
        let exact = request.exact();
        let refused = self.refusals.get(&KeyRef { generation, role: &request.role, text: &exact })?;
        Some(if *refused.text == *request.text() { refused.placed } else { refused.unplaced })
    }

    /// Keeps what a request's planning gave.
    pub(super) fn keep(&self, generation: u64, request: &Request, outcome: &Outcome) {
        match outcome {
            Ok(plan) => self.keep_plan(generation, request, plan),
            Err(refusal) => self.keep_refusal(generation, request, refusal),
        }
    }

    fn keep_plan(&self, generation: u64, request: &Request, plan: &Arc<Plan>) {
        let key = Key { generation, role: request.role.clone(), text: request.shape().into() };
        let known = self.plans.peek(&key);
        let older = known.as_deref().unwrap_or_default();
        let first = (older.len() + 1).saturating_sub(MAX_VARIANTS);
        let variants: Variants =
            older.iter().skip(first).cloned().chain(std::iter::once(plan.clone())).collect();
        if self.weight.weight(&key, &variants) <= self.max_entry {
            self.plans.insert(key, variants);
        }
    }

    fn keep_refusal(&self, generation: u64, request: &Request, refusal: &Arc<Refusal>) {
        // What goes to quarantine is told once, not with every repetition.
        let placed = match refusal.quarantined {
            None => refusal.clone(),
            Some(_) => Arc::new(Refusal { quarantined: None, ..Refusal::clone(refusal) }),
        };
        let unplaced = match placed.position {
            None => placed.clone(),
            Some(_) => Arc::new(Refusal { position: None, ..Refusal::clone(&placed) }),
        };
        let key = Key { generation, role: request.role.clone(), text: request.exact().into() };
        let refused = Refused { text: request.text().into(), placed, unplaced };
        if self.weight.weight(&key, &refused) <= self.max_entry {
            self.refusals.insert(key, refused);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.plans.clear();
        self.refusals.clear();
    }

    /// Shapes and refusals that are kept.
    pub(super) fn entries(&self) -> usize {
        self.plans.len().saturating_add(self.refusals.len())
    }

    /// What they weigh, in bytes (an estimate).
    pub(super) fn bytes(&self) -> u64 {
        self.plans.weight().saturating_add(self.refusals.weight())
    }

    /// Entries that were pushed out, or were too heavy to come in.
    pub(super) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }
}

/// Bytes of an entry, and at least what keeps the number of entries within its bound.
#[derive(Debug, Clone, Copy)]
struct Weight {
    least: u64,
}

impl Weight {
    fn of(self, key: &Key, value: usize) -> u64 {
        let bytes = FIXED_BYTES.saturating_add(key.text.len()).saturating_add(value);
        u64::try_from(bytes).unwrap_or(u64::MAX).max(self.least)
    }
}

impl Weighter<Key, Variants> for Weight {
    fn weight(&self, key: &Key, variants: &Variants) -> u64 {
        self.of(key, variants.iter().fold(0, |sum, plan| sum.saturating_add(plan.bytes)))
    }
}

impl Weighter<Key, Refused> for Weight {
    fn weight(&self, key: &Key, refused: &Refused) -> u64 {
        let told = |r: &Refusal| {
            r.message.len()
                + r.detail.as_ref().map_or(0, String::len)
                + r.hint.as_ref().map_or(0, String::len)
        };
        self.of(key, refused.text.len() + told(&refused.placed) + told(&refused.unplaced))
    }
}

/// Counts what leaves.
#[derive(Debug, Clone)]
struct Evictions(Arc<AtomicU64>);

impl<V> Lifecycle<Key, V> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Key, _: V) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher as _;

    use super::*;

    /// The map asks this when two hashes are the same.
    #[test]
    fn a_key_is_its_generation_role_and_whole_text() {
        let key = Key { generation: 1, role: "app".into(), text: "select ?".into() };
        let is = |generation, role, text| KeyRef { generation, role, text }.equivalent(&key);
        assert!(is(1, "app", "select ?"));
        assert!(!is(2, "app", "select ?"));
        assert!(!is(1, "reports", "select ?"));
        assert!(!is(1, "app", "select ? "));
    }

    #[test]
    fn a_borrowed_key_has_the_hash_of_an_owned_one() {
        let state = RandomState::new();
        let key = Key { generation: 1, role: "app".into(), text: "select ?".into() };
        let borrowed = KeyRef { generation: 1, role: "app", text: "select ?" };
        assert_eq!(state.hash_one(&key), state.hash_one(&borrowed));
    }
}
