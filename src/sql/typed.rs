//! An expression with its types: each operator, function and cast resolved to the server's own object, each collation
//! derived, as the server's parse analysis does it (parse_expr.c, parse_collate.c).
//!
//! The form is small on purpose. What it has no word for is [`Expr::Other`], and whoever judges an expression must
//! take that for the worst.

mod build;
mod call;
mod operation;
mod type_name;

use std::sync::Arc;

use pg_query::protobuf::{ColumnRef, Node};

use crate::catalog::{Function, Oid, Operator, Snapshot};

use super::resolve::{CastPath, oid};

pub use type_name::type_named;

/// A collation and where it comes from (CollateStrength, parse_collate.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Collation {
    /// The type has none.
    None,
    /// From a column or a type.
    Implicit(Oid),
    /// Written with COLLATE.
    Explicit(Oid),
    /// Two sources disagree: an operator that needs one raises 42P22 when it is evaluated.
    Indeterminate,
}

/// Type, modifier and collation of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExprType {
    /// The type; [`oid::UNKNOWN`] for a literal or parameter that nothing has typed.
    pub oid: Oid,
    /// Its modifier, -1 for none.
    pub typmod: i32,
    /// Its collation.
    pub collation: Collation,
}

/// What a caller knows of a column that an expression names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnInfo {
    /// `atttypid`.
    pub type_oid: Oid,
    /// `atttypmod`.
    pub typmod: i32,
    /// `attcollation`, 0 for none.
    pub collation: Oid,
    /// What bounds its values' length to 10 000 000 characters.
    pub bounded: Option<Bound>,
    /// Reading it evaluates an expression (`attgenerated` is `v`).
    pub virtual_generated: bool,
    /// It is a stored column of a relation of this query level, or reaches one through plain output columns alone;
    /// and that relation's indexes use trusted operator classes only.
    pub base: bool,
    /// It is a column of a query level around the one that the expression stands in.
    pub outer: bool,
    /// The relation and the attribute number of the stored column that it is.
    pub origin: Option<(Oid, i16)>,
}

/// Why a value is no longer than 10 000 000 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Its type has a length, or its values are made by the server.
    Declared,
    /// It is a key of this valid, full btree index, as long as that is there.
    Index(Oid),
}

/// A typed expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A column.
    Column(ColumnInfo),
    /// A literal.
    Const {
        /// Its type.
        ty: ExprType,
        /// Its text, as the type's input function would read it; nothing for NULL, and where a modifier may have
        /// changed it.
        text: Option<String>,
        /// Byte offset of the literal in the statement, -1 for what the parser made.
        location: i32,
    },
    /// A parameter.
    Param {
        /// `$n`.
        number: i32,
        /// Its type: the declared one, or what its place gives it.
        ty: ExprType,
    },
    /// The time of the transaction or statement: `now()`, CURRENT_DATE, CURRENT_TIMESTAMP and so on.
    Now(ExprType),
    /// An operator.
    Op {
        /// The operator.
        operator: Arc<Operator>,
        /// One or two arguments, coerced.
        arguments: Vec<Expr>,
        /// The result.
        ty: ExprType,
    },
    /// A function: no set, no aggregate, no window.
    Call {
        /// The function.
        function: Arc<Function>,
        /// The arguments, coerced.
        arguments: Vec<Expr>,
        /// The result.
        ty: ExprType,
    },
    /// A cast, written or implied.
    Cast {
        /// What is cast.
        argument: Box<Expr>,
        /// How.
        path: CastPath,
        /// The result.
        ty: ExprType,
    },
    /// `left op ANY (array)` or `ALL`.
    ScalarArray {
        /// The operator.
        operator: Arc<Operator>,
        /// What is compared.
        left: Box<Expr>,
        /// The array.
        array: Box<Expr>,
    },
    /// `ARRAY[…]` of one dimension.
    Array {
        /// The elements, all of one type.
        elements: Vec<Expr>,
        /// The array's type.
        ty: ExprType,
    },
    /// AND, OR or NOT.
    Logic(Vec<Expr>),
    /// IS [NOT] NULL of a scalar.
    NullTest(Box<Expr>),
    /// IS [NOT] TRUE, FALSE or UNKNOWN.
    TruthTest(Box<Expr>),
    /// Comparisons that are evaluated as one: a row comparison by order, where each pair has its operator.
    Pairs(Vec<Expr>),
    /// COALESCE.
    Coalesce {
        /// The arguments, coerced to the common type.
        arguments: Vec<Expr>,
        /// The result.
        ty: ExprType,
    },
    /// GREATEST or LEAST, compared by the default btree operator class of the type.
    MinMax {
        /// The arguments, coerced to the common type.
        arguments: Vec<Expr>,
        /// The result.
        ty: ExprType,
    },
    /// CASE; a simple one's comparisons are among the conditions.
    Case {
        /// The conditions.
        conditions: Vec<Expr>,
        /// The results and ELSE, coerced to the common type.
        results: Vec<Expr>,
        /// The result.
        ty: ExprType,
    },
    /// An element or a slice of an array, or a field of a jsonb.
    Subscript {
        /// What is read.
        container: Box<Expr>,
        /// The subscripts.
        subscripts: Vec<Expr>,
        /// The result.
        ty: ExprType,
    },
    /// What is not understood, and why.
    Other(&'static str),
}

