//! The choice of a function (FuncnameGetCandidates, namespace.c; func_get_detail, parse_func.c).

use std::sync::Arc;

use crate::catalog::{Function, Oid, Snapshot};

use super::candidates::{Candidate, Choice, choose};
use super::coerce::pathway;
use super::operator::place;
use super::polymorphic::{instantiate, is_polymorphic};
use super::{CastPath, Context, FunctionMatch, Resolution, category, coercion, is_row_type, oid};

/// The function that `name(arguments)` means. `variadic` is the call's own VARIADIC. Untyped literals and parameters
/// are [`oid::UNKNOWN`]; a lone one is taken for a literal, which makes a cast of `typename(…)`. Named arguments are not looked at: such calls are for the caller to refuse or to order.
pub fn resolve_function(
    catalog: &Snapshot,
    schema: Option<&str>,
    name: &str,
    inputs: &[Oid],
    variadic: bool,
) -> Resolution<FunctionMatch> {
    let candidates = candidates(catalog, schema, name, inputs.len(), !variadic);
    let same = |c: &&Candidate<Arc<Function>>| c.arguments.get(..inputs.len()) == Some(inputs);
    if let Some(exact) = candidates.iter().find(same) {
        return called(catalog, inputs, exact.clone());
    }
    if let [input] = *inputs
        && let Some(cast) = as_cast(catalog, schema, name, input)
    {
        return Resolution::Found(cast);
    }
    match choose(catalog, inputs, candidates) {
        Choice::One(candidate) => called(catalog, inputs, candidate),
        Choice::None => Resolution::NotFound,
        Choice::Many => Resolution::Ambiguous,
    }
}

fn called(
    catalog: &Snapshot,
    inputs: &[Oid],
    candidate: Candidate<Arc<Function>>,
) -> Resolution<FunctionMatch> {
    if candidate.tied {
        return Resolution::Ambiguous;
    }
    let (given, defaulted) = candidate.arguments.split_at_checked(inputs.len()).unwrap_or((&[], &[]));
    if defaulted.iter().any(|t| is_polymorphic(*t)) {
        return Resolution::Unsure("a default fills a polymorphic argument");
    }
    let instance = instantiate(catalog, inputs, given, candidate.object.result);
    let Some((targets, result)) = instance else {
        return Resolution::Unsure("polymorphic arguments do not say their type");
    };
    let cast = |(input, target): (&Oid, &Oid)| {
        coercion(catalog, *input, *target, Context::Implicit).map(|path| (*target, path))
    };
    match inputs.iter().zip(&targets).map(cast).collect() {
        Some(arguments) => Resolution::Found(FunctionMatch::Call {
            function: candidate.object,
            result,
            arguments,
            gathered: candidate.gathered,
        }),
        None => Resolution::Unsure("an argument has no cast"),
    }
}

/// `typename(x)` as a cast (func_get_detail). Row types have no such form.
fn as_cast(catalog: &Snapshot, schema: Option<&str>, name: &str, input: Oid) -> Option<FunctionMatch> {
    let target = catalog.find_type(schema, name).filter(|ty| ty.relation == 0)?.oid;
    if input == oid::UNKNOWN {
        return Some(FunctionMatch::Cast { target, path: CastPath::Literal });
    }
    let path = pathway(catalog, input, target, Context::Explicit)?;
    let row_to_text =
        (input == oid::RECORD || is_row_type(catalog, input)) && category(catalog, target).0 == 'S';
    match path {
        CastPath::Binary => Some(FunctionMatch::Cast { target, path }),
        CastPath::InOut if !row_to_text => Some(FunctionMatch::Cast { target, path }),
        _ => None,
    }
}

/// FuncnameGetCandidates without named arguments.
fn candidates(
    catalog: &Snapshot,
    schema: Option<&str>,
    name: &str,
    count: usize,
    expand: bool,
) -> Vec<Candidate<Arc<Function>>> {
    let mut found: Vec<Candidate<Arc<Function>>> = Vec::new();
    for function in catalog.functions_named(name) {
        let Some(place) = place(catalog, schema, &function.schema) else { continue };
        let Some(candidate) = candidate(function, place, count, expand) else { continue };
        match found.iter_mut().find(|f| compared(f) == compared(&candidate)) {
            None => found.push(candidate),
            Some(previous) => match preference(previous, &candidate) {
                Preference::Old => {}
                Preference::New => *previous = candidate,
                Preference::Neither => previous.tied = true,
            },
        }
    }
    found
}

/// A function as a candidate for a call with so many arguments, if it is one.
fn candidate(
    function: &Arc<Function>,
    place: usize,
    count: usize,
    expand: bool,
) -> Option<Candidate<Arc<Function>>> {
    let declared = function.arguments.len();
    let spread = expand && declared <= count && function.variadic != 0;
    let missing = declared.saturating_sub(count);
    let defaults = usize::try_from(function.defaults).unwrap_or(0);
    if missing > defaults || (declared < count && !spread) {
        return None;
    }
    let mut arguments = function.arguments.clone();
    let mut gathered = 0;
    if spread {
        arguments.pop();
        gathered = count.saturating_sub(arguments.len());
        arguments.resize(count, function.variadic);
    }
    Some(Candidate { object: function.clone(), arguments, place, gathered, defaulted: missing, tied: false })
}

/// What two candidates are compared by: their arguments without the defaulted ones.
fn compared<T>(candidate: &Candidate<T>) -> Option<&[Oid]> {
    candidate.arguments.get(..candidate.arguments.len().checked_sub(candidate.defaulted)?)
}

enum Preference {
    Old,
    New,
    Neither,
}

fn preference<T>(old: &Candidate<T>, new: &Candidate<T>) -> Preference {
    match (new.place.cmp(&old.place), new.gathered > 0, old.gathered > 0) {
        (std::cmp::Ordering::Less, ..) => Preference::New,
        (std::cmp::Ordering::Greater, ..) => Preference::Old,
        (_, true, false) => Preference::Old,
        (_, false, true) => Preference::New,
        _ => Preference::Neither,
    }
}
