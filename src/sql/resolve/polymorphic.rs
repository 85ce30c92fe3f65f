//! Polymorphic types: `anyelement`, `anyarray`, `anycompatible` and their kin (check_generic_type_consistency and
//! enforce_generic_type_consistency, parse_coerce.c).

use crate::catalog::{Oid, Snapshot};

use super::common_type::{common_type, common_type_works};
use super::{array_type, base_type, element_type, oid};

/// IsPolymorphicType (catalog/pg_type.h).
pub(super) fn is_polymorphic(ty: Oid) -> bool {
    is_first_family(ty) || is_second_family(ty)
}

fn is_element(ty: Oid) -> bool {
    matches!(ty, oid::ANYELEMENT | oid::ANYNONARRAY | oid::ANYENUM)
}

fn is_first_family(ty: Oid) -> bool {
    is_element(ty) || matches!(ty, oid::ANYARRAY | oid::ANYRANGE | oid::ANYMULTIRANGE)
}

fn is_compatible(ty: Oid) -> bool {
    matches!(ty, oid::ANYCOMPATIBLE | oid::ANYCOMPATIBLENONARRAY)
}

fn is_second_family(ty: Oid) -> bool {
    is_compatible(ty)
        || matches!(ty, oid::ANYCOMPATIBLEARRAY | oid::ANYCOMPATIBLERANGE | oid::ANYCOMPATIBLEMULTIRANGE)
}

/// What the polymorphic arguments of one call turned out to be; 0 where nothing says.
#[derive(Debug, Clone, Copy, Default)]
struct Solution {
    element: Oid,
    array: Oid,
    range: Oid,
    multirange: Oid,
    compatible: Oid,
    compatible_range: Oid,
    compatible_multirange: Oid,
}

/// Whether polymorphic targets agree with each other, untyped inputs aside.
pub(super) fn matches_generics(catalog: &Snapshot, inputs: &[Oid], targets: &[Oid]) -> bool {
    !targets.iter().any(|t| is_polymorphic(*t)) || solve(catalog, inputs, targets).is_some()
}

/// The targets and the result with what polymorphic types stand for; nothing when they do not agree or nothing says
/// what they are.
pub(super) fn instantiate(
    catalog: &Snapshot,
    inputs: &[Oid],
    targets: &[Oid],
    result: Oid,
) -> Option<(Vec<Oid>, Oid)> {
    if !targets.iter().any(|t| is_polymorphic(*t)) {
        return Some((targets.to_vec(), result));
    }
    let mut solution = solve(catalog, inputs, targets)?;
    let first_family = targets.iter().filter(|t| is_first_family(**t)).count();
    if first_family > 0 && solution.element == 0 {
        // The catalogs have columns of type anyarray; nothing else leaves the element open.
        let open = solution.array == oid::ANYARRAY && first_family == 1;
        if !open || (result != oid::ANYARRAY && is_first_family(result)) {
            return None;
        }
        solution.element = oid::ANYELEMENT;
    }
    if solution.compatible == 0 {
        solution.compatible = oid::TEXT;
    }
    let mut concrete = Vec::with_capacity(targets.len());
    for (target, input) in targets.iter().zip(inputs) {
        let known = *input != oid::UNKNOWN;
        // A known argument of the first family stays as it is.
        let as_is = is_first_family(*target) && known;
        concrete.push(if as_is { *input } else { solution.of(catalog, *target)? });
    }
    Some((concrete, solution.of(catalog, result)?))
}

impl Solution {
    /// The type that stands for `ty`; itself when it is not polymorphic.
    fn of(&self, catalog: &Snapshot, ty: Oid) -> Option<Oid> {
        let known = |oid: Oid| (oid != 0).then_some(oid);
        match ty {
            oid::ANYELEMENT | oid::ANYNONARRAY | oid::ANYENUM => known(self.element),
            oid::ANYARRAY => known(self.array).or_else(|| known(array_type(catalog, self.element))),
            oid::ANYRANGE => known(self.range),
            oid::ANYMULTIRANGE => {
                known(self.multirange).or_else(|| catalog.range(self.range).map(|r| r.multirange))
            }
            oid::ANYCOMPATIBLE | oid::ANYCOMPATIBLENONARRAY => known(self.compatible),
            oid::ANYCOMPATIBLEARRAY => known(array_type(catalog, self.compatible)),
            oid::ANYCOMPATIBLERANGE => known(self.compatible_range),
            oid::ANYCOMPATIBLEMULTIRANGE => known(self.compatible_multirange)
                .or_else(|| catalog.range(self.compatible_range).map(|r| r.multirange)),
            other => Some(other),
        }
    }
}

