//! Whose rows a relation holds, what a role may do with it, and how a refusal is said. Pure.
//!
//! A [`Policy`] is a configuration compiled against one catalog: every name in it was found, every column
//! exists, every child reaches a tenant relation. What it does not know is denied.

pub mod access;
pub mod compile;
pub mod refusal;
pub mod tenancy;
pub mod tenant;

use foldhash::{HashMap, HashSet};

use crate::catalog::{Oid, Relation, RelationKind, Snapshot};
use crate::config::model::{Barrier, Config, Operation, SequenceAccess, Witness};

pub use access::Access;
pub use compile::PolicyError;
pub use refusal::{Quarantined, Refusal, Rule, SqlState};
pub use tenancy::{ParentKey, Tenancy};
pub use tenant::TenantId;

/// The compiled policy of one database.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Counts the policies of this process: plans made under another epoch are not used.
    pub epoch: u64,
    /// `[tenancy] barrier`.
    pub barrier: Barrier,
    /// What the witness's silence means.
    pub witness: Witness,
    /// Makes the text that a raising guard raises unguessable, so that nobody else's error looks like it.
    pub nonce: String,
    pub(in crate::policy) tenancy: HashMap<Oid, Tenancy>,
    pub(in crate::policy) table_access: HashMap<Oid, HashSet<Operation>>,
    pub(in crate::policy) roles: HashMap<String, access::RoleAccess>,
    pub(in crate::policy) functions: HashSet<(String, String)>,
    pub(in crate::policy) sequences: HashMap<Oid, Vec<SequenceAccess>>,
}

impl Policy {
    /// Compiles a configuration against the catalog of one of its databases. `nonce` is process-random text
    /// of letters and digits. Every contradiction is reported, not only the first.
    pub fn compile(
        config: &Config,
        catalog: &Snapshot,
        epoch: u64,
        nonce: &str,
    ) -> Result<Self, Vec<PolicyError>> {
        compile::compile(config, catalog, epoch, nonce)
    }

    /// Whose rows a relation of a user schema holds.
    pub fn tenancy(&self, oid: Oid) -> &Tenancy {
        self.tenancy.get(&oid).unwrap_or(&Tenancy::Denied)
    }

    /// The type of a tenant's value where no relation of a statement says one: that of the tenant column of the
    /// first tenant relation, the same in every process. None where there is no such relation.
    pub fn tenant_type(&self, catalog: &Snapshot) -> Option<Oid> {
        let columns = self.tenancy.iter().filter_map(|(oid, tenancy)| match tenancy {
            Tenancy::Tenant { column, .. } => Some((*oid, *column)),
            Tenancy::Child { .. } | Tenancy::Shared | Tenancy::Denied => None,
        });
        let (oid, column) = columns.min()?;
        let ty = catalog.type_by_oid(catalog.relation(oid)?.column_numbered(column)?.type_oid)?;
        Some(if ty.base == 0 { ty.oid } else { ty.base })
    }

    /// What a role may do with a relation.
    pub fn access(&self, role: &str, relation: &Relation) -> Access {
        let read_only_kind = matches!(relation.kind, RelationKind::MaterializedView);
        let ceiling = self.table_access.get(&relation.oid);
        let shared = matches!(self.tenancy(relation.oid), Tenancy::Shared);
        let by_table = |operation: Operation| match ceiling {
            Some(allowed) => allowed.contains(&operation),
            None => operation == Operation::Select || !shared,
        };
        let mut access = self.roles.get(role).map_or_else(Access::everything, |r| r.access(relation.oid));
        access.retain(|operation| by_table(operation) && (operation == Operation::Select || !read_only_kind));
        access
    }

    /// Whether a function outside `pg_catalog` is listed.
    pub fn lists_function(&self, schema: &str, name: &str) -> bool {
        self.functions.iter().any(|(s, n)| s == schema && n == name)
    }

    /// What may be done with a sequence by rule.
    pub fn sequence_access(&self, oid: Oid) -> &[SequenceAccess] {
        self.sequences.get(&oid).map_or(&[], Vec::as_slice)
    }
}
