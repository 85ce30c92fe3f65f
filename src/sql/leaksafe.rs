//! Which conditions may stay bare beside the tenant's predicate: those that are *total*. For no value that a row can
//! hold does a total condition raise an error, a warning or a notice, and it has no effect; so it does not matter when
//! the server evaluates it on another tenant's row, and its indexes stay of use.
//!
//! A condition is total when every node of it is: the kind of node, and each operator and function by its own object
//! (`data/leaksafe.tsv`). When in doubt it is not, and the rewriting guards it: a guard costs an index, a wrong entry
//! would be a leak. PostgreSQL's own `proleakproof` is not enough, since a `text =` over two collations raises.
//!
//! What would undo an entry, and where it is looked at:
//! 1. two collations, or one that is not deterministic: `total`, at every call;
//! 2. a part without columns, which the server evaluates on the first row that gets there: it must be total itself, or
//!    of literals and immutable functions alone, which are folded when the statement is planned, or stand behind a gate
//!    ([`super::rewrite`]);
//! 3. functions or operators that somebody replaced: `table`, at load;
//! 4. ranges over numeric, whose estimators raise: `total`;
//! 5. virtual generated columns and columns that are expressions: the caller, by [`ColumnInfo`];
//! 6. operator classes of others: the caller, by [`ColumnInfo::base`].
//!
//! What is not total may be so over the rows that there are: where an index has the expression as a key (`proof`).

mod condition;
mod constants;
mod facts;
mod patterns;
mod proof;
mod table;
mod total;
mod types;

use pg_query::protobuf::{ColumnRef, Node};

use crate::catalog::{Oid, Snapshot};

use super::typed::{ColumnInfo, Expr, type_expression};

pub use constants::{BindRule, LARGEST_QUERY};
pub use patterns::{QueryPieces, query_pieces};
pub use table::{Condition, LeakSafe};

/// The largest parameter of a text type that a bare condition may meet, in bytes.
pub const LARGEST_TEXT: usize = 1 << 20;

/// The judgement on a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Total {
    /// It may stay bare.
    Yes {
        /// Byte offsets of the literals that were looked at: it holds for these literals alone. Where no literal was
        /// lifted (`EXTRACT(year FROM …)`, or -1), what was looked at is part of the shape.
        pins: Vec<i32>,
        /// What its parameters' values must satisfy; see [`BindCheck`].
        bind_checks: Vec<BindCheck>,
        /// The indexes that it relies on: it holds as long as they are there.
        indexes: Vec<Oid>,
    },
    /// It must be guarded.
    No {
        /// Why.
        reason: &'static str,
        /// Byte offsets of the literals that were looked at: with others it might be total.
        pins: Vec<i32>,
    },
}

/// What a parameter's value must satisfy at Bind. Who cannot check it guards the condition; a limit on messages of
/// [`LARGEST_TEXT`] bytes satisfies every [`BindRule::AtMost`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindCheck {
    /// `$n`.
    pub parameter: i32,
    /// The rule.
    pub rule: BindRule,
}

impl LeakSafe {
    /// Judges one conjunct, name-bound but not yet rewritten. `columns` and `params` are those of
    /// [`type_expression`].
    pub fn judge(
        &self,
        catalog: &Snapshot,
        node: &Node,
        columns: &dyn Fn(&ColumnRef) -> Option<ColumnInfo>,
        params: &dyn Fn(i32) -> Option<Oid>,
    ) -> Total {
        self.total(catalog, &type_expression(node, columns, params, catalog))
    }

    /// Judges a typed expression.
    pub fn total(&self, catalog: &Snapshot, expr: &Expr) -> Total {
        total::judge(self, catalog, expr)
    }
}
