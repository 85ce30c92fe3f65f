//! Whose rows a relation holds.

use crate::catalog::Oid;
use crate::config::model::Nulls;

/// The tenancy of a relation. Columns are attribute numbers of the relation itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenancy {
    /// It has the tenant column; every access is restricted.
    Tenant {
        /// The tenant column.
        column: i16,
        /// What a null in it means.
        nulls: Nulls,
    },
    /// Its tenancy comes through a parent, which is tenant or child.
    Child {
        /// The parents; of several, whichever key is set.
        parents: Vec<ParentKey>,
    },
    /// The same for all tenants.
    Shared,
    /// Nobody's: it does not exist for a client.
    Denied,
}

/// How a child finds a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentKey {
    /// The parent relation.
    pub parent: Oid,
    /// Pairs of (own column, parent's column).
    pub columns: Vec<(i16, i16)>,
}

impl Tenancy {
    /// Whether its rows belong to tenants.
    pub fn is_tenanted(&self) -> bool {
        matches!(self, Self::Tenant { .. } | Self::Child { .. })
    }
}
