//! A type's name as it stands in a cast (typenameTypeIdAndMod, parse_type.c).

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, TypeName, a_const};

use crate::catalog::{Oid, Snapshot};

use super::super::resolve::oid;

/// Type and modifier that a name means; nothing where it means none, or the modifier is not one that is known here.
pub fn type_named(catalog: &Snapshot, name: &TypeName) -> Option<(Oid, i32)> {
    if name.setof || name.pct_type {
        return None;
    }
    let names: Vec<&str> = name.names.iter().map(string).collect::<Option<_>>()?;
    let ty = match *names {
        [name] => catalog.find_type(None, name),
        [schema, name] => catalog.find_type(Some(schema), name),
        [database, schema, name] if database == catalog.database => catalog.find_type(Some(schema), name),
        _ => None,
    }?;
    let typmod = modifier(ty.oid, &name.typmods)?;
    if name.array_bounds.is_empty() {
        return Some((ty.oid, typmod));
    }
    (ty.array != 0).then_some((ty.array, typmod))
}

/// The modifier that a list of integers means to a type (the types' typmodin functions).
fn modifier(ty: Oid, modifiers: &[Node]) -> Option<i32> {
    const HEADER: i32 = 4;
    let numbers: Vec<i32> = modifiers.iter().map(integer).collect::<Option<_>>()?;
    match (ty, &*numbers) {
        (_, []) => Some(-1),
        (oid::VARCHAR | oid::BPCHAR, [length]) if *length > 0 => length.checked_add(HEADER),
        (oid::NUMERIC, [precision]) => numeric(*precision, 0),
        (oid::NUMERIC, [precision, scale]) => numeric(*precision, *scale),
        (oid::BIT | oid::VARBIT, [length]) if *length > 0 => Some(*length),
        (oid::TIME | oid::TIMETZ | oid::TIMESTAMP | oid::TIMESTAMPTZ, [precision])
            if (0..=6).contains(precision) =>
        {
            Some(*precision)
        }
        _ => None,
    }
}

/// make_numeric_typmod (numeric.c).
fn numeric(precision: i32, scale: i32) -> Option<i32> {
    let fits = (1..=1000).contains(&precision) && (-1000..=1000).contains(&scale);
    fits.then(|| ((precision << 16) | (scale & 0x7ff)).saturating_add(4))
}

/// The string of a name's part.
pub(super) fn string(node: &Node) -> Option<&str> {
    match node.node.as_ref()? {
        NodeEnum::String(s) => Some(&s.sval),
        _ => None,
    }
}

fn integer(node: &Node) -> Option<i32> {
    match node.node.as_ref()? {
        NodeEnum::AConst(c) => match c.val.as_ref()? {
            a_const::Val::Ival(i) => Some(i.ival),
            _ => None,
        },
        _ => None,
    }
}
