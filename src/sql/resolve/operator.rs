//! The choice of an operator (oper, left_oper and make_scalar_array_op, parse_oper.c).

use std::sync::Arc;

use crate::catalog::{Oid, Operator, Snapshot};

use super::candidates::{Candidate, Choice, choose};
use super::coerce::can_coerce;
use super::polymorphic::{instantiate, is_polymorphic};
use super::{
    CastPath, Context, OperatorMatch, Resolution, array_type, base_type, coercion, element_type, oid,
};

/// The operator that `left name right` means; a prefix operator without `left`. Untyped literals and parameters are
/// [`oid::UNKNOWN`].
pub fn resolve_operator(
    catalog: &Snapshot,
    schema: Option<&str>,
    name: &str,
    left: Option<Oid>,
    right: Oid,
) -> Resolution<OperatorMatch> {
    let operator = match choose_operator(catalog, schema, name, left, right) {
        Resolution::Found(operator) => operator,
        Resolution::NotFound => return Resolution::NotFound,
        Resolution::Ambiguous => return Resolution::Ambiguous,
        Resolution::Unsure(why) => return Resolution::Unsure(why),
    };
    let (inputs, declared) = match left {
        Some(left) => (vec![left, right], vec![operator.left, operator.right]),
        None => (vec![right], vec![operator.right]),
    };
    let Some((targets, result)) = instantiate(catalog, &inputs, &declared, operator.result) else {
        return Resolution::Unsure("polymorphic arguments do not say their type");
    };
    let cast = |input: Oid, target: Option<&Oid>| coercion(catalog, input, *target?, Context::Implicit);
    let (Some(right_target), Some(right_cast)) = (targets.last().copied(), cast(right, targets.last()))
    else {
        return Resolution::Unsure("an argument has no cast");
    };
    let (left_target, left_cast) = match left {
        None => (0, CastPath::Identity),
        Some(left) => match (targets.first(), cast(left, targets.first())) {
            (Some(target), Some(cast)) => (*target, cast),
            _ => return Resolution::Unsure("an argument has no cast"),
        },
    };
    Resolution::Found(OperatorMatch {
        operator,
        left: left_target,
        right: right_target,
        left_cast,
        right_cast,
        result,
    })
}

/// The operator that `left name ANY (right)` or `ALL` means, and what the array is coerced to. `right_cast` is the
/// whole array's.
pub fn resolve_scalar_array(
    catalog: &Snapshot,
    schema: Option<&str>,
    name: &str,
    left: Oid,
    right: Oid,
) -> Resolution<OperatorMatch> {
    let element = match right {
        oid::UNKNOWN => oid::UNKNOWN,
        _ => match element_type(catalog, base_type(catalog, right)) {
            0 => return Resolution::NotFound,
            element => element,
        },
    };
    let operator = match choose_operator(catalog, schema, name, Some(left), element) {
        Resolution::Found(operator) => operator,
        Resolution::NotFound => return Resolution::NotFound,
        Resolution::Ambiguous => return Resolution::Ambiguous,
        Resolution::Unsure(why) => return Resolution::Unsure(why),
    };
    let declared = [operator.left, operator.right];
    let generic = is_polymorphic(operator.right);
    let instance = instantiate(catalog, &[left, element], &declared, operator.result);
    let Some((targets, result)) = instance.filter(|(_, result)| *result == oid::BOOL) else {
        return Resolution::Unsure("polymorphic arguments do not say their type");
    };
    let [left_target, right_element] = *targets else { return Resolution::Unsure("no binary operator") };
    let array = if generic && right != oid::UNKNOWN { right } else { array_type(catalog, right_element) };
    let casts = (
        coercion(catalog, left, left_target, Context::Implicit),
        coercion(catalog, right, array, Context::Implicit),
    );
    match casts {
        (Some(left_cast), Some(right_cast)) if array != 0 => Resolution::Found(OperatorMatch {
            operator,
            left: left_target,
            right: array,
            left_cast,
            right_cast,
            result,
        }),
        _ => Resolution::Unsure("an argument has no cast"),
    }
}