/// Types a name-bound expression. `columns` tells of a column or, with nothing, that the caller does not know it;
/// `params` gives a parameter's type: the declared one, nothing for one that is undeclared and stands nowhere else in
/// the statement (its place then types it), and [`oid::ANY`] for one that the caller cannot type.
pub fn type_expression(
    node: &Node,
    columns: &dyn Fn(&ColumnRef) -> Option<ColumnInfo>,
    params: &dyn Fn(i32) -> Option<Oid>,
    catalog: &Snapshot,
) -> Expr {
    build::Typer { catalog, columns, params }.expression(node, 0)
}

impl ExprType {
    /// A type without modifier, whose collation is its own.
    pub fn of(catalog: &Snapshot, oid: Oid) -> Self {
        Self { oid, typmod: -1, collation: own_collation(catalog, oid) }
    }

    /// A result of this type whose collation comes from its inputs.
    fn from_inputs<'a>(
        catalog: &Snapshot,
        oid: Oid,
        typmod: i32,
        inputs: impl IntoIterator<Item = &'a Expr>,
    ) -> Self {
        let own = own_collation(catalog, oid);
        let collation = match inputs.into_iter().map(|e| e.ty().collation).fold(Collation::None, merged) {
            _ if own == Collation::None => Collation::None,
            Collation::None => own,
            inherited => inherited,
        };
        Self { oid, typmod, collation }
    }
}

impl Expr {
    /// The type. For what is not understood, `unknown` with an indeterminate collation.
    pub fn ty(&self) -> ExprType {
        const BOOL: ExprType = ExprType { oid: oid::BOOL, typmod: -1, collation: Collation::None };
        match self {
            Self::Column(column) => ExprType {
                oid: column.type_oid,
                typmod: column.typmod,
                collation: match column.collation {
                    0 => Collation::None,
                    collation => Collation::Implicit(collation),
                },
            },
            Self::Const { ty, .. }
            | Self::Param { ty, .. }
            | Self::Now(ty)
            | Self::Op { ty, .. }
            | Self::Call { ty, .. }
            | Self::Cast { ty, .. }
            | Self::Array { ty, .. }
            | Self::Coalesce { ty, .. }
            | Self::MinMax { ty, .. }
            | Self::Case { ty, .. }
            | Self::Subscript { ty, .. } => *ty,
            Self::ScalarArray { .. }
            | Self::Logic(_)
            | Self::NullTest(_)
            | Self::TruthTest(_)
            | Self::Pairs(_) => BOOL,
            Self::Other(_) => ExprType { oid: oid::UNKNOWN, typmod: -1, collation: Collation::Indeterminate },
        }
    }
}

fn own_collation(catalog: &Snapshot, oid: Oid) -> Collation {
    match catalog.type_by_oid(oid).map_or(0, |ty| ty.collation) {
        0 => Collation::None,
        collation => Collation::Implicit(collation),
    }
}

/// The collation of two inputs together (merge_collation_state, parse_collate.c).
pub fn merged(left: Collation, right: Collation) -> Collation {
    use Collation::{Explicit, Implicit, Indeterminate, None};
    const DEFAULT: Oid = 100;
    match (left, right) {
        (None, other) | (other, None) => other,
        (Explicit(a), Explicit(b)) if a != b => Indeterminate,
        (Explicit(a), _) | (_, Explicit(a)) => Explicit(a),
        (Indeterminate, _) | (_, Indeterminate) => Indeterminate,
        (Implicit(a), Implicit(b)) if a == b || b == DEFAULT => Implicit(a),
        (Implicit(DEFAULT), Implicit(b)) => Implicit(b),
        (Implicit(_), Implicit(_)) => Indeterminate,
    }
}
