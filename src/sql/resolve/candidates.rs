//! The choice among several candidates: func_match_argtypes and func_select_candidate (parse_func.c).

use crate::catalog::{Oid, Snapshot};

use super::coerce::can_coerce;
use super::{base_type, category, oid};

/// One operator or function that a call could mean.
#[derive(Debug, Clone)]
pub(super) struct Candidate<T> {
    /// The object.
    pub object: T,
    /// Types of the arguments of this call: VARIADIC is spread out, what a default fills stays at the end.
    pub arguments: Vec<Oid>,
    /// Place of its schema in the search path.
    pub place: usize,
    /// How many arguments a VARIADIC parameter takes.
    pub gathered: usize,
    /// How many arguments a default fills.
    pub defaulted: usize,
    /// Another candidate is as good in every respect.
    pub tied: bool,
}

/// The outcome of a choice.
#[derive(Debug)]
pub(super) enum Choice<T> {
    One(Candidate<T>),
    None,
    Many,
}

/// The candidate that the server takes for inputs of these types.
pub(super) fn choose<T: Clone>(
    catalog: &Snapshot,
    inputs: &[Oid],
    candidates: Vec<Candidate<T>>,
) -> Choice<T> {
    let callable: Vec<_> =
        candidates.into_iter().filter(|c| can_coerce(catalog, inputs, prefix(c, inputs))).collect();
    match callable.len() {
        0 => Choice::None,
        1 => callable.into_iter().next().map_or(Choice::None, Choice::One),
        _ => select(catalog, inputs, callable).map_or(Choice::Many, Choice::One),
    }
}

/// The types that the given arguments meet.
fn prefix<'a, T>(candidate: &'a Candidate<T>, inputs: &[Oid]) -> &'a [Oid] {
    candidate.arguments.get(..inputs.len()).unwrap_or(&candidate.arguments)
}

/// func_select_candidate.
fn select<T: Clone>(
    catalog: &Snapshot,
    inputs: &[Oid],
    candidates: Vec<Candidate<T>>,
) -> Option<Candidate<T>> {
    let bases: Vec<Oid> =
        inputs.iter().map(|i| if *i == oid::UNKNOWN { *i } else { base_type(catalog, *i) }).collect();

    let exact = |input: Oid, target: Oid| input == target;
    let candidates = keep_best(candidates, &bases, exact);
    if candidates.len() == 1 {
        return candidates.into_iter().next();
    }

    let exact_or_preferred = |input: Oid, target: Oid| {
        let (target_category, preferred) = category(catalog, target);
        input == target || (preferred && target_category == category(catalog, input).0)
    };
    let candidates = keep_best(candidates, &bases, exact_or_preferred);
    if candidates.len() == 1 {
        return candidates.into_iter().next();
    }
    if !bases.contains(&oid::UNKNOWN) {
        return None;
    }

    let candidates = match keep_category(catalog, &bases, &candidates) {
        Some(kept) if kept.len() == 1 => return kept.into_iter().next(),
        Some(kept) if !kept.is_empty() => kept,
        _ => candidates,
    };
    take_unknown_as_known(catalog, &bases, candidates)
}

/// Those with the most arguments that `fits` says yes to; all where none has any.
fn keep_best<T>(
    candidates: Vec<Candidate<T>>,
    inputs: &[Oid],
    fits: impl Fn(Oid, Oid) -> bool,
) -> Vec<Candidate<T>> {
    let score = |c: &Candidate<T>| {
        let known = inputs.iter().zip(&c.arguments).filter(|(input, _)| **input != oid::UNKNOWN);
        known.filter(|(input, target)| fits(**input, **target)).count()
    };
    let best = candidates.iter().map(score).max().unwrap_or(0);
    candidates.into_iter().filter(|c| score(c) == best).collect()
}

/// Those that take the category, and the preferred type if any does, which the candidates suggest for each untyped
/// argument. Nothing when they suggest several.
fn keep_category<T: Clone>(
    catalog: &Snapshot,
    inputs: &[Oid],
    candidates: &[Candidate<T>],
) -> Option<Vec<Candidate<T>>> {
    let mut kept = candidates.to_vec();
    for (at, _) in inputs.iter().enumerate().filter(|(_, input)| **input == oid::UNKNOWN) {
        let of = |c: &Candidate<T>| category(catalog, c.arguments.get(at).copied().unwrap_or(0));
        let suggested: Vec<(char, bool)> = candidates.iter().map(of).collect();
        let first = suggested.first()?.0;
        let slot = if suggested.iter().any(|(c, _)| *c == 'S') {
            'S'
        } else if suggested.iter().all(|(c, _)| *c == first) {
            first
        } else {
            return None;
        };
        let wants_preferred = suggested.iter().any(|(c, preferred)| *c == slot && *preferred);
        kept.retain(|c| {
            let (category, preferred) = of(c);
            category == slot && (preferred || !wants_preferred)
        });
    }
    Some(kept)
}

/// The last resort: if all typed arguments have one type, the untyped ones are taken for it too.
fn take_unknown_as_known<T>(
    catalog: &Snapshot,
    inputs: &[Oid],
    candidates: Vec<Candidate<T>>,
) -> Option<Candidate<T>> {
    let mut known = inputs.iter().filter(|i| **i != oid::UNKNOWN);
    let first = *known.next()?;
    if known.any(|other| *other != first) {
        return None;
    }
    let assumed = vec![first; inputs.len()];
    let mut fitting = candidates.into_iter().filter(|c| can_coerce(catalog, &assumed, prefix(c, &assumed)));
    let only = fitting.next()?;
    fitting.next().is_none().then_some(only)
}
