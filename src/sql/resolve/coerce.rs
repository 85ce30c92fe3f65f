//! Whether and how a type is coerced to another (parse_coerce.c).

use crate::catalog::{Oid, Snapshot};

use super::polymorphic::{is_polymorphic, matches_generics};
use super::{CastPath, Context, base_type, category, element_type, is_row_type, oid};

/// How `from` becomes `to` in a context, or nothing when it does not (can_coerce_type with
/// find_coercion_pathway). `unknown` becomes anything; what is no base type of `to` is checked by the server then.
pub fn coercion(catalog: &Snapshot, from: Oid, to: Oid, context: Context) -> Option<CastPath> {
    if from == to || to == oid::ANY || is_polymorphic(to) {
        return Some(CastPath::Identity);
    }
    if from == oid::UNKNOWN {
        return Some(CastPath::Literal);
    }
    pathway(catalog, from, to, context).or_else(|| row_pathway(catalog, from, to))
}

/// find_coercion_pathway. Unknown types are not special here.
pub(super) fn pathway(catalog: &Snapshot, from: Oid, to: Oid, context: Context) -> Option<CastPath> {
    let (source, target) = (base_type(catalog, from), base_type(catalog, to));
    if source == target {
        return Some(CastPath::Binary);
    }
    if let Some(cast) = catalog.cast(source, target) {
        let needed = match cast.context {
            'i' => Context::Implicit,
            'a' => Context::Assignment,
            _ => Context::Explicit,
        };
        return (context >= needed).then_some(match cast.method {
            'f' => CastPath::Function(cast.function),
            'i' => CastPath::InOut,
            _ => CastPath::Binary,
        });
    }
    if target != oid::OIDVECTOR && target != oid::INT2VECTOR {
        // One after the other: of most types neither is asked for more.
        let source_element = element_type(catalog, source);
        let target_element = if source_element == 0 { 0 } else { element_type(catalog, target) };
        if target_element != 0 {
            let element = pathway(catalog, source_element, target_element, context);
            if let Some(element) = element {
                return Some(CastPath::Array(Box::new(element)));
            }
        }
    }
    let to_text = context >= Context::Assignment && category(catalog, target).0 == 'S';
    let from_text = context >= Context::Explicit && category(catalog, source).0 == 'S';
    (to_text || from_text).then_some(CastPath::InOut)
}

fn row_pathway(catalog: &Snapshot, from: Oid, to: Oid) -> Option<CastPath> {
    let from_row = from == oid::RECORD && is_row_type(catalog, to);
    let to_record = to == oid::RECORD && is_row_type(catalog, from);
    let to_records = to == oid::RECORD_ARRAY && is_row_type(catalog, element_type(catalog, from));
    (from_row || to_record || to_records || inherits(catalog, from, to)).then_some(CastPath::Row)
}

/// typeInheritsFrom: the row type of a child table (or a domain over it) where its parent's is wanted.
fn inherits(catalog: &Snapshot, from: Oid, to: Oid) -> bool {
    let relation_of = |ty: Oid| catalog.type_by_oid(ty).map_or(0, |ty| ty.relation);
    let child = relation_of(base_type(catalog, from));
    if child == 0 {
        return false;
    }
    let parent = relation_of(to);
    if parent == 0 {
        return false;
    }
    let mut pending = vec![child];
    let mut seen = Vec::new();
    while let Some(next) = pending.pop() {
        if next == parent {
            return true;
        }
        if !seen.contains(&next) {
            seen.push(next);
            pending.extend(catalog.relation(next).map_or(&[][..], |r| &r.inherits));
        }
    }
    false
}

/// Whether each input can be coerced to its target without a cast being written (can_coerce_type).
pub(super) fn can_coerce(catalog: &Snapshot, inputs: &[Oid], targets: &[Oid]) -> bool {
    let each =
        inputs.iter().zip(targets).all(|(i, t)| coercion(catalog, *i, *t, Context::Implicit).is_some());
    each && matches_generics(catalog, inputs, targets)
}

/// Whether a value of one type is one of the other already (IsBinaryCoercible, parse_coerce.c), as far as types of
/// columns go.
pub fn binary_coercible(catalog: &Snapshot, from: Oid, to: Oid) -> bool {
    if from == to || to == oid::ANY {
        return true;
    }
    let source = base_type(catalog, from);
    if source == to {
        return true;
    }
    let is_array = element_type(catalog, source) != 0;
    let is_enum = catalog.type_by_oid(source).is_some_and(|ty| ty.kind == 'e');
    match to {
        oid::ANYELEMENT => true,
        oid::ANYARRAY => is_array,
        oid::ANYENUM => is_enum,
        oid::ANYRANGE => catalog.range(source).is_some(),
        oid::ANYMULTIRANGE => catalog.range_of_multirange(source).is_some(),
        _ => catalog.cast(source, to).is_some_and(|c| c.method == 'b' && c.context == 'i'),
    }
}