fn choose_operator(
    catalog: &Snapshot,
    schema: Option<&str>,
    name: &str,
    left: Option<Oid>,
    right: Oid,
) -> Resolution<Arc<Operator>> {
    let exact = match left {
        Some(left) => binary_exact(catalog, schema, name, left, right),
        None => exact(catalog, schema, name, 0, right),
    };
    if let Some(operator) = exact {
        return real(operator.clone());
    }
    let inputs = [left.unwrap_or_default(), right];
    let inputs = if left.is_some() { inputs.as_slice() } else { inputs.get(1..).unwrap_or_default() };
    match choose(catalog, inputs, candidates(catalog, schema, name, inputs)) {
        Choice::One(candidate) => real(candidate.object),
        Choice::None => Resolution::NotFound,
        Choice::Many => Resolution::Ambiguous,
    }
}

/// A shell operator (named by another's COMMUTATOR or NEGATOR, never defined) is an error when it is chosen.
fn real(operator: Arc<Operator>) -> Resolution<Arc<Operator>> {
    if operator.function == 0 { Resolution::NotFound } else { Resolution::Found(operator) }
}

/// binary_oper_exact: an untyped side is taken for the other side's type.
fn binary_exact<'a>(
    catalog: &'a Snapshot,
    schema: Option<&str>,
    name: &str,
    left: Oid,
    right: Oid,
) -> Option<&'a Arc<Operator>> {
    let (left, right, untyped) = match (left, right) {
        (oid::UNKNOWN, right) => (right, right, true),
        (left, oid::UNKNOWN) => (left, left, true),
        (left, right) => (left, right, false),
    };
    exact(catalog, schema, name, left, right).or_else(|| {
        let base = base_type(catalog, left);
        if untyped && base != left { exact(catalog, schema, name, base, base) } else { None }
    })
}

/// OpernameGetOprid (namespace.c): the first schema of the path that has one with just these types.
fn exact<'a>(
    catalog: &'a Snapshot,
    schema: Option<&str>,
    name: &str,
    left: Oid,
    right: Oid,
) -> Option<&'a Arc<Operator>> {
    catalog
        .operators_named(name)
        .iter()
        .filter(|o| o.left == left && o.right == right)
        .filter_map(|o| Some((place(catalog, schema, &o.schema)?, o)))
        .min_by_key(|(place, _)| *place)
        .map(|(_, operator)| operator)
}

/// OpernameGetCandidates: of several with the same types, the one whose schema comes first. Those that cannot take the
/// inputs are left out at once: an operator like `=` has more than sixty of them.
fn candidates(
    catalog: &Snapshot,
    schema: Option<&str>,
    name: &str,
    inputs: &[Oid],
) -> Vec<Candidate<Arc<Operator>>> {
    let binary = inputs.len() == 2;
    let mut found: Vec<Candidate<Arc<Operator>>> = Vec::new();
    for operator in catalog.operators_named(name).iter().filter(|o| (o.left != 0) == binary) {
        let types = [operator.left, operator.right];
        let arguments = if binary { types.as_slice() } else { types.get(1..).unwrap_or_default() };
        if !can_coerce(catalog, inputs, arguments) {
            continue;
        }
        let Some(place) = place(catalog, schema, &operator.schema) else { continue };
        let candidate = Candidate {
            object: operator.clone(),
            arguments: arguments.to_vec(),
            place,
            gathered: 0,
            defaulted: 0,
            tied: false,
        };
        match found.iter_mut().find(|f| f.arguments == candidate.arguments) {
            Some(same) if same.place > place => *same = candidate,
            Some(_) => {}
            None => found.push(candidate),
        }
    }
    found
}

/// The place of a schema in the search path, or 0 where the name says the schema; nothing when it is not looked in.
pub(super) fn place(catalog: &Snapshot, wanted: Option<&str>, schema: &str) -> Option<usize> {
    match wanted {
        Some(wanted) => (wanted == schema).then_some(0),
        None if schema == "pg_catalog" && !catalog.search_path.iter().any(|s| s == "pg_catalog") => Some(0),
        None => catalog.search_path.iter().position(|s| s == schema).map(|at| at.saturating_add(1)),
    }
}