fn solve(catalog: &Snapshot, inputs: &[Oid], targets: &[Oid]) -> Option<Solution> {
    let mut solution = Solution::default();
    let mut compatibles = Vec::new();
    for (input, target) in inputs.iter().zip(targets).filter(|(input, _)| **input != oid::UNKNOWN) {
        let flat = base_type(catalog, *input);
        match *target {
            t if is_element(t) => agree(&mut solution.element, *input)?,
            oid::ANYARRAY => agree(&mut solution.array, flat)?,
            oid::ANYRANGE => agree(&mut solution.range, flat)?,
            oid::ANYMULTIRANGE => agree(&mut solution.multirange, flat)?,
            t if is_compatible(t) => compatibles.push(*input),
            oid::ANYCOMPATIBLEARRAY => match element_type(catalog, flat) {
                0 => return None,
                element => compatibles.push(element),
            },
            oid::ANYCOMPATIBLERANGE => agree(&mut solution.compatible_range, flat)?,
            oid::ANYCOMPATIBLEMULTIRANGE => agree(&mut solution.compatible_multirange, flat)?,
            _ => {}
        }
    }
    solve_first_family(catalog, &mut solution, targets)?;
    solve_second_family(catalog, &mut solution, targets, compatibles)?;
    Some(solution)
}

fn solve_first_family(catalog: &Snapshot, solution: &mut Solution, targets: &[Oid]) -> Option<()> {
    if solution.array == oid::ANYARRAY {
        if solution.element != 0 {
            return None;
        }
    } else if solution.array != 0 {
        match element_type(catalog, solution.array) {
            0 => return None,
            element => agree(&mut solution.element, element)?,
        }
    }
    if solution.multirange != 0 {
        agree(&mut solution.range, catalog.range_of_multirange(solution.multirange)?.range)?;
    }
    if solution.range != 0 {
        agree(&mut solution.element, catalog.range(solution.range)?.subtype)?;
    }
    if targets.contains(&oid::ANYNONARRAY) && is_array(catalog, solution.element) {
        return None;
    }
    let is_enum = || catalog.type_by_oid(solution.element).is_some_and(|ty| ty.kind == 'e');
    (!targets.contains(&oid::ANYENUM) || is_enum()).then_some(())
}

fn solve_second_family(
    catalog: &Snapshot,
    solution: &mut Solution,
    targets: &[Oid],
    mut compatibles: Vec<Oid>,
) -> Option<()> {
    if solution.compatible_multirange != 0 {
        let range = catalog.range_of_multirange(solution.compatible_multirange)?.range;
        agree(&mut solution.compatible_range, range)?;
    }
    let mut subtype = 0;
    if solution.compatible_range != 0 {
        subtype = catalog.range(solution.compatible_range)?.subtype;
        compatibles.push(subtype);
    }
    if compatibles.is_empty() {
        return Some(());
    }
    solution.compatible = common_type(catalog, &compatibles)?;
    let works = common_type_works(catalog, solution.compatible, &compatibles);
    let array = targets.contains(&oid::ANYCOMPATIBLENONARRAY) && is_array(catalog, solution.compatible);
    let range = subtype == 0 || subtype == solution.compatible;
    (works && !array && range).then_some(())
}

/// Sets what nothing has set yet; nothing when it was set to something else.
fn agree(known: &mut Oid, found: Oid) -> Option<()> {
    if *known == 0 {
        *known = found;
    }
    (*known == found).then_some(())
}

/// type_is_array_domain (lsyscache.c).
fn is_array(catalog: &Snapshot, ty: Oid) -> bool {
    element_type(catalog, base_type(catalog, ty)) != 0
}
