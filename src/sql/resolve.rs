//! Which operator, function and cast the server chooses, and the types of the results: PostgreSQL's own algorithm
//! (parse_oper.c, parse_func.c, parse_coerce.c of 14 to 18) over a catalog snapshot.
//!
//! What the server would choose is what is judged and what is sent. Where the snapshot does not hold what the choice
//! depends on, the answer is [`Resolution::Unsure`], never a guess.

mod candidates;
mod coerce;
mod common_type;
mod function;
mod operator;
mod polymorphic;

use std::sync::Arc;

use crate::catalog::{Function, Oid, Operator, Snapshot};

pub use coerce::{binary_coercible, coercion};
pub use common_type::{common_type, common_type_works};
pub use function::resolve_function;
pub use operator::{resolve_operator, resolve_scalar_array};

/// Oids of types that the algorithm names (catalog/pg_type.dat).
pub mod oid {
    use crate::catalog::Oid;

    /// `bool`
    pub const BOOL: Oid = 16;
    /// `name`
    pub const NAME: Oid = 19;
    /// `int8`
    pub const INT8: Oid = 20;
    /// `int2vector`
    pub const INT2VECTOR: Oid = 22;
    /// `int4`
    pub const INT4: Oid = 23;
    /// `text`
    pub const TEXT: Oid = 25;
    /// `oidvector`
    pub const OIDVECTOR: Oid = 30;
    /// `json`
    pub const JSON: Oid = 114;
    /// `unknown`: a literal or a parameter that nothing has given a type yet.
    pub const UNKNOWN: Oid = 705;
    /// `text[]`
    pub const TEXT_ARRAY: Oid = 1009;
    /// `bpchar`
    pub const BPCHAR: Oid = 1042;
    /// `varchar`
    pub const VARCHAR: Oid = 1043;
    /// `date`
    pub const DATE: Oid = 1082;
    /// `time`
    pub const TIME: Oid = 1083;
    /// `timestamp`
    pub const TIMESTAMP: Oid = 1114;
    /// `timestamptz`
    pub const TIMESTAMPTZ: Oid = 1184;
    /// `interval`
    pub const INTERVAL: Oid = 1186;
    /// `timetz`
    pub const TIMETZ: Oid = 1266;
    /// `bit`
    pub const BIT: Oid = 1560;
    /// `varbit`
    pub const VARBIT: Oid = 1562;
    /// `numeric`
    pub const NUMERIC: Oid = 1700;
    /// `record`
    pub const RECORD: Oid = 2249;
    /// `"any"`
    pub const ANY: Oid = 2276;
    /// `anyarray`
    pub const ANYARRAY: Oid = 2277;
    /// `anyelement`
    pub const ANYELEMENT: Oid = 2283;
    /// `record[]`
    pub const RECORD_ARRAY: Oid = 2287;
    /// `anynonarray`
    pub const ANYNONARRAY: Oid = 2776;
    /// `anyenum`
    pub const ANYENUM: Oid = 3500;
    /// `jsonb`
    pub const JSONB: Oid = 3802;
    /// `anyrange`
    pub const ANYRANGE: Oid = 3831;
    /// `anymultirange`
    pub const ANYMULTIRANGE: Oid = 4537;
    /// `anycompatiblemultirange`
    pub const ANYCOMPATIBLEMULTIRANGE: Oid = 4538;
    /// `anycompatible`
    pub const ANYCOMPATIBLE: Oid = 5077;
    /// `anycompatiblearray`
    pub const ANYCOMPATIBLEARRAY: Oid = 5078;
    /// `anycompatiblenonarray`
    pub const ANYCOMPATIBLENONARRAY: Oid = 5079;
    /// `anycompatiblerange`
    pub const ANYCOMPATIBLERANGE: Oid = 5080;
}

/// What a look-up gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution<T> {
    /// The server chooses this.
    Found(T),
    /// The server finds none (42883).
    NotFound,
    /// The server finds several and none is best (42725).
    Ambiguous,
    /// The snapshot cannot tell; why.
    Unsure(&'static str),
}

impl<T> Resolution<T> {
    /// What was found, if anything.
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(found) => Some(found),
            Self::NotFound | Self::Ambiguous | Self::Unsure(_) => None,
        }
    }
}

/// How a value of one type becomes one of another (find_coercion_pathway, parse_coerce.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CastPath {
    /// The type is the same already, or the target takes any.
    Identity,
    /// An untyped literal, read by the target's input function when the statement is parsed, or a parameter that
    /// gets the target's type.
    Literal,
    /// The same bytes under another type's name, domains included.
    Binary,
    /// By a function.
    Function(Oid),
    /// By the text form: one type's output function, then the other's input function.
    InOut,
    /// Each element of an array, so.
    Array(Box<CastPath>),
    /// A row to `record`, or to a row type that it inherits from.
    Row,
}

/// The context of a coercion (CoercionContext, nodes/primnodes.h). The order matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Context {
    /// In an expression.
    Implicit,
    /// In an INSERT or UPDATE.
    Assignment,
    /// By a cast.
    Explicit,
}

/// The operator that is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorMatch {
    /// The operator.
    pub operator: Arc<Operator>,
    /// What its left argument is coerced to; 0 for a prefix operator.
    pub left: Oid,
    /// What its right argument is coerced to.
    pub right: Oid,
    /// How the left argument gets there.
    pub left_cast: CastPath,
    /// How the right argument gets there.
    pub right_cast: CastPath,
    /// The type of the result, polymorphic ones resolved.
    pub result: Oid,
}

/// The function that is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionMatch {
    /// A function.
    Call {
        /// The function.
        function: Arc<Function>,
        /// The type of the result, polymorphic ones resolved.
        result: Oid,
        /// What each argument of the call is coerced to, and how.
        arguments: Vec<(Oid, CastPath)>,
        /// How many of the last arguments are gathered into a VARIADIC array.
        gathered: usize,
    },
    /// `typename(x)`, which is a cast.
    Cast {
        /// The type.
        target: Oid,
        /// How the argument gets there.
        path: CastPath,
    },
}

/// The type under a domain, domains over domains included (getBaseType, lsyscache.c).
pub fn base_type(catalog: &Snapshot, of: Oid) -> Oid {
    let mut of = of;
    // A domain cannot contain itself; the bound is for a snapshot that says so.
    for _ in 0..64 {
        match catalog.type_by_oid(of) {
            Some(ty) if ty.kind == 'd' && ty.base != 0 => of = ty.base,
            _ => break,
        }
    }
    of
}

/// The element type of a true array type, 0 for another (get_element_type, lsyscache.c).
pub fn element_type(catalog: &Snapshot, of: Oid) -> Oid {
    catalog.type_by_oid(of).map_or(0, |ty| ty.element)
}

/// The array type over a type, 0 without one (get_array_type, lsyscache.c).
pub fn array_type(catalog: &Snapshot, of: Oid) -> Oid {
    catalog.type_by_oid(of).map_or(0, |ty| ty.array)
}

fn is_row_type(catalog: &Snapshot, of: Oid) -> bool {
    catalog.type_by_oid(of).is_some_and(|ty| ty.kind == 'c')
}

/// Category and whether it is preferred there (get_type_category_preferred, lsyscache.c).
fn category(catalog: &Snapshot, of: Oid) -> (char, bool) {
    catalog.type_by_oid(of).map_or(('\0', false), |ty| (ty.category, ty.preferred))
}
