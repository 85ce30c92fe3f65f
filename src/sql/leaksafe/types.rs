//! Types by what comparing, printing and measuring them may do.

use crate::catalog::{Oid, Snapshot};

use super::super::resolve::{base_type, element_type, oid};

const CHAR: Oid = 18;
const BYTEA: Oid = 17;
const INT2: Oid = 21;
const OID: Oid = 26;
const CIDR: Oid = 650;
const FLOAT4: Oid = 700;
const FLOAT8: Oid = 701;
const MACADDR8: Oid = 774;
const MONEY: Oid = 790;
const MACADDR: Oid = 829;
const INET: Oid = 869;
const UUID: Oid = 2950;

/// Types whose btree operator classes are in the list.
const SCALARS: [Oid; 30] = [
    oid::BOOL,
    BYTEA,
    CHAR,
    oid::NAME,
    oid::INT8,
    INT2,
    oid::INT4,
    oid::TEXT,
    OID,
    CIDR,
    FLOAT4,
    FLOAT8,
    MACADDR8,
    MONEY,
    MACADDR,
    INET,
    oid::BPCHAR,
    oid::VARCHAR,
    oid::DATE,
    oid::TIME,
    oid::TIMESTAMP,
    oid::TIMESTAMPTZ,
    oid::INTERVAL,
    oid::TIMETZ,
    oid::BIT,
    oid::VARBIT,
    oid::NUMERIC,
    UUID,
    oid::JSONB,
    oid::UNKNOWN,
];
/// int4range, tsrange, tstzrange, daterange, int8range.
const RANGES: [Oid; 5] = [3904, 3908, 3910, 3912, 3926];
/// int4multirange, tsmultirange, tstzmultirange, datemultirange, int8multirange.
const MULTIRANGES: [Oid; 5] = [4451, 4533, 4534, 4535, 4536];
/// numrange and nummultirange, whose estimators raise.
const NUMERIC_RANGES: [Oid; 2] = [3906, 4532];

/// A text type with a collation.
pub(super) fn is_text(ty: Oid) -> bool {
    matches!(ty, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME)
}

/// A text type that takes a text as it is.
pub(super) fn is_varying(ty: Oid) -> bool {
    matches!(ty, oid::TEXT | oid::VARCHAR)
}

/// A scalar type of a listed btree family, enums too.
pub(super) fn is_listed_scalar(catalog: &Snapshot, ty: Oid) -> bool {
    SCALARS.contains(&ty) || catalog.type_by_oid(ty).is_some_and(|t| t.kind == 'e')
}

/// A true array over such a type. `name` is no element here: it is an array of fixed length itself.
pub(super) fn is_array_of_listed(catalog: &Snapshot, ty: Oid) -> bool {
    let element = element_type(catalog, base_type(catalog, ty));
    element != 0 && element != oid::NAME && is_listed_scalar(catalog, element)
}

/// A built-in range or multirange, not over numeric.
pub(super) fn is_listed_range(ty: Oid) -> bool {
    RANGES.contains(&ty) || MULTIRANGES.contains(&ty)
}

/// Whether `=` (or, with `order`, `<`) of a type is total.
pub(super) fn is_comparable(catalog: &Snapshot, ty: Oid, order: bool) -> bool {
    let ty = base_type(catalog, ty);
    is_listed_scalar(catalog, ty)
        || is_array_of_listed(catalog, ty)
        || is_listed_range(ty)
        || (!order && NUMERIC_RANGES.contains(&ty))
}

/// How many bytes the text of a value may have, for types whose output function is total.
pub(super) fn printed(catalog: &Snapshot, ty: Oid) -> Option<usize> {
    const WIDEST_NUMERIC: usize = 160_000;
    match ty {
        oid::NUMERIC => Some(WIDEST_NUMERIC),
        INT2
        | oid::INT4
        | oid::INT8
        | FLOAT4
        | FLOAT8
        | oid::BOOL
        | UUID
        | INET
        | oid::DATE
        | oid::TIME
        | oid::TIMESTAMP
        | oid::TIMESTAMPTZ
        | oid::INTERVAL => Some(256),
        _ => catalog.type_by_oid(ty).is_some_and(|t| t.kind == 'e').then_some(64),
    }
}

/// Types whose input functions do not recurse over the text.
pub(super) fn is_read_flat(ty: Oid) -> bool {
    matches!(
        ty,
        INT2 | oid::INT4 | oid::INT8 | FLOAT4 | FLOAT8 | oid::NUMERIC | oid::BOOL | UUID | INET | CIDR
    )
}

/// How many digits an integer has that is cast to numeric.
pub(super) fn digits_of_integer(source: Oid, target: Oid) -> Option<usize> {
    match source {
        _ if target != oid::NUMERIC => None,
        INT2 => Some(5),
        oid::INT4 => Some(10),
        oid::INT8 => Some(19),
        _ => None,
    }
}

/// Whether a cast from an integer type to another number type keeps the value.
pub(super) fn is_wider_number(source: Oid, target: Oid) -> bool {
    match source {
        INT2 => matches!(target, oid::INT4 | oid::INT8 | oid::NUMERIC),
        oid::INT4 => matches!(target, oid::INT8 | oid::NUMERIC),
        oid::INT8 => target == oid::NUMERIC,
        _ => false,
    }
}
